"""The page of a study, and the questions before one."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from draws import MANY

from kpu_ir import Machine, Options, Study
from kpu_ir.explore.drive import Local
from kpu_ir.explore.insight import backwards, effects
from kpu_ir.explore.page import study_page, write_page
from kpu_ir.explore.plot import draw_front
from kpu_ir.explore.questions import compare, sensitivity, side, turned
from kpu_ir.explore.store import Store
from kpu_ir.explore.workload import Workload
from kpu_ir.tools.explore import main

ASKED = {
    "workload": [{"builtin": "32"}, {"name": "<b>odd</b>", "builtin": "matmul 48"}],
    "search": "none",
    "fuse": "epilogue",
    "knobs": {"fabric.rows": [8, 16], "dma.channels": [1, 4], "external.latency": [10, 112]},
    "constraints": ['cycles("32") <= 1500'],
    "sampler": "grid",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KPU_IR_CACHE", str(folder / "cache"))
        return Study.of(ASKED).run(folder / "out", processes=1), folder / "out"


def test_the_page_has_every_point_and_loads_nothing(found):
    results, folder = found
    text = study_page(results, folder, "kpu-explore study.toml")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    assert [p["n"] for p in data["points"]] == list(range(9))
    assert {p["s"] for p in data["points"]} == {"base", "ok", "rejected"}
    assert "kpu-explore evaluate" in data["points"][1]["c"][0]
    assert "<b>odd</b>" not in text.replace("\\u003cb>odd", "")
    assert not re.search(r'(src|href)="?(https?:)?//', text)
    assert "matters" in text or "explains" in text
    assert write_page(results, folder, "x").read_text().endswith("</html>\n")


CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)

PROBE = """<script>
const f = document.querySelector('iframe');
f.addEventListener('load', () => {
  const d = f.contentDocument, root = d.documentElement, found = {};
  found.overflow = root.scrollWidth - f.clientWidth;
  found.outside = [...d.querySelectorAll('body > *, .tile, svg')].filter(e => {
    const r = e.getBoundingClientRect();
    return r.width && !e.closest('#parallel') && (r.left < -0.5 || r.right > f.clientWidth + 0.5);
  }).map(e => e.tagName);
  found.points = d.querySelectorAll('#front circle').length;
  found.lines = d.querySelectorAll('#parallel path').length;
  found.picked = d.getElementById('picked').textContent;
  const choose = (name, value) => {
    const s = [...d.querySelectorAll('#controls label')].find(l => l.firstChild.textContent === name)
      .querySelector('select');
    s.value = value; s.dispatchEvent(new Event('change'));
  };
  choose('dma.channels', '4');
  found.filtered = d.querySelectorAll('#front circle').length;
  choose('points', 'front');
  found.front = d.querySelectorAll('#front circle').length;
  const base = d.querySelector('#front circle.base');
  base.dispatchEvent(new Event('click'));
  found.base = d.getElementById('picked').textContent;
  const result = document.createElement('pre');
  result.id = 'found'; result.textContent = JSON.stringify(found); document.body.append(result);
});
</script>"""


@pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here (apt-get install chromium)")
@pytest.mark.parametrize("width", [400, 1280] if MANY else [400])
def test_the_page_in_a_browser(found, tmp_path, width):
    results, folder = found
    page = html.escape(study_page(results, folder, "x"))
    frame = f'<iframe width="{width}" height="900" style="border:0" srcdoc="{page}"></iframe>'
    (tmp_path / "probe.html").write_text(f"<!doctype html><meta charset=utf-8>{frame}{PROBE}")
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile",
         "--virtual-time-budget=5000", "--dump-dom", f"file://{tmp_path}/probe.html"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    text = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)
    assert text, done.stderr[-2000:]
    seen = json.loads(html.unescape(text[1]))
    assert seen["overflow"] <= 0
    assert seen["outside"] == []
    assert (seen["points"], seen["lines"]) == (9, 9)
    assert (seen["filtered"], seen["front"]) == (5, 1 + len(results.front))  # with the base
    assert f"point {results.winner.number}, the winner" in seen["picked"]
    assert seen["base"].startswith("base")


def test_pictures_are_the_same_every_time(found, tmp_path):
    pytest.importorskip("matplotlib")
    first = draw_front(found[0], tmp_path / "front")
    before = first[0].read_bytes()
    assert draw_front(found[0], tmp_path / "front")[0].read_bytes() == before


def test_effects_are_shares_of_what_differs(found):
    own = [e for e in effects(found[0]) if e.workload == "32"]
    assert {e.knob for e in own} == set(ASKED["knobs"])
    assert 0.9 < sum(e.share for e in own) <= 1 + 1e-9  # a full grid: knobs are independent
    worst = own[0]
    assert worst.share == max(e.share for e in own)
    assert "falls" in next(e for e in own if e.knob == "dma.channels").sentence()
    assert "rises" in next(e for e in own if e.knob == "external.latency").sentence()


def test_better_and_slower_is_told(found):
    results, _ = found
    assert backwards(results) == []
    rows = [d.rows[0]["cycles"] for d in results.designs]
    slow = next(d for d in results.designs if d.knobs["dma.channels"] == 4)
    kept = slow.rows[0]["cycles"]
    slow.rows[0]["cycles"] = max(rows) * 2
    try:
        pairs = backwards(results)
        assert {p.better for p in pairs} == {slow.number}
        others = {d.number: d for d in results.designs}
        for pair in pairs:
            worse = others[pair.worse].knobs
            assert worse["fabric.rows"] == slow.knobs["fabric.rows"]  # of these, more is not better
            assert worse["dma.channels"] <= slow.knobs["dma.channels"]
    finally:
        slow.rows[0]["cycles"] = kept


def test_sensitivity_turns_every_part_and_ranks(tmp_path, monkeypatch):
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path / "cache"))
    base = Machine.preset("default")
    few = {"dma.channels", "external.latency", "l1.buffer_bytes", "fabric.chained"}
    monkeypatch.setattr(
        "kpu_ir.explore.questions.turned",
        lambda machine, factor: [v for v in turned(machine, factor) if v[0] in few],
    )
    options = Options(search="none", fuse="epilogue")
    work = [Workload.of({"builtin": "32"}, Path())]
    table = sensitivity(base, work, options, 2048 / 2, Local(Store(tmp_path), 1))
    assert {row["knob"] for row in table.rows} == few
    times = {
        row["value"]: row.get("seconds") for row in table.rows if row["knob"] == "dma.channels"
    }
    assert times[1] > 0 >= times[4096]
    assert any("l1.buffer_bytes" in row["reason"] for row in table.rows)
    assert "matters most" in table.notes[0]
    every = {name for name, _, _ in turned(base, 2)}
    assert {"l2.banks", "clock_hz", "streamer.bytes_per_cycle"} <= every
    assert not any(name.startswith(("energy", "area")) for name in every)


def test_two_machines_are_told_apart_by_layer(tmp_path, monkeypatch):
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path / "cache"))
    a, b = Machine.preset("default"), Machine().with_settings(["dma.channels=1", "name=narrow"])
    work = Workload.of({"builtin": "digits MLP"}, Path())
    options = Options(search="none", fuse="epilogue")
    one, two = side(a, work, options), side(b, work, options)
    table = compare(one, two, "digits")
    assert sum(row["a"] or 0 for row in table.rows) == one.cycles
    assert sum(row["b"] or 0 for row in table.rows) == two.cycles
    assert "narrow takes" in table.notes[0]
    assert "bound by external" in table.notes[0]


def test_the_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KPU_IR_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert main(["roofline", "matmul 64", "32", "--search", "none", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["workload"] for row in rows] == ["matmul 64", "32"]
    assert all(0 < row["fraction"] <= 1 for row in rows)
    assert main(["compare", "default", "minimal", "32", "--search", "none"]) == 0
    assert "x the time" in capsys.readouterr().out.replace("\n", " ")
    for bad in (["sensitivity", "nosuch"], ["compare", "default", "no", "32"],
                ["roofline", "x.onnx"], ["none.toml"], ["evaluate", "none.json"],
                ["sensitivity", "32", "--factor", "1"], ["s.toml", "--processes", "0"]):  # fmt: skip
        assert main(bad) == 1
        assert capsys.readouterr().err.startswith("kpu-explore: error: ")
