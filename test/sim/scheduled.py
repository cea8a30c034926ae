"""Kernels lowered by schedules that chance draws, for the tests of what must not depend on them."""

from typing import Any

from xdsl.dialects.builtin import ModuleOp

from kpu_ir import KpuError, Machine
from kpu_ir.lowering.kernel_to_tile import recognise
from kpu_ir.lowering.schedule import ATTRIBUTE
from kpu_ir.pipeline import lower
from kpu_ir.program.options import Options
from kpu_ir.sim.program.program import Program, load_program

from ..lowering.test_kernel_plan import draw_schedule
from ..test_levels import check_time


def lowered(
    draw: Any, module: ModuleOp, machine: Machine, scheduled: bool
) -> tuple[dict[str, ModuleOp], Program] | None:
    """Each level of a module of kernels, and its program, which takes the same time stepped and not;
    ``scheduled``: by drawn schedules. None where one does not fit, or makes no sense."""
    for func in module.ops:
        if scheduled and func.sym_name.data != "main":
            func.attributes[ATTRIBUTE] = draw_schedule(draw, recognise(func), machine).to_attr()
    try:
        levels = lower(module, machine, Options(search="none"))
        program = load_program(levels["dma"], machine)
        check_time(program, whole=False)
    except KpuError as e:
        if scheduled or "need" in e.message:
            return None
        raise
    return levels, program
