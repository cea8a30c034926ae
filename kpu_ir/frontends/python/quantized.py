"""Quantized tensors, for ``Graph``."""

from __future__ import annotations

from typing import Any

import numpy as np
from xdsl.ir import Attribute

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import shape_text
from kpu_ir.frontends.python.calls import for_people
from kpu_ir.frontends.python.operations import Operations
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar.quantization import limits
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import dtype_of, element_type_named, element_type_of


@for_people
class Quantized(Operations):
    """Methods of ``Graph``: numbers in steps of a scale around a zero point.

    ``scale`` and ``zero`` are numbers, arrays or values: one; or, along ``axis``, one for each element,
    or one for each block of neighbours. Without ``axis`` their shape says which, dimension by
    dimension (``kpu_ir.dialects.kernel.quantized``).
    """

    def quantize(
        self, x: Value, scale: Any, zero: Any = None, dtype: Any = None, axis: int | None = None
    ) -> Value:
        """``saturate(round(x / scale) + zero)`` in ``dtype`` (default: that of ``zero``, else i8)."""
        given = zero.dtype if isinstance(zero, Value | np.ndarray | np.generic) else "i8"
        kind = element_type_named(given if dtype is None else dtype)
        scale, zero = self._parameters(x, scale, zero, kind, axis)
        return self._checked(
            lambda: kernel.QuantizeOp(x.ssa, scale.ssa, None if zero is None else zero.ssa, kind)
        )

    def dequantize(
        self, x: Value, scale: Any, zero: Any = None, dtype: Any = None, axis: int | None = None
    ) -> Value:
        """``(x - zero) scale`` in ``dtype`` (default: that of ``scale``)."""
        scale, zero = self._parameters(x, scale, zero, x.element_type, axis)
        kind = scale.element_type if dtype is None else element_type_named(dtype)
        return self._checked(
            lambda: kernel.DequantizeOp(x.ssa, scale.ssa, None if zero is None else zero.ssa, kind)
        )

    def _parameters(
        self, x: Value, scale: Any, zero: Any, kind: Attribute, axis: int | None
    ) -> tuple[Value, Value | None]:
        f32 = element_type_of(np.dtype(np.float32))
        of_scale = self._along(x, self.value(scale, f32), axis)
        if zero is None:
            return of_scale, None
        if not isinstance(zero, Value):
            low, high = limits(kind)
            numbers = np.asarray(zero)
            if numbers.size and not (numbers.min() >= low and numbers.max() <= high):
                raise KpuError(f"a zero point of {kind} is from {low:g} to {high:g}, got {zero}")
            stored = numbers.astype(dtype_of(kind))
            if (stored.astype(np.float64) != numbers).any():
                raise KpuError(f"a zero point of {kind} is one of its numbers, got {zero}")
            zero = self.constant(stored)
        return of_scale, self._along(x, zero, axis)

    def _along(self, x: Value, parameter: Value, axis: int | None) -> Value:
        """A list along a dimension, in a shape that says so."""
        if axis is None or len(parameter.shape) != 1 or parameter.shape == (1,):
            return parameter
        rank = len(x.shape)
        if not -rank <= axis < rank:
            raise KpuError(f"axis {axis} is outside of {shape_text(x.shape)}")
        return self.reshape(parameter, [-1 if a == axis % rank else 1 for a in range(rank)])
