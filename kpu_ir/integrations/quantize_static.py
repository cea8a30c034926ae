"""Activations in steps that calibration finds: ranges and QDQ nodes by onnxruntime's quantizer."""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kpu_ir.integrations.quantize_model import (
    FLOATS_OF_STEPS,
    PRODUCTS,
    Settings,
    never_quantized,
    of_version,
)
from kpu_ir.integrations.quantize_moments import samples_of
from kpu_ir.integrations.quantize_refine import (
    best_range,
    round_by_products,
    with_float_operands,
    with_float_results,
)
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array

if TYPE_CHECKING:
    from onnx import ModelProto

WIDE = 1e4
"""A range beyond which a tensor holds no values in steps of 1/255 of it, but a mask (-1e4, -3.4e38)."""

LARGEST_BIAS = 2.0**30
"""Steps of a sum beyond which a bias stays in floats: sum and bias are added in i32."""

LEAST_VERSION = 13
"""Of ONNX's operators: the first with a scale for each channel."""


def quantizer() -> Any:
    """onnxruntime's ``quantization`` package, or what to do about its absence."""
    try:
        import onnxruntime.quantization as package
    except ImportError:
        raise KpuError(
            "calibration is onnxruntime's, which is not there",
            hint="pip install 'kpu-ir[quantize]'",
        ) from None
    return package


class _Reader:
    """Calibration data as onnxruntime reads it."""

    def __init__(self, items: Sequence[Mapping[str, Array]]) -> None:
        self.items = iter(items)

    def get_next(self) -> Mapping[str, Array] | None:
        """The next item; None after the last."""
        return next(self.items, None)


def quantized_statically(
    model: ModelProto,
    settings: Settings,
    items: Sequence[Mapping[str, Array]],
    kept: Mapping[str, str],
) -> tuple[ModelProto, tuple[str, ...], dict[str, str]]:
    """The model with QDQ nodes, the layers that are quantized, and those that are not, and why.

    Weights are around 0 and have a scale for each output channel. Calibrates once; what holds a mask stays in
    floats.
    """
    import onnx

    package = quantizer()
    model = with_plain_biases(of_version(model, LEAST_VERSION))
    types = {n.op_type for n in model.graph.node}
    attention = "Softmax" in types and _has_product_of_activations(model)
    left = dict(kept)
    with tempfile.TemporaryDirectory(prefix="kpu-quantize.") as folder, _quiet():
        source, made = Path(folder, "model.onnx"), Path(folder, "made.onnx")
        ranges = Path(folder, "ranges.json")
        source.write_bytes(model.SerializeToString())

        def run() -> None:
            if made.exists():
                made.unlink()
            package.quantize_static(
                source,
                made,
                None if ranges.exists() else _Reader(items),
                quant_format=package.QuantFormat.QDQ,
                op_types_to_quantize=list(PRODUCTS) if attention else None,
                per_channel=True,
                activation_type=package.QuantType[
                    "QUInt8" if settings.activations == "u8" else "QInt8"
                ],
                weight_type=package.QuantType.QInt8,
                nodes_to_exclude=list(left),
                calibrate_method=_method(package, settings),
                calibration_cache_path=ranges,
                extra_options={
                    "ActivationSymmetric": settings.activations == "i8",
                    "WeightSymmetric": True,
                    **(_of_attention(package, model, left) if attention else {}),
                },
            )

        try:
            run()
            wide = _wide(json.loads(ranges.read_text()))
            if settings.method == "mse":
                ranges.write_text(json.dumps(_fitted(model, json.loads(ranges.read_text()), items,
                                                     settings.activations == "i8")))  # fmt: skip
            masked = {n.name: "its range is a mask's" for n in model.graph.node
                      if wide.intersection((*n.input, *n.output)) and n.name not in left}  # fmt: skip
            if masked:
                left |= masked
            if masked or settings.method == "mse":
                run()
            result = onnx.load(made)
            if attention:
                store_biases(result)
        except KpuError:
            raise
        except Exception as error:  # of its own classes, and of protobuf's
            text = str(error).strip().splitlines()
            raise KpuError(
                f"onnxruntime's quantizer: {text[0] if text else type(error).__name__}"
            ) from None
    layers = layers_of(result)
    with_float_results(model, result)
    with_float_operands(model, result, kept)
    if settings.rounding == "gptq":
        round_by_products(model, result, layers, items)
    never = never_quantized(model, FLOATS_OF_STEPS)
    named = {n.name for n in model.graph.node if n.op_type in PRODUCTS} | never.keys()
    left = {name: why for name, why in left.items() if name in named}
    for name in sorted(named - set(layers) - left.keys()):
        left[name] = "no operand has a range"
    left |= {name: why for name, why in never.items()
             if name in layers or (why != FLOATS_OF_STEPS and name not in kept)}  # fmt: skip
    return result, tuple(name for name in layers if name not in never), left


def with_plain_biases(model: ModelProto) -> ModelProto:
    """A copy whose Gemms have known biases as onnxruntime's quantizer takes them: a number a column, as they are.

    It counts ``beta`` twice, which becomes part of the bias, and fails where that is of shape () or (1, n), which
    becomes (n). What differs from row to row is added behind the product.
    """
    from onnx import helper, numpy_helper

    result = type(model).FromString(model.SerializeToString())
    held = {t.name: t for t in result.graph.initializer}
    for node in list(result.graph.node):
        bias = node.input[2] if node.op_type == "Gemm" and len(node.input) > 2 else ""
        if bias not in held:
            continue
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        beta, value = given.get("beta", 1.0), numpy_helper.to_array(held[bias])
        weights = held.get(node.input[1])
        columns = weights.dims[0 if given.get("transB", 0) else 1] if weights is not None else None
        if beta == 1 and value.shape == (columns,):
            continue
        for attribute in [a for a in node.attribute if a.name == "beta"]:
            node.attribute.remove(attribute)
        value, name = value * value.dtype.type(beta), f"{node.name}_bias_of_{bias}"
        same = value.size == max(value.shape[-1:], default=1)  # in every row
        if same and columns is not None and value.size in (1, columns):
            value = np.ascontiguousarray(np.broadcast_to(value.reshape(-1), (columns,)))
            node.input[2] = name
        else:
            y, product = node.output[0], f"{node.output[0]}_without_bias"
            del node.input[2]
            node.output[0] = product
            add = helper.make_node("Add", [product, name], [y], f"{node.name}_bias")
            result.graph.node.insert(list(result.graph.node).index(node) + 1, add)
        result.graph.initializer.append(numpy_helper.from_array(value, name))
    _remove_unread(result)
    return result


def _remove_unread(model: ModelProto) -> None:
    """Take away the weights that nothing reads."""
    graph = model.graph
    read = {name for node in graph.node for name in node.input} | {o.name for o in graph.output}
    for tensor in [t for t in graph.initializer if t.name not in read]:
        graph.initializer.remove(tensor)


def _of_attention(package: Any, model: ModelProto, left: Mapping[str, str]) -> dict[str, Any]:
    """Options where there is attention. A product's result is not quantized for its own sake, only where
    another product reads it: what is between (biases, masks, softmax, GELU, residual sums) takes the sum in
    floats, without two roundings on the way. What two activations' product reads is around 0 where it may have
    both signs: a zero point costs sums of the other operand's rows as the model runs."""
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    weights = {t.name for t in model.graph.initializer}
    around = {"quant_type": package.QuantType.QInt8, "symmetric": True}
    overrides = {
        name: [around]
        for node in model.graph.node
        if node.op_type == "MatMul"
        and node.name not in left
        and not weights.intersection(node.input)
        for name in node.input
        if name in makers and makers[name] != "Softmax"
    }
    return {
        "OpTypesToExcludeOutputQuantization": list(PRODUCTS),
        "TensorQuantOverrides": overrides,
    }


def store_biases(model: ModelProto) -> None:
    """Let what is added to a product of dequantized tensors, a number a column, be stored as its sums are:
    i32 in steps of the product of both scales, as the bias of a Conv or a Gemm is."""
    from onnx import helper, numpy_helper

    graph = model.graph
    held = {t.name: t for t in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    users = Counter(name for node in graph.node for name in node.input)
    given = {o.name for o in graph.output}
    for node in list(graph.node):
        product = next((makers[n] for n in node.input if n in makers), None)
        if node.op_type != "Add" or product is None or product.op_type != "MatMul":
            continue
        result = product.output[0]
        other = next((n for n in node.input if n != result), "")
        operands = [makers.get(name) for name in product.input]
        if users[result] != 1 or result in given or other not in held:
            continue
        scales = [_known_scale(op, held) for op in operands]
        bias = numpy_helper.to_array(held[other])
        if bias.ndim != 1 or bias.dtype != np.float32 or any(s is None for s in scales):
            continue
        one, columns = (np.asarray(s, np.float32) for s in scales)
        step = np.broadcast_to(one.reshape(-1) * columns.reshape(-1), bias.shape) if (
            one.size == 1 and columns.size in (1, bias.size)
        ) else None  # fmt: skip
        if step is None or not (step > 0).all() or (abs(bias) >= step * LARGEST_BIAS).any():
            continue
        names = [f"{node.name}_bias_{part}" for part in ("stored", "scale", "real")]
        graph.initializer.extend([
            numpy_helper.from_array(np.rint(bias / step).astype(np.int32), names[0]),
            numpy_helper.from_array(np.ascontiguousarray(step), names[1]),
        ])  # fmt: skip
        real = helper.make_node("DequantizeLinear", names[:2], names[2:], names[2], axis=0)
        graph.node.insert(list(graph.node).index(node), real)
        node.input[list(node.input).index(other)] = names[2]
    _remove_unread(model)


def _known_scale(op: Any, held: Mapping[str, Any]) -> Array | None:
    """The scale of a dequantize node, if it is known."""
    from onnx import numpy_helper

    if op is None or op.op_type != "DequantizeLinear" or op.input[1] not in held:
        return None
    return numpy_helper.to_array(held[op.input[1]])


def _method(package: Any, settings: Settings) -> Any:
    names = {"minmax": "MinMax", "mse": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
    return package.CalibrationMethod[names[settings.method]]


def _wide(ranges: Mapping[str, Any]) -> set[str]:
    """The tensors of a calibration whose values are a mask's, or no numbers."""

    def ends(entry: Any) -> list[float]:
        found: list[float] = []
        for key in ("lowest", "highest"):
            held = entry.get(key)
            held = held.get("data", held.get("value")) if isinstance(held, Mapping) else held
            found += np.asarray(0.0 if held is None else held, np.float64).reshape(-1).tolist()
        return found

    entries = ranges.get("data", {})
    return {name for name, entry in entries.items() if not all(abs(e) < WIDE for e in ends(entry))}


def _fitted(
    model: ModelProto, ranges: dict[str, Any], items: Sequence[Mapping[str, Array]], around_0: bool
) -> dict[str, Any]:
    """Ranges that leave the least squared error of each tensor's elements: a few that are cut off pay for finer steps
    of all others."""
    made = {name for node in model.graph.node for name in node.output}
    entries = ranges.get("data", {})
    wide = _wide(ranges)
    names = [n for n in entries if n in made and n not in wide]
    for name, sample in samples_of(model, names, items).items():
        held = [entries[name][key] for key in ("lowest", "highest")]
        lowest, highest = (float(np.asarray(h["data"] if isinstance(h, Mapping) else h).reshape(()))
                           for h in held)  # fmt: skip
        for key, end in zip(("lowest", "highest"), best_range(sample, lowest, highest, around_0)):
            entries[name][key] = {"CLS": "numpy.array", "data": end, "dtype": "float32"}
    return ranges


def layers_of(model: ModelProto) -> tuple[str, ...]:
    """The products all of whose operands are dequantized."""
    makers = {name: node.op_type for node in model.graph.node for name in node.output}
    return tuple(
        node.name
        for node in model.graph.node
        if node.op_type in PRODUCTS
        and all(makers.get(name) == "DequantizeLinear" for name in node.input[:2])
    )


def _has_product_of_activations(model: ModelProto) -> bool:
    weights = {t.name for t in model.graph.initializer}
    return any(
        n.op_type == "MatMul" and not weights.intersection(n.input) for n in model.graph.node
    )


@contextmanager
def _quiet() -> Generator[None]:
    """Without onnxruntime's advice and progress: they are about what was decided here."""
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with redirect_stdout(StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's, of a mask's infinite steps
            yield
    finally:
        logger.setLevel(before)
