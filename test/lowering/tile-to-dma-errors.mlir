// RUN: not kpu-opt %s -p tile-to-dma --machine minimal 2>&1 | filecheck %s

// Tiles that do not fit: both figures, and what takes how much.
// CHECK:      kpu-opt: error: the tiles of @large need 262144 bytes of l3, the machine has 65536 for them (@x2_l3 2 x 65536, @x2_l3_1 2 x 65536)
// CHECK-NEXT: hint:
// CHECK-NOT:  Traceback
func.func private @large(%x: memref<256x128xf32>) {
  tile.for %i = 0 to 256 step 128 {
    %x2 = tile.load %x[%i, 0] : memref<256x128xf32> -> !tile.tile<128x128xf32, l2>
    tile.store %x2, %x[%i, 0] : !tile.tile<128x128xf32, l2> -> memref<256x128xf32>
  }
  func.return
}
