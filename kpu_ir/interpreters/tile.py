"""What a ``tile`` module computes, in program order: the meaning that the ``dma`` program must
keep.

Tiles are NumPy arrays clipped at the edges of their tensors; there are no slots, no engines, no
capacities. It shares no code with the simulator, so that the two readings check each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr, ModuleOp
from xdsl.dialects.func import CallOp, FuncOp, ReturnOp
from xdsl.ir import Block, Operation, SSAValue

from kpu_ir.dialects import tile
from kpu_ir.scalar.body import compile_body
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import array_of, dtype_of, fill_of
from kpu_ir.text.places import place_of

Array = np.ndarray[Any, np.dtype[Any]]


class _Evaluation:
    def __init__(self, module: ModuleOp) -> None:
        self.funcs = {f.sym_name.data: f for f in module.ops if isinstance(f, FuncOp)}
        self.arrays: dict[SSAValue, Array | None] = {}
        self.index: dict[SSAValue, int] = {}
        self.edge: dict[SSAValue, tuple[bool, bool]] = {}
        self.bodies: dict[Block, Any] = {}
        self.reused: dict[tuple[object, ...], Array | None] = {}
        self.cells: dict[SSAValue, tuple[object, ...]] = {}

    def function(self, name: str, arguments: Sequence[Array]) -> list[Array]:
        block = self.funcs[name].body.block
        self.arrays.update(zip(block.args, arguments, strict=True))
        self.block(block)
        last = block.last_op
        assert isinstance(last, ReturnOp)
        return [self.full(v) for v in last.operands]

    def full(self, value: SSAValue) -> Array:
        array = self.arrays[value]
        if array is None:
            raise KpuError("an empty tile is used", str(value))
        return array

    def put(self, value: SSAValue, array: Array) -> None:
        """A tile's new contents; those of one that is kept are there in later trips."""
        self.arrays[value] = array
        if value in self.cells:
            self.reused[self.cells[value]] = array

    def alloc(self, op: tile.AllocOp) -> None:
        """Fresh room, or what stands there since the first trip."""
        self.arrays[op.result] = None
        if not op.reused:
            return
        where: list[int] = []
        parent = op.parent_op()
        while isinstance(parent, tile.ForOp):
            if parent.induction_var not in op.reused:
                where.append(self.index[parent.induction_var])
            parent = parent.parent_op()
        cell = self.cells[op.result] = (op, *where)
        if all(self.edge[v][0] for v in op.reused):
            self.reused[cell] = None
        self.arrays[op.result] = self.reused[cell]

    def block(self, block: Block) -> None:
        for op in block.ops:
            self.operation(op)

    def at(self, indices: Sequence[int | SSAValue]) -> list[int]:
        return [i if isinstance(i, int) else self.number(i) for i in indices]

    def number(self, value: SSAValue) -> int:
        if value in self.index:
            return self.index[value]
        match value.owner:
            case arith.ConstantOp(value=IntegerAttr() as attr):
                return attr.value.data
            case arith.AddiOp() as op:
                return self.number(op.lhs) + self.number(op.rhs)
            case arith.SubiOp() as op:
                return self.number(op.lhs) - self.number(op.rhs)
            case arith.MuliOp() as op:
                return self.number(op.lhs) * self.number(op.rhs)
            case _:
                raise KpuError(f"{value} is not an index that tile understands")

    def block_of(self, source: Array, at: Sequence[int], sizes: Sequence[int]) -> Array | None:
        if any(a < 0 for a in at):
            raise KpuError(f"a block begins before its tensor: {list(at)}")
        part = source[tuple(slice(a, a + n) for a, n in zip(at, sizes))]
        return part if part.size else None

    def body(self, block: Block) -> Any:
        if block not in self.bodies:
            self.bodies[block] = compile_body(block)
        return self.bodies[block]

    def operation(self, op: Operation) -> None:
        match op:
            case tile.ForOp():
                values = op.bounds
                for i in values:
                    self.index[op.induction_var] = i
                    self.edge[op.induction_var] = (i == values[0], i == values[-1])
                    self.block(op.body.block)
            case tile.BufferOp():
                type = op.result.type
                kind = dtype_of(type.element_type)
                # What is never written must not look like a result.
                junk = np.nan if kind.kind == "f" else 77 if kind.kind in "iu" else 0
                self.arrays[op.result] = np.full(tuple(type.get_shape()), junk, kind)
            case tile.ConstantOp():
                shape = tuple(op.result.type.get_shape())
                self.arrays[op.result] = array_of(op.value).reshape(shape)
            case tile.ViewOp():
                self.arrays[op.result] = self.full(op.source).reshape(
                    tuple(op.result.type.get_shape())
                )
            case CallOp():
                self.function(op.callee.root_reference.data, [self.full(v) for v in op.arguments])
            case tile.LoadOp():
                shape = op.result.type.get_shape()
                order = tile.permutation_of(op.permuted, len(shape))
                source = self.arrays[op.source]
                part = None
                if op.after is not None and self.edge[op.after][0]:
                    source = None
                if source is not None:
                    if op.by is not None:
                        source = np.take(source, self.full(op.by), axis=1, mode="wrap")
                    if op.low or op.high:
                        low = tile.padding_of(op.low, source.ndim)
                        high = tile.padding_of(op.high, source.ndim)
                        fill = fill_of(op.fill.value.data if op.fill else 0, source.dtype)
                        source = np.pad(source, list(zip(low, high)), constant_values=fill)
                    part = self.block_of(source, self.at(op.indices), tile.unpermuted(shape, order))
                self.arrays[op.result] = None if part is None else part.transpose(order).copy()
            case tile.AllocOp():
                self.alloc(op)
            case tile.MatmulOp():
                self.matmul(op)
            case tile.MapOp():
                inputs = [self.arrays[v] for v in op.inputs]
                if all(a is not None for a in inputs):
                    out = SSAValue.get(op.into, type=tile.TileType).type
                    result = np.array(self.body(op.body.block)(*inputs), dtype_of(out.element_type))
                    repeated = self.repeated(op, out, result.shape)
                    self.put(op.into, np.broadcast_to(result, repeated).copy())
            case tile.ReduceOp():
                self.reduce(op)
            case tile.WindowOp():
                self.window(op)
            case tile.StoreOp():
                source = self.arrays[op.source]
                if source is not None and isinstance(op.target.type, tile.TileType):
                    self.put(op.target, source.copy())
                elif source is not None and all(self.edge[v][1] for v in op.over):
                    source = source.transpose(tile.permutation_of(op.permuted, source.ndim))
                    target = self.block_of(self.full(op.target), self.at(op.indices), source.shape)
                    if target is None or target.shape != source.shape:
                        raise KpuError("a tile hangs over the end of its tensor", place_of(op))
                    target[...] = source
            case ReturnOp() | arith.ConstantOp() | arith.AddiOp() | arith.SubiOp() | arith.MuliOp():
                pass
            case _:
                raise KpuError(f"{op.name} does not belong at the tile level", place_of(op))

    def repeated(self, op: tile.MapOp, out: tile.TileType, shape: Sequence[int]) -> list[int]:
        """A map's extents: where every input is one element wide, those of its type."""
        types = [SSAValue.get(v, type=tile.TileType).type.get_shape() for v in op.inputs]
        return [
            n if all(t[axis] == 1 for t in types) else got
            for axis, (n, got) in enumerate(zip(out.get_shape(), shape))
        ]

    def matmul(self, op: tile.MatmulOp) -> None:
        lhs, rhs = self.arrays[op.lhs], self.arrays[op.rhs]
        if lhs is None or rhs is None:
            return
        kind = dtype_of(SSAValue.get(op.into, type=tile.TileType).type.element_type)
        wide = kind if kind.kind in "iu" or kind.itemsize >= 4 else np.dtype(np.float32)
        if op.window is None:
            total = np.matmul(lhs.astype(wide), rhs.astype(wide))
        else:
            window = op.window.plain
            taps = taps_of(rhs.astype(wide), window)
            weights = lhs.astype(wide).reshape(*lhs.shape[-4:])
            total = sum(
                np.einsum("oc,chw->ohw", weights[:, :, i, j], tap) for (i, j), tap in taps.items()
            )
            total = np.asarray(total).reshape(*rhs.shape[:-3], *np.asarray(total).shape)
        if not all(self.edge[v][0] for v in op.over):
            total = self.full(op.into) + total
        if op.epilogue is not None and all(self.edge[v][1] for v in op.over):
            total = self.body(op.epilogue.block)(total, *[self.full(v) for v in op.extra])
        self.put(op.into, np.array(total, kind))

    def reduce(self, op: tile.ReduceOp) -> None:
        source = self.arrays[op.source]
        if source is None:
            return
        axes = tile.integers(op.axes)
        wide = (
            source.astype(np.float32)
            if source.dtype.itemsize < 4 and source.dtype.kind not in "iub"
            else source
        )
        combine = COMBINE[str(op.reduction.data.value)]
        part = combine.reduce(wide, axis=axes, keepdims=True)
        if not all(self.edge[v][0] for v in op.over):
            part = combine(self.full(op.into), part)
        self.put(op.into, np.array(part, source.dtype))

    def window(self, op: tile.WindowOp) -> None:
        source = self.arrays[op.source]
        if source is None:
            return
        wide = (
            source.astype(np.float32)
            if source.dtype.itemsize < 4 and source.dtype.kind not in "iub"
            else source
        )
        taps = taps_of(wide, op.window.plain)
        if op.weights is not None:
            weights = self.full(op.weights)
            weights = weights.reshape(weights.shape[-3:])
            taps = {(i, j): tap * weights[:, i, j, None, None] for (i, j), tap in taps.items()}
        combine = COMBINE[str(op.reduction.data.value)]
        total = combine.reduce(np.stack(list(taps.values())), axis=0)
        total = np.array(total.reshape(*source.shape[:-3], *total.shape), source.dtype)
        if op.epilogue is not None:
            total = self.body(op.epilogue.block)(total, *[self.full(v) for v in op.extra])
        kind = dtype_of(SSAValue.get(op.into, type=tile.TileType).type.element_type)
        self.put(op.into, np.array(total, kind))


COMBINE = {"add": np.add, "max": np.maximum, "min": np.minimum, "mul": np.multiply}


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


def evaluate_tile(module: ModuleOp, inputs: Sequence[Array]) -> list[Array]:
    """Results of ``@main`` for arguments in order. Raises ``KpuError`` for what is not a ``tile``
    module."""
    evaluation = _Evaluation(module)
    if "main" not in evaluation.funcs:
        raise KpuError("a tile module has a @main that calls its kernels")
    return evaluation.function("main", inputs)
