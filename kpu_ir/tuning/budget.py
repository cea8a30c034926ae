"""How many schedules of a kernel are tried: by how much of the whole program it may be.

The whole is counted in cycles of the array, which are the same however its kernels are fused.
"""

from __future__ import annotations

from collections import Counter
from math import prod

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import CallOp, FuncOp

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.lowering.kernel_to_tile import memref_of
from kpu_ir.lowering.tile_to_dma import size_of
from kpu_ir.machine import Machine
from kpu_ir.support.types import multiplied_as

SHARES = ((0.01, 1), (0.003, 2), (0.0005, 4), (0.0, 8))
"""A kernel of at least such a share of the whole gets the budget divided by this."""


def array_cycles(func: FuncOp, machine: Machine) -> int:
    """Cycles that the array works on a kernel at least."""
    cycles = 0
    for op in func.walk():
        match op:
            case kernel.MatmulOp():
                along = tensor_type(op.a).get_shape()[-2 if op.transpose_a else -1]
            case kernel.ConvOp():
                along = prod(tensor_type(op.weights).get_shape()[1:])
            case _:
                continue
        rate = machine.fabric.macs.get(
            multiplied_as(*(tensor_type(v).element_type for v in op.operands)), 1
        )
        count = tensor_type(op.result).element_count() * along
        cycles += count // (machine.fabric.rows * machine.fabric.columns * rate)
    return cycles


def whole(outlined: ModuleOp, machine: Machine) -> int:
    """Cycles that the array works on a module with a function a kernel at least."""
    calls = Counter(
        op.callee.root_reference.data for op in outlined.walk() if isinstance(op, CallOp)
    )
    funcs = (op for op in outlined.ops if isinstance(op, FuncOp))
    return sum(calls[f.sym_name.data] * array_cycles(f, machine) for f in funcs)


def divided(func: FuncOp, machine: Machine, total: int) -> int:
    """What the budget of a kernel in a program of so many cycles is divided by."""
    if not total:
        return 1
    types = func.function_type
    moved = sum(size_of(memref_of(t)) for t in (*types.inputs, *types.outputs))
    least = max(array_cycles(func, machine), moved // machine.bandwidth["dma"])
    return next(by for share, by in SHARES if least >= share * total)
