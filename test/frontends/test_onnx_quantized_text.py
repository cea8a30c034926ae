"""QAttention and QEmbedLayerNormalization, made by onnxruntime's ``quantize_dynamic``, against onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_models import MICROSOFT, changed, model, node, normal, onnxruntime_says

import kpu_ir
from kpu_ir.frontends.onnx import import_onnx
from kpu_ir.frontends.onnx.work import macs
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.support.errors import KpuError

RNG = np.random.default_rng(3)
X = normal(2, 5, 8)
SEEN = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
IDS = RNG.integers(0, 10, (2, 5)).astype(np.int32)
KINDS = RNG.integers(0, 2, (2, 5)).astype(np.int32)
PROJECTED = {"w": normal(8, 24), "b": normal(24)}
TABLES = {"w": normal(10, 8), "p": normal(6, 8, seed=1), "t": normal(2, 8, seed=2),
          "g": normal(8, seed=3), "b": normal(8, seed=4)}  # fmt: skip
EMBED = "EmbedLayerNormalization"

Case = tuple[Any, dict[str, Any], dict[str, Any], dict[str, Any]]
CASES: dict[str, Case] = {
    "attention": (node("Attention", "x w b m", "y", "here", num_heads=2), {"x": X, "m": SEEN},
                  PROJECTED, {}),
    "attention, per channel": (
        node("Attention", "x w b", "y", "here", num_heads=2, unidirectional=1, scale=0.7), {"x": X},
        PROJECTED, {"per_channel": True}),
    "attention, keys before": (
        node("Attention", "x w b _ past", "y both", "here", num_heads=2, unidirectional=1),
        {"x": X, "past": normal(2, 2, 2, 3, 4)}, PROJECTED, {"weight_type": "QUInt8"}),
    "embeddings": (node(EMBED, "i k w p t g b m", "y seen", "here"),
                   {"i": IDS, "k": KINDS, "m": SEEN}, TABLES, {}),
    "embeddings of one kind": (node(EMBED, "i _ w p _ g b", "y seen", "here", epsilon=1e-5),
                               {"i": IDS}, {n: v for n, v in TABLES.items() if n != "t"}, {}),
}  # fmt: skip


def quantized(folder: Path, name: str) -> tuple[Any, dict[str, Any]]:
    """A model with one node of floats, quantized; and its inputs."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    one, given, known, options = CASES[name]
    one = onnx.NodeProto.FromString(one.SerializeToString())
    one.domain = MICROSOFT
    outputs = list(one.output)
    made = model([one], given, known, outputs, 14)
    for info, n in zip(made.graph.output, outputs, strict=True):
        kind = onnx.TensorProto.INT32 if n == "seen" else onnx.TensorProto.FLOAT
        info.type.tensor_type.elem_type = kind
    onnx.save(made, folder / "a.onnx")
    options = dict(options)
    kind = getattr(quantization.QuantType, options.pop("weight_type", "QInt8"))
    quantization.quantize_dynamic(
        folder / "a.onnx", folder / "q.onnx", weight_type=kind, op_types_to_quantize=[one.op_type], **options
    )  # fmt: skip
    made = onnx.load(folder / "q.onnx")
    assert f"Q{one.op_type}" in [n.op_type for n in made.graph.node]
    return made, given


@pytest.mark.parametrize("name", CASES)
def test_what_quantize_dynamic_makes(tmp_path: Path, name: str):
    """Products are exact; softmax and norms are floats, in another order: some roundings of numbers below 8."""
    made, given = quantized(tmp_path, name)
    module = import_onnx(made)
    module.verify()
    for got, expected in zip(evaluate(module, given), onnxruntime_says(made, given), strict=True):
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=0, atol=4e-6)


@pytest.mark.parametrize(
    ("case", "name", "value", "said"),
    [
        ("attention", "w_quantized", np.zeros((8, 25), np.int8), r"input 1 \(weight\) of shape"),
        ("attention", "w_quantized", np.zeros((8, 21), np.int8), "2 heads .* a width of 7"),
        ("attention", "w_scale", np.float32(np.nan), "input 4: a scale is nan"),
        ("attention", "w_zero_point", np.uint8(0), "a zero point of uint8 for numbers of int8"),
        ("embeddings", "p_scale", np.ones(8, np.float32), "input 9: expected one number, got"),
        ("embeddings", "g_zero_point", np.int8(0), "a zero point of int8 for numbers of uint8"),
    ],
)
def test_what_does_not_fit(tmp_path: Path, case: str, name: str, value: Any, said: str):
    with pytest.raises(KpuError, match=said) as caught:
        import_onnx(changed(quantized(tmp_path, case)[0], name, value))
    assert "node 'here_quant' (com.microsoft.Q" in str(caught.value)


def test_what_is_refused(tmp_path: Path):
    made, _ = quantized(tmp_path, "attention")
    (one,) = (n for n in made.graph.node if n.op_type == "QAttention")
    one.attribute.append(onnx.helper.make_attribute("do_rotary", 1))
    with pytest.raises(KpuError, match="rotary embeddings and shared buffers of QAttention"):
        import_onnx(made)


def test_attention_on_the_machine(tmp_path: Path):
    made, given = quantized(tmp_path, "attention, keys before")
    got = kpu_ir.compile(import_onnx(made), search="none")(given)["y"]
    np.testing.assert_allclose(got, onnxruntime_says(made, given)[0], rtol=0, atol=4e-6)
    (one,) = (n for n in made.graph.node if n.op_type == "QAttention")
    shapes: list[tuple[int, ...]] = [(2, 5, 8), (8, 24), *[()] * 6, (2, 2, 2, 3, 4)]
    assert macs(one, shapes, []) == 2 * 5 * 8 * 24 + 2 * 5 * (5 + 3) * (8 + 8)
