// RUN: ROUNDTRIP
// RUN: GENERIC_ROUNDTRIP

// The kernels of networks, each as its docstring shows it.

// CHECK-LABEL: @conv
func.func @conv(%x: tensor<1x3x32x32xf32>, %w: tensor<8x3x3x3xf32>, %z: tensor<2x8x9x9xbf16>, %d: tensor<8x1x3x3xbf16>) {
  // CHECK: kernel.conv %x, %w strides [2, 2] dilations [1, 1] low [1, 1] high [1, 1] {groups = 1 : i64} : (tensor<1x3x32x32xf32>, tensor<8x3x3x3xf32>) -> tensor<1x8x16x16xf32>
  %y = kernel.conv %x, %w strides [2, 2] dilations [1, 1] low [1, 1] high [1, 1] {groups = 1 : i64}
    : (tensor<1x3x32x32xf32>, tensor<8x3x3x3xf32>) -> tensor<1x8x16x16xf32>
  // Depthwise, spread, padded on one side, with a wider accumulator.
  // CHECK: kernel.conv %z, %d strides [1, 1] dilations [2, 2] low [0, 1] high [0, 0] {groups = 8 : i64} : (tensor<2x8x9x9xbf16>, tensor<8x1x3x3xbf16>) -> tensor<2x8x5x6xf32>
  %v = kernel.conv %z, %d strides [1, 1] dilations [2, 2] low [0, 1] high [0, 0] {groups = 8 : i64}
    : (tensor<2x8x9x9xbf16>, tensor<8x1x3x3xbf16>) -> tensor<2x8x5x6xf32>
  func.return
}

// CHECK-LABEL: @pool
func.func @pool(%x: tensor<1x8x32x32xf32>) {
  // CHECK: kernel.pool max %x kernel [3, 3] strides [2, 2] dilations [1, 1] low [1, 1] high [1, 1] : tensor<1x8x32x32xf32> -> tensor<1x8x16x16xf32>
  %y = kernel.pool max %x kernel [3, 3] strides [2, 2] dilations [1, 1] low [1, 1] high [1, 1]
    : tensor<1x8x32x32xf32> -> tensor<1x8x16x16xf32>
  // CHECK: kernel.pool add %x kernel [32, 32] strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0] : tensor<1x8x32x32xf32> -> tensor<1x8x1x1xf32>
  %z = kernel.pool add %x kernel [32, 32] strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0]
    : tensor<1x8x32x32xf32> -> tensor<1x8x1x1xf32>
  func.return
}

// CHECK-LABEL: @reduce
func.func @reduce(%x: tensor<4x16xf32>) {
  // CHECK: kernel.reduce max %x axes [1] : tensor<4x16xf32> -> tensor<4x1xf32>
  %m = kernel.reduce max %x axes [1] : tensor<4x16xf32> -> tensor<4x1xf32>
  // CHECK: kernel.reduce add %x axes [0, 1] : tensor<4x16xf32> -> tensor<1x1xf32>
  %s = kernel.reduce add %x axes [0, 1] : tensor<4x16xf32> -> tensor<1x1xf32>
  // CHECK: kernel.reduce min %x axes [0] : tensor<4x16xf32> -> tensor<1x16xf32>
  %n = kernel.reduce min %x axes [0] : tensor<4x16xf32> -> tensor<1x16xf32>
  // CHECK: kernel.reduce mul %x axes [0] : tensor<4x16xf32> -> tensor<1x16xf32>
  %p = kernel.reduce mul %x axes [0] : tensor<4x16xf32> -> tensor<1x16xf32>
  func.return
}

// CHECK-LABEL: @reduce_short
func.func @reduce_short(%h: tensor<4x16xf16>) {
  // CHECK: kernel.reduce add %h axes [1] : tensor<4x16xf16> -> tensor<4x1xf32>
  %s = kernel.reduce add %h axes [1] : tensor<4x16xf16> -> tensor<4x1xf32>
  func.return
}

// CHECK-LABEL: @softmax
func.func @softmax(%x: tensor<4x16xf32>) {
  // CHECK: kernel.softmax %x {axis = 1 : i64} : tensor<4x16xf32> -> tensor<4x16xf32>
  %p = kernel.softmax %x {axis = 1 : i64} : tensor<4x16xf32> -> tensor<4x16xf32>
  // CHECK: kernel.softmax %x {axis = 0 : i64, log} : tensor<4x16xf32> -> tensor<4x16xf32>
  %q = kernel.softmax %x {axis = 0 : i64, log} : tensor<4x16xf32> -> tensor<4x16xf32>
  func.return
}

// CHECK-LABEL: @normalize
func.func @normalize(%x: tensor<4x16xf32>, %scale: tensor<16xf32>, %shift: tensor<16xf32>) {
  // CHECK: kernel.normalize %x, %scale, %shift axes [1] {center, epsilon = 1.000000e-05 : f64} : (tensor<4x16xf32>, tensor<16xf32>, tensor<16xf32>) -> tensor<4x16xf32>
  %y = kernel.normalize %x, %scale, %shift axes [1] {center, epsilon = 1.000000e-05 : f64}
    : (tensor<4x16xf32>, tensor<16xf32>, tensor<16xf32>) -> tensor<4x16xf32>
  // CHECK: kernel.normalize %x, %scale axes [1] {epsilon = 1.000000e-05 : f64} : (tensor<4x16xf32>, tensor<16xf32>) -> tensor<4x16xf32>
  %r = kernel.normalize %x, %scale axes [1] {epsilon = 1.000000e-05 : f64}
    : (tensor<4x16xf32>, tensor<16xf32>) -> tensor<4x16xf32>
  func.return
}

// CHECK-LABEL: @gather
func.func @gather(%table: tensor<100x16xf32>, %ids: tensor<4xi64>, %pairs: tensor<2x3xi32>) {
  // CHECK: kernel.gather %table, %ids {axis = 0 : i64} : (tensor<100x16xf32>, tensor<4xi64>) -> tensor<4x16xf32>
  %e = kernel.gather %table, %ids {axis = 0 : i64} : (tensor<100x16xf32>, tensor<4xi64>) -> tensor<4x16xf32>
  // CHECK: kernel.gather %table, %pairs {axis = 1 : i64} : (tensor<100x16xf32>, tensor<2x3xi32>) -> tensor<100x2x3xf32>
  %f = kernel.gather %table, %pairs {axis = 1 : i64} : (tensor<100x16xf32>, tensor<2x3xi32>) -> tensor<100x2x3xf32>
  func.return
}

// CHECK-LABEL: @slice
func.func @slice(%x: tensor<4x16xf32>) {
  // CHECK: kernel.slice %x starts [0, 2] steps [1, 3] : tensor<4x16xf32> -> tensor<4x5xf32>
  %y = kernel.slice %x starts [0, 2] steps [1, 3] : tensor<4x16xf32> -> tensor<4x5xf32>
  // Backwards.
  // CHECK: kernel.slice %x starts [3, 15] steps [-1, -5] : tensor<4x16xf32> -> tensor<4x4xf32>
  %z = kernel.slice %x starts [3, 15] steps [-1, -5] : tensor<4x16xf32> -> tensor<4x4xf32>
  func.return
}

// CHECK-LABEL: @concat
func.func @concat(%a: tensor<4x8xf32>, %b: tensor<2x8xf32>) {
  // CHECK: kernel.concat %a, %b {axis = 0 : i64} : (tensor<4x8xf32>, tensor<2x8xf32>) -> tensor<6x8xf32>
  %y = kernel.concat %a, %b {axis = 0 : i64} : (tensor<4x8xf32>, tensor<2x8xf32>) -> tensor<6x8xf32>
  func.return
}

// CHECK-LABEL: @pad
func.func @pad(%x: tensor<4x8xf32>) {
  // CHECK: kernel.pad %x low [0, 1] high [0, 2] {value = 0.000000e+00 : f64} : tensor<4x8xf32> -> tensor<4x11xf32>
  %y = kernel.pad %x low [0, 1] high [0, 2] {value = 0.000000e+00 : f64} : tensor<4x8xf32> -> tensor<4x11xf32>
  func.return
}

// CHECK-LABEL: @broadcast
func.func @broadcast(%x: tensor<8xf32>, %c: tensor<4x1xf32>) {
  // CHECK: kernel.broadcast %x : tensor<8xf32> -> tensor<4x8xf32>
  %y = kernel.broadcast %x : tensor<8xf32> -> tensor<4x8xf32>
  // CHECK: kernel.broadcast %c : tensor<4x1xf32> -> tensor<2x4x3xf32>
  %z = kernel.broadcast %c : tensor<4x1xf32> -> tensor<2x4x3xf32>
  func.return
}

// CHECK-LABEL: @scan
func.func @scan(%x: tensor<4x16xf32>, %i: tensor<4x16xi64>) {
  // CHECK: kernel.scan add %x {axis = 1 : i64, backward, exclusive} : tensor<4x16xf32> -> tensor<4x16xf32>
  %s = kernel.scan add %x {axis = 1 : i64, backward, exclusive} : tensor<4x16xf32> -> tensor<4x16xf32>
  // CHECK: kernel.scan mul %i {axis = 0 : i64} : tensor<4x16xi64> -> tensor<4x16xi64>
  %p = kernel.scan mul %i {axis = 0 : i64} : tensor<4x16xi64> -> tensor<4x16xi64>
  func.return
}

// An image of quantized numbers, around which its zero point stands.
// CHECK-LABEL: @quantized_conv
func.func @quantized_conv(%p: tensor<1x3x32x32xui8>, %v: tensor<8x3x3x3xi8>) {
  // CHECK: kernel.conv %p, %v strides [1, 1] dilations [1, 1] low [1, 1] high [1, 1] {groups = 1 : i64, fill = 128 : i64} : (tensor<1x3x32x32xui8>, tensor<8x3x3x3xi8>) -> tensor<1x8x32x32xi32>
  %q = kernel.conv %p, %v strides [1, 1] dilations [1, 1] low [1, 1] high [1, 1] {groups = 1 : i64, fill = 128 : i64}
    : (tensor<1x3x32x32xui8>, tensor<8x3x3x3xi8>) -> tensor<1x8x32x32xi32>
  func.return
}
