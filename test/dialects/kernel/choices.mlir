// RUN: ROUNDTRIP
// RUN: GENERIC_ROUNDTRIP

// Attention, and kernels that choose elements, each as its docstring shows it.

// CHECK-LABEL: @attention
func.func @attention(%q: tensor<1x8x16x64xf32>, %k: tensor<1x2x16x64xf32>, %v: tensor<1x2x16x32xf32>, %m: tensor<16x16xf16>) {
  // CHECK: kernel.attention %q, %k, %v {scale = 1.250000e-01 : f64, causal} : (tensor<1x8x16x64xf32>, tensor<1x2x16x64xf32>, tensor<1x2x16x32xf32>) -> tensor<1x8x16x32xf32>
  %y = kernel.attention %q, %k, %v {scale = 1.250000e-01 : f64, causal}
    : (tensor<1x8x16x64xf32>, tensor<1x2x16x64xf32>, tensor<1x2x16x32xf32>) -> tensor<1x8x16x32xf32>
  // CHECK: kernel.attention %q, %k, %v mask %m {scale = 1.250000e-01 : f64, causal, offset = 3 : i64, softcap = 5.000000e+01 : f64} : (tensor<1x8x16x64xf32>, tensor<1x2x16x64xf32>, tensor<1x2x16x32xf32>, tensor<16x16xf16>) -> tensor<1x8x16x32xf32>
  %z = kernel.attention %q, %k, %v mask %m {scale = 1.250000e-01 : f64, causal, offset = 3 : i64, softcap = 50.0 : f64}
    : (tensor<1x8x16x64xf32>, tensor<1x2x16x64xf32>, tensor<1x2x16x32xf32>, tensor<16x16xf16>) -> tensor<1x8x16x32xf32>
  func.return
}

// CHECK-LABEL: @choices
func.func @choices(%x: tensor<4x16xf32>) {
  // CHECK: kernel.arg_reduce max %x {axis = 1 : i64} : tensor<4x16xf32> -> tensor<4x1xi64>
  %i = kernel.arg_reduce max %x {axis = 1 : i64} : tensor<4x16xf32> -> tensor<4x1xi64>
  // CHECK: kernel.arg_reduce min %x {axis = 0 : i64, last} : tensor<4x16xf32> -> tensor<1x16xi64>
  %j = kernel.arg_reduce min %x {axis = 0 : i64, last} : tensor<4x16xf32> -> tensor<1x16xi64>
  // CHECK: kernel.top_k %x {k = 3 : i64, axis = 1 : i64, smallest} : tensor<4x16xf32> -> tensor<4x3xf32>, tensor<4x3xi64>
  %v, %w = kernel.top_k %x {k = 3 : i64, axis = 1 : i64, smallest} : tensor<4x16xf32> -> tensor<4x3xf32>, tensor<4x3xi64>
  func.return
}
