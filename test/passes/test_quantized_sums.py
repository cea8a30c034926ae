"""Average pooling, means and sums of quantized tensors: ``kernel-quantize`` adds up stored integers.

The rule in NumPy, from docs/quantization.md: the sum is exact, ``f32(sum - n z)`` times one number of f32,
half to even, then the zero point, then saturation. All levels are equal to it, bit for bit.
"""

from typing import Any

import numpy as np
import pytest
from draws import drawing
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from xdsl.context import Context

import kpu_ir
from kpu_ir import Graph, Machine
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.interpreters.tile import evaluate_tile
from kpu_ir.passes.kernel_quantize import KernelQuantizePass
from kpu_ir.pipeline import lower
from kpu_ir.program.options import Options
from kpu_ir.registry import context
from kpu_ir.sim.program.program import load_program
from kpu_ir.sim.values.values import run_program
from kpu_ir.text.parsing import parse_module

DRAWS = drawing(6, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
F, SX, SY, ZY = np.float32, np.float32(0.037), np.float32(0.11), 5


@DRAWS
@given(st.data())
def test_sums_are_of_stored_integers(data: Any):
    draw, rng = data.draw, np.random.default_rng(data.draw(st.integers(0, 999)))
    dtype = draw(st.sampled_from([np.int8, np.uint8, np.int16]))
    kind = draw(st.sampled_from(["pool", "pool with padding", "mean", "sum", "mean of rows"]))
    relu, info = draw(st.booleans()), np.iinfo(dtype)
    n, c, h, w = (draw(st.integers(1, e)) for e in (2, 5, 9, 9))
    zx = int(draw(st.sampled_from([info.min, 0, 3])))
    q = rng.integers(info.min, info.max + 1, (n, c, h, w)).astype(dtype)
    g = Graph()
    x = g.dequantize(g.input("q", q.shape, dtype), SX, zx)
    wide = q.astype(np.int64) - zx
    match kind:
        case "pool" | "pool with padding":
            size, edge = (min(h, 3), min(w, 2)), int(kind != "pool" and min(h, w) > 2)
            y = g.average_pool(x, size, strides=(1, 1), low=(edge, edge), high=(edge, edge))
            ends = [(0, 0), (0, 0), (edge, edge), (edge, edge)]
            parts, ones = (
                np.lib.stride_tricks.sliding_window_view(np.pad(v, ends), size, axis=(2, 3))
                for v in (wide, np.ones_like(wide))
            )
            sums, counts = parts.sum((4, 5)), ones.sum((4, 5))
        case "mean of rows":
            y, sums, counts = g.mean(x, [1, 3], keep=False), wide.sum((1, 3)), np.array(c * w)
        case "mean":
            y, sums, counts = g.mean(x, [2, 3]), wide.sum((2, 3), keepdims=True), np.array(h * w)
        case _:
            y, sums, counts = g.reduce("add", x, [1]), wide.sum(1, keepdims=True), np.array(1)
    y = y.relu() if relu else y
    g.output("y", g.quantize(y, SY, ZY, dtype))
    factor = SX * (1.0 / counts).astype(F) / SY
    whole = np.rint(sums.astype(F) * factor) + F(ZY)
    expected = np.clip(whole, ZY if relu else info.min, info.max).astype(dtype)
    assert_all_levels(g, q, expected)
    floats = kpu_ir.compile(g, search="none", quantize="off")(q=q)["y"]
    assert np.abs(floats.astype(int) - expected.astype(int)).max() <= 1


def assert_all_levels(g: Graph, q: Any, expected: Any) -> None:
    stored = g.module()
    KernelQuantizePass().apply(Context(), stored)
    stored.verify()
    assert not [op for op in stored.walk() if "quantize" in op.name]
    stages = lower(g.module(), Machine.preset("default"), Options(search="none"))
    program = load_program(stages["dma"], Machine.preset("default"))
    results = [
        *evaluate(stored, {"q": q}),
        *evaluate_tile(stages["tile"], [q]),
        *run_program(program, {"q": q}, stepped=True).values(),
        *run_program(program, {"q": q}).values(),
    ]
    assert len(results) == 4
    for one in results:
        np.testing.assert_array_equal(one, expected)


def test_a_scale_and_a_zero_point_that_only_the_device_knows():
    g, q = Graph(), np.arange(-60, 60).reshape(2, 3, 4, 5).astype(np.int8)
    s, z = g.input("s", (1,), F), g.input("z", (1,), np.int8)
    g.output("y", g.mean(g.dequantize(g.input("q", q.shape, q.dtype), s, z), [2, 3]))
    program = kpu_ir.compile(g, search="none")
    got = program(q=q, s=np.array([0.3], F), z=np.array([7], np.int8))["y"]
    sums = (q.astype(int) - 7).sum((2, 3), keepdims=True)
    np.testing.assert_array_equal(got, sums.astype(F) * (F(0.3) * F(1 / 20)))


DOUBLED = """
      %r = kernel.map %s : (tensor<4x1x1xi32>) -> tensor<4x1x1xi32> {
      ^bb0(%e: i32):
        %d = arith.addi %e, %e : i32
        kernel.yield %d : i32
      }"""


@pytest.mark.parametrize("doubled", [False, True])
@pytest.mark.parametrize(
    ("how", "kind"), [("add", "i8"), ("add", "ui8"), ("add", "i16"), ("add", "ui16"), ("mul", "i8")]
)
def test_one_element_is_its_own_sum(how: str, kind: str, doubled: bool):
    """Nothing is added up, but the result is of 32 bits: with a sign where it had one."""
    module = parse_module(
        f"""
    func.func @main(%x: tensor<4x1x1x{kind}> {{kernel.name = "x"}})
        -> (tensor<4x1x1xi32> {{kernel.name = "y"}}) {{
      %s = kernel.reduce {how} %x axes [1, 2] : tensor<4x1x1x{kind}> -> tensor<4x1x1xi32>
      {DOUBLED if doubled else ""}
      func.return {"%r" if doubled else "%s"} : tensor<4x1x1xi32>
    }}""",
        "sum",
        context(),
    )
    info = np.iinfo(kind.replace("i", "int"))
    x = np.array([0, 1, info.min, info.max], info.dtype).reshape(4, 1, 1)
    program = kpu_ir.compile(module, search="none")
    np.testing.assert_array_equal(program(x=x)["y"], x.astype(np.int32) * (1 + doubled))


@pytest.mark.parametrize("stays", ["per channel", "too many"])
def test_sums_that_stay_in_floats(stays: str):
    """Scales that change along what is summed; sums that may leave i32."""
    g = Graph()
    shape, dtype = (
        ((1, 3, 4, 4), np.int8) if stays == "per channel" else ((1, 1, 1 << 16), np.int16)
    )
    scale = np.array([1, 2, 3], F) if stays == "per channel" else F(1)
    g.output("y", g.mean(g.dequantize(g.input("q", shape, dtype), scale, axis=1), [1, 2]))
    module = g.module()
    KernelQuantizePass().apply(Context(), module)
    sums = [op for op in module.walk() if op.name == "kernel.reduce"]
    assert [str(op.results[0].type.element_type) for op in sums] == ["f32"]


def test_a_pooling_between_convolutions_is_one_kernel_of_bytes():
    """Every tensor between the kernels of a network is of bytes."""
    rng, g = np.random.default_rng(0), Graph()
    x = g.dequantize(g.input("x", (1, 8, 16, 16), np.int8), F(0.1), 3)
    for size in ((3, 3), (16, 16)):
        w = g.constant(rng.integers(-9, 9, (8, 8, 3, 3)).astype(np.int8))
        y = g.conv(x, g.dequantize(w, F(0.01)), low=(1, 1), high=(1, 1))
        y = g.dequantize(g.quantize(y, F(0.2), 3), F(0.2), 3)
        more = {"low": (1, 1), "high": (1, 1)} if size == (3, 3) else {}
        y = g.average_pool(y, size, strides=(1, 1), **more)
        x = g.dequantize(g.quantize(y, F(0.2), 3), F(0.2), 3)
    g.output("y", g.quantize(x, F(0.2), 3))
    program = kpu_ir.compile(g)
    assert len(program.program.calls) <= 4
    between = [b for b in program.program.buffers if b.kind == "temporary"]
    assert {str(b.type.element_type) for b in between} == {"i8"}
