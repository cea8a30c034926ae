// RUN: ROUNDTRIP
// RUN: GENERIC_ROUNDTRIP

// Quantized tensors, each as its docstring shows it.

// CHECK-LABEL: @quantize
func.func @quantize(%x: tensor<4x64xf32>, %s: tensor<1xf32>, %z: tensor<1xi8>, %rows: tensor<4x1xf32>) {
  // CHECK: kernel.quantize %x scale %s zero %z : tensor<4x64xf32>, tensor<1xf32>, tensor<1xi8> -> tensor<4x64xi8>
  %q = kernel.quantize %x scale %s zero %z
    : tensor<4x64xf32>, tensor<1xf32>, tensor<1xi8> -> tensor<4x64xi8>
  // CHECK: kernel.quantize %x scale %rows : tensor<4x64xf32>, tensor<4x1xf32> -> tensor<4x64xi8>
  %r = kernel.quantize %x scale %rows : tensor<4x64xf32>, tensor<4x1xf32> -> tensor<4x64xi8>
  // CHECK: kernel.quantize %x scale %s : tensor<4x64xf32>, tensor<1xf32> -> tensor<4x64xf8E4M3FN>
  %f = kernel.quantize %x scale %s : tensor<4x64xf32>, tensor<1xf32> -> tensor<4x64xf8E4M3FN>
  // CHECK: kernel.quantize %x scale %s {requantize = "double"} : tensor<4x64xf32>, tensor<1xf32> -> tensor<4x64xi8>
  %d = kernel.quantize %x scale %s {requantize = "double"} : tensor<4x64xf32>, tensor<1xf32> -> tensor<4x64xi8>
  func.return
}

// CHECK-LABEL: @dequantize
func.func @dequantize(%q: tensor<4x64xi8>, %s: tensor<1xf32>, %z: tensor<1xi8>, %p: tensor<512x64xi4>, %blocks: tensor<16x64xf16>, %b: tensor<64xi32>, %c: tensor<64xf32>) {
  // CHECK: kernel.dequantize %q scale %s zero %z : tensor<4x64xi8>, tensor<1xf32>, tensor<1xi8> -> tensor<4x64xf32>
  %x = kernel.dequantize %q scale %s zero %z
    : tensor<4x64xi8>, tensor<1xf32>, tensor<1xi8> -> tensor<4x64xf32>
  // CHECK: kernel.dequantize %p scale %blocks : tensor<512x64xi4>, tensor<16x64xf16> -> tensor<512x64xf16>
  %w = kernel.dequantize %p scale %blocks : tensor<512x64xi4>, tensor<16x64xf16> -> tensor<512x64xf16>
  // CHECK: kernel.dequantize %b scale %c : tensor<64xi32>, tensor<64xf32> -> tensor<64xf32>
  %v = kernel.dequantize %b scale %c : tensor<64xi32>, tensor<64xf32> -> tensor<64xf32>
  func.return
}
