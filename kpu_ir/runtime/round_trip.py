"""One run of a program as a host sees it: inputs over the link, the program, outputs back."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from kpu_ir.program.compiled import Compiled
from kpu_ir.runtime.engines import Engines
from kpu_ir.runtime.link import LinkCopy
from kpu_ir.runtime.loaded import port_bytes
from kpu_ir.runtime.resident import Resident
from kpu_ir.runtime.timeline import Timed


@dataclass(frozen=True)
class RoundTrip:
    """Cycles of the three parts, one after the other in one stream, and bytes each way. The weights
    are on the device before it begins."""

    copy_in: int
    program: int
    copy_out: int
    bytes_in: int
    bytes_out: int

    @property
    def cycles(self) -> int:
        """All of it."""
        return self.copy_in + self.program + self.copy_out

    def __str__(self) -> str:
        share = 100 * (self.copy_in + self.copy_out) / max(1, self.cycles)
        return (
            f"host: {self.cycles:,} cycles with the copies, {share:.1f} % of them: "
            f"{self.bytes_in:,} bytes in {self.copy_in:,}, {self.bytes_out:,} bytes out "
            f"{self.copy_out:,}; weights are there before"
        )


def round_trip(compiled: Compiled) -> RoundTrip:
    """The time of a run with its copies. No values are computed."""
    machine, of = compiled.machine, compiled.program
    engines, end = Engines(machine), 0
    ends = [0]
    copies_in = [LinkCopy(port_bytes(p), True, machine, p.name) for p in of.inputs]
    copies_out = [LinkCopy(port_bytes(p), False, machine, p.name) for p in of.outputs]
    parts: tuple[list[Timed], ...] = ([*copies_in], [Resident(lambda: of, engines)], [*copies_out])
    for part in parts:
        for step in part:
            end = step.time(engines, end).end
        ends.append(end)
    took = [after - before for before, after in pairwise(ends)]
    return RoundTrip(*took, *(sum(c.size for c in copies) for copies in (copies_in, copies_out)))
