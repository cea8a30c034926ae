"""What a whole module takes, compiled one way or another: parts of it are decided one by one, and then
hold together, or do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import CallOp, FuncOp
from xdsl.ir import SSAValue

from kpu_ir.lowering.kernel_to_tile import MainLowering, TilingStrategy, recognise
from kpu_ir.lowering.schedule import ATTRIBUTE as SCHEDULE
from kpu_ir.lowering.schedule import pinned_of
from kpu_ir.lowering.tile_to_dma import place_buffers
from kpu_ir.machine import Machine
from kpu_ir.machine.attr import ATTRIBUTE, machine_to_attr
from kpu_ir.passes.kernel_outline import KernelOutlinePass
from kpu_ir.registry import context
from kpu_ir.sim.program.plan import Plan
from kpu_ir.sim.program.planner import RingCounter
from kpu_ir.sim.program.program import planned_program
from kpu_ir.sim.time.model import time_program
from kpu_ir.support.errors import KpuError
from kpu_ir.text.places import at_call
from kpu_ir.tuning.choice import Choice, Cost, better
from kpu_ir.tuning.choose import SearchEffort, chooser, kernels_of, look_ahead, separate
from kpu_ir.tuning.kernels import KernelModel
from kpu_ir.tuning.objective import Objective
from kpu_ir.tuning.pinning import pin
from kpu_ir.tuning.score import digest_of, space_of
from kpu_ir.tuning.session import session

Mode = Literal["none", "epilogue"]


@dataclass(frozen=True)
class Whole:
    """How a module would be compiled: the machine, how schedules are chosen, and by what."""

    machine: Machine
    effort: SearchEffort
    objective: Objective

    def timed(self, outlined: ModuleOp) -> Cost:
        """What an outlined module takes as it stands: its kernels planned without IR. Equal modules
        are timed once."""
        with session(disk=False) as here:
            key = self.effort, self.objective, *_signature(outlined, self.machine)
            known = here.wholes.get(key)
            if known is None:
                try:
                    known = self._timed(outlined)
                except KpuError as e:
                    known = e.anew()
                here.wholes[key] = known
        if isinstance(known, KpuError):
            raise known.anew()
        return known

    def _timed(self, outlined: ModuleOp) -> Cost:
        funcs = kernels_of(outlined)
        look_ahead(funcs, self.machine, self.effort, self.objective)
        choose = chooser(self.machine, self.effort, self.objective)
        strategies: dict[str, TilingStrategy] = {}
        plans: dict[str, Plan] = {}
        rings = RingCounter()
        for func in funcs:
            name = func.sym_name.data
            with at_call(func):
                strategy = strategies[name] = recognise(func)
                model = KernelModel.of(func, strategy)
                plans[name] = model.plan(choose(func, strategy), self.machine, rings)
        pinned = {func.sym_name.data: pinned_of(func) for func in funcs}
        main = MainLowering(strategies, pinned).lower(main_of(outlined))
        place_buffers(main, self.machine)
        with session(disk=False) as here:
            prices = here.prices(self.machine)
        return Cost.of(time_program(planned_program(main, plans, self.machine), prices=prices))

    def outlined(self, module: ModuleOp, mode: Mode = "epilogue") -> ModuleOp:
        """A copy of a module at the ``kernel`` level, with a function a kernel."""
        module, ctx = module.clone(), context()
        module.attributes[ATTRIBUTE] = machine_to_attr(self.machine)
        separate(ctx, module, mode)
        KernelOutlinePass().apply(ctx, module)
        return module

    def pinned(self, module: ModuleOp) -> tuple[list[Choice], Cost | None]:
        """Pin tensors of an outlined module where each of them and all together pay: what was
        weighed, and what the module takes then; None where that is as before."""
        trial = module.clone()
        choose = chooser(self.machine, self.effort, self.objective)
        choices = pin(trial, self.machine, choose, self.objective)
        if not any(choice.fuse for choice in choices):
            return choices, None
        together = self.timed(trial)
        try:
            apart = self.timed(module)
        except KpuError:  # without pins it does not fit
            apart = None
        if apart is not None and not better(together, apart, self.objective):
            return [replace(choice, fuse=False) for choice in choices], None
        replace_by(module, trial)
        return choices, together

    def cost(self, module: ModuleOp) -> Cost:
        """What a module at the ``kernel`` level takes, with tensors pinned where that pays."""
        outlined = self.outlined(module)
        return self.pinned(outlined)[1] or self.timed(outlined)

    def faster_apart(self, module: ModuleOp, fused: ModuleOp) -> Mode | None:
        """How a module without groups and pins takes less than it does ``fused``, if it does: with
        epilogues, or without."""
        try:
            most = self.cost(fused)
        except KpuError:  # lowering says better where
            return None
        found: Mode | None = None
        modes: tuple[Mode, ...] = ("epilogue", "none")
        for mode in modes:
            outlined = self.outlined(module, mode)
            if self.objective == "cycles" and self.bound(outlined) >= most.cycles:
                continue
            try:
                cost = self.timed(outlined)
            except KpuError:
                continue
            if better(cost, most, self.objective):
                found, most = mode, cost
        return found

    def bound(self, outlined: ModuleOp) -> int:
        """Cycles that an outlined module hardly goes below."""
        bounds = {func.sym_name.data: bound(func, self.machine) for func in kernels_of(outlined)}
        calls = (op for op in outlined.walk() if isinstance(op, CallOp))
        return sum(bounds[call.callee.root_reference.data] for call in calls)


def main_of(module: ModuleOp) -> FuncOp:
    """The function ``@main``."""
    return next(op for op in module.ops if isinstance(op, FuncOp) and op.sym_name.data == "main")


def _signature(outlined: ModuleOp, machine: Machine) -> Iterator[object]:
    """What the time of an outlined module depends on besides the machine: its kernels, and which
    values its calls pass on."""
    kernels = {
        func.sym_name.data: (digest_of(func, machine), str(func.attributes.get(SCHEDULE)))
        for func in kernels_of(outlined)
    }
    block = main_of(outlined).body.block
    numbers: dict[SSAValue, int] = {}
    for value in block.args:
        numbers[value] = len(numbers)
        yield value.type
    for op in block.ops:
        yield kernels[op.callee.root_reference.data] if isinstance(op, CallOp) else op.name
        yield tuple(numbers[value] for value in op.operands)
        for value in op.results:
            numbers[value] = len(numbers)
            yield value.type


def bound(func: FuncOp, machine: Machine) -> int:
    """Cycles below which no schedule of a kernel's space goes."""
    with session(disk=False) as here:
        digest = digest_of(func, machine)
        if digest not in here.bounds:
            space = space_of(func, recognise(func), machine)
            here.bounds[digest] = int(space.cycles.min()) if len(space) else 0
        return here.bounds[digest]


def replace_by(module: ModuleOp, other: ModuleOp) -> None:
    """Put what is in another module into this one."""
    for op in list(module.ops):
        op.detach()
        op.erase(safe_erase=False)
    for op in list(other.ops):
        op.detach()
        module.body.block.add_op(op)
