"""Steady-state fast-forward: a loop is stepped until its state repeats up to a shift, then jumps.

Why this is exact:

    The body maps the state x to F(x), a max-plus linear map: F(x + c) = F(x) + c. It knows slots
    only by their rings' heads and by registers, so that turning rings changes nothing but which
    slots do what: F(turned x) = turned F(x). If after p trips all entries that the loop moves are
    those of before, turned as far as p trips turn each ring, and later by the same c, the next p
    trips repeat the last p; so do their waits, and m such periods turn the rings m times as far,
    add m c to these entries and m times the last period's waits to every counter. Entries that the
    loop only reads (data loaded before it) do not grow; they are no obstacle once each engine that
    reads them is free later than they are, for then they never again win a maximum.

What the map depends on besides times must be the same too:

* Registers that a trip reads before it sets them hold the same places, as seen from the heads of
  their rings.
* Deferred operations are the same, on the same places seen so, due as many trips from now.
* Channels of external memory have read or written last, as before.
* Every engine of the loop has begun: what comes before its first operation is no wait.

What nobody can tell apart counts as equal: a slot's time that is no later than each engine that
ever waits for it, and when slots are free that the loop only reads again, for those that will wait
for that stand outside; what the last readers leave there is written down at the jump.

Nothing is approximated, and a loop that does not repeat is stepped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from kpu_ir.sim.program.plan import Ring
from kpu_ir.sim.time.state import Clock, Place, Pointer, State, Wait
from kpu_ir.sim.time.wiring import Wire

TRIPS, OPERATIONS = 4, 300
"""Loops of fewer trips, or operations in all, are stepped: they end before a repetition pays."""


class _Turning:
    """A ring that a loop takes slots of: ``given`` in each trip. ``filled``: slots get new data.

    ``settled``: nobody but the engines of the loop ever waits for its slots. Times that are no
    later than each of these engines never win a maximum; they count as equal.
    """

    def __init__(
        self, head: Pointer, slots: list[Place], given: int, filled: bool, settled: bool
    ) -> None:
        self.head, self.slots, self.given = head, slots, given
        self.filled, self.settled = filled, settled
        self.first, self.depth = slots[0].index, len(slots)

    def times(self, here: int, base: int) -> list[int]:
        """When slots are free and filled, from the one that was given last, as seen from ``here``;
        ``base``: the earliest engine."""
        at = self.head.place.index - self.first
        times = [slot.free for slot in self.slots]
        if at:
            times = times[at:] + times[:at]
        if self.filled:
            ready = [slot.ready for slot in self.slots]
            times += ready[at:] + ready[:at] if at else ready
        if self.settled:
            return [time - here if time > base else base - here for time in times]
        return [time - here for time in times]

    def seen(self, place: Place) -> int:
        """Where a slot is, from the one that was given last."""
        return (place.index - self.head.place.index) % self.depth

    def turned(self, place: Place, by: int) -> Place:
        """The slot so much further."""
        return self.slots[(place.index - self.first + by) % self.depth]

    def turn(self, trips: int, period: int, later: int) -> None:
        """So many trips further, and what the slots hold ``later``."""
        slots, by = self.slots, trips * self.given % self.depth
        free = [slot.free for slot in slots]
        ready = [slot.ready for slot in slots]
        self.head.place = self.turned(self.head.place, by)
        for slot, time in zip(slots[by:] + slots[:by], free):
            slot.free = time + later
        if self.filled:
            for slot, time in zip(slots[by:] + slots[:by], ready):
                slot.ready = time + later


class _Reused(_Turning):
    """A ring that a loop only takes up again: slots stay as they are, but for being free later, which
    nobody in the loop waits for. Every slot is read by ``readers`` before the next is taken."""

    readers: set[Clock]
    """None: the slots are as they were."""

    def rests(self) -> bool:
        """Whether the slots are free before any reader begins again: what it sets then stands."""
        latest = max(slot.free for slot in self.slots) if self.readers else 0
        return all(latest <= clock.free for clock in self.readers)

    def turn(self, trips: int, period: int, later: int) -> None:
        """The slots of each period are free as those of the last one were, so much later."""
        taken, each = trips * self.given, period * self.given
        if not self.readers:
            self.head.place = self.turned(self.head.place, taken)
            return
        free = {-k: self.turned(self.head.place, -k).free for k in range(min(each, self.depth))}
        later = later * period // trips
        for k in range(min(taken, self.depth)):
            ago, at = divmod(taken - k - 1, each)
            slot = self.turned(self.head.place, taken - k)
            slot.free = free[at + 1 - each] + (ago + 1) * later
        self.head.place = self.turned(self.head.place, taken)


class _Seen(NamedTuple):
    """When the loop was in a state: after how many trips, at which time, what had been waited, how
    far the queue was; whether slots that are only reused were free."""

    done: int
    here: int
    waited: list[int]
    now: int
    rests: bool


class Repetition:
    """A loop that is stepped until its state repeats, then jumps."""

    def __init__(
        self,
        state: State,
        waits: Sequence[Wait],
        body: Sequence[Callable[[], None]],
        trips: int,
        count: int,
        touched: Callable[[], Iterable[tuple[Wire, Sequence[int], int]]],
        users: Mapping[int, set[int]],
        ring_of: Mapping[int, Ring],
    ) -> None:
        """``trips`` trips of ``body``, of ``count`` operations each. ``touched`` tells them one by
        one, with their engines and how often a trip executes them; ``users`` the engines that ever
        wait for slots of a ring, ``ring_of`` the ring of a register."""
        self.state, self.waits, self.body, self.trips = state, waits, body, trips
        self.count, self.touched, self.users, self.ring_of = count, touched, users, ring_of
        self.clocks: list[Clock] = []
        self.prepared = False

    def _clocks(self) -> list[Clock]:
        """The engines of the loop."""
        engines = {engine for _, held, _ in self.touched() for engine in held}
        return [self.state.clocks[e] for e in sorted(engines)]

    def _prepare(self) -> None:
        """Sort out what moves and what stands still; once, for many loops are never run."""
        taken: dict[int, int] = {}  # the ring of each register that is set
        given: dict[int, int] = {}  # how many slots each ring gives
        early: set[int] = set()  # registers that are used before they are set
        filled: set[int] = set()  # rings whose slots get new data
        engines: set[int] = set()
        reads: set[tuple[int, int]] = set()  # by which engine, from which register
        room: set[tuple[int, int]] = set()  # tensors that are written, once they have been read
        marked: set[tuple[int, int]] = set()  # by which engine, which register is in use
        unread: set[int] = set()  # registers that were set, and not read yet
        strange: set[int] = set()  # rings whose slots not everybody reads at once
        frees: set[int] = set()  # registers whose places are in use, and get
        readies: set[int] = set()  # new data, until later times afterwards
        for wire, held, times in self.touched():
            early |= {*wire.reads, *wire.marks} - taken.keys()
            if wire.ring is None:
                early |= {wire.target} - taken.keys()
            else:
                if wire.target in unread:
                    strange.add(wire.ring)
                unread.add(wire.target)
                taken[wire.target] = wire.ring
                given[wire.ring] = given.get(wire.ring, 0) + times
                if wire.fills:
                    filled.add(wire.ring)
            if held:
                engines.update(held)
                unread.difference_update(wire.marks[:2])
                marked.update((held[0], register) for register in wire.marks)
                late = wire.marks if wire.trips else wire.marks[2:]  # in use for longer
                strange.update(taken[r] for r in late if r in taken)
                reads.update((held[0], register) for register in wire.reads)
                frees.update(wire.marks)
                readies.add(wire.target)
                if wire.fills:
                    frees.add(wire.target)
                elif wire.gate:
                    room.add((held[0], wire.target))

        strange.update(self.ring_of[r].index for r in early if r in self.ring_of)
        used = {taken[r] for _, r in marked if r in taken}
        strange.update(used & {taken[r] for r in unread})
        clocks, registers, state = self.state.clocks, self.state.registers, self.state
        rings: dict[int, _Turning] = {}
        for ring, n in given.items():
            kind = _Turning if ring in filled | strange else _Reused
            of = state.heads[ring], state.slots[ring]
            rings[ring] = kind(*of, n, ring in filled, self.users[ring] <= engines)
        self.turning = list(rings.values())
        self.reusing = [ring for ring in self.turning if isinstance(ring, _Reused)]
        self.watched = [ring for ring in self.turning if not isinstance(ring, _Reused)]
        for ring in self.reusing:
            ring.readers = set()
        for e, r in marked:
            ring = rings.get(taken.get(r, -1))
            if isinstance(ring, _Reused):
                ring.readers.add(clocks[e])
        self.ring_at = {slot.index: ring for ring in self.turning for slot in ring.slots}
        self.set = [(registers[r], rings[ring]) for r, ring in taken.items()]
        # Registers set before the loop: their places stand still.
        inside = taken.keys()
        self.free_of = [registers[r] for r in frees - inside]
        self.ready_of = [registers[r] for r in readies - inside]
        self.carried = [registers[r] for r in early]
        still = [(e, r) for e, r in reads if r not in inside | readies]
        self.still = [(clocks[e], registers[r]) for e, r in still]
        self.room = [(clocks[e], registers[r]) for e, r in room if r not in frees]
        reused = [(e, taken[r]) for e, r in reads if r in inside and taken[r] not in filled]
        self.reused = [(clocks[e], slot) for e, ring in reused for slot in state.slots[ring]]
        self.prepared = True

    def _stands_still(self) -> bool:
        """Nothing that the loop only reads can win a maximum any more."""
        return (
            all(tile.place.ready <= clock.free for clock, tile in self.still)
            and all(slot.ready <= clock.free for clock, slot in self.reused)
            and all(tensor.place.free <= clock.free for clock, tensor in self.room)
        )

    def _seen(self, place: Place) -> object:
        """A place, as the body knows it."""
        ring = self.ring_at.get(place.index)
        return place if ring is None else (ring, ring.seen(place))

    def run(self) -> None:
        """All trips."""
        trips, body, done = self.trips, self.body, 0
        clocks: Sequence[Clock] = self.clocks
        if not clocks:
            clocks = self.clocks = self._clocks()
        # Equal distances of the engines are a sign that the state may be there again. What deep
        # rings hold comes to rest later, so that only some of the signs are followed up: ever more
        # in a row, ever more seldom.
        signs: set[tuple[int, ...]] = set()
        known: dict[tuple[object, ...], _Seen] = {}
        repeated = 0
        while clocks and done < trips - 1:
            for operation in body:
                operation()
            done += 1
            here = clocks[0].free
            sign = tuple([clock.free - here for clock in clocks])
            if sign not in signs:
                signs.add(sign)
                continue
            repeated += 1
            window = 1 << (repeated.bit_length() - 1)
            if repeated - window > window >> 2:
                continue
            now = self._now(done, here)
            before = known.setdefault((sign, *self._key(here, here + min(sign))), now)
            period = done - before.done
            if period > trips - done:
                break
            if (
                period
                and before.rests
                and self._stands_still()
                and all(clock.free for clock in clocks)
            ):
                jumps = (trips - done) // period
                self._jump(before, now, jumps)
                done += jumps * period
                break
        for _ in range(trips - done):
            for operation in body:
                operation()

    def _now(self, done: int, here: int) -> _Seen:
        if not self.prepared:
            self._prepare()
        waited = [wait.cycles for wait in self.waits]
        rests = all(ring.rests() for ring in self.reusing)
        return _Seen(done, here, waited, self.state.queue.now, rests)

    def _key(self, here: int, base: int) -> list[object]:
        """What the body knows of the state, as seen from ``here``; ``base``: the earliest engine."""
        inside, queue, seen = self.ring_at, self.state.queue, self._seen
        key: list[object] = [clock.reads for clock in self.clocks]
        for register in self.free_of:
            key.append(register.place.free - here)
        for register in self.ready_of:
            key.append(register.place.ready - here)
        for ring in self.watched:
            key += ring.times(here, base)
        for register in self.carried:
            if register.place.index in inside:
                key.append(seen(register.place))
        for due, what, source, target in queue.entries:
            key += (due - queue.now, what, seen(source), seen(target))
        return key

    def _jump(self, before: _Seen, now: _Seen, jumps: int) -> None:
        """So many periods, each as from ``before`` until ``now``."""
        trips, later = jumps * (now.done - before.done), jumps * (now.here - before.here)
        for clock in self.clocks:
            clock.free += later
        inside = self.ring_at
        for place in {r.place for r in self.free_of if r.place.index not in inside}:
            place.free += later
        for place in {r.place for r in self.ready_of if r.place.index not in inside}:
            place.ready += later
        for register, ring in self.set:
            register.place = ring.turned(register.place, trips * ring.given)
        self.state.queue.advance(jumps * (now.now - before.now), lambda p: self._turned(p, trips))
        for ring in self.turning:
            ring.turn(trips, now.done - before.done, later)
        for wait, cycles in zip(self.waits, before.waited):
            wait.cycles += jumps * (wait.cycles - cycles)
        self.state.skipped += trips * self.count

    def _turned(self, place: Place, trips: int) -> Place:
        """What is where a place was, so many trips ago."""
        ring = self.ring_at.get(place.index)
        return place if ring is None else ring.turned(place, trips * ring.given)
