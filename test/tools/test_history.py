"""kpu-bench baseline --record and kpu-bench history."""

import json
from pathlib import Path

import pytest

from kpu_ir import Machine
from kpu_ir.bench import history as h
from kpu_ir.bench.baseline import Baseline
from kpu_ir.support.errors import KpuError
from kpu_ir.tools.bench import main


def entry(commit: str, digest: str = "d", **cycles: int) -> h.Entry:
    figures = {
        name: {"cycles": n, "external_bytes": 4096, "energy_pj": 1000.5}
        for name, n in cycles.items()
    }
    return h.Entry("2026-01-01", commit, "default", digest, figures)


ENTRIES = [
    entry("a", "", mm=1000, conv=500),
    entry("b", mm=1049, conv=500),
    entry("c", mm=1049, conv=530),
    entry("d", "other", mm=2000, conv=530),
    entry("e", "other", mm=1900),
    entry("f", "other", mm=2000, conv=600),
]


def test_a_regression_names_the_commit():
    grown = [(g.workload, g.entry.commit, round(g.share, 3)) for g in h.growths(ENTRIES)]
    # Not mm at b (4.9 %), nor at d (another machine); conv is compared with d, where it was last.
    assert grown == [("conv", "c", 0.06), ("mm", "f", 0.053), ("conv", "f", 0.132)]
    assert str(h.growths(ENTRIES)[0]) == "conv: cycles +6.0 % at c (2026-01-01), b had 500"


def test_a_file_and_back(tmp_path: Path):
    assert h.read(tmp_path / "none") == []
    h.write(tmp_path / "h.jsonl", ENTRIES)
    assert h.read(tmp_path / "h.jsonl") == ENTRIES


@pytest.mark.parametrize("line", ["{", "[]", '{"date": 1}', "null"])
def test_what_is_no_history(line: str, tmp_path: Path):
    h.write(tmp_path / "h.jsonl", ENTRIES[:2])
    with (tmp_path / "h.jsonl").open("a") as file:
        file.write(line)
    with pytest.raises(KpuError) as error:
        h.read(tmp_path / "h.jsonl")
    assert error.value.where == f"{tmp_path / 'h.jsonl'}:3"


def test_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    machine, path = Machine.preset("default"), tmp_path / "h.jsonl"
    found = {"mm": Baseline(1000, 4096, 1000.5)}
    monkeypatch.setattr(h, "_commit", lambda: ("2026-01-01", "a"))
    assert h.record(found, machine, path).digest == machine.digest
    h.record({"mm": Baseline(900, 4096, 1000.5)}, machine, path)  # the same commit, again
    assert [e.figures["mm"]["cycles"] for e in h.read(path)] == [900]
    monkeypatch.setattr(h, "_commit", lambda: ("2026-01-02", "b"))
    h.record(found, machine, path)
    assert [e.commit for e in h.read(path)] == ["a", "b"]
    assert len(h.growths(h.read(path))) == 1


def test_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(h, "ROOT", tmp_path)
    with pytest.raises(KpuError, match="no commit"):
        h.record({}, Machine.preset("default"), tmp_path / "h.jsonl")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    h.write(tmp_path / "h.jsonl", ENTRIES)
    arguments = ["history", "--history", str(tmp_path / "h.jsonl")]
    assert main([*arguments, "--json", "--out", str(tmp_path / "p.svg")]) == 0
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    assert [r["grew"] for r in table["rows"]] == ["+5.3 % at f", "+13.2 % at f"]
    assert "conv: cycles +6.0 % at c" in table["notes"][0]
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "p.svg").read_text().rstrip().endswith("</svg>")
    assert main([*arguments, "--machine", "none"]) == 1
    assert "nothing is recorded of machine none" in capsys.readouterr().err
    assert main(["baseline", "--history", "x"]) == 1
    assert "does nothing without --record" in capsys.readouterr().err


def test_the_history_of_this_repository_is_read():
    entries = h.read()
    assert len({e.commit for e in entries}) > 5
    assert h.table([e for e in entries if e.machine == "default"], "cycles").rows
