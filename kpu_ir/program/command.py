"""The command that compiles and runs a program again, for one that Python compiled."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Protocol

from kpu_ir.machine import Machine
from kpu_ir.machine.settings import flat
from kpu_ir.program.options import Options
from kpu_ir.sim.program.program import Program


class Source(Protocol):
    """What is asked of a compiled program."""

    source: str
    options: Options
    program: Program
    stages: Any

    @property
    def machine(self) -> Machine:
        """What it is compiled for."""
        ...


def command_of(compiled: Source, *more: str) -> str:
    """``kpu-run`` with what was chosen; a word instead, where no file was compiled."""
    if not compiled.source:
        return "compiled in Python from a graph or a module, with the machine below"
    machine, options = compiled.machine, compiled.options
    words = ["kpu-run", compiled.source]
    if Path(compiled.source).suffix == ".kpu":  # has its machine and options
        return shlex.join([*words, *more])
    if Path(compiled.source).suffix == ".onnx":
        for port in compiled.program.inputs:
            shape = "x".join(str(n) for n in port.type.get_shape())
            words += ["--shape", f"{port.name}={shape}"]
    base = machine.name if machine.name in Machine.presets() else "default"
    words += ["--machine", base]
    usual = dict(flat(Machine.preset(base).to_dict()))
    for name, value in flat(machine.to_dict()):
        if usual.get(name) != value:
            words += ["--set", f"{name}={value}"]
    if "kernel" in compiled.stages:
        words += ["--fuse", options.fuse, "--search", options.search]
        if options.search != "none":
            words += ["--objective", options.objective]
    command = shlex.join([*words, *more])
    return f"{command}  # and one schedule for every product" if options.schedule else command
