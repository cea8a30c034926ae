"""``kernel-outline``: each kernel becomes a function of its own; equal ones share it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from xdsl.builder import Builder
from xdsl.context import Context
from xdsl.dialects.builtin import DenseArrayBase, ModuleOp, UnknownLoc, i64
from xdsl.dialects.func import CallOp, FuncOp, ReturnOp
from xdsl.ir import Block, Operation, Region, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import InsertPoint, Rewriter

from kpu_ir.dialects import kernel
from kpu_ir.dialects.kernel.core import WEIGHTS
from kpu_ir.text.structure import structure

FREE = (kernel.ConstantOp, kernel.ReshapeOp)
"""What stays in ``@main``: data, and other shapes of it."""


def kernel_name(op: Operation) -> str:
    """``matmul``, ``map``, ``transpose``; a fused kernel is named after what it holds."""
    if isinstance(op, kernel.FusedOp):
        parts = [o.name.removeprefix("kernel.") for o in op.body.block.ops][:-1]
        return "_".join(dict.fromkeys(parts))
    return op.name.removeprefix("kernel.")


def captured(op: Operation) -> list[SSAValue]:
    """The values from outside that an operation uses, each once, in order of use."""
    found: dict[SSAValue, None] = {}
    inside: set[SSAValue] = set()
    for inner in op.walk():
        found.update((value, None) for value in inner.operands if value not in inside)
        inside.update(inner.results)
        inside.update(a for region in inner.regions for b in region.blocks for a in b.args)
    return list(found)


def function(
    name: str,
    ops: Sequence[Operation],
    arguments: Sequence[SSAValue],
    results: Sequence[SSAValue],
    named: bool = False,
) -> FuncOp:
    """A private function that does ``ops`` on ``arguments`` and returns ``results``, without the
    nodes that they come from; ``named`` keeps the names of values."""
    block = Block(arg_types=[v.type for v in arguments])
    mapper: dict[SSAValue, SSAValue] = dict(zip(arguments, block.args))
    for op in ops:
        block.add_op(op.clone(mapper))
    block.add_op(ReturnOp(*(mapper[v] for v in results)))
    for one in block.walk():
        one.attributes.pop("kernel.node", None)
        one.location = UnknownLoc()
        if not named:
            for value in one.results:
                value._name = None  # pyright: ignore[reportPrivateUsage]
    types = ([a.type for a in block.args], [v.type for v in results])
    return FuncOp(name, types, Region(block), visibility="private")


def outlined(op: Operation, name: str, arguments: Sequence[SSAValue]) -> FuncOp:
    """A private function that does ``op`` on ``arguments``, all that it uses from outside. Names of
    values are left out."""
    if isinstance(op, kernel.FusedOp):
        *inner, last = op.body.block.ops
        return function(name, inner, arguments, last.operands)
    return function(name, [op], arguments, op.results)


def name_sources(func: FuncOp) -> None:
    """Call what has no name as what it is seen as: the tensor is the same."""
    for op in reversed(list(func.body.block.ops)):
        if isinstance(op, kernel.ReshapeOp) and op.source.name_hint is None:
            op.source.name_hint = op.result.name_hint


def mark_weights(module: ModuleOp) -> None:
    """Say of each kernel's function which of its arguments are weights of nobody else
    (``kpu.weights``)."""
    calls: dict[str, list[CallOp]] = {}
    funcs = [func for func in module.ops if isinstance(func, FuncOp) and not func.is_declaration]
    for op in (op for func in funcs for op in func.body.block.ops):
        if isinstance(op, CallOp):
            calls.setdefault(op.callee.root_reference.data, []).append(op)
    for func in funcs:
        if func.sym_name.data not in calls:
            continue
        mine = calls[func.sym_name.data]
        found = [n for n in range(len(mine[0].arguments)) if all(_weight(c, n) for c in mine)]
        if found:
            func.attributes[WEIGHTS] = DenseArrayBase.from_list(i64, found)


def _weight(call: CallOp, position: int) -> bool:
    value = call.arguments[position]
    return isinstance(value.owner, kernel.ConstantOp) and all(
        isinstance(use.operation, CallOp)
        and use.operation.callee == call.callee
        and use.index == position
        for use in value.uses
    )


@dataclass(frozen=True)
class KernelOutlinePass(ModulePass):
    """Outline every kernel of ``@main``. Twelve equal layers share one function for each of their
    kernels.

    Before:
    ```mlir
    func.func @main(%a: tensor<4x8xf32>, %b: tensor<8x8xf32>) -> tensor<4x8xf32> {
      %c = kernel.matmul %a, %b : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
      func.return %c : tensor<4x8xf32>
    }
    ```
    After:
    ```mlir
    func.func @main(%a: tensor<4x8xf32>, %b: tensor<8x8xf32>) -> tensor<4x8xf32> {
      %c = func.call @matmul_0(%a, %b) : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
      func.return %c : tensor<4x8xf32>
    }
    func.func private @matmul_0(%0: tensor<4x8xf32>, %1: tensor<8x8xf32>) -> tensor<4x8xf32> {
      %2 = kernel.matmul %0, %1 : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
      func.return %2 : tensor<4x8xf32>
    }
    ```
    """

    name = "kernel-outline"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        """Outline the kernels of ``@main``."""
        known: dict[Hashable, str] = {}
        counts: dict[str, int] = {}
        taken = {f.sym_name.data for f in op.ops if isinstance(f, FuncOp)}
        end = Builder(InsertPoint.at_end(op.body.block))
        for func in list(op.ops):
            if not isinstance(func, FuncOp) or func.sym_name.data != "main":
                continue
            name_sources(func)
            for one in list(func.body.block.ops):
                if not isinstance(one, kernel.KernelOperation) or isinstance(one, FREE):
                    continue
                arguments = captured(one)
                key = structure([one], arguments)
                if key not in known:
                    stem = kernel_name(one)
                    number = counts.get(stem, 0)
                    while f"{stem}_{number}" in taken:
                        number += 1
                    counts[stem] = number + 1
                    known[key] = f"{stem}_{number}"
                    end.insert(outlined(one, known[key], arguments))
                call = CallOp(known[key], arguments, [r.type for r in one.results])
                call.location = one.location
                call.attributes.update(one.attributes)
                names = [r.name_hint for r in one.results]
                Rewriter.replace_op(one, call)
                for name, new in zip(names, call.results):
                    new.name_hint = name
        mark_weights(op)
