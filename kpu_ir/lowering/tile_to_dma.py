"""``tile-to-dma``: rings, routes, engines, addresses."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod

from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import FunctionType, IntegerAttr, MemRefType, ModuleOp, i64
from xdsl.dialects.func import CallOp, FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint

from kpu_ir.dialects import dma, tile
from kpu_ir.dialects.tile import Level, TileType, is_pinned
from kpu_ir.lowering.schedule import ATTRIBUTE, Schedule, l3_bytes
from kpu_ir.machine import Machine
from kpu_ir.machine.attr import machine_of
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import bits_of
from kpu_ir.text.places import at_call, place_of

ALIGNMENT = 64
"""Slots begin at multiples of this many bytes."""


def slot_bytes(type: TileType) -> int:
    """Bytes of one slot."""
    size = (prod(type.get_shape()) * bits_of(type.element_type) + 7) // 8
    return -(-size // ALIGNMENT) * ALIGNMENT


@dataclass
class _Rings:
    """The rings of a function, and the next free address of each level."""

    func: str
    rings: list[dma.RingOp] = field(default_factory=list[dma.RingOp])
    end: dict[Level, int] = field(default_factory=lambda: {Level.L3: 0, Level.L2: 0})

    def new(self, stem: str, type: TileType, depth: int) -> str:
        """A ring named after the value that it holds."""
        taken = {r.sym_name.data for r in self.rings}
        name, n = stem, 0
        while name in taken:
            n += 1
            name = f"{stem}_{n}"
        level = type.level.data
        self.rings.append(dma.RingOp(name, depth, type, self.end[level]))
        self.end[level] += depth * slot_bytes(type)
        return name

    def check(self, l3: int, l2: int) -> None:
        """Everything fits, or ``KpuError`` with both figures."""
        for level, room in ((Level.L3, l3), (Level.L2, l2)):
            if self.end[level] > room:
                parts = ", ".join(
                    f"@{r.sym_name.data} {r.depth.value.data} x {slot_bytes(r.type)}"
                    for r in self.rings
                    if r.type.level.data == level
                )
                raise KpuError(
                    f"the tiles of @{self.func} need {self.end[level]} bytes of {level.value}, "
                    f"the machine has {room} for them ({parts})",
                    hint="smaller tiles, shallower rings, or a machine with more of it",
                )


def placed(old: Block, new: Block) -> Iterator[Operation]:
    """The operations of a block; what is appended to ``new`` for one stands where that stood."""
    for op in old.ops:
        last = new.last_op
        yield op
        made = new.last_op
        while made is not None and made is not last:
            made.location = op.location
            made = made.prev_op


def trips(value: SSAValue) -> int:
    """How often the loop of an induction variable runs."""
    loop = value.owner.parent_op() if isinstance(value.owner, Block) else None
    assert isinstance(loop, tile.ForOp)
    return len(loop.bounds)


class _Lowering:
    def __init__(self, func: FuncOp, schedule: Schedule) -> None:
        self.func, self.schedule = func, schedule
        self.rings = _Rings(func.sym_name.data)
        self.values: dict[SSAValue, SSAValue] = {}

    def depth(self, op: Operation, reused: Sequence[SSAValue], stream: int) -> int:
        """``stream`` slots; where a value is reused, one for each time that one trip of the outermost
        reused loop fills."""
        if not reused:
            return stream
        outermost = None
        fills, parent = 1, op.parent_op()
        count = 1
        while isinstance(parent, tile.ForOp):
            if parent.induction_var in reused:
                if outermost is not None and fills != count:
                    raise KpuError(
                        "keep: between loops that a tile stays over stands one that changes it",
                        place_of(op),
                        "keep it over loops that stand directly inside each other",
                    )
                outermost, fills = parent, count
            else:
                count *= len(parent.bounds)
            parent = parent.parent_op()
        return fills if outermost is not None else stream

    def result_depth(self, op: tile.AllocOp) -> int:
        """Slots of a result: one where only the vector engine makes and reads it, since it does so
        in turn."""
        users = [use.operation for use in op.result.uses]
        vector = all(isinstance(u, tile.MapOp | tile.ReduceOp | tile.WindowOp) for u in users)
        return 1 if vector else self.schedule.out_depth

    def lower(self, machine: Machine) -> FuncOp:
        """The ``dma`` function."""
        old = self.func.body.block
        block = Block(arg_types=[a.type for a in old.args])
        for before, after in zip(old.args, block.args):
            self.values[before] = after
            after.name_hint = before.name_hint
        self.block(old, Builder(InsertPoint.at_end(block)))
        self.rings.check(l3_bytes(self.func, machine), machine.l2.bytes)
        first = block.first_op
        assert first is not None
        block.insert_ops_before(self.rings.rings, first)
        lowered = FuncOp(
            self.func.sym_name.data,
            FunctionType.from_lists([a.type for a in block.args], []),
            Region(block),
            visibility=self.func.sym_visibility,
        )
        lowered.location = self.func.location
        lowered.attributes.update(self.func.attributes)
        return lowered

    def block(self, old: Block, build: Builder) -> None:
        """Lower each operation of a block."""
        for op in placed(old, build.insertion_point.block):
            match op:
                case tile.ForOp():
                    r = op.bounds
                    loop = build.insert(tile.ForOp(r.start, r.stop, r.step))
                    loop.induction_var.name_hint = op.induction_var.name_hint
                    self.values[op.induction_var] = loop.induction_var
                    self.block(op.body.block, Builder(InsertPoint.at_end(loop.body.block)))
                case tile.LoadOp():
                    self.load(op, build)
                case tile.AllocOp():
                    name = op.result.name_hint or "t"
                    depth = self.depth(op, op.reused, self.result_depth(op))
                    ring = self.rings.new(name, op.result.type, depth)
                    kept = self.mapped(*op.reused)
                    self.keep_name(op, build.insert(dma.AcquireOp(ring, op.result.type, kept)))
                case tile.MatmulOp():
                    epilogue = self.body(op.epilogue) if op.epilogue else None
                    lhs, rhs, into = self.mapped(op.lhs, op.rhs, op.into)
                    build.insert(
                        dma.MatmulOp(
                            op.dataflow.data,
                            lhs,
                            rhs,
                            into,
                            self.mapped(*op.over),
                            self.mapped(*op.extra),
                            epilogue,
                            op.window,
                        )
                    )
                case tile.ReduceOp():
                    source, into = self.mapped(op.source, op.into)
                    axes = tile.integers(op.axes)
                    build.insert(
                        dma.ReduceOp(op.reduction.data, source, into, axes, self.mapped(*op.over))
                    )
                case tile.WindowOp():
                    source, into = self.mapped(op.source, op.into)
                    build.insert(
                        dma.WindowOp(
                            op.reduction.data,
                            op.window,
                            source,
                            None if op.weights is None else self.values[op.weights],
                            into,
                            self.mapped(*op.extra),
                            self.body(op.epilogue) if op.epilogue else None,
                        )
                    )
                case tile.MapOp():
                    (into,) = self.mapped(op.into)
                    build.insert(dma.MapOp(self.mapped(*op.inputs), into, self.body(op.body)))
                case tile.StoreOp():
                    self.store(op, build)
                case ReturnOp():
                    build.insert(ReturnOp())
                case _ if op.name.startswith("arith."):
                    build.insert(op.clone(self.values))
                case _:
                    raise KpuError(f"{op.name} does not belong in a kernel", place_of(op))

    def mapped(self, *values: SSAValue) -> list[SSAValue]:
        """The new values of old ones."""
        return [self.values[v] for v in values]

    def indices(self, indices: Sequence[int | SSAValue]) -> list[int | SSAValue]:
        """Offsets in new values."""
        return [i if isinstance(i, int) else self.values[i] for i in indices]

    def keep_name(self, old: Operation, new: Operation) -> SSAValue:
        """The new result stands for the old one."""
        self.values[old.results[0]] = new.results[0]
        new.results[0].name_hint = old.results[0].name_hint
        return new.results[0]

    def body(self, region: Region) -> Region:
        """A scalar body, with our own terminator."""
        new = region.clone()
        last = new.block.last_op
        assert last is not None
        values = list(last.operands)
        last.detach()
        last.erase()
        new.block.add_op(dma.YieldOp(*values))
        return new

    def load(self, op: tile.LoadOp, build: Builder) -> None:
        """External to L3 by the DMA, L3 to L2 by a block mover; both where a load goes all the
        way."""
        name, type = op.result.name_hint or "t", op.result.type
        indices, kept = self.indices(op.indices), self.mapped(*op.reused)
        (source,) = self.mapped(op.source)
        permutation = tile.permutation_of(op.permuted, len(type.get_shape()))
        if isinstance(op.source.type, TileType):
            ring = self.rings.new(name, type, self.depth(op, op.reused, self.schedule.depth))
            after = None if op.after is None else self.values[op.after]
            move = dma.MoveOp(source, indices, ring, type, kept, permutation, after=after)
            self.keep_name(op, build.insert(move))
            return
        shape = tile.unpermuted(type.get_shape(), permutation)
        rank = len(shape)
        low, high = tile.padding_of(op.low, rank), tile.padding_of(op.high, rank)
        fill = op.fill.value.data if op.fill else 0.0
        by = None if op.by is None else self.values[op.by]
        if by is not None and is_pinned(by.type):
            raise KpuError(
                "a list that rows are chosen by is in external memory",
                place_of(op),
                "keep it there",
            )
        if is_pinned(source.type):
            if type.level.data != Level.L2 or op.permuted or by is not None:
                raise KpuError(
                    "a tensor that stands in L3 is loaded to L2 as it is",
                    place_of(op),
                    "keep it in external memory",
                )
            ring = self.rings.new(name, type, self.depth(op, op.reused, self.schedule.depth))
            near = dma.FetchOp(source, indices, ring, type, kept, None, low, high, fill)
            self.keep_name(op, build.insert(near))
            return
        staged = TileType.of(shape, type.element_type, Level.L3)
        to_l3 = type.level.data == Level.L3 and staged == type
        # A tile that stays in L2 only passes through L3.
        staging = self.schedule.l3_depth
        depth = self.depth(op, op.reused, staging) if to_l3 else staging
        ring = self.rings.new(name if to_l3 else f"{name}_l3", staged, depth)
        fetch = build.insert(
            dma.FetchOp(
                source,
                indices,
                ring,
                staged,
                kept,
                None,
                low,
                high,
                fill,
                by,
            )
        )
        fetch.result.name_hint = name if to_l3 else f"{name}_l3"
        if to_l3:
            self.values[op.result] = fetch.result
            return
        ring = self.rings.new(name, type, self.depth(op, op.reused, self.schedule.depth))
        zeros: list[int | SSAValue] = [0] * len(shape)
        self.keep_name(
            op, build.insert(dma.MoveOp(fetch.result, zeros, ring, type, kept, permutation))
        )

    def store(self, op: tile.StoreOp, build: Builder) -> None:
        """L2 to L3 by a block mover, L3 to external by the DMA, both defer."""
        source, target = self.mapped(op.source, op.target)
        defer = self.schedule.defer
        assert isinstance(source.type, TileType)
        if isinstance(target.type, TileType):
            build.insert(dma.PutOp(source, target, defer=defer))
            return
        over = self.mapped(*op.over)
        if is_pinned(target.type):
            if source.type.level.data != Level.L2 or op.permuted:
                raise KpuError(
                    "a tensor that stands in L3 is stored from L2 as it is",
                    place_of(op),
                    "keep it in external memory",
                )
            write = dma.WriteOp(source, target, self.indices(op.indices), defer=defer, over=over)
            build.insert(write)
            return
        if source.type.level.data == Level.L2:
            shape = source.type.get_shape()
            axes = tile.permutation_of(op.permuted, len(shape))
            name = f"{op.source.name_hint or 't'}_l3"
            staged = TileType.of([shape[a] for a in axes], source.type.element_type, Level.L3)
            ring = self.rings.new(name, staged, self.schedule.out_depth)
            zeros: list[int | SSAValue] = [0] * len(shape)
            move = build.insert(
                dma.MoveOp(source, zeros, ring, staged, permuted=axes, defer=defer, over=over)
            )
            move.result.name_hint = name
            source = move.result
            # In order behind its move, the write would make the DMA wait for the mover.
            defer += 1
        if isinstance(source.owner, dma.AcquireOp):
            defer += 1  # behind the put that completes it
        build.insert(dma.WriteOp(source, target, self.indices(op.indices), defer=defer, over=over))


def lower_tile(func: FuncOp, machine: Machine) -> FuncOp:
    """The ``dma`` function of one ``tile`` function. Raises ``KpuError`` where its tiles do not
    fit."""
    attr = func.attributes.get(ATTRIBUTE)
    schedule = Schedule.from_attr(attr) if attr is not None else Schedule()
    return _Lowering(func, schedule).lower(machine)


def lifetimes(func: FuncOp) -> dict[tile.BufferOp, tuple[int, int]]:
    """The first and the last call of ``@main`` that use each buffer, views included; a buffer that
    is returned lives to the end."""
    root: dict[SSAValue, SSAValue] = {}
    used: dict[SSAValue, tuple[int, int]] = {}
    calls = 0
    for op in func.body.block.ops:
        if isinstance(op, tile.ViewOp):
            root[op.result] = root.get(op.source, op.source)
            continue
        if not isinstance(op, CallOp | ReturnOp):
            continue
        at = calls if isinstance(op, CallOp) else sys.maxsize
        calls += 1
        for value in op.operands:
            value = root.get(value, value)
            used[value] = (used.get(value, (at, at))[0], at)
    return {
        op: used.get(op.result, (0, 0))
        for op in func.body.block.ops
        if isinstance(op, tile.BufferOp)
    }


def place_buffers(func: FuncOp, machine: Machine) -> None:
    """Give each buffer and constant of ``@main`` an address in external memory, behind its
    arguments; buffers in L3, which have no address yet, get theirs from the end of L3 downwards.

    Constants stay; buffers share bytes where no call needs both: each takes the lowest gap between
    those that live when it does. A kernel never waits for that: transfers are in order, so what is
    written has been read.
    """

    end = sum(size_of(a.type) for a in func.body.block.args)
    for op in func.body.block.ops:
        if isinstance(op, tile.ConstantOp):
            op.address = IntegerAttr(end, i64)
            end += size_of(op.result.type)
    floor = end
    spans = sorted(lifetimes(func).items(), key=lambda item: item[1][0])
    living: list[Span] = []
    near: list[Span] = []
    for op, (born, dies) in spans:
        if is_pinned(op.result.type):
            room = size_of(op.result.type)
            near = [one for one in near if one[3] >= born]
            if op.address is None:
                op.address = IntegerAttr(highest(near, machine.l3.bytes, room, born, dies), i64)
            at = op.address.value.data
            near.append((at, at + room, born, dies))
            continue
        living = [one for one in living if one[3] >= born]
        at, room = floor, size_of(op.result.type)
        for begin, after, _, _ in sorted(living):
            if at + room <= begin:
                break
            at = max(at, after)
        op.address = IntegerAttr(at, i64)
        living.append((at, at + room, born, dies))
        end = max(end, at + room)
    if end > machine.external.bytes:
        raise KpuError(
            f"the tensors need {end} bytes of external memory, the machine has "
            f"{machine.external.bytes}",
            hint="a machine with a larger external.bytes",
        )


Span = tuple[int, int, int, int]
"""Where a buffer stands and when it is needed: address, end, first and last call."""


def size_of(type: Attribute) -> int:
    """Bytes that a buffer takes."""
    assert isinstance(type, MemRefType)
    n = (type.element_count() * bits_of(type.element_type) + 7) // 8
    return -(-n // ALIGNMENT) * ALIGNMENT


def highest(taken: Sequence[Span], top: int, room: int, born: int, dies: int) -> int:
    """The highest address below ``top`` at which ``room`` bytes are free from call ``born`` to call
    ``dies``; negative where there is none."""
    at = top - room
    for begin, end, first, last in sorted(taken, reverse=True):
        if first <= dies and born <= last and begin < at + room and at < end:
            at = begin - room
    return at


@dataclass(frozen=True)
class TileToDmaPass(ModulePass):
    """Give every tile a ring, every transfer an engine, every ring and buffer an address.

    Before:
    ```mlir
    %lhs = tile.load %a[%m, 0] : memref<128x64xf32> -> !tile.tile<32x64xf32, l2>
    tile.store %acc, %c[%m, %n] : !tile.tile<32x48xf32, l2> -> memref<128x96xf32>
    ```
    After:
    ```mlir
    dma.ring @lhs_l3, 2 x <32x64xf32, l3> at 0
    dma.ring @lhs, 2 x <32x64xf32, l2> at 0
    ...
    %lhs_l3 = dma.fetch %a[%m, 0] into @lhs_l3 : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
    %lhs = dma.move %lhs_l3[0, 0] into @lhs : !tile.tile<32x64xf32, l3> -> !tile.tile<32x64xf32, l2>
    %acc_l3 = dma.move %acc[0, 0] into @acc_l3 defer 1 : ...
    dma.write %acc_l3, %c[%m, %n] defer 2 : !tile.tile<32x48xf32, l3> -> memref<128x96xf32>
    ```
    """

    name = "tile-to-dma"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Lower the module."""
        machine = machine_of(op)
        for func in list(op.ops):
            if not isinstance(func, FuncOp) or func.is_declaration:
                continue
            if func.sym_name.data == "main" and func.function_type.outputs.data:
                place_buffers(func, machine)
                continue
            with at_call(func):
                lowered = lower_tile(func, machine)
            Builder(InsertPoint.before(func)).insert(lowered)
            func.detach()
            func.erase(safe_erase=False)
