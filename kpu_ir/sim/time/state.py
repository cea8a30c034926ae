"""The state of a timed machine: times that operations take maxima of and add to.

An operation starts at the maximum of a few of these times, and sets others to its start plus
constants. They belong to engines and to *places*: slots of rings, and tensors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from kpu_ir.sim.time.clock import Engine


@dataclass(slots=True, eq=False)
class Clock:
    """An engine: when it is ``free`` (0 before its first operation), and when its ``first``
    operation began (-1 before); whether it read last (None where that does not matter)."""

    free: int = 0
    first: int = -1
    reads: bool | None = None


@dataclass(slots=True, eq=False)
class Place:
    """When a slot or a tensor is ``free``, its last reader being done, and when what it holds is
    ``ready``; how many deferred operations touch it; the next slot of its ring."""

    index: int
    free: int = 0
    ready: int = 0
    pending: int = 0
    following: Place = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """A ring of its own."""
        self.following = self


@dataclass(slots=True, eq=False)
class Pointer:
    """To a place: a register of the plan that runs, or the slot that a ring gave last."""

    place: Place


@dataclass(slots=True, eq=False)
class Wait:
    """The cycles that an engine waited for one cause."""

    number: int
    engine: str
    cause: str
    cycles: int = 0


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


Deferred = Callable[[Place, Place], None]
"""An operation that is issued later, on its source and its target."""


class Queue:
    """Deferred operations, in the order in which they are issued; ``now`` counts innermost trips."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.now = 0
        self.entries: deque[tuple[int, Deferred, Place, Place]] = deque()

    def defer(self, trips: int, operation: Deferred, source: Place, target: Place) -> None:
        """Issue ``operation`` so many trips later, and not before those in the queue."""
        due = self.now + trips
        if self.entries and self.entries[-1][0] > due:
            due = self.entries[-1][0]
        self.entries.append((due, operation, source, target))
        source.pending += 1
        target.pending += 1

    def _issue(self) -> None:
        _, operation, source, target = self.entries.popleft()
        source.pending -= 1
        target.pending -= 1
        operation(source, target)

    def tick(self) -> None:
        """A trip is over: issue what is due."""
        self.now += 1
        while self.entries and self.entries[0][0] <= self.now:
            self._issue()

    def settle(self, place: Place) -> None:
        """Issue until nothing in the queue touches ``place``."""
        while place.pending:
            self._issue()

    def drain(self) -> None:
        """Issue everything."""
        while self.entries:
            self._issue()

    def since(self, origin: int) -> list[tuple[int, Deferred, Place, Place]]:
        """The queue, with times that count from ``origin``."""
        return [(due - origin, *rest) for due, *rest in self.entries]  # pyright: ignore

    def advance(self, trips: int, turned: Callable[[Place], Place]) -> None:
        """So many trips later, with the same queue as seen from then, on ``turned`` places."""
        self.now += trips
        for due, operation, source, target in self.since(-trips):
            old, new = (source, target), (turned(source), turned(target))
            for place, change in ((old[0], -1), (old[1], -1), (new[0], 1), (new[1], 1)):
                place.pending += change
            self.entries.popleft()
            self.entries.append((due, operation, *new))


class State:
    """All times of a program, and where it stands."""

    def __init__(
        self, engines: list[Engine], places: int, registers: int, rings: Mapping[int, range]
    ) -> None:
        """A cold machine. ``rings``: the places of each ring's slots."""
        self.engines, self.queue = engines, Queue()
        self.clocks = [Clock() for _ in engines]
        self.heads = {ring: Pointer(Place(-1)) for ring in rings}
        self.lay_out(places, rings)
        self.registers = [Pointer(Place(-1)) for _ in range(registers)]
        """Of the plan that runs: its tiles, then its parameters."""
        self.waits: dict[tuple[int, str], Wait] = {}
        self.skipped = 0
        """Operations that were jumped over."""

    def lay_out(self, places: int, rings: Mapping[int, range]) -> None:
        """Make the places, and the rings of some of them."""
        self.places = [Place(i) for i in range(places)]
        self.slots = {ring: [self.places[i] for i in slots] for ring, slots in rings.items()}
        for ring, slots in self.slots.items():
            for slot, following in zip(slots, (*slots[1:], slots[0])):
                slot.following = following
            self.heads[ring].place = slots[-1]

    def wait(self, engine: Engine, cause: str) -> Wait:
        """What counts an engine's waiting for one cause."""
        key = engine.index, cause
        known = self.waits.get(key)
        if known is None:
            known = self.waits[key] = Wait(len(self.waits), engine.name, cause)
        return known

    def reset(self) -> None:
        """A cold machine again."""
        for clock in self.clocks:
            clock.free, clock.first, clock.reads = 0, -1, None
        for place in self.places:
            place.free = place.ready = 0
        for wait in self.waits.values():
            wait.cycles = 0
        self.queue.now = self.skipped = 0


class Region:
    """The part of the state that a loop or a call moves: these times shift together."""

    def __init__(
        self, clocks: Iterable[Clock], free: Iterable[Place], ready: Iterable[Place]
    ) -> None:
        """When these are free and ready, each once."""
        self.free = (*clocks, *dict.fromkeys(free))
        self.ready = tuple(dict.fromkeys(ready))

    def times(self) -> list[int]:
        """The entries."""
        return [place.free for place in self.free] + [place.ready for place in self.ready]

    def put(self, times: Iterable[int], shift: int) -> None:
        """Set the entries to these times, so much later."""
        values = iter(times)
        for place in self.free:
            place.free = next(values) + shift
        for place in self.ready:
            place.ready = next(values) + shift
