"""The whole space of a kernel's schedules: what is near one of them, and any of them at all.

The spaces of ``lowering`` hold what promises something; here is also what does not. A thorough
search walks through it from neighbour to neighbour, an audit draws from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.space import NAMES, Space, ceildiv

DEPTHS: dict[str, Sequence[int]] = {
    "depth": range(1, 5),
    "l3_depth": range(1, 13),
    "out_depth": range(1, 17),
    "defer": range(17),
    "unroll_n": (1, 2, 3, 4, 5, 6, 8, 10, 12, 16),
}
"""Values of the numbers in a schedule."""


def lengths(extent: int) -> list[int]:
    """Extents of tiles of a dimension: even cuts of it, powers of two, and multiples of 8."""
    found = {ceildiv(extent, n) for n in range(1, 17)} | {1 << n for n in range(20)}
    found |= {8 * n for n in (*range(1, 17), 20, 24, 28, 32, 40, 48, 64)}
    return sorted(n for n in found if n <= extent)


@dataclass(frozen=True)
class Moves:
    """What a kernel's schedules may be: extents of tiles, and values of the other fields."""

    tile: tuple[Sequence[int], ...]
    fields: dict[str, Sequence[Any]]

    @staticmethod
    def of(space: Space) -> Moves:
        """Those of a kernel with that space."""
        names = {name: values for name, values in NAMES.items() if name in space.columns}
        depths = {n: v for n, v in DEPTHS.items() if n != "unroll_n" or n in space.columns}
        return Moves(tuple(lengths(n) for n in space.extents), {**names, **depths})

    def drawn(self, random: Random) -> Schedule:
        """Any schedule."""
        tile = tuple(random.choice(choices) for choices in self.tile)
        return Schedule(tile, **{n: random.choice(values) for n, values in self.fields.items()})

    def near(self, s: Schedule) -> Iterator[Schedule]:
        """The neighbours of a schedule, in which one decision is another. An extent goes one or two
        steps up or down, or is about halved or doubled, and so does a depth; a name is any other."""
        for axis, (extent, choices) in enumerate(zip(s.tile, self.tile)):
            for other in _around(extent, choices):
                yield replace(s, tile=(*s.tile[:axis], other, *s.tile[axis + 1 :]))
        for name, values in self.fields.items():
            value = getattr(s, name)
            others = [v for v in values if v != value] if name in NAMES else _around(value, values)
            for other in others:
                changed: dict[str, Any] = {name: other}
                yield replace(s, **changed)


def _around(value: int, choices: Sequence[int]) -> list[int]:
    """The two next choices below and above, and those next to half and twice the value."""
    below = [n for n in choices if n < value]
    above = [n for n in choices if n > value]
    found = [*below[-2:], *above[:2], *[n for n in below if 2 * n <= value][-1:]]
    found += [n for n in above if n >= 2 * value][:1]
    return list(dict.fromkeys(found))
