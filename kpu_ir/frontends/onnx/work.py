"""How much an ONNX node computes, by its shapes: what coverage and shares of the work stand on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kpu_ir.frontends.onnx.load import onnx_package
from kpu_ir.frontends.onnx.node import node_text
from kpu_ir.support.errors import KpuError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

MODEL = "kpu.model"
"""Attribute of an imported module: the model's nodes, those folded at import, those that the device
computes, and their multiply-accumulates."""

Shape = tuple[int, ...]
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
"""Products a step of a recurrent layer."""


MICROSOFT = "com.microsoft"


def _attributes(node: NodeProto) -> dict[str, Any]:
    from onnx.helper import get_attribute_value

    return {a.name: get_attribute_value(a) for a in node.attribute}


def _matmul(node: NodeProto, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    return math.prod(outs[0]) * (ins[0][-1] if ins[0] else 1)


def _gemm(node: NodeProto, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    return math.prod(outs[0]) * ins[0][0 if _attributes(node).get("transA") else 1]


def _conv(node: NodeProto, ins: Sequence[Shape], outs: Sequence[Shape], w: int = 1) -> int:
    return math.prod(outs[0]) * math.prod(ins[w][1:])


def _conv_transpose(node: NodeProto, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    return math.prod(ins[0]) * math.prod(ins[1][1:])


def _einsum(node: NodeProto, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    if len(ins) < 2:
        return 0
    terms = _attributes(node)["equation"].decode().replace(" ", "").split("->")[0].split(",")
    extents: dict[str, int] = {}
    dots: Shape = ()
    for term, shape in zip(terms, ins):
        front, _, back = term.partition("...")
        middle = shape[len(front) : len(shape) - len(back)]
        dots = max(dots, middle, key=math.prod)
        for label, n in zip(front + back, [*shape[: len(front)], *shape[len(shape) - len(back) :]]):
            extents[label] = max(n, extents.get(label, 1))
    return math.prod(extents.values()) * math.prod(dots)


def _attention(node: NodeProto, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    """Scores and their product with the values; keys include those that came before."""
    q, k, v = ins[:3]
    past = ins[4][2] if len(ins) > 4 and len(ins[4]) == 4 else 0
    if len(q) == 3:
        heads = _attributes(node).get("q_num_heads", 1)
        groups = _attributes(node).get("kv_num_heads", 1)
        wide = v[2] // groups * heads
        return q[0] * q[1] * (k[1] + past) * (q[2] + wide)
    return q[0] * q[1] * q[2] * (k[2] + past) * (q[3] + v[3])


def _fused_matmul(node: NodeProto, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    given, rank = _attributes(node), len(ins[0])
    row = 0 if given.get("transBatchA") else rank - 2
    k = ins[0][row if given.get("transA") and rank > 1 else rank - 1]
    return math.prod(outs[0]) * k


def _heads(node: NodeProto, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    """MultiHeadAttention: keys are of the second input, or of the first."""
    q, keys = ins[0], (ins[1] if len(ins) > 1 and ins[1] else ins[0])
    past = ins[6][2] if len(ins) > 6 and len(ins[6]) == 4 else 0
    count = (keys[2] if len(keys) == 4 else keys[1]) + past
    width = math.prod(q[2:]) // (3 if len(q) == 5 else 1)
    return q[0] * q[1] * count * (width + outs[0][2])


def _projected(
    node: NodeProto, ins: Sequence[Shape], outs: Sequence[Shape], before: int = 4
) -> int:
    """Attention of com.microsoft: its projections, then scores and their product."""
    x, w = ins[:2]
    sizes = _attributes(node).get("qkv_hidden_sizes") or [w[1] // 3] * 3
    past = ins[before][3] if len(ins) > before and len(ins[before]) == 5 else 0
    projections = math.prod(x) * w[1]
    return projections + x[0] * x[1] * (x[1] + past) * (sizes[0] + sizes[2])


def _few_bits(node: NodeProto, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    return math.prod(outs[0]) * _attributes(node)["K"]


def _recurrent(node: NodeProto, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    x, w, r = ins[:3]
    return x[0] * x[1] * w[0] * w[1] * (w[2] + r[2])


def _recurrent_turned(node: NodeProto, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    """Weights are inputs x gates."""
    x, w, r = ins[:3]
    return x[0] * x[1] * w[0] * w[2] * (w[1] + r[1])


MACS: Mapping[str, Callable[[NodeProto, Sequence[Shape], Sequence[Shape]], int]] = {
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Gemm": _gemm,
    "Conv": _conv,
    "ConvInteger": _conv,
    "QLinearConv": lambda node, ins, outs: _conv(node, ins, outs, 3),
    "ConvTranspose": _conv_transpose,
    "Einsum": _einsum,
    "Attention": _attention,
    "DeformConv": _conv,
    **dict.fromkeys(GATES, _recurrent),
    f"{MICROSOFT}.FusedMatMul": _fused_matmul,
    f"{MICROSOFT}.TransposeMatMul": _fused_matmul,
    f"{MICROSOFT}.FusedMatMulActivation": _fused_matmul,
    f"{MICROSOFT}.FusedConv": _conv,
    f"{MICROSOFT}.FusedGemm": _gemm,
    f"{MICROSOFT}.MultiHeadAttention": _heads,
    f"{MICROSOFT}.Attention": _projected,
    f"{MICROSOFT}.QAttention": lambda node, ins, outs: _projected(node, ins, outs, 8),
    f"{MICROSOFT}.MatMulIntegerToFloat": _matmul,
    f"{MICROSOFT}.DynamicQuantizeMatMul": _matmul,
    f"{MICROSOFT}.DynamicQuantizeLSTM": _recurrent_turned,
    f"{MICROSOFT}.MatMulNBits": _few_bits,
}
"""Multiply-accumulates of the operators that have any."""


def macs(node: NodeProto, ins: Sequence[Shape], outs: Sequence[Shape]) -> int:
    """Multiply-accumulates of a node, 0 where it is none of ``MACS`` or its shapes do not fit."""
    domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}."
    count = MACS.get(f"{domain}{node.op_type}")
    if count is None:
        return 0
    try:
        return count(node, ins, outs)
    except (IndexError, ZeroDivisionError, KeyError):
        return 0


def refuse(
    missing: Sequence[NodeProto],
    nodes: Sequence[NodeProto],
    model: ModelProto,
    shapes: Mapping[str, Shape],
) -> KpuError:
    """The error that names all unsupported nodes, by operator, with their share of the work.

    A node's work is two operations a multiply-accumulate, else one a result's element. ``shapes``
    are those of the inputs; ``model`` is changed by them.
    """
    known = inferred(model, nodes, shapes)
    total, of = 0, dict[str, int | None]()
    groups: dict[str, list[NodeProto]] = {}
    for node in nodes:
        ins = [known.get(name) for name in node.input]
        outs = [known.get(name) for name in node.output if name]
        sizes = [math.prod(s) for s in outs if s is not None]
        mine = None
        if sizes and None not in ins[:3]:
            filled = [s or () for s in ins]
            mine = 2 * macs(node, filled, [s or () for s in outs]) or sum(sizes)
        elif sizes:
            mine = sum(sizes)
        total += mine or 0
        if any(node is m for m in missing):
            kind = (
                node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
            )
            groups.setdefault(kind, []).append(node)
            have = of.setdefault(kind, 0)
            of[kind] = None if mine is None or have is None else have + mine
    lines: list[str] = []
    for kind, found in groups.items():
        some = of[kind]
        part = "an unknown share" if some is None or not total else f"{100 * some / total:.3g} %"
        names = [node_text(n) for n in found]
        listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        lines.append(f"{listed}: {part} of the model's work")
    return KpuError(
        "operators that kpu-ir does not support:\n  " + "\n  ".join(lines),
        hint="docs/operators.md has those that it does",
    )


def inferred(
    model: ModelProto, nodes: Iterable[NodeProto], shapes: Mapping[str, Shape]
) -> dict[str, Shape]:
    """The static shapes that ONNX's inference finds, by tensor."""
    onnx = onnx_package()
    for info in model.graph.input:
        if info.name in shapes:
            del info.type.tensor_type.shape.dim[:]
            for n in shapes[info.name]:
                info.type.tensor_type.shape.dim.add().dim_value = n
    domains = {o.domain for o in model.opset_import}
    for domain in {n.domain for n in nodes} - domains - {"", "ai.onnx"}:
        model.opset_import.add(domain=domain, version=1)  # else inference refuses the whole model
    result: dict[str, Shape] = {t.name: tuple(t.dims) for t in model.graph.initializer}
    try:
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # a share is then unknown; the operators are named all the same
        return result
    graph = model.graph
    for info in (*graph.input, *graph.value_info, *graph.output):
        dims = info.type.tensor_type.shape.dim
        if info.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            result[info.name] = tuple(d.dim_value for d in dims)
    return result
