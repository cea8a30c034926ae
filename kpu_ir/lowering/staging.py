"""From a nest of tiles to a ``dma`` function: the one place that decides rings, routes and
deferral. ``tile-to-dma`` uses it on IR, the search on what a tiling strategy writes."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Attribute, Operation, Region

from kpu_ir.dialects.tile import Dataflow, Level, Reduction, Window, unpermuted
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.nest import records
from kpu_ir.nest.dma_ir import index_of
from kpu_ir.nest.interface import Nest
from kpu_ir.nest.records import Function
from kpu_ir.nest.values import Affine, Index, Ring, Shape, Tensor, Tile
from kpu_ir.support.errors import KpuError
from kpu_ir.text.places import place_of

Value = Index | Tensor | Tile


class Staging(Nest[Value]):
    """Writes a nest as a ``dma`` function.

    What comes from external memory goes to L3 by the DMA, from L3 to L2 by a block mover, into a
    ring for each; results go the other way, deferred. ``origin`` is the operation of the IR that is
    staged, where there is one.
    """

    def __init__(self, name: str, schedule: Schedule, where: str | None = None) -> None:
        """An empty function, whose rings are as deep as ``schedule`` says; ``where``: its place."""
        self.out = Function(name, where)
        self.schedule = schedule
        self.origin: Operation | None = None
        self.taken: set[str] = set()
        self.stack: list[bool] = []
        self.results: set[Tile] = set()

    # -- loops and indices ------------------------------------------------------------------------

    def loop(self, extent: int, step: int, name: str, start: int = 0) -> Index | None:
        """A loop over ``range(start, extent, step)``, or none."""
        if not start and step >= extent:
            self.stack.append(False)
            return None
        return self.enter(range(start, extent, step), name)

    def enter(self, bounds: range, name: str | None) -> Index:
        """A loop, even of one trip."""
        self.stack.append(True)
        return self.out.enter(bounds, name)

    def close(self, loops: int = 1) -> None:
        """Leave the innermost loops."""
        for _ in range(loops):
            if self.stack.pop():
                self.out.leave()

    def affine(self, index: Value | None, factor: int = 1, start: int = 0) -> Value | int:
        """``start + factor * index``."""
        if index is None:
            return start
        if factor == 1 and not start:
            return index
        of = _affine(index).scaled(factor)
        return Index(Affine(of.const + start, of.terms))

    def plus(self, a: Value | None, b: Value | None) -> Value | None:
        """The sum of two indices."""
        if a is None or b is None:
            return b if a is None else a
        return Index(_affine(a) + _affine(b))

    def scalar(self, op: Operation, operands: Sequence[Value]) -> Index:
        """An index that an operation of the IR computes."""
        index = index_of(op, [_index(v) for v in operands])
        self.out.add(records.Scalar(index, op=op))
        return index

    def place(self, kind: str) -> str | None:
        """Where what is staged stands, for messages."""
        return place_of(self.origin) if self.origin else self.out.place(kind)

    # -- rings ------------------------------------------------------------------------------------

    def ring(self, stem: str, shape: Shape, element: Attribute, level: str, depth: int) -> Ring:
        """A ring named after the value that it holds; ``finish`` places it."""
        name, n = stem, 0
        while name in self.taken:
            n += 1
            name = f"{stem}_{n}"
        self.taken.add(name)
        ring = Ring(name, shape, element, level, depth)
        self.out.rings.append(ring)
        return ring

    def depth(self, kind: str, reused: Sequence[Index], stream: int) -> int:
        """``stream`` slots; where a value is reused, one for each time that one trip of the outermost
        reused loop fills. ``kind``: of the operation."""
        if not reused:
            return stream
        fills, count, found = 1, 1, False
        for loop in reversed(self.out.open):
            if loop.index in reused:
                if found and fills != count:
                    raise KpuError(
                        "keep: between loops that a tile stays over stands one that changes it",
                        self.place(kind),
                        "keep it over loops that stand directly inside each other",
                    )
                found, fills = True, count
            else:
                count *= len(loop.bounds)
        return fills if found else stream

    def finish(self, l3: int, l2: int) -> Function:
        """Place the rings: the function. Raises ``KpuError`` with both figures where they need more
        than ``l3`` or ``l2`` bytes."""
        for level, room in (("l3", l3), ("l2", l2)):
            end = 0
            rings = [r for r in self.out.rings if r.level == level]
            for ring in rings:
                ring.address = end
                end = ring.end
            if end > room:
                parts = ", ".join(f"@{r.name} {r.depth} x {r.slot_bytes}" for r in rings)
                raise KpuError(
                    f"the tiles of @{self.out.name} need {end} bytes of {level}, "
                    f"the machine has {room} for them ({parts})",
                    hint="smaller tiles, shallower rings, or a machine with more of it",
                )
        return self.out

    # -- transfers --------------------------------------------------------------------------------

    def load(
        self,
        source: Value,
        indices: Sequence[int | Value | None],
        shape: Sequence[int],
        element: Attribute,
        name: str | None,
        level: Level = Level.L2,
        reuse: Sequence[Value | None] = (),
        permuted: Sequence[int] | None = None,
        low: Sequence[int] | None = None,
        high: Sequence[int] | None = None,
        fill: float = 0.0,
        by: Value | None = None,
        after: Value | None = None,
    ) -> Tile:
        """External to L3 by the DMA, L3 to L2 by a block mover; both where a load goes all the
        way."""
        out, shape, at, reused = self.out, tuple(shape), _indices(indices), _loops(reuse)
        identity = tuple(range(len(shape)))
        axes = identity if permuted is None else tuple(permuted)
        stream, level_name, stem = self.schedule.depth, str(level.value), name or "t"
        if isinstance(source, Tile):
            self._used(source)
            ring = self.ring(
                stem, shape, element, level_name, self.depth("tile.load", reused, stream)
            )
            tile = out.tile(ring, name, room=after is not None)
            later = None if after is None else _index(after)
            out.move(records.Move(source, at, tile, axes, reused, later))
            return tile
        assert isinstance(source, Tensor)
        assert by is None or isinstance(by, Tensor)
        if by is not None and by.pinned:
            raise KpuError(
                "a list that rows are chosen by is in external memory",
                self.place("tile.load"),
                "keep it there",
            )
        if low is None and high is None:
            padding = None, None
        else:
            zeros = (0,) * len(shape)
            padding = tuple(low or zeros), tuple(high or zeros)
            padding = padding if any(padding[0]) or any(padding[1]) else (None, None)
        if source.pinned:
            if level is not Level.L2 or axes != identity or by is not None:
                raise KpuError(
                    "a tensor that stands in L3 is loaded to L2 as it is",
                    self.place("tile.load"),
                    "keep it in external memory",
                )
            ring = self.ring(stem, shape, element, "l2", self.depth("tile.load", reused, stream))
            tile = out.tile(ring, name)
            out.fetch(records.Fetch(source, at, tile, reused, *padding, fill))
            return tile
        staged = shape if axes == identity else unpermuted(shape, axes)
        to_l3 = level is Level.L3 and staged == shape
        # A tile that stays in L2 only passes through L3.
        staging = self.schedule.l3_depth
        if to_l3:
            staging = self.depth("tile.load", reused, staging)
        first = stem if to_l3 else f"{stem}_l3"
        tile = out.tile(self.ring(first, staged, element, "l3", staging), first)
        out.fetch(records.Fetch(source, at, tile, reused, *padding, fill, by))
        if to_l3:
            return tile
        ring = self.ring(stem, shape, element, level_name, self.depth("tile.load", reused, stream))
        near = out.tile(ring, name)
        out.move(records.Move(tile, [0] * len(shape), near, axes, reused))
        return near

    def alloc(
        self,
        shape: Sequence[int],
        element: Attribute,
        name: str | None,
        level: Level = Level.L2,
        reuse: Sequence[Value | None] = (),
    ) -> Tile:
        """A slot for a result: one where only the vector engine makes and reads it, since it does
        so in turn."""
        reused = _loops(reuse)
        depth = self.depth("tile.alloc", reused, 1)
        ring = self.ring(name or "t", tuple(shape), element, str(level.value), depth)
        tile = self.out.tile(ring, name, room=True)
        if not reused:
            self.results.add(tile)
        self.out.acquire(records.Acquire(tile, reused))
        return tile

    def _used(self, *tiles: Value) -> None:
        """Somebody else than the vector engine uses these."""
        for tile in tiles:
            if tile in self.results:
                assert isinstance(tile, Tile)
                tile.ring.depth = self.schedule.out_depth

    def store(
        self,
        source: Value,
        target: Value,
        indices: Sequence[int | Value | None],
        permuted: Sequence[int] | None = None,
        over: Sequence[Value | None] = (),
    ) -> None:
        """L2 to L3 by a block mover, L3 to external by the DMA, both deferred."""
        assert isinstance(source, Tile)
        self._used(source, target)
        out, defer = self.out, self.schedule.defer
        if isinstance(target, Tile):
            out.add(records.Put(source, target, defer=defer))
            return
        assert isinstance(target, Tensor)
        at, last, identity = _indices(indices), _loops(over), tuple(range(len(source.shape)))
        axes = identity if permuted is None else tuple(permuted)
        if target.pinned:
            if source.ring.level != "l2" or axes != identity:
                raise KpuError(
                    "a tensor that stands in L3 is stored from L2 as it is",
                    self.place("tile.store"),
                    "keep it in external memory",
                )
            out.write(records.Write(source, target, at, last, defer=defer))
            return
        if source.ring.level == "l2":
            shape = tuple(source.shape[a] for a in axes)
            stem = f"{source.name or 't'}_l3"
            ring = self.ring(stem, shape, source.element, "l3", self.schedule.out_depth)
            tile = out.tile(ring, stem)
            out.move(records.Move(source, [0] * len(shape), tile, axes, over=last, defer=defer))
            source = tile
            # In order behind its move, the write would make the DMA wait for the mover.
            defer += 1
        elif source.room:
            defer += 1  # behind the put that completes it
        out.write(records.Write(source, target, at, last, defer=defer))

    # -- computing --------------------------------------------------------------------------------

    def matmul(
        self,
        dataflow: Dataflow,
        lhs: Value,
        rhs: Value,
        into: Value,
        over: Sequence[Value | None] = (),
        extra: Sequence[Value] = (),
        epilogue: Region | None = None,
        window: Window | None = None,
    ) -> None:
        """A product on the fabric."""
        a, b, c, *more = tiles = _tiles((lhs, rhs, into, *extra))
        self._used(*tiles)
        self.out.sum(records.Matmul(dataflow, a, b, c, _loops(over), more, epilogue, window))

    def map(self, inputs: Sequence[Value], into: Value, body: Region) -> None:
        """A function on the vector engine."""
        *sources, out = _tiles((*inputs, into))
        self.out.add(records.Map(sources, out, body))

    def reduce(
        self,
        reduction: Reduction,
        source: Value,
        into: Value,
        axes: Sequence[int],
        over: Sequence[Value | None] = (),
    ) -> None:
        """A reduction on the vector engine."""
        a, b = _tiles((source, into))
        self.out.sum(records.Reduce(reduction, a, b, tuple(axes), _loops(over)))

    def window(
        self,
        reduction: Reduction,
        window: Window,
        source: Value,
        weights: Value | None,
        into: Value,
        extra: Sequence[Value] = (),
        epilogue: Region | None = None,
    ) -> None:
        """Windows on the vector engine."""
        a, b, *more = _tiles((source, into, *extra))
        assert weights is None or isinstance(weights, Tile)
        self.out.add(records.Windowed(reduction, window, a, weights, b, more, epilogue))


def _index(value: Value) -> Index:
    assert isinstance(value, Index)
    return value


def _affine(value: Value) -> Affine:
    affine = _index(value).affine
    assert affine is not None
    return affine


def _loops(values: Sequence[Value | None]) -> list[Index]:
    return [_index(v) for v in values if v is not None] if values else []


def _indices(indices: Sequence[int | Value | None]) -> list[int | Index]:
    return [0 if i is None else i if isinstance(i, int) else _index(i) for i in indices]


def _tiles(values: Sequence[Value]) -> list[Tile]:
    found: list[Tile] = []
    for value in values:
        assert isinstance(value, Tile)
        found.append(value)
    return found
