"""Requantization in a scalar body: what an integer array's read path does in one pass.

    + bias -> sitofp -> x scale -> roundeven -> + zero point -> clamp -> fptosi -> trunci

Bias (of integers), scale and zero point are constants, or operands of the body (one a channel). What is
computed from constants on the way is computed once, and integers that only it reads it reads as it needs
them, whatever their type. All but rounding and the conversion to integers may be missing: a scale (a product or
a quotient) that is missing is 1. Ends of the clamp are constants; each of them, and each other part, is there once.

The other form is of integers alone (``scalar.double_rounding``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from xdsl.dialects import arith, math
from xdsl.ir import Block, BlockArgument, Operation, OpResult, SSAValue

from kpu_ir.scalar.body import op_classes
from kpu_ir.scalar.double_rounding import double_rounding
from kpu_ir.scalar.ops import PRICES

LOWER = (arith.MaximumfOp, arith.MaxnumfOp)
UPPER = (arith.MinimumfOp, arith.MinnumfOp)


def requantizations(block: Block) -> list[frozenset[Operation]]:
    """The operations of each requantization in a body."""
    fixed = _fixed(block)
    ends = [op for op in block.ops if op not in fixed]
    found = [chain for op in ends if (chain := _chain(op, fixed) or _doubly(op, fixed))]
    return [frozenset(chain | _feeding(chain, fixed)) for chain in found]


def priced(block: Block, passes: Sequence[frozenset[Operation]]) -> Counter[str]:
    """How many operations of each class a body costs an element; each of the ``passes``, its
    requantizations where a unit does them, is one of the class ``requantize``."""
    classes = op_classes(block)
    within = Counter(PRICES[op.name] for ops in passes for op in ops if op.name in PRICES)
    return classes - within + Counter(requantize=len(passes)) if passes else classes


def interval_of(block: Block | None, intervals: Mapping[str, int]) -> int:
    """Cycles between two groups of lanes through a body, on a vector engine with such intervals."""
    if block is None:
        return 0
    classes = priced(block, requantizations(block) if intervals["requantize"] else ())
    return sum(intervals[kind] * n for kind, n in classes.items())


def _fixed(block: Block) -> set[Operation]:
    """Operations of constants only."""
    fixed: set[Operation] = set()
    for op in block.ops:
        owners = [value.owner for value in op.operands]
        if op.results and all(owner in fixed for owner in owners):
            fixed.add(op)
    return fixed


def _chain(end: Operation, fixed: set[Operation]) -> set[Operation]:
    """From the conversion to integers upwards; empty where that is something else."""
    if not isinstance(end, arith.FPToSIOp | arith.FPToUIOp):
        return set()
    chain: set[Operation] = {end}
    users = [use.operation for use in end.results[0].uses]
    if len(users) == 1 and isinstance(users[0], arith.TruncIOp):
        chain.add(users[0])
    value, left = end.operands[0], [LOWER, UPPER, (arith.AddfOp,)]
    while isinstance(value, OpResult) and value.has_one_use():
        op = value.owner
        if isinstance(op, math.RoundEvenOp):
            return chain | {op} | _scaled(op.operands[0], fixed)
        part = next((kinds for kinds in left if isinstance(op, kinds)), None)
        following = _through(op, fixed) if part else None
        if part is None or following is None:
            return set()
        if arith.AddfOp in part:
            left = []  # what is clamped has its zero point
        elif all(v.owner not in fixed for v in op.operands):
            return set()
        else:
            left.remove(part)
        chain.add(op)
        value = following
    return set()


def _scaled(value: SSAValue, fixed: set[Operation]) -> set[Operation]:
    """What makes the number that is rounded: a scale, and what is before it."""
    op = value.owner
    if not value.has_one_use() or not isinstance(op, arith.MulfOp | arith.DivfOp):
        return _start(value, fixed)
    following = _through(op, fixed, isinstance(op, arith.DivfOp))
    return set() if following is None else {op} | _start(following, fixed)


def _doubly(end: Operation, fixed: set[Operation]) -> set[Operation]:
    """A requantization that is rounded twice, in integers, with one bias before it."""
    found = double_rounding(end)
    if found is None:
        return set()
    chain, total = found
    bias = total.owner
    if isinstance(bias, arith.AddiOp) and total.has_one_use() and _through(bias, fixed) is not None:
        return chain | {bias}
    return chain


def _start(value: SSAValue, fixed: set[Operation]) -> set[Operation]:
    """What makes the number that is scaled of a sum: a conversion, and before it one bias."""
    start = value.owner
    if not isinstance(start, arith.SIToFPOp) or not value.has_one_use():
        return set()
    whole = start.operands[0]
    bias = whole.owner
    if isinstance(bias, arith.AddiOp) and whole.has_one_use() and _through(bias, fixed) is not None:
        return {start, bias}
    return {start}


def _through(op: Operation, fixed: set[Operation], first: bool = False) -> SSAValue | None:
    """The operand that goes on, the other being a constant or an operand of the body; ``first``: it is
    the first one."""
    one, other = op.operands
    if _parameter(other, fixed) and one.owner not in fixed:
        return one
    if not first and _parameter(one, fixed):
        return other
    return None


def _parameter(value: SSAValue, fixed: set[Operation]) -> bool:
    while isinstance(value, OpResult) and isinstance(
        value.owner, arith.SIToFPOp | arith.UIToFPOp | arith.ExtSIOp | arith.ExtUIOp
    ):
        value = value.owner.operands[0]
    return isinstance(value, BlockArgument) or value.owner in fixed


def _feeding(chain: set[Operation], fixed: set[Operation]) -> set[Operation]:
    """What is computed for the chain alone: from constants, and conversions of its parameters."""
    found: set[Operation] = set()
    waiting = [value.owner for op in chain for value in op.operands]
    while waiting:
        op = waiting.pop()
        if not isinstance(op, Operation) or op in chain or op in found:
            continue
        converts = isinstance(op, arith.SIToFPOp | arith.UIToFPOp | arith.ExtSIOp | arith.ExtUIOp)
        users = {use.operation for result in op.results for use in result.uses}
        if (op in fixed or converts) and users <= chain | found:
            found.add(op)
            waiting += [value.owner for value in op.operands]
    return found
