"""Operators on rows: reductions, softmax, norms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kpu_ir.frontends.onnx.choosing import axis_of
from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.onnx.pooling import root
from kpu_ir.frontends.python.layers import dimension
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar import formulas
from kpu_ir.support.errors import KpuError


@operator("MeanVarianceNormalization")
def mean_variance(node: Node) -> Tensor:
    """Without scale and shift; the 1e-9 of ONNX's function is added to the deviation."""
    return node.graph.normalize(node.value(0), node.integers("axes") or [0, 2, 3], 1e-18)


@operator("LpNormalization")
def lp_norm(node: Node) -> Tensor:
    """Divided by the norm of 1 or 2 along a dimension; 0 where that is 0."""
    x, graph, p = node.value(0), node.graph, node.integer("p", 2)
    powers = graph.map(abs if p == 1 else formulas.square, x)
    sums = graph.reduce("add", powers, [axis_of(node, -1)])
    return graph.map(lambda v, s: formulas.where(s == 0, 0.0, v / root(s, p)), x, sums)


def reduced_axes(node: Node) -> list[int] | None:
    """The dimensions of a reduction; None where there is nothing to do."""
    rank = len(node.shape(0))
    axes = node.integers("axes")
    if axes is None and node.has(1):
        axes = node.numbers(1, "axes")
    if not axes:
        return None if node.integer("noop_with_empty_axes", 0) else list(range(rank))
    return [dimension(a, rank) for a in axes]


REDUCTIONS: dict[str, tuple[Any, str, Any]] = {
    "ReduceSum": (None, "add", None),
    "ReduceMean": (None, "add", None),
    "ReduceMax": (None, "max", None),
    "ReduceMin": (None, "min", None),
    "ReduceProd": (None, "mul", None),
    "ReduceL1": (abs, "add", None),
    "ReduceL2": (formulas.square, "add", formulas.sqrt),
    "ReduceSumSquare": (formulas.square, "add", None),
    "ReduceLogSum": (None, "add", formulas.log),
}
"""Operator: formula before, kind, formula after."""


@operator(*REDUCTIONS, "ReduceLogSumExp")
def reduce(node: Node) -> Tensor:
    """A formula, a reduction, a formula."""
    kind = node.proto.op_type
    keep = bool(node.integer("keepdims", 1))
    axes = reduced_axes(node)
    x, graph = node.value(0), node.graph
    if x.dtype.kind == "b":
        whole = graph.cast(x, np.int32)
        y = graph.reduce(REDUCTIONS[kind][1], whole, axes or [], keep)
        return graph.cast(y, np.bool_)
    if 0 in x.shape:
        raise KpuError(f"{kind} of an empty tensor is not supported")
    if kind == "ReduceLogSumExp":
        if axes is None:
            return x
        largest = graph.reduce("max", x, axes)
        total = graph.reduce("add", graph.map(lambda a, m: formulas.exp(a - m), x, largest), axes)
        y = graph.map(lambda s, m: formulas.log(s) + m, total, largest)
        shape = [n for a, n in enumerate(x.shape) if a not in axes]
        return y if keep else graph.reshape(y, shape)
    before, combine, after = REDUCTIONS[kind]
    y = graph.map(before, x) if before else x
    if axes is not None:
        y = graph.reduce(combine, y, axes, keep)
        if kind == "ReduceMean":
            count = math.prod(x.shape[a] for a in axes)
            integral = x.dtype.kind in "iu"
            y = graph.map(lambda s: formulas.divide(s, count), y) if integral else y * (1.0 / count)
    return graph.map(after, y) if after else y


@operator("Softmax", "LogSoftmax")
def softmax(node: Node) -> Tensor:
    """Along a dimension; before version 13 over all dimensions from ``axis`` on."""
    x, graph = node.value(0), node.graph
    log = node.proto.op_type == "LogSoftmax"
    if node.version >= 13:
        return graph.softmax(x, axis_of(node, -1), log)
    axis = 0 if not x.shape else axis_of(node, 1)
    rows = (math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))
    return graph.reshape(graph.softmax(graph.reshape(x, rows), 1, log), x.shape)


@operator("LayerNormalization", "RMSNormalization")
def layer_norm(node: Node) -> Tensor | list[Tensor]:
    """Over the dimensions from ``axis`` on."""
    x = node.value(0)
    axis = axis_of(node, -1)
    shift = node.value(2) if node.has(2) else None
    graph, axes, epsilon = node.graph, range(axis, len(x.shape)), node.number("epsilon", 1e-5)
    center = node.proto.op_type == "LayerNormalization"
    y = graph.normalize(x, axes, epsilon, node.value(1), shift, center)
    if not node.wants(1) and not node.wants(2):
        return y
    return [y, *with_deviation(node, x, axes, epsilon)]


def with_deviation(node: Node, x: Value, axes: Sequence[int], epsilon: float) -> list[Tensor]:
    """The mean along dimensions, and one over the deviation."""
    graph = node.graph
    mean = graph.mean(x, axes)
    power = graph.mean(graph.map(lambda a, m: (a - m) * (a - m), x, mean), axes)
    return [mean, graph.map(lambda p: 1.0 / formulas.sqrt(p + epsilon), power)]


@operator("BatchNormalization")
def batch_norm(node: Node) -> Tensor | list[Tensor]:
    """At inference a scale and a shift of each channel; in training by the batch's own mean and
    variance, which the running ones follow."""
    x, graph = node.value(0), node.graph
    shape = (1, -1, *(1 for _ in x.shape[2:]))
    epsilon = node.number("epsilon", 1e-5)
    if node.integer("training_mode", 0):
        return batch_norm_of_training(node, x, epsilon)
    known = [node.known(i) for i in range(1, 5)]
    if all(k is not None for k in known):
        scale, shift, mean, variance = (np.asarray(k, np.float64) for k in known)
        factor = scale / np.sqrt(variance + epsilon)
        dtype = x.dtype
        a = graph.constant(factor.astype(dtype).reshape(shape))
        b = graph.constant((shift - mean * factor).astype(dtype).reshape(shape))
        return graph.map(lambda v, f, s: v * f + s, x, a, b)
    scale, shift, mean, variance = (graph.reshape(node.value(i), shape) for i in range(1, 5))
    return graph.map(
        lambda v, f, s, m, p: (v - m) / formulas.sqrt(p + epsilon) * f + s,
        x,
        scale,
        shift,
        mean,
        variance,
    )


def batch_norm_of_training(node: Node, x: Value, epsilon: float) -> list[Tensor]:
    """The result, and the running mean and variance after it."""
    graph, momentum = node.graph, node.number("momentum", 0.9)
    axes = [a for a in range(len(x.shape)) if a != 1]
    shape = (1, -1, *(1 for _ in x.shape[2:]))
    scale, shift = (graph.reshape(node.value(i), shape) for i in (1, 2))
    y = graph.normalize(x, axes, epsilon, scale, shift)
    mean = graph.mean(x, axes)
    power = graph.mean(graph.map(lambda a, m: (a - m) * (a - m), x, mean), axes)
    after: list[Tensor] = [y]
    for i, now in ((3, mean), (4, power)):
        old = node.value(i)
        now = graph.cast(graph.reshape(now, old.shape), old.dtype)
        after.append(graph.map(lambda o, n: o * momentum + n * (1.0 - momentum), old, now))
    return after


@operator("InstanceNormalization")
def instance_norm(node: Node) -> Tensor:
    """Each channel of each image by itself."""
    x, graph = node.value(0), node.graph
    shape = (1, -1, *(1 for _ in x.shape[2:]))
    scale, shift = (graph.reshape(node.value(i), shape) for i in (1, 2))
    return graph.normalize(x, range(2, len(x.shape)), node.number("epsilon", 1e-5), scale, shift)


@operator("GroupNormalization")
def group_norm(node: Node) -> Tensor:
    """Channels in groups; scale and shift are of channels (of groups before version 21)."""
    x, graph, groups = node.value(0), node.graph, node.integer("num_groups", 1)
    n, c, *spatial = x.shape
    rows = graph.reshape(x, (n, groups, c // groups, *spatial))
    axes = range(2, len(rows.shape))
    ones = [1] * len(spatial)
    per = (1, groups, c // groups, *ones) if node.version >= 21 else (1, groups, 1, *ones)
    scale, shift = (graph.reshape(node.value(i), per) for i in (1, 2))
    y = graph.normalize(rows, axes, node.number("epsilon", 1e-5), scale, shift)
    return graph.reshape(y, x.shape)
