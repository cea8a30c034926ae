"""Kernels along dimensions: reductions, softmax, normalizations, rows by index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from xdsl.dialects.builtin import (
    DenseArrayBase,
    FloatAttr,
    IntegerAttr,
    IntegerType,
    StringAttr,
    TensorType,
    UnitAttr,
    f64,
    i64,
)
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    result_def,
    var_operand_def,
)
from xdsl.utils.exceptions import VerifyException

from kpu_ir.dialects.kernel.base import (
    IntegerList,
    KernelOperation,
    Keyword,
    broadcast_shapes,
    expect_element_type,
    expect_shape,
    expect_sums,
    shape_text,
    tensor_type,
)

REDUCTIONS = ("add", "max", "min", "mul")


def axes_of(attr: DenseArrayBase) -> tuple[int, ...]:
    """A property of dimensions."""
    return tuple(int(n) for n in cast(Any, attr).get_values())


def verify_axes(op: KernelOperation, axes: Sequence[int], rank: int) -> None:
    """Distinct dimensions of the operand, rising."""
    if list(axes) != sorted(set(axes)) or any(not 0 <= a < rank for a in axes):
        raise VerifyException(
            f"{op.name}: axes must be distinct, rising and from 0 to {rank - 1}, got {list(axes)}"
        )


@irdl_op_definition
class ReduceOp(KernelOperation):
    """Elements combined along dimensions, which stay with extent 1. ``kind``: add, max, min, mul.

    Short types are added and multiplied in 32 bits, in which the result may leave too.

    ```mlir
    %m = kernel.reduce max %x axes [1] : tensor<4x16xf32> -> tensor<4x1xf32>
    %s = kernel.reduce add %h axes [1] : tensor<4x16xf16> -> tensor<4x1xf32>
    ```
    """

    name = "kernel.reduce"
    kind = prop_def(StringAttr)
    source = operand_def(TensorType)
    axes = prop_def(DenseArrayBase)
    result = result_def(TensorType)
    custom_directives = (IntegerList, Keyword)
    assembly_format = (
        "custom<Keyword>($kind) $source `axes` custom<IntegerList>($axes) attr-dict "
        "`:` type($source) `->` type($result)"
    )

    def __init__(
        self,
        kind: str,
        source: SSAValue,
        axes: Sequence[int],
        element_type: Attribute | None = None,
    ) -> None:
        """``source`` combined by ``kind`` along ``axes``, in ``element_type`` (default: its own)."""
        old = tensor_type(source)
        shape = [1 if axis in axes else n for axis, n in enumerate(old.get_shape())]
        super().__init__(
            operands=[source],
            properties={
                "kind": StringAttr(kind),
                "axes": DenseArrayBase.from_list(i64, sorted(axes)),
            },
            result_types=[TensorType(element_type or old.element_type, shape)],
        )

    @property
    def kind_name(self) -> str:
        """``add``, ``max``, ``min`` or ``mul``."""
        return self.kind.data

    @property
    def axes_list(self) -> tuple[int, ...]:
        """The dimensions."""
        return axes_of(self.axes)

    def verify_kernel(self) -> None:
        """A known kind; the reduced dimensions have extent 1."""
        if self.kind.data not in REDUCTIONS:
            raise VerifyException(
                f"{self.name}: expected one of {', '.join(REDUCTIONS)}, got {self.kind.data}"
            )
        shape = tensor_type(self.source).get_shape()
        verify_axes(self, self.axes_list, len(shape))
        expect_sums(self, self.kind.data, self.source, self.result)
        reduced = [1 if axis in self.axes_list else n for axis, n in enumerate(shape)]
        expect_shape(self, reduced, self.result)


SCANS = ("add", "mul")


@irdl_op_definition
class ScanOp(KernelOperation):
    """Each element combined with those before it along a dimension: cumulative sums (``add``) and
    products (``mul``).

    ``backward``: with those behind it; ``exclusive``: without itself. Short floats are combined in
    f32 and rounded once.

    ```mlir
    %s = kernel.scan add %x {axis = 1 : i64, backward, exclusive} : tensor<4x16xf32> -> tensor<4x16xf32>
    ```
    """

    name = "kernel.scan"
    kind = prop_def(StringAttr)
    source = operand_def(TensorType)
    axis = prop_def(IntegerAttr)
    backward = opt_prop_def(UnitAttr)
    exclusive = opt_prop_def(UnitAttr)
    result = result_def(TensorType)
    irdl_options = (ParsePropInAttrDict(),)
    custom_directives = (Keyword,)
    assembly_format = (
        "custom<Keyword>($kind) $source attr-dict `:` type($source) `->` type($result)"
    )

    def __init__(
        self,
        kind: str,
        source: SSAValue,
        axis: int,
        backward: bool = False,
        exclusive: bool = False,
    ) -> None:
        """The scan of ``source`` along ``axis``."""
        super().__init__(
            operands=[source],
            properties={
                "kind": StringAttr(kind),
                "axis": IntegerAttr(axis, i64),
                "backward": UnitAttr() if backward else None,
                "exclusive": UnitAttr() if exclusive else None,
            },
            result_types=[source.type],
        )

    @property
    def kind_name(self) -> str:
        """``add`` or ``mul``."""
        return self.kind.data

    @property
    def dimension(self) -> int:
        """The axis."""
        return self.axis.value.data

    def verify_kernel(self) -> None:
        """A known kind, a dimension of the operand; the same type."""
        if self.kind.data not in SCANS:
            raise VerifyException(f"{self.name}: expected add or mul, got {self.kind.data}")
        shape = tensor_type(self.source).get_shape()
        verify_axes(self, [self.dimension], len(shape))
        expect_element_type(self, self.source, self.result)
        expect_shape(self, shape, self.result)


@irdl_op_definition
class SoftmaxOp(KernelOperation):
    """``exp(x) / sum(exp(x))`` along one dimension, in the stable form; with ``log`` its logarithm.

    A row of -inf alone has no softmax and gives NaN; with ``zero_if_empty`` zeros (a query of an
    attention that sees no key).

    ```mlir
    %p = kernel.softmax %x {axis = 1 : i64} : tensor<4x16xf32> -> tensor<4x16xf32>
    ```
    """

    name = "kernel.softmax"
    source = operand_def(TensorType)
    axis = prop_def(IntegerAttr)
    log = opt_prop_def(UnitAttr)
    zero_if_empty = opt_prop_def(UnitAttr)
    result = result_def(TensorType)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$source attr-dict `:` type($source) `->` type($result)"

    def __init__(
        self, source: SSAValue, axis: int, log: bool = False, zero_if_empty: bool = False
    ) -> None:
        """Softmax of ``source`` along ``axis``."""
        super().__init__(
            operands=[source],
            properties={
                "axis": IntegerAttr(axis, i64),
                "log": UnitAttr() if log else None,
                "zero_if_empty": UnitAttr() if zero_if_empty else None,
            },
            result_types=[source.type],
        )

    def verify_kernel(self) -> None:
        """A dimension of the operand; the same type."""
        shape = tensor_type(self.source).get_shape()
        verify_axes(self, [self.axis.value.data], len(shape))
        if self.log and self.zero_if_empty:
            raise VerifyException(f"{self.name}: the logarithm of an empty row is not 0")
        expect_element_type(self, self.source, self.result)
        expect_shape(self, shape, self.result)


@irdl_op_definition
class NormalizeOp(KernelOperation):
    """``(x - mean) / sqrt(variance + epsilon)`` along dimensions, then a scale and a shift that
    broadcast.

    Without ``center``: ``x / sqrt(mean of squares + epsilon)`` (RMS).

    ```mlir
    %y = kernel.normalize %x, %scale, %shift axes [1] {center, epsilon = 1.000000e-05 : f64}
      : (tensor<4x16xf32>, tensor<16xf32>, tensor<16xf32>) -> tensor<4x16xf32>
    ```
    """

    name = "kernel.normalize"
    inputs = var_operand_def(TensorType)
    axes = prop_def(DenseArrayBase)
    epsilon = prop_def(FloatAttr)
    center = opt_prop_def(UnitAttr)
    result = result_def(TensorType)
    irdl_options = (ParsePropInAttrDict(),)
    custom_directives = (IntegerList,)
    assembly_format = (
        "$inputs `axes` custom<IntegerList>($axes) attr-dict `:` functional-type($inputs, $result)"
    )

    def __init__(
        self,
        source: SSAValue,
        affine: Sequence[SSAValue],
        axes: Sequence[int],
        epsilon: float,
        center: bool = True,
    ) -> None:
        """``source`` normalized along ``axes``; ``affine`` is nothing, a scale, or a scale and a
        shift."""
        super().__init__(
            operands=[[source, *affine]],
            properties={
                "axes": DenseArrayBase.from_list(i64, sorted(axes)),
                "epsilon": FloatAttr(epsilon, f64),
                "center": UnitAttr() if center else None,
            },
            result_types=[source.type],
        )

    @property
    def axes_list(self) -> tuple[int, ...]:
        """The dimensions."""
        return axes_of(self.axes)

    def verify_kernel(self) -> None:
        """One to three operands that broadcast to the first."""
        if not 1 <= len(self.inputs) <= 3:
            raise VerifyException(f"{self.name}: expected a tensor, a scale and a shift at most")
        shape = tensor_type(self.inputs[0]).get_shape()
        verify_axes(self, self.axes_list, len(shape))
        for value in self.inputs[1:]:
            other = tensor_type(value).get_shape()
            if broadcast_shapes(shape, other) != shape:
                raise VerifyException(
                    f"{self.name}: {shape_text(other)} does not broadcast to {shape_text(shape)}"
                )
        expect_element_type(self, self.inputs[0], self.result)
        expect_shape(self, shape, self.result)


@irdl_op_definition
class GatherOp(KernelOperation):
    """Slices of a tensor along one dimension, by index, as ONNX's ``Gather``.

    ```mlir
    %e = kernel.gather %table, %ids {axis = 0 : i64} : (tensor<100x16xf32>, tensor<4xi64>) -> tensor<4x16xf32>
    ```
    """

    name = "kernel.gather"
    table = operand_def(TensorType)
    indices = operand_def(TensorType)
    axis = prop_def(IntegerAttr)
    result = result_def(TensorType)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$table `,` $indices attr-dict `:` functional-type(operands, $result)"

    def __init__(self, table: SSAValue, indices: SSAValue, axis: int = 0) -> None:
        """The slices of ``table`` that ``indices`` name."""
        t, i = tensor_type(table), tensor_type(indices)
        shape = [*t.get_shape()[:axis], *i.get_shape(), *t.get_shape()[axis + 1 :]]
        super().__init__(
            operands=[table, indices],
            properties={"axis": IntegerAttr(axis, i64)},
            result_types=[TensorType(t.element_type, shape)],
        )

    def verify_kernel(self) -> None:
        """Integer indices; the table's shape with one dimension replaced by theirs."""
        t, i = tensor_type(self.table), tensor_type(self.indices)
        axis = self.axis.value.data
        verify_axes(self, [axis], len(t.get_shape()))
        if not isinstance(i.element_type, IntegerType):
            raise VerifyException(f"{self.name}: expected integer indices, got {i.element_type}")
        expect_element_type(self, self.table, self.result)
        shape = [*t.get_shape()[:axis], *i.get_shape(), *t.get_shape()[axis + 1 :]]
        expect_shape(self, shape, self.result)
