"""How a nest reads a tensor that is stored with its dimensions in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from xdsl.ir import Attribute, SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.dialects.tile import Level
from kpu_ir.lowering.shapes import Shape, aligned
from kpu_ir.nest.records import Index, Tensor, Tile
from kpu_ir.nest.writing import Nest


@dataclass(frozen=True)
class Operand:
    """An argument of a kernel's function: dimension i of what the nest sees is stored dimension
    ``axes[i]``. ``stored`` has as many dimensions as the nest (leading ones)."""

    position: int
    stored: Shape
    axes: tuple[int, ...]
    kind: Attribute

    @staticmethod
    def of(
        value: SSAValue,
        arguments: Sequence[SSAValue],
        rank: int,
        swapped: bool = False,
        transposes: Sequence[kernel.TransposeOp] = (),
    ) -> Operand | None:
        """``value`` as an argument, or as one of the ``transposes`` of an argument; None for
        anything else. ``swapped``: the nest sees its last two dimensions the other way round."""
        own = len(tensor_type(value).get_shape())
        axes = tuple(range(own))
        for op in transposes:
            if op.result is value:
                value, axes = op.source, op.axes
        if value not in arguments or own > rank:
            return None
        lead = rank - own
        axes = (*range(lead), *(a + lead for a in axes))
        if swapped:
            axes = (*axes[:-2], axes[-1], axes[-2])
        shape = aligned(tensor_type(value).get_shape(), rank)
        return Operand(list(arguments).index(value), shape, axes, tensor_type(value).element_type)

    @cached_property
    def shape(self) -> Shape:
        """The shape that the nest sees."""
        return tuple(self.stored[a] for a in self.axes)

    def movable(self, extents: Sequence[int]) -> bool:
        """Whether one transfer brings a block of these extents: two dimensions of more than one
        element change places at most."""
        stored = [0] * len(extents)
        for axis, n in zip(self.axes, extents):
            stored[axis] = n
        moving = [a for a in self.axes if stored[a] > 1]
        return len(moving) <= 2 or moving == sorted(moving)

    def load(
        self,
        nest: Nest,
        args: Sequence[Tensor],
        at: Sequence[Index | int | None],
        extents: Sequence[int],
        name: str,
        reuse: Sequence[Index | None] = (),
        level: Level = Level.L2,
    ) -> Tile:
        """Load the block at ``at`` (in the nest's dimensions; extents are cut to the tensor's).

        ``level``: where a block that is kept stays; from L3 it is moved to L2 each time.
        """
        shape = tuple(min(n, full) for n, full in zip(extents, self.shape))
        index: list[Index | int | None] = [None] * len(at)
        memory = [1] * len(at)
        for axis, i, n, full in zip(self.axes, at, shape, self.shape):
            index[axis] = i if full > 1 else None
            memory[axis] = n
        source = args[self.position]
        if level is Level.L2:
            return nest.load(source, index, shape, self.kind, name, reuse=reuse, permuted=self.axes)
        held = nest.load(source, index, memory, self.kind, f"{name}3", Level.L3, reuse)
        return nest.load(held, [0] * len(at), shape, self.kind, name, permuted=self.axes)
