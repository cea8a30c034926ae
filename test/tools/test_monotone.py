"""``kpu-bench monotone``: a better machine is not slower."""

import pytest

from kpu_ir.bench.measure import Setting
from kpu_ir.bench.monotone import ALLOWED, KERNELS, KNOBS, monotone_table, steps
from kpu_ir.bench.workloads import kernels, outlined
from kpu_ir.machine import Machine
from kpu_ir.support.errors import KpuError

DEFAULT = Machine.preset("default")


@pytest.mark.parametrize("key", ["mover.bytes_per_cycle", "l2.bank_bytes", "vector.lanes"])
def test_a_better_machine_is_not_slower(key: str) -> None:
    table = monotone_table(["softmax 256x192"], Setting(DEFAULT), knobs=[key])
    assert [row for row in table.rows if row["slower"] > ALLOWED] == []


def test_a_step_is_timed_with_the_schedule_before_as_well() -> None:
    (func,) = kernels(outlined(KERNELS["softmax 256x192"]())).values()
    rows = steps(func, "dma.setup", DEFAULT, "quick")
    assert [row["step"] for row in rows] == [
        f"dma.setup {a} to {b}" for a, b in zip(KNOBS["dma.setup"], KNOBS["dma.setup"][1:])
    ]
    for row in rows:  # a program is never slower on a better machine
        assert row["kept"] <= row["before"]


def test_what_there_is_not_is_named() -> None:
    with pytest.raises(KpuError, match="there is no knob 'l9'"):
        monotone_table([], Setting(DEFAULT), knobs=["l9"])
    with pytest.raises(KpuError, match="there is no kernel 'dot'"):
        monotone_table(["dot"], Setting(DEFAULT))
