"""What is decided and what is run, as plain tables: schedules as JSON, a run as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict
from io import StringIO
from typing import Any

from xdsl.dialects.func import FuncOp

from kpu_ir.lowering.schedule import schedule_record
from kpu_ir.program.compiled import Compiled
from kpu_ir.report.replay import Replay, Span, describe
from kpu_ir.sim.program.plan import executed, place

COLUMNS = (
    "operation", "call", "kernel", "engine", "start", "end", "ready", "what", "bytes", "waited",
    "for", "place",
)  # fmt: skip
"""Of a run: one row for each operation and each engine that it holds; times in cycles."""


def schedules(compiled: Compiled) -> dict[str, Any]:
    """The schedule of each kernel, as far as it was chosen, and its calls."""
    chosen: dict[str, Any] = {}
    for op in compiled.stages["dma"].ops:
        if isinstance(op, FuncOp) and (schedule := schedule_record(op)) is not None:
            chosen[op.sym_name.data] = asdict(schedule)
    calls = [
        {"label": c.label, "kernel": c.plan.name, "operations": executed(c.plan.body)}
        for c in compiled.program.calls
    ]
    return {"machine": compiled.machine.name, "schedules": chosen, "calls": calls}


def trace(compiled: Compiled) -> Iterator[str]:
    """The rows of a run as CSV. Raises ``KpuError`` for one of too many operations."""
    compiled.program.check_count("a smaller program: every operation is a row")
    rows: list[list[Any]] = []
    replay = Replay(compiled.program, lambda span: rows.extend(_rows(span, compiled, replay)))
    replay.run()
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(row)
        if stream.tell() > 1 << 16:
            yield stream.getvalue()
            stream.seek(0)
            stream.truncate()
    yield stream.getvalue()


def _rows(span: Span, compiled: Compiled, replay: Replay) -> Iterator[list[Any]]:
    event, program = span.event, compiled.program
    call = program.calls[event.call]
    _, spent, _ = replay.model.operations[event.operation]
    cause = replay.model.causes[event.cause][1] if event.cause >= 0 else ""
    for held in span.held:
        own = held is span.held[0]
        yield [
            span.index,
            call.label,
            call.plan.name,
            held.engine.name,
            event.start + held.begin,
            event.start + held.end,
            event.start + spent.latency,
            describe(span.step, program, event.call),
            getattr(span.step, "bytes", ""),
            span.waited if own else "",
            cause if own else "",
            place(span.step.op) or "",
        ]
