"""Patterns of ``kernel-canonicalize`` on convolutions: what stands around them becomes part of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, FloatAttr
from xdsl.ir import Operation, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.dialects.kernel.movement import numbers
from kpu_ir.passes.kernel_fold import constant_of, put

Affine = tuple[Any, Any]
"""``a x + b``, as numbers or arrays of one for each channel."""


class PadIntoConv(RewritePattern):
    """``conv(pad(x, 0), w)`` --> ``conv(x, w)`` that pads, where only rows and columns are added (of a
    quantized image, what it pads with already)."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.ConvOp, rewriter: PatternRewriter) -> None:
        """Padding adds up."""
        pad = op.input.owner
        if not isinstance(pad, kernel.PadOp) or pad.value.value.data != op.fill_value:
            return
        low, high = numbers(pad.low), numbers(pad.high)
        if any((*low[:2], *high[:2])):
            return
        new = op.of(
            pad.source,
            op.weights,
            low=[a + b for a, b in zip(op.low_pair, low[2:])],
            high=[a + b for a, b in zip(op.high_pair, high[2:])],
        )
        put(rewriter, op, new)


LONGEST = 16
"""Maps of a chain that are looked at: longer ones, which become one from their start, would take
quadratic time where no convolution begins them."""


class ScaleIntoConv(RewritePattern):
    """``map(conv(x, w), f, s) { v f + s }`` --> ``map(conv(x, w f), s) { v + s }``.

    Of known weights, factors and shifts of channels: what batch normalization and a bias become.
    A chain of such maps becomes one.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.MapOp, rewriter: PatternRewriter) -> None:
        """From the last map of the chain."""
        if len(op.result.type.get_shape()) != 4:
            return
        chain: list[kernel.MapOp] = []
        value: Operation | Any = op
        while isinstance(value, kernel.MapOp) and is_float_map(value) and len(chain) < LONGEST:
            chain.append(value)
            value = value.inputs[0].owner
            if isinstance(value, Operation) and not value.results[0].has_one_use():
                return
        if not isinstance(value, kernel.ConvOp) or not chain:
            return
        conv = value
        weights = known(conv.weights)
        channels = conv.result.type.get_shape()[1]
        if weights is None or weights.dtype.itemsize < 4:  # short floats would be rounded twice
            return
        total: Affine = (1.0, 0.0)
        for one in reversed(chain):
            found = affine_of(one, channels)
            if found is None:
                return
            total = (found[0] * total[0], found[0] * total[1] + found[1])
        a, b = (np.broadcast_to(np.asarray(v, np.float64), (channels,)) for v in total)
        if len(chain) == 1 and (a == 1).all():
            return  # a bias alone: as simple as it gets
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            return
        from kpu_ir.support.types import dense_of

        scaled = (weights.astype(np.float64) * a[:, None, None, None]).astype(weights.dtype)
        w = kernel.ConstantOp(dense_of(scaled))
        w.result.name_hint = conv.weights.name_hint
        new = conv.of(conv.input, w.result)
        new.location = conv.location
        element = conv.result.type.element_type
        shift = dense_of(b.astype(dtype(element)).reshape(1, -1, 1, 1))
        bias = kernel.ConstantOp(shift)
        put(rewriter, op, w, new, bias, added(new.result, bias.result))


def dtype(element: Any) -> np.dtype[Any]:
    """NumPy's name of an element type."""
    from kpu_ir.support.types import dtype_of

    return dtype_of(element)


def added(x: SSAValue, y: SSAValue) -> kernel.MapOp:
    """``x + y``, of floats."""
    from kpu_ir.scalar.tracing import trace

    body, element = trace(
        lambda v, s: v + s, [tensor_type(x).element_type, tensor_type(y).element_type]
    )
    return kernel.MapOp([x, y], body, element)


def is_float_map(op: kernel.MapOp) -> bool:
    """Whether the first operand is a float tensor of the result's type."""
    first = tensor_type(op.inputs[0])
    return first == op.result.type and dtype(first.element_type).kind not in "iub"


def known(value: SSAValue) -> Any:
    """The values of a constant; None if it is none, or they are elided."""
    constant = constant_of(value)
    if constant is None or not isinstance(constant.value, DenseIntOrFPElementsAttr):
        return None
    from kpu_ir.support.types import array_of

    return array_of(constant.value)


def affine_of(op: kernel.MapOp, channels: int) -> Affine | None:
    """The body as ``a x + b`` of the first operand, with numbers of channels; None if it is not that."""
    values: dict[SSAValue, Affine] = {op.body.block.args[0]: (1.0, 0.0)}
    for value, argument in zip(op.inputs[1:], op.body.block.args[1:]):
        array = known(value)
        if array is None:
            return None
        shape = (1,) * (4 - array.ndim) + array.shape
        if shape not in ((1, channels, 1, 1), (1, 1, 1, 1)):
            return None
        values[argument] = (0.0, array.astype(np.float64).reshape(-1))
    *operations, last = op.body.block.ops
    for one in operations:
        if isinstance(one, arith.ConstantOp):
            if not isinstance(one.value, FloatAttr):
                return None
            values[one.result] = (0.0, float(one.value.value.data))
            continue
        result = combined(one, [values[v] for v in one.operands])
        if result is None:
            return None
        values[one.results[0]] = result
    return values[last.operands[0]]


def combined(op: Operation, operands: list[Affine]) -> Affine | None:
    """One operation on affine values."""
    a, b = operands[0]
    if isinstance(op, arith.NegfOp):
        return -a, -b
    if len(operands) != 2:
        return None
    c, d = operands[1]
    match op:
        case arith.AddfOp():
            return a + c, b + d
        case arith.SubfOp():
            return a - c, b - d
        case arith.MulfOp() if is_zero(c):
            return a * d, b * d
        case arith.MulfOp() if is_zero(a):
            return b * c, b * d
        case arith.DivfOp() if is_zero(c) and np.all(np.asarray(d) != 0):
            return a / d, b / d
        case _:
            return None


def is_zero(factor: Any) -> bool:
    """Whether a value does not depend on x."""
    return not np.any(factor)
