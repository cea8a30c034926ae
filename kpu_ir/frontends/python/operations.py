"""What every network is made of: constants, formulas, products, shapes."""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import AnyFloat, IntegerType, f32, i32
from xdsl.ir import Attribute, Operation
from xdsl.utils.hints import isa

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import broadcast_shapes, shape_text
from kpu_ir.frontends.python.calls import for_people, shown
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar.tracing import Scalar, signature_of, trace
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import (
    Array,
    bits_of,
    dense_of,
    dtype_of,
    element_type_named,
    element_type_of,
)


@for_people
class Operations(ABC):
    """Methods of ``Graph``: constants, formulas of each element, matrix products, shapes, indices."""

    @abstractmethod
    def insert(self, op: Operation) -> Value:
        """Append an operation; its first result."""

    def _checked(self, make: Callable[[], Operation]) -> Value:
        """Insert an operation, its verifier's words as a ``KpuError``."""
        from xdsl.utils.exceptions import VerifyException

        try:
            op = make()
            op.verify()
        except (VerifyException, ValueError) as e:
            raise KpuError(str(e)) from None
        except IndexError:
            raise KpuError("the ranks of its operands do not fit") from None
        return self.insert(op)

    def value(self, value: Any, element_type: Attribute) -> Value:
        """A value of this graph: itself, or a constant that takes ``element_type`` if it may."""
        if isinstance(value, Value):
            if not value.belongs_to(self):
                raise KpuError(f"{value!r} belongs to another graph")
            return value
        array = _array(value)
        wanted = dtype_of(element_type)
        plain = not isinstance(value, np.ndarray) or array.dtype.name in ("float64", "int64")
        if array.dtype != wanted and plain and _may_become(array, wanted):
            array = array.astype(wanted)
        return self.constant(array)

    def constant(self, value: Any, dtype: Any = None) -> Value:
        """A tensor that is known now; Python's floats become f32."""
        array = _array(value)
        if dtype is None and not isinstance(value, np.ndarray | np.generic):
            dtype = {"f": "f32", "i": "i64"}.get(array.dtype.kind)
        if dtype is not None:
            array = array.astype(dtype_of(element_type_named(dtype)))
        element_type_of(array.dtype)
        return self.insert(kernel.ConstantOp(dense_of(array)))

    def map(self, formula: Callable[..., Any], *operands: Any) -> Value:
        """``formula`` of each element; operands broadcast. Numbers become part of the formula."""
        tensors = [v for v in operands if isinstance(v, Value)]
        if not tensors:
            raise KpuError("map needs at least one value of the graph")
        kind = tensors[0].element_type
        given = [v if isinstance(v, bool | int | float) else self.value(v, kind) for v in operands]
        values = [v for v in given if isinstance(v, Value)]
        if broadcast_shapes(*(v.shape for v in values)) is None:
            raise KpuError(
                f"shapes do not broadcast: {', '.join(shape_text(v.shape) for v in values)}"
            )

        @functools.wraps(formula)
        def with_numbers(*scalars: Scalar) -> Any:
            rest = iter(scalars)
            return formula(*(next(rest) if isinstance(v, Value) else v for v in given))

        written = formula if len(values) == len(given) else with_numbers
        _check_count(formula, len(operands))
        body, element_type = trace(written, [v.element_type for v in values])
        return self.insert(kernel.MapOp([v.ssa for v in values], body, element_type))

    def cast(self, value: Value, dtype: Any) -> Value:
        """In another element type."""
        kind = element_type_named(dtype)
        return (
            value
            if kind == value.element_type
            else self.map(functools.partial(Scalar.to, kind=kind), value)
        )

    def matmul(
        self,
        a: Value,
        b: Any,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        dtype: Any = None,
    ) -> Value:
        """NumPy's matrix product, vectors included; ``dtype`` is the accumulator's, if another (integers
        of two types add up in i32)."""
        b = self.value(b, a.element_type)
        if a.element_type != b.element_type:
            usual = _sums_of(a.element_type, b.element_type)
            if usual is None:
                kinds = f"{a.element_type} and {b.element_type}"
                raise KpuError(f"matmul of {kinds}: convert one of them")
            dtype = usual if dtype is None else dtype
        x, y = (
            self.reshape(a, (1, *a.shape)) if len(a.shape) == 1 else a,
            self.reshape(b, (*b.shape, 1)) if len(b.shape) == 1 else b,
        )
        shape = kernel.matmul_shape(x.shape, y.shape, transpose_a, transpose_b)
        if shape is None:
            raise KpuError(
                f"no matrix product of shapes {shape_text(a.shape)} and {shape_text(b.shape)}"
                + " (a transposed)" * transpose_a
                + " (b transposed)" * transpose_b
            )
        result = self.insert(
            kernel.MatmulOp(
                x.ssa,
                y.ssa,
                transpose_a=transpose_a,
                transpose_b=transpose_b,
                element_type=None if dtype is None else element_type_named(dtype),
            )
        )
        kept = shape[:-2] + shape[-2:-1] * (len(a.shape) > 1) + shape[-1:] * (len(b.shape) > 1)
        return result if kept == shape else self.reshape(result, kept)

    def reshape(self, value: Value, shape: Sequence[int]) -> Value:
        """In another shape; one extent may be -1, for what is left."""
        wanted, count = list(shape), math.prod(value.shape)
        known = math.prod(n for n in wanted if n != -1)
        if wanted.count(-1) == 1 and known and count % known == 0:
            wanted[wanted.index(-1)] = count // known
        if any(n < 0 for n in wanted) or math.prod(wanted) != count:
            raise KpuError(f"cannot reshape {shape_text(value.shape)} to {tuple(shape)}")
        return self.insert(kernel.ReshapeOp(value.ssa, wanted))

    def transpose(self, value: Value, axes: Sequence[int] | None = None) -> Value:
        """Dimensions in the order of ``axes``, or reversed."""
        rank = len(value.shape)
        wanted = list(range(rank))[::-1] if axes is None else [a + rank * (a < 0) for a in axes]
        if sorted(wanted) != list(range(rank)):
            raise KpuError(
                f"{tuple(axes or ())} is not an order of the {rank} dimensions of {value!r}"
            )
        return self.insert(kernel.TransposeOp(value.ssa, wanted))


def _sums_of(a: Attribute, b: Attribute) -> Attribute | None:
    """What products of two types add up in: i32 of short integers, the float of a float by weights of
    up to 8 bits, the wider of two floats; None where that is no product."""
    floats = [kind for kind in (a, b) if isinstance(kind, AnyFloat)]
    short = [kind for kind in (a, b) if isa(kind, IntegerType) and kind.bitwidth > 1]
    if len(floats) == 2 and max(map(bits_of, floats)) == 8:
        return f32
    if len({bits_of(kind) for kind in floats}) == 2:
        return max(floats, key=bits_of)
    if len(floats) == len(short) == 1 and bits_of(short[0]) <= 8:
        return floats[0]
    return i32 if len(short) == 2 and max(map(bits_of, short)) <= 16 else None


def _array(value: Any) -> Array:
    """Numbers as an array. Raises ``KpuError`` for what has none."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as e:
        raise KpuError(f"{shown(value)} is no array: {e}") from None
    if array.dtype.kind in "OSUmM" or array.dtype.fields:
        raise KpuError(f"expected a value, an array or a number, got {shown(value)}")
    return array


def _check_count(formula: Callable[..., Any], count: int) -> None:
    """Raise ``KpuError`` for a formula that does not take so many operands."""
    signature = signature_of(formula)
    if signature is None:
        return
    try:
        signature.bind(*[None] * count)
    except TypeError as e:
        raise KpuError(f"map: the formula does not take {count} operands: {e}") from None


def _may_become(array: Array, wanted: np.dtype[Any]) -> bool:
    """Whether numbers typed by a user mean the same in another dtype: 2 may be 2.0, 2.5 not 2."""
    if array.dtype.kind not in "fiub":
        return False
    if np.isfinite(array).all() and np.array_equal(array, array.astype(np.int64)):
        return wanted.kind != "b" or array.dtype.kind == "b"
    return "float" in wanted.name
