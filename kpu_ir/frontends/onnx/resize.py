"""Resize: one dimension after the other, as a choice of elements or as a product with weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.onnx.resize_integers import (
    MOST_WEIGHTS,
    checked_integers,
    cut_off,
    plain_linear,
    rounded,
)
from kpu_ir.frontends.python.layers import dimension
from kpu_ir.frontends.python.value import Value
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array, is_integral

LONGEST = 1 << 16
"""Elements along a dimension of a result."""


@operator("Resize", "Upsample")
def resize(node: Node) -> Tensor:
    """The weights are what ONNX's own reference makes of unit vectors; stored integers meet them as f32, or
    onnxruntime's where it would cut the result off."""
    x = node.value(0)
    rank = len(x.shape)
    mode = node.text("mode", "nearest")
    axes = [dimension(a, rank) for a in node.integers("axes") or range(rank)]
    scales, sizes = scales_and_sizes(node, axes, x.shape)
    roi: Array | None = None
    crops = node.text("coordinate_transformation_mode", "") == "tf_crop_and_resize"
    if crops and node.has(1):
        roi = node.must_be_known(1, "roi").reshape(-1)
        if roi.size != 2 * len(axes) or not np.isfinite(roi).all():
            raise KpuError(f"roi {roi} is not two numbers for each of {len(axes)} axes")

    def stays(i: int, axis: int) -> bool:
        whole = roi is None or (roi[i] == 0 and roi[i + len(axes)] == 1)
        return scales[i] == 1.0 and sizes[i] == x.shape[axis] and whole

    changed = [(i, axis) for i, axis in enumerate(axes) if not stays(i, axis)]
    kind = x.dtype
    stored = mode != "nearest" and is_integral(kind) and bool(changed)
    if stored:
        checked_integers(x)
        where = coordinates(node)
        if plain_linear(node, where):
            for i, axis in changed:
                checked_sizes(x.shape[axis], scales[i], sizes[i])
            return cut_off(node, x, where, {a: (scales[i], sizes[i]) for i, a in changed})
        x = x.astype(np.float32)
    for i, axis in changed:
        part = None if roi is None else [float(roi[i]), float(roi[i + len(axes)])]
        weights, shift = interpolation(node, x.shape[axis], scales[i], sizes[i], part)
        if mode == "nearest":
            x = node.graph.take(x, weights.argmax(axis=1).tolist(), axis)
        else:
            x = weighted(node, x, axis, weights, shift)
    return rounded(x, kind) if stored else x


def coordinates(node: Node) -> str:
    """Where an element of the result lies in the operand; before version 11 there was no choice."""
    if node.proto.op_type == "Upsample" or node.version < 11:
        return "asymmetric"
    return node.text("coordinate_transformation_mode", "half_pixel")


def scales_and_sizes(
    node: Node, axes: list[int], shape: tuple[int, ...]
) -> tuple[list[float], list[int]]:
    """The factor and the new extent of each of ``axes``."""
    version_9 = node.proto.op_type == "Upsample" or node.version < 11
    old = [shape[a] for a in axes]
    if version_9 and (given := node.attributes.get("scales")) is not None:
        known: Array | None = np.asarray(given, np.float32)
    else:
        place = 1 if version_9 else 2
        known = node.must_be_known(place, "scales") if node.has(place) else None
    if known is not None and known.size:
        scales = [float(s) for s in known.reshape(-1)]
        if len(scales) != len(axes) or not all(0 < s < LONGEST for s in scales):
            raise KpuError(
                f"scales {scales} are not one number above 0 for each of {len(axes)} axes"
            )
        return scales, [math.floor(s * n) for s, n in zip(scales, old)]
    sizes = node.numbers(3, "sizes")
    if len(sizes) != len(axes) or min(sizes, default=1) < 1 or 0 in old:
        raise KpuError(f"sizes {sizes} are not one number above 0 for each of {len(axes)} axes")
    scales = [m / n for m, n in zip(sizes, old)]
    policy = node.text("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        scale = min(scales) if policy == "not_larger" else max(scales)
        return [scale] * len(axes), [math.floor(scale * n + 0.5) for n in old]
    return scales, sizes


def checked_sizes(count: int, scale: float, size: int) -> None:
    """Raises ``KpuError`` for an extent that is none, or of more weights than are computed one by one."""
    if size > LONGEST or size * count > MOST_WEIGHTS:
        raise KpuError(
            f"resizing {count:,} to {size:,} elements along a dimension; at most {LONGEST:,}, "
            f"and {MOST_WEIGHTS:,} weights, are supported"
        )
    if size < 1:
        raise KpuError(f"a scale of {scale} of {count} elements leaves none")


def interpolation(
    node: Node, count: int, scale: float, size: int, roi: list[float] | None
) -> tuple[Array, Array]:
    """The matrix that makes ``size`` elements of ``count``, and what it adds (extrapolation)."""
    checked_sizes(count, scale, size)
    from onnx import TensorProto
    from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
    from onnx.reference import ReferenceEvaluator

    old = node.proto.op_type == "Upsample" or node.version < 11
    kept = (
        "mode", "coordinate_transformation_mode", "cubic_coeff_a", "exclude_outside",
        "extrapolation_value", "nearest_mode", "antialias",
    )  # fmt: skip
    given: dict[str, Any] = {k: v for k, v in node.attributes.items() if k in kept}
    if old:  # as it was before there was a choice
        given |= {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    by_scale = math.floor(scale * count) == size
    names = ["x", "roi" if roi else "", "scales" if by_scale else "", "" if by_scale else "sizes"]
    one = make_node("Resize", names, ["y"], axes=[0], **given)
    graph = make_graph(
        [one],
        "weights",
        [make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names if n],
        [make_tensor_value_info("y", TensorProto.DOUBLE, None)],
    )
    runner: Any = ReferenceEvaluator(make_model(graph, opset_imports=[make_opsetid("", 19)]))
    feeds: dict[str, Any] = {"roi": np.array(roi or [], np.float32)} if roi else {}
    if by_scale:
        feeds["scales"] = np.array([scale], np.float64)
    else:
        feeds["sizes"] = np.array([size], np.int64)
    rows: list[Array] = []
    for unit in (np.zeros(count), *np.eye(count)):
        (result,) = runner.run(None, {"x": unit, **feeds})
        rows.append(np.asarray(result, np.float64))
    shift = rows[0]
    weights = np.stack(rows[1:], axis=1) - shift[:, None]
    if weights.shape != (size, count):
        raise KpuError(f"a scale of {scale} makes {weights.shape[0]} elements, expected {size}")
    return weights, shift


def weighted(node: Node, x: Value, axis: int, weights: Array, shift: Array) -> Value:
    """A product with the weights along a dimension, and what they add."""
    graph, shape = node.graph, x.shape
    before, after = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    size, count = weights.shape
    matrix = graph.constant(weights.astype(x.dtype))
    if after == 1:
        rows = graph.reshape(x, (before, count))
        y = graph.matmul(rows, matrix, transpose_b=True)
    else:
        y = graph.matmul(matrix, graph.reshape(x, (before, count, after)))
    y = graph.reshape(y, (*shape[:axis], size, *shape[axis + 1 :]))
    if shift.any():
        ones = [1] * (len(shape) - axis - 1)
        y = y + graph.constant(shift.astype(x.dtype).reshape(-1, *ones))
    return y
