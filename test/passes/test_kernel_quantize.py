"""What ``kernel-quantize`` makes of dequantize, product and quantize: onnxruntime's integer kernels, bit for bit.

The sum is exact, times f32((sa sb) / sy), half to even, then the zero point, then saturation
(NumPy, from docs/quantization.md; not from the pass).
"""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from draws import drawing
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

import kpu_ir
from kpu_ir import Graph
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.report.summary import summarise

DRAWS = drawing(8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def requantized(sums: Any, factor: Any, zero: int, dtype: Any, low: int) -> np.ndarray:
    """The rule."""
    info = np.iinfo(dtype)
    whole = np.rint(sums.astype(np.float32) * factor.astype(np.float32)) + np.float32(zero)
    return np.clip(whole, max(info.min, low), info.max).astype(dtype)


@DRAWS
@given(st.data())
def test_a_product_between_dequantize_and_quantize(data):
    draw, rng = data.draw, np.random.default_rng(data.draw(st.integers(0, 999)))
    of_x, of_w = (draw(st.sampled_from([np.int8, np.uint8])) for _ in range(2))
    conv, relu, biased = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    per_column, out = draw(st.booleans()), draw(st.integers(1, 20))

    def numbers(dtype: Any, *shape: int) -> np.ndarray:
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max + 1, shape).astype(dtype)

    def point(dtype: Any) -> int:
        return int(draw(st.sampled_from([np.iinfo(dtype).min, 0, 3, np.iinfo(dtype).max])))

    zx, zw, zy = point(of_x), 0 if conv else point(of_w), point(of_x)
    sx, sy = np.float32(0.037), np.float32(draw(st.sampled_from([0.11, 0.5, 2.7])))
    sw = (rng.random(out) * 0.02 + 0.01).astype(np.float32) if per_column else np.float32(0.0171)
    g = Graph()
    if conv:
        c = draw(st.integers(1, 5))
        q, w, axis, per = numbers(of_x, 1, c, 6, 7), numbers(of_w, out, c, 3, 3), 0, (1, -1, 1, 1)
        x = g.dequantize(g.input("q", q.shape, of_x), sx, zx)
        y = g.conv(x, g.dequantize(g.constant(w), sw, axis=axis), low=(1, 1), high=(1, 1))
        padded = np.pad(q.astype(np.int64) - zx, ((0, 0), (0, 0), (1, 1), (1, 1)))
        seen = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        sums = np.einsum("ncyxij,ocij->noyx", seen, w.astype(np.int64))
    else:
        m, k = draw(st.integers(1, 9)), draw(st.integers(1, 60))
        q, w, axis, per = numbers(of_x, m, k), numbers(of_w, k, out), 1, (1, -1)
        x = g.dequantize(g.input("q", q.shape, of_x), sx, zx)
        zero = zw if zw or draw(st.booleans()) else None
        y = x @ g.dequantize(g.constant(w), sw, zero, axis=axis)
        sums = (q.astype(np.int64) - zx) @ (w.astype(np.int64) - zw)
    scale = (sx * sw).astype(np.float32)
    if biased:
        bias = rng.integers(-3000, 3000, out).astype(np.int32)
        y = y + g.reshape(
            g.dequantize(g.constant(bias), np.broadcast_to(scale, (out,)), axis=0), per
        )
        sums = sums + bias.reshape(per)
    y = y.relu() if relu else y
    g.output("y", g.quantize(y, sy, zy, of_x))
    factor = np.broadcast_to(scale / sy, (out,)).reshape(per)
    exact = requantized(sums, factor, zy, of_x, zy if relu else -999)
    program = kpu_ir.compile(g, search="none")
    counts = program.time().counts
    assert counts.get("macs.i8", 0) + counts.get("vector_macs.i8", 0)
    assert not counts.get("macs.f32", 0)
    np.testing.assert_array_equal(program(q=q)["y"], exact)
    # In floats the same numbers come out, but for ties and roundings of the scales: a step at most.
    floats = kpu_ir.compile(g, search="none", quantize="off")
    assert not floats.time().counts.get("macs.i8", 0)
    apart = np.abs(floats(q=q)["y"].astype(int) - exact.astype(int))
    assert apart.max() <= 1
    (reference,) = evaluate(g.module(), {"q": q})
    assert np.abs(reference.astype(int) - exact.astype(int)).max() <= 1


@DRAWS
@given(st.data())
def test_a_product_of_dequantized_floats_of_8_bits(data):
    """It runs on the stored floats, at their rate; the sum in f32 is scaled once."""
    draw, rng = data.draw, np.random.default_rng(data.draw(st.integers(0, 999)))
    of_x, of_w = (
        draw(st.sampled_from([ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2])) for _ in range(2)
    )
    conv, of_rows, out = draw(st.booleans()), draw(st.booleans()), draw(st.integers(1, 20))
    scale = (rng.random(out) * 0.2 + 0.1).astype(np.float32)
    g = Graph()
    if conv:
        c = draw(st.integers(1, 5))
        q = rng.standard_normal((1, c, 6, 7)).astype(of_x)
        w = rng.standard_normal((out, c, 3, 3)).astype(of_w)
        x = g.dequantize(g.input("q", q.shape, of_x), np.float32(0.37))
        y = g.conv(x, g.dequantize(g.constant(w), scale, axis=0), low=(1, 1), high=(1, 1))
        padded = np.pad(q.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
        seen = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        exact = np.einsum("ncyxij,ocij->noyx", seen, w.astype(np.float64)) * 0.37
        most = np.einsum("ncyxij,ocij->noyx", abs(seen), abs(w.astype(np.float64))) * 0.37
        exact, most, k = exact * scale.reshape(-1, 1, 1), most * scale.reshape(-1, 1, 1), 9 * c
    else:
        m, k = draw(st.integers(1, 9)), draw(st.integers(1, 60))
        q, w = rng.standard_normal((m, k)).astype(of_x), rng.standard_normal((k, out)).astype(of_w)
        rows = (rng.random(m) + 0.1).astype(np.float32) if of_rows else np.float32(0.37)
        x = g.dequantize(g.input("q", q.shape, of_x), rows, axis=0)
        y = x @ g.dequantize(g.constant(w), scale, axis=1)
        left, right = q.astype(np.float64), w.astype(np.float64)
        factor = (np.float64(1) * rows).reshape(-1, 1) * scale
        exact, most = left @ right * factor, abs(left) @ abs(right) * factor
    g.output("y", y)
    program = kpu_ir.compile(g, search="none")
    counts = program.time().counts
    assert not counts.get("macs.f32", 0)
    assert sum(n for what, n in counts.items() if what.startswith("macs.f8")) == exact.size * k
    # k roundings of a sum in f32, two of the scales' product and of what it multiplies; scales' own.
    bound = (k + 4) * 2.0**-24 * most + 1e-30
    assert (abs(program(q=q)["y"] - exact) <= bound).all()


def test_what_moves_and_what_adds():
    """A residual block of quantized tensors: every tensor between its kernels is of bytes."""
    rng = np.random.default_rng(1)
    g = Graph()
    s, z = np.float32(0.05), -3

    def again(v):
        return g.dequantize(g.quantize(v, s, z), s, z)

    def layer(v, n):
        w = g.constant(rng.integers(-128, 128, (n, v.shape[1], 3, 3)).astype(np.int8))
        scale = (rng.random(n) * 1e-3 + 1e-3).astype(np.float32)
        return again(g.conv(v, g.dequantize(w, scale, axis=0), low=(1, 1), high=(1, 1)))

    x = again(g.input("x", (1, 4, 8, 8)))
    y = again((layer(layer(x, 8).relu(), 4) + x).relu())
    y = again(g.concat([g.pool("max", y, (2, 2)), g.pool("max", x, (2, 2))], 1))
    g.output("y", g.quantize(g.transpose(y, (0, 2, 3, 1)), s, z))
    given_x = {"x": (rng.standard_normal((1, 4, 8, 8)) * 3).astype(np.float32)}
    program = kpu_ir.compile(g)
    (reference,) = evaluate(g.module(), given_x)
    apart = np.abs(program(given_x)["y"].astype(int) - reference.astype(int))
    assert apart.max() <= 2  # a step in one layer can be one more in the next
    between = [b for b in program.program.buffers if b.kind == "temporary"]
    assert between
    assert all(b.type.element_type.bitwidth == 8 for b in between)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("real", "bytes_"), [("f16", False), ("f32", False), ("f32", True)])
def test_weights_in_blocks(real, bytes_, turned):
    """Weights of 4 bits in blocks of 32 along k: they are read as 4 bits, and added up in f32, or i32."""
    rng = np.random.default_rng(2)
    k, n, rows = 128, 48, 2
    g = Graph()
    x = g.input("x", (1, rows, k), real)
    stored = rng.integers(0, 16, (n, k) if turned else (k, n))
    scale = (rng.random((n, k // 32) if turned else (k // 32, n)) * 0.1).astype(np.float16)
    q = g.constant(stored.astype(ml_dtypes.uint4))
    w = g.dequantize(q, scale, 8, dtype=real)
    a = x
    if bytes_:
        step = g.map(lambda v: v * (1 / 127), g.reduce("max", abs(x), [2]))
        a = g.dequantize(g.quantize(x, step), step)
    g.output("y", g.matmul(a, w, transpose_b=turned))
    given_x = {"x": rng.standard_normal((1, rows, k)).astype(x.dtype)}
    program = kpu_ir.compile(g, search="none")
    counts = program.time().counts
    assert counts["macs.i8" if bytes_ else f"macs.{real}"] == rows * k * n
    assert counts["converts"]
    real_x = given_x["x"].astype(np.float64)
    if bytes_:
        steps = np.abs(given_x["x"]).max(2, keepdims=True) * np.float32(1 / 127)
        real_x = np.rint(given_x["x"] / steps).astype(np.float64) * steps
    each = scale.astype(np.float64).repeat(32, 1 if turned else 0) * (stored - 8.0)
    exact = real_x @ (each.T if turned else each)
    error = np.abs(program(given_x)["y"] - exact).max() / np.abs(exact).max()
    assert error < (1e-3 if real == "f16" else 1e-6)


def test_weights_in_blocks_by_many_rows():
    """The sums of blocks would be more bytes than the weights save: these are dequantized."""
    g = Graph()
    q = g.constant(np.ones((128, 16), np.int8))
    w = g.dequantize(q, np.full((4, 16), 0.5, np.float32))
    g.output("y", g.input("x", (64, 128)) @ w)
    program = kpu_ir.compile(g, search="none")
    assert "converts" not in program.time().counts
    np.testing.assert_array_equal(program(x=np.ones((64, 128), np.float32))["y"], 64.0)


def test_the_report_says_in_which_type_each_kernel_multiplies():
    g = Graph()
    x = g.dequantize(g.quantize(g.input("x", (16, 64)), 0.1), 0.1)
    y = x @ g.dequantize(g.constant(np.ones((64, 32), np.int8)), 0.1)
    g.output("y", y.softmax(1) @ g.constant(np.ones((32, 8), np.float32)))
    program = kpu_ir.compile(g, search="none")
    rows = summarise(program, program.time(), 0.0).kernels
    types = [row.types for row in rows if row.types]
    assert types == [{"i8": 16 * 64 * 32}, {"f32": 16 * 32 * 8}]


@pytest.mark.parametrize("groups", [1, 4])
def test_padding_around_a_zero_point_that_only_the_device_knows(groups):
    rng, g = np.random.default_rng(0), Graph()
    q = rng.integers(-128, 128, (1, 4, 6, 5)).astype(np.int8)
    w = rng.integers(-128, 128, (4, 4 // groups, 3, 3)).astype(np.int8)
    s, z = g.input("s", (1,), np.float32), g.input("z", (1,), np.int8)
    x = g.dequantize(g.input("q", q.shape, q.dtype), s, z)
    weights = g.dequantize(g.constant(w), np.float32(0.01))
    g.output("y", g.conv(x, weights, low=(1, 0), high=(0, 2), groups=groups))
    program = kpu_ir.compile(g, search="none")
    counts = program.time().counts
    assert counts.get("macs.i8", 0) + counts.get("vector_macs.i8", 0)
    assert not counts.get("macs.f32", 0) + counts.get("vector_macs.f32", 0)
    padded = np.pad(q.astype(np.int64) + 7, ((0, 0), (0, 0), (1, 0), (0, 2)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    seen = seen.reshape(1, groups, 4 // groups, *seen.shape[2:])
    filters = w.astype(np.int64).reshape(groups, 4 // groups, 4 // groups, 3, 3)
    sums = np.einsum("ngcyxij,gocij->ngoyx", seen, filters).reshape(1, 4, 5, 5)
    scale = np.float32(0.05) * np.float32(0.01)
    got = program(q=q, s=np.array([0.05], np.float32), z=np.array([-7], np.int8))["y"]
    np.testing.assert_array_equal(got, sums.astype(np.float32) * scale)
