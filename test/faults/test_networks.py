"""ONNX models that contradict themselves, or that no program reads; their data elsewhere; many nodes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from draws import MANY

import kpu_ir

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

X = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
HUGE = 1 << 20


def node(op: str, inputs: str, outputs: str = "y", name: str = "n", **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(" "), outputs.split(" "), name, **attributes)


def model(
    nodes: list[Any],
    x: Any = (2, 4),
    tensors: dict[str, Any] | None = None,
    opsets: dict[str, int] | None = None,
) -> Any:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in (tensors or {}).items()],
    )
    imports = [helper.make_opsetid(*o) for o in ({"": 17} if opsets is None else opsets).items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def changed(proto: Any, change: Callable[[Any], Any]) -> Any:
    change(proto)
    return proto


def typed(kind: int, name: str = "x") -> Callable[[Any], Any]:
    """Another element type of the input or of an initialiser."""

    def change(proto: Any) -> None:
        if name == "x":
            proto.graph.input[0].type.tensor_type.elem_type = kind
        else:
            proto.graph.initializer[0].data_type = kind

    return change


def functions(*bodies: tuple[str, list[str]]) -> Any:
    """A model whose functions call these functions, one after the other."""
    proto = model([node(bodies[-1][0], "x", domain="f")], opsets={"": 17, "f": 1})
    for name, calls in bodies:
        values = ["x", *(f"v{i}" for i in range(len(calls) - 1)), "y"]
        inner = [
            node(op, values[i], values[i + 1], **({} if op == "Relu" else {"domain": "f"}))
            for i, op in enumerate(calls)
        ]
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
        proto.functions.append(helper.make_function("f", name, ["x"], ["y"], inner, imports))
    return proto


ONES = np.ones((4, 4), np.float32)
SIZES = np.int64([HUGE, HUGE])
DOUBLING = [("F0", ["Relu"]), *((f"F{i}", [f"F{i - 1}"] * 2) for i in range(1, 40))]
WRONG: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "cycle": (
        lambda: model([node("Add", "x b", "a"), node("Neg", "a", "b", "n2"), node("Neg", "a")]),
        ["cycle", "'n2' (Neg)"],
    ),
    "a node that reads itself": (lambda: model([node("Add", "x y")]), ["cycle", "'y'"]),
    "missing initialiser": (lambda: model([node("MatMul", "x w")]), ["'n' (MatMul)", "'w'"]),
    "type of a weight": (
        lambda: model([node("MatMul", "x w")], tensors={"w": ONES.astype(np.int32)}),
        ["'n' (MatMul)", "f32 and i32"],
    ),
    "type of an input": (
        lambda: changed(
            model([node("MatMul", "x w")], tensors={"w": ONES}), typed(TensorProto.INT64)
        ),
        ["'n' (MatMul)", "i64 and f32"],
    ),
    "no such type": (lambda: changed(model([node("Relu", "x")]), typed(99)), ["'x'", "number 99"]),
    "no such type of a weight": (
        lambda: changed(model([node("Add", "x w")], tensors={"w": ONES}), typed(63, "w")),
        ["'w'", "number 63"],
    ),
    "rank of a weight": (
        lambda: model([node("MatMul", "x w")], tensors={"w": np.float32(1)}),
        ["'n' (MatMul)", "2x4 and scalar"],
    ),
    "rank of a matrix": (
        lambda: model([node("Gemm", "x w")], (2, 3, 4), {"w": ONES}),
        ["'n' (Gemm)", "ranks 3 and 2"],
    ),
    "rank of an image": (
        lambda: model([node("Conv", "x w")], tensors={"w": ONES}),
        ["'n' (Conv)", "weights of 2 dimensions do not fit an image of 2"],
    ),
    "100 dimensions": (lambda: model([node("Relu", "x")], (1,) * 100), ["'x'", "100 dimensions"]),
    "2^40 elements": (
        lambda: model([node("Relu", "x")], (HUGE, HUGE)),
        ["bytes of external memory"],
    ),
    "2^80 elements": (
        lambda: model([node("Relu", "x")], (HUGE**2, HUGE**2)),
        ["'x'", "more than 2^44 elements"],
    ),
    "2^40 elements of a weight": (
        lambda: changed(
            model([node("Add", "x w")], tensors={"w": ONES}),
            lambda m: m.graph.initializer[0].dims.__setitem__(slice(None), [HUGE, HUGE]),
        ),
        ["'w' is damaged"],
    ),
    "2^40 elements computed": (
        lambda: model(
            [node("ConstantOfShape", "s", "w"), node("Add", "x w")], tensors={"s": SIZES}
        ),
        ["'n' (Add)", "do not broadcast: 2x4, 1048576x1048576"],
    ),
    "2^40 elements repeated": (
        lambda: model([node("Tile", "x s")], tensors={"s": SIZES}),
        ["bytes of external memory"],
    ),
    "2^80 elements of a product": (
        lambda: model([node("Expand", "x s")], tensors={"s": np.int64([1 << 62, 2, 4])}),
        ["'n' (Expand)", "more than 2^44 elements"],
    ),
    "2^40 classes": (
        lambda: changed(
            model(
                [node("OneHot", "x d v")], tensors={"d": np.int64(1 << 40), "v": np.float32([0, 1])}
            ),
            typed(TensorProto.INT64),
        ),
        ["'n' (OneHot)", "1,099,511,627,776 elements"],
    ),
    "2^20 pixels": (
        lambda: changed(
            model([node("Resize", "x   s")], (1, 1, 4, 4), {"s": np.int64([1, 1, HUGE, HUGE])}),
            lambda m: m.graph.node[0].input.__setitem__(slice(None), ["x", "", "", "s"]),
        ),
        ["'n' (Resize)", "1,048,576"],
    ),
    "negative extent": (lambda: model([node("Relu", "x")], (-2, 4)), ["'x'", "?x4", "--shape"]),
    "negative extent of a weight": (
        lambda: changed(
            model([node("Add", "x w")], tensors={"w": ONES}),
            lambda m: m.graph.initializer[0].dims.__setitem__(slice(None), [-4, -4]),
        ),
        ["'w' is damaged", "[-4, -4]"],
    ),
    "negative extents of a reshape": (
        lambda: model([node("Reshape", "x s")], tensors={"s": np.int64([-2, -4])}),
        ["'n' (Reshape)", "(-2, -4)"],
    ),
    "two results of a name": (
        lambda: model([node("Relu", "x"), node("Neg", "x", name="n2")]),
        ["'n2' (Neg)", "'y' is defined twice"],
    ),
    "a result called as a weight": (
        lambda: model([node("Relu", "x", "w"), node("Neg", "w")], tensors={"w": ONES}),
        ["'w' is defined twice"],
    ),
    "two weights of a name": (
        lambda: changed(
            model([node("Add", "x w")], tensors={"w": np.float32(1)}),
            lambda m: m.graph.initializer.add().CopyFrom(m.graph.initializer[0]),
        ),
        ["two initializers are called 'w'"],
    ),
    "two inputs of a name": (
        lambda: changed(
            model([node("Relu", "x")]), lambda m: m.graph.input.add().CopyFrom(m.graph.input[0])
        ),
        ["two inputs are called 'x'"],
    ),
    "undefined input": (lambda: model([node("Add", "x q")]), ["'n' (Add)", "'q'"]),
    "undefined output": (lambda: model([node("Relu", "x", "z")]), ["'y' is not computed"]),
    "no outputs": (
        lambda: changed(model([node("Relu", "x")]), lambda m: m.graph.ClearField("output")),
        ["no outputs"],
    ),
    "no version": (lambda: model([node("Relu", "x")], opsets={}), ["which version"]),
    "version 0": (lambda: model([node("Relu", "x")], opsets={"": 0}), ["version 0"]),
    "a version of later": (
        lambda: model([node("Relu", "x")], opsets={"": 9999}),
        ["version 9999", "upgrade"],
    ),
    "another's operator": (
        lambda: model([node("Relu", "x", domain="acme")], opsets={"": 17, "acme": 1}),
        ["'n' (acme.Relu)"],
    ),
    "too many inputs": (lambda: model([node("Relu", "x x x")]), ["'n' (Relu)", "3 operands"]),
    "kind of an attribute": (
        lambda: model([node("Softmax", "x", axis="last")]),
        ["'n' (Softmax)", "axis", "expected an integer"],
    ),
    "an attribute of no function": (
        lambda: changed(
            model([node("Softmax", "x", axis=1)]),
            lambda m: setattr(m.graph.node[0].attribute[0], "ref_attr_name", "axis"),
        ),
        ["'n' (Softmax)", "'axis'"],
    ),
    "a function that calls itself": (lambda: functions(("F", ["F"])), ["recursive"]),
    "functions that call each other": (
        lambda: functions(("F", ["G"]), ("G", ["F"])),
        ["recursive"],
    ),
    "functions of 2^39 nodes": (lambda: functions(*DOUBLING), ["549,755,813,888 nodes"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_models(case: str, refused: Callable[..., str]) -> None:
    make, words = WRONG[case]
    Path("m.onnx").write_bytes(make().SerializeToString())
    text = refused("m.onnx")
    for word in words:
        assert word in text, text


def test_names_that_are_no_text(refused: Callable[..., str]) -> None:
    data = model([node("Add", "x other")], tensors={"other": ONES}).SerializeToString()
    Path("m.onnx").write_bytes(data.replace(b"other", b"\xf8\xff\xff\xff\xff"))
    assert "not UTF-8" in refused("m.onnx")


@pytest.mark.parametrize("what", ["graph", "node", "operator", "attribute", "value", "dimension"])
def test_any_name_that_is_no_text(what: str, refused: Callable[..., str]) -> None:
    """protobuf gives some as bytes and stumbles over others, by its version."""
    named = node("Relu", "x", **{"words": 3})
    proto = model([named])
    match what:
        case "graph":
            proto.graph.name = "other"
        case "node":
            proto.graph.node[0].name = "other"
        case "operator":
            proto.graph.node[0].op_type = "other"
        case "attribute":
            proto.graph.node[0].attribute[0].name = "other"
        case "value":
            proto.graph.value_info.add().CopyFrom(proto.graph.input[0])
            proto.graph.value_info[0].name = "other"
        case _:
            proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "other"
    data = proto.SerializeToString()
    assert b"other" in data
    Path("m.onnx").write_bytes(data.replace(b"other", b"oth\xc0\xff"))
    assert "not UTF-8" in refused("m.onnx")


def computed(proto: Any) -> Any:
    """Its output for ``X``, or for none where the model has no elements."""
    Path("m.onnx").write_bytes(proto.SerializeToString())
    program = kpu_ir.load("m.onnx", search="none", cache=False)
    shapes = {p.name: p.type.get_shape() for p in program.program.inputs}
    return program({n: X if s == X.shape else np.zeros(s, np.float32) for n, s in shapes.items()})[
        "y"
    ]


def test_tensors_without_elements() -> None:
    assert computed(model([node("Relu", "x")], (0, 4))).shape == (0, 4)
    empty = np.ones((0, 4), np.float32)
    np.testing.assert_array_equal(
        computed(model([node("MatMul", "x w")], (2, 0), {"w": empty})), np.zeros((2, 4), np.float32)
    )


# -- external data --------------------------------------------------------------------------------


def external(location: str, **entries: int) -> str:
    proto = model([node("MatMul", "x w")], tensors={"w": ONES})
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    Path("m.onnx").write_bytes(proto.SerializeToString())
    return "m.onnx"


def test_external_data_elsewhere(refused: Callable[..., str], in_folder: Path) -> None:
    secret = in_folder.parent / "secret.bin"
    secret.write_bytes(ONES.tobytes())
    (in_folder / "link.bin").symlink_to(secret)
    (in_folder / "up").symlink_to(in_folder.parent)
    for location in (
        "../secret.bin",
        "a/../../secret.bin",
        str(secret),
        "link.bin",
        "up/secret.bin",
    ):
        text = refused(external(location))
        assert f"outside the model's folder: '{location[:60]}" in text  # long names are cut


def test_external_data_missing_or_short(refused: Callable[..., str]) -> None:
    assert "'w.bin', which is missing" in refused(external("w.bin"), "w.bin")
    Path("w.bin").write_bytes(ONES.tobytes()[:-1])
    assert "'w'" in refused(external("w.bin"))
    assert "needs 64 bytes at 0 of 'w.bin', got 63" in refused(
        external("w.bin", length=64), "w.bin"
    )
    text = refused(external("w.bin", offset=1000, length=64), "w.bin")
    assert "needs 64 bytes at 1000 of 'w.bin', got 0" in text
    assert "negative" in refused(external("w.bin", offset=-4))
    assert "'w'" in refused(external("w.bin", length=1 << 62), "w.bin")


# -- many nodes -----------------------------------------------------------------------------------

NODES = 10_000 if MANY else 1_000
"""``make nightly`` takes the larger number."""


def chained(count: int, make: Callable[[str, int, str], Any], tensors: dict[str, Any]) -> Any:
    names = ["x", *(f"h{i}" for i in range(1, count)), "y"]
    nodes = [make(names[i], i, names[i + 1]) for i in range(count)]
    return model(nodes, tensors=tensors)


def test_many_elementwise_nodes() -> None:
    """They become one kernel, whose body is as long."""

    def make(value: str, i: int, result: str) -> Any:
        return node("Relu", value, result) if i % 2 else node("Add", f"{value} b", result)

    b = np.float32([1e-3, 0, -1e-3, 1])
    expected = X
    for _ in range(NODES // 2):
        expected = np.maximum(expected + b, 0)
    found = computed(chained(NODES, make, {"b": b}))
    np.testing.assert_array_equal(found, expected)


def test_many_products() -> None:
    """They share one kernel, or one of two products."""
    rng = np.random.default_rng(2)
    weights = {f"w{i}": rng.permutation(np.eye(4, dtype=np.float32)) for i in range(NODES)}
    expected = X
    for w in weights.values():
        expected = expected @ w
    found = computed(chained(NODES, lambda v, i, r: node("MatMul", f"{v} w{i}", r), weights))
    np.testing.assert_array_equal(found, expected)
