"""Scalar bodies of nests: what a kernel's maps and formulas compute, made once a kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from kpu_ir.dialects import kernel, tile
from kpu_ir.dialects.kernel import scalar_type, tensor_type
from kpu_ir.scalar.tracing import trace


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


def scalar_region(
    maps: Sequence[kernel.MapOp], inputs: Sequence[SSAValue], elements: Sequence[Attribute]
) -> Region:
    """The bodies of maps one after the other as one scalar body of ``inputs`` (tensors), ending in
    ``tile.yield``."""
    block = Block(arg_types=[scalar_type(e) for e in elements])
    scalars: dict[SSAValue, SSAValue] = dict(zip(inputs, block.args))
    for op in maps:
        mapper: dict[SSAValue, SSAValue] = {
            arg: scalars[value] for arg, value in zip(op.body.block.args, op.inputs)
        }
        *body, last = op.body.block.ops
        for one in body:
            block.add_op(one.clone(mapper))
        result = last.operands[0]
        scalars[op.result] = mapper.get(result, result)
    block.add_op(tile.YieldOp(scalars[maps[-1].result]))
    return Region(block)


def epilogue_region(
    product: SSAValue, maps: Sequence[kernel.MapOp], extra: Sequence[Attribute]
) -> Region | None:
    """The bodies of the maps after a product as its epilogue, None where there are none.

    ``extra``: the element types of what the maps read besides, in order.
    """
    if not maps:
        return None
    inputs = [product, *outside_inputs(maps, [product])]
    return scalar_region(maps, inputs, [tensor_type(product).element_type, *extra])


def outside_inputs(maps: Sequence[Operation], produced: Sequence[SSAValue]) -> list[SSAValue]:
    """What maps read from outside, each once, in order."""
    known = {*produced, *(r for op in maps for r in op.results)}
    found: dict[SSAValue, None] = {}
    for op in maps:
        for value in op.operands:
            if value not in known:
                found[value] = None
    return list(found)
