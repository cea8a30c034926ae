"""A stepped run, operation by operation, with what each one waited for and whose data it read.

The simulator reports operations with the slots that they use (``TimeModel``'s observer). From these
``Replay`` keeps who filled each slot last and who used it last, and so finds for every operation
its producers, and the one operation whose end is its start: following these backwards from the last
one is the critical path.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field

from xdsl.dialects.func import FuncOp
from xdsl.ir import Operation

from kpu_ir.dialects import tile
from kpu_ir.sim.program.plan import (
    Acquire,
    Fetch,
    Matmul,
    Move,
    Reduce,
    Ring,
    Step,
    Vector,
    Write,
)
from kpu_ir.sim.program.program import Program
from kpu_ir.sim.time.clock import Held, Timing
from kpu_ir.sim.time.costs import Cost
from kpu_ir.sim.time.model import Event, TimeModel


@dataclass(frozen=True, slots=True)
class Span:
    """One operation of a run. Operations are numbered (``index``) in the order of the program.

    ``done``: when its engines are free and its result is there. ``waited``: cycles that its engine
    stood still for it. ``producers``: the operations that filled its operands' slots. ``binding``:
    the operation that it started no sooner for, in order on its engine or because of ``event.cause``;
    -1 for one that starts at 0.
    """

    index: int
    event: Event
    step: Step
    held: tuple[Held, ...]
    done: int
    waited: int
    producers: tuple[int, ...]
    binding: int


Mark = tuple[int, int]
"""A time, and the operation that it comes from."""

NEVER: Mark = (0, -1)


@dataclass
class _Marks:
    """The state of the machine with the operations that its times come from."""

    engines: dict[int, Mark] = field(default_factory=dict[int, Mark])
    ready: dict[int, Mark] = field(default_factory=dict[int, Mark])
    free: dict[int, Mark] = field(default_factory=dict[int, Mark])


class Replay:
    """Runs a program stepped and shows every operation to ``see``.

    ``live(ring, begin, end)``, where given, is told when each slot held data that was still
    needed: from the start of the operation that fills it to the end of its last reader. ``stands``
    is told the same of each tensor in L3, by the number of its buffer.
    """

    def __init__(
        self,
        program: Program,
        see: Callable[[Span], None],
        live: Callable[[Ring, int, int], None] | None = None,
        stands: Callable[[int, int, int], None] | None = None,
    ) -> None:
        """Compile the program for a stepped run."""
        self.program, self.see, self.live, self.stands = program, see, live, stands
        self.model = TimeModel(program, fast_forward=False, observer=self._observe)
        places = self.model.places
        self.rings = {
            slot: ring
            for plan in program.plans
            for ring in plan.rings
            for slot in places.rings[ring.index]
        }
        self.engine_index = {e.name: e.index for e in self.model.engines}

    def run(self) -> Timing:
        """Step the program."""
        self.marks, self.count, self.call = _Marks(), 0, -1
        self.opened: dict[int, int] = {}
        self.used: dict[int, int] = {}
        """When a place was last filled or read. That is not when it is free: a place is that no sooner
        than those that it shares bytes with."""
        collecting = gc.isenabled()
        gc.disable()  # what is kept has no cycles
        try:
            timing = self.model.run()
        finally:
            if collecting:
                gc.enable()
        self.finish()
        return timing

    def finish(self) -> None:
        """Report the slots and tensors that are still in use."""
        for slot in list(self.opened):
            self._close(slot)

    def _enter(self, call: int) -> None:
        """Places that share bytes with others are free when those are no longer needed."""
        free, ready, places = self.marks.free, self.marks.ready, self.model.places
        for c in self.program.calls[self.call + 1 : call + 1]:
            slots = [slot for ring in c.plan.rings for slot in places.rings[ring.index]]
            for place in (*slots, *(places.tensors + b for b in c.arguments)):
                ends = [
                    end.get(o, NEVER) for o in places.shared.get(place, ()) for end in (free, ready)
                ]
                free[place] = max(free.get(place, NEVER), *ends, NEVER)
        self.call = call

    def _tensor(self, event: Event, step: Fetch | Write) -> int:
        """The place of a transfer's tensor."""
        return self.model.places.tensors + self.program.calls[event.call].arguments[step.buffer]

    def _observe(self, event: Event) -> None:
        if event.call != self.call:
            self._enter(event.call)
        step, spent, held = self.model.operations[event.operation]
        marks, t = self.marks, event.start
        result = event.slots[-1] if not isinstance(step, Write) else None
        sources = event.slots if result is None else event.slots[:-1]
        before, _ = marks.engines.get(held[0].engine.index, NEVER)
        span = Span(
            self.count,
            event,
            step,
            held,
            t + max(spent.latency, *(h.end for h in held)),
            t - before if before else 0,
            tuple(marks.ready.get(s, NEVER)[1] for s in sources),
            self._binding(event, step, held, sources, result),
        )
        self._advance(span, spent, sources, result)
        self.count += 1
        self.see(span)

    def _binding(
        self,
        event: Event,
        step: Step,
        held: tuple[Held, ...],
        sources: tuple[int, ...],
        result: int | None,
    ) -> int:
        """The operation that the start of this one comes from."""
        marks, t = self.marks, event.start
        if event.cause < 0:
            return marks.engines.get(held[0].engine.index, NEVER)[1]
        _, text = self.model.causes[event.cause]
        kind, _, rest = text.partition(" ")
        candidates: list[Mark] = []
        if kind == "operand":
            candidates = [marks.ready.get(s, NEVER) for s in sources]
        elif kind == "tensor":
            assert isinstance(step, Fetch | Write)
            ends = marks.ready if isinstance(step, Fetch) else marks.free
            candidates = [ends.get(self._tensor(event, step), NEVER)]
        elif kind == "turn":
            memory = self.program.machine.external
            rest = memory.write_to_read if isinstance(step, Fetch) else memory.read_to_write
            ends = [marks.engines.get(h.engine.index, NEVER) for h in held]
            candidates = [(free + rest, index) for free, index in ends]
        elif kind == "engine":
            index = self.engine_index[rest]
            begin = next(h.begin for h in held if h.engine.index == index)
            free, index = marks.engines.get(index, NEVER)
            candidates = [(free - begin, index)]
        if result is not None and kind in ("operand", "slot"):
            candidates += [marks.free.get(result, NEVER), marks.ready.get(result, NEVER)]
        found = next((index for when, index in candidates if when == t), -1)
        assert found >= 0 or not t, f"nothing ends at {t}, where {step.op.name} starts: {text}"
        return found

    def _advance(
        self, span: Span, spent: Cost, sources: tuple[int, ...], result: int | None
    ) -> None:
        """What the operation does to the state: as ``sim.time`` has it."""
        marks, t, i, step = self.marks, span.event.start, span.index, span.step
        for h in span.held:
            marks.engines[h.engine.index] = (t + h.end, i)
        for n, slot in enumerate(sources):
            extra = isinstance(step, Matmul) and n > 1
            used = (t + (spent.release if extra else spent.occupancy), i)
            marks.free[slot] = max(marks.free.get(slot, NEVER), used)
            self._uses(slot, used[0])
        end = (t + spent.latency, i)
        if isinstance(step, Fetch) and step.pinned:
            tensor = self._tensor(span.event, step)
            marks.free[tensor] = max(marks.free.get(tensor, NEVER), (t + spent.occupancy, i))
            self._uses(tensor, t + spent.occupancy)
        if isinstance(step, Write):
            tensor = self._tensor(span.event, step)
            marks.ready[tensor] = max(marks.ready.get(tensor, NEVER), end)
            if step.pinned:
                self.opened.setdefault(tensor, t)
                self._uses(tensor, end[0])
        if result is not None:
            adds = isinstance(step, Matmul | Reduce) and step.accumulate
            if isinstance(step, Fetch | Move) or not (adds or result in sources):
                self._close(result)
                self.opened[result] = t
            self._uses(result, end[0])
            marks.ready[result] = marks.free[result] = end

    def _uses(self, place: int, until: int) -> None:
        self.used[place] = max(self.used.get(place, 0), until)

    def _close(self, place: int) -> None:
        if place not in self.opened:
            return
        begin, end, tensors = self.opened.pop(place), self.used[place], self.model.places.tensors
        if place >= tensors:
            if self.stands:
                self.stands(place - tensors, begin, end)
        elif self.live:
            self.live(self.rings[place], begin, end)


def kind_of(step: Step) -> str:
    """``fetch``, ``move``, ``matmul``, ``map``, ``write``."""
    return step.op.name.removeprefix("dma.")


def describe(step: Step, program: Program, call: int) -> str:
    """An operation in a few words: ``fetch @lhs_l3``, ``write y``, ``matmul @acc``."""
    if isinstance(step, Write):
        target = program.buffers[program.calls[call].arguments[step.buffer]].name
        return f"write {target}"
    if isinstance(step, Matmul | Vector):
        return f"{kind_of(step)} @{step.record.into.ring.name}"
    if isinstance(step, Fetch | Move | Acquire):
        return f"{kind_of(step)} @{step.ring.name}"
    return kind_of(step)


def loop_names(op: Operation) -> tuple[tuple[int, str], ...]:
    """The loops around an operation, from outside in: the plan's number of each, and its name."""
    around: list[tile.ForOp] = []
    top: Operation | None = op
    while top is not None and not isinstance(top, FuncOp):
        if isinstance(top, tile.ForOp):
            around.append(top)
        top = top.parent_op()
    if top is None:
        return ()
    every = [o for o in top.walk() if isinstance(o, tile.ForOp)]
    numbers = {id(o): i for i, o in enumerate(every)}
    return tuple(
        (numbers[id(o)], o.induction_var.name_hint or f"i{numbers[id(o)]}")
        for o in reversed(around)
    )
