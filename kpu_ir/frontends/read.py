"""A model's file to a module, whatever kind of file it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from kpu_ir.registry import context
from kpu_ir.support.errors import KpuError
from kpu_ir.text.calls import check_calls
from kpu_ir.text.parsing import load_module

LONGEST_PATH = 4095
"""Characters; beyond it a system says no more than that."""


def read(
    source: str | Path,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    fixed: Mapping[str, Any] | None = None,
    values: bool = True,
) -> ModuleOp:
    """A module from an ``.onnx`` or ``.mlir`` file, or from IR of standard input (``-``). Raises
    ``KpuError`` for what is neither.

    Of an ONNX model: ``shapes`` of inputs, or extents of named dimensions; ``fixed`` values of inputs,
    which are inputs no more; without ``values``, weights that are not there have a type alone.
    """
    path, stdin = Path(source), str(source) == "-"
    if len(str(path)) > LONGEST_PATH or "\0" in str(path):
        raise KpuError(f"this is no path: {str(path)[:40]!r}...")
    if path.is_dir():
        raise KpuError("expected a file, got a folder", str(path))
    if not path.exists() and not stdin:
        raise KpuError("there is no such file", str(path))
    if path.suffix == ".mlir" or stdin:
        module = load_module(path, context())
        foreign = ("linalg.", "tensor.", "builtin.unregistered")
        if any(op.name.startswith(foreign) for op in module.walk()):
            from kpu_ir.frontends.linalg import linalg_to_kernel

            linalg_to_kernel(module)
        check_calls(module)
        return module
    if path.suffix == ".onnx":
        from kpu_ir.frontends.onnx import import_onnx

        given = {name: np.asarray(value) for name, value in (fixed or {}).items()}
        try:
            return import_onnx(path, dict(shapes or {}), given, values)
        except KpuError as error:
            error.where = error.where or str(path)
            raise
    raise KpuError(
        f"cannot tell what kind of file this is by '{path.suffix}'",
        str(path),
        "give a .onnx model or a .mlir module",
    )
