"""Runs the queues of a program, engine by engine: its second form, executed.

It knows the JSON object alone (``program.schema.json``), and nothing of nests, plans or the
simulator. There are queues and counters: an engine takes the next instruction of its queue as soon as
the other engines have begun as many accesses of its rings as the instruction says, and as the
engines that it needs besides have come to the same instruction. It starts when all of its engines
are free, its operands are ready, and the slot of its result is free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any

from kpu_ir.support.errors import KpuError

Formula = int | list[int]
Object = Mapping[str, Any]


@dataclass(slots=True, eq=False)
class Place:
    """A slot or a tensor: when its readers are done, when its data is there, and what that is."""

    free: int = 0
    ready: int = 0
    data: Any = None


@dataclass(slots=True, eq=False)
class Clock:
    """An engine: when it is free, how long it was busy, whether it read or wrote last."""

    free: int = 0
    busy: int = 0
    reads: bool | None = None


@dataclass(slots=True, eq=False)
class Issued:
    """An instruction at the head of a queue, its formulas as numbers."""

    number: int
    operation: Object
    at: tuple[int, ...]
    slots: tuple[int, ...]
    after: tuple[tuple[str, int], ...]
    fresh: bool
    item: Object


Computes = Callable[[Object, Object, Issued, list[Place], Place], None]
"""What an operation does to data: the kernel, the operation, the instruction, what it reads and what it
writes."""


@dataclass
class Executor:
    """``cycles``, ``busy`` by engine and ``counts`` after ``run``; ``first``: the cycle in which each
    entry of a queue began for the first time, by its identity."""

    program: Object
    computes: Computes | None = None
    """None: time only."""
    most: int | None = None
    """Stop after so many instructions."""
    cycles: int = 0
    executed: int = 0
    busy: dict[str, int] = field(default_factory=dict[str, int])
    counts: Counter[str] = field(default_factory=Counter[str])
    first: dict[int, int] = field(default_factory=dict[int, int])

    def __post_init__(self) -> None:
        """A cold machine."""
        self.clocks = {e["name"]: Clock() for e in self.program["engines"]}
        self.kernels = {k["name"]: k for k in self.program["kernels"]}
        self.operations = {
            k["name"]: [{**k["kinds"][o["kind"]], **o} for o in k["operations"]]
            for k in self.program["kernels"]
        }
        self.tensors = [Place() for _ in self.program["memory"]]
        self.slots = {
            (k["name"], r["name"]): [Place() for _ in range(r["slots"])]
            for k in self.program["kernels"]
            for r in k["rings"]
        }
        self.sharing = self._sharing()

    def _sharing(self) -> dict[int, list[Place]]:
        """Of each place, those of other kernels and tensors in L3 that have bytes in common with it."""
        spans: list[tuple[str, int, int, str, Place]] = []
        for kernel in self.program["kernels"]:
            for ring in kernel["rings"]:
                for i, slot in enumerate(self.slots[kernel["name"], ring["name"]]):
                    at = ring["address"] + i * ring["slot_bytes"]
                    spans.append((ring["level"], at, at + ring["slot_bytes"], kernel["name"], slot))
        for tensor, place in zip(self.program["memory"], self.tensors):
            if tensor["level"] == "l3":
                at = tensor["address"]
                spans.append(("l3", at, at + tensor["bytes"], "", place))
        sharing: dict[int, list[Place]] = {}
        living: list[tuple[str, int, int, str, Place]] = []
        for span in sorted(spans, key=lambda s: s[:4]):
            level, begin, _, owner, place = span
            living = [o for o in living if o[0] == level and o[2] > begin]
            for other in living:
                if other[3] != owner or not owner:
                    sharing.setdefault(id(place), []).append(other[4])
                    sharing.setdefault(id(other[4]), []).append(place)
            living.append(span)
        return sharing

    def run(self) -> None:
        """Execute all calls."""
        for call in self.program["calls"]:
            self._call(call)
            if self.most is not None and self.executed >= self.most:
                break
        self.busy = {name: clock.busy for name, clock in self.clocks.items()}
        self.cycles = max([self.cycles, *(clock.free for clock in self.clocks.values())])

    def _call(self, call: Object) -> None:
        kernel = self.kernel = self.kernels[call["kernel"]]
        self.places = {f"%{i}": [self.tensors[b]] for i, b in enumerate(call["buffers"])}
        for ring in kernel["rings"]:
            self.places[ring["name"]] = self.slots[kernel["name"], ring["name"]]
        for place in [p for places in self.places.values() for p in places]:
            for other in self.sharing.get(id(place), ()):
                place.free = max(place.free, other.free, other.ready)
        levels = [self.program["memory"][b]["level"] for b in call["buffers"]]
        self.counted = {f"%{i}": level for i, level in enumerate(levels)}
        self.accesses = Counter[str]()
        self.counts["instructions"] += kernel["instructions"]
        queues = {
            engine: _instructions(items, self.operations[kernel["name"]], [])
            for engine, items in kernel["queues"].items()
        }
        self.queued = set(queues)
        heads: dict[str, Issued] = {}
        for engine in list(queues):
            self._next(engine, queues, heads)
        while heads:
            moved = False
            for engine in list(queues):
                while engine in heads and self._may(engine, heads):
                    moved = True
                    now = heads[engine]
                    self._issue(now)
                    for name, _, _ in now.operation["holds"]:
                        if name in queues:
                            self._next(name, queues, heads)
                    if self.most is not None and self.executed >= self.most:
                        return
            if not moved:
                stuck = ", ".join(f"{e} at operation {h.number}" for e, h in heads.items())
                raise KpuError(f"no engine can go on in {kernel['name']}: {stuck}")

    @staticmethod
    def _next(engine: str, queues: dict[str, Iterator[Issued]], heads: dict[str, Issued]) -> None:
        head = next(queues[engine], None)
        if head is None:
            heads.pop(engine, None)
        else:
            heads[engine] = head

    def _may(self, engine: str, heads: Mapping[str, Issued]) -> bool:
        """Whether an engine's next instruction is its own, and can be issued."""
        head = heads[engine]
        own, *others = head.operation["holds"]
        return (
            own[0] == engine
            and all(
                name not in self.queued or (name in heads and heads[name].number == head.number)
                for name, _, _ in others
            )
            and all(self.accesses[what] >= count for what, count in head.after)
        )

    def _issue(self, now: Issued) -> None:
        op = now.operation
        names = [*op["reads"], *([op["sums"]] if "sums" in op else []), op["into"]]
        slots = chain(now.slots, repeat(0))
        touched = [
            self.places[n][0] if n[0] == "%" else self.places[n][next(slots) % len(self.places[n])]
            for n in names
        ]
        reads, into = touched[: len(op["reads"])], touched[-1]
        if now.fresh:
            into.ready = into.free
        start = self._start(op, reads, into)
        end = start + op["holds"][0][2]
        done = start + op["latency"]
        self.first.setdefault(id(now.item), start)
        for name, begin, until in op["holds"]:
            clock = self.clocks[name]
            clock.free, clock.busy = start + until, clock.busy + until - begin
        if "gate" in op:
            for i, place in enumerate(reads):
                place.free = max(
                    place.free, end if i < 2 else start + op.get("release", op["holds"][0][2])
                )
            into.ready = into.free = done
        else:
            if op.get("keeps"):
                reads[0].free = max(reads[0].free, end)
            if op.get("fills", True):
                into.ready = into.free = done
            else:
                into.ready = max(into.ready, done)
        own = op["holds"][0][0]
        for name in names:
            what = self.counted.get(name, name)
            self.accesses[f"{what} {own}"] += 1
        self.cycles = max(self.cycles, done)
        self.counts.update(op["counts"])
        self.executed += 1
        if self.computes is not None:
            self.computes(self.kernel, op, now, touched[:-1], into)

    def _start(self, op: Object, reads: Sequence[Place], into: Place) -> int:
        start = max(place.ready for place in reads)
        if "gate" not in op or op["gate"] == "free":
            start = max(start, into.free)
        elif op["gate"] == "ready":
            start = max(start, into.ready)
        for name, begin, _ in op["holds"]:
            start = max(start, self.clocks[name].free - begin)
        if "turn" in op:
            reading = op["op"] == "fetch"
            for name, _, _ in op["holds"]:
                clock = self.clocks[name]
                if clock.reads is not None and clock.reads != reading:
                    start = max(start, clock.free + op["turn"])
                clock.reads = reading
        return start


# -- queues ---------------------------------------------------------------------------------------


def value(formula: Formula, trips: Sequence[int]) -> int:
    """A formula where the loops around it are in these trips.

    >>> value([3, 128, 1], [2, 5]), value(7, [2, 5])
    (264, 7)
    """
    if isinstance(formula, int):
        return formula
    return formula[0] + sum(by * trip for by, trip in zip(formula[1:], trips))


def _instructions(
    items: Sequence[Object], operations: Sequence[Object], trips: list[int]
) -> Iterator[Issued]:
    """What a queue holds, one by one."""
    for item in items:
        if "do" not in item:
            number = item["run"] if "run" in item else item["with"]
            yield Issued(
                number,
                operations[number],
                tuple(value(f, trips) for f in item.get("at", ())),
                tuple(value(f, trips) for f in item.get("slots", ())),
                tuple((what, value(f, trips)) for what, f in item.get("after", {}).items()),
                bool(item.get("fresh")),
                item,
            )
            continue
        first = item.get("from", 0)
        trips.append(first)
        for trip in range(first, first + item["trips"]):
            trips[-1] = trip
            yield from _instructions(item["do"], operations, trips)
        trips.pop()
