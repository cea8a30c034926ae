"""How long an operation takes and what it moves: the only place that knows.

Everything asks ``cost``: programs, stepped or fast-forwarded, and the search. Times are in base cycles,
sizes in bytes.

* A transfer over c channels of b bytes a cycle: ``ceil(bytes / (c b))``. A fetch's data is there
  ``external.latency`` cycles later; descriptors are pipelined, so the engine does not wait for it.
  A write is posted: it is done when its last byte has left.
* A matrix product: the array's time (``array_timing``), later where the streamers cannot bring the
  operands in time (``held_back``). It has the array for its occupancy, the edges where operands enter and
  results leave while they do, and the vector engine for as many cycles as its epilogue works. L1
  holds one strip of each operand, and one more on its way in: a strip that fits is streamed once
  and read again.
* The vector engine handles ``lanes`` elements every ``initiation interval`` (the sum over the
  body's operations).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import cast

from xdsl.ir import Attribute, Block

from kpu_ir.machine import Machine
from kpu_ir.scalar.body import op_classes
from kpu_ir.sim.program.plan import (
    Acquire,
    Fetch,
    Map,
    Matmul,
    Move,
    Put,
    Reduce,
    Step,
    Windowed,
    Write,
    carrier,
    element_bytes,
    place,
    product,
)
from kpu_ir.sim.time.array_timing import Dataflow, array_time, held_back
from kpu_ir.support.errors import KpuError


@dataclass(frozen=True, slots=True)
class Hold:
    """An operation has an engine from ``begin`` to ``end`` cycles after its start."""

    engine: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What an operation needs, in cycles from its start.

    ``holds``: engines, the first is the one that it runs on; its sources are free when that one is.
    ``latency``: until its result is there. ``counts``: bytes by level and direction,
    ``macs.<type>`` of the array, ``vector_macs.<type>`` of the vector engine, ``lane_ops``; energy is
    charged to these.
    """

    holds: tuple[Hold, ...]
    latency: int
    counts: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def occupancy(self) -> int:
        """Until its own engine is free."""
        return self.holds[0].end


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


@cache
def type_name(element: Attribute) -> str:
    """``f32``, ``bf16``, ``i8``: the key into the machine's tables."""
    return str(element)


def _body_interval(block: Block, machine: Machine) -> int:
    table = machine.vector.initiation_interval
    return sum(table[kind] * n for kind, n in op_classes(block).items())


def _lane_ops(block: Block) -> int:
    return sum(op_classes(block).values())


def _channels(step: Fetch | Move | Put | Write, available: int) -> int:
    if step.channels is None:
        return available
    if step.channels[-1] >= available:
        raise KpuError(
            f"channel {step.channels[-1]} of {available}", place(step.op), "channels count from 0"
        )
    return len(step.channels)


def _transfer(step: Fetch | Move | Put | Write, machine: Machine) -> Cost:
    size = step.bytes
    if carrier(step) == "mover":
        part = machine.mover
        inward = isinstance(step, Fetch) or (isinstance(step, Move) and step.inward)
        source, target = ("l3", "l2") if inward else ("l2", "l3")
        engine, latency = "mover", 0
    else:
        part = machine.dma
        source, target = ("external", "l3") if isinstance(step, Fetch) else ("l3", "external")
        engine, latency = "dma", machine.external.latency if isinstance(step, Fetch) else 0
    cycles = max(1, _ceil(size, _channels(step, part.channels) * part.bytes_per_cycle))
    counts = {f"{source}.read": size, f"{target}.write": size}
    return Cost((Hold(engine, 0, cycles),), cycles + latency, counts)


def _streamed(step: Matmul, machine: Machine) -> tuple[int, int]:
    """Bytes from L2 to L1, and from L1 into the array, of one product of the batch."""
    rows, columns = machine.fabric.rows, machine.fabric.columns
    m, n, k = step.m, step.n, step.k

    def size(count: int) -> int:
        return element_bytes(step.element, count)

    strip = machine.l1.bytes // 4
    lhs, rhs = size(m * k), size(k * n)
    if step.dataflow == "os":
        over_n, over_m = _ceil(n, columns), _ceil(m, rows)
        lhs_again = 1 if size(min(rows, m) * k) <= strip else over_n
        rhs_again = 1 if rhs <= strip else over_m
        return lhs * lhs_again + rhs * rhs_again, lhs * over_n + rhs * over_m
    depth = rows * machine.fabric.macs[type_name(step.element)]
    if step.dataflow == "ws":
        over = _ceil(n, columns)
        again = 1 if size(m * min(depth, k)) <= strip else over
        return lhs * again + rhs, lhs * over + rhs
    over = _ceil(m, columns)
    again = 1 if size(n * min(depth, k)) <= strip else over
    return rhs * again + lhs, rhs * over + lhs


def _vector_matmul(step: Matmul, machine: Machine) -> Cost:
    """A product of a type that the array does not multiply, on the vector engine: a multiplication
    and an addition for each element of the result and of k, in one operation as a window's tap."""
    simple, kind = machine.vector.initiation_interval["simple"], type_name(step.element)
    outputs = step.batch * step.m * step.n
    size = element_bytes(step.out_element, outputs)
    interval = simple * (step.k + step.accumulate)
    lane_ops = outputs * step.accumulate
    if step.epilogue:
        interval += _body_interval(step.epilogue, machine)
        lane_ops += outputs * _lane_ops(step.epilogue)
    cycles = _ceil(outputs, machine.vector.lanes) * interval
    # A row of the right operand is read for each row of the left one; that one comes once.
    operands = element_bytes(step.element, step.batch * step.m * step.k * (1 + step.n))
    counts = {
        "l2.read": operands + step.accumulate * size + step.extra_bytes,
        "l2.write": size,
        f"vector_macs.{kind}": outputs * step.k,
        "lane_ops": lane_ops,
    }
    return Cost((Hold("vector", 0, cycles),), cycles, counts)


def _matmul(step: Matmul, machine: Machine) -> Cost:
    fabric = machine.fabric
    kind = type_name(step.element)
    if kind not in fabric.macs:
        return _vector_matmul(step, machine)
    per_row = _ceil(fabric.columns, machine.vector.lanes)
    epilogue = _body_interval(step.epilogue, machine) if step.epilogue else 0
    add = machine.vector.initiation_interval["simple"]
    outputs = step.batch * step.m * step.n
    out_bytes = element_bytes(step.out_element, outputs)

    # Passes over k: one in the output-stationary array, one a stationary block else. All but the
    # first of the sum add to what stands in L2; the last runs the epilogue.
    depth = fabric.rows * fabric.macs[kind]
    passes = 1 if step.dataflow == "os" else _ceil(step.k, depth)
    groups: Counter[tuple[int, int]] = Counter()  # (vector interval, k of the pass) -> passes
    for p in range(passes):
        interval = (add if step.accumulate or p else 0) + (epilogue if p == passes - 1 else 0)
        k = step.k if passes == 1 else min(depth, step.k - p * depth)
        groups[interval, k] += 1
    occupancy = tail = vector = west = fed = folds = entered = last_operand = 0
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
        folds += repeat * t.folds
        west = occupancy - t.occupancy + t.west.end
        last_operand = occupancy - t.occupancy + t.last_operand
        if interval:
            lines = t.folds * (fabric.rows if step.dataflow == "os" else t.stream)
            vector += repeat * lines * per_row * interval
    streamed, into_array = _streamed(step, machine)
    streaming = _ceil(step.batch * streamed, machine.streamer.bytes_per_cycle)
    late = held_back(streaming, folds, entered, last_operand)
    latency, west = occupancy + tail + late, west + late
    occupancy = max(occupancy, streaming) if fabric.chained else latency
    reads = (passes - 1 + step.accumulate) * out_bytes + step.extra_bytes
    lane_ops = (passes - 1 + step.accumulate) * outputs
    if step.epilogue:
        lane_ops += outputs * _lane_ops(step.epilogue)
    counts = {
        "l2.read": step.batch * streamed + reads,
        "l2.write": passes * out_bytes,
        "l1.write": step.batch * streamed,
        "l1.read": step.batch * into_array,
        f"macs.{kind}": outputs * step.k,
        "lane_ops": lane_ops,
    }
    holds = [Hold("fabric", 0, occupancy), Hold("feed", fed, west), Hold("drain", drained, latency)]
    if vector:
        holds.append(Hold("vector", drained, drained + vector))
    return Cost(tuple(holds), latency, counts)


def _map(step: Map, machine: Machine) -> Cost:
    interval = max(1, _body_interval(step.body, machine))
    cycles = _ceil(step.elements, machine.vector.lanes) * interval
    counts = {
        "l2.read": step.read_bytes,
        "l2.write": step.written_bytes,
        "lane_ops": step.elements * _lane_ops(step.body),
    }
    return Cost((Hold("vector", 0, cycles),), cycles, counts)


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
        groups = _ceil(elements, w)
        depth = (min(w, _ceil(elements, outputs)) - 1).bit_length()
        return groups + min(groups, outputs) * depth

    # Between two powers of two depth does not change: more lanes are better there.
    return min(issues(w) for w in (*(1 << n for n in range(lanes.bit_length())), lanes))


def _reduce(step: Reduce, machine: Machine) -> Cost:
    """Lanes combine side by side; along the last dimension the lanes themselves are combined in a
    tree."""
    simple, lanes = machine.vector.initiation_interval["simple"], machine.vector.lanes
    outputs = product(step.extents)
    if len(step.extents) - 1 in step.axes:
        groups = combining(step.elements, outputs, lanes)
    else:
        groups = _ceil(step.elements, lanes)
    if step.accumulate:
        groups += _ceil(outputs, lanes)
    counts = {
        "l2.read": step.read_bytes + (step.written_bytes if step.accumulate else 0),
        "l2.write": step.written_bytes,
        "lane_ops": step.elements + (outputs if step.accumulate else 0),
    }
    return Cost((Hold("vector", 0, groups * simple),), groups * simple, counts)


def _windowed(step: Windowed, machine: Machine) -> Cost:
    """One operation a tap (combine, or multiply and add), then the epilogue."""
    outputs = product(step.extents)
    interval = step.window.taps * machine.vector.initiation_interval["simple"]
    operations = 0 if step.weights is not None else step.window.taps
    if step.epilogue:
        interval += _body_interval(step.epilogue, machine)
        operations += _lane_ops(step.epilogue)
    cycles = _ceil(outputs, machine.vector.lanes) * interval
    counts = {
        "l2.read": step.read_bytes,
        "l2.write": step.written_bytes,
        "lane_ops": outputs * operations,
    }
    if step.weights is not None:
        counts[f"vector_macs.{type_name(step.record.source.element)}"] = outputs * step.window.taps
    return Cost((Hold("vector", 0, cycles),), cycles, counts)


def cost(step: Step, machine: Machine) -> Cost | None:
    """What one operation costs on ``machine``; None for what costs nothing.

    Raises ``KpuError`` for a type or a channel that the machine does not have.
    """
    match step:
        case Fetch() | Move():
            return _transfer(step, machine) if step.moves else None
        case Write() | Put():
            return _transfer(step, machine)
        case Matmul():
            return _matmul(step, machine)
        case Map():
            return _map(step, machine)
        case Reduce():
            return _reduce(step, machine)
        case Windowed():
            return _windowed(step, machine)
        case Acquire():
            return None
