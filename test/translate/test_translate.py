"""Programs as files: what is written is read again, and the queues are the program."""

import ast
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from draws import drawing
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st

import kpu_ir
from kpu_ir import Graph, Machine
from kpu_ir.bench.workloads import WORKLOADS, outlined
from kpu_ir.sim.time.model import time_program
from kpu_ir.sim.values.values import run_program
from kpu_ir.support.errors import KpuError
from kpu_ir.tools.translate import main
from kpu_ir.translate.asm import from_asm, to_asm
from kpu_ir.translate.executor import Executor
from kpu_ir.translate.files import as_json
from kpu_ir.translate.json_form import from_object, object_of, schema, to_object
from kpu_ir.translate.text import weights_of
from kpu_ir.translate.values import constants_of, execute

ROOT = Path(__file__).parent.parent.parent
DIGITS = ROOT / "examples" / "digits_mlp.onnx"
spec = importlib.util.spec_from_file_location("levels", ROOT / "test" / "test_levels.py")
levels = importlib.util.module_from_spec(spec)
spec.loader.exec_module(levels)

MOST = 20_000
"""Operations: queues are executed one instruction at a time."""


def same_figures(executor: Executor, program) -> None:
    ours = time_program(program)
    assert executor.cycles == ours.cycles
    assert executor.busy == ours.busy
    assert {k: n for k, n in executor.counts.items() if n} == {
        k: n for k, n in ours.counts.items() if n
    }


def check_queues(program, module) -> dict:
    """The queues of a program, from JSON text, have its time and its values."""
    given = json.loads(json.dumps(object_of(program, module, "")))
    rng = np.random.default_rng(0)
    inputs = {
        p.name: rng.standard_normal(tuple(p.type.get_shape())).astype(np.float32)
        for p in program.inputs
    }
    values, executor = execute(given, inputs, constants_of(program.buffers))
    same_figures(executor, program)
    for name, expected in run_program(program, inputs, stepped=True).items():
        scale = max(1.0, float(np.abs(expected).max(initial=0)))
        np.testing.assert_allclose(values[name], expected, rtol=0, atol=2e-6 * scale)
    return given


def lowered(draw, graph, machine):
    modules, load = [], levels.load_program

    def spying(module, machine):
        modules.append(module)
        return load(module, machine)

    levels.load_program = spying
    try:
        return levels.lowered(draw, graph, machine)[2], modules[0]
    finally:
        levels.load_program = load


@drawing(4, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.data())
def test_queues_are_the_program(data):
    machine = levels.MACHINES[data.draw(st.sampled_from(["default", "ideal", "minimal"]))]
    graph = getattr(levels, f"draw_{data.draw(st.sampled_from(['graph', 'chain', 'layer']))}")
    try:
        program, module = lowered(data.draw, graph(data.draw), machine)
    except KpuError as e:
        if "need" not in e.message:
            raise
        return
    if time_program(program).operations <= MOST:
        given = check_queues(program, module)
        weights = {n: memoryview(b) for n, b in weights_of(module)}
        assert from_object(given, weights, "given").cycles == time_program(program).cycles


@pytest.fixture(scope="module")
def digits():
    return kpu_ir.compile(DIGITS, search="none", cache=False)


def test_the_example(digits):
    assert len(check_queues(digits.program, digits.stages["dma"])["calls"]) == 2


def test_channels_that_are_named():
    """Loads on some channels, stores on others: engines of their own."""
    graph = Graph()
    graph.output("y", (graph.input("x", (64, 64)) @ graph.input("w", (64, 64))).relu())
    program = kpu_ir.compile(graph, search="none")
    text = program.ir("dma").replace("into @lhs_l3", "into @lhs_l3 on [0, 1]", 1)
    assert "on [0, 1]" in text
    from kpu_ir.registry import context
    from kpu_ir.text.parsing import parse_module

    edited = kpu_ir.compile(parse_module(text, "edited", context()))
    given = check_queues(edited.program, edited.stages["dma"])
    assert len([e for e in given["engines"] if e["kind"] == "dma"]) == 2


def test_the_executor_knows_nothing_of_the_simulator():
    for name in ("executor", "values"):
        text = (ROOT / "kpu_ir" / "translate" / f"{name}.py").read_text()
        imported = {n.module for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ImportFrom)}
        assert not [m for m in imported if m.startswith(("kpu_ir.sim", "kpu_ir.nest"))]


def test_the_schema(digits):
    jsonschema = pytest.importorskip("jsonschema")  # of the development environment
    jsonschema.Draft202012Validator.check_schema(schema())
    validator = jsonschema.Draft202012Validator(schema())
    for name in ("matmul 256", "depthwise 144x56x56 3x3", "embedding 1000x768 128"):
        compiled = kpu_ir.compile(outlined(WORKLOADS[name]()), search="none")
        validator.validate(json.loads(as_json(compiled)))
    given = json.loads(as_json(digits))
    validator.validate(given)
    del given["calls"][0]["buffers"]
    assert list(validator.iter_errors(given))


def test_both_forms_come_back(digits, tmp_path: Path):
    weights = {n: memoryview(b) for n, b in weights_of(digits.stages["dma"])}
    text, listing = as_json(digits), to_asm(digits)
    for again in (from_object(json.loads(text), weights, "a"), from_asm(listing, weights, "b")):
        assert as_json(again) == text
        assert to_asm(again) == listing
        assert again.cycles == digits.cycles
        assert again.timing.counts == digits.timing.counts
        x = np.random.default_rng(0).standard_normal((360, 64)).astype(np.float32)
        inputs = {"x": x}
        for name, value in digits(inputs).items():
            np.testing.assert_array_equal(again(inputs)[name], value)


def run(*args: object) -> int:
    return main([str(a) for a in args])


def test_files_by_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    kpu_ir.compile(DIGITS, search="none", cache=False).save("a.kpu")
    assert run("--program-to-json", "a.kpu", "-o", "a.json", "--weights", "w.npz") == 0
    assert run("--json-to-program", "a.json", "-o", "b.kpu", "--weights", "w.npz") == 0
    assert run("--program-to-json", "b.kpu", "-o", "b.json") == 0
    assert Path("a.json").read_bytes() == Path("b.json").read_bytes()
    assert run("--program-to-asm", "a.kpu", "-o", "a.s") == 0
    assert run("--asm-to-program", "a.s", "-o", "c.kpu", "--weights", "a.kpu") == 0
    assert Path("b.kpu").read_bytes() == Path("c.kpu").read_bytes()
    assert run("--asm-to-program", "a.s", "-o", "d.mlir") == 0
    assert "can be timed, not run" in capsys.readouterr().err
    assert kpu_ir.compile("d.mlir").cycles == kpu_ir.open("a.kpu").cycles
    assert run("--schedule-to-json", "a.kpu") == 0
    assert json.loads(capsys.readouterr().out)["calls"][0]["operations"] > 1
    assert run("--trace-to-csv", "a.kpu", "-o", "t.csv") == 0
    rows = Path("t.csv").read_text().splitlines()
    ends = [int(row.split(",")[5]) for row in rows[1:]]
    assert max(ends) <= kpu_ir.open("a.kpu").cycles


WRONG = [
    (lambda o: o.pop("calls"), "'calls' is missing"),
    (lambda o: o.update(more=1), "'more' is unknown"),
    (lambda o: o.update(version=7), "version 7"),
    (lambda o: o.update(format="other"), "not a program"),
    (lambda o: o.update(ir="text"), "truncated"),
    (lambda o: o["ir"].pop(), "ir"),
    (lambda o: o["machine"].pop("dma"), "'machine.dma' is missing"),
    (lambda o: o.update(machine=3), "got an int"),
    (lambda o: o["kernels"][0]["rings"][0].update(address=64), "rings[0].address' is 64"),
    (lambda o: o["kernels"][0]["queues"]["fabric"].clear(), "queues.fabric' has 0 entries"),
    (lambda o: o["kernels"][0]["kinds"][0].update(latency=1), "kinds[0].latency' is 1"),
    (lambda o: o["memory"][0].update(bytes=1), "memory[0].bytes' is 1"),
    (lambda o: o.update(places=[[0, 1]]), "cannot be read"),
    (lambda o: o.update(places=[1]), "'places' are no list"),
    (lambda o: o.pop("source"), "it has no 'source', a text"),
    (lambda o: o.pop("machine"), "it has no 'machine'"),
    (lambda o: o.update(kernels=None), "'kernels' is None, expected [{"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_what_was_changed_is_refused(change, message, digits):
    given = json.loads(as_json(digits))
    change(given)
    with pytest.raises(KpuError) as error:
        from_object(given, {}, "changed.json")
    assert message in str(error.value)
    assert len(str(error.value)) < 500
    assert (error.value.where or "").startswith("changed.json")


def test_addresses_that_overlap_are_refused(digits):
    """It is verified as IR: what the text says must fit."""
    given = json.loads(as_json(digits))
    rings = [i for i, line in enumerate(given["ir"]) if "dma.ring" in line and "l2>" in line]
    given["ir"][rings[1]] = given["ir"][rings[1]].rpartition(" at ")[0] + " at 0"
    given["ir"][rings[0]] = given["ir"][rings[0]].rpartition(" at ")[0] + " at 0"
    with pytest.raises(KpuError, match=r"overlap|stands|share"):
        from_object(given, {}, "changed.json")


@pytest.mark.parametrize("kind", ["--json-to-program", "--asm-to-program"])
def test_truncated_files(kind, digits, tmp_path: Path, capsys):
    text = as_json(digits) if "json" in kind else to_asm(digits)
    for at in range(0, len(text) - 2, len(text) // 7):
        (tmp_path / "cut").write_text(text[:at])
        assert run(kind, tmp_path / "cut", "-o", tmp_path / "out.kpu") == 1
        err = capsys.readouterr().err
        assert err.startswith("kpu-translate: error: ")
        assert str(tmp_path / "cut") in err
        assert not (tmp_path / "out.kpu").exists()


def test_the_size_is_that_of_the_loops():
    """Larger problems of one schedule are no larger texts."""
    sizes = []
    for n in (1024, 8192):
        graph = Graph()
        graph.output("y", graph.input("x", (n, n)) @ graph.input("w", (n, n)))
        schedule = kpu_ir.Schedule(tile=(128, 128, 128), dataflow="os", defer=3)
        compiled = kpu_ir.compile(graph, Machine.preset("default"), schedule=schedule)
        sizes.append(len(as_json(compiled)))
    assert sizes[1] < 20_000
    assert sizes[1] < 1.1 * sizes[0]


def test_weights_that_are_not_what_they_say(tmp_path: Path, digits, capsys):
    (tmp_path / "a.json").write_text(as_json(digits))
    np.savez(tmp_path / "w.npz", **{"sha256_" + "0" * 64: np.zeros(4, np.uint8)})
    args = ("--json-to-program", tmp_path / "a.json", "--weights", tmp_path / "w.npz")
    assert run(*args) == 1
    assert "is not what its name says" in capsys.readouterr().err


def test_queues_that_wait_for_each_other_are_an_error(digits):
    given = to_object(digits)
    given = json.loads(json.dumps(given))
    queue = given["kernels"][0]["queues"]["fabric"]
    first = queue[0]
    while "do" in first:
        first = first["do"][0]
    first["after"] = {what: 10**6 for what in first["after"]}
    with pytest.raises(KpuError, match="no engine can go on"):
        Executor(given).run()


def test_to_object_is_plain_data(digits):
    assert json.loads(json.dumps(to_object(digits))) == to_object(digits)


SMALL = """
func.func @copy(%x: memref<8x8xf32>, %y: memref<8x8xf32>) {
  dma.program {
    dma.ring @a, 2 x <4x8xf32, l3> at 0
    tile.for %i = 0 to 8 step 4 {
      %t = dma.fetch %x[%i, 0] into @a : memref<8x8xf32> -> !tile.tile<4x8xf32, l3>
      dma.write %t, %y[%i, 0] : !tile.tile<4x8xf32, l3> -> memref<8x8xf32>
    }
  }
  func.return
}
"""
JUNK = st.sampled_from(
    [None, True, -1, 10**30, 1.5, "", "x", "dense_resource<", [], [[]], {}, {"a": 1}]
)


@pytest.fixture(scope="module")
def small_text() -> str:
    from kpu_ir.registry import context
    from kpu_ir.text.parsing import parse_module

    return as_json(kpu_ir.compile(parse_module(SMALL, "small", context())))


@drawing(60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_is_changed_is_one_error(data, small_text):
    """Any value anywhere, or a line of the IR without a piece: a ``KpuError`` that names the file."""
    given = json.loads(small_text)
    here, path = given, []
    while isinstance(here, dict | list) and here and (not path or data.draw(st.integers(0, 5))):
        keys = sorted(here) if isinstance(here, dict) else range(len(here))
        path.append((here, data.draw(st.sampled_from(list(keys)))))
        here = here[path[-1][1]]
    parent, key = path[-1]
    was = parent[key]
    if isinstance(was, str) and data.draw(st.booleans()):
        begin, end = sorted(data.draw(st.integers(0, len(was))) for _ in "be")
        parent[key] = was[:begin] + was[end:]
    else:
        parent[key] = data.draw(JUNK)
    if parent[key] == was and type(parent[key]) is type(was):
        return
    where = refused_at(given)
    if where is None:  # what nothing else in the file follows from: energies, names, places
        assert path[0][1] in ("source", "machine", "places", "ir")
    else:
        assert where.startswith("changed.json")


def refused_at(given) -> str | None:
    """The place of the error that a file is refused with, if it is."""
    try:
        from_object(given, {}, "changed.json")
    except KpuError as e:
        return e.where or ""
    return None
