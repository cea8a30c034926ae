"""Quantized operators: numbers in steps of a scale around a zero point.

Products are of bytes, on the array, and exact: with a' = a - za and b' = b - zb the sum of a' b' is that
of a b less what the zero points add, za times the sums of b and zb times those of a.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import IntegerType
from xdsl.utils.hints import isa

from kpu_ir.dialects.kernel.quantized import is_stored
from kpu_ir.frontends.onnx.convolution import check_weights, padding
from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar import formulas, quantization
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import element_type_of

F32, I32 = (element_type_of(np.dtype(t)) for t in (np.float32, np.int32))


def parameter(node: Node, i: int, shape: Sequence[int], axis: int, block: int) -> Value:
    """A scale or zero point for ``shape``, as ``kernel.quantize`` takes it: one, one for each element of
    a dimension, or one for each ``block`` of them."""
    graph, value = node.graph, node.value(i)
    if math.prod(value.shape) == 1:
        return graph.reshape(value, (1,) * len(shape))
    if not block:
        if value.shape != (shape[axis],):
            raise KpuError(f"input {i} of shape {value.shape} does not fit dimension {axis}")
        return graph.reshape(value, [-1 if a == axis else 1 for a in range(len(shape))])
    counts = [-(-n // block) if a == axis else n for a, n in enumerate(shape)]
    if value.shape != tuple(counts):
        raise KpuError(f"input {i} of shape {value.shape} does not fit blocks of {block}")
    if shape[axis] % block == 0 or counts[axis] == 1:
        return value
    wide = graph.reshape(value, (*counts[: axis + 1], 1, *counts[axis + 1 :]))
    wide = graph.broadcast(wide, (*counts[: axis + 1], block, *counts[axis + 1 :]))
    full = [n * block if a == axis else n for a, n in enumerate(counts)]
    wide = graph.reshape(wide, full)
    return graph.slice(wide, [0] * len(shape), [1] * len(shape), shape)


def _axis(node: Node, rank: int) -> int:
    axis = node.integer("axis", 1)
    if rank and not -rank <= axis < rank and any(node.shape(i) for i in (1,)):
        raise KpuError(f"axis {axis} is outside the rank {rank}")
    return axis + rank * (axis < 0)


def _dtype(node: Node, attribute: str, default: np.dtype[Any]) -> np.dtype[Any]:
    from onnx.helper import tensor_dtype_to_np_dtype

    wanted = node.integer(attribute, 0)
    try:
        return np.dtype(tensor_dtype_to_np_dtype(wanted)) if wanted else default
    except KeyError:
        raise KpuError(f"{attribute}: there is no element type of number {wanted}") from None


def saturated(x: Scalar, dtype: np.dtype[Any], zero: Scalar | None = None) -> Scalar:
    """A whole number of f32, with a zero point, in an integer type: its ends where it is outside."""
    return quantization.saturated(x, element_type_of(dtype), zero)


@operator("QuantizeLinear")
def quantize(node: Node) -> Tensor:
    """``saturate(round(x / scale) + zero)``; floats of 8 bits are rounded, and saturate too."""
    from kpu_ir.frontends.onnx.elementwise import short_float

    graph, x = node.graph, node.value(0)
    shape, block = x.shape, node.integer("block_size", 0)
    axis = _axis(node, len(shape))
    zero = node.inputs[2] if node.has(2) else None
    dtype = _dtype(node, "output_dtype", np.dtype(np.uint8) if zero is None else zero.dtype)
    kind = element_type_of(dtype)
    scale = parameter(node, 1, shape, axis, block)
    divided = x.element_type if x.dtype.kind not in "iub" else F32
    if node.integer("precision", 0):
        divided = element_type_of(_dtype(node, "precision", np.dtype(np.float32)))
    scale = graph.cast(scale, divided)
    if is_stored(kind) and (isa(kind, IntegerType) or node.integer("saturate", 1)):
        point = parameter(node, 2, shape, axis, block) if zero is not None else None
        x = x if x.dtype.kind not in "iub" else graph.cast(x, np.int32)
        return graph.quantize(x, scale, point if isa(kind, IntegerType) else None, kind)
    saturate = bool(node.integer("saturate", 1))
    wide = graph.map(lambda v, s: (v.to(divided) / s).to(F32), x, scale)
    return short_float(node, wide, dtype, saturate)


@operator("DequantizeLinear")
def dequantize(node: Node) -> Tensor:
    """``(x - zero) scale``."""
    graph, x = node.graph, node.value(0)
    shape, block = x.shape, node.integer("block_size", 0)
    axis = _axis(node, len(shape))
    scale = parameter(node, 1, shape, axis, block)
    kind = element_type_of(_dtype(node, "output_dtype", scale.dtype))
    if not is_stored(x.element_type) and x.element_type != I32:
        return graph.map(lambda v, s: (v.to(F32) * s.to(F32)).to(kind), x, scale)
    integers = isa(x.element_type, IntegerType)
    zero = parameter(node, 2, shape, axis, block) if node.has(2) and integers else None
    return graph.dequantize(x, scale, zero, kind)


# -- products ---------------------------------------------------------------------------------------


def as_signed(graph: Graph, x: Value) -> tuple[Value, int]:
    """Bytes as signed ones, and what was taken from each."""
    if x.dtype == np.dtype(np.int8):
        return x, 0
    if x.dtype != np.dtype(np.uint8):
        raise KpuError(f"a product of quantized numbers is of bytes, got {x.dtype}")
    kind = element_type_of(np.dtype(np.int8))
    return graph.map(lambda v: (v.to(I32) - 128).to(kind), x), 128


def zero_of(node: Node, i: int, taken: int, shape: Sequence[int]) -> Value | None:
    """A zero point as i32 of ``shape``, less what was taken; None for 0 everywhere."""
    graph = node.graph
    known = node.known(i) if node.has(i) else np.zeros(1, np.int32)
    if known is not None:
        held = known.astype(np.int32) - taken
        if not held.any():
            return None
        one = held.reshape(-1)[:1] if (held == held.reshape(-1)[0]).all() else held
        return graph.constant(one.reshape([1] * len(shape) if one.size == 1 else shape))
    value = node.value(i)
    kept = [1] * len(shape) if math.prod(value.shape) == 1 else shape
    return graph.reshape(graph.map(lambda v: v.to(I32) - taken, value), kept)


def wide_sum(graph: Graph, x: Value, axes: Sequence[int]) -> Value:
    """A sum of bytes as i32."""
    return graph.reduce("add", graph.cast(x, np.int32), axes)


def product(node: Node, ia: int, ib: int, za: int, zb: int) -> Value:
    """The matrix product of inputs ``ia`` and ``ib`` less their zero points, exact in i32."""
    graph = node.graph
    (a, less_a), (b, less_b) = as_signed(graph, node.value(ia)), as_signed(graph, node.value(ib))
    flat_a, flat_b = len(a.shape) == 1, len(b.shape) == 1
    a = graph.reshape(a, (1, -1)) if flat_a else a
    b = graph.reshape(b, (-1, 1)) if flat_b else b
    count = a.shape[-1]
    rows = [*[1] * (len(a.shape) - 2), -1, 1]
    zero_a = zero_of(node, za, less_a, _zero_shape(node, za, rows))
    zero_b = zero_of(node, zb, less_b, _zero_shape(node, zb, [*[1] * (len(b.shape) - 1), -1]))
    y = graph.matmul(a, b, dtype=np.int32)
    if zero_a is not None:
        columns = wide_sum(graph, b, [len(b.shape) - 2])
        y = graph.map(lambda s, z, c: s - z * c, y, zero_a, columns)
    if zero_b is not None:
        sums = wide_sum(graph, a, [len(a.shape) - 1])
        if zero_a is not None:
            sums = graph.map(lambda s, z: s - z * count, sums, zero_a)
        y = graph.map(lambda s, z, r: s - z * r, y, zero_b, sums)
    shape = [*y.shape[:-2], *y.shape[-2:-1][flat_a:], *y.shape[-1:][flat_b:]]
    return graph.reshape(y, shape) if list(y.shape) != shape else y


def _zero_shape(node: Node, i: int, along: Sequence[int]) -> Sequence[int]:
    """A zero point of one dimension is of rows or columns; one of more has its shape already."""
    own = node.shape(i) if node.has(i) else ()
    return own if len(own) > 1 else along


def convolved(node: Node, ix: int, iw: int, zx: int, zw: int) -> Value:
    """The convolution of inputs ``ix`` and ``iw`` less their zero points, exact in i32."""
    graph = node.graph
    (x, less_x), (w, less_w) = as_signed(graph, node.value(ix)), as_signed(graph, node.value(iw))
    rank = check_weights(node, x, w)
    strides, dilations = node.spatial("strides", rank, 1), node.spatial("dilations", rank, 1)
    low, high = padding(node, x.shape[2:], w.shape[2:], strides, dilations)
    if rank == 1:
        x, w = (graph.reshape(v, (*v.shape[:2], 1, v.shape[2])) for v in (x, w))
        strides, dilations, low, high = [1, *strides], [1, *dilations], [0, *low], [0, *high]
    elif rank != 2:
        raise KpuError(f"only signals and images are supported, got {rank} spatial dimensions")
    groups, outs = node.integer("group", 1), w.shape[0]
    zero_x = zero_of(node, zx, less_x, [1] * 4)
    zero_w = zero_of(node, zw, less_w, [1, outs, 1, 1])
    if any((*low, *high)) and (zero_x is not None):
        x, low, high = padded(node, x, zx, less_x, low, high), [0, 0], [0, 0]
    y = graph.conv(
        x,
        w,
        strides=strides,
        dilations=dilations,
        low=low,
        high=high,
        groups=groups,
        element_type=I32,
    )
    per = x.shape[1] // groups
    if zero_x is not None:
        sums = graph.reshape(wide_sum(graph, w, [1, 2, 3]), (1, outs, 1, 1))
        y = graph.map(lambda s, z, c: s - z * c, y, zero_x, sums)
    if zero_w is not None:
        n, _, *image = x.shape
        parts = graph.reshape(x, (n, groups, per, *image))
        sums = graph.reshape(wide_sum(graph, parts, [2]), (n, groups, *image))
        windows = graph.pool(
            "add", sums, w.shape[2:], strides=strides, dilations=dilations, low=low, high=high
        )
        if zero_x is not None:
            count = per * math.prod(w.shape[2:])
            windows = graph.map(lambda s, z: s - z * count, windows, zero_x)
        spread = windows.shape
        each = graph.reshape(windows, (n, groups, 1, *spread[2:]))
        each = graph.broadcast(each, (n, groups, outs // groups, *spread[2:]))
        each = graph.reshape(each, (n, outs, *spread[2:]))
        y = graph.map(lambda s, z, r: s - z * r, y, zero_w, each)
    return graph.reshape(y, (*y.shape[:2], y.shape[3])) if rank == 1 else y


def padded(
    node: Node, x: Value, zx: int, less: int, low: Sequence[int], high: Sequence[int]
) -> Value:
    """An image with its zero point around it."""
    graph, known = node.graph, node.known(zx) if node.has(zx) else np.zeros(1, np.int32)
    if known is None:
        raise KpuError(
            "a zero point of padding must be known when the model is compiled",
            hint="give it a value: kpu-run --input name=value",
        )
    value = float(int(known.reshape(-1)[0]) - less)
    return graph.pad(x, [0, 0, *low], [0, 0, *high], value)


@operator("MatMulInteger")
def matmul_integer(node: Node) -> Tensor:
    """Bytes times bytes, as i32."""
    return product(node, 0, 1, 2, 3)


@operator("ConvInteger")
def conv_integer(node: Node) -> Tensor:
    """Bytes convolved by bytes, as i32."""
    return convolved(node, 0, 1, 2, 3)


def requantized(
    node: Node, y: Value, scales: Sequence[Value], bias: Value | None, zero: int
) -> Value:
    """Sums (i32) times two scales over a third, rounded, with a zero point, in the result's type."""
    graph = node.graph
    dtype = node.value(zero).dtype if node.has(zero) else node.value(0).dtype
    point = graph.reshape(node.value(zero), (1,) * len(y.shape)) if node.has(zero) else None
    given = [y, *scales, *([bias] if bias is not None else [])]
    given += [] if point is None else [point]

    def formula(s: Scalar, a: Scalar, b: Scalar, c: Scalar, *more: Scalar) -> Scalar:
        rest = list(more)
        if bias is not None:
            s = s + rest.pop(0)
        factor = a.to(F32) * b.to(F32) / c.to(F32)
        return saturated(formulas.round_half_even(s.to(F32) * factor), dtype, *rest)

    return graph.map(formula, *given)


@operator("QLinearMatMul")
def qlinear_matmul(node: Node) -> Tensor:
    """A product of quantized matrices, quantized."""
    graph = node.graph
    y = product(node, 0, 3, 2, 5)
    rank = len(y.shape)

    def scale(i: int, rows: bool) -> Value:
        value = node.value(i)
        if len(value.shape) > 1:
            return value
        if math.prod(value.shape) == 1:
            return graph.reshape(value, (1,) * rank)
        return graph.reshape(value, [*[1] * (rank - 2), *((-1, 1) if rows else (1, -1))])

    return requantized(node, y, [scale(1, True), scale(4, False), scale(6, True)], None, 7)


@operator("QLinearConv")
def qlinear_conv(node: Node) -> Tensor:
    """A convolution of quantized numbers, quantized; a bias is in the units of the sums."""
    graph = node.graph
    y = convolved(node, 0, 3, 2, 5)
    per = (1, -1, *[1] * (len(y.shape) - 2))
    scales = [graph.reshape(node.value(i), per) for i in (1, 4, 6)]
    bias = graph.reshape(node.value(8), per) if node.has(8) else None
    return requantized(node, y, scales, bias, 7)
