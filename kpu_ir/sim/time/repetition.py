"""Loops that repeat: stepped until their state does so up to a shift, then jumped over.

The proof stands in ``kpu_ir/sim/time/model.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import gcd, lcm
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kpu_ir.sim.time.codegen import PlanCompiler
    from kpu_ir.sim.time.model import TimeModel

SHORT = 6
"""Loops of fewer trips are stepped: they end before a repetition pays."""


@dataclass(slots=True)
class Touched:
    """What a loop's body reads and writes of the state: decides how its repetition is
    recognised."""

    engines: set[int] = field(default_factory=set[int])
    filled: dict[int, int] = field(default_factory=dict[int, int])
    taken: dict[int, int] = field(default_factory=dict[int, int])
    outs: set[int] = field(default_factory=set[int])
    reads: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    written: set[int] = field(default_factory=set[int])
    buffers: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    written_buffers: set[int] = field(default_factory=set[int])
    used_buffers: set[int] = field(default_factory=set[int])
    room: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    operations: int = 0

    def add(self, other: Touched, times: int) -> None:
        """Include ``other``, executed ``times`` times."""
        self.engines |= other.engines
        for mine, theirs in ((self.filled, other.filled), (self.taken, other.taken)):
            for ring, n in theirs.items():
                mine[ring] = mine.get(ring, 0) + n * times
        self.outs |= other.outs
        self.reads |= other.reads
        self.written |= other.written
        self.buffers |= other.buffers
        self.written_buffers |= other.written_buffers
        self.used_buffers |= other.used_buffers
        self.room |= other.room
        self.operations += other.operations * times


class Repetition:
    """A loop that is stepped until its state repeats, then jumps."""

    def __init__(
        self,
        model: TimeModel,
        compiler: PlanCompiler,
        inside: Touched,
        body: Callable[[], None],
        trips: int,
    ) -> None:
        """A loop of ``trips`` trips of ``body``, which touches ``inside``."""
        self.model, self.inside, self.body, self.trips = model, inside, body, trips
        s = model.slots.base
        depth = {r.index: r.depth for r in compiler.plan.rings}
        acquired = {**inside.taken, **inside.filled}
        for ring in inside.taken:
            acquired[ring] = inside.taken[ring] + inside.filled.get(ring, 0)
        self.rings = [
            (r, s[r], depth[r], acquired[r], r in inside.filled) for r in sorted(acquired)
        ]
        self.rotation = [(d, n) for _, _, d, n, _ in self.rings]
        self.engines = sorted(inside.engines)
        # Registers set before the loop: slots that it writes (sums) move with it; those that it
        # reads stand still.
        self.sums = sorted(inside.written - inside.outs)
        outside = {(e, r) for e, r in inside.reads if r not in inside.outs and r not in self.sums}
        self.still = sorted(outside)
        self.touched_outside = sorted({r for _, r in outside})
        self.reused = [
            (e, base, base + d)
            for r, base, d, _, filled in self.rings
            if not filled
            for e in sorted(
                {e for e, q in inside.reads if q in inside.outs and compiler.ring_of[q].index == r}
            )
        ]
        self.still_buffers = sorted(
            (e, b) for e, b in inside.buffers if b not in inside.written_buffers
        )
        self.moving_buffers = sorted(inside.written_buffers)
        self.used_buffers = sorted(inside.used_buffers)
        self.still_rooms = sorted((e, b) for e, b in inside.room if b not in inside.used_buffers)

    def _standing_still(self) -> bool:
        """Nothing that the loop only reads can win a maximum any more."""
        s = self.model.state
        T, ready = s.T, s.ready
        return (
            all(ready[s.reg[r]] <= T[e] for e, r in self.still)
            and all(max(ready[a:b]) <= T[e] for e, a, b in self.reused)
            and all(s.written[s.bind[b]] <= T[e] for e, b in self.still_buffers)
            and all(s.used[s.bind[b]] <= T[e] for e, b in self.still_rooms)
        )

    def run(self) -> None:
        """All trips."""
        s, body, trips = self.model.state, self.body, self.trips
        T, ready, free, head, reg = s.T, s.ready, s.free, s.head, s.reg
        smallest = self._aligned(1)
        if smallest * 2 >= trips:
            for _ in range(trips):
                body()
            return
        seen: dict[tuple[int, ...], tuple[int, int, list[int], list[int], int]] = {}
        engines, rings, queue = self.engines, self.rings, s.queue
        anchor = engines[0]
        bound = [s.bind[b] for b in self.moving_buffers]
        used = list(dict.fromkeys(s.bind[b] for b in self.used_buffers))
        sums = [reg[r] for r in self.sums]
        done = 0
        while done < trips:
            body()
            done += 1
            base = T[anchor]
            key = [T[e] - base for e in engines]
            for r, a, d, _, filled in rings:
                h = head[r]
                order = (*range(a + h, a + d), *range(a, a + h))
                key += [free[q] - base for q in order]
                if filled:
                    key += [ready[q] - base for q in order]
            for q in sums:
                key += (free[q] - base, ready[q] - base)
            for r in self.touched_outside:
                key.append(free[reg[r]] - base)
            for b in bound:
                key.append(s.written[b] - base)
            for b in used:
                key.append(s.used[b] - base)
            if queue:
                now = s.tick[0]
                for due, function, q, slot, b in queue:
                    key += (due - now, id(function), self._relative(q), self._relative(slot), b)
            frozen = tuple(key)
            before = seen.get(frozen)
            if before is None:
                seen[frozen] = (done, base, s.count[:], s.stall[:], s.tick[0])
                continue
            period, shift = done - before[0], base - before[1]
            stride = self._aligned(period)
            jumps = (trips - done) // stride
            if jumps and self._standing_still():
                self._jump(jumps * stride // period, period, shift, before, bound, used, sums)
                done += jumps * stride
            elif not jumps:
                for _ in range(trips - done):
                    body()
                return

    def _relative(self, slot: int) -> int:
        """A slot by its distance from its ring's head."""
        for r, a, d, _, _ in self.rings:
            if a <= slot < a + d:
                return (slot - a - self.model.state.head[r]) % d
        return slot

    def _aligned(self, period: int) -> int:
        """The fewest trips, a multiple of ``period``, after which every ring's head is where it
        was."""
        return period * lcm(1, *(d // gcd(d, period * n) for d, n in self.rotation))

    def _jump(
        self,
        periods: int,
        period: int,
        shift: int,
        before: tuple[int, int, list[int], list[int], int],
        bound: list[int],
        used: list[int],
        sums: list[int],
    ) -> None:
        s = self.model.state
        by = periods * shift
        for e in self.engines:
            s.T[e] += by
        for _, a, d, _, filled in self.rings:
            for q in range(a, a + d):
                s.free[q] += by
                if filled:
                    s.ready[q] += by
        for q in sums:
            s.free[q] += by
            s.ready[q] += by
        for r in self.touched_outside:
            s.free[s.reg[r]] += by
        for b in bound:
            s.written[b] += by
        for b in used:
            s.used[b] += by
        for table, old in ((s.count, before[2]), (s.stall, before[3])):
            for i, n in enumerate(old):
                if table[i] != n:
                    table[i] += periods * (table[i] - n)
        ticks = periods * (s.tick[0] - before[4])
        s.tick[0] += ticks
        self.model.skipped += periods * period * self.inside.operations
        if ticks and s.queue:
            s.queue[:] = [(due + ticks, *rest) for due, *rest in s.queue]  # pyright: ignore
