// RUN: kpu-opt %s --verify-diagnostics --split-input-file | filecheck %s

// CHECK: kernel.attention: expected operands of rank 4, got 8x4, 1x1x8x4 and 1x1x8x4
func.func @rank(%q: tensor<8x4xf32>, %k: tensor<1x1x8x4xf32>) {
  %y = kernel.attention %q, %k, %k {scale = 1.0 : f64} : (tensor<8x4xf32>, tensor<1x1x8x4xf32>, tensor<1x1x8x4xf32>) -> tensor<1x1x8x4xf32>
  func.return
}

// -----

// CHECK: kernel.attention: batches, lengths or depths do not fit: 1x1x8x4, 1x1x8x5 and 1x1x8x5
func.func @depth(%q: tensor<1x1x8x4xf32>, %k: tensor<1x1x8x5xf32>) {
  %y = kernel.attention %q, %k, %k {scale = 1.0 : f64} : (tensor<1x1x8x4xf32>, tensor<1x1x8x5xf32>, tensor<1x1x8x5xf32>) -> tensor<1x1x8x5xf32>
  func.return
}

// -----

// CHECK: kernel.attention: 3 heads of queries do not share 2 heads of keys
func.func @heads(%q: tensor<1x3x8x4xf32>, %k: tensor<1x2x8x4xf32>) {
  %y = kernel.attention %q, %k, %k {scale = 1.0 : f64} : (tensor<1x3x8x4xf32>, tensor<1x2x8x4xf32>, tensor<1x2x8x4xf32>) -> tensor<1x3x8x4xf32>
  func.return
}

// -----

// CHECK: kernel.attention: a mask of 7 does not broadcast to the scores, 1x1x8x8
func.func @mask(%q: tensor<1x1x8x4xf32>, %m: tensor<7xf32>) {
  %y = kernel.attention %q, %q, %q mask %m {scale = 1.0 : f64} : (tensor<1x1x8x4xf32>, tensor<1x1x8x4xf32>, tensor<1x1x8x4xf32>, tensor<7xf32>) -> tensor<1x1x8x4xf32>
  func.return
}

// -----

// CHECK: kernel.attention: a mask is added: expected floats, got i1
func.func @mask_type(%q: tensor<1x1x8x4xf32>, %m: tensor<8xi1>) {
  %y = kernel.attention %q, %q, %q mask %m {scale = 1.0 : f64} : (tensor<1x1x8x4xf32>, tensor<1x1x8x4xf32>, tensor<1x1x8x4xf32>, tensor<8xi1>) -> tensor<1x1x8x4xf32>
  func.return
}

// -----

// CHECK: kernel.attention: an offset is of causal attention only
func.func @offset(%q: tensor<1x1x8x4xf32>) {
  %y = kernel.attention %q, %q, %q {scale = 1.0 : f64, offset = 2 : i64} : (tensor<1x1x8x4xf32>, tensor<1x1x8x4xf32>, tensor<1x1x8x4xf32>) -> tensor<1x1x8x4xf32>
  func.return
}

// -----

// CHECK: kernel.attention: expected floats, got i32
func.func @integers(%q: tensor<1x1x8x4xi32>) {
  %y = kernel.attention %q, %q, %q {scale = 1.0 : f64} : (tensor<1x1x8x4xi32>, tensor<1x1x8x4xi32>, tensor<1x1x8x4xi32>) -> tensor<1x1x8x4xi32>
  func.return
}

// -----

// CHECK: kernel.arg_reduce: expected max or min, got add
func.func @kind(%x: tensor<4x8xf32>) {
  %i = kernel.arg_reduce add %x {axis = 1 : i64} : tensor<4x8xf32> -> tensor<4x1xi64>
  func.return
}

// -----

// CHECK: kernel.arg_reduce: axes must be distinct, rising and from 0 to 1, got [2]
func.func @axis(%x: tensor<4x8xf32>) {
  %i = kernel.arg_reduce max %x {axis = 2 : i64} : tensor<4x8xf32> -> tensor<4x8xi64>
  func.return
}

// -----

// CHECK: kernel.arg_reduce: dimension 1 has no elements
func.func @empty(%x: tensor<4x0xf32>) {
  %i = kernel.arg_reduce max %x {axis = 1 : i64} : tensor<4x0xf32> -> tensor<4x1xi64>
  func.return
}

// -----

// CHECK: kernel.arg_reduce: expected a result of i64, got f32
func.func @result(%x: tensor<4x8xf32>) {
  %i = kernel.arg_reduce max %x {axis = 1 : i64} : tensor<4x8xf32> -> tensor<4x1xf32>
  func.return
}

// -----

// CHECK: kernel.top_k: expected 1 to 8 elements of dimension 1, got k = 9
func.func @too_many(%x: tensor<4x8xf32>) {
  %v, %i = kernel.top_k %x {k = 9 : i64, axis = 1 : i64} : tensor<4x8xf32> -> tensor<4x9xf32>, tensor<4x9xi64>
  func.return
}

// -----

// CHECK: kernel.top_k: expected indices of i64, got i32
func.func @indices(%x: tensor<4x8xf32>) {
  %v, %i = kernel.top_k %x {k = 2 : i64, axis = 1 : i64} : tensor<4x8xf32> -> tensor<4x2xf32>, tensor<4x2xi32>
  func.return
}
