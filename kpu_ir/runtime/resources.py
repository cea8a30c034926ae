"""The parts of a device as handles: how much they hold, how much they did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kpu_ir.runtime.allocator import Allocator
from kpu_ir.runtime.engines import Engines
from kpu_ir.runtime.timeline import Timeline


@dataclass(frozen=True)
class Memory:
    """A memory of the machine: ``capacity``, ``in_use`` and ``peak`` in bytes."""

    name: str
    capacity: int
    _use: Callable[[], tuple[int, int]]
    allocator: Allocator | None = None

    def __repr__(self) -> str:
        return f"<Memory {self.name}: {self.in_use:,} of {self.capacity:,} bytes in use>"

    @property
    def in_use(self) -> int:
        """Bytes that are taken now."""
        return self._use()[0]

    @property
    def peak(self) -> int:
        """The most that were at any time."""
        return self._use()[1]

    def map(self) -> str:
        """Who has which bytes."""
        return self.allocator.map() if self.allocator else f"  {self.in_use:,} bytes of programs"


@dataclass(frozen=True)
class EngineHandle:
    """An engine of the machine: a DMA channel, a mover, the array (``fabric``), its edges (``feed``,
    ``drain``), the vector engine, a direction of the host's link."""

    name: str
    _timeline: Timeline

    def __repr__(self) -> str:
        return f"<Engine {self.name}: busy {self.busy:,} cycles, {100 * self.utilization:.1f} %>"

    @property
    def busy(self) -> int:
        """Cycles that it worked."""
        self._timeline.settle()
        return self._timeline.totals.busy[self.name]

    @property
    def utilization(self) -> float:
        """The share of all cycles so far."""
        busy = self.busy
        return busy / max(1, self._timeline.totals.cycles)


def on_chip(level: str, capacity: int, engines: Engines) -> Memory:
    """A memory that programs on the device have their tiles in."""

    def use() -> tuple[int, int]:
        covered = end = 0
        for at, begin, stop in sorted(engines.where):
            if at == level:
                covered += max(0, stop - max(begin, end))
                end = max(end, stop)
        return covered, covered

    return Memory(level, capacity, use)
