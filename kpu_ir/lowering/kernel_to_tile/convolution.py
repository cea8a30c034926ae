"""The nest of a convolution: a product of weights by windows that are never laid out in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import ClassVar

from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation, Region, SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.dialects.tile import Level, Window
from kpu_ir.lowering.convolution_space import ConvolutionProblem, convolution_space
from kpu_ir.lowering.kernel_to_tile.bodies import epilogue_region, outside_inputs
from kpu_ir.lowering.kernel_to_tile.contraction import DATAFLOWS, Contraction, Sums
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.shapes import Shape, aligned
from kpu_ir.lowering.space import Space, ceildiv, packed
from kpu_ir.machine import Machine
from kpu_ir.nest.records import Index, Tensor, Tile
from kpu_ir.nest.writing import Nest
from kpu_ir.scalar.requantize import interval_of
from kpu_ir.support.types import bits_of, multiplied_as


@dataclass(frozen=True)
class Convolution:
    """``out[n, (g,) o, y, x] = epilogue(sum over c and taps of w[(g,) o, c, tap] in[n, (g,) c, y s
    + .., x s + ..])``.

    Weights are the left operand, so that results leave in the layout of the output. Tiles: (output
    channels, output rows, output columns, input channels).
    """

    arguments: tuple[tuple[Shape, Attribute], ...]
    results: tuple[tuple[Shape, Attribute], ...]
    product: Operation
    maps: tuple[kernel.MapOp, ...]
    input: int
    weights: int
    extra: tuple[int, ...]
    window: Window
    low: tuple[int, ...]
    high: tuple[int, ...]
    folded: bool = False
    fill: int = 0
    kind: ClassVar[str] = "convolution"

    @staticmethod
    def of(func: FuncOp, operations: Sequence[Operation]) -> Convolution | Contraction | None:
        """A convolution, then maps of its shape; one of 1 x 1 without strides or padding is a plain
        product."""
        conv = operations[0] if operations else None
        if not isinstance(conv, kernel.ConvOp):
            return None
        rest = operations[1:]
        maps = [op for op in rest if isinstance(op, kernel.MapOp)]
        shape = tuple(conv.result.type.get_shape())
        if len(maps) != len(rest) or any(tuple(m.result.type.get_shape()) != shape for m in maps):
            return None
        args: list[SSAValue] = list(func.body.block.args)
        extra = outside_inputs(maps, [conv.result])
        final = (maps[-1] if maps else conv).results[0]
        x, w = args.index(conv.input), args.index(conv.weights)
        seen = {a: tuple(tensor_type(a).get_shape()) for a in args}
        groups = conv.group_count
        (n, c, height, width), (oc, cg, kh, kw) = seen[args[x]], seen[args[w]]
        for a in extra:
            seen[a] = aligned(seen[a], 4)
        window = Window((kh, kw), tuple(conv.stride_pair), tuple(conv.dilation_pair))
        low, high = tuple(conv.low_pair), tuple(conv.high_pair)
        out = shape
        if groups > 1:
            seen[args[x]] = (n, groups, cg, height, width)
            seen[args[w]] = (groups, oc // groups, cg, kh, kw)
            out = (n, groups, oc // groups, *shape[2:])
            for a in extra:
                s = seen[a]
                seen[a] = (s[0], *((groups, oc // groups) if s[1] > 1 else (1, 1)), *s[2:])
        kinds = {a: tensor_type(a).element_type for a in args}
        step = window.strides[0]
        folded = kh == 1 < step and height % step == 0 and not any((*low, *high))
        if folded:
            # Rows that no window touches lie beside those that are read, and stay outside.
            seen[args[x]] = (*seen[args[x]][:-2], height // step, step * width)
            window = Window((kh, kw), (1, window.strides[1]), window.dilations)
        plain = (kh, kw) == (1, 1) and groups == 1 and not any((*low, *high))
        if plain and window.strides == (1, 1):
            flat = {a: (*s[:2], s[2] * s[3]) for a, s in seen.items()}
            partial = any(
                s[2] * s[3] not in (1, height * width) for a, s in seen.items() if a in extra
            )
            if not partial:
                flat[args[w]] = (1, oc, c)
                return Contraction(
                    tuple((flat[a], kinds[a]) for a in args),
                    (((n, oc, height * width), tensor_type(final).element_type),),
                    conv,
                    tuple(maps),
                    w,
                    x,
                    tuple(args.index(v) for v in extra),
                )
        return Convolution(
            tuple((seen[a], kinds[a]) for a in args),
            ((out, tensor_type(final).element_type),),
            conv,
            tuple(maps),
            x,
            w,
            tuple(args.index(v) for v in extra),
            window,
            low,
            high,
            folded,
            conv.fill_value,
        )

    # -- the space --------------------------------------------------------------------------------

    @property
    def extents(self) -> tuple[int, int, int, int, int]:
        """Batches (times groups), output channels, rows, columns, input channels (of one group)."""
        *lead, oc, oh, ow = self.results[0][0]
        return prod(lead), oc, oh, ow, self.arguments[self.input][0][-3]

    def default(self, machine: Machine, space: Space | None = None) -> Schedule:
        """The most promising schedule of the space."""
        return (space or self.candidates(machine)).first() or Schedule(tile=(1, 1, 1, 1))

    def candidates(self, machine: Machine) -> Space:
        """The schedules that the search may choose from."""
        return convolution_space(self.problem(machine), machine)

    def problem(self, machine: Machine) -> ConvolutionProblem:
        """The convolution in plain integers, for the search."""
        images, *groups, _, _, _ = self.results[0][0]
        _, oc, oh, ow, c = self.extents
        weights, element = self.arguments[self.weights]
        bits, size = bits_of(element), max(1, bits_of(self.arguments[self.input][1]) // 8)
        extra = [
            prod(shape) * bits_of(kind) // 8
            for shape, kind in map(self.arguments.__getitem__, self.extra)
        ]
        height, width = self.arguments[self.input][0][-2:]
        interval = machine.vector.initiation_interval
        row = ceildiv(machine.fabric.columns, machine.vector.lanes)
        work = interval_of(self.epilogue.block if self.epilogue else None, interval)
        multiplier = multiplied_as(element, self.arguments[self.input][1])
        return ConvolutionProblem(
            images, prod(groups), c, height, width, oc, oh, ow, self.window, size, bits,
            max(1, bits_of(self.results[0][1]) // 8), machine.fabric.macs.get(multiplier, 1),
            packed(prod(weights), bits), sum(extra), len(extra), self.folded,
            max(1, row * work), row * interval["add"], self.sums.size,
        )  # fmt: skip

    # -- the nest ---------------------------------------------------------------------------------

    @cached_property
    def epilogue(self) -> Region | None:
        """The maps as one scalar body."""
        kinds = [self.arguments[p][1] for p in self.extra]
        return epilogue_region(self.product.results[0], self.maps, kinds, self.results[0][1])

    @cached_property
    def sums(self) -> Sums:
        """Where partial sums stand."""
        return Sums.of(self.product.results[0], self.results[0][1])

    @cached_property
    def padding(self) -> tuple[Shape, Shape]:
        """What is read around the image, in the nest's dimensions: it is cut to what the windows
        cover."""
        (*lead, _, oh, ow), source = self.results[0][0], self.arguments[self.input][0]
        span, none = self.window.span((oh, ow)), (0,) * (1 + len(lead))
        high = (max(0, s - a - n) for s, a, n in zip(span, self.low, source[-2:]))
        return (*none, *self.low), (*none, *high)

    def emit(self, nest: Nest, args: Sequence[Tensor], schedule: Schedule) -> None:
        """Batches and groups, then output channels and positions in the schedule's order, then
        input channels."""
        _Emission(self, nest, args, schedule).run()


class _Emission:
    """One nest in the making; ``at`` is where its loops are."""

    def __init__(
        self, strategy: Convolution, nest: Nest, args: Sequence[Tensor], schedule: Schedule
    ) -> None:
        self.strategy, self.nest, self.args, self.schedule = strategy, nest, args, schedule
        _, oc, oh, ow, c = strategy.extents
        toc, th, tw, tc = (min(t, n) for t, n in zip(schedule.tile, (oc, oh, ow, c)))
        tw = ow if strategy.folded and ow % tw else tw
        self.loops = {"o": (oc, toc), "y": (oh, th), "x": (ow, tw), "c": (c, tc)}
        self.tile = (toc, th, tw, tc)
        self.cut = tc < c
        self.at: dict[str, Index | None] = dict.fromkeys("oyxc")
        self.batch: list[Index | None] = []
        self.lead: Shape = ()

    def run(self) -> None:
        """Write it."""
        strategy, nest, at = self.strategy, self.nest, self.at
        outs = strategy.results[0][0]
        self.batch = [nest.loop(n, 1, name) for n, name in zip(outs[:-3], ("b", "g"))]
        self.lead = (1,) * len(self.batch)
        by_channel = self.schedule.order == "mn"
        # What does not depend on the inner loops is loaded outside of them; what stays, inside.
        w = x = None
        if by_channel:
            self.open("o")
            w = None if self.cut or self.schedule.lhs else self.weights()
        self.open("y", "x")
        if not by_channel:
            x = None if self.cut or self.schedule.rhs else self.image()
            self.open("o")
        if not self.cut:
            w = w or self.weights()
            x = x or self.image()
        where = [*self.batch, at["o"], at["y"], at["x"]]
        shape = (*self.lead, *self.tile[:3])
        extra = [self.epilogue_operand(position, where, shape) for position in strategy.extra]
        out = nest.alloc(shape, strategy.results[0][1], "acc")
        sums = strategy.sums.alloc(nest, shape, self.cut, self.schedule.dataflow)
        if self.cut:
            self.open("c")
            w, x = self.weights(), self.image()
        assert w is not None
        assert x is not None
        flow = DATAFLOWS[self.schedule.dataflow]
        nest.matmul(flow, w, x, out, [at["c"]], extra, strategy.epilogue, strategy.window, sums)
        if self.cut:
            nest.close()
        nest.store(out, self.args[-1], where)

    def open(self, *axes: str) -> None:
        """Open loops."""
        for axis in axes:
            self.at[axis] = self.nest.loop(*self.loops[axis], axis)

    def weights(self) -> Tile:
        """Load the weights that the open loops name."""
        at, groups, lead = self.at, self.batch[1:], self.lead[1:]
        toc, _, _, tc = self.tile
        # A tile stays over loops that stand directly inside each other.
        adjacent = self.schedule.order == "nm" and len(self.batch) == 1
        reuse = [*(self.batch if adjacent else ()), at["y"], at["x"]]
        shape = (*lead, toc, tc, *self.strategy.window.kernel)
        index = [*groups, at["o"], at["c"], 0, 0]
        return self.staged(self.strategy.weights, index, shape, "w", self.schedule.lhs, reuse)

    def image(self) -> Tile:
        """Load the block under the windows that the open loops name."""
        at, window = self.at, self.strategy.window
        _, th, tw, tc = self.tile
        y, x = (self.nest.affine(at[axis], s) for axis, s in zip("yx", window.strides))
        shape = (*self.lead, tc, *window.span((th, tw)))
        index = [*self.batch, at["c"], y, x]
        position, stays = self.strategy.input, self.schedule.rhs
        return self.staged(position, index, shape, "x", stays, [at["o"]], *self.strategy.padding)

    def staged(
        self,
        position: int,
        index: Sequence[int | Index | None],
        shape: Shape,
        name: str,
        stays: str,
        reuse: Sequence[Index | None],
        low: Shape | None = None,
        high: Shape | None = None,
    ) -> Tile:
        """Load an operand to L2; by way of L3 where it stays there."""
        nest, source = self.nest, self.args[position]
        element, fill = self.strategy.arguments[position][1], float(self.strategy.fill)
        reuse = reuse if stays else []
        if stays == "l3":
            source = nest.load(
                source, index, shape, element, f"{name}3", Level.L3, reuse, None, low, high, fill
            )
            return nest.load(source, [0] * len(shape), shape, element, name)
        return nest.load(
            source, index, shape, element, name, Level.L2, reuse, None, low, high, fill
        )

    def epilogue_operand(self, position: int, where: Sequence[Index | None], tile: Shape) -> Tile:
        """Load what the epilogue reads besides."""
        shape, kind = self.strategy.arguments[position]
        index = [i if n > 1 else None for i, n in zip(where, shape)]
        size = tuple(t if n > 1 else 1 for t, n in zip(tile, shape))
        return self.nest.load(self.args[position], index, size, kind, "extra")
