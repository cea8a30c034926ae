"""ONNX's elementwise operators: each is a formula, with its attributes as keywords."""

from __future__ import annotations

import functools
import operator as python
from collections.abc import Callable
from typing import Any

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import f32, i32
from xdsl.ir import Attribute

from kpu_ir.frontends.onnx.node import OPERATORS, Node, Tensor, operator
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar import formulas
from kpu_ir.scalar.tracing import Scalar
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import element_type_of

Formula = Callable[..., Any]

PLAIN: dict[str, Formula] = {
    "Abs": abs,
    "Acos": formulas.acos,
    "Acosh": formulas.acosh,
    "And": formulas.bit_and,
    "Asin": formulas.asin,
    "Asinh": formulas.asinh,
    "Atan": formulas.atan,
    "Atanh": formulas.atanh,
    "Add": python.add,
    "BitwiseAnd": formulas.bit_and,
    "BitwiseNot": python.invert,
    "BitwiseOr": formulas.bit_or,
    "BitwiseXor": formulas.bit_xor,
    "Ceil": formulas.ceil,
    "Cos": formulas.cos,
    "Cosh": formulas.cosh,
    "Div": formulas.divide,
    "Equal": python.eq,
    "Erf": formulas.erf,
    "Exp": formulas.exp,
    "Floor": formulas.floor,
    "Greater": python.gt,
    "GreaterOrEqual": python.ge,
    "HardSwish": formulas.hard_swish,
    "IsNaN": formulas.isnan,
    "Less": python.lt,
    "LessOrEqual": python.le,
    "Log": formulas.log,
    "Mish": formulas.mish,
    "Mul": python.mul,
    "Neg": python.neg,
    "Not": python.invert,
    "Or": formulas.bit_or,
    "PRelu": formulas.prelu,
    "Pow": formulas.power,
    "Reciprocal": formulas.reciprocal,
    "Relu": formulas.relu,
    "Round": formulas.round_half_even,
    "Sigmoid": formulas.sigmoid,
    "Sign": formulas.sign,
    "Sin": formulas.sin,
    "Sinh": formulas.sinh,
    "Softplus": formulas.softplus,
    "Softsign": formulas.softsign,
    "Sqrt": formulas.sqrt,
    "Sub": python.sub,
    "Tan": formulas.tan,
    "Tanh": formulas.tanh,
    "Xor": formulas.bit_xor,
}
"""Operators that are a formula of their inputs alone."""

WITH_ATTRIBUTES: dict[str, tuple[Formula, dict[str, float]]] = {
    "Celu": (formulas.celu, {"alpha": 1.0}),
    "Elu": (formulas.elu, {"alpha": 1.0}),
    "HardSigmoid": (formulas.hard_sigmoid, {"alpha": 0.2, "beta": 0.5}),
    "LeakyRelu": (formulas.leaky_relu, {"alpha": 0.01}),
    "Selu": (formulas.selu, {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}),
    "Shrink": (formulas.shrink, {"bias": 0.0, "lambd": 0.5}),
    "Swish": (formulas.silu, {"alpha": 1.0}),
    "ThresholdedRelu": (formulas.thresholded_relu, {"alpha": 1.0}),
}
"""Operators that are a formula with float attributes, and their defaults."""

VARIADIC: dict[str, Formula] = {
    "Max": formulas.maximum,
    "Mean": python.add,
    "Min": formulas.minimum,
    "Sum": python.add,
}
"""Operators that combine any number of inputs, two at a time."""


def apply(node: Node, formula: Formula, *operands: Tensor) -> Value:
    """The formula of the operands; known single numbers become part of it."""
    rank = max((len(v.shape) for v in operands if isinstance(v, Value)), default=-1)
    given = [
        v.item() if isinstance(v, np.ndarray) and v.size == 1 and v.ndim <= rank else node.placed(v)
        for v in operands
    ]
    return node.graph.map(formula, *given)


def inputs(node: Node) -> list[Tensor]:
    """The inputs that are given, the second one reshaped as operators before version 7 ask for."""
    given = [v for v in node.inputs if v is not None]
    if node.version < 7 and node.integer("broadcast", 0) and len(given) == 2:
        x, y = given
        axis = node.attributes.get("axis")
        if axis is not None:
            rank, mine = len(x.shape), len(y.shape)
            start = axis + rank if axis < 0 else axis
            shape = (*y.shape, *(1,) * (rank - start - mine))
            given[1] = y.reshape(shape)
    return given


def _plain(formula: Formula) -> Callable[[Node], Tensor]:
    return lambda node: apply(node, formula, *inputs(node))


def _with_attributes(formula: Formula, defaults: dict[str, float]) -> Callable[[Node], Tensor]:
    def handler(node: Node) -> Tensor:
        keywords = {name: node.number(name, default) for name, default in defaults.items()}
        return apply(node, functools.partial(formula, **keywords), *inputs(node))

    return handler


def _variadic(name: str, formula: Formula) -> Callable[[Node], Tensor]:
    def handler(node: Node) -> Tensor:
        given = inputs(node)
        count = len(given)

        def combined(*scalars: Scalar) -> Scalar:
            result = functools.reduce(formula, scalars)
            return result / count if name == "Mean" and count > 1 else result

        return given[0] if count == 1 else apply(node, combined, *given)

    return handler


def _register() -> None:
    for name, formula in PLAIN.items():
        OPERATORS["", name] = _plain(formula)
    for name, (formula, defaults) in WITH_ATTRIBUTES.items():
        OPERATORS["", name] = _with_attributes(formula, defaults)
    for name, formula in VARIADIC.items():
        OPERATORS["", name] = _variadic(name, formula)


_register()


@operator("Clip")
def clip(node: Node) -> Tensor:
    """Bounds are attributes before version 11, then optional inputs."""
    if node.version < 11:
        low, high = node.attributes.get("min"), node.attributes.get("max")
        return apply(node, functools.partial(formulas.clip, low=low, high=high), node.value(0))
    bounds = [i for i in (1, 2) if node.has(i)]

    def formula(x: Scalar, *given: Any) -> Scalar:
        named = dict(zip(bounds, given))
        return formulas.clip(x, named.get(1), named.get(2))

    operands = [node.value(0), *(v for v in node.inputs[1:] if v is not None)]
    return apply(node, formula, *operands) if bounds else operands[0]


@operator("Gelu")
def gelu(node: Node) -> Tensor:
    """By erf, or by tanh."""
    approximate = node.text("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise KpuError(f"expected approximate to be none or tanh, got {approximate!r}")
    formula = formulas.gelu_tanh if approximate == "tanh" else formulas.gelu
    return apply(node, formula, node.value(0))


@operator("Gelu", domain="com.microsoft")
def gelu_of_onnxruntime(node: Node) -> Tensor:
    """By erf."""
    return apply(node, formulas.gelu, node.value(0))


@operator("FastGelu", "BiasGelu", domain="com.microsoft")
def gelu_with_bias(node: Node) -> Tensor:
    """Of x, or of x + bias; fast is by tanh."""
    formula = formulas.gelu_tanh if node.proto.op_type == "FastGelu" else formulas.gelu

    def with_bias(x: Scalar, bias: Scalar) -> Scalar:
        return formula(x + bias)

    if node.has(1):
        return apply(node, with_bias, node.value(0), node.value(1))
    return apply(node, formula, node.value(0))


@operator("QuickGelu", domain="com.microsoft")
def quick_gelu(node: Node) -> Tensor:
    """x sigmoid(alpha x)."""
    formula = functools.partial(formulas.quick_gelu, alpha=node.number("alpha", 1.702))
    return apply(node, formula, node.value(0))


@operator("Mod")
def mod(node: Node) -> Tensor:
    """With the sign of the divisor, or as C's fmod."""
    formula = formulas.fmod if node.integer("fmod", 0) else python.mod
    return apply(node, formula, *inputs(node))


@operator("Where")
def where(node: Node) -> Tensor:
    """One or the other, by a condition."""
    return node.graph.map(formulas.where, *node.values())


@operator("IsInf")
def isinf(node: Node) -> Tensor:
    """Of either sign, or of one."""
    formula = functools.partial(
        formulas.isinf,
        positive=bool(node.integer("detect_positive", 1)),
        negative=bool(node.integer("detect_negative", 1)),
    )
    return apply(node, formula, node.value(0))


@operator("BitShift")
def bit_shift(node: Node) -> Tensor:
    """To the left or to the right."""
    left = node.text("direction", "") == "LEFT"
    return apply(node, formulas.shift_left if left else formulas.shift_right, *inputs(node))


@operator("Cast")
def cast(node: Node) -> Tensor:
    """To another element type."""
    from onnx.helper import tensor_dtype_to_np_dtype

    return _cast(node, np.dtype(tensor_dtype_to_np_dtype(node.integer("to", 0))))


@operator("CastLike")
def cast_like(node: Node) -> Tensor:
    """To the element type of the second input."""
    like = node.inputs[1]
    assert like is not None
    return _cast(node, like.dtype)


def _cast(node: Node, dtype: np.dtype[Any]) -> Tensor:
    value = node.value(0)
    for kind in (dtype, value.dtype):
        if kind.kind not in "fiub" and kind.name not in SHORT:
            raise KpuError(f"{node.proto.op_type} to or from {kind} is not supported")
    if dtype.name in FLOATS:
        return short_float(node, value, dtype, bool(node.integer("saturate", 1)))
    if dtype.name in INTEGERS:  # as bytes, of which the low bits are kept
        if value.dtype.kind != "b":
            value = node.graph.cast(value, np.dtype(np.int32))
        value = node.graph.cast(value, np.dtype("int8" if dtype.name[0] == "i" else "uint8"))
    return node.graph.cast(value, element_type_of(dtype))


FLOATS = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float4_e2m1fn",
          "float8_e8m0fnu")  # fmt: skip
INTEGERS = ("int4", "uint4", "int2", "uint2")
SHORT = (*FLOATS, *INTEGERS, "bfloat16")
"""What NumPy has no types of its own for."""


def short_float(node: Node, value: Value, dtype: np.dtype[Any], saturate: bool) -> Value:
    """In a float of 8 bits or less; with ``saturate`` the largest one where it is larger."""
    import ml_dtypes

    if dtype.name not in FLOATS:
        raise KpuError(f"numbers of {dtype} are not supported")
    largest, kind = float(ml_dtypes.finfo(dtype).max), element_type_of(dtype)
    wide = value if value.dtype.kind == "f" and value.dtype.itemsize > 2 else None
    wide = node.graph.cast(value, np.dtype(np.float32)) if wide is None else wide
    if dtype.name == "float8_e8m0fnu":
        return power_of_two(node, wide, kind)
    if not saturate:
        return node.graph.cast(wide, kind)
    return node.graph.map(lambda x: formulas.clip(x, -largest, largest).to(kind), wide)


def power_of_two(node: Node, value: Value, kind: Attribute) -> Value:
    """The power of two at or above (``round_mode``: ``up``) a number; what has no sign and no 0."""
    more = {"up": 0x7FFFFF, "nearest": 0x400000, "down": 0}.get(node.text("round_mode", "up"))
    if more is None:
        raise KpuError(f"the round_mode {node.text('round_mode', 'up')!r} is not supported")

    def formula(x: Scalar) -> Scalar:
        x = x.to(f32)
        bits = x.trace.insert(arith.BitcastOp(x.value, i32), i32)
        whole = (bits + more) & 0x7F800000
        power = x.trace.insert(arith.BitcastOp(whole.value, f32), f32)
        return formulas.maximum(power, 2.0**-127).to(kind)

    return node.graph.map(formula, value)
