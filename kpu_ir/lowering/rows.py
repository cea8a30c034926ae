"""The nest of elementwise functions and reductions: softmax, norms, sums, activations, all of one
kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from kpu_ir.dialects import kernel, tile
from kpu_ir.dialects.kernel import scalar_type, tensor_type
from kpu_ir.dialects.tile import Reduction
from kpu_ir.lowering.nest import Nest, outside_inputs, scalar_region
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.shapes import Shape, aligned, collapse, merged
from kpu_ir.lowering.space import Space, block_space
from kpu_ir.machine import Machine
from kpu_ir.support.types import bits_of


@dataclass(frozen=True)
class Rows:
    """Maps and reductions along the same dimensions, over one space of ``full`` extents.

    Every tensor has the full extent or 1 in each dimension. Where something after a reduction reads
    the whole rows again (softmax, norms), rows stand on chip as a whole; where nothing does, they
    may be reduced piece by piece.
    """

    arguments: tuple[tuple[Shape, Attribute], ...]
    results: tuple[tuple[Shape, Attribute], ...]
    full: Shape
    reduced: tuple[int, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[SSAValue, ...]
    inputs: tuple[SSAValue, ...]
    shapes: dict[SSAValue, Shape]
    streams: bool
    kind: ClassVar[str] = "rows"

    @staticmethod
    def of(func: FuncOp, operations: Sequence[Operation]) -> Rows | None:
        """Maps and reductions of one space; None for anything else."""
        if not operations or not all(
            isinstance(op, kernel.MapOp | kernel.ReduceOp | kernel.BroadcastOp) for op in operations
        ):
            return None
        args, last = list(func.body.block.args), func.body.block.last_op
        assert last is not None
        values: list[SSAValue] = [*args, *(r for op in operations for r in op.results)]
        rank = max(1, *(len(tensor_type(v).get_shape()) for v in values))
        shapes = {v: aligned(tensor_type(v).get_shape(), rank) for v in values}
        full = tuple(max(s[axis] for s in shapes.values()) for axis in range(rank))
        if any(n not in (1, f) for s in shapes.values() for n, f in zip(s, full)):
            return None
        axes: set[tuple[int, ...]] = set()
        for op in operations:
            if isinstance(op, kernel.ReduceOp):
                lead = rank - len(tensor_type(op.operands[0]).get_shape())
                # Dimensions of extent 1 are not reduced.
                axes.add(tuple(sorted(a + lead for a in op.axes_list if full[a + lead] > 1)))
        axes.discard(())
        if len(axes) > 1:
            return None
        reduced = next(iter(axes), ())
        marker = tuple(1 if axis in reduced else n for axis, n in enumerate(full))
        groups = collapse([full, marker, *shapes.values()])
        flat = {v: merged(s, groups) for v, s in shapes.items()}
        reduced = tuple(
            i
            for i, (begin, end) in enumerate(groups)
            if any(a in reduced for a in range(begin, end))
        )
        whole = merged(full, groups)
        outputs = tuple(last.operands)
        kinds = {v: tensor_type(v).element_type for v in values}
        return Rows(
            tuple((flat[a], kinds[a]) for a in args),
            tuple((flat[v], kinds[v]) for v in outputs),
            whole,
            reduced,
            tuple(operations),
            outputs,
            tuple(args),
            flat,
            _streams(operations, outputs, flat, whole, reduced),
        )

    def default(self, machine: Machine, space: Space | None = None) -> Schedule:
        """Blocks that leave room for rings; rows whole where they must be."""
        kinds = [kind for _, kind in (*self.arguments, *self.results)]
        widest = max(bits_of(kind) for kind in kinds)
        slots = 2 * len(kinds) + len(self.operations)
        room = min(machine.l2.bytes, machine.l3.bytes) * 8 // (slots * widest)
        return Schedule(tile=self.block(min(room, max(256, prod(self.full) // 8), 8192)), defer=2)

    def candidates(self, machine: Machine) -> Space:
        """Blocks of several sizes, with rings of two to four."""
        moved = sum(prod(s) * bits_of(kind) // 8 for s, kind in (*self.arguments, *self.results))
        blocks = (self.block(256 << n) for n in range(8))
        return block_space(blocks, moved, machine, out_depth=2)

    def block(self, room: int) -> Shape:
        """A block of about ``room`` elements: reduced dimensions first (whole, unless they may be
        streamed), then inner dimensions."""
        extents = [1] * len(self.full)
        order = [
            *reversed(self.reduced),
            *(i for i in reversed(range(len(self.full))) if i not in self.reduced),
        ]
        for axis in order:
            n = self.full[axis]
            whole = axis in self.reduced and not self.streams
            extents[axis] = n if whole else max(1, min(n, room))
            if n > 1 and all(shape[axis] == 1 for shape, _ in self.arguments):
                # Repeated along this dimension: nothing is clipped at its end, so tiles divide it.
                extents[axis] = next(t for t in range(extents[axis], 0, -1) if n % t == 0)
            room = max(1, room // extents[axis])
        return tuple(extents)

    def emit(self, block: Block, schedule: Schedule) -> None:
        """The nest: one loop a dimension, reduced ones innermost; then what comes after the
        reductions."""
        args: dict[SSAValue, SSAValue] = dict(zip(self.inputs, block.args))
        sizes = tuple(min(t, n) for t, n in zip(schedule.tile, self.full))
        if not self.streams:
            sizes = tuple(
                n if axis in self.reduced else t
                for axis, (n, t) in enumerate(zip(self.full, sizes))
            )
        nest = Nest(block)
        at: list[SSAValue | None] = [None] * len(self.full)
        free = [axis for axis in range(len(self.full)) if axis not in self.reduced]
        for axis in free:
            at[axis] = nest.loop(self.full[axis], sizes[axis], f"i{axis}")
        over = [axis for axis in self.reduced if sizes[axis] < self.full[axis]]
        tiles: dict[SSAValue, SSAValue] = {}
        before, after = self._split() if over else (list(self.operations), [])
        for op in before if over else []:
            if isinstance(op, kernel.ReduceOp):
                tiles[op.results[0]] = self._alloc(nest, op.results[0], sizes)
        for axis in over:
            at[axis] = nest.loop(self.full[axis], sizes[axis], f"r{axis}")
        trips = [v for axis in over if (v := at[axis]) is not None]
        for op in before:
            self._operation(nest, op, tiles, args, at, sizes, trips)
        for axis in over:
            nest.close()
            at[axis] = None
        for op in after:
            self._operation(nest, op, tiles, args, at, sizes, [])
        for value, target in zip(self.outputs, block.args[len(self.inputs) :]):
            source = (
                tiles[value] if value in tiles else self._load(nest, value, tiles, args, at, sizes)
            )
            index = [i if n > 1 else None for i, n in zip(at, self.shapes[value])]
            nest.store(source, target, index)

    def _split(self) -> tuple[list[Operation], list[Operation]]:
        """Operations inside the loops over reduced dimensions, and those after them."""
        after: list[Operation] = []
        late: set[SSAValue] = {
            op.results[0] for op in self.operations if isinstance(op, kernel.ReduceOp)
        }
        before: list[Operation] = []
        for op in self.operations:
            if not isinstance(op, kernel.ReduceOp) and any(v in late for v in op.operands):
                late.update(op.results)
                after.append(op)
            else:
                before.append(op)
        return before, after

    def _size(self, value: SSAValue, sizes: Shape) -> Shape:
        return tuple(t if n > 1 else 1 for t, n in zip(sizes, self.shapes[value]))

    def _alloc(self, nest: Nest, value: SSAValue, sizes: Shape) -> SSAValue:
        return nest.alloc(self._size(value, sizes), tensor_type(value).element_type, "row")

    def _load(
        self,
        nest: Nest,
        value: SSAValue,
        tiles: dict[SSAValue, SSAValue],
        args: dict[SSAValue, SSAValue],
        at: Sequence[SSAValue | None],
        sizes: Shape,
    ) -> SSAValue:
        if value not in tiles:
            index = [i if n > 1 else None for i, n in zip(at, self.shapes[value])]
            kind = tensor_type(value).element_type
            tiles[value] = nest.load(args[value], index, self._size(value, sizes), kind, "in")
        return tiles[value]

    def _operation(
        self,
        nest: Nest,
        op: Operation,
        tiles: dict[SSAValue, SSAValue],
        args: dict[SSAValue, SSAValue],
        at: Sequence[SSAValue | None],
        sizes: Shape,
        trips: Sequence[SSAValue],
    ) -> None:
        result = op.results[0]
        if isinstance(op, kernel.ReduceOp):
            source = self._load(nest, op.operands[0], tiles, args, at, sizes)
            if not self.reduced:
                tiles[result] = source  # along extents of 1 only
                return
            if result not in tiles:
                tiles[result] = self._alloc(nest, result, sizes)
            kind = Reduction(op.kind_name)
            nest.builder.insert(tile.ReduceOp(kind, source, tiles[result], self.reduced, trips))
            return
        if isinstance(op, kernel.BroadcastOp):
            source = self._load(nest, op.source, tiles, args, at, sizes)
            tiles[result] = self._alloc(nest, result, sizes)
            body = Block(arg_types=[scalar_type(op.result.type.element_type)])
            body.add_op(tile.YieldOp(body.args[0]))
            nest.builder.insert(tile.MapOp([source], tiles[result], Region(body)))
            return
        assert isinstance(op, kernel.MapOp)
        if self._inlined(op):
            return
        maps = self._with_producers(op)
        inputs = outside_inputs(maps, [])
        loaded = [self._load(nest, v, tiles, args, at, sizes) for v in inputs]
        tiles[result] = self._alloc(nest, result, sizes)
        kinds = [tensor_type(v).element_type for v in inputs]
        nest.builder.insert(tile.MapOp(loaded, tiles[result], scalar_region(maps, inputs, kinds)))

    def _inlined(self, op: Operation) -> bool:
        """Whether a map is computed inside its only user, a map of the same shape."""
        user = op.results[0].get_user_of_unique_use()
        return (
            isinstance(user, kernel.MapOp)
            and self.shapes[user.result] == self.shapes[op.results[0]]
        )

    def _with_producers(self, op: kernel.MapOp) -> list[kernel.MapOp]:
        """A map and the maps that are computed inside it, in order."""
        found: list[kernel.MapOp] = []
        waiting = [op]
        while waiting:  # a chain may be deeper than Python's stack; each has one user: a tree
            found.append(one := waiting.pop())
            makers = (value.owner for value in one.inputs)
            waiting += [m for m in makers if isinstance(m, kernel.MapOp) and self._inlined(m)]
        return found[::-1]


def _streams(
    operations: Sequence[Operation],
    outputs: Sequence[SSAValue],
    shapes: dict[SSAValue, Shape],
    full: Shape,
    reduced: Sequence[int],
) -> bool:
    """Whether rows may be reduced piece by piece: nothing after a reduction reads or makes whole
    rows."""
    late: set[SSAValue] = set()

    def is_row(value: SSAValue) -> bool:
        return any(shapes[value][axis] > 1 for axis in reduced)

    for op in operations:
        if isinstance(op, kernel.ReduceOp):
            if any(v in late for v in op.operands):
                return False
            late.update(op.results)
        elif any(v in late for v in op.operands):
            if any(is_row(v) for v in (*op.operands, *op.results)):
                return False
            late.update(op.results)
    return bool(reduced) and not any(is_row(v) for v in outputs)
