"""Rounding by what weights multiply, ranges by squared error: beside exhaustive and naive readings."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import model, node, normal, onnxruntime_says

from kpu_ir.integrations.quantize import quantize
from kpu_ir.integrations.quantize_moments import moments_of
from kpu_ir.integrations.quantize_refine import best_range
from kpu_ir.integrations.quantize_rounding import Moments, fed_back, rounded

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def correlated(rows: int, k: int, seed: int = 0) -> Any:
    """Inputs like a network's: not around 0, and alike."""
    random = np.random.default_rng(seed)
    return random.standard_normal((rows, 3)) @ random.standard_normal((3, k)) + 1


def error(weights: Any, integers: Any, scale: Any, x: Any) -> float:
    """Of products."""
    return float(np.square((weights - integers * scale) @ x.T).sum())


def test_between_the_nearest_and_the_best_of_all():
    """No rounding is better than the best of all 3^5 next to the nearest; feedback comes near to it."""
    x, weights = correlated(40, 5), np.random.default_rng(1).standard_normal((6, 5))
    scale = np.abs(weights).max(1, keepdims=True) / 7
    got = rounded(weights[None], (x.T @ x)[None], scale[None], -8, 7)[0]
    for w, s, found in zip(weights, scale, got):
        nearest = np.rint(w / s)
        best = min(error(w, nearest + d, s, x) for d in product((-1, 0, 1), repeat=5))
        mine = error(w, found, s, x)
        if (abs(found - nearest) <= 1).all():
            assert mine >= best * (1 - 1e-9)
    nearest = np.clip(np.rint(weights / scale), -8, 7)
    assert error(weights, got, scale, x) < error(weights, nearest, scale, x)


def test_independent_inputs_have_nothing_to_feed_back():
    weights, scale = normal(2, 3, 7), np.full((2, 3, 1), 0.1)
    found = rounded(weights, np.eye(7)[None].repeat(2, 0), scale, -127, 127)
    assert (found == np.rint(weights / scale)).all()
    zeros = rounded(weights, np.zeros((2, 7, 7)), scale, -127, 127)
    assert (zeros == found).all()


def test_columns_behind_a_block_hear_of_it_too():
    """A wide matrix goes in blocks of columns; the result is that of one block."""
    from kpu_ir.integrations import quantize_rounding

    x = correlated(400, 150)
    given = normal(1, 4, 150), (x.T @ x)[None], np.full((1, 4, 1), 0.2), -8, 7
    found = rounded(*given)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantize_rounding, "COLUMNS", 1000)
        whole = rounded(*given)
    assert (found == whole).mean() > 0.99  # ties in another order of additions


def test_fewer_rows_are_damped_more():
    sums = np.ones((1, 10, 10))
    assert Moments(sums, 10_000).damping == pytest.approx(0.01, rel=0.01)
    assert Moments(sums, 5).damping == 0.1


def test_output_channels_of_any_axis():
    x, weights = correlated(50, 6), normal(6, 4)
    scale = np.abs(weights).max(0) / 7
    moments = Moments((x.T @ x)[None], 50)
    there = fed_back(weights, moments, scale, 1, -7, 7)
    here = fed_back(weights.T, moments, scale[:, None], 0, -7, 7)
    assert (there == here.T).all()


CONVOLUTIONS = [
    {"pads": [1, 0, 2, 1], "strides": [2, 1]},
    {"dilations": [1, 2], "group": 2},
    {"auto_pad": "SAME_UPPER", "strides": [2, 2], "group": 4},
    {"auto_pad": "SAME_LOWER"},
]


@pytest.mark.parametrize("attributes", CONVOLUTIONS, ids=str)
def test_moments_are_those_of_a_convolution(attributes: Any):
    """sum over places of (w x)^2 is w M w^T: onnxruntime's convolution squared and added up."""
    groups = attributes.get("group", 1)
    x, weights = normal(1, 4, 6, 7), normal(8, 4 // groups, 3, 2, seed=1)
    made = model([node("Conv", "x w", "y", "c", **attributes)], {"x": x}, {"w": weights})
    ((name, found),) = moments_of(made, made.graph.node, [{"x": x}])
    assert name == "w"
    (y,) = onnxruntime_says(made, {"x": x})
    rows = weights.reshape(groups, -1, found.sums.shape[1]).astype(np.float64)
    sums = np.einsum("gnk,gkl,gnl->gn", rows, found.sums, rows).reshape(-1)
    np.testing.assert_allclose(sums, np.square(y[0].astype(np.float64)).sum((1, 2)), rtol=1e-4)
    assert found.rows == y[0, 0].size


def test_padding_does_not_count():
    x, w = normal(1, 5, 8), normal(8, 3)
    mask = np.array([[1, 1, 0, 1, 0]])
    nodes = [node("MatMul", "x w", "y", "p"), node("Identity", "attention_mask", "z", "i")]
    made = model(nodes, {"x": x, "attention_mask": mask}, {"w": w}, ["y", "z"])
    ((_, found),) = moments_of(made, made.graph.node[:1], [{"x": x, "attention_mask": mask}])
    kept = x[mask != 0]
    np.testing.assert_allclose(found.sums[0], kept.T @ kept, rtol=1e-5)
    assert found.rows == 3


def test_a_range_that_cuts_off_outliers_is_never_worse():
    sample = np.concatenate([np.linspace(-1, 1, 100_000), [3.0]])
    low, high = best_range(sample, -1.0, 3.0, False)
    assert low == -1.0
    assert high < 3.0
    assert best_range(np.linspace(0, 6, 1000), 0.0, 6.0, False) == (0.0, 6.0)
    low, high = best_range(sample, -1.0, 3.0, True)
    assert low == -high
    assert best_range(np.zeros(3), 0.0, 0.0, False) == (0.0, 0.0)


def test_products_stay_closer_than_with_nearest_steps(tmp_path: Path):
    nodes = [
        node("Conv", "x w", "h", "first", pads=[1] * 4),
        node("Relu", "h", "r", "relu"),
        node("Conv", "r v", "g", "second", group=4),
        node("Flatten", "g", "f", "flat"),
        node("Gemm", "f u", "y", "head"),
    ]
    weights = {
        "w": normal(4, 3, 3, 3),
        "v": normal(4, 1, 3, 3, seed=1),
        "u": normal(144, 5, seed=2),
    }
    path, x = tmp_path / "image.onnx", normal(24, 3, 8, 8, seed=4) + 1
    made = model(nodes, {"x": x[:1]}, weights)
    path.write_bytes(made.SerializeToString())
    tried = np.split(normal(24, 3, 8, 8, seed=5) + 1, 24)
    exact = [onnxruntime_says(made, {"x": t})[0] for t in tried]

    def lost(rounding: Any) -> float:
        found = quantize(path, calibrate={"x": x}, rounding=rounding).model
        got = [onnxruntime_says(found, {"x": t})[0] for t in tried]
        return float(np.square(np.subtract(got, exact)).sum())

    assert lost("gptq") < lost("nearest")


def test_results_are_floats_but_clamps_stay(tmp_path: Path):
    for name, last in (("plain", []), ("relu", [node("Relu", "h", "y", "relu")])):
        nodes = [node("Gemm", "x w", "h" if last else "y", "head"), *last]
        made = model(nodes, {"x": normal(2, 64)}, {"w": normal(64, 5)})
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(made.SerializeToString())
        found = quantize(path, calibrate={"x": normal(6, 64)}).model
        steps = [n for n in found.graph.node if n.op_type == "QuantizeLinear"]
        assert len(steps) == 1 + len(last)
        (y,) = onnxruntime_says(found, {"x": normal(2, 64)})
        assert (y >= 0).all() == bool(last)
