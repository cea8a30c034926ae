"""Weights in blocks along k, each with a scale: one nest, equal at all levels to what
docs/quantization.md says, and in time to the independent model."""

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
from draws import drawing
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from independent_model import Model

from kpu_ir import Graph, Machine, Options
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.interpreters.tile import evaluate_tile
from kpu_ir.lowering.kernel_to_tile import recognise
from kpu_ir.lowering.schedule import ATTRIBUTE
from kpu_ir.pipeline import kernel_stages, lower
from kpu_ir.sim.program.coverage import check_coverage
from kpu_ir.sim.program.program import load_program
from kpu_ir.sim.time.model import time_program
from kpu_ir.sim.values.values import run_program
from kpu_ir.support.errors import KpuError

TYPES = {"i4": ml_dtypes.int4, "ui4": ml_dtypes.uint4, "i8": np.dtype(np.int8)}
RANGES = {"i4": (-8, 8), "ui4": (0, 16), "i8": (-128, 128)}


ODD = [
    "fabric.rows=8", "fabric.columns=24", "fabric.chained=false", "vector.lanes=8", "streamer.converts=false",
    "streamer.bytes_per_cycle=24", "vector.initiation_interval.cast=0", "l2.banks=3", "control.issue=7",
]  # fmt: skip
"""Odd machines."""


def product(draw: Any) -> tuple[Graph, dict[str, Any], Any, float]:
    """A product by weights in blocks; its inputs, its result in f64, and what roundings are relative to:
    the largest sum of magnitudes."""
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    real = draw(st.sampled_from([np.float16, np.float32]))
    whole, flip = real is np.float32 and draw(st.booleans()), draw(st.booleans())
    block, blocks = draw(st.sampled_from([8, 16, 32, 48, 64, 128, 256])), draw(st.integers(2, 9))
    k, n, rows = block * blocks, draw(st.integers(1, 70)), draw(st.sampled_from([1, 1, 2, 5, 16]))
    kind = draw(st.sampled_from(list(TYPES)))
    stored = rng.integers(*RANGES[kind], (k, n))
    scale = (rng.random((blocks, n)) * 0.1).astype(draw(st.sampled_from([np.float16, np.float32])))
    points = draw(st.sampled_from(["none", "one", "each"]))
    zero = np.zeros((blocks, n), int)
    if points != "none":
        zero[:] = rng.integers(*RANGES[kind], () if points == "one" else (blocks, n))
    exact = (stored - zero.repeat(block, 0)) * scale.astype(np.float64).repeat(block, 0)
    x = rng.standard_normal((rows, k)).astype(real)
    g = Graph()
    a = g.input("x", x.shape, "f16" if real is np.float16 else "f32")
    if whole:
        step = g.map(lambda v: v * (1 / 127), g.reduce("max", abs(a), [1]))
        a = g.dequantize(g.quantize(a, step), step)
    turned = (lambda v: np.ascontiguousarray(v.T)) if flip else (lambda v: v)
    point = None if points == "none" else turned(zero).astype(TYPES[kind])
    w = g.dequantize(g.constant(turned(stored).astype(TYPES[kind])), turned(scale), point, real)
    g.output("y", g.matmul(a, w, transpose_b=flip))
    left = x.astype(np.float64)
    if whole:
        steps = np.abs(x).max(1, keepdims=True) * np.float32(1 / 127)
        left = np.rint(x / steps).astype(np.float64) * steps
    return g, {"x": x}, left @ exact, (np.abs(left) @ np.abs(exact)).max()


SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@drawing(6, suppress_health_check=SLOW, phases=[Phase.generate])
@given(st.data())
def test_levels_and_models_agree(data):
    draw = data.draw
    graph, given_x, exact, size = product(draw)
    machine = Machine.preset(draw(st.sampled_from(["default", "ideal", "large", "minimal"])))
    machine = machine.with_settings(draw(st.lists(st.sampled_from(ODD), max_size=2, unique=True)))
    module = graph.module()
    source = module.clone()
    for stage in kernel_stages("epilogue"):
        stage.apply(None, module)
    kinds = []
    for func in module.ops:
        if func.sym_name.data == "main":
            continue
        cut = recognise(func)
        kinds.append(cut.kind)
        if cut.kind == "scaled-blocks":
            space = cut.candidates(machine)
            chosen = space[draw(st.integers(0, len(space) - 1))].schedule
            b, _, n, _ = cut.extents
            if draw(st.booleans()):
                tile = (draw(st.integers(1, b)), chosen.tile[1], draw(st.integers(1, n)))
                chosen = replace(chosen, tile=tile, defer=draw(st.integers(0, 3)))
            func.attributes[ATTRIBUTE] = chosen.to_attr()
    # What goes through the array at once is one product, and a sum of few rows.
    assert kinds.count("scaled-blocks") == 1 or given_x["x"].shape[1] <= 64
    try:
        stages = lower(module, machine, Options(search="none"))
    except KpuError as e:
        if "need" not in e.message:
            raise
        return
    program = load_program(stages["dma"], machine)
    check_coverage(program)
    arrays = [given_x[p.name] for p in program.inputs]
    found = [evaluate(source, given_x)[0], evaluate_tile(stages["tile"], arrays)[0]]
    for stepped in (True, False):
        found += run_program(program, given_x, stepped=stepped).values()
    # Weights and results in f16 are rounded by 2^-11; sums in f32, in whatever order, by some 2^-24.
    bound = size * (2.0**-10 if found[0].dtype == np.float16 else 2.0**-20)
    for value in found:
        np.testing.assert_allclose(value, exact, rtol=0, atol=bound)
    np.testing.assert_allclose(found[2], found[1], rtol=0, atol=bound / 4)
    ours, theirs = time_program(program), Model(stages["dma"], machine.to_dict()).run()
    assert (theirs.cycles, theirs.counts) == (
        ours.cycles,
        {k: n for k, n in ours.counts.items() if n},
    )
    assert time_program(program, fast_forward=False).cycles == ours.cycles
