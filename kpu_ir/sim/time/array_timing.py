"""How long the systolic array takes: integer formulas, one dataflow beside the other.

A matmul of m x k by k x n is cut into F *folds*, each of which fills the R x C array once; in a
fold T *steps* stream past what stays in the PEs (``g`` is ``macs_per_pe``, k-values per cycle):

    dataflow            in the PEs        folds F                         streams T
    os output           R x C of result   ceil(m / R) * ceil(n / C)       ceil(k / g)
    ws weight           R*g x C of b      ceil(k / (R*g)) * ceil(n / C)   m
    is input            R*g x C of a^T    ceil(k / (R*g)) * ceil(m / C)   n

``docs/array.md`` draws them. Every figure here equals what ``array_model.py``, a register-transfer
model that knows no formula, measures: see ``test/sim/test_array_model.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Dataflow = Literal["os", "ws", "is"]


@dataclass(frozen=True)
class Window:
    """The cycles, from the start of a run, in which one edge of the array belongs to that run.

    Seen at one lane of the edge; the other lanes follow by the skew, the same for every run.
    """

    begin: int
    end: int


@dataclass(frozen=True)
class ArrayTime:
    """The cycles of one matmul on the array, counted from the cycle of its first operand."""

    folds: int
    """F: how often the array is filled."""
    stream: int
    """T: the steps that stream through the array in one fold."""
    interval: int
    """From the first operand of a fold to that of the next."""
    last_mac: int
    """Until the last multiply-accumulate is done."""
    latency: int
    """Until the vector engine is done with the last row of results."""
    last_operand: int
    """Until the last word of the streamed operand has entered."""
    occupancy: int
    """F * interval: until an equal run can start. Long enough for any run on the same dataflow
    but an output-stationary one with a stream under min(T, R*d). ``gap_before`` is exact."""
    west: Window
    """The edge where the streamed operand enters."""
    north: Window
    """The edge where the other operand of ``os``, or what stays in the PEs of ``ws``, enters."""
    south: Window
    """The edge where results leave."""
    first_result: int
    """Until the first row of results leaves: from then on the run makes use of the vector engine."""

    @property
    def entered(self) -> int:
        """Until the last word of the first fold's streamed operand has entered."""
        return self.last_operand - (self.folds - 1) * self.interval

    def gap_before(self, following: ArrayTime) -> int:
        """The least number of cycles between this run's start and the following run's start.

        Each edge serves one run after the other: that is all that keeps runs apart, whatever their
        shapes and dataflows. Runs then chain by `max` and `+`:
        ``start = max(free[edge] - edge.begin)``, ``free[edge] = start + edge.end``.
        """
        return max(
            self.west.end - following.west.begin,
            self.north.end - following.north.begin,
            self.south.end - following.south.begin,
        )


@lru_cache(maxsize=1 << 14)
def array_time(
    dataflow: Dataflow,
    rows: int,
    columns: int,
    m: int,
    k: int,
    n: int,
    *,
    macs_per_pe: int = 1,
    chained: bool = True,
    drain_interval: int = 1,
) -> ArrayTime:
    """Time an m x k by k x n matmul on an array of rows x columns PEs.

    ``chained`` folds overlap: the next one streams in while the last one drains. Off, a fold starts
    when the one before has left. ``drain_interval`` (d) is the number of cycles, at least 1, that
    the vector engine works on one row of C results; nothing queues between the two:

        os    R rows a fold, one every d cycles, after the last MAC      interval max(T, R*d)
        ws is T rows a fold; the stream is slowed to one step in d       interval max(T*d, R)

    The array does not know of edges: a fold that does not fill it takes as long as one that does.
    """
    if min(rows, columns, m, k, n, macs_per_pe, drain_interval) < 1:
        raise ValueError("sizes and intervals of an array run are at least 1")
    if dataflow == "os":
        folds = _ceildiv(m, rows) * _ceildiv(n, columns)
        stream = _ceildiv(k, macs_per_pe)
        last_mac = stream + rows + columns - 2
        one_fold = last_mac + rows * drain_interval
        interval = max(stream, rows * drain_interval)
        entered = stream
        west = north = Window(0, stream)
        south = Window(last_mac, one_fold)
    else:
        stream, across = (m, n) if dataflow == "ws" else (n, m)
        folds = _ceildiv(k, rows * macs_per_pe) * _ceildiv(across, columns)
        paced = (stream - 1) * drain_interval + 1
        last_mac = paced + 2 * rows + columns - 2
        one_fold = last_mac + drain_interval - 1
        interval = max(stream * drain_interval, rows)
        entered = rows + paced
        west, north = Window(rows, entered), Window(0, rows)
        south = Window(2 * rows + columns - 2, one_fold)

    first_result = south.begin
    if not chained:
        interval = one_fold
        west = north = south = Window(0, one_fold)
    earlier = (folds - 1) * interval
    return ArrayTime(
        folds=folds,
        stream=stream,
        interval=interval,
        last_mac=earlier + last_mac,
        latency=earlier + one_fold,
        last_operand=earlier + entered,
        occupancy=folds * interval,
        west=Window(west.begin, earlier + west.end),
        north=Window(north.begin, earlier + north.end),
        south=Window(south.begin, earlier + south.end),
        first_result=first_result,
    )


def held_back(cycles: int, folds: int, entered: int, last_operand: int) -> int:
    """By how many cycles results leave later where operands take ``cycles`` to come, at an even rate
    from the start on.

    ``entered`` and ``last_operand``: when the array, if nothing held it back, would have taken the
    last word of the first fold and of the last of ``folds``.

    A fold starts no sooner than its stream can pass without a pause: when the last word of its share
    is there, less the steps in which it enters. The first fold decides where shares come faster
    than folds follow each other, the last one else. What is left to do when the last word is in
    (to compute and to drain) is left in any case, whether folds are chained or not.
    """
    return max(0, _ceildiv(cycles, folds) - entered, cycles - last_operand)


def _ceildiv(a: int, b: int) -> int:
    return -(-a // b)
