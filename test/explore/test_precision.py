"""Workloads in shorter floats compute the same, rounded."""

import numpy as np
import pytest

import kpu_ir
from kpu_ir import Graph
from kpu_ir.explore.precision import retyped


@pytest.mark.parametrize(("kind", "steps"), [("f16", 2**-11), ("bf16", 2**-8)])
def test_a_network_in_short_floats(kind, steps):
    rng = np.random.default_rng(0)
    graph = Graph()
    weights = rng.standard_normal((32, 16)).astype(np.float32) / 6
    y = graph.softmax((graph.input("x", (8, 32)) @ graph.constant(weights) + 0.5).gelu(), -1)
    graph.output("y", y)
    module = graph.module()
    short = kpu_ir.compile(retyped(module, kind), search="none")
    x = rng.standard_normal((8, 32)).astype(np.float32)
    exact = kpu_ir.compile(module, search="none")({"x": x})["y"]
    got = short({"x": x.astype(short.checked({"x": x})["x"].dtype)})["y"]
    assert got.dtype.itemsize == 2
    # Five roundings or so of values of about 1, through a softmax that damps them.
    assert np.abs(got.astype(np.float32) - exact).max() < 8 * steps
    assert np.abs(got.astype(np.float32) - exact).max() > 0
    assert str(module).count("f32") > 0  # what was given is as it was
