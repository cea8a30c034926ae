"""Passes over long rows: what of a kernel is computed each time that its rows are read.

A reduction that needs the result of another (the sum of a softmax needs the largest) needs the row
once more. Rows that stay on chip are read once and used as often as needed; rows that are streamed in
pieces are read once a pass, and what a later pass needs of an earlier one is computed again, unless
it is one number a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from xdsl.ir import Operation, SSAValue

from kpu_ir.dialects import kernel

NOTHING: Mapping[Operation, kernel.ReduceOp] = MappingProxyType({})


@dataclass(frozen=True)
class Pass:
    """One reading of the rows: what it reduces, and which results it stores.

    ``rows`` are the operations on rows that both need, in order; ``sources`` what these read: arguments
    of the kernel, and values of one number a row, which stand outside.
    """

    reductions: tuple[kernel.ReduceOp, ...]
    stores: tuple[SSAValue, ...]
    rows: tuple[Operation, ...]
    sources: tuple[SSAValue, ...]


def passes_of(
    operations: Sequence[Operation],
    outputs: Sequence[SSAValue],
    is_row: Callable[[SSAValue], bool],
    together: Mapping[Operation, kernel.ReduceOp] = NOTHING,
) -> tuple[Pass, ...]:
    """The passes of a kernel whose rows are streamed.

    ``together``: reductions that are computed in the pass of another one that they need, by other
    means (``row_statistics``).
    """
    begins = beginnings(operations, is_row, together)
    wanted: dict[int, tuple[list[kernel.ReduceOp], list[SSAValue]]] = {}
    for op in operations:
        if isinstance(op, kernel.ReduceOp) and is_row(op.source):
            first = begins[op.result] - 1
            wanted.setdefault(first, ([], []))[0].append(op)
    for value in dict.fromkeys(outputs):
        if is_row(value):
            wanted.setdefault(begins.get(value, 0), ([], []))[1].append(value)
    found: list[Pass] = []
    for _, (reductions, stores) in sorted(wanted.items()):
        needed = [op.source for op in reductions if op not in together] + stores
        rows, sources = _before(needed, operations, is_row)
        found.append(Pass(tuple(reductions), tuple(stores), rows, sources))
    return tuple(found)


def beginnings(
    operations: Sequence[Operation],
    is_row: Callable[[SSAValue], bool],
    together: Mapping[Operation, kernel.ReduceOp] = NOTHING,
) -> dict[SSAValue, int]:
    """How many passes must be over before each value can be computed: 0 where it needs none."""
    begins: dict[SSAValue, int] = {}
    for op in operations:
        needs = max((begins.get(v, 0) for v in op.operands), default=0)
        if op in together:
            needs = begins[together[op].result]
        elif isinstance(op, kernel.ReduceOp) and is_row(op.source):
            needs += 1
        begins.update(dict.fromkeys(op.results, needs))
    return begins


def _before(
    values: Iterable[SSAValue], operations: Sequence[Operation], is_row: Callable[[SSAValue], bool]
) -> tuple[tuple[Operation, ...], tuple[SSAValue, ...]]:
    """What a pass computes on rows to have ``values``, and what it reads for that."""
    needed, rows = dict.fromkeys(values), list[Operation]()
    for op in reversed(operations):
        if op.results[0] in needed and is_row(op.results[0]):
            rows.append(op)
            needed.update(dict.fromkeys(op.operands))
    made = {op.results[0] for op in rows}
    return tuple(reversed(rows)), tuple(v for v in needed if v not in made)
