"""Streams: operations in order; events: points in that order that others wait for.

Each operation gets a vector clock: how far of each stream it comes after. Two operations on the same
bytes, of which neither comes after the other, race, and the second one is refused.
"""

from __future__ import annotations

from typing import Any

from kpu_ir.frontends.python.calls import for_people
from kpu_ir.runtime.accesses import Access
from kpu_ir.runtime.allocation import Allocation
from kpu_ir.runtime.allocator import Allocator, joined
from kpu_ir.runtime.base import AnyStream, DeviceLike, Request, here
from kpu_ir.runtime.graphs import GraphBuilder
from kpu_ir.runtime.timeline import Work
from kpu_ir.support.errors import KpuError


class Race(KpuError):
    """Two operations on the same bytes, and nothing orders them."""


@for_people
class Event:
    """A point in a stream. The difference of two is the time between them."""

    def __init__(self, device: DeviceLike) -> None:
        """Not recorded yet: ``stream.record`` does."""
        self.device = device
        self.works: tuple[Work, ...] | None = None
        self.stamp: dict[int, int] = {}
        self.issued = 0

    def __repr__(self) -> str:
        return f"<Event: {'not recorded' if self.works is None else 'recorded'}>"

    def check(self) -> tuple[Work, ...]:
        """What it comes after. Raises ``KpuError`` where it was not recorded."""
        if self.works is None:
            raise KpuError("this event was not recorded", hint="stream.record(event) first")
        return self.works

    @property
    def cycles(self) -> int:
        """When everything before it has ended, in base cycles."""
        works = self.check()
        self.device.timeline.settle()
        return max(self.issued, *(work.end for work in works), 0)

    @property
    def is_done(self) -> bool:
        """Whether the host, where it is now, finds it done."""
        return self.cycles <= self.device.now

    def sync(self) -> None:
        """The host waits for it."""
        self.device.wait_until(self.cycles, self.stamp)

    def __sub__(self, earlier: Event) -> float:
        """Milliseconds from ``earlier`` to this one."""
        return 1e3 * self.device.machine.seconds(self.cycles - earlier.cycles)


@for_people
class Stream(AnyStream):
    """Operations that happen one after the other. ``device.create_stream`` makes it."""

    captures = False

    def __init__(self, device: DeviceLike, index: int, priority: int, share: int) -> None:
        """``priority``: lower numbers go first. ``share``: which part of the chip's memory it has."""
        self.device, self.index, self.priority, self.share = device, index, priority, share
        self.tick = 0
        self.stamp: dict[int, int] = {}
        self.frontier: list[Work] = []
        self.closed = ""

    def __repr__(self) -> str:
        return f"<Stream {self.index}: priority {self.priority}, share {self.share}>"

    # -- order ------------------------------------------------------------------------------------

    def record(self, event: Event | None = None) -> Event:
        """Mark this point. A new event, or ``event`` again."""
        self.check()
        found = Event(self.device) if event is None else event
        if found.device is not self.device:
            raise KpuError("this event is another device's")
        self.mark(found)
        return found

    def mark(self, event: Event) -> None:
        """Let an event be where the stream is."""
        event.works, event.issued = tuple(self.frontier), self.device.now
        event.stamp = joined((self.stamp, self.device.host_stamp))

    def wait(self, other: Event | Stream) -> None:
        """What follows here comes after ``other``: an event, or all that is in a stream now."""
        self.check()
        if other.device is not self.device:
            raise KpuError("a stream waits for what is on its own device")
        event = other.record() if isinstance(other, Stream) else other
        self.frontier += (w for w in event.check() if w not in self.frontier)
        self.stamp = joined((self.stamp, event.stamp))

    def sync(self) -> None:
        """The host waits for all that is in it."""
        self.check()
        self.record().sync()

    @property
    def is_done(self) -> bool:
        """Whether all that is in it has ended, for the host as it is now."""
        return self.record().is_done

    def close(self) -> None:
        """No more operations; what is in it goes on."""
        self.check()
        self.closed = here()

    def create_graph_builder(self) -> GraphBuilder:
        """Something that takes operations as a stream does, and keeps them as a graph."""
        self.check()
        return GraphBuilder(self)

    def check(self) -> None:
        """Raise ``KpuError`` where it was closed."""
        if self.closed:
            raise KpuError(f"{self!r} was closed at {self.closed}")

    # -- operations -------------------------------------------------------------------------------

    def submit(self, request: Request) -> None:
        """Do an operation: to values now, in time when its turn comes. Nothing is changed where it
        raises."""
        self.check()
        device, where, what = self.device, here(), str(request)
        more = request.prepare(self) if request.prepare else ()
        stamp, touched = self._next(), ((request.reads, False), ((*request.writes, *more), True))
        for view in (*request.reads, *request.writes):
            view.allocation.check(device, what)
        for views, writes in touched:
            for view in views:
                self._check_races(view.allocation, view.offset, view.end, writes, stamp, what)
        for view in request.reads:
            if not view.allocation.written.all_of(view.offset, view.end):
                raise KpuError(f"{what} reads what nothing has written: {view.allocation}")
        request.run()
        for views, writes in touched:
            for view in views:
                access = Access(
                    view.offset,
                    view.end,
                    writes,
                    self.index,
                    stamp[self.index],
                    what,
                    where,
                )
                view.allocation.accesses.add(access, stamp)
                if writes:
                    view.allocation.written.add(view.offset, view.end)
        self._append(request.what, request.size, where, request.timed, stamp)
        device.log(request, self.index, stamp)
        if request.waits:
            self.sync()

    def free(self, allocation: Allocation) -> None:
        """Give memory back after all that is in the stream."""
        self.check()
        allocation.check(self.device, "what is freed")
        stamp = self._next()
        self._check_races(allocation, 0, allocation.size, True, stamp, "its end (close)")
        self.device.release(allocation, joined((stamp, self.stamp)))
        self._append("free", 0, here(), None, stamp)

    def take(self, size: int, label: str, where: str, memory: Allocator) -> Allocation:
        """Memory in the order of the stream: what another one freed last may have to end first."""
        self.check()
        span = memory.allocate(size, joined((self.stamp, self.device.host_stamp)), label, where)
        if span.after:
            self.stamp = joined((self.stamp, span.after))
            self.frontier += self.device.frontier(span.after)
        return Allocation(self.device, size, label, where, span, memory)

    def _next(self) -> dict[int, int]:
        stamp = joined((self.stamp, self.device.host_stamp))
        stamp[self.index] = self.tick + 1
        return stamp

    def _append(self, what: str, size: int, where: str, timed: Any, stamp: dict[int, int]) -> None:
        work = self.device.work(self, what, size, where, timed, tuple(self.frontier))
        self.tick, self.stamp, self.frontier = self.tick + 1, stamp, [work]

    def _check_races(
        self, allocation: Allocation, begin: int, end: int, writes: bool, stamp: Any, what: str
    ) -> None:
        if not self.device.find_races:
            return
        for other in allocation.accesses.races(begin, end, writes, stamp):
            if other.stream == self.index:
                continue
            does = ("reads", "writes")
            raise Race(
                f"a race on {allocation}: {what} in stream {self.index} {does[writes]} bytes that "
                f"{other.what} in stream {other.stream} ({other.where}) {does[other.writes]}, and "
                "nothing orders them",
                here(),
                "let this stream wait for it: stream.wait(other.record())",
            )
