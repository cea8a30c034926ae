"""The nests that only copy: slices, concatenations, padding, rows by index. Data goes through L3
and no further."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.dialects.kernel.movement import numbers
from kpu_ir.dialects.tile import Level
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.shapes import Shape
from kpu_ir.lowering.space import Space, grid
from kpu_ir.machine import Machine
from kpu_ir.nest.records import ALIGNMENT, Tensor
from kpu_ir.nest.writing import Nest
from kpu_ir.support.types import bits_of


@dataclass(frozen=True)
class Piece:
    """One block of the result: where it comes from, and where it goes.

    Dimension by dimension: the source begins at ``starts`` and goes on by ``steps``; ``low`` and
    ``high`` elements around the source read as ``fill``; the block begins at ``at`` in the result
    and has ``extents``. ``by`` is the argument that lists the indices of dimension 1.
    """

    source: int
    starts: Shape
    steps: Shape
    low: Shape
    high: Shape
    at: Shape
    extents: Shape
    fill: float = 0.0
    by: int | None = None


@dataclass(frozen=True)
class Copying:
    """``out`` is put together from pieces of the arguments."""

    arguments: tuple[tuple[Shape, Attribute], ...]
    results: tuple[tuple[Shape, Attribute], ...]
    pieces: tuple[Piece, ...]
    kind: ClassVar[str] = "movement"

    @staticmethod
    def of(func: FuncOp, operations: Sequence[Operation]) -> Copying | None:
        """One slice, concatenation, padding or gather; None for anything else."""
        if len(operations) != 1:
            return None
        (op,) = operations
        args = list(func.body.block.args)
        seen = {a: tuple(tensor_type(a).get_shape()) for a in args}
        out = tuple(tensor_type(op.results[0]).get_shape())
        rank = len(out)
        zeros, ones = (0,) * rank, (1,) * rank
        match op:
            case kernel.SliceOp():
                starts, steps = numbers(op.starts), numbers(op.steps)
                pieces = [Piece(0, starts, steps, zeros, zeros, zeros, out)]
            case kernel.PadOp():
                low, high = numbers(op.low), numbers(op.high)
                fill = float(op.value.value.data)
                pieces = [Piece(0, zeros, ones, low, high, zeros, out, fill)]
            case kernel.ConcatOp():
                axis, end, pieces = op.axis.value.data, 0, []
                for value in op.inputs:
                    at = tuple(end if a == axis else 0 for a in range(rank))
                    index = next(i for i, a in enumerate(args) if a is value)
                    pieces.append(Piece(index, zeros, ones, zeros, zeros, at, seen[args[index]]))
                    end += seen[args[index]][axis]
            case kernel.GatherOp():
                table, axis = tuple(tensor_type(op.table).get_shape()), op.axis.value.data
                count = prod(tensor_type(op.indices).get_shape())
                outer, inner = prod(table[:axis]), prod(table[axis + 1 :])
                seen[args[0]] = (outer, table[axis], inner)
                seen[args[-1]] = (count,)
                out = (outer, count, inner)
                three = (0, 0, 0)
                pieces = [Piece(0, three, (1, 1, 1), three, three, three, out, by=len(args) - 1)]
                if len(args) == 1:
                    return None  # a table of its own indices
            case _:
                return None
        kinds = {a: tensor_type(a).element_type for a in args}
        result = tensor_type(op.results[0]).element_type
        return Copying(
            tuple((seen[a] or (1,), kinds[a]) for a in args), ((out, result),), tuple(pieces)
        )

    def default(self, machine: Machine, space: Space | None = None) -> Schedule:
        """Blocks of a size that leaves room for rings, one for each piece; ``tile`` holds the number of
        elements."""
        slot = machine.l3.bytes // (1 + 3 * len(self.pieces)) // ALIGNMENT * ALIGNMENT
        room = slot * 8 // bits_of(self.results[0][1])
        return Schedule(tile=(max(1, min(room, 8192)),), l3_depth=3, defer=2)

    def candidates(self, machine: Machine) -> Space:
        """Blocks of several sizes."""
        elements = prod(self.results[0][0])
        moved = 2 * elements * bits_of(self.results[0][1]) // 8
        least = moved // machine.bandwidth["dma"]
        block, depth = grid([256 << n for n in range(7, -1, -1)], (2, 3, 4))
        defer = np.maximum(2, depth - 1)
        return Space.of((elements,), least, moved, least, (block,), l3_depth=depth, defer=defer)

    def emit(self, nest: Nest, args: Sequence[Tensor], schedule: Schedule) -> None:
        """One nest a piece."""
        for piece in self.pieces:
            self._piece(nest, args, piece, schedule.tile[0])

    def _piece(self, nest: Nest, args: Sequence[Tensor], piece: Piece, room: int) -> None:
        source, element = self.arguments[piece.source]
        sizes: list[int] = []
        for axis in reversed(range(len(piece.extents))):
            n = piece.extents[axis]
            listed = piece.by is not None and axis == 1
            whole = (
                listed
                or piece.starts[axis] + n == source[axis] + piece.low[axis] + piece.high[axis]
            )
            sizes.insert(0, 1 if piece.steps[axis] != 1 else _share(n, room, whole))
            room = max(1, room // sizes[0])
        at = [nest.loop(n, t, f"i{axis}") for axis, (n, t) in enumerate(zip(piece.extents, sizes))]

        where = [nest.affine(i, s, a) for i, s, a in zip(at, piece.steps, piece.starts)]
        by = None if piece.by is None else args[piece.by]
        moved = nest.load(
            args[piece.source],
            where,
            sizes,
            element,
            "block",
            Level.L3,
            low=piece.low,
            high=piece.high,
            fill=piece.fill,
            by=by,
        )
        nest.store(moved, args[-1], [nest.affine(i, 1, a) for i, a in zip(at, piece.at)])
        nest.close(len(at))


def _share(n: int, room: int, whole: bool) -> int:
    """A tile's extent: any, where the source ends with the block; else one that divides it."""
    most = max(1, min(n, room))
    if whole or most == n:
        return most
    return next(t for t in range(most, 0, -1) if n % t == 0)
