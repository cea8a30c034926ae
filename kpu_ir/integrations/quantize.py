"""A quantized copy of an ONNX model, in standard ONNX that other runtimes run too.

Activations in bytes need calibration data and are onnxruntime's work (``quantize_static``): it finds ranges
and places QuantizeLinear and DequantizeLinear. Weights alone, and rows of activations in steps of their own
range, need none (``quantize_weights``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kpu_ir.integrations.quantize_model import (
    FLOATS_OF_STEPS,
    REQUANTIZE,
    Activations,
    Method,
    Requantize,
    Rounding,
    Settings,
    Weights,
    loaded,
    serialized,
)
from kpu_ir.integrations.quantize_ports import short_ports, shorten_ports
from kpu_ir.support.errors import KpuError
from kpu_ir.support.files import path_of, write_atomically
from kpu_ir.support.lines import allowed
from kpu_ir.support.types import Array

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

    from kpu_ir.integrations.quantize_report import Report


@dataclass(frozen=True)
class Quantized:
    """A quantized model. ``layers``: nodes whose products are of quantized numbers; ``kept``: those that
    stay in floats, and why."""

    model: ModelProto
    settings: Settings
    layers: tuple[str, ...]
    kept: Mapping[str, str]
    source: Path
    calibration: tuple[dict[str, Array], ...] = ()

    def __repr__(self) -> str:
        kind = f"weights {self.settings.weights}, activations {self.settings.activations}"
        kept = f", {len(self.kept)} kept in floats" if self.kept else ""
        return f"<Quantized {self.source.name}: {kind}, {len(self.layers)} layers{kept}>"

    def save(self, path: str | Path) -> None:
        """Write the model, whole or not at all."""
        write_atomically(path, serialized(self.model))

    def report(self, machine: Any = None, search: str = "none") -> Report:
        """Each layer's signal-to-noise ratio, and the predicted cycles, bytes and energy of both models."""
        from kpu_ir.integrations.quantize_report import report

        return report(
            self.source,
            self.model,
            self.layers,
            self.kept,
            self.calibration,
            self.settings,
            machine,
            search,
        )


def quantize(
    model: str | Path,
    output: str | Path | None = None,
    calibrate: Mapping[str, Any] | str | Path | None = None,
    *,
    weights: Weights = "i8",
    activations: Activations = "u8",
    block: int | None = None,
    per_token: bool = False,
    exclude: str | Sequence[str] = (),
    method: Method = "minmax",
    rounding: Rounding | None = None,
    requantize: Requantize = "f32",
    io_f16: str | Sequence[str] = (),
    progress: Callable[[str], None] = lambda stage: None,
) -> Quantized:
    """A quantized copy of an ``.onnx`` file; written to ``output`` if that is given.

    ``calibrate``: inputs by name, or an ``.npz`` of them: many items, stacked or along their first axis.
    Activations ``u8`` are around a zero point, ``i8`` around 0; both in steps that calibration finds, per
    tensor, or with ``per_token`` (i8) in steps of each row's largest. ``f16`` makes floats of 16 bits of all, and
    with ``none`` they stay; weights alone are quantized then.
    Weights: around 0, per output channel; ``i4`` and those with ``block`` in blocks along k. With ``rounding``
    ``gptq`` (the default where there is calibration data) they are rounded so that products of such inputs stay close.
    ``requantize``: how sums become bytes again, one product in ``f32`` or rounded twice in integers
    (``double``); the file says so in a property, which other runtimes do not read.
    ``io_f16``: a pattern or several of the names of inputs and results of f32 that become f16, as caches
    (``"*"``: all); the others stay f32.
    ``exclude``: a pattern or several (``*fc*``) of the names of nodes that stay as they are.
    Raises ``KpuError``, and writes nothing, for what cannot be quantized so.
    """
    patterns = (exclude,) if isinstance(exclude, str) else tuple(exclude)
    short = (io_f16,) if isinstance(io_f16, str) else tuple(io_f16)
    chosen = rounding or ("nearest" if calibrate is None else "gptq")
    settings = Settings(
        weights, activations, block, per_token, patterns, method, chosen, requantize, short
    )
    path = path_of(model)
    if path.suffix != ".onnx":
        raise KpuError("only ONNX models are quantized", str(path))
    if calibrate is not None and not settings.static and settings.rounding == "nearest":
        raise KpuError("calibration data does nothing: no range is fixed in advance, and weights "
                       "become their nearest steps")  # fmt: skip
    if calibrate is None and settings.rounding == "gptq":
        raise KpuError(
            "weights are rounded by what they multiply, which is not known",
            hint="--calibrate data.npz with typical inputs; or --rounding nearest",
        )
    if calibrate is None and settings.static:
        raise KpuError(
            "activations in steps that are fixed need calibration data",
            hint="--calibrate data.npz with typical inputs; or --per-token, or --activations none",
        )
    progress("reading")
    proto = loaded(path)
    kept = excluded(proto, settings.exclude)
    ports = short_ports(proto, settings.io_f16)
    items: list[dict[str, Array]] = []
    try:
        if calibrate is not None:
            items = calibration_of(proto, calibrate)
        if settings.static:
            from kpu_ir.integrations.quantize_static import quantized_statically

            refuse_quantized(proto)
            progress("calibrating")
            made = quantized_statically(proto, settings, items, kept)
            found = Quantized(*made[:1], settings, *made[1:], path, tuple(items))
        else:
            from kpu_ir.integrations.quantize_weights import quantized_weights

            progress("quantizing")
            made = quantized_weights(proto, settings, kept, items)
            found = Quantized(*made[:1], settings, *made[1:], path, tuple(items))
    except KpuError as error:
        error.where = f"{path}: {error.where}" if error.where else str(path)
        raise
    if settings.activations != "f16":  # that form's converter has done it
        shorten_ports(found.model, ports)
    if requantize != "f32":
        found.model.metadata_props.add(key=REQUANTIZE, value=requantize)
    if not found.layers and FLOATS_OF_STEPS not in found.kept.values():
        raise KpuError("there is nothing to quantize in it", str(path))
    if output is not None:
        found.save(output)
    return found


def excluded(model: ModelProto, patterns: Sequence[str]) -> dict[str, str]:
    """The nodes that patterns name. Raises ``KpuError`` for a pattern that names none."""
    kept: dict[str, str] = {}
    for pattern in patterns:
        found = [n.name for n in model.graph.node if fnmatchcase(n.name, pattern)]
        if not found:
            names = [n.name for n in model.graph.node if n.op_type in ("Conv", "Gemm", "MatMul")]
            raise KpuError(f"no node is called {pattern!r}", hint=allowed(pattern, names, "layers"))
        kept |= dict.fromkeys(found, f"excluded by {pattern!r}")
    return kept


def refuse_quantized(model: ModelProto) -> None:
    """Raises ``KpuError`` for a model whose activations are in steps already: others around them lose twice."""
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear") or "QLinear" in node.op_type:
            raise KpuError(
                "the model is quantized already",
                f"node {node.name!r} ({node.op_type})",
                "give the model in floats, from which it was made",
            )


def calibration_of(
    model: ModelProto, given: Mapping[str, Any] | str | Path | None
) -> list[dict[str, Array]]:
    """The items of calibration data. Raises ``KpuError`` for data of another shape or type."""
    from xdsl.dialects.builtin import TensorType

    from kpu_ir.frontends.onnx.declared import dtype_of_input, given_value
    from kpu_ir.program.batches import split
    from kpu_ir.support.types import element_type_of

    arrays = _arrays(given)
    weights = {t.name for t in model.graph.initializer}
    infos = {i.name: i for i in model.graph.input if i.name not in weights}
    missing = [name for name in infos if name not in arrays]
    if missing:
        raise KpuError(
            f"calibration data lacks input {missing[0]!r}", hint=f"it has {', '.join(arrays)}"
        )
    ports: list[tuple[str, TensorType[Any]]] = []
    for name, info in infos.items():
        kind = element_type_of(dtype_of_input(info))
        ports.append((name, TensorType(kind, _item_shape(info, arrays[name]))))
    items = split(ports, arrays)
    if not items:
        raise KpuError("calibration data has no items", hint="give typical inputs")
    for name in infos:
        if not all(finite(item[name]) for item in items):
            raise KpuError(
                f"calibration data for input {name!r} has NaNs or infinities",
                hint="ranges are found in it: check where it comes from",
            )
    return [{n: given_value(infos[n], a) for n, a in item.items()} for item in items]


def finite(array: Array) -> bool:
    """Whether all of an array's numbers are finite."""
    return array.dtype.kind in "biu" or bool(np.isfinite(array).all())


def _arrays(given: Mapping[str, Any] | str | Path | None) -> dict[str, Array]:
    if isinstance(given, Mapping):
        return {name: np.asarray(value) for name, value in given.items()}
    from kpu_ir.program.arrays import ArrayFile

    assert given is not None
    return ArrayFile(path_of(given)).read()


def _item_shape(info: ValueInfoProto, array: Array) -> list[int]:
    """The shape of one item: as declared; where it is open, the data's, along the first axis 1."""
    dims = info.type.tensor_type.shape.dim
    stacked = array.ndim == len(dims) + 1
    own = list(array.shape[1:] if stacked else array.shape)
    if len(own) != len(dims):
        raise KpuError(
            f"calibration data of shape {array.shape} for {info.name!r}, which has {len(dims)} dimensions"
        )
    if not stacked and own:
        own[0] = 1
    return [d.dim_value if d.HasField("dim_value") else n for d, n in zip(dims, own)]
