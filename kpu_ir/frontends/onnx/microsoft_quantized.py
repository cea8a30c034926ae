"""Operators of com.microsoft on quantized tensors, as onnxruntime's CPU kernels round them.

Each is a formula of numbers of f32 that are exact until the one rounding that is named here; a scale that
is known is combined with the others when the model is imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from kpu_ir.frontends.onnx.elementwise import apply
from kpu_ir.frontends.onnx.node import OPERATORS, Node, Tensor, operator
from kpu_ir.frontends.onnx.pooling import Windows, windows_of
from kpu_ir.frontends.onnx.quantized import (
    F32,
    I32,
    along,
    folded,
    fused,
    in_f32,
    real,
    rounded,
    scale_of,
    whole,
    zero_of,
)
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar import formulas
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array

DOMAIN = "com.microsoft"

for _name in ("QuantizeLinear", "DequantizeLinear"):
    OPERATORS[DOMAIN, _name] = OPERATORS["", _name]


def _known_or_zero(zero: Tensor | None, dtype: np.dtype[Any]) -> Tensor:
    return np.zeros((), dtype) if zero is None else zero


def _parameters(node: Node, x: int, scale: int, positive: bool = False) -> tuple[Tensor, Tensor]:
    """The scale at ``scale`` and the zero point after it, of numbers like input ``x``."""
    dtype = node.value(x).dtype
    zero = _known_or_zero(zero_of(node, scale + 1, dtype), dtype)
    rank = len(node.shape(x))
    return along(scale_of(node, scale, positive), rank, -1), along(zero, rank, -1)


# -- elementwise ------------------------------------------------------------------------------------


@operator("QLinearAdd", domain=DOMAIN)
def qlinear_add(node: Node) -> Tensor:
    """``saturate(round(fma(a, sa/sc, fma(b, sb/sc, zc - fma(sa/sc, za, sb/sc zb)))))``: the textbook's sum of
    what is dequantized, over the scale, is a step beside it where that is half."""
    (sa, za), (sb, zb) = _parameters(node, 0, 1), _parameters(node, 3, 4)
    sc, zc = _parameters(node, 0, 6, positive=True)
    _same_types(node)
    fa, fb = (folded(node, lambda s, y: s / y, s, sc) for s in (sa, sb))
    offset = folded(
        node, lambda fa, fb, za, zb, zc: zc - fused(fa, za, fb * zb), fa, fb, za, zb, zc
    )
    dtype = node.value(0).dtype

    def formula(a: Scalar, b: Scalar, fa: Any, fb: Any, offset: Any) -> Scalar:
        wide = formulas.fma(b.to(I32).to(F32), fb, offset)
        return rounded(formulas.fma(a.to(I32).to(F32), fa, wide), dtype)

    return apply(node, formula, node.value(0), node.value(3), fa, fb, offset)


@operator("QLinearMul", domain=DOMAIN)
def qlinear_mul(node: Node) -> Tensor:
    """``saturate(round((a - za) (b - zb) (sa sb / sc) + zc))``; the product of the differences is exact."""
    (sa, za), (sb, zb) = _parameters(node, 0, 1), _parameters(node, 3, 4)
    sc, zc = _parameters(node, 0, 6, positive=True)
    _same_types(node)
    factor = folded(node, lambda a, b, c: a * b / c, sa, sb, sc)
    dtype = node.value(0).dtype

    def formula(a: Scalar, b: Scalar, za: Any, zb: Any, factor: Any, zc: Any) -> Scalar:
        product = (a.to(I32) - whole(za)).to(F32) * (b.to(I32) - whole(zb)).to(F32)
        return rounded(product * factor + in_f32(zc), dtype)

    return apply(node, formula, node.value(0), node.value(3), za, zb, factor, zc)


def _same_types(node: Node) -> None:
    a, b = node.value(0).dtype, node.value(3).dtype
    if a != b:
        raise KpuError(f"operands of {a} and {b}: both are of one type")


def by_element(
    node: Node, x: Value, given: tuple[Tensor, Tensor], made: tuple[Tensor, Tensor],
    function: Callable[[Scalar], Scalar] = lambda x: x,
) -> Value:  # fmt: skip
    """A function of what is quantized with the parameters ``given``, quantized with those of ``made``."""
    dtype = x.dtype

    def formula(v: Scalar, s: Any, z: Any, sy: Any, zy: Any) -> Scalar:
        return rounded(function(real(v, s, z)) / sy, dtype, zy)

    return apply(node, formula, x, *given, *made)


@operator("QLinearSigmoid", "QLinearLeakyRelu", domain=DOMAIN)
def qlinear_function(node: Node) -> Tensor:
    """A function of quantized numbers, quantized."""
    alpha = node.number("alpha", 0.01)
    function = (
        formulas.sigmoid
        if node.proto.op_type == "QLinearSigmoid"
        else lambda v: formulas.leaky_relu(v, alpha)
    )
    made = _parameters(node, 0, 3, positive=True)
    return by_element(node, node.value(0), _parameters(node, 0, 1), made, function)


@operator("QLinearSoftmax", domain=DOMAIN)
def qlinear_softmax(node: Node) -> Tensor:
    """The softmax along ``axis`` (before version 13: from there on) times a whole number of steps of the
    result, ``floor(1 / scale)``, rounded, with the zero point.

    Saturates where onnxruntime's bytes with a sign wrap: 1.0 in steps of 1/256 is 127.
    """
    graph, x = node.graph, node.value(0)
    shape, dtype = x.shape, x.dtype
    later = node.integer("opset", 13) >= 13
    axis = node.integer("axis", -1)
    scale, _ = _parameters(node, 0, 1)
    sy, zy = _parameters(node, 0, 3, positive=True)
    if not isinstance(sy, np.ndarray):
        raise KpuError("the result's scale must be known when the model is compiled")
    y = apply(node, lambda v, s: real(v, s), x, scale)  # a zero point moves all of a row
    if not later:
        axis += len(shape) * (axis < 0)
        y = graph.reshape(y, (math.prod(shape[:axis]), math.prod(shape[axis:])))
        axis = 1
    y = graph.reshape(graph.softmax(y, axis), shape)
    steps = float(np.floor(np.float32(1) / sy.astype(np.float32)).reshape(-1)[0])
    return apply(node, lambda v, z: rounded(v * steps, dtype, z), y, zy)


# -- several tensors --------------------------------------------------------------------------------


def _others(node: Node, start: int, made: tuple[Tensor, Tensor]) -> Value:
    """The tensor at ``start`` in the result's steps; as it is where they are its own."""
    x, given = node.value(start), _parameters(node, start, start + 1)
    if all(_equal(a, b) for a, b in zip(given, made)):
        return x
    return by_element(node, x, given, made)


def _equal(a: Tensor, b: Tensor) -> bool:
    both = isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
    return both and a.dtype == b.dtype and np.array_equal(a.reshape(-1), b.reshape(-1))


@operator("QLinearConcat", domain=DOMAIN)
def qlinear_concat(node: Node) -> Tensor:
    """One after the other, in the steps of the result."""
    count = len(node.inputs) - 2
    if count < 3 or count % 3:
        raise KpuError("expected a scale and a zero point, and three inputs for each tensor")
    dtype, rank = node.value(2).dtype, len(node.shape(2))
    zero = _known_or_zero(zero_of(node, 1, dtype), dtype)
    made = along(scale_of(node, 0, positive=True), rank, -1), along(zero, rank, -1)
    parts = [_others(node, i, made) for i in range(2, len(node.inputs), 3)]
    return node.graph.concat(parts, node.integer("axis", 0))


@operator("QLinearWhere", domain=DOMAIN)
def qlinear_where(node: Node) -> Tensor:
    """One or the other, in the steps of the result."""
    made = _parameters(node, 1, 7, positive=True)
    x, y = (_others(node, i, made) for i in (1, 4))
    return node.graph.map(formulas.where, node.value(0), x, y)


# -- pooling ----------------------------------------------------------------------------------------


def _channels_first(node: Node, x: Value) -> Value:
    rank = len(x.shape)
    return node.graph.transpose(x, (0, rank - 1, *range(1, rank - 1)))


def _as_given(node: Node, y: Value, last: bool) -> Value:
    rank = len(y.shape)
    return node.graph.transpose(y, (0, *range(2, rank), 1)) if last else y


@operator("QLinearAveragePool", domain=DOMAIN)
def qlinear_average_pool(node: Node) -> Tensor:
    """The mean of what is dequantized in steps of the result; the zero point is added before it is rounded.

    The sum is of whole numbers, and exact. onnxruntime adds up what is dequantized, in f32, and is a
    step away where that decides a half.
    """
    graph, x, dtype = node.graph, node.value(0), node.value(0).dtype
    last = bool(node.integer("channels_last", 0))
    (s, z), (sy, zy) = _parameters(node, 0, 1), _parameters(node, 0, 3, positive=True)
    x = _channels_first(node, x) if last else x
    windows = windows_of(node, x.shape[2:])
    sums = graph.pool("add", x, windows.sizes, element_type=I32, **windows.steps())
    include = bool(node.integer("count_include_pad", 0))
    counts, inside = (_counts(windows, x, padding) for padding in (include, False))
    if isinstance(z, np.ndarray) and not z.any():
        inside = np.ones(1, np.int32)  # of no effect

    def formula(v: Scalar, s: Any, z: Any, m: Any, n: Any, sy: Any, zy: Any) -> Scalar:
        v = v - whole(z) * m if isinstance(z, Scalar) or z else v
        return rounded(v.to(F32) * s / in_f32(n) / sy + in_f32(zy), dtype)

    sums = apply(node, formula, sums, s, z, inside, counts, sy, zy)
    return _as_given(node, sums, last)


def _counts(windows: Windows, x: Value, padding: bool) -> Array:
    """How many elements are under each window: one number, or an image of them."""
    counts = windows.counts(x.shape[2:], padding).astype(np.int32)[None, None]
    return counts.reshape(-1)[:1] if np.ptp(counts) == 0 else counts


@operator("QLinearGlobalAveragePool", domain=DOMAIN)
def qlinear_global_average_pool(node: Node) -> Tensor:
    """``saturate(round((sum - n z) (s / (sy n))) + zy)``; the sum is exact."""
    x, last = node.value(0), bool(node.integer("channels_last", 0))
    return _mean(node, x, range(1, len(x.shape) - 1) if last else range(2, len(x.shape)))


def _mean(node: Node, x: Value, axes: Sequence[int]) -> Value:
    """The mean along dimensions of what ``x`` stands for, quantized as inputs 3 and 4 say."""
    (s, z), (sy, zy) = _parameters(node, 0, 1), _parameters(node, 0, 3, positive=True)
    count = math.prod(x.shape[a] for a in axes)
    factor = folded(node, lambda s, sy: s / (sy * np.float32(count).item()), s, sy)
    sums = node.graph.reduce("add", x, axes, element_type=I32)

    def formula(v: Scalar, z: Any, factor: Any, zy: Any) -> Scalar:
        return rounded((v - whole(z) * count).to(F32) * factor, x.dtype, zy)

    return apply(node, formula, sums, z, factor, zy)


@operator("QLinearReduceMean", domain=DOMAIN)
def qlinear_reduce_mean(node: Node) -> Tensor:
    """``saturate(round((sum - n z) (s / (sy n))) + zy)`` along ``axes`` (all); the sum is exact."""
    graph, x = node.graph, node.value(0)
    rank = len(x.shape)
    given = node.integers("axes") or list(range(rank))
    if any(not -rank <= a < rank for a in given):
        raise KpuError(f"axes {given} of a tensor of rank {rank}")
    axes = sorted({a % rank for a in given})
    y = _mean(node, x, axes)
    if node.integer("keepdims", 1):
        return y
    return graph.reshape(y, [n for a, n in enumerate(x.shape) if a not in axes])


# -- a few bits -------------------------------------------------------------------------------------


def unpacked(packed: Array, bits: int, count: int) -> Array:
    """Numbers of ``bits`` bits that lie in bytes along the last dimension, the lowest bits first."""
    shifts = np.arange(8 // bits, dtype=np.uint8) * bits
    parts = (packed[..., None] >> shifts) & ((1 << bits) - 1)
    return parts.reshape(*packed.shape[:-1], -1)[..., :count].astype(np.uint8)


@operator("MatMulNBits", domain=DOMAIN)
def matmul_n_bits(node: Node) -> Tensor:
    """A product with weights of a few bits, in blocks along k that have a scale each.

    The weights lie in bytes, the lowest bits first, and so do their zero points; without these 2^(bits-1)
    is zero. With ``accuracy_level`` 4 the left operand is in steps of 1/127 of each block's largest.
    """
    graph, a, packed = node.graph, node.value(0), node.must_be_known(1, "the weights")
    k, n = node.integer("K", 0), node.integer("N", 0)
    bits, block = node.integer("bits", 4), node.integer("block_size", 32)
    if bits not in (2, 4, 8) or k < 1 or n < 1 or block < 1:
        raise KpuError(f"weights of {bits} bits in blocks of {block} are not supported")
    if a.shape[-1] != k:
        raise KpuError(f"K is {k}, and input 0 has rows of {a.shape[-1]}")
    blocks = -(-k // block)
    if packed.size != n * blocks * block * bits // 8:
        raise KpuError(
            f"the weights are {packed.size} bytes: {n} rows of {k} numbers of {bits} bits in blocks "
            f"of {block} are {n * blocks * block * bits // 8}"
        )
    scales = node.must_be_known(2, "the scales")
    if scales.size != n * blocks:
        raise KpuError(f"{scales.size} scales for {n} rows of {blocks} blocks")
    scale_of(node, 2)
    scales = scales.reshape(n, blocks)
    numbers = unpacked(packed.reshape(n, -1).view(np.uint8), bits, blocks * block)[:, :k]
    zeros = _block_zeros(node, bits, n, blocks)
    if node.integer("accuracy_level", 0) == 4:
        a = _in_steps(node, a, block)
    if zeros.dtype == np.uint8 and not node.has(4) and k % block == 0:
        stored: Any = {2: ml_dtypes.uint2, 4: ml_dtypes.uint4, 8: np.uint8}[bits]
        b = graph.dequantize(
            graph.constant(numbers.astype(stored)),
            graph.constant(scales),
            graph.constant(zeros.astype(stored)),
            a.element_type,
        )
    else:
        at, zeros = _groups(node, k, block), np.broadcast_to(zeros, (n, blocks))
        differences = numbers.astype(np.float32) - zeros[:, at].astype(np.float32)
        weights = differences * scales[:, at].astype(np.float32)
        b = graph.constant(weights.astype(a.dtype))
    y = graph.matmul(a, b, transpose_b=True)
    return y + node.value(5) if node.has(5) else y


def _block_zeros(node: Node, bits: int, n: int, blocks: int) -> Array:
    """The zero point of each block, or of all."""
    if not node.has(3):
        return np.full((1, 1), 1 << (bits - 1), np.uint8)
    given = node.must_be_known(3, "the zero points")
    if given.dtype != np.uint8:
        return np.asarray(given, np.float32).reshape(n, blocks)
    if given.size != n * -(-blocks * bits // 8):
        raise KpuError(f"{given.size} bytes of zero points for {n} rows of {blocks} blocks")
    return unpacked(given.reshape(n, -1), bits, blocks)


def _groups(node: Node, k: int, block: int) -> Array:
    """The block of each place along k: its own, or what ``g_idx`` says."""
    if node.has(4):
        order = node.must_be_known(4, "g_idx").reshape(-1)
        if len(order) >= k:
            return order[:k]
    return np.arange(k) // block


def _in_steps(node: Node, a: Value, block: int) -> Value:
    """Rows in blocks, each in steps of 1/127 of its largest number."""
    graph, rank = node.graph, len(a.shape)
    behind = -a.shape[-1] % block
    rows = graph.pad(a, [0] * rank, [0] * (rank - 1) + [behind]) if behind else a
    parts = graph.reshape(rows, (*a.shape[:-1], -1, block))
    largest = graph.reduce("max", graph.map(abs, parts), [rank], keep=False)
    steps = graph.map(lambda m: m.to(F32) / 127.0, largest)
    y = graph.dequantize(graph.quantize(rows, steps, dtype=np.int8), steps, dtype=a.element_type)
    return graph.slice(y, [0] * rank, [1] * rank, a.shape) if behind else y


@operator("GatherBlockQuantized", domain=DOMAIN)
def gather_block_quantized(node: Node) -> Tensor:
    """Rows of a table of a few bits, dequantized: numbers, scales and zero points are gathered."""
    graph, data = node.graph, node.must_be_known(0, "the table")
    block, rank = node.integer("block_size", 128), data.ndim
    axes = node.integer("gather_axis", 0), node.integer("quantize_axis", 1)
    gather, axis = (a + rank * (a < 0) for a in axes)
    scales = node.must_be_known(2, "the scales")
    scale_of(node, 2)
    zeros = node.must_be_known(3, "the zero points") if node.has(3) else None
    if not (0 <= gather < rank and 0 <= axis < rank) or gather == axis or block < 1:
        raise KpuError(f"gather_axis {gather}, quantize_axis {axis}, block_size {block}")
    bits = node.integer("bits", 4)
    if data.dtype == np.uint8:
        if bits not in (2, 4, 8) or axis != rank - 1:
            raise KpuError(f"bytes of {bits} bits along dimension {axis} are not supported")
        data = unpacked(data, bits, data.shape[-1] * 8 // bits)
        zeros = zeros if zeros is None else unpacked(zeros, bits, scales.shape[-1])
        zeros = np.full(scales.shape, 1 << (bits - 1)) if zeros is None else zeros
    counts = [-(-e // block) if a == axis else e for a, e in enumerate(data.shape)]
    if list(scales.shape) != counts:
        raise KpuError(
            f"scales of shape {scales.shape} do not fit blocks of {block}: expected {tuple(counts)}"
        )
    known = node.known(1)
    if known is not None and ((known < -data.shape[gather]) | (known >= data.shape[gather])).any():
        raise KpuError(f"an index is outside the {data.shape[gather]} rows of the table")
    indices = node.value(1)
    parts: list[Value] = [graph.gather(graph.constant(_bytes(data)), indices, gather)]
    extent = data.shape[axis]
    wide = [scales] if zeros is None else [scales, _bytes(zeros)]
    parts += [_spread(graph.gather(graph.constant(v), indices, gather), node, gather, axis, block,
                      extent, len(indices.shape)) for v in wide]  # fmt: skip
    kind = parts[1].element_type
    return graph.map(lambda v, s, *z: real(v, s.to(F32), *z).to(kind), *parts)


def _bytes(array: Array) -> Array:
    """Numbers of a few bits as bytes: rows of a table are gathered whole."""
    signed = array.dtype.name in ("int4", "int2", "int8")
    return array.astype(np.int8 if signed else np.uint8)


def _spread(
    value: Value, node: Node, gather: int, axis: int, block: int, extent: int, rank: int
) -> Value:
    """Each number of a block beside each element of it."""
    graph = node.graph
    at = axis if axis < gather else axis + rank - 1
    shape: Sequence[int] = value.shape
    wide = graph.reshape(value, (*shape[: at + 1], 1, *shape[at + 1 :]))
    wide = graph.broadcast(wide, (*shape[: at + 1], block, *shape[at + 1 :]))
    full = [*shape[:at], shape[at] * block, *shape[at + 1 :]]
    wide = graph.reshape(wide, full)
    kept = [*shape[:at], extent, *shape[at + 1 :]]
    return wide if full == kept else graph.slice(wide, [0] * len(full), [1] * len(full), kept)
