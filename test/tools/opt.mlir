// What kpu-opt has beside upstream's flags.
// RUN: kpu-opt %s --elide 4 | filecheck %s --check-prefix ELIDED
// RUN: kpu-opt %s --elide 4 | kpu-opt | filecheck %s --check-prefix ELIDED
// RUN: kpu-opt %s --machine minimal --set l2.banks=3 | kpu-opt | filecheck %s --check-prefix MACHINE
// RUN: kpu-opt %s -p to-kernel --time-passes 2>/dev/null | filecheck %s --check-prefix ALONE
// RUN: kpu-opt %s -p to-dma --elide 0 | filecheck %s --check-prefix DMA

// The plain name, the prefixed one, and that of the plugin in upstream's tool are one pass.
// RUN: kpu-opt %s -p kernel-fuse-elementwise | filecheck %s --check-prefix FUSED
// RUN: kpu-opt %s -p kpu-kernel-fuse-elementwise | filecheck %s --check-prefix FUSED
// RUN: xdsl-opt %s -p kpu-kernel-fuse-elementwise | filecheck %s --check-prefix FUSED

// ALONE-NOT: ms
// ALONE:     func.func @main

// FUSED: kernel.fused
// DMA:   dma.matmul

// MACHINE: kpu.machine = {name = "minimal"{{.*}} l2 = {banks = 3 : i64
// ELIDED-LABEL: func.func @main
// ELIDED-NEXT:    kernel.constant dense_resource<elided> : tensor<2x4xf32>
// ELIDED-NEXT:    kernel.constant dense<1.000000e+00> : tensor<4xf32>
func.func @main(%x: tensor<3x2xf32>) -> tensor<3x4xf32> {
  %w = kernel.constant dense<[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]> : tensor<2x4xf32>
  %b = kernel.constant dense<1.0> : tensor<4xf32>
  %h = kernel.matmul %x, %w : (tensor<3x2xf32>, tensor<2x4xf32>) -> tensor<3x4xf32>
  %y = kernel.map %h, %b : (tensor<3x4xf32>, tensor<4xf32>) -> tensor<3x4xf32> {
  ^bb0(%p: f32, %q: f32):
    %s = arith.addf %p, %q : f32
    kernel.yield %s : f32
  }
  func.return %y : tensor<3x4xf32>
}
