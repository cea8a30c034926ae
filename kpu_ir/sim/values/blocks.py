"""What operations compute on arrays of any size, in blocks that stay in a processor's cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kpu_ir.dialects.tile import Window
from kpu_ir.support.types import accumulator_dtype

Array = np.ndarray[Any, np.dtype[Any]]

ELEMENTS = 1 << 15
"""About how many elements a block of a scalar body has; several arrays of it fit into L2."""
GATHERED = 1 << 19
"""About how many elements of a convolution's operand are gathered at a time."""

COMBINE: dict[str, np.ufunc] = {
    "add": np.add,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
}
"""The meaning of a reduction."""


def windows(x: Array, window: Window) -> Array:
    """The values under each position of a window, ``1 x c x h x w`` as ``c x kh x kw x oh x ow``; a
    view."""
    channels, height, width = x.shape[-3:]
    c, h, w = x.strides[-3:]
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.strides, window.dilations
    oh, ow = window.positions((height, width))
    return np.lib.stride_tricks.as_strided(
        x, (channels, kh, kw, oh, ow), (c, h * dh, w * dw, h * sh, w * sw), writeable=False
    )


def gathered(x: Array, window: Window) -> Array:
    """The right operand of a convolution as a matrix, ``c kh kw`` x ``oh ow``."""
    view = windows(x, window)
    return view.reshape(view.shape[0] * window.taps, -1)


def _fast(x: Array) -> Array:
    """``x`` so that BLAS takes it: one of its last two dimensions must be dense."""
    item = x.itemsize
    return x if item in x.strides[-2:] else np.ascontiguousarray(x)


def multiplied(a: Array, b: Array) -> Array:
    """``a @ b``."""
    return np.matmul(_fast(a), _fast(b))


def convolved(a: Array, b: Array, window: Window, extents: tuple[int, ...]) -> Array:
    """Filters ``m x c x kh x kw`` on ``c x h x w``; ``extents`` are the result's."""
    view, filters = windows(b, window), a.reshape(extents[-3], -1)
    channels, kh, kw, oh, ow = view.shape
    depth = channels * kh * kw
    rows = max(1, GATHERED // max(1, depth * ow))
    if rows >= oh or (kh, kw) == (1, 1) == window.strides:
        return np.matmul(filters, view.reshape(depth, -1)).reshape(extents)
    out = np.empty((extents[-3], oh * ow), filters.dtype)
    for at in range(0, oh, rows):
        part = view[..., at : at + rows, :].reshape(depth, -1)
        np.matmul(filters, part, out=out[:, at * ow : at * ow + part.shape[1]])
    return out.reshape(extents)


def weighted(
    kind: str, x: Array, window: Window, weights: Array | None, dtype: np.dtype[Any]
) -> Array:
    """The values under each position of a window combined, each channel by itself, times
    ``weights`` (``c x kh x kw``) where there are any; ``c x oh x ow``, in ``dtype``."""
    view, combine = windows(x, window), COMBINE[kind]
    channels, kh, kw, oh, ow = view.shape
    wide = accumulator_dtype(dtype)
    out = np.empty((channels, oh, ow), dtype)
    w = None if weights is None else weights.reshape(channels, kh, kw, 1, 1).astype(wide)
    block = max(1, ELEMENTS // max(1, oh * ow))
    for at in range(0, channels, block):
        part = view[at : at + block]
        total: Array | None = None
        room = np.empty((part.shape[0], oh, ow), wide)
        for i in range(kh):
            for j in range(kw):
                tap = part[:, i, j]
                if w is not None:
                    tap = np.multiply(
                        tap.astype(wide, copy=False),
                        w[at : at + block, i, j],
                        out=np.empty_like(room) if total is None else room,
                    )
                if total is None:
                    total = tap if w is not None else tap.astype(wide)
                else:
                    combine(total, tap, out=total)
        assert total is not None
        out[at : at + block] = total
    return out


def reduced(
    kind: str, x: Array, axes: tuple[int, ...], dtype: np.dtype[Any], before: Array | None
) -> Array:
    """``x`` combined along ``axes``, which stay with one element, and with ``before``; in
    ``dtype``."""
    combine = COMBINE[kind]
    wide = accumulator_dtype(dtype)
    part = combine.reduce(x.astype(wide, copy=False), axis=axes, keepdims=True)
    if before is not None:
        part = combine(before.astype(wide, copy=False), part)
    return part.astype(dtype, copy=False)


def blocked(
    body: Callable[..., Array], operands: Sequence[Array], extents: tuple[int, ...]
) -> Array:
    """``body`` of operands that broadcast to ``extents``, cut along one dimension."""
    shape = np.broadcast_shapes(*[x.shape for x in operands])
    size = 1
    for axis, extent in enumerate(shape):  # the first dimension that is worth cutting
        size = int(np.prod(shape[axis + 1 :], dtype=np.int64))
        if extent > 1:
            break
    else:
        return body(*operands)
    rows = max(1, ELEMENTS // max(1, size))
    if rows >= extent:
        return body(*operands)
    out: Array | None = None
    before = (slice(None),) * axis
    for at in range(0, extent, rows):
        parts: list[Array] = []
        for x in operands:
            own = axis - (len(shape) - x.ndim)
            cut = own >= 0 and x.shape[own] > 1
            parts.append(x[(slice(None),) * own + (slice(at, at + rows),)] if cut else x)
        part = body(*parts)
        if out is None:
            out = np.empty(shape, part.dtype)
        out[(*before, slice(at, at + rows))] = part
    assert out is not None
    return out
