"""Operators of com.microsoft, which onnxruntime's optimiser writes: products, norms, embeddings with what
follows them. Attention stands in ``microsoft_attention``, what is quantized in ``microsoft_quantized``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kpu_ir.frontends.onnx.convolution import convolution
from kpu_ir.frontends.onnx.elementwise import apply
from kpu_ir.frontends.onnx.node import OPERATORS, Node, Tensor, operator
from kpu_ir.frontends.onnx.products import gemm
from kpu_ir.frontends.onnx.rows import with_deviation
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar import formulas
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import element_type_of

DOMAIN = "com.microsoft"
F32 = element_type_of(np.dtype(np.float32))

ACTIVATIONS: dict[str, tuple[Callable[..., Any], Sequence[str]]] = {
    "": (lambda x: x, ()),
    "Relu": (formulas.relu, ()),
    "Tanh": (formulas.tanh, ()),
    "Sigmoid": (formulas.sigmoid, ()),
    "HardSwish": (formulas.hard_swish, ()),
    "Softplus": (formulas.softplus, ()),
    "Softsign": (formulas.softsign, ()),
    "Gelu": (formulas.gelu, ()),
    "LeakyRelu": (formulas.leaky_relu, ("alpha",)),
    "Elu": (formulas.elu, ("alpha",)),
    "ThresholdedRelu": (formulas.thresholded_relu, ("alpha",)),
    "HardSigmoid": (formulas.hard_sigmoid, ("alpha", "beta")),
    "Clip": (formulas.clip, ("low", "high")),
}
"""Activations by ONNX's names, and what their parameters are called."""


def activated(node: Node, y: Value, parameters: Sequence[float]) -> Value:
    """After the activation that a node names."""
    name = node.text("activation", "")
    if name not in ACTIVATIONS:
        raise KpuError(f"the activation {name!r} is not supported")
    formula, names = ACTIVATIONS[name]
    if not name:
        return y
    given = dict(zip(names, parameters))
    return node.graph.map(functools.partial(formula, **given) if given else formula, y)


@operator("FusedConv", domain=DOMAIN)
def fused_conv(node: Node) -> Tensor:
    """A convolution, something added, an activation."""
    y = convolution(node, node.value(0), node.value(1), 2)
    if node.has(3):
        y = y + node.value(3)
    return activated(node, y, [float(n) for n in node.attributes.get("activation_params", [])])


@operator("FusedGemm", domain=DOMAIN)
def fused_gemm(node: Node) -> Tensor:
    """A product, an activation."""
    y = gemm(node)
    assert isinstance(y, Value)
    names = ("activation_alpha", "activation_beta", "activation_gamma")
    return activated(node, y, [node.number(n, 0.0) for n in names if n in node.attributes])


@operator("FusedMatMul", "TransposeMatMul", "FusedMatMulActivation", domain=DOMAIN)
def fused_matmul(node: Node) -> Tensor:
    """A product of matrices that may be stored the other way round, times a number."""
    graph = node.graph
    sides: list[Value] = []
    for i, side in enumerate("AB"):
        value = node.value(i)
        rank = len(value.shape)
        if node.integer(f"transBatch{side}", 0) and rank > 2:  # the first dimension comes before k
            value = graph.transpose(value, (*range(1, rank - 1), 0, rank - 1))
        sides.append(value)
    a, b = sides
    turned = [bool(node.integer(f"trans{s}", 0)) for s in "AB"]
    flags = {f"transpose_{s}": t and len(v.shape) > 1 for s, t, v in zip("ab", turned, (a, b))}
    y = graph.matmul(a, b, **flags)
    alpha = node.number("alpha", 1.0)
    y = y if alpha == 1.0 else graph.map(lambda x: x * alpha, y)
    names = ("activation_alpha", "activation_beta", "activation_gamma")
    return activated(node, y, [node.number(n, 0.0) for n in names if n in node.attributes])


# -- norms ------------------------------------------------------------------------------------------


@operator("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=DOMAIN)
def skip_layer_norm(node: Node) -> Tensor | list[Tensor]:
    """The norm of a sum, and the sum. A skip of one batch is for all."""
    graph, center = node.graph, node.proto.op_type == "SkipLayerNormalization"
    bias = 4 if center else 3
    given = [node.value(0), node.value(1), *([node.value(bias)] if node.has(bias) else [])]
    total = graph.map(lambda x, *more: sum(more, start=x), *given)
    shift = node.value(3) if center and node.has(3) else None
    axis = len(total.shape) - 1
    y = graph.normalize(total, [axis], node.number("epsilon", 1e-12), node.value(2), shift, center)
    results: list[Tensor] = [y]
    if node.wants(1) or node.wants(2):
        results += with_deviation(node, total, [axis], node.number("epsilon", 1e-12))
    else:
        results += [y, y]
    return [*results, total]


@operator("SimplifiedLayerNormalization")
@operator("SimplifiedLayerNormalization", domain=DOMAIN)
def simplified_layer_norm(node: Node) -> Tensor | list[Tensor]:
    """RMS norm by its former name."""
    x, axis = node.value(0), node.integer("axis", -1)
    axes = range(axis + len(x.shape) * (axis < 0), len(x.shape))
    y = node.graph.normalize(
        x, axes, node.number("epsilon", 1e-5), node.value(1), None, center=False
    )
    if not node.wants(1):
        return y
    epsilon = node.number("epsilon", 1e-5)
    power = node.graph.mean(node.graph.map(lambda v: v.to(F32) * v.to(F32), x), axes)
    return [y, node.graph.map(lambda p: 1.0 / formulas.sqrt(p + epsilon), power)]


OPERATORS[DOMAIN, "LayerNormalization"] = OPERATORS["", "LayerNormalization"]


def first_places(node: Node, length: int) -> Value:
    """The first rows of input 3, the table of places: 1 x length x hidden."""
    places = node.value(3)
    rows = node.graph.slice(places, [0, 0], [1, 1], (length, places.shape[1]))
    return node.graph.reshape(rows, (1, length, -1))


@operator("EmbedLayerNormalization", domain=DOMAIN)
def embed_layer_norm(node: Node) -> list[Tensor]:
    """Rows of three tables, summed, and the norm of that; how many words of each text are none."""
    graph, ids = node.graph, node.value(0)
    length = ids.shape[1]
    given = [graph.gather(node.value(2), ids)]
    if node.has(8):
        given.append(graph.gather(node.value(3), node.value(8)))
    else:
        given.append(first_places(node, length))
    if node.has(4):
        kinds = node.value(1) if node.has(1) else None
        table = node.value(4)
        if kinds is None:
            first = graph.slice(table, [0, 0], [1, 1], (1, table.shape[1]))
            given.append(graph.reshape(first, (1, 1, -1)))
        else:
            given.append(graph.gather(table, kinds))
    total = graph.map(lambda x, *more: sum(more, start=x), *given)
    y = graph.normalize(total, [2], node.number("epsilon", 1e-12), node.value(5), node.value(6))
    return [y, words_seen(node, bool(node.integer("mask_index_type", 1))), total]


def words_seen(node: Node, counted: bool = True) -> Value:
    """How many words of each text input 7, a mask, shows; 0 without one."""
    graph = node.graph
    if node.has(7) and counted:
        return graph.reduce("add", graph.cast(node.value(7), np.int32), [1], keep=False)
    return graph.constant(np.zeros(node.shape(0)[0], np.int32))


@operator("BiasAdd", domain=DOMAIN)
def bias_add(node: Node) -> Tensor:
    """A sum of three."""
    return apply(node, lambda x, b, s: x + b + s, *(node.value(i) for i in range(3)))


@operator("BiasSplitGelu", domain=DOMAIN)
def bias_split_gelu(node: Node) -> Tensor:
    """The first half times the gelu of the second."""
    graph = node.graph
    x = node.value(0) + node.value(1)
    half = x.shape[-1] // 2
    starts = [0] * (len(x.shape) - 1)
    shape, ones = (*x.shape[:-1], half), [1] * len(x.shape)
    a, b = (graph.slice(x, [*starts, at], ones, shape) for at in (0, half))
    return graph.map(lambda a, b: a * formulas.gelu(b), a, b)


@operator("BiasSoftmax", domain=DOMAIN)
def bias_softmax(node: Node) -> Tensor:
    """The softmax of a sum along the dimensions from ``axis`` on."""
    graph, x = node.graph, node.value(0)
    bias, rank, axis = node.value(1), len(x.shape), node.integer("axis", 1)
    axis += rank * (axis < 0)
    if node.integer("is_inner_broadcast", 1):  # a bias for each row of the first dimensions
        missing = rank - len(bias.shape)
        shape = (*bias.shape[: axis - missing], *[1] * missing, *bias.shape[axis - missing :])
        bias = graph.reshape(bias, shape) if missing > 0 else bias
    total = x + bias
    rows = (int(np.prod(total.shape[:axis])), int(np.prod(total.shape[axis:])))
    return graph.reshape(graph.softmax(graph.reshape(total, rows), 1), total.shape)
