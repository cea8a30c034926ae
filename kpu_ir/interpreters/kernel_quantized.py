"""The meaning of quantized tensors, in NumPy: ONNX's formulas as they are written there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.interpreter import Interpreter, PythonValues, impl, register_impls

from kpu_ir.dialects import kernel
from kpu_ir.interpreters.base import ArrayFunctions
from kpu_ir.scalar.quantization import limits
from kpu_ir.support.types import Array, dtype_of


def spread(parameter: Array, shape: tuple[int, ...]) -> Array:
    """A scale or a zero point for each element: each is repeated for the neighbours that share it."""
    if parameter.size == 1:
        return parameter.reshape((1,) * len(shape))
    parameter = parameter.reshape((1,) * (len(shape) - parameter.ndim) + parameter.shape)
    for axis, (n, count) in enumerate(zip(shape, parameter.shape)):
        if count not in (1, n):
            parameter = np.repeat(parameter, n // count, axis)
    return parameter


@register_impls
@dataclass
class QuantizedFunctions(ArrayFunctions):
    """Quantize and dequantize."""

    @impl(kernel.QuantizeOp)
    def quantize(
        self, interpreter: Interpreter, op: kernel.QuantizeOp, args: PythonValues
    ) -> PythonValues:
        """Divide in the scale's type, round, add the zero point, saturate."""
        x, scale, *zero = args
        kind = op.result.type.element_type
        dtype, (low, high) = dtype_of(kind), limits(kind)
        scale = spread(scale, x.shape)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            quotient = (x.astype(scale.dtype) / scale).astype(np.float64)
            whole = not dtype.name.startswith("float")
            quotient = np.rint(quotient) if whole else quotient
            for z in zero:
                quotient = quotient + spread(z, x.shape).astype(np.float64)
            quotient = np.where(np.isnan(quotient), low, quotient) if whole else quotient
        return (np.clip(quotient, low, high).astype(np.float32).astype(dtype),)

    @impl(kernel.DequantizeOp)
    def dequantize(
        self, interpreter: Interpreter, op: kernel.DequantizeOp, args: PythonValues
    ) -> PythonValues:
        """Subtract the zero point, multiply in f32 (in f64 where all floats are)."""
        x, scale, *zero = args
        wide = np.float32 if self.precision is None else self.precision
        whole = x if not zero else x.astype(np.int32) - spread(zero[0], x.shape).astype(np.int32)
        result = whole.astype(wide) * spread(scale, x.shape).astype(wide)
        return (result.astype(self.dtype(op.result), copy=False),)
