"""Kernels that only move data: slices, concatenations, padding, broadcasts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from xdsl.dialects.builtin import DenseArrayBase, FloatAttr, IntegerAttr, TensorType, f64, i64
from xdsl.ir import SSAValue
from xdsl.irdl import (
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    var_operand_def,
)
from xdsl.utils.exceptions import VerifyException

from kpu_ir.dialects.kernel.base import (
    IntegerList,
    KernelOperation,
    broadcast_shapes,
    expect_element_type,
    expect_shape,
    shape_text,
    tensor_type,
)


def numbers(attr: DenseArrayBase) -> tuple[int, ...]:
    """A property of integers."""
    return tuple(int(n) for n in cast(Any, attr).get_values())


@irdl_op_definition
class SliceOp(KernelOperation):
    """A block of a tensor: from ``starts``, every ``steps``-th element, as many as the result has.

    ```mlir
    %y = kernel.slice %x starts [0, 2] steps [1, 3] : tensor<4x16xf32> -> tensor<4x5xf32>
    ```
    """

    name = "kernel.slice"
    source = operand_def(TensorType)
    starts = prop_def(DenseArrayBase)
    steps = prop_def(DenseArrayBase)
    result = result_def(TensorType)
    custom_directives = (IntegerList,)
    assembly_format = (
        "$source `starts` custom<IntegerList>($starts) `steps` custom<IntegerList>($steps) attr-dict "
        "`:` type($source) `->` type($result)"
    )

    def __init__(
        self, source: SSAValue, starts: Sequence[int], steps: Sequence[int], shape: Sequence[int]
    ) -> None:
        """The block of ``shape`` elements that begins at ``starts``."""
        super().__init__(
            operands=[source],
            properties={
                "starts": DenseArrayBase.from_list(i64, list(starts)),
                "steps": DenseArrayBase.from_list(i64, list(steps)),
            },
            result_types=[TensorType(tensor_type(source).element_type, shape)],
        )

    def verify_kernel(self) -> None:
        """Every element of the block is one of the source."""
        shape, out = tensor_type(self.source).get_shape(), self.result.type.get_shape()
        starts, steps = numbers(self.starts), numbers(self.steps)
        if not (len(shape) == len(out) == len(starts) == len(steps)):
            raise VerifyException(f"{self.name}: expected a start and a step for each dimension")
        expect_element_type(self, self.source, self.result)
        for axis, (n, count, start, step) in enumerate(zip(shape, out, starts, steps)):
            last = start + (count - 1) * step
            if count and (step == 0 or not 0 <= start < n or not 0 <= last < n):
                raise VerifyException(
                    f"{self.name}: elements {start} to {last} of dimension {axis} are outside {n}"
                )


@irdl_op_definition
class ConcatOp(KernelOperation):
    """Tensors one behind the other along a dimension.

    ```mlir
    %y = kernel.concat %a, %b {axis = 0 : i64} : (tensor<4x8xf32>, tensor<2x8xf32>) -> tensor<6x8xf32>
    ```
    """

    name = "kernel.concat"
    inputs = var_operand_def(TensorType)
    axis = prop_def(IntegerAttr)
    result = result_def(TensorType)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$inputs attr-dict `:` functional-type($inputs, $result)"

    def __init__(self, inputs: Sequence[SSAValue], axis: int) -> None:
        """``inputs`` along ``axis``."""
        first = tensor_type(inputs[0])
        shape = list(first.get_shape())
        shape[axis] = sum(tensor_type(v).get_shape()[axis] for v in inputs)
        super().__init__(
            operands=[list(inputs)],
            properties={"axis": IntegerAttr(axis, i64)},
            result_types=[TensorType(first.element_type, shape)],
        )

    def verify_kernel(self) -> None:
        """Equal in every other dimension, of one element type."""
        axis = self.axis.value.data
        if not self.inputs:
            raise VerifyException(f"{self.name}: expected at least one tensor")
        shapes = [tensor_type(v).get_shape() for v in self.inputs]
        if not 0 <= axis < len(shapes[0]):
            raise VerifyException(
                f"{self.name}: there is no dimension {axis} in {shape_text(shapes[0])}"
            )
        for value, shape in zip(self.inputs, shapes):
            expect_element_type(self, value, self.result)
            if (*shape[:axis], *shape[axis + 1 :]) != (*shapes[0][:axis], *shapes[0][axis + 1 :]):
                raise VerifyException(
                    f"{self.name}: {shape_text(shape)} does not continue {shape_text(shapes[0])}"
                )
        total = sum(shape[axis] for shape in shapes)
        expect_shape(self, [*shapes[0][:axis], total, *shapes[0][axis + 1 :]], self.result)


@irdl_op_definition
class PadOp(KernelOperation):
    """A tensor with a value around it.

    ```mlir
    %y = kernel.pad %x low [0, 1] high [0, 2] {value = 0.000000e+00 : f64} : tensor<4x8xf32> -> tensor<4x11xf32>
    ```
    """

    name = "kernel.pad"
    source = operand_def(TensorType)
    low = prop_def(DenseArrayBase)
    high = prop_def(DenseArrayBase)
    value = prop_def(FloatAttr)
    result = result_def(TensorType)
    irdl_options = (ParsePropInAttrDict(),)
    custom_directives = (IntegerList,)
    assembly_format = (
        "$source `low` custom<IntegerList>($low) `high` custom<IntegerList>($high) attr-dict "
        "`:` type($source) `->` type($result)"
    )

    def __init__(
        self, source: SSAValue, low: Sequence[int], high: Sequence[int], value: float = 0.0
    ) -> None:
        """``source`` with ``low`` elements before and ``high`` behind each dimension."""
        old = tensor_type(source)
        shape = [a + n + b for a, n, b in zip(low, old.get_shape(), high)]
        super().__init__(
            operands=[source],
            properties={
                "low": DenseArrayBase.from_list(i64, list(low)),
                "high": DenseArrayBase.from_list(i64, list(high)),
                "value": FloatAttr(value, f64),
            },
            result_types=[TensorType(old.element_type, shape)],
        )

    def verify_kernel(self) -> None:
        """Not negative, for each dimension."""
        shape = tensor_type(self.source).get_shape()
        low, high = numbers(self.low), numbers(self.high)
        if len(low) != len(shape) or len(high) != len(shape) or min((*low, *high), default=0) < 0:
            raise VerifyException(
                f"{self.name}: expected a number, not negative, for each of {len(shape)} dimensions"
            )
        expect_element_type(self, self.source, self.result)
        expect_shape(self, [a + n + b for a, n, b in zip(low, shape, high)], self.result)


@irdl_op_definition
class BroadcastOp(KernelOperation):
    """A tensor repeated along the dimensions that it lacks or has once, as NumPy's
    ``broadcast_to``.

    ```mlir
    %y = kernel.broadcast %x : tensor<8xf32> -> tensor<4x8xf32>
    ```
    """

    name = "kernel.broadcast"
    source = operand_def(TensorType)
    result = result_def(TensorType)
    assembly_format = "$source attr-dict `:` type($source) `->` type($result)"

    def __init__(self, source: SSAValue, shape: Sequence[int]) -> None:
        """``source`` as ``shape``."""
        super().__init__(
            operands=[source],
            result_types=[TensorType(tensor_type(source).element_type, shape)],
        )

    def verify_kernel(self) -> None:
        """The shape that NumPy would broadcast to."""
        shape, out = tensor_type(self.source).get_shape(), self.result.type.get_shape()
        if broadcast_shapes(shape, out) != out:
            raise VerifyException(
                f"{self.name}: {shape_text(shape)} does not broadcast to {shape_text(out)}"
            )
        expect_element_type(self, self.source, self.result)
