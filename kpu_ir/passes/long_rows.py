"""Scans and top-k: rows that stand on chip as a whole, and scans of longer ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xdsl.ir import SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.machine import Machine
from kpu_ir.passes.kernel_build import put
from kpu_ir.scalar.tracing import trace
from kpu_ir.scalar.widening import working_type
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import bits_of
from kpu_ir.text.places import place_of

SLOTS = 3
"""Of each tile, at most, in L2 and in L3."""


def has_room(op: kernel.ScanOp | kernel.TopKOp, machine: Machine) -> bool:
    """Whether a row and its results fit on chip."""
    return bytes_of(op) <= room_of(machine)


def bytes_of(op: kernel.ScanOp | kernel.TopKOp) -> int:
    """What a row and its results take on chip."""
    kinds = (tensor_type(v) for v in (op.source, *op.results))
    bits = sum(t.get_shape()[op.dimension] * bits_of(t.element_type) for t in kinds)
    return (SLOTS * bits + 7) // 8


def room_of(machine: Machine) -> int:
    """What there is for it."""
    return min(machine.l2.bytes, machine.l3.bytes) * 7 // 8


MOST_CHOSEN = 256
"""Elements that are chosen one by one where a row does not fit on chip."""


def check_chosen(op: kernel.TopKOp, machine: Machine) -> None:
    """Refuse a top-k of many elements of a row that does not fit on chip."""
    if op.count > MOST_CHOSEN:
        extent = tensor_type(op.source).get_shape()[op.dimension]
        raise KpuError(
            f"the {op.count} first of {extent} elements need {bytes_of(op)} bytes on chip, the "
            f"machine has {room_of(machine)} for them",
            place_of(op),
            f"k of {MOST_CHOSEN} at most, or a machine with more of L2 and L3",
        )


def scan(op: kernel.ScanOp, machine: Machine) -> None:
    """A long row is one of blocks: each is scanned by itself, and what all blocks before it come to
    is added (or multiplied) to its elements. Short floats are f32 until then."""
    if has_room(op, machine):
        return
    kind, axis = tensor_type(op.source), op.dimension
    shape = kind.get_shape()
    element, wide = kind.element_type, working_type(kind.element_type)
    most = min(machine.l2.bytes, machine.l3.bytes) * 7 // (2 * SLOTS * bits_of(wide))
    count = -(-shape[axis] // max(1, most))
    size = -(-shape[axis] // count)
    short = count * size - shape[axis]
    made: list[Any] = []

    def add(one: Any) -> SSAValue:
        made.append(one)
        return one.result

    def mapped(formula: Callable[..., Any], *inputs: SSAValue) -> SSAValue:
        body, out = trace(formula, [tensor_type(v).element_type for v in inputs])
        return add(kernel.MapOp(inputs, body, out))

    source, back = op.source, bool(op.backward)
    if wide != element:
        source = mapped(lambda x: x.to(wide), source)
    low, high = (
        [short * (a == axis and end) for a in range(len(shape))] for end in (back, not back)
    )
    if short:
        source = add(kernel.PadOp(source, low, high, 0.0 if op.kind_name == "add" else 1.0))
    blocks = add(kernel.ReshapeOp(source, (*shape[:axis], count, size, *shape[axis + 1 :])))
    totals = add(kernel.ReduceOp(op.kind_name, blocks, [axis + 1]))
    earlier = add(kernel.ScanOp(op.kind_name, totals, axis, back, True))
    inside = add(kernel.ScanOp(op.kind_name, blocks, axis + 1, back, bool(op.exclusive)))
    times = op.kind_name == "mul"
    both = mapped(lambda a, b: (a * b if times else a + b).to(element), inside, earlier)
    result = add(kernel.ReshapeOp(both, tensor_type(source).get_shape()))
    if short:
        result = add(kernel.SliceOp(result, low, [1] * len(shape), shape))
    result.name_hint = op.result.name_hint
    put(op, made, [result])
    for one in made:
        if isinstance(one, kernel.ScanOp):
            scan(one, machine)
