"""Operators that put elements into places: scatters, by what each place receives.

Nothing on the machine writes by index. Places that are known when the model is compiled say for each
row where it comes from; of others, each row looks for the last update that is its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from kpu_ir.frontends.onnx.choosing import axis_of, counted, numbers, places_of
from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar import formulas
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array

MOST_COMPARED = 1 << 32
"""Rows times updates that are compared, where places are known only at run time."""

FEW_RUNS = 16
"""So many stretches of rows are put beside each other; more are gathered row by row."""

FEW_ROUNDS = 8
"""So many updates of one row are combined one after the other."""

COMBINED: dict[str, tuple[Callable[..., Any], str, float]] = {
    "add": (lambda a, b: a + b, "add", 0),
    "mul": (lambda a, b: a * b, "mul", 1),
    "max": (formulas.maximum, "max", -math.inf),
    "min": (formulas.minimum, "min", math.inf),
}
"""How a row and its updates become one: a formula, a reduction, what changes nothing."""


def scattered(node: Node, data: Value, places: Tensor, updates: Value, how: str) -> Value:
    """``data`` (rows of any shape) with ``updates`` (such rows) put into the rows ``places``.

    ``how`` is ``none``, where the last of several counts, or one of ``COMBINED``.
    """
    if how not in (*COMBINED, "none"):
        raise KpuError(f"the reduction {how!r} is not supported")
    rows, count = data.shape[0], updates.shape[0]
    if count == 0:
        return data
    if isinstance(places, np.ndarray):
        known = places.reshape(-1)
        if known.min() < 0 or known.max() >= rows:
            raise KpuError(f"places {known.min()} to {known.max()} are outside {rows} rows")
        rounds = _rounds(known, rows)
        if how == "none":
            last = np.full(rows, -1, np.int64)
            last[known] = np.arange(count)
            return _replaced(node.graph, data, last, updates)
        if len(rounds) <= FEW_ROUNDS:
            for chosen in rounds:
                data = _combined_with(node.graph, data, chosen, updates, how)
            return data
        places = node.placed(known)
    if rows * count * math.prod(data.shape[1:] if how != "none" else ()) > MOST_COMPARED:
        raise KpuError(
            f"{count:,} updates of {rows:,} rows whose places are known only at run time",
            hint="2^32 comparisons are supported; give the places as constants",
        )
    return _found(node.graph, data, places, updates, how)


def _rounds(places: Array, rows: int) -> list[Array]:
    """Updates of rows (-1: none), the first of each row, then the second.."""
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    number = np.arange(len(order)) - np.repeat(begins, np.diff(np.r_[begins, len(order)]))
    result: list[Array] = []
    for n in range(min(int(number.max()) + 1, FEW_ROUNDS + 1)):
        chosen = np.full(rows, -1, np.int64)
        chosen[ordered[number == n]] = order[number == n]
        result.append(chosen)
    return result


def _replaced(graph: Graph, data: Value, last: Array, updates: Value) -> Value:
    """Each row from ``updates`` where ``last`` names one, else from ``data``."""
    rows = len(last)
    source = np.where(last < 0, np.arange(rows), last)
    ends = (last < 0)[1:] != (last < 0)[:-1]
    ends |= source[1:] != source[:-1] + 1
    starts = np.r_[0, np.flatnonzero(ends) + 1, rows]
    if len(starts) - 1 <= FEW_RUNS:
        parts: list[Value] = []
        for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist()):
            taken, at = (data, begin) if last[begin] < 0 else (updates, int(last[begin]))
            shape = (end - begin, *taken.shape[1:])
            zeros = [0] * (len(shape) - 1)
            whole = shape == taken.shape
            parts.append(
                taken if whole else graph.slice(taken, [at, *zeros], [1] * len(shape), shape)
            )
        return parts[0] if len(parts) == 1 else graph.concat(parts, 0)
    table = graph.concat([data, updates], 0)
    return graph.gather(table, graph.constant(np.where(last < 0, np.arange(rows), rows + last)))


def _combined_with(graph: Graph, data: Value, chosen: Array, updates: Value, how: str) -> Value:
    formula = COMBINED[how][0]
    ones = [1] * (len(data.shape) - 1)
    mine = graph.gather(updates, graph.constant(np.maximum(chosen, 0)))
    if (chosen >= 0).all():
        return graph.map(formula, data, mine)
    seen = graph.constant((chosen >= 0).reshape(-1, *ones))
    return graph.map(lambda a, b, s: formulas.where(s, formula(a, b), a), data, mine, seen)


def _found(graph: Graph, data: Value, places: Value, updates: Value, how: str) -> Value:
    """By comparison of every row's number with every place."""
    rows, count = data.shape[0], updates.shape[0]
    rest = data.shape[1:]
    ones = [1] * len(rest)
    if how == "none":
        number = graph.constant(numbers(rows, 2, 0))
        update = graph.constant(numbers(count, 2, 1))
        mine = graph.map(
            lambda p, r, j: formulas.where(p == r, j, -1),
            graph.reshape(places, (1, count)),
            number,
            update,
        )
        last = graph.reduce("max", mine, [1], keep=False)
        at = graph.map(lambda j: formulas.maximum(j, 0), last)
        taken = graph.gather(updates, at)
        there = graph.reshape(last, (rows, *ones))
        return graph.map(lambda d, u, j: formulas.where(j < 0, d, u), data, taken, there)
    formula, kind, nothing = COMBINED[how]
    if updates.dtype.kind in "iu" and not math.isfinite(nothing):
        limits = np.iinfo(updates.dtype)
        nothing = limits.min if nothing < 0 else limits.max
    number = graph.constant(numbers(rows, 2 + len(rest), 0))
    all_mine = graph.map(
        lambda u, p, r: formulas.where(p == r, u, nothing),
        graph.reshape(updates, (1, count, *rest)),
        graph.reshape(places, (1, count, *ones)),
        number,
    )
    return graph.map(formula, data, graph.reduce(kind, all_mine, [1], keep=False))


def _how(node: Node) -> str:
    return node.text("reduction", "none")


@operator("ScatterND")
def scatter_nd(node: Node) -> Tensor:
    """Slices by the numbers of their first dimensions."""
    graph, data = node.graph, node.value(0)
    shape, depth = data.shape, node.shape(1)[-1] if node.shape(1) else 0
    if not 0 < depth <= len(shape):
        raise KpuError(f"indices of {depth} numbers for a tensor of {len(shape)} dimensions")
    led, rest = shape[:depth], shape[depth:]
    count = math.prod(node.shape(1)[:-1])
    if node.shape(2) != (*node.shape(1)[:-1], *rest):
        raise KpuError(f"updates of shape {node.shape(2)}, expected {node.shape(1)[:-1] + rest}")
    known = node.known(1)
    places: Tensor
    if known is not None:
        wrapped = np.where(known < 0, known + np.array(led), known).reshape(-1, depth)
        places = np.ravel_multi_index(tuple(wrapped.T), led).astype(np.int64)
    else:
        places = graph.reshape(places_of(node, node.value(1), led), (count,))
    table = graph.reshape(data, (math.prod(led), *rest))
    updates = graph.reshape(node.value(2), (count, *rest))
    return graph.reshape(scattered(node, table, places, updates, _how(node)), shape)


@operator("ScatterElements", "Scatter")
def scatter_elements(node: Node) -> Tensor:
    """Element by element along a dimension."""
    graph, data, updates = node.graph, node.value(0), node.value(2)
    shape, axis, rank = data.shape, axis_of(node, 0), len(data.shape)
    inner = node.shape(1)
    if len(inner) != rank or updates.shape != inner:
        raise KpuError(
            f"indices of shape {inner} and updates of {updates.shape} do not fit {shape}"
        )
    if any(n > m for a, (n, m) in enumerate(zip(inner, shape)) if a != axis):
        raise KpuError(f"indices of shape {inner} are outside {shape}")
    known = node.known(1)
    if known is not None:
        known = np.where(known < 0, known + shape[axis], known)
        where = np.indices(inner, sparse=True)
        flat = np.ravel_multi_index(
            tuple(np.broadcast_to(known if a == axis else where[a], inner) for a in range(rank)),
            shape,
        ).reshape(-1)
        rows = graph.reshape(data, (-1,)), flat.astype(np.int64), graph.reshape(updates, (-1,))
        return graph.reshape(scattered(node, *rows, _how(node)), shape)
    return _by_lines(node, data, counted(node, node.value(1), shape[axis]), updates, axis)


def _by_lines(node: Node, data: Value, places: Value, updates: Value, axis: int) -> Value:
    """Line by line along ``axis``: each element of a line looks for its updates."""
    graph, shape, inner, how = node.graph, data.shape, places.shape, _how(node)
    rank, extent, count = len(shape), shape[axis], inner[axis]
    others = [a for a in range(rank) if a != axis]
    block = [shape[a] if a == axis else inner[a] for a in range(rank)]
    line = graph.slice(data, [0] * rank, [1] * rank, block) if tuple(block) != shape else data
    lines = math.prod(inner[a] for a in others)
    if lines * extent * count > MOST_COMPARED:
        raise KpuError(f"{lines:,} lines of {extent:,} elements with {count:,} updates each")

    def rows(value: Value, n: int) -> Value:
        return graph.reshape(graph.transpose(value, [*others, axis]), (lines, n))

    source, at, new = rows(line, extent), rows(places, count), rows(updates, count)
    spread, number = graph.reshape(at, (lines, 1, count)), graph.constant(numbers(extent, 3, 1))
    if how == "none":
        update = graph.constant(numbers(count, 3, 2))
        mine = graph.map(lambda p, r, j: formulas.where(p == r, j, -1), spread, number, update)
        last = graph.reduce("max", mine, [2], keep=False)
        begin = graph.constant(count * numbers(lines, 2, 0))
        place = graph.map(lambda j, b: formulas.maximum(j, 0) + b, last, begin)
        taken = graph.gather(graph.reshape(new, (-1,)), place)
        result = graph.map(lambda d, u, j: formulas.where(j < 0, d, u), source, taken, last)
    else:
        if how not in COMBINED:
            raise KpuError(f"the reduction {how!r} is not supported")
        formula, kind, nothing = COMBINED[how]
        if new.dtype.kind in "iu" and not math.isfinite(nothing):
            limits = np.iinfo(new.dtype)
            nothing = limits.min if nothing < 0 else limits.max
        wide = graph.reshape(new, (lines, 1, count))
        mine = graph.map(lambda u, p, r: formulas.where(p == r, u, nothing), wide, spread, number)
        result = graph.map(formula, source, graph.reduce(kind, mine, [2], keep=False))
    ordered = [block[a] for a in others] + [extent]
    order = [*others, axis]
    back = graph.transpose(graph.reshape(result, ordered), [order.index(a) for a in range(rank)])
    return put_at_start(graph, data, back)


def put_at_start(graph: Graph, into: Value, block: Value) -> Value:
    """``block`` in the place of the first elements of every dimension."""
    rank = len(into.shape)
    for axis in range(rank):
        n, whole = block.shape[axis], into.shape[axis]
        if n == whole:
            continue
        shape = [*into.shape[:axis], whole - n, *block.shape[axis + 1 :]]
        starts = [n if a == axis else 0 for a in range(rank)]
        block = graph.concat([block, graph.slice(into, starts, [1] * rank, shape)], axis)
    return block


@operator("TensorScatter")
def tensor_scatter(node: Node) -> Tensor:
    """New elements in a cache, at a place of each batch; each place looks whether it is one."""
    graph, past, update = node.graph, node.value(0), node.value(1)
    shape = past.shape
    axis = axis_of(node, -2)
    extent, count = shape[axis], update.shape[axis]
    expected = tuple(count if a == axis else n for a, n in enumerate(shape))
    if axis == 0 or update.shape != expected or count > extent:
        raise KpuError(f"an update of shape {update.shape} does not fit a cache of {shape}")
    lead, rest = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
    inner = lead // shape[0]
    mode = node.text("mode", "linear")
    if mode not in ("linear", "circular"):
        raise KpuError(f"the mode {mode!r} is neither linear nor circular")
    circular = mode == "circular"
    begin: Value
    if node.has(2):
        _check_begin(node, shape[0], None if circular else extent - count)
        begin = graph.broadcast(graph.reshape(node.value(2), (-1, 1)), (shape[0], inner))
        begin = graph.reshape(begin, (lead, 1))
    else:
        begin = graph.constant(np.zeros((1, 1), np.int64))
    place, line = graph.constant(numbers(extent, 2, 1)), graph.constant(count * numbers(lead, 2, 0))

    def of(b: Any, p: Any) -> Any:
        return (p - b) % extent if circular else p - b

    def row(b: Any, p: Any, n: Any) -> Any:
        inside = formulas.clip(of(b, p), 0, count - 1) + n
        if circular or node.known(2) is not None or not node.has(2):
            return inside
        # A write that leaves the cache reads a row that no update has: an error when it runs.
        return formulas.where((b >= 0) & (b <= extent - count), inside, lead * count)

    at = graph.map(row, begin, place, line)
    seen = graph.map(lambda b, p: (of(b, p) >= 0) & (of(b, p) < count), begin, place)
    taken = graph.gather(graph.reshape(update, (lead * count, rest)), at)
    seen = graph.reshape(graph.broadcast(seen, (lead, extent)), (lead, extent, 1))
    old = graph.reshape(past, (lead, extent, rest))
    return graph.reshape(graph.map(formulas.where, seen, taken, old), shape)


def _check_begin(node: Node, batch: int, most: int | None) -> None:
    """Raises ``KpuError`` for ``write_indices`` that are not one whole number for each batch, or that are
    known and outside of 0 to ``most`` (None: they wrap around)."""
    known, begin = node.known(2), node.inputs[2]
    assert begin is not None
    if tuple(begin.shape) != (batch,) or begin.dtype.kind not in "iu":
        raise KpuError(
            f"write_indices of shape {tuple(begin.shape)} and {begin.dtype}: expected integers of "
            f"shape ({batch},), one for each batch"
        )
    if known is None or most is None:
        return
    wrong = np.flatnonzero((known < 0) | (known > most))
    if wrong.size:
        raise KpuError(
            f"write_indices[{wrong[0]}] is {known[wrong[0]]}: the update fits from 0 to {most}",
            hint="mode 'circular' wraps around",
        )
