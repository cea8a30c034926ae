"""The area of a machine by part, and what leaks from it."""

from __future__ import annotations

from dataclasses import dataclass

from kpu_ir.machine.area_table import LOGIC, SRAM, scale
from kpu_ir.machine.machine import Machine
from kpu_ir.machine.parts import GROUPS


@dataclass(frozen=True, slots=True)
class Area:
    """Square millimetres by part: ``array``, ``vector``, ``l3``, ``l2``, ``l1``, ``dma``, ``phy``,
    ``mover``, ``streamer``, ``control``."""

    parts: dict[str, float]

    @property
    def total(self) -> float:
        """All of it, mm2."""
        return sum(self.parts.values())


def area(machine: Machine) -> Area:
    """What each part takes. A PE that multiplies several types is as large as its largest
    multiplier: the others share its gates."""
    table, fabric, vector = machine.area, machine.fabric, machine.vector
    logic, sram = (scale(rows, table.process_nm) for rows in (LOGIC, SRAM))
    pe = max((n * table.mac_of(kind) for kind, n in fabric.macs.items()), default=0.0)
    pe += table.accumulator * fabric.chained
    rates = {g: max(1, min(vector.initiation_interval[c] for c in GROUPS[g])) for g in GROUPS}
    lane = table.lane / rates["simple"]
    lane += table.special * (1 / rates["divide"] + 1 / rates["special"])
    levels = {
        "l3": (machine.l3.tiles, machine.l3.bytes, table.l3),
        "l2": (machine.l2.banks, machine.l2.bytes, table.l2),
        "l1": (machine.l1.buffers, machine.l1.bytes, table.l1),
    }
    bandwidth = machine.bandwidth
    parts = {
        "array": logic * fabric.rows * fabric.columns * pe,
        "vector": logic * vector.lanes * lane,
        **{
            name: sram * (banks * table.bank + size / 1024 * kib)
            for name, (banks, size, kib) in levels.items()
        },
        "dma": logic * machine.dma.channels * table.dma,
        "mover": logic * bandwidth["mover"] * table.mover,
        "streamer": logic * bandwidth["streamer"] * table.streamer,
    }
    parts["control"] = table.control * sum(parts.values())
    parts["phy"] = table.phy * bandwidth["dma"] * machine.clock_hz / 1e9
    return Area(parts)


def leakage_by_part(machine: Machine) -> dict[str, float]:
    """What each part leaks all the time, W: by its area."""
    return {name: machine.area.leakage * size for name, size in area(machine).parts.items()}


def leakage_watts(machine: Machine) -> float:
    """What leaks all the time, W."""
    return sum(leakage_by_part(machine).values())
