"""Formulas: arithmetic over figures, and nothing else."""

import math

import pytest

from kpu_ir import KpuError
from kpu_ir.explore.formula import Formula

FIGURES = {"cycles": 100.0, "area_mm2": 4.0, "fabric.rows": 16, "fabric.chained": True}


def look(name, workload):
    return FIGURES[name] * (2 if workload else 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cycles * area_mm2", 400),
        ("cycles(bert) + 1", 201),
        ('cycles("matmul 64") / 2', 100),
        ("fabric.rows ** 2 // 3", 85),
        ("-cycles + max(1, area_mm2, 3) % 3", -99),
        ("sqrt(area_mm2) * log2(fabric.rows)", 8),
        ("1 < area_mm2 <= 4 and not cycles == 3", True),
        ("area_mm2 > 4 or fabric.chained", True),
        ("cycles / (area_mm2 - 4)", math.nan),
        ("10.0 ** 400", math.nan),
    ],
)
def test_arithmetic(text, expected):
    value = Formula.of(text).value(look)
    assert value == expected or (math.isnan(expected) and math.isnan(value))


def test_names_are_those_that_are_asked_for():
    formula = Formula.of("max(cycles(a), l2.banks) + area_mm2 * 2")
    assert formula.names() == {("cycles", "a"), ("l2.banks", None), ("area_mm2", None)}


@pytest.mark.parametrize(
    "text",
    ["", "a b", "x := 3", "__import__('os')()", "(lambda: 1)()", "[1]", "x.y(3)", "f(a, b)", "~1",
     "cycles if 1 else 2", "1 << 9", "f(x=1)", "'a' 'b' in c", "(" * 300, "1+" * 400 + "1"],
)  # fmt: skip
def test_what_is_no_formula(text):
    with pytest.raises(KpuError):
        Formula.of(text)
