"""Programs that the report's tests look at."""

import numpy as np
import pytest

from kpu_ir.frontends.python.graph import Graph
from kpu_ir.pipeline import compile


def network(n: int = 96) -> Graph:
    """Two products, an epilogue, an addition and a transposition: every engine has work."""
    rng = np.random.default_rng(0)
    g = Graph()
    h = (g.input("x", (n, 80)) @ g.constant(rng.standard_normal((80, 160), "f4"))).relu()
    y = h @ g.constant(rng.standard_normal((160, 40), "f4"))
    g.output("y", (y + g.input("r", (n, 40))).transpose(1, 0) * 2.0)
    return g


@pytest.fixture(scope="session")
def compiled():
    return compile(network(), search="none", fuse="epilogue")
