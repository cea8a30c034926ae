"""Records and IR say the same: what is read is written again, to the letter."""

import pytest

from kpu_ir.dialects import dma, tile
from kpu_ir.nest.ir import read_dma, read_tile, write_function
from kpu_ir.registry import context
from kpu_ir.support.errors import KpuError
from kpu_ir.text.parsing import parse_module

TILE = """
func.func private @product(%a: memref<60x64xf32>, %b: memref<96x64xf32>, %c: memref<60x96xf32>) {
  tile.for %m = 0 to 60 step 32 {
    %lhs3 = tile.load %a[%m, 0] low [0, 1] high [2, 0] fill 1.000000e+00 : f64 : memref<60x64xf32> -> !tile.tile<32x64xf32, l3>
    %lhs = tile.load %lhs3[0, 0] : !tile.tile<32x64xf32, l3> -> !tile.tile<32x64xf32, l2>
    tile.for %n = 0 to 96 step 48 {
      %two = arith.constant 2 : index
      %far = arith.muli %n, %two : index
      %rhs = tile.load %b[%n, 0] reuse(%m) permuted [1, 0] : memref<96x64xf32> -> !tile.tile<64x48xf32, l2>
      %acc = tile.alloc : !tile.tile<32x48xf32, l2>
      tile.matmul output_stationary %lhs, %rhs into %acc : !tile.tile<32x64xf32, l2>, !tile.tile<64x48xf32, l2> -> !tile.tile<32x48xf32, l2> epilogue {
      ^bb0(%sum: f32):
        %r = arith.addf %sum, %sum : f32
        tile.yield %r : f32
      }
      tile.store %acc, %c[%m, %n] : !tile.tile<32x48xf32, l2> -> memref<60x96xf32>
    }
  }
  func.return
}
"""

DMA = """
func.func private @sums(%a: memref<8x64xf32>, %c: memref<8x1xf32>) {
  dma.program {
    dma.ring @a3, 2 x <8x16xf32, l3> at 0
    dma.ring @a2, 2 x <8x16xf32, l2> at 0
    dma.ring @s, 1 x <8x1xf32, l2> at 1024
    dma.ring @s3, 2 x <8x1xf32, l3> at 1024
    %s = dma.acquire @s : !tile.tile<8x1xf32, l2>
    tile.for %k = 0 to 64 step 16 {
      %a3 = dma.fetch %a[0, %k] into @a3 on [0, 1] : memref<8x64xf32> -> !tile.tile<8x16xf32, l3>
      %a2 = dma.move %a3[0, 0] into @a2 : !tile.tile<8x16xf32, l3> -> !tile.tile<8x16xf32, l2>
      dma.reduce add %a2 into %s axes [1] over(%k) : !tile.tile<8x16xf32, l2> -> !tile.tile<8x1xf32, l2>
    }
    %s3 = dma.move %s[0, 0] into @s3 defer 1 : !tile.tile<8x1xf32, l2> -> !tile.tile<8x1xf32, l3>
    dma.write %s3, %c[0, 0] defer 2 : !tile.tile<8x1xf32, l3> -> memref<8x1xf32>
  }
  func.return
}
"""


def function(text: str):
    (func,) = parse_module(text, "test", context()).ops
    return func


@pytest.mark.parametrize(
    ("text", "read", "dialect"), [(TILE, read_tile, tile), (DMA, read_dma, dma)]
)
def test_what_is_read_is_written_again(text, read, dialect):
    func = function(text)
    func.verify()
    again = write_function(read(func), dialect, func.sym_visibility)
    again.verify()
    assert str(again) == str(func)


@pytest.mark.parametrize(("text", "read"), [(TILE, read_dma), (DMA, read_tile)])
def test_what_belongs_to_the_other_level_is_refused(text, read):
    func = function(text)
    with pytest.raises(KpuError, match="does not belong"):
        read(func)
