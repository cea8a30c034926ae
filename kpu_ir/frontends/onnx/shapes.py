"""ONNX's operators on shapes: what moves nothing, and what is known at import."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import numpy as np

from kpu_ir.frontends.onnx.load import read_tensor
from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.python.graph import Value
from kpu_ir.support.errors import KpuError

if TYPE_CHECKING:
    from onnx import TensorProto


@operator("Constant")
def constant(node: Node) -> Tensor:
    """Its one attribute, whichever form it takes."""
    if len(node.attributes) != 1:
        raise KpuError(f"expected one value, got {', '.join(node.attributes) or 'none'}")
    (name, value), *_ = node.attributes.items()
    if name == "value":
        return read_tensor(cast("TensorProto", value), None)
    if name in ("value_float", "value_floats"):
        return np.array(value, np.float32)
    if name in ("value_int", "value_ints"):
        return np.array(value, np.int64)
    raise KpuError(f"{name} is not supported")


@operator("Identity")
def identity(node: Node) -> Tensor:
    """Its input."""
    return node.value(0)


@operator("Dropout")
def dropout(node: Node) -> list[Tensor]:
    """At inference its input, and a mask that keeps all."""
    training = node.known(2)
    if node.has(2) and (training is None or training.any()):
        raise KpuError("training mode is not supported")
    return [node.value(0), np.ones(node.shape(0), np.bool_)]


@operator("Shape")
def shape(node: Node) -> Tensor:
    """Known at import."""
    extents = node.shape(0)
    start, end = node.integer("start", 0), node.integer("end", len(extents))
    return np.array(extents[start:end], np.int64)


@operator("Size")
def size(node: Node) -> Tensor:
    """Known at import."""
    return np.array(math.prod(node.shape(0)), np.int64)


def reshaped(node: Node, extents: list[int]) -> Tensor:
    """Input 0 in another shape; if its values are known, so are the result's."""
    known = node.known(0)
    if known is None:
        return node.graph.reshape(node.value(0), extents)
    if math.prod(extents) != known.size:
        raise KpuError(f"cannot reshape {known.shape} to {tuple(extents)}")
    return known.reshape(extents)


@operator("Reshape")
def reshape(node: Node) -> Tensor:
    """0 keeps an extent (unless ``allowzero``), -1 is what is left."""
    old = node.shape(0)
    given = node.integers("shape") if node.version < 5 else None
    extents = given or [int(n) for n in node.must_be_known(1, "shape")]
    if not node.integer("allowzero", 0):
        if any(n == 0 and i >= len(old) for i, n in enumerate(extents)):
            raise KpuError(f"shape {extents} keeps an extent that {old} does not have")
        extents = [old[i] if n == 0 else n for i, n in enumerate(extents)]
    if extents.count(-1) == 1:
        rest, count = math.prod(n for n in extents if n != -1), math.prod(old)
        if rest and count % rest == 0:
            extents[extents.index(-1)] = count // rest
    return reshaped(node, extents)


@operator("Flatten")
def flatten(node: Node) -> Tensor:
    """To a matrix: the dimensions before ``axis``, and the others."""
    old, axis = node.shape(0), node.integer("axis", 1)
    if not -len(old) <= axis <= len(old):
        raise KpuError(f"axis {axis} is outside the rank {len(old)}")
    axis = axis + len(old) if axis < 0 else axis
    return reshaped(node, [math.prod(old[:axis]), math.prod(old[axis:])])


def _axes(node: Node, rank: int) -> list[int] | None:
    """``axes``: an attribute before version 13, then an input."""
    axes = node.integers("axes")
    if axes is None and node.has(1):
        axes = [int(n) for n in node.must_be_known(1, "axes").reshape(-1)]
    if axes is None:
        return None
    if any(not -rank <= a < rank for a in axes):
        raise KpuError(f"axes {axes} are outside the rank {rank}")
    return [a + rank if a < 0 else a for a in axes]


@operator("Squeeze")
def squeeze(node: Node) -> Tensor:
    """Without dimensions of extent 1."""
    old = node.shape(0)
    axes = _axes(node, len(old))
    if axes is None:
        return reshaped(node, [n for n in old if n != 1])
    if any(old[a] != 1 for a in axes):
        raise KpuError(f"cannot squeeze axes {axes} of {old}: not all have extent 1")
    return reshaped(node, [n for i, n in enumerate(old) if i not in axes])


@operator("Unsqueeze")
def unsqueeze(node: Node) -> Tensor:
    """With more dimensions of extent 1."""
    old = node.shape(0)
    given = node.integers("axes") or (node.must_be_known(1, "axes").reshape(-1))
    rank = len(old) + len(given)
    axes = _axes(node, rank) or []
    rest = iter(old)
    if len(set(axes)) != len(given):
        raise KpuError(f"axes {axes} repeat")
    return reshaped(node, [1 if i in axes else next(rest) for i in range(rank)])


@operator("Transpose")
def transpose(node: Node) -> Tensor:
    """Dimensions in another order."""
    perm = node.integers("perm")
    known = node.known(0)
    if known is not None and known.size <= 4096:
        return known.transpose(perm)
    value: Value = node.value(0)
    return node.graph.transpose(value, perm)
