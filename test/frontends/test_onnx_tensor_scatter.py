"""``TensorScatter``: updates of a cache, and places of updates that no cache has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator
from onnx_models import model, node, normal

import kpu_ir
from kpu_ir.frontends.onnx import import_onnx
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.support.errors import KpuError

GIVEN = {"p": normal(2, 3, 8, 4), "u": normal(2, 3, 3, 4, seed=1)}


def cache(places: Any, known: bool, mode: str) -> tuple[Any, dict[str, Any]]:
    """A model that writes three rows of eight at ``places``, and what it is given."""
    one = node("TensorScatter", "p u w", "y", "here", mode=mode)
    where = {"w": np.asarray(places)}
    given = GIVEN if known else {**GIVEN, **where}
    return model([one], given, where if known else {}, opset=24), given


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    ("mode", "places"), [("linear", [0, 5]), ("circular", [6, 1]), ("circular", [-1, 9])]
)
def test_rows_go_where_the_indices_say(mode: str, places: Any, known: bool):
    proto, given = cache(places, known, mode)
    (got,) = evaluate(import_onnx(proto), given)
    proto.ir_version = 11
    np.testing.assert_array_equal(got, ReferenceEvaluator(proto).run(None, given)[0])


@pytest.mark.parametrize("places", [[0, 6], [-1, 0]])
def test_places_outside_of_the_cache(places: list[int]):
    """Those that are known are refused at import; others when the program runs."""
    proto, _ = cache(places, True, "linear")
    at = int(np.flatnonzero(places)[0])
    with pytest.raises(KpuError, match=rf"write_indices\[{at}\] is {places[at]}: .*from 0 to 5"):
        import_onnx(proto)
    proto, given = cache(places, False, "linear")
    program = kpu_ir.compile(import_onnx(proto), search="none")
    for run in (lambda: evaluate(import_onnx(proto), given), lambda: program(given)):
        with pytest.raises(KpuError, match="18 into 18 rows"):
            run()


@pytest.mark.parametrize(
    ("places", "mode", "words"),
    [
        ([0], "linear", r"shape \(1,\) and int64: expected integers of shape \(2,\)"),
        ([[0], [1]], "linear", r"shape \(2, 1\)"),
        ([0.0, 1.0], "linear", "float64: expected integers"),
        ([0, 1], "round", "the mode 'round' is neither linear nor circular"),
    ],
)
def test_indices_that_are_none(places: Any, mode: str, words: str):
    for known in (False, True):
        with pytest.raises(KpuError, match=words) as caught:
            import_onnx(cache(places, known, mode)[0])
        assert caught.value.where == "node 'here' (TensorScatter)"
