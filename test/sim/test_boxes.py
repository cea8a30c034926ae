"""Segments and boxes against arrays of counts."""

from itertools import pairwise
from typing import Any

import numpy as np
from draws import drawing
from hypothesis import given
from hypothesis import strategies as st

from kpu_ir.sim.program.boxes import Boxes, counted, fault, segments

MOVES = st.lists(st.tuples(st.integers(-9, 9), st.integers(1, 5)), max_size=3)


def spread(base: int, length: int, moves: list[tuple[int, int]]) -> np.ndarray:
    """How often each of 600 elements is held, element by element; 300 is the first."""
    places = [base]
    for stride, trips in moves:
        places = [p + stride * t for p in places for t in range(trips)]
    held = np.zeros(600, np.int64)
    for place in places:
        held[300 + place : 300 + place + length] += 1
    return held


@drawing(80)
@given(st.integers(-9, 9), st.integers(1, 9), MOVES)
def test_segments_count_what_a_nest_holds(
    base: int, length: int, moves: list[tuple[int, int]]
) -> None:
    held = np.zeros(600, np.int64)
    found = segments(base, length, moves)
    for begin, end, times in found:
        held[300 + begin : 300 + end] += times
    assert (held == spread(base, length, moves)).all()
    assert all(a[1] <= b[0] for a, b in pairwise(found))


@drawing(60)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6), MOVES), min_size=2, max_size=6))
def test_cells_count_what_boxes_hold(drawn: list[Any]) -> None:
    shape = (20, 15)
    boxes, held = [], np.zeros(shape, np.int64)
    for (a, n, moves), (b, m, others) in zip(drawn[::2], drawn[1::2]):
        boxes.append(Boxes((segments(a, n, moves), segments(b, m, others)), 2))
        lines = spread(a, n, moves)[300:320], spread(b, m, others)[300:315]
        held += 2 * np.multiply.outer(*lines)
    cuts, total = counted(boxes, shape)
    for axis, edges in enumerate(cuts):
        total = np.repeat(total, np.diff(edges), axis=axis)
    assert (total == held).all()
    wrong = fault(boxes, shape)
    assert (wrong is None) == bool((held == 1).all())
    if wrong is not None:
        part = held[tuple(slice(a, b) for a, b in zip(wrong.begin, wrong.end))]
        assert part.size
        assert (part == 0).all() if wrong.times == 0 else (part > 1).all()


def test_a_long_loop_costs_as_much_as_a_short_one() -> None:
    assert segments(0, 16, [(16, 1 << 40)]) == ((0, 1 << 44, 1),)
