"""``kpu-translate``: programs as files that people and other tools read, and back."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence

from kpu_ir.support.errors import KpuError
from kpu_ir.tools.guard import Parser, guarded

OUT = {
    "program-to-json": "machine, memory, rings, a queue an engine, kernels, calls, as JSON",
    "program-to-asm": "the same as a listing for people",
    "schedule-to-json": "the schedules of kernels",
    "trace-to-csv": "a run, a row for each operation and engine",
}
BACK = {
    "json-to-program": "a .kpu or .mlir file, from JSON",
    "asm-to-program": "a .kpu or .mlir file, from a listing",
}


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = Parser(
        "kpu-translate",
        description="Write a program as JSON, a listing or a table, and read it again "
        "(docs/translate.md).",
    )
    kinds = p.add_mutually_exclusive_group(required=True)
    for name, help in (OUT | BACK).items():
        kinds.add_argument(f"--{name}", action="store_const", dest="kind", const=name, help=help)
    p.add_argument("input", help="a program (.kpu, .mlir, .onnx), or what one was written as")
    p.add_argument("-o", dest="output", metavar="FILE",
                   help="write here (default: standard output; IR text for programs)")  # fmt: skip
    p.add_argument("--weights", metavar="FILE",
                   help="large constants by their hash, .npz: written with a program, read with what "
                        "becomes one (.kpu as well); without it such a program has a time, no values")  # fmt: skip
    return p


def work(args: Sequence[str] | None) -> int:
    """Run the tool. Raises ``KpuError`` for what was wrong."""
    given = parser().parse_args(args)
    if given.kind in BACK:
        return _back(given)
    from kpu_ir.translate import files, tables

    if given.weights and given.kind not in ("program-to-json", "program-to-asm"):
        raise KpuError(f"--weights says nothing to --{given.kind}", hint="leave it out")
    program = files.program_at(given.input)
    if given.kind == "program-to-json":
        text: Iterable[str] = [files.as_json(program)]
    elif given.kind == "program-to-asm":
        text = [files.as_asm(program)]
    elif given.kind == "schedule-to-json":
        text = [json.dumps(tables.schedules(program), indent=1) + "\n"]
    else:
        text = tables.trace(program)
    if given.weights:
        files.write_weights(given.weights, program)
    _write(text, given.output)
    return 0


def _back(given: argparse.Namespace) -> int:
    from kpu_ir.text.printing import print_module
    from kpu_ir.translate import files

    weights = files.read_weights(given.weights) if given.weights else {}
    read = files.read_json if given.kind == "json-to-program" else files.read_asm
    program = read(given.input, weights)
    if given.output:
        files.write_program(program, given.output)
    else:
        _write([print_module(program.stages["dma"], None)], None)
    if files.missing_values(program):
        print(
            "kpu-translate: its large constants have no values: it can be timed, not run "
            "(--weights gives them)",
            file=sys.stderr,
        )
    return 0


def _write(text: Iterable[str], path: str | None) -> None:
    if path is None:
        sys.stdout.writelines(text)
        return
    from kpu_ir.support.files import write_atomically

    write_atomically(path, (part.encode(errors="backslashreplace") for part in text))


def main(args: Sequence[str] | None = None) -> int:
    """Run the tool; 0, or 1 after a message on stderr."""
    return guarded("kpu-translate", lambda: work(args))


if __name__ == "__main__":
    sys.exit(main())
