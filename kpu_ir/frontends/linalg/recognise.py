"""What a structured operation is: a map, a movement, a reduction, a product, a window, a search.

Results are taken one by one: what the yielded value needs of the body is one kernel. A contraction
and a window are seen by how their operands are read; whatever else is reduced becomes a map of
all loops and a reduction of its result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf, prod

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerType, i64
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.ir.affine import AffineDimExpr, AffineMap
from xdsl.utils.hints import isa

from kpu_ir.dialects import kernel
from kpu_ir.frontends.linalg.access import (
    Linear,
    Structured,
    Unsupported,
    integer,
    linear,
    name_of,
    static,
)
from kpu_ir.frontends.linalg.scalars import (
    Number,
    Scalars,
    align,
    is_empty,
    reshaped,
    splat,
    spread,
)
from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.python.value import Value
from kpu_ir.support.types import dtype_of

COMBINERS: dict[str, str] = {
    **dict.fromkeys(("arith.addf", "arith.addi"), "add"),
    **dict.fromkeys(("arith.mulf", "arith.muli"), "mul"),
    **dict.fromkeys(("arith.maximumf", "arith.maxnumf", "arith.maxsi"), "max"),
    **dict.fromkeys(("arith.minimumf", "arith.minnumf", "arith.minsi"), "min"),
}
BOOLEAN = {"arith.ori": "max", "arith.andi": "min", "arith.maxui": "max", "arith.minui": "min"}
MAPS: dict[str, tuple[type[Operation], type[Operation]]] = {
    "add": (arith.AddfOp, arith.AddiOp),
    "mul": (arith.MulfOp, arith.MuliOp),
    "max": (arith.MaximumfOp, arith.MaxSIOp),
    "min": (arith.MinimumfOp, arith.MinSIOp),
}
"""How a kind combines two floats, two integers."""

GREATER_F = {"arith.cmpf": {2: 1, 3: 1, 9: 1, 10: 1, 4: -1, 5: -1, 11: -1, 12: -1}}
GREATER = GREATER_F | {"arith.cmpi": {4: 1, 5: 1, 2: -1, 3: -1}}
"""Predicates of comparisons: 1 for greater (or equal), -1 for less (or equal)."""
OR_EQUAL = {"arith.cmpf": {3, 5, 10, 12}, "arith.cmpi": {3, 5}}


def neutral(kind: str, element: Attribute) -> Number:
    """What changes nothing when it is combined."""
    if kind in ("add", "mul"):
        return 0 if kind == "add" else 1
    if isa(element, IntegerType):
        if element.bitwidth == 1:
            return 0 if kind == "max" else 1
        ends = np.iinfo(dtype_of(element))
        return int(ends.min if kind == "max" else ends.max)
    return -inf if kind == "max" else inf


def changes_nothing(kind: str, element: Attribute, value: Number | None) -> bool:
    """Whether a reduction may start from ``value`` as if from nothing."""
    if value is None:
        return False
    if isa(element, IntegerType) and element.bitwidth == 1:
        value = int(value) & 1
    if value == neutral(kind, element):
        return True
    if kind in ("add", "mul") or isa(element, IntegerType):
        return False
    import ml_dtypes

    lowest = float(ml_dtypes.finfo(dtype_of(element)).max) * (-1 if kind == "max" else 1)
    return value == lowest


Kind = Callable[["Recogniser", str, SSAValue, int, Attribute], Value | None]
"""A function that recognises one kind of kernel in a reduction."""


@dataclass
class Recogniser:
    """One structured operation, on its way into ``graph``. ``tensor`` gives tensors from outside,
    ``kinds`` are the kernels that a reduction may be, in the order in which they are tried."""

    graph: Graph
    form: Structured
    tensor: Callable[[SSAValue], Value]
    kinds: Sequence[Kind]

    def __post_init__(self) -> None:
        self.cache: dict[SSAValue, Value] = {}

    # -- operands -----------------------------------------------------------------------------------

    @cached_property
    def arguments(self) -> list[SSAValue]:
        """The body's arguments: of the inputs, then of the inits."""
        return list(self.form.block.args)

    @property
    def loops(self) -> int:
        """How many loops there are."""
        return len(self.form.extents)

    def read(self, argument: SSAValue) -> Value:
        """The operand of an argument of the body, one dimension a loop."""
        if argument not in self.cache:
            at = self.arguments.index(argument)
            source = [*self.form.inputs, *self.form.inits][at]
            if at >= len(self.form.inputs):
                self.defined(source)
            self.cache[argument] = align(
                self.graph, self.tensor(source), self.form.maps[at], self.form.extents
            )
        return self.cache[argument]

    def defined(self, init: SSAValue) -> None:
        """An init whose values are read must have some."""
        if is_empty(init):
            raise Unsupported("reads its output, which is a tensor.empty: fill it first")

    def scalars(self) -> Scalars:
        """The body, nothing of it computed yet."""
        known: dict[SSAValue, Callable[[], Value]] = {}
        for argument in self.arguments:
            known[argument] = lambda argument=argument: self.read(argument)
        for argument, source in zip(self.arguments, self.form.inputs):
            if source.type == argument.type:  # a scalar operand, not a tensor
                scalar = Scalars(self.graph, self.form.extents, {}, self.tensor)
                known[argument] = lambda s=scalar, v=source: s.again().emit(v)
        return Scalars(self.graph, self.form.extents, known, self.tensor)

    def needs(self, value: SSAValue) -> set[SSAValue]:
        """The body's arguments that a value depends on."""
        if value in self.arguments:
            return {value}
        op = value.owner
        if not isinstance(op, Operation) or op.parent is not self.form.block:
            return set()
        return {need for operand in op.operands for need in self.needs(operand)}

    # -- results ------------------------------------------------------------------------------------

    def results(self) -> list[Value | None]:
        """The results; None where nobody reads one that we have no kernel for."""
        last = self.form.block.last_op
        if last is None or name_of(last) not in ("linalg.yield", "tensor.yield"):
            raise Unsupported("has a body that does not end in linalg.yield")
        done: list[Value | None] = []
        for at, (yielded, result) in enumerate(zip(last.operands, self.form.op.results)):
            if not result.uses and len(self.form.op.results) > 1:
                done.append(None)
            else:
                done.append(self.result(at, yielded))
        return done

    def result(self, at: int, yielded: SSAValue) -> Value:
        """One result."""
        out = self.arguments[len(self.form.inputs) + at]
        if not self.form.reduced:
            return self.written(self.scalars().emit(yielded), at)
        if (found := self.searched(at, yielded)) is not None:
            return found
        kind, expression = self.combiner(yielded, out)
        if self.needs(expression) & set(self.arguments[len(self.form.inputs) :]):
            raise Unsupported("reduces something that depends on its own result")
        init, element = self.form.inits[at], out.type
        value = self.reduced(kind, expression, at, element)
        if changes_nothing(kind, element, splat(init)):
            return value
        self.defined(init)
        return self.combined(kind, self.tensor(init), value)

    def reduced(self, kind: str, expression: SSAValue, at: int, element: Attribute) -> Value:
        """The reduction of an expression, without what it starts from."""
        for recognised in self.kinds:
            if (value := recognised(self, kind, expression, at, element)) is not None:
                return value
        whole = spread(self.graph, self.scalars().emit(expression), self.form.extents)
        value = self.graph.reduce(kind, whole, sorted(self.form.reduced))
        return self.written(value, at)

    def written(self, value: Value, at: int) -> Value:
        """A value of the loops (reductions have extent 1) as result ``at`` is laid out."""
        map, reduced = self.form.init_maps[at], self.form.reduced
        extents = [1 if loop in reduced else n for loop, n in enumerate(self.form.extents)]
        value = spread(self.graph, value, extents)
        shape = static(self.form.inits[at]).get_shape()
        loops = [self.placed(linear(e), n) for e, n in zip(map.results, shape)]
        order = [loop for loop in loops if loop is not None]
        if len(set(order)) != len(order) or set(order) | reduced != set(range(self.loops)):
            raise Unsupported(f"writes its result by {map}, for which there is no kernel")
        if order != sorted(order):
            kept = [loop for loop in range(self.loops) if loop not in reduced]
            value = reshaped(self.graph, value, [self.form.extents[loop] for loop in kept])
            value = self.graph.transpose(value, [kept.index(loop) for loop in order])
        return reshaped(self.graph, value, shape)

    def placed(self, axis: Linear | None, extent: int) -> int | None:
        """The loop of a dimension of the result; None if it has the extent 1 and none."""
        if axis is not None and axis.loop is not None:
            return axis.loop
        if axis is not None and not axis.factors and extent == 1:
            return None
        raise Unsupported("writes its result in steps, for which there is no kernel")

    def combined(self, kind: str, start: Value, value: Value) -> Value:
        """What a reduction started from, and what it came to."""
        block = Block(arg_types=[start.ssa.type.element_type] * 2)  # pyright: ignore
        maps = MAPS[kind][0 if dtype_of(start.element_type).kind in "fV" else 1]
        op = maps.create(operands=list(block.args), result_types=[start.element_type])
        block.add_ops([op, kernel.YieldOp(op.results[0])])
        return self.graph.insert(kernel.MapOp([value.ssa, start.ssa], block))

    # -- how results are combined -------------------------------------------------------------------

    def combiner(self, yielded: SSAValue, out: SSAValue) -> tuple[str, SSAValue]:
        """The kind of a reduction, and what is reduced."""
        op = yielded.owner
        if not isinstance(op, Operation) or op.parent is not self.form.block:
            raise Unsupported("has a reduction that yields nothing new")
        name = name_of(op)
        boolean = isa(yielded.type, IntegerType) and yielded.type.bitwidth == 1
        kind = BOOLEAN.get(name) if boolean else COMBINERS.get(name)
        if kind is not None and out in op.operands:
            rest = [v for v in op.operands if v is not out]
            if len(rest) == 1:
                return kind, rest[0]
        if name == "arith.select" and (chosen := self.choice(op, out)) is not None:
            return chosen[0], chosen[1]
        raise Unsupported(
            "has a reduction that is not a sum, product, largest or smallest, but ends in", op
        )

    def choice(self, op: Operation, out: SSAValue) -> tuple[str, SSAValue] | None:
        """``select(a > out, a, out)`` and its kin: max or min, and ``a``."""
        test, yes, no = op.operands
        sign = self.comparison(test, yes, no)
        if sign == 0 or out not in (yes, no):
            return None
        return ("max" if sign > 0 else "min"), (no if yes is out else yes)

    def comparison(self, test: SSAValue, a: SSAValue, b: SSAValue) -> int:
        """1 if ``test`` says that ``a`` is greater than ``b``, -1 if less, 0 if something else."""
        op = test.owner
        if not isinstance(op, Operation) or name_of(op) not in GREATER:
            return 0
        sign = GREATER[name_of(op)].get(integer(op, "predicate"), 0)
        if list(op.operands) == [a, b]:
            return sign
        return -sign if list(op.operands) == [b, a] else 0

    def searched(self, at: int, yielded: SSAValue) -> Value | None:
        """``select(x > largest, index, where)``: where the largest (smallest) stands."""
        form, op = self.form, yielded.owner
        inits = self.arguments[len(form.inputs) :]
        if not isinstance(op, Operation) or name_of(op) != "arith.select" or len(inits) != 2:
            return None
        test, where, kept = op.operands
        other = inits[1 - at]
        compared = test.owner
        if kept is not inits[at] or not isinstance(compared, Operation) or len(form.reduced) != 1:
            return None
        if name_of(compared) not in GREATER or other not in compared.operands:
            return None
        (loop,) = form.reduced
        x = next(v for v in compared.operands if v is not other)
        sign = self.comparison(test, x, other)
        index = where.owner
        while isinstance(index, Operation) and name_of(index).startswith("arith.index_cast"):
            index = index.operands[0].owner
        told = isinstance(index, Operation) and name_of(index) == "linalg.index"
        if not sign or not told or integer(index, "dim") != loop:  # pyright: ignore[reportArgumentType]
            return None
        kind = "max" if sign > 0 else "min"
        if not changes_nothing(kind, other.type, splat(form.inits[1 - at])):
            raise Unsupported("searches for the place of an extreme from a start of its own")
        last = integer(compared, "predicate") in OR_EQUAL[name_of(compared)]
        extents = [n for n in form.extents]
        source = spread(self.graph, self.scalars().emit(x), extents)
        value = self.graph.arg_reduce(kind, source, loop, last)
        element = static(form.inits[at]).element_type
        if element != i64:
            value = self.graph.cast(value, element)
        return self.written(value, at)

    # -- for products and windows -------------------------------------------------------------------

    def factors(self, expression: SSAValue) -> tuple[int, int] | None:
        """The two inputs whose product an expression is, widened perhaps."""
        op = expression.owner
        if not isinstance(op, Operation) or name_of(op) not in ("arith.mulf", "arith.muli"):
            return None
        inputs = [self.input_of(v) for v in op.operands]
        a, b = inputs
        return None if a is None or b is None or a == b else (a, b)

    def input_of(self, value: SSAValue) -> int | None:
        """The number of the input that a scalar is, widened perhaps."""
        op = value.owner
        while isinstance(op, Operation) and name_of(op) in ("arith.extf", "arith.extsi"):
            value = op.operands[0]
            op = value.owner
        inputs = self.arguments[: len(self.form.inputs)]
        return inputs.index(value) if value in inputs else None

    def plain(self, map: AffineMap) -> list[int] | None:
        """The loops of an operand that is read by distinct loops."""
        loops = [e.position for e in map.results if isinstance(e, AffineDimExpr)]
        return loops if len(loops) == len(map.results) == len(set(loops)) else None

    def ordered(self, value: Value, loops: Sequence[int], groups: Sequence[Sequence[int]]) -> Value:
        """A tensor of ``loops`` with its dimensions in the order of ``groups``, each one dimension."""
        at = {loop: axis for axis, loop in enumerate(loops)}
        shape = [prod(value.shape[at[loop]] for loop in group) for group in groups]
        order = [at[loop] for group in groups for loop in group]
        if order != list(range(len(order))):
            value = self.graph.transpose(value, order)
        return reshaped(self.graph, value, shape)

    def unfolded(self, value: Value, groups: Sequence[Sequence[int]], at: int) -> Value:
        """A result whose dimensions are ``groups`` of loops, as result ``at`` is laid out."""
        flat = [loop for group in groups for loop in group]
        value = reshaped(self.graph, value, [self.form.extents[loop] for loop in flat])
        out = [e.position for e in self.form.init_maps[at].results if isinstance(e, AffineDimExpr)]
        order = [flat.index(loop) for loop in out]
        if order != list(range(len(order))):
            value = self.graph.transpose(value, order)
        return reshaped(self.graph, value, static(self.form.inits[at]).get_shape())
