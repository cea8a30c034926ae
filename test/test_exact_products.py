"""onnxruntime as an oracle multiplies bytes exactly, also where the type of an operand is not inferred."""

import numpy as np
from onnx_models import model, node, onnxruntime_says


def test_behind_operators_that_inference_does_not_know():
    """QLinearAdd has no inference, and what is behind its reshape no type but the product's zero point's."""
    rows = np.full((8, 8), 255, np.uint8)
    one, step = np.float32(1), np.float32(64 * 255 * 127 / 100)
    nodes = [
        node("QLinearAdd", "x one zero none one zero one zero", "s", domain="com.microsoft"),
        node("Reshape", "s shape", "r"),
        node("QLinearMatMul", "r one zero w one zero_w step zero", "y"),
    ]
    made = model(
        nodes,
        {"x": rows},
        {
            "one": one, "zero": np.uint8(0), "none": np.zeros((8, 8), np.uint8),
            "shape": np.array([1, 64]), "w": np.full((64, 64), 127, np.int8),
            "zero_w": np.int8(0), "step": step,
        },
    )  # fmt: skip
    (y,) = onnxruntime_says(made, {"x": rows})
    assert np.array_equal(y, np.full((1, 64), 100, np.uint8))
