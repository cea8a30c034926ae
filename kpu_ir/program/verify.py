"""Whether IR below ``kernel`` that somebody wrote or changed still is a program: what running it would
refuse, without running it."""

from __future__ import annotations

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import CallOp, FuncOp

from kpu_ir.lowering.tile_to_dma import TileToDmaPass
from kpu_ir.machine.attr import ATTRIBUTE, machine_of
from kpu_ir.program.stages import stage_of
from kpu_ir.registry import context
from kpu_ir.sim.program.coverage import check_coverage
from kpu_ir.sim.program.program import load_program
from kpu_ir.text.calls import check_calls


def check_module(module: ModuleOp) -> None:
    """Raise ``KpuError``, with its place, for a program at ``tile`` or ``dma`` that does not fit its
    machine, reads what nothing wrote, or leaves out elements or takes them twice.

    A program has a ``@main`` that calls its kernels, and carries its machine; other modules are parts,
    of which nothing is asked.
    """
    if ATTRIBUTE not in module.attributes or not any(map(_is_program, module.ops)):
        return
    stage = stage_of(module)
    if stage == "kernel":
        return
    check_calls(module)
    if stage == "tile":
        module = module.clone()
        TileToDmaPass().apply(context(), module)
    check_coverage(load_program(module, machine_of(module)))


def _is_program(op: object) -> bool:
    return (
        isinstance(op, FuncOp)
        and op.sym_name.data == "main"
        and any(isinstance(inner, CallOp) for inner in op.walk())
    )
