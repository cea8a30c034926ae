"""What is moved and then quantized is quantized and then moved: for ``kernel-quantize`` and ``kernel-canonicalize``."""

from __future__ import annotations

from xdsl.ir import Operation, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.passes.kernel_fold import put
from kpu_ir.passes.quantized_movement import count


class QuantizeSooner(RewritePattern):
    """``quantize(transpose(x), s, z)`` --> ``transpose(quantize(x, s, z))``, and so for reshapes.

    Of one scale for the whole tensor every element is quantized alike, wherever it stands. Bytes are moved
    then, not floats, and the quantize follows what makes x: it joins a product's epilogue. A transposition
    is passed only where nothing but quantizes read what it moves; a reshape moves nothing, and is passed
    with scales of rows too where it only adds dimensions of extent 1.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.QuantizeOp, rewriter: PatternRewriter) -> None:
        """One movement at a time."""
        move = op.source.owner
        if not isinstance(move, kernel.ReshapeOp | kernel.TransposeOp):
            return
        if isinstance(move, kernel.TransposeOp):
            users = {use.operation for use in move.result.uses}
            if not all(isinstance(user, kernel.QuantizeOp) for user in users):
                return
        made: list[Operation] = []
        parameters = [v for v in (op.scale, op.zero) if v is not None]
        before = [parameter_before(move, value, made) for value in parameters]
        if any(v is None for v in before):
            return
        scale, *zero = [v for v in before if v is not None]
        kind = op.result.type.element_type
        made.append(
            sooner := kernel.QuantizeOp(move.source, scale, zero[0] if zero else None, kind)
        )
        sooner.requantize = op.requantize
        if isinstance(move, kernel.TransposeOp):
            last = kernel.TransposeOp(sooner.result, move.axes)
        else:
            last = kernel.ReshapeOp(sooner.result, op.result.type.get_shape())
        put(rewriter, op, *made, last)


class QuantizeAsScaled(RewritePattern):
    """``quantize(x, reshape(s))`` --> ``reshape(quantize(reshape(x), s))``, of a scale a row.

    Where the scale's reshape only adds dimensions of extent 1 in front, which x has as well: numbers are
    quantized in the shape in which their rows' scales were found, and both may be one program.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.QuantizeOp, rewriter: PatternRewriter) -> None:
        """Without a zero point, as scales of rows are."""
        view = op.scale.owner
        if not isinstance(view, kernel.ReshapeOp) or op.zero is not None or count(op.scale) == 1:
            return
        shape, found = op.result.type.get_shape(), tensor_type(view.source).get_shape()
        lead = len(shape) - len(found)
        ones = (1,) * lead
        if lead < 1 or shape[:lead] != ones or view.result.type.get_shape() != (*ones, *found):
            return
        rows = kernel.ReshapeOp(op.source, shape[lead:])
        made = kernel.QuantizeOp(rows.result, view.source, None, op.result.type.element_type)
        made.requantize = op.requantize
        put(rewriter, op, rows, made, kernel.ReshapeOp(made.result, shape))


def parameter_before(
    move: kernel.ReshapeOp | kernel.TransposeOp, value: SSAValue, made: list[Operation]
) -> SSAValue | None:
    """A scale or zero point as it is of the tensor that is moved; None where that has another shape."""
    kind = tensor_type(value)
    if kind.element_count() == 1:
        shape: list[int] = [1]
    elif isinstance(move, kernel.TransposeOp):
        return None
    else:
        old, new = tensor_type(move.source).get_shape(), move.result.type.get_shape()
        if len(old) >= len(new) or [n for n in old if n != 1] != [n for n in new if n != 1]:
            return None
        whole = (1,) * (len(new) - len(kind.get_shape())) + kind.get_shape()
        counts = iter(c for n, c in zip(new, whole) if n != 1)
        shape = [1 if n == 1 else next(counts) for n in old]
    if list(kind.get_shape()) == shape:
        return value
    made.append(view := kernel.ReshapeOp(value, shape))
    return view.result
