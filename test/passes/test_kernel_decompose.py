"""Decomposed kernels keep their values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from draws import drawing
from hypothesis import given
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp

from kpu_ir import Machine, compile
from kpu_ir.dialects import kernel
from kpu_ir.frontends.python.graph import Graph
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.machine.attr import ATTRIBUTE, machine_to_attr
from kpu_ir.passes import kernel_decompose
from kpu_ir.passes.kernel_canonicalize import KernelCanonicalizePass
from kpu_ir.passes.kernel_decompose import DECOMPOSITIONS, KernelDecomposePass
from kpu_ir.registry import context

DRAWS = drawing(20)
SIZES = st.integers(1, 5)
KINDS = st.sampled_from(["f32", "f32", "f16", "bf16", "f64"])
TOLERANCES = {"f32": 3e-6, "f64": 1e-12, "f16": 4e-3, "bf16": 3e-2}


def decomposed(module: ModuleOp) -> ModuleOp:
    """The module without named kernels."""
    result = module.clone()
    KernelDecomposePass().apply(context(), result)
    result.verify()
    assert not any(type(op) in DECOMPOSITIONS for op in result.walk())
    return result


def check(graph: Graph, seed: int, kind: str = "f32") -> None:
    """The same values after decomposition, in the graph's types and in float64."""
    module, rng = graph.module(), np.random.default_rng(seed)
    inputs: dict[str, Any] = {}
    for name, value in graph.inputs.items():
        if value.dtype.kind in "iu":  # few numbers: many equal ones
            inputs[name] = rng.integers(0, 4, value.shape).astype(value.dtype)
        else:
            inputs[name] = (4 * rng.standard_normal(value.shape)).round(1).astype(value.dtype)
    after = decomposed(module)
    # Numbers in scalar bodies are of their type: 1 / 3 is not the same in f32 and f64.
    for precision, tolerance in ((None, TOLERANCES[kind]), (np.float64, 2e-6)):
        before, then = (evaluate(m, inputs, precision) for m in (module, after))
        for x, y in zip(before, then, strict=True):
            assert x.dtype == y.dtype
            assert x.shape == y.shape
            scale = max(1.0, float(np.abs(x.astype(np.float64)).max(initial=0)))
            np.testing.assert_allclose(
                y.astype(np.float64), x.astype(np.float64), rtol=0, atol=tolerance * scale
            )


@DRAWS
@given(st.data())
def test_rows(data: st.DataObject):
    kind, shape = data.draw(KINDS), data.draw(st.lists(SIZES, min_size=1, max_size=4))
    g = Graph()
    x = g.input("x", shape, kind)
    axis = data.draw(st.integers(0, len(shape) - 1))
    if data.draw(st.booleans()):
        y = g.softmax(x, axis, data.draw(st.booleans()))
    else:
        axes = data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))
        names = ["scale", "shift"][: data.draw(st.integers(0, 2))]
        affine = {
            name: g.input(name, shape[data.draw(st.integers(0, len(shape))) :], kind)
            for name in names
        }
        y = g.normalize(x, sorted(axes), 1e-2, center=data.draw(st.booleans()), **affine)
    g.output("y", y)
    check(g, data.draw(st.integers(0, 99)), kind)


@DRAWS
@given(st.data())
def test_choices(data: st.DataObject):
    shape = data.draw(st.lists(SIZES, min_size=1, max_size=3))
    g = Graph()
    x = g.input("x", shape, data.draw(st.sampled_from(["f32", "f16", "i32", "i64", "ui8"])))
    axis = data.draw(st.integers(0, len(shape) - 1))
    smallest = data.draw(st.booleans())
    if data.draw(st.booleans()):
        last = data.draw(st.booleans())
        g.output("i", g.arg_reduce("min" if smallest else "max", x, axis, last))
    else:
        values, indices = g.top_k(x, data.draw(st.integers(1, shape[axis])), axis, smallest)
        g.output("v", values)
        g.output("i", indices)
    check(g, data.draw(st.integers(0, 99)))


@DRAWS
@given(st.data())
def test_attention(data: st.DataObject):
    kind, batch, groups, share = data.draw(KINDS), *(data.draw(st.integers(1, 3)) for _ in "bgs")
    length, keys, depth, width = (data.draw(SIZES) for _ in "stde")
    heads = groups * share
    g = Graph()
    q = g.input("q", (batch, heads, length, depth), kind)
    k = g.input("k", (batch, groups, keys, depth), kind)
    v = g.input("v", (batch, groups, keys, width), kind)
    mask = None
    if data.draw(st.booleans()):
        full = (batch, heads, length, keys)
        shape = [data.draw(st.sampled_from([1, n])) for n in full][data.draw(st.integers(0, 4)) :]
        mask = g.input("mask", shape, kind)
        if data.draw(st.booleans()):
            mask = g.map(lambda m: m > 0, mask)
    causal = data.draw(st.booleans())
    given_ = {
        "causal": causal,
        "offset": data.draw(st.integers(-2, 3)) if causal else 0,
        "softcap": data.draw(st.sampled_from([0.0, 2.0])),
        "scale": data.draw(st.sampled_from([None, 0.1])),
    }
    g.output("y", g.attention(q, k, v, mask, **given_))
    check(g, data.draw(st.integers(0, 99)), kind)


def test_a_query_that_sees_nothing_gives_zero():
    g = Graph()
    q, v = g.input("q", (1, 1, 3, 2)), g.input("v", (1, 1, 3, 2))
    g.output("y", g.attention(q, q, v, causal=True, offset=-2))
    inputs = {"q": np.ones((1, 1, 3, 2)), "v": np.full((1, 1, 3, 2), 7.0)}
    for module in (g.module(), decomposed(g.module())):
        (got,) = evaluate(module, inputs)
        np.testing.assert_array_equal(got[0, 0, :, 0], [0, 0, 7])


@pytest.mark.parametrize("offset", [-2, 0, 2])
def test_long_causal_attentions_compare_numbers(monkeypatch: pytest.MonkeyPatch, offset: int):
    """A mask of all scores would take more memory than everything else."""
    monkeypatch.setattr(kernel_decompose, "MOST_MASKED", 8)
    g = Graph()
    q, k = g.input("q", (1, 4, 5, 2)), g.input("k", (1, 2, 7, 2))
    g.output("y", g.attention(q, k, k, g.input("m", (7,)), causal=True, offset=offset))
    shapes = [
        op.result.type.get_shape()
        for op in decomposed(g.module()).walk()
        if isinstance(op, kernel.ConstantOp)
    ]
    assert sorted(shapes) == [(1, 7), (5, 1)]
    check(g, 0)


def test_a_mask_that_is_made_is_computed_with_the_scores():
    g = Graph()
    q, seen = g.input("q", (1, 1, 6, 4)), g.input("seen", (6, 6), np.bool_)
    g.output("y", g.attention(q, q, q, seen))
    program = compile(g, "default", search="none")
    assert len(program.program.calls) == 1


def test_a_nan_is_found():
    g = Graph()
    x = g.input("x", (4,))
    for name, kind, last in (("a", "max", False), ("b", "min", False), ("c", "max", True)):
        g.output(name, g.arg_reduce(kind, x, 0, last))
    inputs = {"x": np.array([1, np.nan, 9, np.nan])}
    for module in (g.module(), decomposed(g.module())):
        assert [int(r[0]) for r in evaluate(module, inputs)] == [1, 1, 3]


def kernels(module: ModuleOp) -> list[str]:
    """The names of the kernels, without what is free."""
    return [
        op.name.removeprefix("kernel.")
        for op in module.walk()
        if isinstance(op, kernel.KernelOperation)
        and not isinstance(op, kernel.ConstantOp | kernel.ReshapeOp)
        and not isinstance(op.parent_op(), kernel.FusedOp)
    ]


def test_attention_is_three_kernels():
    g = Graph()
    q, k = g.input("q", (2, 8, 16, 4)), g.input("k", (2, 2, 16, 4))
    g.output("y", g.attention(q, k, k, causal=True))
    assert kernels(decomposed(g.module())) == ["matmul", "map", "fused", "matmul"]


CHANNELS = st.integers(1, 4)


@DRAWS
@given(st.data())
def test_scales_of_channels_become_weights(data: st.DataObject):
    """Drawn chains of what batch normalization is made of, after a convolution."""
    g, rng = Graph(), np.random.default_rng(data.draw(st.integers(0, 99)))
    n, c, o, k = data.draw(SIZES), data.draw(CHANNELS), data.draw(CHANNELS), data.draw(CHANNELS)
    x = g.input("x", (n, c, 6, 6))
    pads = [data.draw(st.integers(0, 2)) for _ in range(4)]
    if data.draw(st.booleans()):
        x = g.pad(x, [0, 0, *pads[:2]], [0, 0, *pads[2:]])
    weights = rng.standard_normal((o, c, k, k)).astype(np.float32)
    y = g.conv(x, g.constant(weights), low=pads[:2], high=pads[2:])
    maps = data.draw(st.integers(1, 3))
    for _ in range(maps):
        shape = data.draw(st.sampled_from([(1, o, 1, 1), (o, 1, 1), (1,)]))
        a, b = (g.constant(rng.uniform(0.5, 2, shape).astype(np.float32)) for _ in "ab")
        formula = data.draw(
            st.sampled_from(
                [
                    lambda v, s, t: v * s + t,
                    lambda v, s, t: (v - s) / t,
                    lambda v, s, t: s * (-v) - t * 3.0,
                    lambda v, s, t: s - v * (t + s),
                ]
            )
        )
        y = g.map(formula, y, a, b)
    g.output("y", y)
    module = g.module()
    inputs = {"x": rng.standard_normal((n, c, 6, 6)).astype(np.float32)}
    before = evaluate(module, inputs, np.float64)[0]
    KernelCanonicalizePass().apply(context(), module)
    assert kernels(module) in (["conv", "map"], ["conv"])
    after = evaluate(module, inputs, np.float64)[0]
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-6 * max(1, np.abs(before).max()))


TINY = machine_to_attr(Machine.preset("default").with_settings({"l2.bank_bytes": 64}))
"""A machine on which no row of more than a few elements fits."""


@DRAWS
@given(st.data())
def test_choices_of_long_rows(data: st.DataObject):
    """Of equal elements the first (or the last) is found, and NaN, in whichever piece they stand."""
    draw = data.draw
    rows, n, kind = draw(st.integers(1, 3)), draw(st.integers(20, 200)), draw(st.sampled_from("fi"))
    g = Graph()
    inner = draw(st.sampled_from([(), (), (1,), (3,)]))
    x = g.input("x", (rows, n, *inner), f"{kind}32")
    axis, k = 1, draw(st.integers(1, 6))
    for name, which in (("a", "max"), ("b", "min")):
        g.output(name, g.arg_reduce(which, x, axis, draw(st.booleans())))
    values, places = g.top_k(x, k, axis, draw(st.booleans()))
    g.output("v", values)
    g.output("i", places)
    module = g.module()
    module.attributes[ATTRIBUTE] = TINY
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    numbers = rng.integers(0, 9, x.shape).astype(x.dtype)
    after = decomposed(module)
    prime = all(n % d for d in range(2, n))
    views = sum(isinstance(op, kernel.GatherOp) for op in after.walk())
    assert prime or n < 2 * k * k or views
    for got, wanted in zip(evaluate(after, [numbers]), evaluate(module, [numbers]), strict=True):
        np.testing.assert_array_equal(got, wanted)
    if kind == "f":
        numbers[rng.random(x.shape) < 0.03] = np.nan
        for got, wanted in zip(evaluate(after, [numbers])[:2], evaluate(module, [numbers])[:2]):
            np.testing.assert_array_equal(got, wanted)
