"""The front door in Python: compile, call, read figures, print IR; and the errors."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kpu_ir
from kpu_ir import Graph, KpuError, Machine, Options
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.report.precision import differences
from kpu_ir.report.screen import text as screen
from kpu_ir.report.words import in_words, size


@pytest.fixture(autouse=True)
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path))


def mlp() -> Graph:
    rng = np.random.default_rng(0)
    g = Graph()
    x = g.input("x", (20, 30))
    h = (x @ g.constant(rng.standard_normal((30, 40), np.float32))).relu()
    g.output("y", h @ g.constant(rng.standard_normal((40, 7), np.float32)))
    return g


@pytest.fixture
def program() -> kpu_ir.Compiled:
    return kpu_ir.compile(mlp(), search="none")


X = np.random.default_rng(1).standard_normal((20, 30)).astype(np.float32)


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, kpu_ir; kpu_ir.__version__; print({'numpy', 'xdsl', 'rich'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
    for name in kpu_ir.__all__:
        assert getattr(kpu_ir, name)
    with pytest.raises(AttributeError, match="nothing_such"):
        kpu_ir.nothing_such


def test_values_by_name_and_as_a_mapping(program: kpu_ir.Compiled) -> None:
    expected = program.reference({"x": X})["y"]
    for got in (program(x=X), program({"x": X})):
        np.testing.assert_allclose(got["y"], expected, rtol=1e-5, atol=1e-5)


def test_cycles_are_the_timing_and_both_readings_agree(program: kpu_ir.Compiled) -> None:
    assert program.cycles == program.timing.cycles == program.time(fast_forward=False).cycles > 0


def test_compiling_leaves_the_graph_and_is_deterministic() -> None:
    g = mlp()
    one, two = (kpu_ir.compile(g, search="none") for _ in range(2))
    for level in ("kernel", "tile", "dma"):
        assert one.ir(level) == two.ir(level)
        assert f"{level}." in one.ir(level)
    assert one.cycles == two.cycles


def test_the_machine_is_a_name_a_file_or_a_machine(tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text('base = "default"\n[dma]\nchannels = 1\n')
    cycles = [
        kpu_ir.compile(mlp(), m, search="none").cycles
        for m in (None, "default", Machine.preset("default"), str(file), "minimal")
    ]
    assert cycles[0] == cycles[1] == cycles[2] < cycles[3] < cycles[4]


def test_options_change_the_program() -> None:
    apart = kpu_ir.compile(mlp(), search="none", fuse="none")
    fused = kpu_ir.compile(mlp(), search="none", fuse="epilogue")
    whole = kpu_ir.compile(mlp(), search="none")
    assert len(apart.program.calls) == 3
    assert len(fused.program.calls) == 2
    (choice,) = (one for one in whole.fusion if one.kind == "fusion")
    assert choice.fused
    assert len(whole.program.calls) == (1 if choice.fuse else 2)
    assert whole.cycles == min(choice.fused.cycles, choice.apart.cycles) < fused.cycles
    assert kpu_ir.compile(mlp(), options=Options(search="quick")).cycles <= fused.cycles
    given = Schedule(tile=(8, 8, 8))
    tiled = kpu_ir.compile(mlp(), search="none", schedule=given)
    assert tiled.cycles != fused.cycles
    assert re.search(r"<8x8xf32, l2>", tiled.ir("tile"))


def test_a_file_is_loaded(tmp_path: Path, program: kpu_ir.Compiled) -> None:
    file = tmp_path / "mlp.mlir"
    file.write_text(program.ir("kernel", elide=None))
    again = kpu_ir.load(file, search="none")
    assert again.cycles == program.cycles
    np.testing.assert_array_equal(again({"x": X})["y"], program({"x": X})["y"])


def test_summary_shows_itself(program: kpu_ir.Compiled) -> None:
    summary = program.summary()
    assert summary.cycles == program.cycles
    assert summary.macs == 20 * 30 * 40 + 20 * 40 * 7
    assert max(len(line) for line in screen(summary, 80).splitlines()) <= 80
    page = program._repr_html_()
    assert page.startswith("<pre>")
    assert f"{program.cycles:,} cycles" in page


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, ["'x' is missing", "(20, 30)"]),
        ({"x": X, "z": X}, ["no input 'z'", "x"]),
        ({"x": X[:3]}, ["'x'", "(20, 30)", "(3, 30)"]),
        ({"x": X.astype(complex)}, ["'x'", "complex128"]),
        ({"x": X.astype(str)}, ["'x'", "float32"]),
        ({"x": X.astype(np.float64) * 1e300}, ["'x'", "float64", "do not fit"]),
        ({"x": np.full((20, 30), (1 << 24) + 1)}, ["'x'", "int64", "do not fit"]),
    ],
)
def test_inputs_that_do_not_fit(
    program: kpu_ir.Compiled, inputs: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(KpuError) as caught:
        program(inputs)
    for word in words:
        assert word in str(caught.value)


def test_inputs_of_another_type_that_fit(program: kpu_ir.Compiled) -> None:
    ones = np.ones((20, 30), np.float32)
    for kind in ("int64", "uint8", "bool", "float64", "float16"):
        np.testing.assert_array_equal(program(x=ones.astype(kind))["y"], program(x=ones)["y"])


def test_errors_of_compiling(program: kpu_ir.Compiled) -> None:
    with pytest.raises(KpuError, match="cannot compile an int"):
        kpu_ir.compile(3)
    with pytest.raises(KpuError, match="no such file"):
        kpu_ir.load("nothing.onnx")
    with pytest.raises(KpuError, match="no machine 'larg'"):
        kpu_ir.compile(mlp(), "larg")
    with pytest.raises(KpuError, match=r"serch(?s:.*)search"):
        kpu_ir.compile(mlp(), serch="none")
    low = kpu_ir.compile(program.stages["dma"])
    assert low.cycles == program.cycles
    with pytest.raises(KpuError, match="no tile IR"):
        low.ir("tile")
    with pytest.raises(KpuError, match="no kernel IR"):
        low.reference({})


def test_words_and_sizes() -> None:
    assert in_words("operand @rhs from mover") == "data in @rhs from mover"
    assert in_words("slot @lhs_l3") == "a free slot of @lhs_l3"
    assert in_words("engine fabric") == "fabric to be free"
    assert [size(n) for n in (0, 1023, 1536, 3 << 20, 5 << 40)] == [
        "0 B", "1023 B", "1.50 KiB", "3.00 MiB", "5120.00 GiB",
    ]  # fmt: skip


def test_differences_are_relative_to_the_largest_value() -> None:
    expected = {"y": np.array([1.0, -4.0]), "z": np.array([0.0, np.nan, np.inf])}
    got = {"y": np.array([1.5, -4.0]), "z": np.array([0.0, np.nan, np.inf])}
    assert differences(got, expected) == (0.5, 0.125)
    assert differences(expected, expected) == (0.0, 0.0)
    assert differences({"s": np.array(1.5)}, {"s": np.array(1.0)}) == (0.5, 0.5)
    assert differences({"y": np.array([np.nan])}, {"y": np.array([1.0])})[1] > 1e300
