// RUN: kpu-opt %s -p kernel-outline --split-input-file | filecheck %s

// The example of the pass. Equal kernels share a function, another shape gets its own.
// CHECK-LABEL: @main
// CHECK-NEXT:    %c = func.call @matmul_0(%a, %b) : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:    %d = func.call @matmul_0(%c, %b) : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:    %e = func.call @matmul_1(%d, %w) : (tensor<4x8xf32>, tensor<8x2xf32>) -> tensor<4x2xf32>
// CHECK-NEXT:    func.return %e
// CHECK:       func.func private @matmul_0(%[[A:.*]]: tensor<4x8xf32>, %[[B:.*]]: tensor<8x8xf32>) -> tensor<4x8xf32> {
// CHECK-NEXT:    %[[C:.*]] = kernel.matmul %[[A]], %[[B]]
// CHECK-NEXT:    func.return %[[C]]
// CHECK:       func.func private @matmul_1
// CHECK-NOT:   func.func private
func.func @main(%a: tensor<4x8xf32>, %b: tensor<8x8xf32>, %w: tensor<8x2xf32>) -> tensor<4x2xf32> {
  %c = kernel.matmul %a, %b : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
  %d = kernel.matmul %c, %b : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
  %e = kernel.matmul %d, %w : (tensor<4x8xf32>, tensor<8x2xf32>) -> tensor<4x2xf32>
  func.return %e : tensor<4x2xf32>
}

// -----

// Data and views of it stay in @main.
// CHECK-LABEL: @main
// CHECK-NEXT:    %w = kernel.constant
// CHECK-NEXT:    %v = kernel.reshape %w
// CHECK-NEXT:    %y = func.call @matmul_0(%x, %v)
// CHECK-NEXT:    func.return %y
func.func @main(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %w = kernel.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %v = kernel.reshape %w : tensor<4xf32> -> tensor<2x2xf32>
  %y = kernel.matmul %x, %v : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  func.return %y : tensor<3x2xf32>
}

// -----

// A fused kernel becomes the body of its function, named after what it holds; a value that it reads twice is one
// argument.
// CHECK-LABEL: @main
// CHECK-NEXT:    %y = func.call @matmul_map_0(%a, %b) : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
// CHECK:       func.func private @matmul_map_0(%[[A:.*]]: tensor<8x8xf32>, %[[B:.*]]: tensor<8x8xf32>)
// CHECK-NEXT:    %[[C:.*]] = kernel.matmul %[[A]], %[[B]]
// CHECK-NEXT:    %[[D:.*]] = kernel.map %[[C]], %[[A]]
// CHECK:         func.return %[[D]]
func.func @main(%a: tensor<8x8xf32>, %b: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %y = kernel.fused : tensor<8x8xf32> {
    %c = kernel.matmul %a, %b : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
    %d = kernel.map %c, %a : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      kernel.yield %s : f32
    }
    kernel.yield %d : tensor<8x8xf32>
  }
  func.return %y : tensor<8x8xf32>
}

// -----

// Equal shapes with different properties are different kernels; names that are taken are left alone.
// CHECK-LABEL: @main
// CHECK-NEXT:    func.call @matmul_1(%a, %b)
// CHECK-NEXT:    func.call @matmul_2(%a, %b)
// CHECK:       func.func private @matmul_0()
// CHECK:       func.func private @matmul_1
// CHECK-NEXT:    kernel.matmul %{{.*}}, %{{.*}} : (tensor<8x8xf32>
// CHECK:       func.func private @matmul_2
// CHECK-NEXT:    kernel.matmul %{{.*}}, %{{.*}} {transpose_b} : (tensor<8x8xf32>
func.func @main(%a: tensor<8x8xf32>, %b: tensor<8x8xf32>) -> (tensor<8x8xf32>, tensor<8x8xf32>) {
  %c = kernel.matmul %a, %b : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  %d = kernel.matmul %a, %b {transpose_b} : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  func.return %c, %d : tensor<8x8xf32>, tensor<8x8xf32>
}
func.func private @matmul_0()
