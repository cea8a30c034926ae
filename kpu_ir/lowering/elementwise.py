"""The nest of elementwise functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Block, Operation, SSAValue

from kpu_ir.dialects import kernel, tile
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.lowering.nest import Nest, outside_inputs, scalar_region
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.shapes import Shape, aligned, collapse, merged
from kpu_ir.lowering.space import Candidate
from kpu_ir.machine import Machine
from kpu_ir.types import bits_of


@dataclass(frozen=True)
class Elementwise:
    """``out[...] = body(inputs[...]...)``: maps of one shape in a row, on dimensions merged where
    possible."""

    arguments: tuple[tuple[Shape, Attribute], ...]
    results: tuple[tuple[Shape, Attribute], ...]
    maps: tuple[kernel.MapOp, ...]
    inputs: tuple[int, ...]
    kind: ClassVar[str] = "elementwise"

    @staticmethod
    def of(func: FuncOp, operations: Sequence[Operation]) -> Elementwise | None:
        """Maps of one shape; None for anything else."""
        maps = [op for op in operations if isinstance(op, kernel.MapOp)]
        if not maps or len(maps) != len(operations):
            return None
        shape = maps[-1].result.type.get_shape()
        if any(m.result.type.get_shape() != shape for m in maps):
            return None
        args = list(func.body.block.args)
        rank = max(1, len(shape))
        shapes = [aligned(tensor_type(a).get_shape(), rank) for a in args]
        out = aligned(shape, rank)
        groups = collapse([out, *shapes])
        kinds = [tensor_type(a).element_type for a in args]
        return Elementwise(
            tuple((merged(s, groups), kind) for s, kind in zip(shapes, kinds)),
            ((merged(out, groups), maps[-1].result.type.element_type),),
            tuple(maps),
            tuple(args.index(v) for v in outside_inputs(maps, [])),
        )

    def default(self, machine: Machine) -> Schedule:
        """Blocks of whole inner dimensions, of a size that leaves room for rings of two."""
        shape = self.results[0][0]
        kinds = [self.results[0][1], *(self.arguments[p][1] for p in self.inputs)]
        widest = max(bits_of(kind) for kind in kinds)
        room = min(machine.l2.bytes, machine.l3.bytes) * 8 // (4 * len(kinds) * widest)
        room = min(room, max(256, prod(shape) // 8), 8192)
        return Schedule(tile=block_of(shape, room))

    def candidates(self, machine: Machine) -> list[Candidate]:
        """Blocks of several sizes, with rings of two to four."""
        shape = self.results[0][0]
        moved = sum(prod(s) * bits_of(kind) // 8 for s, kind in (*self.arguments, *self.results))
        least = moved // machine.bandwidth["dma"]
        blocks = dict.fromkeys(block_of(shape, 256 << n) for n in range(8))
        return [
            Candidate(
                Schedule(tile=block, depth=depth, late=late), least, moved, least + prod(block)
            )
            for block in blocks
            for depth, late in ((2, 2), (3, 2), (4, 3))
        ]

    def emit(self, block: Block, schedule: Schedule) -> None:
        """The nest: one loop a dimension."""
        args = list(block.args)
        out_shape, out_type = self.results[0]
        sizes = tuple(min(t, n) for t, n in zip(schedule.tile, out_shape))
        nest = Nest(block)
        at = [nest.loop(n, t, f"i{axis}") for axis, (n, t) in enumerate(zip(out_shape, sizes))]
        loaded: list[SSAValue] = []
        for position in self.inputs:
            shape, kind = self.arguments[position]
            index = [i if n > 1 else None for i, n in zip(at, shape)]
            size = tuple(t if n > 1 else 1 for t, n in zip(sizes, shape))
            loaded.append(nest.load(args[position], index, size, kind, "in"))
        out = nest.alloc(sizes, out_type, "out")
        inputs = outside_inputs(self.maps, [])
        kinds = [self.arguments[p][1] for p in self.inputs]
        nest.builder.insert(tile.MapOp(loaded, out, scalar_region(self.maps, inputs, kinds)))
        nest.store(out, args[-1], at)


def block_of(shape: Shape, room: int) -> Shape:
    """The largest block of at most ``room`` elements that takes inner dimensions whole first.

    >>> block_of((100, 64), 1000)
    (15, 64)
    """
    result: list[int] = []
    for n in reversed(shape):
        take = max(1, min(n, room))
        result.append(take)
        room //= take
    return tuple(reversed(result))
