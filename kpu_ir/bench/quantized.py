"""Products of bytes, requantized, against the peak and against what must be waited for besides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kpu_ir.bench.measure import Setting
from kpu_ir.bench.table import Column, Table, share, whole
from kpu_ir.bench.workloads import Shape, in_words, quantized_matmul, room_for, schedules_of
from kpu_ir.machine import Machine

COLUMNS = (
    Column("shape", "M x N x K"),
    Column("cycles", "cycles", whole),
    Column("peak_fraction", "utilization", share),
    Column("roofline_fraction", "of roofline", share),
    Column("limit", "limit", whole),
    Column("limit_fraction", "of limit", share),
    Column("external_bytes", "external bytes", whole),
    Column("schedule", "schedule"),
)

NOTE = (
    "Roofline: work padded to whole rows, columns and words of 4 at peak, or each byte once at the external "
    "rate less refreshes. Limit: the roofline, one latency of external memory, the fill (operands of one fold over "
    "external memory and movers) and the drain (2 rows + columns - 2, and the fold's results the same way back). "
    "Set-up, short runs and synchronisation are not in it."
)


def padded_macs(shape: Shape, machine: Machine, packing: int) -> int:
    """The array's work with idle rows, columns and lanes of a word of ``packing`` counted, in the dataflow
    that idles least (docs/array.md)."""
    rows, columns = machine.fabric.rows, machine.fabric.columns

    def up(extent: int, unit: int) -> int:
        return -(-extent // unit) * unit

    return min(
        up(shape.m, rows) * up(shape.n, columns) * up(shape.k, packing),
        up(shape.k, rows * packing) * up(shape.n, columns) * shape.m,
        up(shape.k, rows * packing) * up(shape.m, columns) * shape.n,
    )


def roofline(shape: Shape, machine: Machine) -> float:
    """Cycles of the array at its peak for i8, or of external memory for each byte once, refreshes
    taken off its rate; whichever are more."""
    packing = machine.fabric.macs["i8"]
    compute = padded_macs(shape, machine, packing) / machine.peak_macs("i8")
    return max(compute, shape.words / _external(machine))


def limit(shape: Shape, machine: Machine) -> float:
    """Cycles that are left to the best of schedules: ``roofline``, and once each the latency of external
    memory, the fill and the drain.

    Fill: a fold works on R rows, C columns and a stationary block's R g values of k (all of k where
    there are fewer); its operands come over external memory and movers before it begins. Drain: its last
    sums pass 2 R + C - 2 registers, and its results take the same way back.
    """
    rows, columns = machine.fabric.rows, machine.fabric.columns
    depth = min(shape.k, rows * machine.fabric.macs["i8"])
    high, wide = min(shape.m, rows), min(shape.n, columns)
    a_byte = 1 / _external(machine) + 1 / machine.bandwidth["mover"]
    fill = (high + wide) * depth * a_byte
    drain = 2 * rows + columns - 2 + high * wide * a_byte
    return roofline(shape, machine) + machine.external.latency + fill + drain


def _external(machine: Machine) -> float:
    """Bytes a cycle, what refreshes take off."""
    memory = machine.external
    often = memory.refresh_cycles / memory.refresh_interval if memory.refresh_interval else 0.0
    return machine.bandwidth["dma"] * (1 - often)


def quantized_row(shape: Shape, setting: Setting) -> dict[str, Any]:
    """One product with the schedule that is chosen for it."""
    setting.say(f"i8 matmul {shape}")
    machine, note = room_for(setting.machine, shape.words)
    compiled = setting.compile(quantized_matmul(shape), machine)
    (schedule,) = schedules_of(compiled).values()
    cycles = compiled.cycles
    return {
        "shape": str(shape),
        "cycles": cycles,
        "peak_fraction": shape.macs / machine.peak_macs("i8") / cycles,
        "roofline_fraction": roofline(shape, machine) / cycles,
        "limit": round(limit(shape, machine)),
        "limit_fraction": limit(shape, machine) / cycles,
        "external_bytes": compiled.timing.external_bytes,
        "compulsory_bytes": shape.words,
        "schedule": in_words(schedule),
        "note": note,
    }


def quantized_table(shapes: Sequence[Shape], setting: Setting) -> Table:
    """Products, row by row."""
    rows = [quantized_row(shape, setting) for shape in shapes]
    notes = [f"{row['shape']}: {row['note']}." for row in rows if row["note"]]
    title = f"i8 products, requantized, on {setting.machine.name}, schedules by {setting.options.objective}"
    return Table(title, COLUMNS, rows, (NOTE, *notes))
