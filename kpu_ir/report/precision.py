"""How far outputs are from what is exact, and how far their type alone puts them.

Where a model has short floats its outputs are compared with a reference in float64, in which nothing
is rounded: the difference is an error, not one reference's rounding against another's. Steps of the
type (units in the last place, of an output's largest value) tell a fault from what f16 does.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from xdsl.dialects.builtin import AnyFloat, ModuleOp, TensorType
from xdsl.ir import Attribute

from kpu_ir.report.figures import Error
from kpu_ir.support.types import Array, accumulator_type, dtype_of, is_integral


def shortest_float(module: ModuleOp) -> Attribute | None:
    """The shortest float type among a module's tensors, None if none is shorter than f32."""
    found: Attribute | None = None
    for op in module.walk():
        for value in (*op.results, *(a for r in op.regions for b in r.blocks for a in b.args)):
            kind = value.type.element_type if isinstance(value.type, TensorType) else None
            if isinstance(kind, AnyFloat) and accumulator_type(kind) != kind:
                if found is None or spacing(kind) > spacing(found):
                    found = kind
    return found


def spacing(kind: Attribute) -> float:
    """From 1 to the next number of a type."""
    return float(_limits(dtype_of(kind)).eps)


def _limits(dtype: np.dtype[Any]) -> Any:
    import ml_dtypes

    return ml_dtypes.finfo(dtype)


def step_at(value: float, kind: Attribute) -> float:
    """The distance of the numbers of a type around a value."""
    least = float(_limits(dtype_of(kind)).smallest_normal)
    return float(2.0 ** np.floor(np.log2(max(abs(value), least)))) * spacing(kind)


def error_of(
    got: Mapping[str, Array], expected: Mapping[str, Array], short: Attribute | None
) -> Error:
    """The error of outputs; ``short``: the shortest float of the model, whose ``expected`` are exact."""
    absolute, relative = differences(got, expected)
    if short is None:
        return Error(absolute, relative)
    steps = rounding = 0.0
    for name, want in expected.items():
        have = got[name]
        if is_integral(have.dtype):
            continue
        with np.errstate(over="ignore"):
            once = want.astype(have.dtype)
        if not np.isfinite(have.astype(np.float64)).all():
            # What is beyond the type is infinite however it is computed.
            want = np.where(np.isinf(once.astype(np.float64)), once.astype(np.float64), want)
        largest = float(np.max(np.abs(want), initial=0.0, where=np.isfinite(want)))
        step = step_at(largest, short)
        with np.errstate(over="ignore"):
            steps = max(steps, float(differences({name: have}, {name: want})[0] / step))
        if dtype_of(short) == have.dtype:
            rounding = max(rounding, float(differences({name: once}, {name: want})[0] / step))
    most = sys.float_info.max
    return Error(absolute, relative, str(short), min(steps, most), min(rounding, most) or 0.5)


def differences(got: Mapping[str, Array], expected: Mapping[str, Array]) -> tuple[float, float]:
    """max |got - expected|, and that over max |expected|, of the outputs that are worst in it.

    A NaN or an infinity that only one of them has counts as the largest float.
    """
    absolute = relative = 0.0
    for name, want in expected.items():
        have, ref = got[name].astype(np.float64), want.astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            apart = np.abs(have - ref)
        apart = np.where((have == ref) | (np.isnan(have) & np.isnan(ref)), 0.0, apart)
        worst = float(np.max(np.nan_to_num(apart, nan=np.inf, posinf=np.inf), initial=0.0))
        scale = float(np.max(np.abs(ref), initial=0.0, where=np.isfinite(ref)))
        absolute = max(absolute, worst)
        relative = max(relative, worst / scale if scale else worst)
    return min(absolute, sys.float_info.max), min(relative, sys.float_info.max)
