// RUN: kpu-opt %s --verify-diagnostics --split-input-file | filecheck %s

// One mistake for each thing that a verifier asks for.

// CHECK: kernel.reshape works on tensors of static shape: expected tensor<4x8xf32> or the like, got tensor<?x4xf32>
func.func @dynamic(%x: tensor<?x4xf32>) {
  %y = "kernel.reshape"(%x) : (tensor<?x4xf32>) -> tensor<4x4xf32>
  func.return
}

// -----

// CHECK: kernel.reshape works on floats and integers, got complex<f32>
func.func @element_type(%x: tensor<4xcomplex<f32>>) {
  %y = kernel.reshape %x : tensor<4xcomplex<f32>> -> tensor<2x2xcomplex<f32>>
  func.return
}

// -----

// CHECK: kernel.constant: expected a result of type tensor<2xf32>, got tensor<3xf32>
func.func @constant() {
  %c = "kernel.constant"() <{value = dense<[1.0, 2.0]> : tensor<2xf32>}> : () -> tensor<3xf32>
  func.return
}

// -----

// CHECK: kernel.matmul: expected operands of rank 2 or more, got 8 and 8x16
func.func @matmul_rank(%a: tensor<8xf32>, %b: tensor<8x16xf32>) {
  %c = kernel.matmul %a, %b : (tensor<8xf32>, tensor<8x16xf32>) -> tensor<16xf32>
  func.return
}

// -----

// CHECK: kernel.matmul: expected operands of one element type, got bf16 and f16
func.func @matmul_types(%a: tensor<4x8xbf16>, %b: tensor<8x16xf16>) {
  %c = kernel.matmul %a, %b : (tensor<4x8xbf16>, tensor<8x16xf16>) -> tensor<4x16xf32>
  func.return
}

// -----

// CHECK: kernel.matmul: f32 times f16 adds up in floats, got f16
func.func @matmul_widened_sums(%a: tensor<4x8xf32>, %b: tensor<8x16xf16>) {
  %c = kernel.matmul %a, %b : (tensor<4x8xf32>, tensor<8x16xf16>) -> tensor<4x16xf16>
  func.return
}

// -----

// CHECK: kernel.matmul: expected equal inner extents, got 8 and 16 (of 4x8 and 8x16)
func.func @matmul_inner(%a: tensor<4x8xf32>, %b: tensor<8x16xf32>) {
  %c = kernel.matmul %a, %b {transpose_b} : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x8xf32>
  func.return
}

// -----

// CHECK: kernel.matmul: batch dimensions do not broadcast: 2x4x8 and 3x8x16
func.func @matmul_batch(%a: tensor<2x4x8xf32>, %b: tensor<3x8x16xf32>) {
  %c = kernel.matmul %a, %b : (tensor<2x4x8xf32>, tensor<3x8x16xf32>) -> tensor<3x4x16xf32>
  func.return
}

// -----

// CHECK: kernel.matmul: expected a result of shape 4x16, got 16x4
func.func @matmul_shape(%a: tensor<4x8xf32>, %b: tensor<8x16xf32>) {
  %c = kernel.matmul %a, %b : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<16x4xf32>
  func.return
}

// -----

// CHECK: kernel.matmul: expected an accumulator of type f32 or a wider one, got f16
func.func @matmul_accumulator(%a: tensor<4x8xf32>, %b: tensor<8x16xf32>) {
  %c = kernel.matmul %a, %b : (tensor<4x8xf32>, tensor<8x16xf32>) -> tensor<4x16xf16>
  func.return
}

// -----

// CHECK: kernel.matmul: expected an accumulator of type i8 or a wider one, got f32
func.func @matmul_accumulator_kind(%a: tensor<4x8xi8>, %b: tensor<8x16xi8>) {
  %c = kernel.matmul %a, %b : (tensor<4x8xi8>, tensor<8x16xi8>) -> tensor<4x16xf32>
  func.return
}

// -----

// CHECK: kernel.map: expected at least one operand, got none
func.func @map_operands() {
  %y = "kernel.map"() ({
    %c = arith.constant 1.0 : f32
    kernel.yield %c : f32
  }) : () -> tensor<4xf32>
  func.return
}

// -----

// CHECK: kernel.map: operands do not broadcast: 4x8, 4
func.func @map_broadcast(%x: tensor<4x8xf32>, %b: tensor<4xf32>) {
  %y = kernel.map %x, %b : (tensor<4x8xf32>, tensor<4xf32>) -> tensor<4x8xf32> {
  ^bb0(%p: f32, %q: f32):
    kernel.yield %p : f32
  }
  func.return
}

// -----

// CHECK: kernel.map: expected a result of shape 4x8, got 8x4
func.func @map_shape(%x: tensor<4x8xf32>) {
  %y = kernel.map %x : (tensor<4x8xf32>) -> tensor<8x4xf32> {
  ^bb0(%p: f32):
    kernel.yield %p : f32
  }
  func.return
}

// -----

// CHECK: kernel.map: expected a body that takes (f32, i8), got (f32, ui8)
func.func @map_arguments(%x: tensor<8xf32>, %u: tensor<8xui8>) {
  %y = kernel.map %x, %u : (tensor<8xf32>, tensor<8xui8>) -> tensor<8xf32> {
  ^bb0(%p: f32, %q: ui8):
    kernel.yield %p : f32
  }
  func.return
}

// -----

// CHECK: kernel.map: expected a body that yields f16, got (f32)
func.func @map_yield(%x: tensor<8xf32>) {
  %y = kernel.map %x : (tensor<8xf32>) -> tensor<8xf16> {
  ^bb0(%p: f32):
    kernel.yield %p : f32
  }
  func.return
}

// -----

// CHECK: kernel.map: expected scalar arith and math in the body, got kernel.constant
func.func @map_body(%x: tensor<8xf32>) {
  %y = kernel.map %x : (tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%p: f32):
    %c = kernel.constant dense<1.0> : tensor<8xf32>
    kernel.yield %p : f32
  }
  func.return
}

// -----

// CHECK: Operation arith.constant terminates block in single-block region but is not a terminator
func.func @map_end(%x: tensor<8xf32>) {
  %y = kernel.map %x : (tensor<8xf32>) -> tensor<8xf32> {
  ^bb0(%p: f32):
    %c = arith.constant 1.0 : f32
  }
  func.return
}

// -----

// CHECK: kernel.reshape: expected a result of 32 elements, got 30 (5x6)
func.func @reshape_count(%x: tensor<4x8xf32>) {
  %y = kernel.reshape %x : tensor<4x8xf32> -> tensor<5x6xf32>
  func.return
}

// -----

// CHECK: kernel.reshape: expected a result of element type f32, got f16
func.func @reshape_type(%x: tensor<4x8xf32>) {
  %y = kernel.reshape %x : tensor<4x8xf32> -> tensor<32xf16>
  func.return
}

// -----

// CHECK: kernel.transpose: expected a permutation of 0 to 1, got [0, 0]
func.func @transpose_permutation(%x: tensor<4x8xf32>) {
  %y = kernel.transpose %x permutation [0, 0] : tensor<4x8xf32> -> tensor<4x4xf32>
  func.return
}

// -----

// CHECK: kernel.transpose: expected a result of shape 8x4, got 4x8
func.func @transpose_shape(%x: tensor<4x8xf32>) {
  %y = kernel.transpose %x permutation [1, 0] : tensor<4x8xf32> -> tensor<4x8xf32>
  func.return
}

// -----

// CHECK: kernel.fused: expected a body that yields (tensor<4xf32>), got (tensor<8xf32>)
func.func @fused_yield(%x: tensor<8xf32>) {
  %y = kernel.fused : tensor<4xf32> {
    kernel.yield %x : tensor<8xf32>
  }
  func.return
}

// -----

// CHECK: kernel.fused: expected kernel operations in the body, got arith.constant
func.func @fused_body(%x: tensor<8xf32>) {
  %y = kernel.fused : tensor<8xf32> {
    %c = arith.constant 1.0 : f32
    kernel.yield %x : tensor<8xf32>
  }
  func.return
}

// -----

// CHECK: kernel.fused: expected kernel operations in the body, got kernel.fused
func.func @fused_nested(%x: tensor<8xf32>) {
  %y = kernel.fused : tensor<8xf32> {
    %z = kernel.fused : tensor<8xf32> {
      kernel.yield %x : tensor<8xf32>
    }
    kernel.yield %z : tensor<8xf32>
  }
  func.return
}
