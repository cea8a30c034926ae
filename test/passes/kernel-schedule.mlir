// RUN: kpu-opt %s -p "kernel-schedule{search=none}" | filecheck %s
// RUN: kpu-opt %s -p "kernel-schedule{search=none products=false}" | filecheck %s --check-prefix LEFT

// A kernel gets the default schedule; one that has its own keeps it.
// CHECK-LABEL: func.func private @free
// CHECK-SAME:    kpu.schedule = {tile = [{{.*}}], dataflow = "os", order = "mn"
// CHECK-LABEL: func.func private @own
// CHECK-SAME:    kpu.schedule = {tile = [16 : i64, 16 : i64, 16 : i64], dataflow = "ws"
// LEFT-LABEL: func.func private @free
// LEFT-NOT:     kpu.schedule
// LEFT:       func.func private @own
func.func private @free(%a: tensor<32x48xf32>, %b: tensor<48x32xf32>) -> tensor<32x32xf32> {
  %c = kernel.matmul %a, %b : (tensor<32x48xf32>, tensor<48x32xf32>) -> tensor<32x32xf32>
  func.return %c : tensor<32x32xf32>
}
func.func private @own(%a: tensor<32x48xf32>, %b: tensor<48x32xf32>) -> tensor<32x32xf32> attributes {kpu.schedule = {tile = [16 : i64, 16 : i64, 16 : i64], dataflow = "ws"}} {
  %c = kernel.matmul %a, %b : (tensor<32x48xf32>, tensor<48x32xf32>) -> tensor<32x32xf32>
  func.return %c : tensor<32x32xf32>
}
