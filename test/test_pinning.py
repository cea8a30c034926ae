"""Tensors that stay in L3 between kernels."""

import numpy as np
import pytest

from kpu_ir import Graph, Machine
from kpu_ir.pipeline import compile
from kpu_ir.program.compiled import Compiled
from kpu_ir.program.options import Options
from kpu_ir.registry import context
from kpu_ir.sim.program.program import load_program
from kpu_ir.sim.time.model import time_program
from kpu_ir.sim.values.values import ValueModel
from kpu_ir.support.errors import KpuError
from kpu_ir.text.parsing import parse_module

DEFAULT = Machine.preset("default")


def block(side: int = 14, channels: int = 32) -> Graph:
    """An inverted residual block and a strided convolution after it."""
    g = Graph()
    rng = np.random.default_rng(0)

    def weights(*shape: int):
        fan = np.sqrt(np.prod(shape[1:]))
        return g.constant((rng.standard_normal(shape) / fan).astype(np.float32))

    x = g.input("x", (1, channels, side, side))
    wide = 3 * channels
    h = g.conv(x, weights(wide, channels, 1, 1)).relu()
    h = g.conv(h, weights(wide, 1, 3, 3), low=(1, 1), high=(1, 1), groups=wide).relu()
    r = g.conv(h, weights(channels, wide, 1, 1)) + x
    y = g.conv(r, weights(wide, channels, 3, 3), strides=(2, 2), low=(1, 1), high=(1, 1))
    g.output("y", y)
    return g


def compiled(graph: Graph, machine: Machine = DEFAULT, fuse: str = "full") -> Compiled:
    return compile(graph.module(), machine, options=Options(search="none", fuse=fuse))


def near(c: Compiled) -> list[str]:
    """The types of what stands in L3."""
    return [str(b.type) for b in c.program.buffers if b.level == "l3"]


def test_a_block_keeps_what_is_between_its_kernels():
    with_, without = compiled(block()), compiled(block(), fuse="epilogue")
    assert near(with_) == [
        'memref<1x96x14x14xf32, "l3">',
        'memref<1x96x14x14xf32, "l3">',
        'memref<1x32x14x14xf32, "l3">',
    ]
    assert near(without) == []
    between = 4 * 14 * 14 * (96 + 96 + 32)
    saved = without.timing.external_bytes - with_.timing.external_bytes
    assert saved >= 2 * between  # each is written and read once at least
    assert with_.cycles < without.cycles
    x = np.random.default_rng(1).standard_normal((1, 32, 14, 14)).astype(np.float32)
    expected = with_.reference({"x": x})["y"]
    for stepped in (False, True):
        got = ValueModel(with_.program, stepped).run({"x": x})["y"]
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
    assert time_program(with_.program, fast_forward=False).cycles == with_.cycles


def test_the_choice_says_what_both_ways_take():
    choices = [c for c in compiled(block()).fusion if c.group == "tensor in L3"]
    assert [c.fuse for c in choices] == [True, True, True]
    for choice in choices:
        assert choice.fused is not None
        assert choice.fused.bytes < choice.apart.bytes
        assert "the tensor stays in L3" in str(choice)


def test_what_does_not_fit_stays_outside():
    small = DEFAULT.with_settings(["l3.tile_bytes=16384"])
    fits = [t for t in near(compiled(block(), small)) if "96x14" in t]
    assert fits == []


def test_a_transposed_operand_stays_outside():
    g = Graph()
    x = g.input("x", (16, 64))
    rng = np.random.default_rng(0)
    h = g.reduce("add", x @ g.constant(rng.standard_normal((64, 64)), "f32"), [0])
    g.output("y", h)
    h = x @ g.constant(rng.standard_normal((64, 48)), "f32")
    g.output("z", g.transpose(g.softmax(h, 1)))
    c = compiled(g)
    outside = [str(choice) for choice in c.fusion if choice.group == "tensor in L3"]
    got, want = (f({"x": np.ones((16, 64), np.float32)}) for f in (c, c.reference))
    for name, value in want.items():
        np.testing.assert_allclose(got[name], value, rtol=0, atol=1e-4)
    assert all(": the tensor stays" in line for line in outside)


PROGRAM = """
func.func @main(%x: memref<32x64xf32>) -> memref<32x64xf32> {{
  %h = tile.buffer at {at} : i64 : memref<32x64xf32, "l3">
  %y = tile.buffer at 8192 : i64 : memref<32x64xf32>
  func.call @in(%x, %h) : (memref<32x64xf32>, memref<32x64xf32, "l3">) -> ()
  func.call @out(%h, %y) : (memref<32x64xf32, "l3">, memref<32x64xf32>) -> ()
  func.return %y : memref<32x64xf32>
}}
func.func private @in(%x: memref<32x64xf32>, %h: memref<32x64xf32, "l3">) {{
  dma.program {{
    dma.ring @a3, 1 x <32x64xf32, l3> at 0
    dma.ring @a2, 1 x <32x64xf32, l2> at 0
    %a3 = dma.fetch %x[0, 0] into @a3 : memref<32x64xf32> -> !tile.tile<32x64xf32, l3>
    %a2 = dma.move %a3[0, 0] into @a2 : !tile.tile<32x64xf32, l3> -> !tile.tile<32x64xf32, l2>
    dma.write %a2, %h[0, 0] : !tile.tile<32x64xf32, l2> -> memref<32x64xf32, "l3">
  }}
  func.return
}}
func.func private @out(%h: memref<32x64xf32, "l3">, %y: memref<32x64xf32>) {{
  dma.program {{
    dma.ring @b2, 1 x <32x64xf32, l2> at 0
    dma.ring @b3, 1 x <32x64xf32, l3> at 0
    %b2 = dma.fetch %h[0, 0] into @b2 : memref<32x64xf32, "l3"> -> !tile.tile<32x64xf32, l2>
    %b3 = dma.move %b2[0, 0] into @b3 : !tile.tile<32x64xf32, l2> -> !tile.tile<32x64xf32, l3>
    dma.write %b3, %y[0, 0] : !tile.tile<32x64xf32, l3> -> memref<32x64xf32>
  }}
  func.return
}}
"""


def program(at: int, machine: Machine = DEFAULT):
    return load_program(parse_module(PROGRAM.format(at=at), "program", context()), machine)


def test_time_by_hand():
    """8192 bytes: 256 cycles of the DMA and 112 until the first is there, then three times 128 of
    the mover each way, and 256 out."""
    timing = time_program(program(8192, Machine.preset("ideal")))
    assert timing.cycles == 112 + 256 + 4 * 128 + 256
    assert timing.counts["external.read"] == timing.counts["external.write"] == 8192
    assert timing.counts["l3.write"] == 3 * 8192
    assert timing.counts["l2.write"] == 2 * 8192


def test_a_tile_in_the_place_of_a_tensor_is_refused():
    with pytest.raises(KpuError, match=r"ring @a3 of @in stands where h does, in L3 from 4096"):
        program(4096)


def test_a_tensor_beyond_l3_is_refused():
    with pytest.raises(KpuError, match=r"tensor h of 8192 bytes at 520192 of L3, which has 524288"):
        program(520192)
