"""The nest of elementwise functions and reductions: softmax, norms, sums, activations, all of one
kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import ClassVar

from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from kpu_ir.dialects import kernel, tile
from kpu_ir.dialects.kernel import scalar_type, tensor_type
from kpu_ir.dialects.tile import Reduction
from kpu_ir.lowering.kernel_to_tile.bodies import outside_inputs, scalar_region
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.shapes import Shape, aligned, collapse, merged
from kpu_ir.lowering.space import Space, block_space
from kpu_ir.machine import Machine
from kpu_ir.nest.records import Index, Tensor, Tile
from kpu_ir.nest.writing import Nest
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
        return block_space(self.full, blocks, moved, machine, out_depth=2)

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

    @cached_property
    def inside(self) -> tuple[Operation, ...]:
        """The operations inside of loops over reduced dimensions: all that need no finished
        reduction. The others come after them."""
        later = {op.results[0] for op in self.operations if isinstance(op, kernel.ReduceOp)}
        found: list[Operation] = []
        for op in self.operations:
            if not isinstance(op, kernel.ReduceOp) and any(v in later for v in op.operands):
                later.update(op.results)
            else:
                found.append(op)
        return tuple(found)

    @cached_property
    def work(self) -> dict[Operation, tuple[tuple[SSAValue, ...], Region | None]]:
        """What the vector engine does, by operation: what it reads, and the scalar body of a
        map."""
        found: dict[Operation, tuple[tuple[SSAValue, ...], Region | None]] = {}
        for op in self.operations:
            if isinstance(op, kernel.ReduceOp):
                found[op] = (op.operands[0],), None
            elif isinstance(op, kernel.BroadcastOp):
                body = Block(arg_types=[scalar_type(op.result.type.element_type)])
                body.add_op(tile.YieldOp(body.args[0]))
                found[op] = (op.source,), Region(body)
            elif isinstance(op, kernel.MapOp) and not self._inlined(op):
                maps = self._with_producers(op)
                inputs = tuple(outside_inputs(maps, []))
                kinds = [tensor_type(v).element_type for v in inputs]
                found[op] = inputs, scalar_region(maps, inputs, kinds)
        return found

    def emit(self, nest: Nest, args: Sequence[Tensor], schedule: Schedule) -> None:
        """The nest: one loop a dimension, reduced ones innermost; then what comes after the
        reductions."""
        _Emission(self, nest, args, schedule).run()

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


class _Emission:
    """One nest in the making: ``at`` is where its loops are, ``tiles`` what is on chip."""

    def __init__(
        self, strategy: Rows, nest: Nest, args: Sequence[Tensor], schedule: Schedule
    ) -> None:
        self.strategy, self.nest, self.args = strategy, nest, args
        self.sources = dict(zip(strategy.inputs, args))
        self.sizes = [
            n if axis in strategy.reduced and not strategy.streams else min(t, n)
            for axis, (t, n) in enumerate(zip(schedule.tile, strategy.full))
        ]
        self.at: list[Index | None] = [None] * len(strategy.full)
        self.over: list[Index | None] = []
        self.tiles: dict[SSAValue, Tile] = {}

    def run(self) -> None:
        """Write it."""
        strategy, full = self.strategy, self.strategy.full
        for axis in range(len(full)):
            if axis not in strategy.reduced:
                self.at[axis] = self.nest.loop(full[axis], self.sizes[axis], f"i{axis}")
        pieces = [axis for axis in strategy.reduced if self.sizes[axis] < full[axis]]
        inside = strategy.inside if pieces else strategy.operations
        for op in inside if pieces else ():
            if isinstance(op, kernel.ReduceOp):
                self.tiles[op.results[0]] = self.alloc(op.results[0])
        for axis in pieces:
            self.at[axis] = self.nest.loop(full[axis], self.sizes[axis], f"r{axis}")
        self.over = [self.at[axis] for axis in pieces]
        for op in inside:
            self.operation(op)
        self.nest.close(len(pieces))
        for axis in pieces:
            self.at[axis] = None
        for op in strategy.operations:
            if op not in inside:
                self.operation(op)
        for value, target in zip(strategy.outputs, self.args[len(strategy.inputs) :]):
            self.nest.store(self.load(value), target, self.index(value))

    def index(self, value: SSAValue) -> list[Index | None]:
        """Where the loops are, in a tensor."""
        return [i if n > 1 else None for i, n in zip(self.at, self.strategy.shapes[value])]

    def size(self, value: SSAValue) -> Shape:
        """The extents of a tensor's tile."""
        return tuple(t if n > 1 else 1 for t, n in zip(self.sizes, self.strategy.shapes[value]))

    def alloc(self, value: SSAValue) -> Tile:
        """Room for a result."""
        return self.nest.alloc(self.size(value), tensor_type(value).element_type, "row")

    def load(self, value: SSAValue) -> Tile:
        """The tile of a value, loaded where it is not on chip."""
        if value not in self.tiles:
            kind = tensor_type(value).element_type
            self.tiles[value] = self.nest.load(
                self.sources[value], self.index(value), self.size(value), kind, "in"
            )
        return self.tiles[value]

    def operation(self, op: Operation) -> None:
        """What the vector engine does for an operation; nothing for one inside of another."""
        if op not in self.strategy.work:
            return
        (inputs, body), result = self.strategy.work[op], op.results[0]
        loaded = [self.load(v) for v in inputs]
        if body is None and not self.strategy.reduced:
            self.tiles[result] = loaded[0]  # along extents of 1 only
            return
        if result not in self.tiles:
            self.tiles[result] = self.alloc(result)
        if body is not None:
            self.nest.map(loaded, self.tiles[result], body)
        elif isinstance(op, kernel.ReduceOp):
            kind, axes = Reduction(op.kind_name), self.strategy.reduced
            self.nest.reduce(kind, loaded[0], self.tiles[result], axes, self.over)


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
