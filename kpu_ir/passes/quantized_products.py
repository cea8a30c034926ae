"""Products of dequantized tensors as products of the stored integers, for ``kernel-quantize``.

With a' = a - za and b' = b - zb, the sum of a' b' over k elements is

    sum(a b) - za sum(b) - zb (sum(a) - k za)

and the product itself is f32(sum) (sa sb); a number that multiplies it (scores by 1 / sqrt(d)) is part of
the scale. What follows it is in ``quantized_endings``.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from xdsl.dialects.builtin import f32, i32
from xdsl.ir import Attribute, SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.passes.kernel_convolution import known
from kpu_ir.passes.quantized_endings import Ending, Sums
from kpu_ir.passes.quantized_factors import Factor, Written, factor
from kpu_ir.passes.quantized_movement import count, of_tensor, stored_zero
from kpu_ir.scalar import formulas
from kpu_ir.support.types import Array


def rewrite(op: kernel.MatmulOp | kernel.ConvOp) -> bool:
    """Put the integer product, and what follows it, in the place of ``op``; whether that could be."""
    found = operands(op) if tensor_type(op.result).element_type == f32 else None
    if found is None:
        return False
    (a, b), written = found, Written(op)
    sums: Sums | None
    if isinstance(op, kernel.MatmulOp):
        sums = _product(op, a, b, written)
    else:
        sums = _convolution(op, a, b, written)
    if sums is None:
        return False
    rows, scale = _scales(a, b, written)
    factors = [_in_place(v) for v in (a, b)]
    Ending(op, sums, scale, written, rows=rows, scales=factors).write()
    return True


def rewrite_floats(op: kernel.MatmulOp | kernel.ConvOp) -> bool:
    """Put the product of floats of 8 bits, added up in f32, and its scale in the place of ``op``; whether
    that could be. Each product of two such numbers is exact in f32."""
    found = operands(op, floats=True) if tensor_type(op.result).element_type == f32 else None
    if found is None or found[0].shifted or found[1].shifted:
        return False
    (a, b), written = found, Written(op)
    if isinstance(op, kernel.MatmulOp):
        sums = written.add(_of(op, a, b, f32))
    else:
        sums = written.add(op.of(a.stored, b.stored, element_type=f32))
    rows, scale = _scales(a, b, written)
    if rows is None:
        scaled = written.map(lambda s, f: s * f, sums, scale)
    else:
        scaled = written.map(lambda s, x, y: s * (x.to(f32) * y.to(f32)), sums, rows, scale)
    written.replace([op], scaled)
    return True


def operands(
    op: kernel.MatmulOp | kernel.ConvOp, floats: bool = False
) -> tuple[Factor, Factor] | None:
    """Both operands as stored integers (or ``floats`` of 8 bits) of scales that a product can take out."""
    if isinstance(op, kernel.MatmulOp):
        rank = len(tensor_type(op.result).get_shape())
        flip_a, flip_b = bool(op.transpose_a), bool(op.transpose_b)
        ra, rb = (len(tensor_type(v).get_shape()) for v in (op.a, op.b))
        a = factor(op.a, ra - 1 - flip_a, ra - 2 + flip_a, rank - 2, rank, floats=floats)
        b = factor(op.b, rb - 2 + flip_b, rb - 1 - flip_b, rank - 1, rank, floats=floats)
    else:
        a = factor(op.input, 1, 0, 0, 4, floats=floats)
        b = factor(op.weights, 1, 0, 1, 4, floats=floats)
        a = a if a is not None and of_tensor(a.op) else None
    return None if a is None or b is None else (a, b)


def _of(op: kernel.MatmulOp, a: Factor, b: Factor, kind: Attribute) -> kernel.MatmulOp:
    return kernel.MatmulOp(
        a.stored,
        b.stored,
        transpose_a=bool(op.transpose_a),
        transpose_b=bool(op.transpose_b),
        element_type=kind,
    )


def _product(op: kernel.MatmulOp, a: Factor, b: Factor, written: Written) -> Sums:
    rank = len(tensor_type(op.result).get_shape())
    k = tensor_type(op.a).get_shape()[-2 if op.transpose_a else -1]
    sums = Sums(written.add(_of(op, a, b, i32)))
    if a.shifted:
        assert a.op.zero is not None
        total = _summed(b.stored, -1 if op.transpose_b else -2, bool(op.transpose_b), rank, written)
        zero, of_b = known(a.op.zero), known(total)
        if zero is not None and of_b is not None:
            sums.add(-zero.astype(np.int32).reshape(a.zero) * of_b)
        else:
            point = written.add(kernel.ReshapeOp(a.op.zero, a.zero))
            sums.subtract(point, total, written)
    if b.shifted:
        assert b.op.zero is not None
        total = _summed(a.stored, -2 if op.transpose_a else -1, bool(op.transpose_a), rank, written)
        point = written.add(kernel.ReshapeOp(b.op.zero, b.zero))
        if a.shifted:
            assert a.op.zero is not None
            of_a = written.add(kernel.ReshapeOp(a.op.zero, a.zero))
            total = written.map(lambda s, z: s - z.to(i32) * k, total, of_a)
        sums.subtract(point, total, written)
    return sums


def _summed(value: SSAValue, axis: int, turned: bool, rank: int, written: Written) -> SSAValue:
    """Sums of stored numbers along one of their last two dimensions, as i32, in the product's shape."""
    own = len(tensor_type(value).get_shape())
    data = known(value)
    if data is not None:
        sums = data.astype(np.int32).sum(axis, dtype=np.int32, keepdims=True)
        return written.constant(sums.swapaxes(-1, -2) if turned else sums)
    wide = written.map(lambda v: v.to(i32), value)
    total = written.add(kernel.ReduceOp("add", wide, [axis % own]))
    if turned:
        shape = list(tensor_type(total).get_shape())
        total = written.add(kernel.ReshapeOp(total, [*shape[:-2], shape[-1], shape[-2]]))
    return total


def _convolution(op: kernel.ConvOp, x: Factor, w: Factor, written: Written) -> Sums | None:
    """With zero points of the image alone."""
    zero = stored_zero(x.op)
    if w.shifted:
        return None
    image, more = x.stored, dict[str, Any](fill=zero or 0)
    if zero is None and any((*op.low_pair, *op.high_pair)):
        assert x.op.zero is not None
        image = _surrounded(op, image, x.op.zero, written)
        more |= {"low": (0, 0), "high": (0, 0)}
    product = op.of(image, w.stored, element_type=i32, **more)
    sums = Sums(written.add(product))
    if not x.shifted:
        return sums
    weights = known(w.stored)
    if zero is not None and weights is not None:
        sums.add(
            -zero * weights.astype(np.int32).sum((1, 2, 3), dtype=np.int32).reshape(1, -1, 1, 1)
        )
        return sums
    assert x.op.zero is not None
    wide = written.map(lambda v: v.to(i32), w.stored)
    total = written.add(kernel.ReduceOp("add", wide, [1, 2, 3]))
    total = written.add(kernel.ReshapeOp(total, (1, count(total), 1, 1)))
    point = written.add(kernel.ReshapeOp(x.op.zero, (1, 1, 1, 1)))
    sums.terms.append((lambda z, c: z.to(i32) * c, [point, total]))
    return sums


def _surrounded(op: kernel.ConvOp, image: SSAValue, zero: SSAValue, written: Written) -> SSAValue:
    """The image of a convolution with its padding: a zero point that only the device knows."""
    low, high = ([0, 0, *pair] for pair in (op.low_pair, op.high_pair))
    inside = np.ones((1, 1, *tensor_type(image).get_shape()[2:]), np.bool_)
    seen = written.constant(np.pad(inside, list(zip(low, high))))
    point = written.add(kernel.ReshapeOp(zero, (1, 1, 1, 1)))
    return written.map(
        formulas.where, seen, written.add(kernel.PadOp(image, low, high, 0.0)), point
    )


def _in_place(factor: Factor) -> SSAValue | Array:
    """The scale of an operand, in the product's shape."""
    found = known(factor.op.scale)
    return factor.op.scale if found is None else found.astype(np.float64).reshape(factor.scale)


def _scales(a: Factor, b: Factor, written: Written) -> tuple[SSAValue | None, SSAValue]:
    """``sa sb``, in f32; scales of rows by scales of columns stay two: their products are as many as the
    product's elements, and nobody writes them down."""
    one, other = known(a.op.scale), known(b.op.scale)
    if one is not None and other is not None:
        left, right = one.astype(np.float32), other.astype(np.float32)
        return None, written.constant(left.reshape(a.scale) * right.reshape(b.scale))
    left, right = (written.add(kernel.ReshapeOp(v.op.scale, v.scale)) for v in (a, b))
    if prod(a.scale) > 1 and prod(b.scale) > 1:
        return left, right
    return None, written.map(lambda x, y: x.to(f32) * y.to(f32), left, right)
