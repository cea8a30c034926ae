// RUN: kpu-opt %s | kpu-opt | filecheck %s
// RUN: kpu-opt %s --print-op-generic | kpu-opt | filecheck %s

// The whole vocabulary, in one kernel: rings, transfers, a product, a map.
// CHECK-LABEL: func.func @kernel
func.func @kernel(%a: memref<128x64xf32>, %b: memref<96x64xf32>, %y: memref<128x96xf32>) {
  // CHECK-NEXT: dma.ring @a3, 2 x <32x64xf32, l3> at 0
  dma.ring @a3, 2 x <32x64xf32, l3> at 0
  dma.ring @b3, 2 x <48x64xf32, l3> at 16384
  dma.ring @c3, 2 x <16x48xf32, l3> at 65536
  dma.ring @a2, 2 x <16x64xf32, l2> at 0
  dma.ring @b2, 2 x <64x48xf32, l2> at 8192
  dma.ring @c2, 3 x <16x48xf32, l2> at 65536
  tile.for %i = 0 to 128 step 16 {
    // CHECK: %a3 = dma.fetch %a [%i, 0] into @a3 : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
    %a3 = dma.fetch %a[%i, 0] into @a3 : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
    // CHECK-NEXT: %a2 = dma.move %a3 [0, 0] into @a2 : !tile.tile<32x64xf32, l3> -> !tile.tile<16x64xf32, l2>
    %a2 = dma.move %a3[0, 0] into @a2 : !tile.tile<32x64xf32, l3> -> !tile.tile<16x64xf32, l2>
    tile.for %j = 0 to 96 step 48 {
      // CHECK: %b3 = dma.fetch %b [%j, 0] into @b3 keep(%i) on [0, 1] : memref<96x64xf32> -> !tile.tile<48x64xf32, l3>
      %b3 = dma.fetch %b[%j, 0] into @b3 keep(%i) on [0, 1] : memref<96x64xf32> -> !tile.tile<48x64xf32, l3>
      // CHECK-NEXT: %b2 = dma.move %b3 [0, 0] into @b2 keep(%i) permuted [1, 0] : !tile.tile<48x64xf32, l3> -> !tile.tile<64x48xf32, l2>
      %b2 = dma.move %b3[0, 0] into @b2 keep(%i) permuted [1, 0] : !tile.tile<48x64xf32, l3> -> !tile.tile<64x48xf32, l2>
      // CHECK-NEXT: %c = dma.acquire @c2 : !tile.tile<16x48xf32, l2>
      %c = dma.acquire @c2 : !tile.tile<16x48xf32, l2>
      // CHECK-NEXT: dma.matmul output_stationary %a2, %b2 into %c over(%j) : {{.*}} epilogue {
      dma.matmul output_stationary %a2, %b2 into %c over(%j)
        : !tile.tile<16x64xf32, l2>, !tile.tile<64x48xf32, l2> -> !tile.tile<16x48xf32, l2> epilogue {
      ^bb0(%acc: f32):
        %z = arith.constant 0.0 : f32
        %r = arith.maximumf %acc, %z : f32
        // CHECK: dma.yield %r : f32
        dma.yield %r : f32
      }
      %d = dma.acquire @c2 : !tile.tile<16x48xf32, l2>
      // CHECK: dma.map %c into %d : !tile.tile<16x48xf32, l2> -> !tile.tile<16x48xf32, l2> {
      dma.map %c into %d : !tile.tile<16x48xf32, l2> -> !tile.tile<16x48xf32, l2> {
      ^bb0(%p: f32):
        %s = arith.addf %p, %p : f32
        dma.yield %s : f32
      }
      // CHECK: %c3 = dma.move %d [0, 0] into @c3 on [3] late 1 : !tile.tile<16x48xf32, l2> -> !tile.tile<16x48xf32, l3>
      %c3 = dma.move %d[0, 0] into @c3 on [3] late 1 : !tile.tile<16x48xf32, l2> -> !tile.tile<16x48xf32, l3>
      // CHECK-NEXT: dma.write %c3, %y [%i, %j] late 2 : !tile.tile<16x48xf32, l3> -> memref<128x96xf32>
      dma.write %c3, %y[%i, %j] late 2 : !tile.tile<16x48xf32, l3> -> memref<128x96xf32>
    }
  }
  func.return
}
