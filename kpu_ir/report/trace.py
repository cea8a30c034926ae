"""A run as a trace for Perfetto (https://ui.perfetto.dev) in Chrome's JSON format.

A track for each engine; a counter for each ring: slots that hold needed data; arrows from the
operation that made a tile to those that read it. Times are microseconds (the format's unit) at the
machine's clock; the cycle stands in the arguments. Slices and arrows go to the file while the
simulator steps; the counters, which need the last reader of each slot, follow at the end (of a
window: the last one that began before every engine left it).

Format: "Trace Event Format", Google, 2016: phases X (slice), s/f (flow), C (counter), M (names),
b/e (a kernel's call, which may overlap the next one).
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

from kpu_ir.machine import Machine
from kpu_ir.report.analysis import Interval, curve
from kpu_ir.report.origin import Origin
from kpu_ir.report.replay import Replay, Span, describe, kind_of, loop_names
from kpu_ir.sim.program.plan import Acquire, Fetch, Loop, Matmul, Move, Node, Ring, Write, steps
from kpu_ir.sim.program.program import Program
from kpu_ir.sim.time.prices import cost
from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import writing
from kpu_ir.support.names import shortened
from kpu_ir.support.numbers import whole_number

ENGINES, RINGS, KERNELS = 1, 2, 3
"""The processes of the trace."""

MOST = 2_000_000
"""Runs of more operations are traced in a window only."""


class _Enough(Exception):
    """Everything in the window is written."""


@dataclass(frozen=True, slots=True)
class Written:
    """What is in a trace file: slices, arrows, counter values; ``cycles`` is None where the run was
    left after the window."""

    slices: int
    flows: int
    counters: int
    cycles: int | None


@dataclass
class _Writer:
    program: Program
    file: IO[str]
    window: Interval
    origin: Origin
    spans: dict[int, tuple[int, int, int]] = field(default_factory=dict[int, tuple[int, int, int]])
    """Of each operation whose tile may still be read: track, begin and end of its last slice."""
    owner: dict[int, int] = field(default_factory=dict[int, int])
    filled: dict[int, list[tuple[int, int, int]]] = field(
        default_factory=dict[int, list[tuple[int, int, int]]]
    )
    separator: str = "\n"
    slices: int = 0
    flows: int = 0
    counters: int = 0

    def __post_init__(self) -> None:
        """Prepare the run."""
        self.scale = 1e6 / self.program.machine.clock_hz
        self.inside = 0.5 + 2e-3 / self.scale  # cycles before an end that are still before it in ns
        self.replay = Replay(self.program, self.see, self.live)
        self.names: dict[tuple[int, str], tuple[str, tuple[tuple[int, str], ...]]] = {}
        self.free = {e.index: 0 for e in self.replay.model.engines}
        operations = self.replay.model.operations
        needed = {id(step): {h.engine.index for h in held} for step, _, held in operations}
        plans: dict[str, set[int]] = {}
        for plan in self.program.plans:
            used = [needed[id(s)] for s in steps(plan.body) if id(s) in needed]
            plans[plan.name] = set[int]().union(*used)
        self.ahead: list[set[int]] = []
        for call in reversed(self.program.calls):
            self.ahead.append(plans[call.plan.name] | (self.ahead[-1] if self.ahead else set()))
        self.ahead.reverse()

    def put(
        self, ph: str, name: str, pid: int, tid: int, cycle: float | None, cycles: int = 0,
        **more: Any,
    ) -> None:  # fmt: skip
        """Write one event, of so many cycles.

        Perfetto cuts times off to whole ns. A tenth of a ps more keeps what is a whole ns one, so
        that a slice never seems to end after the next one began.
        """
        event: dict[str, Any] = {"ph": ph, "name": name, "pid": pid, "tid": tid, **more}
        text = json.dumps(event, separators=(",", ":"))[:-1]
        if cycle is not None:
            text += f',"ts":{cycle * self.scale + 1e-7:.7f}'
        if cycles:
            text += f',"dur":{cycles * self.scale:.7f}'
        self.file.write(f"{self.separator}{text}}}")
        self.separator = ",\n"

    def run(self) -> int | None:
        """Write everything; the cycles of the run, if it came to its end."""
        machine = self.program.machine
        self.file.write('{"displayTimeUnit":"ns","traceEvents":[')
        for pid, name in (
            (ENGINES, f"KPU {machine.name}"), (RINGS, "rings: slots in use"), (KERNELS, "kernels"),
        ):  # fmt: skip
            self.put("M", "process_name", pid, 0, None, args={"name": name})
            self.put("M", "process_sort_index", pid, 0, None, args={"sort_index": pid})
        for e in self.replay.model.engines:
            self.put("M", "thread_name", ENGINES, e.index + 1, None, args={"name": e.name})
            order = {"sort_index": e.index}
            self.put("M", "thread_sort_index", ENGINES, e.index + 1, None, args=order)
        cycles = None
        try:
            timing = self.replay.run()
            cycles = timing.cycles
            begin, end = self.window
            for i, call in enumerate(timing.calls):
                if call.end > begin and call.start < end:
                    more: dict[str, Any] = {
                        "cat": "kernel",
                        "id": i,
                        "args": {"kernel": call.kernel},
                    }
                    self.put("b", call.label, KERNELS, 0, call.start, **more)
                    self.put("e", call.label, KERNELS, 0, call.end, cat="kernel", id=i)
        except _Enough:
            self.replay.finish()
        self.occupancy()
        self.file.write('\n],"otherData":')
        clock = {"clock_hz": machine.clock_hz, "window": self.window}
        self.file.write(json.dumps({"cycles": cycles, **clock, **self.origin.data()}) + "}\n")
        return cycles

    def see(self, span: Span) -> None:
        """Write an operation's slices, and arrows from what it reads."""
        e, (begin, end) = span.event, self.window
        for h in span.held:
            self.free[h.engine.index] = e.start + h.end
        if all(self.free[i] >= end for i in self.ahead[e.call]):
            raise _Enough
        last = max(span.held, key=lambda h: h.end)
        where = (last.engine.index + 1, e.start + last.begin, e.start + last.end)
        if e.slots and not isinstance(span.step, Write):
            self.spans.pop(self.owner.get(e.slots[-1], -1), None)
            self.owner[e.slots[-1]] = span.index
            self.spans[span.index] = where
        if e.start >= end or where[2] <= begin:
            return
        key = (e.operation, self.program.calls[e.call].label)
        if key not in self.names:
            words = describe(span.step, self.program, e.call)
            self.names[key] = (words, loop_names(span.step.op))
        name, loops = self.names[key]
        args: dict[str, Any] = {"kernel": key[1]}
        if loops:
            args["at"] = {loop: e.at[number] for number, loop in loops}
        args |= _details(span)
        if span.waited:
            args["waited"] = span.waited
            args["for"] = self.replay.model.causes[e.cause][1]
        args["cycle"] = e.start
        for h in span.held:
            start = e.start + h.begin
            more: dict[str, Any] = {"cat": kind_of(span.step), "args": args}
            self.put("X", name, ENGINES, h.engine.index + 1, start, h.end - h.begin, **more)
            self.slices += 1
        main = span.held[0]
        for producer in dict.fromkeys(span.producers):
            source = self.spans.get(producer)
            if source is None or source[1] >= end or source[2] <= begin:
                continue
            track, since, until = source
            self.flows += 1
            ends: dict[str, Any] = {"cat": "data", "id": self.flows}
            self.put("s", "tile", ENGINES, track, max(since, until - self.inside), **ends)
            at = e.start + main.begin
            self.put("f", "tile", ENGINES, main.engine.index + 1, at, **ends, bp="e")

    def live(self, ring: Ring, begin: int, end: int) -> None:
        """Remember when a slot was in use, as far as that is in the window."""
        first, last = max(begin, self.window[0]), min(end, self.window[1])
        if first < last:
            self.filled.setdefault(ring.index, []).append((first, last, 1))

    def occupancy(self) -> None:
        """Write the rings' counters."""
        for plan in self.program.plans:
            for ring in plan.rings:
                name = f"{plan.name} @{ring.name} ({ring.level})"
                for at, slots in curve(self.filled.get(ring.index, [])):
                    self.put("C", name, RINGS, 0, at, args={"slots": slots})
                    self.counters += 1


def _details(span: Span) -> dict[str, Any]:
    match span.step:
        case Fetch() | Move() | Write():
            shape = "x".join(str(n) for n in span.step.extents)
            return {"bytes": span.step.bytes, "tile": shape}
        case Matmul():
            s = span.step
            return {"m": s.m, "n": s.n, "k": s.k, "dataflow": s.dataflow}
        case Acquire():
            return {}
        case _:
            return {"tile": "x".join(str(n) for n in span.step.extents)}


@contextmanager
def replacing(path: str | Path) -> Generator[IO[str]]:
    """A text file to write that takes its place at ``path`` when the block ends well, else never.

    Devices and pipes are written to directly. Raises ``KpuError`` where it cannot be written.
    """
    with writing(path) as file:
        text = TextIOWrapper(file, encoding="utf-8", errors="backslashreplace")
        yield text
        text.flush()
        text.detach()


def write_trace(
    program: Program, path: str | Path, window: Interval | None = None, command: str = ""
) -> Written:
    """Step a program and write its trace; with ``window``, only what falls into these cycles.
    ``command`` is what gave it, if it was one.

    Raises ``KpuError`` where the file cannot be written, the window is empty, or a run of more
    than ``MOST`` operations has none.
    """
    count = sum(operations(call.plan.body, program.machine) for call in program.calls)
    if window is None and count > MOST:
        raise KpuError(
            f"a trace of all {count:,} operations would be too big to open",
            hint="give the cycles to look at, as --trace-window 0:100000",
        )
    if window is not None and not 0 <= window[0] < window[1]:
        raise KpuError(
            f"the window {window[0]}:{window[1]} is empty", hint="write BEGIN:END in cycles"
        )
    with replacing(path) as file:
        origin = Origin.of(program.machine, command)
        writer = _Writer(program, file, window or (0, 1 << 62), origin)
        cycles = writer.run()
    return Written(writer.slices, writer.flows, writer.counters, cycles)


def operations(nodes: Sequence[Node], machine: Machine) -> int:
    """How many operations a plan's body executes that take time."""
    return sum(
        node.trips * operations(node.body, machine)
        if isinstance(node, Loop)
        else cost(node, machine) is not None
        for node in nodes
    )


def window_of(text: str) -> Interval:
    """``1000:2000`` as a window of cycles; ``KpuError`` for anything else."""
    begin, end = map(whole_number, text.partition(":")[::2])
    if begin is None or end is None or begin >= end:
        raise KpuError(
            f"'{shortened(text)}' is not a window", hint="write BEGIN:END in cycles, as 1000:2000"
        )
    return begin, end
