"""Copies by whole rows: short runs are picked out, or put together, on chip."""

import numpy as np
import pytest

from kpu_ir import Graph, KpuError, compile
from kpu_ir.lowering.schedule import ATTRIBUTE, Schedule
from kpu_ir.machine import Machine
from kpu_ir.passes.kernel_outline import KernelOutlinePass
from kpu_ir.registry import context

DEFAULT, IDEAL = Machine.preset("default"), Machine.preset("ideal")

CASES = {
    "columns": (lambda x: x[:, 5:7], ((100, 16),)),
    "second elements": (lambda x: x[:, 1::2], ((30, 64),)),
    "from the third on": (lambda x: x[4:, 3:11:2], ((31, 64),)),
    "matrices side by side": (lambda x, y: x.graph.concat([x, y], 1), ((101, 3), (101, 5))),
    "in turn": (lambda x, y, z: x.graph.concat([x, y, z], 2), ((7, 13, 1),) * 3),
    "twice": (lambda x: x.graph.concat([x, x], 1), ((50, 2),)),
}


def graph(name: str, kind=np.float32) -> Graph:
    formula, shapes = CASES[name]
    g = Graph()
    g.output("y", formula(*(g.input(f"x{i}", shape, kind) for i, shape in enumerate(shapes))))
    return g


def run(g: Graph, room: int, layout: str):
    """The program with one schedule for its kernel."""
    module = compile(g, DEFAULT, search="none").stages["kernel"].clone()
    KernelOutlinePass().apply(context(), module)
    (func,) = (op for op in module.ops if op.sym_name.data != "main")
    func.attributes[ATTRIBUTE] = Schedule(tile=(room,), layout=layout).to_attr()
    return compile(module, DEFAULT, search="none")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", [np.float32, np.float16, np.int8])
def test_bytes_are_those_of_the_plain_copy(name: str, kind) -> None:
    random = np.random.default_rng(0)
    values = {}
    for i, shape in enumerate(CASES[name][1]):
        x = (50 * random.standard_normal(shape)).astype(kind)
        if kind is not np.int8:
            x.flat[:3] = -0.0, np.nan, -np.inf
        values[f"x{i}"] = x
    packed = run(graph(name, kind), 40, "packed")
    plain = run(graph(name, kind), 40, "")(values)["y"]
    assert packed(values)["y"].tobytes() == plain.tobytes()
    assert packed.ir("tile") != run(graph(name, kind), 40, "").ir("tile")


def test_short_runs_are_packed_where_memory_moves_bursts() -> None:
    g = Graph()
    g.output("y", g.concat([g.input("a", (4096, 1)), g.input("b", (4096, 1))], 1))
    for machine, most in ((DEFAULT, 1.2), (IDEAL, 1.1)):
        program = compile(g, machine, cache=False)
        payload = 4 * 4096 * 4 / machine.bandwidth["dma"]
        # Descriptors and the latency of memory, on chip once each way.
        assert program.cycles < most * payload + 700
    assert "%rows" not in program.ir("tile")  # on a machine that is spared bursts


def test_a_layout_that_says_nothing_is_refused() -> None:
    with pytest.raises(KpuError, match="layout = 'transposed' says nothing here"):
        run(graph("columns"), 40, "transposed")
