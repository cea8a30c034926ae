"""Inputs and results of a quantized model in f16, as caches of keys and values are kept.

f16 input --> Cast to f32 --> what reads it            what makes it --> Cast to f16 --> f16 result
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from kpu_ir.support.errors import KpuError
from kpu_ir.support.lines import allowed

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, ValueInfoProto


def floats_of(model: ModelProto) -> dict[str, ValueInfoProto]:
    """The inputs and results of f32, by name."""
    from onnx import TensorProto

    weights = {t.name for t in model.graph.initializer}
    return {
        info.name: info
        for info in (*model.graph.input, *model.graph.output)
        if info.name not in weights and info.type.tensor_type.elem_type == TensorProto.FLOAT
    }


def short_ports(model: ModelProto, patterns: Sequence[str]) -> list[str]:
    """The inputs and results of f32 that patterns name. Raises ``KpuError`` for a pattern that names none."""
    floats = floats_of(model)
    found: list[str] = []
    for pattern in patterns:
        named = [name for name in floats if fnmatchcase(name, pattern)]
        if not named:
            raise KpuError(f"no input or result of f32 is called {pattern!r}",
                           hint=allowed(pattern, list(floats), "of f32"))  # fmt: skip
        found += [name for name in named if name not in found]
    return found


def shorten_ports(model: ModelProto, names: Iterable[str]) -> None:
    """Keep the inputs and results of f32 that ``names`` has in f16. What reads an input reads it widened, which is
    exact; a result is rounded once, where it leaves."""
    from onnx import TensorProto, helper

    wanted, graph = set(names), model.graph
    wide: dict[str, str] = {}
    first = [i for i in graph.input if i.name in wanted]
    last = [o for o in graph.output if o.name in wanted]
    for info in (*first, *last):
        wide[info.name] = f"{info.name}_f32"
        info.type.tensor_type.elem_type = TensorProto.FLOAT16
    _rename(graph, wide)
    enter = [
        helper.make_node(
            "Cast", [i.name], [wide[i.name]], f"{i.name}_widened", to=TensorProto.FLOAT
        )
        for i in first
    ]
    leave = [
        helper.make_node(
            "Cast", [wide[o.name]], [o.name], f"{o.name}_rounded", to=TensorProto.FLOAT16
        )
        for o in last
    ]
    nodes = [type(n).FromString(n.SerializeToString()) for n in graph.node]
    del graph.node[:]
    graph.node.extend([*enter, *nodes, *leave])


def _rename(graph: GraphProto, names: dict[str, str]) -> None:
    """Tensors by their new names, in the graphs of branches and loops too."""
    for node in graph.node:
        for held in (node.input, node.output):
            for i, name in enumerate(held):
                held[i] = names.get(name, name)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _rename(inner, names)
