// RUN: kpu-opt %s -p kernel-precision{type=bf16} --split-input-file | filecheck %s

// The example of the pass: the program's inputs and outputs stay f32.
// CHECK-LABEL: @main
// CHECK:         %[[A:.*]] = kernel.map %x : (tensor<4x8xf32>) -> tensor<4x8xbf16> {
// CHECK:           arith.truncf
// CHECK:         %[[C:.*]] = kernel.matmul %[[A]], %{{.*}} : (tensor<4x8xbf16>, tensor<8x16xbf16>) -> tensor<4x16xbf16>
// CHECK:         %[[Y:.*]] = kernel.map %[[C]] : (tensor<4x16xbf16>) -> tensor<4x16xf32> {
// CHECK:           arith.extf
// CHECK:         func.return %[[Y]] : tensor<4x16xf32>
func.func @main(%x: tensor<4x8xf32>, %w: tensor<8x16xf32>) -> tensor<4x16xf32> {
  %y = kernel.matmul %x, %w : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf32>
  func.return %y : tensor<4x16xf32>
}

// -----

// Weights are rounded now (1.003 is 1.0), formulas stay in f32; factors of integers are not rounded.
// CHECK-LABEL: @maps
// CHECK-DAG:     %[[W:.*]] = kernel.constant dense<1.000000e+00> : tensor<8xbf16>
// CHECK-DAG:     %[[S:.*]] = kernel.constant dense<1.003{{.*}}> : tensor<8xf32>
// CHECK:         kernel.map %{{.*}}, %[[W]] : (tensor<8xbf16>, tensor<8xbf16>) -> tensor<8xbf16> {
// CHECK:           arith.mulf %{{.*}}, %{{.*}} : f32
// CHECK:         kernel.map %q, %[[S]] : (tensor<8xi32>, tensor<8xf32>) -> tensor<8xbf16> {
func.func @maps(%x: tensor<8xf32>, %q: tensor<8xi32>) -> (tensor<8xf32>, tensor<8xf32>) {
  %w = kernel.constant dense<1.003> : tensor<8xf32>
  %s = kernel.constant dense<1.003> : tensor<8xf32>
  %y = kernel.map %x, %w : (tensor<8xf32>, tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%a: f32, %b: f32):
    %r = arith.mulf %a, %b : f32
    kernel.yield %r : f32
  }
  %z = kernel.map %q, %s : (tensor<8xi32>, tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%a: i32, %b: f32):
    %f = arith.sitofp %a : i32 to f32
    %r = arith.mulf %f, %b : f32
    kernel.yield %r : f32
  }
  func.return %y, %z : tensor<8xf32>, tensor<8xf32>
}

// -----

// An input of f16 is rounded to bf16 before a product: neither has all of the other's numbers.
// CHECK-LABEL: @other
// CHECK:         %[[B:.*]] = kernel.map %k : (tensor<8x16xf16>) -> tensor<8x16xbf16> {
// CHECK:         kernel.matmul %{{.*}}, %[[B]] : (tensor<4x8xbf16>, tensor<8x16xbf16>) -> tensor<4x16xbf16>
func.func @other(%x: tensor<4x8xf32>, %k: tensor<8x16xf16>) -> tensor<4x16xf32> {
  %y = kernel.matmul %x, %k : (tensor<4x8xf32>, tensor<8x16xf16>) -> tensor<4x16xf32>
  func.return %y : tensor<4x16xf32>
}
