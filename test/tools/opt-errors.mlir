// Errors are for people: one message with the place, exit status 1, no traceback, nothing on stdout.

// RUN: not kpu-opt %S/data/syntax.mlir 2>&1 | filecheck %s --check-prefix SYNTAX
// SYNTAX:      kpu-opt: error: {{.*}}syntax.mlir:2:3: Operation func.retrn is not registered; did you mean func.return?
// SYNTAX-NEXT:     func.retrn
// SYNTAX-NEXT:     ^^^^^^^^^^
// SYNTAX-NOT:  Traceback

// RUN: not kpu-opt %S/data/verify.mlir 2>&1 | filecheck %s --check-prefix VERIFY
// VERIFY:      kpu-opt: error: {{.*}}verify.mlir:3:3: kernel.reshape: expected a result of 8 elements, got 16
// VERIFY-NEXT:   %y = "kernel.reshape"
// VERIFY-NEXT: ^
// VERIFY-NOT:  Traceback

// The line is that of the file, not of the piece.
// RUN: not kpu-opt %S/data/split.mlir --split-input-file 2>&1 | filecheck %s --check-prefix SPLIT
// SPLIT:      split.mlir:7:3: kernel.reshape: expected a result of 8 elements

// RUN: not kpu-opt %S/data/syntax.mlir -p kernel-fodl 2>&1 | filecheck %s --check-prefix PASS
// PASS:      kpu-opt: error: there is no pass 'kernel-fodl'
// PASS-NEXT: hint: did you mean 'kernel-fold'?

// RUN: not kpu-opt %S/data/none.mlir 2>&1 | filecheck %s --check-prefix FILE
// FILE: kpu-opt: error: {{.*}}none.mlir: cannot be read: No such file or directory

// RUN: not kpu-opt %S/opt.mlir --set l2.bnks=4 2>&1 | filecheck %s --check-prefix KEY
// KEY:      kpu-opt: error: unknown key 'l2.bnks'
// KEY-NEXT: hint: did you mean 'l2.banks'?

// Upstream's flags keep their meaning: the message on stdout, exit status 0.
// RUN: kpu-opt %S/data/verify.mlir --verify-diagnostics | filecheck %s --check-prefix DIAGNOSTIC
// RUN: kpu-opt %S/data/syntax.mlir --parsing-diagnostics | filecheck %s --check-prefix DIAGNOSTIC-SYNTAX
// DIAGNOSTIC:        kernel.reshape: expected a result of 8 elements
// DIAGNOSTIC-SYNTAX: Operation func.retrn is not registered

// An index that is not there is said where it stands.
// RUN: not kpu-opt %S/data/gather.mlir -p kernel-fold 2>&1 | filecheck %s --check-prefix GATHER
// GATHER:      kpu-opt: error: {{.*}}gather.mlir:4:3: index 7 into 3 rows
// GATHER-NEXT:   %y = kernel.gather
// GATHER-NEXT:   ^
// GATHER-NOT:  Traceback
