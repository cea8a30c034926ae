func.func private @k() attributes {kpu.schedule = {depth = 3}} {
  dma.program {
    dma.ring @a3, 2 x <32x64xf32, l3> at 0
  }
  func.return
}
