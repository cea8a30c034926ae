"""The layers of networks, for ``Graph``: what they are called, made of the kernel level's
operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from xdsl.ir import Attribute, Operation

from kpu_ir.dialects import kernel
from kpu_ir.frontends.python.calls import for_people
from kpu_ir.frontends.python.quantized import Quantized
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar import formulas
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.scalar.widening import working_type
from kpu_ir.support.errors import KpuError
from kpu_ir.support.windows import elements_under

Window = Sequence[int]

MORE = (((), (), (), (), ()), ((1,), (1,), (1,), (0,), (0,)))
"""Window, strides, dilations and padding of a dimension that is added to make an image."""


def within(
    extent: int, window: int, stride: int, dilation: int, low: int, high: int
) -> tuple[int, int, int]:
    """A window and its padding without the elements that are outside of the image wherever it stands:
    they change nothing in a maximum or a sum.

    >>> within(3, 64, 64, 1, 0, 61), within(8, 3, 1, 1, 1, 1)
    ((3, 0, 0), (3, 1, 1))
    """
    positions = (extent + low + high - (window - 1) * dilation - 1) // stride + 1
    if positions < 1:
        return window, low, high
    last = (positions - 1) * stride
    before = max(0, min((low - last - 1) // dilation + 1, low // dilation, window - 1))
    behind = max(0, window - 1 - (extent + low - 1) // dilation)
    taps, less = window - before - behind, low - before * dilation
    more = last + (taps - 1) * dilation + 1 - extent - less
    if taps < 1 or (extent + less + max(0, more) - (taps - 1) * dilation - 1) // stride + 1 != (
        positions
    ):
        return window, low, high
    return taps, less, max(0, more)


def dimension(axis: int, rank: int) -> int:
    """A dimension by its number, from 0 on. Raises ``KpuError`` where there is none."""
    if not -rank <= axis < rank:
        raise KpuError(f"axis {axis} is outside the rank {rank}")
    return axis + rank * (axis < 0)


@for_people
class Layers(Quantized):
    """Methods of ``Graph``: convolution, pooling, reductions, softmax, norms, attention, movement.

    Images are n x c x h x w. Errors are ``KpuError``.
    """

    def conv(
        self,
        x: Value,
        w: Value,
        *,
        strides: Window = (1, 1),
        dilations: Window = (1, 1),
        low: Window = (0, 0),
        high: Window = (0, 0),
        groups: int = 1,
        fill: int = 0,
        element_type: Attribute | None = None,
    ) -> Value:
        """A convolution by weights o x c/groups x kh x kw; ``low``, ``high``: zeros (or ``fill``)
        around the image; ``element_type``: the accumulator's, if another."""
        return self._checked(
            lambda: kernel.ConvOp(
                x.ssa,
                w.ssa,
                strides=strides,
                dilations=dilations,
                low=low,
                high=high,
                groups=groups,
                fill=fill,
                element_type=element_type,
            )
        )

    def pool(
        self,
        kind: str,
        x: Value,
        window: Window,
        *,
        strides: Window | None = None,
        dilations: Window | None = None,
        low: Window | None = None,
        high: Window | None = None,
        element_type: Attribute | None = None,
    ) -> Value:
        """``max`` or ``add`` under a window of one to three dimensions; it steps by its own size if
        ``strides`` are not given. ``element_type``: the accumulator's, if another."""
        rank = len(window)
        zeros, ones = [0] * rank, [1] * rank
        steps = list(strides or window)
        given = [
            list(window),
            steps,
            list(dilations or ones),
            list(low or zeros),
            list(high or zeros),
        ]
        n, c, *spatial = x.shape
        if len(spatial) != rank or any(len(g) != rank for g in given):
            raise KpuError(f"a window of {rank} dimensions does not fit {x!r}")

        def image(value: Value, part: slice, more: Sequence[int] = ()) -> Value:
            sizes, by, apart, before, behind = (
                [*g[part], *e] for g, e in zip(given, MORE[len(more)])
            )
            if min((*by, *apart)) < 1:  # refused with its reason
                return one_pool(value, sizes, by, apart, before, behind)
            for axis, n in enumerate(value.shape[2:]):
                one = n, sizes[axis], by[axis], apart[axis], before[axis], behind[axis]
                sizes[axis], before[axis], behind[axis] = within(*one)
            (h, w), (kh, kw) = value.shape[2:], sizes
            spans = zip((h, w), sizes, by, apart, before, behind)
            oh, ow = ((e + a + b - (k - 1) * d - 1) // s + 1 for e, k, s, d, a, b in spans)
            exact = kind == "max" or x.dtype.itemsize >= 4  # else the sums between would be rounded
            if exact and kh * kw * oh * ow > 2 * (kh * oh * w + kw * oh * ow):
                # Along rows, then along columns: few operations a tap are worth another pass.
                value = one_pool(
                    value, [kh, 1], [by[0], 1], [apart[0], 1], [before[0], 0], [behind[0], 0]
                )
                rest = [1, kw], [1, by[1]], [1, apart[1]], [0, before[1]], [0, behind[1]]
                return one_pool(value, *rest)
            return one_pool(value, sizes, by, apart, before, behind)

        def one_pool(value: Value, *given: Sequence[int]) -> Value:
            sizes, by, apart, before, behind = given
            return self._checked(
                lambda: kernel.PoolOp(
                    kind, value.ssa, sizes, strides=by, dilations=apart, low=before, high=behind,
                    element_type=element_type,
                )
            )  # fmt: skip

        if rank == 2:
            return image(x, slice(0, 2))
        if rank == 1:
            y = image(self.reshape(x, (n, c, *spatial, 1)), slice(0, 1), [1])
            return self.reshape(y, y.shape[:3])
        if rank != 3:
            raise KpuError(f"pooling of {rank} spatial dimensions is not supported")
        depth, height, width = spatial  # one plane after the other, then along the depth
        y = image(self.reshape(x, (n, c * depth, height, width)), slice(1, 3))
        rows, columns = y.shape[2:]
        y = image(self.reshape(y, (n, c, depth, rows * columns)), slice(0, 1), [1])
        return self.reshape(y, (n, c, y.shape[2], rows, columns))

    def max_pool(self, x: Value, window: Window, **given: Any) -> Value:
        """The largest element under a window; options as ``pool``'s."""
        return self.pool("max", x, window, **given)

    def average_pool(
        self,
        x: Value,
        window: Window,
        *,
        strides: Window | None = None,
        dilations: Window | None = None,
        low: Window | None = None,
        high: Window | None = None,
        count_padding: tuple[Window, Window] | None = None,
    ) -> Value:
        """The mean under a window: of the elements in the image, and of as much padding as
        ``count_padding`` says."""
        rank = len(window)
        steps, apart = strides or window, dilations or [1] * rank
        before, behind = low or [0] * rank, high or [0] * rank
        kind = x.element_type
        total = self.pool(
            "add", x, window, strides=steps, dilations=apart, low=before, high=behind,
            element_type=working_type(kind),
        )  # fmt: skip
        counts = elements_under(x.shape[2:], window, steps, apart, before, behind, count_padding)
        shares = 1.0 / np.maximum(counts, 1)
        if np.ptp(shares) == 0:
            share = float(shares.flat[0])
            return self.finished(lambda s: s * share, kind, total)
        each = self.constant(shares.astype(total.dtype)[None, None])
        return self.finished(lambda s, e: s * e, kind, total, each)

    def finished(self, formula: Callable[..., Any], kind: Attribute, *sums: Value) -> Value:
        """A formula of sums that are kept in 32 bits, rounded to ``kind`` as it is written."""
        if sums[0].element_type == kind:
            return self.map(formula, *sums)
        return self.map(lambda *v: formula(*v).to(kind), *sums)

    def reduce(
        self,
        kind: str,
        x: Value,
        axes: Sequence[int],
        keep: bool = True,
        element_type: Attribute | None = None,
    ) -> Value:
        """``add``, ``max``, ``min`` or ``mul`` along dimensions, which stay with extent 1 or go.
        ``element_type``: the accumulator's, if another."""
        rank = len(x.shape)
        wanted = sorted({dimension(a, rank) for a in axes})
        if wanted:
            result = self._checked(lambda: kernel.ReduceOp(kind, x.ssa, wanted, element_type))
        else:
            result = x
            if element_type is not None and element_type != x.element_type:
                result = self.map(lambda v: v.to(element_type), x)
        if keep:
            return result
        return self.reshape(result, [n for a, n in enumerate(x.shape) if a not in wanted])

    def scan(
        self, kind: str, x: Value, axis: int = -1, backward: bool = False, exclusive: bool = False
    ) -> Value:
        """Each element combined (``add`` or ``mul``) with those before it along a dimension;
        ``backward``: behind it; ``exclusive``: without itself."""
        at = dimension(axis, len(x.shape))
        return self._checked(lambda: kernel.ScanOp(kind, x.ssa, at, backward, exclusive))

    def mean(self, x: Value, axes: Sequence[int], keep: bool = True) -> Value:
        """The mean along dimensions."""
        kind, share = x.element_type, 1.0 / prod(x.shape[a] for a in axes)
        total = self.reduce("add", x, axes, keep, working_type(kind))
        return self.finished(lambda s: s * share, kind, total)

    def softmax(self, x: Value, axis: int = -1, log: bool = False) -> Value:
        """Softmax, or its logarithm, along a dimension."""
        return self._checked(lambda: kernel.SoftmaxOp(x.ssa, dimension(axis, len(x.shape)), log))

    def normalize(
        self,
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
        wanted = sorted(dimension(a, rank) for a in axes)
        return self._checked(lambda: kernel.NormalizeOp(x.ssa, affine, wanted, epsilon, center))

    def norm(
        self,
        value: Value,
        axes: Sequence[int],
        epsilon: float,
        scale: Any,
        shift: Any,
        center: bool,
    ) -> Value:
        """``normalize`` with a scale and a shift that may be arrays, and either without the other."""
        kind = value.element_type
        if scale is None and shift is not None:
            scale = np.ones(1)
        affine = [None if v is None else self.value(v, kind) for v in (scale, shift)]
        return self.normalize(value, axes, epsilon, *affine, center=center)

    def gather(self, table: Value, indices: Value, axis: int = 0) -> Value:
        """Slices of ``table`` by index."""
        rank = len(table.shape)
        return self._checked(lambda: kernel.GatherOp(table.ssa, indices.ssa, dimension(axis, rank)))

    def slice(
        self, x: Value, starts: Sequence[int], steps: Sequence[int], shape: Sequence[int]
    ) -> Value:
        """``shape`` elements from ``starts``, every ``steps``-th."""
        return self._checked(lambda: kernel.SliceOp(x.ssa, starts, steps, shape))

    def part(self, value: Value, index: Any) -> Value:
        """NumPy's basic indexing of a value."""
        given = list(index) if isinstance(index, tuple) else [index]
        rank, count = len(value.shape), sum(i is not None and i is not ... for i in given)
        if any(
            isinstance(i, bool) or not isinstance(i, int | slice | None)
            for i in given
            if i is not ...
        ):
            raise KpuError(
                "an index must be of numbers, slices, ... and None", hint="see Graph.gather"
            )
        if sum(i is ... for i in given) > 1 or count > rank:
            raise KpuError(f"too many indices for {value!r}")
        at = next((k for k, i in enumerate(given) if i is ...), len(given))
        given[at : at + 1] = [slice(None)] * (rank - count)
        starts: list[int] = []
        steps: list[int] = []
        extents: list[int] = []
        shape: list[int] = []
        for one in given:
            if one is None:
                shape.append(1)
                continue
            n = value.shape[len(starts)]
            if isinstance(one, int) and not -n <= one < n:
                raise KpuError(f"index {one} is outside the extent {n} of {value!r}")
            chosen = range(n)[one] if isinstance(one, slice) else range(one % n, one % n + 1)
            if not chosen:
                raise KpuError(f"{one} chooses nothing of the extent {n} of {value!r}")
            starts.append(chosen[0])
            steps.append(chosen.step)
            extents.append(len(chosen))
            if isinstance(one, slice):
                shape.append(len(chosen))
        if tuple(extents) != value.shape or any(s != 1 for s in steps):
            value = self.slice(value, starts, steps, extents)
        return value if value.shape == tuple(shape) else self.reshape(value, shape)

    def concat(self, values: Sequence[Value], axis: int = 0) -> Value:
        """Values one behind the other."""
        if not values:
            raise KpuError("concat needs at least one value")
        rank = len(values[0].shape)
        return self._checked(
            lambda: kernel.ConcatOp([v.ssa for v in values], dimension(axis, rank))
        )

    def pad(self, x: Value, low: Sequence[int], high: Sequence[int], value: float = 0.0) -> Value:
        """``x`` with a value around it."""
        return self._checked(lambda: kernel.PadOp(x.ssa, low, high, value))

    def broadcast(self, x: Value, shape: Sequence[int]) -> Value:
        """NumPy's broadcast_to."""
        if tuple(shape) == tuple(x.shape):
            return x
        return self._checked(lambda: kernel.BroadcastOp(x.ssa, shape))

    def take(self, x: Value, indices: Sequence[int], axis: int) -> Value:
        """The elements of a dimension that ``indices`` name, as slices, repetitions and concatenation
        where that takes few of them, else by a list of indices."""
        rank, count = len(x.shape), len(indices)
        axis = dimension(axis, rank)
        extent = x.shape[axis]
        at = [int(i) + extent * (i < 0) for i in indices]
        if any(not 0 <= i < extent for i in at) or not at:
            raise KpuError(f"indices {list(indices)} are outside a dimension of {extent}")
        if at == list(range(extent)):
            return x

        def part(source: Value, start: int, step: int, n: int) -> Value:
            starts, steps, shape = [0] * rank, [1] * rank, list(source.shape)
            starts[axis], steps[axis], shape[axis] = start, step, n
            return self.slice(source, starts, steps, shape)

        times = next(
            n
            for n in range(count, 0, -1)
            if count % n == 0 and all(at[i] == at[i - i % n] for i in range(count))
        )
        if times > 1:  # each element several times: another dimension, along which it is repeated
            once = self.take(x, at[::times], axis)
            before, after = once.shape[: axis + 1], once.shape[axis + 1 :]
            wide = self.broadcast(
                self.reshape(once, (*before, 1, *after)), (*before, times, *after)
            )
            return self.reshape(wide, (*before[:-1], count, *after))
        runs: list[list[int]] = []
        for i in at:
            last = runs[-1] if runs else []
            if len(last) == 1 or (len(last) > 1 and i - last[-1] == last[1] - last[0]):
                last.append(i)
            else:
                runs.append([i])
        if len(runs) > 8:
            return self.gather(x, self.constant(np.array(at, np.int64)), axis)
        parts: list[Value] = []
        for run in runs:
            step = run[1] - run[0] if len(run) > 1 else 1
            if step:
                parts.append(part(x, run[0], step, len(run)))
            else:
                one = part(x, run[0], 1, 1)
                wide = [len(run) if a == axis else n for a, n in enumerate(one.shape)]
                parts.append(self.broadcast(one, wide))
        return parts[0] if len(parts) == 1 else self.concat(parts, axis)

    def arg_reduce(
        self, kind: str, x: Value, axis: int, last: bool = False, keep: bool = True
    ) -> Value:
        """Where the ``max`` or ``min`` along a dimension stands (i64); of equal ones the first."""
        at = dimension(axis, len(x.shape))
        result = self._checked(lambda: kernel.ArgReduceOp(kind, x.ssa, at, last))
        if keep:
            return result
        return self.reshape(result, [n for a, n in enumerate(x.shape) if a != at])

    def top_k(
        self, x: Value, k: int, axis: int = -1, smallest: bool = False
    ) -> tuple[Value, Value]:
        """The ``k`` largest (or smallest) along a dimension, in order, and where they stand (i64)."""
        chosen = self._checked(
            lambda: kernel.TopKOp(x.ssa, k, dimension(axis, len(x.shape)), smallest)
        )
        places = chosen.ssa.owner
        assert isinstance(places, Operation)
        return chosen, Value(chosen.graph, places.results[1])

    def attention(
        self,
        q: Value,
        k: Value,
        v: Value,
        mask: Any = None,
        scale: float | None = None,
        causal: bool = False,
        *,
        offset: int = 0,
        softcap: float = 0.0,
    ) -> Value:
        """Scaled dot-product attention of b x h x s x d by b x g x t x d; g divides h (grouped
        queries).

        ``mask`` is added to the scores (b x h x s x t, or what broadcasts to it); of booleans it
        says which keys are seen. Causal queries see ``offset`` keys more than their own number.
        """
        added = None if mask is None else self.value(mask, q.element_type)
        if added is not None and added.dtype.kind == "b":
            added = self.added_mask(added, q.element_type)
        return self._checked(
            lambda: kernel.AttentionOp(
                q.ssa,
                k.ssa,
                v.ssa,
                None if added is None else added.ssa,
                scale=scale,
                causal=causal,
                offset=offset,
                softcap=softcap,
            )
        )

    def added_mask(self, mask: Value, element_type: Attribute) -> Value:
        """0 where a mask of booleans says yes, else -inf."""

        def formula(seen: Scalar) -> Scalar:
            return formulas.where(seen, seen.trace.number(0.0, element_type), -np.inf)

        return self.map(formula, mask)
