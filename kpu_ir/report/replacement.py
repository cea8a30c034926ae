"""What a program loads onto the chip, beside what an optimal replacement would load.

A kernel uses blocks of its tensors in one order: L3 by movers, L2 by the array and the vector engine. Its
rings decide statically what stays. Belady's policy, which knows all later uses and gives up what is used
last, loads the least for the same order, in a memory of the same size: the level's bytes less
what holds results, and less tensors that stand there meanwhile. It is optimal for blocks of one size
(L. A. Belady, IBM Systems Journal 5(2), 1966; here a block may also pass through without staying);
for blocks of several sizes it is close to it. Depths of rings, that is what prefetching takes, cost it nothing, so
the program need not be able to reach it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from kpu_ir.sim.program.plan import (
    Acquire,
    Fetch,
    Loop,
    Matmul,
    Move,
    Node,
    Plan,
    Put,
    Vector,
    Write,
    executed,
    steps,
)
from kpu_ir.sim.program.program import Call, Program

STEPPED_AT_MOST = 200_000
"""Kernels of more operations are not looked at."""

NOTABLE = 1.05
"""Times the optimum, from which the report says so."""

LEVELS = ("l3", "l2")
Block = tuple[object, ...]
"""What a tile holds: a tensor's block, or the result of an operation."""


@dataclass(frozen=True, slots=True)
class Reuse:
    """Of a kernel at a level: uses of blocks that come from outside of it, loads (``misses``), their
    bytes; the bytes that an optimal replacement would load in ``room`` bytes, and those of each block once."""

    level: str
    uses: int
    misses: int
    loaded: int
    optimal: int
    once: int
    room: int

    @property
    def hits(self) -> int:
        """Uses of what was there already."""
        return max(0, self.uses - self.misses)

    @property
    def times(self) -> float:
        """What is loaded, over the optimum."""
        return self.loaded / self.optimal if self.optimal else 1.0


@dataclass(frozen=True, slots=True)
class KernelReuse:
    """A kernel's reuse at each level that it loads something into, and how often it is called."""

    kernel: str
    label: str
    calls: int
    levels: tuple[Reuse, ...]


def reuse_of(program: Program) -> tuple[list[KernelReuse], list[str]]:
    """The reuse of each kernel that is called; the names of those that have too many operations."""
    found: list[KernelReuse] = []
    left: list[str] = []
    calls: dict[str, list[Call]] = {}
    for call in program.calls:
        calls.setdefault(call.plan.name, []).append(call)
    for name, mine in calls.items():
        plan = mine[0].plan
        if executed(plan.body) > STEPPED_AT_MOST:
            left.append(name)
            continue
        standing = max(_standing(program, call) for call in mine)
        rows = [
            _at(level, plan, program.machine.capacity[level] - standing * (level == "l3"))
            for level in LEVELS
        ]
        levels = tuple(row for row in rows if row.uses)
        if levels:
            found.append(KernelReuse(name, mine[0].label, len(mine), levels))
    return found, left


def _standing(program: Program, call: Call) -> int:
    """Bytes of tensors that stand in L3 while a call runs."""
    at, spans = program.calls.index(call), program.lifetimes()
    return sum(
        b.bytes
        for b in program.buffers
        if b.level == "l3" and b.index in spans and spans[b.index][0] <= at <= spans[b.index][1]
    )


def _at(level: str, plan: Plan, capacity: int) -> Reuse:
    filled = {
        s.ring.index for s in steps(plan.body) if isinstance(s, Fetch | Move) and _loads(s, level)
    }
    results = sum(
        r.depth * r.slot_bytes for r in plan.rings if r.level == level and r.index not in filled
    )
    walk = _Walk(plan, level)
    uses = list(walk.run())
    room = max(0, capacity - results)
    least = min(optimal(uses, room), walk.loaded)
    once = sum(dict(uses).values())
    return Reuse(level, len(uses), walk.misses, walk.loaded, least, once, room)


def _loads(step: Fetch | Move, level: str) -> bool:
    """Whether a step brings a block into a level from the one further out."""
    if isinstance(step, Fetch):
        return step.pinned == (level == "l2")
    return step.inward and level == "l2"


class _Walk:
    """Yields the uses of blocks at a level, in order, with their bytes."""

    def __init__(self, plan: Plan, level: str) -> None:
        self.plan, self.level = plan, level
        self.env = [0] * plan.variables
        self.holds: list[Block] = [()] * plan.values
        self.bytes = [0] * plan.values
        self.serial = self.misses = self.loaded = 0

    def run(self) -> Iterator[tuple[Block, int]]:
        return self._block(self.plan.body)

    def _block(self, nodes: Sequence[Node]) -> Iterator[tuple[Block, int]]:
        env = self.env
        for node in nodes:
            if isinstance(node, Loop):
                for trip in range(node.trips):
                    env[node.var] = node.start + trip * node.step
                    yield from self._block(node.body)
            elif isinstance(node, Fetch):
                at = tuple(o.const + sum(c * env[v] for v, c in o.terms) for o in node.offsets)
                self._fill(node, node.out, (node.buffer, node.by, at, node.extents))
            elif isinstance(node, Move):
                if node.moves:
                    yield from self._used(node.source)
                at = tuple(o.const + sum(c * env[v] for v, c in o.terms) for o in node.offsets)
                held = self.holds[node.source]
                self._fill(node, node.out, (held, at, node.block, node.permutation))
            elif isinstance(node, Acquire):
                self.holds[node.out] = ()
            else:
                yield from self._computed(node)

    def _computed(self, step: Matmul | Vector | Put | Write) -> Iterator[tuple[Block, int]]:
        if isinstance(step, Put | Write):
            yield from self._used(step.source)
        else:
            for register in dict.fromkeys(step.operands):
                yield from self._used(register)
        if not isinstance(step, Write):
            self.serial += 1
            self.holds[step.into] = (("result", self.serial),)
            self.bytes[step.into] = 0

    def _fill(self, step: Fetch | Move, out: int, block: Block) -> None:
        loads = _loads(step, self.level)
        self.holds[out], self.bytes[out] = block, step.bytes if loads else 0
        if loads and step.moves:
            self.misses += 1
            self.loaded += step.bytes

    def _used(self, register: int) -> Iterator[tuple[Block, int]]:
        if self.bytes[register]:
            yield self.holds[register], self.bytes[register]


def optimal(uses: Sequence[tuple[Block, int]], room: int) -> int:
    """Bytes that are loaded where all later uses are known. A block need not stay.

    >>> optimal([("a", 1), ("b", 1), ("c", 1), ("a", 1), ("b", 1)], 2)
    4
    """
    never = len(uses)
    following = [never] * len(uses)
    last: dict[Block, int] = {}
    for i in range(len(uses) - 1, -1, -1):
        block = uses[i][0]
        following[i] = last.get(block, never)
        last[block] = i
    held: dict[Block, tuple[int, int]] = {}  # the next use, and the bytes
    heap: list[tuple[int, int, Block]] = []
    taken = loaded = 0
    for i, (block, size) in enumerate(uses):
        if block in held:
            taken -= held.pop(block)[1]
        else:
            loaded += size
        again = following[i]
        if again == never:
            continue
        held[block] = again, size
        taken += size
        heappush(heap, (-again, i, block))
        while taken > room:  # give up what is used last, if need be this one
            use, _, other = heappop(heap)
            if other in held and held[other][0] == -use:
                taken -= held.pop(other)[1]
    return loaded
