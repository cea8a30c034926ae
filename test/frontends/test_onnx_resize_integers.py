"""Resize of stored integers: equal to onnxruntime where that computes it in floats, else to ONNX's reference."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from onnx_models import model, node, onnxruntime_says

import kpu_ir
from kpu_ir.frontends.onnx import import_onnx
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.support.errors import KpuError

RNG = np.random.default_rng(5)
PLACES = ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric")
SHAPES = [
    ((1, 3, 5, 7), (1, 3, 9, 13)), ((1, 2, 8, 9), (1, 2, 24, 9)), ((1, 2, 8, 9), (1, 2, 8, 21)),
    ((2, 1, 9, 13), (2, 1, 5, 1)), ((6, 7), (11, 15)), ((1, 2, 4, 5, 6), (1, 2, 8, 7, 9)),
    ((3, 4, 5), (3, 7, 11)),
]  # fmt: skip


def resized(x: Any, given: Any, **more: Any) -> Any:
    """A model of one Resize: to ``given`` sizes, or by scales where those are floats."""
    by_scale = np.asarray(given).dtype.kind == "f"
    known = {"s": np.asarray(given, np.float32 if by_scale else np.int64)}
    inputs = "x _ s" if by_scale else "x _ _ s"
    return model([node("Resize", inputs, "y", "here", **more)], {"x": x}, known, ["y"], 19)


def drawn(dtype: Any, shape: Any) -> Any:
    """Any bytes, and a region of one value: its weights' sum decides whether that stays."""
    ends = np.iinfo(dtype)
    x = RNG.integers(ends.min, ends.max, shape, endpoint=True).astype(dtype)
    x[..., : shape[-1] // 2] = RNG.integers(ends.min, ends.max)
    return x


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("where", PLACES)
def test_linear_is_cut_off_as_in_onnxruntime(dtype: Any, where: str):
    given: list[Any] = [*SHAPES, ((1, 1, 6, 4), (1.0, 1.0, 1.7, 0.6))]
    for _ in range(int(os.environ.get("KPU_DRAWS", "2"))):
        one, two = RNG.integers(2, 20, (2, 2))
        given.append(((1, 2, *one), (1, 2, *two)))
    for shape, sizes in given:
        x = drawn(dtype, shape)
        proto = resized(x, sizes, mode="linear", coordinate_transformation_mode=where)
        (got,), (expected,) = (
            evaluate(import_onnx(proto), {"x": x}),
            onnxruntime_says(proto, {"x": x}),
        )
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, expected, err_msg=f"{shape} to {sizes}")


OTHERS = [
    {"mode": "cubic"},
    {"mode": "cubic", "coordinate_transformation_mode": "align_corners", "cubic_coeff_a": -0.5},
    {"mode": "linear", "antialias": 1},
    {"mode": "linear", "exclude_outside": 1},
]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16])
@pytest.mark.parametrize("case", OTHERS, ids=str)
def test_others_are_rounded_and_saturate_as_in_the_reference(dtype: Any, case: Any):
    """Half a step away from what the reference makes of f64, and what f32 may add: in each of two dimensions a
    weight and at most ten products and sums are rounded, of weights whose sizes sum to 1.5 at most."""
    from onnx.reference import ReferenceEvaluator

    x = drawn(dtype, (1, 2, 6, 9))
    proto, ends = resized(x, (1, 2, 4, 14), **case), np.iinfo(dtype)
    (got,) = evaluate(import_onnx(proto), {"x": x})
    runner: Any = ReferenceEvaluator(proto)
    real, whole = (runner.run(None, {"x": v})[0] for v in (x.astype(float), x))
    assert got.dtype == whole.dtype == dtype
    slack = 2 * 21 * 2.0**-24 * 1.5**2 * float(abs(x.astype(float)).max())
    assert (abs(got - real.clip(ends.min, ends.max)) <= 0.5 + slack).all()
    sure = abs(abs(real - np.trunc(real)) - 0.5) > slack
    np.testing.assert_array_equal(got[sure], whole[sure])
    assert sure.mean() > (0.7 if x.itemsize == 1 else 0.5)  # slack is 0.2 of 16 bits


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_on_the_machine(tmp_path: Any, mode: str):
    x = drawn(np.uint8, (1, 3, 6, 5))
    proto = resized(x, (1, 3, 11, 9), mode=mode)
    path = tmp_path / "resize.onnx"
    path.write_bytes(proto.SerializeToString())
    got = kpu_ir.load(path, search="none")({"x": x})["y"]
    np.testing.assert_array_equal(got, evaluate(import_onnx(proto), {"x": x})[0])


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.bool_])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_others_than_short_integers_are_refused(dtype: Any, mode: str):
    x = np.zeros((1, 1, 4, 4), dtype)
    with pytest.raises(KpuError, match=f"interpolation of {x.dtype} is not supported") as caught:
        import_onnx(resized(x, (1, 1, 8, 8), mode=mode))
    assert "node 'here'" in str(caught.value)


def test_an_image_of_too_many_weights_is_refused():
    x = np.zeros((1, 1, 4, 4), np.uint8)
    with pytest.raises(KpuError, match="32,768 x 32,768 elements takes more than") as caught:
        import_onnx(resized(x, (1, 1, 1 << 15, 1 << 15), mode="linear"))
    assert "node 'here'" in str(caught.value)
