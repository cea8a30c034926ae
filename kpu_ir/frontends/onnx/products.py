"""ONNX's matrix products."""

from __future__ import annotations

from itertools import combinations
from math import prod
from typing import Any

from kpu_ir.frontends.onnx.elementwise import apply
from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.scalar.widening import working_type
from kpu_ir.support.errors import KpuError


@operator("MatMul")
def matmul(node: Node) -> Tensor:
    """NumPy's matmul."""
    return node.graph.matmul(node.value(0), node.value(1))


@operator("Gemm")
def gemm(node: Node) -> Tensor:
    """alpha A' B' + beta C; the sum is one map after the product."""
    a, b = node.value(0), node.value(1)
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise KpuError(f"expected matrices, got ranks {len(a.shape)} and {len(b.shape)}")
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    element, wide = a.element_type, working_type(a.element_type)
    alone = alpha == 1.0 and (not node.has(2) or beta == 0.0)
    product = node.graph.matmul(
        a,
        b,
        transpose_a=bool(node.integer("transA", 0)),
        transpose_b=bool(node.integer("transB", 0)),
        dtype=None if alone else wide,  # the sum of both is rounded, once
    )

    def scaled(x: Any) -> Any:
        return (x if alpha == 1.0 else x * alpha).to(element)

    def with_c(x: Any, y: Any) -> Any:
        y = y.to(x.kind) if isinstance(y, Scalar) else y
        x = x if alpha == 1.0 else x * alpha
        return (x + (y if beta == 1.0 else y * beta)).to(element)

    c = node.inputs[2] if node.has(2) else None
    if c is not None and beta != 0.0:
        result = apply(node, with_c, product, c)
        if result.shape != product.shape:
            raise KpuError(f"C of shape {c.shape} does not broadcast to {product.shape}")
        return result
    return product if alpha == 1.0 else apply(node, scaled, product)


@operator("Einsum")
def einsum(node: Node) -> Tensor:
    """One operand after the other joins the product of those before it."""
    equation = node.text("equation", "").replace(" ", "")
    inputs, arrow, output = equation.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(node.inputs):
        raise KpuError(f"{equation!r} is not of {len(node.inputs)} operands")
    named = [_labels(term, len(node.shape(i))) for i, term in enumerate(terms)]
    dots = max((a for labels in named for a in labels if isinstance(a, int)), default=-1) + 1
    if arrow:
        kept = _labels(output, len(output.replace("...", "")) + dots * ("..." in output))
    else:
        once = [a for labels in named for a in labels if isinstance(a, str)]
        kept = [*range(dots - 1, -1, -1), *sorted(a for a in once if once.count(a) == 1)]
    result: Value | None = None
    have: list[Label] = []
    for i, labels in enumerate(named):
        value, mine = _diagonal(node, node.value(i), labels)
        later = {a for others in named[i + 1 :] for a in others} | set(kept)
        if result is None:
            result, have = value, mine
        else:
            result, have = _joined(node, (result, have), (value, mine), later)
        gone = [k for k, a in enumerate(have) if a not in later]
        if gone:
            result = node.graph.reduce("add", result, gone, keep=False)
            have = [a for a in have if a in later]
    assert result is not None
    missing = [a for a in kept if a not in have]
    if missing:
        raise KpuError(f"{equation!r} gives dimensions that no operand has")
    return _in_order(node, result, have, kept)


Label = str | int
"""A letter, or a dimension of the ellipsis, counted from its last."""


def _labels(term: str, rank: int) -> list[Label]:
    front, dots, back = term.partition("...")
    count = rank - len(front) - len(back)
    if count < 0 or (count and not dots):
        raise KpuError(f"{term!r} does not describe {rank} dimensions")
    return [*front, *range(count - 1, -1, -1), *back]


def _in_order(node: Node, value: Value, have: list[Label], wanted: list[Label]) -> Value:
    order = [have.index(a) for a in wanted]
    return value if order == list(range(len(order))) else node.graph.transpose(value, order)


def _diagonal(node: Node, value: Value, labels: list[Label]) -> tuple[Value, list[Label]]:
    """Without repeated labels: every (n + 1)-th element of two dimensions seen as one."""
    graph = node.graph
    for label in list(dict.fromkeys(labels)):
        while labels.count(label) > 1:
            i = labels.index(label)
            j = labels.index(label, i + 1)
            rest = [k for k in range(len(labels)) if k not in (i, j)]
            n = value.shape[i]
            lead = [value.shape[k] for k in rest]
            flat = graph.reshape(graph.transpose(value, [*rest, i, j]), (*lead, n * n))
            ones = [1] * len(lead)
            value = graph.slice(flat, [0] * (len(lead) + 1), [*ones, n + 1], [*lead, n])
            labels = [*(labels[k] for k in rest), label]
    return value, labels


def _joined(
    node: Node,
    left: tuple[Value, list[Label]],
    right: tuple[Value, list[Label]],
    later: set[Label],
) -> tuple[Value, list[Label]]:
    """The matrix product of two operands: batch, rows or columns, and what is added up."""
    graph = node.graph
    extents: dict[Label, int] = {}
    for value, labels in (left, right):
        for a, n in zip(labels, value.shape):
            extents[a] = max(n, extents.get(a, 1))
    sides: list[tuple[Value, list[Label]]] = []
    for value, labels in (left, right):  # an extent of 1 that broadcasts is no dimension
        kept = [a for a, n in zip(labels, value.shape) if n == extents[a]]
        sides.append((graph.reshape(value, [extents[a] for a in kept]), kept))
    (a, mine), (b, yours) = sides
    both = [x for x in mine if x in yours]
    batch, summed = [x for x in both if x in later], [x for x in both if x not in later]
    rows, columns = [x for x in mine if x not in both], [x for x in yours if x not in both]

    def matrix(value: Value, have: list[Label], *groups: list[Label]) -> Value:
        ordered = _in_order(node, value, have, [x for g in groups for x in g])
        lead = [extents[x] for x in groups[0]]
        return graph.reshape(ordered, [*lead, *(prod(extents[x] for x in g) for g in groups[1:])])

    product = graph.matmul(
        matrix(a, mine, batch, rows, summed), matrix(b, yours, batch, summed, columns)
    )
    have = [*batch, *rows, *columns]
    return graph.reshape(product, [extents[x] for x in have]), have


MOST_OF_DET = 6
"""Rows of a matrix whose determinant is written out."""


@operator("Det")
def determinant(node: Node) -> Tensor:
    """Of small matrices, by the minors of their last rows: n 2^n products, no pivots."""
    graph, x = node.graph, node.value(0)
    *lead, rows, n = x.shape if len(x.shape) > 1 else (0, 1)
    if rows != n or not 1 <= n <= MOST_OF_DET:
        raise KpuError(f"matrices of up to {MOST_OF_DET} rows are supported, got {x.shape}")
    count = prod(lead)
    flat = graph.reshape(x, (count, n * n))
    entries = [graph.slice(flat, [0, k], [1, 1], (count, 1)) for k in range(n * n)]

    def formula(*entry: Scalar) -> Scalar:
        minors: dict[tuple[int, ...], Scalar] = {(c,): entry[(n - 1) * n + c] for c in range(n)}
        for row in range(n - 2, -1, -1):
            wider: dict[tuple[int, ...], Scalar] = {}
            for columns in combinations(range(n), n - row):
                total: Scalar | None = None
                for sign, c in enumerate(columns):
                    rest = tuple(k for k in columns if k != c)
                    term = entry[row * n + c] * minors[rest]
                    if total is None:
                        total = term
                    else:
                        total = total - term if sign % 2 else total + term
                assert total is not None
                wider[columns] = total
            minors = wider
        return minors[tuple(range(n))]

    return graph.reshape(graph.map(formula, *entries), lead)
