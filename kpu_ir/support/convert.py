"""Arrays of one element type as arrays of another, where every value survives."""

from __future__ import annotations

from typing import Any

import numpy as np

from kpu_ir.support.types import Array, is_integral


def is_number(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype holds real numbers."""
    return is_integral(dtype) or "float" in dtype.name


def converted(array: Array, dtype: np.dtype[Any]) -> Array | None:
    """``array`` in ``dtype``, or None where a value does not survive.

    Whole numbers come over exactly. Floats are rounded to shorter floats, those that are finite to
    finite ones. Plain bytes are elements of a dtype of ml_dtypes that is as large: an .npz file does
    not say more of them.
    """
    if array.dtype == dtype:
        return array
    if array.dtype.type is np.void:
        taken = array.dtype.fields is None and array.dtype.itemsize == dtype.itemsize
        if not taken or dtype.isbuiltin != 2:  # 2: a dtype that is none of NumPy's own
            return None
        found = array.view(dtype)
        # Of a byte that holds a number of 4 bits, the other four say nothing.
        return found.astype(np.int8).astype(dtype) if is_integral(dtype) else found
    if not is_number(array.dtype) or not is_number(dtype):
        return None
    with np.errstate(all="ignore"):
        between = _between(array, dtype)
        new = between.astype(dtype)
        back = new.astype(between.dtype)
        if is_integral(dtype) or is_integral(array.dtype):
            # 200 of uint8 is -56 of int8, and that 200 again; an infinity may be the largest integer.
            same = (back == between) & ((between < 0) == (new < 0))
            same &= np.isfinite(between) & np.isfinite(new)
            return new if bool(same.all()) else None
        lost = np.isfinite(between) & ~np.isfinite(new)
    return None if bool(lost.any()) else new


def _between(array: Array, dtype: np.dtype[Any]) -> Array:
    """The same values in a dtype of NumPy's own: ml_dtypes does not convert its short integers to each
    other."""
    if array.dtype.kind == dtype.kind == "V":
        return array.astype(np.float32)
    return array
