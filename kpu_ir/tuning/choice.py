"""What was decided by simulating two ways, and what each way costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kpu_ir.sim.time.clock import Timing

Kind = Literal["fusion", "pinning"]

WORDS: dict[Kind, tuple[str, str, str, str]] = {
    "fusion": ("{} fused", "{} not fused", "fused", "apart"),
    "pinning": ("the tensor stays in L3", "the tensor stays outside", "in L3", "outside"),
}
"""How a choice is told: done, not done; what either way is called."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a way of doing something takes."""

    cycles: int
    bytes: int
    kernels: int

    @staticmethod
    def of(timing: Timing) -> Cost:
        """The figures that a choice is made by."""
        return Cost(timing.cycles, timing.external_bytes, len(timing.calls))

    def __str__(self) -> str:
        """``18,886,000 cycles, 44.0 MB in 1 kernel``."""
        plural = "" if self.kernels == 1 else "s"
        return (
            f"{self.cycles:,} cycles, {self.bytes / 1e6:,.2f} MB in {self.kernels} kernel{plural}"
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """Whether a group was fused, or a tensor pinned in L3; what that costs, and what it costs
    ``apart``, or outside (None where one cannot be built: ``why``)."""

    group: str
    where: str
    fuse: bool
    fused: Cost | None
    apart: Cost | None
    why: str = ""
    kind: Kind = "fusion"

    def __str__(self) -> str:
        """One line for a person."""
        done, undone, one, other = (words.format(self.group) for words in WORDS[self.kind])
        if self.fused is None:
            return f"{self.where}: {undone}: {self.why}"
        if self.fuse:
            return f"{self.where}: {done}: {self.fused}; {other}: {self.apart or self.why}"
        return f"{self.where}: {undone}: {self.apart}; {one}: {self.fused}"


def better(new: Cost, old: Cost, objective: str) -> bool:
    """Whether ``new`` is better: fewer bytes for that objective, else fewer cycles; equals are decided
    by the other."""
    if objective == "bytes":
        return (new.bytes, new.cycles) < (old.bytes, old.cycles)
    return (new.cycles, new.bytes) < (old.cycles, old.bytes)
