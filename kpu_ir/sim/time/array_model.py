"""The systolic array, register by register: the oracle of ``array_timing.py``.

Four registers a PE serve the three dataflows. Operands enter at the west and north edges, skewed
by one cycle a lane, and move on one PE a cycle; results leave at the south edge:

    register   output-stationary                     weight-stationary
    a          passes to the east                    passes to the east
    b          passes to the south                   the next weight, on its way or in its row
    kept       the sum that grows                    the weight in use
    south      the finished sum, on its way out      the partial sum that passes

Input-stationary is weight-stationary for c^T = b^T a^T. Partial sums of a k too long for the array
wait in a memory at the south edge and come back in at the north when the next fold passes.

Every register is a NumPy array, rows x columns of PEs (x a batch of matmuls that run in step),
moved on once a cycle. With the data travels what control bits would say in hardware: the fold and
the step of it that a word belongs to. Nothing waits: two words that want one register, wire or port
in one cycle are a ``Conflict``. A fold is issued in the first cycle from which it gets through
without one, found by trying. No time comes from a formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kpu_ir.sim.time.array_timing import Dataflow

Array = NDArray[Any]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Conflict(Exception):
    """Two words want the same register, edge or port in the same cycle."""


@dataclass(frozen=True)
class Run:
    """A batch of equal matmuls: a is batch x m x k, b is batch x k x n."""

    dataflow: Dataflow
    a: Array
    b: Array
    macs_per_pe: int = 1
    """Packing g: how many neighbours along k one word of an operand holds, and one PE multiplies and
    adds up in one cycle. The last word of a k that is no multiple of g has zeros in the lanes left."""
    drain_interval: int = 1
    sums: DTypeLike | None = None
    """The type of sums, wide enough to hold operands as well; None: the operands' own."""


@dataclass(frozen=True)
class Outcome:
    """What came out of the array for one run, and when (cycles from the first cycle of all)."""

    product: Array
    """batch x m x n."""
    leaves: Ints
    """m x n: the end of the cycle in which the vector engine is done with each result."""
    starts: list[int]
    """The first cycle of each fold."""
    last_mac: int
    """The end of the cycle of the last multiply-accumulate."""
    drained: int
    """The end of the cycle in which the last row (padding as well) is done."""
    multiplied: int
    """Multiplications of the lanes of all PEs, padding as well, for each matmul of the batch."""


def simulate(
    rows: int,
    columns: int,
    runs: Sequence[Run],
    *,
    chained: bool = True,
    not_before: Sequence[int] = (),
) -> list[Outcome]:
    """Stream the runs through one array, each fold as soon as it can follow the one before.

    ``not_before`` holds back the start of each run, as late operands would.
    """
    folds: list[_Fold] = []
    results: list[_Results] = []
    for index, run in enumerate(runs):
        cut, result = _cut(index, run, rows, columns)
        folds += cut
        results.append(result)
    held_back = dict(enumerate(not_before))
    state = _State(rows, columns, folds, results)
    feeders = _Feeders(rows, columns, folds)
    starts: list[list[int]] = [[] for _ in runs]
    for number, fold in enumerate(folds):
        earliest = 0 if starts[fold.run] else held_back.get(fold.run, 0)
        if not chained:
            state.finish(feeders)
        while state.cycle < earliest:
            state.step(feeders)
        while not _fits(number, state, feeders):
            if state.idle:
                raise AssertionError(f"fold {number} conflicts with itself")
            state.step(feeders)
        starts[fold.run].append(state.cycle)
        state.outstanding += fold.results
    state.finish(feeders)
    return [state.outcome(index, run, starts[index]) for index, run in enumerate(runs)]


def _fits(number: int, state: _State, feeders: _Feeders) -> bool:
    """Whether the fold can start now; if so its operands are booked at the edges."""
    try:
        feeders.book(number, state.cycle)
        trial = state.copy()
        trial.outstanding += feeders.folds[number].results
        trial.finish(feeders)
    except Conflict:
        feeders.cancel(number)
        return False
    return True


# --- The work: folds, and where their results go ---------------------------------------------


@dataclass(frozen=True)
class _Fold:
    """One filling of the array."""

    run: int
    weight_stationary: bool
    west: Array  # rows x steps x batch x g
    north: Array  # columns x (steps, or the rows that the weights are bound for) x batch x g
    row: int  # of the result, where this fold's begin
    column: int
    accumulates: bool  # onto what the fold before it left
    results: int
    drain_interval: int


@dataclass
class _Results:
    """The memory at the south edge: the (partial) sums of one run, padded to whole folds."""

    sums: Array  # m x n x batch
    writer: Ints  # m x n: the fold that each sum comes from
    leaves: Ints


def _cut(index: int, run: Run, rows: int, columns: int) -> tuple[list[_Fold], _Results]:
    g, d = run.macs_per_pe, run.drain_interval
    kind = np.result_type(run.a, run.b) if run.sums is None else np.dtype(run.sums)
    a, b = run.a.astype(kind), run.b.astype(kind)
    if run.dataflow == "is":
        a, b = b.swapaxes(1, 2), a.swapaxes(1, 2)
    stationary = run.dataflow != "os"
    a = _pad(a, 1 if stationary else rows, rows * g if stationary else g)
    b = _pad(b, rows * g if stationary else g, columns)
    batch, m, k = a.shape
    n = b.shape[2]
    steps = m if stationary else k // g
    folds: list[_Fold] = []
    for column in range(0, n, columns):
        for at in range(0, k if stationary else m, rows * g if stationary else rows):
            right = b[:, :, column : column + columns]
            if stationary:  # at is a k: rows * g k-values stay, all of m streams
                west = a[:, :, at : at + rows * g].reshape(batch, m, rows, g).swapaxes(1, 2)
                north = right[:, at : at + rows * g].reshape(batch, rows, g, columns)
            else:  # at is a row of the result: all of k streams
                west = a[:, at : at + rows].reshape(batch, rows, steps, g)
                north = right.reshape(batch, steps, g, columns)
            folds.append(
                _Fold(
                    run=index,
                    weight_stationary=stationary,
                    west=west.transpose(1, 2, 0, 3),
                    north=north.transpose(3, 1, 0, 2),
                    row=0 if stationary else at,
                    column=column,
                    accumulates=stationary and at > 0,
                    results=columns * (steps if stationary else rows),
                    drain_interval=d,
                )
            )
    sums = np.zeros((m, n, batch), kind)
    return folds, _Results(sums, np.full((m, n), -1), np.zeros((m, n), np.int64))


def _pad(x: Array, rows: int, columns: int) -> Array:
    return np.pad(x, ((0, 0), (0, -x.shape[1] % rows), (0, -x.shape[2] % columns)))


# --- The edges ---------------------------------------------------------------------------------


@dataclass
class _Edge:
    """What is presented at one edge, by cycle and lane; fold -1 is a bubble."""

    fold: Ints  # cycles x lanes
    step: Ints
    data: Array  # cycles x lanes x batch x g

    @staticmethod
    def empty(lanes: int, batch: int, g: int, dtype: Any) -> _Edge:
        bubbles = np.full((1, lanes), -1)
        return _Edge(bubbles, bubbles.copy(), np.zeros((1, lanes, batch, g), dtype))

    def at(self, cycle: int) -> _Words:
        """The lanes' words; bubbles when there is nothing more to come."""
        if cycle >= len(self.fold):
            bubbles = np.full_like(self.fold[0], -1)
            return _Words(bubbles, bubbles, np.zeros_like(self.data[0]))
        return _Words(self.fold[cycle], self.step[cycle], self.data[cycle])

    def book(self, fold: int, start: int, delay: Ints, data: Array) -> None:
        """Present word data[lane, step] in cycle start + lane + delay[step]."""
        lanes, steps = np.indices(data.shape[:2])
        cycles = start + lanes + delay[steps]
        short = max(0, int(cycles.max()) + 1 - len(self.fold))
        self.fold = np.pad(self.fold, ((0, short), (0, 0)), constant_values=-1)
        self.step = np.pad(self.step, ((0, short), (0, 0)), constant_values=-1)
        self.data = np.pad(self.data, ((0, short), (0, 0), (0, 0), (0, 0)))
        _check(self.fold[cycles, lanes] < 0, "edge")
        self.fold[cycles, lanes] = fold
        self.step[cycles, lanes] = steps
        self.data[cycles, lanes, :, : data.shape[3]] = data


class _Feeders:
    """The streamers at the west and north edges."""

    def __init__(self, rows: int, columns: int, folds: list[_Fold]) -> None:
        self.folds = folds
        batch, g = _widths(folds)
        dtype = np.result_type(*(x for fold in folds for x in (fold.west, fold.north)))
        self.west = _Edge.empty(rows, batch, g, dtype)
        self.north = _Edge.empty(columns, batch, g, dtype)

    def book(self, number: int, start: int) -> None:
        """Schedule a fold: weights go in bottom row first, and their stream follows."""
        fold = self.folds[number]
        steps, rows = int(fold.west.shape[1]), int(fold.north.shape[1])
        west, north = np.arange(steps), np.arange(rows)
        if fold.weight_stationary:
            west = rows + west * fold.drain_interval
            north = rows - 1 - north
        self.north.book(number, start, north, fold.north)
        self.west.book(number, start, west, fold.west)

    def cancel(self, number: int) -> None:
        """Take a fold back."""
        for edge in (self.west, self.north):
            edge.fold[edge.fold == number] = -1


def _widths(folds: list[_Fold]) -> tuple[int, int]:
    return folds[0].west.shape[2], max(fold.west.shape[3] for fold in folds)


# --- The array ---------------------------------------------------------------------------------


@dataclass
class _Words:
    """Words in registers or on wires, of all PEs or one edge, and what they belong to."""

    fold: Ints  # -1: none
    step: Ints
    data: Array

    @staticmethod
    def none(rows: int, columns: int, width: tuple[int, ...], dtype: Any) -> _Words:
        empty = np.full((rows, columns), -1)
        return _Words(empty, empty.copy(), np.zeros((rows, columns, *width), dtype))

    def to_south(self, edge: _Words) -> _Words:
        """Each row's words as the row below sees them, and the edge's in the top row."""
        return _Words(
            _behind(edge.fold, self.fold),
            _behind(edge.step, self.step),
            _behind(edge.data, self.data),
        )

    def to_east(self, edge: _Words) -> _Words:
        """Each column's words as the column to its right sees them, the edge's on the left."""
        return _Words(
            _behind(edge.fold, self.fold.T).T,
            _behind(edge.step, self.step.T).T,
            _behind(edge.data, self.data.swapaxes(0, 1)).swapaxes(0, 1),
        )

    def where(self, mask: Bools, other: _Words) -> _Words:
        """These words where the mask holds, the other ones elsewhere."""
        return _Words(
            np.where(mask, self.fold, other.fold),
            np.where(mask, self.step, other.step),
            np.where(_over(mask, self.data), self.data, other.data),
        )


def _behind(edge: Array, lanes: Array) -> Array:
    return np.concatenate((edge[None], lanes[:-1]))


def _over(mask: Bools, data: Array) -> Bools:
    return mask.reshape(mask.shape + (1,) * (data.ndim - mask.ndim))


class _State:
    """All that changes from cycle to cycle."""

    def __init__(
        self, rows: int, columns: int, folds: list[_Fold], results: list[_Results]
    ) -> None:
        batch, g = _widths(folds)
        dtype = np.result_type(*(result.sums for result in results))
        self.folds = folds
        self.stationary = np.array([fold.weight_stationary for fold in folds])
        self.steps = np.array([fold.west.shape[1] for fold in folds])
        self.drain_interval = np.array([fold.drain_interval for fold in folds])
        self.lanes = np.array([fold.west.shape[3] for fold in folds])
        self.row = np.arange(rows)[:, None]
        bubbles = np.full(columns, -1)
        self.nothing = _Words(bubbles, bubbles, np.zeros((columns, batch), dtype))

        self.cycle = 0
        self.a = _Words.none(rows, columns, (batch, g), dtype)
        self.b = _Words.none(rows, columns, (batch, g), dtype)
        self.weight: Array = np.zeros((rows, columns, batch, g), dtype)
        self.total: Array = np.zeros((rows, columns, batch), dtype)
        self.south: _Words = _Words.none(rows, columns, (batch,), dtype)
        self.draining: Bools = np.zeros((rows, columns), bool)
        self.shift_at: Ints = np.full(columns, -1)  # when a draining column moves on
        self.port_free_at: Ints = np.zeros(columns, np.int64)

        self.results = results
        self.outstanding = 0  # results still to leave
        self.last_mac = np.zeros(len(folds), np.int64)  # by fold
        self.drained = np.zeros(len(folds), np.int64)
        self.multiplied = np.zeros(len(folds), np.int64)

    def copy(self) -> _State:
        """A state to try things on."""
        return deepcopy(self, {id(self.folds): self.folds})

    @property
    def idle(self) -> bool:
        """Every result has left and the vector engine is done."""
        return not self.outstanding and self.cycle >= self.port_free_at.max()

    def finish(self, feeders: _Feeders) -> None:
        """Run until idle."""
        while not self.idle:
            self.step(feeders)

    def step(self, feeders: _Feeders) -> None:
        """One cycle: read all registers and edges, then write all registers."""
        a = self.a.to_east(feeders.west.at(self.cycle))
        active = a.fold >= 0
        ws = active & self.stationary[a.fold]
        os = active & ~ws
        first = a.step == 0

        # North: words move on, except weights in their own row, which rest until taken.
        home = (self.b.fold >= 0) & self.stationary[self.b.fold] & (self.b.step == self.row)
        leaving = _Words(np.where(home, -1, self.b.fold), self.b.step, self.b.data)
        b = leaving.to_south(feeders.north.at(self.cycle))
        taken = ws & first
        _check(~taken | (home & (self.b.fold == a.fold)), "weights are not there")
        _check(~os | ((b.fold == a.fold) & (b.step == a.step)), "operands do not match")
        resting = home & ~taken
        _check(~resting | (b.fold < 0), "weight register")
        weight = np.where(_over(taken, self.weight), self.b.data, self.weight)

        # The multiply-accumulate.
        passing = self.south.data.copy()
        passing[0] = self._partial_sums(a.fold[0], a.step[0], ws[0])
        matches = (self.south.fold == a.fold) & (self.south.step == a.step)
        _check(~ws[1:] | matches[1:], "partial sums do not match")
        growing = np.where(first[..., None], 0, self.total)
        factor = np.where(_over(os, weight), b.data, weight)
        total = np.where(ws[..., None], passing, growing) + (a.data * factor).sum(-1)
        self.last_mac[a.fold[active]] = self.cycle + 1
        np.add.at(self.multiplied, a.fold[active], self.lanes[a.fold[active]])

        # South: partial sums move on; finished sums are captured, and shifted out by columns.
        done = _Words(a.fold, np.where(os, self.row, a.step), total)
        captured = os & (a.step == self.steps[a.fold] - 1)
        shifted = self.draining & (self.shift_at == self.cycle)
        held = (self.south.fold >= 0) & ~self.stationary[self.south.fold] & ~shifted
        _check(~(ws & shifted), "wire to the south")
        wire = done.where(ws, self.south)
        wire.fold[~(ws | shifted)] = -1
        came = wire.to_south(self.nothing)
        arrived = came.fold >= 0
        _check(captured.astype(int) + arrived + held <= 1, "south register")
        south = done.where(captured, came.where(arrived, self.south))
        south.fold[~(captured | arrived | held)] = -1
        self._leave(_Words(wire.fold[-1], wire.step[-1], wire.data[-1]))

        # A column starts to shift when its bottom PE has captured.
        released = captured[-1]
        self.draining = (self.draining & held) | _behind(np.zeros_like(released), shifted)
        self.draining |= released & (south.fold == south.fold[-1])
        again = self.cycle + self.drain_interval[wire.fold[-1]]
        self.shift_at = np.where(shifted[-1], again, self.shift_at)
        self.shift_at = np.where(released, self.cycle + 1, self.shift_at)

        self.a = a
        self.b = self.b.where(resting, b)
        self.weight = weight
        self.total = np.where(os[..., None], total, self.total)
        self.south = south
        self.cycle += 1

    def _partial_sums(self, fold: Ints, step: Ints, active: Bools) -> Array:
        """What enters at the top: zero, or what the fold before left at the bottom."""
        sums = np.zeros_like(self.total[0])
        for number in _distinct(fold[active]):
            work = self.folds[number]
            if work.accumulates:
                lane = np.flatnonzero(active & (fold == number))
                result, at = self.results[work.run], (step[lane], work.column + lane)
                _check(result.writer[at] == number - 1, "partial sums have not left yet")
                sums[lane] = result.sums[at]
        return sums

    def _leave(self, edge: _Words) -> None:
        """The vector engine takes what the south edge presents, and is busy with it."""
        for number in _distinct(edge.fold[edge.fold >= 0]):
            work, lane = self.folds[number], np.flatnonzero(edge.fold == number)
            _check(self.port_free_at[lane] <= self.cycle, "vector engine")
            done = self.cycle + work.drain_interval
            result, at = self.results[work.run], (work.row + edge.step[lane], work.column + lane)
            result.sums[at] = edge.data[lane]
            result.writer[at] = number
            result.leaves[at] = done
            self.port_free_at[lane] = done
            self.drained[number] = done
            self.outstanding -= len(lane)

    def outcome(self, index: int, run: Run, starts: list[int]) -> Outcome:
        """Collect the results of one run."""
        result = self.results[index]
        mine = [number for number, fold in enumerate(self.folds) if fold.run == index]
        product, leaves = result.sums.transpose(2, 0, 1), result.leaves
        if run.dataflow == "is":
            product, leaves = product.swapaxes(1, 2), leaves.T
        m, n = run.a.shape[1], run.b.shape[2]
        return Outcome(
            product=product[:, :m, :n],
            leaves=leaves[:m, :n],
            starts=starts,
            last_mac=int(self.last_mac[mine].max()),
            drained=int(self.drained[mine].max()),
            multiplied=int(self.multiplied[mine].sum()),
        )


def _distinct(folds: Ints) -> set[int]:
    return {int(fold) for fold in folds}


def _check(fine: Bools, what: str) -> None:
    if not fine.all():
        raise Conflict(what)
