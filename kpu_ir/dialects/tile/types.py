"""What ``tile`` and ``dma`` are about: tiles, levels, dataflows, windows; and blocks of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import auto
from itertools import pairwise
from typing import Any, cast

from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    ArrayAttr,
    DenseArrayBase,
    IntAttr,
    IntegerType,
    MemRefType,
    StringAttr,
    i64,
)
from xdsl.dialects.utils import EnumAttribute
from xdsl.ir import (
    Attribute,
    Operation,
    ParametrizedAttribute,
    SpacedOpaqueSyntaxAttribute,
    SSAValue,
    TypeAttribute,
)
from xdsl.irdl import irdl_attr_definition
from xdsl.parser import AttrParser
from xdsl.printer import Printer
from xdsl.utils.exceptions import VerifyException
from xdsl.utils.str_enum import StrEnum


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


class RowFunction(StrEnum):
    """What is computed of whole rows."""

    ADD = auto()
    MULTIPLY = auto()
    TOP = auto()
    TAKE = auto()


@irdl_attr_definition
class RowFunctionAttr(EnumAttribute[RowFunction], SpacedOpaqueSyntaxAttribute):
    """A function of rows: ``add`` or ``multiply`` (a scan), ``top``, ``take``."""

    name = "tile.row_function"


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


PINNED = StringAttr("l3")
"""The memory space of a tensor that stands in L3; external memory is that of no name."""


def is_pinned(type: Attribute) -> bool:
    """Whether a tensor stands in L3."""
    return isinstance(type, MemRefType) and type.memory_space == PINNED


MOVED = 5
"""The dimensions that a block mover steps through, as the tensor descriptors of other machines have
them."""


def counters(shape: Sequence[int], permutation: Sequence[int]) -> int:
    """The dimensions through which a mover steps: those of more than one element; what stays
    together counts once, and a block that keeps its order is one.

    >>> counters((4, 5, 6), (2, 0, 1)), counters((4, 1, 6), (0, 2, 1)), counters((4, 5, 6), (2, 1, 0))
    (2, 1, 3)
    """
    order = [axis for axis in permutation if shape[axis] > 1]
    stored = sorted(order)
    together = set(pairwise(stored))
    return len(order) - sum(pair in together for pair in pairwise(order))


def verify_moved(what: str, shape: Sequence[int], permutation: Sequence[int]) -> None:
    """A block of ``shape`` that one mover can permute."""
    count = counters(shape, permutation)
    if count > MOVED:
        raise VerifyException(
            f"{what}: a block mover steps through {MOVED} dimensions; {tuple(shape)} in the order "
            f"{list(permutation)} needs {count}"
        )


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
    verify_moved(what, unpermuted(part, permutation), permutation)
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


def verify_gather(op: Operation, source: Attribute, by: SSAValue) -> MemRefType:
    """A gather reads external memory by a list of integers; its source as the list lays it out."""
    indices = SSAValue.get(by, type=MemRefType).type
    if (
        not isinstance(source, MemRefType)
        or len(source.get_shape()) < 2
        or is_pinned(source)
        or is_pinned(indices)
    ):
        raise VerifyException(
            f"{op.name}: only external memory of rank 2 or more is read by a list"
        )
    if len(indices.get_shape()) != 1 or not isinstance(indices.element_type, IntegerType):
        raise VerifyException(f"{op.name}: expected a list of integers, got {indices}")
    first, _, *rest = source.get_shape()
    return MemRefType(source.element_type, [first, indices.get_shape()[0], *rest])
