"""Baselines: cycles, bytes and energy of the canonical workloads, and of each family in each short
type, in a text file under version control.

The file also has the schedules that the figures belong to. Checking replays them and searches for nothing, so that
it is quick and any difference is one of lowering or simulation.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from xdsl.dialects.builtin import ModuleOp

from kpu_ir.bench.table import Column, Table, change, microjoules, whole
from kpu_ir.bench.typed_workloads import TYPED
from kpu_ir.bench.workloads import DATA, WORKLOADS, outlined, replay, search_afresh
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.machine import Machine
from kpu_ir.report.origin import Origin
from kpu_ir.sim.time.energy import energy
from kpu_ir.sim.time.model import time_program
from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import write_atomically

PATHS = {"default": DATA / "baselines.toml", "ideal": DATA / "baselines_ideal.toml"}
"""A file a machine. Those of ``ideal`` are of before hardware's costs were charged: no schedule of them changes."""

ALLOWED = 0.05
"""An increase over this share needs ``--allow-regression``."""

HEAD = """\
# Workloads on the {machine} machine, with the schedules that the figures belong to.
# Written by: {update}. test/test_baselines.py replays the schedules and fails if a figure changes.
# {origin}
"""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Baseline:
    """The figures of a workload, and its schedules by kernel."""

    cycles: int
    external_bytes: int
    energy_pj: float
    schedules: dict[str, Schedule] = field(default_factory=dict[str, Schedule])

    @property
    def figures(self) -> dict[str, float]:
        """Without the schedules."""
        return {name: getattr(self, name) for name in FIGURES}


FIGURES = ("cycles", "external_bytes", "energy_pj")


def workloads_of(machine: Machine) -> Mapping[str, Callable[[], ModuleOp]]:
    """What is recorded of a machine: the canonical workloads, and of ``default`` those of short types."""
    return {**WORKLOADS, **TYPED} if machine.name == "default" else WORKLOADS


def update(machine: Machine) -> str:
    """The command that writes the file of a machine anew."""
    option = "" if machine.name == "default" else f"--machine {machine.name} "
    return f"kpu-bench baseline {option}--update"


def measured(module: ModuleOp, machine: Machine, schedules: Mapping[str, Schedule]) -> Baseline:
    """The figures of an outlined module with these schedules."""
    timing = time_program(replay(module, machine, schedules))
    picojoules = round(energy(timing.counts, machine, timing.cycles).total, 1)
    return Baseline(timing.cycles, timing.external_bytes, picojoules, dict(schedules))


def check(name: str, recorded: Baseline, machine: Machine) -> Baseline:
    """The figures of a workload now, with the schedules that are recorded for it."""
    known = workloads_of(machine)
    if name not in known:
        raise KpuError(f"there is no workload '{name}'", hint=update(machine))
    try:
        module = outlined(known[name]())
        return measured(module, machine, recorded.schedules)
    except KpuError as e:
        raise KpuError(f"{name}: {e.message}", e.where, update(machine)) from None


def searched(
    machine: Machine, names: Iterable[str] = (), say: Say = lambda stage: None
) -> dict[str, Baseline]:
    """The figures of these workloads, or of all, with schedules that are looked for afresh."""
    found: dict[str, Baseline] = {}
    known = workloads_of(machine)
    for name in names or known:
        say(name)
        module = outlined(known[name]())
        found[name] = measured(module, machine, search_afresh(module, machine))
    return found


# -- the file -------------------------------------------------------------------------------------


def read(path: Path = PATHS["default"]) -> dict[str, Baseline]:
    """The recorded baselines; none if there is no file. ``KpuError`` for a file that has others."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: _baseline(entry) for name, entry in data.items()}
    except FileNotFoundError:
        return {}
    except OSError as e:
        raise KpuError(f"cannot be read: {e.strerror or e}", str(path)) from None
    except (ValueError, KeyError, TypeError, AttributeError, KpuError) as e:
        raise KpuError(f"not a file of baselines: {e}", str(path), "restore it from git") from None


def _baseline(entry: Mapping[str, Any]) -> Baseline:
    schedules: dict[str, Schedule] = {}
    for kernel, values in entry["schedules"].items():
        schedules[kernel] = replace(Schedule(), **{**values, "tile": tuple(values["tile"])})
        schedules[kernel].check(f"@{kernel}")
    return Baseline(entry["cycles"], entry["external_bytes"], entry["energy_pj"], schedules)


def text(baselines: Mapping[str, Baseline], machine: Machine) -> str:
    """The file."""
    origin = Origin.of(machine, "").line()
    parts = [HEAD.format(machine=machine.name, update=update(machine), origin=origin)]
    for name, b in baselines.items():
        key = json.dumps(name)
        parts.append(f"\n[{key}]\n" + "".join(f"{f} = {getattr(b, f)}\n" for f in FIGURES))
        lines = [f"{kernel} = {_inline(s)}\n" for kernel, s in b.schedules.items()]
        parts.append(f"[{key}.schedules]\n" + "".join(lines))
    return "".join(parts)


def _inline(schedule: Schedule) -> str:
    """A schedule as TOML; defaults are left out, but for the tile."""
    plain = {f.name: f.default for f in fields(Schedule)}
    kept = {k: v for k, v in asdict(schedule).items() if k == "tile" or v != plain[k]}
    return "{ " + ", ".join(f"{k} = {json.dumps(v)}" for k, v in kept.items()) + " }"


def write(baselines: Mapping[str, Baseline], machine: Machine, path: Path) -> None:
    """Write the file whole, or not at all."""
    write_atomically(path, text(baselines, machine))


# -- comparing ------------------------------------------------------------------------------------


def compare(old: Mapping[str, Baseline], new: Mapping[str, Baseline]) -> list[dict[str, Any]]:
    """A row a workload: the figures before and now, and how far each grew."""
    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys((*old, *new)):
        before, now = old.get(name), new.get(name)
        row: dict[str, Any] = {"workload": name}
        for figure in FIGURES:
            a, b = (None if x is None else getattr(x, figure) for x in (before, now))
            row |= {f"old_{figure}": a, figure: b}
            if a is not None and b is not None:
                row[f"{figure}_change"] = (b - a) / a if a else float(b != a)
        if before is None or now is None:
            row["state"] = "new" if before is None else "gone"
        elif before.figures != now.figures:
            row["state"] = "changed"
        else:
            row["state"] = "same" if before.schedules == now.schedules else "other schedule"
        rows.append(row)
    return rows


def regressions(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """What grew by more than is allowed, in words."""
    return [
        f"{row['workload']}: {figure.replace('_', ' ')} {change(row[f'{figure}_change'])}"
        for row in rows
        for figure in FIGURES
        if row.get(f"{figure}_change", 0) > ALLOWED
    ]


def table(rows: list[dict[str, Any]], title: str) -> Table:
    """Old figures beside new ones."""
    headings = (
        ("cycles", "cycles", whole), ("external_bytes", "bytes", whole), ("energy_pj", "uJ", microjoules),
    )  # fmt: skip
    columns = [Column("workload", "workload")]
    for key, heading, form in headings:
        columns += [
            Column(f"old_{key}", heading, form), Column(key, "now", form),
            Column(f"{key}_change", "", lambda v: change(v) if v else "="),
        ]  # fmt: skip
    return Table(title, [*columns, Column("state", "state")], rows)


def recorded_table(baselines: Mapping[str, Baseline]) -> Table:
    """What is recorded."""
    rows = [{"workload": name, **b.figures} for name, b in baselines.items()]
    columns = [
        Column("workload", "workload"), Column("cycles", "cycles", whole),
        Column("external_bytes", "external bytes", whole), Column("energy_pj", "energy, uJ", microjoules),
    ]  # fmt: skip
    return Table("Baselines (kpu_ir/bench/data/baselines.toml), default machine", columns, rows)
