// - is standard input of every tool.
// RUN: kpu-opt - -p to-dma < %s | kpu-run - --no-values --json --no-cache | filecheck %s
// RUN: kpu-interpret - < %s | filecheck %s --check-prefix VALUES
// RUN: not kpu-run - < %S/data/verify.mlir 2>&1 | filecheck %s --check-prefix WRONG
// CHECK: "cycles":
// VALUES: result0: float32 16x16
// WRONG: kpu-run: error: stdin:3:3: kernel.reshape: expected a result of 8 elements
func.func @main(%x: tensor<16x16xf32>) -> tensor<16x16xf32> {
  %y = kernel.map %x : (tensor<16x16xf32>) -> tensor<16x16xf32> {
  ^bb0(%p: f32):
    %s = arith.addf %p, %p : f32
    kernel.yield %s : f32
  }
  func.return %y : tensor<16x16xf32>
}
