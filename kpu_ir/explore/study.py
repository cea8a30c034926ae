"""A study: its question, its run, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kpu_ir.explore.drive import Dask, Driver, Local, failed
from kpu_ir.explore.evaluate import Point, Row, compiler
from kpu_ir.explore.pareto import front, ranks
from kpu_ir.explore.samplers import Optimiser, Sampler, grid, random
from kpu_ir.explore.scores import Design, Judge
from kpu_ir.explore.space import Setting
from kpu_ir.explore.spec import Spec
from kpu_ir.explore.store import Store
from kpu_ir.machine import Machine
from kpu_ir.machine.area import area
from kpu_ir.program.options import Options
from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import path_of, read_text, write_atomically
from kpu_ir.support.package import __version__

FORMAT = 1
"""Of ``study.json``."""


@dataclass(frozen=True)
class Seen:
    """How far a study is: designs done of how many, rows evaluated so far, and the best design."""

    done: int
    total: int
    rows: int
    best: Design | None


Watch = Callable[[Seen], None]


@dataclass
class Results:
    """What a study found. ``base``: the machine that it started from, as a design."""

    spec: Spec
    base: Design
    designs: list[Design] = field(default_factory=list[Design])

    @property
    def good(self) -> list[Design]:
        """The designs that meet every constraint."""
        return [design for design in self.designs if design.status == "ok"]

    @property
    def front(self) -> list[Design]:
        """The designs that no other one beats, best in the first objective first."""
        return sorted((d for d in self.designs if d.front), key=lambda d: d.values)

    @property
    def winner(self) -> Design | None:
        """The design with the smallest product of objectives relative to the base; of one objective,
        the best."""
        return min(self.good, key=self._worth, default=None)

    def _worth(self, design: Design) -> tuple[float, int]:
        return worth(design), design.number

    def table(self) -> list[Row]:
        """One row a design and workload: number, status, knobs, objectives, figures. The base is
        number 0."""
        names = [objective.text for objective in self.spec.objectives]
        found: list[Row] = []
        for design in (self.base, *self.designs):
            head: Row = {"point": design.number, "front": design.front, "status": design.status,
                         "reason": design.reason}  # fmt: skip
            signed = zip(self.spec.objectives, design.values, strict=False)
            values = {f"objective {o.text}": o.least(v) for o, v in signed}
            tail = {**{f"objective {name}": None for name in names}, **values}
            for row in design.rows or [{"workload": ""}]:
                own = {k: v for k, v in row.items() if k not in ("status", "reason")}
                found.append({**head, "workload": row["workload"], **design.knobs, **tail, **own})
        columns: dict[str, None] = dict.fromkeys(key for row in found for key in row)
        return [{name: row.get(name) for name in columns} for row in found]


def worth(design: Design) -> float:
    """One figure for all objectives: their product; the less, the better."""
    product = 1.0
    for value in design.values:
        product *= value if value > 0 else 1 / max(-value, 1e-300) if value < 0 else 1e-300
    return product


@dataclass(frozen=True)
class Study:
    """A question about machines: ``Study.load("study.toml").run("out").table()``."""

    spec: Spec

    @staticmethod
    def load(path: str | Path) -> Study:
        """Read a TOML file. Raises ``KpuError`` that names the line of a mistake."""
        return Study(Spec.load(path_of(path)))

    @staticmethod
    def of(data: Mapping[str, Any], folder: str | Path = ".") -> Study:
        """A study from plain data with the keys of the TOML file."""
        return Study(Spec.of(data, path_of(folder)))

    def run(
        self,
        out: str | Path,
        *,
        resume: bool = False,
        processes: int | None = None,
        dask: str | None = None,
        watch: Watch = lambda seen: None,
    ) -> Results:
        """Evaluate, and keep every row in the folder ``out``; with ``resume`` what is there is used.

        ``processes``: of this machine, by default one a processor; ``dask``: the address of a
        scheduler instead. Raises ``KpuError`` where nothing can be evaluated or written.
        """
        folder = path_of(out)
        self._open(folder, resume)
        store = Store(folder)
        driver: Driver = Dask(store, dask) if dask is not None else Local(store, processes)
        try:
            return _Run(self.spec, driver, folder, watch).results()
        finally:
            driver.close()

    def _open(self, folder: Path, resume: bool) -> None:
        """Make the folder. Raises ``KpuError`` where another version's results are, or any that
        nobody asked for."""
        path = folder / "study.json"
        if not folder.parent.is_dir():
            raise KpuError("the folder does not exist", str(folder.parent), "make it first")
        if path.exists():
            try:
                data = json.loads(read_text(path))
                theirs, version = data["compiler"], data["version"]
            except (ValueError, KeyError, TypeError):
                raise KpuError("this is no study's", str(path), "give another --out") from None
            if theirs != compiler() or data.get("format") != FORMAT:
                raise KpuError(
                    f"these results are of another kpu-ir ({version}, {theirs[:12]}; this is "
                    f"{__version__}, {compiler()[:12]}): they are not mixed",
                    str(folder),
                    "give another --out, or remove the folder",
                )
            if not resume:
                raise KpuError(
                    "there are results already", str(folder), "--resume, or another --out"
                )
        data = {"format": FORMAT, "version": __version__, "compiler": compiler(),
                "name": self.spec.name, "study": self.spec.places.text}  # fmt: skip
        try:
            folder.mkdir(exist_ok=True)
        except OSError as e:
            raise KpuError(f"cannot be made: {e.strerror or e}", str(folder)) from None
        write_atomically(path, json.dumps(data, indent=1) + "\n")


@dataclass
class _Run:
    """One run of a study."""

    spec: Spec
    driver: Driver
    folder: Path
    watch: Watch

    def __post_init__(self) -> None:
        spec = self.spec
        self.judge = Judge(
            spec.objectives, spec.constraints, spec.formulas, spec.weights, spec.space.base
        )
        self.proxy = (
            replace(spec.options, search=spec.proxy.search) if spec.proxy is not None else None
        )
        self.done: list[Design] = []
        self.rows = 0

    def results(self) -> Results:
        spec = self.spec
        knobs = {knob.name: spec.space.base[knob.name] for knob in spec.space.knobs}
        base = Design(0, knobs)
        self._evaluate([base], spec.options)
        self._value(base)
        self._ask_and_tell()
        found = Results(spec, base, self.done)
        good = found.good
        for design, first in zip(good, front([d.values for d in good]) if good else ()):
            design.front = first
        if not good:
            raise self._none_met(found)
        return found

    def _ask_and_tell(self) -> None:
        """Evaluate batches until the sampler is done; all designs are in ``done`` then."""
        spec = self.spec
        sampler = self._sampler()
        total = min(spec.points, len(spec.space))
        while batch := sampler.ask():
            designs = [
                Design(len(self.done) + i, spec.space.point(choice))
                for i, choice in enumerate(batch, 1)
            ]
            self._batch(designs, total)
            for choice, design in zip(batch, designs, strict=True):
                sampler.tell(choice, *self._told(design))
            self.done += designs
        if isinstance(sampler, Optimiser):
            sampler.record()

    def _told(self, design: Design) -> tuple[list[float] | None, list[float]]:
        if design.status in ("infeasible", "pruned", "error") or not design.values:
            return None, []
        return design.values, self.judge.excess(design)

    def _sampler(self) -> Sampler:
        spec = self.spec
        if spec.sampler == "grid":
            return grid(spec.space)
        if spec.sampler == "random":
            return random(spec.space, spec.points, spec.seed)
        journal = self.folder / "optuna.log"
        count = len(spec.objectives)
        return Optimiser(spec.space, spec.points, spec.seed, spec.batch, count, journal)

    def _batch(self, designs: list[Design], total: int) -> None:
        """Evaluate designs: first what knobs and area decide, then the proxy, then all of it."""
        for design in designs:
            self._early(design)
        left = [d for d in designs if d.status == "ok"]
        if self.proxy is not None and self.spec.proxy is not None:
            left = self._pruned(left, self.proxy, self.spec.proxy.keep)
        self._evaluate(left, self.spec.options, total)
        for design in left:
            self._value(design)
            self._rejected(design)

    def _early(self, design: Design) -> None:
        """Refuse a machine that there cannot be, or whose area alone breaks a constraint."""
        try:
            machine = self._machine(design)
        except KpuError as e:
            design.status, design.reason = "infeasible", e.message
            return
        parts = area(machine).parts
        figures = {"area_mm2": sum(parts.values()), **{f"area.{k}": v for k, v in parts.items()}}
        names = [workload.name for workload in self.spec.workloads]
        design.rows = [{"workload": name, **figures} for name in names]
        self._rejected(design, known=False)

    def _rejected(self, design: Design, known: bool = True) -> None:
        why = self.judge.violation(design, known) if design.status == "ok" else ""
        if why:
            design.status, design.reason = "rejected", why

    def _value(self, design: Design) -> None:
        """Status and objectives from the rows."""
        bad = [row for row in design.rows if row.get("status", "ok") != "ok"]
        if bad:
            design.status = "error" if any(r["status"] == "error" for r in bad) else "infeasible"
            design.reason = "; ".join(f"{row['workload']}: {row['reason']}" for row in bad)
            return
        design.values = self.judge.score(design)
        if any(v != v for v in design.values):
            design.status, design.reason = "infeasible", "an objective is no number"

    def _pruned(self, designs: list[Design], proxy: Options, keep: float) -> list[Design]:
        """The designs that go on: those of the first fronts, as the proxy sees them."""
        trials = [Design(d.number, d.knobs) for d in designs]
        self._evaluate(trials, proxy)
        for trial in trials:
            self._value(trial)
        seen = [i for i, trial in enumerate(trials) if trial.status == "ok"]
        rank = dict(zip(seen, ranks([trials[i].values for i in seen]), strict=True)) if seen else {}
        order = sorted(seen, key=lambda i: (rank[i], worth(trials[i]), i))
        going = set(order[: max(1, round(keep * len(order)))]) if order else set[int]()
        going |= {i for i, trial in enumerate(trials) if trial.status != "ok"}
        for i, (design, trial) in enumerate(zip(designs, trials, strict=True)):
            if i not in going:
                design.status = "pruned"
                design.rows = trial.rows
                design.reason = (
                    f"by search={proxy.search}: place {order.index(i) + 1} of {len(order)}, "
                    f"front {rank[i] + 1}; {len(order) - len(set(seen) - going)} went on"
                )
        return [design for i, design in enumerate(designs) if i in going]

    def _machine(self, design: Design) -> Machine:
        return self.spec.machine.with_settings(design.knobs)

    def _evaluate(self, designs: Sequence[Design], options: Options, total: int = 0) -> None:
        """Give each design a row for each workload. Points of equal time are simulated once."""
        places: dict[str, list[tuple[Design, int]]] = {}
        points: dict[str, Point] = {}
        for design in designs:
            machine = self._machine(design)
            design.rows = [{} for _ in self.spec.workloads]
            for j, workload in enumerate(self.spec.workloads):
                point = Point.of(machine, workload, options)
                points.setdefault(point.key, point)
                places.setdefault(point.key, []).append((design, j))
        first: dict[str, Point] = {}
        for point in points.values():
            first.setdefault(point.seen, point)
        now = list(first.values())
        chosen = {point.key for point in now}
        best = min((d for d in self.done if d.status == "ok"), key=worth, default=None)
        for batch in (now, [p for key, p in points.items() if key not in chosen]):
            for i, row in self.driver.rows(batch):
                self.rows += 1
                for design, j in places[batch[i].key]:
                    design.rows[j] = row
                    if total and all(design.rows):
                        self._value(design)
                        if design.status == "ok" and not self.judge.violation(design):
                            best = design if best is None or worth(design) < worth(best) else best
                finished = sum(all(d.rows) for d in designs)
                self.watch(Seen(len(self.done) + finished, total or len(designs), self.rows, best))
        for design in designs:
            for j, row in enumerate(design.rows):
                if not row:
                    point = Point.of(self._machine(design), self.spec.workloads[j], options)
                    design.rows[j] = failed(point, "it was not evaluated")

    def _none_met(self, found: Results) -> KpuError:
        """Why no design is left, with the line of what is to blame."""
        places, counts = self.spec.places, dict[str, int]()
        for design in found.designs:
            counts[design.status] = counts.get(design.status, 0) + 1
        for constraint in self.spec.constraints:
            broken = [d for d in found.designs if d.reason.startswith(f"{constraint.text}:")]
            if len(broken) == len(found.designs):
                least = min(broken, key=lambda d: sum(self.judge.excess(d)))
                return KpuError(
                    f"no point meets '{constraint.text}'{self.judge.side(constraint, least)} at best",
                    places.at("constraints", word=constraint.text),
                    "a weaker constraint, or other values of the knobs",
                )
        said = ", ".join(f"{n} {status}" for status, n in counts.items())
        first = next((d.reason for d in found.designs if d.reason), "")
        return KpuError(
            f"no point of {len(found.designs)} is left: {said}",
            places.at("constraints" if self.spec.constraints else "knobs"),
            f"the first one: {first}",
        )


def settings_text(knobs: Mapping[str, Setting]) -> str:
    """``l2.banks=4 dma.channels=2``."""
    words = {True: "true", False: "false"}
    return " ".join(f"{k}={words[v] if isinstance(v, bool) else v}" for k, v in knobs.items())
