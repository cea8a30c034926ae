"""kpu-bench kernels: single operators against their bounds."""

import json

import pytest

pytest.importorskip("onnx")

from kpu_ir.bench.kernel_cases import cases
from kpu_ir.tools.bench import main


def test_the_farthest_comes_first(capsys):
    only = ["--only", "Transpose 33", "--only", "CumSum 1x1000", "--only", "MatMul 33x65"]
    assert main(["kernels", *only, "--search", "none", "--json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    ratios = [row["ratio"] for row in table["rows"]]
    assert len(ratios) >= 3
    assert ratios == sorted(ratios, reverse=True)
    for row in table["rows"]:
        # The latency of the first fetch may be hidden, nothing else.
        assert row["cycles"] >= row["bound"] - 112 - 46
        assert row["by"] in ("external memory", "array", "vector engine")
    assert table["notes"][0].startswith(f"{len(ratios)} kernels of 3 operators")


def test_a_name_that_no_kernel_has(capsys):
    assert main(["kernels", "--only", "Frobnicate"]) == 1
    assert "no kernel's name begins with Frobnicate" in capsys.readouterr().err


def test_names_tell_kernels_apart():
    names = [case.name for case in cases()]
    assert len({case.op for case in cases()}) >= 100
    assert len(names) - len(set(names)) < 12  # a few differ in constants alone
