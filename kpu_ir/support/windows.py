"""How much of an image stands under each position of a window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kpu_ir.support.types import Array


def elements_under(
    spatial: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    low: Sequence[int],
    high: Sequence[int],
    counted: tuple[Sequence[int], Sequence[int]] | None,
) -> Array:
    """How many elements stand under each window of an image: those in the image, and as much of its
    padding as ``counted`` says."""
    rank = len(window)
    more = counted or ([0] * rank, [0] * rank)
    ones = np.ones([n + a + b for n, a, b in zip(spatial, *more)], np.float64)
    ones = np.pad(ones, [(a - c, b - d) for a, c, b, d in zip(low, more[0], high, more[1])])
    spans = [(k - 1) * d + 1 for k, d in zip(window, dilations)]
    counts = np.lib.stride_tricks.sliding_window_view(ones, spans)
    each = (*(slice(None, None, s) for s in strides), *(slice(None, None, d) for d in dilations))
    return counts[each].sum(axis=tuple(range(rank, 2 * rank)))
