// xDSL's own canonicalize folds kernel IR: the patterns are traits of the operations.
// RUN: xdsl-opt %s -p canonicalize | filecheck %s
// RUN: kpu-opt %s -p canonicalize | filecheck %s
// RUN: kpu-opt %s -p kernel-canonicalize | filecheck %s

// CHECK-LABEL: func.func @views
// CHECK-NEXT:    func.return %x
func.func @views(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %a = kernel.transpose %x permutation [1, 0] : tensor<3x2xf32> -> tensor<2x3xf32>
  %b = kernel.transpose %a permutation [1, 0] : tensor<2x3xf32> -> tensor<3x2xf32>
  func.return %b : tensor<3x2xf32>
}

// CHECK-LABEL: func.func @product
// CHECK-NEXT:    kernel.matmul %x, %w {transpose_b}
func.func @product(%x: tensor<4x8xf32>, %w: tensor<16x8xf32>) -> tensor<4x16xf32> {
  %t = kernel.transpose %w permutation [1, 0] : tensor<16x8xf32> -> tensor<8x16xf32>
  %c = kernel.matmul %x, %t : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf32>
  func.return %c : tensor<4x16xf32>
}

// CHECK-LABEL: func.func @constants
// CHECK-NEXT:    kernel.constant dense<{{\[\[}}1.000000e+00, 3.000000e+00], [2.000000e+00, 4.000000e+00]]>
// CHECK-NEXT:    func.return
func.func @constants() -> tensor<2x2xf32> {
  %w = kernel.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %t = kernel.transpose %w permutation [1, 0] : tensor<2x2xf32> -> tensor<2x2xf32>
  func.return %t : tensor<2x2xf32>
}
