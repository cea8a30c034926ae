"""Convolutions, of one to three spatial dimensions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from xdsl.ir import Attribute

from kpu_ir.frontends.onnx.declared import check_size
from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.onnx.transposed import Dimension, transposed
from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.python.value import Value
from kpu_ir.frontends.python.windows import convolve
from kpu_ir.scalar.widening import working_type
from kpu_ir.support.errors import KpuError


def padding(
    node: Node,
    image: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[list[int], list[int]]:
    """``pads`` or ``auto_pad``: elements before and behind each dimension of the image."""
    rank = len(image)
    if min((*strides, *dilations), default=1) < 1:
        raise KpuError(f"strides {[*strides]} and dilations {[*dilations]} must be 1 or more")
    auto = node.text("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        low, high = [], []
        for n, k, s, d in zip(image, window, strides, dilations):
            total = max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n)
            small, large = total // 2, total - total // 2
            low.append(small if auto == "SAME_UPPER" else large)
            high.append(large if auto == "SAME_UPPER" else small)
        return low, high
    pads = (node.integers("pads") if auto == "NOTSET" else None) or [0] * (2 * rank)
    if len(pads) != 2 * rank:
        raise KpuError(f"attribute 'pads': expected {2 * rank} integers, got {len(pads)}")
    if min(pads) < 0:
        raise KpuError(f"negative padding {pads} is not supported")
    return pads[:rank], pads[rank:]


def check_image(x: Value, low: Sequence[int], high: Sequence[int]) -> None:
    """Refuse what no machine holds with its padding."""
    padded = [n + a + b for n, a, b in zip(x.shape[2:], low, high)]
    check_size((*x.shape[:2], *padded), "its padded image")


def check_weights(node: Node, x: Value, w: Value) -> int:
    """The spatial rank of an image and its weights, which must be the same and what the node says."""
    rank = len(x.shape) - 2
    if rank < 1 or len(w.shape) != len(x.shape):
        raise KpuError(
            f"weights of {len(w.shape)} dimensions do not fit an image of {len(x.shape)}"
        )
    window = node.integers("kernel_shape")
    if window and tuple(window) != w.shape[2:]:
        raise KpuError(
            f"attribute 'kernel_shape' is {window}, the weights have {list(w.shape[2:])}"
        )
    return rank


@operator("Conv")
def conv(node: Node) -> Tensor:
    """With a bias, one map after it."""
    return convolution(node, node.value(0), node.value(1), 2)


def convolution(node: Node, x: Value, w: Value, bias: int) -> Value:
    """The convolution that a node's attributes describe; input ``bias`` is added if it is there."""
    rank = check_weights(node, x, w)
    strides, dilations = node.spatial("strides", rank, 1), node.spatial("dilations", rank, 1)
    low, high = padding(node, x.shape[2:], w.shape[2:], strides, dilations)
    check_image(x, low, high)
    kind = x.element_type
    wide = working_type(kind) if node.has(bias) else kind  # the sum of both is rounded, once
    groups = node.integer("group", 1)
    y = convolve(node.graph, x, w, strides, dilations, low, high, groups, wide)
    return biased(node, y, bias, kind=kind)


def biased(
    node: Node, y: Value, bias: int = 2, times: int = 1, kind: Attribute | None = None
) -> Value:
    """With an input added to the channels, if it is there; each stands ``times`` times. In ``kind``,
    if that is another type."""
    if not node.has(bias):
        return y
    channels = y.shape[1] // times
    if node.shape(bias) not in ((channels,), (1,)):
        raise KpuError(f"a bias of shape {node.shape(bias)} does not fit {channels} channels")
    value, graph = node.value(bias), node.graph
    if times > 1 and node.shape(bias) == (channels,):
        several = graph.broadcast(graph.reshape(value, (channels, 1)), (channels, times))
        value = graph.reshape(several, (channels * times,))
    b = graph.reshape(value, (1, -1, *[1] * (len(y.shape) - 2)))
    if kind is None or kind == y.element_type:
        return y + b
    return graph.finished(lambda v, w: v + w.to(v.kind), kind, y, b)


@operator("ConvTranspose")
def conv_transpose(node: Node) -> Tensor:
    """Convolutions of the image as it is, one for each place within a stride (``transposed``)."""
    x, w = node.value(0), node.value(1)
    rank = check_weights(node, x, w)
    groups = node.integer("group", 1)
    if groups < 1 or x.shape[1] % groups or w.shape[0] != x.shape[1]:
        raise KpuError(
            f"weights of {w.shape[0]} channels in {groups} groups do not fit {x.shape[1]} channels"
        )
    if x.dtype != w.dtype or x.dtype.kind in "iub":
        raise KpuError(f"an image and weights of floats are expected, got {x.dtype} and {w.dtype}")
    strides, dilations = node.spatial("strides", rank, 1), node.spatial("dilations", rank, 1)
    more = node.spatial("output_padding", rank, 0)
    image, window = x.shape[2:], w.shape[2:]
    whole = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(image, strides, window, dilations)]
    extents, low = transposed_extents(node, image, strides, whole, more)
    if min(extents) < 1:
        raise KpuError(f"its result would have the extents {extents}")
    check_size((*x.shape[:2], *extents), "its result")
    if math.prod(image) == 1 and extents == list(window) and not any(low):
        return biased(node, from_a_point(node.graph, x, w, groups))
    given = zip(image, window, strides, dilations, low, extents, strict=True)
    return transposed(
        node.graph,
        x,
        w,
        groups,
        [Dimension(*one) for one in given],
        lambda y, times: biased(node, y, 2, times),
    )


def from_a_point(graph: Graph, x: Value, w: Value, groups: int) -> Value:
    """The transposed convolution of an image of one element: a product with all its weights."""
    n, c = x.shape[:2]
    o, window = w.shape[1], w.shape[2:]
    rows = graph.transpose(graph.reshape(x, (n, groups, c // groups)), (1, 0, 2))
    columns = graph.reshape(w, (groups, c // groups, o * math.prod(window)))
    y = graph.transpose(graph.matmul(rows, columns), (1, 0, 2))
    return graph.reshape(y, (n, groups * o, *window))


def transposed_extents(
    node: Node,
    image: Sequence[int],
    strides: Sequence[int],
    whole: Sequence[int],
    more: Sequence[int],
) -> tuple[list[int], list[int]]:
    """Extents of the result, and how much is cut off before it."""
    rank = len(image)
    given, auto = node.integers("output_shape"), node.text("auto_pad", "NOTSET")
    pads = node.integers("pads") if auto == "NOTSET" else None
    if given is None and auto not in ("SAME_UPPER", "SAME_LOWER"):
        pads = pads or [0] * (2 * rank)
        if len(pads) != 2 * rank:
            raise KpuError(f"attribute 'pads': expected {2 * rank} integers, got {len(pads)}")
        low, high = pads[:rank], pads[rank:]
        return [n + m - a - b for n, m, a, b in zip(whole, more, low, high)], low
    extents = given[-rank:] if given else [n * s for n, s in zip(image, strides)]
    if len(extents) != rank:
        raise KpuError(f"attribute 'output_shape': expected {rank} integers, got {len(extents)}")
    cut = [max(0, n + m - e) for n, m, e in zip(whole, more, extents)]
    upper = auto == "SAME_UPPER" or (given is not None and auto != "SAME_LOWER")
    return extents, [c // 2 if upper else c - c // 2 for c in cut]


def spread_out(graph: Graph, x: Value, axis: int, step: int) -> Value:
    """``step - 1`` zeros between the elements of a dimension."""
    shape = x.shape
    if step == 1 or shape[axis] == 1:
        return x
    apart = graph.reshape(x, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
    behind = [step - 1 if a == axis + 1 else 0 for a in range(len(shape) + 1)]
    full = [n * step if a == axis else n for a, n in enumerate(shape)]
    apart = graph.reshape(graph.pad(apart, [0] * len(behind), behind), full)
    full[axis] -= step - 1
    return graph.slice(apart, [0] * len(full), [1] * len(full), full)


@operator("Col2Im")
def col2im(node: Node) -> Tensor:
    """Blocks of an image added up where they overlap: each element of a block is a plane, spread out
    by the strides."""
    graph, x = node.graph, node.value(0)
    image, window = node.numbers(1, "image_shape"), node.numbers(2, "block_shape")
    rank = len(image)
    strides, dilations = node.spatial("strides", rank, 1), node.spatial("dilations", rank, 1)
    low, high = padding(node, image, window, strides, dilations)
    whole = [n + a + b for n, a, b in zip(image, low, high)]
    check_size((*x.shape, *whole), "its result")
    spans = zip(whole, window, strides, dilations)
    counts = [(n - (k - 1) * d - 1) // s + 1 for n, k, s, d in spans]
    n, blocks = x.shape[0], math.prod(window)
    x = graph.reshape(x, (n, x.shape[1] // blocks, blocks, *counts))
    c = x.shape[1]
    total: Value | None = None
    for number, place in enumerate(itertools.product(*(range(k) for k in window))):
        part = graph.slice(x, [0, 0, number, *[0] * rank], [1] * (rank + 3), (n, c, 1, *counts))
        part = graph.reshape(part, (n, c, *counts))
        for axis, s in enumerate(strides, 2):
            part = spread_out(graph, part, axis, s)
        before = [p * d for p, d in zip(place, dilations)]
        behind = [w - b - e for w, b, e in zip(whole, before, part.shape[2:])]
        if any((*before, *behind)):
            part = graph.pad(part, [0, 0, *before], [0, 0, *behind])
        total = part if total is None else total + part
    assert total is not None
    if any((*low, *high)):
        total = graph.slice(total, [0, 0, *low], [1] * (rank + 2), (n, c, *image))
    return total
