"""Transposed convolutions as convolutions of the image as it is: nothing is multiplied by the zeros
that a stride would put between its elements.

An element i of the image meets tap k in place ``O = i s + k d`` of the full result (stride s, dilation
d). Places of one remainder ``p = O mod s``, a *phase*, see the taps ``k d = p (mod s)`` alone, and a
place ``O = q s + p`` sees with tap k the element ``q - (k d - p) / s``: a convolution. With stride 2
and three taps, one phase has two taps and the other has one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.python.value import Value
from kpu_ir.frontends.python.windows import convolve

ROWS = 16
"""The rows of a usual array: products of fewer rows leave the others idle. Which of two ways is taken
depends on it, and nothing else."""

MOST_CONVOLUTIONS = 64
"""More phases are always one convolution."""


Biased = Callable[[Value, int], Value]
"""A value with a bias on its channels, each of which stands so many times."""


@dataclass(frozen=True)
class Phase:
    """One dimension of a phase: its taps in the order in which a convolution reads them, by
    ``dilation`` elements apart, on an image with ``low`` elements before it (negative: cut off)."""

    taps: tuple[int, ...]
    dilation: int
    low: int

    @property
    def span(self) -> int:
        """Elements under its taps, less one."""
        return (len(self.taps) - 1) * self.dilation


@dataclass(frozen=True)
class Dimension:
    """One dimension of a transposed convolution: the image, the window, and the result, which is
    ``extent`` elements of the full one, from ``low`` on."""

    image: int
    window: int
    stride: int
    dilation: int
    low: int
    extent: int

    def phases(self, low: int) -> list[Phase]:
        """The phases in the order of the full result's elements ``low``, ``low + 1``..

        >>> Dimension(16, 3, 2, 1, 1, 32).phases(1)
        [Phase(taps=(1,), dilation=1, low=0), Phase(taps=(2, 0), dilation=1, low=0)]
        """
        found: list[Phase] = []
        for at in range(low, low + self.stride):
            q, p = divmod(at, self.stride)
            taps = [k for k in range(self.window) if (k * self.dilation - p) % self.stride == 0]
            step = self.dilation // math.gcd(self.dilation, self.stride)
            first = (taps[0] * self.dilation - p) // self.stride if taps else 0
            before = first + max(0, len(taps) - 1) * step - q
            found.append(Phase(tuple(reversed(taps)), step, before))
        return found


def transposed(
    graph: Graph, x: Value, w: Value, groups: int, dimensions: Sequence[Dimension], biased: Biased
) -> Value:
    """The transposed convolution of ``x`` by ``w`` (c x o/groups x k..); ``biased`` adds a bias.

    The phases are made of one size, interleaved, and what is too much is cut off.
    """
    c, o, *window = w.shape
    rank, strides = len(window), [d.stride for d in dimensions]
    n, channels = x.shape[0], groups * o
    w = graph.reshape(w, (groups, c // groups, o, *window))
    w = graph.transpose(w, (0, 2, 1, *range(3, 3 + rank)))
    w = graph.reshape(w, (channels, c // groups, *window))
    if together(dimensions, o, c // groups):
        cut = [d.low % d.stride for d in dimensions]
        y = in_one(graph, x, w, groups, dimensions, biased)
    else:
        cut = [0] * rank
        y = apart(graph, x, w, groups, dimensions, biased)
    pairs = [axis for i in range(rank) for axis in (2 + rank + i, 2 + i)]
    places = y.shape[2 + rank :]
    if math.prod(strides) > 1:
        y = graph.transpose(y, (0, 1, *pairs))
    y = graph.reshape(y, (n, channels, *(m * s for m, s in zip(places, strides))))
    extents = [d.extent for d in dimensions]
    if list(y.shape[2:]) != extents:
        y = graph.slice(y, [0, 0, *cut], [1] * (rank + 2), (n, channels, *extents))
    return y


def together(dimensions: Sequence[Dimension], o: int, c: int) -> bool:
    """Whether one convolution does all phases: each has as many taps then as the longest, but more
    rows of an array are filled. ``o`` and ``c`` are of one group."""
    count = math.prod(d.stride for d in dimensions)
    if count == 1 or any(d.dilation > 1 for d in dimensions):
        return False
    if count > MOST_CONVOLUTIONS:
        return True
    if o == c == 1:  # depthwise: on the vector engine
        return False
    longest = math.prod(-(-d.window // d.stride) for d in dimensions)
    taps = math.prod(d.window for d in dimensions)
    return longest * -(-o * count // ROWS) <= taps * -(-o // ROWS)


def apart(
    graph: Graph, x: Value, w: Value, groups: int, dimensions: Sequence[Dimension], biased: Biased
) -> Value:
    """A convolution for each phase: n x o x strides.. x places.."""
    rank, n = len(dimensions), x.shape[0]
    phases = [d.phases(d.low) for d in dimensions]
    counts = [-(-d.extent // d.stride) for d in dimensions]
    weights: dict[tuple[int, ...], Value] = {(): w}
    results: list[Value] = []
    for place in itertools.product(*(range(len(one)) for one in phases)):
        chosen = [one[at] for one, at in zip(phases, place)]
        if all(p.taps for p in chosen):
            for axis, phase in enumerate(chosen):
                if place[: axis + 1] not in weights:
                    before = weights[place[:axis]]
                    weights[place[: axis + 1]] = graph.take(before, phase.taps, axis + 2)
            part = biased(one_phase(graph, x, weights[place], groups, chosen, counts), 1)
        else:  # no tap falls here
            zeros = graph.constant(np.zeros((1, w.shape[0], *[1] * rank), x.dtype))
            part = graph.broadcast(biased(zeros, 1), (n, w.shape[0], *counts))
        results.append(graph.reshape(part, (n, w.shape[0], 1, *counts)))
    y = graph.concat(results, 2) if len(results) > 1 else results[0]
    return graph.reshape(y, (n, w.shape[0], *(len(one) for one in phases), *counts))


def in_one(
    graph: Graph, x: Value, w: Value, groups: int, dimensions: Sequence[Dimension], biased: Biased
) -> Value:
    """All phases by one convolution, n x o x strides.. x places.., from a whole multiple of each
    stride on: there, phases of as many taps see the same elements. Zeros make up for missing taps."""
    rank = len(dimensions)
    o, c = w.shape[:2]
    chosen: list[Phase] = []
    for axis, d in enumerate(dimensions):
        one = d.phases(d.low - d.low % d.stride)
        longest = max(len(p.taps) for p in one)
        order = [k for p in one for k in [d.window] * (longest - len(p.taps)) + list(p.taps)]
        at = 2 + 2 * axis
        if d.window in order:
            behind = [int(a == at) for a in range(len(w.shape))]
            w = graph.pad(w, [0] * len(w.shape), behind)
        w = graph.take(w, order, at)
        w = graph.reshape(w, (*w.shape[:at], len(one), longest, *w.shape[at + 1 :]))
        chosen.append(Phase(tuple(range(longest)), 1, longest - 1 - d.low // d.stride))
    taps, phases = range(3, 2 * rank + 2, 2), range(2, 2 * rank + 2, 2)
    count = math.prod(d.stride for d in dimensions)
    w = graph.transpose(w, (0, *phases, 1, *taps))
    w = graph.reshape(w, (o * count, c, *w.shape[2 + rank :]))
    counts = [-(-(d.low % d.stride + d.extent) // d.stride) for d in dimensions]
    y = biased(one_phase(graph, x, w, groups, chosen, counts), count)
    return graph.reshape(y, (x.shape[0], o, *(d.stride for d in dimensions), *counts))


def one_phase(
    graph: Graph,
    x: Value,
    w: Value,
    groups: int,
    phase: Sequence[Phase],
    counts: Sequence[int],
) -> Value:
    """The convolution of one phase, of so many places."""
    rank, image = len(phase), x.shape[2:]
    low = [p.low for p in phase]
    high = [m + p.span - n - p.low for m, p, n in zip(counts, phase, image)]
    starts = [max(0, -a) for a in low]
    kept = [n - a - max(0, -b) for n, a, b in zip(image, starts, high)]
    if kept != list(image):
        x = graph.slice(x, [0, 0, *starts], [1] * (rank + 2), (*x.shape[:2], *kept))
    around = [max(0, a) for a in low], [max(0, b) for b in high]
    return convolve(graph, x, w, [1] * rank, [p.dilation for p in phase], *around, groups)
