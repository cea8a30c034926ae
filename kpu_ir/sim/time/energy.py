"""Energy of counted events, by the machine's table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kpu_ir.machine import Machine


@dataclass(frozen=True, slots=True)
class Energy:
    """Picojoules by part: the memory levels, ``mac`` and ``vector``."""

    parts: dict[str, float]

    @property
    def total(self) -> float:
        """All of it."""
        return sum(self.parts.values())


def energy(counts: Mapping[str, int], machine: Machine) -> Energy:
    """pJ per byte read or written at each level (whole bursts of external memory, and instructions) and per row
    activated, per multiply-accumulate by type, per lane operation. A multiply-accumulate of the
    vector engine needs what one of the array does; of a type that the array does not multiply,
    what a lane operation does."""
    table = machine.energy
    moved = counts.get("external.burst", 0) + counts.get("instructions", 0)
    parts = {"external": table.external * moved + table.activation * counts.get("activations", 0)}
    for level in ("l3", "l2", "l1"):
        bytes = counts.get(f"{level}.read", 0) + counts.get(f"{level}.write", 0)
        parts[level] = getattr(table, level) * bytes
    prefixes = ("macs.", "vector_macs.")
    macs = [(k.split(".")[1], n) for k, n in counts.items() if k.startswith(prefixes)]
    parts["mac"] = sum(table.mac.get(kind, table.vector) * n for kind, n in macs)
    parts["vector"] = table.vector * counts.get("lane_ops", 0)
    return Energy(parts)
