"""The roofline as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

from kpu_ir.bench.measure import Setting
from kpu_ir.bench.table import Column, Table, share, whole
from kpu_ir.bench.workloads import WORKLOADS
from kpu_ir.machine import Machine
from kpu_ir.report.figures import Summary
from kpu_ir.support.errors import KpuError
from kpu_ir.support.pictures import write_picture


def roofline_table(setting: Setting) -> Table:
    """Every canonical workload: operations a byte of external memory, and a second."""
    machine = setting.machine
    rows: list[dict[str, Any]] = []
    for name, make in WORKLOADS.items():
        setting.say(name)
        summary = setting.compile(make()).summary()
        rows.append(roofline_row(len(rows) + 1, name, summary, machine))
    columns = [
        Column("number", "#", whole), Column("workload", "workload"),
        Column("intensity", "operations/byte", lambda v: f"{v:.2f}"),
        Column("gflops", "Gop/s", lambda v: f"{v:,.1f}"),
        Column("roof_gflops", "roof", lambda v: f"{v:,.1f}"), Column("fraction", "of roof", share),
    ]  # fmt: skip
    note = (
        "Operations: two a multiply-accumulate; lane operations of the vector engine where there is none. "
        "Bytes: as counted, to and from external memory. What computes nothing has no place in the picture."
    )
    return Table(f"Roofline of {machine.name}", columns, rows, (note,))


def roofline_row(number: int, name: str, summary: Summary, machine: Machine) -> dict[str, Any]:
    """A run as a point: operations a byte of external memory, and a second."""
    moved = sum(summary.bytes["external"].values())
    operations = 2 * summary.macs or summary.flops  # the roof is the array's
    intensity, speed = operations / max(1, moved), operations / summary.seconds
    roof = min(machine.peak_flops(), machine.bandwidth["dma"] * machine.clock_hz * intensity)
    return {
        "number": number, "workload": name, "operations": operations, "external_bytes": moved,
        "intensity": intensity, "gflops": speed / 1e9, "roof_gflops": roof / 1e9,
        "fraction": speed / roof if roof else None,
    }  # fmt: skip


def draw(
    rows: Sequence[dict[str, Any]], machine: Machine, out: Path, what: str = "Canonical workloads"
) -> list[Path]:
    """Write ``out`` as SVG and PNG; what is written. Raises ``KpuError`` without matplotlib."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise KpuError("matplotlib is not installed", hint="pip install 'kpu-ir[plot]'") from None
    mpl.rcParams["svg.hashsalt"] = "kpu-ir"
    mpl.rcParams["svg.fonttype"] = "none"
    points = [row for row in rows if row["operations"]]
    peak = machine.peak_flops() / 1e9
    rate = machine.bandwidth["dma"] * machine.clock_hz / 1e9
    low = min([p["intensity"] for p in points] + [peak / rate / 4]) / 2
    high = max([p["intensity"] for p in points] + [peak / rate * 4]) * 2
    figure = Figure(figsize=(9.5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.set(
        xscale="log", yscale="log", xlim=(low, high), ylim=(rate * low / 2, peak * 2),
        xlabel="operations per byte of external memory", ylabel="Gop/s",
        title=f"{what} on {machine.name}",
    )  # fmt: skip
    ridge = peak / rate
    axes.plot([low, ridge, high], [rate * low, peak, peak], color="0.25", linewidth=1.5)
    axes.text(high / 1.1, peak * 1.08, f"{peak:,.0f} Gop/s", ha="right", va="bottom", color="0.25")
    axes.text(low * 1.1, rate * low * 2.2, f"{rate:g} GB/s", ha="left", va="bottom", color="0.25")
    axes.grid(True, which="major", color="0.9", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for point in points:
        axes.plot(point["intensity"], point["gflops"], "o", markersize=6, color="#1f6fb4", zorder=3)
    crowds = 0
    for group in _groups(points, high / low):
        middle = prod(p["intensity"] for p in group) ** (1 / len(group))
        crowds += len(group) > 1
        above = len(group) > 1 and crowds % 2 == 0  # so that neighbours do not run into each other
        at = (middle, max(p["gflops"] for p in group) if above else min(p["gflops"] for p in group))
        axes.annotate(
            ", ".join(str(p["number"]) for p in group), at, (0, 12 if above else -14),
            textcoords="offset points", fontsize=9, ha="center", va="center",
        )  # fmt: skip
    key = "\n".join(f"{p['number']:>2}  {p['workload']}" for p in points)
    figure.text(1.0, 0.5, key, fontsize=9, ha="left", va="center", linespacing=1.5)
    return write_picture(figure, out, dpi=150, bbox_inches="tight")


def _groups(points: Sequence[dict[str, Any]], span: float) -> list[list[dict[str, Any]]]:
    """Points in order of intensity; those whose labels would run into each other are together."""
    groups: list[list[dict[str, Any]]] = []
    for point in sorted(points, key=lambda p: (p["intensity"], p["gflops"])):
        last = groups[-1][-1] if groups else None
        if last is not None and (
            point["intensity"] / last["intensity"] < span ** (1 / 40)
            and 0.7 < point["gflops"] / last["gflops"] < 1.43
        ):
            groups[-1].append(point)
        else:
            groups.append([point])
    return groups
