"""The tables of ``scalar``: what each scalar operation computes on arrays, and its class of cost.

To add an operation: a line in ``PRICES``, and one in ``IN_PLACE`` (a NumPy ufunc) or in
``ALLOCATING`` (a maker of a function that returns a new array).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerType
from xdsl.ir import Operation
from xdsl.utils.hints import isa

from kpu_ir.support.types import Array, dtype_of

Function = Callable[..., Any]
Unary = Callable[[Any], Any]
Binary = Callable[[Any, Any], Any]
Maker = Callable[[Operation, np.dtype[Any]], Function]

IN_PLACE: dict[str, Function] = {
    "arith.addf": np.add,
    "arith.subf": np.subtract,
    "arith.mulf": np.multiply,
    "arith.divf": np.divide,
    "arith.maximumf": np.maximum,
    "arith.minimumf": np.minimum,
    "arith.maxnumf": np.fmax,
    "arith.minnumf": np.fmin,
    "arith.negf": np.negative,
    "arith.addi": np.add,
    "arith.subi": np.subtract,
    "arith.muli": np.multiply,
    "arith.floordivsi": np.floor_divide,
    "arith.remsi": np.fmod,
    "arith.maxsi": np.maximum,
    "arith.minsi": np.minimum,
    "arith.andi": np.bitwise_and,
    "arith.ori": np.bitwise_or,
    "arith.xori": np.bitwise_xor,
    "arith.shli": np.left_shift,
    "arith.shrsi": np.right_shift,
    "math.absf": np.absolute,
    "math.absi": np.absolute,
    "math.acos": np.arccos,
    "math.acosh": np.arccosh,
    "math.asin": np.arcsin,
    "math.asinh": np.arcsinh,
    "math.atan": np.arctan,
    "math.atan2": np.arctan2,
    "math.atanh": np.arctanh,
    "math.cbrt": np.cbrt,
    "math.ceil": np.ceil,
    "math.copysign": np.copysign,
    "math.cos": np.cos,
    "math.cosh": np.cosh,
    "math.exp": np.exp,
    "math.exp2": np.exp2,
    "math.expm1": np.expm1,
    "math.floor": np.floor,
    "math.log": np.log,
    "math.log10": np.log10,
    "math.log1p": np.log1p,
    "math.log2": np.log2,
    "math.powf": np.power,
    "math.roundeven": np.rint,
    "math.sin": np.sin,
    "math.sinh": np.sinh,
    "math.sqrt": np.sqrt,
    "math.tan": np.tan,
    "math.tanh": np.tanh,
    "math.trunc": np.trunc,
}
"""Operations that are one ufunc, which can write its result over an operand (``out=``)."""


@cache
def erf() -> Function:
    """The error function; SciPy is imported by the first body that needs it."""
    return importlib.import_module("scipy.special").erf


def unsigned(array: Array) -> Array:
    """The same bits, read as unsigned integers."""
    return array.view(f"u{array.dtype.name}")


def _on_unsigned(function: Binary) -> Maker:
    """An integer operation that reads its operands as unsigned."""

    def make(op: Operation, dtype: np.dtype[Any]) -> Binary:
        if dtype.kind == "b":
            return function

        def apply(x: Array, y: Array) -> Array:
            result = function(unsigned(x), unsigned(y))
            return result.view(dtype) if result.dtype.kind == "u" else result

        return apply

    return make


def _plain(function: Function) -> Maker:
    """A function that needs to know nothing of its operation."""

    def make(op: Operation, dtype: np.dtype[Any]) -> Function:
        return function

    return make


def _div_toward_zero(x: Array, y: Array) -> Array:
    """Division of signed integers as ``arith.divsi``; NumPy's rounds down."""
    return (x - np.fmod(x, y)) // y


def _ceil_div(x: Array, y: Array) -> Array:
    return -(-x // y)


def _ceil_div_unsigned(x: Array, y: Array) -> Array:
    return x // y + (x % y != 0)


def _round_half_away(x: Array) -> Array:
    whole = np.trunc(x)
    return np.where(np.abs(x - whole) >= 0.5, whole + np.copysign(1, x).astype(x.dtype), whole)


def _rsqrt(op: Operation, dtype: np.dtype[Any]) -> Unary:
    one = dtype.type(1)
    return lambda x: one / np.sqrt(x)


def _fma(op: Operation, dtype: np.dtype[Any]) -> Callable[[Any, Any, Any], Any]:
    """Rounded once: in f64 where that is wider."""
    if dtype.itemsize >= 8:
        return lambda a, b, c: a * b + c
    return lambda a, b, c: (np.multiply(a, b, dtype=np.float64) + c).astype(dtype)


def _fpowi(op: Operation, dtype: np.dtype[Any]) -> Binary:
    return lambda x, n: np.power(x, n.astype(dtype))


def _ipowi(x: Array, n: Array) -> Array:
    """Integers: a negative power of 1 and -1 is itself or 1, of 0 undefined, of others 0."""
    result = np.power(x, np.maximum(n, 0))
    negative = np.where(x == 1, 1, np.where(x == -1, np.where(n % 2 == 0, 1, -1), 0))
    return np.where(n < 0, negative.astype(x.dtype), result)


def _leading_zeros(x: Array) -> Array:
    bits = unsigned(x).copy()
    width = bits.dtype.itemsize * 8
    shift = 1
    while shift < width:
        bits |= bits >> bits.dtype.type(shift)
        shift *= 2
    return (width - np.bitwise_count(bits)).astype(x.dtype)


def _trailing_zeros(x: Array) -> Array:
    bits = unsigned(x)
    return np.bitwise_count(~bits & (bits - bits.dtype.type(1))).astype(x.dtype)


def _ones(x: Array) -> Array:
    return np.bitwise_count(unsigned(x)).astype(x.dtype)


ORDERED: tuple[Binary, ...] = (
    lambda x, y: np.zeros(np.broadcast_shapes(x.shape, y.shape), np.bool_),  # false
    np.equal,
    np.greater,
    np.greater_equal,
    np.less,
    np.less_equal,
    lambda x, y: np.less(x, y) | np.greater(x, y),  # one
    lambda x, y: ~(np.isnan(x) | np.isnan(y)),  # ord
    lambda x, y: ~(np.less(x, y) | np.greater(x, y)),  # ueq
    lambda x, y: ~np.less_equal(x, y),
    lambda x, y: ~np.less(x, y),
    lambda x, y: ~np.greater_equal(x, y),
    lambda x, y: ~np.greater(x, y),
    np.not_equal,
    lambda x, y: np.isnan(x) | np.isnan(y),  # uno
    lambda x, y: np.ones(np.broadcast_shapes(x.shape, y.shape), np.bool_),  # true
)
"""``arith.cmpf`` by predicate.

false oeq ogt oge olt ole one ord ueq ugt uge ult ule une uno true.
"""

COMPARISONS: tuple[Binary, ...] = (
    np.equal,
    np.not_equal,
    np.less,
    np.less_equal,
    np.greater,
    np.greater_equal,
)
"""``arith.cmpi`` by predicate: eq ne slt sle sgt sge, and from slt on again for unsigned."""


def _cmpf(op: Operation, dtype: np.dtype[Any]) -> Binary:
    return ORDERED[cast(arith.CmpfOp, op).predicate.value.data]


def _cmpi(op: Operation, dtype: np.dtype[Any]) -> Binary:
    """Signed or unsigned; a set ``i1`` is -1 to the signed predicates."""
    predicate = cast(arith.CmpiOp, op).predicate.value.data
    signed = predicate < 6
    compare = COMPARISONS[predicate if signed else predicate - 4]
    if dtype_of(op.operands[0].type).kind == "b":
        return (lambda x, y: compare(y, x)) if 2 <= predicate < 6 else compare
    return compare if signed else (lambda x, y: compare(unsigned(x), unsigned(y)))


def _to_float(op: Operation, dtype: np.dtype[Any]) -> Unary:
    """``sitofp``; a set ``i1`` is -1."""
    if dtype_of(op.operands[0].type).kind == "b":
        return lambda x: -x.astype(dtype)
    return lambda x: x.astype(dtype)


def _unsigned_to_float(op: Operation, dtype: np.dtype[Any]) -> Unary:
    if dtype_of(op.operands[0].type).kind == "b":
        return lambda x: x.astype(dtype)
    low = _low_bits(op)
    return lambda x: unsigned(low(x)).astype(dtype)


def _low_bits(op: Operation) -> Unary:
    """The bits of an operand of less than a byte, which is computed in one."""
    kind = op.operands[0].type
    if not isa(kind, IntegerType) or kind.bitwidth >= 8:
        return lambda x: x
    mask = np.int8((1 << kind.bitwidth) - 1)
    return lambda x: x.astype(np.int8) & mask


def _to_integer(op: Operation, dtype: np.dtype[Any]) -> Unary:
    """``fptosi``: rounds toward zero."""
    return lambda x: x.astype(dtype)


def _to_unsigned(op: Operation, dtype: np.dtype[Any]) -> Unary:
    if dtype.kind == "b":
        return lambda x: x.astype(dtype)
    return lambda x: x.astype(f"u{dtype.name}").view(dtype)


def _sign_extend(op: Operation, dtype: np.dtype[Any]) -> Unary:
    if dtype_of(op.operands[0].type).kind == "b":
        return lambda x: -x.astype(dtype)
    return lambda x: x.astype(dtype)


def _zero_extend(op: Operation, dtype: np.dtype[Any]) -> Unary:
    if dtype_of(op.operands[0].type).kind == "b":
        return lambda x: x.astype(dtype)
    low = _low_bits(op)
    return lambda x: unsigned(low(x)).astype(dtype)


def _truncate(op: Operation, dtype: np.dtype[Any]) -> Unary:
    if dtype.kind == "b":
        return lambda x: (x & 1).astype(dtype)
    storage = dtype_of(op.results[0].type)
    return lambda x: x.astype(storage).astype(dtype)


def _bitcast(op: Operation, dtype: np.dtype[Any]) -> Unary:
    """The stored bits in another type."""
    source, target = dtype_of(op.operands[0].type), dtype_of(op.results[0].type)
    return lambda x: x.astype(source).view(target).astype(dtype)


ALLOCATING: dict[str, Maker] = {
    "arith.select": _plain(np.where),
    "arith.cmpf": _cmpf,
    "arith.cmpi": _cmpi,
    "arith.divsi": _plain(_div_toward_zero),
    "arith.ceildivsi": _plain(_ceil_div),
    "arith.divui": _on_unsigned(np.floor_divide),
    "arith.ceildivui": _on_unsigned(_ceil_div_unsigned),
    "arith.remui": _on_unsigned(np.remainder),
    "arith.maxui": _on_unsigned(np.maximum),
    "arith.minui": _on_unsigned(np.minimum),
    "arith.shrui": _on_unsigned(np.right_shift),
    "arith.sitofp": _to_float,
    "arith.uitofp": _unsigned_to_float,
    "arith.fptosi": _to_integer,
    "arith.fptoui": _to_unsigned,
    "arith.extsi": _sign_extend,
    "arith.extui": _zero_extend,
    "arith.trunci": _truncate,
    "arith.bitcast": _bitcast,
    "math.round": _plain(_round_half_away),
    "math.rsqrt": _rsqrt,
    "math.fma": _fma,
    "math.fpowi": _fpowi,
    "math.ipowi": _plain(_ipowi),
    "math.ctlz": _plain(_leading_zeros),
    "math.cttz": _plain(_trailing_zeros),
    "math.ctpop": _plain(_ones),
}
"""Operations whose function is made for their types and returns a new array."""

BOOLEAN: dict[str, Function] = {
    "arith.addi": np.logical_xor,
    "arith.subi": np.logical_xor,
    "arith.muli": np.logical_and,
    "arith.maxsi": np.logical_and,
    "arith.minsi": np.logical_or,
    "arith.maxui": np.logical_or,
    "arith.minui": np.logical_and,
}
"""Arithmetic of ``i1``, modulo 2; a set bit is -1 to the signed operations."""

FREE = frozenset(f"arith.{name}" for name in ("constant", "index_cast", "bitcast"))
"""What costs nothing on any machine."""

_CLASSES = {
    "add": "arith: addf subf negf math: absf",
    "multiply": "arith: mulf math: fma",
    "compare": "arith: maximumf minimumf maxnumf minnumf cmpf cmpi select math: copysign",
    "convert": "arith: sitofp uitofp fptosi fptoui math: ceil floor round roundeven trunc",
    "integer": "arith: addi subi muli maxsi minsi maxui minui andi ori xori shli shrsi shrui "
    "math: absi ctlz cttz ctpop",
    "divide": "arith: divf divsi divui floordivsi ceildivsi ceildivui remsi remui",
    "sqrt": "math: sqrt rsqrt",
    "exp": "math: exp exp2 expm1",
    "log": "math: log log10 log1p log2",
    "tanh": "math: tanh sinh cosh asinh acosh atanh",
    "erf": "math: erf",
    "sin": "math: sin cos tan asin acos atan atan2",
    "pow": "math: powf fpowi ipowi cbrt",
    "cast": "arith: extf truncf extsi extui trunci",
}


def _prices() -> dict[str, str]:
    prices: dict[str, str] = {}
    for kind, words in _CLASSES.items():
        dialect = ""
        for word in words.split():
            if word.endswith(":"):
                dialect = word[:-1]
            else:
                prices[f"{dialect}.{word}"] = kind
    return prices


PRICES = _prices()
"""The class of each operation (``machine.parts.CLASSES``); the machine prices the classes."""
