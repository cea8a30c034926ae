"""Style and script of a study's page: a scatter that one can hover and filter, parallel coordinates."""

STYLE = """
#controls{display:flex;flex-wrap:wrap;gap:8px 14px;margin:8px 0;font-size:13.5px}
#controls label{display:flex;gap:6px;align-items:center;color:var(--soft)}
#controls select{font:inherit;color:var(--ink);background:var(--card);border:1px solid var(--line);
border-radius:6px;padding:3px 6px;max-width:190px}
#picked{min-height:96px;background:var(--card);border:1px solid var(--line);border-radius:8px;
padding:8px 14px;font-size:13.5px;overflow-wrap:anywhere}
#picked pre{margin:6px 0 0;max-height:none}
#front circle{fill:var(--mover);stroke:var(--page);stroke-width:1;cursor:pointer}
#front circle.off{fill:var(--soft);opacity:.45}#front circle.on{fill:var(--dma)}
#front circle.base{fill:var(--ink)}#front circle.hit{stroke:var(--ink);stroke-width:2.5}
#front path.front{fill:none;stroke:var(--dma);stroke-width:1.5}
#front svg,#parallel svg{touch-action:manipulation}
#parallel path{fill:none;stroke:var(--mover);stroke-width:1;opacity:.28}
#parallel path.off{stroke:var(--soft);opacity:.12}#parallel path.on{stroke:var(--dma);opacity:.75}
#parallel path.base{stroke:var(--ink);opacity:.8}
#parallel path.hit{stroke:var(--ink);stroke-width:3;opacity:1}
#parallel line{stroke:var(--line)}
#parallel .scroll,#parallel{max-height:none}
.two{display:grid;grid-template-columns:1fr 1fr;gap:16px}
.two details{display:none}
@media(max-width:700px){.two{grid-template-columns:1fr}}
"""

SCRIPT = """
(() => {
  const d = JSON.parse(document.getElementById('data').textContent);
  const NS = 'http://www.w3.org/2000/svg';
  const make = (kind, at, text) => {
    const e = document.createElementNS(NS, kind);
    for (const k in at) e.setAttribute(k, at[k]);
    if (text !== undefined) e.textContent = text;
    return e;
  };
  const axes = [
    ...d.objectives.map((o, i) => ({name: o.text, of: p => p.v[i]})),
    ...d.knobs.map((k, i) => ({name: k.name, of: p => +p.k[i]})),
  ];
  const number = v => {
    const a = Math.abs(v);
    if (a >= 1e5 || (a && a < 1e-3)) return v.toExponential(2).replace('e+', 'e');
    return (+v.toPrecision(4)).toLocaleString('en', {maximumFractionDigits: 10});
  };
  let x = 0, y = Math.min(1, axes.length - 1), picked = d.winner;
  const wanted = d.knobs.map(() => '');
  let only = 'all';
  const has = p => p.v.length && p.v.every(Number.isFinite);
  const kept = p => p.s === 'base' || (d.knobs.every((k, i) => wanted[i] === '' ||
    String(p.k[i]) === wanted[i]) && (only === 'all' || (only === 'ok' ? p.s === 'ok' : p.f)));
  const kind = p => p.s === 'base' ? 'base' : p.f ? 'on' : p.s === 'ok' ? '' : 'off';
  const order = p => p.s === 'base' ? 3 : p.f ? 2 : p.s === 'ok' ? 1 : 0;
  const shown = () => d.points.filter(p => has(p) && kept(p)).sort((a, b) => order(a) - order(b));

  const controls = document.getElementById('controls');
  const choose = (label, options, value, change) => {
    const l = document.createElement('label'), s = document.createElement('select');
    l.append(label, s);
    for (const [v, t] of options) {
      const o = document.createElement('option');
      o.value = v; o.textContent = t; s.append(o);
    }
    s.value = value;
    s.addEventListener('change', () => { change(s.value); draw(); });
    controls.append(l);
  };
  const named = axes.map((a, i) => [i, a.name]);
  choose('across', named, x, v => { x = +v; });
  choose('up', named, y, v => { y = +v; });
  choose('points', [['all', 'all'], ['ok', 'within constraints'], ['front', 'front']], only,
    v => { only = v; });
  d.knobs.forEach((k, i) => choose(k.name,
    [['', 'any'], ...k.values.map(v => [String(v), typeof v === 'number' ? number(v) : String(v)])],
    '', v => { wanted[i] = v; }));

  const scale = (values, log) => {
    const f = log ? Math.log : v => v;
    let low = Math.min(...values), high = Math.max(...values);
    if (low === high) { low = log ? low / 1.5 : low - 1; high = log ? high * 1.5 : high + 1; }
    return {low, high, log, at: v => 0.04 + 0.92 * (f(v) - f(low)) / (f(high) - f(low))};
  };
  const marks = (s, count) => {
    if (s.log) {
      const found = [];
      for (let e = Math.floor(Math.log10(s.low)); e <= Math.ceil(Math.log10(s.high)); e++)
        for (const m of [1, 2, 5]) { const v = m * 10 ** e; if (v >= s.low && v <= s.high) found.push(v); }
      const every = Math.ceil(found.length / count);
      return found.filter((v, i) => i % every === 0);
    }
    const rough = (s.high - s.low) / count, p = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map(m => m * p).find(v => v >= rough * 0.999);
    const found = [];
    for (let v = Math.ceil(s.low / step) * step; v <= s.high + step * 1e-6; v += step)
      found.push(+v.toPrecision(12));
    return found;
  };
  const ranged = i => {
    const values = d.points.filter(has).map(axes[i].of);
    const low = Math.min(...values), high = Math.max(...values);
    return scale(values, low > 0 && high / low > 8);
  };
  const pick = p => { picked = p.n; detail(); highlight(); };

  const front = () => {
    const box = document.getElementById('front');
    const w = Math.max(280, box.clientWidth), h = w < 600 ? 320 : 440, left = 66, low = 46;
    const svg = make('svg', {viewBox: `0 0 ${w} ${h}`, role: 'img', height: h,
      'aria-label': `${axes[x].name} and ${axes[y].name} of every machine`});
    const sx = ranged(x), sy = ranged(y);
    const px = v => left + sx.at(v) * (w - left - 12), py = v => h - low - sy.at(v) * (h - low - 12);
    for (const v of marks(sx, w / 110)) {
      svg.append(make('path', {class: 'grid', d: `M${px(v)} 12V${h - low}`}));
      svg.append(make('text', {x: px(v), y: h - low + 16, 'text-anchor': 'middle'}, number(v)));
    }
    for (const v of marks(sy, 6)) {
      svg.append(make('path', {class: 'grid', d: `M${left} ${py(v)}H${w - 12}`}));
      svg.append(make('text', {x: left - 6, y: py(v) + 4, 'text-anchor': 'end'}, number(v)));
    }
    svg.append(make('text', {class: 'axis', x: (left + w) / 2, y: h - 8, 'text-anchor': 'middle'},
      axes[x].name));
    svg.append(make('text', {class: 'axis', x: 14, y: (h - low) / 2, 'text-anchor': 'middle',
      transform: `rotate(-90 14 ${(h - low) / 2})`}, axes[y].name));
    const points = shown();
    const line = points.filter(p => p.f).sort((a, b) => axes[x].of(a) - axes[x].of(b));
    if (line.length > 1 && x < d.objectives.length && y < d.objectives.length)
      svg.append(make('path', {class: 'front', d: 'M' + line.map(p =>
        `${px(axes[x].of(p)).toFixed(1)} ${py(axes[y].of(p)).toFixed(1)}`).join('L')}));
    for (const p of points) {
      const c = make('circle', {class: kind(p), cx: px(axes[x].of(p)).toFixed(1),
        cy: py(axes[y].of(p)).toFixed(1), r: p.s === 'base' ? 7 : p.f ? 5 : 4, 'data-n': p.n});
      c.addEventListener('pointerenter', () => pick(p));
      c.addEventListener('click', () => pick(p));
      svg.append(c);
    }
    box.replaceChildren(svg);
  };

  const parallel = () => {
    const box = document.getElementById('parallel');
    const w = Math.max(box.clientWidth - 2, 92 * axes.length), h = 330;
    const svg = make('svg', {viewBox: `0 0 ${w} ${h}`, width: w, height: h, role: 'img',
      'aria-label': 'knobs and objectives of every machine'});
    svg.style.width = `${w}px`;
    const order = [...d.knobs.map((k, i) => d.objectives.length + i), ...d.objectives.map((o, i) => i)];
    const at = i => 50 + i * (w - 100) / Math.max(1, order.length - 1);
    const level = order.map(i => {
      if (i < d.objectives.length) { const s = ranged(i); return {of: p => s.at(axes[i].of(p)), s}; }
      const k = d.knobs[i - d.objectives.length], n = k.values.length;
      const place = new Map(k.values.map((v, j) => [String(v), n > 1 ? 0.04 + 0.92 * j / (n - 1) : .5]));
      return {of: p => place.get(String(p.k[i - d.objectives.length])), values: k.values, place};
    });
    const py = share => 276 - share * 236;
    for (const p of shown())
      svg.append(make('path', {class: kind(p), 'data-n': p.n, d: 'M' + level.map((l, j) =>
        `${at(j).toFixed(1)} ${py(l.of(p)).toFixed(1)}`).join('L')}));
    order.forEach((i, j) => {
      svg.append(make('line', {x1: at(j), x2: at(j), y1: py(0), y2: py(1)}));
      const words = axes[i].name.length > 15 ? axes[i].name.split(/(?<=[.])/) : [axes[i].name];
      words.forEach((t, n) => svg.append(make('text', {class: 'axis', x: at(j), y: 296 + 14 * n,
        'text-anchor': 'middle'}, t.length > 17 ? t.slice(0, 16) + '…' : t)));
      const l = level[j];
      const ticks = l.s ? marks(l.s, 5).map(v => [v, l.s.at(v)]) :
        l.values.filter((v, n) => n % Math.ceil(l.values.length / 8) === 0)
          .map(v => [v, l.place.get(String(v))]);
      for (const [v, share] of ticks)
        svg.append(make('text', {x: at(j) + 4, y: py(share) - 3},
          typeof v === 'number' ? number(v) : String(v)));
    });
    box.replaceChildren(svg);
  };

  const detail = () => {
    const box = document.getElementById('picked'), p = d.points.find(q => q.n === picked);
    if (!p) { box.textContent = 'No machine is picked.'; return; }
    const b = document.createElement('b');
    b.textContent = p.s === 'base' ? 'base' : `point ${p.n}` + (p.n === d.winner ? ', the winner' : '') +
      (p.f ? ', on the front' : '') + (p.s === 'ok' ? '' : `: ${p.s}, ${p.w}`);
    const figures = document.createElement('div');
    figures.textContent = [...d.objectives.map((o, i) => `${o.text} ${p.v.length ? number(p.v[i]) : '-'}`),
      ...d.knobs.map((k, i) => `${k.name} = ${typeof p.k[i] === 'number' ? number(p.k[i]) : p.k[i]}`)].join(', ');
    const pre = document.createElement('pre');
    pre.className = 'wrap';
    pre.textContent = p.c.join('\\n');
    box.replaceChildren(b, figures, ...(p.c.length ? [pre] : []));
  };
  const highlight = () => {
    for (const e of document.querySelectorAll('[data-n].hit')) e.classList.remove('hit');
    for (const e of document.querySelectorAll(`[data-n="${picked}"]`)) {
      e.classList.add('hit');
      e.parentNode.append(e);
    }
  };
  const draw = () => { front(); parallel(); detail(); highlight(); };
  draw();
  let width = document.body.clientWidth;
  addEventListener('resize', () => {
    if (document.body.clientWidth !== width) { width = document.body.clientWidth; draw(); }
  });
})();
"""
