"""Spaces of schedules: candidates in columns of integers, with bounds that none of them can beat.

A bound only prunes: it counts the cycles that the array must work, and the bytes that the schedule
must move through each level. What a schedule takes is what the simulator says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from math import prod
from typing import Any, overload

import numpy as np

from kpu_ir.dialects.tile import Window
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.shapes import round_up
from kpu_ir.machine import Machine

Column = np.ndarray[Any, np.dtype[Any]]
"""A number for each of several schedules."""

FLOWS, ORDERS, PLACES = ("os", "ws", "is"), ("mn", "nm"), ("", "l3", "l2")
PASSES, LAYOUTS = ("", "online"), ("", "transposed", "packed")
NAMES = {
    "dataflow": FLOWS, "order": ORDERS, "lhs": PLACES, "rhs": PLACES, "passes": PASSES,
    "layout": LAYOUTS,
}  # fmt: skip
"""What the numbers in the columns of names stand for."""

NONE, L3, L2 = range(3)
"""The places by number."""


def ceildiv(a: Any, b: Any) -> Any:
    """``a / b``, rounded up: numbers or columns of them."""
    return -(-a // b)


def packed(count: Any, bits: int) -> Any:
    """Bytes of so many elements of so many bits, one behind the other."""
    return ceildiv(count * bits, 8)


def slot(bytes: Any) -> Any:
    """Bytes of the slots that tiles of so many take."""
    return ceildiv(bytes, 64) * 64


@dataclass(frozen=True, slots=True)
class Candidate:
    """A schedule, what bounds it (cycles, external bytes), and a guess by which to try it sooner or
    later."""

    schedule: Schedule
    cycles: int
    bytes: int
    guess: int


@dataclass(frozen=True, eq=False)
class Space(Sequence[Candidate]):
    """Candidates in columns: a ``Schedule`` is made where one is asked for.

    ``columns``: ``cycles``, ``bytes``, ``guess``, the extents of tiles (``tile0``...), and fields of
    the schedule that are not as usual; names by their numbers.
    """

    columns: dict[str, Column]
    extents: tuple[int, ...]
    """What the extents of tiles cut."""

    @staticmethod
    def of(
        extents: Sequence[int],
        cycles: Any,
        bytes: Any,
        guess: Any,
        tile: Sequence[Any],
        **fields: Any,
    ) -> Space:
        """A space of columns, and of numbers that hold for all."""
        tiles = {f"tile{i}": extent for i, extent in enumerate(tile)}
        named = {"cycles": cycles, "bytes": bytes, "guess": guess, **tiles, **fields}
        return Space(dict(zip(named, np.broadcast_arrays(*named.values()))), tuple(extents))

    @staticmethod
    def joined(parts: Sequence[Space]) -> Space:
        """The candidates of spaces of the same columns, one after the other."""
        first = parts[0]
        joined = {n: np.concatenate([p.columns[n] for p in parts]) for n in first.columns}
        return Space(joined, first.extents)

    def at(self, chosen: Any) -> Space:
        """The chosen candidates, in that order."""
        columns = {name: column[chosen] for name, column in self.columns.items()}
        return Space(columns, self.extents)

    @property
    def cycles(self) -> Column:
        """Cycles that they cannot go below."""
        return self.columns["cycles"]

    @property
    def bytes(self) -> Column:
        """External bytes that they cannot go below."""
        return self.columns["bytes"]

    @property
    def guess(self) -> Column:
        """Cycles that they may take."""
        return self.columns["guess"]

    @property
    def tile(self) -> list[Column]:
        """The extents of tiles."""
        return [column for name, column in self.columns.items() if name.startswith("tile")]

    def field(self, name: str) -> Column:
        """A field of the schedules; names by their numbers."""
        return self.columns.get(name, np.zeros(len(self), int))

    def __len__(self) -> int:
        return len(self.cycles)

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Candidate]: ...
    def __getitem__(self, index: int | slice) -> Candidate | Sequence[Candidate]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        cycles, bytes, guess = (int(c[index]) for c in (self.cycles, self.bytes, self.guess))
        return Candidate(self.schedule(index), cycles, bytes, guess)

    def schedule(self, index: int) -> Schedule:
        """One of the schedules."""
        values: dict[str, Any] = {"tile": tuple(int(extent[index]) for extent in self.tile)}
        for f in fields(Schedule):
            if f.name in self.columns:
                value = int(self.columns[f.name][index])
                values[f.name] = NAMES[f.name][value] if f.name in NAMES else value
        return Schedule(**values)

    def sorted(self, *keys: Column) -> Column:
        """Positions by the first key, equals by the next; in order where all are equal."""
        return np.lexsort(keys[::-1])

    def first(self) -> Schedule | None:
        """The schedule that promises most, None where there is none."""
        if not len(self):
            return None
        return self.schedule(int(self.sorted(self.guess, self.bytes)[0]))


def grid(*axes: Sequence[int], kind: Any = np.int64) -> list[Column]:
    """A column for each axis of all combinations, the last axis fastest."""
    columns = np.meshgrid(*(np.asarray(axis, kind) for axis in axes), indexing="ij")
    return [column.ravel() for column in columns]


def sides(extent: int, side: int, most: int) -> list[int]:
    """Tile extents worth trying: multiples of the array's side, and even cuts of the whole."""
    if extent <= side:
        return [extent]
    found = {min(extent, side * n) for n in (1, 2, 3, 4, 6, 8, 12, 16, 22)}
    found |= {round_up(ceildiv(extent, cuts), side) for cuts in (1, 2, 3, 4)}
    return sorted(n for n in {min(n, extent) for n in found} if n <= most)


def folds(extent: int, step: Any, side: int) -> Any:
    """How often an array of that side is filled by an extent in steps."""
    whole, rest = extent // step, extent % step
    return whole * ceildiv(step, side) + ceildiv(rest, side)


def spans(window: Window, rows: Any, columns: Any) -> tuple[Any, Any]:
    """The extents that so many positions of a window cover."""
    high, wide = window.span((rows, columns))
    return high, wide


def summed(f: Callable[[Any], Any], extent: int, step: Column) -> Any:
    """The sum of ``f`` over the lengths of the pieces of an extent in steps."""
    whole, rest = extent // step, extent % step
    return whole * f(step) + np.where(rest > 0, f(np.maximum(rest, 1)), 0)


def block_space(
    extents: Sequence[int],
    blocks: Iterable[tuple[int, ...]],
    moved: int,
    machine: Machine,
    out_depth: int | None = None,
) -> Space:
    """Blocks of several sizes for a kernel that moves ``moved`` bytes, with rings of two to four;
    those of results are as deep, or of ``out_depth``."""
    least = moved // machine.bandwidth["dma"]
    rows = [
        (*block, depth, out_depth or depth, defer, least + prod(block))
        for block in dict.fromkeys(blocks)
        for depth, defer in ((2, 2), (3, 1), (3, 3), (4, 2))
    ]
    *tile, depth, out, defer, guess = np.array(rows).T
    return Space.of(extents, least, moved, guess, tile, l3_depth=depth, out_depth=out, defer=defer)
