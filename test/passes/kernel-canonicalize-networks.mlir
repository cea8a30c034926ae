// RUN: kpu-opt %s -p kernel-canonicalize --split-input-file | filecheck %s

// Zeros around an image are the convolution's.
// CHECK-LABEL: @pad
// CHECK-NEXT:    kernel.conv %x, %w strides [1, 1] dilations [1, 1] low [2, 0] high [1, 3] {groups = 1 : i64} : (tensor<1x1x4x4xf32>, tensor<1x1x3x3xf32>) -> tensor<1x1x5x5xf32>
// CHECK-NEXT:    func.return
func.func @pad(%x: tensor<1x1x4x4xf32>, %w: tensor<1x1x3x3xf32>) -> tensor<1x1x5x5xf32> {
  %p = kernel.pad %x low [0, 0, 1, 0] high [0, 0, 1, 2] {value = 0.0 : f64} : tensor<1x1x4x4xf32> -> tensor<1x1x6x6xf32>
  %y = kernel.conv %p, %w strides [1, 1] dilations [1, 1] low [1, 0] high [0, 1] {groups = 1 : i64} : (tensor<1x1x6x6xf32>, tensor<1x1x3x3xf32>) -> tensor<1x1x5x5xf32>
  func.return %y : tensor<1x1x5x5xf32>
}

// -----

// Other numbers are not.
// CHECK-LABEL: @pad_one
// CHECK-NEXT:    kernel.pad
func.func @pad_one(%x: tensor<1x1x4x4xf32>, %w: tensor<1x1x3x3xf32>) -> tensor<1x1x4x4xf32> {
  %p = kernel.pad %x low [0, 0, 1, 1] high [0, 0, 1, 1] {value = 1.0 : f64} : tensor<1x1x4x4xf32> -> tensor<1x1x6x6xf32>
  %y = kernel.conv %p, %w strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0] {groups = 1 : i64} : (tensor<1x1x6x6xf32>, tensor<1x1x3x3xf32>) -> tensor<1x1x4x4xf32>
  func.return %y : tensor<1x1x4x4xf32>
}

// -----

// A bias, then a scale and a shift of each channel: the weights change, one map is left.
// (1 v + 4) 2 + 1 = 2 v + 9, (3 v + 5) 10 + 2 = 30 v + 52.
// CHECK-LABEL: @batch_norm
// CHECK-NEXT:    %w = kernel.constant dense<{{\[\[\[\[}}2.000000e+00]]], {{\[\[\[}}3.000000e+01]]]]> : tensor<2x1x1x1xf32>
// CHECK-NEXT:    %[[Y:.*]] = kernel.conv %x, %w
// CHECK-NEXT:    %[[B:.*]] = kernel.constant dense<{{\[\[\[\[}}9.000000e+00]], {{\[\[}}5.200000e+01]]]]> : tensor<1x2x1x1xf32>
// CHECK-NEXT:    kernel.map %[[Y]], %[[B]]
// CHECK:           arith.addf
// CHECK-NEXT:      kernel.yield
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return
func.func @batch_norm(%x: tensor<1x1x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %w = kernel.constant dense<[[[[1.0]]], [[[3.0]]]]> : tensor<2x1x1x1xf32>
  %b = kernel.constant dense<[[[[4.0]], [[5.0]]]]> : tensor<1x2x1x1xf32>
  %f = kernel.constant dense<[[[2.0]], [[10.0]]]> : tensor<2x1x1xf32>
  %s = kernel.constant dense<[[[1.0]], [[2.0]]]> : tensor<2x1x1xf32>
  %y = kernel.conv %x, %w strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0] {groups = 1 : i64} : (tensor<1x1x4x4xf32>, tensor<2x1x1x1xf32>) -> tensor<1x2x4x4xf32>
  %z = kernel.map %y, %b : (tensor<1x2x4x4xf32>, tensor<1x2x1x1xf32>) -> tensor<1x2x4x4xf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.addf %p, %q : f32
    kernel.yield %r : f32
  }
  %n = kernel.map %z, %f, %s : (tensor<1x2x4x4xf32>, tensor<2x1x1xf32>, tensor<2x1x1xf32>) -> tensor<1x2x4x4xf32> {
  ^bb0(%p: f32, %q: f32, %t: f32):
    %r = arith.mulf %p, %q : f32
    %u = arith.addf %r, %t : f32
    kernel.yield %u : f32
  }
  func.return %n : tensor<1x2x4x4xf32>
}

// -----

// What is not the same for a whole channel stays.
// CHECK-LABEL: @not_by_channel
// CHECK:         kernel.conv %x, %w
// CHECK:         kernel.map %{{.*}}, %f
func.func @not_by_channel(%x: tensor<1x1x2x2xf32>, %f: tensor<2x2xf32>) -> tensor<1x1x2x2xf32> {
  %w = kernel.constant dense<[[[[3.0]]]]> : tensor<1x1x1x1xf32>
  %y = kernel.conv %x, %w strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0] {groups = 1 : i64} : (tensor<1x1x2x2xf32>, tensor<1x1x1x1xf32>) -> tensor<1x1x2x2xf32>
  %n = kernel.map %y, %f : (tensor<1x1x2x2xf32>, tensor<2x2xf32>) -> tensor<1x1x2x2xf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.mulf %p, %q : f32
    kernel.yield %r : f32
  }
  func.return %n : tensor<1x1x2x2xf32>
}

// -----

// CHECK-LABEL: @nothing_moves
// CHECK-NEXT:    %[[R:.*]] = kernel.reshape %x : tensor<4x8xf32> -> tensor<1x4x8xf32>
// CHECK-NEXT:    func.return %x, %x, %[[R]], %x
func.func @nothing_moves(%x: tensor<4x8xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>, tensor<1x4x8xf32>, tensor<4x8xf32>) {
  %a = kernel.slice %x starts [0, 0] steps [1, 1] : tensor<4x8xf32> -> tensor<4x8xf32>
  %b = kernel.pad %x low [0, 0] high [0, 0] {value = 0.0 : f64} : tensor<4x8xf32> -> tensor<4x8xf32>
  %c = kernel.broadcast %x : tensor<4x8xf32> -> tensor<1x4x8xf32>
  %d = kernel.concat %x {axis = 0 : i64} : (tensor<4x8xf32>) -> tensor<4x8xf32>
  func.return %a, %b, %c, %d : tensor<4x8xf32>, tensor<4x8xf32>, tensor<1x4x8xf32>, tensor<4x8xf32>
}

// -----

// A slice that reverses all moves something.
// CHECK-LABEL: @reversed
// CHECK-NEXT:    kernel.slice
func.func @reversed(%x: tensor<4xf32>) -> tensor<4xf32> {
  %a = kernel.slice %x starts [3] steps [-1] : tensor<4xf32> -> tensor<4xf32>
  func.return %a : tensor<4xf32>
}

// -----

// Every third element: one of the three columns of another view.
// CHECK-LABEL: @strided
// CHECK-NEXT:    %[[V:.*]] = kernel.reshape %x : tensor<4x12xf32> -> tensor<4x4x3xf32>
// CHECK-NEXT:    %[[S:.*]] = kernel.slice %[[V]] starts [1, 1, 1] steps [1, 1, 1] : tensor<4x4x3xf32> -> tensor<2x3x1xf32>
// CHECK-NEXT:    kernel.reshape %[[S]] : tensor<2x3x1xf32> -> tensor<2x3xf32>
func.func @strided(%x: tensor<4x12xf32>) -> tensor<2x3xf32> {
  %a = kernel.slice %x starts [1, 4] steps [1, 3] : tensor<4x12xf32> -> tensor<2x3xf32>
  func.return %a : tensor<2x3xf32>
}

// -----

// A map broadcasts by itself.
// CHECK-LABEL: @broadcast
// CHECK-NEXT:    kernel.map %x, %b : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
func.func @broadcast(%x: tensor<4x8xf32>, %b: tensor<8xf32>) -> tensor<4x8xf32> {
  %c = kernel.broadcast %b : tensor<8xf32> -> tensor<4x8xf32>
  %y = kernel.map %x, %c : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x8xf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.addf %p, %q : f32
    kernel.yield %r : f32
  }
  func.return %y : tensor<4x8xf32>
}
