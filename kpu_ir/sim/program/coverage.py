"""Whether a kernel writes each element of its results once, and adds up all of what it adds up.

A loop that begins too late, ends too early or steps too far leaves elements out, or takes them
twice; so does a transfer that is missing, or is there twice. That is decided from the plan, whose
blocks are affine in the loops and clipped already, in time that follows from its size rather than
from how often its loops run. ``coordinates.py`` finds what does not belong together at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from math import prod

import numpy as np

from kpu_ir.nest import records
from kpu_ir.nest.records import Affine, Function, Shape
from kpu_ir.sim.program.boxes import (
    Boxes,
    Counts,
    Segments,
    Undecided,
    counted,
    fault,
    first_block,
    segments,
)
from kpu_ir.sim.program.coordinates import Coordinates, Sum
from kpu_ir.sim.program.plan import (
    Acquire,
    Fetch,
    Loop,
    Matmul,
    Move,
    Node,
    Plan,
    Reduce,
    Step,
    Write,
    steps,
)
from kpu_ir.sim.program.program import Program
from kpu_ir.support.errors import KpuError
from kpu_ir.text.places import at_call

HINT = "was a loop, an offset or an operation changed? kpu-run --against compares with the original"


def check_coverage(program: Program) -> None:
    """Raise ``KpuError``, with its place, where a kernel does not write all of its results once, sums up
    less or more than there is, or reads what no kernel before it wrote."""
    checked: set[str] = set()
    for call in program.calls:
        if call.plan.name not in checked:
            checked.add(call.plan.name)
            with at_call(call.where):
                check_plan(call.plan)
    written = {b.index for b in program.buffers if b.kind != "temporary"}
    for call in program.calls:
        for position in sorted(_reads(call.plan) - call.plan.writes):
            index = call.arguments[position]
            if index not in written:
                raise KpuError(
                    f"@{call.plan.name} reads %{program.buffers[index].name}, which nothing has "
                    "written",
                    call.where,
                    HINT,
                )
        written.update(call.arguments[position] for position in call.plan.writes)
    for port in program.outputs:
        if port.buffer not in written:
            raise KpuError(f"nothing writes the output '{port.name}'", hint=HINT)


def check_plan(plan: Plan) -> None:
    """The same for one kernel."""
    first = next(steps(plan.body), None)
    if first is None:
        return
    function: Function = first.record.function
    coordinates = Coordinates(function)
    placed = list(_placed(plan.body))
    _check_writes(plan, placed)
    _check_sums(plan, function, coordinates.sums, placed)


def _reads(plan: Plan) -> set[int]:
    """The parameters that a kernel reads."""
    found: set[int] = set()
    for step in steps(plan.body):
        if isinstance(step, Fetch):
            found |= {step.buffer} if step.by is None else {step.buffer, step.by}
    return found


@dataclass(frozen=True, slots=True)
class Placed:
    """A step in its loops, the outermost first; ``extents`` are those of its operand, where it has
    one that is summed along."""

    step: Step
    loops: tuple[Loop, ...]
    extents: Shape | None


@dataclass(frozen=True, slots=True)
class Written:
    """A write in its loops."""

    step: Write
    loops: tuple[Loop, ...]

    @property
    def boxes(self) -> Boxes:
        """What it covers. Raises ``Undecided`` where a loop moves it along two dimensions."""
        offsets, loops = self.step.offsets, self.loops
        moving = [v for o in offsets for v, _ in o.terms]
        if len(moving) != len(set(moving)):
            raise Undecided
        times = prod(loop.trips for loop in loops if loop.var not in moving)
        axes = tuple(_segments(o, n, loops) for o, n in zip(offsets, self.step.extents))
        return Boxes(axes, times)

    def holds(self, at: Sequence[int]) -> bool:
        """Whether it writes an element."""
        axes = self.boxes.axes
        return all(any(a <= n < b for a, b, _ in axis) for n, axis in zip(at, axes))


def _placed(nodes: Sequence[Node]) -> Iterator[Placed]:
    """The steps of a plan, in order."""
    extents: dict[int, Shape] = {}

    def walk(nodes: Sequence[Node], loops: tuple[Loop, ...]) -> Iterator[Placed]:
        for node in nodes:
            if isinstance(node, Loop):
                yield from walk(node.body, (*loops, node))
                continue
            source = extents.get(node.source) if isinstance(node, Reduce) else None
            yield Placed(node, loops, source)
            if isinstance(node, Fetch | Move | Acquire):
                extents[node.out] = node.extents
            elif not isinstance(node, Write):
                extents[node.into] = node.extents

    return walk(nodes, ())


def _segments(offset: Affine, length: int, loops: Sequence[Loop]) -> Segments:
    """Where a block's dimension is, over all trips of the loops that move it."""
    moves, base = [], offset.const
    by_var = {loop.var: loop for loop in loops}
    for var, coefficient in offset.terms:
        loop = by_var[var]
        base += coefficient * loop.start
        moves.append((coefficient * loop.step, loop.trips))
    return segments(base, length, moves)


# -- what is written ------------------------------------------------------------------------------


def _check_writes(plan: Plan, placed: Sequence[Placed]) -> None:
    by_target: dict[int, list[Written]] = defaultdict(list)
    for one in placed:
        if isinstance(one.step, Write):
            by_target[one.step.buffer].append(Written(one.step, one.loops))
    for position, writes in by_target.items():
        shape = tuple(plan.parameters[position].get_shape())
        try:
            wrong = fault([one.boxes for one in writes], shape)
        except Undecided:
            continue
        if wrong is None:
            continue
        name = _called(writes[0].step.record.target)
        if wrong.times == 0:
            raise KpuError(f"{wrong} of {name} is never written", writes[0].step.record.place, HINT)
        last = [one for one in writes if one.holds(wrong.begin)][-1].step.record
        raise KpuError(f"{wrong} of {name} is written {wrong.times} times", last.place, HINT)


# -- what is added up -----------------------------------------------------------------------------


@dataclass(slots=True)
class Added:
    """What an operation adds up: the boxes over the trips of the loops outside (``outer``) and the
    dimensions summed along, in all ``shape``."""

    sum: Sum
    outer: tuple[int, ...]
    shape: Shape
    boxes: list[Boxes]

    @property
    def wrong(self) -> str | None:
        """What is not added up once, in words; None where all is, in each trip that adds at all."""
        cuts, total = counted(self.boxes, self.shape)
        return _uneven(cuts, total, len(self.outer))


def _check_sums(
    plan: Plan, function: Function, sums: Sequence[Sum], placed: Sequence[Placed]
) -> None:
    of: dict[records.Record, list[Placed]] = defaultdict(list)
    for one in placed:
        if isinstance(one.step, Matmul | Reduce):
            of[one.step.record].append(one)
    parts: dict[tuple[object, ...], list[tuple[Added, str]]] = defaultdict(list)
    for found in sums:
        if not of[found.record]:
            continue
        _check_over(function, found)
        try:
            added = _added(function, found, of[found.record])
            wrong = added.wrong
        except Undecided:
            continue
        if wrong is not None:
            axes = tuple((a.tensor, a.axis) for a in found.along)
            kind = (
                found.record.name
                if isinstance(found.record, records.Matmul)
                else str(found.record.reduction.value)
            )
            parts[kind, axes].append((added, wrong))
    for group in parts.values():
        _check_parts(function, group)


def _check_over(function: Function, found: Sum) -> None:
    """Each loop of a sum brings other elements."""
    moving = {v for axis in found.along for v, _ in axis.offset.terms}
    for v in found.over:
        loop = function.loops[v]
        if v not in moving and len(loop.bounds) > 1:
            raise KpuError(
                f"the sum over %{loop.index.name or v} takes the same elements "
                f"{len(loop.bounds)} times",
                found.record.place,
                HINT,
            )


def _added(function: Function, found: Sum, placed: Sequence[Placed]) -> Added:
    along = found.along
    moving = [v for axis in along for v, _ in axis.offset.terms]
    if len(moving) != len(set(moving)):
        raise Undecided
    around = [loop.var for loop in placed[0].loops]
    outer = tuple(v for v in around if v not in moving and v not in found.over)
    trips = tuple(len(function.loops[v].bounds) for v in outer)
    boxes: list[Boxes] = []
    for one in placed:
        lengths = _lengths(found, one)
        by_var = {loop.var: loop for loop in one.loops}
        axes: list[Segments] = []
        for v in outer:
            bounds, loop = function.loops[v].bounds, by_var[v]
            begin = (loop.start - bounds.start) // bounds.step
            axes.append(((begin, begin + loop.trips, 1),))
        axes += [_segments(a.offset, n, one.loops) for a, n in zip(along, lengths)]
        boxes.append(Boxes(tuple(axes)))
    return Added(found, outer, (*trips, *(a.extent for a in along)), boxes)


def _lengths(found: Sum, one: Placed) -> Shape:
    """How many elements of each dimension one step adds up."""
    if isinstance(one.step, Matmul):
        window = one.step.window
        k = one.step.k // (window.taps if window else 1)
        return tuple(k if at < 0 else one.step.extents[at] for at in found.positions)
    if one.extents is None:
        raise Undecided
    return tuple(one.extents[i] for i in found.positions)


def _uneven(cuts: Sequence[Sequence[int]], total: Counts, outer: int) -> str | None:
    """Of counts over ``outer`` loops and dimensions: what is left out, or taken more often; None where
    every trip takes all once, or nothing at all."""
    rows = total.reshape(-1, *total.shape[outer:])
    edges = cuts[outer:]
    for row in rows:
        least, most = int(row.min()), int(row.max())
        if most == 0 or least == most == 1:
            continue
        wrong = row == 0 if least == 0 else row > 1
        begin, end = first_block(wrong, edges)
        where = ", ".join(f"{a}:{b}" for a, b in zip(begin, end))
        sizes = np.ones((), np.int64)
        for line in edges:
            sizes = np.multiply.outer(sizes, np.diff(line))
        taken, extent = int((row * sizes).sum()), int(sizes.sum())
        what = (
            "is left out"
            if least == 0
            else f"is taken {int(row[tuple(np.argwhere(wrong)[0])])} times"
        )
        return f"adds up {taken} elements of {extent}: [{where}] {what}"
    return None


def _check_parts(function: Function, group: Sequence[tuple[Added, str]]) -> None:
    """Sums that take a part each, on the way through a loop or beside one, are of all of it together
    with others. A part beside all loops may also stand alone (the mean of a first piece, say)."""
    moving = [one for one in group if any(a.offset.terms for a in one[0].sum.along)]
    for added, words in moving or group:
        if not _completed(added, [other for other, _ in group if other is not added]):
            axis, record = added.sum.along[0], added.sum.record
            called = _called(function.tensors[axis.tensor]) if axis.tensor >= 0 else "a tile"
            raise KpuError(f"{words} (dimension {axis.axis} of {called})", record.place, HINT)


def _completed(added: Added, others: Sequence[Added]) -> bool:
    """Whether a sum takes all of its operand once, together with one to three others."""
    apart: list[list[Boxes]] = []
    for other in others:
        if other.outer == added.outer and other.boxes not in apart:
            apart.append(other.boxes)
    for count in range(1, min(3, len(apart)) + 1):
        for chosen in combinations(apart, count):
            try:
                cuts, total = counted([*added.boxes, *chain(*chosen)], added.shape)
            except Undecided:
                return True
            if _uneven(cuts, total, len(added.outer)) is None:
                return True
    return False


def _called(tensor: records.Tensor) -> str:
    return f"%{tensor.name}" if tensor.name else f"parameter {tensor.position}"
