"""A kernel as the search asks about it: from a schedule to a program, without IR."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.func import FuncOp

from kpu_ir.lowering.kernel_to_tile import TilingStrategy, tensors_of, tiled
from kpu_ir.lowering.schedule import Schedule, l3_bytes
from kpu_ir.lowering.staging import stage
from kpu_ir.machine import Machine
from kpu_ir.nest.records import Tensor
from kpu_ir.sim.program.plan import Plan
from kpu_ir.sim.program.planner import RingCounter, plan_of
from kpu_ir.sim.program.program import Program, program_of


@dataclass(frozen=True)
class KernelModel:
    """What does not depend on the schedule: the tiling strategy, the tensors that it reads and
    writes."""

    func: FuncOp
    strategy: TilingStrategy
    tensors: tuple[Tensor, ...]

    @staticmethod
    def of(func: FuncOp, strategy: TilingStrategy) -> KernelModel:
        """The model of a kernel's function, with what is pinned."""
        return KernelModel(func, strategy, tuple(tensors_of(func, strategy)))

    def plan(
        self, schedule: Schedule, machine: Machine, ring_index: RingCounter | None = None
    ) -> Plan:
        """What lowering to ``dma`` and planning that give. Raises the same ``KpuError``."""
        schedule.check(f"@{self.func.sym_name.data}")
        nest = tiled(self.func, self.strategy, self.tensors, schedule)
        return plan_of(
            stage(nest, schedule, l3_bytes(self.func, machine), machine.l2.bytes), ring_index
        )

    def program(self, schedule: Schedule, machine: Machine) -> Program:
        """The kernel alone as a program."""
        return program_of(self.plan(schedule, machine), [t.name for t in self.tensors], machine)
