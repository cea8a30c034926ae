"""What an operation costs: the formulas against the register-level array, run after run."""

import numpy as np
import pytest
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
from kpu_ir.sim.time.array_timing import array_time
from kpu_ir.sim.time.costs import Cost
from kpu_ir.sim.time.energy import energy
from kpu_ir.sim.time.prices import cost
from kpu_ir.sim.time.vector import combining
from kpu_ir.support.types import accumulator_type, element_type_named, multiplied_as

MACHINE = Machine.preset("ideal").with_settings(
    {"fabric.rows": 4, "fabric.columns": 3, "vector.lanes": 3, "streamer.bytes_per_cycle": 1 << 20}
)


def matmul(flow: str, m: int, k: int, n: int, kind=f32, by=None) -> Matmul:
    """A product of ``kind`` by ``by`` (the same, where none is said)."""
    nest = Nest("product", [])
    kinds = (kind, by or kind, accumulator_type(kind))
    shapes = ((m, k), (k, n), (m, n))
    lhs, rhs, out = (nest.alloc(s, kind, "t") for s, kind in zip(shapes, kinds))
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


PACKED = {
    "i8": ("i8", "i8"), "i4": ("i4", "i4"), "f8": ("f8E4M3FN", "f8E5M2"), "f16": ("f16", "f16"), "bf16": ("bf16", "bf16"),
}  # fmt: skip
WIDENED = [("i8", "i4"), ("i4", "ui8"), ("f16", "i8"), ("bf16", "i4"), ("bf16", "ui8")]


@drawing(15)
@given(
    st.sampled_from([*PACKED.values(), *WIDENED]),
    st.sampled_from(["os", "ws", "is"]),
    st.integers(1, 9), st.integers(1, 100), st.integers(1, 9),
)  # fmt: skip
def test_a_product_of_short_types_takes_the_time_of_the_packed_array(kinds, flow, m, k, n):
    """As many neighbours along k a cycle as the machine's table says for the wider of both types."""
    left, right = map(element_type_named, kinds)
    packing = MACHINE.fabric.macs[multiplied_as(left, right)]
    assert packing == (2 if kinds[0] in ("f16", "bf16") else 8 if kinds == PACKED["i4"] else 4)
    run = Run(flow, np.ones((1, m, k), int), np.ones((1, k, n), int), packing)
    (array,) = simulate(4, 3, [run])
    spent = cost(matmul(flow, m, k, n, left, right), MACHINE)
    assert spent.latency == array.drained
    assert spent.holds[0].end == sum(b - a for a, b in zip(array.starts, array.starts[1:])) + (
        array_time(flow, 4, 3, m, k, n, macs_per_pe=packing).interval
    )
    assert spent.counts[f"macs.{multiplied_as(left, right)}"] == m * k * n <= array.multiplied


@pytest.mark.parametrize(
    ("kinds", "mac", "streamed", "widened"),
    [
        # 20 x 36 by 36 x 24 on 16 x 16 PEs: two blocks of rows, two of columns
        (("f32", "f32"), 0.8, 20 * 36 * 4 + 36 * 24 * 4, 0),
        (("f16", "f16"), 0.4, 20 * 36 * 2 + 36 * 24 * 2, 0),
        (("bf16", "bf16"), 0.4, 20 * 36 * 2 + 36 * 24 * 2, 0),
        (("f8E4M3FN", "f8E4M3FN"), 0.25, 20 * 36 + 36 * 24, 0),
        (("i8", "i8"), 0.25, 20 * 36 + 36 * 24, 0),
        (("ui8", "i8"), 0.25, 20 * 36 + 36 * 24, 0),
        (("i4", "i4"), 0.15, 20 * 36 // 2 + 36 * 24 // 2, 0),
        # weights are widened for each block of rows, the left operand for each block of columns
        (("f16", "i4"), 0.4, 20 * 36 * 2 + 36 * 24 // 2, 2 * 36 * 24),
        (("i8", "i4"), 0.25, 20 * 36 + 36 * 24 // 2, 2 * 36 * 24),
        (("i4", "i8"), 0.25, 20 * 36 // 2 + 36 * 24, 2 * 20 * 36),
    ],
)
def test_energy_of_a_product_by_its_types_computed_by_hand(kinds, mac, streamed, widened):
    """Multiply-accumulates by the wider type; what is widened; bytes from L2 to L1, from L1 into the
    array (twice), and of results of 4 bytes."""
    machine = Machine.preset("default").with_settings({"energy.convert": 0.07})
    spent = cost(matmul("os", 20, 36, 24, *map(element_type_named, kinds)), machine)
    parts = energy(spent.counts, machine, 0).parts
    assert parts["mac"] == pytest.approx(mac * 20 * 36 * 24 + 0.07 * widened)
    assert parts["l1"] == pytest.approx(0.25 * (streamed + 2 * streamed))
    assert parts["l2"] == pytest.approx(0.7 * (streamed + 20 * 24 * 4))
    assert {k for k, v in parts.items() if v} == {"mac", "l1", "l2"}


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
