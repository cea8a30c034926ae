"""The strategy of elementwise functions and reductions: softmax, norms, sums, activations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

import numpy as np
from xdsl.dialects.builtin import MemRefType

from kpu_ir.dialects import kernel
from kpu_ir.lowering.kernel_to_tile.row_kernel import RowKernel
from kpu_ir.lowering.kernel_to_tile.row_nest import RowNest
from kpu_ir.lowering.kernel_to_tile.row_passes import Pass
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.shapes import Shape
from kpu_ir.lowering.space import LAYOUTS, PASSES, Space, block_space, ceildiv
from kpu_ir.lowering.staging import stage
from kpu_ir.machine import Machine
from kpu_ir.nest.records import Tensor
from kpu_ir.nest.writing import Nest
from kpu_ir.scalar.requantize import interval_of
from kpu_ir.sim.time.vector import combining
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import bits_of


@dataclass(frozen=True)
class Rows(RowKernel):
    """Rows on chip, read once; or rows that are streamed in pieces, read once a pass.

    ``tile`` of its schedule are the extents of a block: where they hold all of what is reduced, rows
    stand on chip as a whole, else they come in pieces, and what is one number a row stays in L2.
    ``passes``: ``online`` where two statistics that need each other are had in one pass.
    """

    kind: ClassVar[str] = "rows"

    def default(self, machine: Machine, space: Space | None = None) -> Schedule:
        """Blocks that leave room for rings; rows whole where that fits, else streamed in the fewest
        passes and the largest pieces that fit."""
        kinds = [kind for _, kind in (*self.arguments, *self.results)]
        widest = max(bits_of(kind) for kind in (*kinds, *self.kinds.values()))
        slots = 2 * len(kinds) + len(self.operations)
        room = min(machine.l2.bytes, machine.l3.bytes) * 8 // (slots * widest)
        block = self.block(min(room, max(256, prod(self.full) // 8), 8192))
        schedule = Schedule(tile=block, defer=2)
        if prod(block) <= room or not self.reduced or self._fits(schedule, machine):
            return schedule
        for form in self._forms():
            for tile in self._pieces():
                streamed = replace(schedule, tile=tile, passes=form)
                if self._fits(streamed, machine):
                    return streamed
                schedule = replace(schedule, tile=tile)
        return schedule  # the one that needs least says how much

    def candidates(self, machine: Machine) -> Space:
        """Blocks of several sizes, with rings of two to four: of whole rows, and of pieces of them."""
        moved = sum(prod(s) * bits_of(kind) // 8 for s, kind in (*self.arguments, *self.results))
        blocks = [self.block(256 << n) for n in range(8)]
        if self.once and self.reduced[-1] < len(self.full) - 1:
            blocks += [self.block(room, run) for room in (4096, 16384, 65536) for run in (64, 1024)]
        whole = block_space(self.full, blocks, moved, machine, out_depth=2)
        tiles = dict.fromkeys(self._pieces()) if self.reduced and not self.once else ()
        if tiles:
            size = max(bits_of(kind) for _, kind in self.arguments) // 8
            whole = whole.at(np.prod(whole.tile, axis=0) * size <= machine.l2.bytes)
            whole.columns["passes"] = np.zeros(len(whole), int)
            whole = Space.joined([whole, self._streamed(list(tiles), machine)])
        return self._with_transposed(whole, machine)

    def block(self, room: int, run: int = 1) -> Shape:
        """A block of about ``room`` elements: ``run`` along what stands inside of the reduced
        dimensions, then these (whole, unless one pass over them is enough), then inner dimensions."""
        extents = [1] * len(self.full)
        order = [
            *reversed(self.reduced),
            *(i for i in reversed(range(len(self.full))) if i not in self.reduced),
        ]
        if run > 1:
            for axis in reversed(range(self.reduced[-1] + 1, len(self.full))):
                extents[axis] = self.extent(axis, max(1, min(self.full[axis], run)))
                run = max(1, run // extents[axis])
                room = max(1, room // extents[axis])
        for axis in order:
            if extents[axis] > 1:
                continue
            whole = axis in self.reduced and not self.once
            n = self.full[axis]
            extents[axis] = self.extent(axis, n if whole else max(1, min(n, room)))
            room = max(1, room // extents[axis])
        return tuple(extents)

    def _with_transposed(self, space: Space, machine: Machine) -> Space:
        """The same schedules with tiles that stand transposed as well, where combining lanes takes
        more than a hundredth of the kernel's time."""
        lanes, rank = machine.vector.lanes, len(self.full)
        if not len(space) or not self.reduced or self.reduced[-1] < rank - 1:
            return space
        if prod(n for a, n in enumerate(self.full) if a not in self.reduced) == 1:
            return space
        more = work = 0
        for op, (_, body) in self.work.items():
            elements = prod(self.shapes[op.results[0]])
            if isinstance(op, kernel.ReduceOp) and self.is_row(op.source):
                elements, outputs = prod(self.shapes[op.source]), elements
                work += ceildiv(elements, lanes)
                more += combining(elements, outputs, lanes) - ceildiv(elements, lanes)
            elif body is not None:
                interval = interval_of(body.block, machine.vector.initiation_interval)
                work += ceildiv(elements, lanes) * max(1, interval)
        if 100 * more <= max(work, int(space.cycles.min())):
            return space
        count, guess = len(space), space.guess
        layout = np.repeat([0, LAYOUTS.index("transposed")], count)
        both = Space.joined([space, space])
        both.columns["layout"] = layout
        both.columns["guess"] = np.concatenate([guess + more, guess])
        return both

    def emit(self, nest: Nest, args: Sequence[Tensor], schedule: Schedule) -> None:
        """The nest: one loop a dimension, reduced ones innermost, one nest of these a pass."""
        RowNest(self, nest, args, schedule).run()

    # -- streamed rows ----------------------------------------------------------------------------

    def _forms(self) -> tuple[str, ...]:
        """How statistics may be had, fewest passes first."""
        return ("online", "") if self.statistics else ("",)

    def _piece(self, room: int, inner: int, outer: int) -> Shape:
        """A piece of about ``room`` elements: up to ``inner`` along what stands inside of the reduced
        dimensions, so that what is read is read in runs, up to ``outer`` rows, the rest along
        them."""
        extents, last = [1] * len(self.full), max(self.reduced)
        behind = range(last + 1, len(self.full))
        before = [axis for axis in range(last) if axis not in self.reduced]
        for axes, limit in ((behind, inner), (before, outer), (self.reduced, room)):
            share = min(limit, room)
            for axis in reversed(axes):
                extents[axis] = self.extent(axis, max(1, min(self.full[axis], share)))
                share = max(1, share // extents[axis])
                room = max(1, room // extents[axis])
        return tuple(extents)

    def _pieces(self) -> Iterator[Shape]:
        """Pieces of several sizes, the largest first, of few or many rows."""
        if not self.even:
            return
        for n in range(16, 5, -1):
            for inner, outer in ((64, 1), (64, 8), (16, 64), (256, 4), (1024, 1)):
                piece = self._piece(1 << n, inner, outer)
                if any(piece[axis] < self.full[axis] for axis in self.reduced):
                    yield piece

    def _fits(self, schedule: Schedule, machine: Machine) -> bool:
        """Whether the memories hold the tiles of a schedule."""
        types = (*self.arguments, *self.results)
        tensors = [Tensor(i, MemRefType(kind, shape)) for i, (shape, kind) in enumerate(types)]
        nest = Nest("rows", tensors)
        try:
            self.emit(nest, tensors, schedule)
            stage(nest.function, schedule, machine.l3.bytes, machine.l2.bytes)
        except KpuError:
            return False
        return True

    def _streamed(self, tiles: Sequence[Shape], machine: Machine) -> Space:
        """Schedules of rows in pieces, and their bounds."""
        found: list[tuple[int, ...]] = []
        wide, lanes = machine.bandwidth["dma"], machine.vector.lanes
        for form in self._forms():
            passes = self.online if form else self.passes
            vector = self._vector(passes, form, machine) * prod(self.full) // lanes
            for tile in tiles:
                moved = self._moved(passes, tile)
                least = moved // wide
                steps = prod(ceildiv(n, t) for n, t in zip(self.full, tile)) * len(passes)
                guess = max(least, vector) + 64 * steps + prod(tile)
                number = PASSES.index(form)
                for depth, defer in ((2, 2), (4, 2)):
                    found.append((least, moved, guess, *tile, depth, 2, defer, number))
        least, moved, guess, *tile, depth, out, defer, form = np.array(found).T
        return Space.of(
            self.full, least, moved, guess, tile, l3_depth=depth, out_depth=out, defer=defer,
            passes=form,
        )  # fmt: skip

    def _moved(self, passes: Sequence[Pass], tile: Shape) -> int:
        """External bytes: each row once a pass, those that all rows share once a block of rows."""
        types = dict(zip(self.inputs, self.arguments))
        total = sum(prod(s) * bits_of(kind) // 8 for s, kind in self.results)
        for one in passes:
            for value in one.sources:
                if value in types:
                    shape, kind = types[value]
                    again = prod(
                        ceildiv(n, t)
                        for axis, (n, t) in enumerate(zip(self.full, tile))
                        if axis not in self.reduced and shape[axis] == 1
                    )
                    total += prod(shape) * again * bits_of(kind) // 8
        return total

    def _vector(self, passes: Sequence[Pass], form: str, machine: Machine) -> int:
        """About how long the vector engine works on one element of each row."""
        interval, total = machine.vector.initiation_interval, 0
        for one in passes:
            for op in one.rows:
                _, body = self.work.get(op, ((), None))
                total += interval_of(body.block if body is not None else None, interval)
            total += interval["add"] * len(one.reductions)
        if form and self.statistics is not None:
            more = 1 if self.statistics.powers else 2
            total += more * interval["add"]
            total += interval["exp"] if self.statistics.powers else 0
        return total
