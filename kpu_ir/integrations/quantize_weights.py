"""Weights of a few bits in standard ONNX, with activations in floats or in steps of each row's largest.

w --> DequantizeLinear(stored integers, scales[, block_size])
a --> QuantizeLinear(a, max |row| / 127, axis 0) --> DequantizeLinear        (per token)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kpu_ir.integrations.quantize_model import DEFAULT_BLOCK, Settings, never_quantized, of_version
from kpu_ir.integrations.quantize_moments import moments_of
from kpu_ir.integrations.quantize_ports import floats_of, short_ports
from kpu_ir.integrations.quantize_rounding import Moments, fed_back
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

LEAST_VERSION = 21
"""Of ONNX's operators: the first with blocks, and with numbers of 4 bits."""

IR_VERSION = 10
"""Of the file: the first with numbers of 4 bits."""

LEAST_STEP = 1e-12
"""The step of a row of zeros: what is divided by it stays 0. Of f16, the least that there is."""


SHRUNK = tuple(np.arange(1.05, 0.54, -0.025).tolist())
"""Parts of the full range that the scale of few weights may have: fewer steps of the largest elements are finer ones
of all others. The one with the least squared error is taken."""


def blocked(
    weights: Array, axis: int, block: int, bits: int, importance: Array | None = None
) -> tuple[Array, Array]:
    """Weights in steps around 0, and the scale of each ``block`` of neighbours along ``axis``.

    The element of the largest magnitude becomes the lowest integer, so that all 2^bits are used; a scale
    may be negative. Of 4 bits, other scales are tried (``SHRUNK``); ``importance``: of the errors, of each of what
    is along ``axis``. Scales are numbers of 16 bits, unless some are out of their range. Integers are int8 here.

    >>> blocked(np.array([[1.0], [-2.0]]), 0, 2, 8)
    (array([[  64], [-128]], dtype=int8), array([[0.015625]], dtype=float32))
    """
    moved = np.moveaxis(np.asarray(weights, np.float32), axis, -1)
    parts = moved.reshape(*moved.shape[:-1], -1, block)
    counts = None if importance is None else importance.reshape(-1, block)
    at = np.abs(parts).argmax(-1, keepdims=True)
    lowest, highest = -(1 << bits - 1), (1 << bits - 1) - 1
    full = shortened(np.take_along_axis(parts, at, -1) / np.float32(lowest))
    scale = _best(parts, full, lowest, highest, counts, shortened) if bits == 4 else full
    stored = _stored(parts, scale, lowest, highest).astype(np.int8).reshape(moved.shape)
    return np.moveaxis(stored, -1, axis), np.moveaxis(scale[..., 0], -1, axis)


def _best(
    weights: Array, full: Array, lowest: int, highest: int, importance: Array | None = None,
    made: Callable[[Array], Array] = lambda scale: scale,
) -> Array:  # fmt: skip
    """The part of a full scale with the least squared error along the last axis. ``made``: a scale as it is kept."""
    scale, least = full, np.full(full.shape, np.inf, np.float32)
    for part in SHRUNK:
        tried = made(full * np.float32(part))
        error = np.square(_stored(weights, tried, lowest, highest) * tried - weights)
        if importance is not None:
            error *= importance.astype(np.float32)
        error = error.sum(-1, keepdims=True)
        better = error < least
        least, scale = np.where(better, error, least), np.where(better, tried, scale)
    return scale


def shortened(scale: Array) -> Array:
    """Scales rounded to f16, as f32; as they are where one is beyond its normal numbers.

    >>> shortened(np.float32([0.1, 0])), shortened(np.float32([0.1, 1e-6]))
    (array([0.09997559, 0.        ], dtype=float32), array([1.e-01, 1.e-06], dtype=float32))
    """
    limits, size = np.finfo(np.float16), np.abs(scale)
    if np.any((size != 0) & ((size < limits.smallest_normal) | (size > limits.max))):
        return scale
    return scale.astype(np.float16).astype(np.float32)


def _stored(weights: Array, scale: Array, lowest: int, highest: int) -> Array:
    """The nearest steps, within a type's ends; 0 where the scale is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.where(scale == 0, 0, np.rint(weights / scale))
    return np.clip(steps, lowest, highest)


def symmetric(weights: Array, axis: int, bits: int) -> tuple[Array, Array]:
    """Weights in steps of 1/127 of the largest of each output channel along ``axis``, and the scales. Of 4 bits, 1/7
    of it and less are tried (``SHRUNK``)."""
    moved = np.moveaxis(weights, axis, 0)
    flat = moved.reshape(len(moved), -1)
    highest = (1 << bits - 1) - 1
    full = np.abs(flat).max(axis=1, keepdims=True) / np.float32(highest)
    scale = _best(flat, full, -highest, highest) if bits == 4 else full
    stored = _stored(flat, scale, -highest, highest).reshape(moved.shape)
    return np.moveaxis(stored.astype(np.int8), 0, axis), scale[:, 0].astype(np.float32)


def quantized_weights(
    model: ModelProto, settings: Settings, kept: Mapping[str, str],
    items: Sequence[Mapping[str, Array]] = (),
) -> tuple[ModelProto, tuple[str, ...], dict[str, str]]:  # fmt: skip
    """The model with quantized weights, the layers that have them, and those that do not, and why. ``items``: inputs
    by which weights are rounded (``gptq``)."""
    model = of_version(model, LEAST_VERSION)
    moments: dict[str, Moments] = {}
    if items:
        work = _Rewriting(model, settings, {})
        taken = [n for n in model.graph.node if n.name not in kept and work.takes(n)]
        moments = dict(moments_of(model, taken, items))
    if settings.activations == "f16":
        short = short_ports(model, settings.io_f16)
        model = _in_f16(model, [name for name in floats_of(model) if name not in short])
    model.ir_version = max(model.ir_version, IR_VERSION)
    work = _Rewriting(model, settings, moments)
    left = {n.name: kept[n.name] for n in model.graph.node if n.name in kept and work.takes(n)}
    layers: list[str] = []
    for node in list(model.graph.node):
        if node.name in left or not work.takes(node):
            continue
        why = work.layer(node)
        if why:
            left[node.name] = why
        else:
            layers.append(node.name)
    never = never_quantized(model, "weights of transposed convolutions are not quantized")
    left |= {name: kept.get(name, why) for name, why in never.items()}
    work.finish()
    return model, tuple(layers), left


def _in_f16(model: ModelProto, kept: list[str]) -> ModelProto:
    """Floats of 16 bits in all but the inputs and outputs that are ``kept``, by onnxruntime's converter."""
    try:
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError:
        raise KpuError(
            "f16 is onnxruntime's work, which is not there", hint="pip install 'kpu-ir[quantize]'"
        ) from None
    names: Any = kept  # typed as a bool, documented as names too
    return convert_float_to_float16(model, keep_io_types=names)


class _Rewriting:
    """One model's graph, node by node."""

    def __init__(
        self, model: ModelProto, settings: Settings, moments: Mapping[str, Moments]
    ) -> None:
        self.graph = model.graph
        self.settings = settings
        self.moments = moments
        self.bits = 4 if settings.weights == "i4" else 8
        self.weights = {t.name: t for t in model.graph.initializer}
        self.turned = {
            n.output[0]: self.weights[n.input[0]]
            for n in model.graph.node
            if n.op_type == "Transpose"
            and len(getattr(self.weights.get(n.input[0]), "dims", ())) == 2
            and all(list(a.ints) == [1, 0] for a in n.attribute)
        }
        """Matrices that are stored the other way round, as an embedding that is a head too."""
        self.before: dict[str, list[NodeProto]] = {}
        """What stands before a node, by its name."""
        self.made: set[str] = set()
        """Weights that are dequantized."""
        self.rows: dict[str, str] = {}
        """Activations in steps of their rows, by what they were."""
        self.shapes = {v.name: len(v.type.tensor_type.shape.dim) for v in _typed(model)}

    def takes(self, node: NodeProto) -> bool:
        """Whether a node multiplies by weights."""
        if node.op_type not in ("MatMul", "Gemm", "Conv") or len(node.input) < 2:
            return False
        name = node.input[1]
        weights = self.weights.get(name, self.turned.get(name))
        return weights is not None and len(weights.dims) >= 2 and weights.data_type in (1, 10)

    def array(self, name: str) -> Array:
        """Weights by name."""
        from onnx import numpy_helper

        if name in self.turned:
            return numpy_helper.to_array(self.turned[name]).T
        return numpy_helper.to_array(self.weights[name])

    def layer(self, node: NodeProto) -> str:
        """Quantize a node's weights, and its rows if they are asked for. Why not, if that cannot be."""
        weights = self.array(node.input[1])
        if node.op_type == "MatMul" and weights.ndim != 2:
            return "its weights are several matrices"
        turned = any(a.name == "transB" and a.i for a in node.attribute)
        out = 0 if node.op_type == "Conv" or turned else 1
        if node.op_type == "Conv":
            if self.settings.per_token:
                return "a convolution has no rows"
            self._store(node, weights, out, 0)
            return ""
        if self.settings.per_token and not self._in_rows(node):
            return "its left operand is transposed"
        given = self.settings.block
        block = (DEFAULT_BLOCK if self.bits == 4 else 0) if given is None else given
        if block and weights.shape[1 - out] % block:
            raise KpuError(
                f"blocks of {block} do not divide its {weights.shape[1 - out]} rows of weights",
                f"node {node.name!r} ({node.op_type})",
                f"another --block, or --exclude '{node.name}'",
            )
        self._store(node, weights, out, block)
        return ""

    def _store(self, node: NodeProto, weights: Array, out: int, block: int) -> None:
        """Stored integers and their scales in the place of weights. What is stored the other way round
        stays so: its rows are rows of memory."""
        import ml_dtypes
        from onnx import helper, numpy_helper

        name = node.input[1]
        turned = name in self.turned
        weights, out = (weights.T, 1 - out) if turned else (weights, out)
        made = f"{name}_dequantized"
        if made not in self.made:
            moments = self.moments.get(name)
            if block:
                importance = None if moments is None else np.diagonal(moments.sums[0])
                stored, scale = blocked(weights, 1 - out, block, self.bits, importance)
                more: dict[str, Any] = {"axis": 1 - out, "block_size": block}
            else:
                stored, scale = symmetric(weights.astype(np.float32), out, self.bits)
                more = {"axis": out}
            if moments is not None:
                steps = np.repeat(scale, block, 1 - out) if block else np.expand_dims(
                    scale, tuple(a for a in range(weights.ndim) if a != out))  # fmt: skip
                least = -(1 << self.bits - 1) + (not block)
                stored = fed_back(weights, moments, steps, out, least, (1 << self.bits - 1) - 1)
            kind = ml_dtypes.int4 if self.bits == 4 else np.int8
            parts = {
                f"{name}_stored": stored.astype(kind),
                f"{name}_scale": scale.astype(weights.dtype),
            }
            tensors = [
                numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in parts.items()
            ]
            self.graph.initializer.extend(tensors)
            one = f"{made}_rows" if turned else made
            self._put(node, helper.make_node("DequantizeLinear", list(parts), [one], one, **more))
            if turned:
                self._put(node, helper.make_node("Transpose", [one], [made], made, perm=[1, 0]))
            self.made.add(made)
        node.input[1] = made

    def _in_rows(self, node: NodeProto) -> bool:
        """The left operand in steps of each row's largest element."""
        if any(a.name == "transA" and a.i for a in node.attribute):
            return False
        name = node.input[0]
        if name not in self.rows:
            self.rows[name] = self._row_steps(node, name)
        node.input[0] = self.rows[name]
        return True

    def _row_steps(self, node: NodeProto, name: str) -> str:
        from onnx import TensorProto, helper, numpy_helper

        def constant(suffix: str, value: Any) -> str:
            self.graph.initializer.append(
                numpy_helper.from_array(np.asarray(value), f"{name}_{suffix}")
            )
            return f"{name}_{suffix}"

        def put(op: str, inputs: list[str], suffix: str, **attributes: Any) -> str:
            made = f"{name}_{suffix}"
            self._put(node, helper.make_node(op, inputs, [made], made, **attributes))
            return made

        turned = any(a.name == "transB" and a.i for a in node.attribute)
        weights = self.array(node.input[1])  # of the type of what they multiply
        width, real = weights.shape[turned], weights.dtype.type
        least = max(real(LEAST_STEP), np.finfo(real).smallest_subnormal)
        matrix = self.shapes.get(name) == 2
        shape = constant("rows_shape", np.array([-1, width], np.int64))
        rows = name if matrix else put("Reshape", [name, shape], "rows")
        largest = put("Abs", [rows], "abs")
        axes = constant("axis", np.array([1], np.int64))
        largest = put("ReduceMax", [largest, axes], "largest", keepdims=0)
        step = put("Mul", [largest, constant("share", real(1 / 127))], "share_of")
        step = put("Max", [step, constant("least", least)], "step")
        stored = put(
            "QuantizeLinear", [rows, step], "stored", axis=0, output_dtype=TensorProto.INT8
        )
        back = put("DequantizeLinear", [stored, step], "in_steps", axis=0)
        if matrix:
            return back
        return put("Reshape", [back, put("Shape", [name], "shape")], "as_given")

    def _put(self, node: NodeProto, new: NodeProto) -> None:
        self.before.setdefault(node.name, []).append(new)

    def finish(self) -> None:
        """Write the nodes in their order; weights that nothing reads any more go."""
        from kpu_ir.frontends.onnx.order import sort_nodes

        nodes = [n for node in self.graph.node for n in (*self.before.get(node.name, ()), node)]
        given = {t.name for t in self.graph.initializer} | {i.name for i in self.graph.input}
        nodes = sort_nodes(nodes, given)  # a converter may leave another order
        read = {name for node in nodes for name in node.input} | {o.name for o in self.graph.output}
        nodes = [n for n in nodes if n.output[0] not in self.turned or n.output[0] in read]
        kept = [type(n).FromString(n.SerializeToString()) for n in nodes]
        del self.graph.node[:]
        self.graph.node.extend(kept)
        used = {name for node in kept for name in node.input} | {o.name for o in self.graph.output}
        for tensor in [t for t in self.graph.initializer if t.name not in used]:
            self.graph.initializer.remove(tensor)
        names = {t.name for t in self.graph.initializer}
        for info in [i for i in self.graph.input if i.name in self.weights and i.name not in names]:
            self.graph.input.remove(info)


def _typed(model: ModelProto) -> list[Any]:
    """What is known of the shapes of a model's tensors."""
    from onnx import shape_inference

    try:
        graph = shape_inference.infer_shapes(model).graph
    except Exception:  # too large, or wrong: a reshape more is all that it takes
        graph = model.graph
    return [*graph.input, *graph.value_info]
