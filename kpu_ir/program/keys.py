"""What a compiled program is kept under: a hash of the model's files, the machine, the options, our
own sources and the packages that compile. Nothing that compiles is imported."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpu_ir.machine import Machine
from kpu_ir.program.options import Options
from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import opened
from kpu_ir.support.numbers import number_from
from kpu_ir.support.package import LOADED, ROOT

if TYPE_CHECKING:
    from onnx import GraphProto, TensorProto

PACKAGES = ("xdsl", "numpy", "ml_dtypes", "onnx")
"""Whose versions decide what a model compiles to."""

DEFAULT_BYTES = 4 << 30


def limit() -> int:
    """Bytes that the cache may hold (``KPU_IR_CACHE_BYTES``)."""
    return number_from("KPU_IR_CACHE_BYTES", DEFAULT_BYTES, "a number of bytes, 0 for no cache")


@cache
def compiler_digest() -> str | None:
    """Of the sources that compile, and the presets; None if they were changed since this process began to load them,
    which then runs neither the old nor the new ones."""
    sources = hashlib.sha256()
    root = ROOT
    for path in sorted(p for p in root.rglob("*") if p.suffix in (".py", ".toml")):
        if path.stat().st_mtime >= LOADED:
            return None
        sources.update(f"{path.relative_to(root)}\0".encode())
        sources.update(hashlib.sha256(path.read_bytes()).digest())
    for package in PACKAGES:
        try:
            sources.update(f"{package} {metadata.version(package)}\0".encode())
        except metadata.PackageNotFoundError:
            continue
    sources.update(sys.version.encode())
    return sources.hexdigest()


def file_digests(model: Path) -> list[bytes]:
    """SHA-256 of a model's file, and of the others that it keeps its tensors in.

    An ONNX file that has others holds the word ``location``, the key of their names; parsing is for
    those. Raises ``KpuError`` where a file cannot be read.
    """
    found, split = _digest(model, b"location" if model.suffix == ".onnx" else None)
    return [found, *(_digest(file)[0] for file in (elsewhere(model) if split else ()))]


PIECE = 1 << 20
"""Bytes that are read at once: they are hashed and searched while they stand in the processor's
cache."""


def _digest(path: Path, word: bytes | None = None) -> tuple[bytes, bool]:
    """SHA-256 of a file, and whether it holds a word."""
    found, holds, last = hashlib.sha256(), False, b""
    with opened(path) as file:
        while piece := file.read(PIECE):
            found.update(piece)
            if word and not holds:
                holds = word in piece or word in last + piece[: len(word) - 1]
                last = piece[1 - len(word) :]
    return found.digest(), holds


def elsewhere(path: Path) -> list[Path]:
    """The other files that an ONNX file keeps its tensors in."""
    from kpu_ir.frontends.onnx.load import read_model

    folder = path.parent.resolve()
    found: dict[Path, None] = {}
    for tensor in _tensors(read_model(path).graph):
        for entry in tensor.external_data:
            if entry.key != "location":
                continue
            file = (folder / entry.value).resolve()
            if not file.is_relative_to(folder):
                raise KpuError("data outside the model's folder", str(file))
            found[file] = None
    return list(found)


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Every tensor of a graph: initialisers, and attributes of nodes, however deep."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield attribute.t
            yield from attribute.tensors
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def key_of(
    path: str | Path,
    shapes: Mapping[str, tuple[int, ...]] | None,
    machine: Machine | None,
    options: Options,
    settings: Sequence[str] = (),
    fixed: Mapping[str, Any] | None = None,
) -> str | None:
    """What a model is kept under; None if it cannot be kept.

    ``machine``: None is the model's own. ``settings``: changes to the machine (``l2.banks=4``).
    ``fixed``: values of inputs.
    """
    model, known = Path(path), (".onnx", ".mlir")
    if not limit() or model.suffix not in known or not model.is_file():
        return None
    compiler = compiler_digest()
    if compiler is None:
        return None
    try:
        digests = [digest.hex() for digest in file_digests(model)]
    except (OSError, ValueError, KpuError):  # reading it says better what is wrong
        return None
    given: dict[str, Any] = {
        "compiler": compiler,
        "kind": model.suffix,
        "files": digests,
        "shapes": {name: list(shape) for name, shape in sorted((shapes or {}).items())},
        "fixed": {name: _array_key(value) for name, value in sorted((fixed or {}).items())},
        "machine": machine.to_dict() if machine else None,
        "settings": list(settings),
        "options": asdict(options),
    }
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()


def _array_key(value: Any) -> list[Any]:
    import numpy as np

    array = np.asarray(value)
    return [str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
