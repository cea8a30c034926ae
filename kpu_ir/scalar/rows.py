"""Functions of whole rows that are no reduction: each element of the result may depend on each of a
row. In NumPy, for every interpreter.

* ``add``, ``multiply``: each element with those before it, added up or multiplied (a scan).
* ``top``: the numbers of the largest elements in falling order; of equal ones the first comes first.
* ``take``: elements by their numbers.
"""

from __future__ import annotations

import numpy as np

from kpu_ir.support.types import Array

SCANS: dict[str, tuple[np.ufunc, int]] = {"add": (np.add, 0), "multiply": (np.multiply, 1)}
"""What combines elements, and what stands before the first."""


def scan(kind: str, x: Array, axis: int, backward: bool, exclusive: bool) -> Array:
    """Each element of ``x`` combined with those before it along ``axis`` (``backward``: behind it);
    ``exclusive``: without itself. Short floats are combined in f32 and rounded once.

    >>> scan("add", np.array([1, 2, 3]), 0, False, True).tolist()
    [0, 1, 3]
    """
    combine, neutral = SCANS[kind]
    short = x.dtype.kind not in "iub" and x.dtype.itemsize < 4
    rows = np.moveaxis(x.astype(np.float32) if short else x, axis, -1)
    rows = rows[..., ::-1] if backward else rows
    if exclusive:
        first = np.full_like(rows[..., :1], neutral)
        rows = np.concatenate([first, rows[..., :-1]], -1)
    with np.errstate(over="ignore", invalid="ignore"):
        result = combine.accumulate(rows, -1, dtype=rows.dtype)
    result = result[..., ::-1] if backward else result
    return np.moveaxis(result, -1, axis).astype(x.dtype, copy=False)


def top(x: Array, axis: int, count: int, smallest: bool) -> Array:
    """The numbers (i64) of the ``count`` largest elements along ``axis``, in falling order;
    ``smallest``: of the smallest, in rising order. Of equal ones the first comes first.

    >>> top(np.array([3, 5, 5, 1]), 0, 3, False).tolist()
    [1, 2, 0]
    """
    if smallest:
        order = np.argsort(x, axis, kind="stable")
    else:  # the last of equals first, seen from the end
        behind = np.argsort(np.flip(x, axis), axis, kind="stable")
        order = x.shape[axis] - 1 - np.flip(behind, axis)
    return np.take(order, np.arange(count), axis).astype(np.int64, copy=False)


def row_function(
    kind: str,
    arrays: list[Array],
    axis: int,
    count: int,
    backward: bool,
    exclusive: bool,
) -> Array:
    """The result of one of these functions of so many elements along ``axis``."""
    if kind == "top":
        return top(arrays[0], axis, count, backward)
    if kind == "take":
        return np.take_along_axis(arrays[0], arrays[1], axis)
    return scan(kind, arrays[0], axis, backward, exclusive)
