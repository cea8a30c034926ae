"""No program takes less than its bounds, which know bursts and refreshes."""

import importlib.util
from pathlib import Path

from draws import drawing
from hypothesis import Phase, given
from hypothesis import strategies as st

from kpu_ir import KpuError, Machine, Options
from kpu_ir.pipeline import lower
from kpu_ir.report.summary import bounds
from kpu_ir.sim.program.program import load_program
from kpu_ir.sim.time.model import time_program

spec = importlib.util.spec_from_file_location(
    "levels", Path(__file__).parent.parent / "test_levels.py"
)
levels = importlib.util.module_from_spec(spec)
spec.loader.exec_module(levels)


@drawing(8, phases=[Phase.generate])
@given(st.data())
def test_nothing_is_under_its_bounds(data):
    machine = Machine.preset(data.draw(st.sampled_from(["default", "minimal", "large"])))
    kind = data.draw(st.sampled_from(["graph", "chain", "layer"]))
    graph = getattr(levels, f"draw_{kind}")(data.draw)
    try:
        stages = lower(graph.module(), machine, Options(search="none"))
    except KpuError as e:
        if "need" not in e.message:
            raise
        return
    program = load_program(stages["dma"], machine)
    timing = time_program(program)
    for name, least in bounds(timing.counts, machine).items():
        assert timing.cycles >= least, name
    for call in timing.calls:
        assert call.end - call.start >= max(bounds(call.counts, machine).values())
    assert timing.counts.get("external.burst", 0) >= timing.external_bytes
