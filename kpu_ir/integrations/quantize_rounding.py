"""Weights rounded so that products, not weights, stay close: error feedback along k (GPTQ).

The error of a product is (w - s q) H (w - s q)^T for a row of weights w, its integers q and the second moments H of
what it multiplies. Rounding column after column, what one column's rounding does to the product is taken back
by the columns that are not rounded yet (Frantar et al., 2022, arXiv:2210.17323, algorithm 1). onnxruntime has a copy
of it that returns no integers and no scales, and takes matrices of 4 bits alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kpu_ir.support.types import Array

LEAST_DAMPING, MOST_DAMPING = 0.01, 0.1
"""Of the mean of H's diagonal, added to it: the first is the paper's, for many rows of calibration; other inputs
follow few rows less."""

COLUMNS = 128
"""That are rounded before what they did reaches the columns behind them, in one product."""


@dataclass(frozen=True)
class Moments:
    """What weights meet. ``sums``: (groups, k, k), of the products of any two of k inputs, over ``rows`` rows."""

    sums: Array
    rows: int

    @property
    def damping(self) -> float:
        """More for fewer rows a column: the least for many, the most for one and below."""
        share = LEAST_DAMPING * (1 + 8 * self.sums.shape[1] / max(1, self.rows))
        return min(share, MOST_DAMPING)


def rounded(
    weights: Array, moments: Array, scale: Array, lowest: int, highest: int,
    damping: float = LEAST_DAMPING,
) -> Array:  # fmt: skip
    """Integers (g, n, k) for weights (g, n, k), from ``lowest`` to ``highest``, with the least error of products.

    ``moments``: (g, k, k), sums of the products of any two of k inputs; of nothing but zeros they are no
    help, and each weight becomes its nearest integer. ``scale``: of each weight, (g, n, k) or what broadcasts
    to it; where it is 0 the integer is 0.

    >>> rounded(np.full((1, 1, 2), 1.4), np.ones((1, 2, 2)), np.ones(1), -8, 7)  # 2.8 is nearer to 3
    array([[[1, 2]]], dtype=int8)
    """
    groups, _, k = weights.shape
    damped = _damped(moments, damping)
    order = np.argsort(-np.diagonal(damped, axis1=1, axis2=2), axis=1, kind="stable")
    each = np.arange(groups)[:, None, None]
    damped = damped[each, order[:, :, None], order[:, None, :]]
    columns = order[:, None, :]
    left = np.take_along_axis(weights.astype(np.float64), columns, 2)
    steps = np.broadcast_to(scale.astype(np.float64), weights.shape)
    steps = np.take_along_axis(steps, columns, 2)
    back = np.linalg.cholesky(np.linalg.inv(damped)).transpose(0, 2, 1)
    found = np.zeros_like(left)
    for first in range(0, k, COLUMNS):
        end = min(k, first + COLUMNS)
        errors = np.zeros_like(left[:, :, first:end])
        for i in range(first, end):
            step = steps[:, :, i]
            with np.errstate(divide="ignore", invalid="ignore"):
                near = np.where(step == 0, 0, np.rint(left[:, :, i] / step))
            found[:, :, i] = np.clip(near, lowest, highest)
            error = (left[:, :, i] - found[:, :, i] * step) / back[:, None, i, i]
            left[:, :, i:end] -= error[:, :, None] * back[:, None, i, i:end]
            errors[:, :, i - first] = error
        left[:, :, end:] -= errors @ back[:, first:end, end:]
    result = np.empty(weights.shape, np.int8)
    np.put_along_axis(result, columns, found.astype(np.int8), 2)
    return result


def fed_back(
    weights: Array, moments: Moments, scale: Array, out: int, lowest: int, highest: int
) -> Array:
    """Integers for weights of any shape whose output channels are along ``out``, with their scales (which broadcast to
    them). Of a convolution the channels of a group are neighbours."""
    groups, k = moments.sums.shape[:2]

    def rows(array: Array) -> Array:
        return np.moveaxis(np.broadcast_to(array, weights.shape), out, 0).reshape(groups, -1, k)

    found = rounded(rows(weights), moments.sums, rows(scale), lowest, highest, moments.damping)
    moved = [weights.shape[out], *(n for a, n in enumerate(weights.shape) if a != out)]
    return np.ascontiguousarray(np.moveaxis(found.reshape(moved), 0, out))


def _damped(moments: Array, damping: float) -> Array:
    """Moments that have an inverse."""
    damped = moments.astype(np.float64)
    diagonal = np.diagonal(damped, axis1=1, axis2=2)
    mean = diagonal.mean(1)
    at = np.arange(damped.shape[1])
    damped[:, at, at] += np.where(mean > 0, damping * mean, 1.0)[:, None]
    return damped
