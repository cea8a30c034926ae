"""Operators that read an image between its elements, at places that are data: each place gathers the
elements around it and weights them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from kpu_ir.frontends.onnx.convolution import biased, check_weights, padding
from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.python.value import Value
from kpu_ir.frontends.python.windows import convolve
from kpu_ir.scalar import formulas
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import element_type_of

Tap = Callable[[Scalar], Any]
"""Of a place along a dimension: a weight, or the number of an element."""

CUBIC = -0.75
"""The sharpness of cubic interpolation."""

F32 = element_type_of(np.dtype(np.float32))
I64 = element_type_of(np.dtype(np.int64))


def weighted_sum(
    graph: Graph,
    table: Value,
    base: Value,
    places: Sequence[Value],
    extents: Sequence[int],
    taps: Sequence[Sequence[tuple[Tap, Tap]]],
    combine: Callable[[Scalar, Scalar], Scalar] = lambda a, b: a + b,
) -> Value:
    """Rows of ``table`` around ``places``, times their weights, summed (in f32): places x channels.

    ``base`` is the first row of each place's image; ``places`` are its coordinates (f32), one tensor
    for each dimension of ``extents``; ``taps`` are a dimension's neighbours, each the number of an
    element and its weight.
    """
    strides = [math.prod(extents[axis + 1 :]) for axis in range(len(extents))]
    total: Value | None = None
    for chosen in itertools.product(*taps):

        def row(b: Scalar, *at: Scalar, chosen: Any = chosen) -> Scalar:
            for (number, _), x, stride, n in zip(chosen, at, strides, extents):
                # Weights are 0 where an index is outside: any element will do.
                b = b + formulas.clip(number(x), 0.0, n - 1.0).to(I64) * stride
            return b

        def weight(*at: Scalar, chosen: Any = chosen) -> Scalar:
            product: Any = 1.0
            for (_, share), x in zip(chosen, at):
                product = product * share(x)
            return product

        rows = graph.gather(table, graph.map(row, base, *places))
        share = graph.reshape(graph.map(weight, *places), (-1, 1))
        part = graph.map(lambda v, w: v.to(F32) * w, rows, share)
        total = part if total is None else graph.map(combine, total, part)
    assert total is not None
    return total


def images_as_rows(graph: Graph, x: Value) -> Value:
    """n x c x image as (n image) x c."""
    n, c, *image = x.shape
    order = (0, *range(2, len(x.shape)), 1)
    return graph.reshape(graph.transpose(x, order), (n * math.prod(image), c))


def first_rows(graph: Graph, images: int, size: int, each: int) -> Value:
    """The first row of the image of each place: ``images`` of ``size`` rows, ``each`` places in one."""
    return graph.constant(np.repeat(np.arange(images, dtype=np.int64) * size, each))


def inside(x: Scalar, extent: int) -> Scalar:
    """1 where ``x`` is the number of one of ``extent`` elements, else 0."""
    return formulas.where((x >= 0.0) & (x <= extent - 1.0), x.trace.number(1.0, F32), 0.0)


def reflected(x: Scalar, low: float, high: float) -> Scalar:
    """``x`` mirrored at both ends until it is between them."""
    span = high - low
    if span <= 0:
        return x * 0.0
    away = (x - low) % (2 * span)
    return formulas.minimum(away, 2 * span - away) + low


def linear_taps(at: Callable[[Scalar], Scalar], shown: Callable[[Scalar], Scalar]) -> list[Any]:
    """The two elements around a place; ``at`` makes an index one of an element, ``shown`` its weight
    0 where that is no element of the image."""

    def number(k: int, x: Scalar) -> Scalar:
        return formulas.floor(x) + float(k)

    def share(k: int, x: Scalar) -> Scalar:
        part = x - formulas.floor(x)
        return (part if k else 1.0 - part) * shown(number(k, x))

    return [(lambda x, k=k: at(number(k, x)), partial(share, k)) for k in (0, 1)]


def cubic_taps(at: Callable[[Scalar], Scalar], shown: Callable[[Scalar], Scalar]) -> list[Any]:
    """The four elements around a place."""

    def number(k: int, x: Scalar) -> Scalar:
        return formulas.floor(x) + float(k - 1)

    def share(k: int, x: Scalar) -> Scalar:
        t = x - formulas.floor(x)
        d = [t + 1.0, t, 1.0 - t, 2.0 - t][k]
        a = CUBIC
        if k in (1, 2):
            curve = ((a + 2) * d - (a + 3)) * d * d + 1.0
        else:
            curve = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        return curve * shown(number(k, x))

    return [(lambda x, k=k: at(number(k, x)), partial(share, k)) for k in range(4)]


@operator("GridSample")
def grid_sample(node: Node) -> Tensor:
    """Coordinates from -1 to 1 over the image, the last dimension first."""
    graph, x, grid = node.graph, node.value(0), node.value(1)
    rank = len(x.shape) - 2
    if len(grid.shape) != rank + 2 or grid.shape[-1] != rank or grid.shape[0] != x.shape[0]:
        raise KpuError(f"a grid of shape {grid.shape} does not fit an image of {x.shape}")
    mode, way = node.text("mode", "linear"), node.text("padding_mode", "zeros")
    corners = bool(node.integer("align_corners", 0))
    if mode not in ("linear", "bilinear", "nearest", "cubic", "bicubic"):
        raise KpuError(f"the mode {mode!r} is not supported")
    if way not in ("zeros", "border", "reflection"):
        raise KpuError(f"the padding mode {way!r} is not supported")
    (n, c, *image), shape = x.shape, grid.shape[1:-1]
    each = math.prod(shape)
    flat = graph.cast(graph.reshape(grid, (n * each, rank)), np.float32)
    places: list[Value] = []
    taps: list[list[Any]] = []
    for axis, extent in enumerate(image):
        low, high = (0.0, extent - 1.0) if corners else (-0.5, extent - 0.5)

        def place(v: Scalar, e: int = extent, low: float = low, high: float = high) -> Scalar:
            v = (v + 1.0) * ((e - 1) / 2) if corners else ((v + 1.0) * float(e) - 1.0) / 2.0
            if mode == "nearest":
                v = formulas.round_half_even(v)
            v = formulas.where(v == v, v, -2.0)  # nothing is at a NaN
            if way == "border":
                return formulas.where((v < low) | (v > high), formulas.clip(v, 0.0, e - 1.0), v)
            if way == "reflection":
                return formulas.where((v < low) | (v > high), reflected(v, low, high), v)
            return formulas.clip(v, -4.0, e + 4.0)

        def at(i: Scalar, low: float = low, high: float = high) -> Scalar:
            return reflected(i, low, high) if way == "reflection" else i

        def shown(i: Scalar, e: int = extent) -> Any:
            return inside(i, e) if way == "zeros" else 1.0

        column = graph.slice(flat, [0, rank - 1 - axis], [1, 1], (n * each, 1))
        places.append(graph.map(place, graph.reshape(column, (n * each,))))
        if mode == "nearest":
            taps.append([(at, lambda i, shown=shown: i * 0.0 + shown(i))])
        else:
            taps.append((cubic_taps if "cubic" in mode else linear_taps)(at, shown))
    base = first_rows(graph, n, math.prod(image), each)
    y = weighted_sum(graph, images_as_rows(graph, x), base, places, image, taps)
    y = graph.reshape(graph.cast(y, x.dtype), (n, *shape, c))
    return graph.transpose(y, (0, rank + 1, *range(1, rank + 1)))


@operator("RoiAlign")
def roi_align(node: Node) -> Tensor:
    """Regions of an image, each as a small image of its own: means (or maxima) of samples."""
    graph, x = node.graph, node.value(0)
    c, image = x.shape[1], x.shape[2:]
    height, width = node.integer("output_height", 1), node.integer("output_width", 1)
    samples, mode = node.integer("sampling_ratio", 0), node.text("mode", "avg")
    scale = node.number("spatial_scale", 1.0)
    default = "half_pixel" if node.version >= 16 else "output_half_pixel"
    half = node.text("coordinate_transformation_mode", default) == "half_pixel"
    if samples < 1:
        raise KpuError(
            "a sampling_ratio of 0 lets the sizes of regions say how many samples there are; they "
            "are known only at run time",
            hint="export it with a sampling_ratio",
        )
    if mode not in ("avg", "max") or len(image) != 2:
        raise KpuError(f"the mode {mode!r} of images of {len(image)} dimensions is not supported")
    regions = node.shape(1)[0]
    rois = graph.cast(node.value(1), np.float32)
    counts = (height * samples, width * samples)
    offset = 0.5 if half else 0.0

    def side(axis: int) -> Value:
        """Coordinates of the samples along a dimension: regions x samples."""
        first, last = (
            graph.slice(rois, [0, k], [1, 1], (regions, 1)) for k in (1 - axis, 3 - axis)
        )
        parts = height if axis == 0 else width
        number = (np.arange(counts[axis]) + 0.5) / samples
        at = graph.constant(number.astype(np.float32)[None])

        def place(a: Scalar, b: Scalar, i: Scalar) -> Scalar:
            begin, end = a * scale - offset, b * scale - offset
            size = end - begin if half else formulas.maximum(end - begin, 1.0)
            return begin + size / float(parts) * i

        return graph.map(place, first, last, at)

    full = (regions, *counts)
    rows = graph.reshape(graph.broadcast(graph.reshape(side(0), (regions, -1, 1)), full), (-1,))
    columns = graph.reshape(graph.broadcast(graph.reshape(side(1), (regions, 1, -1)), full), (-1,))
    size = math.prod(image)
    base = graph.map(lambda b: b.to(I64) * size, graph.reshape(node.value(2), (regions, 1, 1)))
    base = graph.reshape(graph.broadcast(base, full), (-1,))

    def near(extent: int) -> list[tuple[Tap, Tap]]:
        """Both elements around a place, which is held within the image up to one element outside."""

        def held(v: Scalar) -> Scalar:
            return formulas.clip(v, 0.0, extent - 1.0)

        def low(v: Scalar) -> Scalar:
            return formulas.floor(held(v))

        def shown(v: Scalar) -> Scalar:
            return formulas.where((v < -1.0) | (v > float(extent)), v.trace.number(0.0, F32), 1.0)

        return [
            (low, lambda v: (1.0 - (held(v) - low(v))) * shown(v)),
            (lambda v: low(v) + 1.0, lambda v: (held(v) - low(v)) * shown(v)),
        ]

    taps = [near(extent) for extent in image]
    combine = formulas.maximum if mode == "max" else (lambda a, b: a + b)
    table = images_as_rows(graph, x)
    y = weighted_sum(graph, table, base, [rows, columns], image, taps, combine)
    y = graph.reshape(y, (regions, height, samples, width, samples, c))
    y = graph.reduce("max" if mode == "max" else "add", y, [2, 4], keep=False)
    y = y if mode == "max" else y * (1.0 / samples**2)
    return graph.transpose(graph.cast(y, x.dtype), (0, 3, 1, 2))


@operator("DeformConv")
def deform_conv(node: Node) -> Tensor:
    """A convolution whose windows are samples at places of their own; then a product as any."""
    graph, x, w, offsets = node.graph, node.value(0), node.value(1), node.value(2)
    rank = check_weights(node, x, w)
    if rank != 2:
        raise KpuError(f"only images are supported, got {rank} spatial dimensions")
    strides, dilations = node.spatial("strides", rank, 1), node.spatial("dilations", rank, 1)
    n, c, *image = x.shape
    window = w.shape[2:]
    low, _ = padding(node, image, window, strides, dilations)
    groups, count = node.integer("offset_group", 1), math.prod(window)
    out = offsets.shape[2:]
    if offsets.shape[:2] != (n, groups * count * 2) or groups < 1 or c % groups:
        raise KpuError(f"offsets of shape {offsets.shape} do not fit {groups} groups of {count}")
    moved = graph.cast(graph.reshape(offsets, (n * groups, count, 2, *out)), np.float32)
    each = count * math.prod(out)
    places: list[Value] = []
    for axis in range(2):
        part = graph.slice(moved, [0, 0, axis, 0, 0], [1] * 5, (n * groups, count, 1, *out))
        taps_at = np.indices(window)[axis].reshape(-1) * dilations[axis]
        along = np.arange(out[axis]) * strides[axis] - low[axis]
        shape = (1, 1, -1, 1) if axis == 0 else (1, 1, 1, -1)
        own = taps_at.reshape(1, -1, 1, 1) + along.reshape(shape)
        part = graph.reshape(part, (n * groups, count, *out))
        part = part + graph.constant(own.astype(np.float32))
        limits = (-4.0, image[axis] + 4.0)
        part = graph.map(
            lambda v, limits=limits: formulas.clip(formulas.where(v == v, v, -4.0), *limits), part
        )
        places.append(graph.reshape(part, (-1,)))
    table = graph.reshape(x, (n * groups, c // groups, *image))
    base = first_rows(graph, n * groups, math.prod(image), each)
    near = [linear_taps(lambda i: i, partial(inside, extent=e)) for e in image]
    y = weighted_sum(graph, images_as_rows(graph, table), base, places, image, near)
    y = graph.reshape(y, (n, groups, count, *out, c // groups))
    if node.has(4):
        mask = graph.reshape(node.value(4), (n, groups, count, *out, 1))
        y = graph.map(lambda v, m: v * m.to(F32), y, mask)
    # Channels, then elements under the window: what a product with the weights reads.
    y = graph.transpose(graph.cast(y, x.dtype), (0, 1, 5, 2, 3, 4))
    y = graph.reshape(y, (n, c * count, *out))
    flat = graph.reshape(w, (w.shape[0], w.shape[1] * count, 1, 1))
    ones, zeros = [1, 1], [0, 0]
    y = convolve(graph, y, flat, ones, ones, zeros, zeros, node.integer("group", 1))
    return biased(node, y, 3)
