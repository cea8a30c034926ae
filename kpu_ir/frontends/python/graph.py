"""Networks in Python: ``Graph`` makes the ``kernel`` level, and says at once what does not fit.

>>> g = Graph()
>>> x = g.input("x", (8, 64))
>>> y = (x @ g.constant(w) + b).relu()
>>> g.output("y", y)
>>> module = g.module()

An error is a ``KpuError`` with the file and line of the call that is wrong.
"""

from __future__ import annotations

import functools
import inspect
import math
import operator
import re
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from xdsl.builder import Builder
from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    FileLineColLoc,
    IntAttr,
    ModuleOp,
    StringAttr,
    TensorType,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.rewriter import InsertPoint

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import broadcast_shapes, shape_text, tensor_type
from kpu_ir.frontends.python.layers import Layers
from kpu_ir.scalar import formulas
from kpu_ir.scalar.tracing import Scalar, trace
from kpu_ir.support.errors import KpuError
from kpu_ir.support.package import ROOT
from kpu_ir.support.types import Array, dense_of, dtype_of, element_type_named, element_type_of

_HERE = str(ROOT)
_P = ParamSpec("_P")
_R = TypeVar("_R")
_Self = TypeVar("_Self", "Graph", "Value")


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_HERE)


def _caller() -> tuple[str, int]:
    """File and line of the innermost frame that is not kpu-ir's."""
    frame: FrameType | None = inspect.currentframe()
    while frame is not None and frame.f_back is not None and _is_ours(frame):
        frame = frame.f_back
    assert frame is not None
    return frame.f_code.co_filename, frame.f_lineno


def _located(
    method: Callable[Concatenate[_Self, _P], _R],
) -> Callable[Concatenate[_Self, _P], _R]:
    """Give errors the line of the user's that is to blame: in a formula, else the call."""

    @functools.wraps(method)
    def wrapper(self: _Self, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(self, *args, **kwargs)
        except KpuError as error:
            if error.where is None:
                file, line = _caller()
                step = error.__traceback__
                while step is not None:
                    if not _is_ours(step.tb_frame):
                        file, line = step.tb_frame.f_code.co_filename, step.tb_lineno
                    step = step.tb_next
                error.where = f"{file}:{line}"
            raise

    return wrapper


class Value:
    """A tensor in a graph. It has Python's operators (elementwise, ``@`` is the matrix product)."""

    __array_ufunc__ = None  # NumPy arrays leave `array + value` to us

    def __init__(self, graph: Graph, ssa: SSAValue) -> None:
        """Made by the graph's methods."""
        self.graph = graph
        self.ssa = ssa

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

    def __neg__(self) -> Value:
        return self.graph.map(operator.neg, self)

    def __abs__(self) -> Value:
        return self.graph.map(abs, self)

    def __matmul__(self, other: Any) -> Value:
        return self.graph.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Value:
        return self.graph.matmul(self.graph.value(other, self.element_type), self)

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

    def __getitem__(self, index: Any) -> Value:
        """NumPy's basic indexing: numbers, slices, ``...`` and ``None``."""
        return self.graph.part(self, index)

    def _reduced(self, kind: str, axis: int | Sequence[int] | None, keepdims: bool) -> Value:
        return self.graph.reduce(kind, self, self._axes(axis), keepdims)

    @_located
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
    """``f(2, 3)`` and ``f((2, 3))`` alike."""
    return [n for item in numbers for n in ([item] if isinstance(item, int) else item)]


class Graph(Layers):
    """A function at the kernel level, under construction."""

    def __init__(self, name: str = "main") -> None:
        """An empty graph, which becomes the function ``@name``."""
        self.name = name
        self.block = Block()
        self.builder = Builder(InsertPoint.at_end(self.block))
        self.inputs: dict[str, Value] = {}
        self.outputs: dict[str, Value] = {}
        self.location: Any = None
        """The location of new operations; None is the line of the user's call."""

    def insert(self, op: Operation) -> Value:
        """Append an operation; its only result."""
        if self.location is not None:
            op.location = self.location
        else:
            file, line = _caller()
            op.location = FileLineColLoc(StringAttr(file), IntAttr(line), IntAttr(1))
        return Value(self, self.builder.insert(op).results[0])

    def value(self, value: Any, element_type: Attribute) -> Value:
        """A value of this graph: itself, or a constant that takes ``element_type`` if it may."""
        if isinstance(value, Value):
            if value.graph is not self:
                raise KpuError(f"{value!r} belongs to another graph")
            return value
        array = np.asarray(value)
        wanted = dtype_of(element_type)
        plain = not isinstance(value, np.ndarray) or array.dtype.name in ("float64", "int64")
        if array.dtype != wanted and plain and _may_become(array, wanted):
            array = array.astype(wanted)
        return self.constant(array)

    @_located
    def input(self, name: str, shape: Sequence[int], dtype: Any = "f32") -> Value:
        """A tensor that the caller gives."""
        if name in self.inputs:
            raise KpuError(f"there is already an input {name!r}")
        if any(n < 0 for n in shape):
            raise KpuError(f"input {name!r}: expected extents of 0 or more, got {tuple(shape)}")
        kind = TensorType(element_type_named(dtype), [int(n) for n in shape])
        argument = self.block.insert_arg(kind, len(self.block.args))
        self.inputs[name] = Value(self, argument)
        name_value(self.inputs[name], name)
        return self.inputs[name]

    @_located
    def output(self, name: str, value: Value) -> None:
        """Return ``value`` to the caller as ``name``."""
        if name in self.outputs:
            raise KpuError(f"there is already an output {name!r}")
        self.outputs[name] = self.value(value, value.element_type)

    @_located
    def constant(self, value: Any, dtype: Any = None) -> Value:
        """A tensor that is known now; Python's floats become f32."""
        array = np.asarray(value)
        if dtype is None and not isinstance(value, np.ndarray | np.generic):
            dtype = {"f": "f32", "i": "i64"}.get(array.dtype.kind)
        if dtype is not None:
            array = array.astype(dtype_of(element_type_named(dtype)))
        element_type_of(array.dtype)
        return self.insert(kernel.ConstantOp(dense_of(array)))

    @_located
    def map(self, formula: Callable[..., Any], *operands: Any) -> Value:
        """``formula`` of each element; operands broadcast. Numbers become part of the formula."""
        tensors = [v for v in operands if isinstance(v, Value)]
        if not tensors:
            raise KpuError("map needs at least one value of the graph")
        kind = tensors[0].element_type
        given = [v if isinstance(v, bool | int | float) else self.value(v, kind) for v in operands]
        values = [v for v in given if isinstance(v, Value)]
        if broadcast_shapes(*(v.shape for v in values)) is None:
            raise KpuError(
                f"shapes do not broadcast: {', '.join(shape_text(v.shape) for v in values)}"
            )

        @functools.wraps(formula)
        def with_numbers(*scalars: Scalar) -> Any:
            rest = iter(scalars)
            return formula(*(next(rest) if isinstance(v, Value) else v for v in given))

        written = formula if len(values) == len(given) else with_numbers
        body, element_type = trace(written, [v.element_type for v in values])
        return self.insert(kernel.MapOp([v.ssa for v in values], body, element_type))

    @_located
    def cast(self, value: Value, dtype: Any) -> Value:
        """In another element type."""
        kind = element_type_named(dtype)
        return (
            value
            if kind == value.element_type
            else self.map(functools.partial(Scalar.to, kind=kind), value)
        )

    @_located
    def matmul(
        self,
        a: Value,
        b: Any,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        dtype: Any = None,
    ) -> Value:
        """NumPy's matrix product, vectors included; ``dtype`` is the accumulator's, if another."""
        b = self.value(b, a.element_type)
        if a.element_type != b.element_type:
            raise KpuError(f"matmul of {a.element_type} and {b.element_type}: convert one of them")
        x, y = (
            self.reshape(a, (1, *a.shape)) if len(a.shape) == 1 else a,
            self.reshape(b, (*b.shape, 1)) if len(b.shape) == 1 else b,
        )
        shape = kernel.matmul_shape(x.shape, y.shape, transpose_a, transpose_b)
        if shape is None:
            raise KpuError(
                f"no matrix product of shapes {shape_text(a.shape)} and {shape_text(b.shape)}"
                + " (a transposed)" * transpose_a
                + " (b transposed)" * transpose_b
            )
        result = self.insert(
            kernel.MatmulOp(
                x.ssa,
                y.ssa,
                transpose_a=transpose_a,
                transpose_b=transpose_b,
                element_type=None if dtype is None else element_type_named(dtype),
            )
        )
        kept = shape[:-2] + shape[-2:-1] * (len(a.shape) > 1) + shape[-1:] * (len(b.shape) > 1)
        return result if kept == shape else self.reshape(result, kept)

    @_located
    def reshape(self, value: Value, shape: Sequence[int]) -> Value:
        """In another shape; one extent may be -1, for what is left."""
        wanted, count = list(shape), math.prod(value.shape)
        known = math.prod(n for n in wanted if n != -1)
        if wanted.count(-1) == 1 and known and count % known == 0:
            wanted[wanted.index(-1)] = count // known
        if any(n < 0 for n in wanted) or math.prod(wanted) != count:
            raise KpuError(f"cannot reshape {shape_text(value.shape)} to {tuple(shape)}")
        return self.insert(kernel.ReshapeOp(value.ssa, wanted))

    @_located
    def transpose(self, value: Value, axes: Sequence[int] | None = None) -> Value:
        """Dimensions in the order of ``axes``, or reversed."""
        rank = len(value.shape)
        wanted = list(range(rank))[::-1] if axes is None else [a + rank * (a < 0) for a in axes]
        if sorted(wanted) != list(range(rank)):
            raise KpuError(
                f"{tuple(axes or ())} is not an order of the {rank} dimensions of {value!r}"
            )
        return self.insert(kernel.TransposeOp(value.ssa, wanted))

    @_located
    def part(self, value: Value, index: Any) -> Value:
        """NumPy's basic indexing of a value."""
        given = list(index) if isinstance(index, tuple) else [index]
        rank, count = len(value.shape), sum(i is not None and i is not ... for i in given)
        if any(
            isinstance(i, bool) or not isinstance(i, int | slice | None)
            for i in given
            if i is not ...
        ):
            raise KpuError(
                "an index must be of numbers, slices, ... and None", hint="see Graph.gather"
            )
        if sum(i is ... for i in given) > 1 or count > rank:
            raise KpuError(f"too many indices for {value!r}")
        at = next((k for k, i in enumerate(given) if i is ...), len(given))
        given[at : at + 1] = [slice(None)] * (rank - count)
        starts: list[int] = []
        steps: list[int] = []
        extents: list[int] = []
        shape: list[int] = []
        for one in given:
            if one is None:
                shape.append(1)
                continue
            n = value.shape[len(starts)]
            if isinstance(one, int) and not -n <= one < n:
                raise KpuError(f"index {one} is outside the extent {n} of {value!r}")
            chosen = range(n)[one] if isinstance(one, slice) else range(one % n, one % n + 1)
            if not chosen:
                raise KpuError(f"{one} chooses nothing of the extent {n} of {value!r}")
            starts.append(chosen[0])
            steps.append(chosen.step)
            extents.append(len(chosen))
            if isinstance(one, slice):
                shape.append(len(chosen))
        if tuple(extents) != value.shape or any(s != 1 for s in steps):
            value = self.slice(value, starts, steps, extents)
        return value if value.shape == tuple(shape) else self.reshape(value, shape)

    @_located
    def norm(
        self,
        value: Value,
        axes: Sequence[int],
        epsilon: float,
        scale: Any,
        shift: Any,
        center: bool,
    ) -> Value:
        """``normalize`` with a scale and a shift that may be arrays, and either without the other."""
        kind = value.element_type
        if scale is None and shift is not None:
            scale = np.ones(1)
        affine = [None if v is None else self.value(v, kind) for v in (scale, shift)]
        return self.normalize(value, axes, epsilon, *affine, center=center)

    @_located
    def module(self) -> ModuleOp:
        """The verified module; the graph can go on growing."""
        if not self.outputs:
            raise KpuError("the graph has no output", hint='call g.output("y", y)')
        results = [v.ssa for v in self.outputs.values()]
        kinds = [v.type for v in results]
        last = self.builder.insert(ReturnOp(*results))
        whole = FuncOp(
            self.name,
            ([a.type for a in self.block.args], kinds),
            Region(self.block),
            arg_attrs=_names(self.inputs),
            res_attrs=_names(self.outputs),
        )
        function = whole.clone()
        whole.body.detach_block(self.block)
        last.detach()
        last.erase()
        for old, new in zip(self.block.walk(), function.body.block.walk()):
            new.location = old.location
        module = ModuleOp([function])
        module.verify()
        return module


for _name, _method in vars(Layers).items():  # errors in them have the user's line too
    if not _name.startswith("_") and inspect.isfunction(_method):
        setattr(Graph, _name, _located(_method))


def _may_become(array: Array, wanted: np.dtype[Any]) -> bool:
    """Whether numbers typed by a user mean the same in another dtype: 2 may be 2.0, 2.5 not 2."""
    if array.dtype.kind not in "fiub":
        return False
    if np.array_equal(array, array.astype(np.int64)):
        return wanted.kind != "b" or array.dtype.kind == "b"
    return "float" in wanted.name


def _names(values: dict[str, Value]) -> ArrayAttr[DictionaryAttr]:
    return ArrayAttr(DictionaryAttr({"kernel.name": StringAttr(name)}) for name in values)
