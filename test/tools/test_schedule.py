"""``kpu-run --schedule``: one schedule for every product, by text or JSON."""

import json
from pathlib import Path

import pytest

import kpu_ir
from kpu_ir import KpuError, Schedule
from kpu_ir.tools.run import main

MATMUL = """
func.func @main(%x: tensor<64x32xf32>, %w: tensor<32x48xf32>) -> tensor<64x48xf32> {
  %y = kernel.matmul %x, %w : (tensor<64x32xf32>, tensor<32x48xf32>) -> tensor<64x48xf32>
  func.return %y : tensor<64x48xf32>
}
"""
ASKED = Schedule(tile=(32, 16, 16), dataflow="ws", lhs="l2")


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "matmul.mlir"
    path.write_text(MATMUL)
    return str(path)


@pytest.mark.parametrize(
    "text",
    ["tile=32,16,16 dataflow=ws lhs=l2", '{"tile": [32, 16, 16], "dataflow": "ws", "lhs": "l2"}'],
)
def test_it_is_the_schedule_of_every_product(
    file: str, text: str, capsys: pytest.CaptureFixture[str]
):
    assert Schedule.from_text(text) == ASKED
    assert main([file, "--json", "--schedule", text]) == 0
    cycles = json.loads(capsys.readouterr().out)["cycles"]
    assert cycles == kpu_ir.load(file, schedule=ASKED).cycles
    assert cycles != kpu_ir.load(file).cycles


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("{}", "empty"),
        ("tile", "write tile=64,64,64"),
        ("datflow=ws", "did you mean 'dataflow'"),
        ("dataflow=wz", "'os', 'ws', 'is'"),
        ("tile=64,a,3", "whole numbers"),
        ("tile=0,1,1", "positive"),
        ("depth=4,5", "depth is a whole number"),
        ("depth=2 depth=3", "twice"),
        ("{", "JSON"),
        ('{"depth": "2"}', "depth is a whole number"),
        ('{"tile": [1, 2, 3], "tile": [2, 2, 2]}', "twice"),
    ],
)
def test_what_is_no_schedule(text: str, says: str):
    with pytest.raises(KpuError, match=f"(?s)--schedule.*{says}"):
        Schedule.from_text(text, "--schedule")


def test_where_it_does_nothing_it_is_refused(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    lowered = tmp_path / "tile.mlir"
    lowered.write_text(kpu_ir.load(file, search="none").ir("tile", None))
    for more in (["--search", "full"], ["--fuse", "full"]):
        assert main([file, "--schedule", "depth=3", *more]) == 1
        assert f"{more[0]}" in capsys.readouterr().err
    assert main([str(lowered), "--schedule", "depth=3"]) == 1
    assert "--schedule does nothing for tile IR" in capsys.readouterr().err
