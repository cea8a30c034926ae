// RUN: kpu-opt %s --verify-diagnostics --split-input-file | filecheck %s

// One mistake for each thing that a verifier of the dma level asks for.

// CHECK: dma.ring: depth must be at least 1, got 0
func.func @ring_depth() {
  dma.program {
    dma.ring @a, 0 x <4x8xf32, l2> at 0
  }
  func.return
}

// -----

// CHECK: dma.ring: address is negative: -64
func.func @ring_address() {
  dma.program {
    dma.ring @a, 2 x <4x8xf32, l2> at -64
  }
  func.return
}

// -----

// CHECK: dma.fetch: there is no dma.ring @a3
func.func @fetch_no_ring(%a: memref<128x64xf32>) {
  dma.program {
    dma.ring @b3, 2 x <32x64xf32, l3> at 0
    %t = dma.fetch %a[0, 0] into @a3 : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
  }
  func.return
}

// -----

// CHECK: dma.fetch: ring @a3 holds !tile.tile<32x32xf32, l3>, the result is !tile.tile<32x64xf32, l3>
func.func @fetch_ring_type(%a: memref<128x64xf32>) {
  dma.program {
    dma.ring @a3, 2 x <32x32xf32, l3> at 0
    %t = dma.fetch %a[0, 0] into @a3 : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
  }
  func.return
}

// -----

// CHECK: dma.fetch from external memory goes to l3, got !tile.tile<32x64xf32, l2>
func.func @fetch_level(%a: memref<128x64xf32>) {
  dma.program {
    dma.ring @a3, 2 x <32x64xf32, l2> at 0
    %t = dma.fetch %a[0, 0] into @a3 : memref<128x64xf32> -> !tile.tile<32x64xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.fetch: channels must be distinct and rising, got []
func.func @fetch_channels_none(%a: memref<128x64xf32>) {
  dma.program {
    dma.ring @a3, 2 x <32x64xf32, l3> at 0
    %t = dma.fetch %a[0, 0] into @a3 on [] : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
  }
  func.return
}

// -----

// CHECK: dma.fetch: channels must be distinct and rising, got [1, 0]
func.func @fetch_channels_falling(%a: memref<128x64xf32>) {
  dma.program {
    dma.ring @a3, 2 x <32x64xf32, l3> at 0
    %t = dma.fetch %a[0, 0] into @a3 on [1, 0] : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
  }
  func.return
}

// -----

// CHECK: dma.fetch: channels must be distinct and rising, got [1, 1]
func.func @fetch_channels_twice(%a: memref<128x64xf32>) {
  dma.program {
    dma.ring @a3, 2 x <32x64xf32, l3> at 0
    %t = dma.fetch %a[0, 0] into @a3 on [1, 1] : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
  }
  func.return
}

// -----

// CHECK: dma.fetch: channels must be distinct and rising, got [-1, 0]
func.func @fetch_channels_negative(%a: memref<128x64xf32>) {
  dma.program {
    dma.ring @a3, 2 x <32x64xf32, l3> at 0
    %t = dma.fetch %a[0, 0] into @a3 on [-1, 0] : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
  }
  func.return
}

// -----

// CHECK: dma.fetch needs one offset for each dimension: 1 offsets, a tensor of rank 2, a tile of rank 2
func.func @fetch_offsets(%a: memref<128x64xf32>) {
  dma.program {
    dma.ring @a3, 2 x <32x64xf32, l3> at 0
    %t = dma.fetch %a[0] into @a3 : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
  }
  func.return
}

// -----

// CHECK: dma.fetch: the tile has 64 elements in dimension 1, the tensor only 48
func.func @fetch_larger(%a: memref<128x48xf32>) {
  dma.program {
    dma.ring @a3, 2 x <32x64xf32, l3> at 0
    %t = dma.fetch %a[0, 0] into @a3 : memref<128x48xf32> -> !tile.tile<32x64xf32, l3>
  }
  func.return
}

// -----

// CHECK: dma.fetch does not convert: expected f16, got f32
func.func @fetch_converts(%a: memref<128x64xf16>) {
  dma.program {
    dma.ring @a3, 2 x <32x64xf32, l3> at 0
    %t = dma.fetch %a[0, 0] into @a3 : memref<128x64xf16> -> !tile.tile<32x64xf32, l3>
  }
  func.return
}

// -----

// CHECK: padding needs one number of elements, not negative, for each of 2 dimensions
func.func @fetch_padding(%a: memref<128x64xf32>) {
  dma.program {
    dma.ring @a3, 2 x <32x64xf32, l3> at 0
    %t = dma.fetch %a[0, 0] into @a3 low [0] : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
  }
  func.return
}

// -----

// CHECK: dma.fetch: only external memory of rank 2 or more is read by a list
func.func @fetch_by_rank(%a: memref<64xf32>, %l: memref<16xi64>) {
  dma.program {
    dma.ring @a3, 2 x <16xf32, l3> at 0
    %t = dma.fetch %a[0] by %l : memref<16xi64> into @a3 : memref<64xf32> -> !tile.tile<16xf32, l3>
  }
  func.return
}

// -----

// CHECK: dma.fetch: expected a list of integers, got memref<64xf32>
func.func @fetch_by_list(%a: memref<128x64xf32>, %l: memref<64xf32>) {
  dma.program {
    dma.ring @a3, 2 x <32x64xf32, l3> at 0
    %t = dma.fetch %a[0, 0] by %l : memref<64xf32> into @a3 : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
  }
  func.return
}

// -----

// CHECK: dma.move goes from one level to the other, got !tile.tile<32x64xf32, l2> -> !tile.tile<16x64xf32, l2>
func.func @move_level() {
  dma.program {
    dma.ring @a, 1 x <32x64xf32, l2> at 0
    dma.ring @t, 1 x <16x64xf32, l2> at 4096
    %a = dma.acquire @a : !tile.tile<32x64xf32, l2>
    %t = dma.move %a[0, 0] into @t : !tile.tile<32x64xf32, l2> -> !tile.tile<16x64xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.move: [1, 1] does not permute 2 dimensions
func.func @move_permutation() {
  dma.program {
    dma.ring @a, 1 x <32x64xf32, l3> at 0
    dma.ring @t, 1 x <16x64xf32, l2> at 4096
    %a = dma.acquire @a : !tile.tile<32x64xf32, l3>
    %t = dma.move %a[0, 0] into @t permuted [1, 1] : !tile.tile<32x64xf32, l3> -> !tile.tile<16x64xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.move: a block mover steps through 5 dimensions; (2, 2, 2, 2, 2, 2) in the order [5, 4, 3, 2, 1, 0] needs 6
func.func @move_mover() {
  dma.program {
    dma.ring @a, 1 x <2x2x2x2x2x2xf32, l3> at 0
    dma.ring @t, 1 x <2x2x2x2x2x2xf32, l2> at 4096
    %a = dma.acquire @a : !tile.tile<2x2x2x2x2x2xf32, l3>
    %t = dma.move %a[0, 0, 0, 0, 0, 0] into @t permuted [5, 4, 3, 2, 1, 0] : !tile.tile<2x2x2x2x2x2xf32, l3> -> !tile.tile<2x2x2x2x2x2xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.move: the tile has 64 elements in dimension 0, the tensor only 32
func.func @move_larger() {
  dma.program {
    dma.ring @a, 1 x <32x64xf32, l3> at 0
    dma.ring @t, 1 x <64x64xf32, l2> at 4096
    %a = dma.acquire @a : !tile.tile<32x64xf32, l3>
    %t = dma.move %a[0, 0] into @t : !tile.tile<32x64xf32, l3> -> !tile.tile<64x64xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.move: channels must be distinct and rising, got [2, 1]
func.func @move_channels() {
  dma.program {
    dma.ring @a, 1 x <32x64xf32, l3> at 0
    dma.ring @t, 1 x <16x64xf32, l2> at 4096
    %a = dma.acquire @a : !tile.tile<32x64xf32, l3>
    %t = dma.move %a[0, 0] into @t on [2, 1] : !tile.tile<32x64xf32, l3> -> !tile.tile<16x64xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.move: defer counts steps from 0, got -1
func.func @move_late() {
  dma.program {
    dma.ring @a, 1 x <32x64xf32, l3> at 0
    dma.ring @t, 1 x <16x64xf32, l2> at 4096
    %a = dma.acquire @a : !tile.tile<32x64xf32, l3>
    %t = dma.move %a[0, 0] into @t defer -1 : !tile.tile<32x64xf32, l3> -> !tile.tile<16x64xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.move: a move that is reused cannot be deferred
func.func @move_kept_late() {
  dma.program {
    dma.ring @a, 1 x <32x64xf32, l3> at 0
    dma.ring @t, 1 x <16x64xf32, l2> at 0
    %a = dma.acquire @a : !tile.tile<32x64xf32, l3>
    tile.for %i = 0 to 4 step 1 {
      %t = dma.move %a[0, 0] into @t reuse(%i) defer 1 : !tile.tile<32x64xf32, l3> -> !tile.tile<16x64xf32, l2>
    }
  }
  func.return
}

// -----

// CHECK: dma.move: there is no dma.ring @t
func.func @move_no_ring() {
  dma.program {
    dma.ring @a, 1 x <32x64xf32, l3> at 0
    %a = dma.acquire @a : !tile.tile<32x64xf32, l3>
    %t = dma.move %a[0, 0] into @t : !tile.tile<32x64xf32, l3> -> !tile.tile<16x64xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.acquire: there is no dma.ring @a
func.func @acquire_no_ring() {
  dma.program {
    %a = dma.acquire @a : !tile.tile<16x64xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.acquire: ring @a holds !tile.tile<16x64xf16, l2>, the result is !tile.tile<16x64xf32, l2>
func.func @acquire_ring_type() {
  dma.program {
    dma.ring @a, 1 x <16x64xf16, l2> at 0
    %a = dma.acquire @a : !tile.tile<16x64xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.matmul: operands and result stand in l2
func.func @matmul_level() {
  dma.program {
    dma.ring @a, 1 x <4x8xf32, l3> at 0
    dma.ring @b, 1 x <8x6xf32, l2> at 0
    dma.ring @c, 1 x <4x6xf32, l2> at 0
    %a = dma.acquire @a : !tile.tile<4x8xf32, l3>
    %b = dma.acquire @b : !tile.tile<8x6xf32, l2>
    %c = dma.acquire @c : !tile.tile<4x6xf32, l2>
    dma.matmul output_stationary %a, %b into %c : !tile.tile<4x8xf32, l3>, !tile.tile<8x6xf32, l2> -> !tile.tile<4x6xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.matmul: operands and result have one rank >= 2: (1, 4, 8), (8, 6), (4, 6)
func.func @matmul_rank() {
  dma.program {
    dma.ring @a, 1 x <1x4x8xf32, l2> at 0
    dma.ring @b, 1 x <8x6xf32, l2> at 0
    dma.ring @c, 1 x <4x6xf32, l2> at 0
    %a = dma.acquire @a : !tile.tile<1x4x8xf32, l2>
    %b = dma.acquire @b : !tile.tile<8x6xf32, l2>
    %c = dma.acquire @c : !tile.tile<4x6xf32, l2>
    dma.matmul output_stationary %a, %b into %c : !tile.tile<1x4x8xf32, l2>, !tile.tile<8x6xf32, l2> -> !tile.tile<4x6xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.matmul: (4, 8) by (9, 6) does not give (4, 6)
func.func @matmul_inner() {
  dma.program {
    dma.ring @a, 1 x <4x8xf32, l2> at 0
    dma.ring @b, 1 x <9x6xf32, l2> at 0
    dma.ring @c, 1 x <4x6xf32, l2> at 0
    %a = dma.acquire @a : !tile.tile<4x8xf32, l2>
    %b = dma.acquire @b : !tile.tile<9x6xf32, l2>
    %c = dma.acquire @c : !tile.tile<4x6xf32, l2>
    dma.matmul output_stationary %a, %b into %c : !tile.tile<4x8xf32, l2>, !tile.tile<9x6xf32, l2> -> !tile.tile<4x6xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.matmul: (4, 8) by (8, 6) does not give (6, 4)
func.func @matmul_outer() {
  dma.program {
    dma.ring @a, 1 x <4x8xf32, l2> at 0
    dma.ring @b, 1 x <8x6xf32, l2> at 0
    dma.ring @c, 1 x <6x4xf32, l2> at 0
    %a = dma.acquire @a : !tile.tile<4x8xf32, l2>
    %b = dma.acquire @b : !tile.tile<8x6xf32, l2>
    %c = dma.acquire @c : !tile.tile<6x4xf32, l2>
    dma.matmul output_stationary %a, %b into %c : !tile.tile<4x8xf32, l2>, !tile.tile<8x6xf32, l2> -> !tile.tile<6x4xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.matmul: batch extents differ: (2, 4, 8), (3, 8, 6), (3, 4, 6)
func.func @matmul_batch() {
  dma.program {
    dma.ring @a, 1 x <2x4x8xf32, l2> at 0
    dma.ring @b, 1 x <3x8x6xf32, l2> at 0
    dma.ring @c, 1 x <3x4x6xf32, l2> at 0
    %a = dma.acquire @a : !tile.tile<2x4x8xf32, l2>
    %b = dma.acquire @b : !tile.tile<3x8x6xf32, l2>
    %c = dma.acquire @c : !tile.tile<3x4x6xf32, l2>
    dma.matmul output_stationary %a, %b into %c : !tile.tile<2x4x8xf32, l2>, !tile.tile<3x8x6xf32, l2> -> !tile.tile<3x4x6xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.matmul: weights of (1, 4, 7, 3, 3) by a window of (1, 8, 16, 16) do not give (1, 4, 14, 14)
func.func @matmul_weights() {
  dma.program {
    dma.ring @a, 1 x <1x4x7x3x3xf32, l2> at 0
    dma.ring @b, 1 x <1x8x16x16xf32, l2> at 0
    dma.ring @c, 1 x <1x4x14x14xf32, l2> at 0
    %a = dma.acquire @a : !tile.tile<1x4x7x3x3xf32, l2>
    %b = dma.acquire @b : !tile.tile<1x8x16x16xf32, l2>
    %c = dma.acquire @c : !tile.tile<1x4x14x14xf32, l2>
    dma.matmul output_stationary %a, %b window <3x3 by 1x1 apart 1x1> into %c : !tile.tile<1x4x7x3x3xf32, l2>, !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x4x14x14xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.matmul: a window takes and gives 1 x c x h x w, got (2, 8, 16, 16) and (1, 4, 14, 14)
func.func @matmul_image() {
  dma.program {
    dma.ring @a, 1 x <1x4x8x3x3xf32, l2> at 0
    dma.ring @b, 1 x <2x8x16x16xf32, l2> at 0
    dma.ring @c, 1 x <1x4x14x14xf32, l2> at 0
    %a = dma.acquire @a : !tile.tile<1x4x8x3x3xf32, l2>
    %b = dma.acquire @b : !tile.tile<2x8x16x16xf32, l2>
    %c = dma.acquire @c : !tile.tile<1x4x14x14xf32, l2>
    dma.matmul output_stationary %a, %b window <3x3 by 1x1 apart 1x1> into %c : !tile.tile<1x4x8x3x3xf32, l2>, !tile.tile<2x8x16x16xf32, l2> -> !tile.tile<1x4x14x14xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.matmul: the window has (14, 14) positions in (1, 8, 16, 16), not (1, 4, 16, 16)
func.func @matmul_positions() {
  dma.program {
    dma.ring @a, 1 x <1x4x8x3x3xf32, l2> at 0
    dma.ring @b, 1 x <1x8x16x16xf32, l2> at 0
    dma.ring @c, 1 x <1x4x16x16xf32, l2> at 0
    %a = dma.acquire @a : !tile.tile<1x4x8x3x3xf32, l2>
    %b = dma.acquire @b : !tile.tile<1x8x16x16xf32, l2>
    %c = dma.acquire @c : !tile.tile<1x4x16x16xf32, l2>
    dma.matmul output_stationary %a, %b window <3x3 by 1x1 apart 1x1> into %c : !tile.tile<1x4x8x3x3xf32, l2>, !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x4x16x16xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.matmul: operands of an epilogue that is not there
func.func @epilogue_absent() {
  dma.program {
    dma.ring @a, 1 x <4x8xf32, l2> at 0
    dma.ring @b, 1 x <8x6xf32, l2> at 0
    dma.ring @c, 1 x <4x6xf32, l2> at 0
    dma.ring @x, 1 x <1x6xf32, l2> at 0
    %a = dma.acquire @a : !tile.tile<4x8xf32, l2>
    %b = dma.acquire @b : !tile.tile<8x6xf32, l2>
    %c = dma.acquire @c : !tile.tile<4x6xf32, l2>
    %x = dma.acquire @x : !tile.tile<1x6xf32, l2>
    dma.matmul output_stationary %a, %b into %c : !tile.tile<4x8xf32, l2>, !tile.tile<8x6xf32, l2> -> !tile.tile<4x6xf32, l2> with %x : !tile.tile<1x6xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.matmul: !tile.tile<2x6xf32, l2> does not broadcast to !tile.tile<4x6xf32, l2>
func.func @epilogue_broadcast() {
  dma.program {
    dma.ring @a, 1 x <4x8xf32, l2> at 0
    dma.ring @b, 1 x <8x6xf32, l2> at 0
    dma.ring @c, 1 x <4x6xf32, l2> at 0
    dma.ring @x, 1 x <2x6xf32, l2> at 0
    %a = dma.acquire @a : !tile.tile<4x8xf32, l2>
    %b = dma.acquire @b : !tile.tile<8x6xf32, l2>
    %c = dma.acquire @c : !tile.tile<4x6xf32, l2>
    %x = dma.acquire @x : !tile.tile<2x6xf32, l2>
    dma.matmul output_stationary %a, %b into %c : !tile.tile<4x8xf32, l2>, !tile.tile<8x6xf32, l2> -> !tile.tile<4x6xf32, l2> with %x : !tile.tile<2x6xf32, l2> epilogue {
    ^bb0(%p: f32, %q: f32):
      dma.yield %p : f32
    }
  }
  func.return
}

// -----

// CHECK: dma.matmul: operands and result stand in l2, got !tile.tile<1x6xf32, l3>
func.func @epilogue_level() {
  dma.program {
    dma.ring @a, 1 x <4x8xf32, l2> at 0
    dma.ring @b, 1 x <8x6xf32, l2> at 0
    dma.ring @c, 1 x <4x6xf32, l2> at 0
    dma.ring @x, 1 x <1x6xf32, l3> at 0
    %a = dma.acquire @a : !tile.tile<4x8xf32, l2>
    %b = dma.acquire @b : !tile.tile<8x6xf32, l2>
    %c = dma.acquire @c : !tile.tile<4x6xf32, l2>
    %x = dma.acquire @x : !tile.tile<1x6xf32, l3>
    dma.matmul output_stationary %a, %b into %c : !tile.tile<4x8xf32, l2>, !tile.tile<8x6xf32, l2> -> !tile.tile<4x6xf32, l2> with %x : !tile.tile<1x6xf32, l3> epilogue {
    ^bb0(%p: f32, %q: f32):
      dma.yield %p : f32
    }
  }
  func.return
}

// -----

// CHECK: dma.matmul: the body takes one scalar an operand: expected (f32, f32), got (f32)
func.func @epilogue_arguments() {
  dma.program {
    dma.ring @a, 1 x <4x8xf32, l2> at 0
    dma.ring @b, 1 x <8x6xf32, l2> at 0
    dma.ring @c, 1 x <4x6xf32, l2> at 0
    dma.ring @x, 1 x <1x6xf32, l2> at 0
    %a = dma.acquire @a : !tile.tile<4x8xf32, l2>
    %b = dma.acquire @b : !tile.tile<8x6xf32, l2>
    %c = dma.acquire @c : !tile.tile<4x6xf32, l2>
    %x = dma.acquire @x : !tile.tile<1x6xf32, l2>
    dma.matmul output_stationary %a, %b into %c : !tile.tile<4x8xf32, l2>, !tile.tile<8x6xf32, l2> -> !tile.tile<4x6xf32, l2> with %x : !tile.tile<1x6xf32, l2> epilogue {
    ^bb0(%p: f32):
      dma.yield %p : f32
    }
  }
  func.return
}

// -----

// CHECK: dma.matmul: the body must end by yielding one f32
func.func @epilogue_yield() {
  dma.program {
    dma.ring @a, 1 x <4x8xf32, l2> at 0
    dma.ring @b, 1 x <8x6xf32, l2> at 0
    dma.ring @c, 1 x <4x6xf32, l2> at 0
    %a = dma.acquire @a : !tile.tile<4x8xf32, l2>
    %b = dma.acquire @b : !tile.tile<8x6xf32, l2>
    %c = dma.acquire @c : !tile.tile<4x6xf32, l2>
    dma.matmul output_stationary %a, %b into %c : !tile.tile<4x8xf32, l2>, !tile.tile<8x6xf32, l2> -> !tile.tile<4x6xf32, l2> epilogue {
    ^bb0(%p: f32):
      %h = arith.truncf %p : f32 to f16
      dma.yield %h : f16
    }
  }
  func.return
}

// -----

// CHECK: dma.map: operands and result stand in l2, got !tile.tile<4x6xf32, l3>
func.func @map_level() {
  dma.program {
    dma.ring @x, 1 x <4x6xf32, l3> at 0
    dma.ring @c, 1 x <4x6xf32, l2> at 0
    %x = dma.acquire @x : !tile.tile<4x6xf32, l3>
    %c = dma.acquire @c : !tile.tile<4x6xf32, l2>
    dma.map %x into %c : !tile.tile<4x6xf32, l3> -> !tile.tile<4x6xf32, l2> {
    ^bb0(%p: f32):
      dma.yield %p : f32
    }
  }
  func.return
}

// -----

// CHECK: dma.map: !tile.tile<6xf32, l2> does not broadcast to !tile.tile<4x6xf32, l2>
func.func @map_broadcast() {
  dma.program {
    dma.ring @x, 1 x <6xf32, l2> at 0
    dma.ring @c, 1 x <4x6xf32, l2> at 0
    %x = dma.acquire @x : !tile.tile<6xf32, l2>
    %c = dma.acquire @c : !tile.tile<4x6xf32, l2>
    dma.map %x into %c : !tile.tile<6xf32, l2> -> !tile.tile<4x6xf32, l2> {
    ^bb0(%p: f32):
      dma.yield %p : f32
    }
  }
  func.return
}

// -----

// CHECK: dma.map: the body takes one scalar an operand: expected (i8), got (f32)
func.func @map_arguments() {
  dma.program {
    dma.ring @x, 1 x <4x6xui8, l2> at 0
    dma.ring @c, 1 x <4x6xf32, l2> at 0
    %x = dma.acquire @x : !tile.tile<4x6xui8, l2>
    %c = dma.acquire @c : !tile.tile<4x6xf32, l2>
    dma.map %x into %c : !tile.tile<4x6xui8, l2> -> !tile.tile<4x6xf32, l2> {
    ^bb0(%p: f32):
      dma.yield %p : f32
    }
  }
  func.return
}

// -----

// CHECK: dma.map: the body must end by yielding one f32
func.func @map_yield() {
  dma.program {
    dma.ring @x, 1 x <4x6xf32, l2> at 0
    dma.ring @c, 1 x <4x6xf32, l2> at 0
    %x = dma.acquire @x : !tile.tile<4x6xf32, l2>
    %c = dma.acquire @c : !tile.tile<4x6xf32, l2>
    dma.map %x into %c : !tile.tile<4x6xf32, l2> -> !tile.tile<4x6xf32, l2> {
    ^bb0(%p: f32):
      dma.yield %p, %p : f32, f32
    }
  }
  func.return
}

// -----

// CHECK: dma.reduce: operand and result stand in l2
func.func @reduce_level() {
  dma.program {
    dma.ring @x, 1 x <4x6xf32, l2> at 0
    dma.ring @c, 1 x <4x1xf32, l3> at 0
    %x = dma.acquire @x : !tile.tile<4x6xf32, l2>
    %c = dma.acquire @c : !tile.tile<4x1xf32, l3>
    dma.reduce add %x into %c axes [1] : !tile.tile<4x6xf32, l2> -> !tile.tile<4x1xf32, l3>
  }
  func.return
}

// -----

// CHECK: dma.reduce: f32 is combined in f32, got f16
func.func @reduce_type() {
  dma.program {
    dma.ring @x, 1 x <4x6xf32, l2> at 0
    dma.ring @c, 1 x <4x1xf16, l2> at 0
    %x = dma.acquire @x : !tile.tile<4x6xf32, l2>
    %c = dma.acquire @c : !tile.tile<4x1xf16, l2>
    dma.reduce add %x into %c axes [1] : !tile.tile<4x6xf32, l2> -> !tile.tile<4x1xf16, l2>
  }
  func.return
}

// -----

// CHECK: dma.reduce: expected a result of (4, 1), got (4, 6) along [1]
func.func @reduce_shape() {
  dma.program {
    dma.ring @x, 1 x <4x6xf32, l2> at 0
    dma.ring @c, 1 x <4x6xf32, l2> at 0
    %x = dma.acquire @x : !tile.tile<4x6xf32, l2>
    %c = dma.acquire @c : !tile.tile<4x6xf32, l2>
    dma.reduce add %x into %c axes [1] : !tile.tile<4x6xf32, l2> -> !tile.tile<4x6xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.reduce: expected a result of (4, 6), got (4, 6) along [2]
func.func @reduce_axis() {
  dma.program {
    dma.ring @x, 1 x <4x6xf32, l2> at 0
    dma.ring @c, 1 x <4x6xf32, l2> at 0
    %x = dma.acquire @x : !tile.tile<4x6xf32, l2>
    %c = dma.acquire @c : !tile.tile<4x6xf32, l2>
    dma.reduce add %x into %c axes [2] : !tile.tile<4x6xf32, l2> -> !tile.tile<4x6xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.reduce: expected a result of (4, 6), got (4, 6) along []
func.func @reduce_none() {
  dma.program {
    dma.ring @x, 1 x <4x6xf32, l2> at 0
    dma.ring @c, 1 x <4x6xf32, l2> at 0
    %x = dma.acquire @x : !tile.tile<4x6xf32, l2>
    %c = dma.acquire @c : !tile.tile<4x6xf32, l2>
    dma.reduce add %x into %c axes [] : !tile.tile<4x6xf32, l2> -> !tile.tile<4x6xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.window: operands and result stand in l2
func.func @window_level() {
  dma.program {
    dma.ring @x, 1 x <1x8x16x16xf32, l3> at 0
    dma.ring @c, 1 x <1x8x14x14xf32, l2> at 0
    %x = dma.acquire @x : !tile.tile<1x8x16x16xf32, l3>
    %c = dma.acquire @c : !tile.tile<1x8x14x14xf32, l2>
    dma.window max <3x3 by 1x1 apart 1x1> %x into %c : !tile.tile<1x8x16x16xf32, l3> -> !tile.tile<1x8x14x14xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.window: a window takes and gives 1 x c x h x w, got (16, 16) and (14, 14)
func.func @window_rank() {
  dma.program {
    dma.ring @x, 1 x <16x16xf32, l2> at 0
    dma.ring @c, 1 x <14x14xf32, l2> at 0
    %x = dma.acquire @x : !tile.tile<16x16xf32, l2>
    %c = dma.acquire @c : !tile.tile<14x14xf32, l2>
    dma.window max <3x3 by 1x1 apart 1x1> %x into %c : !tile.tile<16x16xf32, l2> -> !tile.tile<14x14xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.window: the window has (14, 14) positions in (1, 8, 16, 16), not (1, 8, 16, 14)
func.func @window_positions() {
  dma.program {
    dma.ring @x, 1 x <1x8x16x16xf32, l2> at 0
    dma.ring @c, 1 x <1x8x16x14xf32, l2> at 0
    %x = dma.acquire @x : !tile.tile<1x8x16x16xf32, l2>
    %c = dma.acquire @c : !tile.tile<1x8x16x14xf32, l2>
    dma.window max <3x3 by 1x1 apart 1x1> %x into %c : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x8x16x14xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.window: !tile.tile<1x8x16x16xf32, l2> and !tile.tile<1x4x14x14xf32, l2> have different channels
func.func @window_channels() {
  dma.program {
    dma.ring @x, 1 x <1x8x16x16xf32, l2> at 0
    dma.ring @c, 1 x <1x4x14x14xf32, l2> at 0
    %x = dma.acquire @x : !tile.tile<1x8x16x16xf32, l2>
    %c = dma.acquire @c : !tile.tile<1x4x14x14xf32, l2>
    dma.window max <3x3 by 1x1 apart 1x1> %x into %c : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x4x14x14xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.window: weights of (1, 4, 3, 3) do not fit !tile.tile<1x8x16x16xf32, l2> and the window
func.func @window_weights() {
  dma.program {
    dma.ring @x, 1 x <1x8x16x16xf32, l2> at 0
    dma.ring @c, 1 x <1x8x14x14xf32, l2> at 0
    dma.ring @w, 1 x <1x4x3x3xf32, l2> at 0
    %x = dma.acquire @x : !tile.tile<1x8x16x16xf32, l2>
    %c = dma.acquire @c : !tile.tile<1x8x14x14xf32, l2>
    %w = dma.acquire @w : !tile.tile<1x4x3x3xf32, l2>
    dma.window add <3x3 by 1x1 apart 1x1> %x weights %w : !tile.tile<1x4x3x3xf32, l2> into %c : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x8x14x14xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.window: weighted windows are added, not max
func.func @window_weighted_max() {
  dma.program {
    dma.ring @x, 1 x <1x8x16x16xf32, l2> at 0
    dma.ring @c, 1 x <1x8x14x14xf32, l2> at 0
    dma.ring @w, 1 x <1x8x3x3xf32, l2> at 0
    %x = dma.acquire @x : !tile.tile<1x8x16x16xf32, l2>
    %c = dma.acquire @c : !tile.tile<1x8x14x14xf32, l2>
    %w = dma.acquire @w : !tile.tile<1x8x3x3xf32, l2>
    dma.window max <3x3 by 1x1 apart 1x1> %x weights %w : !tile.tile<1x8x3x3xf32, l2> into %c : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x8x14x14xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.window: the body takes one scalar an operand: expected (f32), got (f16)
func.func @window_epilogue() {
  dma.program {
    dma.ring @x, 1 x <1x8x16x16xf32, l2> at 0
    dma.ring @c, 1 x <1x8x14x14xf32, l2> at 0
    %x = dma.acquire @x : !tile.tile<1x8x16x16xf32, l2>
    %c = dma.acquire @c : !tile.tile<1x8x14x14xf32, l2>
    dma.window max <3x3 by 1x1 apart 1x1> %x into %c : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x8x14x14xf32, l2> epilogue {
    ^bb0(%p: f16):
      dma.yield %p : f16
    }
  }
  func.return
}

// -----

// CHECK: a window has two positive extents, strides and dilations
func.func @window_attribute() {
  dma.program {
    dma.ring @x, 1 x <1x8x16x16xf32, l2> at 0
    dma.ring @c, 1 x <1x8x14x14xf32, l2> at 0
    %x = dma.acquire @x : !tile.tile<1x8x16x16xf32, l2>
    %c = dma.acquire @c : !tile.tile<1x8x14x14xf32, l2>
    dma.window max <0x3 by 1x1 apart 1x1> %x into %c : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x8x14x14xf32, l2>
  }
  func.return
}

// -----

// CHECK: dma.write to external memory reads from l3, got !tile.tile<32x64xf32, l2>
func.func @write_level(%y: memref<128x64xf32>) {
  dma.program {
    dma.ring @c, 1 x <32x64xf32, l2> at 0
    %c = dma.acquire @c : !tile.tile<32x64xf32, l2>
    dma.write %c, %y[0, 0] : !tile.tile<32x64xf32, l2> -> memref<128x64xf32>
  }
  func.return
}

// -----

// CHECK: dma.write needs one offset for each dimension: 3 offsets, a tensor of rank 2, a tile of rank 2
func.func @write_offsets(%y: memref<128x64xf32>) {
  dma.program {
    dma.ring @c, 1 x <32x64xf32, l3> at 0
    %c = dma.acquire @c : !tile.tile<32x64xf32, l3>
    dma.write %c, %y[0, 0, 0] : !tile.tile<32x64xf32, l3> -> memref<128x64xf32>
  }
  func.return
}

// -----

// CHECK: dma.write: the tile has 32 elements in dimension 0, the tensor only 16
func.func @write_larger(%y: memref<16x64xf32>) {
  dma.program {
    dma.ring @c, 1 x <32x64xf32, l3> at 0
    %c = dma.acquire @c : !tile.tile<32x64xf32, l3>
    dma.write %c, %y[0, 0] : !tile.tile<32x64xf32, l3> -> memref<16x64xf32>
  }
  func.return
}

// -----

// CHECK: dma.write: channels must be distinct and rising, got [0, 0]
func.func @write_channels(%y: memref<128x64xf32>) {
  dma.program {
    dma.ring @c, 1 x <32x64xf32, l3> at 0
    %c = dma.acquire @c : !tile.tile<32x64xf32, l3>
    dma.write %c, %y[0, 0] on [0, 0] : !tile.tile<32x64xf32, l3> -> memref<128x64xf32>
  }
  func.return
}

// -----

// CHECK: dma.write: defer counts steps from 0, got -2
func.func @write_late(%y: memref<128x64xf32>) {
  dma.program {
    dma.ring @c, 1 x <32x64xf32, l3> at 0
    %c = dma.acquire @c : !tile.tile<32x64xf32, l3>
    dma.write %c, %y[0, 0] defer -2 : !tile.tile<32x64xf32, l3> -> memref<128x64xf32>
  }
  func.return
}

// -----

// CHECK: dma.move: what is moved after the first trip is not deferred or reused
func.func @move_after_late() {
  dma.program {
    dma.ring @s, 2 x <32x48xf32, l3> at 0
    dma.ring @p, 2 x <32x48xf32, l2> at 0
    tile.for %k = 0 to 4 step 1 {
      %s = dma.acquire @s reuse(%k) : !tile.tile<32x48xf32, l3>
      %p = dma.move %s[0, 0] into @p after(%k) defer 1 : !tile.tile<32x48xf32, l3> -> !tile.tile<32x48xf32, l2>
    }
  }
  func.return
}

// -----

// CHECK: dma.put puts a whole tile of l2, got !tile.tile<16x48xf32, l2> -> !tile.tile<32x48xf32, l3>
func.func @put_part() {
  dma.program {
    dma.ring @s, 1 x <32x48xf32, l3> at 0
    dma.ring @p, 1 x <16x48xf32, l2> at 0
    %s = dma.acquire @s : !tile.tile<32x48xf32, l3>
    %p = dma.acquire @p : !tile.tile<16x48xf32, l2>
    dma.put %p, %s : !tile.tile<16x48xf32, l2> -> !tile.tile<32x48xf32, l3>
  }
  func.return
}

// -----

// CHECK: dma.put puts into a slot of l3 that was acquired
func.func @put_fetched(%a: memref<32x48xf32>) {
  dma.program {
    dma.ring @s, 1 x <32x48xf32, l3> at 0
    dma.ring @p, 1 x <32x48xf32, l2> at 0
    %s = dma.fetch %a[0, 0] into @s : memref<32x48xf32> -> !tile.tile<32x48xf32, l3>
    %p = dma.acquire @p : !tile.tile<32x48xf32, l2>
    dma.put %p, %s : !tile.tile<32x48xf32, l2> -> !tile.tile<32x48xf32, l3>
  }
  func.return
}

// -----

// CHECK: dma.fetch from l3 goes to l2, got !tile.tile<32x64xf32, l3>
func.func @near_to_l3(%h: memref<128x64xf32, "l3">) {
  dma.program {
    dma.ring @h, 2 x <32x64xf32, l3> at 0
    %a = dma.fetch %h[0, 0] into @h : memref<128x64xf32, "l3"> -> !tile.tile<32x64xf32, l3>
  }
  func.return
}

// -----

// CHECK: dma.write to l3 reads from l2, got !tile.tile<32x64xf32, l3>
func.func @near_from_l3(%x: memref<128x64xf32>, %h: memref<128x64xf32, "l3">) {
  dma.program {
    dma.ring @h, 2 x <32x64xf32, l3> at 0
    %a = dma.fetch %x[0, 0] into @h : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
    dma.write %a, %h[0, 0] : !tile.tile<32x64xf32, l3> -> memref<128x64xf32, "l3">
  }
  func.return
}

// -----

// CHECK: dma.fetch: only external memory of rank 2 or more is read by a list
func.func @near_by_list(%h: memref<1x64x8xf32, "l3">, %list: memref<4xi64>) {
  dma.program {
    dma.ring @h, 2 x <1x4x8xf32, l2> at 0
    %a = dma.fetch %h[0, 0, 0] by %list : memref<4xi64> into @h : memref<1x64x8xf32, "l3"> -> !tile.tile<1x4x8xf32, l2>
  }
  func.return
}

// -----

// CHECK: Redefinition of symbol "a"
func.func @ring_twice() {
  dma.program {
    dma.ring @a, 2 x <4x8xf32, l2> at 0
    dma.ring @a, 2 x <4x8xf32, l2> at 64
  }
  func.return
}

// -----

// CHECK: 'dma.ring' expects parent op 'dma.program'
func.func @ring_outside() {
  dma.ring @a, 2 x <4x8xf32, l2> at 0
  func.return
}

// -----

// CHECK: dma.acquire stands in a dma.program, which has its rings
func.func @outside() {
  %c = dma.acquire @a : !tile.tile<4x8xf32, l2>
  func.return
}

// -----

// CHECK: 'dma.program' expects parent op 'func.func'
func.func @inside() {
  dma.program {
    dma.program {
      dma.ring @a, 2 x <4x8xf32, l2> at 0
    }
  }
  func.return
}

// -----

// CHECK: kpu.schedule has nothing left to decide at the dma level
func.func @scheduled() attributes {kpu.schedule = {depth = 3}} {
  dma.program {
    dma.ring @a, 2 x <4x8xf32, l2> at 0
  }
  func.return
}

// -----

// CHECK: dma.row: expected a result of i64, got f32
func.func @row_type() {
  dma.program {
    dma.ring @x, 1 x <8x512xf32, l2> at 0
    dma.ring @v, 1 x <8x5xf32, l2> at 16384
    %x = dma.acquire @x : !tile.tile<8x512xf32, l2>
    %v = dma.acquire @v : !tile.tile<8x5xf32, l2>
    dma.row top %x into %v axis 1 : !tile.tile<8x512xf32, l2> -> !tile.tile<8x5xf32, l2>
  }
  func.return
}
