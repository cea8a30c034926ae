"""``kernel-schedule``: each kernel's function gets the schedule that it is lowered with."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.passes import ModulePass

from kpu_ir.lowering.kernel_to_tile import TilingStrategy, recognise
from kpu_ir.lowering.schedule import ATTRIBUTE
from kpu_ir.machine.attr import machine_of
from kpu_ir.text.places import at_call
from kpu_ir.tuning.choose import chooser, kernels_of, look_ahead, weigh
from kpu_ir.tuning.objective import Objective, SearchEffort
from kpu_ir.tuning.session import session


@dataclass(frozen=True)
class KernelSchedulePass(ModulePass):
    """Choose a schedule for every kernel by simulating candidates, and write it down.

    A kernel that has a ``kpu.schedule`` keeps it.

    Before:
    ```mlir
    func.func private @matmul_0(%a: tensor<64x64xf32>, %b: tensor<64x64xf32>) -> tensor<64x64xf32> {...}
    ```
    After:
    ```mlir
    func.func private @matmul_0(%a: tensor<64x64xf32>, %b: tensor<64x64xf32>) -> tensor<64x64xf32>
        attributes {kpu.schedule = {tile = [32 : i64, 32 : i64, 16 : i64], dataflow = "os", ...}} {...}
    ```
    """

    name = "kernel-schedule"
    search: SearchEffort = "quick"
    """How long schedules are looked for; ``none`` takes the default ones."""
    objective: Objective = "cycles"
    """What they are chosen by."""
    products: bool = True
    """False leaves products alone, where ``kernel-to-tile`` is told one schedule for all."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Choose for the module."""
        machine = machine_of(op)
        wanted: list[tuple[FuncOp, TilingStrategy]] = []
        for func in kernels_of(op):
            with at_call(func):
                wanted.append((func, recognise(func)))
        if not self.products:
            wanted = [one for one in wanted if one[1].kind != "contraction"]
        with session():
            weigh(op, machine)
            look_ahead([func for func, _ in wanted], machine, self.search, self.objective)
            choose = chooser(machine, self.search, self.objective)
            for func, strategy in wanted:
                with at_call(func):
                    func.attributes[ATTRIBUTE] = choose(func, strategy).to_attr()
