"""A run on one screen, for a person."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from io import StringIO
from typing import IO, TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from kpu_ir.report.figures import Summary, error_in_words
from kpu_ir.report.words import NAMES, in_words, percent, plural, size, words

if TYPE_CHECKING:
    from kpu_ir.report.profile import Profile

KERNELS_SHOWN = 24


def coverage(summary: Summary) -> str:
    """How much of the model was simulated, and where the rest went."""
    nodes, folded, host = summary.model_nodes, summary.folded_nodes, summary.host_nodes
    if nodes is None:
        return "coverage: not known, the source is no ONNX model whose work could be counted"
    part = "coverage: the model has no multiply-accumulates"
    if summary.coverage is not None:
        part = f"coverage {percent(summary.coverage, 1)} of the model's multiply-accumulates"
    parts = [f"{plural(nodes, 'operator')}, {folded} of them folded"]
    if host is not None:
        # Where one ran on the host, what is not simulated is its work.
        missing = max(0.0, 1 - summary.coverage) if host and summary.coverage is not None else 0.0
        parts.append(f"{plural(host, 'operator')} on the host, {percent(missing, 1)} of the work")
    return "; ".join([part, *parts])


def shares(parts: Mapping[str, float]) -> str:
    """Each part's share, of those that are worth a word: ``l3 40 %, mac 60 %``."""
    whole = sum(parts.values())
    found = ((name, part) for name, part in parts.items() if part > 0.005 * whole)
    return ", ".join(f"{name} {100 * part / whole:.0f} %" for name, part in found)


def console(stream: IO[str] | None = None) -> Console:
    """A console that is plain where the stream is no terminal or NO_COLOR is set."""
    out = stream or sys.stdout
    width = None if out.isatty() else 120
    return Console(
        file=out, no_color="NO_COLOR" in os.environ, highlight=False, markup=False, width=width
    )


def show(summary: Summary, stream: IO[str] | None = None, profile: Profile | None = None) -> None:
    """Print a summary with a profile, or with its first kernels."""
    out = console(stream)
    render(summary, out, profile, wrap=out.is_terminal)


def text(summary: Summary, width: int = 120) -> str:
    """The screen as plain text."""
    out = Console(file=StringIO(), width=width, highlight=False, markup=False)
    with out.capture() as captured:
        render(summary, out, wrap=True)
    return captured.get()


def html(summary: Summary) -> str:
    """The screen for a notebook: what ``_repr_html_`` shows."""
    out = Console(file=StringIO(), width=120, highlight=False, markup=False, record=True)
    render(summary, out)
    return out.export_html(inline_styles=True, code_format="<pre>{code}</pre>")


def render(
    summary: Summary, out: Console, profile: Profile | None = None, wrap: bool = False
) -> None:
    """Print a summary on a console; long lines broken at its width, if ``wrap``."""

    def line(text: str, style: str = "") -> None:
        out.print(words(text, style), soft_wrap=not wrap)

    line(f"{summary.source or 'program'} on {summary.machine}", "bold")
    line(
        f"  {summary.cycles:,} cycles = {1e6 * summary.seconds:,.2f} us at "
        f"{summary.clock_hz / 1e9:g} GHz: utilization {percent(summary.peak_fraction, 1)}, "
        f"{percent(summary.roofline_fraction, 1)} of the roofline (counted bytes), "
        f"{percent(summary.compulsory_fraction, 1)} of the compulsory-traffic bound"
    )
    line(
        f"  bound by {NAMES[summary.bound_by]}; {summary.macs:,} multiply-accumulates, "
        f"{summary.flops:,} operations"
    )
    if summary.vector_types:
        kinds = " and ".join(summary.vector_types)
        line(f"  products of {kinds} are on the vector engine: the array does not multiply {kinds}")
    line(f"  {coverage(summary)}")
    if summary.error is not None:
        name = "the reference" if summary.short_type is None else "a reference in float64"
        first, *more = error_in_words(summary.error)
        line(f"  against {name}: {first}")
        for text in more:
            line(f"  {text}")
    table = Table(box=None, padding=(0, 2), show_header=True, header_style="dim")
    for heading in ("", "read", "written"):
        table.add_column(heading, justify="right" if heading else "left")
    for level, both in summary.bytes.items():
        table.add_row(level, size(both["read"]), size(both["write"]))
    out.print(table)
    external = sum(summary.bytes["external"].values())
    least = (
        f"; its products one by one cannot do with less than {size(summary.io_bound_bytes)}"
        if summary.io_bound_bytes is not None
        else ""
    )
    line(
        f"  external traffic {size(external)}; inputs, weights and results once: "
        f"{size(summary.compulsory_bytes)}{least}"
    )
    line(
        f"  external memory {size(summary.external_peak_bytes)} at most, "
        f"for tensors of {size(summary.tensor_bytes)}"
    )
    total = sum(summary.energy_pj.values())
    line(f"  energy {total / 1e6:,.2f} uJ: {shares(summary.energy_pj)}")
    watts = summary.power_w
    line(
        f"  area {sum(summary.area_mm2.values()):.2f} mm2: {shares(summary.area_mm2)}; "
        f"power {sum(watts.values()):.2f} W, {watts['leakage']:.2f} W of it leakage"
    )
    line("who waited for whom", "bold")
    for name, engine in summary.engines.items():
        if not engine["busy"]:
            continue
        waits = sorted(engine["stalls"].items(), key=lambda item: -item[1])[:3]
        waited = ", ".join(
            f"{percent(n, summary.cycles)} for {in_words(cause)}" for cause, n in waits
        )
        idle = engine["idle_before"] + engine["idle_after"]
        line(
            f"  {name:8} busy {percent(engine['busy'], summary.cycles):>7}, "
            f"idle {percent(idle, summary.cycles):>6}{'; waited ' if waited else ''}{waited}"
        )
    if summary.costs:
        line("what hardware costs, each alone (cycles that the program saves without it)", "bold")
        costs = (f"{name} {percent(n, summary.cycles)}" for name, n in summary.costs.items() if n)
        line(f"  {', '.join(costs)}")
    if profile is not None:
        line("where the cycles went", "bold")
        if wrap:
            out.print(profile)
        else:
            line(str(profile).rstrip("\n"))
    elif len(summary.kernels) > 1:
        kernels(summary, out)
    line(
        f"ready in {summary.compile_seconds:.2f} s, "
        f"simulated in {summary.simulate_seconds:.2f} s "
        f"({summary.operations:,} operations, {summary.stepped:,} of them one by one)",
        "dim",
    )


def kernels(summary: Summary, out: Console) -> None:
    """A row for each of the first kernel calls."""
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for heading in (
        "layer",
        "kernel",
        "cycles",
        "share",
        "from",
        "to",
        "bound by",
        "of bound",
        "external",
        "uJ",
    ):
        table.add_column(
            heading, justify="left" if heading in ("layer", "kernel", "bound by") else "right"
        )
    rows = summary.kernels[:KERNELS_SHOWN]
    for row in rows:
        table.add_row(
            words(row.label),
            words(row.kernel),
            f"{row.cycles:,}",
            percent(row.cycles, summary.cycles),
            f"{row.start:,}",
            f"{row.end:,}",
            NAMES[row.bound_by],
            f"{100 * row.roofline_fraction:.0f} %",
            size(row.external_bytes),
            f"{row.energy_pj / 1e6:.2f}",
        )
    out.print(table)
    if len(rows) < len(summary.kernels):
        out.print(
            f"  and {len(summary.kernels) - len(rows)} more (kpu-run --profile shows all)",
            style="dim",
        )
