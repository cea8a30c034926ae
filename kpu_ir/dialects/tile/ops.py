"""Loops, transfers and products of the ``tile`` level, which the package's docstring describes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from xdsl.dialects.builtin import (
    DenseArrayBase,
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    FloatAttr,
    IndexType,
    IntegerAttr,
    MemRefType,
    TensorType,
    f64,
    i64,
)
from xdsl.dialects.utils import DynamicIndexList
from xdsl.ir import Block, Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    base,
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
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import (
    MemoryReadEffect,
    MemoryWriteEffect,
    NoTerminator,
    Pure,
    RecursiveMemoryEffect,
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
    verify_moved,
)


@irdl_op_definition
class ForOp(IRDLOperation):
    """A loop with constant bounds; the nest stays the same at the ``dma`` level.

    ```mlir
    tile.for %i = 0 to 128 step 32 {
      tile.for %j = 0 to 100 step 48 {
      }
    }
    ```
    """

    name = "tile.for"
    lower = prop_def(IntegerAttr)
    upper = prop_def(IntegerAttr)
    step = prop_def(IntegerAttr)
    body = region_def("single_block")
    traits = traits_def(NoTerminator(), RecursiveMemoryEffect())

    def __init__(self, lower: int, upper: int, step: int, body: Region | None = None) -> None:
        """An empty loop, or one around ``body``."""
        super().__init__(
            properties={
                "lower": IntegerAttr(lower, i64),
                "upper": IntegerAttr(upper, i64),
                "step": IntegerAttr(step, i64),
            },
            regions=[body or Region(Block(arg_types=[IndexType()]))],
        )

    @property
    def induction_var(self) -> SSAValue:
        """The value that counts."""
        return self.body.block.args[0]

    @property
    def bounds(self) -> range:
        """The values that the induction variable takes."""
        return range(self.lower.value.data, self.upper.value.data, self.step.value.data)

    @classmethod
    def parse(cls, parser: Parser) -> ForOp:
        """``%i = 0 to 128 step 32 { ... }``."""
        name = parser.parse_argument(expect_type=False)
        parser.parse_punctuation("=")
        lower = parser.parse_integer()
        parser.parse_keyword("to")
        upper = parser.parse_integer()
        parser.parse_keyword("step")
        step = parser.parse_integer()
        body = parser.parse_region((name.resolve(IndexType()),))
        op = cls(lower, upper, step, body)
        op.attributes |= parser.parse_optional_attr_dict()
        return op

    def print(self, printer: Printer) -> None:
        """``%i = 0 to 128 step 32 { ... }``."""
        printer.print_string(" ")
        printer.print_ssa_value(self.induction_var)
        r = self.bounds
        printer.print_string(f" = {r.start} to {r.stop} step {r.step} ")
        printer.print_region(self.body, print_entry_block_args=False, print_empty_block=False)
        printer.print_op_attributes(self.attributes)

    def verify_(self) -> None:
        """At least one trip, upwards."""
        args = self.body.block.args
        if len(args) != 1 or args[0].type != IndexType():
            raise VerifyException("tile.for has one block argument, of type index")
        if self.step.value.data <= 0 or not self.bounds:
            r = self.bounds
            raise VerifyException(
                f"tile.for must make at least one trip upwards, got {r.start} to {r.stop} step {r.step}"
            )


class MemoryOperation(IRDLOperation):
    """What the operations that move or change tiles share: they are never dead and never merged."""

    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())


@irdl_op_definition
class BufferOp(IRDLOperation):
    """Room for a tensor in external memory, or in L3; ``tile-to-dma`` gives it its address.

    ```mlir
    %y = tile.buffer : memref<128x768xf32>
    %h = tile.buffer : memref<16x768xf32, "l3">
    %z = tile.buffer at 4096 : i64 : memref<128x768xf32>
    ```
    """

    name = "tile.buffer"
    address = opt_prop_def(IntegerAttr)
    result = result_def(MemRefType)
    traits = traits_def(MemoryWriteEffect())
    assembly_format = "(`at` $address^)? attr-dict `:` type($result)"

    def __init__(self, type: MemRefType) -> None:
        """A buffer that has no address yet."""
        super().__init__(result_types=[type])


@irdl_op_definition
class ConstantOp(IRDLOperation):
    """A tensor of weights in external memory.

    ```mlir
    %w = tile.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32> : memref<2x2xf32>
    ```
    """

    name = "tile.constant"
    value = prop_def(DenseIntOrFPElementsAttr | DenseResourceAttr)
    address = opt_prop_def(IntegerAttr)
    result = result_def(MemRefType)
    traits = traits_def(Pure())
    assembly_format = "$value (`at` $address^)? attr-dict `:` type($result)"

    def __init__(self, value: DenseIntOrFPElementsAttr | DenseResourceAttr) -> None:
        """The memory that holds ``value``."""
        tensor = cast(TensorType, value.type)
        type = MemRefType(tensor.element_type, tensor.get_shape())
        super().__init__(properties={"value": value}, result_types=[type])

    def verify_(self) -> None:
        """Memory of the tensor's shape and type."""
        tensor, memory = cast(TensorType, self.value.type), self.result.type
        if (tensor.element_type, tensor.get_shape()) != (memory.element_type, memory.get_shape()):
            raise VerifyException(f"tile.constant of {tensor} needs memory like it, got {memory}")


@irdl_op_definition
class ViewOp(IRDLOperation):
    """The same bytes with another shape; costs nothing.

    ```mlir
    %r = tile.view %y : memref<128x768xf32> to memref<1x128x768xf32>
    ```
    """

    name = "tile.view"
    source = operand_def(MemRefType)
    result = result_def(MemRefType)
    traits = traits_def(Pure())
    assembly_format = "$source attr-dict `:` type($source) `to` type($result)"

    def __init__(self, source: SSAValue, type: MemRefType) -> None:
        """``source`` seen as ``type``."""
        super().__init__(operands=[source], result_types=[type])

    def verify_(self) -> None:
        """As many elements as before, of the same type, in the same memory."""
        old, new = SSAValue.get(self.source, type=MemRefType), self.result.type
        if old.type.memory_space != new.memory_space:
            raise VerifyException(
                f"tile.view stays in memory {old.type.memory_space}, got {new.memory_space}"
            )
        if old.type.element_type != new.element_type:
            raise VerifyException(
                f"tile.view keeps the element type: expected {old.type.element_type}, "
                f"got {new.element_type}"
            )
        if old.type.element_count() != new.element_count():
            raise VerifyException(
                f"tile.view keeps the number of elements: expected "
                f"{old.type.element_count()}, got {new.element_count()}"
            )


@irdl_op_definition
class LoadOp(MemoryOperation):
    """Bring a block of a tensor, or of a larger tile, to a memory level.

    ``reuse(%j)``: loaded in the first trip of the loop of ``%j`` only. ``permuted [1, 0]``:
    dimension i of the result is dimension ``permuted[i]`` of the block; a mover steps through five
    dimensions of more than one element at most, neighbours that stay together counting once.
    ``low``, ``high``: elements around the tensor that read as
    ``fill`` (default 0); offsets count from the padding.

    ``by %list``: dimension 1 of the tensor is read through a list of indices (negative ones count
    from the end), along which the offset of dimension 1 runs: the rows of an embedding.

    ```mlir
    %e = tile.load %table[0, %i, 0] by %list : memref<128xi64> : memref<1x1000x64xf32> -> !tile.tile<1x16x64xf32, l2>
    %a3 = tile.load %a[%i, 0] : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
    %a2 = tile.load %a3[0, 0] : !tile.tile<32x64xf32, l3> -> !tile.tile<16x64xf32, l2>
    %x = tile.load %x0[0, %h] low [0, 1] high [0, 1] : memref<8x30xf32> -> !tile.tile<8x10xf32, l2>
    %b = tile.load %b0[%j, 0] reuse(%i) permuted [1, 0] : memref<96x64xf32> -> !tile.tile<64x48xf32, l2>
    ```
    """

    name = "tile.load"
    source = operand_def(base(MemRefType) | base(TileType))
    offsets = var_operand_def(IndexType())
    reused = var_operand_def(IndexType())
    by = opt_operand_def(MemRefType)
    after = opt_operand_def(IndexType())
    static_offsets = prop_def(DenseArrayBase)
    permuted = opt_prop_def(DenseArrayBase.constr(i64))
    low = opt_prop_def(DenseArrayBase.constr(i64))
    high = opt_prop_def(DenseArrayBase.constr(i64))
    fill = opt_prop_def(FloatAttr)
    result = result_def(TileType)
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    custom_directives = (DynamicIndexList,)
    assembly_format = (
        "$source custom<DynamicIndexList>($offsets, $static_offsets) (`by` $by^ `:` type($by))? "
        "(`reuse` `(` $reused^ `)`)? (`after` `(` $after^ `)`)? (`permuted` $permuted^)? (`low` $low^)? "
        "(`high` $high^)? (`fill` $fill^)? attr-dict "
        "`:` type($source) `->` type($result)"
    )

    def __init__(
        self,
        source: SSAValue,
        indices: Sequence[int | SSAValue],
        type: TileType,
        reused: Sequence[SSAValue] = (),
        permuted: Sequence[int] | None = None,
        low: Sequence[int] | None = None,
        high: Sequence[int] | None = None,
        fill: float = 0.0,
        by: SSAValue | None = None,
        after: SSAValue | None = None,
    ) -> None:
        """A load of the block of ``source`` that begins at ``indices``."""
        dynamic, static = split_indices(indices)
        listed, later = ([] if v is None else [v] for v in (by, after))
        super().__init__(
            operands=[source, dynamic, reused, listed, later],
            properties={
                "static_offsets": static,
                "permuted": permuted_attr(permuted),
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
        """A block inside its source, towards the array."""
        source = self.source.type
        assert isinstance(source, MemRefType | TileType)
        offsets = len(integers(self.static_offsets))
        if self.by is not None:
            source = verify_gather(self, source, self.by)
        verify_access(
            "tile.load", offsets, source, self.result.type, self.permuted, self.low, self.high
        )
        if is_pinned(self.source.type) and (
            self.permuted or self.result.type.level.data != Level.L2
        ):
            raise VerifyException("tile.load from a tensor in l3 goes to l2, and does not permute")
        if self.permuted and self.result.type.level.data != Level.L2:
            raise VerifyException(
                "tile.load permutes on the way to l2: a block mover does it, from l3 to l2"
            )
        if isinstance(source, TileType) and (self.low or self.high):
            raise VerifyException("tile.load pads only what comes from external memory")
        if isinstance(source, TileType) and (
            source.level.data != Level.L3 or self.result.type.level.data != Level.L2
        ):
            raise VerifyException("tile.load from a tile goes from l3 to l2")
        if self.after is not None and (self.reused or not isinstance(source, TileType)):
            raise VerifyException(
                "tile.load: sums that are loaded again stand in l3, and are not reused"
            )


@irdl_op_definition
class AllocOp(MemoryOperation):
    """Room on chip for a result; a ``matmul`` or a ``map`` writes ``into`` it.

    ``reuse(%j)``: in later trips of that loop, the room of its first trip and what stands there. Room
    in L3 is written by ``tile.store`` and read by ``tile.load``.

    ```mlir
    %c = tile.alloc : !tile.tile<32x48xf32, l2>
    %s = tile.alloc reuse(%j) : !tile.tile<32x48xf32, l3>
    ```
    """

    name = "tile.alloc"
    reused = var_operand_def(IndexType())
    result = result_def(TileType)
    assembly_format = "(`reuse` `(` $reused^ `)`)? attr-dict `:` type($result)"

    def __init__(self, type: TileType, reused: Sequence[SSAValue] = ()) -> None:
        """Room for ``type``."""
        super().__init__(operands=[reused], result_types=[type])


@irdl_op_definition
class YieldOp(Yield):
    """The result of a scalar body.

    ```mlir
    tile.yield %r : f32
    ```
    """

    name = "tile.yield"


@irdl_op_definition
class MatmulOp(Matmul, MemoryOperation):
    """A matrix product of tiles on the array, added up ``over`` loops, with an optional epilogue on
    the drain.

    In the first trip of all the loops in ``over`` the product overwrites ``into``, in later ones it
    is added; in the last trip the ``epilogue`` is applied: its block takes the finished sum and one
    scalar for each extra operand (tiles with the result's extents or 1).

    The array adds up in 32 bits at least, and an epilogue takes its sum so. Partial sums never stand
    in fewer bits either: where the result is shorter they have a tile of their own (``sums``), which
    all trips but the last write, and the last one rounds into ``into``. With a ``window`` the
    right operand is read as the matrix of the values under each position of the window (implicit
    im2col): a convolution, which nothing ever lays out in memory.

    With ``each`` the epilogue is of each product, and what it makes is added up over the loops, in
    ``into``: sums of blocks of weights, each with a scale of its own.

    ```mlir
    tile.matmul output_stationary %a, %b into %c over(%k)
      : !tile.tile<32x64xf32, l2>, !tile.tile<64x48xf32, l2> -> !tile.tile<32x48xf32, l2>
    tile.matmul output_stationary %a, %b into %c
      : !tile.tile<32x64xf32, l2>, !tile.tile<64x48xf32, l2> -> !tile.tile<32x48xf32, l2>
      with %bias : !tile.tile<1x48xf32, l2> epilogue {
    ^bb0(%acc: f32, %x: f32):
      %s = arith.addf %acc, %x : f32
      tile.yield %s : f32
    }
    tile.matmul output_stationary %p, %q into %r sums %t : !tile.tile<32x48xf32, l2> over(%k)
      : !tile.tile<32x64xf16, l2>, !tile.tile<64x48xf16, l2> -> !tile.tile<32x48xf16, l2>
    tile.matmul weight_stationary %u, %v into %c over(%k) each
      : !tile.tile<32x64xi8, l2>, !tile.tile<64x48xi4, l2> -> !tile.tile<32x48xf32, l2>
      with %scale : !tile.tile<1x48xf32, l2> epilogue {
    ^bb0(%sum: i32, %y: f32):
      %f = arith.sitofp %sum : i32 to f32
      %g = arith.mulf %f, %y : f32
      tile.yield %g : f32
    }
    ```
    """

    name = "tile.matmul"


@irdl_op_definition
class MapOp(Map, MemoryOperation):
    """An elementwise function of tiles on the vector engine; extents of 1 are broadcast.

    ```mlir
    tile.map %x, %y into %c
      : !tile.tile<32x48xf32, l2>, !tile.tile<1x48xf32, l2> -> !tile.tile<32x48xf32, l2> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      tile.yield %s : f32
    }
    ```
    """

    name = "tile.map"


@irdl_op_definition
class ReduceOp(Reduce, MemoryOperation):
    """Combine the elements of a tile along ``axes`` on the vector engine; ``over`` loops, add to
    what stands there. Short types are added and multiplied in 32 bits.

    ```mlir
    tile.reduce max %x into %m axes [1] : !tile.tile<32x1024xf32, l2> -> !tile.tile<32x1xf32, l2>
    tile.reduce add %h into %s axes [1] : !tile.tile<32x1024xf16, l2> -> !tile.tile<32x1xf32, l2>
    ```
    """

    name = "tile.reduce"


@irdl_op_definition
class RowOp(Rowwise, MemoryOperation):
    """A function of whole rows on the vector engine, where each element may depend on all of its row.

    ``add``, ``multiply``: each element with those before it (``backward``: behind it; ``exclusive``:
    without itself). ``top``: the numbers (i64) of the largest elements in falling order
    (``backward``: of the smallest, in rising order), of equal ones the first first. ``take``:
    elements ``by`` their numbers.

    ```mlir
    tile.row add %x into %y axis 1 backward : !tile.tile<8x512xf32, l2> -> !tile.tile<8x512xf32, l2>
    tile.row top %x into %i axis 1 : !tile.tile<8x512xf32, l2> -> !tile.tile<8x5xi64, l2>
    tile.row take %x by %i : !tile.tile<8x5xi64, l2> into %v axis 1
      : !tile.tile<8x512xf32, l2> -> !tile.tile<8x5xf32, l2>
    ```
    """

    name = "tile.row"


@irdl_op_definition
class WindowOp(Windowed, MemoryOperation):
    """Combine the values under each position of a window, channel by channel, on the vector engine.

    Without weights: pooling. With weights (one window a channel) and ``add``: a depthwise
    convolution. The epilogue is that of ``tile.matmul``.

    ```mlir
    tile.window max <2x2 by 2x2 apart 1x1> %x into %c
      : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x8x8x8xf32, l2>
    ```
    """

    name = "tile.window"


@irdl_op_definition
class StoreOp(MemoryOperation):
    """Put a tile back into a tensor, clipped at its end.

    ``permuted [1, 0]``: dimension i of the block in the tensor is dimension ``permuted[i]`` of the
    tile; as for ``tile.load``, through five dimensions at most.

    ```mlir
    tile.store %c, %y[%i, %j] : !tile.tile<32x48xf32, l2> -> memref<128x100xf32>
    tile.store %h, %z[%i, 3, 0] permuted [1, 0, 2]
      : !tile.tile<1x32x64xf32, l2> -> memref<128x12x64xf32>
    tile.store %p, %s[0, 0] : !tile.tile<32x48xf32, l2> -> !tile.tile<32x48xf32, l3>
    tile.store %s, %w[%i, 0] over(%j) : !tile.tile<32x48xf32, l3> -> memref<128x48xf32>
    ```

    The target may be a tile in L3 that was allocated: the whole of it. ``over(%j)``: only in the
    last trip of that loop.
    """

    name = "tile.store"
    source = operand_def(TileType)
    target = operand_def(base(MemRefType) | base(TileType))
    offsets = var_operand_def(IndexType())
    over = var_operand_def(IndexType())
    static_offsets = prop_def(DenseArrayBase)
    permuted = opt_prop_def(DenseArrayBase.constr(i64))
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    custom_directives = (DynamicIndexList,)
    assembly_format = (
        "$source `,` $target custom<DynamicIndexList>($offsets, $static_offsets) "
        "(`over` `(` $over^ `)`)? (`permuted` $permuted^)? attr-dict "
        "`:` type($source) `->` type($target)"
    )

    def __init__(
        self,
        source: SSAValue,
        target: SSAValue,
        indices: Sequence[int | SSAValue],
        permuted: Sequence[int] | None = None,
        over: Sequence[SSAValue] = (),
    ) -> None:
        """Store ``source`` as the block of ``target`` that begins at ``indices``."""
        dynamic, static = split_indices(indices)
        super().__init__(
            operands=[source, target, dynamic, over],
            properties={"static_offsets": static, "permuted": permuted_attr(permuted)},
        )

    @property
    def indices(self) -> list[int | SSAValue]:
        """One offset a dimension of the target."""
        return list(mixed_indices(self.static_offsets, self.offsets))

    def verify_(self) -> None:
        """A block inside its target; only the block mover permutes, on the way from L2."""
        source = SSAValue.get(self.source, type=TileType).type
        target = self.target.type
        assert isinstance(target, MemRefType | TileType)
        if isinstance(target, TileType):
            whole = TileType.of(source.get_shape(), source.element_type, Level.L3)
            zeros = all(i == 0 for i in integers(self.static_offsets))
            if target != whole or self.permuted or self.over or not zeros:
                raise VerifyException(
                    f"tile.store puts a whole tile from l2 to {whole}, got {target}"
                )
            if not isinstance(self.target.owner, AllocOp) or source.level.data != Level.L2:
                raise VerifyException(
                    "tile.store to a tile goes from l2 to what was allocated in l3"
                )
        block = source
        if is_pinned(target) and (self.permuted or source.level.data != Level.L2):
            raise VerifyException(
                "tile.store to a tensor in l3 comes from l2, and does not permute"
            )
        if self.permuted is not None:
            if source.level.data != Level.L2:
                raise VerifyException("tile.store permutes only what comes from l2")
            if sorted(integers(self.permuted)) != list(range(len(source.get_shape()))):
                raise VerifyException(
                    f"tile.store: {list(integers(self.permuted))} does not permute {source}"
                )
            shape = source.get_shape()
            axes = integers(self.permuted)
            verify_moved("tile.store", shape, axes)
            block = TileType.of([shape[a] for a in axes], source.element_type, Level.L2)
        verify_access("tile.store", len(integers(self.static_offsets)), target, block)
