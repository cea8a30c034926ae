"""The decisions that a kernel's lowering leaves open, as plain data."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Any

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    DictionaryAttr,
    IntAttr,
    IntegerAttr,
    StringAttr,
    i64,
)
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation

from kpu_ir.dialects.kernel.core import WEIGHTS
from kpu_ir.machine import Machine
from kpu_ir.support.errors import KpuError
from kpu_ir.support.lines import allowed
from kpu_ir.support.numbers import whole_number
from kpu_ir.text.places import place_of

ATTRIBUTE = "kpu.schedule"
"""The attribute of a kernel's function that holds its schedule."""

SCHEDULED = "kpu.scheduled"
"""The attribute of a lowered kernel's function that records what its schedule said: it is in the
loops and the rings by now, and is changed there."""

OPEN_AT_TILE = ("depth", "l3_depth", "out_depth", "defer")
"""What is still open when a kernel is tiled: ``tile-to-dma`` reads it."""

PINNED = "kpu.pinned"
"""The attribute of a kernel's function that says which of its arguments and results, counted
together, stand in L3."""

L3_BYTES = "kpu.l3_bytes"
"""The attribute of a kernel's function that says how much of L3 its tiles may take, from address 0;
without it, all."""


def pinned_of(func: Operation) -> tuple[int, ...]:
    """The arguments and results of a kernel's function that stand in L3."""
    attr = func.attributes.get(PINNED)
    if attr is None:
        return ()
    if not isinstance(attr, DenseArrayBase):
        raise KpuError(f"{PINNED} is array<i64: positions>, got {attr}", place_of(func))
    return tuple(int(n) for n in attr.iter_values())


def weights_of(func: Operation) -> tuple[int, ...]:
    """The arguments of a kernel's function that are constants of its own, and stand in external
    memory."""
    attr = func.attributes.get(WEIGHTS)
    if not isinstance(attr, DenseArrayBase):
        return ()
    pinned = pinned_of(func)
    return tuple(n for n in map(int, attr.iter_values()) if n not in pinned)


def l3_bytes(func: Operation, machine: Machine) -> int:
    """How much of L3 the tiles of a kernel's function may take."""
    attr = func.attributes.get(L3_BYTES)
    if attr is None:
        return machine.l3.bytes
    if not isinstance(attr, IntegerAttr) or not 0 <= attr.value.data <= machine.l3.bytes:
        raise KpuError(
            f"{L3_BYTES} is a number of bytes up to {machine.l3.bytes}, got {attr}",
            place_of(func),
        )
    return attr.value.data


def narrowed(machine: Machine, room: int) -> Machine:
    """The machine with so many bytes of L3, for choosing a schedule that leaves the rest alone."""
    if room == machine.l3.bytes:
        return machine
    return replace(machine, l3=replace(machine.l3, tiles=1, tile_bytes=room))


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a kernel is cut and buffered.

    ``tile``: for a product (m, n, k) extents of the tiles in L2, for a map the extents of a block;
    cut to the problem. ``order``: ``mn`` (rows outside) or ``nm``. ``lhs``, ``rhs``: where an
    operand stays while the loop that it does not depend on runs: nowhere (loaded again each time),
    ``l3`` or ``l2``. ``depth``: slots of a ring in L2; ``l3_depth``: of one in L3 (more hide the
    latency of external memory from small tiles); ``out_depth``: of a result's rings. ``defer``:
    steps by which results are deferred. ``unroll_n``: how many accumulator tiles of a product, unrolled along
    n, are summed in one loop over k: the left operand comes once for all of them, and each leaves
    by itself. ``passes``: how rows are read that a tile does not hold: once for each reduction, or
    ``online``, once for two that need each other (the largest and the sum of a softmax, mean and
    variance of a norm). ``layout``: how a tile stands on chip: as in its tensor, or ``transposed``, with
    what is reduced outermost, so that lanes combine side by side; or ``packed``: copied by whole rows,
    what memory would access in short runs being picked out or put together on chip; of a product,
    with weights that are stored in panels as wide as a tile.
    """

    tile: tuple[int, ...] = ()
    dataflow: str = "os"
    order: str = "mn"
    lhs: str = ""
    rhs: str = ""
    depth: int = 2
    l3_depth: int = 2
    out_depth: int = 2
    defer: int = 1
    unroll_n: int = 1
    passes: str = ""
    layout: str = ""

    def to_attr(self, names: Collection[str] = ()) -> DictionaryAttr:
        """``{tile = [64, 48, 128], dataflow = "os", ...}``, of these fields or of all."""
        entries: dict[str, Attribute] = {}
        for f in fields(self):
            if names and f.name not in names:
                continue
            value: Any = getattr(self, f.name)
            if isinstance(value, tuple):
                entries[f.name] = ArrayAttr(IntegerAttr(n, i64) for n in self.tile)
            elif isinstance(value, int):
                if f.name == "unroll_n" and value == 1:
                    continue
                entries[f.name] = IntegerAttr(value, i64)
            elif value:
                entries[f.name] = StringAttr(value)
        return DictionaryAttr(entries)

    @staticmethod
    def from_attr(attr: Attribute, where: str | None = None) -> Schedule:
        """The schedule in an attribute; ``KpuError`` where it is not one."""
        if not isinstance(attr, DictionaryAttr):
            raise KpuError(f"{ATTRIBUTE} must be a dictionary, got {attr}", where)
        known = {f.name for f in fields(Schedule)}
        values: dict[str, Any] = {}
        for name, value in attr.data.items():
            if name not in known:
                raise KpuError(
                    f"{ATTRIBUTE}: unknown key '{name}'", where, f"keys: {', '.join(sorted(known))}"
                )
            match value:
                case StringAttr():
                    values[name] = value.data
                case IntegerAttr():
                    values[name] = value.value.data
                case ArrayAttr():
                    values[name] = tuple(
                        n.value.data if isinstance(n, IntegerAttr) else n.data
                        for n in value.data
                        if isinstance(n, IntegerAttr | IntAttr)
                    )
                case _:
                    raise KpuError(f"{ATTRIBUTE}: {name} cannot be {value}", where)
        schedule = replace(Schedule(), **values)
        schedule.check(where)
        return schedule

    @staticmethod
    def from_text(text: str, where: str | None = None) -> Schedule:
        """The schedule of ``tile=64,64,64 dataflow=ws`` (as the options of ``kernel-to-tile``) or of
        a JSON object; ``KpuError`` where it is not one."""
        known = {f.name: f.default for f in fields(Schedule)}
        values: dict[str, Any] = {}
        entries = _entries(text, where)
        if not entries:
            raise KpuError("the schedule is empty", where, "write tile=64,64,64 dataflow=ws")
        for name, value in entries:
            if name not in known:
                raise KpuError(f"a schedule has no '{name}'", where, allowed(name, known, "it has"))
            if name in values:
                raise KpuError(f"{name} is given twice", where)
            values[name] = tuple(value) if isinstance(value, list) else value
        schedule = replace(Schedule(), **values)
        schedule.check(where)
        return schedule

    def check(self, where: str | None = None) -> None:
        """Refuse what no lowering understands."""
        allowed: dict[str, tuple[str, ...]] = {
            "dataflow": ("os", "ws", "is"),
            "order": ("mn", "nm"),
            "lhs": ("", "l3", "l2"),
            "rhs": ("", "l3", "l2"),
            "passes": ("", "online"),
            "layout": ("", "transposed", "packed"),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise KpuError(
                    f"{ATTRIBUTE}: {name} cannot be '{getattr(self, name)}'",
                    where,
                    f"one of {', '.join(repr(v) for v in values)}",
                )
        for f in fields(self):
            value: Any = getattr(self, f.name)
            extents = isinstance(value, tuple) and all(type(n) is int for n in value)
            if not (extents if f.name == "tile" else type(value) is type(f.default)):
                kind = (
                    "a tuple of whole numbers, as (64, 64, 64)"
                    if f.name == "tile"
                    else "a whole number"
                )
                raise KpuError(f"{ATTRIBUTE}: {f.name} is {kind}, got {value!r:.40}", where)
        if (
            any(n < 1 for n in self.tile)
            or min(self.depth, self.l3_depth, self.out_depth, self.unroll_n) < 1
            or self.defer < 0
        ):
            raise KpuError(
                f"{ATTRIBUTE}: tile and depth are positive, defer is not negative", where
            )


def _entries(text: str, where: str | None) -> list[tuple[str, Any]]:
    """Names and values in the text of a schedule."""
    if text.lstrip().startswith("{"):
        try:
            return list(json.loads(text, object_pairs_hook=_Pairs))
        except (ValueError, RecursionError) as e:
            raise KpuError(f"not a JSON object: {e}", where) from None
    found: list[tuple[str, Any]] = []
    for part in text.split():
        name, sign, written = part.partition("=")
        if not sign or not written:
            raise KpuError(
                f"'{part}' is not a setting of a schedule", where, "write tile=64,64,64 dataflow=ws"
            )
        numbers = [whole_number(n) for n in written.split(",")]
        if None in numbers:
            found.append((name, written.strip("\"'")))
        else:
            found.append((name, numbers[0] if len(numbers) == 1 and name != "tile" else numbers))
    return found


class _Pairs(list[tuple[str, Any]]):
    """The entries of a JSON object, also those of one name."""


FIELDS = tuple(f.name for f in fields(Schedule))
DECIDED_AT_TILE = tuple(name for name in FIELDS if name not in OPEN_AT_TILE)


def hand_down(schedule: Schedule, func: Operation) -> None:
    """Write on a ``tile`` function what is left open, and record what its loops have decided."""
    func.attributes[ATTRIBUTE] = schedule.to_attr(OPEN_AT_TILE)
    func.attributes[SCHEDULED] = schedule.to_attr(DECIDED_AT_TILE)


def left_open(func: FuncOp) -> Schedule:
    """What a ``tile`` function's schedule says of rings and deferral. Raises ``KpuError`` for what
    its loops have decided."""
    attr = func.attributes.get(ATTRIBUTE)
    if attr is None:
        return Schedule()
    where = f"@{func.sym_name.data}"
    schedule = Schedule.from_attr(attr, where)
    assert isinstance(attr, DictionaryAttr)
    decided = [name for name in attr.data if name not in OPEN_AT_TILE]
    if decided:
        raise KpuError(
            f"{ATTRIBUTE}: {', '.join(decided)} can no longer be chosen: the loops are there",
            where,
            f"change the loops; open are {', '.join(OPEN_AT_TILE)}",
        )
    return schedule


def close(func: Operation) -> None:
    """Record on a ``dma`` function what was open above: nothing is, at this level."""
    was_open = func.attributes.pop(ATTRIBUTE, None)
    decided = func.attributes.get(SCHEDULED)
    parts = [a.data for a in (decided, was_open) if isinstance(a, DictionaryAttr)]
    if parts:
        func.attributes[SCHEDULED] = DictionaryAttr(
            {k: v for part in parts for k, v in part.items()}
        )


def refuse_schedule(func: FuncOp, why: str, hint: str) -> None:
    """A schedule where nothing reads it is an error."""
    if ATTRIBUTE in func.attributes:
        raise KpuError(f"{ATTRIBUTE}: {why}", f"@{func.sym_name.data}", hint)


def schedule_record(func: Operation) -> Schedule | None:
    """The schedule that a lowered kernel was given, if it is recorded."""
    attr = func.attributes.get(SCHEDULED)
    return Schedule.from_attr(attr) if attr is not None else None
