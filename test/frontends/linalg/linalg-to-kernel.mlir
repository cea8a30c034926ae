// RUN: kpu-opt %s -p linalg-to-kernel --split-input-file | filecheck %s

// A linear layer as torch-mlir writes it: transposed weights, a fill, a product, two generics.
// CHECK-LABEL: func.func @main(%x: tensor<2x4xf32> {kernel.name = "x"}, %w: tensor<3x4xf32> {kernel.name = "w"}, %b: tensor<3xf32> {kernel.name = "b"}) -> (tensor<2x3xf32> {kernel.name = "result0"}) {
// CHECK-NEXT:      %0 = kernel.transpose %w permutation [1, 0] : tensor<3x4xf32> -> tensor<4x3xf32>
// CHECK-NEXT:      %1 = kernel.matmul %x, %0 : (tensor<2x4xf32>, tensor<4x3xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:      %2 = kernel.reshape %b : tensor<3xf32> -> tensor<1x3xf32>
// CHECK-NEXT:      %3 = kernel.map %1, %2 : (tensor<2x3xf32>, tensor<1x3xf32>) -> tensor<2x3xf32> {
// CHECK-NEXT:      ^bb0(%4: f32, %5: f32):
// CHECK-NEXT:        %6 = arith.addf %4, %5 : f32
// CHECK-NEXT:        kernel.yield %6 : f32
// CHECK-NEXT:      }
// CHECK-NEXT:      %4 = kernel.map %3 : (tensor<2x3xf32>) -> tensor<2x3xf32> {
// CHECK-NEXT:      ^bb0(%5: f32):
// CHECK-NEXT:        %6 = arith.constant 0.000000e+00 : f32
// CHECK-NEXT:        %7 = arith.maximumf %5, %6 : f32
// CHECK-NEXT:        kernel.yield %7 : f32
// CHECK-NEXT:      }
// CHECK-NEXT:      func.return %4 : tensor<2x3xf32>
#map = affine_map<(d0, d1) -> (d0, d1)>
#map1 = affine_map<(d0, d1) -> (d1)>
"builtin.module"() ({
  "func.func"() <{function_type = (tensor<2x4xf32>, tensor<3x4xf32>, tensor<3xf32>) -> tensor<2x3xf32>, sym_name = "layer"}> ({
  ^bb0(%x: tensor<2x4xf32>, %w: tensor<3x4xf32>, %b: tensor<3xf32>):
    %zero = "arith.constant"() <{value = 0.000000e+00 : f32}> : () -> f32
    %0 = "tensor.empty"() : () -> tensor<4x3xf32>
    %1 = "linalg.transpose"(%w, %0) <{permutation = array<i64: 1, 0>}> ({
    ^bb0(%in: f32, %out: f32):
      "linalg.yield"(%in) : (f32) -> ()
    }) : (tensor<3x4xf32>, tensor<4x3xf32>) -> tensor<4x3xf32>
    %2 = "tensor.empty"() : () -> tensor<2x3xf32>
    %3 = "linalg.fill"(%zero, %2) <{operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%in: f32, %out: f32):
      "linalg.yield"(%in) : (f32) -> ()
    }) : (f32, tensor<2x3xf32>) -> tensor<2x3xf32>
    %4 = "linalg.matmul"(%x, %1, %3) <{operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%p: f32, %q: f32, %out: f32):
      %7 = "arith.mulf"(%p, %q) : (f32, f32) -> f32
      %8 = "arith.addf"(%out, %7) : (f32, f32) -> f32
      "linalg.yield"(%8) : (f32) -> ()
    }) : (tensor<2x4xf32>, tensor<4x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
    %5 = "linalg.generic"(%4, %b, %2) <{indexing_maps = [#map, #map1, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
    ^bb0(%p: f32, %q: f32, %out: f32):
      %7 = "arith.addf"(%p, %q) : (f32, f32) -> f32
      "linalg.yield"(%7) : (f32) -> ()
    }) : (tensor<2x3xf32>, tensor<3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
    %6 = "linalg.generic"(%5, %2) <{indexing_maps = [#map, #map], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%p: f32, %out: f32):
      %7 = "arith.cmpf"(%p, %zero) <{predicate = 9 : i64}> : (f32, f32) -> i1
      %8 = "arith.select"(%7, %p, %zero) : (i1, f32, f32) -> f32
      "linalg.yield"(%8) : (f32) -> ()
    }) : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
    "func.return"(%6) : (tensor<2x3xf32>) -> ()
  }) : () -> ()
}) : () -> ()

// -----

// A generic that is a batched product of a transposed operand: b h q d, b k h d -> b h q k.
// CHECK-LABEL: func.func @main(%x: tensor<1x2x3x4xf32> {kernel.name = "x"}, %y: tensor<1x5x2x4xf32> {kernel.name = "y"}, %init: tensor<1x2x3x5xf32> {kernel.name = "init"}) -> (tensor<1x2x3x5xf32> {kernel.name = "result0"}) {
// CHECK-NEXT:      %0 = kernel.transpose %y permutation [0, 2, 1, 3] : tensor<1x5x2x4xf32> -> tensor<1x2x5x4xf32>
// CHECK-NEXT:      %1 = kernel.matmul %x, %0 {transpose_b} : (tensor<1x2x3x4xf32>, tensor<1x2x5x4xf32>) -> tensor<1x2x3x5xf32>
// CHECK-NEXT:      %2 = kernel.map %1, %init : (tensor<1x2x3x5xf32>, tensor<1x2x3x5xf32>) -> tensor<1x2x3x5xf32> {
// CHECK-NEXT:      ^bb0(%3: f32, %4: f32):
// CHECK-NEXT:        %5 = arith.addf %3, %4 : f32
// CHECK-NEXT:        kernel.yield %5 : f32
// CHECK-NEXT:      }
// CHECK-NEXT:      func.return %2 : tensor<1x2x3x5xf32>
#a = affine_map<(b, h, q, k, d) -> (b, h, q, d)>
#b = affine_map<(b, h, q, k, d) -> (b, k, h, d)>
#c = affine_map<(b, h, q, k, d) -> (b, h, q, k)>
func.func @scores(%x: tensor<1x2x3x4xf32>, %y: tensor<1x5x2x4xf32>, %init: tensor<1x2x3x5xf32>) -> tensor<1x2x3x5xf32> {
  %0 = "linalg.generic"(%x, %y, %init) <{indexing_maps = [#a, #b, #c], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 2, 1>}> ({
  ^bb0(%p: f32, %q: f32, %out: f32):
    %1 = "arith.mulf"(%p, %q) : (f32, f32) -> f32
    %2 = "arith.addf"(%1, %out) : (f32, f32) -> f32
    "linalg.yield"(%2) : (f32) -> ()
  }) : (tensor<1x2x3x4xf32>, tensor<1x5x2x4xf32>, tensor<1x2x3x5xf32>) -> tensor<1x2x3x5xf32>
  func.return %0 : tensor<1x2x3x5xf32>
}

// -----

// A window in another layout: rows, columns, channels; the sum starts from a bias.
// CHECK-LABEL: func.func @main(%x: tensor<1x5x5x2xf32> {kernel.name = "x"}, %w: tensor<3x3x2x4xf32> {kernel.name = "w"}, %bias: tensor<1x2x2x4xf32> {kernel.name = "bias"}) -> (tensor<1x2x2x4xf32> {kernel.name = "result0"}) {
// CHECK-NEXT:      %0 = kernel.transpose %x permutation [0, 3, 1, 2] : tensor<1x5x5x2xf32> -> tensor<1x2x5x5xf32>
// CHECK-NEXT:      %1 = kernel.transpose %w permutation [3, 2, 0, 1] : tensor<3x3x2x4xf32> -> tensor<4x2x3x3xf32>
// CHECK-NEXT:      %2 = kernel.conv %0, %1 strides [2, 2] dilations [1, 1] low [0, 0] high [0, 0] {groups = 1 : i64} : (tensor<1x2x5x5xf32>, tensor<4x2x3x3xf32>) -> tensor<1x4x2x2xf32>
// CHECK-NEXT:      %3 = kernel.transpose %2 permutation [0, 2, 3, 1] : tensor<1x4x2x2xf32> -> tensor<1x2x2x4xf32>
// CHECK-NEXT:      %4 = kernel.map %3, %bias : (tensor<1x2x2x4xf32>, tensor<1x2x2x4xf32>) -> tensor<1x2x2x4xf32> {
// CHECK-NEXT:      ^bb0(%5: f32, %6: f32):
// CHECK-NEXT:        %7 = arith.addf %5, %6 : f32
// CHECK-NEXT:        kernel.yield %7 : f32
// CHECK-NEXT:      }
// CHECK-NEXT:      func.return %4 : tensor<1x2x2x4xf32>
func.func @nhwc(%x: tensor<1x5x5x2xf32>, %w: tensor<3x3x2x4xf32>, %bias: tensor<1x2x2x4xf32>) -> tensor<1x2x2x4xf32> {
  %0 = "linalg.conv_2d_nhwc_hwcf"(%x, %w, %bias) <{dilations = dense<1> : vector<2xi64>, operandSegmentSizes = array<i32: 2, 1>, strides = dense<2> : vector<2xi64>}> ({
  ^bb0(%p: f32, %q: f32, %out: f32):
    %1 = "arith.mulf"(%p, %q) : (f32, f32) -> f32
    %2 = "arith.addf"(%out, %1) : (f32, f32) -> f32
    "linalg.yield"(%2) : (f32) -> ()
  }) : (tensor<1x5x5x2xf32>, tensor<3x3x2x4xf32>, tensor<1x2x2x4xf32>) -> tensor<1x2x2x4xf32>
  func.return %0 : tensor<1x2x2x4xf32>
}

// -----

// Padding of -inf is the pooling's own, of which no window reaches the last row and column; the tensor that only gives the window's extents is gone.
// CHECK-LABEL: func.func @main(%x: tensor<1x2x6x6xf32> {kernel.name = "x"}) -> (tensor<1x2x3x3xf32> {kernel.name = "result0"}) {
// CHECK-NEXT:      %0 = kernel.pool max %x kernel [3, 3] strides [2, 2] dilations [1, 1] low [1, 1] high [0, 0] : tensor<1x2x6x6xf32> -> tensor<1x2x3x3xf32>
// CHECK-NEXT:      func.return %0 : tensor<1x2x3x3xf32>
func.func @pool(%x: tensor<1x2x6x6xf32>) -> tensor<1x2x3x3xf32> {
  %low = arith.constant 0xFF800000 : f32
  %0 = "tensor.pad"(%x) <{operandSegmentSizes = array<i32: 1, 0, 0>, static_high = array<i64: 0, 0, 1, 1>, static_low = array<i64: 0, 0, 1, 1>}> ({
  ^bb0(%i: index, %j: index, %k: index, %l: index):
    "tensor.yield"(%low) : (f32) -> ()
  }) : (tensor<1x2x6x6xf32>) -> tensor<1x2x8x8xf32>
  %1 = "tensor.empty"() : () -> tensor<1x2x3x3xf32>
  %2 = "linalg.fill"(%low, %1) <{operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%in: f32, %out: f32):
    "linalg.yield"(%in) : (f32) -> ()
  }) : (f32, tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %window = "tensor.empty"() : () -> tensor<3x3xf32>
  %3 = "linalg.pooling_nchw_max"(%0, %window, %2) <{dilations = dense<1> : vector<2xi64>, operandSegmentSizes = array<i32: 2, 1>, strides = dense<2> : vector<2xi64>}> ({
  ^bb0(%p: f32, %q: f32, %out: f32):
    %4 = "arith.maximumf"(%out, %p) : (f32, f32) -> f32
    "linalg.yield"(%4) : (f32) -> ()
  }) : (tensor<1x2x8x8xf32>, tensor<3x3xf32>, tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  func.return %3 : tensor<1x2x3x3xf32>
}

// -----

// What is reduced may be any formula; a reduction of another kind than a product keeps its steps.
// CHECK-LABEL: func.func @main(%x: tensor<2x8xf32> {kernel.name = "x"}, %start: tensor<2xf32> {kernel.name = "start"}) -> (tensor<2xf32> {kernel.name = "result0"}) {
// CHECK-NEXT:      %0 = kernel.map %x : (tensor<2x8xf32>) -> tensor<2x8xf32> {
// CHECK-NEXT:      ^bb0(%1: f32):
// CHECK-NEXT:        %2 = arith.mulf %1, %1 : f32
// CHECK-NEXT:        kernel.yield %2 : f32
// CHECK-NEXT:      }
// CHECK-NEXT:      %1 = kernel.reduce add %0 axes [1] : tensor<2x8xf32> -> tensor<2x1xf32>
// CHECK-NEXT:      %2 = kernel.reshape %1 : tensor<2x1xf32> -> tensor<2xf32>
// CHECK-NEXT:      %3 = kernel.map %2, %start : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32> {
// CHECK-NEXT:      ^bb0(%4: f32, %5: f32):
// CHECK-NEXT:        %6 = arith.addf %4, %5 : f32
// CHECK-NEXT:        kernel.yield %6 : f32
// CHECK-NEXT:      }
// CHECK-NEXT:      func.return %3 : tensor<2xf32>
#all = affine_map<(i, j) -> (i, j)>
#row = affine_map<(i, j) -> (i)>
func.func @squares(%x: tensor<2x8xf32>, %start: tensor<2xf32>) -> tensor<2xf32> {
  %0 = "linalg.generic"(%x, %start) <{indexing_maps = [#all, #row], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%p: f32, %out: f32):
    %1 = "arith.mulf"(%p, %p) : (f32, f32) -> f32
    %2 = "arith.addf"(%out, %1) : (f32, f32) -> f32
    "linalg.yield"(%2) : (f32) -> ()
  }) : (tensor<2x8xf32>, tensor<2xf32>) -> tensor<2xf32>
  func.return %0 : tensor<2xf32>
}

// -----

// The place of the largest: two results, of which one is asked for.
// CHECK-LABEL: func.func @main(%x: tensor<2x8xf32> {kernel.name = "x"}) -> (tensor<2xi64> {kernel.name = "result0"}) {
// CHECK-NEXT:      %0 = kernel.arg_reduce max %x {axis = 1 : i64} : tensor<2x8xf32> -> tensor<2x1xi64>
// CHECK-NEXT:      %1 = kernel.reshape %0 : tensor<2x1xi64> -> tensor<2xi64>
// CHECK-NEXT:      func.return %1 : tensor<2xi64>
#all = affine_map<(i, j) -> (i, j)>
#row = affine_map<(i, j) -> (i)>
func.func @argmax(%x: tensor<2x8xf32>) -> tensor<2xi64> {
  %low = arith.constant 0xFF800000 : f32
  %none = arith.constant 0 : i64
  %0 = "tensor.empty"() : () -> tensor<2xf32>
  %1 = "linalg.fill"(%low, %0) <{operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%in: f32, %out: f32):
    "linalg.yield"(%in) : (f32) -> ()
  }) : (f32, tensor<2xf32>) -> tensor<2xf32>
  %2 = "tensor.empty"() : () -> tensor<2xi64>
  %3 = "linalg.fill"(%none, %2) <{operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%in: i64, %out: i64):
    "linalg.yield"(%in) : (i64) -> ()
  }) : (i64, tensor<2xi64>) -> tensor<2xi64>
  %4:2 = "linalg.generic"(%x, %1, %3) <{indexing_maps = [#all, #row, #row], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 2>}> ({
  ^bb0(%p: f32, %largest: f32, %where: i64):
    %5 = "linalg.index"() <{dim = 1 : i64}> : () -> index
    %6 = "arith.index_cast"(%5) : (index) -> i64
    %7 = "arith.maximumf"(%p, %largest) : (f32, f32) -> f32
    %8 = "arith.cmpf"(%p, %largest) <{predicate = 2 : i64}> : (f32, f32) -> i1
    %9 = "arith.select"(%8, %6, %where) : (i1, i64, i64) -> i64
    "linalg.yield"(%7, %9) : (f32, i64) -> ()
  }) : (tensor<2x8xf32>, tensor<2xf32>, tensor<2xi64>) -> (tensor<2xf32>, tensor<2xi64>)
  func.return %4#1 : tensor<2xi64>
}

// -----

// An embedding: tensor.extract by an index that is an input's, whole rows of the table.
// CHECK-LABEL: func.func @main(%table: tensor<9x4xf32> {kernel.name = "table"}, %tokens: tensor<3xi64> {kernel.name = "tokens"}) -> (tensor<3x4xf32> {kernel.name = "result0"}) {
// CHECK-NEXT:      %0 = kernel.reshape %tokens : tensor<3xi64> -> tensor<3x1xi64>
// CHECK-NEXT:      %1 = kernel.reshape %0 : tensor<3x1xi64> -> tensor<3xi64>
// CHECK-NEXT:      %2 = kernel.gather %table, %1 {axis = 0 : i64} : (tensor<9x4xf32>, tensor<3xi64>) -> tensor<3x4xf32>
// CHECK-NEXT:      func.return %2 : tensor<3x4xf32>
#at = affine_map<(i, j) -> (i)>
#all = affine_map<(i, j) -> (i, j)>
func.func @embedding(%table: tensor<9x4xf32>, %tokens: tensor<3xi64>) -> tensor<3x4xf32> {
  %0 = "tensor.empty"() : () -> tensor<3x4xf32>
  %1 = "linalg.generic"(%tokens, %0) <{indexing_maps = [#at, #all], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%token: i64, %out: f32):
    %2 = "arith.index_cast"(%token) : (i64) -> index
    %3 = "linalg.index"() <{dim = 1 : i64}> : () -> index
    %4 = "tensor.extract"(%table, %2, %3) : (tensor<9x4xf32>, index, index) -> f32
    "linalg.yield"(%4) : (f32) -> ()
  }) : (tensor<3xi64>, tensor<3x4xf32>) -> tensor<3x4xf32>
  func.return %1 : tensor<3x4xf32>
}

// -----

// Insertions that fill a tensor are a concatenation; a strided one spreads its elements.
// CHECK-LABEL: func.func @main(%x: tensor<2x3xf32> {kernel.name = "x"}, %y: tensor<2x1xf32> {kernel.name = "y"}, %z: tensor<3xf32> {kernel.name = "z"}) -> (tensor<2x4xf32> {kernel.name = "result0"}, tensor<6xf32> {kernel.name = "result1"}) {
// CHECK-NEXT:      %0 = kernel.concat %x, %y {axis = 1 : i64} : (tensor<2x3xf32>, tensor<2x1xf32>) -> tensor<2x4xf32>
// CHECK-NEXT:      %1 = kernel.reshape %z : tensor<3xf32> -> tensor<3x1xf32>
// CHECK-NEXT:      %2 = kernel.pad %1 low [0, 0] high [0, 1] {value = 0.000000e+00 : f64} : tensor<3x1xf32> -> tensor<3x2xf32>
// CHECK-NEXT:      %3 = kernel.reshape %2 : tensor<3x2xf32> -> tensor<6xf32>
// CHECK-NEXT:      %4 = kernel.slice %3 starts [0] steps [1] : tensor<6xf32> -> tensor<5xf32>
// CHECK-NEXT:      %5 = kernel.pad %4 low [1] high [0] {value = 0.000000e+00 : f64} : tensor<5xf32> -> tensor<6xf32>
// CHECK-NEXT:      func.return %0, %5 : tensor<2x4xf32>, tensor<6xf32>
func.func @insert(%x: tensor<2x3xf32>, %y: tensor<2x1xf32>, %z: tensor<3xf32>) -> (tensor<2x4xf32>, tensor<6xf32>) {
  %0 = "tensor.empty"() : () -> tensor<2x4xf32>
  %1 = "tensor.insert_slice"(%x, %0) <{operandSegmentSizes = array<i32: 1, 1, 0, 0, 0>, static_offsets = array<i64: 0, 0>, static_sizes = array<i64: 2, 3>, static_strides = array<i64: 1, 1>}> : (tensor<2x3xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %2 = "tensor.insert_slice"(%y, %1) <{operandSegmentSizes = array<i32: 1, 1, 0, 0, 0>, static_offsets = array<i64: 0, 3>, static_sizes = array<i64: 2, 1>, static_strides = array<i64: 1, 1>}> : (tensor<2x1xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %3 = "arith.constant"() <{value = dense<0.000000e+00> : tensor<6xf32>}> : () -> tensor<6xf32>
  %4 = "tensor.insert_slice"(%z, %3) <{operandSegmentSizes = array<i32: 1, 1, 0, 0, 0>, static_offsets = array<i64: 1>, static_sizes = array<i64: 3>, static_strides = array<i64: 2>}> : (tensor<3xf32>, tensor<6xf32>) -> tensor<6xf32>
  func.return %2, %4 : tensor<2x4xf32>, tensor<6xf32>
}

// -----

// The steps of a softmax are seen to be one; a mask of -inf stays what it is.
// CHECK-LABEL: func.func @main(%given: tensor<2x3xf32> {kernel.name = "given"}) -> (tensor<2x3xf32> {kernel.name = "result0"}) {
// CHECK-NEXT:      %mask = kernel.constant dense<[0.000000e+00, 0.000000e+00, 0xff800000]> : tensor<3xf32>
// CHECK-NEXT:      %0 = kernel.reshape %mask : tensor<3xf32> -> tensor<1x3xf32>
// CHECK-NEXT:      %x = kernel.map %given, %0 : (tensor<2x3xf32>, tensor<1x3xf32>) -> tensor<2x3xf32> {
// CHECK-NEXT:      ^bb0(%1: f32, %2: f32):
// CHECK-NEXT:        %3 = arith.addf %1, %2 : f32
// CHECK-NEXT:        kernel.yield %3 : f32
// CHECK-NEXT:      }
// CHECK-NEXT:      %1 = kernel.softmax %x {axis = 1 : i64} : tensor<2x3xf32> -> tensor<2x3xf32>
// CHECK-NEXT:      func.return %1 : tensor<2x3xf32>
#all = affine_map<(i, j) -> (i, j)>
#row = affine_map<(i, j) -> (i, 0)>
#column = affine_map<(i, j) -> (j)>
func.func @softmax(%given: tensor<2x3xf32>) -> tensor<2x3xf32> {
  %mask = "arith.constant"() <{value = dense<[0.000000e+00, 0.000000e+00, 0xFF800000]> : tensor<3xf32>}> : () -> tensor<3xf32>
  %low = "arith.constant"() <{value = dense<0xFF800000> : tensor<2x1xf32>}> : () -> tensor<2x1xf32>
  %zero = "arith.constant"() <{value = dense<0.000000e+00> : tensor<2x1xf32>}> : () -> tensor<2x1xf32>
  %e = "tensor.empty"() : () -> tensor<2x3xf32>
  %x = "linalg.generic"(%given, %mask, %e) <{indexing_maps = [#all, #column, #all], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
  ^bb0(%p: f32, %q: f32, %out: f32):
    %7 = "arith.addf"(%p, %q) : (f32, f32) -> f32
    "linalg.yield"(%7) : (f32) -> ()
  }) : (tensor<2x3xf32>, tensor<3xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  %0 = "linalg.generic"(%x, %low) <{indexing_maps = [#all, #row], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%p: f32, %out: f32):
    %7 = "arith.maximumf"(%p, %out) : (f32, f32) -> f32
    "linalg.yield"(%7) : (f32) -> ()
  }) : (tensor<2x3xf32>, tensor<2x1xf32>) -> tensor<2x1xf32>
  %1 = "linalg.generic"(%x, %0, %e) <{indexing_maps = [#all, #row, #all], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
  ^bb0(%p: f32, %q: f32, %out: f32):
    %7 = "arith.subf"(%p, %q) : (f32, f32) -> f32
    "linalg.yield"(%7) : (f32) -> ()
  }) : (tensor<2x3xf32>, tensor<2x1xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  %2 = "math.exp"(%1) : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %3 = "linalg.generic"(%2, %zero) <{indexing_maps = [#all, #row], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<reduction>], operandSegmentSizes = array<i32: 1, 1>}> ({
  ^bb0(%p: f32, %out: f32):
    %7 = "arith.addf"(%p, %out) : (f32, f32) -> f32
    "linalg.yield"(%7) : (f32) -> ()
  }) : (tensor<2x3xf32>, tensor<2x1xf32>) -> tensor<2x1xf32>
  %4 = "linalg.generic"(%2, %3, %e) <{indexing_maps = [#all, #row, #all], iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>], operandSegmentSizes = array<i32: 2, 1>}> ({
  ^bb0(%p: f32, %q: f32, %out: f32):
    %7 = "arith.divf"(%p, %q) : (f32, f32) -> f32
    "linalg.yield"(%7) : (f32) -> ()
  }) : (tensor<2x3xf32>, tensor<2x1xf32>, tensor<2x3xf32>) -> tensor<2x3xf32>
  func.return %4 : tensor<2x3xf32>
}
