"""Scalar bodies inside a kernel: short floats as f32, rounded once, where a tile of them is written.

A tensor of the graph that is f16 is rounded to f16. Inside one kernel nothing is: what stands on chip
between two operations is f32, and so are the sums (``support.types.accumulator_type``). Only a
conversion that somebody asked for (a map that does nothing else, or one to 8 bits: steps, as those of
``kernel.quantize``) rounds where it stands.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith
from xdsl.dialects.builtin import AnyFloat, FloatAttr, IntegerType
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.utils.hints import isa

from kpu_ir.scalar.tracing import is_unsigned
from kpu_ir.support.types import accumulator_type, dtype_of


def working_type(kind: Attribute) -> Attribute:
    """What values of this type are inside a kernel: f32 for short floats, else the type itself."""
    return accumulator_type(kind) if isinstance(kind, AnyFloat) else kind


def is_cast(block: Block) -> bool:
    """Whether a body only converts floats."""
    *operations, _ = block.ops
    return bool(operations) and all(
        isinstance(o, arith.ExtFOp | arith.TruncFOp) for o in operations
    )


def entered(
    value: SSAValue, kind: Attribute, into: Block, held: Attribute | None = None
) -> SSAValue:
    """What a tile holds, in the working type of ``kind``: shorter, where an integer sum is cut to its
    type; longer, where one of a single element stands for its sum. ``held``: the tile's element type,
    which says whether integers have signs (None: they do)."""
    target = working_type(kind)
    if value.type == target:
        return value
    if isinstance(value.type, AnyFloat):
        assert isinstance(target, AnyFloat)
        shorter = value.type.bitwidth > target.bitwidth
        return _added((arith.TruncFOp if shorter else arith.ExtFOp)(value, target), into)
    assert isa(target, IntegerType)
    assert isa(value.type, IntegerType)
    if value.type.bitwidth > target.bitwidth:
        return _added(arith.TruncIOp(value, target), into)
    unsigned = held is not None and is_unsigned(held)
    return _added((arith.ExtUIOp if unsigned else arith.ExtSIOp)(value, target), into)


def left(value: SSAValue, kind: Attribute, into: Block) -> SSAValue:
    """A value as a tile of ``kind`` holds it: here floats are rounded."""
    if value.type == kind:
        return value
    if isinstance(value.type, AnyFloat):
        assert isinstance(kind, AnyFloat)
        maker = value.owner
        if isinstance(maker, arith.ExtFOp) and maker.operands[0].type == kind:
            return maker.operands[0]  # rounded before, to the same type
        longer = kind.bitwidth > value.type.bitwidth
        return _added((arith.ExtFOp if longer else arith.TruncFOp)(value, kind), into)
    assert isa(kind, IntegerType)
    assert isa(value.type, IntegerType)
    longer = kind.bitwidth > value.type.bitwidth
    return _added((arith.ExtSIOp if longer else arith.TruncIOp)(value, kind), into)


def inlined(body: Block, arguments: Sequence[SSAValue], into: Block) -> SSAValue:
    """The operations of a body on ``arguments`` (in working types) at the end of ``into``: its
    result, in its working type. A rounding of the result is left to whoever writes it."""
    values: dict[SSAValue, SSAValue] = dict(zip(body.args, arguments))
    *operations, last = body.ops
    final, asked = last.operands[0], is_cast(body)
    for op in operations:
        if isinstance(op, arith.ExtFOp | arith.TruncFOp):
            rounds = asked or op.result is not final or _of_a_byte(op.result.type)
            values[op.result] = _converted(values[op.operands[0]], op.result.type, into, rounds)
        elif not any(_short(v.type) for v in (*op.operands, *op.results)):
            new = op.clone(values)  # pyright: ignore
            into.add_op(new)
            values.update(zip(op.results, new.results))
        else:
            values[op.results[0]] = _widened(op, values, into)
    return values.get(final, final)


def _short(kind: Attribute) -> bool:
    return working_type(kind) != kind


def _of_a_byte(kind: Attribute) -> bool:
    return isinstance(kind, AnyFloat) and kind.bitwidth <= 8


def _added(
    op: arith.ExtFOp | arith.TruncFOp | arith.TruncIOp | arith.ExtSIOp | arith.ExtUIOp,
    into: Block,
) -> SSAValue:
    into.add_op(op)
    return op.result


def _converted(value: SSAValue, kind: Attribute, into: Block, rounds: bool) -> SSAValue:
    """A float in the working type of ``kind``; with ``rounds`` it has what ``kind`` can hold."""
    target = working_type(kind)
    if rounds and target != kind and value.type != kind:
        assert isinstance(kind, AnyFloat)
        value = _added(arith.TruncFOp(value, kind), into)
    return entered(value, kind, into)


def _widened(op: Operation, values: dict[SSAValue, SSAValue], into: Block) -> SSAValue:
    """An operation on short floats, in f32; one on their bits, on their bits."""
    (result,) = op.results
    if isinstance(op, arith.ConstantOp):
        assert isinstance(op.value, FloatAttr)
        number = float(dtype_of(result.type).type(op.value.value.data))
        new: Operation = arith.ConstantOp(FloatAttr(number, working_type(result.type)))  # pyright: ignore
        into.add_op(new)
        return new.results[0]
    bits = isinstance(op, arith.BitcastOp)
    operands = [values.get(v, v) for v in op.operands]
    if bits:
        operands = [left(v, old.type, into) for v, old in zip(operands, op.operands)]
    kind = result.type if bits else working_type(result.type)
    new = type(op).create(
        operands=operands,
        result_types=[kind],
        properties=op.properties.copy(),
        attributes=op.attributes.copy(),
    )
    new.results[0].name_hint = result.name_hint
    new.location = op.location
    into.add_op(new)
    return entered(new.results[0], result.type, into) if bits else new.results[0]
