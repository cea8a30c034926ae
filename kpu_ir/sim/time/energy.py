"""Energy of counted events, by the machine's table, and what memory needs to stand by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kpu_ir.machine import Machine


@dataclass(frozen=True, slots=True)
class Energy:
    """Picojoules by part: the memory levels, ``mac``, ``vector``, and ``refresh`` and ``background`` of
    external memory."""

    parts: dict[str, float]

    @property
    def total(self) -> float:
        """All of it."""
        return sum(self.parts.values())


def energy(counts: Mapping[str, int], machine: Machine, cycles: int) -> Energy:
    """pJ per byte read or written at each level (whole bursts of external memory, and instructions) and
    per row activated, per multiply-accumulate by type, per lane operation by class; and what external
    memory needs in so many ``cycles``, whatever is done. A multiply-accumulate of the vector engine
    needs what one of the array does; of a type that the array does not multiply, what a
    multiplication of a lane does. An operand widened on its way into the array is counted with them.
    """
    table = machine.energy
    moved = counts.get("external.burst", 0) + counts.get("instructions", 0)
    parts = {"external": table.external * moved + table.activation * counts.get("activations", 0)}
    for level in ("l3", "l2", "l1"):
        bytes = counts.get(f"{level}.read", 0) + counts.get(f"{level}.write", 0)
        parts[level] = getattr(table, level) * bytes
    prefixes = ("macs.", "vector_macs.")
    macs = [(k.split(".")[1], n) for k, n in counts.items() if k.startswith(prefixes)]
    parts["mac"] = sum(table.mac.get(kind, table.vector["multiply"]) * n for kind, n in macs)
    parts["mac"] += table.convert * counts.get("converts", 0)
    lanes = ((kind, counts.get(f"lane_ops.{kind}", 0)) for kind in table.vector)
    parts["vector"] = sum(table.vector[kind] * n for kind, n in lanes)
    seconds = machine.seconds(cycles)
    return Energy(parts | {k: w * seconds * 1e12 for k, w in standing_watts(machine).items()})


def standing_watts(machine: Machine) -> dict[str, float]:
    """Watts of external memory that only stands by: its ``refresh`` and its ``background``."""
    memory, table, channels = machine.external, machine.energy, machine.dma.channels
    often = machine.clock_hz / memory.refresh_interval if memory.refresh_interval else 0.0
    return {
        "refresh": channels * table.refresh * 1e-12 * often,
        "background": channels * table.background,
    }
