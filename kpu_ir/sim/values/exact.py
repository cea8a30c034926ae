"""Products of integers through BLAS, exact.

NumPy multiplies matrices of integers without BLAS, fifty times as slowly. A product of floats gives the
same integers where no sum can leave what the float holds exactly: up to 2^24 in f32, 2^53 in f64. A
longer sum is cut along k, and its pieces are added up as integers, which wrap around.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kpu_ir.support.types import Array

EXACT = ((np.dtype(np.float32), 1 << 24), (np.dtype(np.float64), 1 << 53))
"""Floats, and up to where they hold every integer."""
SHORTEST = 256
"""From how many terms on a piece of a sum pays for being added to the rest."""


def product(a: Array, b: Array, dtype: np.dtype[Any]) -> Array:
    """``a @ b`` of integers, added up in ``dtype``, which wraps around."""
    a, b = (x.astype(np.int8) if x.dtype.kind == "V" else x for x in (a, b))  # i4 of ml_dtypes
    largest, k = _largest(a) * _largest(b), a.shape[-1]
    for floats, limit in EXACT:
        terms = limit // largest if largest else k
        if terms >= min(k, SHORTEST):
            return _in_pieces(a, b, dtype, floats, max(1, terms))
    if dtype.itemsize > 4:
        return np.matmul(a.astype(dtype), b.astype(dtype))
    (low_a, high_a), (low_b, high_b) = _halves(a), _halves(b)  # 16 bits each, modulo 2^32
    cross = product(low_a, high_b, dtype) + product(high_a, low_b, dtype)
    return product(low_a, low_b, dtype) + (cross << dtype.type(16))


def _in_pieces(
    a: Array, b: Array, dtype: np.dtype[Any], floats: np.dtype[Any], terms: int
) -> Array:
    """The product in ``floats``, ``terms`` of each sum at a time."""
    total: Array | None = None
    for at in range(0, max(1, a.shape[-1]), terms):
        left, right = a[..., at : at + terms], b[..., at : at + terms, :]
        part = _integers(np.matmul(left.astype(floats), right.astype(floats)), dtype)
        total = part if total is None else np.add(total, part, out=total)
    assert total is not None
    return total


def _integers(x: Array, dtype: np.dtype[Any]) -> Array:
    """Whole floats as integers, which wrap around."""
    within = x.dtype == np.float32 and dtype.kind == "i" and dtype.itemsize >= 4
    return x.astype(dtype) if within else x.astype(np.int64).astype(dtype)


def _largest(x: Array) -> int:
    """The largest magnitude of an element."""
    return max(int(x.max()), -int(x.min())) if x.size else 0


def _halves(x: Array) -> tuple[Array, Array]:
    """The lower 16 bits without a sign, and the rest with it."""
    wide = x.astype(np.int64)
    return wide & 0xFFFF, wide >> 16
