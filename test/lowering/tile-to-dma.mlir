// RUN: kpu-opt %s -p tile-to-dma --split-input-file | filecheck %s
// RUN: not kpu-opt %S/data/too-large.mlir -p tile-to-dma 2>&1 | filecheck %s --check-prefix LARGE
// RUN: not kpu-opt %S/data/too-large.mlir -p tile-to-dma --machine minimal 2>&1 | filecheck %s --check-prefix SMALL

// A tile that does not fit: what is needed, what there is, ring by ring, in bytes.
// LARGE:      kpu-opt: error: the tiles of @large need 1048576 bytes of l3, the machine has 524288 for them (@lhs_l3 2 x 524288)
// LARGE-NEXT: hint: smaller tiles or shallower rings (kpu.schedule), or a machine with 1048576 bytes of l3
// SMALL:      the tiles of @large need 1048576 bytes of l3, the machine has 65536 for them (@lhs_l3 2 x 524288)

// A load to L2 is staged in L3: a fetch by the DMA, a move by a block mover. Each tile has a ring of
// two slots; the rings of a level stand one behind the other. A result leaves one step late, its write
// one step behind its move. A permutation is the block mover's: what stands in L3 is as in memory.
// CHECK-LABEL: func.func private @product
// CHECK-DAG:     dma.ring @lhs_l3, 2 x <32x64xf32, l3> at 0
// CHECK-DAG:     dma.ring @rhs_l3, 2 x <48x64xf32, l3> at 16384
// CHECK-DAG:     dma.ring @acc_l3, 2 x <32x48xf32, l3> at 40960
// CHECK-DAG:     dma.ring @lhs, 2 x <32x64xf32, l2> at 0
// CHECK-DAG:     dma.ring @rhs, 2 x <64x48xf32, l2> at 16384
// CHECK-DAG:     dma.ring @acc, 2 x <32x48xf32, l2> at 40960
// CHECK:         tile.for %m = 0 to 128 step 32 {
// CHECK-NEXT:      %lhs_l3 = dma.fetch %a [%m, 0] into @lhs_l3 : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
// CHECK-NEXT:      %lhs = dma.move %lhs_l3 [0, 0] into @lhs : !tile.tile<32x64xf32, l3> -> !tile.tile<32x64xf32, l2>
// CHECK-NEXT:      tile.for %n = 0 to 96 step 48 {
// CHECK-NEXT:        %rhs_l3 = dma.fetch %b [%n, 0] into @rhs_l3 : memref<96x64xf32> -> !tile.tile<48x64xf32, l3>
// CHECK-NEXT:        %rhs = dma.move %rhs_l3 [0, 0] into @rhs permuted [1, 0] : !tile.tile<48x64xf32, l3> -> !tile.tile<64x48xf32, l2>
// CHECK-NEXT:        %acc = dma.acquire @acc : !tile.tile<32x48xf32, l2>
// CHECK-NEXT:        dma.matmul output_stationary %lhs, %rhs into %acc : {{.*}} epilogue {
// CHECK:               dma.yield %{{.*}} : f32
// CHECK:             %acc_l3 = dma.move %acc [0, 0] into @acc_l3 defer 1 : !tile.tile<32x48xf32, l2> -> !tile.tile<32x48xf32, l3>
// CHECK-NEXT:        dma.write %acc_l3, %c [%m, %n] defer 2 : !tile.tile<32x48xf32, l3> -> memref<128x96xf32>
func.func private @product(%a: memref<128x64xf32>, %b: memref<96x64xf32>, %c: memref<128x96xf32>) {
  tile.for %m = 0 to 128 step 32 {
    %lhs = tile.load %a[%m, 0] : memref<128x64xf32> -> !tile.tile<32x64xf32, l2>
    tile.for %n = 0 to 96 step 48 {
      %rhs = tile.load %b[%n, 0] permuted [1, 0] : memref<96x64xf32> -> !tile.tile<64x48xf32, l2>
      %acc = tile.alloc : !tile.tile<32x48xf32, l2>
      tile.matmul output_stationary %lhs, %rhs into %acc
        : !tile.tile<32x64xf32, l2>, !tile.tile<64x48xf32, l2> -> !tile.tile<32x48xf32, l2> epilogue {
      ^bb0(%p: f32):
        %s = arith.addf %p, %p : f32
        tile.yield %s : f32
      }
      tile.store %acc, %c[%m, %n] : !tile.tile<32x48xf32, l2> -> memref<128x96xf32>
    }
  }
  func.return
}

// -----

// A ring of what is kept is as deep as one trip of the kept loop fills it often: the left tiles, kept
// in L2 while n runs, 4 trips of k; the right ones, kept in L3 while m runs, 2 of n times 4 of k. The
// left ones only pass through L3.
// CHECK-LABEL: func.func private @kept
// CHECK-DAG:     dma.ring @lhs_l3, 2 x <32x16xf32, l3> at 0
// CHECK-DAG:     dma.ring @lhs, 4 x <32x16xf32, l2> at 12288
// CHECK-DAG:     dma.ring @rhs3, 8 x <16x48xf32, l3> at 4096
// CHECK-DAG:     dma.ring @rhs, 2 x <16x48xf32, l2> at 20480
// CHECK:         %lhs_l3 = dma.fetch %a [%m, %k] into @lhs_l3 reuse(%n) : memref<128x64xf32>
// CHECK-NEXT:    %lhs = dma.move %lhs_l3 [0, 0] into @lhs reuse(%n) :
// CHECK-NEXT:    %rhs3 = dma.fetch %b [%k, %n] into @rhs3 reuse(%m) :
// CHECK-NEXT:    %rhs = dma.move %rhs3 [0, 0] into @rhs :
// CHECK-NEXT:    dma.matmul output_stationary %lhs, %rhs into %acc over(%k) :
func.func private @kept(%a: memref<128x64xf32>, %b: memref<64x96xf32>, %c: memref<128x96xf32>) {
  tile.for %m = 0 to 128 step 32 {
    tile.for %n = 0 to 96 step 48 {
      %acc = tile.alloc : !tile.tile<32x48xf32, l2>
      tile.for %k = 0 to 64 step 16 {
        %lhs = tile.load %a[%m, %k] reuse(%n) : memref<128x64xf32> -> !tile.tile<32x16xf32, l2>
        %rhs3 = tile.load %b[%k, %n] reuse(%m) : memref<64x96xf32> -> !tile.tile<16x48xf32, l3>
        %rhs = tile.load %rhs3[0, 0] : !tile.tile<16x48xf32, l3> -> !tile.tile<16x48xf32, l2>
        tile.matmul output_stationary %lhs, %rhs into %acc over(%k)
          : !tile.tile<32x16xf32, l2>, !tile.tile<16x48xf32, l2> -> !tile.tile<32x48xf32, l2>
      }
      tile.store %acc, %c[%m, %n] : !tile.tile<32x48xf32, l2> -> memref<128x96xf32>
    }
  }
  func.return
}

// -----

// Depths and lateness are the schedule's. A result that only the vector engine makes and reads has
// one slot (@m); slots begin at multiples of 64 bytes (32 bytes of @m take 64). The move of a result
// that is not late is issued where it stands; its write still waits one step for it.
// CHECK-LABEL: func.func private @row
// CHECK-DAG:     dma.ring @in_l3, 4 x <8x1000xf32, l3> at 0
// CHECK-DAG:     dma.ring @in, 3 x <8x1000xf32, l2> at 0
// CHECK-DAG:     dma.ring @m, 1 x <8x1xf32, l2> at 96000
// CHECK-DAG:     dma.ring @e, 2 x <8x1000xf32, l2> at 96064
// CHECK-DAG:     dma.ring @e_l3, 2 x <8x1000xf32, l3> at 128000
// CHECK:         dma.fetch %x [0, %i] into @in_l3 low [0, 1000] fill -1.000000e+00 : f64 : memref<8x64000xf32>
// CHECK:         dma.reduce max %in into %m axes [1] :
// CHECK:         dma.map %in, %m into %e :
// CHECK:         dma.move %e [0, 0] into @e_l3 : !tile.tile<8x1000xf32, l2>
// CHECK-NEXT:    dma.write %e_l3, %y [0, %i] defer 1 :
func.func private @row(%x: memref<8x64000xf32>, %y: memref<8x64000xf32>) attributes {kpu.schedule = {depth = 3, l3_depth = 4, out_depth = 2, defer = 0}} {
  tile.for %i = 0 to 64000 step 1000 {
    %in = tile.load %x[0, %i] low [0, 1000] fill -1.0 : f64 : memref<8x64000xf32> -> !tile.tile<8x1000xf32, l2>
    %m = tile.alloc : !tile.tile<8x1xf32, l2>
    tile.reduce max %in into %m axes [1] : !tile.tile<8x1000xf32, l2> -> !tile.tile<8x1xf32, l2>
    %e = tile.alloc : !tile.tile<8x1000xf32, l2>
    tile.map %in, %m into %e
      : !tile.tile<8x1000xf32, l2>, !tile.tile<8x1xf32, l2> -> !tile.tile<8x1000xf32, l2> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.subf %p, %q : f32
      tile.yield %s : f32
    }
    tile.store %e, %y[0, %i] : !tile.tile<8x1000xf32, l2> -> memref<8x64000xf32>
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

// Buffers and weights stand behind the arguments of main, at multiples of 64 bytes; a view has its
// buffer's address. What is no longer needed gives its place to another.
// CHECK-LABEL: func.func @main
// CHECK-NEXT:    tile.constant dense<1.000000e+00> : tensor<20xf32> at 64 : i64 : memref<20xf32>
// CHECK-NEXT:    tile.buffer at 192 : i64 : memref<6xf32>
// CHECK-NEXT:    tile.view %y : memref<6xf32> to memref<2x3xf32>
// CHECK-NEXT:    tile.buffer at 256 : i64 : memref<6xf32>
// CHECK:         tile.buffer at 192 : i64 : memref<6xf32>
func.func @main(%a: memref<3xf32>) -> memref<6xf32> {
  %w = tile.constant dense<1.0> : tensor<20xf32> : memref<20xf32>
  %y = tile.buffer : memref<6xf32>
  %v = tile.view %y : memref<6xf32> to memref<2x3xf32>
  %z = tile.buffer : memref<6xf32>
  func.call @copy(%v, %z) : (memref<2x3xf32>, memref<6xf32>) -> ()
  %u = tile.buffer : memref<6xf32>
  func.call @again(%z, %u) : (memref<6xf32>, memref<6xf32>) -> ()
  func.return %u : memref<6xf32>
}
func.func private @copy(%0: memref<2x3xf32>, %1: memref<6xf32>)
func.func private @again(%0: memref<6xf32>, %1: memref<6xf32>)
