"""Steps of quantized tensors at ties, told from wrong values: one layer by itself in onnxruntime.

A layer is computed again from what the simulated machine gave the layers before it. What is equal then
came in with its inputs. A step is one at a tie where the number that onnxruntime rounds is as near to a half
as a float of that layer may be off: the tolerance times its largest, in steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kpu_ir.report.precision import differences
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Run = Callable[["ModelProto", Sequence[str], Mapping[str, Array]], dict[str, Array]]
"""Tensors of a model by name, given its inputs."""

CARRIED, TIES = "carried on", "steps at ties"


def is_quantized(model: ModelProto) -> bool:
    """Whether a model has quantized tensors."""
    return any("Quantize" in n.op_type or "QLinear" in n.op_type for n in model.graph.node)


class Alone:
    """The layers of a model, each by itself."""

    def __init__(self, model: ModelProto, run: Run, tolerance: float) -> None:
        """``run``: onnxruntime."""
        from onnx import numpy_helper

        self.model, self.run, self.tolerance = model, run, tolerance
        self.nodes = {name: node for node in model.graph.node for name in node.output if name}
        self.known = {t.name: t for t in model.graph.initializer}
        self.array: Callable[[str], Array] = lambda name: numpy_helper.to_array(self.known[name])

    def cause(self, tensor: str, got: Array, given: Mapping[str, Array]) -> str:
        """Why a tensor is not as onnxruntime has it: ``CARRIED``, ``TIES``, or nothing that is known.

        ``given``: the simulated tensors before it, and the model's inputs, by name.
        """
        quantize = self.quantize(tensor)
        wanted = [
            tensor,
            *([quantize.output[0], quantize.input[0]] if quantize is not None else []),
        ]
        wanted = [n for n in dict.fromkeys(wanted) if n in self.nodes and n not in given]
        try:
            found = self.run(self.part(wanted, given), wanted, given)
        except (KpuError, KeyError, ValueError):  # a layer that does not stand alone
            return ""
        want = found[tensor].reshape(-1)
        got = got.reshape(-1)
        if want.dtype.kind in "iub":
            if np.array_equal(got, want):
                return CARRIED
        elif differences({tensor: got}, {tensor: want})[1] <= self.tolerance:
            return CARRIED
        if quantize is None or quantize.input[1] not in self.known:
            return ""
        scale = self.array(quantize.input[1]).astype(np.float64).reshape(-1)
        x = found.get(quantize.input[0], given.get(quantize.input[0]))
        if scale.size != 1 or x is None:
            return ""
        steps = got.astype(np.float64) - want.astype(np.float64)
        steps = steps if want.dtype.kind in "iub" else np.rint(steps / scale[0])
        quotient = x.reshape(-1).astype(np.float64) / scale[0]
        near = np.abs(np.abs(quotient - np.floor(quotient)) - 0.5)
        allowed = self.tolerance * float(np.abs(quotient).max(initial=0.0))
        apart = steps != 0
        return TIES if np.abs(steps).max() <= 1 and (near[apart] <= allowed).all() else ""

    def quantize(self, tensor: str) -> NodeProto | None:
        """The node that rounds a tensor: its own, or that before a dequantize."""
        node = self.nodes[tensor]
        if node.op_type == "DequantizeLinear":
            node = self.nodes.get(node.input[0])
        return node if node is not None and node.op_type == "QuantizeLinear" else None

    def part(self, wanted: Sequence[str], given: Mapping[str, Array]) -> ModelProto:
        """The model of some tensors, from those that are given."""
        from onnx import ModelProto, helper

        needed: list[NodeProto] = []
        waiting, names = list(wanted), set[str]()
        while waiting:
            name = waiting.pop()
            if name in names or (name in given and name not in wanted):
                names.add(name)
                continue
            names.add(name)
            node = self.nodes.get(name)
            if node is not None and not any(node is other for other in needed):
                if any(a.HasField("g") for a in node.attribute):
                    raise KpuError("a node with a graph inside")
                needed.append(node)
                waiting += [n for n in node.input if n]
        made = ModelProto()
        made.CopyFrom(self.model)
        graph = made.graph
        for field in ("node", "initializer", "input", "output", "value_info"):
            graph.ClearField(field)
        order = {id(node): i for i, node in enumerate(self.model.graph.node)}
        graph.node.extend(sorted(needed, key=lambda n: order[id(n)]))
        graph.initializer.extend(self.known[n] for n in names if n in self.known)
        for name in names:
            if name in given:
                kind = helper.np_dtype_to_tensor_dtype(given[name].dtype)
                graph.input.append(helper.make_tensor_value_info(name, kind, given[name].shape))
        return made
