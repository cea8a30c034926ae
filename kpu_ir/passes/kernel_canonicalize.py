"""``kernel-canonicalize``: one form for what can be written in several, and nothing computed twice.

Each pattern's docstring is its rewrite; ``PATTERNS`` says which operation has which. They are traits
of the operations, so xDSL's own ``canonicalize`` runs them too. Constants are folded by the patterns
of ``kernel-fold``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

from xdsl.context import Context
from xdsl.dialects.builtin import DenseResourceAttr, IntAttr, ModuleOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.transforms.common_subexpression_elimination import cse
from xdsl.transforms.dead_code_elimination import region_dce

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.passes.kernel_convolution import PadIntoConv, ScaleIntoConv
from kpu_ir.passes.kernel_fold import FoldConstants, FoldEmpty, FoldReshape, InlineSplat, put
from kpu_ir.passes.kernel_views import (
    BroadcastIntoMap,
    BroadcastIsReshape,
    ConcatOfOne,
    IdentityMovement,
    StridedSlice,
)
from kpu_ir.passes.kernel_widening import WidenIntoMatmul
from kpu_ir.passes.quantized_sooner import QuantizeAsScaled, QuantizeSooner


class IdentityReshape(RewritePattern):
    """``reshape(x)`` to its own shape --> ``x``."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.ReshapeOp, rewriter: PatternRewriter) -> None:
        """Nothing is left."""
        if tensor_type(op.source) == op.result.type:
            rewriter.replace(op, [], [op.source])


class ReshapeOfReshape(RewritePattern):
    """``reshape(reshape(x))`` --> ``reshape(x)``."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.ReshapeOp, rewriter: PatternRewriter) -> None:
        """The last shape counts."""
        if isinstance(inner := op.source.owner, kernel.ReshapeOp):
            put(rewriter, op, kernel.ReshapeOp(inner.source, op.result.type.get_shape()))


class TransposeOfTranspose(RewritePattern):
    """``transpose(transpose(x, p), q)`` --> ``transpose(x, p[q])``."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.TransposeOp, rewriter: PatternRewriter) -> None:
        """Permutations compose."""
        if isinstance(inner := op.source.owner, kernel.TransposeOp):
            put(rewriter, op, kernel.TransposeOp(inner.source, [inner.axes[a] for a in op.axes]))


class TransposeIsReshape(RewritePattern):
    """``transpose(x)`` that moves only dimensions of extent 1 (or none) --> ``reshape(x)``."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.TransposeOp, rewriter: PatternRewriter) -> None:
        """The other dimensions keep their order."""
        shape = tensor_type(op.source).get_shape()
        kept = [a for a in op.axes if shape[a] != 1]
        if kept == sorted(kept):
            put(rewriter, op, kernel.ReshapeOp(op.source, op.result.type.get_shape()))


def swapped_matrix(value: SSAValue) -> SSAValue | None:
    """What ``value`` is the transposed matrix (or batch of matrices) of."""
    op = value.owner
    if not isinstance(op, kernel.TransposeOp):
        return None
    rank = len(op.axes)
    swap = (*range(rank - 2), rank - 1, rank - 2)
    return op.source if op.axes == swap else None


class TransposeIntoMatmul(RewritePattern):
    """``matmul(transpose(a), b)`` --> ``matmul(a, b) {transpose_a}``, and so for ``b``."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.MatmulOp, rewriter: PatternRewriter) -> None:
        """A product reads either way."""
        a, b = swapped_matrix(op.a), swapped_matrix(op.b)
        if a is None and b is None:
            return
        new = kernel.MatmulOp(
            op.a if a is None else a,
            op.b if b is None else b,
            transpose_a=bool(op.transpose_a) ^ (a is not None),
            transpose_b=bool(op.transpose_b) ^ (b is not None),
            element_type=op.result.type.element_type,
        )
        put(rewriter, op, new)


class FlattenMatmul(RewritePattern):
    """``(b.. x m x k) @ (k x n)`` --> ``reshape((b..m x k) @ (k x n))``, no batch."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.MatmulOp, rewriter: PatternRewriter) -> None:
        """Where the right operand is the same for the whole batch."""
        a, b = tensor_type(op.a).get_shape(), tensor_type(op.b).get_shape()
        batch = math.prod(a[:-2])
        if max(len(a), len(b)) == 2 or math.prod(b[:-2]) != 1 or (op.transpose_a and batch != 1):
            return
        rows, columns = (a[-2], a[-1]) if op.transpose_a else (batch * a[-2], a[-1])
        left = kernel.ReshapeOp(op.a, (rows, columns))
        right = kernel.ReshapeOp(op.b, b[-2:])
        product = kernel.MatmulOp(
            left.result,
            right.result,
            transpose_a=bool(op.transpose_a),
            transpose_b=bool(op.transpose_b),
            element_type=op.result.type.element_type,
        )
        back = kernel.ReshapeOp(product.result, op.result.type.get_shape())
        put(rewriter, op, left, right, product, back)


class ReshapeAfterMap(RewritePattern):
    """``map(reshape(x), bias)`` --> ``reshape(map(x, bias))``.

    Where the reshape only splits x's first dimension. Maps come to stand beside the kernel that
    feeds them, where they can be fused with it.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.MapOp, rewriter: PatternRewriter) -> None:
        """At the first operand that allows it."""
        shape = op.result.type.get_shape()
        for value in op.inputs:
            lead = split_dimensions(value)
            if not lead or tensor_type(value).get_shape() != shape:
                continue
            views = [joined(v, len(shape), shape[:lead]) for v in op.inputs]
            made = [v for v in views if isinstance(v, kernel.ReshapeOp)]
            inputs = [v.result if isinstance(v, kernel.ReshapeOp) else v for v in views]
            if any(v is None for v in inputs):
                continue
            body = op.detach_region(0)
            operands = [v for v in inputs if v is not None]
            new = kernel.MapOp(operands, body, op.result.type.element_type)
            put(rewriter, op, *made, new, kernel.ReshapeOp(new.result, shape))
            return


class ReshapeAfterOneMap(RewritePattern):
    """``map(reshape(x))`` --> ``reshape(map(x))``, of one operand that a map or a reduction makes.

    Where the reshape only adds or drops dimensions of extent 1: what is computed of rows' numbers (a scale of
    their largest) comes to stand beside what makes them.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.MapOp, rewriter: PatternRewriter) -> None:
        """The body does not see shapes."""
        view = op.inputs[0].owner
        if len(op.inputs) != 1 or not isinstance(view, kernel.ReshapeOp):
            return
        old, new = tensor_type(view.source).get_shape(), view.result.type.get_shape()
        same = [n for n in old if n != 1] == [n for n in new if n != 1]
        if not same or not isinstance(view.source.owner, kernel.MapOp | kernel.ReduceOp):
            return
        body = op.detach_region(0)
        made = kernel.MapOp([view.source], body, op.result.type.element_type)
        put(rewriter, op, made, kernel.ReshapeOp(made.result, new))


class ReshapeAfterNormalize(RewritePattern):
    """``normalize(reshape(x), scale, shift)`` --> ``reshape(normalize(x, scale, shift))``.

    Where the reshape only splits x's first dimension, and rows are along others.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.NormalizeOp, rewriter: PatternRewriter) -> None:
        """The axes count from the last dimension."""
        source, *affine = op.inputs
        lead, axes = split_dimensions(source), op.axes_list
        rank = len(op.result.type.get_shape())
        own = all(len(tensor_type(v).get_shape()) <= rank - lead for v in affine)
        if not lead or not own or min(axes) < lead:
            return
        view = source.owner
        assert isinstance(view, kernel.ReshapeOp)
        epsilon, center = float(op.epsilon.value.data), bool(op.center)
        new = kernel.NormalizeOp(view.source, affine, [a - lead + 1 for a in axes], epsilon, center)
        put(rewriter, op, new, kernel.ReshapeOp(new.result, op.result.type.get_shape()))


class ReshapeAfterSoftmax(RewritePattern):
    """``softmax(reshape(x))`` --> ``reshape(softmax(x))``.

    Where the reshape only splits x's first dimension, and the softmax is along another: the
    products of an attention of one head come to stand beside it.
    """

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.SoftmaxOp, rewriter: PatternRewriter) -> None:
        """The axis counts from the last dimension."""
        lead, axis = split_dimensions(op.source), op.axis.value.data
        if not lead or axis < lead:
            return
        view = op.source.owner
        assert isinstance(view, kernel.ReshapeOp)
        new = kernel.SoftmaxOp(view.source, axis - lead + 1, bool(op.log), bool(op.zero_if_empty))
        put(rewriter, op, new, kernel.ReshapeOp(new.result, op.result.type.get_shape()))


def split_dimensions(value: SSAValue) -> int:
    """Into how many dimensions a reshape splits a result's first one; 0 if it does not."""
    op = value.owner
    if not isinstance(op, kernel.ReshapeOp):
        return 0
    made = kernel.MatmulOp | kernel.MapOp | kernel.FusedOp | kernel.SoftmaxOp | kernel.NormalizeOp
    if not isinstance(op.source.owner, made):
        return 0
    old, new = tensor_type(op.source).get_shape(), op.result.type.get_shape()
    lead = len(new) - len(old) + 1
    return lead if len(old) >= 2 and lead >= 2 and old[1:] == new[lead:] else 0


def joined(value: SSAValue, rank: int, lead: tuple[int, ...]) -> SSAValue | kernel.ReshapeOp | None:
    """An operand of a map whose first dimensions ``lead`` become one; None if that cannot be."""
    shape = tensor_type(value).get_shape()
    if len(shape) <= rank - len(lead):
        return value
    padded = (1,) * (rank - len(shape)) + shape
    front, rest = padded[: len(lead)], padded[len(lead) :]
    if front == lead:
        return kernel.ReshapeOp(value, (math.prod(lead), *rest))
    if all(n == 1 for n in front):
        return kernel.ReshapeOp(value, rest)
    return None


class IdentityMap(RewritePattern):
    """``map(x, ..) { yield %x }`` --> ``x`` where x has the result's type."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.MapOp, rewriter: PatternRewriter) -> None:
        """Nothing is left."""
        last = op.body.block.last_op
        for argument, value in zip(op.body.block.args, op.inputs):
            if last and last.operands[0] is argument and value.type == op.result.type:
                rewriter.replace(op, [], [value])
                return


class RepeatedOperand(RewritePattern):
    """``map(x, x)`` --> ``map(x)``; operands that the body does not read go too."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.MapOp, rewriter: PatternRewriter) -> None:
        """One operand at a time."""
        block, inputs = op.body.block, list(op.inputs)
        for i, argument in enumerate(block.args):
            first = inputs.index(inputs[i])
            rest = inputs[:i] + inputs[i + 1 :]
            shapes = [tensor_type(v).get_shape() for v in rest]
            shape = kernel.broadcast_shapes(*shapes) if rest else None
            if shape != op.result.type.get_shape() or (first == i and argument.uses):
                continue
            body = op.detach_region(0)
            rewriter.replace_all_uses_with(argument, block.args[first])
            block.erase_arg(argument)
            put(rewriter, op, kernel.MapOp(rest, body, op.result.type.element_type))
            return


PATTERNS: dict[type[Operation], tuple[type[RewritePattern], ...]] = {
    kernel.MatmulOp: (FoldConstants, WidenIntoMatmul, TransposeIntoMatmul, FlattenMatmul),
    kernel.ConvOp: (PadIntoConv,),
    kernel.MapOp: (
        FoldConstants,
        InlineSplat,
        ScaleIntoConv,
        BroadcastIntoMap,
        IdentityMap,
        RepeatedOperand,
        ReshapeAfterMap,
        ReshapeAfterOneMap,
    ),
    kernel.ReduceOp: (FoldConstants,),
    kernel.SoftmaxOp: (ReshapeAfterSoftmax,),
    kernel.NormalizeOp: (ReshapeAfterNormalize,),
    kernel.ReshapeOp: (FoldReshape, IdentityReshape, ReshapeOfReshape),
    kernel.TransposeOp: (FoldConstants, TransposeOfTranspose, TransposeIsReshape),
    kernel.SliceOp: (FoldConstants, IdentityMovement, StridedSlice),
    kernel.ConcatOp: (FoldConstants, ConcatOfOne),
    kernel.PadOp: (FoldConstants, IdentityMovement),
    kernel.BroadcastOp: (FoldConstants, IdentityMovement, BroadcastIsReshape),
    kernel.GatherOp: (FoldConstants,),
    kernel.QuantizeOp: (FoldConstants, QuantizeSooner, QuantizeAsScaled),
    kernel.DequantizeOp: (FoldConstants,),
}
"""What rewrites an operation, in the order in which it is tried; ``FoldEmpty`` comes first for all."""


@cache
def patterns_of(kind: type[Operation]) -> tuple[RewritePattern, ...]:
    """The patterns of an operation of ``kernel``: those of its trait, which ``canonicalize`` runs."""
    return (FoldEmpty(), *(pattern() for pattern in PATTERNS.get(kind, ())))


class Canonicalization(RewritePattern):
    """The patterns of each operation of ``kernel``, and of no other dialect."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        """The first one that applies."""
        if not isinstance(op, kernel.KernelOperation):
            return
        for pattern in patterns_of(type(op)):
            pattern.match_and_rewrite(op, rewriter)
            if rewriter.has_done_action:
                return


def simplify(op: ModuleOp | Operation) -> None:
    """Apply the patterns until nothing changes."""
    patterns = GreedyRewritePatternApplier([Canonicalization()])
    for region in op.regions:
        PatternRewriteWalker(patterns, post_walk_func=region_dce).rewrite_region(region)


def merge_equal(op: ModuleOp) -> None:
    """Let equal operations be one; constants whose values were elided are not known to be equal."""
    unknown = [
        one
        for one in op.walk()
        if isinstance(one, kernel.ConstantOp) and isinstance(one.value, DenseResourceAttr)
    ]
    for i, one in enumerate(unknown):
        one.attributes["kernel.distinct"] = IntAttr(i)
    cse(op)
    for one in unknown:
        one.attributes.pop("kernel.distinct", None)


@dataclass(frozen=True)
class KernelCanonicalizePass(ModulePass):
    """Views and transposes folded into what uses them, constants computed, equal operations merged.

    Before:
    ```mlir
    %t = kernel.transpose %w permutation [1, 0] : tensor<16x8xf32> -> tensor<8x16xf32>
    %c = kernel.matmul %x, %t : (tensor<2x4x8xf32>, tensor<8x16xf32>) -> tensor<2x4x16xf32>
    %y = kernel.reshape %c : tensor<2x4x16xf32> -> tensor<8x16xf32>
    ```
    After:
    ```mlir
    %v = kernel.reshape %x : tensor<2x4x8xf32> -> tensor<8x8xf32>
    %y = kernel.matmul %v, %w {transpose_b}
      : (tensor<8x8xf32>, tensor<16x8xf32>) -> tensor<8x16xf32>
    ```
    """

    name = "kernel-canonicalize"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Rewrite, merge equal operations, and rewrite what that has made possible."""
        simplify(op)
        merge_equal(op)
        simplify(op)
