"""The state of a timed machine, and what a run of it yields.

The state is a vector of times: when each engine is free, and for each ring slot when its data is
ready and when its last reader is done. Operations only take maxima of its entries and add
constants.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from kpu_ir.machine import Machine
from kpu_ir.sim.program.plan import TRANSFERS, Step, carrier
from kpu_ir.sim.program.program import Program
from kpu_ir.sim.time.costs import Cost
from kpu_ir.support.lines import shortened


@dataclass(frozen=True, slots=True)
class Engine:
    """One in-order engine: channels of a mover that are always used alike count as one."""

    index: int
    kind: str
    name: str
    channels: tuple[int, ...] = ()


class Held(NamedTuple):
    """An engine, from ``begin`` to ``end`` cycles after an operation's start."""

    engine: Engine
    begin: int
    end: int


@dataclass(frozen=True, slots=True, repr=False)
class Timing:
    """The time of a run: cycles, and where they went.

    ``busy[e]``, ``stalls[e][cause]``, ``idle_before[e]`` and ``idle_after[e]`` add up to ``cycles``
    for each engine ``e``. ``counts`` are bytes by level and direction, ``macs.<type>`` and
    ``lane_ops``. ``calls`` has the same for each kernel call, in order (what its operations did,
    whenever that was). ``stepped`` is the number of operations executed one by one, ``operations``
    the number there are.
    """

    cycles: int
    busy: dict[str, int]
    stalls: dict[str, dict[str, int]]
    idle_before: dict[str, int]
    idle_after: dict[str, int]
    counts: dict[str, int]
    calls: tuple[CallTiming, ...]
    operations: int
    stepped: int

    def __repr__(self) -> str:
        calls = f"{len(self.calls):,} kernel{'s' * (len(self.calls) != 1)}"
        return f"<Timing: {self.cycles:,} cycles, {self.external_bytes:,} external bytes, {calls}>"

    @property
    def engines(self) -> dict[str, dict[str, Any]]:
        """What each engine's cycles were: ``busy``, ``stalls`` by cause, ``idle_before`` and
        ``idle_after``."""
        return {
            name: {
                "busy": busy,
                "stalls": self.stalls[name],
                "idle_before": self.idle_before[name],
                "idle_after": self.idle_after[name],
            }
            for name, busy in self.busy.items()
        }

    @property
    def external_bytes(self) -> int:
        """Bytes read from and written to external memory."""
        return self.counts.get("external.read", 0) + self.counts.get("external.write", 0)


@dataclass(frozen=True, slots=True, repr=False)
class CallTiming:
    """One kernel call: when its first operation began and its last one ended, and what it did."""

    label: str
    kernel: str
    start: int
    end: int
    busy: dict[str, int]
    stalls: dict[str, dict[str, int]]
    counts: dict[str, int]

    def __repr__(self) -> str:
        return shortened(f"<CallTiming {self.label}: cycles {self.start:,} to {self.end:,}>")


def engines_of(machine: Machine, steps: Iterable[Step]) -> list[Engine]:
    """The engines: channels of the DMA and of the movers in classes that every operation uses
    alike."""
    used: dict[str, set[tuple[int, ...]]] = {"dma": set(), "mover": set()}
    for step in steps:
        if isinstance(step, TRANSFERS) and step.channels is not None:
            used[carrier(step)].add(step.channels)
    found: list[Engine] = []
    for kind, count in (("dma", machine.dma.channels), ("mover", machine.mover.channels)):
        classes: dict[tuple[bool, ...], list[int]] = {}
        for channel in range(count):
            signature = tuple(channel in channels for channels in sorted(used[kind]))
            classes.setdefault(signature, []).append(channel)
        for channels in classes.values():
            name = kind if len(classes) == 1 else f"{kind}{channels}".replace(" ", "")
            found.append(Engine(len(found), kind, name, tuple(channels)))
    for kind in ("fabric", "feed", "drain", "vector"):
        found.append(Engine(len(found), kind, kind))
    return found


def engines_for(step: Step, spent: Cost, engines: list[Engine]) -> list[Held]:
    """The engines that a step holds; the first is the one that it runs on."""
    channels = step.channels if isinstance(step, TRANSFERS) else None
    return [
        Held(e, begin, end)
        for kind, begin, end in spent.holds
        for e in engines
        if e.kind == kind and (channels is None or e.channels[0] in channels)
    ]


class Places:
    """Where the slots of rings and the tensors of a program stand in the state: slots first, in
    order of the rings, then tensors.

    ``shared``: of each place that has bytes in common with others, those others. They need the
    bytes at other times: they are slots of other kernels, or tensors in L3.
    """

    def __init__(self, program: Program) -> None:
        """Number them."""
        self.rings: dict[int, range] = {}
        self.tensors = 0
        """The place of the first tensor."""
        for plan in program.plans:
            for ring in plan.rings:
                slots = range(self.tensors, self.tensors + ring.depth)
                self.rings[ring.index], self.tensors = slots, slots.stop
        self.count = self.tensors + len(program.buffers)
        self.pinned = {b.index for b in program.buffers if b.level == "l3"}
        self.shared: dict[int, list[int]] = {}
        if len(program.plans) > 1 or self.pinned:  # a kernel's rings stand beside each other
            self._share(program)

    def _share(self, program: Program) -> None:
        spans: list[tuple[str, int, int, str, int]] = []  # level, begin, end, owner, place
        for plan in program.plans:
            for ring in plan.rings:
                for i, slot in enumerate(self.rings[ring.index]):
                    begin = ring.address + i * ring.slot_bytes
                    spans.append((ring.level, begin, begin + ring.slot_bytes, plan.name, slot))
        for index in self.pinned:
            b = program.buffers[index]
            spans.append((b.level, b.address, b.address + b.bytes, "", self.tensors + index))
        living: list[tuple[str, int, int, str, int]] = []
        for span in sorted(spans):
            level, begin, _, owner, place = span
            living = [other for other in living if other[0] == level and other[2] > begin]
            for other in living:
                if other[3] != owner or not owner:
                    self.shared.setdefault(place, []).append(other[4])
                    self.shared.setdefault(other[4], []).append(place)
            living.append(span)
