"""What epilogues of quantized networks compute, and what the vector engine is charged for them: the rows of
docs/quantization.md, an operation an element each (NumPy, and counts by hand; not from the passes)."""

from typing import Any

import numpy as np
from scipy.special import erf

import kpu_ir
from kpu_ir import Graph
from kpu_ir.interpreters.kernel import evaluate

F = np.float32
RNG = np.random.default_rng(5)


def stored(*shape: int) -> Any:
    return RNG.integers(-127, 128, shape).astype(np.int8)


def lane_ops(program: Any) -> dict[str, int]:
    found = program.time().counts
    return {k.removeprefix("lane_ops."): n for k, n in found.items() if k.startswith("lane_ops.")}


def test_projection_gelu_quantize():
    """i32 bias, conversion, scale; GELU without its 0.5, which is in the step; one requantization."""
    m, k, n = 16, 64, 48
    q, w, bias = stored(m, k), stored(k, n), RNG.integers(-2000, 2000, n).astype(np.int32)
    sx, sw, sy = F(0.01), (RNG.random(n) * 0.01 + 0.001).astype(F), F(0.03)
    step = (sx * sw).astype(F)
    g = Graph()
    x = g.dequantize(g.input("q", q.shape, "i8"), sx) @ g.dequantize(g.constant(w), sw, axis=1)
    x = x + g.dequantize(g.constant(bias), step, axis=0)
    y = x.gelu()
    g.output("y", g.quantize(g.transpose(g.reshape(y, (m, 4, n // 4)), (1, 0, 2)), sy, 3, "ui8"))
    program = kpu_ir.compile(g, search="none")

    sums = q.astype(np.int32) @ w.astype(np.int32) + bias
    real = sums.astype(F) * step
    gelu = (F(0.5) * real) * (F(1) + erf(real * F(0.70710677)))
    exact = np.clip(np.rint(gelu / sy) + F(3), 0, 255).astype(np.uint8)
    turned = exact.reshape(m, 4, n // 4).transpose(1, 0, 2)
    np.testing.assert_array_equal(program(q=q)["y"], turned)

    outputs = m * n
    assert lane_ops(program) == {
        "integer": outputs,  # the bias, and zero points' sums with it
        "convert": outputs,
        "multiply": 3 * outputs,  # scale, 1 / sqrt(2), x (1 + erf)
        "erf": outputs,
        "add": outputs,
        "requantize": outputs,
    }


def test_scores_softmax_quantize():
    """Scores: conversion and one factor, 1 / sqrt(d) in it. A softmax in steps: its weights are requantized by one
    pass, by a number a row."""
    heads, m, d = 2, 32, 16
    q, k = stored(heads, m, d), stored(heads, d, m)
    sq, sk, c, step = F(0.02), F(0.015), F(0.17677669), F(1 / 255)
    g = Graph()
    scores = g.dequantize(g.input("q", q.shape, "i8"), sq) @ g.dequantize(
        g.input("k", k.shape, "i8"), sk
    )
    weights = g.softmax(g.map(lambda v: v * float(c), scores), 2)
    g.output("y", g.quantize(weights, step, 0, "ui8"))
    program = kpu_ir.compile(g, search="none")

    x = (q.astype(np.int32) @ k.astype(np.int32)).astype(F) * F(F(sq * sk) * c)
    e = np.exp(x - x.max(2, keepdims=True))
    inverse = F(1) / e.sum(2, keepdims=True, dtype=F) / step
    exact = np.clip(np.rint(e * inverse), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(program(q=q, k=k)["y"], exact)

    rows, elements = heads * m, heads * m * m
    assert lane_ops(program) == {
        "convert": elements,
        "multiply": elements,
        "compare": elements,  # the largest of a row
        "add": 2 * elements,  # x - m, and the sum
        "exp": elements,
        "divide": 2 * rows,
        "requantize": elements,
    }


def test_a_biased_sum_is_requantized_in_one_pass():
    """Bias, scale, rounding, zero point, clamp: one operation an element, whatever the zero points."""
    m, k, n = 16, 32, 32
    q, w = stored(m, k).view(np.uint8), stored(k, n)
    g = Graph()
    x = g.dequantize(g.input("q", q.shape, "ui8"), 0.02, 120) @ g.dequantize(g.constant(w), 0.01)
    g.output("y", g.quantize(x, 0.5, 7, "ui8"))
    program = kpu_ir.compile(g, search="none")
    assert lane_ops(program) == {"requantize": m * n}
    sums = (q.astype(np.int32) - 120) @ w.astype(np.int32)
    exact = np.clip(np.rint(sums.astype(F) * F(F(0.02) * F(0.01) / F(0.5))) + F(7), 0, 255)
    np.testing.assert_array_equal(program(q=q)["y"], exact.astype(np.uint8))


def test_scales_of_rows_and_columns_meet_in_the_epilogue():
    """Per token: two factors an element on the drain; no table of their products is written."""
    m, k, n = 16, 32, 48
    q, w, sw = stored(m, k), stored(k, n), (RNG.random(n) * 0.01 + 0.001).astype(F)
    rows = (RNG.random((m, 1)) * 0.1).astype(F)
    g = Graph()
    x = g.dequantize(g.input("q", q.shape, "i8"), g.input("rows", rows.shape))
    g.output("y", x @ g.dequantize(g.constant(w), sw, axis=1))
    program = kpu_ir.compile(g, search="none")
    exact = (q.astype(np.int32) @ w.astype(np.int32)).astype(F) * (rows * sw)
    np.testing.assert_array_equal(program(q=q, rows=rows)["y"], exact)
    assert lane_ops(program) == {"convert": m * n, "multiply": 2 * m * n}


def test_rows_are_quantized_by_the_program_that_finds_their_scale():
    """Per token, behind a norm that a residual sum reads too: one program writes the norm, the scales and the bytes;
    x is read once."""
    m, k, n = 24, 96, 32
    g = Graph()
    x = g.input("x", (m, k))
    normed = (x + 1.0).layernorm(axis=-1)
    step = g.map(lambda v: v * (1 / 127), g.reduce("max", abs(normed), [1]))
    q = g.quantize(normed, step)
    w = g.constant(stored(k, n))
    y = g.dequantize(q, step) @ g.dequantize(w, np.full(n, 0.01, F), axis=1)
    g.output("y", y)
    g.output("sum", normed + x)
    given = {"x": RNG.standard_normal((m, k)).astype(F)}
    program = kpu_ir.compile(g, search="none")
    names = [row.kernel for row in program.summary().kernels]
    assert len(names) == 3, names  # norm and bytes, product, residual sum
    expected = evaluate(g.module(), given)
    for name, reference in zip(("y", "sum"), expected):
        assert abs(program(given)[name] - reference).max() < 1e-5 * abs(reference).max() + 1e-6
    plain = kpu_ir.compile(g, search="none", fuse="none")
    assert program.cycles < plain.cycles
