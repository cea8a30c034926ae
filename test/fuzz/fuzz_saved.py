"""Any bytes as a saved program: what was saved, or one KpuError.

Checksums refuse nearly every change, so the mutator mostly puts right ones on: what reads the
header, the IR and the weights is reached.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import harness
import numpy as np

with harness.instrumented(__name__):
    import kpu_ir
    import kpu_ir.program.saved
    from kpu_ir.program import container
    from kpu_ir.support.errors import KpuError

LARGEST = 1 << 17
"""Bytes of a file."""
VALUES = (None, True, 0, -1, 1 << 40, 1.5, "", "dma", "none", [], {}, [1], [[0, "x"]])


@cache
def folder() -> harness.Folder:
    return harness.Folder()


def run(data: bytes) -> None:
    """Open a file and use all of what came out."""
    if len(data) > LARGEST:
        return
    path = folder().file("p.kpu", data)
    try:
        harness.used(kpu_ir.open(path), folder(), data)
    except KpuError as e:
        harness.clean(e)


def split(data: bytes) -> tuple[bytes, dict[str, bytes]] | None:
    """The header and the parts of a file whose table can be read, right or wrong."""
    try:
        _, _, length = container.FIXED.unpack(data[: container.FIXED.size])
        at = container.PROLOGUE + length
        header = json.loads(data[container.PROLOGUE : at])
        parts: dict[str, bytes] = {}
        for name, size, _ in header.pop("parts"):
            at = container.aligned(at)
            parts[str(name)] = data[at : at + size]
            at += size
        return json.dumps(header).encode(), parts
    except Exception:
        return None


def sealed(header: bytes, parts: dict[str, bytes]) -> bytes:
    """A file with right checksums, whatever the header is."""
    table = [[name, len(p), hashlib.sha256(p).hexdigest()] for name, p in parts.items()]
    rows = f', "parts": {json.dumps(table)}}}'.encode()
    text = header.rstrip()[:-1] + rows if header.rstrip().endswith(b"}") else header
    fixed = container.FIXED.pack(container.MAGIC, container.VERSION, len(text))
    data = fixed + hashlib.sha256(fixed + text).digest() + text
    for part in parts.values():
        data += bytes(container.aligned(len(data)) - len(data)) + part
    return data


def mutate(data: bytes, size: int, seed: int) -> bytes:
    """A change with right checksums, sometimes with wrong ones."""
    rng = random.Random(seed)
    found = split(data)
    if found is None or rng.random() < 0.05:
        return harness.mutated(data, size)
    header, parts = found
    what = rng.choice(("header", "value", "part", "text", "text", "text", "drop"))
    names = list(parts)
    texts = [name for name in names if not name.startswith("w")]
    if what == "header" or not names:
        header = harness.mutated(header, len(header) + 64)
    elif what == "value":
        header = changed(header, rng)
    elif what == "drop":
        parts.pop(rng.choice(names))
    elif what == "part" or not texts:
        name = rng.choice(names)
        parts[name] = harness.mutated(parts[name], len(parts[name]) + 64)
    else:
        name = rng.choice(texts)
        parts[name] = edited(parts[name], rng)
    return sealed(header, parts)[:size]


def changed(header: bytes, rng: random.Random) -> bytes:
    """Another value somewhere in the header."""
    try:
        tree = json.loads(header)
    except ValueError:
        return header
    places: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                waiting.append(node[key])
    if not places:
        return header
    node, key = rng.choice(places)
    if rng.random() < 0.2:
        del node[key]
    else:
        node[key] = rng.choice(VALUES)
    return json.dumps(tree).encode()


def edited(text: bytes, rng: random.Random) -> bytes:
    """IR text with a word, a number or a line changed, so that most of it still parses."""
    import re

    lines = text.split(b"\n")
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    words = [m for m in re.finditer(rb"[%@!]?[\w.]+", lines[i])]
    match rng.choice(("drop", "double", "swap", "word", "number", "number", "raw")):
        case "drop":
            del lines[i]
        case "double":
            lines.insert(j, lines[i])
        case "swap":
            lines[i], lines[j] = lines[j], lines[i]
        case "word" if words:
            others = re.findall(rb"[%@!]?[\w.]+", lines[j]) or [b""]
            m = rng.choice(words)
            lines[i] = lines[i][: m.start()] + rng.choice(others) + lines[i][m.end() :]
        case "number" if numbers := list(re.finditer(rb"-?\d+", lines[i])):
            m = rng.choice(numbers)
            n = rng.choice((0, 1, -1, 3, 64, 4096, 1 << 31, 1 << 40, int(m[0]) + 1, int(m[0]) * 2))
            lines[i] = lines[i][: m.start()] + str(n).encode() + lines[i][m.end() :]
        case _:
            lines[i] = harness.mutated(lines[i], len(lines[i]) + 16)
    return b"\n".join(lines)


def programs() -> Iterator[kpu_ir.pipeline.Compiled]:
    """Small programs of each kind of kernel."""
    rng = np.random.default_rng(0)

    def weights(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32)

    g = kpu_ir.Graph()
    g.output("y", (g.input("x", (4, 8)) @ g.constant(weights(8, 8))).relu())
    yield kpu_ir.compile(g, search="none", fuse="none")
    g = kpu_ir.Graph()
    x = g.input("x", (4, 8))
    h = x @ g.constant(weights(8, 16))
    g.output("y", (h + g.constant(weights(16))).relu() @ g.constant(weights(16, 8)))
    yield kpu_ir.compile(g, search="none")
    g = kpu_ir.Graph()
    x = g.input("x", (3, 40))
    g.output("y", x.softmax(-1))
    g.output("z", g.gather(x, g.constant(np.array([2, 0], np.int64))))
    yield kpu_ir.compile(g, search="none")
    g = kpu_ir.Graph()  # stored integers, and what stands around their product
    q = g.quantize(g.input("x", (4, 8)), 0.05, 3, "ui8")
    stored = g.constant(rng.integers(-128, 128, (8, 12)).astype(np.int8))
    each = g.constant(np.full(12, 0.01, np.float32))
    sums = g.dequantize(q, 0.05, 3) @ g.dequantize(stored, each, axis=1)
    g.output("y", g.quantize(sums.relu(), 0.1, 5, "i8"))
    yield kpu_ir.compile(g, search="none")
    g = kpu_ir.Graph()  # weights that stay in 4 bits
    packed = g.constant(rng.integers(-8, 8, (16, 6)), "i4")
    scale = g.constant(np.full(6, 0.01, np.float16))
    g.output("y", g.input("x", (3, 16), "f16") @ g.dequantize(packed, scale, axis=1))
    yield kpu_ir.compile(g, search="none")


def seeds() -> Iterator[bytes]:
    """Saved programs, and one without the levels that are not needed to run it."""
    for program in programs():
        path = folder().path / "seed.kpu"
        path.unlink(missing_ok=True)
        program.save(path)
        data = path.read_bytes()
        yield data
        header, parts = split(data) or (b"{}", {})
        yield sealed(header, {n: p for n, p in parts.items() if n not in ("tile", "kernel")})


if __name__ == "__main__":
    harness.fuzz(run, mutate)
