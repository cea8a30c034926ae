"""Small programs for tests of the runtime."""

from kpu_ir import Graph, Machine, compile


def product(n=64, k=64):
    g = Graph()
    x, w = g.input("x", (n, k)), g.input("w", (k, n))
    g.output("y", (x @ w).relu())
    return g


def elementwise(n=1024):
    g = Graph()
    a, b = g.input("a", (n,)), g.input("b", (n,))
    g.output("c", a * b + a)
    return g


def network(n=32):
    """Two kernels and weights."""
    import numpy as np

    g = Graph()
    values = np.random.default_rng(0).standard_normal((n, n)).astype(np.float32)
    h = (g.input("x", (n, n)) @ g.constant(values)).softmax(-1)
    g.output("y", h @ g.constant(values.T.copy()))
    return g


def wide(n=1024):
    """Two kernels with a tensor between them that L3 does not hold."""
    g = Graph()
    x = g.input("x", (n, 512))
    g.output("y", (x.softmax(-1) @ g.input("w", (512, 512))).mean(-1))
    return g


def compiled(graph, machine=None):
    return compile(graph, machine or Machine.preset("default"), search="none", cache=False)
