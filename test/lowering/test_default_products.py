"""Products of short types without a search: about as good as what a search finds, and with room for what the
epilogue reads."""

from pathlib import Path

import numpy as np
import pytest
from draws import drawing
from hypothesis import given
from hypothesis import strategies as st

import kpu_ir
from kpu_ir import Graph, Machine
from kpu_ir.bench.typed_workloads import product
from kpu_ir.bench.workloads import Shape, kernels, outlined
from kpu_ir.lowering.kernel_to_tile import recognise
from kpu_ir.tuning.cache import Cache
from kpu_ir.tuning.score import time_schedule
from kpu_ir.tuning.search import Search

MACHINE = Machine.preset("default")


@pytest.mark.parametrize(
    ("shape", "kinds", "most"),
    [
        ("128x768x768", ("i8", "i8"), 1.1),
        ("1x1000x512", ("i8", "i4"), 1.1),
        ("144x3136x24", ("i8", "i8"), 1.2),
        ("384x384x64", ("f16", "f16"), 1.1),
        ("127x513x1025", ("i8", "i8"), 1.2),
    ],
)
def test_a_default_is_near_what_a_search_finds(shape, kinds, most):
    """Tiles of four folds and even pieces of k, as f32 has them, take 1.6 to 3.7 times as long."""
    ((func, strategy),) = [
        (f, recognise(f)) for f in kernels(outlined(product(Shape.parse(shape), *kinds))).values()
    ]
    cycles = time_schedule(func, strategy, strategy.default(MACHINE), MACHINE).cycles
    found = Search(MACHINE, "cycles", "ranked", Cache(Path())).search(func, strategy)
    assert cycles <= most * time_schedule(func, strategy, found, MACHINE).cycles


@drawing(5)
@given(st.data())
def test_what_the_epilogue_reads_has_room(data):
    """Residuals in f32, rows and columns beside products of bytes, on memories of several sizes."""
    draw = data.draw
    m, n, k = (draw(st.integers(1, 400)) for _ in range(3))
    machine = MACHINE.with_settings({
        "l2.bank_bytes": draw(st.sampled_from([8192, 16384, 65536])),
        "l3.tile_bytes": draw(st.sampled_from([16384, 131072])),
    })  # fmt: skip
    g, rng = Graph(), np.random.default_rng(0)
    a, b = (rng.integers(-128, 128, shape).astype(np.int8) for shape in ((m, k), (k, n)))
    y = g.matmul(g.input("a", (m, k), "i8"), g.input("b", (k, n), "i8"), dtype=np.int32)
    beside, expected = {}, a.astype(np.int64) @ b
    for i, shape in enumerate(
        draw(st.lists(st.sampled_from([(m, n), (1, n), (m, 1)]), max_size=3))
    ):
        beside[f"e{i}"] = rng.integers(-9, 9, shape).astype(np.int32)
        y, expected = y + g.input(f"e{i}", shape, "i32"), expected + beside[f"e{i}"]
    g.output("y", y)
    program = kpu_ir.compile(g, machine, search="none")
    np.testing.assert_array_equal(program(a=a, b=b, **beside)["y"], expected)


@drawing(5)
@given(st.data())
def test_floats_have_a_default_that_fits_a_small_memory(data):
    """4 KiB of L3: rings of even tiles do not fit it, or those of what the epilogue reads."""
    draw, machine = data.draw, Machine.preset("eyeriss")
    m, n, k = (draw(st.integers(1, 400)) for _ in range(3))
    g = Graph()
    y = g.input("a", (m, k)) @ g.input("b", (k, n))
    for i, shape in enumerate(
        draw(st.lists(st.sampled_from([(m, n), (1, n), (m, 1)]), max_size=1))
    ):
        y = y + g.input(f"e{i}", shape)
    g.output("y", y)
    kpu_ir.compile(g, machine, search="none")
