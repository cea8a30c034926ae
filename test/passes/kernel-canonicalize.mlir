// RUN: kpu-opt %s -p kernel-canonicalize --split-input-file | filecheck %s

// The example of the pass: a transposed operand is read transposed, a product with one matrix is no batch.
// CHECK-LABEL: @transposed_and_flat
// CHECK-NEXT:    %[[V:.*]] = kernel.reshape %x : tensor<2x4x8xf32> -> tensor<8x8xf32>
// CHECK-NEXT:    %[[Y:.*]] = kernel.matmul %[[V]], %w {transpose_b} : (tensor<8x8xf32>, tensor<16x8xf32>) -> tensor<8x16xf32>
// CHECK-NEXT:    func.return %[[Y]]
func.func @transposed_and_flat(%x: tensor<2x4x8xf32>, %w: tensor<16x8xf32>) -> tensor<8x16xf32> {
  %t = kernel.transpose %w permutation [1, 0] : tensor<16x8xf32> -> tensor<8x16xf32>
  %c = kernel.matmul %x, %t : (tensor<2x4x8xf32>, tensor<8x16xf32>) -> tensor<2x4x16xf32>
  %y = kernel.reshape %c : tensor<2x4x16xf32> -> tensor<8x16xf32>
  func.return %y : tensor<8x16xf32>
}

// -----

// Views of views and there and back.
// CHECK-LABEL: @views
// CHECK-NEXT:    func.return %x, %x
func.func @views(%x: tensor<2x4x8xf32>) -> (tensor<2x4x8xf32>, tensor<2x4x8xf32>) {
  %a = kernel.reshape %x : tensor<2x4x8xf32> -> tensor<8x8xf32>
  %b = kernel.reshape %a : tensor<8x8xf32> -> tensor<2x4x8xf32>
  %c = kernel.transpose %x permutation [2, 0, 1] : tensor<2x4x8xf32> -> tensor<8x2x4xf32>
  %d = kernel.transpose %c permutation [1, 2, 0] : tensor<8x2x4xf32> -> tensor<2x4x8xf32>
  func.return %b, %d : tensor<2x4x8xf32>, tensor<2x4x8xf32>
}

// -----

// A transpose that moves only an extent of 1 moves nothing.
// CHECK-LABEL: @singleton
// CHECK-NEXT:    kernel.reshape %x : tensor<1x4x8xf32> -> tensor<4x1x8xf32>
func.func @singleton(%x: tensor<1x4x8xf32>) -> tensor<4x1x8xf32> {
  %y = kernel.transpose %x permutation [1, 0, 2] : tensor<1x4x8xf32> -> tensor<4x1x8xf32>
  func.return %y : tensor<4x1x8xf32>
}

// -----

// A batch of matrices on both sides stays a batch; its transposed operand is read transposed.
// CHECK-LABEL: @batch
// CHECK-NEXT:    kernel.matmul %q, %k {transpose_b} : (tensor<2x4x8xf32>, tensor<2x4x8xf32>) -> tensor<2x4x4xf32>
func.func @batch(%q: tensor<2x4x8xf32>, %k: tensor<2x4x8xf32>) -> tensor<2x4x4xf32> {
  %t = kernel.transpose %k permutation [0, 2, 1] : tensor<2x4x8xf32> -> tensor<2x8x4xf32>
  %y = kernel.matmul %q, %t : (tensor<2x4x8xf32>, tensor<2x8x4xf32>) -> tensor<2x4x4xf32>
  func.return %y : tensor<2x4x4xf32>
}

// -----

// The map stays beside its product: the bias and the residual are seen in the product's shape.
// CHECK-LABEL: @map_beside_product
// CHECK:         %[[C:.*]] = kernel.matmul {{.*}} -> tensor<8x16xf32>
// CHECK:         %[[R:.*]] = kernel.reshape %r : tensor<2x4x16xf32> -> tensor<8x16xf32>
// CHECK-NEXT:    %[[M:.*]] = kernel.map %[[C]], %b, %[[R]] : (tensor<8x16xf32>, tensor<16xf32>, tensor<8x16xf32>) -> tensor<8x16xf32>
// CHECK:         kernel.reshape %[[M]] : tensor<8x16xf32> -> tensor<2x4x16xf32>
func.func @map_beside_product(%x: tensor<2x4x8xf32>, %w: tensor<8x16xf32>, %b: tensor<16xf32>, %r: tensor<2x4x16xf32>) -> tensor<2x4x16xf32> {
  %c = kernel.matmul %x, %w : (tensor<2x4x8xf32>, tensor<8x16xf32>) -> tensor<2x4x16xf32>
  %y = kernel.map %c, %b, %r : (tensor<2x4x16xf32>, tensor<16xf32>, tensor<2x4x16xf32>) -> tensor<2x4x16xf32> {
  ^bb0(%p: f32, %q: f32, %s: f32):
    %t = arith.addf %p, %q : f32
    %u = arith.addf %t, %s : f32
    kernel.yield %u : f32
  }
  func.return %y : tensor<2x4x16xf32>
}

// -----

// Heads of one: the softmax stays beside the product that it is of.
// CHECK-LABEL: @softmax_beside_product
// CHECK:         %[[C:.*]] = kernel.matmul {{.*}} -> tensor<8x16xf32>
// CHECK-NEXT:    %[[S:.*]] = kernel.softmax %[[C]] {axis = 1 : i64} : tensor<8x16xf32> -> tensor<8x16xf32>
// CHECK-NEXT:    kernel.reshape %[[S]] : tensor<8x16xf32> -> tensor<1x2x4x16xf32>
func.func @softmax_beside_product(%x: tensor<1x2x4x8xf32>, %w: tensor<8x16xf32>) -> tensor<1x2x4x16xf32> {
  %c = kernel.matmul %x, %w : (tensor<1x2x4x8xf32>, tensor<8x16xf32>) -> tensor<1x2x4x16xf32>
  %y = kernel.softmax %c {axis = 3 : i64} : tensor<1x2x4x16xf32> -> tensor<1x2x4x16xf32>
  func.return %y : tensor<1x2x4x16xf32>
}

// -----

// Equal constants and equal operations are one; what nobody uses is gone.
// CHECK-LABEL: @equal
// CHECK-COUNT-1: kernel.constant
// CHECK-COUNT-1: kernel.matmul
// CHECK-NOT:     kernel.
// CHECK:         func.return %[[Y:.*]], %[[Y]] :
func.func @equal(%x: tensor<2x2xf32>) -> (tensor<2x2xf32>, tensor<2x2xf32>) {
  %v = kernel.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %w = kernel.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %a = kernel.matmul %x, %v : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  %b = kernel.matmul %x, %w : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  %dead = kernel.matmul %a, %b : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  func.return %a, %b : tensor<2x2xf32>, tensor<2x2xf32>
}

// -----

// An operand given twice is one; an identity is its operand.
// CHECK-LABEL: @map_operands
// CHECK-NEXT:    %[[S:.*]] = kernel.map %x : (tensor<4xf32>) -> tensor<4xf32> {
// CHECK-NEXT:    ^{{.*}}(%[[P:.*]]: f32):
// CHECK-NEXT:      arith.mulf %[[P]], %[[P]] : f32
// CHECK:         func.return %[[S]], %x
func.func @map_operands(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %s = kernel.map %x, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.mulf %p, %q : f32
    kernel.yield %r : f32
  }
  %i = kernel.map %x : (tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%p: f32):
    kernel.yield %p : f32
  }
  func.return %s, %i : tensor<4xf32>, tensor<4xf32>
}

// -----

// Elided weights of one shape are not known to be the same weights.
// CHECK-LABEL: @elided
// CHECK-COUNT-2: kernel.constant dense_resource
// CHECK:         kernel.matmul
func.func @elided() -> tensor<128x128xf32> {
  %v = kernel.constant dense_resource<elided> : tensor<128x128xf32>
  %w = kernel.constant dense_resource<elided> : tensor<128x128xf32>
  %y = kernel.matmul %v, %w {transpose_a} : (tensor<128x128xf32>, tensor<128x128xf32>) -> tensor<128x128xf32>
  func.return %y : tensor<128x128xf32>
}

// -----

// What is computed of rows' numbers stands beside what makes them; a norm of rows stands behind the product.
// CHECK-LABEL: @views_behind_rows
// CHECK:         %[[M:.*]] = kernel.reduce max %x axes [1]
// CHECK-NEXT:    %[[S:.*]] = kernel.map %[[M]] : (tensor<4x1xf32>) -> tensor<4x1xf32>
// CHECK:         %[[Q:.*]] = kernel.quantize %x scale %[[S]] : tensor<4x6xf32>, tensor<4x1xf32> -> tensor<4x6xi8>
// CHECK-NEXT:    kernel.reshape %[[Q]] : tensor<4x6xi8> -> tensor<1x4x6xi8>
// CHECK:         %[[Y:.*]] = kernel.matmul
// CHECK-NEXT:    %[[N:.*]] = kernel.normalize %[[Y]] axes [1] {{.*}} -> tensor<4x6xf32>
// CHECK-NEXT:    kernel.reshape %[[N]] : tensor<4x6xf32> -> tensor<1x4x6xf32>
func.func @views_behind_rows(%x: tensor<4x6xf32>, %w: tensor<6x6xf32>) -> (tensor<1x4x6xi8>, tensor<1x4x6xf32>) {
  %m = kernel.reduce max %x axes [1] : tensor<4x6xf32> -> tensor<4x1xf32>
  %v = kernel.reshape %m : tensor<4x1xf32> -> tensor<4xf32>
  %s = kernel.map %v : (tensor<4xf32>) -> tensor<4xf32> {
  ^bb0(%a: f32):
    %c = arith.constant 0.5 : f32
    %b = arith.mulf %a, %c : f32
    kernel.yield %b : f32
  }
  %r = kernel.reshape %s : tensor<4xf32> -> tensor<1x4x1xf32>
  %t = kernel.reshape %x : tensor<4x6xf32> -> tensor<1x4x6xf32>
  %q = kernel.quantize %t scale %r : tensor<1x4x6xf32>, tensor<1x4x1xf32> -> tensor<1x4x6xi8>
  %y = kernel.matmul %x, %w : (tensor<4x6xf32>, tensor<6x6xf32>) -> tensor<4x6xf32>
  %z = kernel.reshape %y : tensor<4x6xf32> -> tensor<1x4x6xf32>
  %n = kernel.normalize %z axes [2] {center, epsilon = 1.0e-05 : f64} : (tensor<1x4x6xf32>) -> tensor<1x4x6xf32>
  func.return %q, %n : tensor<1x4x6xi8>, tensor<1x4x6xf32>
}

// -----

// Inputs of f16 enter products as they are, through views and transpositions too; by bf16 f32 has to be.
// CHECK-LABEL: @widened
// CHECK-NEXT:    kernel.matmul %q, %k {transpose_b} : (tensor<2x1x8xf32>, tensor<2x4x8xf16>) -> tensor<2x1x4xf32>
// CHECK-NEXT:    kernel.matmul %k, %k {transpose_b} : (tensor<2x4x8xf16>, tensor<2x4x8xf16>) -> tensor<2x4x4xf32>
// CHECK-NEXT:    %[[W:.*]] = kernel.map %v : (tensor<2x4x8xbf16>) -> tensor<2x4x8xf32>
// CHECK:         kernel.matmul %[[W]], %k {transpose_b} : (tensor<2x4x8xf32>, tensor<2x4x8xf16>) -> tensor<2x4x4xf32>
func.func @widened(%q: tensor<2x1x8xf32>, %k: tensor<2x4x8xf16>, %v: tensor<2x4x8xbf16>) -> (tensor<2x1x4xf32>, tensor<2x4x4xf32>, tensor<2x4x4xf32>) {
  %w = kernel.map %k : (tensor<2x4x8xf16>) -> tensor<2x4x8xf32> {
  ^bb0(%a: f16):
    %r = arith.extf %a : f16 to f32
    kernel.yield %r : f32
  }
  %t = kernel.transpose %w permutation [0, 2, 1] : tensor<2x4x8xf32> -> tensor<2x8x4xf32>
  %y = kernel.matmul %q, %t : (tensor<2x1x8xf32>, tensor<2x8x4xf32>) -> tensor<2x1x4xf32>
  %x = kernel.matmul %w, %t : (tensor<2x4x8xf32>, tensor<2x8x4xf32>) -> tensor<2x4x4xf32>
  %u = kernel.map %v : (tensor<2x4x8xbf16>) -> tensor<2x4x8xf32> {
  ^bb0(%a: bf16):
    %r = arith.extf %a : bf16 to f32
    kernel.yield %r : f32
  }
  %z = kernel.matmul %u, %t : (tensor<2x4x8xf32>, tensor<2x8x4xf32>) -> tensor<2x4x4xf32>
  func.return %y, %x, %z : tensor<2x1x4xf32>, tensor<2x4x4xf32>, tensor<2x4x4xf32>
}
