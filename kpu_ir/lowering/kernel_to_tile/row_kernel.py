"""Kernels of maps and reductions along the same dimensions: what they read, compute and store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Self

from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation, Region, SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.lowering.kernel_to_tile.bodies import copying_region, outside_inputs, scalar_region
from kpu_ir.lowering.kernel_to_tile.row_passes import Pass, passes_of
from kpu_ir.lowering.kernel_to_tile.row_statistics import Statistics, statistics_of
from kpu_ir.lowering.shapes import Shape, aligned, collapse, merged
from kpu_ir.scalar.widening import working_type
from kpu_ir.support.types import accumulator_type


@dataclass(frozen=True)
class RowKernel:
    """Maps and reductions along the same dimensions, over one space of ``full`` extents.

    Every tensor has the full extent or 1 in each dimension: it is a row where it has more than 1 in
    a reduced dimension, else one number a row.
    """

    arguments: tuple[tuple[Shape, Attribute], ...]
    results: tuple[tuple[Shape, Attribute], ...]
    full: Shape
    reduced: tuple[int, ...]
    operations: tuple[Operation, ...]
    outputs: tuple[SSAValue, ...]
    inputs: tuple[SSAValue, ...]
    shapes: dict[SSAValue, Shape]

    @classmethod
    def of(cls, func: FuncOp, operations: Sequence[Operation]) -> Self | None:
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
        return cls(
            tuple((flat[a], kinds[a]) for a in args),
            tuple((flat[v], kinds[v]) for v in outputs),
            whole,
            reduced,
            tuple(operations),
            outputs,
            tuple(args),
            flat,
        )

    def is_row(self, value: SSAValue) -> bool:
        """Whether a value has elements along what is reduced."""
        return any(self.shapes[value][axis] > 1 for axis in self.reduced)

    def extent(self, axis: int, most: int) -> int:
        """The extent of a block of at most so many elements along a dimension."""
        n = self.full[axis]
        if n > 1 and all(shape[axis] == 1 for shape, _ in self.arguments):
            # Repeated along this dimension: nothing is clipped at its end, so tiles divide it.
            return next(t for t in range(min(most, n), 0, -1) if n % t == 0)
        return min(most, n)

    @cached_property
    def even(self) -> bool:
        """Whether whatever is reduced has elements along all or none of the reduced dimensions, so
        that it may come in pieces."""
        return all(
            len({self.shapes[op.source][axis] > 1 for axis in self.reduced}) < 2
            for op in self.operations
            if isinstance(op, kernel.ReduceOp)
        )

    @cached_property
    def passes(self) -> tuple[Pass, ...]:
        """How often rows are read that are streamed, each reduction in a pass of its own."""
        return passes_of(self.operations, self.outputs, self.is_row)

    @cached_property
    def once(self) -> bool:
        """Whether rows are read once even if they are streamed."""
        return bool(self.reduced) and len(self.passes) == 1

    @cached_property
    def statistics(self) -> Statistics | None:
        """Two reductions, one of which needs the other, that one pass can compute."""
        return statistics_of(self.operations, self.work, prod(self.full[a] for a in self.reduced))

    @cached_property
    def online(self) -> tuple[Pass, ...]:
        """The passes where the statistics are computed in one."""
        assert self.statistics is not None
        pair = self.statistics
        together: dict[Operation, kernel.ReduceOp] = {pair.second: pair.first}
        return passes_of(self.operations, self.outputs, self.is_row, together)

    @cached_property
    def work(self) -> dict[Operation, tuple[tuple[SSAValue, ...], Region | None]]:
        """What the vector engine does, by operation: what it reads, and the scalar body of a
        map."""
        found: dict[Operation, tuple[tuple[SSAValue, ...], Region | None]] = {}
        for op in self.operations:
            if isinstance(op, kernel.ReduceOp):
                found[op] = (op.operands[0],), None
            elif isinstance(op, kernel.BroadcastOp):
                kind, out = tensor_type(op.source).element_type, self.kinds[op.result]
                found[op] = (op.source,), copying_region(self.kinds[op.source], kind, out)
            elif isinstance(op, kernel.MapOp) and not self._inlined(op):
                maps = self._with_producers(op)
                inputs = tuple(outside_inputs(maps, []))
                kinds = [self.kinds[v] for v in inputs]
                found[op] = inputs, scalar_region(maps, inputs, kinds, self.kinds[op.result])
        return found

    @cached_property
    def kinds(self) -> dict[SSAValue, Attribute]:
        """The element type of each tensor's tile. Inside of the kernel short floats stand as f32, and
        sums in their accumulators' type; what is only stored is as it leaves."""
        found = {v: tensor_type(v).element_type for v in self.inputs}
        for op in self.operations:
            result = op.results[0]
            kind = tensor_type(result).element_type
            if isinstance(op, kernel.ReduceOp):
                adds = self.is_row(op.source) and op.kind_name in ("add", "mul")
                found[result] = found[op.source]
                if adds:
                    found[result] = accumulator_type(found[op.source])
            else:
                inside = any(use.operation in self.operations for use in result.uses)
                found[result] = working_type(kind) if inside else kind
        return found

    @cached_property
    def leaving(self) -> dict[SSAValue, Region]:
        """How results become elements of their tensors, where their tiles have another type."""
        return {
            v: copying_region(self.kinds[v], kind, kind)
            for v in self.outputs
            if self.kinds[v] != (kind := tensor_type(v).element_type)
        }

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
