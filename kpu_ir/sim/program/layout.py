"""Where rings stand in the memories of the chip: at multiples of 64 bytes, beside each other, within
what the machine has. Asked of plans when a program is loaded, and of IR when ``kpu-opt`` verifies it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import prod

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp
from xdsl.ir import Operation

from kpu_ir.dialects import dma, tile
from kpu_ir.machine import Machine
from kpu_ir.machine.attr import ATTRIBUTE, machine_of
from kpu_ir.sim.program.plan import element_bytes
from kpu_ir.support.errors import KpuError
from kpu_ir.text.places import place_of

ALIGNMENT = 64
"""Rings, their slots and buffers begin at multiples of this many bytes."""


def aligned(size: int) -> int:
    """The next multiple of ``ALIGNMENT``."""
    return -(-size // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True, slots=True)
class Standing:
    """A ring's place: ``level`` is ``l3`` or ``l2``; ``where`` says where it is written."""

    name: str
    level: str
    address: int
    bytes: int
    where: Callable[[], str | None]


def room_of(machine: Machine) -> dict[str, int]:
    """Bytes of the levels that rings stand in."""
    return {"l3": machine.l3.bytes, "l2": machine.l2.bytes}


def check_standing(rings: Iterable[Standing], func: str, room: Mapping[str, int] | None) -> None:
    """Raise ``KpuError`` for a ring of a function that is not aligned, stands where another does, or
    outside of its memory (None: of any size)."""
    end: dict[str, tuple[int, str]] = {}
    for ring in sorted(rings, key=lambda r: r.address):
        if ring.address % ALIGNMENT:
            raise KpuError(
                f"ring @{ring.name} stands at {ring.address}, which is no multiple of {ALIGNMENT}",
                ring.where(),
            )
        before, name = end.get(ring.level, (0, ""))
        if ring.address < before:
            raise KpuError(
                f"rings @{name} and @{ring.name} overlap in {ring.level}, "
                f"from {ring.address} to {min(before, ring.address + ring.bytes)}",
                ring.where(),
                f"@{ring.name} has room from {aligned(before)} on",
            )
        after = ring.address + ring.bytes
        if room is not None and after > room[ring.level]:
            raise KpuError(
                f"@{func} needs {after} bytes of {ring.level}, the machine has {room[ring.level]}",
                ring.where(),
                f"smaller tiles, shallower rings, or a machine with more {ring.level}",
            )
        end[ring.level] = after, ring.name


def check_layout(module: ModuleOp) -> None:
    """Raise ``KpuError``, with its place, where rings or buffers of a ``dma`` module do not stand as
    they must; on the module's own machine, if it has one."""
    room = room_of(machine_of(module)) if ATTRIBUTE in module.attributes else None
    for func in module.walk():
        if isinstance(func, FuncOp):
            check_standing(_rings(func), func.sym_name.data, room)
        elif isinstance(func, tile.BufferOp | tile.ConstantOp) and func.address is not None:
            check_address(func, func.address.value.data)


def check_address(op: Operation, address: int) -> None:
    """Raise ``KpuError`` for a buffer that no tensor can stand in."""
    if address % ALIGNMENT or address < 0:
        raise KpuError(
            f"a tensor stands at {address}, which is no multiple of {ALIGNMENT} from 0",
            place_of(op),
        )


def _rings(func: FuncOp) -> Iterable[Standing]:
    for op in func.body.walk():
        if isinstance(op, dma.RingOp):
            size = aligned(element_bytes(op.type.element_type, prod(op.type.get_shape())))
            yield Standing(
                op.sym_name.data,
                str(op.type.level.data.value),
                op.address.value.data,
                size * op.depth.value.data,
                lambda op=op: place_of(op),
            )
