"""One point: a machine and a workload in, one row of figures out.

A point is plain data and holds everything that decides its row. Its key is a hash of it. What time
depends on is hashed by itself: points that differ in clock, energy or area only are simulated once.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from kpu_ir.explore.store import Store
from kpu_ir.explore.workload import Workload
from kpu_ir.machine import Machine
from kpu_ir.machine.area import area
from kpu_ir.pipeline import compile
from kpu_ir.program.compiled import Compiled
from kpu_ir.program.keys import compiler_digest
from kpu_ir.program.options import Options
from kpu_ir.report.summary import LEVELS, bounds, moved, power
from kpu_ir.sim.time.energy import energy
from kpu_ir.support.errors import KpuError
from kpu_ir.support.package import __version__

Row = dict[str, Any]

MEASURED = ("compile_seconds", "cached")
"""Columns that say how a row was made; the others are the same every time."""

UNSEEN = ("name", "area", "clock_hz")
"""What of a machine no schedule and no cycle depends on; nor does energy, unless schedules are chosen by it."""


@dataclass(frozen=True)
class Point:
    """``machine``: all of its values, as ``Machine.to_dict``. ``workload``: as ``Workload.data``,
    with the digest of what it reads. ``options``: of compiling. ``compiler``: which sources."""

    machine: dict[str, Any]
    workload: dict[str, Any]
    options: dict[str, Any]
    compiler: str

    @staticmethod
    def of(machine: Machine, workload: Workload, options: Options) -> Point:
        """The point of a machine and a workload."""
        chosen = {name: getattr(options, name) for name in ("fuse", "search", "objective")}
        data = {**workload.data, "digest": _digest(workload)}
        return Point(machine.to_dict(), data, chosen, compiler())

    @staticmethod
    def of_data(data: Mapping[str, Any]) -> Point:
        """What ``asdict`` gave. Raises ``KpuError`` for anything else."""
        try:
            return Point(data["machine"], data["workload"], data["options"], data["compiler"])
        except (KeyError, TypeError):
            raise KpuError("this is not the configuration of a point") from None

    @property
    def key(self) -> str:
        """What its result is kept under."""
        weightless = {k: v for k, v in self.workload.items() if k != "weight"}
        return _hash({**asdict(self), "workload": weightless})

    @property
    def seen(self) -> str:
        """What its time is kept under."""
        hidden = (
            *UNSEEN,
            *(("energy",) if self.options["objective"] in ("cycles", "bytes") else ()),
        )
        machine = {k: v for k, v in self.machine.items() if k not in hidden}
        return _hash([machine, self.workload["digest"], self.options, self.compiler])


def compiler() -> str:
    """Which sources compile. Raises ``KpuError`` where they changed since this process began."""
    found = compiler_digest()
    if found is None:
        raise KpuError("the sources of kpu-ir were changed meanwhile", hint="start again")
    return found


@lru_cache(maxsize=64)
def _cached_digest(data: str) -> str:
    return Workload.of_data(json.loads(data)).digest()


def _digest(workload: Workload) -> str:
    return _cached_digest(json.dumps(workload.data))


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def evaluate(point: Point | Mapping[str, Any], store: Store | None = None) -> Row:
    """The row of a point: what the table has of it.

    What cannot be compiled is a row with the reason. ``store``: where rows and times are found and
    kept; without one nothing is.
    """
    if not isinstance(point, Point):
        point = Point.of_data(point)
    if store is None:
        return _row(point, simulated(point), 0.0, "none")
    known = store.row(point.key)
    if known is not None:
        return known
    began = time.perf_counter()
    timed = store.timing(point.seen)
    cached = "timing" if timed is not None else "none"
    if timed is None:
        timed = simulated(point)
        store.keep_timing(point.seen, timed)
    row = _row(point, timed, time.perf_counter() - began, cached)
    store.keep_row(point.key, asdict(point), row)
    return row


def program(point: Point) -> Compiled:
    """The point's workload, compiled for its machine. Raises ``KpuError`` where that cannot be."""
    machine = Machine.from_dict(point.machine)
    return compile(Workload.of_data(point.workload).module(), machine, **point.options)


def simulated(point: Point) -> dict[str, Any]:
    """What does not depend on clock, energy and area; ``reason`` alone, where it does not compile."""
    try:
        compiled = program(point)
        timing = compiled.timing
    except KpuError as e:
        return {"reason": e.message if e.where is None else f"{e.where}: {e.message}"}
    latest, layers = 0, list[list[Any]]()
    for call in timing.calls:
        limits = {**bounds(call.counts, compiled.machine), "vector": call.busy.get("vector", 0)}
        stalls: dict[str, int] = {}
        for causes in call.stalls.values():
            for cause, cycles in causes.items():
                stalls[cause] = stalls.get(cause, 0) + cycles
        worst = max(stalls, key=lambda cause: stalls[cause], default="")
        bound = max(limits, key=lambda name: limits[name])
        layers.append([call.label, max(0, call.end - latest), bound, worst])
        latest = max(latest, call.end)
    return {
        "cycles": timing.cycles,
        "counts": timing.counts,
        "engines": timing.engines,
        "layers": layers,
        "external_peak_bytes": compiled.program.external_bytes,
    }


def _row(point: Point, timed: Mapping[str, Any], seconds: float, cached: str) -> Row:
    machine = Machine.from_dict(point.machine)
    parts = area(machine).parts
    row: Row = {
        "workload": point.workload["name"],
        "status": "infeasible" if "reason" in timed else "ok",
        "reason": timed.get("reason", ""),
    }
    if "reason" not in timed:
        row.update(figures(machine, timed))
    row["area_mm2"] = sum(parts.values())
    row.update({f"area.{name}": part for name, part in parts.items()})
    row |= {
        "cached": cached,
        "compile_seconds": seconds,
        "version": __version__,
        "compiler": point.compiler[:12],
        "key": point.key,
    }
    return row


def figures(machine: Machine, timed: Mapping[str, Any]) -> Row:
    """Cycles and what follows from them and the machine: seconds, joules, watts, shares of 1, bytes."""
    counts, cycles = timed["counts"], max(1, timed["cycles"])
    spent = energy(counts, machine, cycles)
    seconds = machine.seconds(cycles)
    limits = bounds(counts, machine)
    vector = timed["engines"].get("vector", {}).get("busy", 0)
    limits_all = {**limits, "vector": vector}
    watts = power(spent.total, seconds, machine)
    joules = spent.total * 1e-12 + watts["leakage"] * seconds
    return {
        "cycles": cycles,
        "seconds": seconds,
        "energy_j": joules,
        "edp": joules * seconds,
        "power_w": sum(watts.values()),
        "utilization": limits["compute"] / cycles,
        "roofline": max(limits.values()) / cycles,
        "external_bytes": moved(counts)["dma"],
        "external_peak_bytes": timed["external_peak_bytes"],
        "bound_by": max(limits_all, key=lambda name: limits_all[name]),
        **{f"energy_j.{name}": pj * 1e-12 for name, pj in spent.parts.items()},
        "energy_j.leakage": watts["leakage"] * seconds,
        **{
            f"bytes.{level}": counts.get(f"{level}.read", 0) + counts.get(f"{level}.write", 0)
            for level in LEVELS
        },
    }
