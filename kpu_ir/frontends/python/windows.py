"""Convolutions of one to three spatial dimensions, by those of images."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Attribute

from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.python.value import Value
from kpu_ir.support.errors import KpuError


def convolve(
    graph: Graph,
    x: Value,
    w: Value,
    strides: Sequence[int],
    dilations: Sequence[int],
    low: Sequence[int],
    high: Sequence[int],
    groups: int = 1,
    element_type: Attribute | None = None,
) -> Value:
    """A convolution of one to three spatial dimensions by those of images.

    A signal is an image of one row. A volume is a batch of planes, whose channels are those of all
    the planes under the window: each product is one of the volume's.
    """
    rank = len(x.shape) - 2
    if rank == 2:
        return graph.conv(
            x, w, strides=strides, dilations=dilations, low=low, high=high,
            groups=groups, element_type=element_type,
        )  # fmt: skip
    more = groups, element_type
    if rank == 1:
        x, w = (graph.reshape(v, (*v.shape[:2], 1, v.shape[2])) for v in (x, w))
        y = convolve(graph, x, w, [1, *strides], [1, *dilations], [0, *low], [0, *high], *more)
        return graph.reshape(y, (*y.shape[:2], y.shape[3]))
    if rank != 3:
        raise KpuError(f"one to three spatial dimensions are supported, got {rank}")
    n, c, _, *plane = x.shape
    o, _, taps, *window = w.shape
    if low[0] or high[0]:
        x = graph.pad(x, [0, 0, low[0], 0, 0], [0, 0, high[0], 0, 0])
    depth = (x.shape[2] - (taps - 1) * dilations[0] - 1) // strides[0] + 1
    if depth < 1:
        raise KpuError(f"a window of {taps} is larger than the image of {x.shape[2]}")
    parts = [
        graph.slice(x, [0, 0, t * dilations[0], 0, 0], [1, 1, strides[0], 1, 1],
                    (n, c, depth, *plane))
        for t in range(taps)
    ]  # fmt: skip
    # Of each channel all planes under the window: n x depth x (c, taps) x plane.
    apart = [graph.reshape(part, (n, c, 1, depth, *plane)) for part in parts]
    joined = graph.concat(apart, 2) if taps > 1 else apart[0]
    planes = graph.reshape(
        graph.transpose(joined, (0, 3, 1, 2, 4, 5)), (n * depth, c * taps, *plane)
    )
    weights = graph.reshape(w, (o, w.shape[1] * taps, *window))
    y = convolve(graph, planes, weights, strides[1:], dilations[1:], low[1:], high[1:], *more)
    y = graph.reshape(y, (n, depth, o, *y.shape[2:]))
    return graph.transpose(y, (0, 2, 1, 3, 4))
