"""What a report asks of a program that was compiled and timed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from xdsl.dialects.builtin import ModuleOp

from kpu_ir.machine import Machine
from kpu_ir.sim.program.program import Program
from kpu_ir.sim.time.clock import Timing


class Run(Protocol):
    """A program, its time, its IR at each level, and where it came from."""

    program: Program
    stages: Mapping[Any, ModuleOp]
    source: str
    compile_seconds: float

    @property
    def machine(self) -> Machine:
        """What it is compiled for."""
        ...

    @property
    def timing(self) -> Timing:
        """Cycles, and where they went."""
        ...

    @property
    def command(self) -> str:
        """What compiles and runs it again."""
        ...

    def ir(self, stage: Any) -> str:
        """The IR at a level, long constants left out."""
        ...
