// RUN: kpu-opt %s -p kernel-fold --split-input-file | filecheck %s

// The example of the pass.
// CHECK-LABEL: @example
// CHECK:         %[[T:.*]] = kernel.constant dense<{{\[\[}}1.000000e+00], [2.000000e+00], [3.000000e+00], [4.000000e+00]]> : tensor<4x1xf32>
// CHECK-NEXT:    %[[Y:.*]] = kernel.map %x : (tensor<8xf32>) -> tensor<8xf32> {
// CHECK-NEXT:    ^{{.*}}(%[[A:.*]]: f32):
// CHECK-NEXT:      %[[B:.*]] = arith.constant 2.000000e+00 : f32
// CHECK-NEXT:      %{{.*}} = arith.mulf %[[A]], %[[B]] : f32
// CHECK:         func.return %[[T]], %[[Y]]
func.func @example(%x: tensor<8xf32>) -> (tensor<4x1xf32>, tensor<8xf32>) {
  %w = kernel.constant dense<[[1.0, 2.0, 3.0, 4.0]]> : tensor<1x4xf32>
  %t = kernel.transpose %w permutation [1, 0] : tensor<1x4xf32> -> tensor<4x1xf32>
  %two = kernel.constant dense<2.0> : tensor<f32>
  %y = kernel.map %x, %two : (tensor<8xf32>, tensor<f32>) -> tensor<8xf32> {
  ^bb0(%a: f32, %b: f32):
    %r = arith.mulf %a, %b : f32
    kernel.yield %r : f32
  }
  func.return %t, %y : tensor<4x1xf32>, tensor<8xf32>
}

// -----

// A chain of constants folds to one; the values come from the reference.
// CHECK-LABEL: @chain
// CHECK-NEXT:    kernel.constant dense<{{\[\[}}5.000000e+00, 1.100000e+01], [1.100000e+01, 2.500000e+01]]> : tensor<2x2xf32>
// CHECK-NEXT:    func.return
func.func @chain() -> tensor<2x2xf32> {
  %a = kernel.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %b = kernel.reshape %a : tensor<4xf32> -> tensor<2x2xf32>
  %c = kernel.matmul %b, %b {transpose_b} : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  func.return %c : tensor<2x2xf32>
}

// -----

// Without values there is a type at least: timing does not depend on what was elided.
// CHECK-LABEL: @elided
// CHECK-NEXT:    kernel.constant dense_resource<{{elided.*}}> : tensor<3072x768xf32>
// CHECK-NEXT:    func.return
func.func @elided() -> tensor<3072x768xf32> {
  %w = kernel.constant dense_resource<elided> : tensor<768x3072xf32>
  %t = kernel.transpose %w permutation [1, 0] : tensor<768x3072xf32> -> tensor<3072x768xf32>
  func.return %t : tensor<3072x768xf32>
}

// -----

// A large constant with two users keeps its form where a product reads it in another order: no second copy.
// CHECK-LABEL: @shared
// CHECK:         kernel.transpose
func.func @shared(%x: tensor<4x3072xf32>) -> (tensor<4x768xf32>, tensor<768x3072xf32>) {
  %w = kernel.constant dense_resource<elided> : tensor<768x3072xf32>
  %t = kernel.transpose %w permutation [1, 0] : tensor<768x3072xf32> -> tensor<3072x768xf32>
  %y = kernel.matmul %x, %t : (tensor<4x3072xf32>, tensor<3072x768xf32>) -> tensor<4x768xf32>
  func.return %y, %w : tensor<4x768xf32>, tensor<768x3072xf32>
}

// -----

// Else it is arranged now rather than in every run.
// CHECK-LABEL: @arranged
// CHECK-NOT:     kernel.pad
func.func @arranged() -> (tensor<776x3072xf32>, tensor<768x3072xf32>) {
  %w = kernel.constant dense_resource<elided> : tensor<768x3072xf32>
  %p = kernel.pad %w low [0, 0] high [8, 0] {value = 0.000000e+00 : f64} : tensor<768x3072xf32> -> tensor<776x3072xf32>
  func.return %p, %w : tensor<776x3072xf32>, tensor<768x3072xf32>
}

// -----

// A constant that makes the result's shape stays an operand; an unsigned one becomes signless.
// CHECK-LABEL: @shape
// CHECK:         kernel.map %x, %{{.*}} : (tensor<1xf32>, tensor<8xf32>) -> tensor<8xf32>
// CHECK:         kernel.map %u : (tensor<2xui8>) -> tensor<2xui8>
// CHECK:         arith.constant -1 : i8
func.func @shape(%x: tensor<1xf32>, %u: tensor<2xui8>) -> (tensor<8xf32>, tensor<2xui8>) {
  %c = kernel.constant dense<2.0> : tensor<8xf32>
  %y = kernel.map %x, %c : (tensor<1xf32>, tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%a: f32, %b: f32):
    %r = arith.mulf %a, %b : f32
    kernel.yield %r : f32
  }
  %d = kernel.constant dense<255> : tensor<2xui8>
  %z = kernel.map %u, %d : (tensor<2xui8>, tensor<2xui8>) -> tensor<2xui8> {
  ^bb0(%a: i8, %b: i8):
    %r = arith.addi %a, %b : i8
    kernel.yield %r : i8
  }
  func.return %y, %z : tensor<8xf32>, tensor<2xui8>
}

// -----

// Nothing computes a tensor without elements.
// CHECK-LABEL: @empty
// CHECK-NEXT:    kernel.constant dense<> : tensor<0x8xf32>
func.func @empty(%x: tensor<0x4xf32>, %w: tensor<4x8xf32>) -> tensor<0x8xf32> {
  %y = kernel.matmul %x, %w : (tensor<0x4xf32>, tensor<4x8xf32>) -> tensor<0x8xf32>
  func.return %y : tensor<0x8xf32>
}
