"""LSTM with bytes for weights, as onnxruntime's ``quantize_dynamic`` makes it.

What weights multiply is quantized as the model runs, in steps of its own range: all inputs of all steps
at once, and the state before each step, all rows of a batch at once. onnxruntime has it so for one row,
and for one thread; with more threads it cuts the batch, and each piece has a range.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kpu_ir.dialects.kernel import shape_text
from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.onnx.quantized import F32, in_own_range, scale_of, zero_of
from kpu_ir.frontends.onnx.quantized_products import (
    DOMAIN,
    Sums,
    as_i32,
    factor,
    less_counted,
    wide_sum,
)
from kpu_ir.frontends.onnx.recurrent import Layer, hidden_of, unrolled
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.support.errors import KpuError

SCALES = {1: ("W", 8), 2: ("R", 10)}
"""Names of weights, and where their scale is; the zero point is behind it."""


class Weights:
    """One direction's W or R: k x (gates, hidden) bytes, a scale and a zero point for all or for each
    column."""

    def __init__(self, layer: QuantizedLayer, i: int) -> None:
        """Input ``i`` of the layer's node."""
        node, (_, at) = layer.node, SCALES[i]
        self.node, self.graph = node, node.graph
        stored = layer.known_part(i)
        self.bytes = node.placed(stored)
        self.scale = node.placed(layer.known_part(at).reshape((1, -1)))
        zero = as_i32(node, layer.known_part(at + 1))
        self.zero = None if zero is None else zero.reshape((1, -1))
        columns = wide_sum(self.graph, stored, [0])
        if self.zero is not None:
            columns = less_counted(node, columns, self.zero, stored.shape[0])
        self.columns = node.placed(columns)

    def product(self, x: Value, *more: Value) -> Value:
        """``f32(sum (q - z) (w - zw)) (s sw)`` of rows of f32 as bytes q, and what is added to it."""
        q, step, zero = in_own_range(self.graph, x)
        sums = Sums(self.node, self.graph.matmul(q, self.bytes, dtype=np.int32))
        sums.less(as_i32(self.node, zero), self.columns)
        if self.zero is not None:
            sums.less(self.zero, wide_sum(self.graph, q, [1]))

        def scaled(s: Scalar, step: Any, scale: Any, *more: Any) -> Scalar:
            whole = s.to(F32) * (step * scale)
            for term in more:
                whole = whole + term
            return whole

        return sums.mapped(scaled, step, self.scale, *more)


class QuantizedLayer(Layer):
    """One direction; biases and peepholes are f32, and so are gates and cells."""

    def known_part(self, i: int) -> Tensor:
        """This direction's share of input ``i``, known if the input is."""
        known = self.node.known(i)
        return self.part(i) if known is None else np.ascontiguousarray(known[self.d])

    def inputs(self, rows: Value) -> Value:
        """Without the bias: onnxruntime adds it after the state's products."""
        self.state = Weights(self, 2)
        return Weights(self, 1).product(rows)

    def sums(self, h: Value, t: int) -> Value:
        """``(z + f32(sum) scale) + bias``."""
        more = [] if self.bias is None else [self.bias]
        return self.state.product(h, self.at(self.z, t), *more)


def check_bytes(node: Node) -> None:
    """Raise ``KpuError`` for weights that are no bytes, and for scales and zero points that do not fit."""
    directions = node.shape(1)[0]
    shapes = [(directions,), (directions, 4 * hidden_of(node))]
    for i, (name, at) in SCALES.items():
        weights = node.inputs[i]
        assert weights is not None
        factor(weights)
        scale_of(node, at)
        if zero_of(node, at + 1, weights.dtype) is None:
            raise KpuError(f"input {at + 1} ({name}_zero_point) is missing")
        for j, what in ((at, "scale"), (at + 1, "zero_point")):
            if tuple(node.shape(j)) not in shapes:
                raise KpuError(
                    f"input {j} ({name}_{what}): expected {' or '.join(map(shape_text, shapes))}, "
                    f"got {shape_text(node.shape(j))}"
                )


@operator("DynamicQuantizeLSTM", domain=DOMAIN)
def dynamic_quantize_lstm(node: Node) -> list[Tensor]:
    """An LSTM of f32 whose products are of bytes; W and R are stored inputs x (gates, hidden)."""
    for i, name in ((1, "W"), (2, "R")):
        if len(node.shape(i)) != 3:
            raise KpuError(f"input {i} ({name}) has {len(node.shape(i))} dimensions, expected 3")
    check_bytes(node)
    return unrolled(node, QuantizedLayer)
