"""What an operation costs: the engines that it holds, its latency, what it counts; and what the cost of a
product depends on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from xdsl.ir import Attribute

from kpu_ir.support.types import multiplied_as


class Hold(NamedTuple):
    """An operation has an engine from ``begin`` to ``end`` cycles after its start."""

    engine: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What an operation needs, in cycles from its start.

    ``holds``: engines, the first is the one that it runs on; its sources are free when that one is.
    ``latency``: until its result is there. ``counts``: bytes by level and direction,
    ``external.burst`` (bytes that external memory moved), ``activations`` (of its rows),
    ``instructions`` (bytes of a program), ``macs.<type>`` of the array, ``vector_macs.<type>`` of
    the vector engine, ``lane_ops`` and ``lane_ops.<class>``; energy is charged to these.
    """

    holds: tuple[Hold, ...]
    latency: int
    counts: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def occupancy(self) -> int:
        """Until its own engine is free."""
        return self.holds[0].end

    @property
    def release(self) -> int:
        """Until the operands of its epilogue are free: the array has drained."""
        return next((h.end for h in self.holds if h.engine == "drain"), self.occupancy)


class Body(NamedTuple):
    """What a body costs an element: cycles between groups of lanes, cycles through the pipeline, and
    operations by class (those that ride on the data path are none)."""

    interval: int
    depth: int
    operations: tuple[tuple[str, int], ...]

    @property
    def counter(self) -> Counter[str]:
        """The operations, to be added to."""
        return Counter(dict(self.operations))


class Product(NamedTuple):
    """All that a product's cost depends on. ``sums_apart``: partial sums have a tile of their own;
    ``each``: the epilogue comes before it is added to a sum."""

    dataflow: str
    batch: int
    m: int
    n: int
    k: int
    accumulate: bool
    extra_bytes: int
    elements: tuple[Attribute, Attribute]
    out_element: Attribute
    sum_element: Attribute
    sums_apart: bool
    epilogue: Body | None
    each: bool = False

    @property
    def multiplier(self) -> str:
        """The type that operands are multiplied as."""
        return multiplied_as(*self.elements)


def begins_later(spent: Cost, cycles: int) -> Cost:
    """The cost of an operation that its own engine spends so many cycles on before."""
    first, *others = spent.holds
    holds = [Hold(h.engine, h.begin + cycles, h.end + cycles) for h in others]
    own = Hold(first.engine, first.begin, first.end + cycles)
    return Cost((own, *holds), spent.latency + cycles, spent.counts)


def ceil_div(a: int, b: int | Fraction) -> int:
    """The least integer that is no less than a / b."""
    return -(-a * b.denominator // b.numerator)
