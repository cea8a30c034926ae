"""The description of a KPU: the only place in the code that knows a number of it.

Plain data, read from TOML (``presets/``, or a user's file), changed with ``with_settings``, carried in the module as an attribute.
Everything is in base cycles (``clock_hz``) and bytes; a slower part is a part with fewer bytes per cycle.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, get_type_hints

from kpu_ir.errors import KpuError


@dataclass(frozen=True, slots=True)
class Fabric:
    """The systolic array."""

    rows: int = 16
    """PEs from north to south."""
    columns: int = 16
    """PEs from west to east."""
    macs: dict[str, int] = field(
        default_factory=lambda: {"f32": 1, "f16": 2, "bf16": 2, "i8": 4, "i4": 8}
    )
    """Multiply-accumulates that one PE does in one cycle, by operand type."""
    chained: bool = True
    """Whether folds overlap: a second accumulator a PE, the next fold streams in while the last one drains."""


@dataclass(frozen=True, slots=True)
class Vector:
    """The vector engine, on the drain of the array and on tiles in L2."""

    lanes: int = 16
    """Elements it takes at a time."""
    initiation_interval: dict[str, int] = field(
        default_factory=lambda: {"simple": 1, "divide": 4, "special": 4}
    )
    """Cycles between two groups of lanes, by class of scalar operation."""


@dataclass(frozen=True, slots=True)
class External:
    """Memory outside the chip."""

    bytes: int = 1 << 30
    """Capacity."""
    latency: int = 112
    """Base cycles from a request to its first data (56 ns at 2 GHz)."""


@dataclass(frozen=True, slots=True)
class Dma:
    """The DMA engines, external memory to L3 and back: one a memory channel."""

    channels: int = 4
    bytes_per_cycle: int = 8
    """Of one channel."""


@dataclass(frozen=True, slots=True)
class L3:
    """The large memory on the chip."""

    tiles: int = 4
    tile_bytes: int = 128 << 10

    @property
    def bytes(self) -> int:
        """Capacity."""
        return self.tiles * self.tile_bytes


@dataclass(frozen=True, slots=True)
class Mover:
    """The block movers, L3 to L2 and back."""

    channels: int = 4
    bytes_per_cycle: int = 16
    """Of one mover."""


@dataclass(frozen=True, slots=True)
class L2:
    """The memory that feeds the array."""

    banks: int = 8
    bank_bytes: int = 64 << 10

    @property
    def bytes(self) -> int:
        """Capacity."""
        return self.banks * self.bank_bytes


@dataclass(frozen=True, slots=True)
class Streamer:
    """The streamers, L2 to L1."""

    bytes_per_cycle: int = 128
    """Of all together."""


@dataclass(frozen=True, slots=True)
class L1:
    """Stream buffers at the edges of the array: half of them for each operand, half of these in use, half being filled."""

    buffers: int = 4
    buffer_bytes: int = 32 << 10

    @property
    def bytes(self) -> int:
        """Capacity."""
        return self.buffers * self.buffer_bytes


@dataclass(frozen=True, slots=True)
class EnergyTable:
    """Picojoules of one event."""

    external: float = 12.0
    """A byte read from or written to external memory (LPDDR5)."""
    l3: float = 1.5
    l2: float = 0.7
    l1: float = 0.25
    mac: dict[str, float] = field(
        default_factory=lambda: {"f32": 0.8, "f16": 0.4, "bf16": 0.4, "i8": 0.25, "i4": 0.15}
    )
    """A multiply-accumulate, by operand type."""
    vector: float = 0.8
    """One operation of one lane."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A KPU. ``Machine.load("default")``, ``Machine.load("my.toml")``, ``m.with_settings(["l2.banks=4"])``."""

    name: str = "default"
    clock_hz: float = 2e9
    """Base cycles a second."""
    fabric: Fabric = Fabric()
    vector: Vector = Vector()
    external: External = External()
    dma: Dma = Dma()
    l3: L3 = L3()
    mover: Mover = Mover()
    l2: L2 = L2()
    streamer: Streamer = Streamer()
    l1: L1 = L1()
    energy: EnergyTable = EnergyTable()

    # -- derived ----------------------------------------------------------------------------------

    def peak_macs(self, kind: str = "f32") -> int:
        """Multiply-accumulates a cycle, of the whole array."""
        return self.fabric.rows * self.fabric.columns * self.fabric.macs[kind]

    def peak_flops(self, kind: str = "f32") -> float:
        """Operations a second, two a multiply-accumulate."""
        return 2 * self.peak_macs(kind) * self.clock_hz

    @property
    def bandwidth(self) -> dict[str, int]:
        """Bytes per cycle of each mover of data, all its channels together."""
        return {
            "dma": self.dma.channels * self.dma.bytes_per_cycle,
            "mover": self.mover.channels * self.mover.bytes_per_cycle,
            "streamer": self.streamer.bytes_per_cycle,
        }

    def seconds(self, cycles: int) -> float:
        """The time that ``cycles`` take."""
        return cycles / self.clock_hz

    # -- reading and changing ---------------------------------------------------------------------

    @staticmethod
    def presets() -> list[str]:
        """The names that ``preset`` knows."""
        folder = resources.files("kpu_ir") / "presets"
        return sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml"))

    @staticmethod
    def preset(name: str) -> Machine:
        """A machine that ships with the package. Raises ``KpuError`` for a name that none has."""
        file = resources.files("kpu_ir") / "presets" / f"{name}.toml"
        if not file.is_file():
            raise KpuError(
                f"there is no machine '{name}'",
                hint=f"presets: {', '.join(Machine.presets())}; or the path of a TOML file",
            )
        return _from_toml(file.read_text(), f"{name}.toml", name)

    @staticmethod
    def load(name_or_path: str) -> Machine:
        """A preset by name, or a TOML file by path. Raises ``KpuError`` that names the key that is wrong."""
        path = Path(name_or_path)
        if path.suffix != ".toml" and not path.is_file():
            return Machine.preset(name_or_path)
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as e:
            raise KpuError(f"cannot be read: {e}", str(path)) from None
        return _from_toml(text, str(path), path.stem)

    def with_settings(self, settings: Iterable[str] | Mapping[str, Any]) -> Machine:
        """This machine with some values changed: ``["l2.banks=4"]`` or ``{"l2.banks": 4}``."""
        changes: dict[str, Any] = {}
        if isinstance(settings, Mapping):
            changes = {str(k): v for k, v in settings.items()}
        else:
            for setting in settings:
                key, sign, text = setting.partition("=")
                if not sign:
                    raise KpuError(f"'{setting}' is not a setting", hint="write key=value, as l2.banks=4")
                changes[key.strip()] = _parsed(text.strip())
        nested: dict[str, Any] = {}
        for key, value in changes.items():
            *parents, last = key.split(".")
            at = nested
            for parent in parents:
                at = at.setdefault(parent, {})
                if not isinstance(at, dict):
                    raise KpuError(f"'{key}' is set twice")
            at[last] = value
        return _changed(self, nested, "")

    def to_dict(self) -> dict[str, Any]:
        """Plain nested data."""
        return asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Machine:
        """The machine of ``to_dict``; missing keys take their defaults. Raises ``KpuError`` that names a wrong key."""
        return _changed(Machine(), data, "")


def _parsed(text: str) -> Any:
    """A value as TOML reads it; plain words are strings."""
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def _from_toml(text: str, where: str, name: str) -> Machine:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise KpuError(f"not TOML: {e}", where) from None
    base = data.pop("base", None)
    if base is not None and not isinstance(base, str):
        raise KpuError("base must be the name of a preset", where)
    data.setdefault("name", name)
    try:
        start = Machine.preset(base) if base else Machine()
        return _changed(start, data, "")
    except KpuError as e:
        raise KpuError(e.message, where, e.hint) from None


def _changed(part: Any, data: Mapping[str, Any], prefix: str) -> Any:
    """``part`` with the values of ``data``, each checked."""
    hints = get_type_hints(type(part), vars(__import__("builtins")) | globals())
    known = {f.name for f in fields(part)}
    new: dict[str, Any] = {}
    for key, value in data.items():
        path = f"{prefix}{key}"
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            keys = ", ".join(sorted(known))
            hint = f"did you mean '{prefix}{near[0]}'? " if near else ""
            raise KpuError(f"unknown key '{path}'", hint=f"{hint}keys here: {keys}")
        old = getattr(part, key)
        if is_dataclass(old):
            if not isinstance(value, Mapping):
                raise KpuError(f"'{path}' is a table, got {value!r}")
            new[key] = _changed(old, value, f"{path}.")
        elif isinstance(old, dict):
            if not isinstance(value, Mapping):
                raise KpuError(f"'{path}' is a table, got {value!r}")
            kind = float if path == "energy.mac" else int
            table = {str(k): _checked(f"{path}.{k}", v, kind) for k, v in value.items()}
            new[key] = {**old, **table}
        else:
            new[key] = _checked(path, value, hints[key])
    return replace(part, **new)


def _checked(path: str, value: Any, kind: Any) -> Any:
    """A value of the right type and sign."""
    if kind is bool or kind is str:
        if not isinstance(value, kind):
            raise KpuError(f"'{path}' must be a {kind.__name__}, got {value!r}")
        return value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or (kind is int and int(value) != value):
        article = "an integer" if kind is int else "a number"
        raise KpuError(f"'{path}' must be {article}, got {value!r}")
    may_be_zero = path == "external.latency" or path.startswith("energy.")
    if value < 0 or (value == 0 and not may_be_zero):
        bound = "not be negative" if may_be_zero else "be positive"
        raise KpuError(f"'{path}' must {bound}, got {value!r}")
    return kind(value)
