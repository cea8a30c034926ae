// RUN: kpu-opt %s | kpu-opt | filecheck %s
// RUN: kpu-opt %s --print-op-generic | kpu-opt | filecheck %s

// The whole vocabulary, in one kernel: rings, transfers, a product, a map.
// CHECK-LABEL: func.func @kernel
func.func @kernel(%a: memref<128x64xf32>, %b: memref<96x64xf32>, %y: memref<128x96xf32>) {
  // CHECK-NEXT: dma.program {
  // CHECK-NEXT: dma.ring @a3, 2 x <32x64xf32, l3> at 0
  dma.program {
    dma.ring @a3, 2 x <32x64xf32, l3> at 0
    dma.ring @b3, 2 x <48x64xf32, l3> at 16384
    dma.ring @c3, 2 x <16x48xf32, l3> at 65536
    dma.ring @a2, 2 x <16x64xf32, l2> at 0
    dma.ring @b2, 2 x <64x48xf32, l2> at 8192
    dma.ring @c2, 3 x <16x48xf32, l2> at 65536
    tile.for %i = 0 to 128 step 16 {
    // CHECK: %a3 = dma.fetch %a [%i, 0] into @a3 : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
      %a3 = dma.fetch %a[%i, 0] into @a3 : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
    // CHECK-NEXT: %a2 = dma.move %a3 [0, 0] into @a2 : !tile.tile<32x64xf32, l3> -> !tile.tile<16x64xf32, l2>
      %a2 = dma.move %a3[0, 0] into @a2 : !tile.tile<32x64xf32, l3> -> !tile.tile<16x64xf32, l2>
      tile.for %j = 0 to 96 step 48 {
      // CHECK: %b3 = dma.fetch %b [%j, 0] into @b3 reuse(%i) on [0, 1] : memref<96x64xf32> -> !tile.tile<48x64xf32, l3>
        %b3 = dma.fetch %b[%j, 0] into @b3 reuse(%i) on [0, 1] : memref<96x64xf32> -> !tile.tile<48x64xf32, l3>
      // CHECK-NEXT: %b2 = dma.move %b3 [0, 0] into @b2 reuse(%i) permuted [1, 0] : !tile.tile<48x64xf32, l3> -> !tile.tile<64x48xf32, l2>
        %b2 = dma.move %b3[0, 0] into @b2 reuse(%i) permuted [1, 0] : !tile.tile<48x64xf32, l3> -> !tile.tile<64x48xf32, l2>
      // CHECK-NEXT: %c = dma.acquire @c2 : !tile.tile<16x48xf32, l2>
        %c = dma.acquire @c2 : !tile.tile<16x48xf32, l2>
      // CHECK-NEXT: dma.matmul output_stationary %a2, %b2 into %c over(%j) : {{.*}} epilogue {
        dma.matmul output_stationary %a2, %b2 into %c over(%j)
          : !tile.tile<16x64xf32, l2>, !tile.tile<64x48xf32, l2> -> !tile.tile<16x48xf32, l2> epilogue {
        ^bb0(%acc: f32):
          %z = arith.constant 0.0 : f32
          %r = arith.maximumf %acc, %z : f32
        // CHECK: dma.yield %r : f32
          dma.yield %r : f32
        }
        %d = dma.acquire @c2 : !tile.tile<16x48xf32, l2>
      // CHECK: dma.map %c into %d : !tile.tile<16x48xf32, l2> -> !tile.tile<16x48xf32, l2> {
        dma.map %c into %d : !tile.tile<16x48xf32, l2> -> !tile.tile<16x48xf32, l2> {
        ^bb0(%p: f32):
          %s = arith.addf %p, %p : f32
          dma.yield %s : f32
        }
      // CHECK: %c3 = dma.move %d [0, 0] into @c3 on [3] defer 1 : !tile.tile<16x48xf32, l2> -> !tile.tile<16x48xf32, l3>
        %c3 = dma.move %d[0, 0] into @c3 on [3] defer 1 : !tile.tile<16x48xf32, l2> -> !tile.tile<16x48xf32, l3>
      // CHECK-NEXT: dma.write %c3, %y [%i, %j] defer 2 : !tile.tile<16x48xf32, l3> -> memref<128x96xf32>
        dma.write %c3, %y[%i, %j] defer 2 : !tile.tile<16x48xf32, l3> -> memref<128x96xf32>
      }
    }
  }
  func.return
}

// Rows by index, and what reads as a value around a tensor.
// CHECK-LABEL: func.func @fetches
func.func @fetches(%x: memref<8x30xf32>, %table: memref<1x1000x64xf32>, %list: memref<128xi64>) {
  dma.program {
    dma.ring @e3, 2 x <1x16x64xf32, l3> at 0
    dma.ring @x3, 2 x <8x10xf32, l3> at 8192
    tile.for %i = 0 to 128 step 16 {
    // CHECK: %e3 = dma.fetch %table [0, %i, 0] by %list : memref<128xi64> into @e3 : memref<1x1000x64xf32> -> !tile.tile<1x16x64xf32, l3>
      %e3 = dma.fetch %table[0, %i, 0] by %list : memref<128xi64> into @e3
        : memref<1x1000x64xf32> -> !tile.tile<1x16x64xf32, l3>
    }
    tile.for %h = 0 to 32 step 10 {
    // CHECK: %x3 = dma.fetch %x [0, %h] into @x3 low [0, 1] high [0, 1] : memref<8x30xf32> -> !tile.tile<8x10xf32, l3>
      %x3 = dma.fetch %x[0, %h] into @x3 low [0, 1] high [0, 1] : memref<8x30xf32> -> !tile.tile<8x10xf32, l3>
    // CHECK: %n3 = dma.fetch %x [0, %h] into @x3 low [0, 2] fill 0xfff0000000000000 : f64 on [1] : memref<8x30xf32> -> !tile.tile<8x10xf32, l3>
      %n3 = dma.fetch %x[0, %h] into @x3 low [0, 2] fill 0xFFF0000000000000 : f64 on [1] : memref<8x30xf32> -> !tile.tile<8x10xf32, l3>
    }
  }
  func.return
}

// CHECK-LABEL: func.func @writes
func.func @writes(%y: memref<128x96xf32>) {
  dma.program {
    dma.ring @c, 1 x <16x48xf32, l2> at 0
    dma.ring @c3, 2 x <16x48xf32, l3> at 0
    tile.for %i = 0 to 128 step 16 {
      tile.for %j = 0 to 96 step 48 {
      // CHECK: %c = dma.acquire @c : !tile.tile<16x48xf32, l2>
        %c = dma.acquire @c : !tile.tile<16x48xf32, l2>
        %c3 = dma.move %c[0, 0] into @c3 : !tile.tile<16x48xf32, l2> -> !tile.tile<16x48xf32, l3>
      // CHECK: dma.write %c3, %y [%i, %j] on [0] defer 2 : !tile.tile<16x48xf32, l3> -> memref<128x96xf32>
        dma.write %c3, %y[%i, %j] on [0] defer 2 : !tile.tile<16x48xf32, l3> -> memref<128x96xf32>
      }
    }
  }
  func.return
}

// The vector engine along dimensions and under windows; a convolution on the fabric.
// CHECK-LABEL: func.func @windows
func.func @windows() {
  dma.program {
    dma.ring @r, 2 x <32x1024xf32, l2> at 0
    dma.ring @m, 1 x <32x1xf32, l2> at 262144
    dma.ring @x, 1 x <1x8x16x16xf32, l2> at 262272
    dma.ring @p, 1 x <1x8x8x8xf32, l2> at 270464
    dma.ring @d, 1 x <1x8x3x3xf32, l2> at 272512
    dma.ring @e, 1 x <1x8x14x14xf32, l2> at 272832
    dma.ring @w, 1 x <1x4x8x3x3xf32, l2> at 279104
    dma.ring @c, 1 x <1x4x14x14xf32, l2> at 280256
    dma.ring @b, 1 x <1x4x1x1xf32, l2> at 283392
    %m = dma.acquire @m : !tile.tile<32x1xf32, l2>
    tile.for %k = 0 to 2 step 1 {
      %r = dma.acquire @r : !tile.tile<32x1024xf32, l2>
    // CHECK: dma.reduce max %r into %m axes [1] : !tile.tile<32x1024xf32, l2> -> !tile.tile<32x1xf32, l2>
      dma.reduce max %r into %m axes [1] : !tile.tile<32x1024xf32, l2> -> !tile.tile<32x1xf32, l2>
    // CHECK: dma.reduce add %r into %m axes [1] over(%k) : !tile.tile<32x1024xf32, l2> -> !tile.tile<32x1xf32, l2>
      dma.reduce add %r into %m axes [1] over(%k) : !tile.tile<32x1024xf32, l2> -> !tile.tile<32x1xf32, l2>
    }
    %x = dma.acquire @x : !tile.tile<1x8x16x16xf32, l2>
    %p = dma.acquire @p : !tile.tile<1x8x8x8xf32, l2>
  // CHECK: dma.window max <2x2 by 2x2 apart 1x1> %x into %p : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x8x8x8xf32, l2>
    dma.window max <2x2 by 2x2 apart 1x1> %x into %p
      : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x8x8x8xf32, l2>
    %d = dma.acquire @d : !tile.tile<1x8x3x3xf32, l2>
    %e = dma.acquire @e : !tile.tile<1x8x14x14xf32, l2>
  // CHECK: dma.window add <3x3 by 1x1 apart 1x1> %x weights %d : !tile.tile<1x8x3x3xf32, l2> into %e : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x8x14x14xf32, l2>
    dma.window add <3x3 by 1x1 apart 1x1> %x weights %d : !tile.tile<1x8x3x3xf32, l2> into %e
      : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x8x14x14xf32, l2>
    %w = dma.acquire @w : !tile.tile<1x4x8x3x3xf32, l2>
    %c = dma.acquire @c : !tile.tile<1x4x14x14xf32, l2>
    %b = dma.acquire @b : !tile.tile<1x4x1x1xf32, l2>
  // CHECK: dma.matmul weight_stationary %w, %x window <3x3 by 1x1 apart 1x1> into %c : !tile.tile<1x4x8x3x3xf32, l2>, !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x4x14x14xf32, l2> with %b : !tile.tile<1x4x1x1xf32, l2> epilogue {
    dma.matmul weight_stationary %w, %x window <3x3 by 1x1 apart 1x1> into %c
      : !tile.tile<1x4x8x3x3xf32, l2>, !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x4x14x14xf32, l2>
      with %b : !tile.tile<1x4x1x1xf32, l2> epilogue {
    ^bb0(%acc: f32, %q: f32):
      %s = arith.addf %acc, %q : f32
      dma.yield %s : f32
    }
  }
  func.return
}

// Sums that stay over a loop in L3: taken up again, moved in, put back, written in the last trip.
// CHECK-LABEL: func.func @sums
func.func @sums(%y: memref<64x48xf32>) {
  dma.program {
    dma.ring @s, 2 x <32x48xf32, l3> at 0
    dma.ring @o, 2 x <32x48xf32, l3> at 32768
    dma.ring @p, 2 x <32x48xf32, l2> at 0
    tile.for %k = 0 to 4 step 1 {
      tile.for %i = 0 to 64 step 32 {
      // CHECK: %s = dma.acquire @s reuse(%k) : !tile.tile<32x48xf32, l3>
        %s = dma.acquire @s reuse(%k) : !tile.tile<32x48xf32, l3>
      // CHECK: %p = dma.move %s [0, 0] into @p after(%k) : !tile.tile<32x48xf32, l3> -> !tile.tile<32x48xf32, l2>
        %p = dma.move %s[0, 0] into @p after(%k) : !tile.tile<32x48xf32, l3> -> !tile.tile<32x48xf32, l2>
      // CHECK: dma.put %p, %s on [0, 1] defer 2 : !tile.tile<32x48xf32, l2> -> !tile.tile<32x48xf32, l3>
        dma.put %p, %s on [0, 1] defer 2 : !tile.tile<32x48xf32, l2> -> !tile.tile<32x48xf32, l3>
      // CHECK: %o = dma.move %p [0, 0] into @o over(%k) : !tile.tile<32x48xf32, l2> -> !tile.tile<32x48xf32, l3>
        %o = dma.move %p[0, 0] into @o over(%k) : !tile.tile<32x48xf32, l2> -> !tile.tile<32x48xf32, l3>
      // CHECK: dma.write %o, %y [%i, 0] over(%k) defer 3 : !tile.tile<32x48xf32, l3> -> memref<64x48xf32>
        dma.write %o, %y[%i, 0] over(%k) defer 3 : !tile.tile<32x48xf32, l3> -> memref<64x48xf32>
      }
    }
  }
  func.return
}

// A tensor that stands in L3 goes to L2 and comes from there.
// CHECK-LABEL: func.func @near
func.func @near(%h: memref<128x64xf32, "l3">, %y: memref<128x64xf32, "l3">) {
  dma.program {
    dma.ring @h, 2 x <32x64xf32, l2> at 0
    tile.for %i = 0 to 128 step 32 {
    // CHECK: %a = dma.fetch %h [%i, 0] into @h : memref<128x64xf32, "l3"> -> !tile.tile<32x64xf32, l2>
      %a = dma.fetch %h[%i, 0] into @h : memref<128x64xf32, "l3"> -> !tile.tile<32x64xf32, l2>
    // CHECK-NEXT: dma.write %a, %y [%i, 0] defer 1 : !tile.tile<32x64xf32, l2> -> memref<128x64xf32, "l3">
      dma.write %a, %y[%i, 0] defer 1 : !tile.tile<32x64xf32, l2> -> memref<128x64xf32, "l3">
    }
  }
  func.return
}

// CHECK-LABEL: @row
func.func @row() {
  dma.program {
    dma.ring @x, 1 x <8x512xf32, l2> at 0
    dma.ring @i, 1 x <8x5xi64, l2> at 16384
    %x = dma.acquire @x : !tile.tile<8x512xf32, l2>
    %i = dma.acquire @i : !tile.tile<8x5xi64, l2>
    // CHECK: dma.row top %x into %i axis 1 : !tile.tile<8x512xf32, l2> -> !tile.tile<8x5xi64, l2>
    dma.row top %x into %i axis 1 : !tile.tile<8x512xf32, l2> -> !tile.tile<8x5xi64, l2>
  }
  func.return
}
