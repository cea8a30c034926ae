"""The reading for time.

Each kernel is compiled once to a Python function of straight-line code over the state vector
(``clock``): an operation starts when its engine is free, its operands are ready and its slot is
free. Stepped, that code runs once for every trip of every loop. Closed, a loop stops being stepped
when its state repeats up to a shift:

    The body maps the state x to F(x), a max-plus linear map: F(x + c) = F(x) + c. If after p trips
    all entries that the loop changes have grown by the same c, the next p trips repeat the last p,
    shifted by c; so do their waits, and m such periods add m c to these entries and m times the
    last period to every count. Entries that the loop only reads (data loaded before it) do not
    grow; they are no obstacle once each engine that reads them is already free later than they
    are, for then they never again win a maximum.

Nothing is approximated, and a loop that does not repeat is stepped. Tests hold both readings equal
in every figure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kpu_ir.sim.program.plan import (
    Fetch,
    Map,
    Matmul,
    Move,
    Plan,
    Put,
    Reduce,
    Step,
    Windowed,
    carrier,
    rings_of,
    steps,
)
from kpu_ir.sim.program.program import Call, Program
from kpu_ir.sim.time.clock import CallTiming, Engine, Held, PinnedSlots, Slots, Timing, engines_of
from kpu_ir.sim.time.codegen import PlanCompiler
from kpu_ir.sim.time.durations import Cost
from kpu_ir.text.places import at_call


@dataclass(slots=True)
class State:
    """The state vector and the counters; the compiled code closes over these lists."""

    T: list[int]
    """When each engine is free; 0 before its first operation."""
    first: list[int]
    """When each engine's first operation began; -1 before."""
    ready: list[int]
    free: list[int]
    head: list[int]
    reg: list[int]
    bind: list[int]
    written: list[int]
    """When each buffer was last written to."""
    used: list[int]
    """When each buffer in L3 was last read, and its room free before it was written."""
    count: list[int]
    stall: list[int]
    pending: list[int]
    queue: list[tuple[int, Callable[[int, int, int], None], int, int, int]]
    tick: list[int]


@dataclass(frozen=True, slots=True)
class _Effect:
    """What a call did, in times relative to the earliest engine at its beginning."""

    T: list[int]
    free: list[int]
    written: list[int]
    used: list[int]
    first: list[int]
    count: list[tuple[int, int]]
    stall: list[tuple[int, int]]
    latest: int
    timing: CallTiming
    base: int
    operations: int


@dataclass(frozen=True, slots=True)
class Event:
    """One operation of a trace: which (an index into ``TimeModel.operations``), from when, why no
    sooner, where. ``slots`` are those of its operands in order, then that of its result."""

    operation: int
    start: int
    cause: int
    call: int
    at: tuple[int, ...]
    slots: tuple[int, ...] = ()


class TimeModel:
    """A program compiled for timing. ``run`` may be called again and again."""

    def __init__(
        self,
        program: Program,
        fast_forward: bool = True,
        tracing: bool = False,
        observer: Callable[[Event], None] | None = None,
    ) -> None:
        """Compile ``program``; ``tracing`` steps and keeps every operation in ``events``, or hands
        it to ``observer``."""
        tracing = tracing or observer is not None
        self.program, self.tracing = program, tracing
        self.fast_forward = fast_forward and not tracing
        self.memory: dict[tuple[object, ...], _Effect] = {}
        self.engines = engines_of(program)
        self.slots = Slots.of(program.plans)
        self.operations: list[tuple[Step, Cost, tuple[Held, ...]]] = []
        self.causes: list[tuple[Engine, str]] = []
        self._cause_index: dict[tuple[int, str], int] = {}
        self._fresh = 0
        self.events: list[Event] = []
        self.observer = observer or self.events.append
        self.call = self.skipped = self.latest = 0
        rings = sum(len(p.rings) for p in program.plans)
        variables = max((p.variables for p in program.plans), default=0)
        self.at = [0] * variables
        self.state = State(
            [0] * len(self.engines),
            [-1] * len(self.engines),
            [0] * self.slots.count,
            [0] * self.slots.count,
            [0] * rings,
            [0] * max((p.values for p in program.plans), default=0),
            [0] * max((len(p.parameters) for p in program.plans), default=0),
            [0] * len(program.buffers),
            [0] * len(program.buffers),
            [],
            [],
            [0] * self.slots.count,
            [],
            [0],
        )
        self.pinned_slots = PinnedSlots.of(program, self.slots)
        self.producers = self._producers()
        self.code = {plan.name: self._compiled(plan) for plan in program.plans}
        self.own_slots = {
            p.name: [
                q
                for r in p.rings
                for q in range(self.slots.base[r.index], self.slots.base[r.index] + r.depth)
            ]
            for p in program.plans
        }

    def _compiled(self, plan: Plan) -> tuple[Callable[[], None], int]:
        """The code of a plan; what it cannot be timed for is said at its first call."""
        calls = (call.where for call in self.program.calls if call.plan is plan)
        with at_call(next(calls, None)):
            return PlanCompiler(self, plan, self.fast_forward).compile()

    def _producers(self) -> dict[int, str]:
        """Which engine fills each ring."""
        found: dict[int, str] = {}
        for plan in self.program.plans:
            ring_of = rings_of(plan)
            for step in steps(plan.body):
                match step:
                    case Fetch():
                        found[step.ring.index] = carrier(step)
                    case Move():
                        found[step.ring.index] = "mover"
                    case Put():
                        found[ring_of[step.into].index] = "mover"
                    case Matmul():
                        found[ring_of[step.into].index] = "fabric"
                    case Map() | Reduce() | Windowed():
                        found.setdefault(ring_of[step.into].index, "vector")
                    case _:
                        pass
        return found

    # -- used by the compiler ---------------------------------------------------------------------

    def fresh(self) -> int:
        """A new number for a name."""
        self._fresh += 1
        return self._fresh

    def cause(self, engine: Engine, text: str) -> int:
        """The index of a counter of stalls."""
        key = (engine.index, text)
        if key not in self._cause_index:
            self._cause_index[key] = len(self.causes)
            self.causes.append((engine, text))
            self.state.stall.append(0)
        return self._cause_index[key]

    def number(self, step: Step, spent: Cost, held: list[Held]) -> int:
        """The index of an operation's counter."""
        self.operations.append((step, spent, tuple(held)))
        self.state.count.append(0)
        return len(self.operations) - 1

    def record(self, operation: int, start: int, cause: int, slots: tuple[int, ...]) -> None:
        """Hand one operation of a trace to the observer."""
        self.observer(Event(operation, start, cause, self.call, tuple(self.at), slots))

    # -- deferred operations --------------------------------------------------------------------------

    def defer(
        self,
        steps: int,
        function: Callable[[int, int, int], None],
        source: int,
        slot: int,
        buffer: int,
    ) -> None:
        """Queue a deferred operation."""
        s = self.state
        if self.tracing:
            function = self._from_here(function)
        due = s.tick[0] + steps
        if s.queue and s.queue[-1][0] > due:
            due = s.queue[-1][0]
        s.queue.append((due, function, source, slot, buffer))
        s.pending[source] += 1
        if slot >= 0:
            s.pending[slot] += 1

    def _from_here(
        self, function: Callable[[int, int, int], None]
    ) -> Callable[[int, int, int], None]:
        """A deferred operation that a trace finds where it stands, not where it is issued."""
        at = self.at[:]

        def issued(source: int, slot: int, buffer: int) -> None:
            now, self.at[:] = self.at[:], at
            function(source, slot, buffer)
            self.at[:] = now

        return issued

    def _issue_one(self) -> None:
        s = self.state
        _, function, source, slot, buffer = s.queue.pop(0)
        s.pending[source] -= 1
        if slot >= 0:
            s.pending[slot] -= 1
        function(source, slot, buffer)

    def issue(self) -> None:
        """Issue what is due."""
        queue, now = self.state.queue, self.state.tick[0]
        while queue and queue[0][0] <= now:
            self._issue_one()

    def settle(self, slot: int) -> None:
        """Issue until nothing queued touches ``slot``."""
        while self.state.pending[slot]:
            self._issue_one()

    def drain(self) -> None:
        """Issue everything."""
        while self.state.queue:
            self._issue_one()

    # -- running ----------------------------------------------------------------------------------

    def run(self) -> Timing:
        """Time the whole program from a cold machine."""
        s = self.state
        tables = (s.T, s.ready, s.free, s.head, s.written, s.used, s.count, s.stall, s.pending)
        for table in (*tables, s.tick):
            table[:] = [0] * len(table)
        s.first[:] = [-1] * len(s.first)
        s.queue.clear()
        self.events.clear()
        self.skipped = self.latest = 0
        calls: list[CallTiming] = []
        for self.call, call in enumerate(self.program.calls):
            for slot, others in self.slots.overlaps[call.plan.name]:
                latest = max(s.free[o] for o in others)
                if latest > s.free[slot]:
                    s.free[slot] = latest
            if self.pinned_slots.buffers:
                self._share(call)
            s.bind[: len(call.arguments)] = call.arguments
            calls.append(self._again(call) if self.fast_forward else self._run_call(call))
        return self._timing(tuple(calls))

    def _share(self, call: Call) -> None:
        """What a call puts where a tensor in L3 stood waits for that one's readers, and the other
        way round."""
        s, shared = self.state, self.pinned_slots
        for slot, buffers in shared.of_slots.get(call.plan.name, ()):
            s.free[slot] = max(s.free[slot], *(max(s.used[b], s.written[b]) for b in buffers))
        for b in call.arguments:
            for slot in shared.slots_of.get(b, ()):
                s.used[b] = max(s.used[b], s.free[slot])
            for other in shared.others.get(b, ()):
                s.used[b] = max(s.used[b], s.used[other], s.written[other])

    def _run_call(self, call: Call) -> CallTiming:
        s = self.state
        for ring in call.plan.rings:
            s.head[ring.index] = 0
        counts, stalls, started = s.count[:], s.stall[:], s.T[:]
        self.code[call.plan.name][0]()
        self.latest = max((self.latest, *s.T, *s.ready, *s.written))
        return self._call(call, counts, stalls, started)

    def _again(self, call: Call) -> CallTiming:
        """A call, or what an equal one did before from the same state, shifted in time.

        Entries of the state that are no later than every engine cannot win a maximum; they count as
        equal.
        """
        s, plan = self.state, call.plan
        base = min(s.T)
        slots = self.own_slots[plan.name]
        tensors = dict.fromkeys(call.arguments)
        entry = [max(x - base, 0) for x in s.T]
        entry += [max(s.free[q] - base, 0) for q in slots]
        entry += [max(s.written[b] - base, 0) for b in tensors]
        near = [b for b in tensors if b in self.pinned_slots.buffers]
        entry += [max(s.used[b] - base, 0) for b in near]
        entry += [call.arguments.index(b) for b in near]
        aliases = tuple(call.arguments.index(b) for b in call.arguments)
        key = (plan.name, aliases, *(x >= 0 for x in s.first), *entry)
        known = self.memory.get(key)
        if known is None:
            counts, stalls = s.count[:], s.stall[:]
            timing = self._run_call(call)
            self.memory[key] = _Effect(
                [x - base for x in s.T],
                [s.free[q] - base for q in slots],
                [s.written[b] - base for b in tensors],
                [s.used[b] - base for b in near],
                [x - base for x in s.first],
                [(i, n - m) for i, (n, m) in enumerate(zip(s.count, counts)) if n != m],
                [(i, n - m) for i, (n, m) in enumerate(zip(s.stall, stalls)) if n != m],
                self.latest - base,
                timing,
                base,
                self.code[plan.name][1],
            )
            return timing
        s.T[:] = [x + base for x in known.T]
        for i, x in enumerate(known.first):
            if s.first[i] < 0 and x >= 0:
                s.first[i] = x + base
        for q, x in zip(slots, known.free):
            s.free[q] = x + base
        for b, x in zip(tensors, known.written):
            s.written[b] = x + base
        for b, x in zip(near, known.used):
            s.used[b] = x + base
        for table, changes in ((s.count, known.count), (s.stall, known.stall)):
            for i, n in changes:
                table[i] += n
        self.latest = max(self.latest, known.latest + base)
        self.skipped += known.operations
        t, by = known.timing, base - known.base
        return replace(t, label=call.label, start=t.start + by, end=t.end + by)

    def _tally(
        self, counts: Sequence[int], stalls: Sequence[int]
    ) -> tuple[dict[str, int], dict[str, dict[str, int]], dict[str, int]]:
        busy = {e.name: 0 for e in self.engines}
        bytes_: dict[str, int] = {}
        for times, (_, spent, held) in zip(counts, self.operations):
            if times:
                for h in held:
                    busy[h.engine.name] += times * (h.end - h.begin)
                for what, n in spent.counts.items():
                    if n:
                        bytes_[what] = bytes_.get(what, 0) + times * n
        waits: dict[str, dict[str, int]] = {e.name: {} for e in self.engines}
        for cycles, (engine, cause) in zip(stalls, self.causes):
            if cycles:
                waits[engine.name][cause] = cycles
        return busy, waits, bytes_

    def _call(
        self, call: Call, counts: list[int], stalls: list[int], started: list[int]
    ) -> CallTiming:
        s = self.state
        busy, waits, bytes_ = self._tally(
            [a - b for a, b in zip(s.count, counts)], [a - b for a, b in zip(s.stall, stalls)]
        )
        used = [i for i, e in enumerate(self.engines) if busy[e.name]]
        begin = min((started[i] if started[i] else s.first[i] for i in used), default=0)
        end = max((*s.T, *s.ready, *(s.written[b] for b in call.arguments)))
        return CallTiming(call.label, call.plan.name, begin, end, busy, waits, bytes_)

    def _timing(self, calls: tuple[CallTiming, ...]) -> Timing:
        s = self.state
        cycles = self.latest
        busy, waits, bytes_ = self._tally(s.count, s.stall)
        before = {
            e.name: (s.first[e.index] if s.first[e.index] >= 0 else cycles) for e in self.engines
        }
        after = {e.name: cycles - s.T[e.index] if s.T[e.index] else 0 for e in self.engines}
        total = sum(s.count)
        return Timing(
            cycles, busy, waits, before, after, bytes_, calls, total, total - self.skipped
        )


def time_program(program: Program, fast_forward: bool = True) -> Timing:
    """Cycles of a program: by its repetitions (``fast_forward``) or stepped operation by operation."""
    return TimeModel(program, fast_forward).run()


def trace_program(program: Program) -> tuple[TimeModel, Timing]:
    """A stepped run that keeps every operation in ``model.events``."""
    model = TimeModel(program, fast_forward=False, tracing=True)
    return model, model.run()
