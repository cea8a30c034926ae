"""``Value``: a tensor in a graph, which reads like one of NumPy's."""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NoReturn, Protocol

import numpy as np
from xdsl.ir import Attribute, SSAValue

from kpu_ir.dialects.kernel import shape_text, tensor_type
from kpu_ir.frontends.python.calls import caller, for_people
from kpu_ir.scalar import formulas
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import dtype_of


class _Methods(Protocol):
    """What a value, and what has only a value, asks of its graph."""

    def constant(self, value: Any, dtype: Any = None) -> Value: ...
    def gather(self, table: Value, indices: Value, axis: int = 0) -> Value: ...
    def concat(self, values: Sequence[Value], axis: int = 0) -> Value: ...
    def map(self, formula: Callable[..., Any], *operands: Any) -> Value: ...
    def value(self, value: Any, element_type: Attribute) -> Value: ...
    def matmul(self, a: Value, b: Any) -> Value: ...
    def cast(self, value: Value, dtype: Any) -> Value: ...
    def reshape(self, value: Value, shape: Sequence[int]) -> Value: ...
    def transpose(self, value: Value, axes: Sequence[int] | None = None) -> Value: ...
    def broadcast(self, x: Value, shape: Sequence[int]) -> Value: ...
    def part(self, value: Value, index: Any) -> Value: ...
    def softmax(self, x: Value, axis: int = -1, log: bool = False) -> Value: ...
    def mean(self, x: Value, axes: Sequence[int], keep: bool = True) -> Value: ...
    def reduce(
        self,
        kind: str,
        x: Value,
        axes: Sequence[int],
        keep: bool = True,
        element_type: Attribute | None = None,
    ) -> Value: ...
    def arg_reduce(
        self, kind: str, x: Value, axis: int, last: bool = False, keep: bool = True
    ) -> Value: ...
    def norm(
        self,
        value: Value,
        axes: Sequence[int],
        epsilon: float,
        scale: Any,
        shift: Any,
        center: bool,
    ) -> Value: ...


@for_people
class Value:
    """A tensor in a graph. It has Python's operators (elementwise, ``@`` is the matrix product)."""

    __array_ufunc__ = None  # NumPy arrays leave `array + value` to us

    def __init__(self, graph: _Methods, ssa: SSAValue) -> None:
        """Made by the graph's methods."""
        self.graph = graph
        self.ssa = ssa

    def belongs_to(self, graph: object) -> bool:
        """Whether it is a value of this graph."""
        return self.graph is graph

    @property
    def shape(self) -> tuple[int, ...]:
        """The extents."""
        return tensor_type(self.ssa).get_shape()

    @property
    def element_type(self) -> Attribute:
        """The element type in the IR."""
        return tensor_type(self.ssa).element_type

    @property
    def dtype(self) -> np.dtype[Any]:
        """The element type in NumPy."""
        return dtype_of(self.element_type)

    def __repr__(self) -> str:
        name = self.ssa.name_hint or "value"
        return f"<{name}: {shape_text(self.shape)} {self.element_type}>"

    def __add__(self, other: Any) -> Value:
        return self.graph.map(operator.add, self, other)

    def __radd__(self, other: Any) -> Value:
        return self.graph.map(operator.add, other, self)

    def __sub__(self, other: Any) -> Value:
        return self.graph.map(operator.sub, self, other)

    def __rsub__(self, other: Any) -> Value:
        return self.graph.map(operator.sub, other, self)

    def __mul__(self, other: Any) -> Value:
        return self.graph.map(operator.mul, self, other)

    def __rmul__(self, other: Any) -> Value:
        return self.graph.map(operator.mul, other, self)

    def __truediv__(self, other: Any) -> Value:
        return self.graph.map(formulas.true_divide, self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return self.graph.map(formulas.true_divide, other, self)

    def __pow__(self, other: Any) -> Value:
        return self.graph.map(formulas.power, self, other)

    def __rpow__(self, other: Any) -> Value:
        return self.graph.map(formulas.power, self.graph.value(other, self.element_type), self)

    def __neg__(self) -> Value:
        return self.graph.map(operator.neg, self)

    def __abs__(self) -> Value:
        return self.graph.map(abs, self)

    def __matmul__(self, other: Any) -> Value:
        return self.graph.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Value:
        return self.graph.matmul(self.graph.value(other, self.element_type), self)

    def _refused(self, what: str, hint: str) -> KpuError:
        """The error for what a tensor cannot be asked before the program runs."""
        file, line = caller()
        return KpuError(what, f"{file}:{line}", hint)

    def _compared(self, sign: str, other: Any) -> KpuError:
        right = f"{other}" if isinstance(other, int | float) else "b"
        operands = "x" if isinstance(other, int | float) else "x, y"
        formula = f"lambda a{'' if right != 'b' else ', b'}: a {sign} {right}"
        return self._refused(
            f"{self!r} cannot be compared by {sign}: its elements are not known yet",
            f"compare in a formula: g.map({formula}, {operands}) is a tensor of booleans",
        )

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Value):
            return self is other
        if isinstance(other, int | float | np.ndarray | np.generic):
            raise self._compared("==", other)
        return NotImplemented

    def __ne__(self, other: object) -> bool:
        if isinstance(other, int | float | np.ndarray | np.generic):
            raise self._compared("!=", other)
        return not self == other

    __hash__ = object.__hash__

    def __lt__(self, other: Any) -> NoReturn:
        raise self._compared("<", other)

    def __le__(self, other: Any) -> NoReturn:
        raise self._compared("<=", other)

    def __gt__(self, other: Any) -> NoReturn:
        raise self._compared(">", other)

    def __ge__(self, other: Any) -> NoReturn:
        raise self._compared(">=", other)

    def __bool__(self) -> NoReturn:
        raise self._refused(
            f"{self!r} is neither true nor false: its elements are not known yet",
            "choose by element: g.map(formulas.where, condition, x, y), formulas from kpu_ir.scalar",
        )

    def _number(self) -> NoReturn:
        raise self._refused(
            f"{self!r} is no number: its elements are not known yet",
            "give it to g.output, compile the graph and run the program",
        )

    __float__ = __int__ = _number

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise self._refused(
            f"{self!r} is no array: its elements are not known yet",
            "use its own methods and those of its graph, as x.exp() or g.concat([x, y])",
        )

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise self._refused(
            f"{self!r} does not change", "make a new one, as g.concat([x[:2], y, x[3:]])"
        )

    def relu(self) -> Value:
        """Positive parts."""
        return self.graph.map(formulas.relu, self)

    def gelu(self) -> Value:
        """GELU by erf."""
        return self.graph.map(formulas.gelu, self)

    def gelu_tanh(self) -> Value:
        """GELU by tanh."""
        return self.graph.map(formulas.gelu_tanh, self)

    def silu(self) -> Value:
        """x sigmoid(x)."""
        return self.graph.map(formulas.silu, self)

    def sigmoid(self) -> Value:
        """1 / (1 + exp(-x))."""
        return self.graph.map(formulas.sigmoid, self)

    def tanh(self) -> Value:
        """The hyperbolic tangent."""
        return self.graph.map(formulas.tanh, self)

    def erf(self) -> Value:
        """The error function."""
        return self.graph.map(formulas.erf, self)

    def exp(self) -> Value:
        """e to the power of x."""
        return self.graph.map(formulas.exp, self)

    def log(self) -> Value:
        """The natural logarithm."""
        return self.graph.map(formulas.log, self)

    def sqrt(self) -> Value:
        """The square root."""
        return self.graph.map(formulas.sqrt, self)

    def clip(self, low: float | None = None, high: float | None = None) -> Value:
        """No less than ``low`` and no more than ``high``."""
        return self.graph.map(functools.partial(formulas.clip, low=low, high=high), self)

    def pow(self, exponent: Any) -> Value:
        """To the power of ``exponent``."""
        return self**exponent

    def maximum(self, other: Any) -> Value:
        """The larger of each pair."""
        return self.graph.map(formulas.maximum, self, other)

    def minimum(self, other: Any) -> Value:
        """The smaller of each pair."""
        return self.graph.map(formulas.minimum, self, other)

    def astype(self, dtype: Any) -> Value:
        """In another element type."""
        return self.graph.cast(self, dtype)

    def reshape(self, *shape: int | Sequence[int]) -> Value:
        """In another shape; -1 stands for what is left."""
        return self.graph.reshape(self, _flat(shape))

    def transpose(self, *axes: int | Sequence[int]) -> Value:
        """Dimensions in the order of ``axes``, or reversed."""
        return self.graph.transpose(self, _flat(axes) or None)

    @property
    def T(self) -> Value:
        """Dimensions reversed."""
        return self.graph.transpose(self)

    def __len__(self) -> int:
        if not self.shape:
            raise self._refused("a tensor of rank 0 has no length", "its shape is ()")
        return self.shape[0]

    def __iter__(self) -> Iterator[Value]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Value:
        """NumPy's basic indexing: numbers, slices, ``...`` and ``None``."""
        return self.graph.part(self, index)

    def _reduced(self, kind: str, axis: int | Sequence[int] | None, keepdims: bool) -> Value:
        return self.graph.reduce(kind, self, self._axes(axis), keepdims)

    def _axes(self, axis: int | Sequence[int] | None) -> list[int]:
        rank = len(self.shape)
        given = range(rank) if axis is None else [axis] if isinstance(axis, int) else axis
        if any(not -rank <= a < rank for a in given):
            raise KpuError(f"axis {axis} is outside the rank {rank}")
        return [a + rank * (a < 0) for a in given]

    def sum(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Value:
        """The sum along dimensions, of all if none are given."""
        return self._reduced("add", axis, keepdims)

    def prod(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Value:
        """The product along dimensions."""
        return self._reduced("mul", axis, keepdims)

    def max(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Value:
        """The largest along dimensions."""
        return self._reduced("max", axis, keepdims)

    def min(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Value:
        """The smallest along dimensions."""
        return self._reduced("min", axis, keepdims)

    def mean(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Value:
        """The mean along dimensions."""
        return self.graph.mean(self, self._axes(axis), keepdims)

    def argmax(self, axis: int = -1, keepdims: bool = False) -> Value:
        """Where the first largest stands along a dimension (i64)."""
        return self.graph.arg_reduce("max", self, axis, keep=keepdims)

    def argmin(self, axis: int = -1, keepdims: bool = False) -> Value:
        """Where the first smallest stands along a dimension (i64)."""
        return self.graph.arg_reduce("min", self, axis, keep=keepdims)

    def softmax(self, axis: int = -1) -> Value:
        """Softmax along a dimension."""
        return self.graph.softmax(self, axis)

    def log_softmax(self, axis: int = -1) -> Value:
        """The logarithm of softmax along a dimension."""
        return self.graph.softmax(self, axis, log=True)

    def layernorm(
        self,
        scale: Any = None,
        shift: Any = None,
        *,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-5,
    ) -> Value:
        """Mean 0 and variance 1 along dimensions, then a scale and a shift."""
        return self.graph.norm(self, self._axes(axis), epsilon, scale, shift, center=True)

    def rmsnorm(
        self, scale: Any = None, *, axis: int | Sequence[int] = -1, epsilon: float = 1e-5
    ) -> Value:
        """Mean of squares 1 along dimensions, then a scale."""
        return self.graph.norm(self, self._axes(axis), epsilon, scale, None, center=False)

    def broadcast_to(self, *shape: int | Sequence[int]) -> Value:
        """In a larger shape, as NumPy's."""
        return self.graph.broadcast(self, _flat(shape))


def name_value(value: Value, name: str) -> None:
    """Call a value ``name`` in the printed IR, as far as that can be spelt there."""
    value.ssa.name_hint = spelt(name) or None


def spelt(name: str) -> str:
    """``name`` with what IR can spell of it; nothing, if that is nothing."""
    text = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    return f"v{text}" if text and text[0].isdigit() else text


def _flat(numbers: Sequence[int | Sequence[int]]) -> list[int]:
    """``f(2, 3)`` and ``f((2, 3))`` alike; NumPy's numbers become Python's."""
    flat = [n for item in numbers for n in (item if isinstance(item, Iterable) else [item])]
    return [int(n) if isinstance(n, np.integer) else n for n in flat]
