"""What is made better of a quantized model with steps that are fixed: ranges, weights, results."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kpu_ir.integrations.quantize_moments import moments_of
from kpu_ir.integrations.quantize_rounding import fed_back
from kpu_ir.support.types import Array

if TYPE_CHECKING:
    from onnx import ModelProto

PARTS = tuple(np.arange(1.0, 0.29, -0.05).tolist())
"""Of a range, that are tried."""


def best_range(sample: Array, lowest: float, highest: float, around_0: bool) -> tuple[float, float]:
    """The range within (lowest, highest) with 0 in it whose 255 steps leave the least squared error of a sample: first
    both ends drawn in alike, then each. ``around_0``: ends of the same magnitude, 254 steps.

    >>> best_range(np.array([-1.0, 2.0]), -1.0, 2.0, False)  # steps of 1/85 hold both
    (-1.0, 2.0)
    """
    values = sample.astype(np.float64)
    lowest, highest = min(lowest, 0.0), max(highest, 0.0)
    if around_0:
        highest = max(-lowest, highest)
        lowest = -highest
    if highest == lowest or not len(values):
        return lowest, highest

    def error(low: float, high: float) -> float:
        step = (high - low) / (254 if around_0 else 255)
        zero = 0.0 if around_0 else np.rint(-low / step)
        ends = (-127, 127) if around_0 else (-zero, 255 - zero)
        return float(np.square(np.clip(np.rint(values / step), *ends) * step - values).sum())

    least, best = min((error(lowest * p, highest * p), (lowest * p, highest * p)) for p in PARTS)
    if not around_0:
        for end in (0, 1):
            tried = [(best[0] * p, best[1]) if end == 0 else (best[0], best[1] * p)
                     for p in PARTS[1:] if best[end]]  # fmt: skip
            least, best = min([(least, best), *((error(*t), t) for t in tried)])
    return best


def round_by_products(
    model: ModelProto, made: ModelProto, layers: Sequence[str],
    items: Sequence[Mapping[str, Array]],
) -> None:  # fmt: skip
    """Round the weights of a model's QDQ copy again, in the steps that they have, so that products with typical inputs
    stay close (``quantize_rounding``)."""
    from onnx import numpy_helper

    weights = {t.name: t for t in model.graph.initializer}
    stored = {t.name: t for t in made.graph.initializer}
    makers = {n.output[0]: n for n in made.graph.node}
    there = {n.name: makers.get(n.input[1]) for n in made.graph.node if n.name in layers}
    nodes = [
        n
        for n in model.graph.node
        if n.op_type in ("Conv", "Gemm", "MatMul")
        and n.input[1] in weights
        and (len(weights[n.input[1]].dims) == 2 or n.op_type == "Conv")
        and (maker := there.get(n.name)) is not None
        and maker.input[0] in stored
    ]
    by_weights = {n.input[1]: n for n in nodes}
    for name, moments in moments_of(model, nodes, items):
        node = by_weights[name]
        back = there[node.name]
        assert back is not None
        turned = node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute)
        out = 0 if node.op_type == "Conv" or turned else 1
        real = numpy_helper.to_array(weights[name])
        scale = numpy_helper.to_array(stored[back.input[1]])
        if scale.size > 1:
            scale = np.expand_dims(
                scale.reshape(-1), tuple(a for a in range(real.ndim) if a != out)
            )
        integers = fed_back(real, moments, scale, out, -127, 127)
        stored[back.input[0]].CopyFrom(numpy_helper.from_array(integers, back.input[0]))


def with_float_results(model: ModelProto, made: ModelProto) -> None:
    """Take the steps from the results of a QDQ copy: nothing reads them in bytes, and two classes may be less than a
    step apart. Where the quantize is a ReLU or a clamp as well, it stays."""
    results = {o.name for o in made.graph.output}
    makers = {name: n for n in made.graph.node for name in n.output}
    clamps = {n.output[0] for n in model.graph.node if n.op_type in ("Relu", "Clip")}
    for back in [
        n for n in made.graph.node if n.output[0] in results and n.op_type == "DequantizeLinear"
    ]:
        steps = makers.get(back.input[0])
        if steps is None or steps.op_type != "QuantizeLinear" or back.output[0] in clamps:
            continue
        real, name = steps.input[0], back.output[0]
        maker = makers.get(real)
        users = [n for n in made.graph.node if steps.output[0] in n.input]
        if maker is None or len(users) > 1 or real in results:
            continue
        for node in made.graph.node:
            for i, read in enumerate(node.input):
                if read == real:
                    node.input[i] = name
        for i, written in enumerate(maker.output):
            if written == real:
                maker.output[i] = name
        made.graph.node.remove(steps)
        made.graph.node.remove(back)


def with_float_operands(model: ModelProto, made: ModelProto, excluded: Container[str]) -> None:
    """Take the steps from what excluded nodes alone read: else their operands are as noisy as they were, which is most
    of what a node loses. A ReLU or a clamp that saturation stood for comes back."""
    from onnx import NodeProto

    graph = made.graph
    results = {o.name for o in graph.output}
    activations = {n.output[0]: n for n in model.graph.node if n.op_type in ("Relu", "Clip")}
    for back in [n for n in graph.node if n.op_type == "DequantizeLinear"]:
        name = back.output[0]
        makers = {n: node for node in graph.node for n in node.output}
        steps = makers.get(back.input[0])
        users = [n for n in graph.node if name in n.input]
        if not users or name in results or any(n.name not in excluded for n in users):
            continue
        if steps is None or len([n for n in graph.node if steps.output[0] in n.input]) > 1:
            continue  # weights; or stored numbers that others read
        real = steps.input[0]
        for node in users:
            node.input[:] = [real if n == name else n for n in node.input]
        maker, activation = makers.get(real), activations.get(real)
        if maker is not None and activation is not None and maker.op_type != activation.op_type:
            back_again = NodeProto()
            back_again.CopyFrom(activation)
            wide = back_again.input[0] = f"{real}_unclamped"
            maker.output[:] = [wide if n == real else n for n in maker.output]
            graph.node.insert(list(graph.node).index(steps), back_again)
            there = {*makers, *(t.name for t in graph.initializer), ""}
            ends = [n for n in activation.input[1:] if n not in there]
            graph.initializer.extend(t for t in model.graph.initializer if t.name in ends)
            for node in [n for n in model.graph.node if set(n.output).intersection(ends)]:
                graph.node.insert(0, node)  # a constant
        graph.node.remove(steps)
        graph.node.remove(back)
