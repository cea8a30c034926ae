"""What a guess says of short runs is near what the simulator charges for them."""

import numpy as np
import pytest

from kpu_ir.lowering.run_costs import stretch
from kpu_ir.machine import Machine
from kpu_ir.sim.time.external import load
from kpu_ir.sim.time.runs import Runs

LENGTHS = (8, 32, 64, 128, 192, 256, 512, 768, 1024, 1536, 2048, 4096, 8192)
APART = 1 << 16
"""Bytes from one run to the next."""


@pytest.mark.parametrize("name", ["default", "minimal", "ideal", "large"])
def test_the_simulator_charges_about_as_much(name: str) -> None:
    machine = Machine.preset(name)
    guesses = stretch(machine, np.array(LENGTHS)) * 256 * LENGTHS / machine.bandwidth["dma"]
    for length, guess in zip(LENGTHS, guesses):
        runs = Runs(8 * length, ((256, 8 * APART),), 0, 8 * APART)
        of = load(runs, machine.external, machine.dma.channels, machine.dma.bytes_per_cycle)
        charged = float(max(of.cycles, machine.dma.run_cycles * of.runs))
        # Runs that stand as far apart as these share rows in eight channels.
        assert 0.97 * charged <= guess <= (1.25 if name == "large" else 1.01) * charged
