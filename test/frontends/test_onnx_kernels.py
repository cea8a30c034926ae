"""Operators whose kernels need care: their values in drawn forms, and what they take at most."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from draws import drawing
from hypothesis import Phase, given
from hypothesis import strategies as st

pytest.importorskip("onnx")
from onnx_models import model, node, normal, onnxruntime_says

import kpu_ir
from kpu_ir.frontends.onnx import import_onnx
from kpu_ir.frontends.python.layers import within


def compiled(made: Any, **options: Any) -> kpu_ir.Compiled:
    return kpu_ir.compile(import_onnx(made), **{"search": "none", **options})


def check(made: Any, inputs: dict[str, Any], atol: float = 1e-4) -> kpu_ir.Compiled:
    """The same values as onnxruntime's; the program."""
    program = compiled(made)
    got = program(**inputs)
    for name, want in zip(got, onnxruntime_says(made, inputs), strict=True):
        assert got[name].shape == want.shape
        np.testing.assert_allclose(got[name], want, atol=atol, rtol=1e-4)
    return program


def arranged_in_every_run(program: kpu_ir.Compiled) -> list[str]:
    """Kernels that read nothing but constants."""
    text = program.ir("tile")
    constants = set(re.findall(r"(%\w+) = tile\.constant", text))
    calls = [
        (name, arguments.split(", ")[:-1])
        for name, arguments in re.findall(r"func\.call @(\w+)\((.*?)\)", text)
    ]
    return [name for name, arguments in calls if arguments and set(arguments) <= constants]


# -- transposed convolutions ----------------------------------------------------------------------


@drawing(6, phases=[Phase.generate])
@given(st.data())
def test_transposed_convolutions(data):
    """Windows that are no multiple of the stride, dilations, groups, output padding, one to three
    dimensions, known and unknown weights."""
    draw, one = data.draw, st.integers(1, 5)
    rank = draw(st.sampled_from([1, 2, 2, 3]))
    groups, c, o = (
        draw(st.integers(1, 3)),
        draw(st.integers(1, 4)),
        draw(st.sampled_from([1, 3, 17])),
    )
    image, window = ([draw(one) for _ in range(rank)] for _ in "iw")
    strides = [draw(st.integers(1, 4)) for _ in range(rank)]
    dilations = [draw(st.integers(1, 3)) for _ in range(rank)]
    pads = [draw(st.integers(0, 2)) for _ in range(2 * rank)]
    more = [draw(st.integers(0, s - 1)) for s in strides]
    spans = zip(image, strides, window, dilations, more, pads[:rank], pads[rank:])
    extents = [(n - 1) * s + (k - 1) * d + 1 + m - a - b for n, s, k, d, m, a, b in spans]
    if min(extents) < 1:
        return
    x, w = normal(1, groups * c, *image), normal(groups * c, o, *window)
    weights = {"w": w} if draw(st.booleans()) else {}
    given_too = {} if weights else {"w": w}
    bias = {"b": normal(groups * o)} if draw(st.booleans()) else {}
    convolution = node(
        "ConvTranspose", "x w b" if bias else "x w", "y", strides=strides, dilations=dilations,
        pads=pads, output_padding=more, group=groups,
    )  # fmt: skip
    inputs = {"x": x, **given_too}
    made = model([convolution], inputs, {**weights, **bias})
    program = check(made, inputs)
    if weights:
        assert not arranged_in_every_run(program)


@pytest.mark.parametrize(
    ("window", "more", "most"),
    [(2, 0, 3.0), (3, 1, 2.7), (4, 0, 2.2), (5, 1, 1.8)],
)
def test_a_transposed_convolution_takes_about_its_useful_work(window, more, most):
    pad = (window - 1) // 2
    convolution = node(
        "ConvTranspose", "x w", "y", strides=[2, 2], pads=[pad] * 4, output_padding=[more] * 2
    )
    weights = {"w": normal(64, 32, window, window)}
    made = model([convolution], {"x": normal(1, 64, 16, 16)}, weights)
    program = compiled(made, machine="ideal")  # `default` charges the short runs of interleaving
    useful = 16 * 16 * 64 * 32 * window**2 / 256
    assert program.cycles <= most * useful
    assert program.summary().macs <= 1.2 * 256 * useful


# -- functions of rows ----------------------------------------------------------------------------


@drawing(12, phases=[Phase.generate])
@given(st.data())
def test_cumulative_sums_and_products(data):
    draw, any_ = data.draw, st.booleans()
    shape = [draw(st.integers(1, 40)) for _ in range(draw(st.integers(1, 3)))]
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    dtype = draw(st.sampled_from([np.float32, np.float64, np.int32, np.int64]))
    scan = node("CumSum", "x a", "y", reverse=int(draw(any_)), exclusive=int(draw(any_)))
    x = (4 * normal(*shape)).astype(dtype)
    program = check(model([scan], {"x": x}, {"a": np.array(axis)}), {"x": x})
    assert program.cycles > 0
    least = program.summary().compulsory_bytes / program.machine.bandwidth["dma"]
    assert program.cycles >= least
    assert program.cycles == program.time(fast_forward=False).cycles


@drawing(12, phases=[Phase.generate])
@given(st.data())
def test_top_k(data):
    draw = data.draw
    shape = [draw(st.integers(1, 40)) for _ in range(draw(st.integers(1, 3)))]
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    dtype = draw(st.sampled_from([np.float32, np.int32, np.int64]))
    x = (2 * normal(*shape)).astype(dtype)  # of integers many are equal
    k = np.array([draw(st.integers(1, shape[axis]))])
    top = node("TopK", "x k", "y i", axis=axis, largest=draw(st.integers(0, 1)))
    program = check(model([top], {"x": x}, {"k": k}, ["y", "i"]), {"x": x})
    assert len(program.program.calls) == 1


def test_what_scans_and_top_k_take_at_most():
    x = normal(1, 8000)
    scan = model([node("CumSum", "x a", "y")], {"x": x}, {"a": np.array(1)})
    # A row is brought, scanned (5 steps for each 16 elements) and stored, one after the other.
    ideal = compiled(scan, machine="ideal").cycles
    assert ideal <= 8000 * 5 / 16 + 2 * 4 * 8000 * (1 / 32 + 1 / 64) + 200
    depth = 4 * (4 + 8000 / 16)  # steps that wait for each other, through a pipeline of 4
    refreshed = 2 * 4 * 8000 / 32 * 0.06
    assert compiled(scan).cycles <= ideal + depth + refreshed + 400
    product = model([node("CumProd", "x a", "y")], {"x": x}, {"a": np.array(1)}, opset=26)
    assert compiled(product).cycles == compiled(scan).cycles
    top = model([node("TopK", "x k", "y i")], {"x": x}, {"k": np.array([300])}, ["y", "i"])
    assert compiled(top).cycles <= 300 * 8000 / 16


# -- windows --------------------------------------------------------------------------------------


@drawing(200)
@given(
    st.integers(1, 9), st.integers(1, 12), st.integers(1, 5), st.integers(1, 3),
    st.integers(0, 9), st.integers(0, 9),
)  # fmt: skip
def test_elements_outside_of_the_image_are_no_part_of_a_window(n, k, s, d, low, high):
    def seen(k: int, low: int, high: int) -> list[set[int]]:
        positions = (n + low + high - (k - 1) * d - 1) // s + 1
        return [{o * s + t * d - low for t in range(k)} & set(range(n)) for o in range(positions)]

    taps, less, more = within(n, k, s, d, low, high)
    assert taps <= k
    assert seen(taps, less, more) == seen(k, low, high)


# -- recurrent layers -----------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_weights_of_the_state_are_fetched_once(kind, gates):
    steps, inputs, hidden = 8, 16, 64
    weights = {
        "w": normal(1, gates * hidden, inputs) / 8,
        "r": normal(1, gates * hidden, hidden) / 8,
        "b": normal(1, 2 * gates * hidden),
    }
    x = normal(steps, 1, inputs)
    layer = node(kind, "x w r b", "y", hidden_size=hidden)
    program = check(model([layer], {"x": x}, weights, opset=17), {"x": x})
    once = x.nbytes + sum(v.nbytes for v in weights.values())
    assert program.timing.counts["external.read"] <= 2 * once
    assert any("keep" in call.kernel for call in program.timing.calls)
