"""The nest of an attention whose scores stay on chip: a product, a softmax, a product.

The softmax is the streaming one ("online normalizer calculation for softmax", Milakov and
Gimelshein 2018; FlashAttention, Dao et al. 2022): keys come in blocks, and what has been added up
is rescaled whenever a block brings a larger score. The first block stands before the loop, so that
nothing has to be initialised; where the keys are one block, nothing is rescaled either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import ClassVar

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import Float32Type, Float64Type
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Block, Operation, SSAValue

from kpu_ir.dialects import kernel, tile
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.dialects.tile import Dataflow, Level, Reduction
from kpu_ir.lowering.nest import Nest, epilogue_region, outside_inputs, scalar_region
from kpu_ir.lowering.operand import Operand
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.shapes import Shape
from kpu_ir.lowering.space import L2, L3, NONE, Space, ceildiv, grid
from kpu_ir.machine import Machine
from kpu_ir.scalar import formulas
from kpu_ir.scalar.body import op_classes
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.support.types import bits_of


@dataclass(frozen=True)
class Attention:
    """``out[b, m, :] = maps(softmax over n of scores(q k')[b, m, n] v[b, n, :])``.

    ``tile`` of its schedule is (m, n): queries and keys of a block; ``rhs``: where keys and values
    stay while the blocks of queries go by.
    """

    arguments: tuple[tuple[Shape, Attribute], ...]
    results: tuple[tuple[Shape, Attribute], ...]
    scores: kernel.MatmulOp
    maps: tuple[kernel.MapOp, ...]
    softmax: kernel.SoftmaxOp
    product: kernel.MatmulOp
    after: tuple[kernel.MapOp, ...]
    q: Operand
    k: Operand
    v: Operand
    masks: tuple[Operand, ...]
    extra: tuple[Operand, ...]
    out_axes: tuple[int, ...]
    kind: ClassVar[str] = "attention"

    @staticmethod
    def of(func: FuncOp, operations: Sequence[Operation]) -> Attention | None:
        """Transpositions of arguments, a product, maps, a softmax of its rows, casts, a product,
        maps, a transposition; None for anything else."""
        args = list(func.body.block.args)
        transposes = [
            op for op in operations if isinstance(op, kernel.TransposeOp) and op.source in args
        ]
        rest = [op for op in operations if op not in transposes]
        back = rest.pop() if rest and isinstance(rest[-1], kernel.TransposeOp) else None
        parts = _chain(rest)
        if parts is None:
            return None
        scores, maps, softmax, product, after = parts
        rank = len(scores.result.type.get_shape())
        if len(product.result.type.get_shape()) != rank:
            return None
        if isinstance(back, kernel.TransposeOp):
            if back.source is not rest[-1].results[0]:
                return None
            out_axes = back.axes
        else:
            out_axes = tuple(range(rank))

        def operand(value: SSAValue, swapped: bool) -> Operand | None:
            return Operand.of(value, args, rank, swapped, transposes)

        q = operand(scores.a, bool(scores.transpose_a))
        k = operand(scores.b, bool(scores.transpose_b))
        v = operand(product.b, bool(product.transpose_b))
        masks = [operand(x, False) for x in outside_inputs(maps, [scores.result])]
        extra = [operand(x, False) for x in outside_inputs(after, [product.result])]
        if q is None or k is None or v is None:
            return None
        found = [o for o in (*masks, *extra) if o is not None]
        if len(found) != len(masks) + len(extra):
            return None
        lead = (1,) * (rank - 2)
        sizes = ((q, (2, 2)), (k, (2, 2)), (v, (2, 2)), *((o, (2, 2)) for o in found))
        if not all(o.movable([min(a, b) for a, b in zip((*lead, *n), o.shape)]) for o, n in sizes):
            return None
        moving = [a for a in out_axes if a >= rank - 2]
        if moving != sorted(moving):
            return None
        final = func.body.block.last_op
        assert final is not None
        out = final.operands[0]
        shapes = {o.position: (o.stored, o.kind) for o in (q, k, v, *found)}
        if len(shapes) != len(args):
            return None
        return Attention(
            tuple(shapes[i] for i in range(len(args))),
            ((tuple(tensor_type(out).get_shape()), tensor_type(out).element_type),),
            scores, maps, softmax, product, after, q, k, v,
            tuple(found[: len(masks)]), tuple(found[len(masks) :]), out_axes,
        )  # fmt: skip

    @property
    def batch(self) -> Shape:
        """Extents of the dimensions outside: batch, heads."""
        return tuple(self.product.result.type.get_shape()[:-2])

    @property
    def extents(self) -> tuple[int, int, int, int]:
        """Queries, keys, depth of a key, depth of a value."""
        *_, m, n = self.scores.result.type.get_shape()
        return m, n, self.q.shape[-1], self.v.shape[-1]

    @property
    def wide(self) -> Attribute:
        """The type in which scores are exponentiated and added up."""
        element = tensor_type(self.softmax.source).element_type
        return element if isinstance(element, Float64Type) else Float32Type()

    def default(self, machine: Machine, space: Space | None = None) -> Schedule:
        """Blocks that fit: the fewest."""
        fitting, rows = space or self.candidates(machine), machine.fabric.rows
        return fitting.schedule(0) if len(fitting) else Schedule(tile=(rows, rows), out_depth=1)

    def candidates(self, machine: Machine) -> Space:
        """Blocks of queries and keys that fit (about as ``tile-to-dma`` will find), what stays, and
        depths: those of fewest blocks first. Their guess is by what they move and how much the
        vector engine does."""
        m, n, d, dv = self.extents
        size, wide = bits_of(self.q.kind) // 8, bits_of(self.wide) // 8
        blocks = sorted({min(n, b) for b in (n, 1024, 512, 256, 128, 64, 32)}, reverse=True)
        queries = sorted({min(m, machine.fabric.rows * f) for f in (8, 4, 2, 1)}, reverse=True)
        tm, tn, stays, rings = grid(queries, blocks, (L2, L3, NONE), range(3))
        trips, again = ceildiv(n, tn), ceildiv(m, tm)
        out_depth, defer = np.array(((2, 2), (1, 2), (2, 1)))[rings].T
        sets = np.where(trips == 1, 1, 2)
        pair, kept = sets * tn * (d + dv) * size, trips * tn * (d + dv) * size
        masks = sets * sum(
            np.minimum(tm, o.shape[-2]) * np.minimum(tn, o.shape[-1]) for o in self.masks
        )
        masks = masks * wide
        query = tm * d * size
        l2 = 2 * query + tm * tn * wide * out_depth * sets * 2 + 2 * masks
        l2 = l2 + np.where(stays == L2, kept, 2 * pair) + tm * dv * wide * out_depth * (sets + 1)
        l3 = (
            2 * (query + masks) + tm * dv * size * out_depth + np.where(stays == L3, kept, 2 * pair)
        )
        fits = (l2 <= machine.l2.bytes) & (l3 <= machine.l3.bytes) & ((stays == NONE) | (again > 1))
        tm, tn, stays, out_depth, defer, trips, again = (
            column[fits] for column in (tm, tn, stays, out_depth, defer, trips, again)
        )
        count, interval = prod(self.batch), machine.vector.initiation_interval
        own = sum(interval[c] * k for op in self.maps for c, k in op_classes(op.body.block).items())
        own += 3 * interval["simple"] + interval.get("transcendental", interval["simple"])
        macs = machine.fabric.macs.get(str(self.q.kind), 1)
        array = count * m * n * (d + dv) // (machine.fabric.rows * machine.fabric.columns * macs)
        loads = np.where(stays == NONE, again, 1)
        moved = (prod(self.q.stored) + prod(self.k.stored) * loads) * size
        moved = moved + (prod(self.v.stored) * loads + count * m * dv) * size
        moved = moved + sum(prod(o.stored) * bits_of(o.kind) // 8 for o in self.masks)
        vector = count * m * (n * own + np.where(trips == 1, 0, trips * 4 * dv)) // 16
        least = np.maximum(array, moved // machine.bandwidth["dma"])
        guess = np.maximum(least, vector) + count * again * trips * 200
        return Space.of(least, moved, guess, (tm, tn), rhs=stays, out_depth=out_depth, defer=defer)

    def emit(self, block: Block, schedule: Schedule) -> None:
        """The nest: batches, blocks of queries, blocks of keys."""
        _Emission(self, block, schedule).run()


def _chain(
    operations: Sequence[Operation],
) -> (
    tuple[
        kernel.MatmulOp,
        tuple[kernel.MapOp, ...],
        kernel.SoftmaxOp,
        kernel.MatmulOp,
        tuple[kernel.MapOp, ...],
    ]
    | None
):
    """Product, maps, softmax, casts, product, maps, each the next one's input."""
    rest = list(operations)
    if not rest or not isinstance(scores := rest.pop(0), kernel.MatmulOp):
        return None
    shape = scores.result.type.get_shape()
    maps = _maps(rest, shape)
    value = maps[-1].result if maps else scores.result
    if not rest or not isinstance(softmax := rest.pop(0), kernel.SoftmaxOp):
        return None
    if softmax.source is not value or softmax.log or softmax.axis.value.data != len(shape) - 1:
        return None
    casts = _maps(rest, shape)
    if not all(is_cast(op) for op in casts):
        return None
    shares = casts[-1].result if casts else softmax.result
    if not rest or not isinstance(product := rest.pop(0), kernel.MatmulOp):
        return None
    if product.a is not shares or product.transpose_a or product.b is shares:
        return None
    after = _maps(rest, product.result.type.get_shape())
    return None if rest else (scores, maps, softmax, product, after)


def _maps(rest: list[Operation], shape: Sequence[int]) -> tuple[kernel.MapOp, ...]:
    """Take maps of one shape from the front."""
    found: list[kernel.MapOp] = []
    while rest and isinstance(op := rest[0], kernel.MapOp):
        if tuple(op.result.type.get_shape()) != tuple(shape):
            break
        found.append(op)
        rest.pop(0)
    return tuple(found)


def is_cast(op: kernel.MapOp) -> bool:
    """Whether a map only changes the type of floats."""
    casts = (arith.ExtFOp, arith.TruncFOp)
    return len(op.inputs) == 1 and all(
        isinstance(one, casts) or one is op.body.block.last_op for one in op.body.block.ops
    )


class _Emission:
    """One nest in the making."""

    def __init__(self, strategy: Attention, block: Block, schedule: Schedule) -> None:
        self.strategy, self.args = strategy, list(block.args)
        self.nest, self.schedule = Nest(block), schedule
        m, n, self.d, self.dv = strategy.extents
        tm, tn = (*schedule.tile, n)[:2]
        self.tm, self.tn = min(tm, m), min(tn, n)
        self.lead = (1,) * len(strategy.batch)
        self.level = Level.L3 if schedule.rhs == "l3" else Level.L2
        self.at: list[SSAValue | None] = []
        self.row: SSAValue | None = None

    def column(self, name: str) -> SSAValue:
        """One number a query."""
        return self.nest.alloc((*self.lead, self.tm, 1), self.strategy.wide, name)

    def run(self) -> None:
        """Emit it."""
        strategy, nest = self.strategy, self.nest
        m, n, _, _ = strategy.extents
        self.at = [nest.loop(extent, 1, "b") for extent in strategy.batch]
        self.row = nest.loop(m, self.tm, "m")
        q = strategy.q.load(
            nest, self.args[strategy.q.position], [*self.at, self.row, None],
            (*self.lead, self.tm, self.d), "q",
        )  # fmt: skip
        largest, total, mixed = self.first(q)
        if self.tn < n:
            self.later(q, n, largest, total, mixed)
        inverse = self.column("inverse")
        nest.map(self.inverse, [total], inverse)
        self.finish(mixed, inverse)

    def inverse(self, total: Scalar) -> Scalar:
        """What the sums are multiplied by at the end."""
        if self.strategy.softmax.zero_if_empty:
            return formulas.where(total == 0.0, 0.0, 1.0 / total)
        return formulas.reciprocal(total)

    def safe(self, largest: Scalar) -> Scalar:
        """What is taken away from the scores; nothing where all of them are -inf."""
        return formulas.where(largest == -inf, 0.0, largest)

    def block(self, q: SSAValue, key: SSAValue | int | None) -> tuple[SSAValue, SSAValue]:
        """Scores of a block of keys, and the values of these keys."""
        strategy, nest = self.strategy, self.nest
        keep = [self.row] if self.schedule.rhs else []
        k = strategy.k.load(
            nest, self.args[strategy.k.position], [*self.at, None, key],
            (*self.lead, self.d, self.tn), "k", keep, self.level,
        )  # fmt: skip
        masks = [
            o.load(
                nest, self.args[o.position], [*self.at, self.row, key],
                (*self.lead, self.tm, self.tn), "mask",
            )
            for o in strategy.masks
        ]  # fmt: skip
        element = tensor_type(strategy.softmax.source).element_type
        scores = nest.alloc((*self.lead, self.tm, self.tn), element, "scores")
        epilogue = epilogue_region(
            strategy.scores.result, strategy.maps, [o.kind for o in strategy.masks]
        )
        nest.builder.insert(
            tile.MatmulOp(Dataflow.OUTPUT_STATIONARY, q, k, scores, (), masks, epilogue)
        )
        v = strategy.v.load(
            nest, self.args[strategy.v.position], [*self.at, key, None],
            (*self.lead, self.tn, self.dv), "v", keep, self.level,
        )  # fmt: skip
        return scores, v

    def reduce(self, kind: Reduction, source: SSAValue, into: SSAValue) -> SSAValue:
        """Rows to one number each."""
        self.nest.builder.insert(tile.ReduceOp(kind, source, into, [len(self.lead) + 1]))
        return into

    def greatest(self, scores: SSAValue) -> SSAValue:
        """The largest score of each query in a block."""
        element = tensor_type(self.strategy.softmax.source).element_type
        top = self.nest.alloc((*self.lead, self.tm, 1), element, "top")
        return self.reduce(Reduction.MAX, scores, top)

    def powers(self, scores: SSAValue, largest: SSAValue) -> tuple[SSAValue, SSAValue]:
        """``exp(scores - largest)`` in the wide type, and in that of the second product."""
        strategy, nest, wide = self.strategy, self.nest, self.strategy.wide
        shape = (*self.lead, self.tm, self.tn)
        powers = nest.alloc(shape, wide, "powers")
        nest.map(lambda s, m: formulas.exp(s.to(wide) - m), [scores, largest], powers)
        element = tensor_type(strategy.product.a).element_type
        if element == wide:
            return powers, powers
        short = nest.alloc(shape, element, "shares")
        nest.map(lambda p: p.to(element), [powers], short)
        return powers, short

    def weighted(self, shares: SSAValue, v: SSAValue) -> SSAValue:
        """Values weighted by a block's powers."""
        mixed = self.nest.alloc((*self.lead, self.tm, self.dv), self.strategy.wide, "mixed")
        self.nest.builder.insert(tile.MatmulOp(Dataflow.OUTPUT_STATIONARY, shares, v, mixed))
        return mixed

    def first(self, q: SSAValue) -> tuple[SSAValue, SSAValue, SSAValue]:
        """The first block of keys: largest scores, sums of powers, weighted values."""
        nest, wide = self.nest, self.strategy.wide
        scores, v = self.block(q, None)
        largest = self.column("largest")
        top = self.greatest(scores)
        # Whether rows of -inf give NaN is the softmax's to say; but one block of them must not.
        guarded = self.tn < self.strategy.extents[1] or bool(self.strategy.softmax.zero_if_empty)
        nest.map(lambda t: t.to(wide), [top], largest)
        away = largest
        if guarded:
            away = self.column("away")
            nest.map(self.safe, [largest], away)
        powers, shares = self.powers(scores, away)
        total = self.reduce(Reduction.ADD, powers, self.column("total"))
        return largest, total, self.weighted(shares, v)

    def later(
        self, q: SSAValue, n: int, largest: SSAValue, total: SSAValue, mixed: SSAValue
    ) -> None:
        """The other blocks: what has been added up is rescaled to the largest score so far."""
        nest, wide = self.nest, self.strategy.wide
        key = nest.loop(n, self.tn, "n", self.tn)
        scores, v = self.block(q, key)
        top = self.greatest(scores)
        grown = self.column("grown")
        nest.map(lambda a, t: formulas.maximum(a, t.to(wide)), [largest, top], grown)
        away = self.column("away")
        nest.map(self.safe, [grown], away)
        rescale = self.column("rescale")
        nest.map(lambda a, g: formulas.exp(a - g), [largest, away], rescale)
        nest.map(lambda g: g, [grown], largest)
        powers, shares = self.powers(scores, away)
        sums = self.reduce(Reduction.ADD, powers, self.column("sums"))
        nest.map(lambda t, r, s: t * r + s, [total, rescale, sums], total)
        added = self.weighted(shares, v)
        nest.map(lambda o, r, a: o * r + a, [mixed, rescale, added], mixed)
        nest.close()

    def finish(self, mixed: SSAValue, inverse: SSAValue) -> None:
        """Divide, apply the maps that follow, store."""
        strategy, nest = self.strategy, self.nest
        shape = (*self.lead, self.tm, self.dv)
        kind = strategy.product.result.type.element_type
        out = nest.alloc(shape, kind, "out")
        nest.map(lambda o, i: (o * i).to(kind), [mixed, inverse], out)
        if strategy.after:
            loaded = [
                o.load(nest, self.args[o.position], [*self.at, self.row, None], shape, "extra")
                for o in strategy.extra
            ]
            inputs = [
                strategy.product.result,
                *outside_inputs(strategy.after, [strategy.product.result]),
            ]
            kinds = [kind, *(o.kind for o in strategy.extra)]
            region = scalar_region(strategy.after, inputs, kinds)
            final = nest.alloc(shape, strategy.results[0][1], "result")
            nest.builder.insert(tile.MapOp([out, *loaded], final, region))
            out = final
        where: list[SSAValue | None] = [*self.at, self.row, None]
        index = [where[a] for a in strategy.out_axes]
        nest.store(out, self.args[-1], index, strategy.out_axes)
