"""DynamicQuantizeLSTM, made by onnxruntime's ``quantize_dynamic``, against onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from draws import MANY
from onnx import numpy_helper
from onnx_models import changed, model, node, normal, onnxruntime_says, port

import kpu_ir
from kpu_ir.frontends.onnx import import_onnx
from kpu_ir.frontends.onnx.work import macs
from kpu_ir.integrations.onnxruntime import compare
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.support.errors import KpuError

NEAR = 1e-6
"""Gates are sigmoids and tanh of f32, onnxruntime's own approximations: a few roundings of numbers below
4. One byte of a state that is another is 2e-3 and above in these layers."""


def layer(
    folder: Path, rows: int = 1, steps: int = 5, *, inputs: str = "x w r b _ h c", per_channel: bool = False,
    reduce_range: bool = False, **more: Any,
) -> tuple[Any, dict[str, Any]]:  # fmt: skip
    """A layer of 7 inputs and 16 states, quantized; and its input."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    ways = 2 if more.get("direction") == "bidirectional" else 1
    known = {
        "w": normal(ways, 64, 7, seed=1) / 2, "r": normal(ways, 64, 16, seed=2) / 2,
        "b": normal(ways, 128, seed=3), "h": normal(ways, rows, 16, seed=4),
        "c": normal(ways, rows, 16, seed=5), "p": normal(ways, 48, seed=6),
    }  # fmt: skip
    x = {"x": normal(steps, rows, 7, seed=7)}
    one = node("LSTM", inputs, "y last cell", "here", hidden_size=16, **more)
    known = {n: v for n, v in known.items() if n in inputs.split()}
    onnx.save(model([one], x, known, ["y", "last", "cell"], 14), folder / "a.onnx")
    quantization.quantize_dynamic(
        folder / "a.onnx", folder / "q.onnx", per_channel=per_channel, reduce_range=reduce_range
    )
    made = onnx.load(folder / "q.onnx")
    assert [n.op_type for n in made.graph.node] == ["DynamicQuantizeLSTM"]
    return made, x


def agree(made: Any, x: dict[str, Any]) -> None:
    module = import_onnx(made)
    module.verify()
    for got, expected in zip(evaluate(module, x), onnxruntime_says(made, x, 1), strict=True):
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=0, atol=NEAR)


LAYERS: dict[str, tuple[int, dict[str, Any]]] = {
    "plain": (1, {}),
    "rows": (3, {}),
    "both ways, per channel": (3, {"per_channel": True, "direction": "bidirectional"}),
    "reverse": (1, {"direction": "reverse", "inputs": "x w r"}),
    "peepholes, clip": (3, {"inputs": "x w r b _ h c p", "clip": 0.5}),
    "coupled": (1, {"input_forget": 1, "reduce_range": True, "activations": ["Sigmoid", "Relu", "Tanh"]}),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_bytes(tmp_path: Path, name: str):
    rows, options = LAYERS[name]
    agree(*layer(tmp_path, rows, 4, **options))


def test_bytes_without_a_sign_and_with_zero_points(tmp_path: Path):
    made, x = layer(tmp_path, 2, direction="bidirectional")
    for name, zeros in (("w", [131, 90]), ("r", [120, 128])):
        (stored,) = (t for t in made.graph.initializer if t.name == f"{name}_quantized")
        numbers = numpy_helper.to_array(stored).astype(np.int16) + 128
        made = changed(made, f"{name}_quantized", numbers.astype(np.uint8))
        made = changed(made, f"{name}_zero_point", np.array(zeros, np.uint8))
    agree(made, x)


def test_weights_that_are_not_known(tmp_path: Path):
    """They are inputs of the graph: sums of columns are added up as the model runs."""
    made, x = layer(tmp_path, 1, 2)
    names = ("w_quantized", "r_quantized")
    tensors = [t for t in made.graph.initializer if t.name in names]
    for t in tensors:
        made.graph.initializer.remove(t)
        made.graph.input.append(onnx.helper.make_tensor_value_info(t.name, t.data_type, t.dims))
    known = {t.name: numpy_helper.to_array(t) // 2 for t in tensors}  # 7 bits: no sum saturates
    agree(made, x | known)


def test_on_the_machine_layer_by_layer(tmp_path: Path):
    """``--compare`` has onnxruntime on one thread: rows of a batch share a range."""
    made, x = layer(tmp_path, 2, 1)
    found = compare(kpu_ir.load(tmp_path / "q.onnx", search="none"), x)
    assert {row.tensor for row in found} == {"y", "last", "cell"}
    assert max(row.max_abs_error for row in found) <= NEAR
    shapes = [[5, 2, 7], [1, 7, 64], [1, 16, 64]]
    assert macs(made.graph.node[0], [tuple(s) for s in shapes], []) == 5 * 2 * 64 * (7 + 16)


def test_each_step_from_onnxruntimes_own_state(tmp_path: Path):
    """Its states, before a step, are the same bytes here: no step is another byte. ``KPU_DRAWS`` steps."""
    made, x = layer(tmp_path, 1, 1)
    for name in ("h", "c"):
        (first,) = (t for t in made.graph.initializer if t.name == name)
        made.graph.initializer.remove(first)
        made.graph.input.append(port(name, [1, 1, 16]))
    module, state = import_onnx(made), np.zeros((1, 1, 16), np.float32)
    given = {**x, "h": state, "c": state}
    for step in range(int(MANY or 8)):
        given["x"] = normal(1, 1, 7, seed=100 + step)
        want = onnxruntime_says(made, given, 1)
        for got, expected in zip(evaluate(module, given), want, strict=True):
            # A cell grows beyond 4: of two products and a sum, some roundings of its own size.
            np.testing.assert_allclose(got, expected, rtol=4 * 2.0**-23, atol=NEAR)
        given |= {"h": want[1], "c": want[2]}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "w_quantized",
            np.zeros((1, 64, 7), np.int8),
            r"input 1 \(W\): expected 1x7x64, got 1x64x7",
        ),
        ("w_quantized", np.zeros((7, 64), np.int8), r"input 1 \(W\) has 2 dimensions, expected 3"),
        ("w_quantized", np.zeros((1, 7, 64), np.int16), "quantized numbers of int16"),
        ("r_scale", np.ones(64, np.float32), r"input 10 \(R_scale\): expected 1 or 1x64, got 64"),
        ("r_scale", np.array([np.inf], np.float32), "input 10: a scale is inf"),
        ("w_zero_point", np.zeros(1, np.uint8), "a zero point of uint8 for numbers of int8"),
        ("b", np.zeros((1, 64), np.float32), r"input 3 \(B\): expected 1x128, got 1x64"),
    ],
)
def test_what_does_not_fit(tmp_path: Path, name: str, value: Any, said: str):
    with pytest.raises(KpuError, match=said) as caught:
        import_onnx(changed(layer(tmp_path)[0], name, value))
    assert "node 'here_quant' (com.microsoft.DynamicQuantizeLSTM)" in str(caught.value)


def test_what_is_refused(tmp_path: Path):
    made, _ = layer(tmp_path, 2)
    made.graph.node[0].input[4] = "lengths"
    made.graph.initializer.append(numpy_helper.from_array(np.array([5, 3], np.int32), "lengths"))
    with pytest.raises(KpuError, match="different lengths"):
        import_onnx(made)
    made.graph.node[0].input[4] = made.graph.node[0].input[11] = ""
    with pytest.raises(KpuError, match=r"input 11 \(R_zero_point\) is missing"):
        import_onnx(made)
