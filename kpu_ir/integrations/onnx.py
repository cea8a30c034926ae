"""ONNX's backend interface, so that its own test runner, or anything else that speaks it, runs here.

>>> import kpu_ir.integrations.onnx as backend
>>> outputs = backend.run_model(model, [x])
>>> BackendTest(backend, __name__)          # onnx.backend.test's
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from kpu_ir.frontends.onnx import import_onnx
from kpu_ir.pipeline import compile
from kpu_ir.program.options import Options
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array

try:
    import onnx
    from onnx import TensorProto, defs, helper, numpy_helper, shape_inference
    from onnx.backend.base import Backend, BackendRep, namedtupledict
    from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt
    from onnx.checker import ValidationError, check_model
except ImportError:
    raise KpuError(
        "ONNX's backend interface needs the onnx package", hint="pip install 'kpu-ir[onnx]'"
    ) from None

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto
    from xdsl.dialects.builtin import ModuleOp

DEVICES = ("CPU", "KPU")
"""ONNX's runner asks for CPU: the machine is simulated there."""

RUNNERS_OWN = ("rtol", "atol")
"""Keywords that ONNX's runner passes on, which are for itself."""

SHAPE_INPUTS: Mapping[str, Sequence[int]] = {
    **{
        name: (1,)
        for name in (
            *("CenterCropPad", "CumSum", "Expand", "OneHot", "Reshape", "ReverseSequence", "Split"),
            *("Squeeze", "Tile", "TopK", "Trilu", "Unsqueeze", "Upsample"),
            *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
            *("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
            *("Compress", "CumProd", "AffineGrid"),
        )
    },
    "Slice": (1, 2, 3, 4),
    "Pad": (1, 2, 3),
    "Resize": (1, 2, 3),
    **dict.fromkeys(("GRU", "LSTM", "RNN", "DynamicQuantizeLSTM"), (4,)),
    **dict.fromkeys(("ConstantOfShape", "BlackmanWindow", "HammingWindow", "HannWindow"), (0,)),
    "Loop": (0, 1),
    "Range": (0, 1, 2),
    "MelWeightMatrix": (0, 1, 2, 3, 4),
    "Col2Im": (1, 2),
    "DFT": (1, 2),
    "STFT": (1, 3),
    "ConvInteger": (2,),
    "Dropout": (1, 2),
    "MaxUnpool": (2,),
}
"""Inputs of operators that must be known when a program is compiled: shapes depend on them."""

Run = Callable[[dict[str, Array]], Mapping[str, Array]]
Build = Callable[["ModuleOp"], Run]


class Unsupported(KpuError, BackendIsNotSupposedToImplementIt):
    """A valid model that we cannot compile, as ONNX's runner wants to be told."""


class KpuRep(BackendRep):
    """A prepared model: a program for each set of shapes that it is run with.

    Inputs that shapes depend on (``SHAPE_INPUTS``) are constants of a program; other values of
    theirs make another one. ``programs`` has them all.
    """

    def __init__(self, model: ModelProto, build: Build) -> None:
        """Prepare ``model``; what depends on no input's shape or value is compiled now."""
        self.model = model
        self.build = build
        self.programs: dict[Any, Run] = {}
        known = {tensor.name for tensor in model.graph.initializer}
        self.inputs = [i for i in model.graph.input if i.name not in known]
        self.fixed = shape_inputs(model.graph)
        self._outputs = namedtupledict("Outputs", [o.name for o in model.graph.output])
        for info in (*self.inputs, *model.graph.output):
            if not info.type.HasField("tensor_type"):
                kind = info.type.WhichOneof("value") or "value without a type"
                raise Unsupported(f"{info.name!r} is a {kind}", hint="only tensors are supported")
        self.dynamic = any(
            not kind.HasField("shape") or any(not d.HasField("dim_value") for d in kind.shape.dim)
            for kind in (i.type.tensor_type for i in self.inputs if i.name not in self.fixed)
        )
        if not self.fixed and not self.dynamic:
            self._program({}, {})

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Outputs in the model's order, of the types that it declares.

        ``inputs`` is a sequence in the order of the model's inputs, a mapping by name, or the only
        input. Raises ``KpuError`` for inputs that are not as declared.
        """
        if kwargs:
            raise KpuError(f"there is no option '{next(iter(kwargs))}'", hint="give it to prepare")
        given = self._named(inputs)
        constants = {name: given.pop(name) for name in self.fixed if name in given}
        shapes = {name: array.shape for name, array in given.items()}
        results = self._program(shapes, constants)(given)
        return self._outputs(*(results[o.name] for o in self.model.graph.output))

    def _named(self, inputs: Any) -> dict[str, Array]:
        """The inputs by name; those that shapes depend on are of the declared types."""
        kinds = {info.name: dtype_of_info(info) for info in self.inputs}
        names = ", ".join(kinds) or "none"
        if isinstance(inputs, np.ndarray):
            inputs = [inputs]
        if not isinstance(inputs, Mapping):
            if len(inputs) != len(kinds):
                raise KpuError(
                    f"expected {len(kinds)} inputs, got {len(inputs)}", hint=f"inputs: {names}"
                )
            inputs = dict(zip(kinds, inputs))
        given = {str(name): as_array(value) for name, value in inputs.items()}
        for name in given.keys() - kinds.keys():
            raise KpuError(f"there is no input '{name}'", hint=f"inputs: {names}")
        for name, kind in kinds.items():
            if name not in given:
                raise KpuError(f"input '{name}' is missing", hint=f"inputs: {names}")
            if name in self.fixed and given[name].dtype != kind:
                raise KpuError(f"input '{name}': expected {kind}, got {given[name].dtype}")
        return given

    def _program(
        self, shapes: Mapping[str, tuple[int, ...]], constants: Mapping[str, Array]
    ) -> Run:
        """The program for inputs of these shapes and constants of these values."""
        if not self.dynamic:
            shapes = {}  # a program's own check tells what does not fit
        values = tuple((n, a.shape, a.tobytes()) for n, a in constants.items())
        key = (tuple(shapes.items()), values)
        if key not in self.programs:
            try:
                self.programs[key] = self.build(import_onnx(self.model, shapes, constants))
            except KpuError as error:
                raise Unsupported(error.message, error.where, error.hint) from None
        return self.programs[key]


def shape_inputs(graph: GraphProto) -> list[str]:
    """The graph's inputs that operators read as shapes, axes or sizes, themselves or computed."""
    wanted = {
        node.input[i]
        for node in graph.node
        for i in SHAPE_INPUTS.get(node.op_type, ())
        if i < len(node.input) and node.input[i]
    }
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
    known = {tensor.name for tensor in graph.initializer}
    return [i.name for i in graph.input if i.name in wanted and i.name not in known]


def dtype_of_info(info: onnx.ValueInfoProto) -> np.dtype[Any]:
    """The declared dtype of an input or output."""
    return np.dtype(helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type))


def as_array(value: Any) -> Array:
    """An input; those of types that NumPy lacks may be ``TensorProto``."""
    if isinstance(value, TensorProto):
        return cast("Array", numpy_helper.to_array(value))
    return np.asarray(value)


class KpuBackend(Backend):
    """Models through the whole stack: lowered to ``dma``, run on the simulated machine."""

    @classmethod
    def is_compatible(cls, model: ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether a model can be imported; what is known only when it runs is not looked at."""
        if not cls.supports_device(device):
            return False
        try:
            KpuRep(model, lambda module: lambda inputs: {})
        except KpuError:
            return False
        return True

    @classmethod
    def prepare(
        cls,
        model: ModelProto,
        device: str = "CPU",
        *,
        machine: str = "default",
        search: str = "none",
        **kwargs: Any,
    ) -> KpuRep:
        """Compile a model; options as for ``kpu_ir.compile``, with simple schedules by default.

        Raises ``Unsupported``, a ``KpuError``, for a valid model that cannot be compiled.
        """
        if not cls.supports_device(device):
            raise KpuError(f"there is no device '{device}'", hint=f"devices: {', '.join(DEVICES)}")
        settings = {k: v for k, v in kwargs.items() if k not in RUNNERS_OWN}
        unknown = sorted(settings.keys() - {f.name for f in fields(Options)})
        if unknown:
            raise KpuError(f"there is no option '{unknown[0]}'", hint="see kpu_ir.Options")
        try:
            check_model(model)
        except ValidationError as error:
            raise KpuError(f"not a valid model: {error}") from None
        settings["search"] = search
        return KpuRep(model, lambda module: compile(module, machine, **settings))

    @classmethod
    def run_model(
        cls, model: ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any
    ) -> tuple[Any, ...]:
        """The outputs of a model, in its order."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[Any, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """The outputs of one operator; ``inputs`` are those that it names, in its order.

        ``opset_version`` is that of the operator's domain, the newest by default. ``outputs_info``,
        dtype and shape of each output, is inferred if it is not given.
        """
        names = [name for name in node.input if name]
        if isinstance(inputs, np.ndarray):
            inputs = [inputs]
        if not isinstance(inputs, Mapping):
            if len(inputs) != len(names):
                raise KpuError(f"{node.op_type} reads {len(names)} inputs, got {len(inputs)}")
            inputs = dict(zip(names, inputs))
        arrays = {str(name): as_array(value) for name, value in inputs.items()}
        version = kwargs.pop("opset_version", None) or newest_version(node.domain)
        model = model_of(node, arrays, version, outputs_info)
        return cls.prepare(model, device, **kwargs).run(arrays)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """CPU, where the machine is simulated, or KPU."""
        return device.partition(":")[0] in DEVICES


def model_of(
    node: NodeProto,
    inputs: Mapping[str, Array],
    version: int,
    outputs_info: Sequence[tuple[Any, tuple[int, ...]]] | None = None,
) -> ModelProto:
    """The model of one operator on inputs like these."""
    names = [name for name in node.output if name]
    if outputs_info is None:
        outputs = [onnx.ValueInfoProto(name=name) for name in names]
    else:
        outputs = [_info(n, dtype, shape) for n, (dtype, shape) in zip(names, outputs_info)]
    graph = helper.make_graph(
        [node], "node", [_info(n, a.dtype, a.shape) for n, a in inputs.items()], outputs
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, version)])
    return model if outputs_info is not None else shape_inference.infer_shapes(model)


def newest_version(domain: str) -> int:
    """The version of the last change to an operator of a domain."""
    schemas = defs.get_all_schemas_with_history()
    return max((s.since_version for s in schemas if s.domain == domain), default=1)


def _info(name: str, dtype: Any, shape: Sequence[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(shape)
    )


is_compatible = KpuBackend.is_compatible
prepare = KpuBackend.prepare
run = KpuBackend.run_model
run_model = KpuBackend.run_model
run_node = KpuBackend.run_node
supports_device = KpuBackend.supports_device
