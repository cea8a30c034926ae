// RUN: kpu-opt %s -p set-machine | filecheck %s
// RUN: kpu-opt %s -p "set-machine{machine=large_l3}" | filecheck %s --check-prefix LARGE

// The default machine, or the one that is named.
// CHECK: builtin.module attributes {kpu.machine = {
// CHECK-SAME: name = "default"
// LARGE: name = "large_l3"
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  func.return %x : tensor<4xf32>
}
