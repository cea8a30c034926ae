"""No program is slower than the same network with less fused, or with nothing pinned."""

import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpu_ir import Graph, Machine, compile
from kpu_ir.pipeline import Options, passes_for
from kpu_ir.sim.program.program import load_program
from kpu_ir.sim.time.model import time_program
from kpu_ir.tuning.session import session

DRAWS = int(os.environ.get("KPU_DRAWS", "4"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path))


@st.composite
def networks(draw):
    """Products, functions, sums with what came before, norms and transpositions, one after the
    other."""
    extent = st.sampled_from([16, 17, 48, 64, 96, 160])
    g = Graph()
    rows, width = draw(extent), draw(extent)
    x = first = g.input("x", (rows, width))
    for n in range(draw(st.integers(2, 4))):
        kind = draw(
            st.sampled_from(["product", "product", "gelu", "relu", "norm", "add", "branch"])
        )
        if kind == "product":
            width = draw(extent)
            x = x @ g.constant(np.ones((x.shape[1], width), np.float32))
        elif kind == "branch":
            w = np.ones((x.shape[1], 32), np.float32)
            x = (x @ g.constant(w)).relu() + x @ g.constant(w)
        elif kind == "norm":
            x = g.normalize(x, [1])
        elif kind == "add":
            x = x + (first if x.shape == first.shape else g.input(f"b{n}", (x.shape[1],)))
        else:
            x = x.gelu() if kind == "gelu" else x.relu()
    g.output("y", x)
    return g


def without_pins(graph, machine):
    """Cycles of a program in which nothing is pinned."""
    module = graph.module()
    module = compile(graph, machine, search="none", fuse="none").stages["kernel"].clone()
    with session():
        for one in passes_for(module, Options()):
            if one.name != "kernel-pin-l3":
                one.apply(None, module)
    return time_program(load_program(module, machine)).cycles


@settings(max_examples=DRAWS, deadline=None, derandomize=True)
@given(networks(), st.sampled_from(["default", "large_l3"]))
def test_no_program_is_slower_than_with_less_decided(graph, machine):
    machine = Machine.preset(machine)
    cycles = compile(graph, machine).cycles
    for fuse in ("epilogue", "none"):
        assert cycles <= compile(graph, machine, fuse=fuse).cycles
    assert cycles <= without_pins(graph, machine)


def test_a_feed_forward_block_is_two_kernels_where_that_is_faster():
    g = Graph()
    h = (g.input("x", (48, 64)) @ g.input("w", (64, 160)) + g.input("b", (160,))).gelu()
    g.output("y", h @ g.input("v", (160, 64)))
    whole = compile(g)
    (fusion,) = (c for c in whole.fusion if c.kind == "fusion")
    (pinning,) = (c for c in whole.fusion if c.kind == "pinning")
    assert not fusion.fuse
    assert pinning.fuse
    assert whole.cycles < replace(fusion).fused.cycles
