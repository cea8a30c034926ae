"""The nest of a matrix product with an epilogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import ClassVar

from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation, Region, SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.dialects.tile import Dataflow, Level
from kpu_ir.lowering.kernel_to_tile.bodies import epilogue_region, outside_inputs, sum_type
from kpu_ir.lowering.kernel_to_tile.weights import packable
from kpu_ir.lowering.product_space import Depths, Problem, Slots, Tiles, product_space
from kpu_ir.lowering.schedule import ATTRIBUTE, Schedule, weights_of
from kpu_ir.lowering.shapes import Shape, aligned, collapse, merged, round_up, whole_bytes
from kpu_ir.lowering.space import PLACES, Space, ceildiv, packed, slot
from kpu_ir.machine import Machine
from kpu_ir.nest.records import Index, Tensor, Tile
from kpu_ir.nest.writing import Nest
from kpu_ir.scalar.requantize import interval_of
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import bits_of, multiplied_as

TRIED = 64
"""Of so many candidates one is looked for that fits."""

DATAFLOWS = {flow.short: flow for flow in Dataflow}


@dataclass(frozen=True)
class Sums:
    """Partial sums of a product: of type ``kind``, in tiles of their own unless the result has that
    type."""

    kind: Attribute
    apart: bool

    @staticmethod
    def of(product: SSAValue, out: Attribute) -> Sums:
        """Those of a product whose results leave as ``out``."""
        kind = sum_type(product)
        return Sums(kind, kind != out)

    @property
    def size(self) -> int:
        """Bytes of one where they have a tile of their own, else 0."""
        return bits_of(self.kind) // 8 if self.apart else 0

    def alloc(self, nest: Nest, shape: Shape, cut: bool, flow: str = "os") -> Tile | None:
        """Room for those of a tile, None where the result's tile holds them, or the array: it
        adds up all of k where that is one tile (not ``cut``) and goes through it (``flow``)."""
        needed = self.apart and (cut or flow != "os")
        return nest.alloc(shape, self.kind, "sums") if needed else None


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
    packable: bool = False
    """Whether the right operand is a matrix of weights whose layout is free."""

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
            args.index(product.b) in weights_of(func)
            and len(flat[product.b]) == 2
            and product.a is not product.b
            and bits_of(tensor_type(product.b).element_type) >= 8,
        )

    kind: ClassVar[str] = "contraction"

    def problem(self, machine: Machine) -> Problem:
        """The product in plain integers, for the search."""
        out = self.results[0][1]
        extra = sum(
            prod(shape) * bits_of(kind) // 8
            for shape, kind in map(self.arguments.__getitem__, self.extra)
        )
        interval = machine.vector.initiation_interval
        row = ceildiv(machine.fabric.columns, machine.vector.lanes)
        work = interval_of(self.epilogue.block if self.epilogue else None, interval)
        return Problem(
            *self.extents,
            (bits_of(self.arguments[self.lhs][1]), bits_of(self.arguments[self.rhs][1])),
            max(1, bits_of(out) // 8),
            machine.fabric.macs.get(self.multiplier, 1),
            extra,
            max(1, row * work),
            row * interval["add"],
            sum_size=self.sums.size,
            transposed=self.transposed,
            packable=self.packable,
        )

    def candidates(self, machine: Machine) -> Space:
        """The schedules that the search may choose from."""
        return product_space(self.problem(machine), machine)

    @cached_property
    def sums(self) -> Sums:
        """Where partial sums stand."""
        return Sums.of(self.product.results[0], self.results[0][1])

    @property
    def multiplier(self) -> str:
        """What the machine's tables call the type that is multiplied."""
        return multiplied_as(self.arguments[self.lhs][1], self.arguments[self.rhs][1])

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

    def layouts(self, schedule: Schedule, where: str | None) -> dict[int, int]:
        """The width of the panels in which arguments are stored, by position. Raises ``KpuError`` for
        those that cannot be."""
        if not schedule.layout:
            return {}
        tile, (rows, columns) = self.fitted(schedule).tile, self.arguments[self.rhs][0][-2:]
        height, width = tile[1:] if self.transposed[1] else tile[:0:-1]
        if (
            schedule.layout != "packed"
            or not self.packable
            or not packable(rows, columns, height, width)
        ):
            raise KpuError(
                f"{ATTRIBUTE}: layout = '{schedule.layout}' says nothing here",
                where,
                "'packed' is for weights that only this kernel reads, and tiles that divide them and "
                "whose width divides both extents",
            )
        return {self.rhs: width}

    def default(self, machine: Machine, space: Space | None = None) -> Schedule:
        """A schedule that fits. Where nobody searches (no ``space``), of types that a PE takes several of
        the one that promises most: their time is more easily lost to what comes and goes. So of others
        where even tiles do not fit; where nothing does, even tiles one at a time."""
        even = self._even(machine)
        if space is not None:
            return even
        fits = self._fits(self.problem(machine), machine, self.fitted(even))
        if fits and machine.fabric.macs.get(self.multiplier, 1) <= 1:
            return even
        found = self._promising(machine)
        if found is not None:
            return found
        return even if fits else replace(even, l3_depth=1, out_depth=1, defer=0)

    def _promising(self, machine: Machine) -> Schedule | None:
        """The candidate that promises most of those that leave room for what the epilogue reads; None
        where none of the first ones does."""
        problem, space = self.problem(machine), self.candidates(machine)
        space = space.at(space.field("layout") == 0)
        for i in space.sorted(space.guess, space.bytes)[:TRIED]:
            schedule = space.schedule(int(i))
            if self._fits(problem, machine, schedule):
                return schedule
        return None

    def _fits(self, problem: Problem, machine: Machine, schedule: Schedule) -> bool:
        """Whether its tiles, and what the epilogue reads, have room on chip."""
        depths = Depths(schedule.depth, schedule.l3_depth, schedule.out_depth, schedule.defer)
        order, unroll = int(schedule.order == "nm"), schedule.unroll_n
        tile, flows = Tiles(*schedule.tile), (schedule.dataflow,)
        slots = Slots.of(problem, tile, order, unroll, flows)
        lhs, rhs = PLACES.index(schedule.lhs), PLACES.index(schedule.rhs)
        return bool(slots.fit(machine, depths, lhs, rhs, self._read_beside(schedule)))

    def _read_beside(self, schedule: Schedule) -> tuple[int, int]:
        """Bytes of L3 and L2 that operands of the epilogue take at most."""
        *_, m, n = self.results[0][0]
        tm, tn, _ = schedule.tile
        near = far = 0
        for shape, kind in map(self.arguments.__getitem__, self.extra):
            high, wide = (t if s > 1 else 1 for s, t in zip(shape[-2:], (tm, tn)))
            trips = max(ceildiv(s, t) for s, t in zip((m, n), (tm, tn)))
            stays = trips if 1 in shape[-2:] else 1  # a row or a column, of all tiles
            one = slot(packed(high * wide, bits_of(kind))) * schedule.unroll_n
            near += one * max(schedule.depth, stays)
            far += one * max(schedule.l3_depth, stays)
        return far, near

    def _even(self, machine: Machine) -> Schedule:
        """Tiles of a few folds, and k in even pieces."""
        _, m, n, k = self.extents
        rows, columns = machine.fabric.rows, machine.fabric.columns
        size = 4
        budget = min(machine.l2.bytes, machine.l3.bytes) // 2 // size
        tm, tn = min(round_up(m, rows), 4 * rows), min(round_up(n, columns), 4 * columns)
        while (tm + tn) * 16 * 2 + 2 * tm * tn > budget and max(tm, tn) > 16:
            smaller = max(rows, tm // 2), max(columns, tn // 2)
            if smaller == (tm, tn):
                break  # one fold of a large array: whether it fits is said where it is placed
            tm, tn = smaller
        most = max(16, (budget - 3 * tm * tn) // (2 * (tm + tn)) // 16 * 16)
        # About eight pieces of k, of one to three steps of the array each: the first comes soon. Where
        # tiles follow each other, that matters less than what comes again.
        least = 1 if tm >= m and tn >= n else 2
        unit = 16 * machine.fabric.macs.get(self.multiplier, 1)
        short = min(most, unit * min(3, max(least, k // (8 * unit))))
        return Schedule((tm, tn, min(k, round_up(ceildiv(k, ceildiv(k, short)), 16))))

    def fitted(self, schedule: Schedule) -> Schedule:
        """The schedule with its tile cut to the problem."""
        _, m, n, k = self.extents
        tm, tn, tk = schedule.tile
        for position, turned, axes in zip((self.lhs, self.rhs), self.transposed, ("mk", "kn")):
            bits = bits_of(self.arguments[position][1])
            match axes[not turned]:  # along which a row of memory goes
                case "m":
                    tm = whole_bytes(tm, m, bits)
                case "n":
                    tn = whole_bytes(tn, n, bits)
                case _:
                    tk = whole_bytes(tk, k, bits)
        tn = min(tn, n)
        # Each of the tiles has something in it, in every trip.
        unroll_n = schedule.unroll_n if tk < k and ceildiv(n, tn) % schedule.unroll_n == 0 else 1
        return replace(schedule, tile=(min(tm, m), tn, min(tk, k)), unroll_n=unroll_n)

    @cached_property
    def epilogue(self) -> Region | None:
        """The maps as one scalar body."""
        kinds = [self.arguments[p][1] for p in self.extra]
        return epilogue_region(self.product.results[0], self.maps, kinds, self.results[0][1])

    def emit(self, nest: Nest, args: Sequence[Tensor], schedule: Schedule) -> None:
        """The nest: batches, then rows and columns in the schedule's order, then k."""
        _Emission(self, nest, args, self.fitted(schedule)).run()


class _Emission:
    """One nest in the making: ``at`` is where its loops are, ``columns`` where the tiles that are
    unrolled along n begin."""

    def __init__(
        self, strategy: Contraction, nest: Nest, args: Sequence[Tensor], schedule: Schedule
    ) -> None:
        self.strategy, self.nest, self.args, self.schedule = strategy, nest, args, schedule
        _, m, n, k = strategy.extents
        tm, tn, tk = schedule.tile
        self.tiles = {"m": tm, "n": tn, "k": tk}
        self.loops = {"m": (m, tm), "n": (n, tn * schedule.unroll_n), "k": (k, tk)}
        self.cut = tk < k
        self.at: dict[str, Index | None] = {"m": None, "n": None, "k": None}
        self.columns: list[int | Index | None] = []
        self.batch: list[Index | None] = []
        self.lead: Shape = ()
        self.extra: dict[tuple[int, int], Tile] = {}

    def run(self) -> None:
        """Write it."""
        strategy, nest, at = self.strategy, self.nest, self.at
        out_shape, out_type = strategy.results[0]
        self.batch = [nest.loop(b, 1, "b") for b in out_shape[:-2]]
        self.lead = (1,) * len(self.batch)
        outer, inner = self.schedule.order
        first, second = ("lhs", "rhs") if outer == "m" else ("rhs", "lhs")
        loaded: dict[str, Tile] = {}
        for axis, which in ((outer, first), (inner, second)):
            self.open(axis)
            if not self.cut:
                loaded[which] = self.operand(which)
            self.epilogue_operands(axis, outer, inner)
        shape = (*self.lead, self.tiles["m"], self.tiles["n"])
        outs = [nest.alloc(shape, out_type, "acc") for _ in self.columns]
        flow = self.schedule.dataflow
        sums = [strategy.sums.alloc(nest, shape, self.cut, flow) for _ in self.columns]
        if self.cut:
            self.open("k")
            for which in (first, second) if len(outs) == 1 else ("lhs",):
                loaded[which] = self.operand(which)
        for c, out in enumerate(outs):
            rhs = loaded["rhs"] if "rhs" in loaded else self.operand("rhs", c)
            extra = [self.extra.get((p, c)) or self.extra[p, 0] for p in strategy.extra]
            nest.matmul(
                DATAFLOWS[flow], loaded["lhs"], rhs, out, [at["k"]], extra, strategy.epilogue,
                sums=sums[c],
            )  # fmt: skip
        if self.cut:
            nest.close()
        for out, column in zip(outs, self.columns):
            nest.store(out, self.args[-1], [*self.batch, at["m"], column])

    def open(self, axis: str) -> None:
        """Open a loop."""
        self.at[axis] = at = self.nest.loop(*self.loops[axis], axis)
        if axis == "n":
            more = range(1, self.schedule.unroll_n)
            self.columns = [at, *(self.nest.affine(at, 1, c * self.tiles["n"]) for c in more)]

    def operand(self, which: str, column: int = 0) -> Tile:
        """Load the tile of lhs or rhs that the open loops name; ``column``: of the unrolled
        tiles, which."""
        strategy, nest, lead = self.strategy, self.nest, self.lead
        left = which == "lhs"
        position, axes, free = (strategy.lhs, "mk", "n") if left else (strategy.rhs, "kn", "m")
        shape, element = strategy.arguments[position]
        tiles = tuple(self.tiles[axis] for axis in axes)
        stored, swap, rank = tiles, None, len(shape)
        if strategy.transposed[not left]:
            axes, stored = axes[::-1], tiles[::-1]
            swap = (*range(rank - 2), rank - 1, rank - 2)
        index: list[int | Index | None] = [b if s > 1 else None for b, s in zip(self.batch, shape)]
        index += [self.columns[column] if axis == "n" else self.at[axis] for axis in axes]
        stays = self.schedule.lhs if left else self.schedule.rhs
        reuse = [self.at[free]] if stays else []
        source = self.args[position]
        width = strategy.layouts(self.schedule, nest.function.where).get(position)
        if width is not None:
            row, across = index
            index = [self.panel_row(row, across, shape[0] // width), None]
        if stays == "l3":
            near = (*lead, *stored)
            held = nest.load(source, index, near, element, f"{which}3", Level.L3, reuse)
            zeros, block = [0] * rank, (*lead, *tiles)
            return nest.load(held, zeros, block, element, which, permuted=swap)
        return nest.load(source, index, (*lead, *tiles), element, which, Level.L2, reuse, swap)

    def panel_row(
        self, row: int | Index | None, across: int | Index | None, rows: int
    ) -> int | Index | None:
        """Where a tile of packed weights begins: so many ``rows`` further on for each column."""
        if isinstance(across, int):
            assert not isinstance(row, int)
            return self.nest.affine(row, 1, across * rows)
        if across is None:
            return row
        panel = self.nest.affine(across, rows)
        assert isinstance(panel, Index)
        return (
            self.nest.affine(panel, 1, row) if isinstance(row, int) else self.nest.plus(row, panel)
        )

    def epilogue_operands(self, here: str, outer: str, inner: str) -> None:
        """Load operands of the epilogue, each as far outside as its dimensions allow; kept where it
        cannot go outside."""
        for position in self.strategy.extra:
            shape, kind = self.strategy.arguments[position]
            uses = [axis for axis, s in zip("mn", shape[-2:]) if s > 1]
            if (position, 0) in self.extra or (here == outer and inner in uses):
                continue
            size = (*self.lead, *(self.tiles[axis] if axis in uses else 1 for axis in "mn"))
            reuse = [self.at[outer]] if outer not in uses and here == inner else []
            for c, column in enumerate(self.columns if "n" in uses else [None]):
                index: list[int | Index | None] = [
                    b if s > 1 else None for b, s in zip(self.batch, shape)
                ]
                index += [self.at["m"] if "m" in uses else None, column]
                self.extra[position, c] = self.nest.load(
                    self.args[position], index, size, kind, "extra", reuse=reuse
                )
