"""What the two ways to the values of a plan have in common: closures that loop over closures, and
where a block stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from xdsl.ir import Block

from kpu_ir.scalar.body import Body, compile_body
from kpu_ir.sim.program.plan import Affine, Fetch, Loop, Node, Plan, Step, place
from kpu_ir.support.errors import KpuError

Array = np.ndarray[Any, np.dtype[Any]]
Run = Callable[[], None]


class Runner:
    """The closures of a plan; ``at`` is where its loops stand, ``buffers`` what it is called on."""

    def __init__(self, plan: Plan, segments: int) -> None:
        """For calls of ``plan``; functions have tables of so many ``segments``, or are exact with 0."""
        self.segments = segments
        self.at = [0] * plan.variables
        self.buffers: list[Array] = []

    def _step(self, step: Step) -> Run:
        """The closure of one operation."""
        raise NotImplementedError

    def _body(self, block: Block) -> Body:
        """A scalar body, with the functions that the machine has."""
        return compile_body(block, segments=self.segments)

    def _block(self, nodes: Sequence[Node]) -> Run:
        runs = [self._loop(n) if isinstance(n, Loop) else self._step(n) for n in nodes]
        if len(runs) == 1:
            return runs[0]

        def block() -> None:
            for run in runs:
                run()

        return block

    def _loop(self, loop: Loop) -> Run:
        runs = [self._loop(n) if isinstance(n, Loop) else self._step(n) for n in loop.body]
        at, var = self.at, loop.var
        values = range(loop.start, loop.start + loop.trips * loop.step, loop.step)

        def run() -> None:
            for i in values:
                at[var] = i
                for step in runs:
                    step()

        return run

    def _index(self, offsets: Sequence[Affine]) -> Callable[[], tuple[int, ...]]:
        """The offsets where the loops stand now."""
        at = self.at
        if not any(o.terms for o in offsets):
            constant = tuple(o.const for o in offsets)
            return lambda: constant
        terms = "".join(
            f"{o.const}{''.join(f' + {c} * at[{v}]' for v, c in o.terms)}, " for o in offsets
        )
        return eval(f"lambda: ({terms})", {"at": at})

    def _slices(
        self, offsets: Sequence[Affine], extents: tuple[int, ...]
    ) -> Callable[[], tuple[slice, ...]]:
        """The slices of a block where the loops stand now."""
        at = self.at
        if not any(o.terms for o in offsets):
            constant = tuple(slice(o.const, o.const + n) for o, n in zip(offsets, extents))
            return lambda: constant
        parts: list[str] = []
        for o, n in zip(offsets, extents):
            where = f"{o.const}{''.join(f' + {c} * at[{v}]' for v, c in o.terms)}"
            parts.append(f"slice({where}, {where} + {n}), ")
        return eval(f"lambda: ({''.join(parts)})", {"at": at, "slice": slice})

    def _inside(self, step: Fetch) -> Callable[[], tuple[tuple[slice, ...], tuple[slice, ...]]]:
        """Of a block that hangs into the padding: what it covers of the tensor, and where in the
        block that goes."""
        assert step.low is not None
        index, low, extents = self._index(step.offsets), step.low, step.extents
        buffers, b = self.buffers, step.buffer

        def inside() -> tuple[tuple[slice, ...], tuple[slice, ...]]:
            begin = [at - n for at, n in zip(index(), low)]
            first = [max(0, at) for at in begin]
            last = [
                max(a, min(at + n, full))
                for a, at, n, full in zip(first, begin, extents, buffers[b].shape)
            ]
            source = tuple(slice(a, z) for a, z in zip(first, last))
            return source, tuple(slice(a - at, z - at) for a, z, at in zip(first, last, begin))

        return inside


def chosen(step: Fetch, table: Array, index: Array, where: tuple[slice, ...]) -> Array:
    """The rows of a table that a list names. Raises ``KpuError`` for one that is not there."""
    first, _, *rest = where
    extent = table.shape[1]
    if index.size and (index.min() < -extent or index.max() >= extent):
        raise KpuError(
            f"an index of {index.min()} to {index.max()} into {extent} rows", place(step.op)
        )
    return table[(first, index.astype(np.intp, copy=False), *rest)]  # NumPy takes no i4
