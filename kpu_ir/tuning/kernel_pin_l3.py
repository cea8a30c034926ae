"""``kernel-pin-l3``: tensors between kernels stay in L3 where that pays."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from kpu_ir.machine.attr import machine_of
from kpu_ir.tuning.choose import kernels_of, look_ahead, weigh
from kpu_ir.tuning.objective import Objective, SearchEffort
from kpu_ir.tuning.session import session
from kpu_ir.tuning.whole import Whole


@dataclass(frozen=True)
class KernelPinL3Pass(ModulePass):
    """Keep what stands between two kernels in L3, where the simulator says that it pays.

    Before:
    ```mlir
    func.func @main(%x: tensor<16x64xf32>) -> tensor<16x64xf32> {
      %h = func.call @first(%x) : (tensor<16x64xf32>) -> tensor<16x64xf32>
      %y = func.call @second(%h) : (tensor<16x64xf32>) -> tensor<16x64xf32>
      func.return %y : tensor<16x64xf32>
    }
    ```
    After: the result of the first and the argument of the second are in L3, of which their tiles
    take no more than 491520 bytes.
    ```mlir
    func.func private @first_pinned_0(...) attributes {kpu.pinned = array<i64: 1>, kpu.l3_bytes = 491520 : i64}
    func.func private @second_pinned_1(...) attributes {kpu.pinned = array<i64: 0>, kpu.l3_bytes = 491520 : i64}
    ```
    """

    name = "kernel-pin-l3"
    report: bool = False
    """Print a remark on stderr for every tensor that was weighed."""
    search: SearchEffort = "quick"
    """How long schedules are looked for."""
    objective: Objective = "cycles"
    """What must be better."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Decide for the module."""
        machine = machine_of(op)
        with session() as here:
            weigh(op, machine)
            look_ahead(kernels_of(op), machine, self.search, self.objective)
            choices, _ = Whole(machine, self.search, self.objective).pinned(op)
            here.choices += choices
        if self.report:
            for choice in choices:
                print(f"remark: {choice}", file=sys.stderr)
