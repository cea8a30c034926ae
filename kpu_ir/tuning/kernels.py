"""A kernel as the search asks about it: from a schedule to a program, without IR."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from xdsl.dialects.func import FuncOp

from kpu_ir.lowering.kernel_to_tile import TilingStrategy, tensors_of, tiled
from kpu_ir.lowering.schedule import Schedule, l3_bytes
from kpu_ir.lowering.staging import deepen, stage
from kpu_ir.machine import Machine
from kpu_ir.nest.records import Function, Tensor
from kpu_ir.sim.program.plan import Plan
from kpu_ir.sim.program.planner import RingCounter, plan_of
from kpu_ir.sim.program.program import Program, check_rings, program_of
from kpu_ir.sim.time.clock import Timing
from kpu_ir.sim.time.model import TimeModel
from kpu_ir.sim.time.prices import Prices

SHAPES = 16
"""So many are kept."""


@dataclass
class _Shape:
    """What schedules have in common that differ in depths only; ``schedule`` is the latest."""

    machine: Machine
    function: Function
    model: TimeModel
    schedule: Schedule


@dataclass(frozen=True)
class KernelModel:
    """What does not depend on the schedule: the tiling strategy, the tensors that it reads and
    writes."""

    func: FuncOp
    strategy: TilingStrategy
    tensors: tuple[Tensor, ...]
    shapes: dict[Schedule, _Shape] = field(default_factory=dict[Schedule, _Shape], repr=False)
    """What was timed of late, by all of a schedule that its loops depend on."""

    @staticmethod
    def of(func: FuncOp, strategy: TilingStrategy) -> KernelModel:
        """The model of a kernel's function, with what is pinned."""
        return KernelModel(func, strategy, tuple(tensors_of(func, strategy)))

    def plan(
        self, schedule: Schedule, machine: Machine, ring_index: RingCounter | None = None
    ) -> Plan:
        """What lowering to ``dma`` and planning that give. Raises the same ``KpuError``."""
        room = l3_bytes(self.func, machine)
        return plan_of(self._staged(schedule, machine, room), ring_index)

    def _staged(self, schedule: Schedule, machine: Machine, room: int) -> Function:
        schedule.check(f"@{self.func.sym_name.data}")
        nest = tiled(self.func, self.strategy, self.tensors, schedule)
        return stage(nest, schedule, room, machine.l2.bytes)

    def program(self, schedule: Schedule, machine: Machine) -> Program:
        """The kernel alone as a program."""
        return self._alone(self.plan(schedule, machine), machine)

    def _alone(self, plan: Plan, machine: Machine) -> Program:
        return program_of(plan, [t.name for t in self.tensors], machine)

    def timed(
        self, schedule: Schedule, prices: Prices, room: int | None = None
    ) -> tuple[Timing, int]:
        """The time of the kernel alone on the machine of ``prices``, and the bytes of L3 that its tiles
        take: at most ``room``, or what the function has. Schedules that differ in depths only share all
        but the run itself."""
        machine = prices.machine
        room = l3_bytes(self.func, machine) if room is None else room
        same = replace(schedule, depth=1, l3_depth=1, out_depth=1, defer=min(schedule.defer, 1))
        known = self.shapes.get(same)
        if known is None or known.machine is not machine:
            function = self._staged(schedule, machine, room)
            model = TimeModel(self._alone(plan_of(function), machine), prices=prices)
            known = self.shapes[same] = _Shape(machine, function, model, schedule)
            if len(self.shapes) > SHAPES:
                del self.shapes[next(iter(self.shapes))]
        else:
            schedule.check(f"@{self.func.sym_name.data}")
            before, known.schedule = known.schedule, schedule
            deepen(known.function, before, schedule, room, machine.l2.bytes)
            check_rings(known.model.program)
            known.model.deepen()
        taken = max((r.end for r in known.function.rings if r.level == "l3"), default=0)
        return known.model.run(), taken
