"""Charts of the report as SVG text. Colours are the page's CSS variables; texts do not scale, since
the page has each chart in two widths and shows the one that fits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from kpu_ir.report.roofline import LEVELS, Roofline, speed_text
from kpu_ir.report.words import size

RADIUS = {"dma": 7, "mover": 5, "streamer": 3}
"""Of a point: those of other levels at the same place stay visible."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The plot inside a picture: margins left, right, top, bottom."""

    width: int
    height: int
    left: int = 64
    right: int = 14
    top: int = 12
    bottom: int = 44

    def x(self, share: float) -> float:
        """A share of the axis as a coordinate."""
        return self.left + share * (self.width - self.left - self.right)

    def y(self, share: float) -> float:
        """A share of the axis, from below, as a coordinate."""
        return self.height - self.bottom - share * (self.height - self.top - self.bottom)

    def svg(self, kind: str, title: str, parts: Iterable[str]) -> str:
        """The picture; ``kind`` is the CSS class that says for which width it is."""
        return (
            f'<svg class="{kind}" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
        )

    def grid_x(self, share: float, label: str) -> str:
        """A vertical line of the grid with its label."""
        x = self.x(share)
        end = "end" if share > 0.97 and len(label) > 4 else "middle"
        return (
            f'<path class="grid" d="M{x:.1f} {self.y(0):.1f}V{self.y(1):.1f}"/>'
            f'<text x="{x:.1f}" y="{self.y(0) + 16:.1f}" text-anchor="{end}">{escape(label)}</text>'
        )

    def grid_y(self, share: float, label: str) -> str:
        """A horizontal line of the grid with its label."""
        y = self.y(share)
        return (
            f'<path class="grid" d="M{self.x(0):.1f} {y:.1f}H{self.x(1):.1f}"/>'
            f'<text x="{self.left - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(label)}</text>'
        )

    def name_x(self, label: str) -> str:
        """The name of the horizontal axis."""
        return (
            f'<text class="axis" x="{self.x(0.5):.1f}" y="{self.height - 8}" '
            f'text-anchor="middle">{escape(label)}</text>'
        )


def both(draw: Callable[[str, Frame], str], height: int = 400) -> str:
    """A chart for wide screens and for narrow ones."""
    return draw("wide", Frame(1000, height)) + draw("narrow", Frame(360, min(height, 320)))


def _log(low: float, high: float) -> Callable[[float], float]:
    return lambda v: (math.log10(v) - math.log10(low)) / (math.log10(high) - math.log10(low))


def ticks(low: float, high: float) -> list[float]:
    """Round values of a logarithmic axis: powers of ten, with 2 and 5 where there are few.

    >>> ticks(0.6, 30)
    [1.0, 2.0, 5.0, 10.0, 20.0]
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    few = math.log10(high / low) < 3
    marks = [10.0**p * n for p in powers for n in ((1, 2, 5) if few else (1,))]
    return [float(f"{v:.12g}") for v in marks if low <= v <= high]


def roofline_chart(data: Roofline) -> str:
    """Every kernel at every level, log-log, under the roofs."""
    x0, x1, y0, y1 = data.extent()
    at_x, at_y = _log(x0, x1), _log(y0, y1)

    def draw(kind: str, f: Frame) -> str:
        parts: list[str] = []
        for v in ticks(x0, x1):
            parts.append(f.grid_x(at_x(v), f"{v:g}"))
        for v in ticks(y0, y1):
            parts.append(f.grid_y(at_y(v), speed_text(v).replace("op/s", "")))
        for level, rate in data.bandwidth.items():
            begin, ridge = max(x0, y0 / rate), data.top / rate
            parts.append(
                f'<path class="roof {level}" d="M{f.x(at_x(begin)):.1f} {f.y(at_y(rate * begin)):.1f}'
                f'L{f.x(at_x(ridge)):.1f} {f.y(at_y(data.top)):.1f}"/>'
            )
        first = data.top / max(data.bandwidth.values())
        for name, peak in data.peaks.items():
            begin = first if peak == data.top else max(x0, peak / max(data.bandwidth.values()))
            y = f.y(at_y(peak))
            what = "vector engine" if name == "vector" else f"array, {name}"
            parts.append(
                f'<path class="roof peak" d="M{f.x(at_x(begin)):.1f} {y:.1f}H{f.x(1):.1f}"/>'
                f'<text x="{f.x(1) - 4:.1f}" y="{y - 6:.1f}" text-anchor="end">'
                f"{escape(what)}: {speed_text(peak)}</text>"
            )
        by_number: dict[int, list[float]] = {}
        for p in data.points:
            by_number.setdefault(p.number, []).append(p.intensity)
        numbers: dict[tuple[float, float], list[int]] = {}
        for number, speed in {p.number: p.speed for p in data.points}.items():
            ends, y = by_number[number], f.y(at_y(speed))
            left, right = f.x(at_x(min(ends))), f.x(at_x(max(ends)))
            parts.append(f'<path class="same" d="M{left:.1f} {y:.1f}H{right:.1f}"/>')
            near = (k for k in numbers if abs(k[0] - right) < 40 and abs(k[1] - y) < 14)
            numbers.setdefault(next(near, (right, y)), []).append(number)
        words = [
            (x, y, ", ".join(str(n) for n in here[:4]) + (", …" if len(here) > 4 else ""))
            for (x, y), here in numbers.items()
        ]
        marks = [(f.x(at_x(p.intensity)), f.y(at_y(p.speed)), RADIUS[p.level]) for p in data.points]
        for x, y, text in placed(words, marks, f):
            parts.append(f'<text class="number" x="{x:.1f}" y="{y:.1f}">{text}</text>')
        for p in sorted(data.points, key=lambda p: -RADIUS[p.level]):
            parts.append(
                f'<circle class="{p.level}" cx="{f.x(at_x(p.intensity)):.1f}" '
                f'cy="{f.y(at_y(p.speed)):.1f}" r="{RADIUS[p.level]}"><title>{p.number}: {escape(p.label)}\n'
                f"{LEVELS[p.level]}: {p.intensity:.3g} op/byte, {speed_text(p.speed)}</title></circle>"
            )
        parts.append(f.name_x("operations per byte moved"))
        return f.svg(kind, "roofline of every kernel at every level of memory", parts)

    return both(draw)


def placed(
    words: Iterable[tuple[float, float, str]],
    marks: Iterable[tuple[float, float, float]],
    f: Frame,
) -> Iterable[tuple[float, float, str]]:
    """Where the texts that belong to points go, beside them and apart; none where there is no room.

    ``marks``: circles to keep clear of, as centre and radius.
    """
    taken = [(x - r, y - r, x + r, y + r) for x, y, r in marks]
    for x, y, text in words:
        wide = 7.5 * len(text)
        for left, base in (
            (x + 11, y + 4), (x + 7, y - 9), (x + 7, y + 18), (x - 11 - wide, y + 4),
            (x - 7 - wide, y - 9), (x - 7 - wide, y + 18), (x + 7, y - 23), (x + 7, y + 32),
        ):  # fmt: skip
            box = (left, base - 11, left + wide, base + 2)
            inside = box[0] > f.left and box[2] < f.width and f.top < box[1] and box[3] < f.y(0)
            if inside and not any(
                box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken
            ):
                taken.append(box)
                yield left, base, text
                break


def steps_of(cycles: int, count: int) -> list[int]:
    """Round numbers from 0 up to ``cycles``, about ``count`` of them.

    >>> steps_of(1744, 4)
    [0, 500, 1000, 1500]
    """
    rough = max(1.0, cycles / count)
    power = 10 ** math.floor(math.log10(rough))
    step = next(int(power * n) for n in (1, 2, 5, 10) if power * n >= rough * 0.999)
    return list(range(0, cycles + 1, step))


def occupancy_chart(
    level: str, points: Sequence[tuple[int, int]], cycles: int, allocated: int, capacity: int
) -> str:
    """Bytes of one memory that hold needed data, over time."""
    top = max(capacity, 1) * 1.06

    def draw(kind: str, f: Frame) -> str:
        parts = [f.grid_x(n / max(1, cycles), f"{n:,}") for n in steps_of(cycles, f.width // 110)]
        parts += [
            f.grid_y(n * capacity / 4 / top, size(capacity * n / 4).replace(".00", ""))
            for n in range(5)
        ]
        path, height = f"M{f.x(0):.1f} {f.y(0):.1f}", 0
        for at, level_bytes in points:
            x = f.x(at / max(1, cycles))
            path += f"L{x:.1f} {f.y(height / top):.1f}V{f.y(level_bytes / top):.1f}"
            height = level_bytes
        path += f"L{f.x(1):.1f} {f.y(height / top):.1f}V{f.y(0):.1f}Z"
        parts.append(f'<path class="area {level}" d="{path}"/>')
        y = f.y(allocated / top)
        parts.append(
            f'<path class="limit" d="M{f.x(0):.1f} {y:.1f}H{f.x(1):.1f}"/>'
            f'<text x="{f.x(1) - 4:.1f}" y="{y - 5:.1f}" text-anchor="end">'
            f"given out: {size(allocated)}</text>"
        )
        parts.append(f.name_x("cycle"))
        return f.svg(kind, f"bytes of {level} in use over time", parts)

    return both(draw, 230)
