"""Quantized tensors of the builder: ONNX's formulas, bit for bit, at the kernel level and on the machine."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

import kpu_ir
from kpu_ir import Graph, KpuError
from kpu_ir.interpreters.kernel import evaluate

TYPES = {
    "i8": np.int8,
    "ui8": np.uint8,
    "i4": ml_dtypes.int4,
    "ui4": ml_dtypes.uint4,
    "i16": np.int16,
}
SHAPE = (8, 48)


def scales(how: str, rng: np.random.Generator) -> tuple[Any, int | None, Any]:
    """A scale, its axis, and what it is for each element."""
    count = {"tensor": (), "axis": (48,), "rows": (8, 1), "blocks": (4, 3)}[how]
    scale = (rng.random(count) + 0.05).astype(np.float32)
    each = scale.repeat(2, 0).repeat(16, 1) if how == "blocks" else scale
    return scale, 1 if how == "axis" else None, np.broadcast_to(each, SHAPE)


@pytest.mark.parametrize("how", ["tensor", "axis", "rows", "blocks"])
@pytest.mark.parametrize("name", TYPES)
def test_quantize_and_dequantize(name: str, how: str) -> None:
    """Division by the scale, half to even, the zero point, saturation; back: the exact difference times
    the scale in f32."""
    rng = np.random.default_rng(len(name) + len(how))
    scale, axis, each = scales(how, rng)
    limits: Any = ml_dtypes.iinfo(TYPES[name])
    x = (rng.standard_normal(SHAPE) * 3).astype(np.float32)
    x[0] = each[0] * (np.arange(48) - 24.5).astype(np.float32)  # ties
    x[1, :3] = np.inf, -np.inf, np.nan
    g = Graph()
    q = g.quantize(g.input("x", SHAPE), scale, 3, name, axis)
    g.output("q", q)
    g.output("y", g.dequantize(q, scale, 3, axis=axis))
    with np.errstate(invalid="ignore"):
        expected = np.clip(np.rint(x / each).astype(np.float64) + 3, limits.min, limits.max)
    expected[1, 2] = limits.min
    back = (expected - 3).astype(np.float32) * each
    for results in (evaluate(g.module(), {"x": x}), kpu_ir.compile(g, search="none")({"x": x})):
        stored, real = results.values() if isinstance(results, dict) else results
        assert stored.dtype == TYPES[name]
        np.testing.assert_array_equal(np.asarray(stored, np.float64), expected)
        np.testing.assert_array_equal(real, back)


def test_floats_of_a_byte_saturate() -> None:
    """E4M3FN has no infinity: what is larger than 448 is 448."""
    g = Graph()
    g.output("q", g.quantize(g.input("x", (4,)), 2.0, dtype="f8E4M3FN"))
    (q,) = evaluate(g.module(), {"x": np.array([1e9, -2000, 34, 38], np.float32)})
    assert q.astype(np.float32).tolist() == [448, -448, 16, 20]  # 17 and 19: ties to even


@pytest.mark.parametrize("dtype", ["f8E4M3FN", "f8E5M2"])
@pytest.mark.parametrize("quantize", ["fold", "off"])
def test_steps_of_floats_of_a_byte_stay_in_one_kernel(dtype: str, quantize: Any) -> None:
    """Quantized and back, alone and before a product: floats of 8 bits are rounded where no tensor holds them."""
    x = np.random.default_rng(0).standard_normal((5, 40)).astype(np.float32)
    g = Graph()
    real = g.dequantize(g.quantize(g.input("x", x.shape), 0.05, dtype=dtype), 0.05)
    g.output("d", real)
    g.output(
        "y",
        g.dequantize(g.quantize(real.relu(), 0.1, dtype=dtype), 0.1)
        @ g.constant(np.eye(40, 3, dtype=np.float32)),
    )
    kind = getattr(ml_dtypes, {"f8E4M3FN": "float8_e4m3fn", "f8E5M2": "float8_e5m2"}[dtype])
    step, other = np.float32(0.05), np.float32(0.1)
    expected = (x / step).astype(kind).astype(np.float32) * step
    second = (np.maximum(expected, 0) / other).astype(kind).astype(np.float32) * other
    assert abs(expected - x).max() > 0.01
    results = kpu_ir.compile(g, search="none", quantize=quantize)({"x": x})
    np.testing.assert_array_equal(results["d"], expected)
    np.testing.assert_array_equal(results["y"], second[:, :3])


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_what_nothing_can_be_divided_by(scale: float) -> None:
    """Refused where it is known; a dequantization may have scales of 0 and below."""
    g = Graph()
    g.output("q", g.quantize(g.input("x", (4,)), scale))
    with pytest.raises(KpuError, match="expected a positive scale, got"):
        kpu_ir.compile(g)
    if np.isfinite(scale):
        g = Graph()
        g.output("x", g.dequantize(g.input("q", (4,), "i8"), scale))
        (x,) = kpu_ir.compile(g)(q=np.array([1, 2, 3, -4], np.int8)).values()
        assert x.tolist() == (np.array([1, 2, 3, -4]) * scale).tolist()


def test_zero_points_and_blocks_that_do_not_fit() -> None:
    """Each says what it expected."""
    g = Graph()
    x = g.input("x", (4, 6))
    with pytest.raises(KpuError, match="a zero point of ui8 is from 0 to 255, got 256"):
        g.quantize(x, 1.0, 256, "ui8")
    with pytest.raises(KpuError, match=r"a zero point of i8 is one of its numbers, got 1\.5"):
        g.quantize(x, 1.0, 1.5, "i8")
    with pytest.raises(KpuError, match="4x4 scales do not divide 4x6 into blocks"):
        g.quantize(x, np.ones((4, 4), np.float32))
    with pytest.raises(KpuError, match="axis 2 is outside of 4x6"):
        g.quantize(x, np.ones(6, np.float32), axis=2)
    with pytest.raises(KpuError, match="expected a zero point of i8, got ui8"):
        g.dequantize(g.quantize(x, 1.0), 1.0, g.constant(np.uint8(3)))
