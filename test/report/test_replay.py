"""Over drawn programs and schedules: every operation's start is explained, and the path adds up."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kpu_ir.errors import KpuError
from kpu_ir.report.analysis import allocated, analyse
from kpu_ir.report.replay import Replay

from ..test_altitudes import MACHINES, draw_graph, lowered

DRAWS = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


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
