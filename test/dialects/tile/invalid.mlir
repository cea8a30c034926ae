// RUN: kpu-opt %s --verify-diagnostics --split-input-file | filecheck %s

// One mistake for each thing that a verifier of the tile level asks for.

// CHECK: tile.for has one block argument, of type index
func.func @for_argument() {
  "tile.for"() <{lower = 0 : i64, upper = 4 : i64, step = 1 : i64}> ({
  ^bb0(%i: i64):
  }) : () -> ()
  func.return
}

// -----

// CHECK: tile.for must make at least one trip upwards, got 4 to 4 step 1
func.func @for_empty() {
  tile.for %i = 4 to 4 step 1 {
  }
  func.return
}

// -----

// CHECK: tile.for must make at least one trip upwards, got 4 to 0 step -1
func.func @for_downwards() {
  tile.for %i = 4 to 0 step -1 {
  }
  func.return
}

// -----

// CHECK: a tile's extents must be positive, got (4, 0)
func.func @tile_extents() {
  %t = tile.alloc : !tile.tile<4x0xf32, l2>
  func.return
}

// -----

// CHECK: tile.view keeps the element type: expected f32, got f16
func.func @view_type(%y: memref<4x8xf32>) {
  %r = tile.view %y : memref<4x8xf32> to memref<32xf16>
  func.return
}

// -----

// CHECK: tile.view keeps the number of elements: expected 32, got 30
func.func @view_count(%y: memref<4x8xf32>) {
  %r = tile.view %y : memref<4x8xf32> to memref<30xf32>
  func.return
}

// -----

// CHECK: tile.load: [0, 0] does not permute 2 dimensions
func.func @load_permutation(%a: memref<128x64xf32>) {
  %t = tile.load %a[0, 0] permuted [0, 0] : memref<128x64xf32> -> !tile.tile<64x32xf32, l2>
  func.return
}

// -----

// CHECK: tile.load: a block mover steps through 5 dimensions; (7, 6, 5, 4, 3, 2) in the order [5, 4, 3, 2, 1, 0] needs 6
func.func @load_mover(%a: memref<8x8x8x8x8x8xf32>) {
  %t = tile.load %a[0, 0, 0, 0, 0, 0] permuted [5, 4, 3, 2, 1, 0] : memref<8x8x8x8x8x8xf32> -> !tile.tile<2x3x4x5x6x7xf32, l2>
  func.return
}

// -----

// CHECK: tile.load needs one offset for each dimension: 1 offsets, a tensor of rank 2, a tile of rank 2
func.func @load_offsets(%a: memref<128x64xf32>) {
  %t = tile.load %a[0] : memref<128x64xf32> -> !tile.tile<32x64xf32, l2>
  func.return
}

// -----

// CHECK: tile.load needs one offset for each dimension: 2 offsets, a tensor of rank 2, a tile of rank 3
func.func @load_rank(%a: memref<128x64xf32>) {
  %t = tile.load %a[0, 0] : memref<128x64xf32> -> !tile.tile<1x32x64xf32, l2>
  func.return
}

// -----

// CHECK: tile.load does not convert: expected f32, got f16
func.func @load_converts(%a: memref<128x64xf32>) {
  %t = tile.load %a[0, 0] : memref<128x64xf32> -> !tile.tile<32x64xf16, l2>
  func.return
}

// -----

// CHECK: tile.load: the tile has 65 elements in dimension 1, the tensor only 64
func.func @load_larger(%a: memref<128x64xf32>) {
  %t = tile.load %a[0, 0] : memref<128x64xf32> -> !tile.tile<32x65xf32, l2>
  func.return
}

// -----

// CHECK: padding needs one number of elements, not negative, for each of 2 dimensions
func.func @load_padding_rank(%a: memref<128x64xf32>) {
  %t = tile.load %a[0, 0] low [1] : memref<128x64xf32> -> !tile.tile<32x64xf32, l2>
  func.return
}

// -----

// CHECK: padding needs one number of elements, not negative, for each of 2 dimensions
func.func @load_padding_negative(%a: memref<128x64xf32>) {
  %t = tile.load %a[0, 0] high [0, -1] : memref<128x64xf32> -> !tile.tile<32x32xf32, l2>
  func.return
}

// -----

// CHECK: tile.load pads only what comes from external memory
func.func @load_padded_tile(%a: memref<128x64xf32>) {
  %a3 = tile.load %a[0, 0] : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
  %a2 = tile.load %a3[0, 0] low [0, 1] : !tile.tile<32x64xf32, l3> -> !tile.tile<32x65xf32, l2>
  func.return
}

// -----

// CHECK: tile.load from a tile goes from l3 to l2
func.func @load_outwards(%a: memref<128x64xf32>) {
  %a3 = tile.load %a[0, 0] : memref<128x64xf32> -> !tile.tile<32x64xf32, l2>
  %a2 = tile.load %a3[0, 0] : !tile.tile<32x64xf32, l2> -> !tile.tile<32x64xf32, l3>
  func.return
}

// -----

// CHECK: tile.load from a tile goes from l3 to l2
func.func @load_sideways(%a: memref<128x64xf32>) {
  %a3 = tile.load %a[0, 0] : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
  %a2 = tile.load %a3[0, 0] : !tile.tile<32x64xf32, l3> -> !tile.tile<32x64xf32, l3>
  func.return
}

// -----

// CHECK: tile.load: only external memory of rank 2 or more is read by a list
func.func @by_rank(%a: memref<64xf32>, %l: memref<16xi64>) {
  %e = tile.load %a[0] by %l : memref<16xi64> : memref<64xf32> -> !tile.tile<16xf32, l2>
  func.return
}

// -----

// CHECK: tile.load: only external memory of rank 2 or more is read by a list
func.func @by_tile(%a: memref<1x64x8xf32>, %l: memref<16xi64>) {
  %a3 = tile.load %a[0, 0, 0] : memref<1x64x8xf32> -> !tile.tile<1x64x8xf32, l3>
  %e = tile.load %a3[0, 0, 0] by %l : memref<16xi64> : !tile.tile<1x64x8xf32, l3> -> !tile.tile<1x16x8xf32, l2>
  func.return
}

// -----

// CHECK: tile.load: expected a list of integers, got memref<4x4xi64>
func.func @by_list_rank(%a: memref<1x64x8xf32>, %l: memref<4x4xi64>) {
  %e = tile.load %a[0, 0, 0] by %l : memref<4x4xi64> : memref<1x64x8xf32> -> !tile.tile<1x16x8xf32, l2>
  func.return
}

// -----

// CHECK: tile.load: expected a list of integers, got memref<16xf32>
func.func @by_list_type(%a: memref<1x64x8xf32>, %l: memref<16xf32>) {
  %e = tile.load %a[0, 0, 0] by %l : memref<16xf32> : memref<1x64x8xf32> -> !tile.tile<1x16x8xf32, l2>
  func.return
}

// -----

// CHECK: tile.load: the tile has 17 elements in dimension 1, the tensor only 16
func.func @by_longer(%a: memref<1x64x8xf32>, %l: memref<16xi64>) {
  %e = tile.load %a[0, 0, 0] by %l : memref<16xi64> : memref<1x64x8xf32> -> !tile.tile<1x17x8xf32, l2>
  func.return
}

// -----

// CHECK: tile.matmul: operands and result stand in l2
func.func @matmul_level() {
  %a = tile.alloc : !tile.tile<4x8xf32, l3>
  %b = tile.alloc : !tile.tile<8x6xf32, l2>
  %c = tile.alloc : !tile.tile<4x6xf32, l2>
  tile.matmul output_stationary %a, %b into %c : !tile.tile<4x8xf32, l3>, !tile.tile<8x6xf32, l2> -> !tile.tile<4x6xf32, l2>
  func.return
}

// -----

// CHECK: tile.matmul: operands and result have one rank >= 2: (1, 4, 8), (8, 6), (4, 6)
func.func @matmul_rank() {
  %a = tile.alloc : !tile.tile<1x4x8xf32, l2>
  %b = tile.alloc : !tile.tile<8x6xf32, l2>
  %c = tile.alloc : !tile.tile<4x6xf32, l2>
  tile.matmul output_stationary %a, %b into %c : !tile.tile<1x4x8xf32, l2>, !tile.tile<8x6xf32, l2> -> !tile.tile<4x6xf32, l2>
  func.return
}

// -----

// CHECK: tile.matmul: (4, 8) by (9, 6) does not give (4, 6)
func.func @matmul_inner() {
  %a = tile.alloc : !tile.tile<4x8xf32, l2>
  %b = tile.alloc : !tile.tile<9x6xf32, l2>
  %c = tile.alloc : !tile.tile<4x6xf32, l2>
  tile.matmul output_stationary %a, %b into %c : !tile.tile<4x8xf32, l2>, !tile.tile<9x6xf32, l2> -> !tile.tile<4x6xf32, l2>
  func.return
}

// -----

// CHECK: tile.matmul: (4, 8) by (8, 6) does not give (6, 4)
func.func @matmul_outer() {
  %a = tile.alloc : !tile.tile<4x8xf32, l2>
  %b = tile.alloc : !tile.tile<8x6xf32, l2>
  %c = tile.alloc : !tile.tile<6x4xf32, l2>
  tile.matmul output_stationary %a, %b into %c : !tile.tile<4x8xf32, l2>, !tile.tile<8x6xf32, l2> -> !tile.tile<6x4xf32, l2>
  func.return
}

// -----

// CHECK: tile.matmul: batch extents differ: (2, 4, 8), (3, 8, 6), (3, 4, 6)
func.func @matmul_batch() {
  %a = tile.alloc : !tile.tile<2x4x8xf32, l2>
  %b = tile.alloc : !tile.tile<3x8x6xf32, l2>
  %c = tile.alloc : !tile.tile<3x4x6xf32, l2>
  tile.matmul output_stationary %a, %b into %c : !tile.tile<2x4x8xf32, l2>, !tile.tile<3x8x6xf32, l2> -> !tile.tile<3x4x6xf32, l2>
  func.return
}

// -----

// CHECK: tile.matmul: weights of (1, 4, 7, 3, 3) by a window of (1, 8, 16, 16) do not give (1, 4, 14, 14)
func.func @matmul_weights() {
  %a = tile.alloc : !tile.tile<1x4x7x3x3xf32, l2>
  %b = tile.alloc : !tile.tile<1x8x16x16xf32, l2>
  %c = tile.alloc : !tile.tile<1x4x14x14xf32, l2>
  tile.matmul output_stationary %a, %b window <3x3 by 1x1 apart 1x1> into %c : !tile.tile<1x4x7x3x3xf32, l2>, !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x4x14x14xf32, l2>
  func.return
}

// -----

// CHECK: tile.matmul: a window takes and gives 1 x c x h x w, got (2, 8, 16, 16) and (1, 4, 14, 14)
func.func @matmul_image() {
  %a = tile.alloc : !tile.tile<1x4x8x3x3xf32, l2>
  %b = tile.alloc : !tile.tile<2x8x16x16xf32, l2>
  %c = tile.alloc : !tile.tile<1x4x14x14xf32, l2>
  tile.matmul output_stationary %a, %b window <3x3 by 1x1 apart 1x1> into %c : !tile.tile<1x4x8x3x3xf32, l2>, !tile.tile<2x8x16x16xf32, l2> -> !tile.tile<1x4x14x14xf32, l2>
  func.return
}

// -----

// CHECK: tile.matmul: the window has (14, 14) positions in (1, 8, 16, 16), not (1, 4, 16, 16)
func.func @matmul_positions() {
  %a = tile.alloc : !tile.tile<1x4x8x3x3xf32, l2>
  %b = tile.alloc : !tile.tile<1x8x16x16xf32, l2>
  %c = tile.alloc : !tile.tile<1x4x16x16xf32, l2>
  tile.matmul output_stationary %a, %b window <3x3 by 1x1 apart 1x1> into %c : !tile.tile<1x4x8x3x3xf32, l2>, !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x4x16x16xf32, l2>
  func.return
}

// -----

// CHECK: tile.matmul: operands of an epilogue that is not there
func.func @epilogue_absent() {
  %a = tile.alloc : !tile.tile<4x8xf32, l2>
  %b = tile.alloc : !tile.tile<8x6xf32, l2>
  %c = tile.alloc : !tile.tile<4x6xf32, l2>
  %x = tile.alloc : !tile.tile<1x6xf32, l2>
  tile.matmul output_stationary %a, %b into %c : !tile.tile<4x8xf32, l2>, !tile.tile<8x6xf32, l2> -> !tile.tile<4x6xf32, l2> with %x : !tile.tile<1x6xf32, l2>
  func.return
}

// -----

// CHECK: tile.matmul: !tile.tile<2x6xf32, l2> does not broadcast to !tile.tile<4x6xf32, l2>
func.func @epilogue_broadcast() {
  %a = tile.alloc : !tile.tile<4x8xf32, l2>
  %b = tile.alloc : !tile.tile<8x6xf32, l2>
  %c = tile.alloc : !tile.tile<4x6xf32, l2>
  %x = tile.alloc : !tile.tile<2x6xf32, l2>
  tile.matmul output_stationary %a, %b into %c : !tile.tile<4x8xf32, l2>, !tile.tile<8x6xf32, l2> -> !tile.tile<4x6xf32, l2> with %x : !tile.tile<2x6xf32, l2> epilogue {
  ^bb0(%p: f32, %q: f32):
    tile.yield %p : f32
  }
  func.return
}

// -----

// CHECK: tile.matmul: operands and result stand in l2, got !tile.tile<1x6xf32, l3>
func.func @epilogue_level() {
  %a = tile.alloc : !tile.tile<4x8xf32, l2>
  %b = tile.alloc : !tile.tile<8x6xf32, l2>
  %c = tile.alloc : !tile.tile<4x6xf32, l2>
  %x = tile.alloc : !tile.tile<1x6xf32, l3>
  tile.matmul output_stationary %a, %b into %c : !tile.tile<4x8xf32, l2>, !tile.tile<8x6xf32, l2> -> !tile.tile<4x6xf32, l2> with %x : !tile.tile<1x6xf32, l3> epilogue {
  ^bb0(%p: f32, %q: f32):
    tile.yield %p : f32
  }
  func.return
}

// -----

// CHECK: tile.matmul: the body takes one scalar an operand: expected (f32, f32), got (f32)
func.func @epilogue_arguments() {
  %a = tile.alloc : !tile.tile<4x8xf32, l2>
  %b = tile.alloc : !tile.tile<8x6xf32, l2>
  %c = tile.alloc : !tile.tile<4x6xf32, l2>
  %x = tile.alloc : !tile.tile<1x6xf32, l2>
  tile.matmul output_stationary %a, %b into %c : !tile.tile<4x8xf32, l2>, !tile.tile<8x6xf32, l2> -> !tile.tile<4x6xf32, l2> with %x : !tile.tile<1x6xf32, l2> epilogue {
  ^bb0(%p: f32):
    tile.yield %p : f32
  }
  func.return
}

// -----

// CHECK: tile.matmul: the body must end by yielding one f32
func.func @epilogue_yield() {
  %a = tile.alloc : !tile.tile<4x8xf32, l2>
  %b = tile.alloc : !tile.tile<8x6xf32, l2>
  %c = tile.alloc : !tile.tile<4x6xf32, l2>
  tile.matmul output_stationary %a, %b into %c : !tile.tile<4x8xf32, l2>, !tile.tile<8x6xf32, l2> -> !tile.tile<4x6xf32, l2> epilogue {
  ^bb0(%p: f32):
    %h = arith.truncf %p : f32 to f16
    tile.yield %h : f16
  }
  func.return
}

// -----

// CHECK: tile.map: operands and result stand in l2, got !tile.tile<4x6xf32, l3>
func.func @map_level() {
  %x = tile.alloc : !tile.tile<4x6xf32, l3>
  %c = tile.alloc : !tile.tile<4x6xf32, l2>
  tile.map %x into %c : !tile.tile<4x6xf32, l3> -> !tile.tile<4x6xf32, l2> {
  ^bb0(%p: f32):
    tile.yield %p : f32
  }
  func.return
}

// -----

// CHECK: tile.map: !tile.tile<6xf32, l2> does not broadcast to !tile.tile<4x6xf32, l2>
func.func @map_broadcast() {
  %x = tile.alloc : !tile.tile<6xf32, l2>
  %c = tile.alloc : !tile.tile<4x6xf32, l2>
  tile.map %x into %c : !tile.tile<6xf32, l2> -> !tile.tile<4x6xf32, l2> {
  ^bb0(%p: f32):
    tile.yield %p : f32
  }
  func.return
}

// -----

// CHECK: tile.map: the body takes one scalar an operand: expected (i8), got (f32)
func.func @map_arguments() {
  %x = tile.alloc : !tile.tile<4x6xui8, l2>
  %c = tile.alloc : !tile.tile<4x6xf32, l2>
  tile.map %x into %c : !tile.tile<4x6xui8, l2> -> !tile.tile<4x6xf32, l2> {
  ^bb0(%p: f32):
    tile.yield %p : f32
  }
  func.return
}

// -----

// CHECK: tile.map: the body must end by yielding one f32
func.func @map_yield() {
  %x = tile.alloc : !tile.tile<4x6xf32, l2>
  %c = tile.alloc : !tile.tile<4x6xf32, l2>
  tile.map %x into %c : !tile.tile<4x6xf32, l2> -> !tile.tile<4x6xf32, l2> {
  ^bb0(%p: f32):
    tile.yield %p, %p : f32, f32
  }
  func.return
}

// -----

// CHECK: tile.reduce: operand and result stand in l2
func.func @reduce_level() {
  %x = tile.alloc : !tile.tile<4x6xf32, l2>
  %c = tile.alloc : !tile.tile<4x1xf32, l3>
  tile.reduce add %x into %c axes [1] : !tile.tile<4x6xf32, l2> -> !tile.tile<4x1xf32, l3>
  func.return
}

// -----

// CHECK: tile.reduce: f32 is combined in f32, got f16
func.func @reduce_type() {
  %x = tile.alloc : !tile.tile<4x6xf32, l2>
  %c = tile.alloc : !tile.tile<4x1xf16, l2>
  tile.reduce add %x into %c axes [1] : !tile.tile<4x6xf32, l2> -> !tile.tile<4x1xf16, l2>
  func.return
}

// -----

// CHECK: tile.reduce: expected a result of (4, 1), got (4, 6) along [1]
func.func @reduce_shape() {
  %x = tile.alloc : !tile.tile<4x6xf32, l2>
  %c = tile.alloc : !tile.tile<4x6xf32, l2>
  tile.reduce add %x into %c axes [1] : !tile.tile<4x6xf32, l2> -> !tile.tile<4x6xf32, l2>
  func.return
}

// -----

// CHECK: tile.reduce: expected a result of (4, 6), got (4, 6) along [2]
func.func @reduce_axis() {
  %x = tile.alloc : !tile.tile<4x6xf32, l2>
  %c = tile.alloc : !tile.tile<4x6xf32, l2>
  tile.reduce add %x into %c axes [2] : !tile.tile<4x6xf32, l2> -> !tile.tile<4x6xf32, l2>
  func.return
}

// -----

// CHECK: tile.reduce: expected a result of (4, 6), got (4, 6) along []
func.func @reduce_none() {
  %x = tile.alloc : !tile.tile<4x6xf32, l2>
  %c = tile.alloc : !tile.tile<4x6xf32, l2>
  tile.reduce add %x into %c axes [] : !tile.tile<4x6xf32, l2> -> !tile.tile<4x6xf32, l2>
  func.return
}

// -----

// CHECK: tile.window: operands and result stand in l2
func.func @window_level() {
  %x = tile.alloc : !tile.tile<1x8x16x16xf32, l3>
  %c = tile.alloc : !tile.tile<1x8x14x14xf32, l2>
  tile.window max <3x3 by 1x1 apart 1x1> %x into %c : !tile.tile<1x8x16x16xf32, l3> -> !tile.tile<1x8x14x14xf32, l2>
  func.return
}

// -----

// CHECK: tile.window: a window takes and gives 1 x c x h x w, got (16, 16) and (14, 14)
func.func @window_rank() {
  %x = tile.alloc : !tile.tile<16x16xf32, l2>
  %c = tile.alloc : !tile.tile<14x14xf32, l2>
  tile.window max <3x3 by 1x1 apart 1x1> %x into %c : !tile.tile<16x16xf32, l2> -> !tile.tile<14x14xf32, l2>
  func.return
}

// -----

// CHECK: tile.window: the window has (14, 14) positions in (1, 8, 16, 16), not (1, 8, 16, 14)
func.func @window_positions() {
  %x = tile.alloc : !tile.tile<1x8x16x16xf32, l2>
  %c = tile.alloc : !tile.tile<1x8x16x14xf32, l2>
  tile.window max <3x3 by 1x1 apart 1x1> %x into %c : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x8x16x14xf32, l2>
  func.return
}

// -----

// CHECK: tile.window: !tile.tile<1x8x16x16xf32, l2> and !tile.tile<1x4x14x14xf32, l2> have different channels
func.func @window_channels() {
  %x = tile.alloc : !tile.tile<1x8x16x16xf32, l2>
  %c = tile.alloc : !tile.tile<1x4x14x14xf32, l2>
  tile.window max <3x3 by 1x1 apart 1x1> %x into %c : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x4x14x14xf32, l2>
  func.return
}

// -----

// CHECK: tile.window: weights of (1, 4, 3, 3) do not fit !tile.tile<1x8x16x16xf32, l2> and the window
func.func @window_weights() {
  %x = tile.alloc : !tile.tile<1x8x16x16xf32, l2>
  %c = tile.alloc : !tile.tile<1x8x14x14xf32, l2>
  %w = tile.alloc : !tile.tile<1x4x3x3xf32, l2>
  tile.window add <3x3 by 1x1 apart 1x1> %x weights %w : !tile.tile<1x4x3x3xf32, l2> into %c : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x8x14x14xf32, l2>
  func.return
}

// -----

// CHECK: tile.window: weighted windows are added, not max
func.func @window_weighted_max() {
  %x = tile.alloc : !tile.tile<1x8x16x16xf32, l2>
  %c = tile.alloc : !tile.tile<1x8x14x14xf32, l2>
  %w = tile.alloc : !tile.tile<1x8x3x3xf32, l2>
  tile.window max <3x3 by 1x1 apart 1x1> %x weights %w : !tile.tile<1x8x3x3xf32, l2> into %c : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x8x14x14xf32, l2>
  func.return
}

// -----

// CHECK: tile.window: the body takes one scalar an operand: expected (f32), got (f16)
func.func @window_epilogue() {
  %x = tile.alloc : !tile.tile<1x8x16x16xf32, l2>
  %c = tile.alloc : !tile.tile<1x8x14x14xf32, l2>
  tile.window max <3x3 by 1x1 apart 1x1> %x into %c : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x8x14x14xf32, l2> epilogue {
  ^bb0(%p: f16):
    tile.yield %p : f16
  }
  func.return
}

// -----

// CHECK: a window has two positive extents, strides and dilations
func.func @window_attribute() {
  %x = tile.alloc : !tile.tile<1x8x16x16xf32, l2>
  %c = tile.alloc : !tile.tile<1x8x14x14xf32, l2>
  tile.window max <0x3 by 1x1 apart 1x1> %x into %c : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x8x14x14xf32, l2>
  func.return
}

// -----

// CHECK: tile.store needs one offset for each dimension: 1 offsets, a tensor of rank 2, a tile of rank 2
func.func @store_offsets(%y: memref<128x96xf32>) {
  %c = tile.alloc : !tile.tile<32x48xf32, l2>
  tile.store %c, %y[0] : !tile.tile<32x48xf32, l2> -> memref<128x96xf32>
  func.return
}

// -----

// CHECK: tile.store does not convert: expected f16, got f32
func.func @store_converts(%y: memref<128x96xf16>) {
  %c = tile.alloc : !tile.tile<32x48xf32, l2>
  tile.store %c, %y[0, 0] : !tile.tile<32x48xf32, l2> -> memref<128x96xf16>
  func.return
}

// -----

// CHECK: tile.store: the tile has 48 elements in dimension 1, the tensor only 40
func.func @store_larger(%y: memref<128x40xf32>) {
  %c = tile.alloc : !tile.tile<32x48xf32, l2>
  tile.store %c, %y[0, 0] : !tile.tile<32x48xf32, l2> -> memref<128x40xf32>
  func.return
}

// -----

// CHECK: tile.load: sums that are loaded again stand in l3, and are not reused
func.func @load_after(%a: memref<64x48xf32>) {
  tile.for %k = 0 to 64 step 32 {
    %p = tile.load %a[%k, 0] after(%k) : memref<64x48xf32> -> !tile.tile<32x48xf32, l2>
  }
  func.return
}

// -----

// CHECK: tile.store puts a whole tile from l2 to !tile.tile<32x48xf32, l3>, got !tile.tile<64x48xf32, l3>
func.func @store_part() {
  %s = tile.alloc : !tile.tile<64x48xf32, l3>
  %p = tile.alloc : !tile.tile<32x48xf32, l2>
  tile.store %p, %s[0, 0] : !tile.tile<32x48xf32, l2> -> !tile.tile<64x48xf32, l3>
  func.return
}

// -----

// CHECK: tile.store to a tile goes from l2 to what was allocated in l3
func.func @store_to_loaded(%a: memref<32x48xf32>) {
  %s = tile.load %a[0, 0] : memref<32x48xf32> -> !tile.tile<32x48xf32, l3>
  %p = tile.alloc : !tile.tile<32x48xf32, l2>
  tile.store %p, %s[0, 0] : !tile.tile<32x48xf32, l2> -> !tile.tile<32x48xf32, l3>
  func.return
}

// -----

// CHECK: tile.store permutes only what comes from l2
func.func @store_permuted_l3(%y: memref<48x32xf32>) {
  %s = tile.alloc : !tile.tile<32x48xf32, l3>
  tile.store %s, %y[0, 0] permuted [1, 0] : !tile.tile<32x48xf32, l3> -> memref<48x32xf32>
  func.return
}

// -----

// CHECK: tile.store: [1, 1] does not permute !tile.tile<32x48xf32, l2>
func.func @store_no_permutation(%y: memref<48x32xf32>) {
  %s = tile.alloc : !tile.tile<32x48xf32, l2>
  tile.store %s, %y[0, 0] permuted [1, 1] : !tile.tile<32x48xf32, l2> -> memref<48x32xf32>
  func.return
}

// -----

// CHECK: tile.store: a block mover steps through 5 dimensions; (2, 2, 2, 3, 3, 3) in the order [5, 3, 1, 4, 2, 0] needs 6
func.func @store_six(%y: memref<3x3x2x3x2x2xf32>) {
  %s = tile.alloc : !tile.tile<2x2x2x3x3x3xf32, l2>
  tile.store %s, %y[0, 0, 0, 0, 0, 0] permuted [5, 3, 1, 4, 2, 0] : !tile.tile<2x2x2x3x3x3xf32, l2> -> memref<3x3x2x3x2x2xf32>
  func.return
}

// -----

// CHECK: tile.constant of tensor<2xf32> needs memory like it, got memref<3xf32>
func.func @constant_shape() {
  %w = tile.constant dense<[1.0, 2.0]> : tensor<2xf32> : memref<3xf32>
  func.return
}

// -----

// CHECK: tile.constant of tensor<2xf32> needs memory like it, got memref<2xi32>
func.func @constant_type() {
  %w = tile.constant dense_resource<elided> : tensor<2xf32> : memref<2xi32>
  func.return
}

// -----

// CHECK: tile.load from a tensor in l3 goes to l2, and does not permute
func.func @load_near(%h: memref<32x48xf32, "l3">) {
  %a = tile.load %h[0, 0] : memref<32x48xf32, "l3"> -> !tile.tile<32x48xf32, l3>
  func.return
}

// -----

// CHECK: tile.store to a tensor in l3 comes from l2, and does not permute
func.func @store_near(%h: memref<48x32xf32, "l3">) {
  %a = tile.alloc : !tile.tile<32x48xf32, l2>
  tile.store %a, %h[0, 0] permuted [1, 0] : !tile.tile<32x48xf32, l2> -> memref<48x32xf32, "l3">
  func.return
}

// -----

// CHECK: tile.view stays in memory "l3", got none
func.func @view_outside(%h: memref<32x48xf32, "l3">) {
  %v = tile.view %h : memref<32x48xf32, "l3"> to memref<48x32xf32>
  func.return
}

// -----

// CHECK: tile.row: operands and result stand in l2
func.func @row_level() {
  %x = tile.alloc : !tile.tile<8x512xf32, l2>
  %y = tile.alloc : !tile.tile<8x512xf32, l2>
  %i = tile.alloc : !tile.tile<8x5xi64, l2>
  %v = tile.alloc : !tile.tile<8x5xf32, l2>
  %z = tile.alloc : !tile.tile<8x512xf32, l3>
  tile.row add %x into %z axis 1 : !tile.tile<8x512xf32, l2> -> !tile.tile<8x512xf32, l3>
  func.return
}

// -----

// CHECK: tile.row: there is no dimension 2 in (8, 512)
func.func @row_axis() {
  %x = tile.alloc : !tile.tile<8x512xf32, l2>
  %y = tile.alloc : !tile.tile<8x512xf32, l2>
  %i = tile.alloc : !tile.tile<8x5xi64, l2>
  %v = tile.alloc : !tile.tile<8x5xf32, l2>
  %z = tile.alloc : !tile.tile<8x512xf32, l3>
  tile.row add %x into %y axis 2 : !tile.tile<8x512xf32, l2> -> !tile.tile<8x512xf32, l2>
  func.return
}

// -----

// CHECK: tile.row: numbers are given to take, and to nothing else
func.func @row_numbers() {
  %x = tile.alloc : !tile.tile<8x512xf32, l2>
  %y = tile.alloc : !tile.tile<8x512xf32, l2>
  %i = tile.alloc : !tile.tile<8x5xi64, l2>
  %v = tile.alloc : !tile.tile<8x5xf32, l2>
  %z = tile.alloc : !tile.tile<8x512xf32, l3>
  tile.row take %x into %v axis 1 : !tile.tile<8x512xf32, l2> -> !tile.tile<8x5xf32, l2>
  func.return
}

// -----

// CHECK: tile.row: expected a result of i64, got f32
func.func @row_type() {
  %x = tile.alloc : !tile.tile<8x512xf32, l2>
  %y = tile.alloc : !tile.tile<8x512xf32, l2>
  %i = tile.alloc : !tile.tile<8x5xi64, l2>
  %v = tile.alloc : !tile.tile<8x5xf32, l2>
  %z = tile.alloc : !tile.tile<8x512xf32, l3>
  tile.row top %x into %v axis 1 : !tile.tile<8x512xf32, l2> -> !tile.tile<8x5xf32, l2>
  func.return
}

// -----

// CHECK: tile.row: add of (8, 512) along 1 does not give (8, 5)
func.func @row_shape() {
  %x = tile.alloc : !tile.tile<8x512xf32, l2>
  %y = tile.alloc : !tile.tile<8x512xf32, l2>
  %i = tile.alloc : !tile.tile<8x5xi64, l2>
  %v = tile.alloc : !tile.tile<8x5xf32, l2>
  %z = tile.alloc : !tile.tile<8x512xf32, l3>
  tile.row add %x into %v axis 1 : !tile.tile<8x512xf32, l2> -> !tile.tile<8x5xf32, l2>
  func.return
}

// -----

// CHECK: tile.row: only a scan is exclusive
func.func @row_exclusive() {
  %x = tile.alloc : !tile.tile<8x512xf32, l2>
  %y = tile.alloc : !tile.tile<8x512xf32, l2>
  %i = tile.alloc : !tile.tile<8x5xi64, l2>
  %v = tile.alloc : !tile.tile<8x5xf32, l2>
  %z = tile.alloc : !tile.tile<8x512xf32, l3>
  tile.row top %x into %i axis 1 exclusive : !tile.tile<8x512xf32, l2> -> !tile.tile<8x5xi64, l2>
  func.return
}

// -----

// CHECK: tile.row: expected numbers of i64 in the shape (8, 5), got
func.func @row_taken() {
  %x = tile.alloc : !tile.tile<8x512xf32, l2>
  %y = tile.alloc : !tile.tile<8x512xf32, l2>
  %i = tile.alloc : !tile.tile<8x5xi64, l2>
  %v = tile.alloc : !tile.tile<8x5xf32, l2>
  %z = tile.alloc : !tile.tile<8x512xf32, l3>
  tile.row take %x by %y : !tile.tile<8x512xf32, l2> into %v axis 1 : !tile.tile<8x512xf32, l2> -> !tile.tile<8x5xf32, l2>
  func.return
}

// -----

// CHECK: tile.row: elements are not taken backward
func.func @row_backward() {
  %x = tile.alloc : !tile.tile<8x512xf32, l2>
  %y = tile.alloc : !tile.tile<8x512xf32, l2>
  %i = tile.alloc : !tile.tile<8x5xi64, l2>
  %v = tile.alloc : !tile.tile<8x5xf32, l2>
  %z = tile.alloc : !tile.tile<8x512xf32, l3>
  tile.row take %x by %i : !tile.tile<8x5xi64, l2> into %v axis 1 backward : !tile.tile<8x512xf32, l2> -> !tile.tile<8x5xf32, l2>
  func.return
}

// -----

// CHECK: tile.matmul: partial sums of f16 stand in f32 (`sums`)
func.func @short_sums() {
  %a = tile.alloc : !tile.tile<4x8xf16, l2>
  %b = tile.alloc : !tile.tile<8x6xf16, l2>
  %c = tile.alloc : !tile.tile<4x6xf16, l2>
  tile.for %k = 0 to 16 step 8 {
    tile.matmul output_stationary %a, %b into %c over(%k)
      : !tile.tile<4x8xf16, l2>, !tile.tile<8x6xf16, l2> -> !tile.tile<4x6xf16, l2>
  }
  func.return
}

// -----

// CHECK: tile.matmul: sums have the result's shape, in l2, got !tile.tile<4x8xf32, l2>
func.func @sums_shape() {
  %a = tile.alloc : !tile.tile<4x8xf16, l2>
  %b = tile.alloc : !tile.tile<8x6xf16, l2>
  %c = tile.alloc : !tile.tile<4x6xf16, l2>
  %s = tile.alloc : !tile.tile<4x8xf32, l2>
  tile.matmul output_stationary %a, %b into %c sums %s : !tile.tile<4x8xf32, l2>
    : !tile.tile<4x8xf16, l2>, !tile.tile<8x6xf16, l2> -> !tile.tile<4x6xf16, l2>
  func.return
}

// -----

// CHECK: tile.matmul: f16 does not add up to i32
func.func @sums_kind() {
  %a = tile.alloc : !tile.tile<4x8xf16, l2>
  %b = tile.alloc : !tile.tile<8x6xf16, l2>
  %c = tile.alloc : !tile.tile<4x6xf16, l2>
  %s = tile.alloc : !tile.tile<4x6xi32, l2>
  tile.matmul output_stationary %a, %b into %c sums %s : !tile.tile<4x6xi32, l2>
    : !tile.tile<4x8xf16, l2>, !tile.tile<8x6xf16, l2> -> !tile.tile<4x6xf16, l2>
  func.return
}

// -----

// CHECK: tile.matmul: the body takes one scalar an operand: expected (f32), got (f16)
func.func @epilogue_of_sums() {
  %a = tile.alloc : !tile.tile<4x8xf16, l2>
  %b = tile.alloc : !tile.tile<8x6xf16, l2>
  %c = tile.alloc : !tile.tile<4x6xf16, l2>
  tile.matmul output_stationary %a, %b into %c
    : !tile.tile<4x8xf16, l2>, !tile.tile<8x6xf16, l2> -> !tile.tile<4x6xf16, l2> epilogue {
  ^bb0(%acc: f16):
    tile.yield %acc : f16
  }
  func.return
}

// -----

// What is added up after it is finished needs something that finishes it.
// CHECK: tile.matmul: `each` has an epilogue and loops that it is added up over, and no sums or window of its own
func.func @each_without_an_epilogue(%k: index) {
  %a = tile.alloc : !tile.tile<4x8xi8, l2>
  %b = tile.alloc : !tile.tile<8x6xi8, l2>
  %c = tile.alloc : !tile.tile<4x6xi32, l2>
  tile.matmul output_stationary %a, %b into %c over(%k) each
    : !tile.tile<4x8xi8, l2>, !tile.tile<8x6xi8, l2> -> !tile.tile<4x6xi32, l2>
  func.return
}

// -----

// A block that keeps its shape would lose its permutation.
// CHECK: tile.load permutes on the way to l2: a block mover does it, from l3 to l2
func.func @permuted_load_to_l3(%x: memref<64x64xf32>) {
  %a = tile.load %x[0, 0] permuted [1, 0] : memref<64x64xf32> -> !tile.tile<32x32xf32, l3>
  func.return
}
