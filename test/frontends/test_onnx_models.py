"""What whole models need of the import: weights in place, work counted, layers over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import kpu_ir
from kpu_ir.dialects import kernel
from kpu_ir.frontends.onnx import import_onnx
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.report.screen import text
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import array_of, bytes_of, dense_of

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

RNG = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def model(nodes: list[Any], inputs: dict[str, Any], weights: dict[str, Any], *outputs: str) -> Any:
    """A model whose inputs are like the arrays that are given."""
    kind = helper.np_dtype_to_tensor_dtype
    graph = helper.make_graph(
        nodes, "test",
        [helper.make_tensor_value_info(k, kind(v.dtype), v.shape) for k, v in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs or ("y",)],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


# Weights


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.float64])
@pytest.mark.parametrize("offset", [0, 3], ids=["aligned", "misaligned"])
def test_external_weights_are_read_once(tmp_path: Path, dtype: Any, offset: int):
    x = RNG.normal(0, 1, (2, 32)).astype(dtype)
    w = RNG.normal(0, 1, (32, 8)).astype(dtype)
    proto = model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": x}, {"w": w})
    (tensor,) = proto.graph.initializer
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", "offset": offset, "length": len(data)}.items():
        tensor.external_data.add(key=key, value=str(value))
    (tmp_path / "w.bin").write_bytes(b"\0" * offset + data + b"\1")
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    module = import_onnx(tmp_path / "m.onnx")
    (constant,) = [op for op in module.walk() if isinstance(op, kernel.ConstantOp)]
    held = constant.value.data.data
    assert isinstance(held, bytes)  # not mapped: who cuts the file later changes nothing
    assert np.array_equal(array_of(constant.value), w)
    with pytest.raises(ValueError, match="read-only"):
        array_of(constant.value)[0, 0] = 1
    (got,) = evaluate(module, [x])
    want = x.astype(np.float64) @ w.astype(np.float64)
    np.testing.assert_allclose(
        got.astype(np.float64), want, atol=0.1 if got.itemsize == 2 else 1e-5
    )
    compiled = kpu_ir.load(tmp_path / "m.onnx", search="none") if got.itemsize < 8 else None
    if compiled is not None:
        assert np.array_equal(compiled(x=x)["y"], compiled.reference({"x": x})["y"])


def test_external_data_with_negative_places(tmp_path: Path):
    w = normal(4, 4)
    proto = model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": w}, {"w": w})
    (tensor,) = proto.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    tensor.external_data.add(key="offset", value="-4")
    (tmp_path / "w.bin").write_bytes(bytes(256))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(KpuError, match="must not be negative"):
        import_onnx(tmp_path / "m.onnx")


def test_constants_share_the_bytes_that_they_are_read_from():
    data = normal(3, 4).tobytes()
    array = np.frombuffer(data, np.float32).reshape(3, 4)
    assert bytes_of(array) is data
    assert dense_of(array).data.data is data
    for other in (array[1:], array.T, array.copy()):  # a part, another order, what may change
        assert bytes_of(other) == other.tobytes()
        assert bytes_of(other) is not data


def test_products_of_half_precision_that_are_cast():
    """What torch exports of RMS norms in f16: the sum, and its squares in f32."""
    x, w = normal(4, 8).astype(np.float16), normal(8, 8).astype(np.float16)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Add", ["p", "x"], ["s"]),
        helper.make_node("Cast", ["s"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["f", "f"], ["y"]),
    ]
    compiled = kpu_ir.compile(import_onnx(model(nodes, {"x": x}, {"w": w})), search="none")
    got = compiled(x=x)["y"]
    assert got.dtype == np.float32
    # One kernel, which rounds the sum nowhere; the model's own tensors are f16.
    reference = compiled.reference({"x": x})["y"]
    np.testing.assert_allclose(got, reference, rtol=5e-3, atol=1e-3)
    total = (x.astype(np.float32) @ w.astype(np.float32)).astype(np.float16) + x
    np.testing.assert_allclose(got, total.astype(np.float32) ** 2, rtol=5e-3, atol=1e-3)


# Work


def figures(module: Any) -> dict[str, int]:
    return {k: v.value.data for k, v in module.attributes["kpu.model"].data.items()}


IMAGE = normal(1, 4, 9, 10)
COUNTED: dict[str, tuple[Any, dict[str, Any], dict[str, Any], int]] = {
    "matmul": (helper.make_node("MatMul", ["x", "w"], ["y"]), {"x": normal(2, 3, 4)}, {"w": normal(4, 5)}, 2 * 3 * 4 * 5),
    "gemm": (helper.make_node("Gemm", ["x", "w"], ["y"], transA=1, transB=1), {"x": normal(4, 3)}, {"w": normal(5, 4)}, 60),
    "convolution": (
        helper.make_node("Conv", ["x", "w"], ["y"], group=2, strides=[2, 2], pads=[1, 1, 1, 1]),
        {"x": IMAGE}, {"w": normal(6, 2, 3, 3)}, 6 * 5 * 5 * 2 * 9,
    ),
    "depthwise": (
        helper.make_node("Conv", ["x", "w"], ["y"], group=4), {"x": IMAGE}, {"w": normal(4, 1, 3, 3)}, 4 * 7 * 8 * 9,
    ),
    "einsum": (
        helper.make_node("Einsum", ["x", "w"], ["y"], equation="bij,bjk->bik"),
        {"x": normal(2, 3, 4)}, {"w": normal(2, 4, 5)}, 2 * 3 * 4 * 5,
    ),
    "lstm": (
        helper.make_node("LSTM", ["x", "w", "r", "", "", "h"], ["y"], hidden_size=5),
        {"x": normal(3, 2, 4), "h": normal(1, 2, 5)}, {"w": normal(1, 20, 4), "r": normal(1, 20, 5)}, 3 * 2 * 20 * (4 + 5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTED)
def test_work_is_counted_as_it_is_simulated(name: str):
    node, inputs, weights, macs = COUNTED[name]
    module = import_onnx(model([node], inputs, weights))
    assert figures(module) == {"macs": macs, "nodes": 1, "folded": 0, "device": 1}
    summary = kpu_ir.compile(module, search="none").summary()
    assert (summary.model_macs, summary.model_nodes, summary.folded_nodes) == (macs, 1, 0)
    assert summary.host_nodes == 0
    assert summary.coverage == 1.0
    assert summary.macs == macs


MORE = {
    "padding multiplied": (
        helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2]),
        {"x": normal(1, 4, 5, 5)}, {"w": normal(4, 3, 3, 3)},
    ),
    "a product with zeros left out": (
        helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=5),
        {"x": normal(3, 2, 4)}, {"w": normal(1, 20, 4), "r": normal(1, 20, 5)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MORE)
def test_all_is_covered_where_all_is_simulated(name: str):
    node, inputs, weights = MORE[name]
    summary = kpu_ir.compile(import_onnx(model([node], inputs, weights)), search="none").summary()
    assert (summary.host_nodes, summary.coverage) == (0, 1.0)


def test_products_that_the_array_does_not_know_have_a_time_and_are_said_to():
    x, w = (np.arange(20, dtype=np.int32).reshape(s) for s in ((4, 5), (5, 4)))
    module = import_onnx(model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": x}, {"w": w}))
    program = kpu_ir.compile(module, search="none")
    assert (program(x=x)["y"] == x @ w).all()
    summary = program.summary()
    assert (summary.macs, summary.vector_types, summary.coverage) == (80, ["i32"], 1.0)
    assert "products of i32 are on the vector engine" in text(summary)
    waited = {cause for stalls in program.timing.stalls.values() for cause in stalls}
    assert not any("fabric" in cause for cause in waited)


def test_work_of_attention():
    q, k = normal(1, 4, 6, 8), normal(1, 2, 5, 8)
    node = helper.make_node("Attention", ["q", "k", "v"], ["y"])
    proto = model([node], {"q": q, "k": k, "v": k}, {})
    proto.opset_import[0].version = 23
    assert figures(import_onnx(proto))["macs"] == 2 * 4 * 6 * 5 * 8


def test_arithmetic_on_shapes_and_masks_is_folded_and_said_so():
    """As torch's older exporter writes a view and a mask of -3.4e38."""
    x = normal(2, 6)
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["rows"]),
        helper.make_node("Unsqueeze", ["rows", "axis"], ["row"]),
        helper.make_node("Concat", ["row", "parts"], ["view"], axis=0),
        helper.make_node("Reshape", ["x", "view"], ["r"]),
        helper.make_node("Where", ["mask", "least", "none"], ["bias"]),
        helper.make_node("Add", ["r", "bias"], ["a"]),
        helper.make_node("Softmax", ["a"], ["y"]),
    ]
    weights = {
        "zero": np.array(0), "axis": np.array([0]), "parts": np.array([2, 3]),
        "mask": np.array([[False, False, True]]), "none": np.float32(0),
        "least": np.array(np.finfo(np.float32).min),
    }  # fmt: skip
    module = import_onnx(model(nodes, {"x": x}, weights))
    assert figures(module) == {"macs": 0, "nodes": 8, "folded": 5, "device": 3}
    names = {op.name for op in module.walk()}
    assert "kernel.gather" not in names
    (got,) = evaluate(module, [x])
    assert got.shape == (2, 2, 3)
    assert (got[..., 2] == 0).all()
    np.testing.assert_allclose(got.sum(-1), 1, rtol=1e-6)
    assert kpu_ir.compile(module, search="none").summary().coverage is None


def test_unsupported_operators_come_with_their_share_of_the_work():
    x, w = normal(16, 32), normal(32, 64)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"], "product"),
        helper.make_node("RandomNormalLike", ["square"], ["d"], "first"),
        *(helper.make_node("NonZero", ["p"], [f"n{i}"], f"where{i}") for i in range(5)),
        helper.make_node("Scale", ["p"], ["q"], "theirs", domain="acme"),
    ]
    inputs = {"x": x, "square": normal(4, 4)}
    proto = model(nodes, inputs, {"w": w}, "p")
    for name in ("d", "q", *(f"n{i}" for i in range(5))):
        proto.graph.output.append(helper.make_empty_tensor_value_info(name))
    with pytest.raises(KpuError) as caught:
        import_onnx(proto)
    text = str(caught.value)
    # 16 of 65536 + 16
    assert "node 'first' (RandomNormalLike): 0.0244 % of the model's work" in text
    assert "'where0' (NonZero), node 'where1' (NonZero), node 'where2' (NonZero) and 2 more" in text
    assert "node 'theirs' (acme.Scale): an unknown share of the model's work" in text
    assert "MatMul" not in text


# Layers over time

LAYERS: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("LSTM", {}),
    "lstm both ways": ("LSTM", {"direction": "bidirectional"}),
    "lstm reverse, plain": ("LSTM", {"direction": "reverse", "bias": False, "start": False}),
    "lstm peepholes": ("LSTM", {"peepholes": True}),
    "lstm clipped": ("LSTM", {"clip": 0.2}),
    "gru": ("GRU", {}),
    "gru late, both ways": ("GRU", {"linear_before_reset": 1, "direction": "bidirectional"}),
    "gru late, plain": ("GRU", {"linear_before_reset": 1, "bias": False, "start": False}),
    "rnn reverse": ("RNN", {"direction": "reverse"}),
    "rnn relu": ("RNN", {"activations": ["Relu"], "clip": 0.3}),
}


def layer(kind: str, options: dict[str, Any], steps: int = 4) -> tuple[Any, dict[str, Any]]:
    """A recurrent layer of 3 inputs and 5 states for a batch of 2."""
    options = dict(options)
    batch, inputs, hidden = 2, 3, 5
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    ways = 2 if options.get("direction") == "bidirectional" else 1
    weights = {
        "w": normal(ways, gates * hidden, inputs), "r": normal(ways, gates * hidden, hidden),
        "b": normal(ways, 2 * gates * hidden), "h": normal(ways, batch, hidden),
        "c": normal(ways, batch, hidden), "p": normal(ways, 3 * hidden),
    }  # fmt: skip
    names = ["x", "w", "r", "b" if options.pop("bias", True) else "", ""]
    if options.pop("start", True):
        names += ["h", "c"] if kind == "LSTM" else ["h"]
    if options.pop("peepholes", False):
        names.append("p")
    outputs = ["y", "last", *(["cell"] if kind == "LSTM" else [])]
    node = helper.make_node(kind, names, outputs, hidden_size=hidden, **options)
    x = {"x": normal(steps, batch, inputs)}
    return model([node], x, {k: v for k, v in weights.items() if k in names}, *outputs), x


@pytest.mark.parametrize("name", LAYERS)
def test_layers_over_time(name: str):
    runtime = pytest.importorskip("onnxruntime", reason="the oracle is onnxruntime")
    proto, inputs = layer(*LAYERS[name])
    want = runtime.InferenceSession(proto.SerializeToString()).run(None, inputs)
    module = import_onnx(proto)
    module.verify()
    got = evaluate(module, list(inputs.values()))
    for have, expected in zip(got, want, strict=True):
        assert have.shape == expected.shape
        np.testing.assert_allclose(have, expected, rtol=1e-5, atol=1e-6)


def test_steps_share_their_kernels():
    short, long = (
        kpu_ir.compile(import_onnx(layer("LSTM", {}, steps)[0]), search="none") for steps in (3, 6)
    )
    assert len(long.program.calls) > len(short.program.calls)
    assert len(long.program.plans) <= len(short.program.plans) + 1  # the first step is folded


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activations": ["Softsign", "Tanh", "Tanh"]}, "activations softsign, tanh, tanh"),
        ({"activations": ["Tanh"]}, "activations tanh are not supported"),
    ],
)
def test_layers_over_time_that_are_not_supported(options: dict[str, Any], message: str):
    with pytest.raises(KpuError, match=message):
        import_onnx(layer("LSTM", options)[0])


def test_sequences_of_different_lengths_are_refused():
    proto, _ = layer("GRU", {})
    proto.graph.node[0].input[4] = "lengths"
    proto.graph.initializer.append(numpy_helper.from_array(np.array([4, 3], np.int32), "lengths"))
    with pytest.raises(KpuError, match="different lengths"):
        import_onnx(proto)
