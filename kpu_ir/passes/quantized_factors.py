"""The dequantized operands of a product as stored numbers and their parameters, and the operations that are
written in place of others, for ``kernel-quantize``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from xdsl.dialects.builtin import AnyFloat, IntegerType, f32
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.rewriter import Rewriter
from xdsl.utils.hints import isa

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.passes.kernel_convolution import known
from kpu_ir.scalar.tracing import trace
from kpu_ir.support.types import Array, dense_of


@dataclass
class Written:
    """Operations that take a product's place, in order."""

    anchor: Operation
    made: list[Operation] = field(default_factory=list[Operation])

    def add(self, op: Any) -> SSAValue:
        """One more; its result."""
        op.location = self.anchor.location
        self.made.append(op)
        return op.results[0]

    def constant(self, array: Array) -> SSAValue:
        """A tensor that is known."""
        return self.add(kernel.ConstantOp(dense_of(np.ascontiguousarray(array))))

    def map(self, formula: Callable[..., Any], *values: SSAValue, kind: Any = None) -> SSAValue:
        """``formula`` of each element."""
        body, element = trace(formula, [tensor_type(v).element_type for v in values])
        return self.add(kernel.MapOp(values, body, kind or element))

    def replace(self, swallowed: Sequence[Operation], result: SSAValue) -> None:
        """Put them where the last of the old operations stands."""
        final, name = swallowed[-1], swallowed[-1].results[0].name_hint
        Rewriter.replace_op(final, self.made, [result])
        for one in self.made:  # xDSL calls all of them what only the last one is
            one.results[0].name_hint = name if one.results[0] is result else None
        for one in reversed(swallowed[:-1]):
            one.detach()
            one.erase()


@dataclass(frozen=True)
class Factor:
    """An operand: stored numbers, and its parameters in the shape in which the product has them."""

    op: kernel.DequantizeOp
    scale: tuple[int, ...]
    zero: tuple[int, ...]

    @property
    def stored(self) -> SSAValue:
        """The integers, or floats of 8 bits."""
        return self.op.source

    @property
    def shifted(self) -> bool:
        """Whether its zero point is another than 0 somewhere, as far as is known."""
        if self.op.zero is None:
            return False
        found = known(self.op.zero)
        return found is None or bool(found.any())


def dequantized(
    value: SSAValue, real: Attribute = f32, floats: bool = False
) -> kernel.DequantizeOp | None:
    """What makes real numbers of integers that the array multiplies, or of ``floats`` of 8 bits."""
    op = value.owner
    if not isinstance(op, kernel.DequantizeOp) or op.result.type.element_type != real:
        return None
    kind = tensor_type(op.source).element_type
    if floats:
        return op if isa(kind, AnyFloat) and kind.bitwidth == 8 else None
    return op if isa(kind, IntegerType) and 1 < kind.bitwidth <= 8 else None


def full(value: SSAValue, rank: int) -> tuple[int, ...]:
    """A parameter's extents, with as many dimensions as its tensor."""
    shape = tensor_type(value).get_shape()
    return (1,) * (rank - len(shape)) + tuple(shape)


def factor(
    value: SSAValue,
    along: int,
    free: int,
    place: int,
    rank: int,
    real: Attribute = f32,
    floats: bool = False,
) -> Factor | None:
    """An operand of a product of ``rank`` dimensions, whose dimension ``free`` is the product's
    ``place``; None where its scale changes along ``along``, or with the batch."""
    op = dequantized(value, real, floats)
    if op is None:
        return None
    own = len(tensor_type(value).get_shape())
    shapes: list[tuple[int, ...]] = []
    for parameter in (op.scale, op.zero):
        shape = (1,) * own if parameter is None else full(parameter, own)
        extent = tensor_type(value).get_shape()[free]
        if prod(shape) != shape[free] or shape[free] not in (1, extent) or along == free:
            return None
        shapes.append(tuple(shape[free] if a == place % rank else 1 for a in range(rank)))
    return Factor(op, *shapes)
