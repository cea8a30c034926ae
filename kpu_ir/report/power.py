"""Power over the time of a run: the energy of each operation, spread over its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kpu_ir.machine import Machine
from kpu_ir.machine.area import leakage_watts
from kpu_ir.report.replay import Replay, Span
from kpu_ir.sim.program.program import Program
from kpu_ir.sim.time.clock import CallTiming
from kpu_ir.sim.time.energy import energy

WINDOWS = 100
"""Of a run."""


@dataclass(frozen=True, slots=True)
class PowerTrace:
    """Watts on average in each of equal windows, ``window`` seconds each; what leaks is within."""

    window: float
    watts: tuple[float, ...]

    @property
    def average(self) -> float:
        """Of the run, W."""
        return sum(self.watts) / len(self.watts)

    @property
    def peak(self) -> float:
        """Of the window that draws most, W."""
        return max(self.watts)


def power_of_calls(
    calls: Sequence[CallTiming], cycles: int, machine: Machine, windows: int = WINDOWS
) -> PowerTrace:
    """Power window by window without stepping: the energy of each kernel call is spread evenly over its
    span, what memory needs to stand by over the run. Peaks within a kernel are not seen."""
    width = max(1, cycles) / windows
    spent = [energy({}, machine, cycles).total / windows] * windows
    for call in calls:
        joules = energy(call.counts, machine, 0).total
        begin, end = call.start, max(call.end, call.start + 1)
        first = min(windows - 1, int(begin / width))
        last = min(windows - 1, int((end - 1e-9) / width))
        parts = [
            max(0.0, min(end, (w + 1) * width) - max(begin, w * width))
            for w in range(first, last + 1)
        ]
        for w, part in enumerate(parts, first):
            spent[w] += joules * part / (sum(parts) or 1.0)
    seconds, leak = machine.seconds(max(1, cycles)) / windows, leakage_watts(machine)
    return PowerTrace(seconds, tuple(pj * 1e-12 / seconds + leak for pj in spent))


def power_trace(program: Program, windows: int = WINDOWS) -> PowerTrace:
    """Step a program and tell its power window by window. What belongs to no operation (a kernel's
    program, memory that stands by) is spread evenly over the run."""
    machine = program.machine
    spans: list[tuple[int, int, float]] = []
    known: dict[int, float] = {}

    def see(span: Span) -> None:
        operation = span.event.operation
        if operation not in known:
            known[operation] = energy(costs[operation][1].counts, machine, 0).total
        if known[operation]:
            spans.append((span.event.start, span.done, known[operation]))

    replay = Replay(program, see)
    costs = replay.model.operations
    timing = replay.run()
    cycles = max(1, timing.cycles)
    rest = energy(timing.counts, machine, timing.cycles).total - sum(joules for *_, joules in spans)
    edges = np.linspace(0.0, cycles, windows + 1)
    spent = np.full(windows, rest / windows)
    for begin, end, joules in spans:
        end = max(end, begin + 1)
        first = min(windows - 1, int(begin * windows / cycles))
        last = min(windows - 1, int((end - 1e-9) * windows / cycles))
        low, high = edges[first : last + 1], edges[first + 1 : last + 2]
        part = np.minimum(high, end) - np.maximum(low, begin)
        spent[first : last + 1] += joules * np.maximum(part, 0.0) / part.clip(0.0).sum()
    window = machine.seconds(cycles) / windows
    leak = leakage_watts(machine)
    return PowerTrace(window, tuple(float(pj) * 1e-12 / window + leak for pj in spent))
