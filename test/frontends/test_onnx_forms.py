"""ONNX as it is found: forms that others run are run, and what contradicts itself is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import model, node, normal, onnxruntime_says, port

import kpu_ir
from kpu_ir.frontends.onnx import import_onnx
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.support.errors import KpuError
from kpu_ir.tools.run import main

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
SIGNS = np.array([1, -2, 3], np.float32)


def run(proto: Any, inputs: dict[str, Any], **given: Any) -> Any:
    """The first output."""
    return evaluate(import_onnx(proto, **given), inputs)[0]


def same(proto: Any, inputs: dict[str, Any]) -> None:
    """All outputs are onnxruntime's."""
    module = import_onnx(proto)
    module.verify()
    for got, expected in zip(evaluate(module, inputs), onnxruntime_says(proto, inputs)):
        assert got.shape == expected.shape
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


# A scalar where a list belongs

SCALARS: dict[str, tuple[Any, dict[str, Any], Any]] = {
    "Expand": (node("Expand", "x s", "y"), {"s": np.array(4)}, X),
    "Reshape": (node("Reshape", "x s", "y"), {"s": np.array(-1)}, X.ravel()),
    "Slice": (
        node("Slice", "x b e a", "y"),
        {"b": np.array(0), "e": np.array(2), "a": np.array(1)},
        X[:, :2],
    ),
    "Unsqueeze": (node("Unsqueeze", "x a", "y"), {"a": np.array(0)}, X[None]),
    "Squeeze": (node("Squeeze", "z a", "y"), {"a": np.array(0)}, X[0]),
    "ReduceSum": (node("ReduceSum", "x a", "y"), {"a": np.array(1)}, X.sum(1, keepdims=True)),
    "Pad": (
        node("Pad", "x p v a", "y"),
        {"p": np.array([1, 2]), "v": np.float32(0), "a": np.array(2)},
        np.pad(X, ((0, 0), (0, 0), (1, 2))),
    ),
    "Split": (node("Split", "r s", "y"), {"s": np.array(24)}, X.ravel()),
    "CumSum": (node("CumSum", "x a", "y"), {"a": np.array([2])}, X.cumsum(2)),
}


@pytest.mark.parametrize("case", SCALARS)
def test_a_scalar_where_a_list_belongs(case: str):
    made, constants, expected = SCALARS[case]
    source = {"z": X[:1], "r": X.ravel()}.get(made.input[0], X)
    got = run(model([made], {made.input[0]: source}, constants), {made.input[0]: source})
    np.testing.assert_array_equal(got, expected)


# Spelling


def test_both_spellings_of_the_domain():
    inner = helper.make_node("Relu", ["x"], ["t"], domain="ai.onnx")
    branch = helper.make_graph([inner], "g", [], [port("t", [3])])
    nodes = [
        helper.make_node("Neg", ["x"], ["n"], domain="ai.onnx"),
        node("If", "c", "y", then_branch=branch, else_branch=branch),
        node("Add", "y n", "z"),
    ]
    proto = model(nodes, {"x": SIGNS}, {"c": np.array(True)}, ["z"])
    np.testing.assert_array_equal(run(proto, {"x": SIGNS}), np.maximum(SIGNS, 0) - SIGNS)
    del proto.opset_import[:]
    proto.opset_import.append(helper.make_opsetid("ai.onnx", 18))
    np.testing.assert_array_equal(run(proto, {"x": SIGNS}), np.maximum(SIGNS, 0) - SIGNS)
    assert nodes[0].domain == "ai.onnx"  # the caller's model stays as it is


@pytest.mark.parametrize("name", ["?", "", "-1", "None", "unk", "*"])
def test_dimensions_of_one_placeholder(name: str):
    proto = model([node("Relu", "x", "y")], {"x": port("x", [1, 3, name, name])})
    x = normal(1, 3, 4, 6)
    np.testing.assert_array_equal(run(proto, {"x": x}, shapes={"x": x.shape}), np.maximum(x, 0))


def test_the_hint_has_the_models_own_shape():
    proto = model([node("Relu", "x", "y")], {"x": port("x", ["n", 3, "h", "w", 7])})
    with pytest.raises(KpuError, match=r"--shape x=1x3x128x128x7"):
        import_onnx(proto)
    with pytest.raises(KpuError, match=r"\?x3x\?x\?x7 in the model, got 2x3"):
        import_onnx(proto, {"x": (2, 3)})


def test_a_wrong_declared_shape_of_an_output_is_a_warning(capsys: pytest.CaptureFixture[str]):
    proto = model([node("Relu", "x", "y")], {"x": SIGNS})
    proto.graph.output[0].CopyFrom(port("y", [7]))
    np.testing.assert_array_equal(run(proto, {"x": SIGNS}), np.maximum(SIGNS, 0))
    assert "warning: output 'y' is declared with shape 7" in capsys.readouterr().err


# Branches and bodies


def branches(**outputs: Any) -> dict[str, Any]:
    """``then_branch`` and ``else_branch``: graphs of one node of x."""
    return {
        f"{name}_branch": helper.make_graph([node(op, "x", "t")], "g", [], [port("t")])
        for name, op in outputs.items()
    }


@pytest.mark.parametrize("value", [True, False])
def test_a_known_condition_chooses_its_branch(value: bool):
    # What is not chosen need not be supported.
    parts = branches(then="Relu", **{"else": "Neg"})
    parts["else_branch" if value else "then_branch"].node[0].op_type = "NonZero"
    proto = model([node("If", "c", "y", **parts)], {"x": SIGNS}, {"c": np.array([value])})
    expected = np.maximum(SIGNS, 0) if value else -SIGNS
    np.testing.assert_array_equal(run(proto, {"x": SIGNS}), expected)


def test_a_condition_that_follows_from_shapes():
    nodes = [
        node("Shape", "x", "s"),
        node("Equal", "s three", "c"),
        node("If", "c", "y", **branches(then="Relu", **{"else": "Neg"})),
    ]
    proto = model(nodes, {"x": SIGNS}, {"three": np.array([3])})
    np.testing.assert_array_equal(run(proto, {"x": SIGNS}), np.maximum(SIGNS, 0))


@pytest.mark.parametrize("value", [True, False])
def test_a_condition_of_the_caller_chooses_between_results(value: bool):
    choice = node("If", "c", "y", **branches(then="Relu", **{"else": "Neg"}))
    same(model([choice], {"x": SIGNS, "c": np.array(value)}), {"x": SIGNS, "c": np.array(value)})


def test_a_fixed_input_chooses_a_branch():
    parts = branches(then="Relu", **{"else": "NonZero"})
    proto = model([node("If", "c", "y", **parts)], {"x": SIGNS, "c": np.array(True)})
    fixed = {"c": np.array(1)}
    np.testing.assert_array_equal(run(proto, {"x": SIGNS}, constants=fixed), np.maximum(SIGNS, 0))
    with pytest.raises(KpuError, match="known only at run time"):
        import_onnx(proto)


def loop_body(*nodes: Any, carried: str = "v", gathered: str = "") -> Any:
    """A body that carries ``v`` on as ``w`` and gathers a value, and goes on by ``more``."""
    outputs = ["more", "w", *gathered.split()]
    return helper.make_graph(
        list(nodes),
        "body",
        [port("i", [], np.int64), port("go", [], np.bool_), port(carried)],
        [port("more", [], np.bool_), *(port(name) for name in outputs[1:])],
    )


def test_a_loop_of_a_known_count():
    body = loop_body(
        node("Identity", "go", "more"),
        node("Cast", "i", "f", to=TensorProto.FLOAT),
        node("Add", "v f", "s"),
        node("Mul", "s k", "w"),
        node("Neg", "w", "o"),
        gathered="o",
    )
    proto = model([node("Loop", "n _ x", "y all", body=body)], {"x": SIGNS},
                  {"n": np.array(3), "k": np.float32(2)}, ["y", "all"])  # fmt: skip
    same(proto, {"x": SIGNS})


def test_a_loop_until_its_condition():
    body = loop_body(
        node("Less", "i last", "more"), node("Add", "v x", "w"),
    )  # fmt: skip
    proto = model([node("Loop", "_ c x", "y", body=body)], {"x": SIGNS},
                  {"c": np.array(True), "last": np.array(4)})  # fmt: skip
    same(proto, {"x": SIGNS})


def test_a_loop_without_steps():
    body = loop_body(node("Identity", "go", "more"), node("Add", "v v", "w"))
    proto = model([node("Loop", "n _ x", "y", body=body)], {"x": SIGNS}, {"n": np.array(0)})
    np.testing.assert_array_equal(run(proto, {"x": SIGNS}), SIGNS)


@pytest.mark.parametrize(
    ("constants", "inputs", "message"),
    [
        ({}, {"n": np.array(3)}, "trip count must be known"),
        ({"n": np.array(10**9)}, {}, "steps of 2 nodes are unrolled; at most"),
    ],
)
def test_loops_that_are_refused(constants: Any, inputs: Any, message: str):
    body = loop_body(node("Identity", "go", "more"), node("Add", "v v", "w"))
    loop = node("Loop", "n _ x", "y", "again", body=body)
    with pytest.raises(KpuError, match=message) as caught:
        import_onnx(model([loop], {"x": SIGNS, **inputs}, constants))
    assert caught.value.where == "node 'again' (Loop)"


def test_an_error_inside_names_the_node_inside():
    body = loop_body(node("Identity", "go", "more"), node("MatMul", "v b", "w", "inner"))
    proto = model([node("Loop", "n _ x", "y", "outer", body=body)], {"x": SIGNS},
                  {"n": np.array(2), "b": np.ones((4, 3), np.float32)})  # fmt: skip
    with pytest.raises(KpuError) as caught:
        import_onnx(proto)
    assert caught.value.where == "node 'inner' (MatMul)"


@pytest.mark.parametrize("back", [0, 1])
@pytest.mark.parametrize("axis", [0, 1])
def test_a_scan(back: int, axis: int):
    body = helper.make_graph(
        [node("Add", "h e", "g"), node("Mul", "g e", "o")],
        "body",
        [port("h", [4]), port("e", [4])],
        [port("g", [4]), port("o", [4])],
    )
    scan = node("Scan", "s x", "y all", body=body, num_scan_inputs=1, scan_input_axes=[axis],
                scan_input_directions=[back], scan_output_directions=[back],
                scan_output_axes=[axis])  # fmt: skip
    x = normal(3, 4) if axis == 0 else normal(4, 3)
    start = normal(4, seed=1)
    same(model([scan], {"s": start, "x": x}, outputs=["y", "all"]), {"s": start, "x": x})


# Weights


def sparse(name: str, indices: Any, dims: list[int]) -> Any:
    """1.5 and -2.5 in places."""
    values = helper.make_tensor(name, TensorProto.FLOAT, [2], [1.5, -2.5])
    places = helper.make_tensor("", TensorProto.INT64, np.shape(indices), np.ravel(indices))
    return helper.make_sparse_tensor(values, places, dims)


def test_sparse_weights():
    proto = model([node("Add", "x c", "y")], {"x": SIGNS})
    proto.graph.sparse_initializer.append(sparse("c", [0, 2], [3]))
    np.testing.assert_array_equal(run(proto, {"x": SIGNS}), SIGNS + np.array([1.5, 0, -2.5]))
    constant = helper.make_node(
        "Constant", [], ["c"], sparse_value=sparse("c", [[0, 1], [1, 2]], [2, 3])
    )
    proto = model([constant, node("Add", "x c", "y")], {"x": SIGNS})
    np.testing.assert_array_equal(
        run(proto, {"x": SIGNS}), SIGNS + np.array([[0, 1.5, 0], [0, 0, -2.5]])
    )


@pytest.mark.parametrize("indices", [[0, 3], [-1, 0], [[0, 0], [1, 3]]])
def test_sparse_weights_outside_of_their_shape(indices: Any):
    proto = model([node("Add", "x c", "y")], {"x": SIGNS})
    proto.graph.sparse_initializer.append(sparse("c", indices, [3]))
    with pytest.raises(KpuError, match="sparse tensor 'c' has indices"):
        import_onnx(proto)


def test_an_initializer_that_is_an_input_too():
    proto = model([node("Mul", "x w", "y")], {"x": SIGNS, "w": port("w", [3])}, {"w": SIGNS})
    np.testing.assert_array_equal(run(proto, {"x": SIGNS}), SIGNS**2)
    fixed = run(proto, {"x": SIGNS}, constants={"w": np.float32([1, 2, 3])})
    np.testing.assert_array_equal(fixed, SIGNS * [1, 2, 3])
    given = run(proto, {"x": SIGNS, "w": SIGNS + 1}, shapes={"w": (3,)})
    np.testing.assert_array_equal(given, SIGNS * (SIGNS + 1))


def absent(external: bool) -> Any:
    """A product whose weights are nowhere."""
    w = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[64, 32])
    if external:
        w.data_location = TensorProto.EXTERNAL
        w.external_data.add(key="location", value="nowhere.bin")
    proto = model([node("MatMul", "x w", "p"), node("Add", "p b", "y")],
                  {"x": normal(16, 64)}, {"b": normal(32)})  # fmt: skip
    proto.graph.initializer.append(w)
    return proto


@pytest.mark.parametrize("external", [True, False])
def test_weights_that_are_not_there(
    external: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "m.onnx"
    path.write_bytes(absent(external).SerializeToString())
    given = [str(path), "--search", "none", "--json"]
    for _ in range(2):
        assert main([*given, "--no-values"]) == 0
        assert json.loads(capsys.readouterr().out)["macs"] == 16 * 64 * 32
    assert main(given) == 1  # what was timed is not run from the cache
    assert "--no-values" in capsys.readouterr().err
    cycles = kpu_ir.load(path, search="none", values=False).cycles
    with_them = kpu_ir.compile(
        import_onnx(model([node("MatMul", "x w", "p"), node("Add", "p b", "y")],
                          {"x": normal(16, 64)}, {"b": normal(32), "w": normal(64, 32)})),
        search="none",
    )  # fmt: skip
    assert cycles == with_them.cycles


# What nothing reads


@pytest.mark.parametrize(
    "dead",
    [
        node("NonZero", "x", "unused"),
        helper.make_node("Magic", ["x"], ["unused"], domain="acme"),
        helper.make_node("Constant", [], ["unused"], value_string="abc"),
        node("SequenceConstruct", "x x", "unused"),
    ],
)
def test_dead_nodes(dead: Any):
    proto = model([dead, node("Relu", "x", "y")], {"x": SIGNS})
    np.testing.assert_array_equal(run(proto, {"x": SIGNS}), np.maximum(SIGNS, 0))


# Values of inputs


def test_a_value_for_an_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    nodes = [node("Slice", "x b e", "s"), node("Mul", "s rate", "y")]
    inputs = {"x": SIGNS, "b": port("b", [1], np.int64), "e": port("e", ["n"], np.int64),
              "rate": port("rate", [])}  # fmt: skip
    path = tmp_path / "m.onnx"
    path.write_bytes(model(nodes, inputs).SerializeToString())
    np.save(tmp_path / "rate.npy", np.float32(2.5))
    for rate in ("2.5", str(tmp_path / "rate.npy")):
        given = ["--input", "b=0", "--input", "e=2", "--input", f"rate={rate}"]
        outputs = tmp_path / "out.npz"
        np.savez(tmp_path / "in.npz", x=SIGNS)
        arguments = [str(path), *given, "--inputs", str(tmp_path / "in.npz"), "--search", "none"]
        assert main([*arguments, "--outputs", str(outputs)]) == 0, capsys.readouterr().err
        np.testing.assert_array_equal(np.load(outputs)["y"], SIGNS[:2] * 2.5)
    program = kpu_ir.load(path, search="none", fixed={"b": 1, "e": [3], "rate": 2})
    np.testing.assert_array_equal(program(x=SIGNS)["y"], SIGNS[1:] * 2)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("b=x", "--input 'b=x'"),
        ("b", "--input 'b'"),
        ("q=1", "'q', which is no input"),
        ("b=1.5", "input 'b': expected int64"),
        ("x=1,2", "input 'x' has shape 3"),
        ("x=missing.npy", "missing.npy"),
    ],
)
def test_values_that_do_not_fit(
    setting: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "m.onnx"
    inputs = {"x": SIGNS, "b": port("b", [], np.int64)}
    path.write_bytes(model([node("Gather", "x b", "y")], inputs).SerializeToString())
    assert main([str(path), "--input", setting]) == 1
    assert words in capsys.readouterr().err


# What contradicts itself

WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "kernel_shape": (
        node("Conv", "x w", "y", "n", kernel_shape=[5, 5]),
        {"x": normal(1, 1, 8, 8), "w": normal(1, 1, 3, 3)},
        "'kernel_shape' is",
    ),
    "kernel_shape, transposed": (
        node("ConvTranspose", "x w", "y", "n", kernel_shape=[2, 2]),
        {"x": normal(1, 1, 8, 8), "w": normal(1, 1, 3, 3)},
        "'kernel_shape' is",
    ),
    "number of pads": (
        node("Conv", "x w", "y", "n", pads=[1, 1]),
        {"x": normal(1, 1, 8, 8), "w": normal(1, 1, 3, 3)},
        "'pads': expected 4 integers, got 2",
    ),
    "number of strides": (
        node("Conv", "x w", "y", "n", strides=[1]),
        {"x": normal(1, 1, 8, 8), "w": normal(1, 1, 3, 3)},
        "'strides': expected 2 integers",
    ),
    "bias": (
        node("Conv", "x w b", "y", "n"),
        {"x": normal(1, 1, 8, 8), "w": normal(2, 1, 3, 3), "b": normal(3)},
        "a bias of shape",
    ),
    "axis of Concat": (
        node("Concat", "x x", "y", "n", axis=7),
        {"x": X},
        "axis 7 is outside the rank 3",
    ),
    "axis of Softmax": (node("Softmax", "x", "y", "n", axis=3), {"x": X}, "axis 3 is outside"),
    "axis of Split": (node("Split", "x", "y z", "n", axis=-4), {"x": X}, "axis -4 is outside"),
    "axis of LayerNormalization": (
        node("LayerNormalization", "x g", "y", "n", axis=5),
        {"x": X, "g": normal(4)},
        "axis 5 is outside",
    ),
    "axis of Gather": (
        node("Gather", "x i", "y", "n", axis=3), {"x": X, "i": np.array([0])}, "axis 3 is outside",
    ),
    "axes of ReduceMean": (
        node("ReduceMean", "x", "y", "n", axes=[4]), {"x": X}, "axis 4 is outside",
    ),
    "values of OneHot": (
        node("OneHot", "i d v", "y", "n"),
        {"i": np.array([0, 1]), "d": np.array([4]), "v": np.ones(1, np.float32)},
        "values: expected two",
    ),
    "type of an attribute": (
        node("Softmax", "x", "y", "n", axis=1.5), {"x": X}, "'axis': expected an integer",
    ),
    "sizes of Split": (
        node("Split", "x s", "y z", "n", axis=1), {"x": X, "s": np.array([1, 1])}, "sizes",
    ),
    "order of Transpose": (
        node("Transpose", "x", "y", "n", perm=[0, 0, 1]), {"x": X}, "is not an order",
    ),
}  # fmt: skip
KNOWN = ("d", "v", "s")


@pytest.mark.parametrize("case", WRONG)
def test_what_contradicts_itself(case: str):
    wrong, given, words = WRONG[case]
    constants = {n: v for n, v in given.items() if n in KNOWN}
    inputs = {n: v for n, v in given.items() if n not in KNOWN}
    opset = 13 if case == "axes of ReduceMean" else 18
    with pytest.raises(KpuError, match=words) as caught:
        import_onnx(model([wrong], inputs, constants, opset=opset))
    assert caught.value.where == f"node 'n' ({wrong.op_type})"


OUTSIDE = {
    "Gather": ("x i", [0, 5], 5, {"axis": 1}),
    "GatherElements": ("x i", [[[0]], [[-4]]], -4, {"axis": 1}),
    "GatherND": ("x i", [[0, 1], [1, 3]], 3, {}),
    "ScatterElements": ("x i u", [[[0]], [[7]]], 7, {"axis": 1}),
    "ScatterND": ("x i u", [[1, -4]], -4, {}),
}
"""What an operator reads, its indices of a tensor of 2x3x4; the index outside of its second dimension."""


@pytest.mark.parametrize("known", ["i u", "i u x"])
@pytest.mark.parametrize("kind", OUTSIDE)
def test_known_indices_outside(kind: str, known: str):
    """They name the node and the index, whether or not all is known; those from the end count."""
    reads, at, bad, attributes = OUTSIDE[kind]
    indices = np.array(at)
    one = node(kind, reads, "y", "n", **attributes)
    u = np.ones((1, 4) if kind == "ScatterND" else indices.shape, np.float32)
    values = {"x": X, "i": indices, "u": u}

    def imported(indices: Any) -> Any:
        values["i"] = indices
        constants = {n: v for n, v in values.items() if n in known.split() and n in reads}
        inputs = {n: v for n, v in values.items() if n in reads and n not in constants}
        return import_onnx(model([one], inputs, constants, opset=18))

    words = f"index {bad} is outside the extent 3 of dimension 1"
    with pytest.raises(KpuError, match=words) as caught:
        imported(indices)
    assert caught.value.where == f"node 'n' ({kind})"
    imported(np.where(indices == bad, -3, indices))


# What old exporters wrote step by step


@pytest.mark.parametrize("square", ["Pow", "Mul"])
@pytest.mark.parametrize("inverse", [False, True])
def test_a_layer_norm_in_steps_is_one(square: str, inverse: bool):
    last = [node("Reciprocal", "s", "r"), node("Mul", "d r", "n")]
    nodes = [
        node("ReduceMean", "x", "m", axes=[-1]),
        node("Sub", "x m", "d"),
        node("Pow", "d two", "q") if square == "Pow" else node("Mul", "d d", "q"),
        node("ReduceMean", "q", "v", axes=[-1]),
        node("Add", "v eps", "w"),
        node("Sqrt", "w", "s"),
        *(last if inverse else [node("Div", "d s", "n")]),
        node("Mul", "n g", "o"),
        node("Add", "o b", "y"),
    ]
    constants = {"two": np.float32(2), "eps": np.float32(1e-5), "g": normal(8), "b": normal(8)}
    x = normal(2, 5, 8, seed=3)
    proto = model(nodes, {"x": x}, constants, opset=13)
    same(proto, {"x": x})
    kernels = [op.name for op in import_onnx(proto).walk() if op.name.startswith("kernel.")]
    assert kernels == ["kernel.constant", "kernel.constant", "kernel.normalize"]


def test_a_softmax_in_steps_is_one():
    nodes = [
        node("ReduceMax", "x", "m", axes=[-1]),
        node("Sub", "x m", "d"),
        node("Exp", "d", "e"),
        node("ReduceSum", "e a", "s"),
        node("Div", "e s", "y"),
    ]
    x = normal(2, 5, 8)
    proto = model(nodes, {"x": x}, {"a": np.array([-1])}, opset=13)
    same(proto, {"x": x})
    kernels = [op.name for op in import_onnx(proto).walk() if op.name.startswith("kernel.")]
    assert kernels == ["kernel.softmax"]


LAYERS = {
    "directions of W": {"w": normal(2, 20, 4)},
    "gates of W": {"w": normal(1, 15, 4)},
    "inputs of W": {"w": normal(1, 20, 5)},
    "rank of R": {"r": normal(20, 5)},
    "states of R": {"r": normal(1, 25, 5)},
    "B": {"b": normal(1, 20)},
    "initial_h": {"h": normal(1, 1, 5)},
}


@pytest.mark.parametrize("case", LAYERS)
def test_recurrent_weights_that_do_not_fit_are_refused(case: str):
    """ONNX's shape inference looks at none of them."""
    right = {"w": normal(1, 20, 4), "r": normal(1, 20, 5), "b": normal(1, 40), "h": normal(1, 2, 5)}
    layer = node("LSTM", "x w r b _ h", "y", "here", hidden_size=5)
    x = {"x": normal(3, 2, 4)}
    import_onnx(model([layer], x, right))
    with pytest.raises(KpuError, match=r"(?s)node 'here'.*input \d \(?"):
        import_onnx(model([layer], x, right | LAYERS[case]))


def test_no_elements_of_a_shape_that_no_array_has():
    proto = model([node("Relu", "x", "y")], {"x": port("x", [0, 1 << 40, 1 << 40])})
    with pytest.raises(KpuError, match=r"2\^44 elements"):
        import_onnx(proto)


def test_attention_of_operands_of_different_ranks_is_refused():
    one = node("Attention", "q k v", "y", "here", q_num_heads=2, kv_num_heads=2)
    q, k = normal(1, 3, 8), normal(1, 2, 3, 4)
    with pytest.raises(KpuError, match=r"node 'here'.*1x3x8, 1x2x3x4, 1x2x3x4: expected 3"):
        import_onnx(model([one], {"q": q, "k": k, "v": k}, opset=23))


def test_indices_of_another_rank_are_refused():
    one = node("GatherElements", "x i", "y", "here")
    x = {"x": X, "i": np.zeros((2, 3, 4, 1), np.int64)}
    with pytest.raises(KpuError, match=r"node 'here'.*"):
        import_onnx(model([one], x))
