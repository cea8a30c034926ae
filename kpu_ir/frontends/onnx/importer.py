"""From an ONNX graph to the ``kernel`` level.

Nodes are taken in topological order. What is known at import (initialisers, constants, shapes, and
what follows from them) is kept as NumPy arrays and folded by ONNX's own reference, so arithmetic on
shapes disappears; everything else is written by its operator's function (``node.OPERATORS``).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from xdsl.dialects.builtin import (
    DictionaryAttr,
    IntegerAttr,
    ModuleOp,
    NameLoc,
    NoneAttr,
    StringAttr,
)

from kpu_ir.dialects.kernel import shape_text
from kpu_ir.frontends.onnx.load import onnx_package, read_model, read_tensor, with_data
from kpu_ir.frontends.onnx.node import OPERATORS, Constants, Node, Tensor, node_text
from kpu_ir.frontends.onnx.order import inlined, ir_names, sort_nodes
from kpu_ir.frontends.onnx.work import MODEL, macs, refuse
from kpu_ir.frontends.python.graph import Graph, Value
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array, element_type_of
from kpu_ir.text.places import node_location

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

FOLDED_ELEMENTS = 4096
"""Nodes on known inputs of up to this many elements are folded at import, larger ones by passes."""

SMALL = 1 << 14
"""Elements of a weight that shape inference may look at."""

MOST_ELEMENTS = 1 << 44
MOST_DIMENSIONS = 32
"""What is refused at once; a machine's memory is asked about later."""

NOT_FOLDED = re.compile("Random|Bernoulli|Multinomial")
KNOWN_BY_SHAPE = ("Shape", "Size")


def import_onnx(
    model: str | Path | ModelProto,
    shapes: Mapping[str, Sequence[int]] | None = None,
    constants: Mapping[str, Array] | None = None,
) -> ModuleOp:
    """The module of a model.

    ``shapes`` gives shapes to inputs with dynamic dimensions, by the input's name, or values to
    dimensions, by theirs. ``constants`` gives values to inputs, which then are inputs no more.
    """
    onnx_package()
    folder = None
    if isinstance(model, str | Path):
        folder = Path(model).parent
        proto = read_model(Path(model))
    else:
        proto = model
    if proto.functions:
        proto = inlined(proto)
    return _Importer(proto, folder, shapes or {}, constants or {}).run()


class _Importer:
    """One import."""

    def __init__(
        self,
        model: ModelProto,
        folder: Path | None,
        given_shapes: Mapping[str, Sequence[int]],
        constants: Mapping[str, Array],
    ) -> None:
        self.model = model
        self.proto: GraphProto = model.graph
        self.folder = folder
        self.given_shapes = given_shapes
        self.given_values = constants
        self.versions = {_domain(o.domain): o.version for o in model.opset_import}
        self.graph = Graph()
        self.tensors: dict[str, Tensor] = {}
        self.constants = Constants(self.graph)
        self.counts = {"macs": 0, "nodes": 0, "folded": 0, "device": 0}
        self.names = ir_names(self.proto)

    def run(self) -> ModuleOp:
        """The whole import."""
        self.check_versions()
        initializers = {t.name: t for t in self.proto.initializer}
        for kind, named in (("initializers", self.proto.initializer), ("inputs", self.proto.input)):
            twice = [name for name, n in Counter(t.name for t in named).items() if n > 1]
            if twice:
                raise KpuError(f"two {kind} are called {twice[0]!r}")
        if not self.proto.output:
            raise KpuError("the graph has no outputs")
        if self.proto.sparse_initializer:
            raise KpuError("sparse initializers are not supported")
        unknown = set(self.given_values) - {i.name for i in self.proto.input}
        if unknown:
            raise KpuError(f"constants for {', '.join(sorted(unknown))}, which are no inputs")
        inputs = [
            i
            for i in self.proto.input
            if i.name not in initializers and i.name not in self.given_values
        ]
        nodes = sort_nodes(self.proto.node, {*initializers, *(i.name for i in self.proto.input)})
        missing = self.unsupported(nodes, {*initializers, *self.given_values})
        if missing:
            raise self.refusal(missing, nodes, inputs)
        dimensions = self.input_shapes(inputs)
        for info in inputs:
            kind = element_type_of(_np_dtype(info.type.tensor_type.elem_type, info.name))
            self.tensors[info.name] = self.graph.input(info.name, dimensions[info.name], kind)
        for name, tensor in initializers.items():
            self.tensors[name] = read_tensor(tensor, self.folder)
        self.tensors |= self.given_values
        try:
            for node in nodes:
                self.node(node)
        except KpuError:
            raise
        except Exception:
            self.check_nodes(nodes)  # say what is wrong with the model, if anything is
            self.infer(nodes, dimensions)
            raise
        self.infer(nodes, dimensions)
        self.outputs()
        module = self.graph.module()
        module.attributes[MODEL] = DictionaryAttr(
            {key: IntegerAttr(n, 64) for key, n in self.counts.items()}
        )
        return module

    def check_versions(self) -> None:
        """Refuse operators of versions that nobody here knows."""
        newest = onnx_package().defs.onnx_opset_version()
        if "" not in self.versions and any(not _domain(n.domain) for n in self.proto.node):
            raise KpuError("the model does not say which version of ONNX's operators it uses")
        version = self.versions.get("", 1)
        if not 1 <= version <= newest:
            raise KpuError(
                f"operators of version {version}; the onnx package knows 1 to {newest}",
                hint="pip install --upgrade onnx, or export the model for an older version",
            )

    def check_nodes(self, nodes: Sequence[NodeProto]) -> None:
        """Let ONNX's checker find what is not as a node's operator has it: attributes, inputs."""
        from onnx import checker

        context = checker.C.CheckerContext()
        context.ir_version = checker.DEFAULT_CONTEXT.ir_version
        context.opset_imports = dict(self.versions)
        for node in nodes:
            try:
                checker.check_node(node, context)
            except checker.ValidationError as error:
                message = next((line for line in str(error).splitlines() if line.strip()), "")
                raise KpuError(message, node_text(node)) from None

    def unsupported(self, nodes: Sequence[NodeProto], known: set[str]) -> list[NodeProto]:
        """Every node that cannot be written. What is known at import needs no support."""
        known = set(known)
        missing: list[NodeProto] = []
        for node in nodes:
            domain = _domain(node.domain)
            reads = [name for name in node.input if name]
            foldable = all(name in known for name in reads) and _has_no_graphs(node)
            if node.op_type == "Constant" or node.op_type in KNOWN_BY_SHAPE:
                known.update(node.output)
            elif reads and foldable and not domain and not NOT_FOLDED.match(node.op_type):
                known.update(node.output)
            elif (domain, node.op_type) not in OPERATORS:
                missing.append(node)
        return missing

    def refusal(
        self,
        missing: Sequence[NodeProto],
        nodes: Sequence[NodeProto],
        inputs: Sequence[ValueInfoProto],
    ) -> KpuError:
        """What is wrong with a model of unsupported operators, and how much of it that is."""
        try:
            dimensions = self.input_shapes(inputs)
        except KpuError:  # sizes are not given: the operators matter more
            dimensions = dict[str, tuple[int, ...]]()
        return refuse(missing, nodes, self.slim(nodes), dimensions)

    def input_shapes(self, inputs: Sequence[ValueInfoProto]) -> dict[str, tuple[int, ...]]:
        """The static shape of each input, with what the user gave for dynamic dimensions."""
        symbols: dict[str, int] = {}
        names = {i.name: i for i in inputs}
        for name, given in self.given_shapes.items():
            if name not in names:
                if len(given) != 1:
                    raise KpuError(
                        f"a shape for {name!r}, which is no input",
                        hint=f"the inputs are {', '.join(names) or 'none'}",
                    )
                symbols[name] = given[0]
                continue
            kind = names[name].type.tensor_type
            if kind.HasField("shape"):
                self.check_shape(names[name], given, symbols)
        result: dict[str, tuple[int, ...]] = {}
        dynamic: list[str] = []
        for info in inputs:
            kind = info.type.tensor_type
            if not info.type.HasField("tensor_type"):
                raise KpuError(f"input {info.name!r}: expected a tensor")
            if info.name in self.given_shapes:
                result[info.name] = tuple(int(n) for n in self.given_shapes[info.name])
                check_size(result[info.name], f"input {info.name!r}")
                continue
            extents = [_extent(d, symbols) for d in kind.shape.dim]
            if not kind.HasField("shape") or None in extents:
                texts = [
                    str(d.dim_param or "?") if e is None else str(e)
                    for d, e in zip(kind.shape.dim, extents)
                ]
                dynamic.append(f"{info.name!r} of shape {'x'.join(texts) or 'unknown'}")
                continue
            result[info.name] = tuple(e for e in extents if e is not None)
            check_size(result[info.name], f"input {info.name!r}")
        if dynamic:
            name = next(i.name for i in inputs if i.name not in result)
            raise KpuError(
                f"dynamic dimensions: input {', input '.join(dynamic)}",
                hint=f"give them a size, such as --shape {name}=1x128",
            )
        return result

    def check_shape(
        self, info: ValueInfoProto, given: Sequence[int], symbols: dict[str, int]
    ) -> None:
        """A given shape keeps the fixed extents; it gives a value to each named dimension."""
        dims = info.type.tensor_type.shape.dim
        fixed = [_extent(d, {}) for d in dims]
        if len(fixed) != len(given) or any(f not in (None, n) for f, n in zip(fixed, given)):
            text = "x".join("?" if n is None else str(n) for n in fixed) or "scalar"
            raise KpuError(
                f"input {info.name!r} has shape {text} in the model, got {shape_text(given)}"
            )
        for dim, n in zip(dims, given):
            if dim.dim_param and symbols.setdefault(dim.dim_param, n) != n:
                raise KpuError(
                    f"input {info.name!r}: dimension {dim.dim_param!r} is "
                    f"{symbols[dim.dim_param]} elsewhere, got {n}"
                )

    def infer(self, nodes: Sequence[NodeProto], dimensions: Mapping[str, tuple[int, ...]]) -> None:
        """Let ONNX's shape inference find nodes whose shapes or types do not fit."""
        onnx = onnx_package()
        model = self.slim(nodes)
        graph = model.graph
        for node in graph.node:
            self.with_defaults(node)
        for info in graph.input:
            if info.name in dimensions:
                shape = info.type.tensor_type.shape
                del shape.dim[:]
                for n in dimensions[info.name]:
                    shape.dim.add().dim_value = n
        for info in graph.output:
            info.type.tensor_type.ClearField("shape")
        try:
            onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        except Exception as error:
            message, where = _inference_message(str(error), nodes)
            raise KpuError(message, where) from None

    def slim(self, nodes: Sequence[NodeProto]) -> ModelProto:
        """The model of these nodes without its large weights: inference needs shapes only."""
        model = type(self.model)()
        model.ir_version = self.model.ir_version
        model.opset_import.extend(self.model.opset_import)
        graph = model.graph
        graph.name = self.proto.name or "graph"
        graph.node.extend(nodes)
        graph.input.extend(self.proto.input)
        graph.output.extend(self.proto.output)
        for tensor in self.proto.initializer:
            if math.prod(tensor.dims) <= SMALL:
                graph.initializer.append(with_data(tensor, self.folder))
            else:
                graph.initializer.add(
                    name=tensor.name, data_type=tensor.data_type, dims=tensor.dims
                )
        return model

    def with_defaults(self, node: NodeProto) -> None:
        """Spell out an attribute that ONNX's inference misses where it expands a function."""
        if node.op_type == "MeanVarianceNormalization" and not node.attribute:
            from onnx.helper import make_attribute

            node.attribute.append(make_attribute("axes", [0, 2, 3]))

    def node(self, proto: NodeProto) -> None:
        """One node: folded, or written by its operator's function."""
        missing = [n for n in proto.input if n and n not in self.tensors]
        assert not missing, missing
        inputs = [self.tensors[n] if n else None for n in proto.input]
        self.graph.location = node_location(proto.name or proto.output[0], proto.op_type)
        try:
            results = self.results(proto, inputs)
            for name, result in zip(proto.output, results):
                check_size(tuple(result.shape), f"its result {name!r}")
        except KpuError as error:
            error.where = node_text(proto)
            raise
        self.count(proto, inputs, results)
        for name, result in zip(proto.output, results):
            if name:
                self.tensors[name] = result
                if isinstance(result, Value) and result.ssa.name_hint is None:
                    result.ssa.name_hint = self.names[name]

    def count(
        self, proto: NodeProto, inputs: Sequence[Tensor | None], results: Sequence[Tensor]
    ) -> None:
        """Add a node to the model's work, or to what was folded."""
        if proto.op_type != "Constant":
            self.counts["nodes"] += 1
        if any(isinstance(r, Value) for r in results):
            self.counts["device"] += 1
            ins = [tuple(v.shape) if v is not None else () for v in inputs]
            self.counts["macs"] += macs(proto, ins, [tuple(r.shape) for r in results])
        elif proto.op_type != "Constant":
            self.counts["folded"] += 1

    def results(self, proto: NodeProto, inputs: Sequence[Tensor | None]) -> Sequence[Tensor]:
        """What a node computes."""
        domain = _domain(proto.domain)
        handler = OPERATORS.get((domain, proto.op_type))
        # What has no elements is known.
        inputs = [
            np.zeros(v.shape, v.dtype) if isinstance(v, Value) and 0 in v.shape else v
            for v in inputs
        ]
        given = [v for v in inputs if v is not None]
        arrays = [v for v in given if isinstance(v, np.ndarray)]
        if given and len(arrays) == len(given) and not domain and _has_no_graphs(proto):
            small = sum(a.size for a in arrays) <= FOLDED_ELEMENTS
            if (handler is None or small) and not NOT_FOLDED.match(proto.op_type):
                try:
                    return self.fold(proto, inputs)
                except KpuError:
                    if handler is None:  # else: a form that only our own function knows
                        raise
        if handler is None:
            raise KpuError("this operator is not supported on values known only at run time")
        result = handler(Node(proto, inputs, self.versions.get(domain, 1), self.constants))
        return [result] if isinstance(result, Value | np.ndarray) else result

    def fold(self, proto: NodeProto, inputs: Sequence[Tensor | None]) -> Sequence[Tensor]:
        """The results of a node on known inputs, by ONNX's reference."""
        from onnx.reference import ReferenceEvaluator

        feeds = {n: v for n, v in zip(proto.input, inputs) if n}
        try:
            with np.errstate(all="ignore"):
                runner: Any = ReferenceEvaluator(proto, opsets=dict(self.versions))
                results = runner.run(None, feeds)
        except Exception as error:
            raise KpuError(f"cannot compute it on its known inputs: {error}") from None
        if not all(isinstance(r, np.ndarray | np.generic) for r in results):
            raise KpuError("expected tensors on its known inputs, got sequences or nothing")
        return [np.asarray(r) for r in results]

    def outputs(self) -> None:
        """Return the graph's outputs under their names."""
        self.graph.location = NameLoc(StringAttr("outputs"), NoneAttr())
        for info in self.proto.output:
            if info.name not in self.tensors:
                raise KpuError(f"output {info.name!r} is not computed by any node")
            tensor = self.tensors[info.name]
            value = tensor if isinstance(tensor, Value) else self.constants.value(tensor, info.name)
            self.check_output(info, value)
            self.graph.output(info.name, value)

    def check_output(self, info: ValueInfoProto, value: Value) -> None:
        """The declared shape, where it is fixed, is the computed one."""
        kind = info.type.tensor_type
        declared = [_extent(d, {}) for d in kind.shape.dim]
        if self.given_shapes or not kind.HasField("shape"):
            return
        fits = len(declared) == len(value.shape) and all(
            d in (None, n) for d, n in zip(declared, value.shape)
        )
        if not fits:
            text = "x".join("?" if n is None else str(n) for n in declared)
            raise KpuError(
                f"output {info.name!r} is declared with shape {text or 'scalar'}, "
                f"its node computes {shape_text(value.shape)}"
            )


def check_size(shape: Sequence[int], what: str) -> None:
    """Refuse tensors that no machine holds, whose sizes would not fit in an attribute of the IR, and
    those of more dimensions than NumPy computes with."""
    if len(shape) > MOST_DIMENSIONS:
        raise KpuError(
            f"{what} has {len(shape)} dimensions; at most {MOST_DIMENSIONS} are supported"
        )
    if math.prod(shape) > MOST_ELEMENTS:
        raise KpuError(f"{what} of shape {shape_text(shape)} has more than 2^44 elements")


def _has_no_graphs(node: NodeProto) -> bool:
    return not any(a.HasField("g") or a.graphs for a in node.attribute)


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _extent(dim: Any, symbols: Mapping[str, int]) -> int | None:
    """The size of a dimension, or None if it is dynamic."""
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return int(dim.dim_value)
    return symbols.get(dim.dim_param)


def _np_dtype(elem_type: int, name: str) -> np.dtype[Any]:
    """The dtype of an input."""
    from onnx import TensorProto
    from onnx.helper import tensor_dtype_to_np_dtype

    if elem_type == TensorProto.STRING or not elem_type:
        raise KpuError(f"input {name!r}: expected numbers, got strings or nothing")
    if elem_type not in TensorProto.DataType.values():
        raise KpuError(f"input {name!r}: there is no element type of number {elem_type}")
    return np.dtype(tensor_dtype_to_np_dtype(elem_type))


def _inference_message(text: str, nodes: Sequence[NodeProto]) -> tuple[str, str | None]:
    """What ONNX's inference complains about, and about which node."""
    found = re.search(r"\(op_type:\s*(\w+)(?:,\s*node name:\s*([^)]*))?\)", text)
    noise = r"Inference error\(s\):\s*|\[\w+Error\]\s*|\(op_type:[^)]*\):?\s*"
    message = re.sub(noise, "", text).strip()
    message = message.splitlines()[-1].strip() if message else text
    if not found:
        return message, None
    for node in nodes:
        if node.op_type == found[1] and (not found[2] or node.name == found[2]):
            return message, node_text(node)
    return message, f"node {found[2]!r} ({found[1]})"
