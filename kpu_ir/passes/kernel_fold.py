"""``kernel-fold``: what is computed from constants becomes a constant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from xdsl.context import Context
from xdsl.dialects import arith
from xdsl.dialects.builtin import (
    BytesAttr,
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    FloatAttr,
    IntegerAttr,
    ModuleOp,
    TensorType,
)
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriter,
    PatternRewriteWalker,
    RewritePattern,
    op_type_rewrite_pattern,
)
from xdsl.rewriter import InsertPoint
from xdsl.transforms.dead_code_elimination import region_dce

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import broadcast_shapes, scalar_type, tensor_type
from kpu_ir.support.types import elided

SMALL = 4096
"""Results of up to this many elements are always folded, larger ones if an operand is as large."""

LARGEST = 1 << 20
"""What only arranges constants anew is folded up to this many elements, or if an operand has a
quarter of them: to compute it in every run would write them and read them again."""


def constant_of(value: SSAValue) -> kernel.ConstantOp | None:
    """The constant that a value is, if it is one."""
    return value.owner if isinstance(value.owner, kernel.ConstantOp) else None


def put(rewriter: PatternRewriter, op: Operation, *new: Operation) -> None:
    """Put ``new`` in the place of ``op``; the last one has its results."""
    for one in new:
        one.location = op.location
    nameless = [r for one in new[:-1] for r in one.results if r.name_hint is None]
    rewriter.replace(op, new)
    for value in nameless:  # xDSL calls all of them what only the last one is
        value.name_hint = None


class FoldReshape(RewritePattern):
    """``reshape(constant)`` --> the constant, seen in the other shape."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.ReshapeOp, rewriter: PatternRewriter) -> None:
        """The bytes are shared."""
        source = constant_of(op.source)
        if source is None:
            return
        kind = cast(Any, op.result.type)
        value = source.value
        if isinstance(value, DenseIntOrFPElementsAttr):
            put(rewriter, op, kernel.ConstantOp(DenseIntOrFPElementsAttr(kind, value.data)))
        else:
            put(rewriter, op, kernel.ConstantOp(elided(kind)))


FOLDED = (
    kernel.MapOp,
    kernel.TransposeOp,
    kernel.MatmulOp,
    kernel.ReduceOp,
    kernel.ScanOp,
    kernel.SliceOp,
    kernel.ConcatOp,
    kernel.PadOp,
    kernel.BroadcastOp,
    kernel.GatherOp,
    kernel.QuantizeOp,
    kernel.DequantizeOp,
)
"""What is computed here where all operands are known."""

ARRANGED = (
    kernel.TransposeOp,
    kernel.SliceOp,
    kernel.ConcatOp,
    kernel.PadOp,
    kernel.BroadcastOp,
    kernel.GatherOp,
)
"""What only arranges elements anew."""


class FoldConstants(RewritePattern):
    """``op(constants)`` --> a constant, unless that takes more memory than it saves.

    A constant with other users that products read in another order is left: they read it so.
    """

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        """Evaluate by the reference."""
        if not isinstance(op, FOLDED):
            return
        constants = [constant_of(v) for v in op.operands]
        values = [c.value for c in constants if c is not None]
        if len(values) < len(constants) or not worth_folding(op):
            return
        if any(isinstance(v, DenseResourceAttr) for v in values):
            put(rewriter, op, kernel.ConstantOp(elided(op.results[0].type)))
            return
        from kpu_ir.interpreters.kernel import run_operation
        from kpu_ir.support.types import array_of, dense_of

        arrays = [array_of(v) for v in values]
        put(rewriter, op, kernel.ConstantOp(dense_of(run_operation(op, arrays)[0])))


def worth_folding(op: Operation) -> bool:
    """Whether the result is small, or takes the place of operands that are as large; what only
    arranges constants anew may take more than that."""
    count = tensor_type(op.results[0]).element_count()
    if count <= SMALL:
        return True
    if isinstance(op, kernel.MatmulOp):
        return False
    largest = max(tensor_type(v).element_count() for v in op.operands)
    if isinstance(op, ARRANGED) and not only_products(op):
        return count <= max(LARGEST, 4 * largest)
    return any(tensor_type(v).element_count() >= count and v.has_one_use() for v in op.operands)


def only_products(op: Operation) -> bool:
    """Whether a transposition is for products, which read their operands in any order."""
    users = {use.operation for use in op.results[0].uses}
    return isinstance(op, kernel.TransposeOp) and all(
        isinstance(user, kernel.MatmulOp) for user in users
    )


class FoldEmpty(RewritePattern):
    """A tensor without elements --> ``kernel.constant dense<>``."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        """Whatever would compute it."""
        if not isinstance(op, kernel.KernelOperation) or isinstance(op, kernel.ConstantOp):
            return
        kinds = [tensor_type(r) for r in op.results]
        if len(kinds) == 1 and kinds[0].element_count() == 0:
            kind = cast(Any, kinds[0])
            put(rewriter, op, kernel.ConstantOp(DenseIntOrFPElementsAttr(kind, BytesAttr(b""))))


def splat_of(value: SSAValue) -> IntegerAttr | FloatAttr | None:
    """The one number of which a constant consists, as ``arith.constant`` writes it."""
    constant = constant_of(value)
    if constant is None or not isinstance(constant.value, DenseIntOrFPElementsAttr):
        return None
    dense, data = constant.value, constant.value.data.data
    size = dense.get_element_type().compile_time_size
    first = bytes(data[:size])  # the data may be a view of a file
    if not first or bytes(data[-size:]) != first or first * (len(data) // size) != data:
        return None
    kind = scalar_type(dense.get_element_type())
    one = DenseIntOrFPElementsAttr(cast(Any, TensorType(kind, [])), BytesAttr(first))
    return one.get_attrs()[0]


class InlineSplat(RewritePattern):
    """``map(x, constant dense<2.0>)`` --> ``map(x)`` with ``arith.constant 2.0`` in its body."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: kernel.MapOp, rewriter: PatternRewriter) -> None:
        """One operand at a time, where the others give the shape."""
        for i, value in enumerate(op.inputs):
            number = splat_of(value)
            others = [v for j, v in enumerate(op.inputs) if j != i]
            shape = broadcast_shapes(*(tensor_type(v).get_shape() for v in others))
            if number is None or not others or shape != op.result.type.get_shape():
                continue
            body = op.detach_region(0)
            constant = arith.ConstantOp(number)
            argument = body.block.args[i]
            rewriter.insert(constant, InsertPoint.at_start(body.block))
            rewriter.replace_all_uses_with(argument, constant.result)
            body.block.erase_arg(argument)
            put(rewriter, op, kernel.MapOp(others, body, op.result.type.element_type))
            return


PATTERNS: tuple[type[RewritePattern], ...] = (FoldEmpty, FoldReshape, FoldConstants, InlineSplat)


@dataclass(frozen=True)
class KernelFoldPass(ModulePass):
    """Compute what depends on constants only; put single numbers into scalar bodies.

    Before:
    ```mlir
    %w = kernel.constant dense<[[1.0, 2.0, 3.0, 4.0]]> : tensor<1x4xf32>
    %t = kernel.transpose %w permutation [1, 0] : tensor<1x4xf32> -> tensor<4x1xf32>
    %two = kernel.constant dense<2.0> : tensor<f32>
    %y = kernel.map %x, %two : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32> {
    ^bb0(%a: f32, %b: f32):
      %r = arith.mulf %a, %b : f32
      kernel.yield %r : f32
    }
    ```
    After:
    ```mlir
    %t = kernel.constant dense<[[1.0], [2.0], [3.0], [4.0]]> : tensor<4x1xf32>
    %y = kernel.map %x : (tensor<8xf32>) -> tensor<8xf32> {
    ^bb0(%a: f32):
      %b = arith.constant 2.0 : f32
      %r = arith.mulf %a, %b : f32
      kernel.yield %r : f32
    }
    ```
    """

    name = "kernel-fold"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Until nothing changes."""
        patterns = GreedyRewritePatternApplier([pattern() for pattern in PATTERNS])
        PatternRewriteWalker(patterns, post_walk_func=region_dce).rewrite_module(op)
