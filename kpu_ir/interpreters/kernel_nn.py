"""The meaning of windows, rows, movements and choices of ``kernel``, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.interpreter import Interpreter, PythonValues, impl, register_impls

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel.movement import numbers
from kpu_ir.dialects.kernel.window import WindowOperation
from kpu_ir.interpreters.base import COMBINE, ArrayFunctions, taken, wide
from kpu_ir.interpreters.kernel_core import product
from kpu_ir.scalar.rows import scan
from kpu_ir.support.types import Array


@register_impls
@dataclass
class NetworkFunctions(ArrayFunctions):
    """What networks have beside products and maps."""

    @impl(kernel.ConvOp)
    def conv(self, interpreter: Interpreter, op: kernel.ConvOp, args: PythonValues) -> PythonValues:
        """A product of each group's weights by the values under the window."""
        dtype = self.dtype(op.result)
        whole = dtype.kind in "iu"
        x, w = args if whole else (wide(v) for v in args)
        groups, (o, c, kh, kw) = op.group_count, w.shape
        view = windows(op, x, (kh, kw), op.fill_value)
        n, _, oh, ow = view.shape[:4]
        view = view.reshape(n, groups, c, oh, ow, kh, kw).transpose(0, 1, 2, 5, 6, 3, 4)
        columns = view.reshape(n, groups, c * kh * kw, oh * ow)
        rows = w.reshape(groups, o // groups, c * kh * kw)
        sums = product(rows, columns, dtype) if whole else np.matmul(rows, columns)
        result = sums.reshape(n, o, oh, ow)
        return (result.astype(dtype, copy=False),)

    def widened(self, x: Array, op: kernel.PoolOp | kernel.ReduceOp) -> Array:
        """What elements are combined in: f32 of short floats; integers as the result has them, into
        which longer sums would wrap alike."""
        whole = x.dtype.kind in "iu" and op.kind_name in ("add", "mul")
        return x.astype(self.dtype(op.result), copy=False) if whole else wide(x)

    @impl(kernel.PoolOp)
    def pool(self, interpreter: Interpreter, op: kernel.PoolOp, args: PythonValues) -> PythonValues:
        """The combination of the values under the window."""
        (x,) = args
        fill = lowest(x.dtype) if op.kind_name == "max" else 0
        view = windows(op, self.widened(x, op), op.kernel_pair, fill)
        result = COMBINE[op.kind_name].reduce(view, axis=(4, 5))
        return (result.astype(self.dtype(op.result), copy=False),)

    @impl(kernel.ReduceOp)
    def reduce(
        self, interpreter: Interpreter, op: kernel.ReduceOp, args: PythonValues
    ) -> PythonValues:
        """NumPy's ufunc.reduce with the dimensions kept."""
        x = self.widened(args[0], op)
        result = COMBINE[op.kind_name].reduce(x, axis=op.axes_list, keepdims=True, dtype=x.dtype)
        return (np.asarray(result).astype(self.dtype(op.result), copy=False),)

    @impl(kernel.ScanOp)
    def scan(self, interpreter: Interpreter, op: kernel.ScanOp, args: PythonValues) -> PythonValues:
        """Each element with those before it."""
        kind = "multiply" if op.kind_name == "mul" else op.kind_name
        result = scan(kind, args[0], op.dimension, bool(op.backward), bool(op.exclusive))
        return (result.astype(self.dtype(op.result), copy=False),)

    @impl(kernel.SoftmaxOp)
    def softmax(
        self, interpreter: Interpreter, op: kernel.SoftmaxOp, args: PythonValues
    ) -> PythonValues:
        """The stable form. Rows of -inf alone have no softmax: NaN, as the formula says."""
        x, axis = wide(args[0]), op.axis.value.data
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
        return (result.astype(self.dtype(op.result), copy=False),)

    @impl(kernel.NormalizeOp)
    def normalize(
        self, interpreter: Interpreter, op: kernel.NormalizeOp, args: PythonValues
    ) -> PythonValues:
        """Mean and variance, or the mean of squares, along the dimensions."""
        x, *affine = (wide(v) for v in args)
        if op.center:
            x = x - x.mean(axis=op.axes_list, keepdims=True)
        power = (x * x).mean(axis=op.axes_list, keepdims=True)
        result = x / np.sqrt(power + x.dtype.type(op.epsilon.value.data))
        if affine:
            result = result * affine[0]
        if len(affine) > 1:
            result = result + affine[1]
        return (result.astype(self.dtype(op.result), copy=False),)

    @impl(kernel.GatherOp)
    def gather(
        self, interpreter: Interpreter, op: kernel.GatherOp, args: PythonValues
    ) -> PythonValues:
        """NumPy's take; negative indices count from the end. Raises ``KpuError`` for one that is not
        there."""
        table, indices = args
        return (taken(op, table, indices, op.axis.value.data),)

    @impl(kernel.SliceOp)
    def slice_(
        self, interpreter: Interpreter, op: kernel.SliceOp, args: PythonValues
    ) -> PythonValues:
        """Basic indexing."""
        (x,), shape = args, op.result.type.get_shape()
        for axis, where in enumerate(zip(numbers(op.starts), numbers(op.steps), shape)):
            start, step, count = where
            x = np.take(x, start + step * np.arange(count), axis=axis)
        return (x,)

    @impl(kernel.ConcatOp)
    def concat(
        self, interpreter: Interpreter, op: kernel.ConcatOp, args: PythonValues
    ) -> PythonValues:
        """NumPy's concatenate."""
        return (np.concatenate(args, axis=op.axis.value.data),)

    @impl(kernel.PadOp)
    def pad(self, interpreter: Interpreter, op: kernel.PadOp, args: PythonValues) -> PythonValues:
        """NumPy's pad with a constant."""
        widths = list(zip(numbers(op.low), numbers(op.high)))
        value = np.asarray(op.value.value.data).astype(args[0].dtype)
        return (np.pad(args[0], widths, constant_values=value),)

    @impl(kernel.BroadcastOp)
    def broadcast(
        self, interpreter: Interpreter, op: kernel.BroadcastOp, args: PythonValues
    ) -> PythonValues:
        """NumPy's broadcast_to."""
        return (np.broadcast_to(args[0], op.result.type.get_shape()).copy(),)

    @impl(kernel.ArgReduceOp)
    def arg_reduce(
        self, interpreter: Interpreter, op: kernel.ArgReduceOp, args: PythonValues
    ) -> PythonValues:
        """NumPy's argmax or argmin; the last of equal ones by looking from behind."""
        x, axis = wide(args[0]), op.dimension
        find = np.argmax if op.kind_name == "max" else np.argmin
        if not op.last:
            return (find(x, axis=axis, keepdims=True),)
        return (x.shape[axis] - 1 - find(np.flip(x, axis), axis=axis, keepdims=True),)

    @impl(kernel.TopKOp)
    def top_k(
        self, interpreter: Interpreter, op: kernel.TopKOp, args: PythonValues
    ) -> PythonValues:
        """A stable sort; for the largest it sorts from behind, and is read from behind."""
        (x,), axis = args, op.dimension
        if op.smallest:
            order = np.argsort(wide(x), axis=axis, kind="stable")
        else:
            behind = np.argsort(np.flip(wide(x), axis), axis=axis, kind="stable")
            order = x.shape[axis] - 1 - np.flip(behind, axis)
        order = np.take(order, np.arange(op.count), axis=axis)
        return (np.take_along_axis(x, order, axis), order)

    @impl(kernel.AttentionOp)
    def attention(
        self, interpreter: Interpreter, op: kernel.AttentionOp, args: PythonValues
    ) -> PythonValues:
        """Scores, a stable softmax, and a product; queries that share keys stand behind each other."""
        q, k, v, *mask = (wide(a) for a in args)
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
        return (result.astype(self.dtype(op.result), copy=False),)


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
