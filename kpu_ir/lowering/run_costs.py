"""About how much longer external memory needs for a block in short runs: for guesses, in columns.

A guess orders candidates, and decides nothing: what a transfer takes is ``sim.time.transfers``'s to
say, by the formulas of docs/timing.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kpu_ir.machine import Machine


def stretch(machine: Machine, length: Any) -> Any:
    """Cycles of a channel a byte, over those of a machine that is spared bursts, rows and runs, for
    runs of ``length`` bytes that begin where bursts do (a number or a column of them).

    >>> float(stretch(Machine.preset("ideal"), 8))
    1.0
    """
    memory, dma = machine.external, machine.dma
    length, rate = np.maximum(1, np.asarray(length)), dma.bytes_per_cycle
    met = np.ones_like(length)
    if memory.interleave_bytes:
        met = np.clip(-(-length // memory.interleave_bytes), 1, dma.channels)
    piece = length / met
    data = np.ceil(piece / memory.burst_bytes) * memory.burst_bytes / rate
    busy = np.maximum(data, dma.run_cycles)
    if memory.row_bytes:
        rows = np.clip(piece / memory.bank_stride_bytes, 1, memory.bank_groups)
        held = np.clip(memory.queue_bytes / piece, 1, 64)
        reached = memory.banks * (1 - (1 - np.minimum(1, rows / memory.banks)) ** held)
        interval = np.maximum(memory.activate_interval, memory.row_cycle / reached)
        busy = np.maximum(busy, rows * interval)
    return busy * rate / piece
