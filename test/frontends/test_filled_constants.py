"""Weights that are one number (models without their training have them) are constants, not kernels."""

import numpy as np
import onnx
from onnx import TensorProto, helper

import kpu_ir


def test_a_filled_weight_is_no_kernel(tmp_path):
    value = helper.make_tensor("v", TensorProto.FLOAT, [1], [0.5])
    sizes = onnx.numpy_helper.from_array(np.array([300, 400]), "sizes")
    graph = helper.make_graph(
        [
            helper.make_node("ConstantOfShape", ["sizes"], ["w"], value=value),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 300])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 400])],
        [sizes],
    )
    path = tmp_path / "m.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path
    )
    program = kpu_ir.load(path, search="none", cache=False)
    assert [call.kernel for call in program.timing.calls] == ["matmul_0"]
    x = np.ones((2, 300), np.float32)
    np.testing.assert_allclose(program(x=x)["y"], np.full((2, 400), 150), rtol=1e-5)
