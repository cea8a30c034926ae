"""What the parts of the runtime know of each other, so that none imports another that imports it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from kpu_ir.frontends.python.calls import caller
from kpu_ir.machine import Machine
from kpu_ir.runtime.allocator import Stamp
from kpu_ir.runtime.timeline import Timed, Timeline, Work
from kpu_ir.sim.program.program import Program

Array = np.ndarray[Any, np.dtype[Any]]


def here() -> str:
    """``file:line`` of the user's call."""
    file, line = caller()
    return f"{file}:{line}"


class DeviceLike(Protocol):
    """What buffers, streams and graphs ask of a device."""

    machine: Machine
    timeline: Timeline
    now: int
    host_stamp: dict[int, int]
    find_races: bool

    def allocate(self, size: int, *, stream: AnyStream) -> Any:
        """A buffer."""
        ...

    def load(self, program: Any, *, stream: AnyStream) -> Any:
        """A program on the device."""
        ...

    def release(self, allocation: Any, after: Stamp) -> None:
        """Take memory back."""
        ...

    def frontier(self, streams: Iterable[int]) -> list[Work]:
        """The last operations of some streams."""
        ...

    def work(
        self, stream: Any, what: str, size: int, where: str, timed: Any, after: tuple[Work, ...]
    ) -> Work:
        """An operation, pending."""
        ...

    def wait_until(self, cycles: int, stamp: Stamp) -> None:
        """The host waits."""
        ...

    def log(self, request: Any, stream: int, stamp: Stamp) -> None:
        """Keep an operation that was done."""
        ...

    def copier(self, size: int, share: int) -> Timed:
        """What a copy within external memory takes."""
        ...

    def filler(self, size: int, share: int) -> Timed:
        """What a fill takes."""
        ...

    def create_stream(self, *, priority: int = 0, share: int = 0) -> Any:
        """A stream."""
        ...

    def resident(self, again: Callable[[], Program], share: int) -> Timed:
        """A program's plans, in a share of the chip."""
        ...

    def workspace(self, program: Any, size: int, stream: AnyStream) -> Sequence[RegionLike]:
        """The room for a program's temporaries in a stream."""
        ...

    def unload(self, program: Any, stream: AnyStream) -> None:
        """Give back what a program has."""
        ...


class RegionLike(Protocol):
    """Bytes ``[offset, end)`` of an allocation."""

    allocation: Any
    offset: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        ...


@dataclass(slots=True, eq=False)
class Request:
    """An operation that a stream may do, once or (captured) again and again.

    ``run`` does it to values. ``waits``: the host waits for it. ``size``: bytes that it moves.
    ``prepare`` sees to what it needs in a stream besides, and yields what of that it writes.
    """

    what: str
    reads: tuple[RegionLike, ...]
    writes: tuple[RegionLike, ...]
    run: Callable[[], None]
    timed: Timed
    waits: bool = False
    size: int = 0
    prepare: Callable[[AnyStream], Sequence[RegionLike]] | None = None

    def __str__(self) -> str:
        return f"{self.what} of {self.size:,} bytes" if self.size else self.what


class AnyStream(ABC):
    """A stream, or what captures operations as a stream would do them."""

    device: DeviceLike
    share: int
    priority: int
    captures: bool

    @abstractmethod
    def submit(self, request: Request) -> None:
        """Do an operation, or keep it."""

    @abstractmethod
    def free(self, allocation: Any) -> None:
        """Give memory back after all that came before."""
