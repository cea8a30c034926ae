"""Networks in Python: ``Graph`` makes the ``kernel`` level, and says at once what does not fit.

>>> g = Graph()
>>> x = g.input("x", (8, 64))
>>> y = (x @ g.constant(w) + b).relu()
>>> g.output("y", y)
>>> module = g.module()

An error is a ``KpuError`` with the file and line of the call that is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.builder import Builder
from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    FileLineColLoc,
    IntAttr,
    ModuleOp,
    StringAttr,
    TensorType,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Operation, Region
from xdsl.rewriter import InsertPoint

from kpu_ir.dialects.kernel import shape_text
from kpu_ir.frontends.python.calls import caller, for_people, shown
from kpu_ir.frontends.python.layers import Layers
from kpu_ir.frontends.python.value import Value, name_value
from kpu_ir.support.errors import KpuError
from kpu_ir.support.lines import listed, shortened
from kpu_ir.support.types import element_type_named


@for_people
class Graph(Layers):
    """A function at the kernel level, under construction."""

    def __init__(self, name: str = "main") -> None:
        """An empty graph, which becomes the function ``@name``."""
        given: Any = name
        if not isinstance(given, str) or not given:
            raise KpuError(f"a graph's name must be a text, got {shown(given)}")
        self.name = name
        self.block = Block()
        self.builder = Builder(InsertPoint.at_end(self.block))
        self.inputs: dict[str, Value] = {}
        self.outputs: dict[str, Value] = {}
        self.location: Any = None
        """The location of new operations; None is the line of the user's call."""

    def __repr__(self) -> str:
        def several(values: dict[str, Value]) -> str:
            texts = (f"{n}: {shape_text(v.shape)} {v.element_type}" for n, v in values.items())
            return listed(texts, 3) or "nothing"

        count = f"{len(self.block.ops):,} operations"
        ends = f"{several(self.inputs)} -> {several(self.outputs)}"
        return shortened(f"<Graph @{self.name}: {ends}, {count}>")

    def insert(self, op: Operation) -> Value:
        """Append an operation; its first result."""
        for operand in op.operands:
            owner = operand.owner
            if (owner if isinstance(owner, Block) else owner.parent) is not self.block:
                raise KpuError("an operand belongs to another graph", hint="use one Graph for all")
        if self.location is not None:
            op.location = self.location
        else:
            file, line = caller()
            op.location = FileLineColLoc(StringAttr(file), IntAttr(line), IntAttr(1))
        return Value(self, self.builder.insert(op).results[0])

    def input(self, name: str, shape: Sequence[int], dtype: Any = "f32") -> Value:
        """A tensor that the caller gives."""
        if name in self.inputs:
            raise KpuError(f"there is already an input {name!r}")
        if any(n < 0 for n in shape):
            raise KpuError(f"input {name!r}: expected extents of 0 or more, got {tuple(shape)}")
        kind = TensorType(element_type_named(dtype), [int(n) for n in shape])
        argument = self.block.insert_arg(kind, len(self.block.args))
        self.inputs[name] = Value(self, argument)
        name_value(self.inputs[name], name)
        return self.inputs[name]

    def output(self, name: str, value: Value) -> None:
        """Return ``value`` to the caller as ``name``."""
        if name in self.outputs:
            raise KpuError(f"there is already an output {name!r}")
        self.outputs[name] = self.value(value, value.element_type)

    def module(self) -> ModuleOp:
        """The verified module; the graph can go on growing."""
        if not self.outputs:
            raise KpuError("the graph has no output", hint='call g.output("y", y)')
        results = [v.ssa for v in self.outputs.values()]
        kinds = [v.type for v in results]
        last = self.builder.insert(ReturnOp(*results))
        whole = FuncOp(
            self.name,
            ([a.type for a in self.block.args], kinds),
            Region(self.block),
            arg_attrs=_names(self.inputs),
            res_attrs=_names(self.outputs),
        )
        function = whole.clone()
        whole.body.detach_block(self.block)
        last.detach()
        last.erase()
        for old, new in zip(self.block.walk(), function.body.block.walk()):
            new.location = old.location
        module = ModuleOp([function])
        module.verify()
        return module


def _names(values: dict[str, Value]) -> ArrayAttr[DictionaryAttr]:
    return ArrayAttr(DictionaryAttr({"kernel.name": StringAttr(name)}) for name in values)
