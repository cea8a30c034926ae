"""A program on a device: its plans timed on the device's engines, launch by launch.

A launch is a function of the state that it finds: when engines and bytes on chip are free, counted from
when it may begin. What it leaves is remembered by that, so that equal launches are timed once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kpu_ir.runtime.engines import Engines, Interval, Spent, names_of
from kpu_ir.sim.program.plan import Fetch, Move, Put, Step, Write, steps
from kpu_ir.sim.program.program import Program
from kpu_ir.sim.time.model import TimeModel

MOST_STATES = 4096
"""That a program remembers what it left of."""


@dataclass(frozen=True, slots=True)
class _Left:
    """What a launch leaves, in cycles from when it might begin: engines by name, bytes on chip."""

    free: dict[str, int]
    reads: dict[str, bool | None]
    spans: list[int]
    spent: Spent


def pinned_steps(program: Program) -> list[Step]:
    """The transfers that are bound to channels: they tell engines apart."""
    every = (s for plan in program.plans for s in steps(plan.body))
    return [s for s in every if isinstance(s, Fetch | Move | Put | Write) and s.channels]


class Resident:
    """A program whose rings and tensors on chip begin ``l3`` and ``l2`` bytes into the device's."""

    def __init__(
        self, program: Program, engines: Engines, l3: int = 0, l2: int = 0,
        fast_forward: bool = True, tracing: bool = False,
    ) -> None:  # fmt: skip
        """``tracing``: every operation on an engine is kept; ``fast_forward``: loops jump."""
        self.program, self.fast_forward, self.tracing = program, fast_forward, tracing
        self.rest = max(
            program.machine.external.read_to_write, program.machine.external.write_to_read
        )
        self.prepare(())
        model, begin = self.model, {"l3": l3, "l2": l2}
        self.slots: list[int] = []
        spans: list[int] = []
        for plan in program.plans:
            for ring in plan.rings:
                for i, place in enumerate(model.places.rings[ring.index]):
                    at = begin[ring.level] + ring.address + i * ring.slot_bytes
                    self.slots.append(place)
                    spans.append(engines.span(ring.level, at, at + ring.slot_bytes))
        for buffer in program.buffers:
            if buffer.level == "l3":
                at = begin["l3"] + buffer.address
                self.slots.append(model.places.tensors + buffer.index)
                spans.append(engines.span("l3", at, at + buffer.bytes))
        self.spans = spans
        self._seen = -1

    def prepare(self, others: Iterable[Step]) -> None:
        """Make the model of time, on engines that serve ``others`` too."""
        self.model = TimeModel(self.program, self.fast_forward, self.tracing, steps=others)
        self.known: dict[tuple[Any, ...], _Left] = {}

    def time(self, engines: Engines, gate: int) -> Spent:
        """Launch it no earlier than ``gate``."""
        if self._seen != len(engines.spans):
            self._seen = len(engines.spans)
            self.overlaps = engines.overlapping(self.spans)
        free = [self._free(names_of(e), engines, gate) for e in self.model.engines]
        rel = [max(0, *[engines.spans[i] - gate for i in o]) for o in self.overlaps]
        key = (tuple(free), tuple(rel))
        left = self.known.get(key)
        if left is None:
            if len(self.known) >= MOST_STATES:
                self.known.clear()
            left = self.known[key] = self._launch(free, rel)
        for name, time in left.free.items():
            engines.free[name] = gate + time
        engines.reads.update(left.reads)
        for number, time in zip(self.spans, left.spans):
            engines.spans[number] = gate + time
        spent = left.spent
        moved = tuple(
            Interval(i.engine, gate + i.begin, gate + i.end, i.what) for i in spent.intervals
        )
        return Spent(gate + spent.start, gate + spent.end, spent.busy, spent.counts, moved)

    def _free(self, names: list[str], engines: Engines, gate: int) -> tuple[int, bool | None]:
        """When engines that are used alike are free. 0: nobody can tell that they ever worked."""
        last = max(names, key=lambda name: engines.free[name])
        free = engines.free[last] - gate
        rest = self.rest if engines.reads[last] is not None else 0
        return (0, None) if free + rest <= 0 else (free, engines.reads[last])

    def _launch(self, free: list[tuple[int, bool | None]], rel: list[int]) -> _Left:
        model = self.model
        state = model.state
        state.reset()
        model.latest = 0
        model.events.clear()
        for clock, (time, reads) in zip(state.clocks, free):
            clock.free, clock.reads = time, reads
        for place, time in zip(self.slots, rel):
            state.places[place].free = time
        busy: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        for number, call in enumerate(self.program.calls):
            if model.trace:
                model.trace.call = number
            timing = model.call(call)
            busy.update(timing.busy)
            counts.update(timing.counts)
        used = [i for i, e in enumerate(model.engines) if busy[e.name]]
        ends = [place.ready for place in state.places]
        end = max(0, *ends, *(state.clocks[i].free for i in used))
        starts = [max(0, free[i][0]) if free[i][0] else state.clocks[i].first for i in used]
        by_name = {n: busy[model.engines[i].name] for i in used for n in names_of(model.engines[i])}
        spent = Spent(min(starts, default=0), end, by_name, dict(counts), tuple(self._intervals()))
        return _Left(
            {n: state.clocks[i].free for i in used for n in names_of(model.engines[i])},
            {n: state.clocks[i].reads for i in used for n in names_of(model.engines[i])},
            [max(state.places[p].free, state.places[p].ready) for p in self.slots],
            spent,
        )

    def _intervals(self) -> Iterable[Interval]:
        for event in self.model.events:
            step, _, held = self.model.operations[event.operation]
            label = self.program.calls[event.call].label
            for hold in held:
                for name in names_of(hold.engine):
                    what = f"{step.record.name} of {label}"
                    yield Interval(name, event.start + hold.begin, event.start + hold.end, what)
