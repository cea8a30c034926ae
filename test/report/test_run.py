"""kpu-run --trace and --report, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest

from kpu_ir.tools.run import main

DIGITS = Path(__file__).parents[2] / "examples" / "digits_mlp.onnx"

pytest.importorskip("onnx", reason="the example is an ONNX file")


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path / "cache"))
    shutil.copy(DIGITS, tmp_path / "a net.onnx")


def test_one_run_writes_both(capsys):
    arguments = ["a net.onnx", "--search", "none", "--trace", "out.json", "--report", "out.html"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "trace: out.json" in out
    assert "report: out.html" in out
    assert json.loads(Path("out.json").read_text())["otherData"]["window"]
    command = "kpu-run &#x27;a net.onnx&#x27; --search none --trace out.json --report out.html"
    assert command in Path("out.html").read_text()


def test_json_stays_json(capsys):
    window = ["--trace-window", "100:2000"]
    assert main(["a net.onnx", "--no-values", "--json", "--trace", "t.json", *window]) == 0
    assert json.loads(capsys.readouterr().out)["cycles"]
    assert json.loads(Path("t.json").read_text())["otherData"]["window"] == [100, 2000]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trace-window", "0:5"], "--trace-window does nothing without --trace"),
        (["--trace", "t.json", "--trace-window", "5"], "'5' is not a window"),
        (["--trace", "none/t.json"], "the folder does not exist"),
        (["--report", "."], "expected a file to write, got a folder"),
        (["--trace", "x", "--report", "./x"], "--trace and --report would write the same file"),
        (["--emit", "dma", "--report", "x"], "--report does nothing beside --emit"),
    ],
)  # fmt: skip
def test_what_is_refused(arguments, message, capsys):
    assert main(["a net.onnx", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert not Path("t.json").exists()
