// RUN: kpu-opt %s | kpu-opt | filecheck %s
// RUN: kpu-opt %s --print-op-generic | kpu-opt | filecheck %s
// RUN: kpu-opt %s --print-op-generic | filecheck %s --check-prefix GENERIC

// Every operation, as its docstring shows it.

// CHECK-LABEL: @constants
func.func @constants() -> (tensor<2x2xf32>, tensor<0x3xi64>, tensor<bf16>) {
  // CHECK: kernel.constant dense<[[1.000000e+00, 2.000000e+00], [3.000000e+00, 4.000000e+00]]> : tensor<2x2xf32>
  %w = kernel.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  // CHECK: kernel.constant dense_resource<elided> : tensor<768x3072xf32>
  %v = kernel.constant dense_resource<elided> : tensor<768x3072xf32>
  // CHECK: kernel.constant dense<> : tensor<0x3xi64>
  %e = kernel.constant dense<> : tensor<0x3xi64>
  // CHECK: kernel.constant dense<1.500000e+00> : tensor<bf16>
  %s = kernel.constant dense<1.5> : tensor<bf16>
  func.return %w, %e, %s : tensor<2x2xf32>, tensor<0x3xi64>, tensor<bf16>
}

// GENERIC: "kernel.constant"() <{value = dense<{{.*}}> : tensor<2x2xf32>}> : () -> tensor<2x2xf32>

// CHECK-LABEL: @matmul
func.func @matmul(%a: tensor<4x8xf32>, %b: tensor<8x16xf32>, %q: tensor<12x64x32xbf16>, %k: tensor<1x64x32xbf16>, %x: tensor<12x1x32xf32>, %h: tensor<12x64x32xf16>) {
  // CHECK: kernel.matmul %x, %h {transpose_b} : (tensor<12x1x32xf32>, tensor<12x64x32xf16>) -> tensor<12x1x64xf32>
  %f = kernel.matmul %x, %h {transpose_b} : (tensor<12x1x32xf32>, tensor<12x64x32xf16>) -> tensor<12x1x64xf32>
  // CHECK: kernel.matmul %a, %b : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf32>
  %c = kernel.matmul %a, %b : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf32>
  // CHECK: kernel.matmul %q, %k {transpose_b} : (tensor<12x64x32xbf16>, tensor<1x64x32xbf16>) -> tensor<12x64x64xf32>
  %d = kernel.matmul %q, %k {transpose_b} : (tensor<12x64x32xbf16>, tensor<1x64x32xbf16>) -> tensor<12x64x64xf32>
  // CHECK: kernel.matmul %a, %a {transpose_a} : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<8x8xf32>
  %e = kernel.matmul %a, %a {transpose_a} : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<8x8xf32>
  func.return
}

// GENERIC: "kernel.matmul"(%q, %k) <{transpose_b}> : (tensor<12x64x32xbf16>, tensor<1x64x32xbf16>) -> tensor<12x64x64xf32>

// CHECK-LABEL: @map
func.func @map(%x: tensor<4x8xf32>, %bias: tensor<8xf32>, %u: tensor<4xui8>) {
  // CHECK:      kernel.map %x, %bias : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32> {
  // CHECK-NEXT: ^{{.*}}(%p: f32, %q: f32):
  // CHECK-NEXT:   %s = arith.addf %p, %q : f32
  // CHECK-NEXT:   kernel.yield %s : f32
  // CHECK-NEXT: }
  %y = kernel.map %x, %bias : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32> {
  ^bb0(%p: f32, %q: f32):
    %s = arith.addf %p, %q : f32
    kernel.yield %s : f32
  }
  // A body sees unsigned integers signless.
  // CHECK: kernel.map %u : (tensor<4xui8>) -> tensor<4xf32> {
  %z = kernel.map %u : (tensor<4xui8>) -> tensor<4xf32> {
  ^bb0(%p: i8):
    %s = arith.uitofp %p : i8 to f32
    kernel.yield %s : f32
  }
  func.return
}

// CHECK-LABEL: @reshape
func.func @reshape(%x: tensor<2x4x8xf32>) -> tensor<8x8xf32> {
  // CHECK: kernel.reshape %x : tensor<2x4x8xf32> -> tensor<8x8xf32>
  %y = kernel.reshape %x : tensor<2x4x8xf32> -> tensor<8x8xf32>
  func.return %y : tensor<8x8xf32>
}

// CHECK-LABEL: @transpose
func.func @transpose(%x: tensor<2x4x8xf32>) -> tensor<2x8x4xf32> {
  // CHECK: kernel.transpose %x permutation [0, 2, 1] : tensor<2x4x8xf32> -> tensor<2x8x4xf32>
  %y = kernel.transpose %x permutation [0, 2, 1] : tensor<2x4x8xf32> -> tensor<2x8x4xf32>
  func.return %y : tensor<2x8x4xf32>
}

// GENERIC: "kernel.transpose"(%x) <{permutation = array<i64: 0, 2, 1>}> : (tensor<2x4x8xf32>) -> tensor<2x8x4xf32>

// CHECK-LABEL: @fused
func.func @fused(%a: tensor<4x8xf32>, %b: tensor<8x16xf32>, %bias: tensor<16xf32>) -> tensor<4x16xf32> {
  // CHECK:      %y = kernel.fused : tensor<4x16xf32> {
  // CHECK-NEXT:   %c = kernel.matmul %a, %b
  // CHECK-NEXT:   %r = kernel.map %c, %bias
  // CHECK:        kernel.yield %r : tensor<4x16xf32>
  // CHECK-NEXT: }
  %y = kernel.fused : tensor<4x16xf32> {
    %c = kernel.matmul %a, %b : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf32>
    %r = kernel.map %c, %bias : (tensor<4x16xf32>, tensor<16xf32>) -> tensor<4x16xf32> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      kernel.yield %s : f32
    }
    kernel.yield %r : tensor<4x16xf32>
  }
  func.return %y : tensor<4x16xf32>
}
