"""``torch.compile(model, backend="kpu")``: PyTorch models run on the simulated machine.

>>> compiled = torch.compile(model.eval(), backend="kpu", options={"machine": "large"})
>>> with torch.no_grad():
...     y = compiled(x)
>>> kpu_ir.integrations.torch_compile.last().profile()

PyTorch finds the backend by the entry point ``torch_dynamo_backends``. A graph of dynamo's goes
through ``torch.export`` and PyTorch's ONNX exporter to ``kpu_ir.compile``. What was compiled is
reached by ``programs`` and ``last``. Errors are ``KpuError``, at the first call.
"""

# PyTorch is an extra, and without it nothing of it is known:
# pyright: reportMissingImports=false, reportUnknownParameterType=false, reportUntypedBaseClass=false

from __future__ import annotations

import ast
import hashlib
import logging
import re
import warnings
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from importlib.util import find_spec
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from kpu_ir.pipeline import compile
from kpu_ir.program.compiled import Compiled
from kpu_ir.program.options import Options
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array

try:
    import torch
except ImportError:
    raise KpuError(
        "the backend of torch.compile needs PyTorch", hint="pip install 'kpu-ir[torch]'"
    ) from None

from kpu_ir.integrations.torch_quantized import formula_of

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_graphs: list[weakref.ref[Graph]] = []
"""Every graph that dynamo keeps, in the order of their compilation."""


def kpu(
    gm: torch.fx.GraphModule,
    example_inputs: Sequence[Any],
    *,
    options: Mapping[str, Any] | None = None,
    mode: str | None = None,
) -> Callable[..., Any]:
    """The backend: a graph of dynamo's as a function of tensors.

    ``options``: ``machine`` and the fields of ``kpu_ir.Options``. A program is compiled at the
    first call, for each set of shapes, and again when the values of parameters change.
    """
    graph = Graph(gm, example_inputs, options or {}, mode)
    _graphs[:] = [ref for ref in _graphs if ref() is not None]
    _graphs.append(weakref.ref(graph))
    return graph


def programs(model: Any = None) -> list[Compiled]:
    """The programs of a model given to, or made by, ``torch.compile``; without one, all there are.

    They are in the order of their compilation, one for each graph and shape that has run. A model
    is known by its parameters and buffers: for what has none, ask without a model.
    """
    graphs = [graph for ref in _graphs if (graph := ref()) is not None]
    if model is not None:
        if not isinstance(model, torch.nn.Module):
            kind = type(model).__name__
            raise KpuError(f"expected a module, got a {kind}", hint="programs() has all there are")
        own = {id(t) for t in (*model.parameters(), *model.buffers())}
        graphs = [graph for graph in graphs if own & graph.static_ids()]
    found = [(order, program) for graph in graphs for order, program in graph.compiled()]
    return [program for _, program in sorted(found, key=lambda item: item[0])]


def last() -> Compiled:
    """The program that ran last. Raises ``KpuError`` if none has run, or none is kept."""
    found = [(graph.ran, graph) for ref in _graphs if (graph := ref()) and graph.current]
    if not found:
        raise KpuError(
            "no program has run",
            hint='call what torch.compile(model, backend="kpu") gave; what dynamo does not trace '
            "(docs/torch.md) runs in PyTorch",
        )
    program = max(found, key=lambda item: item[0])[1].current
    assert program is not None
    return program


_clock = iter(range(1 << 62))


class Graph:
    """One graph of dynamo's, and the programs that were made of it."""

    def __init__(
        self,
        gm: torch.fx.GraphModule,
        example_inputs: Sequence[Any],
        options: Mapping[str, Any],
        mode: str | None = None,
    ) -> None:
        """A graph; nothing is compiled yet."""
        self.gm = gm
        self.options = dict(options)
        self.mode = mode
        holders = [n for n in gm.graph.nodes if n.op == "placeholder"]
        self.names = [_readable(str(n.target)) for n in holders]
        self.static = {
            i
            for i, (node, example) in enumerate(zip(holders, example_inputs, strict=True))
            if isinstance(example, torch.nn.Parameter)
            or "_dynamo_static_input_type" in node.meta.get("tensor_dict", {})
        }
        self._statics = [weakref.ref(example_inputs[i]) for i in sorted(self.static)]
        self._programs: dict[Any, tuple[int, _Program]] = {}
        self.current: Compiled | None = None
        self.ran = -1

    def static_ids(self) -> set[int]:
        """The parameters and buffers that it reads, while they live."""
        return {id(t) for ref in self._statics if (t := ref()) is not None}

    def compiled(self) -> list[tuple[int, Compiled]]:
        """Its programs, each with its place in the order of all compilations."""
        return [(order, program.compiled) for order, program in self._programs.values()]

    def __call__(self, *args: Any) -> Any:
        """The graph's outputs, on the simulated machine."""
        self._check(args)
        key, values = self._key(args)
        if key not in self._programs or self._programs[key][1].values != values:
            program = _Program(self, args, values)
            self._programs[key] = (next(_clock), program)
        program = self._programs[key][1]
        results = program(args)
        self.current, self.ran = program.compiled, next(_clock)
        return results

    def _check(self, args: Sequence[Any]) -> None:
        """What was asked for is possible."""
        if self.mode is not None:
            raise KpuError(
                f"torch.compile(mode={self.mode!r}) says nothing to this backend",
                hint=f"leave mode out; options are {', '.join(_OPTIONS)}",
            )
        for name in self.options.keys() - _OPTIONS:
            raise KpuError(
                f"torch.compile: there is no option '{name}'",
                hint=f"options: {', '.join(_OPTIONS)}",
            )
        for name, value in zip(self.names, args):
            if not isinstance(value, torch.Tensor):
                continue
            if value.device.type != "cpu":
                raise KpuError(
                    f"tensor '{name}' is on {value.device}, the machine is simulated on the CPU",
                    hint="move model and inputs there: .cpu()",
                )
            if value.requires_grad and torch.is_grad_enabled():
                raise KpuError(
                    f"tensor '{name}' needs a gradient, and programs have none",
                    hint="call the model under torch.no_grad() or torch.inference_mode()",
                )

    def _key(self, args: Sequence[Any]) -> tuple[Any, bytes]:
        """What a program is made for: shapes and types, and the values that are its constants.

        Dynamo guards on neither, and whoever writes to a parameter's ``data`` leaves no trace but
        the values: they are read each time, which costs little beside a simulation.
        """
        parts: list[Any] = []
        digest = hashlib.blake2b(digest_size=16)
        for i, value in enumerate(args):
            if not isinstance(value, torch.Tensor):
                parts.append((type(value).__name__, value))
                continue
            parts.append((value.dtype, tuple(value.shape)))
            if i in self.static:
                digest.update(_bytes_of(value))
        return tuple(parts), digest.digest()


_OPTIONS = ("machine", *(field.name for field in fields(Options)))


class _Bound(torch.nn.Module):
    """A graph with its parameters, buffers and numbers in place: a function of its other tensors."""

    def __init__(self, graph: Graph, args: Sequence[Any]) -> None:
        super().__init__()
        self.runner = [_Run(graph.gm)]  # in a list: no part of this module, which has its tensors
        self.given: list[Any] = []
        self.names: dict[int, str] = {}
        self.free: list[int] = []
        for i, value in enumerate(args):
            if not isinstance(value, torch.Tensor):
                self.given.append(value)
                continue
            self.given.append(None)
            if i not in graph.static:
                self.free.append(i)
                continue
            name = graph.names[i]
            while hasattr(self, name):
                name += "_"
            self.register_buffer(name, value.detach().clone())
            self.names[i] = name
        self.made = SimpleNamespace(outputs=())  # what forward sets on the module itself is undone

    def forward(self, *free: torch.Tensor) -> tuple[torch.Tensor, ...]:
        args = list(self.given)
        for i, name in self.names.items():
            args[i] = getattr(self, name)
        for i, value in zip(self.free, free, strict=True):
            args[i] = value
        outputs = self.runner[0].run(*args)
        self.made.outputs = [None if isinstance(y, torch.Tensor) else y for y in outputs]
        return tuple(y for y in outputs if isinstance(y, torch.Tensor))


class _Run(torch.fx.Interpreter):
    """Runs a graph node by node, with plain operations for those that the exporter does not know."""

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        plain = _PLAIN.get(target) or formula_of(target) or target
        return super().call_function(plain, args, kwargs)


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    embed_dim: int,
    num_head: int,
    qkv_weight: torch.Tensor,
    qkv_bias: torch.Tensor,
    proj_weight: torch.Tensor,
    proj_bias: torch.Tensor,
    mask: torch.Tensor | None = None,
    need_weights: bool = True,
    average_attn_weights: bool = True,
    mask_type: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """``torch._native_multi_head_attention``: what ``nn.MultiheadAttention`` calls in eval mode.

    Tensors are batch x length x embedding. A mask is of ``mask_type`` 0 (query x key), 1 (batch x
    key) or 2 (batch x head x query x key); what is not zero in it is left out.
    """
    heads: list[torch.Tensor] = []
    for i, x in enumerate((query, key, value)):
        part = slice(i * embed_dim, (i + 1) * embed_dim)  # chunk would not be folded
        y = torch.nn.functional.linear(x, qkv_weight[part], qkv_bias[part])
        heads.append(y.unflatten(-1, (num_head, embed_dim // num_head)).transpose(1, 2))
    q, k, v = heads
    scores = (q * (embed_dim // num_head) ** -0.5) @ k.transpose(-2, -1)
    if mask is not None:
        left_out = mask.to(torch.bool)
        if mask_type == 1:
            left_out = left_out[:, None, None, :]
        scores = scores.masked_fill(left_out, float("-inf"))
    shares = scores.softmax(-1)
    result = torch.nn.functional.linear(
        (shares @ v).transpose(1, 2).flatten(2), proj_weight, proj_bias
    )
    if not need_weights:
        return result, None
    return result, shares.mean(1) if average_attn_weights else shares


def _encoder_layer(
    src: torch.Tensor,
    embed_dim: int,
    num_heads: int,
    qkv_weight: torch.Tensor,
    qkv_bias: torch.Tensor,
    proj_weight: torch.Tensor,
    proj_bias: torch.Tensor,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: torch.Tensor,
    norm_bias_1: torch.Tensor,
    norm_weight_2: torch.Tensor,
    norm_bias_2: torch.Tensor,
    ffn_weight_1: torch.Tensor,
    ffn_bias_1: torch.Tensor,
    ffn_weight_2: torch.Tensor,
    ffn_bias_2: torch.Tensor,
    mask: torch.Tensor | None = None,
    mask_type: int | None = None,
) -> torch.Tensor:
    """``torch._transformer_encoder_layer_fwd``: ``nn.TransformerEncoderLayer`` in eval mode."""
    functional = torch.nn.functional

    def attend(x: torch.Tensor) -> torch.Tensor:
        qkv = (qkv_weight, qkv_bias, proj_weight, proj_bias)
        return _attention(x, x, x, embed_dim, num_heads, *qkv, mask, False, True, mask_type)[0]

    def feed(x: torch.Tensor) -> torch.Tensor:
        act = functional.gelu if use_gelu else functional.relu
        h = act(functional.linear(x, ffn_weight_1, ffn_bias_1))
        return functional.linear(h, ffn_weight_2, ffn_bias_2)

    def norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(x, (embed_dim,), weight, bias, eps)

    first, second = (norm_weight_1, norm_bias_1), (norm_weight_2, norm_bias_2)
    if norm_first:
        x = src + attend(norm(src, *first))
        return x + feed(norm(x, *second))
    x = norm(src + attend(src), *first)
    return norm(x + feed(x), *second)


_PLAIN: dict[Any, Callable[..., Any]] = {
    getattr(torch, "_native_multi_head_attention", None): _attention,
    getattr(torch, "_transformer_encoder_layer_fwd", None): _encoder_layer,
}


class _Program:
    """A graph compiled for shapes and constants."""

    def __init__(self, graph: Graph, args: Sequence[Any], values: bytes) -> None:
        self.values = values
        bound = _Bound(graph, args)
        self.free = bound.free
        tensors = tuple(args[i].detach() for i in bound.free)
        names = _unique([graph.names[i] for i in bound.free])
        model = _exported(bound, tensors, names)
        self.form = list(bound.made.outputs)
        settings = dict(graph.options)
        machine = settings.pop("machine", None)
        from kpu_ir.frontends.onnx import import_onnx

        self.compiled = compile(import_onnx(model), machine, **settings)
        known = {tensor.name for tensor in model.graph.initializer}
        self.inputs = [i.name for i in model.graph.input if i.name not in known]
        self.outputs = [o.name for o in model.graph.output]

    def __call__(self, args: Sequence[Any]) -> list[Any]:
        given = {name: _to_array(args[i]) for name, i in zip(self.inputs, self.free, strict=True)}
        results = self.compiled(given)
        tensors = iter(_to_tensor(results[name]) for name in self.outputs)
        return [next(tensors) if value is None else value for value in self.form]


def _exported(bound: _Bound, tensors: tuple[torch.Tensor, ...], names: Sequence[str]) -> ModelProto:
    """The ONNX model of a graph. Raises ``KpuError`` for one that PyTorch cannot export."""
    if find_spec("onnxscript") is None:
        raise KpuError(
            "PyTorch's ONNX exporter needs onnxscript", hint="pip install 'kpu-ir[torch]'"
        )
    from onnxscript.optimizer import fold_constants, remove_unused_nodes
    from torch.fx.traceback import preserve_node_meta

    try:
        with _quiet(), torch.no_grad():
            with preserve_node_meta():  # so that nodes know the modules that they come from
                program = torch.export.export(bound, tensors, strict=False)
            _refuse_writes(program, names)
            exported = torch.onnx.export(program, dynamo=True, verbose=False)
            assert exported is not None
            # What is cut from weights is no work for the device; the exporter leaves large ones.
            limits = {"input_size_limit": 1 << 40, "output_size_limit": 1 << 24}
            fold_constants(exported.model, **limits)
            remove_unused_nodes(exported.model)
    except KpuError:
        raise
    except Exception as error:  # the exporters have no common class of errors
        raise KpuError(
            f"PyTorch cannot export this graph to ONNX: {_reason(error)}",
            hint="leave this part of the model to PyTorch: torch.compiler.disable",
        ) from error
    model = exported.model_proto
    known = {tensor.name for tensor in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in known]
    new = dict(zip((i.name for i in inputs), names, strict=True))
    taken = known | {name for node in model.graph.node for name in node.output}
    new = {old: name + "_" * (name in taken) for old, name in new.items()}
    for info in (*inputs, *model.graph.output):
        info.name = new.get(info.name, info.name)
    for node in model.graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.name = _layer(node)
    return model


@contextmanager
def _quiet() -> Generator[None]:
    """Without the exporters' words on packages and optimizations that are of no use here."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels):
                logger.setLevel(level)


def _reason(error: BaseException) -> str:
    """The innermost cause's first line, without the colours of terminals."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _layer(node: NodeProto) -> str:
    """A node's name: that of its module, and its own."""
    own = re.sub("^_symbolic", node.op_type, node.name.removeprefix("node_"))
    scopes = {entry.key: entry.value for entry in node.metadata_props}.get(
        "pkg.torch.onnx.name_scopes"
    )
    if not scopes:
        return own
    paths = [path for path in ast.literal_eval(scopes)[:-1] if path]
    return f"{_module_path(paths[-1])}/{own}".removeprefix("/") if paths else own


def _module_path(path: str) -> str:
    """What dynamo calls ``L['self']._modules['layers']``, as its owner does: ``layers``."""
    path = re.sub(r"\._modules\['([^']*)'\]", r".\1", path)
    return re.sub(r"^[LG]\['\w+'\]\.?", "", path)


def _refuse_writes(program: torch.export.ExportedProgram, names: Sequence[str]) -> None:
    """An exported graph that writes to what it was given would write to a copy."""
    signature = program.run_decompositions({}).graph_signature
    inputs = dict(zip(signature.user_inputs, names))
    written = [
        *signature.buffers_to_mutate.values(),
        *(inputs[name] for name in signature.user_inputs_to_mutate.values()),
    ]
    if written:
        raise KpuError(
            f"the model writes to {', '.join(repr(name) for name in written)} in place",
            hint="call model.eval() if it is in training, or return what is written as an output",
        )


def _readable(name: str) -> str:
    """What dynamo calls ``L_self_modules_fc_parameters_weight_``, as its owner does."""
    name = re.sub(r"^[LG]_", "", name).strip("_")
    name = re.sub(r"(^|_)(self|modules|parameters|buffers)(?=_)", "", name).strip("_")
    return name if name.isidentifier() else f"t{name}"


def _unique(names: Sequence[str]) -> list[str]:
    result: list[str] = []
    for name in names:
        while name in result:
            name += "_"
        result.append(name)
    return result


def _to_array(tensor: torch.Tensor) -> Array:
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def _to_tensor(array: Array) -> torch.Tensor:
    array = np.array(array)  # PyTorch's own memory: its user may write to it
    if array.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _bytes_of(tensor: torch.Tensor) -> Any:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
