// kpu-interpret: what kernel and tile modules mean. The arguments are small whole numbers, so that
// every sum is exact.

// RUN: kpu-interpret %s --args "dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>" | filecheck %s --check-prefix MAIN
// MAIN:      y: float32 2x4
// MAIN-NEXT: {{\[\[}}0. 1. 0. 3.]
// MAIN-NEXT:  [0. 3. 0. 7.]]

// A tile module, of standard input (test_interpret.py compares its values).
// RUN: kpu-opt %s -p to-tile | kpu-interpret - --seed 3 | filecheck %s --check-prefix TILE
// TILE: y: float32 2x4

// Any function can be called.
// RUN: kpu-interpret %S/data/functions.mlir --symbol window --args "dense<[[[[1.0, 2.0], [3.0, 4.0]]]]> : tensor<1x1x2x2xf32>" | filecheck %s --check-prefix WINDOW
// WINDOW:      result0: float32 1x1x1x1
// WINDOW-NEXT: {{\[\[\[\[}}10.]]]]

// RUN: kpu-interpret %S/data/functions.mlir --symbol rows --args "dense<[[1, 5, 3], [9, 2, 2]]> : tensor<2x3xi32>" | filecheck %s --check-prefix ROWS
// ROWS:      result0: int32 2x1
// ROWS-NEXT: {{\[\[}}5]
// ROWS-NEXT:  [9]]
// ROWS:      result1: int64 2x1
// ROWS-NEXT: {{\[\[}}1]
// ROWS-NEXT:  [0]]

// Upstream's operations run as in xdsl-run.
// RUN: kpu-interpret %S/data/functions.mlir --symbol plain --args "5 : index" | filecheck %s --check-prefix PLAIN
// PLAIN: result0: 12

// RUN: not kpu-interpret %s --symbol none 2>&1 | filecheck %s --check-prefix NONE
// NONE:      kpu-interpret: error: there is no function @none
// NONE-NEXT: hint: there is @main

// RUN: not kpu-interpret %s --seed 1 --args "5 : index" 2>&1 | filecheck %s --check-prefix BOTH
// BOTH: kpu-interpret: error: --args and --seed both give the arguments

// RUN: not kpu-interpret %S/data/functions.mlir --symbol plain 2>&1 | filecheck %s --check-prefix INDEX
// INDEX: kpu-interpret: error: @plain: input 'i' is a index, no tensor

// RUN: not kpu-interpret %S/data/verify.mlir 2>&1 | filecheck %s --check-prefix VERIFY
// VERIFY: kpu-interpret: error: {{.*}}verify.mlir:3:3: kernel.reshape: expected a result of 8 elements
func.func @main(%x: tensor<2x2xf32>) -> (tensor<2x4xf32> {kernel.name = "y"}) {
  %w = kernel.constant dense<[[0.0, 1.0, -1.0, 1.0], [0.0, 0.0, -1.0, 1.0]]> : tensor<2x4xf32>
  %h = kernel.matmul %x, %w : (tensor<2x2xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
  %y = kernel.map %h : (tensor<2x4xf32>) -> tensor<2x4xf32> {
  ^bb0(%p: f32):
    %zero = arith.constant 0.0 : f32
    %r = arith.maximumf %p, %zero : f32
    kernel.yield %r : f32
  }
  func.return %y : tensor<2x4xf32>
}
