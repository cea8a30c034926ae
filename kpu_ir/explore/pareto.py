"""Fronts of points in which less is better, and the volume that they cover."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Points = np.ndarray[Any, np.dtype[np.float64]]


def front(values: Sequence[Sequence[float]]) -> list[bool]:
    """Which points no other one is as good as in all and better in one.

    >>> front([[1, 3], [2, 2], [2, 3], [3, 1]])
    [True, True, False, True]
    """
    points = np.asarray(values, float).reshape(len(values), -1)
    found: list[bool] = []
    for point in points:
        better = (points <= point).all(1) & (points < point).any(1)
        found.append(not better.any())
    return found


def ranks(values: Sequence[Sequence[float]]) -> list[int]:
    """The number of fronts that must be taken away before a point is on one.

    >>> ranks([[1, 3], [2, 4], [3, 5], [3, 1]])
    [0, 1, 2, 0]
    """
    left = list(range(len(values)))
    found = [0] * len(values)
    rank = 0
    while left:
        on = front([values[i] for i in left])
        for i in left:
            found[i] = rank
        left = [i for i, first in zip(left, on, strict=True) if not first]
        rank += 1
    return found


def hypervolume(values: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """The volume between points and a reference that is worse than they are.

    >>> hypervolume([[1, 3], [2, 2], [3, 1]], [4, 4])
    6.0
    """
    points = np.asarray(values, float).reshape(len(values), -1)
    edge = np.asarray(reference, float)
    inside = points[(points < edge).all(1)] if len(points) else points
    return _volume(inside, edge)


def _volume(points: Points, edge: Points) -> float:
    if not len(points):
        return 0.0
    points = points[front(points.tolist())]
    points = points[np.argsort(points[:, -1], kind="stable")]
    if points.shape[1] == 1:
        return float(edge[0] - points[0, 0])
    total = 0.0
    for i, point in enumerate(points):
        above = points[i + 1, -1] if i + 1 < len(points) else edge[-1]
        total += float(above - point[-1]) * _volume(points[: i + 1, :-1], edge[:-1])
    return total
