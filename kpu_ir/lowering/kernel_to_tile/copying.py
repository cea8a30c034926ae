"""The nests that only copy: slices, concatenations, padding, rows by index. Data goes through L3
and no further, unless short runs are packed on chip (``packing``)."""

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
from kpu_ir.lowering.kernel_to_tile.packing import JOINED, Joined, Picked, share
from kpu_ir.lowering.schedule import ATTRIBUTE, Schedule
from kpu_ir.lowering.shapes import Shape
from kpu_ir.lowering.space import LAYOUTS, Space, grid
from kpu_ir.machine import Machine
from kpu_ir.nest.records import ALIGNMENT, Tensor
from kpu_ir.nest.writing import Nest
from kpu_ir.support.errors import KpuError
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
    """``out`` is put together from pieces of the arguments. ``packing``: how that is done by whole rows
    (``layout = "packed"``), where it can be."""

    arguments: tuple[tuple[Shape, Attribute], ...]
    results: tuple[tuple[Shape, Attribute], ...]
    pieces: tuple[Piece, ...]
    packing: Picked | Joined | None = None
    kind: ClassVar[str] = "copying"

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
        element, packing = tensor_type(op.results[0]).element_type, None
        match op:
            case kernel.SliceOp():
                starts, steps = numbers(op.starts), numbers(op.steps)
                pieces = [Piece(0, starts, steps, zeros, zeros, zeros, out)]
                if bits_of(element) >= 8 and set(steps) == {1}:
                    packing = Picked.of(seen[args[0]], starts, out, element)
                if packing is not None:
                    seen[args[0]], out, starts = packing.shape, packing.extents, packing.starts
                    zeros, ones = (0,) * len(out), (1,) * len(out)
                    pieces = [Piece(0, starts, ones, zeros, zeros, zeros, out)]
            case kernel.PadOp():
                low, high = numbers(op.low), numbers(op.high)
                fill = float(op.value.value.data)
                pieces = [Piece(0, zeros, ones, low, high, zeros, out, fill)]
            case kernel.ConcatOp():
                axis, end, pieces = op.axis.value.data, 0, list[Piece]()
                rows, inner = prod(out[:axis]), prod(out[axis + 1 :])
                seen = {a: (rows, shape[axis] * inner) for a, shape in seen.items()}
                out, two = (rows, out[axis] * inner), (0, 0)
                for value in op.inputs:
                    index = next(i for i, a in enumerate(args) if a is value)
                    shape = seen[args[index]]
                    pieces.append(Piece(index, two, (1, 1), two, two, (0, end), shape))
                    end += shape[1]
                if bits_of(element) >= 8 and len(pieces) <= JOINED:
                    columns = tuple(p.extents[1] for p in pieces)
                    packing = Joined(rows, columns, tuple(p.source for p in pieces), element)
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
        types = tuple((seen[a] or (1,), kinds[a]) for a in args)
        return Copying(types, ((out, element),), tuple(pieces), packing)

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
        rings = {"l3_depth": depth, "defer": defer}
        plain = Space.of((elements,), least, moved, least, (block,), **rings)
        if self.packing is None:
            return plain
        by_runs, by_rows = self.packing.cycles(machine)
        if by_rows >= by_runs:
            return plain
        plain = Space.of((elements,), least, moved, by_runs, (block,), layout=0, **rings)
        number, moved = LAYOUTS.index("packed"), self.packing.moved()
        packed = Space.of((elements,), least, moved, by_rows, (block,), layout=number, **rings)
        return Space.joined([packed, plain])

    def emit(self, nest: Nest, args: Sequence[Tensor], schedule: Schedule) -> None:
        """One nest a piece, or one by whole rows."""
        if schedule.layout:
            if self.packing is None or schedule.layout != "packed":
                raise KpuError(
                    f"{ATTRIBUTE}: layout = '{schedule.layout}' says nothing here",
                    nest.function.where,
                    "slices and concatenations along one dimension may be 'packed'",
                )
            self.packing.emit(nest, args, schedule.tile[0])
            return
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
            sizes.insert(0, 1 if piece.steps[axis] != 1 else share(n, room, whole))
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
