"""The costs of hardware that a machine may be spared, by name: what ``Machine.without`` takes away and
``--without`` on the command line, and what preset ``ideal`` is spared."""

from __future__ import annotations

from kpu_ir.machine.parts import CLASSES

COSTS: dict[str, dict[str, int]] = {
    "bursts": {"external.burst_bytes": 1},
    "interleaving": {"external.interleave_bytes": 0},
    "rows": {"external.row_bytes": 0},
    "turnaround": {"external.read_to_write": 0, "external.write_to_read": 0},
    "refresh": {"external.refresh_interval": 0, "external.refresh_cycles": 0},
    "descriptors": {"dma.setup": 0, "dma.run_cycles": 0},
    "requests": {"dma.outstanding": 0},
    "moves": {"mover.setup": 0, "mover.run_cycles": 0, "mover.word_bytes": 1},
    "transposition": {"mover.transpose_elements": 0},
    "access": {"l1.latency": 0, "l2.latency": 0, "l3.latency": 0},
    "banks": {"l2.bank_bytes_per_cycle": 0, "l3.tile_bytes_per_cycle": 0},
    "ports": {"vector.bytes_per_cycle": 0},
    "pipeline": {f"vector.latency.{name}": 0 for name in CLASSES},
    "casts": {"vector.initiation_interval.cast": 0},
    "widening": {"streamer.convert_elements": 0},
    "begin": {"vector.issue": 0},
    "issue": {"control.issue": 0},
    "sync": {"control.sync": 0},
    "instructions": {"control.instruction_bytes": 0},
}
"""The keys of each cost, from external memory inwards, and the value at which it costs nothing."""
