"""The meaning of windows, rows and movements in NumPy (a part of ``kernel_reference``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel.movement import numbers
from kpu_ir.dialects.kernel.window import WindowOperation
from kpu_ir.interpreters.kernel import Evaluation, reference
from kpu_ir.support.types import Array

COMBINE: dict[str, np.ufunc] = {
    "add": np.add,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
}


def wide(array: Array) -> Array:
    """Short floats in f32, in which they are added up; anything else as it is."""
    short = array.dtype.kind not in "iub" and array.dtype.itemsize < 4
    return array.astype(np.float32) if short else array


def lowest(dtype: np.dtype[Any]) -> Any:
    """What changes no maximum."""
    return np.iinfo(dtype).min if dtype.kind in "iu" else -np.inf


def windows(op: WindowOperation, x: Array, kernel_: Sequence[int], fill: Any) -> Array:
    """The values under each position: n x c x oh x ow x kh x kw."""
    (a, c), (b, d) = op.low_pair, op.high_pair
    padded = np.pad(x, ((0, 0), (0, 0), (a, b), (c, d)), constant_values=fill)
    spans = [(k - 1) * step + 1 for k, step in zip(kernel_, op.dilation_pair)]
    view = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(2, 3))
    (sy, sx), (dy, dx) = op.stride_pair, op.dilation_pair
    return view[:, :, ::sy, ::sx, ::dy, ::dx]


@reference(kernel.ConvOp)
def conv(op: kernel.ConvOp, operands: list[Array], run: Evaluation) -> Sequence[Array]:
    """A product of each group's weights by the values under the window."""
    dtype = run.dtype(op.result)
    x, w = (v.astype(dtype) if dtype.kind in "iu" else wide(v) for v in operands)
    groups, (o, c, kh, kw) = op.group_count, w.shape
    view = windows(op, x, (kh, kw), 0)
    n, _, oh, ow = view.shape[:4]
    view = view.reshape(n, groups, c, oh, ow, kh, kw).transpose(0, 1, 2, 5, 6, 3, 4)
    columns = view.reshape(n, groups, c * kh * kw, oh * ow)
    rows = w.reshape(groups, o // groups, c * kh * kw)
    result = np.matmul(rows, columns).reshape(n, o, oh, ow)
    return (result.astype(dtype, copy=False),)


@reference(kernel.PoolOp)
def pool(op: kernel.PoolOp, operands: list[Array], run: Evaluation) -> Sequence[Array]:
    """The combination of the values under the window."""
    (x,) = operands
    fill = lowest(x.dtype) if op.kind_name == "max" else 0
    view = windows(op, wide(x), op.kernel_pair, fill)
    result = COMBINE[op.kind_name].reduce(view, axis=(4, 5))
    return (result.astype(run.dtype(op.result), copy=False),)


@reference(kernel.ReduceOp)
def reduce(op: kernel.ReduceOp, operands: list[Array], run: Evaluation) -> Sequence[Array]:
    """NumPy's ufunc.reduce with the dimensions kept."""
    x = wide(operands[0])
    result = COMBINE[op.kind_name].reduce(x, axis=op.axes_list, keepdims=True, dtype=x.dtype)
    return (np.asarray(result).astype(run.dtype(op.result), copy=False),)


@reference(kernel.SoftmaxOp)
def softmax(op: kernel.SoftmaxOp, operands: list[Array], run: Evaluation) -> Sequence[Array]:
    """The stable form. Rows of -inf alone have no softmax: NaN, as the formula says."""
    x, axis = wide(operands[0]), op.axis.value.data
    largest = x.max(axis=axis, keepdims=True)
    if op.zero_if_empty:
        largest = np.where(np.isneginf(largest), 0, largest)
    with np.errstate(invalid="ignore"):
        shifted = x - largest
    powers = np.exp(shifted)
    total = powers.sum(axis=axis, keepdims=True)
    if op.zero_if_empty:
        total = np.where(total == 0, 1, total)
    result = shifted - np.log(total) if op.log else powers / total
    return (result.astype(run.dtype(op.result), copy=False),)


@reference(kernel.NormalizeOp)
def normalize(op: kernel.NormalizeOp, operands: list[Array], run: Evaluation) -> Sequence[Array]:
    """Mean and variance, or the mean of squares, along the dimensions."""
    x, *affine = (wide(v) for v in operands)
    if op.center:
        x = x - x.mean(axis=op.axes_list, keepdims=True)
    power = (x * x).mean(axis=op.axes_list, keepdims=True)
    result = x / np.sqrt(power + x.dtype.type(op.epsilon.value.data))
    if affine:
        result = result * affine[0]
    if len(affine) > 1:
        result = result + affine[1]
    return (result.astype(run.dtype(op.result), copy=False),)


@reference(kernel.GatherOp)
def gather(op: kernel.GatherOp, operands: list[Array], run: Evaluation) -> Sequence[Array]:
    """NumPy's take; negative indices count from the end."""
    table, indices = operands
    return (np.take(table, indices, axis=op.axis.value.data),)


@reference(kernel.SliceOp)
def slice_(op: kernel.SliceOp, operands: list[Array], run: Evaluation) -> Sequence[Array]:
    """Basic indexing."""
    out = op.result.type.get_shape()
    for axis, (start, step, count) in enumerate(zip(numbers(op.starts), numbers(op.steps), out)):
        index = start + step * np.arange(count)
        operands = [np.take(operands[0], index, axis=axis)]
    return operands


@reference(kernel.ConcatOp)
def concat(op: kernel.ConcatOp, operands: list[Array], run: Evaluation) -> Sequence[Array]:
    """NumPy's concatenate."""
    return (np.concatenate(operands, axis=op.axis.value.data),)


@reference(kernel.PadOp)
def pad(op: kernel.PadOp, operands: list[Array], run: Evaluation) -> Sequence[Array]:
    """NumPy's pad with a constant."""
    widths = list(zip(numbers(op.low), numbers(op.high)))
    value = np.asarray(op.value.value.data).astype(operands[0].dtype)
    return (np.pad(operands[0], widths, constant_values=value),)


@reference(kernel.BroadcastOp)
def broadcast(op: kernel.BroadcastOp, operands: list[Array], run: Evaluation) -> Sequence[Array]:
    """NumPy's broadcast_to."""
    return (np.broadcast_to(operands[0], op.result.type.get_shape()).copy(),)


@reference(kernel.ArgReduceOp)
def arg_reduce(op: kernel.ArgReduceOp, operands: list[Array], run: Evaluation) -> Sequence[Array]:
    """NumPy's argmax or argmin; the last of equal ones by looking from behind."""
    x, axis = wide(operands[0]), op.dimension
    find = np.argmax if op.kind_name == "max" else np.argmin
    if not op.last:
        return (find(x, axis=axis, keepdims=True),)
    return (x.shape[axis] - 1 - find(np.flip(x, axis), axis=axis, keepdims=True),)


@reference(kernel.TopKOp)
def top_k(op: kernel.TopKOp, operands: list[Array], run: Evaluation) -> Sequence[Array]:
    """A stable sort; for the largest it sorts from behind, and is read from behind."""
    (x,), axis = operands, op.dimension
    if op.smallest:
        order = np.argsort(wide(x), axis=axis, kind="stable")
    else:
        behind = np.argsort(np.flip(wide(x), axis), axis=axis, kind="stable")
        order = x.shape[axis] - 1 - np.flip(behind, axis)
    order = np.take(order, np.arange(op.count), axis=axis)
    return (np.take_along_axis(x, order, axis), order)


@reference(kernel.AttentionOp)
def attention(op: kernel.AttentionOp, operands: list[Array], run: Evaluation) -> Sequence[Array]:
    """Scores, a stable softmax, and a product; queries that share keys stand behind each other."""
    q, k, v, *mask = (wide(a) for a in operands)
    batch, heads, length, depth = q.shape
    groups, keys = k.shape[1:3]
    rows = q.reshape(batch, groups, -1, depth)
    scores = np.matmul(rows, k.swapaxes(-1, -2)).reshape(batch, heads, length, keys)
    scores = scores * scores.dtype.type(op.factor)
    if op.cap:
        scores = op.cap * np.tanh(scores / op.cap)
    if mask:
        scores = scores + mask[0].astype(scores.dtype)
    if op.causal:
        behind = np.arange(keys) > np.arange(length)[:, None] + op.shift
        scores = np.where(behind, -np.inf, scores)
    largest = scores.max(axis=-1, keepdims=True)
    powers = np.exp(scores - np.where(np.isneginf(largest), 0, largest))
    total = powers.sum(axis=-1, keepdims=True)
    shares = (powers / np.where(total == 0, 1, total)).reshape(batch, groups, -1, keys)
    result = np.matmul(shares, v).reshape(batch, heads, length, -1)
    return (result.astype(run.dtype(op.result), copy=False),)
