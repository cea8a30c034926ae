"""kpu-bench: what it prints, what it refuses, and how baselines are compared and written."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from kpu_ir.bench import baseline, measure, programs, quantized, validate
from kpu_ir.bench.table import Column, Table, share, whole
from kpu_ir.bench.workloads import Shape, matmul, outlined, room_for
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.machine import Machine
from kpu_ir.support.errors import KpuError
from kpu_ir.tools.bench import SECTIONS, main, parser
from kpu_ir.tuning.search import BUDGET

DEFAULT, IDEAL = Machine.preset("default"), Machine.preset("ideal")


@pytest.fixture(autouse=True)
def short_searches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(BUDGET, "quick", 2)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("kpu-bench: error: ")
    return captured.err


# -- tables ---------------------------------------------------------------------------------------


def test_a_table_in_markdown() -> None:
    columns = [Column("name", "name"), Column("n", "count", whole), Column("part", "part", share)]
    table = Table(
        "Things", columns, [{"name": "a|b", "n": 1234, "part": 0.5}, {"name": "c"}], ("So.",)
    )
    assert table.markdown().splitlines() == [
        "**Things**", "", "| name | count | part |", "| --- | --: | --: |",
        "| a\\|b | 1,234 | 50.0 % |", "| c | - | - |", "", "So.",
    ]  # fmt: skip


# -- shapes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "0", "-4", "4x4", "4x4x4x4", "axbxc", "4x0x4", "4X4X4", "4.0"]
)
def test_what_is_no_product(text: str) -> None:
    with pytest.raises(KpuError, match="not a product"):
        Shape.parse(text)


def test_the_roofline_counts_idle_rows_and_columns() -> None:
    assert Shape.parse("64") == Shape(64, 64, 64)
    assert Shape(64, 64, 64).roofline(DEFAULT) == 3 * 64 * 64 * 4 / 32  # 66.7 % of peak
    assert Shape(1000, 1000, 1000).padded_macs(DEFAULT) == 1008 * 1008 * 1000
    assert Shape(17, 1600, 1600).padded_macs(DEFAULT) == 17 * 1600 * 1600  # b stays in the array
    assert Shape(17, 1600, 33).padded_macs(DEFAULT) == 17 * 48 * 1600


def test_external_memory_is_raised_only_where_it_must_be() -> None:
    assert room_for(DEFAULT, 1 << 30) == (DEFAULT, "")
    machine, note = room_for(DEFAULT, 3 << 30)
    assert (machine.external.bytes, note) == (4 << 30, "external.bytes raised to 4 GiB")


# -- subcommands ----------------------------------------------------------------------------------


def test_matmul(capsys: pytest.CaptureFixture[str]) -> None:
    data = printed(capsys, "matmul", "64", "17x40x33", "--machine", "ideal")
    square, odd = data["tables"][0]["rows"]
    assert (data["command"].split()[1], square["shape"], odd["shape"]) == (
        "matmul",
        "64",
        "17x40x33",
    )
    assert square["peak_fraction"] >= 0.5
    assert square["allowed_fraction"] == pytest.approx(2 / 3)
    assert square["roofline_fraction"] == pytest.approx(square["peak_fraction"] * 1.5)
    assert square["external_words"] >= square["io_bound_words"] == 3 * 64 * 64
    assert 0 < odd["roofline_fraction"] < 1
    assert main(["matmul", "64", "--objective", "bytes", "--machine", "ideal"]) == 0
    out = capsys.readouterr().out
    assert "schedules by bytes" in out
    assert f"{square['io_bound_words']:,}" in out


def test_the_limit_of_a_product_of_bytes_by_hand() -> None:
    """128: 2,048 cycles of the array; 112 of latency; 32 lanes by 64 values of k, 4 bytes a cycle short of 32
    by refreshes and 64 by movers; 46 registers and 256 results."""
    byte = 1 / (32 * (1 - 420 / 7812)) + 1 / 64
    expected = 128**3 / 1024 + 112 + 32 * 64 * byte + 46 + 256 * byte
    assert quantized.limit(Shape(128, 128, 128), DEFAULT) == pytest.approx(expected)
    assert quantized.padded_macs(Shape(16, 16, 5), DEFAULT, 4) == 16 * 16 * 8
    # one row by 4096 x 4096 bytes: memory, and a fold of one row
    row = Shape(1, 4096, 4096)
    assert quantized.roofline(row, DEFAULT) == row.words / (32 * (1 - 420 / 7812))
    assert quantized.limit(row, IDEAL) == row.words / 32 + 112 + 46 + (17 * 64 + 16) * (
        1 / 32 + 1 / 64
    )


def test_products_of_bytes_keep_to_their_limit(capsys: pytest.CaptureFixture[str]) -> None:
    rows = printed(capsys, "quantized", "33x17x50", "128", "256")["tables"][0]["rows"]
    assert all(row["limit"] <= row["cycles"] for row in rows)
    assert all(row["external_bytes"] >= row["compulsory_bytes"] for row in rows)
    small, square = (row["limit_fraction"] for row in rows[1:])
    assert square >= 0.85
    assert 0.68 <= small < 0.85  # all of b comes first: docs/quantization.md


def test_tiles(capsys: pytest.CaptureFixture[str]) -> None:
    rows = printed(capsys, "tiles", "64")["tables"][0]["rows"]
    assert rows[0]["change"] == "chosen"
    assert rows[0]["slower"] == 0
    tried = [row for row in rows if "cycles" in row]
    assert len(tried) > 12
    assert max(row["slower"] for row in tried) > 0.05
    assert all(row["note"] for row in rows if "cycles" not in row)


def test_engines_reach_their_peaks_and_never_more() -> None:
    """On ``default`` less what refreshes, set-up and issue leave of the largest tiles."""
    refresh = 1 - DEFAULT.external.refresh_cycles / DEFAULT.external.refresh_interval
    for machine, dma, other in ((IDEAL, 0.99, 0.99), (DEFAULT, 0.98 * refresh, 0.98)):
        best: dict[str, float] = {}
        for row in measure.bandwidth_table(measure.Setting(machine)).rows:
            most = refresh if machine is DEFAULT and row["engine"] == "DMA" else 1
            assert row["fraction"] <= most
            best[row["engine"]] = max(best.get(row["engine"], 0), row["fraction"])
        assert set(best) == {"DMA", "block movers", "streamers"}
        assert best.pop("DMA") > dma
        assert min(best.values()) > other


def test_a_copy_reaches_its_goal() -> None:
    """On ``default`` a refresh takes 5.4 % and each turn 36 cycles on average, beside setup and issue."""
    for machine, goal in ((IDEAL, 0.95), (DEFAULT, 0.85)):
        timing = programs.timed(programs.copy(64, 64, 512), machine)
        counts, moved = timing.counts, 512 * 64 * 64 * 4
        assert counts["external.read"] == counts["external.write"] == moved
        assert 2 * moved / timing.cycles / machine.bandwidth["dma"] >= goal


def test_activation(capsys: pytest.CaptureFixture[str]) -> None:
    rows = printed(capsys, "activation", "128")["tables"][0]["rows"]
    assert [row["what"] for row in rows] == ["product", "+ bias", "+ bias, relu", "+ bias, gelu"]
    assert rows[0]["cost"] == 0
    for row in rows[1:]:
        assert row["gain"] > 1
        assert row["fused_bytes"] < row["unfused_bytes"]


def test_graph(capsys: pytest.CaptureFixture[str]) -> None:
    rows = printed(capsys, "graph", "--layers", "3")["tables"][0]["rows"]
    assert [(row["search"], row["layers"]) for row in rows] == [
        ("quick", 1), ("quick", 3), ("none", 1), ("none", 3),
    ]  # fmt: skip
    assert rows[1]["cycles_ratio"] <= 3
    assert rows[1]["dma_ops"] < 3 * rows[0]["dma_ops"]


def test_roofline(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    some = {
        "matmul 64": lambda: matmul(Shape(64, 64, 64)),
        "thin": lambda: matmul(Shape(1, 64, 64)),
    }
    monkeypatch.setattr("kpu_ir.bench.plot.WORKLOADS", some)
    out = tmp_path / "roofline"
    rows = printed(capsys, "roofline", "--out", str(out))["tables"][0]["rows"]
    assert [row["workload"] for row in rows] == list(some)
    assert all(0 < row["fraction"] <= 1 for row in rows)
    svg = out.with_suffix(".svg").read_text()
    assert "<svg" in svg
    assert "matmul 64" in svg
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    printed(capsys, "roofline", "--out", str(out))
    assert out.with_suffix(".svg").read_text() == svg


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["matmul", "12x"], "not a product"),
        (["tiles", "12x13"], "not a product"),
        (["matmul", "64", "--machine", "nothing"], "there is no machine"),
        (["matmul", "64", "--set", "l2.bank=4"], "unknown key"),
        (["roofline", "--out", "/nowhere/x"], "the folder does not exist"),
        (["graph", "--layers", "0"], "must be positive"),
        (["all", "--out", "/nowhere/x.md"], "the folder does not exist"),
        (["baseline", "--allow-regression"], "does nothing without --update"),
        (["baseline", "--file", "/nowhere/x.toml"], "the folder does not exist"),
    ],
)
def test_refusals(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert message in refused(capsys, *arguments)


def test_every_section_is_a_command() -> None:
    for _, commands in SECTIONS:
        for text in commands:
            parser().parse_args(text.split())


# -- baselines ------------------------------------------------------------------------------------

SCHEDULE = Schedule(tile=(32, 32, 64), lhs="l3", defer=3)
ONE = baseline.Baseline(1000, 5000, 123456.7, {"matmul_0": SCHEDULE})


def written(baselines: Mapping[str, baseline.Baseline], path: Path) -> None:
    baseline.write(baselines, DEFAULT, path)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of one baseline that holds."""
    monkeypatch.setattr(baseline, "WORKLOADS", {"a": lambda: matmul(Shape(64, 64, 64))})
    monkeypatch.setattr(baseline, "TYPED", {})
    path = tmp_path / "b.toml"
    module = outlined(matmul(Shape(64, 64, 64)))
    written({"a": baseline.measured(module, DEFAULT, {"matmul_0": SCHEDULE})}, path)
    return path


def update_to(monkeypatch: pytest.MonkeyPatch, **found: baseline.Baseline) -> None:
    monkeypatch.setattr(baseline, "searched", lambda machine, say: found)


def test_the_file_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "b.toml"
    entries = {'a "b"': ONE, "two 2x2": replace(ONE, schedules={"x": Schedule(), "y": SCHEDULE})}
    written(entries, path)
    assert baseline.read(path) == entries
    assert baseline.read(tmp_path / "none.toml") == {}


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "a = 1",
        "[a]\ncycles = 1",
        "[a]\ncycles=1\nexternal_bytes=1\nenergy_pj=1\nschedules.f.tile=[0]",
    ],
)
def test_other_files_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str
) -> None:
    path = tmp_path / "b.toml"
    path.write_text(text)
    assert "not a file of baselines" in refused(capsys, "baseline", "--file", str(path))
    assert path.read_text() == text


def test_replaying_is_quiet_about_what_holds(
    capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    (row,) = printed(capsys, "baseline", "--file", str(file))["tables"][0]["rows"]
    assert row["state"] == "same"


def test_replaying_fails_on_any_change(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    (recorded,) = baseline.read(file).values()
    written({"a": replace(recorded, cycles=recorded.cycles + 1)}, file)
    assert "changed: a" in refused(capsys, "baseline", "--file", str(file))


def test_schedules_for_other_kernels_are_refused(
    capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    written({"a": replace(ONE, schedules={"other": SCHEDULE})}, file)
    assert "a: the kernels are matmul_0" in refused(capsys, "baseline", "--file", str(file))


def test_an_update_shows_and_writes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    written({"a": ONE, "old": ONE}, file)
    found = {"a": replace(ONE, cycles=1050, external_bytes=4000), "new": ONE}
    update_to(monkeypatch, **found)
    assert main(["baseline", "--update", "--file", str(file)]) == 0
    out = capsys.readouterr().out
    for text in ("1,000", "1,050", "+5.0 %", "-20.0 %", "changed", "new", "gone"):
        assert text in out
    assert baseline.read(file) == found


def test_more_than_five_percent_needs_a_word(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    written({"a": ONE}, file)
    before = file.read_text()
    grown = replace(ONE, external_bytes=5251)
    update_to(monkeypatch, a=grown)
    assert "a: external bytes +5.0 %" in refused(
        capsys, "baseline", "--update", "--file", str(file)
    )
    assert file.read_text() == before
    arguments = ["baseline", "--update", "--allow-regression", "--file", str(file)]
    assert main(arguments) == 0
    assert baseline.read(file) == {"a": grown}


def test_searching_afresh_finds_what_replays(file: Path) -> None:
    (found,) = baseline.searched(IDEAL, ["a"]).values()
    assert baseline.check("a", found, IDEAL) == found
    (recorded,) = baseline.read(file).values()
    assert found.cycles <= baseline.check("a", recorded, IDEAL).cycles


# -- audits ---------------------------------------------------------------------------------------


def test_an_audit_compares_with_what_chance_finds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BUDGET, "full", 4)
    (table,) = printed(capsys, "audit", "matmul 64", "--draws", "3")["tables"]
    (row,) = table["rows"]
    assert row["tried"] == 3
    assert row["full"] <= row["quick"]
    assert row["quick_gap"] == row["quick"] / row["best"] - 1
    assert "there is no kernel" in refused(capsys, "audit", "matmul 65")
    assert "must be positive" in refused(capsys, "audit", "--draws", "0")


def test_costs(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = printed(capsys, "costs", "matmul 64")["tables"][0]["rows"]
    assert row["spared"] < min(row["searched"], row["recorded"])
    assert row["costs"]["descriptors"] > row["costs"]["sync"] > 0
    assert "no workload" in refused(capsys, "costs", "matmul 63")


def test_validation(capsys: pytest.CaptureFixture[str]) -> None:
    """What was measured of external memory beside the model; published networks have their published work."""
    (table,) = printed(capsys, "validate", "--only", "memory")["tables"]
    off = {(row["pattern"], row["bytes"]): row["off"] for row in table["rows"]}
    assert abs(off["random", 4096]) <= 5
    assert len(off) == 31
    work = {"AlexNet": 0.666e9, "VGG-16": 15.3e9, "ResNet-50": 4.1e9}  # as the papers say
    for case in validate.PUBLISHED:
        macs = sum(layer.times * layer.macs for layer in case.layers)
        assert macs == pytest.approx(work[case.network.partition(",")[0]], rel=0.01)
    layer = validate.Layer(8, 6, 16, 3)
    small = validate.Published("gemmini", "one", [replace(layer, times=2)], "i8", 1, 1e4, "")
    (row,) = validate.published_table(measure.Setting(IDEAL), [small]).rows
    assert row["model"] % 2 == 0
    assert row["utilization"] == 2 * layer.macs / 256 / row["model"]
    assert row["error"] == row["model"] / 1e4 - 1
