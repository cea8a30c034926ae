"""Figures over time: what ``kpu-bench baseline --record`` noted of each commit, and what grew when.

The file has one JSON object a line: date, commit, machine and its digest, and the figures of each
workload. Entries of machines with other digests are not compared: what the machine charges is no regression.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from kpu_ir.bench.baseline import ALLOWED, FIGURES, Baseline
from kpu_ir.bench.table import Column, Table, change, microjoules, whole
from kpu_ir.bench.workloads import DATA, ROOT
from kpu_ir.machine import Machine
from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import read_text, write_atomically
from kpu_ir.support.pictures import write_picture

PATH = DATA / "history.jsonl"
LARGEST = 1 << 28
FORM = {"cycles": whole, "external_bytes": whole, "energy_pj": microjoules}


@dataclass(frozen=True)
class Entry:
    """The figures of one commit on one machine. ``commit`` ends in ``+`` where files were changed
    since; ``digest`` is empty where it is not known."""

    date: str
    commit: str
    machine: str
    digest: str
    figures: Mapping[str, Mapping[str, float]]
    """By workload and figure."""


@dataclass(frozen=True)
class Growth:
    """A figure of a workload that an entry has larger than the one before it."""

    workload: str
    figure: str
    before: float
    now: float
    since: Entry
    entry: Entry

    @property
    def share(self) -> float:
        """Of what it was."""
        return (self.now - self.before) / self.before if self.before else 1.0

    def __str__(self) -> str:
        return (
            f"{self.workload}: {self.figure.replace('_', ' ')} {change(self.share)} at "
            f"{self.entry.commit} ({self.entry.date}), {self.since.commit} had {self.before:,.0f}"
        )


def read(path: Path = PATH) -> list[Entry]:
    """All entries, the oldest first; none if there is no file. Raises ``KpuError`` with the line of one
    that cannot be read."""
    if not path.exists():
        return []
    entries: list[Entry] = []
    for number, line in enumerate(read_text(path, LARGEST).splitlines(), 1):
        try:
            entry = Entry(**json.loads(line))
            for figures in entry.figures.values():
                sum(float(figures[name]) for name in FIGURES)
        except (ValueError, TypeError, LookupError, AttributeError) as e:
            raise KpuError(
                f"not an entry of a history: {e}", f"{path}:{number}", "restore it from git"
            ) from None
        entries.append(entry)
    return entries


def record(baselines: Mapping[str, Baseline], machine: Machine, path: Path = PATH) -> Entry:
    """Append the figures of the commit that is checked out; an entry of the same commit and machine at
    the end is replaced. Raises ``KpuError`` where there is no commit."""
    date, commit = _commit()
    figures = {name: b.figures for name, b in baselines.items()}
    entry = Entry(date, commit, machine.name, machine.digest, figures)
    entries = read(path)
    if entries and (entries[-1].commit, entries[-1].machine) == (commit, machine.name):
        entries.pop()
    write(path, [*entries, entry])
    return entry


def write(path: Path, entries: Sequence[Entry]) -> None:
    """The file, whole or not at all."""
    write_atomically(path, "".join(f"{json.dumps(asdict(e))}\n" for e in entries))


def _commit() -> tuple[str, str]:
    """Date and name of the commit that is checked out."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        date, commit = git("log", "-1", "--format=%cs %h").split()
        changed = git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError, ValueError):
        raise KpuError(
            "there is no commit to record figures of", str(ROOT), "record in a checkout with git"
        ) from None
    return date, commit + "+" * bool(changed)


# -- what grew ------------------------------------------------------------------------------------


def growths(entries: Sequence[Entry], allowed: float = ALLOWED) -> list[Growth]:
    """What grew by more than a share from one entry to the next of the same machine, in order."""
    found: list[Growth] = []
    last: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        for workload, figures in entry.figures.items():
            before = last.get((entry.machine, workload))
            last[entry.machine, workload] = entry
            if before is None or (before.digest and before.digest != entry.digest):
                continue
            for figure in FIGURES:
                a, b = before.figures[workload][figure], figures[figure]
                if b > a * (1 + allowed):
                    found.append(Growth(workload, figure, a, b, before, entry))
    return found


def table(entries: Sequence[Entry], figure: str) -> Table:
    """A row a workload: its figure in the first entry, the least, the last, and where it last grew by
    more than is allowed."""
    rows: list[dict[str, Any]] = []
    grown = [g for g in growths(entries) if g.figure == figure]
    for name in dict.fromkeys(n for e in entries for n in e.figures):
        values = [(e.figures[name][figure], e) for e in entries if name in e.figures]
        least, when = min(values, key=lambda v: v[0])
        mine = [g for g in grown if g.workload == name]
        first, last = values[0][0], values[-1][0]
        rows.append({
            "workload": name, "entries": len(values), "first": first, "least": least,
            "least_at": when.commit, "last": last, "change": (last - first) / first if first else 0.0,
            "grew": f"{change(mine[-1].share)} at {mine[-1].entry.commit}" if mine else "",
        })  # fmt: skip
    form: Callable[[Any], str] = FORM[figure]
    columns = [
        Column("workload", "workload"), Column("entries", "entries", whole),
        Column("first", "first", form), Column("least", "least", form), Column("least_at", "at"),
        Column("last", "last", form), Column("change", "since first", change),
        Column("grew", f"last grew over {100 * ALLOWED:.0f} %"),
    ]  # fmt: skip
    span = f"{entries[0].commit} ({entries[0].date}) to {entries[-1].commit} ({entries[-1].date})"
    title = f"{figure.replace('_', ' ')} on {entries[-1].machine}, {span}"
    return Table(title, columns, rows, tuple(str(g) for g in grown))


def draw(entries: Sequence[Entry], figure: str, out: Path) -> list[Path]:
    """Write ``out`` as SVG and PNG: each workload's figure over its first one, entry by entry. What is
    written. Raises ``KpuError`` without matplotlib."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise KpuError("matplotlib is not installed", hint="pip install 'kpu-ir[plot]'") from None
    mpl.rcParams["svg.hashsalt"] = "kpu-ir"
    picture = Figure(figsize=(10, 5.5), layout="constrained")
    axes = picture.add_subplot()
    grown = {(g.workload, id(g.entry)) for g in growths(entries) if g.figure == figure}
    for number, name in enumerate(dict.fromkeys(n for e in entries for n in e.figures)):
        at = [i for i, e in enumerate(entries) if name in e.figures]
        values = [entries[i].figures[name][figure] for i in at]
        shares = [v / values[0] if values[0] else 1.0 for v in values]
        line = ("-", "--", ":", "-.")[number // 10 % 4]
        axes.plot(at, shares, line, marker=".", linewidth=1, label=name)
        marked = [(i, s) for i, s in zip(at, shares) if (name, id(entries[i])) in grown]
        axes.plot(
            [i for i, _ in marked], [s for _, s in marked], "o", color="red", fillstyle="none"
        )
    for i, (a, b) in enumerate(pairwise(entries)):
        if a.digest and a.digest != b.digest:
            axes.axvline(i + 0.5, color="0.7", linewidth=1, linestyle="--")
    axes.set_xticks(range(len(entries)), [f"{e.commit}\n{e.date}" for e in entries], fontsize=7)
    axes.set(
        ylabel=f"{figure.replace('_', ' ')}, of the first entry",
        title=f"{figure.replace('_', ' ')} on {entries[-1].machine}; red: grew over {100 * ALLOWED:.0f} %",
    )  # fmt: skip
    axes.axhline(1, color="0.8", linewidth=0.8, zorder=0)
    picture.legend(loc="outside right upper", fontsize=7, frameon=False)
    return write_picture(picture, out, dpi=120)
