"""What a model declares of its inputs and outputs: shapes, types, and what users give for them."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kpu_ir.dialects.kernel import shape_text
from kpu_ir.support.convert import converted, is_number
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array

if TYPE_CHECKING:
    from onnx import ValueInfoProto

    from kpu_ir.frontends.python.value import Value

MOST_ELEMENTS = 1 << 44
MOST_DIMENSIONS = 32
"""What is refused at once; a machine's memory is asked about later."""

PLACEHOLDERS = {"none", "unk", "unknown", "dyn", "dynamic", "any", "undefined", "null", "nan"}
"""Names that exporters give to every dimension that they know nothing of."""


def is_placeholder(name: str) -> bool:
    """Whether two dimensions of this name need not be equal: ``?``, ``-1``, ``None``, ``unk``."""
    return not any(c.isalpha() for c in name) or name.lower() in PLACEHOLDERS


def input_shapes(
    inputs: Sequence[ValueInfoProto], given_shapes: Mapping[str, Sequence[int]]
) -> dict[str, tuple[int, ...]]:
    """The static shape of each input, with what the user gave for dynamic dimensions.

    ``given_shapes`` are of inputs, or of one dimension's name each.
    """
    symbols: dict[str, int] = {}
    names = {i.name: i for i in inputs}
    dimensions = {d.dim_param for i in inputs for d in i.type.tensor_type.shape.dim} - {""}
    for name in sorted(given_shapes, key=names.__contains__):  # dimensions, then inputs
        given = given_shapes[name]
        if name not in names:
            if len(given) != 1:
                raise KpuError(
                    f"a shape for {name!r}, which is no input",
                    hint=f"the inputs are {', '.join(names) or 'none'}",
                )
            if name not in dimensions:
                raise KpuError(
                    f"a size for {name!r}, which is no input and no dimension of one",
                    hint=f"the inputs are {', '.join(names) or 'none'}, "
                    f"their named dimensions {', '.join(sorted(dimensions)) or 'none'}",
                )
            symbols[name] = given[0]
            continue
        if names[name].type.tensor_type.HasField("shape"):
            _check_shape(names[name], given, symbols)
    result: dict[str, tuple[int, ...]] = {}
    dynamic: list[str] = []
    hint = ""
    for info in inputs:
        kind = info.type.tensor_type
        if not info.type.HasField("tensor_type"):
            raise KpuError(f"input {info.name!r}: expected a tensor")
        if info.name in given_shapes:
            result[info.name] = tuple(int(n) for n in given_shapes[info.name])
            check_size(result[info.name], f"input {info.name!r}")
            continue
        extents = [extent(d, symbols) for d in kind.shape.dim]
        if not kind.HasField("shape") or None in extents:
            texts = [
                str(d.dim_param or "?") if e is None else str(e)
                for d, e in zip(kind.shape.dim, extents)
            ]
            dynamic.append(f"{info.name!r} of shape {'x'.join(texts) or 'unknown'}")
            hint = hint or f"give them a size, such as --shape {info.name}={example(info, symbols)}"
            continue
        result[info.name] = tuple(e for e in extents if e is not None)
        check_size(result[info.name], f"input {info.name!r}")
    if dynamic:
        raise KpuError(f"dynamic dimensions: input {', input '.join(dynamic)}", hint=hint)
    return result


def example(info: ValueInfoProto, symbols: Mapping[str, int]) -> str:
    """A shape for an input as a user could write it: its rank, its known extents, 1 for the first
    that is not known (a batch) and 128 for the others."""
    kind = info.type.tensor_type
    if not kind.HasField("shape"):
        return "1x128"
    extents = [extent(d, symbols) for d in kind.shape.dim]
    return "x".join(str(n if n is not None else 128 if i else 1) for i, n in enumerate(extents))


def _check_shape(info: ValueInfoProto, given: Sequence[int], symbols: dict[str, int]) -> None:
    """A given shape keeps the fixed extents; it gives a value to each named dimension."""
    dims = info.type.tensor_type.shape.dim
    fixed = [extent(d, {}) for d in dims]
    if len(fixed) != len(given) or any(f not in (None, n) for f, n in zip(fixed, given)):
        text = "x".join("?" if n is None else str(n) for n in fixed) or "scalar"
        raise KpuError(
            f"input {info.name!r} has shape {text} in the model, got {shape_text(given)}",
            hint=f"such as --shape {info.name}={example(info, symbols)}" if fixed else None,
        )
    for dim, n in zip(dims, given):
        name = dim.dim_param
        if not name or is_placeholder(name):
            continue
        if symbols.setdefault(name, n) != n:
            raise KpuError(
                f"input {info.name!r}: dimension {name!r} is {symbols[name]} elsewhere, got {n}"
            )


def extent(dim: Any, symbols: Mapping[str, int]) -> int | None:
    """The size of a dimension, or None if it is dynamic."""
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return int(dim.dim_value)
    return symbols.get(dim.dim_param)


def check_size(shape: Sequence[int], what: str) -> None:
    """Refuse tensors that no machine holds, whose sizes would not fit in an attribute of the IR, and
    those of more dimensions than NumPy computes with."""
    if len(shape) > MOST_DIMENSIONS:
        raise KpuError(
            f"{what} has {len(shape)} dimensions; at most {MOST_DIMENSIONS} are supported"
        )
    if math.prod(n for n in shape if n) > MOST_ELEMENTS:  # NumPy asks so, of no elements too
        raise KpuError(f"{what} of shape {shape_text(shape)} has more than 2^44 elements")


def dtype_of_input(info: ValueInfoProto) -> np.dtype[Any]:
    """The dtype of an input."""
    from onnx import TensorProto
    from onnx.helper import tensor_dtype_to_np_dtype

    elem_type, name = info.type.tensor_type.elem_type, info.name
    if elem_type == TensorProto.STRING or not elem_type:
        raise KpuError(f"input {name!r}: expected numbers, got strings or nothing")
    if elem_type not in TensorProto.DataType.values():
        raise KpuError(f"input {name!r}: there is no element type of number {elem_type}")
    return np.dtype(tensor_dtype_to_np_dtype(elem_type))


def info_of(name: str, tensor: Value | Array) -> ValueInfoProto:
    """What a model would declare of a tensor."""
    from onnx.helper import make_tensor_value_info, np_dtype_to_tensor_dtype

    kind = np_dtype_to_tensor_dtype(tensor.dtype)
    return make_tensor_value_info(name, kind, list(tensor.shape))


def given_value(info: ValueInfoProto, value: Array) -> Array:
    """A value that is given for an input, in its type and shape: one number is of all elements.

    Raises ``KpuError`` where it does not fit.
    """
    wanted = dtype_of_input(info)
    new = converted(value, wanted)
    if new is None and not is_number(value.dtype):
        raise KpuError(f"input {info.name!r}: expected numbers of {wanted}, got {value.dtype}")
    if new is None:
        raise KpuError(f"input {info.name!r}: expected {wanted}, which its value does not fit")
    value = new
    kind = info.type.tensor_type
    extents = [extent(d, {}) for d in kind.shape.dim]
    if value.size == 1 and kind.HasField("shape"):
        return np.broadcast_to(value.reshape(()), [1 if n is None else n for n in extents]).copy()
    return value


def check_output(info: ValueInfoProto, shape: Sequence[int]) -> None:
    """Say on stderr where the computed shape is not the declared one. Exporters write wrong ones."""
    kind = info.type.tensor_type
    declared = [extent(d, {}) for d in kind.shape.dim]
    if not kind.HasField("shape"):
        return
    fits = len(declared) == len(shape) and all(d in (None, n) for d, n in zip(declared, shape))
    if not fits:
        text = "x".join("?" if n is None else str(n) for n in declared)
        print(
            f"warning: output {info.name!r} is declared with shape {text or 'scalar'}, "
            f"its node computes {shape_text(shape)}",
            file=sys.stderr,
        )
