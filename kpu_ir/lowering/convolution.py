"""The nest of a convolution: a product of weights by windows that are never laid out in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Block, Operation, SSAValue

from kpu_ir.dialects import kernel, tile
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.dialects.tile import Level, Window, WindowAttr
from kpu_ir.lowering.contraction import DATAFLOWS, Contraction
from kpu_ir.lowering.convolution_space import ConvolutionProblem, convolution_space
from kpu_ir.lowering.nest import Nest, epilogue_region, outside_inputs
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.shapes import Shape, aligned
from kpu_ir.lowering.space import Space
from kpu_ir.machine import Machine
from kpu_ir.support.types import bits_of


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
        size = max(1, bits_of(element) // 8)
        extra = [
            prod(shape) * bits_of(kind) // 8
            for shape, kind in map(self.arguments.__getitem__, self.extra)
        ]
        height, width = self.arguments[self.input][0][-2:]
        return ConvolutionProblem(
            images, prod(groups), c, height, width, oc, oh, ow, self.window, size,
            max(1, bits_of(self.results[0][1]) // 8), machine.fabric.macs.get(str(element), 1),
            prod(weights) * size, sum(extra), len(extra), self.folded,
        )  # fmt: skip

    # -- the nest ---------------------------------------------------------------------------------

    def emit(self, block: Block, schedule: Schedule) -> None:
        """Batches and groups, then output channels and positions in the schedule's order, then
        input channels."""
        _, oc, oh, ow, c = self.extents
        toc, th, tw, tc = (min(t, n) for t, n in zip(schedule.tile, (oc, oh, ow, c)))
        tw = ow if self.folded and ow % tw else tw
        args, out_shape = list(block.args), self.results[0][0]
        if tensor_type(self.product.results[0]).element_type != self.results[0][1]:
            tc = c  # partial sums would be rounded to the result's type
        nest = Nest(block)
        batch = [nest.loop(n, 1, name) for n, name in zip(out_shape[:-3], ("b", "g"))]
        at: dict[str, SSAValue | None] = {}
        cut = tc < c

        def weights() -> SSAValue:
            groups = batch[1:]
            index = [*groups, at.get("o"), at.get("c"), 0, 0]
            shape = (*(1 for _ in groups), toc, tc, *self.window.kernel)
            # A tile stays over loops that stand directly inside each other.
            adjacent = schedule.order == "nm" and len(batch) == 1
            outer = [*(batch if adjacent else ()), at.get("y"), at.get("x")]
            keep = outer if schedule.lhs else []
            return self._staged(nest, args[self.weights], index, shape, "w", schedule.lhs, keep)

        def image() -> SSAValue:
            hin, win = self.window.span((th, tw))
            (sy, sx), pad = self.window.strides, (0,) * (1 + len(batch))
            index = [
                *batch,
                at.get("c"),
                nest.affine(at.get("y"), sy),
                nest.affine(at.get("x"), sx),
            ]
            shape = (*(1 for _ in batch), tc, hin, win)
            keep = [at.get("o")] if schedule.rhs else []
            source = self.arguments[self.input][0]
            # The padded image is cut to what the windows cover.
            span = self.window.span((oh, ow))
            high = tuple(s - a - n for s, a, n in zip(span, self.low, source[-2:]))
            return self._staged(
                nest,
                args[self.input],
                index,
                shape,
                "x",
                schedule.rhs,
                keep,
                (*pad, *self.low),
                (*pad, *(max(0, h) for h in high)),
            )

        loaded: dict[str, SSAValue] = {}
        if schedule.order == "mn":
            at["o"] = nest.loop(oc, toc, "o")
            if not cut and not schedule.lhs:
                loaded["w"] = weights()
        at["y"], at["x"] = nest.loop(oh, th, "y"), nest.loop(ow, tw, "x")
        if schedule.order == "nm":
            if not cut and not schedule.rhs:
                loaded["x"] = image()
            at["o"] = nest.loop(oc, toc, "o")
        if not cut:
            if "w" not in loaded:
                loaded["w"] = weights()
            if "x" not in loaded:
                loaded["x"] = image()
        extra: list[SSAValue] = []
        for position in self.extra:
            shape, kind = self.arguments[position]
            places = [*batch, at["o"], at["y"], at["x"]]
            index = [i if n > 1 else None for i, n in zip(places, shape)]
            sizes = (*(1 for _ in batch), toc, th, tw)
            size = tuple(t if n > 1 else 1 for t, n in zip(sizes, shape))
            extra.append(nest.load(args[position], index, size, kind, "extra"))
        out = nest.alloc((*(1 for _ in batch), toc, th, tw), self.results[0][1], "acc")
        over: list[SSAValue] = []
        if cut:
            at["c"] = nest.loop(c, tc, "c")
            if at["c"] is not None:
                over.append(at["c"])
            loaded["w"], loaded["x"] = weights(), image()
        kinds = [self.arguments[p][1] for p in self.extra]
        epilogue = epilogue_region(self.product.results[0], self.maps, kinds)
        window = WindowAttr.of(self.window.kernel, self.window.strides, self.window.dilations)
        nest.builder.insert(
            tile.MatmulOp(
                DATAFLOWS[schedule.dataflow],
                loaded["w"],
                loaded["x"],
                out,
                over,
                extra,
                epilogue,
                window,
            )
        )
        if cut:
            nest.close()
        nest.store(out, args[-1], [*batch, at["o"], at["y"], at["x"]])

    def _staged(
        self,
        nest: Nest,
        source: SSAValue,
        index: Sequence[int | SSAValue | None],
        shape: Sequence[int],
        name: str,
        stays: str,
        keep: Sequence[SSAValue | None],
        low: Sequence[int] | None = None,
        high: Sequence[int] | None = None,
    ) -> SSAValue:
        """Load an operand to L2; by way of L3 where it stays there."""
        element = self.arguments[self.input][1]
        if stays == "l3":
            held = nest.load(
                source, index, shape, element, f"{name}3", Level.L3, keep, None, low, high
            )
            return nest.load(held, [0] * len(shape), shape, element, name)
        return nest.load(source, index, shape, element, name, Level.L2, keep, None, low, high)
