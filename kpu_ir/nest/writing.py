"""How a tiling strategy writes its nest, at the ``tile`` level."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects import arith
from xdsl.ir import Attribute, Region

from kpu_ir.dialects.tile import Dataflow, Level, Reduction, RowFunction, Window
from kpu_ir.nest import records
from kpu_ir.nest.records import Affine, Function, Index, Tensor, Tile

Indices = Sequence[int | Index | None]
Loops = Sequence[Index | None]


class Nest:
    """Writes operations at a point that moves into loops and out of them.

    An index, or the variable of a loop, that is None is that of a loop of one trip: 0. A scalar body
    is a region whose block takes one scalar a tile and yields one; it stays its owner's.
    """

    def __init__(self, name: str, tensors: Sequence[Tensor], where: str | None = None) -> None:
        """An empty function of ``tensors``; ``where``: its place, for messages."""
        self.function = Function(name, where)
        self.function.tensors.extend(tensors)
        self.stack: list[bool] = []

    def loop(self, extent: int, step: int, name: str, start: int = 0) -> Index | None:
        """Open a loop over ``range(start, extent, step)``; None (and nothing) where it has one trip
        from 0."""
        opens = bool(start) or step < extent
        self.stack.append(opens)
        return self.function.enter(range(start, extent, step), name).index if opens else None

    def close(self, loops: int = 1) -> None:
        """Leave the innermost loops."""
        for _ in range(loops):
            if self.stack.pop():
                self.function.leave()

    def affine(self, index: Index | None, factor: int = 1, start: int = 0) -> Index | int:
        """``start + factor * index``."""
        if index is None:
            return start
        if factor != 1:
            index = self._made(arith.MuliOp, _of(index).scaled(factor), index, factor)
        if start:
            of = _of(index)
            index = self._made(arith.AddiOp, Affine(of.const + start, of.terms), index, start)
        return index

    def plus(self, a: Index | None, b: Index | None) -> Index | None:
        """The sum of two indices."""
        if a is None or b is None:
            return b if a is None else a
        return self._made(arith.AddiOp, _of(a) + _of(b), a, b)

    def _made(
        self, make: type[arith.AddiOp | arith.MuliOp], affine: Affine, *operands: Index | int
    ) -> Index:
        index = Index(affine, operands=operands, make=make)
        self.function.here[-1].append(index)
        return index

    def load(
        self,
        source: Tensor | Tile,
        indices: Indices,
        shape: Sequence[int],
        element: Attribute,
        name: str,
        level: Level = Level.L2,
        reuse: Loops = (),
        permuted: Sequence[int] | None = None,
        low: Sequence[int] | None = None,
        high: Sequence[int] | None = None,
        fill: float = 0.0,
        by: Tensor | None = None,
        after: Index | None = None,
    ) -> Tile:
        """``tile.load``."""
        tile, at = Tile(name, tuple(shape), element, level, after is not None), _zeroed(indices)
        axes, low, high = (None if v is None else tuple(v) for v in (permuted, low, high))
        loops = _present(reuse)
        self.function.add(records.Load(source, at, tile, loops, axes, low, high, fill, by, after))
        return tile

    def alloc(
        self,
        shape: Sequence[int],
        element: Attribute,
        name: str,
        level: Level = Level.L2,
        reuse: Loops = (),
    ) -> Tile:
        """``tile.alloc``."""
        tile = Tile(name, tuple(shape), element, level, True)
        self.function.add(records.Alloc(tile, _present(reuse)))
        return tile

    def store(
        self,
        source: Tile,
        target: Tensor | Tile,
        indices: Indices,
        permuted: Sequence[int] | None = None,
        over: Loops = (),
    ) -> None:
        """``tile.store``."""
        axes = None if permuted is None else tuple(permuted)
        self.function.add(records.Store(source, target, _zeroed(indices), axes, _present(over)))

    def matmul(
        self,
        dataflow: Dataflow,
        lhs: Tile,
        rhs: Tile,
        into: Tile,
        over: Loops = (),
        extra: Sequence[Tile] = (),
        epilogue: Region | None = None,
        window: Window | None = None,
        sums: Tile | None = None,
        each: bool = False,
    ) -> None:
        """``tile.matmul``. ``each`` says nothing where there is one product."""
        loops = _present(over)
        self.function.add(
            records.Matmul(
                dataflow, lhs, rhs, into, loops, extra, epilogue, window, sums, each and bool(loops)
            )
        )

    def map(self, inputs: Sequence[Tile], into: Tile, body: Region) -> None:
        """``tile.map``."""
        self.function.add(records.Map(inputs, into, body))

    def reduce(
        self, kind: Reduction, source: Tile, into: Tile, axes: Sequence[int], over: Loops = ()
    ) -> None:
        """``tile.reduce``."""
        self.function.add(records.Reduce(kind, source, into, tuple(axes), _present(over)))

    def row(
        self,
        function: RowFunction,
        source: Tile,
        by: Tile | None,
        into: Tile,
        axis: int,
        backward: bool = False,
        exclusive: bool = False,
    ) -> None:
        """``tile.row``."""
        made = records.Rowwise(function, source, by, into, axis, backward, exclusive)
        self.function.add(made)

    def window(
        self,
        kind: Reduction,
        window: Window,
        source: Tile,
        weights: Tile | None,
        into: Tile,
        extra: Sequence[Tile] = (),
        epilogue: Region | None = None,
    ) -> None:
        """``tile.window``."""
        self.function.add(records.Windowed(kind, window, source, weights, into, extra, epilogue))


def _of(index: Index) -> Affine:
    assert index.affine is not None
    return index.affine


def _zeroed(indices: Indices) -> list[int | Index]:
    return [0 if i is None else i for i in indices]


def _present(loops: Loops) -> list[Index]:
    return [i for i in loops if i is not None] if loops else []
