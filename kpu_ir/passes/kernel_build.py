"""What passes write kernels with."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from math import prod

from xdsl.dialects.builtin import BytesAttr, DenseIntOrFPElementsAttr, IntegerType, TensorType
from xdsl.ir import Operation, SSAValue
from xdsl.rewriter import Rewriter

from kpu_ir.dialects import kernel


def put(op: Operation, made: Sequence[Operation], results: Sequence[SSAValue]) -> None:
    """Put kernels in the place of ``op``, at its location."""
    for one in made:
        for inner in one.walk():
            inner.location = op.location
    nameless = [r for one in made for r in one.results if r.name_hint is None]
    Rewriter.replace_op(op, made, results)
    for value in nameless:  # xDSL calls all of them what only the results are
        if value not in results:
            value.name_hint = None


def counting(kind: IntegerType, shape: Sequence[int], start: int = 0) -> kernel.ConstantOp:
    """Numbers from ``start`` on, in a shape of as many elements."""
    count, letter = prod(shape), {32: "i", 64: "q"}[kind.bitwidth]
    data = BytesAttr(struct.pack(f"<{count}{letter}", *range(start, start + count)))
    return kernel.ConstantOp(DenseIntOrFPElementsAttr(TensorType(kind, shape), data))
