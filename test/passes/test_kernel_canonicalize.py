"""Canonicalization keeps every value, is idempotent and deterministic, on drawn graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from draws import drawing
from hypothesis import given
from hypothesis import strategies as st
from xdsl.context import Context

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.python.value import Value
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.passes.kernel_canonicalize import KernelCanonicalizePass
from kpu_ir.scalar import formulas
from kpu_ir.support.types import dtype_of, element_type_named

EXTENTS = st.integers(1, 4)


def grow(draw: Any, graph: Graph, values: list[Value]) -> Value:
    """One more operation on some of ``values``."""
    x = draw(st.sampled_from(values))
    kind = draw(
        st.sampled_from(["reshape", "transpose", "matmul", "bias", "pair", "unary", "same"])
    )
    random = np.random.default_rng(draw(st.integers(0, 3)))
    if kind == "reshape":
        shapes = [(-1,), (1, *x.shape), (*x.shape, 1)]
        if len(x.shape) > 1:
            shapes += [(-1, x.shape[-1]), (x.shape[0], -1)]
        return x.reshape(draw(st.sampled_from(shapes)))
    if kind == "transpose":
        return x.transpose(draw(st.permutations(range(len(x.shape)))))
    if kind == "matmul":
        columns = draw(EXTENTS)
        lead = draw(st.sampled_from([(), (1,), x.shape[:-2]]))
        shape = (*lead, x.shape[-1], columns)
        if draw(st.booleans()):
            w = graph.constant(random.normal(size=(*lead, columns, x.shape[-1])).astype(np.float32))
            return x @ w.transpose(*range(len(lead)), len(lead) + 1, len(lead))
        return x @ random.normal(size=shape).astype(np.float32)
    if kind == "bias":
        extents = [draw(st.sampled_from([1, n])) for n in x.shape]
        shape = extents[draw(st.integers(0, len(extents))) :]
        constant = random.normal(size=shape) if draw(st.booleans()) else np.full(shape, 2.0)
        return x + constant
    if kind == "pair":
        same = [v for v in values if v.shape == x.shape]
        return x.maximum(draw(st.sampled_from(same)) * 0.5)
    if kind == "same":
        return graph.map(lambda a, b, c: a + c * a, x, x, x)
    return graph.map(draw(st.sampled_from([formulas.relu, formulas.tanh, lambda a: a])), x)


@st.composite
def graphs(draw: Any) -> Graph:
    """Up to eight operations on one or two inputs; some results are outputs."""
    graph = Graph()
    rank = draw(st.integers(1, 4))
    shape = [draw(EXTENTS) for _ in range(rank)]
    values = [graph.input("x", shape), graph.input("z", shape)]
    for _ in range(draw(st.integers(1, 8))):
        values.append(grow(draw, graph, values))
    for i, value in enumerate(
        {id(v): v for v in (draw(st.sampled_from(values)), values[-1])}.values()
    ):
        graph.output(f"y{i}", value)
    return graph


@drawing(50)
@given(graphs())
def test_values_stay(graph: Graph):
    module, again = graph.module(), graph.module()
    random = np.random.default_rng(0)
    inputs = [random.normal(size=v.shape).astype(np.float32) for v in graph.inputs.values()]
    before = evaluate(module, inputs, precision=np.float64)
    for each in (module, again):
        KernelCanonicalizePass().apply(Context(), each)
        each.verify()
    assert str(module) == str(again)
    after = evaluate(module, inputs, precision=np.float64)
    for x, y in zip(before, after, strict=True):
        assert x.shape == y.shape
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)
    text = str(module)
    KernelCanonicalizePass().apply(Context(), module)
    assert str(module) == text


def test_a_weight_that_is_cut_into_parts_is_folded():
    """As queries, keys and values are often stored: no part is copied on the device, also where the
    whole is needed besides."""

    def slices(used: bool) -> int:
        rng = np.random.default_rng(0)
        g = Graph()
        x, w = g.input("x", (4, 96)), g.constant(rng.standard_normal((96, 288)), "f32")
        for i in range(3):
            g.output(f"y{i}", x @ g.part(w, (slice(None), slice(96 * i, 96 * i + 96))))
        if used:
            g.output("z", x @ w)
        module = g.module()
        KernelCanonicalizePass().apply(Context(), module)
        return sum(op.name == "kernel.slice" for op in module.walk())

    assert slices(used=False) == 0
    assert slices(used=True) == 0


@pytest.mark.parametrize(
    "kinds", [("f32", "f16"), ("bf16", "f32"), ("f16", "f16"), ("bf16", "f16")]
)
def test_inputs_that_are_widened_give_the_same_product(kinds: Any):
    """Each number of a short type is one of f32, and so is each product of two: only their order of addition is free,
    which small whole numbers over 8 do not tell."""
    graph, random = Graph(), np.random.default_rng(0)
    shapes = {"a": (3, 5, 24), "b": (3, 7, 24)}
    a, b = (graph.input(n, shape, kind) for (n, shape), kind in zip(shapes.items(), kinds))
    graph.output("y", a.astype("f32") @ b.astype("f32").transpose(0, 2, 1))
    module = graph.module()
    given = [
        (random.integers(-255, 256, shape) / 8).astype(dtype_of(element_type_named(kind)))
        for shape, kind in zip(shapes.values(), kinds)
    ]
    (expected,) = evaluate(module, given)
    KernelCanonicalizePass().apply(Context(), module)
    (product,) = (op for op in module.walk() if isinstance(op, kernel.MatmulOp))
    kept = {str(tensor_type(v).element_type) for v in product.operands}
    assert kept == ({"f32", "f16"} if kinds == ("bf16", "f16") else set(kinds))
    np.testing.assert_array_equal(*evaluate(module, given), expected)
