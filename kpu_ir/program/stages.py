"""The levels of IR that a program has."""

from __future__ import annotations

from typing import Literal

from xdsl.dialects.builtin import DenseResourceAttr, ModuleOp

Stage = Literal["kernel", "tile", "dma"]


def stage_of(module: ModuleOp) -> Stage:
    """The stage that a module stands at, by what its functions hold."""
    names = {op.name.split(".")[0] for op in module.walk()}
    if "dma" in names:
        return "dma"
    return "tile" if "tile" in names else "kernel"


def lacks_values(module: ModuleOp) -> bool:
    """Whether constants of a module have a type alone: it can be timed, not run."""
    return any(
        isinstance(value, DenseResourceAttr)
        for op in module.walk()
        for value in op.properties.values()
    )
