"""A compiled ONNX model against onnxruntime, layer by layer: which one is wrong first.

The simulated program keeps a tensor of the model wherever one kernel hands it to another. Passes keep
a value's name while it is the same value, so a buffer's name tells which tensor it is
(``frontends.onnx.order.ir_names``). What lies between two such tensors is one layer here: the
nodes that its kernels compute. onnxruntime computes the same tensors node by node, unoptimized.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from kpu_ir.integrations.exact_products import exact_products
from kpu_ir.integrations.onnxruntime_steps import Alone, is_quantized
from kpu_ir.report.precision import differences
from kpu_ir.report.profile import plain_text
from kpu_ir.report.screen import console
from kpu_ir.report.summary import advances
from kpu_ir.report.words import plural, words
from kpu_ir.sim.program.plan import Write, steps
from kpu_ir.sim.values.values import ValueModel
from kpu_ir.support.errors import KpuError
from kpu_ir.support.package import __version__
from kpu_ir.support.types import is_integral

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

    from kpu_ir.program.compiled import Compiled
    from kpu_ir.sim.program.program import Program

Array = np.ndarray[Any, np.dtype[Any]]

TOLERANCE = 1e-4
"""Of a layer's largest value: what the order of additions in f32 stays below in deep models."""

KERNELS_NAMED = 3
"""Kernels, and operators, of a layer that the table names before it counts."""


@dataclass(frozen=True, slots=True)
class Row:
    """A layer: what is computed between tensors that kernels hand on.

    ``number``: its place, from 1. ``layer``: the ONNX node that gives ``tensor``. ``operators``,
    ``nodes``: types and names of all nodes inside, in order. ``kernels``: the functions that compute
    it; ``cycles``: what their calls add to the run, as in a profile (two layers of one kernel both have
    them). ``max_abs_error``: max |got - expected|; ``max_rel_error``: that over max |expected|.
    ``differs``: whether it is above the tolerance. ``unequal``: the share of a tensor of whole numbers whose
    elements are not equal; None for floats. ``one_step``: how many of them are a step apart. ``cause``: in
    a quantized model, why a tensor is above the tolerance and the layer is right: it ``carried on`` what came
    in, or what it rounds stands at a half (``steps at ties``).
    """

    number: int
    layer: str
    tensor: str
    operators: tuple[str, ...]
    nodes: tuple[str, ...]
    kernels: tuple[str, ...]
    cycles: int
    max_abs_error: float
    max_rel_error: float
    differs: bool
    unequal: float | None = None
    one_step: int = 0
    cause: str = ""


@dataclass(frozen=True)
class Comparison:
    """All layers in the order in which they run. Prints itself as a table.

    ``of_calls``, ``calls``: kernel calls of the program, and those among them whose values were
    compared, alone or with others of a layer.
    """

    rows: tuple[Row, ...]
    tolerance: float
    calls: int
    of_calls: int
    source: str = ""
    machine: str = ""
    machine_digest: str = ""

    @property
    def first(self) -> Row | None:
        """The first layer that differs, if one does."""
        return next((row for row in self.rows if row.differs), None)

    @property
    def worst(self) -> Row | None:
        """The layer that differs most of its largest value, if there are layers."""
        return max(self.rows, key=lambda row: row.max_rel_error, default=None)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def verdict(self) -> str:
        """In words: the first layer that differs and what is inside it, or that none does."""
        row = self.first
        if row is None:
            most = f", at most {self.worst.max_rel_error:.3g}" if self.worst else ""
            caused = Counter(r.cause for r in self if r.cause)
            if caused:
                words = ", ".join(f"{n} {cause}" for cause, n in caused.items())
                return (
                    f"no layer is wrong: {len(self)} compared; of those above {self.tolerance:g} of their "
                    f"largest value, {words}"
                )
            return (
                f"no layer differs by more than {self.tolerance:g} of its largest value: "
                f"{len(self)} compared{most}"
            )
        inside = ", ".join(f"{n} ({o})" for n, o in zip(row.nodes, row.operators))
        count = sum(r.differs for r in self.rows)
        return (
            f"the first layer that differs: {row.layer}, tensor {row.tensor}, by "
            f"{row.max_rel_error:.3g} of its largest value (tolerance {self.tolerance:g})\n"
            f"  nodes inside: {inside}\n"
            f"  kernels: {', '.join(row.kernels)}; {count} of {len(self)} layers differ"
        )

    def to_json(self, command: str = "") -> str:
        """One JSON object: the rows, and ``first`` is the number of the first that differs.
        ``command``: what gave them, if it was one."""
        first = self.first
        more = {"first": first.number if first else None, "version": __version__}
        return json.dumps({**asdict(self), **more, "command": command}, indent=2, allow_nan=False)

    def __rich__(self) -> Table:
        table = Table(box=None, padding=(0, 2), header_style="dim")
        named = ("layer", "operators", "tensor", "kernel", "")
        for name in ("no", "layer", "operators", "tensor", "kernel", "cycles", "difference",
                     "of largest", ""):  # fmt: skip
            table.add_column(
                name if name != "no" else "",
                justify="left" if name in named else "right",
                overflow="fold",
            )
        first = self.first
        for r in self.rows:
            table.add_row(
                str(r.number),
                words(r.layer),
                words(some(r.operators)),
                words(r.tensor),
                words(some(r.kernels)),
                f"{r.cycles:,}",
                f"{r.max_abs_error:.3g}",
                f"{r.max_rel_error:.3g}" if r.unequal is None else told(r.unequal),
                ("differs first" if r is first else "differs") if r.differs else r.cause,
                style="bold red" if r is first else None,
            )
        return table

    def __str__(self) -> str:
        return plain_text(self)

    __repr__ = __str__


def some(names: Sequence[str]) -> str:
    """The first names, and how many more."""
    more = len(names) - KERNELS_NAMED
    words = " ".join(names[: KERNELS_NAMED if more > 1 else None])
    return f"{words} +{more}" if more > 1 else words


def unequal(got: Array, want: Array) -> float | None:
    """The share of whole numbers that are not equal; None for floats."""
    if not is_integral(want.dtype):
        return None
    return float(np.mean(got.astype(np.int64) != want.astype(np.int64))) if want.size else 0.0


def one_step(got: Array, want: Array) -> int:
    """How many whole numbers are a step apart."""
    if want.dtype.kind not in "iub":
        return 0
    return int(np.sum(np.abs(got.astype(np.int64) - want.astype(np.int64)) == 1))


def told(share: float) -> str:
    """A share of elements that are not equal, in words."""
    return f"{100 * share:.3g} % unequal" if share else "equal"


def oracle() -> Any:
    """The ``onnxruntime`` package, or what to do about its absence."""
    try:
        import onnxruntime
    except ImportError:
        raise KpuError(
            "comparing layers needs onnxruntime", hint="pip install 'kpu-ir[oracle]'"
        ) from None
    return onnxruntime


def compare(
    source: Compiled | str | Path,
    inputs: Mapping[str, Any],
    tolerance: float = TOLERANCE,
    progress: Callable[[str], None] = lambda stage: None,
    fixed: Mapping[str, Any] | None = None,
) -> Comparison:
    """Run a model on the simulated machine and in onnxruntime, and compare each layer.

    ``source``: an ``.onnx`` file, or what was compiled from one that is still there. ``inputs``:
    arrays by name, as for a call. ``tolerance``: of each layer's largest value. ``fixed``: values of
    inputs that it was compiled with.
    Raises ``KpuError`` without onnxruntime, where it cannot run the model, or for other sources.
    """
    runtime = oracle()
    if isinstance(source, str | Path):
        from kpu_ir.pipeline import load

        if Path(source).suffix != ".onnx":
            raise KpuError("only ONNX models have layers to compare", str(source))
        source = load(source, fixed=fixed)
    path = Path(source.source)
    if path.suffix != ".onnx":
        raise KpuError(
            "only ONNX models have layers to compare",
            source.source or None,
            "give the .onnx file that it was compiled from",
        )
    checked = source.checked(inputs)
    model = _model(path)
    wanted = _Layers(source.program, model.graph)
    progress("onnxruntime")
    from kpu_ir.frontends.onnx.declared import given_value

    infos = {info.name: info for info in model.graph.input}
    more = {n: given_value(infos[n], np.asarray(v)) for n, v in (fixed or {}).items()}
    expected = _expected(runtime, model, path, wanted.names(), {**checked, **more})
    progress("simulating values")
    alone = None
    if is_quantized(model):

        def run(
            part: ModelProto, names: Sequence[str], given: Mapping[str, Array]
        ) -> dict[str, Array]:
            inputs = {i.name: given[i.name] for i in part.graph.input}
            return _expected(runtime, part, path, names, inputs)

        alone = Alone(model, run, tolerance)
    del model
    return wanted.compared(source, checked, expected, tolerance, alone, {**checked, **more})


def _model(path: Path) -> ModelProto:
    """The model as the importer sees it, with functions put where they are used.

    Small tensors are in it: onnxruntime's shape inference reads them, and no other file.
    """
    from kpu_ir.frontends.onnx.diagnosis import SMALL
    from kpu_ir.frontends.onnx.load import read_model, with_data

    proto = read_model(path)
    for tensor in proto.graph.initializer:
        if math.prod(tensor.dims) <= SMALL:
            whole = with_data(tensor, path.parent)
            if whole is not tensor:
                tensor.CopyFrom(whole)
    if proto.functions:
        from onnx.inliner import inline_local_functions

        return inline_local_functions(proto)
    return proto


def _expected(
    runtime: Any, model: ModelProto, path: Path, names: Sequence[str], inputs: Mapping[str, Array]
) -> dict[str, Array]:
    """Tensors by name as onnxruntime has them, every node by itself. ``model`` gets more outputs."""
    there = {o.name for o in model.graph.output}
    for name in names:
        if name not in there:
            model.graph.output.add(name=name)
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what is wrong is raised
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if any(node.op_type == "DynamicQuantizeLSTM" for node in model.graph.node):
        options.intra_op_num_threads = 1  # with more, rows of a batch have ranges of their own
    folder = "session.model_external_initializers_file_folder_path"
    options.add_session_config_entry(folder, str(path.parent.resolve()))
    try:
        session = runtime.InferenceSession(
            exact_products(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        found = session.run(list(names), {n: _native(a) for n, a in inputs.items()})
    except Exception as error:  # its classes are its own, one for each status
        text = str(error).strip().splitlines()
        raise KpuError(
            f"onnxruntime cannot run this model: {text[0] if text else type(error).__name__}",
            str(path),
        ) from None
    return dict(zip(names, found))


def _native(array: Array) -> Any:
    """An array as onnxruntime takes it."""
    if array.dtype.isbuiltin != 2:  # 2: of ml_dtypes
        return array
    raise KpuError(
        f"onnxruntime's Python interface takes no inputs of type {array.dtype}",
        hint="compare the model in f32 or f16",
    )


def label_of(node: NodeProto) -> str:
    """How a program's calls name a node: by its own name, else its first result's."""
    return node.name or node.output[0]


class _Layers:
    """Which buffers of a program are which tensors of the model, and who computes them."""

    def __init__(self, program: Program, graph: GraphProto) -> None:
        from kpu_ir.frontends.onnx.order import ir_names, sort_nodes

        self.program = program
        given = {i.name for i in graph.input} | {t.name for t in graph.initializer}
        self.graph_nodes = sort_nodes(graph.node, given)
        self.labels = {label_of(node) for node in self.graph_nodes}
        self.nodes: dict[str, NodeProto] = {}
        """The node of each tensor."""
        self.order: dict[int, int] = {}
        """The place of each node in the graph, by identity."""
        self.live = {port.name for port in program.inputs}
        """The tensors that depend on the inputs."""
        for at, node in enumerate(self.graph_nodes):
            self.order[id(node)] = at
            self.nodes |= {name: node for name in node.output if name}
            if node.op_type not in ("Shape", "Size") and self.live.intersection(node.input):
                self.live.update(name for name in node.output if name)
        self.writers: dict[int, list[int]] = {}
        """The calls that write each buffer."""
        for number, call in enumerate(program.calls):
            for parameter in {s.buffer for s in steps(call.plan.body) if isinstance(s, Write)}:
                self.writers.setdefault(call.arguments[parameter], []).append(number)
        tensors = {name: tensor for tensor, name in ir_names(graph).items()}
        self.tensor: dict[int, str] = {}
        """The tensor of each buffer that is one."""
        for buffer in program.buffers:
            name = tensors.get(buffer.name)
            if (
                buffer.index in self.writers
                and name in self.nodes
                and self._fits(buffer.index, name)
            ):
                self.tensor[buffer.index] = name
        for port in program.outputs:
            if port.buffer in self.writers and port.name in self.nodes:
                self.tensor.setdefault(port.buffer, port.name)

    def _fits(self, buffer: int, tensor: str) -> bool:
        """Whether a kernel from the node of its label can be what makes a tensor.

        Passes call some values of their own making by plain words, which a tensor may be called, too.
        """
        label = self.program.calls[self.writers[buffer][-1]].label
        waiting, seen = [tensor], set[str]()
        while waiting and label in self.labels:
            name = waiting.pop()
            if name in seen or name not in self.nodes:
                continue
            seen.add(name)
            if label_of(self.nodes[name]) == label:
                return True
            waiting += self.nodes[name].input
        return label not in self.labels

    def _cone(self, tensor: str, known: Iterable[str]) -> list[NodeProto]:
        """The nodes that compute a tensor from the ``known`` ones and the model's inputs."""
        found: dict[int, NodeProto] = {}
        waiting, border = [tensor], set(known) - {tensor}
        while waiting:
            node = self.nodes.get(waiting.pop())
            if node is None or id(node) in found:
                continue
            found[id(node)] = node
            waiting += [n for n in node.input if n in self.live and n not in border]
        return sorted(found.values(), key=lambda n: self.order[id(n)])

    def _calls(self, buffer: int) -> list[int]:
        """The calls that compute a buffer from those that are tensors, and from the inputs."""
        found: set[int] = set()
        waiting = [buffer]
        while waiting:
            for number in self.writers.get(waiting.pop(), ()):
                if number in found:
                    continue
                found.add(number)
                call = self.program.calls[number]
                waiting += [a for a in call.arguments if a not in self.tensor]
        return sorted(found)

    def names(self) -> list[str]:
        """The tensors to compare, each once."""
        outputs = [p.name for p in self.program.outputs if p.name in self.nodes]
        return list(dict.fromkeys([*self.tensor.values(), *outputs]))

    def compared(
        self,
        compiled: Compiled,
        inputs: Mapping[str, Array],
        expected: dict[str, Array],
        tolerance: float,
        alone: Alone | None = None,
        given: Mapping[str, Array] | None = None,
    ) -> Comparison:
        """Run the program and compare each tensor after the last call that writes it. ``alone``: what
        computes a layer of a quantized model from the simulated tensors before it, and ``given``."""
        simulated = dict(given or {})
        after: dict[int, list[int]] = {}
        for buffer in self.tensor:
            after.setdefault(self.writers[buffer][-1], []).append(buffer)
        moved = list(advances(call.end for call in compiled.timing.calls))
        rows: list[Row] = []
        seen: set[int] = set()
        named = set(self.tensor.values())

        def row(tensor: str, numbers: Sequence[int], got: Array) -> None:
            want = np.asarray(expected[tensor]).reshape(-1)
            if got.size != want.size:
                return  # not this tensor as the model has it: its calls stay uncounted
            seen.update(numbers)
            absolute, relative = differences({tensor: got.reshape(-1)}, {tensor: want})
            cone = self._cone(tensor, named)
            steps = unequal(got.reshape(-1), want)
            above = relative > tolerance or bool(alone and steps)
            cause = alone.cause(tensor, got, simulated) if alone is not None and above else ""
            simulated[tensor] = got.reshape(np.asarray(expected[tensor]).shape)
            rows.append(
                Row(
                    len(rows) + 1,
                    label_of(self.nodes[tensor]),
                    tensor,
                    tuple(n.op_type for n in cone),
                    tuple(label_of(n) for n in cone),
                    tuple(dict.fromkeys(self.program.calls[n].plan.name for n in numbers)),
                    sum(moved[n] for n in numbers),
                    absolute,
                    relative,
                    above and not cause,
                    steps,
                    one_step(got.reshape(-1), want),
                    cause,
                )
            )

        def observe(number: int, buffers: Sequence[Array]) -> None:
            for buffer in after.get(number, ()):
                row(self.tensor[buffer], self._calls(buffer), buffers[buffer])

        outputs = ValueModel(self.program).run(inputs, observe)
        compared = {r.tensor for r in rows}
        for port in self.program.outputs:  # views of what has another name, and constants
            if port.name in expected and port.name not in compared:
                row(port.name, self._calls(port.buffer), outputs[port.name])
        return Comparison(
            tuple(rows),
            tolerance,
            len(seen),
            len(self.program.calls),
            compiled.source,
            compiled.machine.name,
            compiled.machine.digest,
        )


def show_comparison(found: Comparison, stream: IO[str] | None = None) -> None:
    """Print the layers of a comparison, and which one is the first that differs."""
    out = console(stream)
    wrap = out.is_terminal
    out.print(words(f"{found.source} on {found.machine} against onnxruntime", "bold"))
    if wrap:
        out.print(found)
    else:
        out.print(words(str(found).rstrip("\n")), soft_wrap=True)
    if found.calls < found.of_calls:
        left = plural(found.of_calls - found.calls, "kernel call")
        why = f"not compared: {left} of {found.of_calls}, whose results no tensor of the model is"
        out.print(words(why), soft_wrap=not wrap)
    style = "bold red" if found.first else "bold"
    out.print(words(found.verdict(), style), soft_wrap=not wrap)
