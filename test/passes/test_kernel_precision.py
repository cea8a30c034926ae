"""A model of f32 compiled in a shorter float type: its traffic halves, its error is the type's."""

import numpy as np
import pytest

import kpu_ir
from kpu_ir import Graph, KpuError
from kpu_ir.passes.kernel_precision import KernelPrecisionPass
from kpu_ir.registry import context
from kpu_ir.support.types import dtype_of, element_type_named


def network() -> Graph:
    """A convolution, a norm, a softmax, products, a comparison."""
    rng = np.random.default_rng(0)

    def weights(*shape):
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    g = Graph()
    x = g.input("x", (1, 4, 8, 8))
    y = g.conv(x, g.constant(weights(16, 4, 3, 3)), low=(1, 1), high=(1, 1)).relu()
    y = g.reshape(y, (16, 64))
    y = g.normalize(y, [1], 1e-5, g.constant(np.ones(64, np.float32)), None, True)
    y = g.softmax(y @ g.constant(weights(64, 64).T.copy()), 1) @ g.constant(weights(64, 32))
    g.output("y", y.gelu())
    return g


@pytest.mark.parametrize(("precision", "step"), [("f16", 2.0**-11), ("bf16", 2.0**-8)])
def test_a_network_in_a_shorter_type(precision, step):
    x = {"x": np.random.default_rng(1).standard_normal((1, 4, 8, 8)).astype(np.float32)}
    whole, short = kpu_ir.compile(network()), kpu_ir.compile(network(), precision=precision)
    exact, got = whole.reference(x, exact=True)["y"], short(x)["y"]
    assert got.dtype == np.float32
    error = np.abs(got - exact).max() / np.abs(exact).max()
    assert error < 16 * step
    assert np.abs(whole(x)["y"] - exact).max() < error * np.abs(exact).max()
    counts = short.time().counts
    assert counts[f"macs.{precision}"] == whole.time().counts["macs.f32"]
    assert "macs.f32" not in counts


@pytest.mark.parametrize(("precision", "step"), [("f16", 2.0**-11), ("bf16", 2.0**-8)])
def test_ports_of_the_shorter_type(precision, step):
    """Results are those of f32 ports, rounded once more at either end."""
    module = network().module()
    KernelPrecisionPass(type=precision, ports=True).apply(context(), module)
    short, within = kpu_ir.compile(module), kpu_ir.compile(network(), precision=precision)
    dtype = dtype_of(element_type_named(precision))
    x = np.random.default_rng(1).standard_normal((1, 4, 8, 8)).astype(dtype)
    got, expected = short({"x": x})["y"], within({"x": x.astype(np.float32)})["y"]
    assert got.dtype == dtype
    difference = np.abs(got.astype(np.float32) - expected).max()
    assert difference <= 4 * step * np.abs(expected).max()


def test_an_unknown_precision():
    with pytest.raises(KpuError, match="precision cannot be 'f8'"):
        kpu_ir.compile(network(), precision="f8")
