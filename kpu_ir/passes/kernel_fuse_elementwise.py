"""``kernel-fuse-elementwise``: operations that become one program are put into one ``kernel.fused``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.passes.row_fusion import read_outside, row_groups
from kpu_ir.support.types import accumulator_type

HEADS = (kernel.MatmulOp, kernel.ConvOp, kernel.PoolOp, kernel.MapOp)
"""What maps can follow in one program."""

APART = "kernel.apart"
"""The attribute of a module whose kernels are faster without epilogues."""


def only_user(value: SSAValue) -> Operation | None:
    """The one operation that uses ``value``, once."""
    return value.get_user_of_unique_use()


def fuse(
    operations: Sequence[Operation],
    outputs: Sequence[SSAValue] = (),
    anchor: InsertPoint | None = None,
) -> kernel.FusedOp:
    """Put operations of one block, in order, into a ``kernel.fused``: where the last one stands, or
    at ``anchor``.

    Only ``outputs`` may be used outside, by default the results of the last one.
    """
    last = operations[-1]
    outputs = outputs or last.results
    anchor = anchor or InsertPoint.after(last)
    block = Block()
    for op in operations:
        op.detach()
    block.add_ops(operations)
    block.add_op(kernel.YieldOp(*outputs))
    fused = kernel.FusedOp(Region(block))
    fused.location = operations[0].location
    Builder(anchor).insert(fused)
    for old, new in zip(outputs, fused.outputs):
        new.name_hint = old.name_hint
        old.replace_uses_with_if(new, lambda use: use.operation.parent_block() is not block)
    return fused


def epilogue_of(op: Operation) -> list[Operation]:
    """The maps that can follow ``op`` element by element: of its shape, reading it or each other,
    and only the last one's result used by anything else."""
    shape, block = tensor_type(op.results[0]).get_shape(), op.parent_block()
    known: set[SSAValue] = {op.results[0]}
    waiting = {use.operation for use in op.results[0].uses}
    maps: list[Operation] = []
    closed = 0
    following = op.next_op
    while waiting and following is not None:
        user, following = following, following.next_op
        if user not in waiting:
            continue
        waiting.discard(user)
        if not isinstance(user, kernel.MapOp) or user.result.type.get_shape() != shape:
            break
        maps.append(user)
        known.add(user.result)
        uses = {use.operation for use in user.result.uses}
        if not waiting:  # whoever reads what was made before is here
            closed = len(maps)
        if any(one.parent_block() is not block for one in uses):
            break
        waiting |= uses
    return maps[:closed]


def blocks_of(product: kernel.MatmulOp, maps: Sequence[Operation]) -> list[Operation]:
    """The sum of a product's batch, where ``maps`` finish each of its products and one nest adds them
    up as they come, and the maps after it."""
    value = (maps[-1] if maps else product).results[0]
    reduce = only_user(value)
    own = [m for m in maps if isinstance(m, kernel.MapOp)]
    if not isinstance(reduce, kernel.ReduceOp) or not summable(product, own, reduce):
        return []
    return [reduce, *epilogue_of(reduce)]


def summable(
    product: kernel.MatmulOp, maps: Sequence[kernel.MapOp], reduce: kernel.ReduceOp
) -> bool:
    """Whether products of blocks are finished by maps and then added up over the blocks, as one nest
    has it (``kernel_to_tile.scaled_blocks``)."""
    shape, kind = product.result.type.get_shape(), reduce.result.type.element_type
    return (
        len(shape) == 3
        and bool(maps)
        and all(m.result.type.get_shape() == shape for m in maps)
        and reduce.source is maps[-1].result
        and reduce.kind_name == "add"
        and reduce.result.type.get_shape()[0] == 1
        and reduce.result.type.get_shape()[2] == shape[2]
        and tensor_type(product.a).get_shape()[0] == tensor_type(product.b).get_shape()[0]
        and not (product.transpose_a or product.transpose_b)
        and accumulator_type(kind) == kind
    )


@dataclass(frozen=True)
class KernelFuseElementwisePass(ModulePass):
    """Fuse elementwise functions onto the product before them, with each other, and with the
    reductions before and after them (``row_fusion``).

    Before:
    ```mlir
    %c = kernel.matmul %a, %b : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf32>
    %y = kernel.map %c, %bias : (tensor<4x16xf32>, tensor<16xf32>) -> tensor<4x16xf32> { ... }
    ```
    After:
    ```mlir
    %y = kernel.fused : tensor<4x16xf32> {
      %c = kernel.matmul %a, %b : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf32>
      %r = kernel.map %c, %bias : (tensor<4x16xf32>, tensor<16xf32>) -> tensor<4x16xf32> { ... }
      kernel.yield %r : tensor<4x16xf32>
    }
    ```
    A value with another user is not swallowed. A sum over a product's batch, of what maps made of each of
    its products, is one program with them (weights in blocks).
    """

    name = "kernel-fuse-elementwise"
    mode: Literal["none", "epilogue"] = "epilogue"
    """``epilogue``: onto products and other kernels too; ``none``: nothing is fused."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Rewrite every function."""
        if op.attributes.pop(APART, None) is not None or self.mode == "none":
            return
        for func in op.ops:
            if isinstance(func, FuncOp) and not func.is_declaration:
                for block in func.body.blocks:
                    self.block(block)

    def block(self, block: Block) -> None:
        """Fuse in one block."""
        for op in list(block.ops):
            if op.parent is block and isinstance(op, HEADS):
                chain = epilogue_of(op)
                if isinstance(op, kernel.MatmulOp):
                    chain += blocks_of(op, chain)
                if chain:
                    fuse([op, *chain])
        for group in row_groups(block):
            outputs = read_outside(group)
            flat, after = list[Operation](), dict[SSAValue, SSAValue]()
            for op in group:
                inner, results = unpacked(op)
                flat += inner
                after |= results
            fuse(flat, [after.get(value, value) for value in outputs])


def unpacked(op: Operation) -> tuple[list[Operation], dict[SSAValue, SSAValue]]:
    """The operations of a program, where it stood, and its results among theirs; another operation as it is."""
    if not isinstance(op, kernel.FusedOp):
        return [op], {}
    *inner, last = op.body.block.ops
    results, block = list(last.operands), op.parent_block()
    assert block is not None
    for one in inner:
        one.detach()
        block.insert_op_before(one, op)
    found = dict[SSAValue, SSAValue](zip(op.results, results))
    Rewriter.replace_op(op, [], results)
    return inner, found
