"""Runs a plan operation by operation on slots, as the machine has them.

L3 and L2 are byte arrays of the real capacities, a slot is a view of its bytes, a transfer is a copy,
a product one vectorised matmul. The order is the program's. That is allowed because no engine may
overwrite a slot before its readers are done: what could differ in time is refused here, when a slot
is read after the ring gave it to another tile, or external memory before a kernel has written it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kpu_ir.machine import Machine
from kpu_ir.scalar.rows import row_function
from kpu_ir.sim.program.plan import (
    Acquire,
    Fetch,
    Map,
    Matmul,
    Move,
    Plan,
    Put,
    Reduce,
    Ring,
    Rowwise,
    Step,
    Windowed,
    Write,
    place,
    product,
    rings_of,
)
from kpu_ir.sim.values.blocks import COMBINE, gathered, multiplied, windows
from kpu_ir.sim.values.runner import Array, Run, Runner, chosen
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import accumulator_dtype, dtype_of, fill_of, stored

SPREAD = 4
"""Bytes here for one of the chip: NumPy gives elements of 2 and 4 bits a byte each, and what has a
place of its own on the chip has one here."""


class Memory:
    """The bytes of the chip."""

    def __init__(self, machine: Machine) -> None:
        """All that ``machine`` has, and how its functions are computed."""
        self.segments = machine.vector.table_segments
        self.bytes = {
            "l3": np.empty(machine.l3.bytes * SPREAD, np.uint8),
            "l2": np.empty(machine.l2.bytes * SPREAD, np.uint8),
        }

    def at(self, level: str, address: int, dtype: np.dtype[Any], count: int) -> Array:
        """So many elements from an address of the chip on."""
        start = address * SPREAD
        return self.bytes[level][start : start + count * dtype.itemsize].view(dtype)


class SlotRunner(Runner):
    """One plan's closures; registers hold views, ``slot`` and ``token`` say whose they are."""

    def __init__(self, plan: Plan, memory: Memory) -> None:
        """Make the closures of ``plan``, whose rings are in ``memory``."""
        super().__init__(plan, memory.segments)
        self.memory = memory
        self.views: list[Array] = [np.empty(0)] * plan.values
        self.slot = [0] * plan.values
        self.token = [-1] * plan.values
        base = {}
        count = 0
        for ring in plan.rings:
            base[ring.index] = count
            count += ring.depth
        self.base: dict[int, int] = base
        self.owner = [0] * count
        self.content: list[tuple[int, ...]] = [()] * count
        self.head = {ring.index: 0 for ring in plan.rings}
        self.serial = [0]
        self.masks: list[Array | None] = []
        self.ring_of = rings_of(plan)
        self.body = self._block(plan.body)

    def run(self, buffers: Sequence[Array], masks: Sequence[Array | None]) -> None:
        """Run on external buffers shaped as the parameters; masks of what is written, None where
        all is."""
        self.buffers[:] = buffers
        self.masks[:] = masks
        for ring in self.head:
            self.head[ring] = 0
        self.content[:] = [()] * len(self.content)
        self.body()

    # -- structure --------------------------------------------------------------------------------

    def _step(self, step: Step) -> Run:
        match step:
            case Fetch():
                return self._fetch(step) if step.moves else self._again(step)
            case Move():
                return self._move(step) if step.moves else self._again(step)
            case Acquire():
                return self._acquire(step)
            case Put():
                return self._put(step)
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

    # -- slots ------------------------------------------------------------------------------------

    def _slots(self, ring: Ring, extents: tuple[int, ...]) -> list[Array]:
        """A view of each slot as a dense tile of ``extents``."""
        dtype = dtype_of(ring.element)
        count, at = product(extents), self.memory.at
        starts = range(ring.address, ring.address + ring.depth * ring.slot_bytes, ring.slot_bytes)
        return [at(ring.level, a, dtype, count).reshape(extents) for a in starts]

    def _take(self, ring: Ring, out: int, views: list[Array] | None) -> Run:
        """Take the ring's next slot for a new tile."""
        head, r, depth = self.head, ring.index, ring.depth
        base, owner, serial = self.base[r], self.owner, self.serial
        slot, token, registers = self.slot, self.token, self.views

        def take() -> None:
            h = head[r]
            head[r] = h + 1 if h + 1 < depth else 0
            serial[0] += 1
            owner[base + h] = token[out] = serial[0]
            slot[out] = base + h
            if views is not None:
                registers[out] = views[h]

        return take

    def _acquire(self, step: Acquire) -> Run:
        """Room for a result; where it is kept, what an earlier trip left in the slot."""
        ring, out = step.ring, step.out
        take = self._take(ring, out, None)
        if step.where is None:
            return take
        head, r, depth, base = self.head, ring.index, ring.depth, self.base[ring.index]
        owner, content = self.owner, self.content
        slot, token, registers = self.slot, self.token, self.views
        views, where, key = self._slots(ring, step.extents), self._index(step.where), id(step.op)

        def fresh() -> None:
            take()
            content[slot[out]] = (key, *where())

        def again() -> None:
            h = head[r]
            head[r] = h + 1 if h + 1 < depth else 0
            s = base + h
            slot[out], token[out] = s, owner[s]
            registers[out] = views[h]
            if content[s] != (key, *where()):
                token[out] = -1  # an error only if somebody reads it

        return fresh if step.fresh else again

    def _put(self, step: Put) -> Run:
        """A whole tile into an acquired slot."""
        read, into = self._reader(step, step.source), self._into(step.into, step.extents)

        def put() -> None:
            into()[...] = read()

        return put

    def _again(self, step: Fetch | Move) -> Run:
        """A kept tile: the ring's next slot must hold it still."""
        ring, out = step.ring, step.out
        head, r, depth = self.head, ring.index, ring.depth
        base, owner, content = self.base[r], self.owner, self.content
        slot, token, registers = self.slot, self.token, self.views
        views = self._slots(ring, step.extents)
        expected = self._content(step)

        def again() -> None:
            h = head[r]
            head[r] = h + 1 if h + 1 < depth else 0
            s = base + h
            slot[out], token[out] = s, owner[s]
            registers[out] = views[h]
            if content[s] != expected():
                token[out] = -1  # an error only if somebody reads it

        return again

    def _content(self, step: Fetch | Move) -> Callable[[], tuple[int, ...]]:
        """What a kept tile's slot holds: which operation filled it, at which offsets."""
        kept = bool(step.op.reused)  # pyright: ignore
        if not kept:
            return lambda: ()
        offsets = self._index(step.offsets)
        key = id(step.op)
        return lambda: (key, *offsets())

    def _reader(self, step: Step, register: int) -> Callable[[], Array]:
        """Read a tile; refuse one whose slot was given to another."""
        registers, slot, token, owner = self.views, self.slot, self.token, self.owner
        op, name = step.op, self.ring_of[register].name

        def read() -> Array:
            if owner[slot[register]] != token[register]:
                raise KpuError(
                    f"reads a tile whose slot of @{name} was given back",
                    place(op),
                    "a deeper ring, or a tile fetched where it is used",
                )
            return registers[register]

        return read

    # -- operations -------------------------------------------------------------------------------

    def _fetch(self, step: Fetch) -> Run:
        views = self._slots(step.ring, step.extents)
        take = self._take(step.ring, step.out, views)
        slices, buffers, b = self._slices(step.offsets, step.extents), self.buffers, step.buffer
        registers, out, masks, op = self.views, step.out, self.masks, step.op
        content, slot, held = self.content, self.slot, self._content(step)
        kept = bool(step.op.reused)  # pyright: ignore
        copyto = np.copyto

        if step.low is not None:
            return self._padded(step, take)
        by = step.by
        if by is not None:
            return self._gathered(step, by, take)

        def fetch() -> None:
            take()
            where = slices()
            mask = masks[b]
            if mask is not None and not mask[where].all():
                raise KpuError("reads external memory that nothing has written", place(op))
            copyto(registers[out], buffers[b][where])
            if kept:
                content[slot[out]] = held()

        return fetch

    def _gathered(self, step: Fetch, by: int, take: Run) -> Run:
        """A fetch of rows by a list of indices."""
        slices, buffers, b = self._slices(step.offsets, step.extents), self.buffers, step.buffer
        registers, out, masks, op = self.views, step.out, self.masks, step.op

        def fetch() -> None:
            take()
            where, mask = slices(), masks[by]
            if masks[b] is not None or (mask is not None and not mask[where[1]].all()):
                raise KpuError("reads external memory that nothing has written", place(op))
            registers[out][...] = chosen(step, buffers[b], buffers[by][where[1]], where)

        return fetch

    def _padded(self, step: Fetch, take: Run) -> Run:
        """A fetch that hangs into the padding: fill, then copy what is inside."""
        inside = self._inside(step)
        fill = fill_of(step.fill, dtype_of(step.ring.element))
        registers, out, buffers, b = self.views, step.out, self.buffers, step.buffer
        masks, op = self.masks, step.op
        content, slot, held = self.content, self.slot, self._content(step)
        kept = bool(step.op.reused)  # pyright: ignore

        def fetch() -> None:
            take()
            where, into = inside()
            mask, view = masks[b], registers[out]
            if mask is not None and not mask[where].all():
                raise KpuError("reads external memory that nothing has written", place(op))
            view[...] = fill
            view[into] = buffers[b][where]
            if kept:
                content[slot[out]] = held()

        return fetch

    def _move(self, step: Move) -> Run:
        read = self._reader(step, step.source)
        take = self._take(step.ring, step.out, self._slots(step.ring, step.extents))
        slices = self._slices(step.offsets, step.block)
        registers, out, permutation = self.views, step.out, step.permutation
        permuted = permutation != tuple(range(len(permutation)))
        content, slot, held = self.content, self.slot, self._content(step)
        kept = bool(step.op.reused)  # pyright: ignore
        copyto = np.copyto

        def move() -> None:
            block = read()[slices()]
            take()
            copyto(registers[out], block.transpose(permutation) if permuted else block)
            if kept:
                content[slot[out]] = held()

        return move

    def _into(self, register: int, extents: tuple[int, ...]) -> Callable[[], Array]:
        """The tile that a result goes to, with the extents that the result has."""
        ring = self.ring_of[register]
        views, slot, base = self._slots(ring, extents), self.slot, self.base[ring.index]
        registers = self.views

        def into() -> Array:
            view = registers[register] = views[slot[register] - base]
            return view

        return into

    def _matmul(self, step: Matmul) -> Run:
        lhs, rhs = self._reader(step, step.lhs), self._reader(step, step.rhs)
        extra = [self._reader(step, r) for r in step.extra]
        into, extents = self._into(step.into, step.extents), step.extents
        accumulate, apart = step.accumulate, step.apart
        sums = self._reader(step, step.sums) if apart else None
        epilogue = self._body(step.epilogue) if step.epilogue else None
        kept, dtype = dtype_of(step.out_element), dtype_of(step.sum_element)
        window, each = step.window, step.each

        def run() -> None:
            c = into()
            a, b = lhs(), rhs()
            if window is not None:
                a, b = a.reshape(step.m, -1), gathered(b, window)
            p = multiplied(a, b, dtype).reshape(extents)
            if each and epilogue is not None:
                p = epilogue(p, *[e() for e in extra])
                c[...] = c.reshape(extents) + p if accumulate else p
                return
            if accumulate:
                p = (sums() if sums else c).reshape(extents) + p
            p = p.astype(dtype, copy=False)
            if epilogue is not None:
                p = epilogue(p, *[e() for e in extra])
            c[...] = stored(p, kept)

        return run

    def _map(self, step: Map) -> Run:
        inputs = [self._reader(step, r) for r in step.operands]
        body = self._body(step.body)
        into = self._into(step.into, step.extents)

        def run() -> None:
            values = [read() for read in inputs]
            into()[...] = body(*values)

        return run

    def _reduce(self, step: Reduce) -> Run:
        read, into, axes = (
            self._reader(step, step.source),
            self._into(step.into, step.extents),
            step.axes,
        )
        combine, accumulate = COMBINE[step.kind], step.accumulate
        dtype = dtype_of(self.ring_of[step.into].element)
        wide = accumulator_dtype(dtype)

        def run() -> None:
            x = read()
            part = combine.reduce(x.astype(wide, copy=False), axis=axes, keepdims=True)
            out = into()
            out[...] = combine(out.astype(wide), part) if accumulate else part

        return run

    def _row(self, step: Rowwise) -> Run:
        inputs = [self._reader(step, r) for r in step.operands]
        into = self._into(step.into, step.extents)
        kind, axis, count = step.function, step.axis, step.extents[step.axis]
        backward, exclusive = step.record.backward, step.record.exclusive

        def run() -> None:
            arrays = [read() for read in inputs]
            into()[...] = row_function(kind, arrays, axis, count, backward, exclusive)

        return run

    def _window(self, step: Windowed) -> Run:
        source, extents = self._reader(step, step.source), step.extents
        weights = None if step.weights is None else self._reader(step, step.weights)
        extra = [self._reader(step, r) for r in step.extra]
        into, combine = self._into(step.into, extents), COMBINE[step.kind]
        epilogue = self._body(step.epilogue) if step.epilogue else None
        rows, columns = step.window.kernel
        window = step.window
        dtype, kept = dtype_of(step.sum_element), dtype_of(self.ring_of[step.into].element)
        wide = accumulator_dtype(dtype)

        def run() -> None:
            view = windows(source(), window)
            w = None if weights is None else weights().reshape(-1, rows, columns)
            total = None
            for i in range(rows):
                for j in range(columns):
                    tap = view[:, i, j].astype(wide)
                    if w is not None:
                        tap *= w[:, i, j, None, None]
                    total = tap if total is None else combine(total, tap, out=total)
            assert total is not None
            result = total.reshape(extents)
            if epilogue is not None:
                result = epilogue(result.astype(dtype), *[e() for e in extra])
            into()[...] = stored(result, kept)

        return run

    def _write(self, step: Write) -> Run:
        read = self._reader(step, step.source)
        slices, buffers, b = self._slices(step.offsets, step.extents), self.buffers, step.buffer
        masks = self.masks

        def write() -> None:
            where = slices()
            buffers[b][where] = read()
            mask = masks[b]
            if mask is not None:
                mask[where] = True

        return write
