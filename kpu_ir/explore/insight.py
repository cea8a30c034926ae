"""What a reader takes from a study: which knob matters for what, and machines that are better and
slower."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kpu_ir.explore.scores import Design
from kpu_ir.explore.space import Setting
from kpu_ir.explore.study import Results

MORE = (
    "fabric.macs.", "fabric.chained", "vector.lanes", "dma.channels", "dma.bytes_per_cycle", "l3.tiles",
    "l3.tile_bytes", "mover.channels", "mover.bytes_per_cycle", "l2.banks", "l2.bank_bytes",
    "streamer.bytes_per_cycle", "l1.buffers", "l1.buffer_bytes",
)  # fmt: skip
"""Of these, more is better and nothing else changes. A larger array is no such knob: it takes longer to
fill and to drain."""

LESS = (
    "external.latency", "external.activate_interval", "external.row_cycle", "external.row_miss",
    "external.read_to_write", "external.write_to_read", "external.refresh_cycles",
    "vector.initiation_interval.", "vector.latency.", "vector.issue", "dma.setup", "dma.run_cycles",
    "mover.setup", "mover.run_cycles", "l1.latency", "l2.latency", "l3.latency", "control.",
)  # fmt: skip
"""Of these, less is better."""

SLOWER = 0.005
"""A better machine that takes this much more is told of."""


@dataclass(frozen=True)
class Effect:
    """What a knob does to a figure of a workload: ``share`` of the differences that it explains by
    itself (of the variance of the logarithm); ``means``: the geometric mean at each value."""

    knob: str
    workload: str
    figure: str
    share: float
    means: tuple[tuple[Setting, float], ...]

    @property
    def change(self) -> float:
        """From its first value to its last: -0.5 is half."""
        return self.means[-1][1] / self.means[0][1] - 1

    def sentence(self) -> str:
        """As a person says it."""
        first, last = self.means[0][0], self.means[-1][0]
        what = {"seconds": "its time", "energy_j": "its energy", "cycles": "its cycles"}
        name = what.get(self.figure, self.figure)
        least = min(self.means, key=lambda m: m[1])
        if abs(self.change) < 0.005 and least[1] > 0.99 * self.means[0][1]:
            return f"{self.workload}: {self.knob} hardly matters"
        moves = "falls" if self.change < 0 else "rises"
        at = "" if least[0] in (first, last) else f", and is least at {_shown(least[0])}"
        return (
            f"{self.workload}: from {self.knob} = {_shown(first)} to {_shown(last)} {name} {moves} by "
            f"{100 * abs(self.change):.0f} % on average{at}; this explains {100 * self.share:.0f} % "
            "of the differences between points"
        )


def _shown(value: Setting) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def effects(results: Results, figure: str = "seconds") -> list[Effect]:
    """For each workload the effect of each free knob, the largest first."""
    found: list[Effect] = []
    for workload in results.spec.workloads:
        pairs = [
            (design, row[figure])
            for design in results.designs
            for row in design.rows
            if row.get("workload") == workload.name and row.get(figure, 0) > 0
        ]
        if len(pairs) < 2:
            continue
        logs = np.log([value for _, value in pairs])
        whole = float(((logs - logs.mean()) ** 2).sum())
        own: list[Effect] = []
        for knob in results.spec.space.free:
            groups: dict[Setting, list[float]] = {value: [] for value in knob.values}
            for (design, _), log in zip(pairs, logs, strict=True):
                groups.setdefault(design.knobs[knob.name], []).append(float(log))
            means = {value: float(np.mean(logs_)) for value, logs_ in groups.items() if logs_}
            if len(means) < 2:
                continue
            between = sum(len(groups[v]) * (m - logs.mean()) ** 2 for v, m in means.items())
            shown = tuple((value, math.exp(mean)) for value, mean in means.items())
            share = float(between / whole) if whole > 1e-18 else 0.0
            own.append(Effect(knob.name, workload.name, figure, share, shown))
        found += sorted(own, key=lambda e: (-e.share, e.knob))
    return found


@dataclass(frozen=True)
class Backward:
    """Two designs of which the ``better`` one has more of everything and takes longer."""

    better: int
    worse: int
    workload: str
    slower: float

    def sentence(self) -> str:
        """As a person says it."""
        return (
            f"{self.workload}: point {self.better} is better than point {self.worse} in every knob "
            f"in which they differ, and {100 * self.slower:.1f} % slower"
        )


def backwards(results: Results) -> list[Backward]:
    """Every pair in which a strictly better machine takes more cycles, by over half a percent."""
    names = [knob.name for knob in results.spec.space.knobs]
    signs = np.array([_direction(name) for name in names])
    found: list[Backward] = []
    for workload in results.spec.workloads:
        own = _timed(results.designs, workload.name)
        if len(own) < 2:
            continue
        values = np.array([[float(d.knobs[n]) for n in names] for d, _ in own])
        cycles = np.array([float(c) for _, c in own])
        for i, (design, _) in enumerate(own):
            differs = values != values[i]
            gains = (values[i] - values) * signs  # what point i has more of the good
            fair = differs.any(1) & ~(differs & (gains <= 0)).any(1)
            for j in np.flatnonzero(fair & (cycles[i] > (1 + SLOWER) * cycles)):
                by = float(cycles[i] / cycles[j] - 1)
                found.append(Backward(design.number, own[int(j)][0].number, workload.name, by))
    return sorted(found, key=lambda b: -b.slower)


def _direction(name: str) -> int:
    """1 where more is better, -1 where less is; 0 where that is not said."""
    return 1 if name.startswith(MORE) else -1 if name.startswith(LESS) else 0


def _timed(designs: Sequence[Design], workload: str) -> list[tuple[Design, int]]:
    rows: list[tuple[Design, Mapping[str, Any]]] = [
        (d, row) for d in designs if d.status != "pruned" for row in d.rows
    ]
    return [(d, r["cycles"]) for d, r in rows if r.get("workload") == workload and "cycles" in r]
