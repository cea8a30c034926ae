"""The nest of a transposition: blocks moved through the block mover, nothing computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.dialects.tile import MOVED, counters
from kpu_ir.lowering.run_costs import stretch
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.lowering.shapes import Shape
from kpu_ir.lowering.space import Space, block_space
from kpu_ir.machine import Machine
from kpu_ir.nest.records import Tensor
from kpu_ir.nest.writing import Nest
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import bits_of


def simplified(shape: Shape, axes: Sequence[int]) -> tuple[Shape, tuple[int, ...]]:
    """A transposition without its dimensions of extent 1, neighbours that stay neighbours merged.

    >>> simplified((1, 128, 12, 64), (0, 2, 1, 3))
    ((128, 12, 64), (1, 0, 2))
    >>> simplified((2, 3, 4), (2, 0, 1))
    ((6, 4), (1, 0))
    """
    order = [axis for axis in axes if shape[axis] > 1]
    runs: list[list[int]] = []
    for axis in order:
        between = [a for a in range(runs[-1][-1] + 1, axis)] if runs else []
        if runs and axis > runs[-1][-1] and all(shape[a] == 1 for a in between):
            runs[-1].append(axis)
        else:
            runs.append([axis])
    if not runs:
        return (1,), (0,)
    sources = sorted(range(len(runs)), key=lambda r: runs[r][0])
    extents = []
    for r in sources:
        n = 1
        for axis in runs[r]:
            n *= shape[axis]
        extents.append(n)
    return tuple(extents), tuple(sources.index(r) for r in range(len(runs)))


def run(block: Sequence[int], shape: Sequence[int]) -> int:
    """Elements of a block that stand one behind the other in a tensor.

    >>> run((4, 2, 8), (16, 4, 8))
    16
    """
    length = 1
    for extent, whole in zip(reversed(block), reversed(shape)):
        length *= extent
        if extent < whole:
            break
    return length


@dataclass(frozen=True)
class Movement:
    """``out = in`` with its dimensions in another order."""

    arguments: tuple[tuple[Shape, Attribute], ...]
    results: tuple[tuple[Shape, Attribute], ...]
    axes: tuple[int, ...]
    kind: ClassVar[str] = "movement"

    @staticmethod
    def of(func: FuncOp, operations: Sequence[Operation]) -> Movement | None:
        """One transposition; None for anything else."""
        if len(operations) != 1 or not isinstance(operations[0], kernel.TransposeOp):
            return None
        op = operations[0]
        source = tensor_type(op.source)
        shape, axes = simplified(source.get_shape(), op.axes)
        kind = source.element_type
        return Movement(((shape, kind),), ((tuple(shape[a] for a in axes), kind),), axes)

    def default(self, machine: Machine, space: Space | None = None) -> Schedule:
        """A block in the last dimensions of source and result: of the one that begins with the source's
        and the one that begins with the result's, that whose runs memory moves faster."""
        kind = self.arguments[0][1]
        room = min(8192, min(machine.l2.bytes, machine.l3.bytes) // (8 * bits_of(kind) // 8))

        def cost(block: Shape) -> float:
            out = tuple(block[a] for a in self.axes)
            ends = (run(block, self.arguments[0][0]), run(out, self.results[0][0]))
            return sum(float(stretch(machine, n * bits_of(kind) / 8)) for n in ends)

        return Schedule(tile=min((self.block(room), self.block(room, True)), key=cost))

    def candidates(self, machine: Machine) -> Space:
        """Blocks of several sizes."""
        shape, kind = self.arguments[0]
        moved = 2 * prod(shape) * bits_of(kind) // 8
        blocks = (self.block(256 << n) for n in range(8))
        return block_space(shape, blocks, moved, machine)

    def block(self, room: int, written_first: bool = False) -> Shape:
        """A block of at most about ``room`` elements, or of one run of 16.

        Runs of the source and of the result become about equally long, from their last dimensions
        on; what room is left makes the source's longer, then the result's, or ``written_first``. Who
        comes first has what dimensions a mover steps through.
        """
        shape = self.arguments[0][0]
        wanted = [1] * len(shape)
        read, written = tuple(range(len(shape)))[::-1], self.axes[::-1]
        side = max(16, int(room**0.5))
        orders = (written, read) if written_first else (read, written)
        for order in orders:
            length = 1
            for axis in order:
                if length >= side:
                    break
                self._widen(wanted, axis, -(-side // length))
                length *= wanted[axis]
        wanted = self._even(wanted)
        for axis in (*orders[0], *orders[1]):
            self._widen(wanted, axis, wanted[axis] * room // prod(wanted))
        return tuple(self._even(wanted))

    def _even(self, wanted: Sequence[int]) -> list[int]:
        """As many blocks as before, of about the same size."""
        shape = self.arguments[0][0]
        return [-(-n // -(-n // extent)) for n, extent in zip(shape, wanted)]

    def _widen(self, wanted: list[int], axis: int, extent: int) -> None:
        """Let a block have so many elements of a dimension, as far as the tensor and a mover allow."""
        before = wanted[axis]
        wanted[axis] = max(before, min(extent, self.arguments[0][0][axis]))
        if counters(wanted, self.axes) > MOVED:
            wanted[axis] = before

    def emit(self, nest: Nest, args: Sequence[Tensor], schedule: Schedule) -> None:
        """The nest: one loop a dimension of the source."""
        shape, kind = self.arguments[0]
        sizes = tuple(min(t, n) for t, n in zip(schedule.tile, shape))
        if counters(sizes, self.axes) > MOVED:
            raise KpuError(
                f"a block mover steps through {MOVED} dimensions; a block of {sizes} in the order "
                f"{list(self.axes)} needs {counters(sizes, self.axes)}",
                f"@{nest.function.name}",
                "a tile of fewer dimensions with more than one element",
            )
        at = [nest.loop(n, t, f"i{axis}") for axis, (n, t) in enumerate(zip(shape, sizes))]
        out = tuple(sizes[a] for a in self.axes)
        moved = nest.load(args[0], at, out, kind, "block", permuted=self.axes)
        nest.store(moved, args[1], [at[a] for a in self.axes])
