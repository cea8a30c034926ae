"""What an operation costs: the formulas against the register-level array, run after run."""

import numpy as np
from draws import drawing
from hypothesis import given
from hypothesis import strategies as st
from xdsl.dialects.builtin import f32, i32

from kpu_ir.lowering.kernel_to_tile.contraction import DATAFLOWS
from kpu_ir.machine import Machine
from kpu_ir.nest import records
from kpu_ir.nest.writing import Nest
from kpu_ir.sim.program.plan import Matmul
from kpu_ir.sim.time.array_model import Run, simulate
from kpu_ir.sim.time.durations import Cost, cost
from kpu_ir.sim.time.energy import energy
from kpu_ir.sim.time.vector import combining

MACHINE = Machine.preset("ideal").with_settings(
    {"fabric.rows": 4, "fabric.columns": 3, "vector.lanes": 3, "streamer.bytes_per_cycle": 1 << 20}
)


def matmul(flow: str, m: int, k: int, n: int, kind=f32) -> Matmul:
    nest = Nest("product", [])
    lhs, rhs, out = (nest.alloc(shape, kind, "t") for shape in ((m, k), (k, n), (m, n)))
    nest.matmul(DATAFLOWS[flow], lhs, rhs, out)
    (product,) = (r for r in nest.function.body if isinstance(r, records.Matmul))
    return Matmul(product, (m, n), batch=1, m=m, n=n, k=k)


def starts(costs: list[Cost]) -> list[int]:
    """When each product starts, by what the ones before it hold."""
    free: dict[str, int] = {}
    found = []
    for c in costs:
        t = max((free.get(h.engine, 0) - h.begin for h in c.holds), default=0)
        t = max(t, 0)
        found.append(t)
        free.update({h.engine: t + h.end for h in c.holds})
    return found


@drawing(25)
@given(
    st.lists(
        st.tuples(st.sampled_from(["os", "ws", "is"]), *[st.integers(1, 9)] * 3),
        min_size=1,
        max_size=4,
    )
)
def test_products_in_a_row_are_never_sooner_than_on_the_array(runs):
    costs = [cost(matmul(*run), MACHINE) for run in runs]
    exact = simulate(
        4, 3, [Run(flow, np.ones((1, m, k)), np.ones((1, k, n)), 1, 1) for flow, m, k, n in runs]
    )
    for ours, c, array in zip(starts(costs), costs, exact, strict=True):
        begin = array.starts[0] if hasattr(array.starts, "__len__") else array.starts
        assert ours >= begin
        assert ours + c.latency >= array.drained


def test_one_product_is_exact():
    for flow, m, k, n in (("os", 9, 7, 5), ("ws", 6, 4, 3), ("is", 3, 4, 8)):
        (array,) = simulate(4, 3, [Run(flow, np.ones((1, m, k)), np.ones((1, k, n)), 1, 1)])
        assert cost(matmul(flow, m, k, n), MACHINE).latency == array.drained


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 200))
def test_more_lanes_never_combine_rows_more_slowly(rows, row, lanes):
    few, more = combining(rows * row, rows, lanes), combining(rows * row, rows, lanes + 1)
    assert -(-rows * row // (lanes + 1)) <= more <= few
    assert combining(rows * row, rows, 1) == rows * row


def test_trees_are_no_deeper_than_a_row_and_run_side_by_side():
    # 16 lanes: rows of 8 in pairs, three steps a pair; rows of 64 add up, then four steps each.
    assert combining(2048 * 8, 2048, 16) == 1024 * (1 + 3)
    assert combining(100 * 64, 100, 16) == 100 * (4 + 4)


def test_what_the_array_does_not_multiply_is_on_the_vector_engine():
    c = cost(matmul("os", 5, 7, 4, i32), MACHINE)
    assert [h.engine for h in c.holds] == ["vector"]
    assert c.latency == -(-5 * 4 // MACHINE.vector.lanes) * 7
    assert c.counts["vector_macs.i32"] == 5 * 7 * 4
    assert energy(c.counts, MACHINE, 0).parts["mac"] == 140 * MACHINE.energy.vector["multiply"]
