"""What queues are made of: instructions, and loops of them.

Numbers that change with the trips of loops are sums of multiples of trips (``Affine``), whose variables
are the loops' symbols.
"""

from __future__ import annotations

from dataclasses import dataclass

from kpu_ir.nest.records import Affine
from kpu_ir.sim.program.plan import Step
from kpu_ir.sim.time.clock import Held
from kpu_ir.sim.time.costs import Cost
from kpu_ir.sim.time.wiring import Wire


@dataclass(frozen=True, slots=True)
class Operation:
    """What instructions of one kind do: ``step`` of the plan, how it is wired, what it costs, the engines
    that it holds (its own first)."""

    number: int
    step: Step
    wire: Wire
    cost: Cost
    held: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """``count`` accesses of ``what`` by ``engine`` must have begun."""

    what: str
    engine: str
    count: Affine


@dataclass(frozen=True, slots=True)
class Instruction:
    """One operation where it is issued. ``slots``: the tiles that it touches, counted from the first that
    their ring gave; ``fresh``: it is the first to use the slot of its result."""

    operation: int
    offsets: tuple[Affine, ...]
    slots: tuple[Affine, ...]
    waits: tuple[Wait, ...] = ()
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Repeat:
    """``trips`` trips from ``first`` on of the loop whose symbol is ``var``."""

    var: int
    first: int
    trips: int
    body: tuple[Item, ...]


Item = Instruction | Repeat


def coefficient(e: Affine, var: int) -> int:
    """By what a symbol is multiplied."""
    return next((c for v, c in e.terms if v == var), 0)


def put(e: Affine, var: int, value: int) -> Affine:
    """With a number in place of a symbol."""
    by = coefficient(e, var)
    return Affine(e.const + by * value, tuple(t for t in e.terms if t[0] != var)) if by else e
