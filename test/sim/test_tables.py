"""Functions by tables: how far they are off, and that a machine that has them computes with them."""

import numpy as np
import pytest

from kpu_ir import Graph, Machine, compile
from kpu_ir.scalar.ops import IN_PLACE, erf
from kpu_ir.scalar.tables import TABULATED, _tables, tabulated
from kpu_ir.sim.values.values import ValueModel

# What a line between two values is off by at most: h^2 / 8 times the largest second derivative, times what the
# function scales it by (of exp relative to the result).
ENDS = {
    "math.exp": (-20, 20, 1.0, np.log(2) ** 2 * 2), "math.exp2": (-20, 20, 1.0, np.log(2) ** 2 * 2),
    "math.log": (1e-6, 1e6, 1.0, 1.0), "math.log2": (1e-6, 1e6, 1.0, 1 / np.log(2)),
    "math.tanh": (-12, 12, 8.0, 0.77), "math.erf": (-6, 6, 4.0, 0.97),
    "math.sin": (-30, 30, 2 * np.pi, 1.0), "math.cos": (-30, 30, 2 * np.pi, 1.0),
}  # fmt: skip


@pytest.mark.parametrize("segments", [16, 256])
@pytest.mark.parametrize("name", sorted(TABULATED))
def test_a_line_is_off_by_what_curvature_says(name, segments):
    low, high, width, curvature = ENDS[name]
    x = np.linspace(low, high, 20_001)
    exact = (erf() if name == "math.erf" else IN_PLACE[name])(x)
    error = np.abs(tabulated(name, segments)(x) - exact)
    if "exp" in name:
        error = error / exact
    bound = (width / segments) ** 2 / 8 * curvature
    assert 0.2 * bound <= error.max() <= 1.02 * bound + 1e-7  # beyond 8 tanh is 1 less 2e-7


def test_what_is_no_finite_argument_is_exact():
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -1.0], np.float32)
    with np.errstate(all="ignore"):
        for name in TABULATED:
            exact = (erf() if name == "math.erf" else IN_PLACE[name])(x)
            found = tabulated(name, 64)(x)
            known = ~np.isfinite(x) | ((x <= 0) & ("log" in name))
            np.testing.assert_array_equal(found[known], exact[known].astype(np.float32))
    assert set(_tables(4)) == TABULATED


@pytest.mark.parametrize("stepped", [False, True])
def test_a_machine_with_a_table_computes_with_it(stepped):
    """Both ways to values; faster where its price says so, and off by what the table is."""
    g = Graph()
    g.output("y", g.input("x", (1 << 12,)).tanh())
    x = np.linspace(-9, 9, 1 << 12, dtype=np.float32)
    exact = compile(g, search="none")
    settings = {"vector.table_segments": 128, "vector.initiation_interval": {"special": 1}}
    rough = compile(g, Machine().with_settings(settings), search="none")
    got = ValueModel(rough.program, stepped).run({"x": x})["y"]
    error = np.abs(got - np.tanh(x)).max()
    assert 1e-5 < error <= (8 / 128) ** 2 / 8 * 0.77 * 1.02
    assert np.abs(exact(x=x)["y"] - np.tanh(x)).max() < 1e-6
    assert rough.cycles < exact.cycles
