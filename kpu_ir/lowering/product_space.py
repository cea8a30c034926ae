"""Which schedules a product could have, and their bounds. Columns of integers, no IR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from kpu_ir.lowering.run_costs import stretch
from kpu_ir.lowering.shapes import round_up
from kpu_ir.lowering.space import (
    FLOWS,
    L2,
    L3,
    LAYOUTS,
    NONE,
    Column,
    Space,
    ceildiv,
    folds,
    grid,
    packed,
    sides,
    slot,
)
from kpu_ir.machine import Machine


@dataclass(frozen=True, slots=True)
class Problem:
    """A product of ``batch`` times m x k by k x n; ``bits`` of an element of each operand, bytes of a
    result's, k-values a PE takes in one cycle.

    ``shared``: products that share the left operand; ``n`` counts the columns of all of them, a tile
    is in one. ``drain``: cycles in which the vector engine takes one row of results through the epilogue;
    ``add``: through the addition of a partial sum. ``sum_size``: of partial sums that have tiles of
    their own, 0 where they stand in those of the results. ``transposed``: whether the operands are
    stored the other way round. ``packable``: whether the right one may be stored in panels.
    """

    batch: int
    m: int
    n: int
    k: int
    bits: tuple[int, int]
    out_size: int
    macs_per_pe: int
    extra_bytes: int = 0
    drain: int = 1
    add: int = 1
    shared: int = 1
    sum_size: int = 0
    transposed: tuple[bool, bool] = (False, False)
    packable: bool = False

    @property
    def kind(self) -> type[np.int64] | type[np.float64]:
        """What its figures are counted in: whole numbers, unless they would not hold them."""
        most = self.batch * self.m * self.n * self.k * (self.drain + self.add) * 64
        return np.int64 if most < 1 << 62 else np.float64


class Depths(NamedTuple):
    """Slots of the rings in L2, in L3 and of results; steps by which results leave late."""

    l2: Any
    l3: Any
    out: Any
    defer: Any

    def at(self, chosen: Column) -> Depths:
        """The chosen ones."""
        return Depths(*(column[chosen] for column in self))

    def cut(self, ring: int, out: int) -> Depths:
        """At most so many slots in rings of operands, and of results."""
        l2, l3 = np.minimum(self.l2, ring), np.minimum(self.l3, ring)
        return Depths(l2, l3, np.minimum(self.out, out), self.defer)


class Tiles(NamedTuple):
    """Extents of tiles in L2: numbers or columns."""

    m: Any
    n: Any
    k: Any

    def at(self, chosen: Column) -> Tiles:
        """The chosen ones."""
        return Tiles(*(column[chosen] for column in self))


class Slots(NamedTuple):
    """Bytes of a product's slots, as ``tile-to-dma`` lays them out: of those that go by, and of all
    that an operand has on chip where it stays."""

    lhs: Any
    rhs: Any
    all_lhs: Any
    all_rhs: Any
    out: Any
    sums: Any

    @staticmethod
    def of(
        p: Problem, tile: Tiles, outer_n: Any, unroll: Any = 1, flows: Sequence[str] = ("os",)
    ) -> Slots:
        """Those of tiles; ``outer_n``: whether columns are the outer loop."""
        tm, tn, tk = tile
        lhs, rhs = slot(packed(tm * tk, p.bits[0])), slot(packed(tk * tn, p.bits[1]))
        across, over_k = p.shared * unroll, ceildiv(p.k, tk)
        all_lhs = lhs * over_k * np.where(outer_n, ceildiv(p.m, tm), 1)
        all_rhs = rhs * over_k * np.where(outer_n, across, ceildiv(p.n, tn))
        out = slot(tm * tn * p.out_size)
        stand = (tk < p.k) | (tuple(flows) != ("os",))
        sums = np.where(stand, slot(tm * tn * p.sum_size), 0)
        return Slots(lhs, rhs * across, all_lhs, all_rhs, out * across, sums * across)

    def fit(
        self, machine: Machine, depths: Depths, lhs: int, rhs: int, taken: tuple[int, int] = (0, 0)
    ) -> Column:
        """Whether their rings fit where the operands stay there, beside bytes of L3 and L2 that are
        ``taken``."""
        l3 = self.all_lhs if lhs == L3 else self.lhs * depths.l3
        l2 = self.all_lhs if lhs == L2 else self.lhs * depths.l2
        l3 = l3 + (self.all_rhs if rhs == L3 else self.rhs * depths.l3)
        l2 = l2 + (self.all_rhs if rhs == L2 else self.rhs * depths.l2)
        out = self.out * depths.out
        far, near = taken
        return (l3 + out + far <= machine.l3.bytes) & (
            l2 + out + self.sums + near <= machine.l2.bytes
        )


def array_cycles(p: Problem, tile: Tiles, flow: str, machine: Machine) -> Any:
    """Cycles that the array works on a product whose tile is ``tile``."""
    tm, tn, tk = tile
    rows, columns = machine.fabric.rows, machine.fabric.columns
    cuts = ceildiv(p.k, tk)
    last_k = p.k - (cuts - 1) * tk
    if flow == "os":
        step, last = ceildiv(tk, p.macs_per_pe), ceildiv(last_k, p.macs_per_pe)
        drain = np.where(cuts > 1, p.drain + p.add, p.drain)
        stream = (cuts - 1) * np.maximum(step, rows * p.add) + np.maximum(last, rows * drain)
        return folds(p.m, tm, rows) * folds(p.n, tn, columns) * stream * p.batch
    depth = rows * p.macs_per_pe
    passes = (cuts - 1) * ceildiv(tk, depth) + ceildiv(last_k, depth)
    drain = np.where(passes > 1, p.drain + p.add, p.drain)
    along, across = ((p.m, tm), (p.n, tn)) if flow == "ws" else ((p.n, tn), (p.m, tm))
    whole, rest = along[0] // along[1], along[0] % along[1]

    def streamed(interval: Any) -> Any:
        tail = np.where(rest > 0, np.maximum(rest * interval, rows), 0)
        return whole * np.maximum(along[1] * interval, rows) + tail

    return folds(*across, columns) * ((passes - 1) * streamed(p.add) + streamed(drain)) * p.batch


@dataclass(frozen=True, slots=True)
class _Rows:
    """Schedules of a product, all but their dataflow."""

    tile: Tiles
    outer_n: Column
    lhs: Column
    rhs: Column
    depths: Depths
    unroll: Any = 1

    def space(
        self, p: Problem, flows: Sequence[str], machine: Machine, panels: bool = False
    ) -> list[Space]:
        """They with their bounds, in each of several dataflows; with weights that are packed in
        ``panels``."""
        tm, tn, tk = self.tile
        outer_m = self.outer_n == 0
        over_m, over_n, cut = ceildiv(p.m, tm), ceildiv(p.n, tn * self.unroll), tk < p.k
        lhs = packed(p.batch * p.m * p.k, p.bits[0])
        rhs = packed(p.batch * p.k * p.n, p.bits[1])
        # An operand that depends on the inner loop, or on k inside both, comes again in each trip of
        # its free loop.
        lhs_again = np.where(cut | ~outer_m, ceildiv(over_n, p.shared), 1)
        rhs_again = np.where(cut | outer_m, over_m, 1)
        loaded = lhs * np.where(self.lhs, 1, lhs_again) + rhs * np.where(self.rhs, 1, rhs_again)
        inward = lhs * np.where(self.lhs == L2, 1, lhs_again)
        inward = inward + rhs * np.where(self.rhs == L2, 1, rhs_again)
        out = p.batch * p.m * p.n * p.out_size
        external = loaded + out + p.extra_bytes
        wide, narrow = machine.bandwidth["dma"], machine.bandwidth["mover"]
        least = np.maximum(ceildiv(external, wide), ceildiv(inward + out, narrow))
        rows, columns = machine.fabric.rows, machine.fabric.columns
        high, across = np.minimum(tm, p.m), np.minimum(tn, p.n)
        loads = packed((high * p.bits[0] + across * p.bits[1]) * np.minimum(tk, p.k), 1)
        result = high * across * p.out_size
        ends = machine.external.latency + loads // wide + loads // narrow + 2 * rows + columns
        ends = ends + result // wide + result // narrow
        # The array waits while each result is moved out; with several, it works on another.
        alone = (self.depths.out == 1) & (p.shared * self.unroll == 1)
        wait = p.batch * over_m * ceildiv(p.n, tn) * (result // narrow + 2 * rows + columns)
        ends = ends + np.where(alone, wait, 0) + self._warm_up(p, machine)
        again = np.where(self.lhs, 1, lhs_again), np.where(self.rhs, 1, rhs_again)
        busy = np.maximum(least, self._memory(p, machine, *again, panels))
        steps = p.batch * over_m * ceildiv(p.n, tn) * ceildiv(p.k, tk) * machine.control.issue
        found: list[Space] = []
        for flow in flows:
            array = array_cycles(p, self.tile, flow, machine)
            cycles, guess = np.maximum(array, least), np.maximum(array + steps, busy) + ends
            found.append(
                Space.of(
                    (p.m, p.n // p.shared, p.k), cycles, external, guess, self.tile, dataflow=FLOWS.index(flow),
                    order=self.outer_n, lhs=self.lhs, rhs=self.rhs, depth=self.depths.l2,
                    l3_depth=self.depths.l3, out_depth=self.depths.out,
                    defer=self.depths.defer, unroll_n=self.unroll,
                )
            )  # fmt: skip
        return found

    def _memory(
        self, p: Problem, machine: Machine, lhs_again: Any, rhs_again: Any, panels: bool
    ) -> Any:
        """About how long external memory is busy, with the runs and the descriptors of each tile."""
        tm, tn, tk = (np.minimum(t, n) for t, n in zip(self.tile, (p.m, p.n // p.shared, p.k)))
        wide, begin = machine.bandwidth["dma"], machine.dma.setup + machine.control.issue
        total: Any = ceildiv(p.extra_bytes, wide)
        for rows, row, columns, column, bits, again, turned, together in (
            (p.m, tm, p.k, tk, p.bits[0], lhs_again, p.transposed[0], False),
            (p.k, tk, p.n, tn, p.bits[1], rhs_again, p.transposed[1], panels),
            (p.m, tm, p.n, tn, 8 * p.out_size, 1, False, False),
        ):
            outer, inner, whole = (column, row, rows) if turned else (row, column, columns)
            run = packed(np.where((inner == whole) | together, outer * inner, inner), bits)
            moved = packed(p.batch * rows * columns, bits) * again
            tiles = p.batch * ceildiv(rows, row) * ceildiv(columns, column) * again
            total = total + moved * stretch(machine, run) / wide + tiles * begin
        return total.astype(p.kind)

    def _warm_up(self, p: Problem, machine: Machine) -> Column:
        """About how long the array starves while operands that stay are loaded: the first block of
        the inner loop, and the first trip of the outer one, have more to load than to compute."""
        tm, tn, tk = self.tile
        nm, wide = self.outer_n == 1, machine.bandwidth["dma"]
        macs = machine.fabric.rows * machine.fabric.columns * p.macs_per_pe
        outer, inner = np.where(nm, tn, tm), np.where(nm, tm, tn)
        width = np.where(nm, p.m, p.n)
        inside, outside = np.where(nm, self.rhs, self.lhs), np.where(nm, self.lhs, self.rhs)
        first, other = (np.where(nm, *bits) for bits in (p.bits[::-1], p.bits))
        block = (
            packed((outer * first + inner * other) * p.k, 1) // wide - outer * inner * p.k // macs
        )
        trip = (
            packed((outer * first + width * other) * p.k, 1) // wide - outer * width * p.k // macs
        )
        block = np.where((inside > 0) | (tk >= p.k), block, 0)
        return np.maximum(0, np.maximum(block, np.where(outside > 0, trip, 0)))


def product_space(p: Problem, machine: Machine, flows: Sequence[str] = FLOWS) -> Space:
    """Every schedule of a product that fits the memories, with its bounds."""
    rows, columns = machine.fabric.rows, machine.fabric.columns
    side_of = {flow: columns if flow == "is" else rows for flow in flows}
    # What stands on chip depends on the flow where partial sums have tiles of their own.
    alike = {f: (side, bool(p.sum_size) and f != "os") for f, side in side_of.items()}
    by_flow: dict[str, Space] = {}
    for like in dict.fromkeys(alike.values()):
        mine = [f for f in flows if alike[f] == like]
        spaces = _placed(p, machine, like[0], mine).space(p, mine, machine)
        by_flow |= zip(mine, spaces)
    parts: list[Space] = []
    for flow in flows:
        parts.append(by_flow[flow])
        if flow == "os" and p.shared == 1:
            parts += _unrolled(p, machine).space(p, ("os",), machine)
    space = Space.joined(parts)
    return _with_packed(p, space, machine) if p.packable else space


PACKED = 0.99
"""Weights are packed where that promises to take less than this share of the time."""


def _with_packed(p: Problem, space: Space, machine: Machine) -> Space:
    """The same schedules with packed weights as well, where these promise to pay."""
    tm, tn, tk = space.tile
    rows, columns, height, width = (p.n, p.k, tn, tk) if p.transposed[1] else (p.k, p.n, tk, tn)
    sound = (width < columns) & (columns % width == 0) & (rows % width == 0) & (rows % height == 0)
    may = np.flatnonzero(sound)
    some, names = space.at(may), ("depth", "l3_depth", "out_depth", "defer")
    schedules = _Rows(
        Tiles(tm, tn, tk).at(may), some.field("order"), some.field("lhs"), some.field("rhs"),
        Depths(*(some.field(name) for name in names)), some.field("unroll_n"),
    )  # fmt: skip
    parts: list[Space] = []
    for number, flow in enumerate(FLOWS):
        (beside,) = schedules.space(p, (flow,), machine, panels=True)
        better = (some.field("dataflow") == number) & (beside.guess < PACKED * some.guess)
        parts.append(beside.at(better))
    if not any(len(part) for part in parts):
        return space
    for part, layout in ((space, ""), *((part, "packed") for part in parts)):
        part.columns["layout"] = np.full(len(part), LAYOUTS.index(layout))
    return Space.joined([space, *parts])


def _placed(p: Problem, machine: Machine, side: int, flows: Sequence[str]) -> _Rows:
    """Tiles with their orders and what stays, in dataflows that need the same room; it stays as near
    to the array as there is room: L2 before L3."""
    most = max(machine.l2.bytes // (p.out_size * 16), 16)
    unit = 16 * p.macs_per_pe
    ks = {p.k, *(k for k in (16, 32, 64, 128, 256, 512) if k < p.k)}
    ks = sorted({min(p.k, round_up(k, unit) if k < p.k else k) for k in ks})
    across = sides(p.n // p.shared, machine.fabric.columns, most)
    tm, tn, tk, outer_n, lhs, rhs = grid(
        sides(p.m, side, most), across, ks, (0, 1), (0, 1), (0, 1), kind=p.kind
    )
    cut, over_m, over_n = tk < p.k, tm < p.m, tn < p.n
    sound = tm * tn * p.out_size <= machine.l2.bytes
    sound &= (outer_n == 0) | (over_m & over_n)
    sound &= (lhs == 0) | (over_n & (cut | (outer_n == 1)))
    sound &= (rhs == 0) | (over_m & (cut | (outer_n == 0)))
    tile, outer_n, lhs, rhs = Tiles(tm, tn, tk).at(sound), outer_n[sound], lhs[sound], rhs[sound]
    chosen = np.zeros((6, len(outer_n)), p.kind)  # lhs, rhs, depths
    placed = np.zeros(len(outer_n), bool)
    for stays, places in _PLACES.items():
        left = np.flatnonzero((lhs == stays[0]) & (rhs == stays[1]))
        mine = tile.at(left)
        slots = Slots.of(p, mine, outer_n[left], flows=flows)
        figures = np.array((*slots, *buffered(p, machine, mine, *stays)))
        for near, (ring, out) in product(places, ((99, 99), (99, 2), (99, 1), (2, 2), (2, 1))):
            slots, d = Slots(*figures[:6]), Depths(*figures[6:]).cut(ring, out)
            fits = slots.fit(machine, d, *near)
            won = left[fits]
            placed[won] = True
            chosen[:2, won] = np.array(near)[:, None]
            chosen[2:, won] = np.array(d)[:, fits]
            left, figures = left[~fits], figures[:, ~fits]
            if not len(left):
                break
    near_lhs, near_rhs, *depths = chosen[:, placed]
    return _Rows(tile.at(placed), outer_n[placed], near_lhs, near_rhs, Depths(*depths))


_PLACES = {
    (0, 0): ((NONE, NONE),),
    (1, 0): ((L2, NONE), (L3, NONE)),
    (0, 1): ((NONE, L2), (NONE, L3)),
    (1, 1): ((L2, L2), (L3, L2), (L2, L3), (L3, L3)),
}
"""Where operands may stay, by whether each does."""


def _unrolled(p: Problem, machine: Machine) -> _Rows:
    """Schedules that sum so many tiles at once that they fill most of L2: large blocks read their
    operands seldom, and tiles that leave one by one keep nobody waiting."""
    rows, columns = machine.fabric.rows, machine.fabric.columns
    room = machine.l2.bytes // (p.out_size + p.sum_size)
    unit = 16 * p.macs_per_pe
    even = (k for k in range(3 * unit, unit, -1) if p.k % k == 0)  # no short step at the end
    ks = [k for k in dict.fromkeys((unit, 2 * unit, next(even, unit))) if k < p.k]
    across = [columns * i for i in (2, 3, 4, 6, 8)]
    tm, tn, unroll, tk, outer_n = grid(
        sides(p.m, rows, room // columns), across, range(2, 17), ks, (0, 1), kind=p.kind
    )
    block = tm * tn * unroll
    sound = (ceildiv(p.n, tn) % unroll == 0) & (room // 2 < block) & (block < room)
    tile, unroll, outer_n = Tiles(tm, tn, tk).at(sound), unroll[sound], outer_n[sound]
    deep = buffered(p, machine, tile, 0, 0).cut(99, 1)
    shallow = deep._replace(l2=2, l3=2)
    slots = Slots.of(p, tile, outer_n, unroll)
    fitting = [slots.fit(machine, depths, NONE, NONE) for depths in (deep, shallow)]
    depths = Depths(*(np.where(fitting[0], a, b) for a, b in zip(deep, shallow)))
    fits = fitting[0] | fitting[1]
    none = np.zeros(np.count_nonzero(fits), int)
    return _Rows(tile.at(fits), outer_n[fits], none, none, depths.at(fits), unroll[fits])


def buffered(p: Problem, machine: Machine, tile: Tiles, lhs_stays: int, rhs_stays: int) -> Depths:
    """As many slots as the transfers need: enough tiles under way to cover the latency of external
    memory, and results as late as loads run ahead of the array (where their slots allow it)."""
    tm, tn, tk = tile
    wide, narrow = machine.bandwidth["dma"], machine.bandwidth["mover"]
    lhs, rhs = packed(tm * tk, p.bits[0]), packed(tk * tn, p.bits[1])
    streamed = (0 if lhs_stays else lhs) + (0 if rhs_stays else rhs)
    macs = machine.fabric.rows * machine.fabric.columns * p.macs_per_pe
    step = np.maximum(1, np.maximum(tm * tn * tk // macs, streamed // wide))
    trip = machine.external.latency + (lhs + rhs) // wide + (lhs + rhs) // narrow
    l3 = np.minimum(10, 2 + trip // step)
    l2 = np.minimum(4, 2 + (lhs + rhs) // narrow // step)
    defer = l2 + l3
    room = machine.l2.bytes // 2 // (tm * tn * p.out_size * p.shared)
    out = np.minimum(2 + np.minimum(14, defer // ceildiv(p.k, tk)), np.maximum(2, room))
    return Depths(l2, l3, out, defer)
