"""``kernel.quantize`` and ``kernel.dequantize`` as maps: blocks are dimensions of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, FloatAttr, f32
from xdsl.ir import Operation, SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.passes.kernel_build import put
from kpu_ir.passes.kernel_fold import constant_of
from kpu_ir.scalar.quantization import dequantized, in_steps, quantized
from kpu_ir.scalar.tracing import Scalar, trace
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import array_of
from kpu_ir.text.places import place_of

MOST_STEPS = 2.0**60
"""In 1, or the other way round: steps that may be part of another number of f32, which stays far from its ends."""


def in_maps(op: kernel.QuantizeOp | kernel.DequantizeOp) -> None:
    """Put a map in the place of ``op``, and reshapes where neighbours share a scale. Raises ``KpuError``
    for a scale that is known and cannot be."""
    check_scale(op)
    made: list[Operation] = []
    shape, block = tensor_type(op.source).get_shape(), op.blocks
    counts = (1,) * (len(shape) - len(tensor_type(op.scale).get_shape()))
    counts += tensor_type(op.scale).get_shape()
    split = [axis for axis, (b, c) in enumerate(zip(block, counts)) if b > 1 and c > 1]

    def seen(value: SSAValue, extents: Sequence[int], inner: Sequence[int]) -> SSAValue:
        if not split or tensor_type(value).element_count() == 1:
            return value
        wanted: list[int] = []
        for axis, n in enumerate(extents):
            wanted += [n // inner[axis], inner[axis]] if axis in split else [n]
        made.append(view := kernel.ReshapeOp(value, wanted))
        return view.result

    ones = (1,) * len(shape)
    step, number = known_step(op), known_zero(op)
    if isinstance(op, kernel.QuantizeOp) and step is not None:
        step = taking_factor(op, step)
    inputs = [seen(op.source, shape, block)]
    if step is None:
        inputs.append(seen(op.scale, counts, ones))
    if op.zero is not None and number is None:
        inputs.append(seen(op.zero, counts, ones))
    kind = op.result.type.element_type
    formula = quantized if isinstance(op, kernel.QuantizeOp) else dequantized

    def of_element(x: Scalar, *parameters: Scalar) -> Scalar:
        if step == 1.0 and isinstance(op, kernel.QuantizeOp):
            return in_steps(x.to(f32), kind, *(parameters or (number,)))
        scale, *zero = parameters if step is None else (x.trace.number(step, f32), *parameters)
        return formula(x, scale, kind, *(zero or (number,)))

    body, _ = trace(of_element, [tensor_type(v).element_type for v in inputs])
    made.append(result := kernel.MapOp(inputs, body, kind))
    if split:
        made.append(kernel.ReshapeOp(result.result, shape))
    put(op, made, made[-1].results)


def known_step(op: kernel.QuantizeOp | kernel.DequantizeOp) -> float | None:
    """The one scale of f32 of a whole tensor, if it is known: a constant of the body, which no program has
    to fetch."""
    if tensor_type(op.scale).element_count() != 1 or tensor_type(op.scale).element_type != f32:
        return None
    found = constant_of(op.scale)
    if found is None or not isinstance(found.value, DenseIntOrFPElementsAttr):
        return None
    return float(array_of(found.value).reshape(-1)[0])


def taking_factor(op: kernel.QuantizeOp, step: float) -> float:
    """The step of what is quantized, where a factor that is a power of two leaves the source's formula for
    it: ``(0.5 x) y / s`` is ``x y / (2 s)`` to the last bit.

    Rounding does not see a power of two; only what overflows or is denormal does, and that is an end of the
    type, or 0, either way. The factor of GELU is one.
    """
    made = op.source.owner
    if not isinstance(made, kernel.MapOp) or not op.source.has_one_use():
        return step
    block = made.body.block
    last = block.last_op.operands[0].owner if block.last_op else None
    if not isinstance(last, arith.MulfOp) or tensor_type(op.source).element_type != f32:
        return step
    if not 1 / MOST_STEPS < step < MOST_STEPS:
        return step
    for i, value in enumerate(last.operands):
        inner = value.owner
        if not isinstance(inner, arith.MulfOp) or not value.has_one_use():
            continue
        for j, number in enumerate(inner.operands):
            held = number.owner
            if not isinstance(held, arith.ConstantOp) or not isinstance(held.value, FloatAttr):
                continue
            factor = held.value.value.data
            if not (2.0**-20 < factor < 2.0**20 and math.frexp(factor)[0] == 0.5):
                continue
            last.operands[i] = inner.operands[1 - j]
            inner.detach()
            inner.erase()
            return step / factor
    return step


def known_zero(op: kernel.QuantizeOp | kernel.DequantizeOp) -> int | None:
    """The one number that stands for 0, of integers of up to 16 bits, if it is known."""
    if op.zero is None:
        return 0
    found = constant_of(op.zero)
    if found is None or not isinstance(found.value, DenseIntOrFPElementsAttr):
        return None
    values = array_of(found.value).reshape(-1)
    short = values.dtype.kind in "iuV" and values.dtype.itemsize <= 2
    return int(values[0]) if short and values.size and (values == values[0]).all() else None


def check_scale(op: kernel.QuantizeOp | kernel.DequantizeOp) -> None:
    """Raise ``KpuError`` for a known scale by which nothing can be divided, or that is no number.

    A dequantization may have scales of 0 (weights that are all 0) and below (symmetric forms).
    """
    found = constant_of(op.scale)
    if found is None or not isinstance(found.value, DenseIntOrFPElementsAttr):
        return
    scale = array_of(found.value).astype(np.float64)
    bad = ~np.isfinite(scale)
    if isinstance(op, kernel.QuantizeOp):
        bad |= scale <= 0
    if bad.any():
        asked = "a positive scale" if isinstance(op, kernel.QuantizeOp) else "scales of numbers"
        raise KpuError(f"{op.name}: expected {asked}, got {scale[bad][0]:g}", place_of(op))
