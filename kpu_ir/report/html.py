"""``kpu-run --report out.html``: a run on one page that needs no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any, Protocol

from kpu_ir.machine.settings import flat
from kpu_ir.report.analysis import (
    BUSY,
    LAST,
    Analysis,
    Segment,
    allocated,
    analyse,
    overlap,
    reuse,
    thinned,
)
from kpu_ir.report.charts import occupancy_chart, roofline_chart
from kpu_ir.report.figures import Summary
from kpu_ir.report.origin import Origin
from kpu_ir.report.page import page
from kpu_ir.report.power import power_trace
from kpu_ir.report.replacement import NOTABLE, reuse_of
from kpu_ir.report.roofline import LEVELS, operations, roofline, speed_text
from kpu_ir.report.run import Run
from kpu_ir.report.summary import product_bytes
from kpu_ir.report.timeline import BUCKETS, averaged, filled, timeline_chart
from kpu_ir.report.words import NAMES, in_words, percent, size
from kpu_ir.sim.time.clock import Timing
from kpu_ir.support.files import write_atomically
from kpu_ir.support.names import shown

STEPPED_AT_MOST = 400_000
"""Runs of more operations are not stepped for their critical path and occupancy."""

PATH_ROWS = 15

KINDS = {
    "busy": "busy",
    "dma-data": "waits for data from the DMA",
    "mover-data": "waits for data from the movers",
    "fabric-data": "waits for data from the array",
    "vector-data": "waits for data from the vector engine",
    "slot": "waits for a free slot",
    "engine": "waits for an engine",
    "turn": "turns from reading to writing, or back",
    "tensor": "waits for an earlier kernel's tensor",
    "idle": "idle before its first, after its last operation",
}
"""Parts of an engine's bar, by CSS class."""


def kind_of(cause: str) -> str:
    """The part of a bar that a cause belongs to."""
    kind, _, rest = cause.partition(" ")
    if kind == "operand":
        producer = rest.rpartition(" ")[2]
        return f"{producer}-data" if f"{producer}-data" in KINDS else "tensor"
    return kind if kind in KINDS else "tensor"


def scaled(micro: float, unit: str) -> str:
    """Millionths of a unit for a person.

    >>> scaled(14.93, "s"), scaled(137819.78, "s"), scaled(0.0123, "J")
    ('14.93 µs', '137.82 ms', '12.30 nJ')
    """
    for factor, prefix in ((1e6, ""), (1e3, "m"), (1, "µ")):
        if micro >= factor:
            return f"{micro / factor:,.2f} {prefix}{unit}"
    return f"{micro * 1e3:,.2f} n{unit}"


def largest(parts: Mapping[str, float]) -> str:
    """The two largest parts with their shares."""
    whole = sum(parts.values()) or 1.0
    found = sorted(parts.items(), key=lambda item: -item[1])[:2]
    return ", ".join(f"{name} {100 * part / whole:.0f} %" for name, part in found)


def tiles(s: Summary) -> str:
    """The figures that one looks for first."""
    found = [
        (f"{s.cycles:,}", "cycles"),
        (scaled(s.seconds * 1e6, "s"), f"at {s.clock_hz / 1e9:g} GHz"),
        (f"{100 * s.peak_fraction:.1f} %", "utilization of the array"),
        (f"{100 * s.roofline_fraction:.1f} %", f"of the roofline; bound by {NAMES[s.bound_by]}"),
        (size(sum(s.bytes["external"].values())), "external traffic"),
        (scaled(sum(s.energy_pj.values()) / 1e6, "J"), "energy"),
        (
            f"{sum(s.power_w.values()):.3g} W",
            f"power on average, {s.power_w['leakage']:.2g} W leak",
        ),
        (f"{sum(s.area_mm2.values()):.2f} mm²", f"area, of which {largest(s.area_mm2)}"),
    ]
    return '<div class="tiles">' + "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(what)}</span></div>'
        for value, what in found
    ) + "</div>"  # fmt: skip


def key(entries: Mapping[str, str], style: str) -> str:
    """A legend; ``style`` makes a CSS style of each key."""
    items = "".join(
        f'<span><i style="{style.format(name)}"></i>{escape(text)}</span>'
        for name, text in entries.items()
    )
    return f'<div class="key">{items}</div>'


def table(
    heads: Iterable[tuple[str, bool]], rows: Iterable[Iterable[tuple[str, Any]]], kind: str = ""
) -> str:
    """A table; heads are names and whether the column is text, cells a text and what it sorts by."""
    heads = list(heads)
    sorts = "sorts" in kind
    top = "".join(
        f'<th class="{"t" if text else ""}" scope="col">'
        + (f'<button type="button">{escape(name)}</button>' if sorts else escape(name))
        + "</th>"
        for name, text in heads
    )
    body = "".join(
        "<tr>" + "".join(
            f'<td class="{"t" if text else ""}"' + (f' data-v="{escape(str(v))}"' if sorts else "")
            + f">{escape(cell)}</td>"
            for (cell, v), (_, text) in zip(row, heads)
        ) + "</tr>"
        for row in rows
    )  # fmt: skip
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def costs(s: Summary) -> str:
    """What each cost of hardware adds, the largest first."""
    if not s.costs:
        return ""
    rows = [
        [(name, name), (f"{cycles:,}", cycles), (percent(cycles, s.cycles), cycles)]
        for name, cycles in s.costs.items()
    ]
    return (
        "<h2>What hardware costs</h2>"
        + table([("cost", True), ("cycles", False), ("of the run", False)], rows)
        + '<p class="soft">Cycles that the program saves where the machine is spared one cost, and all '
        "together; the schedules stay.</p>"
    )


def kernels(s: Summary, timing: Timing) -> str:
    """The kernels' table, one row a call, whose cycles add up; it sorts on a click."""
    heads = [
        ("#", False), ("layer", True), ("cycles", False), ("share", False), ("from", False),
        ("to", False), ("MACs", False), ("of bound", False), ("bound by", True), ("external", False), ("energy", False),
        ("speed", False),
    ]  # fmt: skip

    def row(n: int) -> list[tuple[str, Any]]:
        k, call = s.kernels[n], timing.calls[n]
        speed = operations(call) / (k.span / s.clock_hz) if k.span else 0.0
        return [
            (str(n + 1), n + 1), (k.label, k.label), (f"{k.cycles:,}", k.cycles),
            (percent(k.cycles, s.cycles), k.cycles), (f"{k.start:,}", k.start),
            (f"{k.end:,}", k.end), (" ".join([f"{k.macs:,}", *k.types]), k.macs),
            (f"{100 * k.roofline_fraction:.1f} %", k.roofline_fraction),
            (NAMES[k.bound_by], NAMES[k.bound_by]), (size(k.external_bytes), k.external_bytes),
            (scaled(k.energy_pj / 1e6, "J"), k.energy_pj),
            (speed_text(speed) if speed else "moves only", speed),
        ]  # fmt: skip

    return table(heads, map(row, range(len(s.kernels))), "sorts kernels")


class Busy(Protocol):
    """A run's cycles, and what each engine did with them: of ``Summary``."""

    @property
    def cycles(self) -> int:
        """Of the run."""
        ...

    @property
    def engines(self) -> Mapping[str, Mapping[str, Any]]:
        """``busy``, ``stalls`` by cause, ``idle_before`` and ``idle_after`` of each."""
        ...


def bars(s: Busy) -> str:
    """A bar for each engine: what it did with each cycle of the run."""
    whole = max(1, s.cycles)
    lines: list[str] = []
    used: dict[str, str] = {}
    rows: list[list[tuple[str, Any]]] = []
    for name, e in s.engines.items():
        parts: dict[str, int] = {"busy": e["busy"]}
        for cause, cycles in e["stalls"].items():
            parts[kind_of(cause)] = parts.get(kind_of(cause), 0) + cycles
            rows.append([(name, name), (f"waits for {in_words(cause)}", cause),
                         (f"{cycles:,}", cycles), (percent(cycles, whole), cycles)])  # fmt: skip
        rows.append([(name, name), ("busy", ""), (f"{e['busy']:,}", e["busy"]),
                     (percent(e["busy"], whole), 0)])  # fmt: skip
        for when in ("before", "after"):
            cycles = e[f"idle_{when}"]
            which = "before its first operation" if when == "before" else "after its last operation"
            rows.append([(name, name), (f"idle {which}", ""), (f"{cycles:,}", cycles),
                         (percent(cycles, whole), 0)])  # fmt: skip
        spans = [f'<span class="idle" style="width:{100 * e["idle_before"] / whole:.3f}%"></span>']
        for kind in KINDS:
            cycles = parts.get(kind, 0)
            if cycles:
                used[kind] = KINDS[kind]
                spans.append(
                    f'<span class="{kind}" style="width:{100 * cycles / whole:.3f}%" '
                    f'title="{escape(KINDS[kind])}: {cycles:,} cycles, {percent(cycles, whole)}">'
                    "</span>"
                )
        busy = percent(e["busy"], whole)
        lines.append(f'<div>{escape(name)}</div><div class="bar">{"".join(spans)}</div>')
        lines.append(f"<div>{busy}</div>")
    used["idle"] = KINDS["idle"]
    heads = [("engine", True), ("what", True), ("cycles", False), ("of the run", False)]
    legend = "".join(f'<span><i class="{k}"></i>{escape(v)}</span>' for k, v in used.items())
    return (
        f'<div class="bars">{"".join(lines)}</div><div class="key">{legend}</div>'
        "<details><summary>Every cause, in cycles</summary>"
        f"{table(heads, rows)}<p class='soft'>The lines of each engine add up to the "
        f"{s.cycles:,} cycles of the run.</p></details>"
    )


def path(found: Analysis) -> str:
    """The critical path, its longest parts."""
    heads = [("cycles", False), ("of the run", False), ("engine", True), ("operation", True),
             ("kernel", True), ("then", True), ("which waits for", True)]  # fmt: skip
    longest = found.longest()
    rows = [
        [(f"{p.cycles:,}", p.cycles), (percent(p.cycles, found.cycles), 0), (p.engine, 0),
         (p.operation, 0), (p.kernel, 0), (p.then or "the end", 0), (_reason(p), 0)]
        for p in longest[:PATH_ROWS]
    ]  # fmt: skip
    rest = sum(p.cycles for p in longest[PATH_ROWS:])
    if rest:
        rows.append([(f"{rest:,}", rest), (percent(rest, found.cycles), 0), ("", 0),
                     (f"{len(longest) - PATH_ROWS} others", 0), ("", 0), ("", 0), ("", 0)])  # fmt: skip
    return (
        f"<p>{escape(_verdict(found))}</p>"
        + table(heads, rows)
        + f'<p class="soft">{len(found.path):,} operations, each from its start to the start of '
        f"the one that waited for it; together {found.cycles:,} cycles.</p>"
    )


def _reason(p: Segment) -> str:
    """What an operation of the path waited for, in words."""
    if p.reason == BUSY:
        return f"{p.engine}, which works on this one until then"
    return "" if p.reason == LAST else in_words(p.reason)


WHY = {
    "operand": "{} for data on its way from engine to engine ({})",
    "slot": "{} for a slot to become free ({}): a deeper ring helps",
    "engine": "{} for an engine that another operation holds ({})",
    "tensor": "{} for a tensor of an earlier kernel",
}
"""What else the path passes with."""


def _verdict(found: Analysis) -> str:
    """What it would take to be faster."""
    shares = found.shares()
    busy: dict[str, int] = {}
    for why in (BUSY, LAST):
        for name, n in shares.get(why, {}).items():
            busy[name] = busy.get(name, 0) + n
    parts: list[str] = []
    engines = sorted(busy.items(), key=lambda item: -item[1])
    if engines:
        names = ", ".join(f"{name} {percent(n, found.cycles)}" for name, n in engines[:3])
        parts.append(
            f"{percent(sum(busy.values()), found.cycles)} of the run passes with one engine at work "
            f"that the next operation needs as well ({names}): only less work for it, or a faster one, "
            "makes this shorter"
        )
    for why, text in WHY.items():
        if sum(shares.get(why, {}).values()) > 0.0005 * found.cycles:
            most = max(shares[why].items(), key=lambda item: item[1])[0]
            part = percent(sum(shares[why].values()), found.cycles)
            parts.append(text.format(part, f"most of it: {in_words(most)}"))
    return "; ".join(parts) + "."


def timeline(found: Analysis | None, timing: Timing) -> str:
    """When each engine worked."""
    calls, cycles = timing.calls, max(1, timing.cycles)
    if found is not None:
        lines = {name: filled(worked, cycles, BUCKETS) for name, worked in found.busy.items()}
        words = ""
    else:
        lines = averaged(calls, cycles, BUCKETS)
        words = " Each kernel's work is spread evenly over it."
    lines = {name: line for name, line in lines.items() if any(line)}
    return (
        f"<figure>{timeline_chart(lines, calls, cycles)}<figcaption>Above: the kernels, each from its "
        "first operation to its last one. Below: the engines, the darker the busier."
        f"{words}</figcaption></figure>"
    )


def product_traffic(compiled: Run, s: Summary) -> tuple[int, int]:
    """External bytes of the operands and results of kernels that are one product, and the least
    that any order of these products needs."""
    moved = least = 0
    for row, call in zip(s.kernels, compiled.program.calls, strict=True):
        if row.io_bound_bytes is not None:
            moved += product_bytes(call.plan)
            least += row.io_bound_bytes
    return moved, least


def levels(compiled: Run, s: Summary, timing: Timing, found: Analysis | None) -> str:
    """Memories: bytes, bandwidth used, reuse, occupancy, energy."""
    factor = reuse(timing.counts)
    rings, room = allocated(compiled.program), compiled.machine.capacity
    heads = [("memory", True), ("read", False), ("written", False), ("reuse", False),
             ("given out", False), ("most in use", False), ("capacity", False), ("energy", False)]  # fmt: skip
    rows: list[list[tuple[str, Any]]] = []
    for level, moved in s.bytes.items():
        peak = found.peak.get(level) if found else None
        rows.append([
            (level if level == "external" else level.upper(), 0),
            (size(moved["read"]), 0), (size(moved["write"]), 0),
            (f"{factor[level]:.2f} ×" if level in factor else "-", 0),
            (size(rings[level]) if level in rings else "-", 0),
            (size(peak) if peak is not None else "-", 0), (size(room[level]), 0),
            (scaled(s.energy_pj[level] / 1e6, "J"), 0),
        ])  # fmt: skip
    words = (
        "Reuse: bytes that a memory gives towards the array for each byte that it got from the one "
        f"before. On average {overlap(timing):.2f} engines work at a time."
    )
    if found:
        words += f" {100 * found.hidden:.1f} % of the DMA's time is hidden behind computing."
    traffic, least = product_traffic(compiled, s)
    bound = "" if not least else (
        f" Operands and results of products take {size(traffic)} of external traffic, "
        f"{traffic / least:.2f} × the least that any order allows each of them by itself."
    )  # fmt: skip
    return table(heads, rows) + f'<p class="soft">{words}{bound}</p>'


def replacement(compiled: Run) -> str:
    """Blocks that kernels load, beside what an optimal replacement would load."""
    found, left = reuse_of(compiled.program)
    heads = [("kernel", True), ("calls", False), ("memory", True), ("uses", False), ("hits", False),
             ("misses", False), ("loaded", False), ("optimum", False), ("× optimum", False)]  # fmt: skip
    rows: list[list[tuple[str, Any]]] = []
    for kernel in found:
        for r in kernel.levels:
            rows.append([
                (kernel.label, kernel.label), (f"{kernel.calls:,}", kernel.calls), (r.level.upper(), r.level),
                (f"{r.uses:,}", r.uses), (f"{r.hits:,}", r.hits), (f"{r.misses:,}", r.misses),
                (size(r.loaded), r.loaded), (size(r.optimal), r.optimal), (f"{r.times:.3f}", r.times),
            ])  # fmt: skip
    if not rows:
        return ""
    over = sorted(
        ((r.times, f"{k.label} in {r.level.upper()} ({r.times:.2f} ×)") for k in found
         for r in k.levels if r.times > NOTABLE),
        reverse=True,
    )  # fmt: skip
    words = (
        "Blocks that come from outside of a memory: how often a call of each kernel uses one, and "
        "loads it; and the bytes that an optimal replacement (Belady: all later uses are known) "
        "would load for the same order of uses in as much room. "
    )
    if over:
        words += f"Over {NOTABLE} × the optimum: " + ", ".join(text for _, text in over[:8])
        words += f", and {len(over) - 8} more. " if len(over) > 8 else ". "
    else:
        words += f"No kernel is over {NOTABLE} × the optimum. "
    if left:
        words += f"Of too many operations to be looked at: {', '.join(left)}."
    return (
        f"<h3>Reuse against the optimum</h3>{table(heads, rows, 'sorts')}"
        f'<p class="soft">{escape(words)}</p>'
    )


def occupancy(compiled: Run, found: Analysis) -> str:
    """What the memories hold over time."""
    rings, parts = allocated(compiled.program), []
    for level in ("l3", "l2"):
        curve = thinned(found.live[level], found.cycles, 600)
        parts.append(f"<h3>{level.upper()}</h3><figure>")
        parts.append(
            occupancy_chart(
                level, curve, found.cycles, rings[level], compiled.machine.capacity[level]
            )
        )
        parts.append("</figure>")
    return "".join(parts)


def sources(compiled: Run) -> str:
    """The IR at each stage."""
    what = {"kernel": "what is computed", "tile": "how it is cut", "dma": "how it moves"}
    return "".join(
        f'<details><summary>{stage} <span class="soft">{what[stage]}; '
        f"{text.count(chr(10)):,} lines</span></summary><pre>{escape(text)}</pre></details>"
        for stage in compiled.stages
        for text in (compiled.ir(stage),)
    )


def report(compiled: Run, summary: Summary, command: str) -> str:
    """The page. ``command`` is what reproduces it."""
    timing = compiled.timing
    found = analyse(compiled.program) if timing.operations <= STEPPED_AT_MOST else None
    roofs = roofline(timing.calls, timing, compiled.machine)
    title = f"{Path(summary.source).name or 'program'} on the {compiled.machine.name} machine"
    compared = ""
    if summary.max_rel_error is not None:
        compared = (
            f"; outputs differ from the reference by {summary.max_rel_error:.2g} of the largest"
        )
    if summary.error_steps is not None:
        compared += (
            f" (one in float64: {summary.error_steps:.3g} steps of {summary.short_type}, where rounding "
            f"the exact result once takes {summary.rounding_steps:.3g})"
        )
    sections = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{summary.operations:,} operations of {len(timing.busy)} engines in '
        f"{len(timing.calls)} kernel calls{compared}</p>",
        tiles(summary),
        "<h2>Roofline</h2>",
    ]
    if roofs.points:
        sections += [
            "<figure>",
            key({level: f"{name}, {roofs.bandwidth[level] / 1e9:,.4g} GB/s"
                 for level, name in LEVELS.items()}, "background:var(--{})"),
            roofline_chart(roofs),
            "<figcaption>Each kernel has a point at each level of memory, at the same height; its "
            "number, where there is room for it, is that of the table below. A point near the roof "
            "of its colour is bound by that level.</figcaption></figure>",
        ]  # fmt: skip
    else:
        sections.append("<p>Nothing is computed here, data only moves.</p>")
    sections += ["<h2>Kernels</h2>", kernels(summary, timing)]
    sections += ["<h2>What each engine did</h2>", bars(summary), timeline(found, timing)]
    sections.append(costs(summary))
    sections.append("<h2>Critical path</h2>")
    if found:
        sections.append(path(found))
    else:
        sections.append(
            f"<p>This run has more than {STEPPED_AT_MOST:,} operations, and is not stepped for its "
            "critical path and its memories' occupancy.</p>"
        )
    sections += ["<h2>Memories</h2>", levels(compiled, summary, timing, found)]
    sections.append(replacement(compiled))
    if found:
        sections.append(occupancy(compiled, found))
        power = power_trace(compiled.program)
        sections.append(
            f"<p>Power is {power.average:.3g} W on average; in one of {len(power.watts)} equal parts "
            f"({scaled(power.window * 1e6, 's')}) of the run it is at most {power.peak:.3g} W.</p>"
        )
    values = "\n".join(f"{name} = {value}" for name, value in flat(compiled.machine.to_dict()))
    origin = Origin.of(compiled.machine, command)
    sections += [
        "<h2>Program</h2>", sources(compiled), "<h2>How to get this again</h2>",
        f'<pre class="wrap">{escape(command)}</pre><p class="soft">{escape(origin.line())}</p>',
        f"<details><summary>Machine <span class='soft'>{escape(compiled.machine.name)}</span>"
        f"</summary><pre>{escape(values)}</pre></details>",
    ]  # fmt: skip
    return page(title, "\n".join(sections))


def write_report(compiled: Run, summary: Summary, path: str | Path, command: str) -> None:
    """Write the page. Raises ``KpuError`` where it cannot."""
    write_atomically(path, shown(report(compiled, summary, command), keep="\n\t"))
