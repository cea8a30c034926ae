"""What onnxruntime's ``quantize_dynamic`` makes of a BERT that its optimiser fused: attention whose projection
is of bytes, and embeddings whose tables and norm are."""

from __future__ import annotations

from typing import Any

from kpu_ir.frontends.onnx.microsoft import DOMAIN, first_places, words_seen
from kpu_ir.frontends.onnx.microsoft_attention import of_projections
from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.onnx.quantized import along, folded, real, scale_of, zero_of
from kpu_ir.frontends.onnx.quantized_products import given, product_of, to_float
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.support.errors import KpuError

NO_INPUT = 9
"""QAttention has no bias of scores: its inputs are 0 to 8."""


@operator("QAttention", domain=DOMAIN)
def q_attention(node: Node) -> list[Tensor]:
    """``f32(sum) (sx sw) + bias`` for queries, keys and values; then Attention, in f32."""
    if node.integer("do_rotary", 0) or node.integer("past_present_share_buffer", 0):
        raise KpuError("rotary embeddings and shared buffers of QAttention are not supported")
    x, w = node.shape(0), node.shape(1)
    if len(x) != 3 or len(w) != 2 or x[2] != w[0] or w[1] % 3:
        raise KpuError(
            f"input 1 (weight) of shape {w} does not fit input 0 of shape {x}: expected its last "
            "dimension by three times the heads' width"
        )
    heads = node.integer("num_heads", 0)
    if heads < 1 or w[1] // 3 % heads:
        raise KpuError(f"{heads} heads (num_heads) do not divide a width of {w[1] // 3}")
    sums = product_of(node, 0, 1, 6, 7)
    whole = to_float(sums, scale_of(node, 3), scale_of(node, 4), 2)
    return of_projections(node, whole, 5, 8, NO_INPUT)


TABLES = (2, 3, 4)
"""Inputs of QEmbedLayerNormalization: rows of words, places and kinds; their scales are 6 behind, their
zero points 11. So are those of the norm's scale (5) and shift (6)."""


def _parameters(node: Node, i: int, rank: int) -> list[Tensor]:
    """Scale and zero point of input ``i``, one number each."""
    zero = zero_of(node, i + 11, node.value(i).dtype)
    if zero is None:
        raise KpuError(f"input {i + 11}, a zero point, is missing")
    found = [scale_of(node, i + 6), zero]
    for at, tensor in zip((i + 6, i + 11), found):
        if tuple(tensor.shape) not in ((), (1,)):
            raise KpuError(f"input {at}: expected one number, got shape {tuple(tensor.shape)}")
    return [along(tensor, rank, -1) for tensor in found]


@operator("QEmbedLayerNormalization", domain=DOMAIN)
def q_embed_layer_norm(node: Node) -> list[Tensor]:
    """Rows of three tables of bytes, dequantized and summed, and the norm of that; how many words of each
    text are seen. Without kinds of words their table is not read."""
    graph, ids = node.graph, node.value(0)
    rows = [graph.gather(node.value(2), ids), first_places(node, ids.shape[1])]
    if node.has(1):
        rows.append(graph.gather(node.value(4), node.value(1)))
    parts: list[Value] = []
    for i, row in zip(TABLES, rows):
        parts += [row, *(node.placed(p) for p in _parameters(node, i, 3))]

    def total(*parts: Scalar) -> Scalar:
        word, *more = [real(*parts[i : i + 3]) for i in range(0, len(parts), 3)]
        for row in more:
            word = word + row
        return word

    def stored(q: Any, scale: Any, zero: Any) -> Any:
        return (q - zero) * scale

    scale, shift = (
        node.placed(folded(node, stored, given(node, i), *_parameters(node, i, 1))) for i in (5, 6)
    )
    y = graph.normalize(graph.map(total, *parts), [2], node.number("epsilon", 1e-12), scale, shift)
    return [y, words_seen(node)]
