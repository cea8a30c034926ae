"""Sums of products of quantized numbers, ``(a - za) (b - zb)``: a product of the stored ones, exact.

sum (a - za) (b - zb)  =  sum a b  -  za sum b  -  zb sum a  +  n za zb
"""

from __future__ import annotations

from math import prod

from xdsl.dialects import arith
from xdsl.ir import Attribute, Operation, SSAValue

from kpu_ir.frontends.linalg.access import name_of
from kpu_ir.frontends.linalg.recognise import Recogniser
from kpu_ir.frontends.linalg.scalars import number, reshaped
from kpu_ir.frontends.python.value import Value


def quantized(
    of: Recogniser, kind: str, expression: SSAValue, at: int, element: Attribute
) -> Value | None:
    """A sum of products of differences of an input and a scalar, or None."""
    op = expression.owner
    if kind != "add" or not isinstance(op, Operation) or name_of(op) != "arith.muli":
        return None
    (a, za), (b, zb) = (_difference(of, v) for v in op.operands)
    if (za is None and zb is None) or of.input_of(a) is None or of.input_of(b) is None:
        return None
    product = arith.MuliOp(a, b)
    of.form.block.insert_op_before(product, op)
    total = of.reduced(kind, product.result, at, element)
    zero_a, zero_b = (None if z is None else _number(of, z, len(total.shape)) for z in (za, zb))
    count = prod(of.form.extents[i] for i in of.form.reduced)
    rows = None if zero_b is None else _sums(of, a, at, element)
    columns = None if zero_a is None else _sums(of, b, at, element)
    graph = of.graph
    if zero_a is not None and columns is not None:
        total = graph.map(lambda s, z, c: s - z * c, total, zero_a, columns)
    if zero_b is not None and rows is not None:
        if zero_a is not None:
            rows = graph.map(lambda r, z: r - z * count, rows, zero_a)
        total = graph.map(lambda s, z, r: s - z * r, total, zero_b, rows)
    return total


def _difference(of: Recogniser, value: SSAValue) -> tuple[SSAValue, SSAValue | None]:
    """What a scalar is taken from, and the scalar; a value by itself is less nothing."""
    op = value.owner
    if isinstance(op, Operation) and name_of(op) == "arith.subi":
        taken = of.input_of(op.operands[1])
        if taken is not None and not of.form.maps[taken].results:
            return op.operands[0], op.operands[1]
    return value, None


def _number(of: Recogniser, zero: SSAValue, rank: int) -> Value | None:
    """A zero point with ``rank`` dimensions of 1; None for one that is known to be 0."""
    source = of.input_of(zero)
    if source is not None and number(of.form.inputs[source]) == 0:
        return None
    return reshaped(of.graph, of.scalars().emit(zero), (1,) * rank)


def _sums(of: Recogniser, value: SSAValue, at: int, element: Attribute) -> Value:
    """The sums of an operand along what is reduced, so that they broadcast to the result."""
    input = of.input_of(value)
    assert input is not None
    out, reduced = of.plain(of.form.init_maps[at]), of.form.reduced
    if out is None or of.plain(of.form.maps[input]) is None:  # under windows
        return of.reduced("add", value, at, element)
    graph = of.graph
    wide = graph.cast(of.read(of.arguments[input]), element)
    over = [i for i in sorted(reduced) if wide.shape[i] > 1]
    sums = graph.reduce("add", wide, over) if over else wide
    again = prod(of.form.extents[i] for i in reduced if i not in over)
    if again > 1:
        sums = graph.map(lambda s: s * again, sums)
    order = [*out, *sorted(reduced)]
    if order != list(range(len(order))):
        sums = graph.transpose(sums, order)
    return reshaped(graph, sums, sums.shape[: len(out)])
