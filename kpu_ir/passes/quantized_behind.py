"""What stands behind a product of dequantized tensors and becomes part of its requantization: for
``kernel-quantize``."""

from __future__ import annotations

from xdsl.dialects import arith
from xdsl.dialects.builtin import FloatAttr
from xdsl.ir import SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.passes.kernel_convolution import known
from kpu_ir.passes.quantized_movement import clamp_ends, count


def factor_behind(product: SSAValue) -> tuple[kernel.MapOp, float] | None:
    """The only user of a product, if it multiplies it by a number and does nothing else, and the number."""
    user = product.get_user_of_unique_use()
    if not isinstance(user, kernel.MapOp) or user.result.type != product.type:
        return None
    block, inputs = user.body.block, list(user.inputs)
    *body, last = block.ops
    rest = [one for one in body if not isinstance(one, arith.ConstantOp)]
    if len(rest) != 1 or not isinstance(rest[0], arith.MulfOp):
        return None
    place = block.args[inputs.index(product)]
    others = [v for v in rest[0].operands if v is not place]
    if last.operands[0] is not rest[0].result or len(others) != 1:
        return None
    held = others[0].owner
    if isinstance(held, arith.ConstantOp) and isinstance(held.value, FloatAttr):
        return (user, float(held.value.value.data)) if len(inputs) == 1 else None
    if len(inputs) != 2:
        return None
    other = inputs[1 - inputs.index(product)]
    found = known(other) if count(other) == 1 else None
    return None if found is None else (user, float(found.reshape(-1)[0]))


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
