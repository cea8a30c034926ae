"""A run on one screen, for a person."""

from __future__ import annotations

import os
import sys
from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kpu_ir.report.summary import Summary

NAMES = {
    "compute": "array",
    "dma": "external",
    "mover": "movers",
    "streamer": "streamers",
    "vector": "vector",
}
"""What binds, in a word."""

KERNELS_SHOWN = 24


def size(n: float) -> str:
    """Bytes for a person: ``1.5 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n < 1024 or unit == "GiB":
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.2f} {unit}"
        n /= 1024
    return ""


def console(stream: IO[str] | None = None) -> Console:
    """A console that is plain where the stream is no terminal or NO_COLOR is set."""
    out = stream or sys.stdout
    width = None if out.isatty() else 120
    return Console(file=out, no_color="NO_COLOR" in os.environ, highlight=False, width=width)


def show(summary: Summary, stream: IO[str] | None = None, every: bool = False) -> None:
    """Print a summary; ``every`` kernel, or the first ones."""
    out = console(stream)
    out.print(Text(f"{summary.source or 'program'} on {summary.machine}", style="bold"))
    out.print(
        f"  {summary.cycles:,} cycles = {1e6 * summary.seconds:,.2f} us; "
        f"{100 * summary.peak_fraction:.1f} % of peak, {100 * summary.roofline_fraction:.1f} % of the "
        f"roofline as counted, {100 * summary.ideal_fraction:.1f} % of the ideal"
    )
    out.print(
        f"  bound by {NAMES[summary.bound_by]}; {summary.macs:,} multiply-accumulates, "
        f"{summary.flops:,} operations"
    )
    if summary.max_rel_error is not None:
        out.print(
            f"  against the reference: largest difference {summary.max_abs_error:.3g}, "
            f"{summary.max_rel_error:.3g} of the largest value"
        )
    table = Table(box=None, padding=(0, 2), show_header=True, header_style="dim")
    for heading in ("", "read", "written"):
        table.add_column(heading, justify="right" if heading else "left")
    for level, both in summary.bytes.items():
        table.add_row(f"  {level}", size(both["read"]), size(both["write"]))
    out.print(table)
    external = sum(summary.bytes["external"].values())
    words = f"; I/O lower bound {size(4 * summary.io_bound_words)}" if summary.io_bound_words else ""
    out.print(f"  external: {size(external)}, at least {size(summary.compulsory_bytes)} once{words}")
    total = sum(summary.energy_pj.values())
    parts = ", ".join(
        f"{name} {100 * pj / total:.0f} %" for name, pj in summary.energy_pj.items() if pj > 0.005 * total
    )
    out.print(f"  energy {total / 1e6:,.2f} uJ: {parts}")
    out.print(Text("who waited for whom", style="bold"))
    for name, engine in summary.engines.items():
        busy = 100 * engine["busy"] / max(1, summary.cycles)
        if not engine["busy"]:
            continue
        waits = sorted(engine["stalls"].items(), key=lambda item: -item[1])[:3]
        text = "; ".join(f"{100 * n / summary.cycles:.1f} % {cause}" for cause, n in waits)
        idle = 100 * engine["idle"] / max(1, summary.cycles)
        out.print(f"  {name:8} busy {busy:5.1f} %, idle {idle:4.1f} %{'; waits ' if text else ''}{text}")
    if len(summary.kernels) > 1:
        kernels(summary, out, every)
    out.print(
        f"compiled in {summary.compile_seconds:.2f} s, simulated in {summary.simulate_seconds:.2f} s "
        f"({summary.operations:,} operations, {summary.stepped:,} of them one by one)",
        style="dim",
    )


def kernels(summary: Summary, out: Console, every: bool) -> None:
    """A row a kernel call."""
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for heading in ("kernel", "program", "from", "cycles", "share", "bound by", "of bound", "external", "uJ"):
        table.add_column(heading, justify="left" if heading in ("kernel", "program", "bound by") else "right")
    rows = summary.kernels if every else summary.kernels[:KERNELS_SHOWN]
    for row in rows:
        table.add_row(
            row.label, row.kernel, f"{row.start:,}", f"{row.cycles:,}",
            f"{100 * row.cycles / max(1, summary.cycles):.1f} %", NAMES[row.bound_by],
            f"{100 * row.roofline_fraction:.0f} %", size(row.external_bytes), f"{row.energy_pj / 1e6:.2f}",
        )
    out.print(table)
    if len(rows) < len(summary.kernels):
        out.print(f"  and {len(summary.kernels) - len(rows)} more (--profile shows all)", style="dim")
