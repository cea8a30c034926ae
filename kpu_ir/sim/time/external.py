"""External memory: what its channels are busy with while a transfer's runs go through.

    data    whole bursts, at the channel's rate
    rows    activations: each row of each bank that the runs enter
    wait    of scattered runs: for a bank that has another row open

A channel spends max(data, rows) + wait. Rows are all closed when a transfer starts, so nothing is
remembered from one transfer to the next; ``docs/timing.md`` has the formulas, their sources and what
they reproduce.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import ceil

from kpu_ir.machine.parts import External
from kpu_ir.sim.time.runs import Runs


@dataclass(frozen=True, slots=True)
class Load:
    """Of the busiest channel: cycles. Of all channels: bytes that are moved, rows that are activated,
    and the runs that the busiest one sees."""

    cycles: Fraction
    moved: int
    activations: int
    runs: Fraction


def load(runs: Runs, memory: External, channels: int, rate: int) -> Load:
    """What ``runs`` cost on so many channels of ``rate`` bytes a cycle."""
    burst = 8 * memory.burst_bytes
    bursts = runs.number * (runs.entered(burst) if burst > 8 else Fraction(runs.bits, 8))
    moved = ceil(bursts) * memory.burst_bytes
    piece, pieces, share = _spread(runs, memory, channels)
    data = max(bursts / channels, bursts * share) * burst / (8 * rate)
    if not memory.row_bytes:
        return Load(data, moved, 0, pieces)
    rows = _rows(runs, memory, channels, piece)
    each = Fraction(max(1, round(256 * rows / (channels * pieces))), 256)  # it gets powers
    queue = 8 * memory.queue_bytes
    held = min(Fraction(64), max(Fraction(1), Fraction(round(8 * queue / piece), 8)))
    reached = _banks_reached(memory.banks, each, held)
    interval = max(Fraction(memory.activate_interval), memory.row_cycle / reached)
    busy = max(data, rows / channels * interval)
    if runs.scattered:
        behind = max(Fraction(0), queue / piece - 1) * busy / pieces  # what else is in the queue
        miss = max(Fraction(0), memory.row_miss - behind)
        busy += pieces * min(each, Fraction(memory.bank_groups)) / memory.banks * miss
    return Load(busy, moved, ceil(rows), pieces)


@lru_cache(1 << 12)
def _banks_reached(banks: int, each: Fraction, held: Fraction) -> Fraction:
    """How many different banks are busy, where the controller sees ``held`` runs (at least one) at a time
    and each of them needs so many; a hash spreads runs over banks as chance would."""
    free = 1 - min(Fraction(1), each / banks)
    whole = int(held)
    missed = Fraction(1)
    for _ in range(whole):
        missed *= free
    return banks * (1 - missed * (1 - (held - whole) * (1 - free)))


def _spread(runs: Runs, memory: External, channels: int) -> tuple[Fraction, Fraction, Fraction]:
    """How runs meet the channels: the bits of one channel's piece of a run, the pieces that the
    busiest channel gets, and its share of all bits."""
    count, unit = runs.number, 8 * memory.interleave_bytes
    if not unit:  # as even as can be: whole runs where there are enough
        met = max(1, channels // max(1, count))
        return (
            Fraction(runs.bits, met),
            max(Fraction(1), Fraction(count * met, channels)),
            Fraction(0),
        )
    turns, rest = divmod(runs.bits, channels * unit)
    most = turns * unit + min(unit, rest)  # of one run, on the channel that has most of it
    met = min(channels, -(-runs.bits // unit))
    pieces = Fraction(count * met, channels)
    share = Fraction(most, runs.bits * count)  # of the last run, or the only one
    return Fraction(runs.bits, met), max(Fraction(1), pieces), share


def _rows(runs: Runs, memory: External, channels: int, piece: Fraction) -> Fraction:
    """The rows that are activated in all channels.

    Addresses of a channel go over ``bank_groups`` banks, ``bank_stride_bytes`` each; the rows that
    are open side by side so hold a stripe of ``bank_groups * row_bytes``. Of where a stripe ends
    nothing is assumed. Runs in the same stripe share its rows.
    """
    groups, stride = memory.bank_groups, 8 * memory.bank_stride_bytes
    stripe = groups * 8 * memory.row_bytes

    def inside(bits: Fraction, stretches: Fraction) -> Fraction:
        return min(groups, stretches) + groups * max(Fraction(0), bits - groups * stride) / stripe

    pieces = runs.bits / piece
    rows = inside(piece, max(piece / stride, runs.entered(stride) / pieces))
    span, count, aligned = piece, 1, True
    for n, pitch in runs.counts:
        local = Fraction(pitch, channels)
        span += (n - 1) * local
        aligned &= not runs.scattered and local % (groups * stride) == 0
        within = 1 + (n - 1) * local / stripe  # stripes that they stand in
        apart = rows * (min(Fraction(n), within) if aligned else n)
        rows = min(apart, inside(span, span / stride)) if not runs.scattered else rows * n
        count *= n
    return rows * pieces
