"""Write into docs/tutorial.md what its commands print: ``python docs/make_tutorial.py``.

Blocks of Python share their names and run in order, in an empty folder. What they print stands in
the block of ``text`` or ``mlir`` that follows. Lines of ``sh`` that begin with ``$`` are commands,
and what they print follows them. A block below ``<!-- file: NAME -->`` is a file.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "tutorial.md"

BLOCK = re.compile(
    r"(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<kind>\w+)\n(?P<body>.*?)```\n"
    r"(?P<out>```(?P<out_kind>text|mlir)\n.*?```\n)?",
    re.DOTALL,
)


def shortened(text: str) -> str:
    """Without the machine that a module carries, and without the host's seconds."""
    text = re.sub(r"kpu\.machine = \{.*\}\} \{\n", "kpu.machine = {...}} {\n", text)
    return "".join(line for line in text.splitlines(True) if not line.startswith("ready in"))


def command(line: str) -> str:
    """What a command prints, its errors too; the tools are those of this checkout."""
    tools = {name: f'"{sys.executable}" -m kpu_ir.tools.{name}' for name in ("opt", "run")}
    line = re.sub(r"\bkpu-(opt|run)\b", lambda m: tools[m[1]], line)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    return subprocess.run(
        line, shell=True, text=True, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ).stdout


def shell(body: str) -> str:
    """A block of commands, each followed by what it prints."""
    parts: list[str] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            out = shortened(command(line[2:]))
            lines = [kept.rstrip() for kept in out.splitlines()]
            while lines and not lines[-1]:
                lines.pop()
            parts += [line, *lines]
    return "\n".join(parts) + "\n"


def python(body: str, names: dict[str, Any]) -> str:
    """What a block of Python prints."""
    with contextlib.redirect_stdout(out := StringIO()):
        exec(compile(body, str(PAGE), "exec", dont_inherit=True), names)
    return shortened(out.getvalue()).rstrip("\n") + "\n"


def filled(text: str) -> str:
    """The page with what its blocks print; files are written where this process is."""
    names: dict[str, Any] = {"__name__": "__main__"}

    def one(match: re.Match[str]) -> str:
        kind, body = match["kind"], match["body"]
        if match["file"]:
            Path(match["file"]).write_text(body)
        if kind == "sh":
            return f"```sh\n{shell(body)}```\n" + (match["out"] or "")
        if kind != "python":
            return match[0]
        printed = python(body, names)
        if not match["out"]:
            assert not printed.strip(), f"nothing shows what this prints:\n{body}"
            return match[0]
        return f"```python\n{body}```\n```{match['out_kind']}\n{printed}```\n"

    return BLOCK.sub(one, text)


def main() -> None:
    """Rewrite docs/tutorial.md."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    text = PAGE.read_text()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        os.environ["KPU_IR_CACHE"] = str(Path(folder) / "cache")
        PAGE.write_text(filled(text))


if __name__ == "__main__":
    main()
