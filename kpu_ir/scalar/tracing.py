"""Python formulas become scalar bodies: on ``Scalar`` proxies they write ``arith`` and ``math``.

>>> block, element_type = trace(lambda a, b: a * b + 1, [f32, f32])

gives the body of ``kernel.map`` for ``a * b + 1``. A number takes the type of what it is combined
with.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import inf, isfinite
from typing import Any, TypeAlias

from xdsl.builder import Builder
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import (
    AnyFloat,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
    Signedness,
    f32,
    i1,
)
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.rewriter import InsertPoint
from xdsl.utils.hints import isa

from kpu_ir.dialects.kernel import YieldOp, scalar_type
from kpu_ir.support.errors import KpuError

Number = bool | int | float
Operand: TypeAlias = "Scalar | bool | int | float"


def is_float(kind: Attribute) -> bool:
    """Whether this is a type of floats."""
    return isinstance(kind, AnyFloat)


def is_unsigned(kind: Attribute) -> bool:
    """Whether operations on this element type read it as unsigned."""
    if not isa(kind, IntegerType):
        return False
    return kind.bitwidth == 1 or kind.signedness.data == Signedness.UNSIGNED


class Scalar:
    """One element of a tensor in a formula.

    It has Python's operators; ``formulas`` has the functions.

    ``kind`` is the element type that the user sees (``ui8``); the value itself is signless
    (``i8``).
    """

    __slots__ = ("kind", "trace", "value")
    __hash__ = None  # pyright: ignore[reportAssignmentType]  (== makes a Scalar, as in NumPy)

    def __init__(self, trace: Trace, value: SSAValue, kind: Attribute) -> None:
        """Made by ``trace``."""
        self.trace = trace
        self.value = value
        self.kind = kind

    def __add__(self, other: Operand) -> Scalar:
        return self.trace.binary("add", self, other)

    def __radd__(self, other: Number) -> Scalar:
        return self.trace.binary("add", other, self)

    def __sub__(self, other: Operand) -> Scalar:
        return self.trace.binary("sub", self, other)

    def __rsub__(self, other: Number) -> Scalar:
        return self.trace.binary("sub", other, self)

    def __mul__(self, other: Operand) -> Scalar:
        return self.trace.binary("mul", self, other)

    def __rmul__(self, other: Number) -> Scalar:
        return self.trace.binary("mul", other, self)

    def __truediv__(self, other: Operand) -> Scalar:
        return self.trace.true_divide(self, other)

    def __rtruediv__(self, other: Number) -> Scalar:
        return self.trace.true_divide(other, self)

    def __floordiv__(self, other: Operand) -> Scalar:
        return self.trace.floor_divide(self, other)

    def __rfloordiv__(self, other: Number) -> Scalar:
        return self.trace.floor_divide(other, self)

    def __mod__(self, other: Operand) -> Scalar:
        return self.trace.modulo(self, other)

    def __pow__(self, other: Operand) -> Scalar:
        return self.trace.power(self, other)

    def __rpow__(self, other: Number) -> Scalar:
        x, y = self.trace.pair(other, self)
        return self.trace.power(x, y)

    def __neg__(self) -> Scalar:
        return self.trace.unary(arith.NegfOp, self) if is_float(self.kind) else 0 - self

    def __abs__(self) -> Scalar:
        if is_unsigned(self.kind):
            return self
        return self.trace.unary(math.AbsFOp if is_float(self.kind) else math.AbsIOp, self)

    def __and__(self, other: Operand) -> Scalar:
        return self.trace.bitwise(arith.AndIOp, self, other)

    def __or__(self, other: Operand) -> Scalar:
        return self.trace.bitwise(arith.OrIOp, self, other)

    def __xor__(self, other: Operand) -> Scalar:
        return self.trace.bitwise(arith.XOrIOp, self, other)

    def __invert__(self) -> Scalar:
        return self.trace.bitwise(arith.XOrIOp, self, True if self.kind == i1 else -1)

    def __lshift__(self, other: Operand) -> Scalar:
        return self.trace.bitwise(arith.ShLIOp, self, other)

    def __rshift__(self, other: Operand) -> Scalar:
        op = arith.ShRUIOp if is_unsigned(self.kind) else arith.ShRSIOp
        return self.trace.bitwise(op, self, other)

    def __lt__(self, other: Operand) -> Scalar:
        return self.trace.compare("lt", self, other)

    def __le__(self, other: Operand) -> Scalar:
        return self.trace.compare("le", self, other)

    def __gt__(self, other: Operand) -> Scalar:
        return self.trace.compare("gt", self, other)

    def __ge__(self, other: Operand) -> Scalar:
        return self.trace.compare("ge", self, other)

    def __eq__(self, other: object) -> Scalar:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.trace.compare("eq", self, other)

    def __ne__(self, other: object) -> Scalar:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.trace.compare("ne", self, other)

    def __bool__(self) -> bool:
        raise KpuError(
            "a formula cannot branch on a value that is known only on the device",
            hint="use formulas.where(condition, a, b), and & | ~ for and, or, not",
        )

    def to(self, kind: Attribute) -> Scalar:
        """This number in another element type."""
        return self.trace.cast(self, kind)


FLOAT_OPS: dict[str, Any] = {
    "add": arith.AddfOp,
    "sub": arith.SubfOp,
    "mul": arith.MulfOp,
    "max": arith.MaximumfOp,
    "min": arith.MinimumfOp,
}
SIGNED_OPS: dict[str, Any] = {
    "add": arith.AddiOp,
    "sub": arith.SubiOp,
    "mul": arith.MuliOp,
    "max": arith.MaxSIOp,
    "min": arith.MinSIOp,
}
UNSIGNED_OPS: dict[str, Any] = SIGNED_OPS | {"max": arith.MaxUIOp, "min": arith.MinUIOp}


class Trace:
    """A body that is being written."""

    def __init__(self, block: Block) -> None:
        """A body that is written to the end of ``block``."""
        self.builder = Builder(InsertPoint.at_end(block))
        self.constants: dict[tuple[str, Attribute], SSAValue] = {}

    def insert(self, op: Operation, kind: Attribute) -> Scalar:
        """Append an operation; its result as an element of ``kind``."""
        return Scalar(self, self.builder.insert(op).results[0], kind)

    def number(self, number: Number, kind: Attribute) -> Scalar:
        """A constant; one operation for each different one."""
        signless = scalar_type(kind)
        key = (repr(number), signless)
        if key not in self.constants:
            attribute: Any
            if isinstance(signless, AnyFloat):
                attribute = FloatAttr(float(number), signless)
            elif isa(signless, IntegerType | IndexType) and _is_whole(number):
                if isa(signless, IntegerType):
                    low, high = -(1 << signless.bitwidth - 1), 1 << signless.bitwidth
                    if not low <= number < high:
                        raise KpuError(f"{number} does not fit {kind}")
                attribute = IntegerAttr(int(number), signless)
            else:
                raise KpuError(
                    f"cannot use {number!r} as {kind}", hint="convert the other operand: x.to(f32)"
                )
            self.constants[key] = self.builder.insert(arith.ConstantOp(attribute)).result
        return Scalar(self, self.constants[key], kind)

    def pair(self, x: Any, y: Any) -> tuple[Scalar, Scalar]:
        """Two operands of one type."""
        for operand in (x, y):
            if not isinstance(operand, Scalar | bool | int | float):
                raise KpuError(f"a formula cannot use a {type(operand).__name__}: {operand!r}")
        if not isinstance(x, Scalar):
            if not isinstance(y, Scalar):
                raise KpuError("an operation on two numbers: compute it in Python")
            x = self.number(x, y.kind)
        if not isinstance(y, Scalar):
            y = self.number(y, x.kind)
        if x.kind != y.kind:
            raise KpuError(
                f"cannot combine {x.kind} with {y.kind}",
                hint="convert one of them (x.to(..) in a formula, x.astype(..) on a tensor)",
            )
        return x, y

    def unary(self, op: Any, x: Scalar) -> Scalar:
        """An operation that keeps its operand's type."""
        return self.insert(op(x.value), x.kind)

    def binary(self, name: str, x: Any, y: Any) -> Scalar:
        """``add``, ``sub``, ``mul``, ``max`` or ``min``."""
        x, y = self.pair(x, y)
        if x.kind == i1:
            raise KpuError(f"{name} of booleans", hint="use & | ^, or convert them to a number")
        table = UNSIGNED_OPS if is_unsigned(x.kind) else SIGNED_OPS
        op = (FLOAT_OPS if is_float(x.kind) else table)[name]
        return self.insert(op(x.value, y.value), x.kind)

    def bitwise(self, op: Any, x: Any, y: Any) -> Scalar:
        """An operation on the bits of integers."""
        x, y = self.pair(x, y)
        if is_float(x.kind):
            raise KpuError(f"{op.name} needs integers or booleans, got {x.kind}")
        return self.insert(op(x.value, y.value), x.kind)

    def true_divide(self, x: Any, y: Any) -> Scalar:
        """``x / y`` of floats."""
        x, y = self.pair(x, y)
        if not is_float(x.kind):
            raise KpuError(
                f"/ of {x.kind}", hint="use // or formulas.divide, or convert to a float first"
            )
        return self.insert(arith.DivfOp(x.value, y.value), x.kind)

    def divide(self, x: Any, y: Any) -> Scalar:
        """Division; of integers, toward zero."""
        x, y = self.pair(x, y)
        if is_float(x.kind):
            return self.true_divide(x, y)
        op = arith.DivUIOp if is_unsigned(x.kind) else arith.DivSIOp
        return self.insert(op(x.value, y.value), x.kind)

    def floor_divide(self, x: Any, y: Any) -> Scalar:
        """Division, rounded down."""
        x, y = self.pair(x, y)
        if is_float(x.kind):
            return self.unary(math.FloorOp, self.true_divide(x, y))
        op = arith.DivUIOp if is_unsigned(x.kind) else arith.FloorDivSIOp
        return self.insert(op(x.value, y.value), x.kind)

    def remainder(self, x: Any, y: Any) -> Scalar:
        """What ``divide`` leaves; of floats, with the sign of ``x``."""
        x, y = self.pair(x, y)
        if is_float(x.kind):
            whole = self.unary(math.TruncOp, self.true_divide(x, y))
            rest = self.insert(math.FmaOp((-whole).value, y.value, x.value), x.kind)
            return self.select((abs(y) == inf) & (abs(x) != inf), x, rest)
        op = arith.RemUIOp if is_unsigned(x.kind) else arith.RemSIOp
        return self.insert(op(x.value, y.value), x.kind)

    def modulo(self, x: Any, y: Any) -> Scalar:
        """Python's ``x % y``: the remainder that has the sign of ``y``."""
        x, y = self.pair(x, y)
        rest = self.remainder(x, y)
        if is_unsigned(x.kind):
            return rest
        return self.select((rest != 0) & ((rest < 0) ^ (y < 0)), rest + y, rest)

    def power(self, x: Scalar, y: Any) -> Scalar:
        """``x ** y``; small known powers are products: nobody takes a logarithm to square."""
        if not isinstance(y, Scalar):
            if y == 2:
                return x * x
            if y == 3:
                return x * x * x
            if y == 1:
                return x
            if is_float(x.kind) and y == 0.5:
                return self.unary(math.SqrtOp, x)
            if is_float(x.kind) and y == -1:
                return 1.0 / x
            y = self.number(y, x.kind)
        if x.kind != y.kind:
            wide = x.kind if is_float(x.kind) else y.kind
            return self.power(x.to(wide), y.to(wide)).to(x.kind)
        return self.insert(
            (math.PowFOp if is_float(x.kind) else math.IPowIOp)(x.value, y.value), x.kind
        )

    def compare(self, how: str, x: Any, y: Any) -> Scalar:
        """A boolean: ``lt``, ``le``, ``gt``, ``ge``, ``eq`` or ``ne``; a NaN is unequal to all."""
        x, y = self.pair(x, y)
        if is_float(x.kind):
            predicate = "une" if how == "ne" else f"o{how}"
            return self.insert(arith.CmpfOp(x.value, y.value, predicate), i1)
        sign = "" if how in ("eq", "ne") else "u" if is_unsigned(x.kind) else "s"
        return self.insert(arith.CmpiOp(x.value, y.value, sign + how), i1)

    def select(self, condition: Scalar, x: Any, y: Any) -> Scalar:
        """``x`` where the condition holds, else ``y``."""
        if condition.kind != i1:
            raise KpuError(f"where needs a condition of i1, got {condition.kind}")
        x, y = self.pair(x, y)
        return self.insert(arith.SelectOp(condition.value, x.value, y.value), x.kind)

    def cast(self, x: Scalar, kind: Attribute) -> Scalar:
        """``x`` in another element type; floats become integers toward zero, booleans ``!= 0``."""
        source, target = scalar_type(x.kind), scalar_type(kind)
        if kind == i1 and source != i1:
            return x != 0
        if source == target:
            return Scalar(self, x.value, kind)
        if isinstance(source, AnyFloat):
            return self.cast_float(x, source, kind, target)
        if isinstance(source, IndexType) or isinstance(target, IndexType):
            return self.insert(arith.IndexCastOp(x.value, target), kind)
        unsigned = is_unsigned(x.kind)
        if isinstance(target, AnyFloat):
            op = arith.UIToFPOp if unsigned else arith.SIToFPOp
            return self.insert(op(x.value, target), kind)
        assert isa(source, IntegerType)
        assert isa(target, IntegerType)
        if target.bitwidth < source.bitwidth:
            return self.insert(arith.TruncIOp(x.value, target), kind)
        return self.insert((arith.ExtUIOp if unsigned else arith.ExtSIOp)(x.value, target), kind)

    def cast_float(self, x: Scalar, source: AnyFloat, kind: Attribute, target: Attribute) -> Scalar:
        """A float in another type."""
        if isa(target, IntegerType):
            op = arith.FPToUIOp if is_unsigned(kind) else arith.FPToSIOp
            return self.insert(op(x.value, target), kind)
        if not isinstance(target, AnyFloat):
            raise KpuError(f"cannot convert {x.kind} to {kind}")
        if target.bitwidth == source.bitwidth:  # f16 and bf16: by way of f32
            return x.to(f32).to(kind)
        op = arith.ExtFOp if target.bitwidth > source.bitwidth else arith.TruncFOp
        return self.insert(op(x.value, target), kind)


def _is_whole(number: Number) -> bool:
    return isfinite(number) and number == int(number)


def trace(
    formula: Callable[..., Any], kinds: Sequence[Attribute], result: Attribute | None = None
) -> tuple[Block, Attribute]:
    """The body of ``kernel.map`` that computes ``formula``, and its element type.

    ``kinds`` are the operands' element types.
    ``result`` is the type of a formula that returns a plain number.
    """
    block = Block(arg_types=[scalar_type(kind) for kind in kinds])
    for argument, name in zip(block.args, _parameter_names(formula)):
        argument.name_hint = name
    tracer = Trace(block)
    value = formula(*(Scalar(tracer, a, kind) for a, kind in zip(block.args, kinds)))
    if isinstance(value, bool | int | float):
        value = tracer.number(value, result or kinds[0])
    if not isinstance(value, Scalar):
        raise KpuError(f"a formula must return one value, got {type(value).__name__}")
    tracer.builder.insert(YieldOp(value.value))
    return block, value.kind


def signature_of(formula: Callable[..., Any]) -> inspect.Signature | None:
    """What a formula takes; None for a built-in function that does not tell. A model's thousand
    additions are one formula, and asking takes as long as tracing it."""
    try:
        return _signature(formula)
    except TypeError:  # an object without a hash
        return _signature.__wrapped__(formula)


@lru_cache(maxsize=512)
def _signature(formula: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(formula)
    except (TypeError, ValueError):
        return None


def _parameter_names(formula: Callable[..., Any]) -> list[str]:
    """What the formula calls its operands, for the printed IR."""
    signature = signature_of(formula)
    parameters = signature.parameters.values() if signature else ()
    return [p.name for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD]
