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
from dataclasses import dataclass, field, replace
from math import gcd, lcm
from typing import Any

from kpu_ir.sim.clock import (
    CallTiming,
    Engine,
    Held,
    Slots,
    Timing,
    cost_at,
    engines_for,
    engines_of,
)
from kpu_ir.sim.durations import Cost
from kpu_ir.sim.plan import (
    Acquire,
    Fetch,
    Loop,
    Map,
    Matmul,
    Move,
    Node,
    Plan,
    Reduce,
    Ring,
    Step,
    Vector,
    Windowed,
    Write,
    steps,
)
from kpu_ir.sim.program import Call, Program

_SHORT = 6
"""Loops of fewer trips are stepped: they end before a repetition pays."""


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
    """When each external buffer was last written to."""
    count: list[int]
    stall: list[int]
    pending: list[int]
    queue: list[tuple[int, Callable[[int, int, int], None], int, int, int]]
    tick: list[int]
    steps: list[int]


@dataclass(slots=True)
class _Touched:
    """What a loop's body reads and writes of the state: decides how its repetition is
    recognised."""

    engines: set[int] = field(default_factory=set[int])
    filled: dict[int, int] = field(default_factory=dict[int, int])
    taken: dict[int, int] = field(default_factory=dict[int, int])
    outs: set[int] = field(default_factory=set[int])
    reads: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    written: set[int] = field(default_factory=set[int])
    buffers: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    written_buffers: set[int] = field(default_factory=set[int])
    operations: int = 0

    def add(self, other: _Touched, times: int) -> None:
        """Include ``other``, executed ``times`` times."""
        self.engines |= other.engines
        for mine, theirs in ((self.filled, other.filled), (self.taken, other.taken)):
            for ring, n in theirs.items():
                mine[ring] = mine.get(ring, 0) + n * times
        self.outs |= other.outs
        self.reads |= other.reads
        self.written |= other.written
        self.buffers |= other.buffers
        self.written_buffers |= other.written_buffers
        self.operations += other.operations * times


class _Compiler:
    """Emits one plan's code."""

    def __init__(self, model: TimeModel, plan: Plan, closed: bool) -> None:
        self.model, self.plan, self.closed = model, plan, closed
        self.lines: list[str] = []
        self.indent = 1
        self.loops: list[Callable[[], None]] = []
        self.ring_of: dict[int, Ring] = {}
        late: list[Move | Write] = [
            s for s in steps(plan.body) if isinstance(s, Move | Write) and s.late
        ]
        for step in steps(plan.body):
            if isinstance(step, Fetch | Move | Acquire):
                self.ring_of[step.out] = step.ring
        self.late_rings = {self.ring_of[s.source].index for s in late}
        self.late_rings |= {s.ring.index for s in late if isinstance(s, Move)}
        self.has_late = bool(late)
        self.mapped = {s.into for s in steps(plan.body) if isinstance(s, Map | Reduce | Windowed)}

    def emit(self, *lines: str) -> None:
        pad = "    " * self.indent
        self.lines += [pad + line for line in lines]

    # -- one operation ----------------------------------------------------------------------------

    def _wait(self, value: str, engine: Engine, cause: str) -> None:
        code = self.model.cause(engine, cause)
        self.emit(f"x = {value}", f"if x > t: t = x; c = {code}")

    def _start(self, held: list[Held]) -> None:
        self.emit(f"f = t = T[{held[0].engine.index}]")

    def _finish(self, step: Step, held: list[Held], spent: Cost, *slots: str) -> None:
        """Account for the wait, take the engines, count the operation."""
        first, *others = held
        for other in others:
            value = f"T[{other.engine.index}]" + (f" - {other.begin}" if other.begin else "")
            self._wait(value, first.engine, f"engine {other.engine.name}")
        number = self.model.number(step, spent, held)
        i = first.engine.index
        self.emit("if t > f:", "    if f: stall[c] += t - f", f"    else: first[{i}] = t")
        self.emit(f"elif not f: first[{i}] = 0", f"T[{i}] = t + {first.end}")
        if self.model.tracing:
            self.emit(f"trace({number}, t, c if t > f else -1, ({', '.join(slots)},))")
        for other in others:
            code = self.model.cause(other.engine, f"engine {first.engine.name}")
            i = other.engine.index
            self.emit(
                f"f = T[{i}]",
                f"if f: stall[{code}] += t + {other.begin} - f",
                f"else: first[{i}] = t + {other.begin}",
                f"T[{i}] = t + {other.end}",
            )
        self.emit(f"count[{number}] += 1")

    def _slot(self, ring: Ring, out: int) -> None:
        """Take the ring's next slot."""
        base = self.model.slots.base[ring.index]
        r, last = ring.index, ring.depth - 1
        if last:
            self.emit(f"h = head[{r}]; head[{r}] = h + 1 if h < {last} else 0; s = {base} + h")
        else:
            self.emit(f"s = {base}")
        self.emit(f"reg[{out}] = s")
        if ring.index in self.late_rings:
            self.emit("if pending[s]: settle(s)")

    def _producer(self, register: int) -> str:
        return self.model.producers.get(self.ring_of[register].index, "nobody")

    def _operand(self, register: int, engine: Engine, name: str) -> None:
        ring = self.ring_of[register]
        self.emit(f"{name} = reg[{register}]")
        if ring.index in self.late_rings:
            self.emit(f"if pending[{name}]: settle({name})")
        self._wait(
            f"ready[{name}]", engine, f"operand @{ring.name} from {self._producer(register)}"
        )

    def _done(self, name: str, cycles: int) -> None:
        """A reader of slot ``name`` is done ``cycles`` after its start."""
        self.emit(f"x = t + {cycles}", f"if x > free[{name}]: free[{name}] = x")

    def step(self, step: Step) -> _Touched:
        """Emit one operation; what it touches."""
        spent = cost_at(step, self.model.program.machine)
        touched = _Touched(operations=1 if spent else 0)
        held = engines_for(step, spent, self.model.engines) if spent else []
        touched.engines = {h.engine.index for h in held}
        main = held[0].engine if held else None
        if isinstance(step, Fetch | Move | Acquire):
            table = touched.filled if spent or isinstance(step, Acquire) else touched.taken
            table[step.ring.index] = 1
            touched.outs.add(step.out)
        match step:
            case Acquire():
                self._slot(step.ring, step.out)
                # A result computed into the slot waits for its old readers; its own readiness
                # begins now.
                self.emit("ready[s] = free[s]")
            case Fetch():
                self._slot(step.ring, step.out)
                if spent and main:
                    touched.buffers.add((main.index, step.buffer))
                    self._start(held)
                    self._wait("free[s]", main, f"slot @{step.ring.name}")
                    self._wait(f"written[bind[{step.buffer}]]", main, "tensor of an earlier kernel")
                    if step.by is not None:
                        touched.buffers.add((main.index, step.by))
                        self._wait(f"written[bind[{step.by}]]", main, "tensor of an earlier kernel")
                    self._finish(step, held, spent, "s")
                    self.emit(f"ready[s] = free[s] = t + {spent.latency}")
            case Move():
                if step.late:
                    self._late_move(step, spent, held)
                else:
                    if spent and main:
                        self.emit(f"q = reg[{step.source}]")
                    self._slot(step.ring, step.out)
                    if spent and main:
                        if self.ring_of[step.source].index in self.late_rings:
                            self.emit("if pending[q]: settle(q)")
                        self._move(step, spent, held)
                if main:
                    touched.reads.add((main.index, step.source))
            case Write():
                assert spent is not None
                assert main is not None
                touched.reads.add((main.index, step.source))
                touched.written_buffers.add(step.buffer)
                if step.late:
                    self._late_write(step, spent, held)
                else:
                    self.emit(f"q = reg[{step.source}]; b = bind[{step.buffer}]")
                    if self.ring_of[step.source].index in self.late_rings:
                        self.emit("if pending[q]: settle(q)")
                    self._write(step, spent, held)
            case Matmul():
                assert spent is not None
                assert main is not None
                self._start(held)
                self._operand(step.lhs, main, "a")
                self._operand(step.rhs, main, "q")
                for i, register in enumerate(step.extra):
                    self._operand(register, main, f"e{i}")
                self._result(step, step.into, main)
                extra = [f"e{i}" for i, _ in enumerate(step.extra)]
                self._finish(step, held, spent, "a", "q", *extra, "s")
                self._done("a", spent.occupancy)
                self._done("q", spent.occupancy)
                for i, _ in enumerate(step.extra):
                    self._done(f"e{i}", spent.latency)
                self.emit(f"ready[s] = free[s] = t + {spent.latency}")
                for register in (step.lhs, step.rhs, *step.extra):
                    touched.reads.add((main.index, register))
                touched.written.add(step.into)
            case Map() | Reduce() | Windowed():
                assert spent is not None
                assert main is not None
                self._start(held)
                for i, register in enumerate(step.operands):
                    self._operand(register, main, f"e{i}")
                self._result(step, step.into, main)
                operands = [f"e{i}" for i, _ in enumerate(step.operands)]
                self._finish(step, held, spent, *operands, "s")
                for i, _ in enumerate(step.operands):
                    self._done(f"e{i}", spent.occupancy)
                self.emit(f"ready[s] = free[s] = t + {spent.latency}")
                for register in step.operands:
                    touched.reads.add((main.index, register))
                touched.written.add(step.into)
        return touched

    def _result(self, step: Matmul | Vector, register: int, engine: Engine) -> None:
        ring = self.ring_of[register]
        self.emit(f"s = reg[{register}]")
        if not (isinstance(step, Matmul) and step.accumulate):
            self._wait("ready[s]", engine, f"slot @{ring.name}")
        elif register in self.mapped:
            self._wait("ready[s]", engine, f"operand @{ring.name} from vector")
        # Else the sum was written by earlier drains of the array, which leave in order: an element
        # of this product is drained, and added, after the same element of the one before it.

    def _move(self, step: Move, spent: Cost, held: list[Held]) -> None:
        main = held[0].engine
        source = self.ring_of[step.source].name
        self._start(held)
        self._wait("ready[q]", main, f"operand @{source} from {self._producer(step.source)}")
        self._wait("free[s]", main, f"slot @{step.ring.name}")
        self._finish(step, held, spent, "q", "s")
        self._done("q", spent.occupancy)
        self.emit(f"ready[s] = free[s] = t + {spent.latency}")

    def _write(self, step: Write, spent: Cost, held: list[Held]) -> None:
        main = held[0].engine
        source = self.ring_of[step.source].name
        self._start(held)
        self._wait("ready[q]", main, f"operand @{source} from {self._producer(step.source)}")
        self._finish(step, held, spent, "q")
        self._done("q", spent.occupancy)
        self.emit(f"x = t + {spent.latency}", "if x > written[b]: written[b] = x")

    def _deferred(self, name: str, emit: Callable[[], None]) -> None:
        """Define a function that issues a late operation."""
        outer, self.lines, depth, self.indent = self.lines, [], self.indent, 2
        emit()
        body, self.lines, self.indent = self.lines, outer, depth
        self.prologue += [f"    def {name}(q, s, b):", *body]

    def _late_move(self, step: Move, spent: Cost | None, held: list[Held]) -> None:
        assert spent
        name = f"late{self.model.fresh()}"
        self._deferred(name, lambda: self._move(step, spent, held))
        self.emit(f"q = reg[{step.source}]")
        self._slot(step.ring, step.out)
        self.emit(f"defer({step.late}, {name}, q, s, -1)")

    def _late_write(self, step: Write, spent: Cost, held: list[Held]) -> None:
        name = f"late{self.model.fresh()}"
        self._deferred(name, lambda: self._write(step, spent, held))
        self.emit(f"defer({step.late}, {name}, reg[{step.source}], -1, bind[{step.buffer}])")

    # -- blocks and loops -------------------------------------------------------------------------

    def block(self, nodes: Sequence[Node]) -> _Touched:
        """Emit nodes in order."""
        touched = _Touched()
        for node in nodes:
            if not isinstance(node, Loop):
                touched.add(self.step(node), 1)
                continue
            name = f"body{self.model.fresh()}"
            outer, self.lines, depth, self.indent = self.lines, [], self.indent, 2
            inside = self.block(node.body)
            if node.innermost and self.has_late:
                self.emit("tick[0] += 1", "if queue and queue[0][0] <= tick[0]: issue()")
            body, self.lines, self.indent = self.lines, outer, depth
            self.prologue += [f"    def {name}():", *(body or ["        pass"])]
            key = f"run{name}"
            self.prologue.append(
                f"    {key} = looper({name}, {node.trips}, {len(self.touched)}, {node.var}, {node.start}, {node.step})"
            )
            self.touched.append(inside)
            self.emit(f"{key}()")
            touched.add(inside, node.trips)
        return touched

    def compile(self) -> tuple[Callable[[], None], int]:
        """The plan's code and its number of operations."""
        self.prologue: list[str] = []
        self.touched: list[_Touched] = []
        total = self.block(self.plan.body)
        if self.has_late:
            self.emit("drain()")
        source = "\n".join(
            [
                "def make(T, first, ready, free, head, reg, bind, written, count, stall, pending, queue,"
                " tick, defer, settle, issue, drain, looper, trace):",
                *self.prologue,
                "    def run():",
                *("    " + line for line in self.lines or ["    pass"]),
                "    return run",
            ]
        )
        scope: dict[str, Any] = {}
        exec(compile(source, f"<time of {self.plan.name}>", "exec"), scope)
        s = self.model.state
        run = scope["make"](
            s.T,
            s.first,
            s.ready,
            s.free,
            s.head,
            s.reg,
            s.bind,
            s.written,
            s.count,
            s.stall,
            s.pending,
            s.queue,
            s.tick,
            self.model.defer,
            self.model.settle,
            self.model.issue,
            self.model.drain,
            self.looper,
            self.model.record,
        )
        return run, total.operations

    def looper(
        self, body: Callable[[], None], trips: int, touched: int, var: int, start: int, step: int
    ) -> Callable[[], None]:
        """A function that runs ``trips`` trips of ``body``."""
        inside = self.touched_at(touched)
        if self.model.tracing:
            at = self.model.at

            def traced() -> None:
                for i in range(start, start + trips * step, step):
                    at[var] = i
                    body()

            return traced
        if not self.closed or trips < _SHORT:
            trip = range(trips)

            def stepped() -> None:
                for _ in trip:
                    body()

            return stepped
        return _Repetition(self.model, self, inside, body, trips).run

    def touched_at(self, index: int) -> _Touched:
        """What the loop numbered ``index`` touches (loops are numbered inside out)."""
        return self.touched[index]


class _Repetition:
    """A loop that is stepped until its state repeats, then jumps."""

    def __init__(
        self,
        model: TimeModel,
        compiler: _Compiler,
        inside: _Touched,
        body: Callable[[], None],
        trips: int,
    ) -> None:
        self.model, self.inside, self.body, self.trips = model, inside, body, trips
        s = model.slots.base
        depth = {r.index: r.depth for r in compiler.plan.rings}
        acquired = {**inside.taken, **inside.filled}
        for ring in inside.taken:
            acquired[ring] = inside.taken[ring] + inside.filled.get(ring, 0)
        self.rings = [
            (r, s[r], depth[r], acquired[r], r in inside.filled) for r in sorted(acquired)
        ]
        self.rotation = [(d, n) for _, _, d, n, _ in self.rings]
        self.engines = sorted(inside.engines)
        # Registers set before the loop: slots that it writes (sums) move with it; those that it
        # reads stand still.
        self.sums = sorted(inside.written - inside.outs)
        outside = {(e, r) for e, r in inside.reads if r not in inside.outs and r not in self.sums}
        self.still = sorted(outside)
        self.touched_outside = sorted({r for _, r in outside})
        self.kept = [
            (e, base, base + d)
            for r, base, d, _, filled in self.rings
            if not filled
            for e in sorted(
                {e for e, q in inside.reads if q in inside.outs and compiler.ring_of[q].index == r}
            )
        ]
        self.still_buffers = sorted(
            (e, b) for e, b in inside.buffers if b not in inside.written_buffers
        )
        self.moving_buffers = sorted(inside.written_buffers)

    def _standing_still(self) -> bool:
        """Nothing that the loop only reads can win a maximum any more."""
        s = self.model.state
        T, ready = s.T, s.ready
        return (
            all(ready[s.reg[r]] <= T[e] for e, r in self.still)
            and all(max(ready[a:b]) <= T[e] for e, a, b in self.kept)
            and all(s.written[s.bind[b]] <= T[e] for e, b in self.still_buffers)
        )

    def run(self) -> None:
        """All trips."""
        s, body, trips = self.model.state, self.body, self.trips
        T, ready, free, head, reg = s.T, s.ready, s.free, s.head, s.reg
        smallest = self._aligned(1)
        if smallest * 2 >= trips:
            for _ in range(trips):
                body()
            return
        seen: dict[tuple[int, ...], tuple[int, int, list[int], list[int], int]] = {}
        engines, rings, queue = self.engines, self.rings, s.queue
        anchor = engines[0]
        bound = [s.bind[b] for b in self.moving_buffers]
        sums = [reg[r] for r in self.sums]
        done = 0
        while done < trips:
            body()
            done += 1
            base = T[anchor]
            key = [T[e] - base for e in engines]
            for r, a, d, _, filled in rings:
                h = head[r]
                order = (*range(a + h, a + d), *range(a, a + h))
                key += [free[q] - base for q in order]
                if filled:
                    key += [ready[q] - base for q in order]
            for q in sums:
                key += (free[q] - base, ready[q] - base)
            for r in self.touched_outside:
                key.append(free[reg[r]] - base)
            for b in bound:
                key.append(s.written[b] - base)
            if queue:
                now = s.tick[0]
                for due, function, q, slot, b in queue:
                    key += (due - now, id(function), self._relative(q), self._relative(slot), b)
            frozen = tuple(key)
            before = seen.get(frozen)
            if before is None:
                seen[frozen] = (done, base, s.count[:], s.stall[:], s.tick[0])
                continue
            period, shift = done - before[0], base - before[1]
            stride = self._aligned(period)
            jumps = (trips - done) // stride
            if jumps and self._standing_still():
                self._jump(jumps * stride // period, period, shift, before, bound, sums)
                done += jumps * stride
            elif not jumps:
                for _ in range(trips - done):
                    body()
                return

    def _relative(self, slot: int) -> int:
        """A slot by its distance from its ring's head."""
        for r, a, d, _, _ in self.rings:
            if a <= slot < a + d:
                return (slot - a - self.model.state.head[r]) % d
        return slot

    def _aligned(self, period: int) -> int:
        """The fewest trips, a multiple of ``period``, after which every ring's head is where it
        was."""
        return period * lcm(1, *(d // gcd(d, period * n) for d, n in self.rotation))

    def _jump(
        self,
        periods: int,
        period: int,
        shift: int,
        before: tuple[int, int, list[int], list[int], int],
        bound: list[int],
        sums: list[int],
    ) -> None:
        s = self.model.state
        by = periods * shift
        for e in self.engines:
            s.T[e] += by
        for _, a, d, _, filled in self.rings:
            for q in range(a, a + d):
                s.free[q] += by
                if filled:
                    s.ready[q] += by
        for q in sums:
            s.free[q] += by
            s.ready[q] += by
        for r in self.touched_outside:
            s.free[s.reg[r]] += by
        for b in bound:
            s.written[b] += by
        for table, old in ((s.count, before[2]), (s.stall, before[3])):
            for i, n in enumerate(old):
                if table[i] != n:
                    table[i] += periods * (table[i] - n)
        ticks = periods * (s.tick[0] - before[4])
        s.tick[0] += ticks
        self.model.skipped += periods * period * self.inside.operations
        if ticks and s.queue:
            s.queue[:] = [(due + ticks, *rest) for due, *rest in s.queue]  # pyright: ignore


@dataclass(frozen=True, slots=True)
class _Effect:
    """What a call did, in times relative to the earliest engine at its beginning."""

    T: list[int]
    free: list[int]
    written: list[int]
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
        closed: bool = True,
        tracing: bool = False,
        observer: Callable[[Event], None] | None = None,
    ) -> None:
        """Compile ``program``; ``tracing`` steps and keeps every operation in ``events``, or hands
        it to ``observer``."""
        tracing = tracing or observer is not None
        self.program, self.tracing = program, tracing
        self.closed = closed and not tracing
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
            [],
            [],
            [0] * self.slots.count,
            [],
            [0],
            [0],
        )
        self.producers = self._producers()
        self.code: dict[str, tuple[Callable[[], None], int]] = {
            p.name: _Compiler(self, p, self.closed).compile() for p in program.plans
        }
        self.own_slots = {
            p.name: [
                q
                for r in p.rings
                for q in range(self.slots.base[r.index], self.slots.base[r.index] + r.depth)
            ]
            for p in program.plans
        }

    def _producers(self) -> dict[int, str]:
        """Which engine fills each ring."""
        found: dict[int, str] = {}
        for plan in self.program.plans:
            ring_of = {
                s.out: s.ring for s in steps(plan.body) if isinstance(s, Fetch | Move | Acquire)
            }
            for step in steps(plan.body):
                match step:
                    case Fetch():
                        found[step.ring.index] = "dma"
                    case Move():
                        found[step.ring.index] = "mover"
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

    # -- late operations --------------------------------------------------------------------------

    def defer(
        self,
        late: int,
        function: Callable[[int, int, int], None],
        source: int,
        slot: int,
        buffer: int,
    ) -> None:
        """Queue a late operation."""
        s = self.state
        if self.tracing:
            function = self._from_here(function)
        due = s.tick[0] + late
        if s.queue and s.queue[-1][0] > due:
            due = s.queue[-1][0]
        s.queue.append((due, function, source, slot, buffer))
        s.pending[source] += 1
        if slot >= 0:
            s.pending[slot] += 1

    def _from_here(
        self, function: Callable[[int, int, int], None]
    ) -> Callable[[int, int, int], None]:
        """A late operation that a trace finds where it stands, not where it is issued."""
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
        for table in (s.T, s.ready, s.free, s.head, s.written, s.count, s.stall, s.pending, s.tick):
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
            s.bind[: len(call.arguments)] = call.arguments
            calls.append(self._again(call) if self.closed else self._run_call(call))
        return self._timing(tuple(calls))

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


def time_program(program: Program, closed: bool = True) -> Timing:
    """Cycles of a program: by its repetitions (``closed``) or stepped operation by operation."""
    return TimeModel(program, closed).run()


def trace_program(program: Program) -> tuple[TimeModel, Timing]:
    """A stepped run that keeps every operation in ``model.events``."""
    model = TimeModel(program, closed=False, tracing=True)
    return model, model.run()
