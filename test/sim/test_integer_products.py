"""Products of short integers, and of floats by them, are NumPy's, bit for bit: shapes, signs, widths and schedules drawn, at all levels.

What stands around a quantized image is its zero point, not 0.
"""

from typing import Any

import ml_dtypes
import numpy as np
from draws import drawing
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

import kpu_ir
from kpu_ir import Graph, Machine
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.interpreters.tile import evaluate_tile
from kpu_ir.pipeline import kernel_stages
from kpu_ir.sim.values.values import run_program
from kpu_ir.support.types import element_type_named

from ..lowering.test_kernel_plan import KINDS
from .scheduled import lowered

DRAWS = drawing(12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
SHORT: list[Any] = [np.int8, np.uint8, np.int8, np.uint8, ml_dtypes.int4, ml_dtypes.uint4]
SHORT_FLOATS: list[Any] = [np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn]
I32 = element_type_named("i32")


def drawn(dtype: Any, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Numbers of all of a type's range, its ends often."""
    low, high = ml_dtypes.iinfo(dtype).min, ml_dtypes.iinfo(dtype).max
    values = rng.integers(low, high + 1, shape)
    return np.where(rng.random(shape) < 0.2, rng.choice([low, high], shape), values).astype(dtype)


def product(draw: Any, rng: np.random.Generator) -> tuple[Graph, dict[str, Any], np.ndarray]:
    """A product of matrices, one for each of a batch or one for all."""
    m, n, k = draw(st.integers(1, 40)), draw(st.integers(1, 40)), draw(st.integers(1, 300))
    batch = (draw(st.integers(2, 3)),) if draw(st.booleans()) else ()
    shared = bool(batch) and draw(st.booleans())
    of_a, of_b = draw(st.sampled_from(SHORT)), draw(st.sampled_from(SHORT))
    turned, real = draw(st.booleans()), draw(st.sampled_from([None, None, np.float16, np.float32]))
    a = drawn(of_a, (*batch, m, k), rng)
    if real is not None:  # whole floats, whose sums f32 holds: by weights that are widened
        of_a, a = real, (a.astype(np.int32) % 16).astype(real)
    b = drawn(of_b, ((), batch)[not shared] + ((n, k) if turned else (k, n)), rng)
    if real is np.float32 and draw(st.booleans()):  # two floats, the shorter one widened
        b = (b.astype(np.int32) % 16).astype(draw(st.sampled_from(SHORT_FLOATS)))
    g = Graph()
    sums = np.int32 if real is None else np.float32
    y = g.matmul(g.input("x", a.shape, of_a), g.constant(b), transpose_b=turned, dtype=sums)
    g.output("y", y)
    wide = b.astype(np.int64)
    return g, {"x": a}, a.astype(np.int64) @ (wide.swapaxes(-1, -2) if turned else wide)


def convolution(draw: Any, rng: np.random.Generator) -> tuple[Graph, dict[str, Any], np.ndarray]:
    """A convolution, of all channels, of groups or of each, around which its zero point stands."""
    c, out = draw(st.integers(1, 20)), draw(st.integers(1, 5))
    groups = draw(st.sampled_from([1, c]))
    of_x, of_w = draw(st.sampled_from(SHORT)), draw(st.sampled_from(SHORT))
    taps, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    size = (draw(st.integers(3, 12)), draw(st.integers(3, 12)))
    low, high = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    info = ml_dtypes.iinfo(of_x)
    fill = draw(st.sampled_from([0, int(info.min), int(info.max), 3]))
    x, w = (
        drawn(of_x, (1, c, *size), rng),
        drawn(of_w, (groups * out, c // groups, taps, taps), rng),
    )
    g = Graph()
    given = {"strides": (stride,) * 2, "low": (low,) * 2, "high": (high,) * 2, "groups": groups}
    y = g.conv(g.input("x", x.shape, of_x), g.constant(w), **given, fill=fill, element_type=I32)
    g.output("y", y)
    around = ((0, 0), (0, 0), (low, high), (low, high))
    padded = np.pad(x.astype(np.int64), around, constant_values=fill)
    seen = np.lib.stride_tricks.sliding_window_view(padded, (taps, taps), axis=(2, 3))
    seen = seen[:, :, ::stride, ::stride]
    parts = [
        np.einsum("ncyxij,ocij->noyx", part, filters.astype(np.int64))
        for part, filters in zip(np.split(seen, groups, 1), np.split(w, groups, 0), strict=True)
    ]
    return g, {"x": x}, np.concatenate(parts, 1)


@DRAWS
@given(st.data())
def test_products_are_exact(data):
    draw, rng = data.draw, np.random.default_rng(data.draw(st.integers(0, 999)))
    graph, inputs, exact = draw(st.sampled_from([product, convolution]))(draw, rng)
    machine: Machine = KINDS[draw(st.sampled_from(sorted(KINDS)))]
    (reference,) = evaluate(graph.module(), inputs)
    np.testing.assert_array_equal(reference, exact)
    module = graph.module()
    for stage in kernel_stages("epilogue"):
        stage.apply(None, module)
    found = lowered(draw, module, machine, scheduled=draw(st.booleans()))
    if found is None:
        return
    levels, program = found
    for stepped in (False, True):
        np.testing.assert_array_equal(run_program(program, inputs, stepped=stepped)["y"], exact)
    (tiled,) = evaluate_tile(levels["tile"], [inputs["x"]])
    np.testing.assert_array_equal(tiled, exact)


def test_floats_of_a_byte_at_the_rate_of_bytes():
    """Of one kind or of two, added up in f32; on the array as fast as i8."""
    rng = np.random.default_rng(0)
    kinds: list[Any] = [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]
    a, b = rng.integers(-4, 5, (40, 96)), rng.integers(-4, 5, (96, 24))
    cycles: list[int] = []
    for of_a, of_b, sums in (
        (kinds[0], kinds[0], np.float32),
        (kinds[0], kinds[1], np.float32),
        (np.int8, np.int8, np.int32),
    ):
        g = Graph()
        y = g.matmul(g.input("x", a.shape, of_a), g.constant(b.astype(of_b)), dtype=sums)
        g.output("y", y)
        program = kpu_ir.compile(g, search="none")
        np.testing.assert_array_equal(program(x=a.astype(of_a))["y"], a @ b)
        cycles.append(program.cycles)
    assert cycles[0] == cycles[1] == cycles[2]
