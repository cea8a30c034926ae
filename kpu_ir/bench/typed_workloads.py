"""A workload of each family in each short type: what ``kpu-bench baseline`` records of ``default`` besides the
canonical ones. Small, so that all of them replay in some seconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import ml_dtypes
import numpy as np
from xdsl.dialects.builtin import ModuleOp

from kpu_ir.bench.workloads import Shape, packed_weights, quantized_conv, quantized_matmul
from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.python.value import Value

IMAGE = (1, 64, 28, 28)
ROWS = (256, 512)
BYTE = 0.02
"""The scale of what is stored in bytes."""


def _stored(g: Graph, name: str, shape: tuple[int, ...], element: str) -> Value:
    """An input that is stored in a short type: as real numbers, where it is an integer."""
    x = g.input(name, shape, element)
    return g.dequantize(x, BYTE) if "i" in element else x


def _out(g: Graph, y: Value, element: str, step: float = 0.1) -> ModuleOp:
    """What leaves, stored as it came."""
    g.output("y", g.quantize(y, step, dtype=element) if "i" in element else y)
    return g.module()


def product(shape: Shape, left: str, right: str, batch: int = 0) -> ModuleOp:
    """A product; of integers requantized."""
    g, lead = Graph(), (batch,) if batch else ()
    a = _stored(g, "a", (*lead, shape.m, shape.k), left)
    return _out(g, a @ _stored(g, "b", (*lead, shape.k, shape.n), right), left)


def eighths(shape: Shape, left: str, right: str) -> ModuleOp:
    """A product of floats of 8 bits, whose sums leave in f32."""
    g = Graph()
    a, b = g.input("a", (shape.m, shape.k), left), g.input("b", (shape.k, shape.n), right)
    g.output("y", g.matmul(a, b, dtype=np.float32))
    return g.module()


def around_zeros(shape: Shape) -> ModuleOp:
    """A product of unsigned bytes around a zero point by known weights of a scale a column, with a bias and
    a ReLU."""
    rng, g = np.random.default_rng(0), Graph()
    a = g.dequantize(g.input("a", (shape.m, shape.k), "ui8"), BYTE, np.uint8(120))
    w = g.constant(rng.integers(-127, 128, (shape.k, shape.n)).astype(np.int8))
    scales = g.constant((0.01 + 0.01 * rng.random((1, shape.n))).astype(np.float32))
    bias = g.constant(rng.random((1, shape.n), np.float32))
    y = (a @ g.dequantize(w, scales) + bias).relu()
    g.output("y", g.quantize(y, 0.5, np.uint8(10), dtype="ui8"))
    return g.module()


def in_blocks(shape: Shape, block: int) -> ModuleOp:
    """A product of f16 by known weights of 4 bits with a scale for each ``block`` of k."""
    rng, g = np.random.default_rng(0), Graph()
    w = g.constant(rng.integers(-8, 8, (shape.k, shape.n)).astype(ml_dtypes.int4))
    scales = g.constant((0.01 + 0.01 * rng.random((shape.k // block, shape.n))).astype(np.float16))
    g.output("y", g.input("x", (shape.m, shape.k), "f16") @ g.dequantize(w, scales))
    return g.module()


def per_token(shape: Shape) -> ModuleOp:
    """Rows in steps of their own, by bytes with a scale a column."""
    g = Graph()
    x = g.input("x", (shape.m, shape.k))
    steps = g.reduce("max", abs(x), [1]).reshape(shape.m, 1) * (1 / 127)
    a = g.dequantize(g.quantize(x, steps, dtype="i8"), steps)
    w = g.dequantize(g.input("w", (shape.k, shape.n), "i8"), g.input("s", (1, shape.n)))
    g.output("y", a @ w)
    return g.module()


def convolution(element: str, weights: str, groups: int = 1) -> ModuleOp:
    """3 x 3, of all channels or of each."""
    g, channels = Graph(), IMAGE[1]
    x = _stored(g, "x", IMAGE, element)
    w = _stored(g, "w", (channels, channels // groups, 3, 3), weights)
    return _out(g, g.conv(x, w, low=(1, 1), high=(1, 1), groups=groups), element)


def pooled(kind: str, element: str) -> ModuleOp:
    """3 x 3 by steps of 2."""
    g = Graph()
    x = _stored(g, "x", IMAGE, element)
    y = g.pool(kind, x, (3, 3), strides=(2, 2), low=(1, 1), high=(1, 1))
    return _out(g, y, element, BYTE if kind == "max" else 9 * BYTE)


def rows(element: str, make: Callable[[Graph, Value], Value]) -> ModuleOp:
    """A function of rows, of what is stored in a short type."""
    g = Graph()
    return _out(g, make(g, _stored(g, "x", ROWS, element)), element, 1 / 127)


def added(element: str) -> ModuleOp:
    """An elementwise sum: of integers by three scales."""
    g = Graph()
    return _out(g, _stored(g, "a", ROWS, element) + _stored(g, "b", ROWS, element), element)


def attention(element: str) -> ModuleOp:
    """Scaled dot-product attention of four heads, by its parts; of bytes, the softmax's result is a byte
    too."""
    g = Graph()
    q, k, v = (_stored(g, name, (4, 128, 64), element) for name in "qkv")
    scores = ((q @ k.transpose(0, 2, 1)) * 0.125).softmax(-1)
    if "i" in element:
        scores = g.dequantize(g.quantize(scores, 1 / 127, dtype=element), 1 / 127)
    return _out(g, scores @ v, element)


FLOATS = ("f16", "bf16")
SMALL = Shape(128, 192, 256)

TYPED: Mapping[str, Callable[[], ModuleOp]] = {
    "i8 matmul 128": lambda: quantized_matmul(Shape(128, 128, 128)),
    "i8 matmul 127x129x250": lambda: quantized_matmul(Shape(127, 129, 250)),
    "u8 by i8 around zero points, matmul 128x192x256": lambda: around_zeros(SMALL),
    "i8 per token matmul 128x192x256": lambda: per_token(SMALL),
    "i8 by i4 matmul 128x192x256": lambda: product(SMALL, "i8", "i4"),
    "i4 matmul 128x192x256": lambda: product(SMALL, "i4", "i4"),
    "i4 weights, f16, matmul 128x192x256": lambda: packed_weights(SMALL),
    "i4 weights in blocks of 32, f16, 1x512x1024": lambda: in_blocks(Shape(1, 512, 1024), 32),
    "f8 matmul 128x192x256": lambda: eighths(SMALL, "f8E4M3FN", "f8E4M3FN"),
    "f8 of two kinds, matmul 128x192x256": lambda: eighths(SMALL, "f8E4M3FN", "f8E5M2"),
    "i8 batched matmul 4x64x64x64": lambda: product(Shape(64, 64, 64), "i8", "i8", 4),
    "u8 conv 64x64x28x28 3x3": lambda: quantized_conv(64, 64, 28),
    "i8 by i4 conv 64x64x28x28 3x3": lambda: convolution("i8", "i4"),
    "u8 depthwise 64x28x28 3x3": lambda: quantized_conv(64, 64, 28, 64),
    "u8 max pool 64x28x28": lambda: pooled("max", "ui8"),
    "i8 average pool 64x28x28": lambda: pooled("add", "i8"),
    "i8 attention 4x128x64": lambda: attention("i8"),
    "i8 softmax 256x512": lambda: rows("i8", lambda g, x: g.softmax(x)),
    "i8 layer norm 256x512": lambda: rows("i8", lambda g, x: g.normalize(x, [1])),
    "i8 add 128k": lambda: added("i8"),
    **{
        f"{t} {name}": lambda t=t, make=make: make(t)
        for t in FLOATS
        for name, make in (
            ("matmul 128x192x256", lambda t: product(SMALL, t, t)),
            ("batched matmul 4x64x64x64", lambda t: product(Shape(64, 64, 64), t, t, 4)),
            ("conv 64x64x28x28 3x3", lambda t: convolution(t, t)),
            ("depthwise 64x28x28 3x3", lambda t: convolution(t, t, 64)),
            ("max pool 64x28x28", lambda t: pooled("max", t)),
            ("attention 4x128x64", attention),
            ("softmax 256x512", lambda t: rows(t, lambda g, x: g.softmax(x))),
            ("layer norm 256x512", lambda t: rows(t, lambda g, x: g.normalize(x, [1]))),
            ("add 128k", added),
        )
    },
}
"""The workloads by name (MxNxK of a product)."""
