"""A kernel as the search asks about it: from a schedule to a program, without IR."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.func import FuncOp

from kpu_ir.lowering.kernel_to_tile import TilingStrategy, memref
from kpu_ir.lowering.schedule import Schedule, l3_bytes, pinned_of
from kpu_ir.lowering.staging import Staging
from kpu_ir.machine import Machine
from kpu_ir.nest.values import Tensor
from kpu_ir.sim.program.plan import Plan
from kpu_ir.sim.program.planner import plan_of
from kpu_ir.sim.program.program import Program, program_of
from kpu_ir.text.places import known


@dataclass(frozen=True)
class KernelModel:
    """What does not depend on the schedule: the tiling strategy, the tensors that it reads and
    writes."""

    func: FuncOp
    strategy: TilingStrategy
    tensors: tuple[Tensor, ...]

    @staticmethod
    def of(func: FuncOp, strategy: TilingStrategy) -> KernelModel:
        """The model of a kernel's function, with what stands in L3 beside it."""
        pinned, args = pinned_of(func), func.body.block.args
        names = [a.name_hint for a in args] + [None] * len(strategy.results)
        tensors = tuple(
            Tensor(i, memref(shape, element, i in pinned), names[i])
            for i, (shape, element) in enumerate((*strategy.arguments, *strategy.results))
        )
        return KernelModel(func, strategy, tensors)

    def plan(self, schedule: Schedule, machine: Machine) -> Plan:
        """What lowering to ``dma`` and planning that give. Raises the same ``KpuError``."""
        schedule.check()
        where = known(self.func.location, self.func.name)
        nest = Staging(self.func.sym_name.data, schedule, where)
        nest.out.tensors.extend(self.tensors)
        self.strategy.emit(nest, self.tensors, schedule)
        return plan_of(nest.finish(l3_bytes(self.func, machine), machine.l2.bytes))

    def program(self, schedule: Schedule, machine: Machine) -> Program:
        """The kernel alone as a program."""
        return program_of(self.plan(schedule, machine), [t.name for t in self.tensors], machine)
