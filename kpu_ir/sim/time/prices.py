"""What operations cost on one machine: those that are alike in all that their cost depends on are priced
once, in whichever programs they stand.

The candidates of a search are made of the same few transfers and products. What one costs is a function
of a tuple of figures (``transfers.Carried``, ``costs.Product``) and of the machine: that tuple is
what a price is remembered by.
"""

from __future__ import annotations

from xdsl.ir import Block

from kpu_ir.machine import Machine
from kpu_ir.sim.program.plan import Fetch, Matmul, Move, Put, Step, Write, place
from kpu_ir.sim.time.costs import Body, Cost, Product, begins_later
from kpu_ir.sim.time.durations import product_cost, product_of, vector_operation
from kpu_ir.sim.time.transfers import Carried, carried, transfer_cost
from kpu_ir.sim.time.vector import body_cost
from kpu_ir.support.errors import KpuError

PRICES = 1 << 16
"""So many are kept."""


class Prices:
    """What operations cost on ``machine``. Bodies of operations must not change meanwhile."""

    def __init__(self, machine: Machine) -> None:
        """Nothing has been asked yet."""
        self.machine = machine
        self.known: dict[Carried | Product, Cost] = {}
        self.bodies: dict[Block, Body] = {}

    def of(self, step: Step) -> Cost | None:
        """What one operation costs; None for what costs nothing.

        Raises ``KpuError``, with the operation's place, for a type or a channel that the machine does
        not have.
        """
        try:
            match step:
                case Fetch() | Move() if not step.moves:
                    return None
                case Fetch() | Move() | Write() | Put():
                    return self._of(carried(step, self.machine))
                case Matmul():
                    return self._of(product_of(step, self._body(step.epilogue)))
                case _:
                    spent = vector_operation(step, self.machine)
                    return spent and self._issued(spent)
        except KpuError as e:
            raise KpuError(e.message, e.where or place(step.op), e.hint) from None

    def _body(self, block: Block | None) -> Body | None:
        if block is None:
            return None
        known = self.bodies.get(block)
        if known is None:
            known = self.bodies[block] = body_cost(block, self.machine)
        return known

    def _of(self, asked: Carried | Product) -> Cost:
        known = self.known.get(asked)
        if known is None:
            if isinstance(asked, Carried):
                spent = transfer_cost(asked, self.machine)
            else:
                spent = product_cost(asked, self.machine)
            if len(self.known) >= PRICES:
                self.known.clear()
            known = self.known[asked] = self._issued(spent)
        return known

    def _issued(self, spent: Cost) -> Cost:
        """With the cycles that the engine spends on starting it."""
        later = self.machine.control.issue
        return begins_later(spent, later) if later else spent


def cost(step: Step, machine: Machine) -> Cost | None:
    """What one operation costs on ``machine``, likewise."""
    return Prices(machine).of(step)
