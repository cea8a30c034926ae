"""Patterns of ``kernel-canonicalize`` on movements: those that move nothing, or move less as others."""

from __future__ import annotations

from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.dialects.kernel.movement import numbers
from kpu_ir.passes.kernel_fold import put


class IdentityMovement(RewritePattern):
    """``slice(x)`` of all, ``pad(x)`` by nothing, ``broadcast(x)`` to its shape --> ``x``."""

    @op_type_rewrite_pattern
    def match_and_rewrite(
        self, op: kernel.SliceOp | kernel.PadOp | kernel.BroadcastOp, rewriter: PatternRewriter
    ) -> None:
        """Nothing is left."""
        if tensor_type(op.source) != op.result.type:
            return
        if isinstance(op, kernel.SliceOp) and any(numbers(op.starts)):
            return
        rewriter.replace(op, [], [op.source])


class ConcatOfOne(RewritePattern):
    """``concat(x)`` --> ``x``; what has no elements does not count."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.ConcatOp, rewriter: PatternRewriter) -> None:
        """Nothing is left."""
        axis = op.axis.value.data
        kept = [v for v in op.inputs if tensor_type(v).get_shape()[axis]]
        if len(kept) == 1:
            rewriter.replace(op, [], kept)
        elif kept and len(kept) < len(op.inputs):
            put(rewriter, op, kernel.ConcatOp(kept, axis))


class BroadcastIsReshape(RewritePattern):
    """``broadcast(x)`` that only adds dimensions of extent 1 --> ``reshape(x)``."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.BroadcastOp, rewriter: PatternRewriter) -> None:
        """As many elements as before."""
        if tensor_type(op.source).element_count() == op.result.type.element_count():
            put(rewriter, op, kernel.ReshapeOp(op.source, op.result.type.get_shape()))


class BroadcastIntoMap(RewritePattern):
    """``map(x, broadcast(y))`` --> ``map(x, y)``, where other operands give the shape."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.MapOp, rewriter: PatternRewriter) -> None:
        """A map broadcasts by itself."""
        inputs = [
            v.owner.source if isinstance(v.owner, kernel.BroadcastOp) else v for v in op.inputs
        ]
        if inputs == list(op.inputs):
            return
        for i, value in enumerate(op.inputs):  # one of them has to stay, or none
            shapes = [tensor_type(v).get_shape() for v in inputs]
            if kernel.broadcast_shapes(*shapes) == op.result.type.get_shape():
                break
            inputs[i] = value
        if inputs == list(op.inputs):
            return
        body = op.detach_region(0)
        put(rewriter, op, kernel.MapOp(inputs, body, op.result.type.element_type))


class StridedSlice(RewritePattern):
    """``slice(x)`` with steps --> a slice without them of ``reshape(x)``.

    Each s-th element of a dimension is an element of the second of the two into which it splits.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.SliceOp, rewriter: PatternRewriter) -> None:
        """One dimension at a time; its extent must divide by the step."""
        shape, out = tensor_type(op.source).get_shape(), op.result.type.get_shape()
        starts, steps = list(numbers(op.starts)), list(numbers(op.steps))
        for axis, (n, step, start, count) in enumerate(zip(shape, steps, starts, out)):
            if step < 2 or n % step:
                continue
            split = (*shape[:axis], n // step, step, *shape[axis + 1 :])
            source = kernel.ReshapeOp(op.source, split)
            starts[axis : axis + 1] = [start // step, start % step]
            steps[axis : axis + 1] = [1, 1]
            wanted = (*out[:axis], count, 1, *out[axis + 1 :])
            part = kernel.SliceOp(source.result, starts, steps, wanted)
            put(rewriter, op, source, part, kernel.ReshapeOp(part.result, out))
            return
