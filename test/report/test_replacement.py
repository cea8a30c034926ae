"""What is loaded beside what an optimal replacement would load."""

from itertools import product

from draws import drawing
from hypothesis import given
from hypothesis import strategies as st

import kpu_ir
from kpu_ir import Graph, Schedule
from kpu_ir.report.html import report
from kpu_ir.report.replacement import optimal, reuse_of

USES = st.lists(st.sampled_from("abcde"), min_size=1, max_size=9)


def least(uses: list[str], room: int) -> int:
    """By trying all that may stay."""

    states = {frozenset[str](): 0}
    for block in uses:
        following: dict[frozenset[str], int] = {}
        for held, loads in states.items():
            here = loads + (block not in held)
            every = sorted(held | {block})
            for keep in product([False, True], repeat=len(every)):
                kept = frozenset(b for b, k in zip(every, keep) if k)
                if len(kept) <= room:
                    following[kept] = min(following.get(kept, 99), here)
        states = following
    return min(states.values())


@drawing(40)
@given(USES, st.integers(0, 4))
def test_nothing_loads_less(uses: list[str], room: int):
    assert optimal([((u,), 1) for u in uses], room) == least(uses, room)


def products(n: int, **more: object):
    graph = Graph()
    graph.output("y", graph.input("x", (n, n)) @ graph.input("w", (n, n)))
    schedule = Schedule(tile=(64, 64, 64), dataflow="os", **more)
    return kpu_ir.compile(graph, schedule=schedule, cache=False)


def by_level(compiled):
    (kernel,), left = reuse_of(compiled.program)
    assert not left
    return {row.level: row for row in kernel.levels}


def test_figures_are_those_that_are_counted():
    for more in ({}, {"lhs": "l3"}, {"lhs": "l2", "rhs": "l3"}):
        compiled = products(256, **more)
        rows, counts = by_level(compiled), compiled.timing.counts
        assert rows["l3"].loaded == counts["external.read"]
        assert rows["l2"].loaded == counts["l3.read"] - counts["external.write"]
        assert rows["l3"].once == 2 * 256 * 256 * 4  # each operand
        for row in rows.values():
            assert row.once <= row.optimal <= row.loaded
            assert row.hits + row.misses == row.uses


def test_a_schedule_that_keeps_nothing_is_found():
    """Both operands fit in L3 and in L2: the optimum loads each once, the schedule each tile again."""
    worst, better = by_level(products(128)), by_level(products(128, lhs="l2", rhs="l2"))
    assert worst["l3"].loaded == 2 * worst["l3"].optimal
    assert better["l3"].times == 1
    assert better["l3"].misses < worst["l3"].misses


def test_the_report_says_so():
    compiled = products(128)
    text = report(compiled, compiled.summary(), "command")
    assert "Reuse against the optimum" in text
    assert "Over 1.05 × the optimum: matmul_0 in L3 (2.00 ×)" in text
    compiled = products(64)
    assert "No kernel is over 1.05 × the optimum" in report(compiled, compiled.summary(), "command")
