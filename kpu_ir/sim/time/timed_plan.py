"""A plan, ready to be timed: its operations as closures, its loops around them.

What does not depend on time is counted here once: how often each operation is executed, and so the
bytes, the work, and the cycles that each engine is busy.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from kpu_ir.machine import Machine
from kpu_ir.sim.program.plan import Fetch, Loop, Matmul, Step, Vector
from kpu_ir.sim.time.clock import Engine, Held, engines_for
from kpu_ir.sim.time.costs import Cost
from kpu_ir.sim.time.instructions import fetched_again, program_bytes
from kpu_ir.sim.time.operations import (
    NOTHING,
    Operand,
    Operation,
    Operations,
    Trace,
    Turn,
    Use,
    Work,
)
from kpu_ir.sim.time.prices import Prices
from kpu_ir.sim.time.repetition import OPERATIONS, TRIPS, Repetition
from kpu_ir.sim.time.state import Pointer, State, Wait
from kpu_ir.sim.time.wiring import Tree, Wire, Wiring


def _touched(
    tree: Tree, wiring: Wiring, held: list[list[Held]], times: int = 1
) -> Iterator[tuple[Wire, list[int], int]]:
    """What a tree executes, the engines that it holds, and how often."""
    for node in tree:
        if isinstance(node, int):
            yield wiring.wires[node], [h.engine.index for h in held[node]], times
        else:
            yield from _touched(node[1], wiring, held, times * node[0].trips)


def costs_of(wiring: Wiring, prices: Prices, program: int) -> list[Cost | None]:
    """What each operation of a ``program`` of so many bytes costs, with the telling of what is for another
    engine, and its instruction where that comes again; None: nothing."""
    machine, costs = prices.machine, [prices.of(step) for step in wiring.steps]
    if program > machine.control.memory_bytes:
        costs = [spent and fetched_again(spent, machine) for spent in costs]
    for step, spent in zip(wiring.steps, costs):
        if isinstance(step, Matmul) and spent:  # the array, or the vector engine
            wiring.producers[wiring.ring_of[step.into].index] = spent.holds[0].engine
    sync = machine.control.sync
    return [
        Cost(spent.holds, spent.latency + sync, spent.counts)
        if spent and sync and wiring.tells(step)
        else spent
        for step, spent in zip(wiring.steps, costs)
    ]


class TimedPlan:
    """A plan on the state of a program. A call of it is its ``body``, of so many ``operations``; it
    ``counts`` bytes and work, keeps engines ``busy``, and has ``waits``."""

    def __init__(
        self,
        wiring: Wiring,
        state: State,
        costs: list[Cost | None],
        machine: Machine,
        trace: Trace | None,
        fast_forward: bool,
        operations: list[tuple[Step, Cost, tuple[Held, ...]]],
        shared: set[int],
    ) -> None:
        """Make it of operations of these ``costs``, and add what it executes to the ``operations`` of
        the program. ``shared``: rings that others have bytes in common with."""
        self.name, self.wiring, self.state, self.trace = wiring.plan.name, wiring, state, trace
        self.fast_forward, self.machine = fast_forward, machine
        self.waits: list[Wait] = []
        self._make = Operations(state.queue, trace)
        self._executed = [0] * len(wiring.steps)
        self._held: list[list[Held]] = []
        self._users: dict[int, set[int]] = {r.index: set() for r in wiring.plan.rings}
        """The engines that wait for slots of each ring, but for those of others that have bytes in
        common with it."""
        self._waiting: dict[int, set[int]] = {}
        """The engines that may wait for slots of each ring."""
        self._repetitions: list[Repetition] = []
        self.deepen(shared)
        self._again: dict[int, tuple[Pointer, Pointer]] = {}
        """The ring and the register of operations that only take a slot up again."""
        self._made: list[Operation] = []
        program = program_bytes(wiring.steps, machine)
        for step, wire, spent in zip(wiring.steps, wiring.wires, costs):
            held = engines_for(step, spent, state.engines) if spent else []
            self._held.append(held)
            self._made.append(self._operation(step, wire, spent, held, len(operations)))
            if spent:
                operations.append((step, spent, tuple(held)))
                for register in (*wire.reads, *wire.marks, wire.target):
                    if register in wiring.ring_of:
                        self._users[wiring.ring_of[register].index].add(held[0].engine.index)
        self.waits = sorted({*self.waits}, key=lambda wait: wait.number)
        self.body, self.operations = self._block(wiring.body, 1)
        self.busy = {e.name: 0 for e in state.engines}
        fits = 0 < program <= self.machine.control.memory_bytes
        self.counts: dict[str, int] = {"instructions": program} if fits else {}
        for spent, held, times in zip(costs, self._held, self._executed):
            for h in held:
                self.busy[h.engine.name] += times * (h.end - h.begin)
            for what, n in spent.counts.items() if spent else ():
                if n:
                    self.counts[what] = self.counts.get(what, 0) + times * n

    def deepen(self, shared: set[int]) -> None:
        """The rings have other depths, and others have bytes in common with ``shared``."""
        rings = self.wiring.plan.rings
        self.slots = [slot for ring in rings for slot in self.state.slots[ring.index]]
        everybody = {e.index for e in self.state.engines}
        for ring, users in self._users.items():
            self._waiting[ring] = everybody if ring in shared else users
        for repetition in self._repetitions:
            repetition.prepared = False

    def _block(self, tree: Tree, times: int) -> tuple[list[Operation], int]:
        """What is executed so many times in a call, and its number of operations."""
        body: list[Operation] = []
        count = 0
        taken: list[tuple[Pointer, Pointer]] = []  # what is only taken up again, side by side
        for node in tree:
            if isinstance(node, int):
                again = self._again.get(node)
                if again:
                    if not taken:
                        body.append(self._make.take_all(taken))
                    taken.append(again)
                    continue
                taken = []
                body.append(self._made[node])
                self._executed[node] += times
                count += bool(self._held[node])
                continue
            taken = []
            loop, inner = node
            inside, n = self._block(inner, times * loop.trips)
            if loop.innermost and self.wiring.deferred:
                inside.append(self.state.queue.tick)
            count += n * loop.trips
            if loop.trips == 1 and not self.trace:
                body += inside
            else:
                body.append(self._loop(loop, inner, inside, n))
        return body, count

    def _loop(self, loop: Loop, tree: Tree, body: list[Operation], count: int) -> Operation:
        if self.fast_forward and loop.trips >= TRIPS and loop.trips * count >= OPERATIONS:
            touched = partial(_touched, tree, self.wiring, self._held)
            of = self.state, self.waits, body, loop.trips, count
            rings = self._waiting, self.wiring.ring_of
            self._repetitions.append(Repetition(*of, touched, *rings))
            return self._repetitions[-1].run
        values = range(loop.start, loop.start + loop.trips * loop.step, loop.step)
        at, var = (self.trace.at, loop.var) if self.trace else ([0], 0)

        def stepped() -> None:
            for at[var] in values:
                for operation in body:
                    operation()

        return stepped

    # -- one operation ----------------------------------------------------------------------------

    def _wait(self, engine: Engine, cause: str) -> Wait:
        self.waits.append(self.state.wait(engine, cause))
        return self.waits[-1]

    def _data(self, register: int, engine: Engine, source: str = "") -> Operand:
        """A register whose data an engine waits for."""
        ring = self.wiring.ring_of.get(register)
        if ring is None:
            return self._room(register, engine)
        source = source or self.wiring.producers.get(ring.index, "nobody")
        wait = self._wait(engine, f"operand @{ring.name} from {source}")
        return Operand(self.state.registers[register], wait, ring.index in self.wiring.deferred)

    def _room(self, register: int, engine: Engine) -> Operand:
        """A register for whose place an engine waits."""
        ring = self.wiring.ring_of.get(register)
        cause = f"slot @{ring.name}" if ring else "tensor of an earlier kernel"
        settles = ring is not None and ring.index in self.wiring.deferred
        return Operand(self.state.registers[register], self._wait(engine, cause), settles)

    def _operation(
        self, step: Step, wire: Wire, spent: Cost | None, held: list[Held], number: int
    ) -> Operation:
        clocks = self.state.clocks
        head = None if wire.ring is None else self.state.heads[wire.ring]
        settles = wire.ring in self.wiring.deferred
        into = Operand(self.state.registers[wire.target], NOTHING, settles)
        if spent is None:
            assert head is not None
            into = into._replace(settles=settles and wire.gate != "free")
            if not (into.settles or wire.gate == "ready"):
                self._again[len(self._made)] = head, into.register
            return self._make.take(head, into, begins=wire.gate == "ready")
        own = held[0].engine
        fetches = isinstance(step, Fetch)
        adds = isinstance(step, Matmul) and step.accumulate and not step.apart
        if fetches:
            into = self._room(wire.target, own)
        reads = [self._data(register, own) for register in wire.reads]
        if wire.gate and adds:
            into = self._data(wire.target, own, self.wiring.adder(wire.target))
        elif wire.gate and not fetches:
            into = self._room(wire.target, own)
        others: list[Use] = []
        for engine, begin, end in ((h.engine, h.begin, h.end) for h in held[1:]):
            waits = (
                self._wait(own, f"engine {engine.name}"),
                self._wait(engine, f"engine {own.name}"),
            )
            others.append(Use(clocks[engine.index], begin, end, *waits))
        work = Work(number, clocks[own.index], spent.occupancy, spent.latency, others)
        if isinstance(step, Matmul | Vector):
            return self._make.compute(reads, spent.release, into, wire.gate, work)
        return self._make.transfer(reads, head, into, wire, work, fetches, self._turn(own, fetches))

    def _turn(self, engine: Engine, reads: bool) -> Turn | None:
        """What a channel of external memory rests before it reads, or writes."""
        memory = self.machine.external
        if engine.kind != "dma" or not (memory.read_to_write or memory.write_to_read):
            return None
        cycles = memory.write_to_read if reads else memory.read_to_write
        return Turn(reads, cycles, self._wait(engine, "turn around"))
