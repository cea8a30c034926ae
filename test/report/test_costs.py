"""What hardware costs, each alone: by timing the program on each machine that is spared one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from draws import drawing
from hypothesis import given
from hypothesis import strategies as st

import kpu_ir
from kpu_ir.machine import Machine
from kpu_ir.report.costs import TOGETHER, costs_of
from kpu_ir.sim.time.model import time_program


def networks(kind: str) -> kpu_ir.Graph:
    """Floats, integers of 8 bits, and both with weights that stay in fewer bits."""
    g = kpu_ir.Graph()
    x = g.input("x", (33, 48), "i8" if kind == "integers" else "f32")
    y = x.transpose((1, 0))
    if kind == "rows":
        g.output("y", y.softmax(-1).gelu())
    elif kind == "integers":
        g.output("y", g.matmul(x, y).relu())
    else:
        w = g.constant(np.ones((33, 80), np.int8))
        h = (y @ (w.astype("f32"))).gelu()
        g.output("y", h.softmax(-1) @ g.input("v", (80, 5)))
    return g


@given(
    kind=st.sampled_from(["floats", "integers", "rows"]),
    name=st.sampled_from(["default", "minimal", "gemmini", "eyeriss", "voltra", "ideal"]),
    settings=st.sampled_from([[], ["control.memory_bytes=64"], ["dma.channels=1"]]),
)
@drawing(8)
def test_each_is_what_timing_without_it_says(kind: str, name: str, settings: Any) -> None:
    machine = Machine.preset(name).with_settings(settings)
    program = kpu_ir.compile(networks(kind), machine, search="none").program
    cycles = time_program(program).cycles

    def saved(*spared: str) -> int:
        other = replace(program, machine=machine.without(spared))
        return cycles - time_program(other, fast_forward=False).cycles

    found = costs_of(program, cycles)
    wanted = {cost: saved(cost) for cost in machine.costs}
    if wanted:
        assert found.pop(TOGETHER) == saved(*machine.costs)
    assert found == wanted
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_what_changes_no_operation_is_not_timed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import kpu_ir.report.costs as costs

    timed: list[Machine] = []

    def told(program: Any, **more: Any) -> Any:
        timed.append(program.machine)
        return time_program(program, **more)

    monkeypatch.setattr(costs, "time_program", told)
    program = kpu_ir.compile(networks("rows"), "default", search="none").program
    found = costs_of(program, time_program(program).cycles)
    assert found["widening"] == found["instructions"] == 0
    assert len(timed) < len(found)
    paces = {machine.digest for machine in timed}
    assert program.machine.without(["widening"]).digest not in paces
