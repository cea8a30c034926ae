"""The analysis: its parts add up, exactly."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpu_ir.frontends.python.graph import Graph
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.machine import Machine
from kpu_ir.pipeline import compile
from kpu_ir.registry import context
from kpu_ir.report.analysis import (
    BUSY,
    allocated,
    analyse,
    common,
    curve,
    merged,
    overlap,
    reuse,
    thinned,
)
from kpu_ir.sim.program.program import load_program
from kpu_ir.text.parsing import parse_module

KEPT = """
func.func private @out(%x: memref<64x48xf32>, %h: memref<64x48xf32, "l3">) {
  dma.program {
    dma.ring @x3, 2 x <16x48xf32, l3> at 0
    dma.ring @x2, 2 x <16x48xf32, l2> at 0
    tile.for %i = 0 to 64 step 16 {
      %x3 = dma.fetch %x[%i, 0] into @x3 : memref<64x48xf32> -> !tile.tile<16x48xf32, l3>
      %x2 = dma.move %x3[0, 0] into @x2 : !tile.tile<16x48xf32, l3> -> !tile.tile<16x48xf32, l2>
      dma.write %x2, %h[%i, 0] : !tile.tile<16x48xf32, l2> -> memref<64x48xf32, "l3">
    }
  }
  func.return
}
func.func private @in(%h: memref<64x48xf32, "l3">, %y: memref<64x48xf32>) {
  dma.program {
    dma.ring @h2, 2 x <16x48xf32, l2> at 0
    dma.ring @h3, 2 x <16x48xf32, l3> at 0
    tile.for %i = 0 to 64 step 16 {
      %h2 = dma.fetch %h[%i, 0] into @h2 : memref<64x48xf32, "l3"> -> !tile.tile<16x48xf32, l2>
      %h3 = dma.move %h2[0, 0] into @h3 : !tile.tile<16x48xf32, l2> -> !tile.tile<16x48xf32, l3>
      dma.write %h3, %y[%i, 0] : !tile.tile<16x48xf32, l3> -> memref<64x48xf32>
    }
  }
  func.return
}
func.func @main(%x: memref<64x48xf32>) -> memref<64x48xf32> {
  %h = tile.buffer at 65536 : i64 : memref<64x48xf32, "l3">
  %y = tile.buffer : memref<64x48xf32>
  func.call @out(%x, %h) : (memref<64x48xf32>, memref<64x48xf32, "l3">) -> ()
  func.call @in(%h, %y) : (memref<64x48xf32, "l3">, memref<64x48xf32>) -> ()
  func.return %y : memref<64x48xf32>
}
"""


def programs():
    for machine in ("default", "minimal"):
        for m, k, n in ((64, 64, 64), (17, 130, 33), (1, 512, 64), (200, 72, 100)):
            g = Graph()
            y = g.input("x", (m, k)) @ g.input("w", (k, n))
            y = y.gelu() if m > 1 else y
            g.output("y", (y @ g.input("v", (n, 24))) + g.input("b", (24,)))
            yield compile(g, machine, search="none")


@pytest.fixture(scope="module")
def several():
    return list(programs())


def test_the_critical_path_adds_up_to_the_makespan(several):
    for compiled in several:
        found = analyse(compiled.program)
        assert found.cycles == compiled.cycles
        assert sum(s.cycles for s in found.path) == compiled.cycles
        assert sum(s.cycles for s in found.longest()) == compiled.cycles
        assert found.path[0].begin == 0
        for a, b in zip(found.path, found.path[1:]):
            assert a.begin + a.cycles == b.begin


def test_the_critical_path_of_a_bandwidth_bound_kernel_is_the_dma():
    g = Graph()
    g.output("y", g.input("x", (1, 1024)) @ g.input("w", (1024, 1024)))
    found = analyse(compile(g, search="none").program)
    share = sum(s.cycles for s in found.path if s.engine == "dma") / found.cycles
    assert share > 0.8


def test_needed_bytes_fit_in_what_is_allocated_and_that_in_the_machine(several):
    for compiled in several:
        found, rings = analyse(compiled.program), allocated(compiled.program)
        for level in ("l3", "l2"):
            assert 0 < found.peak[level] <= rings[level] <= compiled.machine.capacity[level]
            assert found.live[level][-1][1] == 0
            assert found.live[level][-1][0] <= found.cycles


def test_a_kernel_called_twice_does_not_keep_its_slots_in_between():
    """What stood in a slot is needed until its last reader, not until the next call fills it."""
    g = Graph()
    x = g.input("x", (48, 64))
    for _ in range(4):
        x = (x @ g.constant(np.eye(64, dtype=np.float32))).relu().softmax(-1)
    g.output("y", x)
    compiled = compile(g, search="none", fuse="none")
    assert len(compiled.program.calls) > len(compiled.program.plans)
    found = analyse(compiled.program)
    room = allocated(compiled.program)
    assert all(found.peak[level] <= room[level] for level in room)
    # Slots of other kernels at the same addresses would add up.
    ends = {p.name: max(r.end for r in p.rings if r.level == "l2") for p in compiled.program.plans}
    assert found.peak["l2"] <= max(ends.values())


def test_tensors_in_l3_are_in_use():
    module = parse_module(KEPT, "text", context())
    program = load_program(module, Machine.preset("default"))
    found = analyse(program)
    tensor = 64 * 48 * 4
    assert found.peak["l3"] >= tensor
    assert found.peak["l3"] <= allocated(program)["l3"] <= program.machine.capacity["l3"]


def test_the_path_says_why_its_cycles_passed(several):
    for compiled in several:
        found = analyse(compiled.program)
        parts = [n for part in found.shares().values() for n in part.values()]
        assert sum(parts) == found.cycles
        for here, after in pairwise(found.path):
            assert here.then == after.operation
            assert (here.reason == BUSY) <= (here.engine == after.engine)
        assert sum(e - b for b, e in found.busy["vector"]) == compiled.timing.busy["vector"]


def test_hidden_time_is_a_part_of_the_dmas_time(several):
    for compiled in several:
        found = analyse(compiled.program)
        assert found.dma_busy == compiled.timing.busy["dma"]
        assert 0 <= found.dma_hidden <= found.dma_busy
        assert 0 <= found.hidden <= 1


def test_reuse_multiplies_to_macs_per_external_byte():
    g = Graph()
    g.output("y", g.input("x", (64, 64)) @ g.input("w", (64, 64)))
    # All of k at once: partial sums that come and go in L2 are no reuse of what came from outside.
    whole = Schedule(tile=(64, 64, 64))
    compiled = compile(g, Machine.preset("default"), search="none", schedule=whole)
    counts, factor = compiled.timing.counts, reuse(compiled.timing.counts)
    product = factor["l3"] * factor["l2"] * factor["l1"] * factor["array"]
    assert product == pytest.approx(counts["macs.f32"] / counts["external.read"])
    assert overlap(compiled.timing) > 1


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=12), st.data())
def test_unions_and_what_they_share(pairs, data):
    other = data.draw(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=12))
    a, b = ([(x, x + n) for x, n in p] for p in (pairs, other))
    points = [{t for x, y in s for t in range(x, y)} for s in (a, b)]
    assert sum(y - x for x, y in merged(a)) == len(points[0])
    assert common(merged(a), merged(b)) == len(points[0] & points[1])
    heights = dict(curve([(x, y, 1) for x, y in a]))
    level = 0
    for t in range(60):
        level = heights.get(t, level)
        assert level == sum(x <= t < y for x, y in a)


def test_a_thinned_curve_keeps_its_peak():
    points = [(n, n % 7) for n in range(1000)]
    few = thinned(points, 1000, 50)
    assert len(few) == 50
    assert max(b for _, b in few) == 6
    assert thinned(points[:10], 1000, 50) == points[:10]
