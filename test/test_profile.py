"""Profiles: rows that add up to the run, whatever overlaps."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kpu_ir
from kpu_ir import Graph, KpuError
from kpu_ir.report.profile import Layer, Profile
from kpu_ir.report.summary import advances
from kpu_ir.tools.run import main

ROOT = Path(__file__).parents[1]
rng = np.random.default_rng(0)


def weights(*shape: int) -> Any:
    return rng.standard_normal(shape, np.float32)


def chain() -> Graph:
    """Products whose weights are fetched while the one before computes."""
    g = Graph()
    h = g.input("x", (64, 96))
    for _ in range(4):
        h = (h @ g.constant(weights(96, 96))).relu()
    g.output("y", h)
    return g


def branches() -> Graph:
    """A long branch before a short one: the short one may end first."""
    g = Graph()
    x, s = g.input("x", (256, 256)), g.input("s", (4, 16))
    g.output("long", x @ g.constant(weights(256, 256)))
    g.output("short", s * 2.0)
    g.output("sum", x.sum(-1))
    return g


def rows() -> Graph:
    """Vector work, a transposition, a softmax."""
    g = Graph()
    x = g.input("x", (48, 80))
    g.output("y", (x.transpose(1, 0).softmax(-1) + 1.0).transpose(1, 0))
    return g


def views() -> Graph:
    """Nothing to do: a reshape."""
    g = Graph()
    g.output("y", g.input("x", (4, 6)).reshape(6, 4))
    return g


PROGRAMS = {"chain": chain, "branches": branches, "rows": rows, "views": views}


@pytest.mark.parametrize("fuse", ["none", "full"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_cycles_add_up(name: str, fuse: str) -> None:
    program = kpu_ir.compile(PROGRAMS[name](), search="none", fuse=fuse)
    profile, timing = program.profile(), program.timing
    assert profile.cycles == sum(row.cycles for row in profile) == program.cycles
    assert len(profile) == len(program.program.calls)
    assert all(0 <= row.cycles <= row.end for row in profile)
    assert sum(row.share for row in profile) == pytest.approx(1 if program.cycles else 0)
    external = timing.counts.get("external.read", 0) + timing.counts.get("external.write", 0)
    assert sum(row.external_bytes for row in profile) == external
    macs = sum(n for k, n in timing.counts.items() if k.startswith("macs."))
    assert sum(row.macs for row in profile) == macs
    total = sum(program.summary().energy_pj.values())
    assert sum(row.energy_pj for row in profile) == pytest.approx(total)


@pytest.mark.parametrize("machine", ["default", "large", "minimal"])
def test_cycles_add_up_on_each_machine(machine: str) -> None:
    program = kpu_ir.compile(
        ROOT / "examples" / "digits_mlp.onnx", machine, search="none", cache=False
    )
    assert program.profile().cycles == program.cycles > 0


def test_overlap_is_in_the_program_that_is_added_up() -> None:
    """Else the sum would say nothing: spans overlap, and are longer than the run together."""
    program = kpu_ir.compile(chain(), search="none", fuse="none")
    profile = program.profile()
    assert sum(row.end - row.start for row in profile) > program.cycles
    assert any(b.start < a.end for a, b in zip(profile, profile.rows[1:]))


def test_advances_by_hand() -> None:
    assert list(advances([])) == []
    assert list(advances([7])) == [7]
    assert list(advances([10, 25, 20, 25, 32])) == [10, 15, 0, 0, 7]


def test_rows_are_the_summarys() -> None:
    program = kpu_ir.compile(rows(), search="none", fuse="none")
    summary = program.summary()
    for row, kernel in zip(program.profile(), summary.kernels, strict=True):
        assert (row.layer, row.kernel, row.start, row.end) == (
            kernel.label,
            kernel.kernel,
            kernel.start,
            kernel.end,
        )
        assert (row.bound_by, row.roofline_fraction) == (kernel.bound_by, kernel.roofline_fraction)
        assert (row.external_bytes, row.energy_pj) == (kernel.external_bytes, kernel.energy_pj)


# -- what it prints -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> Profile:
    path = ROOT / "examples" / "digits_mlp.onnx"
    return kpu_ir.compile(path, search="none", fuse="epilogue", cache=False).profile()


def test_text(digits: Profile) -> None:
    lines = str(digits).splitlines()
    assert len(lines) == len(digits) + 2
    assert lines[1].split()[:3] == ["1", digits.rows[0].layer, digits.rows[0].kernel]
    assert f"{digits.rows[0].cycles:,}" in lines[1]
    assert lines[-1].split()[:2] == [str(len(digits)), "layers"]
    assert f"{digits.total:,}" in lines[-1]
    assert "100.0 %" in lines[-1]


def test_html(digits: Profile) -> None:
    page = digits._repr_html_()
    assert page.startswith("<pre>")
    assert all(row.layer in page for row in digits)


def test_long_names_are_whole() -> None:
    name = "/encoder/layer.0/attention/self/" + "x" * 200
    row = Layer(1, name, "k", 5, 1.0, 0, 5, "dma", 0.5, 0, 8, 1.0)
    assert f" {name} " in str(Profile((row,), 5, 1))


def test_csv_and_dicts(digits: Profile, tmp_path: Path) -> None:
    text = digits.to_csv(tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text() == text == digits.to_csv()
    read = list(csv.DictReader(io.StringIO(text)))
    assert [r["layer"] for r in read] == [r.layer for r in digits]
    assert sum(int(r["cycles"]) for r in read) == digits.total
    assert [{k: str(v) for k, v in d.items()} for d in digits.to_dicts()] == read


def test_filter(digits: Profile) -> None:
    some = digits.filter("fc[12]")
    assert [row.layer for row in some] == ["fc1", "fc2"]
    assert some.total == digits.total
    assert some.cycles == digits.rows[0].cycles + digits.rows[1].cycles < digits.total
    assert "2 of 3 layers" in str(some)
    assert digits.filter("*").rows == digits.rows
    kernel = digits.rows[2].kernel
    assert [row.kernel for row in digits.filter(kernel)] == [kernel]
    with pytest.raises(KpuError, match="no layer is called 'FC1'") as e:
        digits.filter("FC1")
    assert "fc1" in (e.value.hint or "")


def test_kpu_run_prints_it(
    digits: Profile,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path))
    given = [str(ROOT / "examples" / "digits_mlp.onnx"), "--search", "none", "--fuse", "epilogue"]
    assert main([*given, "--no-values", "--profile"]) == 0
    assert str(digits) in capsys.readouterr().out
    assert main([*given, "--no-values", "--profile", "--layers", "*2", "--stepped"]) == 0
    out = capsys.readouterr().out
    assert str(digits.filter("*2")) in out
    assert digits.rows[0].layer not in out
    assert main([*given, "--profile", "--layers", "nothing"]) == 1
    assert "no layer is called 'nothing'" in capsys.readouterr().err
    assert main([*given, "--layers", "*"]) == 1
    assert "--layers does nothing without --profile" in capsys.readouterr().err


def test_stats_are_the_summary() -> None:
    program = kpu_ir.compile(chain(), search="none")
    assert program.summary().cycles == program.cycles
    assert json.loads(program.summary().to_json())["macs"] == 4 * 64 * 96 * 96


def test_the_documents_example_is_current() -> None:
    """Paste what it prints when this fails, and the figures in the text below it."""
    text = (ROOT / "docs" / "profile.md").read_text()
    code, output = re.findall(r"```(?:python)?\n(.*?)```", text, re.DOTALL)[:2]
    names: dict[str, Any] = {}
    exec(code.replace("print(profile)", ""), names)
    profile: Profile = names["profile"]
    assert str(profile) == output
    for row in profile:
        assert f"{row.end - row.start:,}" in text
    assert f"{sum(row.end - row.start for row in profile):,} cycles" in text


# -- batches --------------------------------------------------------------------------------------


def test_map_runs_every_item_when_asked() -> None:
    program = kpu_ir.compile(chain(), search="none")
    items = [{"x": weights(64, 96)} for _ in range(3)]
    seen: list[int] = []

    def source() -> Any:
        for number, item in enumerate(items):
            seen.append(number)
            yield item

    outputs = program.map(source())
    assert seen == []
    np.testing.assert_array_equal(next(outputs)["y"], program(items[0])["y"])
    assert seen == [0]
    rest = [o["y"] for o in outputs]
    np.testing.assert_array_equal(rest, [program(i)["y"] for i in items[1:]])


def test_arrays_hold_a_batch() -> None:
    program = kpu_ir.compile(chain(), search="none")
    stacked = weights(3, 64, 96)
    expected = [program(x=x)["y"] for x in stacked]
    for batch in (stacked, stacked.reshape(192, 96)):
        found = list(program.map({"x": batch}))
        assert len(found) == 3
        np.testing.assert_array_equal([f["y"] for f in found], expected)
    assert list(program.map({"x": np.zeros((0, 64, 96), np.float32)})) == []
    assert list(program.map([])) == []


def test_bad_batches_say_which_item() -> None:
    program = kpu_ir.compile(branches(), search="none")
    good = {"x": weights(256, 256), "s": weights(4, 16)}
    with pytest.raises(KpuError, match="item 1: input 's' is missing"):
        list(program.map([good, {"x": good["x"]}]))
    with pytest.raises(KpuError, match="expected items of shape"):
        program.map({"x": weights(3, 256, 255), "s": weights(3, 4, 16)})
    with pytest.raises(KpuError, match="'x' 3, 's' 2"):
        program.map({"x": weights(3, 256, 256), "s": weights(2, 4, 16)})
    with pytest.raises(KpuError, match="there is no input 'z'"):
        program.map({"z": weights(3, 4)})


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_progress_bar(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = kpu_ir.compile(chain(), search="none")
    batch = {"x": weights(4, 64, 96)}
    assert len(list(program.map(batch))) == 4
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("TERM", "xterm")
    for progress, expected in ((None, True), (False, False)):
        screen = Terminal()
        monkeypatch.setattr("sys.stderr", screen)
        assert len(list(program.map(batch, progress))) == 4
        assert ("4/4" in screen.getvalue()) == expected
