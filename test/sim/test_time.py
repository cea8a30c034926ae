"""The model of time on plans drawn as such: fast-forwarded equals event-stepped in every figure."""

import dataclasses
import gc
import weakref
from unittest.mock import patch

import pytest
from draws import drawing
from hypothesis import given
from hypothesis import strategies as st
from xdsl.dialects.builtin import MemRefType, f32

from kpu_ir import Machine
from kpu_ir.dialects.tile import Dataflow, Level, Reduction
from kpu_ir.nest import records
from kpu_ir.sim.program import plan as plans
from kpu_ir.sim.program.program import Buffer, Call, Program
from kpu_ir.sim.time import timed_plan
from kpu_ir.sim.time.model import TimeModel, time_program, trace_program

MACHINES = [Machine.preset(name) for name in ("default", "minimal", "large", "ideal")]
IDEAL = MACHINES[-1]
EXTENT = st.integers(1, 40)
TRIPS = st.one_of(st.integers(1, 7), st.integers(8, 40))


class Drawn:
    """A plan of transfers, sums and reductions in nested loops, on rings that they share."""

    def __init__(self, draw, machine: Machine, name: str, first_ring: int) -> None:
        """Draw it, on rings that are numbered from ``first_ring``."""
        self.draw, self.machine = draw, machine
        self.rings = [
            records.Ring(f"r{i}", (40, 40), f32, level, draw(st.integers(1, 4)), 0, first_ring + i)
            for i, level in enumerate(("l3", "l3", "l2", "l2"))
        ]
        self.tiles: list[records.Tile] = []
        types = (MemRefType(f32, [40, 40]),) * 2
        self.tensors = [records.Tensor(i, t) for i, t in enumerate(types)]
        self.loops = 0
        body = self.block(2, [], [])
        function = records.Function(name)
        for step in plans.steps(body):
            function.add(step.record)
        owned = tuple(tile.ring for tile in self.tiles)
        self.plan = plans.Plan(
            name, None, tuple(self.rings), body, types, owned, frozenset({1}), self.loops
        )

    def tile(self, level: str, room: bool = False) -> records.Tile:
        """A new register, on one of the rings of the level."""
        tile = records.Tile(None, (40, 40), f32, Level(level), room)
        tile.ring = self.draw(st.sampled_from([r for r in self.rings if r.level == level]))
        tile.register = len(self.tiles)
        self.tiles.append(tile)
        return tile

    def carried(self, part) -> dict:
        """Channels and deferral of a transfer."""
        some = st.sets(st.integers(0, part.channels - 1), min_size=1)
        channels = self.draw(st.one_of(st.none(), st.none(), some))
        given = None if channels is None else tuple(sorted(channels))
        return {"channels": given, "defer": self.draw(st.sampled_from([0, 0, 1, 3]))}

    def block(self, deep: int, far: list, near: list) -> tuple:
        """Steps and loops; ``far`` and ``near`` are the tiles in L3 and in L2 that have data."""
        far, near, body = [*far], [*near], []
        for _ in range(self.draw(st.integers(1, 5))):
            if deep and self.draw(st.booleans()):
                var, self.loops = self.loops, self.loops + 1
                inside = self.block(deep - 1, far, near)
                innermost = not any(isinstance(node, plans.Loop) for node in inside)
                body.append(plans.Loop(var, 0, 1, self.draw(TRIPS), inside, innermost))
            else:
                body += self.steps(far, near)
        return tuple(body)

    def steps(self, far: list, near: list) -> list:
        """One more thing to do with what there is."""
        draw, machine = self.draw, self.machine
        m, n, moves = draw(EXTENT), draw(EXTENT), draw(st.sampled_from([True, True, False]))
        size = 4 * m * n
        kind = draw(st.sampled_from(["fetch", "move", "put", "write", "reduce", "matmul"]))
        if kind == "fetch" or not far:
            out, how = self.tile("l3"), self.carried(machine.dma) | {"defer": 0}
            record = records.Fetch(self.tensors[0], (0, 0), out, **how)
            far.append(out)
            return [plans.Fetch(record, (m, n), (), moves, size)]
        source = draw(st.sampled_from(far))
        if kind == "write":
            record = records.Write(source, self.tensors[1], (0, 0), **self.carried(machine.dma))
            return [plans.Write(record, (m, n), (), size)]
        if kind == "move" or not near:
            out, how = self.tile("l2"), self.carried(machine.mover)
            how["defer"] *= moves
            near.append(out)
            record = records.Move(source, (0, 0), out, (0, 1), **how)
            return [plans.Move(record, (m, n), (), (m, n), moves, size)]
        source, other = draw(st.sampled_from(near)), draw(st.sampled_from(near))
        if kind == "put":
            into = self.tile("l3", room=True)
            far.append(into)
            put = records.Put(source, into, **self.carried(machine.mover))
            return [plans.Acquire(records.Acquire(into), (m, n)), plans.Put(put, (m, n), size)]
        into, again = self.tile("l2", room=True), draw(st.booleans())
        near.append(into)
        room = plans.Acquire(records.Acquire(into), (m, n))
        if kind == "reduce":
            record = records.Reduce(Reduction.ADD, source, into, (1,))
            return [room, plans.Reduce(record, (m, 1), m * n, again, size, 4 * m)]
        flow = draw(st.sampled_from(list(Dataflow)))
        record = records.Matmul(flow, source, other, into)
        products = [
            plans.Matmul(record, (m, n), 1, m, n, draw(EXTENT), acc) for acc in (False, True)
        ]
        return [room, *products[: 1 + again]]


def draw_program(draw) -> Program:
    """Calls of two plans on three tensors."""
    machine = draw(st.sampled_from(MACHINES))
    kernels = [Drawn(draw, machine, f"k{i}", 4 * i).plan for i in range(2)]
    type, size = MemRefType(f32, [40, 40]), 6400
    buffers = [Buffer(i, f"b{i}", type, size, "temporary", i * size) for i in range(3)]
    pair = st.tuples(st.integers(0, 2), st.integers(0, 2))
    calls = [
        Call(draw(st.sampled_from(kernels)), draw(pair), f"call{i}")
        for i in range(draw(st.integers(1, 6)))
    ]
    return Program(machine, tuple(buffers), tuple(kernels), tuple(calls), (), ())


@drawing(30)
@given(st.data())
def test_drawn_plans_are_timed_alike(data):
    """Fast-forwarded, stepped and traced; each engine's parts add up to the cycles."""
    program = draw_program(data.draw)
    stepped = time_program(program, fast_forward=False)
    with patch.multiple(timed_plan, TRIPS=2, OPERATIONS=0):  # the shortest loops, too
        model = TimeModel(program)
    for timing in (model.run(), model.run(), trace_program(program)[1]):
        for field in dataclasses.fields(timing):
            if field.name != "stepped":
                assert getattr(timing, field.name) == getattr(stepped, field.name), field.name
    for engine, busy in stepped.busy.items():
        waits = sum(stepped.stalls[engine].values())
        ends = stepped.idle_before[engine] + stepped.idle_after[engine]
        assert busy + waits + ends == stepped.cycles


def fetches(trips: int) -> Program:
    """As many transfers of 256 bytes into a ring of three slots."""
    tile = records.Tile(None, (8, 8), f32, Level("l3"))
    tile.ring, tile.register = records.Ring("r", (8, 8), f32, "l3", 3), 0
    type = MemRefType(f32, [8, 8])
    fetch = plans.Fetch(records.Fetch(records.Tensor(0, type), (0, 0), tile), (8, 8), (), True, 256)
    body = (plans.Loop(0, 0, 1, trips, (fetch,), True),)
    records.Function("k").add(fetch.record)
    plan = plans.Plan("k", None, (tile.ring,), body, (type,), (tile.ring,), frozenset(), 1)
    buffer, call = Buffer(0, "x", type, 256, "input", 0), Call(plan, (0,), "k")
    return Program(IDEAL, (buffer,), (plan,), (call,), (), ())


@pytest.mark.parametrize("trips", [1_000, 1_000_000])
def test_a_long_loop_is_stepped_a_few_times(trips):
    """It repeats with the ring; what is counted is that of all trips."""
    timing = time_program(fetches(trips))
    assert timing.operations == trips
    assert timing.stepped <= 12
    assert timing.counts["external.read"] == 256 * trips
    assert timing.busy["dma"] == -(-256 // IDEAL.bandwidth["dma"]) * trips


@pytest.mark.parametrize("trips", [100, 1000])
def test_a_model_is_gone_without_the_collector(trips: int):
    """A search makes thousands of models while the collector is off; with a loop that jumps or not."""
    gc.disable()
    try:
        model = TimeModel(fetches(trips))
        model.run()
        gone = weakref.ref(model.plans["k"])
        del model
        assert gone() is None
    finally:
        gc.enable()
