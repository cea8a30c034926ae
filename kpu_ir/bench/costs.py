"""What the costs of hardware add to the canonical workloads (docs/timing.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kpu_ir.bench.baseline import PATHS, Say, read
from kpu_ir.bench.table import Column, Table, change, share, times, whole
from kpu_ir.bench.workloads import WORKLOADS, outlined, replay, search_afresh
from kpu_ir.machine import Machine
from kpu_ir.machine.costs import COSTS
from kpu_ir.report.costs import costs_of
from kpu_ir.sim.time.model import time_program
from kpu_ir.support.errors import KpuError

SHOWN = 4
"""Costs named in a row."""

COLUMNS = (
    Column("workload", "workload"),
    Column("spared", "spared all", whole),
    Column("recorded", "with them", whole),
    Column("recorded_ratio", "", times),
    Column("searched", "searched afresh", whole),
    Column("searched_ratio", "", times),
    Column("burst_overhead", "moved beyond payload", change),
    Column("largest", "the largest costs, each alone"),
)


def costs_row(name: str, machine: Machine) -> dict[str, Any]:
    """A workload on a machine that is spared all costs, with its recorded schedules; with the costs; and
    with schedules that are looked for with them."""
    module, schedules = outlined(WORKLOADS[name]()), read(PATHS["ideal"])[name].schedules
    spared = machine.without(COSTS)
    ideal = time_program(replay(module, spared, schedules)).cycles
    recorded = time_program(replay(module, machine, schedules)).cycles
    program = replay(module, machine, search_afresh(module, machine))
    timing = time_program(program)
    counts, costs = timing.counts, costs_of(program, timing.cycles)
    costs.pop("together", None)
    named = [f"{c} {share(n / timing.cycles)}" for c, n in costs.items() if n > 0][:SHOWN]
    return {
        "workload": name,
        "spared": ideal,
        "recorded": recorded,
        "recorded_ratio": recorded / ideal,
        "searched": timing.cycles,
        "searched_ratio": timing.cycles / ideal,
        "burst_overhead": counts["external.burst"] / timing.external_bytes - 1,
        "largest": ", ".join(named),
        "costs": costs,
    }


def costs_table(names: Sequence[str], machine: Machine, say: Say) -> Table:
    """The workloads, all of them if none is named."""
    for name in names:
        if name not in WORKLOADS:
            raise KpuError(
                f"there is no workload '{name}'", hint=f"they are {', '.join(WORKLOADS)}"
            )
    rows: list[dict[str, Any]] = []
    for name in names or WORKLOADS:
        say(name)
        rows.append(costs_row(name, machine))
    return Table(
        f"What hardware costs on the {machine.name} machine, in cycles",
        COLUMNS,
        rows,
        ("Recorded schedules were chosen on preset `ideal`, spared everything.",),
    )
