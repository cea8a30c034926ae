"""``tile-to-dma``: rings, routes, engines, addresses."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import IntegerAttr, MemRefType, ModuleOp, i64
from xdsl.dialects.func import CallOp, FuncOp, ReturnOp
from xdsl.ir import Attribute, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint

from kpu_ir.dialects import dma, tile
from kpu_ir.dialects.tile import is_pinned
from kpu_ir.lowering.schedule import close, l3_bytes, left_open
from kpu_ir.lowering.staging import stage
from kpu_ir.machine import Machine
from kpu_ir.machine.attr import machine_of
from kpu_ir.nest.ir import read_tile, write_function
from kpu_ir.nest.records import ALIGNMENT
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import bits_of
from kpu_ir.text.places import at_call


def lower_tile(func: FuncOp, machine: Machine) -> FuncOp:
    """The ``dma`` function of one ``tile`` function. Raises ``KpuError`` where its tiles do not
    fit."""
    room = l3_bytes(func, machine), machine.l2.bytes
    staged = stage(read_tile(func), left_open(func), *room)
    lowered = write_function(staged, dma, func.sym_visibility)
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
