"""Quantized forms of the reference models, and onnxruntime beside them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from common import need
from onnx import helper

from kpu_ir.integrations.exact_products import exact_products
from kpu_ir.integrations.onnxruntime import oracle
from kpu_ir.integrations.quantize import calibration_of, quantize

Arrays = Mapping[str, Any]
Form = Callable[[Path, Arrays, Path], None]
"""Writes a form of a model, calibrated with data, to another path."""


def ours(**settings: Any) -> Form:
    """By ``kpu-quantize``."""

    def make(path: Path, data: Arrays, target: Path) -> None:
        static = settings.get("activations", "u8") in ("u8", "i8") and not settings.get("per_token")
        quantize(path, target, data if static else None, **settings)

    return make


def theirs(format: str) -> Form:
    """By onnxruntime's quantizer alone, with a scale for each output channel: ``QDQ`` or ``QOperator``
    (QLinearConv and the like)."""

    def make(path: Path, data: Arrays, target: Path) -> None:
        package: Any = need("onnxruntime.quantization", "onnxruntime")
        items = iter(calibration_of(onnx.load(path), data))
        reader = type("Reader", (), {"get_next": lambda self: next(items, None)})()
        package.quantize_static(
            path, target, reader, quant_format=package.QuantFormat[format], per_channel=True,
            activation_type=package.QuantType.QUInt8, weight_type=package.QuantType.QInt8,
        )  # fmt: skip

    return make


def dynamic(path: Path, data: Arrays, target: Path) -> None:
    """Steps of each tensor's own range, found as the model runs."""
    package: Any = need("onnxruntime.quantization", "onnxruntime")
    package.quantize_dynamic(path, target, per_channel=True, weight_type=package.QuantType.QInt8)


def in_four_bits(path: Path, data: Arrays, target: Path) -> None:
    """Weights of 4 bits in blocks of 32; of the small networks for digits, whose rows 32 does not divide, of 16."""
    block = 16 if path.stem.startswith("digits-") else None
    ours(weights="i4", activations="none", block=block)(path, data, target)


FORMS: dict[str, Form] = {
    "qdq": ours(),
    "qoperator": theirs("QOperator"),
    "dynamic": dynamic,
    "per token": ours(per_token=True, activations="i8"),
    "i4 weights": in_four_bits,
}


def session(model: Any, outputs: Sequence[str] = ()) -> Any:
    """onnxruntime, without what it computes otherwise than is written."""
    runtime = oracle()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    there = {o.name for o in model.graph.output}
    added = [n for n in outputs if n not in there]
    model.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in added)
    data = exact_products(model).SerializeToString()
    if added:
        del model.graph.output[-len(added) :]
    return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def first(path: Path) -> dict[str, Any]:
    """The arrays of a file."""
    with np.load(path) as file:
        return dict(file)


def written(paths: Sequence[Path], forms: Sequence[str]) -> Iterator[tuple[Path, str, Path]]:
    """The forms of models with their inputs in a file beside them, in files as long as they are looked at."""
    for path in paths:
        cases = path.with_suffix(".cases.npz")
        data = first(cases if cases.exists() else path.with_suffix(".npz"))
        for form in forms:
            with tempfile.TemporaryDirectory() as temporary:
                target = Path(temporary, path.name)
                try:
                    FORMS[form](path, data, target)
                except Exception as error:
                    why = str(error).splitlines()[0]
                    print(f"| {path.stem} | {form} | not made: {why} | | | | |")
                    continue
                yield path, form, target
