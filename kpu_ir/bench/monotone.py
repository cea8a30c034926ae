"""Whether a better machine is ever slower: kernels searched on machines that differ in one knob."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from kpu_ir.bench.measure import Setting
from kpu_ir.bench.table import Column, Table, change, whole
from kpu_ir.bench.workloads import (
    Shape,
    chain,
    conv,
    grouped,
    in_words,
    kernels,
    matmul,
    outlined,
    same,
)
from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.python.value import Value
from kpu_ir.lowering.kernel_to_tile import recognise
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.machine import Machine
from kpu_ir.support.errors import KpuError
from kpu_ir.tuning.cache import Cache
from kpu_ir.tuning.objective import Effort
from kpu_ir.tuning.score import time_schedule
from kpu_ir.tuning.search import Search
from kpu_ir.tuning.session import session


def _softmax() -> ModuleOp:
    graph = Graph()
    graph.output("y", graph.softmax(graph.input("x", (256, 192))))
    return graph.module()


KERNELS: Mapping[str, Callable[[], ModuleOp]] = {
    "matmul 128": lambda: matmul(Shape(128, 128, 128)),
    "matmul 16x768x256": lambda: matmul(Shape(16, 256, 768)),
    "conv 16x32x28x28 3x3": lambda: conv(16, 32, 28, 3, 1),
    "products back to back 48x64-160-64": lambda: grouped(
        chain((64, 160, 64), 48, same, Value.gelu)
    ),
    "softmax 256x192": _softmax,
}
"""What is searched: of each kind, small."""

KNOBS: Mapping[str, Sequence[int]] = {
    "external.latency": (336, 224, 112, 56),
    "dma.bytes_per_cycle": (4, 8, 12, 16),
    "dma.run_cycles": (32, 16, 8, 0),
    "dma.setup": (40, 20, 10, 0),
    "l3.tiles": (2, 4, 6, 8),
    "mover.bytes_per_cycle": (10, 12, 16, 32),
    "l2.bank_bytes": (16384, 32768, 49152, 65536),
    "streamer.bytes_per_cycle": (64, 96, 128, 256),
    "l1.buffer_bytes": (4096, 8192, 32768, 65536),
    "vector.lanes": (8, 12, 16, 32),
    "vector.issue": (16, 8, 4, 0),
    "control.issue": (8, 4, 2, 0),
}
"""Values of one key of the machine, each better than the one before."""

Timed = tuple[int, Schedule]
"""The cycles of what a search chooses, and the schedule."""

ALLOWED = 0.005
"""A share by which a better machine may be slower: what a search may leave on the table."""


def timed(func: FuncOp, machine: Machine, effort: Effort) -> Timed:
    """What a search chooses."""
    strategy = recognise(func)
    with session(disk=False):
        chosen = Search(machine, "cycles", effort, Cache()).search(func, strategy)
        return time_schedule(func, strategy, chosen, machine).cycles, chosen


def steps(
    func: FuncOp, key: str, machine: Machine, effort: Effort, usual: Timed | None = None
) -> list[dict[str, Any]]:
    """Each step to a better value of a knob: cycles before and after, and of the schedule before.
    ``usual``: what is chosen on ``machine`` itself, which has one of the values of most knobs."""
    found: list[tuple[int, Machine, int, Schedule]] = []
    for value in KNOBS[key]:
        better = machine.with_settings([f"{key}={value}"])
        chosen = usual if usual and better.digest == machine.digest else timed(func, better, effort)
        found.append((value, better, *chosen))
    rows: list[dict[str, Any]] = []
    for (value, _, before, old), (to, better, after, new) in pairwise(found):
        try:
            kept = time_schedule(func, recognise(func), old, better).cycles
        except KpuError:  # fewer strips, rings or lanes may ask for another
            kept = before
        rows.append({
            "step": f"{key} {value} to {to}", "before": before, "after": after,
            "slower": after / before - 1, "kept": kept,
            "old": in_words(old), "new": in_words(new),
        })  # fmt: skip
    return rows


def monotone_table(
    names: Sequence[str], setting: Setting, effort: Effort = "quick", knobs: Sequence[str] = ()
) -> Table:
    """Every step by which a better machine is slower. Raises ``KpuError`` for a kernel or a knob that is
    not in ``KERNELS`` or ``KNOBS``."""
    for given, known, what in ((names, KERNELS, "kernel"), (knobs, KNOBS, "knob")):
        for name in given:
            if name not in known:
                raise KpuError(f"there is no {what} '{name}'", hint=", ".join(known))
    rows: list[dict[str, Any]] = []
    for name in names or KERNELS:
        (func,) = kernels(outlined(KERNELS[name]())).values()
        usual = timed(func, setting.machine, effort)
        for key in knobs or KNOBS:
            setting.say(f"{name}, {key}")
            steps_ = steps(func, key, setting.machine, effort, usual)
            rows += ({"kernel": name, **row} for row in steps_)
    slower = sorted((r for r in rows if r["slower"] > 0), key=lambda r: -r["slower"])
    over = sum(r["slower"] > ALLOWED for r in rows)
    columns = [
        Column("kernel", "kernel"), Column("step", "a better machine"),
        Column("before", "cycles", whole), Column("after", "cycles there", whole),
        Column("slower", "", change), Column("kept", "the schedule before, there", whole),
    ]  # fmt: skip
    note = (
        f"{over} of {len(rows)} steps to a better machine are slower by over {change(ALLOWED)} ({effort} "
        f"search), {len(slower)} at all."
    )
    return Table("Better machines that are slower", columns, slower, (note,))
