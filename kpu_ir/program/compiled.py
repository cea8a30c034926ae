"""A compiled program: what ``compile`` yields, and ``open`` reads back."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from kpu_ir.machine import Machine
from kpu_ir.program.batches import Batch, run_batch
from kpu_ir.program.command import command_of
from kpu_ir.program.inputs import by_name, check_inputs, type_text
from kpu_ir.program.options import Options
from kpu_ir.program.saved import read_saved, save
from kpu_ir.program.stages import Stage, lacks_values
from kpu_ir.registry import context
from kpu_ir.report.figures import Summary
from kpu_ir.report.summary import summarise
from kpu_ir.sim.program.program import Port, Program
from kpu_ir.sim.time.clock import Timing
from kpu_ir.sim.time.model import TimeModel
from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import path_of
from kpu_ir.support.lines import allowed, listed, shortened
from kpu_ir.support.types import Array
from kpu_ir.text.places import in_file
from kpu_ir.text.printing import print_module
from kpu_ir.tuning.choice import Choice

if TYPE_CHECKING:
    from kpu_ir.report.profile import Profile
    from kpu_ir.sim.values.values import ValueModel


@dataclass(repr=False)
class Compiled:
    """A compiled program.

    Call it with inputs by name; ask it for ``cycles``, ``timing``, ``summary()``, ``ir("tile")``.
    """

    program: Program
    stages: Mapping[Stage, ModuleOp]
    options: Options
    compile_seconds: float
    source: str = ""
    fusion: tuple[Choice, ...] = ()
    """What was fused, what was not, and what the other way would have cost."""
    kept_as: str = ""
    """What the compile cache has it under, if it does."""
    _timings: dict[bool, Timing] = field(default_factory=dict[bool, Timing])

    def __repr__(self) -> str:
        def several(ports: Sequence[Port]) -> str:
            return listed((f"{p.name}: {type_text(p.type)}" for p in ports), 2) or "nothing"

        source = f" {Path(self.source).name}" if self.source else ""
        ends = f"{several(self.program.inputs)} -> {several(self.program.outputs)}"
        count = f"{len(self.program.calls)} kernel{'s' * (len(self.program.calls) != 1)}"
        return shortened(f"<Compiled{source} for {self.machine.name}: {ends}, {count}>")

    @property
    def machine(self) -> Machine:
        """The machine that it is compiled for."""
        return self.program.machine

    @cached_property
    def _values(self) -> ValueModel:
        from kpu_ir.sim.values.values import ValueModel

        return ValueModel(self.program)

    @property
    def timing(self) -> Timing:
        """Cycles, and where they went (fast-forwarded)."""
        return self.time(fast_forward=True)

    def time(self, fast_forward: bool = True) -> Timing:
        """Cycles by repetition, or stepped operation by operation; both are equal."""
        if fast_forward not in self._timings:
            self._timings[fast_forward] = TimeModel(self.program, fast_forward).run()
        return self._timings[fast_forward]

    @property
    def command(self) -> str:
        """The command that compiles and runs it again; words instead, where there is none."""
        return command_of(self)

    @property
    def cycles(self) -> int:
        """Base cycles from a cold machine to the last byte written."""
        return self.timing.cycles

    def ir(self, stage: Stage, elide: int | None = 16) -> str:
        """The IR at a level; constants of more than ``elide`` elements are left out. At
        ``kernel``, equal layers are written once (``kernel-layers``)."""
        if stage not in self.stages:
            hint = allowed(stage, list(self.stages), "it has")
            raise KpuError(f"this program has no {stage} IR", hint=hint)
        module = self.stages[stage]
        if stage == "kernel":
            module = module.clone()
            from kpu_ir.passes.kernel_layers import KernelLayersPass

            KernelLayersPass().apply(context(), module)
        return print_module(module, elide)

    def checked(self, inputs: Mapping[str, Any], nan: bool = True) -> dict[str, Array]:
        """``check_inputs`` against the program's."""
        ports = [(p.name, p.type) for p in self.program.inputs]
        return check_inputs(ports, by_name([p.name for p in self.program.inputs], inputs), nan)

    def __call__(
        self, inputs: Mapping[str, Any] | None = None, /, **named: Any
    ) -> dict[str, Array]:
        """Outputs by name, computed on the simulated machine."""
        names = [p.name for p in self.program.inputs]
        given = self.checked(by_name(names, inputs, named))
        with in_file(self.source if self.source.endswith(".mlir") else ""):
            return self._values.run(given)

    def summary(self) -> Summary:
        """Every figure of a run, as ``kpu-run --json`` has them (no values are computed)."""
        began = time.perf_counter()
        return summarise(self, self.timing, time.perf_counter() - began)

    def profile(self) -> Profile:
        """A row for every kernel call; their cycles add up to the run's (docs/profile.md)."""
        from kpu_ir.report.profile import Profile

        return Profile.of(self.summary())

    def map(self, batch: Batch, progress: bool | None = None) -> Iterator[dict[str, Array]]:
        """Outputs of each item of ``batch``, one by one: see ``batches.run_batch``."""
        ports = [(p.name, p.type) for p in self.program.inputs]
        return run_batch(self, ports, batch, progress)

    def save(self, path: str | Path) -> None:
        """Write program, weights, machine and options to one file, for ``kpu_ir.open``."""
        save(self, path_of(path))

    def report(self, path: str | Path) -> None:
        """Write a page on the run: what ``kpu-run --report`` writes (no values are computed)."""
        from kpu_ir.report.html import write_report

        target = path_of(path)
        write_report(self, self.summary(), target, command_of(self, "--report", str(target)))

    if not TYPE_CHECKING:  # what has no such attribute is an error to a type checker

        def __getattr__(self, name: str) -> Any:
            """Names of version 0.1, for one more version."""
            if name not in FORMER:
                raise AttributeError(
                    f"'Compiled' object has no attribute '{name}'", name=name, obj=self
                )
            now, value = FORMER[name]
            warnings.warn(f"Compiled.{name} is now {now}", DeprecationWarning, stacklevel=2)
            return value(self)

    def _repr_html_(self) -> str:
        from kpu_ir.report.screen import html

        return html(self.summary())

    @property
    def has_reference(self) -> bool:
        """Whether there is kernel IR with all of its values."""
        return "kernel" in self.stages and not lacks_values(self.stages["kernel"])

    def reference(self, inputs: Mapping[str, Any], exact: bool = False) -> dict[str, Array]:
        """Outputs by name, computed by the NumPy reference of the ``kernel`` stage; ``exact``: all
        floats in float64, and none rounded to its type."""
        if not self.has_reference:
            raise KpuError(
                "there is no kernel IR with values to compare with", hint="start from kernel IR"
            )
        from kpu_ir.interpreters.kernel import evaluate

        given = list(self.checked(inputs).values())
        results = evaluate(self.stages["kernel"], given, np.float64 if exact else None)
        return dict(zip((p.name for p in self.program.outputs), results))


FORMER: dict[str, tuple[str, Callable[[Compiled], Any]]] = {
    "stats": ("summary()", lambda program: program.summary()),
    "run_many": ("list(program.map(batch))", lambda p: lambda *a, **k: list(p.map(*a, **k))),
    "run": ("a call: program(inputs)", lambda program: program.__call__),
}
"""Former names: what to write now, and what they are."""


def open(path: str | Path, key: str | None = None) -> Compiled:
    """A program from a file that ``Compiled.save`` wrote: the same cycles, outputs, IR.

    ``key``: what it must be the program of, where a cache keeps it.
    Raises ``KpuError`` for a file that is truncated, damaged, foreign or of a newer version.
    """
    began = time.perf_counter()
    found = read_saved(path_of(path), key)
    spent = time.perf_counter() - began
    return Compiled(
        found.program, found.stages, found.options, spent, found.source, fusion=found.fusion
    )
