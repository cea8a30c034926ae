"""The outputs of a program beside those of the one that it was made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xdsl.dialects.builtin import AnyFloat
from xdsl.ir import Attribute

from kpu_ir.program.compiled import Compiled
from kpu_ir.report.precision import differences, spacing
from kpu_ir.sim.program.program import Port
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array, accumulator_type

TOLERANCE = 1e-4
"""Of an output's largest value: what another order of f32 sums explains."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Of one output: the largest difference, that over the largest value, and what is allowed of it."""

    name: str
    absolute: float
    relative: float
    tolerance: float

    @property
    def wrong(self) -> bool:
        """Whether rounding does not explain it."""
        return not self.relative <= self.tolerance


@dataclass(frozen=True, slots=True)
class Against:
    """What comparing with ``path`` found, an output each."""

    path: str
    outputs: tuple[Difference, ...]

    @property
    def wrong(self) -> bool:
        """Whether any output differs."""
        return any(one.wrong for one in self.outputs)

    def __str__(self) -> str:
        name = Path(self.path).name
        if not self.outputs:
            return f"not compared with {name}: there are none"
        worst = max(self.outputs, key=lambda d: (d.wrong, d.relative))
        of = f"{worst.relative:.3g} of its largest value, allowed {worst.tolerance:.3g}"
        if self.wrong:
            return f"differ from {name}: '{worst.name}' by {worst.absolute:.3g}, {of}"
        if not any(d.absolute for d in self.outputs):
            return f"agree with {name}, to the bit"
        return f"agree with {name}: '{worst.name}' differs most, by {worst.absolute:.3g}, {of}"


def compare_with(
    original: Compiled,
    path: str,
    program: Compiled,
    inputs: Mapping[str, Array],
    outputs: Mapping[str, Array],
    tolerance: float | None = None,
) -> Against:
    """Compare ``outputs`` of ``program`` for ``inputs`` with what ``original`` computes for them:
    its reference, where it has one. Ports go together by their names, or else by their order.

    Raises ``KpuError`` where the two do not take and give the same shapes and types.
    """
    theirs = _paired("input", program.program.inputs, original.program.inputs, path)
    given = {there.name: inputs[here.name] for here, there in theirs}
    expected = original.reference(given) if original.has_reference else original(given)
    found: list[Difference] = []
    for here, there in _paired("output", program.program.outputs, original.program.outputs, path):
        name = here.name
        absolute, relative = differences({name: outputs[name]}, {name: expected[there.name]})
        allowed = allowed_in(here.type.element_type) if tolerance is None else tolerance
        found.append(Difference(name, absolute, relative, allowed))
    return Against(path, tuple(found))


def allowed_in(kind: Attribute) -> float:
    """What rounding explains of the largest value of a type: 0 of integers."""
    if not isinstance(kind, AnyFloat):
        return 0.0
    return TOLERANCE if accumulator_type(kind) == kind else 2 * spacing(kind)


def _paired(
    what: str, here: Sequence[Port], there: Sequence[Port], path: str
) -> list[tuple[Port, Port]]:
    by_name = {p.name: p for p in there}
    named = len(here) == len(there) and all(p.name in by_name for p in here)
    pairs = [(p, by_name[p.name]) for p in here] if named else list(zip(here, there))
    same = len(here) == len(there) and all(
        tuple(a.type.get_shape()) == tuple(b.type.get_shape())
        and a.type.element_type == b.type.element_type
        for a, b in pairs
    )
    if not same:
        texts = [_text(here), _text(there)]
        raise KpuError(
            f"its {what}s are {texts[1]}, those of the program {texts[0]}",
            path,
            "--against compares programs that take and give the same",
        )
    return pairs


def _text(ports: Sequence[Port]) -> str:
    return ", ".join(f"{p.name}: {p.type}" for p in ports) or "none"


def as_json(found: Against) -> dict[str, Any]:
    """Plain data."""
    return {
        "file": found.path,
        "differs": found.wrong,
        "outputs": {
            d.name: {
                "max_abs_error": d.absolute,
                "max_rel_error": d.relative,
                "tolerance": d.tolerance,
            }
            for d in found.outputs
        },
    }
