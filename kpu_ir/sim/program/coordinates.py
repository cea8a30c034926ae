"""Which elements of which tensors a kernel brings together.

Every dimension of a tile runs along a dimension of a tensor, from an offset that is affine in the
loops. Tiles of an elementwise function run along with each other and with their result, the two
operands of a product along k, and a result along the block that it is written to. Where they do not,
the kernel computes no sum, product or function of tensors that could have been meant: an index was
changed, or a loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kpu_ir.nest import records
from kpu_ir.nest.records import Affine, Function, Index, Tensor, Tile, offset_of
from kpu_ir.support.errors import KpuError

Variables = frozenset[int]


@dataclass(frozen=True, slots=True)
class Axis:
    """A dimension of a tile: along dimension ``axis`` of parameter ``tensor``, of ``extent`` elements,
    from ``offset`` on."""

    offset: Affine
    extent: int
    tensor: int
    axis: int

    @property
    def one(self) -> bool:
        """Whether there is one element, which goes with any."""
        return self.extent == 1


ONE = Axis(Affine(0), 1, -1, 0)
"""A dimension that was reduced."""

Axes = tuple[Axis | None, ...]
"""None: not known."""


@dataclass(slots=True)
class Held:
    """What a tile holds: ``axes``; whether it was ``computed``; the loops that it ``depends`` on."""

    axes: Axes
    computed: bool
    depends: Variables


@dataclass(frozen=True, slots=True)
class Sum:
    """A sum (or maximum, ...) along the dimensions ``along`` of one operand, over the loops ``over``.

    ``position``: which dimension of the operand each is (of a product: -1 along k, else of its result).
    """

    record: records.Matmul | records.Reduce
    along: tuple[Axis, ...]
    positions: tuple[int, ...]
    over: Variables


class Coordinates:
    """Walks a function once and finds what does not go together: ``sums`` are what is left to count.

    Raises ``KpuError`` with the place of the operation.
    """

    def __init__(self, function: Function) -> None:
        """Walk ``function``."""
        self.function = function
        self.names = [loop.index.name or f"loop {v}" for v, loop in enumerate(function.loops)]
        self.held: dict[Tile, Held] = {}
        self.sums: list[Sum] = []
        self.read: set[Tile] = set()
        self.made: dict[Tile, records.Record] = {}
        self.around: dict[Tile, tuple[int, ...]] = {}
        self.reads_in: dict[Tile, set[int]] = {}
        self.overwrites: list[tuple[records.Record, Tile, tuple[int, ...]]] = []
        self.open: list[int] = []
        self.steps: dict[type, Callable[[Any], None]] = {
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
        self._block(function.body)
        self._check_used()

    def _block(self, nodes: Sequence[records.Node]) -> None:
        for node in nodes:
            if isinstance(node, records.Loop):
                self.open.append(node.index.var)
                self._block(node.body)
                self.open.pop()
            elif not isinstance(node, Index):
                self.steps[type(node)](node)

    # -- what is used -----------------------------------------------------------------------------

    def _look(self, *tiles: Tile, last: Variables = frozenset()) -> Variables:
        """Tiles are read here, in the ``last`` trips only of some loops; the loops that they depend
        on."""
        depends: Variables = frozenset()
        for tile in tiles:
            self.read.add(tile)
            self.reads_in.setdefault(tile, set()).update(v for v in self.open if v not in last)
            if tile in self.held:
                depends |= self.held[tile].depends
        return depends

    def _check_used(self) -> None:
        for tile, record in self.made.items():
            if tile not in self.read:
                what = "computed" if isinstance(record, COMPUTING) else "loaded"
                name = f"%{tile.name}" if tile.name else "a tile"
                raise KpuError(f"{name} is {what}, and nothing reads it", record.place, LOST)
        for record, tile, loops in self.overwrites:
            for var in loops:
                if var not in self.reads_in.get(tile, ()):
                    raise KpuError(
                        f"each trip of %{self.names[var]} overwrites what the one before computed",
                        record.place,
                        f"over(%{self.names[var]}) adds it up",
                    )

    # -- what is brought --------------------------------------------------------------------------

    def _fetch(self, record: records.Fetch) -> None:
        source, axes = record.source, list[Axis | None]()
        for axis, index in enumerate(record.indices):
            tensor, extent = source.position, source.shape[axis]
            if record.by is not None and axis == 1:
                tensor, extent = record.by.position, record.by.shape[0]
            axes.append(Axis(offset_of(index), extent, tensor, axis))
        if source.panel:
            axes = self._unpacked(source, axes)
        depends = frozenset(v for a in axes if a for v, _ in a.offset.terms)
        self._bring(record, record.out, Held(tuple(axes), False, depends))

    def _unpacked(self, source: Tensor, axes: Sequence[Axis | None]) -> list[Axis | None]:
        """A row of a matrix in panels as row and column of the matrix: so many rows further on is the
        next panel. Loops go over rows or over panels."""
        (row, column), (rows, width) = axes, (source.panel, source.shape[1])
        assert row is not None
        assert column is not None
        inside, across = list[tuple[int, int]](), list(column.offset.terms)
        for var, factor in row.offset.terms:
            whole, rest = divmod(factor * self.function.loops[var].bounds.step * width, rows)
            panels = not rest and not whole % width and not factor * width % rows
            if panels:
                across.append((var, factor * width // rows))
            else:
                inside.append((var, factor))
        panel, first = divmod(row.offset.const, rows)
        at = Affine(panel * width + column.offset.const, tuple(sorted(across)))
        extent = source.shape[0] // rows * width
        return [
            replace(row, offset=Affine(first, tuple(inside)), extent=rows),
            replace(column, offset=at, extent=extent),
        ]

    def _move(self, record: records.Move) -> None:
        depends = self._look(record.source, last=_vars(record.over))
        offsets = [offset_of(i) for i in record.indices]
        source = self.held.get(record.source)
        depends |= frozenset(v for o in offsets for v, _ in o.terms)
        axes: list[Axis | None] = [None] * len(offsets)
        if source is not None:
            axes = [a and replace(a, offset=a.offset + o) for a, o in zip(source.axes, offsets)]
        moved = tuple(axes[a] for a in record.permuted)
        computed = source is None or source.computed
        self._bring(record, record.out, Held(moved, computed, depends))
        if record.after is not None:
            del self.held[record.out]  # in its first trip there is nothing

    def _bring(self, record: records.Record, tile: Tile, held: Held) -> None:
        self.held[tile] = held
        self.made[tile] = record
        self.around[tile] = tuple(self.open)

    def _acquire(self, record: records.Acquire) -> None:
        self.held.pop(record.out, None)
        reused = {i.var for i in record.reused}
        self.around[record.out] = tuple(v for v in self.open if v not in reused)

    def _put(self, record: records.Put) -> None:
        depends = self._look(record.source)
        source = self.held.get(record.source)
        if source is not None:
            self._result(record, record.into, Held(source.axes, True, depends), ())

    # -- what is computed -------------------------------------------------------------------------

    def _result(self, record: records.Record, tile: Tile, held: Held, over: Iterable[int]) -> None:
        """A tile is written; what it held before is lost in each loop inside of its own that it
        depends on, and that the record does not add up over."""
        self.made.setdefault(tile, record)
        before = self.held.get(tile)
        if before is not None and before.computed:
            axes = self._together(record, [before.axes, held.axes], "what it computes before")
            held = Held(axes, True, held.depends | before.depends)
        self.held[tile] = held
        inner = [v for v in self.open if v not in self.around[tile] and v not in over]
        lost = tuple(v for v in inner if v in held.depends)
        if lost:
            self.overwrites.append((record, tile, lost))

    def _axes(self, tile: Tile) -> Axes:
        held = self.held.get(tile)
        return held.axes if held is not None else (None,) * len(tile.shape)

    def _together(
        self, record: records.Record, operands: Sequence[Axes], what: str = "its operands"
    ) -> Axes:
        """What operands that run along with each other run along."""
        found: list[Axis | None] = []
        for axis, column in enumerate(zip(*operands, strict=True)):
            known = [a for a in column if a is not None and not a.one]
            for one in known[1:]:
                self._same(record, known[0], one, f"{what}, dimension {axis}")
            found.append(known[0] if known else None if None in column else ONE)
        return tuple(found)

    def _same(self, record: records.Record, a: Axis, b: Axis, what: str) -> None:
        if a.offset != b.offset:
            raise KpuError(
                f"{what}: one begins at {self._text(a.offset)}, another at {self._text(b.offset)}",
                record.place,
                LOST,
            )

    def _text(self, offset: Affine) -> str:
        parts = [f"%{self.names[v]}" + (f" * {c}" if c != 1 else "") for v, c in offset.terms]
        if offset.const or not parts:
            parts.append(str(offset.const))
        return " + ".join(parts)

    def _matmul(self, record: records.Matmul) -> None:
        depends = self._look(record.lhs, record.rhs, *record.extra)
        a, b, over = self._axes(record.lhs), self._axes(record.rhs), _vars(record.over)
        if record.over and record.sums is None:
            self._look(record.into)
            self.read.discard(record.into)  # by itself
        elif record.sums is not None:
            self._look(record.sums)
        window = record.window
        if window is None:
            k, also = a[-1], b[-2]
            ends: Axes = (a[-2], b[-1])
            batch = self._together(record, [a[:-2], b[:-2]])
        else:
            k, also = a[-3], b[-3]
            ends = (a[-4], *self._positions(record, b[-2:], window.strides))
            batch = self._batch(record, a[:-4], b[:-3])
            self._taps(record, a[-2:])
        if k is not None and also is not None and not k.one and not also.one:
            self._same(record, k, also, "its operands along k")
        axes = (*batch, *ends)
        moving: dict[int, Axis] = {}
        if record.each:
            what = "its epilogue's operands"
            axes = self._together(record, [axes, *map(self._axes, record.extra)], what)
            moving = self._moving(axes, over)
            axes = tuple(None if i in moving else a for i, a in enumerate(axes))
        self._still(record, axes, over)
        inner = next((a for a in (k, also) if a is not None and not a.one), None)
        found = [*moving.items(), *([] if inner is None else [(-1, inner)])]
        if found:
            positions, along = zip(*found)
            self.sums.append(Sum(record, along, positions, over))
        if record.sums is not None and record.over:
            self._result(record, record.sums, Held(axes, True, depends), over)
        extra = () if record.each else record.extra
        self._finish(record, record.into, axes, extra, depends, over)

    def _moving(self, axes: Axes, over: Variables) -> dict[int, Axis]:
        """The dimensions of a result that move with loops that it is added up over, by number."""
        return {
            i: axis
            for i, axis in enumerate(axes)
            if axis is not None and any(v in over for v, _ in axis.offset.terms)
        }

    def _batch(self, record: records.Record, a: Axes, b: Axes) -> Axes:
        """The dimensions outside of a product by windows, where one operand may have fewer."""
        rank = max(len(a), len(b))
        padded = [(*((ONE,) * (rank - len(x))), *x) for x in (a, b)]
        return self._together(record, padded)[rank - len(b) :]

    def _positions(self, record: records.Record, axes: Axes, strides: Sequence[int]) -> Axes:
        """Where windows stand that read a block."""
        found: list[Axis | None] = []
        for axis, stride in zip(axes, strides):
            if axis is None:
                found.append(None)
                continue
            o = axis.offset
            if o.const % stride or any(c % stride for _, c in o.terms):
                raise KpuError(
                    f"windows every {stride} elements do not begin at {self._text(o)}",
                    record.place,
                    LOST,
                )
            at = Affine(o.const // stride, tuple((v, c // stride) for v, c in o.terms))
            # How many positions there are does not matter, but that they are several.
            found.append(replace(axis, offset=at, extent=max(axis.extent, 2)))
        return tuple(found)

    def _taps(self, record: records.Record, axes: Axes) -> None:
        """All taps of a window are there at once."""
        for axis in axes:
            if axis is not None and axis.offset != Affine(0):
                raise KpuError(
                    f"the taps of a window begin at {self._text(axis.offset)}", record.place, LOST
                )

    def _still(self, record: records.Record, axes: Axes, over: Variables) -> None:
        """A result stands still while it is added up."""
        for axis in axes:
            for v, _ in axis.offset.terms if axis is not None else ():
                if v in over:
                    raise KpuError(
                        f"the sum over %{self.names[v]} is of elements that move with it",
                        record.place,
                        LOST,
                    )

    def _finish(
        self,
        record: records.Record,
        into: Tile,
        axes: Axes,
        extra: Sequence[Tile],
        depends: Variables,
        over: Variables = frozenset(),
    ) -> None:
        """A result, and what its epilogue reads besides."""
        if extra:
            axes = self._together(
                record, [axes, *map(self._axes, extra)], "its epilogue's operands"
            )
        self._result(record, into, Held(axes, True, depends), over)

    def _map(self, record: records.Map) -> None:
        depends = self._look(*record.inputs)
        axes = self._together(record, [self._axes(t) for t in record.inputs])
        wide = tuple(
            None if a is not None and a.one and n > 1 else a
            for a, n in zip(axes, record.into.shape)
        )
        self._result(record, record.into, Held(wide, True, depends), ())

    def _reduce(self, record: records.Reduce) -> None:
        depends, axes = self._look(record.source), self._axes(record.source)
        over = _vars(record.over)
        along = [(a, i) for i, a in enumerate(axes) if i in record.axes]
        known = [(a, i) for a, i in along if a is not None and not a.one]
        left = tuple(ONE if i in record.axes else a for i, a in enumerate(axes))
        self._still(record, left, over)
        if known and None not in [a for a, _ in along]:
            found, positions = zip(*known)
            self.sums.append(Sum(record, found, positions, over))
        self._result(record, record.into, Held(left, True, depends), over)

    def _row(self, record: records.Rowwise) -> None:
        numbers = () if record.by is None else (record.by,)
        depends = self._look(record.source, *numbers)
        axes = [self._axes(t) for t in (record.source, *numbers)]
        whole = [(*a[: record.axis], None, *a[record.axis + 1 :]) for a in axes]
        self._result(record, record.into, Held(self._together(record, whole), True, depends), ())

    def _window(self, record: records.Windowed) -> None:
        weights = () if record.weights is None else (record.weights,)
        depends = self._look(record.source, *weights, *record.extra)
        axes = self._axes(record.source)
        channels: list[Axes] = [axes[:-2]]
        for tile in weights:
            w = self._axes(tile)
            channels.append((*((None,) * (len(axes) - 3)), w[-3]))
            self._taps(record, w[-2:])
        lead = self._together(record, channels)
        spots = self._positions(record, axes[-2:], record.window.strides)
        self._finish(record, record.into, (*lead, *spots), record.extra, depends)

    # -- what leaves ------------------------------------------------------------------------------

    def _write(self, record: records.Write) -> None:
        self._look(record.source, last=_vars(record.over))
        held, target = self.held.get(record.source), record.target
        if held is None:
            return
        for number, (axis, index) in enumerate(zip(held.axes, record.indices)):
            at, what = offset_of(index), f"dimension {number} of {_called(target)}"
            if axis is None or axis.one or target.shape[number] == 1:
                continue
            if held.computed:
                if axis.offset != at:
                    raise KpuError(
                        f"{what}: writes at {self._text(at)} what is computed of elements from "
                        f"{self._text(axis.offset)} on",
                        record.place,
                        LOST,
                    )
                continue
            there, here = (frozenset(v for v, _ in o.terms) for o in (axis.offset, at))
            # Copies may shift, and step; but each goes along with what it copies.
            part = record.source.shape[number] < axis.extent
            if here and (not there & here if there else part):
                raise KpuError(
                    f"{what}: writes at {self._text(at)} what is loaded from "
                    f"{self._text(axis.offset)} on",
                    record.place,
                    LOST,
                )


COMPUTING = records.Compute | records.Put
LOST = "was an index, a loop or an operation changed? kpu-run --against compares with the original"


def _vars(loops: Sequence[Index]) -> Variables:
    return frozenset(i.var for i in loops)


def _called(tensor: Tensor) -> str:
    return f"%{tensor.name}" if tensor.name else f"parameter {tensor.position}"
