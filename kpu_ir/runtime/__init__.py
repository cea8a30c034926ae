"""Programs on a device: memory, copies, streams, events, graphs, and the exact time of all together.

>>> from kpu_ir import runtime
>>> device = runtime.Device("default")
>>> stream = device.create_stream()
>>> program = device.load(device.compile(graph), stream=stream)
>>> x = device.array(values, stream=stream); y = device.empty((64, 64), stream=stream)
>>> runtime.launch(stream, program, x, y)
>>> stream.sync(); device.cycles
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kpu_ir.runtime.allocation import Overrun, UseAfterFree
    from kpu_ir.runtime.allocator import OutOfMemory
    from kpu_ir.runtime.buffers import Buffer, HostBuffer, View
    from kpu_ir.runtime.device import Device, MemoryResource
    from kpu_ir.runtime.graphs import Graph, GraphBuilder
    from kpu_ir.runtime.launching import free, launch, malloc, memcpy, memset
    from kpu_ir.runtime.loaded import Kernel, LoadedProgram
    from kpu_ir.runtime.serving import Rate, Served, arrivals
    from kpu_ir.runtime.session import IOBinding, NodeArg, Session
    from kpu_ir.runtime.stream import Event, Race, Stream

_HOMES = {
    "Buffer": "buffers",
    "Device": "device",
    "Event": "stream",
    "Graph": "graphs",
    "GraphBuilder": "graphs",
    "HostBuffer": "buffers",
    "IOBinding": "session",
    "Kernel": "loaded",
    "LoadedProgram": "loaded",
    "MemoryResource": "device",
    "NodeArg": "session",
    "OutOfMemory": "allocator",
    "Overrun": "allocation",
    "Race": "stream",
    "Rate": "serving",
    "Served": "serving",
    "Session": "session",
    "Stream": "stream",
    "UseAfterFree": "allocation",
    "View": "buffers",
    "arrivals": "serving",
    "free": "launching",
    "launch": "launching",
    "malloc": "launching",
    "memcpy": "launching",
    "memset": "launching",
}

__all__ = [
    "Buffer",
    "Device",
    "Event",
    "Graph",
    "GraphBuilder",
    "HostBuffer",
    "IOBinding",
    "Kernel",
    "LoadedProgram",
    "MemoryResource",
    "NodeArg",
    "OutOfMemory",
    "Overrun",
    "Race",
    "Rate",
    "Served",
    "Session",
    "Stream",
    "UseAfterFree",
    "View",
    "arrivals",
    "free",
    "launch",
    "malloc",
    "memcpy",
    "memset",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for; nothing heavy is loaded before."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"kpu_ir.runtime.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'kpu_ir.runtime' has no attribute '{name}'", name=name)
