"""Resize of stored integers: linear as onnxruntime computes it, all else as ONNX's reference."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from kpu_ir.frontends.onnx.node import Node, Tensor
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar import formulas
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array

MOST_WEIGHTS = 1 << 26
"""Of one dimension, or of all elements of an image of integers."""

PLACES = ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "asymmetric", "align_corners")
"""Coordinates that onnxruntime interpolates at without a case of its own."""


def checked_integers(x: Value) -> None:
    """Raises ``KpuError`` for integers that f32 does not hold."""
    if x.dtype.kind not in "iu" or x.dtype.itemsize > 2:
        raise KpuError(
            f"interpolation of {x.dtype.name} is not supported",
            hint="integers of 8 and 16 bits are, and floats",
        )


def plain_linear(node: Node, where: str) -> bool:
    """Whether onnxruntime takes a weighted sum of neighbours and cuts it off."""
    return (
        node.text("mode", "nearest") == "linear"
        and where in PLACES
        and not node.integer("antialias", 0)
        and not node.integer("exclude_outside", 0)
    )


def neighbours(
    where: str, count: int, scale: float, size: int
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """For each of ``size`` elements along a dimension: both its neighbours' places, and their weights.

    In f32, step by step as onnxruntime's ``UpsampleBilinear``: the last place has itself twice, with halves.
    """
    one, half = np.float32(1), np.float32(0.5)
    at, factor = np.arange(size, dtype=np.float32), np.float32(scale)
    if where == "align_corners":
        last = np.float32(size - 1)
        real = at * np.float32(count - 1) / last if size > 1 else at * 0
    elif where == "asymmetric":
        real = at / factor
    elif where == "pytorch_half_pixel" and size == 1:
        real = at * 0
    elif where == "half_pixel_symmetric":  # of f64, but for how far the image moves
        moved = (
            np.float32(count)
            / np.float32(2)
            * (one - np.float32(size) / (factor * np.float32(count)))
        )
        real = float(moved) + (at.astype(np.float64) + 0.5) / float(factor) - 0.5
    else:
        real = (at + half) / factor - half
    real = np.clip(real.astype(np.float32), np.float32(0), np.float32(count - 1))
    first = np.minimum(real.astype(np.int64), count - 1)
    second = np.minimum(first + 1, count - 1)
    same = first == second
    far, near = (np.abs(real - p.astype(np.float32)) for p in (first, second))
    weights = (np.where(same, half, w).astype(np.float32) for w in (near, far))
    return (first, second), (next(weights), next(weights))


def cut_off(node: Node, x: Value, where: str, changed: dict[int, tuple[float, int]]) -> Tensor:
    """Linear in f32, then truncated. ``changed``: the factor and extent of each axis that is resized.

    One product of a neighbour and its weight after the other: a sum in another order may end just below a whole
    number that this one reaches. onnxruntime has bilinear and trilinear: axes of theirs count though they stay.
    """
    graph, rank, kind = node.graph, len(x.shape), x.dtype
    inner = range(rank - {2: 2, 4: 2, 3: 3, 5: 3}.get(rank, 0), rank)
    axes = sorted(set(changed) | set(inner if set(changed) <= set(inner) else ()))
    found = {
        a: neighbours(where, x.shape[a], *changed[a]) if a in changed
        else neighbours("asymmetric", x.shape[a], 1.0, x.shape[a])
        for a in axes
    }  # fmt: skip
    extents = [found[a][0][0].size for a in axes]
    if math.prod(extents) << len(axes) > MOST_WEIGHTS:
        raise KpuError(
            f"resizing integers to {' x '.join(f'{n:,}' for n in extents)} elements takes more than "
            f"{MOST_WEIGHTS:,} weights"
        )
    parts: list[Value] = []
    weights: list[Value] = []
    for sides in itertools.product((0, 1), repeat=len(axes)):
        part, weight = x, np.ones((), np.float32)
        for axis, side in reversed(list(zip(axes, sides))):  # the last axis' weight is the first
            places, shares = found[axis]
            part = graph.take(part, places[side].tolist(), axis)
            ones = [1] * (rank - axis - 1)
            weight = weight * shares[side].reshape(-1, *ones)
        if weight.any():
            parts.append(part.astype(np.float32))
            weights.append(graph.constant(weight))
    total = parts[0] * weights[0]
    for part, weight in zip(parts[1:], weights[1:]):
        total = total + part * weight
    return total.astype(kind)


def rounded(x: Value, kind: np.dtype[Any]) -> Value:
    """Floats as integers: half to even, saturated, as ONNX's reference."""
    ends = np.iinfo(kind)
    whole = x.graph.map(formulas.round_half_even, x)
    return whole.clip(float(ends.min), float(ends.max)).astype(kind)
