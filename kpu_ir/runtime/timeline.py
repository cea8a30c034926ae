"""What was asked of a device, in the order in which its engines serve it.

Operations wait in a list until somebody asks for a time. Then their order is fixed: each follows the
one before it in its stream and the events that it waits for; of those that may be next, the one of the
stream with the highest priority (the lowest number), then the one that was launched first. In this
order they pass through the engines, which are in order themselves. Time stays max-plus linear.

An operation begins when the one before it in its stream, and each that it waits for, has ended. What was
launched on several streams is timed in three ways: launches of two streams that do not meet on chip side
by side, loop by loop (``interleave``); one launch issued behind the other; one operation after the end of the
other. What ends first counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Any, Protocol

from kpu_ir.runtime.engines import Engines, Spent


class Timed(Protocol):
    """What takes time: a copy, a launch."""

    def time(self, engines: Engines, gate: int) -> Spent:
        """Take engines, no earlier than ``gate``."""
        ...


class Pair(Protocol):
    """Two launches as one program."""

    def time(self, engines: Engines, gates: Sequence[int]) -> Sequence[Spent]:
        """Take engines, each no earlier than its gate."""
        ...


NEAR = 8
"""Operations among which the partner of a launch is looked for."""


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

    def row(self, what: str) -> Row:
        """Those of one kind."""
        return self.by.setdefault(what, Row(what))


Ends = dict[int, Spent]
"""What operations took, by their numbers."""


class Timeline:
    """The operations of a device, and their times."""

    def __init__(
        self,
        engines: Engines,
        keep: bool,
        pair: Callable[[Timed | None, Timed | None], Pair | None],
    ) -> None:
        """``keep`` the operations, for a trace; else they are forgotten with what holds them. ``pair``:
        two launches as one program, where they can be."""
        self.engines, self.keep, self.pair = engines, keep, pair
        self.pending: list[Work] = []
        self.done: list[Work] = []
        self.totals = Totals()
        self.chosen = [0, 0, 0]
        """How often loops of two streams side by side ended first, launches one behind the other, and
        one operation after the end of another."""

    def settle(self) -> None:
        """Time what is pending."""
        if not self.pending:
            return
        works, self.pending = self.pending, []
        order = merged(works)
        if len({work.stream for work in works}) == 1:
            spent = self._run(order)
        else:
            ways = [(order, {"pairs": True}), (order, {}), (works, {"serial": True})]
            order, spent = self._best(ways)
        for work in order:
            self._note(work, spent[work.number])
        if self.keep:
            self.done += (work for work in order if work.timed is not None)

    def _best(self, ways: Sequence[tuple[list[Work], dict[str, bool]]]) -> tuple[list[Work], Ends]:
        """What ends first of several ways to time the same operations; the first of equals."""
        saved = self.engines.save()
        found: list[tuple[int, int, Ends, Any]] = []
        for number, (order, how) in enumerate(ways):
            self.engines.restore(saved)
            spent = self._run(order, **how)
            end = max(s.end for s in spent.values())
            found.append((end, number, spent, self.engines.save()))
        _, number, spent, after = min(found, key=lambda way: way[:2])
        self.engines.restore(after)
        self.chosen[number] += 1
        return ways[number][0], spent

    def _note(self, work: Work, spent: Spent) -> None:
        """An operation has been timed."""
        work.start, work.end, work.spent, work.after = spent.start, spent.end, spent, ()
        totals = self.totals
        totals.busy.update(spent.busy)
        totals.counts.update(spent.counts)
        totals.cycles = max(totals.cycles, work.end)
        if work.timed is not None:
            totals.operations += 1
            row = totals.row(work.what)
            row.count, row.bytes = row.count + 1, row.bytes + work.size
            row.cycles += work.end - work.start

    def _run(self, order: Sequence[Work], pairs: bool = False, serial: bool = False) -> Ends:
        """Time operations in this order. ``pairs``: launches of two streams as one program, where both
        end sooner; ``serial``: each after the end of all before."""
        ends: Ends = {}
        latest = 0
        for number, work in enumerate(order):
            if work.number in ends:
                continue
            gate = max(_gate(work, ends), latest if serial else 0)
            other = self._partner(work, order[number + 1 :], ends) if pairs else None
            if work.timed is None:
                ends[work.number] = Spent(gate, gate)
            elif other is None or not self._together(work, other, ends):
                ends[work.number] = work.timed.time(self.engines, gate)
            latest = max(latest, ends[work.number].end)
        return ends

    def _partner(self, work: Work, behind: Sequence[Work], ends: Ends) -> Work | None:
        """A launch of another stream, of the same priority, that may be issued now as well."""
        for other in behind[:NEAR]:
            known = other.number in ends or any(_unknown(w, ends) for w in other.after)
            if known or other.stream == work.stream or other.priority != work.priority:
                continue
            if self.pair(work.timed, other.timed) is not None:
                return other
        return None

    def _together(self, work: Work, other: Work, ends: Ends) -> bool:
        """Time two launches as one program, unless one after the other ends sooner."""
        both = self.pair(work.timed, other.timed)
        assert both is not None
        assert work.timed is not None
        assert other.timed is not None
        gates = _gate(work, ends), _gate(other, ends)
        saved = self.engines.save()
        alone = [w.timed.time(self.engines, g) for w, g in zip((work, other), gates) if w.timed]
        self.engines.restore(saved)
        found = both.time(self.engines, gates)
        if max(s.end for s in found) < max(s.end for s in alone):
            ends[work.number], ends[other.number] = found
            return True
        self.engines.restore(saved)
        return False


def _gate(work: Work, ends: Ends) -> int:
    """When an operation may begin."""
    waits = (ends[w.number].end if w.number in ends else w.end for w in work.after)
    return max(work.issued, *waits, 0)


def _unknown(work: Work, ends: Ends) -> bool:
    return work.end < 0 and work.number not in ends


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
