"""Cycles, bytes and energy of the canonical workloads, with the recorded schedules: nothing may change unnoticed.

A change that is meant: kpu-bench baseline --update shows it workload by workload and writes it. Those of `ideal` are
those of the machine before hardware's costs were charged: they change where a formula was wrong, in a commit of its own.
"""

import pytest

from kpu_ir.bench.baseline import PATHS, check, read, workloads_of
from kpu_ir.bench.workloads import WORKLOADS
from kpu_ir.machine import Machine

RECORDED = {name: read(path) for name, path in PATHS.items()}
UPDATE = "if that is meant: kpu-bench baseline --update"


@pytest.mark.parametrize("machine", PATHS)
def test_every_workload_is_recorded(machine: str) -> None:
    assert list(RECORDED[machine]) == list(workloads_of(Machine.preset(machine))), UPDATE
    assert len(RECORDED[machine]) >= 12


def test_a_workload_of_each_family_in_each_short_type() -> None:
    """What the array multiplies, and what stores bytes."""
    names = list(workloads_of(Machine.preset("default")))[len(WORKLOADS) :]
    families = ["matmul", "batched matmul", "conv", "depthwise", "max pool", "attention", "softmax", "layer norm", "add"]  # fmt: skip
    for family in families:
        for kind in ("8", "f16", "bf16"):
            assert any(n[:4].split()[0].endswith(kind) and f" {family} " in n for n in names)
    for kind in (
        "i8 by i4",
        "i4",
        "f8",
        "u8 by i8",
        "i4 weights, f16",
        "i4 weights in blocks",
        "i8 per token",
    ):
        assert any(n.startswith(kind) for n in names)


EACH = [(machine, name) for machine in PATHS for name in workloads_of(Machine.preset(machine))]


@pytest.mark.parametrize(("machine", "name"), EACH)
def test_nothing_changed(machine: str, name: str) -> None:
    recorded = RECORDED[machine][name]
    now = check(name, recorded, Machine.preset(machine))
    assert (now.cycles, now.external_bytes) == (recorded.cycles, recorded.external_bytes), UPDATE
    assert now.energy_pj == pytest.approx(recorded.energy_pj, rel=1e-9), UPDATE
