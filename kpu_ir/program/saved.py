"""Saved programs: one file with the IR at each stage, weights, machine and options.

The IR is text whose constants are handles (``dense_resource<w3>``) of parts of the file; the parts
are the weights' bytes, each kept once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from io import StringIO
from pathlib import Path
from typing import Any, Protocol, cast

from xdsl.context import Context
from xdsl.dialects.builtin import (
    BytesAttr,
    DenseIntOrFPElementsAttr,
    DenseResourceAttr,
    FileLineColLoc,
    IntAttr,
    ModuleOp,
    NameLoc,
    NoneAttr,
    StringAttr,
)
from xdsl.ir import Attribute
from xdsl.parser import ParseError
from xdsl.printer import Printer
from xdsl.utils.exceptions import DiagnosticException

from kpu_ir.lowering.schedule import Schedule
from kpu_ir.machine import Machine
from kpu_ir.program import container
from kpu_ir.program.options import Options
from kpu_ir.program.stages import Stage
from kpu_ir.registry import context
from kpu_ir.sim.program.program import Program, load_program
from kpu_ir.support.errors import KpuError, within_limits
from kpu_ir.support.package import __version__
from kpu_ir.text.calls import check_calls
from kpu_ir.text.parsing import STUMBLES, LocatedParser, early_use, error_at, parse_error
from kpu_ir.text.places import node_location
from kpu_ir.text.printing import ELIDED
from kpu_ir.tuning.choice import Choice, Cost

STAGES: tuple[Stage, ...] = ("dma", "tile", "kernel")
"""In the order in which their weights are kept: what runs first."""

SPARE = 1 << 20
"""Bytes of weights that a level above ``dma`` may add; it is kept without values else."""


class Savable(Protocol):
    """What is asked of a compiled program."""

    stages: Mapping[Stage, ModuleOp]
    options: Options
    source: str
    fusion: tuple[Choice, ...]

    @property
    def machine(self) -> Machine:
        """What it is compiled for."""
        ...


@dataclass(frozen=True)
class Saved:
    """What a file holds of a program."""

    program: Program
    stages: Mapping[Stage, ModuleOp]
    options: Options
    source: str
    fusion: tuple[Choice, ...]


@dataclass
class Weights:
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

    weights: Weights = field(default_factory=Weights)

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


class ConstantReader(LocatedParser):
    """Reads handles as the constants that they stand for."""

    located = False

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
        # BytesAttr says bytes; a view of the file reads the same and is not copied.
        value = DenseIntOrFPElementsAttr(cast(Any, resource.type), BytesAttr(cast(bytes, data)))
        size = cast(Any, resource.type).element_type.compile_time_size
        if len(data) != size * value.type.element_count():
            self.raise_error(f"{len(data)} bytes of values do not make a {resource.type}")
        return value


def constants_of(module: ModuleOp) -> Iterator[DenseIntOrFPElementsAttr]:
    """The constants of a module, in order."""
    for op in module.walk():
        for attribute in (*op.properties.values(), *op.attributes.values()):
            if isinstance(attribute, DenseIntOrFPElementsAttr):
                yield attribute


def places_of(module: ModuleOp) -> list[list[Any]]:
    """Operations by their number that know their place, which IR text does not hold: a node's name
    and operator, or file, line and column."""
    places: list[list[Any]] = []
    for number, op in enumerate(module.walk()):
        match op.location:
            case NameLoc(desc=name, location=NameLoc(desc=kind)):
                places.append([number, name.data, kind.data])
            case NameLoc(desc=name):
                places.append([number, name.data])
            case FileLineColLoc(filename=file, line=line, column=column):
                places.append([number, file.data, line.data, column.data])
            case _:
                pass
    return places


def location_of(place: Sequence[Any]) -> FileLineColLoc | NameLoc:
    """The location in a row of ``places_of``, without its number."""
    match place:
        case [str(name)]:
            return NameLoc(StringAttr(name), NoneAttr())
        case [str(name), str(kind)]:
            return node_location(name, kind)
        case [str(file), int(line), int(column)]:
            return FileLineColLoc(StringAttr(file), IntAttr(line), IntAttr(column))
        case _:
            raise ValueError("a place of an operation")


def save(compiled: Savable, path: str | Path, key: str | None = None) -> None:
    """Write a program to a file, whole or not at all. Raises ``KpuError`` if it cannot.

    ``key``: what a cache keeps it under, which ``read_saved`` is asked for; only we may read it then.
    """
    weights = Weights()
    text: dict[str, memoryview] = {}
    nodes: dict[str, list[list[Any]]] = {}
    for stage in STAGES:
        module = compiled.stages.get(stage)
        if module is None:
            continue
        new = {weights.digest(c): c for c in constants_of(module) if weights.handle(c) is None}
        if stage == "dma" or sum(len(c.data.data) for c in new.values()) <= SPARE:
            for constant in new.values():
                weights.keep(constant)
        stream = StringIO()
        _Writer(stream=stream, weights=weights).print_op(module)
        text[stage] = memoryview(stream.getvalue().encode())
        nodes[stage] = places_of(module)
    header = {
        "writer": __version__,
        "source": compiled.source,
        "machine": compiled.machine.to_dict(),
        "options": asdict(compiled.options),
        "fusion": [asdict(choice) for choice in compiled.fusion],
        "nodes": nodes,
    }
    if key is not None:
        header["key"] = key
    mode = 0o666 if key is None else 0o600
    container.write(path, header, {**text, **weights.parts}, mode)


def read_saved(path: str | Path, key: str | None = None) -> Saved:
    """What ``save`` wrote.

    ``key``: what it must be the program of, where a cache keeps it.
    Raises ``KpuError`` for a file that is truncated, damaged, foreign or of a newer version.
    """
    where = str(path)
    found = container.read(path)
    header = found.header
    if key is not None and header.get("key") != key:
        raise KpuError("it is the program of another model", where)
    try:
        writer = str(header["writer"])
        machine = Machine.from_dict(header["machine"])
        options = _options(header["options"])
        fusion = tuple(_choice(choice) for choice in header["fusion"])
        stages = _Stages(where, writer, found.parts, header["nodes"])
        if not isinstance(header["source"], str):
            raise TypeError("source")
        with within_limits(where):
            check_calls(stages["dma"])
            program = load_program(stages["dma"], machine)
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as e:
        raise KpuError(
            f"its header cannot be read ({type(e).__name__}: {e})", where, container.AGAIN
        ) from None
    except KpuError as e:
        place = where if e.where is None or where in e.where else f"{where}: {e.where}"
        raise KpuError(e.message, place, e.hint or container.AGAIN) from None
    return Saved(program, stages, options, header["source"], fusion)


def _fields(kind: type[Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a dataclass; a field that it does not have is of a newer one."""
    unknown = set(data) - {f.name for f in fields(kind)}
    if unknown:
        raise KpuError(
            f"{kind.__name__} with unknown {', '.join(sorted(unknown))}",
            hint="it is from another kpu-ir: compile the model again",
        )
    return dict(data)


def _options(data: Mapping[str, Any]) -> Options:
    values = _fields(Options, data)
    schedule = values.get("schedule")
    if schedule is not None:
        entries = _fields(Schedule, schedule)
        entries["tile"] = tuple(entries["tile"])
        values["schedule"] = Schedule(**entries)
        values["schedule"].check()
    return Options(**values)


def _choice(data: Mapping[str, Any]) -> Choice:
    values = _fields(Choice, data)
    for name in ("fused", "apart"):
        cost = values[name]
        values[name] = None if cost is None else Cost(**_fields(Cost, cost))
    return Choice(**values)


class _Stages(Mapping[Stage, ModuleOp]):
    """The modules of a file, each read when it is asked for."""

    def __init__(
        self,
        path: str,
        writer: str,
        parts: Mapping[str, memoryview],
        nodes: Mapping[Stage, list[list[Any]]],
    ) -> None:
        self.path, self.writer = path, writer
        self.places: dict[Stage, dict[int, FileLineColLoc | NameLoc]] = {
            a: {int(n): location_of(place) for n, *place in nodes[a]}
            for a in reversed(STAGES)
            if a in parts
        }
        self.text: dict[Stage, memoryview] = {a: parts[a] for a in self.places}
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
        places = self.places[stage]
        for number, op in enumerate(module.walk()):
            if number in places:
                op.location = places[number]
        return module

    def _parsed(self, stage: Stage) -> ModuleOp:
        text = str(self.text[stage], "utf-8")
        try:
            parser = ConstantReader(context(), text, f"{self.path}({stage})", self.weights)
            module = parser.parse_module()
        except ParseError as e:
            raise parse_error(e) from None
        module.verify()
        early = early_use(module)
        if early is not None:
            raise error_at(*early)
        return module
