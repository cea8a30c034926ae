"""Operators of com.microsoft, which onnxruntime's optimiser writes: products, norms, embeddings with what
follows them. Attention stands in ``microsoft_attention``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kpu_ir.frontends.onnx.convolution import convolution
from kpu_ir.frontends.onnx.elementwise import apply
from kpu_ir.frontends.onnx.node import OPERATORS, Node, Tensor, operator
from kpu_ir.frontends.onnx.products import gemm
from kpu_ir.frontends.onnx.quantized import parameter, product, saturated
from kpu_ir.frontends.onnx.rows import with_deviation
from kpu_ir.frontends.python.value import Value
from kpu_ir.scalar import formulas
from kpu_ir.scalar.tracing import Scalar
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


@operator("EmbedLayerNormalization", domain=DOMAIN)
def embed_layer_norm(node: Node) -> list[Tensor]:
    """Rows of three tables, summed, and the norm of that; how many words of each text are none."""
    graph, ids = node.graph, node.value(0)
    batch, length = ids.shape
    given = [graph.gather(node.value(2), ids)]
    if node.has(8):
        given.append(graph.gather(node.value(3), node.value(8)))
    else:
        places = node.value(3)
        rows = graph.slice(places, [0, 0], [1, 1], (length, places.shape[1]))
        given.append(graph.reshape(rows, (1, length, -1)))
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
    if node.has(7) and node.integer("mask_index_type", 1):
        seen = graph.reduce("add", graph.cast(node.value(7), np.int32), [1], keep=False)
    else:
        seen = graph.constant(np.zeros(batch, np.int32))
    return [y, seen, total]


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


# -- quantized --------------------------------------------------------------------------------------


for _name in ("QuantizeLinear", "DequantizeLinear"):
    OPERATORS[DOMAIN, _name] = OPERATORS["", _name]


@operator("MatMulIntegerToFloat", domain=DOMAIN)
def matmul_integer_to_float(node: Node) -> Tensor:
    """A product of bytes, times both scales, with a bias."""
    graph = node.graph
    y = product(node, 0, 1, 4, 5)
    rank = len(y.shape)
    scales = [parameter(node, i, y.shape, rank - 1, 0) for i in (2, 3)]
    bias = [node.value(6)] if node.has(6) else []
    return graph.map(lambda s, a, b, *c: sum(c, start=s.to(F32) * (a * b)), y, *scales, *bias)


@operator("DynamicQuantizeMatMul", domain=DOMAIN)
def dynamic_quantize_matmul(node: Node) -> Tensor:
    """The left operand in steps of its own range."""
    graph, x = node.graph, node.value(0)
    ends = [graph.reduce(kind, x, range(len(x.shape))) for kind in ("min", "max")]

    def scale(low: Scalar, high: Scalar) -> Scalar:
        low, high = formulas.minimum(low, 0.0), formulas.maximum(high, 0.0)
        return formulas.where(low == high, 1.0, high - low) / 255.0

    byte = element_type_of(np.dtype(np.uint8))
    step = graph.map(scale, *ends)
    zero = graph.map(
        lambda low, s: formulas.clip(
            formulas.round_half_even(-formulas.minimum(low, 0.0) / s), 0.0, 255.0
        ).to(byte),
        ends[0],
        step,
    )
    bytes_ = graph.map(
        lambda v, s, z: saturated(formulas.round_half_even(v / s), np.dtype(np.uint8), z),
        x,
        step,
        zero,
    )
    inner = Node(node.proto, [bytes_, node.inputs[1], zero, *node.inputs[3:4]], 1, node.constants)
    y = product(inner, 0, 1, 2, 3)
    scales = [graph.reshape(step, (1,) * len(y.shape)), parameter(node, 2, y.shape, -1, 0)]
    bias = [node.value(4)] if node.has(4) else []
    return graph.map(lambda s, a, b, *c: sum(c, start=s.to(F32) * (a * b)), y, *scales, *bias)


@operator("QLinearAdd", "QLinearMul", domain=DOMAIN)
def qlinear_pair(node: Node) -> Tensor:
    """A sum or product of quantized numbers, quantized."""
    a, sa, za, b, sb, zb, sc, zc = (node.inputs[i] if node.has(i) else None for i in range(8))
    add = node.proto.op_type == "QLinearAdd"
    if a is None or b is None or sa is None or sb is None or sc is None:
        raise KpuError("a tensor or its scale is missing")
    dtype, wide = a.dtype, element_type_of(np.dtype(np.int32))
    zeros = [z if z is not None else np.zeros((), dtype) for z in (za, zb, zc)]

    def formula(
        a: Scalar, b: Scalar, sa: Any, sb: Any, sc: Any, za: Any, zb: Any, zc: Any
    ) -> Scalar:
        def real(v: Scalar, s: Any, z: Any) -> Scalar:
            z = z.to(wide) if isinstance(z, Scalar) else z
            return (v.to(wide) - z).to(F32) * s

        x, y = real(a, sa, za), real(b, sb, zb)
        whole = formulas.round_half_even((x + y if add else x * y) / sc)
        if not isinstance(zc, Scalar):
            whole, zc = whole + float(zc), None
        return saturated(whole, dtype, zc)

    return apply(node, formula, a, b, sa, sb, sc, *zeros)


@operator("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", domain=DOMAIN)
def qlinear_function(node: Node) -> Tensor:
    """A function of quantized numbers, quantized."""
    graph, x = node.graph, node.value(0)
    wide, name = element_type_of(np.dtype(np.int32)), node.proto.op_type
    flat = [graph.reshape(node.value(i), (1,) * len(x.shape)) if node.has(i) else None
            for i in range(1, 5)]  # fmt: skip
    scale, zero, out_scale, out_zero = flat
    if scale is None or out_scale is None:
        raise KpuError("a scale is missing")

    def real(v: Scalar, s: Scalar, *z: Scalar) -> Scalar:
        whole = v.to(wide) - z[0].to(wide) if z else v.to(wide)
        return whole.to(F32) * s

    y = graph.map(real, x, scale, *([] if zero is None else [zero]))
    if name == "QLinearSoftmax":
        y = graph.softmax(y, node.integer("axis", -1))
    elif name == "QLinearSigmoid":
        y = graph.map(formulas.sigmoid, y)
    else:
        alpha = node.number("alpha", 0.01)
        y = graph.map(lambda v: formulas.leaky_relu(v, alpha), y)
    return graph.map(
        lambda v, s, *z: saturated(formulas.round_half_even(v / s), x.dtype, *z),
        y,
        out_scale,
        *([] if out_zero is None else [out_zero]),
    )


@operator("MatMulNBits", domain=DOMAIN)
def matmul_n_bits(node: Node) -> Tensor:
    """A product with weights of a few bits, in blocks along k that have a scale each."""
    graph, a, packed = node.graph, node.value(0), node.must_be_known(1, "the weights")
    k, n = node.integer("K", 0), node.integer("N", 0)
    bits, block = node.integer("bits", 4), node.integer("block_size", 32)
    if bits not in (2, 4, 8) or k < 1 or n < 1 or block < 1:
        raise KpuError(f"weights of {bits} bits in blocks of {block} are not supported")
    if node.has(4) and node.known(4) is None:
        raise KpuError("g_idx must be known when the model is compiled")
    blocks = -(-k // block)
    per = 8 // bits

    def unpacked(data: Any, count: int) -> Any:
        shifts = np.arange(per, dtype=np.uint8) * bits
        parts = (data.reshape(n, -1, 1) >> shifts) & ((1 << bits) - 1)
        return parts.reshape(n, -1)[:, :count]

    scales = np.asarray(node.must_be_known(2, "the scales"), np.float32).reshape(n, blocks)
    whole = unpacked(packed.astype(np.uint8), blocks * block).astype(np.float32)
    zeros: Any = np.float32(1 << (bits - 1))
    if node.has(3):
        given = node.must_be_known(3, "the zero points")
        if given.dtype == np.uint8:
            zeros = unpacked(given, blocks).reshape(n, blocks).astype(np.float32)
        else:
            zeros = np.asarray(given, np.float32).reshape(n, blocks)
        zeros = np.repeat(zeros, block, axis=1)
    weights = (whole - zeros) * np.repeat(scales, block, axis=1)
    order = node.known(4) if node.has(4) else None
    if order is not None and len(order.reshape(-1)) >= k:
        at = order.reshape(-1)[:k]
        z = zeros if np.ndim(zeros) == 0 else zeros[:, ::block][:, at]
        weights = (whole[:, :k] - z) * scales[:, at]
    y = graph.matmul(a, graph.constant(weights[:, :k].astype(a.dtype)), transpose_b=True)
    return y + node.value(5) if node.has(5) else y
