"""``launch``, and the classic names."""

from __future__ import annotations

from typing import Any

from kpu_ir.frontends.python.calls import located
from kpu_ir.program.compiled import Compiled
from kpu_ir.runtime.base import AnyStream
from kpu_ir.runtime.buffers import Buffer, View
from kpu_ir.runtime.device import Device
from kpu_ir.runtime.loaded import Kernel
from kpu_ir.runtime.requests import copy
from kpu_ir.support.errors import KpuError
from kpu_ir.support.lines import a_kind


@located
def launch(stream: AnyStream, kernel: Any, /, *args: Any, **named: Any) -> None:
    """Run a program, or a kernel of one, in a stream, on buffers of the device.

    ``kernel``: what ``device.load`` gave, or ``get_kernel`` of that; a compiled program is loaded.
    ``args``: its inputs, then its outputs (of a kernel: its parameters), as views or buffers; ``named``:
    some of them by name. Raises ``KpuError``; then nothing has happened.
    """
    given = kernel
    if isinstance(given, Compiled):
        given = stream.device.load(given, stream=stream)
    if not isinstance(given, Kernel):
        raise KpuError(
            f"what is launched is a program or a kernel, got {a_kind(given)}",
            hint="device.load(program, stream=stream)",
        )
    stream.submit(given.request(args, named, stream))


@located
def malloc(device: Device, size: int, *, stream: AnyStream) -> Buffer:
    """``device.allocate``."""
    return device.allocate(size, stream=stream)


@located
def free(buffer: Buffer, *, stream: AnyStream) -> None:
    """``buffer.close``."""
    buffer.close(stream=stream)


@located
def memcpy(target: Any, source: Any, *, stream: AnyStream) -> None:
    """Copy between buffers, pinned memory and arrays, in whichever direction they say."""
    copy(source, target, stream)


@located
def memset(target: View, value: int, *, stream: AnyStream) -> None:
    """Set every byte."""
    target.view().fill(value, stream=stream)
