"""The nine "light" networks that the onnx wheel ships, with weights worth testing.

They carry shapes only: each weight is made by ConstantOfShape and is 0.02, so that any permutation
of channels gives the same outputs. Here each becomes an initializer of seeded values.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from common import SEED, save_inputs, save_model

NAMES = (
    "bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet",
    "squeezenet", "vgg19", "zfnet512",
)  # fmt: skip


def refill(model: Any, seed: int = SEED) -> Any:
    """The model with seeded weights: He's scale for products, moderate norms and biases."""
    from onnx import helper, numpy_helper

    graph = model.graph
    known = {t.name: t for t in graph.initializer}
    made = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "ConstantOfShape"}
    parts = {
        n.output[0]: n.input[0] for n in graph.node if n.op_type == "Unsqueeze"
    }  # of a scale or a shift
    uses: dict[str, tuple[Any, int]] = {}
    for node in graph.node:
        for i, name in enumerate(node.input):
            name = parts.get(name, name) if parts.get(name) in made else name
            if node.op_type != "Unsqueeze":
                uses.setdefault(name, (node, i))
    summed = {name for n in graph.node if n.op_type == "Sum" for name in n.input}
    linear = {n.output[0] for n in graph.node if n.op_type == "Conv"} - rectified(graph)
    random = np.random.default_rng(seed)
    new = []
    for name, shape in made.items():
        extents = [int(n) for n in numpy_helper.to_array(known[shape])]
        values = weights(random, extents, *uses.get(name, (None, 0)), summed, linear)
        new.append(numpy_helper.from_array(values.astype(np.float32), name))
    shapes = set(made.values()) - {
        name for n in graph.node if n.op_type != "ConstantOfShape" for name in n.input
    }
    nodes = [n for n in graph.node if n.op_type != "ConstantOfShape"]
    kept = [t for t in graph.initializer if t.name not in shapes]
    inputs = [i for i in graph.input if i.name not in known]
    return helper.make_model(
        helper.make_graph(nodes, graph.name, inputs, list(graph.output), [*kept, *new]),
        opset_imports=list(model.opset_import),
        ir_version=max(4, model.ir_version),
    )


def rectified(graph: Any) -> set[str]:
    """Tensors that go through norms into a ReLU."""
    found: set[str] = set()
    for node in reversed(graph.node):
        if node.op_type == "Relu" or (
            node.op_type in ("BatchNormalization", "Mul", "Add") and node.output[0] in found
        ):
            found.add(node.input[0])
    return found


def weights(
    random: Any, shape: list[int], node: Any, place: int, summed: set[str], linear: set[str]
) -> Any:
    """Values for the input ``place`` of a node.

    So that values neither vanish nor grow without end, products without a ReLU behind them
    (``linear``) have less than He's scale, and less is added to what goes around (``summed``).
    """
    kind = node.op_type if node is not None else ""
    if kind in ("Conv", "Gemm", "MatMul") and place == 1:
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        fan = math.prod(shape[1:]) if kind == "Conv" or transposed else shape[0]
        last = kind == "Gemm" and summed  # keeps the softmax behind it off 0 and 1
        gain = 0.02 if last else 1 if node.output[0] in linear else 2
        return random.normal(0, math.sqrt(gain / fan), shape)
    if kind == "BatchNormalization" and place == 4:
        return np.exp(random.normal(0, 0.2, shape))
    if kind == "BatchNormalization" and place == 1:
        return random.normal(0.5 if node.output[0] in summed else 1.0, 0.1, shape)
    if kind == "Mul":
        return random.normal(1.0, 0.1, shape)
    return random.normal(0, 0.05, shape)


def make_light(path: Path, name: str, image: int = 224) -> None:
    """One of ``NAMES``, refilled, with a seeded picture beside it. Those that end in an average over
    all positions take pictures of other sizes, too."""
    import onnx

    folder = Path(str(onnx.__file__)).parent / "backend" / "test" / "data" / "light"
    model = refill(onnx.load(str(folder / f"light_{name}.onnx")))
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = image
    onnx.checker.check_model(model)
    save_model(path, model)
    random = np.random.default_rng(SEED)
    picture = random.normal(0, 1, (1, 3, image, image)).astype(np.float32)
    save_inputs(path.with_suffix(".npz"), {model.graph.input[0].name: picture})
