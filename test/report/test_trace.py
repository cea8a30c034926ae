"""Traces: valid by the format, complete, equal to the run's figures."""

import json
import os
from collections import Counter, defaultdict
from itertools import pairwise

import pytest

from kpu_ir.report.trace import operations, window_of, write_trace
from kpu_ir.support.errors import KpuError


@pytest.fixture(scope="module")
def trace(compiled, tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "out.json"
    written = write_trace(compiled.program, path)
    return written, json.loads(path.read_text())


def test_every_event_has_what_its_phase_needs(trace):
    written, data = trace
    events = data["traceEvents"]
    phases = Counter(e["ph"] for e in events)
    assert set(phases) == {"M", "X", "s", "f", "C", "b", "e"}
    assert (phases["X"], phases["s"], phases["C"]) == (
        written.slices, written.flows, written.counters,
    )  # fmt: skip
    for e in events:
        assert isinstance(e["pid"], int)
        assert isinstance(e["tid"], int)
        assert isinstance(e["name"], str)
        if e["ph"] != "M":
            assert e["ts"] >= 0
        if e["ph"] == "X":
            assert e["dur"] > 0
    assert data["displayTimeUnit"] == "ns"


def test_tracks_are_the_engines_and_their_slices_are_its_busy_time(trace, compiled):
    _, data = trace
    events = data["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    scale = 1e6 / compiled.machine.clock_hz
    busy, ends = defaultdict(float), defaultdict(float)
    for e in sorted((e for e in events if e["ph"] == "X"), key=lambda e: e["ts"]):
        assert e["ts"] >= ends[e["tid"]] - 1e-9, "slices of a track do not overlap"
        ends[e["tid"]] = e["ts"] + e["dur"]
        busy[names[e["tid"]]] += e["dur"]
    for engine, cycles in compiled.timing.busy.items():
        assert busy[engine] == pytest.approx(cycles * scale)
    last = compiled.cycles - compiled.machine.l3.latency  # the last write's data have left
    assert max(ends.values()) == pytest.approx(last * scale)


def test_waits_are_the_runs_stalls(trace, compiled):
    _, data = trace
    waited = Counter()
    for e in data["traceEvents"]:
        if e["ph"] == "X" and e["tid"] == 1 and "waited" in e["args"]:
            waited[e["args"]["for"]] += e["args"]["waited"]
    assert waited == compiled.timing.stalls["dma"]


def test_arrows_begin_in_a_slice_and_end_in_a_later_one(trace):
    _, data = trace
    events = data["traceEvents"]
    slices = defaultdict(list)
    for e in events:
        if e["ph"] == "X":
            slices[e["tid"]].append((e["ts"], e["ts"] + e["dur"]))
    starts = {e["id"]: e for e in events if e["ph"] == "s"}
    ends = {e["id"]: e for e in events if e["ph"] == "f"}
    assert starts.keys() == ends.keys()
    assert len(starts) == sum(e["ph"] == "s" for e in events)
    for i, s in starts.items():
        f = ends[i]
        assert any(a <= s["ts"] < b for a, b in slices[s["tid"]])
        assert any(a == f["ts"] for a, _ in slices[f["tid"]])


def test_loops_and_kernels_stand_in_the_arguments(trace, compiled):
    _, data = trace
    slices = [e for e in data["traceEvents"] if e["ph"] == "X"]
    assert {e["args"]["kernel"] for e in slices} == {c.label for c in compiled.program.calls}
    indices = {tuple(e["args"]["at"]) for e in slices if "at" in e["args"]}
    assert ("m", "n") in indices or ("m",) in indices
    at = [
        e["args"]["at"]["m"]
        for e in slices
        if e["name"].startswith("write") and "m" in e["args"].get("at", {})
    ]
    assert at == sorted(at) or len(set(at)) > 1


def test_counters_end_at_zero_and_never_exceed_the_ring(trace, compiled):
    _, data = trace
    depth = {
        f"{p.name} @{r.name} ({r.level})": r.depth for p in compiled.program.plans for r in p.rings
    }
    last = {}
    for e in data["traceEvents"]:
        if e["ph"] == "C":
            assert 0 <= e["args"]["slots"] <= depth[e["name"]]
            last[e["name"]] = e["args"]["slots"]
    assert set(last.values()) == {0}


def test_a_window_keeps_what_touches_it(trace, compiled, tmp_path):
    whole, data = trace
    begin, end = compiled.cycles // 4, compiled.cycles // 2
    part = write_trace(compiled.program, tmp_path / "part.json", (begin, end))
    scale = 1e6 / compiled.machine.clock_hz
    inside = json.loads((tmp_path / "part.json").read_text())["traceEvents"]
    slices = [e for e in inside if e["ph"] == "X"]
    assert 0 < len(slices) < whole.slices

    def touching(events, low, high):
        return {
            (e["tid"], e["ts"]) for e in events
            if e["ph"] == "X" and e["ts"] < high * scale and e["ts"] + e["dur"] > low * scale
        }  # fmt: skip

    assert touching(data["traceEvents"], begin, end) == touching(slices, begin, end)
    assert part.slices == len(slices)
    flows = Counter(e["ph"] for e in inside)
    assert flows["s"] == flows["f"]


def test_nothing_is_left_behind_when_it_fails(compiled, tmp_path):
    with pytest.raises(KpuError, match="folder"):
        write_trace(compiled.program, tmp_path / "none" / "out.json")
    with pytest.raises(KpuError, match="window"):
        write_trace(compiled.program, tmp_path / "out.json", (5, 5))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "5", "5:", "9:3", "a:b", "-1:4"])
def test_windows_that_are_none(text):
    with pytest.raises(KpuError):
        window_of(text)


def test_a_window_in_text():
    assert window_of("10:20") == (10, 20)


def test_the_count_of_operations_is_the_runs(compiled):
    program = compiled.program
    count = sum(operations(c.plan.body, program.machine) for c in program.calls)
    assert count == compiled.timing.operations


def test_a_big_run_is_traced_in_a_window_only(compiled, tmp_path, monkeypatch):
    monkeypatch.setattr("kpu_ir.report.trace.MOST", 10)
    with pytest.raises(KpuError, match="too big") as error:
        write_trace(compiled.program, tmp_path / "out.json")
    assert "--trace-window" in (error.value.hint or "")
    assert list(tmp_path.iterdir()) == []
    assert write_trace(compiled.program, tmp_path / "out.json", (0, 1000)).slices


def test_a_device_stays_one(compiled):
    write_trace(compiled.program, os.devnull)
    assert not os.path.isfile(os.devnull)


def test_slices_keep_apart_in_whole_nanoseconds_too(trace):
    """As Perfetto reads them: cut off."""
    slices, starts = defaultdict(list), []
    for e in trace[1]["traceEvents"]:
        if e["ph"] == "X":
            slices[e["tid"]].append((int(e["ts"] * 1000.0), int(e["dur"] * 1000.0)))
        elif e["ph"] == "s":
            starts.append((e["tid"], int(e["ts"] * 1000.0)))
    for track in slices.values():
        track.sort()
        for (a, n), (b, _) in pairwise(track):
            assert a + n <= b
    for track, at in starts:
        assert any(a <= at < a + n or at == a for a, n in slices[track])
