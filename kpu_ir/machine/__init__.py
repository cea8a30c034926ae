"""The machine: its description, its presets, its attribute in IR. Imports ``support``."""

from kpu_ir.machine.machine import Machine

__all__ = ["Machine"]
