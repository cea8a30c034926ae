"""Structured operations of linalg in one form: loops, how each operand is read in them, a body.

A named operation becomes what ``linalg.generic`` would say in its place, so that everything after
this file knows one kind of operation only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from xdsl.dialects.builtin import (
    AffineMapAttr,
    ArrayAttr,
    DenseArrayBase,
    DenseIntOrFPElementsAttr,
    IntegerAttr,
    StringAttr,
    TensorType,
    UnregisteredAttr,
    UnregisteredOp,
)
from xdsl.ir import Attribute, Block, Operation, SSAValue
from xdsl.ir.affine import (
    AffineBinaryOpExpr,
    AffineBinaryOpKind,
    AffineConstantExpr,
    AffineDimExpr,
    AffineExpr,
    AffineMap,
)

from kpu_ir.support.types import Array


class Unsupported(Exception):
    """An operation that we have no kernel for; ``op`` is the one to blame, if not the whole."""

    def __init__(self, message: str, op: Operation | None = None) -> None:
        """``message`` follows the operation's name and a colon."""
        super().__init__(message)
        self.op = op


# -- operations by name, whether xDSL knows them or not ---------------------------------------------


def name_of(op: Operation) -> str:
    """``linalg.batch_matmul``, of an operation that xDSL does not know as well."""
    return op.op_name.data if isinstance(op, UnregisteredOp) else op.name


def attribute(op: Operation, *names: str) -> Attribute | None:
    """A property or attribute, the first of ``names`` that is there."""
    for name in names:
        for held in (op.properties, op.attributes):
            if name in held:
                return held[name]
    return None


def integers(op: Operation, name: str) -> list[int] | None:
    """A property of integers, in whichever way it is written."""
    match attribute(op, name):
        case DenseArrayBase() as found:
            return [int(n) for n in cast(Any, found).get_values()]
        case DenseIntOrFPElementsAttr() as found:
            return [int(cast(Any, n)) for n in found.get_values()]
        case ArrayAttr() as found:
            return [n.value.data for n in found.data if isinstance(n, IntegerAttr)]
        case _:
            return None


def integer(op: Operation, name: str) -> int:
    """A property of one integer."""
    found = attribute(op, name)
    if not isinstance(found, IntegerAttr):
        raise Unsupported(f"has no number '{name}'")
    return found.value.data


def segments(op: Operation, count: int) -> list[list[SSAValue]]:
    """Operands by ``operandSegmentSizes``, of which there must be ``count``."""
    operands = list(op.operands)
    sizes = integers(op, "operandSegmentSizes")
    if sizes is None and count == 2:  # inputs, then one destination for each result
        last = len(op.results)
        sizes = [len(operands) - last, last]
    if sizes is None or len(sizes) != count or sum(sizes) != len(operands) or min(sizes) < 0:
        raise Unsupported(f"has {len(operands)} operands in segments of {sizes}")
    parts: list[list[SSAValue]] = []
    for size in sizes:
        parts.append(operands[:size])
        operands = operands[size:]
    return parts


def static(value: SSAValue | Attribute) -> TensorType[Any]:
    """A tensor type of static shape, else ``Unsupported``."""
    kind = value.type if isinstance(value, SSAValue) else value
    if not isinstance(kind, TensorType):
        raise Unsupported(f"expected a tensor, got {kind}")
    if any(n < 0 for n in kind.get_shape()):
        raise Unsupported(f"{kind} has a dynamic shape; export the model with static shapes")
    return cast("TensorType[Any]", kind)


# -- how an operand is read -------------------------------------------------------------------------


@dataclass(frozen=True)
class Linear:
    """An index of an operand: ``offset`` and a multiple of some loops."""

    factors: tuple[tuple[int, int], ...]
    """Loop and factor (not 0), by loop."""
    offset: int = 0

    @property
    def loop(self) -> int | None:
        """The loop that it is, if it is just one."""
        one = len(self.factors) == 1 and self.factors[0][1] == 1 and not self.offset
        return self.factors[0][0] if one else None


def linear(expr: AffineExpr) -> Linear | None:
    """An affine expression as ``Linear``; None with ``floordiv`` or ``mod``."""
    match expr:
        case AffineDimExpr():
            return Linear(((expr.position, 1),))
        case AffineConstantExpr():
            return Linear((), expr.value)
        case AffineBinaryOpExpr(kind=AffineBinaryOpKind.Add):
            a, b = linear(expr.lhs), linear(expr.rhs)
            if a is None or b is None:
                return None
            factors = dict(a.factors)
            for loop, factor in b.factors:
                factors[loop] = factors.get(loop, 0) + factor
            kept = sorted((loop, n) for loop, n in factors.items() if n)
            return Linear(tuple(kept), a.offset + b.offset)
        case AffineBinaryOpExpr(kind=AffineBinaryOpKind.Mul):
            a, b = linear(expr.lhs), linear(expr.rhs)
            if a is None or b is None or (a.factors and b.factors):
                return None
            by = a.offset if not a.factors else b.offset
            of = b if not a.factors else a
            kept = [(loop, n * by) for loop, n in of.factors if n * by]
            return Linear(tuple(kept), of.offset * by)
        case _:
            return None


def evaluate(expr: AffineExpr, loops: Sequence[Array]) -> Array:
    """An affine expression of arrays of loop counters."""
    match expr:
        case AffineDimExpr():
            return loops[expr.position]
        case AffineConstantExpr():
            return np.array(expr.value)
        case AffineBinaryOpExpr():
            a, b = evaluate(expr.lhs, loops), evaluate(expr.rhs, loops)
            match expr.kind:
                case AffineBinaryOpKind.Add:
                    return a + b
                case AffineBinaryOpKind.Mul:
                    return a * b
                case AffineBinaryOpKind.Mod:
                    return a % b
                case AffineBinaryOpKind.FloorDiv:
                    return a // b
                case AffineBinaryOpKind.CeilDiv:
                    return -(-a // b)
        case _:
            raise Unsupported(f"the index {expr} is not understood")


# -- the one form -----------------------------------------------------------------------------------


@dataclass
class Structured:
    """Loops, operands read in them, and the scalar body."""

    op: Operation
    inputs: list[SSAValue]
    inits: list[SSAValue]
    maps: list[AffineMap]
    """Of the inputs, then of the inits."""
    reduced: frozenset[int]
    """The loops that are reductions."""
    extents: list[int]
    block: Block

    @property
    def input_maps(self) -> list[AffineMap]:
        """How the inputs are read."""
        return self.maps[: len(self.inputs)]

    @property
    def init_maps(self) -> list[AffineMap]:
        """How the results are written."""
        return self.maps[len(self.inputs) :]


def structured(op: Operation) -> Structured | None:
    """The one form of a linalg operation, or None for one that has none."""
    name = name_of(op).removeprefix("linalg.")
    maps = _maps(op, name)
    if maps is None:
        return None
    if len(op.regions) != 1 or len(op.regions[0].blocks) != 1:
        raise Unsupported("has no body; print it in generic form (--mlir-print-op-generic)")
    inputs, inits = segments(op, 2)
    block = op.regions[0].block
    counts = {len(op.operands), len(maps), len(block.args)}
    if len(counts) != 1 or len({m.num_dims for m in maps}) != 1 or not inits:
        raise Unsupported("has operands, indexing maps and arguments of the body that do not fit")
    extents = _extents(maps, [*inputs, *inits])
    return Structured(
        op, inputs, inits, maps, _reduced(op, maps, len(inits)), extents, op.regions[0].block
    )


def _maps(op: Operation, name: str) -> list[AffineMap] | None:
    found = attribute(op, "indexing_maps")
    if isinstance(found, ArrayAttr):
        items = cast("ArrayAttr[Attribute]", found).data
        return [m.data for m in items if isinstance(m, AffineMapAttr)]
    if name in NAMED:
        windows = len(set(re.findall(r"\w+:\w+", NAMED[name])))
        return named_maps(
            NAMED[name], *(steps_of(op, kind, windows) for kind in ("strides", "dilations"))
        )
    if name in ELEMENTWISE:
        rank = len(static(op.operands[-1]).get_shape())
        return [_of_rank(v, rank) for v in op.operands]
    if name == "reduce":
        rank = len(static(op.operands[0]).get_shape())
        axes = integers(op, "dimensions") or []
        kept = AffineMap(rank, 0, tuple(AffineDimExpr(a) for a in range(rank) if a not in axes))
        count = len(op.operands) // 2
        return [AffineMap.identity(rank)] * count + [kept] * count
    if name == "broadcast":
        rank = len(static(op.operands[1]).get_shape())
        added = integers(op, "dimensions") or []
        kept = AffineMap(rank, 0, tuple(AffineDimExpr(a) for a in range(rank) if a not in added))
        return [kept, AffineMap.identity(rank)]
    if name == "transpose":
        order = integers(op, "permutation") or []
        if sorted(order) != list(range(len(order))):
            raise Unsupported(f"expected a permutation, got {order}")
        places: list[AffineExpr] = [AffineDimExpr(order.index(a)) for a in range(len(order))]
        return [AffineMap(len(order), 0, tuple(places)), AffineMap.identity(len(order))]
    return None


def steps_of(op: Operation, name: str, windows: int) -> list[int]:
    """Strides or dilations: 1 where they are not given."""
    given = integers(op, name)
    if given is None:
        return [1] * windows
    if len(given) != windows or min(given, default=1) < 1:
        raise Unsupported(f"'{name}': expected {windows} numbers above 0, got {given}")
    return given


def _of_rank(value: SSAValue, rank: int) -> AffineMap:
    """Identity for a tensor, nothing for a scalar."""
    if isinstance(value.type, TensorType):
        return AffineMap.identity(rank)
    return AffineMap(rank, 0, ())


def _reduced(op: Operation, maps: Sequence[AffineMap], results: int) -> frozenset[int]:
    kinds = attribute(op, "iterator_types")
    if isinstance(kinds, ArrayAttr):
        items = cast("ArrayAttr[Attribute]", kinds).data
        return frozenset(i for i, kind in enumerate(items) if "reduction" in _text(kind))
    written = {i for m in maps[len(maps) - results :] for e in m.results for i in e.used_dims()}
    return frozenset(range(maps[0].num_dims)) - written


def _text(kind: Attribute) -> str:
    if isinstance(kind, StringAttr):
        return kind.data
    return kind.value.data if isinstance(kind, UnregisteredAttr) else str(kind)


def _extents(maps: Sequence[AffineMap], operands: Sequence[SSAValue]) -> list[int]:
    """How often each loop runs, from the operands that have it as a dimension."""
    extents: dict[int, int] = {}
    for map, value in zip(maps, operands):
        if not isinstance(value.type, TensorType):
            continue
        shape = static(value).get_shape()
        if len(shape) != len(map.results):
            raise Unsupported(f"{value.type} has not the {len(map.results)} dimensions of {map}")
        for expr, extent in zip(map.results, shape):
            if isinstance(expr, AffineDimExpr):
                known = extents.setdefault(expr.position, extent)
                if known != extent:
                    raise Unsupported(f"d{expr.position} runs to {known} and to {extent}")
    missing = [i for i in range(maps[0].num_dims) if i not in extents]
    if missing:
        raise Unsupported(f"nothing says how far d{missing[0]} runs")
    return [extents[i] for i in range(maps[0].num_dims)]


# -- named operations -------------------------------------------------------------------------------

_IMAGES = {
    "conv_1d": "x:i, i -> x",
    "conv_1d_ncw_fcw": "n c x:i, f c i -> n f x",
    "conv_1d_nwc_wcf": "n x:i c, i c f -> n x f",
    "conv_2d": "y:j x:i, j i -> y x",
    "conv_2d_nchw_fchw": "n c y:j x:i, f c j i -> n f y x",
    "conv_2d_nhwc_hwcf": "n y:j x:i c, j i c f -> n y x f",
    "conv_2d_nhwc_fhwc": "n y:j x:i c, f j i c -> n y x f",
    "conv_3d": "z:k y:j x:i, k j i -> z y x",
    "conv_3d_ncdhw_fcdhw": "n c z:k y:j x:i, f c k j i -> n f z y x",
    "conv_3d_ndhwc_dhwcf": "n z:k y:j x:i c, k j i c f -> n z y x f",
    "conv_2d_nhwgc_gfhwc": "n y:j x:i g c, g f j i c -> n y x g f",
    "conv_2d_ngchw_fgchw": "n g c y:j x:i, f g c j i -> n g f y x",
    "conv_2d_ngchw_gfchw": "n g c y:j x:i, g f c j i -> n g f y x",
    "depthwise_conv_1d_ncw_cw": "n c x:i, c i -> n c x",
    "depthwise_conv_1d_nwc_wc": "n x:i c, i c -> n x c",
    "depthwise_conv_1d_nwc_wcm": "n x:i c, i c m -> n x c m",
    "depthwise_conv_2d_nchw_chw": "n c y:j x:i, c j i -> n c y x",
    "depthwise_conv_2d_nhwc_hwc": "n y:j x:i c, j i c -> n y x c",
    "depthwise_conv_2d_nhwc_hwcm": "n y:j x:i c, j i c m -> n y x c m",
    "depthwise_conv_3d_ncdhw_cdhw": "n c z:k y:j x:i, c k j i -> n c z y x",
    "depthwise_conv_3d_ndhwc_dhwc": "n z:k y:j x:i c, k j i c -> n z y x c",
    "depthwise_conv_3d_ndhwc_dhwcm": "n z:k y:j x:i c, k j i c m -> n z y x c m",
}
_POOLS = {
    "ncw": "n c x:i, i -> n c x",
    "nwc": "n x:i c, i -> n x c",
    "nchw": "n c y:j x:i, j i -> n c y x",
    "nhwc": "n y:j x:i c, j i -> n y x c",
    "ndhwc": "n z:k y:j x:i c, k j i -> n z y x c",
}


def _with_zero_points(text: str) -> str:
    """A product that reads two scalars more."""
    return text.replace(" ->", ", , ->")


NAMED = {
    "matmul": "m k, k n -> m n",
    "matmul_transpose_a": "k m, k n -> m n",
    "matmul_transpose_b": "m k, n k -> m n",
    "batch_matmul": "b m k, b k n -> b m n",
    "batch_matmul_transpose_a": "b k m, b k n -> b m n",
    "batch_matmul_transpose_b": "b m k, b n k -> b m n",
    "batch_reduce_matmul": "b m k, b k n -> m n",
    "matvec": "m k, k -> m",
    "vecmat": "k, k n -> n",
    "batch_matvec": "b m k, b k -> b m",
    "batch_vecmat": "b k, b k n -> b n",
    "dot": "k, k ->",
    **_IMAGES,
    **{f"{name}_q": _with_zero_points(text) for name, text in _IMAGES.items() if "2d" in name},
    "quantized_matmul": _with_zero_points("m k, k n -> m n"),
    "quantized_batch_matmul": _with_zero_points("b m k, b k n -> b m n"),
    **{
        f"pooling_{how}_{kind}": text
        for how, text in _POOLS.items()
        for kind in ("max", "sum", "min")
        if kind != "min" or how in ("nwc", "nhwc", "ndhwc")
    },
}
"""Loops of the operands of named operations. ``y:j`` is ``y * stride + j * dilation``."""

ELEMENTWISE = frozenset(
    "abs add ceil copy div div_unsigned erf exp floor log map max min mul negf powf reciprocal round "
    "rsqrt select sqrt square sub tanh".split()
)
"""Named operations that do each element by itself."""


def named_maps(text: str, strides: Sequence[int], dilations: Sequence[int]) -> list[AffineMap]:
    """The indexing maps that an entry of ``NAMED`` stands for."""
    sides, loops = text.replace("->", ",->").split(","), dict[str, int]()
    reads, writes = [s.split() for s in sides[:-1]], sides[-1].removeprefix("->").split()
    for word in [*writes, *(w for side in reads for w in side)]:
        for name in word.split(":"):
            loops.setdefault(name, len(loops))

    def index(word: str, windows: list[str]) -> AffineExpr:
        place, _, element = word.partition(":")
        if not element:
            return AffineDimExpr(loops[place])
        at = windows.index(word)
        return (
            AffineDimExpr(loops[place]) * strides[at]
            + AffineDimExpr(loops[element]) * dilations[at]
        )

    def map_of(words: list[str]) -> AffineMap:
        windows = [w for w in words if ":" in w]
        return AffineMap(len(loops), 0, tuple(index(w, windows) for w in words))

    return [*(map_of(side) for side in reads), map_of(writes)]
