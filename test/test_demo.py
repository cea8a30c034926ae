"""The trained network of ``make demo``, and the feed-forward block of GPT-2."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import kpu_ir
from kpu_ir.report.precision import differences

onnx = pytest.importorskip("onnx", reason="the models are ONNX files")

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(autouse=True, scope="module")
def a_cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Schedules are looked for once for all tests of this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KPU_IR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def example(name: str) -> ModuleType:
    """A script among the examples, imported."""
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_digits_are_read_alike() -> None:
    data = np.load(EXAMPLES / "digits_test.npz")
    program = kpu_ir.load(EXAMPLES / "digits_mlp.onnx")
    outputs, reference = program(x=data["x"]), program.reference({"x": data["x"]})
    device, expected = outputs["logits"].argmax(1), reference["logits"].argmax(1)
    assert len(device) == 360
    np.testing.assert_array_equal(device, expected)
    assert (device == data["labels"]).mean() > 0.95
    assert differences(outputs, reference)[1] <= 1e-5


def test_the_demo_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert example("demo").main() == 0
    out = capsys.readouterr().out
    for words in ("accuracy", "360 of 360", "largest difference", "cycles", "us at 2 GHz",
                  "utilization", "of the roofline", "external", "who waited for whom"):  # fmt: skip
        assert words in out


def test_feed_forward_block_agrees_with_onnxruntime() -> None:
    ort = pytest.importorskip("onnxruntime", reason="compares with onnxruntime")
    model = example("make_ffn").make_ffn()
    x = np.random.default_rng(1).standard_normal((128, 768)).astype(np.float32)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = dict(zip(("y",), session.run(None, {"x": x})))
    from kpu_ir.frontends.onnx import import_onnx

    program = kpu_ir.compile(import_onnx(model))
    assert differences(program(x=x), expected)[1] <= 1e-4
    summary = program.summary()
    words = f"{summary.cycles:,} cycles, a utilization of {100 * summary.peak_fraction:.1f} %"
    print(words)
    assert summary.macs == 2 * 128 * 768 * 3072
    assert 0.9 < summary.peak_fraction <= 1
    readme = (EXAMPLES.parent / "README.md").read_text()
    assert words in readme
