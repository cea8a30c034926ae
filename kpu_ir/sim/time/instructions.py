"""A kernel's program: its bytes, and what bringing them costs.

Each operation of the text but ``dma.acquire`` is an instruction, and each loop. A program that fits the
instruction memory comes once a call, while the call before runs: its bytes are counted, nothing waits. Of
one that does not fit, each operation comes again whenever it is issued, over a memory channel of its own:
its engine waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from kpu_ir.machine import Machine
from kpu_ir.nest import records
from kpu_ir.sim.program.plan import Step
from kpu_ir.sim.time.costs import Cost, begins_later, ceil_div


def program_bytes(steps: Sequence[Step], machine: Machine) -> int:
    """Of the function that these operations are of; 0 of none."""
    each = machine.control.instruction_bytes
    if not (steps and each):
        return 0
    return each * _count(steps[0].record.function.body)


def fetched_again(spent: Cost, machine: Machine) -> Cost:
    """The cost of an operation whose instruction comes whenever it is issued."""
    size = machine.control.instruction_bytes
    later = begins_later(spent, ceil_div(size, machine.dma.bytes_per_cycle))
    return replace(later, counts={**later.counts, "instructions": size})


def _count(nodes: Iterable[records.Node]) -> int:
    count = 0
    for node in nodes:
        if isinstance(node, records.Loop):
            count += 1 + _count(node.body)
        elif not isinstance(node, records.Acquire | records.Index):
            count += 1
    return count
