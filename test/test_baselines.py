"""Cycles, bytes and energy of the canonical workloads, with the recorded schedules: nothing may change unnoticed.

A change that is meant: kpu-bench baseline --update shows it workload by workload and writes it. Those of `ideal` are
those of the machine before hardware's costs were charged: they change where a formula was wrong, in a commit of its own.
"""

import pytest

from kpu_ir.bench.baseline import PATHS, check, read
from kpu_ir.bench.workloads import WORKLOADS
from kpu_ir.machine import Machine

RECORDED = {name: read(path) for name, path in PATHS.items()}
UPDATE = "if that is meant: kpu-bench baseline --update"


@pytest.mark.parametrize("machine", PATHS)
def test_every_workload_is_recorded(machine: str) -> None:
    assert list(RECORDED[machine]) == list(WORKLOADS), UPDATE
    assert len(RECORDED[machine]) >= 12


@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("machine", PATHS)
def test_nothing_changed(machine: str, name: str) -> None:
    recorded = RECORDED[machine][name]
    now = check(name, recorded, Machine.preset(machine))
    assert (now.cycles, now.external_bytes) == (recorded.cycles, recorded.external_bytes), UPDATE
    assert now.energy_pj == pytest.approx(recorded.energy_pj, rel=1e-9), UPDATE
