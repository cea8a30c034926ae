"""Which tiling strategy a kernel has, and what that makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

from xdsl.dialects.builtin import (
    MemRefType,
    NoneAttr,
    TensorType,
)
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute

from kpu_ir.dialects import tile
from kpu_ir.lowering.kernel_to_tile.attention import Attention
from kpu_ir.lowering.kernel_to_tile.back_to_back import BackToBack
from kpu_ir.lowering.kernel_to_tile.contraction import Contraction
from kpu_ir.lowering.kernel_to_tile.convolution import Convolution
from kpu_ir.lowering.kernel_to_tile.copying import Copying
from kpu_ir.lowering.kernel_to_tile.horizontal import HorizontalFusion
from kpu_ir.lowering.kernel_to_tile.movement import Movement
from kpu_ir.lowering.kernel_to_tile.ordered import Ordered
from kpu_ir.lowering.kernel_to_tile.pooling import Pooling
from kpu_ir.lowering.kernel_to_tile.rows import Rows
from kpu_ir.lowering.kernel_to_tile.scaled_blocks import ScaledBlocks
from kpu_ir.lowering.kernel_to_tile.weights import packed_shape
from kpu_ir.lowering.schedule import (
    ATTRIBUTE,
    DECIDED_AT_TILE,
    OPEN_AT_TILE,
    Schedule,
    l3_bytes,
    narrowed,
    pinned_of,
)
from kpu_ir.machine import Machine
from kpu_ir.nest.records import Function, Tensor
from kpu_ir.nest.writing import Nest
from kpu_ir.support.errors import KpuError
from kpu_ir.text.places import known

TilingStrategy = (
    Attention
    | BackToBack
    | HorizontalFusion
    | Contraction
    | ScaledBlocks
    | Convolution
    | Pooling
    | Rows
    | Ordered
    | Movement
    | Copying
)
"""What ``tile`` needs to know of a kernel. Each has ``arguments`` and ``results`` (tensors with the
shapes in which the nest sees them), ``default(machine)``, and ``emit(nest, arguments,
schedule)``."""


def recognise(func: FuncOp) -> TilingStrategy:
    """What kind of nest a kernel's function is; ``KpuError`` where there is none for it."""
    operations = list(func.body.block.ops)[:-1]
    for kind in (
        Attention,
        BackToBack,
        HorizontalFusion,
        Contraction,
        ScaledBlocks,
        Pooling,
        Convolution,
        Rows,
        Ordered,
        Movement,
        Copying,
    ):
        strategy = kind.of(func, operations)
        if strategy is not None:
            return strategy
    names = ", ".join(dict.fromkeys(op.name for op in operations))
    raise KpuError(f"there is no tiling for a kernel of {names}", f"@{func.sym_name.data}")


def schedule_of(func: FuncOp, strategy: TilingStrategy, machine: Machine) -> Schedule:
    """The schedule that a function carries, or the default one."""
    attr = func.attributes.get(ATTRIBUTE)

    def default() -> Schedule:
        return strategy.default(narrowed(machine, l3_bytes(func, machine)))

    if attr is None:
        return default()
    where = f"@{func.sym_name.data}"
    given = Schedule.from_attr(attr, where)
    check_honoured(given, strategy, default, where)
    return given if given.tile else replace(given, tile=default().tile)


HONOURED = {
    "attention": ("rhs",),
    "back-to-back": ("order", "lhs", "rhs"),
    "horizontal": ("dataflow", "order", "lhs", "rhs"),
    "contraction": ("dataflow", "order", "lhs", "rhs", "unroll_n", "layout"),
    "scaled-blocks": ("dataflow",),
    "convolution": ("dataflow", "order", "lhs", "rhs"),
    "rows": ("passes", "layout"),
    "copying": ("layout",),
}
"""What a tiling strategy reads of a schedule, beside its tile and what ``tile-to-dma`` reads."""

EXTENTS = {
    "attention": 2,
    "back-to-back": 5,
    "horizontal": 3,
    "contraction": 3,
    "scaled-blocks": 3,
    "convolution": 4,
    "pooling": 3,
}
"""How many extents a tile has, where that does not depend on the kernel."""


def check_honoured(
    given: Schedule, strategy: TilingStrategy, default: Callable[[], Schedule], where: str
) -> None:
    """Refuse what a schedule says that its kernel has no use for, unless its ``default`` says so."""
    plain, known = Schedule(), HONOURED.get(strategy.kind, ())
    idle = [
        name
        for name in DECIDED_AT_TILE
        if name not in ("tile", *known) and getattr(given, name) != getattr(plain, name)
    ]
    usual = default() if idle else plain
    idle = [name for name in idle if getattr(given, name) != getattr(usual, name)]
    if idle:
        raise KpuError(
            f"{ATTRIBUTE}: {', '.join(idle)} says nothing to a kernel of this kind "
            f"({strategy.kind})",
            where,
            f"it has {', '.join(('tile', *known, *OPEN_AT_TILE))}",
        )
    count = EXTENTS.get(strategy.kind) or len(default().tile)
    if given.tile and count and len(given.tile) != count:
        usual = default()
        raise KpuError(
            f"{ATTRIBUTE}: tile has {len(given.tile)} extents, this kernel's has "
            f"{count}, as {list(usual.tile)}",
            where,
        )


def tensors_of(func: FuncOp, strategy: TilingStrategy) -> list[Tensor]:
    """What a kernel reads and writes, in the memory that it stands in."""
    pinned, args = pinned_of(func), func.body.block.args
    names = [a.name_hint for a in args] + [None] * len(strategy.results)
    return [
        Tensor(i, memref(shape, element, i in pinned), names[i])
        for i, (shape, element) in enumerate((*strategy.arguments, *strategy.results))
    ]


def tiled(
    func: FuncOp, strategy: TilingStrategy, tensors: Sequence[Tensor], schedule: Schedule
) -> Function:
    """The nest of a kernel, of ``tensors_of`` it."""
    where = known(func.location, func.name)
    tensors = list(tensors)
    for n, width in layouts_of(strategy, schedule, where).items():
        shape, element = strategy.arguments[n]
        packed = memref(packed_shape(shape, width), element)
        tensors[n] = Tensor(n, packed, tensors[n].name, panel=shape[0])
    nest = Nest(func.sym_name.data, tensors, where)
    strategy.emit(nest, tensors, schedule)
    return nest.function


def layouts_of(strategy: TilingStrategy, schedule: Schedule, where: str | None) -> dict[int, int]:
    """The width of the panels in which a kernel's weights are stored, by position."""
    if not schedule.layout or not isinstance(strategy, Contraction):
        return {}
    return strategy.layouts(schedule, where)


def memref(shape: Sequence[int], element: Attribute, pinned: bool = False) -> MemRefType:
    """Memory for a tensor, external or in L3."""
    return _memref(tuple(shape), element, pinned)


@lru_cache(1 << 12)
def _memref(shape: tuple[int, ...], element: Attribute, pinned: bool) -> MemRefType:
    return MemRefType(element, shape, memory_space=tile.PINNED if pinned else NoneAttr())


def memref_of(type: Attribute, pinned: bool = False) -> MemRefType:
    """A tensor's memory."""
    assert isinstance(type, TensorType)
    return memref(type.get_shape(), type.element_type, pinned)
