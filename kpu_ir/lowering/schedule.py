"""The decisions that a kernel's lowering leaves open, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    IntAttr,
    IntegerAttr,
    StringAttr,
    i64,
)
from xdsl.ir import Attribute

from kpu_ir.errors import KpuError

ATTRIBUTE = "kpu.schedule"
"""The attribute of a kernel's function that holds its schedule."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a kernel is cut and buffered.

    ``tile``: for a product (m, n, k) extents of the tiles in L2, for a map the extents of a block;
    cut to the problem. ``order``: ``mn`` (rows outside) or ``nm``. ``lhs``, ``rhs``: where an
    operand stays while the loop that it does not depend on runs: nowhere (loaded again each time),
    ``l3`` or ``l2``. ``depth``: slots of a ring in L2; ``l3_depth``: of one in L3 (more hide the
    latency of external memory from small tiles); ``out_depth``: of a result's rings. ``late``:
    steps by which results leave late.
    """

    tile: tuple[int, ...] = ()
    dataflow: str = "os"
    order: str = "mn"
    lhs: str = ""
    rhs: str = ""
    depth: int = 2
    l3_depth: int = 2
    out_depth: int = 2
    late: int = 1

    def to_attr(self) -> DictionaryAttr:
        """``{tile = [64, 48, 128], dataflow = "os", ...}``."""
        entries: dict[str, Attribute] = {}
        for f in fields(self):
            value: Any = getattr(self, f.name)
            if isinstance(value, tuple):
                entries[f.name] = ArrayAttr(IntegerAttr(n, i64) for n in self.tile)
            elif isinstance(value, int):
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

    def check(self, where: str | None = None) -> None:
        """Refuse what no lowering understands."""
        allowed: dict[str, tuple[str, ...]] = {
            "dataflow": ("os", "ws", "is"),
            "order": ("mn", "nm"),
            "lhs": ("", "l3", "l2"),
            "rhs": ("", "l3", "l2"),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise KpuError(
                    f"{ATTRIBUTE}: {name} cannot be '{getattr(self, name)}'",
                    where,
                    f"one of {', '.join(repr(v) for v in values)}",
                )
        if (
            any(n < 1 for n in self.tile)
            or min(self.depth, self.l3_depth, self.out_depth) < 1
            or self.late < 0
        ):
            raise KpuError(f"{ATTRIBUTE}: tile and depth are positive, late is not negative", where)
