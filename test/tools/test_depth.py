"""kpu-bench depth: more equal layers are more calls, not more kernels."""

import json
from pathlib import Path

import pytest

from kpu_ir.bench import depth
from kpu_ir.bench.measure import Setting
from kpu_ir.machine import Machine
from kpu_ir.program.options import Options
from kpu_ir.support.errors import KpuError
from kpu_ir.tools.bench import main

FAST = Setting(Machine.preset("default"), Options(search="none"))


def test_kernels_do_not_grow_with_depth() -> None:
    """From two layers on: the first and the last have neighbours of their own."""
    rows = depth.depth_table(FAST, (2, 3, 4), width=64).rows
    assert [row["layers"] for row in rows] == [2, 3, 4]
    assert len({row["kernels"] for row in rows}) == 1
    calls, cycles = ([row[key] for row in rows] for key in ("calls", "cycles"))
    assert 2 * calls[1] == 3 * calls[0]
    assert calls[2] == 2 * calls[0]
    assert cycles[0] < cycles[1] < cycles[2]
    for key in ("kernel_characters", "tile_characters", "dma_characters"):
        two, three, four = (row[key] for row in rows)
        layer = three - two  # names of values grow by a digit
        assert layer <= four - three <= 1.1 * layer, key


def test_layers_have_weights_of_their_own() -> None:
    module = depth.transformer(3, rows=8, width=16, heads=2)
    constants = [op.value for op in module.walk() if op.name == "kernel.constant"]
    assert len(constants) % 3 == 0
    assert len({c.data.data for c in constants}) == len(constants)


def test_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depth, "row", lambda n, *_: {
        "layers": n, "kernels": 7, "calls": 14 * n, "kernel_characters": 1000 * n,
        "dma_characters": 5000 + 100 * n, "cold_seconds": 2.0, "warm_seconds": 0.5 + n, "cycles": n,
    })  # fmt: skip
    out = tmp_path / "depth.md"
    assert main(["depth", "2", "4", "--out", str(out), "--json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    assert [row["layers"] for row in table["rows"]] == [2, 4]
    text = out.read_text()
    assert text.startswith("# Depth\n")
    assert "| 4 | 7 | 56 | 4,000 | 5,400 | 2.00 s | 4.50 s | 4 |" in text
    assert "2.00 x the layers: 1.00 x the kernels" in text
    with pytest.raises(KpuError, match="must be positive"):
        depth.depth_table(FAST, (2, 0))
    assert main(["depth", "2", "--out", str(tmp_path / "none" / "d.md")]) == 1
    assert "the folder does not exist" in capsys.readouterr().err
