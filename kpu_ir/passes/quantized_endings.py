"""What stands behind a product of stored integers: zero points, a bias, clamps, a quantize; one map of them,
for ``kernel-quantize``.

Sums of what is known, and a bias in the units of the sum, are one constant that is added in i32. Where a
quantize by (sy, zy) follows, with nothing or a clamp between,

    y = saturate(round(f32(sum) ((sa sb) / sy)) + zy)

with all of it in f32, half to even, as onnxruntime's integer kernels compute it; or rounded twice, in
integers (``scalar.double_rounding``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerType, f32, i32
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.utils.hints import isa

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.passes.kernel_convolution import known
from kpu_ir.passes.quantized_behind import clamp, factor_behind
from kpu_ir.passes.quantized_factors import Written, full
from kpu_ir.passes.quantized_maps import known_zero
from kpu_ir.passes.quantized_movement import count, stored_zero
from kpu_ir.scalar import formulas
from kpu_ir.scalar.double_rounding import double_rounded, fixed_point
from kpu_ir.scalar.quantization import limits
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.support.types import Array


@dataclass
class Sums:
    """A product in i32, and what is added to it: what is known (``shift``), and terms that are not."""

    value: SSAValue
    shift: Array | None = None
    terms: list[tuple[Callable[..., Scalar], list[SSAValue]]] = field(
        default_factory=list[tuple[Callable[..., Scalar], list[SSAValue]]]
    )

    def subtract(self, zero: SSAValue, total: SSAValue, written: Written) -> None:
        """Zero points times sums; one zero point for all makes a row or a column of numbers, once."""
        if count(zero) == 1:
            product = written.map(lambda z, t: z.to(i32) * t, zero, total)
            self.terms.append((lambda t: t, [product]))
        else:
            self.terms.append((lambda z, t: z.to(i32) * t, [zero, total]))

    def add(self, array: Array) -> None:
        """What is known."""
        self.shift = array if self.shift is None else self.shift + array


@dataclass
class Ending:
    """What becomes of the operations after a product: a bias in its units, clamps, a quantize."""

    op: Operation
    sums: Sums
    scale: SSAValue
    written: Written
    before: Sequence[Operation] = ()
    """What goes with ``op``, in order, ``op`` the last of them."""
    rows: SSAValue | None = None
    """Scales of rows, where ``scale`` is that of columns alone."""
    scales: Sequence[SSAValue | Array] = ()
    """The factors of ``scale``, for what is rounded in another way."""

    def write(self) -> None:
        """Put all in the place of the product, and of what it takes in."""
        last, swallowed = self.op.results[0], list(self.before or [self.op])
        bias = self.bias(last)
        if bias is not None:
            swallowed.append(bias)
            last = bias.result
        while self.rows is None and (scaled := factor_behind(last)) is not None:
            user, by = scaled
            if by.size != 1:
                break
            self.scaled_by(float(by.reshape(-1)[0]))
            swallowed.append(user)
            last = user.result
        low, high = -np.inf, np.inf
        clamps: list[Operation] = []
        end = last
        while (found := clamp(end)) is not None:
            clamps.append(found[0])
            low, high = max(low, min(found[1], found[2])), min(high, found[2])
            end = found[0].results[0]
        user = end.get_user_of_unique_use()
        if isinstance(user, kernel.QuantizeOp) and self.quantizes(user):
            result = self.quantized(user, low, high)
            swallowed += [*clamps, user]
        else:
            result = self.real()
        shape = tensor_type(swallowed[-1].results[0]).get_shape()
        if tensor_type(result).get_shape() != shape:
            result = self.written.add(kernel.ReshapeOp(result, shape))
        self.written.replace(swallowed, result)

    def bias(self, product: SSAValue) -> kernel.MapOp | None:
        """The map that adds a bias, stored in the product's units, to it; its numbers are added here."""
        user = product.get_user_of_unique_use()
        if (
            not isinstance(user, kernel.MapOp)
            or len(user.inputs) != 2
            or user.result.type != product.type
            or tensor_type(product).get_shape() != tensor_type(self.sums.value).get_shape()
        ):
            return None
        body = list(user.body.block.ops)
        if len(body) != 2 or not isinstance(body[0], arith.AddfOp):
            return None
        other = user.inputs[1] if user.inputs[0] is product else user.inputs[0]
        op = other.owner
        if not isinstance(op, kernel.DequantizeOp) or tensor_type(op.source).element_type != i32:
            return None
        if self.rows is not None:  # a bias in steps of each row's own: it is none
            return None
        rank = len(tensor_type(product).get_shape())
        stored, scale, ours = known(op.source), known(op.scale), known(self.scale)
        if stored is None or scale is None or ours is None or (stored_zero(op) != 0):
            return None
        shape = full(op.source, rank)
        theirs = scale.reshape(full(op.scale, rank))
        both = np.broadcast_shapes(theirs.shape, ours.shape)
        equal = np.allclose(np.broadcast_to(theirs, both), np.broadcast_to(ours, both), 1e-6, 0)
        if not equal or any(
            n not in (1, m) for n, m in zip(shape, tensor_type(product).get_shape())
        ):
            return None
        self.sums.add(stored.reshape(shape))
        return user

    def scaled_by(self, number: float) -> None:
        """Let the scale be that of the product times a number."""
        found = known(self.scale)
        if found is None:
            self.scale = self.written.map(lambda s: s * number, self.scale)
        else:
            self.scale = self.written.constant(found.astype(np.float32) * np.float32(number))
        self.scales = [*self.scales, np.array(number, np.float64)]

    def quantizes(self, op: kernel.QuantizeOp) -> bool:
        """Whether the requantization is of one scale, to integers."""
        whole = isa(op.result.type.element_type, IntegerType) and count(op.scale) == 1
        return (
            whole
            and tensor_type(op.scale).element_type == f32
            and (op.zero is None or count(op.zero) == 1)
        )

    def operands(self) -> tuple[list[SSAValue], Callable[[Sequence[Scalar]], Scalar]]:
        """What the sum is made of, and the sum in i32 of their scalars."""
        values, terms = [self.sums.value], self.sums.terms
        if self.sums.shift is not None and self.sums.shift.any():
            values.append(self.written.constant(self.sums.shift.astype(np.int32)))
        known_terms = len(values)
        for _, more in terms:
            values += more

        def total(scalars: Sequence[Scalar]) -> Scalar:
            result = scalars[0]
            for one in scalars[1:known_terms]:
                result = result + one
            at = known_terms
            for formula, more in terms:
                result = result - formula(*scalars[at : at + len(more)])
                at += len(more)
            return result

        return values, total

    def real(self) -> SSAValue:
        """The product as f32."""
        values, total = self.operands()
        scales = [self.scale] if self.rows is None else [self.rows, self.scale]

        def formula(*scalars: Scalar) -> Scalar:
            first, *rest = (s.to(f32) for s in scalars[len(values) :])
            return total(scalars[: len(values)]).to(f32) * (first * rest[0] if rest else first)

        return self.written.map(formula, *values, *scales)

    def quantized(self, op: kernel.QuantizeOp, low: float, high: float) -> SSAValue:
        """The product requantized; ``low`` and ``high``: what real numbers are clamped to before."""
        values, total = self.operands()
        rank = len(tensor_type(self.sums.value).get_shape())
        kind = op.result.type.element_type
        number, zero = known_zero(op), list[SSAValue]()
        twice = self.twice(op, rank) if number is not None else None
        if twice is not None:
            return self.doubly(
                values, total, twice, number or 0, self.ends(op, kind, low, high), kind
            )
        factor = self.over(op.scale, rank)
        if op.zero is not None and number is None:
            zero.append(self.written.add(kernel.ReshapeOp(op.zero, (1,) * rank)))
        ends = self.ends(op, kind, low, high)

        def formula(*scalars: Scalar) -> Scalar:
            own = scalars[: len(values)]
            whole = formulas.round_half_even(total(own).to(f32) * scalars[len(values)])
            for point in scalars[len(values) + 1 :]:
                whole = whole + point.to(i32).to(f32)
            whole = whole + number if number else whole
            return formulas.clip(whole, *ends).to(i32).to(kind)

        return self.written.map(formula, *values, factor, *zero, kind=kind)

    def twice(self, op: kernel.QuantizeOp, rank: int) -> Array | None:
        """``(sa sb) / sy`` in f64, where sums are to be rounded twice, and it is known and above 0."""
        theirs = known(op.scale)
        if op.requantize is None or op.requantize.data != "double" or theirs is None:
            return None
        ours = np.ones(1)
        for one in self.scales:
            found = known(one) if isinstance(one, SSAValue) else one
            if found is None:
                return None
            ours = ours * found.astype(np.float64)
        factor = ours / theirs.astype(np.float64).reshape((1,) * rank)
        return factor if (factor > 0).all() else None

    def doubly(
        self, values: list[SSAValue], total: Callable[..., Scalar], factor: Array, zero: int,
        ends: tuple[float, float], kind: Attribute,
    ) -> SSAValue:  # fmt: skip
        """The sum, rounded twice in integers (``scalar.double_rounding``)."""
        multiplier, shift = fixed_point(factor)
        most, own = int(shift.max()), len(values)
        if factor.size > 1:
            values = [*values, self.written.constant(multiplier), self.written.constant(shift)]

        def formula(*scalars: Scalar) -> Scalar:
            by: tuple[Any, ...] = scalars[own:] or (int(multiplier.flat[0]), int(shift.flat[0]))
            return double_rounded(total(scalars[:own]), by[0], by[1], zero, ends, kind, most)

        return self.written.map(formula, *values, kind=kind)

    def over(self, scale: SSAValue, rank: int) -> SSAValue:
        """``(sa sb) / sy``."""
        if self.rows is not None:
            self.scale = self.written.map(lambda x, y: x.to(f32) * y.to(f32), self.rows, self.scale)
        ours, theirs = known(self.scale), known(scale)
        if ours is not None and theirs is not None:
            return self.written.constant(ours / theirs.astype(np.float32).reshape((1,) * rank))
        one = self.written.add(kernel.ReshapeOp(scale, (1,) * rank))
        return self.written.map(lambda s, y: s / y, self.scale, one)

    def ends(
        self, op: kernel.QuantizeOp, kind: Attribute, low: float, high: float
    ) -> tuple[float, float]:
        """The type's ends, or what the clamps' ends are quantized to: rounding keeps the order."""
        least, most = limits(kind)
        if np.isinf(low) and np.isinf(high):
            return least, most
        scale, zero = known(op.scale), 0 if op.zero is None else known(op.zero)
        assert scale is not None
        assert zero is not None
        step, point = np.float32(scale.reshape(-1)[0]), float(np.asarray(zero).reshape(-1)[0])

        def stored(x: float) -> float:
            if np.isinf(x):
                return least if x < 0 else most
            return float(np.clip(np.rint(np.float32(x) / step) + point, least, most))

        return stored(low), stored(high)
