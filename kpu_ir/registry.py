"""Our dialects, passes and pipelines by name; nothing is imported before it is used."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from xdsl.context import Context
from xdsl.ir import Dialect
from xdsl.passes import ModulePass

DIALECTS = {
    "kernel": "kpu_ir.dialects.kernel:Kernel",
    "tile": "kpu_ir.dialects.tile:Tile",
    "dma": "kpu_ir.dialects.dma:Dma",
}

UPSTREAM = {
    "builtin": "xdsl.dialects.builtin:Builtin",
    "func": "xdsl.dialects.func:Func",
    "arith": "xdsl.dialects.arith:Arith",
    "math": "xdsl.dialects.math:Math",
    "scf": "xdsl.dialects.scf:Scf",
    "memref": "xdsl.dialects.memref:MemRef",
    "affine": "xdsl.dialects.affine:Affine",
    "tensor": "xdsl.dialects.tensor:Tensor",
    "linalg": "xdsl.dialects.linalg:Linalg",
}

PATTERNS = {"kernel": "kpu_ir.passes.kernel_canonicalize:patterns_of"}
"""What canonicalizes the operations of a dialect."""

PASSES = {
    "compile": "kpu_ir.pipeline:CompilePass",
    "set-machine": "kpu_ir.passes.set_machine:SetMachinePass",
    "linalg-to-kernel": "kpu_ir.frontends.linalg:LinalgToKernelPass",
    "kernel-quantize": "kpu_ir.passes.kernel_quantize:KernelQuantizePass",
    "kernel-precision": "kpu_ir.passes.kernel_precision:KernelPrecisionPass",
    "kernel-canonicalize": "kpu_ir.passes.kernel_canonicalize:KernelCanonicalizePass",
    "kernel-decompose": "kpu_ir.passes.kernel_decompose:KernelDecomposePass",
    "kernel-fold": "kpu_ir.passes.kernel_fold:KernelFoldPass",
    "kernel-fuse-elementwise": "kpu_ir.passes.kernel_fuse_elementwise:KernelFuseElementwisePass",
    "kernel-fusion-candidates": "kpu_ir.passes.kernel_fusion_candidates:KernelFusionCandidatesPass",
    "kernel-fuse-by-cost": "kpu_ir.tuning.kernel_fuse_by_cost:KernelFuseByCostPass",
    "kernel-pin-l3": "kpu_ir.tuning.kernel_pin_l3:KernelPinL3Pass",
    "kernel-schedule": "kpu_ir.tuning.kernel_schedule:KernelSchedulePass",
    "kernel-layers": "kpu_ir.passes.kernel_layers:KernelLayersPass",
    "kernel-inline": "kpu_ir.passes.kernel_layers:KernelInlinePass",
    "kernel-outline": "kpu_ir.passes.kernel_outline:KernelOutlinePass",
    "kernel-to-tile": "kpu_ir.lowering.kernel_to_tile:KernelToTilePass",
    "tile-to-dma": "kpu_ir.lowering.tile_to_dma:TileToDmaPass",
}

ALIASES = {
    "kernel-fuse": "kernel-fuse-elementwise",
    "kernel-group": "kernel-fusion-candidates",
    "kpu-fuse": "kernel-fuse-by-cost",
    "kpu-reside": "kernel-pin-l3",
}
"""Former names of passes, understood for one version and listed nowhere."""

TO_KERNEL = (
    "kernel-inline", "kernel-quantize", "kernel-canonicalize", "kernel-decompose",
    "kernel-fuse-elementwise", "kernel-outline",
)  # fmt: skip
TO_TILE = (*TO_KERNEL, "kernel-to-tile")
TO_DMA = (*TO_TILE, "tile-to-dma")

PIPELINES = {"to-kernel": TO_KERNEL, "to-tile": TO_TILE, "to-dma": TO_DMA}
"""The whole way to a level, for ``kpu-opt -p``."""


def imported(target: str) -> Any:
    """What ``module:attribute`` names."""
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def dialect_factory(target: str) -> Callable[[], Dialect]:
    """A function that imports a dialect, and tells its operations where their patterns are."""

    def factory() -> Dialect:
        dialect: Dialect = imported(target)
        if patterns := PATTERNS.get(dialect.name):
            provide = imported("kpu_ir.dialects.canonicalization:provide")
            provide(dialect.name, lambda kind: imported(patterns)(kind))
        return dialect

    return factory


def register_dialects(ctx: Context) -> None:
    """Add our dialects to those of a context."""
    for name, target in DIALECTS.items():
        if name not in ctx.registered_dialect_names:
            ctx.register_dialect(name, dialect_factory(target))


def pass_factory(target: str, prefix: str = "") -> Callable[[], type[ModulePass]]:
    """A function that imports a pass, and renames it if its name gets a prefix."""

    @cache
    def factory() -> type[ModulePass]:
        plain: type[ModulePass] = imported(target)
        # xDSL wants a pass to bear the name that it is registered by.
        renamed = {"name": prefix + plain.name, "__doc__": plain.__doc__}
        return type(plain.__name__, (plain,), renamed) if prefix else plain

    return factory


def context() -> Context:
    """A context with our dialects and the upstream ones that our files use."""
    ctx = Context()
    for name, target in {**UPSTREAM, **DIALECTS}.items():
        ctx.register_dialect(name, dialect_factory(target))
    return ctx
