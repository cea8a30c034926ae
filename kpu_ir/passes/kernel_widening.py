"""Inputs of a short float type that products read in a wider one: they are widened where they enter the array."""

from __future__ import annotations

from xdsl.dialects import arith
from xdsl.dialects.builtin import AnyFloat
from xdsl.ir import BlockArgument, Operation, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.passes.kernel_fold import put

View = kernel.ReshapeOp | kernel.TransposeOp


class WidenIntoMatmul(RewritePattern):
    """``matmul(a, widened(input))`` --> ``matmul(a, input)``, and so for ``a``; views and transpositions
    between the two are made of the short numbers.

    A wider float type has each number of a shorter one, and twice its digits hold each product: the same
    is added up, of half of the bytes. Caches of keys and values are such inputs. What the program itself
    computes keeps its map: it belongs to what makes it.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.MatmulOp, rewriter: PatternRewriter) -> None:
        """One operand; the other one's turn is next, unless one is f16 and the other bf16."""
        for i, (value, other) in enumerate(((op.b, op.a), (op.a, op.b))):
            found = _widened(value)
            if found is None or not _multiply(found[0], other):
                continue
            source, views = found
            made: list[Operation] = []
            for view in views:
                if isinstance(view, kernel.ReshapeOp):
                    made.append(kernel.ReshapeOp(source, view.result.type.get_shape()))
                else:
                    made.append(kernel.TransposeOp(source, view.axes))
                source = made[-1].results[0]
            product = kernel.MatmulOp(
                source if i else other,
                other if i else source,
                transpose_a=bool(op.transpose_a),
                transpose_b=bool(op.transpose_b),
                element_type=op.result.type.element_type,
            )
            put(rewriter, op, *made, product)
            return


def _widened(value: SSAValue) -> tuple[SSAValue, list[View]] | None:
    """The program's input of a shorter float type that ``value`` is, widened, and the views and
    transpositions between the two, in their order."""
    views: list[View] = []
    while isinstance(op := value.owner, kernel.ReshapeOp | kernel.TransposeOp):
        views.insert(0, op)
        value = op.source
    if not isinstance(op, kernel.MapOp) or len(op.inputs) != 1:
        return None
    first = op.body.block.first_op
    source = op.inputs[0]
    if not isinstance(first, arith.ExtFOp) or not isinstance(first.next_op, kernel.YieldOp):
        return None
    return (source, views) if isinstance(source, BlockArgument) else None


def _multiply(a: SSAValue, b: SSAValue) -> bool:
    """Whether two floats have a product: of one type, or of two widths."""
    kinds = [tensor_type(v).element_type for v in (a, b)]
    widths = {kind.bitwidth for kind in kinds if isinstance(kind, AnyFloat)}
    return kinds[0] == kinds[1] or len(widths) == 2
