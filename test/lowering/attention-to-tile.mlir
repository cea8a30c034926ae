// RUN: kpu-opt %s -p "kernel-to-tile" | filecheck %s

// One block of keys, then the others, which rescale what has been added up. Scores never leave L2.
// CHECK-LABEL: func.func private @attention
// CHECK:      tile.for %b = 0 to 2 step 1 {
// CHECK-NEXT:   tile.for %m = 0 to 64 step 32 {
// CHECK:          %q_1 = tile.load
// CHECK:          %k_1 = tile.load %{{.*}} reuse(%m) permuted [0, 2, 1]
// CHECK:          tile.matmul output_stationary %q_1, %k_1 into %scores
// CHECK:          tile.reduce max %scores into %top axes [2]
// CHECK:          tile.for %n = 32 to 64 step 32 {
// CHECK:            tile.matmul
// CHECK:            math.exp
// CHECK:          }
// CHECK:          tile.store %out
func.func @main(%q: tensor<2x64x16xf32>, %k: tensor<2x64x16xf32>, %v: tensor<2x64x16xf32>) -> tensor<2x64x16xf32> {
  %0 = func.call @attention(%q, %k, %v) : (tensor<2x64x16xf32>, tensor<2x64x16xf32>, tensor<2x64x16xf32>) -> tensor<2x64x16xf32>
  func.return %0 : tensor<2x64x16xf32>
}
func.func private @attention(%q: tensor<2x64x16xf32>, %k: tensor<2x64x16xf32>, %v: tensor<2x64x16xf32>) -> tensor<2x64x16xf32>
    attributes {kpu.schedule = {tile = [32 : i64, 32 : i64], rhs = "l2"}} {
  %s = kernel.matmul %q, %k {transpose_b} : (tensor<2x64x16xf32>, tensor<2x64x16xf32>) -> tensor<2x64x64xf32>
  %p = kernel.softmax %s {axis = 2 : i64} : tensor<2x64x64xf32> -> tensor<2x64x64xf32>
  %y = kernel.matmul %p, %v : (tensor<2x64x64xf32>, tensor<2x64x16xf32>) -> tensor<2x64x16xf32>
  func.return %y : tensor<2x64x16xf32>
}
