"""``kernel-precision``: a model of f32 in a shorter float type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects import arith
from xdsl.dialects.builtin import (
    AnyFloat,
    BFloat16Type,
    DenseIntOrFPElementsAttr,
    Float16Type,
    IntegerType,
    ModuleOp,
    TensorType,
    f32,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter
from xdsl.utils.hints import isa

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.scalar.tracing import trace
from kpu_ir.support.types import array_of, dense_of, dtype_of, elided

Precision = Literal["f32", "f16", "bf16"]
SHORT: dict[str, AnyFloat] = {"f16": Float16Type(), "bf16": BFloat16Type()}


@dataclass(frozen=True)
class KernelPrecisionPass(ModulePass):
    """Tensors of f32 in another float type: weights are rounded when the model is compiled, inputs and
    outputs of the program stay f32, unless its ``ports`` are asked for.

    Before, with ``type=bf16``:
    ```mlir
    func.func @main(%x: tensor<4x8xf32>, %w: tensor<8x16xf32>) -> tensor<4x16xf32> {
      %y = kernel.matmul %x, %w : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf32>
      func.return %y : tensor<4x16xf32>
    }
    ```
    After:
    ```mlir
    func.func @main(%x: tensor<4x8xf32>, %w: tensor<8x16xf32>) -> tensor<4x16xf32> {
      %a = kernel.map %x : (tensor<4x8xf32>) -> tensor<4x8xbf16> { ... arith.truncf ... }
      %b = kernel.map %w : (tensor<8x16xf32>) -> tensor<8x16xbf16> { ... }
      %c = kernel.matmul %a, %b : (tensor<4x8xbf16>, tensor<8x16xbf16>) -> tensor<4x16xbf16>
      %y = kernel.map %c : (tensor<4x16xbf16>) -> tensor<4x16xf32> { ... arith.extf ... }
      func.return %y : tensor<4x16xf32>
    }
    ```
    Sums are f32, and so is what stands between two operations of one kernel (docs/types.md). What is
    computed with integers keeps its f32: scales and factors of quantized tensors.
    """

    name = "kernel-precision"
    type: Precision = "f32"
    """What f32 becomes; ``f32``: nothing changes."""
    ports: bool = False
    """Whether inputs and outputs become it as well."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Convert every function."""
        if self.type == "f32":
            return
        for func in op.ops:
            if isinstance(func, FuncOp) and not func.is_declaration:
                _Conversion(SHORT[self.type], self.ports).function(func)


def is_f32(value: SSAValue) -> bool:
    """Whether a value is a tensor of f32."""
    return isinstance(value.type, TensorType) and value.type.element_type == f32


def of_integers(op: Operation) -> bool:
    """Whether a map computes with integers of more than one bit; or a scale is applied."""
    if isinstance(op, kernel.QuantizeOp | kernel.DequantizeOp):
        return True
    if not isinstance(op, kernel.MapOp):
        return False
    kinds = [tensor_type(v).element_type for v in (*op.inputs, op.result)]
    return any(isa(kind, IntegerType) and kind.bitwidth > 1 for kind in kinds)


@dataclass(frozen=True)
class _Conversion:
    """All of a function's tensors of f32 in ``kind``; those that enter and leave with ``ports``."""

    kind: AnyFloat
    ports: bool = False

    def function(self, func: FuncOp) -> None:
        """Arguments are rounded where they enter, results widened where they leave; or both are short."""
        block = func.body.block
        for argument in [a for a in block.args if is_f32(a)]:
            if self.ports:
                self.shorten(argument)
            else:
                self.enter(argument, block)
        operations = [o for o in func.walk() if isinstance(o, kernel.KernelOperation)]
        for op in operations:
            self.results(op)
        for op in operations:
            if isinstance(op, kernel.MapOp):
                self.body(op)
            elif isinstance(op, kernel.MatmulOp):
                self.factors(op)
        if self.ports:
            func.update_function_type()
            return
        for op in [o for o in func.walk() if isinstance(o, ReturnOp)]:
            kinds = func.function_type.outputs.data
            for i, (value, kind) in enumerate(zip(op.operands, kinds)):
                if value.type != kind:
                    op.operands[i] = self.cast(value, f32, InsertPoint.before(op))

    def enter(self, argument: SSAValue, block: Block) -> None:
        """A map rounds it before all that reads it."""
        first = block.first_op
        assert first is not None
        rounded = self.cast(argument, self.kind, InsertPoint.before(first))
        argument.replace_uses_with_if(
            rounded, lambda use, cast=rounded.owner: use.operation is not cast
        )

    def shorten(self, value: SSAValue) -> None:
        """It has the short type from now on."""
        shape = tensor_type(value).get_shape()
        Rewriter.replace_value_with_new_type(value, TensorType(self.kind, shape))

    def cast(self, value: SSAValue, kind: Any, at: InsertPoint) -> SSAValue:
        """A map that converts."""
        body, _ = trace(lambda x: x.to(kind), [tensor_type(value).element_type])
        op = kernel.MapOp([value], body, kind)
        if isinstance(value.owner, Operation):
            op.location = value.owner.location
        return Builder(at).insert(op).result

    def results(self, op: Operation) -> None:
        """The operation gives its results in the short type."""
        if isinstance(op, kernel.ConstantOp):
            users = {use.operation for use in op.result.uses}
            if not is_f32(op.result) or any(map(of_integers, users)):
                return
            op.properties["value"] = self.constant(op.value)
        for value in op.results:
            if is_f32(value):
                self.shorten(value)

    def factors(self, op: kernel.MatmulOp) -> None:
        """A factor that was f16 is rounded to bf16, or the other way round: neither type has all of the other's
        numbers."""
        kinds = [tensor_type(v).element_type for v in op.operands]
        if self.kind not in kinds:
            return
        for i, (value, kind) in enumerate(zip(op.operands, kinds)):
            if kind != self.kind and kind in SHORT.values():
                op.operands[i] = self.cast(value, self.kind, InsertPoint.before(op))

    def constant(self, value: Any) -> Any:
        """A tensor that is known, rounded; what is beyond the type's range becomes its end."""
        if not isinstance(value, DenseIntOrFPElementsAttr):
            return elided(TensorType(self.kind, value.get_type().get_shape()))  # pyright: ignore
        import ml_dtypes

        dtype = dtype_of(self.kind)
        largest, exact = float(ml_dtypes.finfo(dtype).max), array_of(value)
        held = np.where(np.isfinite(exact), np.clip(exact, -largest, largest), exact)
        return dense_of(held.astype(dtype))

    def body(self, op: kernel.MapOp) -> None:
        """The formula stays as it is, in f32, between what its operands and its result are now."""
        block: Block = op.body.block
        for argument, value in zip(block.args, op.inputs):
            if argument.type == f32 and tensor_type(value).element_type == self.kind:
                new = Rewriter.replace_value_with_new_type(argument, self.kind)
                wide = arith.ExtFOp(new, f32)
                first = block.first_op
                assert first is not None
                block.insert_op_before(wide, first)
                new.replace_uses_with_if(wide.result, lambda use, w=wide: use.operation is not w)
        last = block.last_op
        assert last is not None
        result = last.operands[0]
        if result.type == f32 and tensor_type(op.result).element_type == self.kind:
            short = arith.TruncFOp(result, self.kind)
            block.insert_op_before(short, last)
            last.operands[0] = short.result
