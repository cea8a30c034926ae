"""Operators of signals: Fourier transforms as products with their matrices."""

from __future__ import annotations

import math

import numpy as np

from kpu_ir.frontends.onnx.choosing import axis_of, check_made
from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.python.value import Value
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array


def matrix(count: int, length: int, kept: int, parts: int, inverse: bool, whole: bool) -> Array:
    """What makes ``kept`` complex numbers of ``count`` (of ``parts`` numbers each: real, imaginary):
    (count parts) x (kept 2). With ``whole``, ``count`` are the first half of a conjugate symmetric
    spectrum, and the result is real: (count parts) x kept."""
    check_made(count * kept * 4)
    n, k = np.arange(count)[:, None], np.arange(kept)[None]
    angle = 2 * math.pi * ((n * k) % length) / length * (1 if inverse else -1)
    cos, sin = np.cos(angle), np.sin(angle)
    scale = 1.0 / length if inverse else 1.0
    if whole:  # each number but the first (and the middle) stands for its conjugate too
        twice = np.where((n == 0) | (2 * n == length), 1.0, 2.0)
        return scale * np.stack([cos * twice, -sin * twice][:parts], 1).reshape(-1, kept)
    real, imaginary = np.stack([cos, sin], -1), np.stack([-sin, cos], -1)
    both = np.stack([real, imaginary][:parts], 1)  # count x parts x kept x 2
    return scale * both.reshape(count * parts, kept * 2)


def transformed(graph: Graph, rows: Value, weights: Array) -> Value:
    """Rows times a matrix; long dimensions are sums of many terms, in the rows' type."""
    return graph.matmul(rows, graph.constant(weights.astype(rows.dtype)))


@operator("DFT")
def dft(node: Node) -> Tensor:
    """Along a dimension; the last one holds real and imaginary parts, or reals."""
    graph, x = node.graph, node.value(0)
    rank = len(x.shape)
    if rank < 2 or x.shape[-1] not in (1, 2):
        raise KpuError(f"expected real or complex numbers along the last dimension, got {x.shape}")
    if node.version >= 20:
        axis = node.single(2, "axis") if node.has(2) else -2
        if not -rank <= axis < rank:
            raise KpuError(f"axis {axis} is outside the rank {rank}")
        axis += rank * (axis < 0)
    else:
        axis = axis_of(node, 1)
    if axis == rank - 1:
        raise KpuError("the last dimension holds real and imaginary parts")
    count, parts = x.shape[axis], x.shape[-1]
    inverse, onesided = bool(node.integer("inverse", 0)), bool(node.integer("onesided", 0))
    whole = inverse and onesided
    length = 2 * (count - 1) if whole else count
    if node.has(1):
        length = node.single(1, "dft_length")
    if length < 1:
        raise KpuError(f"dft_length is {length}; at least 1 is expected")
    used = min(count, length // 2 + 1 if whole else length)
    kept = length // 2 + 1 if onesided and not inverse else length
    order = [a for a in range(rank) if a not in (axis, rank - 1)] + [axis, rank - 1]
    lead = [x.shape[a] for a in order[:-2]]
    rows = graph.transpose(x, order)
    if used < count:
        rows = graph.slice(rows, [0] * rank, [1] * rank, (*lead, used, parts))
    flat = graph.reshape(rows, (math.prod(lead), used * parts))
    y = transformed(graph, flat, matrix(used, length, kept, parts, inverse, whole))
    y = graph.reshape(y, (*lead, kept, 1 if whole else 2))
    return graph.transpose(y, [order.index(a) for a in range(rank)])


@operator("STFT")
def stft(node: Node) -> Tensor:
    """The transform of each frame of a signal, times a window."""
    graph, x = node.graph, node.value(0)
    step = node.single(1, "frame_step")
    if len(x.shape) == 2:
        x = graph.reshape(x, (*x.shape, 1))
    batch, length, parts = x.shape
    if node.has(3):
        frame = node.single(3, "frame_length")
    elif node.has(2):
        frame = node.shape(2)[0]
    else:
        raise KpuError("neither a window nor a frame_length is given")
    if step < 1 or not 1 <= frame <= length:
        raise KpuError(f"frames of {frame} every {step} of a signal of {length}")
    frames = (length - frame) // step + 1
    kept = frame // 2 + 1 if node.integer("onesided", 1) else frame
    check_made(frames * frame)
    at = np.arange(frames)[:, None] * step + np.arange(frame)[None]
    parts_of = graph.gather(x, graph.constant(at.astype(np.int64)), 1)
    if node.has(2):
        window = graph.reshape(node.value(2), (1, 1, frame, 1))
        parts_of = parts_of * window
    rows = graph.reshape(parts_of, (batch * frames, frame * parts))
    y = transformed(graph, rows, matrix(frame, frame, kept, parts, False, False))
    return graph.reshape(y, (batch, frames, kept, 2))


@operator("MelWeightMatrix")
def mel_weights(node: Node) -> Tensor:
    """Known: what it is made of are sizes. Small ones are ONNX's own (``folding``)."""
    for i, what in enumerate(("num_mel_bins", "dft_length", "sample_rate", "lower", "upper")):
        node.must_be_known(i, what)
    raise KpuError("its matrix is larger than 2^20 elements")
