"""Arguments of functions, by name or position, given or drawn; the names of results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import DictionaryAttr, MemRefType, StringAttr, TensorType
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute

from kpu_ir.interpreters.base import Precision, dtype_in
from kpu_ir.support.convert import converted, is_number
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array, dtype_of, is_integral

Inputs = Mapping[str, Any] | Mapping[int, Any] | Sequence[Any]


def arguments_of(function: FuncOp, inputs: Inputs, precision: Precision = None) -> list[Array]:
    """A function's arguments, in order, from inputs by name or by position; or a ``KpuError`` that
    names the first that is unknown, missing, or not as its type says."""
    names = argument_names(function)
    given: Mapping[Any, Any] = inputs if isinstance(inputs, Mapping) else dict(enumerate(inputs))
    unknown = [k for k in given if k not in names and k not in range(len(names))]
    if unknown:
        raise KpuError(
            f"unknown input {', '.join(map(repr, unknown))}",
            hint=f"the inputs are {', '.join(names) or 'none'}",
        )
    arguments: list[Array] = []
    for i, (name, kind) in enumerate(argument_types(function)):
        if name not in given and i not in given:
            raise KpuError(f"input {name!r} is missing", hint=f"it is a {kind}")
        array = check_input(name, given.get(name, given.get(i)), kind)
        arguments.append(array.astype(dtype_in(kind, precision), copy=False))
    return arguments


def argument_types(function: FuncOp) -> list[tuple[str, TensorType | MemRefType]]:
    """Name and type of each argument. Raises ``KpuError`` for one that is no tensor or memory."""
    found: list[tuple[str, TensorType | MemRefType]] = []
    for name, kind in zip(argument_names(function), function.function_type.inputs):
        if not isinstance(kind, TensorType | MemRefType):
            raise KpuError(f"input {name!r} is a {kind}, no tensor", f"@{function.sym_name.data}")
        found.append((name, kind))
    return found


def argument_names(function: FuncOp) -> list[str]:
    """The name of each argument: its ``kernel.name``, else that in the IR, else ``arg0``..."""
    names: list[str] = []
    for i, argument in enumerate(function.body.block.args):
        attributes = function.arg_attrs.data[i] if function.arg_attrs else DictionaryAttr({})
        given = attributes.data.get("kernel.name")
        names.append(
            given.data if isinstance(given, StringAttr) else argument.name_hint or f"arg{i}"
        )
    return names


def result_names(function: FuncOp) -> list[str]:
    """The name of each result: its ``kernel.name``, else ``result0``..."""
    names: list[str] = []
    for i in range(len(function.function_type.outputs)):
        attributes = function.res_attrs.data[i] if function.res_attrs else DictionaryAttr({})
        given = attributes.data.get("kernel.name")
        names.append(given.data if isinstance(given, StringAttr) else f"result{i}")
    return names


def check_input(name: str, value: Any, kind: TensorType | MemRefType) -> Array:
    """An input as an array of the right shape and type, or an error that names it."""
    array, dtype = np.asarray(value), dtype_of(kind.element_type)
    if array.shape != kind.get_shape():
        raise KpuError(
            f"input {name!r}: expected shape {_text(kind.get_shape())}, got {_text(array.shape)}"
        )
    if array.dtype.type is not np.void and not is_number(array.dtype):
        raise KpuError(f"input {name!r}: expected numbers, got an array of {array.dtype}")
    new = converted(array, dtype)
    if new is None:
        what = "got" if array.dtype.type is np.void else "which does not hold its values of"
        raise KpuError(f"input {name!r}: expected {dtype}, {what} {array.dtype}")
    return new


def _text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def drawn(inputs: Iterable[tuple[str, Attribute]], seed: int) -> dict[str, Array]:
    """Seeded inputs of these names and types: normal floats, small non-negative integers."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, Array] = {}
    for name, kind in inputs:
        assert isinstance(kind, TensorType | MemRefType)
        shape, dtype = tuple(kind.get_shape()), dtype_of(kind.element_type)
        values = rng.integers(0, 2, shape) if is_integral(dtype) else rng.standard_normal(shape)
        arrays[name] = values.astype(dtype)
    return arrays
