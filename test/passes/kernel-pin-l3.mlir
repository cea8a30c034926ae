// RUN: kpu-opt %s -p "kernel-pin-l3{report=true search=none}" --split-input-file 2>&1 | filecheck %s
// RUN: kpu-opt %s -p "kernel-pin-l3{search=none},kernel-to-tile,tile-to-dma" --split-input-file | filecheck %s --check-prefix DMA

// What the first kernel makes and the second reads stands at the end of L3, out of the way of their
// tiles.
// CHECK:       remark: first .. second: the tensor stays in L3: {{.*}} in 2 kernels; outside: {{.*}} in 2 kernels
// CHECK-LABEL: func.func @main
// CHECK:         %h = func.call @first_pinned_0(%x, %w)
// CHECK-NEXT:    %r = kernel.reshape %h
// CHECK-NEXT:    %y = func.call @second_pinned_1(%r, %v)
// CHECK-NOT:   func.func private @first(
// CHECK:       func.func private @first_pinned_0({{.*}} attributes {kpu.pinned = array<i64: 2>, kpu.l3_bytes = 491520 : i64}
// CHECK:       func.func private @second_pinned_1({{.*}} attributes {kpu.pinned = array<i64: 0>, kpu.l3_bytes = 491520 : i64}

// DMA-LABEL: func.func @main
// DMA:         %h = tile.buffer at 520192 : i64 : memref<16x64xf32, "l3">
// DMA:         %{{.*}} = tile.view %h : memref<16x64xf32, "l3"> to memref<64x16xf32, "l3">
// DMA-LABEL: func.func private @first_pinned_0
// DMA:         dma.write %acc, %{{.*}} : !tile.tile<16x64xf32, l2> -> memref<16x64xf32, "l3">
// DMA-LABEL: func.func private @second_pinned_1
// DMA:         dma.fetch %{{.*}} into @lhs : memref<64x16xf32, "l3"> -> !tile.tile<64x16xf32, l2>
func.func @main(%x: tensor<16x64xf32>, %w: tensor<64x64xf32>, %v: tensor<16x64xf32>) -> tensor<64x64xf32> {
  %h = func.call @first(%x, %w) : (tensor<16x64xf32>, tensor<64x64xf32>) -> tensor<16x64xf32>
  %r = kernel.reshape %h : tensor<16x64xf32> -> tensor<64x16xf32>
  %y = func.call @second(%r, %v) : (tensor<64x16xf32>, tensor<16x64xf32>) -> tensor<64x64xf32>
  func.return %y : tensor<64x64xf32>
}
func.func private @first(%a: tensor<16x64xf32>, %b: tensor<64x64xf32>) -> tensor<16x64xf32> {
  %c = kernel.matmul %a, %b : (tensor<16x64xf32>, tensor<64x64xf32>) -> tensor<16x64xf32>
  func.return %c : tensor<16x64xf32>
}
func.func private @second(%a: tensor<64x16xf32>, %b: tensor<16x64xf32>) -> tensor<64x64xf32> {
  %c = kernel.matmul %a, %b : (tensor<64x16xf32>, tensor<16x64xf32>) -> tensor<64x64xf32>
  func.return %c : tensor<64x64xf32>
}

// -----

// What the caller gets is no tensor between kernels.
// CHECK-LABEL: func.func @main
// CHECK-NEXT:    %h = func.call @only(%x)
func.func @main(%x: tensor<16x16xf32>) -> (tensor<16x16xf32>, tensor<16x16xf32>) {
  %h = func.call @only(%x) : (tensor<16x16xf32>) -> tensor<16x16xf32>
  %y = func.call @only(%h) : (tensor<16x16xf32>) -> tensor<16x16xf32>
  func.return %h, %y : tensor<16x16xf32>, tensor<16x16xf32>
}
func.func private @only(%a: tensor<16x16xf32>) -> tensor<16x16xf32> {
  %c = kernel.matmul %a, %a : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
  func.return %c : tensor<16x16xf32>
}
