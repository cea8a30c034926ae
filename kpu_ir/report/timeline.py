"""When each engine worked, as a picture: a line an engine, the darker the busier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from kpu_ir.report.charts import Frame, both, steps_of
from kpu_ir.report.words import percent
from kpu_ir.sim.time.clock import CallTiming

BUCKETS, SHADES = 400, 5

Interval = tuple[int, int]


def filled(intervals: Sequence[Interval], cycles: int, buckets: int) -> list[float]:
    """The share of each of ``buckets`` stretches of a run that intervals take, which do not overlap.

    >>> filled([(0, 5), (5, 10), (30, 40)], 40, 4)
    [1.0, 0.0, 0.0, 1.0]
    """
    found = [0.0] * buckets
    for begin, end in intervals:
        for bucket in range(
            begin * buckets // cycles, min(buckets - 1, end * buckets // cycles) + 1
        ):
            first, last = bucket * cycles / buckets, (bucket + 1) * cycles / buckets
            found[bucket] += max(0.0, min(end, last) - max(begin, first))
    return [min(1.0, part * buckets / cycles) for part in found]


def averaged(calls: Sequence[CallTiming], cycles: int, buckets: int) -> dict[str, list[float]]:
    """The same of a run that was not stepped: each call's work spread evenly over it."""
    found: dict[str, list[float]] = {}
    for call in calls:
        share = filled([(call.start, call.end)], cycles, buckets)
        for engine, busy in call.busy.items():
            line = found.setdefault(engine, [0.0] * buckets)
            for bucket, part in enumerate(share):
                line[bucket] += part * busy / max(1, call.end - call.start)
    return {name: [min(1.0, part) for part in line] for name, line in found.items()}


def timeline_chart(
    lines: Mapping[str, Sequence[float]], calls: Sequence[CallTiming], cycles: int, shown: int = 400
) -> str:
    """A line for each engine, and above them the first kernels. ``lines``: the share of
    each stretch of the run in which an engine works."""
    row, gap = 22, 7

    def draw(kind: str, f: Frame) -> str:
        parts = [f.grid_x(n / max(1, cycles), f"{n:,}") for n in steps_of(cycles, f.width // 110)]
        wide = f.x(1) - f.x(0)
        for number, call in enumerate(calls[:shown]):
            x, w = f.x(call.start / cycles), (call.end - call.start) / cycles * wide
            parts.append(
                f'<rect class="call{number % 2}" x="{x:.1f}" y="{f.top}" width="{max(w, 0.5):.1f}" '
                f'height="8"><title>{number + 1}: {escape(call.label)}</title></rect>'
            )
        for n, (name, line) in enumerate(lines.items()):
            y = f.top + 8 + gap + n * (row + gap)
            parts.append(
                f'<text x="{f.left - 6}" y="{y + row / 2 + 4:.1f}" text-anchor="end">'
                f'{escape(name)}</text><rect class="rail" x="{f.x(0):.1f}" y="{y}" '
                f'width="{wide:.1f}" height="{row}"><title>{escape(name)}: busy '
                f"{percent(sum(line), len(line))} of the run</title></rect>"
            )
            parts += _shaded(line, f, y, row)
        parts.append(f.name_x("cycle"))
        return f.svg(kind, "when each engine worked", parts)

    return both(draw, 64 + (row + gap) * (len(lines) + 1))


def _shaded(line: Sequence[float], f: Frame, y: float, row: int) -> list[str]:
    """Stretches of one shade, a path each."""
    paths: dict[int, str] = {}
    wide, begin = (f.x(1) - f.x(0)) / max(1, len(line)), 0
    shades = [-(-int(100 * part) * SHADES // 100) for part in line]
    for at in range(1, len(line) + 1):
        if at < len(line) and shades[at] == shades[begin]:
            continue
        if shades[begin]:
            x = f.x(0) + begin * wide
            step = f"M{x:.1f} {y}h{(at - begin) * wide:.1f}v{row}h-{(at - begin) * wide:.1f}z"
            paths[shades[begin]] = paths.get(shades[begin], "") + step
        begin = at
    return [
        f'<path class="work" style="opacity:{shade / SHADES:g}" d="{d}"/>'
        for shade, d in sorted(paths.items())
    ]
