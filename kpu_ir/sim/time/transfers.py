"""How long a transfer takes: what it waits for besides its bytes, on engines of equal channels.

    external memory and L3      set-up + max(external memory, runs, requests in flight, stretched by refreshes; banks)
    L3 and L2                   set-up + max(words, runs, transposition, banks), then the memories' latencies

A machine that is spared these costs is left with ``ceil(bytes / (channels x bytes per cycle))``.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Literal, NamedTuple

from kpu_ir.machine import Machine
from kpu_ir.machine.parts import External
from kpu_ir.nest.records import Affine
from kpu_ir.sim.program.plan import Fetch, Move, Put, Write, carrier, place
from kpu_ir.sim.time.banks import share
from kpu_ir.sim.time.costs import Cost, Hold, ceil_div
from kpu_ir.sim.time.external import load
from kpu_ir.sim.time.runs import Runs, runs_of
from kpu_ir.support.errors import KpuError

Transfer = Fetch | Move | Put | Write


def channels_of(step: Transfer, available: int) -> int:
    """How many channels carry it. Raises ``KpuError`` for one that there is not."""
    if step.channels is None:
        return available
    if step.channels[-1] >= available:
        raise KpuError(
            f"channel {step.channels[-1]} of {available}", place(step.op), "channels count from 0"
        )
    return len(step.channels)


def runs(step: Transfer) -> tuple[Runs, ...]:
    """The runs of the tensor or tile that a transfer accesses in part; with a list of rows, the
    list's first."""
    if isinstance(step, Put):
        ring = step.record.source.ring
        return (runs_of(step.extents, step.extents, ring.bits),)
    moving = any(offset.terms for offset in step.offsets)
    ranges = [loop.bounds for loop in step.record.function.loops] if moving else []
    if isinstance(step, Move):
        bits, kept = step.record.source.ring.bits, step.permutation
        moved = next((a + 1 for a in range(len(kept) - 1, -1, -1) if kept[a] != a), 0)
        moved = min(moved, len(kept) - 1)  # a transposition reads row by row
        return (
            runs_of(step.within or step.block, step.block, bits, step.offsets, ranges, kept=moved),
        )
    tensor = step.record.target if isinstance(step, Write) else step.record.source
    extents = step.extents if isinstance(step, Write) else step.inside or step.extents
    if isinstance(step, Fetch) and step.record.by is not None:
        by = step.record.by
        listed = runs_of(by.shape, extents[1:2], by.bits, step.offsets[1:2], ranges)
        return listed, runs_of(
            tensor.shape, extents, tensor.bits, step.offsets[:1], ranges, scattered=1
        )
    offsets = step.offsets
    if isinstance(step, Fetch) and step.low is not None:  # it hangs over: where it would begin
        offsets = [offset + Affine(-n) for offset, n in zip(offsets, step.low)]
    return (runs_of(tensor.shape, extents, tensor.bits, offsets, ranges),)


class Carried(NamedTuple):
    """All that a transfer's cost depends on: the engines that carry it and which way, bytes, channels, the
    ``runs`` of what it accesses in part (none where the machine does not charge for them), and the
    bits of an element where it transposes (else 0)."""

    by: Literal["dma", "mover"]
    inward: bool
    bytes: int
    channels: int
    runs: tuple[Runs, ...] = ()
    transposed: int = 0


def carried(step: Transfer, machine: Machine) -> Carried:
    """What a transfer is to ``machine``."""
    if carrier(step) == "dma":
        channels = channels_of(step, machine.dma.channels)
        found = runs(step) if _by_runs(machine.external) or machine.dma.run_cycles else ()
        return Carried("dma", isinstance(step, Fetch), step.bytes, channels, found)
    mover = machine.mover
    channels = channels_of(step, mover.channels)
    found = runs(step) if mover.word_bytes > 1 or mover.run_cycles else ()
    transposes = mover.transpose_elements and isinstance(step, Move) and _transposes(step)
    bits = step.record.source.ring.bits if isinstance(step, Move) and transposes else 0
    inward = isinstance(step, Fetch) or (isinstance(step, Move) and step.inward)
    return Carried("mover", inward, step.bytes, channels, found, bits)


def transfer_cost(asked: Carried, machine: Machine) -> Cost:
    """What a transfer costs."""
    return _moved(asked, machine) if asked.by == "mover" else _fetched(asked, machine)


def _fetched(asked: Carried, machine: Machine) -> Cost:
    """Over external memory's channels."""
    memory, dma, reads = machine.external, machine.dma, asked.inward
    channels, size = asked.channels, asked.bytes
    moved, activations = size, 0
    busy: int | Fraction = ceil_div(size, channels * dma.bytes_per_cycle)
    if _by_runs(memory) or dma.run_cycles:
        parts = [load(r, memory, channels, dma.bytes_per_cycle) for r in asked.runs if r.bits]
        busy = Fraction(size, channels * dma.bytes_per_cycle)
        if _by_runs(memory):
            busy = sum((p.cycles for p in parts), Fraction(0))
            moved, activations = sum(p.moved for p in parts), sum(p.activations for p in parts)
        busy = max(busy, dma.run_cycles * sum((p.runs for p in parts), Fraction(0)))
    if reads and dma.outstanding:
        requests = Fraction(ceil_div(moved, dma.request_bytes), channels * dma.outstanding)
        busy = max(busy, requests * memory.latency)
    if memory.refresh_interval:
        left = memory.refresh_interval - memory.refresh_cycles
        if isinstance(busy, int):
            busy = Fraction(size, channels * dma.bytes_per_cycle)
        busy = busy * memory.refresh_interval / left
    if served := share(machine, "l3", "dma"):
        busy = max(busy, size * dma.channels / (served * channels))
    cycles = dma.setup + max(1, ceil(busy))
    source, target = ("external", "l3") if reads else ("l3", "external")
    counts = {f"{source}.read": size, f"{target}.write": size, "external.burst": moved}
    if activations:
        counts["activations"] = activations
    latency = machine.l3.latency + (memory.latency if reads else 0)
    return Cost((Hold("dma", 0, cycles),), cycles + latency, counts)


def _by_runs(memory: External) -> bool:
    return memory.burst_bytes > 1 or memory.interleave_bytes > 0 or memory.row_bytes > 0


def _moved(asked: Carried, machine: Machine) -> Cost:
    """Between L3 and L2."""
    mover, size, channels = machine.mover, asked.bytes, asked.channels
    busy: int | Fraction = ceil_div(size, channels * mover.bytes_per_cycle)
    if mover.word_bytes > 1 or mover.run_cycles:
        word = 8 * mover.word_bytes
        parts = [r for r in asked.runs if r.bits]
        if word > 8:
            words = sum((r.number * r.entered(word) for r in parts), Fraction(0))
            busy = words * mover.word_bytes / (channels * mover.bytes_per_cycle)
        busy = max(busy, Fraction(mover.run_cycles * sum(r.number for r in parts), channels))
    if asked.transposed:
        elements = Fraction(8 * size, asked.transposed)
        busy = max(busy, elements / (channels * mover.transpose_elements))
    for level in ("l3", "l2"):
        if served := share(machine, level, "mover"):
            busy = max(busy, size * mover.channels / (served * channels))
    cycles = mover.setup + max(1, ceil(busy))
    source, target = ("l3", "l2") if asked.inward else ("l2", "l3")
    counts = {f"{source}.read": size, f"{target}.write": size}
    latency = machine.l3.latency + machine.l2.latency
    return Cost((Hold("mover", 0, cycles),), cycles + latency, counts)


def _transposes(step: Move) -> bool:
    """Whether elements that lie side by side no longer do: the last dimension of more than one
    element is another one afterwards."""
    before = [axis for axis, n in enumerate(step.block) if n > 1]
    after = [axis for axis in step.permutation if step.block[axis] > 1]
    return before[-1:] != after[-1:]
