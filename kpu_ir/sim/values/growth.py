"""Tiles that grow with a loop: how each differs between trips, and what they are all together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from kpu_ir.sim.program.plan import Acquire, Affine, Fetch, Loop, Matmul, Move, Node, Reduce, Step

Extents = tuple[int, ...]
Growth = tuple[int, int] | None
"""How a tile differs between the trips of a loop: the dimension along which, and how far apart
those of two trips begin; None where it is the same in each."""


class Stays(Exception):
    """This loop cannot be one trip; why."""


def stays_if(condition: bool, why: str) -> None:
    """A loop for which ``condition`` holds stays a loop: ``Stays``, which says ``why``."""
    if condition:
        raise Stays(why)


class Tiles:
    """The tiles of a loop's trips, whose runs differ in nothing but extents."""

    def __init__(
        self,
        group: list[Loop],
        bodies: list[list[Node]],
        inside: list[dict[int, Extents]],
    ) -> None:
        """Of the runs of one loop (``group``), their ``bodies``, the extents of registers ``inside``
        each, and the registers' element types. ``Stays`` where they are not alike."""
        stays_if(any(isinstance(n, Loop) for body in bodies for n in body), "a loop inside stays")
        columns = [cast(list[Step], body) for body in bodies]
        stays_if(len({len(c) for c in columns}) != 1, "its runs differ in their steps")
        self.rows = list(zip(*columns))
        for row in self.rows:
            stays_if(
                any(s.op is not row[0].op or type(s) is not type(row[0]) for s in row),
                "its runs differ in their steps",
            )
        self.var, self.start, self.step = group[0].var, group[0].start, group[0].step
        self.runs = [loop.trips for loop in group]
        self.trips = sum(self.runs)
        self.inside = inside
        self.growth: dict[int, Growth] = {}
        self.sums: set[int] = set()
        self.own = {
            s.out for row in self.rows for s in row[:1] if isinstance(s, Acquire | Fetch | Move)
        }

    def extents(self, register: int) -> Extents:
        """The extents of a register in the first run."""
        return self.inside[0][register]

    def coefficient(self, offsets: Sequence[Affine]) -> Growth:
        """The dimension in which a block moves with the loop, and by how much a trip."""
        moved = [(d, c) for d, o in enumerate(offsets) for v, c in o.terms if v == self.var]
        if not moved:
            return None
        stays_if(
            len(moved) > 1 or moved[0][1] <= 0, "a block moves along two dimensions, or backwards"
        )
        return moved[0][0], moved[0][1] * self.step

    def settled(self, offsets: Sequence[Affine]) -> tuple[Affine, ...]:
        """Offsets where the loop begins."""
        return tuple(
            Affine(
                o.const + sum(c * self.start for v, c in o.terms if v == self.var),
                tuple((v, c) for v, c in o.terms if v != self.var),
            )
            for o in offsets
        )

    def joined(self, row: Sequence[Any], growth: Growth, gaps: bool = False) -> Extents:
        """The extents of the union of all trips' tiles."""
        return self.union_of([s.extents for s in row], growth, gaps)

    def union_of(self, each: Sequence[Extents], growth: Growth, gaps: bool = False) -> Extents:
        """The extents of the union, of those in each run. Between the tiles that a window with
        strides reads there may be gaps: the union has what is in them too."""
        if growth is None:
            stays_if(any(e != each[0] for e in each), "its runs have other extents")
            return each[0]
        d, pitch = growth
        for e, trips in zip(each, self.runs):
            stays_if(
                len(e) != len(each[0]) or (e[:d], e[d + 1 :]) != (each[0][:d], each[0][d + 1 :]),
                "its runs have other extents",
            )
            stays_if(
                not gaps and e[d] < pitch and (e is not each[-1] or trips > 1),
                "there is a gap between the blocks of two trips",
            )
        return (*each[0][:d], (self.trips - 1) * pitch + each[-1][d], *each[0][d + 1 :])

    def regular(self, each: Sequence[Extents], growth: Growth) -> None:
        """Tiles that touch and do not overlap."""
        self.union_of(each, growth)
        stays_if(
            growth is not None and any(e[growth[0]] > growth[1] for e in each),
            "blocks of two trips overlap",
        )

    def steady(self, register: int) -> None:
        """The same tile in each trip, in every run."""
        stays_if(self.growth.get(register) is not None, "a tile is another one in each trip")
        self.union_of([e[register] for e in self.inside], None)

    def read(self, register: int) -> Growth:
        """How an operand grows, where its tiles do not overlap."""
        growth = self.growth.get(register)
        self.regular([e[register] for e in self.inside], growth)
        return growth

    def grow(self, into: int, growth: Growth, row: Sequence[Any], regular: bool = True) -> None:
        """A result that replaces what was there."""
        stays_if(into not in self.own, "begun outside and not summed: each trip would overwrite it")
        if regular:
            self.regular([s.extents for s in row], growth)
        stays_if(
            any(isinstance(s, Matmul | Reduce) and s.accumulate for s in row)
            and (growth is None or self.growth.get(into) != growth),
            "what is added to is another tile in each trip",
        )
        self.growth[into] = growth

    def common(self, row: Sequence[Any], registers: Sequence[int], out: Extents) -> Growth:
        """How a result grows that is computed element by element."""
        found: Growth = None
        for register in registers:
            growth = self.read(register)
            if growth is not None:
                d = growth[0] + len(out) - len(self.extents(register))
                stays_if(
                    found not in (None, (d, growth[1])), "operands grow along different dimensions"
                )
                found = d, growth[1]
        self.broadcast(registers, found, out)
        return found

    def broadcast(self, registers: Sequence[int], growth: Growth, out: Extents) -> None:
        """Operands grow as the result does, or are one element wide there."""
        for register in registers:
            own, e = self.read(register), self.extents(register)
            shift = len(out) - len(e)
            if own is None:
                wide = growth is not None and growth[0] >= shift and e[growth[0] - shift] != 1
                stays_if(wide, "an operand that does not grow is no single element there")
                continue
            stays_if(growth != (own[0] + shift, own[1]), "an operand grows as the result does not")
