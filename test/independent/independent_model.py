"""A second reading of time: a parsed ``dma`` program, stepped operation by operation.

Written from docs/timing.md, docs/array.md and the docstrings of the ``dma`` dialect; it reads functions as
records (``kpu_ir.nest``) and imports nothing of ``kpu_ir.sim``. It knows no runs of equal trips, no fast
forwarding, no classes of channels: each trip clips its tiles anew, each channel is a clock of its own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import gcd, prod

import independent_prices as price
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import CallOp, FuncOp

from kpu_ir.dialects import tile as tile_dialect
from kpu_ir.nest import records as r
from kpu_ir.nest.ir import read_dma


def multiplier(*kinds) -> str:
    """What the machine's tables call the type that multiplies these: the widest, signs aside."""
    wide = max(kinds, key=r.bits_of)
    name = str(wide).removeprefix("u")
    return "f8" if name.startswith("f8") else "i4" if name in ("i2", "i3") else name


@dataclass(eq=False)
class Place:
    """A slot or a tensor: when it is free and ready, what it holds, how much of the queue touches it."""

    free: int = 0
    ready: int = 0
    extents: tuple | None = None
    pending: int = 0
    spans: list = field(default_factory=list)


@dataclass
class Clock:
    free: int = 0
    reads: bool | None = None
    busy: int = 0


@dataclass
class Result:
    cycles: int
    busy: dict
    counts: dict


class Kernel:
    """A function with its slots; rings stay where they are from call to call, and begin anew."""

    def __init__(self, func: FuncOp) -> None:
        self.f = read_dma(func)
        self.slots = {ring.name: [Place() for _ in range(ring.depth)] for ring in self.f.rings}
        for ring in self.f.rings:
            for i, slot in enumerate(self.slots[ring.name]):
                at = ring.address + i * ring.slot_bytes
                slot.spans.append((ring.level, at, at + ring.slot_bytes))
        self.begun, self.readers, self.on_vector = set(), {}, {}
        given = set()
        for node in self.all(self.f.body):
            if isinstance(node, r.Matmul):
                self.begun.add(node.into)
                if node.sums is not None:
                    self.begun.add(node.sums)
            elif isinstance(node, r.Put | r.Map | r.Reduce | r.Rowwise | r.Windowed):
                given.add(node.into)
            elif isinstance(node, r.Move):
                given.add(node.out)
            for read in sources(node):
                if isinstance(read, r.Tile):
                    self.readers.setdefault(read.ring.name, set()).add(engine_of(node))
        self.begun -= given
        self.instructions = self.size(self.f.body)

    def size(self, nodes) -> int:
        """Operations of the text that are instructions, and loops."""
        loops = [n for n in nodes if isinstance(n, r.Loop)]
        own = [n for n in nodes if not isinstance(n, r.Loop | r.Index | r.Acquire)]
        return len(own) + sum(1 + self.size(loop.body) for loop in loops)

    def all(self, nodes):
        for node in nodes:
            if isinstance(node, r.Loop):
                yield from self.all(node.body)
            elif not isinstance(node, r.Index):
                yield node


def sources(node) -> list:
    match node:
        case r.Fetch():
            return [node.source] + ([node.by] if node.by is not None else [])
        case r.Move() | r.Put() | r.Write() | r.Reduce():
            return [node.source]
        case r.Rowwise():
            return [node.source, *([node.by] if node.by is not None else [])]
        case r.Matmul():
            return [node.lhs, node.rhs, *node.extra]
        case r.Map():
            return [*node.inputs]
        case r.Windowed():
            return [node.source, *([node.weights] if node.weights is not None else []), *node.extra]
    return []


def engine_of(node) -> str:
    match node:
        case r.Fetch():
            return "mover" if node.source.pinned else "dma"
        case r.Write():
            return "mover" if node.target.pinned else "dma"
        case r.Move() | r.Put():
            return "mover"
        case r.Matmul():
            return "fabric"
    return "vector"


class Model:
    """A whole program on a machine (nested dictionaries)."""

    def __init__(self, module: ModuleOp, machine: dict) -> None:
        self.m = machine
        self.clocks = {("dma", c): Clock() for c in range(machine["dma"]["channels"])}
        self.clocks |= {("mover", c): Clock() for c in range(machine["mover"]["channels"])}
        self.clocks |= {(name, 0): Clock() for name in ("fabric", "feed", "drain", "vector")}
        self.counts: dict[str, int] = {}
        self.now, self.queue = 0, deque()
        functions = {f.sym_name.data: f for f in module.ops if isinstance(f, FuncOp)}
        self.calls: list[tuple[Kernel, list[Place]]] = []
        self.end = 0
        main = functions["main"]
        if not any(op.name == "dma.program" for op in main.body.block.ops):
            kernels = {n: Kernel(f) for n, f in functions.items() if n != "main"}
            self.load(main, kernels)
        else:
            self.calls = [(Kernel(main), [Place() for _ in main.body.block.args])]
        self.share()

    def load(self, main: FuncOp, kernels: dict[str, Kernel]) -> None:
        places = {arg: Place() for arg in main.body.block.args}
        for op in main.body.block.ops:
            match op:
                case tile_dialect.BufferOp() | tile_dialect.ConstantOp():
                    places[op.result] = Place()
                    if tile_dialect.is_pinned(op.result.type):
                        t = op.result.type
                        bits, count = r.bits_of(t.element_type), t.element_count()
                        assert op.address is not None
                        at = op.address.value.data
                        places[op.result].spans.append(("l3", at, at + (bits * count + 7) // 8))
                case tile_dialect.ViewOp():
                    places[op.result] = places[op.source]
                case CallOp():
                    kernel = kernels[op.callee.root_reference.data]
                    self.calls.append((kernel, [places[v] for v in op.arguments]))

    def share(self) -> None:
        """Who has bytes in common: slots of different kernels, tensors in L3."""
        owned = {}
        for kernel, tensors in self.calls:
            owned |= {id(t): (t, None) for t in tensors if t.spans}
            owned |= {id(s): (s, kernel) for slots in kernel.slots.values() for s in slots}
        self.sharing = {}
        for one, owner in owned.values():
            self.sharing[id(one)] = [
                other
                for other, another in owned.values()
                if other is not one
                and (owner is None or another is not owner)
                and any(
                    a[0] == b[0] and a[1] < b[2] and b[1] < a[2]
                    for a in one.spans
                    for b in other.spans
                )
            ]

    def run(self) -> Result:
        for kernel, tensors in self.calls:
            self.kernel, self.tensors = kernel, tensors
            for place in [*(s for slots in kernel.slots.values() for s in slots), *tensors]:
                for other in self.sharing.get(id(place), ()):
                    place.free = max(place.free, other.free, other.ready)
            self.heads = dict.fromkeys(kernel.slots, -1)
            self.at, self.trip, self.tiles = {}, {}, {}
            control = self.m["control"]
            program, self.again = control["instruction_bytes"] * kernel.instructions, 0
            if program > control["memory_bytes"]:
                self.again, program = control["instruction_bytes"], 0
            self.counts["instructions"] = self.counts.get("instructions", 0) + program
            self.block(kernel.f.body)
            while self.queue:
                self.issue()
            places = [*(s for slots in kernel.slots.values() for s in slots), *tensors]
            self.end = max(
                [self.end, *(p.ready for p in places), *(c.free for c in self.clocks.values())]
            )
        busy = {name: clock.busy for name, clock in self.clocks.items()}
        return Result(self.end, busy, {k: n for k, n in self.counts.items() if n})

    # -- loops --------------------------------------------------------------------------------

    def block(self, nodes) -> bool:
        """Whether anything was done."""
        done = False
        for node in nodes:
            if isinstance(node, r.Loop):
                var, done_inside = node.index.var, False
                for trip, value in enumerate(node.bounds):
                    self.at[var], self.trip[var] = value, (trip, len(node.bounds))
                    innermost = not any(isinstance(n, r.Loop) for n in node.body)
                    did = self.block(node.body)
                    done_inside |= did
                    if innermost and did:
                        self.now += 1
                        while self.queue and self.queue[0][0] <= self.now:
                            self.issue()
                done |= done_inside
            elif not isinstance(node, r.Index):
                done |= getattr(self, type(node).__name__.lower())(node)
        return done

    def first(self, loops) -> bool:
        return all(self.trip[i.var][0] == 0 for i in loops)

    def last(self, loops) -> bool:
        return all(self.trip[i.var][0] == self.trip[i.var][1] - 1 for i in loops)

    def offset(self, index) -> int:
        return index if isinstance(index, int) else index.affine.at(self.at)

    def pattern(self, indices, strides, less=None) -> tuple[int, int]:
        """Where a block begins in bits, up to multiples of a grain."""
        at = grain = 0
        for i, (index, stride) in enumerate(zip(indices, strides)):
            if less:
                at -= less[i] * stride
            if isinstance(index, int):
                at += index * stride
                continue
            at += index.affine.const * stride
            for var, c in index.affine.terms:
                bounds = self.kernel.f.loops[var].bounds
                at += c * bounds.start * stride
                if len(bounds) > 1:
                    grain = gcd(grain, c * bounds.step * stride)
        return at, grain

    # -- slots and the queue --------------------------------------------------------------------

    def next(self, tile) -> Place:
        slots = self.kernel.slots[tile.ring.name]
        self.heads[tile.ring.name] = (self.heads[tile.ring.name] + 1) % len(slots)
        slot = slots[self.heads[tile.ring.name]]
        self.tiles[tile] = (slot, None)
        return slot

    def settle(self, place: Place) -> None:
        while place.pending:
            self.issue()

    def issue(self) -> None:
        _, source, target, what = self.queue.popleft()
        source.pending -= 1
        target.pending -= 1
        what()

    def extents(self, tile) -> tuple | None:
        return self.tiles[tile][1] if tile in self.tiles else None

    def holds(self, tile, extents) -> None:
        slot = self.tiles[tile][0]
        self.tiles[tile] = (slot, extents)
        slot.extents = extents

    # -- one operation ----------------------------------------------------------------------------

    def priced(self, node, p: price.Price, target) -> price.Price:
        """With what starting it and telling of it costs."""
        issue, sync = self.m["control"]["issue"], self.m["control"]["sync"]
        issue += -(-self.again // self.m["dma"]["bytes_per_cycle"])
        own, *others = p.holds
        holds = [
            (own[0], own[1], own[2] + issue),
            *((e, b + issue, t + issue) for e, b, t in others),
        ]
        late = issue
        if isinstance(target, r.Tile):
            me = engine_of(node)
            if any(
                reader != me or me == "fabric"
                for reader in self.kernel.readers.get(target.ring.name, ())
            ):
                late += sync
        return price.Price(holds, p.latency + late, p.release + issue, p.counts)

    def start(self, p: price.Price, channels, not_before: int, reads: bool | None = None) -> int:
        """Take the engines as soon as all of them are free."""
        used = []
        for name, begin, end in p.holds:
            for key, clock in self.clocks.items():
                if key[0] == name and (
                    channels is None or key[1] in channels or name not in ("dma", "mover")
                ):
                    used.append((clock, begin, end))
        start = max([not_before, *(clock.free - begin for clock, begin, _ in used)])
        if reads is not None:
            rest = self.m["external"]["write_to_read" if reads else "read_to_write"]
            for clock, _, _ in used:
                if clock.reads is not None and clock.reads != reads:
                    start = max(start, clock.free + rest)
                clock.reads = reads
        for clock, begin, end in used:
            clock.free, clock.busy = start + end, clock.busy + end - begin
        for what, n in {**p.counts, "instructions": self.again}.items():
            self.counts[what] = self.counts.get(what, 0) + n
        return start

    def transfer(
        self, node, p, source: Place, target: Place, marks: bool, fills: bool, more=()
    ) -> None:
        wait = max([source.ready, target.free, *(place.ready for place in more)])
        dma = engine_of(node) == "dma"
        start = self.start(p, node.channels, wait, isinstance(node, r.Fetch) if dma else None)
        if marks:
            source.free = max(source.free, start + p.holds[0][2])
        if fills:
            target.ready = target.free = start + p.latency
        else:
            target.ready = max(target.ready, start + p.latency)

    def later(self, node, source: Place, target: Place, what) -> None:
        if not node.defer:
            self.settle(target)
            self.settle(source)
            what()
            return
        due = max(self.now + node.defer, self.queue[-1][0] if self.queue else 0)
        self.queue.append((due, source, target, what))
        source.pending += 1
        target.pending += 1

    def channels(self, node, kind: str) -> int:
        return self.m[kind]["channels"] if node.channels is None else len(node.channels)

    def fetch(self, node: r.Fetch) -> bool:
        t, tile, low, high = node.source, node.out, node.low, node.high
        shape = t.shape if node.by is None else (t.shape[0], *node.by.shape, *t.shape[2:])
        got, inside = [], []
        for axis, size in enumerate(tile.shape):
            before, after = (low[axis], high[axis]) if low else (0, 0)
            at = self.offset(node.indices[axis])
            n = min(size, before + shape[axis] + after - at)
            if n <= 0:
                self.tiles.pop(tile, None)
                return False
            got.append(n)
            inside.append(max(0, min(at + n, before + shape[axis]) - max(at, before)))
        slot = self.next(tile)
        if not self.first(node.reused):
            self.settle(slot)
            self.holds(tile, tuple(got))
            return True
        bits = tile.ring.bits
        size = r.packed(bits, inside)
        strides = [t.bits * prod(t.shape[a + 1 :]) for a in range(len(t.shape))]
        if node.by is not None:
            size += r.packed(node.by.bits, inside[1:2])
            at, grain = self.pattern(node.indices[1:2], [node.by.bits])
            listed = price.runs(node.by.shape, inside[1:2], node.by.bits, at, grain)
            at, grain = self.pattern(node.indices[:1], strides)
            parts = [listed, price.runs(t.shape, inside, t.bits, at, grain, scattered=1)]
        else:
            at, grain = self.pattern(node.indices, strides, low)
            parts = [price.runs(t.shape, inside, t.bits, at, grain)]
        tensor = self.tensors[t.position]
        if t.pinned:
            p = price.move(self.m, parts[0], size, self.channels(node, "mover"), True, 0)
        else:
            p = price.external(self.m, parts, size, self.channels(node, "dma"), True)
        more = [] if node.by is None else [self.tensors[node.by.position]]
        self.settle(slot)
        self.transfer(node, self.priced(node, p, tile), tensor, slot, t.pinned, True, more)
        self.holds(tile, tuple(got))
        return True

    def move(self, node: r.Move) -> bool:
        tile = node.out
        if node.after is not None and self.trip[node.after.var][0] == 0:
            slot = self.next(tile)
            self.settle(slot)
            slot.ready = slot.free
            return True
        if not self.last(node.over):
            self.tiles.pop(tile, None)
            return False
        source = self.extents(node.source)
        if source is None:
            self.tiles.pop(tile, None)
            return False
        sizes = [0] * len(tile.shape)
        for axis, n in zip(node.permuted, tile.shape):
            sizes[axis] = n
        block = [min(n, whole - self.offset(i)) for n, whole, i in zip(sizes, source, node.indices)]
        if min(block, default=1) <= 0:
            self.tiles.pop(tile, None)
            return False
        slot, origin = self.next(tile), self.tiles[node.source][0]
        extents = tuple(block[axis] for axis in node.permuted)
        if not self.first(node.reused):
            self.settle(slot)
            self.holds(tile, extents)
            return True
        bits, rank = node.source.ring.bits, len(block)
        strides = [bits * prod(source[a + 1 :]) for a in range(rank)]
        at, grain = self.pattern(node.indices, strides)
        kept = rank
        while kept and node.permuted[kept - 1] == kept - 1:
            kept -= 1
        run = price.runs(source, block, bits, at, grain, kept=min(kept, rank - 1))
        wide = [a for a in range(rank) if block[a] > 1]
        turned = [a for a in node.permuted if block[a] > 1]
        size = r.packed(tile.ring.bits, extents)
        transposed = prod(block) if wide and wide[-1] != turned[-1] else 0
        p = price.move(
            self.m, run, size, self.channels(node, "mover"), tile.ring.level == "l2", transposed
        )
        p = self.priced(node, p, tile)
        self.settle(slot)  # it is taken here, whenever the move is issued
        self.later(node, origin, slot, lambda: self.transfer(node, p, origin, slot, True, True))
        self.holds(tile, extents)
        return True

    def acquire(self, node: r.Acquire) -> bool:
        tile = node.out
        slot = self.next(tile)
        if node.reused and not self.first(node.reused):
            self.settle(slot)
            self.tiles[tile] = (slot, slot.extents)
        elif tile not in self.kernel.begun:
            self.settle(slot)
            slot.ready, slot.extents = slot.free, None
        else:
            slot.extents = None
        return True

    def put(self, node: r.Put) -> bool:
        source = self.extents(node.source)
        if source is None:
            return False
        bits = node.source.ring.bits
        size = r.packed(bits, source)
        run = price.runs(source, source, bits, 0, 0)
        p = self.priced(
            node, price.move(self.m, run, size, self.channels(node, "mover"), False, 0), node.into
        )
        origin, slot = self.tiles[node.source][0], self.tiles[node.into][0]
        self.holds(node.into, source)
        self.later(node, origin, slot, lambda: self.transfer(node, p, origin, slot, True, True))
        return True

    def write(self, node: r.Write) -> bool:
        if not self.last(node.over):
            return False
        source, t = self.extents(node.source), node.target
        if source is None:
            return False
        left = [n - self.offset(i) for n, i in zip(t.shape, node.indices)]
        if min(left) <= 0:
            return False
        strides = [t.bits * prod(t.shape[a + 1 :]) for a in range(len(t.shape))]
        at, grain = self.pattern(node.indices, strides)
        run, size = price.runs(t.shape, source, t.bits, at, grain), r.packed(t.bits, source)
        if t.pinned:
            p = price.move(self.m, run, size, self.channels(node, "mover"), False, 0)
        else:
            p = price.external(self.m, [run], size, self.channels(node, "dma"), False)
        p, origin, tensor = (
            self.priced(node, p, None),
            self.tiles[node.source][0],
            self.tensors[t.position],
        )
        self.later(
            node, origin, tensor, lambda: self.transfer(node, p, origin, tensor, True, False)
        )
        return True

    # -- computing ----------------------------------------------------------------------------------

    def compute(self, node, p: price.Price, operands, into, gate: str, early: int) -> None:
        """The first ``early`` operands are free when the engine is, others when the price releases them."""
        p, slot = self.priced(node, p, into), self.tiles[into][0]
        places = [self.tiles[t][0] for t in operands]
        for place in places:
            self.settle(place)
        if gate == "free":
            self.settle(slot)
        wait = max([place.ready for place in places], default=0)
        if gate:
            wait = max(wait, slot.free if gate == "free" else slot.ready)
        start = self.start(p, None, wait)
        for i, place in enumerate(places):
            place.free = max(place.free, start + (p.holds[0][2] if i < early else p.release))
        slot.ready = slot.free = start + p.latency

    def bytes(self, tiles) -> int:
        return sum(r.packed(t.ring.bits, self.extents(t)) for t in tiles)

    def matmul(self, node: r.Matmul) -> bool:
        a, b = self.extents(node.lhs), self.extents(node.rhs)
        if a is None or b is None:
            return False
        begins, ends = self.first(node.over), self.last(node.over)
        if node.window is not None:
            batch, m, k = b[:-3], a[-4], prod(a[-3:])
            positions = node.window.positions(b[-2:])
        else:
            batch = tuple(max(x, y) for x, y in zip(a[:-2], b[:-2]))
            m, k, positions = a[-2], a[-1], (b[-1],)
        n, count = prod(positions), prod(batch)
        finishes = ends or node.each  # what it adds may be finished in each trip
        extra = list(node.extra) if finishes else []
        block = node.epilogue.block if finishes and node.epilogue else None
        bits = (node.lhs.ring.bits, node.rhs.ring.bits)
        element = multiplier(node.lhs.element, node.rhs.element)
        into = node.into if ends or node.sums is None else node.sums
        out = r.packed(into.ring.bits, (count, m, n))
        sums = out if node.each else r.packed(self.sum_bits(node), (count, m, n))
        short = [multiplier(t.element) != element for t in (node.lhs, node.rhs)]
        p = price.product_price(
            self.m, node.dataflow.short, element, bits, short, count, m, n, k, not begins, block, out, sums,
            self.bytes(extra),
        )  # fmt: skip
        operands, apart = [node.lhs, node.rhs, *extra], ends and node.sums is not None
        own = (node.into if node.sums is None else node.sums) in self.kernel.begun
        gate = self.gate(into)
        if own and not apart and (not begins or node.sums is not None):
            gate = ""  # sums that only products write
        if not own and apart and not begins:
            operands.append(node.sums)
        self.compute(node, p, operands, into, gate, 2)
        self.holds(into, (*batch, m, *positions))
        return True

    def sum_bits(self, node: r.Matmul) -> int:
        """Of an element of a partial sum: 32 at least, unless an epilogue says otherwise."""
        if node.sums is not None:
            return node.sums.ring.bits
        if node.epilogue is None:
            return max(32, node.into.ring.bits)
        return r.bits_of(node.epilogue.block.args[0].type)

    def gate(self, into) -> str:
        return "free" if into in self.kernel.begun else "ready"

    def map(self, node: r.Map) -> bool:
        known = [self.extents(t) for t in node.inputs]
        if any(e is None for e in known):
            return False
        into = node.into
        extents = tuple(
            n if all(t.shape[axis] == 1 for t in node.inputs) else max(e[axis] for e in known)
            for axis, n in enumerate(into.shape)
        )
        written = r.packed(into.ring.bits, extents)
        p = price.map_price(
            self.m, node.body.block, prod(extents), self.bytes(node.inputs), written
        )
        self.compute(node, p, node.inputs, into, self.gate(into), len(node.inputs))
        self.holds(into, extents)
        return True

    def reduce(self, node: r.Reduce) -> bool:
        source = self.extents(node.source)
        if source is None:
            return False
        extents = tuple(1 if axis in node.axes else n for axis, n in enumerate(source))
        read = r.packed(node.source.ring.bits, source)
        written = r.packed(node.into.ring.bits, extents)
        p = price.reduce_price(
            self.m, str(node.reduction.value), len(source) - 1 in node.axes, prod(source), prod(extents),
            not self.first(node.over), read, written,
        )  # fmt: skip
        self.compute(node, p, [node.source], node.into, self.gate(node.into), 1)
        self.holds(node.into, extents)
        return True

    def rowwise(self, node: r.Rowwise) -> bool:
        operands = sources(node)
        source = self.extents(node.source)
        if any(self.extents(t) is None for t in operands):
            return False
        axis, count = node.axis, node.into.shape[node.axis]
        extents = (*source[:axis], count, *source[axis + 1 :])
        read = r.packed(node.source.ring.bits, source if node.by is None else extents)
        if node.by is not None:
            read += r.packed(node.by.ring.bits, extents)
        written = r.packed(node.into.ring.bits, extents)
        p = price.row_price(
            self.m, str(node.what.value), prod(source), source[axis], count, prod(extents),
            axis == len(source) - 1, read, written,
        )  # fmt: skip
        self.compute(node, p, operands, node.into, self.gate(node.into), len(operands))
        self.holds(node.into, extents)
        return True

    def windowed(self, node: r.Windowed) -> bool:
        source = self.extents(node.source)
        if source is None:
            return False
        extents = (*source[:-2], *node.window.positions(source[-2:]))
        operands = sources(node)
        written = r.packed(node.into.ring.bits, extents)
        weighted = "" if node.weights is None else multiplier(node.source.element)
        block = node.epilogue.block if node.epilogue else None
        p = price.window_price(
            self.m, str(node.reduction.value), node.window.taps, prod(extents), weighted, block,
            self.bytes(operands), written,
        )  # fmt: skip
        self.compute(node, p, operands, node.into, self.gate(node.into), len(operands))
        self.holds(node.into, extents)
        return True
