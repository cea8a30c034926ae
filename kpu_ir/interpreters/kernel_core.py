"""The meaning of constants, products, maps and views of ``kernel``, in NumPy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, TensorType
from xdsl.interpreter import (
    Interpreter,
    PythonValues,
    ReturnedValues,
    TerminatorValue,
    impl,
    impl_attr,
    impl_terminator,
    register_impls,
)
from xdsl.ir import Attribute, Block

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import scalar_type, tensor_type
from kpu_ir.interpreters.base import ArrayFunctions, dtype_in, inside, wide
from kpu_ir.scalar.body import Body, compile_body
from kpu_ir.scalar.widening import inlined, working_type
from kpu_ir.support.types import Array, array_of, stored


@register_impls
@dataclass
class KernelFunctions(ArrayFunctions):
    """What every program of ``kernel`` is made of."""

    bodies: dict[Block, Body] = field(default_factory=dict[Block, Body])
    """Scalar bodies, compiled the first time."""

    @impl_attr(TensorType)
    def tensor(self, interpreter: Interpreter, attr: Attribute, type: TensorType) -> Any:
        """An argument that is written as ``dense<...>``."""
        assert isinstance(attr, DenseIntOrFPElementsAttr)
        return array_of(attr).astype(dtype_in(type, self.precision), copy=False)

    @impl(kernel.ConstantOp)
    def constant(
        self, interpreter: Interpreter, op: kernel.ConstantOp, args: PythonValues
    ) -> PythonValues:
        """Its values."""
        return (array_of(op.value).astype(self.dtype(op.result), copy=False),)

    @impl(kernel.MatmulOp)
    def matmul(
        self, interpreter: Interpreter, op: kernel.MatmulOp, args: PythonValues
    ) -> PythonValues:
        """NumPy's matmul, with the sums in the accumulator's type or f32 if that is wider."""
        a, b = args
        a = a.swapaxes(-1, -2) if op.transpose_a else a
        b = b.swapaxes(-1, -2) if op.transpose_b else b
        return (product(a, b, self.dtype(op.result)),)

    @impl(kernel.MapOp)
    def map(self, interpreter: Interpreter, op: kernel.MapOp, args: PythonValues) -> PythonValues:
        """The body, on whole arrays."""
        block = op.body.block
        within = inside(op.result) and self.precision is None
        if block not in self.bodies:
            self.bodies[block] = compile_body(widened(op) if within else block, self.precision)
        result = self.bodies[block](*(map(wide, args) if within else args))
        dtype = self.dtype(op.result)
        # unsigned: the same bits
        return (result if result.dtype == dtype else result.view(dtype),)

    @impl(kernel.ReshapeOp)
    def reshape(
        self, interpreter: Interpreter, op: kernel.ReshapeOp, args: PythonValues
    ) -> PythonValues:
        """The same elements in the same order."""
        return (args[0].reshape(op.result.type.get_shape()),)

    @impl(kernel.TransposeOp)
    def transpose(
        self, interpreter: Interpreter, op: kernel.TransposeOp, args: PythonValues
    ) -> PythonValues:
        """The dimensions in another order."""
        return (args[0].transpose(op.axes),)

    @impl(kernel.FusedOp)
    def fused(
        self, interpreter: Interpreter, op: kernel.FusedOp, args: PythonValues
    ) -> PythonValues:
        """Its kernels, one after the other."""
        return interpreter.run_ssacfg_region(op.body, (), "kernel.fused")

    @impl_terminator(kernel.YieldOp)
    def yield_(
        self, interpreter: Interpreter, op: kernel.YieldOp, args: PythonValues
    ) -> tuple[TerminatorValue, PythonValues]:
        """What a fused kernel gives, rounded to its type."""
        kinds = [dtype_in(v.type, self.precision) for v in op.operands]
        return ReturnedValues(tuple(stored(a, kind) for a, kind in zip(args, kinds))), ()


def widened(op: kernel.MapOp) -> Block:
    """The body of a map inside of a kernel: short floats come and go as f32."""
    kinds = [scalar_type(tensor_type(v).element_type) for v in op.inputs]
    block = Block(arg_types=[working_type(kind) for kind in kinds])
    result = inlined(op.body.block, block.args, block)
    block.add_op(kernel.YieldOp(result))
    return block


def product(a: Array, b: Array, dtype: np.dtype[Any]) -> Array:
    """``a @ b``, added up in ``dtype``, or in f32 and rounded once where ``dtype`` is narrower.

    Integers of up to 16 bits are multiplied in f64, which is exact and many times as fast.
    """
    if np.issubdtype(dtype, np.integer):
        bits = 8 * (a.dtype.itemsize + b.dtype.itemsize)
        exact = bits + a.shape[-1].bit_length() <= 53
        wide = np.dtype(np.float64) if exact else dtype
        sums = np.matmul(a.astype(wide), b.astype(wide))
        return sums.astype(np.int64).astype(dtype) if exact else sums
    wide = dtype if dtype.itemsize >= 4 else np.dtype(np.float32)
    sums = np.matmul(a.astype(wide, copy=False), b.astype(wide, copy=False))
    return sums.astype(dtype, copy=False)
