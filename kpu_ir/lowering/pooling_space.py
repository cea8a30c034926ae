"""Which schedules a window on the vector engine could have (pooling, depthwise convolution), and their
bounds. Columns of integers, no IR."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from kpu_ir.dialects.tile import Window
from kpu_ir.lowering.run_costs import stretch
from kpu_ir.lowering.space import Space, ceildiv, grid, slot, spans, summed
from kpu_ir.machine import Machine


@dataclass(frozen=True, slots=True)
class PoolingProblem:
    """``images`` of ``channels`` planes, ``height`` by ``width``, to planes of ``out_height`` by
    ``out_width``; bytes of an element of the image and of the result.

    ``interval``: cycles that the vector engine works on as many results as it has lanes, all taps and
    the epilogue. ``weight_bytes``: of a plane's weights, 0 without any; ``extras``: operands of the
    epilogue.
    """

    images: int
    channels: int
    height: int
    width: int
    out_height: int
    out_width: int
    window: Window
    size: int
    out_size: int
    interval: int
    weight_bytes: int = 0
    extras: int = 0


UNEVEN = 0.25
"""Engines wait for each other where blocks differ: about this share of what the last ones lack."""


def pooling_space(p: PoolingProblem, machine: Machine) -> Space:
    """Blocks of channels, rows and columns, of several sizes, that fit."""
    n, c, oh, ow = p.images, p.channels, p.out_height, p.out_width
    channels = sorted({min(c, k) for k in (1, 2, 4, 8, 16, 32, 64)})
    heights = sorted({oh, *(h for h in (1, 2, 4, 7, 8, 14, 16, 28, 56) if h < oh)})
    widths = [ow, *(w for w in (1024, 256, 64, 16) if w < ow)]
    tc, th, tw, depth = grid(channels, heights, widths, (2, 3))
    high, wide = spans(p.window, th, tw)
    x_slot, out_slot = slot(tc * high * wide * p.size), slot(tc * th * tw * p.out_size)
    slots = 2 + p.extras
    fits = (2 * x_slot + slots * out_slot <= machine.l2.bytes * 7 // 8) & (
        3 * x_slot + slots * out_slot <= machine.l3.bytes * 7 // 8
    )
    tc, th, tw, depth, high, wide, x_slot, out_slot = (
        column[fits] for column in (tc, th, tw, depth, high, wide, x_slot, out_slot)
    )
    rows = summed(lambda t: spans(p.window, t, 1)[0], oh, th)
    columns = summed(lambda t: spans(p.window, 1, t)[1], ow, tw)
    # Rows and columns that two blocks read come twice; those of the padding never do, nor those that
    # no window touches.
    all_rows, all_columns = p.window.span((oh, ow))
    image = np.where(th < oh, rows, min(p.height, all_rows))
    image = image * np.where(tw < ow, columns, min(p.width, all_columns))
    read, written = n * c * image * p.size, n * c * oh * ow * p.out_size
    moved, rate = read + written, machine.bandwidth["dma"]
    results = prod((n, c, oh, ow))
    cycles = np.maximum(results * p.interval // machine.vector.lanes, moved // rate)

    # What takes longer than these: short runs, descriptors, and lanes that a block leaves idle.
    trips = n * ceildiv(c, tc) * ceildiv(oh, th) * ceildiv(ow, tw)
    whole = n * (c // tc) * (oh // th) * (ow // tw)
    block = tc * th * tw
    groups = whole * ceildiv(block, machine.vector.lanes)
    groups = groups + ceildiv(results - whole * block, machine.vector.lanes)
    issue = machine.control.issue
    worked = groups * p.interval + trips * (machine.vector.issue + issue)
    reading = _busy(machine, read, tc, high, wide, p.height, p.width, p.size)
    writing = _busy(machine, written, tc, th, tw, oh, ow, p.out_size)
    turned = machine.external.read_to_write + machine.external.write_to_read
    begin = machine.dma.setup + issue
    memory = reading + writing + trips * (2 * begin + turned)
    if p.weight_bytes:
        fetches = n * ceildiv(c, tc)
        run = tc * p.weight_bytes
        memory = memory + fetches * (begin + run * stretch(machine, run) / rate)
    narrow = machine.bandwidth["mover"]
    inward = moved / narrow + trips * 2 * (machine.mover.setup + issue)
    # A slot is filled again when its block has been moved on.
    first = machine.external.latency + machine.dma.setup + machine.mover.setup
    starved = (trips * first + reading + read / narrow) / depth
    # The first block comes, and the last one goes, while nothing else is to be done.
    ends = first + (reading + writing + worked) / trips + (x_slot + out_slot) / narrow
    least: Any = np.maximum(np.maximum(worked, memory), np.maximum(inward, cycles))
    uneven = 1 + UNEVEN * (trips * block / results - 1)
    guess = np.maximum(least * uneven, starved) + ends
    return Space.of(
        (c, oh, ow), cycles, moved, guess.astype(cycles.dtype), (tc, th, tw), l3_depth=depth, defer=depth,
    )  # fmt: skip


def _busy(
    machine: Machine,
    moved: Any,
    planes: Any,
    high: Any,
    wide: Any,
    height: int,
    width: int,
    size: int,
) -> Any:
    """About how long external memory is busy with ``moved`` bytes that come as blocks of so many
    ``planes``, ``high`` rows of ``wide`` columns: whole rows are one run, and so are whole planes."""
    line = np.minimum(wide, width)
    run = np.where(wide < width, line, np.where(high < height, high * line, planes * height * line))
    return moved * stretch(machine, run * size) / machine.bandwidth["dma"]
