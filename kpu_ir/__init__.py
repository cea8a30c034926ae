"""kpu-ir: a compiler and an exact simulator for a systolic-array accelerator.

>>> import kpu_ir
>>> program = kpu_ir.compile("model.onnx")
>>> outputs = program({"x": array})
>>> program.cycles, program.ir("tile")
>>> program.save("model.kpu"); program = kpu_ir.open("model.kpu")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kpu_ir.explore.study import Study
    from kpu_ir.frontends.python.graph import Graph
    from kpu_ir.integrations.quantize import quantize
    from kpu_ir.lowering.schedule import Schedule
    from kpu_ir.machine import Machine
    from kpu_ir.pipeline import compile, load
    from kpu_ir.program.compiled import Compiled
    from kpu_ir.program.compiled import open as open
    from kpu_ir.program.options import Options
    from kpu_ir.support.errors import KpuError

from kpu_ir.support.package import __version__ as __version__

_HOMES = {
    "Compiled": "kpu_ir.program.compiled",
    "Graph": "kpu_ir.frontends.python.graph",
    "KpuError": "kpu_ir.support.errors",
    "Machine": "kpu_ir.machine",
    "Options": "kpu_ir.program.options",
    "compile": "kpu_ir.pipeline",
    "Schedule": "kpu_ir.lowering.schedule",
    "Study": "kpu_ir.explore.study",
    "load": "kpu_ir.pipeline",
    "open": "kpu_ir.program.compiled",
    "quantize": "kpu_ir.integrations.quantize",
}

# Without open: "from kpu_ir import *" would hide Python's.
__all__ = [
    "Compiled",
    "Graph",
    "KpuError",
    "Machine",
    "Options",
    "Schedule",
    "Study",
    "compile",
    "load",
    "quantize",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for; nothing heavy is loaded before."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'kpu_ir' has no attribute '{name}'", name=name)


def __dir__() -> list[str]:
    """What people import, before it is imported."""
    return sorted({*globals(), *_HOMES} - {"TYPE_CHECKING", "Any", "annotations"})
