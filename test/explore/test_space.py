"""Knobs: lists, ranges, ties and conditions."""

import pytest
from draws import drawing
from hypothesis import given
from hypothesis import strategies as st

from kpu_ir import KpuError, Machine
from kpu_ir.explore.pareto import front, hypervolume, ranks
from kpu_ir.explore.samplers import random
from kpu_ir.explore.space import Knob, Space
from kpu_ir.explore.spec import machine_settings

BASE = machine_settings(Machine.preset("default"))


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ([4, 8], (4, 8)),
        ({"from": 1, "to": 7, "step": 3}, (1, 4, 7)),
        ({"from": 4, "to": 40, "log": 2}, (4, 8, 16, 32)),
        ({"from": 1e9, "to": 4e9, "count": 3, "log": True}, (1e9, 2e9, 4e9)),
        ({"from": 0.5, "to": 1.0, "step": 0.25}, (0.5, 0.75, 1.0)),
        (3, (3,)),
    ],
)
def test_values(given, values):
    assert Knob.of("x", given).values == values


@pytest.mark.parametrize(
    "given",
    [[], [1, 1], [[1]], {"from": 1}, {"from": 3, "to": 1}, {"values": [1], "from": 1},
     {"from": 0, "to": 3, "log": 2}, {"from": 0.0, "to": 1.0}, {"values": [1], "else": 3},
     {"from": 1, "to": 9, "wat": 3}, {"from": 1, "to": 1e9}, {"from": 1, "to": 3, "step": 0},
     {"values": [1], "when": 3}, [float("nan")]],
)  # fmt: skip
def test_no_knob(given):
    with pytest.raises(KpuError):
        Knob.of("x", given)


def space(**knobs):
    return Space(tuple(Knob.of(n.replace("_", ".", 1), v) for n, v in knobs.items()), BASE)


def test_ties_and_conditions():
    found = space(
        fabric_columns="fabric.rows * 2",
        fabric_rows=[8, 16],
        l2_banks={"values": [2, 4], "when": "fabric.rows < 16", "else": 8},
    )
    assert len(found) == 4
    assert found.point((0, 1)) == {"fabric.columns": 16, "fabric.rows": 8, "l2.banks": 4}
    assert found.point((1, 1)) == {"fabric.columns": 32, "fabric.rows": 16, "l2.banks": 8}


def test_a_circle_is_refused():
    with pytest.raises(KpuError, match="depend on each other"):
        space(fabric_rows="fabric.columns", fabric_columns="fabric.rows").order()


@drawing(20)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), st.integers(1, 60), st.integers(0, 9))
def test_random_points_are_new_and_the_same_every_time(sizes, points, seed):
    names = ["l2.banks", "l3.tiles", "dma.channels", "mover.channels", "vector.lanes"]
    knobs = tuple(Knob(n, tuple(range(1, k + 1))) for n, k in zip(names, sizes))
    found = Space(knobs, BASE)
    chosen = random(found, points, seed).ask()
    assert len(set(chosen)) == len(chosen) == min(points, len(found)) or len(chosen) > points // 2
    assert chosen == random(found, points, seed).ask()
    assert all(0 <= i < n for choice in chosen for i, n in zip(choice, sizes))


@drawing(20)
@given(st.lists(st.tuples(*[st.integers(0, 5)] * 3), min_size=1, max_size=7))
def test_hypervolume_counts_what_is_covered(points):
    cells = sum(
        any(all(p[i] <= c[i] for i in range(3)) for p in points)
        for c in ((x, y, z) for x in range(6) for y in range(6) for z in range(6))
    )
    assert hypervolume(points, (6, 6, 6)) == cells
    on = front(points)
    assert hypervolume([p for p, f in zip(points, on) if f], (6, 6, 6)) == cells
    assert [r == 0 for r in ranks(points)] == on
