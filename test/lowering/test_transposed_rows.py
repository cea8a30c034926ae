"""Rows that stand transposed on chip: what is reduced outermost, so that lanes combine side by side."""

import numpy as np
import pytest

from kpu_ir import Graph, compile
from kpu_ir.lowering.schedule import ATTRIBUTE, Schedule
from kpu_ir.machine import Machine
from kpu_ir.passes.kernel_decompose import KernelDecomposePass
from kpu_ir.passes.kernel_outline import KernelOutlinePass
from kpu_ir.registry import context

DEFAULT = Machine.preset("default")


def softmax(*shape: int, axis: int = -1) -> Graph:
    g = Graph()
    g.output("y", g.softmax(g.input("x", shape), axis))
    return g


def chosen(program) -> dict[str, object]:
    (func,) = (op for op in program.stages["dma"].ops if "kpu.scheduled" in op.attributes)
    return func.attributes["kpu.scheduled"].data


@pytest.mark.parametrize(
    ("shape", "schedule"),
    [
        ((60, 16), Schedule(tile=(32, 16), layout="transposed")),
        ((60, 16), Schedule(tile=(7, 5), layout="transposed")),
        ((60, 16), Schedule(tile=(7, 5), layout="transposed", passes="online")),
        ((3, 20, 4, 6), Schedule(tile=(11, 6), layout="transposed")),
    ],
)
def test_values_are_those_of_the_plain_layout(shape, schedule) -> None:
    module = softmax(*shape).module()
    for one in (KernelDecomposePass(), KernelOutlinePass()):
        one.apply(context(), module)
    (func,) = (op for op in module.ops if op.sym_name.data != "main")
    func.attributes[ATTRIBUTE] = schedule.to_attr()
    program = compile(module, DEFAULT, search="none")
    assert "permuted [1, 0]" in program.ir("tile")
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    power = np.exp(x - x.max(-1, keepdims=True))
    np.testing.assert_allclose(program(x=x)["y"], power / power.sum(-1, keepdims=True), rtol=1e-5)


def test_short_rows_are_transposed_where_that_is_faster() -> None:
    program = compile(softmax(4096, 16), DEFAULT, cache=False)
    assert chosen(program)["layout"].data == "transposed"
    # Eight cycles of the vector engine an element, all lanes at work.
    assert program.cycles < 1.15 * 8 * 4096 * 16 / DEFAULT.vector.lanes


def test_a_sum_over_rows_reads_whole_rows() -> None:
    g = Graph()
    g.output("y", g.input("x", (4096, 1024)).sum(0))
    program = compile(g, DEFAULT, cache=False)
    memory = DEFAULT.external
    least = 4097 * 1024 * 4 / DEFAULT.bandwidth["dma"]
    refreshed = least * memory.refresh_interval / (memory.refresh_interval - memory.refresh_cycles)
    assert program.cycles < 1.03 * refreshed
