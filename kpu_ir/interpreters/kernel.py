"""What the operations of ``kernel`` compute, in NumPy.

These are the values that every lower level must reproduce.

A table, one short function an operation. To add one: ``@reference(XxxOp)`` on a function that takes
the operation, its operands as arrays and the evaluation, and returns the results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np
from xdsl.dialects import func
from xdsl.dialects.builtin import (
    AnyFloat,
    DictionaryAttr,
    IntegerType,
    ModuleOp,
    StringAttr,
    TensorType,
)
from xdsl.ir import Block, Operation, SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import shape_text, tensor_type
from kpu_ir.scalar.body import Body, compile_body
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array, array_of, dtype_of
from kpu_ir.text.places import place_of

Precision = type[np.floating[Any]] | None
Method = Callable[..., Sequence[Array]]
_OpT = TypeVar("_OpT", bound=Operation)

METHODS: dict[type[Operation], Method] = {}
"""The meaning of each operation: ``(op, operands, evaluation) -> results``."""


@dataclass
class Evaluation:
    """One run: what it computes floats in, where calls go, and what values are known."""

    module: Operation
    precision: Precision = None
    values: dict[SSAValue, Array] = field(default_factory=dict[SSAValue, Array])
    bodies: dict[Block, Body] = field(default_factory=dict[Block, Body])

    def dtype(self, result: SSAValue) -> np.dtype[Any]:
        """What the elements of ``result`` are computed and kept in."""
        element_type = tensor_type(result).element_type
        if self.precision is not None and isinstance(element_type, AnyFloat):
            return np.dtype(self.precision)
        return dtype_of(element_type)

    def block(self, block: Block, arguments: Sequence[Array] = ()) -> list[Array]:
        """Run a block; what its terminator takes."""
        self.values.update(zip(block.args, arguments, strict=True))
        last = cast(Operation, block.last_op)
        for op in block.ops:
            if op is not last:
                self.operation(op)
        return [self.values[v] for v in last.operands]

    def operation(self, op: Operation) -> None:
        """Run one operation."""
        results = run_operation(op, [self.values[v] for v in op.operands], self)
        self.values.update(zip(op.results, results, strict=True))


def run_operation(op: Operation, operands: Sequence[Array], run: Evaluation) -> Sequence[Array]:
    """The results of one operation."""
    method = METHODS.get(type(op))
    if method is None:
        raise KpuError(f"{op.name} has no reference at the kernel level", place_of(op))
    return method(op, operands, run)


def reference(kind: type[_OpT]) -> Callable[[Method], Method]:
    """Make a function the meaning of an operation."""

    def register(method: Method) -> Method:
        METHODS[kind] = method
        return method

    return register


@reference(kernel.ConstantOp)
def constant(op: kernel.ConstantOp, operands: list[Array], run: Evaluation) -> Sequence[Array]:
    """Its values."""
    return (array_of(op.value).astype(run.dtype(op.result), copy=False),)


@reference(kernel.MatmulOp)
def matmul(op: kernel.MatmulOp, operands: list[Array], run: Evaluation) -> Sequence[Array]:
    """NumPy's matmul, with the sums in the accumulator's type or f32 if that is wider."""
    a, b = operands
    a = a.swapaxes(-1, -2) if op.transpose_a else a
    b = b.swapaxes(-1, -2) if op.transpose_b else b
    return (product(a, b, run.dtype(op.result)),)


def product(a: Array, b: Array, dtype: np.dtype[Any]) -> Array:
    """``a @ b``, added up in ``dtype``, or in f32 and rounded once where ``dtype`` is narrower.

    Integers of up to 16 bits are multiplied in f64, which is exact and many times as fast.
    """
    if np.issubdtype(dtype, np.integer):
        exact = 2 * a.dtype.itemsize * 8 + a.shape[-1].bit_length() <= 53
        wide = np.dtype(np.float64) if exact else dtype
        sums = np.matmul(a.astype(wide), b.astype(wide))
        return sums.astype(np.int64).astype(dtype) if exact else sums
    wide = dtype if dtype.itemsize >= 4 else np.dtype(np.float32)
    sums = np.matmul(a.astype(wide, copy=False), b.astype(wide, copy=False))
    return sums.astype(dtype, copy=False)


@reference(kernel.MapOp)
def map_(op: kernel.MapOp, operands: list[Array], run: Evaluation) -> Sequence[Array]:
    """The body, on whole arrays."""
    block = op.body.block
    if block not in run.bodies:
        run.bodies[block] = compile_body(block, run.precision)
    result = run.bodies[block](*operands)
    dtype = run.dtype(op.result)
    return (result if result.dtype == dtype else result.view(dtype),)  # unsigned: the same bits


@reference(kernel.ReshapeOp)
def reshape(op: kernel.ReshapeOp, operands: list[Array], run: Evaluation) -> Sequence[Array]:
    """The same elements in the same order."""
    return (operands[0].reshape(op.result.type.get_shape()),)


@reference(kernel.TransposeOp)
def transpose(op: kernel.TransposeOp, operands: list[Array], run: Evaluation) -> Sequence[Array]:
    """The dimensions in another order."""
    return (operands[0].transpose(op.axes),)


@reference(kernel.FusedOp)
def fused(op: kernel.FusedOp, operands: list[Array], run: Evaluation) -> Sequence[Array]:
    """Its kernels, one after the other."""
    return run.block(op.body.block)


@reference(func.CallOp)
def call(op: func.CallOp, operands: list[Array], run: Evaluation) -> Sequence[Array]:
    """The function's results."""
    callee = function_named(run.module, op.callee.string_value())
    inner = Evaluation(run.module, run.precision, bodies=run.bodies)
    return inner.block(callee.body.block, operands)


def function_named(module: Operation, name: str) -> func.FuncOp:
    """A function of a module."""
    for op in module.walk():
        if isinstance(op, func.FuncOp) and op.sym_name.data == name:
            return op
    raise KpuError(f"the module has no function @{name}")


def argument_names(function: func.FuncOp) -> list[str]:
    """The name of each argument: its ``kernel.name``, else that in the IR, else ``arg0``..."""
    names: list[str] = []
    for i, argument in enumerate(function.body.block.args):
        attributes = function.arg_attrs.data[i] if function.arg_attrs else DictionaryAttr({})
        given = attributes.data.get("kernel.name")
        names.append(
            given.data if isinstance(given, StringAttr) else argument.name_hint or f"arg{i}"
        )
    return names


def result_names(function: func.FuncOp) -> list[str]:
    """The name of each result: its ``kernel.name``, else ``result0``..."""
    names: list[str] = []
    for i in range(len(function.function_type.outputs)):
        attributes = function.res_attrs.data[i] if function.res_attrs else DictionaryAttr({})
        given = attributes.data.get("kernel.name")
        names.append(given.data if isinstance(given, StringAttr) else f"result{i}")
    return names


def evaluate(
    target: ModuleOp | func.FuncOp,
    inputs: Mapping[str, Any] | Mapping[int, Any] | Sequence[Any],
    precision: Precision = None,
) -> list[Array]:
    """The results of a function at the kernel level (of a module: of ``@main``).

    ``inputs`` are by name or by position. With ``precision=np.float64`` all floats are computed in
    that type and nothing is rounded on the way.
    """
    function = function_named(target, "main") if isinstance(target, ModuleOp) else target
    module = target if isinstance(target, ModuleOp) else target.get_toplevel_object()
    if not isinstance(module, Operation):
        module = function
    run = Evaluation(module, precision)
    block = function.body.block
    names = argument_names(function)
    given: Mapping[Any, Any] = inputs if isinstance(inputs, Mapping) else dict(enumerate(inputs))
    unknown = [k for k in given if k not in names and k not in range(len(names))]
    if unknown:
        raise KpuError(
            f"unknown input {', '.join(map(repr, unknown))}",
            hint=f"the inputs are {', '.join(names) or 'none'}",
        )
    arguments: list[Array] = []
    for i, (name, argument) in enumerate(zip(names, block.args)):
        if name not in given and i not in given:
            raise KpuError(f"input {name!r} is missing", hint=f"it is a {argument.type}")
        array = check_input(name, given.get(name, given.get(i)), tensor_type(argument))
        arguments.append(array.astype(run.dtype(argument), copy=False))
    return run.block(block, arguments)


def check_input(name: str, value: Any, kind: TensorType) -> Array:
    """An input as an array of the right shape and type, or an error that names it."""
    array, dtype = np.asarray(value), dtype_of(kind.element_type)
    if array.shape != kind.get_shape():
        raise KpuError(
            f"input {name!r}: expected shape {shape_text(kind.get_shape())}, "
            f"got {shape_text(array.shape)}"
        )
    floats = "float" in array.dtype.name
    if isinstance(kind.element_type, IntegerType) and floats:
        raise KpuError(f"input {name!r}: expected {dtype}, got {array.dtype}")
    if not floats and "int" not in array.dtype.name and array.dtype.kind != "b":
        raise KpuError(f"input {name!r}: expected numbers, got an array of {array.dtype}")
    return array.astype(dtype, copy=False)


# Registers the meanings of the other families; at the end, since they register in the table above.
import kpu_ir.interpreters.kernel_nn  # noqa: E402, F401  # pyright: ignore
