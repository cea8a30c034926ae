"""Where the cycles of a run went, layer by layer, so that they add up (docs/profile.md).

Kernels overlap: one fetches its weights while the one before it computes. A layer's ``cycles`` are
what it adds to the run: the cycles from the latest end of all layers before it to its own end, 0 if
that is earlier. The first layer's begin at 0; the sum telescopes to the end of the last one to end.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from fnmatch import fnmatchcase
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table

from kpu_ir.report.figures import Summary
from kpu_ir.report.words import NAMES, percent, size, words
from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import write_atomically
from kpu_ir.support.names import shortened

WIDE = 1000
"""Columns of a text that is on no terminal: no name is broken."""


def plain_text(shown: RenderableType) -> str:
    """What rich shows, as text without colours; no line is folded, none ends in blanks."""
    out = Console(file=StringIO(), width=WIDE, highlight=False, markup=False)
    with out.capture() as captured:
        out.print(shown)
    return "".join(f"{line.rstrip()}\n" for line in captured.get().splitlines())


@dataclass(frozen=True, slots=True)
class Layer:
    """One kernel call of a run.

    ``number``: its place in the program, from 1. ``layer``: the ONNX node's name, else the kernel's.
    ``kernel``: the function that runs, which equal layers share. ``cycles``: what it adds to the
    run; ``share``: that over the run's. ``start``, ``end``: when its first operation begins and its
    last one ends. ``bound_by``, ``roofline_fraction``: as in ``Summary.kernels``, of the time from
    start to end.
    """

    number: int
    layer: str
    kernel: str
    cycles: int
    share: float
    start: int
    end: int
    bound_by: str
    roofline_fraction: float
    macs: int
    external_bytes: int
    energy_pj: float


@dataclass(frozen=True)
class Profile:
    """The layers of a run in order; all of them, or those that ``filter`` left.

    ``total``: the cycles of the whole run, and ``of`` the number of its layers. Prints itself as a
    table, in a notebook too.
    """

    rows: tuple[Layer, ...]
    total: int
    of_layers: int
    source: str = ""
    machine: str = ""

    @staticmethod
    def of(summary: Summary) -> Profile:
        """The profile of a run that was summarised."""
        total = summary.cycles
        rows = tuple(
            Layer(
                number,
                k.label,
                k.kernel,
                k.cycles,
                k.cycles / total if total else 0.0,
                k.start,
                k.end,
                k.bound_by,
                k.roofline_fraction,
                k.macs,
                k.external_bytes,
                k.energy_pj,
            )
            for number, k in enumerate(summary.kernels, 1)
        )
        return Profile(rows, total, len(rows), summary.source, summary.machine)

    def filter(self, glob: str) -> Profile:
        """The layers whose name or kernel matches: ``*attention*``, ``conv_?``. Letters' case
        counts. Raises ``KpuError`` if there are none."""
        rows = tuple(
            r for r in self.rows if fnmatchcase(r.layer, glob) or fnmatchcase(r.kernel, glob)
        )
        if not rows:
            some = ", ".join(dict.fromkeys(r.layer for r in self.rows[:5]))
            raise KpuError(
                f"no layer is called '{shortened(glob)}'",
                hint=f"* stands for anything, as in '*fc*'; layers: {some or 'none'}"
                + (", ..." if len(self.rows) > 5 else ""),
            )
        return replace(self, rows=rows)

    @property
    def cycles(self) -> int:
        """Of the layers that are here; of the run, if all are."""
        return sum(row.cycles for row in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.rows)

    def to_dicts(self) -> list[dict[str, Any]]:
        """A dictionary for each layer, as ``pandas.DataFrame`` takes them."""
        return [asdict(row) for row in self.rows]

    def to_csv(self, path: str | Path | None = None) -> str:
        """The rows as CSV with a line of names above; written to ``path`` too, if given."""
        stream = StringIO()
        names = [f.name for f in fields(Layer)]
        table = csv.DictWriter(stream, names, lineterminator="\n")
        table.writeheader()
        table.writerows(self.to_dicts())
        if path is not None:
            write_atomically(path, stream.getvalue())
        return stream.getvalue()

    def __rich__(self) -> Table:
        table = Table(
            box=None, padding=(0, 2), header_style="dim", show_footer=True, footer_style="dim"
        )
        some = "" if len(self) == self.of_layers else f" of {self.of_layers}"
        footers = {
            "layer": f"{len(self)}{some} layer{'s' if self.of_layers != 1 else ''}",
            "cycles": f"{self.cycles:,}",
            "share": percent(self.cycles, self.total),
            "external": size(sum(r.external_bytes for r in self.rows)),
            "uJ": f"{sum(r.energy_pj for r in self.rows) / 1e6:.2f}",
        }
        named = ("layer", "kernel", "bound by")
        for name in ("", "layer", "kernel", "cycles", "share", "from", "to", "bound by",
                     "of bound", "external", "uJ"):  # fmt: skip
            table.add_column(
                name,
                footers.get(name, ""),
                justify="left" if name in named else "right",
                overflow="fold",
            )
        for r in self.rows:
            table.add_row(
                str(r.number),
                words(r.layer),
                words(r.kernel),
                f"{r.cycles:,}",
                percent(r.cycles, self.total),
                f"{r.start:,}",
                f"{r.end:,}",
                NAMES[r.bound_by],
                f"{100 * r.roofline_fraction:.0f} %",
                size(r.external_bytes),
                f"{r.energy_pj / 1e6:.2f}",
            )
        return table

    def __str__(self) -> str:
        return plain_text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        out = Console(file=StringIO(), width=WIDE, highlight=False, markup=False, record=True)
        out.print(self)
        return out.export_html(inline_styles=True, code_format="<pre>{code}</pre>")
