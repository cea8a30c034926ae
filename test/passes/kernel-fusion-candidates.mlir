// RUN: kpu-opt %s -p kernel-fusion-candidates --split-input-file | filecheck %s

// A product whose only use, after a map, is as the rows of another one.
// CHECK-LABEL: @chain
// CHECK:      kernel.fused {kernel.group = "back-to-back products"} : tensor<64x16xf32> {
// CHECK-NEXT:   kernel.matmul %x, %w
// CHECK-NEXT:   kernel.map
// CHECK:        kernel.matmul
// CHECK-NEXT:   kernel.yield
func.func @chain(%x: tensor<64x32xf32>, %w: tensor<32x128xf32>, %v: tensor<128x16xf32>) -> tensor<64x16xf32> {
  %h = kernel.matmul %x, %w : (tensor<64x32xf32>, tensor<32x128xf32>) -> tensor<64x128xf32>
  %g = kernel.map %h : (tensor<64x128xf32>) -> tensor<64x128xf32> {
  ^bb0(%p: f32):
    %s = math.tanh %p : f32
    kernel.yield %s : f32
  }
  %y = kernel.matmul %g, %v : (tensor<64x128xf32>, tensor<128x16xf32>) -> tensor<64x16xf32>
  func.return %y : tensor<64x16xf32>
}

// -----

// A value with another user is not swallowed.
// CHECK-LABEL: @two_users
// CHECK-NOT:  kernel.fused
func.func @two_users(%x: tensor<64x32xf32>, %w: tensor<32x128xf32>, %v: tensor<128x16xf32>) -> (tensor<64x16xf32>, tensor<64x128xf32>) {
  %h = kernel.matmul %x, %w : (tensor<64x32xf32>, tensor<32x128xf32>) -> tensor<64x128xf32>
  %y = kernel.matmul %h, %v : (tensor<64x128xf32>, tensor<128x16xf32>) -> tensor<64x16xf32>
  func.return %y, %h : tensor<64x16xf32>, tensor<64x128xf32>
}

// -----

// Scores, softmax, values, with the transpositions that put the heads outside.
// CHECK-LABEL: @attention
// CHECK:      kernel.fused {kernel.group = "attention"} : tensor<32x2x8xf32> {
// CHECK-NEXT:   kernel.transpose %q
// CHECK-NEXT:   kernel.transpose %v
// CHECK-NEXT:   kernel.matmul
// CHECK-NEXT:   kernel.softmax
// CHECK-NEXT:   kernel.matmul
// CHECK-NEXT:   kernel.transpose
// CHECK-NEXT:   kernel.yield
func.func @attention(%q: tensor<32x2x8xf32>, %k: tensor<2x32x8xf32>, %v: tensor<32x2x8xf32>) -> tensor<32x2x8xf32> {
  %a = kernel.transpose %q permutation [1, 0, 2] : tensor<32x2x8xf32> -> tensor<2x32x8xf32>
  %b = kernel.transpose %v permutation [1, 0, 2] : tensor<32x2x8xf32> -> tensor<2x32x8xf32>
  %s = kernel.matmul %a, %k {transpose_b} : (tensor<2x32x8xf32>, tensor<2x32x8xf32>) -> tensor<2x32x32xf32>
  %p = kernel.softmax %s {axis = 2 : i64} : tensor<2x32x32xf32> -> tensor<2x32x32xf32>
  %m = kernel.matmul %p, %b : (tensor<2x32x32xf32>, tensor<2x32x8xf32>) -> tensor<2x32x8xf32>
  %y = kernel.transpose %m permutation [1, 0, 2] : tensor<2x32x8xf32> -> tensor<32x2x8xf32>
  func.return %y : tensor<32x2x8xf32>
}
