"""Functions by a table: the nearest two of ``segments + 1`` values and a line between them, as a vector
engine has them instead of a series.

    exp, exp2    2**f of the fraction f; the whole part is the exponent
    log, log2    of the significand, from 1 to 2; the exponent is added
    tanh, erf    from 0 to where they are 1 (8 and 4); odd
    sin, cos     over one period

Between two values, h apart, a line is off by at most h**2 / 8 times the largest second derivative. Numbers
that are no finite argument (and none above 0 of a logarithm) have the exact function's result.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from kpu_ir.scalar.ops import IN_PLACE, Function, erf
from kpu_ir.support.types import Array

TWO_PI = 2 * np.pi


def _line(
    exact: Callable[[Array], Array], low: float, high: float, segments: int
) -> Callable[[Array], Array]:
    """The function between ``low`` and ``high`` by lines."""
    places = np.linspace(low, high, segments + 1)
    values = np.asarray(exact(places), np.float64)
    scale = segments / (high - low)

    def look_up(x: Array) -> Array:
        at = (x - low) * scale
        index = np.clip(at.astype(np.int64), 0, segments - 1)
        start = values[index]
        return start + (at - index) * (values[index + 1] - start)

    return look_up


def _exp2(segments: int) -> Callable[[Array], Array]:
    part = _line(np.exp2, 0.0, 1.0, segments)

    def exp2(x: Array) -> Array:
        whole = np.floor(np.clip(x, -1100.0, 1100.0))
        return np.ldexp(part(np.clip(x, -1100.0, 1100.0) - whole), whole.astype(np.int64))

    return exp2


def _log2(segments: int) -> Callable[[Array], Array]:
    part = _line(np.log2, 1.0, 2.0, segments)

    def log2(x: Array) -> Array:
        significand, exponent = np.frexp(x)
        return part(2 * significand) + (exponent - 1)

    return log2


def _odd(exact: Callable[[Array], Array], high: float, segments: int) -> Callable[[Array], Array]:
    part = _line(exact, 0.0, high, segments)
    return lambda x: np.copysign(
        np.where(np.abs(x) < high, part(np.minimum(np.abs(x), high)), 1.0), x
    )


def _periodic(exact: Callable[[Array], Array], segments: int) -> Callable[[Array], Array]:
    part = _line(exact, 0.0, TWO_PI, segments)
    return lambda x: part(x - TWO_PI * np.floor(x / TWO_PI))


def _tables(segments: int) -> dict[str, Callable[[Array], Array]]:
    exp2, log2 = _exp2(segments), _log2(segments)
    return {
        "math.exp2": exp2,
        "math.exp": lambda x: exp2(x * np.log2(np.e)),
        "math.log2": log2,
        "math.log": lambda x: log2(x) * np.log(2.0),
        "math.tanh": _odd(np.tanh, 8.0, segments),
        "math.erf": _odd(erf(), 4.0, segments),
        "math.sin": _periodic(np.sin, segments),
        "math.cos": _periodic(np.cos, segments),
    }


TABULATED = frozenset(f"math.{name}" for name in "exp2 exp log2 log tanh erf sin cos".split())
"""The operations that have a table."""


@lru_cache(maxsize=64)
def tabulated(name: str, segments: int) -> Function:
    """``name`` by a table of so many segments, as a NumPy ufunc is called."""
    table, exact = _tables(segments)[name], erf() if name == "math.erf" else IN_PLACE[name]

    def function(x: Array, out: Array | None = None) -> Array:
        given = np.asarray(x)
        wide = given.astype(np.float64)
        known = np.isfinite(wide) & (wide > 0) if "log" in name else np.isfinite(wide)
        found = np.where(known, table(np.where(known, wide, 1.0)), exact(wide)).astype(given.dtype)
        if out is None:
            return found
        out[...] = found
        return out

    return function
