"""How to compile: the options that ``compile`` and the passes of the pipeline have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from kpu_ir.lowering.schedule import Schedule
from kpu_ir.tuning.score import Objective

Fuse = Literal["none", "epilogue", "full"]
SearchEffort = Literal["none", "quick", "full"]
Progress = Callable[[str], None]
"""What is told of each step of compiling."""


@dataclass(frozen=True)
class Options:
    """How to compile.

    ``fuse``: ``epilogue`` puts elementwise functions onto what they follow, ``full`` also keeps
    what is between products on chip where the simulator says that it pays (``tuning/fusion.py``).
    ``search``: ``none`` takes default schedules, ``quick`` and ``full`` try candidates in the
    simulator.
    """

    fuse: Fuse = "full"
    search: SearchEffort = "quick"
    objective: Objective = "cycles"
    schedule: Schedule | None = None
    """One schedule for every product, instead of a choice; nothing but epilogues is fused then."""
