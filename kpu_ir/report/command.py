"""The command that compiles and runs a program again, for one that Python compiled."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpu_ir.machine import Machine

if TYPE_CHECKING:
    from kpu_ir.pipeline import Compiled


def flat(data: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """The machine's values, as ``--set`` takes them.

    >>> list(flat({"l2": {"banks": 4}, "fabric": {"chained": True}}))
    [('l2.banks', '4'), ('fabric.chained', 'true')]
    """
    for name, value in data.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", str(value).lower() if isinstance(value, bool) else str(value)


def command_of(compiled: Compiled, *more: str) -> str:
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
