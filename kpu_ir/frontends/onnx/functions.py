"""Operators that ONNX itself defines as functions of others: their nodes, for one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kpu_ir.frontends.onnx.load import onnx_package
from kpu_ir.frontends.onnx.node import Tensor
from kpu_ir.support.errors import KpuError

if TYPE_CHECKING:
    from onnx import AttributeProto, FunctionProto, NodeProto

NOT_WRITTEN = ("Bernoulli", "SequenceMap", "Optional")
"""Functions of random numbers and sequences."""


@dataclass(frozen=True)
class Function:
    """What stands for a node: nodes in order, the names of what they take and give."""

    inputs: Sequence[str]
    outputs: Sequence[str]
    nodes: Sequence[NodeProto]
    versions: dict[str, int]


def _schema(node: NodeProto, version: int) -> Any:
    defs = onnx_package().defs
    try:
        return defs.get_schema(node.op_type, version, "")
    except defs.SchemaError:
        return None


def has_function(node: NodeProto, version: int) -> bool:
    """Whether ONNX has a function for an operator of this version."""
    schema = _schema(node, version)
    if schema is None or node.op_type in NOT_WRITTEN:
        return False
    return schema.has_function or schema.has_context_dependent_function


def function_of(node: NodeProto, inputs: Sequence[Tensor | None], version: int) -> Function | None:
    """The function of a node on such inputs, its attributes put in; None if there is none."""
    if node.domain or not has_function(node, version):
        return None
    schema, found = _schema(node, version), None
    if schema.has_context_dependent_function:
        found = _of_context(schema, node, inputs, version)
    if found is None and schema.has_function:
        found = _plain(schema, version)
    if found is None:
        return None
    defaults = {name: a.default_value for name, a in schema.attributes.items()}
    given = {a.name: a for a in node.attribute}
    nodes = [_with_attributes(n, given, defaults) for n in found.node]
    outputs = [name for name, wanted in zip(found.output, node.output) if wanted]
    if any(not name for name in node.output):
        outputs = list(found.output)[: len(node.output)]
    versions = {o.domain: o.version for o in found.opset_import}
    return Function(list(found.input), outputs, nodes, versions or {"": version})


def _of_context(
    schema: Any, node: NodeProto, inputs: Sequence[Tensor | None], version: int
) -> FunctionProto | None:
    onnx = onnx_package()
    types: list[bytes] = []
    for tensor in inputs:
        kind = onnx.TypeProto()
        if tensor is not None:
            kind = onnx.helper.make_tensor_type_proto(
                onnx.helper.np_dtype_to_tensor_dtype(tensor.dtype), list(tensor.shape)
            )
        types.append(kind.SerializeToString())
    versions = [v for v in schema.context_dependent_function_opset_versions if v <= version]
    if not versions:
        return None
    data = schema.get_context_dependent_function_with_opset_version(
        max(versions), node.SerializeToString(), types
    )
    return _parsed(data)


def _plain(schema: Any, version: int) -> FunctionProto | None:
    versions = [v for v in schema.function_opset_versions if v <= version]
    return _parsed(schema.get_function_with_opset_version(max(versions))) if versions else None


def _parsed(data: bytes) -> FunctionProto | None:
    if not data:
        return None
    found = onnx_package().FunctionProto()
    found.ParseFromString(data)
    return found


def _with_attributes(
    node: NodeProto, given: dict[str, AttributeProto], defaults: dict[str, AttributeProto]
) -> NodeProto:
    """A node of a function with the caller's attributes in the place of references to them."""
    copy = type(node)()
    copy.CopyFrom(node)
    del copy.attribute[:]
    for attribute in node.attribute:
        if not attribute.ref_attr_name:
            copy.attribute.append(attribute)
            continue
        name = attribute.ref_attr_name
        found = given.get(name) or defaults.get(name)
        if found is None or not found.type:
            continue
        new = copy.attribute.add()
        new.CopyFrom(found)
        new.name = attribute.name
    if any(a.HasField("g") for a in copy.attribute):
        for attribute in copy.attribute:
            for i, inner in enumerate(attribute.g.node):
                attribute.g.node[i].CopyFrom(_with_attributes(inner, given, defaults))
    if not copy.op_type:
        raise KpuError("its function has a node without an operator")
    return copy
