// RUN: kpu-opt %s -p "kernel-outline,kernel-to-tile{tile=32,48,64}" --split-input-file | filecheck %s
// RUN: kpu-opt %s -p "kernel-outline,kernel-to-tile{tile=32,48,16}" --split-input-file | filecheck %s --check-prefix CUT
// RUN: kpu-opt %s -p "kernel-outline,kernel-to-tile{tile=32,48,16 lhs=l2 rhs=l3}" --split-input-file | filecheck %s --check-prefix KEPT
// RUN: kpu-opt %s -p "kernel-outline,kernel-to-tile{tile=32,48,16 order=nm dataflow=ws rhs=l2}" --split-input-file | filecheck %s --check-prefix COLUMNS

// The example of the pass. In main a result becomes a buffer that the kernel is given; the function
// carries the schedule that it was cut by.
// CHECK-LABEL: func.func @main(%a: memref<128x64xf32>, %b: memref<64x96xf32>) -> memref<128x96xf32> {
// CHECK-NEXT:    %c = tile.buffer : memref<128x96xf32>
// CHECK-NEXT:    func.call @matmul_0(%a, %b, %c) : (memref<128x64xf32>, memref<64x96xf32>, memref<128x96xf32>) -> ()
// CHECK-NEXT:    func.return %c : memref<128x96xf32>
// CHECK:       func.func private @matmul_0(%a: memref<128x64xf32>, %b: memref<64x96xf32>, %[[C:.*]]: memref<128x96xf32>) attributes {kpu.schedule = {depth = 2 : i64, {{.*}}}, kpu.scheduled = {tile = [32 : i64, 48 : i64, 64 : i64], dataflow = "os",
// CHECK-NEXT:    tile.for %m = 0 to 128 step 32 {
// CHECK-NEXT:      %lhs = tile.load %a [%m, 0] : memref<128x64xf32> -> !tile.tile<32x64xf32, l2>
// CHECK-NEXT:      tile.for %n = 0 to 96 step 48 {
// CHECK-NEXT:        %rhs = tile.load %b [0, %n] : memref<64x96xf32> -> !tile.tile<64x48xf32, l2>
// CHECK-NEXT:        %acc = tile.alloc : !tile.tile<32x48xf32, l2>
// CHECK-NEXT:        tile.matmul output_stationary %lhs, %rhs into %acc : !tile.tile<32x64xf32, l2>, !tile.tile<64x48xf32, l2> -> !tile.tile<32x48xf32, l2>
// CHECK-NEXT:        tile.store %acc, %[[C]] [%m, %n] : !tile.tile<32x48xf32, l2> -> memref<128x96xf32>
// CHECK-NEXT:      }
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return

// With k cut, an innermost loop adds up; both operands are loaded again in each trip.
// CUT-LABEL: func.func private @matmul_0
// CUT-NEXT:    tile.for %m = 0 to 128 step 32 {
// CUT-NEXT:      tile.for %n = 0 to 96 step 48 {
// CUT-NEXT:        %acc = tile.alloc : !tile.tile<32x48xf32, l2>
// CUT-NEXT:        tile.for %k = 0 to 64 step 16 {
// CUT-NEXT:          %lhs = tile.load %a [%m, %k] : memref<128x64xf32> -> !tile.tile<32x16xf32, l2>
// CUT-NEXT:          %rhs = tile.load %b [%k, %n] : memref<64x96xf32> -> !tile.tile<16x48xf32, l2>
// CUT-NEXT:          tile.matmul output_stationary %lhs, %rhs into %acc over(%k) :
// CUT-NEXT:        }
// CUT-NEXT:        tile.store %acc

// Kept operands: the left one in L2 while the columns run, the right one in L3 while the rows run.
// KEPT-LABEL: func.func private @matmul_0
// KEPT-SAME:   lhs = "l2", rhs = "l3"
// KEPT:        tile.for %k = 0 to 64 step 16 {
// KEPT-NEXT:     %lhs = tile.load %a [%m, %k] reuse(%n) : memref<128x64xf32> -> !tile.tile<32x16xf32, l2>
// KEPT-NEXT:     %rhs3 = tile.load %b [%k, %n] reuse(%m) : memref<64x96xf32> -> !tile.tile<16x48xf32, l3>
// KEPT-NEXT:     %rhs = tile.load %rhs3 [0, 0] : !tile.tile<16x48xf32, l3> -> !tile.tile<16x48xf32, l2>

// Columns outside, another dataflow, the right operand kept in L2 while the rows run.
// COLUMNS-LABEL: func.func private @matmul_0
// COLUMNS-SAME:    dataflow = "ws", order = "nm", rhs = "l2"
// COLUMNS-NEXT:    tile.for %n = 0 to 96 step 48 {
// COLUMNS-NEXT:      tile.for %m = 0 to 128 step 32 {
// COLUMNS-NEXT:        %acc = tile.alloc
// COLUMNS-NEXT:        tile.for %k = 0 to 64 step 16 {
// COLUMNS-NEXT:          %rhs = tile.load %b [%k, %n] reuse(%m) : memref<64x96xf32> -> !tile.tile<16x48xf32, l2>
// COLUMNS-NEXT:          %lhs = tile.load %a [%m, %k]
// COLUMNS-NEXT:          tile.matmul weight_stationary %lhs, %rhs into %acc over(%k) :
func.func @main(%a: tensor<128x64xf32>, %b: tensor<64x96xf32>) -> tensor<128x96xf32> {
  %c = func.call @matmul_0(%a, %b) : (tensor<128x64xf32>, tensor<64x96xf32>) -> tensor<128x96xf32>
  func.return %c : tensor<128x96xf32>
}
func.func private @matmul_0(%a: tensor<128x64xf32>, %b: tensor<64x96xf32>) -> tensor<128x96xf32> {
  %c = kernel.matmul %a, %b : (tensor<128x64xf32>, tensor<64x96xf32>) -> tensor<128x96xf32>
  func.return %c : tensor<128x96xf32>
}

// -----

// A map behind the product becomes its epilogue. The bias does not depend on the row: it is kept.
// CHECK-LABEL: func.func private @epilogue(%a: memref<128x64xf32>, %b: memref<64x96xf32>, %bias: memref<1x96xf32>, %{{.*}}: memref<128x96xf32>)
// CHECK:           %extra = tile.load %bias [0, %n] reuse(%m) : memref<1x96xf32> -> !tile.tile<1x48xf32, l2>
// CHECK-NEXT:      %acc = tile.alloc
// CHECK-NEXT:      tile.matmul output_stationary %lhs, %rhs into %acc : {{.*}} with %extra : !tile.tile<1x48xf32, l2> epilogue {
// CHECK-NEXT:      ^{{.*}}(%[[P:.*]]: f32, %[[Q:.*]]: f32):
// CHECK-NEXT:        %s = arith.addf %[[P]], %[[Q]] : f32
// CHECK-NEXT:        tile.yield %s : f32
// CHECK-NEXT:      }
// CHECK-NEXT:      tile.store %acc
func.func private @epilogue(%a: tensor<128x64xf32>, %b: tensor<64x96xf32>, %bias: tensor<96xf32>) -> tensor<128x96xf32> {
  %c = kernel.matmul %a, %b : (tensor<128x64xf32>, tensor<64x96xf32>) -> tensor<128x96xf32>
  %r = kernel.map %c, %bias : (tensor<128x96xf32>, tensor<96xf32>) -> tensor<128x96xf32> {
  ^bb0(%p: f32, %q: f32):
    %s = arith.addf %p, %q : f32
    kernel.yield %s : f32
  }
  func.return %r : tensor<128x96xf32>
}

// -----

// A batch is the outermost loop; a transposed operand is permuted on its way to L2.
// CHECK-LABEL: func.func private @batch
// CHECK-NEXT:    tile.for %b = 0 to 2 step 1 {
// CHECK:           tile.load %k [%b, %n, 0] permuted [0, 2, 1] : memref<2x64x32xf32> -> !tile.tile<1x32x48xf32, l2>
func.func private @batch(%q: tensor<2x64x32xf32>, %k: tensor<2x64x32xf32>) -> tensor<2x64x64xf32> {
  %c = kernel.matmul %q, %k {transpose_b} : (tensor<2x64x32xf32>, tensor<2x64x32xf32>) -> tensor<2x64x64xf32>
  func.return %c : tensor<2x64x64xf32>
}

// -----

// Softmax, decomposed: whole rows stand in L2, as many at a time as the schedule says. The options
// of the pass are for products: they change nothing here.
// CHECK-LABEL: func.func private @softmax
// CHECK-NEXT:    tile.for %i0 = 0 to 64 step 8 {
// CHECK-NEXT:      %in = tile.load %x [%i0, 0] : memref<64x1000xf32> -> !tile.tile<8x1000xf32, l2>
// CHECK-NEXT:      %[[M:.*]] = tile.alloc : !tile.tile<8x1xf32, l2>
// CHECK-NEXT:      tile.reduce max %in into %[[M]] axes [1] : !tile.tile<8x1000xf32, l2> -> !tile.tile<8x1xf32, l2>
// CHECK-NEXT:      %[[E:.*]] = tile.alloc : !tile.tile<8x1000xf32, l2>
// CHECK-NEXT:      tile.map %in, %[[M]] into %[[E]] :
// CHECK:           tile.reduce add %[[E]] into %[[S:.*]] axes [1] :
// CHECK-NEXT:      %[[Y:.*]] = tile.alloc : !tile.tile<8x1000xf32, l2>
// CHECK-NEXT:      tile.map %[[E]], %[[S]] into %[[Y]] :
// CHECK:           tile.store %[[Y]], %{{.*}} [%i0, 0] : !tile.tile<8x1000xf32, l2> -> memref<64x1000xf32>
func.func private @softmax(%x: tensor<64x1000xf32>) -> tensor<64x1000xf32> attributes {kpu.schedule = {tile = [8, 1000]}} {
  %m = kernel.reduce max %x axes [1] : tensor<64x1000xf32> -> tensor<64x1xf32>
  %e = kernel.map %x, %m : (tensor<64x1000xf32>, tensor<64x1xf32>) -> tensor<64x1000xf32> {
  ^bb0(%p: f32, %q: f32):
    %d = arith.subf %p, %q : f32
    %r = math.exp %d : f32
    kernel.yield %r : f32
  }
  %s = kernel.reduce add %e axes [1] : tensor<64x1000xf32> -> tensor<64x1xf32>
  %y = kernel.map %e, %s : (tensor<64x1000xf32>, tensor<64x1xf32>) -> tensor<64x1000xf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.divf %p, %q : f32
    kernel.yield %r : f32
  }
  func.return %y : tensor<64x1000xf32>
}

// -----

// A convolution is a product with a window. Two rows of the result need five of the image, one of
// them (in the first trip) in the padding; the weights stay.
// CHECK-LABEL: func.func private @conv
// CHECK-NEXT:    %[[W:.*]] = tile.load %w [0, 0, 0, 0] : memref<8x3x3x3xf32> -> !tile.tile<8x3x3x3xf32, l2>
// CHECK-NEXT:    tile.for %y = 0 to 16 step 2 {
// CHECK-NEXT:      %[[TWO:.*]] = arith.constant 2 : index
// CHECK-NEXT:      %[[ROW:.*]] = arith.muli %y, %[[TWO]] : index
// CHECK-NEXT:      %[[X:.*]] = tile.load %x [0, 0, %[[ROW]], 0] low [0, 0, 1, 1] : memref<1x3x32x32xf32> -> !tile.tile<1x3x5x33xf32, l2>
// CHECK-NEXT:      %acc = tile.alloc : !tile.tile<1x8x2x16xf32, l2>
// CHECK-NEXT:      tile.matmul output_stationary %[[W]], %[[X]] window <3x3 by 2x2 apart 1x1> into %acc : !tile.tile<8x3x3x3xf32, l2>, !tile.tile<1x3x5x33xf32, l2> -> !tile.tile<1x8x2x16xf32, l2>
// CHECK-NEXT:      tile.store %acc, %{{.*}} [0, 0, %y, 0] : !tile.tile<1x8x2x16xf32, l2> -> memref<1x8x16x16xf32>
func.func private @conv(%x: tensor<1x3x32x32xf32>, %w: tensor<8x3x3x3xf32>) -> tensor<1x8x16x16xf32> attributes {kpu.schedule = {tile = [8, 2, 16, 3]}} {
  %y = kernel.conv %x, %w strides [2, 2] dilations [1, 1] low [1, 1] high [1, 1] {groups = 1 : i64}
    : (tensor<1x3x32x32xf32>, tensor<8x3x3x3xf32>) -> tensor<1x8x16x16xf32>
  func.return %y : tensor<1x8x16x16xf32>
}

// -----

// A strided 1 x 1 convolution reads every other row: the others are seen as the right halves of rows
// twice as long.
// CHECK-LABEL: func.func private @skips(%x: memref<1x4x4x16xf32>,
// CHECK:         %[[X:.*]] = tile.load %x [0, 0, %y, 0] : memref<1x4x4x16xf32> -> !tile.tile<1x4x2x7xf32, l2>
// CHECK:         tile.matmul output_stationary %{{.*}}, %[[X]] window <1x1 by 1x2 apart 1x1> into
func.func private @skips(%x: tensor<1x4x8x8xf32>, %w: tensor<8x4x1x1xf32>) -> tensor<1x8x4x4xf32> attributes {kpu.schedule = {tile = [8, 2, 4, 4]}} {
  %y = kernel.conv %x, %w strides [2, 2] dilations [1, 1] low [0, 0] high [0, 0] {groups = 1 : i64}
    : (tensor<1x4x8x8xf32>, tensor<8x4x1x1xf32>) -> tensor<1x8x4x4xf32>
  func.return %y : tensor<1x8x4x4xf32>
}

// -----

// An epilogue runs on the drain: no map, no second pass over memory. The bias is seen as one row.
// CHECK-LABEL: func.func @main
// CHECK-NEXT:    %[[V:.*]] = tile.view %bias : memref<48xf32> to memref<1x48xf32>
// CHECK:         func.call @matmul_map_0(%a, %b, %[[V]], %y)
// CHECK-LABEL: func.func private @matmul_map_0
// CHECK:         tile.matmul output_stationary {{.*}} with %extra : !tile.tile<1x48xf32, l2> epilogue {
// CHECK-NEXT:    ^{{.*}}(%[[P:.*]]: f32, %[[Q:.*]]: f32):
// CHECK-NEXT:      %[[R:.*]] = arith.addf %[[P]], %[[Q]] : f32
// CHECK-NEXT:      tile.yield %[[R]] : f32
// CHECK-NOT:     tile.map
func.func @main(%a: tensor<32x16xf32>, %b: tensor<16x48xf32>, %bias: tensor<48xf32>) -> tensor<32x48xf32> {
  %y = kernel.fused : tensor<32x48xf32> {
    %c = kernel.matmul %a, %b : (tensor<32x16xf32>, tensor<16x48xf32>) -> tensor<32x48xf32>
    %d = kernel.map %c, %bias : (tensor<32x48xf32>, tensor<48xf32>) -> tensor<32x48xf32> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      kernel.yield %s : f32
    }
    kernel.yield %d : tensor<32x48xf32>
  }
  func.return %y : tensor<32x48xf32>
}

// -----

// A map: loads, one elementwise function on the vector engine, a store.
// CHECK-LABEL: func.func private @map_0
// CHECK:         tile.for %[[I:.*]] = 0 to 64 step
// CHECK:           tile.map %{{.*}}, %{{.*}} into %{{.*}} {
// CHECK-NEXT:      ^{{.*}}(%[[P:.*]]: f32, %[[Q:.*]]: f32):
// CHECK-NEXT:        %[[R:.*]] = arith.mulf %[[P]], %[[Q]] : f32
// CHECK-NEXT:        tile.yield %[[R]] : f32
// CHECK-NEXT:      }
// CHECK-NEXT:      tile.store %{{.*}}, %{{.*}} [%[[I]], 0]
func.func @main(%x: tensor<64x96xf32>, %s: tensor<64x1xf32>) -> tensor<64x96xf32> {
  %y = kernel.map %x, %s : (tensor<64x96xf32>, tensor<64x1xf32>) -> tensor<64x96xf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.mulf %p, %q : f32
    kernel.yield %r : f32
  }
  func.return %y : tensor<64x96xf32>
}

// -----

// A transpose is movement only.
// CHECK-LABEL: func.func private @transpose_0
// CHECK:         tile.load %{{.*}} permuted [1, 0]
// CHECK-NOT:     tile.map
// CHECK:         tile.store
func.func @main(%x: tensor<64x96xf32>) -> tensor<96x64xf32> {
  %y = kernel.transpose %x permutation [1, 0] : tensor<64x96xf32> -> tensor<96x64xf32>
  func.return %y : tensor<96x64xf32>
}

// -----

// Weights become constants in external memory, reshapes views of the same bytes.
// CHECK-LABEL: func.func @main
// CHECK-NEXT:    %w = tile.constant dense<{{.*}}> : tensor<4xf32> : memref<4xf32>
// CHECK-NEXT:    %[[V:.*]] = tile.view %w : memref<4xf32> to memref<2x2xf32>
// CHECK:         func.call @matmul_0(%x, %[[V]], %y)
func.func @main(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %w = kernel.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %v = kernel.reshape %w : tensor<4xf32> -> tensor<2x2xf32>
  %y = kernel.matmul %x, %v : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  func.return %y : tensor<3x2xf32>
}
