"""The report's page without its contents: style and script, inline, nothing from a network."""

from __future__ import annotations

from html import escape

STYLE = """
:root{--ink:#1b1f24;--soft:#59636e;--line:#d1d9e0;--page:#fff;--card:#f6f8fa;--grid:#e3e8ee;
--dma:#d55e00;--mover:#0072b2;--streamer:#00906a;--busy:#0072b2;--fabric:#7a5195;--slot:#c9406b;
--engine:#8a6d3b;--tensor:#4b5563;--vector:#9a8c00;--idle:#dfe4ea;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa6b2;--line:#3a424c;--page:#0f1318;
--card:#171c23;--grid:#252c35;--dma:#ff8c42;--mover:#4aa8ff;--streamer:#2ec99a;--busy:#3d8fd9;
--fabric:#b48ade;--slot:#ef6f95;--engine:#c9a25a;--tensor:#8b97a5;--vector:#d9ca3a;--idle:#2b323b}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1160px;padding:24px 32px 64px;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
h1{font-size:26px;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:19px;margin:40px 0 10px}
h3{font-size:15px;margin:18px 0 4px}
p{margin:6px 0}.soft,figcaption{color:var(--soft);font-size:13.5px}
figure{margin:0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:18px 0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px 14px}
.tile b{display:block;font-size:21px;font-weight:600;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:13px}
.scroll{overflow:auto;max-height:720px;border:1px solid var(--line);border-radius:8px}
table{border-collapse:separate;border-spacing:0;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th,td{padding:6px 12px;text-align:right;white-space:nowrap;border-top:1px solid var(--line)}
thead th{border-top:0;background:var(--card);position:sticky;top:0;z-index:2}
th.t,td.t{text-align:left}
th button{all:unset;cursor:pointer;font-weight:600}
th button:focus-visible{outline:2px solid var(--mover);outline-offset:2px}
th[aria-sort] button::after{content:" \\2191"}th[aria-sort=descending] button::after{content:" \\2193"}
svg{display:block;width:100%;height:auto}
svg text{font-size:12px;fill:var(--soft)}svg .axis{fill:var(--ink)}
svg .number{fill:var(--ink);font-weight:600}
svg.narrow{display:none}
.grid{stroke:var(--grid);fill:none}.roof{stroke-width:2;fill:none;stroke:var(--soft)}
.same{stroke:var(--soft);stroke-width:1;opacity:.55;fill:none}
.roof.dma{stroke:var(--dma)}.roof.mover{stroke:var(--mover)}.roof.streamer{stroke:var(--streamer)}
.roof.peak{stroke:var(--ink)}
circle{stroke:var(--page);stroke-width:1}
circle.dma{fill:var(--dma)}circle.mover{fill:var(--mover)}circle.streamer{fill:var(--streamer)}
.area{opacity:.75}.area.l3{fill:var(--dma)}.area.l2{fill:var(--mover)}
.work{fill:var(--busy)}.rail{fill:var(--idle);opacity:.45}.call0{fill:var(--fabric)}.call1{fill:var(--vector)}
.limit{stroke:var(--ink);stroke-dasharray:5 4;fill:none}
.key{display:flex;flex-wrap:wrap;gap:4px 16px;margin:8px 0;font-size:13px;color:var(--soft)}
.key i{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:6px}
.bars{display:grid;grid-template-columns:max-content 1fr max-content;gap:7px 12px;align-items:center}
.bar{display:flex;height:22px;border-radius:4px;overflow:hidden;background:var(--idle)}
.bar span{display:block;height:100%;min-width:0}
.bars div:nth-child(3n){font-size:13px;color:var(--soft);font-variant-numeric:tabular-nums}
.busy{background:var(--busy)}.dma-data{background:var(--dma)}.mover-data{background:var(--streamer)}
.fabric-data{background:var(--fabric)}.vector-data{background:var(--vector)}
.slot{background:var(--slot)}.turn,.engine{background:var(--engine)}.tensor{background:var(--tensor)}
.idle{background:var(--idle)}
details{border:1px solid var(--line);border-radius:8px;margin:8px 0;background:var(--card)}
summary{cursor:pointer;padding:8px 14px;font-weight:600}
summary .soft{font-weight:400}
details>*:not(summary){margin:0 14px 12px}
pre{overflow:auto;max-height:70vh;background:var(--page);border:1px solid var(--line);padding:10px;
border-radius:6px;font:12.5px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;tab-size:2}
pre.wrap{white-space:pre-wrap;overflow-wrap:anywhere}
@media(max-width:700px){body{padding:16px 14px 48px}svg.wide{display:none}svg.narrow{display:block}
svg text{font-size:11.5px}.bars{grid-template-columns:max-content 1fr max-content;gap:7px 8px}h1{font-size:21px}
.tiles{grid-template-columns:1fr 1fr}.tile b{font-size:18px}
table.kernels th:nth-child(-n+2),table.kernels td:nth-child(-n+2){position:sticky;left:0;
background:var(--card);width:46px;min-width:46px;max-width:46px;overflow:hidden}
table.kernels th:nth-child(2),table.kernels td:nth-child(2){left:46px;width:auto;min-width:0;
max-width:124px;text-overflow:ellipsis}
table.kernels th:nth-child(-n+2){z-index:3}}
@media print{.scroll{max-height:none}}
"""

SCRIPT = """
for (const table of document.querySelectorAll('table.sorts')) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector('button').addEventListener('click', () => {
    const key = row => row.cells[column].dataset.v ?? row.cells[column].textContent;
    const numeric = !head.classList.contains('t');
    const was = head.getAttribute('aria-sort');
    const down = was ? was === 'ascending' : numeric;
    heads.forEach(h => h.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const sign = down ? -1 : 1;
    const rows = [...table.tBodies[0].rows].sort((a, b) => sign * (numeric
      ? key(a) - key(b) : key(a).localeCompare(key(b), 'en', {numeric: true})));
    table.tBodies[0].append(...rows);
  }));
}
"""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""The page may load nothing."""


def page(title: str, body: str) -> str:
    """The whole document."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n"
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
