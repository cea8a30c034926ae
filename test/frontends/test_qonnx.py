"""QONNX's quantizers, against their formulas in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper
from onnx_models import model, node, normal, onnxruntime_says

import kpu_ir
from kpu_ir.dialects import kernel
from kpu_ir.frontends.onnx import import_onnx
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.support.errors import KpuError

DOMAIN = "qonnx.custom_op.general"
X = 3 * normal(6, 32)
F = np.float32


def quant(known: dict[str, Any], op: str = "Quant", inputs: str = "x s z b", **more: Any) -> Any:
    """The module of one node."""
    made = model([node(op, inputs, "y", "here", domain=DOMAIN, **more)], {"x": X}, known)
    made.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return import_onnx(made)


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
@pytest.mark.parametrize(("signed", "narrow"), [(1, 0), (1, 1), (0, 0)])
@pytest.mark.parametrize("mode", ["ROUND", "FLOOR"])
@pytest.mark.parametrize("zero", [0.0, 2.0])
def test_in_steps_and_back(bits: int, signed: int, narrow: int, mode: str, zero: float):
    scale = np.linspace(0.05, 0.9, 32, dtype=F)
    known = {"s": scale, "z": F(zero), "b": F(bits)}
    module = quant(known, signed=signed, narrow=narrow, rounding_mode=mode)
    low = narrow - 2 ** (bits - 1) if signed else 0
    high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    whole = (np.rint if mode == "ROUND" else np.floor)(X / scale + F(zero))
    (got,) = evaluate(module, {"x": X})
    np.testing.assert_array_equal(got, (np.clip(whole, low, high) - F(zero)) * scale)
    stored = [o for o in module.walk() if isinstance(o, kernel.QuantizeOp)]
    assert len(stored) == (mode == "ROUND" and not zero)


def test_two_values():
    (got,) = evaluate(quant({"s": F(0.5)}, "BipolarQuant", "x s"), {"x": X})
    np.testing.assert_array_equal(got, np.where(X >= 0, F(0.5), F(-0.5)))


@pytest.mark.parametrize(
    ("known", "more", "said"),
    [
        ({"s": F(0), "z": F(0), "b": F(4)}, {}, "a scale is 0"),
        ({"s": F(1), "z": F(0.5), "b": F(4)}, {}, "a zero point of 0.5"),
        ({"s": F(1), "z": F(0), "b": F(24)}, {}, "numbers of 24 bits"),
        ({"s": F(1), "z": F(0), "b": F(4)}, {"rounding_mode": "UP"}, "rounding_mode 'UP'"),
    ],
)
def test_refused(known: Any, more: Any, said: str):
    with pytest.raises(KpuError, match=f"node 'here'.*{said}"):
        quant(known, **more)


@pytest.mark.parametrize("bits", [3, 4, 7])
def test_a_clip_between_quantize_and_dequantize(bits: int):
    """QCDQ, which Brevitas writes of fewer than 8 bits: products are of stored integers."""
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    known = {"s": F(0.4), "z": np.int8(0), "lo": np.int8(low), "hi": np.int8(high),
             "w": 0.3 * normal(32, 16), "sw": F(0.1), "sy": F(0.9)}  # fmt: skip
    nodes = [
        node("QuantizeLinear", "x s z", "q"), node("Clip", "q lo hi", "c"),
        node("DequantizeLinear", "c s z", "d"), node("QuantizeLinear", "w sw z", "wq"),
        node("Clip", "wq lo hi", "wc"), node("DequantizeLinear", "wc sw z", "wd"),
        node("MatMul", "d wd", "m"), node("Relu", "m", "r"),
        node("QuantizeLinear", "r sy z", "rq"), node("Clip", "rq lo hi", "rc"),
        node("DequantizeLinear", "rc sy z", "y"),
    ]  # fmt: skip
    proto = model(nodes, {"x": X}, known, opset=17)
    program = kpu_ir.compile(import_onnx(proto), search="none")
    counts = program.time().counts
    assert counts["macs.i8"] == 6 * 32 * 16
    assert "macs.f32" not in counts
    np.testing.assert_array_equal(program({"x": X})["y"], onnxruntime_says(proto, {"x": X})[0])
