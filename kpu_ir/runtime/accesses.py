"""Who touched the bytes of an allocation, and whether the next one comes after them.

Two operations race where they have bytes in common, one of them writes, and nothing (the order of a
stream, an event, a wait of the host) puts one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from kpu_ir.runtime.allocator import Stamp


@dataclass(frozen=True, slots=True)
class Access:
    """Operation ``tick`` of ``stream`` reads or writes the bytes ``[begin, end)``. ``what`` and
    ``where`` are for messages."""

    begin: int
    end: int
    writes: bool
    stream: int
    tick: int
    what: str
    where: str


class Accesses:
    """Those of one allocation that somebody may still race with."""

    def __init__(self) -> None:
        """None yet."""
        self.known: list[Access] = []

    def races(self, begin: int, end: int, writes: bool, stamp: Stamp) -> Iterator[Access]:
        """The accesses to the same bytes that ``stamp`` does not come after."""
        for known in self.known:
            if known.begin < end and begin < known.end and (writes or known.writes):
                if stamp.get(known.stream, 0) < known.tick:
                    yield known

    def add(self, new: Access, stamp: Stamp) -> None:
        """Note ``new``, of an operation with ``stamp``. What it makes superfluous is forgotten: whoever
        comes after it comes after that too."""
        self.known = [
            old
            for old in self.known
            if not (
                new.begin <= old.begin
                and old.end <= new.end
                and (new.writes or not old.writes)
                and stamp.get(old.stream, 0) >= old.tick
            )
        ]
        self.known.append(new)

    def stamp(self) -> dict[int, int]:
        """What comes after all of them."""
        found: dict[int, int] = {}
        for access in self.known:
            found[access.stream] = max(access.tick, found.get(access.stream, 0))
        return found
