"""A second reading of external memory: one channel, burst by burst, that knows no formula.

A queue of bursts, in order of arrival. A burst whose row is open goes first, else the oldest whose
bank may activate (FR-FCFS). Banks are found by an XOR hash of row and address bits; a page stays
open until another row of its bank is wanted. Times are in base cycles. Refresh is left out: it is a
rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kpu_ir.machine.parts import External


@dataclass
class Bank:
    row: int = -1
    activated: int = -(10**9)
    ready: int = 0
    """When its open row may be read."""
    last: int = 0
    """When its last burst has left."""


def place(address: int, memory: External) -> tuple[int, int]:
    """The bank and the row of a byte."""
    groups, sets = memory.bank_groups, memory.banks // memory.bank_groups
    group = address // memory.bank_stride_bytes % groups
    stripe = address // (groups * memory.row_bytes)
    bank_set, row = stripe % sets, stripe // sets
    # The hash: bits of the row turn over which set and which group.
    mixed = row ^ (row >> 4) ^ (row >> 8)
    return ((bank_set ^ mixed) % sets) * groups + (group ^ (mixed // sets)) % groups, row


def busy(bursts: Sequence[int], memory: External, rate: int) -> int:
    """Cycles that a channel of ``rate`` bytes a cycle is busy with bursts at these addresses."""
    burst = memory.burst_bytes // rate
    size = memory.queue_bytes // memory.burst_bytes
    banks = [Bank() for _ in range(memory.banks)]
    waiting = [(*place(a, memory), a) for a in bursts]
    queue, waiting = waiting[:size], waiting[size:]
    bus, last_activation = 0, -(10**9)
    precharge = memory.row_miss // 2
    opening = memory.row_miss - precharge
    while queue:
        # Open rows for what waits, oldest first: a bank that nobody in the queue still reads.
        wanted = {(b, r) for b, r, _ in queue}
        for b, r, _ in queue:
            bank = banks[b]
            if bank.row == r or (b, bank.row) in wanted:
                continue
            begin = max(
                last_activation + memory.activate_interval,
                bank.activated + memory.row_cycle,
                bank.last + precharge if bank.row >= 0 else 0,
            )
            if begin <= bus + opening + memory.row_miss:
                bank.row, bank.activated, bank.ready = r, begin, begin + opening
                last_activation = begin
        hits = [
            (max(bus, banks[b].ready), i) for i, (b, r, _) in enumerate(queue) if banks[b].row == r
        ]
        if not hits:
            bus += burst
            continue
        begin, i = min(hits)
        b, _, _ = queue.pop(i)
        bus = banks[b].last = begin + burst
        if waiting:
            queue.append(waiting.pop(0))
    return bus - memory.row_miss // 2
