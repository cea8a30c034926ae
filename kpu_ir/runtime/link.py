"""Copies over the host's link: an engine of its own for each direction.

A copy takes ``ceil(bytes / host.bytes_per_cycle)`` cycles of its engine; its last byte is there
``host.latency`` later. Copies of one direction follow each other without a gap, as descriptors do.
"""

from __future__ import annotations

from kpu_ir.machine import Machine
from kpu_ir.runtime.engines import TO_DEVICE, TO_HOST, Engines, Interval, Spent


def copy_cycles(size: int, machine: Machine) -> int:
    """Cycles that a copy holds its direction of the link."""
    return -(-size // machine.host.bytes_per_cycle)


class LinkCopy:
    """``size`` bytes from the host's memory to external memory, or back."""

    def __init__(self, size: int, to_device: bool, machine: Machine, what: str) -> None:
        """Of a machine's link."""
        self.size, self.machine, self.what = size, machine, what
        self.engine = TO_DEVICE if to_device else TO_HOST

    def time(self, engines: Engines, gate: int) -> Spent:
        """Take the engine, no earlier than ``gate``."""
        cycles = copy_cycles(self.size, self.machine)
        start = max(gate, engines.free[self.engine])
        engines.free[self.engine] = start + cycles
        burst = self.machine.external.burst_bytes
        counts = {
            "host.read" if self.engine == TO_DEVICE else "host.write": self.size,
            "external.write" if self.engine == TO_DEVICE else "external.read": self.size,
            "external.burst": -(-self.size // burst) * burst,
        }
        interval = Interval(self.engine, start, start + cycles, self.what)
        end = start + cycles + self.machine.host.latency
        return Spent(start, end, {self.engine: cycles}, counts, (interval,))
