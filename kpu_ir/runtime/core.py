"""The state of a device, and what its streams, buffers and programs ask of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from kpu_ir.machine import Machine
from kpu_ir.runtime.allocation import Allocation
from kpu_ir.runtime.allocator import Allocator, Stamp, joined
from kpu_ir.runtime.base import Request, here
from kpu_ir.runtime.engines import Engines
from kpu_ir.runtime.moves import copy_program, fill_program
from kpu_ir.runtime.resident import Resident, Together, disjoint, pinned_steps
from kpu_ir.runtime.stream import Stream
from kpu_ir.runtime.timeline import Timeline, Work
from kpu_ir.sim.program.plan import Step
from kpu_ir.sim.program.program import Program
from kpu_ir.support.errors import KpuError

MOST_MOVES = 256
"""Sizes of copies and fills whose programs are kept."""


class Core:
    """The memory, the streams and the timeline of a device."""

    def __init__(
        self, machine: Machine, shares: int, races: bool, trace: bool, debug: bool, stepped: bool
    ) -> None:
        """As ``Device`` has it."""
        self.machine, self.shares = machine, shares
        self.share_machine = _shared(machine, shares)
        self.find_races, self.debug, self.stepped, self.tracing = races, debug, stepped, trace
        self.external = Allocator("external memory", machine.external.bytes)
        self.engine_times = Engines(machine)
        self.timeline = Timeline(self.engine_times, trace, self.pair)
        self.now = 0
        """Where the host is: it goes on when it waits."""
        self.host_stamp: dict[int, int] = {}
        self.streams: list[Stream] = []
        self.logged: list[tuple[Request, int, Stamp]] = []
        self._count = 0
        self._residents: list[Resident] = []
        self._pinned: list[Step] = []
        self._moves: dict[tuple[str, int, int], Resident] = {}
        self._pairs: dict[tuple[int, int], tuple[Resident, Resident, Together | None]] = {}

    def release(self, allocation: Allocation, after: Stamp) -> None:
        """Take memory back."""
        if allocation.span is not None and allocation.memory is not None:
            allocation.memory.release(allocation.span.address, after)
        allocation.freed = here()
        if not self.debug:
            allocation.data = np.empty(0, np.uint8)

    def resident(self, again: Callable[[], Program], share: int) -> Resident:
        """A program's plans, in a share of the chip; ``again`` reads it."""
        l3, l2 = self.share_machine.l3.bytes * share, self.share_machine.l2.bytes * share
        found = Resident(again, self.engine_times, l3, l2, not self.stepped, self.tracing)
        pinned = pinned_steps(found.program)
        if pinned:  # engines are told apart that were alike, for all programs
            self.timeline.settle()
            self._pinned += pinned
            self._pairs.clear()
            for resident in self._residents:
                resident.prepare(self._pinned)
        if self._pinned:
            found.prepare(self._pinned)
        self._residents.append(found)
        return found

    def pair(self, first: Any, second: Any) -> Together | None:
        """Two launches as one, where they do not meet on chip."""
        if not isinstance(first, Resident) or not isinstance(second, Resident):
            return None
        key = id(first), id(second)
        if key not in self._pairs:
            if len(self._pairs) >= MOST_MOVES:
                self._pairs.clear()
            apart = disjoint(first, second, self.engine_times)
            self._pairs[key] = (first, second, Together(first, second) if apart else None)
        return self._pairs[key][2]

    def copier(self, size: int, share: int) -> Resident:
        """What a copy within external memory takes."""
        return self._move("copy", size, share)

    def filler(self, size: int, share: int) -> Resident:
        """What a fill takes."""
        return self._move("fill", size, share)

    def _move(self, kind: str, size: int, share: int) -> Resident:
        key = kind, size, share
        if key not in self._moves:
            if len(self._moves) >= MOST_MOVES:
                old = self._moves.pop(next(iter(self._moves)))
                self._residents.remove(old)
            make = copy_program if kind == "copy" else fill_program
            self._moves[key] = self.resident(lambda: make(size, self.share_machine), share)
        return self._moves[key]

    def work(
        self, stream: Stream, what: str, size: int, where: str, timed: Any, after: tuple[Work, ...]
    ) -> Work:
        """An operation, pending."""
        self._count += 1
        of = self._count, stream.index, stream.priority, what, size, where, self.now, timed, after
        self.timeline.pending.append(Work(*of))
        return self.timeline.pending[-1]

    def frontier(self, streams: Iterable[int]) -> list[Work]:
        """The last operations of some streams."""
        return [work for index in streams for work in self.streams[index].frontier]

    def wait_until(self, cycles: int, stamp: Stamp) -> None:
        """The host waits."""
        self.now = max(self.now, cycles)
        self.host_stamp = joined((self.host_stamp, stamp))
        self.external.settle(self.host_stamp)

    def log(self, request: Request, stream: int, stamp: Stamp) -> None:
        """Keep an operation for ``check_interleavings``."""
        if self.debug:
            self.logged.append((request, stream, dict(stamp)))

    def forget(self, resident: Any) -> None:
        """A program is no longer there."""
        self._residents.remove(resident)


def _shared(machine: Machine, shares: int) -> Machine:
    """One of so many equal parts of a chip's memory; the engines are common."""
    if shares == 1:
        return machine
    tile, bank = machine.l3.tile_bytes, machine.l2.bank_bytes
    if shares < 1 or tile % (64 * shares) or bank % (64 * shares):
        raise KpuError(
            f"memories of {tile:,} and {bank:,} bytes are not divided by {shares}",
            hint="a number of shares that leaves multiples of 64 bytes, as 2 or 4",
        )
    return replace(
        machine,
        name=f"{machine.name}/{shares}",
        l3=replace(machine.l3, tile_bytes=tile // shares),
        l2=replace(machine.l2, bank_bytes=bank // shares),
    )
