"""onnxruntime's products of bytes, exact on every processor.

Without VNNI its kernels for bytes without a sign by bytes with one add pairs of products in 16 bits, which
saturate: 255 x 127 + 255 x 127 is 32767 there. Bytes without a sign on both sides are exact. So what an
oracle multiplies is moved by 128, and its zero point with it: the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from kpu_ir.support.types import Array

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

OPERANDS: dict[str, list[tuple[int | None, int, int]]] = {
    "MatMulInteger": [(0, 1, 3)],
    "ConvInteger": [(0, 1, 3)],
    "QLinearMatMul": [(0, 3, 5)],
    "QLinearConv": [(0, 3, 5)],
    "QGemm": [(0, 3, 5)],
    "DynamicQuantizeMatMul": [(None, 1, 3)],
    "MatMulIntegerToFloat": [(0, 1, 5)],
    "QAttention": [(None, 1, 7)],
    "DynamicQuantizeLSTM": [(None, 1, 9), (None, 2, 11)],
}
"""Of each operator's products: the left operand (None: bytes without a sign always), the right one, its zero
point."""


@cache
def saturates() -> bool:
    """Whether onnxruntime's products saturate on this processor."""
    import onnxruntime as runtime
    from onnx import TensorProto, helper

    infos = [
        helper.make_tensor_value_info("a", TensorProto.UINT8, [64, 64]),
        helper.make_tensor_value_info("b", TensorProto.INT8, [64, 64]),
    ]
    y = helper.make_tensor_value_info("y", TensorProto.INT32, [64, 64])
    node = helper.make_node("MatMulInteger", ["a", "b"], ["y"])
    graph = helper.make_graph([node], "g", infos, [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    a, b = np.full((64, 64), 255, np.uint8), np.full((64, 64), 127, np.int8)
    (sums,) = session.run(None, {"a": a, "b": b})
    return bool((np.asarray(sums) != 64 * 255 * 127).any())


def exact_products(model: ModelProto) -> ModelProto:
    """The same model, its right operands bytes without a sign where the left ones are; ``model`` itself
    where this processor needs none of it. Tensors keep their names."""
    if not any(node.op_type in OPERANDS for node in model.graph.node) or not saturates():
        return model
    from onnx import ModelProto, shape_inference

    made = ModelProto()
    made.CopyFrom(model)
    kinds = _types(shape_inference.infer_shapes(model).graph)
    moved: dict[str, str] = {}
    nodes = list(made.graph.node)
    del made.graph.node[:]
    for node in nodes:
        for left, right, zero in OPERANDS.get(node.op_type, ()):
            a = np.dtype(np.uint8)
            if left is not None:  # zero points are as far from each other as their operands
                a = _kind(node, left, zero - (right - left), kinds)
            if a == np.uint8 and _kind(node, right, zero, kinds) == np.int8:
                node.input.extend([""] * (zero + 1 - len(node.input)))
                for i in (right, zero):
                    node.input[i] = _moved(made.graph, node.input[i], moved)
        made.graph.node.append(node)
    return made


def _types(graph: GraphProto) -> dict[str, np.dtype[Any]]:
    """The types of tensors, as far as inference knows them; zero points tell those of their tensors."""
    from onnx.helper import tensor_dtype_to_np_dtype

    found = {t.name: t.data_type for t in graph.initializer}
    for info in (*graph.input, *graph.value_info, *graph.output):
        if info.type.tensor_type.elem_type:
            found[info.name] = info.type.tensor_type.elem_type
    for node in graph.node:  # com.microsoft's have no inference
        made = {"QGemm": 8, "QLinearAdd": 7, "QLinearMul": 7, "QLinearConcat": 1}.get(node.op_type)
        made = made or (4 if node.op_type.startswith("QLinear") and not node.domain == "" else None)
        if made is not None and made < len(node.input) and node.input[made] in found:
            found.setdefault(node.output[0], found[node.input[made]])
    return {name: np.dtype(tensor_dtype_to_np_dtype(kind)) for name, kind in found.items()}


def _kind(
    node: NodeProto, operand: int, zero: int, kinds: Mapping[str, np.dtype[Any]]
) -> np.dtype[Any] | None:
    """The type of an operand, its zero point's where inference does not know it: it knows nothing behind operators of
    com.microsoft."""
    return next((kinds[n] for n in (*node.input[operand : operand + 1], *node.input[zero : zero + 1])
                 if n in kinds), None)  # fmt: skip


def _moved(graph: GraphProto, name: str, moved: dict[str, str]) -> str:
    """The name of a tensor plus 128, as bytes without a sign; ``""`` is a zero point of 0."""
    from onnx import TensorProto, helper, numpy_helper

    if name in moved:
        return moved[name]
    new = moved[name] = f"{name}/plus 128"
    known = {tensor.name: tensor for tensor in graph.initializer}

    def constant(array: Array, name: str) -> None:
        graph.initializer.append(numpy_helper.from_array(array, name))

    if not name:
        constant(np.array(128, np.uint8), new)
    elif name in known and not known[name].external_data:
        stored = numpy_helper.to_array(known[name]).astype(np.int16) + 128
        constant(stored.astype(np.uint8), new)
    else:
        if "plus 128" not in known:
            constant(np.array(128, np.int32), "plus 128")
        wide, sums = f"{new}/wide", f"{new}/sum"
        graph.node.extend(
            [
                helper.make_node("Cast", [name], [wide], to=TensorProto.INT32),
                helper.make_node("Add", [wide, "plus 128"], [sums]),
                helper.make_node("Cast", [sums], [new], to=TensorProto.UINT8),
            ]
        )
    return new
