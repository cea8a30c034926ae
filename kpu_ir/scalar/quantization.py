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


def saturated(x: Scalar, kind: Attribute, zero: Scalar | float | None = None) -> Scalar:
    """A number of f32 (a whole one, where ``kind`` is of integers), with a zero point, in ``kind``: its
    ends where it is outside."""
    wide = x + zero.to(i32).to(f32) if isinstance(zero, Scalar) else x + zero if zero else x
    low, high = limits(kind)
    if not isa(kind, IntegerType):
        return formulas.clip(wide, low, high).to(kind)
    lowest = wide.trace.number(low, f32)  # a NaN is the lowest one: an integer has none
    wide = wide.trace.insert(arith.MaxnumfOp(wide.value, lowest.value), f32)
    return formulas.minimum(wide, high).to(i32).to(kind)


def quantized(
    x: Scalar, scale: Scalar, kind: Attribute, zero: Scalar | float | None = None
) -> Scalar:
    """``saturate(round(x / scale) + zero)``."""
    return in_steps((x.to(scale.kind) / scale).to(f32), kind, zero)


def in_steps(x: Scalar, kind: Attribute, zero: Scalar | float | None = None) -> Scalar:
    """``saturate(round(x) + zero)``, of a number of f32 that is in steps."""
    whole = formulas.round_half_even(x) if isa(kind, IntegerType) else x
    return saturated(whole, kind, zero)


def dequantized(
    x: Scalar, scale: Scalar, kind: Attribute, zero: Scalar | float | None = None
) -> Scalar:
    """``(x - zero) scale``, in f32, then in ``kind``. The difference of short integers is exact in
    f32; of i32 it is taken in i32."""
    if isinstance(zero, Scalar):
        wide = x.kind == i32
        whole = (x - zero).to(f32) if wide else x.to(f32) - zero.to(f32)
    else:
        whole = x.to(f32) - zero if zero else x.to(f32)
    return (whole * scale.to(f32)).to(kind)
