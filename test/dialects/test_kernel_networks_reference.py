"""The reference of windows, choices and attention against loops."""

from __future__ import annotations

import itertools
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from draws import drawing
from hypothesis import given
from hypothesis import strategies as st

from kpu_ir.frontends.python.graph import Graph
from kpu_ir.interpreters.kernel import evaluate

DRAWS = drawing(30)


def window_loop(x: Any, kernel: Any, given: Any, at: Any) -> list[tuple[int, int]]:
    """The places in the image, by number of the tap; places outside are left out."""
    found: list[Any] = []
    for taps in itertools.product(*(range(k) for k in kernel)):
        place = tuple(
            o * s + t * d - a
            for o, s, t, d, a in zip(at, given["strides"], taps, given["dilations"], given["low"])
        )
        if all(0 <= p < n for p, n in zip(place, x.shape[-2:])):
            found.append((taps, place))
    return found


@st.composite
def windows(draw: Any) -> tuple[list[int], list[int], dict[str, Any]]:
    """An image, a window that fits it, and how it moves."""
    image = [draw(st.integers(1, 7)) for _ in "yx"]
    kernel = [draw(st.integers(1, 3)) for _ in "yx"]
    given = {
        "strides": [draw(st.integers(1, 3)) for _ in "yx"],
        "dilations": [draw(st.integers(1, 2)) for _ in "yx"],
        "low": [draw(st.integers(0, 2)) for _ in "yx"],
        "high": [draw(st.integers(0, 2)) for _ in "yx"],
    }
    for i in range(2):
        span = (kernel[i] - 1) * given["dilations"][i] + 1
        given["high"][i] += max(0, span - image[i] - given["low"][i] - given["high"][i])
    return image, kernel, given


@DRAWS
@given(st.data(), windows())
def test_convolution(data: st.DataObject, window: Any):
    image, kernel, given_ = window
    groups, c, o = (data.draw(st.integers(1, 3)) for _ in "gco")
    n = data.draw(st.integers(1, 2))
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    x = rng.standard_normal((n, groups * c, *image)).astype(np.float32)
    w = rng.standard_normal((groups * o, c, *kernel)).astype(np.float32)
    g = Graph()
    y = g.conv(g.input("x", x.shape), g.input("w", w.shape), groups=groups, **given_)
    g.output("y", y)
    (got,) = evaluate(g.module(), {"x": x, "w": w}, np.float64)
    expected = np.zeros(y.shape)
    for b, k, *at in np.ndindex(*y.shape):
        for taps, place in window_loop(x, kernel, given_, at):
            for i in range(c):
                pixel = float(x[(b, k // o * c + i, *place)])
                expected[(b, k, *at)] += pixel * float(w[(k, i, *taps)])
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
    (short,) = evaluate(g.module(), {"x": x, "w": w})
    np.testing.assert_allclose(short, expected, rtol=1e-4, atol=1e-4)


@DRAWS
@given(st.sampled_from(["max", "add"]), windows(), st.sampled_from(["f32", "i32", "ui8"]))
def test_pooling(kind: str, window: Any, dtype: str):
    image, kernel, given_ = window
    g = Graph()
    x = g.input("x", (1, 2, *image), dtype)
    y = g.pool(kind, x, kernel, **given_)
    g.output("y", y)
    values = np.random.default_rng(0).integers(0, 9, x.shape).astype(x.dtype)
    (got,) = evaluate(g.module(), {"x": values})
    for b, k, *at in np.ndindex(*y.shape):
        seen = [int(values[(b, k, *place)]) for _, place in window_loop(values, kernel, given_, at)]
        if seen:
            assert got[(b, k, *at)] == (max(seen) if kind == "max" else sum(seen))
        elif kind == "add":
            assert got[(b, k, *at)] == 0
        else:
            lowest = {"f32": -np.inf, "i32": -(1 << 31), "ui8": 0}[dtype]
            assert got[(b, k, *at)] == lowest


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
def test_short_floats_add_up_in_f32(kind: Any):
    ones = np.ones((1, 1, 80, 80), kind)
    g = Graph()
    x = g.input("x", ones.shape, kind)
    w = g.constant(np.ones((1, 1, 80, 80), kind))
    g.output("conv", g.conv(x, w))
    g.output("pool", g.pool("add", x, (80, 80)))
    g.output("sum", g.reduce("add", x, (2, 3)))
    for result in evaluate(g.module(), {"x": ones}):
        assert result.dtype == kind
        assert float(result.reshape(-1)[0]) == 6400


def test_attention_of_one_query_and_one_head():
    q, k, v = (
        np.random.default_rng(i).standard_normal((1, 1, n, 4)) for i, n in enumerate([1, 5, 5])
    )
    g = Graph()
    values = [g.input(name, a.shape) for name, a in zip("qkv", (q, k, v))]
    g.output("y", g.attention(*values))
    powers = np.exp([q[0, 0, 0] @ row / 2 for row in k[0, 0]])
    (got,) = evaluate(g.module(), {"q": q, "k": k, "v": v}, np.float64)
    np.testing.assert_allclose(got[0, 0, 0], powers @ v[0, 0] / powers.sum(), rtol=1e-6)


def test_top_k_takes_the_first_of_equals():
    g = Graph()
    x = g.input("x", (6,), "i32")
    for k, smallest in ((4, False), (6, True)):
        for result in g.top_k(x, k, 0, smallest):
            g.output(f"y{len(g.outputs)}", result)
    large, at, small, places = evaluate(g.module(), {"x": np.array([3, 7, 3, 7, 1, 3])})
    assert large.tolist() == [7, 7, 3, 3]
    assert at.tolist() == [1, 3, 0, 2]
    assert small.tolist() == [1, 3, 3, 3, 7, 7]
    assert places.tolist() == [4, 0, 2, 5, 1, 3]
