"""ONNX's operators on shapes: what moves nothing, and what is known at import."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from xdsl.dialects import arith

from kpu_ir.dialects.kernel import scalar_type
from kpu_ir.frontends.onnx.choosing import check_made
from kpu_ir.frontends.onnx.declared import check_size
from kpu_ir.frontends.onnx.load import read_sparse
from kpu_ir.frontends.onnx.node import Node, Tensor, operator
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import element_type_of

if TYPE_CHECKING:
    from onnx import SparseTensorProto, TensorProto


@operator("Constant")
def constant(node: Node) -> Tensor:
    """Its one attribute, whichever form it takes."""
    if len(node.attributes) != 1:
        raise KpuError(f"expected one value, got {', '.join(node.attributes) or 'none'}")
    (name, value), *_ = node.attributes.items()
    if name == "value":
        return node.constants.read(cast("TensorProto", value))
    if name == "sparse_value":
        return read_sparse(cast("SparseTensorProto", value), node.constants.folder)
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
    """At inference, or where nothing is dropped, its input, and a mask that keeps all."""
    training, ratio = node.known(2), node.known(1)
    nothing = ratio is not None and not ratio.any()
    if node.has(2) and not nothing and (training is None or training.any()):
        raise KpuError("training mode draws random numbers, which is not supported")
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
    extents = given or node.numbers(1, "shape")
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
        axes = node.numbers(1, "axes")
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
    given = node.integers("axes") or node.numbers(1, "axes")
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


@operator("ConstantOfShape")
def constant_of_shape(node: Node) -> Tensor:
    """One number everywhere."""
    shape = node.numbers(0, "the shape")
    if min(shape, default=0) < 0:
        raise KpuError(f"the shape {shape} has negative extents")
    value: Tensor = np.zeros(1, np.float32)
    if "value" in node.attributes:
        value = node.constants.read(node.attributes["value"])
    if not isinstance(value, np.ndarray) or value.size != 1:
        raise KpuError("its value is not one number")
    check_size(shape, "its result")
    return node.constants.full(shape, value.reshape(()))


@operator("EyeLike")
def eye_like(node: Node) -> Tensor:
    """Ones on a diagonal."""
    shape = node.shape(0)
    if len(shape) != 2:
        raise KpuError(f"expected a matrix, got {len(shape)} dimensions")
    check_made(math.prod(shape))
    source = node.inputs[0]
    assert source is not None
    dtype = named_dtype(node, "dtype", source.dtype)
    return np.eye(*shape, k=node.integer("k", 0)).astype(dtype)


def named_dtype(node: Node, name: str, default: Any) -> np.dtype[Any]:
    """An attribute that is an element type."""
    from onnx.helper import tensor_dtype_to_np_dtype

    number = node.integer(name, 0)
    try:
        return np.dtype(tensor_dtype_to_np_dtype(number) if number else default)
    except KeyError:
        raise KpuError(f"{name}: there is no element type of number {number}") from None


@operator("Range")
def range_(node: Node) -> Tensor:
    """Numbers in steps: known, as how many there are is a shape."""
    start, limit, step = (
        node.must_be_known(i, what).reshape(-1)
        for i, what in enumerate(("start", "limit", "delta"))
    )
    if {start.size, limit.size, step.size} != {1}:
        raise KpuError("start, limit and delta are one number each")
    ends = [float(v[0]) for v in (start, limit, step)]
    if not ends[2] or not all(map(math.isfinite, ends)):
        raise KpuError(f"there is no range from {ends[0]} to {ends[1]} in steps of {ends[2]}")
    count = max(0, math.ceil((ends[1] - ends[0]) / ends[2]))
    check_made(count)
    return (start[0] + np.arange(count).astype(start.dtype) * step[0]).astype(start.dtype)


@operator("Compress")
def compress(node: Node) -> Tensor:
    """The slices that a known condition chooses."""
    known = node.must_be_known(1, "the condition").reshape(-1).astype(np.bool_)
    x, graph = node.value(0), node.graph
    axis = node.attributes.get("axis")
    if axis is None:
        x, axis = graph.reshape(x, (-1,)), 0
    at = np.flatnonzero(known).tolist()
    if not -len(x.shape) <= axis < len(x.shape):
        raise KpuError(f"axis {axis} is outside the rank {len(x.shape)}")
    if not at:
        return np.zeros(
            [0 if a == axis % len(x.shape) else n for a, n in enumerate(x.shape)], x.dtype
        )
    return graph.take(x, at, axis)


@operator("OptionalHasElement")
def has_element(node: Node) -> Tensor:
    """Yes, of a tensor."""
    return np.array(node.has(0))


@operator("OptionalGetElement")
def get_element(node: Node) -> Tensor:
    """The tensor."""
    return node.value(0)


@operator("BitCast")
def bit_cast(node: Node) -> Tensor:
    """The same bits, read as another type of the same size."""
    x = node.value(0)
    dtype = named_dtype(node, "to", x.dtype)
    kind = element_type_of(dtype)
    if "b" in (dtype.kind, x.dtype.kind) and dtype.itemsize == 1:  # a byte of 0 or 1
        return node.graph.cast(x, kind)
    if dtype.itemsize != x.dtype.itemsize or "b" in (dtype.kind, x.dtype.kind):
        raise KpuError(f"BitCast of {x.dtype} to {dtype} is not supported")

    def formula(v: Scalar) -> Scalar:
        target = scalar_type(kind)
        if v.value.type == target:
            return Scalar(v.trace, v.value, kind)
        return v.trace.insert(arith.BitcastOp(v.value, target), kind)

    return node.graph.map(formula, x)
