"""The space of a study: knobs of the machine, each with the values that it may take."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kpu_ir.explore.formula import Formula, Value
from kpu_ir.support.errors import KpuError
from kpu_ir.support.lines import a_kind, allowed
from kpu_ir.support.names import shortened

MOST_VALUES = 10_000
"""Of one knob."""

Setting = int | float | bool | str


@dataclass(frozen=True)
class Knob:
    """One key of the machine. ``values``: what it may take, in order; empty for one that is tied to
    others by ``tied``. Where ``when`` is false it takes ``otherwise``, or what the base machine has.
    """

    name: str
    values: tuple[Setting, ...] = ()
    tied: Formula | None = None
    when: Formula | None = None
    otherwise: Setting | None = None

    @staticmethod
    def of(name: str, given: Any) -> Knob:
        """A knob as a study says it: a list, a range, or a formula over others.

        ``[8, 16]``; ``{from = 1, to = 8, step = 1}``; ``{from = 4, to = 64, log = 2}`` (each twice
        the one before); ``{from = 1e9, to = 2e9, count = 5}`` (with ``log = true`` by equal factors);
        ``"fabric.rows"``; ``{values = [...], when = "l2.banks <= 4", else = 8}``.
        """
        if isinstance(given, str):
            return Knob(name, tied=Formula.of(given))
        if isinstance(given, Sequence):
            return Knob(name, _listed(name, given))
        if not isinstance(given, Mapping):
            return Knob(name, _listed(name, [given]))
        table: dict[str, Any] = {str(k): v for k, v in given.items()}
        known = ("values", "from", "to", "step", "count", "log", "when", "else")
        for key in table:
            if key not in known:
                raise KpuError(f"a knob has no '{key}'", hint=allowed(key, known, "keys"))
        when, otherwise = table.pop("when", None), table.pop("else", None)
        if otherwise is not None and when is None:
            raise KpuError("'else' does nothing without 'when'")
        if when is not None and not isinstance(when, str):
            raise KpuError(f"'when' is a condition in quotes, got {a_kind(when)}")
        if "values" in table:
            if len(table) > 1:
                raise KpuError("'values' and a range contradict each other", hint="leave one out")
            values = _listed(name, table["values"])
        else:
            values = _ranged(table)
        return Knob(name, values, None, Formula.of(when) if when else None, otherwise)


def _listed(name: str, given: Any) -> tuple[Setting, ...]:
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise KpuError(f"the values of a knob are a list, got {a_kind(given)}")
    if not given:
        raise KpuError(f"'{name}' has no values", hint="give at least one")
    for value in given:
        if not isinstance(value, int | float | bool | str):
            raise KpuError(f"a value is a number or true or false, got {a_kind(value)}")
        if isinstance(value, float) and not math.isfinite(value):
            raise KpuError(f"a value must be finite, got {value}")
    if len(set(map(repr, given))) < len(given):
        raise KpuError(f"'{name}' has a value twice")
    if len(given) > MOST_VALUES:
        raise KpuError(f"'{name}' has {len(given):,} values, {MOST_VALUES:,} at most")
    return tuple(given)


def _ranged(table: Mapping[str, Any]) -> tuple[Setting, ...]:
    for key in ("from", "to"):
        if key not in table:
            raise KpuError(f"a range needs '{key}'", hint="{ from = 1, to = 8 }")
    for key in ("from", "to", "step", "count"):
        value = table.get(key, 1)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise KpuError(f"'{key}' is a number, got {shortened(repr(value))}")
    low, high = table["from"], table["to"]
    if low > high:
        raise KpuError(f"a range from {low} to {high} is empty", hint="turn it round")
    whole = isinstance(low, int) and isinstance(high, int)
    log = table.get("log", False)
    if log is not False and low <= 0:
        raise KpuError("a logarithmic range is of positive numbers")
    if "count" in table:
        count = int(table["count"])
        if not 2 <= count <= MOST_VALUES or "step" in table:
            raise KpuError(f"'count' is from 2 to {MOST_VALUES}, and without 'step'")
        shares = [i / (count - 1) for i in range(count)]
        found = [low * (high / low) ** s if log else low + (high - low) * s for s in shares]
        rounded = [round(v) if whole else float(f"{v:.12g}") for v in found]
        return tuple(dict.fromkeys(rounded))
    if log is not False:
        factor = 2 if log is True else log
        if not isinstance(factor, int | float) or factor <= 1:
            raise KpuError("'log' is the factor between two values, above 1", hint="log = 2")
        values: list[Setting] = []
        at: float = low
        while at <= high * (1 + 1e-12) and len(values) <= MOST_VALUES:
            values.append(round(at) if whole else at)
            at *= factor
        return tuple(dict.fromkeys(values))
    if not whole and "step" not in table:
        raise KpuError("a range of numbers that are not whole needs 'step' or 'count'")
    step = table.get("step", 1)
    if step <= 0:
        raise KpuError("'step' must be positive")
    count = int((high - low) / step + 1e-9) + 1
    if count > MOST_VALUES:
        raise KpuError(f"a range of {count:,} values; {MOST_VALUES:,} at most")
    stepped = [low + i * step for i in range(count)]
    return tuple(v if isinstance(v, int) else float(f"{v:.12g}") for v in stepped)


@dataclass(frozen=True)
class Space:
    """Knobs, those that are free first decided. ``base`` gives what no knob says."""

    knobs: tuple[Knob, ...]
    base: Mapping[str, Setting]

    @property
    def free(self) -> tuple[Knob, ...]:
        """The knobs that are chosen; the others follow."""
        return tuple(knob for knob in self.knobs if knob.tied is None)

    def __len__(self) -> int:
        """How many choices there are; conditions may make some of them equal."""
        return math.prod(len(knob.values) for knob in self.free)

    def order(self) -> list[Knob]:
        """The knobs, each after those that it depends on. Raises ``KpuError`` for a circle."""
        by_name = {knob.name: knob for knob in self.knobs}
        done: list[Knob] = []
        on_way: list[str] = []

        def visit(knob: Knob) -> None:
            if knob in done:
                return
            if knob.name in on_way:
                raise KpuError(f"knobs depend on each other: {' -> '.join([*on_way, knob.name])}")
            on_way.append(knob.name)
            for formula in (knob.tied, knob.when):
                for name, _ in formula.names() if formula else ():
                    if name in by_name:
                        visit(by_name[name])
            on_way.pop()
            done.append(knob)

        for knob in self.knobs:
            visit(knob)
        return done

    def point(self, choice: Sequence[int]) -> dict[str, Setting]:
        """The value of each knob, by the index that is chosen of each free one."""
        chosen = {knob.name: knob.values[i] for knob, i in zip(self.free, choice, strict=True)}
        found: dict[str, Setting] = {}

        def look(name: str, workload: str | None) -> Value:
            return found[name] if name in found else self.base[name]

        for knob in self.order():
            if knob.tied is not None:
                value = knob.tied.value(look)
                whole = (
                    isinstance(value, float)
                    and value.is_integer()
                    and not isinstance(self.base[knob.name], float)
                )
                found[knob.name] = int(value) if whole else value
            elif knob.when is not None and not knob.when.value(look):
                usual = self.base[knob.name]
                found[knob.name] = usual if knob.otherwise is None else knob.otherwise
            else:
                found[knob.name] = chosen[knob.name]
        return {knob.name: found[knob.name] for knob in self.knobs}

    def choices(self) -> Iterator[tuple[int, ...]]:
        """Every choice, the last knob running fastest."""
        yield from itertools.product(*(range(len(knob.values)) for knob in self.free))
