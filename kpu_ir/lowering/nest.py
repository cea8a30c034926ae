"""Building loop nests at the ``tile`` level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xdsl.builder import Builder
from xdsl.dialects import arith
from xdsl.dialects.builtin import IndexType
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint

from kpu_ir.dialects import kernel, tile
from kpu_ir.dialects.kernel import scalar_type, tensor_type
from kpu_ir.dialects.tile import Level, TileType
from kpu_ir.scalar.tracing import trace


class Nest:
    """Inserts operations at a point that moves into loops and out of them."""

    def __init__(self, block: Block) -> None:
        """Begin at the end of ``block``."""
        self.builder = Builder(InsertPoint.at_end(block))
        self.stack: list[Builder] = []

    def loop(self, extent: int, step: int, name: str, start: int = 0) -> SSAValue | None:
        """Open a loop over ``range(start, extent, step)``; None (and nothing) where it has one trip
        from 0."""
        if not start and step >= extent:
            self.stack.append(self.builder)
            return None
        op = self.builder.insert(tile.ForOp(start, extent, step))
        op.induction_var.name_hint = name
        self.stack.append(self.builder)
        self.builder = Builder(InsertPoint.at_end(op.body.block))
        return op.induction_var

    def close(self, loops: int = 1) -> None:
        """Leave the innermost loops."""
        for _ in range(loops):
            self.builder = self.stack.pop()

    def load(
        self,
        source: SSAValue,
        indices: Sequence[int | SSAValue | None],
        shape: Sequence[int],
        element: Attribute,
        name: str,
        level: Level = Level.L2,
        keep: Sequence[SSAValue | None] = (),
        permuted: Sequence[int] | None = None,
        low: Sequence[int] | None = None,
        high: Sequence[int] | None = None,
        fill: float = 0.0,
        by: SSAValue | None = None,
        after: SSAValue | None = None,
    ) -> SSAValue:
        """``tile.load``; an index or a kept loop that is None is 0 or absent."""
        kept = [v for v in keep if v is not None]
        op = tile.LoadOp(
            source,
            zeroed(indices),
            TileType.of(shape, element, level),
            kept,
            permuted,
            low,
            high,
            fill,
            by,
            after,
        )
        op.result.name_hint = name
        return self.builder.insert(op).result

    def alloc(
        self,
        shape: Sequence[int],
        element: Attribute,
        name: str,
        level: Level = Level.L2,
        keep: Sequence[SSAValue | None] = (),
    ) -> SSAValue:
        """``tile.alloc``."""
        kept = [v for v in keep if v is not None]
        op = tile.AllocOp(TileType.of(shape, element, level), kept)
        op.result.name_hint = name
        return self.builder.insert(op).result

    def store(
        self,
        source: SSAValue,
        target: SSAValue,
        indices: Sequence[int | SSAValue | None],
        permuted: Sequence[int] | None = None,
        over: Sequence[SSAValue | None] = (),
    ) -> None:
        """``tile.store``; a loop of ``over`` that is None has one trip."""
        last = [v for v in over if v is not None]
        self.builder.insert(tile.StoreOp(source, target, zeroed(indices), permuted, last))

    def plus(self, a: SSAValue | None, b: SSAValue | None) -> SSAValue | None:
        """The sum of two indices; None is 0."""
        if a is None or b is None:
            return b if a is None else a
        return self.builder.insert(arith.AddiOp(a, b)).result

    def map(self, formula: Callable[..., Any], inputs: Sequence[SSAValue], into: SSAValue) -> None:
        """``tile.map`` of a formula of the tiles' elements."""
        types = [SSAValue.get(v, type=TileType).type for v in (*inputs, into)]
        block, _ = trace(formula, [t.element_type for t in types[:-1]], types[-1].element_type)
        last = block.last_op
        assert last is not None
        result = last.operands[0]
        last.detach()
        last.erase()
        block.add_op(tile.YieldOp(result))
        self.builder.insert(tile.MapOp(inputs, into, Region(block)))

    def affine(self, index: SSAValue | None, factor: int = 1, start: int = 0) -> SSAValue | int:
        """``start + factor * index``; an index that is None is that of a loop of one trip: 0."""
        if index is None:
            return start
        for number, neutral, make in ((factor, 1, arith.MuliOp), (start, 0, arith.AddiOp)):
            if number != neutral:
                constant = arith.ConstantOp.from_int_and_width(number, IndexType())
                number_value = self.builder.insert(constant).result
                index = self.builder.insert(make(index, number_value)).result
        return index


def zeroed(indices: Sequence[int | SSAValue | None]) -> list[int | SSAValue]:
    """Indices in which the variable of a loop of one trip is 0."""
    return [0 if i is None else i for i in indices]


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
