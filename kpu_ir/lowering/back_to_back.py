"""The nest of two products, one after the other, whose intermediate never leaves L2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Block, Operation, SSAValue

from kpu_ir.dialects import kernel, tile
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.dialects.tile import Dataflow, Level
from kpu_ir.lowering.nest import Nest, epilogue_region, outside_inputs
from kpu_ir.lowering.operand import Operand
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.shapes import Shape, round_up
from kpu_ir.lowering.space import Candidate, Problem, array_cycles, ceildiv
from kpu_ir.machine import Machine
from kpu_ir.scalar.body import op_classes
from kpu_ir.support.types import bits_of

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

    @property
    def rounds(self) -> bool:
        """Whether partial sums would be rounded: the results' types are not the products'."""
        return (
            self.first.result.type.element_type != self.hidden
            or self.second.result.type.element_type != self.results[0][1]
        )

    def problems(self, machine: Machine) -> tuple[Problem, Problem]:
        """The two products in plain integers."""
        m, h, e, d = self.extents
        interval = machine.vector.initiation_interval

        def work(maps: Sequence[kernel.MapOp]) -> int:
            return sum(interval[c] * n for op in maps for c, n in op_classes(op.body.block).items())

        row = ceildiv(machine.fabric.columns, machine.vector.lanes)
        macs = machine.fabric.macs.get(str(self.x.kind), 1)
        size, out = (max(1, bits_of(k) // 8) for k in (self.x.kind, self.results[0][1]))
        simple = row * interval["simple"]
        return (
            Problem(1, m, h, d, size, size, macs, 0, max(1, row * work(self.middle)), simple),
            Problem(1, m, e, h, size, out, macs, 0, max(1, row * work(self.after)), simple),
        )

    def footprint(self, s: Schedule) -> tuple[int, int]:
        """Bytes of L3 and of L2 that the rings take, as ``tile-to-dma`` lays them out."""
        _, h, e, d = self.extents
        block, tm, tj, tn, tk = s.tile
        size, wide, out = (
            max(1, bits_of(k) // 8) for k in (self.x.kind, self.hidden, self.results[0][1])
        )
        rows, cuts, columns = ceildiv(block, tm), ceildiv(d, tk), ceildiv(e, tn)
        l3 = l2 = 0

        def ring(slot: int, reused: int, level: str) -> None:
            nonlocal l3, l2
            slot = round_up(slot, 64)
            l3 += slot * (reused if reused and level == "l3" else s.l3_depth)
            l2 += slot * (reused if reused and level == "l2" else s.depth)

        stays = "l2" if s.order == "mn" else "l3"
        ring(tm * tk * size, rows * cuts if s.lhs and tj < h else 0, s.lhs)
        ring(tk * tj * size, cuts if rows > 1 else 0, stays)
        ring(tj * tn * size, columns if rows > 1 else 0, stays)
        l2 += round_up(tm * tj * wide, 64) * s.out_depth
        sums = round_up(tm * tn * out, 64)
        if tj >= h:
            return l3 + sums * s.out_depth, l2 + sums * s.out_depth
        if s.rhs == "l3":
            return l3 + sums * rows * columns, l2 + sums * s.depth
        return l3 + sums * s.out_depth, l2 + sums * rows * columns

    def schedules(self, machine: Machine) -> Iterator[Schedule]:
        """Blocks that fit, with what stays where."""
        m, h, e, d = self.extents
        side = machine.fabric.rows
        small = sorted({min(m, side * n) for n in (1, 2, 4, 6, 8)})
        blocks: set[tuple[int, int]] = set()
        for parts in range(1, 17):
            block = ceildiv(m, parts)
            blocks.add((block, block))
            blocks |= {(block, tm) for tm in small if block % tm == 0 and m % block == 0}
        for block, tm in sorted(blocks, reverse=True):
            for tj in sorted({min(h, t) for t in (32, 64, 128, 256, h)}):
                for tn in sorted({min(e, t) for t in (16, 32, 64, 128)}):
                    for tk in sorted({min(d, t) for t in (16, 32, 64, 128, 256, d)}):
                        if self.rounds and (tk < d or tj < h):
                            continue
                        if machine.l2.bytes < 4 * (tm * tj + tk * tj + tm * tk + tj * tn):
                            continue
                        for lhs in ("l2", "l3", ""):
                            for rhs in ("l2", "l3") if tj < h else ("",):
                                for order in ("mn", "nm") if block > tm else ("mn",):
                                    yield Schedule(
                                        (block, tm, tj, tn, tk), "os", order, lhs, rhs,
                                        2, 2, 2, 3,
                                    )  # fmt: skip

    def moved(self, s: Schedule) -> int:
        """External bytes of a schedule."""
        m, h, e, d = self.extents
        block, _, tj, _, _ = s.tile
        size, out = (max(1, bits_of(k) // 8) for k in (self.x.kind, self.results[0][1]))
        again = 1 if s.lhs else ceildiv(h, tj)
        return (m * d * again + (d + e) * h * ceildiv(m, block)) * size + m * e * out

    def candidates(self, machine: Machine) -> list[Candidate]:
        """What fits, by its array cycles and what it moves."""
        one, two = self.problems(machine)
        wide = machine.dma.channels * machine.dma.bytes_per_cycle
        narrow = machine.mover.channels * machine.mover.bytes_per_cycle
        m, h, e, d = self.extents
        found: list[Candidate] = []
        known: dict[tuple[int, ...], int] = {}
        for s in self.schedules(machine):
            l3, l2 = self.footprint(s)
            if l3 > machine.l3.bytes or l2 > machine.l2.bytes:
                continue
            block, tm, tj, tn, tk = s.tile
            if s.tile not in known:
                known[s.tile] = array_cycles(one, Schedule((tm, tj, tk)), machine) + array_cycles(
                    two, Schedule((tm, tn, tj)), machine
                )
            array, moved = known[s.tile], self.moved(s)
            size = one.size
            inward = m * d * (1 if s.lhs == "l2" else ceildiv(h, tj)) * size
            inward += (
                (d + e) * h * (ceildiv(m, block) if s.order == "mn" else ceildiv(m, tm)) * size
            )
            inward += 2 * m * e * two.out_size * (ceildiv(h, tj) if s.rhs == "l3" else 1)
            least = max(array, moved // wide, inward // narrow)
            steps = ceildiv(m, tm) * ceildiv(h, tj) * (ceildiv(e, tn) + ceildiv(d, tk))
            ends = (tm + tj) * d * size // wide + machine.external.latency
            found.append(Candidate(s, least, moved, least + ends + steps))
        return found

    def default(self, machine: Machine) -> Schedule:
        """The candidate that promises most."""
        found = self.candidates(machine)
        if found:
            return min(found, key=lambda c: (c.guess, c.bytes)).schedule
        m, h, e, d = self.extents
        side = machine.fabric.rows
        wide = self.rounds
        tile = (min(m, side), min(m, side), h if wide else side, min(e, side), d if wide else side)
        return Schedule(tile, lhs="", rhs="l3", out_depth=1)

    def emit(self, block: Block, schedule: Schedule) -> None:
        """The nest: blocks of rows that stay, blocks of h, rows; then d, then e."""
        m, h, e, d = self.extents
        rows, tm, tj, tn, tk = (
            min(t, n) for t, n in zip(schedule.tile, (m, m, h, e, d), strict=True)
        )
        if self.rounds:
            tj, tk = h, d
        args, nest = list(block.args), Nest(block)
        stays = Level.L2 if schedule.order == "mn" else Level.L3
        r = nest.loop(m, rows, "r")
        j = nest.loop(h, tj, "j")
        i = nest.loop(rows, tm, "i")
        at = nest.plus(r, i)
        hidden = nest.alloc((tm, tj), self.hidden, "hidden")
        inner = [o.load(nest, args[o.position], [at, j], (tm, tj), "extra") for o in self.inner]
        k = nest.loop(d, tk, "k")
        x = self.x.load(
            nest, args[self.x.position], [at, k], (tm, tk), "x",
            [j] if schedule.lhs else [], LEVELS.get(schedule.lhs if j else "", Level.L2),
        )  # fmt: skip
        level = stays if i is not None else Level.L2
        v = self.v.load(nest, args[self.v.position], [k, j], (tk, tj), "v", [i], level)
        epilogue = epilogue_region(self.first.result, self.middle, [o.kind for o in self.inner])
        flow = Dataflow.OUTPUT_STATIONARY
        nest.builder.insert(
            tile.MatmulOp(flow, x, v, hidden, [] if k is None else [k], inner, epilogue)
        )
        nest.close()
        n = nest.loop(e, tn, "n")
        w = self.w.load(nest, args[self.w.position], [j, n], (tj, tn), "w", [i], level)
        outer = [o.load(nest, args[o.position], [at, n], (tm, tn), "bias") for o in self.outer]
        kind = self.results[0][1]
        epilogue = epilogue_region(self.second.result, self.after, [o.kind for o in self.outer])
        over = [] if j is None else [j]
        in_l3 = bool(over) and schedule.rhs == "l3"
        sums = total = nest.alloc((tm, tn), kind, "sums", Level.L3 if in_l3 else Level.L2, over)
        if in_l3:
            total = nest.load(sums, [0, 0], (tm, tn), kind, "sum", after=j)
        nest.builder.insert(tile.MatmulOp(flow, hidden, w, total, over, outer, epilogue))
        if in_l3:
            nest.store(total, sums, [0, 0])
        nest.store(sums, args[-1], [at, n], over=over)
