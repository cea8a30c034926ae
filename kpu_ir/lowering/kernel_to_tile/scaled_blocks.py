"""The nest of products of blocks along k, each finished by itself and then added up: weights with a
scale for each block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import ClassVar

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation, Region, SSAValue

from kpu_ir.dialects import kernel, tile
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.dialects.tile import Reduction
from kpu_ir.lowering.kernel_to_tile.bodies import outside_inputs, scalar_region, sum_type
from kpu_ir.lowering.kernel_to_tile.contraction import DATAFLOWS
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.shapes import Shape, aligned, round_up, whole_bytes
from kpu_ir.lowering.space import Column, Space, ceildiv, folds, grid, packed, slot
from kpu_ir.machine import Machine
from kpu_ir.nest.records import Tensor, Tile
from kpu_ir.nest.writing import Nest
from kpu_ir.passes.kernel_fuse_elementwise import summable
from kpu_ir.scalar.requantize import interval_of
from kpu_ir.support.types import bits_of, multiplied_as

LINEAR = arith.MulfOp | arith.SIToFPOp | arith.ExtFOp | tile.YieldOp
"""What may become of a sum of which each part may become it by itself."""

AHEAD = 8
"""So many tiles of weights wait in L3 at most."""


@dataclass(frozen=True)
class ScaledBlocks:
    """``out[r, n] = after(sum over b (and m) of each(sum over k of lhs[b, m, k] rhs[b, k, n], extra...),
    more...)``.

    Shapes have three dimensions, the first one of blocks. Where ``m`` is added up as well, several
    blocks go through the array at once: their rows of ``lhs`` have zeros where the others' k are.
    ``tile`` of its schedule is (blocks, k, n).
    """

    arguments: tuple[tuple[Shape, Attribute], ...]
    results: tuple[tuple[Shape, Attribute], ...]
    product: kernel.MatmulOp
    maps: tuple[kernel.MapOp, ...]
    reduce: kernel.ReduceOp
    after: tuple[kernel.MapOp, ...]
    lhs: int
    rhs: int
    extra: tuple[int, ...]
    more: tuple[int, ...]
    kind: ClassVar[str] = "scaled-blocks"

    @staticmethod
    def of(func: FuncOp, operations: Sequence[Operation]) -> ScaledBlocks | None:
        """A product, maps of its shape, a sum over the first dimension (and the second), maps of
        the sum's shape; None for anything else."""
        at = next((i for i, op in enumerate(operations) if isinstance(op, kernel.ReduceOp)), 0)
        if at < 2 or not isinstance(product := operations[0], kernel.MatmulOp):
            return None
        reduce, maps, after = operations[at], operations[1:at], operations[at + 1 :]
        assert isinstance(reduce, kernel.ReduceOp)
        own = [op for op in maps if isinstance(op, kernel.MapOp)]
        ends = [op for op in after if isinstance(op, kernel.MapOp)]
        if len(own) < len(maps) or len(ends) < len(after):
            return None
        if not summable(product, own, reduce):
            return None
        shape = reduce.result.type.get_shape()
        args: list[SSAValue] = list(func.body.block.args)
        extra = outside_inputs(own, [product.result])
        more = outside_inputs(ends, [reduce.result])
        shapes = [aligned(tensor_type(a).get_shape(), 3) for a in args]
        if any(m.result.type.get_shape() != shape for m in ends) or any(
            len(s) != 3 for s in (*shapes, product.result.type.get_shape())
        ):
            return None
        if any(v not in args for v in (product.a, product.b, *extra, *more)):
            return None
        final = (ends[-1] if ends else reduce).results[0]
        return ScaledBlocks(
            tuple((s, tensor_type(a).element_type) for s, a in zip(shapes, args)),
            ((tuple(shape), tensor_type(final).element_type),),
            product, tuple(own), reduce, tuple(ends),
            args.index(product.a), args.index(product.b),
            tuple(args.index(v) for v in extra), tuple(args.index(v) for v in more),
        )  # fmt: skip

    @property
    def extents(self) -> tuple[int, int, int, int]:
        """Blocks, m, n, k."""
        blocks, m, n = self.product.result.type.get_shape()
        return blocks, m, n, self.arguments[self.lhs][0][2]

    @property
    def sum_element(self) -> Attribute:
        """The type in which what is finished adds up."""
        return self.reduce.result.type.element_type

    @property
    def multiplier(self) -> str:
        """What the machine's tables call the type that is multiplied."""
        return multiplied_as(self.arguments[self.lhs][1], self.arguments[self.rhs][1])

    @cached_property
    def divisible(self) -> bool:
        """Whether a block may be finished in parts of its k: what finishes it only multiplies it."""
        body, scaled = self.bodies[0].block, {self.bodies[0].block.args[0]}
        for op in body.ops:
            read = [v for v in op.operands if v in scaled]
            if not read:
                continue
            if len(read) > 1 or not isinstance(op, LINEAR):
                return False
            scaled |= {*op.results}
        return True

    @cached_property
    def bodies(self) -> tuple[Region, Region | None]:
        """What finishes each product, and what the sum becomes."""
        kinds = [sum_type(self.product.result), *(self.arguments[p][1] for p in self.extra)]
        values = [self.product.result, *outside_inputs(self.maps, [self.product.result])]
        each = scalar_region(self.maps, values, kinds, self.sum_element)
        if not self.after:
            return each, None
        kinds = [self.sum_element, *(self.arguments[p][1] for p in self.more)]
        values = [self.reduce.result, *outside_inputs(self.after, [self.reduce.result])]
        return each, scalar_region(self.after, values, kinds, self.results[0][1])

    def candidates(self, machine: Machine) -> Space:
        """Blocks, parts of k and columns that fit, in the dataflows that leave nothing for a second
        pass through the array."""
        blocks, m, n, k = self.extents
        fabric, vector = machine.fabric, machine.vector.initiation_interval
        macs = fabric.macs.get(self.multiplier, 1)
        depth, side = fabric.rows * macs, fabric.columns
        several = [t for t in (1, 2, 4, 8) if blocks % t == 0]
        parts = sorted({k, *(p for p in (depth, 2 * depth) if k % p == 0 and self.divisible)})
        across = {min(n, round_up(ceildiv(n, cuts), side)) for cuts in (1, 2, 3, 4, 6, 8, 16)}
        across |= {min(n, side * t) for t in (8, 16, 32, 48, 64, 96, 128, 192, 256)}
        flow, tb, tk, tn, deep = grid((0, 1, 2), several, parts, sorted(across), (2, 3))
        sound = ((tk == k) | (tb == 1)) & ((flow == 0) | (tk <= depth))
        flow, tb, tk, tn, deep = (c[sound] for c in (flow, tb, tk, tn, deep))
        # Weights of the next kernels come while those before have not computed their activations: as
        # many tiles as half of L3 holds, in some cases two.
        far = np.full_like(tb, 2)
        for slots in range(3, AHEAD + 1):
            far[self._room(tb, tk, tn, deep, slots)[0] <= machine.l3.bytes // 2] = slots
        l3, l2 = self._room(tb, tk, tn, deep, far)
        fits = (l3 <= machine.l3.bytes) & (l2 <= machine.l2.bytes)
        flow, tb, tk, tn, deep, far = (c[fits] for c in (flow, tb, tk, tn, deep, far))
        line = ceildiv(side, machine.vector.lanes)
        each = line * (interval_of(self.bodies[0].block, vector) + vector["add"])
        trips = ceildiv(k, tk) * blocks
        os = folds(m, m, fabric.rows) * np.maximum(ceildiv(tk, macs), fabric.rows * each)
        os = os * folds(n, tn, side)
        ws = folds(n, tn, side) * max(m * each, fabric.rows)
        across = folds(n, tn, side) * 0 + ceildiv(m, side)
        whole = n // tn * np.maximum(tn * each, fabric.rows)
        rest = n % tn
        is_ = across * (whole + (rest > 0) * np.maximum(rest * each, fabric.rows))
        array = trips * ((flow == 0) * os + (flow == 1) * ws + (flow == 2) * is_)
        moved = sum(packed(prod(s), bits_of(t)) for s, t in (*self.arguments, *self.results))
        moved += (ceildiv(n, tn) - 1) * packed(
            prod(self.arguments[self.lhs][0]), bits_of(self.arguments[self.lhs][1])
        )
        wide = machine.bandwidth["dma"]
        least = np.maximum(array, moved // wide)
        steps = ceildiv(n, tn) * ceildiv(blocks, tb) * ceildiv(k, tk)
        ends = machine.external.latency + packed(tb * tk * tn, bits_of(self.weights)) // wide
        sums = ceildiv(n, tn) * (ceildiv(tb * m * tn, machine.vector.lanes) + 4 * fabric.rows)
        descriptors = steps * 2 * (machine.dma.setup + machine.control.issue)
        guess = np.maximum(array, moved // wide + descriptors) + ends + sums
        return Space.of(
            (blocks, k, n), least, moved, guess, (tb, tk, tn), dataflow=flow, depth=deep,
            l3_depth=far, out_depth=2, defer=1,
        )  # fmt: skip

    @property
    def weights(self) -> Attribute:
        """The element type of the right operand."""
        return self.arguments[self.rhs][1]

    def _room(
        self, tb: Column, tk: Column, tn: Column, deep: Column, far: Column | int
    ) -> tuple[Column, Column]:
        """Bytes of L3 and of L2 that the rings take, as ``tile-to-dma`` lays them out."""
        _, m, _, _ = self.extents
        lhs = slot(packed(tb * m * tk, bits_of(self.arguments[self.lhs][1])))
        rhs = slot(packed(tb * tk * tn, bits_of(self.weights)))
        each, more = lhs + rhs, 0
        for position in self.extra:
            each = each + slot(self._bytes(position, tb, tn))
        for position in self.more:
            more = more + slot(self._bytes(position, tb, tn))
        shape, kind = self.results[0]
        wide = bits_of(self.sum_element) // 8
        out = slot(prod(shape[:2]) * tn * (bits_of(kind) // 8)) * 2
        sums = slot(tb * m * tn * wide) * 2 + slot(prod(shape[:2]) * tn * wide) * 2
        return far * (each + more) + out, deep * (each + more) + out + sums

    def _bytes(self, position: int, tb: Column, tn: Column) -> Column:
        """Of a tile of an operand of the bodies."""
        (b, m, n), kind = self.arguments[position]
        return packed((tb if b > 1 else 1) * m * (tn if n > 1 else 1), bits_of(kind))

    def default(self, machine: Machine, space: Space | None = None) -> Schedule:
        """The candidate that promises most."""
        found = (self.candidates(machine) if space is None else space).first()
        if found is not None:
            return found
        depth = machine.fabric.rows * machine.fabric.macs.get(self.multiplier, 1)
        return Schedule((1, depth, machine.fabric.columns))

    def fitted(self, schedule: Schedule) -> Schedule:
        """The schedule with its tile cut to the problem: what sums stand for is as many blocks in each
        trip."""
        blocks, _, n, k = self.extents
        tb, tk, tn = schedule.tile
        tk = min(tk, k) if self.divisible else k
        tb = max(t for t in range(1, min(tb, blocks) + 1) if blocks % t == 0) if tk == k else 1
        return replace(schedule, tile=(tb, tk, whole_bytes(tn, n, bits_of(self.weights))))

    def emit(self, nest: Nest, args: Sequence[Tensor], schedule: Schedule) -> None:
        """The nest: columns, then blocks and parts of k; what comes of several blocks at once, and
        of several rows of one, is added up after the last one."""
        blocks, m, n, k = self.extents
        schedule = self.fitted(schedule)
        tb, tk, tn = schedule.tile
        (shape, element), each, after = self.results[0], *self.bodies
        at_n = nest.loop(n, tn, "n")

        def operand(position: int, at_b: object, name: str) -> Tile:
            extents, kind = self.arguments[position]
            full = (tb, m if extents[1] == m else 1, tn)
            index = [at_b, None, at_n]
            size = tuple(t if e > 1 else 1 for e, t in zip(extents, full))
            where = [i if e > 1 else None for e, i in zip(extents, index)]
            return nest.load(args[position], where, size, kind, name)  # type: ignore[arg-type]

        more = [operand(p, None, "extra") for p in self.more]
        sums = nest.alloc((tb, m, tn), self.sum_element, "sums")
        at_b, at_k = nest.loop(blocks, tb, "b"), nest.loop(k, tk, "k")
        rhs = nest.load(args[self.rhs], [at_b, at_k, at_n], (tb, tk, tn), self.weights, "rhs")
        extra = [operand(p, at_b, "scale") for p in self.extra]
        kind = self.arguments[self.lhs][1]
        lhs = nest.load(args[self.lhs], [at_b, None, at_k], (tb, m, tk), kind, "lhs")
        flow = DATAFLOWS[schedule.dataflow]
        nest.matmul(flow, lhs, rhs, sums, [at_b, at_k], extra, each, each=True)
        nest.close(2)
        axes = [axis for axis, count in ((0, tb), (1, m // shape[1])) if count > 1]
        total = sums
        if axes:
            total = nest.alloc((1, shape[1], tn), self.sum_element, "total")
            nest.reduce(Reduction.ADD, sums, total, axes)
        if after is not None:
            out = nest.alloc((1, shape[1], tn), element, "out")
            nest.map([total, *more], out, after)
            total = out
        nest.store(total, args[-1], [None, None, at_n])
