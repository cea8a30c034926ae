"""What each cost of hardware adds to a program's cycles."""

from __future__ import annotations

from dataclasses import replace

from kpu_ir.sim.program.program import Program
from kpu_ir.sim.time.model import Layout, time_program
from kpu_ir.sim.time.prices import Prices

TOGETHER = "together"


def costs_of(program: Program, cycles: int) -> dict[str, int]:
    """The cycles that a program of so many saves on a machine that is spared one cost, by cost, the
    largest first; then what it saves where it is spared them all (``TOGETHER``).

    The program stays as it is: a search on another machine would choose otherwise. Parts need not
    add up to the whole, for what one cost hides another one shows.
    """
    machine, names = program.machine, program.machine.costs
    if not names:
        return {}
    laid_out = Layout(program)
    known = {laid_out.paces(Prices(machine)): 0}

    def saved(*spared: str) -> int:
        cheaper = machine.without(spared)
        prices = Prices(cheaper)
        paces = laid_out.paces(prices)
        if paces not in known:
            other = replace(program, machine=cheaper)
            timing = time_program(other, prices=prices, laid_out=laid_out)
            known[paces] = cycles - timing.cycles
        return known[paces]

    alone = {name: saved(name) for name in names}
    found = dict(sorted(alone.items(), key=lambda item: -item[1]))
    return {**found, TOGETHER: saved(*names)}
