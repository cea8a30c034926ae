"""The formulas of quantized numbers, in ONNX's rounding."""

from __future__ import annotations

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerType, f32, i32
from xdsl.ir import Attribute
from xdsl.utils.hints import isa

from kpu_ir.scalar import formulas
from kpu_ir.scalar.tracing import Scalar, is_unsigned
from kpu_ir.support.types import dtype_of


def limits(kind: Attribute) -> tuple[float, float]:
    """The least and the largest number of a type of quantized numbers."""
    if isa(kind, IntegerType):
        bits = kind.bitwidth
        if is_unsigned(kind):
            return 0.0, float((1 << bits) - 1)
        return -float(1 << bits - 1), float((1 << bits - 1) - 1)
    import ml_dtypes

    largest = float(ml_dtypes.finfo(dtype_of(kind)).max)
    return -largest, largest


def saturated(x: Scalar, kind: Attribute, zero: Scalar | None = None) -> Scalar:
    """A number of f32 (a whole one, where ``kind`` is of integers), with a zero point, in ``kind``: its
    ends where it is outside."""
    wide = x if zero is None else x + zero.to(i32).to(f32)
    low, high = limits(kind)
    if isa(kind, IntegerType):  # a NaN is the lowest one: an integer has none
        lowest = wide.trace.number(low, f32)
        wide = wide.trace.insert(arith.MaxnumfOp(wide.value, lowest.value), f32)
        held = formulas.minimum(wide, high)
    else:
        held = formulas.clip(wide, low, high)
    return held.to(i32).to(kind) if isa(kind, IntegerType) else held.to(kind)


def quantized(x: Scalar, scale: Scalar, kind: Attribute, zero: Scalar | None = None) -> Scalar:
    """``saturate(round(x / scale) + zero)``."""
    quotient = (x.to(scale.kind) / scale).to(f32)
    if isa(kind, IntegerType):
        quotient = formulas.round_half_even(quotient)
    return saturated(quotient, kind, zero)


def dequantized(x: Scalar, scale: Scalar, kind: Attribute, zero: Scalar | None = None) -> Scalar:
    """``(x - zero) scale``, in f32, then in ``kind``."""
    whole = x.to(f32) if zero is None else (x.to(i32) - zero.to(i32)).to(f32)
    return (whole * scale.to(f32)).to(kind)
