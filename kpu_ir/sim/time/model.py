"""The interpretation for time: a program, call by call.

Each kernel is made once into closures over the state vector (``timed_plan``). Event-stepped, they
run once for every trip of every loop; fast-forwarded, loops that repeat jump (``repetition``), and
so does a call that an equal one preceded, from the same state up to a shift. Tests hold both equal
in every figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import repeat

from kpu_ir.sim.program.plan import Step
from kpu_ir.sim.program.program import Call, Program
from kpu_ir.sim.time.clock import CallTiming, Held, Places, Timing, engines_of
from kpu_ir.sim.time.costs import Cost
from kpu_ir.sim.time.instructions import program_bytes
from kpu_ir.sim.time.operations import Trace
from kpu_ir.sim.time.prices import Prices
from kpu_ir.sim.time.state import Event, Place, Region, State, Wait
from kpu_ir.sim.time.timed_plan import TimedPlan, costs_of
from kpu_ir.sim.time.wiring import Wiring
from kpu_ir.text.places import at_call


@dataclass(frozen=True, slots=True)
class _Effect:
    """What a call did: times, what engines did last, waiting cycles. ``base``: the earliest engine at its
    beginning."""

    base: int
    times: list[int]
    reads: list[bool | None]
    waited: list[int]
    timing: CallTiming


class Layout:
    """What of a program's timing does not depend on what its machine's parts cost. One may be given to
    the models of a program on machines that differ in costs alone."""

    def __init__(self, program: Program, apart: bool = False) -> None:
        """Lay out ``program``; ``apart``: operations that are equal too."""
        self.wirings = [Wiring(plan, apart) for plan in program.plans]
        self.places = Places(program)
        self._asked: Prices | None = None
        self._costs: dict[str, list[Cost | None]] = {}

    def costs(self, wiring: Wiring, prices: Prices) -> list[Cost | None]:
        """What each operation of a plan costs; computed once for the prices that were asked last."""
        if prices is not self._asked:
            self._asked, self._costs = prices, {}
        name = wiring.plan.name
        if name not in self._costs:
            size = program_bytes(wiring.steps, prices.machine)
            self._costs[name] = costs_of(wiring, prices, size)
        return self._costs[name]

    def paces(self, prices: Prices) -> tuple[object, ...]:
        """All of the machine's costs that the time of the program depends on: how long each operation
        holds its engines, when its result is there, and what a channel rests between reading and
        writing. Where they are equal on two machines, so is every cycle."""
        memory = prices.machine.external
        held = (
            (spent.holds, spent.latency) if spent else None
            for wiring in self.wirings
            for spent in self.costs(wiring, prices)
        )
        return memory.read_to_write, memory.write_to_read, *held


class TimeModel:
    """A program made ready for timing. ``run`` may be called again and again."""

    def __init__(
        self,
        program: Program,
        fast_forward: bool = True,
        tracing: bool = False,
        observer: Callable[[Event], None] | None = None,
        steps: Iterable[Step] = (),
        prices: Prices | None = None,
        laid_out: Layout | None = None,
    ) -> None:
        """Prepare ``program``. ``tracing`` steps and keeps every operation in ``events``, or tells
        ``observer`` of it. ``steps``: of other programs that the same engines serve. ``prices``: of its
        machine, known from other programs. ``laid_out``: the program, on another machine."""
        self.program = program
        self.events: list[Event] = []
        if tracing and observer is None:
            observer = self.events.append
        self.fast_forward = fast_forward and observer is None
        if not fast_forward:
            program.check_count("leave out --stepped: every figure is the same")
        self.memory: dict[tuple[object, ...], _Effect] = {}
        laid_out = laid_out or Layout(program, apart=observer is not None)
        wirings = laid_out.wirings
        machine, prices = program.machine, prices or Prices(program.machine)
        self.engines = engines_of(machine, (*steps, *(s for w in wirings for s in w.steps)))
        self.places = laid_out.places
        registers = max((p.values + len(p.parameters) for p in program.plans), default=0)
        self.state = State(self.engines, self.places.count, registers, self.places.rings)
        shared = self._share()
        self.trace = None
        if observer is not None:
            self.trace = Trace(observer, [0] * max((p.variables for p in program.plans), default=0))
        self.operations: list[tuple[Step, Cost, tuple[Held, ...]]] = []
        self.plans: dict[str, TimedPlan] = {}
        for w in wirings:
            calls = (call.where for call in program.calls if call.plan is w.plan)
            with at_call(next(calls, None)):
                self.plans[w.plan.name] = TimedPlan(
                    w, self.state, laid_out.costs(w, prices), machine, self.trace, self.fast_forward,
                    self.operations, shared,
                )  # fmt: skip
        self.causes = list(self.state.waits)
        """What engines wait for: an engine's index and a cause."""
        self.used = [
            clock
            for clock, engine in zip(self.state.clocks, self.engines)
            if any(plan.busy[engine.name] for plan in self.plans.values())
        ]

    def _share(self) -> set[int]:
        """Note the places that have bytes in common; the rings that others have such with."""
        at, shared = self.state.places, self.places.shared
        self.sharing = {at[p]: [at[o] for o in others] for p, others in shared.items()}
        slots = ((ring, slot) for ring, slots in self.places.rings.items() for slot in slots)
        return {ring for ring, slot in slots if slot in shared} if shared else set()

    def deepen(self) -> None:
        """The rings of the program are of other depths, at other addresses, and what is deferred is so
        by other trips; all else is as it was."""
        self.places = Places(self.program)
        self.state.lay_out(self.places.count, self.places.rings)
        self.memory.clear()
        shared = self._share()
        for plan in self.plans.values():
            plan.deepen(shared)

    def run(self) -> Timing:
        """Time the whole program from a cold machine."""
        self.state.reset()
        self.events.clear()
        self.latest = 0
        calls: list[CallTiming] = []
        for index, call in enumerate(self.program.calls):
            if self.trace:
                self.trace.call = index
            calls.append(self.call(call))
        return self._timing(tuple(calls))

    def call(self, call: Call) -> CallTiming:
        """Time one call from the state that the machine is in."""
        self._enter(call)
        return self._again(call) if self.fast_forward else self._run(call)

    def _enter(self, call: Call) -> None:
        """Bind the tensors, and begin each ring with its first slot. What a call puts where
        something else stood waits until that is no longer needed."""
        s, plan = self.state, self.plans[call.plan.name]
        tensors = self._tensors(call)
        for register, tensor in zip(s.registers[call.plan.values :], tensors):
            register.place = tensor
        for ring in call.plan.rings:
            s.heads[ring.index].place = s.slots[ring.index][-1]
        for place in (*plan.slots, *tensors) if self.sharing else ():
            for other in self.sharing.get(place, ()):
                if other.free > place.free:
                    place.free = other.free
                if other.ready > place.free:
                    place.free = other.ready

    def _tensors(self, call: Call) -> list[Place]:
        return [self.state.places[self.places.tensors + b] for b in call.arguments]

    def _run(self, call: Call) -> CallTiming:
        s, plan = self.state, self.plans[call.plan.name]
        began = [clock.free for clock in s.clocks]
        before = [wait.cycles for wait in plan.waits]
        for operation in plan.body:
            operation()
        s.queue.drain()
        ready = [place.ready for place in (*plan.slots, *self._tensors(call))]
        end = max(0, *ready, *(clock.free for clock in s.clocks))
        self.latest = max(self.latest, end)
        used = [e.index for e in self.engines if plan.busy[e.name]]
        begin = min((began[i] or s.clocks[i].first for i in used), default=end)
        stalls = self._stalls(plan.waits, before)
        return CallTiming(call.label, plan.name, begin, end, plan.busy, stalls, plan.counts)

    def _again(self, call: Call) -> CallTiming:
        """A call, or what an equal one did before from the same state, shifted in time.

        Times that are no later than every engine cannot win a maximum; they count as equal.
        """
        s, plan, pinned = self.state, self.plans[call.plan.name], self.places.pinned
        base = min((clock.free for clock in self.used), default=0)
        if not base:  # an engine has not begun
            return self._run(call)
        tensors = self._tensors(call)
        near = [tensor for tensor, b in zip(tensors, call.arguments) if b in pinned]
        region = Region(self.used, (*plan.slots, *near), (*plan.slots, *tensors))
        names = [(call.arguments.index(b), b in pinned) for b in call.arguments]
        reads = [clock.reads for clock in self.used]
        key = (plan.name, *names, *reads, *[max(time - base, 0) for time in region.times()])
        known = self.memory.get(key)
        if known is None:
            before = [wait.cycles for wait in plan.waits]
            timing = self._run(call)
            waited = [wait.cycles - cycles for wait, cycles in zip(plan.waits, before)]
            reads = [clock.reads for clock in self.used]
            self.memory[key] = _Effect(base, region.times(), reads, waited, timing)
            return timing
        t, by = known.timing, base - known.base
        region.put(known.times, by)
        for clock, did in zip(self.used, known.reads):
            clock.reads = did
        for wait, cycles in zip(plan.waits, known.waited):
            wait.cycles += cycles
        self.latest = max(self.latest, t.end + by)
        s.skipped += plan.operations
        return replace(t, label=call.label, start=t.start + by, end=t.end + by)

    def _stalls(self, waits: Iterable[Wait], before: Iterable[int]) -> dict[str, dict[str, int]]:
        """Waiting cycles since ``before``, by engine and cause."""
        stalls: dict[str, dict[str, int]] = {e.name: {} for e in self.engines}
        for wait, cycles in zip(waits, before):
            if wait.cycles > cycles:
                stalls[wait.engine][wait.cause] = wait.cycles - cycles
        return stalls

    def _timing(self, calls: tuple[CallTiming, ...]) -> Timing:
        s, cycles = self.state, self.latest
        busy = {e.name: sum(c.busy[e.name] for c in calls) for e in self.engines}
        counts: dict[str, int] = {}
        for call in calls:
            for what, n in call.counts.items():
                counts[what] = counts.get(what, 0) + n
        stalls = self._stalls(s.waits.values(), repeat(0))
        before = {
            e.name: c.first if c.first >= 0 else cycles for e, c in zip(self.engines, s.clocks)
        }
        after = {e.name: cycles - c.free if c.free else 0 for e, c in zip(self.engines, s.clocks)}
        total = sum(self.plans[call.plan.name].operations for call in self.program.calls)
        return Timing(cycles, busy, stalls, before, after, counts, calls, total, total - s.skipped)


def time_program(
    program: Program,
    fast_forward: bool = True,
    prices: Prices | None = None,
    laid_out: Layout | None = None,
) -> Timing:
    """Cycles of a program: fast-forwarded, or stepped operation by operation."""
    return TimeModel(program, fast_forward, prices=prices, laid_out=laid_out).run()


def trace_program(program: Program) -> tuple[TimeModel, Timing]:
    """An event-stepped run that keeps every operation in ``model.events``."""
    model = TimeModel(program, tracing=True)
    return model, model.run()
