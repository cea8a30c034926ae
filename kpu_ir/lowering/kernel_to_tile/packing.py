"""Copies by whole rows: what memory would access in short runs is picked out or put together on chip.

Memory moves bursts, and a DMA engine takes some cycles a run. A slice of every second element reads
nothing but the runs between them if it reads whole rows, and a block mover picks what is wanted on
the way to L2; tensors of short rows that are concatenated become whole rows in L2 before they are
written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import inf, prod

from xdsl.ir import Attribute

from kpu_ir.dialects.tile import Level
from kpu_ir.lowering.kernel_to_tile.bodies import formula_region
from kpu_ir.lowering.shapes import Shape
from kpu_ir.lowering.space import ceildiv
from kpu_ir.machine import Machine
from kpu_ir.nest.records import Tensor, Tile
from kpu_ir.nest.writing import Nest
from kpu_ir.scalar.formulas import maximum
from kpu_ir.scalar.tracing import is_float
from kpu_ir.support.types import bits_of


def share(n: int, room: int, whole: bool) -> int:
    """A tile's extent: any, where the source ends with the block; else one that divides it."""
    most = max(1, min(n, room))
    if whole or most == n:
        return most
    return next(t for t in range(most, 0, -1) if n % t == 0)


JOINED = 4
"""So many tensors are put together on chip at most: each comes as rows of the result's length."""


def external_cycles(runs: int, length: int, machine: Machine) -> int:
    """About how long external memory and its engines need for so many runs of ``length`` bytes."""
    burst, dma = machine.external.burst_bytes, machine.dma
    bursts = runs * (length + burst - 1) // machine.bandwidth["dma"]
    return max(bursts, runs * dma.run_cycles // dma.channels)


@dataclass(frozen=True)
class Picked:
    """A part of a tensor of ``shape`` (..., n, inner), from ``starts``, so many as ``extents`` say: of its
    rows, n x inner elements each, only some of n."""

    shape: Shape
    starts: Shape
    extents: Shape
    element: Attribute

    @staticmethod
    def of(shape: Shape, starts: Shape, extents: Shape, element: Attribute) -> Picked | None:
        """A slice by whole rows along the last dimension that it cuts; None where nothing is cut."""
        cut = [axis for axis, n in enumerate(shape) if extents[axis] != n]
        if not cut:
            return None
        axis = cut[-1] + 1
        inner = (prod(shape[axis:]),)
        return Picked(shape[:axis] + inner, (*starts[:axis], 0), extents[:axis] + inner, element)

    @property
    def bytes_read(self) -> int:
        """External bytes, row by row."""
        return prod(self.extents[:-2]) * prod(self.shape[-2:]) * bits_of(self.element) // 8

    @property
    def bytes_written(self) -> int:
        """The result's."""
        return prod(self.extents) * bits_of(self.element) // 8

    def cycles(self, machine: Machine) -> tuple[int, int]:
        """About how long external memory needs, run by run and row by row."""
        rows, written = prod(self.extents[:-2]), self.bytes_written
        runs = external_cycles(rows, ceildiv(written, rows), machine)
        lead = list(zip(self.extents[:-2], self.shape[:-2]))
        while lead and lead[-1][0] == lead[-1][1]:  # rows that follow each other
            rows //= lead.pop()[0]
        rows = max(1, rows // (lead[-1][0] if lead else 1))
        read = external_cycles(rows, ceildiv(self.bytes_read, rows), machine)
        return runs + written // machine.bandwidth["dma"], read + written // machine.bandwidth[
            "dma"
        ]

    def moved(self) -> int:
        """External bytes, row by row."""
        return self.bytes_read + self.bytes_written

    def emit(self, nest: Nest, args: Sequence[Tensor], room: int) -> None:
        """Rows to L3, what is wanted of them to L2, and back as it leaves."""
        *lead, count, inner = self.extents
        held, room = list[int](), max(1, room // prod(self.shape[-2:]))
        for n, start, of in reversed(list(zip(lead, self.starts, self.shape))):
            held.insert(0, share(n, room, start + n == of))
            room = max(1, room // held[0])
        at = [nest.loop(n, t, f"i{axis}") for axis, (n, t) in enumerate(zip(lead, held))]
        where = [nest.affine(i, 1, start) for i, start in zip(at, self.starts)]
        whole, wanted = (*held, *self.shape[-2:]), (*held, count, inner)
        block = nest.load(args[0], [*where, 0, 0], whole, self.element, "rows", Level.L3)
        inside = [*([0] * len(lead)), self.starts[-2], 0]
        picked = nest.load(block, inside, wanted, self.element, "block")
        nest.store(picked, args[-1], [*at, 0, 0])
        nest.close(len(at))


@dataclass(frozen=True)
class Joined:
    """Matrices of so many ``columns`` and of as many ``rows``, side by side; ``sources`` are the arguments
    that they are."""

    rows: int
    columns: Shape
    sources: Shape
    element: Attribute

    def cycles(self, machine: Machine) -> tuple[int, int]:
        """About how long external memory needs, run by run; and how long memory, movers and the vector
        engine need, row by row."""
        size, total = bits_of(self.element) // 8, sum(self.columns)
        read = self.rows * total * size // machine.bandwidth["dma"]
        runs = sum(external_cycles(self.rows, n * size, machine) for n in self.columns)
        moved = (len(self.columns) + 1) * self.rows * total * size // machine.bandwidth["mover"]
        vector = (len(self.columns) - 1) * ceildiv(self.rows * total, machine.vector.lanes)
        return runs + read, max(2 * read, moved, vector)

    def moved(self) -> int:
        """External bytes."""
        return 2 * self.rows * sum(self.columns) * bits_of(self.element) // 8

    def emit(self, nest: Nest, args: Sequence[Tensor], room: int) -> None:
        """Each comes with room for the others around it, in which nothing larger stands than what they
        have; the largest of all is what each has in its place."""
        total = sum(self.columns)
        held, before = max(1, min(self.rows, room // total)), 0
        i = nest.loop(self.rows, held, "i0")
        floats, parts = is_float(self.element), list[Tile]()
        for source, n in zip(self.sources, self.columns):
            low, high = (0, before), (0, total - before - n)
            fill = -inf if floats else 0.0
            parts.append(
                nest.load(
                    args[source], [i, 0], (held, total), self.element, "part",
                    low=low, high=high, fill=fill,
                )
            )  # fmt: skip
            before += n
        joined = nest.alloc((held, total), self.element, "rows")
        combine = maximum if floats else (lambda x, y: x | y)
        kinds = [self.element] * len(parts)
        nest.map(
            parts, joined, formula_region(lambda *xs: reduce(combine, xs), kinds, self.element)
        )
        nest.store(joined, args[-1], [i, 0])
        nest.close(1)
