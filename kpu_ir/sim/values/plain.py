"""Runs a proven and widened plan on plain values.

A register holds an array that nobody writes to again: transfers are views, of external memory too,
which the kernel does not write while it reads it; results are new arrays. One that is all of what a
kernel writes becomes the tensor itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from kpu_ir.scalar.rows import row_function
from kpu_ir.sim.program.plan import (
    Acquire,
    Affine,
    Fetch,
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
    product,
    rings_of,
    steps,
)
from kpu_ir.sim.values.blocks import (
    Hanging,
    blocked,
    channels_of,
    convolved,
    finished,
    multiplied,
    padded,
    part_of,
    reduced,
    weighted,
)
from kpu_ir.sim.values.runner import Array, Run, Runner, chosen
from kpu_ir.sim.values.wide import reads
from kpu_ir.support.types import dtype_of, fill_of, stored


class PlainRunner(Runner):
    """The closures of a plan's ``body``, as ``widen`` gives it."""

    def __init__(self, plan: Plan, body: Sequence[Node], segments: int) -> None:
        """Make the closures of ``body``; ``plan`` is what it was widened from."""
        super().__init__(plan, segments)
        self.dtypes = {r: dtype_of(ring.element) for r, ring in rings_of(plan).items()}
        self.parameters = plan.parameters
        self.registers: list[Array] = [np.empty(0)] * plan.values
        self.results: dict[int, Array] = {}
        self.read: set[int] = set()
        self.written: set[int] = set()
        for step in steps(plan.body):
            if isinstance(step, Fetch):
                self.read |= {step.buffer} if step.by is None else {step.buffer, step.by}
            elif isinstance(step, Write):
                self.written.add(step.buffer)
        self.windowed = _windowed(body)
        self.body = self._block(body)

    def takes(self, arguments: Sequence[int], masks: Sequence[Array | None]) -> bool:
        """Whether a call's arguments are as the proof assumes: all that is read is there, and what
        is written is nothing else."""
        for b in self.read:
            if masks[arguments[b]] is not None:
                return False
        return all(arguments.count(arguments[b]) == 1 for b in self.written)

    def run(self, buffers: Sequence[Array]) -> dict[int, Array]:
        """Run on external buffers shaped as the parameters, of a call that ``takes``; the tensors
        that it writes, by parameter.

        Raises ``KpuError`` for an index out of bounds.
        """
        self.buffers[:] = buffers
        self.body()
        results = dict(self.results)
        self.results.clear()
        self.buffers.clear()
        self.registers[:] = [np.empty(0)] * len(self.registers)  # what they held may be large
        return results

    def _step(self, step: Step) -> Run:
        match step:
            case Fetch() if step.low is not None:
                return self._padded(step)
            case Fetch() if step.by is not None:
                return self._gathered(step, step.by)
            case Fetch():
                return self._fetch(step)
            case Move():
                return self._move(step)
            case Put():
                registers, source, into = self.registers, step.source, step.into

                def put() -> None:
                    registers[into] = registers[source]

                return put
            case Matmul():
                return self._matmul(step)
            case Map():
                return self._map(step)
            case Reduce():
                return self._reduce(step)
            case Rowwise():
                return self._row(step)
            case Windowed():
                return self._window(step)
            case Write():
                return self._write(step)
            case Acquire():
                return lambda: None

    # -- transfers --------------------------------------------------------------------------------

    def _fetch(self, step: Fetch) -> Run:
        slices, buffers, b = self._slices(step.offsets, step.extents), self.buffers, step.buffer
        registers, out = self.registers, step.out

        def fetch() -> None:
            registers[out] = buffers[b][slices()]

        return fetch

    def _gathered(self, step: Fetch, by: int) -> Run:
        """Rows by a list of indices."""
        slices, buffers, b = self._slices(step.offsets, step.extents), self.buffers, step.buffer
        registers, out = self.registers, step.out

        def fetch() -> None:
            where = slices()
            registers[out] = chosen(step, buffers[b], buffers[by][where[1]], where)

        return fetch

    def _padded(self, step: Fetch) -> Run:
        """A block that hangs into the padding."""
        inside, extents, dtype = self._inside(step), step.extents, self.dtypes[step.out]
        fill = fill_of(step.fill, dtype)
        registers, out, buffers, b = self.registers, step.out, self.buffers, step.buffer

        def fetch() -> None:
            where, into = inside()
            registers[out] = padded(buffers[b][where], into, extents, fill)

        def hang() -> None:
            where, into = inside()
            registers[out] = cast(Array, Hanging(buffers[b][where], into, extents, fill))

        return hang if out in self.windowed else fetch

    def _move(self, step: Move) -> Run:
        slices, registers = self._slices(step.offsets, step.block), self.registers
        source, out, permutation = step.source, step.out, step.permutation
        permuted = permutation != tuple(range(len(permutation)))
        begins = all(o == Affine(0) for o in step.offsets)

        def move() -> None:
            tile = registers[source]
            if not begins or tile.shape != step.block:
                tile = (tile.whole() if isinstance(tile, Hanging) else tile)[slices()]
            registers[out] = tile.transpose(permutation) if permuted else tile

        return move

    def _write(self, step: Write) -> Run:
        slices, results, b = self._slices(step.offsets, step.extents), self.results, step.buffer
        registers, source, parameter = self.registers, step.source, self.parameters[step.buffer]
        shape, dtype = tuple(parameter.get_shape()), dtype_of(parameter.element_type)

        def write() -> None:
            value, flags = registers[source], registers[source].flags
            if value.shape == shape and value.dtype == dtype and flags.owndata and flags.carray:
                if not any(value is other for other in results.values()):
                    results[b] = value
                    return
            if b not in results:
                results[b] = np.empty(shape, dtype)
            results[b][slices()] = value

        return write

    # -- operations -------------------------------------------------------------------------------

    def _matmul(self, step: Matmul) -> Run:
        registers, lhs, rhs, into = self.registers, step.lhs, step.rhs, step.into
        extra, accumulate, extents = step.extra, step.accumulate, step.extents
        sums, dtype = step.sums, dtype_of(step.sum_element)
        epilogue = self._body(step.epilogue) if step.epilogue else None
        window, kept = step.window, dtype_of(step.out_element)
        each = step.each

        def run() -> None:
            a, b = registers[lhs], registers[rhs]
            c = (
                multiplied(a, b, dtype)
                if window is None
                else convolved(a, b, window, extents, dtype)
            )
            if each:
                c = finished(c, epilogue, [registers[e] for e in extra], kept)
                registers[into] = np.add(registers[sums], c, out=c) if accumulate else c
                return
            if accumulate:
                c = np.add(registers[sums], c, out=c)
            c = c.astype(dtype, copy=False)
            registers[into] = finished(c, epilogue, [registers[e] for e in extra], kept)

        return run

    def _map(self, step: Map) -> Run:
        registers, inputs, into = self.registers, step.operands, step.into
        body, extents, dtype = self._body(step.body), step.extents, self.dtypes[step.into]

        def run() -> None:
            registers[into] = blocked(
                body, [registers[i] for i in inputs], np.empty(extents, dtype)
            )

        return run

    def _reduce(self, step: Reduce) -> Run:
        registers, source, into = self.registers, step.source, step.into
        combine, axes, dtype = step.kind, step.axes, self.dtypes[step.into]
        accumulate = step.accumulate

        def run() -> None:
            before = registers[into] if accumulate else None
            registers[into] = reduced(combine, registers[source], axes, dtype, before)

        return run

    def _row(self, step: Rowwise) -> Run:
        registers, operands, into = self.registers, step.operands, step.into
        kind, axis, count = step.function, step.axis, step.extents[step.axis]
        backward, exclusive = step.record.backward, step.record.exclusive

        def run() -> None:
            arrays = [registers[r] for r in operands]
            registers[into] = row_function(kind, arrays, axis, count, backward, exclusive)

        return run

    def _window(self, step: Windowed) -> Run:
        registers, source, into = self.registers, step.source, step.into
        weights, extra, extents = step.weights, step.extra, step.extents
        window, kind, kept = step.window, step.kind, self.dtypes[step.into]
        dtype = dtype_of(step.sum_element)
        epilogue = self._body(step.epilogue) if step.epilogue else None
        assert product(extents[:-3]) == 1

        def run() -> None:
            w = None if weights is None else registers[weights]
            sums = np.empty(extents, dtype)
            operands = [sums, *[registers[e] for e in extra]]
            result = sums if kept == dtype else np.empty(extents, kept)
            image = channels_of(registers[source])
            for part in weighted(kind, image, window, w, sums.reshape(extents[-3:])):
                if epilogue is not None:  # while they are in the cache
                    out = part_of(result, -3, part)
                    epilogue(*[part_of(x, -3, part) for x in operands], out=out)
            registers[into] = result if epilogue is not None else stored(sums, kept)

        return run


def _windowed(body: Sequence[Node]) -> set[int]:
    """The tiles that nothing but windows of single channels reads, and moves on the way there."""
    whole: set[int] = set()  # others
    for step in reversed(list(steps(body))):
        match step:
            case Windowed():
                whole |= {*step.operands} - {step.source}
            case Move() if step.permutation == tuple(range(len(step.permutation))):
                whole |= {step.source} if step.out in whole else set()
            case _:
                whole |= {*reads(step)}
    return {s.out for s in steps(body) if isinstance(s, Fetch | Move)} - whole
