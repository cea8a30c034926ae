"""Patterns of ``kernel-quantize``: what moves numbers, or chooses among them, does so while they are
stored.

``op(dequantize(q, s, z))`` --> ``dequantize(op(q), s, z)``: fewer bytes move, and products find their
operands stored. Where a quantize by the same scale follows, nothing but ``op(q)`` is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import FloatAttr, IntegerType, TensorType
from xdsl.ir import Block, Operation, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern
from xdsl.utils.hints import isa

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import scalar_type, tensor_type
from kpu_ir.dialects.kernel.movement import numbers
from kpu_ir.passes.kernel_convolution import known
from kpu_ir.passes.kernel_fold import constant_of, put
from kpu_ir.passes.quantized_maps import known_zero
from kpu_ir.scalar import formulas
from kpu_ir.scalar.quantization import dequantized, limits
from kpu_ir.scalar.tracing import trace
from kpu_ir.support.types import dense_of, dtype_of


def count(value: SSAValue) -> int:
    """How many elements a tensor has."""
    return tensor_type(value).element_count()


def same(a: SSAValue | None, b: SSAValue | None) -> bool:
    """Whether two parameters are the same numbers; none is a zero point of 0."""
    if a is b:
        return True
    one, other = (np.zeros(1) if v is None else known(v) for v in (a, b))
    if one is None or other is None:
        return False
    return one.size == other.size == 1 and float(one.reshape(-1)[0]) == float(other.reshape(-1)[0])


def of_tensor(op: kernel.DequantizeOp) -> bool:
    """Whether one scale and one zero point are for the whole tensor."""
    return count(op.scale) == 1 and (op.zero is None or count(op.zero) == 1)


def stored_zero(op: kernel.DequantizeOp) -> int | None:
    """The one number that stands for 0, if it is known."""
    if op.zero is None:
        return 0
    found = known(op.zero)
    if found is None or not found.size or not (found == found.reshape(-1)[0]).all():
        return None
    return int(found.reshape(-1)[0])


class MoveStored(RewritePattern):
    """Reshapes, transpositions, slices, broadcasts, rows by their number and padding by 0; largest elements where
    the scale is positive."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        """The operation itself, on another tensor."""
        if not isinstance(op, kernel.KernelOperation) or not op.operands or len(op.results) != 1:
            return
        before = op.operands[0].owner
        if not isinstance(before, kernel.DequantizeOp):
            return
        if isinstance(op, kernel.TransposeOp) and not of_tensor(before):
            self.transpose(op, before, rewriter)
            return
        if isinstance(op, kernel.ReshapeOp) and not of_tensor(before):
            self.reshape(op, before, rewriter)
            return
        if not of_tensor(before) or not self.moves(op, before):
            return
        stored = tensor_type(before.source).element_type
        result = cast(Any, TensorType(stored, tensor_type(op.results[0]).get_shape()))
        if isinstance(op, kernel.PadOp):
            zero = stored_zero(before)
            assert zero is not None
            new = kernel.PadOp(before.source, numbers(op.low), numbers(op.high), float(zero))
        else:
            new = type(op).create(
                operands=[before.source, *op.operands[1:]],
                result_types=[result],
                properties=op.properties.copy(),
            )
        kind, scale = tensor_type(op.results[0]).element_type, before.scale
        made: list[Operation] = [new]
        if len(tensor_type(scale).get_shape()) > len(result.get_shape()):  # dimensions are gone
            made.append(one := kernel.ReshapeOp(scale, (1,)))
            scale = one.result
        after = kernel.DequantizeOp(new.results[0], scale, before.zero, kind)
        put(rewriter, op, *made, after)

    def moves(self, op: Operation, before: kernel.DequantizeOp) -> bool:
        """Whether it does the same to stored numbers."""
        match op:
            case kernel.ReshapeOp() | kernel.TransposeOp() | kernel.SliceOp():
                return True
            case kernel.BroadcastOp() | kernel.GatherOp():
                return True
            case kernel.PadOp():
                return op.value.value.data == 0.0 and stored_zero(before) is not None
            case kernel.PoolOp() | kernel.ReduceOp():
                scale = known(before.scale)
                integers = isa(tensor_type(before.source).element_type, IntegerType)
                chooses = op.kind.data == "max" and integers
                return chooses and scale is not None and bool((scale > 0).all())
            case _:
                return False

    def transpose(
        self, op: kernel.TransposeOp, before: kernel.DequantizeOp, rewriter: PatternRewriter
    ) -> None:
        """Scales turn as well."""
        rank = len(op.axes)
        made: list[Operation] = []

        def turned(value: SSAValue) -> SSAValue:
            if count(value) == 1:
                return value
            shape = tensor_type(value).get_shape()
            whole = kernel.ReshapeOp(value, (1,) * (rank - len(shape)) + tuple(shape))
            made.extend((whole, turn := kernel.TransposeOp(whole.result, op.axes)))
            return turn.result

        made.append(new := kernel.TransposeOp(before.source, op.axes))
        scale, zero = turned(before.scale), None if before.zero is None else turned(before.zero)
        kind = op.result.type.element_type
        put(rewriter, op, *made, kernel.DequantizeOp(new.result, scale, zero, kind))

    def reshape(
        self, op: kernel.ReshapeOp, before: kernel.DequantizeOp, rewriter: PatternRewriter
    ) -> None:
        """Where dimensions of extent 1 come or go, they do in the scales' shape."""
        old, new_shape = tensor_type(op.source).get_shape(), op.result.type.get_shape()
        if [n for n in old if n != 1] != [n for n in new_shape if n != 1]:
            return
        made: list[Operation] = []

        def seen(value: SSAValue) -> SSAValue:
            if count(value) == 1:
                return value
            shape = tensor_type(value).get_shape()
            full = (1,) * (len(old) - len(shape)) + tuple(shape)
            kept = iter(c for n, c in zip(old, full) if n != 1)
            made.append(
                view := kernel.ReshapeOp(value, [1 if n == 1 else next(kept) for n in new_shape])
            )
            return view.result

        made.append(new := kernel.ReshapeOp(before.source, new_shape))
        scale, zero = seen(before.scale), None if before.zero is None else seen(before.zero)
        kind = op.result.type.element_type
        put(rewriter, op, *made, kernel.DequantizeOp(new.result, scale, zero, kind))


class ConcatStored(RewritePattern):
    """``concat(dequantize(p, s, z), dequantize(q, s, z))`` --> ``dequantize(concat(p, q), s, z)``."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.ConcatOp, rewriter: PatternRewriter) -> None:
        """Of one scale, one zero point, one type."""
        before = [v.owner for v in op.inputs]
        first = before[0]
        if not isinstance(first, kernel.DequantizeOp):
            return
        for one in before:
            if not isinstance(one, kernel.DequantizeOp) or not of_tensor(one):
                return
            kinds = (tensor_type(v.source).element_type for v in (one, first))
            if (
                len(set(kinds)) > 1
                or not same(one.scale, first.scale)
                or not same(one.zero, first.zero)
            ):
                return
        parts = [one.source for one in before if isinstance(one, kernel.DequantizeOp)]
        new = kernel.ConcatOp(parts, op.axis.value.data)
        kind = tensor_type(op.results[0]).element_type
        put(rewriter, op, new, kernel.DequantizeOp(new.results[0], first.scale, first.zero, kind))


def clamp_ends(op: kernel.MapOp) -> tuple[float, float] | None:
    """What a map that only clamps its operand, by numbers, clamps it to."""
    if len(op.inputs) != 1 or op.inputs[0].type != op.result.type:
        return None
    *body, last = op.body.block.ops
    low, high = -np.inf, np.inf
    numbers_of: dict[SSAValue, float] = {}
    current: SSAValue = op.body.block.args[0]
    for one in body:
        if isinstance(one, arith.ConstantOp) and isinstance(one.value, FloatAttr):
            numbers_of[one.result] = float(one.value.value.data)
            continue
        if not isinstance(one, arith.MaximumfOp | arith.MinimumfOp) or current not in one.operands:
            return None
        other = one.operands[1] if one.operands[0] is current else one.operands[0]
        if other not in numbers_of or np.isnan(numbers_of[other]):
            return None
        bound = np.maximum if isinstance(one, arith.MaximumfOp) else np.minimum
        low, high = (float(bound(v, numbers_of[other])) for v in (low, high))
        current = one.result
    return (low, high) if last.operands[0] is current and body else None


class ReluStored(RewritePattern):
    """``relu(dequantize(q, s, z))`` --> ``dequantize(max(q, z), s, z)``, of a positive scale."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.MapOp, rewriter: PatternRewriter) -> None:
        """The zero point is what 0 is stored as."""
        before = op.inputs[0].owner
        if not isinstance(before, kernel.DequantizeOp) or not of_tensor(before):
            return
        kind, scale, zero = (
            tensor_type(before.source).element_type,
            known(before.scale),
            stored_zero(before),
        )
        whole = isa(kind, IntegerType) and kind.bitwidth >= 8
        if clamp_ends(op) != (0.0, np.inf) or not whole or zero is None:
            return
        if scale is None or not (scale > 0).all():
            return
        body, _ = trace(lambda v: formulas.maximum(v, zero), [kind])
        new = kernel.MapOp([before.source], body, kind)
        after = kernel.DequantizeOp(
            new.result, before.scale, before.zero, op.result.type.element_type
        )
        put(rewriter, op, new, after)


class ZeroIntoStored(RewritePattern):
    """``dequantize(constant, s, z)`` --> ``dequantize(constant - z, s)``, where the differences fit the
    signed type of as many bits: u4 around 8, u8 around 128."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.DequantizeOp, rewriter: PatternRewriter) -> None:
        """Products need no sums of rows then."""
        kind = tensor_type(op.source).element_type
        if op.zero is None or not isa(kind, IntegerType) or kind.bitwidth > 8:
            return
        stored, zero = known(op.source), known(op.zero)
        if stored is None or zero is None or not stored.size:
            return
        from kpu_ir.interpreters.kernel_quantized import spread

        whole = stored.astype(np.int32) - spread(zero, stored.shape).astype(np.int32)
        signed = IntegerType(kind.bitwidth)
        low, high = limits(signed)
        if whole.min() < low or whole.max() > high:
            return
        made = kernel.ConstantOp(dense_of(whole.astype(dtype_of(signed))))
        after = kernel.DequantizeOp(made.result, op.scale, None, op.result.type.element_type)
        put(rewriter, op, made, after)


class StoredAgain(RewritePattern):
    """``quantize(dequantize(q, s, z), s, z)`` --> ``q``, of a positive scale.

    (q - z) s / s is within two roundings of a whole number of up to 16 bits.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.QuantizeOp, rewriter: PatternRewriter) -> None:
        """Nothing is left."""
        before = op.source.owner
        if not isinstance(before, kernel.DequantizeOp) or before.source.type != op.result.type:
            return
        scale = known(op.scale)
        exact = tensor_type(before.result).element_type == tensor_type(op.scale).element_type
        kept = exact and tensor_type(op.scale).element_type.name == "f32"  # pyright: ignore
        if not kept or scale is None or not (scale > 0).all():
            return
        equal = op.scale is before.scale or same(op.scale, before.scale)
        if equal and (op.zero is before.zero or same(op.zero, before.zero)):
            rewriter.replace(op, [], [before.source])


class DequantizeIntoMap(RewritePattern):
    """``map(dequantize(q, s, z), y)`` --> ``map(q, s, z, y)`` with the formula in its body: each reader
    takes the stored numbers."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.MapOp, rewriter: PatternRewriter) -> None:
        """One operand at a time; of activations, where no neighbours share a scale."""
        for i, value in enumerate(op.inputs):
            before = value.owner
            if not isinstance(before, kernel.DequantizeOp) or constant_of(before.source):
                continue
            if any(b > 1 and n > 1 for b, n in zip(before.blocks, parameter_shape(before))):
                continue
            number = known_zero(before)
            given = [before.source, before.scale]
            if number is None and before.zero is not None:
                given.append(before.zero)
            rest = [v for j, v in enumerate(op.inputs) if j != i]
            block = Block(
                arg_types=[scalar_type(tensor_type(v).element_type) for v in (*rest, *given)]
            )
            kind = before.result.type.element_type
            formula, _ = trace(
                lambda x, s, *z, kind=kind, n=number: dequantized(x, s, kind, *(z or (n,))),
                [tensor_type(v).element_type for v in given],
            )
            arguments = list(block.args)
            real = inlined(formula, arguments[len(rest) :], block)
            own = [*arguments[:i], real, *arguments[i : len(rest)]]
            block.add_op(kernel.YieldOp(inlined(op.body.block, own, block)))
            put(rewriter, op, kernel.MapOp([*rest, *given], block, op.result.type.element_type))
            return


def parameter_shape(op: kernel.DequantizeOp) -> tuple[int, ...]:
    """How many scales there are along each dimension of the tensor."""
    shape, rank = tensor_type(op.scale).get_shape(), len(tensor_type(op.source).get_shape())
    return (1,) * (rank - len(shape)) + tuple(shape)


def inlined(body: Block, arguments: Sequence[SSAValue], into: Block) -> SSAValue:
    """The operations of a scalar body at the end of ``into``; its result."""
    values: dict[SSAValue, SSAValue] = dict(zip(body.args, arguments))
    *operations, last = body.ops
    for op in operations:
        into.add_op(op.clone(values))
    return values.get(last.operands[0], last.operands[0])


PATTERNS: tuple[type[RewritePattern], ...] = (
    MoveStored,
    ConcatStored,
    ReluStored,
    ZeroIntoStored,
    StoredAgain,
)
