"""Pooling, its inverse, and norms over what is around."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kpu_ir.frontends.onnx.choosing import check_made
from kpu_ir.frontends.onnx.convolution import padding
from kpu_ir.frontends.onnx.declared import check_size
from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.onnx.scatter import scattered
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar import formulas
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.scalar.widening import working_type
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array
from kpu_ir.support.windows import elements_under

MOST_PLACES = 1 << 10
"""Elements under a window of a pooling that says where its maxima stand."""


@dataclass(frozen=True)
class Windows:
    """The windows of a pooling: sizes, steps, and padding. ``counted``: the padding that a mean may
    count; ``ceil_mode`` adds some behind the image that counts for nothing."""

    sizes: list[int]
    strides: list[int]
    dilations: list[int]
    low: list[int]
    high: list[int]
    counted: tuple[list[int], list[int]]

    def steps(self) -> dict[str, Any]:
        """Options of ``Graph.pool``."""
        given = "strides", "dilations", "low", "high"
        return {name: getattr(self, name) for name in given}

    def image(self, spatial: Sequence[int]) -> list[int]:
        """The extents of an image with its padding."""
        return [n + a + b for n, a, b in zip(spatial, self.low, self.high)]

    def counts(self, spatial: Sequence[int], padding: bool) -> Array:
        """How many elements of an image stand under each window, and of what is ``counted``."""
        counted = self.counted if padding else None
        return elements_under(
            spatial, self.sizes, self.strides, self.dilations, self.low, self.high, counted
        )


def windows_of(node: Node, spatial: Sequence[int]) -> Windows:
    """The windows that a node's attributes say."""
    rank = len(spatial)
    if not 1 <= rank <= 3:
        raise KpuError(f"pooling of {rank} spatial dimensions is not supported")
    window = node.spatial("kernel_shape", rank, 0)
    strides, dilations = node.spatial("strides", rank, 1), node.spatial("dilations", rank, 1)
    if min((*window, *strides, *dilations)) < 1:
        raise KpuError(f"a window of {window} with strides {strides} and dilations {dilations}")
    low, high = padding(node, spatial, window, strides, dilations)
    counted = (list(low), list(high))
    if node.integer("ceil_mode", 0):
        for axis, (n, k) in enumerate(zip(spatial, window)):
            s, d = strides[axis], dilations[axis]
            room = n + low[axis] + high[axis] - (k - 1) * d - 1
            positions = -(-room // s) + 1
            if (positions - 1) * s >= n + low[axis]:
                positions -= 1  # a window that begins behind the image is left out
            high[axis] += max(0, (positions - 1) * s - room)
    return Windows(window, strides, dilations, low, high, counted)


@operator("MaxPool", "AveragePool", "LpPool")
def pool(node: Node) -> Tensor | list[Tensor]:
    """The largest, the mean or the norm of what is under a window."""
    x, graph, kind = node.value(0), node.graph, node.proto.op_type
    wide = working_type(x.element_type)
    windows = windows_of(node, x.shape[2:])
    window, low, high = windows.sizes, windows.low, windows.high
    strides, dilations, given = windows.strides, windows.dilations, windows.steps()
    check_size((*x.shape[:2], *windows.image(x.shape[2:])), "its image")
    if kind == "MaxPool":
        if node.wants(1):
            return with_places(node, x, window, strides, dilations, low, high)
        return graph.pool("max", x, window, **given)
    if kind == "LpPool":
        p = node.integer("p", 2)
        powers = graph.map(lambda v: formulas.power(abs(v.to(wide)), p), x)
        sums = graph.pool("add", powers, window, **given)
        return graph.finished(lambda v: root(v, p), x.element_type, sums)
    check_made(math.prod(windows.image(x.shape[2:])))
    include = bool(node.integer("count_include_pad", 0))
    counted = windows.counted if include else None
    return graph.average_pool(x, window, count_padding=counted, **given)


def with_places(
    node: Node,
    x: Value,
    window: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    low: Sequence[int],
    high: Sequence[int],
) -> list[Tensor]:
    """The largest under a window and where it stands in the whole tensor: everything under a window
    beside each other, then the first largest of it."""
    graph, spatial, rank = node.graph, x.shape[2:], len(window)
    if math.prod(window) > MOST_PLACES:
        raise KpuError(f"the places of maxima under windows of {math.prod(window)} elements")
    check_made(x.shape[0] * x.shape[1])
    n, c = x.shape[:2]
    padded = graph.pad(x, [0, 0, *low], [0, 0, *high], -math.inf) if any((*low, *high)) else x
    spans = zip(padded.shape[2:], window, strides, dilations)
    counts = [(e - (k - 1) * d - 1) // s + 1 for e, k, s, d in spans]
    parts = [
        graph.reshape(
            graph.slice(
                padded, [0, 0, *(p * d for p, d in zip(place, dilations))], [1, 1, *strides],
                (n, c, *counts),
            ),
            (n, c, 1, *counts),
        )
        for place in np.ndindex(*window)
    ]  # fmt: skip
    beside = graph.concat(parts, 2) if len(parts) > 1 else parts[0]
    order = range(rank - 1, -1, -1) if not node.integer("storage_order", 0) else range(rank)
    steps = [0] * rank
    step = 1
    for axis in order:
        steps[axis], step = step, step * spatial[axis]
    # What an element under a window adds to the place of the window's first.
    offsets = np.array(
        [
            sum(p * d * s for p, d, s in zip(place, dilations, steps))
            for place in np.ndindex(*window)
        ]
    )
    first = np.zeros(counts, np.int64)
    for axis, (count, s, a) in enumerate(zip(counts, strides, low)):
        along = [-1 if i == axis else 1 for i in range(rank)]
        first = first + (steps[axis] * (np.arange(count) * s - a)).reshape(along)
    image = (np.arange(n * c) * math.prod(spatial)).reshape(n, c, *[1] * rank)
    which = graph.arg_reduce("max", beside, 2, keep=False)
    moved = graph.gather(graph.constant(offsets.astype(np.int64)), which)
    place = graph.map(
        lambda i, f, j: i + f + j,
        moved,
        graph.constant(first),
        graph.constant(image.astype(np.int64)),
    )
    return [graph.reduce("max", beside, [2], keep=False), place]


@operator("MaxUnpool")
def unpool(node: Node) -> Tensor:
    """Elements back in the places that a pooling took them from, zeros elsewhere."""
    graph, x, places = node.graph, node.value(0), node.value(1)
    rank = len(x.shape) - 2
    window, strides = node.spatial("kernel_shape", rank, 1), node.spatial("strides", rank, 1)
    pads = node.integers("pads") or [0] * (2 * rank)
    spans = zip(x.shape[2:], strides, window, pads[:rank], pads[rank:])
    image = [(n - 1) * s + k - a - b for n, s, k, a, b in spans]
    shape = (*x.shape[:2], *image)
    nothing = graph.constant(np.zeros(math.prod(shape), x.dtype))
    flat = scattered(node, nothing, graph.reshape(places, (-1,)), graph.reshape(x, (-1,)), "none")
    y = graph.reshape(flat, shape)
    wanted = node.numbers(2, "output_shape") if node.has(2) else list(shape)
    behind = [w - n for w, n in zip(wanted, shape)]
    if len(wanted) != len(shape) or min(behind) < 0:
        raise KpuError(f"output_shape {wanted} is smaller than {list(shape)}")
    return graph.pad(y, [0] * len(shape), behind) if any(behind) else y


def root(x: Scalar, p: float) -> Scalar:
    """The p-th root."""
    return x if p == 1 else formulas.power(x, 1.0 / p)


@operator("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(node: Node) -> Tensor:
    """A reduction over the image."""
    x, graph = node.value(0), node.graph
    axes = list(range(2, len(x.shape)))
    if node.proto.op_type == "GlobalMaxPool":
        return graph.reduce("max", x, axes)
    if node.proto.op_type == "GlobalLpPool":
        p = node.integer("p", 2)
        wide = working_type(x.element_type)
        powers = graph.map(lambda v: formulas.power(abs(v.to(wide)), p), x)
        sums = graph.reduce("add", powers, axes)
        return graph.finished(lambda v: root(v, p), x.element_type, sums)
    return graph.mean(x, axes)


@operator("LRN")
def local_response(node: Node) -> Tensor:
    """Divided by a power of the sum of squares of the channels around."""
    x, graph, size = node.value(0), node.graph, node.integer("size", 1)
    n, c, *spatial = x.shape
    kind, wide = x.element_type, working_type(x.element_type)
    squares = graph.map(lambda v: formulas.square(v.to(wide)), x)
    squares = graph.reshape(squares, (n, 1, c, math.prod(spatial)))
    around: dict[str, Any] = {"low": [(size - 1) // 2, 0], "high": [size // 2, 0]}
    sums = graph.reshape(graph.pool("add", squares, [size, 1], strides=[1, 1], **around), x.shape)
    alpha, beta = node.number("alpha", 1e-4) / size, node.number("beta", 0.75)
    bias = node.number("bias", 1.0)

    def share(v: Scalar, s: Scalar) -> Scalar:
        return (v.to(wide) / formulas.power(bias + alpha * s, beta)).to(kind)

    return graph.map(share, x, sums)
