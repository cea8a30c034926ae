// RUN: kpu-opt %s --verify-diagnostics --split-input-file | filecheck %s

// One mistake for each thing that the verifiers of the kernels of networks ask for.

// CHECK: kernel.conv: strides must be two numbers of at least 1, got [0, 1]
func.func @conv_strides(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) {
  %y = kernel.conv %x, %w strides [0, 1] dilations [1, 1] low [0, 0] high [0, 0] {groups = 1 : i64}
    : (tensor<1x3x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x6x6xf32>
  func.return
}

// -----

// CHECK: kernel.conv: dilations must be two numbers of at least 1, got [1]
func.func @conv_dilations(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) {
  %y = kernel.conv %x, %w strides [1, 1] dilations [1] low [0, 0] high [0, 0] {groups = 1 : i64}
    : (tensor<1x3x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x6x6xf32>
  func.return
}

// -----

// CHECK: kernel.conv: low must be two numbers of at least 0, got [-1, 0]
func.func @conv_low(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) {
  %y = kernel.conv %x, %w strides [1, 1] dilations [1, 1] low [-1, 0] high [0, 0] {groups = 1 : i64}
    : (tensor<1x3x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x6x6xf32>
  func.return
}

// -----

// CHECK: kernel.conv: high must be two numbers of at least 0, got [0, 0, 0]
func.func @conv_high(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) {
  %y = kernel.conv %x, %w strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0, 0] {groups = 1 : i64}
    : (tensor<1x3x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x6x6xf32>
  func.return
}

// -----

// CHECK: kernel.conv: expected an image and weights of rank 4, got 3x8x8 and 4x3x3x3
func.func @conv_rank(%x: tensor<3x8x8xf32>, %w: tensor<4x3x3x3xf32>) {
  %y = kernel.conv %x, %w strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0] {groups = 1 : i64}
    : (tensor<3x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x6x6xf32>
  func.return
}

// -----

// CHECK: kernel.conv: 0 groups of 4x3x3x3 do not fit the channels of 1x3x8x8
func.func @conv_groups(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) {
  %y = kernel.conv %x, %w strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0] {groups = 0 : i64}
    : (tensor<1x3x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x6x6xf32>
  func.return
}

// -----

// CHECK: kernel.conv: 3 groups of 4x1x3x3 do not fit the channels of 1x3x8x8
func.func @conv_channels(%x: tensor<1x3x8x8xf32>, %w: tensor<4x1x3x3xf32>) {
  %y = kernel.conv %x, %w strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0] {groups = 3 : i64}
    : (tensor<1x3x8x8xf32>, tensor<4x1x3x3xf32>) -> tensor<1x4x6x6xf32>
  func.return
}

// -----

// CHECK: kernel.conv: expected a result of shape 1x4x8x8, got 1x4x6x6
func.func @conv_shape(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) {
  %y = kernel.conv %x, %w strides [1, 1] dilations [1, 1] low [1, 1] high [1, 1] {groups = 1 : i64}
    : (tensor<1x3x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x6x6xf32>
  func.return
}

// -----

// CHECK: kernel.pool: dilations must be two numbers of at least 1, got [0, 0]
func.func @pool_window(%x: tensor<1x3x8x8xf32>) {
  %y = kernel.pool max %x kernel [3, 3] strides [1, 1] dilations [0, 0] low [0, 0] high [0, 0]
    : tensor<1x3x8x8xf32> -> tensor<1x3x6x6xf32>
  func.return
}

// -----

// CHECK: kernel.pool: expected max or add, got mean
func.func @pool_kind(%x: tensor<1x3x8x8xf32>) {
  %y = kernel.pool mean %x kernel [3, 3] strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0]
    : tensor<1x3x8x8xf32> -> tensor<1x3x6x6xf32>
  func.return
}

// -----

// CHECK: kernel.pool: expected an image of rank 4, got 3x8x8
func.func @pool_rank(%x: tensor<3x8x8xf32>) {
  %y = kernel.pool max %x kernel [3, 3] strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0]
    : tensor<3x8x8xf32> -> tensor<3x6x6xf32>
  func.return
}

// -----

// CHECK: kernel.pool: expected a result of element type f32, got f16
func.func @pool_type(%x: tensor<1x3x8x8xf32>) {
  %y = kernel.pool max %x kernel [3, 3] strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0]
    : tensor<1x3x8x8xf32> -> tensor<1x3x6x6xf16>
  func.return
}

// -----

// CHECK: kernel.pool: expected a result of shape 1x3x6x6, got 1x3x8x8
func.func @pool_shape(%x: tensor<1x3x8x8xf32>) {
  %y = kernel.pool max %x kernel [3, 3] strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0]
    : tensor<1x3x8x8xf32> -> tensor<1x3x8x8xf32>
  func.return
}

// -----

// CHECK: kernel.reduce: expected one of add, max, min, mul, got mean
func.func @reduce_kind(%x: tensor<4x16xf32>) {
  %y = kernel.reduce mean %x axes [1] : tensor<4x16xf32> -> tensor<4x1xf32>
  func.return
}

// -----

// CHECK: kernel.reduce: axes must be distinct, rising and from 0 to 1, got [1, 0]
func.func @reduce_axes(%x: tensor<4x16xf32>) {
  %y = kernel.reduce add %x axes [1, 0] : tensor<4x16xf32> -> tensor<1x1xf32>
  func.return
}

// -----

// CHECK: kernel.reduce: expected a result of element type f32, got f64
func.func @reduce_type(%x: tensor<4x16xf32>) {
  %y = kernel.reduce add %x axes [1] : tensor<4x16xf32> -> tensor<4x1xf64>
  func.return
}

// -----

// CHECK: kernel.reduce: expected a result of shape 4x1, got 4
func.func @reduce_shape(%x: tensor<4x16xf32>) {
  %y = kernel.reduce add %x axes [1] : tensor<4x16xf32> -> tensor<4xf32>
  func.return
}

// -----

// CHECK: kernel.softmax: axes must be distinct, rising and from 0 to 1, got [2]
func.func @softmax_axis(%x: tensor<4x16xf32>) {
  %y = kernel.softmax %x {axis = 2 : i64} : tensor<4x16xf32> -> tensor<4x16xf32>
  func.return
}

// -----

// CHECK: kernel.softmax: expected a result of element type f32, got f16
func.func @softmax_type(%x: tensor<4x16xf32>) {
  %y = kernel.softmax %x {axis = 1 : i64} : tensor<4x16xf32> -> tensor<4x16xf16>
  func.return
}

// -----

// CHECK: kernel.softmax: expected a result of shape 4x16, got 4x1
func.func @softmax_shape(%x: tensor<4x16xf32>) {
  %y = kernel.softmax %x {axis = 1 : i64} : tensor<4x16xf32> -> tensor<4x1xf32>
  func.return
}

// -----

// CHECK: kernel.normalize: expected a tensor, a scale and a shift at most
func.func @normalize_count(%x: tensor<4x16xf32>, %s: tensor<16xf32>) {
  %y = kernel.normalize %x, %s, %s, %s axes [1] {center, epsilon = 1.0e-05 : f64}
    : (tensor<4x16xf32>, tensor<16xf32>, tensor<16xf32>, tensor<16xf32>) -> tensor<4x16xf32>
  func.return
}

// -----

// CHECK: kernel.normalize: expected a tensor, a scale and a shift at most
func.func @normalize_none() {
  %y = "kernel.normalize"() <{axes = array<i64: 1>, epsilon = 1.0e-05 : f64}> : () -> tensor<4x16xf32>
  func.return
}

// -----

// CHECK: kernel.normalize: axes must be distinct, rising and from 0 to 1, got [1, 1]
func.func @normalize_axes(%x: tensor<4x16xf32>) {
  %y = kernel.normalize %x axes [1, 1] {epsilon = 1.0e-05 : f64} : (tensor<4x16xf32>) -> tensor<4x16xf32>
  func.return
}

// -----

// CHECK: kernel.normalize: 4 does not broadcast to 4x16
func.func @normalize_scale(%x: tensor<4x16xf32>, %s: tensor<4xf32>) {
  %y = kernel.normalize %x, %s axes [1] {epsilon = 1.0e-05 : f64} : (tensor<4x16xf32>, tensor<4xf32>) -> tensor<4x16xf32>
  func.return
}

// -----

// CHECK: kernel.normalize: expected a result of element type f32, got f16
func.func @normalize_type(%x: tensor<4x16xf32>) {
  %y = kernel.normalize %x axes [1] {epsilon = 1.0e-05 : f64} : (tensor<4x16xf32>) -> tensor<4x16xf16>
  func.return
}

// -----

// CHECK: kernel.normalize: expected a result of shape 4x16, got 16x4
func.func @normalize_shape(%x: tensor<4x16xf32>) {
  %y = kernel.normalize %x axes [1] {epsilon = 1.0e-05 : f64} : (tensor<4x16xf32>) -> tensor<16x4xf32>
  func.return
}

// -----

// CHECK: kernel.gather: axes must be distinct, rising and from 0 to 1, got [2]
func.func @gather_axis(%t: tensor<100x16xf32>, %i: tensor<4xi64>) {
  %y = kernel.gather %t, %i {axis = 2 : i64} : (tensor<100x16xf32>, tensor<4xi64>) -> tensor<4x16xf32>
  func.return
}

// -----

// CHECK: kernel.gather: expected integer indices, got f32
func.func @gather_indices(%t: tensor<100x16xf32>, %i: tensor<4xf32>) {
  %y = kernel.gather %t, %i {axis = 0 : i64} : (tensor<100x16xf32>, tensor<4xf32>) -> tensor<4x16xf32>
  func.return
}

// -----

// CHECK: kernel.gather: expected a result of element type f32, got f16
func.func @gather_type(%t: tensor<100x16xf32>, %i: tensor<4xi64>) {
  %y = kernel.gather %t, %i {axis = 0 : i64} : (tensor<100x16xf32>, tensor<4xi64>) -> tensor<4x16xf16>
  func.return
}

// -----

// CHECK: kernel.gather: expected a result of shape 100x4, got 4x16
func.func @gather_shape(%t: tensor<100x16xf32>, %i: tensor<4xi64>) {
  %y = kernel.gather %t, %i {axis = 1 : i64} : (tensor<100x16xf32>, tensor<4xi64>) -> tensor<4x16xf32>
  func.return
}

// -----

// CHECK: kernel.slice: expected a start and a step for each dimension
func.func @slice_rank(%x: tensor<4x16xf32>) {
  %y = kernel.slice %x starts [0] steps [1, 1] : tensor<4x16xf32> -> tensor<4x5xf32>
  func.return
}

// -----

// CHECK: kernel.slice: expected a result of element type f32, got f16
func.func @slice_type(%x: tensor<4x16xf32>) {
  %y = kernel.slice %x starts [0, 0] steps [1, 1] : tensor<4x16xf32> -> tensor<4x5xf16>
  func.return
}

// -----

// CHECK: kernel.slice: elements 2 to 17 of dimension 1 are outside 16
func.func @slice_outside(%x: tensor<4x16xf32>) {
  %y = kernel.slice %x starts [0, 2] steps [1, 3] : tensor<4x16xf32> -> tensor<4x6xf32>
  func.return
}

// -----

// CHECK: kernel.slice: elements 2 to 2 of dimension 1 are outside 16
func.func @slice_step(%x: tensor<4x16xf32>) {
  %y = kernel.slice %x starts [0, 2] steps [1, 0] : tensor<4x16xf32> -> tensor<4x6xf32>
  func.return
}

// -----

// CHECK: kernel.concat: expected at least one tensor
func.func @concat_none() {
  %y = "kernel.concat"() <{axis = 0 : i64}> : () -> tensor<4x8xf32>
  func.return
}

// -----

// CHECK: kernel.concat: there is no dimension 2 in 4x8
func.func @concat_axis(%a: tensor<4x8xf32>) {
  %y = kernel.concat %a, %a {axis = 2 : i64} : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<8x8xf32>
  func.return
}

// -----

// CHECK: kernel.concat: expected a result of element type f16, got f32
func.func @concat_type(%a: tensor<4x8xf32>, %b: tensor<2x8xf16>) {
  %y = kernel.concat %a, %b {axis = 0 : i64} : (tensor<4x8xf32>, tensor<2x8xf16>) -> tensor<6x8xf32>
  func.return
}

// -----

// CHECK: kernel.concat: 2x9 does not continue 4x8
func.func @concat_other(%a: tensor<4x8xf32>, %b: tensor<2x9xf32>) {
  %y = kernel.concat %a, %b {axis = 0 : i64} : (tensor<4x8xf32>, tensor<2x9xf32>) -> tensor<6x8xf32>
  func.return
}

// -----

// CHECK: kernel.concat: expected a result of shape 6x8, got 8x8
func.func @concat_shape(%a: tensor<4x8xf32>, %b: tensor<2x8xf32>) {
  %y = kernel.concat %a, %b {axis = 0 : i64} : (tensor<4x8xf32>, tensor<2x8xf32>) -> tensor<8x8xf32>
  func.return
}

// -----

// CHECK: kernel.pad: expected a number, not negative, for each of 2 dimensions
func.func @pad_negative(%x: tensor<4x8xf32>) {
  %y = kernel.pad %x low [0, -1] high [0, 2] {value = 0.0 : f64} : tensor<4x8xf32> -> tensor<4x9xf32>
  func.return
}

// -----

// CHECK: kernel.pad: expected a number, not negative, for each of 2 dimensions
func.func @pad_rank(%x: tensor<4x8xf32>) {
  %y = kernel.pad %x low [0, 1] high [2] {value = 0.0 : f64} : tensor<4x8xf32> -> tensor<4x9xf32>
  func.return
}

// -----

// CHECK: kernel.pad: expected a result of element type f32, got f16
func.func @pad_type(%x: tensor<4x8xf32>) {
  %y = kernel.pad %x low [0, 1] high [0, 2] {value = 0.0 : f64} : tensor<4x8xf32> -> tensor<4x11xf16>
  func.return
}

// -----

// CHECK: kernel.pad: expected a result of shape 4x11, got 4x10
func.func @pad_shape(%x: tensor<4x8xf32>) {
  %y = kernel.pad %x low [0, 1] high [0, 2] {value = 0.0 : f64} : tensor<4x8xf32> -> tensor<4x10xf32>
  func.return
}

// -----

// CHECK: kernel.broadcast: 4 does not broadcast to 4x8
func.func @broadcast_shape(%x: tensor<4xf32>) {
  %y = kernel.broadcast %x : tensor<4xf32> -> tensor<4x8xf32>
  func.return
}

// -----

// CHECK: kernel.broadcast: 4x8 does not broadcast to 4x1
func.func @broadcast_smaller(%x: tensor<4x8xf32>) {
  %y = kernel.broadcast %x : tensor<4x8xf32> -> tensor<4x1xf32>
  func.return
}

// -----

// CHECK: kernel.broadcast: expected a result of element type f32, got f16
func.func @broadcast_type(%x: tensor<8xf32>) {
  %y = kernel.broadcast %x : tensor<8xf32> -> tensor<4x8xf16>
  func.return
}

// -----

// CHECK: kernel.scan: expected add or mul, got max
func.func @scan_kind(%x: tensor<4x16xf32>) {
  %y = kernel.scan max %x {axis = 1 : i64} : tensor<4x16xf32> -> tensor<4x16xf32>
  func.return
}

// -----

// CHECK: kernel.scan: axes must be distinct, rising and from 0 to 1, got [2]
func.func @scan_axis(%x: tensor<4x16xf32>) {
  %y = kernel.scan add %x {axis = 2 : i64} : tensor<4x16xf32> -> tensor<4x16xf32>
  func.return
}

// -----

// CHECK: kernel.scan: expected a result of shape 4x16, got 4x1
func.func @scan_shape(%x: tensor<4x16xf32>) {
  %y = kernel.scan add %x {axis = 1 : i64} : tensor<4x16xf32> -> tensor<4x1xf32>
  func.return
}

// -----

// CHECK: kernel.conv: 256 is no ui8, to pad with
func.func @conv_fill(%x: tensor<1x3x8x8xui8>, %w: tensor<4x3x3x3xi8>) {
  %y = kernel.conv %x, %w strides [1, 1] dilations [1, 1] low [1, 1] high [1, 1] {groups = 1 : i64, fill = 256 : i64}
    : (tensor<1x3x8x8xui8>, tensor<4x3x3x3xi8>) -> tensor<1x4x8x8xi32>
  func.return
}

// -----

// CHECK: kernel.conv: an image of f32 is padded with 0
func.func @conv_fill_float(%x: tensor<1x3x8x8xf32>, %w: tensor<4x3x3x3xf32>) {
  %y = kernel.conv %x, %w strides [1, 1] dilations [1, 1] low [1, 1] high [1, 1] {groups = 1 : i64, fill = 1 : i64}
    : (tensor<1x3x8x8xf32>, tensor<4x3x3x3xf32>) -> tensor<1x4x8x8xf32>
  func.return
}

// -----

// CHECK: kernel.conv: ui8 times i8 adds up in i32, got i8
func.func @conv_sums(%x: tensor<1x3x8x8xui8>, %w: tensor<4x3x3x3xi8>) {
  %y = kernel.conv %x, %w strides [1, 1] dilations [1, 1] low [1, 1] high [1, 1] {groups = 1 : i64}
    : (tensor<1x3x8x8xui8>, tensor<4x3x3x3xi8>) -> tensor<1x4x8x8xi8>
  func.return
}
