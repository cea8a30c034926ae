"""What parts of a machine take on the die: values at 22 nm, and how they scale to another process.

docs/area.md has the source, the node and the error bar of every row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from kpu_ir.support.errors import KpuError

REFERENCE_NM = 22.0
"""The process of the values below."""

LOGIC = {
    130: 26.4, 90: 11.6, 65: 6.08, 45: 4.01, 32: 1.88, 22: 1.0, 20: 0.851, 16: 0.790, 14: 0.729,
    10: 0.413, 7: 0.243, 5: 0.132, 3: 0.083,
}  # fmt: skip
"""Area of logic by process, 1 at 22 nm: Stillmaker and Baas, Integration 58 (2017), from 130 to 7 nm;
below, density as the foundry states it."""

SRAM = {
    130: 26.0, 90: 10.9, 65: 5.71, 45: 3.76, 40: 2.63, 32: 1.61, 28: 1.38, 22: 1.0, 16: 0.804,
    14: 0.696, 10: 0.457, 7: 0.293, 5: 0.228, 3: 0.228,
}  # fmt: skip
"""Area of a memory's cell by process, 1 at 22 nm (0.092 um2)."""


@dataclass(frozen=True, slots=True)
class AreaTable:
    """Square millimetres of one part at 22 nm, scaled to ``process_nm``; leakage."""

    process_nm: float = 16.0
    """The process, nm. Areas follow it; energy and leakage are those of their tables."""
    mac: dict[str, float] = field(
        default_factory=lambda: {
            "f32": 1.8e-3, "f16": 1.0e-3, "bf16": 0.9e-3, "i8": 4.5e-4, "i4": 2.2e-4,
        }
    )  # fmt: skip
    """One multiply-accumulate a cycle of a PE with its registers, mm2, by operand type."""
    accumulator: float = 1.0e-4
    """A PE's second accumulator (``fabric.chained``), mm2."""
    lane: float = 2.5e-3
    """A lane of the vector engine that does one simple operation a cycle, mm2."""
    special: float = 3.0e-3
    """What of a lane divides or computes special functions, one a cycle, mm2 each."""
    bank: float = 2.5e-2
    """What every memory of a level has around its cells, mm2."""
    l3: float = 1.7e-3
    """A KiB of L3, mm2."""
    l2: float = 1.7e-3
    """A KiB of L2, mm2."""
    l1: float = 1.7e-3
    """A KiB of L1, mm2."""
    dma: float = 4.0e-2
    """A DMA engine with its queues, mm2."""
    phy: float = 6.0e-2
    """Of the external memory's PHY, a GB/s, mm2; the same in every process."""
    mover: float = 4.0e-4
    """A byte a cycle of a block mover, mm2."""
    streamer: float = 4.0e-4
    """A byte a cycle of the streamers, mm2."""
    control: float = 0.06
    """Control and clock, as a share of all but the PHY."""
    leakage: float = 0.02
    """Leakage of a square millimetre, W."""

    def check(self) -> None:
        """Raise ``KpuError`` for a process that the scaling does not know."""
        if not min(LOGIC) <= self.process_nm <= max(LOGIC):
            raise KpuError(
                f"'area.process_nm' must be from {min(LOGIC)} to {max(LOGIC)}, got {self.process_nm:g}"
            )

    def mac_of(self, kind: str) -> float:
        """One multiply-accumulate at 22 nm; of a type that has no row, by its width: multipliers
        grow with its square, from ``i8`` or from ``f32``."""
        if kind in self.mac:
            return self.mac[kind]
        digits = "".join(c for c in kind.partition("E")[0] if c.isdigit())
        known, width = ("f32", 32) if "f" in kind else ("i8", 8)
        return self.mac.get(known, 1.8e-3) * (int(digits or width) / width) ** 2


USUAL_AREA = AreaTable()
"""What a machine has that says nothing else."""


def scale(table: Mapping[int, float], nm: float) -> float:
    """A table's value at a process, between its rows on logarithmic axes.

    >>> scale(LOGIC, 22), round(scale(SRAM, 18), 3)
    (1.0, 0.876)
    """
    nodes = sorted(table)
    above = next((n for n in nodes if n >= nm), nodes[-1])
    below = next((n for n in reversed(nodes) if n <= nm), nodes[0])
    if above == below:
        return table[above]
    share = math.log(nm / below) / math.log(above / below)
    return table[below] * (table[above] / table[below]) ** share
