"""Operators along a dimension, each element after those before it: cumulative sums and products."""

from __future__ import annotations

from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.support.errors import KpuError


def scan_axis(node: Node) -> int:
    """Input 1, from 0 on."""
    rank, axis = len(node.shape(0)), node.single(1, "axis")
    if not -rank <= axis < rank:
        raise KpuError(f"axis {axis} is outside the rank {rank}")
    return axis + rank * (axis < 0)


@operator("CumSum", "CumProd")
def cumulated(node: Node) -> Tensor:
    """A scan; Booleans and short integers keep their type."""
    kind = "add" if node.proto.op_type == "CumSum" else "mul"
    back, exclusive = (bool(node.integer(name, 0)) for name in ("reverse", "exclusive"))
    return node.graph.scan(kind, node.value(0), scan_axis(node), back, exclusive)
