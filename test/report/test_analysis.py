"""The analysis: its parts add up, exactly."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpu_ir.frontends.python.graph import Graph
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.machine import Machine
from kpu_ir.pipeline import compile
from kpu_ir.report.analysis import (
    allocated,
    analyse,
    common,
    curve,
    merged,
    overlap,
    reuse,
    thinned,
)


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
