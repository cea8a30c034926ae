"""Proves for a plan that its slots hold what its program says.

Who owns a slot, and what was put into it, does not depend on data: the plan is walked once with
numbers instead of tiles. Where every read finds the tile that its register names, and each element
of each result is written exactly once, running on slots gives the same as running on plain values
that are never overwritten (``values_wide.py``), with each transfer made anew. All that is not
proven here is left to the slots, and so are the errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

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
    Ring,
    Rowwise,
    Step,
    Windowed,
    Write,
    nested,
    product,
    rings_of,
    steps,
)
from kpu_ir.support.types import dtype_of

DEEPEST = 16
"""Loops inside each other that are walked: Python nests 20 of its own."""


def proven(plan: Plan) -> bool:
    """Whether ``plan`` gives the same on plain values as on slots."""
    if nested(plan.body) > DEEPEST:
        return False
    rings = rings_of(plan)
    read: set[int] = set()
    written: set[int] = set()
    for step in steps(plan.body):
        match step:
            case Acquire():
                if not step.fresh:
                    return False
            case Fetch():
                read |= {step.buffer} if step.by is None else {step.buffer, step.by}
                if plan.parameters[step.buffer].element_type != step.ring.element:
                    return False
            case Move():
                if rings[step.source].element != step.ring.element:
                    return False
            case Put():
                if rings[step.source].element != rings[step.into].element:
                    return False
            case Write():
                written.add(step.buffer)
                element = plan.parameters[step.buffer].element_type
                if dtype_of(element) != dtype_of(rings[step.source].element):
                    return False
            case _:
                pass
    if read & written:
        return False
    walk = _Walk(rings).compile(plan)
    marks = {b: np.zeros(tuple(plan.parameters[b].get_shape()), np.bool_) for b in written}
    counts = walk(marks)
    return counts is not None and all(
        counts[b] == mark.size and bool(mark.all()) for b, mark in marks.items()
    )


class _Walk:
    """Writes one Python function that walks a plan: ``s`` is a register's slot, ``t`` whose it was
    when it was taken, ``i`` what it should hold; ``own`` and ``has`` are what the slots say."""

    def __init__(self, rings: dict[int, Ring]) -> None:
        self.rings = rings
        self.lines: list[str] = []
        self.operations: dict[int, int] = {}

    def compile(self, plan: Plan) -> Callable[[dict[int, Any]], dict[int, int] | None]:
        """A function from a mask for each buffer that is written, which it sets, to how many
        elements were written into each; None where a read finds another tile."""
        buffers = sorted({s.buffer for s in steps(plan.body) if isinstance(s, Write)})
        self.emit(1, "n = 0")
        for ring in plan.rings:
            r = ring.index
            self.emit(1, f"h{r} = 0; own{r} = [0] * {ring.depth}; has{r} = [None] * {ring.depth}")
        for register in self.rings:
            self.emit(1, f"s{register} = 0; t{register} = -1; i{register} = None")
        for b in buffers:
            self.emit(1, f"m{b} = marks[{b}]; c{b} = 0")
        self.nodes(plan.body, 1)
        self.emit(1, f"return {{{', '.join(f'{b}: c{b}' for b in buffers)}}}")
        scope: dict[str, Any] = {}
        exec("def walk(marks):\n" + "\n".join(self.lines), scope)
        return cast(Callable[[dict[int, Any]], dict[int, int] | None], scope["walk"])

    def emit(self, depth: int, text: str) -> None:
        """A line."""
        self.lines.append(" " * depth + text)

    def nodes(self, nodes: Sequence[Node], depth: int) -> None:
        """Loops as loops, steps as lines."""
        for node in nodes:
            if isinstance(node, Loop):
                stop = node.start + node.trips * node.step
                self.emit(depth, f"for v{node.var} in range({node.start}, {stop}, {node.step}):")
                self.nodes(node.body, depth + 1)
            else:
                self.step(node, depth)

    def step(self, step: Step, depth: int) -> None:
        """What a step reads, takes and leaves."""
        match step:
            case Fetch():
                offsets = step.offsets
                low = padding_of(step.op.low, len(offsets))  # pyright: ignore
                if step.low is None:  # count from the padding always: one block, one name
                    offsets = tuple(o + Affine(n) for o, n in zip(offsets, low))
                self.filled(step, f"({self.name(step)}, {_tuple(offsets)})", depth)
            case Move():
                if step.moves:
                    self.read(step.source, depth)
                holds = f"({self.name(step)}, i{step.source}, {_tuple(step.offsets)})"
                self.filled(step, holds, depth)
            case Acquire():
                self.take(step.ring, step.out, depth)
                self.emit(depth, f"i{step.out} = has{step.ring.index}[s{step.out}] = None")
            case Put():
                self.read(step.source, depth)
                self.write(step.into, False, depth)
            case Matmul() | Map() | Reduce() | Rowwise() | Windowed():
                for register in step.operands:
                    self.read(register, depth)
                accumulate = isinstance(step, Matmul | Reduce) and step.accumulate
                if accumulate and isinstance(step, Matmul) and step.apart:
                    self.read(step.sums, depth)
                    accumulate = False
                self.write(step.into, accumulate, depth)
            case Write():
                self.read(step.source, depth)
                b, at = step.buffer, [_text(o) for o in step.offsets]
                where = ", ".join(f"{a}:{a} + {n}" for a, n in zip(at, step.extents))
                self.emit(depth, f"m{b}[{where or '...'}] = True; c{b} += {product(step.extents)}")

    def name(self, step: Step) -> int:
        """A number for the operation of a step, which several steps may share."""
        return self.operations.setdefault(id(step.op), len(self.operations))

    def filled(self, step: Fetch | Move, holds: str, depth: int) -> None:
        """A transfer into the next slot; where it is a kept tile's, the slot is taken up."""
        r, out = step.ring.index, step.out
        self.emit(depth, f"i{out} = {holds}")
        if step.moves:
            self.take(step.ring, out, depth)
            self.emit(depth, f"has{r}[s{out}] = i{out}")
        else:
            self.turn(step.ring, out, depth)
            self.emit(depth, f"t{out} = own{r}[s{out}]")

    def turn(self, ring: Ring, out: int, depth: int) -> None:
        """To the ring's next slot."""
        r = ring.index
        turn = f"h{r} = s{out} + 1 if s{out} < {ring.depth - 1} else 0" if ring.depth > 1 else ""
        self.emit(depth, f"s{out} = h{r}; {turn}")

    def take(self, ring: Ring, out: int, depth: int) -> None:
        """The ring's next slot, for a new tile."""
        self.turn(ring, out, depth)
        self.emit(depth, f"n += 1; own{ring.index}[s{out}] = t{out} = n")

    def read(self, register: int, depth: int) -> None:
        """Its slot must be its own still, and hold what it should."""
        r, x = self.rings[register].index, register
        self.emit(depth, f"if own{r}[s{x}] != t{x} or has{r}[s{x}] != i{x}: return None")

    def write(self, register: int, accumulate: bool, depth: int) -> None:
        """A result, which no other is equal to."""
        r, x = self.rings[register].index, register
        if accumulate:
            self.read(x, depth)
        else:
            self.emit(depth, f"if own{r}[s{x}] != t{x}: return None")
        self.emit(depth, f"n += 1; i{x} = has{r}[s{x}] = n")


def _text(offset: Affine) -> str:
    return str(offset.const) + "".join(f" + {c} * v{v}" for v, c in offset.terms)


def _tuple(offsets: Sequence[Affine]) -> str:
    return f"({''.join(f'{_text(o)}, ' for o in offsets)})"
