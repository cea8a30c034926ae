"""A ``dma`` function as plain records: one for each operation, in a tree of loops.

``Function`` builds it. What decides how a loop is cut into runs of trips that do the same is
gathered meanwhile: the accesses of its body that may be clipped, and whether its first or its last
trip differs from the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from xdsl.dialects.builtin import LocationAttr
from xdsl.ir import Operation, Region

from kpu_ir.dialects.tile import Dataflow, Reduction, Window
from kpu_ir.nest.values import Affine, Index, Ring, Shape, Tensor, Tile, offset_of
from kpu_ir.text.places import place_of

Indices = Sequence[int | Index]


class Access(NamedTuple):
    """One dimension of a block whose offset moves with a loop by ``own`` a step.

    ``others`` are the terms of the other loops. The block of ``size`` elements is whole within
    ``floor`` and ``limit``, or within the extents of the tile ``source`` that it is a part of.
    """

    own: int
    const: int
    others: tuple[tuple[int, int], ...]
    size: int
    floor: int
    limit: int
    source: Tile | None
    axis: int


@dataclass(slots=True, eq=False)
class Loop:
    """A loop; ``first``, ``last``: in that trip something is done, or left out."""

    index: Index
    var: int
    bounds: range
    location: LocationAttr | None
    body: list[Node] = field(default_factory=list["Node"])
    accesses: list[Access] = field(default_factory=list[Access])
    first: bool = False
    last: bool = False


@dataclass(slots=True, eq=False)
class Record:
    """An operation; ``op`` is the one of the IR, where it was read from there."""

    name: ClassVar[str]
    op: Operation | None = field(default=None, kw_only=True)
    function: Function = field(init=False)
    location: LocationAttr | None = field(init=False, default=None)

    @property
    def place(self) -> str | None:
        """Where it stands, for messages."""
        return place_of(self.op) if self.op else self.function.place(self.name)


@dataclass(slots=True, eq=False)
class Scalar(Record):
    """An index that an operation of the IR computes; it costs nothing."""

    name = "arith"
    index: Index


@dataclass(slots=True, eq=False)
class Transfer(Record):
    """What moves a block: the channels of its engine (None: all), how many steps later it is issued
    than it stands."""

    channels: Shape | None = field(default=None, kw_only=True)
    defer: int = field(default=0, kw_only=True)


@dataclass(slots=True, eq=False)
class Fetch(Transfer):
    """External memory to L3, or a pinned tensor to L2. ``low``, ``high``: elements around the
    tensor that read as ``fill``; None where there are none. ``by``: the list of the rows.
    ``shape``: that of the tensor, as the list lays it out, and ``padded`` with what is around."""

    name = "dma.fetch"
    source: Tensor
    indices: Indices
    out: Tile
    reused: Sequence[Index] = ()
    low: Shape | None = None
    high: Shape | None = None
    fill: float = 0.0
    by: Tensor | None = None
    offsets: tuple[Affine, ...] = ()
    shape: Shape = ()
    padded: Shape = ()


@dataclass(slots=True, eq=False)
class Move(Transfer):
    """Between L3 and L2. ``after``: not in the first trip of that loop; ``over``: in the last trips
    only; ``permuted`` permutes always, maybe by the identity; ``whole``: all of the source."""

    name = "dma.move"
    source: Tile
    indices: Indices
    out: Tile
    permuted: Shape
    reused: Sequence[Index] = ()
    after: Index | None = None
    over: Sequence[Index] = ()
    offsets: tuple[Affine, ...] = ()
    block: Shape = ()
    whole: bool = False


@dataclass(slots=True, eq=False)
class Acquire(Record):
    """A slot for a result; ``around``: the variables of the loops around it over which it is not
    reused, the innermost first, where it is reused at all."""

    name = "dma.acquire"
    out: Tile
    reused: Sequence[Index] = ()
    around: tuple[int, ...] = ()


@dataclass(slots=True, eq=False)
class Put(Transfer):
    """A tile from L2 to a slot that was acquired in L3."""

    name = "dma.put"
    source: Tile
    into: Tile


@dataclass(slots=True, eq=False)
class Matmul(Record):
    """A product of tiles, with an epilogue in the last trip of the loops that it is summed over."""

    name = "dma.matmul"
    dataflow: Dataflow
    lhs: Tile
    rhs: Tile
    into: Tile
    over: Sequence[Index] = ()
    extra: Sequence[Tile] = ()
    epilogue: Region | None = None
    window: Window | None = None


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
    over: Sequence[Index] = ()


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


@dataclass(slots=True, eq=False)
class Write(Transfer):
    """L3 to external memory, or L2 to a pinned tensor; ``over``: in the last trips only."""

    name = "dma.write"
    source: Tile
    target: Tensor
    indices: Indices
    over: Sequence[Index] = ()
    offsets: tuple[Affine, ...] = ()


Compute = Matmul | Map | Reduce | Windowed
Operations = Scalar | Fetch | Move | Acquire | Put | Compute | Write
Node = Loop | Operations


class Function:
    """A ``dma`` function, being written at a point that moves into loops and out of them.

    ``where`` is its place, if it has one; ``location`` that of what is appended.
    """

    def __init__(self, name: str, where: str | None = None) -> None:
        """An empty one."""
        self.name, self.where = name, where
        self.location: LocationAttr | None = None
        self.tensors: list[Tensor] = []
        self.rings: list[Ring] = []
        self.tiles: list[Tile] = []
        self.loops: list[Loop] = []
        self.body: list[Node] = []
        self.open: list[Loop] = []
        self._here = self.body

    def place(self, kind: str) -> str:
        """Where something of this kind stands, for messages."""
        return self.where or f"@{self.name} ({kind})"

    def enter(self, bounds: range, name: str | None) -> Index:
        """Open a loop; its variable."""
        var = len(self.loops)
        index = Index(Affine(0, ((var, 1),)), var, name)
        loop = Loop(index, var, bounds, self.location)
        self.loops.append(loop)
        self.open.append(loop)
        self._here.append(loop)
        self._here = loop.body
        return index

    def leave(self) -> None:
        """Close the innermost loop."""
        self.open.pop()
        self._here = self.open[-1].body if self.open else self.body

    def tile(self, ring: Ring, name: str | None, room: bool = False) -> Tile:
        """A new tile in the ring's next slot."""
        tile = Tile(len(self.tiles), name, ring.shape, ring, room)
        self.tiles.append(tile)
        return tile

    def add(self, record: Operations) -> None:
        """Append an operation here."""
        record.function, record.location = self, self.location
        self._here.append(record)

    def fetch(self, record: Fetch) -> None:
        """Append it, and note which loops clip it."""
        offsets = record.offsets = tuple(map(offset_of, record.indices))
        shape = record.source.shape
        if record.by is not None:
            shape = (shape[0], *record.by.shape, *shape[2:])
        record.shape = record.padded = shape
        if record.low is not None and record.high is not None:
            record.padded = tuple(a + n + b for a, n, b in zip(record.low, shape, record.high))
        self._clipped(offsets, record.out.shape, record.low, shape, None)
        for index in record.reused:
            self.loops[index.var].first = True
        self.add(record)

    def move(self, record: Move) -> None:
        """Append it, and note which loops clip it."""
        offsets = record.offsets = tuple(map(offset_of, record.indices))
        block = [0] * len(record.permuted)
        for axis, n in zip(record.permuted, record.out.shape):
            block[axis] = n
        record.block = tuple(block)
        record.whole = record.block == record.source.shape and not any(
            o.const or o.terms for o in offsets
        )
        self._clipped(offsets, record.block, None, record.source.shape, record.source)
        for index in record.reused:
            self.loops[index.var].first = True
        if record.after is not None:
            self.loops[record.after.var].first = True
        for index in record.over:
            self.loops[index.var].last = True
        self.add(record)

    def write(self, record: Write) -> None:
        """Append it, and note which loops clip it."""
        offsets = record.offsets = tuple(map(offset_of, record.indices))
        self._clipped(offsets, record.source.shape, None, record.target.shape, None)
        for index in record.over:
            self.loops[index.var].last = True
        self.add(record)

    def acquire(self, record: Acquire) -> None:
        """Append it; where it is reused, note over which loops it is not."""
        if record.reused:
            reused = {index.var for index in record.reused}
            record.around = tuple(o.var for o in reversed(self.open) if o.var not in reused)
            for var in reused:
                self.loops[var].first = True
        self.add(record)

    def sum(self, record: Matmul | Reduce) -> None:
        """Append what may be summed over loops."""
        for index in record.over:
            loop = self.loops[index.var]
            loop.first = loop.last = True
        self.add(record)

    def _clipped(
        self,
        offsets: tuple[Affine, ...],
        sizes: Shape,
        low: Shape | None,
        shape: Shape,
        source: Tile | None,
    ) -> None:
        for axis, offset in enumerate(offsets):
            for var, own in offset.terms:
                floor = 0 if low is None else low[axis]
                others = tuple(t for t in offset.terms if t[0] != var)
                self.loops[var].accesses.append(
                    Access(
                        own, offset.const, others, sizes[axis], floor, floor + shape[axis],
                        source, axis,
                    )
                )  # fmt: skip
