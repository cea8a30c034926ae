"""Small ONNX models for the tests of what is imported, and what onnxruntime says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import helper, numpy_helper  # noqa: E402

MICROSOFT = "com.microsoft"


def node(op: str, inputs: str, outputs: str, name: str = "", **attributes: Any) -> Any:
    """A node; inputs and outputs are words, ``_`` is one that is left out."""
    words = [["" if w == "_" else w for w in text.split()] for text in (inputs, outputs)]
    return helper.make_node(op, *words, name, **attributes)


def port(name: str, shape: Sequence[Any] | None = None, dtype: Any = np.float32) -> Any:
    """An input or output; without a shape its shape is left to inference."""
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape
    )


def model(
    nodes: Sequence[Any],
    inputs: Mapping[str, Any],
    constants: Mapping[str, Any] | None = None,
    outputs: Sequence[str] = ("y",),
    opset: int = 18,
) -> Any:
    """A model with inputs like these arrays (or infos), and outputs of any shape."""
    infos = [
        port(n, v.shape, v.dtype) if isinstance(v, np.ndarray | np.generic) else v
        for n, v in inputs.items()
    ]
    tensors = [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()]
    graph = helper.make_graph(
        list(nodes), "g", infos, [helper.make_empty_tensor_value_info(n) for n in outputs], tensors
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    made = helper.make_model(graph, opset_imports=opsets)
    made.ir_version = 9
    return made


def changed(made: Any, name: str, value: Any) -> Any:
    """A copy of a model with another value of a constant."""
    new = type(made).FromString(made.SerializeToString())
    (tensor,) = (t for t in new.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(value), name))
    return new


def onnxruntime_says(made: Any, inputs: Mapping[str, Any], threads: int = 0) -> list[Any]:
    """The outputs, onnxruntime's optimizations off, products exact on every processor. ``threads``: how
    many onnxruntime takes, 0 is its own choice."""
    runtime = pytest.importorskip("onnxruntime")
    from kpu_ir.integrations.exact_products import exact_products

    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(
        exact_products(made).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {n: np.asarray(v) for n, v in inputs.items()})


def normal(*shape: int, seed: int = 0) -> Any:
    """N(0, 1) in f32."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32)
