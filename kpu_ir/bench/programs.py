"""``dma`` programs that keep one engine busy, to see what of its peak it reaches."""

from __future__ import annotations

from kpu_ir.machine import Machine
from kpu_ir.registry import context
from kpu_ir.sim.program.program import load_program
from kpu_ir.sim.time.clock import Timing
from kpu_ir.sim.time.model import time_program
from kpu_ir.text.parsing import parse_module


def timed(text: str, machine: Machine) -> Timing:
    """The time of a program in text."""
    return time_program(load_program(parse_module(text, "bench", context()), machine))


def _kernel(arguments: str, body: str) -> str:
    return f"func.func @bench({arguments}) {{\n  dma.program {{\n{body}  }}\n  func.return\n}}\n"


def dma_read(rows: int, columns: int, trips: int) -> str:
    """External memory to L3, tile after tile."""
    all, tile = f"memref<{rows * trips}x{columns}xf32>", f"{rows}x{columns}xf32"
    return _kernel(
        f"%x: {all}",
        f"""\
  dma.ring @x3, 2 x <{tile}, l3> at 0
  tile.for %i = 0 to {rows * trips} step {rows} {{
    %x3 = dma.fetch %x[%i, 0] into @x3 : {all} -> !tile.tile<{tile}, l3>
  }}
""",
    )


def dma_write(rows: int, columns: int, trips: int) -> str:
    """L3 to external memory: one tile, written to place after place."""
    one, tile = f"memref<{rows}x{columns}xf32>", f"{rows}x{columns}xf32"
    all = f"memref<{rows * trips}x{columns}xf32>"
    return _kernel(
        f"%x: {one}, %y: {all}",
        f"""\
  dma.ring @x3, 1 x <{tile}, l3> at 0
  %x3 = dma.fetch %x[0, 0] into @x3 : {one} -> !tile.tile<{tile}, l3>
  tile.for %i = 0 to {rows * trips} step {rows} {{
    dma.write %x3, %y[%i, 0] : !tile.tile<{tile}, l3> -> {all}
  }}
""",
    )


def copy(rows: int, columns: int, trips: int) -> str:
    """External memory to L3 and back."""
    all, tile = f"memref<{rows * trips}x{columns}xf32>", f"{rows}x{columns}xf32"
    return _kernel(
        f"%x: {all}, %y: {all}",
        f"""\
  dma.ring @x3, 4 x <{tile}, l3> at 0
  tile.for %i = 0 to {rows * trips} step {rows} {{
    %x3 = dma.fetch %x[%i, 0] into @x3 : {all} -> !tile.tile<{tile}, l3>
    dma.write %x3, %y[%i, 0] defer 2 : !tile.tile<{tile}, l3> -> {all}
  }}
""",
    )


def mover(rows: int, columns: int, trips: int, back: bool = False) -> str:
    """L3 to L2, the same tile again and again; or ``back``, L2 to L3."""
    one, tile = f"memref<{rows}x{columns}xf32>", f"{rows}x{columns}xf32"
    start, end = ("l2", "l3") if back else ("l3", "l2")
    first = f"""\
  dma.ring @x3, 1 x <{tile}, l3> at 0
  %x3 = dma.fetch %x[0, 0] into @x3 : {one} -> !tile.tile<{tile}, l3>
"""
    if back:
        first += f"""\
  dma.ring @x2, 1 x <{tile}, l2> at 0
  %x2 = dma.move %x3[0, 0] into @x2 : !tile.tile<{tile}, l3> -> !tile.tile<{tile}, l2>
"""
    return _kernel(
        f"%x: {one}",
        f"""\
{first}  dma.ring @to, 2 x <{tile}, {end}> at {4 * rows * columns}
  tile.for %i = 0 to {trips} step 1 {{
    %to = dma.move %x{start[1]}[0, 0] into @to : !tile.tile<{tile}, {start}> -> !tile.tile<{tile}, {end}>
  }}
""",
    )


def streamer(m: int, n: int, k: int, trips: int) -> str:
    """L2 to L1 and the array: the same product again and again."""
    a, b, c = f"{m}x{k}xf32", f"{k}x{n}xf32", f"{m}x{n}xf32"
    ends = (4 * m * k, 4 * (m * k + k * n))
    return _kernel(
        f"%a: memref<{a}>, %b: memref<{b}>",
        f"""\
  dma.ring @a3, 1 x <{a}, l3> at 0
  dma.ring @b3, 1 x <{b}, l3> at {ends[0]}
  dma.ring @a2, 1 x <{a}, l2> at 0
  dma.ring @b2, 1 x <{b}, l2> at {ends[0]}
  dma.ring @c2, 2 x <{c}, l2> at {ends[1]}
  %a3 = dma.fetch %a[0, 0] into @a3 : memref<{a}> -> !tile.tile<{a}, l3>
  %b3 = dma.fetch %b[0, 0] into @b3 : memref<{b}> -> !tile.tile<{b}, l3>
  %a2 = dma.move %a3[0, 0] into @a2 : !tile.tile<{a}, l3> -> !tile.tile<{a}, l2>
  %b2 = dma.move %b3[0, 0] into @b2 : !tile.tile<{b}, l3> -> !tile.tile<{b}, l2>
  tile.for %i = 0 to {trips} step 1 {{
    %c = dma.acquire @c2 : !tile.tile<{c}, l2>
    dma.matmul output_stationary %a2, %b2 into %c
      : !tile.tile<{a}, l2>, !tile.tile<{b}, l2> -> !tile.tile<{c}, l2>
  }}
""",
    )
