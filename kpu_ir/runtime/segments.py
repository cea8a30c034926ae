"""An ONNX model in parts: what the device runs, and what the host runs because we lack it.

A node runs on the host where our importer refuses it. Nodes are taken in order; a part ends where a
value crosses to the other side, so that each part needs nothing that comes after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kpu_ir.frontends.onnx import import_onnx
from kpu_ir.support.errors import KpuError


@dataclass(frozen=True)
class Segment:
    """A part of a model, as a model: on the host, or not."""

    model: Any
    on_host: bool
    nodes: tuple[str, ...]
    """What runs on the host: ``'name' (Operator)``."""

    @property
    def inputs(self) -> list[str]:
        """Names of what comes in."""
        return [info.name for info in self.model.graph.input]

    @property
    def outputs(self) -> list[str]:
        """Names of what goes out."""
        return [info.name for info in self.model.graph.output]


def segments(model: Any, most: int = 64) -> list[Segment]:
    """The parts of a model, in order. Raises ``KpuError`` where more than ``most`` nodes are refused, or
    one that is not there."""
    import onnx

    model = onnx.shape_inference.infer_shapes(model)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{number}"
    host: set[str] = set()
    while True:
        parts = _parts(model, host)
        refused = _refused(parts)
        if refused is None:
            return parts
        name, error = refused
        if name in host or len(host) >= most:
            raise error
        host.add(name)


def _refused(parts: list[Segment]) -> tuple[str, KpuError] | None:
    """The first node that the importer refuses, and what it says."""
    for part in parts:
        if part.on_host:
            continue
        try:
            import_onnx(part.model)
        except KpuError as error:
            for node in part.model.graph.node:
                if error.where and f"node {node.name!r}" in error.where:
                    return node.name, error
            raise
    return None


def _parts(model: Any, host: set[str]) -> list[Segment]:
    """The model in parts, where these nodes are the host's."""
    import onnx

    graph = model.graph
    constants = {t.name for t in graph.initializer}
    stage: dict[str, int] = {}  # of each value: even on the device, odd on the host
    groups: dict[int, list[Any]] = {}
    for node in graph.node:
        odd = node.name in host
        at = max((stage.get(name, 0) for name in needs(node)), default=0)
        at += (at % 2) != odd
        groups.setdefault(at, []).append(node)
        stage.update(dict.fromkeys(node.output, at))
    known = {v.name: v for v in (*graph.value_info, *graph.input, *graph.output)}
    wanted = {v.name for v in graph.output}
    parts: list[Segment] = []
    for at, nodes in sorted(groups.items()):
        made = {name for node in nodes for name in node.output if name}
        needed = dict.fromkeys(name for node in nodes for name in needs(node))
        inputs = [n for n in needed if n not in made and n not in constants]
        outside = {n for a, others in groups.items() if a != at for o in others for n in needs(o)}
        outputs = sorted(n for n in made if n in outside or n in wanted)
        for name in (*inputs, *outputs):
            if name not in known:
                raise KpuError(
                    f"the type of value '{name}' is not known", hint="declare it in the model"
                )
        part = onnx.helper.make_model(
            onnx.helper.make_graph(
                nodes,
                f"part{len(parts)}",
                [known[n] for n in inputs],
                [known[n] for n in outputs],
                [t for t in graph.initializer if t.name in needed],
            ),
            opset_imports=model.opset_import,
            ir_version=model.ir_version,
            functions=model.functions,
        )
        names = tuple(f"'{n.name}' ({n.op_type})" for n in nodes) if at % 2 else ()
        parts.append(Segment(part, bool(at % 2), names))
    return parts


def needs(node: Any) -> list[str]:
    """The values that a node reads; what the graphs within it read from outside too."""
    found = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            inside = {v.name for v in (*graph.input, *graph.initializer)}
            inside |= {name for n in graph.node for name in n.output}
            found += [name for n in graph.node for name in needs(n) if name not in inside]
    return found
