"""What is computed on tiles: operands, assembly and checks that ``tile`` and ``dma`` share.

The two levels differ in where tiles stand and who moves them, not in what a product or a map is.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import AnyFloat, DenseArrayBase, IndexType, IntegerAttr, UnitAttr, i64
from xdsl.ir import Attribute, Operation, Region, SSAValue
from xdsl.irdl import (
    AttrSizedOperandSegments,
    IRDLOperation,
    operand_def,
    opt_operand_def,
    opt_prop_def,
    opt_region_def,
    prop_def,
    region_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import IsTerminator, Pure
from xdsl.utils.exceptions import VerifyException

from kpu_ir.dialects.kernel.base import scalar_type
from kpu_ir.dialects.tile.types import (
    Dataflow,
    DataflowAttr,
    Level,
    Reduction,
    ReductionAttr,
    RowFunction,
    RowFunctionAttr,
    TileType,
    WindowAttr,
    integers,
)
from kpu_ir.support.types import accumulator_type


class Yield(IRDLOperation):
    """The result of a scalar body."""

    values = var_operand_def()
    traits = traits_def(IsTerminator(), Pure())
    assembly_format = "attr-dict ($values^ `:` type($values))?"

    def __init__(self, *values: SSAValue) -> None:
        """Yield ``values``."""
        super().__init__(operands=[list(values)])


class Matmul(IRDLOperation):
    """A matrix product of tiles in L2."""

    dataflow = prop_def(DataflowAttr)
    lhs = operand_def(TileType)
    rhs = operand_def(TileType)
    into = operand_def(TileType)
    sums = opt_operand_def(TileType)
    over = var_operand_def(IndexType())
    extra = var_operand_def(TileType)
    window = opt_prop_def(WindowAttr)
    each = opt_prop_def(UnitAttr)
    epilogue = opt_region_def()
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    assembly_format = (
        "$dataflow $lhs `,` $rhs (`window` $window^)? `into` $into (`sums` $sums^ `:` type($sums))? "
        "(`over` `(` $over^ `)`)? (`each` $each^)? attr-dict "
        "`:` type($lhs) `,` type($rhs) `->` type($into) "
        "(`with` $extra^ `:` type($extra))? (`epilogue` $epilogue^)?"
    )

    def __init__(
        self,
        dataflow: Dataflow,
        lhs: SSAValue,
        rhs: SSAValue,
        into: SSAValue,
        over: Sequence[SSAValue] = (),
        extra: Sequence[SSAValue] = (),
        epilogue: Region | None = None,
        window: WindowAttr | None = None,
        sums: SSAValue | None = None,
        each: bool = False,
    ) -> None:
        """``into`` (+)= ``lhs @ rhs``, then the epilogue; ``sums``: where partial sums stand, if not
        in ``into``; ``each``: the epilogue comes first, ``into`` (+)= epilogue(``lhs @ rhs``)."""
        super().__init__(
            operands=[lhs, rhs, into, [] if sums is None else [sums], over, extra],
            properties={
                "dataflow": DataflowAttr(dataflow),
                "window": window,
                "each": UnitAttr() if each else None,
            },
            regions=[[] if epilogue is None else [epilogue]],
        )

    def verify_(self) -> None:
        """Shapes of a product; an epilogue that fits."""
        lhs, rhs, out = (
            SSAValue.get(v, type=TileType).type for v in (self.lhs, self.rhs, self.into)
        )
        verify_matmul(self, lhs, rhs, out, self.window)
        if self.each is not None:
            verify_each(self, out)
        sums = out if self.sums is None else SSAValue.get(self.sums, type=TileType).type
        stand = bool(self.over) or self.sums is not None
        verify_sums(self, () if self.each else (lhs, rhs), sums, out, stand)
        kind = None if self.sums is None else sums.element_type
        verify_epilogue(self, out, self.extra, self.epilogue, kind)


class Map(IRDLOperation):
    """An elementwise function of tiles in L2."""

    inputs = var_operand_def(TileType)
    into = operand_def(TileType)
    body = region_def("single_block")
    assembly_format = "$inputs `into` $into attr-dict `:` type($inputs) `->` type($into) $body"

    def __init__(self, inputs: Sequence[SSAValue], into: SSAValue, body: Region) -> None:
        """``into`` = ``body(*inputs)``."""
        super().__init__(operands=[inputs, into], regions=[body])

    def verify_(self) -> None:
        """Operands broadcast; the body fits."""
        out = SSAValue.get(self.into, type=TileType).type
        types = [SSAValue.get(v, type=TileType).type for v in self.inputs]
        verify_broadcast(self, types, out)
        verify_body(self, self.body, [t.element_type for t in types], out.element_type)


class Reduce(IRDLOperation):
    """A reduction of a tile in L2."""

    reduction = prop_def(ReductionAttr)
    source = operand_def(TileType)
    into = operand_def(TileType)
    over = var_operand_def(IndexType())
    axes = prop_def(DenseArrayBase.constr(i64))
    assembly_format = (
        "$reduction $source `into` $into `axes` $axes (`over` `(` $over^ `)`)? attr-dict "
        "`:` type($source) `->` type($into)"
    )

    def __init__(
        self,
        reduction: Reduction,
        source: SSAValue,
        into: SSAValue,
        axes: Sequence[int],
        over: Sequence[SSAValue] = (),
    ) -> None:
        """``into`` = ``source`` combined along ``axes``."""
        super().__init__(
            operands=[source, into, over],
            properties={
                "reduction": ReductionAttr(reduction),
                "axes": DenseArrayBase.from_list(i64, list(axes)),
            },
        )

    def verify_(self) -> None:
        """The result has 1 in each reduced dimension."""
        adds = self.reduction.data in (Reduction.ADD, Reduction.MUL)
        verify_reduce(self, self.source, self.into, self.axes, adds)


class Rowwise(IRDLOperation):
    """A function of the rows of a tile in L2."""

    function = prop_def(RowFunctionAttr)
    source = operand_def(TileType)
    by = opt_operand_def(TileType)
    into = operand_def(TileType)
    axis = prop_def(IntegerAttr.constr(i64))
    backward = opt_prop_def(UnitAttr)
    exclusive = opt_prop_def(UnitAttr)
    assembly_format = (
        "$function $source (`by` $by^ `:` type($by))? `into` $into `axis` $axis "
        "(`backward` $backward^)? (`exclusive` $exclusive^)? attr-dict "
        "`:` type($source) `->` type($into)"
    )

    def __init__(
        self,
        function: RowFunction,
        source: SSAValue,
        by: SSAValue | None,
        into: SSAValue,
        axis: int,
        backward: bool = False,
        exclusive: bool = False,
    ) -> None:
        """``into`` = ``function`` of the rows of ``source`` along ``axis``."""
        super().__init__(
            operands=[source, [] if by is None else [by], into],
            properties={
                "function": RowFunctionAttr(function),
                "axis": IntegerAttr(axis, i64),
                "backward": UnitAttr() if backward else None,
                "exclusive": UnitAttr() if exclusive else None,
            },
        )

    def verify_(self) -> None:
        """Types and extents as the function has them."""
        verify_rowwise(self, self.function.data, self.source, self.by, self.into, self.axis)
        if self.exclusive and self.function.data not in SCANS:
            raise VerifyException(f"{self.name}: only a scan is exclusive")
        if self.backward and self.function.data is RowFunction.TAKE:
            raise VerifyException(f"{self.name}: elements are not taken backward")


class Windowed(IRDLOperation):
    """Windows over a tile in L2."""

    reduction = prop_def(ReductionAttr)
    window = prop_def(WindowAttr)
    source = operand_def(TileType)
    weights = opt_operand_def(TileType)
    into = operand_def(TileType)
    extra = var_operand_def(TileType)
    epilogue = opt_region_def()
    irdl_options = (AttrSizedOperandSegments(as_property=True),)
    assembly_format = (
        "$reduction $window $source (`weights` $weights^ `:` type($weights))? `into` $into attr-dict "
        "`:` type($source) `->` type($into) "
        "(`with` $extra^ `:` type($extra))? (`epilogue` $epilogue^)?"
    )

    def __init__(
        self,
        reduction: Reduction,
        window: WindowAttr,
        source: SSAValue,
        weights: SSAValue | None,
        into: SSAValue,
        extra: Sequence[SSAValue] = (),
        epilogue: Region | None = None,
    ) -> None:
        """``into`` = the windows of ``source``, combined, then the epilogue."""
        super().__init__(
            operands=[source, [] if weights is None else [weights], into, extra],
            properties={"reduction": ReductionAttr(reduction), "window": window},
            regions=[[] if epilogue is None else [epilogue]],
        )

    def verify_(self) -> None:
        """Extents of a window, one window of weights a channel."""
        verify_pooling(self, self.source, self.weights, self.into, self.window, self.reduction)
        out = SSAValue.get(self.into, type=TileType).type
        verify_epilogue(self, out, self.extra, self.epilogue)


def verify_matmul(
    op: Operation, lhs: TileType, rhs: TileType, out: TileType, window: WindowAttr | None
) -> None:
    """``(.. x m x k) @ (.. x k x n) -> (.. x m x n)``, all in L2, batch extents equal or 1.

    With a window: ``(.. x m x c x kh x kw)`` and ``(.. x c x h x w)`` give ``(.. x m x oh x ow)``,
    batch extents 1.
    """
    a, b, c = lhs.get_shape(), rhs.get_shape(), out.get_shape()
    if any(t.level.data != Level.L2 for t in (lhs, rhs, out)):
        raise VerifyException(f"{op.name}: operands and result stand in l2")
    if window is not None:
        verify_window(op, b, c, window)
        taps = window.plain.kernel
        if (
            len(a) < 4
            or a[-2:] != taps
            or a[-3] != b[-3]
            or a[-4] != c[-3]
            or max(a[:-4], default=1) > 1
        ):
            raise VerifyException(f"{op.name}: weights of {a} by a window of {b} do not give {c}")
        return
    if not (len(a) == len(b) == len(c) >= 2):
        raise VerifyException(f"{op.name}: operands and result have one rank >= 2: {a}, {b}, {c}")
    if a[-1] != b[-2] or c[-2:] != (a[-2], b[-1]):
        raise VerifyException(f"{op.name}: {a} by {b} does not give {c}")
    for x, y, z in zip(a[:-2], b[:-2], c[:-2]):
        if z != max(x, y) or x not in (1, z) or y not in (1, z):
            raise VerifyException(f"{op.name}: batch extents differ: {a}, {b}, {c}")


def verify_each(op: Matmul, out: TileType) -> None:
    """What an epilogue makes of each product is added up over loops, in the result's tile."""
    if op.epilogue is None or not op.over or op.sums is not None or op.window is not None:
        raise VerifyException(
            f"{op.name}: `each` has an epilogue and loops that it is added up over, and no sums or "
            "window of its own"
        )


def verify_sums(
    op: Operation, factors: Sequence[TileType], sums: TileType, out: TileType, stand: bool
) -> None:
    """Floats add up to floats, integers to integers; where partial sums ``stand`` in a tile, its
    elements have 32 bits at least."""
    kind = sums.element_type
    if (sums.get_shape(), sums.level) != (out.get_shape(), out.level):
        raise VerifyException(f"{op.name}: sums have the result's shape, in l2, got {sums}")
    floats = any(isinstance(t.element_type, AnyFloat) for t in factors)
    if floats != isinstance(kind, AnyFloat) and sums != out:
        what = " by ".join(dict.fromkeys(str(t.element_type) for t in factors))
        raise VerifyException(f"{op.name}: {what} does not add up to {kind}")
    if stand and accumulator_type(kind) != kind:
        raise VerifyException(
            f"{op.name}: partial sums of {kind} stand in {accumulator_type(kind)} (`sums`)"
        )


def verify_window(op: Operation, x: Sequence[int], out: Sequence[int], window: WindowAttr) -> None:
    """A window over the last two dimensions of ``x`` gives those of ``out``; batch extents are
    1."""
    if len(x) < 3 or len(out) != len(x) or max((*x[:-3], *out[:-3]), default=1) > 1:
        raise VerifyException(
            f"{op.name}: a window takes and gives 1 x c x h x w, got {x} and {out}"
        )
    if window.plain.positions(x[-2:]) != tuple(out[-2:]):
        raise VerifyException(
            f"{op.name}: the window has {window.plain.positions(x[-2:])} positions in {x}, not {out}"
        )


def verify_body(op: Operation, region: Region, inputs: Sequence[Attribute], out: Attribute) -> None:
    """A scalar body takes the element types of ``inputs`` (without signs, as arith has it) and
    yields one ``out``."""
    inputs, out = [scalar_type(t) for t in inputs], scalar_type(out)
    got = [a.type for a in region.block.args]
    if got != inputs:
        raise VerifyException(
            f"{op.name}: the body takes one scalar an operand: expected "
            f"({', '.join(map(str, inputs))}), got ({', '.join(map(str, got))})"
        )
    last = region.block.last_op
    if last is None or not last.has_trait(IsTerminator) or [v.type for v in last.operands] != [out]:
        raise VerifyException(f"{op.name}: the body must end by yielding one {out}")


def verify_broadcast(op: Operation, operands: Sequence[TileType], out: TileType) -> None:
    """Each operand has the result's rank, and its extents or 1, in L2."""
    for t in (*operands, out):
        if t.level.data != Level.L2:
            raise VerifyException(f"{op.name}: operands and result stand in l2, got {t}")
    for t in operands:
        if len(t.get_shape()) != len(out.get_shape()) or any(
            n not in (1, m) for n, m in zip(t.get_shape(), out.get_shape())
        ):
            raise VerifyException(f"{op.name}: {t} does not broadcast to {out}")


def verify_epilogue(
    op: Operation,
    out: TileType,
    extra: Sequence[SSAValue],
    epilogue: Region | None,
    sums: Attribute | None = None,
) -> None:
    """An epilogue's block takes the finished sum, as it was added up (``sums``, if that is known), and
    one scalar an operand; it yields the result's type."""
    types = [SSAValue.get(v, type=TileType).type for v in extra]
    if epilogue is None:
        if types:
            raise VerifyException(f"{op.name}: operands of an epilogue that is not there")
        return
    verify_broadcast(op, types, out)
    if sums is None:
        first = epilogue.block.args[0].type if epilogue.block.args else None
        wide = first is not None and accumulator_type(first) == first
        sums = first if first is not None and wide else accumulator_type(out.element_type)
    elements = [sums, *(t.element_type for t in types)]
    verify_body(op, epilogue, elements, out.element_type)


def verify_reduce(
    op: Operation, source: SSAValue, into: SSAValue, axes: DenseArrayBase, adds: bool
) -> None:
    """In L2; the result has the source's extents but 1 in each reduced dimension. It has the source's
    type; sums and products have that of their accumulators."""
    x, out = (SSAValue.get(v, type=TileType).type for v in (source, into))
    if x.level.data != Level.L2 or out.level.data != Level.L2:
        raise VerifyException(f"{op.name}: operand and result stand in l2")
    expects = accumulator_type(x.element_type) if adds else x.element_type
    if out.element_type != expects:
        raise VerifyException(
            f"{op.name}: {x.element_type} is combined in {expects}, got {out.element_type}"
        )
    reduced = set(integers(axes))
    expected = tuple(1 if axis in reduced else n for axis, n in enumerate(x.get_shape()))
    if not reduced or out.get_shape() != expected or not reduced <= set(range(len(expected))):
        raise VerifyException(
            f"{op.name}: expected a result of {expected}, got {out.get_shape()} along {sorted(reduced)}"
        )


SCANS = (RowFunction.ADD, RowFunction.MULTIPLY)
"""The functions that combine each element with those before it."""


def verify_rowwise(
    op: Operation,
    function: RowFunction,
    source: SSAValue,
    by: SSAValue | None,
    into: SSAValue,
    axis: IntegerAttr,
) -> None:
    """In L2. A scan keeps shape and type; ``top`` gives i64, no more than a row has; ``take`` as many as
    there are numbers (i64)."""
    x, out = (SSAValue.get(v, type=TileType).type for v in (source, into))
    numbers = None if by is None else SSAValue.get(by, type=TileType).type
    tiles = [t for t in (x, out, numbers) if t is not None]
    if any(t.level.data != Level.L2 for t in tiles):
        raise VerifyException(f"{op.name}: operands and result stand in l2")
    a, b, at = x.get_shape(), out.get_shape(), axis.value.data
    if not 0 <= at < len(a):
        raise VerifyException(f"{op.name}: there is no dimension {at} in {a}")
    if (numbers is None) == (function is RowFunction.TAKE):
        raise VerifyException(f"{op.name}: numbers are given to take, and to nothing else")
    kind = i64 if function is RowFunction.TOP else x.element_type
    if out.element_type != kind:
        raise VerifyException(f"{op.name}: expected a result of {kind}, got {out.element_type}")
    rest = (*a[:at], *a[at + 1 :]) == (*b[:at], *b[at + 1 :])
    if (
        not rest
        or (function in SCANS and a != b)
        or (function is RowFunction.TOP and b[at] > a[at])
    ):
        raise VerifyException(f"{op.name}: {function.value} of {a} along {at} does not give {b}")
    if numbers is not None and (numbers.element_type != i64 or numbers.get_shape() != b):
        raise VerifyException(f"{op.name}: expected numbers of i64 in the shape {b}, got {numbers}")


def verify_pooling(
    op: Operation,
    source: SSAValue,
    weights: SSAValue | None,
    into: SSAValue,
    window: WindowAttr,
    reduction: ReductionAttr,
) -> None:
    """A window over tiles in L2; weights are 1 x c x kh x kw."""
    x, out = (SSAValue.get(v, type=TileType).type for v in (source, into))
    if x.level.data != Level.L2 or out.level.data != Level.L2:
        raise VerifyException(f"{op.name}: operands and result stand in l2")
    verify_window(op, x.get_shape(), out.get_shape(), window)
    if x.get_shape()[-3] != out.get_shape()[-3]:
        raise VerifyException(f"{op.name}: {x} and {out} have different channels")
    if weights is not None:
        w = SSAValue.get(weights, type=TileType).type.get_shape()
        if w[-3:] != (x.get_shape()[-3], *window.plain.kernel) or max(w[:-3], default=1) > 1:
            raise VerifyException(f"{op.name}: weights of {w} do not fit {x} and the window")
        if reduction.data is not Reduction.ADD:
            raise VerifyException(
                f"{op.name}: weighted windows are added, not {reduction.data.value}"
            )
