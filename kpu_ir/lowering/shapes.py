"""Shape arithmetic of the lowerings: pure, no IR."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

Shape = tuple[int, ...]


def aligned(shape: Sequence[int], rank: int) -> Shape:
    """``shape`` with leading ones, to ``rank`` dimensions. Example: (3,) at rank 2 is (1, 3)."""
    return (1,) * (rank - len(shape)) + tuple(shape)


def collapse(shapes: Sequence[Shape], fixed: int = 0) -> list[tuple[int, int]]:
    """Ranges of adjacent dimensions that can be seen as one, in every shape of a broadcast.

    Dimensions merge where each shape has all of both or 1 in both; dimensions of extent 1
    everywhere join their neighbour. The last ``fixed`` dimensions stay alone.

    >>> collapse([(2, 3, 4), (2, 3, 4)])
    [(0, 3)]
    >>> collapse([(2, 3, 4), (1, 1, 4)])
    [(0, 2), (2, 3)]
    """
    rank = len(shapes[0])
    full = [max(s[axis] for s in shapes) for axis in range(rank)]
    groups: list[tuple[int, int]] = []
    for axis in range(rank - fixed):
        if groups:
            begin, _ = groups[-1]
            fits = all(
                _whole(s, full, begin, axis) == _whole(s, full, axis, axis + 1)
                or prod(full[begin:axis]) == 1
                or full[axis] == 1
                for s in shapes
            )
            if fits:
                groups[-1] = (begin, axis + 1)
                continue
        groups.append((axis, axis + 1))
    return groups + [(axis, axis + 1) for axis in range(rank - fixed, rank)]


def _whole(shape: Shape, full: Sequence[int], begin: int, end: int) -> bool:
    """Whether ``shape`` is full, not 1, in this range."""
    return all(shape[axis] == full[axis] for axis in range(begin, end))


def merged(shape: Shape, groups: Sequence[tuple[int, int]]) -> Shape:
    """``shape`` with each group of dimensions as one."""
    return tuple(prod(shape[begin:end]) for begin, end in groups)


def round_up(n: int, multiple: int) -> int:
    """The least multiple that is not under ``n``."""
    return -(-n // multiple) * multiple


def whole_bytes(extent: int, full: int, bits: int) -> int:
    """The least extent that is not under ``extent`` and ends at a byte, of ``full`` elements of ``bits``:
    blocks side by side then begin at bytes.

    >>> whole_bytes(5, 12, 4), whole_bytes(5, 5, 4), whole_bytes(5, 12, 8)
    (6, 5, 5)
    """
    return min(full, round_up(extent, max(1, 8 // bits)))
