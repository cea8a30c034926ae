"""Weights that many kernels read, one after the other: copied to L3 once, if that is better.

A recurrent layer reads the weights of its state in every step. Its calls are of equal kernels, and little
else is moved, so it is enough to look at constants that are much of what is moved between their
first and their last use.
"""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.dialects.func import CallOp, FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue
from xdsl.rewriter import InsertPoint, Rewriter

from kpu_ir.dialects import kernel
from kpu_ir.lowering.kernel_to_tile import memref_of
from kpu_ir.lowering.tile_to_dma import size_of

LEAST_USES = 4
"""Fewer calls that read a constant are not worth a copy."""

SHARE = 8
"""The part of all bytes between the first and the last use that reading it again must be: 1 / 8."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A call that copies a constant; ``result`` stands in its place."""

    call: CallOp
    func: FuncOp
    source: SSAValue
    result: SSAValue

    def undo(self) -> None:
        """Let everybody read the constant again."""
        self.result.replace_all_uses_with(self.source)
        for op in (self.call, self.func):
            op.detach()
            op.erase()


def copy_constants(module: ModuleOp, most: int) -> list[Copy]:
    """Put a copy in the place of each constant of at most ``most`` bytes that is read often."""
    main = next(f for f in module.ops if isinstance(f, FuncOp) and f.sym_name.data == "main")
    calls = [op for op in main.body.block.ops if isinstance(op, CallOp)]
    moved = [
        sum(size_of(memref_of(v.type)) for v in (*call.arguments, *call.results)) for call in calls
    ]
    found: list[Copy] = []
    for op in list(main.body.block.ops):
        if not isinstance(op, kernel.ConstantOp):
            continue
        size = size_of(memref_of(op.result.type))
        users = {use.operation for use in op.result.uses}
        uses = [i for i, call in enumerate(calls) if call in users]
        if size > most or len(uses) < LEAST_USES or not all(isinstance(u, CallOp) for u in users):
            continue
        if SHARE * size * len(uses) < sum(moved[uses[0] : uses[-1] + 1]):
            continue
        found.append(_copy(module, op, calls[uses[0]], len(found)))
    return found


def _copy(module: ModuleOp, op: kernel.ConstantOp, before: CallOp, number: int) -> Copy:
    kind = op.result.type
    block = Block(arg_types=[kind])
    same = kernel.TransposeOp(block.args[0], range(len(kind.get_shape())))
    same.location = before.location
    block.add_ops([same, ReturnOp(same.result)])
    taken = {f.sym_name.data for f in module.ops if isinstance(f, FuncOp)}
    name = next(n for i in range(number, len(taken) + 1) if (n := f"keep_{i}") not in taken)
    func = FuncOp(name, ([kind], [kind]), Region(block), StringAttr("private"))
    func.location = before.location
    module.body.block.add_op(func)
    call = CallOp(name, [op.result], [kind])
    call.location = before.location
    Rewriter.insert_op(call, InsertPoint.before(before))
    result = call.results[0]
    result.name_hint = op.result.name_hint
    op.result.replace_uses_with_if(result, lambda use: use.operation is not call)
    return Copy(call, func, op.result, result)
