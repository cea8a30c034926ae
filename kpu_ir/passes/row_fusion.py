"""Reductions with the functions around them, as one program: what goes along the same rows.

Before:
```mlir
%m = kernel.reduce max %x axes [1] : tensor<4x16xf32> -> tensor<4x1xf32>
%e = kernel.map %x, %m : (tensor<4x16xf32>, tensor<4x1xf32>) -> tensor<4x16xf32> { exp(x - m) }
%s = kernel.reduce add %e axes [1] : tensor<4x16xf32> -> tensor<4x1xf32>
```
After:
```mlir
%s = kernel.fused : tensor<4x1xf32> {
  %m = kernel.reduce max %x axes [1] : ...
  %e = kernel.map %x, %m : ...
  %r = kernel.reduce add %e axes [1] : ...
  kernel.yield %r : tensor<4x1xf32>
}
```
Only the last one's results are used outside; but where it makes stored numbers of a row (a quantize), what it
is made of may be read behind it as well: the scale that was found, the norm that a residual sum takes too. All of
it is written where it is on chip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from xdsl.dialects.builtin import IntegerType
from xdsl.ir import Block, Operation, SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type


def row_groups(block: Block) -> list[list[Operation]]:
    """Groups of a block that do not overlap, each in order: a last operation, and what only the group
    uses of what it is made from; with a reduction, and another operation."""
    order = {op: i for i, op in enumerate(block.ops)}
    taken: set[Operation] = set()
    found: list[list[Operation]] = []
    for last in reversed(list(order)):
        if last in taken or not is_row_kernel(last):
            continue
        stores = stores_rows(last)

        def behind(users: set[Operation], last: Operation = last, stores: bool = stores) -> bool:
            return stores and all(order.get(user, -1) > order[last] for user in users)

        group = _behind(last, lambda op: op in order and op not in taken, behind)
        reduces = any(isinstance(one, kernel.ReduceOp) for op in group for one in op.walk())
        if len(group) > 1 and reduces:
            taken |= group
            found.append(sorted(group, key=order.__getitem__))
    return found[::-1]


def stores_rows(op: Operation) -> bool:
    """Whether a function makes integers of at most 8 bits, of which there are as many as floats before."""
    kind = tensor_type(op.results[0]).element_type
    return isinstance(op, kernel.MapOp) and isinstance(kind, IntegerType) and 1 < kind.bitwidth <= 8


def read_outside(group: Sequence[Operation]) -> list[SSAValue]:
    """The results of a group that others read, those of the last one first."""
    inside = set(group)
    block = group[-1].parent_block()
    results = [*group[-1].results, *(r for op in group[:-1] for r in op.results)]
    return [
        r for r in results if any(_within(use.operation, block) not in inside for use in r.uses)
    ]


def is_row_kernel(op: Operation) -> bool:
    """Whether an operation goes along rows: a function of elements, a reduction, or a program of
    these."""
    if isinstance(op, kernel.FusedOp):
        *inner, _ = op.body.block.ops
        kinds = kernel.MapOp | kernel.ReduceOp | kernel.BroadcastOp
        return not op.attributes and all(isinstance(one, kinds) for one in inner)
    return isinstance(op, kernel.MapOp | kernel.ReduceOp)


def one_space(operations: Iterable[Operation]) -> bool:
    """Whether the tensors of operations have all or 1 of each dimension of one space, reduced along
    the same dimensions."""
    flat = [one for op in operations for one in _inner(op)]
    values = [v for op in flat for v in (*op.operands, *op.results)]
    rank = max(len(tensor_type(v).get_shape()) for v in values)

    def aligned(value: SSAValue) -> tuple[int, ...]:
        shape = tensor_type(value).get_shape()
        return (1,) * (rank - len(shape)) + tuple(shape)

    shapes = {aligned(v) for v in values}
    full = [max(extents) for extents in zip(*shapes)]
    if any(n not in (1, most) for shape in shapes for n, most in zip(shape, full)):
        return False
    axes: set[tuple[int, ...]] = set()
    for op in flat:
        if isinstance(op, kernel.ReduceOp):
            lead = rank - len(tensor_type(op.source).get_shape())
            axes.add(tuple(a + lead for a in op.axes_list if full[a + lead] > 1))
    return len(axes - {()}) < 2


def _inner(op: Operation) -> Sequence[Operation]:
    return list(op.body.block.ops)[:-1] if isinstance(op, kernel.FusedOp) else [op]


def _behind(
    last: Operation,
    free: Callable[[Operation], bool],
    late: Callable[[set[Operation]], bool],
) -> set[Operation]:
    """``last``, and what it is made from that nothing else uses, unless ``late`` enough, as long as it is one
    space."""
    group, waiting = {last}, [last]
    while waiting:
        waiting.pop()
        for op in list(group):  # what has several users may belong to it only now
            for value in _read(op):
                waiting += _joined(value.owner, group, free, late)
    return group


def _read(op: Operation) -> list[SSAValue]:
    return [v for one in op.walk() for v in one.operands]


def _joined(
    op: Operation | Block,
    group: set[Operation],
    free: Callable[[Operation], bool],
    late: Callable[[set[Operation]], bool],
) -> list[Operation]:
    """Put a maker into the group, if it may be."""
    if not isinstance(op, Operation) or op in group or not free(op) or not is_row_kernel(op):
        return []
    users = {_within(use.operation, op.parent_block()) for r in op.results for use in r.uses}
    if not (users <= group or late(users - group)) or not one_space([*group, op]):
        return []
    group.add(op)
    return [op]


def _within(op: Operation, block: Block | None) -> Operation:
    """The operation of ``block`` that ``op`` is, or is in."""
    while op.parent_block() is not block and (parent := op.parent_op()) is not None:
        op = parent
    return op
