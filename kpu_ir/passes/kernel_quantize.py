"""``kernel-quantize``: what is computed on dequantized tensors is computed on the stored integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.pattern_rewriter import (
    GreedyRewritePatternApplier,
    PatternRewriter,
    PatternRewriteWalker,
)
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.transforms.dead_code_elimination import region_dce

from kpu_ir.dialects import kernel
from kpu_ir.machine.attr import machine_of
from kpu_ir.passes.kernel_canonicalize import TransposeIntoMatmul
from kpu_ir.passes.kernel_fold import FoldConstants, FoldReshape
from kpu_ir.passes.quantized_maps import check_scale
from kpu_ir.passes.quantized_movement import PATTERNS, DequantizeIntoMap
from kpu_ir.passes.quantized_products import rewrite, rewrite_floats
from kpu_ir.passes.quantized_sooner import QuantizeSooner
from kpu_ir.passes.quantized_sums import rewrite_sum
from kpu_ir.passes.quantized_weights import weights_alone

Quantize = Literal["fold", "off"]
Requantize = Literal["model", "f32", "double"]


@dataclass(frozen=True)
class KernelQuantizePass(ModulePass):
    """Products of dequantized tensors become products of integers, requantized by a map; what moves
    dequantized numbers moves the stored ones.

    Before:
    ```mlir
    %x = kernel.dequantize %p scale %s zero %z
      : tensor<4x8xui8>, tensor<1xf32>, tensor<1xui8> -> tensor<4x8xf32>
    %w = kernel.dequantize %q scale %t : tensor<8x16xi8>, tensor<1x16xf32> -> tensor<8x16xf32>
    %c = kernel.matmul %x, %w : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf32>
    %y = kernel.quantize %c scale %u : tensor<4x16xf32>, tensor<1xf32> -> tensor<4x16xi8>
    ```
    After, where %q, %s, %t, %u and %z are known:
    ```mlir
    %c = kernel.matmul %p, %q : (tensor<4x8xui8>, tensor<8x16xi8>) -> tensor<4x16xi32>
    %y = kernel.map %c, %shift, %factor
      : (tensor<4x16xi32>, tensor<1x16xi32>, tensor<1x16xf32>) -> tensor<4x16xi8> {
    ^bb0(%a: i32, %b: i32, %f: f32):
      %sum = arith.addi %a, %b : i32
      %wide = arith.sitofp %sum : i32 to f32
      %scaled = arith.mulf %wide, %f : f32
      %whole = math.roundeven %scaled : f32
      ...
    }
    ```
    %shift is minus %z times the sums of the columns of %q, %factor is %s %t / %u.
    What has no integer form is computed in f32, each of its operands dequantized by itself.
    """

    name = "kernel-quantize"
    mode: Quantize = "fold"
    """``off``: everything is computed in floats, as it is written."""
    requantize: Requantize = "model"
    """How sums of integers become quantized numbers again: as each quantize says (``f32`` where it says
    nothing), or all in one way (docs/quantization.md)."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Check scales, then move, multiply, and give each reader its own dequantization."""
        found = [o for o in op.walk() if isinstance(o, kernel.QuantizeOp | kernel.DequantizeOp)]
        for one in found:
            check_scale(one)
        if self.mode == "off" or not found:
            return
        if self.requantize != "model":
            for one in found:
                if isinstance(one, kernel.QuantizeOp):
                    one.requantize = StringAttr(self.requantize)
        move(op)
        machine = machine_of(op)
        for one in [o for o in op.walk() if isinstance(o, kernel.MatmulOp | kernel.ConvOp)]:
            if rewrite(one) or rewrite_floats(one) or isinstance(one, kernel.ConvOp):
                continue
            weights_alone(one, machine)
        for one in [o for o in op.walk() if isinstance(o, kernel.PoolOp | kernel.ReduceOp)]:
            rewrite_sum(one)
        move(op)
        for region in op.regions:
            PatternRewriteWalker(DequantizeIntoMap(), post_walk_func=region_dce).rewrite_region(
                region
            )
        for one in [o for o in op.walk() if isinstance(o, kernel.DequantizeOp)]:
            for_each_reader(one)


def move(op: ModuleOp) -> None:
    """Apply the patterns until nothing changes."""
    first = (FoldReshape(), FoldParameters(), TransposeIntoMatmul())
    patterns = GreedyRewritePatternApplier(
        [*first, *(kind() for kind in PATTERNS), QuantizeSooner()]
    )
    for region in op.regions:
        PatternRewriteWalker(patterns, post_walk_func=region_dce).rewrite_region(region)


class FoldParameters(FoldConstants):
    """Constants as ``kernel-fold`` does, but not those that stay stored: weights."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        """What else is known."""
        if not isinstance(op, kernel.DequantizeOp):
            super().match_and_rewrite(op, rewriter)


def for_each_reader(op: kernel.DequantizeOp) -> None:
    """A dequantization for each reader of activations: it becomes part of the reader's program, and
    the stored numbers are what stands between programs."""
    if isinstance(op.source.owner, kernel.ConstantOp):
        return
    readers = list(dict.fromkeys(use.operation for use in op.result.uses))
    if len(readers) < 2:
        return
    for reader in readers[1:]:
        own = kernel.DequantizeOp(op.source, op.scale, op.zero, op.result.type.element_type)
        own.location = op.location
        Rewriter.insert_op(own, InsertPoint.before(reader))
        _replace(op.result, own.result, reader)
    op.detach()
    Rewriter.insert_op(op, InsertPoint.before(readers[0]))


def _replace(old: SSAValue, new: SSAValue, reader: Operation) -> None:
    old.replace_uses_with_if(new, lambda use: use.operation is reader)
