"""Decoders that generate on the device: onnxruntime's tokens, caches that never leave it."""

import sys
from pathlib import Path

import numpy as np
import pytest
from draws import MANY

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
sys.path.append(str(Path(__file__).parents[2] / "examples"))
import decode  # noqa: E402

from kpu_ir import Machine  # noqa: E402

TOKENS = 64 if MANY else 8


CASES = [(True, 1, 64), (False, 4, TOKENS), *([(False, 1, TOKENS)] if MANY else [])]


@pytest.mark.parametrize(("llama", "batch", "tokens"), CASES)
def test_tokens_are_onnxruntimes_and_the_cache_stays(llama, batch, tokens, tmp_path):
    layers = 2 if MANY else 1
    config = decode.Decoder(llama, batch, tokens, layers=layers, groups=2 if llama else 4)
    model, start = decode.step_model(config), np.arange(batch) + 1
    onnx.save(model, tmp_path / "step.onnx")
    options = {"search": "none", "fuse": "epilogue"}
    found = decode.on_device(str(tmp_path / "step.onnx"), config, start, **options)
    expected = decode.by_onnxruntime(model, config, start)
    assert (found.tokens == expected).all()
    assert len(set(expected[:, 0].tolist())) > tokens // 4
    assert found.cache_bytes == 2 * layers * tokens * 4 * np.prod(config.row)
    assert (found.to_device, found.to_host) == (8 * batch, 8 * batch * tokens)
    assert found.tokens_per_second == batch * tokens / (found.cycles / 2e9)
    # Of what all steps take the matrices are a part: each comes past external memory once a step.
    read = {name for n in model.graph.node if n.op_type in ("MatMul", "Gemm") for name in n.input}
    weights = sum(
        onnx.numpy_helper.to_array(t).nbytes for t in model.graph.initializer if t.name in read
    )
    least = 1e-12 * Machine.preset("default").energy.external * weights / batch
    assert least < found.joules_per_token < 100 * least
