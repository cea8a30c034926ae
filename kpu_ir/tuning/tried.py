"""What a search has simulated of one kernel: results by schedule, the best of them, and the ways on
from one schedule to more (the first of a space, other rings, neighbours)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from xdsl.dialects.func import FuncOp

from kpu_ir.lowering.kernel_to_tile import TilingStrategy
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.space import FLOWS, Column, Space
from kpu_ir.machine import Machine
from kpu_ir.support.errors import KpuError
from kpu_ir.tuning.moves import Moves
from kpu_ir.tuning.objective import Objective
from kpu_ir.tuning.score import score, time_schedule

AHEAD = 512
"""So many candidates are looked at at once."""

RINGS: dict[str, Sequence[int]] = {
    "defer": (3, -3), "out_depth": (2,), "depth": (1,), "l3_depth": (2,),
}  # fmt: skip
"""By how much depths and the pipeline offset are changed."""

TIE = {"ranked": 0.0045, "quick": 0.0045, "full": 0.0}
"""Results whose first figures differ by no more than this share are a tie, which goes to the smaller
second figure: half a percent of the cycles is not worth twice the bytes."""


class SpentError(Exception):
    """The budget is used up."""


@dataclass
class Tried:
    """What has been simulated of one kernel, of a space in the order of trial."""

    func: FuncOp
    strategy: TilingStrategy
    machine: Machine
    objective: Objective
    space: Space
    moves: Moves
    budget: int
    close: float = 1.0
    """What promises less than this share of the best is not chased."""
    simulated: int = 0
    """How many schedules were, those that did not fit too."""
    results: dict[Schedule, tuple[float, float]] = field(
        default_factory=dict[Schedule, tuple[float, float]]
    )

    def __post_init__(self) -> None:
        self.known = np.zeros(len(self.space), bool)
        self.all = ~self.known
        self.kinds: set[object] = set()

    def run(self, schedule: Schedule) -> bool:
        """Simulate a schedule; whether it fits. Raises ``SpentError`` where none may be simulated
        any more."""
        if schedule in self.results:
            return True
        if len(self.results) >= self.budget:
            raise SpentError
        self.simulated += 1
        try:
            timing = time_schedule(self.func, self.strategy, schedule, self.machine)
        except KpuError:
            return False
        self.results[schedule] = score(timing, self.machine, self.objective)
        return True

    def leading(self, count: int) -> list[Schedule]:
        """The best so far, each with another tile or dataflow."""
        found: dict[object, Schedule] = {}
        for schedule in sorted(self.results, key=self.results.__getitem__):
            found.setdefault((schedule.tile, schedule.dataflow, schedule.layout), schedule)
        return list(found.values())[:count]

    def rings(self, s: Schedule) -> None:
        """Vary depths and the pipeline offset of a schedule, one after the other, and keep what
        helps."""
        for name, by in RINGS.items():
            for step in by:
                changed: dict[str, Any] = {name: max(1, getattr(s, name) + step)}
                new = replace(s, **changed)
                if self.run(new) and self.results[new] < self.results[s]:
                    s = new
                    break

    def walk(self, s: Schedule) -> None:
        """Go to a neighbour that is better, until there is none."""
        better = True
        while better:
            better = False
            for new in self.moves.near(s):
                if self.run(new) and self.results[new] < self.results[s]:
                    s, better = new, True
                    break

    def some(self, among: Column, budget: dict[str, int]) -> None:
        """Simulate the first of the marked that could win and were not, as many of each dataflow as
        ``budget`` says: one of each tile and order, for where operands stay on chip matters less and
        is varied later."""
        space, at = self.space, 0
        left = np.array([budget.get(flow, 0) for flow in FLOWS])
        flows = space.field("dataflow")
        while at < len(space):
            part = slice(at, at + AHEAD)
            fair = among[part] & ~self.known[part] & (left[flows[part]] > 0)
            if self.results:
                fair &= ~self._hopeless(part)
            following = np.flatnonzero(fair)
            if not len(following):
                at += AHEAD
                continue
            at += int(following[0])
            schedule = space.schedule(at)
            kind = schedule.tile, schedule.dataflow, schedule.order, schedule.layout
            if schedule in self.results or kind not in self.kinds:
                if schedule not in self.results:
                    left[flows[at]] -= self.run(schedule)
                if schedule in self.results:  # else another of its kind may fit
                    self.kinds.add(kind)
                self.known[at] = True
            at += 1
            if not left.any():
                return

    def _hopeless(self, part: slice) -> Column:
        """Which of a part of the space cannot win, by their bounds."""
        cycles, bytes = self.space.cycles[part], self.space.bytes[part]
        first, second = self.least
        match self.objective:
            case "cycles":
                cycles = cycles * self.close
                return (cycles > first) | ((cycles == first) & (bytes >= second))
            case "bytes":
                return (bytes > first) | ((bytes == first) & (cycles >= second))
            case _:
                return np.zeros(len(cycles), bool)

    @property
    def least(self) -> tuple[float, float]:
        """The best result, ties apart."""
        return min(self.results.values())

    @property
    def best(self) -> Schedule:
        """The one to go on from."""
        return self.chosen(TIE["quick"])

    def chosen(self, tie: float) -> Schedule:
        """Of those within a tie of the best, the one with the smallest second figure, and of these the
        ones that leave tensors as they are; the first of equals."""
        limit = self.least[0] * (1 + tie)
        near = [(result, s) for s, result in self.results.items() if result[0] <= limit]
        return min(near, key=lambda one: (one[0][1], one[1].layout == "packed", one[0][0]))[1]
