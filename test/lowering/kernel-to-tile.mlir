// RUN: kpu-opt %s -p kernel-outline,kernel-to-tile --split-input-file | filecheck %s
// RUN: kpu-opt %s -p "kernel-outline,kernel-to-tile{tile=32,32,16 dataflow=ws order=nm rhs=l2}" --split-input-file | filecheck %s --check-prefix GIVEN

// A product: @main in destination-passing style, the kernel a nest. The schedule is on the function.
// CHECK-LABEL: func.func @main(%a: memref<128x64xf32>, %b: memref<64x96xf32>) -> memref<128x96xf32> {
// CHECK-NEXT:    %c = tile.buffer : memref<128x96xf32>
// CHECK-NEXT:    func.call @matmul_0(%a, %b, %c) : (memref<128x64xf32>, memref<64x96xf32>, memref<128x96xf32>) -> ()
// CHECK-NEXT:    func.return %c : memref<128x96xf32>
// CHECK:       func.func private @matmul_0(%[[A:.*]]: memref<128x64xf32>, %[[B:.*]]: memref<64x96xf32>, %[[C:.*]]: memref<128x96xf32>) attributes {kpu.schedule = {{{.*}}dataflow = "os"
// CHECK-NEXT:    tile.for %m = 0 to 128 step [[M:.*]] {
// CHECK:           tile.load %[[A]] [%m, {{.*}}] : memref<128x64xf32> -> !tile.tile<{{.*}}xf32, l2>
// CHECK:           tile.load %[[B]] [{{.*}}, {{.*}}] : memref<64x96xf32> -> !tile.tile<{{.*}}xf32, l2>
// CHECK-NEXT:      %acc = tile.alloc : !tile.tile<{{.*}}xf32, l2>
// CHECK-NEXT:      tile.matmul output_stationary %lhs, %rhs into %acc
// CHECK-NEXT:      tile.store %acc, %[[C]] [%m, {{.*}}] : {{.*}} -> memref<128x96xf32>

// The same with a schedule from the options: columns outside, partial sums over k, the right operand stays in L2.
// GIVEN-LABEL: func.func private @matmul_0
// GIVEN-SAME:    kpu.schedule = {tile = [32 : i64, 32 : i64, 16 : i64], dataflow = "ws", order = "nm", rhs = "l2"
// GIVEN-NEXT:    tile.for %n = 0 to 96 step 32 {
// GIVEN-NEXT:      tile.for %m = 0 to 128 step 32 {
// GIVEN-NEXT:        %acc = tile.alloc : !tile.tile<32x32xf32, l2>
// GIVEN-NEXT:        tile.for %k = 0 to 64 step 16 {
// GIVEN-NEXT:          %rhs = tile.load %{{.*}} [%k, %n] keep(%m) : memref<64x96xf32> -> !tile.tile<16x32xf32, l2>
// GIVEN-NEXT:          %lhs = tile.load %{{.*}} [%m, %k] : memref<128x64xf32> -> !tile.tile<32x16xf32, l2>
// GIVEN-NEXT:          tile.matmul weight_stationary %lhs, %rhs into %acc over(%k)
// GIVEN-NEXT:        }
// GIVEN-NEXT:        tile.store %acc, %{{.*}} [%m, %n]
func.func @main(%a: tensor<128x64xf32>, %b: tensor<64x96xf32>) -> tensor<128x96xf32> {
  %c = kernel.matmul %a, %b : (tensor<128x64xf32>, tensor<64x96xf32>) -> tensor<128x96xf32>
  func.return %c : tensor<128x96xf32>
}

// -----

// An epilogue runs on the drain: no map, no second pass over memory. The bias is seen as one row.
// CHECK-LABEL: func.func @main
// CHECK-NEXT:    %[[V:.*]] = tile.view %bias : memref<48xf32> to memref<1x48xf32>
// CHECK:         func.call @matmul_map_0(%a, %b, %[[V]], %y)
// CHECK-LABEL: func.func private @matmul_map_0
// CHECK:         tile.matmul output_stationary {{.*}} with %extra : !tile.tile<1x48xf32, l2> epilogue {
// CHECK-NEXT:    ^{{.*}}(%[[P:.*]]: f32, %[[Q:.*]]: f32):
// CHECK-NEXT:      %[[R:.*]] = arith.addf %[[P]], %[[Q]] : f32
// CHECK-NEXT:      tile.yield %[[R]] : f32
// CHECK-NOT:     tile.map
func.func @main(%a: tensor<32x16xf32>, %b: tensor<16x48xf32>, %bias: tensor<48xf32>) -> tensor<32x48xf32> {
  %y = kernel.fused : tensor<32x48xf32> {
    %c = kernel.matmul %a, %b : (tensor<32x16xf32>, tensor<16x48xf32>) -> tensor<32x48xf32>
    %d = kernel.map %c, %bias : (tensor<32x48xf32>, tensor<48xf32>) -> tensor<32x48xf32> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      kernel.yield %s : f32
    }
    kernel.yield %d : tensor<32x48xf32>
  }
  func.return %y : tensor<32x48xf32>
}

// -----

// A transposed operand is read transposed, by the block mover.
// CHECK-LABEL: func.func private @matmul_0
// CHECK:         %rhs = tile.load %{{.*}} [0, 0] permuted [1, 0] : memref<48x16xf32> -> !tile.tile<16x48xf32, l2>
func.func @main(%a: tensor<32x16xf32>, %b: tensor<48x16xf32>) -> tensor<32x48xf32> {
  %y = kernel.matmul %a, %b {transpose_b} : (tensor<32x16xf32>, tensor<48x16xf32>) -> tensor<32x48xf32>
  func.return %y : tensor<32x48xf32>
}

// -----

// A map: loads, one elementwise function on the vector engine, a store.
// CHECK-LABEL: func.func private @map_0
// CHECK:         tile.for %[[I:.*]] = 0 to 64 step
// CHECK:           tile.map %{{.*}}, %{{.*}} into %{{.*}} {
// CHECK-NEXT:      ^{{.*}}(%[[P:.*]]: f32, %[[Q:.*]]: f32):
// CHECK-NEXT:        %[[R:.*]] = arith.mulf %[[P]], %[[Q]] : f32
// CHECK-NEXT:        tile.yield %[[R]] : f32
// CHECK-NEXT:      }
// CHECK-NEXT:      tile.store %{{.*}}, %{{.*}} [%[[I]], 0]
func.func @main(%x: tensor<64x96xf32>, %s: tensor<64x1xf32>) -> tensor<64x96xf32> {
  %y = kernel.map %x, %s : (tensor<64x96xf32>, tensor<64x1xf32>) -> tensor<64x96xf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.mulf %p, %q : f32
    kernel.yield %r : f32
  }
  func.return %y : tensor<64x96xf32>
}

// -----

// A transpose is movement only.
// CHECK-LABEL: func.func private @transpose_0
// CHECK:         tile.load %{{.*}} permuted [1, 0]
// CHECK-NOT:     tile.map
// CHECK:         tile.store
func.func @main(%x: tensor<64x96xf32>) -> tensor<96x64xf32> {
  %y = kernel.transpose %x permutation [1, 0] : tensor<64x96xf32> -> tensor<96x64xf32>
  func.return %y : tensor<96x64xf32>
}

// -----

// Weights become constants in external memory, reshapes views of the same bytes.
// CHECK-LABEL: func.func @main
// CHECK-NEXT:    %w = tile.constant dense<{{.*}}> : tensor<4xf32> : memref<4xf32>
// CHECK-NEXT:    %[[V:.*]] = tile.view %w : memref<4xf32> to memref<2x2xf32>
// CHECK:         func.call @matmul_0(%x, %[[V]], %y)
func.func @main(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %w = kernel.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %v = kernel.reshape %w : tensor<4xf32> -> tensor<2x2xf32>
  %y = kernel.matmul %x, %v : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  func.return %y : tensor<3x2xf32>
}
