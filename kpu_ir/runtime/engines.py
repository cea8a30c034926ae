"""When the engines of a device, and the bytes of its memories on chip, are free.

The same state that a program is timed on, kept between launches: DMA channels and block movers one by
one, the array, the vector engine, and the two directions of the host's link.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kpu_ir.machine import Machine
from kpu_ir.sim.time.clock import Engine

TO_DEVICE, TO_HOST = "host to device", "device to host"
"""The engines of the host's link."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Something on an engine, in cycles."""

    engine: str
    begin: int
    end: int
    what: str


@dataclass(frozen=True, slots=True)
class Spent:
    """What an operation took: its ``start`` (no earlier than all that it waits for, and than an engine
    that it needs), its ``end``, ``busy`` cycles by engine, ``counts`` of events, and in a trace its
    ``intervals``."""

    start: int
    end: int
    busy: dict[str, int] = field(default_factory=dict[str, int])
    counts: dict[str, int] = field(default_factory=dict[str, int])
    intervals: tuple[Interval, ...] = ()


class Engines:
    """Times of a device. ``free``: of each engine; ``reads``: what a DMA channel did last; ``spans``: the
    last use of bytes on chip, in the order in which ``span`` numbered them."""

    def __init__(self, machine: Machine) -> None:
        """Nothing has begun."""
        names = [f"dma{c}" for c in range(machine.dma.channels)]
        names += [f"mover{c}" for c in range(machine.mover.channels)]
        names += ["fabric", "feed", "drain", "vector", TO_DEVICE, TO_HOST]
        self.free = dict.fromkeys(names, 0)
        self.reads: dict[str, bool | None] = dict.fromkeys(names, None)
        self.spans: list[int] = []
        self.where: list[tuple[str, int, int]] = []
        self._numbers: dict[tuple[str, int, int], int] = {}

    def span(self, level: str, begin: int, end: int) -> int:
        """The number of the bytes ``[begin, end)`` of a memory on chip."""
        number = self._numbers.setdefault((level, begin, end), len(self.spans))
        if number == len(self.spans):
            self.spans.append(0)
            self.where.append((level, begin, end))
        return number

    def overlapping(self, numbers: Iterable[int]) -> list[list[int]]:
        """For each span, those that have bytes in common with it; itself too."""
        found: list[list[int]] = []
        for number in numbers:
            level, begin, end = self.where[number]
            found.append(
                [
                    i
                    for i, (at, b, e) in enumerate(self.where)
                    if at == level and b < end > begin < e
                ]
            )
        return found

    def save(self) -> tuple[dict[str, int], dict[str, bool | None], list[int]]:
        """All times, for ``restore``."""
        return dict(self.free), dict(self.reads), list(self.spans)

    def restore(self, saved: tuple[dict[str, int], dict[str, bool | None], list[int]]) -> None:
        """Go back to what ``save`` gave."""
        free, reads, spans = saved
        self.free.update(free)
        self.reads.update(reads)
        self.spans[:] = [*spans, *[0] * (len(self.spans) - len(spans))]


def names_of(engine: Engine) -> list[str]:
    """The engines of a device that a program knows as one."""
    return [f"{engine.kind}{c}" for c in engine.channels] or [engine.kind]
