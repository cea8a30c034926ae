"""The state of a timed machine, and what a run of it yields.

The state is a vector of times: when each engine is free, and for each ring slot when its data is
ready and when its last reader is done. Operations only take maxima of its entries and add
constants.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from kpu_ir.machine import Machine
from kpu_ir.sim.program.plan import Fetch, Move, Plan, Put, Step, Write, carrier, place
from kpu_ir.sim.program.program import Program
from kpu_ir.sim.time.durations import Cost, cost
from kpu_ir.support.errors import KpuError


@dataclass(frozen=True, slots=True)
class Engine:
    """One in-order engine: channels of a mover that are always used alike count as one."""

    index: int
    kind: str
    name: str
    channels: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """An engine, from ``begin`` to ``end`` cycles after an operation's start."""

    engine: Engine
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
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

    @property
    def external_bytes(self) -> int:
        """Bytes read from and written to external memory."""
        return self.counts.get("external.read", 0) + self.counts.get("external.write", 0)


@dataclass(frozen=True, slots=True)
class CallTiming:
    """One kernel call: when its first operation began and its last one ended, and what it did."""

    label: str
    kernel: str
    start: int
    end: int
    busy: dict[str, int]
    stalls: dict[str, dict[str, int]]
    counts: dict[str, int]


def engines_of(machine: Machine, steps: Iterable[Step]) -> list[Engine]:
    """The engines: channels of the DMA and of the movers in classes that every operation uses
    alike."""
    used: dict[str, set[tuple[int, ...]]] = {"dma": set(), "mover": set()}
    for step in steps:
        if isinstance(step, Fetch | Move | Put | Write) and step.channels is not None:
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
    channels = step.channels if isinstance(step, Fetch | Move | Put | Write) else None
    return [
        Held(e, hold.begin, hold.end)
        for hold in spent.holds
        for e in engines
        if e.kind == hold.engine and (channels is None or e.channels[0] in channels)
    ]


@dataclass(slots=True)
class Slots:
    """Where each ring's slots stand in the state, and which of them share bytes with rings of other
    kernels."""

    base: dict[int, int] = field(default_factory=dict[int, int])
    rings: dict[int, range] = field(default_factory=dict[int, range])
    count: int = 0
    overlaps: dict[str, list[tuple[int, tuple[int, ...]]]] = field(
        default_factory=dict[str, list[tuple[int, tuple[int, ...]]]]
    )

    @staticmethod
    def of(plans: tuple[Plan, ...]) -> Slots:
        """Number the slots of all plans."""
        slots = Slots()
        where: list[tuple[str, str, int, int, int]] = []  # plan, level, begin, end, slot
        for plan in plans:
            for ring in plan.rings:
                slots.base[ring.index] = slots.count
                slots.rings[ring.index] = range(slots.count, slots.count + ring.depth)
                for i in range(ring.depth):
                    begin = ring.address + i * ring.slot_bytes
                    where.append(
                        (plan.name, ring.level, begin, begin + ring.slot_bytes, slots.count)
                    )
                    slots.count += 1
        where.sort(key=lambda w: (w[1], w[2]))
        others: dict[int, list[int]] = {w[4]: [] for w in where}
        active: list[tuple[str, str, int, int, int]] = []
        for w in where:
            active = [a for a in active if a[1] == w[1] and a[3] > w[2]]
            for a in active:
                if a[0] != w[0]:
                    others[a[4]].append(w[4])
                    others[w[4]].append(a[4])
            active.append(w)
        for plan in plans:
            slots.overlaps[plan.name] = [
                (s, tuple(others[s]))
                for ring in plan.rings
                for s in range(slots.base[ring.index], slots.base[ring.index] + ring.depth)
                if others[s]
            ]
        return slots


@dataclass(slots=True)
class PinnedSlots:
    """Tensors in L3, and what else stands where they do at other times: ``of_slots`` the tensors of
    a plan's slots, ``slots_of`` the slots of a tensor, ``others`` tensors that share bytes."""

    buffers: set[int] = field(default_factory=set[int])
    of_slots: dict[str, list[tuple[int, tuple[int, ...]]]] = field(
        default_factory=dict[str, list[tuple[int, tuple[int, ...]]]]
    )
    slots_of: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    others: dict[int, list[int]] = field(default_factory=dict[int, list[int]])

    @staticmethod
    def of(program: Program, slots: Slots) -> PinnedSlots:
        """Those of a program."""
        found = PinnedSlots({b.index for b in program.buffers if b.level == "l3"})
        ranges = [
            (b.index, b.address, b.address + b.bytes) for b in program.buffers if b.level == "l3"
        ]
        if not ranges:
            return found
        for plan in program.plans:
            for ring in plan.rings:
                if ring.level != "l3":
                    continue
                for i in range(ring.depth):
                    slot, at = slots.base[ring.index] + i, ring.address + i * ring.slot_bytes
                    near = [b for b, a, z in ranges if a < at + ring.slot_bytes and at < z]
                    if near:
                        found.of_slots.setdefault(plan.name, []).append((slot, tuple(near)))
                    for b in near:
                        found.slots_of.setdefault(b, []).append(slot)
        for b, a, z in ranges:
            found.others[b] = [c for c, x, y in ranges if c != b and a < y and x < z]
        return found


def cost_at(step: Step, machine: Machine) -> Cost | None:
    """``cost``, with the operation's place in an error that has none."""
    try:
        return cost(step, machine)
    except KpuError as e:
        raise KpuError(e.message, e.where or place(step.op), e.hint) from None
