"""Layers against onnxruntime: the first wrong one is named, and no right one."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kpu_ir
from kpu_ir import KpuError
from kpu_ir.frontends.onnx.order import ir_names
from kpu_ir.integrations.onnxruntime import Comparison, compare
from kpu_ir.program.compiled import Compiled
from kpu_ir.sim.values.values import ValueModel
from kpu_ir.tools.run import main
from kpu_ir.tools.run_program import random_inputs

onnx = pytest.importorskip("onnx", reason="compares ONNX models")
pytest.importorskip("onnxruntime", reason="the oracle is onnxruntime")
from onnx import helper, numpy_helper  # noqa: E402

DIGITS = Path(__file__).parents[1] / "examples" / "digits_mlp.onnx"


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path / "cache"))


def compiled(path: Path | str, fuse: str = "epilogue", **settings: Any) -> Compiled:
    return kpu_ir.load(path, search="none", fuse=fuse, **settings)


def compared(program: Compiled, tolerance: float = 1e-4) -> Comparison:
    return compare(program, random_inputs(program.program, 0), tolerance)


def save(
    name: str, nodes: list[Any], x: tuple[int, ...], outputs: list[str], **arrays: Any
) -> Path:
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, x)],
        [helper.make_tensor_value_info(o, kind, None) for o in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), name)
    return Path(name)


def network() -> Path:
    """Two convolutions, one with a batch norm, a pool, views, a transposition, a product, a mean.

    Three tensors have names that the IR spells alike.
    """
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32)

    n = helper.make_node
    nodes = [
        n("Conv", ["x", "w1"], ["conv"], "conv1", pads=[1, 1, 1, 1]),
        n("BatchNormalization", ["conv", "scale", "shift", "mean", "var"], ["relu/0"], "norm1"),
        n("Relu", ["relu/0"], ["relu"], "relu1"),
        n("MaxPool", ["relu"], ["pool"], "pool1", kernel_shape=[2, 2], strides=[2, 2]),
        n("Conv", ["pool", "w2"], ["relu_1"], "conv2", pads=[1, 1, 1, 1]),
        n("Relu", ["relu_1"], ["relu_2"], "relu2"),
        n("Transpose", ["relu_2"], ["turned"], "turn", perm=[0, 2, 3, 1]),
        n("Reshape", ["turned", "flat"], ["rows"], "view"),
        n("MatMul", ["rows", "w3"], ["t5"], "fc"),
        n("Softmax", ["t5"], ["shares"], "softmax"),
        n("ReduceMean", ["shares"], ["y"], "average", axes=[0], keepdims=0),
    ]
    return save(
        "network.onnx", nodes, (1, 3, 8, 8), ["y"],
        w1=draw(8, 3, 3, 3), scale=1 + 0.1 * draw(8), shift=draw(8), mean=draw(8),
        var=np.exp(draw(8)), w2=draw(16, 8, 3, 3), flat=np.array([16, 16]), w3=draw(16, 12),
    )  # fmt: skip


def wrong(program: Compiled, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let the simulated machine miscompute one element of what a call writes."""
    right = ValueModel._call

    def call(self: ValueModel, call: Any, data: Any, masks: Any) -> None:
        right(self, call, data, masks)
        if call is program.program.calls[number]:
            flat = data[call.arguments[-1]]
            flat[flat.size // 2] += 1 + abs(flat).max()

    monkeypatch.setattr(ValueModel, "_call", call)


# -- right models ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fuse", ["none", "epilogue", "full"])
@pytest.mark.parametrize("make", [lambda: DIGITS, network], ids=["digits", "network"])
def test_no_layer_of_a_right_program_differs(make: Callable[[], Path], fuse: str) -> None:
    found = compared(compiled(make(), fuse))
    assert found.first is None
    assert found.calls == found.of_calls
    assert found.worst is not None
    assert 0 <= found.worst.max_rel_error < 1e-5  # none at all where both round alike
    assert "no layer differs" in found.verdict()


def test_every_node_is_inside_a_layer() -> None:
    path = network()
    found = compared(compiled(path))
    names = [n.name for n in onnx.load(path).graph.node]
    inside = [name for row in found for name in row.nodes]
    assert sorted(inside) == sorted(names)
    first = next(iter(found))
    assert (first.tensor, first.layer) == ("relu", "relu1")
    assert first.operators == ("Conv", "BatchNormalization", "Relu")
    assert first.nodes == ("conv1", "norm1", "relu1")
    assert [row.tensor for row in found][-1] == "y"
    assert {"relu_2", "t5"} <= {row.tensor for row in found}


def test_cycles_of_layers_are_those_of_their_kernels() -> None:
    program = compiled(network())
    found = compared(program)
    assert sum(row.cycles for row in found) == program.cycles
    plans = [call.plan.name for call in program.program.calls]
    assert [k for row in found for k in row.kernels] == plans


def test_a_saved_program_is_compared_alike() -> None:
    program = compiled(network())
    program.save("network.kpu")
    opened = kpu_ir.open("network.kpu")
    assert compared(opened).rows == compared(program).rows


def test_an_output_that_is_a_view_or_a_constant_is_compared_too() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["h"], "relu"),
        helper.make_node("Reshape", ["h", "shape"], ["y"], "view"),
        helper.make_node("Add", ["one", "one"], ["two"], "folded"),
    ]
    path = save(
        "views.onnx",
        nodes,
        (2, 6),
        ["y", "two"],
        shape=np.array([3, 4]),
        one=np.ones(2, np.float32),
    )
    found = compared(compiled(path))
    assert {"y", "two"} <= {row.tensor for row in found}
    assert found.first is None


def test_tensors_kept_in_another_file_are_read() -> None:
    path = network()
    onnx.save(onnx.load(path), "outside.onnx", save_as_external_data=True, size_threshold=0)
    found = compared(compiled("outside.onnx"))
    assert found.first is None
    assert len(found) == len(compared(compiled(path)))


def test_functions_of_a_model_are_layers_too() -> None:
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    twice = helper.make_function(
        "own", "Square", ["a"], ["b"], [helper.make_node("Mul", ["a", "a"], ["b"])], opset[:1]
    )
    value = helper.make_tensor_value_info
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("Square", ["x"], ["h"], "square", domain="own"),
            helper.make_node("Softmax", ["h"], ["y"], "softmax"),
        ],
        "g", [value("x", kind, (4, 8))], [value("y", kind, (4, 8))],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=opset, ir_version=8, functions=[twice])
    onnx.save(model, "functions.onnx")
    found = compared(compiled("functions.onnx"))
    assert found.first is None
    assert found.calls == found.of_calls


def test_no_two_tensors_have_the_same_name_in_the_ir() -> None:
    tensors = ["relu", "relu_1", "relu1", "relu_01", "a/b", "a:b", "t3", "t_3", "7", "/", "_"]
    nodes = [
        helper.make_node("Relu", [before], [after])
        for before, after in zip(["x", *tensors], [*tensors, "y"])
    ]
    path = save("names.onnx", nodes, (4,), ["y"])
    names = ir_names(onnx.load(path).graph)
    assert set(names) == {"x", *tensors, "y"}
    assert len(set(names.values())) == len(names)
    assert (names["relu"], names["relu_1"], names["a/b"]) == ("relu", "relu1", "a_b")
    assert not any(re.fullmatch(r"t\d+|.*_\d+", name) for name in names.values())
    found = compared(compiled(path, "none"))
    assert [row.tensor for row in found] == [*tensors, "y"][-len(found) :]
    assert found.first is None


# -- wrong ones -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: DIGITS, network], ids=["digits", "network"])
def test_exactly_the_wrong_kernel_is_named(
    make: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = compiled(make())
    good = compared(program)
    for number in range(len(program.program.calls)):
        with monkeypatch.context() as patch:
            wrong(program, patch, number)
            found = compared(program)
        assert found.first is not None
        assert program.program.calls[number].plan.name in found.first.kernels
        # Everything before it is what it was.
        before = found.first.number - 1
        assert found.rows[:before] == good.rows[:before]
        assert all(node in found.verdict() for node in found.first.nodes)


def test_a_wrong_weight_is_found_in_its_layer() -> None:
    """The program was compiled from other weights than the model has."""
    path = network()
    model = onnx.load(path)
    (weights,) = (t for t in model.graph.initializer if t.name == "w2")
    changed = numpy_helper.to_array(weights).copy()
    changed[3, 2, 1, 1] += 1
    weights.CopyFrom(numpy_helper.from_array(changed, "w2"))
    onnx.save(model, "other.onnx")
    found = compared(replace(compiled("other.onnx"), source=str(path)))
    assert found.first is not None
    assert found.first.nodes == ("conv2", "relu2")
    assert not any(row.differs for row in found.rows[: found.first.number - 1])


def test_the_tolerance_is_of_the_largest_value(monkeypatch: pytest.MonkeyPatch) -> None:
    program = compiled(DIGITS)
    right = ValueModel._call

    def call(self: ValueModel, call: Any, data: Any, masks: Any) -> None:
        right(self, call, data, masks)
        if call is program.program.calls[0]:
            flat = data[call.arguments[-1]]
            flat[0] += 0.01 * abs(flat).max()

    monkeypatch.setattr(ValueModel, "_call", call)
    first = compared(program, 0.02).rows[0]
    assert first.max_rel_error == pytest.approx(0.01, rel=1e-2)
    assert not first.differs
    assert compared(program, 0.009).rows[0].differs


def test_a_nan_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    program = compiled(DIGITS)
    right = ValueModel._call

    def call(self: ValueModel, call: Any, data: Any, masks: Any) -> None:
        right(self, call, data, masks)
        if call is program.program.calls[-1]:
            data[call.arguments[-1]][0] = np.nan

    monkeypatch.setattr(ValueModel, "_call", call)
    found = compared(program)
    assert found.first is found.rows[-1]
    json.loads(found.to_json())


# -- bad input ------------------------------------------------------------------------------------


def test_without_onnxruntime_there_is_a_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(KpuError, match="needs onnxruntime"):
        compare(DIGITS, {})
    assert main([str(DIGITS), "--compare"]) == 1
    assert "pip install 'kpu-ir[oracle]'" in capsys.readouterr().err


def test_only_onnx_models_are_compared() -> None:
    g = kpu_ir.Graph()
    g.output("y", g.input("x", (4, 4)).relu())
    with pytest.raises(KpuError, match="only ONNX models"):
        compare(kpu_ir.compile(g), {"x": np.ones((4, 4), np.float32)})
    with pytest.raises(KpuError, match="only ONNX models"):
        compare("model.mlir", {})


def test_what_onnxruntime_refuses_is_told() -> None:
    """The file has changed since: another shape."""
    program = compiled(save("m.onnx", [helper.make_node("Relu", ["x"], ["y"], "r")], (4,), ["y"]))
    save("m.onnx", [helper.make_node("Relu", ["x"], ["y"], "r")], (5,), ["y"])
    with pytest.raises(KpuError, match="onnxruntime cannot run this model"):
        compared(program)


# -- kpu-run --------------------------------------------------------------------------------------

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: Any) -> tuple[int, str, str]:
        status = main([str(a) for a in arguments])
        out = capsys.readouterr()
        return status, out.out, out.err

    return call


def test_kpu_run_prints_the_layers(run: Run) -> None:
    status, out, err = run(network(), "--compare", "--search", "none")
    assert (status, err) == (0, "")
    assert "\x1b" not in out
    assert "Conv BatchNormalization Relu" in out
    assert out.splitlines()[-1].startswith("no layer differs by more than 0.0001")


def test_the_tolerance_is_of_the_precision(run: Run) -> None:
    given = network(), "--compare", "--search", "none", "--precision", "bf16"
    status, out, _ = run(*given)
    assert status == 0
    assert out.splitlines()[-1].startswith("no layer differs by more than 0.015625")
    assert run(*given, "--tolerance", "1e-4")[0] == 1


def test_kpu_run_exits_with_1_where_a_layer_differs(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = ValueModel._call

    def call(self: ValueModel, call: Any, data: Any, masks: Any) -> None:
        right(self, call, data, masks)
        data[call.arguments[-1]][0] += 1000

    monkeypatch.setattr(ValueModel, "_call", call)
    status, out, err = run(DIGITS, "--compare", "--search", "none", "--fuse", "epilogue")
    assert (status, err) == (1, "")
    assert "the first layer that differs: relu1, tensor relu1" in out
    assert "nodes inside: fc1 (Gemm), relu1 (Relu)" in out
    status, out, _ = run(DIGITS, "--compare", "--search", "none", "--json")
    assert status == 1
    data = json.loads(out)
    assert data["first"] == 1
    assert data["rows"][0]["differs"]
    status, out, _ = run(DIGITS, "--compare", "--search", "none", "--tolerance", "1e9")
    assert status == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tolerance", "1"], "does nothing without --compare"),
        (["--compare", "--tolerance", "-1"], "expected a number from 0"),
        (["--compare", "--tolerance", "nan"], "expected a number from 0"),
        (["--compare", "--tolerance", "x"], "--tolerance 'x': expected a number from 0"),
        (["--compare", "--no-values"], "--compare does nothing beside --no-values"),
        (["--compare", "--profile"], "--profile does nothing beside --compare"),
        (["--compare", "--emit", "dma"], "--compare does nothing beside --emit"),
        (["--batch"], "--batch does nothing without --inputs"),
    ],
)
def test_useless_options_are_refused(run: Run, arguments: list[str], words: str) -> None:
    status, out, err = run(DIGITS, *arguments)
    assert (status, out) == (1, "")
    assert words in err


def test_saved_programs_need_their_model(run: Run) -> None:
    compiled(DIGITS).save("digits.kpu")
    status, _, err = run("digits.kpu", "--compare")
    assert status == 1
    assert "--compare is for ONNX models" in err


# -- the screen, and batches ----------------------------------------------------------------------


def test_the_screen_says_what_was_folded_and_what_runs_on_the_host(run: Run) -> None:
    status, out, _ = run(DIGITS, "--search", "none")
    assert status == 0
    words = "5 operators, 0 of them folded; 0 operators on the host, 0.0 % of the work"
    assert f"coverage 100.0 % of the model's multiply-accumulates; {words}" in out
    nodes = [
        helper.make_node("Add", ["one", "one"], ["two"], "folded"),
        helper.make_node("Mul", ["x", "two"], ["y"], "scaled"),
    ]
    path = save("folded.onnx", nodes, (4,), ["y"], one=np.ones(4, np.float32))
    _, out, _ = run(path, "--search", "none")
    words = "2 operators, 1 of them folded; 0 operators on the host"
    assert f"coverage: the model has no multiply-accumulates; {words}" in out
    Path("m.mlir").write_text(compiled(path).ir("kernel", None))
    _, out, _ = run("m.mlir", "--search", "none")
    assert "coverage 0" not in out
    assert "coverage" in out


def test_a_batch_is_run_item_by_item(run: Run) -> None:
    path = save("m.onnx", [helper.make_node("Softmax", ["x"], ["y"], "s")], (2, 8), ["y"])
    program = compiled(path)
    x = np.random.default_rng(0).standard_normal((3, 2, 8)).astype(np.float32)
    expected = np.stack([program(x=item)["y"] for item in x])
    for given, shape in ((x, (3, 2, 8)), (x.reshape(6, 8), (6, 8))):
        np.savez("in.npz", x=given)
        options = ("--inputs", "in.npz", "--outputs", "out.npz", "--batch", "--search", "none")
        status, out, err = run(path, *options, "--fuse", "epilogue")
        assert (status, err) == (0, "")
        assert f"batch: 3 items, {3 * program.cycles:,} cycles" in out
        with np.load("out.npz") as found:
            assert found["y"].shape == shape
            np.testing.assert_array_equal(found["y"].reshape(3, 2, 8), expected)


def test_bad_batches_are_refused_before_they_run(run: Run) -> None:
    path = save("m.onnx", [helper.make_node("Softmax", ["x"], ["y"], "s")], (2, 8), ["y"])
    nan = np.zeros((3, 2, 8), np.float32)
    nan[1, 0, 0] = np.nan
    for array, words in (
        (np.zeros((3, 2, 7), np.float32), "expected items of shape (2, 8)"),
        (np.zeros((0, 2, 8), np.float32), "there are no items to run"),
        (nan, "in.npz: item 1: input 'x' has NaNs"),
    ):
        np.savez("in.npz", x=array)
        arguments = ("--inputs", "in.npz", "--outputs", "out.npz", "--batch", "--search", "none")
        status, out, err = run(path, *arguments)
        assert (status, out) == (1, "")
        assert words in err
        assert not Path("out.npz").exists()
