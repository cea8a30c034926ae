"""The costs of hardware that a machine may be spared, by name: what ``Machine.without`` takes away and
``--without`` on the command line. A cost is some keys of the machine; at nothing, they are as
``Machine()`` has them."""

from __future__ import annotations

COSTS = {
    "bursts": ("external.burst_bytes",),
    "interleaving": ("external.interleave_bytes",),
    "rows": ("external.row_bytes",),
    "turnaround": ("external.read_to_write", "external.write_to_read"),
    "refresh": ("external.refresh_interval", "external.refresh_cycles"),
    "descriptors": ("dma.setup", "dma.run_cycles"),
    "requests": ("dma.outstanding",),
    "moves": ("mover.setup", "mover.run_cycles", "mover.word_bytes"),
    "transposition": ("mover.transpose_elements",),
    "access": ("l1.latency", "l2.latency", "l3.latency"),
    "banks": ("l2.bank_bytes_per_cycle", "l3.tile_bytes_per_cycle"),
    "ports": ("vector.bytes_per_cycle",),
    "pipeline": ("vector.latency",),
    "casts": ("vector.initiation_interval.cast",),
    "begin": ("vector.issue",),
    "issue": ("control.issue",),
    "sync": ("control.sync",),
}
"""The keys of each cost, from external memory inwards."""
