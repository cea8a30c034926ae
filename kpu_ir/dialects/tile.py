"""The ``tile`` altitude: how a kernel is cut.

A kernel is a ``func.func`` on memrefs (inputs, then outputs) whose body is a nest of ``tile.for``
loops. ``tile.load`` brings a block of a tensor to a memory level, ``tile.matmul`` and ``tile.map``
compute on tiles in L2, ``tile.store`` puts a block back. Read in program order that is the kernel's
meaning. There are no addresses and no engines here, and nothing says what overlaps: that is
``dma``'s.

**Edges.** Tiles need not divide the tensor. A tile's type gives its *largest* extents; a load or a
store that hangs over the end of its tensor is clipped there, and operations work on the clipped
extents.

**Keeping.** ``keep(%j)`` on a load says that the value, which does not depend on ``%j``, is loaded
in the first trip of that loop and stays on chip for the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import auto
from typing import Any, cast

from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    DenseArrayBase,
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    FloatAttr,
    IndexType,
    IntAttr,
    IntegerAttr,
    IntegerType,
    MemRefType,
    TensorType,
    f64,
    i64,
)
from xdsl.dialects.utils import DynamicIndexList, EnumAttribute
from xdsl.ir import (
    Attribute,
    Block,
    Dialect,
    Operation,
    ParametrizedAttribute,
    Region,
    SpacedOpaqueSyntaxAttribute,
    SSAValue,
    TypeAttribute,
)
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    base,
    irdl_attr_definition,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    opt_region_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import AttrParser, Parser
from xdsl.printer import Printer
from xdsl.traits import (
    IsTerminator,
    MemoryReadEffect,
    MemoryWriteEffect,
    NoTerminator,
    Pure,
    RecursiveMemoryEffect,
)
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum

from kpu_ir.dialects.kernel_base import scalar_type


class Level(StrEnum):
    """A memory level on the chip."""

    L3 = auto()
    L2 = auto()


@irdl_attr_definition
class LevelAttr(EnumAttribute[Level], SpacedOpaqueSyntaxAttribute):
    """A memory level: ``l3`` or ``l2``."""

    name = "tile.level"


class Dataflow(StrEnum):
    """What stays in the array while the other two operands of a product move."""

    OUTPUT_STATIONARY = auto()
    WEIGHT_STATIONARY = auto()
    INPUT_STATIONARY = auto()

    @property
    def short(self) -> str:
        """``os``, ``ws`` or ``is``."""
        return str(self.value)[0] + "s"


@irdl_attr_definition
class DataflowAttr(EnumAttribute[Dataflow], SpacedOpaqueSyntaxAttribute):
    """A dataflow: ``output_stationary``, ``weight_stationary`` or ``input_stationary``."""

    name = "tile.dataflow"


@irdl_attr_definition
class TileType(ParametrizedAttribute, TypeAttribute):
    """A block of at most ``shape`` elements at one memory level: ``!tile.tile<32x768xf32, l2>``."""

    name = "tile.tile"
    shape: ArrayAttr[IntAttr]
    element_type: Attribute
    level: LevelAttr

    @staticmethod
    def of(shape: Sequence[int], element_type: Attribute, level: Level) -> TileType:
        """A tile type from plain integers."""
        return TileType(ArrayAttr(IntAttr(n) for n in shape), element_type, LevelAttr(level))

    def get_shape(self) -> tuple[int, ...]:
        """The largest extents."""
        return tuple(n.data for n in self.shape)

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        """``<32x768xf32, l2>``."""
        with parser.in_angle_brackets():
            shape, element = parser.parse_ranked_shape()
            parser.parse_punctuation(",")
            level = parser.parse_str_enum(Level)
        return [ArrayAttr(IntAttr(n) for n in shape), element, LevelAttr(level)]

    def print_parameters(self, printer: Printer) -> None:
        """``<32x768xf32, l2>``."""
        with printer.in_angle_brackets():
            for n in self.get_shape():
                printer.print_string(f"{n}x")
            printer.print_attribute(self.element_type)
            printer.print_string(f", {self.level.data.value}")

    def verify(self) -> None:
        """All extents are positive."""
        if any(n <= 0 for n in self.get_shape()):
            raise VerifyException(f"a tile's extents must be positive, got {self.get_shape()}")


@irdl_attr_definition
class WindowAttr(ParametrizedAttribute):
    """A sliding window over the last two dimensions: ``#tile.window<3x3 by 2x2 apart 1x1>``
    (kernel, strides, dilations)."""

    name = "tile.window"
    kernel: ArrayAttr[IntAttr]
    strides: ArrayAttr[IntAttr]
    dilations: ArrayAttr[IntAttr]

    @staticmethod
    def of(kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> WindowAttr:
        """A window from plain integers."""
        return WindowAttr(
            *(ArrayAttr(IntAttr(n) for n in ns) for ns in (kernel, strides, dilations))
        )

    @property
    def plain(self) -> Window:
        """The same as plain integers."""
        kernel, strides, dilations = (
            tuple(n.data for n in ns) for ns in (self.kernel, self.strides, self.dilations)
        )
        return Window(kernel, strides, dilations)

    @classmethod
    def parse_parameters(cls, parser: AttrParser) -> list[Attribute]:
        """``<3x3 by 2x2 apart 1x1>``."""

        def pair() -> ArrayAttr[IntAttr]:
            first = parser.parse_shape_dimension(allow_dynamic=False)
            parser.parse_shape_delimiter()
            second = parser.parse_shape_dimension(allow_dynamic=False)
            return ArrayAttr([IntAttr(first), IntAttr(second)])

        with parser.in_angle_brackets():
            kernel = pair()
            parser.parse_keyword("by")
            strides = pair()
            parser.parse_keyword("apart")
            return [kernel, strides, pair()]

    def print_parameters(self, printer: Printer) -> None:
        """``<3x3 by 2x2 apart 1x1>``."""
        k, s, d = (
            "x".join(str(n.data) for n in ns) for ns in (self.kernel, self.strides, self.dilations)
        )
        with printer.in_angle_brackets():
            printer.print_string(f"{k} by {s} apart {d}")

    def verify(self) -> None:
        """Pairs of positive numbers."""
        for numbers in (self.kernel, self.strides, self.dilations):
            if len(numbers) != 2 or any(n.data < 1 for n in numbers):
                raise VerifyException("a window has two positive extents, strides and dilations")


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window in plain integers."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]

    @property
    def taps(self) -> int:
        """Elements under the window."""
        return self.kernel[0] * self.kernel[1]

    def span(self, outputs: Sequence[int]) -> tuple[int, ...]:
        """The extents that ``outputs`` positions of the window cover."""
        return tuple(
            (n - 1) * s + (k - 1) * d + 1
            for n, k, s, d in zip(outputs, self.kernel, self.strides, self.dilations)
        )

    def positions(self, extents: Sequence[int]) -> tuple[int, ...]:
        """How often the window fits into ``extents``."""
        return tuple(
            (n - (k - 1) * d - 1) // s + 1
            for n, k, s, d in zip(extents, self.kernel, self.strides, self.dilations)
        )


class Reduction(StrEnum):
    """How elements are combined."""

    ADD = auto()
    MAX = auto()
    MIN = auto()
    MUL = auto()


@irdl_attr_definition
class ReductionAttr(EnumAttribute[Reduction], SpacedOpaqueSyntaxAttribute):
    """A combination: ``add``, ``max``, ``min`` or ``mul``."""

    name = "tile.reduction"


def integers(attr: DenseArrayBase) -> tuple[int, ...]:
    """The numbers of an array property."""
    return tuple(int(n) for n in cast(Any, attr).get_values())


def mixed_indices(static: DenseArrayBase, dynamic: Sequence[SSAValue]) -> Iterator[int | SSAValue]:
    """The offsets of an access in order: integers, and values where the property says "dynamic"."""
    values = iter(dynamic)
    for n in integers(static):
        yield next(values) if n == DYNAMIC_INDEX else n


def split_indices(indices: Sequence[int | SSAValue]) -> tuple[list[SSAValue], DenseArrayBase]:
    """Mixed offsets as (operands, static property), the form in which operations hold them."""
    dynamic = [i for i in indices if not isinstance(i, int)]
    static = [i if isinstance(i, int) else DYNAMIC_INDEX for i in indices]
    return dynamic, DenseArrayBase.from_list(i64, static)


def permutation_of(attr: DenseArrayBase | None, rank: int) -> tuple[int, ...]:
    """A ``permuted`` property as a tuple; the identity where there is none."""
    return tuple(range(rank)) if attr is None else integers(attr)


def padding_of(attr: DenseArrayBase | None, rank: int) -> tuple[int, ...]:
    """A ``low`` or ``high`` property as a tuple; zeros where there is none."""
    return (0,) * rank if attr is None else integers(attr)


def padded_shape(
    shape: tuple[int, ...], low: DenseArrayBase | None, high: DenseArrayBase | None
) -> tuple[int, ...]:
    """A shape with what is read around it; offsets count from the beginning of the padding."""
    before, after = padding_of(low, len(shape)), padding_of(high, len(shape))
    if (
        len(before) != len(shape)
        or len(after) != len(shape)
        or min((*before, *after), default=0) < 0
    ):
        raise VerifyException(
            f"padding needs one number of elements, not negative, for each of {len(shape)} dimensions"
        )
    return tuple(a + n + b for a, n, b in zip(before, shape, after))


def padding_attr(padding: Sequence[int] | None) -> DenseArrayBase | None:
    """The property for a padding; None where it is all zero."""
    if padding is None or not any(padding):
        return None
    return DenseArrayBase.from_list(i64, list(padding))


def permuted_attr(permutation: Sequence[int] | None) -> DenseArrayBase | None:
    """The property for a permutation; None for the identity."""
    if permutation is None or list(permutation) == list(range(len(permutation))):
        return None
    return DenseArrayBase.from_list(i64, list(permutation))


def unpermuted(shape: Sequence[int], permutation: Sequence[int]) -> tuple[int, ...]:
    """The shape that ``permutation`` turns into ``shape`` (``shape[i] =
    result[permutation[i]]``)."""
    result = [0] * len(shape)
    for axis, n in zip(permutation, shape):
        result[axis] = n
    return tuple(result)


def verify_access(
    what: str,
    offsets: int,
    outer: MemRefType | TileType,
    inner: TileType,
    permuted: DenseArrayBase | None = None,
    low: DenseArrayBase | None = None,
    high: DenseArrayBase | None = None,
) -> None:
    """One offset a dimension, equal ranks and element types, a block no larger than what it is cut
    from."""
    full, part = padded_shape(tuple(outer.get_shape()), low, high), inner.get_shape()
    permutation = permutation_of(permuted, len(part))
    if sorted(permutation) != list(range(len(part))):
        raise VerifyException(
            f"{what}: {list(permutation)} does not permute {len(part)} dimensions"
        )
    moving = [axis for axis in permutation if unpermuted(part, permutation)[axis] > 1]
    if len(moving) > 2 and moving != sorted(moving):
        raise VerifyException(
            f"{what}: a block mover transposes two dimensions; {part} permutes {len(moving)}"
        )
    part = unpermuted(part, permutation)
    if not (offsets == len(full) == len(part)):
        raise VerifyException(
            f"{what} needs one offset for each dimension: {offsets} offsets, a tensor of rank "
            f"{len(full)}, a tile of rank {len(part)}"
        )
    if outer.element_type != inner.element_type:
        raise VerifyException(
            f"{what} does not convert: expected {outer.element_type}, got {inner.element_type}"
        )
    for axis, (n, t) in enumerate(zip(full, part)):
        if t > n:
            raise VerifyException(
                f"{what}: the tile has {t} elements in dimension {axis}, the tensor only {n}"
            )


@irdl_op_definition
class ForOp(IRDLOperation):
    """A loop with constant bounds; the nest stays the same at the ``dma`` altitude.

    ```mlir
    tile.for %i = 0 to 128 step 32 {
      tile.for %j = 0 to 100 step 48 {
      }
    }
    ```
    """

    name = "tile.for"
    lower = prop_def(IntegerAttr)
    upper = prop_def(IntegerAttr)
    step = prop_def(IntegerAttr)
    body = region_def("single_block")
    traits = traits_def(NoTerminator(), RecursiveMemoryEffect())

    def __init__(self, lower: int, upper: int, step: int, body: Region | None = None) -> None:
        """An empty loop, or one around ``body``."""
        super().__init__(
            properties={
                "lower": IntegerAttr(lower, i64),
                "upper": IntegerAttr(upper, i64),
                "step": IntegerAttr(step, i64),
            },
            regions=[body or Region(Block(arg_types=[IndexType()]))],
        )

    @property
    def induction_var(self) -> SSAValue:
        """The value that counts."""
        return self.body.block.args[0]

    @property
    def bounds(self) -> range:
        """The values that the induction variable takes."""
        return range(self.lower.value.data, self.upper.value.data, self.step.value.data)

    @classmethod
    def parse(cls, parser: Parser) -> ForOp:
        """``%i = 0 to 128 step 32 { ... }``."""
        name = parser.parse_argument(expect_type=False)
        parser.parse_punctuation("=")
        lower = parser.parse_integer()
        parser.parse_keyword("to")
        upper = parser.parse_integer()
        parser.parse_keyword("step")
        step = parser.parse_integer()
        body = parser.parse_region((name.resolve(IndexType()),))
        op = cls(lower, upper, step, body)
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        """``%i = 0 to 128 step 32 { ... }``."""
        printer.print_string(" ")
        printer.print_ssa_value(self.induction_var)
        r = self.bounds
        printer.print_string(f" = {r.start} to {r.stop} step {r.step} ")
        printer.print_region(self.body, print_entry_block_args=False, print_empty_block=False)
        printer.print_op_attributes(self.attributes)

    def verify_(self) -> None:
        """At least one trip, upwards."""
        args = self.body.block.args
        if len(args) != 1 or args[0].type != IndexType():
            raise VerifyException("tile.for has one block argument, of type index")
        if self.step.value.data <= 0 or not self.bounds:
            r = self.bounds
            raise VerifyException(
                f"tile.for must make at least one trip upwards, got {r.start} to {r.stop} step {r.step}"
            )


class MemoryOperation(IRDLOperation):
    """What the operations that move or change tiles share: they are never dead and never merged."""

    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())


@irdl_op_definition
class BufferOp(IRDLOperation):
    """Room for a tensor in external memory; ``tile-to-dma`` gives it its address.

    ```mlir
    %y = tile.buffer : memref<128x768xf32>
    %z = tile.buffer at 4096 : i64 : memref<128x768xf32>
    ```
    """

    name = "tile.buffer"
    address = opt_prop_def(IntegerAttr)
    result = result_def(MemRefType)
    traits = traits_def(MemoryWriteEffect())
    assembly_format = "(`at` $address^)? attr-dict `:` type($result)"

    def __init__(self, type: MemRefType) -> None:
        """A buffer that has no address yet."""
        super().__init__(result_types=[type])


@irdl_op_definition
class ConstantOp(IRDLOperation):
    """A tensor of weights in external memory.

    ```mlir
    %w = tile.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32> : memref<2x2xf32>
    ```
    """

    name = "tile.constant"
    value = prop_def(DenseIntOrFPElementsAttr | DenseResourceAttr)
    address = opt_prop_def(IntegerAttr)
    result = result_def(MemRefType)
    traits = traits_def(Pure())
    assembly_format = "$value (`at` $address^)? attr-dict `:` type($result)"

    def __init__(self, value: DenseIntOrFPElementsAttr | DenseResourceAttr) -> None:
        """The memory that holds ``value``."""
        tensor = cast(TensorType, value.type)
        type = MemRefType(tensor.element_type, tensor.get_shape())
        super().__init__(properties={"value": value}, result_types=[type])


@irdl_op_definition
class ViewOp(IRDLOperation):
    """The same bytes with another shape; costs nothing.

    ```mlir
    %r = tile.view %y : memref<128x768xf32> to memref<1x128x768xf32>
    ```
    """

    name = "tile.view"
    source = operand_def(MemRefType)
    result = result_def(MemRefType)
    traits = traits_def(Pure())
    assembly_format = "$source attr-dict `:` type($source) `to` type($result)"

    def __init__(self, source: SSAValue, type: MemRefType) -> None:
        """``source`` seen as ``type``."""
        super().__init__(operands=[source], result_types=[type])

    def verify_(self) -> None:
        """As many elements as before, of the same type."""
        old, new = SSAValue.get(self.source, type=MemRefType), self.result.type
        if old.type.element_type != new.element_type:
            raise VerifyException(
                f"tile.view keeps the element type: expected {old.type.element_type}, "
                f"got {new.element_type}"
            )
        if old.type.element_count() != new.element_count():
            raise VerifyException(
                f"tile.view keeps the number of elements: expected "
                f"{old.type.element_count()}, got {new.element_count()}"
            )


@irdl_op_definition
class LoadOp(MemoryOperation):
    """Bring a block of a tensor, or of a larger tile, to a memory level.

    ``keep(%j)``: loaded in the first trip of the loop of ``%j`` only. ``permuted [1, 0]``:
    dimension i of the result is dimension ``permuted[i]`` of the block; at most two dimensions of
    more than one element change places. ``low``, ``high``: elements around the tensor that read as
    ``fill`` (default 0); offsets count from the padding.

    ``by %list``: dimension 1 of the tensor is read through a list of indices (negative ones count
    from the end), along which the offset of dimension 1 runs: the rows of an embedding.

    ```mlir
    %e = tile.load %table[0, %i, 0] by %list : memref<128xi64> : memref<1x1000x64xf32> -> !tile.tile<1x16x64xf32, l2>
    %a3 = tile.load %a[%i, 0] : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
    %a2 = tile.load %a3[0, 0] : !tile.tile<32x64xf32, l3> -> !tile.tile<16x64xf32, l2>
    %x = tile.load %x0[0, %h] low [0, 1] high [0, 1] : memref<8x30xf32> -> !tile.tile<8x10xf32, l2>
    %b = tile.load %b0[%j, 0] keep(%i) permuted [1, 0] : memref<96x64xf32> -> !tile.tile<64x48xf32, l2>
    ```
    """

    name = "tile.load"
    source = operand_def(base(MemRefType) | base(TileType))
    offsets = var_operand_def(IndexType())
    kept = var_operand_def(IndexType())
    by = opt_operand_def(MemRefType)
    static_offsets = prop_def(DenseArrayBase)
    permuted = opt_prop_def(DenseArrayBase.constr(i64))
    low = opt_prop_def(DenseArrayBase.constr(i64))
    high = opt_prop_def(DenseArrayBase.constr(i64))
    fill = opt_prop_def(FloatAttr)
    result = result_def(TileType)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    custom_directives = (DynamicIndexList,)
    assembly_format = (
        "$source custom<DynamicIndexList>($offsets, $static_offsets) (`by` $by^ `:` type($by))? "
        "(`keep` `(` $kept^ `)`)? (`permuted` $permuted^)? (`low` $low^)? (`high` $high^)? "
        "(`fill` $fill^)? attr-dict "
        "`:` type($source) `->` type($result)"
    )

    def __init__(
        self,
        source: SSAValue,
        indices: Sequence[int | SSAValue],
        type: TileType,
        kept: Sequence[SSAValue] = (),
        permuted: Sequence[int] | None = None,
        low: Sequence[int] | None = None,
        high: Sequence[int] | None = None,
        fill: float = 0.0,
        by: SSAValue | None = None,
    ) -> None:
        """A load of the block of ``source`` that begins at ``indices``."""
        dynamic, static = split_indices(indices)
        super().__init__(
            operands=[source, dynamic, kept, [] if by is None else [by]],
            properties={
                "static_offsets": static,
                "permuted": permuted_attr(permuted),
                "low": padding_attr(low),
                "high": padding_attr(high),
                "fill": FloatAttr(fill, f64) if fill else None,
            },
            result_types=[type],
        )

    @property
    def indices(self) -> list[int | SSAValue]:
        """One offset a dimension of the source."""
        return list(mixed_indices(self.static_offsets, self.offsets))

    def verify_(self) -> None:
        """A block inside its source, towards the array."""
        source = self.source.type
        assert isinstance(source, MemRefType | TileType)
        offsets = len(integers(self.static_offsets))
        if self.by is not None:
            source = verify_gather(self, source, self.by)
        verify_access(
            "tile.load", offsets, source, self.result.type, self.permuted, self.low, self.high
        )
        if isinstance(source, TileType) and (self.low or self.high):
            raise VerifyException("tile.load pads only what comes from external memory")
        if isinstance(source, TileType) and (
            source.level.data != Level.L3 or self.result.type.level.data != Level.L2
        ):
            raise VerifyException("tile.load from a tile goes from l3 to l2")


def verify_gather(op: Operation, source: Attribute, by: SSAValue) -> MemRefType:
    """A gather reads external memory by a list of integers; its source as the list lays it out."""
    indices = SSAValue.get(by, type=MemRefType).type
    if not isinstance(source, MemRefType) or len(source.get_shape()) < 2:
        raise VerifyException(
            f"{op.name}: only external memory of rank 2 or more is read by a list"
        )
    if len(indices.get_shape()) != 1 or not isinstance(indices.element_type, IntegerType):
        raise VerifyException(f"{op.name}: expected a list of integers, got {indices}")
    first, _, *rest = source.get_shape()
    return MemRefType(source.element_type, [first, indices.get_shape()[0], *rest])


@irdl_op_definition
class AllocOp(MemoryOperation):
    """Room on chip for a result; a ``matmul`` or a ``map`` writes ``into`` it.

    ```mlir
    %c = tile.alloc : !tile.tile<32x48xf32, l2>
    ```
    """

    name = "tile.alloc"
    result = result_def(TileType)
    assembly_format = "attr-dict `:` type($result)"

    def __init__(self, type: TileType) -> None:
        """Room for ``type``."""
        super().__init__(result_types=[type])


@irdl_op_definition
class YieldOp(IRDLOperation):
    """The result of a scalar body.

    ```mlir
    tile.yield %r : f32
    ```
    """

    name = "tile.yield"
    values = var_operand_def()
    traits = traits_def(IsTerminator(), Pure())
    assembly_format = "attr-dict ($values^ `:` type($values))?"

    def __init__(self, *values: SSAValue) -> None:
        """Yield ``values``."""
        super().__init__(operands=[list(values)])


def verify_matmul(
    op: Operation, lhs: TileType, rhs: TileType, out: TileType, window: WindowAttr | None
) -> None:
    """``(.. x m x k) @ (.. x k x n) -> (.. x m x n)``, all in L2, batch extents equal or 1.

    With a window: ``(.. x m x c x kh x kw)`` and ``(.. x c x h x w)`` give ``(.. x m x oh x ow)``,
    batch extents 1.
    """
    a, b, c = lhs.get_shape(), rhs.get_shape(), out.get_shape()
    if any(t.level.data != Level.L2 for t in (lhs, rhs, out)):
        raise VerifyException(f"{op.name}: operands and result stand in l2")
    if window is not None:
        verify_window(op, b, c, window)
        taps = window.plain.kernel
        if (
            len(a) < 4
            or a[-2:] != taps
            or a[-3] != b[-3]
            or a[-4] != c[-3]
            or max(a[:-4], default=1) > 1
        ):
            raise VerifyException(f"{op.name}: weights of {a} by a window of {b} do not give {c}")
        return
    if not (len(a) == len(b) == len(c) >= 2):
        raise VerifyException(f"{op.name}: operands and result have one rank >= 2: {a}, {b}, {c}")
    if a[-1] != b[-2] or c[-2:] != (a[-2], b[-1]):
        raise VerifyException(f"{op.name}: {a} by {b} does not give {c}")
    for x, y, z in zip(a[:-2], b[:-2], c[:-2]):
        if z != max(x, y) or x not in (1, z) or y not in (1, z):
            raise VerifyException(f"{op.name}: batch extents differ: {a}, {b}, {c}")


def verify_window(op: Operation, x: Sequence[int], out: Sequence[int], window: WindowAttr) -> None:
    """A window over the last two dimensions of ``x`` gives those of ``out``; batch extents are
    1."""
    if len(x) < 3 or len(out) != len(x) or max((*x[:-3], *out[:-3]), default=1) > 1:
        raise VerifyException(
            f"{op.name}: a window takes and gives 1 x c x h x w, got {x} and {out}"
        )
    if window.plain.positions(x[-2:]) != tuple(out[-2:]):
        raise VerifyException(
            f"{op.name}: the window has {window.plain.positions(x[-2:])} positions in {x}, not {out}"
        )


def verify_body(op: Operation, region: Region, inputs: Sequence[Attribute], out: Attribute) -> None:
    """A scalar body takes the element types of ``inputs`` (without signs, as arith has it) and
    yields one ``out``."""
    inputs, out = [scalar_type(t) for t in inputs], scalar_type(out)
    got = [a.type for a in region.block.args]
    if got != inputs:
        raise VerifyException(
            f"{op.name}: the body takes one scalar an operand: expected "
            f"({', '.join(map(str, inputs))}), got ({', '.join(map(str, got))})"
        )
    last = region.block.last_op
    if last is None or not last.has_trait(IsTerminator) or [v.type for v in last.operands] != [out]:
        raise VerifyException(f"{op.name}: the body must end by yielding one {out}")


def verify_broadcast(op: Operation, operands: Sequence[TileType], out: TileType) -> None:
    """Each operand has the result's rank, and its extents or 1, in L2."""
    for t in (*operands, out):
        if t.level.data != Level.L2:
            raise VerifyException(f"{op.name}: operands and result stand in l2, got {t}")
    for t in operands:
        if len(t.get_shape()) != len(out.get_shape()) or any(
            n not in (1, m) for n, m in zip(t.get_shape(), out.get_shape())
        ):
            raise VerifyException(f"{op.name}: {t} does not broadcast to {out}")


@irdl_op_definition
class MatmulOp(MemoryOperation):
    """A matrix product of tiles on the array, added up ``over`` loops, with an optional epilogue on
    the drain.

    In the first trip of all the loops in ``over`` the product overwrites ``into``, in later ones it
    is added; in the last trip the ``epilogue`` is applied: its block takes the finished sum and one
    scalar for each extra operand (tiles with the result's extents or 1). With a ``window`` the
    right operand is read as the matrix of the values under each position of the window (implicit
    im2col): a convolution, which nothing ever lays out in memory.

    ```mlir
    tile.matmul output_stationary %a, %b into %c over(%k)
      : !tile.tile<32x64xf32, l2>, !tile.tile<64x48xf32, l2> -> !tile.tile<32x48xf32, l2>
    tile.matmul output_stationary %a, %b into %c
      : !tile.tile<32x64xf32, l2>, !tile.tile<64x48xf32, l2> -> !tile.tile<32x48xf32, l2>
      with %bias : !tile.tile<1x48xf32, l2> epilogue {
    ^bb0(%acc: f32, %x: f32):
      %s = arith.addf %acc, %x : f32
      tile.yield %s : f32
    }
    ```
    """

    name = "tile.matmul"
    dataflow = prop_def(DataflowAttr)
    lhs = operand_def(TileType)
    rhs = operand_def(TileType)
    into = operand_def(TileType)
    over = var_operand_def(IndexType())
    extra = var_operand_def(TileType)
    window = opt_prop_def(WindowAttr)
    epilogue = opt_region_def()
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    assembly_format = (
        "$dataflow $lhs `,` $rhs (`window` $window^)? `into` $into (`over` `(` $over^ `)`)? attr-dict "
        "`:` type($lhs) `,` type($rhs) `->` type($into) "
        "(`with` $extra^ `:` type($extra))? (`epilogue` $epilogue^)?"
    )

    def __init__(
        self,
        dataflow: Dataflow,
        lhs: SSAValue,
        rhs: SSAValue,
        into: SSAValue,
        over: Sequence[SSAValue] = (),
        extra: Sequence[SSAValue] = (),
        epilogue: Region | None = None,
        window: WindowAttr | None = None,
    ) -> None:
        """``into`` (+)= ``lhs @ rhs``, then the epilogue."""
        super().__init__(
            operands=[lhs, rhs, into, over, extra],
            properties={"dataflow": DataflowAttr(dataflow), "window": window},
            regions=[[] if epilogue is None else [epilogue]],
        )

    def verify_(self) -> None:
        """Shapes of a product; an epilogue that fits."""
        lhs, rhs, out = (
            SSAValue.get(v, type=TileType).type for v in (self.lhs, self.rhs, self.into)
        )
        verify_matmul(self, lhs, rhs, out, self.window)
        verify_epilogue(self, out, self.extra, self.epilogue)


def verify_epilogue(
    op: Operation, out: TileType, extra: Sequence[SSAValue], epilogue: Region | None
) -> None:
    """An epilogue's block takes the sum and one scalar an operand, and yields the result's type."""
    types = [SSAValue.get(v, type=TileType).type for v in extra]
    if epilogue is None:
        if types:
            raise VerifyException(f"{op.name}: operands of an epilogue that is not there")
        return
    verify_broadcast(op, types, out)
    elements = [out.element_type, *(t.element_type for t in types)]
    verify_body(op, epilogue, elements, out.element_type)


@irdl_op_definition
class MapOp(MemoryOperation):
    """An elementwise function of tiles on the vector engine; extents of 1 are broadcast.

    ```mlir
    tile.map %x, %y into %c
      : !tile.tile<32x48xf32, l2>, !tile.tile<1x48xf32, l2> -> !tile.tile<32x48xf32, l2> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      tile.yield %s : f32
    }
    ```
    """

    name = "tile.map"
    inputs = var_operand_def(TileType)
    into = operand_def(TileType)
    body = region_def("single_block")
    assembly_format = "$inputs `into` $into attr-dict `:` type($inputs) `->` type($into) $body"

    def __init__(self, inputs: Sequence[SSAValue], into: SSAValue, body: Region) -> None:
        """``into`` = ``body(*inputs)``."""
        super().__init__(operands=[inputs, into], regions=[body])

    def verify_(self) -> None:
        """Operands broadcast; the body fits."""
        out = SSAValue.get(self.into, type=TileType).type
        types = [SSAValue.get(v, type=TileType).type for v in self.inputs]
        verify_broadcast(self, types, out)
        verify_body(self, self.body, [t.element_type for t in types], out.element_type)


@irdl_op_definition
class ReduceOp(MemoryOperation):
    """Combine the elements of a tile along ``axes`` on the vector engine; ``over`` loops, add to
    what stands there.

    ```mlir
    tile.reduce max %x into %m axes [1] : !tile.tile<32x1024xf32, l2> -> !tile.tile<32x1xf32, l2>
    ```
    """

    name = "tile.reduce"
    reduction = prop_def(ReductionAttr)
    source = operand_def(TileType)
    into = operand_def(TileType)
    over = var_operand_def(IndexType())
    axes = prop_def(DenseArrayBase.constr(i64))
    assembly_format = (
        "$reduction $source `into` $into `axes` $axes (`over` `(` $over^ `)`)? attr-dict "
        "`:` type($source) `->` type($into)"
    )

    def __init__(
        self,
        reduction: Reduction,
        source: SSAValue,
        into: SSAValue,
        axes: Sequence[int],
        over: Sequence[SSAValue] = (),
    ) -> None:
        """``into`` = ``source`` combined along ``axes``."""
        super().__init__(
            operands=[source, into, over],
            properties={
                "reduction": ReductionAttr(reduction),
                "axes": DenseArrayBase.from_list(i64, list(axes)),
            },
        )

    def verify_(self) -> None:
        """The result has 1 in each reduced dimension."""
        verify_reduce(self, self.source, self.into, self.axes)


def verify_reduce(op: Operation, source: SSAValue, into: SSAValue, axes: DenseArrayBase) -> None:
    """In L2, of one type; the result has the source's extents but 1 in each reduced dimension."""
    x, out = (SSAValue.get(v, type=TileType).type for v in (source, into))
    if x.level.data != Level.L2 or out.level.data != Level.L2 or x.element_type != out.element_type:
        raise VerifyException(f"{op.name}: operand and result stand in l2 and are of one type")
    reduced = set(integers(axes))
    expected = tuple(1 if axis in reduced else n for axis, n in enumerate(x.get_shape()))
    if not reduced or out.get_shape() != expected or not reduced <= set(range(len(expected))):
        raise VerifyException(
            f"{op.name}: expected a result of {expected}, got {out.get_shape()} along {sorted(reduced)}"
        )


@irdl_op_definition
class WindowOp(MemoryOperation):
    """Combine the values under each position of a window, channel by channel, on the vector engine.

    Without weights: pooling. With weights (one window a channel) and ``add``: a depthwise
    convolution. The epilogue is that of ``tile.matmul``.

    ```mlir
    tile.window max <2x2 by 2x2 apart 1x1> %x into %c
      : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x8x8x8xf32, l2>
    ```
    """

    name = "tile.window"
    reduction = prop_def(ReductionAttr)
    window = prop_def(WindowAttr)
    source = operand_def(TileType)
    weights = opt_operand_def(TileType)
    into = operand_def(TileType)
    extra = var_operand_def(TileType)
    epilogue = opt_region_def()
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    assembly_format = (
        "$reduction $window $source (`weights` $weights^ `:` type($weights))? `into` $into attr-dict "
        "`:` type($source) `->` type($into) "
        "(`with` $extra^ `:` type($extra))? (`epilogue` $epilogue^)?"
    )

    def __init__(
        self,
        reduction: Reduction,
        window: WindowAttr,
        source: SSAValue,
        weights: SSAValue | None,
        into: SSAValue,
        extra: Sequence[SSAValue] = (),
        epilogue: Region | None = None,
    ) -> None:
        """``into`` = the windows of ``source``, combined, then the epilogue."""
        super().__init__(
            operands=[source, [] if weights is None else [weights], into, extra],
            properties={"reduction": ReductionAttr(reduction), "window": window},
            regions=[[] if epilogue is None else [epilogue]],
        )

    def verify_(self) -> None:
        """Extents of a window, one window of weights a channel."""
        verify_pooling(self, self.source, self.weights, self.into, self.window, self.reduction)
        out = SSAValue.get(self.into, type=TileType).type
        verify_epilogue(self, out, self.extra, self.epilogue)


def verify_pooling(
    op: Operation,
    source: SSAValue,
    weights: SSAValue | None,
    into: SSAValue,
    window: WindowAttr,
    reduction: ReductionAttr,
) -> None:
    """A window over tiles in L2; weights are 1 x c x kh x kw."""
    x, out = (SSAValue.get(v, type=TileType).type for v in (source, into))
    if x.level.data != Level.L2 or out.level.data != Level.L2:
        raise VerifyException(f"{op.name}: operands and result stand in l2")
    verify_window(op, x.get_shape(), out.get_shape(), window)
    if x.get_shape()[-3] != out.get_shape()[-3]:
        raise VerifyException(f"{op.name}: {x} and {out} have different channels")
    if weights is not None:
        w = SSAValue.get(weights, type=TileType).type.get_shape()
        if w[-3:] != (x.get_shape()[-3], *window.plain.kernel) or max(w[:-3], default=1) > 1:
            raise VerifyException(f"{op.name}: weights of {w} do not fit {x} and the window")
        if reduction.data is not Reduction.ADD:
            raise VerifyException(
                f"{op.name}: weighted windows are added, not {reduction.data.value}"
            )


@irdl_op_definition
class StoreOp(MemoryOperation):
    """Put a tile back into a tensor, clipped at its end.

    ```mlir
    tile.store %c, %y[%i, %j] : !tile.tile<32x48xf32, l2> -> memref<128x100xf32>
    ```
    """

    name = "tile.store"
    source = operand_def(TileType)
    target = operand_def(MemRefType)
    offsets = var_operand_def(IndexType())
    static_offsets = prop_def(DenseArrayBase)
    custom_directives = (DynamicIndexList,)
    assembly_format = (
        "$source `,` $target custom<DynamicIndexList>($offsets, $static_offsets) attr-dict "
        "`:` type($source) `->` type($target)"
    )

    def __init__(
        self, source: SSAValue, target: SSAValue, indices: Sequence[int | SSAValue]
    ) -> None:
        """Store ``source`` as the block of ``target`` that begins at ``indices``."""
        dynamic, static = split_indices(indices)
        super().__init__(operands=[source, target, dynamic], properties={"static_offsets": static})

    @property
    def indices(self) -> list[int | SSAValue]:
        """One offset a dimension of the target."""
        return list(mixed_indices(self.static_offsets, self.offsets))

    def verify_(self) -> None:
        """A block inside its target."""
        verify_access(
            "tile.store",
            len(integers(self.static_offsets)),
            SSAValue.get(self.target, type=MemRefType).type,
            SSAValue.get(self.source, type=TileType).type,
        )


Tile = Dialect(
    "tile",
    [
        ForOp,
        BufferOp,
        ConstantOp,
        ViewOp,
        LoadOp,
        AllocOp,
        YieldOp,
        MatmulOp,
        MapOp,
        ReduceOp,
        WindowOp,
        StoreOp,
    ],
    [LevelAttr, DataflowAttr, ReductionAttr, WindowAttr, TileType],
)
