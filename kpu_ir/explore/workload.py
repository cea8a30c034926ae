"""What a study runs on each machine: a model's file, a canonical workload, or what Python builds."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from xdsl.dialects.builtin import ModuleOp

from kpu_ir.bench.workloads import WORKLOADS, Shape, matmul
from kpu_ir.frontends.read import read
from kpu_ir.passes.kernel_precision import SHORT, KernelPrecisionPass, Precision
from kpu_ir.pipeline import module_of
from kpu_ir.program.keys import file_digests
from kpu_ir.registry import context
from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import read_bytes
from kpu_ir.support.lines import a_kind, allowed

KINDS = ("file", "builtin", "python")


@dataclass(frozen=True)
class Workload:
    """``name``: what tables and formulas call it. ``kind`` and ``source``: a ``file`` (``.onnx``,
    ``.mlir``), a ``builtin`` (what ``kpu-bench`` measures, or a product ``MxNxK``) or ``python``
    (``file.py:function``, which returns a ``Graph``, a module, or a torch module and its arguments).
    ``shapes`` are for ONNX models; ``weight``: how much it counts where workloads are summed up;
    ``precision``: the type that its f32 becomes, if it does.
    """

    name: str
    kind: str
    source: str
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    weight: float = 1.0
    precision: Precision = "f32"

    @staticmethod
    def of(given: Mapping[str, Any], folder: Path) -> Workload:
        """A workload as a study says it. Raises ``KpuError`` for what is none.

        Paths are relative to ``folder``.
        """
        known = ("name", *KINDS, "shapes", "weight", "precision")
        for key in given:
            if key not in known:
                raise KpuError(f"a workload has no '{key}'", hint=allowed(key, known, "keys"))
        kinds = [kind for kind in KINDS if kind in given]
        if len(kinds) != 1:
            raise KpuError(
                f"a workload is one of {', '.join(KINDS)}; this has {' and '.join(kinds) or 'none'}"
            )
        kind, source = kinds[0], given[kinds[0]]
        if not isinstance(source, str) or not source:
            raise KpuError(f"'{kind}' is a text, got {a_kind(source)}")
        weight = given.get("weight", 1.0)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < 1e12:
            raise KpuError(f"'weight' is a positive number, got {weight!r:.40}")
        precision = given.get("precision", "f32")
        if precision not in ("f32", *SHORT):
            raise KpuError(
                f"'precision' is f32, {' or '.join(SHORT)}, got {precision!r:.40}",
                hint="a quantized model says so itself: kpu-quantize makes one",
            )
        name = given.get("name", Path(source).stem if kind == "file" else source)
        if not isinstance(name, str) or not name:
            raise KpuError(f"'name' is a text, got {a_kind(name)}")
        if kind == "builtin":
            builtin(source)
        else:
            path, colon, function = source.partition(":") if kind == "python" else (source, "", "")
            file = (folder / path).resolve()
            if not file.is_file():
                raise KpuError("there is no such file", str(folder / path))
            if kind == "python" and not function:
                raise KpuError(f"'{source}' names no function", hint="write file.py:function")
            source = f"{file}{colon}{function}"
        shapes = _shapes(given.get("shapes", {}))
        return Workload(name, kind, source, shapes, float(weight), precision)

    @property
    def data(self) -> dict[str, Any]:
        """Plain data, for ``of_data``."""
        return asdict(self)

    @staticmethod
    def of_data(data: Mapping[str, Any]) -> Workload:
        """What ``data`` gave."""
        shapes = {name: tuple(shape) for name, shape in data["shapes"].items()}
        return Workload(
            data["name"], data["kind"], data["source"], shapes, data["weight"], data["precision"]
        )

    def digest(self) -> str:
        """What decides its kernels: not its name or weight."""
        how = f"{self.kind} {self.precision} {sorted(self.shapes.items())}"
        found = hashlib.sha256(how.encode())
        if self.kind == "file":
            for digest in file_digests(Path(self.source)):
                found.update(digest)
        elif self.kind == "python":
            found.update(read_bytes(self.source.rpartition(":")[0]))
            found.update(self.source.rpartition(":")[2].encode())
        else:
            found.update(self.source.encode())
        return found.hexdigest()

    def module(self) -> ModuleOp:
        """Its kernel IR; made once a process."""
        shapes = tuple(sorted(self.shapes.items()))
        return _module(self.kind, self.source, shapes, self.precision)


def _shapes(given: Any) -> dict[str, tuple[int, ...]]:
    if not isinstance(given, Mapping):
        raise KpuError(f"'shapes' is a table, as {{ x = [1, 64] }}, got {a_kind(given)}")
    found: dict[str, tuple[int, ...]] = {}
    for name, extents in given.items():
        every = extents if isinstance(extents, list) else [extents]
        if any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in every):
            raise KpuError(f"the shape of '{name}' is a list of positive whole numbers")
        found[str(name)] = tuple(every)
    return found


def builtin(name: str) -> None:
    """Raise ``KpuError`` where there is no such workload."""
    if name not in WORKLOADS:
        try:
            Shape.parse(name.removeprefix("matmul "))
        except KpuError:
            hint = allowed(name, list(WORKLOADS), "workloads")
            raise KpuError(f"there is no workload '{name}'", hint=f"{hint}; or MxNxK") from None


Shapes = tuple[tuple[str, tuple[int, ...]], ...]


@lru_cache(maxsize=16)
def _module(kind: str, source: str, shapes: Shapes, precision: Precision) -> ModuleOp:
    module = _as_it_is(kind, source, shapes)
    if precision != "f32":
        module = module.clone()
        KernelPrecisionPass(type=precision, ports=True).apply(context(), module)
    return module


@lru_cache(maxsize=16)
def _as_it_is(kind: str, source: str, shapes: Shapes) -> ModuleOp:
    if kind == "file":
        return read(source, dict(shapes), values=False)
    if kind == "builtin":
        known = WORKLOADS.get(source)
        return known() if known else matmul(Shape.parse(source.removeprefix("matmul ")))
    path, _, function = source.rpartition(":")
    spec = importlib.util.spec_from_file_location("kpu_ir_study_workload", path)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    make = getattr(loaded, function, None)
    if not callable(make):
        raise KpuError(f"there is no function '{function}'", path)
    made: Any = make()
    if isinstance(made, tuple):
        return _of_torch(made)
    return module_of(made)


def _of_torch(made: tuple[Any, ...]) -> ModuleOp:
    """The module of a torch module and the tuple of its arguments."""
    try:
        torch: Any = importlib.import_module("torch")
    except ImportError:
        raise KpuError("torch is not installed", hint="pip install 'kpu-ir[torch]'") from None
    from kpu_ir.frontends.onnx import import_onnx

    model, arguments = made
    exported = torch.onnx.export(model.eval(), tuple(arguments), dynamo=True, verbose=False)
    return import_onnx(exported.model_proto)
