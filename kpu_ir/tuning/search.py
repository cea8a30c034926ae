"""Schedules chosen by the simulator.

Candidates are lowered and timed; nothing estimates. Bounds that no schedule can beat
(``lowering/space.py``) say which need not be tried: they are tried from the most promising on,
until none that is left could win or the budget is used up.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
from xdsl.dialects.func import FuncOp

from kpu_ir.lowering.kernel_to_tile import TilingStrategy
from kpu_ir.lowering.schedule import (
    L3_BYTES,
    PINNED,
    Schedule,
    l3_bytes,
    narrowed,
    pinned_of,
)
from kpu_ir.lowering.space import FLOWS, L3
from kpu_ir.machine import Machine
from kpu_ir.support.errors import KpuError
from kpu_ir.tuning.budget import divided
from kpu_ir.tuning.cache import Cache, cache_path
from kpu_ir.tuning.moves import Moves
from kpu_ir.tuning.objective import Effort, Objective
from kpu_ir.tuning.ranking import Trees, different, ranked, shipped
from kpu_ir.tuning.score import digest_of, fits, space_of, time_schedule
from kpu_ir.tuning.session import current, session
from kpu_ir.tuning.tried import TIE, SpentError, Tried

BUDGET: dict[str, int] = {"ranked": 8, "quick": 72, "full": 1500}
"""How many schedules are simulated at most. They come in one order, of which a larger budget tries
more: it never chooses worse."""

POOL: dict[str, int] = {"os": 24, "ws": 4, "is": 4}
"""How many candidates of each dataflow are simulated before what is around the best."""

LEAN = 8
"""How many of those that promise as much and move less are simulated besides."""

PINNED_BUDGET: dict[str, int] = {"ranked": 8, "quick": 18, "full": 200}
"""How many schedules are simulated for a kernel that leaves a part of L3 to tensors."""

RANKED = 6
"""How many a ranked search takes of the learned order, before it varies the best one's rings."""

LEAST = 6
"""So many are simulated of each kernel, however small its part of the whole is."""

REFINED = 4
"""So many of the best have their rings varied, and are gone on from to their neighbours."""

CLIMBS, NEIGHBOURS = 2, 8
"""How often the search goes on from the best to candidates near it, and how many are simulated each
time."""

NEAR: dict[str, float] = {"ranked": 1.01, "quick": 1.01, "full": 0.0}
"""A result that is no further from the bound than this is good enough."""

STALE = 1.001
"""A search that improves by no more than this while it doubles what it tries is over."""


@dataclass
class Search:
    """Chooses schedules for one machine and objective.

    ``cache``: what is known; by default the open session's, else the user's.
    """

    machine: Machine
    objective: Objective = "cycles"
    effort: Effort = "quick"
    cache: Cache | None = None
    tried: int = 0
    trees: Trees | None = None
    """By which ``ranked`` orders candidates; None: those of the package."""

    def __post_init__(self) -> None:
        opened = current()
        self._saves = self.cache is None and opened is None
        if self.cache is None:
            self.cache = opened.cache if opened else Cache.load(cache_path())

    def key(self, func: FuncOp) -> str:
        """What a choice depends on: the kernel, what it sees of the machine, the objective and its
        prices, the effort, the budget."""
        by = self.divided(func)
        part = f" 1/{by}" if by > 1 else ""
        found = f"{digest_of(func, self.machine)} {self.objective} {self.effort}{part}"
        if self.effort == "ranked":
            found += f" {shipped().digest}"
        if self.objective in ("cycles", "bytes"):
            return found
        prices = json.dumps(self.machine.to_dict()["energy"])
        return f"{found} {sha256(prices.encode()).hexdigest()[:16]}"

    def divided(self, func: FuncOp) -> int:
        """What the budget is divided by: a small part of the whole gets less of it."""
        here = current()
        if self.effort != "quick" or here is None:
            return 1
        return divided(func, self.machine, here.total)

    def known(self, func: FuncOp, strategy: TilingStrategy) -> Schedule | None:
        """The schedule that the cache has. One that comes from a file is tried before it is used."""
        assert self.cache is not None
        key = self.key(func)
        schedule = self.cache.get(key)
        if schedule is None or self.cache.found(key):
            return schedule
        try:
            time_schedule(func, strategy, schedule, self.machine)
        except (KpuError, ValueError, TypeError, ArithmeticError, LookupError):
            return None
        return schedule

    def choose(self, func: FuncOp, strategy: TilingStrategy) -> Schedule:
        """The best schedule found; the default where none of the candidates fits."""
        assert self.cache is not None
        known = self.known(func, strategy)
        if known is not None:
            return known
        chosen = self.search(func, strategy)
        self.cache.put(self.key(func), chosen)
        if self._saves:
            self.cache.save()
        return chosen

    def search(self, func: FuncOp, strategy: TilingStrategy) -> Schedule:
        """A schedule, whatever the cache has for this kernel."""
        with session(disk=False):
            return self._search(func, strategy)

    def _search(self, func: FuncOp, strategy: TilingStrategy) -> Schedule:
        room = l3_bytes(func, self.machine)
        plain = self._without_pins(func, strategy)
        if plain is not None and not pinned_of(func) and fits(func, strategy, plain, self.machine):
            return plain  # the best of more schedules than have room here
        space = space_of(func, strategy, self.machine)
        default = strategy.default(narrowed(self.machine, room), space)
        moves = Moves.of(space)
        if self.objective in ("bytes", "energy"):
            space = space.at(space.sorted(space.bytes, space.guess))
        elif len(space):
            # Among those that promise about as much (half a percent), the one that moves least.
            step = max(1, int(space.guess.min()) // 200)
            space = space.at(space.sorted(space.guess // step, space.bytes, space.guess))
        beside = room < self.machine.l3.bytes
        here = current()
        if here is not None and not beside:
            least = int(space.cycles.min()) if len(space) else 0
            here.bounds[digest_of(func, self.machine)] = least
        budget = (PINNED_BUDGET if beside else BUDGET)[self.effort]
        budget = max(LEAST, budget // self.divided(func))
        tried = Tried(func, strategy, self.machine, self.objective, space, moves, budget)
        try:
            if beside:
                self._beside_pinned(tried, plain or default, default)
            elif self.effort == "ranked":
                self._ranked(tried, default)
            else:
                self._trials(tried, default)
        except SpentError:
            pass
        finally:
            self.tried += tried.simulated
        return tried.chosen(TIE[self.effort]) if tried.results else default

    def _ranked(self, tried: Tried, default: Schedule) -> None:
        """The candidates that come first in the learned order, the default where none of them fits, and
        the best one's rings."""
        space = tried.space
        order = ranked(space, tried.strategy.kind, self.machine, self.trees)
        if self.objective != "cycles":
            order = np.arange(len(space))
        for i in different(space, order, 4 * RANKED):  # not all of them may fit
            tried.run(space.schedule(i))
            if len(tried.results) == RANKED:
                break
        if not tried.results:
            tried.run(default)
        if tried.results:
            tried.rings(tried.best)

    def _trials(self, tried: Tried, default: Schedule) -> None:
        """Candidates in the order of trial: the most promising and what is near the best of them;
        those that promise about as much and move less; rings and neighbours of the best; then more
        of each, for as long as there is a budget and anything to gain."""
        space, share = tried.space, 1
        while True:
            before = len(tried.results)
            tried.close = 1.001 if share == 1 else 1.0
            tried.kinds.clear()
            tried.some(tried.all, {flow: share * count for flow, count in POOL.items()})
            if tried.results:
                # A dataflow that promises more.
                left = np.flatnonzero((space.guess < 0.98 * tried.least[0]) & ~tried.known)
                if len(left):
                    flow = FLOWS[space.field("dataflow")[left[0]]]
                    tried.some(tried.all, {flow: share * POOL["os"] // 2})
                self._climb(tried)
            tried.run(default)
            if not tried.results:
                return
            if self.objective == "cycles":
                cycles, moved = tried.least[0], tried.results[tried.best][1]
                lean = np.flatnonzero((space.bytes < 0.9 * moved) & (space.guess <= 1.01 * cycles))
                order = np.lexsort((space.guess[lean], space.bytes[lean]))
                for i in lean[order][: share * LEAN]:
                    tried.run(space.schedule(int(i)))
            tried.rings(tried.best)
            for schedule in tried.leading(REFINED):
                if not self._settled(tried):
                    tried.rings(schedule)
            for schedule in tried.leading(1 if share == 1 else REFINED * share // 2):
                if not self._settled(tried):
                    tried.walk(schedule)
            if len(tried.results) == before or self._settled(tried) or self._stale(tried):
                return
            share *= 2

    def _settled(self, tried: Tried) -> bool:
        """Whether there is little to gain: the best is near the bound of the whole space."""
        if self.objective != "cycles" or not len(tried.space):
            return False
        return tried.least[0] <= NEAR[self.effort] * int(tried.space.cycles.min())

    def _stale(self, tried: Tried) -> bool:
        """Whether the later half of what was tried brought next to nothing."""
        results = list(tried.results.values())
        early = min(results[: len(results) // 2 or 1])
        return self.effort == "quick" and early[0] <= STALE * tried.least[0]

    def _climb(self, tried: Tried) -> None:
        """Go to candidates near the best, which differ in one extent of the tile or in the order, for
        as long as that helps and a gap to the bound is left."""
        space = tried.space
        for _ in range(CLIMBS):
            before, best = tried.least, tried.best
            near = space.field("dataflow") == FLOWS.index(best.dataflow)
            near &= space.cycles < 0.98 * before[0]
            near &= sum(a != b for a, b in zip(space.tile, best.tile)) < 2
            tried.some(near, {best.dataflow: NEIGHBOURS})
            if tried.least >= before:
                break

    def _without_pins(self, func: FuncOp, strategy: TilingStrategy) -> Schedule | None:
        """The schedule that a kernel has where no tensor stands in L3, if this is beside one and it is
        known."""
        if L3_BYTES not in func.attributes:
            return None
        plain = func.clone()
        for name in (PINNED, L3_BYTES):
            plain.attributes.pop(name, None)
        return self.known(plain, strategy)

    def _beside_pinned(self, tried: Tried, known: Schedule, default: Schedule) -> None:
        """The best of a few schedules beside tensors that stand in L3: those like the one that the
        kernel has without them, and the most promising. The bounds count external bytes of all
        tensors, and do not hold here."""
        near = ["" if place == "l3" else place for place in (known.lhs, known.rhs)]
        tried.run(default)
        for lhs, rhs in dict.fromkeys(((known.lhs, known.rhs), (near[0], near[1]), ("", ""))):
            for depth in dict.fromkeys((known.l3_depth, 2)):
                tried.run(replace(known, lhs=lhs, rhs=rhs, l3_depth=depth))
        outside = tried.all.copy()
        for name in ("lhs", "rhs"):
            outside &= tried.space.field(name) != L3
        few = PINNED_BUDGET[self.effort] // 2
        for i in np.flatnonzero(outside)[:few]:
            tried.run(tried.space.schedule(int(i)))
        if tried.results:
            tried.rings(tried.best)
            tried.walk(tried.best)
