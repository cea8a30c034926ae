"""Operators of transformers: attention, rotary embeddings, gated units."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from kpu_ir.dialects.kernel import shape_text
from kpu_ir.frontends.onnx.elementwise import apply
from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar import formulas
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.support.errors import KpuError


def heads_apart(node: Node, value: Value, heads: int) -> Value:
    """b x s x (h d) as b x h x s x d."""
    batch, length, depth = value.shape
    if heads < 1 or depth % heads:
        raise KpuError(f"{depth} elements do not divide into {heads} heads")
    parts = node.graph.reshape(value, (batch, length, heads, depth // heads))
    return node.graph.transpose(parts, (0, 2, 1, 3))


@operator("Attention")
def attention(node: Node) -> list[Tensor]:
    """Queries, keys and values of 3 or 4 dimensions; what came before; all masks.

    Its function in ONNX rounds to the element type between the steps, this one does not.
    """
    graph = node.graph
    q, k, v = (node.value(i) for i in range(3))
    ranks = {len(x.shape) for x in (q, k, v)}
    if ranks not in ({3}, {4}):
        shapes = ", ".join(shape_text(x.shape) for x in (q, k, v))
        raise KpuError(f"Q, K and V of shapes {shapes}: expected 3 dimensions each, or 4 each")
    flat = ranks == {3}
    if flat:
        queries, keys = node.integer("q_num_heads", 0), node.integer("kv_num_heads", 0)
        q = heads_apart(node, q, queries)
        k, v = heads_apart(node, k, keys), heads_apart(node, v, keys)
    past = 0
    if node.has(4):
        past = node.shape(4)[2]
        k = graph.concat([node.value(4), k], 2) if past else k
        v = graph.concat([node.value(5), v], 2) if past else v
    bias, causal = attention_bias(node, q, k, past)
    scale = node.attributes.get("scale")
    softcap = node.number("softcap", 0.0)
    y = graph.attention(q, k, v, bias, scale, causal, offset=past, softcap=softcap)
    results: list[Tensor] = [y, k, v]
    if len(node.proto.output) > 3 and node.proto.output[3]:
        results.append(scores(node, q, k, bias, past if causal else None))
    if flat:
        batch, heads, length, depth = y.shape
        y = graph.transpose(y, (0, 2, 1, 3))
        results[0] = graph.reshape(y, (batch, length, heads * depth))
    return results


def attention_bias(node: Node, q: Value, k: Value, past: int) -> tuple[Value | None, bool]:
    """What is added to the scores, and whether causality is left to the kernel."""
    graph, length, keys = node.graph, q.shape[2], k.shape[2]
    dtype = q.dtype
    bias: Value | None = None
    if node.has(3):
        mask = node.value(3)
        if mask.dtype.kind in "iu":  # added as it is
            mask = graph.cast(mask, q.element_type)
        missing = keys - mask.shape[-1]
        if mask.dtype.kind == "b":
            mask = graph.added_mask(mask, q.element_type)
        if missing > 0:
            none = [0] * len(mask.shape)
            mask = graph.pad(mask, none, [*none[1:], missing], -np.inf)
        bias = mask
    left, right = node.integer("left_window_size", -1), node.integer("right_window_size", -1)
    causal = bool(node.integer("is_causal", 0))
    if causal:
        right = 0
    valid = node.value(6) if node.has(6) else None
    if valid is None:
        if left < 0:
            right_too = right >= 0 and not causal
        else:
            right_too = right >= 0
            causal = False
        if left >= 0 or right_too:
            distance = np.arange(keys) - np.arange(length)[:, None] - past
            hidden = (left >= 0) & (distance < -left) | (right >= 0) & (distance > right)
            window = graph.constant(np.where(hidden, -np.inf, 0).astype(dtype))
            bias = window if bias is None else bias + window
        return bias, causal
    # Keys that are valid by batch: the last query stands at the last valid key.
    valid = graph.reshape(valid, (-1, 1, 1, 1))
    distance = graph.constant(np.arange(keys) - np.arange(length)[:, None] + length)
    place = graph.constant(np.arange(keys))

    def formula(n: Scalar, away: Scalar, j: Scalar) -> Scalar:
        seen = j < n
        if right >= 0:
            seen = seen & (away - n <= right)
        if left >= 0:
            seen = seen & (away - n >= -left)
        return formulas.where(seen, n.trace.number(0.0, q.element_type), -np.inf)

    hidden = graph.map(formula, valid, distance, place)
    return (hidden if bias is None else bias + hidden), False


def scores(node: Node, q: Value, k: Value, bias: Value | None, past: int | None) -> Value:
    """The fourth result: scores at one of four places."""
    graph, mode = node.graph, node.integer("qk_matmul_output_mode", 0)
    (batch, heads, length, depth), (_, groups, keys, _) = q.shape, k.shape
    rows = graph.reshape(q, (batch, groups, heads // groups * length, depth))
    factor, cap = node.number("scale", depth**-0.5), node.number("softcap", 0.0)
    y = graph.matmul(rows, k, transpose_b=True)
    y = graph.reshape(y, (batch, heads, length, keys)) * factor
    if mode == 0:
        return y
    if cap:
        y = graph.map(lambda s: cap * formulas.tanh(s / cap), y)
    if mode == 1:
        return y
    if past is not None:
        upper = np.triu(np.full((length, keys), -np.inf), past + 1).astype(q.dtype)
        bias = graph.constant(upper) if bias is None else bias + graph.constant(upper)
    y = y if bias is None else y + bias
    if mode == 2 or bias is None:
        return y if mode == 2 else graph.softmax(y)
    largest = graph.reduce("max", y, [3])
    shares = graph.softmax(y)
    return graph.map(lambda p, m: formulas.where(m == -np.inf, 0.0, p), shares, largest)


@operator("RotaryEmbedding")
def rotary_embedding(node: Node) -> Tensor:
    """``x cos + rotated(x) sin``, where ``rotated(x)`` is a product with a matrix of 0, 1 and -1.

    The product is exact; cosines and sines are brought to the depth of x by such matrices too.
    """
    graph, x = node.graph, node.value(0)
    shape = x.shape
    if len(shape) not in (3, 4):
        raise KpuError(f"expected 3 or 4 dimensions, got {len(shape)}")
    flat = len(shape) == 3
    heads = node.integer("num_heads", 0) if flat else shape[1]
    if flat and (heads < 1 or shape[2] % heads):
        raise KpuError(f"{shape[2]} elements do not divide into {heads} heads")
    depth = shape[2] // heads if flat else shape[3]
    turned = node.integer("rotary_embedding_dim", 0) or depth
    if not 0 < turned <= depth or turned % 2:
        raise KpuError(f"cannot rotate {turned} of {depth} elements: an even number of them turn")
    half = turned // 2
    spread, rotate = np.zeros((half, depth)), np.zeros((depth, depth))
    for i in range(half):
        a, b = (2 * i, 2 * i + 1) if node.integer("interleaved", 0) else (i, i + half)
        spread[i, [a, b]] = 1
        rotate[b, a], rotate[a, b] = -1, 1

    def cache(i: int) -> Value:
        """Cosines or sines of b x s x depth; where x is not turned, they are 0."""
        if node.shape(i)[-1] != half:
            raise KpuError(f"expected {half} cosines and sines, got {node.shape(i)[-1]}")
        known = node.known(i)
        if known is not None:
            full = graph.constant((known @ spread).astype(known.dtype))
        else:
            value = node.value(i)
            full = graph.matmul(value, graph.constant(spread.astype(value.dtype)))
        full = graph.gather(full, node.value(3)) if node.has(3) else full
        batch, length = full.shape[:2]
        return graph.reshape(full, (batch, length, 1, depth) if flat else (batch, 1, length, depth))

    parts = graph.reshape(x, (*shape[:2], heads, depth)) if flat else x
    other = graph.matmul(parts, graph.constant(rotate.astype(x.dtype)))
    still = np.where(np.arange(depth) < turned, 0, 1).astype(x.dtype)
    given: list[Any] = [parts, other, cache(1), cache(2)]
    if turned < depth:
        given.append(graph.constant(still))

    def formula(v: Scalar, r: Scalar, c: Scalar, s: Scalar, *one: Scalar) -> Scalar:
        return v * (c + one[0] if one else c) + r * s

    return graph.reshape(graph.map(formula, *given), shape)


@operator("SwiGLU")
def swiglu(node: Node) -> Tensor:
    """``silu(a) b``."""
    swish = functools.partial(formulas.silu, alpha=node.number("alpha", 1.0))
    return apply(node, lambda a, b: swish(a) * b, node.value(0), node.value(1))
