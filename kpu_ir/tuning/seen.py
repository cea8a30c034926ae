"""What of a machine a kernel can see: machines that differ in nothing else share its schedules."""

from __future__ import annotations

from typing import Any

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


def seen_by(func: FuncOp, machine: Machine) -> dict[str, Any]:
    """The parts of a machine that the time of a kernel with a schedule may depend on."""
    hidden = PRICES
    names = {op.name for op in func.walk() if op.name.startswith("kernel.")}
    if names and names <= WITHOUT_ARRAY:
        hidden += ARRAY if machine.l2.bank_bytes_per_cycle else (*ARRAY, "streamer")
    return {key: value for key, value in machine.to_dict().items() if key not in hidden}
