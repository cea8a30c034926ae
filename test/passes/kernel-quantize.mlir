// RUN: kpu-opt %s -p kernel-quantize --split-input-file | filecheck %s

// The example of the pass: the zero point times the sums of columns is one constant, 3 x 8 = 24; scales are
// one factor a column, 0.5 x (0.25, 0.5) / 2.
// CHECK-LABEL: @example
// CHECK:         %[[Q:.*]] = kernel.constant dense<1> : tensor<8x2xi8>
// CHECK:         %[[C:.*]] = kernel.matmul %p, %[[Q]] : (tensor<4x8xui8>, tensor<8x2xi8>) -> tensor<4x2xi32>
// CHECK:         %[[S:.*]] = kernel.constant dense<-24> : tensor<1x2xi32>
// CHECK:         %[[F:.*]] = kernel.constant dense<{{\[\[}}6.250000e-02, 1.250000e-01]]> : tensor<1x2xf32>
// CHECK:         %y = kernel.map %[[C]], %[[S]], %[[F]] : (tensor<4x2xi32>, tensor<1x2xi32>, tensor<1x2xf32>) -> tensor<4x2xi8> {
// CHECK:           arith.addi
// CHECK-NEXT:      arith.sitofp
// CHECK-NEXT:      arith.mulf
// CHECK-NEXT:      math.roundeven
// CHECK:         func.return %y
func.func @example(%p: tensor<4x8xui8>) -> tensor<4x2xi8> {
  %s = kernel.constant dense<0.5> : tensor<1xf32>
  %z = kernel.constant dense<3> : tensor<1xui8>
  %q = kernel.constant dense<1> : tensor<8x2xi8>
  %t = kernel.constant dense<[[0.25, 0.5]]> : tensor<1x2xf32>
  %u = kernel.constant dense<2.0> : tensor<1xf32>
  %x = kernel.dequantize %p scale %s zero %z : tensor<4x8xui8>, tensor<1xf32>, tensor<1xui8> -> tensor<4x8xf32>
  %w = kernel.dequantize %q scale %t : tensor<8x2xi8>, tensor<1x2xf32> -> tensor<8x2xf32>
  %c = kernel.matmul %x, %w : (tensor<4x8xf32>, tensor<8x2xf32>) -> tensor<4x2xf32>
  %y = kernel.quantize %c scale %u : tensor<4x2xf32>, tensor<1xf32> -> tensor<4x2xi8>
  func.return %y : tensor<4x2xi8>
}

// -----

// What is padded with 0 is padded with its zero point; a ReLU is a bound of the result.
// CHECK-LABEL: @convolution
// CHECK:         kernel.conv %p, %{{.*}} low [1, 1] high [1, 1] {groups = 1 : i64, fill = 7 : i64} : (tensor<1x2x4x4xi8>, tensor<3x2x3x3xi8>) -> tensor<1x3x4x4xi32>
// CHECK:         kernel.map
// CHECK:           arith.constant 5.000000e+00 : f32
// CHECK:           arith.addf
// CHECK:           arith.constant 5.000000e+00 : f32
// CHECK-NEXT:      arith.maximumf
// CHECK-NOT:     kernel.map
func.func @convolution(%p: tensor<1x2x4x4xi8>, %v: tensor<3x2x3x3xi8>) -> tensor<1x3x4x4xi8> {
  %s = kernel.constant dense<0.5> : tensor<1xf32>
  %z = kernel.constant dense<7> : tensor<1xi8>
  %k = kernel.constant dense<5> : tensor<1xi8>
  %w = kernel.constant dense<2> : tensor<3x2x3x3xi8>
  %x = kernel.dequantize %p scale %s zero %z : tensor<1x2x4x4xi8>, tensor<1xf32>, tensor<1xi8> -> tensor<1x2x4x4xf32>
  %f = kernel.dequantize %w scale %s : tensor<3x2x3x3xi8>, tensor<1xf32> -> tensor<3x2x3x3xf32>
  %c = kernel.conv %x, %f strides [1, 1] dilations [1, 1] low [1, 1] high [1, 1] {groups = 1 : i64}
    : (tensor<1x2x4x4xf32>, tensor<3x2x3x3xf32>) -> tensor<1x3x4x4xf32>
  %r = kernel.map %c : (tensor<1x3x4x4xf32>) -> tensor<1x3x4x4xf32> {
  ^bb0(%a: f32):
    %0 = arith.constant 0.0 : f32
    %m = arith.maximumf %a, %0 : f32
    kernel.yield %m : f32
  }
  %y = kernel.quantize %r scale %s zero %k : tensor<1x3x4x4xf32>, tensor<1xf32>, tensor<1xi8> -> tensor<1x3x4x4xi8>
  func.return %y : tensor<1x3x4x4xi8>
}

// -----

// What moves or chooses numbers does so while they are stored.
// CHECK-LABEL: @movement
// CHECK:         %[[T:.*]] = kernel.transpose %p permutation [0, 1, 3, 2]
// CHECK-NEXT:    %[[M:.*]] = kernel.pool max %[[T]]
// CHECK-NEXT:    %[[P:.*]] = kernel.pad %[[M]] low [0, 0, 1, 1] high [0, 0, 0, 0] {value = 4.000000e+00 : f64}
// CHECK-NEXT:    func.return %[[P]] : tensor<1x2x3x3xi8>
func.func @movement(%p: tensor<1x2x4x4xi8>) -> tensor<1x2x3x3xi8> {
  %s = kernel.constant dense<0.5> : tensor<1xf32>
  %z = kernel.constant dense<4> : tensor<1xi8>
  %x = kernel.dequantize %p scale %s zero %z : tensor<1x2x4x4xi8>, tensor<1xf32>, tensor<1xi8> -> tensor<1x2x4x4xf32>
  %t = kernel.transpose %x permutation [0, 1, 3, 2] : tensor<1x2x4x4xf32> -> tensor<1x2x4x4xf32>
  %m = kernel.pool max %t kernel [2, 2] strides [2, 2] dilations [1, 1] low [0, 0] high [0, 0] : tensor<1x2x4x4xf32> -> tensor<1x2x2x2xf32>
  %d = kernel.pad %m low [0, 0, 1, 1] high [0, 0, 0, 0] {value = 0.0 : f64} : tensor<1x2x2x2xf32> -> tensor<1x2x3x3xf32>
  %y = kernel.quantize %d scale %s zero %z : tensor<1x2x3x3xf32>, tensor<1xf32>, tensor<1xi8> -> tensor<1x2x3x3xi8>
  func.return %y : tensor<1x2x3x3xi8>
}

// -----

// Scales that change along what is summed have no integer form: the product stays as it is.
// CHECK-LABEL: @blocks
// CHECK:         kernel.matmul %{{.*}}, %{{.*}} : (tensor<4x8xf32>, tensor<8x2xf32>) -> tensor<4x2xf32>
func.func @blocks(%p: tensor<4x8xi8>, %q: tensor<8x2xi8>, %t: tensor<2x2xf32>) -> tensor<4x2xf32> {
  %s = kernel.constant dense<0.5> : tensor<1xf32>
  %x = kernel.dequantize %p scale %s : tensor<4x8xi8>, tensor<1xf32> -> tensor<4x8xf32>
  %w = kernel.dequantize %q scale %t : tensor<8x2xi8>, tensor<2x2xf32> -> tensor<8x2xf32>
  %c = kernel.matmul %x, %w : (tensor<4x8xf32>, tensor<8x2xf32>) -> tensor<4x2xf32>
  func.return %c : tensor<4x2xf32>
}

// -----

// Weights alone: they stay stored, around 8 as i4, and sums are scaled where they leave the array.
// CHECK-LABEL: @weights
// CHECK:         %[[Q:.*]] = kernel.constant dense<-3> : tensor<8x2xi4>
// CHECK:         %[[C:.*]] = kernel.matmul %x, %[[Q]] : (tensor<4x8xf16>, tensor<8x2xi4>) -> tensor<4x2xf32>
// CHECK:         kernel.map %[[C]], %{{.*}} : (tensor<4x2xf32>, tensor<1x2xf16>) -> tensor<4x2xf16>
// CHECK:           arith.mulf %{{.*}}, %{{.*}} : f32
// CHECK-NEXT:      arith.truncf
func.func @weights(%x: tensor<4x8xf16>) -> tensor<4x2xf16> {
  %q = kernel.constant dense<5> : tensor<8x2xui4>
  %z = kernel.constant dense<8> : tensor<1xui4>
  %s = kernel.constant dense<[[0.5, 0.25]]> : tensor<1x2xf16>
  %w = kernel.dequantize %q scale %s zero %z : tensor<8x2xui4>, tensor<1x2xf16>, tensor<1xui4> -> tensor<8x2xf16>
  %y = kernel.matmul %x, %w : (tensor<4x8xf16>, tensor<8x2xf16>) -> tensor<4x2xf16>
  func.return %y : tensor<4x2xf16>
}

// -----

// What is moved and then quantized is quantized where it is made, and then moved: the product's epilogue takes
// the quantize in, and bytes are turned.
// CHECK-LABEL: @sooner
// CHECK:         %[[C:.*]] = kernel.matmul %p, %{{.*}} -> tensor<4x6xi32>
// CHECK:         %[[Y:.*]] = kernel.map %[[C]], {{.*}} -> tensor<4x6xi8> {
// CHECK:           math.roundeven
// CHECK:         %[[V:.*]] = kernel.reshape %[[Y]] : tensor<4x6xi8> -> tensor<4x2x3xi8>
// CHECK-NEXT:    %{{.*}} = kernel.transpose %[[V]] permutation [1, 0, 2] : tensor<4x2x3xi8> -> tensor<2x4x3xi8>
// CHECK-NEXT:    func.return
func.func @sooner(%p: tensor<4x8xi8>) -> tensor<2x4x3xi8> {
  %s = kernel.constant dense<0.5> : tensor<1x1x1xf32>
  %f = kernel.constant dense<0.5> : tensor<1xf32>
  %q = kernel.constant dense<1> : tensor<8x6xi8>
  %x = kernel.dequantize %p scale %f : tensor<4x8xi8>, tensor<1xf32> -> tensor<4x8xf32>
  %w = kernel.dequantize %q scale %f : tensor<8x6xi8>, tensor<1xf32> -> tensor<8x6xf32>
  %c = kernel.matmul %x, %w : (tensor<4x8xf32>, tensor<8x6xf32>) -> tensor<4x6xf32>
  %v = kernel.reshape %c : tensor<4x6xf32> -> tensor<4x2x3xf32>
  %t = kernel.transpose %v permutation [1, 0, 2] : tensor<4x2x3xf32> -> tensor<2x4x3xf32>
  %y = kernel.quantize %t scale %s : tensor<2x4x3xf32>, tensor<1x1x1xf32> -> tensor<2x4x3xi8>
  func.return %y : tensor<2x4x3xi8>
}

// -----

// Not where something reads what is moved in floats; scales of rows pass what only adds extents of 1.
// CHECK-LABEL: @not_sooner
// CHECK:         %[[T:.*]] = kernel.transpose %x permutation [1, 0] : tensor<4x6xf32> -> tensor<6x4xf32>
// CHECK-NEXT:    kernel.quantize %[[T]]
// CHECK:         %[[R:.*]] = kernel.reshape %rows : tensor<1x4x1xf32> -> tensor<4x1xf32>
// CHECK-NEXT:    %[[Q:.*]] = kernel.quantize %x scale %[[R]] : tensor<4x6xf32>, tensor<4x1xf32> -> tensor<4x6xi8>
// CHECK-NEXT:    kernel.reshape %[[Q]] : tensor<4x6xi8> -> tensor<1x4x6xi8>
func.func @not_sooner(%x: tensor<4x6xf32>, %rows: tensor<1x4x1xf32>) -> (tensor<6x4xf32>, tensor<6x4xi8>, tensor<1x4x6xi8>) {
  %s = kernel.constant dense<0.5> : tensor<1xf32>
  %t = kernel.transpose %x permutation [1, 0] : tensor<4x6xf32> -> tensor<6x4xf32>
  %y = kernel.quantize %t scale %s : tensor<6x4xf32>, tensor<1xf32> -> tensor<6x4xi8>
  %v = kernel.reshape %x : tensor<4x6xf32> -> tensor<1x4x6xf32>
  %z = kernel.quantize %v scale %rows : tensor<1x4x6xf32>, tensor<1x4x1xf32> -> tensor<1x4x6xi8>
  func.return %t, %y, %z : tensor<6x4xf32>, tensor<6x4xi8>, tensor<1x4x6xi8>
}

// -----

// A mean of bytes: the sum of what is stored, less 16 x 3; scale, share and the result's scale are one factor.
// CHECK-LABEL: @mean
// CHECK:         %[[R:.*]] = kernel.reduce add %p axes [2, 3] : tensor<1x2x4x4xui8> -> tensor<1x2x1x1xi32>
// CHECK:         %[[Z:.*]] = kernel.constant dense<-48> : tensor<1x1x1x1xi32>
// CHECK:         %[[F:.*]] = kernel.constant dense<1.562500e-02> : tensor<1x1x1x1xf32>
// CHECK:         kernel.map %[[R]], %[[Z]], %[[F]] : (tensor<1x2x1x1xi32>, tensor<1x1x1x1xi32>, tensor<1x1x1x1xf32>) -> tensor<1x2x1x1xui8> {
func.func @mean(%p: tensor<1x2x4x4xui8>) -> tensor<1x2x1x1xui8> {
  %s = kernel.constant dense<0.5> : tensor<1xf32>
  %z = kernel.constant dense<3> : tensor<1xui8>
  %t = kernel.constant dense<2.0> : tensor<1xf32>
  %x = kernel.dequantize %p scale %s zero %z : tensor<1x2x4x4xui8>, tensor<1xf32>, tensor<1xui8> -> tensor<1x2x4x4xf32>
  %r = kernel.reduce add %x axes [2, 3] : tensor<1x2x4x4xf32> -> tensor<1x2x1x1xf32>
  %m = kernel.map %r : (tensor<1x2x1x1xf32>) -> tensor<1x2x1x1xf32> {
  ^bb0(%a: f32):
    %0 = arith.constant 0.0625 : f32
    %1 = arith.mulf %a, %0 : f32
    kernel.yield %1 : f32
  }
  %y = kernel.quantize %m scale %t : tensor<1x2x1x1xf32>, tensor<1xf32> -> tensor<1x2x1x1xui8>
  func.return %y : tensor<1x2x1x1xui8>
}

// -----

// Weights with a scale for each block of k: a product for each block, whose sums are scaled and added up.
// CHECK-LABEL: @weights_in_blocks
// CHECK:         %[[Q:.*]] = kernel.constant dense<5> : tensor<2x4x2xi4>
// CHECK:         %[[C:.*]] = kernel.matmul %{{.*}}, %[[Q]] : (tensor<2x3x4xf16>, tensor<2x4x2xi4>) -> tensor<2x3x2xf32>
// CHECK:         %[[S:.*]] = kernel.map %[[C]], %{{.*}} : (tensor<2x3x2xf32>, tensor<2x1x2xf16>) -> tensor<2x3x2xf32>
// CHECK:         kernel.reduce add %[[S]] axes [0] : tensor<2x3x2xf32> -> tensor<1x3x2xf32>
func.func @weights_in_blocks(%x: tensor<3x8xf16>) -> tensor<3x2xf16> {
  %q = kernel.constant dense<5> : tensor<8x2xi4>
  %s = kernel.constant dense<[[0.5, 0.25], [0.125, 0.75]]> : tensor<2x2xf16>
  %w = kernel.dequantize %q scale %s : tensor<8x2xi4>, tensor<2x2xf16> -> tensor<8x2xf16>
  %y = kernel.matmul %x, %w : (tensor<3x8xf16>, tensor<8x2xf16>) -> tensor<3x2xf16>
  func.return %y : tensor<3x2xf16>
}

// -----

// A quantize that asks for it: 0.5 x 0.5 / 2 is 2^30 of 31 bits, shifted by two; rounded once to the upper half,
// once by the shift, half away from zero.
// CHECK-LABEL: @double
// CHECK:         kernel.map %{{.*}} : (tensor<4x2xi32>) -> tensor<4x2xi8> {
// CHECK:           %[[M:.*]] = arith.constant 1073741824 : i64
// CHECK-NEXT:      arith.muli %{{.*}}, %[[M]] : i64
// CHECK:           %[[B:.*]] = arith.constant 31 : i64
// CHECK-NEXT:      %[[H:.*]] = arith.shrsi %{{.*}}, %[[B]] : i64
// CHECK:           arith.shrsi %[[H]]
// CHECK:           %[[E:.*]] = arith.constant 2 : i64
// CHECK:           arith.shrsi %{{.*}}, %[[E]] : i64
// CHECK:           arith.trunci %{{.*}} : i64 to i8
func.func @double(%p: tensor<4x8xi8>) -> tensor<4x2xi8> {
  %s = kernel.constant dense<0.5> : tensor<1xf32>
  %t = kernel.constant dense<2.0> : tensor<1xf32>
  %q = kernel.constant dense<1> : tensor<8x2xi8>
  %x = kernel.dequantize %p scale %s : tensor<4x8xi8>, tensor<1xf32> -> tensor<4x8xf32>
  %w = kernel.dequantize %q scale %s : tensor<8x2xi8>, tensor<1xf32> -> tensor<8x2xf32>
  %c = kernel.matmul %x, %w : (tensor<4x8xf32>, tensor<8x2xf32>) -> tensor<4x2xf32>
  %y = kernel.quantize %c scale %t {requantize = "double"} : tensor<4x2xf32>, tensor<1xf32> -> tensor<4x2xi8>
  func.return %y : tensor<4x2xi8>
}

// -----

// Floats of 8 bits are multiplied as they are stored, and added up in f32; their scales come after the sum.
// CHECK-LABEL: @floats
// CHECK:         %[[C:.*]] = kernel.matmul %p, %{{.*}} : (tensor<4x8xf8E4M3FN>, tensor<8x6xf8E5M2>) -> tensor<4x6xf32>
// CHECK:         kernel.constant dense<2.500000e-01> : tensor<1x1xf32>
// CHECK-NEXT:    %{{.*}} = kernel.map %[[C]], {{.*}} -> tensor<4x6xf32> {
// CHECK:           arith.mulf
// CHECK-NEXT:      kernel.yield
func.func @floats(%p: tensor<4x8xf8E4M3FN>) -> tensor<4x6xf32> {
  %f = kernel.constant dense<0.5> : tensor<1xf32>
  %q = kernel.constant dense<1.0> : tensor<8x6xf8E5M2>
  %x = kernel.dequantize %p scale %f : tensor<4x8xf8E4M3FN>, tensor<1xf32> -> tensor<4x8xf32>
  %w = kernel.dequantize %q scale %f : tensor<8x6xf8E5M2>, tensor<1xf32> -> tensor<8x6xf32>
  %c = kernel.matmul %x, %w : (tensor<4x8xf32>, tensor<8x6xf32>) -> tensor<4x6xf32>
  func.return %c : tensor<4x6xf32>
}
