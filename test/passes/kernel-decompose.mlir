// RUN: kpu-opt %s -p kernel-decompose --split-input-file | filecheck %s

// Each named kernel becomes maps and reductions in one kernel.fused, so one program does it.

// The example of the pass: the largest element is taken away first, the sum is inverted once a row.
// CHECK-LABEL: @softmax
// CHECK-NEXT:    %p = kernel.fused : tensor<4x16xf32> {
// CHECK-NEXT:      %[[M:.*]] = kernel.reduce max %x axes [1] : tensor<4x16xf32> -> tensor<4x1xf32>
// CHECK-NEXT:      %[[E:.*]] = kernel.map %x, %[[M]] : (tensor<4x16xf32>, tensor<4x1xf32>) -> tensor<4x16xf32> {
// CHECK:             arith.subf
// CHECK-NEXT:        math.exp
// CHECK:           %[[S:.*]] = kernel.reduce add %[[E]] axes [1] : tensor<4x16xf32> -> tensor<4x1xf32>
// CHECK-NEXT:      %[[I:.*]] = kernel.map %[[S]] : (tensor<4x1xf32>) -> tensor<4x1xf32> {
// CHECK:             arith.divf
// CHECK:           %[[Y:.*]] = kernel.map %[[E]], %[[I]] : (tensor<4x16xf32>, tensor<4x1xf32>) -> tensor<4x16xf32> {
// CHECK:             arith.mulf
// CHECK:           kernel.yield %[[Y]] : tensor<4x16xf32>
func.func @softmax(%x: tensor<4x16xf32>) -> tensor<4x16xf32> {
  %p = kernel.softmax %x {axis = 1 : i64} : tensor<4x16xf32> -> tensor<4x16xf32>
  func.return %p : tensor<4x16xf32>
}

// -----

// The logarithm: x - m - log(sum), nothing is divided.
// CHECK-LABEL: @log
// CHECK:           %[[M:.*]] = kernel.reduce max %x axes [0] : tensor<4x16xf32> -> tensor<1x16xf32>
// CHECK:           %[[S:.*]] = kernel.reduce add %{{.*}} axes [0] : tensor<4x16xf32> -> tensor<1x16xf32>
// CHECK-NEXT:      kernel.map %x, %[[M]], %[[S]]
// CHECK:             arith.subf
// CHECK-NEXT:        math.log
// CHECK-NEXT:        arith.subf
// CHECK-NOT:     arith.divf
func.func @log(%x: tensor<4x16xf32>) -> tensor<4x16xf32> {
  %p = kernel.softmax %x {axis = 0 : i64, log} : tensor<4x16xf32> -> tensor<4x16xf32>
  func.return %p : tensor<4x16xf32>
}

// -----

// Short floats are computed in f32: widened at the beginning, shortened at the end.
// CHECK-LABEL: @short
// CHECK-NEXT:    kernel.fused : tensor<4x16xbf16> {
// CHECK-NEXT:      kernel.map %x : (tensor<4x16xbf16>) -> tensor<4x16xf32> {
// CHECK:             arith.extf {{.*}} : bf16 to f32
// CHECK:           kernel.reduce max {{.*}} : tensor<4x16xf32> -> tensor<4x1xf32>
// CHECK:           %[[Y:.*]] = kernel.map {{.*}} : (tensor<4x16xf32>) -> tensor<4x16xbf16> {
// CHECK:             arith.truncf {{.*}} : f32 to bf16
// CHECK:           kernel.yield %[[Y]] : tensor<4x16xbf16>
func.func @short(%x: tensor<4x16xbf16>) -> tensor<4x16xbf16> {
  %p = kernel.softmax %x {axis = 1 : i64} : tensor<4x16xbf16> -> tensor<4x16xbf16>
  func.return %p : tensor<4x16xbf16>
}

// -----

// A norm with a center: the mean is taken away, the variance is that of the differences.
// CHECK-LABEL: @norm
// CHECK:           %[[SUM:.*]] = kernel.reduce add %x axes [1] : tensor<4x16xf32> -> tensor<4x1xf32>
// CHECK-NEXT:      %[[MEAN:.*]] = kernel.map %[[SUM]]
// CHECK:             arith.constant 6.250000e-02 : f32
// CHECK:           %[[D:.*]] = kernel.map %x, %[[MEAN]]
// CHECK:             arith.subf
// CHECK:           %[[SQ:.*]] = kernel.map %[[D]]
// CHECK:           %[[POWER:.*]] = kernel.reduce add %[[SQ]] axes [1]
// CHECK-NEXT:      %[[F:.*]] = kernel.map %[[POWER]]
// CHECK:             math.sqrt
// CHECK:           kernel.map %[[D]], %[[F]], %s, %b
func.func @norm(%x: tensor<4x16xf32>, %s: tensor<16xf32>, %b: tensor<16xf32>) -> tensor<4x16xf32> {
  %y = kernel.normalize %x, %s, %b axes [1] {center, epsilon = 1.0e-05 : f64}
    : (tensor<4x16xf32>, tensor<16xf32>, tensor<16xf32>) -> tensor<4x16xf32>
  func.return %y : tensor<4x16xf32>
}

// -----

// Without one (RMS): one reduction, the mean of the squares.
// CHECK-LABEL: @rms
// CHECK-NEXT:    kernel.fused
// CHECK-NEXT:      %[[SQ:.*]] = kernel.map %x :
// CHECK:           %[[POWER:.*]] = kernel.reduce add %[[SQ]] axes [1]
// CHECK-NEXT:      %[[F:.*]] = kernel.map %[[POWER]]
// CHECK-NOT:     kernel.reduce
// CHECK:           kernel.map %x, %[[F]], %s :
func.func @rms(%x: tensor<4x16xf32>, %s: tensor<16xf32>) -> tensor<4x16xf32> {
  %y = kernel.normalize %x, %s axes [1] {epsilon = 1.0e-05 : f64} : (tensor<4x16xf32>, tensor<16xf32>) -> tensor<4x16xf32>
  func.return %y : tensor<4x16xf32>
}

// -----

// The largest element, then the least number of those that equal it.
// CHECK-LABEL: @arg
// CHECK-NEXT:    %[[N:.*]] = kernel.constant dense<{{.*}}> : tensor<1x16xi64>
// CHECK-NEXT:    kernel.fused : tensor<4x1xi64> {
// CHECK-NEXT:      %[[M:.*]] = kernel.reduce max %x axes [1]
// CHECK-NEXT:      %[[P:.*]] = kernel.map %x, %[[M]], %[[N]] :
// CHECK:           kernel.reduce min %[[P]] axes [1] : tensor<4x16xi64> -> tensor<4x1xi64>
func.func @arg(%x: tensor<4x16xf32>) -> tensor<4x1xi64> {
  %i = kernel.arg_reduce max %x {axis = 1 : i64} : tensor<4x16xf32> -> tensor<4x1xi64>
  func.return %i : tensor<4x1xi64>
}

// -----

// One kernel for each of the k, which reads the one before; then they stand side by side.
// CHECK-LABEL: @top
// CHECK:         %[[V0:.*]], %[[I0:.*]] = kernel.fused : tensor<4x1xf32>, tensor<4x1xi64> {
// CHECK:         %[[V1:.*]], %[[I1:.*]] = kernel.fused : tensor<4x1xf32>, tensor<4x1xi64> {
// CHECK-NEXT:      kernel.map %x, %{{.*}}, %[[V0]], %[[I0]] :
// CHECK-NOT:     kernel.fused
// CHECK:         kernel.concat %[[V0]], %[[V1]] {axis = 1 : i64}
// CHECK-NEXT:    kernel.concat %[[I0]], %[[I1]] {axis = 1 : i64}
func.func @top(%x: tensor<4x16xf32>) -> (tensor<4x2xf32>, tensor<4x2xi64>) {
  %v, %i = kernel.top_k %x {k = 2 : i64, axis = 1 : i64} : tensor<4x16xf32> -> tensor<4x2xf32>, tensor<4x2xi64>
  func.return %v, %i : tensor<4x2xf32>, tensor<4x2xi64>
}

// -----

// Attention: a product, a softmax of the scores, a product. Four heads share their keys: their queries
// stand one behind the other.
// CHECK-LABEL: @attention
// CHECK-NEXT:    %[[Q:.*]] = kernel.reshape %q : tensor<1x8x16x64xf32> -> tensor<1x2x64x64xf32>
// CHECK-NEXT:    %[[S:.*]] = kernel.matmul %[[Q]], %k {transpose_b}
// CHECK-NEXT:    %[[P:.*]] = kernel.fused : tensor<1x2x64x16xf32> {
// CHECK-NEXT:      kernel.map %[[S]] :
// CHECK:             arith.constant 1.250000e-01 : f32
// CHECK:           kernel.reduce max
// CHECK:           kernel.reduce add
// CHECK:         %[[Y:.*]] = kernel.matmul %[[P]], %v :
// CHECK-NEXT:    kernel.reshape %[[Y]] : tensor<1x2x64x64xf32> -> tensor<1x8x16x64xf32>
func.func @attention(%q: tensor<1x8x16x64xf32>, %k: tensor<1x2x16x64xf32>, %v: tensor<1x2x16x64xf32>) -> tensor<1x8x16x64xf32> {
  %y = kernel.attention %q, %k, %v {scale = 1.250000e-01 : f64}
    : (tensor<1x8x16x64xf32>, tensor<1x2x16x64xf32>, tensor<1x2x16x64xf32>) -> tensor<1x8x16x64xf32>
  func.return %y : tensor<1x8x16x64xf32>
}
