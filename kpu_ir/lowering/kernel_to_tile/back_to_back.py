"""The nest of two products, one after the other, whose intermediate never leaves L2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation, Region, SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.dialects.tile import Dataflow, Level
from kpu_ir.lowering.kernel_to_tile.bodies import epilogue_region, outside_inputs
from kpu_ir.lowering.kernel_to_tile.contraction import Sums
from kpu_ir.lowering.kernel_to_tile.operand import Operand
from kpu_ir.lowering.product_space import Problem, Tiles, array_cycles
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.shapes import Shape
from kpu_ir.lowering.space import L2, L3, NONE, Column, Space, ceildiv, grid, slot
from kpu_ir.machine import Machine
from kpu_ir.nest.records import Tensor
from kpu_ir.nest.writing import Nest
from kpu_ir.scalar.requantize import interval_of
from kpu_ir.support.types import bits_of, multiplied_as

LEVELS = {"l2": Level.L2, "l3": Level.L3}


@dataclass(frozen=True)
class BackToBack:
    """``y[m, e] = maps(sum over h of maps(sum over d of x[m, d] v[d, h]) w[h, e])``.

    Blocks of h outside, of rows inside: a block of the intermediate is made and used at once. What
    a block of rows has of x, and its sums of y, stay on chip over the blocks of h. ``tile`` of its
    schedule is (rows that stay, rows, h, e, d); ``lhs`` says where x stays, ``rhs`` where the sums
    do, ``order`` where the weights of a block of h stay over its rows (mn: L2, nm: L3).
    """

    arguments: tuple[tuple[Shape, Attribute], ...]
    results: tuple[tuple[Shape, Attribute], ...]
    first: kernel.MatmulOp
    middle: tuple[kernel.MapOp, ...]
    second: kernel.MatmulOp
    after: tuple[kernel.MapOp, ...]
    x: Operand
    v: Operand
    w: Operand
    inner: tuple[Operand, ...]
    outer: tuple[Operand, ...]
    kind: ClassVar[str] = "back-to-back"

    @staticmethod
    def of(func: FuncOp, operations: Sequence[Operation]) -> BackToBack | None:
        """Two products of rank 2 with maps after each; None for anything else."""
        args = list(func.body.block.args)
        products = [op for op in operations if isinstance(op, kernel.MatmulOp)]
        if len(products) != 2 or operations[0] is not products[0]:
            return None
        first, second = products
        cut = list(operations).index(second)
        middle, after = operations[1:cut], operations[cut + 1 :]
        if not all(isinstance(op, kernel.MapOp) for op in (*middle, *after)):
            return None
        value = (middle[-1] if middle else first).results[0]
        if second.a is not value or second.transpose_a or second.b is value:
            return None
        groups = ((first, middle), (second, after))
        if any(
            len(p.result.type.get_shape()) != 2
            or any(m.results[0].type.get_shape() != p.result.type.get_shape() for m in maps)  # pyright: ignore
            for p, maps in groups
        ):
            return None

        def operand(value: SSAValue, swapped: bool = False) -> Operand | None:
            return Operand.of(value, args, 2, swapped)

        x, v = operand(first.a, bool(first.transpose_a)), operand(first.b, bool(first.transpose_b))
        w = operand(second.b, bool(second.transpose_b))
        inner = [operand(o) for o in outside_inputs(middle, [first.result])]
        outer = [operand(o) for o in outside_inputs(after, [second.result])]
        found = [o for o in (x, v, w, *inner, *outer) if o is not None]
        if x is None or v is None or w is None or len(found) != 3 + len(inner) + len(outer):
            return None
        shapes = {o.position: (o.stored, o.kind) for o in found}
        if len(shapes) != len(args):
            return None
        last = func.body.block.last_op
        assert last is not None
        out = tensor_type(last.operands[0])
        maps = [m for m in middle if isinstance(m, kernel.MapOp)]
        ends = [m for m in after if isinstance(m, kernel.MapOp)]
        return BackToBack(
            tuple(shapes[i] for i in range(len(args))),
            ((tuple(out.get_shape()), out.element_type),),
            first, tuple(maps), second, tuple(ends), x, v, w,
            tuple(found[3 : 3 + len(inner)]), tuple(found[3 + len(inner) :]),
        )  # fmt: skip

    @property
    def extents(self) -> tuple[int, int, int, int]:
        """Rows, extents of the intermediate, of the result, and of the first sum."""
        m, h = self.first.result.type.get_shape()
        return m, h, self.second.result.type.get_shape()[1], self.x.shape[1]

    @property
    def hidden(self) -> Attribute:
        """The element type of the intermediate."""
        return tensor_type(self.second.a).element_type

    @cached_property
    def sums(self) -> tuple[Sums, Sums]:
        """Where partial sums of each product stand."""
        kind = self.results[0][1]
        return Sums.of(self.first.result, self.hidden), Sums.of(self.second.result, kind)

    def problems(self, machine: Machine) -> tuple[Problem, Problem]:
        """The two products in plain integers."""
        m, h, e, d = self.extents
        interval = machine.vector.initiation_interval

        def work(maps: Sequence[kernel.MapOp]) -> int:
            return sum(interval_of(op.body.block, interval) for op in maps)

        row = ceildiv(machine.fabric.columns, machine.vector.lanes)
        macs = machine.fabric.macs.get(multiplied_as(self.x.kind), 1)
        size, out = (max(1, bits_of(k) // 8) for k in (self.x.kind, self.results[0][1]))
        simple, bits = row * interval["add"], (8 * size, 8 * size)
        return (
            Problem(
                1, m, h, d, bits, size, macs, 0, max(1, row * work(self.middle)), simple,
                sum_size=self.sums[0].size,
            ),
            Problem(
                1, m, e, h, bits, out, macs, 0, max(1, row * work(self.after)), simple,
                sum_size=self.sums[1].size,
            ),
        )  # fmt: skip

    def candidates(self, machine: Machine) -> Space:
        """Blocks that fit, with what stays where, by their array cycles and what they move."""
        m, h, e, d = self.extents
        one, two = self.problems(machine)
        pair, tj, tn, tk, lhs, rhs, outer_n = grid(
            range(len(blocks := self._blocks(machine))),
            sorted({min(h, t) for t in (32, 64, 128, 256, h)}),
            sorted({min(e, t) for t in (16, 32, 64, 128)}),
            sorted({min(d, t) for t in (16, 32, 64, 128, 256, d)}),
            (L2, L3, NONE), (NONE, L2, L3), (0, 1), kind=one.kind,
        )  # fmt: skip
        block, tm = np.array(blocks, one.kind)[pair.astype(int)].T
        sound = 4 * (tm * tj + tk * tj + tm * tk + tj * tn) <= machine.l2.bytes
        sound &= ((rhs == NONE) == (tj >= h)) & ((outer_n == 0) | (block > tm))
        columns = [c[sound] for c in (block, tm, tj, tn, tk, lhs, rhs, outer_n)]
        l3, l2 = self._footprint(columns, one, two)
        fits = (l3 <= machine.l3.bytes) & (l2 <= machine.l2.bytes)
        block, tm, tj, tn, tk, lhs, rhs, outer_n = (c[fits] for c in columns)
        array = array_cycles(one, Tiles(tm, tj, tk), "os", machine)
        array = array + array_cycles(two, Tiles(tm, tn, tj), "os", machine)
        over_h, size = ceildiv(h, tj), one.bits[0] // 8
        weights, result = (d + e) * h * size, m * e * two.out_size
        moved = m * d * np.where(lhs, 1, over_h) * size + weights * ceildiv(m, block) + result
        inward = m * d * np.where(lhs == L2, 1, over_h) * size
        inward = inward + weights * ceildiv(m, np.where(outer_n, tm, block))
        again = 2 * m * e * (two.sum_size or two.out_size)
        inward = inward + np.where(rhs == L3, over_h * again, 2 * result)
        wide, narrow = machine.bandwidth["dma"], machine.bandwidth["mover"]
        least = np.maximum(array, np.maximum(moved // wide, inward // narrow))
        steps = ceildiv(m, tm) * over_h * (ceildiv(e, tn) + ceildiv(d, tk))
        ends = (tm + tj) * d * size // wide + machine.external.latency
        return Space.of(
            (m, m, h, e, d), least, moved, least + ends + steps, (block, tm, tj, tn, tk),
            order=outer_n, lhs=lhs, rhs=rhs, defer=3,
        )  # fmt: skip

    def _blocks(self, machine: Machine) -> list[tuple[int, int]]:
        """Rows that stay, and rows of a tile: the largest first."""
        m = self.extents[0]
        small = {min(m, machine.fabric.rows * n) for n in (1, 2, 4, 6, 8)}
        blocks: set[tuple[int, int]] = set()
        for block in (ceildiv(m, parts) for parts in range(1, 17)):
            blocks.add((block, block))
            blocks |= {(block, tm) for tm in small if block % tm == 0 and m % block == 0}
        return sorted(blocks, reverse=True)

    def _footprint(self, columns: Sequence[Column], one: Problem, two: Problem) -> list[Column]:
        """Bytes of L3 and of L2 that the rings take, as ``tile-to-dma`` lays them out."""
        _, h, e, d = self.extents
        block, tm, tj, tn, tk, lhs, rhs, outer_n = columns
        rows, cuts, across = ceildiv(block, tm), ceildiv(d, tk), ceildiv(e, tn)
        wide = max(1, bits_of(self.hidden) // 8)
        used = [np.zeros_like(block), slot(tm * tj * wide) * 2]
        stays = np.where(outer_n, L3, L2)
        x = np.where((lhs > NONE) & (tj < h), rows * cuts, 0)
        v, w = (np.where(rows > 1, kept, 0) for kept in (cuts, across))
        rings = ((tm * tk, x, lhs), (tk * tj, v, stays), (tj * tn, w, stays))
        used[1] = used[1] + np.where(tk < d, slot(tm * tj * one.sum_size), 0)
        sums = slot(tm * tn * (two.sum_size or two.out_size))
        out = 2 * slot(tm * tn * two.out_size) if two.sum_size else 0
        for i, level in enumerate((L3, L2)):
            for size, kept, place in rings:
                slots = np.where((kept > 0) & (place == level), kept, 2)
                used[i] = used[i] + slot(size * one.bits[0] // 8) * slots
            kept = (rhs == L3) if level == L3 else (rhs != L3)
            used[i] = used[i] + sums * np.where((tj < h) & kept, rows * across, 2) + out
        return used

    def default(self, machine: Machine, space: Space | None = None) -> Schedule:
        """The candidate that promises most."""
        found = (space or self.candidates(machine)).first()
        if found is not None:
            return found
        m, _, e, _ = self.extents
        side = machine.fabric.rows
        tile = (min(m, side), min(m, side), side, min(e, side), side)
        return Schedule(tile, lhs="", rhs="l3", out_depth=1)

    @cached_property
    def epilogues(self) -> tuple[Region | None, Region | None]:
        """The maps after each product as one scalar body."""
        inner, outer = ([o.kind for o in group] for group in (self.inner, self.outer))
        return (
            epilogue_region(self.first.result, self.middle, inner, self.hidden),
            epilogue_region(self.second.result, self.after, outer, self.results[0][1]),
        )

    def emit(self, nest: Nest, args: Sequence[Tensor], schedule: Schedule) -> None:
        """The nest: blocks of rows that stay, blocks of h, rows; then d, then e."""
        m, h, e, d = self.extents
        rows, tm, tj, tn, tk = (
            min(t, n) for t, n in zip(schedule.tile, (m, m, h, e, d), strict=True)
        )
        tm = min(tm, rows)
        if rows < m:
            rows -= rows % tm  # else blocks of rows would reach into each other
        r, j, i = nest.loop(m, rows, "r"), nest.loop(h, tj, "j"), nest.loop(rows, tm, "i")
        at = nest.plus(r, i)
        hidden = nest.alloc((tm, tj), self.hidden, "hidden")
        partial = self.sums[0].alloc(nest, (tm, tj), tk < d)
        inner = [o.load(nest, args, [at, j], (tm, tj), "extra") for o in self.inner]
        k = nest.loop(d, tk, "k")
        reuse = [j] if schedule.lhs else []
        level = LEVELS.get(schedule.lhs if j else "", Level.L2)
        x = self.x.load(nest, args, [at, k], (tm, tk), "x", reuse, level)
        stays = Level.L2 if schedule.order == "mn" or i is None else Level.L3
        v = self.v.load(nest, args, [k, j], (tk, tj), "v", [i], stays)
        flow, kind = Dataflow.OUTPUT_STATIONARY, self.results[0][1]
        nest.matmul(flow, x, v, hidden, [k], inner, self.epilogues[0], sums=partial)
        nest.close()
        n = nest.loop(e, tn, "n")
        w = self.w.load(nest, args, [j, n], (tj, tn), "w", [i], stays)
        outer = [o.load(nest, args, [at, n], (tm, tn), "bias") for o in self.outer]
        in_l3 = j is not None and schedule.rhs == "l3"
        where = Level.L3 if in_l3 else Level.L2
        apart = self.sums[1].apart and j is not None
        if apart:
            kind = self.sums[1].kind
        sums = total = nest.alloc((tm, tn), kind, "sums", where, [j])
        if in_l3:
            total = nest.load(sums, [0, 0], (tm, tn), kind, "sum", after=j)
        out = nest.alloc((tm, tn), self.results[0][1], "out") if apart else total
        nest.matmul(
            flow, hidden, w, out, [j], outer, self.epilogues[1], sums=total if apart else None
        )
        if in_l3:
            nest.store(total, sums, [0, 0])
        nest.store(out if apart else sums, args[-1], [at, n], over=[j])
