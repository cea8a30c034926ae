"""Write into README.md what its commands print: ``python docs/make_readme.py``.

Blocks between ``<!-- begin NAME -->`` and ``<!-- end NAME -->`` are generated: the IR of the
README's own Python example at each level, what ``make demo`` prints, the presets, whole models as
docs/models.md has them. ``test/test_readme.py`` holds them equal.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


def example(text: str) -> str:
    """The first Python block of the README."""
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


def run_example(text: str) -> dict[str, Any]:
    """The names that the README's example leaves behind."""
    names: dict[str, Any] = {}
    exec(compile(example(text), str(README), "exec"), names)
    return names


def functions(ir: str) -> list[str]:
    """The functions of printed IR, one by one, without the module around them."""
    lines = [line.removeprefix("  ") for line in ir.splitlines()[1:-1]]
    return re.split(r"\n(?=func\.func)", "\n".join(lines).rstrip())


def fenced(text: str, language: str = "") -> str:
    """A block of code."""
    return f"```{language}\n{text}\n```"


def demo() -> str:
    """What ``make demo`` prints, without the host's seconds."""
    run = [sys.executable, str(ROOT / "examples" / "demo.py")]
    out = subprocess.run(run, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    lines = [line.rstrip() for line in out.splitlines() if not line.startswith("ready in")]
    return "\n".join(lines)


def presets() -> str:
    """A row a preset."""
    from kpu_ir import Machine
    from kpu_ir.report.words import size

    rows = [
        "| preset | array | L3 | L2 | external memory | peak (f32) |",
        "|---|---|---|---|---|---|",
    ]
    for name in Machine.presets():
        m = Machine.preset(name)
        rate = m.bandwidth["dma"] * m.clock_hz / 1e9
        rows.append(
            f"| `{name}` | {m.fabric.rows} x {m.fabric.columns} | {size(m.l3.bytes)} "
            f"| {size(m.l2.bytes)} | {rate:.0f} GB/s | {m.peak_flops() / 1e9:,.0f} GFLOP/s |"
        )
    return "\n".join(rows)


SHOWN = ("model", "error", "cycles", "utilization", "cycles / bound", "wall / onnxruntime")
"""Columns of docs/models.md that the README shows."""


def models() -> str:
    """The table of docs/models.md, without the columns of the host."""
    lines = (ROOT / "docs" / "models.md").read_text().splitlines()
    rows = [[c.strip() for c in one.strip("|").split("|")] for one in lines if one[:1] == "|"]
    head = rows[0]
    # A limit stands to the right of the figure that it is for.
    found: list[list[str]] = []
    for row in rows:
        cells: list[str] = []
        for name in SHOWN:
            at = head.index(name)
            limited = head[at + 1 : at + 2] == ["limit"] and row is not head and row is not rows[1]
            more = row[at + 1] if limited else ""
            limit = "" if more in ("", "-") else f" ({more})"
            cells.append(row[at] + limit)
        found.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in found)


def blocks(text: str) -> dict[str, str]:
    """Each block as it should be."""
    program = run_example(text)["program"]
    tile, dma = functions(program.ir("tile")), functions(program.ir("dma"))
    return {
        "kernel": fenced(functions(program.ir("kernel"))[0], "mlir"),
        "tile": fenced("\n".join(tile[:2]), "mlir"),
        "dma": fenced(dma[1], "mlir"),
        "presets": presets(),
        "models": models(),
        "demo": fenced(demo()),
    }


def filled(text: str) -> str:
    """The README with its blocks made anew."""
    for name, block in blocks(text).items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        before, found, rest = text.partition(begin)
        assert found, f"README.md has no block '{name}'"
        text = before + begin + block + "\n" + end + rest.partition(end)[2]
    return text


def main() -> None:
    """Rewrite README.md."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["KPU_IR_CACHE"] = folder
        README.write_text(filled(README.read_text()))


if __name__ == "__main__":
    main()
