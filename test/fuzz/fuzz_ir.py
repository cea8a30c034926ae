"""Any text as IR: a program, or one KpuError."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import harness

with harness.instrumented(__name__):
    import fuzz_saved

    import kpu_ir
    import kpu_ir.frontends.linalg
    from kpu_ir.support.errors import KpuError

LARGEST = 1 << 15
"""Bytes of a text."""


@cache
def folder() -> harness.Folder:
    return harness.Folder()


def run(data: bytes) -> None:
    """Read and compile a module; whatever is wrong with it is a KpuError."""
    if len(data) > LARGEST:
        return
    path = folder().file("p.mlir", data)
    try:
        harness.used(kpu_ir.load(path, search="none", cache=False), folder(), data)
    except KpuError as e:
        harness.clean(e)


def mutate(data: bytes, size: int, seed: int) -> bytes:
    """A word, a number or a line changed."""
    rng = random.Random(seed)
    if not data or rng.random() < 0.1:
        return harness.mutated(data, size)
    for _ in range(rng.choice((1, 1, 2))):
        data = fuzz_saved.edited(data, rng)
    return data[:size]


def seeds() -> Iterator[bytes]:
    """Programs at each level, and the files of the IR tests."""
    for program in fuzz_saved.programs():
        for level in ("kernel", "tile", "dma"):
            yield program.ir(level).encode()
    for path in sorted((Path(__file__).parents[1] / "dialects").rglob("*.mlir")):
        for piece in path.read_text().split("// -----"):
            yield piece.encode()


if __name__ == "__main__":
    harness.fuzz(run, mutate)
