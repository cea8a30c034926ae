"""Sums of dequantized tensors as sums of the stored integers, for ``kernel-quantize``: average pooling,
means and sums along dimensions.

Of n elements q with the scale s and the zero point z,

    sum((q - z) s) = f32(sum(q) - n z) s

with the sum exact in i32. A mean's share 1/n joins the scale; where a quantize by (sy, zy) follows, with
nothing or a clamp between,

    y = saturate(round(f32(sum(q) - n z) ((s share) / sy)) + zy)

with all of it in f32, half to even, as for a product.
"""

from __future__ import annotations

from math import prod

import numpy as np
from xdsl.dialects.builtin import IntegerType, f32, i32
from xdsl.ir import Operation, SSAValue
from xdsl.utils.hints import isa

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.passes.kernel_convolution import known
from kpu_ir.passes.quantized_behind import factor_behind
from kpu_ir.passes.quantized_endings import Ending, Sums
from kpu_ir.passes.quantized_factors import Written
from kpu_ir.passes.quantized_movement import of_tensor, stored_zero
from kpu_ir.scalar.quantization import limits
from kpu_ir.support.types import Array
from kpu_ir.support.windows import elements_under


def rewrite_sum(op: kernel.PoolOp | kernel.ReduceOp) -> bool:
    """Put the sum of the stored integers, and what follows it, in the place of ``op``; whether that
    could be: of integers with one scale and one zero point, whose sum fits i32."""
    before = op.operands[0].owner
    kind = tensor_type(op.results[0]).element_type
    if op.kind_name != "add" or kind != f32 or not isinstance(before, kernel.DequantizeOp):
        return False
    stored = tensor_type(before.source).element_type
    if not isa(stored, IntegerType) or stored.bitwidth > 16 or not of_tensor(before):
        return False
    counts, (low, high) = elements_of(op), limits(stored)
    if counts.max() * (high - low) >= 1 << 31:
        return False
    written = Written(op)
    total = written.add(with_source(op, before.source))
    last: Operation = op
    swallowed: list[Operation] = [op]
    if counts.size == 1:
        while isinstance(view := last.results[0].get_user_of_unique_use(), kernel.ReshapeOp):
            swallowed.append(last := view)
    rank = len(tensor_type(total).get_shape())
    counts = counts.reshape(counts.shape if counts.size > 1 else (1,) * rank)
    found, factor = factor_behind(last.results[0]), np.ones((1,) * rank, np.float32)
    if found is not None and found[1].size in (1, counts.size):
        swallowed.append(last := found[0])
        factor = found[1].reshape((1,) * rank if found[1].size == 1 else counts.shape)
    sums, zero = Sums(total), stored_zero(before)
    if zero is None:
        assert before.zero is not None
        each = written.constant(counts.astype(np.int32))
        point = written.add(kernel.ReshapeOp(before.zero, (1,) * rank))
        sums.subtract(point, each, written)
    elif zero:
        sums.add((-zero * counts).astype(np.int32))
    step = known(before.scale)
    if step is not None:
        scale = written.constant(step.astype(np.float32).reshape((1,) * rank) * factor)
    else:
        one = written.add(kernel.ReshapeOp(before.scale, (1,) * rank))
        scale = written.map(lambda s, f: s.to(f32) * f, one, written.constant(factor))
    step64 = before.scale if step is None else step.astype(np.float64).reshape((1,) * rank)
    Ending(last, sums, scale, written, swallowed, scales=[step64, factor]).write()
    return True


def with_source(op: kernel.PoolOp | kernel.ReduceOp, source: SSAValue) -> Operation:
    """The same sum of another tensor, in i32."""
    if isinstance(op, kernel.ReduceOp):
        return kernel.ReduceOp("add", source, op.axes_list, i32)
    return kernel.PoolOp(
        "add",
        source,
        op.kernel_pair,
        strides=op.stride_pair,
        dilations=op.dilation_pair,
        low=op.low_pair,
        high=op.high_pair,
        element_type=i32,
    )


def elements_of(op: kernel.PoolOp | kernel.ReduceOp) -> Array:
    """How many elements each sum is of: one number, or one for each position of a window."""
    shape = tensor_type(op.operands[0]).get_shape()
    if isinstance(op, kernel.ReduceOp):
        return np.array([prod(shape[a] for a in op.axes_list)])
    under = elements_under(
        shape[2:],
        op.kernel_pair,
        op.stride_pair,
        op.dilation_pair,
        op.low_pair,
        op.high_pair,
        None,
    )
    return under.reshape(-1)[:1] if np.ptp(under) == 0 else under[None, None]
