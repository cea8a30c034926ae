"""What each kind of operation does to the state, as closures: the one account of starts and ends.

An operation starts when its engine is free, its operands are ready and its target is free; the last
of these to come is the cause of its wait. It may hold more engines than the one that it runs on:
each must be free when the operation comes to need it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kpu_ir.nest.records import Transfer
from kpu_ir.sim.time.state import Clock, Deferred, Event, Place, Pointer, Queue, Wait
from kpu_ir.sim.time.wiring import Wire

Operation = Callable[[], None]
NOTHING = Wait(-1, "", "")
"""The cause of an operation that its engine did not wait for."""
NOWHERE = Place(-1)


class Use(NamedTuple):
    """An engine that an operation holds besides its own, and the causes of waiting: of its own
    engine for this one, of this one for its own."""

    clock: Clock
    begin: int
    end: int
    waiting: Wait
    waited: Wait


class Turn(NamedTuple):
    """What a channel of external memory does: it ``reads`` or writes, and rests so long if it did the
    other before; the cause of that waiting."""

    reads: bool
    cycles: int
    cause: Wait


class Operand(NamedTuple):
    """A register, why it is waited for, and whether a deferred operation may touch its slot."""

    register: Pointer
    cause: Wait
    settles: bool = False


class Work(NamedTuple):
    """An operation's number, its engine, until when it holds that, and when its result is there."""

    number: int
    clock: Clock
    end: int
    latency: int
    others: Sequence[Use]


@dataclass
class Trace:
    """Where a traced run stands, and who is told of its operations."""

    observer: Callable[[Event], None]
    at: list[int]
    """The loop variables."""
    call: int = 0

    def tell(self, work: Work, start: int, cause: Wait, places: Sequence[Place]) -> None:
        """An operation has started."""
        slots = tuple(place.index for place in places)
        at = tuple(self.at)
        self.observer(Event(work.number, start, cause.number, self.call, at, slots))

    def from_here(self, operation: Deferred) -> Deferred:
        """A deferred operation that a trace finds where it stands, not where it is issued."""
        at = self.at[:]

        def issued(source: Place, target: Place) -> None:
            now, self.at[:] = self.at[:], at
            operation(source, target)
            self.at[:] = now

        return issued


Waits = Callable[[int, Wait], tuple[int, Wait]]
"""A later start, and its cause."""


def _turning(waits: Waits | None, clocks: Sequence[Clock], turn: Turn) -> Waits:
    """Wait as well until these channels have turned around."""
    reads, cycles, rest = turn
    writes = not reads

    def turning(start: int, cause: Wait) -> tuple[int, Wait]:
        if waits:
            start, cause = waits(start, cause)
        for clock in clocks:
            if clock.reads is writes and clock.free + cycles > start:
                start, cause = clock.free + cycles, rest
            clock.reads = reads
        return start, cause

    return turning


class Operations:
    """Makes operations: each is told its registers, its work and the causes of its waits."""

    def __init__(self, queue: Queue, trace: Trace | None) -> None:
        """With the queue of what is deferred."""
        self.queue, self.trace = queue, trace

    def _waits(self, others: Sequence[Use], operands: Sequence[Operand] = ()) -> Waits | None:
        """Start and cause, when more operands and other engines are waited for too."""
        if not (others or operands):
            return None
        settle = self.queue.settle

        def waits(start: int, cause: Wait) -> tuple[int, Wait]:
            for register, no_data, settles in operands:
                if settles:
                    settle(register.place)
                if register.place.ready > start:
                    start, cause = register.place.ready, no_data
            for clock, begin, _, waiting, _ in others:
                if clock.free - begin > start:
                    start, cause = clock.free - begin, waiting
            return start, cause

        return waits

    def _ends(
        self,
        work: Work,
        named: Callable[[Place, Place], Sequence[Place]],
        marked: Sequence[tuple[Pointer, int]] = (),
    ) -> Callable[[int, Wait, Place, Place], None] | None:
        """Take the other engines, mark more operands as read by then, and tell the trace."""
        others, trace = work.others, self.trace
        if not (others or marked or trace):
            return None

        def ends(start: int, cause: Wait, source: Place, target: Place) -> None:
            if trace:
                trace.tell(work, start, cause, named(source, target))
            for clock, begin, end, _, waited in others:
                if clock.free:
                    waited.cycles += start + begin - clock.free
                else:
                    clock.first = start + begin
                clock.free = start + end
            for register, read in marked:
                place = register.place
                place.free = max(place.free, start + read)

        return ends

    def take(self, head: Pointer, out: Operand, begins: bool) -> Operation:
        """The next slot of a ring. ``begins``: a result is computed into it, which waits for its
        old readers; its own readiness begins now."""
        register, _, settles = out
        settle = self.queue.settle

        def take() -> None:
            slot = head.place = register.place = head.place.following
            if settles:
                settle(slot)
            if begins:
                slot.ready = slot.free

        return take

    @staticmethod
    def take_all(taken: Sequence[tuple[Pointer, Pointer]]) -> Operation:
        """The next slots of some rings, for what they hold already."""

        def take_all() -> None:
            for head, register in taken:
                head.place = register.place = head.place.following

        return take_all

    def transfer(
        self, sources: Sequence[Operand], head: Pointer | None, into: Operand, wire: Wire,
        work: Work, is_fetch: bool, turn: Turn | None = None,
    ) -> Operation:  # fmt: skip
        """From a tile or a tensor (and from a list of rows) to the next slot of a ring, to one that
        was taken before, or to a tensor."""
        _, clock, end, latency, others = work
        (origin, no_data, settles), *rows = sources
        register, no_room, settles_target = into
        settled = [p for p, needed in ((register, settles_target), (origin, settles)) if needed]
        settle, marks, fills = self.queue.settle, bool(wire.marks), wire.fills
        waits = self._waits(others, rows)
        if turn:
            waits = _turning(waits, [clock, *(use.clock for use in others)], turn)
        ends = self._ends(work, lambda *places: places[is_fetch : 1 + fills])

        def transfer(source: Place | None = None, target: Place = NOWHERE) -> None:
            if source is None:
                source = origin.place
                if head:
                    head.place = register.place = head.place.following
                target = register.place
                if settled:
                    for pointer in settled:
                        settle(pointer.place)
            before = start = clock.free
            cause = NOTHING
            time = source.ready
            if time > start:
                start = time
                cause = no_data
            time = target.free
            if time > start or (is_fetch and time == start > before):
                start = time
                cause = no_room
            if waits:
                start, cause = waits(start, cause)
            if before:
                if start > before:
                    cause.cycles += start - before
            else:
                clock.first = start
            time = clock.free = start + end
            if ends:
                ends(start, cause, source, target)
            if marks and time > source.free:
                source.free = time
            time = start + latency
            if fills:
                target.ready = target.free = time
            elif time > target.ready:
                target.ready = time

        if wire.record is None or not wire.record.defer:
            return transfer
        return self._deferred(transfer, wire.record, origin, head, into)

    def _deferred(
        self,
        operation: Deferred,
        record: Transfer,
        source: Pointer,
        head: Pointer | None,
        into: Operand,
    ) -> Operation:
        """Leave the operation to the queue, with its places as they are now."""
        trace, queue, (target, _, settles) = self.trace, self.queue, into

        def defer() -> None:
            if head:
                head.place = target.place = head.place.following
                if settles:
                    queue.settle(target.place)
            function = trace.from_here(operation) if trace else operation
            queue.defer(record.defer, function, source.place, target.place)

        return defer

    def compute(
        self, operands: Sequence[Operand], release: int, into: Operand, gate: str, work: Work
    ) -> Operation:
        """From tiles to a tile that was taken before. The first two operands are free again when
        the engine is, others ``release`` cycles after the start."""
        _, clock, end, latency, others = work
        one, two, *more = operands if len(operands) > 1 else (*operands, *operands)
        (left, no_left, settles_left), (right, no_right, settles_right) = one, two
        needs = tuple((use.clock, use.begin, use.waiting) for use in others)
        holds = tuple((use.clock, use.begin, use.end, use.waited) for use in others)
        reads = self._waits((), more)
        registers = [operand.register for operand in operands]
        ends = self._ends(
            work._replace(others=()),
            lambda _, slot: (*(r.place for r in registers), slot),
            [(operand.register, release) for operand in more],
        )
        result, no_room, settles = into
        fresh, settles = gate == "free", settles and gate == "free"
        settle, settles_operands = self.queue.settle, settles_left or settles_right

        def compute() -> None:
            before = start = clock.free
            cause = NOTHING
            first = left.place
            second = right.place
            if settles_operands:
                settle(first)
                settle(second)
            time = first.ready
            if time > start:
                start = time
                cause = no_left
            time = second.ready
            if time > start:
                start = time
                cause = no_right
            if reads:
                start, cause = reads(start, cause)
            slot = result.place
            if gate:
                if settles:
                    settle(slot)
                time = slot.free if fresh else slot.ready
                if time > start:
                    start = time
                    cause = no_room
            for other, begin, waiting in needs:
                time = other.free - begin
                if time > start:
                    start = time
                    cause = waiting
            for other, begin, until, waited in holds:
                time = other.free
                if time:
                    waited.cycles += start + begin - time
                else:
                    other.first = start + begin
                other.free = start + until
            if before:
                if start > before:
                    cause.cycles += start - before
            else:
                clock.first = start
            time = clock.free = start + end
            if ends:
                ends(start, cause, first, slot)
            if time > first.free:
                first.free = time
            if time > second.free:
                second.free = time
            slot.ready = slot.free = start + latency

        return compute
