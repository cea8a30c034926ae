func.func private @copy(%x: memref<8x64xf32>, %y: memref<8x64xf32>) attributes {kpu.schedule = {tile = [8, 32], depth = 3}} {
  tile.for %i = 0 to 64 step 32 {
    %a = tile.load %x[0, %i] : memref<8x64xf32> -> !tile.tile<8x32xf32, l2>
    tile.store %a, %y[0, %i] : !tile.tile<8x32xf32, l2> -> memref<8x64xf32>
  }
  func.return
}
