"""Which schedules a convolution could have, and bounds that none of them can beat. Columns of
integers, no IR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kpu_ir.dialects.tile import Window
from kpu_ir.lowering.run_costs import stretch
from kpu_ir.lowering.space import (
    FLOWS,
    L2,
    L3,
    NONE,
    Column,
    Space,
    ceildiv,
    folds,
    grid,
    packed,
    sides,
    slot,
    spans,
    summed,
)
from kpu_ir.machine import Machine


@dataclass(frozen=True, slots=True)
class ConvolutionProblem:
    """A convolution in plain integers: of ``images`` by ``groups`` planes each, ``channels`` of an
    image of ``height`` by ``width`` to ``out_channels`` of ``out_height`` by ``out_width``.

    Bytes of an element of the image and of the result, bits of a weight; ``weight_bytes`` of all
    weights, ``extra_bytes`` of what the epilogue
    reads, by ``extras`` operands. ``folded``: rows that no window touches lie beside the others.
    ``drain``: cycles in which the vector engine takes one row of results through the epilogue; ``add``:
    through the addition of a partial sum.
    ``sum_size``: of partial sums that have tiles of their own; 0 where they are as the results.
    """

    images: int
    groups: int
    channels: int
    height: int
    width: int
    out_channels: int
    out_height: int
    out_width: int
    window: Window
    size: int
    weight_bits: int
    out_size: int
    macs_per_pe: int
    weight_bytes: int
    extra_bytes: int = 0
    extras: int = 0
    folded: bool = False
    drain: int = 1
    add: int = 1
    sum_size: int = 0


def convolution_space(p: ConvolutionProblem, machine: Machine) -> Space:
    """Every schedule that fits the memories, with its bounds. Tiles: output channels, rows,
    columns, input channels."""
    parts: list[Space] = []
    for flow in ("os", "is", "ws"):
        side = machine.fabric.columns if flow == "is" else machine.fabric.rows
        parts.append(_space(p, machine, flow, _tiles(p, machine, side)))
    return Space.joined(parts)


def _tiles(p: ConvolutionProblem, machine: Machine, side: int) -> list[Column]:
    """Tiles of which one fits."""
    high, wide, deep = p.out_height, p.out_width, p.channels
    # What is beyond a row of a folded image is not its end: a tile does not hang over it.
    cuts = {w for w in (8, 16, 32, 64, 112) if w < wide} | {ceildiv(wide, n) for n in (2, 3, 4, 6)}
    widths = sorted({wide, *(w for w in cuts if not p.folded or wide % w == 0)})
    heights = {high, *(h for h in (1, 2, 4, 7, 8, 14, 16, 28) if h < high)}
    heights |= {ceildiv(high, n) for n in (2, 3, 4)}
    depths = sorted({deep, *(n for n in (2, 4, 8, 16, 32, 64, 128) if n < deep)})
    tiles = grid(sides(p.out_channels, side, 1 << 30), sorted(heights), widths, depths)
    w_slot, x_slot, out_slot = _slots(p, tiles)
    fits = (out_slot <= machine.l2.bytes) & (x_slot + w_slot <= machine.l2.bytes)
    return [column[fits] for column in tiles]


def _slots(p: ConvolutionProblem, tiles: list[Column]) -> tuple[Any, Any, Any]:
    """Bytes of a tile of weights, of the image, of results."""
    toc, th, tw, tc = tiles
    high, wide = spans(p.window, th, tw)
    return (
        slot(packed(toc * tc * p.window.taps, p.weight_bits)),
        slot(tc * high * wide * p.size),
        slot(toc * th * tw * p.out_size),
    )


def array_cycles(p: ConvolutionProblem, machine: Machine, flow: str, tiles: list[Column]) -> Any:
    """Cycles that the array works."""
    toc, th, tw, tc = tiles
    rows, columns = machine.fabric.rows, machine.fabric.columns
    taps, g, lead = p.window.taps, p.macs_per_pe, p.images * p.groups
    # Positions of all tiles, each tile's rounded up to the array's side.
    places = summed(
        lambda a: summed(lambda b: ceildiv(a * b, columns), p.out_width, tw), p.out_height, th
    )
    if flow == "os":
        # Each piece of the sum is drained while the next is summed, the last one through the epilogue.
        cuts = ceildiv(p.channels, tc)
        last = ceildiv((p.channels - (cuts - 1) * tc) * taps, g)
        drain = np.where(cuts > 1, p.drain + p.add, p.drain)
        depth = (cuts - 1) * np.maximum(ceildiv(tc * taps, g), rows * p.add)
        depth = depth + np.maximum(last, rows * drain)
        return folds(p.out_channels, toc, rows) * places * depth * lead
    passes = summed(lambda t: ceildiv(t * taps, rows * g), p.channels, tc)
    if flow == "ws":
        stream = summed(lambda t: np.maximum(t, rows), p.out_channels, toc)
        return passes * places * stream * lead
    spots = ceildiv(p.out_height, th) * ceildiv(p.out_width, tw)
    stream = np.minimum(
        spots * np.maximum(th * tw, rows), np.maximum(p.out_height * p.out_width, spots * rows)
    )
    return passes * folds(p.out_channels, toc, columns) * stream * lead


VARIANTS = [
    (outer_n, w, x)
    for outer_n in (0, 1)
    for lhs, rhs in ((0, 0), (1, 0), (0, 1), (1, 1))
    for w in ((L2, L3) if lhs else (NONE,))
    for x in ((L2, L3) if rhs else (NONE,))
]
"""The order, and where weights and image stay."""


def _space(p: ConvolutionProblem, machine: Machine, flow: str, tiles: list[Column]) -> Space:
    """The tiles with their orders, and what stays on chip."""
    array = array_cycles(p, machine, flow, tiles)[:, None]
    w_slot, x_slot, out_slot = (slot[:, None] for slot in _slots(p, tiles))
    toc, th, tw, tc = (column[:, None] for column in tiles)
    outer_n, lhs, rhs = np.array(VARIANTS).T
    lead, n, w, hin = p.images * p.groups, p.images, p.window, p.height
    over_o, over_c = ceildiv(p.out_channels, toc), ceildiv(p.channels, tc)
    spots = ceildiv(p.out_height, th) * ceildiv(p.out_width, tw)
    nm = outer_n == 1
    again_w = np.where((over_c > 1) | nm, n * spots, n)
    again_x = np.where((over_c > 1) | ~nm, over_o, 1)
    held_w = over_c * np.where(nm | (n > 1), over_o, 1)
    held_x = over_c * np.where(nm, 1, spots)
    sound = ((lhs == NONE) | (again_w > 1)) & ((rhs == NONE) | (again_x > 1))

    stand = (over_c > 1) | (flow != "os")
    sums = np.where(stand, slot(toc * th * tw * p.sum_size), 0)

    def operands_at(level: int) -> Any:
        held = w_slot * np.where(lhs == level, held_w, 2)
        return held + x_slot * np.where(rhs == level, held_x, 2)

    beside = p.extras * 2 * toc * 64
    in_l2, in_l3 = operands_at(L2) + sums + beside, operands_at(L3) + beside
    fits = {
        depth: (in_l2 + out_slot * depth <= machine.l2.bytes)
        & (in_l3 + out_slot * depth <= machine.l3.bytes)
        for depth in (4, 2, 1)
    }
    # A result leaves some steps late, and its slot with it: where each step makes one, more slots.
    out_depth = np.where((over_c == 1) & fits[4], 4, np.where(fits[2], 2, 1))
    tile, variant = np.nonzero(sound & fits[1])
    out_depth = out_depth[tile, variant]

    def each(column: Any) -> Column:
        column = np.broadcast_to(column, (len(sound), column.shape[1]))
        return column[tile, 0] if column.shape[1] == 1 else column[tile, variant]

    in_l3 = each(in_l3 + out_slot * 4 - beside)
    plane = summed(lambda t: np.minimum(spans(w, t, 1)[0], hin), p.out_height, th)
    line = summed(lambda t: np.minimum(spans(w, 1, t)[1], p.width), p.out_width, tw)
    image = each(lead * p.channels * plane * line * p.size)
    out = lead * p.out_channels * p.out_height * p.out_width * p.out_size
    again_w, again_x, spots, array = each(again_w), each(again_x), each(spots), each(array)
    over_o, over_c, result = each(over_o), each(over_c), each(out_slot)
    lhs, rhs, order = lhs[variant], rhs[variant], outer_n[variant]
    w_slot, x_slot = each(w_slot), each(x_slot)
    loads = w_slot + x_slot
    wide, narrow = machine.bandwidth["dma"], machine.bandwidth["mover"]
    weights, images = (
        p.weight_bytes * np.where(lhs > NONE, 1, again_w),
        np.where(rhs > NONE, 1, again_x),
    )
    images = image * images
    external = weights + images + out + p.extra_bytes
    inward = p.weight_bytes * np.where(lhs == L2, 1, again_w)
    inward = inward + image * np.where(rhs == L2, 1, again_x)
    cycles = np.maximum(array, np.maximum(external // wide, (inward + out) // narrow))
    latency, blocks = machine.external.latency, lead * over_o * spots
    step = np.maximum(1, array // (blocks * over_c))
    # As many slots in L3 as cover the latency, where there is room for them.
    deep = np.minimum(4, 2 + latency // step)
    used = in_l3 + loads * (deep - 2)
    depth = np.where(used <= machine.l3.bytes, deep, 2)
    # A slot is filled again when its tile has been moved on: shallow rings starve.
    fetches_w = p.groups * over_o * over_c * np.where(lhs > NONE, 1, again_w)
    fetches_x = lead * over_c * spots * np.where(rhs > NONE, 1, again_x)
    turn_w, turn_x = (latency + slot // wide + slot // narrow for slot in (w_slot, x_slot))
    starved = np.maximum(fetches_w * turn_w, fetches_x * turn_x) // depth
    ends = latency + loads // wide + loads // narrow + result // wide + result // narrow
    ends = ends + np.where(out_depth == 1, blocks * (result // narrow), 0)
    # Short runs and descriptors keep external memory busy for longer than its bytes do.
    begin, high = machine.dma.setup + machine.control.issue, spans(w, th, 1)[0]
    across, line = spans(w, 1, tw)[1], np.minimum(spans(w, 1, tw)[1], p.width)
    run_w = packed(np.where(tc == p.channels, toc * tc, tc) * w.taps, p.weight_bits)
    run_x = np.where(across >= p.width, np.minimum(high, hin) * line, line) * p.size
    run_out = np.where(tw == p.out_width, th * tw, tw) * p.out_size
    busy = sum(
        moved * each(stretch(machine, run)) / wide + fetches * begin
        for moved, run, fetches in (
            (weights, run_w, fetches_w), (images, run_x, fetches_x), (out, run_out, blocks)
        )
    )  # fmt: skip
    guess = np.maximum(cycles, starved)
    guess = np.maximum(guess, np.asarray(busy).astype(cycles.dtype)) + ends
    guess = guess + blocks * over_c * machine.control.issue
    extents = (p.out_channels, p.out_height, p.out_width, p.channels)
    return Space.of(
        extents, cycles, external, guess, [column[tile] for column in tiles],
        dataflow=FLOWS.index(flow), order=order, lhs=lhs, rhs=rhs, l3_depth=depth,
        out_depth=out_depth, defer=np.minimum(2 + deep, out_depth * over_c),
    )  # fmt: skip
