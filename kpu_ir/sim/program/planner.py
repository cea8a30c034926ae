"""From a ``dma`` function to its plan: edges clipped, loops cut into runs of trips that do the
same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

from xdsl.dialects.builtin import MemRefType
from xdsl.dialects.func import FuncOp

from kpu_ir.dialects.tile import unpermuted
from kpu_ir.nest import records
from kpu_ir.nest.ir import read_dma
from kpu_ir.nest.records import Affine, Function, Index, Shape, Tile, offset_of, packed
from kpu_ir.sim.program.plan import (
    Acquire,
    Fetch,
    Loop,
    Map,
    Matmul,
    Move,
    Node,
    Plan,
    Put,
    Reduce,
    Rowwise,
    Windowed,
    Write,
)
from kpu_ir.support.errors import KpuError

Cell = tuple[object, ...]
"""Whose a reused slot is: the operation that takes it, and where the loops around it are."""


class _Axis(NamedTuple):
    """One dimension of a block that may be clipped, or hang into what is around its tensor: ``size``
    elements from ``const`` and ``terms``, within ``limit``; the tensor itself has ``extent``, from
    ``low`` on."""

    axis: int
    const: int
    terms: tuple[tuple[int, int], ...]
    size: int
    limit: int
    low: int
    extent: int


class _Block(NamedTuple):
    """What a transfer accesses of a tensor or a tile: ``sizes`` elements from ``offsets``. ``open``
    are the dimensions that may be clipped; ``whole``: it is all of a tile."""

    offsets: tuple[Affine, ...]
    sizes: Shape
    open: tuple[_Axis, ...] = ()
    whole: bool = False


class _Access(NamedTuple):
    """One dimension of a block whose offset moves with a loop by ``own`` a step; ``others`` are the
    terms of the other loops. It is whole within ``floor`` and ``limit``, or within the extents of
    ``source``, whose part it is."""

    own: int
    const: int
    others: tuple[tuple[int, int], ...]
    size: int
    floor: int
    limit: int
    source: Tile | None
    axis: int


class _Planner:
    """Walks a function with its loops at the first of each run of trips.

    By loop: ``accesses`` of its body that it may clip, ``special``: whether its first and its last
    trip differ; ``inside``: whether it is open, ``value``: where it is, ``first``, ``last``: whether that is its
    first trip, its last one. ``blocks`` are those of the transfers. ``extents``: of what each tile
    holds, None where nothing does. ``held``: of what stands in slots that are reused, ``cells`` whose
    the slot of a tile is. ``cases``: the steps that there are, by what distinguishes them.
    ``writes``: the parameters that are written.
    """

    def __init__(self, function: Function) -> None:
        count = len(function.loops)
        self.function = function
        self.bounds = [loop.bounds for loop in function.loops]
        self.accesses: list[list[_Access]] = [[] for _ in range(count)]
        self.special = [[False, False] for _ in range(count)]
        self.value = [0] * count
        self.inside = [False] * count
        self.first = [False] * count
        self.last = [False] * count
        self.blocks: dict[records.Record, _Block] = {}
        self.around: dict[records.Record, tuple[int, ...]] = {}
        self.extents: list[Shape | None] = [None] * len(function.tiles)
        self.held: dict[Cell, Shape] = {}
        self.cells: dict[Tile, Cell] = {}
        self.cases: dict[tuple[object, ...], Any] = {}
        self.writes: set[int] = set()
        self.steps: dict[type, Callable[[Any, list[Node]], None]] = {
            records.Loop: self._loop,
            Index: self._index,
            records.Fetch: self._fetch,
            records.Move: self._move,
            records.Acquire: self._acquire,
            records.Put: self._put,
            records.Matmul: self._matmul,
            records.Map: self._map,
            records.Reduce: self._reduce,
            records.Rowwise: self._row,
            records.Windowed: self._window,
            records.Write: self._write,
        }

    # -- what is the same in all trips ------------------------------------------------------------

    def _gather(self, nodes: Sequence[records.Node], around: tuple[int, ...]) -> None:
        """The blocks of transfers, and what decides how each loop is cut; ``around``: the loops
        outside, the innermost first."""
        for node in nodes:
            match node:
                case records.Loop():
                    self._gather(node.body, (node.index.var, *around))
                case records.Fetch():
                    self._gather_fetch(node)
                    self._differ(node.reused, first=True)
                case records.Move():
                    sizes, source = unpermuted(node.out.shape, node.permuted), node.source
                    offsets = self._accessed(node.indices, sizes, None, source.shape, source)
                    whole = sizes == source.shape and not any(o.const or o.terms for o in offsets)
                    self.blocks[node] = _Block(offsets, sizes, whole=whole)
                    self._differ(node.reused, first=True)
                    self._differ([node.after] if node.after else (), first=True)
                    self._differ(node.over, last=True)
                case records.Write():
                    sizes, limits = node.source.shape, node.target.shape
                    offsets = self._accessed(node.indices, sizes, None, limits)
                    self.blocks[node] = _Block(offsets, sizes, _open(offsets, sizes, limits))
                    self._differ(node.over, last=True)
                case records.Acquire():
                    reused = [i.var for i in node.reused]
                    self.around[node] = tuple(v for v in around if v not in reused)
                    self._differ(node.reused, first=True)
                case records.Matmul() | records.Reduce():
                    self._differ(node.over, first=True, last=True)
                case _:
                    pass

    def _gather_fetch(self, node: records.Fetch) -> None:
        shape, sizes, low, high = node.source.shape, node.out.shape, node.low, node.high
        if node.by is not None:
            shape = (shape[0], *node.by.shape, *shape[2:])
        offsets = self._accessed(node.indices, sizes, low, shape)
        self.blocks[node] = _Block(offsets, sizes, _open(offsets, sizes, shape, low, high))

    def _differ(self, loops: Sequence[Index], first: bool = False, last: bool = False) -> None:
        for index in loops:
            self.special[index.var][0] |= first
            self.special[index.var][1] |= last

    def _accessed(
        self,
        indices: records.Indices,
        sizes: Shape,
        low: Shape | None,
        shape: Shape,
        source: Tile | None = None,
    ) -> tuple[Affine, ...]:
        """The offsets of a block; each loop that moves it hears of it."""
        offsets = tuple(map(offset_of, indices))
        for axis, offset in enumerate(offsets):
            for var, own in offset.terms:
                others = tuple(t for t in offset.terms if t[0] != var)
                floor, size = low[axis] if low else 0, sizes[axis]
                limit = floor + shape[axis]
                self.accesses[var].append(
                    _Access(own, offset.const, others, size, floor, limit, source, axis)
                )
        return offsets

    # -- loops ------------------------------------------------------------------------------------

    def _interior(self, var: int) -> tuple[int, int]:
        """The trips ``[lo, hi)`` in which no access of the body is clipped on account of this
        loop."""
        bounds, value = self.bounds[var], self.value
        lo, hi = 0, len(bounds)
        for own, const, others, size, floor, limit, source, axis in self.accesses[var]:
            low = high = const
            for v, c in others:
                if self.inside[v]:
                    low += c * value[v]
                    high += c * value[v]
                else:
                    ends = (c * self.bounds[v][0], c * self.bounds[v][-1])
                    low, high = low + min(ends), high + max(ends)
            if source is not None and (extents := self.extents[source.register]):
                limit = extents[axis]
            # own * (start + step * t) + low >= floor  and  ... + high + size <= limit
            slope, base = own * bounds.step, own * bounds.start - floor
            room = limit - floor - size - high - base
            if slope > 0:
                hi = min(hi, room // slope + 1)
                lo = max(lo, -((low + base) // slope))
            else:
                lo = max(lo, -(room // -slope))
                hi = min(hi, (low + base) // -slope + 1)
        return (lo, hi) if lo < hi else (0, 0)

    def _cuts(self, var: int) -> list[int]:
        """Where runs of trips that do the same begin, and the end."""
        trips = len(self.bounds[var])
        lo, hi = self._interior(var)
        marks = {0, trips, *range(lo), lo, hi, *range(hi, trips)}
        first, last = self.special[var]
        if first:
            marks.add(1)
        if last:
            marks.add(trips - 1)
        return sorted(marks)

    def _loop(self, loop: records.Loop, out: list[Node]) -> None:
        var, bounds = loop.index.var, loop.bounds
        trips, cuts = len(bounds), self._cuts(var)
        self.inside[var] = True
        for begin, end in pairwise(cuts):
            self.value[var] = at = bounds[begin]
            self.first[var], self.last[var] = begin == 0, end == trips
            body = self.block(loop.body)
            if body:
                innermost = not any(type(n) is Loop for n in body)
                out.append(Loop(var, at, bounds.step, end - begin, tuple(body), innermost))
        self.inside[var] = False

    def block(self, nodes: Sequence[records.Node]) -> list[Node]:
        """The nodes of a block where the loops around it are as ``value`` says."""
        out: list[Node] = []
        for node in nodes:
            self.steps[type(node)](node, out)
        return out

    def _index(self, index: Index, out: list[Node]) -> None:
        """An index costs nothing."""

    # -- what operations ask ----------------------------------------------------------------------

    def _begins(self, loops: Sequence[Index]) -> bool:
        for i in loops:
            if not self.first[i.var]:
                return False
        return True

    def _ends(self, loops: Sequence[Index]) -> bool:
        for i in loops:
            if not self.last[i.var]:
                return False
        return True

    def _left(self, record: records.Record, axis: _Axis) -> tuple[int, int]:
        """Where a block begins in a dimension, and how many elements are left there."""
        at = axis.const
        for v, c in axis.terms:
            at += c * self.value[v]
        if at < 0:
            raise KpuError(
                f"offset {at} in dimension {axis.axis} is before the beginning", record.place
            )
        return at, axis.limit - at

    def _read(self, record: records.Record, tile: Tile) -> Shape | None:
        """The extents of a tile that is read; None where it is empty."""
        extents = self.extents[tile.register]
        if extents is None and tile.room:
            raise KpuError("reads a tile that nothing has written", record.place)
        return extents

    def _into(self, tile: Tile, extents: Shape) -> None:
        """A tile is written."""
        self.extents[tile.register] = extents
        if tile in self.cells:
            self.held[self.cells[tile]] = extents

    # -- transfers --------------------------------------------------------------------------------

    def _fetch(self, record: records.Fetch, out: list[Node]) -> None:
        block = self.blocks[record]
        extents, inside = list(block.sizes), None
        for axis in block.open:
            at, left = self._left(record, axis)
            if left <= 0:
                self.extents[record.out.register] = None
                return
            n = extents[axis.axis] = axis.size if axis.size < left else left
            if record.low is not None:
                held = min(at + n, axis.low + axis.extent) - max(at, axis.low)
                if held != n:
                    inside = inside or {}
                    inside[axis.axis] = max(0, held)
        moves, got = self._begins(record.reused), tuple(extents)
        read = got if inside is None else tuple(inside.get(a, n) for a, n in enumerate(got))
        self.extents[record.out.register] = got
        key = (record, got, moves, read)
        step = self.cases.get(key)
        if step is None:
            step = self.cases[key] = self._fetched(record, got, moves, read)
        out.append(step)

    def _fetched(self, record: records.Fetch, extents: Shape, moves: bool, inside: Shape) -> Fetch:
        offsets, low = self.blocks[record].offsets, record.low
        hangs = inside != extents
        if low is not None and any(low) and not hangs:
            offsets = tuple(o + Affine(-n) for o, n in zip(offsets, low))
        size = packed(record.out.ring.bits, inside)
        if record.by is not None:
            size += packed(record.by.bits, inside[1:2])
        return Fetch(record, extents, offsets, moves, size, low if hangs else None, inside)

    def _move(self, record: records.Move, out: list[Node]) -> None:
        tile = record.out
        if record.after is not None and self.first[record.after.var]:
            self.extents[tile.register] = None
            out.append(self._case((record,), lambda: Acquire(record, tile.shape)))
            return
        if not self._ends(record.over):
            self.extents[tile.register] = None
            return
        source = self._read(record, record.source)
        full, block = self.blocks[record], source
        if source is not None and not full.whole:
            block = self._part(record, full, source)
        if block is None:
            self.extents[tile.register] = None
            return
        moves = self._begins(record.reused)
        held = source or block
        key = (record, block, held, moves)
        step = self._case(key, lambda: self._moved(record, block, held, moves))
        self.extents[tile.register] = step.extents
        out.append(step)

    def _part(self, record: records.Move, block: _Block, source: Shape) -> Shape | None:
        """The extents of a block of a tile; None where nothing of it is left."""
        extents: list[int] = []
        for axis in _open(block.offsets, block.sizes, source, every=True):
            left = self._left(record, axis)[1]
            extents.append(min(axis.size, left))
        return tuple(extents) if min(extents, default=1) > 0 else None

    def _moved(self, record: records.Move, block: Shape, within: Shape, moves: bool) -> Move:
        extents = tuple(block[axis] for axis in record.permuted)
        size = packed(record.out.ring.bits, extents)
        return Move(record, extents, self.blocks[record].offsets, block, moves, size, within)

    def _case(self, key: tuple[object, ...], make: Callable[[], Any]) -> Any:
        """The step of a case, made once."""
        step = self.cases.get(key)
        if step is None:
            step = self.cases[key] = make()
        return step

    def _acquire(self, record: records.Acquire, out: list[Node]) -> None:
        tile = record.out
        self.extents[tile.register] = None
        if not record.reused:
            out.append(self._case((record,), lambda: Acquire(record, tile.shape)))
            return
        cell = (record, *(self.value[v] for v in self.around[record]))
        self.cells[tile] = cell
        fresh, shape = self._begins(record.reused), tile.shape
        if fresh:
            self.held.pop(cell, None)
        elif cell in self.held:
            self.extents[tile.register] = shape = self.held[cell]
        where = tuple(Affine(0, ((v, 1),)) for v in self.around[record])
        out.append(Acquire(record, shape, fresh, where))

    def _put(self, record: records.Put, out: list[Node]) -> None:
        source = self._read(record, record.source)
        if source is None:
            return
        self._into(record.into, source)
        size = packed(record.source.ring.bits, source)
        out.append(self._case((record, source), lambda: Put(record, source, size)))

    def _write(self, record: records.Write, out: list[Node]) -> None:
        if not self._ends(record.over):
            return
        source = self._read(record, record.source)
        if source is None:
            return
        block, extents = self.blocks[record], list(source)
        for axis in block.open:
            left = self._left(record, axis)[1]
            if left <= 0:
                return
            extents[axis.axis] = min(source[axis.axis], left)
        if tuple(extents) != source:
            raise KpuError(
                f"writes a tile of {source} where only {tuple(extents)} is left",
                record.place,
                "operands and result must be clipped alike",
            )
        self.writes.add(record.target.position)
        size = packed(record.target.bits, source)
        out.append(self._case((record, source), lambda: Write(record, source, block.offsets, size)))

    # -- computing --------------------------------------------------------------------------------

    def _matmul(self, record: records.Matmul, out: list[Node]) -> None:
        a, b = self._read(record, record.lhs), self._read(record, record.rhs)
        if a is None or b is None:
            if record.over:
                raise KpuError("an empty tile in a sum over a loop", record.place, "cut K evenly")
            return
        first, last = self._begins(record.over), self._ends(record.over)
        if not first and self.extents[(record.sums or record.into).register] is None:
            raise KpuError("adds to a sum that was never begun", record.place)
        ends = last or record.each
        extra = [self._read(record, t) for t in record.extra] if ends else []
        key = (record, a, b, first, last, *extra)
        step = self.cases.get(key)
        if step is None:
            step = self.cases[key] = self._product(record, a, b, first, last, extra)
        self._into(step.target, step.extents)
        out.append(step)

    def _product(
        self,
        record: records.Matmul,
        a: Shape,
        b: Shape,
        first: bool,
        last: bool,
        extra: Sequence[Shape | None],
    ) -> Matmul:
        if record.window is not None:
            batch, m, k, inner = b[:-3], a[-4], prod(a[-3:]), b[-3] * record.window.taps
            positions = record.window.positions(b[-2:])
        else:
            batch = tuple(max(x, y) for x, y in zip(a[:-2], b[:-2]))
            m, k, inner, positions = a[-2], a[-1], b[-2], (b[-1],)
        if k != inner:
            raise KpuError(f"operands have {k} and {inner} elements along k", record.place)
        if any(e is None for e in extra):
            raise KpuError("an operand of the epilogue is empty", record.place)
        return Matmul(
            record,
            extents=(*batch, m, *positions),
            batch=prod(batch),
            m=m,
            n=prod(positions),
            k=k,
            accumulate=not first,
            last=last,
            extra_bytes=_bytes(zip(record.extra, extra)),
        )

    def _map(self, record: records.Map, out: list[Node]) -> None:
        known = [e for t in record.inputs if (e := self._read(record, t)) is not None]
        if len(known) < len(record.inputs):
            return
        step = self._case((record, *known), lambda: self._mapped(record, known))
        self._into(record.into, step.extents)
        out.append(step)

    def _mapped(self, record: records.Map, inputs: Sequence[Shape]) -> Map:
        into = record.into
        extents = tuple(
            # Where every input is one element wide, it is repeated as often as the type says.
            n if all(t.shape[axis] == 1 for t in record.inputs) else max(e[axis] for e in inputs)
            for axis, n in enumerate(into.shape)
        )
        n = prod(extents)
        read = _bytes(zip(record.inputs, inputs))
        return Map(record, extents, n, read, packed(into.ring.bits, extents))

    def _reduce(self, record: records.Reduce, out: list[Node]) -> None:
        source = self._read(record, record.source)
        if source is None:
            if record.over:
                raise KpuError(
                    "an empty tile in a reduction over a loop", record.place, "cut it evenly"
                )
            return
        first = self._begins(record.over)
        if not first and self.extents[record.into.register] is None:
            raise KpuError("combines with a result that was never begun", record.place)
        step = self._case((record, source, first), lambda: self._reduced(record, source, first))
        self._into(record.into, step.extents)
        out.append(step)

    def _reduced(self, record: records.Reduce, source: Shape, first: bool) -> Reduce:
        extents = tuple(1 if axis in record.axes else n for axis, n in enumerate(source))
        read = packed(record.source.ring.bits, source)
        written = packed(record.into.ring.bits, extents)
        return Reduce(record, extents, prod(source), not first, read, written)

    def _row(self, record: records.Rowwise, out: list[Node]) -> None:
        source = self._read(record, record.source)
        by = None if record.by is None else self._read(record, record.by)
        if source is None or (record.by is not None and by is None):
            return
        step = self._case((record, source), lambda: self._rowwise(record, source))
        self._into(record.into, step.extents)
        out.append(step)

    def _rowwise(self, record: records.Rowwise, source: Shape) -> Rowwise:
        axis, count = record.axis, record.into.shape[record.axis]
        if source[axis] < record.source.shape[axis]:
            raise KpuError("a row is cut", record.place, "tiles that hold whole rows")
        extents = (*source[:axis], count, *source[axis + 1 :])
        read = packed(record.source.ring.bits, source)
        if record.by is not None:  # only what is taken is read
            read = packed(record.source.ring.bits, extents) + packed(record.by.ring.bits, extents)
        written = packed(record.into.ring.bits, extents)
        return Rowwise(record, extents, prod(source), source[axis], read, written)

    def _window(self, record: records.Windowed, out: list[Node]) -> None:
        source = self._read(record, record.source)
        if source is None:
            return
        weights = None
        if record.weights is not None:
            weights = self._read(record, record.weights)
            if weights is None:
                raise KpuError("the weights are empty", record.place)
        extra = [self._read(record, t) for t in record.extra]
        key = (record, source, weights, *extra)
        step = self._case(key, lambda: self._windowed(record, source, weights, extra))
        self._into(record.into, step.extents)
        out.append(step)

    def _windowed(
        self,
        record: records.Windowed,
        source: Shape,
        weights: Shape | None,
        extra: Sequence[Shape | None],
    ) -> Windowed:
        read = _bytes([(record.source, source), *zip(record.extra, extra)])
        if record.weights is not None and weights is not None:
            read += packed(record.weights.ring.bits, weights)
        extents = (*source[:-2], *record.window.positions(source[-2:]))
        return Windowed(record, extents, read, packed(record.into.ring.bits, extents))

    def plan(self, parameters: Sequence[MemRefType]) -> Plan:
        """The whole function."""
        f = self.function
        self._gather(f.body, ())
        body = tuple(self.block(f.body))
        return Plan(
            f.name,
            f.where,
            tuple(f.rings),
            body,
            tuple(parameters),
            tuple(t.ring for t in f.tiles),
            frozenset(self.writes),
            len(f.loops),
        )


def _open(
    offsets: Sequence[Affine],
    sizes: Shape,
    shape: Shape,
    low: Shape | None = None,
    high: Shape | None = None,
    every: bool = False,
) -> tuple[_Axis, ...]:
    """The dimensions (or all) of a block that may be clipped, or hang over."""
    found: list[_Axis] = []
    for axis, (offset, size, extent) in enumerate(zip(offsets, sizes, shape)):
        before, after = low[axis] if low else 0, high[axis] if high else 0
        limit, const = before + extent + after, offset.const
        if every or offset.terms or before or after or const < 0 or const + size > limit:
            found.append(_Axis(axis, const, offset.terms, size, limit, before, extent))
    return tuple(found)


def _bytes(tiles: Any) -> int:
    """Bytes of several tiles, by their extents."""
    return sum(packed(t.ring.bits, e) for t, e in tiles if e is not None)


@dataclass
class RingCounter:
    """Numbers the rings of all functions of a program."""

    count: int = field(default=0)

    def __call__(self) -> int:
        """The next number."""
        self.count += 1
        return self.count - 1


def plan_of(function: Function, ring_index: Callable[[], int] | None = None) -> Plan:
    """Plan a function. Raises ``KpuError`` where it reads what was never written or out of
    bounds."""
    number = ring_index or RingCounter()
    for ring in function.rings:
        ring.index = number()
    return _Planner(function).plan([t.type for t in function.tensors])


def plan_function(func: FuncOp, ring_index: Callable[[], int] | None = None) -> Plan:
    """Plan one ``dma`` function of the IR, likewise."""
    return plan_of(read_dma(func), ring_index)
