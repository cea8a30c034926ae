"""What a study asks, as its TOML or a dictionary says it; every mistake is said with its line."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from kpu_ir.explore.formula import Formula
from kpu_ir.explore.places import Places
from kpu_ir.explore.scores import FIGURES, Objective
from kpu_ir.explore.space import Knob, Setting, Space
from kpu_ir.explore.workload import Workload
from kpu_ir.machine import Machine
from kpu_ir.program.options import Options
from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import read_text
from kpu_ir.support.lines import a_kind, allowed

SamplerName = Literal["grid", "random", "optuna"]

KEYS = (
    "name", "base", "fuse", "search", "objective", "workload", "knobs", "constraints", "objectives",
    "formulas", "sampler", "points", "seed", "batch", "proxy",
)  # fmt: skip

MOST_POINTS = 1_000_000
LARGEST_FILE = 1 << 22


@dataclass(frozen=True)
class Proxy:
    """A cheap look at each point before it is evaluated: with this search, ``keep`` of them go on."""

    search: Literal["none", "ranked", "quick"] = "none"
    keep: float = 0.5


@dataclass(frozen=True)
class Spec:
    """A study's question. ``points``: how many machines at most; ``batch``: how many the optimiser
    asks for at a time, whatever the number of workers."""

    name: str
    machine: Machine
    machine_name: str
    """The base as ``--machine`` takes it: a preset or a file."""
    workloads: tuple[Workload, ...]
    space: Space
    objectives: tuple[Objective, ...]
    constraints: tuple[Formula, ...]
    formulas: Mapping[str, Formula]
    options: Options
    sampler: SamplerName
    points: int
    seed: int
    batch: int
    proxy: Proxy | None
    places: Places

    @property
    def weights(self) -> dict[str, float]:
        """How much each workload counts."""
        return {workload.name: workload.weight for workload in self.workloads}

    @staticmethod
    def load(path: str | Path) -> Spec:
        """Read a TOML file. Raises ``KpuError`` that names the line."""
        text = read_text(path, LARGEST_FILE)
        try:
            data = tomllib.loads(text)
        except (ValueError, RecursionError) as e:
            line = str(e).rpartition("line ")[2].split(",")[0]
            where = f"{path}:{line}" if line.isdigit() else str(path)
            raise KpuError(f"not TOML: {e}", where) from None
        return Spec.of(data, Path(path).parent, Places.of(text, str(path)), Path(path).stem)

    @staticmethod
    def of(
        data: Mapping[str, Any], folder: Path, places: Places | None = None, name: str = "study"
    ) -> Spec:
        """A study from plain data; paths are relative to ``folder``."""
        return _Reader(data, folder, places or Places(name, ""), name).spec()


def machine_settings(machine: Machine) -> dict[str, Setting]:
    """Each key of a machine that a knob may turn, with its value."""
    found: dict[str, Setting] = {}

    def visit(data: Mapping[str, Any], prefix: str) -> None:
        for key, value in data.items():
            if isinstance(value, Mapping):
                visit(value, f"{prefix}{key}.")
            elif key != "name" or prefix:
                found[f"{prefix}{key}"] = value

    visit(machine.to_dict(), "")
    return found


@dataclass
class _Reader:
    """The parts of a study, one after the other."""

    data: Mapping[str, Any]
    folder: Path
    places: Places
    name: str
    base: str = ""

    @contextmanager
    def within(self, *path: str | int, word: str = "") -> Generator[None]:
        """Errors get the line of a key."""
        try:
            yield
        except KpuError as e:
            line = self.places.at(*path, word=word)
            if e.where and e.where.startswith(self.places.name):
                raise
            message = f"{e.where}: {e.message}" if e.where else e.message
            raise KpuError(message, line, e.hint) from None

    def spec(self) -> Spec:
        for key in self.data:
            with self.within(key):
                if key not in KEYS:
                    raise KpuError(f"a study has no '{key}'", hint=allowed(key, KEYS, "keys"))
        with self.within("base"):
            machine = self.machine()
        options = self.options()
        workloads = self.workloads()
        settings = machine_settings(machine)
        space = self.space(settings, machine)
        formulas = self.formulas()
        names = {workload.name for workload in workloads}
        check = self.checker(names, set(formulas), settings)
        for key, formula in formulas.items():
            with self.within("formulas", key):
                check(formula)
        constraints = [
            formula
            for text in self.texts("constraints", [])
            for formula in (self.formula("constraints", text, check),)
        ]
        objectives = [
            Objective(formula, text.startswith("max "))
            for text in self.texts("objectives", ["seconds", "area_mm2"])
            for formula in (self.formula("objectives", text, check),)
        ]
        with self.within("objectives"):
            if not objectives:
                raise KpuError("there is no objective", hint='objectives = ["seconds"]')
            if len({o.formula.text for o in objectives}) < len(objectives):
                raise KpuError("an objective stands there twice")
        sampler: Any = self.data.get("sampler", "random")
        with self.within("sampler"):
            if sampler not in get_args(SamplerName):
                raise KpuError(
                    f"there is no sampler {sampler!r:.40}",
                    hint=allowed(str(sampler), get_args(SamplerName), "samplers"),
                )
        usual = len(space) if sampler == "grid" else min(100, len(space))
        points = self.number("points", usual, 1, MOST_POINTS)
        with self.within("points" if "points" in self.data else "knobs"):
            if sampler == "grid" and len(space) > points:
                raise KpuError(
                    f"the grid has {len(space):,} points, the budget {points:,}",
                    hint='fewer values, more points, or sampler = "random"',
                )
        return Spec(
            str(self.data.get("name", self.name)), machine, self.base, tuple(workloads), space,
            tuple(objectives), tuple(constraints), formulas, options, sampler, points,
            self.number("seed", 0, 0, 1 << 31), self.number("batch", 8, 1, 10_000), self.proxy(),
            self.places,
        )  # fmt: skip

    def machine(self) -> Machine:
        base = self.data.get("base", "default")
        if isinstance(base, Machine):
            self.base = base.name
            return base
        if not isinstance(base, str | os.PathLike):
            raise KpuError(f"'base' is a preset or a TOML file, got {a_kind(base)}")
        beside = self.folder / base
        self.base = str(beside if beside.suffix == ".toml" and beside.is_file() else base)
        return Machine.load(self.base)

    def options(self) -> Options:
        options = Options()
        for key in ("fuse", "search", "objective"):
            with self.within(key):
                if key in self.data:
                    options = options.with_settings({key: self.data[key]})
        return options

    def workloads(self) -> list[Workload]:
        given: Any = self.data.get("workload")
        with self.within("workload"):
            if not isinstance(given, Sequence) or isinstance(given, str) or not given:
                raise KpuError(
                    "a study needs workloads", hint='[[workload]] with file = "model.onnx"'
                )
        found: list[Workload] = []
        every: list[Any] = list(given)
        for i, one in enumerate(every):
            with self.within("workload", i):
                if isinstance(one, Workload):
                    found.append(one)
                    continue
                if not isinstance(one, Mapping):
                    raise KpuError(f"a workload is a table, got {a_kind(one)}")
                workload = Workload.of(one, self.folder)
                if workload.name in {w.name for w in found}:
                    raise KpuError(
                        f"two workloads are called '{workload.name}'", hint="give one a name"
                    )
                found.append(workload)
        return found

    def space(self, settings: Mapping[str, Setting], machine: Machine) -> Space:
        given = self.data.get("knobs", {})
        with self.within("knobs"):
            if not isinstance(given, Mapping) or not given:
                raise KpuError("a study needs knobs", hint='[knobs] with "l2.banks" = [4, 8]')
        knobs: list[Knob] = []
        for name, value in _knobs(given, settings):
            with self.within("knobs", *(name.split(".") if name not in given else (name,))):
                if name not in settings:
                    raise KpuError(
                        f"the machine has no '{name}'", hint=allowed(name, list(settings), "keys")
                    )
                knob = Knob.of(name, value)
                for formula in (knob.tied, knob.when):
                    for asked, workload in formula.names() if formula else ():
                        if workload is not None or asked not in settings:
                            raise KpuError(
                                f"'{asked}' is no key of the machine",
                                hint=allowed(asked, list(settings), "keys"),
                            )
                for setting in (*knob.values, *([knob.otherwise] if knob.otherwise else ())):
                    _check_setting(machine, name, setting)
                knobs.append(knob)
        space = Space(tuple(knobs), settings)
        with self.within("knobs"):
            space.order()
            if not space.free:
                raise KpuError("every knob is tied to another: there is nothing to choose")
        return space

    def formulas(self) -> dict[str, Formula]:
        given = self.data.get("formulas", {})
        with self.within("formulas"):
            if not isinstance(given, Mapping):
                raise KpuError(f"'formulas' is a table, got {a_kind(given)}")
        found: dict[str, Formula] = {}
        for name, text in given.items():
            with self.within("formulas", name):
                if not isinstance(text, str):
                    raise KpuError(f"a formula is a text, got {a_kind(text)}")
                if name in FIGURES or not str(name).isidentifier():
                    raise KpuError(f"a formula cannot be called '{name}'", hint="another name")
                found[name] = Formula.of(text)
        return found

    def texts(self, key: str, usual: list[str]) -> list[str]:
        given: Any = self.data.get(key, usual)
        with self.within(key):
            given = [given] if isinstance(given, str) else given
            if not isinstance(given, list) or any(not isinstance(text, str) for text in given):
                raise KpuError(f"'{key}' is a list of formulas")
        return list(given)

    def formula(self, key: str, text: str, check: Callable[[Formula], None]) -> Formula:
        with self.within(key, word=text):
            formula = Formula.of(text.removeprefix("max ") if key == "objectives" else text)
            check(formula)
            return formula

    def checker(
        self, workloads: set[str], formulas: set[str], settings: Mapping[str, Setting]
    ) -> Callable[[Formula], None]:
        """What refuses a formula that asks for what there is not."""
        known = [*FIGURES, *sorted(formulas)]

        def check(formula: Formula) -> None:
            for name, workload in formula.names():
                if workload is not None and workload not in workloads:
                    hint = allowed(workload, sorted(workloads), "workloads")
                    raise KpuError(f"there is no workload '{workload}'", hint=hint)
                if name not in known and name not in settings:
                    raise KpuError(f"there is no figure '{name}'", hint=allowed(name, known))

        return check

    def number(self, key: str, usual: int, least: int, most: int) -> int:
        value = self.data.get(key, usual)
        with self.within(key):
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise KpuError(f"'{key}' is a whole number from {least:,} to {most:,}")
        return value

    def proxy(self) -> Proxy | None:
        given = self.data.get("proxy")
        if given is None:
            return None
        with self.within("proxy"):
            if not isinstance(given, Mapping):
                raise KpuError(f"'proxy' is a table, got {a_kind(given)}")
            for key in given:
                if key not in ("search", "keep"):
                    raise KpuError(f"a proxy has no '{key}'", hint="keys: search, keep")
            search, keep = given.get("search", "none"), given.get("keep", 0.5)
            if search not in ("none", "ranked", "quick"):
                raise KpuError(f"a proxy's search is none, ranked or quick, got {search!r:.40}")
            if isinstance(keep, bool) or not isinstance(keep, int | float) or not 0 < keep <= 1:
                raise KpuError("'keep' is the share that goes on, above 0 and up to 1")
            return Proxy(search, float(keep))


def _knobs(given: Mapping[str, Any], settings: Mapping[str, Setting]) -> Iterator[tuple[str, Any]]:
    """Knobs by dotted name, written in quotes or as TOML's dotted keys."""
    kinds = {name.rpartition(".")[0] for name in settings} | {"fabric", "vector"}
    for name, value in given.items():
        is_table = isinstance(value, Mapping) and name in kinds
        if is_table and not {"from", "to", "values"} & set(value):
            yield from _knobs({f"{name}.{k}": v for k, v in value.items()}, settings)
        else:
            yield str(name), value


def _check_setting(machine: Machine, name: str, value: Setting) -> None:
    """Raise ``KpuError`` for a value that the machine cannot have; whether it fits the other values
    is known only then."""
    if isinstance(value, str):
        raise KpuError(f"'{name}' must be a number, got {value!r:.40}")
    try:
        machine.with_settings({name: value})
    except KpuError as e:
        if e.message.startswith(f"'{name}' must"):
            raise
