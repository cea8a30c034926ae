"""A model's graph made ready for the importer: functions put in place, one spelling of the domain,
nodes in order, none that nothing reads, names that the IR can have."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence
from typing import TYPE_CHECKING

from kpu_ir.frontends.onnx.node import node_text
from kpu_ir.frontends.python.value import spelt
from kpu_ir.support.errors import KpuError

if TYPE_CHECKING:
    from onnx import FunctionProto, GraphProto, ModelProto, NodeProto

MOST_NODES = 1 << 20
"""A model of more is refused."""


def inlined(model: ModelProto) -> ModelProto:
    """The model without functions of its own: their nodes stand where they are called."""
    from onnx import checker
    from onnx.inliner import inline_local_functions

    functions = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(nodes: Iterable[NodeProto]) -> int:
        return sum(sizes.get((n.domain, n.op_type), 1) for n in nodes)

    # Functions that call each other twice each double the nodes with every one of them. What a
    # cycle has left without a size after as many rounds is refused by the inliner.
    for _ in functions:
        before = dict(sizes)
        for key, function in functions.items():
            if all(c in sizes or c not in functions for c in called(function)):
                sizes[key] = size(function.node)
        if sizes == before:
            break
    count = size(model.graph.node)
    if count > MOST_NODES:
        raise KpuError(f"its functions make {count:,} nodes; at most {MOST_NODES:,} are supported")
    try:
        return inline_local_functions(model)
    except (checker.ValidationError, RuntimeError) as error:
        raise KpuError(f"its functions cannot be put in place: {error}") from None


def called(function: FunctionProto) -> set[tuple[str, str]]:
    """Domain and name of what a function's nodes are."""
    return {(node.domain, node.op_type) for node in function.node}


def sort_nodes(
    nodes: Sequence[NodeProto], defined: set[str], around: Container[str] = ()
) -> list[NodeProto]:
    """Nodes after those whose results they read; otherwise in the order of the file.

    ``defined`` are the tensors that their graph has without them, ``around`` those of graphs
    around it, whose names its own may have again.
    """
    producer: dict[str, int] = {}
    for i, node in enumerate(nodes):
        for name in node.output:
            if name and (name in producer or name in defined):
                raise KpuError(f"tensor {name!r} is defined twice", node_text(node))
            producer[name] = i
    result: list[NodeProto] = []
    state = [0] * len(nodes)  # 0 new, 1 on the path, 2 done
    for first in range(len(nodes)):
        path = [first] if not state[first] else []
        while path:
            i = path[-1]
            state[i] = 1
            waiting: list[int] = []
            for name in _reads(nodes[i]):
                if name in defined:
                    continue
                if name not in producer:
                    if name in around:
                        continue
                    raise KpuError(
                        f"it reads {name!r}, which is no input, initializer or node's result",
                        node_text(nodes[i]),
                    )
                if state[producer[name]] == 1:
                    raise KpuError(
                        f"the graph has a cycle: it reads {name!r}, which depends on it",
                        node_text(nodes[i]),
                    )
                if state[producer[name]] == 0:
                    waiting.append(producer[name])
            if waiting:
                path.append(waiting[0])
            else:
                state[i] = 2
                result.append(nodes[path.pop()])
    return result


def live(nodes: Sequence[NodeProto], outputs: Iterable[str]) -> list[NodeProto]:
    """Those of sorted nodes that ``outputs`` depend on."""
    wanted = set(outputs)
    kept: list[NodeProto] = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(_reads(node))
            kept.append(node)
    return kept[::-1]


def graphs_of(node: NodeProto) -> list[GraphProto]:
    """The graphs inside a node: branches, bodies."""
    return [g for a in node.attribute for g in ((a.g, *a.graphs) if a.HasField("g") else a.graphs)]


def _reads(node: NodeProto) -> list[str]:
    """The tensors that a node reads, those of graphs inside it that come from outside as well."""
    names = [name for name in node.input if name]
    for graph in graphs_of(node):
        names += captured(graph)
    return names


def captured(graph: GraphProto) -> list[str]:
    """What a graph inside a node reads of the graphs around it."""
    own = {t.name for t in (*graph.input, *graph.initializer)}
    own.update(s.values.name for s in graph.sparse_initializer)
    own.update(name for node in graph.node for name in node.output)
    read = [name for node in graph.node for name in _reads(node)]
    read += [info.name for info in graph.output]
    return [name for name in dict.fromkeys(read) if name not in own]


def with_one_domain(model: ModelProto) -> ModelProto:
    """The model with ONNX's own domain written as ``""`` everywhere; itself if it is."""
    if not _longer(model.graph) and all(o.domain != LONG for o in model.opset_import):
        return model
    copy = type(model)()
    copy.CopyFrom(model)
    for opset in copy.opset_import:
        if opset.domain == LONG:
            opset.domain = ""
    for node in _longer(copy.graph):
        node.domain = ""
    return copy


LONG = "ai.onnx"


def _longer(graph: GraphProto) -> list[NodeProto]:
    found = [node for node in graph.node if node.domain == LONG]
    return found + [n for node in graph.node for g in graphs_of(node) for n in _longer(g)]


def ir_names(graph: GraphProto) -> dict[str, str]:
    """What the IR calls each input of a graph and each result of its nodes: no two alike.

    Passes keep a value's name while it is the same value, so a buffer's name tells its tensor.
    """
    taken: set[str] = set()
    names: dict[str, str] = {}
    tensors = [i.name for i in graph.input]
    tensors += [name for node in graph.node for name in node.output if name]
    for tensor in dict.fromkeys(tensors):
        text = spelt(tensor) or "value"
        # xDSL drops a number behind the last underscore, and a program calls the nameless t0, t1..
        name = re.sub(r"_\d+$", "", text)
        name = f"{name}_" if re.fullmatch(r"t\d+", name) or not name else name
        if name in taken:
            name = re.sub(r"_(\d+)$", r"\1", text)
        number, stem = 2, name
        while name in taken or re.fullmatch(r"t\d+", name):
            name, number = f"{stem}v{number}", number + 1
        taken.add(name)
        names[tensor] = name
    return names
