"""``kernel-fuse-by-cost``: what could become one program does where the simulator says that it pays."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, UnitAttr
from xdsl.passes import ModulePass

from kpu_ir.machine.attr import machine_of
from kpu_ir.passes.kernel_fuse_elementwise import APART
from kpu_ir.passes.kernel_fusion_candidates import KernelFusionCandidatesPass
from kpu_ir.tuning.choose import separate, weigh
from kpu_ir.tuning.fusion import decide, unfused
from kpu_ir.tuning.objective import Objective, SearchEffort
from kpu_ir.tuning.session import session
from kpu_ir.tuning.whole import Whole, replace_by


@dataclass(frozen=True)
class KernelFuseByCostPass(ModulePass):
    """Group what could stay on chip, simulate both ways, and keep the better one.

    Before:
    ```mlir
    %h = kernel.matmul %x, %w : (tensor<64x32xf32>, tensor<32x128xf32>) -> tensor<64x128xf32>
    %y = kernel.matmul %h, %v : (tensor<64x128xf32>, tensor<128x32xf32>) -> tensor<64x32xf32>
    ```
    After, where one program moves less in no more cycles:
    ```mlir
    %y = kernel.fused : tensor<64x32xf32> {
      %h = kernel.matmul %x, %w : ...
      %r = kernel.matmul %h, %v : ...
      kernel.yield %r : tensor<64x32xf32>
    }
    ```
    """

    name = "kernel-fuse-by-cost"
    report: bool = False
    """Print a remark on stderr for every group, and for every pair that is not one."""
    search: SearchEffort = "quick"
    """How long schedules are looked for, for either way."""
    objective: Objective = "cycles"
    """What must be better."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Fuse the module."""
        before = op.clone()
        KernelFusionCandidatesPass().apply(ctx, op)
        whole = Whole(machine_of(op), self.search, self.objective)
        with session() as here:
            weigh(whole.outlined(before), whole.machine)
            choices = decide(op, whole.cost, self.objective)
            mode = whole.faster_apart(before, op)
            if mode is not None:
                replace_by(op, before)
                choices = [replace(choice, fuse=False) for choice in choices]
            if mode == "none":
                op.attributes[APART] = UnitAttr()
            here.choices += choices
        if self.report:
            # The rest of the way to programs, of a copy: what stays apart is named as it ends up.
            ended = op.clone()
            separate(ctx, ended)
            for line in (*choices, *unfused(ended, bool(choices))):
                print(f"remark: {line}", file=sys.stderr)
