// RUN: kpu-opt %s -p "compile{search=none}" --print-between-passes | filecheck %s
// RUN: kpu-opt %s -p "compile{search=none fuse=epilogue}" | filecheck %s --check-prefix DMA

// What kpu_ir.compile runs, pass by pass.
// CHECK:       IR before set-machine
// CHECK:       IR after set-machine
// CHECK-NEXT:  builtin.module attributes {kpu.machine = {
// CHECK:       IR after kernel-inline (no change)
// CHECK:       IR after kernel-canonicalize
// CHECK:       IR after kernel-fuse-by-cost
// CHECK:       IR after kernel-decompose
// CHECK:       IR after kernel-fuse-elementwise
// CHECK:         kernel.fused
// CHECK:       IR after kernel-outline
// CHECK:         func.call @matmul_map_0(%x, %w)
// CHECK:       IR after kernel-pin-l3
// CHECK:       IR after kernel-schedule
// CHECK:         func.func private @matmul_map_0({{.*}} attributes {kpu.schedule = {tile = [
// CHECK:       IR after kernel-to-tile
// CHECK:         tile.matmul output_stationary
// CHECK:         dma.matmul

// DMA-LABEL: func.func private @matmul_map_0
// DMA:         dma.ring
func.func @main(%x: tensor<32x48xf32>, %w: tensor<48x32xf32>) -> tensor<32x32xf32> {
  %h = kernel.matmul %x, %w : (tensor<32x48xf32>, tensor<48x32xf32>) -> tensor<32x32xf32>
  %y = kernel.map %h : (tensor<32x32xf32>) -> tensor<32x32xf32> {
  ^bb0(%a: f32):
    %zero = arith.constant 0.000000e+00 : f32
    %r = arith.maximumf %a, %zero : f32
    kernel.yield %r : f32
  }
  func.return %y : tensor<32x32xf32>
}
