"""ONNX's own runner, pointed at us: networks of PyTorch's and small models, and a part of the
operators (test/frontends/test_onnx_backend.py has all that apply).

All of it: ``KPU_ONNX_ALL=1 python -m pytest test/test_onnx_runner.py``.
"""

import os
import re
import unittest
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
onnx_backend = pytest.importorskip("kpu_ir.integrations.onnx")

import onnx  # noqa: E402
from onnx import TensorProto, helper  # noqa: E402
from onnx.backend.test import BackendTest  # noqa: E402
from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt  # noqa: E402

from kpu_ir.support.errors import KpuError  # noqa: E402

ALL = bool(os.environ.get("KPU_ONNX_ALL"))

NODES = r"^test_(matmul|gemm|layer_normalization_[24]d|reshape|slice|topk|reduce_sum|lstm|einsum)_"
"""Operators' tests of the quick part."""

NETWORKS = ("squeezenet",)
"""Of the nine networks, those of the quick part."""

F16 = ("test_attention_4d_fp16", "test_attention_4d_causal_fp16")
"""Tests of f16 whose tolerance is one unit in the last place: here they have two."""

REASONS = (
    r"operators that kpu-ir does not support",
    r"only tensors are supported",
    r"training mode draws random numbers",
    r"expected numbers, got strings",
    r"\(PRelu\): shapes do not broadcast",  # the slope a channel of its first version
    r"the tiles of @pool_0 need",
)
"""Why a test may be skipped; the runner itself would count any refusal as passed."""


class Told(onnx_backend.KpuBackend):
    """Skips are shown as such, and only for known reasons."""

    @classmethod
    def is_compatible(cls, *args: Any, **kwargs: Any) -> bool:
        return True  # else the runner skips without a reason

    @classmethod
    def prepare(cls, *args: Any, **kwargs: Any) -> Any:
        prepared = told(super().prepare)(*args, **kwargs)
        prepared.run = told(prepared.run)
        return prepared


def told(call: Any) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return call(*args, **kwargs)
        except onnx_backend.Unsupported as error:
            text = " ".join(str(error).split())
            assert any(re.search(reason, text) for reason in REASONS), text
            raise unittest.SkipTest(text) from None

    return wrapper


def wanted(category: str, name: str) -> bool:
    if name.endswith("_cuda"):
        return False
    if ALL or category.startswith(("Simple", "PyTorch")):
        return True
    if category.startswith("Real"):
        return name.removeprefix("test_").removesuffix("_cpu") in NETWORKS
    return re.search(NODES, name) is not None and "expanded" not in name


def chosen() -> dict[str, type[unittest.TestCase]]:
    """The runner's test cases, without the thousands of others that it would list as skipped."""
    cases = BackendTest(Told, __name__, {name: {"rtol": 2e-3} for name in F16}).test_cases
    for title, case in cases.items():
        category = title.removeprefix("OnnxBackend")
        for name in [n for n in vars(case) if n.startswith("test_")]:
            if not wanted(category, name):
                delattr(case, name)
    return cases


globals().update(chosen())


@pytest.fixture(autouse=True)
def models(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner writes inputs of the networks where it keeps models."""
    monkeypatch.setenv("ONNX_MODELS", str(tmp_path_factory.mktemp("models")))


# -- the interface itself ------------------------------------------------------------------------


def model_of(
    nodes: list[Any], inputs: dict[str, tuple[int, Any]], outputs: dict[str, tuple[int, Any]]
) -> Any:
    def infos(named: dict[str, tuple[int, Any]]) -> list[Any]:
        return [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in named.items()]

    return helper.make_model(helper.make_graph(nodes, "g", infos(inputs), infos(outputs)))


def product() -> Any:
    f32 = TensorProto.FLOAT
    return model_of(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"x": (f32, (2, 3)), "w": (f32, (3, 4))},
        {"y": (f32, (2, 4))},
    )


def test_inputs_by_place_or_name() -> None:
    x, w = np.ones((2, 3), np.float32), np.arange(12, dtype=np.float32).reshape(3, 4)
    prepared = onnx_backend.prepare(product())
    for given in ([x, w], (x, w), {"w": w, "x": x}):
        outputs = prepared.run(given)
        np.testing.assert_array_equal(outputs.y, x @ w)
        np.testing.assert_array_equal(outputs["y"], x @ w)
    assert len(prepared.programs) == 1
    assert next(iter(prepared.programs.values())).cycles > 0


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ([np.ones((2, 3), np.float32)], "expected 2 inputs, got 1"),
        ({"x": np.ones((2, 3), np.float32)}, "input 'w' is missing"),
        ({"x": 1, "w": 1, "z": 1}, "there is no input 'z'"),
        ([np.ones((2, 5), np.float32), np.ones((3, 4), np.float32)], r"expected shape \(2, 3\)"),
    ],
)
def test_wrong_inputs(inputs: Any, expected: str) -> None:
    with pytest.raises(KpuError, match=expected) as caught:
        onnx_backend.prepare(product()).run(inputs)
    assert not isinstance(caught.value, BackendIsNotSupposedToImplementIt)


def test_dynamic_shapes_are_those_of_the_inputs() -> None:
    f32 = TensorProto.FLOAT
    model = model_of(
        [helper.make_node("Relu", ["x"], ["y"])], {"x": (f32, ("n", 3))}, {"y": (f32, ("n", 3))}
    )
    prepared = onnx_backend.prepare(model)
    assert not prepared.programs
    for n in (2, 5, 2):
        x = np.linspace(-1, 1, 3 * n, dtype=np.float32).reshape(n, 3)
        np.testing.assert_array_equal(prepared.run(x)[0], np.maximum(x, 0))
    assert len(prepared.programs) == 2


def test_inputs_that_shapes_depend_on_may_change() -> None:
    f32, i64 = TensorProto.FLOAT, TensorProto.INT64
    model = model_of(
        [
            helper.make_node("Concat", ["n", "m"], ["shape"], axis=0),
            helper.make_node("Reshape", ["x", "shape"], ["y"]),
        ],
        {"x": (f32, (6,)), "n": (i64, (1,)), "m": (i64, (1,))},
        {"y": (f32, (None, None))},
    )
    prepared = onnx_backend.prepare(model)
    assert prepared.fixed == ["n", "m"]
    x = np.arange(6, dtype=np.float32)
    for n, m in ((2, 3), (3, 2)):
        outputs = prepared.run([x, np.array([n]), np.array([m])])
        np.testing.assert_array_equal(outputs[0], x.reshape(n, m))
    with pytest.raises(KpuError, match="input 'n': expected int64, got float64"):
        prepared.run([x, np.array([2.0]), np.array([3])])


def test_one_operator() -> None:
    x = np.array([[3, 1, 2]], np.float32)
    node = helper.make_node("TopK", ["x", "k"], ["values", "places"])
    values, places = onnx_backend.run_node(node, [x, np.array([2])])
    np.testing.assert_array_equal(values, [[3, 2]])
    np.testing.assert_array_equal(places, [[0, 2]])
    assert places.dtype == np.int64
    square = helper.make_node("Mul", ["x", "x"], ["y"])
    info = [(np.dtype(np.float32), (1, 3))]
    for inputs in ([x, x], {"x": x}):
        (y,) = onnx_backend.run_node(square, inputs, outputs_info=info, opset_version=13)
        np.testing.assert_array_equal(y, x * x)


def test_what_is_unsupported_is_said_as_the_runner_expects() -> None:
    node = helper.make_node("NonZero", ["x"], ["y"])
    f32 = TensorProto.FLOAT
    model = model_of([node], {"x": (f32, (2, 2))}, {"y": (TensorProto.INT64, (2, "n"))})
    assert not onnx_backend.is_compatible(model)
    assert onnx_backend.is_compatible(product())
    with pytest.raises(BackendIsNotSupposedToImplementIt, match="NonZero") as caught:
        onnx_backend.prepare(model)
    assert isinstance(caught.value, KpuError)


def test_devices_and_options() -> None:
    assert onnx_backend.supports_device("CPU")
    assert onnx_backend.supports_device("KPU:0")
    assert not onnx_backend.supports_device("CUDA")
    with pytest.raises(KpuError, match="no device 'CUDA'"):
        onnx_backend.prepare(product(), "CUDA")
    with pytest.raises(KpuError, match="no option 'serch'"):
        onnx_backend.prepare(product(), serch="none")
    prepared = onnx_backend.prepare(product(), machine="minimal")
    assert next(iter(prepared.programs.values())).machine.name == "minimal"


def test_an_invalid_model_is_refused() -> None:
    model = product()
    model.graph.node[0].op_type = "MatMull"
    with pytest.raises(KpuError, match=r"not a valid model.*MatMull") as caught:
        onnx_backend.prepare(model)
    assert not isinstance(caught.value, BackendIsNotSupposedToImplementIt)
    assert onnx.__version__
