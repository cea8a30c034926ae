"""What the products of a model multiply, as its calibration data shows: second moments, samples of tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from kpu_ir.integrations.onnxruntime import oracle
from kpu_ir.integrations.quantize_rounding import Moments
from kpu_ir.support.types import Array

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

LEAST_ROWS = 8192
"""Rows of inputs of a product that are looked at in all, and at least 8 k: an image has more of them, and near ones
are alike."""

MOST_BYTES = 1 << 29
"""Of moments that are held at a time."""

SAMPLE = 1 << 16
"""Elements of a tensor that are kept of all calibration data."""


def tensors_of(
    model: ModelProto, wanted: Sequence[str], items: Sequence[Mapping[str, Array]]
) -> Iterator[dict[str, Array]]:
    """Tensors by name for each item, as onnxruntime has them."""
    from onnx import helper

    runtime, names = oracle(), list(dict.fromkeys(wanted))
    given = {i.name for i in model.graph.input}
    there = {o.name for o in model.graph.output}
    more = [n for n in names if n not in given | there]
    model.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in more)
    try:
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        session = runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    finally:
        if more:
            del model.graph.output[-len(more) :]
    made = [n for n in names if n not in given]
    for item in items:
        yield dict(zip(made, session.run(made, dict(item)))) | {
            n: item[n] for n in names if n in given
        }


def moments_of(
    model: ModelProto, nodes: Sequence[NodeProto], items: Sequence[Mapping[str, Array]]
) -> Iterator[tuple[str, Moments]]:
    """Of the weights of products (``MatMul``, ``Gemm``, ``Conv``), by name: sums of x^T x over rows x of what they
    multiply, (groups, k, k), in f64. k is in the order of the weights' elements.

    Rows of padding, where a mask of the inputs is 0, do not count. The model runs once for each ``MOST_BYTES``
    of results.
    """
    kernels = {t.name: list(t.dims) for t in model.graph.initializer}
    by_weights: dict[str, list[NodeProto]] = {}
    for node in nodes:
        by_weights.setdefault(node.input[1], []).append(node)
    waiting = list(by_weights.items())
    while waiting:
        room = MOST_BYTES
        held: dict[str, list[NodeProto]] = {}
        while waiting and room > 0:
            name, users = waiting.pop(0)
            held[name] = users
            dims = kernels.get(name, [0, 0])
            room -= 8 * (math.prod(dims[1:]) ** 2 if len(dims) > 2 else max(dims) ** 2)
        yield from _moments(model, held, kernels, items).items()


def _moments(
    model: ModelProto, by_weights: Mapping[str, Sequence[NodeProto]],
    kernels: Mapping[str, Sequence[int]], items: Sequence[Mapping[str, Array]],
) -> dict[str, Moments]:  # fmt: skip
    sums: dict[str, Array] = {}
    rows: dict[str, int] = {}
    random = np.random.default_rng(0)
    read = [n.input[0] for users in by_weights.values() for n in users]
    for item, tensors in zip(items, tensors_of(model, read, items)):
        kept = _unmasked(item)
        same: dict[str, Moments] = {}  # of products of one tensor, as queries and keys
        for name, users in by_weights.items():
            for node in users:
                key = node.input[0] if node.op_type != "Conv" else node.name
                if key not in same:
                    x, kernel = tensors[node.input[0]], kernels.get(name, ())
                    same[key] = _summed(rows_of(node, x, kernel, len(items), random, kept))
                sums[name] = sums.get(name, 0.0) + same[key].sums
                rows[name] = rows.get(name, 0) + same[key].rows
    return {name: Moments(sums[name], rows[name]) for name in sums}


def _summed(parts: Iterator[Array]) -> Moments:
    held = list(parts)
    sums = [np.matmul(p.transpose(0, 2, 1), p).astype(np.float64) for p in held]
    return Moments(np.sum(sums, axis=0), sum(p.shape[1] for p in held))


def _unmasked(item: Mapping[str, Array]) -> Array | None:
    """Where a model's tokens are no padding: its input ``attention_mask``, as exporters call it."""
    mask = item.get("attention_mask")
    return None if mask is None or mask.all() or not mask.any() else mask != 0


def rows_of(
    node: NodeProto, x: Array, weights: Sequence[int], items: int, random: np.random.Generator,
    kept: Array | None = None,
) -> Iterator[Array]:  # fmt: skip
    """What a product's weights meet: (groups, rows, k), some of an image's windows. ``kept``: the tokens that count."""
    attributes = {a.name: a for a in node.attribute}
    if node.op_type != "Conv":
        turned = node.op_type == "Gemm" and "transA" in attributes and attributes["transA"].i
        x = x.T if turned else x
        if kept is not None and x.shape[:-1] == kept.shape:
            x = x[kept]
        yield x.reshape(1, -1, x.shape[-1])
        return
    groups = attributes["group"].i if "group" in attributes else 1
    windows = _windows(x, weights[2:], attributes)
    rank = len(weights) - 2
    places = windows.shape[2 : 2 + rank]
    k = int(np.prod(weights[1:]))
    most = -(-max(LEAST_ROWS, 8 * k) // max(1, items * len(x)))
    count = int(np.prod(places))
    chosen = random.permutation(count)[:most]
    at = np.unravel_index(chosen, places)
    for image in windows:
        some = image[(slice(None), *at)]  # channels, rows, window
        some = some.reshape(groups, -1, len(chosen), int(np.prod(weights[2:])))
        yield some.transpose(0, 2, 1, 3).reshape(groups, len(chosen), k)


def _windows(x: Array, kernel: Sequence[int], attributes: Mapping[str, Any]) -> Array:
    """The windows of an image: (n, channels, places ..., window ...), without copying."""
    rank = len(kernel)

    def listed(name: str, default: int) -> list[int]:
        return list(attributes[name].ints) if name in attributes else [default] * rank

    strides, dilations = listed("strides", 1), listed("dilations", 1)
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    auto = attributes["auto_pad"].s if "auto_pad" in attributes else b"NOTSET"
    if auto in (b"SAME_UPPER", b"SAME_LOWER"):
        totals = [max(0, (-(-n // s) - 1) * s + e - n)
                  for n, s, e in zip(x.shape[2:], strides, extents)]  # fmt: skip
        more = [(t // 2, t - t // 2) for t in totals]
        pads = more if auto == b"SAME_UPPER" else [p[::-1] for p in more]
    else:
        flat = list(attributes["pads"].ints) if "pads" in attributes else [0] * 2 * rank
        pads = list(zip(flat[:rank], flat[rank:]))
    padded = np.pad(x, [(0, 0), (0, 0), *pads])
    axes = tuple(range(2, 2 + rank))
    windows = sliding_window_view(padded, extents, axes)
    return windows[(..., *(slice(None, None, s) for s in strides),
                    *(slice(None, None, d) for d in dilations))]  # fmt: skip


def samples_of(
    model: ModelProto, names: Sequence[str], items: Sequence[Mapping[str, Array]]
) -> dict[str, Array]:
    """Some elements of each tensor, drawn evenly from all items."""
    random = np.random.default_rng(0)
    found: dict[str, list[Array]] = {name: [] for name in names}
    most = max(1, SAMPLE // max(1, len(items)))
    for tensors in tensors_of(model, names, items):
        for name, tensor in tensors.items():
            flat = tensor.reshape(-1)
            found[name].append(
                flat if flat.size <= most else flat[random.integers(0, flat.size, most)]
            )
    return {name: np.concatenate(parts) for name, parts in found.items() if parts}
