"""Operators of networks: convolutions, pooling, reductions, softmax, norms, attention, movement."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from kpu_ir.dialects.kernel import broadcast_shapes
from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.python.graph import Value
from kpu_ir.scalar import formulas
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.support.errors import KpuError


def padding(
    node: Node,
    image: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[list[int], list[int]]:
    """``pads`` or ``auto_pad``: elements before and behind each dimension of the image."""
    rank = len(image)
    auto = node.text("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        low, high = [], []
        for n, k, s, d in zip(image, window, strides, dilations):
            total = max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n)
            small, large = total // 2, total - total // 2
            low.append(small if auto == "SAME_UPPER" else large)
            high.append(large if auto == "SAME_UPPER" else small)
        return low, high
    given = node.integers("pads") if auto == "NOTSET" else None
    pads = given or [0] * (2 * rank)
    if min(pads) < 0:
        raise KpuError(f"negative padding {pads} is not supported")
    return pads[:rank], pads[rank:]


def as_image(node: Node, value: Value) -> tuple[Value, bool]:
    """A 1-D signal as an image of one row; whether it was one."""
    if len(value.shape) == 4:
        return value, False
    if len(value.shape) != 3:
        raise KpuError(
            f"only one or two spatial dimensions are supported, got {len(value.shape) - 2}"
        )
    n, c, length = value.shape
    return node.graph.reshape(value, (n, c, 1, length)), True


def without_row(node: Node, value: Value, flat: bool) -> Value:
    """Undo ``as_image``."""
    if not flat:
        return value
    n, c, _, length = value.shape
    return node.graph.reshape(value, (n, c, length))


@operator("Conv")
def conv(node: Node) -> Tensor:
    """With a bias, one map after it."""
    spatial = node.shape(0)[2:]
    x, flat = as_image(node, node.value(0))
    w, _ = as_image(node, node.value(1))
    window = node.shape(1)[2:]
    strides = node.integers("strides") or [1] * len(window)
    dilations = node.integers("dilations") or [1] * len(window)
    low, high = padding(node, spatial, window, strides, dilations)
    if flat:
        strides, dilations, low, high = [1, *strides], [1, *dilations], [0, *low], [0, *high]
    y = node.graph.conv(
        x,
        w,
        groups=node.integer("group", 1),
        strides=strides,
        dilations=dilations,
        low=low,
        high=high,
    )
    return biased(node, y, flat)


@operator("ConvTranspose")
def conv_transpose(node: Node) -> Tensor:
    """A convolution that makes s x s outputs a position, which then take their places: nothing is
    multiplied by the zeros that a stride would put between the elements."""
    graph = node.graph
    spatial = list(node.shape(0)[2:])
    (x, flat), (w, _) = as_image(node, node.value(0)), as_image(node, node.value(1))
    row = [1] if flat else []
    nothing = [0] if flat else []
    strides = row + (node.integers("strides") or [1] * len(spatial))
    dilations = row + (node.integers("dilations") or [1] * len(spatial))
    groups = node.integer("group", 1)
    window = w.shape[2:]
    more = nothing + (node.integers("output_padding") or [0] * len(spatial))
    image = x.shape[2:]
    whole = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(image, strides, window, dilations)]
    extents, low = transposed_extents(node, row, image, strides, whole, more)
    w = transposed_weights(node, w, groups, dilations)
    spans = w.shape[2:]
    taps = [-(-k // s) for k, s in zip(spans, strides)]
    phases = math.prod(strides)
    if phases == 1:
        before = [k - 1 - a for k, a in zip(spans, low)]
        behind = [e - n + a for e, n, a in zip(extents, image, low)]
        if min((*before, *behind)) >= 0:
            y = graph.conv(x, w, groups=groups, low=before, high=behind)
            return biased(node, y, flat)
    o, c = w.shape[:2]
    # Taps of each phase, then flipped as the convolution reads them.
    around = [t * s - k for t, s, k in zip(taps, strides, spans)]
    w = graph.pad(w, [0, 0, *around], [0, 0, 0, 0]) if any(around) else w
    (ty, tx), (sy, sx) = taps, strides
    parts = graph.transpose(graph.reshape(w, (o, c, ty, sy, tx, sx)), (0, 3, 5, 1, 2, 4))
    # Weights are flipped: phase p of the result is the (s - 1 - p)-th.
    parts = graph.reshape(parts, (o * phases, c, ty, tx))
    edge = [t - 1 for t in taps]
    y = graph.conv(x, parts, groups=groups, low=edge, high=edge)
    n, _, oy, ox = y.shape
    y = graph.reshape(y, (n, o, sy, sx, oy, ox))
    for axis, s in ((2, sy), (3, sx)):
        y = graph.take(y, range(s - 1, -1, -1), axis)
    y = graph.transpose(y, (0, 1, 4, 2, 5, 3))
    y = graph.reshape(y, (n, o, oy * sy, ox * sx))
    missing = [max(0, a + e - m) for a, e, m in zip(low, extents, y.shape[2:])]
    y = graph.pad(y, [0] * 4, [0, 0, *missing]) if any(missing) else y
    if y.shape[2:] != tuple(extents):
        y = graph.slice(y, [0, 0, *low], [1] * 4, (n, o, *extents))
    return biased(node, y, flat)


def transposed_extents(
    node: Node,
    row: Sequence[int],
    image: Sequence[int],
    strides: Sequence[int],
    whole: Sequence[int],
    more: Sequence[int],
) -> tuple[list[int], list[int]]:
    """Extents of the result, and how much is cut off before it."""
    given, auto = node.integers("output_shape"), node.text("auto_pad", "NOTSET")
    pads = node.integers("pads") if auto == "NOTSET" else None
    if given is None and auto not in ("SAME_UPPER", "SAME_LOWER"):
        rank = len(image) - len(row)
        low, high = (pads or [0] * (2 * rank))[:rank], (pads or [0] * (2 * rank))[rank:]
        low, high = [0] * len(row) + low, [0] * len(row) + high
        return [n + m - a - b for n, m, a, b in zip(whole, more, low, high)], low
    extents = [n * s for n, s in zip(image, strides)]
    extents = [*row, *given[-(len(image) - len(row)) :]] if given else extents
    cut = [max(0, n + m - e) for n, m, e in zip(whole, more, extents)]
    upper = auto == "SAME_UPPER" or (given is not None and auto != "SAME_LOWER")
    return extents, [c // 2 if upper else c - c // 2 for c in cut]


def transposed_weights(node: Node, w: Value, groups: int, dilations: Sequence[int]) -> Value:
    """Weights c x o/groups x kh x kw as o x c/groups x kh x kw, flipped, with zeros for dilations."""
    graph = node.graph
    c, o, kh, kw = w.shape
    w = graph.reshape(w, (groups, c // groups, o, kh, kw))
    w = graph.reshape(graph.transpose(w, (0, 2, 1, 3, 4)), (groups * o, c // groups, kh, kw))
    for axis in (2, 3):
        w = graph.take(w, range(w.shape[axis] - 1, -1, -1), axis)
    for axis, d in ((2, dilations[0]), (3, dilations[1])):
        if d > 1:
            shape = w.shape
            apart = graph.reshape(w, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
            behind = [d - 1 if a == axis + 1 else 0 for a in range(5)]
            full = [n * d if a == axis else n for a, n in enumerate(shape)]
            apart = graph.reshape(graph.pad(apart, [0] * 5, behind), full)
            full[axis] -= d - 1
            w = graph.slice(apart, [0] * 4, [1] * 4, full)
    return w


def biased(node: Node, y: Value, flat: bool) -> Value:
    """With input 2 added to the channels, and without the row of ``as_image``."""
    if node.has(2):
        y = y + node.graph.reshape(node.value(2), (1, -1, 1, 1))
    return without_row(node, y, flat)


@operator("MaxPool", "AveragePool", "LpPool")
def pool(node: Node) -> Tensor:
    """``ceil_mode`` is padding behind the image that counts for nothing."""
    if len(node.proto.output) > 1 and node.proto.output[1]:
        raise KpuError("the indices of MaxPool are not supported")
    x, graph, kind = node.value(0), node.graph, node.proto.op_type
    spatial = x.shape[2:]
    rank = len(spatial)
    if not 1 <= rank <= 3:
        raise KpuError(f"pooling of {rank} spatial dimensions is not supported")
    window = node.integers("kernel_shape") or []
    strides = node.integers("strides") or [1] * rank
    dilations = node.integers("dilations") or [1] * rank
    low, high = padding(node, spatial, window, strides, dilations)
    counted = (list(low), list(high))
    if node.integer("ceil_mode", 0):
        for axis, (n, k) in enumerate(zip(spatial, window)):
            s, d = strides[axis], dilations[axis]
            room = n + low[axis] + high[axis] - (k - 1) * d - 1
            positions = -(-room // s) + 1
            if (positions - 1) * s >= n + low[axis]:
                positions -= 1  # a window that begins behind the image is left out
            high[axis] += max(0, (positions - 1) * s - room)
    given = {"strides": strides, "dilations": dilations, "low": low, "high": high}
    if kind == "MaxPool":
        return graph.pool("max", x, window, **given)
    if kind == "LpPool":
        p = node.integer("p", 2)
        powers = graph.map(lambda v: formulas.power(abs(v), p), x)
        return graph.map(lambda v: root(v, p), graph.pool("add", powers, window, **given))
    include = bool(node.integer("count_include_pad", 0))
    return graph.average_pool(x, window, count_padding=counted if include else None, **given)


def root(x: Scalar, p: float) -> Scalar:
    """The p-th root."""
    return x if p == 1 else formulas.power(x, 1.0 / p)


@operator("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(node: Node) -> Tensor:
    """A reduction over the image."""
    x, graph = node.value(0), node.graph
    axes = list(range(2, len(x.shape)))
    if node.proto.op_type == "GlobalMaxPool":
        return graph.reduce("max", x, axes)
    if node.proto.op_type == "GlobalLpPool":
        p = node.integer("p", 2)
        powers = graph.map(lambda v: formulas.power(abs(v), p), x)
        return graph.map(lambda v: root(v, p), graph.reduce("add", powers, axes))
    return graph.mean(x, axes)


@operator("LRN")
def local_response(node: Node) -> Tensor:
    """Divided by a power of the sum of squares of the channels around."""
    x, graph, size = node.value(0), node.graph, node.integer("size", 1)
    n, c, *spatial = x.shape
    squares = graph.reshape(graph.map(formulas.square, x), (n, 1, c, math.prod(spatial)))
    around = {"low": [(size - 1) // 2, 0], "high": [size // 2, 0]}
    sums = graph.reshape(graph.pool("add", squares, [size, 1], strides=[1, 1], **around), x.shape)
    alpha, beta = node.number("alpha", 1e-4) / size, node.number("beta", 0.75)
    bias = node.number("bias", 1.0)
    return graph.map(lambda v, s: v / formulas.power(bias + alpha * s, beta), x, sums)


@operator("MeanVarianceNormalization")
def mean_variance(node: Node) -> Tensor:
    """Without scale and shift; the 1e-9 of ONNX's function is added to the deviation."""
    return node.graph.normalize(node.value(0), node.integers("axes") or [0, 2, 3], 1e-18)


@operator("LpNormalization")
def lp_norm(node: Node) -> Tensor:
    """Divided by the norm of 1 or 2 along a dimension; 0 where that is 0."""
    x, graph, p = node.value(0), node.graph, node.integer("p", 2)
    powers = graph.map(abs if p == 1 else formulas.square, x)
    sums = graph.reduce("add", powers, [node.integer("axis", -1)])
    return graph.map(lambda v, s: formulas.where(s == 0, 0.0, v / root(s, p)), x, sums)


def reduced_axes(node: Node) -> list[int] | None:
    """The dimensions of a reduction; None where there is nothing to do."""
    rank = len(node.shape(0))
    axes = node.integers("axes")
    if axes is None and node.has(1):
        axes = [int(a) for a in node.must_be_known(1, "axes").reshape(-1)]
    if not axes:
        return None if node.integer("noop_with_empty_axes", 0) else list(range(rank))
    return [a + rank * (a < 0) for a in axes]


REDUCTIONS: dict[str, tuple[Any, str, Any]] = {
    "ReduceSum": (None, "add", None),
    "ReduceMean": (None, "add", None),
    "ReduceMax": (None, "max", None),
    "ReduceMin": (None, "min", None),
    "ReduceProd": (None, "mul", None),
    "ReduceL1": (abs, "add", None),
    "ReduceL2": (formulas.square, "add", formulas.sqrt),
    "ReduceSumSquare": (formulas.square, "add", None),
    "ReduceLogSum": (None, "add", formulas.log),
}
"""Operator: formula before, kind, formula after."""


@operator(*REDUCTIONS, "ReduceLogSumExp")
def reduce(node: Node) -> Tensor:
    """A formula, a reduction, a formula."""
    kind = node.proto.op_type
    keep = bool(node.integer("keepdims", 1))
    axes = reduced_axes(node)
    x, graph = node.value(0), node.graph
    if x.dtype.kind == "b":
        whole = graph.cast(x, np.int32)
        y = graph.reduce(REDUCTIONS[kind][1], whole, axes or [], keep)
        return graph.cast(y, np.bool_)
    if 0 in x.shape:
        raise KpuError(f"{kind} of an empty tensor is not supported")
    if kind == "ReduceLogSumExp":
        if axes is None:
            return x
        largest = graph.reduce("max", x, axes)
        total = graph.reduce("add", graph.map(lambda a, m: formulas.exp(a - m), x, largest), axes)
        y = graph.map(lambda s, m: formulas.log(s) + m, total, largest)
        shape = [n for a, n in enumerate(x.shape) if a not in axes]
        return y if keep else graph.reshape(y, shape)
    before, combine, after = REDUCTIONS[kind]
    y = graph.map(before, x) if before else x
    if axes is not None:
        y = graph.reduce(combine, y, axes, keep)
        if kind == "ReduceMean":
            count = math.prod(x.shape[a] for a in axes)
            integral = x.dtype.kind in "iu"
            y = graph.map(lambda s: formulas.divide(s, count), y) if integral else y * (1.0 / count)
    return graph.map(after, y) if after else y


@operator("Softmax", "LogSoftmax")
def softmax(node: Node) -> Tensor:
    """Along a dimension; before version 13 over all dimensions from ``axis`` on."""
    x, graph = node.value(0), node.graph
    log = node.proto.op_type == "LogSoftmax"
    if node.version >= 13:
        return graph.softmax(x, node.integer("axis", -1), log)
    axis = node.integer("axis", 1)
    axis += len(x.shape) * (axis < 0)
    rows = (math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))
    return graph.reshape(graph.softmax(graph.reshape(x, rows), 1, log), x.shape)


@operator("LayerNormalization", "RMSNormalization")
def layer_norm(node: Node) -> Tensor | list[Tensor]:
    """Over the dimensions from ``axis`` on."""
    x = node.value(0)
    axis = node.integer("axis", -1)
    axis += len(x.shape) * (axis < 0)
    shift = node.value(2) if node.has(2) else None
    graph, axes, epsilon = node.graph, range(axis, len(x.shape)), node.number("epsilon", 1e-5)
    center = node.proto.op_type == "LayerNormalization"
    y = graph.normalize(x, axes, epsilon, node.value(1), shift, center)
    if len([o for o in node.proto.output if o]) == 1:
        return y
    mean = graph.mean(x, axes)
    power = graph.mean(graph.map(lambda a, m: (a - m) * (a - m), x, mean), axes)
    return [y, mean, graph.map(lambda p: 1.0 / formulas.sqrt(p + epsilon), power)]


@operator("BatchNormalization")
def batch_norm(node: Node) -> Tensor:
    """At inference a scale and a shift of each channel."""
    if node.integer("training_mode", 0):
        raise KpuError("training mode is not supported")
    x, graph = node.value(0), node.graph
    shape = (1, -1, *(1 for _ in x.shape[2:]))
    epsilon = node.number("epsilon", 1e-5)
    known = [node.known(i) for i in range(1, 5)]
    if all(k is not None for k in known):
        scale, shift, mean, variance = (np.asarray(k, np.float64) for k in known)
        factor = scale / np.sqrt(variance + epsilon)
        dtype = x.dtype
        a = graph.constant(factor.astype(dtype).reshape(shape))
        b = graph.constant((shift - mean * factor).astype(dtype).reshape(shape))
        return graph.map(lambda v, f, s: v * f + s, x, a, b)
    scale, shift, mean, variance = (graph.reshape(node.value(i), shape) for i in range(1, 5))
    return graph.map(
        lambda v, f, s, m, p: (v - m) / formulas.sqrt(p + epsilon) * f + s,
        x,
        scale,
        shift,
        mean,
        variance,
    )


@operator("InstanceNormalization")
def instance_norm(node: Node) -> Tensor:
    """Each channel of each image by itself."""
    x, graph = node.value(0), node.graph
    shape = (1, -1, *(1 for _ in x.shape[2:]))
    scale, shift = (graph.reshape(node.value(i), shape) for i in (1, 2))
    return graph.normalize(x, range(2, len(x.shape)), node.number("epsilon", 1e-5), scale, shift)


@operator("GroupNormalization")
def group_norm(node: Node) -> Tensor:
    """Channels in groups; scale and shift are of channels (of groups before version 21)."""
    x, graph, groups = node.value(0), node.graph, node.integer("num_groups", 1)
    n, c, *spatial = x.shape
    rows = graph.reshape(x, (n, groups, c // groups, *spatial))
    axes = range(2, len(rows.shape))
    y = graph.normalize(rows, axes, node.number("epsilon", 1e-5))
    ones = [1] * len(spatial)
    per = (1, groups, c // groups, *ones) if node.version >= 21 else (1, groups, 1, *ones)
    scale, shift = (graph.reshape(node.value(i), per) for i in (1, 2))
    return graph.reshape(graph.map(lambda v, f, s: v * f + s, y, scale, shift), x.shape)


@operator("Gather")
def gather(node: Node) -> Tensor:
    """Slices by index."""
    axis = node.integer("axis", 0)
    indices = node.known(1)
    if indices is not None and indices.ndim == 0:
        x, graph = node.value(0), node.graph
        axis += len(x.shape) * (axis < 0)
        at = int(indices) + x.shape[axis] * (int(indices) < 0)
        starts = [at if a == axis else 0 for a in range(len(x.shape))]
        kept = [1 if a == axis else n for a, n in enumerate(x.shape)]
        part = graph.slice(x, starts, [1] * len(starts), kept)
        return graph.reshape(part, [n for a, n in enumerate(x.shape) if a != axis])
    return node.graph.gather(node.value(0), node.value(1), axis)


@operator("Concat")
def concat(node: Node) -> Tensor:
    """One behind the other."""
    values = [v for v in node.values() if 0 not in v.shape]
    axis = node.integer("axis", 0)
    return node.graph.concat(values, axis) if len(values) > 1 else values[0]


@operator("Split")
def split(node: Node) -> list[Tensor]:
    """Into blocks along a dimension."""
    x, graph = node.value(0), node.graph
    axis = node.integer("axis", 0)
    axis += len(x.shape) * (axis < 0)
    sizes = node.integers("split")
    if sizes is None and node.has(1):
        sizes = [int(n) for n in node.must_be_known(1, "split")]
    if sizes is None:
        count = node.integer("num_outputs", len(node.proto.output))
        step = -(-x.shape[axis] // count)
        sizes = [min(step, x.shape[axis] - i * step) for i in range(count)]
    results: list[Tensor] = []
    at = 0
    for n in sizes:
        starts = [at if a == axis else 0 for a in range(len(x.shape))]
        shape = [n if a == axis else e for a, e in enumerate(x.shape)]
        results.append(graph.slice(x, starts, [1] * len(starts), shape))
        at += n
    return results


@operator("Slice")
def slice_(node: Node) -> Tensor:
    """NumPy's basic indexing."""
    x = node.value(0)
    rank = len(x.shape)
    if node.version < 10:
        starts, ends = node.integers("starts") or [], node.integers("ends") or []
        axes, steps = node.integers("axes"), None
    else:
        starts = [int(n) for n in node.must_be_known(1, "starts")]
        ends = [int(n) for n in node.must_be_known(2, "ends")]
        axes = [int(n) for n in node.must_be_known(3, "axes")] if node.has(3) else None
        steps = [int(n) for n in node.must_be_known(4, "steps")] if node.has(4) else None
    axes = [a + rank * (a < 0) for a in (axes if axes is not None else range(len(starts)))]
    chosen = [range(n) for n in x.shape]
    for axis, start, end, step in zip(axes, starts, ends, steps or [1] * len(axes)):
        chosen[axis] = range(x.shape[axis])[slice(start, end, step)]
    if any(len(r) == 0 for r in chosen):
        return np.zeros([len(r) for r in chosen], x.dtype)
    return node.graph.slice(
        x, [r[0] for r in chosen], [r.step for r in chosen], [len(r) for r in chosen]
    )


@operator("Pad")
def pad(node: Node) -> Tensor:
    """With a constant, or with elements of its own; less where the padding is negative."""
    mode = node.text("mode", "constant")
    x = node.value(0)
    rank = len(x.shape)
    pads = node.integers("pads") or node.integers("paddings")
    value = node.number("value", 0.0)
    if pads is None:
        pads = [int(n) for n in node.must_be_known(1, "pads")]
        if node.has(2):
            value = float(np.asarray(node.must_be_known(2, "the value")).reshape(-1)[0])
    if node.has(3):
        axes = [int(a) + rank * (int(a) < 0) for a in node.must_be_known(3, "axes")]
        full = [0] * (2 * rank)
        for i, axis in enumerate(axes):
            full[axis], full[axis + rank] = pads[i], pads[i + len(axes)]
        pads = full
    low, high = pads[:rank], pads[rank:]
    starts = [max(0, -a) for a in low]
    kept = [n - s - max(0, -b) for n, s, b in zip(x.shape, starts, high)]
    if kept != list(x.shape):
        x = node.graph.slice(x, starts, [1] * rank, kept)
    above, behind = [max(0, a) for a in low], [max(0, b) for b in high]
    if mode != "constant":
        if mode not in ("edge", "reflect", "wrap"):
            raise KpuError(f"the mode {mode} of Pad is not supported")
        for axis, (a, b) in enumerate(zip(above, behind)):
            if a or b:
                order = np.pad(np.arange(x.shape[axis]), (a, b), mode=mode)
                x = node.graph.take(x, order.tolist(), axis)
        return x
    return node.graph.pad(x, above, behind, value) if any((*above, *behind)) else x


@operator("Expand")
def expand(node: Node) -> Tensor:
    """NumPy's broadcasting, in both directions."""
    wanted = [int(n) for n in node.must_be_known(1, "shape")]
    shape = broadcast_shapes(node.shape(0), tuple(wanted))
    if shape is None or min(wanted, default=1) < 0:
        raise KpuError(f"{node.shape(0)} does not broadcast to {tuple(wanted)}")
    return node.graph.broadcast(node.value(0), shape)


@operator("Tile")
def tile(node: Node) -> Tensor:
    """Repeats along dimensions: a broadcast along new ones."""
    x, graph = node.value(0), node.graph
    repeats = [int(n) for n in node.must_be_known(1, "repeats")]
    spread = [n for e in x.shape for n in (1, e)]
    wanted = [n for r, e in zip(repeats, x.shape) for n in (r, e)]
    y = graph.broadcast(graph.reshape(x, spread), wanted)
    return graph.reshape(y, [r * e for r, e in zip(repeats, x.shape)])


@operator("DepthToSpace", "SpaceToDepth")
def depth_and_space(node: Node) -> Tensor:
    """Reshapes around a transposition."""
    x, graph, b = node.value(0), node.graph, node.integer("blocksize", 1)
    n, c, h, w = x.shape
    if node.proto.op_type == "SpaceToDepth":
        order = (0, 3, 5, 1, 2, 4) if node.text("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
        y = graph.transpose(graph.reshape(x, (n, c, h // b, b, w // b, b)), order)
        return graph.reshape(y, (n, c * b * b, h // b, w // b))
    d = c // (b * b)
    if node.text("mode", "DCR") == "DCR":
        y = graph.transpose(graph.reshape(x, (n, b, b, d, h, w)), (0, 3, 4, 1, 5, 2))
    else:
        y = graph.transpose(graph.reshape(x, (n, d, b, b, h, w)), (0, 1, 4, 2, 5, 3))
    return graph.reshape(y, (n, d, h * b, w * b))


@operator("CumSum")
def cumsum(node: Node) -> Tensor:
    """A product with a triangular matrix of ones."""
    x, graph = node.value(0), node.graph
    axis = int(np.asarray(node.must_be_known(1, "axis")).reshape(-1)[0])
    axis += len(x.shape) * (axis < 0)
    n = x.shape[axis]
    ones = np.triu(np.ones((n, n)), 1 if node.integer("exclusive", 0) else 0)
    if node.integer("reverse", 0):
        ones = ones[::-1, ::-1]
    order = [a for a in range(len(x.shape)) if a != axis] + [axis]
    rows = graph.transpose(x, order) if axis != len(x.shape) - 1 else x
    extents = rows.shape
    flat = graph.reshape(rows, (-1, n))
    y = graph.reshape(graph.matmul(flat, graph.constant(ones.astype(x.dtype))), extents)
    return graph.transpose(y, np.argsort(order).tolist()) if axis != len(x.shape) - 1 else y
