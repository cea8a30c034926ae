"""The layers of networks, for ``Graph``: what they are called, made of the kernel altitude's
operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from xdsl.ir import Operation

from kpu_ir.dialects import kernel
from kpu_ir.errors import KpuError

if TYPE_CHECKING:
    from kpu_ir.builder import Graph, Value

Window = Sequence[int]


class Layers:
    """Methods of ``Graph``: convolution, pooling, reductions, softmax, norms, attention, movement.

    Images are n x c x h x w. Errors are ``KpuError``.
    """

    insert: Callable[[Operation], Value]

    def _checked(self, make: Callable[[], Operation]) -> Value:
        """Insert an operation, its verifier's words as a ``KpuError``."""
        from xdsl.utils.exceptions import VerifyException

        try:
            op = make()
            op.verify()
        except (VerifyException, IndexError, ValueError) as e:
            raise KpuError(str(e)) from None
        return self.insert(op)

    def conv(
        self: Graph,
        x: Value,
        w: Value,
        *,
        strides: Window = (1, 1),
        dilations: Window = (1, 1),
        low: Window = (0, 0),
        high: Window = (0, 0),
        groups: int = 1,
    ) -> Value:
        """A convolution by weights o x c/groups x kh x kw; ``low``, ``high``: zeros around the
        image."""
        return self._checked(
            lambda: kernel.ConvOp(
                x.ssa,
                w.ssa,
                strides=strides,
                dilations=dilations,
                low=low,
                high=high,
                groups=groups,
            )
        )

    def pool(
        self: Graph,
        kind: str,
        x: Value,
        window: Window,
        *,
        strides: Window | None = None,
        dilations: Window = (1, 1),
        low: Window = (0, 0),
        high: Window = (0, 0),
    ) -> Value:
        """``max`` or ``add`` under a window."""
        return self._checked(
            lambda: kernel.PoolOp(
                kind,
                x.ssa,
                window,
                strides=strides or window,
                dilations=dilations,
                low=low,
                high=high,
            )
        )

    def average_pool(
        self: Graph,
        x: Value,
        window: Window,
        *,
        strides: Window | None = None,
        dilations: Window = (1, 1),
        low: Window = (0, 0),
        high: Window = (0, 0),
        count_padding: tuple[Window, Window] | None = None,
    ) -> Value:
        """The mean under a window: of the elements in the image, and of as much padding as
        ``count_padding`` says."""
        total = self.pool(
            "add", x, window, strides=strides, dilations=dilations, low=low, high=high
        )
        counted = count_padding or ((0, 0), (0, 0))
        ones = np.ones([n + a + b for n, a, b in zip(x.shape[2:], *counted)], np.float64)
        around = [(a - c, b - d) for a, c, b, d in zip(low, counted[0], high, counted[1])]
        ones = np.pad(ones, around)
        spans = [(k - 1) * d + 1 for k, d in zip(window, dilations)]
        view = np.lib.stride_tricks.sliding_window_view(ones, spans)
        (sy, sx), (dy, dx) = strides or window, dilations
        counts = view[::sy, ::sx, ::dy, ::dx].sum(axis=(2, 3))
        shares = 1.0 / np.maximum(counts, 1)
        if np.ptp(shares) == 0:
            return total * float(shares.flat[0])
        return total * self.constant(shares.astype(x.dtype)[None, None])

    def reduce(self: Graph, kind: str, x: Value, axes: Sequence[int], keep: bool = True) -> Value:
        """``add``, ``max``, ``min`` or ``mul`` along dimensions, which stay with extent 1 or go."""
        rank = len(x.shape)
        wanted = sorted({a + rank * (a < 0) for a in axes})
        result = self._checked(lambda: kernel.ReduceOp(kind, x.ssa, wanted)) if wanted else x
        if keep:
            return result
        return self.reshape(result, [n for a, n in enumerate(x.shape) if a not in wanted])

    def mean(self: Graph, x: Value, axes: Sequence[int], keep: bool = True) -> Value:
        """The mean along dimensions."""
        return self.reduce("add", x, axes, keep) * (1.0 / prod(x.shape[a] for a in axes))

    def softmax(self: Graph, x: Value, axis: int = -1, log: bool = False) -> Value:
        """Softmax, or its logarithm, along a dimension."""
        return self._checked(lambda: kernel.SoftmaxOp(x.ssa, axis + len(x.shape) * (axis < 0), log))

    def normalize(
        self: Graph,
        x: Value,
        axes: Sequence[int],
        epsilon: float = 1e-5,
        scale: Value | None = None,
        shift: Value | None = None,
        center: bool = True,
    ) -> Value:
        """Layer, instance and group norms (``center``), RMS norm (without)."""
        rank = len(x.shape)
        affine = [v.ssa for v in (scale, shift) if v is not None]
        wanted = sorted(a + rank * (a < 0) for a in axes)
        return self._checked(lambda: kernel.NormalizeOp(x.ssa, affine, wanted, epsilon, center))

    def gather(self: Graph, table: Value, indices: Value, axis: int = 0) -> Value:
        """Slices of ``table`` by index."""
        rank = len(table.shape)
        return self._checked(
            lambda: kernel.GatherOp(table.ssa, indices.ssa, axis + rank * (axis < 0))
        )

    def slice(
        self: Graph, x: Value, starts: Sequence[int], steps: Sequence[int], shape: Sequence[int]
    ) -> Value:
        """``shape`` elements from ``starts``, every ``steps``-th."""
        return self._checked(lambda: kernel.SliceOp(x.ssa, starts, steps, shape))

    def concat(self: Graph, values: Sequence[Value], axis: int = 0) -> Value:
        """Values one behind the other."""
        rank = len(values[0].shape)
        return self._checked(
            lambda: kernel.ConcatOp([v.ssa for v in values], axis + rank * (axis < 0))
        )

    def pad(
        self: Graph, x: Value, low: Sequence[int], high: Sequence[int], value: float = 0.0
    ) -> Value:
        """``x`` with a value around it."""
        return self._checked(lambda: kernel.PadOp(x.ssa, low, high, value))

    def broadcast(self: Graph, x: Value, shape: Sequence[int]) -> Value:
        """NumPy's broadcast_to."""
        if tuple(shape) == tuple(x.shape):
            return x
        return self._checked(lambda: kernel.BroadcastOp(x.ssa, shape))

    def attention(
        self: Graph,
        q: Value,
        k: Value,
        v: Value,
        mask: Any = None,
        scale: float | None = None,
        causal: bool = False,
    ) -> Value:
        """Scaled dot-product attention of b x h x s x d by b x g x t x d; g divides h (grouped
        queries).

        ``mask`` is added to the scores (b x h x s x t, or what broadcasts to it).
        """
        batch, heads, length, depth = q.shape
        groups, total = k.shape[1], k.shape[2]
        if heads % groups:
            raise KpuError(f"{heads} heads of queries do not share {groups} heads of keys")
        share = heads // groups
        rows = self.reshape(q, (batch * groups, share * length, depth))
        keys = self.reshape(k, (batch * groups, total, k.shape[3]))
        values = self.reshape(v, (batch * groups, total, v.shape[3]))
        scores = self.matmul(rows, keys, transpose_b=True)
        scores = scores * float(scale if scale is not None else depth**-0.5)
        scores = self.reshape(scores, (batch, heads, length, total))
        if mask is not None:
            scores = scores + mask
        if causal:
            upper = np.triu(np.full((length, total), -np.inf, np.float32), 1)
            scores = scores + self.constant(upper.astype(q.dtype))
        weights = self.reshape(self.softmax(scores), (batch * groups, share * length, total))
        result = self.matmul(weights, values)
        return self.reshape(result, (batch, heads, length, v.shape[3]))
