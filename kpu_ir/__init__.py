"""kpu-ir: a compiler and an exact simulator for a systolic-array accelerator.

>>> import kpu_ir
>>> program = kpu_ir.compile("model.onnx")
>>> outputs = program({"x": array})
>>> program.cycles, program.ir("tile")
>>> program.save("model.kpu"); program = kpu_ir.open("model.kpu")
"""

from __future__ import annotations

from time import time as _now
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kpu_ir.frontends.python.graph import Graph
    from kpu_ir.machine import Machine
    from kpu_ir.pipeline import Compiled, Options, compile, load
    from kpu_ir.program.saved import open as open
    from kpu_ir.support.errors import KpuError

__version__ = "0.1.0"

LOADED = _now()
"""When this process began to load our sources: what was changed after it may or may not be loaded."""

_HOMES = {
    "Compiled": "kpu_ir.pipeline",
    "Graph": "kpu_ir.frontends.python.graph",
    "KpuError": "kpu_ir.support.errors",
    "Machine": "kpu_ir.machine",
    "Options": "kpu_ir.pipeline",
    "compile": "kpu_ir.pipeline",
    "load": "kpu_ir.pipeline",
    "open": "kpu_ir.program.saved",
}

# Without open: "from kpu_ir import *" would hide Python's.
__all__ = ["Compiled", "Graph", "KpuError", "Machine", "Options", "compile", "load"]


def __getattr__(name: str) -> Any:
    """Import what is asked for; nothing heavy is loaded before."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'kpu_ir' has no attribute '{name}'")
