"""Rows that do not fit on chip are streamed: right values, in few readings, on any machine."""

from dataclasses import replace

import numpy as np
import pytest

from kpu_ir import Graph, Machine, compile
from kpu_ir.lowering.kernel_to_tile import recognise
from kpu_ir.lowering.schedule import ATTRIBUTE
from kpu_ir.pipeline import kernel_stages
from kpu_ir.scalar import formulas
from kpu_ir.support.errors import KpuError

SMALL = Machine.preset("minimal").with_settings({"l2.bank_bytes": 4096, "l3.tile_bytes": 4096})
"""16 KiB of L2, 8 KiB of L3."""


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def norm(x, axes):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)


def log_sum_exp(g, x):
    m = g.reduce("max", x, [1])
    total = g.reduce("add", g.map(lambda a, b: formulas.exp(a - b), x, m), [1])
    return g.map(lambda s, b: formulas.log(s) + b, total, m)


CASES = {
    "softmax": ((3, 8209), lambda g, x: g.softmax(x, 1), softmax),
    "softmax of columns": ((8209, 3), lambda g, x: g.softmax(x, 0), lambda x: softmax(x, 0)),
    "softmax between": ((2, 5003, 5), lambda g, x: g.softmax(x, 1), lambda x: softmax(x, 1)),
    "log": ((3, 8209), lambda g, x: g.softmax(x, 1, True), lambda x: np.log(softmax(x))),
    "scaled": (
        (3, 8209),
        lambda g, x: g.softmax(x * 0.5 + g.constant(np.arange(8209, dtype=np.float32) / 9e3), 1),
        lambda x: softmax(x * 0.5 + np.arange(8209) / 9e3),
    ),
    "layer": ((9, 8209), lambda g, x: g.normalize(x, [1], 1e-5), lambda x: norm(x, 1)),
    "layer of images": (
        (1, 7, 40, 41),
        lambda g, x: g.normalize(x, [1, 2, 3], 1e-5, g.constant(np.full((7, 1, 1), 2, np.float32))),
        lambda x: norm(x, (1, 2, 3)) * 2,
    ),
    "rms": (
        (3, 8209),
        lambda g, x: g.normalize(x, [1], 0.0, center=False),
        lambda x: x / np.sqrt((x * x).mean(1, keepdims=True)),
    ),
    "sums of powers": (
        (3, 8209),
        log_sum_exp,
        lambda x: np.log(np.exp(x).sum(1, keepdims=True)),
    ),
    "largest": (
        (3, 8209),
        lambda g, x: g.arg_reduce("max", x, 1),
        lambda x: x.argmax(1)[:, None],
    ),
    "smallest of columns": (
        (8209, 3),
        lambda g, x: g.arg_reduce("min", x, 0),
        lambda x: x.argmin(0)[None],
    ),
    "cumulative sum": ((2, 40_009), lambda g, x: g.scan("add", x), lambda x: x.cumsum(-1)),
    "cumulative sum from behind, without itself": (
        (40_009, 2),
        lambda g, x: g.scan("add", x, 0, True, True),
        lambda x: x[::-1].cumsum(0)[::-1] - x,
    ),
    "three largest": (
        (2, 8209),
        lambda g, x: g.top_k(x, 3)[0],
        lambda x: -np.sort(-x, -1)[:, :3],
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("search", ["none", "quick"])
def test_long_rows(name, search):
    shape, build, expected = CASES[name]
    g = Graph()
    g.output("y", build(g, g.input("x", shape)))
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32) + 3
    program = compile(g, SMALL, search=search)
    wanted = expected(x.astype(np.float64))
    error = np.abs(program(x=x)["y"] - wanted).max() / np.abs(wanted).max()
    assert error < 1e-6


def run(graph: Graph, x, **schedule):
    """The result of a graph of one kernel with a schedule."""
    module = graph.module()
    for one in kernel_stages("epilogue"):
        one.apply(None, module)  # pyright: ignore
    (func,) = (f for f in module.ops if f.sym_name.data != "main")  # pyright: ignore
    strategy = recognise(func)  # pyright: ignore
    machine = Machine.preset("default")
    func.attributes[ATTRIBUTE] = replace(strategy.default(machine), **schedule).to_attr()
    return compile(module, machine)(x=x)["y"]


@pytest.mark.parametrize("passes", ["", "online"])
def test_rows_without_a_softmax_give_nan_and_single_infinities_do_not(passes):
    x = np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)
    x[0] = -np.inf
    x[1, :40], x[2, 50], x[3, 9] = -np.inf, np.inf, np.nan
    g = Graph()
    g.output("y", g.input("x", x.shape).softmax(1))
    y = run(g, x, tile=(2, 13), passes=passes)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(y, softmax(x), rtol=1e-5)


@pytest.mark.parametrize("passes", ["", "online"])
def test_a_norm_far_from_zero_keeps_its_digits(passes):
    """Also where the first piece is nothing like the rest, which is the worst case of one pass."""
    rng = np.random.default_rng(0)
    x = (1000 + rng.standard_normal((3, 4096))).astype(np.float32)
    x[1, :128] = -1000
    x[2] = np.linspace(0, 1e4, 4096)
    g = Graph()
    g.output("y", g.normalize(g.input("x", x.shape), [1], 1e-5))
    wanted = norm(x.astype(np.float64), 1)
    y = run(g, x, tile=(3, 128), passes=passes)
    # The mean itself is rounded to 2^-24 of 1000, a deviation of 1 apart.
    assert np.abs(y - wanted).max() < 2e-4
    assert np.abs(y[1:] - wanted[1:]).max() < 2e-5 * np.abs(wanted[1:]).max()


def test_statistics_in_one_pass_read_less():
    g = Graph()
    g.output("y", g.input("x", (2, 40_000)).softmax(1))
    read = compile(g, "default").timing.counts["external.read"]
    assert read == 2 * 2 * 40_000 * 4


def test_what_does_not_fit_says_so():
    g = Graph()
    g.output("y", g.input("x", (2, 40_000)).softmax(1))
    tiny = Machine.preset("minimal").with_settings({"l2.bank_bytes": 64, "l3.tile_bytes": 64})
    with pytest.raises(KpuError, match=r"need \d+ bytes of l[23], the machine has \d+"):
        compile(g, tiny)


def test_many_of_a_row_that_does_not_fit_are_refused():
    g = Graph()
    g.output("y", g.top_k(g.input("x", (2, 100_003)), 5000)[0])
    with pytest.raises(KpuError, match=r"5000 first of 100003 elements need \d+ bytes on chip"):
        compile(g, "default", search="none")


def test_online_is_for_statistics_of_streamed_rows():
    x = np.zeros((4, 64), np.float32)
    g = Graph()
    g.output("y", g.reduce("add", g.input("x", x.shape), [1]))
    with pytest.raises(KpuError, match="passes = 'online' says nothing here"):
        run(g, x, tile=(4, 16), passes="online")
    g = Graph()
    g.output("y", g.input("x", x.shape).softmax(1))
    with pytest.raises(KpuError, match="passes = 'online' says nothing here"):
        run(g, x, tile=(4, 64), passes="online")
