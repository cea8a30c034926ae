func.func private @large(%a: memref<2048x2048xf32>) {
  %lhs = tile.load %a[0, 0] : memref<2048x2048xf32> -> !tile.tile<64x2048xf32, l2>
  func.return
}
