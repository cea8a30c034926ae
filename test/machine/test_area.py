"""Areas of machines that were built, against what was published: docs/area.md says where each comes from."""

import re
from pathlib import Path

import pytest

from kpu_ir import Machine
from kpu_ir.machine.area import area

PUBLISHED = {"gemmini": 0.858, "eyeriss": 12.25, "voltra": 0.655}
PAGE = (Path(__file__).parents[2] / "docs" / "area.md").read_text()


@pytest.mark.parametrize("name", PUBLISHED)
def test_built_machines_are_within_a_factor_of_a_half_more(name):
    found = area(Machine.preset(name)).total
    ratio = found / PUBLISHED[name]
    assert 0.65 < ratio < 1.5
    row = re.search(rf"\| `{name}` \|.*\| ([\d.]+) mm2 \| ([\d.]+) \|", PAGE)
    assert row, "docs/area.md has a row for it"
    assert float(row[1]) == pytest.approx(found, rel=0.01)
    assert float(row[2]) == pytest.approx(ratio, abs=0.01)


def test_every_row_of_the_table_has_its_line_in_the_docs():
    for name in ("mac.i8", "mac.f32", "accumulator", "lane", "bank", "l3", "dma", "phy", "mover",
                 "control", "leakage"):  # fmt: skip
        assert f"`area.{name}`" in PAGE
    assert "process_nm" in PAGE
