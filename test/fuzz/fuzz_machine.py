"""Any text as a machine's TOML: a machine that a network runs on, or one KpuError."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from functools import cache

import harness
import numpy as np

with harness.instrumented(__name__):
    import kpu_ir
    import kpu_ir.machine.machine
    import kpu_ir.pipeline
    from kpu_ir.machine.settings import flat
    from kpu_ir.support.errors import KpuError

LARGEST = 1 << 14
VALUES = (
    "0", "1", "-1", "2", "3", "7", "16", "64", "1000000", "1099511627776", "1e300", "5e-324", "0.5",
    "inf", "nan", "true", "'x'", "''", "[]", "[1]", "{}", "{f32 = 1}",
    # No hexadecimal or date is what any key wants.
    "0x10", "1979-05-27",
)  # fmt: skip


@cache
def folder() -> harness.Folder:
    return harness.Folder()


@cache
def graph() -> kpu_ir.Graph:
    g = kpu_ir.Graph()
    h = (g.input("x", (5, 12)) @ g.input("w", (12, 20))).relu()
    g.output("y", h.softmax(-1).transpose((1, 0)))
    stored = g.quantize(h, 0.05, 0, "i8")
    g.output("z", g.matmul(stored, g.constant(np.ones((20, 7)), "i8")))
    g.output(
        "v",
        g.input("f", (3, 20), "f16")
        @ g.dequantize(g.constant(np.ones((20, 6)), "i4"), 0.5, dtype="f16"),
    )
    return g


def run(data: bytes) -> None:
    """Read the machine, and run a small network on it."""
    if len(data) > LARGEST:
        return
    path = folder().file("m.toml", data)
    try:
        machine = kpu_ir.Machine.load(path)
        repr(machine)
        harness.used(kpu_ir.compile(graph(), machine, search="none"), folder(), data)
    except KpuError as e:
        harness.clean(e)


def mutate(data: bytes, size: int, seed: int) -> bytes:
    """A value, a key or a line changed."""
    rng = random.Random(seed)
    lines = data.split(b"\n")
    if rng.random() < 0.15:
        return harness.mutated(data, size)
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.choice(("value", "value", "value", "drop", "double", "move")):
        case "value" if b"=" in lines[i]:
            key = lines[i].split(b"=")[0]
            lines[i] = key + b"= " + rng.choice(VALUES).encode()
        case "drop":
            del lines[i]
        case "double":
            lines.insert(j, lines[i])
        case "move":
            lines[i], lines[j] = lines[j], lines[i]
        case _:
            lines[i] = re.sub(rb"\d+", rng.choice(VALUES).encode(), lines[i], count=1)
    return b"\n".join(lines)[:size]


def seeds() -> Iterator[bytes]:
    """Presets, whole and by a difference."""
    for name in ("default", "minimal"):
        values = flat(kpu_ir.Machine.preset(name).to_dict())
        yield "\n".join(
            f"{key} = {value!r}".replace("True", "true") for key, value in values
        ).encode()
    yield b'base = "default"\nname = "wide"\n[fabric]\nrows = 8\ncolumns = 32\n[dma]\nchannels = 1\n'
    yield b'base = "minimal"\n[energy.mac]\nf32 = 0.5\n[l2]\nbanks = 2\n'


if __name__ == "__main__":
    harness.fuzz(run, mutate)
