"""Whether a search finds what chance finds: schedules drawn at random, or all that a space has, against
those that are chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from kpu_ir.bench.measure import Setting
from kpu_ir.bench.table import Column, Table, change, whole
from kpu_ir.bench.workloads import (
    Shape,
    chain,
    conv,
    grouped,
    in_words,
    kernels,
    matmul,
    outlined,
    same,
)
from kpu_ir.frontends.python.graph import Value
from kpu_ir.lowering.kernel_to_tile import TilingStrategy, recognise
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.space import Space
from kpu_ir.support.errors import KpuError
from kpu_ir.tuning.cache import Cache
from kpu_ir.tuning.moves import Moves
from kpu_ir.tuning.objective import Effort
from kpu_ir.tuning.score import time_schedule
from kpu_ir.tuning.search import Search
from kpu_ir.tuning.session import session

KERNELS: Mapping[str, Callable[[], ModuleOp]] = {
    "matmul 64": lambda: matmul(Shape(64, 64, 64)),
    "matmul 256": lambda: matmul(Shape(256, 256, 256)),
    "matmul 17x4096x33": lambda: matmul(Shape(17, 4096, 33)),
    "matmul 127x513x1025": lambda: matmul(Shape(127, 513, 1025)),
    "conv 16x32x28x28 5x5 / 2": lambda: conv(16, 32, 28, 5, 2),
    "conv 3x32x112x112 3x3 / 2": lambda: conv(3, 32, 112, 3, 2),
    "depthwise 96x56x56 3x3": lambda: conv(96, 96, 56, 3, 1, 96),
    "products back to back 48x64-160-64": lambda: grouped(
        chain((64, 160, 64), 48, same, Value.gelu)
    ),
}
"""What is audited: kernels that are small enough for chance to have one."""

DRAWS = 2500
"""How many schedules that fit are drawn for each."""

MOST = 12_000
"""A space of more candidates is not gone through."""


@dataclass(frozen=True)
class _Kernel:
    """A kernel, and the machine that it is timed on."""

    func: FuncOp
    strategy: TilingStrategy
    setting: Setting

    def searched(self, effort: Effort) -> tuple[int, Schedule]:
        """The cycles of the schedule that a search chooses, and the schedule."""
        search = Search(self.setting.machine, "cycles", effort, Cache())
        chosen = search.search(self.func, self.strategy)
        timing = time_schedule(self.func, self.strategy, chosen, self.setting.machine)
        return timing.cycles, chosen

    def timed(self, schedules: Iterable[Schedule]) -> Iterator[tuple[int, Schedule]]:
        """The cycles of those that fit."""
        for one in schedules:
            try:
                timing = time_schedule(self.func, self.strategy, one, self.setting.machine)
            except KpuError:
                continue
            yield timing.cycles, one

    def space(self) -> Space:
        """Its candidates."""
        return self.strategy.candidates(self.setting.machine)


def drawn(space: Space, draws: int, seed: int = 1) -> Iterator[Schedule]:
    """Any schedules of a kernel: twenty times ``draws``, since not all of them fit."""
    moves, random = Moves.of(space), Random(seed)
    return (moves.drawn(random) for _ in range(20 * draws))


def audit_table(
    names: Sequence[str], setting: Setting, draws: int = DRAWS, exhaustive: bool = False
) -> Table:
    """Cycles of what is chosen, quick and full, over the least of ``draws`` drawn schedules, or of
    all in the kernel's space. Raises ``KpuError`` for a kernel that is not one of ``KERNELS``."""
    unknown = [name for name in names if name not in KERNELS]
    if unknown:
        raise KpuError(f"there is no kernel '{unknown[0]}'", hint=", ".join(KERNELS))
    rows: list[dict[str, Any]] = []
    for name in names or KERNELS:
        setting.say(name)
        (func,) = kernels(outlined(KERNELS[name]())).values()
        kernel = _Kernel(func, recognise(func), setting)
        space = kernel.space()
        if exhaustive and len(space) > MOST:
            raise KpuError(f"{name} has {len(space):,} candidates: too many to try all")
        with session(disk=False):
            quick, full = kernel.searched("quick"), kernel.searched("full")
            tried = (c.schedule for c in space) if exhaustive else drawn(space, draws)
            found = list(islice(kernel.timed(tried), None if exhaustive else draws))
        best = min(found, key=lambda one: one[0])
        rows.append({
            "kernel": name, "tried": len(found), "best": best[0], "full_schedule": in_words(full[1]),
            "quick": quick[0], "quick_gap": quick[0] / best[0] - 1,
            "full": full[0], "full_gap": full[0] / best[0] - 1,
            "best_schedule": in_words(best[1]),
        })  # fmt: skip
    gaps = [max(0.0, *(row[f"{effort}_gap"] for row in rows)) for effort in ("quick", "full")]
    other = "every candidate" if exhaustive else "the best of chance"
    columns = [
        Column("kernel", "kernel"), Column("tried", "tried", whole), Column("best", other, whole),
        Column("quick", "quick", whole), Column("quick_gap", "", change),
        Column("full", "full", whole), Column("full_gap", "", change),
        Column("full_schedule", "found by full"),
    ]  # fmt: skip
    note = f"Worst gap: quick {change(gaps[0])}, full {change(gaps[1])}."
    return Table(f"Chosen schedules against {other}, cycles", columns, rows, (note,))
