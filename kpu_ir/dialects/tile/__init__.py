"""The ``tile`` level: how a kernel is cut.

A kernel is a ``func.func`` on memrefs (inputs, then outputs) whose body is a nest of ``tile.for``
loops. ``tile.load`` brings a block of a tensor to a memory level, ``tile.matmul`` and ``tile.map``
compute on tiles in L2, ``tile.store`` puts a block back. Read in program order that is the kernel's
meaning. There are no addresses and no engines here, and nothing says what overlaps: that is
``dma``'s.

**Edges.** Tiles need not divide the tensor. A tile's type gives its *largest* extents; a load or a
store that hangs over the end of its tensor is clipped there, and operations work on the clipped
extents.

**Reuse.** ``reuse(%j)`` on a load says that the value, which does not depend on ``%j``, is loaded
in the first trip of that loop and stays on chip for the others. On an allocation it says that the
room, and what stands there, is that of the first trip: partial sums over a loop outside of others.
Such sums may stand in L3: ``tile.load .. after(%j)`` brings them to L2 (nothing in the first trip),
``tile.store`` puts them back, and ``tile.store .. over(%j)`` stores them in the last trip alone.
"""

from __future__ import annotations

from xdsl.ir import Dialect

from kpu_ir.dialects.tile.ops import (
    AllocOp,
    BufferOp,
    ConstantOp,
    ForOp,
    LoadOp,
    MapOp,
    MatmulOp,
    ReduceOp,
    RowOp,
    StoreOp,
    ViewOp,
    WindowOp,
    YieldOp,
)
from kpu_ir.dialects.tile.types import (
    MOVED,
    PINNED,
    Dataflow,
    DataflowAttr,
    Level,
    LevelAttr,
    Reduction,
    ReductionAttr,
    RowFunction,
    RowFunctionAttr,
    TileType,
    Window,
    WindowAttr,
    counters,
    integers,
    is_pinned,
    padding_of,
    permutation_of,
    unpermuted,
)

__all__ = [
    "MOVED",
    "PINNED",
    "AllocOp",
    "BufferOp",
    "ConstantOp",
    "Dataflow",
    "DataflowAttr",
    "ForOp",
    "Level",
    "LevelAttr",
    "LoadOp",
    "MapOp",
    "MatmulOp",
    "ReduceOp",
    "Reduction",
    "ReductionAttr",
    "RowFunction",
    "RowFunctionAttr",
    "RowOp",
    "StoreOp",
    "Tile",
    "TileType",
    "ViewOp",
    "Window",
    "WindowAttr",
    "WindowOp",
    "YieldOp",
    "counters",
    "integers",
    "is_pinned",
    "padding_of",
    "permutation_of",
    "unpermuted",
]

Tile = Dialect(
    "tile",
    [
        ForOp,
        BufferOp,
        ConstantOp,
        ViewOp,
        LoadOp,
        AllocOp,
        YieldOp,
        MatmulOp,
        MapOp,
        ReduceOp,
        RowOp,
        WindowOp,
        StoreOp,
    ],
    [LevelAttr, DataflowAttr, ReductionAttr, RowFunctionAttr, WindowAttr, TileType],
)
