"""Elementwise functions by name, as formulas on ``Scalar``: for the builder and the front ends.

Each holds over the whole range of its type: no overflow where the result is finite, no clamp.

>>> y = g.map(lambda x: formulas.where(x > 0, x, formulas.exp(x) - 1), x)
"""

from __future__ import annotations

import functools
import math as python_math
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

from xdsl.dialects import arith, math
from xdsl.dialects.builtin import i1

from kpu_ir.scalar.tracing import Operand, Scalar, Trace, is_float, is_unsigned
from kpu_ir.scalar.widening import working_type
from kpu_ir.support.errors import KpuError

P = ParamSpec("P")


def _float_function(x: Any, op: Any, name: str) -> Scalar:
    if not isinstance(x, Scalar):
        raise KpuError(f"{name} of the number {x!r}", hint=f"use Python's math.{name}")
    if not is_float(x.kind):
        raise KpuError(f"{name} needs a float, got {x.kind}", hint="convert it: x.to(f32)")
    return x.trace.unary(op, x)


def exp(x: Scalar) -> Scalar:
    """e to the power of x."""
    return _float_function(x, math.ExpOp, "exp")


def exp2(x: Scalar) -> Scalar:
    """2 to the power of x."""
    return _float_function(x, math.Exp2Op, "exp2")


def expm1(x: Scalar) -> Scalar:
    """exp(x) - 1, exact near 0."""
    return _float_function(x, math.ExpM1Op, "expm1")


def log(x: Scalar) -> Scalar:
    """The natural logarithm."""
    return _float_function(x, math.LogOp, "log")


def log1p(x: Scalar) -> Scalar:
    """log(1 + x), exact near 0."""
    return _float_function(x, math.Log1pOp, "log1p")


def log2(x: Scalar) -> Scalar:
    """The logarithm to base 2."""
    return _float_function(x, math.Log2Op, "log2")


def sqrt(x: Scalar) -> Scalar:
    """The square root."""
    return _float_function(x, math.SqrtOp, "sqrt")


def rsqrt(x: Scalar) -> Scalar:
    """1 / sqrt(x)."""
    return _float_function(x, math.RsqrtOp, "rsqrt")


def cbrt(x: Scalar) -> Scalar:
    """The cube root."""
    return _float_function(x, math.CbrtOp, "cbrt")


def tanh(x: Scalar) -> Scalar:
    """The hyperbolic tangent."""
    return _float_function(x, math.TanhOp, "tanh")


def sinh(x: Scalar) -> Scalar:
    """The hyperbolic sine."""
    return _float_function(x, math.SinhOp, "sinh")


def cosh(x: Scalar) -> Scalar:
    """The hyperbolic cosine."""
    return _float_function(x, math.CoshOp, "cosh")


def sin(x: Scalar) -> Scalar:
    """The sine."""
    return _float_function(x, math.SinOp, "sin")


def cos(x: Scalar) -> Scalar:
    """The cosine."""
    return _float_function(x, math.CosOp, "cos")


def tan(x: Scalar) -> Scalar:
    """The tangent."""
    return _float_function(x, math.TanOp, "tan")


def asin(x: Scalar) -> Scalar:
    """The inverse sine."""
    return _float_function(x, math.AsinOp, "asin")


def acos(x: Scalar) -> Scalar:
    """The inverse cosine."""
    return _float_function(x, math.AcosOp, "acos")


def atan(x: Scalar) -> Scalar:
    """The inverse tangent."""
    return _float_function(x, math.AtanOp, "atan")


def asinh(x: Scalar) -> Scalar:
    """The inverse hyperbolic sine."""
    return _float_function(x, math.AsinhOp, "asinh")


def acosh(x: Scalar) -> Scalar:
    """The inverse hyperbolic cosine."""
    return _float_function(x, math.AcoshOp, "acosh")


def atanh(x: Scalar) -> Scalar:
    """The inverse hyperbolic tangent."""
    return _float_function(x, math.AtanhOp, "atanh")


def erf(x: Scalar) -> Scalar:
    """The error function."""
    return _float_function(x, math.ErfOp, "erf")


def _rounding(x: Scalar, op: Any, name: str) -> Scalar:
    return _float_function(x, op, name) if is_float(x.kind) else x


def floor(x: Scalar) -> Scalar:
    """Rounded down."""
    return _rounding(x, math.FloorOp, "floor")


def ceil(x: Scalar) -> Scalar:
    """Rounded up."""
    return _rounding(x, math.CeilOp, "ceil")


def trunc(x: Scalar) -> Scalar:
    """Rounded toward zero."""
    return _rounding(x, math.TruncOp, "trunc")


def round_half_even(x: Scalar) -> Scalar:
    """Rounded to the nearest integer, halves to the even one."""
    return _rounding(x, math.RoundEvenOp, "round")


def maximum(x: Operand, y: Operand) -> Scalar:
    """The larger; NaN if either is."""
    return _tracer(x, y).binary("max", x, y)


def minimum(x: Operand, y: Operand) -> Scalar:
    """The smaller; NaN if either is."""
    return _tracer(x, y).binary("min", x, y)


def fma(x: Scalar, y: Operand, z: Operand) -> Scalar:
    """x y + z of floats, rounded once."""
    x, y = x.trace.pair(x, y)
    x, z = x.trace.pair(x, z)
    return x.trace.insert(math.FmaOp(x.value, y.value, z.value), x.kind)


def divide(x: Operand, y: Operand) -> Scalar:
    """x / y; integers toward zero, as C and ONNX do."""
    return _tracer(x, y).divide(x, y)


def true_divide(x: Operand, y: Operand) -> Scalar:
    """x / y of floats."""
    return _tracer(x, y).true_divide(x, y)


def bit_and(x: Operand, y: Operand) -> Scalar:
    """And of booleans, and of the bits of integers."""
    return _tracer(x, y).bitwise(arith.AndIOp, x, y)


def bit_or(x: Operand, y: Operand) -> Scalar:
    """Or of booleans, and of the bits of integers."""
    return _tracer(x, y).bitwise(arith.OrIOp, x, y)


def bit_xor(x: Operand, y: Operand) -> Scalar:
    """Exclusive or of booleans, and of the bits of integers."""
    return _tracer(x, y).bitwise(arith.XOrIOp, x, y)


def shift_left(x: Operand, y: Operand) -> Scalar:
    """The bits of x, y places to the left."""
    x, y = _tracer(x, y).pair(x, y)
    return x << y


def shift_right(x: Operand, y: Operand) -> Scalar:
    """The bits of x, y places to the right; with its sign if it has one."""
    x, y = _tracer(x, y).pair(x, y)
    return x >> y


def fmod(x: Operand, y: Operand) -> Scalar:
    """What a division toward zero leaves; it has the sign of x."""
    return _tracer(x, y).remainder(x, y)


def power(x: Scalar, y: Operand) -> Scalar:
    """x to the power of y, in the type of x."""
    return x.trace.power(x, y)


def atan2(y: Scalar, x: Scalar) -> Scalar:
    """The angle of the point (x, y)."""
    y, x = y.trace.pair(y, x)
    return y.trace.insert(math.Atan2Op(y.value, x.value), y.kind)


def where(condition: Scalar, x: Operand, y: Operand) -> Scalar:
    """x where the condition holds, else y."""
    return condition.trace.select(condition, x, y)


def isnan(x: Scalar) -> Scalar:
    """Whether x is not a number."""
    return x.trace.insert(arith.CmpfOp(x.value, x.value, "uno"), i1)


def isinf(x: Scalar, positive: bool = True, negative: bool = True) -> Scalar:
    """Whether x is infinite, of either sign or of one."""
    if positive and negative:
        return abs(x) == python_math.inf
    if not positive and not negative:
        return isnan(x) & ~isnan(x)
    return x == (python_math.inf if positive else -python_math.inf)


def _tracer(*operands: Operand) -> Trace:
    for operand in operands:
        if isinstance(operand, Scalar):
            return operand.trace
    raise KpuError("a function of numbers only: compute it in Python")


def sign(x: Scalar) -> Scalar:
    """-1, 0 or 1; NaN of NaN."""
    positive = where(x > 0, x.trace.number(1, x.kind), x if is_float(x.kind) else 0)
    return positive if is_unsigned(x.kind) else where(x < 0, x.trace.number(-1, x.kind), positive)


def in_f32(
    formula: Callable[Concatenate[Scalar, P], Scalar],
) -> Callable[Concatenate[Scalar, P], Scalar]:
    """A formula whose numbers a short float does not hold: of one it is computed in f32."""

    @functools.wraps(formula)
    def wide(x: Scalar, *args: P.args, **kwargs: P.kwargs) -> Scalar:
        kind = x.kind if isinstance(x, Scalar) else None  # pyright: ignore[reportUnnecessaryIsInstance]
        if kind is None or working_type(kind) == kind:
            return formula(x, *args, **kwargs)
        return formula(x.to(working_type(kind)), *args, **kwargs).to(kind)

    return wide


def reciprocal(x: Scalar) -> Scalar:
    """1 / x."""
    return 1.0 / x


def square(x: Scalar) -> Scalar:
    """x * x."""
    return x * x


def clip(x: Scalar, low: Operand | None = None, high: Operand | None = None) -> Scalar:
    """x, no less than low and no more than high."""
    x = x if low is None else maximum(x, low)
    return x if high is None else minimum(x, high)


def relu(x: Scalar) -> Scalar:
    """x where it is positive, else 0."""
    return maximum(x, 0)


@in_f32
def leaky_relu(x: Scalar, alpha: float = 0.01) -> Scalar:
    """x where it is positive, else alpha x."""
    return where(x < 0, x * alpha, x)


def prelu(x: Scalar, slope: Scalar) -> Scalar:
    """x where it is positive, else slope x."""
    return where(x < 0, x * slope, x)


def thresholded_relu(x: Scalar, alpha: float = 1.0) -> Scalar:
    """x where it exceeds alpha, else 0."""
    return where(x > alpha, x, 0)


@in_f32
def elu(x: Scalar, alpha: float = 1.0) -> Scalar:
    """x where it is positive, else alpha (exp(x) - 1)."""
    return where(x < 0, alpha * expm1(x), x)


@in_f32
def celu(x: Scalar, alpha: float = 1.0) -> Scalar:
    """x where it is positive, else alpha (exp(x / alpha) - 1)."""
    return where(x < 0, alpha * expm1(x / alpha), x)


@in_f32
def selu(x: Scalar, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805) -> Scalar:
    """gamma times elu(x, alpha)."""
    return gamma * elu(x, alpha)


def sigmoid(x: Scalar) -> Scalar:
    """1 / (1 + exp(-x)); exp may overflow to infinity, whose reciprocal is the right 0."""
    return 1.0 / (1.0 + exp(-x))


@in_f32
def hard_sigmoid(x: Scalar, alpha: float = 0.2, beta: float = 0.5) -> Scalar:
    """alpha x + beta between 0 and 1."""
    return clip(alpha * x + beta, 0.0, 1.0)


@in_f32
def silu(x: Scalar, alpha: float = 1.0) -> Scalar:
    """x sigmoid(alpha x), also called swish; as one division."""
    return x / (1.0 + exp(-x if alpha == 1.0 else x * -alpha))


@in_f32
def hard_swish(x: Scalar) -> Scalar:
    """x hard_sigmoid(x, 1/6, 1/2)."""
    return x * hard_sigmoid(x, 1 / 6, 0.5)


def softplus(x: Scalar) -> Scalar:
    """log(1 + exp(x)), as max(x, 0) + log1p(exp(-|x|))."""
    return maximum(x, 0.0) + log1p(exp(-abs(x)))


def softsign(x: Scalar) -> Scalar:
    """x / (1 + |x|)."""
    return x / (1.0 + abs(x))


def mish(x: Scalar) -> Scalar:
    """x tanh(softplus(x))."""
    return x * tanh(softplus(x))


@in_f32
def gelu(x: Scalar) -> Scalar:
    """x times the normal distribution's integral at x, by erf."""
    return 0.5 * x * (1.0 + erf(x * python_math.sqrt(0.5)))


@in_f32
def gelu_tanh(x: Scalar) -> Scalar:
    """The approximation of gelu by tanh that GPT-2 uses."""
    inner = python_math.sqrt(2 / python_math.pi) * (x + 0.044715 * (x * x * x))
    return 0.5 * x * (1.0 + tanh(inner))


def quick_gelu(x: Scalar, alpha: float = 1.702) -> Scalar:
    """x sigmoid(1.702 x)."""
    return silu(x, alpha)


def shrink(x: Scalar, bias: float = 0.0, lambd: float = 0.5) -> Scalar:
    """x moved by bias toward 0 beyond lambd, else 0."""
    return where(x > lambd, x - bias, where(x < -lambd, x + bias, 0))
