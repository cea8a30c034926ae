"""The only meaning of scalar regions: what a body computes, and what it costs.

``compile_body`` turns a block into one generated Python function over whole arrays. Each operation
is a NumPy call; a temporary that nobody reads any more receives the next result (``out=``), so a
long formula needs about two arrays at a time. A constant bound (of a ReLU) or two are one
``np.clip``, which takes a third of the time of ``np.maximum`` with a number.

Floats narrower than 32 bits (f16, bf16, f8) are computed in f32 and rounded where the body converts
or ends, as a machine does that widens its operands; ``i4`` likewise in ``i8``. Integers wrap
around.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isnan
from typing import Any, cast

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import AnyFloat, FloatAttr, IntegerAttr, IntegerType
from xdsl.ir import Attribute, Block, BlockArgument, Operation, SSAValue
from xdsl.traits import IsTerminator
from xdsl.utils.hints import isa

from kpu_ir.scalar.ops import ALLOCATING, BOOLEAN, FREE, IN_PLACE, PRICES, erf
from kpu_ir.scalar.tables import TABULATED, tabulated
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array, dtype_of, stored

Body = Callable[..., Array]
"""A compiled body: one array an operand in (they broadcast), a new array out; or ``out=``, an array
of their common shape, perhaps one of them, into which the result goes."""


def op_classes(block: Block) -> Counter[str]:
    """How many operations of each class a body costs an element.

    The classes are those of ``scalar.ops.PRICES``. Constants and the terminator are free.
    """
    counts: Counter[str] = Counter()
    for op in block.ops:
        if op.name in FREE or op.has_trait(IsTerminator):
            continue
        if op.name not in PRICES:
            raise unknown(op)
        counts[PRICES[op.name]] += 1
    return counts


def unknown(op: Operation) -> KpuError:
    """The error for an operation that has no meaning here."""
    return KpuError(
        f"{op.name} is not a scalar operation that kpu-ir can compute",
        hint="scalar bodies hold operations of arith and math on scalars",
    )


def compile_body(
    block: Block, precision: type[np.floating[Any]] | None = None, segments: int = 0
) -> Body:
    """A function of one array an argument of ``block`` that returns what the block yields.

    With ``precision`` all floats are computed and returned in that type; with ``segments`` functions
    are those of tables of so many (``tables``).
    """
    return _Compiler(block, precision, segments).compile()


@dataclass(frozen=True)
class _Clip:
    """A value between constants."""

    value: SSAValue
    low: float = -inf
    high: float = inf


def _clips(block: Block) -> dict[Operation, _Clip | None]:
    """The operations of a body that are a bound of floats, with what they compute; None where only
    the other bound, in which it is then contained, takes the result."""
    found: dict[Operation, _Clip | None] = {}
    for op in block.ops:
        if not isinstance(op, arith.MaximumfOp | arith.MinimumfOp):
            continue
        value, limit = op.lhs, _number(op.rhs)
        if limit is None:
            value, limit = op.rhs, _number(op.lhs)
        if limit is None or isnan(limit) or _number(value) is not None:
            continue
        inner = found.get(value.owner) if isinstance(value.owner, Operation) else None
        if inner is None or not value.has_one_use():
            inner = _Clip(value)
        if isinstance(op, arith.MaximumfOp):
            whole = _Clip(inner.value, limit, inner.high) if inner.low == -inf else None
        else:
            whole = _Clip(inner.value, inner.low, limit) if inner.high == inf else None
        if whole is None or whole.low > whole.high or whole.value is value:
            low = isinstance(op, arith.MaximumfOp)
            found[op] = _Clip(value, low=limit) if low else _Clip(value, high=limit)
        else:
            found[op], found[cast(Operation, value.owner)] = whole, None
    return found


def _number(value: SSAValue) -> float | None:
    """A constant of a float type."""
    op = value.owner
    if isinstance(op, arith.ConstantOp) and isa(op.value, FloatAttr):
        return op.value.value.data
    return None


@dataclass
class _Value:
    """A scalar value of the body, as the generated code sees it."""

    text: str
    """A Python name."""
    dtype: np.dtype[Any]
    """What it is computed in."""
    arguments: frozenset[int]
    """The arguments that it depends on: two values that depend on the same have the same shape."""
    owned: bool
    """Whether it is a temporary of ours, that may be overwritten."""


class _Compiler:
    """Writes the source of one function."""

    def __init__(
        self, block: Block, precision: type[np.floating[Any]] | None, segments: int
    ) -> None:
        self.block, self.segments = block, segments
        self.precision = None if precision is None else np.dtype(precision)
        self.lines: list[str] = []
        self.globals: dict[str, Any] = {"np": np}
        self.values: dict[SSAValue, _Value] = {}
        self.last_use: dict[SSAValue, Operation] = {}
        self.names = [f"a{i}" for i in range(len(block.args))]
        self.clips = _clips(block)

    def compile(self) -> Body:
        """The whole function."""
        *operations, last = self.block.ops
        if not last.has_trait(IsTerminator) or len(last.operands) != 1:
            raise KpuError(f"a scalar body must end by yielding one value, not with {last.name}")
        for op in self.block.ops:
            self.last_use |= dict.fromkeys(self.sources(op), op)
        self.lines.append(f"scalar = not ({' or '.join(f'{n}.ndim' for n in self.names) or 0})")
        for argument in self.block.args:
            self.argument(argument)
        for op in operations:
            self.operation(op)
        self.result(last.operands[0])
        names = ", ".join([*self.names, "out=None"])
        lines = "\n    ".join(self.lines)
        source = f"@np.errstate(all='ignore')\ndef body({names}):\n    {lines}\n"
        exec(compile(source, "<scalar body>", "exec"), self.globals)
        return self.globals["body"]

    def bind(self, item: Any, prefix: str = "g") -> str:
        """A global name of the generated function for ``item``."""
        name = f"{prefix}{len(self.globals)}"
        self.globals[name] = item
        return name

    def wide(self, kind: Attribute) -> np.dtype[Any]:
        """What values of this type are computed in."""
        dtype = dtype_of(kind)
        if isinstance(kind, AnyFloat):
            if self.precision is not None:
                return self.precision
            return dtype if dtype.itemsize >= 4 else np.dtype(np.float32)
        if isa(kind, IntegerType) and 1 < kind.bitwidth < 8:
            return np.dtype(np.int8)
        return dtype

    def narrow(self, kind: Attribute) -> np.dtype[Any]:
        """What values of this type are stored in."""
        floats = isinstance(kind, AnyFloat) and self.precision is not None
        return self.wide(kind) if floats else dtype_of(kind)

    def argument(self, argument: BlockArgument) -> None:
        """Bring an argument to the type that it is computed in, with at least one dimension."""
        name, dtype = f"a{argument.index}", self.wide(argument.type)
        self.lines.append(f"if not {name}.ndim: {name} = {name}.reshape(1)")
        if dtype.kind == "i":  # unsigned arrays are read as the same bits
            unsigned = self.bind(np.dtype(f"u{dtype.name}"))
            signed = self.bind(dtype)
            self.lines.append(f"if {name}.dtype == {unsigned}: {name} = {name}.view({signed})")
        text = name
        if dtype != dtype_of(argument.type) or (dtype.kind == "f" and self.precision is not None):
            text = f"w{argument.index}"
            self.lines.append(f"{text} = {name}.astype({self.bind(dtype)})")
        self.values[argument] = _Value(text, dtype, frozenset((argument.index,)), text != name)

    def sources(self, op: Operation) -> Sequence[SSAValue]:
        """The values that the line of an operation reads."""
        if op not in self.clips:
            return op.operands
        clip = self.clips[op]
        return () if clip is None else (clip.value,)

    def operation(self, op: Operation) -> None:
        """One line for one operation."""
        if isinstance(op, arith.ConstantOp):
            self.constant(op)
            return
        if op in self.clips and self.clips[op] is None:
            return
        operands = [self.read(v) for v in self.sources(op)]
        kind = op.results[0].type if op.results else None
        if kind is None or (op.name not in PRICES and op.name not in FREE):
            raise unknown(op)
        dtype = self.wide(kind)
        arguments = frozenset[int]().union(*(v.arguments for v in operands))
        name = f"v{len(self.values)}"
        line = self.call(op, operands, dtype, arguments)
        self.lines.append(f"{name} = {line}")
        self.values[op.results[0]] = _Value(name, dtype, arguments, bool(arguments))

    def read(self, value: SSAValue) -> _Value:
        """What an earlier line computed."""
        if value not in self.values:
            raise KpuError(f"a scalar body uses a value from outside: {value.name_hint or value}")
        return self.values[value]

    def constant(self, op: arith.ConstantOp) -> None:
        """A NumPy scalar."""
        if not isinstance(op.value, IntegerAttr | FloatAttr):
            raise unknown(op)
        dtype = self.wide(op.value.type)
        number = op.value.value.data
        scalar = dtype.type(bool(number) if dtype.kind == "b" else number)
        if isinstance(op.value, FloatAttr):
            scalar = dtype.type(self.narrow(op.value.type).type(number))
        self.values[op.result] = _Value(self.bind(scalar, "c"), dtype, frozenset(), False)

    def call(
        self, op: Operation, operands: list[_Value], dtype: np.dtype[Any], arguments: frozenset[int]
    ) -> str:
        """The expression that computes an operation."""
        texts = ", ".join(v.text for v in operands)
        booleans = all(v.dtype.kind == "b" for v in operands)
        if booleans and op.name in BOOLEAN:
            return f"{self.bind(BOOLEAN[op.name])}({texts})"
        if self.segments and op.name in TABULATED:
            function = tabulated(op.name, self.segments)
        else:
            function = erf() if op.name == "math.erf" else IN_PLACE.get(op.name)
        clip = self.clips.get(op)
        if clip is not None:
            function, narrow = np.clip, self.narrow(op.results[0].type).type
            ends = [dtype.type(narrow(n)) for n in (clip.low, clip.high)]
            texts += "".join(f", {self.bind(end, 'c')}" for end in ends)
        if function is not None:
            free = [
                value.text
                for value, ssa in zip(operands, self.sources(op))
                if value.owned
                and self.last_use[ssa] is op
                and value.dtype == dtype
                and value.arguments == arguments
            ]
            room = free[0] if free else "None"
            if self.yielded(op, dtype, arguments):
                room = f"{room} if room is None else room"
            return f"{self.bind(function)}({texts}, out={room})"
        if op.name in ALLOCATING:
            return f"{self.bind(ALLOCATING[op.name](op, dtype))}({texts})"
        if (
            op.name in FREE or PRICES[op.name] == "cast"
        ):  # a change of width; rounding to what the result can hold
            narrow = self.narrow(op.results[0].type)
            through = "" if narrow == dtype else f".astype({self.bind(narrow)})"
            return f"{texts}{through}.astype({self.bind(dtype)})"
        raise unknown(op)

    def yielded(self, op: Operation, dtype: np.dtype[Any], arguments: frozenset[int]) -> bool:
        """Whether the result of ``op`` is the body's as it is, and may be written where that goes;
        says where that is, if it can be."""
        last = self.block.last_op
        if (
            last is None
            or last.operands[0] is not op.results[0]
            or len(arguments) < len(self.names)
            or dtype != self.narrow(op.results[0].type)
        ):
            return False
        kind = self.bind(dtype)
        self.lines.append(f"room = out if out is not None and out.dtype == {kind} else None")
        return True

    def result(self, value: SSAValue) -> None:
        """Return a new array of the full shape, in the type that is stored."""
        result, narrow = self.read(value), self.narrow(value.type)
        text = result.text
        if len(result.arguments) < len(self.names):
            shapes = ", ".join(f"{n}.shape" for n in self.names)
            text = f"np.broadcast_to({text}, np.broadcast_shapes({shapes}))"
            text = f"{text}.astype({self.bind(narrow)})"
        elif narrow != result.dtype:
            text = f"{text}.astype({self.bind(narrow)})"
        elif not result.owned:
            text = f"{text}.copy()"
        self.lines.append(f"result = {text}")
        self.lines.append("if out is None: return result.reshape(()) if scalar else result")
        keep = self.bind(stored)
        self.lines.append(f"if result is not out: out[...] = {keep}(result, out.dtype)")
        self.lines.append("return out")
