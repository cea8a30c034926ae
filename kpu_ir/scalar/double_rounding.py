"""Requantization in integers alone, as mobile runtimes (gemmlowp, TensorFlow Lite) compute it: rounded twice.

A factor is a number of 31 bits and a shift, ``M 2^-31 2^-e`` with M in [2^30, 2^31). Of a sum x (i32)

    h = SaturatingRoundingDoublingHighMul(x 2^l, M) = (x 2^l M + 2^30) >> 31      half up
    y = RoundingDivideByPOT(h, e)                                                  half away from zero
    y + zero, clamped, narrowed

with l the bits of a factor of 1 and above (e is 0 then). The product is exact in i64; ``>>`` keeps the sign.
A unit that requantizes does it in one pass, as it does the other form (``scalar.requantize``).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr, i32, i64
from xdsl.ir import Attribute, Operation, OpResult, SSAValue

from kpu_ir.scalar import formulas
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.support.types import Array


def fixed_point(factor: Array) -> tuple[Array, Array]:
    """The multiplier M and the shift of factors above 0 (f64), as TensorFlow Lite's
    ``QuantizeMultiplier``: ``factor = M 2^-31 2^shift``; both i32.

    >>> fixed_point(np.array([0.375, 3.0]))
    (array([1610612736, 1610612736], dtype=int32), array([-1,  2], dtype=int32))
    """
    fraction, shift = np.frexp(factor.astype(np.float64))
    whole = np.floor(fraction * (1 << 31) + 0.5).astype(np.int64)
    over = whole == 1 << 31
    whole, shift = np.where(over, whole // 2, whole), shift + over
    gone = shift < -31
    return np.where(gone, 0, whole).astype(np.int32), np.where(gone, 0, shift).astype(np.int32)


def double_rounded(
    total: Scalar, multiplier: Any, shift: Any, zero: int, ends: tuple[float, float],
    kind: Attribute, most: int,
) -> Scalar:  # fmt: skip
    """A sum (i32) in ``kind``. ``multiplier``, ``shift``: numbers or scalars (i32); ``most``: the largest
    shift there is, above 0 where some factor is 1 or more."""
    x = total.to(i64)
    left: Any
    right: Any
    if isinstance(shift, Scalar):
        left = shift.to(i64)
        right = 0 - left
        if most > 0:
            left, right = formulas.maximum(left, 0), formulas.maximum(right, 0)
        half = (right.trace.number(1, i64) << right) >> 1
        no = 0 - half
    else:
        left, right = max(shift, 0), max(-shift, 0)
        half = (1 << right) >> 1
        no = -half
    if most > 0:
        x = x << left
    factor = multiplier.to(i64) if isinstance(multiplier, Scalar) else multiplier
    high = (x * factor + (1 << 30)) >> 31
    if isinstance(right, Scalar) or right:
        below = formulas.maximum(high >> 63, no)  # -1 of what is negative and rounded
        high = (high + half + below) >> right
    high = high + zero if zero else high
    low, up = (int(end) for end in ends)
    return formulas.minimum(formulas.maximum(high, low), up).to(kind)


def double_rounding(end: Operation) -> tuple[set[Operation], SSAValue] | None:
    """The operations of a requantization that ends here, and the sum that it is of; None for anything
    else: one product in i64, rounded to 31 bits, shifted, clamped, narrowed."""
    if not isinstance(end, arith.TruncIOp) or end.operands[0].type != i64:
        return None
    found: set[Operation] = {end}
    waiting, products, starts = [end.operands[0]], list[arith.MuliOp](), list[SSAValue]()
    while waiting:
        op = waiting.pop().owner
        if not isinstance(op, Operation) or op in found:
            continue
        found.add(op)
        if isinstance(op, arith.ExtSIOp):
            starts.append(op.operands[0])
        else:
            waiting += op.operands
        if isinstance(op, arith.MuliOp):
            products.append(op)
    names = Counter(type(op) for op in found)
    if len(products) != 1 or names - Counter(MOST) or not starts:
        return None
    inside = all(
        {use.operation for result in op.results for use in result.uses} <= found
        for op in found - {end}
        if not isinstance(op, arith.ConstantOp | arith.ExtSIOp)
    )
    sums = [v for v in _sources(products[0].operands[0])]
    if not inside or not _high(products[0]) or len(sums) != 1:
        return None
    return found, sums[0]


MOST: dict[type[Operation], int] = {
    arith.TruncIOp: 1,
    arith.ConstantOp: 20,
    arith.ExtSIOp: 4,
    arith.MuliOp: 1,
    arith.AddiOp: 4,
    arith.SubiOp: 2,
    arith.ShLIOp: 2,
    arith.ShRSIOp: 4,
    arith.MaxSIOp: 4,
    arith.MinSIOp: 1,
}
"""The operations of one requantization, and how many there are at most."""


def _high(product: arith.MuliOp) -> bool:
    """Whether ``2^30`` is added to a product, and its upper 31 bits are all that is kept."""
    (add,) = [use.operation for use in product.results[0].uses] or [None]
    if not isinstance(add, arith.AddiOp) or 1 << 30 not in [_number(v) for v in add.operands]:
        return False
    (shift,) = [use.operation for use in add.results[0].uses][:1] or [None]
    return isinstance(shift, arith.ShRSIOp) and _number(shift.operands[1]) == 31


def _number(value: SSAValue) -> int | None:
    op = value.owner
    if isinstance(op, arith.ConstantOp) and isinstance(op.value, IntegerAttr):
        return op.value.value.data
    return None


def _sources(value: SSAValue) -> list[SSAValue]:
    """The sum that a product's first operand is: widened, perhaps shifted to the left."""
    if isinstance(value, OpResult) and isinstance(value.owner, arith.ShLIOp):
        value = value.owner.operands[0]
    if isinstance(value, OpResult) and isinstance(value.owner, arith.ExtSIOp):
        source = value.owner.operands[0]
        return [source] if source.type == i32 else []
    return []
