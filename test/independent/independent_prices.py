"""What operations cost, written from docs/timing.md and docs/array.md alone: plain numbers in, plain numbers out.

Nothing here imports ``kpu_ir.sim``. A machine is nested dictionaries, as its TOML file has it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, gcd, prod

import independent_passes

M = dict  # a machine, or a part of it


@dataclass
class Price:
    """Engines held from and to cycles after the start, the engine that it runs on first; until the result
    is there; until an epilogue's operands are free; what is counted."""

    holds: list[tuple[str, int, int]]
    latency: int
    release: int
    counts: dict[str, int] = field(default_factory=dict)


def up(a: int, b: int) -> int:
    return -(-a // b)


# -- runs -----------------------------------------------------------------------------------------


@dataclass
class Run:
    """``n`` (from the inside outwards, with the bits from one to the next) runs of ``bits``."""

    bits: int
    n: list[tuple[int, int]]
    at: int
    grain: int
    scattered: bool

    @property
    def count(self) -> int:
        return prod(n for n, _ in self.n)


def runs(shape, extents, bits, at, grain, kept=0, scattered=None) -> Run:
    if 0 in extents:  # nothing but padding
        return Run(0, [], at, grain, False)
    strides = [bits * prod(shape[a + 1 :]) for a in range(len(shape))]
    length, n, axis = bits, [], len(shape) - 1
    while axis >= 0:  # join trailing dimensions as long as the ones inside are whole
        if axis == scattered or axis < kept:
            break
        length *= extents[axis]
        axis -= 1
        if extents[axis + 1] != shape[axis + 1]:
            break
    for outer in range(axis, -1, -1):
        if extents[outer] > 1:
            n.append((extents[outer], strides[outer]))
            grain = gcd(grain, strides[outer])
    if scattered is not None:
        grain = gcd(grain, strides[scattered])
    return Run(length, n, at, grain, scattered is not None)


def units(run: Run, unit: int) -> Fraction:
    """Units that one run enters: the mean over all beginnings that are left."""
    grain = run.grain
    if unit > 512:
        grain = gcd(grain, 512)  # a tensor begins at a multiple of 64 bytes
    begins = {(run.at + i * grain) % unit for i in range(unit // gcd(grain, unit) if grain else 1)}
    return Fraction(sum(up(o + run.bits, unit) for o in begins), len(begins))


def channel_time(run: Run, x: M, channels: int, rate: int) -> tuple[Fraction, int, int, Fraction]:
    """Of the busiest channel, cycles; bytes moved, rows activated, runs of the busiest channel."""
    burst, n = 8 * x["burst_bytes"], run.count
    bursts = n * (units(run, burst) if burst > 8 else Fraction(run.bits, 8))
    leave, least = x["interleave_bytes"] * 8, Fraction(0)
    if leave:
        met = min(channels, up(run.bits, leave))
        pieces = max(Fraction(1), Fraction(n * met, channels))
        rounds, rest = divmod(run.bits, channels * leave)
        least = bursts * Fraction(rounds * leave + min(leave, rest), run.bits * n)
    else:
        met = max(1, channels // n)
        pieces = max(Fraction(1), Fraction(n * met, channels))
    data = max(bursts / channels, least) * burst / (8 * rate)
    moved = ceil(bursts) * x["burst_bytes"]
    if not x["row_bytes"]:
        return data, moved, 0, pieces
    piece, groups, stride = Fraction(run.bits, met), x["bank_groups"], 8 * x["bank_stride_bytes"]
    stripe = groups * 8 * x["row_bytes"]

    def entered(bits: Fraction, strides: Fraction) -> Fraction:
        beyond = max(Fraction(0), bits - groups * stride)
        return min(Fraction(groups), strides) + groups * beyond / stripe

    rows = entered(piece, max(piece / stride, units(run, stride) / met))
    span, aligned = piece, True
    for k, pitch in run.n:
        local = Fraction(pitch, channels)
        span += (k - 1) * local
        if run.scattered:
            rows *= k
            continue
        aligned = aligned and local % (groups * stride) == 0
        stripes = 1 + (k - 1) * local / stripe
        rows = min(
            rows * (min(Fraction(k), stripes) if aligned else k), entered(span, span / stride)
        )
    rows *= met
    each = Fraction(max(1, round(256 * rows / (channels * pieces))), 256)
    queue = 8 * x["queue_bytes"]
    seen = min(Fraction(64), max(Fraction(1), Fraction(round(8 * queue / piece), 8)))
    missed, free = Fraction(1), 1 - min(Fraction(1), each / x["banks"])
    for _ in range(int(seen)):
        missed *= free
    missed *= 1 - (seen - int(seen)) * (1 - free)
    busy_banks = x["banks"] * (1 - missed)
    interval = max(Fraction(x["activate_interval"]), x["row_cycle"] / busy_banks)
    time = max(data, rows / channels * interval)
    if run.scattered:
        wait = x["row_miss"] - max(Fraction(0), queue / piece - 1) * time / pieces
        time += pieces * min(each, Fraction(groups)) / x["banks"] * max(Fraction(0), wait)
    return time, moved, ceil(rows), pieces


# -- transfers ------------------------------------------------------------------------------------


def external(machine: M, parts: list[Run], size: int, channels: int, reads: bool) -> Price:
    x, dma = machine["external"], machine["dma"]
    busy, moved, activations = Fraction(size, channels * dma["bytes_per_cycle"]), size, 0
    found = [channel_time(r, x, channels, dma["bytes_per_cycle"]) for r in parts if r.bits]
    if x["burst_bytes"] > 1 or x["interleave_bytes"] or x["row_bytes"]:
        busy = sum((f[0] for f in found), Fraction(0))
        moved, activations = sum(f[1] for f in found), sum(f[2] for f in found)
    busy = max(busy, dma["run_cycles"] * sum((f[3] for f in found), Fraction(0)))
    if reads and dma["outstanding"]:
        requests = up(moved, dma["request_bytes"])
        busy = max(busy, Fraction(requests * x["latency"], channels * dma["outstanding"]))
    if x["refresh_interval"]:
        busy *= Fraction(x["refresh_interval"], x["refresh_interval"] - x["refresh_cycles"])
    if rate := dealt(machine, "l3", "dma"):
        busy = max(busy, size * dma["channels"] / (rate * channels))
    cycles = dma["setup"] + max(1, ceil(busy))
    counts = {"external.burst": moved, "activations": activations}
    if reads:
        counts |= {"external.read": size, "l3.write": size}
    else:
        counts |= {"l3.read": size, "external.write": size}
    late = machine["l3"]["latency"] + (x["latency"] if reads else 0)
    return Price([("dma", 0, cycles)], cycles + late, cycles, counts)


def move(machine: M, run: Run, size: int, channels: int, inward: bool, transposed: int) -> Price:
    """``transposed``: elements that a transposition turns, 0 for none."""
    mover = machine["mover"]
    busy = Fraction(size, channels * mover["bytes_per_cycle"])
    if run.bits:
        if mover["word_bytes"] > 1:
            words = run.count * units(run, 8 * mover["word_bytes"])
            busy = words * mover["word_bytes"] / (channels * mover["bytes_per_cycle"])
        busy = max(busy, Fraction(mover["run_cycles"] * run.count, channels))
    if mover["transpose_elements"]:
        busy = max(busy, Fraction(transposed, channels * mover["transpose_elements"]))
    for level in ("l3", "l2"):
        if rate := dealt(machine, level, "mover"):
            busy = max(busy, size * mover["channels"] / (rate * channels))
    cycles = mover["setup"] + max(1, ceil(busy))
    counts = {"l3.read" if inward else "l2.read": size, "l2.write" if inward else "l3.write": size}
    late = machine["l3"]["latency"] + machine["l2"]["latency"]
    return Price([("mover", 0, cycles)], cycles + late, cycles, counts)


def dealt(machine: M, level: str, who: str) -> Fraction:
    """Bytes a cycle of the banks that an engine gets, all channels together; 0 where there is no limit."""
    l3, l2, vector = machine["l3"], machine["l2"], machine["vector"]
    most = {
        part: machine[part]["channels"] * machine[part]["bytes_per_cycle"]
        for part in ("dma", "mover")
    }
    most["streamer"] = machine["streamer"]["bytes_per_cycle"]
    most["vector"] = vector["bytes_per_cycle"] or 12 * vector["lanes"]
    if level == "l3":
        total, parties = l3["tiles"] * l3["tile_bytes_per_cycle"], ("dma", "mover")
    else:
        total, parties = l2["banks"] * l2["bank_bytes_per_cycle"], ("mover", "streamer", "vector")
    if not total:
        return Fraction(0)
    # Fill all of them alike, until each has enough or nothing is left.
    got, left = dict.fromkeys(parties, Fraction(0)), Fraction(total)
    while left and (hungry := [p for p in parties if got[p] < most[p]]):
        step = min(left / len(hungry), *(most[p] - got[p] for p in hungry))
        for p in hungry:
            got[p] += step
            left -= step
    return got[who] + left


# -- the vector engine ----------------------------------------------------------------------------

CLASSES = {
    "add": "addf subf negf absf",
    "multiply": "mulf fma",
    "compare": "maximumf minimumf maxnumf minnumf cmpf cmpi select copysign",
    "convert": "sitofp uitofp fptosi fptoui ceil floor round roundeven trunc",
    "integer": "addi subi muli maxsi minsi maxui minui andi ori xori shli shrsi shrui absi ctlz cttz ctpop",
    "divide": "divf divsi divui floordivsi ceildivsi ceildivui remsi remui",
    "sqrt": "sqrt rsqrt",
    "exp": "exp exp2 expm1",
    "log": "log log10 log1p log2",
    "tanh": "tanh sinh cosh asinh acosh atanh",
    "erf": "erf",
    "sin": "sin cos tan asin acos atan atan2",
    "pow": "powf fpowi ipowi cbrt",
    "cast": "extf truncf extsi extui trunci",
}
CLASS_OF = {name: kind for kind, names in CLASSES.items() for name in names.split()}
REDUCES = {"add": "add", "mul": "multiply", "max": "compare", "min": "compare"}


def body_of(block, machine: M) -> tuple[int, int, dict[str, int]]:
    """Interval, longest chain, operations by class of an xDSL block; nothing for None."""
    vector, depth, ops = machine["vector"], {}, {}
    intervals = vector["initiation_interval"]
    unit = bool(intervals["requantize"]) and block is not None
    found = independent_passes.passes(block) if unit else []
    ends = {end for end, _ in found}
    inside = {op for _, ops in found for op in ops} - ends
    for op in block.ops if block is not None else ():
        kind = "requantize" if op in ends else CLASS_OF.get(op.name.partition(".")[2])
        priced = kind is not None and op not in inside and intervals[kind] > 0
        if priced:
            ops[kind] = ops.get(kind, 0) + 1
        before = max((depth.get(o, 0) for o in op.operands), default=0)
        for result in op.results:
            depth[result] = before + (vector["latency"][kind] if priced else 0)
    interval = sum(intervals[kind] * n for kind, n in ops.items())
    return interval, max(depth.values(), default=0), ops


def on_tiles(machine: M, read: int, written: int, work: int, depth: int, ops: dict) -> Price:
    vector = machine["vector"]
    for rate in (vector["bytes_per_cycle"], dealt(machine, "l2", "vector")):
        if rate:
            work = max(work, ceil((read + written) / Fraction(rate)))
    cycles = vector["issue"] + work
    counts = {"l2.read": read, "l2.write": written, **ops}
    return Price(
        [("vector", 0, cycles)], cycles + depth + 2 * machine["l2"]["latency"], cycles, counts
    )


def lane_ops(ops: dict[str, int], elements: int) -> dict[str, int]:
    return {"lane_ops": sum(ops.values()) * elements} | {
        f"lane_ops.{kind}": n * elements for kind, n in ops.items()
    }


def map_price(machine: M, block, elements: int, read: int, written: int) -> Price:
    interval, depth, ops = body_of(block, machine)
    work = up(elements, machine["vector"]["lanes"]) * max(1, interval)
    return on_tiles(machine, read, written, work, depth, lane_ops(ops, elements))


def reduce_price(machine: M, kind, last: bool, elements, outputs, adds, read, written) -> Price:
    vector, name = machine["vector"], REDUCES[kind]
    lanes, levels = vector["lanes"], 1
    if last:
        row = up(elements, outputs)
        widths = [w for w in range(1, lanes + 1) if w == lanes or w & (w - 1) == 0]
        issues = min(
            up(elements, w) + min(up(elements, w), outputs) * ceil_log2(min(w, row)) for w in widths
        )
        levels += ceil_log2(min(lanes, row))
    else:
        issues = up(elements, lanes)
    if adds:
        issues, levels, read = issues + up(outputs, lanes), levels + 1, read + written
    ops = lane_ops({name: 1}, elements + (outputs if adds else 0))
    work, depth = issues * vector["initiation_interval"][name], levels * vector["latency"][name]
    return on_tiles(machine, read, written, work, depth, ops)


def ceil_log2(n: int) -> int:
    return max(0, n - 1).bit_length()


def row_price(machine: M, function, elements, row, count, outputs, last, read, written) -> Price:
    """``count``: of the elements of each row that come out."""
    vector = machine["vector"]
    intervals, latency, lanes = vector["initiation_interval"], vector["latency"], vector["lanes"]
    if function == "take":
        return on_tiles(machine, read, written, outputs, 0, {})
    if function == "top":
        stages_of = ceil_log2(count)
        k = 1 << stages_of
        pieces, sort = up(row, k), stages_of * (stages_of + 1) // 2
        # A pair is compared, and gets two values and two numbers; where one of it stays, one of each.
        stage = up(5 * k, 2)
        done = pieces * sort * stage + (pieces - 1) * (3 * k + stages_of * stage)
        operations = elements // row * done
        work = up(operations, lanes) * intervals["compare"]
        levels = sort + ceil_log2(pieces) * (1 + stages_of)
        return on_tiles(
            machine,
            read,
            written,
            work,
            2 * levels * latency["compare"],
            lane_ops({"compare": 1}, operations),
        )
    name = {"add": "add", "multiply": "multiply", "max": "compare", "min": "compare"}[function]
    if last:
        widths = [w for w in range(1, lanes + 1) if w == lanes or w & (w - 1) == 0]
        issues, w = min(
            (up(elements, w) * (ceil_log2(min(w, row)) + (row > w)), i, w)
            for i, w in enumerate(widths)
        )[::2]
        levels = ceil_log2(min(w, row)) + up(row, w)
    else:
        issues, levels = up(elements, lanes), row
    work = issues * intervals[name]
    return on_tiles(
        machine, read, written, work, levels * latency[name], lane_ops({name: 1}, elements)
    )


def window_price(machine: M, kind, taps, outputs, weighted: str, block, read, written) -> Price:
    """``weighted``: the type of the elements, where there are weights."""
    vector = machine["vector"]
    name = "multiply" if weighted else REDUCES[kind]
    interval, depth, ops = body_of(block, machine)
    interval += taps * vector["initiation_interval"][name]
    depth += vector["latency"][name]
    if not weighted:
        ops[name] = ops.get(name, 0) + taps
    counts = lane_ops(ops, outputs)
    if weighted:
        counts[f"vector_macs.{weighted}"] = outputs * taps
    return on_tiles(machine, read, written, up(outputs, vector["lanes"]) * interval, depth, counts)


# -- the array ------------------------------------------------------------------------------------


@dataclass
class Fold:
    """One pass over the array, as docs/array.md has it."""

    folds: int
    stream: int
    interval: int
    latency: int
    fed: tuple[int, int]
    drained: int
    first_result: int
    entered: int


def passes(flow, R, C, m, k, n, g, chained, d) -> Fold:
    if flow == "os":
        folds, T = up(m, R) * up(n, C), up(k, g)
        interval, one = max(T, R * d), T + R + C - 2 + R * d
        fed, south, entered = (0, T), T + R + C - 2, T
    else:
        T, across = (m, n) if flow == "ws" else (n, m)
        folds = up(k, R * g) * up(across, C)
        interval, one = max(T * d, R), T * d + 2 * R + C - 2
        fed, south, entered = (R, R + (T - 1) * d + 1), 2 * R + C - 2, R + (T - 1) * d + 1
    first_result = south
    if not chained:
        interval, fed, south = one, (0, one), 0
    earlier = (folds - 1) * interval
    fed = (fed[0], earlier + fed[1])
    return Fold(folds, T, interval, earlier + one, fed, south, first_result, entered)


def product_price(
    machine: M, flow, element, bits, short, batch, m, n, k, adds, block, out_bytes, sum_bytes, extra
) -> Price:
    """``bits``: of an element of each operand; ``short``: which are widened to be multiplied. ``out_bytes``, ``sum_bytes``: of the batch's result, and of its
    partial sums; ``extra``: bytes that the epilogue reads."""
    fabric, vector, l2 = machine["fabric"], machine["vector"], machine["l2"]
    intervals, outputs = vector["initiation_interval"], batch * m * n
    own, depth, ops = body_of(block, machine)

    left, right = (lambda count, of=of: up(of * count, 8) for of in bits)

    if element not in fabric["macs"]:
        interval = intervals["multiply"] * k + intervals["add"] * adds + own
        if adds:
            ops["add"] = ops.get("add", 0) + 1
        read = left(batch * m * k) + right(batch * m * k * n) + adds * sum_bytes + extra
        counts = lane_ops(ops, outputs) | {f"vector_macs.{element}": outputs * k}
        work = up(outputs, vector["lanes"]) * interval
        return on_tiles(
            machine, read, out_bytes, work, depth + vector["latency"]["multiply"], counts
        )
    unit, lanes = machine["streamer"]["converts"], vector["lanes"]
    first_widened, own_counts = 0, {}
    if not unit and any(short):
        # The vector engine writes them in the product's type; the array waits.
        wide, each = max(bits), max(1, intervals["convert"] + intervals["cast"])
        counted = [c for c, s in zip((batch * m * k, batch * k * n), short) if s]
        first_widened = vector["issue"] + sum(up(c, lanes) * each for c in counted)
        ops_of = {c: 1 for c in ("convert", "cast") if intervals[c]}
        own_counts = lane_ops(ops_of, sum(counted))
        own_counts["l2.read"] = sum(
            up(b * c, 8) for b, c, s in zip(bits, (batch * m * k, batch * k * n), short) if s
        )
        own_counts["l2.write"] = sum(up(wide * c, 8) for c in counted)
        left, right = (lambda count, of=of: up(of * count, 8)
                       for of in (wide if s else b for b, s in zip(bits, short)))  # fmt: skip
    R, C, g = fabric["rows"], fabric["columns"], fabric["macs"][element]
    per_row, deep = up(C, vector["lanes"]), R * g
    blocks = [k] if flow == "os" else [min(deep, k - at) for at in range(0, k, deep)]
    occupancy = held = folds = 0
    first = last = None
    for i, part in enumerate(blocks):
        busy = (intervals["add"] if adds or i else 0) + (own if i == len(blocks) - 1 else 0)
        last = passes(flow, R, C, m, part, n, g, fabric["chained"], max(1, per_row * busy))
        first = first or last
        occupancy += batch * last.folds * last.interval
        folds += batch * last.folds
        if busy:
            held += batch * last.folds * (R if flow == "os" else last.stream) * per_row * busy
    assert first
    assert last
    before = occupancy - last.folds * last.interval  # of all but the last pass
    strip = machine["l1"]["buffers"] * machine["l1"]["buffer_bytes"] // 4
    a, b, over_m, over_n = left(m * k), right(k * n), up(m, R), up(n, C)
    if flow == "os":
        sa = a * (1 if left(min(m, R) * k) <= strip else over_n)
        sb = b * (1 if b <= strip else over_m)
        into = a * over_n + b * over_m
    elif flow == "ws":
        sa, sb = a * (1 if left(m * min(deep, k)) <= strip else over_n), b
        into = a * over_n + b
    else:
        over_m = up(m, C)
        sa, sb = a, b * (1 if right(n * min(deep, k)) <= strip else over_m)
        into = a + b * over_m
    streamed = batch * (sa + sb)
    rates = [Fraction(machine["streamer"]["bytes_per_cycle"]), dealt(machine, "l2", "streamer")]
    S = ceil(streamed / min(r for r in rates if r))
    again = {"os": (over_n, over_m), "ws": (over_n, 1), "is": (1, over_m)}[flow]
    entering = batch * sum(
        s * count * times for s, count, times in zip(short, (m * k, k * n), again)
    )
    if unit and machine["streamer"]["convert_elements"]:
        S = max(S, up(entering, machine["streamer"]["convert_elements"]))
    # Operands that come late.
    entered, until = first.entered, before + (last.folds - 1) * last.interval + last.entered
    late = max(0, S - until, up(S, folds) - entered)
    latency = before + last.latency + late
    if fabric["chained"]:
        occupancy = max(occupancy, S)
    else:
        occupancy = latency
    sums = len(blocks) - 1 + adds
    if sums:
        ops["add"] = ops.get("add", 0) + sums
    counts = {
        "l2.read": streamed + sums * sum_bytes + extra,
        "l2.write": (len(blocks) - 1) * sum_bytes + out_bytes,
        "l1.write": streamed,
        "l1.read": batch * into,
        f"macs.{element}": outputs * k,
        **lane_ops(ops, outputs),
    }
    holds = [
        ("fabric", 0, occupancy),
        ("feed", first.fed[0], before + last.fed[1] + late),
        ("drain", first.drained, latency),
    ]
    if held:
        holds.append(("vector", first.first_result, first.first_result + held))
    ready = latency + 2 * l2["latency"] + machine["l1"]["latency"] + depth
    if sums:
        ready += vector["latency"]["add"]
    if unit and entering:
        counts["converts"] = entering
    if first_widened:
        late = first_widened
        holds = [(name, a if name == "fabric" else a + late, b + late) for name, a, b in holds]
        ends = [b for name, _, b in holds if name == "vector"]
        holds = [h for h in holds if h[0] != "vector"] + [("vector", 0, max([late, *ends]))]
        counts = {key: counts.get(key, 0) + own_counts.get(key, 0) for key in counts | own_counts}
        return Price(holds, ready + late, latency + late, counts)
    return Price(holds, ready, latency, counts)
