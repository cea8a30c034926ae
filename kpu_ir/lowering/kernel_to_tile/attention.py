"""The nest of an attention whose scores stay on chip: a product, a softmax, a product.

The softmax is the streaming one ("online normalizer calculation for softmax", Milakov and
Gimelshein 2018; FlashAttention, Dao et al. 2022): keys come in blocks, and what has been added up
is rescaled whenever a block brings a larger score. The first block stands before the loop, so that
nothing has to be initialised; where the keys are one block, nothing is rescaled either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, prod
from typing import ClassVar

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import Float32Type, Float64Type
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation, Region, SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.dialects.tile import Dataflow, Level, Reduction
from kpu_ir.lowering.kernel_to_tile.bodies import epilogue_region, formula_region, outside_inputs
from kpu_ir.lowering.kernel_to_tile.operand import Operand
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.shapes import Shape
from kpu_ir.lowering.space import L2, L3, NONE, Space, ceildiv, grid
from kpu_ir.machine import Machine
from kpu_ir.nest.records import Index, Tensor, Tile
from kpu_ir.nest.writing import Nest
from kpu_ir.scalar import formulas
from kpu_ir.scalar.requantize import interval_of
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.support.types import bits_of, multiplied_as


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
            arguments=tuple(shapes[i] for i in range(len(args))),
            results=((tuple(tensor_type(out).get_shape()), tensor_type(out).element_type),),
            scores=scores,
            maps=maps,
            softmax=softmax,
            product=product,
            after=after,
            q=q,
            k=k,
            v=v,
            masks=tuple(found[: len(masks)]),
            extra=tuple(found[len(masks) :]),
            out_axes=out_axes,
        )

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
        own = sum(interval_of(op.body.block, interval) for op in self.maps)
        own += 3 * interval["add"] + interval["exp"]  # exp
        macs = machine.fabric.macs.get(multiplied_as(self.q.kind), 1)
        array = count * m * n * (d + dv) // (machine.fabric.rows * machine.fabric.columns * macs)
        loads = np.where(stays == NONE, again, 1)
        moved = (prod(self.q.stored) + prod(self.k.stored) * loads) * size
        moved = moved + (prod(self.v.stored) * loads + count * m * dv) * size
        moved = moved + sum(prod(o.stored) * bits_of(o.kind) // 8 for o in self.masks)
        vector = count * m * (n * own + np.where(trips == 1, 0, trips * 4 * dv))
        vector = vector // machine.vector.lanes
        least = np.maximum(array, moved // machine.bandwidth["dma"])
        guess = np.maximum(least, vector) + count * again * trips * 200
        return Space.of(
            (m, n), least, moved, guess, (tm, tn), rhs=stays, out_depth=out_depth, defer=defer
        )

    @cached_property
    def bodies(self) -> dict[str, Region | None]:
        """The scalar bodies of the nest."""
        shares, wide = tensor_type(self.product.a).element_type, self.wide
        scores, kind = wide, wide if self.after else self.results[0][1]
        empty = bool(self.softmax.zero_if_empty)
        found: dict[str, Region | None] = {
            name: formula_region(formula, inputs, out)
            for name, formula, inputs, out in (
                # What the sums are multiplied by at the end.
                ("inverse", _inverse_or_zero if empty else _inverse, [wide], wide),
                ("largest", lambda t: t.to(wide), [scores], wide),
                # What is taken away from the scores; nothing where all of them are -inf.
                ("away", _finite, [wide], wide),
                ("powers", lambda s, m: formulas.exp(s.to(wide) - m), [scores, wide], wide),
                ("shares", lambda p: p.to(shares), [wide], shares),
                ("grown", lambda a, t: formulas.maximum(a, t.to(wide)), [wide, scores], wide),
                ("rescale", lambda a, g: formulas.exp(a - g), [wide, wide], wide),
                ("copy", lambda g: g, [wide], wide),
                ("total", lambda t, r, s: t * r + s, [wide, wide, wide], wide),
                ("mixed", lambda o, r, a: o * r + a, [wide, wide, wide], wide),
                ("out", lambda o, i: (o * i).to(kind), [wide, wide], kind),
            )
        }
        kinds = [o.kind for o in self.masks]
        found["scores"] = epilogue_region(self.scores.result, self.maps, kinds, wide)
        kinds = [o.kind for o in self.extra]
        found["after"] = epilogue_region(self.product.result, self.after, kinds, self.results[0][1])
        return found

    def emit(self, nest: Nest, args: Sequence[Tensor], schedule: Schedule) -> None:
        """The nest: batches, blocks of queries, blocks of keys."""
        _Emission(self, nest, args, schedule).run()


def _finite(largest: Scalar) -> Scalar:
    return formulas.where(largest == -inf, 0.0, largest)


def _inverse(total: Scalar) -> Scalar:
    return formulas.reciprocal(total)


def _inverse_or_zero(total: Scalar) -> Scalar:
    return formulas.where(total == 0.0, 0.0, 1.0 / total)


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
    """Product, maps, softmax, casts, product, maps, each the next one's input; before the product
    maps that the first maps read."""
    rest = list(operations)
    early: list[kernel.MapOp] = []
    while rest and isinstance(op := rest[0], kernel.MapOp):
        early.append(op)
        rest.pop(0)
    if not rest or not isinstance(scores := rest.pop(0), kernel.MatmulOp):
        return None
    shape = scores.result.type.get_shape()
    maps = (*early, *_maps(rest, shape))
    if early and maps[-1] is early[-1]:
        return None
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
    """One nest in the making; ``at`` is where the loops of the batch are, ``row`` that of the
    queries."""

    def __init__(
        self, strategy: Attention, nest: Nest, args: Sequence[Tensor], schedule: Schedule
    ) -> None:
        self.strategy, self.nest, self.args, self.schedule = strategy, nest, args, schedule
        m, n, self.d, self.dv = strategy.extents
        tm, tn = (*schedule.tile, n)[:2]
        self.tm, self.tn = min(tm, m), min(tn, n)
        self.lead = (1,) * len(strategy.batch)
        self.level = Level.L3 if schedule.rhs == "l3" else Level.L2
        self.at: list[Index | None] = []
        self.row: Index | None = None

    def run(self) -> None:
        """Write it."""
        strategy, nest = self.strategy, self.nest
        m, n, _, _ = strategy.extents
        self.at = [nest.loop(extent, 1, "b") for extent in strategy.batch]
        self.row = nest.loop(m, self.tm, "m")
        shape = (*self.lead, self.tm, self.d)
        q = strategy.q.load(nest, self.args, [*self.at, self.row, None], shape, "q")
        largest, total, mixed = self.first(q)
        if self.tn < n:
            self.later(q, n, largest, total, mixed)
        inverse = self.map("inverse", [total], self.column("inverse"))
        self.finish(mixed, inverse)

    def column(self, name: str) -> Tile:
        """One number a query."""
        return self.nest.alloc((*self.lead, self.tm, 1), self.strategy.wide, name)

    def map(self, body: str, inputs: Sequence[Tile], into: Tile) -> Tile:
        """A function on the vector engine."""
        region = self.strategy.bodies[body]
        assert region is not None
        self.nest.map(inputs, into, region)
        return into

    def block(self, q: Tile, key: Index | None) -> tuple[Tile, Tile]:
        """Scores of a block of keys, and the values of these keys."""
        strategy, nest, args, lead = self.strategy, self.nest, self.args, self.lead
        reuse = [self.row] if self.schedule.rhs else []
        shape = (*lead, self.d, self.tn)
        k = strategy.k.load(nest, args, [*self.at, None, key], shape, "k", reuse, self.level)
        shape = (*lead, self.tm, self.tn)
        where = [*self.at, self.row, key]
        masks = [o.load(nest, args, where, shape, "mask") for o in strategy.masks]
        scores = nest.alloc(shape, strategy.wide, "scores")
        flow, body = Dataflow.OUTPUT_STATIONARY, strategy.bodies["scores"]
        nest.matmul(flow, q, k, scores, extra=masks, epilogue=body)
        shape = (*lead, self.tn, self.dv)
        v = strategy.v.load(nest, args, [*self.at, key, None], shape, "v", reuse, self.level)
        return scores, v

    def reduce(self, kind: Reduction, source: Tile, into: Tile) -> Tile:
        """Rows to one number each."""
        self.nest.reduce(kind, source, into, [len(self.lead) + 1])
        return into

    def greatest(self, scores: Tile) -> Tile:
        """The largest score of each query in a block."""
        top = self.nest.alloc((*self.lead, self.tm, 1), self.strategy.wide, "top")
        return self.reduce(Reduction.MAX, scores, top)

    def powers(self, scores: Tile, largest: Tile) -> tuple[Tile, Tile]:
        """``exp(scores - largest)`` in the wide type, and in that of the second product."""
        wide, shape = self.strategy.wide, (*self.lead, self.tm, self.tn)
        powers = self.nest.alloc(shape, wide, "powers")
        self.map("powers", [scores, largest], powers)
        element = tensor_type(self.strategy.product.a).element_type
        if element == wide:
            return powers, powers
        return powers, self.map("shares", [powers], self.nest.alloc(shape, element, "shares"))

    def weighted(self, shares: Tile, v: Tile) -> Tile:
        """Values weighted by a block's powers."""
        mixed = self.nest.alloc((*self.lead, self.tm, self.dv), self.strategy.wide, "mixed")
        self.nest.matmul(Dataflow.OUTPUT_STATIONARY, shares, v, mixed)
        return mixed

    def first(self, q: Tile) -> tuple[Tile, Tile, Tile]:
        """The first block of keys: largest scores, sums of powers, weighted values."""
        scores, v = self.block(q, None)
        largest = self.column("largest")
        self.map("largest", [self.greatest(scores)], largest)
        # Whether rows of -inf give NaN is the softmax's to say; but one block of them must not.
        guarded = self.tn < self.strategy.extents[1] or bool(self.strategy.softmax.zero_if_empty)
        away = self.map("away", [largest], self.column("away")) if guarded else largest
        powers, shares = self.powers(scores, away)
        total = self.reduce(Reduction.ADD, powers, self.column("total"))
        return largest, total, self.weighted(shares, v)

    def later(self, q: Tile, n: int, largest: Tile, total: Tile, mixed: Tile) -> None:
        """The other blocks: what has been added up is rescaled to the largest score so far."""
        key = self.nest.loop(n, self.tn, "n", self.tn)
        scores, v = self.block(q, key)
        top = self.greatest(scores)
        grown = self.map("grown", [largest, top], self.column("grown"))
        away = self.map("away", [grown], self.column("away"))
        rescale = self.map("rescale", [largest, away], self.column("rescale"))
        self.map("copy", [grown], largest)
        powers, shares = self.powers(scores, away)
        sums = self.reduce(Reduction.ADD, powers, self.column("sums"))
        self.map("total", [total, rescale, sums], total)
        self.map("mixed", [mixed, rescale, self.weighted(shares, v)], mixed)
        self.nest.close()

    def finish(self, mixed: Tile, inverse: Tile) -> None:
        """Divide, apply the maps that follow, store."""
        strategy, nest = self.strategy, self.nest
        shape = (*self.lead, self.tm, self.dv)
        kind = strategy.wide if strategy.after else strategy.results[0][1]
        out = self.map("out", [mixed, inverse], nest.alloc(shape, kind, "out"))
        where = [*self.at, self.row, None]
        if strategy.after:
            extra = [o.load(nest, self.args, where, shape, "extra") for o in strategy.extra]
            final = nest.alloc(shape, strategy.results[0][1], "result")
            out = self.map("after", [out, *extra], final)
        axes = strategy.out_axes
        nest.store(out, self.args[-1], [where[a] for a in axes], axes)
