// RUN: kpu-opt %s | kpu-opt | filecheck %s
// RUN: kpu-opt %s --print-op-generic | kpu-opt | filecheck %s

// Memory outside the chip: buffers, weights, views.
// CHECK-LABEL: func.func @external
func.func @external() {
  // CHECK: %y = tile.buffer : memref<128x768xf32>
  %y = tile.buffer : memref<128x768xf32>
  // CHECK: %z = tile.buffer at 4096 : i64 : memref<128x768xf32>
  %z = tile.buffer at 4096 : i64 : memref<128x768xf32>
  // CHECK: %w = tile.constant dense<{{.*}}> : tensor<2x2xf32> : memref<2x2xf32>
  %w = tile.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32> : memref<2x2xf32>
  // CHECK: %r = tile.view %y : memref<128x768xf32> to memref<1x128x768xf32>
  %r = tile.view %y : memref<128x768xf32> to memref<1x128x768xf32>
  func.return
}

// A product with an epilogue: the whole vocabulary of a kernel.
// CHECK-LABEL: func.func @kernel
func.func @kernel(%a: memref<128x64xf32>, %b: memref<100x64xf32>, %v: memref<1x100xf32>, %y: memref<128x100xf32>) {
  // CHECK: tile.for %i = 0 to 128 step 32 {
  tile.for %i = 0 to 128 step 32 {
    // CHECK-NEXT: %a3 = tile.load %a [%i, 0] : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
    %a3 = tile.load %a[%i, 0] : memref<128x64xf32> -> !tile.tile<32x64xf32, l3>
    // CHECK-NEXT: %a2 = tile.load %a3 [0, 0] : !tile.tile<32x64xf32, l3> -> !tile.tile<32x64xf32, l2>
    %a2 = tile.load %a3[0, 0] : !tile.tile<32x64xf32, l3> -> !tile.tile<32x64xf32, l2>
    // CHECK-NEXT: tile.for %j = 0 to 100 step 48 {
    tile.for %j = 0 to 100 step 48 {
      // CHECK-NEXT: %b2 = tile.load %b [%j, 0] reuse(%i) permuted [1, 0] : memref<100x64xf32> -> !tile.tile<64x48xf32, l2>
      %b2 = tile.load %b[%j, 0] reuse(%i) permuted [1, 0] : memref<100x64xf32> -> !tile.tile<64x48xf32, l2>
      // CHECK-NEXT: %c = tile.alloc : !tile.tile<32x48xf32, l2>
      %c = tile.alloc : !tile.tile<32x48xf32, l2>
      // CHECK-NEXT: tile.for %k = 0 to 2 step 1 {
      tile.for %k = 0 to 2 step 1 {
        // CHECK-NEXT: tile.matmul output_stationary %a2, %b2 into %c over(%k) : !tile.tile<32x64xf32, l2>, !tile.tile<64x48xf32, l2> -> !tile.tile<32x48xf32, l2>
        tile.matmul output_stationary %a2, %b2 into %c over(%k)
          : !tile.tile<32x64xf32, l2>, !tile.tile<64x48xf32, l2> -> !tile.tile<32x48xf32, l2>
      }
      %bias = tile.load %v[0, %j] : memref<1x100xf32> -> !tile.tile<1x48xf32, l2>
      %d = tile.alloc : !tile.tile<32x48xf32, l2>
      // CHECK: tile.matmul weight_stationary %a2, %b2 into %d : {{.*}} with %bias : !tile.tile<1x48xf32, l2> epilogue {
      tile.matmul weight_stationary %a2, %b2 into %d
        : !tile.tile<32x64xf32, l2>, !tile.tile<64x48xf32, l2> -> !tile.tile<32x48xf32, l2>
        with %bias : !tile.tile<1x48xf32, l2> epilogue {
      // CHECK-NEXT: ^{{.*}}(%acc: f32, %x: f32):
      ^bb0(%acc: f32, %x: f32):
        %s = arith.addf %acc, %x : f32
        // CHECK: tile.yield %{{.*}} : f32
        tile.yield %s : f32
      }
      %e = tile.alloc : !tile.tile<32x48xf32, l2>
      // CHECK: tile.map %d, %bias into %e : !tile.tile<32x48xf32, l2>, !tile.tile<1x48xf32, l2> -> !tile.tile<32x48xf32, l2> {
      tile.map %d, %bias into %e
        : !tile.tile<32x48xf32, l2>, !tile.tile<1x48xf32, l2> -> !tile.tile<32x48xf32, l2> {
      ^bb0(%p: f32, %q: f32):
        %s = arith.addf %p, %q : f32
        tile.yield %s : f32
      }
      // CHECK: tile.store %e, %y [%i, %j] : !tile.tile<32x48xf32, l2> -> memref<128x100xf32>
      tile.store %e, %y[%i, %j] : !tile.tile<32x48xf32, l2> -> memref<128x100xf32>
    }
  }
  func.return
}

// Blocks of padded tensors, and rows by index.
// CHECK-LABEL: func.func @loads
func.func @loads(%x0: memref<8x30xf32>, %table: memref<1x1000x64xf32>, %list: memref<128xi64>) {
  tile.for %i = 0 to 128 step 16 {
    // CHECK: %e = tile.load %table [0, %i, 0] by %list : memref<128xi64> : memref<1x1000x64xf32> -> !tile.tile<1x16x64xf32, l2>
    %e = tile.load %table[0, %i, 0] by %list : memref<128xi64> : memref<1x1000x64xf32> -> !tile.tile<1x16x64xf32, l2>
  }
  tile.for %h = 0 to 32 step 10 {
    // Zeros around the tensor; offsets count from the padding.
    // CHECK: %x = tile.load %x0 [0, %h] low [0, 1] high [0, 1] : memref<8x30xf32> -> !tile.tile<8x10xf32, l2>
    %x = tile.load %x0[0, %h] low [0, 1] high [0, 1] : memref<8x30xf32> -> !tile.tile<8x10xf32, l2>
    // CHECK: %n = tile.load %x0 [0, %h] high [0, 2] fill -1.500000e+00 : f64 : memref<8x30xf32> -> !tile.tile<8x10xf32, l3>
    %n = tile.load %x0[0, %h] high [0, 2] fill -1.5 : f64 : memref<8x30xf32> -> !tile.tile<8x10xf32, l3>
    // Below everything, as a pooling by max needs it.
    // CHECK: %m = tile.load %x0 [0, %h] low [0, 2] fill 0xfff0000000000000 : f64 : memref<8x30xf32> -> !tile.tile<8x10xf32, l2>
    %m = tile.load %x0[0, %h] low [0, 2] fill 0xFFF0000000000000 : f64 : memref<8x30xf32> -> !tile.tile<8x10xf32, l2>
  }
  func.return
}

// What the vector engine does along dimensions.
// CHECK-LABEL: func.func @reduce
func.func @reduce(%x0: memref<32x2048xf32>) {
  %m = tile.alloc : !tile.tile<32x1xf32, l2>
  %s = tile.alloc : !tile.tile<1x1xf32, l2>
  tile.for %k = 0 to 2048 step 1024 {
    %x = tile.load %x0[0, %k] : memref<32x2048xf32> -> !tile.tile<32x1024xf32, l2>
    // CHECK: tile.reduce max %x into %m axes [1] : !tile.tile<32x1024xf32, l2> -> !tile.tile<32x1xf32, l2>
    tile.reduce max %x into %m axes [1] : !tile.tile<32x1024xf32, l2> -> !tile.tile<32x1xf32, l2>
    // CHECK: tile.reduce add %x into %s axes [0, 1] over(%k) : !tile.tile<32x1024xf32, l2> -> !tile.tile<1x1xf32, l2>
    tile.reduce add %x into %s axes [0, 1] over(%k) : !tile.tile<32x1024xf32, l2> -> !tile.tile<1x1xf32, l2>
  }
  func.return
}

// Windows: pooling, a depthwise convolution with an epilogue, a convolution as a product.
// CHECK-LABEL: func.func @windows
func.func @windows(%x0: memref<1x8x16x16xf32>, %d0: memref<1x8x3x3xf32>, %w0: memref<1x4x8x3x3xf32>) {
  %x = tile.load %x0[0, 0, 0, 0] : memref<1x8x16x16xf32> -> !tile.tile<1x8x16x16xf32, l2>
  %p = tile.alloc : !tile.tile<1x8x8x8xf32, l2>
  // CHECK: tile.window max <2x2 by 2x2 apart 1x1> %x into %p : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x8x8x8xf32, l2>
  tile.window max <2x2 by 2x2 apart 1x1> %x into %p
    : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x8x8x8xf32, l2>
  %d = tile.load %d0[0, 0, 0, 0] : memref<1x8x3x3xf32> -> !tile.tile<1x8x3x3xf32, l2>
  %e = tile.alloc : !tile.tile<1x8x12x12xf32, l2>
  // CHECK: tile.window add <3x3 by 1x1 apart 2x2> %x weights %d : !tile.tile<1x8x3x3xf32, l2> into %e : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x8x12x12xf32, l2> epilogue {
  tile.window add <3x3 by 1x1 apart 2x2> %x weights %d : !tile.tile<1x8x3x3xf32, l2> into %e
    : !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x8x12x12xf32, l2> epilogue {
  ^bb0(%acc: f32):
    %z = arith.constant 0.0 : f32
    %r = arith.maximumf %acc, %z : f32
    tile.yield %r : f32
  }
  %w = tile.load %w0[0, 0, 0, 0, 0] : memref<1x4x8x3x3xf32> -> !tile.tile<1x4x8x3x3xf32, l2>
  %c = tile.alloc : !tile.tile<1x4x7x7xf32, l2>
  // CHECK: tile.matmul output_stationary %w, %x window <3x3 by 2x2 apart 1x1> into %c : !tile.tile<1x4x8x3x3xf32, l2>, !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x4x7x7xf32, l2>
  tile.matmul output_stationary %w, %x window <3x3 by 2x2 apart 1x1> into %c
    : !tile.tile<1x4x8x3x3xf32, l2>, !tile.tile<1x8x16x16xf32, l2> -> !tile.tile<1x4x7x7xf32, l2>
  func.return
}

// Sums that stay over a loop outside of others, in L3; what is permuted on its way out.
// CHECK-LABEL: func.func @sums
func.func @sums(%a0: memref<64x256xf32>, %b0: memref<256x48xf32>, %y: memref<64x48xf32>, %z: memref<48x1x64xf32>) {
  tile.for %k = 0 to 256 step 64 {
    tile.for %i = 0 to 64 step 32 {
      %a = tile.load %a0[%i, %k] : memref<64x256xf32> -> !tile.tile<32x64xf32, l2>
      %b = tile.load %b0[%k, 0] reuse(%i) : memref<256x48xf32> -> !tile.tile<64x48xf32, l2>
      // CHECK: %s = tile.alloc reuse(%k) : !tile.tile<32x48xf32, l3>
      %s = tile.alloc reuse(%k) : !tile.tile<32x48xf32, l3>
      // CHECK: %p = tile.load %s [0, 0] after(%k) : !tile.tile<32x48xf32, l3> -> !tile.tile<32x48xf32, l2>
      %p = tile.load %s[0, 0] after(%k) : !tile.tile<32x48xf32, l3> -> !tile.tile<32x48xf32, l2>
      tile.matmul output_stationary %a, %b into %p over(%k)
        : !tile.tile<32x64xf32, l2>, !tile.tile<64x48xf32, l2> -> !tile.tile<32x48xf32, l2>
      // CHECK: tile.store %p, %s [0, 0] : !tile.tile<32x48xf32, l2> -> !tile.tile<32x48xf32, l3>
      tile.store %p, %s[0, 0] : !tile.tile<32x48xf32, l2> -> !tile.tile<32x48xf32, l3>
      // CHECK: tile.store %s, %y [%i, 0] over(%k) : !tile.tile<32x48xf32, l3> -> memref<64x48xf32>
      tile.store %s, %y[%i, 0] over(%k) : !tile.tile<32x48xf32, l3> -> memref<64x48xf32>
    }
  }
  %t = tile.alloc : !tile.tile<1x64x48xf32, l2>
  // CHECK: tile.store %t, %z [0, 0, 0] permuted [2, 0, 1] : !tile.tile<1x64x48xf32, l2> -> memref<48x1x64xf32>
  tile.store %t, %z[0, 0, 0] permuted [2, 0, 1] : !tile.tile<1x64x48xf32, l2> -> memref<48x1x64xf32>
  func.return
}

// A tensor may stand in L3.
// CHECK-LABEL: func.func @near
func.func @near() {
  // CHECK-NEXT: %h = tile.buffer at 262144 : i64 : memref<32x48xf32, "l3">
  %h = tile.buffer at 262144 : i64 : memref<32x48xf32, "l3">
  // CHECK-NEXT: %v = tile.view %h : memref<32x48xf32, "l3"> to memref<48x32xf32, "l3">
  %v = tile.view %h : memref<32x48xf32, "l3"> to memref<48x32xf32, "l3">
  // CHECK-NEXT: %t = tile.load %v [0, 0] : memref<48x32xf32, "l3"> -> !tile.tile<16x32xf32, l2>
  %t = tile.load %v[0, 0] : memref<48x32xf32, "l3"> -> !tile.tile<16x32xf32, l2>
  // CHECK-NEXT: tile.store %t, %v [16, 0] : !tile.tile<16x32xf32, l2> -> memref<48x32xf32, "l3">
  tile.store %t, %v[16, 0] : !tile.tile<16x32xf32, l2> -> memref<48x32xf32, "l3">
  func.return
}

// CHECK-LABEL: @row
func.func @row() {
  %x = tile.alloc : !tile.tile<8x512xf32, l2>
  %y = tile.alloc : !tile.tile<8x512xf32, l2>
  %i = tile.alloc : !tile.tile<8x5xi64, l2>
  %v = tile.alloc : !tile.tile<8x5xf32, l2>
  // CHECK: tile.row add %x into %y axis 1 backward : !tile.tile<8x512xf32, l2> -> !tile.tile<8x512xf32, l2>
  tile.row add %x into %y axis 1 backward : !tile.tile<8x512xf32, l2> -> !tile.tile<8x512xf32, l2>
  // CHECK: tile.row multiply %x into %y axis 0 exclusive : !tile.tile<8x512xf32, l2> -> !tile.tile<8x512xf32, l2>
  tile.row multiply %x into %y axis 0 exclusive : !tile.tile<8x512xf32, l2> -> !tile.tile<8x512xf32, l2>
  // CHECK: tile.row top %x into %i axis 1 : !tile.tile<8x512xf32, l2> -> !tile.tile<8x5xi64, l2>
  tile.row top %x into %i axis 1 : !tile.tile<8x512xf32, l2> -> !tile.tile<8x5xi64, l2>
  // CHECK: tile.row take %x by %i : !tile.tile<8x5xi64, l2> into %v axis 1 : !tile.tile<8x512xf32, l2> -> !tile.tile<8x5xf32, l2>
  tile.row take %x by %i : !tile.tile<8x5xi64, l2> into %v axis 1
    : !tile.tile<8x512xf32, l2> -> !tile.tile<8x5xf32, l2>
  func.return
}

// Sums of short types stand in 32 bits.
// CHECK-LABEL: func.func @short
func.func @short(%x0: memref<32x256xf16>, %y0: memref<256x48xf16>, %z0: memref<32x48xf16>) {
  %z = tile.alloc : !tile.tile<32x48xf16, l2>
  %s = tile.alloc : !tile.tile<32x48xf32, l2>
  %r = tile.alloc : !tile.tile<32x1xf32, l2>
  tile.for %k = 0 to 256 step 64 {
    %x = tile.load %x0[0, %k] : memref<32x256xf16> -> !tile.tile<32x64xf16, l2>
    %y = tile.load %y0[%k, 0] : memref<256x48xf16> -> !tile.tile<64x48xf16, l2>
    // CHECK: tile.matmul output_stationary %x, %y into %z sums %s : !tile.tile<32x48xf32, l2> over(%k) : !tile.tile<32x64xf16, l2>, !tile.tile<64x48xf16, l2> -> !tile.tile<32x48xf16, l2>
    tile.matmul output_stationary %x, %y into %z sums %s : !tile.tile<32x48xf32, l2> over(%k)
      : !tile.tile<32x64xf16, l2>, !tile.tile<64x48xf16, l2> -> !tile.tile<32x48xf16, l2>
    // CHECK: tile.reduce add %x into %r axes [1] over(%k) : !tile.tile<32x64xf16, l2> -> !tile.tile<32x1xf32, l2>
    tile.reduce add %x into %r axes [1] over(%k) : !tile.tile<32x64xf16, l2> -> !tile.tile<32x1xf32, l2>
  }
  tile.store %z, %z0[0, 0] : !tile.tile<32x48xf16, l2> -> memref<32x48xf16>
  func.return
}

// Products of blocks, each finished by itself and then added up.
// CHECK-LABEL: func.func @blocks
func.func @blocks(%a0: memref<32x256xi8>, %b0: memref<256x48xi4>, %s0: memref<4x48xf32>, %c0: memref<32x48xf32>) {
  %c = tile.alloc : !tile.tile<32x48xf32, l2>
  tile.for %k = 0 to 4 step 1 {
    %a = tile.load %a0[0, %k] : memref<32x256xi8> -> !tile.tile<32x64xi8, l2>
    %b = tile.load %b0[%k, 0] : memref<256x48xi4> -> !tile.tile<64x48xi4, l2>
    %s = tile.load %s0[%k, 0] : memref<4x48xf32> -> !tile.tile<1x48xf32, l2>
    // CHECK: tile.matmul weight_stationary %a, %b into %c over(%k) each : !tile.tile<32x64xi8, l2>, !tile.tile<64x48xi4, l2> -> !tile.tile<32x48xf32, l2> with %s : !tile.tile<1x48xf32, l2> epilogue {
    tile.matmul weight_stationary %a, %b into %c over(%k) each
      : !tile.tile<32x64xi8, l2>, !tile.tile<64x48xi4, l2> -> !tile.tile<32x48xf32, l2>
      with %s : !tile.tile<1x48xf32, l2> epilogue {
    ^bb0(%acc: i32, %x: f32):
      %f = arith.sitofp %acc : i32 to f32
      %r = arith.mulf %f, %x : f32
      tile.yield %r : f32
    }
  }
  tile.store %c, %c0[0, 0] : !tile.tile<32x48xf32, l2> -> memref<32x48xf32>
  func.return
}
