// --print-between-passes: the module before the first pass and after each, as IR that parses back.

// One pass prints as well. The last module is the result; what a pass leaves alone is not repeated.
// RUN: kpu-opt %s -p kernel-canonicalize --print-between-passes | filecheck %s --check-prefix ONE
// ONE:      {{^}}// IR before kernel-canonicalize
// ONE-NEXT: builtin.module {
// ONE:        kernel.transpose
// ONE:      {{^}}// -----// IR after kernel-canonicalize
// ONE-NEXT: builtin.module {
// ONE-NOT:    kernel.transpose
// ONE:        func.return %x

// RUN: kpu-opt %s -p kernel-fold,kernel-canonicalize --print-between-passes | filecheck %s --check-prefix SAME
// SAME:      IR before kernel-fold
// SAME:      IR after kernel-fold (no change)
// SAME-NEXT: IR after kernel-canonicalize

// All of it is input again, one piece a module.
// RUN: kpu-opt %s -p kernel-canonicalize --print-between-passes | kpu-opt - --split-input-file | filecheck %s --check-prefix BACK
// BACK:        kernel.transpose
// BACK:        // -----
// BACK-NOT:    kernel.transpose
// BACK:        func.return %x

// With a file for the result, what is printed goes on without it.
// RUN: kpu-opt %s -p kernel-canonicalize --print-between-passes -o %t | filecheck %s --check-prefix ONE
// RUN: filecheck %s --check-prefix RESULT --input-file %t
// RESULT-NOT: -----
// RESULT:     func.return %x
func.func @main(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %a = kernel.transpose %x permutation [1, 0] : tensor<3x2xf32> -> tensor<2x3xf32>
  %b = kernel.transpose %a permutation [1, 0] : tensor<2x3xf32> -> tensor<3x2xf32>
  func.return %b : tensor<3x2xf32>
}
