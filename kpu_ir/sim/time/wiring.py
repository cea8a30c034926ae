"""What the operations of a plan read and set, by register, whatever they cost.

The same operation stands in a plan many times, for loops are cut at their edges. Here each stands
once; what differs only in addresses does not differ in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Literal, NamedTuple, get_args

from kpu_ir.nest import records
from kpu_ir.sim.program.plan import (
    FILLINGS,
    TRANSFERS,
    Acquire,
    Fetch,
    Loop,
    Matmul,
    Move,
    Node,
    Plan,
    Put,
    Step,
    Vector,
    Write,
    carrier,
    rings_of,
)

ADDRESSES = {"offsets", "where", "low", "block"}
"""Fields that time does not depend on."""

SAME = {
    kind: attrgetter(*(f.name for f in fields(kind) if f.name not in ADDRESSES))
    for kind in get_args(Step)
}
"""Operations of a kind that are equal in this are equal in time."""

Tree = list["int | tuple[Loop, Tree]"]
"""A plan's body: numbers of operations, and loops."""


class Wire(NamedTuple):
    """One operation, by registers: tiles, then parameters.

    It waits for the data of ``reads``; the places of ``marks`` are in use until it has read them.
    Its ``target`` is the next slot of ``ring``, or was taken before, and ``fills`` with new data (a
    tensor is not filled, but added to). ``gate``: the time of the target that it waits for.
    ``record`` says by how many trips it is deferred, if it may be.
    """

    target: int
    ring: int | None = None
    reads: tuple[int, ...] = ()
    marks: tuple[int, ...] = ()
    gate: Literal["free", "ready", ""] = ""
    record: records.Transfer | None = None
    fills: bool = True

    @property
    def trips(self) -> int:
        """By how many trips it is deferred."""
        return 0 if self.record is None else self.record.defer


def _engine(step: Step) -> str:
    """The kind of engine that an operation runs on."""
    if isinstance(step, TRANSFERS):
        return carrier(step)
    return "fabric" if isinstance(step, Matmul) else "vector"


class Wiring:
    """The operations of one plan, and how they hang together."""

    def __init__(self, plan: Plan, apart: bool) -> None:
        """Number them; ``apart``: equal ones too."""
        self.plan, self.apart = plan, apart
        self.steps: list[Step] = []
        self._numbers: dict[tuple[object, ...], int] = {}
        self.body = self._tree(plan.body)
        self.ring_of = rings_of(plan)
        given = {s.into for s in self.steps if isinstance(s, Put | Vector)}
        given |= {s.out for s in self.steps if isinstance(s, Move)}
        self.begun = {s.into for s in self.steps if isinstance(s, Matmul)} - given
        """Sums that products begin: their slots are needed when the first product is issued."""
        self.wires = [self._wire(step) for step in self.steps]
        self.deferred: set[int] = set()
        """The rings whose slots deferred operations touch."""
        self.producers: dict[int, str] = {}
        """The engine that fills each ring."""
        self.readers: dict[int | None, set[str]] = {}
        """The engines that read what each ring holds."""
        for step, wire in zip(self.steps, self.wires):
            for register in wire.reads:
                if register in self.ring_of:
                    ring = self.ring_of[register].index
                    self.readers.setdefault(ring, set()).add(_engine(step))
            rings = [self.ring_of[r].index for r in (*wire.reads, wire.target) if r in self.ring_of]
            if wire.trips:
                self.deferred.update(rings)
            if isinstance(step, Fetch | Move | Put):
                self.producers[rings[-1]] = carrier(step)
            elif isinstance(step, Matmul):
                self.producers[rings[-1]] = "fabric"
            elif isinstance(step, Vector):
                self.producers.setdefault(rings[-1], "vector")

    def _tree(self, nodes: Sequence[Node]) -> Tree:
        tree: Tree = []
        for node in nodes:
            if isinstance(node, Loop):
                tree.append((node, self._tree(node.body)))
                continue
            kind = type(node)
            same = (kind, id(node) if self.apart else SAME[kind](node))
            number = self._numbers.setdefault(same, len(self.steps))
            if number == len(self.steps):
                self.steps.append(node)
            tree.append(number)
        return tree

    def _wire(self, step: Step) -> Wire:
        """How an operation is wired."""
        match step:
            case Fetch() | Move() if not step.moves:
                return Wire(step.out, step.ring.index, fills=False)
            case Fetch():
                tensors = (step.buffer,) if step.by is None else (step.buffer, step.by)
                reads = tuple(self.plan.values + p for p in tensors)
                marks = reads[:1] if step.pinned else ()
                return Wire(step.out, step.ring.index, reads, marks, "free")
            case Move():
                source = (step.source,)
                return Wire(step.out, step.ring.index, source, source, "free", step.record)
            case Acquire():
                # A result computed into the slot waits for its old readers.
                gate = "" if not step.fresh else "free" if step.out in self.begun else "ready"
                return Wire(step.out, step.ring.index, gate=gate)
            case Put():
                source = (step.source,)
                return Wire(step.into, None, source, source, "free", step.record)
            case Write():
                source, gate = (step.source,), "free" if step.pinned else ""
                tensor = self.plan.values + step.buffer
                return Wire(tensor, None, source, source, gate, step.record, False)
            case Matmul():
                return self._product(step)
            case _:
                gate = "free" if step.into in self.begun else "ready"
                return Wire(step.into, None, step.operands, step.operands, gate)

    def _product(self, step: Matmul) -> Wire:
        """Sums that only products write come from earlier drains of the array, which leave in order:
        an element of this product is drained, and added, after the same element of the one before
        it. So nobody waits for them; nor, where they have a tile of their own, for its slot."""
        reads, own = step.operands, step.sums in self.begun
        gate = "free" if step.into in self.begun else "ready"
        if own and not step.apart and (step.accumulate or step.record.sums is not None):
            gate = ""
        if not own and step.apart and step.accumulate:
            reads = (*reads, step.sums)
        return Wire(step.into, None, reads, reads, gate)

    def tells(self, step: Step) -> bool:
        """Whether an operation's result is for another engine, which must be told. What drains of the
        array is for one."""
        target = None
        if isinstance(step, FILLINGS):
            target = step.ring.index
        elif not isinstance(step, Write):
            target = self.ring_of[step.into].index
        own = _engine(step)
        return any(other != own or own == "fabric" for other in self.readers.get(target, ()))

    def adder(self, register: int) -> str:
        """The engine that a sum comes from which a product adds to."""
        source = self.producers.get(self.ring_of[register].index, "vector")
        return "vector" if source == "fabric" else source
