"""Addresses of one memory: what is in use, what is free, and from when on.

Best fit over free spans in order; those that touch count as one. A span that was freed in a stream's
order is free to that stream at once, and to others when they come after that (``Stamp``s); who asks says
which streams it comes after.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kpu_ir.support.errors import KpuError

Stamp = Mapping[int, int]
"""How far of each stream something comes after: a vector clock (Fidge, Mattern, 1988)."""

ALIGNMENT = 64
"""Bytes at whose multiples tensors begin, as the model of external memory assumes."""


class OutOfMemory(KpuError):
    """No free span is large enough. The message shows who has what."""


@dataclass(slots=True, eq=False)
class Span:
    """Bytes ``[address, end)``. ``after``: what must have happened before they may be used again."""

    address: int
    size: int
    after: dict[int, int] = field(default_factory=dict[int, int])
    label: str = ""
    where: str = ""

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + self.size


def is_after(stamp: Stamp, needed: Stamp) -> bool:
    """Whether whoever has ``stamp`` comes after all of ``needed``."""
    return all(stamp.get(stream, 0) >= tick for stream, tick in needed.items())


class Allocator:
    """The spans of one memory, or of a pool reserved in one."""

    def __init__(self, name: str, capacity: int, base: int = 0) -> None:
        """``capacity`` bytes from ``base`` on, all free."""
        self.name, self.capacity, self.base = name, capacity, base
        self.free: list[Span] = [Span(base, capacity)] if capacity else []
        self.used: dict[int, Span] = {}
        self.in_use = self.peak = 0

    def allocate(self, size: int, stamp: Stamp, label: str, where: str) -> Span:
        """``size`` bytes, rounded up to ``ALIGNMENT``, in the smallest span that is free to ``stamp``.

        Where only one fits that is not free yet, its ``after`` says what to wait for. Raises
        ``OutOfMemory``.
        """
        needed = -(-max(1, size) // ALIGNMENT) * ALIGNMENT
        at_once = [span for span in self.free if is_after(stamp, span.after)]
        for spans in (at_once, self.free):
            fitting = [run for run in runs(spans) if run[-1].end - run[0].address >= needed]
            if fitting:
                break
        else:
            raise self._full(needed, where)
        best = min(fitting, key=lambda run: (run[-1].end - run[0].address, run[0].address))
        found = Span(best[0].address, needed, {}, label, where)
        for span in best:
            if span.address >= found.end:
                break
            found.after = joined((found.after, span.after))
            if span.end <= found.end:
                self.free.remove(span)
            else:
                span.size -= found.end - span.address
                span.address = found.end
        self.used[found.address] = found
        self.in_use += needed
        self.peak = max(self.peak, self.in_use)
        return found

    def release(self, address: int, after: Stamp) -> None:
        """Give a span back; it may be used by whoever comes after ``after``."""
        span = self.used.pop(address)
        self.in_use -= span.size
        freed = Span(span.address, span.size, dict(after))
        self.free.insert(bisect_left(self.free, freed.address, key=lambda s: s.address), freed)

    def settle(self, stamp: Stamp) -> None:
        """Everybody comes after ``stamp`` from now on: what that frees for all is merged."""
        merged: list[Span] = []
        for span in self.free:
            if is_after(stamp, span.after):
                span.after = {}
            before = merged[-1] if merged else None
            if before and not before.after and not span.after and before.end == span.address:
                before.size += span.size
            else:
                merged.append(span)
        self.free = merged

    def pool(self, size: int, label: str, where: str) -> Allocator:
        """A part of this memory with an allocator of its own."""
        span = self.allocate(size, {}, label, where)
        return Allocator(f"{label} in {self.name}", span.size, span.address)

    def map(self) -> str:
        """Every span in order: addresses, bytes, whose it is and where that was made."""
        spans = sorted((*self.free, *self.used.values()), key=lambda span: span.address)
        return "\n".join(_line(span, span.address in self.used) for span in spans)

    def _full(self, needed: int, where: str) -> OutOfMemory:
        free = self.capacity - self.in_use
        largest = max((run[-1].end - run[0].address for run in runs(self.free)), default=0)
        by_size = sorted(self.used.values(), key=lambda span: -span.size)
        first = (
            f"; the largest is {by_size[0].label}, made at {by_size[0].where}" if by_size else ""
        )
        whole = "in one piece " if free >= needed else ""
        return OutOfMemory(
            f"{self.name} has no {needed:,} bytes {whole}left: {free:,} of {self.capacity:,} are free, "
            f"{largest:,} of them side by side\n{_shortened(self.map().splitlines())}",
            where,
            f"free what is no longer needed (buffer.close(stream)){first}",
        )


def runs(spans: Iterable[Span]) -> list[list[Span]]:
    """Spans in order, those that touch each other together."""
    found: list[list[Span]] = []
    for span in spans:
        if found and found[-1][-1].end == span.address:
            found[-1].append(span)
        else:
            found.append([span])
    return found


def _line(span: Span, used: bool) -> str:
    what = f"{span.label} ({span.where})" if used else "free"
    return f"  {span.address:>12,} {span.size:>12,}  {what}"


def _shortened(lines: list[str], most: int = 16) -> str:
    """The map in a message: its first lines, and how many there are besides."""
    left = len(lines) - most
    return "\n".join(lines if left <= 0 else [*lines[:most], f"  ... and {left} more"])


def joined(stamps: Iterable[Stamp]) -> dict[int, int]:
    """What comes after all of some stamps."""
    found: dict[int, int] = {}
    for stamp in stamps:
        for stream, tick in stamp.items():
            if tick > found.get(stream, 0):
                found[stream] = tick
    return found
