"""What stands behind a product or a sum of dequantized tensors and becomes part of its requantization: for
``kernel-quantize``."""

from __future__ import annotations

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import FloatAttr
from xdsl.ir import BlockArgument, SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.passes.kernel_convolution import known
from kpu_ir.passes.quantized_movement import clamp_ends
from kpu_ir.support.types import Array


def factor_behind(value: SSAValue) -> tuple[kernel.MapOp, Array] | None:
    """The only user of a product or a sum, if it multiplies it by what is known and does nothing else, and
    what that is, in f32: one number (scores' ``1 / sqrt(d)``), or a mean's ``1 / n`` of each window."""
    user = value.get_user_of_unique_use()
    if not isinstance(user, kernel.MapOp) or user.result.type != value.type:
        return None
    *constants, product, last = user.body.block.ops
    if not isinstance(product, arith.MulfOp) or last.operands[0] is not product.result:
        return None
    if not all(isinstance(one, arith.ConstantOp) for one in constants):
        return None
    ours = user.body.block.args[list(user.inputs).index(value)]
    others = [v for v in product.operands if v is not ours]
    if len(others) != 1:
        return None
    (other,) = others
    if isinstance(other, BlockArgument):
        found = known(user.inputs[other.index])
        return None if found is None else (user, found.astype(np.float32))
    held = other.owner
    if isinstance(held, arith.ConstantOp) and isinstance(held.value, FloatAttr):
        return user, np.array(held.value.value.data, np.float32)
    return None


def clamp(value: SSAValue) -> tuple[kernel.MapOp, float, float] | None:
    """The only user of a value, if it is a clamp by numbers (ReLU, Clip) before a quantize that is known,
    and its ends."""
    user = value.get_user_of_unique_use()
    if not isinstance(user, kernel.MapOp):
        return None
    ends = clamp_ends(user)
    following = user.result.get_user_of_unique_use()
    if ends is None or not isinstance(following, kernel.QuantizeOp | kernel.MapOp):
        return None
    if isinstance(following, kernel.QuantizeOp):
        zero_known = following.zero is None or known(following.zero) is not None
        if known(following.scale) is None or not zero_known:
            return None
    return user, *ends
