"""Operators that count or search by comparison: n-grams of words, the largest of regions."""

from __future__ import annotations

import math

import numpy as np

from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar import formulas
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import element_type_of

F32 = element_type_of(np.dtype(np.float32))


@operator("TfIdfVectorizer")
def tf_idf(node: Node) -> Tensor:
    """How often each n-gram of a pool stands in each row, every word of it or with some left out."""
    graph, x = node.graph, node.value(0)
    pool = node.integers("pool_int64s")
    if pool is None:
        raise KpuError("only pools of integers are supported")
    starts = [*(node.integers("ngram_counts") or [0]), len(pool)]
    order, shortest = node.integers("ngram_indexes") or [], node.integer("min_gram_length", 1)
    longest, skips = node.integer("max_gram_length", 1), node.integer("max_skip_count", 0)
    mode, width = node.text("mode", "TF"), max(order, default=-1) + 1
    flat = len(x.shape) == 1
    rows = graph.cast(graph.reshape(x, (1, -1)) if flat else x, np.dtype(np.int64))
    batch, length = rows.shape
    total, first = graph.constant(np.zeros((batch, width), np.float32)), 0
    for n in range(1, len(starts)):
        grams = np.array(pool[starts[n - 1] : starts[n]], np.int64).reshape(-1, n)
        places, first = order[first : first + len(grams)], first + len(grams)
        if not shortest <= n <= longest or not len(grams):
            continue
        found: Value | None = None
        for skip in range((skips if n > 1 else 0) + 1):
            positions = length - (n - 1) * (skip + 1)
            if positions < 1:
                continue
            words = [
                graph.reshape(
                    graph.slice(rows, [0, k * (skip + 1)], [1, 1], (batch, positions)),
                    (batch, positions, 1),
                )
                for k in range(n)
            ]
            wanted = [graph.constant(grams[:, k].reshape(1, 1, -1)) for k in range(n)]

            def there(*given: Scalar, n: int = n) -> Scalar:
                same = given[0] == given[n]
                for k in range(1, n):
                    same = same & (given[k] == given[n + k])
                return same.to(F32)

            count = graph.reduce("add", graph.map(there, *words, *wanted), [1], keep=False)
            found = count if found is None else found + count
        if found is not None:  # each n-gram's count in its own place
            spread = np.zeros((len(grams), width), np.float32)
            spread[np.arange(len(grams)), places] = 1
            total = total + graph.matmul(found, graph.constant(spread))
    weights = [float(w) for w in node.attributes.get("weights", [])]
    if mode in ("IDF", "TFIDF"):
        scale = np.ones((1, width), np.float32)
        for at, w in zip(order, weights):
            scale[0, at] = w
        binary = mode == "IDF"
        total = graph.map(
            lambda c, w: formulas.where(c > 0.0, w, 0.0) if binary else c * w,
            total,
            graph.constant(scale),
        )
    elif mode != "TF":
        raise KpuError(f"the mode {mode!r} is not supported")
    return graph.reshape(total, (width,)) if flat else total


@operator("MaxRoiPool")
def max_roi_pool(node: Node) -> Tensor:
    """The largest of each part of a region: along its rows, then along its columns."""
    graph, x, rois = node.graph, node.value(0), node.value(1)
    shape = node.integers("pooled_shape") or []
    if len(x.shape) != 4 or len(shape) != 2 or min(shape) < 1 or rois.shape[-1] != 5:
        raise KpuError(f"regions {rois.shape} of {x.shape} as {shape} are not supported")
    scale, count = node.number("spatial_scale", 1.0), rois.shape[0]
    column = [
        graph.reshape(graph.slice(rois, [0, k], [1, 1], (count, 1)), (count,)) for k in range(5)
    ]
    value = graph.gather(x, graph.cast(column[0], np.dtype(np.int64)))
    for axis, begin, end, parts in ((3, 1, 3, shape[1]), (2, 2, 4, shape[0])):
        extent, n = value.shape[axis], len(value.shape)
        ones = [1] * n

        def inside(
            p: Scalar, i: Scalar, a: Scalar, b: Scalar, extent: int = extent, parts: int = parts
        ) -> Scalar:
            low, high = rounded(a * scale), rounded(b * scale)
            size = formulas.maximum(high - low + 1.0, 1.0) / float(parts)
            first = formulas.clip(formulas.floor(p * size) + low, 0.0, float(extent))
            last = formulas.clip(formulas.ceil((p + 1.0) * size) + low, 0.0, float(extent))
            return (i >= first) & (i < last)

        part = graph.constant(np.arange(parts, dtype=np.float32).reshape(1, parts, 1))
        place = graph.constant(np.arange(extent, dtype=np.float32).reshape(1, 1, extent))
        ends = [graph.reshape(column[k], (count, 1, 1)) for k in (begin, end)]
        seen = graph.map(inside, part, place, *ends)  # regions x parts x elements
        others = [a for a in range(n) if a not in (0, axis)]
        lines = graph.reshape(
            graph.transpose(value, (0, *others, axis)),
            (count, math.prod(value.shape[a] for a in others), 1, extent),
        )
        apart = graph.reshape(seen, (count, 1, parts, extent))
        held = graph.map(lambda v, s: formulas.where(s, v, -math.inf), lines, apart)
        best = graph.reduce("max", held, [3], keep=False)
        best = graph.map(lambda v: formulas.where(v == -math.inf, 0.0, v), best)
        best = graph.reshape(best, (count, *(value.shape[a] for a in others), parts))
        order = [0, *others, axis]
        value = graph.transpose(best, [order.index(a) for a in range(len(ones))])
    return value


def rounded(x: Scalar) -> Scalar:
    """To the nearest, halves away from zero."""
    whole = formulas.floor(abs(x) + 0.5)
    return formulas.where(x < 0.0, -whole, whole)
