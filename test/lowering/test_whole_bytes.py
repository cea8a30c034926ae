"""Tiles of elements of less than a byte begin at bytes, whatever extents a schedule asks for."""

import ml_dtypes
import numpy as np
import pytest

from kpu_ir import Graph, Machine, Options
from kpu_ir.bench.workloads import kernels, outlined
from kpu_ir.lowering.schedule import ATTRIBUTE, Schedule
from kpu_ir.pipeline import lower
from kpu_ir.sim.program.plan import Fetch, Move, steps
from kpu_ir.sim.program.program import load_program
from kpu_ir.sim.time.transfers import runs
from kpu_ir.sim.values.values import run_program


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("blocks", [False, True])
def test_transfers_of_packed_weights_begin_at_bytes(blocks: bool, turned: bool) -> None:
    """Tiles of 33 columns are of 34, and so of odd parts of k where that is how rows of memory go."""
    k, n = 96, 70
    shape = (n, k) if turned else (k, n)
    weights = np.arange(k * n).reshape(shape) % 15 - 7
    graph = Graph()
    q = graph.constant(weights.astype(ml_dtypes.int4))
    if blocks:
        scale = np.ones((n, 3) if turned else (3, n), np.float16)
        w = graph.dequantize(q, scale, dtype=np.float16)
    else:
        w = graph.dequantize(q, np.ones(n, np.float16), dtype=np.float16, axis=0 if turned else 1)
    graph.output("y", graph.matmul(graph.input("x", (2, k), "f16"), w, transpose_b=turned))
    module, machine = outlined(graph.module()), Machine.preset("default")
    for name, func in kernels(module).items():
        if name.startswith("matmul"):
            tile = (1, 32, 33) if blocks else (2, 33, 31)
            func.attributes[ATTRIBUTE] = Schedule(tile=tile).to_attr()
    program = load_program(lower(module, machine, Options(search="none"))["dma"], machine)
    seen = 0
    for plan in program.plans:
        for step in steps(plan.body):
            if not isinstance(step, Fetch | Move):
                continue
            for run in runs(step):
                tensor = (
                    step.record.out.ring if isinstance(step, Fetch) else step.record.source.ring
                )
                if tensor.bits < 8:
                    seen += 1
                    assert run.offset % 8 == run.grain % 8 == 0
    assert seen >= 2
    x = np.ones((2, k), np.float16)
    exact = (weights.T if turned else weights).sum(0, keepdims=True).repeat(2, 0)
    (found,) = run_program(program, {"x": x}).values()
    np.testing.assert_array_equal(found, exact)
