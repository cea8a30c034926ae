"""The inputs of a program: their names and types, and arrays checked against them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import MemRefType, ModuleOp, ShapedType, TensorType
from xdsl.dialects.func import FuncOp

from kpu_ir.dialects.kernel import shape_text
from kpu_ir.sim.program.program import port_names
from kpu_ir.support.convert import converted, is_number
from kpu_ir.support.errors import KpuError
from kpu_ir.support.lines import a_kind, allowed
from kpu_ir.support.types import Array, dtype_of, is_integral


def ports(module: ModuleOp) -> list[tuple[str, ShapedType]] | None:
    """Names and types of the inputs of ``@main``; None for a lone kernel, which returns nothing."""
    for func in module.ops:
        if not isinstance(func, FuncOp) or func.sym_name.data != "main":
            continue
        if func.function_type.outputs.data:
            types = list(func.function_type.inputs)
            attrs = func.arg_attrs.data if func.arg_attrs else None
            hints = [a.name_hint for a in func.body.block.args] or [None] * len(types)
            names = port_names(attrs, hints, "arg")
            return [(n, t) for n, t in zip(names, types) if isinstance(t, ShapedType)]
    return None


def type_text(kind: ShapedType) -> str:
    """A tensor's type for a person: ``4x4 f32``."""
    assert isinstance(kind, TensorType | MemRefType)
    return f"{shape_text(kind.get_shape())} {kind.element_type}"


def by_name(expected: Sequence[str], inputs: Any, named: Mapping[str, Any] = {}) -> dict[str, Any]:
    """What a program is called with, as one mapping. Raises ``KpuError`` for an array without a
    name, or one of them twice."""
    if inputs is None:
        return dict(named)
    if not isinstance(inputs, Mapping):
        one = expected[0] if expected else "x"
        direct = f", or program({one}=array)" if one.isidentifier() else ""
        raise KpuError(
            f"inputs are given by name, got {a_kind(inputs)}",
            hint=f"write program({{'{one}': array}}){direct}; inputs: {', '.join(expected) or 'none'}",
        )
    for name in named:
        if name in inputs:
            raise KpuError(f"input '{name}' is given twice")
    return {**inputs, **named}


def check_inputs(
    expected: Sequence[tuple[str, ShapedType]], inputs: Mapping[str, Any], nan: bool = True
) -> dict[str, Array]:
    """``inputs`` as arrays of the expected names, shapes and types.

    Raises ``KpuError`` that names the first one that is missing, unknown, not as expected or,
    without ``nan``, has NaNs.
    """
    names = [name for name, _ in expected]
    for name in inputs:
        if name not in names:
            hint = allowed(name, names, "inputs") if names else "it has no inputs"
            raise KpuError(f"there is no input '{name}'", hint=hint)
    return {name: _checked(name, type, inputs, nan) for name, type in expected}


def _checked(name: str, type: ShapedType, inputs: Mapping[str, Any], nan: bool) -> Array:
    assert isinstance(type, TensorType | MemRefType)
    shape, dtype = tuple(type.get_shape()), dtype_of(type.element_type)
    wanted = f"{dtype} of shape {shape}"
    if name not in inputs:
        raise KpuError(f"input '{name}' is missing", hint=f"give an array: {wanted}")
    array = as_array(name, inputs[name], wanted)
    if array.shape != shape:
        raise KpuError(
            f"input '{name}': expected shape {shape}, got {array.shape}",
            hint="reshape the array, or compile for its shape",
        )
    new = converted(array, dtype)
    if new is None and not is_number(array.dtype):
        raise KpuError(f"input '{name}': expected {dtype}, got {array.dtype}")
    if new is None:
        raise KpuError(
            f"input '{name}': expected {dtype}, and its {array.dtype} values do not fit in it",
            hint=f"convert it: array.astype('{dtype}')",
        )
    if not nan and not is_integral(dtype) and np.isnan(new.astype(np.float32)).any():
        raise KpuError(f"input '{name}' has NaNs", hint="check where the data comes from")
    return new


def as_array(name: str, value: Any, wanted: str) -> Array:
    """What was given for an input, as an array. Raises ``KpuError`` for what cannot be one."""
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as e:  # ragged lists, tensors with gradients
        raise KpuError(
            f"input '{name}' is no array: {e}", hint=f"give an array: {wanted}"
        ) from None
