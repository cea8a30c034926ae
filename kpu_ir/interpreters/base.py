"""What the interpreters' functions of all dialects share: arrays as values, one precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.dialects.builtin import AnyFloat, MemRefType, ModuleOp, TensorType
from xdsl.dialects.func import FuncOp
from xdsl.interpreter import Interpreter, InterpreterFunctions
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.utils.exceptions import DiagnosticException, InterpretationError

from kpu_ir.dialects import kernel
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array, accumulator_dtype, dtype_of
from kpu_ir.text.places import place_of

Precision = type[np.floating[Any]] | None
"""What floats are computed in; None for each in its own type."""

COMBINE: dict[str, np.ufunc] = {
    "add": np.add,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
}
"""What a reduction's word means."""


@dataclass
class ArrayFunctions(InterpreterFunctions):
    """Functions whose values are NumPy arrays."""

    precision: Precision = None

    def dtype(self, result: SSAValue) -> np.dtype[Any]:
        """What the elements of ``result`` are computed and kept in: inside of one kernel nothing is
        rounded to a short type, a kernel that yields it does."""
        dtype = dtype_in(result.type, self.precision)
        return accumulator_dtype(dtype) if inside(result) else dtype


def inside(result: SSAValue) -> bool:
    """Whether a value is made in a ``kernel.fused``."""
    owner = result.owner
    return isinstance(owner, Operation) and isinstance(owner.parent_op(), kernel.FusedOp)


def dtype_in(kind: Attribute, precision: Precision) -> np.dtype[Any]:
    """The dtype of a tensor's elements, floats in ``precision``."""
    assert isinstance(kind, TensorType | MemRefType)
    if precision is not None and isinstance(kind.element_type, AnyFloat):
        return np.dtype(precision)
    return dtype_of(kind.element_type)


def wide(array: Array) -> Array:
    """Short floats in f32, in which they are added up; anything else as it is."""
    return array.astype(accumulator_dtype(array.dtype), copy=False)


def taken(op: Operation, table: Array, indices: Array, axis: int) -> Array:
    """The slices of ``table`` that ``indices`` name; negative ones count from the end. Raises
    ``KpuError`` at ``op`` for one that is not there."""
    extent = table.shape[axis]
    for one in map(int, (indices.min(), indices.max()) if indices.size else ()):
        if not -extent <= one < extent:
            raise KpuError(f"index {one} into {extent} rows", place_of(op))
    return np.take(table, indices, axis=axis)


def function_named(module: ModuleOp, name: str) -> FuncOp:
    """A function of a module."""
    for op in module.ops:
        if isinstance(op, FuncOp) and op.sym_name.data == name:
            return op
    names = ", ".join(f"@{f.sym_name.data}" for f in module.ops if isinstance(f, FuncOp))
    raise KpuError(f"there is no function @{name}", hint=f"there is {names or 'none'}")


def call(interpreter: Interpreter, function: FuncOp, arguments: Sequence[Array]) -> list[Array]:
    """A function's results. Raises ``KpuError`` with what an operation had to say, or that nothing
    interprets it."""
    try:
        return list(interpreter.call_op(function, tuple(arguments)))
    except (DiagnosticException, InterpretationError) as e:
        raise first_cause(e) from None


def first_cause(error: BaseException) -> BaseException:
    """What went wrong inside xDSL's errors, one around the other for each region."""
    while error.__cause__ is not None:
        error = error.__cause__
    return KpuError(str(error)) if isinstance(error, InterpretationError) else error
