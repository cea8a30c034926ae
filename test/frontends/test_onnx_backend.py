"""ONNX's own node tests of the operators that the front end knows, through any way to run a module.

``run_backend_tests(run)`` is what to point at a whole stack: ``run(module, inputs)`` returns the
outputs. Run as a script, this file prints the table: ``python
test/frontends/test_onnx_backend.py``.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import ModuleOp

from kpu_ir.dialects.kernel_reference import evaluate
from kpu_ir.errors import KpuError
from kpu_ir.frontends.onnx import import_onnx
from kpu_ir.frontends.onnx.node import OPERATORS

onnx = pytest.importorskip("onnx")

Run = Callable[[ModuleOp, dict[str, Any]], Sequence[Any]]

KNOWN_INPUTS: Mapping[str, Sequence[int]] = {
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze", "CumSum", "Expand", "Tile", "Split"), [1]),
    **dict.fromkeys((f"Reduce{name}" for name in (
        "Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"
    )), [1]),
    "Slice": [1, 2, 3, 4],
    "Pad": [1, 2, 3],
}
"""Inputs that shapes depend on: tests pass them at run time, we take them as constants."""

NOT_OURS: Mapping[str, str] = {
    "sequence": "sequences",
    "_opt": "optional values",
    "training": "training",
    "FLOAT4": "f4", "FLOAT6": "f6", "FLOAT8": "f8", "E8M0": "f8", "E5M2": "f8", "E4M3": "f8",
    "STRING": "strings",
    "INT4": "4-bit integers", "INT2": "2-bit integers",
    "_string": "strings",
}  # fmt: skip
"""Parts of test names that say that a test is about types that are not tensors of our numbers."""


@dataclass(frozen=True)
class Outcome:
    """One test: its operator, and what went wrong, if anything."""

    test: str
    operator: str
    problem: str | None


@functools.cache
def applicable() -> dict[str, tuple[str, Any]]:
    """The single-node tests of operators that we have: test name to (operator, test case)."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = load_model_tests(kind="node")
    result: dict[str, tuple[str, Any]] = {}
    for case in cases:
        nodes = case.model.graph.node
        if len(nodes) != 1 or (nodes[0].domain, nodes[0].op_type) not in OPERATORS:
            continue
        if not any(part in case.name for part in NOT_OURS):
            result[case.name] = (nodes[0].op_type, case)
    return result


def run_case(case: Any, operator: str, run: Run) -> None:
    """One test with all its data sets; raises on a difference."""
    names = [i.name for i in case.model.graph.input]
    fixed = KNOWN_INPUTS.get(operator, ())
    read = [n for n in case.model.graph.node[0].input]
    for inputs, outputs in case.data_sets:
        given = dict(zip(names, map(as_array, inputs), strict=True))
        constants = {n: given.pop(n) for i in fixed for n in read[i : i + 1]}
        results = run(import_onnx(case.model, constants=constants), given)
        for got, expected in zip(results, outputs, strict=True):
            expected = as_array(expected)
            assert got.dtype == expected.dtype, f"expected {expected.dtype}, got {got.dtype}"
            assert got.shape == expected.shape, f"expected {expected.shape}, got {got.shape}"
            rtol, atol = max(case.rtol, _rounding(expected)), max(case.atol, 1e-7)
            if expected.dtype.kind not in "fiub":  # bf16: NumPy's test functions do not know it
                got, expected = got.astype(np.float32), expected.astype(np.float32)
            np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)


def as_array(value: Any) -> Any:
    """An input or output of a test; those of types that NumPy lacks are ``TensorProto``."""
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    return np.asarray(value)


def _rounding(array: Any) -> float:
    """Two units in the last place of a short float."""
    return {"float16": 2e-3, "bfloat16": 1.6e-2}.get(array.dtype.name, 0.0)


def run_backend_tests(run: Run) -> list[Outcome]:
    """All applicable tests through ``run``."""
    outcomes: list[Outcome] = []
    for name, (operator, case) in sorted(applicable().items()):
        try:
            run_case(case, operator, run)
            problem = None
        except (KpuError, AssertionError) as error:
            problem = " ".join(str(error).split())[:200]
        outcomes.append(Outcome(name, operator, problem))
    return outcomes


def table(outcomes: Sequence[Outcome]) -> str:
    """Passed and applicable by operator, and the tests that failed with their reasons."""
    lines = [f"{'operator':24}{'passed':>8}{'applicable':>12}"]
    for operator in sorted({o.operator for o in outcomes}):
        mine = [o for o in outcomes if o.operator == operator]
        lines.append(f"{operator:24}{sum(o.problem is None for o in mine):8}{len(mine):12}")
    passed = sum(o.problem is None for o in outcomes)
    lines.append(f"{'all':24}{passed:8}{len(outcomes):12}")
    lines += [f"FAILED {o.test}: {o.problem}" for o in outcomes if o.problem]
    return "\n".join(lines)


def on_reference(module: ModuleOp, inputs: dict[str, Any]) -> Sequence[Any]:
    """The kernel altitude's own meaning."""
    module.verify()
    return evaluate(module, inputs)


def test_backend_node_tests_through_the_reference():
    outcomes = run_backend_tests(on_reference)
    print(table(outcomes))
    failed = [f"{o.test}: {o.problem}" for o in outcomes if o.problem]
    assert not failed
    assert len(outcomes) > 250


if __name__ == "__main__":
    print(table(run_backend_tests(on_reference)))


def on_the_whole_stack(module: ModuleOp, inputs: dict[str, Any]) -> Sequence[Any]:
    """Lower to ``dma`` and run there, with default schedules."""
    from kpu_ir.driver import compile

    return list(compile(module, "default", search="none")(inputs).values())


def test_backend_node_tests_through_the_whole_stack():
    outcomes = run_backend_tests(on_the_whole_stack)
    failed = [o for o in outcomes if o.problem]
    print(table(outcomes))
    assert not failed, "\n".join(f"{o.test}: {o.problem}" for o in failed[:20])
