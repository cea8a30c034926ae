"""``kpu-quantize``: standard ONNX, written whole or not at all, and what it reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import model, node, normal, onnxruntime_says, port

import kpu_ir
from kpu_ir import KpuError
from kpu_ir.integrations.quantize import quantize
from kpu_ir.integrations.quantize_model import FLOATS_OF_STEPS
from kpu_ir.integrations.quantize_report import noise
from kpu_ir.integrations.quantize_weights import blocked, symmetric
from kpu_ir.tools.quantize import main

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

X = normal(1, 3, 8, 8)
ROWS = normal(5, 64)


def written(path: Path, made: Any) -> Path:
    path.write_bytes(made.SerializeToString())
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Two convolutions and a layer."""
    nodes = [
        node("Conv", "x w", "h", "first", pads=[1] * 4),
        node("Relu", "h", "r", "relu"),
        node("Conv", "r v", "g", "second"),
        node("Flatten", "g", "f", "flat"),
        node("Gemm", "f u b", "y", "head"),
    ]
    weights = {"w": normal(4, 3, 3, 3), "v": normal(4, 4, 3, 3, seed=1), "b": normal(5)}
    made = model(nodes, {"x": X}, {**weights, "u": normal(144, 5, seed=2) / 12})
    return written(tmp_path / "image.onnx", made)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    nodes = [
        node("MatMul", "x w", "h", "up"),
        node("Gelu", "h", "g", "act"),
        node("Gemm", "g v", "y", "down", transB=1),
    ]
    weights = {"w": normal(64, 96) / 8, "v": normal(7, 96, seed=1) / 10}
    return written(tmp_path / "rows.onnx", model(nodes, {"x": ROWS}, weights, opset=20))


def close(path: Path, made: Any, x: Any, tolerance: float) -> None:
    """The quantized model beside the one in a file, in onnxruntime and here."""
    (expected,) = onnxruntime_says(onnx.load(path), {"x": x})
    (there,) = onnxruntime_says(made, {"x": x})
    # Steps of 4 or 8 bits are far above what rounding in f32 does: below that nothing was quantized.
    assert 1e-4 < abs(there - expected).max() / abs(expected).max() < tolerance
    target = path.with_name("quantized.onnx")
    target.write_bytes(made.SerializeToString())
    here = kpu_ir.load(target, search="none")({"x": x})["y"]
    assert abs(here - there).max() < 0.01 * abs(expected).max()


@pytest.mark.parametrize("activations", ["u8", "i8"])
def test_calibrated(image: Path, activations: Any):
    made = quantize(image, calibrate={"x": normal(4, 3, 8, 8)}, activations=activations)
    assert made.layers == ("first", "second", "head")
    assert not made.kept
    assert len(made.calibration) == 4
    onnx.checker.check_model(made.model)
    close(image, made.model, X, 0.1)


@pytest.mark.parametrize("shape", [(7,), (1, 7), (), (2, 1), (2, 7)])
def test_a_bias_of_any_shape_and_factor(tmp_path: Path, shape: tuple[int, ...]):
    """onnxruntime's quantizer fails on those that are not (7,), and counts ``beta`` twice."""
    x = normal(2, 64)
    nodes = [node("Gemm", "x w b", "h", "fc", alpha=0.5, beta=2.0), node("Relu", "h", "y", "act")]
    weights = {"w": normal(64, 7), "b": normal(*shape, seed=1) * np.float32(3)}
    path = written(tmp_path / "bias.onnx", model(nodes, {"x": x}, weights))
    made = quantize(path, calibrate={"x": np.stack([x, normal(2, 64, seed=2)])})
    assert made.layers == ("fc",)
    close(path, made.model, x, 0.02)
    (row,) = noise(onnx.load(path), made.model, made.layers, made.calibration)
    assert 30 < row.snr_db < 60


def test_excluded_nodes_stay(image: Path):
    made = quantize(image, calibrate={"x": X}, exclude=["*ead"])
    assert made.layers == ("first", "second")
    assert made.kept == {"head": "excluded by '*ead'"}


def test_excluded_nodes_read_no_steps(image: Path):
    """What an excluded node alone reads is no longer stored in bytes, and the ReLU that saturation stood for is back."""
    made = quantize(image, calibrate={"x": X}, exclude="second", rounding="nearest")
    makers = {n.output[0]: n for n in made.model.graph.node}
    read = [makers.get(n.input[0]) for n in made.model.graph.node if n.name == "second"]
    assert [n.op_type for n in read if n is not None] == ["Relu"]
    onnx.checker.check_model(made.model)
    close(image, made.model, X, 0.1)
    # The first layer's own noise is all that reaches it: nothing is lost behind it.
    own, second, _ = noise(onnx.load(image), made.model, made.layers, [{"x": X}])
    assert (own.quantized, second.quantized) == (True, False)
    stepped = quantize(image, calibrate={"x": X}, rounding="nearest")
    assert (
        second.snr_db > noise(onnx.load(image), stepped.model, stepped.layers, [{"x": X}])[1].snr_db
    )


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers_are_said_to_stay(tmp_path: Path, kind: str):
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[kind]
    x = normal(5, 1, 8)
    nodes = [
        node("MatMul", "x w", "p", "project"),
        node(kind, "p t r", "d", "recurrent", hidden_size=4),
        node("Reshape", "d s", "f", "flat"),
        node("MatMul", "f v", "y", "head"),
    ]
    weights = {"w": normal(8, 8), "t": normal(1, 4 * gates, 8), "r": normal(1, 4 * gates, 4),
               "v": normal(4, 3), "s": np.array([5, 4])}  # fmt: skip
    path = written(tmp_path / "recurrent.onnx", model(nodes, {"x": x}, weights))
    why = {"recurrent": "recurrent layers are not quantized"}
    for how in ({"calibrate": {"x": x}}, {"activations": "none"}, {"per_token": True}):
        given: dict[str, Any] = {"activations": "i8", **how}
        made = quantize(path, **given)
        assert (made.layers, made.kept) == (("project", "head"), why)
    excluded = quantize(path, calibrate={"x": x}, exclude="rec*")
    assert excluded.kept == {"recurrent": "excluded by 'rec*'"}


def test_a_transposed_convolution_is_said_to_be_of_floats(tmp_path: Path):
    """Its operands are in steps, and have their noise; kpu-ir multiplies them dequantized."""
    x = normal(1, 4, 6, 6)
    nodes = [node("Conv", "x w", "c", "first"), node("ConvTranspose", "c t", "y", "up")]
    proto = model(nodes, {"x": x}, {"w": normal(4, 4, 3, 3), "t": normal(4, 4, 2, 2)})
    path = written(tmp_path / "up.onnx", proto)
    made = quantize(path, calibrate={"x": x})
    assert (made.layers, made.kept) == (("first",), {"up": FLOATS_OF_STEPS})
    assert [r.quantized for r in made.report().layers] == [True, False]
    light = quantize(path, activations="none")
    assert light.layers == ("first",)
    assert light.kept.keys() == {"up"}
    assert quantize(path, calibrate={"x": x}, exclude="up").kept == {"up": "excluded by 'up'"}
    alone = written(tmp_path / "alone.onnx", model([node("ConvTranspose", "x t", "y", "up")], {"x": x},
                    {"t": normal(4, 4, 2, 2)}))  # fmt: skip
    assert quantize(alone, calibrate={"x": x}).kept == {"up": FLOATS_OF_STEPS}


def test_in_python_wrong_settings_are_errors_too(image: Path):
    assert quantize(image, per_token=True, exclude="*fir*").kept.keys() == {"first", "second"}
    for wrong in ({"block": "32"}, {"per_token": "no"}, {"weights": "i2"}, {"method": "mean"}):
        with pytest.raises(KpuError):
            quantize(image, **{"activations": "none", **wrong})


def test_a_mask_is_not_quantized(tmp_path: Path):
    """Attention: products alone, and those beside a mask's range not."""
    nodes = [
        node("MatMul", "x w", "q", "query"),
        node("Transpose", "q", "k", "turn", perm=[1, 0]),
        node("MatMul", "q k", "s", "scores"),
        node("Add", "s m", "a", "mask"),
        node("Softmax", "a", "p", "soft"),
        node("MatMul", "p q", "o", "values"),
        node("MatMul", "a q", "y", "beside"),
    ]
    mask = np.where(np.tri(5), 0, np.finfo(np.float32).min).astype(np.float32)
    made = model(nodes, {"x": ROWS}, {"w": normal(64, 16) / 8, "m": mask}, ["o", "y"])
    path = written(tmp_path / "attention.onnx", made)
    found = quantize(path, calibrate={"x": ROWS})
    assert found.layers == ("query", "scores", "values")
    assert found.kept == {"beside": "its range is a mask's"}
    there = {n.op_type for n in found.model.graph.node}
    assert {"Add", "Softmax"} <= there


def test_attention_keeps_its_sums_in_floats(tmp_path: Path):
    """Products read bytes; what they make is quantized only where the next product reads it, its bias is in
    steps of the sum, and what two activations' product reads is around 0."""
    nodes = [
        node("MatMul", "x w", "q", "query"),
        node("Add", "q b", "qb", "biased"),
        node("Transpose", "qb", "k", "turn", perm=[1, 0]),
        node("MatMul", "qb k", "s", "scores"),
        node("Softmax", "s", "p", "soft"),
        node("MatMul", "p qb", "y", "values"),
    ]
    held = {"w": normal(64, 16) / 8, "b": normal(16)}
    path = written(tmp_path / "attention.onnx", model(nodes, {"x": ROWS}, held, ["y"]))
    made = quantize(path, calibrate={"x": ROWS}).model
    onnx.checker.check_model(made)
    quantized = {n.input[0] for n in made.graph.node if n.op_type == "QuantizeLinear"}
    assert quantized == {"x", "qb", "k", "p"}
    known = {t.name: onnx.numpy_helper.to_array(t) for t in made.graph.initializer}
    points = {
        n.input[0]: known[n.input[2]] for n in made.graph.node if n.op_type == "QuantizeLinear"
    }
    assert {n: p.dtype.name for n, p in points.items()} == {
        "x": "uint8", "p": "uint8", "qb": "int8", "k": "int8"
    }  # fmt: skip
    assert not any(points[n].any() for n in ("qb", "k", "p"))
    (stored,) = (a for a in known.values() if a.dtype == np.int32)
    assert stored.shape == (16,)
    assert "b" not in known
    close(path, made, ROWS, 0.05)
    target = written(tmp_path / "made.onnx", made)
    counts = kpu_ir.load(target, search="none").time().counts
    assert counts["macs.i8"] == 5 * 16 * (64 + 5 + 5)
    # Two programs requantize: the projection and the values' weights; neither has sums of rows to add up.
    assert not counts.get("macs.f32", 0)


@pytest.mark.parametrize(
    ("settings", "tolerance"),
    [
        ({"activations": "none"}, 0.02),
        ({"activations": "none", "weights": "i4"}, 0.2),
        ({"activations": "none", "block": 16}, 0.02),
        ({"activations": "none", "weights": "i4", "rounding": "gptq"}, 0.2),
        ({"activations": "f16", "weights": "i4"}, 0.2),
        ({"per_token": True, "activations": "i8"}, 0.05),
        ({"per_token": True, "activations": "i8", "weights": "i4"}, 0.2),
    ],
    ids=str,
)
def test_weights_and_rows(rows: Path, settings: Any, tolerance: float):
    data = {"x": normal(3, 5, 64, seed=3)} if "rounding" in settings else None
    made = quantize(rows, calibrate=data, **settings)
    assert made.layers == ("up", "down")
    onnx.checker.check_model(made.model)
    close(rows, made.model, ROWS, tolerance)


def test_a_small_model_grows(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    weights = {"w": normal(16, 4)}
    made = model([node("MatMul", "x w", "y", "up")], {"x": normal(2, 16)}, weights)
    path, target = written(tmp_path / "small.onnx", made), tmp_path / "made.onnx"
    assert main([str(path), "-o", str(target), "--per-token"]) == 0
    ratio = target.stat().st_size / path.stat().st_size
    assert f"({ratio:.2f} x more)" in capsys.readouterr().out


def test_bytes_beside_a_model_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    made = model([node("MatMul", "x w", "y", "up")], {"x": normal(2, 64)}, {"w": normal(64, 64)})
    path, target = tmp_path / "beside.onnx", tmp_path / "made.onnx"
    onnx.save_model(made, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert main([str(path), "-o", str(target), "--activations", "none"]) == 0
    size = path.stat().st_size + 4 * 64 * 64
    assert f"({size / target.stat().st_size:.2f} x fewer)" in capsys.readouterr().out


def test_a_quantized_model_is_not_quantized_again(image: Path):
    made = image.with_name("made.onnx")
    quantize(image, made, {"x": X})
    with pytest.raises(KpuError, match="quantized already"):
        quantize(made, calibrate={"x": X})


def test_rows_of_f16(tmp_path: Path):
    """What is written is of the model's type, and a row of zeros stays zeros."""
    x = np.where(np.arange(5)[:, None] == 2, 0, ROWS).astype(np.float16)
    weights = (normal(64, 16) / 8).astype(np.float16)
    path = written(
        tmp_path / "f16.onnx", model([node("MatMul", "x w", "y", "up")], {"x": x}, {"w": weights})
    )
    made = quantize(path, tmp_path / "made.onnx", per_token=True)
    (theirs,) = onnxruntime_says(made.model, {"x": x})
    ours = kpu_ir.load(tmp_path / "made.onnx", search="none")(x=x)["y"]
    exact = x.astype(np.float64) @ weights.astype(np.float64)
    bound = np.abs(exact).max() * 0.02
    assert (ours[2] == 0).all()
    np.testing.assert_allclose(ours, exact, atol=bound)
    np.testing.assert_allclose(ours, theirs, atol=bound / 10)


def test_a_head_that_is_the_embedding_turned(tmp_path: Path):
    nodes = [
        node("Gather", "e i", "g", "rows"),
        node("Transpose", "e", "t", "turn", perm=[1, 0]),
        node("MatMul", "g t", "y", "head"),
    ]
    made = model(nodes, {"i": np.array([3, 1])}, {"e": normal(40, 64)}, opset=20)
    path = written(tmp_path / "tied.onnx", made)
    found = quantize(path, activations="none", weights="i4")
    assert found.layers == ("head",)
    turned = [n for n in found.model.graph.node if n.op_type == "Transpose"]
    assert len(turned) == 1  # of what is dequantized: rows of memory stay rows
    (expected,), (got,) = (onnxruntime_says(m, {"i": [3, 1]}) for m in (made, found.model))
    assert 1e-3 < abs(got - expected).max() / abs(expected).max() < 0.2


def cached(path: Path) -> Path:
    """A row that is projected, and multiplies a cache of other rows."""
    nodes = [
        node("MatMul", "x w", "q", "up"),
        node("Transpose", "k", "t", "turn", perm=[1, 0]),
        node("MatMul", "q t", "y", "scores"),
    ]
    inputs = {"x": normal(1, 64), "k": normal(24, 32, seed=5)}
    made = model(nodes, inputs, {"w": normal(64, 32) / 8}, opset=20, outputs=("y", "q"))
    for info, width in zip(made.graph.output, (24, 32)):
        info.CopyFrom(port(info.name, (1, width)))
    return written(path, made)


@pytest.mark.parametrize(
    "settings", [{"per_token": True, "activations": "i8"}, {"activations": "f16"}], ids=str
)
def test_a_cache_of_f16(tmp_path: Path, settings: Any):
    """It is read as it is; the same results as of the same numbers in f32, where sums are of f32."""
    path, target = cached(tmp_path / "step.onnx"), tmp_path / "made.onnx"
    found = quantize(path, target, weights="i4", io_f16=("k", "q"), **settings)
    onnx.checker.check_model(found.model)
    x, k = normal(1, 64), normal(24, 32, seed=5).astype(np.float16)
    here = kpu_ir.load(target, search="none")(x=x, k=k)
    assert {name: str(a.dtype) for name, a in here.items()} == {"y": "float32", "q": "float16"}
    there = onnxruntime_says(found.model, {"x": x, "k": k})
    wide = quantize(path, weights="i4", **settings).model
    expected = onnxruntime_says(wide, {"x": x, "k": k.astype(np.float32)})
    for name, a, b in zip(("y", "q"), there, expected):
        np.testing.assert_array_equal(a, b.astype(a.dtype))
        # Sums of f16 are f32 here, and onnxruntime's: each rounds once, or a step apart twice.
        np.testing.assert_allclose(here[name], a, atol=2**-10 * abs(b).max())


def test_a_cache_of_f16_is_no_program_of_its_own(tmp_path: Path):
    target = tmp_path / "made.onnx"
    quantize(cached(tmp_path / "step.onnx"), target, per_token=True, activations="i8", io_f16="k")
    compiled = kpu_ir.load(target, search="none")
    counts = compiled.time().counts
    assert counts["converts"] == 24 * 32  # each number of the cache, where it enters the array


def test_short_caches_are_reported(tmp_path: Path):
    found = quantize(cached(tmp_path / "step.onnx"), activations="none", io_f16="k")
    (first, second) = found.report().layers
    assert first.quantized
    assert not second.quantized
    assert 30 < second.snr_db < 70  # the noise of weights of 8 bits


def test_branches_read_a_short_input_too(tmp_path: Path):
    from onnx import TensorProto, helper

    from kpu_ir.integrations.quantize_ports import shorten_ports

    def graph(sign: str) -> Any:
        out = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
        return helper.make_graph([node(sign, "x", "z", sign)], sign, [], [out])

    choice = helper.make_node(
        "If", ["c"], ["y"], then_branch=graph("Neg"), else_branch=graph("Abs")
    )
    x = np.float32([[-1.5, 2]])
    made = model([choice], {"c": np.array(True), "x": x}, opset=20)
    made.graph.output[0].CopyFrom(port("y", (1, 2)))
    shorten_ports(made, ["x"])
    onnx.checker.check_model(made, full_check=True)
    (got,) = onnxruntime_says(made, {"c": np.array(True), "x": x.astype(np.float16)})
    np.testing.assert_array_equal(got, -x)


def test_steps_of_weights():
    weights = normal(64, 6)
    weights[:32, 0] = 0
    for bits in (4, 8):
        stored, scale = blocked(weights, 0, 32, bits)
        assert scale.shape == (2, 6)
        back = stored * np.repeat(scale, 32, axis=0)
        step = np.repeat(abs(scale), 32, axis=0)
        assert stored.min() >= -(1 << bits - 1)
        inside = (stored > stored.min()) & (stored < stored.max())
        assert (abs(back - weights) <= step / 2 + 1e-6)[inside].all()
        plain, scale = symmetric(weights, 1, bits)
        highest = (1 << bits - 1) - 1
        inside = abs(weights) <= scale * (highest + 0.5)
        assert (abs(plain * scale - weights) <= scale / 2 + 1e-6)[inside].all()
        assert abs(plain).max() == highest
        assert inside.all() or bits == 4


def test_cutting_off_the_largest_is_never_worse():
    weights = normal(64, 50)
    cut, fine = blocked(weights, 0, 32, 4)
    largest = np.repeat(np.abs(weights.reshape(2, 32, 50)).max(1), 32, axis=0) / 8
    plain = np.clip(np.rint(weights / largest), -8, 7) * largest
    cut = cut * np.repeat(fine, 32, axis=0)
    assert np.square(cut - weights).sum() < np.square(plain - weights).sum()


def test_noise_is_that_of_the_tensors(rows: Path):
    made = quantize(rows, activations="none", weights="i4")
    found = noise(onnx.load(rows), made.model, made.layers, [{"x": ROWS}])
    (expected,) = onnxruntime_says(onnx.load(rows), {"x": ROWS})
    (got,) = onnxruntime_says(made.model, {"x": ROWS})
    ratio = np.square(expected).sum() / np.square(expected - got).sum()
    assert [r.layer for r in found] == ["up", "down"]
    assert found[1].snr_db == pytest.approx(10 * np.log10(ratio), abs=0.1)


def test_the_command_and_its_report(image: Path, capsys: pytest.CaptureFixture[str]):
    data, target = image.with_name("data.npz"), image.with_name("made.onnx")
    np.savez(data, x=normal(4, 1, 3, 8, 8))
    given = [str(image), "-o", str(target), "--calibrate", str(data)]
    assert main([*given, "--report"]) == 0
    text = capsys.readouterr().out
    for words in ("first", "lost dB", "external bytes", "energy", "half to even", "3 layers"):
        assert words in text
    assert kpu_ir.load(target, search="none").cycles > 0


@pytest.mark.parametrize("method", ["mse", "entropy", "percentile"])
def test_calibration_prints_one_line(image: Path, method: str, capsys: pytest.CaptureFixture[str]):
    data, target = image.with_name("data.npz"), image.with_name("made.onnx")
    np.savez(data, x=normal(4, 1, 3, 8, 8))
    given = [str(image), "-o", str(target), "--calibrate", str(data), "--method", method]
    assert main(given) == 0
    text, errors = capsys.readouterr()
    assert text.startswith(f"{target}: 3 layers quantized")
    assert text.count("\n") == 1
    assert not errors


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "need calibration data"),
        (["--calibrate", "wrong.npz"], r"input 'x': expected items of shape (1, 3, 8, 8)"),
        (["--calibrate", "other.npz"], "lacks input 'x'"),
        (["--calibrate", "good.npz", "--exclude", "none"], "no node is called 'none'"),
        (["--calibrate", "good.npz", "--weights", "i4"], "4 bits do not go with calibrated"),
        (
            ["--calibrate", "good.npz", "--per-token", "--rounding", "nearest"],
            "calibration data does nothing",
        ),
        (["--per-token", "--rounding", "gptq"], "by what they multiply, which is not known"),
        (["--calibrate", "nan.npz"], "calibration data for input 'x' has NaNs or infinities"),
        (["--calibrate", "inf.npz"], "calibration data for input 'x' has NaNs or infinities"),
        (["--calibrate", "empty.npz"], "calibration data has no items"),
        (["--per-token", "--method", "entropy"], "method 'entropy' does nothing"),
        (["--per-token", "--activations", "u8"], "--activations u8 does nothing"),
        (["--activations", "none", "--block", "8"], "blocks of 8 weights"),
        (["--activations", "none", "--block", "64"], "blocks of 64 do not divide its 144"),
        (
            ["--activations", "none", "--io-f16", "cache*"],
            "no input or result of f32 is called 'cache*'",
        ),
        (["--activations", "none", "--machine", "default"], "--machine does nothing"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_errors_are_one_line_and_nothing_is_written(
    image: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    folder = image.parent
    np.savez(folder / "wrong.npz", x=normal(4, 3, 8, 7))
    np.savez(folder / "other.npz", z=X)
    np.savez(folder / "good.npz", x=X)
    np.savez(folder / "nan.npz", x=np.where(X == X.max(), np.nan, X))
    np.savez(folder / "inf.npz", x=np.where(X == X.max(), np.inf, X))
    np.savez(folder / "empty.npz", x=np.zeros((0, *X.shape), np.float32))
    target = folder / "made.onnx"
    more = [str(folder / m) if m.endswith(".npz") else m for m in more]
    assert main([str(image), "-o", str(target), *more]) == 1
    error = capsys.readouterr().err
    assert error.startswith("kpu-quantize: error: ")
    assert said in error
    assert "Traceback" not in error
    assert not target.exists()
