"""``kernel-to-tile`` and its tiling strategies.

A strategy is a class in a file of its own that recognises one kind of kernel, says which schedules it
may have, and writes its nest with ``nest.writing``; ``strategies`` knows all of them. ``operand`` is a
tensor that is stored in another order, ``bodies`` are the scalar bodies of nests.
"""

from kpu_ir.lowering.kernel_to_tile.kernel_to_tile import (
    KernelToTilePass,
    MainLowering,
    lower_kernel,
    lower_module,
)
from kpu_ir.lowering.kernel_to_tile.strategies import (
    TilingStrategy,
    memref_of,
    recognise,
    schedule_of,
    tensors_of,
    tiled,
)

__all__ = [
    "KernelToTilePass",
    "MainLowering",
    "TilingStrategy",
    "lower_kernel",
    "lower_module",
    "memref_of",
    "recognise",
    "schedule_of",
    "tensors_of",
    "tiled",
]
