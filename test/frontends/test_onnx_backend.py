"""ONNX's own node tests of the operators that the front end knows, through any way to run a module.

``run_backend_tests(run, chosen())`` is what to point at a whole stack: ``run(module, inputs)`` returns the
outputs. Run as a script, this file prints what passes through the whole stack, and with ``--write``
writes docs/operators.md: ``python test/frontends/test_onnx_backend.py --write``. With ``--only Softmax`` it runs the
tests of that operator.
"""

from __future__ import annotations

import argparse
import functools
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from kpu_ir.frontends.onnx.control import CONTROL
from kpu_ir.frontends.onnx.functions import NOT_WRITTEN
from kpu_ir.frontends.onnx.node import OPERATORS
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.support.errors import KpuError

onnx = pytest.importorskip("onnx")
onnx_backend = pytest.importorskip("kpu_ir.integrations.onnx")

DOCUMENT = Path(__file__).parents[2] / "docs" / "operators.md"
COMMAND = "python test/frontends/test_onnx_backend.py --write"

Run = Callable[[ModuleOp, dict[str, Any]], Sequence[Any]]

RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
          "RandomUniformLike")  # fmt: skip
BY_VALUE = ("NonMaxSuppression", "NonZero", "Unique")
LEFT: Mapping[str, str] = {
    **dict.fromkeys(RANDOM, "random numbers: no two implementations draw the same"),
    **dict.fromkeys(BY_VALUE, "how large the result is depends on values; folded where those are known"),
    "ImageDecoder": "files of images, unpacked before a network runs",
    **dict.fromkeys(
        ("SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert",
         "SequenceLength", "SequenceMap", "SplitToSequence", "ConcatFromSequence", "Optional"),
        "sequences and optional values: lists whose length is known only at run time",
    ),
    **dict.fromkeys(
        ("RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit"),
        "strings, which no machine of numbers holds",
    ),
}  # fmt: skip
"""The operators of ONNX's default domain that are left, and why."""

REASONS: Mapping[str, tuple[str, str]] = {
    "ONNX's result is its own rounding: 1.9e-07 where ours is 3e-15": (
        r"dft_inverse(_opset19)?", "Not equal to tolerance",
    ),
}  # fmt: skip
"""Why tests may fail: patterns of the test's name (after ``test_``) and of what is said about it."""

ENOUGH = 0.97
"""The part of the applicable tests that must pass."""


@dataclass(frozen=True)
class Outcome:
    """One test: its operator, and what went wrong, if anything."""

    test: str
    operator: str
    problem: str | None

    @property
    def reason(self) -> str | None:
        """The known reason for which it failed; None for any other."""
        for reason, (test, words) in REASONS.items():
            if re.fullmatch(f"test_{test}", self.test) and re.search(words, self.problem or ""):
                return reason
        return None


def excluded(case: Any) -> str | None:
    """Why a test of the default domain is not applicable; None if it is."""
    from onnx import TensorProto

    (node,) = case.model.graph.node
    dropout = case.name.startswith("test_training_dropout") and "zero_ratio" not in case.name
    if node.op_type in RANDOM or dropout:
        return "random numbers"
    if node.op_type in BY_VALUE:
        return "the result's shape depends on values"
    if node.op_type == "ImageDecoder":
        return "files of images"
    for info in (*case.model.graph.input, *case.model.graph.output):
        if not info.type.HasField("tensor_type"):
            return "sequences and optional values"
        if info.type.tensor_type.elem_type == TensorProto.STRING:
            return "strings"
    return None


@functools.cache
def cases() -> tuple[dict[str, tuple[str, Any]], dict[str, int]]:
    """The single-node tests of ONNX's default domain that are applicable, test name to (operator,
    test case), and how many are not, by reason."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = load_model_tests(kind="node")
    result: dict[str, tuple[str, Any]] = {}
    left: Counter[str] = Counter()
    for case in found:
        assert case.model is not None
        nodes = case.model.graph.node
        if len(nodes) != 1 or nodes[0].domain:
            continue
        why = excluded(case)
        if why is None:
            result[case.name] = (nodes[0].op_type, case)
        else:
            left[why] += 1
    return result, dict(left)


def applicable() -> dict[str, tuple[str, Any]]:
    """The tests that are run: test name to (operator, test case)."""
    return cases()[0]


def run_case(case: Any, run: Run) -> None:
    """One test with all its data sets; raises on a difference."""
    assert case.model is not None
    names = [output.name for output in case.model.graph.output]

    def build(module: ModuleOp) -> Callable[[dict[str, Any]], dict[str, Any]]:
        return lambda inputs: dict(zip(names, run(module, inputs), strict=True))

    prepared = onnx_backend.KpuRep(case.model, build)
    for inputs, outputs in case.data_sets:
        for got, expected in zip(prepared.run(inputs), outputs, strict=True):
            expected = onnx_backend.as_array(expected)
            assert got.dtype == expected.dtype, f"expected {expected.dtype}, got {got.dtype}"
            assert got.shape == expected.shape, f"expected {expected.shape}, got {got.shape}"
            rtol, atol = max(case.rtol, _rounding(expected)), max(case.atol, 1e-7, _noise(expected))
            if expected.dtype.kind not in "fiub":  # bf16: NumPy's test functions do not know it
                got, expected = got.astype(np.float32), expected.astype(np.float32)
            np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)


def _rounding(array: Any) -> float:
    """Two units in the last place of a short float."""
    return {"float16": 2e-3, "bfloat16": 1.6e-2}.get(array.dtype.name, 0.0)


def _noise(array: Any) -> float:
    """Two units in the last place of the largest element, where terms cancel: what the expected zeros
    of a transform are (1.9e-7 beside 1 on one machine, 3e-15 on another)."""
    if array.dtype != np.float32 or not array.size:
        return 0.0
    largest = float(np.max(np.abs(array), initial=0.0, where=np.isfinite(array)))
    return 2 * float(np.finfo(np.float32).eps) * largest


def chosen(only: str = "", every: int = 1) -> list[str]:
    """The names of all applicable tests, or of those of one operator; of each operator the first one and
    each ``every``-th after it."""
    names: list[str] = []
    seen = Counter[str]()
    for name, (operator, _) in sorted(applicable().items()):
        if only in ("", operator):
            if seen[operator] % every == 0:
                names.append(name)
            seen[operator] += 1
    return names


def run_backend_tests(run: Run, names: Sequence[str]) -> list[Outcome]:
    """These tests through ``run``."""
    outcomes: list[Outcome] = []
    for name in names:
        operator, case = applicable()[name]
        try:
            run_case(case, run)
            problem = None
        except (KpuError, AssertionError) as error:
            problem = " ".join(str(error).split())[:200]
        outcomes.append(Outcome(name, operator, problem))
    return outcomes


def counts(outcomes: Sequence[Outcome]) -> dict[str, tuple[int, int]]:
    """Passed and applicable by operator."""
    total = Counter(o.operator for o in outcomes)
    passed = Counter(o.operator for o in outcomes if o.problem is None)
    return {operator: (passed[operator], total[operator]) for operator in sorted(total)}


def table(outcomes: Sequence[Outcome]) -> str:
    """Passed and applicable by operator, and the tests that failed with what was said."""
    lines = [f"{'operator':24}{'passed':>8}{'applicable':>12}"]
    lines += [f"{name:24}{p:8}{n:12}" for name, (p, n) in counts(outcomes).items()]
    passed = sum(o.problem is None for o in outcomes)
    lines.append(f"{'all':24}{passed:8}{len(outcomes):12}")
    lines += [f"FAILED {o.test}: {o.problem}" for o in outcomes if o.problem]
    return "\n".join(lines)


def operators(domain: str = "") -> list[str]:
    """The operators of a domain that ONNX defines and has not withdrawn."""
    schemas = onnx.defs.get_all_schemas()
    return sorted({s.name for s in schemas if s.domain == domain and not s.deprecated})


def imported() -> set[str]:
    """The operators of the default domain that are: by a function of ours, as what stands in their
    graphs, or as the function that ONNX defines them by."""
    schemas = [s for s in onnx.defs.get_all_schemas() if not s.domain and not s.deprecated]
    functions = {s.name for s in schemas if s.has_function or s.has_context_dependent_function}
    ours = {name for domain, name in OPERATORS if not domain}
    return ours | set(CONTROL) | (functions - set(NOT_WRITTEN))


def document(outcomes: Sequence[Outcome]) -> str:
    """docs/operators.md."""
    passed, failed = counts(outcomes), [o for o in outcomes if o.problem]
    ours, left = imported(), cases()[1]
    elsewhere = sorted(f"{domain}.{name}" for domain, name in OPERATORS if domain)
    untested = sorted(ours - passed.keys())
    rows: list[str] = []
    for name, (p, n) in passed.items():
        mine = Counter(o.reason or o.problem for o in failed if o.operator == name)
        why = "; ".join(f"{reason} ({times})" for reason, times in mine.items())
        rows.append(f"| {name} | {p} / {n} | {why} |")
    wanting = [name for name in operators() if name not in ours]
    why = {reason: [n for n in wanting if LEFT.get(n) == reason] for reason in LEFT.values()}
    total = len(outcomes) - len(failed)
    lines = [
        "# Operators",
        "",
        f"Written by `{COMMAND}`, with ONNX {onnx.__version__}.",
        "",
        "ONNX brings tests of its operators. All those of one node of the default domain are applicable, but "
        f"{sum(left.values())}: "
        + ", ".join(f"{reason} ({n})" for reason, n in sorted(left.items()))
        + ".",
        "Each is imported, lowered to `dma` for the default machine with simple schedules (`search=none`), run there,",
        "and compared with ONNX's own results. Inputs that shapes depend on are taken as constants.",
        "",
        f"**{total} of {len(outcomes)} pass**, {100 * total / len(outcomes):.1f} %.",
        "",
        "| operator | passed / applicable | failed because of |",
        "|---|---|---|",
        *rows,
        "",
        "## Failed",
        "",
        "| test | reason | what is said |",
        "|---|---|---|",
        *(f"| {o.test} | {o.reason or 'unknown'} | {o.problem} |" for o in failed),
    ]
    if untested:
        lines += ["", "Imported, without an applicable test: " + ", ".join(untested) + "."]
    lines += [
        "",
        "`If` and `Loop` need what chooses to be known when the model is compiled (`kpu-run --input name=value` gives",
        "an input a value), or, for `If`, branches of one shape: both run then. Steps of `Loop` and `Scan` are unrolled.",
        "",
        "## Of other domains",
        "",
        ", ".join(elsewhere) + ".",
        "",
        "## Not imported",
        "",
        f"The other {len(wanting)} operators of ONNX's default domain. Where nothing reads what one makes, or all that it",
        "reads is known when the model is compiled, it does not matter.",
        "",
        "| operators | why |",
        "|---|---|",
        *(f"| {', '.join(names)} | {reason} |" for reason, names in why.items()),
        "",
    ]
    return "\n".join(lines)


def on_reference(module: ModuleOp, inputs: dict[str, Any]) -> Sequence[Any]:
    """The kernel level's own meaning."""
    module.verify()
    return evaluate(module, inputs)


def on_the_whole_stack(module: ModuleOp, inputs: dict[str, Any]) -> Sequence[Any]:
    """Lower to ``dma`` and run there, with default schedules."""
    from kpu_ir.pipeline import compile

    return list(compile(module, "default", search="none")(inputs).values())


def check(outcomes: Sequence[Outcome], least: int = 1250) -> None:
    """Nearly all pass, and each that fails has a known reason; there are more than ``least``."""
    print(table(outcomes))
    failed = [o for o in outcomes if o.problem]
    assert len(outcomes) > least
    surprises = [f"{o.test}: {o.problem}" for o in failed if o.reason is None]
    assert not surprises, "\n".join(surprises)
    assert len(outcomes) - len(failed) >= ENOUGH * len(outcomes)


def test_what_is_left_has_a_reason():
    assert {name for name in operators() if name not in imported()} == set(LEFT)


def test_backend_node_tests_through_the_reference():
    """All of them in ``make nightly``, a quarter of each operator's in ``make test``."""
    from draws import MANY

    names = chosen(every=1 if MANY else 4)
    check(run_backend_tests(on_reference, names), 1250 if MANY else 350)


EVERY = 24
"""Of each operator one test in so many goes through the whole stack in ``make test``."""
PARTS = 4
"""Shares of the tests through the whole stack, so that several processes have them."""


@pytest.mark.parametrize("part", range(PARTS))
def test_backend_node_tests_through_the_whole_stack(part: int):
    """All of them in ``make nightly``, some of each operator in ``make test``."""
    from draws import MANY  # pytest knows where it is; a script that is run by itself does not

    names = chosen(every=1 if MANY else EVERY)
    outcomes = run_backend_tests(on_the_whole_stack, names[part::PARTS])
    check(outcomes, (1250 if MANY else 160) // PARTS)


def test_some_of_each_operator_are_chosen():
    operators = {operator for operator, _ in applicable().values()}
    assert {applicable()[name][0] for name in chosen(every=EVERY)} == operators


def main() -> None:
    """Print what passes; with ``--write``, write docs/operators.md."""
    parser = argparse.ArgumentParser(description="ONNX's node tests through the whole stack.")
    parser.add_argument("--write", action="store_true", help=f"write {DOCUMENT.name}")
    parser.add_argument("--only", default="", metavar="OPERATOR", help="the tests of one operator")
    args = parser.parse_args()
    if args.only and args.only not in {operator for operator, _ in applicable().values()}:
        parser.error(f"there is no applicable test of '{args.only}': is it imported?")
    if args.only and args.write:
        parser.error("--only does not go with --write")
    outcomes = run_backend_tests(on_the_whole_stack, chosen(args.only))
    if args.only:
        print(*(f"{'FAILED' if o.problem else 'passed'} {o.test}" for o in outcomes), sep="\n")
    print(table(outcomes))
    if args.write:
        DOCUMENT.write_text(document(outcomes))


if __name__ == "__main__":
    main()
