"""How long a product takes and what it moves: the only place that knows.

Everything asks ``prices``: programs, stepped or fast-forwarded, and the search. Times are in base cycles,
sizes in bytes. Transfers are priced in ``transfers``, the vector engine in ``vector``.

A matrix product takes the array's time (``array_timing``), later where the streamers cannot bring
the operands in time (``held_back``). It has the array for its occupancy, the edges where operands
enter and results leave while they do, and the vector engine for as many cycles as its epilogue
works. L1 holds one strip of each operand, and one more on its way in: a strip that fits is streamed
once and read again.

Every operation begins with the cycles that its engine spends on starting it (``control.issue``): ``prices``
adds them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import cast

from kpu_ir.machine import Machine
from kpu_ir.sim.program.plan import (
    Acquire,
    Map,
    Matmul,
    Reduce,
    Rowwise,
    Windowed,
    element_bytes,
)
from kpu_ir.sim.time.array_timing import Dataflow, array_time, held_back
from kpu_ir.sim.time.banks import share
from kpu_ir.sim.time.costs import Body, Cost, Hold, Product, begins_later, ceil_div
from kpu_ir.sim.time.vector import (
    lane_ops,
    map_cost,
    matmul_cost,
    reduce_cost,
    row_cost,
    window_cost,
)
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import bits_of, multiplied_as


def product_of(step: Matmul, epilogue: Body | None) -> Product:
    """What a product is to a machine, on which its ``epilogue`` costs that."""
    return Product(
        step.dataflow, step.batch, step.m, step.n, step.k, step.accumulate, step.extra_bytes,
        step.elements, step.out_element, step.sum_element, step.record.sums is not None, epilogue,
        step.each,
    )  # fmt: skip


def _widened(step: Product) -> tuple[bool, bool]:
    """Which operands are of a shorter type than they are multiplied as."""
    left, right = (multiplied_as(kind) != step.multiplier for kind in step.elements)
    return left, right


def _converted(step: Product, machine: Machine) -> int:
    """Elements that are widened on their way into the array, each time that they enter."""
    rows, columns = machine.fabric.rows, machine.fabric.columns
    m, n, k = step.m, step.n, step.k
    over_n = 1 if step.dataflow == "is" else ceil_div(n, columns)
    over_m = {"os": ceil_div(m, rows), "ws": 1, "is": ceil_div(m, columns)}[step.dataflow]
    left, right = _widened(step)
    return step.batch * (left * m * k * over_n + right * k * n * over_m)


def _widening(step: Product, machine: Machine) -> tuple[int, dict[str, int]]:
    """Cycles in which the vector engine widens operands before a product, and what that counts, where
    the streamers do not."""
    left, right = _widened(step)
    if machine.streamer.converts or not (left or right):
        return 0, {}
    m, n, k = step.m, step.n, step.k
    intervals = machine.vector.initiation_interval
    cycles, elements, read, written = 0, 0, 0, 0
    for kind, count, short in zip(step.elements, (m * k, k * n), (left, right)):
        if short:
            wide = step.elements[kind is step.elements[0]]
            each = max(1, intervals["convert"] + intervals["cast"])
            cycles += ceil_div(step.batch * count, machine.vector.lanes) * each
            elements += step.batch * count
            read += element_bytes(kind, step.batch * count)
            written += element_bytes(wide, step.batch * count)
    classes = Counter({name: 1 for name in ("convert", "cast") if intervals[name]})
    counts = {"l2.read": read, "l2.write": written, **lane_ops(classes, elements)}
    return machine.vector.issue + cycles, counts


def _streamed(step: Product, machine: Machine) -> tuple[int, int]:
    """Bytes from L2 to L1, and from L1 into the array, of one product of the batch."""
    rows, columns = machine.fabric.rows, machine.fabric.columns
    m, n, k = step.m, step.n, step.k
    left, right = step.elements
    if not machine.streamer.converts:
        left, right = (max(step.elements, key=bits_of) if short else kind
                       for kind, short in zip(step.elements, _widened(step)))  # fmt: skip

    strip = machine.l1.bytes // 4
    lhs, rhs = element_bytes(left, m * k), element_bytes(right, k * n)
    if step.dataflow == "os":
        over_n, over_m = ceil_div(n, columns), ceil_div(m, rows)
        lhs_again = 1 if element_bytes(left, min(rows, m) * k) <= strip else over_n
        rhs_again = 1 if rhs <= strip else over_m
        return lhs * lhs_again + rhs * rhs_again, lhs * over_n + rhs * over_m
    depth = rows * machine.fabric.macs[step.multiplier]
    if step.dataflow == "ws":
        over = ceil_div(n, columns)
        again = 1 if element_bytes(left, m * min(depth, k)) <= strip else over
        return lhs * again + rhs, lhs * over + rhs
    over = ceil_div(m, columns)
    again = 1 if element_bytes(right, n * min(depth, k)) <= strip else over
    return rhs * again + lhs, rhs * over + lhs


def product_cost(step: Product, machine: Machine) -> Cost:
    """What a product costs, on the array or on the vector engine."""
    fabric = machine.fabric
    kind = step.multiplier
    if kind not in fabric.macs:
        return matmul_cost(step, machine)
    per_row = ceil_div(fabric.columns, machine.vector.lanes)
    body = step.epilogue or Body(0, 0, ())
    epilogue, add = body.interval, machine.vector.initiation_interval["add"]
    outputs = step.batch * step.m * step.n
    out_bytes = element_bytes(step.out_element, outputs)
    sum_bytes = element_bytes(step.sum_element, outputs)

    # Passes over k: one in the output-stationary array, one a stationary block else. All but the
    # first of the sum add to what stands in L2; the last runs the epilogue.
    depth = fabric.rows * fabric.macs[kind]
    passes = 1 if step.dataflow == "os" else ceil_div(step.k, depth)
    if passes > 1 and not step.sums_apart and step.sum_element != step.out_element:
        raise KpuError(
            f"a sum of {passes} passes stands in {step.out_element}",
            hint=f"give it `sums` of {step.sum_element}: partial sums are not rounded",
        )
    if passes > 1 and step.each:
        raise KpuError(
            f"a product of {passes} passes has no room for what its epilogue takes",
            hint=f"cut k to {depth}, or use output_stationary",
        )
    groups: Counter[tuple[int, int]] = Counter()  # (vector interval, k of the pass) -> passes
    for p in range(passes):
        interval = (add if step.accumulate or p else 0) + (epilogue if p == passes - 1 else 0)
        k = step.k if passes == 1 else min(depth, step.k - p * depth)
        groups[interval, k] += 1
    occupancy = tail = vector = west = fed = folds = entered = last_operand = first_result = 0
    drained = -1
    for (interval, k), times in groups.items():
        drain = max(1, per_row * interval)
        t = array_time(
            cast(Dataflow, step.dataflow),
            fabric.rows,
            fabric.columns,
            step.m,
            k,
            step.n,
            macs_per_pe=fabric.macs[kind],
            chained=fabric.chained,
            drain_interval=drain,
        )
        repeat = times * step.batch
        occupancy, tail = occupancy + repeat * t.occupancy, t.latency - t.occupancy
        if drained < 0:
            drained, fed, entered = t.south.begin, t.west.begin, t.entered
            first_result = t.first_result
        folds += repeat * t.folds
        west = occupancy - t.occupancy + t.west.end
        last_operand = occupancy - t.occupancy + t.last_operand
        if interval:
            lines = t.folds * (fabric.rows if step.dataflow == "os" else t.stream)
            vector += repeat * lines * per_row * interval
    streamed, into_array = _streamed(step, machine)
    rates = (machine.streamer.bytes_per_cycle, share(machine, "l2", "streamer"))
    streaming = ceil_div(step.batch * streamed, min(rate for rate in rates if rate))
    converted = _converted(step, machine) if machine.streamer.converts else 0
    if machine.streamer.convert_elements:
        streaming = max(streaming, ceil_div(converted, machine.streamer.convert_elements))
    late = held_back(streaming, folds, entered, last_operand)
    latency, west = occupancy + tail + late, west + late
    occupancy = max(occupancy, streaming) if fabric.chained else latency
    added = out_bytes if step.each else sum_bytes
    reads = (passes - 1) * sum_bytes + step.accumulate * added + step.extra_bytes
    sums = passes - 1 + step.accumulate
    operations = body.counter + Counter({"add": sums})
    counts = {
        "l2.read": step.batch * streamed + reads,
        "l2.write": (passes - 1) * sum_bytes + out_bytes,
        "l1.write": step.batch * streamed,
        "l1.read": step.batch * into_array,
        f"macs.{kind}": outputs * step.k,
        **lane_ops(operations, outputs),
    }
    holds = [Hold("fabric", 0, occupancy), Hold("feed", fed, west), Hold("drain", drained, latency)]
    if vector:
        holds.append(Hold("vector", first_result, first_result + vector))
    latency += 2 * machine.l2.latency + machine.l1.latency + body.depth
    if sums:
        latency += machine.vector.latency["add"]
    if converted:
        counts["converts"] = converted
    spent = Cost(tuple(holds), latency, counts)
    before, more = _widening(step, machine)
    return _after_widening(spent, before, more) if before else spent


def _after_widening(spent: Cost, cycles: int, more: dict[str, int]) -> Cost:
    """A product that waits until the vector engine has widened its operands."""
    later = begins_later(spent, cycles)
    ends = [h.end for h in later.holds if h.engine == "vector"]
    holds = [h for h in later.holds if h.engine != "vector"]
    holds.append(Hold("vector", 0, max([cycles, *ends])))
    counts = {k: spent.counts.get(k, 0) + more.get(k, 0) for k in spent.counts | more}
    return replace(later, holds=tuple(holds), counts=counts)


def vector_operation(
    step: Map | Reduce | Rowwise | Windowed | Acquire, machine: Machine
) -> Cost | None:
    """What an operation of the vector engine on tiles costs; a slot costs nothing."""
    match step:
        case Map():
            return map_cost(step, machine)
        case Reduce():
            return reduce_cost(step, machine)
        case Rowwise():
            return row_cost(step, machine)
        case Windowed():
            return window_cost(step, machine)
        case Acquire():
            return None
