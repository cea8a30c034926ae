"""Sessions: ONNX Runtime's conventions and values, bindings, and nodes that run on the host."""

import numpy as np
import pytest

from kpu_ir import Graph, KpuError, runtime

ort = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

SIZE = 16


def model(path, strange):
    """y = relu(x w) + 1, and its row sums; ``strange``: with a node in the middle that we lack."""
    weights = np.random.default_rng(0).standard_normal((SIZE, SIZE)).astype(np.float32)
    middle = ("Det", ["h3"], ["d"]) if strange else ("ReduceMax", ["h3", "axes"], ["d"])
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "product"),
        helper.make_node("Relu", ["h"], ["h1"], "relu"),
        helper.make_node("Unsqueeze", ["h1", "zero"], ["h3"], "up"),
        helper.make_node(
            middle[0], middle[1], middle[2], "middle", **({} if strange else {"keepdims": 0})
        ),
        helper.make_node("Add", ["h1", "d"], ["y"], "add"),
        helper.make_node("ReduceSum", ["y"], ["sum"], "sum", keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (SIZE, SIZE))],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, (SIZE, SIZE)),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, ()),
        ],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.array([0]), "zero"),
            numpy_helper.from_array(np.array([1, 2]), "axes"),
        ],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path
    )
    return str(path)


@pytest.fixture
def x():
    return np.random.default_rng(1).standard_normal((SIZE, SIZE)).astype(np.float32) / 4


@pytest.mark.parametrize("strange", [False, True])
def test_a_session_gives_what_onnxruntimes_gives(strange, x, tmp_path, capsys):
    path = model(tmp_path / "net.onnx", strange)
    theirs = ort.InferenceSession(path)
    providers = ["KpuExecutionProvider", *(["CPUExecutionProvider"] if strange else [])]
    ours = runtime.Session(path, search="none", providers=providers)
    for mine, other in zip(
        (*ours.get_inputs(), *ours.get_outputs()), (*theirs.get_inputs(), *theirs.get_outputs())
    ):
        assert (mine.name, mine.shape, mine.type) == (other.name, other.shape, other.type)
    for names in (None, ["sum"], ["sum", "y"]):
        for mine, other in zip(ours.run(names, {"x": x}), theirs.run(names, {"x": x}), strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)
    used = ours.device.external.in_use
    ours.run(None, {"x": x})
    assert ours.device.external.in_use == used
    said = capsys.readouterr().err
    assert ours.get_providers() == providers
    if strange:
        assert "'middle' (Det)" in said
        rows = {row.what: row for row in ours.device.profile().rows}
        assert rows["on the host: 'middle' (Det)"].count == 4
        assert rows["copy device to host"].bytes == ours.device.counts["host.write"]
        host = ours.device.counts["host.write"]
        ours.run(["sum"], {"x": x})  # h3 leaves the device, sum too
        assert ours.device.counts["host.write"] - host == 4 * SIZE * SIZE + 4
    else:
        assert "fallback" not in said


def test_what_we_lack_is_an_error_without_a_fallback(tmp_path):
    with pytest.raises(KpuError, match="Det"):
        runtime.Session(model(tmp_path / "net.onnx", True))


def test_bindings_leave_values_on_the_device(x, tmp_path):
    path = model(tmp_path / "net.onnx", False)
    ours = runtime.Session(path, search="none")
    device, stream = ours.device, ours.stream
    binding = ours.io_binding()
    binding.bind_input("x", device.array(x, stream=stream))
    place = device.empty((SIZE, SIZE), stream=stream)
    binding.bind_output("y", place)
    binding.bind_output("sum")
    ours.run_with_iobinding(binding)
    before = device.counts
    ours.run_with_iobinding(binding)
    assert device.counts["host.read"] == before["host.read"]
    assert "host.write" not in device.counts
    binding.synchronize_outputs()
    assert binding.get_outputs()[0] is place
    expected = ort.InferenceSession(path).run(None, {"x": x})
    np.testing.assert_allclose(np.asarray(place), expected[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(binding.copy_outputs_to_cpu()[1], expected[1], rtol=1e-4)
    binding.bind_cpu_input("x", x * 0)
    ours.run_with_iobinding(binding)
    binding.synchronize_outputs()
    assert not np.allclose(np.asarray(place), expected[0])


def test_names_that_there_are_not(x, tmp_path):
    ours = runtime.Session(model(tmp_path / "net.onnx", False), search="none")
    for wrong in (
        lambda: ours.run(["z"], {"x": x}),
        lambda: ours.run(None, {"z": x}),
        lambda: ours.run(None, {}),
        lambda: ours.run(None, {"x": x[:3]}),
        lambda: runtime.Session(ours.parts[0].program.compiled, fallback="gpu"),
        lambda: runtime.Session(ours.parts[0].program.compiled, providers=["CPU"]),
        lambda: runtime.Session(Graph(), fallback="host"),
    ):
        with pytest.raises(KpuError):
            wrong()
