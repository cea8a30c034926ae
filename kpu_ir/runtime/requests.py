"""Operations as data, checked: what they touch, what they do to values, what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kpu_ir.runtime.allocation import Overrun, Region
from kpu_ir.runtime.base import AnyStream, Array, Request
from kpu_ir.runtime.link import LinkCopy
from kpu_ir.support.errors import KpuError
from kpu_ir.support.lines import a_kind
from kpu_ir.support.types import is_integral


@dataclass(frozen=True)
class _Side:
    """What a copy reads or writes: a region of the device or of pinned memory, or an array."""

    region: Region | None
    values: Array | None

    @staticmethod
    def of(given: Any, stream: AnyStream, role: str) -> _Side:
        """A side as a person gives it. Raises ``KpuError``."""
        if isinstance(given, Region):
            given.allocation.check(stream.device, role)
            return _Side(given, None)
        array = np.asarray(given)
        if array.dtype.hasobject:
            raise KpuError(f"{role} is no array of numbers: {a_kind(given)}")
        return _Side(None, array)

    @property
    def on_device(self) -> bool:
        """Whether it is in external memory."""
        return self.region is not None and self.region.on_device

    @property
    def nbytes(self) -> int:
        """Its bytes."""
        return self.region.nbytes if self.region else self._array.nbytes

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The type of its elements, if it has one."""
        return self.region.dtype if self.region else self._array.dtype

    @property
    def _array(self) -> Array:
        assert self.values is not None
        return self.values

    def read(self) -> Array:
        """Its bytes."""
        if self.region:
            return self.region.bytes()
        return np.ascontiguousarray(self._array).reshape(-1).view(np.uint8)

    def write(self, data: Array) -> None:
        """Take these bytes."""
        if self.region:
            self.region.bytes()[:] = data
        else:
            self._array[...] = data.view(self._array.dtype).reshape(self._array.shape)


def copy(source: Any, target: Any, stream: AnyStream) -> None:
    """Ask a stream to copy between views, pinned memory and arrays. Raises ``KpuError``."""
    if not isinstance(target, Region) and not (
        isinstance(target, np.ndarray) and target.flags.writeable
    ):
        raise KpuError(
            f"what is copied to must be a writable array or a view, got {a_kind(target)}"
        )
    given, taken = (
        _Side.of(source, stream, "what is copied"),
        _Side.of(target, stream, "the target"),
    )
    _check_copy(given, taken)
    size, device = given.nbytes, stream.device
    if not size:
        return
    if given.values is not None and not stream.captures:
        given = _Side(None, given.values.copy())  # its values are those of now
    if given.on_device and taken.on_device:
        what, timed = "copy device to device", device.copier(size, stream.share)
    else:
        what = f"copy {'host to device' if taken.on_device else 'device to host'}"
        timed = LinkCopy(size, taken.on_device, device.machine, what)
    reads, writes = ((side.region,) if side.region else () for side in (given, taken))
    of = what, reads, writes, lambda: taken.write(given.read()), timed, taken.region is None, size
    stream.submit(Request(*of))


def _check_copy(source: _Side, target: _Side) -> None:
    """Raise ``Overrun`` where there is more, or less, room than there are bytes; ``KpuError`` where a
    copy makes no sense."""
    places = "; ".join(str(side.region.allocation) for side in (source, target) if side.region)
    if not source.on_device and not target.on_device:
        raise KpuError("a copy between two places of the host", hint="NumPy does that")
    if source.nbytes != target.nbytes:
        raise Overrun(
            f"a copy of {source.nbytes:,} bytes to {target.nbytes:,}: {places}",
            hint="buffer.view(dtype, shape, offset) is a part of a buffer",
        )
    if source.dtype is not None and target.dtype is not None and source.dtype != target.dtype:
        raise KpuError(f"a copy of {source.dtype} to {target.dtype}", hint="convert it first")
    if source.region and target.region and overlap(source.region, target.region):
        raise KpuError(f"a copy of bytes to themselves, in part: {places}")


def overlap(a: Region, b: Region) -> bool:
    """Whether two regions have bytes in common."""
    return a.allocation is b.allocation and a.offset < b.end and b.offset < a.end


def _element(value: Any, of: np.dtype[Any]) -> Array | None:
    """A number as an element, where it is one."""
    try:
        with np.errstate(over="ignore"):  # a float beyond the type's largest is infinite
            element = np.asarray(value).astype(of)
        one = value is not None and element.shape == ()  # NumPy makes a NaN of None
        kept = one and (not is_integral(of) or of.kind == "b" or int(element) == value)
    except (TypeError, ValueError, OverflowError):
        return None
    return element if kept else None


def fill(target: Region, value: Any, stream: AnyStream) -> None:
    """Ask a stream to set all elements of a view."""
    device, of = stream.device, target.dtype or np.dtype(np.uint8)
    target.allocation.check(device, "what is filled")
    element = _element(value, of)
    if element is None:
        raise KpuError(f"{value!r:.40} is no {of} to fill {target.allocation} with")
    if not target.on_device:
        raise KpuError("pinned memory of the host is filled by NumPy: np.asarray(buffer)[...] = 0")

    def run() -> None:
        target.bytes().view(of)[:] = element

    if not target.nbytes:
        return
    timed = device.filler(target.nbytes, stream.share)
    stream.submit(Request("fill", (), (target,), run, timed, size=target.nbytes))
