"""Power over time adds up to the energy of the run."""

import pytest

from kpu_ir.report.html import report
from kpu_ir.report.power import power_of_calls, power_trace


def test_windows_add_up(compiled):
    summary = compiled.summary()
    for windows in (1, 7, 100):
        found = power_trace(compiled.program, windows)
        assert len(found.watts) == windows
        whole = sum(found.watts) * found.window
        expected = sum(summary.energy_pj.values()) * 1e-12
        leak = summary.power_w["leakage"] * summary.seconds
        assert whole == pytest.approx(expected + leak)
        assert found.average == pytest.approx(sum(summary.power_w.values()))
    assert found.peak > found.average > min(found.watts)


def test_the_page_says_the_peak(compiled):
    assert "of the run it is at most" in report(compiled, compiled.summary(), "")


def test_power_of_calls_adds_up_without_stepping(compiled):
    summary, timing = compiled.summary(), compiled.timing
    for windows in (1, 7, 100):
        found = power_of_calls(timing.calls, timing.cycles, compiled.machine, windows)
        assert found.average == pytest.approx(sum(summary.power_w.values()))
        assert found.peak >= found.average * (1 - 1e-9)
    assert summary.power_peak_w == found.peak
