// RUN: kpu-opt %s -p kernel-fuse-elementwise --split-input-file | filecheck %s
// RUN: kpu-opt %s -p "kernel-fuse-elementwise{mode=none}" --split-input-file | filecheck %s --check-prefix NONE
// NONE-NOT: kernel.fused

// The example of the pass: a bias and an activation follow the product that they belong to.
// CHECK-LABEL: @epilogue
// CHECK-NEXT:    %y = kernel.fused : tensor<4x16xf32> {
// CHECK-NEXT:      %c = kernel.matmul %a, %b
// CHECK-NEXT:      %s = kernel.map %c, %bias
// CHECK:           %[[Y:.*]] = kernel.map %s
// CHECK:           kernel.yield %[[Y]] : tensor<4x16xf32>
// CHECK-NEXT:    }
// CHECK-NEXT:    func.return %y
func.func @epilogue(%a: tensor<4x8xf32>, %b: tensor<8x16xf32>, %bias: tensor<16xf32>) -> tensor<4x16xf32> {
  %c = kernel.matmul %a, %b : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf32>
  %s = kernel.map %c, %bias : (tensor<4x16xf32>, tensor<16xf32>) -> tensor<4x16xf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.addf %p, %q : f32
    kernel.yield %r : f32
  }
  %y = kernel.map %s : (tensor<4x16xf32>) -> tensor<4x16xf32> {
  ^bb0(%p: f32):
    %r = math.tanh %p : f32
    kernel.yield %r : f32
  }
  func.return %y : tensor<4x16xf32>
}

// -----

// Maps in a row become one program without a product too.
// CHECK-LABEL: @maps
// CHECK-NEXT:    kernel.fused : tensor<8xf32> {
// CHECK-NEXT:      kernel.map %x
// CHECK:           kernel.map %c
// CHECK-NOT:     kernel.map
func.func @maps(%x: tensor<8xf32>) -> tensor<8xf32> {
  %c = kernel.map %x : (tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%p: f32):
    %r = arith.negf %p : f32
    kernel.yield %r : f32
  }
  %y = kernel.map %c : (tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%p: f32):
    %r = math.exp %p : f32
    kernel.yield %r : f32
  }
  func.return %y : tensor<8xf32>
}

// -----

// A product that someone else reads is not swallowed.
// CHECK-LABEL: @two_users
// CHECK-NOT:     kernel.fused
func.func @two_users(%a: tensor<4x8xf32>, %b: tensor<8x16xf32>) -> (tensor<4x16xf32>, tensor<4x16xf32>) {
  %c = kernel.matmul %a, %b : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf32>
  %y = kernel.map %c : (tensor<4x16xf32>) -> tensor<4x16xf32> {
  ^bb0(%p: f32):
    %r = math.tanh %p : f32
    kernel.yield %r : f32
  }
  func.return %c, %y : tensor<4x16xf32>, tensor<4x16xf32>
}

// -----

// One that a map reads twice, or that several maps read which all end in one value, is.
// CHECK-LABEL: @read_twice
// CHECK:         kernel.fused
// CHECK-NEXT:      kernel.matmul
// CHECK-NEXT:      kernel.map
func.func @read_twice(%a: tensor<4x8xf32>, %b: tensor<8x16xf32>) -> tensor<4x16xf32> {
  %c = kernel.matmul %a, %b : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf32>
  %y = kernel.map %c, %c : (tensor<4x16xf32>, tensor<4x16xf32>) -> tensor<4x16xf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.mulf %p, %q : f32
    kernel.yield %r : f32
  }
  func.return %y : tensor<4x16xf32>
}

// -----

// A map that broadcasts the product to a larger shape is no epilogue of it.
// CHECK-LABEL: @broadcast
// CHECK-NOT:     kernel.fused
func.func @broadcast(%a: tensor<1x8xf32>, %b: tensor<8x16xf32>, %x: tensor<4x16xf32>) -> tensor<4x16xf32> {
  %c = kernel.matmul %a, %b : (tensor<1x8xf32>, tensor<8x16xf32>) -> tensor<1x16xf32>
  %y = kernel.map %c, %x : (tensor<1x16xf32>, tensor<4x16xf32>) -> tensor<4x16xf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.addf %p, %q : f32
    kernel.yield %r : f32
  }
  func.return %y : tensor<4x16xf32>
}

// -----

// The other operand may come from a kernel that stands between the product and its map.
// CHECK-LABEL: @operand_between
// CHECK-NEXT:    %t = kernel.transpose %x
// CHECK-NEXT:    %y = kernel.fused
// CHECK-NEXT:      kernel.matmul
// CHECK-NEXT:      kernel.map %c, %t
func.func @operand_between(%a: tensor<4x8xf32>, %b: tensor<8x16xf32>, %x: tensor<16x4xf32>) -> tensor<4x16xf32> {
  %c = kernel.matmul %a, %b : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf32>
  %t = kernel.transpose %x permutation [1, 0] : tensor<16x4xf32> -> tensor<4x16xf32>
  %y = kernel.map %c, %t : (tensor<4x16xf32>, tensor<4x16xf32>) -> tensor<4x16xf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.addf %p, %q : f32
    kernel.yield %r : f32
  }
  func.return %y : tensor<4x16xf32>
}

// -----

// What goes along the same rows, with a reduction; the largest is used twice, but only inside.
// CHECK-LABEL: @rows
// CHECK-NEXT:    %[[Y:.*]] = kernel.fused : tensor<4x1xf32> {
// CHECK-NEXT:      kernel.map %x
// CHECK:           kernel.reduce max
// CHECK-NEXT:      kernel.map
// CHECK:           kernel.reduce add
// CHECK-NEXT:      kernel.map
// CHECK:           kernel.yield
// CHECK:         func.return %[[Y]]
func.func @rows(%x: tensor<4x16xf32>, %b: tensor<16xf32>) -> tensor<4x1xf32> {
  %t = kernel.map %x, %b : (tensor<4x16xf32>, tensor<16xf32>) -> tensor<4x16xf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.addf %p, %q : f32
    kernel.yield %r : f32
  }
  %m = kernel.reduce max %t axes [1] : tensor<4x16xf32> -> tensor<4x1xf32>
  %d = kernel.map %t, %m : (tensor<4x16xf32>, tensor<4x1xf32>) -> tensor<4x16xf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.subf %p, %q : f32
    kernel.yield %r : f32
  }
  %s = kernel.reduce add %d axes [1] : tensor<4x16xf32> -> tensor<4x1xf32>
  %y = kernel.map %s, %m : (tensor<4x1xf32>, tensor<4x1xf32>) -> tensor<4x1xf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.addf %p, %q : f32
    kernel.yield %r : f32
  }
  func.return %y : tensor<4x1xf32>
}

// -----

// A value with a user outside stays outside; so does what goes along other rows.
// CHECK-LABEL: @used_outside
// CHECK-NOT:     kernel.fused
// CHECK:         func.return
func.func @used_outside(%x: tensor<4x16xf32>) -> (tensor<4x1xf32>, tensor<4x1xf32>, tensor<1x1xf32>) {
  %m = kernel.reduce max %x axes [1] : tensor<4x16xf32> -> tensor<4x1xf32>
  %y = kernel.map %m : (tensor<4x1xf32>) -> tensor<4x1xf32> {
  ^bb0(%p: f32):
    %r = arith.addf %p, %p : f32
    kernel.yield %r : f32
  }
  %c = kernel.reduce max %x axes [0] : tensor<4x16xf32> -> tensor<1x16xf32>
  %z = kernel.reduce add %c axes [1] : tensor<1x16xf32> -> tensor<1x1xf32>
  func.return %m, %y, %z : tensor<4x1xf32>, tensor<4x1xf32>, tensor<1x1xf32>
}

// -----

// A program that makes a row's bytes also writes what is read behind it: the scale it found.
// CHECK-LABEL: @bytes_and_scale
// CHECK:         %{{.*}}, %{{.*}} = kernel.fused : tensor<4x16xi8>, tensor<4x1xf32> {
// CHECK:           kernel.reduce max
// CHECK:           kernel.map
// CHECK:           kernel.yield
// CHECK:         func.return
func.func @bytes_and_scale(%x: tensor<4x16xf32>) -> (tensor<4x16xi8>, tensor<4x1xf32>) {
  %m = kernel.reduce max %x axes [1] : tensor<4x16xf32> -> tensor<4x1xf32>
  %q = kernel.map %x, %m : (tensor<4x16xf32>, tensor<4x1xf32>) -> tensor<4x16xi8> {
  ^bb0(%a: f32, %s: f32):
    %d = arith.divf %a, %s : f32
    %i = arith.fptosi %d : f32 to i8
    kernel.yield %i : i8
  }
  func.return %q, %m : tensor<4x16xi8>, tensor<4x1xf32>
}

// -----

// Products of blocks that are finished one by one, their sum, and what it becomes: one program.
// CHECK-LABEL: @blocks
// CHECK:         kernel.fused : tensor<1x3x2xf16> {
// CHECK-NEXT:      %[[C:.*]] = kernel.matmul %x, %w
// CHECK-NEXT:      %[[S:.*]] = kernel.map %[[C]], %s
// CHECK:           %[[T:.*]] = kernel.reduce add %[[S]] axes [0]
// CHECK-NEXT:      kernel.map %[[T]]
func.func @blocks(%x: tensor<2x3x4xf16>, %w: tensor<2x4x2xi4>, %s: tensor<2x1x2xf32>) -> tensor<1x3x2xf16> {
  %c = kernel.matmul %x, %w : (tensor<2x3x4xf16>, tensor<2x4x2xi4>) -> tensor<2x3x2xf32>
  %m = kernel.map %c, %s : (tensor<2x3x2xf32>, tensor<2x1x2xf32>) -> tensor<2x3x2xf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.mulf %p, %q : f32
    kernel.yield %r : f32
  }
  %t = kernel.reduce add %m axes [0] : tensor<2x3x2xf32> -> tensor<1x3x2xf32>
  %y = kernel.map %t : (tensor<1x3x2xf32>) -> tensor<1x3x2xf16> {
  ^bb0(%p: f32):
    %r = arith.truncf %p : f32 to f16
    kernel.yield %r : f16
  }
  func.return %y : tensor<1x3x2xf16>
}
