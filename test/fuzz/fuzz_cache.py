"""Any bytes as what a cache holds, of schedules or of programs: a model compiles all the same, with the
same values.

The first byte says which of the two the others are.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import harness
import numpy as np

with harness.instrumented(__name__):
    import fuzz_saved

    import kpu_ir
    import kpu_ir.program.cache
    import kpu_ir.tuning.cache
    from kpu_ir.support.errors import KpuError

LARGEST = 1 << 17
SCHEDULES, PROGRAM = b"s", b"p"


@cache
def folder() -> harness.Folder:
    found = harness.Folder()
    os.environ["KPU_IR_CACHE"] = str(found.path / "cache")
    os.environ["KPU_IR_WORKERS"] = "1"
    g = kpu_ir.Graph()
    w = np.random.default_rng(0).standard_normal((24, 40)).astype(np.float32)
    g.output("y", (g.input("x", (20, 24)) @ g.constant(w)).relu())
    found.file("m.mlir", kpu_ir.compile(g, search="none").ir("kernel", None).encode())
    return found


@cache
def kept() -> tuple[bytes, str, bytes]:
    """The cache of schedules, and the name and the bytes of the program, as the first run leaves
    them."""
    load()
    cache = folder().path / "cache"
    (program,) = cache.glob("programs/*.kpu")
    return (cache / "schedules.json").read_bytes(), program.name, program.read_bytes()


@cache
def expected() -> np.ndarray:
    return load()


def load() -> np.ndarray:
    """The model's output."""
    program = kpu_ir.load(folder().path / "m.mlir", search="quick")
    return program(x=np.ones((20, 24), np.float32))["y"]


def run(data: bytes) -> None:
    """Compile the model with what the cache holds."""
    if not 0 < len(data) <= LARGEST:
        return
    schedules, name, _ = kept()
    want = expected()
    cache = folder().path / "cache"
    broken = data[:1] == PROGRAM
    write(cache / "schedules.json", schedules if broken else data[1:])
    write(cache / "programs" / name, data[1:] if broken else None)
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        if broken:  # a program with right checksums is believed, and may be wrong
            try:
                load()
            except KpuError as e:
                harness.clean(e)
            return
        np.testing.assert_allclose(load(), want, rtol=1e-4, atol=1e-4)


def write(path: Path, data: bytes | None) -> None:
    """A file of its owner's alone, or none."""
    path.unlink(missing_ok=True)
    if data is not None:
        path.write_bytes(data)
        path.chmod(0o600)


def mutate(data: bytes, size: int, seed: int) -> bytes:
    """A value somewhere in the JSON, or in the program."""
    rng = random.Random(seed)
    if not data or rng.random() < 0.1:
        return harness.mutated(data, size)
    if data[:1] == PROGRAM:
        return PROGRAM + fuzz_saved.mutate(data[1:], size - 1, seed)
    return SCHEDULES + fuzz_saved.changed(data[1:], rng)[: size - 1]


def seeds() -> Iterator[bytes]:
    """What a run leaves, and what is nearly that."""
    schedules, _, program = kept()
    yield SCHEDULES + schedules
    yield PROGRAM + program
    found = json.loads(schedules)
    for change in ({"tile": [1, 1, 1]}, {"dataflow": "ws"}, {"depth": 4}, {"rhs": "l3"}):
        entries = {key: {**entry, **change} for key, entry in found["entries"].items()}
        yield SCHEDULES + json.dumps({**found, "entries": entries}).encode()


if __name__ == "__main__":
    harness.fuzz(run, mutate)
