"""What the fuzz targets share: each runs under atheris, or once on given bytes without it."""

from __future__ import annotations

import os
import resource
import shlex
import sys
import tempfile
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
