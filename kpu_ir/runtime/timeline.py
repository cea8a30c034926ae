"""What was asked of a device, in the order in which its engines serve it.

Operations wait in a list until somebody asks for a time. Then their order is fixed: each follows the
one before it in its stream and the events that it waits for; of those that may be next, the one of the
stream with the highest priority (the lowest number), then the one that was launched first. In this
order they pass through the engines, which are in order themselves. Time stays max-plus linear.

An operation begins when the one before it in its stream, and each that it waits for, has ended. What was
launched on several streams is also timed one operation after the other; what ends first counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Protocol

from kpu_ir.runtime.engines import Engines, Spent


class Timed(Protocol):
    """What takes time: a copy, a launch."""

    def time(self, engines: Engines, gate: int) -> Spent:
        """Take engines, no earlier than ``gate``."""
        ...


@dataclass(slots=True, eq=False)
class Work:
    """An operation of a stream. ``issued``: when the host asked for it; ``end`` is -1 until it has
    been timed."""

    number: int
    stream: int
    priority: int
    what: str
    size: int
    where: str
    issued: int
    timed: Timed | None
    after: tuple[Work, ...]
    start: int = -1
    end: int = -1
    spent: Spent | None = None


@dataclass(slots=True)
class Row:
    """Operations of one kind: how many, the cycles from their starts to their ends (those of other
    streams may lie in between), the bytes that copies and fills moved."""

    what: str
    count: int = 0
    cycles: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Totals:
    """What a device did: ``busy`` cycles by engine, ``counts`` of events, operations."""

    busy: Counter[str] = field(default_factory=Counter[str])
    counts: Counter[str] = field(default_factory=Counter[str])
    operations: int = 0
    cycles: int = 0
    """The end of the last one."""
    by: dict[str, Row] = field(default_factory=dict[str, "Row"])
    """The same for each kind of operation."""


class Timeline:
    """The operations of a device, and their times."""

    def __init__(self, engines: Engines, keep: bool) -> None:
        """``keep`` the operations, for a trace; else they are forgotten with what holds them."""
        self.engines, self.keep = engines, keep
        self.pending: list[Work] = []
        self.done: list[Work] = []
        self.totals = Totals()
        self.serial = 0
        """How often one operation after the other was better."""

    def settle(self) -> None:
        """Time what is pending."""
        if not self.pending:
            return
        works, self.pending = self.pending, []
        order = merged(works)
        saved = self.engines.save()
        ends = self._run(order, False)
        if len({work.stream for work in works}) > 1:
            after = self.engines.save()
            self.engines.restore(saved)
            alone = self._run(works, True)
            if max(end.end for end in alone) < max(end.end for end in ends):
                order, ends = works, alone
                self.serial += 1
            else:
                self.engines.restore(after)
        for work, spent in zip(order, ends):
            work.start, work.end, work.spent = spent.start, spent.end, spent
            self.totals.busy.update(spent.busy)
            self.totals.counts.update(spent.counts)
            self.totals.cycles = max(self.totals.cycles, work.end)
            if work.timed is not None:
                self.totals.operations += 1
                row = self.totals.by.setdefault(work.what, Row(work.what))
                row.count, row.bytes = row.count + 1, row.bytes + work.size
                row.cycles += work.end - work.start
            work.after = ()
        if self.keep:
            self.done += (work for work in order if work.timed is not None)

    def _run(self, order: Sequence[Work], serial: bool) -> list[Spent]:
        """Time operations in this order; ``serial``: each after the end of all before."""
        ends: dict[int, int] = {}
        found: list[Spent] = []
        latest = 0
        for work in order:
            waits = [ends[w.number] if w.number in ends else w.end for w in work.after]
            gate = max(work.issued, latest if serial else 0, *waits)
            spent = Spent(gate, gate) if work.timed is None else work.timed.time(self.engines, gate)
            ends[work.number] = spent.end
            latest = max(latest, spent.end)
            found.append(spent)
        return found


def merged(works: Sequence[Work]) -> list[Work]:
    """Operations by priority, then by launch, each after those that it waits for."""
    here = {work.number for work in works}
    waiting = {w.number: sum(a.number in here for a in w.after) for w in works}
    behind: dict[int, list[Work]] = {}
    for work in works:
        for before in work.after:
            behind.setdefault(before.number, []).append(work)
    ready = [(w.priority, w.number, w) for w in works if not waiting[w.number]]
    heapify(ready)
    order: list[Work] = []
    while ready:
        work = heappop(ready)[2]
        order.append(work)
        for after in behind.get(work.number, ()):
            waiting[after.number] -= 1
            if not waiting[after.number]:
                heappush(ready, (after.priority, after.number, after))
    return order
