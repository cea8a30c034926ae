"""Write the feed-forward block of GPT-2 as ONNX: ``python examples/make_ffn.py ffn.onnx``.

128 tokens, 768 - 3072 - 768, biases, GELU (by erf), seeded weights of the scale that GPT-2 starts
with.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save


def make_ffn(tokens: int = 128, width: int = 768, hidden: int = 3072, seed: int = 0) -> Any:
    """The model: ``y = gelu(x @ w1 + b1) @ w2 + b2``."""
    random = np.random.default_rng(seed)

    def tensor(name: str, *shape: int) -> Any:
        return numpy_helper.from_array(random.normal(0, 0.02, shape).astype(np.float32), name)

    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["p1"], name="fc1"),
        helper.make_node("Add", ["p1", "b1"], ["h"], name="bias1"),
        helper.make_node("Gelu", ["h"], ["g"], name="gelu"),
        helper.make_node("MatMul", ["g", "w2"], ["p2"], name="fc2"),
        helper.make_node("Add", ["p2", "b2"], ["y"], name="bias2"),
    ]
    tensors = [
        tensor("w1", width, hidden),
        tensor("b1", hidden),
        tensor("w2", hidden, width),
        tensor("b2", width),
    ]
    graph = helper.make_graph(
        nodes,
        "ffn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [tokens, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [tokens, width])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    checker.check_model(model)
    return model


def main() -> None:
    """Write it to the path that is given."""
    if len(sys.argv) != 2:
        sys.exit("usage: make_ffn.py OUT.onnx")
    save(make_ffn(), Path(sys.argv[1]))


if __name__ == "__main__":
    main()
