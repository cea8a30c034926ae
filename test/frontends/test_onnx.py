"""ONNX models: what they become, and what is said about those that are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp, NameLoc

from kpu_ir.dialects import kernel
from kpu_ir.frontends.onnx import import_onnx
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.support.errors import KpuError

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

ROOT = Path(__file__).parents[2]
X = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)


def node(op: str, inputs: str, outputs: str, name: str = "", **attributes: Any) -> Any:
    """A node; inputs and outputs are words."""
    return helper.make_node(op, inputs.split(" "), outputs.split(" "), name, **attributes)


def model(
    nodes: list[Any],
    inputs: dict[str, Any] | None = None,
    outputs: dict[str, Any] | None = None,
    tensors: dict[str, Any] | None = None,
    opset: int = 17,
) -> Any:
    """A model of f32 inputs and outputs; ``x`` is 2x4 and ``y`` has any shape unless given."""
    graph = helper.make_graph(
        nodes,
        "test",
        [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
            for n, s in (inputs or {"x": [2, 4]}).items()
        ],
        [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
            for n, s in (outputs or {"y": None}).items()
        ],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in (tensors or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def run(proto: Any, *inputs: Any) -> Any:
    """The first output."""
    return evaluate(import_onnx(proto), inputs)[0]


def operations(module: ModuleOp) -> list[str]:
    """The names of the kernel operations, in order."""
    return [op.name for op in module.walk() if isinstance(op, kernel.KernelOperation)]


def test_digits():
    data = np.load(ROOT / "examples/digits_test.npz")
    logits = evaluate(import_onnx(ROOT / "examples/digits_mlp.onnx"), {"x": data["x"]})[0]
    assert (logits.argmax(axis=1) == data["labels"]).mean() > 0.95


def test_names_of_inputs_outputs_and_nodes():
    module = import_onnx(
        model(
            [node("Relu", "x:0", "h", "act"), node("Neg", "h", "y.1")], {"x:0": [3]}, {"y.1": [3]}
        )
    )
    text = str(module)
    assert '(%x: tensor<3xf32> {kernel.name = "x:0"})' in text
    assert '-> (tensor<3xf32> {kernel.name = "y.1"})' in text
    names = [
        op.location.desc.data
        for op in module.walk()
        if isinstance(op, kernel.MapOp) and isinstance(op.location, NameLoc)
    ]
    assert names == ["act", "y.1"]


def test_import_is_deterministic():
    path = ROOT / "examples/digits_mlp.onnx"
    assert str(import_onnx(path)) == str(import_onnx(path))


def test_shape_arithmetic_disappears():
    proto = model(
        [
            node("Shape", "x", "s"),
            node("Gather", "s zero", "n"),
            node("Unsqueeze", "n axes", "n1"),
            node("Concat", "n1 rest", "t", axis=0),
            node("Reshape", "x t", "y"),
        ],
        tensors={"zero": np.int64(0), "axes": np.int64([0]), "rest": np.int64([2, -1])},
    )
    module = import_onnx(proto)
    assert operations(module) == ["kernel.reshape"]
    assert evaluate(module, [X])[0].shape == (2, 2, 2)


def test_a_constant_used_twice_is_one():
    proto = model(
        [node("MatMul", "x w", "a"), node("MatMul", "a w", "y")],
        {"x": [2, 4]},
        tensors={"w": np.eye(4, dtype=np.float32)},
    )
    assert operations(import_onnx(proto)).count("kernel.constant") == 1
    np.testing.assert_array_equal(run(proto, X), X)


def test_numbers_are_part_of_the_formula():
    proto = model([node("Pow", "x two", "y")], tensors={"two": np.float32(2)})
    module = import_onnx(proto)
    assert operations(module) == ["kernel.map"]
    assert "arith.mulf" in str(module)
    np.testing.assert_array_equal(run(proto, X), X * X)


def test_nodes_in_any_order():
    proto = model([node("Relu", "h", "y"), node("Neg", "x", "h")])
    np.testing.assert_array_equal(run(proto, X), np.maximum(-X, 0))


def test_broadcasting_before_version_7():
    proto = model(
        [node("Add", "x b", "y", broadcast=1, axis=0)],
        tensors={"b": np.float32([1, 2])},
        opset=6,
    )
    np.testing.assert_array_equal(run(proto, X), X + np.float32([[1], [2]]))


def test_versions_of_clip_and_reshape():
    old = model([node("Clip", "x", "y", min=-0.5, max=0.5)], opset=6)
    new = model([node("Clip", "x  high", "y")], tensors={"high": np.float32(0.5)}, opset=13)
    np.testing.assert_array_equal(run(old, X), np.clip(X, -0.5, 0.5))
    np.testing.assert_array_equal(run(new, X), np.minimum(X, 0.5))
    assert run(model([node("Reshape", "x", "y", shape=[0, 2, -1])], opset=1), X).shape == (2, 2, 2)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.int32, np.uint8, np.int64])
def test_other_element_types(dtype: Any):
    proto = model([node("Add", "x x", "y")], opset=14)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    for info in (*proto.graph.input, *proto.graph.output):
        info.type.tensor_type.elem_type = kind
    x = np.arange(8).reshape(2, 4).astype(dtype)
    got = run(proto, x)
    assert got.dtype == x.dtype
    np.testing.assert_array_equal(got, x + x)


def test_gemm_with_all_its_attributes():
    random = np.random.default_rng(1)
    b, c = (random.normal(size=s).astype(np.float32) for s in ((3, 2), (3,)))
    proto = model(
        [node("Gemm", "x b c", "y", alpha=0.5, beta=2.0, transA=1, transB=1)],
        tensors={"b": b, "c": c},
    )
    np.testing.assert_allclose(run(proto, X), 0.5 * X.T @ b.T + 2 * c, rtol=1e-5, atol=1e-6)


def test_local_functions_are_inlined():
    proto = model([node("Twice", "x", "y", domain="mine")])
    proto.functions.append(
        helper.make_function(
            "mine", "Twice", ["a"], ["b"], [node("Add", "a a", "b")], [helper.make_opsetid("", 17)]
        )
    )
    proto.opset_import.append(helper.make_opsetid("mine", 1))
    np.testing.assert_array_equal(run(proto, X), X + X)


def test_constants_for_inputs():
    proto = model([node("Add", "x z", "y")], {"x": [2, 4], "z": [4]})
    module = import_onnx(proto, constants={"z": X[0]})
    np.testing.assert_array_equal(evaluate(module, [X])[0], X + X[0])


# Dynamic dimensions


DYNAMIC = {"x": ["batch", 4], "z": ["batch", 4]}


def test_dynamic_dimensions_are_told_with_what_to_do():
    proto = model([node("Add", "x z", "y")], DYNAMIC)
    with pytest.raises(
        KpuError, match="'x' of shape batchx4, input 'z' of shape batchx4"
    ) as caught:
        import_onnx(proto)
    assert "--shape x=1x4" in str(caught.value)


@pytest.mark.parametrize("shapes", [{"x": (2, 4)}, {"batch": (2,)}])
def test_a_shape_gives_values_to_named_dimensions(shapes: dict[str, tuple[int, ...]]):
    module = import_onnx(model([node("Add", "x z", "y")], DYNAMIC), shapes)
    np.testing.assert_array_equal(evaluate(module, [X, X])[0], X + X)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"x": (2, 5)}, r"'x' has shape \?x4 in the model, got 2x5"),
        ({"x": (2, 4, 1)}, r"'x' has shape \?x4 in the model"),
        ({"w": (2, 4)}, "a shape for 'w', which is no input"),
        ({"x": (2, 4), "z": (3, 4)}, "dimension 'batch' is 2 elsewhere, got 3"),
        ({"x": (2, 4), "batch": (3,)}, "dimension 'batch' is 3 elsewhere, got 2"),
        ({"x": (2, 4), "size": (3,)}, "a size for 'size', .* no dimension of one"),
    ],
)
def test_shapes_that_do_not_fit(shapes: dict[str, tuple[int, ...]], message: str):
    with pytest.raises(KpuError, match=message):
        import_onnx(model([node("Add", "x z", "y")], DYNAMIC), shapes)


# Wrong models


def test_all_unsupported_operators_are_listed():
    proto = model(
        [
            node("NonZero", "x", "a", "find"),
            node("Relu", "x", "b"),
            node("Unique", "b", "y"),
            helper.make_node("Magic", ["x"], ["c"], "m", domain="acme"),
        ],
        outputs={"a": None, "y": None, "c": None},
    )
    with pytest.raises(KpuError) as caught:
        import_onnx(proto)
    text = str(caught.value)
    assert "node 'find' (NonZero)" in text
    assert "the node of 'y' (Unique)" in text
    assert "node 'm' (acme.Magic)" in text
    assert "(Relu)" not in text


WRONG: dict[str, tuple[Any, str, str | None]] = {
    "shapes": (
        model([node("MatMul", "x w", "y", "mm")], tensors={"w": np.ones((5, 3), np.float32)}),
        "no matrix product of shapes 2x4 and 5x3",
        "node 'mm' (MatMul)",
    ),
    "broadcast": (
        model([node("Add", "x b", "y", "sum")], tensors={"b": np.ones(3, np.float32)}),
        "shapes do not broadcast: 2x4, 3",
        "node 'sum' (Add)",
    ),
    "types": (
        model([node("Add", "x b", "y", "sum")], tensors={"b": np.ones(4, np.int32)}),
        "cannot combine f32 with i32",
        "node 'sum' (Add)",
    ),
    "missing tensor": (
        model([node("Add", "x w", "y", "sum")]),
        "it reads 'w', which is no input, initializer or node's result",
        "node 'sum' (Add)",
    ),
    "cycle": (
        model([node("Add", "x b", "a", "n1"), node("Neg", "a", "b", "n2")], outputs={"a": None}),
        "cycle",
        "node 'n2' (Neg)",
    ),
    "defined twice": (
        model([node("Neg", "x", "y"), node("Relu", "x", "y", "n")]),
        "'y' is defined twice",
        "node 'n' (Relu)",
    ),
    "output": (
        model([node("Neg", "x", "h")]),
        "output 'y' is not computed",
        None,
    ),
    "shape at run time": (
        model([node("Cast", "x", "s", to=TensorProto.INT64), node("Reshape", "x s", "y", "r")],
              {"x": [4]}),
        "must be known",
        "node 'r' (Reshape)",
    ),
    "no input": (
        model([helper.make_node("Gelu", [], ["y"], "g")], opset=20),
        "input 0 is missing",
        "node 'g' (Gelu)",
    ),
    "reshape": (
        model([node("Reshape", "x s", "y", "r")], tensors={"s": np.int64([3, 3])}),
        r"cannot reshape 2x4 to \(3, 3\)",
        "node 'r' (Reshape)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_wrong_models(case: str):
    proto, message, where = WRONG[case]
    with pytest.raises(KpuError, match=message) as caught:
        import_onnx(proto)
    assert caught.value.where == where


def test_strings_are_refused():
    proto = model([node("Identity", "x", "y")])
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.STRING
    with pytest.raises(KpuError, match="expected numbers, got strings"):
        import_onnx(proto)


# Files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"module { }", "not an ONNX file"),
        (b"", "not an ONNX file"),
        (b"\x00\xff" * 9, "not an ONNX"),
    ],
)
def test_not_an_onnx_file(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(KpuError, match=message) as caught:
        import_onnx(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.999])
def test_a_truncated_file(tmp_path: Path, fraction: float):
    data = (ROOT / "examples/digits_mlp.onnx").read_bytes()
    path = tmp_path / "model.onnx"
    path.write_bytes(data[: int(len(data) * fraction)])
    with pytest.raises(KpuError, match="truncated or damaged"):
        import_onnx(path)


def test_no_file(tmp_path: Path):
    with pytest.raises(KpuError, match="there is no such file"):
        import_onnx(tmp_path / "none.onnx")
    with pytest.raises(KpuError, match="got a folder"):
        import_onnx(tmp_path)


def external(folder: Path, location: str, length: int = 16, offset: int = 0) -> Path:
    """A model in ``folder`` that adds a vector kept in another file."""
    proto = model([node("Add", "x b", "y", "sum")], tensors={"b": np.zeros(4, np.float32)})
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    folder.mkdir(exist_ok=True)
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_external_data(tmp_path: Path):
    path = external(tmp_path / "m", "data.bin", offset=4)
    (tmp_path / "m/data.bin").write_bytes(np.float32([9, 1, 2, 3, 4]).tobytes())
    module = import_onnx(path)
    np.testing.assert_array_equal(evaluate(module, [X])[0], X + np.float32([1, 2, 3, 4]))


def test_external_data_stays_in_the_folder(tmp_path: Path):
    (tmp_path / "secret.bin").write_bytes(bytes(16))
    for location in ("../secret.bin", str(tmp_path / "secret.bin"), "a/../../secret.bin", ""):
        with pytest.raises(KpuError, match="outside the model's folder"):
            import_onnx(external(tmp_path / "m", location))
    (tmp_path / "m/link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(KpuError, match="outside the model's folder"):
        import_onnx(external(tmp_path / "m", "link.bin"))


def test_external_data_is_missing_or_short(tmp_path: Path):
    path = external(tmp_path / "m", "data.bin")
    with pytest.raises(KpuError, match=r"'data.bin', which is missing"):
        import_onnx(path)
    (tmp_path / "m/data.bin").write_bytes(bytes(7))
    with pytest.raises(KpuError, match=r"needs 16 bytes at 0 of 'data\.bin', got 7"):
        import_onnx(path)
    with pytest.raises(KpuError, match="was not read from"):
        import_onnx(onnx.load(path, load_external_data=False))


def test_a_tensor_with_too_few_bytes():
    proto = model([node("Add", "x b", "y")], tensors={"b": np.zeros(4, np.float32)})
    proto.graph.initializer[0].raw_data = bytes(5)
    with pytest.raises(KpuError, match="tensor 'b' is damaged"):
        import_onnx(proto)


def test_without_the_onnx_package(monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(KpuError, match="needs the onnx package"):
        import_onnx("model.onnx")
