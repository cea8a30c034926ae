"""Quantized tensors: numbers in steps of a scale around a zero point.

What onnxruntime computes is what is written here, rounding by rounding (docs/quantization.md): a
quotient, half to even, the zero point, the ends of the type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import IntegerType
from xdsl.utils.hints import isa

from kpu_ir.dialects.kernel.quantized import is_stored
from kpu_ir.frontends.onnx.elementwise import short_float
from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar import formulas, quantization
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array, element_type_of

F32, I32 = (element_type_of(np.dtype(t)) for t in (np.float32, np.int32))
U8 = np.dtype(np.uint8)


# -- scales and zero points -------------------------------------------------------------------------


def scale_of(node: Node, i: int, positive: bool = False) -> Tensor:
    """The scale that input ``i`` is. ``positive``: values are divided by it.

    Raises ``KpuError`` for one that is known and no scale.
    """
    if not node.has(i):
        raise KpuError(f"input {i}, a scale, is missing")
    scale = node.inputs[i]
    assert scale is not None
    known = node.known(i)
    if known is not None:
        numbers = known.astype(np.float32)
        if not np.isfinite(numbers).all():
            raise KpuError(f"input {i}: a scale is {_first(numbers, ~np.isfinite(numbers))}")
        if positive and (numbers <= 0).any():
            raise KpuError(
                f"input {i}: a scale is {_first(numbers, numbers <= 0)}",
                hint="what is quantized is divided by its scale: it is above 0",
            )
    return scale


def _first(numbers: Array, wrong: Array) -> str:
    at = int(np.flatnonzero(wrong.reshape(-1))[0])
    where = f" (number {at})" if numbers.size > 1 else ""
    return f"{numbers.reshape(-1)[at]:g}{where}"


def zero_of(node: Node, i: int, dtype: np.dtype[Any]) -> Tensor | None:
    """The zero point that input ``i`` is, if it is one: of the type of what it is the zero of."""
    if not node.has(i):
        return None
    zero = node.inputs[i]
    assert zero is not None
    if zero.dtype != dtype:
        raise KpuError(f"input {i}: a zero point of {zero.dtype} for numbers of {dtype}")
    return zero


def folded(node: Node, formula: Callable[..., Any], *operands: Tensor) -> Tensor:
    """A formula of parameters, in f32: computed now where they are known."""
    if all(isinstance(v, np.ndarray) for v in operands):
        with np.errstate(all="ignore"):
            found = formula(*(np.asarray(v).astype(np.float32) for v in operands))
        return np.asarray(found, np.float32)
    return node.graph.map(
        lambda *v: formula(*(x.to(F32) for x in v)), *(node.placed(v) for v in operands)
    )


def fused(x: Any, y: Any, z: Any) -> Any:
    """``x y + z`` of parameters, rounded once."""
    if isinstance(x, Scalar):
        return formulas.fma(x, y, z)
    return (x.astype(np.float64) * y + z).astype(np.float32)


def along(tensor: Tensor, rank: int, axis: int) -> Tensor:
    """One number, or one for each element of dimension ``axis``, so that it broadcasts to ``rank``."""
    if math.prod(tensor.shape) == 1:
        return tensor.reshape((1,) * rank)
    if len(tensor.shape) != 1:
        raise KpuError(f"a scale or zero point of shape {tuple(tensor.shape)}")
    return tensor.reshape([-1 if a == axis % rank else 1 for a in range(rank)])


def parameter(
    node: Node, tensor: Tensor, i: int, shape: Sequence[int], axis: int, block: int
) -> Value:
    """A scale or zero point of input ``i`` for ``shape``, as ``kernel.quantize`` takes it: one, one for
    each element of a dimension, or one for each ``block`` of them."""
    graph, value = node.graph, node.placed(tensor)
    if math.prod(value.shape) == 1 and not block:
        return graph.reshape(value, (1,) * len(shape))
    if not 0 <= axis < len(shape):
        raise KpuError(
            f"input {i} of shape {value.shape}: axis {axis} is outside the rank {len(shape)}"
        )
    if not block:
        if value.shape != (shape[axis],):
            raise KpuError(f"input {i} of shape {value.shape} does not fit dimension {axis}")
        return graph.reshape(value, [-1 if a == axis else 1 for a in range(len(shape))])
    counts = [-(-n // block) if a == axis else n for a, n in enumerate(shape)]
    if value.shape != tuple(counts):
        raise KpuError(
            f"input {i} of shape {value.shape} does not fit blocks of {block} in dimension "
            f"{axis} of {tuple(shape)}: expected {tuple(counts)}"
        )
    if shape[axis] % block == 0 or counts[axis] == 1:
        return value
    wide = graph.reshape(value, (*counts[: axis + 1], 1, *counts[axis + 1 :]))
    wide = graph.broadcast(wide, (*counts[: axis + 1], block, *counts[axis + 1 :]))
    full = [n * block if a == axis else n for a, n in enumerate(counts)]
    wide = graph.reshape(wide, full)
    return graph.slice(wide, [0] * len(shape), [1] * len(shape), shape)


def _axis(node: Node, rank: int) -> int:
    axis = node.integer("axis", 1)
    if rank and not -rank <= axis < rank and math.prod(node.shape(1)) != 1:
        raise KpuError(f"axis {axis} is outside the rank {rank}")
    return axis + rank * (axis < 0)


def _block(node: Node) -> int:
    block = node.integer("block_size", 0)
    if block < 0:
        raise KpuError(f"a block_size of {block}")
    return block


def _dtype(node: Node, attribute: str, default: np.dtype[Any]) -> np.dtype[Any]:
    from onnx.helper import tensor_dtype_to_np_dtype

    wanted = node.integer(attribute, 0)
    try:
        return np.dtype(tensor_dtype_to_np_dtype(wanted)) if wanted else default
    except KeyError:
        raise KpuError(f"{attribute}: there is no element type of number {wanted}") from None


# -- one element ------------------------------------------------------------------------------------


def whole(x: Scalar | float) -> Scalar | int:
    """A number of any integer type as i32."""
    return x.to(I32) if isinstance(x, Scalar) else int(x)


def in_f32(x: Scalar | float) -> Scalar | float:
    """The same as f32."""
    return x.to(I32).to(F32) if isinstance(x, Scalar) else float(x)


def saturated(x: Scalar, dtype: np.dtype[Any], zero: Scalar | float | None = None) -> Scalar:
    """A whole number of f32, with a zero point, in an integer type: its ends where it is outside, the
    lowest where it is a NaN."""
    x = x + in_f32(zero) if isinstance(zero, Scalar) or zero else x
    return quantization.saturated(x, element_type_of(dtype))


def rounded(x: Scalar, dtype: np.dtype[Any], zero: Scalar | float | None = None) -> Scalar:
    """The nearest whole number, half to even, then ``saturated``."""
    return saturated(formulas.round_half_even(x), dtype, zero)


def real(x: Scalar, scale: Scalar | float, zero: Scalar | float | None = None) -> Scalar:
    """``(x - zero) scale`` in f32; the difference is exact."""
    difference = x.to(I32)
    if isinstance(zero, Scalar) or zero:
        difference = difference - whole(zero)
    return difference.to(F32) * scale


# -- tensors ----------------------------------------------------------------------------------------


@operator("QuantizeLinear")
def quantize(node: Node) -> Tensor:
    """``saturate(round(x / scale) + zero)``; floats of 8 bits are rounded, and saturate too."""
    graph, x = node.graph, node.value(0)
    shape, block = x.shape, _block(node)
    axis = _axis(node, len(shape))
    zero = node.inputs[2] if node.has(2) else None
    dtype = _dtype(node, "output_dtype", U8 if zero is None else zero.dtype)
    kind, zero = element_type_of(dtype), zero_of(node, 2, dtype)
    scale = parameter(node, scale_of(node, 1, positive=True), 1, shape, axis, block)
    divided = x.element_type if x.dtype.kind not in "iub" else F32
    if node.integer("precision", 0):
        divided = element_type_of(_dtype(node, "precision", np.dtype(np.float32)))
    scale = graph.cast(scale, divided)
    if is_stored(kind) and (isa(kind, IntegerType) or node.integer("saturate", 1)):
        point = parameter(node, zero, 2, shape, axis, block) if zero is not None else None
        x = x if x.dtype.kind not in "iub" else graph.cast(x, np.int32)
        return graph.quantize(x, scale, point if isa(kind, IntegerType) else None, kind)
    saturate = bool(node.integer("saturate", 1))
    wide = graph.map(lambda v, s: (v.to(divided) / s).to(F32), x, scale)
    return short_float(node, wide, dtype, saturate)


@operator("DequantizeLinear")
def dequantize(node: Node) -> Tensor:
    """``(x - zero) scale``."""
    graph, x = node.graph, node.value(0)
    shape, block = x.shape, _block(node)
    axis = _axis(node, len(shape))
    scale = parameter(node, scale_of(node, 1), 1, shape, axis, block)
    kind = element_type_of(_dtype(node, "output_dtype", scale.dtype))
    zero = zero_of(node, 2, x.dtype)
    if not is_stored(x.element_type) and x.element_type != I32:
        return graph.map(lambda v, s: (v.to(F32) * s.to(F32)).to(kind), x, scale)
    integers = isa(x.element_type, IntegerType)
    point = parameter(node, zero, 2, shape, axis, block) if zero is not None and integers else None
    return graph.dequantize(x, scale, point, kind)


@operator("DynamicQuantizeLinear")
def dynamic_quantize(node: Node) -> list[Tensor]:
    """Bytes in steps of a tensor's own range, the step and the zero point: 0 has a byte of its own."""
    y, scale, zero = in_own_range(node.graph, node.value(0))
    return [y, node.graph.reshape(scale, ()), node.graph.reshape(zero, ())]


def in_own_range(graph: Graph, x: Value) -> tuple[Value, Value, Value]:
    """What ``dynamic_quantize`` computes, step and zero point with a dimension of 1 for each of x's."""
    low, high = (graph.reduce(kind, x, range(len(x.shape))) for kind in ("min", "max"))

    def step(low: Scalar, high: Scalar) -> Scalar:
        low, high = formulas.minimum(low, 0.0), formulas.maximum(high, 0.0)
        return formulas.where(low == high, 1.0, (high - low) / 255.0)

    def point(low: Scalar, s: Scalar) -> Scalar:
        wide = formulas.clip(-formulas.minimum(low, 0.0) / s, 0.0, 255.0)
        return saturated(formulas.round_half_even(wide), U8)

    scale = graph.map(step, low, high)
    zero = graph.map(point, low, scale)
    return graph.map(lambda v, s, z: rounded(v / s, U8, z), x, scale, zero), scale, zero
