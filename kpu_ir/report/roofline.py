"""The roofline: how fast kernels ran, and what bounds them at each level of memory.

Williams, Waterman, Patterson, "Roofline: an insightful visual performance model", CACM 2009; one
roof a level, as in Ilic et al., "Cache-aware roofline model", IEEE CAL 2014.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kpu_ir.machine import Machine
from kpu_ir.report.summary import macs_of, moved, vector_macs
from kpu_ir.sim.time.clock import CallTiming, Timing

LEVELS = {"dma": "external", "mover": "L3 to L2", "streamer": "L2 to L1"}
"""What carries data, and between which memories."""


@dataclass(frozen=True, slots=True)
class Point:
    """A kernel at one level: operations a byte that was moved there, operations a second."""

    number: int
    label: str
    level: str
    intensity: float
    speed: float


@dataclass(frozen=True, slots=True)
class Roofline:
    """Roofs in operations a second, by level in bytes a second; points of kernels that compute.

    ``peaks``: the array by operand type, and ``vector``: the vector engine's simplest operation.
    """

    peaks: dict[str, float]
    bandwidth: dict[str, float]
    points: tuple[Point, ...]

    @property
    def top(self) -> float:
        """The highest roof."""
        return max(self.peaks.values())

    def extent(self) -> tuple[float, float, float, float]:
        """What holds every point and every ridge, with some room: x and y from, to."""
        ridges = [self.top / b for b in self.bandwidth.values()]
        xs = [*(p.intensity for p in self.points), *ridges]
        ys = [*(p.speed for p in self.points), self.top / 8]
        return min(xs) / 1.8, max(xs) * 1.8, min(ys) / 1.8, self.top * 1.8


def operations(call: CallTiming) -> int:
    """Two a multiply-accumulate of the array; of a kernel without any, one a lane operation of the
    vector engine, of which multiplying and adding is one (an epilogue's work is not what the array's roof bounds)."""
    of_array = 2 * sum(macs_of(call.counts).values())
    return of_array or call.counts.get("lane_ops", 0) + vector_macs(call.counts)


def roofline(calls: Iterable[CallTiming], timing: Timing, machine: Machine) -> Roofline:
    """Every call that computes, at every level where it moved something."""
    points: list[Point] = []
    for number, call in enumerate(calls, 1):
        work, seconds = operations(call), machine.seconds(call.end - call.start)
        if not work or not seconds:
            continue
        for level, bytes_ in moved(call.counts).items():
            if bytes_:
                points.append(Point(number, call.label, level, work / bytes_, work / seconds))
    kinds = [kind for kind, n in macs_of(timing.counts).items() if n] or ["f32"]
    peaks = {kind: machine.peak_flops(kind) for kind in kinds}
    if any(not macs_of(c.counts) and operations(c) for c in timing.calls):
        peaks["vector"] = machine.vector.lanes * machine.clock_hz
    rates = {level: b * machine.clock_hz for level, b in machine.bandwidth.items()}
    return Roofline(peaks, rates, tuple(points))


def speed_text(speed: float) -> str:
    """Operations a second for a person: ``512 Gop/s``."""
    for unit in ("", "k", "M", "G", "T"):
        if speed < 999.5:
            return f"{speed:.3g} {unit}op/s"
        speed /= 1000
    return f"{speed:.3g} Pop/s"
