"""Results as data: rows for JSON, a table for a terminal, a table for Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable


def whole(value: int | float) -> str:
    """``4,196,510``."""
    return f"{value:,.0f}"


def share(value: float) -> str:
    """A fraction of 1 as ``99.9 %``."""
    return f"{100 * value:.1f} %"


def change(value: float) -> str:
    """A fraction of 1 as ``+0.5 %``."""
    return f"{100 * value:+.1f} %"


def times(value: float) -> str:
    """A ratio: ``1.23 x``."""
    return f"{value:.2f} x"


def milliseconds(value: float) -> str:
    """Seconds as ``12.3 ms``."""
    return f"{1000 * value:.1f} ms"


def microjoules(value: float) -> str:
    """pJ as ``12.34`` uJ."""
    return f"{value / 1e6:,.2f}"


@dataclass(frozen=True)
class Column:
    """What of a row is shown, under which heading, and how. Numbers stand right."""

    key: str
    heading: str
    format: Callable[[Any], str] = str

    def text(self, row: Mapping[str, Any]) -> str:
        """The cell; ``-`` where there is nothing."""
        value = row.get(self.key)
        return "-" if value is None or value == "" else self.format(value)

    @property
    def right(self) -> bool:
        """Whether it is a number."""
        return self.format is not str


@dataclass(frozen=True)
class Table:
    """Rows of plain data, the columns that a person sees, and what to know about them."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    notes: Sequence[str] = field(default_factory=tuple[str, ...])

    def data(self) -> dict[str, Any]:
        """For JSON."""
        return {"title": self.title, "rows": list(self.rows), "notes": list(self.notes)}

    def show(self, out: Console) -> None:
        """On a terminal."""
        out.print(self.title, style="bold", markup=False)
        table = RichTable(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for column in self.columns:
            table.add_column(column.heading, justify="right" if column.right else "left")
        for row in self.rows:
            table.add_row(*(column.text(row) for column in self.columns))
        out.print(table)
        for note in self.notes:
            out.print(note, style="dim", markup=False)

    def markdown(self) -> str:
        """As GitHub shows it."""

        def line(cells: Sequence[str]) -> str:
            return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

        lines = [f"**{self.title}**", ""]
        lines.append(line([c.heading for c in self.columns]))
        lines.append(line(["--:" if c.right else "---" for c in self.columns]))
        lines += [line([c.text(row) for c in self.columns]) for row in self.rows]
        lines += [text for note in self.notes for text in ("", note)]
        return "\n".join(lines) + "\n"
