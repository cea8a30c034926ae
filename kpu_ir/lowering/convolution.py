"""The nest of a convolution: a product of weights by windows that are never laid out in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Block, Operation, SSAValue

from kpu_ir.dialects import kernel, tile
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.dialects.tile import Level, Window, WindowAttr
from kpu_ir.lowering.contraction import DATAFLOWS, Contraction
from kpu_ir.lowering.nest import Nest, epilogue_region, outside_inputs
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.shapes import Shape, aligned, round_up
from kpu_ir.lowering.space import Candidate, ceildiv, sides
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

    def default(self, machine: Machine) -> Schedule:
        """The most promising schedule of the space."""
        found = self.candidates(machine)
        if found:
            return min(found, key=lambda c: (c.guess, c.bytes)).schedule
        return Schedule(tile=(1, 1, 1, 1))

    def candidates(self, machine: Machine) -> list[Candidate]:
        """Schedules whose rings fit, with their bounds."""
        return [c for s in self._tiles(machine) for c in self._placed(s, machine)]

    def _tiles(self, machine: Machine) -> Iterator[Schedule]:
        _, oc, oh, ow, c = self.extents
        rows, columns = machine.fabric.rows, machine.fabric.columns
        # What is beyond a row of a folded image is not its end: a tile does not hang over it.
        cuts = (w for w in (16, 32, 64, 112) if w < ow)
        widths = sorted({ow, *(w for w in cuts if not self.folded or ow % w == 0)})
        heights = sorted(
            {
                oh,
                *(h for h in (1, 2, 4, 7, 8, 14, 16, 28) if h < oh),
                *(ceildiv(oh, n) for n in (2, 3, 4)),
            }
        )
        channels = sorted({c, *(n for n in (8, 16, 32, 64, 128) if n < c)})
        for flow in ("os", "is", "ws"):
            for toc in sides(oc, columns if flow == "is" else rows, 1 << 30):
                for th in heights:
                    for tw in widths:
                        for tc in channels:
                            yield Schedule((toc, th, tw, tc), flow)

    def _placed(self, s: Schedule, machine: Machine) -> Iterator[Candidate]:
        """The schedule with its orders, and what stays on chip."""
        lead, oc, oh, ow, c = self.extents
        toc, th, tw, tc = s.tile
        rows, columns = machine.fabric.rows, machine.fabric.columns
        element, out_element = self.arguments[self.weights][1], self.results[0][1]
        size, out_size = max(1, bits_of(element) // 8), max(1, bits_of(out_element) // 8)
        g = machine.fabric.macs.get(str(element), 1)
        taps = self.window.taps
        hin, win = self.window.span((th, tw))
        w_slot, x_slot = round_up(toc * tc * taps * size, 64), round_up(tc * hin * win * size, 64)
        out_slot = round_up(toc * th * tw * out_size, 64)
        if out_slot > machine.l2.bytes or x_slot + w_slot > machine.l2.bytes:
            return
        over_o, over_c = ceildiv(oc, toc), ceildiv(c, tc)
        spots = ceildiv(oh, th) * ceildiv(ow, tw)
        wide = machine.bandwidth["dma"]
        narrow = machine.bandwidth["mover"]

        def folds(extent: int, step: int, side: int) -> int:
            whole, rest = divmod(extent, step)
            return whole * ceildiv(step, side) + (ceildiv(rest, side) if rest else 0)

        def places(side: int) -> int:
            """Positions of all tiles, each tile's rounded up to the array's side."""
            total = 0
            for a in (*[th] * (oh // th), *([oh % th] if oh % th else [])):
                for b in (*[tw] * (ow // tw), *([ow % tw] if ow % tw else [])):
                    total += ceildiv(a * b, side)
            return total

        if s.dataflow == "os":
            depth = sum(max(ceildiv(min(tc, c - i) * taps, g), rows) for i in range(0, c, tc))
            array = folds(oc, toc, rows) * places(columns) * depth
        else:
            ks = sum(ceildiv(min(tc, c - i) * taps, rows * g) for i in range(0, c, tc))
            if s.dataflow == "is":
                stream = spots * max(th * tw, rows)
                array = ks * folds(oc, toc, columns) * min(stream, max(oh * ow, spots * rows))
            else:
                array = (
                    ks
                    * places(columns)
                    * sum(max(min(toc, oc - i), rows) for i in range(0, oc, toc))
                )
        array *= lead
        weights = prod(self.arguments[self.weights][0]) * size
        n = self.results[0][0][0]
        plane = sum(
            min(self.window.span((min(th, oh - i), 1))[0], self.arguments[self.input][0][-2])
            for i in range(0, oh, th)
        )
        line = sum(
            min(self.window.span((1, min(tw, ow - i)))[1], self.arguments[self.input][0][-1])
            for i in range(0, ow, tw)
        )
        image = lead * c * plane * line * size
        out = lead * oc * oh * ow * out_size
        more = sum(
            prod(self.arguments[p][0]) * bits_of(self.arguments[p][1]) // 8 for p in self.extra
        )
        for order in ("mn", "nm"):
            again_w = (n if over_c > 1 or order == "nm" or n > 1 else 1) * (
                spots if over_c > 1 or order == "nm" else 1
            )
            again_x = over_o if over_c > 1 or order == "mn" else 1
            for lhs, rhs in ((False, False), (True, False), (False, True), (True, True)):
                if (lhs and again_w == 1) or (rhs and again_x == 1):
                    continue
                held_w = over_c * (over_o if order == "nm" or n > 1 else 1)
                held_x = over_c * (spots if order == "mn" else 1)
                for near_w in ("l2", "l3") if lhs else ("",):
                    for near_x in ("l2", "l3") if rhs else ("",):
                        for out_depth in (2, 1):
                            l2 = w_slot * (held_w if near_w == "l2" else 2) + out_slot * out_depth
                            l2 += x_slot * (held_x if near_x == "l2" else 2)
                            l3 = w_slot * (held_w if near_w == "l3" else 2) + out_slot * out_depth
                            l3 += x_slot * (held_x if near_x == "l3" else 2)
                            l2 += sum(2 * toc * 64 for _ in self.extra)
                            if l2 > machine.l2.bytes or l3 > machine.l3.bytes:
                                continue
                            external = weights * (1 if lhs else again_w) + image * (
                                1 if rhs else again_x
                            )
                            external += out + more
                            inward = weights * (1 if near_w == "l2" else again_w)
                            inward += image * (1 if near_x == "l2" else again_x)
                            cycles = max(array, external // wide, (inward + out) // narrow)
                            step = max(1, array // (lead * over_o * spots * over_c))
                            ends = (
                                machine.external.latency
                                + (w_slot + x_slot) // wide
                                + (w_slot + x_slot) // narrow
                            )
                            ends += out_slot // wide + out_slot // narrow
                            if out_depth == 1:
                                ends += lead * over_o * spots * (out_slot // narrow)
                            depth = min(4, 2 + machine.external.latency // step)
                            defer = 2 + depth
                            yield Candidate(
                                replace(
                                    s,
                                    order=order,
                                    lhs=near_w,
                                    rhs=near_x,
                                    l3_depth=2,
                                    out_depth=out_depth,
                                    defer=defer,
                                ),
                                cycles,
                                external,
                                cycles + ends,
                            )
                            break

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
