"""What onnxruntime's optimiser writes, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_models import MICROSOFT, model, node, normal, onnxruntime_says

import kpu_ir
from kpu_ir.frontends.onnx import import_onnx
from kpu_ir.interpreters.kernel import evaluate

RNG = np.random.default_rng(0)
X, SKIP = normal(2, 5, 8), normal(2, 5, 8, seed=1)
V = [normal(8, seed=n) for n in range(2, 6)]
IDS = RNG.integers(0, 10, (2, 5)).astype(np.int32)
KINDS = RNG.integers(0, 2, (2, 5)).astype(np.int32)
SEEN = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
IMAGE, FILTERS = normal(1, 3, 6, 6), normal(4, 3, 3, 3, seed=1)
TABLES = {"i": IDS, "s": KINDS, "w": normal(10, 8), "p": normal(6, 8), "t": normal(2, 8),
          "g": V[0], "b": V[1]}  # fmt: skip
TEXTS = {"q": X, "k": SKIP, "v": normal(2, 5, 8, seed=7)}
PROJECTED = {"x": X, "w": normal(8, 24), "b": normal(24)}

CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "skip norm": (
        node("SkipLayerNormalization", "x s g b c", "y _ _ t"),
        {"x": X, "s": SKIP, "g": V[0], "b": V[1], "c": V[2]},
    ),
    "skip norm of one batch": (
        node("SkipLayerNormalization", "x s g", "y"),
        {"x": X, "s": SKIP[0], "g": V[0]},
    ),
    "skip rms norm": (
        node("SkipSimplifiedLayerNormalization", "x s g b", "y _ _ t"),
        {"x": X, "s": SKIP, "g": V[0], "b": V[1]},
    ),
    "b turned": (
        node("FusedMatMul", "a b", "y", transB=1, alpha=0.5),
        {"a": normal(2, 3, 4), "b": normal(2, 5, 4)},
    ),
    "a turned": (
        node("FusedMatMul", "a b", "y", transA=1),
        {"a": normal(2, 4, 3), "b": normal(2, 4, 5)},
    ),
    "batch turned": (
        node("FusedMatMul", "a b", "y", transBatchA=1),
        {"a": normal(3, 2, 4), "b": normal(2, 4, 5)},
    ),
    "conv": (
        node("FusedConv", "x w b", "y", activation="Relu", pads=[1] * 4),
        {"x": IMAGE, "w": FILTERS, "b": V[0][:4]},
    ),
    "conv of a sum": (
        node("FusedConv", "x w b z", "y", activation="LeakyRelu", activation_params=[0.1],
             pads=[1] * 4),
        {"x": IMAGE, "w": FILTERS, "b": V[0][:4], "z": normal(1, 4, 6, 6)},
    ),
    "conv clipped": (
        node("FusedConv", "x w", "y", activation="Clip", activation_params=[0.0, 1.0]),
        {"x": IMAGE, "w": FILTERS},
    ),
    "gemm": (
        node("FusedGemm", "x w b", "y", activation="Relu", transB=1),
        {"x": normal(3, 6), "w": normal(4, 6), "b": normal(4)},
    ),
    "gemm with a parameter": (
        node("FusedGemm", "x w b", "y", activation="LeakyRelu", activation_alpha=0.3),
        {"x": normal(3, 6), "w": normal(6, 4), "b": normal(4)},
    ),
    "embeddings": (
        node("EmbedLayerNormalization", "i s w p t g b m", "y n"),
        {**TABLES, "m": SEEN},
    ),
    "embeddings of one kind": (
        node("EmbedLayerNormalization", "i _ w p _ g b", "y n sum"),
        {k: v for k, v in TABLES.items() if k not in "st"},
    ),
    "heads": (node("MultiHeadAttention", "q k v", "y", num_heads=2), TEXTS),
    "heads, biases, keys seen": (
        node("MultiHeadAttention", "q k v b m", "y", num_heads=2),
        {**TEXTS, "b": normal(24), "m": SEEN},
    ),
    "heads, numbers of keys": (
        node("MultiHeadAttention", "q k v _ m", "y", num_heads=2),
        {**TEXTS, "m": np.array([3, 5], np.int32)},
    ),
    "heads, added scores": (
        node("MultiHeadAttention", "q k v _ _ r", "y", num_heads=2),
        {**TEXTS, "r": normal(1, 2, 5, 5)},
    ),
    "heads, what came before": (
        node("MultiHeadAttention", "q k v _ _ _ p r", "y k2 v2", num_heads=2),
        {**TEXTS, "p": normal(2, 2, 3, 4), "r": normal(2, 2, 3, 4, seed=1)},
    ),
    "heads, causal": (
        node("MultiHeadAttention", "q k v", "y", num_heads=2, unidirectional=1, scale=0.3),
        TEXTS,
    ),
    "heads of a cache": (
        node("MultiHeadAttention", "q k v", "y", num_heads=2),
        {"q": normal(2, 3, 8), "k": normal(2, 2, 5, 4), "v": normal(2, 2, 5, 4, seed=1)},
    ),
    "attention": (node("Attention", "x w b", "y", num_heads=2), PROJECTED),
    "attention, ends and begins": (
        node("Attention", "x w b m", "y", num_heads=2),
        {**PROJECTED, "m": np.array([3, 5, 1, 0], np.int32)},
    ),
    "attention, a mask of queries": (
        node("Attention", "x w b m", "y", num_heads=2),
        {**PROJECTED, "m": RNG.integers(0, 2, (2, 5, 5)).astype(np.int32)},
    ),
    "attention, what came before": (
        node("Attention", "x w b _ p", "y r", num_heads=2, unidirectional=1),
        {**PROJECTED, "p": normal(2, 2, 2, 3, 4)},
    ),
    "rotary": (
        node("RotaryEmbedding", "x p c s", "y"),
        {"x": normal(2, 2, 5, 8), "p": np.tile(np.arange(5), (2, 1)), "c": normal(9, 4),
         "s": normal(9, 4, seed=1)},
    ),
    "rotary from a place": (
        node("RotaryEmbedding", "x p c s", "y"),
        {"x": normal(2, 5, 16), "p": np.array([3]), "c": normal(9, 4), "s": normal(9, 4, seed=1)},
    ),
    "gelu": (node("BiasGelu", "x b", "y"), {"x": X, "b": V[0]}),
    "fast gelu": (node("FastGelu", "x b", "y"), {"x": X, "b": V[0]}),
    "fast gelu of x": (node("FastGelu", "x", "y"), {"x": X}),
}  # fmt: skip


def made(case: str) -> tuple[Any, dict[str, Any]]:
    """A model of one node, and what it is called with."""
    one, given = CASES[case]
    one.domain = MICROSOFT
    inputs = {n: np.asarray(v) for n, v in given.items()}
    return model([one], inputs, None, [n for n in one.output if n]), inputs


@pytest.mark.parametrize("case", CASES)
def test_as_onnxruntime(case: str):
    proto, inputs = made(case)
    module = import_onnx(proto)
    module.verify()
    for got, expected in zip(evaluate(module, inputs), onnxruntime_says(proto, inputs)):
        assert got.shape == expected.shape
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got.astype(float), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("case", ["heads, biases, keys seen", "conv"])
def test_on_the_machine(case: str):
    proto, inputs = made(case)
    compiled = kpu_ir.compile(import_onnx(proto), search="none")
    got = compiled(inputs)["y"]
    np.testing.assert_allclose(got, onnxruntime_says(proto, inputs)[0], rtol=1e-3, atol=1e-4)
    assert compiled.summary().coverage == pytest.approx(1)
