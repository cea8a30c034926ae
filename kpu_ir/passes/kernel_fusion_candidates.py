"""``kernel-fusion-candidates``: operations whose intermediate values could stay on chip, as one program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod

from xdsl.context import Context
from xdsl.dialects import arith
from xdsl.dialects.builtin import AnyFloat, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.passes.kernel_decompose import attention
from kpu_ir.passes.kernel_fuse_elementwise import epilogue_of, fuse, only_user

ATTRIBUTE = "kernel.group"
"""The attribute of a ``kernel.fused`` that says why its operations stand together."""


def is_cast(op: Operation) -> bool:
    """Whether a map only changes the type of floats."""
    return isinstance(op, kernel.MapOp) and all(
        isinstance(one, arith.ExtFOp | arith.TruncFOp) or one is op.body.block.last_op
        for one in op.body.block.ops
    )


def chain_before(value: SSAValue) -> list[Operation]:
    """The product that a value comes from through maps of its shape, and these maps; each value
    with one user. Empty where there is no such product.

    A map of as many elements that a map reads besides (a mask made of truth values) is one of them.
    """
    shape, found = tensor_type(value).get_shape(), list[Operation]()
    while only_user(value) is not None:
        op = value.owner
        if isinstance(op, kernel.MatmulOp):
            return [op, *found]
        if not isinstance(op, kernel.MapOp):
            return []
        found.insert(0, op)
        made = [
            v
            for v in op.inputs
            if isinstance(v.owner, kernel.MapOp | kernel.MatmulOp)
            and tensor_type(v).element_count() == prod(shape)
        ]
        makers = [v.owner for v in made if isinstance(v.owner, kernel.MapOp)]
        aside = [m for m in makers if len(made) > 1 and made_of_arguments(m)]
        rest = [v for v in made if v.owner not in aside]
        if len(rest) != 1 or tensor_type(rest[0]).get_shape() != shape:
            return []
        found[:0] = aside
        value = rest[0]
    return []


def made_of_arguments(op: kernel.MapOp) -> bool:
    """Whether a map is for one user, and of what stands in memory anyway."""
    made = any(isinstance(v.owner, kernel.MapOp | kernel.MatmulOp) for v in op.inputs)
    return not made and only_user(op.result) is not None


def transposed(value: SSAValue) -> list[Operation]:
    """The transposition that only makes this operand, if there is one."""
    op = value.owner
    return [op] if isinstance(op, kernel.TransposeOp) and only_user(value) else []


def attention_of(op: Operation) -> list[Operation]:
    """Scores, softmax, values: all of an attention around a softmax."""
    if not isinstance(op, kernel.SoftmaxOp) or op.log:
        return []
    rank = len(op.result.type.get_shape())
    before = chain_before(op.source)
    if not before or op.axis.value.data != rank - 1:
        return []
    scores = before[0]
    if not of_one_type(scores) or not of_floats(scores):
        return []
    casts: list[Operation] = []
    value = op.result
    while (user := only_user(value)) is not None and is_cast(user):
        casts.append(user)
        value = user.results[0]
    if not isinstance(user, kernel.MatmulOp) or user.a is not value or user.transpose_a:
        return []
    if not of_one_type(user) or not of_floats(user) or len(user.result.type.get_shape()) != rank:
        return []
    after = epilogue_of(user)
    inside = [*before, op, *casts, user, *after]
    out = only_user(inside[-1].results[0])
    back = [out] if isinstance(out, kernel.TransposeOp) else []
    views = [*transposed(scores.operands[0]), *transposed(scores.operands[1])]
    return [*views, *transposed(user.b), *inside, *back]


def of_one_type(op: Operation) -> bool:
    """Whether a product's operands have one type: programs of two products want that."""
    a, b = (tensor_type(v).element_type for v in op.operands)
    return a == b


def of_floats(op: Operation) -> bool:
    """Whether a product is of floats."""
    return isinstance(tensor_type(op.operands[0]).element_type, AnyFloat)


def back_to_back(op: Operation) -> list[Operation]:
    """A product whose only use, after maps, is as the rows of another product."""
    if not isinstance(op, kernel.MatmulOp) or len(op.result.type.get_shape()) != 2:
        return []
    middle = epilogue_of(op)
    value = (middle[-1] if middle else op).results[0]
    second = only_user(value)
    if not isinstance(second, kernel.MatmulOp) or second.a is not value or second.transpose_a:
        return []
    if any(tensor_type(v).get_shape() == () for m in middle for v in m.operands):
        return []
    if not (of_one_type(op) and of_one_type(second)):
        return []
    return [op, *middle, second, *epilogue_of(second)]


def horizontal_of(op: Operation) -> list[list[Operation]]:
    """Products of one shape that share their left operand, each with the maps after it; ``op`` is
    the first of them."""
    if not isinstance(op, kernel.MatmulOp) or len(op.result.type.get_shape()) != 2:
        return []
    others = {use.operation for use in op.a.uses}
    block = op.parent_block()
    alike = [
        one
        for one in (block.ops if block else ())
        if one in others
        and isinstance(one, kernel.MatmulOp)
        and one.a is op.a
        and one.b is not op.a
        and one.transpose_a == op.transpose_a
        and one.result.type == op.result.type
    ]
    if len(alike) < 2 or alike[0] is not op:
        return []
    branches = [[one, *epilogue_of(one)] for one in alike]
    made = {r for branch in branches for one in branch for r in one.results}
    for branch in branches:
        inside = {r for one in branch for r in one.results}
        if any(v in made and v not in inside for one in branch for v in one.operands):
            return []  # one of them reads another
    return branches


def place_for(branches: Sequence[Sequence[Operation]]) -> InsertPoint | None:
    """Where the branches can stand together: behind all that they read, before all that reads
    them. Constants that come too late are moved to the front."""
    block = branches[0][0].parent_block()
    assert block is not None
    inside = [one for branch in branches for one in branch]
    first = block.first_op
    assert first is not None
    for one in inside:
        for value in one.operands:
            if isinstance(value.owner, kernel.ConstantOp) and value.owner is not first:
                value.owner.detach()
                block.insert_op_before(value.owner, first)
    order = {one: i for i, one in enumerate(block.ops)}
    read = [v.owner for one in inside for v in one.operands if isinstance(v.owner, Operation)]
    after = max((order[one] for one in read if one not in inside), default=-1)
    results = [r for branch in branches for r in branch[-1].results]
    users = [
        order.get(_in_block(use.operation, block), len(order)) for r in results for use in r.uses
    ]
    if min(users, default=len(order)) <= after:
        return None
    # The members go: what the group is put before is none of them.
    return InsertPoint.before(next(o for o, i in order.items() if i > after and o not in inside))


def _in_block(op: Operation, block: Block) -> Operation:
    """The operation of ``block`` that ``op`` is in."""
    while op.parent_block() is not block and (parent := op.parent_op()) is not None:
        op = parent
    return op


def group_horizontal(block: Block) -> None:
    """Group products that share their left operand."""
    for op in list(block.ops):
        if op.parent_block() is not block:
            continue
        branches = horizontal_of(op)
        anchor = place_for(branches) if branches else None
        if anchor is None:
            continue
        outputs = [branch[-1].results[0] for branch in branches]
        members = [one for branch in branches for one in branch]
        fuse(members, outputs, anchor).attributes[ATTRIBUTE] = StringAttr("horizontal")


KINDS: tuple[tuple[str, Callable[[Operation], list[Operation]]], ...] = (
    ("attention", attention_of),
    ("back-to-back products", back_to_back),
)
"""What may become one program, in the order in which it is looked for."""


def groups(block: Block) -> Iterator[tuple[str, list[Operation]]]:
    """Groups that do not overlap, in the order of ``KINDS``."""
    taken: set[Operation] = set()
    order = {op: i for i, op in enumerate(block.ops)}
    for name, find in KINDS:
        for op in block.ops:
            members = [] if op in taken else find(op)
            if not members or taken & set(members):
                continue
            if any(m.parent_block() is not block for m in members):
                continue
            taken |= set(members)
            yield name, sorted(set(members), key=order.__getitem__)


def ungroup(fused: kernel.FusedOp) -> None:
    """Put a group's operations where it stands."""
    *inner, last = fused.body.block.ops
    values = list(last.operands)
    block = fused.parent_block()
    assert block is not None
    for op in inner:
        op.detach()
        block.insert_op_before(op, fused)
    Rewriter.replace_op(fused, [], values)


@dataclass(frozen=True)
class KernelFusionCandidatesPass(ModulePass):
    """Group what could stay on chip: an attention; two products, one after the other; products that
    share their left operand.

    A value with another user is not swallowed. ``kernel-fuse-by-cost`` decides by simulation which groups
    remain; here every one is made.

    Before:
    ```mlir
    %h = kernel.matmul %x, %w : (tensor<64x32xf32>, tensor<32x128xf32>) -> tensor<64x128xf32>
    %g = kernel.map %h : (tensor<64x128xf32>) -> tensor<64x128xf32> { max(h, 0) }
    %y = kernel.matmul %g, %v : (tensor<64x128xf32>, tensor<128x32xf32>) -> tensor<64x32xf32>
    ```
    After:
    ```mlir
    %y = kernel.fused {kernel.group = "back-to-back products"} : tensor<64x32xf32> {
      %h = kernel.matmul %x, %w : ...
      %g = kernel.map %h : ...
      %r = kernel.matmul %g, %v : ...
      kernel.yield %r : tensor<64x32xf32>
    }
    ```
    """

    name = "kernel-fusion-candidates"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Group in every function."""
        for one in list(op.walk()):
            if isinstance(one, kernel.AttentionOp):
                attention(one)
        for func in op.ops:
            if isinstance(func, FuncOp) and not func.is_declaration:
                for block in func.body.blocks:
                    for name, members in list(groups(block)):
                        fuse(members).attributes[ATTRIBUTE] = StringAttr(name)
                    group_horizontal(block)
