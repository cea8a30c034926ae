"""The ``dma`` level: how it moves. This is the program that the machine runs.

A kernel's function holds one ``dma.program``. The loops are still those of ``tile``. A ``dma.ring``
is a queue of slots at static addresses of one memory; an operation that produces a tile takes the
ring's next slot (``into @ring``), no earlier than the readers of what that slot held are done.
Engines serve their operations in program order and run ahead of each other as far as data and slots
let them: the DMA engines (``fetch``, ``write``), the block movers (``move``), the fabric with its
streamers (``matmul``) and the vector engine (``map``). Depth 2 is double buffering.

**Which channels.** A transfer is striped over all channels of its engine, or over those in ``on [0,
1]``.

**Deferral.** ``defer n`` issues a transfer ``n`` steps (trips of innermost loops) later than it stands,
so that one that must wait for a result does not hold back those behind it; sooner if its slot is
needed again, and before the function returns. It changes when a transfer is issued, never what it
moves.

**Reuse.** ``reuse(%j)``: in later trips of that loop nothing is moved; the ring's next slot still
holds the tile, since the ring is as deep as one trip of the loop fills it often.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import (
    DenseArrayBase,
    FlatSymbolRefAttr,
    FloatAttr,
    IndexType,
    IntegerAttr,
    MemRefType,
    StringAttr,
    SymbolNameConstraint,
    SymbolRefAttr,
    f64,
    i64,
)
from xdsl.dialects.func import FuncOp
from xdsl.dialects.utils import DynamicIndexList
from xdsl.ir import Block, Dialect, Operation, Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    irdl_op_definition,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import (
    HasParent,
    MemoryReadEffect,
    MemoryWriteEffect,
    NoTerminator,
    RecursiveMemoryEffect,
    SymbolOpInterface,
    SymbolTable,
)
from xdsl.utils.exceptions import VerifyException

from kpu_ir.dialects.tile.compute import Map, Matmul, Reduce, Rowwise, Windowed, Yield
from kpu_ir.dialects.tile.types import (
    Level,
    TileType,
    integers,
    is_pinned,
    mixed_indices,
    padding_attr,
    permuted_attr,
    split_indices,
    verify_access,
    verify_gather,
)


class EngineOperation(IRDLOperation):
    """What takes time on an engine: never dead, never merged, never reordered by a rewrite."""

    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())


def _channels(channels: Sequence[int] | None) -> DenseArrayBase | None:
    return None if channels is None else DenseArrayBase.from_list(i64, list(channels))


def _defer(defer: int) -> IntegerAttr | None:
    return IntegerAttr(defer, i64) if defer else None


def _verify_channels(op: IRDLOperation, channels: DenseArrayBase | None) -> None:
    if channels is not None:
        got = list(integers(channels))
        if not got or got != sorted(set(got)) or got[0] < 0:
            raise VerifyException(f"{op.name}: channels must be distinct and rising, got {got}")


def _verify_defer(op: IRDLOperation, defer: IntegerAttr | None) -> None:
    if defer is not None and defer.value.data < 0:
        raise VerifyException(f"{op.name}: defer counts steps from 0, got {defer.value.data}")


@irdl_op_definition
class ProgramOp(IRDLOperation):
    """What the engines do for one kernel: its rings, which are symbols here, then its operations.

    ```mlir
    dma.program {
      dma.ring @a3, 2 x <32x64xf32, l3> at 0
      dma.ring @a2, 2 x <32x64xf32, l2> at 0
      tile.for %i = 0 to 128 step 32 {
        %a3 = dma.fetch %a[%i, 0] into @a3 : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
        %a2 = dma.move %a3[0, 0] into @a2 : !tile.tile<32x64xf32, l3> -> !tile.tile<32x64xf32, l2>
      }
    }
    ```
    """

    name = "dma.program"
    body = region_def("single_block")
    traits = traits_def(SymbolTable(), NoTerminator(), RecursiveMemoryEffect(), HasParent(FuncOp))
    assembly_format = "$body attr-dict"

    def __init__(self, body: Region | Block) -> None:
        """A program of ``body``."""
        super().__init__(regions=[Region(body) if isinstance(body, Block) else body])

    def verify_(self) -> None:
        """All is decided."""
        func = self.parent_op()
        if func is not None and "kpu.schedule" in func.attributes:
            raise VerifyException(
                "kpu.schedule has nothing left to decide at the dma level: change rings, loops and "
                "defer"
            )


@irdl_op_definition
class RingOp(IRDLOperation):
    """A queue of ``depth`` slots at one memory level, side by side from a static byte address.

    ```mlir
    dma.ring @a3, 2 x <32x64xf32, l3> at 0
    ```
    """

    name = "dma.ring"
    sym_name = prop_def(SymbolNameConstraint())
    depth = prop_def(IntegerAttr.constr(i64))
    type = prop_def(TileType)
    address = prop_def(IntegerAttr.constr(i64))
    traits = traits_def(SymbolOpInterface(), MemoryWriteEffect(), HasParent(ProgramOp))
    assembly_format = "$sym_name `,` $depth `x` $type `at` $address attr-dict"

    def __init__(self, sym_name: str, depth: int, type: TileType, address: int = 0) -> None:
        """``depth`` slots for ``type``."""
        super().__init__(
            properties={
                "sym_name": StringAttr(sym_name),
                "depth": IntegerAttr(depth, i64),
                "type": type,
                "address": IntegerAttr(address, i64),
            }
        )

    def verify_(self) -> None:
        """At least one slot, at an address."""
        if self.depth.value.data < 1:
            raise VerifyException(
                f"dma.ring: depth must be at least 1, got {self.depth.value.data}"
            )
        if self.address.value.data < 0:
            raise VerifyException(f"dma.ring: address is negative: {self.address.value.data}")


def ring_of(op: IRDLOperation, symbol: SymbolRefAttr) -> RingOp:
    """The ring that ``op`` names, by the symbol table of its ``dma.program``."""
    program: Operation | None = op
    while program is not None and not isinstance(program, ProgramOp):
        program = program.parent_op()
    if program is None:
        raise VerifyException(f"{op.name} stands in a dma.program, which has its rings")
    ring = SymbolTable.lookup_symbol(program, symbol)
    if not isinstance(ring, RingOp):
        raise VerifyException(f"{op.name}: there is no dma.ring @{symbol.root_reference.data}")
    return ring


def _verify_slot(op: IRDLOperation, symbol: SymbolRefAttr, result: TileType) -> None:
    ring = ring_of(op, symbol)
    if ring.type != result:
        raise VerifyException(
            f"{op.name}: ring @{ring.sym_name.data} holds {ring.type}, the result is {result}"
        )


@irdl_op_definition
class FetchOp(EngineOperation):
    """External memory to L3, by a DMA engine with a strided descriptor; or a block of a tensor that
    stands in L3 to L2, by a block mover.

    ``low``, ``high``: elements around the tensor that read as ``fill`` (default 0) and cost nothing
    to fetch.

    ``by %list``: rows by index, as in ``tile.load``; the engine reads the list as well.

    ```mlir
    %e3 = dma.fetch %table[0, %i, 0] by %list : memref<128xi64> into @e3
      : memref<1x1000x64xf32> -> !tile.tile<1x16x64xf32, l3>
    %a3 = dma.fetch %a[%i, 0] into @a3 : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
    %x3 = dma.fetch %x[0, %w] into @x3 low [0, 1] high [0, 1] : memref<8x30xf32> -> !tile.tile<8x10xf32, l3>
    %b3 = dma.fetch %b[0, %j] into @b3 reuse(%i) on [0, 1] : memref<64x96xf32> -> !tile.tile<64x48xf32, l3>
    %h2 = dma.fetch %h[%i, 0] into @h2 : memref<128x64xf32, "l3"> -> !tile.tile<32x64xf32, l2>
    ```
    """

    name = "dma.fetch"
    source = operand_def(MemRefType)
    offsets = var_operand_def(IndexType())
    reused = var_operand_def(IndexType())
    by = opt_operand_def(MemRefType)
    static_offsets = prop_def(DenseArrayBase)
    ring = prop_def(FlatSymbolRefAttr)
    low = opt_prop_def(DenseArrayBase.constr(i64))
    high = opt_prop_def(DenseArrayBase.constr(i64))
    fill = opt_prop_def(FloatAttr)
    channels = opt_prop_def(DenseArrayBase.constr(i64))
    result = result_def(TileType)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    custom_directives = (DynamicIndexList,)
    assembly_format = (
        "$source custom<DynamicIndexList>($offsets, $static_offsets) "
        "(`by` $by^ `:` type($by))? `into` $ring "
        "(`reuse` `(` $reused^ `)`)? (`low` $low^)? (`high` $high^)? (`fill` $fill^)? (`on` $channels^)? attr-dict "
        "`:` type($source) `->` type($result)"
    )

    def __init__(
        self,
        source: SSAValue,
        indices: Sequence[int | SSAValue],
        ring: str,
        type: TileType,
        reused: Sequence[SSAValue] = (),
        channels: Sequence[int] | None = None,
        low: Sequence[int] | None = None,
        high: Sequence[int] | None = None,
        fill: float = 0.0,
        by: SSAValue | None = None,
    ) -> None:
        """Fetch the block of ``source`` at ``indices`` into the next slot of ``ring``."""
        dynamic, static = split_indices(indices)
        super().__init__(
            operands=[source, dynamic, reused, [] if by is None else [by]],
            properties={
                "static_offsets": static,
                "ring": SymbolRefAttr(ring),
                "channels": _channels(channels),
                "low": padding_attr(low),
                "high": padding_attr(high),
                "fill": FloatAttr(fill, f64) if fill else None,
            },
            result_types=[type],
        )

    @property
    def indices(self) -> list[int | SSAValue]:
        """One offset a dimension of the source."""
        return list(mixed_indices(self.static_offsets, self.offsets))

    def verify_(self) -> None:
        """A block inside its source, into a ring of its type one level nearer to the array."""
        source = SSAValue.get(self.source, type=MemRefType).type
        out, level = self.result.type, Level.L2 if is_pinned(source) else Level.L3
        offsets = len(integers(self.static_offsets))
        if self.by is not None:
            source = verify_gather(self, source, self.by)
        verify_access("dma.fetch", offsets, source, out, None, self.low, self.high)
        if out.level.data != level:
            where = "l3" if level == Level.L2 else "external memory"
            raise VerifyException(f"dma.fetch from {where} goes to {level.value}, got {out}")
        _verify_slot(self, self.ring, out)
        _verify_channels(self, self.channels)


@irdl_op_definition
class MoveOp(EngineOperation):
    """L3 to L2 (a block of a tile, possibly permuted) or L2 to L3 (a whole tile), by a block mover.

    ``after(%j)``: nothing is moved in the first trip of that loop, a slot is taken all the same.
    ``over(%j)``: only in the last trip of that loop.

    ```mlir
    %a2 = dma.move %a3[0, 0] into @a2 : !tile.tile<32x64xf32, l3> -> !tile.tile<16x64xf32, l2>
    %b2 = dma.move %b3[0, 0] into @b2 reuse(%i) permuted [1, 0] : !tile.tile<48x64xf32, l3> -> !tile.tile<64x48xf32, l2>
    %c3 = dma.move %c[0, 0] into @c3 on [3] defer 1 : !tile.tile<16x48xf32, l2> -> !tile.tile<16x48xf32, l3>
    ```
    """

    name = "dma.move"
    source = operand_def(TileType)
    offsets = var_operand_def(IndexType())
    reused = var_operand_def(IndexType())
    after = opt_operand_def(IndexType())
    over = var_operand_def(IndexType())
    static_offsets = prop_def(DenseArrayBase)
    ring = prop_def(FlatSymbolRefAttr)
    permuted = opt_prop_def(DenseArrayBase.constr(i64))
    channels = opt_prop_def(DenseArrayBase.constr(i64))
    defer = opt_prop_def(IntegerAttr.constr(i64))
    result = result_def(TileType)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    custom_directives = (DynamicIndexList,)
    assembly_format = (
        "$source custom<DynamicIndexList>($offsets, $static_offsets) `into` $ring "
        "(`reuse` `(` $reused^ `)`)? (`after` `(` $after^ `)`)? (`over` `(` $over^ `)`)? "
        "(`permuted` $permuted^)? (`on` $channels^)? "
        "(`defer` $defer^)? attr-dict `:` type($source) `->` type($result)"
    )

    def __init__(
        self,
        source: SSAValue,
        indices: Sequence[int | SSAValue],
        ring: str,
        type: TileType,
        reused: Sequence[SSAValue] = (),
        permuted: Sequence[int] | None = None,
        channels: Sequence[int] | None = None,
        defer: int = 0,
        after: SSAValue | None = None,
        over: Sequence[SSAValue] = (),
    ) -> None:
        """Move the block of ``source`` at ``indices`` into the next slot of ``ring``."""
        dynamic, static = split_indices(indices)
        super().__init__(
            operands=[source, dynamic, reused, [] if after is None else [after], over],
            properties={
                "static_offsets": static,
                "ring": SymbolRefAttr(ring),
                "permuted": permuted_attr(permuted),
                "channels": _channels(channels),
                "defer": _defer(defer),
            },
            result_types=[type],
        )

    @property
    def indices(self) -> list[int | SSAValue]:
        """One offset a dimension of the source."""
        return list(mixed_indices(self.static_offsets, self.offsets))

    def verify_(self) -> None:
        """Between L3 and L2, into a ring of the result's type."""
        source, out = SSAValue.get(self.source, type=TileType).type, self.result.type
        offsets = len(integers(self.static_offsets))
        verify_access("dma.move", offsets, source, out, self.permuted)
        if source.level == out.level:
            raise VerifyException(
                f"dma.move goes from one level to the other, got {source} -> {out}"
            )
        _verify_slot(self, self.ring, out)
        _verify_channels(self, self.channels)
        _verify_defer(self, self.defer)
        if self.defer and self.reused:
            raise VerifyException("dma.move: a move that is reused cannot be deferred")
        if self.after is not None and (self.defer or self.reused):
            raise VerifyException(
                "dma.move: what is moved after the first trip is not deferred or reused"
            )


@irdl_op_definition
class AcquireOp(EngineOperation):
    """Take the next slot of a ring, for a result that is computed into it.

    ``reuse(%j)``: in later trips of that loop the next slot still holds what the first one left there.

    ```mlir
    %c = dma.acquire @c2 : !tile.tile<16x48xf32, l2>
    %s = dma.acquire @s3 reuse(%j) : !tile.tile<16x48xf32, l3>
    ```
    """

    name = "dma.acquire"
    ring = prop_def(FlatSymbolRefAttr)
    reused = var_operand_def(IndexType())
    result = result_def(TileType)
    assembly_format = "$ring (`reuse` `(` $reused^ `)`)? attr-dict `:` type($result)"

    def __init__(self, ring: str, type: TileType, reused: Sequence[SSAValue] = ()) -> None:
        """The next slot of ``ring``."""
        super().__init__(
            operands=[reused], properties={"ring": SymbolRefAttr(ring)}, result_types=[type]
        )

    def verify_(self) -> None:
        """A ring of the result's type."""
        _verify_slot(self, self.ring, self.result.type)


@irdl_op_definition
class PutOp(EngineOperation):
    """A whole tile from L2 into a slot of L3 that was acquired, by a block mover.

    ```mlir
    dma.put %c, %s defer 2 : !tile.tile<16x48xf32, l2> -> !tile.tile<16x48xf32, l3>
    ```
    """

    name = "dma.put"
    source = operand_def(TileType)
    into = operand_def(TileType)
    channels = opt_prop_def(DenseArrayBase.constr(i64))
    defer = opt_prop_def(IntegerAttr.constr(i64))
    assembly_format = (
        "$source `,` $into (`on` $channels^)? (`defer` $defer^)? attr-dict "
        "`:` type($source) `->` type($into)"
    )

    def __init__(
        self,
        source: SSAValue,
        into: SSAValue,
        channels: Sequence[int] | None = None,
        defer: int = 0,
    ) -> None:
        """Put ``source`` into ``into``."""
        super().__init__(
            operands=[source, into],
            properties={"channels": _channels(channels), "defer": _defer(defer)},
        )

    def verify_(self) -> None:
        """From L2 to an acquired slot of L3, of one shape and type."""
        source, into = (SSAValue.get(v, type=TileType).type for v in (self.source, self.into))
        if source != TileType.of(into.get_shape(), into.element_type, Level.L2):
            raise VerifyException(f"dma.put puts a whole tile of l2, got {source} -> {into}")
        if into.level.data != Level.L3 or not isinstance(self.into.owner, AcquireOp):
            raise VerifyException("dma.put puts into a slot of l3 that was acquired")
        _verify_channels(self, self.channels)
        _verify_defer(self, self.defer)


@irdl_op_definition
class YieldOp(Yield):
    """The result of a scalar body.

    ```mlir
    dma.yield %r : f32
    ```
    """

    name = "dma.yield"


@irdl_op_definition
class MatmulOp(Matmul, EngineOperation):
    """A product on the fabric, fed by the streamers from L2, drained through the vector engine into
    L2.

    ``over``, ``window``, ``sums`` and ``epilogue`` are those of ``tile.matmul``: partial sums stand in
    the slot ``into``, or in that of ``sums``, and are read, added and written on the drain.

    ```mlir
    dma.matmul output_stationary %a2, %b2 into %c over(%k)
      : !tile.tile<16x64xf32, l2>, !tile.tile<64x48xf32, l2> -> !tile.tile<16x48xf32, l2> epilogue {
    ^bb0(%acc: f32):
      %z = arith.constant 0.0 : f32
      %r = arith.maximumf %acc, %z : f32
      dma.yield %r : f32
    }
    ```
    """

    name = "dma.matmul"


@irdl_op_definition
class MapOp(Map, EngineOperation):
    """An elementwise function of tiles in L2 on the vector engine.

    ```mlir
    dma.map %c into %d : !tile.tile<16x48xf32, l2> -> !tile.tile<16x48xf32, l2> {
    ^bb0(%p: f32):
      %s = arith.addf %p, %p : f32
      dma.yield %s : f32
    }
    ```
    """

    name = "dma.map"


@irdl_op_definition
class ReduceOp(Reduce, EngineOperation):
    """Combine the elements of a tile in L2 along ``axes`` on the vector engine, ``over`` loops into
    one result.

    ```mlir
    dma.reduce max %x into %m axes [1] : !tile.tile<32x1024xf32, l2> -> !tile.tile<32x1xf32, l2>
    ```
    """

    name = "dma.reduce"


@irdl_op_definition
class RowOp(Rowwise, EngineOperation):
    """A function of whole rows of a tile in L2 on the vector engine, as ``tile.row``.

    ```mlir
    dma.row top %x into %i axis 1 : !tile.tile<8x512xf32, l2> -> !tile.tile<8x5xi64, l2>
    ```
    """

    name = "dma.row"


@irdl_op_definition
class WindowOp(Windowed, EngineOperation):
    """Pooling and depthwise convolution of tiles in L2 on the vector engine.

    ```mlir
    dma.window max <2x2 by 2x2 apart 1x1> %x into %c
      : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x8x8x8xf32, l2>
    ```
    """

    name = "dma.window"


@irdl_op_definition
class WriteOp(EngineOperation):
    """L3 to external memory, by a DMA engine with a strided descriptor; or L2 to a tensor that stands
    in L3, by a block mover. ``over(%j)``: only in the last trip of that loop.

    ```mlir
    dma.write %c3, %y[%i, %j] on [0] defer 2 : !tile.tile<16x48xf32, l3> -> memref<128x96xf32>
    dma.write %c, %h[%i, %j] defer 2 : !tile.tile<16x48xf32, l2> -> memref<128x96xf32, "l3">
    ```
    """

    name = "dma.write"
    source = operand_def(TileType)
    target = operand_def(MemRefType)
    offsets = var_operand_def(IndexType())
    over = var_operand_def(IndexType())
    static_offsets = prop_def(DenseArrayBase)
    channels = opt_prop_def(DenseArrayBase.constr(i64))
    defer = opt_prop_def(IntegerAttr.constr(i64))
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    custom_directives = (DynamicIndexList,)
    assembly_format = (
        "$source `,` $target custom<DynamicIndexList>($offsets, $static_offsets) "
        "(`over` `(` $over^ `)`)? (`on` $channels^)? (`defer` $defer^)? attr-dict `:` type($source) `->` type($target)"
    )

    def __init__(
        self,
        source: SSAValue,
        target: SSAValue,
        indices: Sequence[int | SSAValue],
        channels: Sequence[int] | None = None,
        defer: int = 0,
        over: Sequence[SSAValue] = (),
    ) -> None:
        """Write ``source`` as the block of ``target`` at ``indices``."""
        dynamic, static = split_indices(indices)
        super().__init__(
            operands=[source, target, dynamic, over],
            properties={
                "static_offsets": static,
                "channels": _channels(channels),
                "defer": _defer(defer),
            },
        )

    @property
    def indices(self) -> list[int | SSAValue]:
        """One offset a dimension of the target."""
        return list(mixed_indices(self.static_offsets, self.offsets))

    def verify_(self) -> None:
        """From the level before its target, a block inside it."""
        source = SSAValue.get(self.source, type=TileType).type
        target = SSAValue.get(self.target, type=MemRefType).type
        verify_access("dma.write", len(integers(self.static_offsets)), target, source)
        level = Level.L2 if is_pinned(target) else Level.L3
        if source.level.data != level:
            where = "l3" if level == Level.L2 else "external memory"
            raise VerifyException(f"dma.write to {where} reads from {level.value}, got {source}")
        _verify_channels(self, self.channels)
        _verify_defer(self, self.defer)


Dma = Dialect(
    "dma",
    [
        ProgramOp,
        RingOp,
        FetchOp,
        MoveOp,
        AcquireOp,
        PutOp,
        YieldOp,
        MatmulOp,
        MapOp,
        ReduceOp,
        RowOp,
        WindowOp,
        WriteOp,
    ],
    [],
)
