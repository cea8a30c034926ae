"""The rules of docs/timing.md that one would not guess, each by its number there."""

import re
from dataclasses import replace

import pytest
from xdsl.dialects.builtin import f32

from kpu_ir import Graph, Options
from kpu_ir.dialects.tile import Reduction
from kpu_ir.dialects.tile.types import Level
from kpu_ir.lowering.kernel_to_tile.contraction import DATAFLOWS
from kpu_ir.machine import Machine
from kpu_ir.nest import records
from kpu_ir.nest.writing import Nest
from kpu_ir.pipeline import lower
from kpu_ir.registry import context
from kpu_ir.scalar.ops import PRICES
from kpu_ir.sim.program.plan import Matmul, Reduce
from kpu_ir.sim.program.program import load_program
from kpu_ir.sim.time.array_timing import array_time
from kpu_ir.sim.time.model import time_program, trace_program
from kpu_ir.sim.time.prices import cost
from kpu_ir.text.parsing import parse_module

MACHINE = Machine.preset("ideal")  # 16 x 16, a strip of 32 KiB: 8,192 f32


def product(flow: str, m: int, k: int, n: int, accumulate: bool = False) -> Matmul:
    nest = Nest("product", [])
    lhs, rhs, out = (nest.alloc(shape, f32, "t") for shape in ((m, k), (k, n), (m, n)))
    nest.matmul(DATAFLOWS[flow], lhs, rhs, out)
    (found,) = (r for r in nest.function.body if isinstance(r, records.Matmul))
    return Matmul(found, (m, n), batch=1, m=m, n=n, k=k, accumulate=accumulate)


@pytest.mark.parametrize(
    ("flow", "m", "k", "n", "streamed"),
    [
        ("os", 64, 64, 128, 64 * 64 + 64 * 128),  # b fits a strip: all once
        ("os", 64, 64, 129, 64 * 64 + 4 * 64 * 129),  # it does not: once for each 16 rows of a
        ("os", 16, 513, 33, 3 * 16 * 513 + 513 * 33),  # nor do 16 rows of a: for each 16 columns
        ("ws", 512, 64, 40, 512 * 64 + 64 * 40),  # m x R of a fit: once, b once
        ("ws", 513, 64, 40, 3 * 513 * 64 + 64 * 40),
        ("is", 40, 64, 513, 3 * 64 * 513 + 40 * 64),
    ],
)
def test_rule_1_what_is_streamed_again(flow, m, k, n, streamed):
    assert cost(product(flow, m, k, n), MACHINE).counts["l1.write"] == 4 * streamed


@pytest.mark.parametrize("flow", ["ws", "is"])
@pytest.mark.parametrize("accumulate", [False, True])
def test_rule_2_each_block_of_k_drains_as_it_must(flow, accumulate):
    """The first adds where the product does, the others add; 8 lanes take two cycles a row."""
    machine = MACHINE.with_settings({"vector.lanes": 8, "streamer.bytes_per_cycle": 1 << 20})
    blocks = [(16, accumulate), (16, True), (8, True)]
    times = [
        array_time(flow, 16, 16, 40, k, 40, drain_interval=2 if adds else 1) for k, adds in blocks
    ]
    found = cost(product(flow, 40, 40, 40, accumulate), machine)
    assert found.occupancy == sum(t.occupancy for t in times)
    sums = 2 + accumulate
    assert found.counts["lane_ops"] == found.counts["lane_ops.add"] == sums * 40 * 40


DEFERRED = """
func.func @k(%x: memref<32x8xf32>, %y: memref<32x8xf32>) {
  dma.program {
    dma.ring @far, 1 x <8x8xf32, l3> at 0
    dma.ring @near, 1 x <8x8xf32, l2> at 0
    dma.ring @out, 1 x <8x8xf32, l3> at 4096
    tile.for %i = 0 to 32 step 8 {
      %a = dma.fetch %x [%i, 0] into @far : memref<32x8xf32> -> !tile.tile<8x8xf32, l3>
      %b = dma.move %a [0, 0] into @near : !tile.tile<8x8xf32, l3> -> !tile.tile<8x8xf32, l2>
      %c = dma.move %b [0, 0] into @out defer 9 : !tile.tile<8x8xf32, l2> -> !tile.tile<8x8xf32, l3>
      dma.write %c, %y [%i, 0] defer 9 : !tile.tile<8x8xf32, l3> -> memref<32x8xf32>
    }
  }
  func.return
}
"""


def test_rule_3_a_deferred_move_takes_its_slot_where_it_stands():
    """Deferred by more trips than there are. What was deferred on a slot is issued before somebody else
    gets the slot, and a deferred move gets its own where it stands, not when it is issued."""
    module = parse_module(DEFERRED, "deferred.mlir", context())
    model, _ = trace_program(load_program(module, MACHINE))
    seen = [
        (step.record.name.removeprefix("dma."), step.record.defer > 0, e.at[0])
        for e in model.events
        for step in [model.operations[e.operation][0]]
    ]
    assert seen[:6] == [
        ("fetch", False, 0),
        ("move", False, 0),
        ("fetch", False, 8),
        ("move", True, 0),  # the move to @near needs the slot that it reads
        ("move", False, 8),
        (
            "write",
            True,
            0,
        ),  # the deferred move of trip 8, not issued yet, takes the slot that it reads
    ]
    assert seen[-2:] == [("move", True, 24), ("write", True, 24)]  # at the end of the function


def test_rule_4_classes():
    kinds = {name.partition(".")[2]: kind for name, kind in PRICES.items()}
    assert (kinds["sqrt"], kinds["rsqrt"], kinds["divf"]) == ("sqrt", "sqrt", "divide")
    assert {kinds[c] for c in ("extf", "truncf", "extsi", "trunci")} == {"cast"}
    assert {kinds[c] for c in ("sitofp", "fptosi", "roundeven")} == {"convert"}
    table = MACHINE.vector.initiation_interval
    assert (table["cast"], table["convert"], table["sqrt"], table["exp"]) == (0, 1, 4, 4)


def test_rule_5_a_trip_of_a_reduction_over_a_loop_adds_its_results():
    def spent(again: bool):
        shape, out = (8, 64), (8, 1)
        tiles = [records.Tile(None, s, f32, Level("l2")) for s in (shape, out)]
        for tile in tiles:
            tile.ring = records.Ring("r", tile.shape, f32, "l2", 1)
        record = records.Reduce(Reduction.ADD, *tiles, (1,))
        return cost(Reduce(record, out, 8 * 64, again, 4 * 8 * 64, 4 * 8), MACHINE)

    first, later = spent(False), spent(True)
    assert later.occupancy == first.occupancy + 1  # ceil(8 results / 16 lanes)
    assert later.counts["l2.read"] == first.counts["l2.read"] + 4 * 8
    assert later.counts["lane_ops"] == first.counts["lane_ops"] + 8


def test_rule_6_operands_are_free_when_the_array_is():
    """Before the result has drained; what an epilogue reads is free when it has."""
    spent = cost(product("os", 16, 64, 16), MACHINE)
    assert spent.occupancy == 64
    assert spent.latency == spent.release == 64 + 2 * 16 + 16 - 2


def test_rule_7_a_list_of_rows_comes_to_l3_with_the_rows():
    g = Graph()
    g.output("y", g.gather(g.input("table", (1000, 24)), g.input("rows", (200,), "i32")))
    program = load_program(lower(g.module(), MACHINE, Options(search="none"))["dma"], MACHINE)
    counts = trace_program(program)[1].counts
    assert counts["external.read"] == 200 * (24 * 4 + 4)
    assert counts["l3.write"] == counts["external.read"] + counts.get("l2.read", 0)
    assert counts["external.write"] == 200 * 24 * 4


def test_a_program_that_fits_comes_once_a_call_and_each_operation_again_else():
    """2 x 2 tiles of one product: a text of loops and operations, each an instruction."""
    graph = Graph()
    graph.output("y", graph.input("x", (64, 32)) @ graph.input("w", (32, 64)))
    machine = MACHINE.with_settings({"control.instruction_bytes": 16})
    module = lower(graph.module(), machine, Options(search="none"))["dma"]
    program = load_program(module, machine)
    text = re.findall(r"tile\.for|dma\.(?!program|ring|acquire)\w+", str(module))
    assert len(text) == 8
    once = time_program(program)
    assert once.counts["instructions"] == 16 * len(text)
    small = machine.with_settings({"control.memory_bytes": 16 * len(text) - 1})
    again = time_program(replace(program, machine=small))
    assert again.counts["instructions"] == 16 * once.operations
    assert again.cycles > once.cycles == time_program(replace(program, machine=MACHINE)).cycles
