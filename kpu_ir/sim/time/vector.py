"""The vector engine: how long operations on tiles take, and what an epilogue costs a row of results.

It handles ``lanes`` elements every interval, the sum over the body's operations by class. Its result
is there when the last group has gone through the pipeline: the longest chain of the body's
latencies later. An operation on tiles takes ``vector.issue`` cycles to begin, and no less than its
operands and results need at the ports.
"""

from __future__ import annotations

from collections import Counter

from xdsl.ir import Block, SSAValue

from kpu_ir.machine import Machine
from kpu_ir.scalar.ops import PRICES
from kpu_ir.scalar.requantize import priced, requantizations
from kpu_ir.sim.program.plan import Map, Reduce, Rowwise, Windowed, element_bytes, product
from kpu_ir.sim.time.banks import share
from kpu_ir.sim.time.costs import Body, Cost, Hold, Product, ceil_div
from kpu_ir.support.types import multiplied_as


def body_cost(block: Block, machine: Machine) -> Body:
    """What ``block`` costs."""
    intervals, latency = machine.vector.initiation_interval, machine.vector.latency
    passes = requantizations(block) if intervals["requantize"] else []
    classes = priced(block, passes)
    interval = sum(intervals[kind] * n for kind, n in classes.items())
    operations = tuple((kind, n) for kind, n in classes.items() if intervals[kind])
    if not any(latency.values()):
        return Body(interval, 0, operations)
    depth: dict[SSAValue, int] = {}
    inside = {op for ops in passes for op in ops}
    ends = {next(op for op in reversed(list(block.ops)) if op in ops) for ops in passes}
    for op in block.ops:
        if op in inside:
            own = latency["requantize"] * (op in ends)
        else:
            kind = PRICES.get(op.name)
            rides = kind == "cast" and not intervals["cast"]
            own = latency[kind] if kind and not rides else 0
        before = max((depth.get(operand, 0) for operand in op.operands), default=0)
        depth |= dict.fromkeys(op.results, before + own)
    return Body(interval, max(depth.values(), default=0), operations)


COMBINES = {"add": "add", "mul": "multiply", "max": "compare", "min": "compare"}
"""The class of what combines elements, by reduction."""


def lane_ops(operations: Counter[str], elements: int) -> dict[str, int]:
    """Counts of operations by class, on so many elements."""
    counts = {f"lane_ops.{kind}": n * elements for kind, n in operations.items() if n * elements}
    return {"lane_ops": operations.total() * elements, **counts}


def _on_tiles(
    machine: Machine, read: int, written: int, work: int, depth: int, operations: dict[str, int]
) -> Cost:
    """An operation of ``work`` cycles, on tiles in L2, of which so many bytes are read and written."""
    for rate in (machine.vector.bytes_per_cycle, share(machine, "l2", "vector")):
        if rate:
            work = max(work, ceil_div(read + written, rate))
    cycles = machine.vector.issue + work
    counts = {"l2.read": read, "l2.write": written, **operations}
    latency = cycles + depth + 2 * machine.l2.latency
    return Cost((Hold("vector", 0, cycles),), latency, counts)


def map_cost(step: Map, machine: Machine) -> Cost:
    """A copy takes as long as one operation that costs a cycle."""
    body = body_cost(step.body, machine)
    work = ceil_div(step.elements, machine.vector.lanes) * max(1, body.interval)
    operations = lane_ops(body.counter, step.elements)
    return _on_tiles(machine, step.read_bytes, step.written_bytes, work, body.depth, operations)


def matmul_cost(step: Product, machine: Machine) -> Cost:
    """A product of a type that the array does not multiply: a multiplication and an addition for each
    element of the result and of k, in one operation as a window's tap."""
    intervals, latency = machine.vector.initiation_interval, machine.vector.latency
    outputs = step.batch * step.m * step.n
    size = element_bytes(step.out_element, outputs)
    sums = element_bytes(step.sum_element, outputs)
    interval = intervals["multiply"] * step.k + intervals["add"] * step.accumulate
    depth, operations = latency["multiply"], Counter({"add": int(step.accumulate)})
    if step.epilogue:
        interval, depth = interval + step.epilogue.interval, depth + step.epilogue.depth
        operations += step.epilogue.counter
    # A row of the right operand is read for each row of the left one; that one comes once.
    left, right = step.elements
    operands = element_bytes(left, step.batch * step.m * step.k)
    operands += element_bytes(right, step.batch * step.m * step.k * step.n)
    read = operands + step.accumulate * sums + step.extra_bytes
    counts = {f"vector_macs.{step.multiplier}": outputs * step.k}
    counts |= lane_ops(operations, outputs)
    work = ceil_div(outputs, machine.vector.lanes) * interval
    return _on_tiles(machine, read, size, work, depth, counts)


def combining(elements: int, outputs: int, lanes: int) -> int:
    """Issues of the vector engine that combine ``elements`` along the last dimension, ``outputs``
    rows of equal length one behind the other.

    ``w`` lanes read w elements an issue. A row that is longer adds up lane by lane first, then its w
    lanes combine in a tree; rows that are shorter stand side by side in the lanes, and their trees,
    no deeper than a row is long, run in the same issues. An engine may leave lanes idle: w is what
    takes least, and so no lane that is added costs anything.

    >>> combining(2048 * 8, 2048, 8), combining(2048 * 8, 2048, 128)
    (8192, 512)
    """

    def issues(w: int) -> int:
        groups = ceil_div(elements, w)
        depth = (min(w, ceil_div(elements, outputs)) - 1).bit_length()
        return groups + min(groups, outputs) * depth

    # Between two powers of two depth does not change: more lanes are better there.
    return min(issues(w) for w in (*(1 << n for n in range(lanes.bit_length())), lanes))


def reduce_cost(step: Reduce, machine: Machine) -> Cost:
    """Lanes combine side by side; along the last dimension the lanes themselves are combined in a
    tree, of which each level waits for the one before."""
    kind, lanes = COMBINES[step.kind], machine.vector.lanes
    outputs, levels = product(step.extents), 1
    if len(step.extents) - 1 in step.axes:
        groups = combining(step.elements, outputs, lanes)
        levels += (min(lanes, ceil_div(step.elements, outputs)) - 1).bit_length()
    else:
        groups = ceil_div(step.elements, lanes)
    if step.accumulate:
        groups, levels = groups + ceil_div(outputs, lanes), levels + 1
    operations = step.elements + (outputs if step.accumulate else 0)
    read = step.read_bytes + (step.written_bytes if step.accumulate else 0)
    work = groups * machine.vector.initiation_interval[kind]
    depth = levels * machine.vector.latency[kind]
    counts = lane_ops(Counter({kind: 1}), operations)
    return _on_tiles(machine, read, step.written_bytes, work, depth, counts)


def row_cost(step: Rowwise, machine: Machine) -> Cost:
    """A function of rows.

    * A scan along the last dimension: w lanes need ceil(log2 min(w, row)) steps for each w elements, in
      which each adds what its neighbour at 1, 2, 4.. lanes has, and one that adds what came before;
      along another dimension lanes work side by side, an operation an element.
    * ``top``: a bitonic network sorts runs of K elements (k rounded up to a power of two) by
      log2 K (log2 K + 1) / 2 stages; merging two runs and keeping half of them takes a stage that
      keeps one of each pair and log2 K on that half. A pair is compared, and value and number are
      chosen for each place that stays: five operations a pair, three where one stays.
    * ``take``: one element a cycle.
    """
    intervals, lanes = machine.vector.initiation_interval, machine.vector.lanes
    rows, outputs = step.elements // step.row, product(step.extents)
    if step.function == "take":
        return _on_tiles(machine, step.read_bytes, step.written_bytes, outputs, 0, {})
    if step.function == "top":
        count = 1 << (step.extents[step.axis] - 1).bit_length()
        runs, depth = ceil_div(step.row, count), count.bit_length() - 1
        sorting = runs * depth * (depth + 1) // 2 * ceil_div(5 * count, 2)
        merging = (runs - 1) * (3 * count + depth * ceil_div(5 * count, 2))
        operations = rows * (sorting + merging)
        work = ceil_div(operations, lanes) * intervals["compare"]
        latency = 2 * machine.vector.latency["compare"]
        levels = depth * (depth + 1) // 2 + (runs - 1).bit_length() * (1 + depth)
        counts = lane_ops(Counter({"compare": 1}), operations)
        return _on_tiles(
            machine, step.read_bytes, step.written_bytes, work, levels * latency, counts
        )
    kind = COMBINES["mul" if step.function == "multiply" else step.function]
    issues, levels = ceil_div(step.elements, lanes), step.row
    if step.axis == len(step.extents) - 1:
        issues, levels = scanning(step.elements, step.row, lanes)
    work = issues * intervals[kind]
    counts = lane_ops(Counter({kind: 1}), step.elements)
    depth = levels * machine.vector.latency[kind]
    return _on_tiles(machine, step.read_bytes, step.written_bytes, work, depth, counts)


def scanning(elements: int, row: int, lanes: int) -> tuple[int, int]:
    """Issues of the vector engine that scan rows along the last dimension, and how many of them wait
    for each other. It may leave lanes idle, as in ``combining``.

    >>> scanning(8000, 8000, 16)
    (2500, 504)
    """

    def issues(w: int) -> int:
        depth = (min(w, row) - 1).bit_length()
        return ceil_div(elements, w) * (depth + (row > w))

    w = min((*(1 << n for n in range(lanes.bit_length())), lanes), key=issues)
    return issues(w), (min(w, row) - 1).bit_length() + ceil_div(row, w)


def window_cost(step: Windowed, machine: Machine) -> Cost:
    """One operation a tap (combine, or multiply and add), then the epilogue."""
    kind = COMBINES[step.kind] if step.weights is None else "multiply"
    outputs, taps = product(step.extents), step.window.taps
    interval, depth = taps * machine.vector.initiation_interval[kind], machine.vector.latency[kind]
    weighted = step.weights is not None
    operations = Counter[str]() if weighted else Counter({kind: taps})
    if step.epilogue:
        body = body_cost(step.epilogue, machine)
        interval, depth = interval + body.interval, depth + body.depth
        operations += body.counter
    work = ceil_div(outputs, machine.vector.lanes) * interval
    counts = lane_ops(operations, outputs)
    if weighted:
        counts[f"vector_macs.{multiplied_as(step.record.source.element)}"] = outputs * taps
    return _on_tiles(machine, step.read_bytes, step.written_bytes, work, depth, counts)
