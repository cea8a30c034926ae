// RUN: kpu-opt %s | kpu-opt | filecheck %s
// RUN: kpu-opt %s --print-op-generic | kpu-opt | filecheck %s

// Memory outside the chip: buffers, weights, views.
// CHECK-LABEL: func.func @external
func.func @external() {
  // CHECK: %y = tile.buffer : memref<128x768xf32>
  %y = tile.buffer : memref<128x768xf32>
  // CHECK: %z = tile.buffer at 4096 : i64 : memref<128x768xf32>
  %z = tile.buffer at 4096 : i64 : memref<128x768xf32>
  // CHECK: %w = tile.constant dense<{{.*}}> : tensor<2x2xf32> : memref<2x2xf32>
  %w = tile.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32> : memref<2x2xf32>
  // CHECK: %r = tile.view %y : memref<128x768xf32> to memref<1x128x768xf32>
  %r = tile.view %y : memref<128x768xf32> to memref<1x128x768xf32>
  func.return
}

// A product with an epilogue: the whole vocabulary of a kernel.
// CHECK-LABEL: func.func @kernel
func.func @kernel(%a: memref<128x64xf32>, %b: memref<100x64xf32>, %v: memref<1x100xf32>, %y: memref<128x100xf32>) {
  // CHECK: tile.for %i = 0 to 128 step 32 {
  tile.for %i = 0 to 128 step 32 {
    // CHECK-NEXT: %a3 = tile.load %a [%i, 0] : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
    %a3 = tile.load %a[%i, 0] : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
    // CHECK-NEXT: %a2 = tile.load %a3 [0, 0] : !tile.tile<32x64xf32, l3> -> !tile.tile<32x64xf32, l2>
    %a2 = tile.load %a3[0, 0] : !tile.tile<32x64xf32, l3> -> !tile.tile<32x64xf32, l2>
    // CHECK-NEXT: tile.for %j = 0 to 100 step 48 {
    tile.for %j = 0 to 100 step 48 {
      // CHECK-NEXT: %b2 = tile.load %b [%j, 0] keep(%i) permuted [1, 0] : memref<100x64xf32> -> !tile.tile<64x48xf32, l2>
      %b2 = tile.load %b[%j, 0] keep(%i) permuted [1, 0] : memref<100x64xf32> -> !tile.tile<64x48xf32, l2>
      // CHECK-NEXT: %c = tile.alloc : !tile.tile<32x48xf32, l2>
      %c = tile.alloc : !tile.tile<32x48xf32, l2>
      // CHECK-NEXT: tile.for %k = 0 to 2 step 1 {
      tile.for %k = 0 to 2 step 1 {
        // CHECK-NEXT: tile.matmul output_stationary %a2, %b2 into %c over(%k) : !tile.tile<32x64xf32, l2>, !tile.tile<64x48xf32, l2> -> !tile.tile<32x48xf32, l2>
        tile.matmul output_stationary %a2, %b2 into %c over(%k)
          : !tile.tile<32x64xf32, l2>, !tile.tile<64x48xf32, l2> -> !tile.tile<32x48xf32, l2>
      }
      %bias = tile.load %v[0, %j] : memref<1x100xf32> -> !tile.tile<1x48xf32, l2>
      %d = tile.alloc : !tile.tile<32x48xf32, l2>
      // CHECK: tile.matmul weight_stationary %a2, %b2 into %d : {{.*}} with %bias : !tile.tile<1x48xf32, l2> epilogue {
      tile.matmul weight_stationary %a2, %b2 into %d
        : !tile.tile<32x64xf32, l2>, !tile.tile<64x48xf32, l2> -> !tile.tile<32x48xf32, l2>
        with %bias : !tile.tile<1x48xf32, l2> epilogue {
      // CHECK-NEXT: ^{{.*}}(%acc: f32, %x: f32):
      ^bb0(%acc: f32, %x: f32):
        %s = arith.addf %acc, %x : f32
        // CHECK: tile.yield %{{.*}} : f32
        tile.yield %s : f32
      }
      %e = tile.alloc : !tile.tile<32x48xf32, l2>
      // CHECK: tile.map %d, %bias into %e : !tile.tile<32x48xf32, l2>, !tile.tile<1x48xf32, l2> -> !tile.tile<32x48xf32, l2> {
      tile.map %d, %bias into %e
        : !tile.tile<32x48xf32, l2>, !tile.tile<1x48xf32, l2> -> !tile.tile<32x48xf32, l2> {
      ^bb0(%p: f32, %q: f32):
        %s = arith.addf %p, %q : f32
        tile.yield %s : f32
      }
      // CHECK: tile.store %e, %y [%i, %j] : !tile.tile<32x48xf32, l2> -> memref<128x100xf32>
      tile.store %e, %y[%i, %j] : !tile.tile<32x48xf32, l2> -> memref<128x100xf32>
    }
  }
  func.return
}
