"""Train the network of ``make demo`` and export it: ``python examples/train_digits.py``.

A 64-128-64-10 ReLU network on scikit-learn's digits (8 x 8 images), seeded. Writes
``digits_mlp.onnx`` and the held-out images with their labels, ``digits_test.npz``, beside this
file. Needs scikit-learn and onnx.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

HERE = Path(__file__).parent
HELD_OUT = 360


def layers_to_onnx(weights: list[Any], biases: list[Any], batch: int) -> Any:
    """``Gemm`` and ``Relu`` for each layer, the last one without ``Relu``."""
    nodes: list[Any] = []
    tensors: list[Any] = []
    value = "x"
    for i, (weight, bias) in enumerate(zip(weights, biases), start=1):
        last = i == len(weights)
        tensors.append(numpy_helper.from_array(weight.astype(np.float32), f"w{i}"))
        tensors.append(numpy_helper.from_array(bias.astype(np.float32), f"b{i}"))
        result = "logits" if last else f"fc{i}"
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [result], name=f"fc{i}"))
        value = result
        if not last:
            nodes.append(helper.make_node("Relu", [value], [f"relu{i}"], name=f"relu{i}"))
            value = f"relu{i}"
    graph = helper.make_graph(
        nodes,
        "digits_mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, weights[0].shape[0]])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, weights[-1].shape[1]])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    return model


def main() -> None:
    """Train, export, and say how good it is."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).astype(np.float32)
    train_x, test_x, train_y, test_y = train_test_split(
        images, labels, test_size=HELD_OUT, random_state=0, stratify=labels
    )
    network = MLPClassifier((128, 64), max_iter=300, random_state=0).fit(train_x, train_y)
    save(layers_to_onnx(network.coefs_, network.intercepts_, HELD_OUT), HERE / "digits_mlp.onnx")
    np.savez_compressed(HERE / "digits_test.npz", x=test_x, labels=test_y.astype(np.int64))
    print(f"accuracy on {HELD_OUT} held-out images: {network.score(test_x, test_y):.4f}")


if __name__ == "__main__":
    main()
