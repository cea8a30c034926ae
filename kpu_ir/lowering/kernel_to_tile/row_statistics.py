"""Two reductions of long rows in one pass, where one needs the other's result.

* The largest of a row and the sum of its powers: "online normalizer calculation for softmax"
  (Milakov and Gimelshein 2018). What has been added up is rescaled whenever a piece brings a larger
  element. As exact as two passes: each power is rescaled by the same factors that the largest went
  through, which costs one rounding a piece at most.
* The sum of a row and that of its squared differences from the mean: sums of the differences d from
  a number c near the mean, that of the row's first piece, and ``sum(d^2) - sum(d)^2 / n`` at the end.
  What cancels there is ``n (mean - c)^2``. With P pieces it is at most P - 1 times the result
  (a piece that is off by much makes the variance large itself), so the relative error is
  at most about P times that of a sum of two passes, usually none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any

from xdsl.dialects.builtin import Float32Type, Float64Type
from xdsl.ir import Attribute, Operation, Region, SSAValue

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel import tensor_type
from kpu_ir.lowering.kernel_to_tile.bodies import formula_region
from kpu_ir.scalar import formulas
from kpu_ir.scalar.tracing import Scalar

Work = Mapping[Operation, tuple[tuple[SSAValue, ...], Region | None]]
"""What operations read, and their scalar bodies."""


@dataclass(frozen=True)
class Statistics:
    """``second`` needs the result of ``first``, and both can be had in one pass over ``source``.

    ``count``: the elements of a row.
    """

    first: kernel.ReduceOp
    second: kernel.ReduceOp
    count: int

    @property
    def source(self) -> SSAValue:
        """The row."""
        return self.first.source

    @property
    def element(self) -> Attribute:
        """The type of all that is added up."""
        return tensor_type(self.source).element_type

    @property
    def powers(self) -> bool:
        """Whether the sum is of powers; else of squared differences."""
        return self.first.kind_name == "max"

    @cached_property
    def bodies(self) -> dict[str, Region]:
        """The scalar bodies of the nest."""
        kind, n = self.element, float(self.count)
        table: Sequence[tuple[str, int, Callable[..., Any]]] = (
            ("grown", 2, formulas.maximum),
            ("away", 1, _finite),
            ("rescale", 2, lambda m, a: formulas.exp(m - a)),
            ("copy", 1, lambda m: m),
            ("power", 2, lambda x, a: formulas.exp(x - a)),
            ("total", 3, lambda t, r, s: t * r + s),
            # A row of -inf alone: as if its largest had been taken away.
            ("empty", 2, lambda t, m: formulas.where(m == -inf, m - m, t)),
            ("difference", 2, lambda x, c: x - c),
            ("square", 1, lambda d: d * d),
            ("plus", 2, lambda a, b: a + b),
            ("sum", 2, lambda s, c: s + c * n),
            ("spread", 2, lambda q, s: _positive(q - s * s * (1.0 / n))),
        )
        return {
            name: formula_region(formula, [kind] * inputs, kind) for name, inputs, formula in table
        }

    def near(self, piece: int) -> Region:
        """The body that makes the mean of a piece of its sum."""
        share = 1.0 / piece
        return formula_region(lambda s: s * share, [self.element], self.element)


def _finite(largest: Scalar) -> Scalar:
    return formulas.where(largest == -inf, 0.0, largest)


def _positive(x: Scalar) -> Scalar:
    return formulas.where(x < 0.0, 0.0, x)


def statistics_of(operations: Sequence[Operation], work: Work, count: int) -> Statistics | None:
    """The two reductions of a softmax or a norm among ``operations``; None where there are none, or
    others besides."""
    reductions = [op for op in operations if isinstance(op, kernel.ReduceOp)]
    if len(reductions) != 2 or reductions[1].kind_name != "add":
        return None
    found = Statistics(reductions[0], reductions[1], count)
    if not isinstance(found.element, Float32Type | Float64Type):
        return None
    match = {"max": _has_powers, "add": _has_squares}.get(found.first.kind_name)
    return found if match is not None and match(found, work) else None


def _has_powers(found: Statistics, work: Work) -> bool:
    """Whether the sum is of ``exp(row - largest)``; for a largest of -inf, 0 may be taken away."""
    inputs, body = work.get(found.second.source.owner, ((), None))  # pyright: ignore
    if len(inputs) != 2 or inputs[0] is not found.source or body is None:
        return False
    if not _same(body, lambda x, m: formulas.exp(x - m), 2, found.element):
        return False
    away = inputs[1]
    if away is found.first.result:
        return True
    inputs, body = work.get(away.owner, ((), None))  # pyright: ignore
    return inputs == (found.first.result,) and _same(body, _finite, 1, found.element)


def _has_squares(found: Statistics, work: Work) -> bool:
    """Whether the sum is of ``(row - mean)^2``."""
    share = 1.0 / found.count
    inputs, body = work.get(found.second.source.owner, ((), None))  # pyright: ignore
    if len(inputs) == 1 and _same(body, formulas.square, 1, found.element):
        inputs, body = work.get(inputs[0].owner, ((), None))  # pyright: ignore
        fits = _same(body, lambda a, m: a - m, 2, found.element)
    else:
        fits = _same(body, lambda a, m: (a - m) * (a - m), 2, found.element)
        fits = fits or _same(body, lambda a, m: formulas.square(a - m), 2, found.element)
    if len(inputs) != 2 or not fits or inputs[0] is not found.source:
        return False
    inputs, body = work.get(inputs[1].owner, ((), None))  # pyright: ignore
    return inputs == (found.first.result,) and _same(body, lambda s: s * share, 1, found.element)


def _same(body: Region | None, formula: Callable[..., Any], inputs: int, kind: Attribute) -> bool:
    """Whether a scalar body is that of a formula."""
    if body is None or [a.type for a in body.block.args] != [kind] * inputs:
        return False
    return body.is_structurally_equivalent(formula_region(formula, [kind] * inputs, kind))
