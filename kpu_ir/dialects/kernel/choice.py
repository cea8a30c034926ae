"""Kernels that say where the largest (or smallest) elements stand."""

from __future__ import annotations

from xdsl.dialects.builtin import IntegerAttr, StringAttr, TensorType, UnitAttr, i64
from xdsl.ir import SSAValue
from xdsl.irdl import (
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
)
from xdsl.utils.exceptions import VerifyException

from kpu_ir.dialects.kernel.base import (
    KernelOperation,
    Keyword,
    expect_element_type,
    expect_shape,
    tensor_type,
)
from kpu_ir.dialects.kernel.rows import verify_axes

CHOICES = ("max", "min")


@irdl_op_definition
class ArgReduceOp(KernelOperation):
    """The number (i64) of the largest or smallest element along a dimension, which stays with extent 1.

    Of equal ones the first, with ``last`` the last; a NaN counts as larger and smaller than all.

    ```mlir
    %i = kernel.arg_reduce max %x {axis = 1 : i64} : tensor<4x16xf32> -> tensor<4x1xi64>
    ```
    """

    name = "kernel.arg_reduce"
    kind = prop_def(StringAttr)
    source = operand_def(TensorType)
    axis = prop_def(IntegerAttr)
    last = opt_prop_def(UnitAttr)
    result = result_def(TensorType)
    irdl_options = (ParsePropInAttrDict(),)
    custom_directives = (Keyword,)
    assembly_format = (
        "custom<Keyword>($kind) $source attr-dict `:` type($source) `->` type($result)"
    )

    def __init__(self, kind: str, source: SSAValue, axis: int, last: bool = False) -> None:
        """Where the ``kind`` of ``source`` along ``axis`` stands."""
        shape = [1 if a == axis else n for a, n in enumerate(tensor_type(source).get_shape())]
        super().__init__(
            operands=[source],
            properties={
                "kind": StringAttr(kind),
                "axis": IntegerAttr(axis, i64),
                "last": UnitAttr() if last else None,
            },
            result_types=[TensorType(i64, shape)],
        )

    @property
    def kind_name(self) -> str:
        """``max`` or ``min``."""
        return self.kind.data

    @property
    def dimension(self) -> int:
        """The axis."""
        return self.axis.value.data

    def verify_kernel(self) -> None:
        """A known kind, a dimension with elements, i64."""
        if self.kind.data not in CHOICES:
            raise VerifyException(f"{self.name}: expected max or min, got {self.kind.data}")
        shape, axis = tensor_type(self.source).get_shape(), self.dimension
        verify_axes(self, [axis], len(shape))
        if not shape[axis]:
            raise VerifyException(f"{self.name}: dimension {axis} has no elements")
        if self.result.type.element_type != i64:
            raise VerifyException(
                f"{self.name}: expected a result of i64, got {self.result.type.element_type}"
            )
        expect_shape(self, [1 if a == axis else n for a, n in enumerate(shape)], self.result)


@irdl_op_definition
class TopKOp(KernelOperation):
    """The ``k`` largest elements along a dimension, in falling order, and their numbers (i64).

    With ``smallest`` the smallest, in rising order. Of equal ones the first comes first. Not for NaNs.

    ```mlir
    %v, %i = kernel.top_k %x {k = 3 : i64, axis = 1 : i64}
      : tensor<4x16xf32> -> tensor<4x3xf32>, tensor<4x3xi64>
    ```
    """

    name = "kernel.top_k"
    source = operand_def(TensorType)
    k = prop_def(IntegerAttr)
    axis = prop_def(IntegerAttr)
    smallest = opt_prop_def(UnitAttr)
    chosen = result_def(TensorType)
    indices = result_def(TensorType)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$source attr-dict `:` type($source) `->` type($chosen) `,` type($indices)"

    def __init__(self, source: SSAValue, k: int, axis: int, smallest: bool = False) -> None:
        """The ``k`` first of ``source`` along ``axis``."""
        old = tensor_type(source)
        shape = [k if a == axis else n for a, n in enumerate(old.get_shape())]
        super().__init__(
            operands=[source],
            properties={
                "k": IntegerAttr(k, i64),
                "axis": IntegerAttr(axis, i64),
                "smallest": UnitAttr() if smallest else None,
            },
            result_types=[TensorType(old.element_type, shape), TensorType(i64, shape)],
        )

    @property
    def count(self) -> int:
        """How many."""
        return self.k.value.data

    @property
    def dimension(self) -> int:
        """The axis."""
        return self.axis.value.data

    def verify_kernel(self) -> None:
        """No more than there are; the types of both results."""
        shape, axis = tensor_type(self.source).get_shape(), self.dimension
        verify_axes(self, [axis], len(shape))
        if not 1 <= self.count <= shape[axis]:
            raise VerifyException(
                f"{self.name}: expected 1 to {shape[axis]} elements of dimension {axis}, "
                f"got k = {self.count}"
            )
        expect_element_type(self, self.source, self.chosen)
        if self.indices.type.element_type != i64:
            raise VerifyException(
                f"{self.name}: expected indices of i64, got {self.indices.type.element_type}"
            )
        for result in (self.chosen, self.indices):
            expect_shape(
                self, [self.count if a == axis else n for a, n in enumerate(shape)], result
            )
