"""What the fuzz targets share: each runs under atheris, or once on given bytes without it."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shlex
import sys
import tempfile
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent / "corpus"
MEMORY = 3 << 30
"""Bytes of address space: an allocation beyond them is a MemoryError, which is a finding."""

Run = Callable[[bytes], None]
Mutate = Callable[[bytes, int, int], bytes]


def instrumented(name: str) -> AbstractContextManager[Any]:
    """Around the imports of a target: their coverage is seen when it is the program that runs."""
    if name != "__main__":
        return nullcontext()
    import atheris

    return atheris.instrument_imports(include=["kpu_ir", "xdsl.parser", "xdsl.utils.mlir_lexer"])


def fuzz(run: Run, mutate: Mutate) -> None:
    """Run under libFuzzer, whose options are the command's."""
    import atheris

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.nice(19)
    # libFuzzer starts its first argument again when it merges: it must be a program.
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "target"
        words = shlex.join([sys.executable, str(Path(sys.argv[0]).resolve())])
        program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        program.chmod(0o755)
        atheris.Setup([str(program), *sys.argv[1:]], run, custom_mutator=mutate)
        atheris.Fuzz()


SMALL, OPERATIONS = 1 << 24, 20_000
"""Bytes of tensors and operations of a program whose values are computed, and that is stepped."""


def used(program: Any, folder: Folder, data: bytes) -> None:
    """Go on with a program that was read: its text, its time, its values, and one of what can be
    written of it, which ``data`` chooses. Raises ``KpuError``, or what is a finding."""
    import numpy as np

    from kpu_ir.interpreters.arguments import drawn
    from kpu_ir.report.precision import differences
    from kpu_ir.report.screen import html, text
    from kpu_ir.report.trace import write_trace

    for level in program.stages:
        program.ir(level)
    assert program.cycles >= 0
    whole = sum(b.bytes for b in program.program.buffers)
    if whole > SMALL or program.timing.operations > OPERATIONS:
        return
    match zlib.crc32(data) % 6:
        case 0:
            program.report(folder.path / "page.html")
        case 1:
            write_trace(program.program, folder.path / "trace.json", None, "")
        case 2:
            program.save(folder.path / "saved.kpu")
            import kpu_ir

            assert kpu_ir.open(folder.path / "saved.kpu").cycles == program.cycles
        case 3:
            json.loads(program.summary().to_json())
            assert program.profile().rows or not program.program.calls
        case 4:
            text(program.summary())
            html(program.summary())
        case _:
            assert program.time(fast_forward=False).cycles == program.cycles
    inputs = drawn(((port.name, port.type) for port in program.program.inputs), 0)
    with np.errstate(all="ignore"):
        got = program(inputs)
        if not program.has_reference or program.timing.counts.get("lane_ops", 0) > 1 << 22:
            return
        expected = program.reference(inputs)
    assert got.keys() == expected.keys()
    for name, want in expected.items():
        if np.isfinite(want.astype(np.float64)).all() and want.dtype.kind == "f":
            _, apart = differences({name: got[name]}, {name: want})
            assert apart < 0.05, f"{name} is off by {apart:g} of its largest value"


def refuses(arguments: list[str]) -> None:
    """Run ``kpu-run``: it does its work, or says one error."""
    from kpu_ir.tools.run import main

    with tempfile.TemporaryFile("w+") as err, open(os.devnull, "w") as out:  # as real streams are
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(arguments)
        err.seek(0)
        said = err.read()
    assert status in (0, 1)
    assert said.count("kpu-run: error: ") == status, said
    assert len(said) < 1 << 16


def clean(error: Exception) -> None:
    """An error says something, in a few lines."""
    text = str(error)
    if not text.strip() or len(text) > 1 << 20:
        raise AssertionError(f"an error of {len(text)} characters")


def mutated(data: bytes, size: int) -> bytes:
    """libFuzzer's own mutation."""
    import atheris

    return atheris.Mutate(data, size)


class Folder:
    """A folder whose files are written anew for each run: an old one may still be mapped."""

    def __init__(self) -> None:
        self.temporary = tempfile.TemporaryDirectory(
            dir="/dev/shm" if Path("/dev/shm").is_dir() else None
        )
        self.path = Path(self.temporary.name)

    def file(self, name: str, data: bytes) -> Path:
        path = self.path / name
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        return path
