"""Operators on rows: reductions, softmax, norms."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from xdsl.ir import Attribute

from kpu_ir.frontends.onnx.choosing import axis_of
from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.onnx.pooling import root
from kpu_ir.frontends.python.layers import dimension
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar import formulas
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.scalar.widening import working_type
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import dtype_of


@operator("MeanVarianceNormalization")
def mean_variance(node: Node) -> Tensor:
    """Without scale and shift; the 1e-9 of ONNX's function is added to the deviation."""
    return node.graph.normalize(node.value(0), node.integers("axes") or [0, 2, 3], 1e-18)


@operator("LpNormalization")
def lp_norm(node: Node) -> Tensor:
    """Divided by the norm of 1 or 2 along a dimension; 0 where that is 0."""
    x, graph, p = node.value(0), node.graph, node.integer("p", 2)
    kind, wide = x.element_type, working_type(x.element_type)
    powers = graph.map(in_type(abs if p == 1 else formulas.square, wide), x)
    sums = graph.reduce("add", powers, [axis_of(node, -1)])
    share = graph.map(lambda s: formulas.where(s == 0, 0.0, 1.0 / root(s, p)), sums)  # once a row
    return graph.map(lambda v, f: (v.to(wide) * f).to(kind), x, share)


def in_type(formula: Callable[[Any], Any], kind: Attribute) -> Callable[[Scalar], Any]:
    """A formula of an element in another type: short floats are squared in f32."""
    return lambda v: formula(v.to(kind))


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
    element, wide = x.element_type, working_type(x.element_type)
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
        powers = graph.map(lambda a, m: formulas.exp(a.to(wide) - m.to(wide)), x, largest)
        total = graph.reduce("add", powers, axes)
        y = graph.map(lambda s, m: (formulas.log(s) + m.to(wide)).to(element), total, largest)
        shape = [n for a, n in enumerate(x.shape) if a not in axes]
        return y if keep else graph.reshape(y, shape)
    before, combine, after = REDUCTIONS[kind]
    if kind == "ReduceMean" and axes is not None:
        if x.dtype.kind not in "iu":
            return graph.mean(x, axes, keep)
        count = math.prod(x.shape[a] for a in axes)
        y = graph.reduce(combine, x, axes, keep)
        return graph.map(lambda s: formulas.divide(s, count), y)
    y = graph.map(in_type(before, wide), x) if before else x
    if axes is not None:
        y = graph.reduce(combine, y, axes, keep, wide if after else element)
    return graph.finished(after, element, y) if after else graph.cast(y, x.dtype)


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
    mean, power = moments(node, x, axes)
    return [
        graph.cast(mean, x.dtype),
        graph.finished(lambda p: 1.0 / formulas.sqrt(p + epsilon), x.element_type, power),
    ]


def moments(node: Node, x: Value, axes: Sequence[int]) -> tuple[Value, Value]:
    """Mean and variance along dimensions; of short floats in f32."""
    graph, wide, share = (
        node.graph,
        working_type(x.element_type),
        1.0 / math.prod(x.shape[a] for a in axes),
    )
    mean = graph.reduce("add", x, axes, element_type=wide) * share

    def square(a: Scalar, m: Scalar) -> Scalar:
        return formulas.square(a.to(wide) - m)

    return mean, graph.reduce("add", graph.map(square, x, mean), axes) * share


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
        element, wide = x.element_type, working_type(x.element_type)
        dtype = dtype_of(wide)
        a = graph.constant(factor.astype(dtype).reshape(shape))
        b = graph.constant((shift - mean * factor).astype(dtype).reshape(shape))
        if element == wide:
            return graph.map(lambda v, f, s: v * f + s, x, a, b)
        return graph.map(lambda v, f, s: (v.to(wide) * f + s).to(element), x, a, b)
    scale, shift, mean, variance = (graph.reshape(node.value(i), shape) for i in range(1, 5))
    element, wide = x.element_type, working_type(x.element_type)

    def normal(v: Scalar, f: Scalar, s: Scalar, m: Scalar, p: Scalar) -> Scalar:
        v, f, s, m, p = (x.to(wide) for x in (v, f, s, m, p))
        return ((v - m) / formulas.sqrt(p + epsilon) * f + s).to(element)

    return graph.map(normal, x, scale, shift, mean, variance)


def batch_norm_of_training(node: Node, x: Value, epsilon: float) -> list[Tensor]:
    """The result, and the running mean and variance after it."""
    graph, momentum = node.graph, node.number("momentum", 0.9)
    axes = [a for a in range(len(x.shape)) if a != 1]
    shape = (1, -1, *(1 for _ in x.shape[2:]))
    scale, shift = (graph.reshape(node.value(i), shape) for i in (1, 2))
    y = graph.normalize(x, axes, epsilon, scale, shift)
    mean, power = moments(node, x, axes)
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
