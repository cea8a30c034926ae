"""Scalar bodies: what is yielded, as a ``kernel.map`` of operands brought into the loops' order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, prod

import numpy as np
from xdsl.dialects import arith, math
from xdsl.dialects.builtin import (
    AnyFloat,
    DenseIntOrFPElementsAttr,
    FloatAttr,
    IndexType,
    IntegerAttr,
    IntegerType,
    TensorType,
    i64,
)
from xdsl.ir import Attribute, Block, BlockArgument, Operation, SSAValue
from xdsl.ir.affine import AffineMap
from xdsl.utils.hints import isa

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import scalar_type
from kpu_ir.frontends.linalg.access import (
    Unsupported,
    evaluate,
    integer,
    linear,
    name_of,
    static,
)
from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar.ops import FREE, PRICES

Number = int | float

GATHERED = 1 << 20
"""An operand that is read in a way of its own is gathered element by element, up to so many."""

EXTREMES: dict[
    int, type[arith.MaximumfOp | arith.MinimumfOp | arith.MaxnumfOp | arith.MinnumfOp]
] = {
    2: arith.MaxnumfOp,
    4: arith.MinnumfOp,
    9: arith.MaximumfOp,
    11: arith.MinimumfOp,
}
"""What a choice by a comparison (ogt, olt; ugt, ult: true of NaN) is."""


CLASSES = ("math.isnan", "math.isinf", "math.isfinite")
"""What xDSL has no operations for."""


def number(value: SSAValue) -> Number | None:
    """The scalar that is known now: a constant, a width of one; else None."""
    owner = value.owner
    if not isinstance(owner, Operation):
        return None
    if isinstance(owner, arith.ConstantOp):
        match owner.value:
            case FloatAttr() as found:
                return found.value.data
            case IntegerAttr() as found:
                return found.value.data
            case _:
                return None
    if name_of(owner) in ("arith.index_cast", "arith.extsi", "arith.trunci", "arith.extf"):
        return number(owner.operands[0])
    if name_of(owner) == "arith.truncf" and (found := number(owner.operands[0])) is not None:
        from kpu_ir.support.types import dtype_of

        return float(np.asarray(found).astype(dtype_of(value.type)))
    if name_of(owner) == "tensor.dim" and isinstance(at := number(owner.operands[1]), int):
        return static(owner.operands[0]).get_shape()[at]
    return None


def align(graph: Graph, value: Value, map: AffineMap, extents: Sequence[int]) -> Value:
    """``value``, read by ``map``, with one dimension for each loop: that loop's extent, or 1."""
    indices = [linear(e) for e in map.results]
    loops = [axis.factors[0][0] for axis in indices if axis and len(axis.factors) == 1]
    plain = all(axis and len(axis.factors) <= 1 for axis in indices)
    if not plain or len(loops) != len(set(loops)):
        return _gathered(graph, value, map, extents)
    starts = [axis.offset for axis in indices if axis]
    steps = [axis.factors[0][1] if axis.factors else 1 for axis in indices if axis]
    shape = [extents[axis.factors[0][0]] if axis.factors else 1 for axis in indices if axis]
    if any(starts) or any(s != 1 for s in steps) or tuple(shape) != value.shape:
        value = graph.slice(value, starts, steps, shape)
    order = sorted(range(len(loops)), key=loops.__getitem__)
    if order != list(range(len(order))):
        kept = [n for n, axis in zip(shape, indices) if axis and axis.factors]
        value = graph.transpose(reshaped(graph, value, kept), order)
    return reshaped(graph, value, [n if i in loops else 1 for i, n in enumerate(extents)])


def reshaped(graph: Graph, value: Value, shape: Sequence[int]) -> Value:
    """``value`` in ``shape``, which it may have already."""
    return value if value.shape == tuple(shape) else graph.reshape(value, shape)


def _gathered(graph: Graph, value: Value, map: AffineMap, extents: Sequence[int]) -> Value:
    """Any other way to read: each element by its index, which is known now."""
    used = {loop for expr in map.results for loop in expr.used_dims()}
    shape = [n if loop in used else 1 for loop, n in enumerate(extents)]
    if prod(shape) > GATHERED:
        raise Unsupported(f"reads {prod(shape)} elements by {map}, for which there is no kernel")
    counters = list(np.indices(shape, sparse=True))
    flat = np.zeros(shape, np.int64)
    for expr, extent in zip(map.results, value.shape):
        flat = flat * extent + evaluate(expr, counters)
    return graph.gather(reshaped(graph, value, [prod(value.shape)]), graph.constant(flat), 0)


@dataclass
class Scalars:
    """A body, or the part of it that some value needs, in loops of ``extents``.

    ``known`` are the body's arguments, aligned; ``tensor`` makes a tensor from outside a value.
    """

    graph: Graph
    extents: Sequence[int]
    known: Mapping[SSAValue, Callable[[], Value]]
    tensor: Callable[[SSAValue], Value]
    operands: list[Value] = field(default_factory=list[Value])
    block: Block = field(default_factory=Block)
    done: dict[SSAValue, SSAValue] = field(default_factory=dict[SSAValue, SSAValue])

    def emit(self, yielded: SSAValue) -> Value:
        """What ``yielded`` is in each loop; dimensions that it does not depend on may be 1."""
        result = self.scalar(yielded)
        rank = len(self.extents)
        if isinstance(result, BlockArgument):  # nothing is computed
            return self.operands[result.index]
        if not self.operands:
            dummy = self.graph.constant(np.zeros([1] * rank, np.float32))
            self.operand(dummy)
        self.block.add_op(kernel.YieldOp(result))
        return self.graph.insert(kernel.MapOp([v.ssa for v in self.operands], self.block))

    def again(self) -> Scalars:
        """The same surroundings, nothing computed yet."""
        return Scalars(self.graph, self.extents, self.known, self.tensor)

    def operand(self, value: Value) -> SSAValue:
        """The scalar of an aligned tensor."""
        self.operands.append(value)
        return self.block.insert_arg(scalar_type(value.element_type), len(self.block.args))

    def scalar(self, value: SSAValue) -> SSAValue:
        """A scalar of the original body in the new one."""
        if value not in self.done:
            self.done[value] = self._scalar(value)
        return self.done[value]

    def _scalar(self, value: SSAValue) -> SSAValue:
        if value in self.known:
            return self.operand(self.known[value]())
        op = value.owner
        if not isinstance(op, Operation):
            raise Unsupported(f"uses the scalar argument %{value.name_hint or '?'} of a function")
        name = name_of(op)
        if name == "linalg.index":
            loop = integer(op, "dim")
            shape = [n if i == loop else 1 for i, n in enumerate(self.extents)]
            return self.operand(self.graph.constant(np.arange(prod(shape)).reshape(shape)))
        if name == "tensor.extract":
            return self.operand(self.extracted(op))
        if (name == "tensor.dim" or isinstance(value.type, IndexType)) and (
            known := number(value)
        ) is not None:
            return self.add(arith.ConstantOp(IntegerAttr(int(known), i64)))
        if name in ("arith.truncf", "arith.extf") and (known := number(value)) is not None:
            assert isinstance(value.type, AnyFloat)
            return self.add(arith.ConstantOp(FloatAttr(float(known), value.type)))
        if name == "arith.select" and (extreme := self.extreme(op)) is not None:
            return extreme
        operands = [self.scalar(v) for v in op.operands]
        kind = i64 if isinstance(value.type, IndexType) else value.type
        if name in ("arith.index_cast", "arith.index_castui"):
            return self.cast(operands[0], kind, name.endswith("ui"))
        if name in CLASSES and len(operands) == 1:
            return self.classified(name, operands[0])
        scalar = name.startswith(("arith.", "math."))
        if not scalar or not (name in PRICES or name in FREE) or len(op.results) != 1 or op.regions:
            raise Unsupported("is not a scalar operation that kpu-ir can compute", op)
        return self.add(
            type(op).create(operands=operands, result_types=[kind], properties=op.properties)
        )

    def extreme(self, op: Operation) -> SSAValue | None:
        """``select(a > b, a, b)`` of floats as one operation; ``b`` is a number, ``a`` may be NaN."""
        test, a, b = op.operands
        compared = test.owner
        if not isinstance(compared, Operation) or name_of(compared) != "arith.cmpf":
            return None
        kind = EXTREMES.get(integer(compared, "predicate"))
        bound = number(b)
        if kind is None or list(compared.operands) != [a, b] or bound is None or bound != bound:
            return None
        return self.add(kind(self.scalar(a), self.scalar(b)))

    def classified(self, name: str, value: SSAValue) -> SSAValue:
        """Whether a float is a NaN, infinite or neither."""
        if name == "math.isnan":
            return self.add(arith.CmpfOp(value, value, "une"))
        away = self.add(math.AbsFOp(value))
        assert isinstance(value.type, AnyFloat)
        end = self.add(arith.ConstantOp(FloatAttr(inf, value.type)))
        return self.add(arith.CmpfOp(away, end, "oeq" if name == "math.isinf" else "olt"))

    def add(self, op: Operation) -> SSAValue:
        """Append an operation; its result."""
        self.block.add_op(op)
        return op.results[0]

    def cast(self, value: SSAValue, kind: Attribute, unsigned: bool) -> SSAValue:
        """An integer in another width."""
        if value.type == kind:
            return value
        assert isa(value.type, IntegerType)
        assert isa(kind, IntegerType)
        if value.type.bitwidth > kind.bitwidth:
            return self.add(arith.TruncIOp(value, kind))
        return self.add((arith.ExtUIOp if unsigned else arith.ExtSIOp)(value, kind))

    # -- tensor.extract: elements of another tensor by index ----------------------------------------

    def extracted(self, op: Operation) -> Value:
        """``tensor.extract``: a slice if the indices are known, else a gather.

        Indices that follow the last loops take whole rows.
        """
        table, *indices = op.operands
        shape, rank = static(table).get_shape(), len(self.extents)
        if None not in (known := [number(i) for i in indices]):
            starts = [int(n) for n in known if n is not None]
            one = self.graph.slice(self.tensor(table), starts, [1] * len(shape), [1] * len(shape))
            return reshaped(self.graph, one, [1] * rank)
        rows = self.rows(indices, shape)
        lead = len(shape) - rows
        strides = [prod(shape[axis + 1 : lead]) for axis in range(lead)]
        at = self.again()
        where = at.emit(at.weighted(indices[:lead], strides))
        outer = where.shape[: rank - rows]
        if prod(where.shape) != prod(outer):  # the index depends on the last loops after all
            raise Unsupported("reads rows by an index that changes along them", op)
        source = reshaped(self.graph, self.tensor(table), [prod(shape[:lead]), *shape[lead:]])
        return self.graph.gather(source, reshaped(self.graph, where, outer), 0)

    def rows(self, indices: Sequence[SSAValue], shape: Sequence[int]) -> int:
        """How many last dimensions are read as a whole, by the last loops in order."""
        rows, rank = 0, len(self.extents)
        while rows + 1 < len(indices):
            op, loop = indices[-1 - rows].owner, rank - 1 - rows
            if not isinstance(op, Operation) or name_of(op) != "linalg.index":
                break
            if integer(op, "dim") != loop or shape[-1 - rows] != self.extents[loop]:
                break
            rows += 1
        used = {loop for index in indices[: len(indices) - rows] for loop in self.loops_of(index)}
        return 0 if any(loop >= rank - rows for loop in used) else rows

    def loops_of(self, value: SSAValue) -> set[int]:
        """The loops that a scalar changes with."""
        if value in self.known:
            return {i for i, n in enumerate(self.known[value]().shape) if n != 1}
        op = value.owner
        if not isinstance(op, Operation):
            return set()
        if name_of(op) == "linalg.index":
            return {integer(op, "dim")}
        return {loop for operand in op.operands for loop in self.loops_of(operand)}

    def weighted(self, indices: Sequence[SSAValue], strides: Sequence[int]) -> SSAValue:
        """The sum of indices times strides, as an i64 that ``emit`` takes."""
        total: SSAValue | None = None
        for index, stride in zip(indices, strides):
            term = self.cast(self.scalar(index), i64, False)
            if stride != 1:
                by = self.add(arith.ConstantOp(IntegerAttr(stride, i64)))
                term = self.add(arith.MuliOp(term, by))
            total = term if total is None else self.add(arith.AddiOp(total, term))
        assert total is not None
        self.done[total] = total
        return total


def spread(graph: Graph, value: Value, extents: Sequence[int]) -> Value:
    """``value`` repeated along every loop that it does not depend on."""
    return graph.broadcast(value, extents)


def splat(value: SSAValue) -> Number | None:
    """The number that a tensor is everywhere, if that is known: a fill or a constant."""
    op = value.owner
    if not isinstance(op, Operation):
        return None
    match name_of(op):
        case "linalg.fill" | "tensor.splat":
            return number(op.operands[0])
        case "tensor.expand_shape" | "tensor.collapse_shape" | "tensor.cast" | "tensor.reshape":
            return splat(op.operands[0])
        case "linalg.broadcast" | "linalg.transpose":
            return splat(op.operands[0])
        case "arith.constant":
            held = op.properties.get("value")
            if isinstance(held, DenseIntOrFPElementsAttr) and isinstance(value.type, TensorType):
                values = held.data.data
                size = len(values) // max(1, len(held))
                if len(held) and values == values[:size] * len(held):
                    from kpu_ir.support.types import array_of

                    return array_of(held).flat[0].item()
            return None
        case _:
            return None


def is_empty(value: SSAValue) -> bool:
    """Whether a tensor comes from ``tensor.empty``: its values are not defined."""
    op = value.owner
    if not isinstance(op, Operation):
        return False
    if name_of(op) in ("tensor.expand_shape", "tensor.collapse_shape", "tensor.cast"):
        return is_empty(op.operands[0])
    return name_of(op) == "tensor.empty"
