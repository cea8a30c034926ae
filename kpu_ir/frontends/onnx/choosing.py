"""Operators that choose elements: by size, by index, by place."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar import formulas
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array, element_type_of


def axis_of(node: Node, default: int, rank: int | None = None) -> int:
    """``axis``, from 0 on."""
    rank = len(node.shape(0)) if rank is None else rank
    axis = node.integer("axis", default)
    if not -rank <= axis < rank:
        raise KpuError(f"axis {axis} is outside the rank {rank}")
    return axis + rank if axis < 0 else axis


MOST_MADE = 1 << 28
"""Elements of a constant that an operator's function makes."""


def check_made(count: int) -> None:
    """Refuse to make a constant of so many elements."""
    if count > MOST_MADE:
        raise KpuError(f"it needs a constant of {count:,} elements; at most 2^28 are supported")


@operator("ArgMax", "ArgMin")
def arg_reduce(node: Node) -> Tensor:
    """Where the largest or the smallest stands."""
    kind = "max" if node.proto.op_type == "ArgMax" else "min"
    return node.graph.arg_reduce(
        kind,
        node.value(0),
        axis_of(node, 0),
        bool(node.integer("select_last_index", 0)),
        bool(node.integer("keepdims", 1)),
    )


@operator("TopK")
def top_k(node: Node) -> Sequence[Tensor]:
    """The k largest or smallest; k is an attribute before version 10."""
    if node.version < 10:
        k = node.integer("k", 1)
    else:
        k = node.single(1, "k")
    smallest = not node.integer("largest", 1)
    return node.graph.top_k(node.value(0), k, axis_of(node, -1), smallest)


@operator("Hardmax")
def hardmax(node: Node) -> Tensor:
    """1 where the first largest stands, else 0; before version 13 over all dimensions from ``axis``."""
    x, graph = node.value(0), node.graph
    shape = x.shape
    axis = axis_of(node, -1 if node.version >= 13 else 1)
    if node.version < 13:
        x = graph.reshape(x, (math.prod(shape[:axis]), math.prod(shape[axis:])))
        axis = 1
    at = graph.arg_reduce("max", x, axis)
    kind = x.element_type
    result = graph.map(
        lambda i, n: (i == n).to(kind),
        at,
        graph.constant(numbers(x.shape[axis], len(x.shape), axis)),
    )
    return graph.reshape(result, shape)


def numbers(count: int, rank: int, axis: int) -> Array:
    """0, 1, 2.. along one of ``rank`` dimensions."""
    check_made(count)
    return np.arange(count, dtype=np.int64).reshape([-1 if a == axis else 1 for a in range(rank)])


@operator("OneHot")
def one_hot(node: Node) -> Tensor:
    """One value where the index is, the other elsewhere; negative indices count from the end."""
    graph, depth = node.graph, node.single(1, "depth")
    shape = node.shape(0)
    rank = len(shape) + 1
    check_made(depth)
    axis = axis_of(node, -1, rank)
    indices = graph.reshape(node.value(0), (*shape[:axis], 1, *shape[axis:]))
    if math.prod(node.shape(2)) != 2:
        raise KpuError(f"values: expected two (off, on), got the shape {node.shape(2)}")
    if depth < 1:
        raise KpuError(f"depth is {depth}; at least 1 is expected")
    values = node.known(2)
    kind = element_type_of(np.dtype(np.int64))
    places = graph.constant(numbers(depth, rank, axis))

    def counted_on(i: Scalar) -> Scalar:
        i = i.to(kind)
        return formulas.where(i < 0, i + depth, i)

    indices = graph.map(counted_on, indices)  # once an index, not once an element

    if values is not None:
        off, on = graph.constant(values[:1]), graph.constant(values[1:])
    else:
        off = graph.slice(node.value(2), [0], [1], [1])
        on = graph.slice(node.value(2), [1], [1], [1])
    return graph.map(lambda i, n, a, b: formulas.where(i == n, a, b), indices, places, on, off)


@operator("Trilu")
def trilu(node: Node) -> Tensor:
    """The upper or lower triangle; 0 elsewhere."""
    x, graph = node.value(0), node.graph
    k = node.single(1, "k") if node.has(1) else 0
    check_made(math.prod(x.shape[-2:]))
    ones = np.ones(x.shape[-2:], np.bool_)
    kept = np.triu(ones, k) if node.integer("upper", 1) else np.tril(ones, k)
    zero = False if x.dtype.kind == "b" else 0
    return graph.map(lambda v, m: formulas.where(m, v, zero), x, graph.constant(kept))


def counted(node: Node, indices: Value, extent: int) -> Value:
    """Indices of one dimension as i64 from 0 on."""
    kind = element_type_of(np.dtype(np.int64))

    def formula(i: Scalar) -> Scalar:
        i = i.to(kind)
        return formulas.where(i < 0, i + extent, i)

    return node.graph.map(formula, indices)


@operator("GatherElements")
def gather_elements(node: Node) -> Tensor:
    """Element by element: rows of one element of the flat tensor."""
    x, graph = node.value(0), node.graph
    shape, indices = x.shape, node.value(1)
    if len(indices.shape) != len(shape):
        raise KpuError(f"indices of {len(indices.shape)} dimensions for data of {len(shape)}")
    axis = axis_of(node, 0)
    strides = [math.prod(shape[a + 1 :]) for a in range(len(shape))]
    base = np.zeros([1] * len(shape), np.int64)
    for a, n in enumerate(indices.shape):
        if a != axis:
            base = base + strides[a] * numbers(n, len(shape), a)
    place = graph.map(
        lambda i, b: i * strides[axis] + b,
        counted(node, indices, shape[axis]),
        graph.constant(base),
    )
    return graph.gather(graph.reshape(x, (-1,)), place)


def places_of(node: Node, indices: Value, led: Sequence[int]) -> Value:
    """The numbers of slices whose first dimensions are ``led``, by one index for each (the last
    dimension of ``indices``)."""
    graph, depth = node.graph, len(led)
    kind = element_type_of(np.dtype(np.int64))
    extents = graph.constant(np.array(led, np.int64))
    steps = graph.constant(np.array([math.prod(led[a + 1 :]) for a in range(depth)], np.int64))

    def formula(i: Scalar, n: Scalar, s: Scalar) -> Scalar:
        i = i.to(kind)
        return formulas.where(i < 0, i + n, i) * s

    place = graph.map(formula, indices, extents, steps)
    return graph.reduce("add", place, [len(indices.shape) - 1], keep=False)


@operator("GatherND")
def gather_nd(node: Node) -> Tensor:
    """Slices by the numbers of their first dimensions."""
    x, graph, batch = node.value(0), node.graph, node.integer("batch_dims", 0)
    indices = node.value(1)
    depth = indices.shape[-1]
    shape = x.shape
    led, rest = shape[batch : batch + depth], shape[batch + depth :]
    place = places_of(node, indices, led)
    if batch:
        each = math.prod(led) * np.arange(math.prod(shape[:batch]), dtype=np.int64)
        ones = [1] * (len(place.shape) - batch)
        place = place + graph.constant(each.reshape(*shape[:batch], *ones))
    table = graph.reshape(x, (math.prod(shape[: batch + depth]), *rest))
    return graph.gather(table, place)


@operator("ReverseSequence")
def reverse_sequence(node: Node) -> Tensor:
    """The first elements of each batch in the other order: each row from where it stands then."""
    x, graph = node.value(0), node.graph
    batch, time = node.integer("batch_axis", 1), node.integer("time_axis", 0)
    if {batch, time} != {0, 1} or len(x.shape) < 2:
        raise KpuError(f"batches along {batch} and times along {time}: 0 and 1 are expected")
    steps, items = x.shape[time], x.shape[batch]
    if node.shape(1) != (items,):
        raise KpuError(f"lengths of shape {node.shape(1)}, expected one for each of {items}")
    check_made(steps * items)
    place, item = numbers(steps, 2, time), numbers(items, 2, batch)
    strides = (items, 1) if time == 0 else (1, steps)
    known = node.known(1)
    rows = graph.reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:]))
    if known is not None:
        ends = known.astype(np.int64).reshape(item.shape)
        at = np.where(place < ends, ends - 1 - place, place) * strides[0] + item * strides[1]
        return graph.gather(rows, graph.constant(at))
    kind = element_type_of(np.dtype(np.int64))

    def formula(n: Scalar, t: Scalar, i: Scalar) -> Scalar:
        n = n.to(kind)
        return formulas.where(t < n, n - 1 - t, t) * strides[0] + i * strides[1]

    ends = graph.reshape(node.value(1), item.shape)
    return graph.gather(rows, graph.map(formula, ends, graph.constant(place), graph.constant(item)))


@operator("CenterCropPad")
def center_crop_pad(node: Node) -> Tensor:
    """Less or more on both sides, one more behind where the difference is odd."""
    x, graph = node.value(0), node.graph
    rank = len(x.shape)
    axes = [a + rank * (a < 0) for a in node.integers("axes") or range(rank)]
    wanted = node.numbers(1, "shape")
    starts, kept, low, high = [0] * rank, list(x.shape), [0] * rank, [0] * rank
    for axis, n in zip(axes, wanted):
        more = n - x.shape[axis]
        if more >= 0:
            low[axis], high[axis] = more // 2, more - more // 2
        else:
            starts[axis], kept[axis] = -more // 2, n
    x = graph.slice(x, starts, [1] * rank, kept) if kept != list(x.shape) else x
    return graph.pad(x, low, high) if any((*low, *high)) else x
