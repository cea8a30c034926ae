"""Memory in the user's hands: buffers of a device, views into them, pinned buffers of the host.

Names follow ``cuda.core``: ``copy_to``, ``copy_from``, ``fill`` and ``close`` take the stream in whose
order they happen, by keyword.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from kpu_ir.frontends.python.calls import for_people
from kpu_ir.runtime.allocation import Allocation, Overrun, Region, UseAfterFree
from kpu_ir.runtime.base import AnyStream, Array, DeviceLike, here
from kpu_ir.runtime.requests import copy, fill
from kpu_ir.support.errors import KpuError


def elements(shape: Any, dtype: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The extents and the type of an array of numbers, as a user writes them. Raises ``KpuError``."""
    try:
        of = np.dtype(dtype)
    except TypeError:
        raise KpuError(
            f"{dtype!r:.40} is no type of numbers", hint="as 'float32', 'int8'"
        ) from None
    if of.hasobject or of.names or of.kind in "USMm":
        raise KpuError(f"{of} is no type of numbers", hint="as 'float32', 'int8'")
    extents = (shape,) if isinstance(shape, int) else tuple(int(n) for n in shape)
    if min(extents, default=0) < 0:
        raise KpuError(f"an array of shape {extents}: an extent is negative")
    return extents, of


@for_people
class View(Region):
    """A part of a buffer, as bytes or as elements. ``buffer.view`` makes it."""

    def __repr__(self) -> str:
        kind = f"{self.dtype} of shape {self.shape}" if self.dtype else f"{self.nbytes:,} bytes"
        freed = ", freed" if self.allocation.freed else ""
        return f"<{type(self).__name__} {self.allocation.label}: {kind} at {self.handle}{freed}>"

    @property
    def device(self) -> DeviceLike:
        """The device that it is used with."""
        return self.allocation.device

    @property
    def handle(self) -> int:
        """Its address in external memory; of the host's memory, NumPy's."""
        span = self.allocation.span
        base = self.allocation.data.ctypes.data if span is None else span.address
        return base + self.offset

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.nbytes

    def view(self, dtype: Any = None, shape: Any = None, offset: int = 0) -> View:
        """A part of it, ``offset`` bytes into it: ``shape`` elements of ``dtype``, by default all bytes.

        Raises ``Overrun`` for a part that does not lie in it.
        """
        extents, of = elements(shape or (), np.uint8 if dtype is None else dtype)
        left = self.nbytes - offset
        if shape is None:
            extents = (max(0, left) // of.itemsize,)
        size = prod(extents) * of.itemsize
        if offset < 0 or size > left:
            raise Overrun(
                f"a view of {size:,} bytes from byte {offset:,} on of {self.nbytes:,}: "
                f"{self.allocation}"
            )
        return View(self.allocation, self.offset + offset, size, of, extents)

    def copy_from(self, source: Any, *, stream: AnyStream) -> None:
        """Copy from another view, from pinned memory or from an array: as many bytes as it has.

        An array's values are those of now; pinned memory is read when the copy's turn comes.
        """
        copy(source, self, stream)

    def copy_to(self, target: Any = None, *, stream: AnyStream) -> Any:
        """Copy to another view, to pinned memory or to an array; to a new buffer where none is given.
        Yields where it went.

        The host waits for a copy to an array, and for none else.
        """
        if target is None:
            target = self.device.allocate(self.nbytes, stream=stream)
            if self.dtype is not None:
                target = target.view(self.dtype, self.shape)
        copy(self, target, stream)
        return target

    def fill(self, value: Any, *, stream: AnyStream) -> None:
        """Set every element (every byte, where it has no type) to ``value``."""
        fill(self, value, stream)

    def close(self, *, stream: AnyStream) -> None:
        """Give its whole allocation back in the order of ``stream``: to that at once, to others once they come
        after it.

        Raises ``UseAfterFree`` where it was given back, ``Race`` where somebody uses it meanwhile.
        """
        allocation = self.allocation
        if allocation.freed:
            raise UseAfterFree(f"freed twice: {allocation}, and freed at {allocation.freed}")
        stream.free(allocation)

    def _seen(self) -> Array:
        """The elements as the host sees them. Raises ``KpuError`` for some that nothing has written, and
        while an operation on them runs that the host has not waited for."""
        allocation, device = self.allocation, self.device
        allocation.check(device, "what the host reads")
        for other in allocation.accesses.races(self.offset, self.end, False, device.host_stamp):
            raise KpuError(
                f"the host reads what {other.what} ({other.where}) writes: {allocation}",
                here(),
                "wait for it first: stream.sync() or event.sync()",
            )
        if not allocation.written.all_of(self.offset, self.end):
            raise KpuError(f"the host reads what nothing has written: {allocation}", here())
        seen = self.array().view()
        seen.flags.writeable = allocation.span is None
        return seen

    @property
    def __array_interface__(self) -> dict[str, Any]:
        seen = self._seen()
        if seen.dtype.isbuiltin == 2:  # it has no name for these: __array__ gives them
            raise AttributeError("__array_interface__")
        return seen.__array_interface__

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        seen = self._seen()
        return np.array(seen, dtype) if copy else np.asarray(seen, dtype)

    def __dlpack__(self, **options: Any) -> Any:
        seen = self._seen()
        return (seen if seen.flags.writeable else seen.copy()).__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


@for_people
class Buffer(View):
    """An allocation of a device's external memory. ``device.allocate`` makes it."""

    def __init__(self, allocation: Allocation) -> None:
        """All of ``allocation``."""
        super().__init__(allocation, 0, allocation.size)


@for_people
class HostBuffer(View):
    """Pinned memory of the host, which copies reach while the host goes on. It is an array: ``np.asarray``
    and DLPack give its elements without a copy."""

    def __init__(self, allocation: Allocation, dtype: Any, shape: Sequence[int]) -> None:
        """All of ``allocation``."""
        super().__init__(allocation, 0, allocation.size, dtype, tuple(shape))
        allocation.written.add(0, allocation.size)
