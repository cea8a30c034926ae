"""Which schedules a product could have, and bounds that none of them can beat. Pure integers, no IR.

A bound only prunes: it counts the cycles that the array must work, and the bytes that the schedule must move through each
level. What a schedule takes is what the simulator says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.shapes import round_up
from kpu_ir.machine import Machine


def ceildiv(a: int, b: int) -> int:
    """``a / b``, rounded up."""
    return -(-a // b)


@dataclass(frozen=True, slots=True)
class Problem:
    """A product of ``batch`` times m x k by k x n; element sizes in bytes, k-values a PE takes in one cycle."""

    batch: int
    m: int
    n: int
    k: int
    size: int
    out_size: int
    macs_per_pe: int
    extra_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A schedule, what bounds it (cycles, external bytes), and a guess by which to try it sooner or later."""

    schedule: Schedule
    cycles: int
    bytes: int
    guess: int


def traffic(p: Problem, s: Schedule) -> tuple[int, int]:
    """Bytes from external memory and bytes from L3 to L2 that a schedule loads."""
    tm, tn, tk = s.tile
    over_m, over_n, cut = ceildiv(p.m, tm), ceildiv(p.n, tn), tk < p.k
    lhs, rhs = p.batch * p.m * p.k * p.size, p.batch * p.k * p.n * p.size
    outer_m = s.order == "mn"
    # An operand that depends on the inner loop, or on k inside both, comes again in each trip of its free loop.
    lhs_again = over_n if (cut or not outer_m) else 1
    rhs_again = over_m if (cut or outer_m) else 1
    external = lhs * (1 if s.lhs else lhs_again) + rhs * (1 if s.rhs else rhs_again)
    inward = lhs * (1 if s.lhs == "l2" else lhs_again) + rhs * (1 if s.rhs == "l2" else rhs_again)
    return external, inward


def footprint(p: Problem, s: Schedule) -> tuple[int, int]:
    """Bytes of L3 and L2 that the rings of a schedule take (as ``tile-to-dma`` lays them out)."""
    tm, tn, tk = s.tile
    over_m, over_n, over_k = ceildiv(p.m, tm), ceildiv(p.n, tn), ceildiv(p.k, tk)

    def slot(elements: int, size: int) -> int:
        return round_up(elements * size, 64)

    l3 = l2 = 0
    outer_m = s.order == "mn"
    for stays, elements, inside in (
        (s.lhs, tm * tk, over_k if outer_m else over_k * over_m),
        (s.rhs, tk * tn, over_k * over_n if outer_m else over_k),
    ):
        one = slot(elements, p.size)
        l3 += one * (inside if stays == "l3" else s.l3_depth)
        l2 += one * (inside if stays == "l2" else s.depth)
    out = slot(tm * tn, p.out_size) * s.out_depth
    return l3 + out, l2 + out


def bound(p: Problem, s: Schedule, machine: Machine) -> tuple[int, int, int]:
    """Cycles and external bytes that a schedule cannot go below, and a guess of its cycles."""
    tm, tn, tk = s.tile
    rows, columns = machine.fabric.rows, machine.fabric.columns

    def folds(extent: int, step: int, side: int) -> int:
        whole, rest = divmod(extent, step)
        return whole * ceildiv(step, side) + (ceildiv(rest, side) if rest else 0)

    if s.dataflow == "os":
        k_chunks, rest = divmod(ceildiv(p.k, p.macs_per_pe), ceildiv(tk, p.macs_per_pe))
        stream = k_chunks * max(ceildiv(tk, p.macs_per_pe), rows) + (max(rest, rows) if rest else 0)
        array = folds(p.m, tm, rows) * folds(p.n, tn, columns) * stream
    elif s.dataflow == "ws":
        whole, rest = divmod(p.m, tm)
        stream = whole * max(tm, rows) + (max(rest, rows) if rest else 0)
        array = folds(p.k, tk, rows * p.macs_per_pe) * folds(p.n, tn, columns) * stream
    else:
        whole, rest = divmod(p.n, tn)
        stream = whole * max(tn, rows) + (max(rest, rows) if rest else 0)
        array = folds(p.k, tk, rows * p.macs_per_pe) * folds(p.m, tm, columns) * stream
    array *= p.batch
    loaded, inward = traffic(p, s)
    out = p.batch * p.m * p.n * p.out_size
    external = loaded + out + p.extra_bytes
    dma = ceildiv(external, machine.dma.channels * machine.dma.bytes_per_cycle)
    mover = ceildiv(inward + out, machine.mover.channels * machine.mover.bytes_per_cycle)
    cycles = max(array, dma, mover)
    wide, narrow = machine.bandwidth["dma"], machine.bandwidth["mover"]
    loads = (min(tm, p.m) + min(tn, p.n)) * min(tk, p.k) * p.size
    result = min(tm, p.m) * min(tn, p.n) * p.out_size
    ends = machine.external.latency + loads // wide + loads // narrow + 2 * rows + columns
    ends += result // wide + result // narrow
    return cycles, external, cycles + ends + warm_up(p, s, wide, rows * columns * p.macs_per_pe)


def warm_up(p: Problem, s: Schedule, wide: int, macs: int) -> int:
    """About how long the array starves while operands that stay are loaded: the first block of the inner loop, and the
    first trip of the outer one, have more to load than to compute."""
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
    found = {min(extent, side * n) for n in (1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 20, 22, 24)}
    found |= {round_up(ceildiv(extent, cuts), side) for cuts in (1, 2, 3, 4, 5, 6, 8)}
    return sorted(n for n in {min(n, extent) for n in found} if n <= most)


def schedules(p: Problem, machine: Machine, dataflows: tuple[str, ...]) -> Iterator[Schedule]:
    """Every schedule of the space that fits the memories."""
    rows, columns = machine.fabric.rows, machine.fabric.columns
    most = max(machine.l2.bytes // (2 * p.out_size * 16), 16)
    for flow in dataflows:
        side_m = columns if flow == "is" else rows
        ks = {p.k, *(k for k in (16, 32, 64, 128, 256, 512) if k < p.k)}
        unit = 16 * p.macs_per_pe
        ks = sorted({min(p.k, round_up(k, unit) if k < p.k else k) for k in ks})
        for tm in sides(p.m, side_m, most):
            for tn in sides(p.n, columns, most):
                if 2 * tm * tn * p.out_size > machine.l2.bytes:
                    continue
                for tk in ks:
                    yield from _residences(p, machine, Schedule((tm, tn, tk), flow))


def _residences(p: Problem, machine: Machine, base: Schedule) -> Iterator[Schedule]:
    tm, tn, tk = base.tile
    cut, over_m, over_n = tk < p.k, p.m > tm, p.n > tn
    for order in ("mn", "nm") if over_m and over_n else ("mn",):
        outer_m = order == "mn"
        lhs_stays = over_n and (cut or not outer_m)
        rhs_stays = over_m and (cut or outer_m)
        for lhs in (False, True) if lhs_stays else (False,):
            for rhs in (False, True) if rhs_stays else (False,):
                yield from _nearest(p, machine, replace(base, order=order), lhs, rhs)


def _nearest(
    p: Problem, machine: Machine, s: Schedule, lhs: bool, rhs: bool
) -> Iterator[Schedule]:
    """What stays, stays as near to the array as there is room: L2 before L3."""
    near = [
        ("l2" if lhs else "", "l2" if rhs else ""),
        ("l3" if lhs else "", "l2" if rhs else ""),
        ("l2" if lhs else "", "l3" if rhs else ""),
        ("l3" if lhs else "", "l3" if rhs else ""),
    ]
    for place_lhs, place_rhs in dict.fromkeys(near):
        tried = buffered(p, machine, replace(s, lhs=place_lhs, rhs=place_rhs))
        l3, l2 = footprint(p, tried)
        if l3 <= machine.l3.bytes and l2 <= machine.l2.bytes:
            yield tried
            return


def buffered(p: Problem, machine: Machine, s: Schedule) -> Schedule:
    """The schedule with as many slots as its transfers need: enough tiles under way to cover the latency of external
    memory, and results as late as loads run ahead of the array (where their slots allow it)."""
    tm, tn, tk = s.tile
    wide, narrow = machine.bandwidth["dma"], machine.bandwidth["mover"]
    lhs, rhs = tm * tk * p.size, tk * tn * p.size
    streamed = (0 if s.lhs else lhs) + (0 if s.rhs else rhs)
    macs = machine.fabric.rows * machine.fabric.columns * p.macs_per_pe
    step = max(1, tm * tn * tk // macs, streamed // wide)
    trip = machine.external.latency + (lhs + rhs) // wide + (lhs + rhs) // narrow
    l3_depth = min(10, 2 + trip // step)
    depth = min(4, 2 + (lhs + rhs) // narrow // step)
    s = replace(s, depth=depth)
    late = depth + l3_depth
    out_depth = 2 + min(14, late // ceildiv(p.k, tk))
    room = machine.l2.bytes // 2
    while out_depth > 2 and out_depth * tm * tn * p.out_size > room:
        out_depth -= 1
    return replace(s, l3_depth=l3_depth, late=late, out_depth=out_depth)


def candidates(p: Problem, machine: Machine, dataflows: tuple[str, ...]) -> list[Candidate]:
    """The space with its bounds, the most promising first."""
    found: list[Candidate] = []
    for s in schedules(p, machine, dataflows):
        cycles, external, guess = bound(p, s, machine)
        found.append(Candidate(s, cycles, external, guess))
    return found
