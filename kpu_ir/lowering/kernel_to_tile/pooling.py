"""The nest of windows on the vector engine: pooling and depthwise convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import ClassVar

from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation, Region, SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.dialects.tile import Reduction, Window
from kpu_ir.lowering.kernel_to_tile.bodies import epilogue_region, outside_inputs
from kpu_ir.lowering.pooling_space import PoolingProblem, pooling_space
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.shapes import Shape, aligned
from kpu_ir.lowering.space import Space
from kpu_ir.machine import Machine
from kpu_ir.nest.records import Tensor, Tile
from kpu_ir.nest.writing import Nest
from kpu_ir.scalar.requantize import interval_of
from kpu_ir.support.types import bits_of

FILL = {Reduction.MAX: -inf, Reduction.MIN: inf}
"""What changes nothing, around an image; 0 where elements are added up."""


@dataclass(frozen=True)
class Pooling:
    """``out[n, c, y, x] = epilogue(combine over taps of (w[c, tap]) in[n, c, y s + .., x s +
    ..])``.

    Tiles: (channels, output rows, output columns).
    """

    arguments: tuple[tuple[Shape, Attribute], ...]
    results: tuple[tuple[Shape, Attribute], ...]
    product: Operation
    maps: tuple[kernel.MapOp, ...]
    input: int
    weights: int | None
    extra: tuple[int, ...]
    reduction: Reduction
    window: Window
    low: tuple[int, ...]
    high: tuple[int, ...]
    fill: float
    kind: ClassVar[str] = "pooling"

    @staticmethod
    def of(func: FuncOp, operations: Sequence[Operation]) -> Pooling | None:
        """A pooling or a depthwise convolution, then maps of its shape; None for anything else."""
        if not operations:
            return None
        first, *rest = operations
        if isinstance(first, kernel.ConvOp):
            oc, cg, *_ = tensor_type(first.weights).get_shape()
            if cg != 1 or first.group_count != oc or oc == 1:
                return None
        elif not isinstance(first, kernel.PoolOp):
            return None
        maps = [op for op in rest if isinstance(op, kernel.MapOp)]
        shape = tuple(first.result.type.get_shape())
        if len(maps) != len(rest) or any(tuple(m.result.type.get_shape()) != shape for m in maps):
            return None
        args: list[SSAValue] = list(func.body.block.args)
        seen = {a: aligned(tuple(tensor_type(a).get_shape()), 4) for a in args}
        weights = None
        if isinstance(first, kernel.ConvOp):
            weights = args.index(first.weights)
            oc, _, kh, kw = seen[args[weights]]
            seen[args[weights]] = (1, oc, kh, kw)
            kernel_shape, reduction = (kh, kw), Reduction.ADD
        else:
            kernel_shape, reduction = tuple(first.kernel_pair), Reduction(first.kind_name)
        window = Window(kernel_shape, tuple(first.stride_pair), tuple(first.dilation_pair))
        extra = outside_inputs(maps, [first.result])
        final = (maps[-1] if maps else first).results[0]
        kinds = {a: tensor_type(a).element_type for a in args}
        return Pooling(
            tuple((seen[a], kinds[a]) for a in args),
            ((shape, tensor_type(final).element_type),),
            first,
            tuple(maps),
            args.index(first.operands[0]),
            weights,
            tuple(args.index(v) for v in extra),
            reduction,
            window,
            tuple(first.low_pair),
            tuple(first.high_pair),
            first.fill_value if isinstance(first, kernel.ConvOp) else FILL.get(reduction, 0.0),
        )

    def default(self, machine: Machine, space: Space | None = None) -> Schedule:
        """The largest block of the space that fits."""
        return (space or self.candidates(machine)).first() or Schedule(tile=(1, 1, 1))

    def problem(self, machine: Machine) -> PoolingProblem:
        """The windows in plain integers, for the search."""
        n, c, oh, ow = self.results[0][0]
        height, width = self.arguments[self.input][0][-2:]
        combines = "compare" if self.reduction in FILL else "add"
        kind = "multiply" if self.weights is not None else combines
        interval = machine.vector.initiation_interval
        work = self.window.taps * interval[kind]
        return PoolingProblem(
            n,
            c,
            height,
            width,
            oh,
            ow,
            self.window,
            max(1, bits_of(self.arguments[self.input][1]) // 8),
            max(1, bits_of(self.results[0][1]) // 8),
            work + interval_of(self.epilogue.block if self.epilogue else None, interval),
            self._weight_bytes(),
            len(self.extra),
        )

    def _weight_bytes(self) -> int:
        """Those of one plane."""
        if self.weights is None:
            return 0
        return max(1, self.window.taps * bits_of(self.arguments[self.weights][1]) // 8)

    def candidates(self, machine: Machine) -> Space:
        """Blocks of channels, rows and columns, of several sizes."""
        return pooling_space(self.problem(machine), machine)

    @cached_property
    def epilogue(self) -> Region | None:
        """The maps as one scalar body."""
        kinds = [self.arguments[p][1] for p in self.extra]
        return epilogue_region(self.product.results[0], self.maps, kinds, self.results[0][1])

    def emit(self, nest: Nest, args: Sequence[Tensor], schedule: Schedule) -> None:
        """Batches, channels, then positions."""
        n, c, oh, ow = self.results[0][0]
        tc, th, tw = (min(t, e) for t, e in zip(schedule.tile, (c, oh, ow)))
        b, ch = nest.loop(n, 1, "b"), nest.loop(c, tc, "c")
        weights = None
        if self.weights is not None:
            kind = self.arguments[self.weights][1]
            shape = (1, tc, *self.window.kernel)
            weights = nest.load(args[self.weights], [0, ch, 0, 0], shape, kind, "w")
        y, x = nest.loop(oh, th, "y"), nest.loop(ow, tw, "x")
        (shape, element), strides = self.arguments[self.input], self.window.strides
        high = (
            max(0, s - a - e) for s, a, e in zip(self.window.span((oh, ow)), self.low, shape[-2:])
        )
        image = nest.load(
            args[self.input],
            [b, ch, nest.affine(y, strides[0]), nest.affine(x, strides[1])],
            (1, tc, *self.window.span((th, tw))),
            element,
            "x",
            low=(0, 0, *self.low),
            high=(0, 0, *high),
            fill=self.fill,
        )
        extra: list[Tile] = []
        for position in self.extra:
            shape, kind = self.arguments[position]
            index = [i if e > 1 else None for i, e in zip((b, ch, y, x), shape)]
            size = tuple(t if e > 1 else 1 for t, e in zip((1, tc, th, tw), shape))
            extra.append(nest.load(args[position], index, size, kind, "extra"))
        out = nest.alloc((1, tc, th, tw), self.results[0][1], "out")
        nest.window(self.reduction, self.window, image, weights, out, extra, self.epilogue)
        nest.store(out, args[-1], [b, ch, y, x])
