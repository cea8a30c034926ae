"""``kernel-layers``: equal runs of kernels are written once and called; ``kernel-inline`` undoes it.

For reading: twelve layers of a transformer are twelve calls. What is computed stays the same, and
compiling begins with ``kernel-inline``.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, UnitAttr
from xdsl.dialects.func import CallOp, FuncOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from kpu_ir.dialects import kernel
from kpu_ir.passes.kernel_outline import captured, function
from kpu_ir.text.calls import check_calls, check_size
from kpu_ir.text.structure import structure

LAYER = "kernel.layer"
"""The attribute of a function that holds a layer."""

LONGEST = 400
"""Layers of more operations are not looked for."""

TRIED = 100
"""So many places that look as if they repeat are compared in full."""

WORTH = 12
"""A layer is written once if that saves so many operations."""


@dataclass(frozen=True, slots=True)
class _Runs:
    """``count`` runs of ``length`` operations one after the other, from operation ``start``."""

    start: int
    length: int
    count: int

    @property
    def saved(self) -> int:
        """Operations that need not be written again."""
        return self.length * (self.count - 1)


def repeated(tokens: Sequence[int]) -> Iterator[_Runs]:
    """Every place where a sequence repeats at once, the most that saves first."""
    found: list[_Runs] = []
    for length in range(1, min(len(tokens) // 2, LONGEST) + 1):
        same = 0
        for i in range(len(tokens) - length + 1):
            if i + length < len(tokens) and tokens[i] == tokens[i + length]:
                same += 1
                continue
            if same >= length:
                begin = i - same
                # A run may begin at any operation of the layer.
                found += [
                    _Runs(begin + shift, length, (same - shift) // length + 1)
                    for shift in range(min(length, same - length + 1))
                ]
            same = 0
    found = [one for one in found if one.saved >= WORTH]
    return iter(sorted(found, key=lambda one: (-one.saved, one.length, one.start)))


def results_of(ops: Sequence[Operation]) -> list[SSAValue]:
    """The values of a run that are used behind it, in order."""
    inside = {one for op in ops for one in op.walk()}
    return [
        result
        for op in ops
        for result in op.results
        if any(use.operation not in inside for use in result.uses)
    ]


def arguments_of(ops: Sequence[Operation]) -> list[SSAValue]:
    """The values that a run uses from before it, each once, in order."""
    made = {result for op in ops for result in op.results}
    found = (value for op in ops for value in captured(op) if value not in made)
    return list(dict.fromkeys(found))


def layer(ops: Sequence[Operation], name: str, named: bool) -> FuncOp:
    """A private function that does ``ops``; ``named`` keeps the names of values."""
    func = function(name, ops, arguments_of(ops), results_of(ops), named)
    func.attributes[LAYER] = UnitAttr()
    return func


@dataclass(frozen=True)
class KernelLayersPass(ModulePass):
    """Write equal runs of kernels in ``@main`` once.

    Before: six times
    ```mlir
    %h = kernel.matmul %x, %w0 : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
    %y = kernel.softmax %h {axis = 1 : i64} : tensor<4x8xf32> -> tensor<4x8xf32>
    ```
    After:
    ```mlir
    %y = func.call @layer_0(%x, %w0) : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
    ...
    func.func private @layer_0(%0: tensor<4x8xf32>, %1: tensor<8x8xf32>) -> tensor<4x8xf32> attributes {kernel.layer} {
      %h = kernel.matmul %0, %1 : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
      %y = kernel.softmax %h {axis = 1 : i64} : tensor<4x8xf32> -> tensor<4x8xf32>
      func.return %y : tensor<4x8xf32>
    }
    ```
    """

    name = "kernel-layers"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Until nothing repeats that is worth it."""
        taken = {f.sym_name.data for f in op.ops if isinstance(f, FuncOp)}
        main = next(
            (f for f in op.ops if isinstance(f, FuncOp) and f.sym_name.data == "main"), None
        )
        number = 0
        while main is not None:
            while f"layer_{number}" in taken:
                number += 1
            if not self.once(op, main, f"layer_{number}"):
                return
            taken.add(f"layer_{number}")

    def once(self, module: ModuleOp, main: FuncOp, name: str) -> bool:
        """Write the layer that saves most as function ``name``; whether there is one."""
        ops = [op for op in main.body.block.ops if not isinstance(op, kernel.ConstantOp)][:-1]
        numbers: dict[Hashable, int] = {}
        # A call is short already, and equal to nothing.
        found = (
            i if isinstance(o, CallOp) else structure([o], captured(o)) for i, o in enumerate(ops)
        )
        tokens = [numbers.setdefault(one, len(numbers)) for one in found]
        for runs in islice(repeated(tokens), TRIED):
            parts = [
                ops[at : at + runs.length]
                for at in range(runs.start, runs.start + runs.count * runs.length, runs.length)
            ]
            if len({str(layer(part, name, named=False)) for part in parts}) > 1:
                continue
            module.body.block.add_op(layer(parts[0], name, named=True))
            for part in parts:
                results = results_of(part)
                call = CallOp(name, arguments_of(part), [v.type for v in results])
                Rewriter.insert_op(call, InsertPoint.after(part[-1]))
                for old, new in zip(results, call.results):
                    hint = old.name_hint
                    old.replace_all_uses_with(new)
                    new.name_hint = hint
                for one in reversed(part):
                    one.detach()
                    one.erase()
            return True
        return False


def inline_layers(module: ModuleOp) -> None:
    """Put every layer where it is called. Raises ``KpuError`` for calls that nothing could run."""
    check_calls(module)
    layers = {
        f.sym_name.data: f for f in module.ops if isinstance(f, FuncOp) and LAYER in f.attributes
    }
    check_size(module, lambda func: LAYER in func.attributes)
    while True:
        calls = [
            op
            for op in module.walk()
            if isinstance(op, CallOp) and op.callee.root_reference.data in layers
        ]
        for call in calls:
            body = layers[call.callee.root_reference.data].body.block
            mapper: dict[SSAValue, SSAValue] = dict(zip(body.args, call.arguments))
            *ops, last = body.ops
            for op in ops:
                Rewriter.insert_op(op.clone(mapper), InsertPoint.before(call))
            for old, value in zip(call.results, last.operands):
                new = mapper.get(value, value)
                new.name_hint = new.name_hint or old.name_hint
                old.replace_all_uses_with(new)
            call.detach()
            call.erase()
        if not calls:
            break
    for func in layers.values():
        func.detach()
        func.erase()


@dataclass(frozen=True)
class KernelInlinePass(ModulePass):
    """Put layers (functions with ``kernel.layer``) where they are called: ``kernel-layers`` undone.

    Before:
    ```mlir
    %y = func.call @layer_0(%x, %w0) : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
    ```
    After:
    ```mlir
    %h = kernel.matmul %x, %w0 : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
    %y = kernel.softmax %h {axis = 1 : i64} : tensor<4x8xf32> -> tensor<4x8xf32>
    ```
    """

    name = "kernel-inline"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Inline the module's layers."""
        inline_layers(op)
