"""The page: self-contained, complete, and laid out right in a browser where there is one."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from kpu_ir.pipeline import compile
from kpu_ir.report.charts import Frame, placed, steps_of, ticks
from kpu_ir.report.html import product_traffic, report, scaled, write_report
from kpu_ir.report.roofline import roofline, speed_text

COMMAND = "kpu-run net.onnx --set l2.banks=4 --report <net>.html"


@pytest.fixture(scope="module")
def page(compiled):
    return report(compiled, compiled.summary(), COMMAND)


class Checker(HTMLParser):
    """Tags that are closed in order; what they would load; the text."""

    VOID = {"meta", "link", "br", "img", "input", "hr"}

    def __init__(self):
        super().__init__()
        self.open, self.loads, self.text, self.tags = [], [], "", []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [v for k, v in attrs if k in ("src", "href", "srcset", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def test_the_page_is_well_formed_and_loads_nothing(page):
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert checker.loads == []
    assert not re.search(r"https?://|url\(|@import", page)
    assert "default-src 'none'" in page


def test_the_page_has_every_section(page, compiled):
    checker = Checker()
    checker.feed(page)
    for text in (
        "Roofline", "Kernels", "What each engine did", "Critical path", "Memories", COMMAND,
        "kernel.matmul", "tile.matmul", "dma.matmul", f"{compiled.cycles:,}", "l2.banks = 8",
        *(c.label for c in compiled.program.calls),
    ):  # fmt: skip
        assert text in checker.text, text


def test_the_cells_of_each_engine_add_up_to_the_run(page, compiled):
    cells = re.search(r"Every cause, in cycles.*?<tbody>(.*?)</tbody>", page, re.S)[1]
    total = dict.fromkeys(compiled.timing.busy, 0)
    for row in re.findall(r"<tr>(.*?)</tr>", cells):
        engine, _, cycles, _ = re.findall(r">([^<>]*)</td>", row)
        total[html.unescape(engine)] += int(cycles.replace(",", ""))
    assert set(total.values()) == {compiled.cycles}


def test_points_lie_under_their_roofs(compiled):
    roofs = roofline(compiled.timing.calls, compiled.timing, compiled.machine)
    assert {p.level for p in roofs.points} == {"dma", "mover", "streamer"}
    for p in roofs.points:
        assert p.speed <= 1.0001 * min(roofs.top, roofs.bandwidth[p.level] * p.intensity)


def test_a_program_that_only_moves_data_has_a_page():
    from kpu_ir.frontends.python.graph import Graph

    g = Graph()
    g.output("y", g.input("x", (40, 24)).transpose(1, 0))
    compiled = compile(g, search="none")
    assert "only moves" in report(compiled, compiled.summary(), "")


def test_names_are_escaped(compiled):
    summary = compiled.summary()
    text = report(compiled, type(summary)(**{
        **{f: getattr(summary, f) for f in summary.__slots__}, "source": "<script>alert(1)</script>",
    }), "")  # fmt: skip
    assert "<script>alert" not in text


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.6, 30, [1, 2, 5, 10, 20]), (0.5, 2000, [1, 10, 100, 1000])]
)
def test_ticks(low, high, expected):
    assert ticks(low, high) == expected


def test_round_steps():
    assert steps_of(1744, 4) == [0, 500, 1000, 1500]
    assert steps_of(0, 4) == [0]
    assert speed_text(1.024e12) == "1.02 Top/s"
    assert speed_text(5) == "5 op/s"


CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)

PROBE = """
<script>
const frame = document.querySelector('iframe');
frame.addEventListener('load', () => {
  const d = frame.contentDocument, root = d.documentElement, found = {};
  found.overflow = root.scrollWidth - frame.clientWidth;
  found.outside = [...d.querySelectorAll('body > *, .tile, .bar, svg, figure')].filter(e => {
    const r = e.getBoundingClientRect();
    return r.width && (r.left < -0.5 || r.right > frame.clientWidth + 0.5);
  }).map(e => e.tagName);
  found.shown = [...d.querySelectorAll('svg')].filter(e => e.getBoundingClientRect().width)
    .map(e => e.getAttribute('class'));
  found.clipped = [...d.querySelectorAll('svg text')].filter(t => {
    const r = t.getBoundingClientRect(), s = t.ownerSVGElement.getBoundingClientRect();
    return r.width && (r.left < s.left - 1 || r.right > s.right + 1 || r.bottom > s.bottom + 1);
  }).map(t => t.textContent);
  found.small = [...d.querySelectorAll('svg text')].filter(t => {
    const r = t.getBoundingClientRect(); return r.width && r.height < 11;
  }).length;
  const scroll = d.querySelector('table.kernels').parentElement;
  const places = () => [0, 1].map(n =>
    Math.round(d.querySelector('table.kernels tbody tr').cells[n].getBoundingClientRect().left));
  found.still = places(); scroll.scrollLeft = 200; found.scrolled = places(); scroll.scrollLeft = 0;
  const column = () => [...d.querySelectorAll('table.kernels tbody tr')].map(r => +r.cells[2].dataset.v);
  const head = d.querySelectorAll('table.kernels th button')[2];
  found.before = column(); head.click(); found.down = column(); head.click(); found.up = column();
  const result = document.createElement('pre');
  result.id = 'found'; result.textContent = JSON.stringify(found); document.body.append(result);
});
</script>
"""


def probe(page, width, folder):
    """What a browser makes of the page at a width."""
    frame = f'<iframe width="{width}" height="900" style="border:0" srcdoc="{html.escape(page)}"></iframe>'
    (folder / "probe.html").write_text(f"<!doctype html><meta charset=utf-8><body>{frame}{PROBE}")
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile",
         "--virtual-time-budget=5000", "--dump-dom", f"file://{folder}/probe.html"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stderr[-2000:]
    return json.loads(html.unescape(found[1]))


@pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium here (apt-get install chromium)")
@pytest.mark.parametrize(("width", "kind"), [(1280, "wide"), (400, "narrow")])
def test_the_layout_in_a_browser(page, tmp_path, width, kind):
    found = probe(page, width, tmp_path)
    assert found["overflow"] <= 0, "the page does not scroll sideways"
    assert found["outside"] == []
    assert set(found["shown"]) == {kind}
    assert found["clipped"] == []
    assert found["small"] == 0
    if kind == "narrow":
        assert found["scrolled"] == found["still"], (
            "number and name of a kernel stay in their places"
        )
    assert found["down"] == sorted(found["before"], reverse=True)
    assert found["up"] == sorted(found["before"])


def test_the_file_is_written_whole(compiled, tmp_path):
    write_report(compiled, compiled.summary(), tmp_path / "out.html", COMMAND)
    assert (tmp_path / "out.html").read_text().endswith("</html>\n")


def test_numbers_of_points_keep_apart():
    frame = Frame(360, 320)
    words = [(200.0 + n, 100.0 + n, "1, 2, 3") for n in range(12)]
    found = list(placed(words, [(200.0, 100.0, 5)], frame))
    assert 2 <= len(found) < len(words)
    boxes = [(x, y - 11, x + 7.5 * len(text), y + 2) for x, y, text in found]
    for n, a in enumerate(boxes):
        assert frame.left < a[0] < a[2] < frame.width
        for b in boxes[:n]:
            assert a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3]


def test_the_difference_from_the_reference_is_shown(compiled):
    summary = replace(compiled.summary(), max_rel_error=0.0013, max_abs_error=1.0)
    assert "reference by 0.0013 of" in report(compiled, summary, "")


def test_the_page_has_a_timeline_and_no_path_for_a_title(compiled):
    summary = replace(compiled.summary(), source="/some/where/net.onnx")
    text = report(compiled, summary, "kpu-run x")
    assert "<title>net.onnx on the default machine</title>" in text
    assert text.count('aria-label="when each engine worked"') == 2  # wide and narrow
    for engine in ("dma", "mover", "fabric", "vector"):
        assert f"<title>{engine}: busy" in text
    assert "one engine at work" in text
    moved, least = product_traffic(compiled, summary)
    assert least <= moved < sum(summary.bytes["external"].values())  # which has the residual, too


def test_a_long_run_is_not_stepped(compiled, monkeypatch):
    monkeypatch.setattr("kpu_ir.report.html.STEPPED_AT_MOST", 10)
    text = report(compiled, compiled.summary(), COMMAND)
    assert "is not stepped" in text
    assert "What each engine did" in text


@pytest.mark.parametrize(
    ("micro", "text"),
    [
        (14.93, "14.93 µJ"),
        (137819.78, "137.82 mJ"),
        (0.0123, "12.30 nJ"),
        (0, "0.00 nJ"),
        (2e6, "2.00 J"),
    ],
)
def test_millionths(micro, text):
    assert scaled(micro, "J") == text
