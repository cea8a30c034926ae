"""A study on one page that needs no network: fronts, knobs, what matters, the winner and the base."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from kpu_ir.explore.evaluate import Point
from kpu_ir.explore.insight import backwards, effects
from kpu_ir.explore.page_script import SCRIPT, STYLE
from kpu_ir.explore.scores import Design
from kpu_ir.explore.store import Store
from kpu_ir.explore.study import Results, settings_text
from kpu_ir.report.html import bars, scaled, table
from kpu_ir.report.page import page
from kpu_ir.report.words import NAMES, plural, size
from kpu_ir.support.files import write_atomically
from kpu_ir.support.names import shown
from kpu_ir.support.package import __version__

PAIRS = 20
"""So many pairs of a better and slower machine are shown."""

COMPARED = 3
"""So many workloads have their engines shown, the longest first."""


def study_page(results: Results, folder: Path, command: str) -> str:
    """The page; ``command`` is what made it, ``folder`` where the results stand."""
    spec = results.spec
    counts: dict[str, int] = {}
    for design in results.designs:
        counts[design.status] = counts.get(design.status, 0) + 1
    said = ", ".join(f"{n:,} {status}" for status, n in counts.items())
    title = f"Study: {spec.name}"
    sections = [
        f"<style>{STYLE}</style>",
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{plural(len(results.designs), "machine")}, {plural(len(spec.workloads), "workload")}: '
        f"{escape(said)}. Base machine: {escape(spec.machine.name)}; search {spec.options.search}.</p>",
        tiles(results),
        "<h2>Front</h2>",
        '<p class="soft">Each point is a machine. Hover or tap for its knobs and its command; choose '
        "axes, and what is shown, below.</p>",
        '<div id="controls"></div><div id="front"></div>',
        '<div id="picked" aria-live="polite"></div>',
        "<h2>Knobs and objectives</h2>",
        '<p class="soft">One line a machine; the line of the machine that is picked is thick.</p>',
        '<div class="scroll" id="parallel"></div>',
        "<h2>What matters</h2>",
        sensitivity(results),
    ]
    winner = results.winner
    if winner is not None:
        sections += [
            "<h2>Winner and base</h2>", side_by_side(results, winner, results.base),
            engines(results, winner, folder),
        ]  # fmt: skip
    sections += ["<h2>The front in figures</h2>", front_table(results)]
    sections += ["<h2>Better and slower</h2>", slower(results)]
    sections += [
        "<h2>How to get this again</h2>",
        f'<pre class="wrap">{escape(command)}</pre><p class="soft">kpu-ir {__version__}</p>',
        f"<details><summary>The study</summary><pre>{escape(spec.places.text)}</pre></details>"
        if spec.places.text
        else "",
        f'<script type="application/json" id="data">{_json(data(results, folder))}</script>',
        f"<script>{SCRIPT}</script>",
    ]
    return page(title, "\n".join(sections))


def write_page(results: Results, folder: Path, command: str) -> Path:
    """Write ``study.html`` beside the results."""
    path = folder / "study.html"
    write_atomically(path, shown(study_page(results, folder, command), keep="\n\t"))
    return path


def _json(value: Any) -> str:
    """JSON within a page: no tag can end it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def number(value: float) -> str:
    """A figure for a person."""
    return (
        f"{value:,.4g}" if abs(value) < 1e5 else f"{value:,.0f}" if value < 1e9 else f"{value:.4g}"
    )


def tiles(results: Results) -> str:
    """What one looks for first."""
    winner, spec = results.winner, results.spec
    found = [
        (f"{len(results.designs):,}", "points evaluated or refused"),
        (f"{len(results.good):,}", "meet every constraint"),
        (f"{len(results.front):,}", "on the front"),
    ]
    if winner is not None:
        for o, mine, base in zip(
            spec.objectives, winner.values, results.base.values or winner.values, strict=False
        ):
            ratio = o.least(mine) / o.least(base) if o.least(base) else float("nan")
            found.append((f"{ratio:.2f} ×", f"{o.text} of the winner, to the base"))
    return '<div class="tiles">' + "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(what)}</span></div>'
        for value, what in found
    ) + "</div>"  # fmt: skip


def data(results: Results, folder: Path) -> dict[str, Any]:
    """What the script draws."""
    spec = results.spec
    points: list[dict[str, Any]] = []
    for design in (results.base, *results.designs):
        values = [o.least(v) for o, v in zip(spec.objectives, design.values, strict=False)]
        points.append({
            "n": design.number, "s": "base" if design is results.base else design.status,
            "f": design.front, "w": design.reason, "v": [float(f"{v:.6g}") for v in values],
            "k": list(design.knobs.values()), "c": commands(results, design, folder),
        })  # fmt: skip
    return {
        "objectives": [{"text": o.text, "most": o.most} for o in spec.objectives],
        "knobs": [
            {"name": knob.name, "values": _values(results, knob.name)} for knob in spec.space.knobs
        ],
        "points": points,
        "winner": results.winner.number if results.winner is not None else None,
    }


def _values(results: Results, name: str) -> list[Any]:
    found = {design.knobs[name] for design in (results.base, *results.designs)}
    return sorted(found, key=lambda v: (isinstance(v, str), v))


def commands(results: Results, design: Design, folder: Path) -> list[str]:
    """What repeats a design: ``kpu-run`` for each workload that is a file, else its result's file."""
    spec, found = results.spec, list[str]()
    options = spec.options
    for workload, row in zip(spec.workloads, design.rows, strict=False):
        if workload.kind == "file":
            words = ["kpu-run", workload.source, "--machine", base_of(results), "--no-values"]
            for name, extents in workload.shapes.items():
                words += ["--shape", f"{name}={'x'.join(map(str, extents))}"]
            words += ["--fuse", options.fuse, "--search", options.search]
            if options.search != "none":
                words += ["--objective", options.objective]
            for setting in settings_text(design.knobs).split():
                words += ["--set", setting]
            found.append(shlex.join(words))
        elif "cycles" in row:
            path = Store(folder).path("rows", row["key"])
            found.append(shlex.join(["kpu-explore", "evaluate", str(path)]))
    return found


def base_of(results: Results) -> str:
    """The base machine as ``--machine`` takes it."""
    return results.spec.machine_name


def sensitivity(results: Results) -> str:
    """The knobs that explain most of each workload's time and energy, in sentences, and all in a
    table."""
    parts: list[str] = []
    found = effects(results) + effects(results, "energy_j")
    for workload in results.spec.workloads:
        for figure in ("seconds", "energy_j"):
            own = [e for e in found if (e.workload, e.figure) == (workload.name, figure)]
            parts += [f"<li>{escape(e.sentence())}.</li>" for e in own[:2] if e.share > 0.005]
    heads = [("workload", True), ("figure", True), ("knob", True), ("explains", False),
             ("from first to last value", False)]  # fmt: skip
    rows = [
        [(e.workload, e.workload), (e.figure, e.figure), (e.knob, e.knob),
         (f"{100 * e.share:.1f} %", e.share), (f"{100 * e.change:+.1f} %", e.change)]
        for e in found
    ]  # fmt: skip
    if not rows:
        return "<p>Too few points have figures.</p>"
    return (
        f"<ul>{''.join(parts)}</ul><details><summary>Every knob</summary>"
        f"{table(heads, rows, 'sorts')}<p class='soft'>Explains: the share of the variance of the "
        "figure's logarithm that lies between the values of this knob. What is missing to 100 % is the "
        "work of several knobs together.</p></details>"
    )


def side_by_side(results: Results, winner: Design, base: Design) -> str:
    """Knobs and figures of two designs."""
    heads = [
        ("", True),
        ("base", False),
        (f"winner, point {winner.number}", False),
        ("ratio", False),
    ]
    rows: list[list[tuple[str, Any]]] = []
    for name, value in winner.knobs.items():
        before = base.knobs[name]
        mark = "" if before == value else "changed"
        rows.append([(name, 0), (f"{before:,}", 0), (f"{value:,}", 0), (mark, 0)])
    for o, mine, theirs in zip(
        results.spec.objectives, winner.values, base.values or winner.values, strict=False
    ):
        rows.append(_ratio(o.text, o.least(theirs), o.least(mine)))
    for row, before in zip(winner.rows, base.rows, strict=False):
        for name in ("cycles", "seconds", "energy_j", "power_w", "external_bytes", "utilization"):
            if name in row and name in before:
                rows.append(_ratio(f"{row['workload']}: {name}", before[name], row[name]))
        if "bound_by" in row and "bound_by" in before:
            words = [(NAMES.get(str(r["bound_by"]), ""), 0) for r in (before, row)]
            rows.append([(f"{row['workload']}: bound by", 0), *words, ("", 0)])
    return table(heads, rows) + (
        '<p class="soft">The winner is the point of the front with the least product of objectives.</p>'
    )


def _ratio(name: str, before: float, now: float) -> list[tuple[str, Any]]:
    ratio = f"{now / before:.3g} ×" if before else ""
    show = size if name.endswith("bytes") else number
    if name.endswith("seconds"):
        return [(name, 0), (scaled(before * 1e6, "s"), 0), (scaled(now * 1e6, "s"), 0), (ratio, 0)]
    return [(name, 0), (show(before), 0), (show(now), 0), (ratio, 0)]


@dataclass(frozen=True)
class _Busy:
    cycles: int
    engines: Mapping[str, Mapping[str, Any]]


def engines(results: Results, winner: Design, folder: Path) -> str:
    """Where the time went: each engine of base and winner, for the longest workloads."""
    store, parts = Store(folder), list[str]()
    weights = results.spec.weights

    def longest(pair: tuple[dict[str, Any], dict[str, Any]]) -> float:
        return -weights[pair[0]["workload"]] * pair[1].get("seconds", 0.0)

    pairs = sorted(zip(winner.rows, results.base.rows, strict=False), key=longest)
    for row, before in pairs[:COMPARED]:
        both = [_busy(store, r) for r in (before, row)]
        if any(found is None for found in both):
            continue
        parts.append(f"<h3>{escape(row['workload'])}</h3><div class='two'>")
        for found, name in zip(both, ("base", f"winner, point {winner.number}"), strict=True):
            assert found is not None
            parts.append(f"<div><p>{name}: {found.cycles:,} cycles</p>{bars(found)}</div>")
        parts.append("</div>")
    return "".join(parts)


def _busy(store: Store, row: Mapping[str, Any]) -> _Busy | None:
    configuration = store.configuration(row.get("key", ""))
    timed = store.timing(Point.of_data(configuration).seen) if configuration else None
    return _Busy(timed["cycles"], timed["engines"]) if timed and "cycles" in timed else None


def front_table(results: Results) -> str:
    """A row for each point of the front; it sorts on a click."""
    spec = results.spec
    names = [knob.name for knob in spec.space.knobs]
    heads = [("point", False), *((o.text, False) for o in spec.objectives)]
    heads += [(name, False) for name in names]
    rows: list[Sequence[tuple[str, Any]]] = []
    for design in results.front:
        values = [o.least(v) for o, v in zip(spec.objectives, design.values, strict=True)]
        rows.append([
            (str(design.number), design.number), *((number(v), v) for v in values),
            *((f"{design.knobs[n]:,}", design.knobs[n]) for n in names),
        ])  # fmt: skip
    return table(heads, rows, "sorts")


def slower(results: Results) -> str:
    """Pairs in which the better machine takes longer."""
    found = backwards(results)
    if not found:
        return "<p>No machine that has more of everything takes over 0.5 % more cycles than another one.</p>"
    items = "".join(f"<li>{escape(pair.sentence())}.</li>" for pair in found[:PAIRS])
    more = (
        f"<p class='soft'>and {len(found) - PAIRS:,} more pairs</p>" if len(found) > PAIRS else ""
    )
    return (
        f"<p>{len(found):,} pairs: what is better and slower is a choice that the search did not make, "
        f"or a cost of size. Look with a longer search before they are believed.</p><ul>{items}</ul>{more}"
    )
