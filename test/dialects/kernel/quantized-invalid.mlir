// RUN: kpu-opt %s --verify-diagnostics --split-input-file | filecheck %s

// One mistake for each thing that the verifiers of quantized tensors ask for.

// CHECK: kernel.quantize: expected floats or i32, got i8
func.func @source(%x: tensor<4x8xi8>, %s: tensor<1xf32>) {
  %q = kernel.quantize %x scale %s : tensor<4x8xi8>, tensor<1xf32> -> tensor<4x8xi8>
  func.return
}

// -----

// CHECK: kernel.quantize: expected integers of 2 to 16 bits or floats of 8, got i32
func.func @stored(%x: tensor<4x8xf32>, %s: tensor<1xf32>) {
  %q = kernel.quantize %x scale %s : tensor<4x8xf32>, tensor<1xf32> -> tensor<4x8xi32>
  func.return
}

// -----

// CHECK: kernel.quantize: expected a scale of floats, got tensor<1xi32>
func.func @scale(%x: tensor<4x8xf32>, %s: tensor<1xi32>) {
  %q = kernel.quantize %x scale %s : tensor<4x8xf32>, tensor<1xi32> -> tensor<4x8xi8>
  func.return
}

// -----

// CHECK: kernel.dequantize: 3x8 scales do not divide 4x8 into blocks
func.func @blocks(%q: tensor<4x8xi8>, %s: tensor<3x8xf32>) {
  %x = kernel.dequantize %q scale %s : tensor<4x8xi8>, tensor<3x8xf32> -> tensor<4x8xf32>
  func.return
}

// -----

// CHECK: kernel.quantize: expected a zero point of i8, got ui8
func.func @zero_type(%x: tensor<4x8xf32>, %s: tensor<1xf32>, %z: tensor<1xui8>) {
  %q = kernel.quantize %x scale %s zero %z : tensor<4x8xf32>, tensor<1xf32>, tensor<1xui8> -> tensor<4x8xi8>
  func.return
}

// -----

// CHECK: kernel.dequantize: expected one zero point, or one for each of 1x8 scales, got 4x1
func.func @zero_shape(%q: tensor<4x8xi8>, %s: tensor<1x8xf32>, %z: tensor<4x1xi8>) {
  %x = kernel.dequantize %q scale %s zero %z : tensor<4x8xi8>, tensor<1x8xf32>, tensor<4x1xi8> -> tensor<4x8xf32>
  func.return
}

// -----

// CHECK: kernel.dequantize: expected a result of floats, got i32
func.func @result(%q: tensor<4x8xi8>, %s: tensor<1xf32>) {
  %x = kernel.dequantize %q scale %s : tensor<4x8xi8>, tensor<1xf32> -> tensor<4x8xi32>
  func.return
}

// -----

// CHECK: kernel.dequantize: expected integers of 2 to 16 or 32 bits or floats of 8, got i64
func.func @wide(%q: tensor<4x8xi64>, %s: tensor<1xf32>) {
  %x = kernel.dequantize %q scale %s : tensor<4x8xi64>, tensor<1xf32> -> tensor<4x8xf32>
  func.return
}

// -----

// CHECK: kernel.quantize: expected a result of shape 4x8, got 8x4
func.func @shape(%x: tensor<4x8xf32>, %s: tensor<1xf32>) {
  %q = kernel.quantize %x scale %s : tensor<4x8xf32>, tensor<1xf32> -> tensor<8x4xi8>
  func.return
}

// -----

// CHECK: kernel.quantize: requantize is f32 or double, got twice
func.func @requantize(%x: tensor<4x8xf32>, %s: tensor<1xf32>) {
  %q = kernel.quantize %x scale %s {requantize = "twice"} : tensor<4x8xf32>, tensor<1xf32> -> tensor<4x8xi8>
  func.return
}
