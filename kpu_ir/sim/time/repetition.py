"""Steady-state fast-forward: a loop is stepped until its state repeats up to a shift, then jumps.

Why this is exact:

    The body maps the state x to F(x), a max-plus linear map: F(x + c) = F(x) + c. If after p trips
    all entries that the loop moves have grown by the same c, the next p trips repeat the last p,
    shifted by c; so do their waits, and m such periods add m c to these entries and m times the
    last period's waits to every counter. Entries that the loop only reads (data loaded before it)
    do not grow; they are no obstacle once each engine that reads them is free later than they
    are, for then they never again win a maximum.

What the map depends on besides times must be the same too:

* Rings give their slots in turn. States are compared only after as many trips as bring every ring
  back to where it was, so that the same trips use the same slots.
* Registers that a trip reads before it sets them hold the same places.
* Deferred operations are the same, on the same places, due as many trips from now.
* Every engine of the loop has begun: what comes before its first operation is no wait.

Nothing is approximated, and a loop that does not repeat is stepped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import gcd, lcm

from kpu_ir.sim.time.state import Place, Region, State, Wait
from kpu_ir.sim.time.wiring import Wire

SHORT = 6
"""Loops of fewer trips are stepped: they end before a repetition pays."""


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
    ) -> None:
        """``trips`` trips of ``body``, of ``count`` operations each. ``touched`` tells them one by
        one, with their engines and how often a trip executes them."""
        self.state, self.waits, self.body, self.trips = state, waits, body, trips
        self.count, self.touched = count, touched
        self.aligned, self.prepared = 0, False
        self.regions: dict[tuple[Place, ...], Region] = {}

    def _align(self) -> int:
        """The fewest trips after which every ring is where it was."""
        given: Counter[int] = Counter()
        for wire, _, times in self.touched():
            if wire.ring is not None:
                given[wire.ring] += times
        depths = ((len(self.state.slots[ring]), n) for ring, n in given.items())
        return lcm(1, *(depth // gcd(depth, n) for depth, n in depths))

    def _prepare(self) -> None:
        """Sort out what moves and what stands still; once, for many loops are never run."""
        taken: dict[int, int] = {}  # the ring of each register that is set
        early: set[int] = set()  # registers that are used before they are set
        filled: set[int] = set()  # rings whose slots get new data
        engines: set[int] = set()
        reads: set[tuple[int, int]] = set()  # by which engine, from which register
        room: set[tuple[int, int]] = set()  # tensors that are written, once they have been read
        frees: set[int] = set()  # registers whose places are in use, and get
        readies: set[int] = set()  # new data, until later times afterwards
        for wire, held, _ in self.touched():
            early |= {*wire.reads, *wire.marks} - taken.keys()
            if wire.ring is None:
                early |= {wire.target} - taken.keys()
            else:
                taken[wire.target] = wire.ring
                filled |= {wire.ring} if wire.fills else set()
            if held:
                engines.update(held)
                reads.update((held[0], register) for register in wire.reads)
                frees.update(wire.marks)
                readies.add(wire.target)
                if wire.fills:
                    frees.add(wire.target)
                elif wire.gate:
                    room.add((held[0], wire.target))

        clocks, registers = self.state.clocks, self.state.registers
        slots = {ring: self.state.slots[ring] for ring in taken.values()}
        self.clocks = [clocks[e] for e in sorted(engines)]
        self.free = [slot for ring in slots for slot in slots[ring]]
        self.ready = [slot for ring in slots if ring in filled for slot in slots[ring]]
        # Registers set before the loop: their places move with it, or stand still.
        inside = taken.keys()
        self.free_of = [registers[r] for r in frees - inside]
        self.ready_of = [registers[r] for r in readies - inside]
        self.carried = [registers[r] for r in early & inside]
        still = [(e, r) for e, r in reads if r not in inside | readies]
        self.still = [(clocks[e], registers[r]) for e, r in still]
        self.room = [(clocks[e], registers[r]) for e, r in room if r not in frees]
        reused = [(e, taken[r]) for e, r in reads if r in inside and taken[r] not in filled]
        self.reused = [(clocks[e], slot) for e, ring in reused for slot in slots[ring]]
        self.prepared = True

    def _stands_still(self) -> bool:
        """Nothing that the loop only reads can win a maximum any more."""
        return (
            all(tile.place.ready <= clock.free for clock, tile in self.still)
            and all(slot.ready <= clock.free for clock, slot in self.reused)
            and all(tensor.place.free <= clock.free for clock, tensor in self.room)
        )

    def _region(self) -> Region:
        """What moves, with the registers as they are now."""
        free = [register.place for register in self.free_of]
        ready = [register.place for register in self.ready_of]
        key = (*free, *ready)
        if key not in self.regions:
            self.regions[key] = Region(self.clocks, (*self.free, *free), (*self.ready, *ready))
        return self.regions[key]

    def run(self) -> None:
        """All trips."""
        self.aligned = self.aligned or self._align()
        if self.trips <= 2 * self.aligned:
            self._step(self.trips)
            return
        if not self.prepared:
            self._prepare()
        trips, aligned, queue = self.trips, self.aligned, self.state.queue
        region = self._region()
        seen: dict[object, tuple[int, int, list[int], int]] = {}
        done = 0
        while self.clocks and done + aligned <= trips:
            times = region.times()
            here = times[0]
            if 0 not in times[: len(self.clocks)]:
                carried = [register.place for register in self.carried]
                key = (*[time - here for time in times], *carried, *queue.since(queue.now))
                waited = [wait.cycles for wait in self.waits]
                before = seen.setdefault(key, (done, here, waited, queue.now))
                period = done - before[0]
                if period > trips - done:
                    break
                if period and self._stands_still():
                    jumps = (trips - done) // period
                    region.put(times, jumps * (here - before[1]))
                    for wait, cycles in zip(self.waits, before[2]):
                        wait.cycles += jumps * (wait.cycles - cycles)
                    queue.advance(jumps * (queue.now - before[3]))
                    self.state.skipped += jumps * period * self.count
                    done += jumps * period
                    break
            self._step(aligned)
            done += aligned
        self._step(trips - done)

    def _step(self, trips: int) -> None:
        body = self.body
        for _ in range(trips):
            for operation in body:
                operation()
