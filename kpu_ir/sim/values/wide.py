"""Makes the loops of a proven plan into single steps on larger tiles.

Where ``values_proof`` has shown that a plan means the same on plain values, a loop whose trips work
on neighbouring blocks is one trip on their union: a tile that a trip fetches at a step's distance
from the one before grows along that dimension, and whatever is computed from it grows with it; a
sum over the loop becomes one sum over all of it. Each step says whether that holds for it. Where
one does not, the loop stays as it is. Loops are taken from the innermost outwards, so that most
kernels end as a few steps on whole tensors.

What a sum is over is added in another order: the result may differ by f32 rounding, as between two
schedules. (Sums of shorter types stand in 32 bits too.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from kpu_ir.dialects.tile import padding_of
from kpu_ir.sim.program.plan import (
    Acquire,
    Affine,
    Fetch,
    Loop,
    Map,
    Matmul,
    Move,
    Node,
    Plan,
    Put,
    Reduce,
    Rowwise,
    Step,
    Windowed,
    Write,
)
from kpu_ir.sim.values.growth import Extents, Growth, Stays, Tiles, stays_if


def widen(plan: Plan) -> tuple[Node, ...]:
    """The body of a proven plan with as few loops as possible; every transfer moves."""
    return tuple(_widened(plan.body, {}))


def _widened(nodes: Sequence[Node], extents: dict[int, Extents]) -> list[Node]:
    """``nodes`` with their loops widened; ``extents`` are those of the registers, and gain those that
    are defined."""
    done: list[Node] = []
    at = 0
    while at < len(nodes):
        node = nodes[at]
        if not isinstance(node, Loop):
            step = replace(node, moves=True) if isinstance(node, Fetch | Move) else node
            _define(step, extents)
            done.append(step)
            at += 1
            continue
        group = [node]
        while at + len(group) < len(nodes):
            following = nodes[at + len(group)]
            if not isinstance(following, Loop) or not _follows(group[-1], following):
                break
            group.append(following)
        at += len(group)
        done += _group(group, extents)
    return done


def _follows(first: Loop, second: Loop) -> bool:
    end = first.start + first.trips * first.step
    return (second.var, second.step, second.start) == (first.var, first.step, end)


def _group(group: list[Loop], extents: dict[int, Extents]) -> list[Node]:
    """The runs of one loop as steps, or as loops again."""
    inside = [dict(extents) for _ in group]
    bodies = [_widened(loop.body, e) for loop, e in zip(group, inside)]
    try:
        flat = _Union(group, bodies, inside).steps()
    except Stays:
        extents |= inside[-1]
        return [replace(loop, body=tuple(body)) for loop, body in zip(group, bodies)]
    for step in flat:
        _define(step, extents)
    return list[Node](flat)


def _define(step: Step, extents: dict[int, Extents]) -> None:
    match step:
        case Fetch() | Move() | Acquire():
            extents[step.out] = step.extents
        case Put() | Matmul() | Map() | Reduce() | Rowwise() | Windowed():
            extents[step.into] = step.extents
        case Write():
            pass


class _Union(Tiles):
    """All trips of a loop as one."""

    def steps(self) -> list[Step]:
        """The steps of the one trip; ``Stays`` where it would not do the same."""
        if self.trips == 1:
            return [self.once(row[0]) for row in self.rows]
        joined = [self.union(row) for row in self.rows]
        for step in joined:
            stays_if(any(r in self.sums for r in reads(step)), "a step sees what is not summed yet")
        return joined

    def once(self, step: Step) -> Step:
        """A step of a loop of one trip."""
        if isinstance(step, Fetch | Move | Write):
            return replace(step, offsets=self.settled(step.offsets))
        return step

    def union(self, row: Sequence[Step]) -> Step:
        """One step for those of all runs."""
        first: Any = row[0]
        match first:
            case Acquire():
                return first
            case Fetch():
                return self.fetch(cast(Sequence[Fetch], row))
            case Move():
                return self.move(cast(Sequence[Move], row))
            case Put():
                self.grow(first.into, self.growth.get(first.source), row, regular=False)
                return replace(first, extents=self.joined(row, self.growth[first.into]))
            case Matmul() if first.window is not None:
                return self.convolution(cast(Sequence[Matmul], row))
            case Matmul():
                return self.matmul(cast(Sequence[Matmul], row))
            case Map():
                growth = self.common(row, first.operands, first.extents)
                self.grow(first.into, growth, row)
                return replace(first, extents=self.joined(row, growth))
            case Reduce():
                return self.reduce(cast(Sequence[Reduce], row))
            case Rowwise():
                growth = self.common(row, first.operands, first.extents)
                cut = growth is not None and growth[0] == first.axis
                stays_if(cut, "a row grows, of which each result may need all")
                self.grow(first.into, growth, row)
                return replace(first, extents=self.joined(row, growth))
            case Windowed():
                return self.windowed(cast(Sequence[Windowed], row))
            case _:
                return self.write(cast(Sequence[Write], row))

    # -- operations -------------------------------------------------------------------------------

    def fetch(self, row: Sequence[Fetch]) -> Fetch:
        """A block of the tensor that is the union of blocks."""
        first = row[0]
        low = None
        offsets = [s.offsets for s in row]
        if any(s.low is not None for s in row):  # count from the padding in all
            low = padding_of(first.op.low, len(first.extents))  # pyright: ignore
            for at, s in enumerate(row):
                if s.low is None:
                    offsets[at] = tuple(o + Affine(n) for o, n in zip(s.offsets, low))
        stays_if(any(o != offsets[0] for o in offsets), "its runs fetch from other places")
        growth = self.coefficient(offsets[0])
        self.growth[first.out] = growth
        extents = self.joined(row, growth, gaps=True)
        return replace(first, offsets=self.settled(offsets[0]), extents=extents, low=low)

    def move(self, row: Sequence[Move]) -> Move:
        """A larger block of the same tile, or all of a larger tile."""
        first = row[0]
        growth, source = self.coefficient(first.offsets), self.growth.get(first.source)
        stays_if(any(s.offsets != first.offsets for s in row), "its runs move from other places")
        if source is not None:
            d = source[0]
            whole = first.offsets[d] == Affine(0) and all(
                s.block[d] == e[first.source][d] for s, e in zip(row, self.inside)
            )
            stays_if(growth is not None or not whole, "a part of a tile that grows is moved")
            growth = source
        block = self.union_of([s.block for s in row], growth, gaps=True)
        moved = None if growth is None else (first.permutation.index(growth[0]), growth[1])
        self.growth[first.out] = moved
        return replace(
            first,
            offsets=self.settled(first.offsets),
            block=block,
            extents=tuple(block[axis] for axis in first.permutation),
        )

    def write(self, row: Sequence[Write]) -> Write:
        """A block that is the union of blocks."""
        first = row[0]
        growth = self.coefficient(first.offsets)
        stays_if(
            any(s.offsets != first.offsets for s in row) or growth != self.read(first.source),
            "its runs write to other places, or not all that they computed",
        )
        return replace(first, offsets=self.settled(first.offsets), extents=self.joined(row, growth))

    def summed(self, row: Sequence[Matmul]) -> Matmul:
        """One sum over the loop, the epilogue after it."""
        first, last = row[0], row[-1]
        begins = [s.accumulate for s in row]
        stays_if(
            first.sums in self.own
            or last.into in self.own
            or not all(begins[1:])
            or (not begins[0] and self.runs[0] > 1)
            or any(s.epilogue is not None for s in row[:-1])
            or any(s.apart for s in row[:-1])
            or ((last.epilogue is not None or last.apart) and self.runs[-1] > 1),
            "the loop is not the whole sum",
        )
        for register in last.extra:
            self.steady(register)
        self.sums |= {first.sums, last.into}
        return replace(
            last, accumulate=first.accumulate, extents=self.union_of([s.extents for s in row], None)
        )

    def product(self, row: Sequence[Matmul], growth: Growth) -> Matmul:
        """Products beside each other."""
        first = row[0]
        stays_if(
            any(self.how(s) != self.how(first) for s in row),
            "its runs compute different products",
        )
        stays_if(first.apart and first.accumulate, "its sums begin in another tile")
        self.broadcast(first.extra, growth, first.extents)
        self.grow(first.into, growth, row)
        return replace(first, extents=self.joined(row, growth))

    def how(self, step: Matmul) -> tuple[object, ...]:
        """What the same product has in each run."""
        return step.accumulate, step.epilogue, step.extra, step.into

    def matmul(self, row: Sequence[Matmul]) -> Matmul:
        """A larger product: more rows, columns or batches, or a longer sum."""
        first = row[0]
        stays_if(first.each, "what it adds up is finished first")
        a, b = self.read(first.lhs), self.read(first.rhs)
        left, right = self.extents(first.lhs), self.extents(first.rhs)
        rank = len(first.extents)
        # Dimensions counted from the last, as the result's are.
        if a is not None and a[0] == len(left) - 1:
            stays_if(b != (len(right) - 2, a[1]), "the operands of a sum grow differently")
            return self.summed(row)
        stays_if(b is not None and b[0] == len(right) - 2, "one operand of a sum grows alone")
        grown = [(g[0] - len(e) + rank, g[1]) for g, e in ((a, left), (b, right)) if g is not None]
        if not grown:
            return self.product(row, None)
        growth = grown[0]
        d = growth[0]
        if d == rank - 2 or d == rank - 1:
            stays_if(len(grown) > 1, "both operands grow along the result")
        else:
            stays_if(any(g != growth for g in grown), "operands grow along different batches")
            for own, e in ((a, left), (b, right)):
                at = d - rank + len(e)
                stays_if(
                    own is None and at >= 0 and e[at] != 1,
                    "an operand that does not grow has several batches",
                )
        return self.product(row, growth)

    def convolution(self, row: Sequence[Matmul]) -> Matmul:
        """A larger product under windows: more filters, more positions, or a sum over channels."""
        first = row[0]
        assert first.window is not None
        a, b = self.growth.get(first.lhs), self.growth.get(first.rhs)
        left, right = self.extents(first.lhs), self.extents(first.rhs)
        rank = len(first.extents)
        if a is not None and b is not None:
            stays_if(
                a[0] != len(left) - 3 or b != (len(right) - 3, a[1]),
                "the operands of a sum under windows grow differently",
            )
            self.read(first.lhs)
            self.read(first.rhs)
            return self.summed(row)
        if a is not None:
            stays_if(a[0] != len(left) - 4, "filters grow along another dimension than their first")
            self.read(first.lhs)
            self.steady(first.rhs)
            return self.product(row, (rank - 3, a[1]))
        self.steady(first.lhs)
        return self.product(row, self.positions(first.rhs, first.window.strides, rank))

    def positions(self, source: int, strides: tuple[int, ...], rank: int) -> Growth:
        """How what is under windows grows with rows or columns of its source."""
        growth, e = self.growth.get(source), self.extents(source)
        if growth is None:
            self.steady(source)
            return None
        axis = growth[0] - len(e)
        stays_if(
            axis < -2 or growth[1] % strides[axis] != 0,
            "blocks are no whole number of the window's steps apart",
        )
        self.union_of([inside[source] for inside in self.inside], growth, gaps=True)
        return rank + axis, growth[1] // strides[axis]

    def windowed(self, row: Sequence[Windowed]) -> Windowed:
        """More channels, or more positions."""
        first = row[0]
        source, e = self.growth.get(first.source), self.extents(first.source)
        rank = len(first.extents)
        if source is not None and source[0] == len(e) - 3:
            growth = (rank - 3, source[1])
            self.read(first.source)
            if first.weights is not None:
                self.read(first.weights)
                weights = self.growth.get(first.weights)
                leading = self.extents(first.weights)[:-2]
                stays_if(
                    weights is None or weights[1] != source[1] or weights[0] >= len(leading),
                    "weights do not grow as the channels do",
                )
                assert weights is not None
                stays_if(
                    any(n != 1 for d, n in enumerate(leading) if d != weights[0]),
                    "weights have another leading dimension",
                )
        else:
            growth = self.positions(first.source, first.window.strides, rank)
            if first.weights is not None:
                self.steady(first.weights)
        self.broadcast(first.extra, growth, first.extents)
        self.grow(first.into, growth, row)
        return replace(first, extents=self.joined(row, growth))

    def reduce(self, row: Sequence[Reduce]) -> Reduce:
        """More results, or a longer reduction."""
        first = row[0]
        growth = self.read(first.source)
        begins = [s.accumulate for s in row]
        if growth is None or growth[0] not in first.axes:
            stays_if(any(begins) != all(begins), "its runs begin different reductions")
            self.grow(first.into, growth, row)
            return replace(first, extents=self.joined(row, growth))
        stays_if(
            first.into in self.own or not all(begins[1:]),
            "the loop is not the whole reduction",
        )
        stays_if(not begins[0] and self.runs[0] > 1, "a reduction begins anew in each trip")
        self.sums.add(first.into)
        return replace(first, extents=self.union_of([s.extents for s in row], None))


def reads(step: Step) -> tuple[int, ...]:
    """The registers whose tiles a step reads."""
    match step:
        case Move() | Put() | Write():
            return (step.source,)
        case Matmul() | Map() | Reduce() | Rowwise() | Windowed():
            return step.operands
        case _:
            return ()


def loops(nodes: Sequence[Node]) -> int:
    """How many loops are left."""
    return sum(1 + loops(n.body) for n in nodes if isinstance(n, Loop))
