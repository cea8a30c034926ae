"""Depth: how IR, kernels and compile time grow with the number of equal layers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from kpu_ir.bench.measure import Setting, no_cache
from kpu_ir.bench.table import Column, Table, times, whole
from kpu_ir.bench.workloads import ROOT
from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.python.value import Value
from kpu_ir.program.compiled import Compiled
from kpu_ir.support.errors import KpuError

PAGE = ROOT / "docs" / "depth.md"
DEPTHS = (2, 6, 12, 24, 48)


def transformer(layers: int, rows: int = 128, width: int = 256, heads: int = 4) -> ModuleOp:
    """An encoder as BERT's: layers of one shape (f32, ``rows`` x ``width``), each with weights of
    its own."""
    rng = np.random.default_rng(0)
    g = Graph()
    x, depth = g.input("x", (rows, width)), width // heads

    def weight(*shape: int) -> Value:
        return g.constant((rng.standard_normal(shape) / 16).astype(np.float32))

    def linear(value: Value, columns: int) -> Value:
        return value @ weight(value.shape[-1], columns) + weight(columns)

    def norm(value: Value) -> Value:
        return g.normalize(value, (-1,), scale=weight(width), shift=weight(width))

    for _ in range(layers):
        q, k, v = (linear(x, width).reshape(rows, heads, depth).transpose(1, 0, 2) for _ in "qkv")
        scores = (q @ k.transpose(0, 2, 1)) * depth**-0.5
        mixed = (scores.softmax(-1) @ v).transpose(1, 0, 2).reshape(rows, width)
        x = norm(x + linear(mixed, width))
        x = norm(x + linear(linear(x, 4 * width).gelu(), width))
    g.output("y", x)
    return g.module()


def row(layers: int, setting: Setting, module: ModuleOp) -> dict[str, Any]:
    """What ``layers`` equal layers, in ``module``, compile to, without and with the schedules of an
    earlier time."""
    seconds: list[float] = []
    compiled: list[Compiled] = []
    with no_cache():
        for kind in ("first", "again"):
            setting.say(f"{layers} layers, compiled {kind}")
            began = time.process_time()
            compiled.append(setting.compile(module))
            seconds.append(time.process_time() - began)
    program = compiled[-1].program
    return {
        "layers": layers,
        "kernels": len(program.plans),
        "calls": len(program.calls),
        "kernel_characters": len(compiled[-1].ir("kernel")),
        "tile_characters": len(compiled[-1].ir("tile")),
        "dma_characters": len(compiled[-1].ir("dma")),
        "cold_seconds": seconds[0],
        "warm_seconds": seconds[1],
        "cycles": compiled[-1].cycles,
    }


def depth_table(setting: Setting, depths: Sequence[int] = DEPTHS, width: int = 256) -> Table:
    """A row for each depth, in the order given. Raises ``KpuError`` for one below 1."""
    if not depths or min(depths) < 1:
        raise KpuError(f"depths must be positive, got {', '.join(map(str, depths)) or 'none'}")
    rows = [row(n, setting, transformer(n, width=width)) for n in depths]
    shown = [
        Column("layers", "layers", whole), Column("kernels", "distinct kernels", whole),
        Column("calls", "calls", whole), Column("kernel_characters", "kernel IR", whole),
        Column("dma_characters", "dma IR", whole), Column("cold_seconds", "compiled first", seconds_text),
        Column("warm_seconds", "compiled again", seconds_text), Column("cycles", "cycles", whole),
    ]  # fmt: skip
    notes = [
        "IR in characters, without weights. Times are of one processor; again is with the schedules "
        "that were chosen first."
    ]
    first, last = rows[0], rows[-1]
    if last["layers"] > first["layers"]:
        notes.append(shown_by(first, last))
    return Table(f"Equal layers of a transformer, width {width}", shown, rows, notes)


def seconds_text(value: float) -> str:
    """``1.23 s``."""
    return f"{value:.2f} s"


def shown_by(first: dict[str, Any], last: dict[str, Any]) -> str:
    """What grew by how much from the shallowest to the deepest."""

    def grown(key: str) -> str:
        return times(last[key] / first[key])

    return (
        f"{grown('layers')} the layers: {grown('kernels')} the kernels, "
        f"{grown('kernel_characters')} the kernel IR, {grown('dma_characters')} the dma IR, "
        f"{grown('cold_seconds')} the time to compile first, {grown('warm_seconds')} again."
    )


def page(table: Table) -> str:
    """The page of ``docs/depth.md``."""
    return (
        "# Depth\n\n"
        "Written by `kpu-bench depth`: equal layers of a transformer as BERT's, each with weights of its own. Equal "
        "kernels share a function, so a deeper network has more calls and no more kernels: what is looked for, "
        "proven and planned for each kernel is done once, and a layer adds only its calls, buffers and constants.\n\n"
        + table.markdown()
    )
