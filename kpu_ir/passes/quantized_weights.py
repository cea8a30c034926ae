"""Products by stored weights that have more scales than a product of integers can take, for
``kernel-quantize``: with floats, or in blocks along what is summed.

Weights stay stored up to the array, which widens them. One scale a column is applied where the sums
leave it. Scales of blocks are applied to the sum of each block: k = B x c elements are B products of c, a
batch, whose results are scaled and added up.
"""

from __future__ import annotations

from math import prod

from xdsl.dialects.builtin import AnyFloat, f32, i32
from xdsl.ir import SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.passes.kernel_fold import constant_of
from kpu_ir.passes.quantized_movement import count, stored_zero
from kpu_ir.passes.quantized_products import Written, dequantized, factor, full
from kpu_ir.support.types import bits_of


def weights_alone(op: kernel.MatmulOp) -> bool:
    """Put a product by stored weights in the place of ``op``; whether that could be, and pays."""
    if not isinstance(tensor_type(op.result).element_type, AnyFloat):
        return False
    return _by_columns(op) or _by_blocks(op)


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


def _by_blocks(op: kernel.MatmulOp) -> bool:
    """Floats, or integers of a scale a row, by known weights of a scale a block.

    The sums of the blocks stand between two kernels: where they are more bytes than the weights save
    (many rows), weights are dequantized instead, once, when the model is compiled.
    """
    real = tensor_type(op.a).element_type
    weights = dequantized(op.b, real)
    if weights is None or op.transpose_a or not constant_of(weights.source):
        return False
    flip, shape = bool(op.transpose_b), tensor_type(op.b).get_shape()
    if len(shape) != 2 or stored_zero(weights) != 0 or bits_of(real) > 32:
        return False
    n, k = shape if flip else shape[::-1]
    counts = full(weights.scale, 2)
    columns, blocks = counts if flip else counts[::-1]
    if blocks in (1, k) or columns not in (1, n):
        return False
    rows = prod(tensor_type(op.a).get_shape()[:-1])
    saved = k * n * (bits_of(real) - bits_of(tensor_type(weights.source).element_type)) // 8
    if 8 * blocks * rows * n >= saved:
        return False
    written = Written(op)
    a, step = _rows(op.a, rows, written)

    def batched(value: SSAValue, outer: int, turned: bool) -> SSAValue:
        """``outer x k`` as ``blocks x outer x c``, or ``k x outer`` as ``blocks x c x outer``."""
        if not turned:
            return written.add(kernel.ReshapeOp(value, (blocks, k // blocks, outer)))
        parts = written.add(kernel.ReshapeOp(value, (outer, blocks, k // blocks)))
        return written.add(kernel.TransposeOp(parts, (1, 0, 2)))

    sums = written.add(
        kernel.MatmulOp(
            batched(a, rows, True),
            batched(weights.source, n, flip),
            transpose_b=flip,
            element_type=f32 if step is None else i32,
        )
    )
    scale = weights.scale
    if flip:
        scale = written.add(
            kernel.TransposeOp(written.add(kernel.ReshapeOp(scale, counts)), (1, 0))
        )
    scale = written.add(kernel.ReshapeOp(scale, (blocks, 1, columns)))
    scaled = written.map(lambda s, f: s.to(f32) * f.to(f32), sums, scale)
    total = written.add(kernel.ReduceOp("add", scaled, [0]))
    result = op.result.type.element_type
    total = written.add(kernel.ReshapeOp(total, (rows, n)))
    if step is not None:
        total = written.map(lambda s, f: (s * f.to(f32)).to(result), total, step)
    elif result != f32:
        total = written.map(lambda s: s.to(result), total)
    written.replace([op], written.add(kernel.ReshapeOp(total, op.result.type.get_shape())))
    return True


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
