"""How the nest of maps and reductions is written: rows that stay on chip, and rows that are streamed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod

from xdsl.ir import Operation, SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.dialects.tile import Reduction
from kpu_ir.lowering.kernel_to_tile.row_kernel import RowKernel
from kpu_ir.lowering.kernel_to_tile.row_passes import Pass
from kpu_ir.lowering.kernel_to_tile.row_statistics import Statistics
from kpu_ir.lowering.schedule import ATTRIBUTE, Schedule
from kpu_ir.lowering.shapes import Shape
from kpu_ir.nest.records import Index, Tensor, Tile
from kpu_ir.nest.writing import Nest
from kpu_ir.support.errors import KpuError


class RowNest:
    """One nest in the making: ``at`` is where its loops are, ``tiles`` what is on chip.

    ``pieces`` are the dimensions in which rows are cut, the innermost loops. ``order``: the dimensions
    of the tensors in the order in which they stand on chip; ``across``: where those are there that
    are reduced.
    """

    def __init__(
        self, rows: RowKernel, nest: Nest, args: Sequence[Tensor], schedule: Schedule
    ) -> None:
        """An empty one; ``KpuError`` for a schedule that means nothing."""
        self.rows, self.nest, self.args = rows, nest, args
        self.sources = dict(zip(rows.inputs, args))
        self.sizes = [rows.extent(axis, n) for axis, n in enumerate(schedule.tile)]
        self.at: list[Index | None] = [None] * len(rows.full)
        self.tiles: dict[SSAValue, Tile] = {}
        if schedule.layout not in ("", "transposed") or (schedule.layout and not rows.reduced):
            raise KpuError(
                f"{ATTRIBUTE}: layout = '{schedule.layout}' says nothing here",
                nest.function.where,
                "tiles of rows that are reduced may stand 'transposed'",
            )
        rank, last = len(rows.full), rows.reduced
        self.order = (*last, *(a for a in range(rank) if a not in last))
        if schedule.layout != "transposed":
            self.order = tuple(range(rank))
        self.across = tuple(self.order.index(a) for a in rows.reduced)
        self.pieces = [a for a in rows.reduced if self.sizes[a] < rows.full[a]]
        self.statistics = rows.statistics if schedule.passes else None
        if schedule.passes and (self.statistics is None or not self.pieces):
            raise KpuError(
                f"{ATTRIBUTE}: passes = '{schedule.passes}' says nothing here",
                nest.function.where,
                "it is for a softmax or a norm of rows that a tile does not hold",
            )
        if self.pieces and not rows.even:
            raise KpuError("rows of different extents are not read in pieces", nest.function.where)

    def run(self) -> None:
        """Write it."""
        rows = self.rows
        for axis, extent in enumerate(rows.full):
            if axis not in rows.reduced:
                self.at[axis] = self.nest.loop(extent, self.sizes[axis], f"i{axis}")
        if self.pieces:
            for one in rows.online if self.statistics else rows.passes:
                self.reading(one)
            self.settle(v for v in rows.outputs if not rows.is_row(v))
        else:
            for op in rows.operations:
                self.operation(op)
        for value, target in zip(rows.outputs, self.targets):
            if not self.pieces or not rows.is_row(value):
                self.store(value, target)

    @property
    def targets(self) -> Sequence[Tensor]:
        """Where the results go."""
        return self.args[len(self.rows.inputs) :]

    # -- values -----------------------------------------------------------------------------------

    def index(self, value: SSAValue) -> list[Index | None]:
        """Where the loops are, in a tensor."""
        return [i if n > 1 else None for i, n in zip(self.at, self.rows.shapes[value])]

    def size(self, value: SSAValue) -> Shape:
        """The extents of a tensor's tile, as it stands on chip."""
        shape = self.rows.shapes[value]
        return tuple(self.sizes[a] if shape[a] > 1 else 1 for a in self.order)

    def permuted(self, axes: Shape) -> Shape | None:
        """A mover's permutation; None where everything stays."""
        return None if axes == tuple(range(len(axes))) else axes

    def alloc(self, value: SSAValue, name: str = "row") -> Tile:
        """Room for a result."""
        return self.nest.alloc(self.size(value), self.rows.kinds[value], name)

    def store(self, value: SSAValue, target: Tensor) -> None:
        """A result leaves; here it is rounded, where its tile is wider."""
        tile = self.load(value)
        if value in self.rows.leaving:
            kind = tensor_type(value).element_type
            leaving = self.nest.alloc(self.size(value), kind, "out")
            self.nest.map([tile], leaving, self.rows.leaving[value])
            tile = leaving
        back = tuple(self.order.index(a) for a in range(len(self.order)))
        self.nest.store(tile, target, self.index(value), self.permuted(back))

    def load(self, value: SSAValue) -> Tile:
        """The tile of a value, loaded where it is not on chip."""
        if value not in self.tiles:
            kind = tensor_type(value).element_type
            self.tiles[value] = self.nest.load(
                self.sources[value], self.index(value), self.size(value), kind, "in",
                permuted=self.permuted(self.order),
            )  # fmt: skip
        return self.tiles[value]

    def operation(self, op: Operation) -> None:
        """What the vector engine does for an operation; nothing for one inside of another."""
        if op not in self.rows.work:
            return
        (inputs, body), result = self.rows.work[op], op.results[0]
        loaded = [self.load(v) for v in inputs]
        if body is None and not self.rows.is_row(inputs[0]):
            self.tiles[result] = loaded[0]  # along extents of 1 only
            return
        if result not in self.tiles:
            self.tiles[result] = self.alloc(result)
        if body is not None:
            self.nest.map(loaded, self.tiles[result], body)
        else:
            self.reduce(op, loaded[0], self.tiles[result])

    def reduce(self, op: Operation, source: Tile, into: Tile) -> None:
        """Rows to one number each, over all pieces."""
        assert isinstance(op, kernel.ReduceOp)
        over = [self.at[axis] for axis in self.pieces]
        self.nest.reduce(Reduction(op.kind_name), source, into, self.across, over)

    # -- streamed rows ----------------------------------------------------------------------------

    def settle(self, values: Iterable[SSAValue]) -> None:
        """Have numbers of rows on chip, outside of the loops over pieces."""
        needed = dict.fromkeys(values)
        made: list[Operation] = []
        for op in reversed(self.rows.operations):
            result = op.results[0]
            if result in needed and result not in self.tiles:
                made.append(op)
                needed.update(dict.fromkeys(op.operands))
        for op in reversed(made):
            self.operation(op)
        for value in needed:
            if value in self.sources:
                self.load(value)

    def reading(self, one: Pass) -> None:
        """Read all pieces of the rows once."""
        rows, pair = self.rows, self.statistics
        if pair is not None and pair.first not in one.reductions:
            pair = None
        self.settle(v for v in one.sources if not rows.is_row(v))
        for op in one.reductions:
            self.tiles[op.result] = self.alloc(op.result)
        before = dict(self.tiles)
        if pair is None:
            self.loops(one, None, [(axis, 0) for axis in self.pieces], before)
            return
        online = (_Powers if pair.powers else _Squares)(self, pair)
        self.loops(one, online, [], before)
        online.begun = True
        # The others go on from the first piece: the rest of its line, then the rest of the lines.
        for i, axis in reversed(list(enumerate(self.pieces))):
            inner = [(a, 0) for a in self.pieces[i + 1 :]]
            self.loops(one, online, [(axis, self.sizes[axis]), *inner], before)
        online.finish()

    def loops(
        self,
        one: Pass,
        online: _Online | None,
        loops: Sequence[tuple[int, int]],
        before: dict[SSAValue, Tile],
    ) -> None:
        """Loops over pieces, by their dimensions and where they start; 0 in the others. What is
        loaded does not depend on more loops than those around it. ``before``: what stands outside."""
        self.tiles = dict(before)
        for axis, start in (None, 0), *loops:
            if axis is not None:
                full, size = self.rows.full[axis], self.sizes[axis]
                self.at[axis] = self.nest.loop(full, size, f"r{axis}", start)
            for value in one.sources:
                cut = [a for a, _ in loops if self.rows.shapes[value][a] > 1]
                if all(self.at[a] is not None for a in cut):
                    self.load(value)
        self.piece(one, online)
        self.nest.close(len(loops))
        for axis, _ in loops:
            self.at[axis] = None
        self.tiles = before

    def piece(self, one: Pass, online: _Online | None) -> None:
        """What a pass does with a piece of the rows."""
        for op in one.rows:
            self.operation(op)
        if online is not None:
            online.piece(self.load(online.statistics.source))
        else:
            for op in one.reductions:
                self.reduce(op, self.load(op.source), self.tiles[op.result])
        for value, target in zip(self.rows.outputs, self.targets):
            if value in one.stores:
                self.store(value, target)


class _Online:
    """Two reductions in one pass: ``first`` and ``second`` are their results so far."""

    def __init__(self, rows: RowNest, statistics: Statistics) -> None:
        self.rows, self.nest, self.statistics = rows, rows.nest, statistics
        self.bodies, self.begun = statistics.bodies, False
        self.first = rows.tiles[statistics.first.result]
        self.second = rows.tiles[statistics.second.result]

    def piece(self, row: Tile) -> None:
        """What a piece adds; the first one begins."""

    def finish(self) -> None:
        """What is left to do after the last piece."""

    def column(self, name: str) -> Tile:
        """Room for one number a row."""
        return self.rows.alloc(self.statistics.first.result, name)

    def map(self, body: str, inputs: Sequence[Tile], into: Tile) -> Tile:
        """A function on the vector engine."""
        self.nest.map(inputs, into, self.bodies[body])
        return into

    def elementwise(self, body: str, row: Tile, *more: Tile) -> Tile:
        """A function of the elements of a piece."""
        return self.map(body, [row, *more], self.nest.alloc(row.shape, row.element, "row"))

    def reduce(self, kind: Reduction, row: Tile, into: Tile) -> Tile:
        """A piece to one number a row."""
        self.nest.reduce(kind, row, into, self.rows.across)
        return into


class _Powers(_Online):
    """The largest so far, and the sum of powers, rescaled to it."""

    def piece(self, row: Tile) -> None:
        """Rescale what is there, add the piece's powers."""
        if not self.begun:
            largest = self.reduce(Reduction.MAX, row, self.first)
            away = self.map("away", [largest], self.column("away"))
            self.reduce(Reduction.ADD, self.elementwise("power", row, away), self.second)
            return
        top = self.reduce(Reduction.MAX, row, self.column("top"))
        grown = self.map("grown", [self.first, top], self.column("grown"))
        away = self.map("away", [grown], self.column("away"))
        rescale = self.map("rescale", [self.first, away], self.column("rescale"))
        self.map("copy", [grown], self.first)
        powers = self.elementwise("power", row, away)
        sums = self.reduce(Reduction.ADD, powers, self.column("sums"))
        self.map("total", [self.second, rescale, sums], self.second)

    def finish(self) -> None:
        """A row of -inf has no softmax."""
        self.map("empty", [self.second, self.first], self.second)


class _Squares(_Online):
    """Sums of the differences from the first piece's mean, and of their squares."""

    def __init__(self, rows: RowNest, statistics: Statistics) -> None:
        super().__init__(rows, statistics)
        self.near = self.column("near")

    def piece(self, row: Tile) -> None:
        """Add the piece's differences and squares."""
        if not self.begun:
            count = prod(row.shape[axis] for axis in self.rows.across)
            total = self.reduce(Reduction.ADD, row, self.column("sums"))
            self.nest.map([total], self.near, self.statistics.near(count))
        difference = self.elementwise("difference", row, self.near)
        square = self.elementwise("square", difference)
        for source, into in ((difference, self.first), (square, self.second)):
            if not self.begun:
                self.reduce(Reduction.ADD, source, into)
            else:
                sums = self.reduce(Reduction.ADD, source, self.column("sums"))
                self.map("plus", [into, sums], into)

    def finish(self) -> None:
        """From differences to the row's sum, and the squared differences from its mean."""
        self.map("spread", [self.second, self.first], self.second)
        self.map("sum", [self.first, self.near], self.first)
