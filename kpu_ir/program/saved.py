"""Saved programs: one file with the IR at each stage, weights, machine and options.

The IR is text whose constants are handles (``dense_resource<w3>``) of parts of the file; the parts
are the weights' bytes, each kept once, and are mapped into memory when the file is opened.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from xdsl.context import Context
from xdsl.dialects.builtin import (
    BytesAttr,
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    ModuleOp,
    NameLoc,
    NoneAttr,
    StringAttr,
)
from xdsl.ir import Attribute
from xdsl.parser import ParseError
from xdsl.printer import Printer
from xdsl.utils.exceptions import DiagnosticException

from kpu_ir import __version__
from kpu_ir.lowering.schedule import Schedule
from kpu_ir.machine import Machine
from kpu_ir.program import container
from kpu_ir.registry import context
from kpu_ir.sim.program.program import load_program
from kpu_ir.support.errors import KpuError
from kpu_ir.text.parsing import STUMBLES, LocatedParser, early_use, error_at, parse_error
from kpu_ir.text.printing import ELIDED
from kpu_ir.tuning.fusion import Choice, Cost

if TYPE_CHECKING:
    from kpu_ir.pipeline import Compiled, Stage

STAGES: tuple[Stage, ...] = ("dma", "tile", "kernel")
"""In the order in which their weights are kept: what runs first."""

SPARE = 1 << 20
"""Bytes of weights that an stage above ``dma`` may add; it is kept without values else."""


@dataclass
class _Weights:
    """The constants of all stages, each value once."""

    parts: dict[str, memoryview] = field(default_factory=dict[str, memoryview])
    handles: dict[bytes, str] = field(default_factory=dict[bytes, str])
    """By digest."""
    digests: dict[int, bytes] = field(default_factory=dict[int, bytes])
    """By the identity of the bytes, which the modules keep alive meanwhile."""

    def digest(self, value: DenseIntOrFPElementsAttr) -> bytes:
        """What tells values apart."""
        data = value.data.data
        if id(data) not in self.digests:
            self.digests[id(data)] = hashlib.sha256(data).digest()
        return self.digests[id(data)]

    def handle(self, value: DenseIntOrFPElementsAttr) -> str | None:
        """The handle of a constant that is kept."""
        return self.handles.get(self.digest(value))

    def keep(self, value: DenseIntOrFPElementsAttr) -> None:
        """Give a constant a handle."""
        handle = self.handles.setdefault(self.digest(value), f"w{len(self.parts)}")
        self.parts.setdefault(handle, memoryview(value.data.data))


@dataclass(eq=False, repr=False)
class _Writer(Printer):
    """Prints constants as handles."""

    weights: _Weights = field(default_factory=_Weights)

    def print_attribute(self, attribute: Attribute) -> None:
        """An attribute, or the handle of its values."""
        match attribute:
            case DenseIntOrFPElementsAttr():
                handle = self.weights.handle(attribute) or ELIDED
            case DenseResourceAttr():
                handle = ELIDED
            case _:
                return super().print_attribute(attribute)
        self.print_string(f"dense_resource<{handle}> : ")
        super().print_attribute(attribute.type)


class _Reader(LocatedParser):
    """Reads handles as the constants that they stand for."""

    def __init__(
        self, ctx: Context, text: str, name: str, weights: Mapping[str, memoryview]
    ) -> None:
        """``weights``: the bytes behind each handle."""
        super().__init__(ctx, text, name)
        self.weights = weights
        self.dialect_resources.update(("builtin", handle) for handle in weights)

    def _parse_builtin_dense_resource_attr(self) -> Any:
        """The constant; one without values stays a resource."""
        resource = super()._parse_builtin_dense_resource_attr()
        data = self.weights.get(resource.resource_handle.data)
        if data is None:
            return resource
        # BytesAttr says bytes; a view of the mapped file reads the same and is not copied.
        value = DenseIntOrFPElementsAttr(cast(Any, resource.type), BytesAttr(cast(bytes, data)))
        size = cast(Any, resource.type).element_type.compile_time_size
        if len(data) != size * value.type.element_count():
            self.raise_error(f"{len(data)} bytes of values do not make a {resource.type}")
        return value


def _constants(module: ModuleOp) -> Iterator[DenseIntOrFPElementsAttr]:
    """The constants of a module, in order."""
    for op in module.walk():
        for attribute in (*op.properties.values(), *op.attributes.values()):
            if isinstance(attribute, DenseIntOrFPElementsAttr):
                yield attribute


def _nodes(module: ModuleOp) -> list[tuple[int, str]]:
    """Operations by their number that know their node's name, which IR text does not hold."""
    return [
        (number, op.location.desc.data)
        for number, op in enumerate(module.walk())
        if isinstance(op.location, NameLoc)
    ]


def save(compiled: Compiled, path: str | Path) -> None:
    """Write a program to a file, whole or not at all. Raises ``KpuError`` if it cannot."""
    weights = _Weights()
    text: dict[str, memoryview] = {}
    nodes: dict[str, list[tuple[int, str]]] = {}
    for stage in STAGES:
        module = compiled.stages.get(stage)
        if module is None:
            continue
        new = {weights.digest(c): c for c in _constants(module) if weights.handle(c) is None}
        if stage == "dma" or sum(len(c.data.data) for c in new.values()) <= SPARE:
            for constant in new.values():
                weights.keep(constant)
        stream = StringIO()
        _Writer(stream=stream, weights=weights).print_op(module)
        text[stage] = memoryview(stream.getvalue().encode())
        nodes[stage] = _nodes(module)
    header = {
        "writer": __version__,
        "source": compiled.source,
        "machine": compiled.machine.to_dict(),
        "options": asdict(compiled.options),
        "fusion": [asdict(choice) for choice in compiled.fusion],
        "nodes": nodes,
    }
    container.write(path, header, {**text, **weights.parts})


def open(path: str | Path) -> Compiled:
    """A program from a file that ``Compiled.save`` wrote: the same cycles, outputs, IR.

    Raises ``KpuError`` for a file that is truncated, damaged, foreign or of a newer version.
    """
    from kpu_ir.pipeline import Compiled, Options

    began = time.perf_counter()
    where = str(path)
    found = container.read(path)
    header = found.header
    try:
        writer = str(header["writer"])
        machine = Machine.from_dict(header["machine"])
        options = _options(Options, header["options"])
        fusion = tuple(_choice(choice) for choice in header["fusion"])
        stages = _Stages(where, writer, found.parts, header["nodes"])
        if not isinstance(header["source"], str):
            raise TypeError("source")
        program = load_program(stages["dma"], machine)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as e:
        raise KpuError(
            f"its header cannot be read ({type(e).__name__}: {e})", where, container.AGAIN
        ) from None
    except KpuError as e:
        place = where if e.where is None or where in e.where else f"{where}: {e.where}"
        raise KpuError(e.message, place, e.hint or container.AGAIN) from None
    spent = time.perf_counter() - began
    return Compiled(program, stages, options, spent, header["source"], fusion)


def _fields(kind: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a dataclass; a field that it does not have is of a newer one."""
    unknown = set(data) - {f.name for f in fields(kind)}
    if unknown:
        raise KpuError(
            f"{kind.__name__} with unknown {', '.join(sorted(unknown))}",
            hint="it is from another kpu-ir: compile the model again",
        )
    return dict(data)


def _options(kind: type[Any], data: Mapping[str, Any]) -> Any:
    values = _fields(kind, data)
    schedule = values.get("schedule")
    if schedule is not None:
        entries = _fields(Schedule, schedule)
        entries["tile"] = tuple(entries["tile"])
        values["schedule"] = Schedule(**entries)
        values["schedule"].check()
    return kind(**values)


def _choice(data: Mapping[str, Any]) -> Choice:
    values = _fields(Choice, data)
    for name in ("fused", "apart"):
        cost = values[name]
        values[name] = None if cost is None else Cost(**_fields(Cost, cost))
    return Choice(**values)


class _Stages(Mapping["Stage", ModuleOp]):
    """The modules of a file, each read when it is asked for."""

    def __init__(
        self,
        path: str,
        writer: str,
        parts: Mapping[str, memoryview],
        nodes: Mapping[Stage, list[tuple[int, str]]],
    ) -> None:
        self.path, self.writer = path, writer
        self.nodes: dict[Stage, dict[int, str]] = {
            a: {int(n): str(name) for n, name in nodes[a]} for a in reversed(STAGES) if a in parts
        }
        self.text: dict[Stage, memoryview] = {a: parts[a] for a in self.nodes}
        self.weights = {name: part for name, part in parts.items() if name.startswith("w")}
        self.read: dict[Stage, ModuleOp] = {}

    def __iter__(self) -> Iterator[Stage]:
        return iter(self.text)

    def __len__(self) -> int:
        return len(self.text)

    def __contains__(self, stage: object) -> bool:
        return stage in self.text

    def __getitem__(self, stage: Stage) -> ModuleOp:
        if stage not in self.read:
            self.read[stage] = self._module(stage)
        return self.read[stage]

    def _module(self, stage: Stage) -> ModuleOp:
        try:
            module = self._parsed(stage)
        except (KpuError, DiagnosticException, *STUMBLES) as e:
            raise KpuError(
                f"its {stage} IR cannot be read: {e}",
                self.path,
                f"it is from kpu-ir {self.writer}, this is {__version__}: compile the model again",
            ) from None
        names = self.nodes[stage]
        for number, op in enumerate(module.walk()):
            if number in names:
                op.location = NameLoc(StringAttr(names[number]), NoneAttr())
        return module

    def _parsed(self, stage: Stage) -> ModuleOp:
        text = str(self.text[stage], "utf-8")
        try:
            parser = _Reader(context(), text, f"{self.path}({stage})", self.weights)
            module = parser.parse_module()
        except ParseError as e:
            raise parse_error(e) from None
        module.verify()
        early = early_use(module)
        if early is not None:
            raise error_at(*early)
        return module
