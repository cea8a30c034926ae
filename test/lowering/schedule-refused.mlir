// What is written as kpu.schedule is honoured or refused at every level.
// RUN: not kpu-opt %s --split-input-file -p kernel-to-tile 2>&1 | filecheck %s
// RUN: not kpu-opt %S/data/schedule-at-tile.mlir -p tile-to-dma 2>&1 | filecheck %s --check-prefix TILE
// RUN: not kpu-opt %S/data/schedule-at-dma.mlir 2>&1 | filecheck %s --check-prefix DMA

// CHECK:      error: @softmax: kpu.schedule: dataflow says nothing to a kernel of this kind (rows)
// CHECK-NEXT: hint: it has tile, passes, layout, depth, l3_depth, out_depth, defer
func.func private @softmax(%x: tensor<64x1000xf32>) -> tensor<64x1000xf32> attributes {kpu.schedule = {dataflow = "ws"}} {
  %y = kernel.map %x : (tensor<64x1000xf32>) -> tensor<64x1000xf32> {
  ^bb0(%p: f32):
    kernel.yield %p : f32
  }
  func.return %y : tensor<64x1000xf32>
}
// -----
// CHECK: error: @product: kpu.schedule: tile has 2 extents, this kernel's has 3
func.func private @product(%a: tensor<64x64xf32>, %b: tensor<64x96xf32>) -> tensor<64x96xf32> attributes {kpu.schedule = {tile = [32, 32]}} {
  %c = kernel.matmul %a, %b : (tensor<64x64xf32>, tensor<64x96xf32>) -> tensor<64x96xf32>
  func.return %c : tensor<64x96xf32>
}
// -----
// CHECK:      error: @main: kpu.schedule: @main has none
// CHECK-NEXT: hint: give it to a kernel's function
func.func @main(%a: tensor<64x64xf32>) -> tensor<64x64xf32> attributes {kpu.schedule = {depth = 3}} {
  func.return %a : tensor<64x64xf32>
}

// TILE:      error: @copy: kpu.schedule: tile can no longer be chosen: the loops are there
// TILE-NEXT: hint: change the loops; open are depth, l3_depth, out_depth, defer

// DMA: error: {{.*}}schedule-at-dma.mlir:2:3: {{.*}}kpu.schedule has nothing left to decide at the dma level
