"""What stands around a program knows quantized types: saved programs, the cache, ``--compare``, traces, reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import MICROSOFT, model, node, normal, onnxruntime_says

import kpu_ir
from kpu_ir.integrations.onnxruntime import compare
from kpu_ir.report.trace import write_trace

pytest.importorskip("onnxruntime")
RNG = np.random.default_rng(0)
U8, I8, F = np.uint8, np.int8, np.float32
X = {"x": normal(1, 4, 8, 8)}


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Bytes convolved and added, then weights of 4 bits."""
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path / "cache"))
    nodes = [
        node("QuantizeLinear", "x s z", "q", "in"),
        node("QLinearConv", "q s z w sw zw s z", "h", "conv", pads=[1] * 4),
        node("QLinearAdd", "h s z q s z s z", "a", "add", domain=MICROSOFT),
        node("DequantizeLinear", "a s z", "d", "out"),
        node("Flatten", "d", "f", "flat"),
        node("MatMulNBits", "f b sb", "y", "head", K=256, N=8, bits=4, block_size=32,
             domain=MICROSOFT),
    ]  # fmt: skip
    known = {"s": F(0.03), "z": U8(120), "zw": np.zeros(4, I8), "sw": np.full(4, 0.002, F),
             "w": RNG.integers(-128, 128, (4, 4, 3, 3)).astype(I8), "sb": np.full(64, 0.01, F),
             "b": RNG.integers(0, 256, (8, 8, 16)).astype(U8)}  # fmt: skip
    found = tmp_path / "model.onnx"
    found.write_bytes(model(nodes, X, known).SerializeToString())
    return found


def load(path: Path, **more: Any) -> Any:
    return kpu_ir.load(path, search="none", **more)


def test_saved_and_cached_programs_are_the_same(path: Path):
    program = load(path)
    y = program(X)["y"]
    program.save(path.with_suffix(".kpu"))
    for other in (kpu_ir.open(path.with_suffix(".kpu")), load(path)):
        np.testing.assert_array_equal(other(X)["y"], y)
        assert other.cycles == program.cycles
    expected = onnxruntime_says(__import__("onnx").load(path), X)[0]
    np.testing.assert_allclose(y, expected, atol=1e-4 * abs(expected).max())


def test_layers_are_compared_in_integers(path: Path):
    found = compare(load(path, fuse="none"), X)
    shares = {row.tensor: row.unequal for row in found}
    assert shares["h"] == shares["a"] == shares["q"] == 0.0
    assert shares["y"] is None
    assert found.first is None
    assert "equal" in str(found)
    assert json.loads(found.to_json())["rows"][0]["unequal"] == 0.0


def test_a_difference_of_bytes_is_told(path: Path, monkeypatch: pytest.MonkeyPatch):
    import kpu_ir.integrations.onnxruntime as integration

    right, changed = integration._expected, list[float]()

    def wrong(*given: Any) -> dict[str, Any]:
        tensors = right(*given)
        changed.append(float((tensors["h"] < 128).mean()))
        return tensors | {"h": np.where(tensors["h"] < 128, tensors["h"] + 1, tensors["h"])}

    monkeypatch.setattr(integration, "_expected", wrong)
    found = compare(load(path, fuse="none"), X)
    row = next(row for row in found if row.tensor == "h")
    assert row.max_abs_error == 1
    assert row.unequal == changed[-1]
    assert f"{100 * row.unequal:.3g} % unequal" in str(found)


def test_traces_and_reports(path: Path):
    program = load(path)
    target = path.with_suffix(".html")
    program.report(target)
    assert "head" in target.read_text()
    trace = path.with_suffix(".json")
    write_trace(program.program, trace)
    names = {e.get("name", "") for e in json.loads(trace.read_text())["traceEvents"]}
    assert names
    summary = program.summary()
    assert summary.macs >= 4 * 4 * 9 * 64 + 256 * 8
    assert summary.coverage == pytest.approx(1)


@pytest.fixture
def ties(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A mean of four bytes in their own steps: a half in one of two where their sum is odd; then a maximum."""
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path / "cache"))
    nodes = [
        node("QuantizeLinear", "x s z", "q", "in"),
        node("DequantizeLinear", "q s z", "d"),
        node("AveragePool", "d", "p", "mean", kernel_shape=[2, 2], strides=[2, 2]),
        node("QuantizeLinear", "p s z", "pq", "again"),
        node("DequantizeLinear", "pq s z", "pd"),
        node("MaxPool", "pd", "m", "largest", kernel_shape=[2, 2], strides=[2, 2]),
        node("QuantizeLinear", "m s z", "mq", "last"),
        node("DequantizeLinear", "mq s z", "y"),
    ]
    given = {"x": normal(1, 16, 32, 32)}
    found = tmp_path / "ties.onnx"
    proto = model(nodes, given, {"s": F(0.0217), "z": U8(120)}, opset=17)
    found.write_bytes(proto.SerializeToString())
    return load(found, fuse="none"), given


def test_a_step_at_a_tie_is_no_wrong_value(ties: Any):
    """onnxruntime adds up floats, and rounds some halves to the other side; what follows carries that on."""
    program, given = ties
    found = compare(program, given)
    rows = {row.tensor: row for row in found}
    if not rows["pq"].unequal:
        pytest.skip("onnxruntime rounds every half as we do, on this processor")
    assert rows["pq"].cause == "steps at ties"
    assert rows["pq"].one_step == round(rows["pq"].unequal * 16 * 16 * 16)
    assert rows["mq"].cause == "carried on"
    assert found.first is None
    assert "no layer is wrong" in found.verdict()
    assert "steps at ties" in str(found)


def test_a_step_elsewhere_is_a_wrong_value(ties: Any, monkeypatch: pytest.MonkeyPatch):
    from kpu_ir.sim.values.values import ValueModel

    program, given = ties
    right = ValueModel._call
    (number,) = [i for i, c in enumerate(program.program.calls) if c.label == "mean"][-1:]

    def call(self: Any, call: Any, data: Any, masks: Any) -> None:
        right(self, call, data, masks)
        if call is program.program.calls[number]:
            data[call.arguments[-1]].reshape(-1)[:64] += 1

    monkeypatch.setattr(ValueModel, "_call", call)
    found = compare(program, given)
    assert found.first is not None
    assert found.first.tensor == "pq"
    assert [row.tensor for row in found if row.differs] == ["pq"]  # the rest carries it on
