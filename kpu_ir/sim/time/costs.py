"""What an operation costs: the engines that it holds, its latency, what it counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple


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


def ceil_div(a: int, b: int | Fraction) -> int:
    """The least integer that is no less than a / b."""
    return -(-a * b.denominator // b.numerator)
