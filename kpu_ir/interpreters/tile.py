"""What a ``tile`` module computes, in program order: the meaning that the ``dma`` program must
keep.

Tiles are clipped at the edges of their tensors; there are no slots, no engines, no capacities. It
shares no code with the simulator, so that the two models check each other.

A value of memref type is a NumPy array, which kernels write into. A value of tile type is a
``Room``: an array that operations replace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.interpreter import Interpreter, PythonValues, impl, register_impls
from xdsl.interpreters.arith import ArithFunctions
from xdsl.interpreters.func import FuncFunctions
from xdsl.ir import Block, Operation, Region, SSAValue

from kpu_ir.dialects import tile
from kpu_ir.interpreters.arguments import Inputs, arguments_of
from kpu_ir.interpreters.base import COMBINE, ArrayFunctions, call, function_named, taken, wide
from kpu_ir.scalar.body import compile_body
from kpu_ir.scalar.rows import row_function
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import (
    Array,
    accumulator_dtype,
    accumulator_type,
    array_of,
    dtype_of,
    fill_of,
    stored,
)
from kpu_ir.text.places import place_of

_PlanT = TypeVar("_PlanT")


@dataclass(slots=True)
class Room:
    """A tile on chip; None where nothing was written, or all of the block hangs over."""

    array: Array | None = None

    @property
    def full(self) -> Array:
        """What stands there."""
        if self.array is None:
            raise KpuError("an empty tile is used")
        return self.array


class Trips:
    """The loops that an operation names, with the first and the last value of each."""

    def __init__(self, loops: Sequence[SSAValue]) -> None:
        """Raises ``KpuError`` for a value that counts no loop."""
        self.loops = tuple(loops)
        bounds = [_bounds(v) for v in loops]
        self.begin, self.end = tuple(b[0] for b in bounds), tuple(b[-1] for b in bounds)

    def first(self, interpreter: Interpreter) -> bool:
        """Whether this is the first trip of all of them."""
        return interpreter.get_values(self.loops) == self.begin

    def last(self, interpreter: Interpreter) -> bool:
        """Whether this is the last trip of all of them."""
        return interpreter.get_values(self.loops) == self.end


def _bounds(value: SSAValue) -> range:
    loop = value.owner.parent_op() if isinstance(value.owner, Block) else None
    if not isinstance(loop, tile.ForOp):
        raise KpuError(f"{value} does not count the trips of a tile.for")
    return loop.bounds


class Blocks:
    """Where the blocks of a tensor begin."""

    def __init__(self, indices: Sequence[int | SSAValue]) -> None:
        """``indices``: one for each dimension."""
        self.at = [i if isinstance(i, int) else 0 for i in indices]
        self.dynamic = [(d, i) for d, i in enumerate(indices) if not isinstance(i, int)]

    def of(self, interpreter: Interpreter, source: Array, sizes: Sequence[int]) -> Array:
        """A view of the block of this trip, clipped at the end of its tensor."""
        at = self.at.copy()
        values = interpreter.get_values(v for _, v in self.dynamic)
        for (dimension, _), value in zip(self.dynamic, values):
            at[dimension] = value
        if min(at, default=0) < 0:
            raise KpuError(f"a block begins before its tensor: {at}")
        return source[tuple(slice(a, a + n) for a, n in zip(at, sizes))]


class Load:
    """What the attributes of a ``tile.load`` say."""

    def __init__(self, op: tile.LoadOp) -> None:
        """Read them."""
        shape, rank = op.result.type.get_shape(), len(tile.integers(op.static_offsets))
        self.order = tile.permutation_of(op.permuted, len(shape))
        self.sizes = tile.unpermuted(shape, self.order)
        self.block, self.by = Blocks(op.indices), op.by
        self.after = None if op.after is None else Trips((op.after,))
        self.fill = op.fill.value.data if op.fill else 0.0
        padded = op.low or op.high
        low, high = tile.padding_of(op.low, rank), tile.padding_of(op.high, rank)
        self.padding = list(zip(low, high)) if padded else None


class Matmul:
    """What the attributes of a ``tile.matmul`` say."""

    def __init__(self, op: tile.MatmulOp) -> None:
        """Read them."""
        self.kind, self.sums = _element(op.into), op.sums
        self.exact = _finished(op.into if op.sums is None else op.sums, op.epilogue)
        self.window = op.window.plain if op.window is not None else None
        self.over, self.extra, self.each = Trips(op.over), tuple(op.extra), bool(op.each)
        self.epilogue = op.epilogue.block if op.epilogue is not None else None


class Store:
    """What the attributes of a ``tile.store`` say."""

    def __init__(self, op: tile.StoreOp) -> None:
        """Read them."""
        self.order = tile.permutation_of(op.permuted, len(_tile(op.source).get_shape()))
        self.block, self.over = Blocks(op.indices), Trips(op.over)


@register_impls
@dataclass
class TileFunctions(ArrayFunctions):
    """One method an operation, in the order of the dialect."""

    reused: dict[tuple[object, ...], Room] = field(default_factory=dict[tuple[object, ...], Room])
    """Rooms that are reused across loops, by their allocation and the trips of the other loops."""
    bodies: dict[Block, Any] = field(default_factory=dict[Block, Any])
    plans: dict[Operation, Any] = field(default_factory=dict[Operation, Any])

    @impl(tile.ForOp)
    def for_(self, interpreter: Interpreter, op: tile.ForOp, args: PythonValues) -> PythonValues:
        """One trip after the other."""
        for i in op.bounds:
            interpreter.run_ssacfg_region(op.body, (i,), "tile.for")
        return ()

    @impl(tile.BufferOp)
    def buffer(
        self, interpreter: Interpreter, op: tile.BufferOp, args: PythonValues
    ) -> PythonValues:
        """Junk: what is never written must not look like a result."""
        kind = dtype_of(op.result.type.element_type)
        junk = np.nan if kind.kind == "f" else 77 if kind.kind in "iu" else 0
        return (np.full(tuple(op.result.type.get_shape()), junk, kind),)

    @impl(tile.ConstantOp)
    def constant(
        self, interpreter: Interpreter, op: tile.ConstantOp, args: PythonValues
    ) -> PythonValues:
        """Its values."""
        return (array_of(op.value).reshape(tuple(op.result.type.get_shape())),)

    @impl(tile.ViewOp)
    def view(self, interpreter: Interpreter, op: tile.ViewOp, args: PythonValues) -> PythonValues:
        """The same bytes."""
        return (args[0].reshape(tuple(op.result.type.get_shape())),)

    @impl(tile.LoadOp)
    def load(self, interpreter: Interpreter, op: tile.LoadOp, args: PythonValues) -> PythonValues:
        """A copy of the block, of a tensor or of a larger tile."""
        plan = self.once(op, Load)
        source = args[0].array if isinstance(args[0], Room) else args[0]
        if source is None or (plan.after and plan.after.first(interpreter)):
            return (Room(),)
        if plan.by is not None:
            (rows,) = interpreter.get_values((plan.by,))
            source = taken(op, source, rows, 1)
        if plan.padding:
            fill = fill_of(plan.fill, source.dtype)
            source = np.pad(source, plan.padding, constant_values=fill)
        block = plan.block.of(interpreter, source, plan.sizes)
        return (Room(block.transpose(plan.order).copy() if block.size else None),)

    @impl(tile.AllocOp)
    def alloc(self, interpreter: Interpreter, op: tile.AllocOp, args: PythonValues) -> PythonValues:
        """Fresh room, or that of the first trip of the loops that it is reused across."""
        if not args:
            return (Room(),)
        others: list[SSAValue] = []
        parent = op.parent_op()
        while isinstance(parent, tile.ForOp):
            if parent.induction_var not in op.reused:
                others.append(parent.induction_var)
            parent = parent.parent_op()
        where = (op, *interpreter.get_values(others))
        if Trips(op.reused).first(interpreter):
            self.reused[where] = Room()
        return (self.reused[where],)

    @impl(tile.MatmulOp)
    def matmul(
        self, interpreter: Interpreter, op: tile.MatmulOp, args: PythonValues
    ) -> PythonValues:
        """A product, or the products under a window, added up over loops."""
        plan = self.once(op, Matmul)
        lhs, rhs, into = args[:3]
        if lhs.array is None or rhs.array is None:
            return ()
        a, b = lhs.array.astype(plan.exact), rhs.array.astype(plan.exact)
        total = np.matmul(a, b) if plan.window is None else _convolution(a, b, plan.window)
        if plan.each:
            assert plan.epilogue is not None
            total = self.body(plan.epilogue)(total, *_full(interpreter, plan.extra))
            before = np.zeros_like(total) if plan.over.first(interpreter) else into.full
            into.array = stored(np.asarray(before + total), plan.kind)
            return ()
        if not plan.over.first(interpreter):
            sums = into if plan.sums is None else _room(interpreter, plan.sums)
            total = sums.full + total
        if plan.sums is not None and not plan.over.last(interpreter):
            _room(interpreter, plan.sums).array = np.array(total, plan.exact)
            return ()
        if plan.epilogue is not None and plan.over.last(interpreter):
            total = self.body(plan.epilogue)(total, *_full(interpreter, plan.extra))
        into.array = stored(np.asarray(total), plan.kind)
        return ()

    @impl(tile.MapOp)
    def map(self, interpreter: Interpreter, op: tile.MapOp, args: PythonValues) -> PythonValues:
        """The body; where every operand is one element wide, as often as the result is."""
        rooms = [_room(interpreter, v) for v in op.inputs]
        arrays = [room.array for room in rooms if room.array is not None]
        if len(arrays) < len(rooms):
            return ()
        result = stored(np.asarray(self.body(op.body.block)(*arrays)), _element(op.into))
        shapes = [_tile(v).get_shape() for v in op.inputs]
        repeated = [
            n if all(shape[axis] == 1 for shape in shapes) else got
            for axis, (n, got) in enumerate(zip(_tile(op.into).get_shape(), result.shape))
        ]
        _room(interpreter, op.into).array = np.broadcast_to(result, repeated).copy()
        return ()

    @impl(tile.ReduceOp)
    def reduce(
        self, interpreter: Interpreter, op: tile.ReduceOp, args: PythonValues
    ) -> PythonValues:
        """NumPy's ufunc.reduce, combined over loops."""
        source, into = (_room(interpreter, v) for v in (op.source, op.into))
        if source.array is None:
            return ()
        combine = COMBINE[str(op.reduction.data.value)]
        x = wide(source.array)
        x = x.astype(accumulator_dtype(_element(op.into)), copy=False)
        part = combine.reduce(x, axis=tile.integers(op.axes), keepdims=True, dtype=x.dtype)
        if not Trips(op.over).first(interpreter):
            part = combine(into.full, part)
        into.array = np.array(part, _element(op.into))
        return ()

    @impl(tile.RowOp)
    def row(self, interpreter: Interpreter, op: tile.RowOp, args: PythonValues) -> PythonValues:
        """A function of whole rows."""
        values = [v for v in (op.source, op.by) if v is not None]
        rooms = [_room(interpreter, v) for v in values]
        if any(room.array is None for room in rooms):
            return ()
        axis, into = op.axis.value.data, _room(interpreter, op.into)
        into.array = row_function(
            str(op.function.data.value),
            [room.full for room in rooms],
            axis,
            _tile(op.into).get_shape()[axis],
            bool(op.backward),
            bool(op.exclusive),
        )
        return ()

    @impl(tile.WindowOp)
    def window(
        self, interpreter: Interpreter, op: tile.WindowOp, args: PythonValues
    ) -> PythonValues:
        """The taps of the window, weighted if there are weights, combined."""
        source = _room(interpreter, op.source).array
        if source is None:
            return ()
        exact = _finished(op.into, op.epilogue)
        taps = taps_of(source.astype(exact), op.window.plain)
        if op.weights is not None:
            weights = _room(interpreter, op.weights).full.astype(exact)
            weights = weights.reshape(weights.shape[-3:])
            taps = {(i, j): tap * weights[:, i, j, None, None] for (i, j), tap in taps.items()}
        combine = COMBINE[str(op.reduction.data.value)]
        total = combine.reduce(np.stack(list(taps.values())), axis=0, dtype=exact)
        total = total.reshape(*source.shape[:-3], *total.shape)
        if op.epilogue is not None:
            total = self.body(op.epilogue.block)(total, *_full(interpreter, op.extra))
        _room(interpreter, op.into).array = stored(np.asarray(total), _element(op.into))
        return ()

    @impl(tile.StoreOp)
    def store(self, interpreter: Interpreter, op: tile.StoreOp, args: PythonValues) -> PythonValues:
        """Into a block of a tensor, or all of a tile in L3."""
        plan = self.once(op, Store)
        source, target = args[0].array, args[1]
        if source is None:
            return ()
        if isinstance(target, Room):
            target.array = source.copy()
        elif plan.over.last(interpreter):
            source = source.transpose(plan.order)
            block = plan.block.of(interpreter, target, source.shape)
            if block.shape != source.shape:
                raise KpuError("a tile hangs over the end of its tensor", place_of(op))
            block[...] = source
        return ()

    def once(self, op: Operation, plan: Callable[[Any], _PlanT]) -> _PlanT:
        """What an operation's attributes say, read the first time."""
        if op not in self.plans:
            self.plans[op] = plan(op)
        return self.plans[op]

    def body(self, block: Block) -> Callable[..., Array]:
        """A scalar body, compiled the first time."""
        if block not in self.bodies:
            self.bodies[block] = compile_body(block)
        return self.bodies[block]


def _tile(value: SSAValue) -> tile.TileType:
    return SSAValue.get(value, type=tile.TileType).type


def _element(value: SSAValue) -> np.dtype[Any]:
    return dtype_of(_tile(value).element_type)


def _finished(into: SSAValue, epilogue: Region | None) -> np.dtype[Any]:
    """What sums are added up in: as an epilogue takes them, or as they stand in a tile."""
    if epilogue is not None:
        return dtype_of(epilogue.block.args[0].type)
    return dtype_of(accumulator_type(_tile(into).element_type))


def _room(interpreter: Interpreter, value: SSAValue) -> Room:
    (room,) = interpreter.get_values((value,))
    return room


def _full(interpreter: Interpreter, values: Sequence[SSAValue]) -> list[Array]:
    return [room.full for room in interpreter.get_values(values)]


def _convolution(weights: Array, image: Array, window: tile.Window) -> Array:
    """Weights times what each position of the window sees, tap by tap."""
    weights = weights.reshape(*weights.shape[-4:])
    total = sum(
        np.einsum("oc,chw->ohw", weights[:, :, i, j], tap)
        for (i, j), tap in taps_of(image, window).items()
    )
    return np.asarray(total).reshape(*image.shape[:-3], *np.asarray(total).shape)


def taps_of(x: Array, window: tile.Window) -> dict[tuple[int, int], Array]:
    """For each tap of a window, what it sees at each position: ``c x oh x ow``."""
    x = x.reshape(x.shape[-3:])
    (kh, kw), (sh, sw), (dh, dw) = window.kernel, window.strides, window.dilations
    oh, ow = window.positions(x.shape[-2:])
    return {
        (i, j): x[
            :, i * dh : i * dh + (oh - 1) * sh + 1 : sh, j * dw : j * dw + (ow - 1) * sw + 1 : sw
        ]
        for i in range(kh)
        for j in range(kw)
    }


def register(interpreter: Interpreter) -> None:
    """Let an interpreter run the operations of ``tile``."""
    interpreter.register_implementations(TileFunctions())


def interpreter_of(module: ModuleOp) -> Interpreter:
    """An interpreter of ``tile`` modules, and of nothing else."""
    interpreter = Interpreter(module)
    interpreter.register_implementations(FuncFunctions())
    interpreter.register_implementations(ArithFunctions())
    register(interpreter)
    return interpreter


def evaluate_tile(module: ModuleOp, inputs: Inputs) -> list[Array]:
    """Results of ``@main`` for inputs by name or by position. Raises ``KpuError`` for what is not a
    ``tile`` module."""
    main = function_named(module, "main")
    return call(interpreter_of(module), main, arguments_of(main, inputs))
