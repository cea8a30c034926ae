"""A plan as straight-line Python over the state vector: one reading of each operation's start and
end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from kpu_ir.sim.program.plan import (
    Acquire,
    Fetch,
    Loop,
    Map,
    Matmul,
    Move,
    Node,
    Plan,
    Put,
    Reduce,
    Ring,
    Step,
    Vector,
    Windowed,
    Write,
    rings_of,
    steps,
)
from kpu_ir.sim.time.clock import Engine, Held, cost_at, engines_for
from kpu_ir.sim.time.durations import Cost
from kpu_ir.sim.time.repetition import SHORT, Repetition, Touched

if TYPE_CHECKING:
    from kpu_ir.sim.time.model import TimeModel


class PlanCompiler:
    """Emits one plan's code."""

    def __init__(self, model: TimeModel, plan: Plan, fast_forward: bool) -> None:
        """For one plan of ``model``; ``fast_forward``: its loops may jump."""
        self.model, self.plan, self.fast_forward = model, plan, fast_forward
        self.lines: list[str] = []
        self.indent = 1
        self.loops: list[Callable[[], None]] = []
        self.ring_of = rings_of(plan)
        defer: list[Move | Put | Write] = [
            s for s in steps(plan.body) if isinstance(s, Move | Put | Write) and s.defer
        ]
        self.deferred_rings = {self.ring_of[s.source].index for s in defer}
        self.deferred_rings |= {s.ring.index for s in defer if isinstance(s, Move)}
        self.deferred_rings |= {self.ring_of[s.into].index for s in defer if isinstance(s, Put)}
        self.has_deferred = bool(defer)
        self.mapped = {s.into for s in steps(plan.body) if isinstance(s, Map | Reduce | Windowed)}
        self.mapped |= {s.out for s in steps(plan.body) if isinstance(s, Move)}
        put = {s.into for s in steps(plan.body) if isinstance(s, Put)}
        # Sums that products begin: their slots are needed when the first product is issued.
        self.begun = {s.into for s in steps(plan.body) if isinstance(s, Matmul)}
        self.begun -= self.mapped | put

    def emit(self, *lines: str) -> None:
        """Append lines at the present indentation."""
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

    def _slot(self, ring: Ring, out: int, settle: bool = True) -> None:
        """Take the ring's next slot; ``settle``: what is defer with it is due."""
        base = self.model.slots.base[ring.index]
        r, last = ring.index, ring.depth - 1
        if last:
            self.emit(f"h = head[{r}]; head[{r}] = h + 1 if h < {last} else 0; s = {base} + h")
        else:
            self.emit(f"s = {base}")
        self.emit(f"reg[{out}] = s")
        if settle and ring.index in self.deferred_rings:
            self.emit("if pending[s]: settle(s)")

    def _producer(self, register: int) -> str:
        return self.model.producers.get(self.ring_of[register].index, "nobody")

    def _operand(self, register: int, engine: Engine, name: str) -> None:
        ring = self.ring_of[register]
        self.emit(f"{name} = reg[{register}]")
        if ring.index in self.deferred_rings:
            self.emit(f"if pending[{name}]: settle({name})")
        self._wait(
            f"ready[{name}]", engine, f"operand @{ring.name} from {self._producer(register)}"
        )

    def _done(self, name: str, cycles: int) -> None:
        """A reader of slot ``name`` is done ``cycles`` after its start."""
        self.emit(f"x = t + {cycles}", f"if x > free[{name}]: free[{name}] = x")

    def step(self, step: Step) -> Touched:
        """Emit one operation; what it touches."""
        spent = cost_at(step, self.model.program.machine)
        touched = Touched(operations=1 if spent else 0)
        held = engines_for(step, spent, self.model.engines) if spent else []
        touched.engines = {h.engine.index for h in held}
        main = held[0].engine if held else None
        if isinstance(step, Fetch | Move | Acquire):
            table = touched.filled if spent or isinstance(step, Acquire) else touched.taken
            table[step.ring.index] = 1
            touched.outs.add(step.out)
        match step:
            case Acquire():
                begun = step.fresh and step.out in self.begun
                self._slot(step.ring, step.out, not begun)
                # A result computed into the slot waits for its old readers; its own readiness
                # begins now.
                if step.fresh and not begun:
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
                    if step.pinned:
                        touched.used_buffers.add(step.buffer)
                        self.emit(f"b = bind[{step.buffer}]; x = t + {spent.occupancy}")
                        self.emit("if x > used[b]: used[b] = x")
            case Move():
                if step.defer:
                    self._deferred_move(step, spent, held)
                else:
                    if spent and main:
                        self.emit(f"q = reg[{step.source}]")
                    self._slot(step.ring, step.out)
                    if spent and main:
                        if self.ring_of[step.source].index in self.deferred_rings:
                            self.emit("if pending[q]: settle(q)")
                        self._move(step, spent, held)
                if main:
                    touched.reads.add((main.index, step.source))
            case Put():
                assert spent is not None
                assert main is not None
                touched.reads.add((main.index, step.source))
                touched.written.add(step.into)
                self.emit(f"q = reg[{step.source}]; s = reg[{step.into}]")
                if step.defer:
                    name = f"deferred{self.model.fresh()}"
                    self._deferred(name, lambda: self._move(step, spent, held))
                    self.emit(f"defer({step.defer}, {name}, q, s, -1)")
                else:
                    for slot, register in (("q", step.source), ("s", step.into)):
                        if self.ring_of[register].index in self.deferred_rings:
                            self.emit(f"if pending[{slot}]: settle({slot})")
                    self._move(step, spent, held)
            case Write():
                assert spent is not None
                assert main is not None
                touched.reads.add((main.index, step.source))
                touched.written_buffers.add(step.buffer)
                if step.pinned:
                    touched.room.add((main.index, step.buffer))
                if step.defer:
                    self._deferred_write(step, spent, held)
                else:
                    self.emit(f"q = reg[{step.source}]; b = bind[{step.buffer}]")
                    if self.ring_of[step.source].index in self.deferred_rings:
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
        if register in self.begun and not (isinstance(step, Matmul) and step.accumulate):
            if ring.index in self.deferred_rings:
                self.emit("if pending[s]: settle(s)")
            self._wait("free[s]", engine, f"slot @{ring.name}")
        elif not (isinstance(step, Matmul) and step.accumulate):
            self._wait("ready[s]", engine, f"slot @{ring.name}")
        elif register in self.mapped:
            source = self.model.producers.get(ring.index, "vector")
            source = "vector" if source == "fabric" else source
            self._wait("ready[s]", engine, f"operand @{ring.name} from {source}")
        # Else the sum was written by earlier drains of the array, which leave in order: an element
        # of this product is drained, and added, after the same element of the one before it.

    def _move(self, step: Move | Put, spent: Cost, held: list[Held]) -> None:
        main = held[0].engine
        source = self.ring_of[step.source].name
        target = step.ring if isinstance(step, Move) else self.ring_of[step.into]
        self._start(held)
        self._wait("ready[q]", main, f"operand @{source} from {self._producer(step.source)}")
        self._wait("free[s]", main, f"slot @{target.name}")
        self._finish(step, held, spent, "q", "s")
        self._done("q", spent.occupancy)
        self.emit(f"ready[s] = free[s] = t + {spent.latency}")

    def _write(self, step: Write, spent: Cost, held: list[Held]) -> None:
        main = held[0].engine
        source = self.ring_of[step.source].name
        self._start(held)
        self._wait("ready[q]", main, f"operand @{source} from {self._producer(step.source)}")
        if step.pinned:
            self._wait("used[b]", main, "tensor of an earlier kernel")
        self._finish(step, held, spent, "q")
        self._done("q", spent.occupancy)
        self.emit(f"x = t + {spent.latency}", "if x > written[b]: written[b] = x")

    def _deferred(self, name: str, emit: Callable[[], None]) -> None:
        """Define a function that issues a deferred operation."""
        outer, self.lines, depth, self.indent = self.lines, [], self.indent, 2
        emit()
        body, self.lines, self.indent = self.lines, outer, depth
        self.prologue += [f"    def {name}(q, s, b):", *body]

    def _deferred_move(self, step: Move, spent: Cost | None, held: list[Held]) -> None:
        assert spent
        name = f"deferred{self.model.fresh()}"
        self._deferred(name, lambda: self._move(step, spent, held))
        self.emit(f"q = reg[{step.source}]")
        self._slot(step.ring, step.out)
        self.emit(f"defer({step.defer}, {name}, q, s, -1)")

    def _deferred_write(self, step: Write, spent: Cost, held: list[Held]) -> None:
        name = f"deferred{self.model.fresh()}"
        self._deferred(name, lambda: self._write(step, spent, held))
        self.emit(f"defer({step.defer}, {name}, reg[{step.source}], -1, bind[{step.buffer}])")

    # -- blocks and loops -------------------------------------------------------------------------

    def block(self, nodes: Sequence[Node]) -> Touched:
        """Emit nodes in order."""
        touched = Touched()
        for node in nodes:
            if not isinstance(node, Loop):
                touched.add(self.step(node), 1)
                continue
            name = f"body{self.model.fresh()}"
            outer, self.lines, depth, self.indent = self.lines, [], self.indent, 2
            inside = self.block(node.body)
            if node.innermost and self.has_deferred:
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
        self.touched: list[Touched] = []
        total = self.block(self.plan.body)
        if self.has_deferred:
            self.emit("drain()")
        source = "\n".join(
            [
                "def make(T, first, ready, free, head, reg, bind, written, used, count, stall, pending, queue,"
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
            s.used,
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
        inside = self.touched[touched]
        if self.model.tracing:
            at = self.model.at

            def traced() -> None:
                for i in range(start, start + trips * step, step):
                    at[var] = i
                    body()

            return traced
        if not self.fast_forward or trips < SHORT:
            trip = range(trips)

            def stepped() -> None:
                for _ in trip:
                    body()

            return stepped
        return Repetition(self.model, self, inside, body, trips).run
