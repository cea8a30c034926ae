"""Contractions: products of two operands, summed, as ``kernel.matmul``."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Attribute, SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.frontends.linalg.recognise import Recogniser
from kpu_ir.frontends.python.value import Value


def contraction(
    of: Recogniser, kind: str, expression: SSAValue, at: int, element: Attribute
) -> Value | None:
    """A sum of products of two operands that are read by loops as they are, or None.

    Loops of both operands and the result are batches; those of one operand and the result are its
    rows or columns; what is summed is in both.
    """
    pair = of.factors(expression) if kind == "add" else None
    if pair is None:
        return None
    form = of.form
    left, right = (of.plain(form.maps[i]) for i in pair)
    out = of.plain(form.init_maps[at])
    if left is None or right is None or out is None:
        return None
    if form.reduced - set(left) or form.reduced - set(right):
        return None
    if set(left) | set(right) != set(range(of.loops)) or set(out) | form.reduced != set(
        range(of.loops)
    ):
        return None
    batches = [i for i in out if i in left and i in right]
    rows = [i for i in out if i in left and i not in right]
    columns = [i for i in out if i in right and i not in left]
    if not rows and not columns:
        return None  # of vectors: cheaper on the vector engine
    if rows and columns and out.index(columns[-1]) < out.index(rows[0]):
        pair, left, right, rows, columns = (pair[1], pair[0]), right, left, columns, rows
    summed = [i for i in left if i in form.reduced]
    ungrouped = [[i] for i in batches]
    a, b = (of.tensor(form.inputs[i]) for i in pair)
    b, repeated = unrepeated(b, [right.index(i) for i in batches])
    if not repeated:
        a, _ = unrepeated(a, [left.index(i) for i in batches])
    # Rows stay rows: what is last in memory stays last.
    swapped_a = bool(rows) and left.index(rows[-1]) > left.index(summed[-1])
    swapped_b = bool(columns) and right.index(columns[-1]) < right.index(summed[-1])
    x = of.ordered(a, left, [*ungrouped, *([summed, rows] if swapped_a else [rows, summed])])
    y = of.ordered(b, right, [*ungrouped, *([columns, summed] if swapped_b else [summed, columns])])
    product = kernel.MatmulOp(
        x.ssa, y.ssa, transpose_a=swapped_a, transpose_b=swapped_b, element_type=element
    )
    return of.unfolded(of.graph.insert(product), [*ungrouped, rows, columns], at)


def unrepeated(value: Value, batches: Sequence[int]) -> tuple[Value, bool]:
    """What was repeated along batch dimensions only: a product repeats it by itself."""
    op = value.ssa.owner
    if not isinstance(op, kernel.BroadcastOp):
        return value, False
    source = Value(value.graph, op.source)
    axes = [i for i, (n, m) in enumerate(zip(source.shape, value.shape)) if n != m]
    same = len(source.shape) == len(value.shape) and set(axes) <= set(batches)
    return (source, True) if same else (value, False)
