// RUN: kpu-opt %s -p kernel-inline --split-input-file | filecheck %s

// A layer with two results, one of which is an argument of it.
// CHECK-LABEL: func.func @main
// CHECK-NEXT:    %[[A:.*]] = kernel.matmul %x, %w
// CHECK-NEXT:    %[[B:.*]] = kernel.matmul %[[A]], %w
// CHECK-NEXT:    func.return %[[A]], %[[B]] : tensor<4x4xf32>, tensor<4x4xf32>
// CHECK-NOT:   kernel.layer
func.func @main(%x: tensor<4x4xf32>, %w: tensor<4x4xf32>) -> (tensor<4x4xf32>, tensor<4x4xf32>) {
  %a, %b = func.call @layer_0(%x, %w) : (tensor<4x4xf32>, tensor<4x4xf32>) -> (tensor<4x4xf32>, tensor<4x4xf32>)
  %c, %d = func.call @layer_0(%a, %b) : (tensor<4x4xf32>, tensor<4x4xf32>) -> (tensor<4x4xf32>, tensor<4x4xf32>)
  func.return %a, %c : tensor<4x4xf32>, tensor<4x4xf32>
}
func.func private @layer_0(%x: tensor<4x4xf32>, %w: tensor<4x4xf32>) -> (tensor<4x4xf32>, tensor<4x4xf32>) attributes {kernel.layer} {
  %y = kernel.matmul %x, %w : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  func.return %y, %w : tensor<4x4xf32>, tensor<4x4xf32>
}

// -----

// A function without the attribute is a kernel, and stays.
// CHECK-LABEL: func.func @main
// CHECK-NEXT:    func.call @matmul_0(%x)
func.func @main(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %a = func.call @matmul_0(%x) : (tensor<4x4xf32>) -> tensor<4x4xf32>
  func.return %a : tensor<4x4xf32>
}
func.func private @matmul_0(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %y = kernel.matmul %x, %x : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  func.return %y : tensor<4x4xf32>
}
