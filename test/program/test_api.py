"""What a person types: one line for each thing, and a ``KpuError`` for each kind of mistake."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kpu_ir
from kpu_ir import Graph, KpuError, Machine, Options, Schedule

X = np.ones((4, 4), np.float32)


def small() -> Graph:
    g = Graph()
    g.output("y", g.input("x", (4, 4)).relu())
    return g


@pytest.fixture(scope="module")
def program() -> kpu_ir.Compiled:
    return kpu_ir.compile(small(), search="none")


def test_each_thing_is_one_short_line(program: kpu_ir.Compiled):
    things = [program, program.program, program.timing, program.summary(), small(), program.machine]
    for thing in (*things, *program.timing.calls):
        assert len(repr(thing)) <= 160
        assert "\n" not in repr(thing)
    assert repr(program) == "<Compiled for default: x: 4x4 f32 -> y: 4x4 f32, 1 kernel>"
    assert repr(small()) == "<Graph @main: x: 4x4 f32 -> y: 4x4 f32, 1 operations>"
    assert eval(repr(Machine(name="mine"))) == Machine(name="mine")


def test_many_inputs_are_one_line_too():
    g = Graph()
    for i in range(40):
        g.output(f"y{i}", g.input("x" * 50 + f"\n{i}", (4, 4)).relu())
    program = kpu_ir.compile(g, search="none")
    assert max(len(repr(g)), len(repr(program))) <= 160
    assert "\n" not in repr(g) + repr(program)


def test_a_fresh_interpreter_lists_the_api_and_helps_with_types():
    code = "import kpu_ir; print(dir(kpu_ir)); help(kpu_ir.Graph)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, _, help_text = said.stdout.partition("\n")
    for name in ("Compiled", "Graph", "KpuError", "Machine", "Options", "Schedule", "open", "load"):
        assert f"'{name}'" in names
    assert "self: Any" not in help_text
    assert "softmax(self, x: 'Value', axis: 'int' = -1" in help_text


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("fuse", "ful", "did you mean 'full'.*none, epilogue, full"),
        ("objective", "cycels", "did you mean 'cycles'"),
        ("search", None, "none, ranked, quick, full"),
        ("schedule", {}, "Schedule"),
        ("schedule", Schedule(dataflow="wz"), "'ws'"),
        ("schedule", Schedule(tile="64"), "tile"),  # pyright: ignore[reportArgumentType]
        ("serach", "none", "did you mean 'search'"),
        ("options", {"search": "none"}, "Options"),
        ("progress", True, "progress"),
        ("shapes", {"x": (4, 4)}, "ONNX"),
    ],
)
def test_options_are_checked(name: str, value: Any, says: str):
    with pytest.raises(KpuError, match=f"(?s){says}"):
        kpu_ir.compile(small(), **{name: value})


def test_options_alone_are_checked():
    with pytest.raises(KpuError, match="did you mean 'epilogue'"):
        Options(fuse="epilog")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("machine", [5, {"l2.banks": 4}, Machine, Machine(l2=4), "defualt"])  # pyright: ignore
def test_what_is_no_machine(machine: Any):
    with pytest.raises(KpuError, match=r"machine|l2"):
        kpu_ir.compile(small(), machine, search="none")


def test_a_machine_by_path(tmp_path: Any):
    (tmp_path / "mine.toml").write_text('base = "default"\nl2.banks = 4\n')
    program = kpu_ir.compile(small(), tmp_path / "mine.toml", search="none")
    assert program.machine.l2.banks == 4


@pytest.mark.parametrize("source", [5, None, Graph, "func.func\n@main", "", "x" * 5000, Graph("f")])
def test_what_cannot_be_compiled(source: Any):
    with pytest.raises(KpuError):
        kpu_ir.compile(source)


CALLS: list[tuple[Callable[[Any], Any], str]] = [
    (lambda p: p(X), "by name.*'x'"),
    (lambda p: p([X]), "by name"),
    (lambda p: p({"x": X}, x=X), "twice"),
    (lambda p: p(X=X), "did you mean|inputs: x"),
    (lambda p: p(x=[[1], [2, 3]]), "'x' is no array"),
    (lambda p: p(x=small().inputs["x"]), "no array"),
    (lambda p: p.reference(X), "by name"),
    (lambda p: list(p.map(X)), "item 0.*by name"),
    (lambda p: list(p.map(5)), "batch"),
    (lambda p: p.ir("tiles"), "did you mean 'tile'"),
    (lambda p: p.save(5), "path.*int"),
    (lambda p: kpu_ir.open(5), "path.*int"),  # pyright: ignore[reportArgumentType]
    (lambda p: kpu_ir.load(5), "path.*int"),  # pyright: ignore[reportArgumentType]
]


@pytest.mark.parametrize("i", range(len(CALLS)))
def test_misuse_of_a_program(program: kpu_ir.Compiled, i: int):
    call, says = CALLS[i]
    with pytest.raises(KpuError, match=f"(?s){says}"):
        call(program)


def test_former_names_warn(program: kpu_ir.Compiled):
    with pytest.warns(DeprecationWarning, match=r"summary\(\)"):
        assert program.stats.cycles == program.cycles
    with pytest.warns(DeprecationWarning, match="map"):
        assert len(program.run_many([{"x": X}])) == 1
    assert not {"stats", "run_many", "run"} & set(dir(program))
    with pytest.raises(AttributeError, match="sumary"):
        _ = program.sumary


MISUSES: list[tuple[Callable[[Graph, Any], Any], str]] = [
    (lambda g, x: bool(x), "neither true nor false.*where"),
    (lambda g, x: x > 0, r"g.map\(lambda a: a > 0, x\)"),
    (lambda g, x: x != 0, "a != 0"),
    (lambda g, x: X <= x, ">="),
    (lambda g, x: float(x), "no number"),
    (lambda g, x: np.asarray(x), "no array"),
    (lambda g, x: x.__setitem__(0, 1), "does not change"),
    (lambda g, x: g.input("z", ("n", 4)), "whole numbers.*write each as a number"),
    (lambda g, x: g.input("z", 4), r"write \(4,\)"),
    (lambda g, x: g.input(5, (4,)), "name must be a text"),
    (lambda g, x: g.output(x, "y"), "name must be a text"),
    (lambda g, x: g.output("y", X), r"g.constant\(array\)"),
    (lambda g, x: g.conv(x, X), "w must be a value of the graph"),
    (lambda g, x: g.concat([x, X]), "values of the graph"),
    (lambda g, x: g.concat([]), "at least one"),
    (lambda g, x: g.concat([x, Graph().input("x", (4, 4))]), "another graph"),
    (lambda g, x: x.softmax("rows"), "axis must be a whole number"),
    (lambda g, x: x.clip("a"), "low must be a number or None"),
    (lambda g, x: g.map(5, x), "formula must be a function"),
    (lambda g, x: g.map(lambda a, b: a, x), "does not take 1 operands"),
    (lambda g, x: g.constant([[1], [2, 3]]), "no array"),
    (lambda g, x: x + None, "expected a value, an array or a number"),
    (lambda g, x: Graph(5), "name must be a text"),
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(MISUSES)))
def test_misuse_of_a_graph_is_told_with_the_line(i: int):
    mistake, says = MISUSES[i]
    g = Graph()
    x = g.input("x", (4, 4))
    with pytest.raises(KpuError, match=f"(?s){says}") as caught:
        mistake(g, x)
    assert "test_api.py" in str(caught.value.where) or mistake is MISUSES[-1][0]


def test_values_are_told_apart_and_iterated():
    g = Graph()
    x = g.input("x", (3, 4))
    y = x.relu()
    assert x in [y, x]
    assert x != y
    assert len({x, y}) == len(list(x)) - 1 == 2
    assert [row.shape for row in x] == [(4,)] * 3
    g.output("z", 2**y)
    got = kpu_ir.compile(g, search="none")(x=np.ones((3, 4), np.float32))
    np.testing.assert_allclose(got["z"], 2.0, rtol=1e-6)
