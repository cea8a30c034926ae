"""Operations of ``tensor``, and of linalg where they only move or fill: each as kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Protocol

import numpy as np
from xdsl.dialects.builtin import (
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    TensorType,
)
from xdsl.ir import Operation, SSAValue
from xdsl.utils.hints import isa

from kpu_ir.dialects import kernel
from kpu_ir.frontends.linalg.access import Unsupported, integer, integers, name_of, segments, static
from kpu_ir.frontends.linalg.scalars import Number, Scalars, is_empty, number, reshaped, splat
from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.python.value import Value
from kpu_ir.support.types import dense_of, dtype_of

DYNAMIC = -(2**63)
"""What stands for a number that is an operand."""


class Surroundings(Protocol):
    """What is known while a function is converted."""

    graph: Graph

    def tensor(self, value: SSAValue) -> Value:
        """The value of a tensor of the function."""
        ...


Handler = Callable[[Surroundings, Operation], Value]
HANDLERS: dict[str, Handler] = {}
"""By the operation's name: writes the kernels for an operation with one result."""


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Put a function into ``HANDLERS``."""

    def put(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return put


def shape_of(op: Operation) -> tuple[int, ...]:
    """The shape of the result."""
    return static(op.results[0]).get_shape()


def numbers_of(op: Operation, name: str, dynamic: Sequence[SSAValue]) -> list[int]:
    """``static_name``, with operands that are constants in the places of dynamic ones."""
    found = integers(op, f"static_{name}")
    if found is None:
        raise Unsupported(f"has no 'static_{name}'")
    rest = iter(dynamic)
    known: list[int] = []
    for n in found:
        value = number(next(rest)) if n == DYNAMIC else n
        if not isinstance(value, int):
            raise Unsupported(f"has {name} that are not known; only static ones are supported")
        known.append(value)
    return known


def full(at: Surroundings, kind: TensorType, value: Number) -> Value:
    """A tensor of one number."""
    array = np.full(kind.get_shape(), value).astype(dtype_of(kind.element_type))
    return at.graph.insert(kernel.ConstantOp(dense_of(array)))


@handles("tensor.empty")
def empty(at: Surroundings, op: Operation) -> Value:
    """Nothing reads what is in it; zeros stand for it where a kernel wants a tensor."""
    return full(at, static(op.results[0]), 0)


@handles("arith.constant")
def constant(at: Surroundings, op: Operation) -> Value:
    """Known values, in the text or in a resource behind it."""
    value = op.properties["value"]
    if isinstance(value, DenseResourceAttr):
        value = resource(value)
    if not isa(value, DenseIntOrFPElementsAttr | DenseResourceAttr):
        raise Unsupported(f"has values in a form that is not supported: {value}")
    return at.graph.insert(kernel.ConstantOp(value))


def resource(value: DenseResourceAttr) -> DenseIntOrFPElementsAttr | DenseResourceAttr:
    """A constant whose values stand at the end of the file; itself if they were elided."""
    from xdsl.dialect_interfaces.op_asm import OpAsmDialectInterface
    from xdsl.dialects.builtin import Builtin

    from kpu_ir.text.printing import ELIDED

    key = value.resource_handle.data
    if key == ELIDED:
        return value
    interface = Builtin.get_interface(OpAsmDialectInterface)
    blob = interface.lookup(key) if interface is not None else None
    kind = static(value.type)
    size = prod(kind.get_shape()) * dtype_of(kind.element_type).itemsize
    data = bytes.fromhex((blob or "").removeprefix("0x"))[4:]  # after the alignment, 4 bytes
    if len(data) != size:
        raise Unsupported(f"has a resource '{key}' of {len(data)} bytes, expected {size}")
    array = np.frombuffer(data, dtype_of(kind.element_type)).reshape(kind.get_shape())
    return dense_of(array)


@handles("linalg.fill", "tensor.splat", "tensor.from_elements")
def fill(at: Surroundings, op: Operation) -> Value:
    """A tensor of one scalar, or of several."""
    kind = static(op.results[0])
    if name_of(op) == "tensor.from_elements":
        elements = list(op.operands)
        known = [number(v) for v in elements]
        if None not in known:
            array = np.array(known).astype(dtype_of(kind.element_type)).reshape(kind.get_shape())
            return at.graph.insert(kernel.ConstantOp(dense_of(array)))
        parts = [scalar(at, v, 1) for v in elements]
        joined = parts[0] if len(parts) == 1 else at.graph.concat(parts, 0)
        return at.graph.reshape(joined, kind.get_shape())
    known = splat(op.results[0])
    if known is not None:
        return full(at, kind, known)
    shape = kind.get_shape()
    return at.graph.broadcast(scalar(at, op.operands[0], len(shape)), shape)


def scalar(at: Surroundings, value: SSAValue, rank: int) -> Value:
    """A scalar of the function as a tensor of one element."""
    return Scalars(at.graph, [1] * rank, {}, at.tensor).emit(value)


@handles("tensor.expand_shape", "tensor.collapse_shape", "tensor.reshape", "tensor.cast")
def reshape(at: Surroundings, op: Operation) -> Value:
    """The same elements."""
    source = at.tensor(op.operands[0])
    if name_of(op) == "tensor.cast":  # what a type knows of a shape; the shape itself is known here
        return source
    shape = shape_of(op)
    return reshaped(at.graph, source, shape)


@handles("hal.tensor.import", "hal.tensor.export", "hal.tensor.barrier", "hal.tensor.alias",
         "util.optimization_barrier", "linalg.copy")  # fmt: skip
def same(at: Surroundings, op: Operation) -> Value:
    """What only matters to a runtime."""
    source, wanted = at.tensor(op.operands[0]), op.results[0].type
    if isinstance(wanted, TensorType) and source.ssa.type != wanted:
        raise Unsupported(f"converts {source.ssa.type} to {wanted}")
    return source


@handles("tensor.concat")
def concat(at: Surroundings, op: Operation) -> Value:
    """One behind the other."""
    return at.graph.concat([at.tensor(v) for v in op.operands], integer(op, "dim"))


@handles("tensor.pad")
def pad(at: Surroundings, op: Operation) -> Value:
    """A constant around a tensor."""
    source, low, high = segments(op, 3)
    before, after = numbers_of(op, "low", low), numbers_of(op, "high", high)
    last = op.regions[0].block.last_op
    value = number(last.operands[0]) if last is not None and last.operands else None
    if value is None:
        raise Unsupported("pads with a value that is not a constant")
    tensor = at.tensor(source[0])
    if any(n < 0 for n in (*before, *after)):
        keep = [max(0, -n) for n in before]
        shape = [n - a - max(0, -b) for n, a, b in zip(tensor.shape, keep, after)]
        tensor = at.graph.slice(tensor, keep, [1] * len(keep), shape)
        before, after = [max(0, n) for n in before], [max(0, n) for n in after]
    if not any((*before, *after)):
        return tensor
    return at.graph.pad(tensor, before, after, float(value))


def block_of(
    op: Operation, parts: Sequence[Sequence[SSAValue]], rank: int
) -> tuple[list[int], list[int], list[int]]:
    """Offsets, sizes and strides; ``parts`` are the operands that stand for dynamic ones."""
    given = zip(("offsets", "sizes", "strides"), parts)
    starts, shape, steps = (numbers_of(op, name, dynamic) for name, dynamic in given)
    if not len(starts) == len(shape) == len(steps) == rank:
        raise Unsupported(f"expected an offset, a size and a stride for each of {rank} dimensions")
    return starts, shape, steps


@handles("tensor.extract_slice")
def extract_slice(at: Surroundings, op: Operation) -> Value:
    """A block, perhaps without its dimensions of 1."""
    (source,), *parts = segments(op, 4)
    tensor = at.tensor(source)
    starts, shape, steps = block_of(op, parts, len(tensor.shape))
    if tuple(shape) != tensor.shape or any(starts):
        tensor = at.graph.slice(tensor, starts, steps, shape)
    return reshaped(at.graph, tensor, shape_of(op))


@handles("tensor.insert_slice")
def insert_slice(at: Surroundings, op: Operation) -> Value:
    """A block in the place of another.

    Pieces that follow each other along a dimension, and leave nothing of what they are put into,
    are a concatenation.
    """
    piece, starts, steps = inserted(at, op)
    shape = shape_of(op)
    if piece.shape == shape:
        return piece
    if (joined := chain(at, op)) is not None:
        return joined
    base = splat(op.operands[1])
    base = 0 if base is None and is_empty(op.operands[1]) else base
    if base is not None:
        ends = [a + (n - 1) * s + 1 for a, n, s in zip(starts, piece.shape, steps)]
        if any(s != 1 for s in steps):
            piece = spaced(at, piece, steps, float(base))
        return at.graph.pad(piece, starts, [n - e for n, e in zip(shape, ends)], float(base))
    if any(s != 1 for s in steps):
        raise Unsupported("inserts in steps into a tensor that is not one value everywhere")
    return put(at, at.tensor(op.operands[1]), piece, starts, 0)


def inserted(at: Surroundings, op: Operation) -> tuple[Value, list[int], list[int]]:
    """The piece in the rank of where it goes, its offsets and strides."""
    (source,), _, *parts = segments(op, 5)
    starts, shape, steps = block_of(op, parts, len(shape_of(op)))
    return reshaped(at.graph, at.tensor(source), shape), starts, steps


def spaced(at: Surroundings, piece: Value, steps: Sequence[int], value: float) -> Value:
    """``steps - 1`` values between the elements of each dimension."""
    for axis, step in enumerate(steps):
        n = piece.shape[axis]
        if step == 1 or n == 1:
            continue
        before, after = piece.shape[:axis], piece.shape[axis + 1 :]
        wide = at.graph.reshape(piece, (*before, n, 1, *after))
        rank = len(wide.shape)
        high = [step - 1 if i == axis + 1 else 0 for i in range(rank)]
        wide = at.graph.pad(wide, [0] * rank, high, value)
        flat = at.graph.reshape(wide, (*before, n * step, *after))
        shape = (*before, (n - 1) * step + 1, *after)
        piece = at.graph.slice(flat, [0] * len(shape), [1] * len(shape), shape)
    return piece


def put(at: Surroundings, into: Value, piece: Value, starts: Sequence[int], axis: int) -> Value:
    """``piece`` at ``starts`` of ``into``, which has its shape before ``axis``."""
    if into.shape == piece.shape:
        return piece
    start, size, extent = starts[axis], piece.shape[axis], into.shape[axis]

    def part(first: int, count: int) -> Value:
        if count == extent:
            return into
        where = [first if i == axis else 0 for i in range(len(into.shape))]
        shape = [count if i == axis else n for i, n in enumerate(into.shape)]
        return at.graph.slice(into, where, [1] * len(shape), shape)

    middle = put(at, part(start, size), piece, starts, axis + 1)
    parts = [part(0, start)] if start else []
    parts.append(middle)
    if start + size < extent:
        parts.append(part(start + size, extent - start - size))
    return parts[0] if len(parts) == 1 else at.graph.concat(parts, axis)


def chain(at: Surroundings, op: Operation) -> Value | None:
    """The concatenation that a chain of insertions is, if it is one."""
    pieces: list[tuple[Value, list[int]]] = []
    shape = shape_of(op)
    while True:
        piece, starts, steps = inserted(at, op)
        if any(s != 1 for s in steps):
            return None
        pieces.append((piece, starts))
        into = op.operands[1].owner
        if not isinstance(into, Operation) or name_of(into) != "tensor.insert_slice":
            break
        op = into
    for axis in range(len(shape)):
        order = sorted(pieces, key=lambda p: p[1][axis])
        ends = [0, *(s[axis] + p.shape[axis] for p, s in order)]
        whole = all(
            s[axis] == end
            and (*p.shape[:axis], *p.shape[axis + 1 :]) == (*shape[:axis], *shape[axis + 1 :])
            for (p, s), end in zip(order, ends)
        )
        if whole and ends[-1] == shape[axis]:
            values = [p for p, _ in order]
            return values[0] if len(values) == 1 else at.graph.concat(values, axis)
    return None
