"""What a server with one device would see: latencies under requests that arrive at random.

Requests arrive as a Poisson process (or evenly), wait in a queue, and are served in batches, one batch at a
time. How long a batch takes is exact: its inputs are copied to a device, its program runs, its outputs are
copied back. Only the arrivals are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from kpu_ir.frontends.python.calls import located
from kpu_ir.program.compiled import Compiled
from kpu_ir.runtime.base import Array
from kpu_ir.runtime.round_trip import round_trip
from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import path_of, writing

PERCENTILES = (50, 90, 95, 99)

MOST_REQUESTS = 10_000_000
"""Their arrivals and latencies are in memory."""


@dataclass(frozen=True)
class Rate:
    """What requests at one rate met. ``latencies``: of each in seconds, from arrival to its outputs on
    the host; ``batches``: how many were served together, each time."""

    rate: float
    latencies: Array
    batches: Array
    seconds: float
    """From the first arrival to the last output."""
    busy: float
    """Of these, the device worked."""

    @property
    def throughput(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds

    @property
    def utilization(self) -> float:
        """The share of the time that the device worked."""
        return self.busy / self.seconds

    def percentile(self, p: float) -> float:
        """The latency in seconds that ``p`` percent of the requests do not exceed."""
        if not 0 <= p <= 100:
            raise KpuError(f"percentiles are from 0 to 100, got {p!r:.40}")
        return float(np.percentile(self.latencies, p, method="inverted_cdf"))


@dataclass(frozen=True)
class Served:
    """What a server would see, a row for each rate. ``service``: seconds of a batch, by its size."""

    rows: tuple[Rate, ...]
    service: dict[int, float]

    def table(self) -> str:
        """As text: milliseconds."""
        shares = [f"p{p}" for p in PERCENTILES]
        head = ["requests/s", "served/s", "busy", "batch", "mean", *shares, "most"]
        lines = [head]
        for row in self.rows:
            times = [
                row.latencies.mean(),
                *(row.percentile(p) for p in PERCENTILES),
                row.latencies.max(),
            ]
            lines.append(
                [
                    f"{row.rate:,.1f}", f"{row.throughput:,.1f}", f"{100 * row.utilization:.1f} %",
                    f"{row.batches.mean():.2f}", *(f"{1e3 * t:,.3f}" for t in times),
                ]
            )  # fmt: skip
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        return "\n".join("  ".join(c.rjust(w) for c, w in zip(line, widths)) for line in lines)

    def __str__(self) -> str:
        return self.table()

    def plot(self, path: str | Path) -> None:
        """A picture: the share of requests that are not slower, for each rate. Needs matplotlib."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise KpuError("a plot needs matplotlib", hint="pip install 'kpu-ir[plot]'") from None
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        axes: Any = figure.subplots()
        for row in self.rows:
            share = np.arange(1, len(row.latencies) + 1) / len(row.latencies)
            axes.step(
                1e3 * np.sort(row.latencies), 100 * share, where="post", label=f"{row.rate:,.0f}/s"
            )
        axes.set(xlabel="latency, ms", ylabel="requests, %", xscale="log")
        axes.grid(alpha=0.3)
        axes.legend(title="requests a second")
        target = path_of(path)
        with writing(target) as file:
            figure.savefig(file, format=target.suffix.lstrip(".") or "png")


@located
def arrivals(
    program: Compiled | Mapping[int, Compiled],
    *,
    rate: Any,
    batch: int = 1,
    wait_ms: float = 0.0,
    requests: int = 10_000,
    seed: int = 0,
    process: Literal["poisson", "even"] = "poisson",
) -> Served:
    """Latencies of ``requests`` that arrive ``rate`` times a second (one rate, or several).

    ``program`` serves one request; or, by the size of a batch, several programs serve batches of up to
    that size (a smaller batch takes the next larger program). Whenever the device is free it takes up to
    ``batch`` requests; with fewer it waits until the oldest has waited for ``wait_ms``. ``process``: how
    requests arrive. Raises ``KpuError``.
    """
    programs = {1: program} if isinstance(program, Compiled) else dict(program)
    rates = list(rate) if isinstance(rate, Sequence | np.ndarray) else [rate]
    if not rates or not all(
        isinstance(r, int | float | np.integer | np.floating) and 0 < r < np.inf for r in rates
    ):
        raise KpuError(f"rates are more than 0 requests a second, got {rate!r:.40}")
    if not 1 <= requests <= MOST_REQUESTS:
        raise KpuError(f"{requests:,} requests: 1 to {MOST_REQUESTS:,} are served")
    if not 0 <= wait_ms < np.inf:
        raise KpuError(f"wait_ms is a time from 0, got {wait_ms!r:.40}")
    if seed < 0:
        raise KpuError(f"seeds are from 0, got {seed}")
    if batch < 1 or batch > max(programs, default=0):
        raise KpuError(
            f"batches of {batch}, and the largest program serves {max(programs, default=0)}",
            hint="give programs by size: {1: program, 4: program_of_four}",
        )
    if process not in ("poisson", "even"):
        raise KpuError(f"requests arrive 'poisson' or 'even', got {process!r}")
    service = {
        size: programs[size].machine.seconds(round_trip(programs[size]).cycles)
        for size in sorted(programs)
    }
    gaps = np.ones(requests)
    if process == "poisson":
        gaps = np.random.default_rng(seed).exponential(1.0, requests)
    rows = (_serve(float(r), np.cumsum(gaps) / r, service, batch, wait_ms / 1e3) for r in rates)
    return Served(tuple(rows), service)


def _serve(
    rate: float, times: Array, service: Mapping[int, float], batch: int, wait: float
) -> Rate:
    """Serve requests that arrive at ``times``."""
    sizes = {n: next(size for size in service if size >= n) for n in range(1, batch + 1)}
    latencies, batches = np.empty(len(times)), []
    free = busy = 0.0
    at = 0
    while at < len(times):
        # Begin when the device is free and a batch is full, or the oldest has waited.
        full = times[at + batch - 1] if at + batch <= len(times) else np.inf
        begin = max(free, times[at], min(full, times[at] + wait))
        count = min(batch, int(np.searchsorted(times, begin, side="right")) - at)
        took = service[sizes[count]]
        free = begin + took
        busy += took
        latencies[at : at + count] = free - times[at : at + count]
        batches.append(count)
        at += count
    return Rate(rate, latencies, np.array(batches), free - float(times[0]), busy)
