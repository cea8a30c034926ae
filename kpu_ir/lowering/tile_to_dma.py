"""``tile-to-dma``: rings, routes, engines, addresses."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, MemRefType, ModuleOp, i64
from xdsl.dialects.func import CallOp, FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint

from kpu_ir.dialects import tile
from kpu_ir.dialects.tile import is_pinned
from kpu_ir.lowering.schedule import Schedule, close, l3_bytes, left_open
from kpu_ir.lowering.staging import Staging, Value
from kpu_ir.machine import Machine
from kpu_ir.machine.attr import machine_of
from kpu_ir.nest.dma_ir import write_function
from kpu_ir.nest.records import Function
from kpu_ir.nest.values import ALIGNMENT, Tensor
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import bits_of
from kpu_ir.text.places import at_call, known, place_of


class _Player:
    """Plays the operations of a ``tile`` function to the staging; ``values`` are what its values
    stand for."""

    def __init__(self, func: FuncOp, schedule: Schedule) -> None:
        self.nest = Staging(func.sym_name.data, schedule, known(func.location, func.name))
        self.values: dict[SSAValue, Value] = {}
        for position, arg in enumerate(func.body.block.args):
            type = SSAValue.get(arg, type=MemRefType).type
            tensor = Tensor(position, type, arg.name_hint)
            self.values[arg] = tensor
            self.nest.out.tensors.append(tensor)

    def all(self, values: Sequence[SSAValue]) -> list[Value]:
        """What values stand for."""
        return [self.values[v] for v in values]

    def maybe(self, value: SSAValue | None) -> Value | None:
        """What an operand that may be absent stands for."""
        return None if value is None else self.values[value]

    def indices(self, indices: Sequence[int | SSAValue]) -> list[int | Value | None]:
        """Offsets."""
        return [i if isinstance(i, int) else self.values[i] for i in indices]

    def block(self, block: Block) -> None:
        """Play a block."""
        nest, values = self.nest, self.values
        for op in block.ops:
            nest.origin, nest.out.location = op, op.location
            match op:
                case tile.ForOp():
                    var = op.induction_var
                    values[var] = nest.enter(op.bounds, var.name_hint)
                    self.block(op.body.block)
                    nest.close()
                case tile.LoadOp():
                    type = op.result.type
                    values[op.result] = nest.load(
                        values[op.source], self.indices(op.indices), type.get_shape(),
                        type.element_type, op.result.name_hint, type.level.data,
                        self.all(op.reused), _numbers(op.permuted), _numbers(op.low),
                        _numbers(op.high), op.fill.value.data if op.fill else 0.0,
                        self.maybe(op.by), self.maybe(op.after),
                    )  # fmt: skip
                case tile.AllocOp():
                    type, name = op.result.type, op.result.name_hint
                    values[op.result] = nest.alloc(
                        type.get_shape(),
                        type.element_type,
                        name,
                        type.level.data,
                        self.all(op.reused),
                    )
                case tile.StoreOp():
                    source, target = values[op.source], values[op.target]
                    at, axes = self.indices(op.indices), _numbers(op.permuted)
                    nest.store(source, target, at, axes, self.all(op.over))
                case tile.MatmulOp():
                    lhs, rhs, into = self.all([op.lhs, op.rhs, op.into])
                    window = op.window.plain if op.window else None
                    over, extra = self.all(op.over), self.all(op.extra)
                    flow = op.dataflow.data
                    nest.matmul(flow, lhs, rhs, into, over, extra, op.epilogue, window)
                case tile.ReduceOp():
                    kind, axes = op.reduction.data, tile.integers(op.axes)
                    nest.reduce(kind, values[op.source], values[op.into], axes, self.all(op.over))
                case tile.WindowOp():
                    source, into, *extra = self.all([op.source, op.into, *op.extra])
                    kind, window, weights = op.reduction.data, op.window.plain, op.weights
                    nest.window(kind, window, source, self.maybe(weights), into, extra, op.epilogue)
                case tile.MapOp():
                    nest.map(self.all(op.inputs), values[op.into], op.body)
                case ReturnOp():
                    pass
                case _ if op.name.startswith("arith."):
                    values[op.results[0]] = nest.scalar(op, self.all(op.operands))
                case _:
                    raise KpuError(f"{op.name} does not belong in a kernel", place_of(op))


def _numbers(attr: DenseArrayBase | None) -> tuple[int, ...] | None:
    return None if attr is None else tile.integers(attr)


def stage_tile(func: FuncOp, machine: Machine) -> Function:
    """The ``dma`` function of one ``tile`` function, as records. Raises ``KpuError`` where its tiles
    do not fit."""
    player = _Player(func, left_open(func))
    player.block(func.body.block)
    return player.nest.finish(l3_bytes(func, machine), machine.l2.bytes)


def lower_tile(func: FuncOp, machine: Machine) -> FuncOp:
    """The same as IR."""
    lowered = write_function(stage_tile(func, machine), func.sym_visibility)
    lowered.location = func.location
    lowered.attributes.update(func.attributes)
    close(lowered)
    return lowered


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
