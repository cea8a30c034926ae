"""What operations compute on arrays of any size, in blocks that stay in a processor's cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from kpu_ir.dialects.tile import Window
from kpu_ir.scalar.body import Body
from kpu_ir.sim.values.exact import product
from kpu_ir.support.types import Array, accumulator_dtype, stored

ELEMENTS = 1 << 16
"""About how many elements a block has; several arrays of it fit into L2."""
GATHERED = 1 << 19
"""About how many elements of a convolution's operand are gathered at a time."""

COMBINE: dict[str, np.ufunc] = {
    "add": np.add,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
}
"""The meaning of a reduction."""


def padded(x: Array, into: tuple[slice, ...], extents: tuple[int, ...], fill: Any) -> Array:
    """``x`` at ``into`` in a block of ``extents``, around it ``fill``."""
    out = np.empty(extents, x.dtype)
    inside: tuple[slice, ...] = ()
    for part in into:  # before and after it in this dimension, within it in those before
        out[(*inside, slice(0, part.start))] = fill
        out[(*inside, slice(part.stop, None))] = fill
        inside = (*inside, part)
    out[into] = x
    return out


@dataclass(frozen=True)
class Hanging:
    """A block that hangs into the padding, of which as many channels at a time are made as windows
    take: ``x`` at ``into`` in a block of the extents ``shape``, around it ``fill``."""

    x: Array
    into: tuple[slice, ...]
    shape: tuple[int, ...]
    fill: Any

    def whole(self) -> Array:
        """All of it."""
        return padded(self.x, self.into, self.shape, self.fill)


def channels_of(tile: Array | Hanging) -> Callable[[slice], Array]:
    """A function from some channels of a tile to these, ``n x h x w``."""
    if isinstance(tile, Hanging) and tile.x.shape[:-2] == tile.shape[:-2]:
        into, image = tile.into[-2:], tile.shape[-2:]
        x = _channels(tile.x)

        def some(part: slice) -> Array:
            block = x[part]
            return padded(block, (slice(0, len(block)), *into), (len(block), *image), tile.fill)

        return some
    array = tile.whole() if isinstance(tile, Hanging) else tile
    return _channels(array).__getitem__


def _channels(x: Array) -> Array:
    """Images one behind the other; they may be empty, where a block is nothing but padding."""
    return x.reshape(prod(x.shape[:-2]), *x.shape[-2:])


def windows(x: Array, window: Window) -> Array:
    """The values under each position of a window, ``1 x c x h x w`` as ``c x kh x kw x oh x ow``; a
    view."""
    channels, height, width = x.shape[-3:]
    c, h, w = x.strides[-3:]
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.strides, window.dilations
    oh, ow = window.positions((height, width))
    shape, strides = (channels, kh, kw, oh, ow), (c, h * dh, w * dw, h * sh, w * sw)
    # NumPy goes by the name of a dtype there, which says nothing of those that are not its own.
    plain = x.view(f"V{x.itemsize}") if x.dtype.isbuiltin == 2 else x
    found = np.lib.stride_tricks.as_strided(plain, shape, strides, writeable=False)
    return found if plain is x else found.view(x.dtype)


def gathered(x: Array, window: Window) -> Array:
    """The right operand of a convolution as a matrix, ``c kh kw`` x ``oh ow``."""
    view = windows(x, window)
    return view.reshape(view.shape[0] * window.taps, -1)


def _fast(x: Array) -> Array:
    """``x`` so that BLAS takes it: one of its last two dimensions must be dense."""
    item = x.itemsize
    return x if item in x.strides[-2:] else np.ascontiguousarray(x)


def multiplied(a: Array, b: Array, dtype: np.dtype[Any]) -> Array:
    """``a @ b``, added up in ``dtype``: integers exactly, short floats in f32."""
    if dtype.kind in "iu":
        return product(a, b, dtype)
    wide = dtype if dtype == np.float64 else np.dtype(np.float32)
    return np.matmul(_fast(a.astype(wide, copy=False)), _fast(b.astype(wide, copy=False)))


def convolved(
    a: Array, b: Array, window: Window, extents: tuple[int, ...], dtype: np.dtype[Any]
) -> Array:
    """Filters ``m x c x kh x kw`` on ``c x h x w``, added up in ``dtype``; ``extents`` are the
    result's."""
    view, filters = windows(b, window), a.reshape(extents[-3], -1)
    channels, kh, kw, oh, ow = view.shape
    depth = channels * kh * kw
    rows = max(1, GATHERED // max(1, depth * ow))
    if rows >= oh or (kh, kw) == (1, 1) == window.strides:
        return multiplied(filters, view.reshape(depth, -1), dtype).reshape(extents)
    out = np.empty((extents[-3], oh, ow), dtype)
    for at in range(0, oh, rows):
        part = multiplied(filters, view[..., at : at + rows, :].reshape(depth, -1), dtype)
        out[:, at : at + rows] = part.reshape(extents[-3], -1, ow)
    return out.reshape(extents)


def weighted(
    kind: str,
    source: Callable[[slice], Array],
    window: Window,
    weights: Array | None,
    out: Array,
) -> Iterator[slice]:
    """The values under each position of a window combined, each channel by itself, times
    ``weights`` (``c x kh x kw``) where there are any, into ``out``, ``c x oh x ow``; ``source`` has
    the ``n x h x w`` of some channels. Says again and again which channels are done.

    NumPy takes as long to begin a loop as for some hundred elements, and a row of a small image has
    seven. So its loops run over all positions, or over the channels where those are more.
    """
    combine, wide = COMBINE[kind], accumulator_dtype(out.dtype)
    channels, oh, ow = out.shape
    w = None if weights is None else weights.reshape(channels, -1).astype(wide, copy=False)
    sums = _by_channels if channels > oh * ow else _by_positions
    block = max(1, ELEMENTS // max(1, oh * ow))
    for at in range(0, channels, block):
        part = slice(at, min(at + block, channels))
        x = source(part).astype(wide, copy=False)
        out[part] = sums(combine, x, window, None if w is None else w[part], (oh, ow))
        yield part


def _by_channels(
    combine: np.ufunc, x: Array, window: Window, w: Array | None, positions: tuple[int, int]
) -> Array:
    """``weighted`` of some channels, beside each other."""
    (_, kw), (sh, sw), (dh, dw) = window.kernel, window.strides, window.dilations
    oh, ow = positions
    image = np.ascontiguousarray(x.transpose(1, 2, 0))
    across = None if w is None else np.ascontiguousarray(w.T)

    def taps() -> Iterator[tuple[Array, Array | None]]:
        for tap in range(window.taps):
            i, j = tap // kw * dh, tap % kw * dw
            below, beside = i + (oh - 1) * sh + 1, j + (ow - 1) * sw + 1
            yield image[i:below:sh, j:beside:sw], None if across is None else across[tap]

    total = np.empty((oh, ow, len(x)), x.dtype)
    _combine(combine, taps(), total, (...,))
    return total.transpose(2, 0, 1)


def _by_positions(
    combine: np.ufunc, x: Array, window: Window, w: Array | None, positions: tuple[int, int]
) -> Array:
    """``weighted`` of some channels, all positions of each as one row: that below the last of a row
    of the image comes after it, and what lies between them is computed for nothing.

    Strides leave a plane for each remainder of rows and columns, whose rows are dense.
    """
    (_, kw), (sh, sw), (dh, dw) = window.kernel, window.strides, window.dilations
    oh, ow = positions
    n, _, width = x.shape
    row = -(-width // sw)
    length = (oh - 1) * row + ow
    planes: dict[tuple[int, int], Array] = {}

    def plane(top: int, left: int) -> Array:
        if (top, left) not in planes:
            rows = x[:, top::sh, left::sw]
            if rows.shape[2] < row:
                where = tuple(slice(0, extent) for extent in rows.shape)
                rows = padded(rows, where, (*rows.shape[:2], row), 0)
            planes[top, left] = rows.reshape(n, -1)
        return planes[top, left]

    def taps() -> Iterator[tuple[Array, Array | None]]:
        for tap in range(window.taps):
            (down, top), (right, left) = divmod(tap // kw * dh, sh), divmod(tap % kw * dw, sw)
            begin = down * row + right
            seen = plane(top, left)[:, begin : begin + length]
            yield seen, None if w is None else w[:, tap, None]

    total = np.empty((n, oh * row), x.dtype)
    total[:, length:] = 0
    _combine(combine, taps(), total, (slice(None), slice(0, length)))
    return total.reshape(n, oh, row)[:, :, :ow]


def _combine(
    combine: np.ufunc,
    taps: Iterator[tuple[Array, Array | None]],
    total: Array,
    within: tuple[Any, ...],
) -> None:
    """What the taps of a window see, each times its weights, combined in ``total[within]``; what is
    around that is lost."""
    into = total[within]
    seen, w = next(taps)
    if w is None:
        np.copyto(into, seen)
        for seen, _ in taps:
            combine(into, seen, out=into)
        return
    np.multiply(seen, w, out=into)
    term = total.copy()  # dense like it: one loop for all of both
    part = term[within]
    for seen, w in taps:
        assert w is not None
        np.multiply(seen, w, out=part)
        combine(total, term, out=total)


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


def part_of(x: Array, axis: int, part: slice) -> Array:
    """What belongs to a part of a result along its ``axis``, counted from the last, of an operand
    that broadcasts to it."""
    if x.ndim < -axis or x.shape[axis] == 1:
        return x
    return x[(..., part, *(slice(None),) * (-axis - 1))]


def blocked(body: Body, operands: Sequence[Array], out: Array) -> Array:
    """``body`` of operands that broadcast, into ``out``, block by block along one dimension."""
    shape = out.shape
    if not any(x.shape == shape for x in operands) and (
        np.broadcast_shapes(*[x.shape for x in operands]) != shape
    ):
        out[...] = stored(body(*operands), out.dtype)
        return out
    axis = next((axis for axis, extent in enumerate(shape) if extent > 1), None)
    if axis is None:
        return body(*operands, out=out) if shape else np.asarray(stored(body(*operands), out.dtype))
    extent, axis = shape[axis], axis - len(shape)
    rows = max(1, ELEMENTS * extent // max(1, out.size))
    if rows >= extent:
        return body(*operands, out=out)
    for at in range(0, extent, rows):
        part = slice(at, at + rows)
        body(*[part_of(x, axis, part) for x in operands], out=part_of(out, axis, part))
    return out


def finished(
    sums: Array, epilogue: Body | None, operands: Sequence[Array], kept: np.dtype[Any]
) -> Array:
    """Sums that nobody else has as they are kept, after an epilogue if there is one."""
    if epilogue is None:
        return stored(sums, kept)
    out = sums if sums.dtype == kept else np.empty(sums.shape, kept)
    return blocked(epilogue, [sums, *operands], out)
