// Every field of a schedule is an option of kernel-to-tile.
// RUN: kpu-opt %s -p "kernel-to-tile{tile=32,48,16 dataflow=ws order=nm lhs=l2 rhs=l3 depth=3 l3-depth=4 out-depth=5 defer=6 unroll-n=1}" | filecheck %s
// RUN: kpu-opt %s -p "kernel-to-tile{tile=32,48,16 unroll-n=2},tile-to-dma" | filecheck %s --check-prefix DMA
// RUN: not kpu-opt %s -p "kernel-to-tile{dataflow=xs}" 2>&1 | filecheck %s --check-prefix WORD
// RUN: not kpu-opt %s -p "kernel-to-tile{tile=0,1,1}" 2>&1 | filecheck %s --check-prefix ZERO

// What is decided stands in the loops and is recorded; what is open is the schedule of the tile level.
// CHECK: kpu.schedule = {depth = 3 : i64, l3_depth = 4 : i64, out_depth = 5 : i64, defer = 6 : i64}
// CHECK-SAME: kpu.scheduled = {tile = [32 : i64, 48 : i64, 16 : i64], dataflow = "ws", order = "nm", lhs = "l2", rhs = "l3"}
// CHECK: tile.for %n = 0 to 96 step 48
// CHECK:   tile.matmul weight_stationary

// DMA-NOT: kpu.schedule =
// DMA:     kpu.scheduled = {tile = [32 : i64, 48 : i64, 16 : i64]
// DMA-SAME: unroll_n = 2

// WORD: error: pass 'kernel-to-tile': {{.*}}expected os|ws|is
// ZERO: error: @product: kpu.schedule: tile and depth are positive
func.func private @product(%a: tensor<64x64xf32>, %b: tensor<64x96xf32>) -> tensor<64x96xf32> {
  %c = kernel.matmul %a, %b : (tensor<64x64xf32>, tensor<64x96xf32>) -> tensor<64x96xf32>
  func.return %c : tensor<64x96xf32>
}
