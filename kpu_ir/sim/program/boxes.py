"""Boxes that loops lay out: how often they hold each element of a space.

A step of a nest accesses a block whose offsets are affine in the loops around it. Where each loop
moves the block along one dimension, what a whole nest accesses is a product of segments, one list a
dimension, whose cost follows from the number of loops rather than from their trips.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

MOST_SEGMENTS, MOST_CELLS = 1 << 15, 1 << 23
"""Of a dimension, and of a space: beyond them nothing is decided."""

Segments = tuple[tuple[int, int, int], ...]
"""Where elements of one dimension are held: ``(begin, end, how often)``, apart and in order."""


Counts = np.ndarray[Any, np.dtype[np.int64]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]


class Undecided(Exception):
    """There are more pieces than are looked at."""


@dataclass(frozen=True, slots=True)
class Boxes:
    """The product of ``axes``, held ``times`` times."""

    axes: tuple[Segments, ...]
    times: int = 1


@dataclass(frozen=True, slots=True)
class Fault:
    """A part of a space that is not held once: ``[begin, end)`` in each dimension, and how often."""

    begin: tuple[int, ...]
    end: tuple[int, ...]
    times: int

    def __str__(self) -> str:
        return f"[{', '.join(f'{a}:{b}' for a, b in zip(self.begin, self.end))}]"


def segments(base: int, length: int, moves: Iterable[tuple[int, int]]) -> Segments:
    """``length`` elements from ``base``, moved by each ``(stride, trips)``.

    >>> segments(0, 32, [(32, 8)])
    ((0, 256, 1),)
    >>> segments(0, 8, [(6, 2)])
    ((0, 6, 1), (6, 8, 2), (8, 14, 1))
    """
    found: Segments = ((base, base + length, 1),)
    for stride, trips in sorted(moves, key=lambda move: abs(move[0])):
        if stride < 0:  # the same places, in the other order
            shift = stride * (trips - 1)
            found, stride = tuple((a + shift, b + shift, n) for a, b, n in found), -stride
        if stride == 0:
            found = tuple((a, b, n * trips) for a, b, n in found)
        elif len(found) == 1 and found[0][1] - found[0][0] == stride:
            found = ((found[0][0], found[0][0] + stride * trips, found[0][2]),)
        elif trips > 1:
            if len(found) * trips > MOST_SEGMENTS:
                raise Undecided
            shifts = range(0, stride * trips, stride)
            found = summed((a + s, b + s, n) for s in shifts for a, b, n in found)
    return found


def summed(pieces: Iterable[tuple[int, int, int]]) -> Segments:
    """Pieces that may lie on each other, added up."""
    changes: dict[int, int] = {}
    for begin, end, times in pieces:
        changes[begin] = changes.get(begin, 0) + times
        changes[end] = changes.get(end, 0) - times
    found: list[tuple[int, int, int]] = []
    held, since = 0, 0
    for at in sorted(changes):
        if not changes[at]:
            continue
        if held:
            found.append((since, at, held))
        held, since = held + changes[at], at
    return tuple(found)


def counted(boxes: Sequence[Boxes], shape: Sequence[int]) -> tuple[list[list[int]], Counts]:
    """Where each dimension is cut, and how often each cell between the cuts is held."""
    cuts = [
        sorted({0, n} | {x for b in boxes for a, e, _ in b.axes[axis] for x in (a, e) if 0 < x < n})
        for axis, n in enumerate(shape)
    ]
    cells = [len(c) - 1 for c in cuts]
    if prod(cells) * max(1, len(boxes)) > MOST_CELLS:
        raise Undecided
    total = np.zeros(cells, np.int64)
    for box in boxes:
        part = np.full((), box.times, np.int64)
        for axis, held in enumerate(box.axes):
            line = np.zeros(cells[axis], np.int64)
            edges = cuts[axis]
            for begin, end, times in held:
                at = np.searchsorted(edges, (max(0, begin), min(end, edges[-1])))
                line[at[0] : at[1]] += times
            part = np.multiply.outer(part, line)
        total += part
    return cuts, total


def first_block(wrong: Flags, cuts: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
    """Where the first cell that is ``wrong`` begins, and where a block of such cells from there
    ends."""
    first = [int(n) for n in np.argwhere(wrong)[0]]
    block = [slice(n, n + 1) for n in first]
    for axis in reversed(range(len(first))):
        while (end := block[axis].stop) < wrong.shape[axis]:
            longer = [*block[:axis], slice(first[axis], end + 1), *block[axis + 1 :]]
            if not wrong[tuple(longer)].all():
                break
            block = longer
    begin = [edges[s.start] for edges, s in zip(cuts, block)]
    return begin, [edges[s.stop] for edges, s in zip(cuts, block)]


def fault(boxes: Sequence[Boxes], shape: Sequence[int]) -> Fault | None:
    """A part of a space that is not held exactly once; first what is never held. Raises
    ``Undecided``."""
    cuts, total = counted(boxes, shape)
    for wrong in (total == 0, total > 1):
        if wrong.any():
            begin, end = first_block(wrong, cuts)
            times = int(total[tuple(np.argwhere(wrong)[0])])
            return Fault(tuple(begin), tuple(end), times)
    return None
