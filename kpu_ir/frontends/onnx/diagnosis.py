"""What ONNX's own checker and shape inference say is wrong with a model, and about which node."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kpu_ir.frontends.onnx.load import AbsentError, onnx_package, with_data
from kpu_ir.frontends.onnx.node import node_text
from kpu_ir.support.errors import KpuError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

SMALL = 1 << 14
"""Elements of a weight that shape inference may look at."""


def check_versions(model: ModelProto, versions: Mapping[str, int]) -> None:
    """Refuse operators of versions that nobody here knows."""
    newest = onnx_package().defs.onnx_opset_version()
    if "" not in versions and any(n.domain in ("", "ai.onnx") for n in model.graph.node):
        raise KpuError("the model does not say which version of ONNX's operators it uses")
    version = versions.get("", 1)
    if not 1 <= version <= newest:
        raise KpuError(
            f"operators of version {version}; the onnx package knows 1 to {newest}",
            hint="pip install --upgrade onnx, or export the model for an older version",
        )


def check_nodes(nodes: Sequence[NodeProto], versions: Mapping[str, int]) -> None:
    """Let ONNX's checker find what is not as a node's operator has it: attributes, inputs."""
    from onnx import checker

    context = checker.C.CheckerContext()
    context.ir_version = checker.DEFAULT_CONTEXT.ir_version
    context.opset_imports = dict(versions)
    for node in nodes:
        try:
            checker.check_node(node, context)
        except checker.ValidationError as error:
            message = next((line for line in str(error).splitlines() if line.strip()), "")
            raise KpuError(message, node_text(node)) from None


def infer(model: ModelProto, dimensions: Mapping[str, tuple[int, ...]]) -> None:
    """Let ONNX's shape inference find nodes whose shapes or types do not fit.

    ``model`` is ``slim``, and is changed: its inputs get ``dimensions``.
    """
    onnx = onnx_package()
    graph = model.graph
    for node in graph.node:
        _with_defaults(node)
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
        message, where = _inference_message(str(error), graph.node)
        raise KpuError(message, where) from None


def slim(
    source: ModelProto, nodes: Sequence[NodeProto], folder: Path | None, known: set[str]
) -> ModelProto:
    """The model of these nodes without its large weights: inference needs shapes only.

    Initializers that are ``known``, as users gave them other values, are inputs only.
    """
    model = type(source)()
    model.ir_version = source.ir_version
    model.opset_import.extend(source.opset_import)
    graph = model.graph
    graph.name = source.graph.name or "graph"
    graph.node.extend(nodes)
    graph.input.extend(source.graph.input)
    graph.output.extend(source.graph.output)
    for tensor in source.graph.initializer:
        if tensor.name in known:
            continue
        try:
            if math.prod(tensor.dims) <= SMALL:
                graph.initializer.append(with_data(tensor, folder))
                continue
        except AbsentError:
            pass
        graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    for sparse in source.graph.sparse_initializer:
        tensor = sparse.values
        graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=sparse.dims)
    return model


def _with_defaults(node: NodeProto) -> None:
    """Spell out an attribute that ONNX's inference misses where it expands a function."""
    if node.op_type == "MeanVarianceNormalization" and not node.attribute:
        from onnx.helper import make_attribute

        node.attribute.append(make_attribute("axes", [0, 2, 3]))


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
