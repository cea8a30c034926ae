"""Cycles, bytes and energy of the canonical workloads, with the recorded schedules: nothing may change unnoticed.

A change that is meant: kpu-bench baseline --update shows it workload by workload and writes it.
"""

import pytest

from kpu_ir.bench.baseline import check, read
from kpu_ir.bench.workloads import WORKLOADS

RECORDED = read()
UPDATE = "if that is meant: kpu-bench baseline --update"


def test_every_workload_is_recorded() -> None:
    assert list(RECORDED) == list(WORKLOADS), UPDATE
    assert len(RECORDED) >= 12


@pytest.mark.parametrize("name", RECORDED)
def test_nothing_changed(name: str) -> None:
    now, recorded = check(name, RECORDED[name]), RECORDED[name]
    assert (now.cycles, now.external_bytes) == (recorded.cycles, recorded.external_bytes), UPDATE
    assert now.energy_pj == pytest.approx(recorded.energy_pj, rel=1e-9), UPDATE
