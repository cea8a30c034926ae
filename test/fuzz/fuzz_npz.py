"""Any bytes as a file of inputs: they are computed with, or there is one error.

The mutator knows archives: it changes the headers and the bytes of arrays behind right checksums, and
what the archive says of them.
"""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Iterator
from functools import cache
from typing import Any

import harness
import ml_dtypes
import numpy as np

with harness.instrumented(__name__):
    import kpu_ir
    import kpu_ir.program.arrays
    import kpu_ir.program.inputs
    import kpu_ir.tools.run

LARGEST = 1 << 16


@cache
def folder() -> harness.Folder:
    found = harness.Folder()
    g = kpu_ir.Graph()
    g.output("y", g.input("x", (2, 3)) + g.input("b", (3,)))
    kpu_ir.compile(g, search="none").save(found.path / "p.kpu")
    g = kpu_ir.Graph()  # of types that NumPy has not
    g.output(
        "y", g.input("x", (2, 3), "i4").astype("f32") + g.input("b", (3,), "f8E5M2").astype("f32")
    )
    kpu_ir.compile(g, search="none").save(found.path / "q.kpu")
    return found


def run(data: bytes) -> None:
    """Compute with the file, as inputs and as a batch of them."""
    if len(data) > LARGEST:
        return
    path = folder().file("in.npz", data)
    program = "q.kpu" if len(data) % 2 else "p.kpu"
    command = [str(folder().path / program), "--inputs", str(path)]
    harness.refuses([*command, "--json"])
    harness.refuses([*command, "--batch", "--outputs", str(folder().path / "out.npz"), "--json"])


def mutate(data: bytes, size: int, seed: int) -> bytes:
    """An array changed, or the archive around it."""
    rng = random.Random(seed)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = [(i.filename, archive.read(i)) for i in archive.infolist()][:8]
    except Exception:
        return harness.mutated(data, size)
    if not parts or rng.random() < 0.3:
        return harness.mutated(data, size)
    i = rng.randrange(len(parts))
    name, array = parts[i]
    match rng.choice(("header", "header", "bytes", "name", "double", "drop", "shape")):
        case "header":
            array = harness.mutated(array[:128], 160) + array[128:]
        case "bytes":
            array = harness.mutated(array, len(array) + 64)
        case "name":
            name = rng.choice(("x.npy", "b.npy", "y.npy", "x", "", "../x.npy", "\0.npy", name * 2))
        case "double":
            parts.append(parts[i])
        case "drop":
            del parts[i]
            i = -1
        case _:
            shapes = ("()", "(2,)", "(-1, 3)", "(2, 3, 0)", f"({1 << 40}, 3)", "(2.5,)", "'x'")
            head = array[:128].decode("latin-1")
            begin, end = head.find("'shape': "), head.find(", }")
            if 0 < begin < end:
                new = head[: begin + 9] + rng.choice(shapes)
                array = (new + head[end:]).ljust(128).encode("latin-1")[:128] + array[128:]
    if i >= 0:
        parts[i] = name, array
    made = io.BytesIO()
    kind = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    try:
        with zipfile.ZipFile(made, "w", kind) as archive:
            for name, array in parts:
                archive.writestr(name, array)
    except Exception:
        return harness.mutated(data, size)
    return made.getvalue()[:size]


def seeds() -> Iterator[bytes]:
    """Right inputs, a batch of them, other types and orders, and what is no array."""
    x, b = np.ones((2, 3), np.float32), np.arange(3, dtype=np.float32)
    kinds: list[dict[str, Any]] = [
        {"x": x, "b": b},
        {"x": np.stack([x, x]), "b": np.stack([b, b])},
        {"x": x.astype(np.float64), "b": b.astype(np.int64)},
        {"x": np.asfortranarray(x), "b": b.astype(">f4")},
        {"x": np.array([["a", "b", "c"]] * 2), "b": np.array([None] * 3)},
        {"x": x, "b": np.zeros(3, [("a", "f4")])},
        {"x": x.astype(ml_dtypes.int4), "b": b.astype(ml_dtypes.float8_e5m2)},
        {"x": x.astype(ml_dtypes.uint4), "b": b.astype(ml_dtypes.bfloat16)},
    ]
    for arrays in kinds:
        for write in (np.savez, np.savez_compressed):
            made = io.BytesIO()
            write(made, **arrays)
            yield made.getvalue()


if __name__ == "__main__":
    harness.fuzz(run, mutate)
