"""Elements of 4 bits at odd offsets are moved right, and what their transfers count is said (docs/timing.md)."""

import ml_dtypes
import numpy as np
import pytest

import kpu_ir
from kpu_ir import Graph
from kpu_ir.sim.time.runs import runs_of

MOVEMENTS = {
    "transpose": (lambda g, x, z: x.transpose(1, 0), lambda x, z: x.T, 18),
    "slice": (lambda g, x, z: x[1:4, 1:6], lambda x, z: x[1:4, 1:6], 8),
    "strided slice": (lambda g, x, z: x[:, 1:7:2], lambda x, z: x[:, 1:7:2], None),
    "concat": (lambda g, x, z: g.concat([z, x], 1), lambda x, z: np.concatenate([z, x], 1), 26),
}
"""A movement of 5 x 7 (and 5 x 3) in the graph and in NumPy, and the bytes of its elements, packed once
a transfer; of a strided slice they are rounded up for each of its transfers."""


@pytest.mark.parametrize("kind", ["i4", "ui4"])
@pytest.mark.parametrize("name", MOVEMENTS)
def test_odd_offsets_are_moved_right_and_counted_packed(name: str, kind: str) -> None:
    moved, expected, packed = MOVEMENTS[name]
    low, dtype = (-8, ml_dtypes.int4) if kind == "i4" else (0, ml_dtypes.uint4)
    rng = np.random.default_rng(0)
    x, z = (rng.integers(low, low + 16, (5, n)).astype(dtype) for n in (7, 3))
    g = Graph()
    values = {"x": g.input("x", (5, 7), kind)}
    if name == "concat":
        values["z"] = g.input("z", (5, 3), kind)
    g.output("y", moved(g, values["x"], values.get("z")))
    program = kpu_ir.compile(g, search="none")
    given = {"x": x, "z": z} if name == "concat" else {"x": x}
    np.testing.assert_array_equal(program(**given)["y"], expected(x, z))
    counts = program.time().counts
    least = (expected(x, z).size + 1) // 2
    assert counts["external.read"] == counts["external.write"]
    assert least <= counts["external.read"] <= (packed or 2 * least)
    # Bursts are those that runs of whole elements enter: one at least for each run.
    assert counts["external.burst"] >= counts["external.read"] + counts["external.write"]
    assert counts["external.burst"] % 32 == 0


def test_rows_of_an_odd_length_begin_within_a_byte_and_enter_bursts_for_both_beginnings() -> None:
    """Runs of 30 of 63 nibbles: any multiple of 4 bits may be where one begins in a burst of 256."""
    rows = runs_of((9, 63), (9, 30), 4)
    assert (rows.bits, rows.number, rows.grain) == (120, 9, 252)
    beginnings = range(0, 256, 4)
    entered = [-(-(o + 120) // 256) for o in beginnings]
    assert rows.entered(256) * len(beginnings) == sum(entered)
