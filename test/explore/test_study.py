"""Studies: what they find does not depend on who evaluates, nor on who is killed meanwhile."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from draws import MANY

from kpu_ir import KpuError, Machine, Options, Study
from kpu_ir.explore import drive
from kpu_ir.explore.drive import Local
from kpu_ir.explore.evaluate import MEASURED, Point, evaluate
from kpu_ir.explore.pareto import hypervolume
from kpu_ir.explore.store import Store
from kpu_ir.explore.workload import Workload
from kpu_ir.tools.explore import main

SMALL = {
    "workload": [{"builtin": "32"}, {"builtin": "matmul 48", "weight": 2}],
    "search": "none",
    "fuse": "epilogue",
    "knobs": {
        "fabric.rows": [8, 16],
        "fabric.columns": "fabric.rows",
        "dma.channels": [1, 4],
        "clock_hz": [1e9, 2e9],
    },
    "objectives": ["seconds", "area_mm2"],
    "sampler": "grid",
}
TEXT = """\
search = "none"
fuse = "epilogue"
sampler = "grid"

[[workload]]
builtin = "32"

[knobs]
"fabric.rows" = [8, 16]
"fabric.columns" = "fabric.rows"
"dma.channels" = [1, 4]
clock_hz = [1e9, 2e9]
"""


def same(table):
    return [{k: v for k, v in row.items() if k not in MEASURED} for row in table]


@pytest.fixture(autouse=True)
def _own_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return Study.of(SMALL).run(tmp_path_factory.mktemp("s") / "out", processes=1).table()


def test_a_row_a_point_and_workload(table):
    assert len(table) == 2 * (1 + 8)
    row = next(r for r in table if r["point"] == 3)
    assert (row["fabric.rows"], row["fabric.columns"], row["dma.channels"]) == (8, 8, 4)
    assert row["seconds"] == row["cycles"] / row["clock_hz"]
    parts = sum(v for k, v in row.items() if k.startswith("area."))
    assert row["area_mm2"] == pytest.approx(parts)
    joules = sum(v for k, v in row.items() if k.startswith("energy_j."))
    assert row["energy_j"] == pytest.approx(joules)
    assert row["power_w"] == pytest.approx(row["energy_j"] / row["seconds"])
    # clocks share their simulation
    times = {(r["fabric.rows"], r["dma.channels"], r["workload"]): r["cycles"] for r in table}
    assert len(times) == 8


def test_rows_are_those_of_kpu_run(table):
    row = next(r for r in table if r["point"] == 2 and r["workload"] == "matmul 48")
    machine = Machine().with_settings(
        {k: row[k] for k in ("fabric.rows", "fabric.columns", "dma.channels", "clock_hz")}
    )
    workload = Workload.of({"builtin": "matmul 48"}, Path())
    again = evaluate(Point.of(machine, workload, Options(search="none", fuse="epilogue")))
    differ = {k for k, v in again.items() if row.get(k) != v and k not in MEASURED}
    assert differ == set()


def test_any_number_of_processes_gives_the_same_though_one_is_killed(table, tmp_path, monkeypatch):
    """A worker that dies of its own is started again; what was in flight is asked for again."""
    bomb = {"python": str(BOMB)}
    monkeypatch.setenv("KPU_TEST_BOMB", str(tmp_path / "bomb"))
    study = Study.of({**SMALL, "workload": [*SMALL["workload"], bomb]})
    found = study.run(tmp_path / "out", processes=2)
    assert (tmp_path / "bomb").exists()
    assert [d.status for d in found.designs] == ["ok"] * 8
    rows = [r for r in found.table() if r["workload"] != bomb["python"]]
    values = [k for k in rows[0] if k.startswith(("objective", "front"))]
    assert [{k: v for k, v in r.items() if k not in values} for r in same(rows)] == [
        {k: v for k, v in r.items() if k not in values} for r in same(table)
    ]


BOMB = Path(__file__).parent / "data" / "bomb.py:make"


@pytest.mark.skipif(not MANY, reason="make nightly")
def test_a_worker_that_always_dies_is_a_row(tmp_path, monkeypatch):
    store = Store(tmp_path)
    monkeypatch.setenv("KPU_TEST_BOMB", "always")
    workload = Workload.of({"python": str(BOMB)}, Path())
    other = Workload.of({"builtin": "32"}, Path())
    monkeypatch.setattr(drive, "TRIES", 2)
    points = [Point.of(Machine(), w, Options(search="none")) for w in (workload, other)]
    rows = dict(Local(store, 2).rows(points))
    assert (rows[0]["status"], rows[1]["status"]) == ("error", "ok")
    assert "died" in rows[0]["reason"]
    assert store.row(points[0].key) is None  # tried again next time


@pytest.mark.parametrize("after", [1, 3, 7] if MANY else [3])
def test_a_killed_study_is_resumed(after, table, tmp_path):
    """kill -9 of the parent: its workers end too, and what is done is not done again."""
    (tmp_path / "s.toml").write_text(TEXT)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "kpu_ir.tools.explore", str(tmp_path / "s.toml")]
    command += ["--out", str(out), "--processes", "2"]
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    end = time.time() + 60
    while len(list(out.glob("rows/*/*.json"))) < after and time.time() < end:
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    time.sleep(0.3)
    kept = {p: p.stat().st_mtime_ns for p in out.glob("rows/*/*.json")}
    with pytest.raises(KpuError, match="there are results already"):
        Study.load(tmp_path / "s.toml").run(out)
    found = Study.load(tmp_path / "s.toml").run(out, resume=True, processes=1)
    assert {p: p.stat().st_mtime_ns for p in kept} == kept  # none twice
    expected = [r for r in same(table) if r["workload"] == "32"]
    mine = ("point", "cycles", "seconds", "area_mm2", "key", "energy_j")
    assert [[r[k] for k in mine] for r in found.table()] == [[r[k] for k in mine] for r in expected]


def test_a_full_disk_ends_a_study_with_a_word(tmp_path, monkeypatch):
    def full(path, content):
        if "rows" in str(path) and len(list(tmp_path.glob("out/rows/*/*"))) >= 3:
            raise KpuError("cannot be written: No space left on device", str(path))
        return write(path, content)

    from kpu_ir.explore import store

    write = store.write_atomically
    monkeypatch.setattr(store, "write_atomically", full)
    with pytest.raises(KpuError, match="No space left"):
        Study.of(SMALL).run(tmp_path / "out", processes=1)
    monkeypatch.setattr(store, "write_atomically", write)
    found = Study.of(SMALL).run(tmp_path / "out", resume=True, processes=1)
    assert len(found.good) == 8


def test_a_damaged_result_is_evaluated_again(table, tmp_path):
    Study.of(SMALL).run(tmp_path / "out", processes=1)
    for path in list((tmp_path / "out").glob("*/*/*.json"))[::2]:
        path.write_text(path.read_text()[:50])
    again = Study.of(SMALL).run(tmp_path / "out", resume=True, processes=1)
    assert same(again.table()) == same(table)


def test_results_of_another_version_are_not_mixed(tmp_path, monkeypatch):
    Study.of(SMALL).run(tmp_path / "out", processes=1)
    data = json.loads((tmp_path / "out" / "study.json").read_text())
    data["compiler"] = "another"
    (tmp_path / "out" / "study.json").write_text(json.dumps(data))
    with pytest.raises(KpuError, match="not mixed"):
        Study.of(SMALL).run(tmp_path / "out", resume=True)


def test_what_does_not_compile_is_a_row(tmp_path):
    knobs = {"external.bytes": [20_000_000, 600_000], "l3.tiles": [1], "l1.buffers": [4]}
    workload = [{"builtin": "256"}]
    found = Study.of({**SMALL, "knobs": knobs, "workload": workload}).run(
        tmp_path / "o", processes=1
    )
    assert [d.status for d in found.designs] == ["ok", "infeasible"]
    assert "external memory" in found.designs[1].reason
    knobs = {"l1.buffer_bytes": [4, 32768]}
    found = Study.of({**SMALL, "knobs": knobs}).run(tmp_path / "p", processes=1)
    assert [d.status for d in found.designs] == ["infeasible", "ok"]
    assert "l1.buffer_bytes" in found.designs[0].reason
    row = next(r for r in found.table() if r["point"] == 1)
    assert row["status"] == "infeasible"


def test_a_rejected_point_names_its_constraint(tmp_path):
    constraints = ["area_mm2 <= 6", 'cycles("matmul 48") * 2 <= 6000']
    found = Study.of({**SMALL, "constraints": constraints}).run(tmp_path / "o", processes=1)
    reasons = {d.status: d.reason for d in found.designs}
    assert set(reasons) == {"ok", "rejected"}
    rejected = [d.reason for d in found.designs if d.status == "rejected"]
    assert any(r.startswith("area_mm2 <= 6: area_mm2 is 6.") for r in rejected)
    early = [d for d in found.designs if d.reason.startswith("area_mm2")]
    assert all("cycles" not in row for d in early for row in d.rows)  # nothing was simulated
    with pytest.raises(KpuError, match="no point meets 'area_mm2 <= 1'") as e:
        Study.of({**SMALL, "constraints": ["area_mm2 <= 1"]}).run(tmp_path / "p", processes=1)
    assert "is 3." in str(e.value) or "is 2." in str(e.value) or "is 4." in str(e.value)


def test_a_proxy_prunes_and_says_so(tmp_path):
    asked = {**SMALL, "search": "quick", "proxy": {"search": "none", "keep": 0.25}}
    asked["workload"] = [{"builtin": "32"}]
    found = Study.of(asked).run(tmp_path / "o", processes=1)
    pruned = [d for d in found.designs if d.status == "pruned"]
    assert len(pruned) == 6
    assert all("search=none: place" in d.reason and d.rows[0]["cycles"] for d in pruned)


def test_the_optimiser_is_the_same_for_any_number_of_processes(tmp_path):
    pytest.importorskip("optuna")
    knobs = {"fabric.rows": [4, 8, 16], "dma.channels": [1, 2, 4, 8], "vector.lanes": [4, 8, 16]}
    asked = {**SMALL, "sampler": "optuna", "points": 14, "batch": 4, "seed": 3, "knobs": knobs,
             "workload": [{"builtin": "32"}]}  # fmt: skip
    one = Study.of(asked).run(tmp_path / "a", processes=1)
    two = Study.of(asked).run(tmp_path / "a", processes=2, resume=True)
    assert same(one.table()) == same(two.table())
    assert len({tuple(d.knobs.values()) for d in one.designs}) == 14
    assert (tmp_path / "a" / "optuna.log").stat().st_size > 1000


@pytest.mark.skipif(not MANY, reason="make nightly")
@pytest.mark.parametrize("seed", range(3))
def test_the_optimiser_finds_the_front_of_a_grid(tmp_path, seed):
    """200 points of 1,000: at least 98 % of the hypervolume of all."""
    pytest.importorskip("optuna")
    knobs = {
        "fabric.rows": [4, 8, 16, 32],
        "fabric.columns": "fabric.rows",
        "dma.channels": [1, 2, 3, 4, 6],
        "vector.lanes": [4, 8, 16, 32, 64],
        "clock_hz": {"from": 0.5e9, "to": 2.3e9, "count": 10},
    }
    asked = {**SMALL, "knobs": knobs, "workload": [{"builtin": "96x160x128"}]}
    every = Study.of(asked).run(tmp_path / "out", processes=1).good
    assert len(every) == 1000
    asked |= {"sampler": "optuna", "points": 200, "seed": seed}
    some = Study.of(asked).run(tmp_path / "out", processes=1, resume=True).good
    worst = [1.0001 * max(d.values[i] for d in every) for i in range(2)]
    whole, part = (hypervolume([d.values for d in ds], worst) for ds in (every, some))
    assert part >= 0.98 * whole


BAD = {
    "speed = 3\n": ("s.toml:1: a study has no 'speed'",),
    TEXT.replace('"grid"', "3"): ("s.toml:3: there is no sampler 3",),
    TEXT.replace('"32"', '"matmul x"'): ("s.toml:5: there is no workload 'matmul x'",),
    TEXT.replace("builtin", "file"): ("s.toml:5: ", "32: there is no such file"),
    TEXT.replace("fabric.rows\" =", "fabric.row\" ="): ("s.toml:9: the machine has no 'fabric.row'", "fabric.rows"),
    TEXT.replace("[1, 4]", "[]"): ("s.toml:11: 'dma.channels' has no values",),
    TEXT.replace("[1, 4]", "[1, 1.5]"): ("s.toml:11: 'dma.channels' must be an integer",),
    TEXT.replace("[1, 4]", "[1, -4]"): ("s.toml:11: 'dma.channels' must be positive",),
    TEXT.replace("[1, 4]", '"l9.tiles"'): ("s.toml:11: 'l9.tiles' is no key of the machine",),
    TEXT.replace("[8, 16]", '"fabric.columns"'): ("s.toml:8: knobs depend on each other",),
    'constraints = [\n  "area_mm2 <= 3",\n  "cycels <= 4",\n]\n' + TEXT: (
        "s.toml:3: there is no figure 'cycels'", "cycles"),
    'objectives = ["seconds(bert)"]\n' + TEXT: ("s.toml:1: there is no workload 'bert'",),
    'base = "huge"\n' + TEXT: ("s.toml:1: there is no machine 'huge'",),
    "points = 0\n" + TEXT: ("s.toml:1: 'points' is a whole number",),
    "points = 3\n" + TEXT: ("s.toml:1: the grid has 8 points, the budget 3",),
    TEXT + "[proxy]\nkeep = 3\n": ("s.toml:13: 'keep' is the share",),
    TEXT + "clock_hz = 3\n": ("s.toml:13: not TOML",),
    TEXT[: TEXT.index("[knobs]")]: ("s.toml: a study needs knobs",),
    TEXT + '[formulas]\ncycles = "3"\n': ("s.toml:14: a formula cannot be called 'cycles'",),
    TEXT + "[formulas]\nx = \"open('f')\"\n": ("s.toml:14: there is no workload 'f'",),
}  # fmt: skip


@pytest.mark.parametrize("number", range(len(BAD)))
def test_a_mistake_is_said_with_its_line(number, tmp_path, monkeypatch):
    text, words = list(BAD.items())[number]
    monkeypatch.chdir(tmp_path)
    Path("s.toml").write_text(text)
    with pytest.raises(KpuError) as e:
        Study.load("s.toml")
    for word in words:
        assert word in str(e.value)


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("s.toml").write_text(TEXT)
    assert main(["s.toml", "--processes", "1"]) == 0
    out = capsys.readouterr().out
    assert "8 points: 8 ok" in out
    assert "table.csv" in out
    lines = Path("s.results/table.csv").read_text().splitlines()
    assert len(lines) == 10
    if Path("s.results/table.parquet").exists():
        import pyarrow.parquet as parquet

        assert parquet.read_table("s.results/table.parquet").num_rows == 9
    assert main(["s.toml"]) == 1
    assert "--resume" in capsys.readouterr().err
    row = next(Path("s.results").glob("rows/*/*.json"))
    assert main(["evaluate", str(row), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    kept = json.loads(row.read_text())["row"]
    assert {k: v for k, v in again.items() if k not in MEASURED} == {
        k: v for k, v in kept.items() if k not in MEASURED
    }
    assert main(["s.toml", "--resume", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["table"]) == 9


def test_the_precision_of_a_workload(tmp_path):
    """Short floats: half the bytes (or less: their schedules load nothing twice), a faster array."""
    products = [
        {"name": kind, "builtin": "matmul 96x64x128", "precision": kind}
        for kind in ("f32", "f16", "bf16")
    ]
    asked = {**SMALL, "workload": products, "knobs": {"dma.channels": [4]}}
    rows = Study.of(asked).run(tmp_path / "o", processes=1).table()
    by = {row["workload"]: row for row in rows}
    once = 2 * (96 * 64 + 64 * 128 + 96 * 128)
    for kind in ("f16", "bf16"):
        assert once <= by[kind]["external_bytes"] <= by["f32"]["external_bytes"] / 2
        assert by[kind]["cycles"] < by["f32"]["cycles"]
    with pytest.raises(KpuError, match="'precision' is f32, f16 or bf16, got 'i8'"):
        Study.of({**SMALL, "workload": [{"builtin": "32", "precision": "i8"}]})
