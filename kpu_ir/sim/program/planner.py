"""From a ``dma`` function to its plan: edges clipped, loops cut into runs of trips that do the
same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr, MemRefType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, BlockArgument, Operation, SSAValue

from kpu_ir.dialects import dma, tile
from kpu_ir.dialects.tile import is_pinned, padding_of, permutation_of, unpermuted
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
    Windowed,
    Write,
    element_bytes,
    place,
    product,
)
from kpu_ir.support.errors import KpuError


@dataclass(frozen=True, slots=True)
class _Access:
    """A clipped access in a loop's body: what decides which trips of the loop are like the
    others."""

    offsets: tuple[Affine, ...]
    sizes: tuple[int, ...]
    source: SSAValue
    floors: tuple[int, ...]
    bounds: tuple[int, ...]


class _Planner:
    def __init__(self, func: FuncOp, ring_index: Callable[[], int]) -> None:
        self.func = func
        self.registers: dict[SSAValue, int] = {}
        self.variables: dict[SSAValue, int] = {}
        self.loops: dict[int, range] = {}
        self.parameters = {arg: i for i, arg in enumerate(func.body.block.args)}
        self.rings: dict[str, Ring] = {}
        self.extents: dict[SSAValue, tuple[int, ...] | None] = {}
        self.written: set[SSAValue] = set()
        self.held: dict[tuple[object, ...], tuple[int, ...]] = {}
        self.cells: dict[SSAValue, tuple[object, ...]] = {}
        self.value: dict[int, int] = {}
        self.edge: dict[int, tuple[bool, bool]] = {}
        self.affines: dict[SSAValue, Affine] = {}
        self.accesses: dict[tile.ForOp, list[_Access]] = {}
        self.splits: dict[tile.ForOp, tuple[bool, bool]] = {}
        for op in func.body.block.ops:
            if isinstance(op, dma.RingOp):
                self._ring(op, ring_index())

    def _ring(self, op: dma.RingOp, index: int) -> None:
        name = op.sym_name.data
        if name in self.rings:
            raise KpuError(f"ring @{name} is declared twice", place(op))
        t = op.type
        size = element_bytes(t.element_type, product(t.get_shape()))
        size = (size + 63) // 64 * 64
        self.rings[name] = Ring(
            index,
            name,
            str(t.level.data.value),
            op.address.value.data,
            size,
            op.depth.value.data,
            t.element_type,
            op,
        )

    # -- indices ------------------------------------------------------------------------------

    def affine(self, index: int | SSAValue) -> Affine:
        """An offset as a function of the loop variables."""
        if isinstance(index, int):
            return Affine(index)
        known = self.affines.get(index)
        if known is None:
            known = self.affines[index] = self._affine(index)
        return known

    def _affine(self, index: SSAValue) -> Affine:
        if isinstance(index, BlockArgument):
            return Affine(0, ((self.variables[index], 1),))
        op = index.owner
        if isinstance(op, arith.ConstantOp) and isinstance(op.value, IntegerAttr):
            return Affine(op.value.value.data)
        if isinstance(op, arith.AddiOp):
            return self.affine(op.lhs) + self.affine(op.rhs)
        if isinstance(op, arith.SubiOp):
            return self.affine(op.lhs) + self.affine(op.rhs).scaled(-1)
        if isinstance(op, arith.MuliOp):
            a, b = self.affine(op.lhs), self.affine(op.rhs)
            if not a.terms or not b.terms:
                return b.scaled(a.const) if not a.terms else a.scaled(b.const)
        where = place(op) if isinstance(op, Operation) else self.func.sym_name.data
        raise KpuError(
            "an offset must be a sum of constants and multiples of loop variables", where
        )

    # -- loops --------------------------------------------------------------------------------

    def _number(self, block: Block) -> None:
        """Number the loop variables and gather what decides how each loop is cut."""
        for op in block.ops:
            if isinstance(op, tile.ForOp):
                var = len(self.variables)
                self.variables[op.induction_var] = var
                self.loops[var] = op.bounds
                self._number(op.body.block)
                self._gather(op)

    def _gather(self, loop: tile.ForOp) -> None:
        var = loop.induction_var
        accesses: list[_Access] = []
        first = last = False
        for op in loop.walk():
            if isinstance(op, dma.FetchOp | dma.MoveOp | dma.WriteOp):
                outer = op.source if not isinstance(op, dma.WriteOp) else op.target
                inner = op.result.type if not isinstance(op, dma.WriteOp) else op.source.type
                assert isinstance(outer.type, MemRefType | tile.TileType)
                assert isinstance(inner, tile.TileType)
                size = inner.get_shape()
                if isinstance(op, dma.MoveOp):
                    size = unpermuted(size, permutation_of(op.permuted, len(size)))
                offsets = tuple(self.affine(i) for i in op.indices)
                if any(v == self.variables[var] for a in offsets for v, _ in a.terms):
                    bounds = tuple(outer.type.get_shape())
                    if isinstance(op, dma.FetchOp) and op.by is not None:
                        listed = SSAValue.get(op.by, type=MemRefType).type.get_shape()
                        bounds = (bounds[0], *listed, *bounds[2:])
                    low = op.low if isinstance(op, dma.FetchOp) else None
                    floors = padding_of(low, len(bounds))
                    bounds = tuple(a + n for a, n in zip(floors, bounds))
                    accesses.append(_Access(offsets, size, outer, floors, bounds))
            if isinstance(op, dma.FetchOp | dma.MoveOp | dma.AcquireOp):
                first |= var in op.reused
            if isinstance(op, dma.MoveOp):
                first |= op.after is loop.induction_var
            if isinstance(op, dma.MoveOp | dma.WriteOp):
                last |= var in op.over
            if isinstance(op, dma.MatmulOp | dma.ReduceOp) and var in op.over:
                first = last = True
        self.accesses[loop] = accesses
        self.splits[loop] = (first, last)

    def _interior(self, loop: tile.ForOp) -> tuple[int, int]:
        """The trips ``[lo, hi)`` in which no access of the body is clipped on account of this
        loop."""
        var, bounds = self.variables[loop.induction_var], loop.bounds
        lo, hi = 0, len(bounds)
        for access in self.accesses[loop]:
            limits = self.extents.get(access.source) or access.bounds
            for offset, size, floor, limit in zip(
                access.offsets, access.sizes, access.floors, limits
            ):
                own, low, high = 0, offset.const, offset.const
                for v, c in offset.terms:
                    if v == var:
                        own = c
                    elif v in self.value:
                        low += c * self.value[v]
                        high += c * self.value[v]
                    else:
                        ends = (c * self.loops[v][0], c * self.loops[v][-1])
                        low, high = low + min(ends), high + max(ends)
                if not own:
                    continue
                # own * (start + step * t) + low >= floor  and  ... + high + size <= limit
                slope, base = own * bounds.step, own * bounds.start - floor
                limit -= floor
                room = limit - size - high - base
                if slope > 0:
                    hi = min(hi, room // slope + 1)
                    lo = max(lo, -((low + base) // slope))
                else:
                    lo = max(lo, -(room // -slope))
                    hi = min(hi, (low + base) // -slope + 1)
        return (lo, hi) if lo < hi else (0, 0)

    def _cuts(self, loop: tile.ForOp) -> list[tuple[int, int]]:
        """Runs of trips ``[begin, end)`` that do the same."""
        trips = len(loop.bounds)
        lo, hi = self._interior(loop)
        first, last = self.splits[loop]
        marks = {0, trips, *range(lo), lo, hi, *range(hi, trips)}
        if first:
            marks.add(1)
        if last:
            marks.add(trips - 1)
        edges = sorted(m for m in marks if 0 <= m <= trips)
        return list(pairwise(edges))

    def _loop(self, loop: tile.ForOp) -> Iterator[Loop]:
        var, bounds = self.variables[loop.induction_var], loop.bounds
        for begin, end in self._cuts(loop):
            self.value[var] = bounds[begin]
            self.edge[var] = (begin == 0, end == len(bounds))
            body = tuple(self.block(loop.body.block))
            innermost = not any(isinstance(n, Loop) for n in body)
            if body:
                yield Loop(var, bounds[begin], bounds.step, end - begin, body, innermost)
        del self.value[var], self.edge[var]

    # -- operations ---------------------------------------------------------------------------

    def block(self, block: Block) -> Iterator[Node]:
        """The nodes of a block where the loops around it are as ``value`` says."""
        for op in block.ops:
            match op:
                case tile.ForOp():
                    yield from self._loop(op)
                case dma.FetchOp():
                    yield from self._fetch(op)
                case dma.MoveOp():
                    yield from self._move(op)
                case dma.AcquireOp():
                    yield self._acquire(op)
                case dma.PutOp():
                    yield from self._put(op)
                case dma.MatmulOp():
                    yield from self._matmul(op)
                case dma.MapOp():
                    yield from self._map(op)
                case dma.ReduceOp():
                    yield from self._reduce(op)
                case dma.WindowOp():
                    yield from self._window(op)
                case dma.WriteOp():
                    yield from self._write(op)
                case dma.RingOp() | ReturnOp():
                    pass
                case _ if op.name.startswith("arith."):
                    pass
                case _:
                    raise KpuError("this operation does not belong at the dma level", place(op))

    def _register(self, value: SSAValue) -> int:
        return self.registers.setdefault(value, len(self.registers))

    def _named(self, op: Operation, symbol: Attribute) -> Ring:
        name: str = symbol.root_reference.data  # pyright: ignore
        if name not in self.rings:
            raise KpuError(f"there is no dma.ring @{name}", place(op))
        return self.rings[name]

    def _read(self, op: Operation, value: SSAValue) -> tuple[int, ...] | None:
        """The extents of a tile that is read; None where it is empty."""
        if value not in self.written:
            room = isinstance(value.owner, dma.AcquireOp)
            room |= isinstance(value.owner, dma.MoveOp) and value.owner.after is not None
            if value in self.extents and room:
                raise KpuError("reads a tile that nothing has written", place(op))
            return None
        return self.extents[value]

    def _clip(
        self, op: Operation, offsets: Sequence[Affine], sizes: Sequence[int], limits: Sequence[int]
    ) -> tuple[int, ...] | None:
        extents: list[int] = []
        for axis, (offset, size, limit) in enumerate(zip(offsets, sizes, limits)):
            at = offset.at(self.value)
            if at < 0:
                raise KpuError(
                    f"offset {at} in dimension {axis} is before the beginning", place(op)
                )
            extents.append(min(size, limit - at))
        return tuple(extents) if min(extents, default=1) > 0 else None

    def _moves(self, reused: Sequence[SSAValue]) -> bool:
        return all(self.edge[self.variables[v]][0] for v in reused)

    def _channels(
        self, op: dma.FetchOp | dma.MoveOp | dma.PutOp | dma.WriteOp
    ) -> tuple[int, ...] | None:
        c = op.channels
        return None if c is None else tile.integers(c)

    def _buffer(self, op: Operation, value: SSAValue) -> int:
        if not isinstance(value, BlockArgument) or value not in self.parameters:
            raise KpuError("a kernel reaches external memory only by its parameters", place(op))
        return self.parameters[value]

    def _fetch(self, op: dma.FetchOp) -> Iterator[Node]:
        offsets = tuple(self.affine(i) for i in op.indices)
        type, source = op.result.type, SSAValue.get(op.source, type=MemRefType)
        shape = tuple(source.type.get_shape())
        if op.by is not None:
            shape = (shape[0], *SSAValue.get(op.by, type=MemRefType).type.get_shape(), *shape[2:])
        low, high = padding_of(op.low, len(shape)), padding_of(op.high, len(shape))
        padded = tuple(a + n + b for a, n, b in zip(low, shape, high))
        extents = self._clip(op, offsets, type.get_shape(), padded)
        self.extents[op.result] = extents
        if extents is None:
            self.written.discard(op.result)
            return
        self.written.add(op.result)
        ring = self._named(op, op.ring)
        inside = [
            max(0, min(at + n, before + extent) - max(at, before))
            for at, n, before, extent in zip(
                (o.at(self.value) for o in offsets), extents, low, shape
            )
        ]
        hangs = tuple(inside) != extents
        if any(low) and not hangs:
            offsets = tuple(o + Affine(-n) for o, n in zip(offsets, low))
        listed = 0
        if op.by is not None:
            element = SSAValue.get(op.by, type=MemRefType).type.element_type
            listed = element_bytes(element, inside[1])
        yield Fetch(
            op,
            self._buffer(op, source),
            offsets,
            extents,
            ring,
            self._register(op.result),
            self._channels(op),
            self._moves(op.reused),
            element_bytes(ring.element, product(inside)) + listed,
            low if hangs else None,
            op.fill.value.data if op.fill else 0.0,
            None if op.by is None else self._buffer(op, op.by),
        )

    def _move(self, op: dma.MoveOp) -> Iterator[Node]:
        if op.after is not None and self.edge[self.variables[op.after]][0]:
            self.written.discard(op.result)
            self.extents[op.result] = None
            ring, shape = self._named(op, op.ring), op.result.type.get_shape()
            yield Acquire(op, ring, self._register(op.result), shape)
            return
        if not all(self.edge[self.variables[v]][1] for v in op.over):
            self.written.discard(op.result)
            return
        source = self._read(op, op.source)
        offsets = tuple(self.affine(i) for i in op.indices)
        size = op.result.type.get_shape()
        permutation = permutation_of(op.permuted, len(size))
        block = self._clip(op, offsets, unpermuted(size, permutation), source) if source else None
        if block is None:
            self.written.discard(op.result)
            self.extents[op.result] = None
            return
        extents = tuple(block[axis] for axis in permutation)
        self.extents[op.result] = extents
        self.written.add(op.result)
        ring = self._named(op, op.ring)
        defer = op.defer.value.data if op.defer else 0
        yield Move(
            op,
            self._register(op.source),
            offsets,
            block,
            extents,
            ring,
            self._register(op.result),
            permutation,
            self._channels(op),
            defer,
            self._moves(op.reused),
            element_bytes(ring.element, product(extents)),
            ring.level == "l2",
        )

    def _into(self, op: Operation, value: SSAValue, extents: tuple[int, ...]) -> int:
        self.extents[value] = extents
        self.written.add(value)
        if value in self.cells:
            self.held[self.cells[value]] = extents
        return self._register(value)

    def _acquire(self, op: dma.AcquireOp) -> Acquire:
        self.written.discard(op.result)
        self.extents[op.result] = None
        ring, out = self._named(op, op.ring), self._register(op.result)
        shape = op.result.type.get_shape()
        if not op.reused:
            return Acquire(op, ring, out, shape)
        around: list[SSAValue] = []
        parent = op.parent_op()
        while isinstance(parent, tile.ForOp):
            if parent.induction_var not in op.reused:
                around.append(parent.induction_var)
            parent = parent.parent_op()
        cell = (op, *(self.value[self.variables[v]] for v in around))
        self.cells[op.result] = cell
        fresh = self._moves(op.reused)
        if fresh:
            self.held.pop(cell, None)
        elif cell in self.held:
            self.extents[op.result] = shape = self.held[cell]
            self.written.add(op.result)
        where = tuple(Affine(0, ((self.variables[v], 1),)) for v in around)
        return Acquire(op, ring, out, shape, fresh, where)

    def _put(self, op: dma.PutOp) -> Iterator[Node]:
        source = self._read(op, op.source)
        if source is None:
            return
        element = SSAValue.get(op.source, type=tile.TileType).type.element_type
        yield Put(
            op,
            self._register(op.source),
            self._into(op, op.into, source),
            source,
            self._channels(op),
            op.defer.value.data if op.defer else 0,
            element_bytes(element, product(source)),
        )

    def _matmul(self, op: dma.MatmulOp) -> Iterator[Node]:
        a, b = self._read(op, op.lhs), self._read(op, op.rhs)
        edges = [self.edge[self.variables[v]] for v in op.over]
        first, last = all(e[0] for e in edges), all(e[1] for e in edges)
        if a is None or b is None:
            if edges:
                raise KpuError("an empty tile in a sum over a loop", place(op), "cut K evenly")
            return
        window = op.window.plain if op.window else None
        if window is not None:
            batch, m, k, inner = b[:-3], a[-4], product(a[-3:]), b[-3] * window.taps
            result = (*batch, m, *window.positions(b[-2:]))
        else:
            batch, m, k, inner = (
                tuple(max(x, y) for x, y in zip(a[:-2], b[:-2])),
                a[-2],
                a[-1],
                b[-2],
            )
            result = (*batch, m, b[-1])
        if k != inner:
            raise KpuError(f"operands have {k} and {inner} elements along k", place(op))
        if not first and op.into not in self.written:
            raise KpuError("adds to a sum that was never begun", place(op))
        into = self._into(op, op.into, result)
        extra = [self._read(op, v) for v in op.extra] if last else []
        if any(e is None for e in extra):
            raise KpuError("an operand of the epilogue is empty", place(op))
        types = [SSAValue.get(v, type=tile.TileType).type for v in (op.lhs, op.into)]
        bytes_ = sum(self._bytes(v, e) for v, e in zip(op.extra, extra) if e is not None)
        epilogue = op.epilogue.block if op.epilogue and last else None
        yield Matmul(
            op,
            op.dataflow.data.short,
            self._register(op.lhs),
            self._register(op.rhs),
            into,
            tuple(self._register(v) for v in op.extra) if last else (),
            result,
            product(batch),
            m,
            product(result) // product(batch) // m,
            k,
            not first,
            epilogue,
            types[0].element_type,
            types[1].element_type,
            bytes_,
            window,
        )

    def _map(self, op: dma.MapOp) -> Iterator[Node]:
        inputs = [self._read(op, v) for v in op.inputs]
        if any(e is None for e in inputs):
            return
        out = SSAValue.get(op.into, type=tile.TileType).type
        known = [e for e in inputs if e is not None]
        types = [SSAValue.get(v, type=tile.TileType).type.get_shape() for v in op.inputs]
        extents = tuple(
            # Where every input is one element wide, it is repeated as often as the type says.
            n if all(t[axis] == 1 for t in types) else max(e[axis] for e in known)
            for axis, n in enumerate(out.get_shape())
        )
        read = sum(self._bytes(v, e) for v, e in zip(op.inputs, known))
        n = product(extents)
        yield Map(
            op,
            tuple(self._register(v) for v in op.inputs),
            self._into(op, op.into, extents),
            extents,
            n,
            op.body.block,
            read,
            element_bytes(out.element_type, n),
        )

    def _bytes(self, value: SSAValue, extents: tuple[int, ...]) -> int:
        element = SSAValue.get(value, type=tile.TileType).type.element_type
        return element_bytes(element, product(extents))

    def _reduce(self, op: dma.ReduceOp) -> Iterator[Node]:
        source = self._read(op, op.source)
        edges = [self.edge[self.variables[v]] for v in op.over]
        if source is None:
            if edges:
                raise KpuError(
                    "an empty tile in a reduction over a loop", place(op), "cut it evenly"
                )
            return
        first = all(e[0] for e in edges)
        if not first and op.into not in self.written:
            raise KpuError("combines with a result that was never begun", place(op))
        axes = tile.integers(op.axes)
        out = tuple(1 if axis in axes else n for axis, n in enumerate(source))
        into = self._into(op, op.into, out)
        yield Reduce(
            op,
            str(op.reduction.data.value),
            self._register(op.source),
            into,
            axes,
            out,
            product(source),
            not first,
            self._bytes(op.source, source),
            self._bytes(op.into, out),
        )

    def _window(self, op: dma.WindowOp) -> Iterator[Node]:
        source = self._read(op, op.source)
        if source is None:
            return
        read = self._bytes(op.source, source)
        weights = None
        if op.weights is not None:
            shape = self._read(op, op.weights)
            if shape is None:
                raise KpuError("the weights are empty", place(op))
            weights = self._register(op.weights)
            read += self._bytes(op.weights, shape)
        extra = [self._read(op, v) for v in op.extra]
        read += sum(self._bytes(v, e) for v, e in zip(op.extra, extra) if e is not None)
        window = op.window.plain
        out = (*source[:-2], *window.positions(source[-2:]))
        into = self._into(op, op.into, out)
        yield Windowed(
            op,
            str(op.reduction.data.value),
            window,
            self._register(op.source),
            weights,
            tuple(self._register(v) for v in op.extra),
            into,
            out,
            op.epilogue.block if op.epilogue else None,
            read,
            self._bytes(op.into, out),
        )

    def _write(self, op: dma.WriteOp) -> Iterator[Node]:
        if not all(self.edge[self.variables[v]][1] for v in op.over):
            return
        source = self._read(op, op.source)
        offsets = tuple(self.affine(i) for i in op.indices)
        target = SSAValue.get(op.target, type=MemRefType)
        extents = self._clip(op, offsets, source, target.type.get_shape()) if source else None
        if extents is None:
            return
        if extents != source:
            raise KpuError(
                f"writes a tile of {source} where only {extents} is left",
                place(op),
                "operands and result must be clipped alike",
            )
        yield Write(
            op,
            self._register(op.source),
            self._buffer(op, target),
            offsets,
            extents,
            self._channels(op),
            op.defer.value.data if op.defer else 0,
            element_bytes(target.type.element_type, product(extents)),
            is_pinned(target.type),
        )

    def plan(self) -> Plan:
        """The whole function."""
        self._number(self.func.body.block)
        body = tuple(self.block(self.func.body.block))
        types = tuple(SSAValue.get(a, type=MemRefType).type for a in self.func.body.block.args)
        return Plan(
            self.func.sym_name.data,
            tuple(self.rings.values()),
            body,
            types,
            len(self.registers),
            len(self.variables),
        )


@dataclass
class RingCounter:
    """Numbers the rings of all functions of a program."""

    count: int = field(default=0)

    def __call__(self) -> int:
        """The next number."""
        self.count += 1
        return self.count - 1


def plan_function(func: FuncOp, ring_index: Callable[[], int] | None = None) -> Plan:
    """Plan one ``dma`` function. Raises ``KpuError`` where it reads what was never written or out
    of bounds."""
    return _Planner(func, ring_index or RingCounter()).plan()
