"""Where the time of a run went, beyond what its ``Timing`` counts.

The critical path and the memories' occupancy need every operation, so the run is stepped for them
(``analyse``); reuse and the engines' overlap are quotients of counted events (``reuse``,
``overlap``).
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kpu_ir.report.replay import Replay, Span, describe
from kpu_ir.sim.program.plan import Ring
from kpu_ir.sim.program.program import Program
from kpu_ir.sim.time.clock import Timing

Interval = tuple[int, int]


def reuse(counts: Mapping[str, int]) -> dict[str, float]:
    """How often each byte is used that comes in from the level above.

    ``l3``: bytes moved on to L2 for a byte fetched; ``l2``: bytes that the streamers and the
    vector engine read for a byte moved in; ``l1``: bytes fed to the array for a byte streamed in;
    ``array``: multiply-accumulates for a byte fed. A level that nothing came into is not there.
    """

    def n(key: str) -> int:
        return counts.get(key, 0)

    inward = n("l3.read") - n("external.write")
    outward = n("l3.write") - n("external.read")
    macs = sum(v for k, v in counts.items() if k.startswith("macs."))
    parts = {
        "l3": (inward, n("external.read")),
        "l2": (n("l2.read") - outward, inward),
        "l1": (n("l1.read"), n("l1.write")),
        "array": (macs, n("l1.read")),
    }
    return {level: used / loaded for level, (used, loaded) in parts.items() if loaded}


def overlap(timing: Timing) -> float:
    """How many engines work at a time, on average."""
    return sum(timing.busy.values()) / timing.cycles if timing.cycles else 0.0


def allocated(program: Program) -> dict[str, int]:
    """Bytes of each memory that are given out, at most, while one kernel runs: to its rings, and to
    tensors in L3 that are there meanwhile."""
    found = {"l3": 0, "l2": 0}
    spans = program.lifetimes()
    standing = [
        (spans[b.index], b.bytes) for b in program.buffers if b.level == "l3" and b.index in spans
    ]
    for number, call in enumerate(program.calls):
        taken = {"l3": 0, "l2": 0}
        for ring in call.plan.rings:
            taken[ring.level] = max(taken[ring.level], ring.end)
        taken["l3"] += sum(size for (born, dies), size in standing if born <= number <= dies)
        found = {level: max(found[level], taken[level]) for level in found}
    return found


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the critical path: from the start of ``operation`` on ``engine`` to the start of
    ``then``, which began no sooner because of ``reason``: what it waited for (``operand ...``,
    ``slot ...``), ``BUSY`` or ``LAST``."""

    begin: int
    cycles: int
    engine: str
    kernel: str
    operation: str
    reason: str
    then: str = ""


BUSY, LAST = "busy", "last"
"""The engine worked on the operation until the next one in its order began; it is the last to end."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """A stepped run, analysed.

    ``path``: the critical path in order of time; its cycles add up to ``cycles``. ``live``: bytes
    of each memory that hold data still needed, as ``(cycle, bytes)`` from each change on.
    ``busy``: when each engine worked, as ``(begin, end)`` in order. ``dma_hidden``: of ``dma_busy``
    cycles of the DMA, those in which the array or the vector engine works as well.
    """

    cycles: int
    path: tuple[Segment, ...]
    live: dict[str, list[Interval]]
    busy: dict[str, list[Interval]]
    dma_busy: int
    dma_hidden: int

    @property
    def hidden(self) -> float:
        """The hidden share of the DMA's time."""
        return self.dma_hidden / self.dma_busy if self.dma_busy else 1.0

    @property
    def peak(self) -> dict[str, int]:
        """The most bytes of each memory that held needed data at once."""
        return {level: max((b for _, b in curve), default=0) for level, curve in self.live.items()}

    def longest(self) -> list[Segment]:
        """The path's segments of one engine, kernel, operation, reason and next operation as one;
        longest first."""
        merged: dict[tuple[str, str, str, str, str], Interval] = {}
        for s in self.path:
            key = (s.engine, s.kernel, s.operation, s.reason, s.then)
            begin, cycles = merged.get(key, (s.begin, 0))
            merged[key] = (begin, cycles + s.cycles)
        found = [Segment(begin, cycles, *key) for key, (begin, cycles) in merged.items()]
        return sorted(found, key=lambda s: (-s.cycles, s.begin))

    def shares(self) -> dict[str, dict[str, int]]:
        """Cycles of the path by why they passed: ``busy`` by engine; else by what was waited for."""
        found: dict[str, dict[str, int]] = {}
        for s in self.path:
            why = s.reason.partition(" ")[0]
            what = s.engine if why in (BUSY, LAST) else s.reason
            part = found.setdefault(why, {})
            part[what] = part.get(what, 0) + s.cycles
        return found


def merged(intervals: Sequence[Interval]) -> list[Interval]:
    """Their union, in order.

    >>> merged([(5, 9), (0, 3), (3, 4), (6, 7)])
    [(0, 4), (5, 9)]
    """
    union: list[Interval] = []
    for begin, end in sorted(intervals):
        if union and begin <= union[-1][1]:
            union[-1] = (union[-1][0], max(end, union[-1][1]))
        else:
            union.append((begin, end))
    return union


def common(a: Sequence[Interval], b: Sequence[Interval]) -> int:
    """The length of what two unions share.

    >>> common([(0, 4), (5, 9)], [(3, 6)])
    2
    """
    i = j = total = 0
    while i < len(a) and j < len(b):
        total += max(0, min(a[i][1], b[j][1]) - max(a[i][0], b[j][0]))
        if a[i][1] <= b[j][1]:
            i += 1
        else:
            j += 1
    return total


def curve(intervals: Sequence[tuple[int, int, int]]) -> list[Interval]:
    """The sum of sizes over time, from intervals ``(begin, end, size)``.

    >>> curve([(0, 4, 10), (2, 6, 5)])
    [(0, 10), (2, 15), (4, 5), (6, 0)]
    """
    change: dict[int, int] = {}
    for begin, end, size in intervals:
        change[begin] = change.get(begin, 0) + size
        change[end] = change.get(end, 0) - size
    points: list[Interval] = []
    level = 0
    for at in sorted(change):
        if change[at]:
            level += change[at]
            points.append((at, level))
    return points


def thinned(points: Sequence[Interval], cycles: int, buckets: int) -> list[Interval]:
    """A curve of at most ``buckets`` points: in each stretch of time the highest value."""
    if len(points) <= buckets:
        return list(points)
    top = [0] * buckets
    for n, (at, level) in enumerate(points):
        end = points[n + 1][0] if n + 1 < len(points) else cycles
        first, last = at * buckets // cycles, max(at, end - 1) * buckets // cycles
        for bucket in range(first, min(last, buckets - 1) + 1):
            top[bucket] = max(top[bucket], level)
    return [(n * cycles // buckets, level) for n, level in enumerate(top)]


@dataclass
class _Recorder:
    program: Program
    start: array[int] = field(default_factory=lambda: array("q"))
    binding: array[int] = field(default_factory=lambda: array("q"))
    operation: array[int] = field(default_factory=lambda: array("q"))
    cause: array[int] = field(default_factory=lambda: array("q"))
    call: array[int] = field(default_factory=lambda: array("q"))
    last: Interval = (0, -1)
    busy: dict[str, list[Interval]] = field(default_factory=dict[str, list[Interval]])
    filled: dict[str, list[tuple[int, int, int]]] = field(
        default_factory=lambda: {"l3": [], "l2": []}
    )

    def see(self, span: Span) -> None:
        """Remember one operation."""
        e = span.event
        for table, value in (
            (self.start, e.start), (self.binding, span.binding), (self.operation, e.operation),
            (self.cause, e.cause), (self.call, e.call),
        ):  # fmt: skip
            table.append(value)
        self.last = max(self.last, (span.done, span.index))
        for h in span.held:
            worked = self.busy.setdefault(h.engine.name, [])
            worked.append((e.start + h.begin, e.start + h.end))

    def live(self, ring: Ring, begin: int, end: int) -> None:
        """Remember when a slot was in use."""
        self.filled[ring.level].append((begin, end, ring.slot_bytes))

    def stands(self, buffer: int, begin: int, end: int) -> None:
        """Remember when a tensor stood in L3."""
        self.filled["l3"].append((begin, end, self.program.buffers[buffer].bytes))

    def path(self, replay: Replay) -> tuple[Segment, ...]:
        """Back from the last operation through what each one waited for."""
        end, at = self.last
        reason, then = LAST, ""
        found: list[Segment] = []
        names: dict[Interval, tuple[str, str, str]] = {}
        while at >= 0:
            operation, begin, call = self.operation[at], self.start[at], self.call[at]
            if (operation, call) not in names:
                step, _, held = replay.model.operations[operation]
                label = self.program.calls[call].label
                words = describe(step, self.program, call)
                names[operation, call] = (held[0].engine.name, label, words)
            found.append(Segment(begin, end - begin, *names[operation, call], reason, then))
            cause = self.cause[at]
            reason = replay.model.causes[cause][1] if cause >= 0 else BUSY
            then = names[operation, call][2]
            end, at = begin, self.binding[at]
        return tuple(reversed(found))


def analyse(program: Program) -> Analysis:
    """Step the program and follow its operations. Time and memory grow with their number."""
    recorder = _Recorder(program)
    replay = Replay(program, recorder.see, recorder.live, recorder.stands)
    timing = replay.run()
    kinds = {e.name: e.kind for e in replay.model.engines}
    busy = {name: merged(recorder.busy.get(name, [])) for name in kinds}
    dma, compute = (
        merged([i for name, found in busy.items() if kinds[name] in chosen for i in found])
        for chosen in (("dma",), ("fabric", "feed", "drain", "vector"))
    )
    return Analysis(
        timing.cycles,
        recorder.path(replay),
        {level: curve(intervals) for level, intervals in recorder.filled.items()},
        busy,
        sum(end - begin for begin, end in dma),
        common(dma, compute),
    )
