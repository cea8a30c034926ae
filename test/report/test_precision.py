"""What is said of errors where types are short: against float64, beside what the type itself does."""

import json

import ml_dtypes
import numpy as np
import pytest

import kpu_ir
from kpu_ir.report.precision import error_of, shortest_float, step_at
from kpu_ir.support.types import element_type_named
from kpu_ir.tools.run import main

F16 = element_type_named("f16")


def product(kind: str) -> kpu_ir.Graph:
    g = kpu_ir.Graph()
    w = np.random.default_rng(0).standard_normal((256, 16))
    g.output(
        "y",
        g.input("x", (16, 256), kind)
        @ g.constant(
            w.astype(ml_dtypes.bfloat16 if kind == "bf16" else kind.replace("f", "float"))
        ),
    )
    return g


@pytest.mark.parametrize("kind", ["f16", "bf16"])
def test_a_sum_that_is_rounded_once_is_half_a_step_off(kind, capsys, tmp_path):
    compiled = kpu_ir.compile(product(kind), search="none")
    path = tmp_path / "p.kpu"
    compiled.save(path)
    assert main([str(path)]) == 0
    out = capsys.readouterr().out
    assert "against a reference in float64: largest difference" in out
    assert f"steps of {kind} at that value; rounding the exact result once takes 0." in out
    assert main([str(path), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["short_type"] == kind
    assert 0.3 < data["rounding_steps"] <= 0.5
    assert data["error_steps"] == pytest.approx(data["rounding_steps"], abs=1e-3)


def test_f32_is_compared_with_its_own_reference():
    compiled = kpu_ir.compile(product("f32"), search="none")
    assert shortest_float(compiled.stages["kernel"]) is None
    error = error_of({"y": np.ones(2)}, {"y": np.zeros(2)}, None)
    assert (error.absolute, error.steps, error.kind) == (1, None, "")


def test_a_fault_is_many_steps():
    exact = np.array([1.0, 1.00048828125 + 1e-5, -0.25])
    right = exact.astype(np.float16)
    assert error_of({"y": right}, {"y": exact}, F16).steps == pytest.approx(0.49, abs=0.02)
    wrong = right.copy()
    wrong[2] = -0.5
    error = error_of({"y": wrong}, {"y": exact}, F16)
    assert error.steps == pytest.approx(256)
    assert error.rounding is not None
    assert error.rounding < 0.5


def test_what_is_beyond_the_type_is_infinite_in_both():
    exact = np.array([1e5, 2.0])
    error = error_of({"y": np.array([np.inf, 2], np.float16)}, {"y": exact}, F16)
    assert error.steps == 0
    error = error_of({"y": np.array([np.inf, np.inf], np.float16)}, {"y": exact}, F16)
    assert error.steps is not None
    assert error.steps > 1e6


def test_steps_of_types():
    assert step_at(1.0, F16) == 2.0**-10
    assert step_at(3.0, F16) == 2.0**-9
    assert step_at(1.0, element_type_named("bf16")) == 2.0**-7
