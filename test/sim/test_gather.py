"""A gather by an index that is not there is refused at every level, where it stands."""

import numpy as np
import pytest

from kpu_ir import Graph
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.interpreters.tile import evaluate_tile
from kpu_ir.pipeline import lower
from kpu_ir.program.options import Options
from kpu_ir.sim.program.program import load_program
from kpu_ir.sim.values.values import run_program
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import dtype_of

from ..test_levels import MACHINES


@pytest.mark.parametrize("kind", ["i4", "i32", "i64"])
def test_an_index_outside(kind: str):
    g = Graph()
    g.output("y", g.gather(g.input("table", (6, 5)), g.input("rows", (3,), kind)))
    reference = g.module()
    levels = lower(g.module(), MACHINES["default"], Options(search="none"))
    program = load_program(levels["dma"], MACHINES["default"])
    table = np.arange(30, dtype=np.float32).reshape(6, 5)
    ways = {
        "kernel": lambda inputs: evaluate(reference, inputs)[0],
        "tile": lambda inputs: evaluate_tile(levels["tile"], list(inputs.values()))[0],
        "dma": lambda inputs: run_program(program, inputs)["y"],
    }
    dtype = dtype_of(program.inputs[1].type.element_type)
    for name, way in ways.items():
        for bad in (6, -7):
            rows = np.array([0, bad, 1], dtype)
            with pytest.raises(KpuError, match=f"{bad}.* into 6 rows") as caught:
                way({"table": table, "rows": rows})
            assert caught.value.where, name
        got = way({"table": table, "rows": np.array([0, -6, 5], dtype)})
        np.testing.assert_array_equal(got, table[[0, 0, 5]])
