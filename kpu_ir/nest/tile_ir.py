"""Nests as ``tile`` IR."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.builder import Builder
from xdsl.dialects import arith
from xdsl.dialects.builtin import IndexType
from xdsl.ir import Attribute, Block, Region, SSAValue
from xdsl.rewriter import InsertPoint

from kpu_ir.dialects import tile
from kpu_ir.dialects.tile import Dataflow, Level, Reduction, TileType, Window, WindowAttr
from kpu_ir.nest.interface import Nest, present


class TileIr(Nest[SSAValue]):
    """Inserts operations of ``tile`` into a block."""

    def __init__(self, block: Block) -> None:
        """Begin at the end of ``block``."""
        self.builder = Builder(InsertPoint.at_end(block))
        self.stack: list[Builder] = []

    def loop(self, extent: int, step: int, name: str, start: int = 0) -> SSAValue | None:
        """``tile.for``."""
        self.stack.append(self.builder)
        if not start and step >= extent:
            return None
        op = self.builder.insert(tile.ForOp(start, extent, step))
        op.induction_var.name_hint = name
        self.builder = Builder(InsertPoint.at_end(op.body.block))
        return op.induction_var

    def close(self, loops: int = 1) -> None:
        """Back to where the loops stand."""
        for _ in range(loops):
            self.builder = self.stack.pop()

    def affine(self, index: SSAValue | None, factor: int = 1, start: int = 0) -> SSAValue | int:
        """``arith`` on constants."""
        if index is None:
            return start
        for number, neutral, make in ((factor, 1, arith.MuliOp), (start, 0, arith.AddiOp)):
            if number != neutral:
                constant = arith.ConstantOp.from_int_and_width(number, IndexType())
                number_value = self.builder.insert(constant).result
                index = self.builder.insert(make(index, number_value)).result
        return index

    def plus(self, a: SSAValue | None, b: SSAValue | None) -> SSAValue | None:
        """``arith.addi``."""
        if a is None or b is None:
            return b if a is None else a
        return self.builder.insert(arith.AddiOp(a, b)).result

    def load(
        self,
        source: SSAValue,
        indices: Sequence[int | SSAValue | None],
        shape: Sequence[int],
        element: Attribute,
        name: str,
        level: Level = Level.L2,
        reuse: Sequence[SSAValue | None] = (),
        permuted: Sequence[int] | None = None,
        low: Sequence[int] | None = None,
        high: Sequence[int] | None = None,
        fill: float = 0.0,
        by: SSAValue | None = None,
        after: SSAValue | None = None,
    ) -> SSAValue:
        """``tile.load``."""
        type = TileType.of(shape, element, level)
        reused = present(reuse)
        at = _zeroed(indices)
        op = tile.LoadOp(source, at, type, reused, permuted, low, high, fill, by, after)
        op.result.name_hint = name
        return self.builder.insert(op).result

    def alloc(
        self,
        shape: Sequence[int],
        element: Attribute,
        name: str,
        level: Level = Level.L2,
        reuse: Sequence[SSAValue | None] = (),
    ) -> SSAValue:
        """``tile.alloc``."""
        op = tile.AllocOp(TileType.of(shape, element, level), present(reuse))
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
        """``tile.store``."""
        op = tile.StoreOp(source, target, _zeroed(indices), permuted, present(over))
        self.builder.insert(op)

    def matmul(
        self,
        dataflow: Dataflow,
        lhs: SSAValue,
        rhs: SSAValue,
        into: SSAValue,
        over: Sequence[SSAValue | None] = (),
        extra: Sequence[SSAValue] = (),
        epilogue: Region | None = None,
        window: Window | None = None,
    ) -> None:
        """``tile.matmul``."""
        body, shape = _copied(epilogue), None if window is None else _attribute(window)
        op = tile.MatmulOp(dataflow, lhs, rhs, into, present(over), extra, body, shape)
        self.builder.insert(op)

    def map(self, inputs: Sequence[SSAValue], into: SSAValue, body: Region) -> None:
        """``tile.map``."""
        self.builder.insert(tile.MapOp(inputs, into, body.clone()))

    def reduce(
        self,
        reduction: Reduction,
        source: SSAValue,
        into: SSAValue,
        axes: Sequence[int],
        over: Sequence[SSAValue | None] = (),
    ) -> None:
        """``tile.reduce``."""
        self.builder.insert(tile.ReduceOp(reduction, source, into, axes, present(over)))

    def window(
        self,
        reduction: Reduction,
        window: Window,
        source: SSAValue,
        weights: SSAValue | None,
        into: SSAValue,
        extra: Sequence[SSAValue] = (),
        epilogue: Region | None = None,
    ) -> None:
        """``tile.window``."""
        body = _copied(epilogue)
        op = tile.WindowOp(reduction, _attribute(window), source, weights, into, extra, body)
        self.builder.insert(op)


def _zeroed(indices: Sequence[int | SSAValue | None]) -> list[int | SSAValue]:
    """Indices in which the variable of a loop of one trip is 0."""
    return [0 if i is None else i for i in indices]


def _copied(body: Region | None) -> Region | None:
    return None if body is None else body.clone()


def _attribute(window: Window) -> WindowAttr:
    return WindowAttr.of(window.kernel, window.strides, window.dilations)
