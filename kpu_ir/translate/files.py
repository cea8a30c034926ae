"""Reading and writing the forms of a program as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kpu_ir.pipeline import load
from kpu_ir.program.arrays import ArrayFile, write_arrays
from kpu_ir.program.compiled import Compiled
from kpu_ir.program.stages import lacks_values
from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import read_input, read_text, write_atomically
from kpu_ir.text.printing import print_module
from kpu_ir.translate.asm import from_asm, to_asm
from kpu_ir.translate.json_form import from_object, to_object
from kpu_ir.translate.text import handle_of, weights_of

LARGEST = 1 << 30
"""Bytes of a file of text."""


def program_at(path: str) -> Compiled:
    """A program to translate: a ``.kpu`` file, or what ``kpu_ir.load`` compiles."""
    return load(path)


def as_json(compiled: Compiled) -> str:
    """The JSON text of a program: one line for each entry of its lists of objects."""
    return _lines(to_object(compiled)) + "\n"


def _lines(value: Any) -> str:
    if isinstance(value, dict) and any(isinstance(v, dict | list) and v for v in value.values()):
        parts = [f"{json.dumps(k)}:{_lines(v)}" for k, v in value.items()]
        if sum(map(len, parts)) < 200:
            return json.dumps(value, separators=(",", ":"), allow_nan=False)
        return "{" + ",\n".join(parts) + "}"
    if isinstance(value, list) and any(isinstance(v, dict | str) for v in value):
        return "[\n" + ",\n".join(map(_lines, value)) + "]"
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def as_asm(compiled: Compiled) -> str:
    """The listing of a program."""
    return to_asm(compiled)


def read_json(path: str, weights: Mapping[str, memoryview]) -> Compiled:
    """The program of a JSON file. Raises ``KpuError`` for anything that is not one."""
    try:
        given = json.loads(_text(path))
    except json.JSONDecodeError as e:
        what = "truncated" if e.pos >= len(e.doc.rstrip()) else "not JSON"
        raise KpuError(f"{what}: {e.msg}", f"{path}:{e.lineno}:{e.colno}") from None
    except RecursionError:
        raise KpuError("nested too deeply", path) from None
    return from_object(given, weights, path)


def read_asm(path: str, weights: Mapping[str, memoryview]) -> Compiled:
    """The program of a listing. Raises ``KpuError`` for anything that is not one."""
    return from_asm(_text(path), weights, path)


def _text(path: str) -> str:
    return read_input() if path == "-" else read_text(path, LARGEST)


def write_weights(path: str, compiled: Compiled) -> int:
    """An .npz file of the constants that the text names by their hashes; how many there are."""
    arrays = {
        name: np.frombuffer(data, np.uint8) for name, data in weights_of(compiled.stages["dma"])
    }
    write_arrays(path, arrays)
    return len(arrays)


def read_weights(path: str) -> dict[str, memoryview]:
    """Constants by their hashes, from an .npz file that ``write_weights`` wrote, or of a ``.kpu``
    program. Raises ``KpuError`` for one that is not what its name says."""
    if Path(path).suffix == ".kpu":
        return {n: memoryview(data) for n, data in weights_of(load(path).stages["dma"])}
    found: dict[str, memoryview] = {}
    for name, array in ArrayFile(path).read().items():
        data = np.ascontiguousarray(array).tobytes()
        if handle_of(data) != name:
            raise KpuError(f"array '{name}' is not what its name says", path)
        found[name] = memoryview(data)
    return found


def write_program(compiled: Compiled, path: str) -> None:
    """A ``.kpu`` or ``.mlir`` file, as its name says."""
    suffix = Path(path).suffix
    if suffix == ".kpu":
        compiled.save(path)
    elif suffix == ".mlir":
        write_atomically(path, print_module(compiled.stages["dma"], None))
    else:
        raise KpuError(f"cannot tell what to write by '{suffix}'", path, "name it .kpu or .mlir")


def missing_values(compiled: Compiled) -> bool:
    """Whether constants have names alone: such a program can be timed, not run."""
    return lacks_values(compiled.stages["dma"])
