"""Quantized tensors: stored numbers in steps of a scale, around a zero point.

A scale has a dimension for each of its tensor's (leading ones may be missing), which says how many of
them there are along it: 1, one for all; as many as elements, one for each; a divisor of that, one for
each block of neighbours. So one form says per tensor (``1``), per axis (``1x64x1x1``), per row
(``128x1``) and per block along an axis (``16x64`` for ``512x64``).
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    AnyFloat,
    Float8E4M3FNType,
    Float8E4M3FNUZType,
    Float8E5M2FNUZType,
    Float8E5M2Type,
    IntegerType,
    StringAttr,
    TensorType,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    result_def,
)
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.hints import isa

from kpu_ir.dialects.kernel.base import KernelOperation, expect_shape, shape_text, tensor_type

REQUANTIZE = ("f32", "double")
"""How sums become quantized numbers again."""

FLOATS_OF_A_BYTE = (Float8E4M3FNType, Float8E5M2Type, Float8E4M3FNUZType, Float8E5M2FNUZType)


def blocks(shape: Sequence[int], scale: Sequence[int]) -> tuple[int, ...] | None:
    """How many neighbours along each dimension share a scale; None where they do not divide.

    >>> blocks((512, 64), (16, 64))
    (32, 1)
    """
    if len(scale) > len(shape):
        return None
    counts = (1,) * (len(shape) - len(scale)) + tuple(scale)
    if any(n % c if c else n for n, c in zip(shape, counts)):
        return None
    return tuple(n // c if c else 1 for n, c in zip(shape, counts))


def is_stored(kind: Attribute) -> bool:
    """Whether quantized numbers may be stored so: in integers of up to 16 bits, or floats of 8."""
    if isa(kind, IntegerType):
        return 1 < kind.bitwidth <= 16
    return isinstance(kind, FLOATS_OF_A_BYTE)


class QuantizedOperation(KernelOperation):
    """What quantize and dequantize share: a tensor, its scale, its zero point."""

    source = operand_def(TensorType)
    scale = operand_def(TensorType)
    zero = opt_operand_def(TensorType)
    result = result_def(TensorType)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = (
        "$source `scale` $scale (`zero` $zero^)? attr-dict "
        "`:` type($source) `,` type($scale) (`,` type($zero)^)? `->` type($result)"
    )

    def __init__(
        self, source: SSAValue, scale: SSAValue, zero: SSAValue | None, element_type: Attribute
    ) -> None:
        """``source`` with a scale and a zero point, in ``element_type``."""
        shape = tensor_type(source).get_shape()
        super().__init__(
            operands=[source, scale, zero], result_types=[TensorType(element_type, shape)]
        )

    @property
    def blocks(self) -> tuple[int, ...]:
        """How many neighbours along each dimension share a scale."""
        found = blocks(tensor_type(self.source).get_shape(), tensor_type(self.scale).get_shape())
        assert found is not None
        return found

    def verify_parameters(self, stored: Attribute) -> None:
        """The scale is of floats and divides the tensor; the zero point is of the type ``stored``."""
        shape, scale = tensor_type(self.source).get_shape(), tensor_type(self.scale)
        if not isinstance(scale.element_type, AnyFloat):
            raise VerifyException(f"{self.name}: expected a scale of floats, got {scale}")
        if blocks(shape, scale.get_shape()) is None:
            raise VerifyException(
                f"{self.name}: {shape_text(scale.get_shape())} scales do not divide "
                f"{shape_text(shape)} into blocks"
            )
        expect_shape(self, shape, self.result)
        if self.zero is None:
            return
        zero = tensor_type(self.zero)
        if zero.element_type != stored:
            raise VerifyException(
                f"{self.name}: expected a zero point of {stored}, got {zero.element_type}"
            )
        if zero.element_count() != 1 and zero.get_shape() != scale.get_shape():
            raise VerifyException(
                f"{self.name}: expected one zero point, or one for each of "
                f"{shape_text(scale.get_shape())} scales, got {shape_text(zero.get_shape())}"
            )


@irdl_op_definition
class QuantizeOp(QuantizedOperation):
    """``saturate(round(source / scale) + zero)``, as ONNX's ``QuantizeLinear``.

    The source is divided in the scale's type and rounded half to even; then the zero point is added;
    then what lies outside of the result's type becomes its nearest end (a NaN its lowest). Floats of
    8 bits are rounded as they are, and saturate. Without ``zero`` the zero point is 0.

    ``requantize`` says how the sum of a product of integers becomes such numbers, where ``kernel-quantize``
    finds one before it: ``f32``, one product in f32, half to even (the default, onnxruntime's); or
    ``double``, a product and a shift of integers, each rounded (mobile runtimes').

    ```mlir
    %q = kernel.quantize %x scale %s zero %z
      : tensor<4x64xf32>, tensor<1xf32>, tensor<1xi8> -> tensor<4x64xi8>
    %r = kernel.quantize %x scale %rows : tensor<4x64xf32>, tensor<4x1xf32> -> tensor<4x64xi8>
    %d = kernel.quantize %x scale %s {requantize = "double"} : tensor<4x64xf32>, tensor<1xf32> -> tensor<4x64xi8>
    ```
    """

    name = "kernel.quantize"
    requantize = opt_prop_def(StringAttr)

    def verify_kernel(self) -> None:
        """Numbers in, a type of quantized numbers out."""
        kind, stored = tensor_type(self.source).element_type, self.result.type.element_type
        if not isinstance(kind, AnyFloat) and kind != IntegerType(32):
            raise VerifyException(f"{self.name}: expected floats or i32, got {kind}")
        if not is_stored(stored):
            raise VerifyException(
                f"{self.name}: expected integers of 2 to 16 bits or floats of 8, got {stored}"
            )
        mode = self.requantize
        if mode is not None and mode.data not in REQUANTIZE:
            raise VerifyException(
                f"{self.name}: requantize is {' or '.join(REQUANTIZE)}, got {mode.data}"
            )
        self.verify_parameters(stored)


@irdl_op_definition
class DequantizeOp(QuantizedOperation):
    """``(source - zero) scale``, as ONNX's ``DequantizeLinear``: computed in f32, rounded to the result's
    type.

    The difference is exact (i32). An i32 source is a bias in the units of a sum.

    ```mlir
    %x = kernel.dequantize %q scale %s zero %z
      : tensor<4x64xi8>, tensor<1xf32>, tensor<1xi8> -> tensor<4x64xf32>
    %w = kernel.dequantize %p scale %blocks : tensor<512x64xi4>, tensor<16x64xf16> -> tensor<512x64xf16>
    ```
    """

    name = "kernel.dequantize"

    def verify_kernel(self) -> None:
        """A type of quantized numbers in, floats out."""
        stored, kind = tensor_type(self.source).element_type, self.result.type.element_type
        if not is_stored(stored) and stored != IntegerType(32):
            raise VerifyException(
                f"{self.name}: expected integers of 2 to 16 or 32 bits or floats of 8, got {stored}"
            )
        if not isinstance(kind, AnyFloat):
            raise VerifyException(f"{self.name}: expected a result of floats, got {kind}")
        self.verify_parameters(stored)
