// RUN: kpu-opt %s -p tile-to-dma --split-input-file | filecheck %s

// Every tile gets a ring: of depth 2 where it streams, 64-byte aligned, levels apart. A load that goes to L2
// passes through L3; a result leaves late.
// CHECK-LABEL: func.func private @product
// CHECK-DAG:     dma.ring @lhs_l3, 2 x <32x16xf32, l3> at 0
// CHECK-DAG:     dma.ring @lhs, 2 x <32x16xf32, l2> at 0
// CHECK-DAG:     dma.ring @rhs_l3, 2 x <16x48xf32, l3> at 4096
// CHECK-DAG:     dma.ring @rhs, 2 x <16x48xf32, l2> at 4096
// CHECK-DAG:     dma.ring @acc, 2 x <32x48xf32, l2> at 10240
// CHECK-DAG:     dma.ring @acc_l3, 2 x <32x48xf32, l3> at 10240
// CHECK:         tile.for %m = 0 to 128 step 32 {
// CHECK-NEXT:      %lhs_l3 = dma.fetch %a [%m, 0] into @lhs_l3 : memref<128x16xf32> -> !tile.tile<32x16xf32, l3>
// CHECK-NEXT:      %lhs = dma.move %lhs_l3 [0, 0] into @lhs : !tile.tile<32x16xf32, l3> -> !tile.tile<32x16xf32, l2>
// CHECK-NEXT:      %rhs_l3 = dma.fetch %b [0, 0] into @rhs_l3
// CHECK-NEXT:      %rhs = dma.move %rhs_l3 [0, 0] into @rhs
// CHECK-NEXT:      %acc = dma.acquire @acc : !tile.tile<32x48xf32, l2>
// CHECK-NEXT:      dma.matmul output_stationary %lhs, %rhs into %acc
// CHECK-NEXT:      %acc_l3 = dma.move %acc [0, 0] into @acc_l3 late 1 : !tile.tile<32x48xf32, l2> -> !tile.tile<32x48xf32, l3>
// CHECK-NEXT:      dma.write %acc_l3, %c [%m, 0] late {{[12]}} : !tile.tile<32x48xf32, l3> -> memref<128x48xf32>
func.func private @product(%a: memref<128x16xf32>, %b: memref<16x48xf32>, %c: memref<128x48xf32>) {
  tile.for %m = 0 to 128 step 32 {
    %lhs = tile.load %a[%m, 0] : memref<128x16xf32> -> !tile.tile<32x16xf32, l2>
    %rhs = tile.load %b[0, 0] : memref<16x48xf32> -> !tile.tile<16x48xf32, l2>
    %acc = tile.alloc : !tile.tile<32x48xf32, l2>
    tile.matmul output_stationary %lhs, %rhs into %acc
      : !tile.tile<32x16xf32, l2>, !tile.tile<16x48xf32, l2> -> !tile.tile<32x48xf32, l2>
    tile.store %acc, %c[%m, 0] : !tile.tile<32x48xf32, l2> -> memref<128x48xf32>
  }
  func.return
}

// -----

// A value that is kept over %m has as many slots as one trip of %m fills: here 4. Its staging in L3 only streams.
// CHECK-LABEL: func.func private @kept
// CHECK-DAG:     dma.ring @rhs, 4 x <16x48xf32, l2>
// CHECK-DAG:     dma.ring @rhs_l3, 2 x <16x48xf32, l3>
// CHECK:         %rhs_l3 = dma.fetch %b [%k, 0] into @rhs_l3 keep(%m)
// CHECK-NEXT:    %rhs = dma.move %rhs_l3 [0, 0] into @rhs keep(%m)
// CHECK:         dma.matmul output_stationary %lhs, %rhs into %acc over(%k)
func.func private @kept(%a: memref<128x64xf32>, %b: memref<64x48xf32>, %c: memref<128x48xf32>) {
  tile.for %m = 0 to 128 step 32 {
    %acc = tile.alloc : !tile.tile<32x48xf32, l2>
    tile.for %k = 0 to 64 step 16 {
      %lhs = tile.load %a[%m, %k] : memref<128x64xf32> -> !tile.tile<32x16xf32, l2>
      %rhs = tile.load %b[%k, 0] keep(%m) : memref<64x48xf32> -> !tile.tile<16x48xf32, l2>
      tile.matmul output_stationary %lhs, %rhs into %acc over(%k)
        : !tile.tile<32x16xf32, l2>, !tile.tile<16x48xf32, l2> -> !tile.tile<32x48xf32, l2>
    }
    tile.store %acc, %c[%m, 0] : !tile.tile<32x48xf32, l2> -> memref<128x48xf32>
  }
  func.return
}

// -----

// The DMA engine fetches a block as it lies in memory, the block mover transposes it.
// CHECK-LABEL: func.func private @transposed
// CHECK:         %t_l3 = dma.fetch %x [0, 0] into @t_l3 : memref<16x48xf32> -> !tile.tile<16x48xf32, l3>
// CHECK-NEXT:    %t = dma.move %t_l3 [0, 0] into @t permuted [1, 0] : !tile.tile<16x48xf32, l3> -> !tile.tile<48x16xf32, l2>
func.func private @transposed(%x: memref<16x48xf32>, %y: memref<48x16xf32>) {
  %t = tile.load %x[0, 0] permuted [1, 0] : memref<16x48xf32> -> !tile.tile<48x16xf32, l2>
  tile.store %t, %y[0, 0] : !tile.tile<48x16xf32, l2> -> memref<48x16xf32>
  func.return
}

// -----

// A tile that is loaded to L3 stays there, and blocks of it go to L2.
// CHECK-LABEL: func.func private @staged
// CHECK:         %x3 = dma.fetch %x [0, 0] into @x3 : memref<32x48xf32> -> !tile.tile<32x48xf32, l3>
// CHECK:         %x2 = dma.move %x3 [%i, 0] into @x2 : !tile.tile<32x48xf32, l3> -> !tile.tile<16x48xf32, l2>
func.func private @staged(%x: memref<32x48xf32>, %y: memref<32x48xf32>) {
  %x3 = tile.load %x[0, 0] : memref<32x48xf32> -> !tile.tile<32x48xf32, l3>
  tile.for %i = 0 to 32 step 16 {
    %x2 = tile.load %x3[%i, 0] : !tile.tile<32x48xf32, l3> -> !tile.tile<16x48xf32, l2>
    tile.store %x2, %y[%i, 0] : !tile.tile<16x48xf32, l2> -> memref<32x48xf32>
  }
  func.return
}

// -----

// Buffers and weights of @main get addresses in external memory, behind its arguments; views have their source's.
// CHECK-LABEL: func.func @main
// CHECK-NEXT:    %w = tile.constant dense<{{.*}}> : tensor<4xf32> at 64 : i64 : memref<4xf32>
// CHECK-NEXT:    %v = tile.view %w : memref<4xf32> to memref<2x2xf32>
// CHECK-NEXT:    %y = tile.buffer at 128 : i64 : memref<3x2xf32>
func.func @main(%x: memref<3x2xf32>) -> memref<3x2xf32> {
  %w = tile.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32> : memref<4xf32>
  %v = tile.view %w : memref<4xf32> to memref<2x2xf32>
  %y = tile.buffer : memref<3x2xf32>
  func.return %y : memref<3x2xf32>
}
