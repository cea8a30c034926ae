// RUN: kpu-opt %s -p kernel-to-tile | filecheck %s

// Three tiles of the result, one beside the other, are summed in one loop over k: the left operand
// comes once for all of them, and each is stored by itself.
// CHECK-LABEL: func.func private @beside
// CHECK-NEXT:    tile.for %m = 0 to 64 step 32 {
// CHECK-NEXT:      tile.for %n = 0 to 96 step 48 {
// CHECK:             %[[N1:.*]] = arith.addi %n,
// CHECK:             %[[N2:.*]] = arith.addi %n,
// CHECK-NEXT:        %acc = tile.alloc : !tile.tile<32x16xf32, l2>
// CHECK-NEXT:        %[[ACC1:.*]] = tile.alloc : !tile.tile<32x16xf32, l2>
// CHECK-NEXT:        %[[ACC2:.*]] = tile.alloc : !tile.tile<32x16xf32, l2>
// CHECK-NEXT:        tile.for %k = 0 to 64 step 32 {
// CHECK-NEXT:          %lhs = tile.load %a [%m, %k]
// CHECK-NEXT:          %rhs = tile.load %b [%k, %n]
// CHECK-NEXT:          tile.matmul output_stationary %lhs, %rhs into %acc over(%k)
// CHECK-NEXT:          %[[RHS1:.*]] = tile.load %b [%k, %[[N1]]]
// CHECK-NEXT:          tile.matmul output_stationary %lhs, %[[RHS1]] into %[[ACC1]] over(%k)
// CHECK-NEXT:          %[[RHS2:.*]] = tile.load %b [%k, %[[N2]]]
// CHECK-NEXT:          tile.matmul output_stationary %lhs, %[[RHS2]] into %[[ACC2]] over(%k)
// CHECK-NEXT:        }
// CHECK-NEXT:        tile.store %acc, %{{.*}} [%m, %n]
// CHECK-NEXT:        tile.store %[[ACC1]], %{{.*}} [%m, %[[N1]]]
// CHECK-NEXT:        tile.store %[[ACC2]], %{{.*}} [%m, %[[N2]]]
func.func private @beside(%a: tensor<64x64xf32>, %b: tensor<64x96xf32>) -> tensor<64x96xf32> attributes {kpu.schedule = {tile = [32, 16, 32], out_depth = 1, unroll_n = 3}} {
  %p = kernel.matmul %a, %b : (tensor<64x64xf32>, tensor<64x96xf32>) -> tensor<64x96xf32>
  func.return %p : tensor<64x96xf32>
}
