// --split-input-file: every piece is done, every error told with its line of the file, exit status 1.

// RUN: not kpu-opt %S/data/pieces.mlir --split-input-file 2>%t | filecheck %s
// CHECK:      func.func @first
// CHECK:      // -----
// CHECK-NEXT: // -----
// CHECK-NEXT: // -----
// CHECK-NEXT: builtin.module
// CHECK-NEXT:   func.func @last

// RUN: filecheck %s --check-prefix ERRORS --input-file %t
// ERRORS: kpu-opt: error: {{.*}}pieces.mlir:6:3: Operation func.retrn is not registered
// ERRORS: kpu-opt: error: {{.*}}pieces.mlir:10:3: kernel.reshape: expected a result of 8 elements, got 16

// A piece of comments alone is an empty module.
// RUN: kpu-opt --split-input-file < %S/data/comments.mlir | filecheck %s --check-prefix EMPTY
// EMPTY:      builtin.module {
// EMPTY-NEXT: }
