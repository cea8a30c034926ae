"""The duration formulas of the array equal a register-level model of it, cycle for cycle.

SCALE-Sim 3.0.0 is compared twice: its published event counts always, and the program itself when
``KPU_SCALESIM_PYTHON`` names a Python that has it. It wants an older NumPy, so:

    python -m venv /tmp/scalesim && /tmp/scalesim/bin/pip install scalesim==3.0.0 'numpy<2.4'
    KPU_SCALESIM_PYTHON=/tmp/scalesim/bin/python pytest test/sim/test_array_model.py
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from draws import drawing
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from kpu_ir.machine import Machine
from kpu_ir.sim.time.array_model import Outcome, Run, simulate
from kpu_ir.sim.time.array_timing import ArrayTime, Dataflow, array_time, held_back

DATAFLOWS: tuple[Dataflow, ...] = ("os", "ws", "is")
side = st.integers(1, 5)
size = st.integers(1, 9)
# A name that hypothesis prints better than arrays: dataflow, m, k, n, macs_per_pe, drain_interval.
Shape = tuple[Dataflow, int, int, int, int, int]
shape = st.tuples(
    st.sampled_from(DATAFLOWS),
    size,
    size,
    size,
    st.sampled_from((1, 1, 2, 4, 8)),
    st.integers(1, 3),
)


def numbers(batch: int, rows: int, columns: int, dtype: str = "int64") -> NDArray[Any]:
    """Whole numbers, different in every place, whose sums are exact in f32."""
    return (
        (np.arange(batch * rows * columns) * 37 % 101 - 50)
        .reshape(batch, rows, columns)
        .astype(dtype)
    )


def run_of(work: Shape, batch: int = 1, dtype: str = "int64") -> Run:
    """A run with operands."""
    dataflow, m, k, n, g, d = work
    return Run(dataflow, numbers(batch, m, k, dtype), numbers(batch, k, n, dtype), g, d)


def time_of(work: Shape, rows: int, columns: int, chained: bool = True) -> ArrayTime:
    """The formulas' answer."""
    dataflow, m, k, n, g, d = work
    return array_time(
        dataflow, rows, columns, m, k, n, macs_per_pe=g, chained=chained, drain_interval=d
    )


def leaves_of(work: Shape, rows: int, columns: int, time: ArrayTime) -> NDArray[np.int64]:
    """When each result leaves: os from the bottom row up, ws in the order of the stream.

    Folds go down the result (os) or along k (ws) first, then to the right; is is ws transposed.
    """
    dataflow, m, _, n, _, d = work
    if dataflow == "is":
        m, n = n, m
    row, column = np.indices((m, n))
    down = time.folds // -(-n // columns)
    if dataflow == "os":
        fold = column // columns * down + row // rows
        first = time.stream + rows - 1 + (rows - row % rows) * d
    else:
        fold = (column // columns + 1) * down - 1
        first = 2 * rows - 1 + (row + 1) * d
    leaves = fold * time.interval + first + column % columns
    return leaves.T if dataflow == "is" else leaves


def assert_equal(work: Shape, side: tuple[int, int], out: Outcome, time: ArrayTime, t: int) -> None:
    """Every cycle that the model measured is what the formulas say, after a start in cycle t."""
    assert out.starts == [t + fold * time.interval for fold in range(time.folds)]
    assert out.last_mac == t + time.last_mac
    assert out.drained == t + time.latency
    assert np.array_equal(out.leaves, t + leaves_of(work, *side, time))


@drawing(30)
@given(
    rows=side,
    columns=side,
    work=shape,
    chained=st.booleans(),
    batch=st.integers(1, 3),
    dtype=st.sampled_from(("int64", "float32", "float64")),
)
def test_products_and_cycles_of_one_run(
    rows: int, columns: int, work: Shape, chained: bool, batch: int, dtype: str
) -> None:
    """Any dataflow, array, shape, packing, drain rate and switch: exact values, exact times."""
    run = run_of(work, batch, dtype)
    (outcome,) = simulate(rows, columns, [run], chained=chained)
    assert np.array_equal(outcome.product, run.a @ run.b)
    assert outcome.product.dtype == dtype
    time = time_of(work, rows, columns, chained)
    assert_equal(work, (rows, columns), outcome, time, 0)


# -- packed PEs -------------------------------------------------------------------------------------

I8, U8, I4, U4 = (np.dtype(t) for t in (np.int8, np.uint8, ml_dtypes.int4, ml_dtypes.uint4))
F8: tuple[np.dtype[Any], ...] = tuple(
    np.dtype(t) for t in (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)
)
F16, BF16 = np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)
MACS = Machine.preset("default").fabric.macs
PAIRS: dict[tuple[np.dtype[Any], ...], int] = {
    (I8, I8): MACS["i8"], (U8, I8): MACS["i8"], (U8, U8): MACS["i8"],
    (I4, I4): MACS["i4"], (U4, I4): MACS["i4"], (F8[0], F8[0]): MACS["f8"],
    (F8[0], F8[1]): MACS["f8"], (F16, F16): MACS["f16"], (BF16, BF16): MACS["bf16"],
    # of two widths: at the rate of the wider type
    (I8, I4): MACS["i8"], (U4, U8): MACS["i8"], (F16, I8): MACS["f16"], (F16, I4): MACS["f16"],
    (BF16, U8): MACS["bf16"],
}  # fmt: skip
"""Types of both operands, and how many of them a PE takes in one cycle."""


def any_of(kind: np.dtype[Any], shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    """Integers of all of a type's range; of a type of floats, whole numbers that it holds."""
    low, high = -8, 8
    if kind in (I8, U8, I4, U4):
        low, high = int(ml_dtypes.iinfo(kind).min), int(ml_dtypes.iinfo(kind).max)
    return np.random.default_rng(seed).integers(low, high + 1, shape).astype(kind)


def padded(dataflow: Dataflow, sides: tuple[int, int], m: int, k: int, n: int, g: int) -> int:
    """The multiplications of a product whose extents are whole words of k, and whole folds."""
    rows, columns = sides

    def up(extent: int, unit: int) -> int:
        return -(-extent // unit) * unit

    match dataflow:
        case "os":
            return up(m, rows) * up(n, columns) * up(k, g)
        case "ws":
            return m * up(n, columns) * up(k, rows * g)
        case "is":
            return up(m, columns) * n * up(k, rows * g)


@drawing(12)
@given(
    sides=st.tuples(side, side),
    dataflow=st.sampled_from(DATAFLOWS),
    m=size,
    k=st.integers(1, 40),
    n=size,
    kinds=st.sampled_from(list(PAIRS)),
    d=st.integers(1, 2),
    chained=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_packed_array_is_exact(
    sides: tuple[int, int],
    dataflow: Dataflow,
    m: int,
    k: int,
    n: int,
    kinds: tuple[np.dtype[Any], ...],
    d: int,
    chained: bool,
    seed: int,
) -> None:
    """Words of 2, 4 or 8 neighbours along k, whole or not: exact values, exact times, and every lane
    of the last word is charged.
    """
    g, whole = PAIRS[kinds], kinds[0] in (I8, U8, I4, U4)
    sums = np.int32 if whole else np.float32
    a, b = any_of(kinds[0], (2, m, k), seed), any_of(kinds[1], (2, k, n), seed + 1)
    (outcome,) = simulate(*sides, [Run(dataflow, a, b, g, d, sums)], chained=chained)
    assert outcome.product.dtype == sums
    assert np.array_equal(outcome.product, a.astype(np.int64) @ b.astype(np.int64))
    work: Shape = (dataflow, m, k, n, g, d)
    time = time_of(work, *sides, chained)
    assert_equal(work, sides, outcome, time, 0)
    assert outcome.multiplied == padded(dataflow, sides, m, k, n, g) >= m * k * n
    assert outcome.multiplied == time.folds * time.stream * sides[0] * sides[1] * g


@pytest.mark.parametrize(("dataflow", "g"), [("os", 8), ("ws", 4), ("is", 2), ("os", 1)])
def test_a_word_is_charged_whole(dataflow: Dataflow, g: int) -> None:
    """The cycles of every k up to three words and one more are those of whole words: a step each
    (``os``), or a fold for each 2 of them, which 2 rows of PEs hold."""
    steps: list[int] = []
    for k in range(1, 3 * g + 2):
        run = Run(dataflow, numbers(1, 2, k), numbers(1, k, 3), g)
        (outcome,) = simulate(2, 3, [run])
        assert np.array_equal(outcome.product, run.a @ run.b)
        steps.append(outcome.drained)
    words = [-(-k // g) for k in range(1, 3 * g + 2)]
    one = array_time(dataflow, 2, 3, 2, 1, 3)
    if dataflow == "os":
        assert steps == [one.latency + w - 1 for w in words]
    else:
        assert steps == [one.latency + (-(-w // 2) - 1) * one.interval for w in words]


@drawing(20)
@given(
    rows=side,
    columns=side,
    queue=st.lists(st.tuples(shape, st.just(0) | st.integers(0, 150)), min_size=2, max_size=4),
    chained=st.booleans(),
)
def test_runs_follow_each_other_after_gap_before(
    rows: int, columns: int, queue: list[tuple[Shape, int]], chained: bool
) -> None:
    """Runs of any shapes and dataflows, some with late operands, one after the other.

    The model starts each fold as soon as nothing collides: so ``gap_before`` is the least distance,
    any larger one is as good, and looking at the run just before is enough.
    """
    runs = [run_of(work) for work, _ in queue]
    not_before = [late for _, late in queue]
    outcomes = simulate(rows, columns, runs, chained=chained, not_before=not_before)
    start, before = 0, None
    for (work, late), run, outcome in zip(queue, runs, outcomes, strict=True):
        time = time_of(work, rows, columns, chained)
        start = late if before is None else max(late, start + before.gap_before(time))
        assert np.array_equal(outcome.product, run.a @ run.b)
        assert_equal(work, (rows, columns), outcome, time, start)
        before = time


@given(rows=side, columns=side, first=shape, second=shape, chained=st.booleans())
def test_occupancy_is_enough_but_for_short_runs(
    rows: int, columns: int, first: Shape, second: Shape, chained: bool
) -> None:
    """Exact for equal runs and for ws and is; for os enough unless a short run follows a long one.

    A change of dataflow needs no more than the drain.
    """
    time, following = (time_of(work, rows, columns, chained) for work in (first, second))
    gap, drain = time.gap_before(following), rows * first[5]
    assert time.gap_before(time) == time.occupancy
    assert gap <= time.latency
    if not chained:
        assert gap == time.occupancy == time.latency
    elif first[0] == second[0] == "os":
        late = max(0, drain - following.stream)
        assert gap == time.occupancy - time.interval + time.stream + late
        assert (gap > time.occupancy) == (following.stream < min(time.stream, drain))
    elif first[0] != "os" and second[0] != "os":
        assert gap == time.occupancy


def test_a_short_run_waits_for_the_long_drain_before_it() -> None:
    """Where occupancy alone would collide: k = 1 after k = 8 on 4 rows, 11 cycles and not 8."""
    works: list[Shape] = [("os", 4, 8, 4, 1, 1), ("os", 4, 1, 4, 1, 1)]
    outcomes = simulate(4, 4, [run_of(work) for work in works])
    assert [outcome.starts for outcome in outcomes] == [[0], [11]]
    assert time_of(works[0], 4, 4).occupancy == 8


@given(
    dataflow=st.sampled_from(DATAFLOWS),
    rows=side,
    columns=side,
    m=size,
    k=size,
    n=size,
    g=st.integers(1, 4),
    d=st.integers(1, 3),
)
def test_formulas_as_published(
    dataflow: Dataflow, rows: int, columns: int, m: int, k: int, n: int, g: int, d: int
) -> None:
    """The formulas of the issue and of ISPASS'20, word for word, and the bound of the peak."""
    time = time_of((dataflow, m, k, n, g, 1), rows, columns)
    folds, stream = time.folds, time.stream
    one_fold = stream + 2 * rows + columns - 2
    assert time.latency == (folds - 1) * max(stream, rows) + one_fold
    assert time_of((dataflow, m, k, n, g, 1), rows, columns, chained=False).latency == (
        folds * one_fold
    )
    slow = time_of((dataflow, m, k, n, g, d), rows, columns)
    assert slow.occupancy * rows * columns * g >= m * k * n
    assert slow.latency >= time.latency


@drawing(20)
@given(
    rows=side,
    columns=side,
    dataflow=st.sampled_from(DATAFLOWS),
    folds=st.integers(1, 4),
    stream=size,
    d=st.integers(1, 3),
    cycles=st.integers(1, 60),
    chained=st.booleans(),
)
def test_operands_that_come_late(
    rows: int,
    columns: int,
    dataflow: Dataflow,
    folds: int,
    stream: int,
    d: int,
    cycles: int,
    chained: bool,
) -> None:
    """Each fold waits for its share, which streamers bring at an even rate in ``cycles``."""
    shapes: dict[Dataflow, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
        "os": ((rows, stream, columns), (folds * rows, stream, columns)),
        "ws": ((stream, rows, columns), (stream, rows, folds * columns)),
        "is": ((columns, rows, stream), (folds * columns, rows, stream)),
    }
    one: Shape = (dataflow, *shapes[dataflow][0], 1, d)
    all_: Shape = (dataflow, *shapes[dataflow][1], 1, d)
    time = time_of(all_, rows, columns, chained)
    there = [-(-cycles * (fold + 1) // folds) for fold in range(folds)]
    outcomes = simulate(
        rows,
        columns,
        [run_of(one) for _ in there],
        chained=chained,
        not_before=[max(0, cycle - time.entered) for cycle in there],
    )
    late = held_back(cycles, folds, time.entered, time.last_operand)
    assert outcomes[-1].drained == time.latency + late
    assert late >= 0
    # Whatever else limits: folds that overlap are no slower.
    if chained:
        apart = time_of(all_, rows, columns, False)
        other = held_back(cycles, folds, apart.entered, apart.last_operand)
        assert time.latency + late <= apart.latency + other


def test_when_each_result_leaves() -> None:
    """Rows from the bottom up (os) or in the order of the stream, columns skewed by a cycle."""
    works: list[Shape] = [
        ("os", 2, 2, 3, 1, 1),
        ("ws", 2, 2, 3, 1, 1),
        ("os", 2, 2, 3, 1, 2),
        ("ws", 2, 2, 3, 1, 2),
    ]
    outcomes = [simulate(2, 3, [run_of(work)])[0] for work in works]
    assert [outcome.leaves.tolist() for outcome in outcomes] == [
        [[5, 6, 7], [4, 5, 6]],
        [[4, 5, 6], [5, 6, 7]],
        [[7, 8, 9], [5, 6, 7]],
        [[5, 6, 7], [7, 8, 9]],
    ]


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_default_array(dataflow: Dataflow) -> None:
    """The 16 x 16 array of the default machine, two tiles of 40 x 50 x 60 at once."""
    work: Shape = (dataflow, 40, 50, 60, 1, 1)
    run = run_of(work, batch=2, dtype="float32")
    (outcome,) = simulate(16, 16, [run])
    assert np.array_equal(outcome.product, run.a @ run.b)
    assert_equal(work, (16, 16), outcome, time_of(work, 16, 16), 0)


def test_nonsense_is_refused() -> None:
    """There is no array without rows."""
    with pytest.raises(ValueError, match="at least 1"):
        array_time("os", 0, 4, 1, 1, 1)


# --- SCALE-Sim -----------------------------------------------------------------------------------


def scalesim_lines(dataflow: Dataflow, rows: int, columns: int, m: int, k: int, n: int) -> int:
    """SCALE-Sim 3.0.0's lines of result events for one fold, by what each part stands for.

    A fold is a matrix of events, a line for each cycle, a column for each array column. It begins
    with empty lines (os: the steps of the stream but one; ws and is: twice the rows but one, to
    load weights and to pass down), then has a line for each row of results (os: every row of the
    array; ws and is: every step of the stream), and skewing adds a line for each further column.
    """
    stream = {"os": k, "ws": m, "is": n}[dataflow]
    empty, results = (stream - 1, rows) if dataflow == "os" else (2 * rows - 1, stream)
    return empty + results + columns - 1


def assert_scalesim(work: Shape, rows: int, columns: int, total: int, lines: int) -> None:
    """Folds do not overlap in SCALE-Sim, and its total is the index of its last line."""
    time = time_of(work, rows, columns, chained=False)
    assert total == lines - 1
    if work[0] == "os":  # the drain is left out: results are written while they are summed
        one_fold = time_of((*work[:4], 1, 1), rows, columns).last_mac
        one_fold -= (time.folds - 1) * time_of(work, rows, columns).interval
        assert lines == time.folds * one_fold
    else:
        assert lines == time.latency


@given(dataflow=st.sampled_from(DATAFLOWS), rows=side, columns=side, m=size, k=size, n=size)
def test_scalesim_formula(
    dataflow: Dataflow, rows: int, columns: int, m: int, k: int, n: int
) -> None:
    """Folds x lines - 1 is its total: ours for ws and is, our time to the last MAC for os."""
    work: Shape = (dataflow, m, k, n, 1, 1)
    lines = time_of(work, rows, columns).folds * scalesim_lines(dataflow, rows, columns, m, k, n)
    assert_scalesim(work, rows, columns, lines - 1, lines)


SCALESIM_CONFIG = """[general]
run_name = x
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {columns}
IfmapSramSzkB = 1024
FilterSramSzkB = 1024
OfmapSramSzkB = 1024
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Dataflow = {dataflow}
ReadRequestBuffer = 512
WriteRequestBuffer = 512
[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterCustomLayout = False
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
"""
SCALESIM_PROGRAM = """
import contextlib, json, sys
from scalesim.scale_sim import scalesim
with contextlib.redirect_stdout(sys.stderr):
    sim = scalesim(True, False, "run.cfg", "gemm.csv", "layout.csv", input_type_gemm=True)
    sim.run_scale(".")
    layer = sim.runner.single_layer_sim_object_list[0]
    lines = layer.compute_system.get_ofmap_demand_mat().shape[0]
print(json.dumps([int(layer.total_cycles), int(lines)]))
"""


@pytest.mark.skipif(
    "KPU_SCALESIM_PYTHON" not in os.environ,
    reason="KPU_SCALESIM_PYTHON does not name a Python with scalesim 3.0.0",
)
@pytest.mark.parametrize("dataflow", DATAFLOWS)
@pytest.mark.parametrize(
    ("rows", "columns", "m", "k", "n"),
    [(4, 3, 5, 7, 8), (4, 4, 3, 6, 4), (2, 5, 9, 4, 11), (16, 16, 40, 50, 60)],
)
def test_scalesim_itself(
    tmp_path: Path, dataflow: Dataflow, rows: int, columns: int, m: int, k: int, n: int
) -> None:
    """The program, with its memories out of the way (they hold all, at the bandwidth it asks)."""
    config = SCALESIM_CONFIG.format(rows=rows, columns=columns, dataflow=dataflow)
    (tmp_path / "run.cfg").write_text(config)
    (tmp_path / "gemm.csv").write_text(f"Layer,M,N,K,\nx,{m},{n},{k},\n")
    (tmp_path / "layout.csv").write_text("Layer,\nx," + "1," * 20 + "\n")
    out = subprocess.run(
        [os.environ["KPU_SCALESIM_PYTHON"], "-c", SCALESIM_PROGRAM],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    total, lines = json.loads(out)
    folds = time_of((dataflow, m, k, n, 1, 1), rows, columns).folds
    assert lines == folds * scalesim_lines(dataflow, rows, columns, m, k, n)
    assert_scalesim((dataflow, m, k, n, 1, 1), rows, columns, total, lines)
