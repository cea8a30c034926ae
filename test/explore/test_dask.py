"""A Dask cluster gives what this machine gives, though its workers die."""

import os
import resource
import threading
import time

import pytest
from draws import MANY

from kpu_ir import KpuError, Study
from kpu_ir.explore.evaluate import MEASURED

distributed = pytest.importorskip("distributed")

ASKED = {
    "workload": [{"builtin": "32"}, {"builtin": "matmul 48"}],
    "search": "none",
    "fuse": "epilogue",
    "knobs": {"fabric.rows": [8, 16], "dma.channels": [1, 4], "clock_hz": [1e9, 2e9]},
    "sampler": "grid",
}


@pytest.fixture(autouse=True)
def _own_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path / "cache"))


def same(results):
    return [{k: v for k, v in row.items() if k not in MEASURED} for row in results.table()]


def cluster(workers, processes):
    where = {"host": "127.0.0.1"} if processes else {}
    return distributed.LocalCluster(
        n_workers=workers, processes=processes, threads_per_worker=1, dashboard_address=None,
        worker_dashboard_address=None, silence_logs=50, **where,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_the_same(tmp_path):
    expected = same(Study.of(ASKED).run(tmp_path / "here", processes=1))
    with cluster(1, processes=False) as c:
        found = Study.of(ASKED).run(tmp_path / "there", dask=c.scheduler_address)
        assert same(found) == expected
    assert len(list((tmp_path / "there").glob("rows/*/*.json"))) == 16


def test_no_scheduler_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("kpu_ir.explore.drive.DASK_TIMEOUT", "1s")
    with pytest.raises(KpuError, match="no Dask scheduler answers"):
        Study.of(ASKED).run(tmp_path / "there", dask="tcp://127.0.0.1:9")


@pytest.mark.skipif(not MANY, reason="make nightly")
@pytest.mark.filterwarnings("ignore")
def test_a_worker_lost_in_the_middle_costs_only_time(tmp_path):
    expected = same(Study.of(ASKED).run(tmp_path / "here", processes=1))
    with cluster(4, processes=True) as c:
        done = threading.Event()

        def kill() -> None:
            while not done.is_set() and not list((tmp_path / "there").glob("rows/*/*.json")):
                time.sleep(0.02)
            process = next(iter(c.workers.values())).pid
            os.kill(process, 9)

        killer = threading.Thread(target=kill)
        killer.start()
        found = Study.of(ASKED).run(tmp_path / "there", dask=c.scheduler_address)
        done.set()
        killer.join()
        assert same(found) == expected


@pytest.mark.skipif(not MANY, reason="make nightly")
@pytest.mark.filterwarnings("ignore")
def test_memory_stays_bounded_over_500_points(tmp_path):
    knobs = {"external.latency": {"from": 1, "to": 500}}
    asked = {**ASKED, "workload": [{"builtin": "32"}], "knobs": knobs}
    with cluster(1, processes=True) as c:
        client = distributed.Client(c)

        def peak() -> int:
            used = client.run(resource.getrusage, resource.RUSAGE_SELF)
            return max(one[2] for one in used.values())  # ru_maxrss, KiB

        few = {**asked, "knobs": {"external.latency": {"from": 1, "to": 60}}}
        Study.of(few).run(tmp_path / "few", dask=c.scheduler_address)
        before = peak()
        found = Study.of(asked).run(tmp_path / "many", dask=c.scheduler_address)
        after = peak()
        client.close()
    assert len(found.good) == 500
    assert after < before + (64 << 10)
