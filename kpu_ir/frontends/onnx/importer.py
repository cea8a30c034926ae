"""From an ONNX graph to the ``kernel`` level.

Nodes are taken in topological order. What is known at import (initialisers, constants, shapes, and
what follows from them) is kept as NumPy arrays and folded by ONNX's own reference, so arithmetic on
shapes disappears; everything else is written by its operator's function (``node.OPERATORS``), as what
is in its branches and bodies (``control.py``), or as the function that ONNX defines it by
(``functions.py``).
"""

from __future__ import annotations

import re
from collections import ChainMap, Counter
from collections.abc import Generator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from xdsl.dialects.builtin import (
    DictionaryAttr,
    IntegerAttr,
    ModuleOp,
    NameLoc,
    NoneAttr,
    StringAttr,
)
from xdsl.transforms.dead_code_elimination import region_dce

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel.quantized import REQUANTIZE
from kpu_ir.frontends.onnx.control import CONTROL
from kpu_ir.frontends.onnx.declared import (
    check_output,
    check_size,
    dtype_of_input,
    given_value,
    info_of,
    input_shapes,
)
from kpu_ir.frontends.onnx.diagnosis import check_nodes, check_versions, infer, slim
from kpu_ir.frontends.onnx.folding import fold, may_fold
from kpu_ir.frontends.onnx.functions import Function, function_of, has_function
from kpu_ir.frontends.onnx.indices import check_indices
from kpu_ir.frontends.onnx.load import not_text, onnx_package, read_model, read_sparse
from kpu_ir.frontends.onnx.node import OPERATORS, Constants, Node, Tensor, node_text
from kpu_ir.frontends.onnx.order import (
    graphs_of,
    inlined,
    ir_names,
    live,
    sort_nodes,
    with_one_domain,
)
from kpu_ir.frontends.onnx.work import MODEL, macs, refuse
from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.python.value import Value
from kpu_ir.frontends.raising import raise_names
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array, element_type_of
from kpu_ir.text.places import node_location

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

NOT_FOLDED = re.compile("Random|Bernoulli|Multinomial|DequantizeLinear")
"""Operators that are written though all they read is known: no two results are equal, or weights stay
as small as they are stored."""
KNOWN_BY_SHAPE = ("Shape", "Size", "EyeLike")
WITHOUT_TENSORS = ("Constant",)
"""Operators that read nothing and are known all the same."""


def import_onnx(
    model: str | Path | ModelProto,
    shapes: Mapping[str, Sequence[int]] | None = None,
    constants: Mapping[str, Array] | None = None,
    values: bool = True,
) -> ModuleOp:
    """The module of a model.

    ``shapes`` gives shapes to inputs with dynamic dimensions, by the input's name, or values to
    dimensions, by theirs; a shape for an initializer that is an input too makes it an input again.
    ``constants`` gives values to inputs, which then are inputs no more, and to such initializers.
    Without ``values``, weights that are not there become constants of a type alone.
    """
    onnx_package()
    folder, path = None, None
    try:
        if isinstance(model, str | Path):
            folder, path = Path(model).parent, str(model)
            proto = read_model(Path(model))
        else:
            proto = model
        if proto.functions:
            proto = inlined(proto)
        proto = with_one_domain(proto)
        return _Importer(proto, folder, shapes or {}, constants or {}, values).run()
    except UnicodeDecodeError as error:  # where protobuf does not give such texts as bytes
        raise not_text(error.object, path) from None


class _Importer:
    """One import."""

    def __init__(
        self,
        model: ModelProto,
        folder: Path | None,
        given_shapes: Mapping[str, Sequence[int]],
        constants: Mapping[str, Array],
        values: bool,
    ) -> None:
        self.model = model
        self.proto: GraphProto = model.graph
        self.folder = folder
        self.given_shapes = given_shapes
        self.given_values = dict(constants)
        self.versions: dict[str, int] = {o.domain: o.version for o in model.opset_import}
        self.graph = Graph()
        self.tensors: MutableMapping[str, Tensor] = {}
        self.constants = Constants(self.graph, folder, values)
        self.counts = {"macs": 0, "nodes": 0, "folded": 0, "device": 0}
        self.names = ir_names(self.proto)
        self.blamed: KpuError | None = None
        """The error that has the name of its node already, a node of a branch or body."""
        self.cover: NodeProto | None = None
        """The node whose function is being written: locations and errors are its own."""

    def run(self) -> ModuleOp:
        """The whole import."""
        check_versions(self.model, self.versions)
        inputs, weights = self.sources()
        nodes = sort_nodes(self.proto.node, {*weights, *(i.name for i in self.proto.input)})
        nodes = live(nodes, (info.name for info in self.proto.output))
        missing = self.unsupported(nodes, {*weights, *self.given_values})
        if missing:
            raise self.refusal(missing, nodes, inputs)
        dimensions = input_shapes(inputs, self.given_shapes)
        for info in inputs:
            kind = element_type_of(dtype_of_input(info))
            self.tensors[info.name] = self.graph.input(info.name, dimensions[info.name], kind)
        for name, tensor in weights.items():
            self.tensors[name] = tensor
        self.tensors.update(self.given_values)
        try:
            self.nodes(nodes)
        except KpuError:
            raise
        except Exception:
            check_nodes(nodes, self.versions)  # say what is wrong with the model, if anything is
            infer(self.slim(nodes), dimensions)
            raise
        infer(self.slim(nodes), dimensions)
        self.outputs()
        module = self.graph.module()
        for function in module.ops:
            # Norms and softmax that old exporters wrote step by step.
            raise_names(function.regions[0], products=False)
            region_dce(function.regions[0])
        self.requantization(module)
        module.attributes[MODEL] = DictionaryAttr(
            {key: IntegerAttr(n, 64) for key, n in self.counts.items()}
        )
        return module

    def requantization(self, module: ModuleOp) -> None:
        """Each quantize says how sums become quantized numbers again, if the model does (``kpu-quantize``)."""
        said = {p.key: p.value for p in self.model.metadata_props}.get("kpu_ir.requantize")
        if said is None:
            return
        if said not in REQUANTIZE:
            raise KpuError(
                f"the model's property kpu_ir.requantize is {said!r}",
                hint=f"it is {' or '.join(REQUANTIZE)}",
            )
        for op in module.walk():
            if isinstance(op, kernel.QuantizeOp):
                op.requantize = StringAttr(said)

    def sources(self) -> tuple[list[ValueInfoProto], dict[str, Tensor]]:
        """The inputs that a caller gives, and the weights, read where they are needed."""
        graph = self.proto
        for kind, named in (
            ("initializers", [t.name for t in graph.initializer]),
            ("inputs", [i.name for i in graph.input]),
            ("outputs", [o.name for o in graph.output]),
        ):
            twice = [name for name, n in Counter(named).items() if n > 1]
            if twice:
                raise KpuError(f"two {kind} are called {twice[0]!r}")
        if not graph.output:
            raise KpuError("the graph has no outputs")
        names = {i.name for i in graph.input}
        unknown = set(self.given_values) - names
        if unknown:
            raise KpuError(
                f"a value for {', '.join(sorted(map(repr, unknown)))}, which is no input",
                hint=f"the inputs are {', '.join(sorted(names)) or 'none'}",
            )
        given = names.intersection((*self.given_values, *self.given_shapes))
        weights = {
            **{t.name: self.constants.read(t) for t in graph.initializer if t.name not in given},
            **{
                s.values.name: read_sparse(s, self.folder)
                for s in graph.sparse_initializer
                if s.values.name not in given
            },
        }
        for info in graph.input:
            if info.name in self.given_values:
                value = given_value(info, self.given_values[info.name])
                input_shapes([info], {info.name: value.shape})
                self.given_values[info.name] = value
        known = weights.keys() | self.given_values.keys()
        return [i for i in graph.input if i.name not in known], weights

    def slim(self, nodes: Sequence[NodeProto]) -> ModelProto:
        """What ONNX's inference needs of the model. Branches that are not taken may be of any type:
        what control flow gives is as it was found."""
        given = {*self.given_values, *self.given_shapes}
        plain = [node for node in nodes if node.op_type not in CONTROL]
        model = slim(self.model, plain, self.folder, given)
        if len(plain) < len(nodes):
            found = [name for node in nodes if node.op_type in CONTROL for name in node.output]
            for name in found:
                if name in self.tensors:
                    model.graph.input.append(info_of(name, self.tensors[name]))
        return model

    def unsupported(self, nodes: Sequence[NodeProto], known: set[str]) -> list[NodeProto]:
        """Every node that cannot be written. What is known at import needs no support.

        What stands in a branch or body is looked at when it is known whether it runs.
        """
        known = set(known)
        missing: list[NodeProto] = []
        for node in nodes:
            reads = [name for name in node.input if name]
            foldable = all(name in known for name in reads) and not graphs_of(node)
            if node.domain == "" and node.op_type in (*WITHOUT_TENSORS, *KNOWN_BY_SHAPE):
                known.update(node.output)
            elif reads and foldable and not node.domain and not NOT_FOLDED.match(node.op_type):
                known.update(node.output)
            elif not self.has(node):
                missing.append(node)
        return missing

    def has(self, node: NodeProto) -> bool:
        """Whether there is a way to write a node."""
        if (node.domain, node.op_type) in OPERATORS:
            return True
        if node.domain:
            return False
        return node.op_type in CONTROL or has_function(node, self.versions.get("", 1))

    def refusal(
        self,
        missing: Sequence[NodeProto],
        nodes: Sequence[NodeProto],
        inputs: Sequence[ValueInfoProto],
    ) -> KpuError:
        """What is wrong with a model of unsupported operators, and how much of it that is."""
        try:
            dimensions = input_shapes(inputs, self.given_shapes)
        except KpuError:  # sizes are not given: the operators matter more
            dimensions = dict[str, tuple[int, ...]]()
        return refuse(missing, nodes, self.slim(nodes), dimensions)

    # -- nodes --------------------------------------------------------------------------------------

    def nodes(self, nodes: Sequence[NodeProto]) -> None:
        """Sorted nodes, one after the other."""
        for node in nodes:
            self.node(node)

    def node(self, proto: NodeProto) -> None:
        """One node: folded, or written by its operator's function."""
        inputs = [self.tensors.get(n) for n in proto.input]  # a function's may lack optional ones
        shown = self.cover or proto
        outer = self.graph.location
        text = shown.name or next((name for name in shown.output if name), "")
        self.graph.location = node_location(text, shown.op_type)
        try:
            results = self.results(proto, inputs)
            for name, result in zip(proto.output, results):
                check_size(tuple(result.shape), f"its result {name!r}")
        except KpuError as error:
            if self.blamed is not error:
                error.where = node_text(shown)
                self.blamed = error
            raise
        if proto.op_type not in CONTROL or proto.domain:  # what is inside is counted by itself
            self.count(proto, inputs, results)
        for name, result in zip(proto.output, results):
            if name:
                self.tensors[name] = result
                if isinstance(result, Value) and result.ssa.name_hint is None:
                    result.ssa.name_hint = self.names.get(name)
        self.graph.location = outer

    def count(
        self, proto: NodeProto, inputs: Sequence[Tensor | None], results: Sequence[Tensor]
    ) -> None:
        """Add a node to the model's work, or to what was folded."""
        on_device = any(isinstance(r, Value) for r in results)
        if on_device:
            ins = [tuple(v.shape) if v is not None else () for v in inputs]
            self.counts["macs"] += macs(proto, ins, [tuple(r.shape) for r in results])
        if self.cover is not None or proto.op_type == "Constant":
            return
        self.counts["nodes"] += 1
        self.counts["device" if on_device else "folded"] += 1

    def results(self, proto: NodeProto, inputs: Sequence[Tensor | None]) -> Sequence[Tensor]:
        """What a node computes."""
        handler = OPERATORS.get((proto.domain, proto.op_type))
        if not proto.domain and proto.op_type in CONTROL:
            return CONTROL[proto.op_type](self, proto, inputs)
        # What has no elements is known.
        inputs = [
            np.zeros(v.shape, v.dtype) if isinstance(v, Value) and 0 in v.shape else v
            for v in inputs
        ]
        version = self.versions.get(proto.domain, 1)
        check_indices(Node(proto, inputs, version, self.constants))
        given = [v for v in inputs if v is not None]
        arrays = [v for v in given if isinstance(v, np.ndarray)]
        if given and len(arrays) == len(given) and not proto.domain and not graphs_of(proto):
            written = self.has(proto)
            if (not written or may_fold(proto, inputs)) and not NOT_FOLDED.match(proto.op_type):
                try:
                    return fold(proto, inputs, self.versions)
                except KpuError:
                    if not written:  # else: a form that only our own function knows
                        raise
        if handler is not None:
            result = handler(Node(proto, inputs, version, self.constants))
            return [result] if isinstance(result, Value | np.ndarray) else result
        function = function_of(proto, inputs, version)
        if function is None:
            raise KpuError("this operator is not supported on values known only at run time")
        return self.function(proto, function, inputs)

    # -- graphs inside of nodes ---------------------------------------------------------------------

    @contextmanager
    def scope(self, bound: Mapping[str, Tensor], around: bool) -> Generator[None]:
        """Names that hold inside; those of ``around`` it hold too."""
        outer = self.tensors
        self.tensors = ChainMap(dict(bound), outer) if around else dict(bound)
        try:
            yield
        finally:
            self.tensors = outer

    def inside(self, graph: GraphProto, bound: Mapping[str, Tensor]) -> list[Tensor]:
        """The outputs of a branch or body whose inputs are ``bound``."""
        weights = {t.name: self.constants.read(t) for t in graph.initializer}
        weights |= {s.values.name: read_sparse(s, self.folder) for s in graph.sparse_initializer}
        wanted = [info.name for info in graph.output]
        with self.scope({**weights, **bound}, around=True):
            nodes = live(sort_nodes(graph.node, set[str](), self.tensors), wanted)
            self.nodes(nodes)
            missing = next((name for name in wanted if name not in self.tensors), None)
            if missing is not None:
                raise KpuError(f"its graph gives {missing!r}, which nothing in it computes")
            return [self.tensors[name] for name in wanted]

    def function(
        self, proto: NodeProto, function: Function, inputs: Sequence[Tensor | None]
    ) -> list[Tensor]:
        """What the nodes of a function compute in the place of ``proto``."""
        bound = {n: v for n, v in zip(function.inputs, inputs) if n and v is not None}
        outer, versions = self.cover, self.versions
        self.cover, self.versions = outer or proto, function.versions
        try:
            with self.scope(bound, around=False):
                self.nodes(live(function.nodes, function.outputs))
                return [self.tensors[name] for name in function.outputs]
        finally:
            self.cover, self.versions = outer, versions

    # -- results ------------------------------------------------------------------------------------

    def outputs(self) -> None:
        """Return the graph's outputs under their names."""
        self.graph.location = NameLoc(StringAttr("outputs"), NoneAttr())
        for info in self.proto.output:
            if info.name not in self.tensors:
                raise KpuError(f"output {info.name!r} is not computed by any node")
            tensor = self.tensors[info.name]
            value = tensor if isinstance(tensor, Value) else self.constants.value(tensor, info.name)
            if not self.given_shapes:
                check_output(info, value.shape)
            self.graph.output(info.name, value)
