"""Constants, products, maps and fused kernels of the ``kernel`` level, which the package's docstring
describes."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    AnyFloat,
    DenseArrayBase,
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    IntegerType,
    TensorType,
    UnitAttr,
    i64,
)
from xdsl.ir import Attribute, Block, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
    var_result_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import ConstantLike, IsolatedFromAbove, IsTerminator, Pure
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.hints import isa

from kpu_ir.dialects.kernel.base import (
    IntegerList,
    KernelOperation,
    broadcast_shapes,
    expect_element_type,
    expect_factors,
    expect_shape,
    scalar_type,
    shape_text,
    tensor_type,
)


@irdl_op_definition
class YieldOp(IRDLOperation):
    """The results of a region: a scalar's of a ``kernel.map``, tensors' of a ``kernel.fused``.

    ```mlir
    kernel.yield %r : f32
    ```
    """

    name = "kernel.yield"
    values = var_operand_def()
    traits = traits_def(IsTerminator(), Pure())
    assembly_format = "attr-dict ($values^ `:` type($values))?"

    def __init__(self, *values: SSAValue) -> None:
        """Yield ``values``."""
        super().__init__(operands=[values])


WEIGHTS = "kpu.weights"
"""The attribute of a kernel's function that says which of its arguments are constants that nobody else
reads, in every call: their layout in memory is free."""


@irdl_op_definition
class ConstantOp(KernelOperation):
    """Weights and other known tensors.

    ``dense_resource<elided>`` stands for values that were not printed.

    ```mlir
    %w = kernel.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
    %v = kernel.constant dense_resource<elided> : tensor<768x3072xf32>
    ```
    """

    name = "kernel.constant"
    value = prop_def(DenseIntOrFPElementsAttr | DenseResourceAttr)
    result = result_def(TensorType)
    traits = traits_def(ConstantLike())

    def __init__(self, value: DenseIntOrFPElementsAttr | DenseResourceAttr) -> None:
        """The tensor that ``value`` describes."""
        super().__init__(properties={"value": value}, result_types=[value.get_type()])

    @classmethod
    def parse(cls, parser: Parser) -> ConstantOp:
        """``dense<...> : type``."""
        attributes = parser.parse_optional_attr_dict()
        value = parser.parse_attribute()
        if not isa(value, DenseIntOrFPElementsAttr | DenseResourceAttr):
            parser.raise_error("kernel.constant expects dense<...> or dense_resource<...>")
        op = cls(value)
        op.attributes |= attributes
        return op

    def print(self, printer: Printer) -> None:
        """``dense<...> : type``."""
        printer.print_op_attributes(self.attributes)
        printer.print_string(" ")
        printer.print_attribute(self.value)

    def verify_kernel(self) -> None:
        """The value's type is the result's."""
        expected, got = self.value.get_type(), self.result.type
        if expected != got:
            raise VerifyException(f"{self.name}: expected a result of type {expected}, got {got}")
        if isinstance(self.value, DenseIntOrFPElementsAttr):
            count = self.result.type.element_count()
            if len(self.value) != count:
                raise VerifyException(
                    f"{self.name}: expected {count} values for {got}, got {len(self.value)}"
                )


def matmul_shape(
    a: Sequence[int], b: Sequence[int], transpose_a: bool, transpose_b: bool
) -> tuple[int, ...] | None:
    """The shape of a product of operands of rank >= 2, or None if they do not fit."""
    if len(a) < 2 or len(b) < 2:
        return None
    m, k = (a[-1], a[-2]) if transpose_a else (a[-2], a[-1])
    k2, n = (b[-1], b[-2]) if transpose_b else (b[-2], b[-1])
    batch = broadcast_shapes(a[:-2], b[:-2])
    return None if batch is None or k != k2 else (*batch, m, n)


@irdl_op_definition
class MatmulOp(KernelOperation):
    """A matrix product as NumPy's ``matmul``: ranks of 2 or more, batch dimensions broadcast.

    ``transpose_a`` and ``transpose_b`` say that an operand's last two dimensions are stored the
    other way round. The result's element type is the accumulator's: f16 and bf16 give themselves or
    f32, i8 gives i32. Integers of different signs and widths (ui8 by i8, i8 by i4) give i32. Floats by integers of
    up to 8 bits (weights) and floats of two widths (f32 by f16: caches) give floats: the shorter operand is widened
    where it enters the array, which is exact.

    ```mlir
    %c = kernel.matmul %a, %b : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf32>
    %d = kernel.matmul %q, %k {transpose_b}
      : (tensor<12x64x32xbf16>, tensor<1x64x32xbf16>) -> tensor<12x64x64xf32>
    %e = kernel.matmul %x, %h {transpose_b}
      : (tensor<12x1x32xf32>, tensor<12x64x32xf16>) -> tensor<12x1x64xf32>
    ```
    """

    name = "kernel.matmul"
    a = operand_def(TensorType)
    b = operand_def(TensorType)
    transpose_a = opt_prop_def(UnitAttr)
    transpose_b = opt_prop_def(UnitAttr)
    result = result_def(TensorType)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$a `,` $b attr-dict `:` functional-type(operands, $result)"

    def __init__(
        self,
        a: SSAValue,
        b: SSAValue,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        element_type: Attribute | None = None,
    ) -> None:
        """``a @ b``, in ``element_type`` (default: that of ``a``)."""
        left, right = tensor_type(a), tensor_type(b)
        shape = matmul_shape(left.get_shape(), right.get_shape(), transpose_a, transpose_b)
        if shape is None:
            raise ValueError(f"{left} and {right} have no matrix product")
        super().__init__(
            operands=[a, b],
            properties={
                "transpose_a": UnitAttr() if transpose_a else None,
                "transpose_b": UnitAttr() if transpose_b else None,
            },
            result_types=[TensorType(element_type or left.element_type, shape)],
        )

    def verify_kernel(self) -> None:
        """Ranks, inner extents and batch dimensions fit; the accumulator suits the operands."""
        left, right = tensor_type(self.a), tensor_type(self.b)
        a, b = left.get_shape(), right.get_shape()
        texts = f"{shape_text(a)} and {shape_text(b)}"
        if min(len(a), len(b)) < 2:
            raise VerifyException(f"{self.name}: expected operands of rank 2 or more, got {texts}")
        expect_factors(self, self.a, self.b, self.result)
        k = a[-2 if self.transpose_a else -1]
        k2 = b[-1 if self.transpose_b else -2]
        if k != k2:
            raise VerifyException(
                f"{self.name}: expected equal inner extents, got {k} and {k2} (of {texts})"
            )
        shape = matmul_shape(a, b, bool(self.transpose_a), bool(self.transpose_b))
        if shape is None:
            raise VerifyException(f"{self.name}: batch dimensions do not broadcast: {texts}")
        expect_shape(self, shape, self.result)
        kinds = (left.element_type, right.element_type)
        floats = [k for k in kinds if isinstance(k, AnyFloat)]
        source = max(floats, key=lambda kind: kind.bitwidth) if floats else kinds[0]
        self.verify_accumulator(source, self.result.type.element_type)

    def verify_accumulator(self, source: Attribute, accumulator: Attribute) -> None:
        """Floats add up in floats and integers in integers, at least as wide."""
        if isinstance(source, AnyFloat) and isinstance(accumulator, AnyFloat):
            fits = accumulator == source or accumulator.bitwidth > source.bitwidth
        elif isa(source, IntegerType) and isa(accumulator, IntegerType):
            fits = accumulator.bitwidth >= source.bitwidth
        else:
            fits = False
        if not fits:
            raise VerifyException(
                f"{self.name}: expected an accumulator of type {source} or a wider one, "
                f"got {accumulator}"
            )


def is_scalar_operation(name: str) -> bool:
    """Whether an operation of this name may stand in a scalar body."""
    return name.startswith(("arith.", "math."))


@irdl_op_definition
class MapOp(KernelOperation):
    """An elementwise function: its body is any scalar ``arith`` and ``math``.

    Operands broadcast as NumPy's.

    ```mlir
    %y = kernel.map %x, %bias : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      kernel.yield %s : f32
    }
    ```
    """

    name = "kernel.map"
    inputs = var_operand_def(TensorType)
    result = result_def(TensorType)
    body = region_def("single_block")
    traits = traits_def(IsolatedFromAbove())
    assembly_format = "$inputs attr-dict `:` functional-type($inputs, $result) $body"

    def __init__(
        self,
        inputs: Sequence[SSAValue],
        body: Region | Block,
        element_type: Attribute | None = None,
    ) -> None:
        """``body`` of ``inputs``, in the shape that they broadcast to.

        The result's element type is what the body yields; ``element_type`` can make it unsigned.
        """
        region = Region(body) if isinstance(body, Block) else body
        shape = broadcast_shapes(*(tensor_type(v).get_shape() for v in inputs))
        last = region.block.last_op
        if shape is None or last is None or len(last.operands) != 1:
            raise ValueError("kernel.map needs operands that broadcast and a body that yields")
        super().__init__(
            operands=[inputs],
            result_types=[TensorType(element_type or last.operands[0].type, shape)],
            regions=[region],
        )

    def verify_kernel(self) -> None:
        """Operands broadcast to the result; the body takes their scalars and yields its."""
        if not self.inputs:
            raise VerifyException(f"{self.name}: expected at least one operand, got none")
        shapes = [tensor_type(v).get_shape() for v in self.inputs]
        shape = broadcast_shapes(*shapes)
        if shape is None:
            texts = ", ".join(map(shape_text, shapes))
            raise VerifyException(f"{self.name}: operands do not broadcast: {texts}")
        expect_shape(self, shape, self.result)
        self.verify_body()

    def verify_body(self) -> None:
        """One scalar an operand in, arith and math, one scalar out."""
        expected = [scalar_type(tensor_type(v).element_type) for v in self.inputs]
        got = [a.type for a in self.body.block.args]
        if expected != got:
            raise VerifyException(
                f"{self.name}: expected a body that takes ({', '.join(map(str, expected))}), "
                f"got ({', '.join(map(str, got))})"
            )
        last = self.body.block.last_op
        if not isinstance(last, YieldOp):
            raise VerifyException(f"{self.name}: expected a body that ends in kernel.yield")
        for op in self.body.block.ops:
            if op is not last and not is_scalar_operation(op.name):
                raise VerifyException(
                    f"{self.name}: expected scalar arith and math in the body, got {op.name}"
                )
        result = scalar_type(self.result.type.element_type)
        types = [v.type for v in last.values]
        if types != [result]:
            raise VerifyException(
                f"{self.name}: expected a body that yields {result}, "
                f"got ({', '.join(map(str, types))})"
            )


@irdl_op_definition
class ReshapeOp(KernelOperation):
    """The same elements in the same (row-major) order, in another shape.

    ```mlir
    %y = kernel.reshape %x : tensor<2x4x8xf32> -> tensor<8x8xf32>
    ```
    """

    name = "kernel.reshape"
    source = operand_def(TensorType)
    result = result_def(TensorType)
    assembly_format = "$source attr-dict `:` type($source) `->` type($result)"

    def __init__(self, source: SSAValue, shape: Sequence[int]) -> None:
        """``source`` in ``shape``."""
        element_type = tensor_type(source).element_type
        super().__init__(operands=[source], result_types=[TensorType(element_type, shape)])

    def verify_kernel(self) -> None:
        """As many elements as before, of the same type."""
        expect_element_type(self, self.source, self.result)
        old, new = tensor_type(self.source), self.result.type
        if old.element_count() != new.element_count():
            raise VerifyException(
                f"{self.name}: expected a result of {old.element_count()} elements, "
                f"got {new.element_count()} ({shape_text(new.get_shape())})"
            )


@irdl_op_definition
class TransposeOp(KernelOperation):
    """Dimensions in another order.

    Dimension ``i`` of the result is dimension ``permutation[i]`` of the source.

    ```mlir
    %y = kernel.transpose %x permutation [0, 2, 1] : tensor<2x4x8xf32> -> tensor<2x8x4xf32>
    ```
    """

    name = "kernel.transpose"
    source = operand_def(TensorType)
    permutation = prop_def(DenseArrayBase.constr(i64))
    result = result_def(TensorType)
    custom_directives = (IntegerList,)
    assembly_format = (
        "$source `permutation` custom<IntegerList>($permutation) attr-dict "
        "`:` type($source) `->` type($result)"
    )

    def __init__(self, source: SSAValue, permutation: Sequence[int]) -> None:
        """``source`` with its dimensions in the order of ``permutation``."""
        old = tensor_type(source)
        shape = [old.get_shape()[axis] for axis in permutation]
        super().__init__(
            operands=[source],
            properties={"permutation": DenseArrayBase.from_list(i64, permutation)},
            result_types=[TensorType(old.element_type, shape)],
        )

    @property
    def axes(self) -> tuple[int, ...]:
        """The permutation, as integers."""
        return self.permutation.get_values()

    def verify_kernel(self) -> None:
        """A permutation of the source's dimensions, and the shape that it gives."""
        shape = tensor_type(self.source).get_shape()
        if sorted(self.axes) != list(range(len(shape))):
            raise VerifyException(
                f"{self.name}: expected a permutation of 0 to {len(shape) - 1}, "
                f"got [{', '.join(map(str, self.axes))}]"
            )
        expect_element_type(self, self.source, self.result)
        expect_shape(self, [shape[axis] for axis in self.axes], self.result)


@irdl_op_definition
class FusedOp(KernelOperation):
    """Kernels that become one program.

    They use what is around them, and yield what is used after them.

    ```mlir
    %y = kernel.fused : tensor<4x16xf32> {
      %c = kernel.matmul %a, %b : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf32>
      %r = kernel.map %c, %bias : (tensor<4x16xf32>, tensor<16xf32>) -> tensor<4x16xf32> {
      ^bb0(%p: f32, %q: f32):
        %s = arith.addf %p, %q : f32
        kernel.yield %s : f32
      }
      kernel.yield %r : tensor<4x16xf32>
    }
    ```
    """

    name = "kernel.fused"
    outputs = var_result_def(TensorType)
    body = region_def("single_block")
    assembly_format = "attr-dict `:` type($outputs) $body"

    def __init__(self, body: Region | Block) -> None:
        """One program of ``body``, which ends in a ``kernel.yield``."""
        region = Region(body) if isinstance(body, Block) else body
        last = region.block.last_op
        if not isinstance(last, YieldOp):
            raise ValueError("kernel.fused needs a body that ends in kernel.yield")
        super().__init__(result_types=[[v.type for v in last.values]], regions=[region])

    def verify_kernel(self) -> None:
        """Kernel operations, not nested, then a yield of the results."""
        if self.body.block.args:
            raise VerifyException(f"{self.name}: expected a body without arguments")
        last = self.body.block.last_op
        if not isinstance(last, YieldOp):
            raise VerifyException(f"{self.name}: expected a body that ends in kernel.yield")
        for op in self.body.block.ops:
            if op is not last and (not isinstance(op, KernelOperation) or isinstance(op, FusedOp)):
                raise VerifyException(
                    f"{self.name}: expected kernel operations in the body, got {op.name}"
                )
        expected, got = [r.type for r in self.outputs], [v.type for v in last.values]
        if expected != got:
            raise VerifyException(
                f"{self.name}: expected a body that yields ({', '.join(map(str, expected))}), "
                f"got ({', '.join(map(str, got))})"
            )
