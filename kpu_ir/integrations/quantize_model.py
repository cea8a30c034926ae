"""Models that are quantized: how, their files, their versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from kpu_ir.support.errors import KpuError
from kpu_ir.support.lines import allowed

if TYPE_CHECKING:
    from onnx import ModelProto

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""The layers of a model. Where there is attention they are all that is quantized: its softmax and norms
lose too much in bytes."""

FLOATS_OF_STEPS = "its operands are in steps, its products are of floats"
"""Why a transposed convolution with quantize and dequantize nodes around it is no layer in integers."""


def never_quantized(model: ModelProto, transposed: str) -> dict[str, str]:
    """The layers that stay in floats whatever is asked for, and why; ``transposed``: what is said of convolutions
    that are."""
    recurrent = dict.fromkeys(("LSTM", "GRU", "RNN"), "recurrent layers are not quantized")
    why = {**recurrent, "ConvTranspose": transposed}
    return {n.name: why[n.op_type] for n in model.graph.node if n.op_type in why}


Weights = Literal["i8", "i4"]
Activations = Literal["u8", "i8", "f16", "none"]
Method = Literal["minmax", "mse", "entropy", "percentile"]
Rounding = Literal["nearest", "gptq"]
Requantize = Literal["f32", "double"]
REQUANTIZE = "kpu_ir.requantize"
"""The model's property that says how its sums become bytes again."""

DEFAULT_BLOCK = 32
"""Weights of 4 bits that share a scale, along k."""


@dataclass(frozen=True)
class Settings:
    """How to quantize: the options of ``kpu-quantize`` by their names."""

    weights: Weights = "i8"
    activations: Activations = "u8"
    block: int | None = None
    per_token: bool = False
    exclude: Sequence[str] = ()
    method: Method = "minmax"
    rounding: Rounding = "nearest"
    requantize: Requantize = "f32"
    io_f16: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name, kind in (
            ("weights", Weights), ("activations", Activations), ("method", Method),
            ("rounding", Rounding), ("requantize", Requantize),
        ):  # fmt: skip
            value, known = getattr(self, name), get_args(kind)
            if value not in known:
                raise KpuError(f"{name} cannot be {value!r}", hint=allowed(value, known))
        if not isinstance(self.block, int | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise KpuError(f"blocks of {self.block!r:.40} weights", hint="16 to 256 share a scale")
        if not isinstance(self.per_token, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise KpuError(f"per_token is True or False, got {self.per_token!r:.40}")
        if self.block and not 16 <= self.block <= 256:
            raise KpuError(f"blocks of {self.block} weights", hint="16 to 256 share a scale")
        if self.per_token and self.activations in ("f16", "none"):
            raise KpuError(f"rows of activations in {self.activations} have no steps")
        if not self.static and self.requantize != "f32":
            raise KpuError("requantize 'double' does nothing: products give floats")
        if not self.static and self.method != "minmax":
            raise KpuError(f"method {self.method!r} does nothing: no range is fixed in advance")
        if not self.static:
            return
        if self.weights == "i4":
            raise KpuError(
                "weights of 4 bits do not go with calibrated activations: onnxruntime refuses them",
                hint="--per-token, or --activations f16 or none",
            )
        if self.block is not None:
            raise KpuError(
                "blocks are for weights alone", hint="--per-token, or --activations none"
            )

    @property
    def static(self) -> bool:
        """Whether activations are in steps that calibration finds."""
        return self.activations in ("u8", "i8") and not self.per_token

    @property
    def requantization(self) -> str:
        """How sums become bytes again, in words."""
        if not self.static:
            return "none: products give floats"
        if self.requantize == "double":
            return "by sx sw / sy as 31 bits and a shift, each rounded, zero point, saturation"
        return "one multiplication by sx sw / sy in f32, half to even, zero point, saturation"


def loaded(path: Path) -> ModelProto:
    """The model with all its weights, each node with a name of its own."""
    from kpu_ir.frontends.onnx.load import read_model, with_data

    model = read_model(path)
    for tensor in model.graph.initializer:
        whole = with_data(tensor, path.parent)
        if whole is not tensor:
            tensor.CopyFrom(whole)
    names: set[str] = set()
    for number, node in enumerate(model.graph.node):
        if not node.name or node.name in names:
            node.name = f"{node.op_type}_{number}"
        names.add(node.name)
    return model


def stored_bytes(path: Path) -> int:
    """The size of a model, files of its weights beside it included."""
    import onnx
    from onnx.external_data_helper import uses_external_data

    model = onnx.load(path, load_external_data=False)
    beside = {
        entry.value
        for tensor in model.graph.initializer
        if uses_external_data(tensor)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return sum(p.stat().st_size for p in (path, *(path.parent / name for name in beside)))


def serialized(model: ModelProto) -> bytes:
    """A model's bytes. Raises ``KpuError`` for one that is too large for a file."""
    try:
        return model.SerializeToString()
    except ValueError as error:  # protobuf's limit of 2 GiB
        raise KpuError(f"the model is too large for one file: {error}") from None


def of_version(model: ModelProto, least: int) -> ModelProto:
    """The model in a version of ONNX's operators that has what is written into it."""
    from onnx import version_converter

    held = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    if held >= least:
        return model
    try:
        return version_converter.convert_version(model, least)
    except Exception as error:
        text = str(error).strip().splitlines()
        raise KpuError(
            f"its operators are of version {held}, and cannot be made those of version {least}: "
            f"{text[0] if text else type(error).__name__}"
        ) from None
