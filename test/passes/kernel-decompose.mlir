// RUN: kpu-opt %s -p kernel-decompose --split-input-file | filecheck %s

// The example of the pass.
// CHECK-LABEL: @softmax
// CHECK-NEXT:    %p = kernel.fused : tensor<4x16xf32> {
// CHECK-NEXT:      %[[M:.*]] = kernel.reduce max %x axes [1] : tensor<4x16xf32> -> tensor<4x1xf32>
// CHECK-NEXT:      %[[E:.*]] = kernel.map %x, %[[M]] : (tensor<4x16xf32>, tensor<4x1xf32>) -> tensor<4x16xf32> {
// CHECK:             math.exp
// CHECK:           %[[S:.*]] = kernel.reduce add %[[E]] axes [1] : tensor<4x16xf32> -> tensor<4x1xf32>
// CHECK-NEXT:      %[[I:.*]] = kernel.map %[[S]] : (tensor<4x1xf32>) -> tensor<4x1xf32> {
// CHECK:             arith.divf
// CHECK:           %[[Y:.*]] = kernel.map %[[E]], %[[I]] : (tensor<4x16xf32>, tensor<4x1xf32>) -> tensor<4x16xf32> {
// CHECK:             arith.mulf
// CHECK:           kernel.yield %[[Y]] : tensor<4x16xf32>
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return %p
func.func @softmax(%x: tensor<4x16xf32>) -> tensor<4x16xf32> {
  %p = kernel.softmax %x {axis = 1 : i64} : tensor<4x16xf32> -> tensor<4x16xf32>
  func.return %p : tensor<4x16xf32>
}

// -----

// Its logarithm subtracts that of the sum; short floats are computed in f32.
// CHECK-LABEL: @log
// CHECK:           arith.extf
// CHECK:           kernel.reduce max %{{.*}} axes [0] : tensor<4x16xf32> -> tensor<1x16xf32>
// CHECK:           math.exp
// CHECK:           kernel.reduce add
// CHECK:           math.log
// CHECK:           arith.truncf
func.func @log(%x: tensor<4x16xbf16>) -> tensor<4x16xbf16> {
  %p = kernel.softmax %x {axis = 0 : i64, log} : tensor<4x16xbf16> -> tensor<4x16xbf16>
  func.return %p : tensor<4x16xbf16>
}

// -----

// RMS norm: no mean is taken away.
// CHECK-LABEL: @rms
// CHECK-NEXT:    kernel.fused
// CHECK:           arith.mulf
// CHECK:           kernel.reduce add %{{.*}} axes [1]
// CHECK:           math.sqrt
// CHECK-NOT:       kernel.reduce
// CHECK:           func.return
func.func @rms(%x: tensor<4x16xf32>, %s: tensor<16xf32>) -> tensor<4x16xf32> {
  %p = kernel.normalize %x, %s axes [1] {epsilon = 1.0e-05 : f64} : (tensor<4x16xf32>, tensor<16xf32>) -> tensor<4x16xf32>
  func.return %p : tensor<4x16xf32>
}

// -----

// The number of the first element that equals the largest.
// CHECK-LABEL: @arg
// CHECK-NEXT:    %[[N:.*]] = kernel.constant dense<{{\[\[}}0, 1, 2]]> : tensor<1x3xi64>
// CHECK-NEXT:    kernel.fused : tensor<4x1xi64> {
// CHECK-NEXT:      %[[M:.*]] = kernel.reduce max %x axes [1] : tensor<4x3xi32> -> tensor<4x1xi32>
// CHECK-NEXT:      %[[P:.*]] = kernel.map %x, %[[M]], %[[N]] : (tensor<4x3xi32>, tensor<4x1xi32>, tensor<1x3xi64>) -> tensor<4x3xi64> {
// CHECK:             arith.cmpi eq
// CHECK:             arith.select
// CHECK:           kernel.reduce min %[[P]] axes [1] : tensor<4x3xi64> -> tensor<4x1xi64>
func.func @arg(%x: tensor<4x3xi32>) -> tensor<4x1xi64> {
  %i = kernel.arg_reduce max %x {axis = 1 : i64} : tensor<4x3xi32> -> tensor<4x1xi64>
  func.return %i : tensor<4x1xi64>
}

// -----

// Rows that fit on chip stay; of a longer one it is one kernel an element.
// CHECK-LABEL: @top
// CHECK-NEXT:    kernel.top_k
// CHECK-COUNT-3: kernel.fused : tensor<1x1xf32>, tensor<1x1xi64>
// CHECK:         kernel.concat %{{.*}}, %{{.*}}, %{{.*}} {axis = 1 : i64} : (tensor<1x1xf32>, tensor<1x1xf32>, tensor<1x1xf32>) -> tensor<1x3xf32>
// CHECK-NEXT:    kernel.concat %{{.*}}, %{{.*}}, %{{.*}} {axis = 1 : i64} : (tensor<1x1xi64>, tensor<1x1xi64>, tensor<1x1xi64>) -> tensor<1x3xi64>
func.func @top(%x: tensor<4x16xf32>, %y: tensor<1x99991xf32>) -> (tensor<4x3xf32>, tensor<4x3xi64>, tensor<1x3xf32>, tensor<1x3xi64>) {
  %v, %i = kernel.top_k %x {k = 3 : i64, axis = 1 : i64} : tensor<4x16xf32> -> tensor<4x3xf32>, tensor<4x3xi64>
  %w, %j = kernel.top_k %y {k = 3 : i64, axis = 1 : i64} : tensor<1x99991xf32> -> tensor<1x3xf32>, tensor<1x3xi64>
  func.return %v, %i, %w, %j : tensor<4x3xf32>, tensor<4x3xi64>, tensor<1x3xf32>, tensor<1x3xi64>
}

// -----

// A scan of a long row is one of its blocks, and one of what they come to.
// CHECK-LABEL: @scan
// CHECK-NEXT:    kernel.scan mul %x
// CHECK-NEXT:    kernel.pad %y low [0, 0] high [0, {{.*}}]
// CHECK-NEXT:    %[[B:.*]] = kernel.reshape
// CHECK-NEXT:    %[[T:.*]] = kernel.reduce add %[[B]] axes [2]
// CHECK-NEXT:    %[[E:.*]] = kernel.scan add %[[T]] {axis = 1 : i64, exclusive}
// CHECK-NEXT:    %[[I:.*]] = kernel.scan add %[[B]] {axis = 2 : i64}
// CHECK-NEXT:    kernel.map %[[I]], %[[E]]
// CHECK:         kernel.slice
func.func @scan(%x: tensor<4x16xf32>, %y: tensor<1x99991xf32>) -> (tensor<4x16xf32>, tensor<1x99991xf32>) {
  %s = kernel.scan mul %x {axis = 1 : i64} : tensor<4x16xf32> -> tensor<4x16xf32>
  %t = kernel.scan add %y {axis = 1 : i64} : tensor<1x99991xf32> -> tensor<1x99991xf32>
  func.return %s, %t : tensor<4x16xf32>, tensor<1x99991xf32>
}

// -----

// Two queries share a head of keys: they stand beside each other, since the mask tells queries apart.
// CHECK-LABEL: @attention
// CHECK-NEXT:    %[[M:.*]] = kernel.constant dense<{{.*}}> : tensor<2x3xf32>
// CHECK-NEXT:    %[[Q:.*]] = kernel.reshape %q : tensor<1x4x2x8xf16> -> tensor<1x2x2x2x8xf16>
// CHECK-NEXT:    %[[K:.*]] = kernel.reshape %k : tensor<1x2x3x8xf16> -> tensor<1x2x1x3x8xf16>
// CHECK-NEXT:    %[[V:.*]] = kernel.reshape %k : tensor<1x2x3x8xf16> -> tensor<1x2x1x3x8xf16>
// CHECK-NEXT:    %[[S:.*]] = kernel.matmul %[[Q]], %[[K]] {transpose_b} : (tensor<1x2x2x2x8xf16>, tensor<1x2x1x3x8xf16>) -> tensor<1x2x2x2x3xf32>
// CHECK-NEXT:    %[[T:.*]] = kernel.map %[[S]], %[[M]]
// CHECK:           arith.constant 1.250000e-01 : f32
// CHECK:         %[[P:.*]] = kernel.fused : tensor<1x2x2x2x3xf32> {
// CHECK-NEXT:      kernel.reduce max %[[T]] axes [4]
// CHECK:           kernel.reduce add
// CHECK:         %[[H:.*]] = kernel.map %[[P]]
// CHECK:           arith.truncf
// CHECK:         %[[Y:.*]] = kernel.matmul %[[H]], %[[V]] : (tensor<1x2x2x2x3xf16>, tensor<1x2x1x3x8xf16>) -> tensor<1x2x2x2x8xf16>
// CHECK-NEXT:    %{{.*}} = kernel.reshape %[[Y]] : tensor<1x2x2x2x8xf16> -> tensor<1x4x2x8xf16>
func.func @attention(%q: tensor<1x4x2x8xf16>, %k: tensor<1x2x3x8xf16>) -> tensor<1x4x2x8xf16> {
  %y = kernel.attention %q, %k, %k {scale = 0.125 : f64, causal} : (tensor<1x4x2x8xf16>, tensor<1x2x3x8xf16>, tensor<1x2x3x8xf16>) -> tensor<1x4x2x8xf16>
  func.return %y : tensor<1x4x2x8xf16>
}

// -----

// Blocks of a scale are a dimension of their own.
// CHECK-LABEL: @quantized
// CHECK-DAG:     kernel.reshape %x : tensor<8x4xf32> -> tensor<2x4x4xf32>
// CHECK-DAG:     kernel.reshape %s : tensor<2x4xf32> -> tensor<2x1x4xf32>
// CHECK:         kernel.map %{{.*}}, %{{.*}} : (tensor<2x4x4xf32>, tensor<2x1x4xf32>) -> tensor<2x4x4xi8>
// CHECK:           arith.divf
// CHECK:           math.roundeven
// CHECK:         %[[Q:.*]] = kernel.reshape %{{.*}} : tensor<2x4x4xi8> -> tensor<8x4xi8>
// CHECK:         kernel.map %[[Q]], %t, %z : (tensor<8x4xi8>, tensor<1xf32>, tensor<1xi8>) -> tensor<8x4xf32>
// CHECK:           arith.subf
// CHECK:           arith.mulf
func.func @quantized(%x: tensor<8x4xf32>, %s: tensor<2x4xf32>, %t: tensor<1xf32>, %z: tensor<1xi8>) -> tensor<8x4xf32> {
  %q = kernel.quantize %x scale %s : tensor<8x4xf32>, tensor<2x4xf32> -> tensor<8x4xi8>
  %y = kernel.dequantize %q scale %t zero %z : tensor<8x4xi8>, tensor<1xf32>, tensor<1xi8> -> tensor<8x4xf32>
  func.return %y : tensor<8x4xf32>
}

// -----

// A softmax that is only quantized divides by the step in each row's reciprocal: no operation an element.
// CHECK-LABEL: @softmax_in_steps
// CHECK:         kernel.fused
// CHECK:           arith.divf
// CHECK:           arith.constant 2.500000e-01 : f32
// CHECK-NEXT:      arith.divf
// CHECK:           arith.mulf
// CHECK:         kernel.map
// CHECK-NEXT:    ^bb0
// CHECK-NEXT:      math.roundeven
// CHECK-NOT:     arith.divf
func.func @softmax_in_steps(%x: tensor<4x8xf32>) -> tensor<4x8xui8> {
  %s = kernel.constant dense<0.25> : tensor<1xf32>
  %p = kernel.softmax %x {axis = 1 : i64} : tensor<4x8xf32> -> tensor<4x8xf32>
  %q = kernel.quantize %p scale %s : tensor<4x8xf32>, tensor<1xf32> -> tensor<4x8xui8>
  func.return %q : tensor<4x8xui8>
}

// -----

// GELU's 0.5 goes into the step: x (1 + erf) / (2 x 0.5).
// CHECK-LABEL: @half_a_step
// CHECK:         math.erf
// CHECK:         %[[T:.*]] = arith.addf
// CHECK-NEXT:    %[[Y:.*]] = arith.mulf %{{.*}}, %[[T]]
// CHECK-NEXT:    kernel.yield %[[Y]]
// CHECK:         kernel.map
// CHECK:           math.roundeven
func.func @half_a_step(%x: tensor<4x8xf32>) -> tensor<4x8xi8> {
  %s = kernel.constant dense<0.5> : tensor<1xf32>
  %g = kernel.map %x : (tensor<4x8xf32>) -> tensor<4x8xf32> {
  ^bb0(%a: f32):
    %h = arith.constant 0.5 : f32
    %one = arith.constant 1.0 : f32
    %b = arith.mulf %h, %a : f32
    %e = math.erf %a : f32
    %t = arith.addf %one, %e : f32
    %y = arith.mulf %b, %t : f32
    kernel.yield %y : f32
  }
  %q = kernel.quantize %g scale %s : tensor<4x8xf32>, tensor<1xf32> -> tensor<4x8xi8>
  func.return %q : tensor<4x8xi8>
}
