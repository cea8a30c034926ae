"""What an operator's function sees of its node, and the table of those functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from xdsl.dialects.builtin import TensorType

from kpu_ir.dialects import kernel
from kpu_ir.frontends.onnx.load import AbsentError, dtype_of_tensor, read_tensor
from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.python.value import Value, name_value
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array, element_type_of, elided

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

Tensor = Value | Array
"""A value of the graph, or an array that is known at import."""
Handler = Callable[["Node"], "Tensor | Sequence[Tensor]"]

OPERATORS: dict[tuple[str, str], Handler] = {}
"""The function of each operator, by domain (``""`` is ONNX's own) and name."""


def operator(*names: str, domain: str = "") -> Callable[[Handler], Handler]:
    """Make a function the meaning of operators."""

    def register(handler: Handler) -> Handler:
        for name in names:
            OPERATORS[domain, name] = handler
        return handler

    return register


MOST_FILLED = 1 << 29
"""Bytes of a model's tensors of one number that are made at import; what is beyond is filled when it runs."""


class Constants:
    """Known tensors that became values of the graph, each once, and what the file says of them."""

    def __init__(self, graph: Graph, folder: Path | None = None, values: bool = True) -> None:
        """None yet. ``folder``: where a model keeps tensors in other files; without ``values`` those
        that are not there become constants of a type alone."""
        self.graph = graph
        self.folder = folder
        self.values = values
        self.made: dict[int, tuple[Array, Value]] = {}
        self.filled = 0
        """Bytes of arrays that a number fills."""

    def full(self, shape: Sequence[int], one: Array) -> Tensor:
        """A tensor of one number, a scalar array. Weights are made so in models without their
        training: it is known, and read from memory as any weight, up to ``MOST_FILLED`` in all."""
        size = math.prod(shape) * one.dtype.itemsize
        if self.filled + size > MOST_FILLED:
            return self.graph.broadcast(self.graph.constant(one), shape)
        self.filled += size
        return np.full(shape, one)

    def read(self, tensor: TensorProto) -> Tensor:
        """A tensor of the file."""
        try:
            return read_tensor(tensor, self.folder)
        except AbsentError:
            if self.values:
                raise
        kind = TensorType(element_type_of(dtype_of_tensor(tensor)), list(tensor.dims))
        return self.graph.insert(kernel.ConstantOp(elided(kind)))

    def value(self, array: Array, name: str) -> Value:
        """The value of an array, called ``name`` if it is new."""
        if id(array) not in self.made:
            value = self.graph.constant(array)
            name_value(value, name)
            self.made[id(array)] = (array, value)
        return self.made[id(array)][1]


class Node:
    """One node: its inputs, typed access to its attributes, and the graph to write to."""

    def __init__(
        self,
        proto: NodeProto,
        inputs: Sequence[Tensor | None],
        version: int,
        constants: Constants,
    ) -> None:
        """A node of a model whose operator sets say ``version`` for the node's domain."""
        from onnx.helper import get_attribute_value

        self.proto = proto
        self.inputs = inputs
        self.version = version
        self.constants = constants
        self.graph = constants.graph
        for a in proto.attribute:
            if a.ref_attr_name:
                raise KpuError(f"attribute {a.name!r} refers to one of a function, and is in none")
        self.attributes: dict[str, Any] = {a.name: get_attribute_value(a) for a in proto.attribute}

    def has(self, i: int) -> bool:
        """Whether the optional input ``i`` is given."""
        return i < len(self.inputs) and self.inputs[i] is not None

    def known(self, i: int) -> Array | None:
        """The values of input ``i``, if they are known at import."""
        value = self.inputs[i] if self.has(i) else None
        return value if isinstance(value, np.ndarray) else None

    def numbers(self, i: int, what: str) -> list[int]:
        """The integers of input ``i``, which the shapes depend on; a single one may be a scalar."""
        known = self.must_be_known(i, what).reshape(-1)
        if known.dtype.kind not in "iu":
            raise KpuError(f"input {i} ({what}): expected integers, got {known.dtype}")
        return [int(n) for n in known]

    def single(self, i: int, what: str) -> int:
        """The one whole number that input ``i`` is."""
        known = self.must_be_known(i, what).reshape(-1)
        if known.size != 1 or known[0] != int(known[0]):
            raise KpuError(f"input {i} ({what}): expected a whole number, got {_short(known)}")
        return int(known[0])

    def must_be_known(self, i: int, what: str) -> Array:
        """The values of input ``i``, which the shapes depend on."""
        known = self.known(i)
        if known is None:
            raise KpuError(
                f"input {i} ({what}) must be known when the model is compiled",
                hint="shapes are static here: give a graph's input a value (kpu-run --input "
                "name=value), or simplify the model (onnx-simplifier)",
            )
        return known

    def value(self, i: int) -> Value:
        """Input ``i`` as a value of the graph."""
        value = self.inputs[i] if self.has(i) else None
        if value is None:
            raise KpuError(f"input {i} is missing")
        return self.placed(value)

    def placed(self, tensor: Tensor) -> Value:
        """A tensor as a value of the graph."""
        if isinstance(tensor, Value):
            return tensor
        names = (n for n, v in zip(self.proto.input, self.inputs) if v is tensor)
        return self.constants.value(tensor, next(names, ""))

    def values(self) -> list[Value]:
        """All inputs as values of the graph."""
        return [self.value(i) for i in range(len(self.inputs))]

    def shape(self, i: int) -> tuple[int, ...]:
        """The shape of input ``i``."""
        value = self.inputs[i] if self.has(i) else None
        if value is None:
            raise KpuError(f"input {i} is missing")
        return tuple(value.shape)

    def number(self, name: str, default: float) -> float:
        """A float attribute."""
        return float(self._typed(name, default, (int, float), "a number"))

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        return int(self._typed(name, default, (int,), "an integer"))

    def integers(self, name: str) -> list[int] | None:
        """An attribute that is a list of integers, if it is given."""
        given = self.attributes.get(name)
        if given is None:
            return None
        if not isinstance(given, Sequence) or any(not isinstance(n, int) for n in given):
            raise KpuError(f"attribute {name!r}: expected integers, got {_short(given)}")
        return list(given)

    def text(self, name: str, default: str) -> str:
        """A string attribute."""
        given = self._typed(name, default, (str, bytes), "a text")
        return given.decode(errors="replace") if isinstance(given, bytes) else given

    def _typed(self, name: str, default: Any, kinds: tuple[type, ...], what: str) -> Any:
        given = self.attributes.get(name, default)
        if not isinstance(given, kinds):
            raise KpuError(f"attribute {name!r}: expected {what}, got {_short(given)}")
        return given

    def spatial(self, name: str, rank: int, default: int) -> list[int]:
        """A list with an integer for each of ``rank`` spatial dimensions."""
        given = self.integers(name)
        if given is None or not given:
            return [default] * rank
        if len(given) != rank:
            raise KpuError(
                f"attribute {name!r}: expected {rank} integers, one for each spatial dimension, "
                f"got {len(given)}"
            )
        return given

    def wants(self, i: int) -> bool:
        """Whether anything may read output ``i``."""
        return i < len(self.proto.output) and bool(self.proto.output[i])


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:60]}.."


def node_text(proto: NodeProto) -> str:
    """How errors call a node: ``node 'name' (Op)``."""
    domain = f"{proto.domain}." if proto.domain not in ("", "ai.onnx") else ""
    if proto.name:
        return f"node {proto.name!r} ({domain}{proto.op_type})"
    output = next((name for name in proto.output if name), "")
    return f"the node of {output!r} ({domain}{proto.op_type})"
