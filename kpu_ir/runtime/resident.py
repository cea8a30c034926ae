"""Programs on a device: their plans timed on the device's engines, launch by launch.

A launch is a function of the state that it finds: when engines and bytes on chip are free, counted from
when it may begin. What it leaves is remembered by that, so that equal launches are timed once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kpu_ir.runtime.engines import Engines, Interval, Spent, names_of
from kpu_ir.runtime.interleave import merge
from kpu_ir.sim.program.plan import Fetch, Move, Put, Step, Write, steps
from kpu_ir.sim.program.program import Program
from kpu_ir.sim.time.model import TimeModel

MOST_STATES = 4096
"""That a program remembers what it left of."""

Freed = tuple[int, bool | None]
"""When an engine is free, and what it did last where that matters."""


def pinned_steps(program: Program) -> list[Step]:
    """The transfers that are bound to channels: they tell engines apart."""
    every = (s for plan in program.plans for s in steps(plan.body))
    return [s for s in every if isinstance(s, Fetch | Move | Put | Write) and s.channels]


@dataclass(frozen=True, slots=True)
class _Left:
    """What a launch leaves, in cycles from when it might begin: engines by name, bytes on chip, and
    what each of its programs took."""

    free: dict[str, int]
    reads: dict[str, bool | None]
    spans: list[int]
    spent: tuple[Spent, ...]


@dataclass
class _Part:
    """A program that a launch runs: the numbers of its bytes on chip, and their places in the model;
    the places of its tensors; what it keeps busy and counts."""

    spans: list[int]
    slots: list[int]
    tensors: range
    busy: dict[str, int]
    counts: dict[str, int]
    functions: set[int] = field(default_factory=set[int])


def places_of(program: Program, model: TimeModel, buffers: int = 0) -> list[int]:
    """The places of what a program has on chip: slots of its rings, tensors in L3; ``buffers``: those
    that stand before its own in the model."""
    rings = (ring for plan in program.plans for ring in plan.rings)
    found = [place for ring in rings for place in model.places.rings[ring.index]]
    near = (b.index for b in program.buffers if b.level == "l3")
    return [*found, *(model.places.tensors + index for index in near)]


class _Launcher:
    """One or two programs on one model of time."""

    def __init__(self, model: TimeModel, program: Program, parts: Sequence[_Part]) -> None:
        self.model, self.program, self.parts = model, program, parts
        memory = program.machine.external
        self.rest = max(memory.read_to_write, memory.write_to_read)
        self.known: dict[tuple[Any, ...], _Left] = {}
        self._seen = -1

    def time(self, engines: Engines, gates: Sequence[int]) -> tuple[Spent, ...]:
        """Launch all parts, each no earlier than its gate."""
        if self._seen != len(engines.spans):
            self._seen = len(engines.spans)
            self.overlaps = [engines.overlapping(part.spans) for part in self.parts]
        gate = min(gates)
        free = [self._free(names_of(e), engines, gate) for e in self.model.engines]
        rel = [
            [max(at - gate, *[engines.spans[i] - gate for i in over]) for over in overlaps]
            for at, overlaps in zip(gates, self.overlaps)
        ]
        key = (tuple(free), *map(tuple, rel))
        left = self.known.get(key)
        if left is None:
            if len(self.known) >= MOST_STATES:
                self.known.clear()
            left = self.known[key] = self._launch(free, rel)
        for name, time in left.free.items():
            engines.free[name] = gate + time
        engines.reads.update(left.reads)
        numbers = (number for part in self.parts for number in part.spans)
        for number, time in zip(numbers, left.spans):
            engines.spans[number] = gate + time
        return tuple(_later(spent, gate, at) for spent, at in zip(left.spent, gates))

    def _free(self, names: list[str], engines: Engines, gate: int) -> Freed:
        """When engines that are used alike are free. 0: nobody can tell that they ever worked."""
        last = max(names, key=lambda name: engines.free[name])
        free = engines.free[last] - gate
        rest = self.rest if engines.reads[last] is not None else 0
        return (0, None) if free + rest <= 0 else (free, engines.reads[last])

    def _launch(self, free: list[Freed], rel: list[list[int]]) -> _Left:
        model = self.model
        state = model.state
        state.reset()
        model.latest = 0
        model.events.clear()
        for clock, (time, reads) in zip(state.clocks, free):
            clock.free, clock.reads = time, reads
        for part, times in zip(self.parts, rel):
            for place, time in zip(part.slots, times):
                state.places[place].free = time
        for number, call in enumerate(self.program.calls):
            if model.trace:
                model.trace.call = number
            model.call(call)
        used = [
            i
            for i, e in enumerate(model.engines)
            if any(names_of(e)[0] in p.busy for p in self.parts)
        ]
        starts = [max(0, free[i][0]) if free[i][0] else state.clocks[i].first for i in used]
        start = min(starts, default=0)
        ends = [
            max((state.places[p].ready for p in (*part.slots, *part.tensors)), default=start)
            for part in self.parts
        ]
        if len(ends) == 1:
            ends[0] = max(ends[0], *(state.clocks[i].free for i in used), 0)
        intervals = self._intervals()
        spent = tuple(
            Spent(start, end, part.busy, part.counts, tuple(i for own, i in intervals if own == n))
            for n, (part, end) in enumerate(zip(self.parts, ends))
        )
        slots = (place for part in self.parts for place in part.slots)
        named = [(name, state.clocks[i]) for i in used for name in names_of(model.engines[i])]
        return _Left(
            {name: clock.free for name, clock in named},
            {name: clock.reads for name, clock in named},
            [max(state.places[p].free, state.places[p].ready) for p in slots],
            spent,
        )

    def _intervals(self) -> list[tuple[int, Interval]]:
        """What engines did in a traced launch, and for which part."""
        found: list[tuple[int, Interval]] = []
        for event in self.model.events:
            step, _, held = self.model.operations[event.operation]
            function = step.record.function
            owner = next((n for n, p in enumerate(self.parts) if id(function) in p.functions), 0)
            for hold in held:
                for name in names_of(hold.engine):
                    begin, end = event.start + hold.begin, event.start + hold.end
                    what = f"{step.record.name} of {function.name}"
                    found.append((owner, Interval(name, begin, end, what)))
        return found


def _later(spent: Spent, cycles: int, gate: int) -> Spent:
    """So many cycles later; it begins no earlier than its own gate."""
    moved = tuple(replace(i, begin=i.begin + cycles, end=i.end + cycles) for i in spent.intervals)
    return replace(
        spent, start=max(gate, spent.start + cycles), end=spent.end + cycles, intervals=moved
    )


class Resident:
    """A program whose rings and tensors on chip begin ``l3`` and ``l2`` bytes into the device's."""

    def __init__(
        self, again: Callable[[], Program], engines: Engines, l3: int = 0, l2: int = 0,
        fast_forward: bool = True, tracing: bool = False,
    ) -> None:  # fmt: skip
        """``again`` reads the program; once more for each that it is merged with. ``tracing``: every
        operation on an engine is kept; ``fast_forward``: loops jump."""
        self.again, self.program = again, again()
        self.begin = {"l3": l3, "l2": l2}
        self.fast_forward, self.tracing = fast_forward, tracing
        self.spans: list[int] = []
        for plan in self.program.plans:
            for ring in plan.rings:
                at = self.begin[ring.level] + ring.address
                for slot in range(at, at + ring.depth * ring.slot_bytes, ring.slot_bytes):
                    self.spans.append(engines.span(ring.level, slot, slot + ring.slot_bytes))
        for buffer in self.program.buffers:
            if buffer.level == "l3":
                at = l3 + buffer.address
                self.spans.append(engines.span("l3", at, at + buffer.bytes))
        self.prepare(())

    def prepare(self, others: Sequence[Step]) -> None:
        """Make the model of time, on engines that serve ``others`` too."""
        self.others = others
        model = TimeModel(self.program, self.fast_forward, self.tracing, steps=others)
        self.part = self._part(self.program, model)
        self.launcher = _Launcher(model, self.program, [self.part])

    def _part(self, program: Program, model: TimeModel) -> _Part:
        busy: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        for call in program.calls:
            plan = model.plans[call.plan.name]
            counts.update(plan.counts)
            for engine in model.engines:
                for name in names_of(engine):
                    busy[name] += plan.busy[engine.name]
        tensors = range(model.places.tensors, model.places.count)
        used = {name: cycles for name, cycles in busy.items() if cycles}
        return _Part(self.spans, places_of(program, model), tensors, used, dict(counts))

    def time(self, engines: Engines, gate: int) -> Spent:
        """Launch it no earlier than ``gate``."""
        return self.launcher.time(engines, [gate])[0]


class Together:
    """Two residents that do not meet on chip, launched as one program (``interleave``)."""

    def __init__(self, first: Resident, second: Resident) -> None:
        """Merge them."""
        self.of = first, second
        one, two = first.again(), second.again()
        for resident, program in ((first, one), (second, two)):
            for plan in program.plans:
                for ring in plan.rings:
                    ring.address += resident.begin[ring.level]
        one, two = (
            replace(
                program,
                buffers=tuple(
                    replace(b, address=b.address + resident.begin["l3"] * (b.level == "l3"))
                    for b in program.buffers
                ),
            )
            for resident, program in ((first, one), (second, two))
        )
        merged = merge(one, two)
        model = TimeModel(merged.program, first.fast_forward, first.tracing, steps=first.others)
        at = model.places.tensors
        middle = at + len(one.buffers)
        tensors = range(at, middle), range(middle, model.places.count)
        parts = [
            replace(
                resident.part,
                slots=places_of(program, model),
                tensors=own,
                functions={id(s.record.function) for p in program.plans for s in steps(p.body)},
            )
            for resident, program, own in zip(self.of, (merged.first, merged.second), tensors)
        ]
        self.launcher = _Launcher(model, merged.program, parts)

    def time(self, engines: Engines, gates: Sequence[int]) -> tuple[Spent, ...]:
        """Launch both, each no earlier than its gate."""
        return self.launcher.time(engines, gates)


def disjoint(first: Resident, second: Resident, engines: Engines) -> bool:
    """Whether two programs have no bytes on chip in common."""
    theirs = set(second.spans)
    return not any(theirs & set(over) for over in engines.overlapping(first.spans))
