"""The description of a KPU: the only place in the code that knows a number of it.

Plain data, read from TOML (``presets/``, or a user's file), changed with ``with_settings``, carried
in the module as an attribute. Everything is in base cycles (``clock_hz``) and bytes; a slower part
is a part with fewer bytes per cycle.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from kpu_ir.machine.area_table import USUAL_AREA, AreaTable
from kpu_ir.machine.costs import COSTS
from kpu_ir.machine.parts import (
    CLASSES,
    GROUPS,
    L1,
    L2,
    L3,
    Control,
    Dma,
    EnergyTable,
    External,
    Fabric,
    Host,
    Mover,
    Streamer,
    Vector,
)
from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import read_text
from kpu_ir.support.lines import a_kind, allowed
from kpu_ir.support.names import shortened

PRESETS = Path(__file__).parent / "presets"
"""The folder of the machines that ship with the package."""


@dataclass(frozen=True, slots=True, repr=False)
class Machine:
    """A KPU. ``Machine.load("my.toml")``, ``Machine.preset("default")``,
    ``m.with_settings(["l2.banks=4"])``."""

    name: str = "default"
    """What reports call it."""
    clock_hz: float = 2e9
    """Base cycles a second."""
    fabric: Fabric = field(default_factory=Fabric)
    vector: Vector = field(default_factory=Vector)
    external: External = field(default_factory=External)
    dma: Dma = field(default_factory=Dma)
    l3: L3 = field(default_factory=L3)
    mover: Mover = field(default_factory=Mover)
    l2: L2 = field(default_factory=L2)
    streamer: Streamer = field(default_factory=Streamer)
    l1: L1 = field(default_factory=L1)
    control: Control = field(default_factory=Control)
    host: Host = field(default_factory=Host)
    energy: EnergyTable = field(default_factory=EnergyTable)
    area: AreaTable = USUAL_AREA

    def __repr__(self) -> str:
        """What differs from ``Machine()``."""
        usual = Machine()
        given = ((f.name, getattr(self, f.name), getattr(usual, f.name)) for f in fields(self))
        return f"Machine({', '.join(f'{n}={v!r}' for n, v, default in given if v != default)})"

    # -- derived ----------------------------------------------------------------------------------

    def peak_macs(self, kind: str = "f32") -> int:
        """Multiply-accumulates a base cycle, of the whole array.

        Raises ``KpuError`` for a type that the fabric does not multiply.
        """
        if kind not in self.fabric.macs:
            raise KpuError(
                f"the fabric does not multiply {kind}",
                hint=f"types it has: {', '.join(self.fabric.macs)}",
            )
        return self.fabric.rows * self.fabric.columns * self.fabric.macs[kind]

    def peak_flops(self, kind: str = "f32") -> float:
        """Operations a second, two a multiply-accumulate."""
        return 2 * self.peak_macs(kind) * self.clock_hz

    @property
    def bandwidth(self) -> dict[str, int]:
        """Bytes per base cycle of each mover of data, all its channels together."""
        return {
            "dma": self.dma.channels * self.dma.bytes_per_cycle,
            "mover": self.mover.channels * self.mover.bytes_per_cycle,
            "streamer": self.streamer.bytes_per_cycle,
        }

    @property
    def capacity(self) -> dict[str, int]:
        """Bytes of each level of memory."""
        return {
            "external": self.external.bytes,
            "l3": self.l3.bytes,
            "l2": self.l2.bytes,
            "l1": self.l1.bytes,
        }

    def seconds(self, cycles: int) -> float:
        """The time that ``cycles`` take."""
        return cycles / self.clock_hz

    @property
    def digest(self) -> str:
        """Twelve digits that tell this machine's values from any other's; its name does not count, nor
        does the host's link, which no program depends on."""
        apart = ("name", "host")
        values = {key: value for key, value in self.to_dict().items() if key not in apart}
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    # -- reading and changing ---------------------------------------------------------------------

    @staticmethod
    def of(given: Machine | str | Path) -> Machine:
        """A machine as a person gives it: itself, a preset's name or a TOML file.

        Raises ``KpuError`` for anything else, and for a machine with values of wrong types.
        """
        if isinstance(given, Machine):
            return Machine.from_dict(given.to_dict())
        return Machine.load(given)

    @staticmethod
    def presets() -> list[str]:
        """The names that ``preset`` knows."""
        return sorted(file.stem for file in PRESETS.glob("*.toml"))

    @staticmethod
    def preset(name: str) -> Machine:
        """A machine that ships with the package. Raises ``KpuError`` for a name that none has."""
        if name not in Machine.presets():
            hint = allowed(name, Machine.presets(), "presets")
            raise KpuError(f"there is no machine '{name}'", hint=f"{hint}; or a TOML file's path")
        return _from_toml((PRESETS / f"{name}.toml").read_text(), f"{name}.toml", name)

    @staticmethod
    def load(name_or_path: str | Path) -> Machine:
        """A preset by name, or a TOML file by path: a whole machine, or ``base = "default"`` and
        what differs from it. A base that ends in ``.toml`` is a file, beside this one where its
        path is relative.

        Raises ``KpuError`` that names the key that is wrong.
        """
        given: Any = name_or_path
        if not isinstance(given, str | os.PathLike):
            write = "Machine().with_settings({...})" if isinstance(given, Mapping) else "'default'"
            raise KpuError(
                "a machine is a Machine, the name of a preset or the path of a TOML file, "
                f"got {a_kind(given)}",
                hint=f"write {write}",
            )
        path = Path(name_or_path)
        named = isinstance(name_or_path, str) and path.suffix != ".toml"
        if named and (os.path.isdir(path) or not os.path.exists(path)):
            return Machine.preset(str(name_or_path))
        return _from_file(path, ())

    def with_settings(self, settings: Iterable[str] | Mapping[str, Any]) -> Machine:
        """This machine with some values changed: ``["l2.banks=4"]``, ``{"l2.banks": 4}``.

        Values in strings are read as TOML's. Raises ``KpuError`` that names the key that is wrong.
        """
        changes: dict[str, Any] = {}
        settings = [settings] if isinstance(settings, str) else settings
        if not isinstance(settings, Mapping):
            settings = _texts(settings)
        if isinstance(settings, Mapping):
            changes = {str(key): value for key, value in settings.items()}
        else:
            for setting in settings:
                key, sign, text = (part.strip() for part in setting.partition("="))
                if not sign:
                    raise KpuError(
                        f"'{setting}' is not a setting", hint="write key=value, as l2.banks=4"
                    )
                changes[key] = text  # of two settings of one key, the last one holds
        nested: dict[str, Any] = {}
        for key, value in changes.items():
            *parents, last = key.split(".")
            at = nested
            for parent in parents:
                at = at.setdefault(parent, {})
                if not isinstance(at, dict):
                    raise KpuError(f"'{key}' is set twice")
            if last in at:
                raise KpuError(f"'{key}' is set twice")
            at[last] = _parsed(value) if isinstance(value, str) and key != "name" else value
        return _consistent(_changed(self, nested, ""))

    def without(self, costs: Iterable[str]) -> Machine:
        """This machine spared some costs (``COSTS``), as ``["bursts", "refresh"]``.

        Raises ``KpuError`` for a name that is none.
        """
        return self.with_settings(Machine.nothing(costs))

    @staticmethod
    def nothing(costs: Iterable[str]) -> dict[str, Any]:
        """The settings that spare a machine these costs. Raises ``KpuError`` for a name that is none."""
        settings = dict[str, Any]()
        for name in costs:
            if name not in COSTS:
                raise KpuError(f"there is no cost '{name}'", hint=allowed(name, COSTS, "costs"))
            settings |= COSTS[name]
        return settings

    @property
    def costs(self) -> tuple[str, ...]:
        """The costs that it has: its keys differ from those that cost nothing."""
        return tuple(
            name
            for name, keys in COSTS.items()
            if any(_value(self, key) != nothing for key, nothing in keys.items())
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain nested data, for ``from_dict``."""
        return asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Machine:
        """The machine of ``to_dict``; missing keys take their defaults.

        Raises ``KpuError`` that names a wrong key.
        """
        return _consistent(_changed(Machine(), data, ""))


def _value(machine: Machine, key: str) -> Any:
    """The value of a dotted key: a number, a word or a table."""
    found: Any = machine
    for part in key.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    return found


@cache
def _may_be_zero() -> frozenset[str]:
    """The keys that are 0 where they cost nothing, or where there is no such unit."""
    found = {f"vector.latency.{group}" for group in GROUPS}
    found |= {key for keys in COSTS.values() for key, nothing in keys.items() if nothing == 0}
    found |= {
        f"external.{key}" for key in ("latency", "activate_interval", "row_cycle", "row_miss")
    }
    return frozenset(
        found
        | {
            "vector.initiation_interval.requantize",
            "vector.table_segments",
            "host.latency",
            "streamer.convert_elements",
        }
    )


TYPE_NAME = re.compile(r"bf16|[fi]\d+(E\d+M\d+\w*)?|[su]i\d+")
"""What a key of a table by type looks like: a builtin element type."""

BY_TYPE = {"fabric.macs": int, "energy.mac": float, "area.mac": float}
"""The tables that may get new keys, and the type of their values."""

BY_CLASS = {"vector.initiation_interval": int, "vector.latency": int, "energy.vector": float}
"""The tables by class of scalar operation, and the type of their values."""

LARGEST = 1 << 62
"""Integers travel as ``i64``."""

LARGEST_FILE = 1 << 20
"""Bytes of a description."""

LONGEST_NAME = 200
"""Characters of what reports call a machine."""

MOST = {
    "dma.channels": 4096,
    "mover.channels": 4096,
    "fabric.rows": 4096,
    "fabric.columns": 4096,
}
"""Each channel is simulated as one; tiles are chosen by trying multiples of the array."""


def _texts(settings: Any) -> list[str]:
    found: list[Any] = list(settings) if isinstance(settings, Iterable) else [settings]
    for setting in found:
        if not isinstance(setting, str):
            raise KpuError(
                f"{setting!r:.40} is not a setting", hint='write "l2.banks=4" or {"l2.banks": 4}'
            )
    return found


def _parsed(text: str) -> Any:
    """A value as TOML reads it; plain words are strings."""
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except (ValueError, RecursionError):  # a number of 5,000 digits, a thousand brackets
        return text


def _from_file(path: Path, above: tuple[str, ...]) -> Machine:
    """The machine of a file, which those ``above`` it have for their base."""
    text = read_text(path, LARGEST_FILE)
    real = os.path.realpath(path)
    if real in above:
        raise KpuError("'base' comes back to this file: it is a base of itself", str(path))
    return _from_toml(text, str(path), path.stem, (*above, real))


def _base(name: str, where: str, above: tuple[str, ...]) -> Machine:
    """The machine that another one begins with: a preset, or a file beside ``where``."""
    if not name.endswith(".toml"):
        return Machine.preset(name)
    if not above:
        raise KpuError("'base' must be the name of a preset", where)
    return _from_file(Path(where).parent / name, above)


def _from_toml(text: str, where: str, name: str, above: tuple[str, ...] = ()) -> Machine:
    """The machine of a text; ``above``: the files that have it for their base, and its own."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as e:
        raise KpuError(f"not TOML: {e}", where) from None
    base = data.pop("base", None)
    if base is not None and not isinstance(base, str):
        raise KpuError("'base' must be the name of a preset, or the path of a TOML file", where)
    data.setdefault("name", name)
    try:
        start = Machine() if base is None else _base(base, where, above)
        return _consistent(_changed(start, data, ""))
    except KpuError as e:
        raise KpuError(e.message, e.where or where, e.hint) from None


def _changed(part: Any, data: Mapping[str, Any], prefix: str) -> Any:
    """``part`` with the values of ``data``, each checked."""
    given: Any = data
    if not isinstance(given, Mapping):
        raise KpuError(f"a machine's values are a mapping, got {a_kind(given)}")
    kinds = _kinds(type(part))
    new: dict[str, Any] = {}
    for key, value in data.items():
        path = f"{prefix}{key}"
        if key not in kinds:
            raise _unknown(path, [f"{prefix}{k}" for k in kinds])
        old = getattr(part, key)
        if not is_dataclass(old) and not isinstance(old, dict):
            new[key] = _checked(path, value, kinds[key])
        elif path == "energy.vector" and isinstance(value, int | float):  # as it was: one number
            energy = _checked(path, value, float)
            new[key] = dict.fromkeys(CLASSES, energy)
        elif not isinstance(value, Mapping):
            inside = [f.name for f in fields(old)] if is_dataclass(old) else list(old)
            raise KpuError(
                f"'{path}' is a table, got {shortened(repr(value))}",
                hint=f"set one of its keys, as {path}.{inside[0]}",
            )
        elif is_dataclass(old):
            new[key] = _changed(old, value, f"{path}.")
        else:
            new[key] = {**old, **_checked_table(path, value, old)}
    return replace(part, **new)


@cache
def _kinds(part: type) -> dict[str, Any]:
    """The type of each field; Python looks them up in the source's words every time."""
    return get_type_hints(part)


def _checked_table(path: str, data: Mapping[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """Entries of a table, by type or by class of operation; a group of classes sets each of them."""
    if path in BY_CLASS:
        data = {
            name: value
            for key, value in sorted(data.items(), key=lambda item: item[0] not in GROUPS)
            for name in GROUPS.get(key, (key,))
        }
    for key in data:
        new_type = path in BY_TYPE and TYPE_NAME.fullmatch(key)
        if key not in old and not new_type:
            known = (*old, *GROUPS) if path in BY_CLASS else old
            raise _unknown(f"{path}.{key}", [f"{path}.{k}" for k in known])
    kind = BY_TYPE.get(path) or BY_CLASS.get(path, int)
    return {key: _checked(f"{path}.{key}", value, kind) for key, value in data.items()}


def _unknown(path: str, known: list[str]) -> KpuError:
    near = difflib.get_close_matches(path, known, 1, cutoff=0.5)
    guess = f"did you mean '{near[0]}'? " if near else ""
    keys = ", ".join(k.rpartition(".")[2] for k in sorted(known))
    return KpuError(f"unknown key '{path}'", hint=f"{guess}keys here: {keys}")


def _checked(path: str, value: Any, kind: type) -> Any:
    """A value of the right type and sign."""
    if kind is bool or kind is str:
        if not isinstance(value, kind):
            expected = "true or false" if kind is bool else "a string"
            raise KpuError(f"'{path}' must be {expected}, got {shortened(repr(value))}")
        if isinstance(value, str) and len(value) > LONGEST_NAME:
            raise KpuError(f"'{path}' must have at most {LONGEST_NAME} characters")
        return value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and isinstance(value, int) and abs(value) > LARGEST:  # no float holds any of them
        raise KpuError(f"'{path}' must be at most 2**62")
    if not number or not math.isfinite(value) or (kind is int and int(value) != value):
        expected = "an integer" if kind is int else "a finite number"
        raise KpuError(f"'{path}' must be {expected}, got {shortened(repr(value))}")
    may_be_zero = path in _may_be_zero() or path.startswith(("energy.", "area."))
    if value < 0 or (value == 0 and not may_be_zero):
        bound = "not be negative" if may_be_zero else "be positive"
        raise KpuError(f"'{path}' must {bound}, got {shortened(repr(value))}")
    most = MOST.get(path, LARGEST)
    if kind is int and value > most:
        raise KpuError(f"'{path}' must be at most {most}, got {shortened(repr(value))}")
    return kind(value)


def _consistent(machine: Machine) -> Machine:
    """``machine``, if its parts fit each other. Raises ``KpuError`` that names a key."""
    for kind in machine.fabric.macs:
        if kind not in machine.energy.mac:
            raise KpuError(
                f"'energy.mac.{kind}' is missing, but the fabric multiplies {kind}",
                hint=f"say what one multiply-accumulate costs: energy.mac.{kind}=0.5 (pJ)",
            )
    for kind in machine.energy.mac:
        if kind not in machine.fabric.macs:
            raise KpuError(
                f"'fabric.macs.{kind}' is missing, but 'energy.mac.{kind}' is given",
                hint=f"say how many one PE does in a cycle: fabric.macs.{kind}=1",
            )
    machine.area.check()
    if machine.l3.bytes > machine.external.bytes:
        raise KpuError(
            f"'external.bytes' is {machine.external.bytes}, less than L3's {machine.l3.bytes}"
        )
    refresh = machine.external
    if refresh.refresh_interval and refresh.refresh_cycles >= refresh.refresh_interval:
        raise KpuError(
            f"'external.refresh_cycles' is {refresh.refresh_cycles}, no less than the interval of "
            f"{refresh.refresh_interval}",
            hint="a refresh ends before the next one begins",
        )
    edge = 4 * max(machine.fabric.rows, machine.fabric.columns)
    if machine.l1.bytes // 4 < edge:
        raise KpuError(
            f"'l1.buffer_bytes' is {machine.l1.buffer_bytes}: a quarter of L1 must hold the {edge} "
            "bytes that enter the array in a cycle",
            hint=f"l1.buffers * l1.buffer_bytes of at least {4 * edge}",
        )
    return machine
