// RUN: kpu-opt %s -p kernel-layers | filecheck %s
// RUN: kpu-opt %s -p "kernel-layers,kernel-inline" | filecheck %s --check-prefix BACK

// The same four operations, four times, with weights in turn: a layer that is called four times.
// CHECK-LABEL: func.func @main
// CHECK-NEXT:    %y0 = func.call @layer_0(%x, %v) : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
// CHECK-NEXT:    %y1 = func.call @layer_0(%y0, %w)
// CHECK-NEXT:    %y2 = func.call @layer_0(%y1, %v)
// CHECK-NEXT:    %y3 = func.call @layer_0(%y2, %w)
// CHECK-NEXT:    %z = kernel.matmul %y3, %w
// CHECK-NEXT:    func.return %z
// CHECK:       func.func private @layer_0(%[[X:.*]]: tensor<4x8xf32>, %[[W:.*]]: tensor<8x8xf32>) -> tensor<4x8xf32> attributes {kernel.layer} {
// CHECK-NEXT:    %h0 = kernel.matmul %[[X]], %[[W]]
// CHECK-NEXT:    %t0 = kernel.transpose %h0
// CHECK-NEXT:    %u0 = kernel.transpose %t0
// CHECK-NEXT:    %y0 = kernel.softmax %u0
// CHECK-NEXT:    func.return %y0

// BACK-LABEL: func.func @main
// BACK-COUNT-4:  kernel.softmax
// BACK:          kernel.matmul %{{.*}}, %w
// BACK-NEXT:     func.return
// BACK-NOT:    kernel.layer
func.func @main(%x: tensor<4x8xf32>, %v: tensor<8x8xf32>, %w: tensor<8x8xf32>) -> tensor<4x8xf32> {
  %h0 = kernel.matmul %x, %v : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
  %t0 = kernel.transpose %h0 permutation [1, 0] : tensor<4x8xf32> -> tensor<8x4xf32>
  %u0 = kernel.transpose %t0 permutation [1, 0] : tensor<8x4xf32> -> tensor<4x8xf32>
  %y0 = kernel.softmax %u0 {axis = 1 : i64} : tensor<4x8xf32> -> tensor<4x8xf32>
  %h1 = kernel.matmul %y0, %w : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
  %t1 = kernel.transpose %h1 permutation [1, 0] : tensor<4x8xf32> -> tensor<8x4xf32>
  %u1 = kernel.transpose %t1 permutation [1, 0] : tensor<8x4xf32> -> tensor<4x8xf32>
  %y1 = kernel.softmax %u1 {axis = 1 : i64} : tensor<4x8xf32> -> tensor<4x8xf32>
  %h2 = kernel.matmul %y1, %v : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
  %t2 = kernel.transpose %h2 permutation [1, 0] : tensor<4x8xf32> -> tensor<8x4xf32>
  %u2 = kernel.transpose %t2 permutation [1, 0] : tensor<8x4xf32> -> tensor<4x8xf32>
  %y2 = kernel.softmax %u2 {axis = 1 : i64} : tensor<4x8xf32> -> tensor<4x8xf32>
  %h3 = kernel.matmul %y2, %w : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
  %t3 = kernel.transpose %h3 permutation [1, 0] : tensor<4x8xf32> -> tensor<8x4xf32>
  %u3 = kernel.transpose %t3 permutation [1, 0] : tensor<8x4xf32> -> tensor<4x8xf32>
  %y3 = kernel.softmax %u3 {axis = 1 : i64} : tensor<4x8xf32> -> tensor<4x8xf32>
  %z = kernel.matmul %y3, %w : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
  func.return %z : tensor<4x8xf32>
}
