"""How much external memory a program needs, said before anything is chosen by simulating.

What a model's inputs, weights and results take is needed whatever is decided; whether all between
them stays on the chip is not known yet. Where the first alone is too much, the second is counted as
if nothing stayed there, so that a machine with that much will do.
"""

from __future__ import annotations

from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, DenseResourceAttr, ModuleOp, TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Operation, SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.machine import Machine
from kpu_ir.passes.kernel_decompose import KernelDecomposePass
from kpu_ir.registry import context
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import bits_of

ALIGNMENT = 64
SAMPLE = 1 << 16
"""Bytes of a constant that tell whether it may be one value repeated, which becomes a number."""


def check_external(module: ModuleOp, machine: Machine) -> None:
    """Raise ``KpuError`` where a canonical ``kernel`` module does not fit external memory."""
    room = machine.external.bytes
    if least(_main(module)) > room:
        apart = module.clone()
        KernelDecomposePass().apply(context(), apart)
        needed = at_most(_main(apart))
        raise KpuError(
            f"the tensors need {needed} bytes of external memory, the machine has {room}",
            hint=f"a machine with external.bytes of {needed} or more",
        )


def _main(module: ModuleOp) -> FuncOp:
    return next(f for f in module.ops if isinstance(f, FuncOp) and f.sym_name.data == "main")


def size_of(type: Attribute) -> int:
    """Bytes that a tensor takes in memory."""
    assert isinstance(type, TensorType)
    size = (type.element_count() * bits_of(type.element_type) + 7) // 8
    return -(-size // ALIGNMENT) * ALIGNMENT


def least(main: FuncOp) -> int:
    """Bytes that are needed whatever is fused: inputs, weights and what is returned."""
    block = main.body.block
    total = sum(size_of(a.type) for a in block.args)
    for op in block.ops:
        if isinstance(op, kernel.ConstantOp) and not _repeated(op.value):
            total += size_of(op.result.type)
    last = block.last_op
    assert isinstance(last, ReturnOp)
    for value in {_root(v) for v in last.operands}:
        if isinstance(value.owner, Operation) and not isinstance(value.owner, kernel.ConstantOp):
            total += size_of(value.type)
    return total


def at_most(main: FuncOp) -> int:
    """Bytes that are enough where every kernel's result goes to external memory: each takes the
    lowest gap between those that live when it does, as ``tile-to-dma`` places them."""
    block = main.body.block
    ops = list(block.ops)
    floor = sum(size_of(a.type) for a in block.args)
    floor += sum(size_of(op.result.type) for op in ops if isinstance(op, kernel.ConstantOp))
    last: dict[SSAValue, int] = {}
    for at, op in enumerate(ops):
        for inner in op.walk():
            last.update(dict.fromkeys(map(_root, inner.operands), at))
        if isinstance(op, ReturnOp):
            last.update(dict.fromkeys(map(_root, op.operands), len(ops)))
    living: list[tuple[int, int, int]] = []
    end = floor
    for at, op in enumerate(ops):
        if isinstance(op, kernel.ConstantOp | kernel.ReshapeOp | ReturnOp):
            continue
        living = [one for one in living if one[2] >= at]
        for value in op.results:
            begin, room = floor, size_of(value.type)
            for first, after, _ in sorted(living):
                if begin + room <= first:
                    break
                begin = max(begin, after)
            living.append((begin, begin + room, last.get(value, at)))
            end = max(end, begin + room)
    return end


def _root(value: SSAValue) -> SSAValue:
    """The value that a view shows."""
    while isinstance(value.owner, kernel.ReshapeOp):
        value = value.owner.source
    return value


def _repeated(value: DenseIntOrFPElementsAttr | DenseResourceAttr) -> bool:
    """Whether a constant may be one value repeated, as far as its beginning tells."""
    if isinstance(value, DenseResourceAttr):
        return False
    start = bytes(value.data.data[:SAMPLE])
    size = max(1, bits_of(value.get_element_type()) // 8)
    return start == start[:size] * (len(start) // size)
