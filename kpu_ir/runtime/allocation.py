"""What an address range is to the user: who made it, whether it lives, what it holds, who touched it."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import numpy as np

from kpu_ir.runtime.accesses import Accesses
from kpu_ir.runtime.allocator import Allocator, Span
from kpu_ir.runtime.base import Array, DeviceLike
from kpu_ir.support.errors import KpuError


class UseAfterFree(KpuError):
    """Memory that was given back is used, or given back again."""


class Overrun(KpuError):
    """More bytes than there are."""


class Written:
    """The bytes that somebody has written."""

    def __init__(self) -> None:
        """None."""
        self.spans: list[tuple[int, int]] = []

    def add(self, begin: int, end: int) -> None:
        """These too."""
        apart = [s for s in self.spans if s[1] < begin or end < s[0]]
        touching = [s for s in self.spans if begin <= s[1] and s[0] <= end]
        edges = [begin, end, *(edge for span in touching for edge in span)]
        self.spans = sorted([*apart, (min(edges), max(edges))])

    def all_of(self, begin: int, end: int) -> bool:
        """Whether these all are."""
        at = bisect_right(self.spans, (begin, 1 << 62)) - 1
        return begin >= end or (at >= 0 and self.spans[at][1] >= end)


class Allocation:
    """Bytes of external memory, or pinned ones of the host's."""

    def __init__(
        self, device: DeviceLike, size: int, label: str, where: str,
        span: Span | None = None, memory: Allocator | None = None,
    ) -> None:  # fmt: skip
        """``span`` and ``memory``: where the bytes of a device stand."""
        self.device, self.size, self.label, self.where = device, size, label, where
        self.span, self.memory = span, memory
        self.data: Array = np.empty(size, np.uint8)
        self.accesses, self.written = Accesses(), Written()
        self.freed = ""

    def __str__(self) -> str:
        return f"{self.label} of {self.size:,} bytes made at {self.where}"

    def check(self, device: DeviceLike, role: str) -> None:
        """Raise ``KpuError`` where it is another device's, or was freed."""
        if self.device is not device:
            raise KpuError(f"{role} is {self}, on another device", hint="copy it through the host")
        if self.freed:
            raise UseAfterFree(f"{role} is {self}, which was freed at {self.freed}")


class Region:
    """Bytes of an allocation, as they are or as elements of a ``dtype`` and a ``shape``."""

    def __init__(
        self, allocation: Allocation, offset: int, nbytes: int,
        dtype: Any = None, shape: tuple[int, ...] | None = None,
    ) -> None:  # fmt: skip
        """``nbytes`` from ``offset`` on."""
        self.allocation, self.offset, self.nbytes = allocation, offset, nbytes
        self.dtype = None if dtype is None else np.dtype(dtype)
        self.shape = shape

    @property
    def end(self) -> int:
        """The first byte of the allocation behind it."""
        return self.offset + self.nbytes

    @property
    def on_device(self) -> bool:
        """Whether it is in external memory, not the host's."""
        return self.allocation.span is not None

    def bytes(self) -> Array:
        """The bytes themselves, which the model of values works on."""
        return self.allocation.data[self.offset : self.end]

    def array(self) -> Array:
        """The elements themselves."""
        data = self.bytes()
        return data if self.dtype is None else data.view(self.dtype).reshape(self.shape or ())
