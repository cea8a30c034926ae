"""What an operator's function sees of its node, and the table of those functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kpu_ir.frontends.python.graph import Graph, Value, name_value
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array

if TYPE_CHECKING:
    from onnx import NodeProto

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


class Constants:
    """Known tensors that became values of the graph, each once."""

    def __init__(self, graph: Graph) -> None:
        """None yet."""
        self.graph = graph
        self.made: dict[int, tuple[Array, Value]] = {}

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

    def must_be_known(self, i: int, what: str) -> Array:
        """The values of input ``i``, which the shapes depend on."""
        known = self.known(i)
        if known is None:
            raise KpuError(
                f"input {i} ({what}) must be known when the model is compiled",
                hint="shapes are static here; simplify the model (onnx-simplifier) so that it is",
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
        return float(self.attributes.get(name, default))

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        return int(self.attributes.get(name, default))

    def integers(self, name: str) -> list[int] | None:
        """An attribute that is a list of integers, if it is given."""
        given = self.attributes.get(name)
        return None if given is None else [int(n) for n in given]

    def text(self, name: str, default: str) -> str:
        """A string attribute."""
        given = self.attributes.get(name, default)
        return given.decode() if isinstance(given, bytes) else str(given)


def node_text(proto: NodeProto) -> str:
    """How errors call a node: ``node 'name' (Op)``."""
    domain = f"{proto.domain}." if proto.domain not in ("", "ai.onnx") else ""
    if proto.name:
        return f"node {proto.name!r} ({domain}{proto.op_type})"
    output = proto.output[0] if proto.output else ""
    return f"the node of {output!r} ({domain}{proto.op_type})"
