"""From a nest of tiles to a ``dma`` function: the one place that decides rings, routes and
deferral. ``tile-to-dma`` does it to what it reads from IR, the search to what a tiling strategy
writes."""

from __future__ import annotations

from collections.abc import Sequence

from kpu_ir.dialects.tile import Level, unpermuted
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.nest import records
from kpu_ir.nest.records import Function, Loop, Node, Ring, Shape, Tensor, Tile
from kpu_ir.support.errors import KpuError


def stage(function: Function, schedule: Schedule, l3: int, l2: int) -> Function:
    """Bring a function from the ``tile`` to the ``dma`` level.

    What comes from external memory goes to L3 by the DMA, from L3 to L2 by a block mover, into a
    ring for each; results go the other way, deferred. Rings are as deep as ``schedule`` says. Raises
    ``KpuError`` with both figures where they need more than ``l3`` or ``l2`` bytes.
    """
    staging = _Staging(function, schedule)
    function.body = staging.block(function.body)
    place(function, l3, l2)
    return function


def deepen(function: Function, before: Schedule, after: Schedule, l3: int, l2: int) -> None:
    """Make a function that was staged for one schedule one for another, which differs in depths and
    in how far results are deferred, if they are, only. Raises ``KpuError`` as ``stage`` does."""
    for ring in function.rings:
        if ring.deep:
            ring.depth = getattr(after, ring.deep)
    for record in function.stored:
        record.defer += after.defer - before.defer
    place(function, l3, l2)


def place(function: Function, l3: int, l2: int) -> None:
    """Give the rings of a function their addresses: from 0 on, or, of products of blocks of weights, up
    to the end, where their first tiles wait for no small kernel before, which makes their activations."""
    late = _in_blocks(function.body)
    for level, room in (("l3", l3), ("l2", l2)):
        end, rings = 0, [r for r in function.rings if r.level == level]
        for ring in rings:
            ring.address = end
            end = ring.end
        if end > room:
            parts = ", ".join(f"@{r.name} {r.depth} x {r.slot_bytes}" for r in rings)
            raise KpuError(
                f"the tiles of @{function.name} need {end} bytes of {level}, "
                f"the machine has {room} for them ({parts})",
                hint=f"smaller tiles or shallower rings (kpu.schedule), or a machine with {end} "
                f"bytes of {level} for them ({ROOM[level]})",
            )
        for ring in rings if late else ():
            ring.address += (room - end) // records.ALIGNMENT * records.ALIGNMENT


def _in_blocks(nodes: Sequence[Node]) -> bool:
    return any(
        _in_blocks(node.body)
        if isinstance(node, Loop)
        else isinstance(node, records.Matmul) and node.each
        for node in nodes
    )


ROOM = {"l3": "l3.tiles * l3.tile_bytes", "l2": "l2.banks * l2.bank_bytes"}
"""What of a machine says how large a level is."""


class _Staging:
    """``open`` are the loops around; ``results`` the tiles that only the vector engine uses, so
    far."""

    def __init__(self, function: Function, schedule: Schedule) -> None:
        self.function, self.schedule = function, schedule
        self.taken: set[str] = set()
        self.open: list[Loop] = []
        self.results: set[Tile] = set()
        self.here: list[Node] = []

    def block(self, nodes: Sequence[Node]) -> list[Node]:
        """The nodes of a block."""
        outer, self.here = self.here, []
        for node in nodes:
            match node:
                case Loop():
                    self.open.append(node)
                    node.body = self.block(node.body)
                    self.open.pop()
                    self.here.append(node)
                case records.Load():
                    self.load(node)
                case records.Alloc():
                    self.alloc(node)
                case records.Store():
                    self.store(node)
                case records.Matmul():
                    self.used(node.lhs, node.rhs, node.into, *node.extra)
                    self.here.append(node)
                case _:
                    self.here.append(node)
        here, self.here = self.here, outer
        return here

    def add(self, step: records.Steps, of: records.Record) -> None:
        """A step in place of an operation."""
        step.function, step.location = self.function, of.location
        if isinstance(of, records.Store) and isinstance(step, records.Transfer):
            self.function.stored.append(step)
        self.here.append(step)

    # -- rings ------------------------------------------------------------------------------------

    def slot(
        self, tile: Tile, stem: str, deep: str, of: records.Load | records.Alloc | None = None
    ) -> Tile:
        """A ring for a tile, named after it: as deep as that field of the schedule says (one slot
        where none does), or as what is reused of ``of`` fills."""
        name, n = stem, 0
        while name in self.taken:
            n += 1
            name = f"{stem}_{n}"
        self.taken.add(name)
        ring = Ring(name, tile.shape, tile.element, str(tile.level.value), 1, deep=deep)
        filled = self.filled(of) if of is not None and of.reused else 0
        if filled:
            ring.depth, ring.deep = filled, ""
        elif deep:
            ring.depth = getattr(self.schedule, deep)
        self.function.rings.append(ring)
        return self.function.slot(tile, ring)

    def filled(self, of: records.Load | records.Alloc) -> int:
        """How many slots one trip of the outermost loop that a value is reused over fills, if any."""
        fills, count = 0, 1
        for loop in reversed(self.open):
            if loop.index in of.reused:
                if fills and fills != count:
                    raise KpuError(
                        "keep: between loops that a tile stays over stands one that changes it",
                        of.place,
                        "keep it over loops that stand directly inside each other",
                    )
                fills = count
            else:
                count *= len(loop.bounds)
        return fills

    def used(self, *tiles: Tile | Tensor) -> None:
        """Somebody else than the vector engine uses these."""
        for tile in tiles:
            if tile in self.results:
                assert isinstance(tile, Tile)
                tile.ring.depth, tile.ring.deep = self.schedule.out_depth, "out_depth"

    # -- operations -------------------------------------------------------------------------------

    def load(self, of: records.Load) -> None:
        """External to L3 by the DMA, L3 to L2 by a block mover; both where a load goes all the
        way."""
        tile, source, by, stem = of.out, of.source, of.by, of.out.name or "t"
        axes = _axes(of.permuted, tile.shape)
        if isinstance(source, Tile):
            self.used(source)
            self.slot(tile, stem, "depth", of)
            self.add(records.Move(source, of.indices, tile, axes, of.reused, of.after), of)
            return
        if by is not None and by.pinned:
            message = "a list that rows are chosen by is in external memory"
            raise KpuError(message, of.place, "keep it there")
        low, high = of.low, of.high
        if not any(low or ()) and not any(high or ()):
            low = high = None
        if source.pinned:
            if tile.level is not Level.L2 or _moves(axes) or by is not None:
                message = "a tensor that stands in L3 is loaded to L2 as it is"
                raise KpuError(message, of.place, "keep it in external memory")
            self.slot(tile, stem, "depth", of)
            fetch = records.Fetch(source, of.indices, tile, of.reused, low, high, of.fill)
            self.add(fetch, of)
            return
        shape = unpermuted(tile.shape, axes) if _moves(axes) else tile.shape
        to_l3 = tile.level is Level.L3 and shape == tile.shape
        if to_l3:
            tile.name = stem
            staged = self.slot(tile, stem, "l3_depth", of)
        else:  # A tile that stays in L2 only passes through L3.
            staged = Tile(f"{stem}_l3", shape, tile.element, Level.L3)
            self.slot(staged, f"{stem}_l3", "l3_depth")
        self.add(records.Fetch(source, of.indices, staged, of.reused, low, high, of.fill, by), of)
        if not to_l3:
            self.slot(tile, stem, "depth", of)
            self.add(records.Move(staged, [0] * len(shape), tile, axes, of.reused), of)

    def alloc(self, of: records.Alloc) -> None:
        """A slot for a result: one where only the vector engine makes and reads it, since it does
        so in turn."""
        self.slot(of.out, of.out.name or "t", "", of)
        if not of.reused:
            self.results.add(of.out)
        self.add(records.Acquire(of.out, of.reused), of)

    def store(self, of: records.Store) -> None:
        """L2 to L3 by a block mover, L3 to external by the DMA, both deferred."""
        source, target, defer = of.source, of.target, self.schedule.defer
        self.used(source, target)
        if isinstance(target, Tile):
            self.add(records.Put(source, target, defer=defer), of)
            return
        axes, near = _axes(of.permuted, source.shape), source.level is Level.L2
        if target.pinned:
            if not near or _moves(axes):
                message = "a tensor that stands in L3 is stored from L2 as it is"
                raise KpuError(message, of.place, "keep it in external memory")
            self.add(records.Write(source, target, of.indices, of.over, defer=defer), of)
            return
        if near:
            name = f"{source.name or 't'}_l3"
            shape = tuple(source.shape[a] for a in axes)
            tile = Tile(name, shape, source.element, Level.L3)
            self.slot(tile, name, "out_depth")
            zeros = [0] * len(shape)
            self.add(records.Move(source, zeros, tile, axes, over=of.over, defer=defer), of)
            source = tile
            # In order behind its move, the write would make the DMA wait for the mover.
            defer += 1
        elif source.room:
            defer += 1  # behind the put that completes it
        self.add(records.Write(source, target, of.indices, of.over, defer=defer), of)


def _axes(permuted: Shape | None, shape: Shape) -> Shape:
    return tuple(range(len(shape))) if permuted is None else permuted


def _moves(axes: Shape) -> bool:
    return axes != tuple(range(len(axes)))
