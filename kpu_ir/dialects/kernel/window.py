"""Kernels that slide a window: convolution and pooling, over the last two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from xdsl.dialects.builtin import (
    AnyFloat,
    DenseArrayBase,
    IntegerAttr,
    IntegerType,
    Signedness,
    StringAttr,
    TensorType,
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
)
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.hints import isa

from kpu_ir.dialects.kernel.base import (
    IntegerList,
    KernelOperation,
    Keyword,
    expect_factors,
    expect_shape,
    expect_sums,
    shape_text,
    tensor_type,
)

POOLINGS = ("max", "add")


def pair(attr: DenseArrayBase) -> tuple[int, int]:
    """A property of two integers."""
    first, second = (int(n) for n in cast(Any, attr).get_values())
    return first, second


def positions(
    extents: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    low: Sequence[int],
    high: Sequence[int],
) -> list[int]:
    """How often a window fits into each padded extent (0 where it does not)."""
    return [
        max(0, (n + a + b - (k - 1) * d - 1) // s + 1)
        for n, k, s, d, a, b in zip(extents, kernel, strides, dilations, low, high)
    ]


class WindowOperation(KernelOperation):
    """What convolution and pooling share: strides, dilations and padding of the window."""

    @property
    def stride_pair(self) -> tuple[int, int]:
        """Steps of the window."""
        return pair(cast(Any, self).strides)

    @property
    def dilation_pair(self) -> tuple[int, int]:
        """Distances of the window's elements."""
        return pair(cast(Any, self).dilations)

    @property
    def low_pair(self) -> tuple[int, int]:
        """Padding before the image."""
        return pair(cast(Any, self).low)

    @property
    def high_pair(self) -> tuple[int, int]:
        """Padding behind the image."""
        return pair(cast(Any, self).high)

    def positions(self, image: Sequence[int], kernel: Sequence[int]) -> list[int]:
        """Rows and columns of the result."""
        return positions(
            image, kernel, self.stride_pair, self.dilation_pair, self.low_pair, self.high_pair
        )

    def verify_window(self) -> None:
        """Pairs; positive strides and dilations; no negative padding."""
        for name in ("strides", "dilations", "low", "high"):
            values: Any = getattr(self, name).get_values()
            least = 1 if name in ("strides", "dilations") else 0
            if len(values) != 2 or min(values) < least:
                raise VerifyException(
                    f"{self.name}: {name} must be two numbers of at least {least}, got {list(values)}"
                )


def two(values: Sequence[int]) -> DenseArrayBase:
    """A property of integers."""
    return DenseArrayBase.from_list(i64, list(values))


@irdl_op_definition
class ConvOp(WindowOperation):
    """A convolution of an image (n x c x h x w) by weights (o x c/groups x kh x kw), as ONNX's
    ``Conv``.

    ``low`` and ``high`` pad the image before and behind each of its two dimensions with zeros, or with
    ``fill``: what 0 is in a quantized image. Types are those of ``kernel.matmul``.

    ```mlir
    %y = kernel.conv %x, %w strides [2, 2] dilations [1, 1] low [1, 1] high [1, 1] {groups = 1 : i64}
      : (tensor<1x3x32x32xf32>, tensor<8x3x3x3xf32>) -> tensor<1x8x16x16xf32>
    %q = kernel.conv %p, %v strides [1, 1] dilations [1, 1] low [1, 1] high [1, 1] {groups = 1 : i64, fill = 128 : i64}
      : (tensor<1x3x32x32xui8>, tensor<8x3x3x3xi8>) -> tensor<1x8x32x32xi32>
    ```
    """

    name = "kernel.conv"
    input = operand_def(TensorType)
    weights = operand_def(TensorType)
    strides = prop_def(DenseArrayBase)
    dilations = prop_def(DenseArrayBase)
    low = prop_def(DenseArrayBase)
    high = prop_def(DenseArrayBase)
    groups = prop_def(IntegerAttr)
    fill = opt_prop_def(IntegerAttr)
    result = result_def(TensorType)
    irdl_options = (ParsePropInAttrDict(),)
    custom_directives = (IntegerList,)
    assembly_format = (
        "$input `,` $weights `strides` custom<IntegerList>($strides) "
        "`dilations` custom<IntegerList>($dilations) `low` custom<IntegerList>($low) "
        "`high` custom<IntegerList>($high) attr-dict `:` functional-type(operands, $result)"
    )

    def __init__(
        self,
        input: SSAValue,
        weights: SSAValue,
        *,
        strides: Sequence[int] = (1, 1),
        dilations: Sequence[int] = (1, 1),
        low: Sequence[int] = (0, 0),
        high: Sequence[int] = (0, 0),
        groups: int = 1,
        fill: int = 0,
        element_type: Attribute | None = None,
    ) -> None:
        """``input`` convolved by ``weights``, in ``element_type`` (default: that of ``input``)."""
        x, w = tensor_type(input), tensor_type(weights)
        image, kernel = x.get_shape()[2:], w.get_shape()[2:]
        out = positions(image, kernel, strides, dilations, low, high)
        shape = [x.get_shape()[0], w.get_shape()[0], *out]
        super().__init__(
            operands=[input, weights],
            properties={
                "strides": two(strides),
                "dilations": two(dilations),
                "low": two(low),
                "high": two(high),
                "groups": IntegerAttr(groups, i64),
                "fill": IntegerAttr(fill, i64) if fill else None,
            },
            result_types=[TensorType(element_type or x.element_type, shape)],
        )

    @property
    def group_count(self) -> int:
        """Into how many groups the channels are divided."""
        return self.groups.value.data

    @property
    def fill_value(self) -> int:
        """What is read around the image."""
        return 0 if self.fill is None else self.fill.value.data

    def of(self, image: SSAValue, weights: SSAValue, **changed: Any) -> ConvOp:
        """The same convolution of other operands, but for what is ``changed``: as the constructor takes
        it."""
        given: dict[str, Any] = {
            "strides": self.stride_pair,
            "dilations": self.dilation_pair,
            "low": self.low_pair,
            "high": self.high_pair,
            "groups": self.group_count,
            "fill": self.fill_value,
            "element_type": self.result.type.element_type,
        }
        return ConvOp(image, weights, **{**given, **changed})

    def verify_kernel(self) -> None:
        """Ranks, channels and positions fit."""
        self.verify_window()
        x, w = tensor_type(self.input).get_shape(), tensor_type(self.weights).get_shape()
        if len(x) != 4 or len(w) != 4:
            raise VerifyException(
                f"{self.name}: expected an image and weights of rank 4, "
                f"got {shape_text(x)} and {shape_text(w)}"
            )
        g = self.group_count
        if g < 1 or x[1] != w[1] * g or w[0] % g:
            raise VerifyException(
                f"{self.name}: {g} groups of {shape_text(w)} do not fit the channels of {shape_text(x)}"
            )
        expect_shape(self, [x[0], w[0], *self.positions(x[2:], w[2:])], self.result)
        expect_factors(self, self.input, self.weights, self.result)
        kinds = [tensor_type(v).element_type for v in self.operands]
        if len({isinstance(kind, AnyFloat) and kind.bitwidth for kind in kinds}) > 1:
            raise VerifyException(f"{self.name}: {kinds[0]} is not convolved by {kinds[1]}")
        self.verify_fill()

    def verify_fill(self) -> None:
        """The image's type has the number around it."""
        kind = tensor_type(self.input).element_type
        if self.fill is None:
            return
        if not isa(kind, IntegerType):
            raise VerifyException(f"{self.name}: an image of {kind} is padded with 0")
        unsigned = kind.signedness.data is Signedness.UNSIGNED
        low = 0 if unsigned else -(1 << kind.bitwidth - 1)
        high = (1 << kind.bitwidth - (not unsigned)) - 1
        if not low <= self.fill_value <= high:
            raise VerifyException(f"{self.name}: {self.fill_value} is no {kind}, to pad with")


@irdl_op_definition
class PoolOp(WindowOperation):
    """The largest element, or the sum, under each position of a window, channel by channel.

    Outside the image it reads what changes nothing: -inf for ``max``, 0 for ``add``. Short types are
    added up in 32 bits, in which the result may leave too.

    ```mlir
    %y = kernel.pool max %x kernel [3, 3] strides [2, 2] dilations [1, 1] low [1, 1] high [1, 1]
      : tensor<1x8x32x32xf32> -> tensor<1x8x16x16xf32>
    ```
    """

    name = "kernel.pool"
    kind = prop_def(StringAttr)
    input = operand_def(TensorType)
    kernel = prop_def(DenseArrayBase)
    strides = prop_def(DenseArrayBase)
    dilations = prop_def(DenseArrayBase)
    low = prop_def(DenseArrayBase)
    high = prop_def(DenseArrayBase)
    result = result_def(TensorType)
    custom_directives = (IntegerList, Keyword)
    assembly_format = (
        "custom<Keyword>($kind) $input `kernel` custom<IntegerList>($kernel) `strides` custom<IntegerList>($strides) "
        "`dilations` custom<IntegerList>($dilations) `low` custom<IntegerList>($low) "
        "`high` custom<IntegerList>($high) attr-dict `:` type($input) `->` type($result)"
    )

    def __init__(
        self,
        kind: str,
        input: SSAValue,
        kernel: Sequence[int],
        *,
        strides: Sequence[int] = (1, 1),
        dilations: Sequence[int] = (1, 1),
        low: Sequence[int] = (0, 0),
        high: Sequence[int] = (0, 0),
        element_type: Attribute | None = None,
    ) -> None:
        """Pool ``input`` (n x c x h x w) by ``max`` or ``add``, in ``element_type`` (default: its
        own)."""
        x = tensor_type(input)
        out = positions(x.get_shape()[2:], kernel, strides, dilations, low, high)
        super().__init__(
            operands=[input],
            properties={
                "kind": StringAttr(kind),
                "kernel": two(kernel),
                "strides": two(strides),
                "dilations": two(dilations),
                "low": two(low),
                "high": two(high),
            },
            result_types=[TensorType(element_type or x.element_type, [*x.get_shape()[:2], *out])],
        )

    @property
    def kernel_pair(self) -> tuple[int, int]:
        """Extents of the window."""
        return pair(self.kernel)

    @property
    def kind_name(self) -> str:
        """``max`` or ``add``."""
        return self.kind.data

    def verify_kernel(self) -> None:
        """A known kind; the positions of the window."""
        self.verify_window()
        if self.kind.data not in POOLINGS:
            raise VerifyException(f"{self.name}: expected max or add, got {self.kind.data}")
        x = tensor_type(self.input).get_shape()
        if len(x) != 4:
            raise VerifyException(f"{self.name}: expected an image of rank 4, got {shape_text(x)}")
        expect_sums(self, self.kind.data, self.input, self.result)
        expect_shape(self, [*x[:2], *self.positions(x[2:], self.kernel_pair)], self.result)
