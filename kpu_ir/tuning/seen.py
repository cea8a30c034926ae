"""What of a machine a kernel can see: machines that differ in nothing else share its schedules."""

from __future__ import annotations

import json

from xdsl.dialects.func import FuncOp

from kpu_ir.machine import Machine

PRICES = ("name", "clock_hz", "area", "energy")
"""No cycle depends on these. Choices by energy add its table to their key."""

ARRAY = ("fabric", "l1")
"""The array, and what holds its operands. What feeds it, the streamers, has a share of the banks of L2."""

WITHOUT_ARRAY = frozenset(
    f"kernel.{name}" for name in (
        "yield", "constant", "map", "reshape", "transpose", "slice", "concat", "pad", "broadcast",
        "reduce", "softmax", "normalize", "gather", "pool", "arg_reduce", "top_k",
    )
)  # fmt: skip
"""Operations that the vector engine and the movers do alone."""


def hidden_from(func: FuncOp, machine: Machine) -> tuple[str, ...]:
    """The parts of a machine that the time of a kernel with a schedule does not depend on."""
    names = {op.name for op in func.walk() if op.name.startswith("kernel.")}
    if names and names <= WITHOUT_ARRAY:
        return PRICES + (ARRAY if machine.l2.bank_bytes_per_cycle else (*ARRAY, "streamer"))
    return PRICES


def seen(machine: Machine, hidden: tuple[str, ...]) -> str:
    """The other parts, as text."""
    return json.dumps({key: v for key, v in machine.to_dict().items() if key not in hidden})
