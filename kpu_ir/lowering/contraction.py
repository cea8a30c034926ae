"""The nest of a matrix product with an epilogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Block, Operation, SSAValue

from kpu_ir.dialects import kernel, tile
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.dialects.tile import Dataflow, Level
from kpu_ir.lowering.nest import Nest, epilogue_region, outside_inputs
from kpu_ir.lowering.product_space import Problem, product_space
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.shapes import Shape, aligned, collapse, merged, round_up
from kpu_ir.lowering.space import Space, ceildiv
from kpu_ir.machine import Machine
from kpu_ir.scalar.body import op_classes
from kpu_ir.support.types import bits_of

DATAFLOWS = {flow.short: flow for flow in Dataflow}


@dataclass(frozen=True)
class Contraction:
    """``out[b, m, n] = epilogue(sum over k of lhs[b, m, k] rhs[b, k, n], extra[b, m, n]...)``.

    ``lhs``, ``rhs`` and ``extra`` are positions among the function's arguments; shapes are as the
    nest sees them, all of one rank, batch dimensions merged where they broadcast alike.
    """

    arguments: tuple[tuple[Shape, Attribute], ...]
    results: tuple[tuple[Shape, Attribute], ...]
    product: Operation
    maps: tuple[kernel.MapOp, ...]
    lhs: int
    rhs: int
    extra: tuple[int, ...]
    transposed: tuple[bool, bool] = (False, False)

    @staticmethod
    def of(func: FuncOp, operations: Sequence[Operation]) -> Contraction | None:
        """A product, then maps of its shape; None for anything else."""
        product = operations[0] if operations else None
        if not isinstance(product, kernel.MatmulOp):
            return None
        rest = operations[1:]
        maps = [op for op in rest if isinstance(op, kernel.MapOp)]
        shape = product.result.type.get_shape()
        if len(maps) != len(rest) or any(m.result.type.get_shape() != shape for m in maps):
            return None
        args: list[SSAValue] = list(func.body.block.args)
        extra = outside_inputs(maps, [product.result])
        rank = len(shape)
        shapes = {a: aligned(tensor_type(a).get_shape(), rank) for a in args}
        probe = [(*s[:-2], *shape[-2:]) for s in shapes.values()]
        groups = collapse([tuple(shape), *probe], fixed=2)
        if len(groups) == 3 and merged(tuple(shape), groups)[0] == 1:
            groups = groups[1:]
            flat = {a: s[-2:] for a, s in shapes.items()}
            out = tuple(shape[-2:])
        else:
            flat = {a: merged(s, groups) for a, s in shapes.items()}
            out = merged(tuple(shape), groups)
        final = (maps[-1] if maps else product).results[0]
        return Contraction(
            tuple((flat[a], tensor_type(a).element_type) for a in args),
            ((out, tensor_type(final).element_type),),
            product,
            tuple(maps),
            args.index(product.a),
            args.index(product.b),
            tuple(args.index(v) for v in extra),
            (bool(product.transpose_a), bool(product.transpose_b)),
        )

    kind: ClassVar[str] = "contraction"

    def problem(self, machine: Machine) -> Problem:
        """The product in plain integers, for the search."""
        element, out = self.arguments[self.lhs][1], self.results[0][1]
        extra = sum(
            prod(shape) * bits_of(kind) // 8
            for shape, kind in map(self.arguments.__getitem__, self.extra)
        )
        interval = machine.vector.initiation_interval
        row = ceildiv(machine.fabric.columns, machine.vector.lanes)
        work = sum(
            interval[kind] * n for m in self.maps for kind, n in op_classes(m.body.block).items()
        )
        return Problem(
            *self.extents,
            max(1, bits_of(element) // 8),
            max(1, bits_of(out) // 8),
            machine.fabric.macs.get(str(element), 1),
            extra,
            max(1, row * work),
            row * interval["simple"],
        )

    def candidates(self, machine: Machine) -> Space:
        """The schedules that the search may choose from."""
        return product_space(self.problem(machine), machine)

    @property
    def extents(self) -> tuple[int, int, int, int]:
        """Batch, m, n, k."""
        *batch, m, n = self.results[0][0]
        lhs = self.arguments[self.lhs][0]
        k = lhs[-2] if self.transposed[0] else lhs[-1]
        count = 1
        for b in batch:
            count *= b
        return count, m, n, k

    def default(self, machine: Machine, space: Space | None = None) -> Schedule:
        """A schedule that fits: tiles of a few folds, as much of k as leaves room for double
        buffers."""
        _, m, n, k = self.extents
        rows, columns = machine.fabric.rows, machine.fabric.columns
        size = 4
        budget = min(machine.l2.bytes, machine.l3.bytes) // 2 // size
        tm, tn = min(round_up(m, rows), 4 * rows), min(round_up(n, columns), 4 * columns)
        while (tm + tn) * 16 * 2 + 2 * tm * tn > budget and max(tm, tn) > 16:
            tm, tn = max(rows, tm // 2), max(columns, tn // 2)
        tk = max(16, (budget - 3 * tm * tn) // (2 * (tm + tn)))
        return Schedule(tile=(tm, tn, k if tk >= k else max(16, tk // 16 * 16)))

    def fitted(self, schedule: Schedule) -> Schedule:
        """The schedule with its tile cut to the problem."""
        _, m, n, k = self.extents
        tm, tn, tk = schedule.tile
        if tensor_type(self.product.results[0]).element_type != self.results[0][1]:
            tk = k  # partial sums would be rounded to the result's type
        tn = min(tn, n)
        # Each of the tiles has something in it, in every trip.
        unroll_n = schedule.unroll_n if tk < k and ceildiv(n, tn) % schedule.unroll_n == 0 else 1
        return replace(schedule, tile=(min(tm, m), tn, min(tk, k)), unroll_n=unroll_n)

    def emit(self, block: Block, schedule: Schedule) -> None:
        """The nest: batches, then rows and columns in the schedule's order, then k."""
        schedule = self.fitted(schedule)
        tm, tn, tk = schedule.tile
        _, m, n, k = self.extents
        args = list(block.args)
        out_shape, out_type = self.results[0]
        element = self.arguments[self.lhs][1]
        nest = Nest(block)
        batch = [nest.loop(b, 1, "b") for b in out_shape[:-2]]
        at: dict[str, SSAValue | None] = {}
        sizes = {"m": (m, tm), "n": (n, tn * schedule.unroll_n)}
        outer, inner = schedule.order
        columns: list[int | SSAValue | None] = []

        def more_columns() -> list[int | SSAValue | None]:
            """Where the tiles beside each other begin, in n."""
            more = [nest.affine(at["n"], 1, c * tn) for c in range(1, schedule.unroll_n)]
            return [at["n"], *more]

        def operand(which: str, column: int = 0) -> tuple[SSAValue, ...]:
            """Load the tile of lhs or rhs that the open loops name; ``column``: of the tiles beside
            each other, which."""
            position = self.lhs if which == "lhs" else self.rhs
            shape = self.arguments[position][0]
            axes, tiles = (("m", "k"), (tm, tk)) if which == "lhs" else (("k", "n"), (tk, tn))
            transposed = self.transposed[which == "rhs"]
            index: list[int | SSAValue | None] = [
                b if s > 1 else None for b, s in zip(batch, shape)
            ]
            stored = list(zip(axes, tiles))
            if transposed:
                stored.reverse()
            index += [columns[column] if axis == "n" else at.get(axis) for axis, _ in stored]
            lead = (1,) * len(batch)
            rank = len(shape)
            swap = (*range(rank - 2), rank - 1, rank - 2) if transposed else None
            stays = getattr(schedule, which)
            free = "n" if which == "lhs" else "m"
            keep = [at.get(free)] if stays else []
            memory_shape = (*lead, *(t for _, t in stored))
            if stays == "l3":
                held = nest.load(
                    args[position], index, memory_shape, element, f"{which}3", Level.L3, keep
                )
                zeros = [0] * rank
                return (nest.load(held, zeros, (*lead, *tiles), element, which, permuted=swap),)
            return (
                nest.load(
                    args[position], index, (*lead, *tiles), element, which, keep=keep, permuted=swap
                ),
            )

        cut_k = tk < k
        loaded: dict[str, SSAValue] = {}
        at[outer] = nest.loop(*sizes[outer], outer)
        first = "lhs" if outer == "m" else "rhs"
        second = "rhs" if outer == "m" else "lhs"
        if outer == "n":
            columns += more_columns()
        if not cut_k:
            loaded[first] = operand(first)[0]
        lead = (1,) * len(batch)
        extra: dict[tuple[int, int], SSAValue] = {}

        def load_extra(here: str) -> None:
            """Operands of the epilogue, each as far outside as its dimensions allow; kept where it
            cannot go outside."""
            for position in self.extra:
                shape, kind = self.arguments[position]
                uses = {axis for axis, s in zip("mn", shape[-2:]) if s > 1}
                if (position, 0) in extra or (here == outer and inner in uses):
                    continue
                size = (*lead, *(t if axis in uses else 1 for axis, t in zip("mn", (tm, tn))))
                keep = [at[outer]] if outer not in uses and here == inner else []
                for c, column in enumerate(columns if "n" in uses else [None]):
                    index = [b if s > 1 else None for b, s in zip(batch, shape)]
                    index += [at["m"] if "m" in uses else None, column]
                    extra[position, c] = nest.load(
                        args[position], index, size, kind, "extra", keep=keep
                    )

        load_extra(outer)
        at[inner] = nest.loop(*sizes[inner], inner)
        if inner == "n":
            columns += more_columns()
        if not cut_k:
            loaded[second] = operand(second)[0]
        load_extra(inner)
        outs = [nest.alloc((*lead, tm, tn), out_type, "acc") for _ in columns]
        over: list[SSAValue] = []
        if cut_k:
            at["k"] = nest.loop(k, tk, "k")
            if at["k"] is not None:
                over.append(at["k"])
            if len(columns) == 1:
                loaded[first] = operand(first)[0]
                loaded[second] = operand(second)[0]
            else:
                loaded["lhs"] = operand("lhs")[0]
        kinds = [self.arguments[p][1] for p in self.extra]
        for c, out in enumerate(outs):
            rhs = loaded["rhs"] if "rhs" in loaded else operand("rhs", c)[0]
            nest.builder.insert(
                tile.MatmulOp(
                    DATAFLOWS[schedule.dataflow],
                    loaded["lhs"],
                    rhs,
                    out,
                    over,
                    [extra.get((p, c)) or extra[p, 0] for p in self.extra],
                    epilogue_region(self.product.results[0], self.maps, kinds),
                )
            )
        if cut_k:
            nest.close()
        for out, column in zip(outs, columns):
            nest.store(out, args[-1], [*batch, at["m"], column])
