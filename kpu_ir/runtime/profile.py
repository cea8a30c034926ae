"""What a device did, by kind of operation."""

from __future__ import annotations

from dataclasses import dataclass

from kpu_ir.runtime.timeline import Row


@dataclass(frozen=True)
class RuntimeProfile:
    """A row for each kind of operation; ``cycles``: the end of the last one."""

    rows: tuple[Row, ...]
    cycles: int

    def __str__(self) -> str:
        lines = [("operation", "times", "cycles", "share", "bytes")]
        for row in sorted(self.rows, key=lambda row: -row.cycles):
            share = f"{100 * row.cycles / max(1, self.cycles):.1f} %"
            lines.append((row.what, f"{row.count:,}", f"{row.cycles:,}", share, f"{row.bytes:,}"))
        widths = [max(len(line[i]) for line in lines) for i in range(5)]
        return "\n".join(
            "  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths)))
            for line in lines
        )
