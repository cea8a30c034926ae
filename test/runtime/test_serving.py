"""Latencies under arrivals: what queueing theory says of them, and that requests are not lost."""

import numpy as np
import pytest
from small_programs import compiled, network

from kpu_ir import KpuError, runtime
from kpu_ir.runtime.round_trip import round_trip

PROGRAM = compiled(network())


def service_seconds(program):
    return program.machine.seconds(round_trip(program).cycles)


def test_a_batch_takes_what_the_device_takes():
    device = runtime.Device()
    stream = device.create_stream()
    loaded = device.load(PROGRAM, stream=stream)
    x, y = device.empty((32, 32), stream=stream), device.empty((32, 32), stream=stream)
    stream.sync()
    began = device.now
    x.copy_from(np.ones((32, 32), np.float32), stream=stream)
    runtime.launch(stream, loaded, x, y)
    y.copy_to(np.empty((32, 32), np.float32), stream=stream)
    trip = round_trip(PROGRAM)
    assert trip.cycles == device.now - began
    assert trip.program == PROGRAM.cycles
    assert trip.bytes_in == trip.bytes_out == 4 * 32 * 32
    assert trip.copy_in == -(-trip.bytes_in // 14) + 1100


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_one_at_a_time_waits_as_pollaczek_and_khinchine_say(load):
    service = service_seconds(PROGRAM)
    (row,) = runtime.arrivals(PROGRAM, rate=load / service, requests=30_000).rows
    waiting = load * service / (2 * (1 - load))  # M/D/1
    assert row.latencies.mean() == pytest.approx(service + waiting, rel=0.05)
    assert row.utilization == pytest.approx(load, rel=0.02)
    assert row.busy == pytest.approx(30_000 * service)


def test_little_holds():
    (row,) = runtime.arrivals({1: PROGRAM, 4: PROGRAM}, rate=1e5, batch=4, requests=3000).rows
    times = np.cumsum(np.random.default_rng(0).exponential(1.0, 3000)) / 1e5
    ends = times + row.latencies
    edges = np.sort(np.concatenate([times, ends]))
    inside = [np.sum((times <= t) & (t < ends)) for t in edges[:-1]]
    area = float(np.sum(inside * np.diff(edges)))
    assert area == pytest.approx(row.latencies.sum())
    assert row.batches.sum() == 3000
    assert row.batches.max() <= 4


def test_even_arrivals_below_the_rate_of_service_never_wait():
    service = service_seconds(PROGRAM)
    (row,) = runtime.arrivals(PROGRAM, rate=0.99 / service, process="even", requests=50).rows
    np.testing.assert_allclose(row.latencies, service)
    assert row.percentile(99) == pytest.approx(service)


def test_a_batch_waits_for_others_but_not_for_longer_than_it_may():
    programs = {1: PROGRAM, 2: compiled(network())}
    service = service_seconds(PROGRAM)
    gap = 4 * service
    for wait, batches, most in (
        (0, 1, service),
        (3 * service, 1, 4 * service),
        (6 * service, 2, gap + service),
    ):
        (row,) = runtime.arrivals(
            programs, rate=1 / gap, batch=2, wait_ms=1e3 * wait, process="even", requests=10
        ).rows
        assert row.batches.max() == batches
        np.testing.assert_allclose(row.latencies.max(), most)


def test_more_requests_are_slower(tmp_path):
    service = service_seconds(PROGRAM)
    served = runtime.arrivals(PROGRAM, rate=[0.2 / service, 0.9 / service], requests=2000)
    low, high = served.rows
    assert all(low.percentile(p) <= high.percentile(p) for p in (50, 90, 99))
    lines = str(served).splitlines()
    assert len(lines) == 3
    assert f"{1e3 * high.percentile(99):,.3f}" in lines[2].split()
    pytest.importorskip("matplotlib")
    served.plot(tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").read_text().startswith("<?xml")


def test_wrong_questions():
    for wrong in (
        {"rate": 0},
        {"rate": []},
        {"rate": 1, "batch": 2},
        {"rate": 1, "batch": 0},
        {"rate": 1, "requests": 0},
        {"rate": 1, "wait_ms": -1.0},
        {"rate": 1, "process": "never"},
        {"rate": float("nan")},
        {"rate": float("inf")},
        {"rate": "often"},
        {"rate": 1, "wait_ms": float("nan")},
        {"rate": 1, "requests": 10**13},
        {"rate": 1, "seed": -1},
    ):
        with pytest.raises(KpuError):
            runtime.arrivals(PROGRAM, **wrong)
    (row,) = runtime.arrivals(PROGRAM, rate=1, requests=1).rows
    with pytest.raises(KpuError, match="from 0 to 100, got 101"):
        row.percentile(101)
