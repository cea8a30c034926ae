"""The nest of functions of whole rows: scans, and the largest elements in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from xdsl.dialects.builtin import i64
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.dialects.tile import RowFunction
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.shapes import Shape
from kpu_ir.lowering.space import Space, block_space
from kpu_ir.machine import Machine
from kpu_ir.nest.records import Tensor
from kpu_ir.nest.writing import Nest
from kpu_ir.support.types import bits_of


@dataclass(frozen=True)
class Ordered:
    """A scan, or the ``count`` first of each row in order, with their numbers.

    Tensors are rows side by side: outer x row x inner, or outer x row. Rows stand on chip as a
    whole; ``tile`` are the extents of a block.
    """

    arguments: tuple[tuple[Shape, Attribute], ...]
    results: tuple[tuple[Shape, Attribute], ...]
    function: RowFunction
    backward: bool
    exclusive: bool
    kind: ClassVar[str] = "ordered"

    @staticmethod
    def of(func: FuncOp, operations: Sequence[Operation]) -> Ordered | None:
        """One scan or one top-k; None for anything else."""
        op = operations[0] if len(operations) == 1 else None
        if not isinstance(op, kernel.ScanOp | kernel.TopKOp):
            return None
        source, axis = tensor_type(op.source), op.dimension
        shape, kind = source.get_shape(), source.element_type
        outer, row, inner = prod(shape[:axis]), shape[axis], shape[axis + 1 :]
        behind = (prod(inner),) if prod(inner) > 1 else ()

        def laid_out(count: int) -> Shape:
            return (outer, count, *behind)

        given = ((laid_out(row), kind),)
        if isinstance(op, kernel.ScanOp):
            function = RowFunction.ADD if op.kind_name == "add" else RowFunction.MULTIPLY
            return Ordered(given, given, function, bool(op.backward), bool(op.exclusive))
        chosen = laid_out(op.count)
        results = ((chosen, kind), (chosen, i64))
        return Ordered(given, results, RowFunction.TOP, bool(op.smallest), False)

    def default(self, machine: Machine, space: Space | None = None) -> Schedule:
        """Blocks that leave room for rings, in several steps."""
        elements, row = prod(self.arguments[0][0]), self.arguments[0][0][1]
        bits = sum(s[1] * bits_of(kind) for s, kind in (*self.arguments, *self.results))
        fitting = min(machine.l2.bytes, machine.l3.bytes) * 7 // (4 * bits) * row
        return Schedule(tile=self.block(min(fitting, max(256, min(4096, elements // 8)))), defer=2)

    def candidates(self, machine: Machine) -> Space:
        """Blocks of several sizes."""
        shape = self.arguments[0][0]
        moved = sum(prod(s) * bits_of(k) // 8 for s, k in (*self.arguments, *self.results))
        blocks = (self.block(256 << n) for n in range(7))
        return block_space(shape, blocks, moved, machine)

    def block(self, room: int) -> Shape:
        """Rows as a whole, as many as ``room`` elements are, side by side first."""
        outer, row, *inner = self.arguments[0][0]
        left = max(1, room // row)
        wide = [min(n, left) for n in inner]
        return (max(1, min(outer, left // prod(wide))), row, *wide)

    def emit(self, nest: Nest, args: Sequence[Tensor], schedule: Schedule) -> None:
        """Blocks of rows."""
        (shape, kind), *_ = self.arguments
        sizes = [
            n if axis == 1 else min(t, n) for axis, (t, n) in enumerate(zip(schedule.tile, shape))
        ]
        at = [nest.loop(n, t, f"i{axis}") for axis, (n, t) in enumerate(zip(shape, sizes))]
        rows = nest.load(args[0], at, sizes, kind, "rows")
        if self.function is not RowFunction.TOP:
            out = nest.alloc(sizes, kind, "scan")
            nest.row(self.function, rows, None, out, 1, self.backward, self.exclusive)
            nest.store(out, args[1], at)
            return
        sizes[1] = self.results[0][0][1]
        places = nest.alloc(sizes, i64, "places")
        nest.row(RowFunction.TOP, rows, None, places, 1, self.backward)
        chosen = nest.alloc(sizes, kind, "chosen")
        nest.row(RowFunction.TAKE, rows, places, chosen, 1)
        nest.store(chosen, args[1], at)
        nest.store(places, args[2], at)
