"""Tensors share external memory where no kernel needs both."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest

import kpu_ir
from kpu_ir import Graph, KpuError
from kpu_ir.registry import context
from kpu_ir.text.parsing import parse_module


def layers(count: int) -> Graph:
    """A chain of softmaxes with a shortcut over all of them."""
    g = Graph()
    x = y = g.input("x", (64, 256))
    for _ in range(count):
        y = (y * 2.0).softmax(-1)
    g.output("y", y @ g.input("w", (256, 64)))
    g.output("z", x + y)
    return g


def test_a_chain_takes_two_tensors_at_a_time() -> None:
    sizes = {}
    for count in (2, 4, 12):
        program = kpu_ir.compile(layers(count), search="none", fuse="none")
        sizes[count] = program.program.external_bytes
        summary = program.summary()
        assert summary.external_peak_bytes == sizes[count] < summary.tensor_bytes
        x = np.random.default_rng(count).standard_normal((64, 256)).astype(np.float32)
        w = np.eye(256, 64, dtype=np.float32)
        got, expected = program(x=x, w=w), program.reference({"x": x, "w": w})
        for name in got:
            np.testing.assert_allclose(got[name], expected[name], atol=1e-6)
        assert program.time(fast_forward=False).cycles == program.cycles
    assert sizes[4] == sizes[12]


def test_what_lives_together_is_apart() -> None:
    """Read off the addresses, not asked of the check."""
    program = kpu_ir.compile(layers(5), search="none", fuse="none").program
    last = {p.buffer: len(program.calls) for p in program.outputs}
    first: dict[int, int] = {b.index: -1 for b in program.buffers if b.kind != "temporary"}
    for at, call in enumerate(program.calls):
        for b in call.arguments:
            first.setdefault(b, at)
            last[b] = max(last.get(b, at), at)
    for at in range(len(program.calls)):
        live = [b for b in program.buffers if first.get(b.index, 99) <= at <= last.get(b.index, -2)]
        live.sort(key=lambda b: b.address)
        for one, other in pairwise(live):
            assert one.address + one.bytes <= other.address


def test_an_address_that_is_taken_is_refused() -> None:
    program = kpu_ir.compile(layers(2), search="none", fuse="none")
    text = program.ir("dma")
    places = sorted({int(n) for n in re.findall(r"tile.buffer at (\d+)", text)})
    assert len(places) > 1
    broken = text.replace(f"tile.buffer at {places[1]} :", f"tile.buffer at {places[0]} :")
    with pytest.raises(KpuError, match="share external memory from"):
        kpu_ir.compile(parse_module(broken, "broken.mlir", context()))
    fetch = re.search(r"(dma.fetch %\S+ \[[^\]]*\] into @\w+)", text)
    assert fetch
    pinned = text.replace(fetch[1], f"{fetch[1]} on [0]", 1)
    with pytest.raises(KpuError, match="pinned to channels"):
        kpu_ir.compile(parse_module(pinned, "pinned.mlir", context()))
