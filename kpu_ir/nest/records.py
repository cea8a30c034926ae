"""A ``tile`` or ``dma`` function as plain records: one for each operation, in a tree of loops.

``tile-to-dma`` puts a fetch, moves and slots in place of loads, room and stores; what is computed
stays the same record. Tiles then stand in rings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from math import prod
from typing import ClassVar

from xdsl.dialects.builtin import LocationAttr, MemRefType
from xdsl.ir import Attribute, Operation, Region

from kpu_ir.dialects.tile import Dataflow, Level, Reduction, RowFunction, Window, is_pinned
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import bits_of
from kpu_ir.text.places import place_of

ALIGNMENT = 64
"""Slots begin at multiples of this many bytes."""

Shape = tuple[int, ...]


def packed(bits: int, shape: Sequence[int]) -> int:
    """Bytes of a block, its elements densely packed."""
    return (bits * prod(shape) + 7) // 8


# -- values ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Affine:
    """``const + sum(coefficient * loop variable)``; variables are numbered by the function."""

    const: int
    terms: tuple[tuple[int, int], ...] = ()

    def __add__(self, other: Affine) -> Affine:
        merged = dict(self.terms)
        for var, coefficient in other.terms:
            merged[var] = merged.get(var, 0) + coefficient
        terms = tuple(sorted((v, c) for v, c in merged.items() if c))
        return Affine(self.const + other.const, terms)

    def scaled(self, factor: int) -> Affine:
        """This times an integer."""
        return Affine(self.const * factor, tuple((v, c * factor) for v, c in self.terms if factor))

    def at(self, env: dict[int, int]) -> int:
        """The value where the variables are ``env``."""
        return self.const + sum(c * env[v] for v, c in self.terms)


@cache
def constant(n: int) -> Affine:
    """An offset that no loop changes."""
    return Affine(n)


@dataclass(slots=True, eq=False)
class Index:
    """A number that a nest counts with: the variable of loop ``var``, or (-1) what an operation makes
    of ``operands``: ``op`` of the IR, or one of the class ``make``.

    ``affine`` is None where that is no sum of multiples of loop variables: such an index is an
    error where it is used as an offset.
    """

    affine: Affine | None
    var: int = -1
    name: str | None = None
    op: Operation | None = None
    operands: tuple[Index | int, ...] = ()
    make: type[Operation] | None = None
    location: LocationAttr | None = None


def offset_of(index: int | Index) -> Affine:
    """An index as an offset."""
    if isinstance(index, int):
        return constant(index)
    if index.affine is None:
        raise KpuError(
            "an offset must be a sum of constants and multiples of loop variables",
            place_of(index.op),
        )
    return index.affine


@dataclass(slots=True, eq=False)
class Tensor:
    """A parameter of a function: a tensor in external memory, or in L3 where it is pinned.

    ``panel``: of a matrix that stands in panels one behind the other, the rows that each has; 0 for
    any other tensor.
    """

    position: int
    type: MemRefType
    name: str | None = None
    panel: int = 0
    shape: Shape = field(init=False)
    bits: int = field(init=False)
    pinned: bool = field(init=False)

    def __post_init__(self) -> None:
        self.shape, self.bits = tuple(self.type.get_shape()), bits_of(self.type.element_type)
        self.pinned = is_pinned(self.type)


@dataclass(slots=True, eq=False)
class Ring:
    """A queue of slots at one memory level (``l3`` or ``l2``), side by side from a byte address; a
    slot holds at most ``shape`` elements of ``bits`` each, its size is in bytes. ``deep``: the field of
    a schedule that says how deep it is, where one does."""

    name: str
    shape: Shape
    element: Attribute
    level: str
    depth: int
    address: int = 0
    index: int = 0
    op: Operation | None = None
    deep: str = ""
    bits: int = field(init=False)
    slot_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        self.bits = bits_of(self.element)
        self.slot_bytes = -(-packed(self.bits, self.shape) // ALIGNMENT) * ALIGNMENT

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + self.depth * self.slot_bytes


@dataclass(slots=True, eq=False)
class Tile:
    """A block on chip, of at most ``shape`` elements; at the ``dma`` level in a slot of its ring, and
    numbered.

    ``room``: it is acquired, for a result; what it holds is written later.
    """

    name: str | None
    shape: Shape
    element: Attribute
    level: Level
    room: bool = False
    ring: Ring = field(init=False)
    register: int = field(init=False)


# -- operations -----------------------------------------------------------------------------------

Loops = Sequence[Index]
Indices = Sequence[int | Index]


@dataclass(slots=True, eq=False)
class Loop:
    """A loop."""

    index: Index
    bounds: range
    location: LocationAttr | None = None
    body: list[Node] = field(default_factory=list["Node"])


@dataclass(slots=True, eq=False)
class Record:
    """An operation of a function; ``op`` is the one of the IR, where it was read from there."""

    name: ClassVar[str]
    op: Operation | None = field(init=False, default=None)
    function: Function = field(init=False)
    location: LocationAttr | None = field(init=False, default=None)

    @property
    def place(self) -> str | None:
        """Where it stands, for messages."""
        return place_of(self.op) if self.op else self.function.place(self.name)


@dataclass(slots=True, eq=False)
class Load(Record):
    """``tile.load``: a block of a tensor or of a tile. ``low``, ``high``: elements around the tensor
    that read as ``fill``; ``by``: the list of the rows; ``after``: not in the first trip of that
    loop."""

    name = "tile.load"
    source: Tensor | Tile
    indices: Indices
    out: Tile
    reused: Loops = ()
    permuted: Shape | None = None
    low: Shape | None = None
    high: Shape | None = None
    fill: float = 0.0
    by: Tensor | None = None
    after: Index | None = None


@dataclass(slots=True, eq=False)
class Alloc(Record):
    """``tile.alloc``: room for a result."""

    name = "tile.alloc"
    out: Tile
    reused: Loops = ()


@dataclass(slots=True, eq=False)
class Store(Record):
    """``tile.store``: a block of a tensor, or a whole tile; ``over``: in the last trips only."""

    name = "tile.store"
    source: Tile
    target: Tensor | Tile
    indices: Indices
    permuted: Shape | None = None
    over: Loops = ()


@dataclass(slots=True, eq=False)
class Transfer(Record):
    """What moves a block: the channels of its engine (None: all), and how many steps later it is
    issued than it stands."""

    channels: Shape | None = field(default=None, kw_only=True)
    defer: int = field(default=0, kw_only=True)


@dataclass(slots=True, eq=False)
class Fetch(Transfer):
    """External memory to L3, or a pinned tensor to L2."""

    name = "dma.fetch"
    source: Tensor
    indices: Indices
    out: Tile
    reused: Loops = ()
    low: Shape | None = None
    high: Shape | None = None
    fill: float = 0.0
    by: Tensor | None = None


@dataclass(slots=True, eq=False)
class Move(Transfer):
    """Between L3 and L2; ``permuted`` may be the identity."""

    name = "dma.move"
    source: Tile
    indices: Indices
    out: Tile
    permuted: Shape
    reused: Loops = ()
    after: Index | None = None
    over: Loops = ()


@dataclass(slots=True, eq=False)
class Acquire(Record):
    """A slot for a result."""

    name = "dma.acquire"
    out: Tile
    reused: Loops = ()


@dataclass(slots=True, eq=False)
class Put(Transfer):
    """A tile from L2 to a slot that was acquired in L3."""

    name = "dma.put"
    source: Tile
    into: Tile


@dataclass(slots=True, eq=False)
class Write(Transfer):
    """L3 to external memory, or L2 to a pinned tensor; ``over``: in the last trips only."""

    name = "dma.write"
    source: Tile
    target: Tensor
    indices: Indices
    over: Loops = ()


@dataclass(slots=True, eq=False)
class Matmul(Record):
    """A product of tiles, with an epilogue in the last trip of the loops that it is summed over.
    ``sums``: where partial sums stand, if not in ``into``. ``each``: the epilogue is of each product,
    before it is added up."""

    name = "dma.matmul"
    dataflow: Dataflow
    lhs: Tile
    rhs: Tile
    into: Tile
    over: Loops = ()
    extra: Sequence[Tile] = ()
    epilogue: Region | None = None
    window: Window | None = None
    sums: Tile | None = None
    each: bool = False


@dataclass(slots=True, eq=False)
class Map(Record):
    """An elementwise function of tiles."""

    name = "dma.map"
    inputs: Sequence[Tile]
    into: Tile
    body: Region


@dataclass(slots=True, eq=False)
class Reduce(Record):
    """A tile combined along ``axes``, over loops as well."""

    name = "dma.reduce"
    reduction: Reduction
    source: Tile
    into: Tile
    axes: Shape
    over: Loops = ()


@dataclass(slots=True, eq=False)
class Rowwise(Record):
    """A function of the rows of a tile along ``axis``; ``by``: the numbers of what is taken."""

    name = "dma.row"
    what: RowFunction
    source: Tile
    by: Tile | None
    into: Tile
    axis: int
    backward: bool = False
    exclusive: bool = False


@dataclass(slots=True, eq=False)
class Windowed(Record):
    """The windows of a tile, combined, weighted or not."""

    name = "dma.window"
    reduction: Reduction
    window: Window
    source: Tile
    weights: Tile | None
    into: Tile
    extra: Sequence[Tile] = ()
    epilogue: Region | None = None


Compute = Matmul | Map | Reduce | Rowwise | Windowed
Steps = Load | Alloc | Store | Fetch | Move | Acquire | Put | Write | Compute
Node = Loop | Index | Steps


class Function:
    """A function, written at a point that moves into loops and out of them.

    ``where`` is its place, if it has one. ``loops`` are all of its loops by their variable; ``tiles``,
    ``rings`` and ``stored``, what is deferred, are those of the ``dma`` level.
    """

    def __init__(self, name: str, where: str | None = None) -> None:
        """An empty one."""
        self.name, self.where = name, where
        self.tensors: list[Tensor] = []
        self.rings: list[Ring] = []
        self.tiles: list[Tile] = []
        self.loops: list[Loop] = []
        self.stored: list[Transfer] = []
        self.body: list[Node] = []
        self.here = [self.body]

    def place(self, kind: str) -> str:
        """Where something of this kind stands, for messages."""
        return self.where or f"@{self.name} ({kind})"

    def enter(self, bounds: range, name: str | None) -> Loop:
        """Open a loop."""
        var = len(self.loops)
        loop = Loop(Index(Affine(0, ((var, 1),)), var, name), bounds)
        self.loops.append(loop)
        self.here[-1].append(loop)
        self.here.append(loop.body)
        return loop

    def leave(self) -> None:
        """Close the innermost loop."""
        self.here.pop()

    def add(self, record: Steps) -> None:
        """Append an operation here."""
        record.function = self
        self.here[-1].append(record)

    def slot(self, tile: Tile, ring: Ring) -> Tile:
        """A tile gets its ring, and its number."""
        tile.ring, tile.register = ring, len(self.tiles)
        self.tiles.append(tile)
        return tile
