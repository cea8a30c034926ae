"""The nest of products that share their left operand: queries, keys and values of an attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation, Region, SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.dialects.tile import Level
from kpu_ir.lowering.kernel_to_tile.bodies import epilogue_region, outside_inputs
from kpu_ir.lowering.kernel_to_tile.contraction import DATAFLOWS, Sums
from kpu_ir.lowering.kernel_to_tile.operand import Operand
from kpu_ir.lowering.product_space import Problem, product_space
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.shapes import Shape
from kpu_ir.lowering.space import Space, ceildiv
from kpu_ir.machine import Machine
from kpu_ir.nest.records import Index, Tensor, Tile
from kpu_ir.nest.writing import Nest
from kpu_ir.scalar.requantize import interval_of
from kpu_ir.support.types import bits_of, multiplied_as


@dataclass(frozen=True)
class Branch:
    """One of the products: its maps, its right operand, what its maps read besides."""

    product: kernel.MatmulOp
    maps: tuple[kernel.MapOp, ...]
    rhs: Operand
    extra: tuple[Operand, ...]

    @cached_property
    def epilogue(self) -> Region | None:
        """The maps as one scalar body."""
        return epilogue_region(self.product.result, self.maps, [o.kind for o in self.extra])

    @cached_property
    def sums(self) -> Sums:
        """Where partial sums stand."""
        final = self.maps[-1] if self.maps else self.product
        return Sums.of(self.product.result, final.result.type.element_type)


@dataclass(frozen=True)
class HorizontalFusion:
    """``out_p[m, n] = maps_p(sum over k of lhs[m, k] rhs_p[k, n])`` for each of several ``p``.

    A tile of the left operand is loaded once for all of them. ``tile`` of its schedule is (m, n, k).
    """

    arguments: tuple[tuple[Shape, Attribute], ...]
    results: tuple[tuple[Shape, Attribute], ...]
    lhs: Operand
    branches: tuple[Branch, ...]
    kind: ClassVar[str] = "horizontal"

    @staticmethod
    def of(func: FuncOp, operations: Sequence[Operation]) -> HorizontalFusion | None:
        """Products of rank 2 and of one shape with a common left operand, each with its maps, all
        of them returned; None for anything else."""
        args = list(func.body.block.args)
        products = [op for op in operations if isinstance(op, kernel.MatmulOp)]
        last = func.body.block.last_op
        assert last is not None
        if len(products) < 2 or len(last.operands) != len(products):
            return None
        shape = products[0].result.type.get_shape()
        if len(shape) != 2 or any(
            p.result.type != products[0].result.type
            or p.a is not products[0].a
            or p.transpose_a != products[0].transpose_a
            for p in products
        ):
            return None
        lhs = Operand.of(products[0].a, args, 2, bool(products[0].transpose_a))
        branches: list[Branch] = []
        used = 0
        for product, result in zip(products, last.operands):
            known: set[SSAValue] = {product.result}
            maps: list[kernel.MapOp] = []
            for op in operations:
                if isinstance(op, kernel.MapOp) and any(v in known for v in op.inputs):
                    if tuple(op.result.type.get_shape()) != tuple(shape):
                        return None
                    known.add(op.result)
                    maps.append(op)
            used += 1 + len(maps)
            end = maps[-1].result if maps else product.result
            rhs = Operand.of(product.b, args, 2, bool(product.transpose_b))
            extra = [Operand.of(v, args, 2) for v in outside_inputs(maps, [product.result])]
            found = [o for o in extra if o is not None]
            if rhs is None or len(found) != len(extra) or end is not result:
                return None
            branches.append(Branch(product, tuple(maps), rhs, tuple(found)))
        if lhs is None or used != len(operations):
            return None
        operands = [lhs, *(o for b in branches for o in (b.rhs, *b.extra))]
        shapes = {o.position: (o.stored, o.kind) for o in operands}
        if len(shapes) != len(args):
            return None
        kinds = [tensor_type(v).element_type for v in last.operands]
        return HorizontalFusion(
            tuple(shapes[i] for i in range(len(args))),
            tuple((tuple(shape), kind) for kind in kinds),
            lhs,
            tuple(branches),
        )

    @property
    def extents(self) -> tuple[int, int, int]:
        """Rows, columns of one product, and the extent that is summed over."""
        m, n = self.results[0][0]
        return m, n, self.lhs.shape[1]

    def problem(self, machine: Machine) -> Problem:
        """All products as one, in plain integers."""
        m, n, k = self.extents
        interval = machine.vector.initiation_interval
        row = ceildiv(machine.fabric.columns, machine.vector.lanes)
        work = min(
            sum(interval_of(op.body.block, interval) for op in b.maps) for b in self.branches
        )
        count = len(self.branches)
        kinds = self.lhs.kind, self.branches[0].rhs.kind
        out = max(1, min(bits_of(kind) for _, kind in self.results) // 8)
        return Problem(
            1, m, n * count, k, (bits_of(kinds[0]), bits_of(kinds[1])), out,
            machine.fabric.macs.get(multiplied_as(*kinds), 1), 0,
            max(1, row * work), row * interval["add"], count,
            max(b.sums.size for b in self.branches),
        )  # fmt: skip

    def candidates(self, machine: Machine) -> Space:
        """Those of the one product whose tiles are in one of them."""
        return product_space(self.problem(machine), machine)

    def default(self, machine: Machine, space: Space | None = None) -> Schedule:
        """The candidate that promises most; small tiles where none fits."""
        side = machine.fabric.rows
        found = (space or self.candidates(machine)).first()
        return found or Schedule((side, side, side), out_depth=1)

    def fitted(self, schedule: Schedule) -> Schedule:
        """The schedule with its tile cut to the problem."""
        m, n, k = self.extents
        tm, tn, tk = schedule.tile
        return replace(schedule, tile=(min(tm, m), min(tn, n), min(tk, k)))

    def emit(self, nest: Nest, args: Sequence[Tensor], schedule: Schedule) -> None:
        """The nest of one product, with the others beside it in the innermost loops."""
        schedule = self.fitted(schedule)
        tm, tn, tk = schedule.tile
        m, n, k = self.extents
        targets = args[len(self.arguments) :]
        at: dict[str, Index | None] = dict.fromkeys("mnk")
        sizes = {"m": (m, tm), "n": (n, tn)}
        outer, inner = schedule.order
        cut = tk < k

        def level(stays: str) -> Level:
            return Level.L3 if stays == "l3" else Level.L2

        def left() -> Tile:
            reuse, near = [at["n"]] if schedule.lhs else [], level(schedule.lhs)
            return self.lhs.load(nest, args, [at["m"], at["k"]], (tm, tk), "lhs", reuse, near)

        def right(branch: Branch) -> Tile:
            reuse, near = [at["m"]] if schedule.rhs else [], level(schedule.rhs)
            return branch.rhs.load(nest, args, [at["k"], at["n"]], (tk, tn), "rhs", reuse, near)

        at[outer] = nest.loop(*sizes[outer], outer)
        lhs = left() if not cut and outer == "m" else None
        rhs = [right(b) for b in self.branches] if not cut and outer == "n" else []
        at[inner] = nest.loop(*sizes[inner], inner)
        lhs = left() if not cut and lhs is None else lhs
        accs: list[Tile] = []
        sums: list[Tile | None] = []
        extras: list[list[Tile]] = []
        where = [at["m"], at["n"]]
        for branch, (_, kind) in zip(self.branches, self.results):
            extras.append([o.load(nest, args, where, (tm, tn), "extra") for o in branch.extra])
            accs.append(nest.alloc((tm, tn), kind, "acc"))
            sums.append(branch.sums.alloc(nest, (tm, tn), cut, schedule.dataflow))
        if cut:
            at["k"] = nest.loop(k, tk, "k")
            lhs = left()
        assert lhs is not None
        flow = DATAFLOWS[schedule.dataflow]
        for i, branch in enumerate(self.branches):
            operand = rhs[i] if rhs else right(branch)
            nest.matmul(
                flow, lhs, operand, accs[i], [at["k"]], extras[i], branch.epilogue, sums=sums[i]
            )
            if not cut:
                nest.store(accs[i], targets[i], where)
        if cut:
            nest.close()
            for acc, target in zip(accs, targets):
                nest.store(acc, target, where)
