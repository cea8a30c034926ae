"""Operators along a dimension, each element after those before it: cumulative sums and products."""

from __future__ import annotations

import numpy as np

from kpu_ir.frontends.onnx.choosing import check_made
from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.python.value import Value
from kpu_ir.support.errors import KpuError


def scan_axis(node: Node) -> int:
    """Input 1, from 0 on."""
    rank, axis = len(node.shape(0)), node.single(1, "axis")
    if not -rank <= axis < rank:
        raise KpuError(f"axis {axis} is outside the rank {rank}")
    return axis + rank * (axis < 0)


@operator("CumSum")
def cumsum(node: Node) -> Tensor:
    """A product with a triangular matrix of ones."""
    x, graph = node.value(0), node.graph
    axis = scan_axis(node)
    n = x.shape[axis]
    check_made(n * n)
    ones = np.triu(np.ones((n, n)), 1 if node.integer("exclusive", 0) else 0)
    if node.integer("reverse", 0):
        ones = ones[::-1, ::-1]
    order = [a for a in range(len(x.shape)) if a != axis] + [axis]
    rows = graph.transpose(x, order) if axis != len(x.shape) - 1 else x
    extents = rows.shape
    flat = graph.reshape(rows, (-1, n))
    y = graph.reshape(graph.matmul(flat, graph.constant(ones.astype(x.dtype))), extents)
    return graph.transpose(y, np.argsort(order).tolist()) if axis != len(x.shape) - 1 else y


@operator("CumProd")
def cumprod(node: Node) -> Tensor:
    """Each element times the one 1, 2, 4.. places before it: after log2 n steps times all of them."""
    x, graph = node.value(0), node.graph
    axis, shape = scan_axis(node), x.shape
    rank, n = len(shape), shape[axis]
    back = bool(node.integer("reverse", 0))

    def moved(value: Value, by: int) -> Value:
        """Elements ``by`` places on, with ones where there were none."""
        starts = [by if back and a == axis else 0 for a in range(rank)]
        kept = [n - by if a == axis else m for a, m in enumerate(shape)]
        part = graph.slice(value, starts, [1] * rank, kept)
        more = [by if a == axis else 0 for a in range(rank)]
        zeros = [0] * rank
        return graph.pad(part, zeros if back else more, more if back else zeros, 1.0)

    y = x
    if node.integer("exclusive", 0):
        y = moved(x, 1) if n > 1 else graph.constant(np.ones(shape, x.dtype))
    step = 1
    while step < n:
        y = y * moved(y, step)
        step *= 2
    return y
