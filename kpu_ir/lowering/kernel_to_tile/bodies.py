"""Scalar bodies of nests: what a kernel's maps and formulas compute, made once a kernel.

Inside a kernel short floats are f32; they are rounded where a tile of them is written
(``scalar.widening``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xdsl.dialects import arith
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from kpu_ir.dialects import kernel, tile
from kpu_ir.dialects.kernel import scalar_type, tensor_type
from kpu_ir.scalar.tracing import trace
from kpu_ir.scalar.widening import entered, inlined, left
from kpu_ir.support.types import accumulator_type


def formula_region(
    formula: Callable[..., Any], inputs: Sequence[Attribute], out: Attribute
) -> Region:
    """A formula of elements of these types as a scalar body, ending in ``tile.yield``."""
    block, _ = trace(formula, inputs, out)
    last = block.last_op
    assert last is not None
    result = last.operands[0]
    last.detach()
    last.erase()
    block.add_op(tile.YieldOp(result))
    return Region(block)


def copying_region(source: Attribute, kind: Attribute, out: Attribute) -> Region:
    """Elements of tiles of ``source`` that stand for ``kind`` into tiles of ``out``: rounded, where
    that is shorter."""
    block = Block(arg_types=[scalar_type(source)])
    value = entered(block.args[0], scalar_type(kind), block, source)
    block.add_op(tile.YieldOp(left(value, scalar_type(out), block)))
    return Region(block)


def scalar_region(
    maps: Sequence[kernel.MapOp],
    inputs: Sequence[SSAValue],
    elements: Sequence[Attribute],
    out: Attribute | None = None,
) -> Region:
    """The bodies of maps one after the other as one scalar body of ``inputs`` (tensors), ending in
    ``tile.yield``.

    ``elements`` are those of the inputs' tiles, ``out`` that of the result's (None: the last map's).
    """
    block = Block(arg_types=[scalar_type(e) for e in elements])
    scalars: dict[SSAValue, SSAValue] = {}
    for value, arg, held in zip(inputs, block.args, elements):
        kind = scalar_type(tensor_type(value).element_type)
        scalars[value] = entered(arg, kind, block, held)
    for op in maps:
        scalars[op.result] = inlined(op.body.block, [scalars[v] for v in op.inputs], block)
    final = maps[-1].result
    kind = scalar_type(final.type.element_type if out is None else out)
    block.add_op(tile.YieldOp(left(scalars[final], kind, block)))
    for op in reversed(list(block.ops)):  # conversions that nothing needs
        if isinstance(op, arith.ExtFOp | arith.TruncFOp) and not op.result.uses:
            op.detach()
            op.erase()
    return Region(block)


def sum_type(product: SSAValue) -> Attribute:
    """What the sums of a product, or of windows, are."""
    return accumulator_type(tensor_type(product).element_type)


def epilogue_region(
    product: SSAValue,
    maps: Sequence[kernel.MapOp],
    extra: Sequence[Attribute],
    out: Attribute | None = None,
) -> Region | None:
    """The bodies of the maps after a product as its epilogue, None where there are none: from the
    finished sum to an element of ``out`` (None: the last map's).

    ``extra``: the element types of what the maps read besides, in order.
    """
    if not maps:
        return None
    inputs = [product, *outside_inputs(maps, [product])]
    return scalar_region(maps, inputs, [sum_type(product), *extra], out)


def outside_inputs(maps: Sequence[Operation], produced: Sequence[SSAValue]) -> list[SSAValue]:
    """What maps read from outside, each once, in order."""
    known = {*produced, *(r for op in maps for r in op.results)}
    found: dict[SSAValue, None] = {}
    for op in maps:
        for value in op.operands:
            if value not in known:
                found[value] = None
    return list(found)
