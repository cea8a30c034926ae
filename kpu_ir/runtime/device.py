"""A simulated KPU as a device: memory, streams, programs, and the time that they take."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from kpu_ir.frontends.python.calls import for_people, located
from kpu_ir.machine import Machine
from kpu_ir.pipeline import compile as compiled
from kpu_ir.program.compiled import Compiled
from kpu_ir.runtime.allocation import Allocation
from kpu_ir.runtime.allocator import Allocator, joined
from kpu_ir.runtime.base import AnyStream, here
from kpu_ir.runtime.buffers import Buffer, HostBuffer, View, elements
from kpu_ir.runtime.core import Core
from kpu_ir.runtime.interleavings import check_orders
from kpu_ir.runtime.loaded import LoadedProgram, read_again, weight_bytes
from kpu_ir.runtime.profile import RuntimeProfile
from kpu_ir.runtime.resources import EngineHandle, Memory, on_chip
from kpu_ir.runtime.stream import Event, Stream
from kpu_ir.runtime.trace import write_trace
from kpu_ir.sim.time.energy import Energy, energy
from kpu_ir.support.errors import KpuError


@for_people
class MemoryResource:
    """Where buffers come from: external memory, or a pool reserved in it."""

    def __init__(self, device: Device, allocator: Allocator) -> None:
        """``device.memory_resource`` is the whole memory."""
        self.device, self.allocator = device, allocator
        self.closed = ""

    def __repr__(self) -> str:
        a = self.allocator
        return f"<MemoryResource {a.name}: {a.in_use:,} of {a.capacity:,} bytes in use>"

    def allocate(self, size: int, *, stream: AnyStream, label: str = "buffer") -> Buffer:
        """``size`` bytes in the order of ``stream``. Raises ``OutOfMemory``."""
        if size < 0:
            raise KpuError(f"a buffer of {size} bytes")
        if self.closed:
            raise KpuError(f"{self!r} was closed at {self.closed}")
        if not isinstance(stream, Stream) or stream.device is not self.device:
            raise KpuError("memory is taken in the order of a stream of its device")
        return Buffer(stream.take(size, label, here(), self.allocator))

    def reserve(self, size: int, label: str = "pool") -> MemoryResource:
        """A pool: ``size`` bytes of it that only the pool's buffers are taken from."""
        if size < 1:
            raise KpuError(f"a pool of {size} bytes")
        return MemoryResource(self.device, self.allocator.pool(size, label, here()))

    def close(self) -> None:
        """Give a pool back, which has no buffers any more."""
        if self.allocator is self.device.external or self.allocator.in_use:
            raise KpuError(f"{self!r} has buffers\n{self.allocator.map()}")
        if self.closed:
            raise KpuError(f"{self!r} was closed at {self.closed}")
        self.closed = here()
        after = joined(span.after for span in self.allocator.free)
        self.device.external.release(self.allocator.base, after)


@for_people
class Device(Core):
    """One KPU. All figures are base cycles of its machine, from when the device was made."""

    @located
    def __init__(
        self, machine: Machine | str | Path = "default", *, shares: int = 1, races: bool = True,
        trace: bool = False, debug: bool = False, stepped: bool = False,
    ) -> None:  # fmt: skip
        """``shares``: parts that L3 and L2 are divided into; a stream has one of them, and a program is
        compiled for it. ``races``: refuse operations that race. ``trace``: keep what each engine does.
        ``debug``: keep operations for ``check_interleavings``. ``stepped``: no loop is jumped over, for
        tests (every figure is the same)."""
        super().__init__(Machine.of(machine), shares, races, trace, debug, stepped)
        self.memory_resource = MemoryResource(self, self.external)
        self.kept: dict[tuple[int, int], LoadedProgram] = {}
        self._workspaces: dict[tuple[int, int], Buffer] = {}

    def __repr__(self) -> str:
        used = f"{self.external.in_use:,} bytes in use"
        return f"<Device {self.machine.name}: {len(self.streams)} streams, {used}>"

    # -- parts ------------------------------------------------------------------------------------

    @property
    def memories(self) -> dict[str, Memory]:
        """Its memories by name: ``external``, ``l3``, ``l2``."""
        outside, room = self.external, self.machine.capacity
        external = Memory(
            "external", room["external"], lambda: (outside.in_use, outside.peak), outside
        )
        levels = {n: on_chip(n, room[n], self.engine_times) for n in ("l3", "l2")}
        return {"external": external, **levels}

    @property
    def engines(self) -> dict[str, EngineHandle]:
        """Its engines by name."""
        return {name: EngineHandle(name, self.timeline) for name in self.engine_times.free}

    @property
    def default_stream(self) -> Stream:
        """Its first stream, made when it is asked for. It is a stream like any other."""
        return self.streams[0] if self.streams else self.create_stream()

    def create_stream(self, *, priority: int = 0, share: int = 0) -> Stream:
        """A stream. ``priority``: lower numbers go first where several could; ``share``: its part of
        the memory on chip."""
        if not 0 <= share < self.shares:
            raise KpuError(
                f"share {share} of a chip in {self.shares}",
                hint="Device(machine, shares=2) divides it in two",
            )
        self.streams.append(Stream(self, len(self.streams), priority, share))
        return self.streams[-1]

    def create_event(self) -> Event:
        """An event that is not recorded yet."""
        return Event(self)

    # -- memory -----------------------------------------------------------------------------------

    def allocate(self, size: int, *, stream: AnyStream, label: str = "buffer") -> Buffer:
        """``size`` bytes of external memory, in the order of ``stream``. Raises ``OutOfMemory``."""
        return self.memory_resource.allocate(size, stream=stream, label=label)

    def empty(self, shape: Any, dtype: Any = "float32", *, stream: AnyStream) -> View:
        """A buffer for an array; nothing is in it yet."""
        extents, of = elements(shape, dtype)
        return self.allocate(prod(extents) * of.itemsize, stream=stream).view(of, extents)

    def array(self, values: Any, *, stream: AnyStream) -> View:
        """A buffer with the values of an array, copied over the host's link."""
        try:
            given = np.asarray(values)
        except ValueError as error:  # lists of several lengths
            raise KpuError(f"what is copied is no array of numbers: {error}") from None
        view = self.empty(given.shape, given.dtype, stream=stream)
        view.copy_from(given, stream=stream)
        return view

    def pinned(self, shape: Any, dtype: Any = "float32") -> HostBuffer:
        """Pinned memory of the host, zeros."""
        extents, of = elements(shape, dtype)
        allocation = Allocation(self, prod(extents) * of.itemsize, "pinned memory", here())
        allocation.data[:] = 0
        return HostBuffer(allocation, of, extents)

    # -- programs ---------------------------------------------------------------------------------

    def compile(self, source: Any, **options: Any) -> Compiled:
        """``kpu_ir.compile`` for a share of this device."""
        return compiled(source, self.share_machine, **options)

    def load(self, program: Compiled, *, stream: AnyStream) -> LoadedProgram:
        """Put a program on the device: its weights are copied over the host's link, in ``stream``.

        Raises ``KpuError`` for a program that was compiled for another machine.
        """
        key = id(program), stream.share
        if key in self.kept:
            return self.kept[key]
        machine = program.program.machine
        if machine.digest != self.share_machine.digest:
            raise KpuError(
                f"the program is compiled for {machine.name}, and a stream has "
                f"{self.share_machine.name}",
                hint="device.compile(model) compiles for it",
            )
        name = Path(program.source).stem if program.source else "program"
        resident = self.resident(lambda: read_again(program), stream.share)
        found = LoadedProgram(name, program, resident, stream.share, self)
        weights = weight_bytes(program.program)
        if weights.size:
            buffer = self.allocate(weights.size, stream=stream, label=f"weights of {name}")
            buffer.copy_from(weights, stream=stream)
            found.weights = buffer
        self.kept[key] = found
        return found

    def unload(self, program: LoadedProgram, stream: AnyStream) -> None:
        """Give back what a program has."""
        key = id(program.compiled), program.share
        if self.kept.pop(key, None) is None:
            raise KpuError(f"{program!r} is not loaded any more")
        mine = [k for k in self._workspaces if k[0] == id(program)]
        for buffer in (program.weights, *(self._workspaces.pop(k) for k in mine)):
            if isinstance(buffer, Buffer):
                buffer.close(stream=stream)
        self.forget(program.resident)

    def workspace(self, program: LoadedProgram, size: int, stream: AnyStream) -> tuple[View, ...]:
        """The room for a program's temporaries in a stream."""
        if not size or not isinstance(stream, Stream):
            return ()
        key = id(program), stream.index
        if key not in self._workspaces:
            label = f"workspace of {program.name}"
            self._workspaces[key] = self.allocate(size, stream=stream, label=label)
        return (self._workspaces[key],)

    # -- time -------------------------------------------------------------------------------------

    def sync(self) -> None:
        """The host waits for everything."""
        for stream in self.streams:  # closed ones too
            stream.mark(event := Event(self))
            event.sync()

    @property
    def cycles(self) -> int:
        """The end of the last operation."""
        self.timeline.settle()
        return self.timeline.totals.cycles

    @property
    def seconds(self) -> float:
        """The same at the machine's clock."""
        return self.machine.seconds(self.cycles)

    @property
    def counts(self) -> dict[str, int]:
        """Events so far: bytes by memory and direction (``host.read``, ``host.write``: over the host's
        link), MACs and lane operations."""
        self.timeline.settle()
        return dict(self.timeline.totals.counts)

    @property
    def energy(self) -> Energy:
        """Picojoules so far, of counted events and of memory that stands by."""
        return energy(self.counts, self.machine, self.cycles)

    def profile(self) -> RuntimeProfile:
        """Cycles and bytes by kind of operation: copies, fills, launches of each program."""
        self.timeline.settle()
        rows = self.timeline.totals.by.values()
        return RuntimeProfile(tuple(replace(row) for row in rows), self.cycles)

    def save_trace(self, path: str | Path) -> None:
        """Write what streams and engines did, for Perfetto. For a device with ``trace``."""
        if not self.tracing:
            raise KpuError("nothing was kept", hint="Device(machine, trace=True)")
        self.timeline.settle()
        write_trace(self.timeline.done, self.machine, path)

    def check_interleavings(self, count: int = 8, seed: int = 0) -> int:
        """Do the operations again in ``count`` other orders that streams and events allow; all must
        leave the same bytes. For a device with ``debug``. Yields how many orders were tried.

        Raises ``Race`` that names two operations whose order matters.
        """
        if not self.debug:
            raise KpuError("nothing was kept", hint="Device(machine, debug=True)")
        return check_orders(self.logged, count, seed)
