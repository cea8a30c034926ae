"""Requantization in integers alone, as mobile runtimes (gemmlowp, TensorFlow Lite) compute it: rounded twice.

A factor is a number of 31 bits and a shift, ``M 2^-31 2^-e`` with M in [2^30, 2^31). Of a sum x (i32)

    h = SaturatingRoundingDoublingHighMul(x 2^l, M) = (x 2^l M + 2^30) >> 31      half up
    y = RoundingDivideByPOT(h, e)                                                  half away from zero
    y + zero, clamped, narrowed

with l the bits of a factor of 1 and above (e is 0 then). The product is exact in i64; ``>>`` keeps the sign.
A unit that requantizes does it in one pass, as it does the other form (``scalar.requantize``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr, i32, i64
from xdsl.ir import Attribute, Operation, SSAValue

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
    else. Multiplier and shift are constants or operands of the body; what decodes them is the unit's."""
    if not isinstance(end, arith.TruncIOp) or end.operands[0].type != i64:
        return None
    found: set[Operation] = {end}
    waiting = [end.operands[0]]
    while waiting:
        op = waiting.pop().owner
        if isinstance(op, Operation) and op not in found:
            found.add(op)
            waiting += () if isinstance(op, arith.ExtSIOp) else op.operands
    products = [op for op in found if isinstance(op, arith.MuliOp) and not _known(op.results[0])]
    if len(products) != 1 or products[0].operands[0].type != i64:
        return None
    (product,) = products
    way = _way(product, end)
    factor, x = _factor(product), product.operands[0]
    if way is None or factor is None:
        return None
    x = product.operands[1] if factor is x else x
    way.add(product)
    if isinstance(x.owner, arith.ShLIOp):
        way.add(x.owner)
        x = x.owner.operands[0]
    widened = x.owner
    if not isinstance(widened, arith.ExtSIOp) or widened.operands[0].type != i32:
        return None
    way.add(widened)
    decoding = [op for op in found - way if isinstance(op, DECODES) and not _known(op.results[0])]
    inside = {*way, *decoding}
    read_inside = all(
        {use.operation for v in op.results for use in v.uses} <= inside for op in inside - {end}
    )
    met = [v for op in inside - {widened} for v in op.operands if v.owner not in way]
    if not read_inside or not all(_parameter(v) for v in met):
        return None
    return inside, widened.operands[0]


def _way(product: arith.MuliOp, end: Operation) -> set[Operation] | None:
    """What follows the product, up to the narrowing at its end: rounded to its upper 31 bits, divided by
    a power of two, a zero point added, clamped. None where it is anything else."""
    way: set[Operation] = set()

    def then(value: SSAValue, kind: type[Operation], number: int | None = None) -> SSAValue | None:
        """What the only reader of ``value`` makes of it and a constant."""
        op = value.get_user_of_unique_use()
        if not isinstance(op, kind):
            return None
        ordered = isinstance(op, arith.ShRSIOp)
        others = op.operands[1:] if ordered else [v for v in op.operands if v is not value]
        if len(others) != 1 or not _known(others[0]):
            return None
        if number is not None and _number(others[0]) != number:
            return None
        way.add(op)
        return op.results[0]

    value = then(product.results[0], arith.AddiOp, 1 << 30)
    value = then(value, arith.ShRSIOp, 31) if value else None
    if value is None:
        return None
    if value.get_user_of_unique_use() is None:
        value, divided = _divided(value)
        way |= divided
        if value is None:
            return None
    value = then(value, arith.AddiOp) or value
    low = then(value, arith.MaxSIOp)
    value = then(low or value, arith.MinSIOp) or low or value
    if low is None:
        value = then(value, arith.MaxSIOp) or value
    if value is not end.operands[0]:
        return None
    return way | {end}


def _divided(high: SSAValue) -> tuple[SSAValue | None, set[Operation]]:
    """``(high + half + max(high >> 63, -half)) >> e``, half away from zero, and its operations."""
    by_kind = {type(use.operation): use.operation for use in high.uses}
    sign, half = by_kind.get(arith.ShRSIOp), by_kind.get(arith.AddiOp)
    if sign is None or half is None or len(list(high.uses)) != 2 or _number(sign.operands[1]) != 63:
        return None, set()
    down = sign.results[0].get_user_of_unique_use()
    both = half.results[0].get_user_of_unique_use()
    if not isinstance(down, arith.MaxSIOp) or not isinstance(both, arith.AddiOp):
        return None, set()
    shift = both.results[0].get_user_of_unique_use()
    if down.results[0] not in both.operands or not isinstance(shift, arith.ShRSIOp):
        return None, set()
    if shift.operands[0] is not both.results[0] or sign.operands[0] is not high:
        return None, set()
    return shift.results[0], {sign, half, down, both, shift}


def _factor(product: arith.MuliOp) -> SSAValue | None:
    """The operand of a product that is its multiplier."""
    one, other = product.operands
    return other if _parameter(other) else one if _parameter(one) else None


def _parameter(value: SSAValue) -> bool:
    """Whether it is made of constants and of operands of the body alone, by what decodes a shift."""
    op = value.owner
    if not isinstance(op, Operation) or _known(value):
        return True
    if isinstance(op, arith.ExtSIOp):
        source = op.operands[0]
        return not isinstance(source.owner, Operation) or _parameter(source)
    return isinstance(op, DECODES) and all(_parameter(v) for v in op.operands)


def _known(value: SSAValue) -> bool:
    """Whether it is computed from constants alone."""
    op = value.owner
    if not isinstance(op, Operation):
        return False
    if isinstance(op, arith.ConstantOp):
        return True
    return len(op.operands) > 0 and all(_known(v) for v in op.operands)


DECODES = (arith.SubiOp, arith.MaxSIOp, arith.ShLIOp, arith.ShRSIOp)
"""What makes both ways to shift, and the half, of an operand that says how far."""


def _number(value: SSAValue) -> int | None:
    op = value.owner
    if isinstance(op, arith.ConstantOp) and isinstance(op.value, IntegerAttr):
        return op.value.value.data
    return None
