"""The way of the search, from a kernel and a schedule to a program without IR, against the way
through IR: the same program in every figure, or the same refusal."""

import dataclasses
from collections.abc import Callable

from draws import drawing
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, i64

from kpu_ir.lowering.kernel_to_tile import TilingStrategy, lower_kernel, recognise
from kpu_ir.lowering.schedule import L3_BYTES, PINNED, Schedule
from kpu_ir.lowering.tile_to_dma import lower_tile
from kpu_ir.machine import Machine
from kpu_ir.pipeline import kernel_stages
from kpu_ir.sim.program.program import kernel_program
from kpu_ir.sim.time.clock import Timing
from kpu_ir.sim.time.model import time_program
from kpu_ir.sim.time.prices import Prices
from kpu_ir.support.errors import KpuError
from kpu_ir.tuning.kernels import KernelModel
from kpu_ir.tuning.score import time_schedule
from kpu_ir.tuning.session import session

from ..test_levels import MACHINES, draw_chain, draw_graph, draw_layer

DRAWS = drawing(
    20,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
ODD = {"fabric.rows": 8, "fabric.columns": 12, "vector.lanes": 8, "l2.bank_bytes": 16384}
KINDS = {**MACHINES, "odd": Machine.preset("default").with_settings(ODD)}


def draw_schedule(draw, strategy, machine: Machine) -> Schedule:
    """One that the search may choose from, bent here and there; it need not fit or make sense."""
    space = strategy.candidates(machine)
    schedule = strategy.default(machine)
    if space and draw(st.integers(0, 5)):
        schedule = space[draw(st.integers(0, len(space) - 1))].schedule
    few, stays, bent = st.integers(1, 3), st.sampled_from(["", "l2", "l3"]), {}
    if draw(st.booleans()):
        bent = {name: draw(few) for name in ("depth", "l3_depth", "out_depth")}
        bent["defer"] = draw(st.integers(0, 9))
    if draw(st.integers(0, 2)) == 0:
        bent |= {
            "lhs": draw(stays),
            "rhs": draw(stays),
            "order": draw(st.sampled_from("mn nm".split())),
        }
    if draw(st.integers(0, 2)) == 0:
        bent["tile"] = tuple(draw(st.integers(1, 2 * n)) for n in schedule.tile)
        bent["unroll_n"] = draw(st.integers(1, 4))
    if draw(st.integers(0, 4)) == 0:
        bent["dataflow"] = draw(st.sampled_from(["os", "ws", "is"]))
    return dataclasses.replace(schedule, **bent)


def pin(draw, func, strategy, machine: Machine) -> None:
    """Some of its tensors stand in L3, and its tiles have what is left."""
    count = len(strategy.arguments) + len(strategy.results)
    pinned = sorted(draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=2)))
    func.attributes[PINNED] = DenseArrayBase.from_list(i64, pinned)
    room = machine.l3.bytes * draw(st.sampled_from([4, 8, 12, 14])) // 16 // 64 * 64
    func.attributes[L3_BYTES] = IntegerAttr(room, i64)


def figures(make, time=time_program) -> object:
    """What a program takes, all of it; or why there is none."""
    try:
        timing = time(make())
    except KpuError as e:
        return str(e)
    return dataclasses.replace(timing, stepped=0)


@DRAWS
@given(st.data())
def test_the_search_s_way_is_that_through_ir(data):
    draw = data.draw
    module = draw(st.sampled_from([draw_graph, draw_layer, draw_layer, draw_chain]))(draw).module()
    for stage in kernel_stages(draw(st.sampled_from(["none", "epilogue", "full", "full"]))):
        stage.apply(None, module)
    for func in [f for f in module.ops if f.sym_name.data != "main"]:
        strategy, machine = recognise(func), KINDS[draw(st.sampled_from(list(KINDS)))]
        if draw(st.integers(0, 2)) == 0:
            pin(draw, func, strategy, machine)
        kernel = KernelModel.of(func, strategy)
        for _ in range(2):
            schedule = draw_schedule(draw, strategy, machine)

            def through_ir():
                tiles = lower_kernel(func, strategy, schedule)
                return kernel_program(lower_tile(tiles, machine), machine)

            expected = figures(through_ir)
            assert figures(lambda: kernel.program(schedule, machine)) == expected
            shared(draw, kernel, schedule, machine, expected)
        with_other_rooms(draw, func, strategy, schedule, machine)


def with_other_rooms(draw, func, strategy: TilingStrategy, schedule: Schedule, machine) -> None:
    """Within a session a schedule is simulated once, whatever is left of L3 to its kernel: each fits,
    and takes what it takes, as without the session."""
    with session(disk=False):
        for _ in range(2):
            other = func.clone()
            room = machine.l3.bytes * draw(st.integers(1, 16)) // 16
            other.attributes[L3_BYTES] = IntegerAttr(room, i64)
            known = outcome(lambda f=other: time_schedule(f, strategy, schedule, machine))
            model = KernelModel.of(other, recognise(other))
            assert known == outcome(lambda m=model: m.timed(schedule, Prices(machine))[0])


def outcome(make: Callable[[], Timing]) -> Timing | None:
    """The time, or that there is none."""
    try:
        return dataclasses.replace(make(), stepped=0)
    except KpuError:
        return None


def shared(draw, kernel: KernelModel, schedule: Schedule, machine: Machine, expected) -> None:
    """Schedules that differ in depths only share what is made of them, and none of their figures."""
    for _ in range(2):
        assert figures(lambda: kernel.timed(schedule, Prices(machine))[0], lambda t: t) == expected
        depth = st.integers(1, 12)
        bent = {name: draw(depth) for name in ("depth", "l3_depth", "out_depth", "defer")}
        schedule = dataclasses.replace(schedule, **bent)
        expected = figures(lambda s=schedule: kernel.program(s, machine))
