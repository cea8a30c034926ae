"""What streams and engines of a device did, as a trace for Perfetto (Chrome's JSON format)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kpu_ir.machine import Machine
from kpu_ir.runtime.timeline import Work
from kpu_ir.support.files import path_of, writing

STREAMS, ENGINES = 1, 2
"""The processes of the trace."""


def trace_events(works: Sequence[Work], machine: Machine) -> list[dict[str, Any]]:
    """Slices: a track for each stream and for each engine; microseconds at the machine's clock."""
    scale = 1e6 / machine.clock_hz
    events: list[dict[str, Any]] = [
        {"ph": "M", "pid": pid, "name": "process_name", "args": {"name": name}}
        for pid, name in ((STREAMS, "streams"), (ENGINES, "engines"))
    ]
    engines: dict[str, int] = {}

    def slice(pid: int, tid: int, name: str, begin: int, end: int, **args: Any) -> None:
        events.append(
            {
                "ph": "X", "pid": pid, "tid": tid, "name": name, "ts": begin * scale,
                "dur": (end - begin) * scale, "args": {"cycle": begin, "cycles": end - begin, **args},
            }
        )  # fmt: skip

    for work in works:
        slice(STREAMS, work.stream, work.what, work.start, work.end, where=work.where)
        for i in work.spent.intervals if work.spent else ():
            slice(ENGINES, engines.setdefault(i.engine, len(engines)), i.what, i.begin, i.end)
    tracks = [(STREAMS, s, f"stream {s}") for s in sorted({work.stream for work in works})]
    tracks += [(ENGINES, tid, name) for name, tid in engines.items()]
    events += [
        {"ph": "M", "pid": pid, "tid": tid, "name": "thread_name", "args": {"name": name}}
        for pid, tid, name in tracks
    ]
    return events


def write_trace(works: Sequence[Work], machine: Machine, path: str | Path) -> None:
    """Write the trace, whole or not at all."""
    with writing(path_of(path)) as file:
        file.write(json.dumps({"traceEvents": trace_events(works, machine)}).encode())
