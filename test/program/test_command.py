"""The command on a page of Python's: it gives the same run."""

import html
import re
import shlex
import shutil
from pathlib import Path

import pytest

from kpu_ir.frontends.python.graph import Graph
from kpu_ir.machine import Machine
from kpu_ir.pipeline import compile, load
from kpu_ir.tools.run import main

DIGITS = Path(__file__).parents[2] / "examples" / "digits_mlp.onnx"


def test_the_command_reproduces_the_run(tmp_path, monkeypatch):
    pytest.importorskip("onnx", reason="the example is an ONNX file")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path / "cache"))
    shutil.copy(DIGITS, "a net.onnx")
    machine = Machine.preset("large").with_settings(["l2.banks=4", "fabric.chained=false"])
    compiled = load("a net.onnx", machine, search="none", fuse="none")
    compiled.report("one.html")
    page = Path("one.html").read_text()
    command = re.search(r'<pre class="wrap">(.*?)</pre>', page, re.S)[1]
    name, *arguments = shlex.split(html.unescape(command))
    assert name == "kpu-run"
    assert arguments[-2:] == ["--report", "one.html"]
    assert main([*arguments[:-1], "two.html", "--no-values"]) == 0

    def body(text):
        return text[: text.index("How to get this again")]

    assert body(Path("two.html").read_text()) == body(page)


def test_a_graph_has_no_command(tmp_path):
    g = Graph()
    g.output("y", g.input("x", (8, 8)) @ g.input("w", (8, 8)))
    compile(g, search="none").report(tmp_path / "g.html")
    assert "compiled in Python" in (tmp_path / "g.html").read_text()
