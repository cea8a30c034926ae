"""ONNX operators in f16 and bf16: sums, means and norms neither overflow nor round on the way.

What is right is computed in float64 from the same numbers, and rounded once.
"""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx_models import model, node

import kpu_ir
from kpu_ir.frontends.onnx import import_onnx

BF16 = np.dtype(ml_dtypes.bfloat16)
RNG = np.random.default_rng(0)


def run(made: Any, **inputs: Any) -> Any:
    return kpu_ir.compile(import_onnx(made), search="none", fuse="epilogue")(inputs)["y"]


def normal(*shape: int, dtype: Any = np.float16) -> Any:
    return RNG.standard_normal(shape).astype(dtype)


def filled(value: float, *shape: int) -> Any:
    return np.full(shape, value, np.float16)


AXES = {"a": np.array([2, 3])}
LARGE: dict[str, tuple[Any, dict[str, Any], dict[str, Any], float]] = {
    # Sums beyond 65504, results within.
    "mean": (node("GlobalAveragePool", "x", "y"), {"x": filled(10, 1, 2, 112, 112)}, {}, 10),
    "reduce mean": (node("ReduceMean", "x a", "y"), {"x": filled(20, 1, 2, 64, 64)}, AXES, 20),
    "l2": (node("ReduceL2", "x a", "y"), {"x": filled(300, 1, 2, 8, 8)}, AXES, 2400),
    "log-sum": (node("ReduceLogSum", "x a", "y"), {"x": filled(50, 1, 2, 64, 64)}, AXES, 12.23),
    "lp norm": (node("LpNormalization", "x", "y"), {"x": filled(300, 2, 100)}, {}, 0.1),
    "window": (
        node("AveragePool", "x", "y", kernel_shape=[40, 40]), {"x": filled(99, 1, 2, 40, 40)}, {}, 99,
    ),
    "lp window": (
        node("LpPool", "x", "y", kernel_shape=[4, 4]), {"x": filled(300, 1, 2, 4, 4)}, {}, 1200,
    ),
    "response": (node("LRN", "x", "y", size=3, alpha=3.0), {"x": filled(300, 1, 3, 1, 1)}, {}, 0.02534),
}  # fmt: skip


@pytest.mark.parametrize("name", LARGE)
def test_a_result_that_fits_does_not_overflow(name):
    one, inputs, constants, expected = LARGE[name]
    y = run(model([one], inputs, constants), **inputs)
    assert y.dtype == np.float16
    assert np.allclose(y[:, 1:2].astype(np.float64), expected, rtol=1e-3)


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), BF16], ids=str)
@pytest.mark.parametrize("name", ["gemm", "conv", "batch", "group", "instance", "layer"])
def test_an_operator_of_several_steps_rounds_once(name, dtype):
    x, s, b = normal(2, 8, 6, 6, dtype=dtype), normal(8, dtype=dtype), normal(8, dtype=dtype)
    exact, scale, shift = (v.astype(np.float64) for v in (x, s, b))
    column = (1, -1, 1, 1)

    def moments(v: Any, axes: Any) -> Any:
        mean, power = v.mean(axes, keepdims=True), v.var(axes, keepdims=True)
        return (v - mean) / np.sqrt(power + 1e-3)

    if name == "gemm":
        x = normal(9, 300, dtype=dtype)
        w = normal(300, 8, dtype=dtype)
        made = model([node("Gemm", "x w b", "y", alpha=0.5)], {"x": x}, {"w": w, "b": b})
        right = 0.5 * (x.astype(np.float64) @ w.astype(np.float64)) + shift
    elif name == "conv":
        w = normal(8, 8, 1, 1, dtype=dtype)
        made = model([node("Conv", "x w b", "y")], {"x": x}, {"w": w, "b": b})
        right = np.einsum("nchw,oc->nohw", exact, w.astype(np.float64)[..., 0, 0])
        right = right + shift.reshape(column)
    elif name == "batch":
        mean, power = normal(8, dtype=dtype), np.abs(normal(8, dtype=dtype))
        constants = {"s": s, "b": b, "m": mean, "v": power}
        made = model(
            [node("BatchNormalization", "x s b m v", "y", epsilon=1e-3)], {"x": x}, constants
        )
        m, v = (a.astype(np.float64).reshape(column) for a in (mean, power))
        right = (exact - m) / np.sqrt(v + 1e-3) * scale.reshape(column) + shift.reshape(column)
    elif name == "layer":
        made = model(
            [node("LayerNormalization", "x s b", "y", epsilon=1e-3)], {"x": x[..., :1].reshape(-1, 8)},
            {"s": s, "b": b},
        )  # fmt: skip
        x = x[..., :1].reshape(-1, 8)
        right = moments(x.astype(np.float64), 1) * scale + shift
    else:
        group = name == "group"
        given: dict[str, Any] = {"num_groups": 2} if group else {}
        kind = "GroupNormalization" if group else "InstanceNormalization"
        made = model(
            [node(kind, "x s b", "y", epsilon=1e-3, **given)], {"x": x}, {"s": s, "b": b}, opset=21
        )
        rows = exact.reshape(2, 2, 4, 6, 6) if group else exact
        right = moments(rows, (2, 3, 4) if group else (2, 3)).reshape(exact.shape)
        right = right * scale.reshape(column) + shift.reshape(column)
    y = run(made, x=x).astype(np.float64)
    eps = float(ml_dtypes.finfo(dtype).eps)
    assert (np.abs(y - right) <= 0.501 * eps * np.abs(right) + 1e-5).all()


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_keep_sums_and_cells(kind):
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    x = normal(2, 2, 40)
    weights = {
        "w": normal(1, gates * 8, 40) / 4,
        "r": normal(1, gates * 8, 8),
        "b": normal(1, gates * 16),
    }
    weights = {name: v.astype(np.float16) for name, v in weights.items()}
    one = node(kind, "x w r b", "y", hidden_size=8)
    short = run(model([one], {"x": x}, weights), x=x).astype(np.float64)
    wide = {name: v.astype(np.float32) for name, v in weights.items()}
    given = x.astype(np.float32)
    right = run(model([one], {"x": given}, wide), x=given)
    # States are f16 between steps: a few roundings of numbers below 1.
    assert np.abs(short - right).max() < 5 * 2.0**-11


def test_sign_of_nan_is_nan():
    x = np.array([np.nan, 9, -9, -0.0, np.inf], np.float32)
    y = run(model([node("Sign", "x", "y")], {"x": x}), x=x)
    assert np.array_equal(y, np.sign(x), equal_nan=True)
