"""Products of quantized tensors: of bytes, on the array, and exact.

With a' = a - za and b' = b - zb the sum of a' b' is that of a b less what the zero points add: za times
the sums of b, zb times those of a. What of these is known joins the bias.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kpu_ir.frontends.onnx.convolution import check_weights, padding
from kpu_ir.frontends.onnx.elementwise import apply
from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.onnx.quantized import (
    F32,
    I32,
    along,
    dynamic_quantize,
    folded,
    rounded,
    scale_of,
    zero_of,
)
from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar import formulas
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array

DOMAIN = "com.microsoft"
BYTES = (np.dtype(np.int8), np.dtype(np.uint8))


@dataclass
class Sums:
    """Sums of products in i32, and what is still to be added to them: numbers that are known, in
    ``bias``, and ``terms`` of others, each with a factor."""

    node: Node
    value: Value
    bias: Array | None = None
    terms: list[tuple[Value, Tensor]] = field(default_factory=list[tuple[Value, Tensor]])

    def add(self, known: Array) -> None:
        """Numbers that broadcast to the sums; i32 wraps."""
        known = known.astype(np.int32)
        self.bias = known if self.bias is None else self.bias + known

    def plus(self, value: Tensor) -> None:
        """A bias that broadcasts to the sums."""
        if isinstance(value, np.ndarray):
            self.add(value)
        else:
            self.terms.append((value, np.ones((1,) * len(value.shape), np.int32)))

    def less(self, zero: Tensor | None, sums: Tensor) -> None:
        """Take a zero point times sums from it."""
        if zero is None:
            return
        if isinstance(zero, np.ndarray) and isinstance(sums, np.ndarray):
            self.add(-(zero.astype(np.int32) * sums))
        else:
            self.terms.append((self.node.placed(sums), _negative(self.node, zero)))

    def mapped(self, formula: Any, *more: Tensor) -> Value:
        """A formula of the finished sums and of ``more``, in one map."""
        parts: list[Tensor] = [x for term in self.terms for x in term]
        parts += [] if self.bias is None else [self.bias]
        count = len(self.terms)
        biased = self.bias is not None

        def whole(s: Scalar, *rest: Any) -> Scalar:
            for i in range(count):
                value, factor = rest[2 * i], rest[2 * i + 1]
                if isinstance(factor, Scalar):
                    s = s + value * factor
                else:
                    s = s + (value if factor == 1 else value * int(factor))
            if biased:
                s = s + rest[2 * count]
            return formula(s, *rest[2 * count + biased :])

        return apply(self.node, whole, self.value, *parts, *more)

    def finished(self) -> Value:
        """The sums themselves."""
        return self.mapped(lambda s: s) if self.terms or self.bias is not None else self.value


def _negative(node: Node, zero: Tensor) -> Tensor:
    return -zero if isinstance(zero, np.ndarray) else node.graph.map(lambda z: 0 - z, zero)


def factor(x: Tensor) -> Tensor:
    """An operand of a product. Raises ``KpuError`` for one that is not of bytes."""
    if x.dtype not in BYTES:
        raise KpuError(
            f"a product of quantized numbers of {x.dtype}", hint="the array multiplies i8 and ui8"
        )
    return x


def as_i32(node: Node, zero: Tensor | None) -> Tensor | None:
    """A zero point as i32; None for 0 everywhere, one number for the same everywhere."""
    if zero is None:
        return None
    if not isinstance(zero, np.ndarray):
        return node.graph.cast(zero, np.int32)
    held = zero.astype(np.int32)
    if not held.any():
        return None
    return held.reshape(-1)[:1] if (held == held.reshape(-1)[0]).all() else held


def wide_sum(graph: Graph, x: Tensor, axes: Sequence[int]) -> Tensor:
    """A sum of bytes as i32, along dimensions that stay."""
    if isinstance(x, np.ndarray):
        return x.sum(axis=tuple(axes), keepdims=True, dtype=np.int32)
    return graph.reduce("add", graph.cast(x, np.int32), axes)


# -- of matrices ------------------------------------------------------------------------------------


def rows_or_columns(tensor: Tensor, rank: int, rows: bool) -> Tensor:
    """A scale or zero point of a matrix: one, one for each row or column, or one of its rank."""
    if len(tensor.shape) > 1:
        return tensor
    return along(tensor, max(rank, 2), -2 if rows else -1)


def product(node: Node, a: Tensor, b: Tensor, za: Tensor | None, zb: Tensor | None) -> Sums:
    """The matrix product of two tensors less their zero points, exact in i32."""
    graph = node.graph
    a, b = factor(a), factor(b)
    count, rank_a, rank_b = a.shape[-1], max(len(a.shape), 2), max(len(b.shape), 2)
    rank = max(rank_a, rank_b)
    y = graph.matmul(node.placed(a), node.placed(b), dtype=np.int32)
    flat_a, flat_b = len(a.shape) == 1, len(b.shape) == 1
    zero_a, zero_b = as_i32(node, za), as_i32(node, zb)
    zero_a = None if zero_a is None else rows_or_columns(zero_a, rank, True)
    zero_b = None if zero_b is None else rows_or_columns(zero_b, rank, False)
    shape = [*y.shape, *[1] * (flat_a + flat_b)]
    if flat_a and not flat_b:
        shape = [*y.shape[:-1], 1, y.shape[-1]]
    sums = Sums(node, graph.reshape(y, shape) if flat_a or flat_b else y)
    if zero_a is not None:
        columns = wide_sum(graph, b.reshape((-1, 1)) if flat_b else b, [rank_b - 2])
        sums.less(zero_a, columns)
    if zero_b is not None:
        rows = wide_sum(graph, a.reshape((1, -1)) if flat_a else a, [rank_a - 1])
        if zero_a is not None:
            rows = less_counted(node, rows, zero_a, count)
        sums.less(zero_b, rows)
    return sums


def less_counted(node: Node, sums: Tensor, zero: Tensor, count: int) -> Tensor:
    """Sums of ``count`` numbers, as if each had its zero point taken from it."""
    if isinstance(sums, np.ndarray) and isinstance(zero, np.ndarray):
        return sums - zero * np.int32(count)
    return node.graph.map(lambda s, z: s - z * count, node.placed(sums), node.placed(zero))


def given(node: Node, i: int) -> Tensor:
    """Input ``i``, known or not."""
    if not node.has(i):
        raise KpuError(f"input {i} is missing")
    tensor = node.inputs[i]
    assert tensor is not None
    return tensor


def product_of(node: Node, ia: int, ib: int, za: int, zb: int) -> Sums:
    """The product of two inputs with their zero points."""
    a, b = given(node, ia), given(node, ib)
    return product(node, a, b, zero_of(node, za, a.dtype), zero_of(node, zb, b.dtype))


def _shaped(node: Node, y: Value, ia: int, ib: int) -> Value:
    """Without the dimensions of vectors."""
    flat_a, flat_b = len(node.shape(ia)) == 1, len(node.shape(ib)) == 1
    shape = [*y.shape[:-2], *y.shape[-2:-1][flat_a:], *y.shape[-1:][flat_b:]]
    return node.graph.reshape(y, shape) if list(y.shape) != shape else y


@operator("MatMulInteger")
def matmul_integer(node: Node) -> Tensor:
    """Bytes times bytes, as i32."""
    return _shaped(node, product_of(node, 0, 1, 2, 3).finished(), 0, 1)


@operator("QLinearMatMul")
def qlinear_matmul(node: Node) -> Tensor:
    """A product of quantized matrices, quantized."""
    sums = product_of(node, 0, 3, 2, 5)
    rank = len(sums.value.shape)
    scales = [
        rows_or_columns(scale_of(node, 1), rank, True),
        rows_or_columns(scale_of(node, 4), rank, False),
        rows_or_columns(scale_of(node, 6, positive=True), rank, True),
    ]
    return _shaped(node, requantized(sums, scales, 7), 0, 3)


def requantized(sums: Sums, scales: Sequence[Tensor], zero: int) -> Value:
    """Sums (i32) times two scales over a third, rounded, with a zero point, in the result's type.

    The factor is one number of f32, computed as ``sa sb / sy``.
    """
    node = sums.node
    point = node.inputs[zero] if node.has(zero) else None
    dtype = node.value(0).dtype if point is None else point.dtype
    factor = folded(node, lambda a, b, y: a * b / y, *scales)
    if point is None:
        return sums.mapped(lambda s, f: rounded(s.to(F32) * f, dtype), factor)
    point = rows_or_columns(point, len(sums.value.shape), True)
    return sums.mapped(lambda s, f, z: rounded(s.to(F32) * f, dtype, z), factor, point)


@operator("QGemm", domain=DOMAIN)
def qgemm(node: Node) -> Tensor:
    """A product of quantized matrices with a bias in the units of its sums; quantized if it has a scale,
    else in f32. ``alpha`` scales the bias too."""
    a, b = (_turned(node, i, side) for i, side in ((0, "A"), (3, "B")))
    sums = product(node, a, b, zero_of(node, 2, a.dtype), zero_of(node, 5, b.dtype))
    if node.has(6):
        sums.plus(given(node, 6))
    alpha = np.float32(node.number("alpha", 1.0))
    sb = rows_or_columns(scale_of(node, 4), 2, False)
    scale = folded(node, lambda a, b: (a * alpha) * b, along(scale_of(node, 1), 2, 0), sb)
    if not node.has(7):
        return sums.mapped(lambda s, f: s.to(F32) * f, scale)
    one = np.ones((1, 1), np.float32)
    return requantized(sums, [scale, one, along(scale_of(node, 7, positive=True), 2, 0)], 8)


def _turned(node: Node, i: int, side: str) -> Tensor:
    """A matrix, transposed where its attribute says so."""
    x = given(node, i)
    if len(x.shape) != 2:
        raise KpuError(f"input {i}: expected a matrix, got rank {len(x.shape)}")
    if not node.integer(f"trans{side}", 0):
        return x
    return np.ascontiguousarray(x.T) if isinstance(x, np.ndarray) else node.graph.transpose(x)


def to_float(sums: Sums, sa: Tensor, sb: Tensor, bias: int) -> Value:
    """Sums (i32) times both scales, with a bias (input ``bias``) in f32."""
    node, rank = sums.node, len(sums.value.shape)
    scale = folded(
        node, lambda a, b: a * b, rows_or_columns(sa, rank, True), rows_or_columns(sb, rank, False)
    )
    more = [given(node, bias)] if node.has(bias) else []
    return sums.mapped(lambda s, f, *c: sum(c, start=s.to(F32) * f), scale, *more)


@operator("MatMulIntegerToFloat", domain=DOMAIN)
def matmul_integer_to_float(node: Node) -> Tensor:
    """A product of bytes, times both scales, with a bias."""
    return to_float(product_of(node, 0, 1, 4, 5), scale_of(node, 2), scale_of(node, 3), 6)


@operator("DynamicQuantizeMatMul", domain=DOMAIN)
def dynamic_quantize_matmul(node: Node) -> Tensor:
    """The left operand in steps of its own range."""
    a, step, zero = dynamic_quantize(node)
    b = given(node, 1)
    sums = product(node, a, b, zero, zero_of(node, 3, b.dtype))
    return to_float(sums, step, scale_of(node, 2), 4)


# -- of images --------------------------------------------------------------------------------------


def convolved(node: Node, ix: int, iw: int, zx: int, zw: int) -> Sums:
    """The convolution of inputs ``ix`` and ``iw`` less their zero points, exact in i32."""
    graph = node.graph
    x, w = factor(given(node, ix)), factor(given(node, iw))
    zero_x, zero_w = (as_i32(node, zero_of(node, i, v.dtype)) for i, v in ((zx, x), (zw, w)))
    image: Value = node.placed(x)
    rank = check_weights(node, image, node.placed(w))
    strides, dilations = node.spatial("strides", rank, 1), node.spatial("dilations", rank, 1)
    low, high = padding(node, x.shape[2:], w.shape[2:], strides, dilations)
    if rank == 1:
        image = graph.reshape(image, (*image.shape[:2], 1, image.shape[2]))
        w = w.reshape((*w.shape[:2], 1, w.shape[2]))
        strides, dilations, low, high = [1, *strides], [1, *dilations], [0, *low], [0, *high]
    elif rank != 2:
        raise KpuError(f"only signals and images are supported, got {rank} spatial dimensions")
    groups, outs = node.integer("group", 1), w.shape[0]
    zero_x = None if zero_x is None else along(zero_x, 4, 1)
    zero_w = None if zero_w is None else along(zero_w, 4, 1)
    fill = 0
    if any((*low, *high)) and zero_x is not None:
        if isinstance(zero_x, np.ndarray):
            fill = int(zero_x.reshape(-1)[0])
        else:
            image, low, high = surrounded(graph, image, zero_x, low, high), [0, 0], [0, 0]
    window: dict[str, Any] = {"strides": strides, "dilations": dilations, "low": low, "high": high}
    y = graph.conv(image, node.placed(w), **window, groups=groups, fill=fill, element_type=I32)
    sums = Sums(node, y)
    if zero_x is not None:
        sums.less(zero_x, wide_sum(graph, w, [1, 2, 3]).reshape((1, outs, 1, 1)))
    if zero_w is not None:
        if fill:
            image = graph.pad(image, [0, 0, *low], [0, 0, *high], float(fill))
            window |= {"low": [0, 0], "high": [0, 0]}
        rows = _windows(graph, image, w.shape, groups, window)
        if zero_x is not None:
            rows = less_counted(node, rows, zero_x, math.prod(w.shape[1:]))
        sums.less(zero_w, rows)
    return sums


def _windows(
    graph: Graph, x: Value, weights: Sequence[int], groups: int, window: dict[str, Any]
) -> Value:
    """The sums of what is under each filter, for each of its results."""
    n, channels, *image = x.shape
    outs, per = weights[0], channels // groups
    parts = graph.reshape(x, (n, groups, per, *image))
    sums = wide_sum(graph, parts, [2])
    assert isinstance(sums, Value)
    sums = graph.reshape(sums, (n, groups, *image))
    sums = graph.pool("add", sums, weights[2:], **window)
    each = graph.reshape(sums, (n, groups, 1, *sums.shape[2:]))
    each = graph.broadcast(each, (n, groups, outs // groups, *sums.shape[2:]))
    return graph.reshape(each, (n, outs, *sums.shape[2:]))


def surrounded(
    graph: Graph, x: Value, zero: Value, low: Sequence[int], high: Sequence[int]
) -> Value:
    """An image with a zero point around it that only the device knows."""
    before, behind = [0, 0, *low], [0, 0, *high]
    inside = np.pad(np.ones((1, 1, *x.shape[2:]), np.bool_), list(zip(before, behind)))
    point = graph.cast(zero, x.dtype)
    return graph.map(formulas.where, graph.constant(inside), graph.pad(x, before, behind), point)


def _signal(node: Node, y: Value) -> Value:
    """Of a signal: without the dimension that made an image of it."""
    return node.graph.reshape(y, (*y.shape[:2], y.shape[3])) if len(node.shape(0)) == 3 else y


@operator("ConvInteger")
def conv_integer(node: Node) -> Tensor:
    """Bytes convolved by bytes, as i32."""
    return _signal(node, convolved(node, 0, 1, 2, 3).finished())


@operator("QLinearConv")
def qlinear_conv(node: Node) -> Tensor:
    """A convolution of quantized numbers, quantized; a bias is in the units of the sums."""
    sums = convolved(node, 0, 3, 2, 5)
    if node.has(8):
        sums.plus(given(node, 8).reshape((1, -1, 1, 1)))
    scales = [along(scale_of(node, i, positive=i == 6), 4, 1) for i in (1, 4, 6)]
    return _signal(node, requantized(sums, scales, 7))
