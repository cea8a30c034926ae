"""Which schedules a product could have, and bounds that none of them can beat. Pure integers, no
IR.

A bound only prunes: it counts the cycles that the array must work, and the bytes that the schedule
must move through each level. What a schedule takes is what the simulator says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.shapes import round_up
from kpu_ir.machine import Machine


def ceildiv(a: int, b: int) -> int:
    """``a / b``, rounded up."""
    return -(-a // b)


@dataclass(frozen=True, slots=True)
class Problem:
    """A product of ``batch`` times m x k by k x n; element sizes in bytes, k-values a PE takes in
    one cycle.

    ``shared``: products that share the left operand; ``n`` counts the columns of all of them, a tile
    is in one. ``drain``: cycles in which the vector engine takes one row of results through the epilogue;
    ``add``: through the addition of a partial sum.
    """

    batch: int
    m: int
    n: int
    k: int
    size: int
    out_size: int
    macs_per_pe: int
    extra_bytes: int = 0
    drain: int = 1
    add: int = 1
    shared: int = 1


@dataclass(frozen=True, slots=True)
class Candidate:
    """A schedule, what bounds it (cycles, external bytes), and a guess by which to try it sooner or
    later."""

    schedule: Schedule
    cycles: int
    bytes: int
    guess: int


def traffic(p: Problem, s: Schedule) -> tuple[int, int]:
    """Bytes from external memory and bytes from L3 to L2 that a schedule loads."""
    tm, tn, tk = s.tile
    over_m, over_n, cut = ceildiv(p.m, tm), ceildiv(p.n, tn * s.unroll_n), tk < p.k
    lhs, rhs = p.batch * p.m * p.k * p.size, p.batch * p.k * p.n * p.size
    outer_m = s.order == "mn"
    # An operand that depends on the inner loop, or on k inside both, comes again in each trip of
    # its free loop.
    lhs_again = ceildiv(over_n, p.shared) if (cut or not outer_m) else 1
    rhs_again = over_m if (cut or outer_m) else 1
    external = lhs * (1 if s.lhs else lhs_again) + rhs * (1 if s.rhs else rhs_again)
    inward = lhs * (1 if s.lhs == "l2" else lhs_again) + rhs * (1 if s.rhs == "l2" else rhs_again)
    return external, inward


def footprint(
    p: Problem,
    tile: tuple[int, ...],
    order: str,
    lhs: str,
    rhs: str,
    depths: Depths,
    unroll_n: int = 1,
) -> tuple[int, int]:
    """Bytes of L3 and L2 that the rings of a schedule take (as ``tile-to-dma`` lays them out)."""
    shared = p.shared * unroll_n
    tm, tn, tk = tile
    over_k = ceildiv(p.k, tk)
    lhs_slot, rhs_slot = round_up(tm * tk * p.size, 64), round_up(tk * tn * p.size, 64)
    out = round_up(tm * tn * p.out_size, 64) * depths.out * shared
    lhs_slots, rhs_slots = over_k, over_k * (shared if order == "nm" else 1)
    if order == "mn":
        rhs_slots *= ceildiv(p.n, tn)
    else:
        lhs_slots *= ceildiv(p.m, tm)
    l3 = lhs_slot * (lhs_slots if lhs == "l3" else depths.l3)
    l3 += rhs_slot * (rhs_slots if rhs == "l3" else depths.l3 * shared)
    l2 = lhs_slot * (lhs_slots if lhs == "l2" else depths.l2)
    l2 += rhs_slot * (rhs_slots if rhs == "l2" else depths.l2 * shared)
    return l3 + out, l2 + out


def array_cycles(p: Problem, s: Schedule, machine: Machine) -> int:
    """Cycles that the array works on a product whose tile is ``s.tile``."""
    tm, tn, tk = s.tile
    rows, columns = machine.fabric.rows, machine.fabric.columns

    def folds(extent: int, step: int, side: int) -> int:
        whole, rest = divmod(extent, step)
        return whole * ceildiv(step, side) + (ceildiv(rest, side) if rest else 0)

    cuts = ceildiv(p.k, tk)
    last_k = p.k - (cuts - 1) * tk
    if s.dataflow == "os":
        step, last = ceildiv(tk, p.macs_per_pe), ceildiv(last_k, p.macs_per_pe)
        drain = p.drain + p.add if cuts > 1 else p.drain
        stream = (cuts - 1) * max(step, rows * p.add) + max(last, rows * drain)
        array = folds(p.m, tm, rows) * folds(p.n, tn, columns) * stream
    else:
        depth = rows * p.macs_per_pe
        passes = (cuts - 1) * ceildiv(tk, depth) + ceildiv(last_k, depth)
        drain = p.drain + p.add if passes > 1 else p.drain
        along, across = ((p.m, tm), (p.n, tn)) if s.dataflow == "ws" else ((p.n, tn), (p.m, tm))
        whole, rest = divmod(*along)

        def streamed(interval: int) -> int:
            tail = max(rest * interval, rows) if rest else 0
            return whole * max(along[1] * interval, rows) + tail

        array = folds(*across, columns) * ((passes - 1) * streamed(p.add) + streamed(drain))
    return array * p.batch


def bound(p: Problem, s: Schedule, machine: Machine) -> tuple[int, int, int]:
    """Cycles and external bytes that a schedule cannot go below, and a guess of its cycles."""
    tm, tn, _ = s.tile
    rows, columns = machine.fabric.rows, machine.fabric.columns
    array = array_cycles(p, s, machine)
    loaded, inward = traffic(p, s)
    out = p.batch * p.m * p.n * p.out_size
    external = loaded + out + p.extra_bytes
    dma = ceildiv(external, _wide(machine))
    mover = ceildiv(inward + out, _narrow(machine))
    cycles = max(array, dma, mover)
    wide, narrow = _wide(machine), _narrow(machine)
    loads = (min(tm, p.m) + min(tn, p.n)) * min(s.tile[2], p.k) * p.size
    result = min(tm, p.m) * min(tn, p.n) * p.out_size
    ends = machine.external.latency + loads // wide + loads // narrow + 2 * rows + columns
    ends += result // wide + result // narrow
    if s.out_depth == 1 and p.shared * s.unroll_n == 1:
        # The array waits while each result is moved out; with several, it works on another.
        ends += (
            p.batch * ceildiv(p.m, tm) * ceildiv(p.n, tn) * (result // narrow + 2 * rows + columns)
        )
    return cycles, external, cycles + ends + warm_up(p, s, wide, rows * columns * p.macs_per_pe)


def warm_up(p: Problem, s: Schedule, wide: int, macs: int) -> int:
    """About how long the array starves while operands that stay are loaded: the first block of the
    inner loop, and the first trip of the outer one, have more to load than to compute."""
    tm, tn, _ = s.tile
    outer, inner = (tm, tn) if s.order == "mn" else (tn, tm)
    width = p.n if s.order == "mn" else p.m
    stays_inside, stays_outside = (s.lhs, s.rhs) if s.order == "mn" else (s.rhs, s.lhs)
    block = trip = 0
    if stays_inside or s.tile[2] >= p.k:
        block = (outer + inner) * p.k * p.size // wide - outer * inner * p.k // macs
    if stays_outside:
        trip = (outer + width) * p.k * p.size // wide - outer * width * p.k // macs
    return max(0, block, trip)


def sides(extent: int, side: int, most: int) -> list[int]:
    """Tile extents worth trying: multiples of the array's side, and even cuts of the whole."""
    if extent <= side:
        return [extent]
    found = {min(extent, side * n) for n in (1, 2, 3, 4, 6, 8, 12, 16, 22)}
    found |= {round_up(ceildiv(extent, cuts), side) for cuts in (1, 2, 3, 4)}
    return sorted(n for n in {min(n, extent) for n in found} if n <= most)


def schedules(p: Problem, machine: Machine, dataflows: tuple[str, ...]) -> Iterator[Schedule]:
    """Every schedule of the space that fits the memories."""
    rows, columns = machine.fabric.rows, machine.fabric.columns
    most = max(machine.l2.bytes // (p.out_size * 16), 16)
    for flow in dataflows:
        side_m = columns if flow == "is" else rows
        ks = {p.k, *(k for k in (16, 32, 64, 128, 256, 512) if k < p.k)}
        unit = 16 * p.macs_per_pe
        ks = sorted({min(p.k, round_up(k, unit) if k < p.k else k) for k in ks})
        for tm in sides(p.m, side_m, most):
            for tn in sides(p.n // p.shared, columns, most):
                if tm * tn * p.out_size > machine.l2.bytes:
                    continue
                for tk in ks:
                    yield from _residences(p, machine, Schedule((tm, tn, tk), flow))
        if flow == "os" and p.shared == 1:
            yield from _side_by_side(p, machine)


def _side_by_side(p: Problem, machine: Machine) -> Iterator[Schedule]:
    """Schedules that sum so many tiles at once that they fill most of L2: large blocks read their
    operands seldom, and tiles that leave one by one keep nobody waiting."""
    rows, columns = machine.fabric.rows, machine.fabric.columns
    room = machine.l2.bytes // p.out_size
    unit = 16 * p.macs_per_pe
    even = (k for k in range(3 * unit, unit, -1) if p.k % k == 0)  # no short step at the end
    ks = [k for k in dict.fromkeys((unit, 2 * unit, next(even, unit))) if k < p.k]
    for tm in sides(p.m, rows, room // columns):
        for tn in (columns * i for i in (2, 3, 4, 6, 8)):
            over = ceildiv(p.n, tn)
            for unroll_n in (count for count in range(2, 17) if over % count == 0):
                if not room // 2 < tm * tn * unroll_n < room:
                    continue
                for tk in ks:
                    for order in ("mn", "nm"):
                        d = buffered(p, machine, (tm, tn, tk), False, False)
                        for depths in (d, d._replace(l3=2, l2=2)):
                            depths = depths._replace(out=1)
                            l3, l2 = footprint(p, (tm, tn, tk), order, "", "", depths, unroll_n)
                            if l3 <= machine.l3.bytes and l2 <= machine.l2.bytes:
                                yield Schedule(
                                    (tm, tn, tk), "os", order, "", "", depths.l2, depths.l3, 1,
                                    depths.defer, unroll_n,
                                )  # fmt: skip
                                break


def _residences(p: Problem, machine: Machine, base: Schedule) -> Iterator[Schedule]:
    tm, tn, tk = base.tile
    cut, over_m, over_n = tk < p.k, p.m > tm, p.n > tn
    for order in ("mn", "nm") if over_m and over_n else ("mn",):
        outer_m = order == "mn"
        lhs_stays = over_n and (cut or not outer_m)
        rhs_stays = over_m and (cut or outer_m)
        for lhs in (False, True) if lhs_stays else (False,):
            for rhs in (False, True) if rhs_stays else (False,):
                found = _nearest(p, machine, base.tile, base.dataflow, order, lhs, rhs)
                if found is not None:
                    yield found


def _nearest(
    p: Problem, machine: Machine, tile: tuple[int, ...], flow: str, order: str, lhs: bool, rhs: bool
) -> Schedule | None:
    """The schedule in which what stays, stays as near to the array as there is room: L2 before
    L3."""
    depths = buffered(p, machine, tile, lhs, rhs)
    deep = depths.l2, depths.l3
    shallow = min(depths.l2, 2), min(depths.l3, 2)
    tried = [Depths(*deep, out, depths.defer) for out in dict.fromkeys((depths.out, 2, 1))]
    if shallow != deep:
        tried += [Depths(*shallow, out, depths.defer) for out in (2, 1)]
    room_l3, room_l2 = machine.l3.bytes, machine.l2.bytes
    for near_lhs, near_rhs in _PLACES[lhs, rhs]:
        for d in tried:
            l3, l2 = footprint(p, tile, order, near_lhs, near_rhs, d)
            if l3 <= room_l3 and l2 <= room_l2:
                return Schedule(tile, flow, order, near_lhs, near_rhs, d.l2, d.l3, d.out, d.defer)
    return None


_PLACES = {
    (False, False): (("", ""),),
    (True, False): (("l2", ""), ("l3", "")),
    (False, True): (("", "l2"), ("", "l3")),
    (True, True): (("l2", "l2"), ("l3", "l2"), ("l2", "l3"), ("l3", "l3")),
}


class Depths(NamedTuple):
    """Slots of the rings in L2, in L3 and of results; steps by which results are deferred."""

    l2: int
    l3: int
    out: int
    defer: int


def buffered(
    p: Problem, machine: Machine, tile: tuple[int, ...], lhs_stays: bool, rhs_stays: bool
) -> Depths:
    """As many slots as the transfers need: enough tiles under way to cover the latency of external
    memory, and results as defer as loads run ahead of the array (where their slots allow it)."""
    tm, tn, tk = tile
    wide, narrow = _wide(machine), _narrow(machine)
    lhs, rhs = tm * tk * p.size, tk * tn * p.size
    streamed = (0 if lhs_stays else lhs) + (0 if rhs_stays else rhs)
    macs = machine.fabric.rows * machine.fabric.columns * p.macs_per_pe
    step = max(1, tm * tn * tk // macs, streamed // wide)
    trip = machine.external.latency + (lhs + rhs) // wide + (lhs + rhs) // narrow
    l3 = min(10, 2 + trip // step)
    l2 = min(4, 2 + (lhs + rhs) // narrow // step)
    defer = l2 + l3
    room = machine.l2.bytes // 2 // (tm * tn * p.out_size * p.shared)
    return Depths(l2, l3, min(2 + min(14, defer // ceildiv(p.k, tk)), max(2, room)), defer)


def _wide(machine: Machine) -> int:
    return machine.dma.channels * machine.dma.bytes_per_cycle


def _narrow(machine: Machine) -> int:
    return machine.mover.channels * machine.mover.bytes_per_cycle


def candidates(p: Problem, machine: Machine, dataflows: tuple[str, ...]) -> list[Candidate]:
    """The space with its bounds, the most promising first."""
    found: list[Candidate] = []
    for s in schedules(p, machine, dataflows):
        cycles, external, guess = bound(p, s, machine)
        found.append(Candidate(s, cycles, external, guess))
    return found


def block_candidates(
    blocks: Iterable[tuple[int, ...]], moved: int, machine: Machine, out_depth: int | None = None
) -> list[Candidate]:
    """Blocks of several sizes for a kernel that moves ``moved`` bytes, with rings of two to four;
    those of results are as deep, or of ``out_depth``."""
    least = moved // _wide(machine)
    return [
        Candidate(
            Schedule(
                tile=block, depth=2, l3_depth=depth, out_depth=out_depth or depth, defer=defer
            ),
            least,
            moved,
            least + prod(block),
        )
        for block in dict.fromkeys(blocks)
        for depth, defer in ((2, 2), (3, 1), (3, 3), (4, 2))
    ]
