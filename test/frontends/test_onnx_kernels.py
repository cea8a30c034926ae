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


@drawing(12, phases=[Phase.generate])
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
    program = compiled(model([convolution], {"x": normal(1, 64, 16, 16)}, weights))
    useful = 16 * 16 * 64 * 32 * window**2 / 256
    assert program.cycles <= most * useful
    assert program.summary().macs <= 1.2 * 256 * useful
