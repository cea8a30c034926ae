"""Schedules chosen by the simulator.

Candidates are lowered and timed; nothing estimates. Bounds that no schedule can beat
(``lowering/space.py``) say which need not be tried: they are tried from the most promising on,
until none that is left could win or the budget is used up.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from xdsl.dialects.func import FuncOp

from kpu_ir.lowering.kernel_to_tile import TilingStrategy, lower_kernel
from kpu_ir.lowering.schedule import L3_BYTES, PINNED, Schedule, l3_bytes, narrowed
from kpu_ir.lowering.space import Candidate
from kpu_ir.lowering.tile_to_dma import lower_tile
from kpu_ir.machine import Machine
from kpu_ir.sim.program.program import kernel_program
from kpu_ir.sim.time.clock import Timing
from kpu_ir.sim.time.energy import energy
from kpu_ir.sim.time.model import time_program
from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import write_atomically

Objective = Literal["cycles", "bytes", "energy", "edp"]
Effort = Literal["quick", "full"]

BUDGET: dict[str, int] = {"quick": 24, "full": 400}
"""How many candidates are simulated at most, before the refinement of the best."""

LEAN: dict[str, int] = {"quick": 8, "full": 100}
"""How many of those that promise as much and move less are simulated besides."""

PINNED_BUDGET: dict[str, int] = {"quick": 6, "full": 60}
"""How many candidates are simulated for a kernel that leaves a part of L3 to tensors."""

CLIMBS: dict[str, int] = {"quick": 2, "full": 10}
"""How often the search goes on from the best to its neighbours."""

NEIGHBOURS = 8
"""How many of them are simulated each time."""

TIE = {"quick": 0.0045, "full": 0.0}
"""Results whose first figures differ by no more than this share are a tie, which goes to the smaller
second figure: half a percent of the cycles is not worth twice the bytes."""

VERSION = 15
"""Of the cache; raised whenever a schedule could come out differently."""


def external_bytes(timing: Timing) -> int:
    """Bytes read from and written to external memory."""
    return timing.counts.get("external.read", 0) + timing.counts.get("external.write", 0)


def score(timing: Timing, machine: Machine, objective: Objective) -> tuple[float, float]:
    """What is minimised, and what decides ties."""
    moved = external_bytes(timing)
    match objective:
        case "cycles":
            return (timing.cycles, moved)
        case "bytes":
            return (moved, timing.cycles)
        case "energy":
            return (energy(timing.counts, machine).total, timing.cycles)
        case "edp":
            return (energy(timing.counts, machine).total * timing.cycles, timing.cycles)


def time_schedule(
    func: FuncOp, strategy: TilingStrategy, schedule: Schedule, machine: Machine
) -> Timing:
    """The time of one kernel alone, with this schedule. Raises ``KpuError`` where it does not
    fit."""
    lowered = lower_tile(lower_kernel(func, strategy, schedule), machine)
    return time_program(kernel_program(lowered, machine))


def cache_path() -> Path:
    """Where chosen schedules are kept between runs (``KPU_IR_CACHE`` or the user's cache
    folder)."""
    root = os.environ.get("KPU_IR_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "kpu-ir"
    )
    return Path(root) / "schedules.json"


def schedule_from(entry: dict[str, Any]) -> Schedule:
    """The schedule that ``asdict`` wrote; an error of some kind where it is not one."""
    values: dict[str, Any] = {**entry, "tile": tuple(int(n) for n in entry["tile"])}
    schedule = Schedule(**values)
    schedule.check()
    return schedule


@dataclass
class Cache:
    """Chosen schedules by kernel, machine and objective, in a file that outlives the process."""

    path: Path
    entries: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    @staticmethod
    def load(path: Path, quiet: bool = False) -> Cache:
        """The cache at ``path``; an unreadable or foreign file is ignored with a word on stderr."""

        def ignored(why: str) -> None:
            if not quiet:
                print(f"{path}: {why}, ignored", file=sys.stderr)

        try:
            data = json.loads(path.read_text())
            if data["version"] == VERSION and isinstance(data["entries"], dict):
                return Cache(path, data["entries"])
            ignored("a cache of another version")
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError):
            ignored("not a cache of schedules")
        return Cache(path)

    def get(self, key: str) -> Schedule | None:
        """The schedule under ``key``, if there is a usable one."""
        try:
            schedule = schedule_from(self.entries[key])
        except (KeyError, TypeError, ValueError, KpuError):
            return None
        return schedule

    def put(self, key: str, schedule: Schedule) -> None:
        """Remember, and write the file whole (merged with what another process wrote meanwhile)."""
        if self.path.is_file():
            self.entries = {**Cache.load(self.path, quiet=True).entries, **self.entries}
        self.entries[key] = asdict(schedule)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(
                {"version": VERSION, "entries": self.entries}, indent=0, sort_keys=True
            )
            write_atomically(self.path, text)
        except (OSError, KpuError) as e:
            print(f"{self.path}: not written ({e})", file=sys.stderr)


@dataclass
class Search:
    """Chooses schedules for one machine and objective."""

    machine: Machine
    objective: Objective = "cycles"
    effort: Effort = "quick"
    cache: Cache | None = None
    tried: int = 0

    def __post_init__(self) -> None:
        if self.cache is None:
            self.cache = Cache.load(cache_path())

    def key(self, func: FuncOp) -> str:
        """What a choice depends on: the kernel, the machine, the objective, the effort."""
        body = "\n".join(str(op) for op in func.body.block.ops)
        parts = [str(func.function_type), body, self.machine.to_dict(), self.objective, self.effort]
        parts += [
            str(func.attributes[name]) for name in (PINNED, L3_BYTES) if name in func.attributes
        ]
        text = json.dumps(parts)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def prepare(self, funcs: Sequence[FuncOp]) -> None:
        """Find the schedules of several kernels at once, for ``choose`` to know."""
        from kpu_ir.tuning.workers import search_all

        assert self.cache is not None
        new: dict[str, FuncOp] = {}
        for func in funcs:
            key = self.key(func)
            if key not in new and self.cache.get(key) is None:
                new[key] = func
        answers = search_all(
            list(new.values()), self.machine.to_dict(), self.objective, self.effort
        )
        for key, answer in zip(new, answers):
            if answer is not None:
                self.cache.put(key, schedule_from(answer))

    def choose(self, func: FuncOp, strategy: TilingStrategy) -> Schedule:
        """The best schedule found; the default where none of the candidates fits."""
        assert self.cache is not None
        key = self.key(func)
        known = self.cache.get(key)
        if known is not None:
            return known
        # Thousands of short-lived IR objects: collecting them in between costs more than the
        # search.
        collecting = gc.isenabled()
        gc.disable()
        try:
            chosen = self.search(func, strategy)
        finally:
            if collecting:
                gc.enable()
        self.cache.put(key, chosen)
        return chosen

    def search(self, func: FuncOp, strategy: TilingStrategy) -> Schedule:
        """Try candidates in the simulator: the most promising, then those that promise about as
        much and move less, then what is around the one that has won so far."""
        room = l3_bytes(func, self.machine)
        machine = narrowed(self.machine, room)
        default = strategy.default(machine)
        if self.objective in ("bytes", "energy"):
            pool = sorted(strategy.candidates(machine), key=lambda c: (c.bytes, c.guess))
        else:
            # Among those that promise about as much (half a percent), the one that moves least.
            pool = strategy.candidates(machine)
            step = max(1, min((c.guess for c in pool), default=1) // 200)
            pool = sorted(pool, key=lambda c: (c.guess // step, c.bytes, c.guess))
        tried = _Tried(func, strategy, self)
        if room < self.machine.l3.bytes:
            return self._with_pins(func, pool, tried, default)
        few = BUDGET[self.effort] // 6
        self._try(pool, tried, {"os": BUDGET[self.effort], "ws": few, "is": few})
        if tried.results:
            limit = 0.98 * tried.least[0]
            left = (c for c in pool if c.guess < limit and not tried.knows(c.schedule))
            if (most := next(left, None)) is not None:  # a dataflow that promises more
                self._try(pool, tried, {most.schedule.dataflow: BUDGET[self.effort] // 2})
            self._climb(pool, tried)
        tried.run(default)
        if not tried.results:
            return default
        if self.objective == "cycles":
            cycles, moved = tried.least[0], tried.best[0][1]
            lean = [c for c in pool if c.bytes < 0.9 * moved and c.guess <= 1.01 * cycles]
            for candidate in sorted(lean, key=lambda c: (c.bytes, c.guess))[: LEAN[self.effort]]:
                tried.run(candidate.schedule)
        for name, value in self._refinements(tried.best[1]):
            changed: dict[str, Any] = {name: value}
            tried.run(replace(tried.best[1], **changed))
        return tried.best[1]

    def _with_pins(
        self, func: FuncOp, pool: Sequence[Candidate], tried: _Tried, default: Schedule
    ) -> Schedule:
        """The best of a few schedules beside tensors that stand in L3: those like the one that the
        kernel has without them, and the most promising. The bounds count external bytes of all
        tensors, and do not hold here."""
        assert self.cache is not None
        plain = func.clone()
        for name in (PINNED, L3_BYTES):
            plain.attributes.pop(name, None)
        known = self.cache.get(self.key(plain)) or default
        near = ["" if place == "l3" else place for place in (known.lhs, known.rhs)]
        for lhs, rhs in dict.fromkeys(((known.lhs, known.rhs), (near[0], near[1]), ("", ""))):
            for depth in dict.fromkeys((known.l3_depth, 2)):
                tried.run(replace(known, lhs=lhs, rhs=rhs, l3_depth=depth))
        left = [c for c in pool if "l3" not in (c.schedule.lhs, c.schedule.rhs)]
        for candidate in left[: PINNED_BUDGET[self.effort]]:
            if not tried.knows(candidate.schedule):
                tried.run(candidate.schedule)
        if not tried.results:
            tried.run(default)
        return tried.best[1] if tried.results else default

    def _try(self, pool: Sequence[Candidate], tried: _Tried, budget: dict[str, int]) -> None:
        """Simulate the first of ``pool`` that could win, as many of each dataflow as ``budget``
        says."""
        for candidate in pool:
            flow = candidate.schedule.dataflow
            if budget.get(flow, 0) <= 0 or tried.knows(candidate.schedule):
                continue
            if tried.results and self._hopeless(candidate, tried.least):
                continue
            budget[flow] -= tried.run(candidate.schedule)

    def _climb(self, pool: Sequence[Candidate], tried: _Tried) -> None:
        """Go to neighbours of the best, which differ in one extent of the tile or in the order, for
        as long as that helps and a gap to the bound is left."""
        for _ in range(CLIMBS[self.effort]):
            before, best = tried.least, tried.best[1]
            near = [
                c
                for c in pool
                if c.schedule.dataflow == best.dataflow
                and c.cycles < 0.98 * before[0]
                and sum(a != b for a, b in zip(c.schedule.tile, best.tile)) < 2
                and not tried.knows(c.schedule)
            ]
            self._try(near, tried, {best.dataflow: NEIGHBOURS})
            if tried.least >= before:
                break

    def _hopeless(self, candidate: Candidate, best: tuple[float, float]) -> bool:
        """Its bound says that it cannot win; a quick search does not chase the last permille
        either."""
        match self.objective:
            case "cycles":
                close = 1.001 if self.effort == "quick" else 1.0
                return (candidate.cycles * close, candidate.bytes) >= best
            case "bytes":
                return (candidate.bytes, candidate.cycles) >= best
            case _:
                return False

    def _refinements(self, schedule: Schedule) -> Sequence[tuple[str, int]]:
        """Buffer depths and lateness around the best schedule."""
        defer = schedule.defer
        return [
            ("defer", defer + 3),
            ("defer", max(1, defer - 3)),
            ("out_depth", schedule.out_depth + 2),
            ("depth", schedule.depth + 1),
            ("l3_depth", schedule.l3_depth + 2),
        ]


@dataclass
class _Tried:
    """What has been simulated of one kernel."""

    func: FuncOp
    strategy: TilingStrategy
    search: Search
    results: list[tuple[tuple[float, float], Schedule]] = field(
        default_factory=list[tuple[tuple[float, float], Schedule]]
    )

    def knows(self, schedule: Schedule) -> bool:
        """Whether it was simulated."""
        return any(one == schedule for _, one in self.results)

    def run(self, schedule: Schedule) -> bool:
        """Simulate a schedule; whether it fits."""
        search = self.search
        search.tried += 1
        try:
            timing = time_schedule(self.func, self.strategy, schedule, search.machine)
        except KpuError:
            return False
        self.results.append((score(timing, search.machine, search.objective), schedule))
        return True

    @property
    def least(self) -> tuple[float, float]:
        """The best result, ties apart."""
        return min(result for result, _ in self.results)

    @property
    def best(self) -> tuple[tuple[float, float], Schedule]:
        """Of those within a tie (``TIE``) of the best, the one with the smallest second figure; the
        first of equals."""
        limit = self.least[0] * (1 + TIE[self.search.effort])
        near = [one for one in self.results if one[0][0] <= limit]
        return min(near, key=lambda one: (one[0][1], one[0][0]))
