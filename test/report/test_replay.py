"""Over drawn programs and schedules: every operation's start is explained, and the path adds up."""

from draws import drawing
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from kpu_ir.machine import Machine
from kpu_ir.registry import context
from kpu_ir.report.analysis import allocated, analyse
from kpu_ir.report.replay import Replay, describe
from kpu_ir.report.trace import write_trace
from kpu_ir.sim.program.program import load_program
from kpu_ir.support.errors import KpuError
from kpu_ir.text.parsing import parse_module

from ..test_levels import MACHINES, draw_graph, lowered

DRAWS = drawing(15, suppress_health_check=list(HealthCheck))


@DRAWS
@given(st.data())
def test_every_start_is_explained(data):
    graph = draw_graph(data.draw)
    machine = MACHINES[data.draw(st.sampled_from(["default", "minimal", "large"]))]
    try:
        _, _, program = lowered(data.draw, graph, machine)
    except KpuError:
        return  # a drawn schedule that does not fit
    spans = []
    timing = Replay(program, spans.append).run()
    assert len(spans) == timing.operations
    waited = dict.fromkeys(timing.busy, 0)
    for span in spans:
        assert span.binding >= 0 or span.event.start == 0
        assert span.binding < span.index
        assert all(p < span.index for p in span.producers)
        waited[span.held[0].engine.name] += span.waited
    for engine in ("dma", "mover"):
        if engine in waited:
            assert waited[engine] == sum(timing.stalls[engine].values())
    found = analyse(program)
    assert found.cycles == timing.cycles == sum(s.cycles for s in found.path)
    for level, room in allocated(program).items():
        assert found.peak[level] <= room


PINNED = """
func.func @kernel(%x: memref<64x48xf32>, %y: memref<64x1xf32>) {
  dma.program {
    dma.ring @x3, 2 x <8x48xf32, l3> at 0
    dma.ring @x2, 2 x <8x48xf32, l2> at 0
    dma.ring @m2, 2 x <8x1xf32, l2> at 8192
    dma.ring @m3, 2 x <8x1xf32, l3> at 8192
    tile.for %i = 0 to 64 step 8 {
      %x3 = dma.fetch %x[%i, 0] into @x3 on [0, 1] : memref<64x48xf32> -> !tile.tile<8x48xf32, l3>
      %x2 = dma.move %x3[0, 0] into @x2 on [0] : !tile.tile<8x48xf32, l3> -> !tile.tile<8x48xf32, l2>
      %m2 = dma.acquire @m2 : !tile.tile<8x1xf32, l2>
      dma.reduce max %x2 into %m2 axes [1] : !tile.tile<8x48xf32, l2> -> !tile.tile<8x1xf32, l2>
      %m3 = dma.move %m2[0, 0] into @m3 on [1, 2] defer 1 : !tile.tile<8x1xf32, l2> -> !tile.tile<8x1xf32, l3>
      dma.write %m3, %y[%i, 0] on [2] defer 2 : !tile.tile<8x1xf32, l3> -> memref<64x1xf32>
    }
  }
  func.return
}
"""


def test_engines_of_their_own_channels(tmp_path):
    program = load_program(parse_module(PINNED, "text", context()), Machine.preset("default"))
    spans = []
    timing = Replay(program, spans.append).run()
    assert sum(name.startswith("dma") for name in timing.busy) >= 2
    found = analyse(program)
    assert sum(s.cycles for s in found.path) == timing.cycles
    assert 0 <= found.dma_hidden <= found.dma_busy <= timing.cycles
    words = {describe(s.step, program, 0) for s in spans}
    assert words == {"fetch @x3", "move @x2", "reduce @m2", "move @m3", "write y"}
    # Late operations say where they stand in the program, not where they were issued.
    rows = [s.event.at[0] for s in spans if s.step.op.name == "dma.write"]
    assert rows == list(range(0, 64, 8))
    written = write_trace(program, tmp_path / "out.json")
    assert written.flows == 4 * 8
