"""Copies within external memory, and fills: ``dma`` programs of their own, through L3."""

from __future__ import annotations

from kpu_ir.machine import Machine
from kpu_ir.registry import context
from kpu_ir.sim.program.program import Program, load_program
from kpu_ir.text.parsing import parse_module

MOST, LEAST = 1 << 15, 1 << 12
"""Bytes of a slot, of a copy and of a fill."""

COPY = """
func.func @copy(%source: memref<{n}xi8>, %target: memref<{n}xi8>) {{
  dma.program {{
    dma.ring @through, 3 x <{slot}xi8, l3> at 0
    tile.for %i = 0 to {n} step {slot} {{
      %t = dma.fetch %source[%i] into @through : memref<{n}xi8> -> !tile.tile<{slot}xi8, l3>
      dma.write %t, %target[%i] defer 1 : !tile.tile<{slot}xi8, l3> -> memref<{n}xi8>
    }}
  }}
  func.return
}}
"""

FILL = """
func.func @fill(%value: memref<{slot}xi8>, %target: memref<{n}xi8>) {{
  dma.program {{
    dma.ring @value, 1 x <{slot}xi8, l3> at 0
    %t = dma.fetch %value[0] into @value : memref<{slot}xi8> -> !tile.tile<{slot}xi8, l3>
    tile.for %i = 0 to {n} step {slot} {{
      dma.write %t, %target[%i] : !tile.tile<{slot}xi8, l3> -> memref<{n}xi8>
    }}
  }}
  func.return
}}
"""


def copy_program(size: int, machine: Machine) -> Program:
    """Fetch and write ``size`` bytes, slot by slot; writes stand one fetch behind."""
    return _program(COPY, size, MOST, machine)


def fill_program(size: int, machine: Machine) -> Program:
    """Fetch one slot of the value, which comes with the descriptor, and write it again and again."""
    return _program(FILL, size, LEAST, machine)


def _program(text: str, size: int, most: int, machine: Machine) -> Program:
    slot = min(size, most, machine.l3.bytes // 4 // 64 * 64)
    module = parse_module(text.format(n=size, slot=slot), "<runtime>", context())
    module.verify()
    return load_program(module, machine)
