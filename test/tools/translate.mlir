// A program as queues: a section an engine, its loops, what each instruction moves and waits for.
// RUN: python -m kpu_ir.tools.translate --program-to-asm %s | filecheck %s
// RUN: python -m kpu_ir.tools.translate --program-to-json %s | filecheck %s --check-prefix JSON
// RUN: python -m kpu_ir.tools.translate --program-to-json %s | python -m kpu_ir.tools.translate --json-to-program - | kpu-run - --no-values --json --no-cache | filecheck %s --check-prefix BACK
// RUN: not python -m kpu_ir.tools.translate --asm-to-program %s 2>&1 | filecheck %s --check-prefix WRONG
// JSON: {"format":"kpu-program",
// BACK: "cycles": 
// WRONG: kpu-translate: error: {{.*}}translate.mlir: not a listing
//
// CHECK: .memory
// CHECK-NEXT: #0    external  0x0000000000  {{.*}} 16,384 B  input     calls 0 to 0  64x64xf32  x
// CHECK: .kernel @double(%0: 64x64xf32, %1: 64x64xf32)
// CHECK-NEXT: .ring @a3 {{.*}} l3  0x000000 to 0x002000  2 x 4,096 B  16x64xf32
// CHECK: .engine dma
// CHECK-NEXT: loop i0 = 0 to 4 {
// CHECK-NEXT: 0 {{ *}} 0 fetch %0 + 4096*i0 B -> @a3[i0 % 2]  16x64, 4,096 B, {{.*}} cycles, there after {{.*}}; wait @a3 mover i0  ; {{.*}}translate.mlir:{{[0-9]+}}:7
// CHECK-NEXT: write @c3[i0 % 2] -> %1 + 4096*i0 B  16x64, 4,096 B{{.*}}; wait @c3 mover 1 + i0
// CHECK: .engine vector
// CHECK-NEXT: loop i0 = 0 to 4 {
// CHECK-NEXT: map @a2[i0 % 2] -> @c2[i0 % 2]  16x64{{.*}}; wait @a2 mover 1 + i0, @c2 mover i0
// CHECK: .ir
func.func @double(%x: memref<64x64xf32>, %y: memref<64x64xf32>) {
  dma.program {
    dma.ring @a3, 2 x <16x64xf32, l3> at 0
    dma.ring @a2, 2 x <16x64xf32, l2> at 0
    dma.ring @c2, 2 x <16x64xf32, l2> at 8192
    dma.ring @c3, 2 x <16x64xf32, l3> at 8192
    tile.for %i = 0 to 64 step 16 {
      %a3 = dma.fetch %x[%i, 0] into @a3 : memref<64x64xf32> -> !tile.tile<16x64xf32, l3>
      %a2 = dma.move %a3[0, 0] into @a2 : !tile.tile<16x64xf32, l3> -> !tile.tile<16x64xf32, l2>
      %c2 = dma.acquire @c2 : !tile.tile<16x64xf32, l2>
      dma.map %a2 into %c2 : !tile.tile<16x64xf32, l2> -> !tile.tile<16x64xf32, l2> {
      ^bb0(%p: f32):
        %s = arith.addf %p, %p : f32
        tile.yield %s : f32
      }
      %c3 = dma.move %c2[0, 0] into @c3 : !tile.tile<16x64xf32, l2> -> !tile.tile<16x64xf32, l3>
      dma.write %c3, %y[%i, 0] defer 1 : !tile.tile<16x64xf32, l3> -> memref<64x64xf32>
    }
  }
  func.return
}
