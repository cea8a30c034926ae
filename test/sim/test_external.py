"""External memory: runs, bursts, rows, against a published kind of measurement and a bank by bank model."""

import random
from itertools import product
from math import prod

import pytest
from bank_model import busy
from hypothesis import given
from hypothesis import strategies as st

from kpu_ir.bench.validate import MEASURED, pattern
from kpu_ir.machine import Machine
from kpu_ir.machine.costs import COSTS
from kpu_ir.machine.settings import flat
from kpu_ir.nest.records import Affine
from kpu_ir.sim.time.external import load
from kpu_ir.sim.time.runs import Runs, entered, runs_of

MEMORY = Machine.preset("default").external
RATE = 8

SIZES = {
    "random": (32, 128, 512, 1024, 4096),
    "16 KiB": (32, 128, 512, 1024),
    "sequential": (1 << 20,),
}
"""Of contiguous bytes; the others of ``MEASURED`` are told, good or bad, by ``kpu-bench validate``."""
CASES = [(kind, size) for kind, sizes in SIZES.items() for size in sizes]


def share(runs: Runs, cycles: float, refresh: bool) -> float:
    left = 1 - MEMORY.refresh_cycles / MEMORY.refresh_interval if refresh else 1.0
    return left * runs.number * runs.bits / 8 / cycles / RATE


@pytest.mark.parametrize(("kind", "size"), CASES)
def test_a_channel_reaches_what_was_measured(kind, size):
    runs = pattern(kind, size)
    got = share(runs, float(load(runs, MEMORY, 1, RATE).cycles), refresh=True)
    assert abs(got - MEASURED[kind][size]) <= 0.05


@pytest.mark.parametrize(("kind", "size"), CASES)
def test_a_model_of_banks_agrees(kind, size):
    """A second reading, burst by burst."""
    runs, draw = pattern(kind, size), random.Random(1)
    if kind == "random":
        starts = [32 * draw.randrange(1 << 25) for _ in range(runs.number)]
    else:
        starts = [16384 * i for i in range(runs.number)]
    bursts = [a + 32 * i for a in starts for i in range(size // 32)][: 1 << 12]
    formula = share(runs, float(load(runs, MEMORY, 1, RATE).cycles), refresh=False)
    counted = len(bursts) * 32 / RATE / busy(bursts, MEMORY, RATE)
    assert abs(formula - counted) <= 0.1


@given(
    st.integers(1, 700), st.sampled_from([8, 32, 96, 256]), st.integers(0, 999), st.integers(0, 999)
)
def test_units_entered_are_an_average(bits, unit, offset, grain):
    starts = [offset + i * grain for i in range(unit)]  # all residues, each as often
    ends = [-(-(s + bits) // unit) - s // unit for s in starts]
    assert entered(bits, unit, offset, grain) * unit == sum(ends)


@given(st.data())
def test_runs_are_those_of_the_block(data):
    """Element by element."""
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    extents = tuple(data.draw(st.integers(1, n)) for n in shape)
    at = tuple(data.draw(st.integers(0, n - e)) for n, e in zip(shape, extents))
    bits = data.draw(st.sampled_from([4, 8, 32]))
    runs = runs_of(shape, extents, bits, [Affine(a) for a in at])
    strides = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
    elements = {
        sum((a + i) * s for a, i, s in zip(at, index, strides))
        for index in product(*map(range, extents))
    }
    begins = [e for e in elements if e - 1 not in elements]
    found = {runs.offset}
    for n, pitch in runs.counts:
        found = {start + i * pitch for start in found for i in range(n)}
    assert runs.number * runs.bits == bits * len(elements)
    assert {bits * b for b in begins} <= found  # runs that touch may be told apart


def test_a_loop_says_how_a_run_may_begin():
    offsets = (Affine(0, ((0, 1),)), Affine(4, ((1, 1),)))
    runs = runs_of((64, 100), (1, 3), 32, offsets, [range(0, 64), range(0, 100, 10)])
    assert (runs.bits, runs.number, runs.offset, runs.grain) == (96, 1, 128, 320)
    assert runs.entered(256) == entered(96, 256, 128, 64)


@pytest.mark.parametrize("extents", [(0, 8), (4, 0), (4, 0, 5)])
def test_a_block_of_nothing_but_padding_has_no_runs(extents):
    assert runs_of((10, 16, 8)[: len(extents)], extents, 32).bits == 0


def test_no_cost_is_named_twice_and_all_are_nothing_on_an_ideal_machine():
    keys = [key for cost in COSTS.values() for key in cost]
    assert len(keys) == len(set(keys))
    ideal, default = Machine.preset("ideal"), Machine.preset("default")
    assert not ideal.costs
    assert set(default.costs) == set(COSTS)
    assert default.without(COSTS).costs == ()


def test_ideal_is_default_but_for_its_costs():
    a, b = (dict(flat(Machine.preset(name).to_dict())) for name in ("ideal", "default"))
    costs = {key for cost in COSTS.values() for key in cost}
    beside = {"external.activate_interval", "external.row_cycle", "external.row_miss"}  # of rows
    beside |= {"vector.initiation_interval.requantize", "name"}
    beside |= {key for key in a if key.startswith(("energy.activation", "energy.vector"))}
    beside |= {"energy.refresh", "energy.background"}
    assert {key for key in a if a[key] != b[key]} == costs | beside
