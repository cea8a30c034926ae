"""The two ways to the values of a program: operation by operation on slots, and, where that is
proven to be the same, on whole tensors."""

import math

import numpy as np
import pytest
from draws import drawing
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp

from kpu_ir import Graph, Machine
from kpu_ir.dialects.tile import Window
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.pipeline import lower
from kpu_ir.program.options import Options
from kpu_ir.registry import context
from kpu_ir.sim.program.plan import Matmul, steps
from kpu_ir.sim.program.program import Program, load_program
from kpu_ir.sim.time.model import time_program
from kpu_ir.sim.values.blocks import COMBINE, channels_of, weighted, windows
from kpu_ir.sim.values.proof import proven
from kpu_ir.sim.values.values import ValueModel
from kpu_ir.sim.values.wide import loops, widen
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import dtype_of
from kpu_ir.text.parsing import parse_module

from ..test_levels import MACHINES, draw_chain, draw_graph, draw_layer, lowered

DRAWS = drawing(
    25,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
DEFAULT = MACHINES["default"]


ROUNDING = 2.0**-24
"""The unit roundoff of f32."""

CONFIDENCE = 8
"""So many times what roundings that are independent of each other come to; a sum of 287 terms, doubled,
has 4.6 in the worst of four million elements."""


def relative_bound(program: Program) -> float:
    """How far an element may be from what is exact, or from another order of its sums.

    ``n`` operations behind an element each round by up to ``u``, one way or the other: they come to
    sqrt(n) u (N. J. Higham, T. Mary, A New Approach to Probabilistic Rounding Error Analysis, 2019).
    ``n``: the program's work for each element of its smallest output.
    """
    work = time_program(program).counts
    operations = sum(n for what, n in work.items() if what.startswith(("macs.", "lane_ops")))
    elements = min(math.prod(port.type.get_shape()) for port in program.outputs)
    return CONFIDENCE * math.sqrt(max(1, operations / elements)) * ROUNDING


def same(program: Program, exact: bool = False, source: ModuleOp | None = None) -> None:
    """Both ways give the same outputs, twice; and those of ``source`` in f64."""
    rng = np.random.default_rng(0)
    slots, plain = ValueModel(program, stepped=True), ValueModel(program)
    bound = 0 if exact else relative_bound(program)
    for _ in range(2):
        inputs = {}
        for port in program.inputs:
            shape = tuple(port.type.get_shape())
            given = rng.standard_normal(shape) if not exact else rng.integers(-9, 9, shape)
            inputs[port.name] = given.astype(dtype(port))
        expected, got = slots.run(inputs), plain.run(inputs)
        assert expected.keys() == got.keys()
        for name, a in expected.items():
            b = got[name]
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            finite = np.isfinite(a.astype(np.float64))
            np.testing.assert_array_equal(a[~finite], b[~finite])
            close(b[finite], a[finite], bound)
        if source is not None:
            for value, a, b in zip(
                evaluate(source, inputs, np.float64), expected.values(), got.values(), strict=True
            ):
                close(a, value, bound)
                close(b, value, bound)


def close(got: np.ndarray, expected: np.ndarray, bound: float) -> None:
    """Relative to the largest element, or to 1 where all are smaller."""
    scale = max(1.0, float(np.abs(expected.astype(np.float64)).max(initial=0)))
    np.testing.assert_allclose(got, expected, rtol=0, atol=bound * scale)


def dtype(port) -> np.dtype:
    """The NumPy type of a port."""
    return dtype_of(port.type.element_type)


@DRAWS
@given(st.data())
def test_plain_values_equal_slots(data):
    """On networks, layers and chains of every schedule and machine."""
    make = data.draw(st.sampled_from([draw_graph, draw_layer, draw_chain]))
    machine = MACHINES[data.draw(st.sampled_from(list(MACHINES)))]
    try:
        source, _, program = lowered(data.draw, make(data.draw), machine)
    except KpuError as e:
        if "need" not in e.message:
            raise
        return
    same(program, source=source)


def test_a_long_sum_is_rounded_and_nothing_else():
    """Sums of 287 terms, which the two ways add up in two orders, doubled: 2e-6 was no bound."""
    g = Graph()
    rng = np.random.default_rng(0)
    weights = (rng.standard_normal((287, 190)) / np.sqrt(287)).astype(np.float32)
    rest = rng.standard_normal((90, 190)).astype(np.float32)
    y = g.input("x", (90, 287)) @ g.constant(weights)
    g.output("y", (y * 2.0 + g.constant(rest)).tanh())
    same(compiled(g), source=g.module())


def compiled(graph: Graph, machine: Machine = DEFAULT) -> Program:
    """A program with default schedules."""
    return load_program(lower(graph.module(), machine, Options(search="none"))["dma"], machine)


@pytest.mark.parametrize("kind", ["f16", "bf16", "i8", "i32", "f64"])
def test_other_types(kind: str):
    """Integers are the same; floats are rounded where slots round them."""
    g = Graph()
    x = g.input("x", (70, 200), kind)
    w = g.constant(np.random.default_rng(1).integers(-3, 3, (200, 90)), kind)
    y = x @ w
    g.output("y", y)
    g.output("z", y if kind == "i8" else y.sum(0))
    same(compiled(g), exact=True)


def test_a_product_is_one_step():
    """Edges that are clipped, a sum over tiles, an operand that is kept: one product, no loop."""
    g = Graph()
    x = g.input("x", (200, 700))
    g.output("y", (x @ g.constant(np.ones((700, 330), np.float32))).relu())
    program = compiled(g)
    (plan,) = program.plans
    tiles = [s for s in steps(plan.body) if isinstance(s, Matmul)]
    assert proven(plan)
    assert loops(plan.body) > 1
    assert len(tiles) > 1
    body = widen(plan)
    (product,) = [s for s in steps(body) if isinstance(s, Matmul)]
    assert loops(body) == 0
    assert product.extents == (200, 330)
    assert not product.accumulate
    assert product.epilogue is not None
    same(program)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 64])
def test_a_convolution_is_one_step(stride: int, groups: int):
    """Rows that overlap or leave gaps, and padding on some sides only."""
    g = Graph()
    x = g.input("x", (1, 64, 37, 35))
    rng = np.random.default_rng(0)
    for kernel in (3, 1):
        weights = rng.standard_normal((64, 64 // groups, kernel, kernel)).astype(np.float32)
        x = g.conv(
            x,
            g.constant(weights / 8),
            groups=groups,
            strides=(stride, stride),
            dilations=(1, 1),
            low=(kernel // 2, 0),
            high=(0, kernel // 2),
        )
    g.output("y", x)
    program = compiled(g)
    assert [proven(p) for p in program.plans] == [True] * len(program.plans)
    assert all(loops(p.body) for p in program.plans)
    assert [loops(widen(p)) for p in program.plans] == [0] * len(program.plans)
    same(program)


def kernel(text: str) -> Program:
    """A program from IR."""
    return load_program(parse_module(text, "test.mlir", context()), DEFAULT)


TWO = """
func.func private @k(%0: memref<2x4xf32>, %1: memref<2x4xf32>) {{
  dma.program {{
    dma.ring @a, {depth} x <1x4xf32, l3> at 0
    %x = dma.fetch %0 [0, 0] into @a : memref<2x4xf32> -> !tile.tile<1x4xf32, l3>
    %y = dma.fetch %0 [1, 0] into @a : memref<2x4xf32> -> !tile.tile<1x4xf32, l3>
    dma.write %x, %1 [0, 0] : !tile.tile<1x4xf32, l3> -> memref<2x4xf32>
    dma.write %y, %1 [{row}, 0] : !tile.tile<1x4xf32, l3> -> memref<2x4xf32>
  }}
  func.return
}}
"""


def test_a_slot_that_was_given_back_is_refused():
    """A ring of one slot for two tiles that live together."""
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    program = kernel(TWO.format(depth=2, row=1))
    assert proven(program.plans[0])
    (got,) = ValueModel(program).run(named(program, x)).values()
    np.testing.assert_array_equal(got, x)
    program = kernel(TWO.format(depth=1, row=1))
    assert not proven(program.plans[0])
    for stepped in (False, True):
        with pytest.raises(KpuError, match="slot of @a was given back"):
            ValueModel(program, stepped).run(named(program, x))


def named(program: Program, x: np.ndarray) -> dict[str, np.ndarray]:
    """``x`` for every input."""
    return {p.name: x for p in program.inputs}


def test_elements_that_are_not_written_are_refused():
    """One row written twice, the other never."""
    program = kernel(TWO.format(depth=2, row=0))
    assert not proven(program.plans[0])
    for stepped in (False, True):
        with pytest.raises(KpuError, match="was not written completely"):
            ValueModel(program, stepped).run(named(program, np.zeros((2, 4), np.float32)))


def test_reading_what_a_kernel_left_unwritten_is_refused():
    """The second kernel is proven, but what it reads is not all there."""
    copy = TWO.format(depth=2, row=1).replace("@k", "@all")
    half = TWO.format(depth=2, row=0).replace("@k", "@half")
    main = """
func.func @main(%x: memref<2x4xf32>) -> memref<2x4xf32> {
  %t = tile.buffer : memref<2x4xf32>
  func.call @half(%x, %t) : (memref<2x4xf32>, memref<2x4xf32>) -> ()
  %y = tile.buffer : memref<2x4xf32>
  func.call @all(%t, %y) : (memref<2x4xf32>, memref<2x4xf32>) -> ()
  func.return %y : memref<2x4xf32>
}
"""
    program = kernel(main + half + copy)
    assert [proven(p) for p in program.plans] == [False, True]
    for stepped in (False, True):
        with pytest.raises(KpuError, match="nothing has written"):
            ValueModel(program, stepped).run(named(program, np.zeros((2, 4), np.float32)))


def test_a_sum_that_is_read_before_its_end_stays_a_loop():
    """What is moved out in each trip is the sum so far."""
    text = """
func.func private @k(%a: memref<4x8xf32>, %b: memref<8x4xf32>, %c: memref<8x4xf32>) {
  dma.program {
    dma.ring @a3, 1 x <4x4xf32, l3> at 0
    dma.ring @b3, 1 x <4x4xf32, l3> at 64
    dma.ring @a2, 1 x <4x4xf32, l2> at 0
    dma.ring @b2, 1 x <4x4xf32, l2> at 64
    dma.ring @s, 1 x <4x4xf32, l2> at 128
    dma.ring @o, 1 x <4x4xf32, l3> at 128
    %s = dma.acquire @s : !tile.tile<4x4xf32, l2>
    tile.for %k = 0 to 8 step 4 {
      %a3 = dma.fetch %a [0, %k] into @a3 : memref<4x8xf32> -> !tile.tile<4x4xf32, l3>
      %a2 = dma.move %a3 [0, 0] into @a2 : !tile.tile<4x4xf32, l3> -> !tile.tile<4x4xf32, l2>
      %b3 = dma.fetch %b [%k, 0] into @b3 : memref<8x4xf32> -> !tile.tile<4x4xf32, l3>
      %b2 = dma.move %b3 [0, 0] into @b2 : !tile.tile<4x4xf32, l3> -> !tile.tile<4x4xf32, l2>
      dma.matmul output_stationary %a2, %b2 into %s over(%k) : !tile.tile<4x4xf32, l2>, \
  !tile.tile<4x4xf32, l2> -> !tile.tile<4x4xf32, l2>
      %o = dma.move %s [0, 0] into @o : !tile.tile<4x4xf32, l2> -> !tile.tile<4x4xf32, l3>
      dma.write %o, %c [%k, 0] : !tile.tile<4x4xf32, l3> -> memref<8x4xf32>
    }
  }
  func.return
}
"""
    program = kernel(text)
    assert proven(program.plans[0])
    assert loops(widen(program.plans[0])) > 0
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((4, 8), (8, 4)))
    (got,) = ValueModel(program).run({"a": a, "b": b}).values()
    np.testing.assert_allclose(got, np.concatenate([a[:, :4] @ b[:4], a @ b]), rtol=1e-5, atol=1e-6)
    same(program)


WINDOWS = {
    "many channels": (1, 70, 6, 7),
    "many positions": (1, 3, 23, 40),
    "one position": (1, 5, 4, 3),
}


@pytest.mark.parametrize("kind", ["max", "min", "add", "mul"])
@pytest.mark.parametrize("shape", list(WINDOWS.values()), ids=list(WINDOWS))
def test_windows_of_single_channels(kind: str, shape: tuple[int, ...]):
    """Whichever of channels and positions are more, with strides and dilations that leave edges."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0.5, 2, shape).astype(np.float32)
    for kernel, strides, dilations in [
        ((3, 3), (1, 1), (1, 1)),
        ((2, 3), (3, 2), (1, 1)),
        ((2, 1), (1, 2), (3, 1)),
    ]:
        window = Window(kernel, strides, dilations)
        view = windows(x, window)
        weights = rng.standard_normal((shape[1], *kernel)).astype(np.float32)
        for w in (None, weights):
            terms = view if w is None else view * w[..., None, None]
            expected = COMBINE[kind].reduce(terms.reshape(shape[1], -1, *view.shape[-2:]), axis=1)
            got = np.full(expected.shape, np.nan, np.float32)
            parts = list(weighted(kind, channels_of(x), window, w, got))
            assert parts[-1].stop == shape[1]
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("kind", "nothing"), [("max", -np.inf), ("add", 0)])
@pytest.mark.parametrize("rows", [1, 3])
def test_windows_of_nothing_but_padding(kind: str, nothing: float, rows: int):
    """A dilated window steps over all of a small image."""
    g = Graph()
    x = g.input("x", (2, 3, rows, 1))
    g.output(
        "y", g.pool(kind, x, (1, 2), dilations=(1, 2), low=(0, 1), high=(0, 1), strides=(1, 2))
    )
    model = ValueModel(compiled(g))
    (y,) = model.run({"x": np.ones((2, 3, rows, 1), np.float32)}).values()
    np.testing.assert_array_equal(y, np.full((2, 3, rows, 1), nothing, np.float32))


def test_a_tensor_that_is_handed_on_is_nobody_elses():
    """What a kernel gives is a new array: not an input, and none that a later run changes."""
    g = Graph()
    x = g.input("x", (40, 50))
    y = x.relu()
    g.output("y", y)
    g.output("z", (y @ g.constant(np.ones((50, 3), np.float32))).relu())
    model = ValueModel(compiled(g))
    rng = np.random.default_rng(0)
    one, two = (rng.standard_normal((40, 50)).astype(np.float32) for _ in range(2))
    first = model.run({"x": one})
    before = {name: value.copy() for name, value in first.items()}
    second = model.run({"x": two})
    for name, value in first.items():
        assert not np.shares_memory(value, one)
        assert not np.shares_memory(value, second[name])
        np.testing.assert_array_equal(value, before[name])
    first["y"][...] = -1
    np.testing.assert_array_equal(model.run({"x": one})["z"], before["z"])
