"""The corpus of ``make fuzz`` without atheris: each input a program or one KpuError."""

import importlib
import sys
from pathlib import Path

import pytest

pytest.importorskip("onnx")
sys.path.insert(0, str(Path(__file__).parent))  # the targets import each other, as programs do
import harness
from draws import MANY
from run import TARGETS

FEW = 30
"""About how many inputs of a target ``make test`` takes; ``make nightly`` takes all."""


@pytest.mark.parametrize("name", TARGETS)
def test_corpus(name: str) -> None:
    target = importlib.import_module(f"fuzz_{name}")
    inputs = sorted((harness.CORPUS / name).iterdir())
    assert inputs
    for path in inputs if MANY else inputs[:: max(1, len(inputs) // FEW)]:
        target.run(path.read_bytes())


def test_the_corpus_is_small() -> None:
    assert sum(p.stat().st_size for p in harness.CORPUS.rglob("*") if p.is_file()) < 200_000


def test_changed_programs_get_past_their_checksums() -> None:
    """What the mutator of saved programs makes is told apart by its content only."""
    saved = importlib.import_module("fuzz_saved")
    data = next(saved.seeds())
    header, parts = saved.split(data)
    assert saved.split(saved.sealed(header, parts)) == (header, parts)
    saved.run(saved.sealed(header, parts))
    path = saved.folder().file("p.kpu", saved.sealed(header, {**parts, "dma": b"nonsense"}))
    with pytest.raises(saved.KpuError, match="its dma IR cannot be read"):
        saved.kpu_ir.open(path)


def test_models_that_stand_in_themselves_are_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node is put into its own subgraph, which ended the process once."""
    import random

    import onnx

    target = importlib.import_module("fuzz_onnx")
    monkeypatch.setattr(harness, "mutated", lambda data, size: data)
    model = onnx.ModelProto()
    inner = model.graph.node.add(op_type="If").attribute.add(name="then_branch")
    inner.g.node.add(op_type="Relu")
    nodes, field = inner.g.node, inner.g.DESCRIPTOR.fields_by_name["node"]
    for seed in range(400):
        target.change_list(inner.g, field, list(target.messages(model)), random.Random(seed))
    assert len(nodes) > 1
