"""QONNX, which Brevitas and FINN write: ``Quant`` (``IntQuant``) and ``BipolarQuant``.

A ``Quant`` is a number in steps of a scale and back: ``(clip(round(x / scale + zero), low, high) - zero) scale``.
Bit widths that are ours, and those that fit in them, are ``kernel.quantize`` and ``kernel.dequantize``, so that
products are of integers.
"""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np

from kpu_ir.frontends.onnx.elementwise import apply
from kpu_ir.frontends.onnx.node import OPERATORS, Node, Tensor
from kpu_ir.frontends.onnx.quantized import scale_of
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar import formulas, quantization
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array, element_type_of

DOMAINS = ("qonnx.custom_op.general", "finn.custom_op.general", "onnx.brevitas")

ROUNDINGS = {
    "ROUND": formulas.round_half_even,
    "HALF_EVEN": formulas.round_half_even,
    "CEIL": formulas.ceil,
    "FLOOR": formulas.floor,
    "ROUND_TO_ZERO": formulas.trunc,
    "DOWN": formulas.trunc,
}
"""How a quotient becomes a whole number, by QONNX's names."""

STORED = ((4, ml_dtypes.int4, ml_dtypes.uint4), (8, np.int8, np.uint8), (16, np.int16, np.uint16))
"""The types that hold numbers of up to so many bits, with a sign and without."""


def limits(bits: int, signed: bool, narrow: bool) -> tuple[int, int]:
    """The ends of ``bits`` bits; a narrow range is symmetric, or lacks the largest."""
    if signed:
        return narrow - (1 << bits - 1), (1 << bits - 1) - 1
    return 0, (1 << bits) - 1 - narrow


def quant(node: Node) -> Tensor:
    """In steps and back."""
    graph, x = node.graph, node.value(0)
    bits = node.single(3, "bitwidth")
    scale, zero = scale_of(node, 1, positive=True), node.must_be_known(2, "the zero point")
    if not 1 <= bits <= 16:
        raise KpuError(f"numbers of {bits} bits are not supported", hint="1 to 16")
    if not np.array_equal(zero, np.rint(zero)):
        raise KpuError(f"a zero point of {zero.reshape(-1)[0]:g} is no whole number")
    signed, narrow = bool(node.integer("signed", 1)), bool(node.integer("narrow", 0))
    low, high = limits(bits, signed, narrow)
    mode = node.text("rounding_mode", "ROUND").upper()
    if mode not in ROUNDINGS:
        raise KpuError(f"the rounding_mode {mode!r} is not supported")
    if mode not in ("ROUND", "HALF_EVEN") or zero.any():
        return _in_floats(node, scale, zero, low, high, mode)
    _, with_sign, without = next(kind for kind in STORED if bits <= kind[0])
    dtype = np.dtype(with_sign if signed else without)
    if (low, high) != quantization.limits(element_type_of(dtype)):
        x = apply(node, lambda v, s: formulas.clip(v, low * s, high * s), x, scale)
    steps = _ranked(node.placed(scale), len(x.shape))
    stored = graph.quantize(x, steps, dtype=dtype)
    return graph.dequantize(stored, steps, dtype=x.element_type)


def _ranked(scale: Value, rank: int) -> Value:
    """A scale with a dimension for each of the tensor's."""
    if math.prod(scale.shape) == 1:
        return scale.graph.reshape(scale, (1,) * rank)
    return scale.graph.reshape(scale, (*[1] * (rank - len(scale.shape)), *scale.shape))


def _in_floats(node: Node, scale: Tensor, zero: Array, low: int, high: int, mode: str) -> Tensor:
    """As it is written: no type of ours rounds so, or adds a zero point before it rounds."""
    rounded = ROUNDINGS[mode]

    def formula(v: Scalar, s: Any, z: Any) -> Scalar:
        return (formulas.clip(rounded(v / s + z), low, high) - z) * s

    return apply(node, formula, node.value(0), scale, zero.astype(np.float32))


def bipolar(node: Node) -> Tensor:
    """The scale where it is not negative, else minus that."""
    scale = scale_of(node, 1, positive=True)

    def formula(v: Scalar, s: Any) -> Scalar:
        return formulas.where(v >= 0, v.trace.number(1.0, v.kind), -1.0) * s

    return apply(node, formula, node.value(0), scale)


for _domain in DOMAINS:
    OPERATORS[_domain, "Quant"] = OPERATORS[_domain, "IntQuant"] = quant
    OPERATORS[_domain, "BipolarQuant"] = bipolar
