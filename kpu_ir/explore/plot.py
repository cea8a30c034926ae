"""The front of a study as a picture for papers, SVG and PNG."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from kpu_ir.explore.study import Results
from kpu_ir.support.errors import KpuError
from kpu_ir.support.pictures import write_picture


def has_matplotlib() -> bool:
    """Whether pictures can be made here."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_front(results: Results, out: Path) -> list[Path]:
    """Write ``out`` as SVG and PNG: the first two objectives, every point that has them.

    Raises ``KpuError`` without matplotlib, or with one objective alone.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise KpuError("matplotlib is not installed", hint="pip install 'kpu-ir[plot]'") from None
    objectives = results.spec.objectives[:2]
    if len(objectives) < 2:
        raise KpuError("a front has two objectives")
    mpl.rcParams["svg.hashsalt"] = "kpu-ir"
    mpl.rcParams["svg.fonttype"] = "none"
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    axes = figure.add_subplot()

    def plotted(designs: list[tuple[float, float]], style: str, **more: object) -> None:
        if designs:
            axes.plot([x for x, _ in designs], [y for _, y in designs], style, **more)  # pyright: ignore[reportArgumentType]

    def at(values: list[float]) -> tuple[float, float]:
        return objectives[0].least(values[0]), objectives[1].least(values[1])

    kinds = {"rejected": ("x", "0.6"), "ok": ("o", "#1f6fb4")}
    for status, (mark, colour) in kinds.items():
        points = [at(d.values) for d in results.designs if d.values and d.status == status]
        plotted(points, mark, color=colour, markersize=4, alpha=0.6, label=status)
    front = sorted(at(d.values) for d in results.front)
    plotted(front, "o-", color="#d55e00", markersize=5, linewidth=1.2, label="front")
    if results.base.values:
        plotted([at(results.base.values)], "k*", markersize=10, label=results.spec.machine.name)
    axes.set(xlabel=objectives[0].text, ylabel=objectives[1].text, title=results.spec.name)
    every = [v for v in axes.dataLim.intervalx if v > 0]
    if len(every) == 2 and every[1] > 20 * every[0]:
        axes.set_xscale("log")
    axes.grid(True, which="major", color="0.9", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.legend(frameon=False)
    return write_picture(figure, out, dpi=150)
