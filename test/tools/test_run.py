"""kpu-run: what it prints, what it writes, and what bad input gets."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kpu_ir
from kpu_ir import KpuError
from kpu_ir.machine import Machine
from kpu_ir.machine.costs import COSTS
from kpu_ir.program.compiled import Compiled
from kpu_ir.tools.run import main

onnx = pytest.importorskip("onnx", reason="kpu-run's tests make ONNX files")
from onnx import helper, numpy_helper  # noqa: E402

EXAMPLES = Path(__file__).parents[2] / "examples"
DIGITS = str(EXAMPLES / "digits_mlp.onnx")
MAIN = "func.func @main(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {\n"


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path / "cache"))
    return tmp_path


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Exit status, stdout and stderr of a run."""

    def call(*arguments: Any) -> tuple[int, str, str]:
        status = main([str(a) for a in arguments])
        out = capsys.readouterr()
        return status, out.out, out.err

    return call


def save(name: str, nodes: list[Any], x: tuple[Any, ...], y: tuple[Any, ...], *tensors: Any) -> str:
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, x)],
        [helper.make_tensor_value_info("y", kind, y)],
        list(tensors),
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), name)
    return name


def node(op: str, inputs: str, output: str = "y", name: str = "") -> Any:
    return helper.make_node(op, inputs.split(), [output], name=name or f"{op.lower()}1")


WEIGHT = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")


def small(name: str = "small.onnx") -> str:
    """relu(x @ w), 2 x 4."""
    nodes = [node("MatMul", "x w", "h"), node("Relu", "h")]
    return save(name, nodes, (2, 4), (2, 4), WEIGHT)


# -- what it does ---------------------------------------------------------------------------------


def test_outputs_are_those_of_the_network(run: Run) -> None:
    x = np.random.default_rng(0).standard_normal((2, 4)).astype(np.float32)
    np.savez("in.npz", x=x)
    status, out, _ = run(small(), "--inputs", "in.npz", "--outputs", "out.npz")
    assert status == 0
    assert "against the reference: largest difference 0" in out
    np.testing.assert_array_equal(np.load("out.npz")["y"], np.maximum(x, 0))
    assert sorted(p.name for p in Path().iterdir() if p.suffix != "") == [
        "in.npz",
        "out.npz",
        "small.onnx",
    ]


def test_json_adds_up(run: Run) -> None:
    options = ["--search", "none", "--fuse", "epilogue"]
    status, out, err = run(DIGITS, "--json", *options)
    assert (status, err) == (0, "")
    data = json.loads(out)
    machine, cycles = Machine.preset("default"), data["cycles"]
    assert data["macs"] == 360 * (64 * 128 + 128 * 64 + 64 * 10)
    assert data["flops"] > 2 * data["macs"]
    assert data["seconds"] == cycles / 2e9
    for name, engine in data["engines"].items():
        waits = sum(engine["stalls"].values())
        total = engine["busy"] + waits + engine["idle_before"] + engine["idle_after"]
        assert total == cycles, name
    level = data["bytes"]
    external = sum(level["external"].values())
    assert external >= data["compulsory_bytes"]
    assert external >= data["io_bound_bytes"]
    assert cycles >= data["macs"] / machine.peak_macs()
    assert cycles >= external / machine.bandwidth["dma"]
    assert cycles >= (sum(level["l3"].values()) - external) / machine.bandwidth["mover"]
    assert cycles >= level["l1"]["write"] / machine.bandwidth["streamer"]
    assert (
        0 < data["peak_fraction"] <= data["compulsory_fraction"] <= data["roofline_fraction"] <= 1
    )
    assert data["max_rel_error"] <= 1e-5
    parts = {"external", "l3", "l2", "l1", "mac", "vector", "refresh", "background"}
    assert set(data["energy_pj"]) == parts
    assert [k["label"] for k in data["kernels"]] == ["fc1", "fc2", "fc3"]
    assert sum(k["macs"] for k in data["kernels"]) == data["macs"]
    assert sum(k["external_bytes"] for k in data["kernels"]) == external
    assert sum(k["energy_pj"] for k in data["kernels"]) == pytest.approx(
        sum(data["energy_pj"].values())
    )
    assert data["compile_seconds"] > 0
    assert data["simulate_seconds"] > 0


def test_energy_is_the_events_of_json_by_its_table(run: Run) -> None:
    """From the JSON alone."""
    given = (small(), "--json", "--no-values", "--search", "none")
    data = json.loads(run(*given)[1])
    events, table, found = data["events"], data["energy_table"], dict[str, float]()
    found["external"] = table["external"] * (events["external.burst"] + events["instructions"])
    found["external"] += table["activation"] * events["activations"]
    for level in ("l3", "l2", "l1"):
        found[level] = table[level] * (events[f"{level}.read"] + events[f"{level}.write"])
    macs = {k: n for k, n in events.items() if k.partition(".")[0] in ("macs", "vector_macs")}
    found["mac"] = sum(table[f"mac.{k.partition('.')[2]}"] * n for k, n in macs.items())
    lanes = {k: n for k, n in events.items() if k.startswith("lane_ops.")}
    found["vector"] = sum(table[f"vector.{k.partition('.')[2]}"] * n for k, n in lanes.items())
    found |= {k: watts * data["seconds"] * 1e12 for k, watts in data["standby_w"].items()}
    assert data["energy_pj"] == pytest.approx(found)
    assert min(found.values()) > 0
    assert sum(lanes.values()) == events["lane_ops"]
    assert sum(data["leakage_w"].values()) == pytest.approx(data["power_w"]["leakage"])


def test_costs_of_hardware_are_told_and_spared(run: Run) -> None:
    given = (small(), "--json", "--no-values", "--search", "none", "--machine")
    usual, ideal = (json.loads(run(*given, name)[1]) for name in ("default", "ideal"))
    costs = usual["costs"]
    together = costs.pop("together")
    assert list(costs.values()) == sorted(costs.values(), reverse=True)
    assert ideal["costs"] == {}
    assert 0 < max(costs.values()) <= together
    assert set(costs) == set(COSTS)
    spared = json.loads(run(*given, "default", "--without", ",".join(COSTS))[1])
    assert spared["cycles"] == ideal["cycles"]
    code, _, err = run(small(), "--without", "burst", "--no-values")
    assert code
    assert "did you mean 'bursts'" in err


def test_json_says_where_it_comes_from(run: Run) -> None:
    given = (small(), "--json", "--no-values", "--search", "none", "--set", "l2.banks=4")
    data = json.loads(run(*given)[1])
    machine = Machine.preset("default").with_settings(["l2.banks=4"])
    assert data["command"] == shlex.join(["kpu-run", *given])
    assert (data["version"], data["machine_digest"]) == (kpu_ir.__version__, machine.digest)
    assert machine.digest != Machine.preset("default").digest


def test_a_difference_from_the_reference_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = Compiled.reference

    def wrong(self: Compiled, inputs: dict[str, Any]) -> dict[str, Any]:
        return {name: value + 1 for name, value in reference(self, inputs).items()}

    monkeypatch.setattr(Compiled, "reference", wrong)
    data = json.loads(run(small(), "--json")[1])
    assert data["max_abs_error"] == pytest.approx(1, abs=1e-5)
    assert 0 < data["max_rel_error"] <= 1


def test_stepped_tells_the_same(run: Run) -> None:
    told = [
        json.loads(run(DIGITS, "--json", "--no-values", "--search", "none", *more)[1])
        for more in ((), ("--stepped",))
    ]
    for data in told:
        assert data["max_abs_error"] is None
        for key in ("command", "compile_seconds", "simulate_seconds", "stepped"):
            data.pop(key)
    assert told[0] == told[1]


def test_the_host_is_told_of_when_asked_for(run: Run) -> None:
    from kpu_ir.runtime.round_trip import round_trip

    *_, last = run(small(), "--search", "none", "--host")[1].splitlines()
    trip = round_trip(kpu_ir.compile(small(), search="none"))
    assert last == str(trip)
    assert (trip.bytes_in, trip.bytes_out) == (32, 32)
    assert trip.cycles == trip.program + trip.copy_in + trip.copy_out


@pytest.mark.parametrize("level", ["kernel", "tile", "dma"])
def test_emitted_ir_runs_alike(run: Run, level: str) -> None:
    """The machine is in the file, so the IR alone gives the cycles."""
    options = ("--machine", "minimal", "--set", "dma.bytes_per_cycle=3")
    searched = ("--search", "none")
    _, out, _ = run(small(), *options, *searched, "--json")
    status, text, _ = run("small.onnx", *options, *searched, "--emit", level, "--elide", "none")
    assert status == 0
    assert f"{level}." in text
    Path("again.mlir").write_text(text)
    status, again, err = run("again.mlir", "--json", *(searched if level == "kernel" else ()))
    assert (status, err) == (0, "")
    first, second = json.loads(out), json.loads(again)
    assert second["cycles"] == first["cycles"]
    assert second["bytes"] == first["bytes"]
    assert (second["max_abs_error"] is None) == (level != "kernel")
    status, out, _ = run("again.mlir", *(searched if level == "kernel" else ()))
    assert ("not compared" in out) == (level != "kernel")


def test_elided_constants_can_be_timed(run: Run) -> None:
    _, text, _ = run(small(), "--emit", "dma", "--elide", "3")
    assert "dense_resource<elided>" in text
    Path("elided.mlir").write_text(text)
    assert run("elided.mlir", "--no-values")[0] == 0
    status, _, err = run("elided.mlir")
    assert status == 1
    assert "no values" in err


def test_screen_is_plain_and_says_who_waited(run: Run) -> None:
    _, out, err = run(DIGITS, "--search", "none", "--seed", "7")
    assert err == ""
    assert "\x1b" not in out
    assert "random, seed 7" in out
    for words in ("utilization", "of the roofline", "external", "energy", "waited", "bound by"):
        assert words in out
    assert len(out.splitlines()) < 40


def test_shapes_pin_dynamic_dimensions(run: Run) -> None:
    save("dynamic.onnx", [node("Relu", "x")], ("batch", 4), ("batch", 4))
    for shape in ("batch=3", "x=3x4"):
        status, out, _ = run("dynamic.onnx", "--shape", shape, "--json")
        assert status == 0
        assert json.loads(out)["compulsory_bytes"] == 2 * 4 * 12


# -- what bad input gets --------------------------------------------------------------------------


def not_onnx() -> list[str]:
    Path("bad.onnx").write_text("hello, this is no model")
    return ["bad.onnx"]


def another_kind() -> list[str]:
    Path("my.toml").write_text("")
    return ["my.toml"]


def truncated() -> list[str]:
    Path("bad.onnx").write_bytes(Path(DIGITS).read_bytes()[:30000])
    return ["bad.onnx"]


def external_data() -> list[str]:
    weight = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return [save("bad.onnx", [node("MatMul", "x w")], (2, 4), (2, 4), weight)]


def unsupported() -> list[str]:
    nodes = [
        node("Foo", "x", "a", "first"),
        node("StringSplit", "a", "b", "second"),
        node("Bar", "b"),
    ]
    return [save("bad.onnx", nodes, (2, 4), (2, 4))]


def dynamic() -> list[str]:
    return [save("bad.onnx", [node("Relu", "x")], ("batch", 4), ("batch", 4))]


def mismatched() -> list[str]:
    return [save("bad.onnx", [node("MatMul", "x w")], (2, 5), (2, 4), WEIGHT)]


def missing_initializer() -> list[str]:
    return [save("bad.onnx", [node("MatMul", "x w")], (2, 4), (2, 4))]


def cyclic() -> list[str]:
    nodes = [node("Relu", "a"), node("Relu", "y", "a", "second")]
    return [save("bad.onnx", nodes, (2, 4), (2, 4))]


def enormous() -> list[str]:
    return [save("bad.onnx", [node("Relu", "x")], (1 << 20, 1 << 20), (1 << 20, 1 << 20))]


def inputs(**arrays: Any) -> Callable[[], list[str]]:
    def case() -> list[str]:
        np.savez("in.npz", **arrays)
        return [small(), "--inputs", "in.npz"]

    return case


def npz(content: bytes) -> Callable[[], list[str]]:
    def case() -> list[str]:
        Path("in.npz").write_bytes(content)
        return [small(), "--inputs", "in.npz"]

    return case


def ir(text: str | bytes) -> Callable[[], list[str]]:
    def case() -> list[str]:
        Path("bad.mlir").write_bytes(text if isinstance(text, bytes) else text.encode())
        return ["bad.mlir"]

    return case


def machine(text: str) -> Callable[[], list[str]]:
    def case() -> list[str]:
        Path("my.toml").write_text(text)
        return [small(), "--machine", "my.toml"]

    return case


def options(*given: str) -> Callable[[], list[str]]:
    return lambda: [small(), *given]


def dma_with(*given: str) -> Callable[[], list[str]]:
    def case() -> list[str]:
        from kpu_ir import compile

        Path("low.mlir").write_text(compile(small(), search="none").ir("dma"))
        return ["low.mlir", *given]

    return case


X = np.zeros((2, 4), np.float32)
NAN = np.full((2, 4), np.nan, np.float32)
CUT = ir(MAIN + "  %y = kernel.transpose %x {\n")
UNKNOWN = ir(MAIN + "  %y = kernel.reshap %x : tensor<4x8xf32> -> tensor<4x8xf32>\n}\n")
TYPE = MAIN + "  %y = kernel.reshape %x : tensor<4x8xf32> -> tensor<4x9xf32>\n"
OUTSIDE = ir("""func.func @main() -> tensor<2x4xf32> {
  %t = kernel.constant dense<1.0> : tensor<3x4xf32>
  %i = kernel.constant dense<[0, 7]> : tensor<2xi64>
  %y = kernel.gather %t, %i {axis = 0 : i64} : (tensor<3x4xf32>, tensor<2xi64>) -> tensor<2x4xf32>
  func.return %y : tensor<2x4xf32>
}
""")
UNEQUAL = ir(TYPE + "  func.return %x : tensor<4x8xf32>\n}\n")
WRONG = ir(TYPE + "  func.return %y : tensor<4x8xf32>\n}\n")

BAD = {
    "no such file": (lambda: ["none.onnx"], ["none.onnx", "no such file"]),
    "a folder": (lambda: ["."], ["folder"]),
    "another kind of file": (another_kind, ["my.toml", ".onnx", ".mlir"]),
    "not onnx": (not_onnx, ["bad.onnx", "not an ONNX file"]),
    "truncated": (truncated, ["bad.onnx", "truncated", "copy it again"]),
    "external data outside": (external_data, ["bad.onnx", "'w'", "outside", "../../etc/passwd"]),
    "unsupported": (unsupported, ["bad.onnx", "'first' (Foo)", "'second' (StringSplit)", "(Bar)"]),
    "dynamic": (dynamic, ["bad.onnx", "'x'", "batch", "--shape"]),
    "shapes do not match": (mismatched, ["bad.onnx", "'matmul1' (MatMul)", "2x5", "4x4"]),
    "missing initializer": (missing_initializer, ["bad.onnx", "'matmul1' (MatMul)", "'w'"]),
    "cycle": (cyclic, ["bad.onnx", "cycle"]),
    "2^40 elements": (enormous, ["bad.onnx", "bytes", str(1 << 30)]),
    "shape of no input": (options("--shape", "z=2x4"), ["'z'", "x"]),
    "size of no dimension": (options("--shape", "batch=4"), ["'batch'", "no dimension", "x"]),
    "shape that is none": (options("--shape", "x=2xq"), ["x=2xq", "1x128"]),
    "NaN": (inputs(x=NAN), ["in.npz", "'x'", "NaN"]),
    "missing input": (inputs(), ["in.npz", "'x' is missing", "(2, 4)"]),
    "unknown input": (inputs(x=X, z=X), ["in.npz", "'z'", "inputs: x"]),
    "shape of an input": (inputs(x=X[:1]), ["in.npz", "'x'", "(2, 4)", "(1, 4)"]),
    "type of an input": (inputs(x=X.astype(complex)), ["in.npz", "'x'", "float32", "complex128"]),
    "objects": (inputs(x=np.array([{}], dtype=object)), ["in.npz"]),
    "not npz": (npz(b"hello"), ["in.npz", "not an .npz"]),
    "damaged npz": (npz(b"PK\x03\x04" + bytes(40)), ["in.npz"]),
    "no such npz": (options("--inputs", "none.npz"), ["none.npz", "no such file"]),
    "IR cut off": (CUT, ["bad.mlir:2:28", "^"]),
    "unknown operation": (UNKNOWN, ["bad.mlir:2:8", "kernel.reshap", "kernel.reshape?"]),
    "index outside": (OUTSIDE, ["bad.mlir:4:3", "7 into 3 rows"]),
    "no cost": (options("--without", ""), ["there is no cost ''", "refresh"]),
    "a cost that the machine has not": (
        options("--machine", "ideal", "--without", "bursts"),
        ["--without bursts does nothing", "'ideal'", "none"],
    ),
    "a base that is its own": (machine('base = "my.toml"\n'), ["my.toml", "a base of itself"]),
    "a base that is not there": (
        machine('base = "sub/other.toml"\n'),
        ["sub/other.toml", "no such"],
    ),
    "an option that is none": (options("--fast"), ["--fast", "kpu-run --help"]),
    "a word that is none": (options("--fuse", "all"), ["--fuse", "'all'", "epilogue"]),
    "type error": (WRONG, ["bad.mlir:3:15", "tensor<4x9xf32>", "^"]),
    "verifier": (UNEQUAL, ["bad.mlir:2:3", "32", "36", "^"]),
    "undefined value": (ir(MAIN + "  func.return %z : tensor<4x8xf32>\n}\n"), ["bad.mlir", "%z"]),
    "no main": (ir("func.func @f() { func.return }"), ["bad.mlir", "@main", "f"]),
    "not text": (ir(b"\xff\xfe\x00"), ["bad.mlir", "UTF-8"]),
    "empty IR": (ir(""), ["bad.mlir:1:1"]),
    "a tile that does not fit": (
        lambda: [DIGITS, "--search", "none", "--set", "l2.bank_bytes=64"],
        ["digits_mlp.onnx", "@matmul", "bytes of l2", "512"],
    ),
    "key of a machine": (machine("[l2]\nbankz = 3\n"), ["my.toml", "l2.bankz", "l2.banks"]),
    "value of a machine": (machine("[l2]\nbanks = -3\n"), ["my.toml", "l2.banks", "-3"]),
    "no such machine": (options("--machine", "nope"), ["nope", "default", "minimal"]),
    "setting": (options("--set", "l2.bankz=3"), ["l2.bankz", "l2.banks"]),
    "no output folder": (options("--outputs", "none/out.npz"), ["none", "make it"]),
    "output is a folder": (options("--outputs", "."), ["folder"]),
    "outputs without values": (options("--no-values", "--outputs", "o.npz"), ["--outputs"]),
    "seed and inputs": (options("--inputs", "in.npz", "--seed", "3"), ["--seed", "--inputs"]),
    "emit and json": (options("--emit", "tile", "--json"), ["--json", "--emit"]),
    "elide without emit": (options("--elide", "3"), ["--elide", "--emit"]),
    "elide what": (options("--emit", "tile", "--elide", "q"), ["'q'", "none"]),
    "objective, no search": (options("--search", "none", "--objective", "bytes"), ["--objective"]),
    "search for fixed schedules": (dma_with("--search", "full"), ["--search", "dma"]),
    "shape of IR": (dma_with("--shape", "x=2x4"), ["--shape", "low.mlir"]),
    "a higher level": (dma_with("--emit", "tile"), ["no tile IR", "dma"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_a_message(run: Run, name: str) -> None:
    make, words = BAD[name]
    arguments = make()
    if not {"--outputs", "--emit", "--no-values"}.intersection(arguments):
        arguments += ["--outputs", "result.npz"]
    before = sorted(Path().iterdir())
    status, out, err = run(*arguments)
    assert status == 1, out
    assert out == ""
    assert err.startswith("kpu-run: error: ")
    assert "Traceback" not in err
    for word in words:
        assert word in err, err
    after = [p for p in sorted(Path().iterdir()) if p.name != "cache"]
    assert after == [p for p in before if p.name != "cache"]


def test_a_bug_of_ours_is_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("kpu_ir.frontends.read.read", broken)
    with pytest.raises(ZeroDivisionError):
        main([small()])


def test_every_truncation_is_an_error_or_a_model() -> None:
    """No cut through a small model gives anything but a KpuError or a module."""
    from kpu_ir.frontends.read import read

    data = Path(small()).read_bytes()
    for end in range(0, len(data), 3):
        Path("cut.onnx").write_bytes(data[:end])
        try:
            read("cut.onnx")
        except KpuError:
            pass


def test_what_was_compared_is_said_first(run: Run) -> None:
    _, text, _ = run(small(), "--search", "none", "--emit", "dma", "--elide", "none")
    Path("edited.mlir").write_text(text)
    status, out, _ = run("edited.mlir")
    assert (status, out.split("\n")[0][:22]) == (0, "outputs: not compared:")
    status, out, _ = run("edited.mlir", "--no-values")
    assert out.startswith("outputs: not computed (--no-values), and not compared")
    _, out, _ = run("edited.mlir", "--json")
    assert next(iter(json.loads(out).items()))[1].startswith("not compared")
    status, out, _ = run("edited.mlir", "--against", "small.onnx")
    assert (status, out.split("\n")[0][:30]) == (0, "outputs: agree with small.onnx")
    other = numpy_helper.from_array(2 * np.eye(4, dtype=np.float32), "w")
    save("other.onnx", [node("MatMul", "x w", "z"), node("Relu", "z")], (2, 4), (2, 4), other)
    for more in ((), ("--json",)):
        status, out, _ = run("edited.mlir", "--against", "other.onnx", *more)
        assert status == 1
        assert "differ from other.onnx: 'y' by" in out.split("\n")[1 if more else 0]
    for beside in ("--no-values", "--emit=tile"):
        status, _, err = run("edited.mlir", "--against", "small.onnx", beside)
        assert status == 1
        assert "--against does nothing" in err
