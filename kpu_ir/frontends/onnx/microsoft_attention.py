"""Attention of com.microsoft: heads in one tensor or apart, biases, masks of four kinds, what came before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kpu_ir.frontends.onnx.attention import heads_apart, rotary_embedding
from kpu_ir.frontends.onnx.microsoft import DOMAIN
from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar import formulas
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.support.errors import KpuError

FILTER = -10000.0
"""What is added to the scores of keys that are not seen."""


def padding_mask(node: Node, i: int, q: Value, batch: int, length: int, keys: int) -> Value:
    """What input ``i`` adds to the scores, b x 1 x s x t or what broadcasts to it.

    It has a number for each batch (of keys that are seen), two (their end and begin), one for each
    key, or for each query and key: not 0 where it is seen.
    """
    graph, mask = node.graph, node.value(i)
    hidden = node.number("mask_filter_value", FILTER)
    kind, shape = q.element_type, mask.shape
    places = graph.constant(np.arange(keys, dtype=np.int64).reshape(1, 1, 1, keys))
    if shape in ((batch,), (2 * batch,)):
        wide = graph.cast(mask, np.dtype(np.int64))
        parts = [
            graph.reshape(graph.slice(wide, [at], [1], [batch]), (batch, 1, 1, 1))
            for at in range(0, shape[0], batch)
        ]

        def within(j: Scalar, end: Scalar, *begin: Scalar) -> Scalar:
            seen = j < end
            for first in begin:
                seen = seen & (j >= first)
            return formulas.where(seen, j.trace.number(0.0, kind), hidden)

        return graph.map(within, places, *parts)
    four = {2: (batch, 1, 1, keys), 3: (batch, 1, length, keys)}.get(len(shape))
    if four is None or shape not in ((batch, keys), (batch, length, keys)):
        raise KpuError(f"a mask of shape {shape} does not fit {length} queries and {keys} keys")

    def seen(m: Scalar) -> Scalar:
        return formulas.where(m.to(m.kind) != 0, m.trace.number(0.0, kind), hidden)

    return graph.map(seen, graph.reshape(mask, four))


def attended(node: Node, q: Value, k: Value, v: Value, mask: int, bias: int, past: int) -> Value:
    """Attention of heads that stand apart, and those together again: b x s x (h d)."""
    graph = node.graph
    batch, heads, length, _ = q.shape
    keys = k.shape[2]
    added: Value | None = None
    if node.has(mask):
        added = padding_mask(node, mask, q, batch, length, keys)
    if node.has(bias):
        more = node.value(bias)
        added = more if added is None else added + more
    scale = node.number("scale", 0.0) or None
    causal = bool(node.integer("unidirectional", 0))
    y = graph.attention(q, k, v, added, scale, causal, offset=past)
    return graph.reshape(graph.transpose(y, (0, 2, 1, 3)), (batch, length, heads * v.shape[3]))


@operator("MultiHeadAttention", domain=DOMAIN)
def multi_head_attention(node: Node) -> list[Tensor]:
    """Queries, keys and values that are projected already."""
    graph, heads = node.graph, node.integer("num_heads", 0)
    query = node.value(0)
    if node.has(8):
        raise KpuError("a past_sequence_length in a shared buffer is not supported")
    if len(query.shape) == 5:  # b x s x h x 3 x d
        q, k, v = unpacked(node, query)
    else:
        key = node.value(1) if node.has(1) else query
        biases = parts_of_bias(node, 3, query, key)
        q = heads_apart(node, with_bias(query, biases, 0), heads)
        if len(key.shape) == 5:  # b x t x h x 2 x d
            k, v = unpacked(node, key)
        elif len(key.shape) == 4:  # they come from a cache
            k, v = key, node.value(2)
        else:
            k = heads_apart(node, with_bias(key, biases, 1), heads)
            v = heads_apart(node, with_bias(node.value(2), biases, 2), heads)
    past = 0
    if node.has(6):
        past = node.shape(6)[2]
        k = graph.concat([node.value(6), k], 2) if past else k
        v = graph.concat([node.value(7), v], 2) if past else v
    return [attended(node, q, k, v, 4, 5, past), k, v]


def unpacked(node: Node, value: Value) -> list[Value]:
    """b x s x h x n x d as n tensors b x h x s x d."""
    graph = node.graph
    batch, length, heads, count, depth = value.shape
    shape = (batch, length, heads, 1, depth)
    parts = [graph.slice(value, [0, 0, 0, i, 0], [1] * 5, shape) for i in range(count)]
    apart = [graph.reshape(part, (batch, length, heads, depth)) for part in parts]
    return [graph.transpose(part, (0, 2, 1, 3)) for part in apart]


def parts_of_bias(node: Node, i: int, query: Value, key: Value) -> list[Value]:
    """The biases of queries, keys and values, which are one vector; nothing if there is none."""
    if not node.has(i):
        return []
    graph, whole = node.graph, node.value(i)
    width = query.shape[-1]
    rest = whole.shape[0] - 2 * width
    if rest < 0:
        raise KpuError(f"a bias of {whole.shape[0]} does not fit queries and keys of {width}")
    at = (0, width, 2 * width)
    return [graph.slice(whole, [a], [1], [n]) for a, n in zip(at, (width, width, rest)) if n]


def with_bias(value: Value, biases: list[Value], i: int) -> Value:
    """With the ``i``-th bias, if it is there."""
    return value + biases[i] if i < len(biases) else value


@operator("Attention", domain=DOMAIN)
def attention(node: Node) -> list[Tensor]:
    """Projections of one input by one matrix, then attention."""
    graph, x = node.graph, node.value(0)
    if node.integer("do_rotary", 0) or node.has(6):
        raise KpuError("rotary embeddings and shared buffers of Attention are not supported")
    whole = graph.matmul(x, node.value(1))
    whole = whole + node.value(2) if node.has(2) else whole
    return of_projections(node, whole, 3, 4, 5)


def of_projections(node: Node, whole: Value, mask: int, before: int, bias: int) -> list[Tensor]:
    """Attention of queries, keys and values side by side, b x s x (q, k, v); and keys and values with those
    of input ``before``. ``mask``, ``bias``: inputs."""
    graph, heads = node.graph, node.integer("num_heads", 0)
    batch, length, width = whole.shape
    sizes = node.integers("qkv_hidden_sizes") or [width // 3] * 3
    if len(sizes) != 3 or sum(sizes) != width:
        raise KpuError(f"qkv_hidden_sizes {sizes} do not add up to {width}")
    at = [0, sizes[0], sizes[0] + sizes[1]]
    parts = [graph.slice(whole, [0, 0, a], [1] * 3, (batch, length, n)) for a, n in zip(at, sizes)]
    q, k, v = (heads_apart(node, part, heads) for part in parts)
    past = 0
    if node.has(before):
        both = node.value(before)
        past = both.shape[3]
        if past:
            pair = [
                graph.reshape(
                    graph.slice(both, [i, 0, 0, 0, 0], [1] * 5, (1, *both.shape[1:])),
                    both.shape[1:],
                )
                for i in range(2)
            ]
            k, v = graph.concat([pair[0], k], 2), graph.concat([pair[1], v], 2)
    results: list[Tensor] = [attended(node, q, k, v, mask, bias, past)]
    if node.wants(1):
        results.append(graph.concat([graph.reshape(part, (1, *part.shape)) for part in (k, v)], 0))
    return results


@operator("RotaryEmbedding", domain=DOMAIN)
def rotary(node: Node) -> Tensor | Sequence[Tensor]:
    """As ONNX's, the places before the cosines; one place is that of the first element."""
    graph, x = node.graph, node.value(0)
    if node.number("scale", 1.0) != 1.0 or node.integer("is_packed_batching", 0):
        raise KpuError("a scale and packed batches are not supported")
    flat = len(x.shape) == 3
    length, batch = (x.shape[1] if flat else x.shape[2]), x.shape[0]
    places = node.value(1)
    if np.prod(places.shape) == 1 and (batch, length) != (1, 1):
        steps = graph.constant(np.arange(length, dtype=np.int64).reshape(1, length))
        first = graph.reshape(graph.cast(places, np.dtype(np.int64)), (1, 1))
        places = graph.broadcast(graph.map(lambda a, b: a + b, first, steps), (batch, length))
    inputs = [x, node.inputs[2], node.inputs[3], graph.reshape(places, (batch, length))]
    inner = Node(node.proto, inputs, 23, node.constants)
    if flat and not node.integer("num_heads", 0):
        depth = 2 * node.shape(2)[-1]
        inner.attributes["num_heads"] = x.shape[-1] // depth
    return rotary_embedding(inner)
