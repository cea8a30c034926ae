"""Products of integers through BLAS are those of NumPy's integers, bit for bit, wrapped around."""

import ml_dtypes
import numpy as np
import pytest
from draws import drawing
from hypothesis import given
from hypothesis import strategies as st

from kpu_ir import Graph, Machine
from kpu_ir.dialects.tile import Window
from kpu_ir.pipeline import lower
from kpu_ir.program.options import Options
from kpu_ir.sim.program.program import load_program
from kpu_ir.sim.values.blocks import channels_of, convolved, weighted
from kpu_ir.sim.values.exact import SHORTEST, product
from kpu_ir.sim.values.values import ValueModel

KINDS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64")
DRAWS = drawing(60)


def exact(a: np.ndarray, b: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The product in Python's integers, of which ``dtype`` keeps the low bits."""
    sums = np.matmul(a.astype(object), b.astype(object))
    bits = 8 * dtype.itemsize
    return np.array([int(n) % (1 << bits) for n in sums.ravel()], f"u{bits // 8}").view(dtype)


def drawn(data: st.DataObject, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """Elements of all sizes, of one sign, or the ends of the type alone."""
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 32)))
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    how = data.draw(st.sampled_from(["any", "small", "lowest", "highest", "ends"]))
    match how:
        case "any":
            return rng.integers(low, high, shape, kind, endpoint=True)
        case "small":
            return rng.integers(max(low, -9), 9, shape, kind)
        case "ends":
            return np.where(rng.integers(0, 2, shape) == 0, low, high).astype(kind)
        case _:
            return np.full(shape, low if how == "lowest" else high, kind)


@DRAWS
@given(st.data())
def test_products_are_exact(data: st.DataObject) -> None:
    """Of all types and signs; sums that are cut in pieces, and such as wrap around."""
    m, n = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    k = data.draw(st.sampled_from([0, 1, 3, SHORTEST - 1, SHORTEST + 3, 1024, 1025, 2100]))
    batch = data.draw(st.sampled_from([(), (2,)]))
    a = drawn(data, (*batch, m, k), data.draw(st.sampled_from(KINDS)))
    b = drawn(data, (k, n), data.draw(st.sampled_from(KINDS)))
    for kind in (np.dtype(np.int32), np.dtype(np.uint32), np.dtype(np.int64)):
        got = product(a, b, kind)
        assert (got.dtype, got.shape) == (kind, (*batch, m, n))
        np.testing.assert_array_equal(got.ravel(), exact(a, b, kind))


def test_the_longest_sum_that_f32_holds_is_one_piece() -> None:
    """1024 products of -128 by -128 are 2^24, the last integer before f32 has gaps."""
    for k in (1023, 1024, 1025, 2048, 4097):
        a = np.full((3, k), -128, np.int8)
        a[1, 0], a[2, -1] = -127, 1
        got = product(a, a.T, np.dtype(np.int32))
        np.testing.assert_array_equal(got, a.astype(np.int64) @ a.T.astype(np.int64))


@pytest.mark.parametrize("kind", [ml_dtypes.int4, ml_dtypes.uint4])
def test_four_bits(kind: type) -> None:
    """The integers of ``ml_dtypes``."""
    values = np.arange(16).reshape(4, 4) - (8 if kind is ml_dtypes.int4 else 0)
    got = product(values.astype(kind), values.astype(np.int8), np.dtype(np.int32))
    np.testing.assert_array_equal(got, values @ values)


@DRAWS
@given(st.data())
def test_convolutions_are_exact(data: st.DataObject) -> None:
    """Dense and depthwise, of all strides and dilations."""
    kernel, strides, dilations = (
        (data.draw(st.integers(1, top)), data.draw(st.integers(1, top))) for top in (3, 3, 2)
    )
    window = Window(kernel, strides, dilations)
    oh, ow = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    m, c = data.draw(st.integers(1, 3)), data.draw(st.sampled_from([1, 3, 30]))
    spare = data.draw(st.integers(0, 2))  # columns that no window reaches
    h, w = window.span((oh, ow))
    w += min(spare, strides[1] - 1)
    x = drawn(data, (1, c, h, w), data.draw(st.sampled_from(["int8", "uint8"])))
    filters = drawn(data, (m, c, *kernel), "int8")
    wanted = np.zeros((m, oh, ow), np.int64)
    alone = np.zeros((c, oh, ow), np.int64)
    for y in range(oh):
        for z in range(ow):
            top, left = y * strides[0], z * strides[1]
            seen = x[0, :, top :: dilations[0], left :: dilations[1]]
            seen = seen[:, : kernel[0], : kernel[1]].astype(np.int64)
            wanted[:, y, z] = (filters * seen).sum((1, 2, 3))
            alone[:, y, z] = (filters[0] * seen).sum((1, 2))
    dtype = np.dtype(np.int32)
    np.testing.assert_array_equal(convolved(filters, x, window, wanted.shape, dtype), wanted)
    got = np.empty(alone.shape, np.int32)
    parts = list(weighted("add", channels_of(x), window, filters[0], got))
    assert [n for part in parts for n in range(part.start, part.stop)] == list(range(c))
    np.testing.assert_array_equal(got, alone)


@pytest.mark.parametrize("stepped", [False, True])
def test_a_program_of_integers_is_exact(stepped: bool) -> None:
    """On slots and on whole tensors: a sum in several tiles, of the ends of ``i8``."""
    rng = np.random.default_rng(0)
    w = rng.choice([-128, 127], (3000, 40)).astype(np.int8)
    x = rng.choice([-128, 127], (33, 3000)).astype(np.int8)
    g = Graph()
    g.output("y", g.matmul(g.input("x", x.shape, "i8"), g.constant(w), dtype="i32"))
    machine = Machine.load("default")
    program = load_program(lower(g.module(), machine, Options(search="none"))["dma"], machine)
    (got,) = ValueModel(program, stepped).run({"x": x}).values()
    np.testing.assert_array_equal(got, x.astype(np.int64) @ w.astype(np.int64))
