"""``search=ranked``: few candidates are timed, in a learned order."""

import numpy as np
import pytest

from kpu_ir.bench.workloads import Shape, conv, kernels, matmul, outlined
from kpu_ir.lowering.kernel_to_tile import recognise
from kpu_ir.machine import Machine
from kpu_ir.tuning.cache import Cache
from kpu_ir.tuning.ranking import FEATURES, Trees, features, ranked, shipped
from kpu_ir.tuning.score import time_schedule
from kpu_ir.tuning.search import BUDGET, Search

DEFAULT = Machine.preset("default")
MODULES = {
    "product": lambda: matmul(Shape(96, 144, 200)),
    "convolution": lambda: conv(16, 32, 14, 3, 1),
}


def kernel(name: str):
    (func,) = kernels(outlined(MODULES[name]())).values()
    return func, recognise(func)


@pytest.mark.parametrize("name", MODULES)
def test_it_times_at_most_eight_and_loses_little(name: str) -> None:
    func, strategy = kernel(name)
    cycles = {}
    for effort in ("ranked", "quick"):
        search = Search(DEFAULT, effort=effort, cache=Cache())
        chosen = search.search(func, strategy)
        cycles[effort] = time_schedule(func, strategy, chosen, DEFAULT).cycles
        if effort == "ranked":
            assert len(strategy.candidates(DEFAULT)) > 8
            assert search.tried <= BUDGET["ranked"] == 8
    assert cycles["ranked"] <= 1.1 * cycles["quick"]


def test_a_choice_depends_on_the_trees() -> None:
    func, _ = kernel("product")
    ranked_key, quick_key = (
        Search(DEFAULT, effort=e, cache=Cache()).key(func) for e in ("ranked", "quick")
    )
    assert shipped().digest in ranked_key
    assert shipped().digest not in quick_key


def test_trees_are_read_node_by_node(tmp_path) -> None:
    # Two trees: one asks for feature 3, the other is a leaf.
    trees = Trees(
        roots=np.array([0, 3]), feature=np.array([3, 0, 0, 0]),
        threshold=np.array([1.5, np.inf, np.inf, np.inf], np.float32),
        left=np.array([1, 1, 2, 3]), right=np.array([2, 1, 2, 3]),
        value=np.array([0, -1, 2, 0.5], np.float32), base=10.0, depth=2,
    )  # fmt: skip
    rows = np.zeros((3, len(FEATURES)), np.float32)
    rows[:, 3] = 1, 1.5, 2
    assert trees.predict(rows).tolist() == [9.5, 9.5, 12.5]
    trees.save(tmp_path / "trees.npz", version=1)
    again = Trees.load(tmp_path / "trees.npz")
    assert again.predict(rows).tolist() == [9.5, 9.5, 12.5]
    assert len(again.digest) == 16


def test_the_order_is_of_the_candidates_that_promise_most() -> None:
    _, strategy = kernel("product")
    space = strategy.candidates(DEFAULT)
    order = ranked(space, strategy.kind, DEFAULT)
    assert len(set(order.tolist())) == len(order) == min(512, len(space))
    seen = features(space.at(order), strategy.kind, DEFAULT)
    assert seen.shape == (len(order), len(FEATURES))
    assert np.isfinite(seen).all()
