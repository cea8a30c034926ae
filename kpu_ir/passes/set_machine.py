"""``set-machine``: the machine is written into the module."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from kpu_ir.machine import Machine
from kpu_ir.machine.attr import ATTRIBUTE, machine_of, machine_to_attr


@dataclass(frozen=True)
class SetMachinePass(ModulePass):
    """Write the machine into the module, so that the IR alone reproduces its cycles.

    Before:
    ```mlir
    builtin.module {...}
    ```
    After:
    ```mlir
    builtin.module attributes {kpu.machine = {clock_hz = 2.000000e+09 : f64, ...}} {...}
    ```
    """

    name = "set-machine"
    machine: str | None = None
    """A preset's name or a TOML file; without it, the module keeps its own or gets the default one."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Write it."""
        machine = Machine.load(self.machine) if self.machine else machine_of(op)
        op.attributes[ATTRIBUTE] = machine_to_attr(machine)
