"""``kpu-run --trace --trace-window --report``."""

import json
from pathlib import Path

import pytest

from kpu_ir.tools.run import main

MODEL = str(Path(__file__).parents[2] / "examples" / "digits_mlp.onnx")


def run(capsys, *arguments):
    code = main([MODEL, "--no-values", "--search", "none", *map(str, arguments)])
    return code, capsys.readouterr()


def test_both_files_are_written(capsys, tmp_path):
    trace, page = tmp_path / "o.json", tmp_path / "o.html"
    code, out = run(capsys, "--trace", trace, "--trace-window", "100:2000", "--report", page)
    assert code == 0, out.err
    assert json.loads(trace.read_text())["otherData"]["window"] == [100, 2000]
    text = page.read_text()
    assert "digits_mlp.onnx" in text
    assert "--report" in text, "the page names its command"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.html", "o.json"]


@pytest.mark.parametrize(
    "arguments", [["--trace-window", "1:2"], ["--trace", "{}/o.json", "--trace-window", "9:2"]]
)
def test_windows_that_make_no_sense(capsys, tmp_path, arguments):
    code, out = run(capsys, *(a.format(tmp_path) for a in arguments))
    assert code == 1
    assert "window" in out.err
    assert list(tmp_path.iterdir()) == []


def test_folders_that_are_not_there(capsys, tmp_path):
    for option in ("--trace", "--report"):
        code, out = run(capsys, option, tmp_path / "none" / "o")
        assert code == 1
        assert "folder" in out.err
