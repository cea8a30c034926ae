"""Products by stored weights that have more scales than a product of integers can take, for
``kernel-quantize``: with floats, or in blocks along what is summed.

Weights stay stored up to the array, which widens them. One scale a column is applied where the sums
leave it. Scales of blocks are applied to the sum of each block: k = B x c elements are B products of c, a
batch, whose results are scaled and added up, in one nest (``kernel_to_tile.scaled_blocks``).
"""

from __future__ import annotations

from math import prod

import numpy as np
from xdsl.dialects.builtin import AnyFloat, f32, i32
from xdsl.ir import SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.machine import Machine
from kpu_ir.passes.kernel_convolution import known
from kpu_ir.passes.kernel_fold import constant_of
from kpu_ir.passes.quantized_factors import Written, dequantized, factor, full
from kpu_ir.passes.quantized_movement import count, stored_zero
from kpu_ir.scalar import formulas
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.support.types import bits_of, multiplied_as


def weights_alone(op: kernel.MatmulOp, machine: Machine) -> bool:
    """Put a product by stored weights in the place of ``op``; whether that could be, and pays on
    ``machine``."""
    if not isinstance(tensor_type(op.result).element_type, AnyFloat):
        return False
    return _by_columns(op) or _by_blocks(op, machine)


def _by_columns(op: kernel.MatmulOp) -> bool:
    """Floats by weights of a scale a column."""
    real, rank = tensor_type(op.a).element_type, len(tensor_type(op.result).get_shape())
    rb, flip = len(tensor_type(op.b).get_shape()), bool(op.transpose_b)
    b = factor(op.b, rb - 2 + flip, rb - 1 - flip, rank - 1, rank, real)
    result = op.result.type.element_type
    if b is None or b.shifted or bits_of(real) > 32:
        return False
    written = Written(op)
    product = kernel.MatmulOp(
        op.a,
        b.stored,
        transpose_a=bool(op.transpose_a),
        transpose_b=flip,
        element_type=f32,
    )
    sums, scale = written.add(product), written.add(kernel.ReshapeOp(b.op.scale, b.scale))
    scaled = written.map(lambda s, f: (s * f.to(f32)).to(result), sums, scale)
    written.replace([op], scaled)
    return True


def _by_blocks(op: kernel.MatmulOp, machine: Machine) -> bool:
    """Floats, or integers of a scale a row, by known weights of a scale (and a zero point) a block.

    Beyond as many rows as the array has, the vector engine would take longer for the sums of blocks
    than what they save: weights are dequantized instead, once, when the model is compiled.
    """
    real = tensor_type(op.a).element_type
    weights = dequantized(op.b, real)
    if weights is None or op.transpose_a or not constant_of(weights.source):
        return False
    flip, shape = bool(op.transpose_b), tensor_type(op.b).get_shape()
    if len(shape) != 2 or bits_of(real) > 32:
        return False
    n, k = shape if flip else shape[::-1]
    counts = full(weights.scale, 2)
    columns, blocks = counts if flip else counts[::-1]
    if blocks in (1, k) or columns not in (1, n):
        return False
    zero = weights.zero if stored_zero(weights) != 0 else None
    if zero is not None and full(zero, 2) not in ((1, 1), counts):
        return False
    rows = prod(tensor_type(op.a).get_shape()[:-1])
    if rows > machine.fabric.rows:
        return False
    written = Written(op)
    a, step = _rows(op.a, rows, written)
    kind = multiplied_as(tensor_type(a).element_type, tensor_type(weights.source).element_type)
    depth = machine.fabric.rows * machine.fabric.macs.get(kind, 0)
    beside = side_by_side(blocks, k // blocks, depth) if rows == 1 and step is not None else 1
    passes, most = blocks // beside, k // blocks * beside

    def of_blocks(value: SSAValue) -> SSAValue:
        """A parameter in the shape of the sums."""
        own = full(value, 2)
        if own == (1, 1):
            return written.add(kernel.ReshapeOp(value, (1, 1, 1)))
        value = written.add(kernel.ReshapeOp(value, own))
        value = written.add(kernel.TransposeOp(value, (1, 0))) if flip else value
        return written.add(kernel.ReshapeOp(value, (passes, beside, columns)))

    stored = weights.source
    if flip:
        stored = written.add(kernel.TransposeOp(stored, (1, 0)))
    parts = written.add(kernel.ReshapeOp(stored, (passes, most, n)))
    left = _in_blocks(a, passes, beside, k // blocks, written)
    wide = f32 if step is None else i32
    sums = written.add(kernel.MatmulOp(left, parts, element_type=wide))
    operands = [sums, of_blocks(_short(weights.scale, written))]
    if zero is not None:
        taken = written.map(lambda v: v.to(wide), left)
        operands += [written.add(kernel.ReduceOp("add", taken, [2])), of_blocks(zero)]

    def scaled(s: Scalar, f: Scalar, *more: Scalar) -> Scalar:
        for total, z in zip(more[::2], more[1::2]):
            s = s - total * (z.to(wide) if step is None else z.to(i32))
        return s.to(f32) * f.to(f32)

    each = written.map(scaled, *operands)
    total = written.add(kernel.ReduceOp("add", each, [0, 1] if beside > 1 else [0]))
    result = op.result.type.element_type
    if step is not None:
        step = written.add(kernel.ReshapeOp(step, (1, count(step), 1)))
        total = written.map(lambda s, f: (s * f.to(f32)).to(result), total, step)
    elif result != f32:
        total = written.map(lambda s: s.to(result), total)
    written.replace([op], written.add(kernel.ReshapeOp(total, op.result.type.get_shape())))
    return True


def side_by_side(blocks: int, block: int, depth: int) -> int:
    """How many blocks of weights go through an array that takes ``depth`` of k at once.

    >>> side_by_side(24, 32, 64), side_by_side(3, 32, 64), side_by_side(24, 128, 64)
    (2, 1, 1)
    """
    return max((n for n in range(1, depth // block + 1) if blocks % n == 0), default=1)


def _in_blocks(a: SSAValue, passes: int, beside: int, block: int, written: Written) -> SSAValue:
    """Rows of k as ``passes`` products' left operands.

    One row for each of the blocks ``beside`` each other, which has zeros where the others have theirs:
    the array keeps their sums apart, and takes as many weights a cycle as it can. Example: of
    x0 x1 | x2 x3, two blocks of two beside each other, it is the rows x0 x1 0 0 and 0 0 x2 x3.
    """
    rows = tensor_type(a).get_shape()[0]
    if beside == 1:
        parts = written.add(kernel.ReshapeOp(a, (rows, passes, block)))
        if rows == 1:
            return written.add(kernel.ReshapeOp(parts, (passes, 1, block)))
        return written.add(kernel.TransposeOp(parts, (1, 0, 2)))
    parts = written.add(kernel.ReshapeOp(a, (passes, 1, beside, block)))
    own = np.eye(beside, dtype=np.int8).reshape(1, beside, beside, 1)
    kind = tensor_type(a).element_type
    kept = written.map(
        lambda v, m: formulas.where(m != 0, v, 0), parts, written.constant(own), kind=kind
    )
    return written.add(kernel.ReshapeOp(kept, (passes, beside, beside * block)))


def _short(scale: SSAValue, written: Written) -> SSAValue:
    """Known scales of f32 that are numbers of 16 bits, as these: half of their bytes."""
    found = known(scale)
    if found is None or tensor_type(scale).element_type != f32:
        return scale
    with np.errstate(over="ignore"):
        short = found.astype(np.float16)
    return written.constant(short) if np.array_equal(short.astype(np.float32), found) else scale


def _rows(value: SSAValue, rows: int, written: Written) -> tuple[SSAValue, SSAValue | None]:
    """The left operand as a matrix: floats as they are; stored integers around 0, and their scale, of
    all or of each row."""
    op, shape = dequantized(value), tensor_type(value).get_shape()
    k = shape[-1]
    if op is not None and stored_zero(op) == 0 and full(op.scale, len(shape))[-1] == 1:
        if count(op.scale) in (1, rows):
            scale = written.add(kernel.ReshapeOp(op.scale, (count(op.scale), 1)))
            return written.add(kernel.ReshapeOp(op.source, (rows, k))), scale
    return written.add(kernel.ReshapeOp(value, (rows, k))), None
