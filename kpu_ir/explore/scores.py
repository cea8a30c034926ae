"""What a machine is worth: figures over its workloads, constraints that it breaks, objectives."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kpu_ir.explore.formula import Formula, Value
from kpu_ir.explore.space import Setting

LEVELS = ("external", "l3", "l2", "l1")
PARTS = ("array", "vector", "l3", "l2", "l1", "dma", "mover", "streamer", "control", "phy")

SUMMED = (
    "cycles", "seconds", "energy_j", "external_bytes",
    *(f"energy_j.{part}" for part in (*LEVELS, "mac", "vector", "refresh", "background", "leakage")),
    *(f"bytes.{level}" for level in LEVELS),
)  # fmt: skip
"""Over workloads: the sum, each by its weight."""

LARGEST = ("power_w", "external_peak_bytes")
"""Over workloads: the largest."""

AVERAGED = ("utilization", "roofline")
"""Over workloads: the mean, by weighted cycles."""

OF_MACHINE = ("area_mm2", *(f"area.{part}" for part in PARTS))
"""The same for every workload."""

FIGURES = (*SUMMED, "edp", *LARGEST, *AVERAGED, *OF_MACHINE)
"""What formulas may ask for. ``edp`` is joules times seconds, of all workloads together."""


@dataclass(frozen=True)
class Objective:
    """What is to be least; or most, if ``most``."""

    formula: Formula
    most: bool = False

    @property
    def text(self) -> str:
        """As the study says it."""
        return f"max {self.formula.text}" if self.most else self.formula.text

    def least(self, value: float) -> float:
        """``value`` such that less is better."""
        return -value if self.most else value


@dataclass
class Design:
    """One machine of a study: its knobs, a row for each workload, and what becomes of it.

    ``status``: ``ok``, ``rejected`` (a constraint), ``infeasible`` (it does not compile), ``pruned``
    (by the proxy) or ``error`` (a bug, or a worker that died). ``values``: of the objectives.
    """

    number: int
    knobs: dict[str, Setting]
    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    status: str = "ok"
    reason: str = ""
    values: list[float] = field(default_factory=list[float])
    front: bool = False


@dataclass(frozen=True)
class Judge:
    """What a study says of a design."""

    objectives: Sequence[Objective]
    constraints: Sequence[Formula]
    formulas: Mapping[str, Formula]
    weights: Mapping[str, float]
    base: Mapping[str, Setting]

    def look(self, design: Design, name: str, workload: str | None) -> Value:
        """A figure of a design: of one workload, or of all of them; a formula; a knob."""
        if name in self.formulas:
            return self.formulas[name].value(lambda n, w: self.look(design, n, w or workload))
        if name in design.knobs:
            return design.knobs[name]
        if name in self.base:
            return self.base[name]
        rows = [row for row in design.rows if workload in (None, row["workload"])]
        if not rows or any(name not in row for row in rows if name != "edp"):
            return math.nan
        if len(rows) == 1 and workload is not None and name != "edp":
            return rows[0][name]
        weights = [self.weights[row["workload"]] if workload is None else 1.0 for row in rows]
        return combined(name, rows, weights)

    def violation(self, design: Design, known: bool = True) -> str:
        """The first constraint that a design breaks, in words; nothing if it breaks none. Without
        ``known`` rows, only of those that knobs and area decide."""
        for constraint in self.constraints:
            asked = constraint.names()
            if not known and any(not self._early(name) for name, _ in asked):
                continue
            value = constraint.value(lambda n, w: self.look(design, n, w))
            if not value or value != value:
                return f"{constraint.text}{self.side(constraint, design)}"
        return ""

    def excess(self, design: Design) -> list[float]:
        """For each constraint, 0 where it holds; else by how much of the limit it does not."""
        found: list[float] = []
        for constraint in self.constraints:
            if constraint.value(lambda n, w: self.look(design, n, w)) is True:
                found.append(0.0)
                continue
            left, right = self._sides(constraint, design)
            over = abs(left - right) / abs(right) if right else abs(left)
            found.append(over if math.isfinite(over) and over > 0 else 1.0)
        return found

    def side(self, constraint: Formula, design: Design) -> str:
        """``: area_mm2 is 13.2``."""
        tree = constraint.tree
        if not isinstance(tree, ast.Compare):
            return ""
        left, _ = self._sides(constraint, design)
        return f": {ast.unparse(tree.left)} is {left:.6g}"

    def _sides(self, constraint: Formula, design: Design) -> tuple[float, float]:
        tree = constraint.tree
        if not isinstance(tree, ast.Compare):
            return math.nan, math.nan
        ends = (tree.left, tree.comparators[-1])
        left, right = (
            Formula(ast.unparse(end), end).number(lambda n, w: self.look(design, n, w))
            for end in ends
        )
        return left, right

    def _early(self, name: str) -> bool:
        """Whether a name is known before anything is simulated."""
        if name in self.formulas:
            return all(self._early(n) for n, _ in self.formulas[name].names())
        return name in self.base or name in OF_MACHINE

    def score(self, design: Design) -> list[float]:
        """The objectives, each such that less is better."""
        return [
            o.least(o.formula.number(lambda n, w: self.look(design, n, w))) for o in self.objectives
        ]


def combined(name: str, rows: Sequence[Mapping[str, Any]], weights: Sequence[float]) -> float:
    """A figure over workloads."""
    if name == "edp":
        if any("seconds" not in row for row in rows):
            return math.nan
        joules = combined("energy_j", rows, weights)
        return joules * combined("seconds", rows, weights)
    values = [row[name] for row in rows]
    if name in OF_MACHINE:
        return values[0]
    if name in LARGEST:
        return max(values)
    if name in AVERAGED:
        shares = [w * row["cycles"] for w, row in zip(weights, rows, strict=True)]
        return sum(s * v for s, v in zip(shares, values, strict=True)) / sum(shares)
    return sum(w * v for w, v in zip(weights, values, strict=True))
