"""Questions before a study: which knob of this machine matters, where do these networks stand on its
roofline, where does one machine lose to another."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kpu_ir.bench.plot import roofline_row
from kpu_ir.bench.table import Column, Table, change, share, whole
from kpu_ir.explore.drive import Driver
from kpu_ir.explore.evaluate import Point, Row, program, simulated
from kpu_ir.explore.space import Setting
from kpu_ir.explore.spec import machine_settings
from kpu_ir.explore.workload import Workload
from kpu_ir.machine import Machine
from kpu_ir.program.options import Options
from kpu_ir.report.words import NAMES, in_words
from kpu_ir.support.errors import KpuError

TABLES = ("energy.", "area.")
"""Keys that are prices and no parts."""


def turned(machine: Machine, factor: float) -> list[tuple[str, Setting, Machine | str]]:
    """Every part of a machine, down and up by a factor: the key, its new value, and the machine; or
    why there is none."""
    found: list[tuple[str, Setting, Machine | str]] = []
    for name, value in machine_settings(machine).items():
        if name.startswith(TABLES) or isinstance(value, str):
            continue
        values: list[Setting]
        if isinstance(value, bool):
            values = [not value]
        elif isinstance(value, int):
            values = [max(1, round(value / factor)), round(value * factor)]
        else:
            values = [value / factor, value * factor]
        for new in dict.fromkeys(v for v in values if v != value):
            try:
                found.append((name, new, machine.with_settings({name: new})))
            except KpuError as e:
                found.append((name, new, e.message))
    return found


def sensitivity(
    machine: Machine, workloads: Sequence[Workload], options: Options, factor: float, driver: Driver
) -> Table:
    """Each part of a machine turned down and up by a factor, those that matter most first."""
    if not 1 < factor <= 1024:
        raise KpuError(f"the factor {factor:g} is not above 1 and up to 1024")
    variants = turned(machine, factor)
    machines = [m for _, _, m in variants if isinstance(m, Machine)]
    points = [Point.of(m, w, options) for m in (machine, *machines) for w in workloads]
    rows: list[Row] = [{} for _ in points]
    for i, row in driver.rows(points):
        rows[i] = row
    width = len(workloads)
    bundles = [rows[i : i + width] for i in range(0, len(rows), width)]
    base = bundles[0]
    for row in base:
        if row["status"] != "ok":
            raise KpuError(f"{row['workload']}: {row['reason']}")
    results = iter(bundles[1:])
    sums = ("seconds", "energy_j")
    before = {name: sum(row[name] for row in base) for name in sums}
    settings = machine_settings(machine)
    found: list[dict[str, Any]] = []
    for name, new, variant in variants:
        bundle = next(results) if isinstance(variant, Machine) else []
        why = variant if isinstance(variant, str) else ""
        why = why or "; ".join(r["reason"] for r in bundle if r["status"] != "ok")
        line: dict[str, Any] = {"knob": name, "base": settings[name], "value": new, "reason": why}
        if not why:
            for figure in sums:
                line[figure] = sum(r[figure] for r in bundle) / before[figure] - 1
            line["area"] = bundle[0]["area_mm2"] / base[0]["area_mm2"] - 1
        found.append(line)
    weight: dict[str, float] = {}
    for line in found:
        by = abs(math.log1p(line["seconds"])) if "seconds" in line else 0.0
        weight[line["knob"]] = max(weight.get(line["knob"], 0.0), by)
    order = sorted(found, key=lambda line: -weight[line["knob"]])
    columns = [
        Column("knob", "knob"), Column("base", "is", _value), Column("value", "turned to", _value),
        Column("seconds", "time", change), Column("energy_j", "energy", change),
        Column("area", "area", change),
    ]  # fmt: skip
    if any(line["reason"] for line in found):
        columns.append(Column("reason", "why not"))
    names = ", ".join(workload.name for workload in workloads)
    return Table(f"What matters on {machine.name} for {names}", columns, order, _said(order))


def _said(order: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The first knob in a sentence, and those that do nothing."""
    moving = [line for line in order if abs(line.get("seconds", 0.0)) >= 0.005]
    idle = dict.fromkeys(line["knob"] for line in order if not line["reason"])
    for line in moving:
        idle.pop(line["knob"], None)
    notes: list[str] = []
    if moving:
        first = max(moving, key=lambda line: abs(math.log1p(line["seconds"])))
        notes.append(
            f"{first['knob']} matters most: {_value(first['value'])} instead of "
            f"{_value(first['base'])} changes the time by {change(first['seconds'])}."
        )
    if idle:
        notes.append(f"By less than half a percent: {', '.join(idle)}.")
    return tuple(notes)


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:,.10g}"


def roofline(
    machine: Machine, workloads: Iterable[Workload], options: Options, say: Callable[[str], None]
) -> Table:
    """Networks as points: operations a byte of external memory, and a second."""
    rows: list[dict[str, Any]] = []
    for workload in workloads:
        say(workload.name)
        summary = program(Point.of(machine, workload, options)).summary()
        rows.append(roofline_row(len(rows) + 1, workload.name, summary, machine))
    columns = [
        Column("number", "#", whole), Column("workload", "network"),
        Column("intensity", "operations/byte", lambda v: f"{v:.2f}"),
        Column("gflops", "Gop/s", lambda v: f"{v:,.1f}"),
        Column("roof_gflops", "roof", lambda v: f"{v:,.1f}"), Column("fraction", "of roof", share),
    ]  # fmt: skip
    return Table(f"Roofline of {machine.name}", columns, rows)


@dataclass(frozen=True)
class Side:
    """One machine's run: cycles by layer, what bounds each and what it waits for most."""

    machine: Machine
    cycles: int
    layers: dict[str, tuple[int, str, str]]

    @property
    def seconds(self) -> float:
        """Of the run."""
        return self.machine.seconds(self.cycles)


def side(machine: Machine, workload: Workload, options: Options) -> Side:
    """Run a workload on a machine. Raises ``KpuError`` where it does not compile."""
    found = simulated(Point.of(machine, workload, options))
    if "reason" in found:
        raise KpuError(f"on {machine.name}: {found['reason']}")
    layers: dict[str, tuple[int, str, str]] = {}
    for label, cycles, bound, worst in found["layers"]:
        before = layers.get(label, (0, bound, worst))
        layers[label] = (before[0] + cycles, *before[1:])
    return Side(machine, found["cycles"], layers)


def compare(a: Side, b: Side, name: str) -> Table:
    """Two machines layer by layer, the largest differences first; their cycles add up to the runs'.

    A layer that one of them has fused with another one has no cycles of its own there.
    """
    rows: list[dict[str, Any]] = []
    ends = {"a": a, "b": b}
    for label in dict.fromkeys([*a.layers, *b.layers]):
        row: dict[str, Any] = {"layer": label}
        for key, end in ends.items():
            cycles, bound, worst = end.layers.get(label, (None, "", ""))
            row |= {
                key: cycles,
                f"{key}_bound": NAMES.get(bound, ""),
                f"{key}_wait": in_words(worst),
            }
            row[f"{key}_s"] = end.machine.seconds(cycles or 0)
        row["difference"] = row["b_s"] - row["a_s"]
        rows.append(row)
    rows.sort(key=lambda row: -abs(row["difference"]))
    lost = b.seconds - a.seconds
    for row in rows:
        row["share"] = row["difference"] / lost if lost else None
    slow, fast = (b, a) if lost >= 0 else (a, b)
    key = "b" if lost >= 0 else "a"
    worst = [row for row in rows if row["difference"] * lost > 0][:3]
    where = "; ".join(
        f"{row['layer']} ({100 * row['share']:.0f} %, bound by {row[f'{key}_bound']}"
        + (f", waits for {row[f'{key}_wait']}" if row[f"{key}_wait"] else "") + ")"
        for row in worst
    )  # fmt: skip
    said = f"{name}: {slow.machine.name} takes {slow.seconds / fast.seconds:.3g} x the time of "
    said += f"{fast.machine.name} ({1e6 * slow.seconds:,.2f} and {1e6 * fast.seconds:,.2f} us). "
    said += f"Most of it is lost in {where}." if worst else "No layer tells them apart."
    columns = [
        Column("layer", "layer"), Column("a", f"{a.machine.name}, cycles", whole),
        Column("b", f"{b.machine.name}, cycles", whole),
        Column("difference", "difference, us", lambda v: f"{1e6 * v:+,.2f}"),
        Column("share", "of all", share), Column("a_bound", "bound by"),
        Column("b_bound", "there by"), Column("b_wait", "there it waits for"),
    ]  # fmt: skip
    return Table(f"{a.machine.name} and {b.machine.name}", columns, rows, (said,))
