"""Quantized operations of PyTorch, as QuantizeLinear and DequantizeLinear: what PT2E writes.

``torch.export``, ``prepare_pt2e`` and ``convert_pt2e`` leave ``quantized_decomposed.*`` and
``torchao.*`` in a graph. PyTorch's exporter knows some of them, and leaves out the ends of those that it
knows (``quant_min``, ``quant_max``). Here each is what it is in ONNX: per tensor, per channel, per token,
or in groups along a dimension, with a clamp where the ends are not the type's.

PyTorch multiplies by ``1 / scale``, QuantizeLinear divides by the scale: at a tie they may be a step apart.
"""

# pyright: reportMissingImports=false, reportUnknownParameterType=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from kpu_ir.support.errors import KpuError

Formula = Callable[..., Any]
DOMAIN = "com.microsoft"
"""Its QuantizeLinear has blocks in every version of the operators."""


def formula_of(target: Any) -> Formula | None:
    """What takes the place of an operation of PyTorch's; None for one that stays."""
    name = str(target).removesuffix(".default")
    return FORMULAS.get(name) if name.startswith(("quantized_decomposed.", "torchao.")) else None


def _limits(dtype: torch.dtype) -> tuple[int, int]:
    info = torch.iinfo(dtype)
    return info.min, info.max


def _parameters(
    scale: Any, zero: Any, dtype: torch.dtype, shape: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """A scale in f32 and a zero point of the stored type, of a shape."""
    s, z = (v if isinstance(v, torch.Tensor) else torch.tensor(v) for v in (scale, zero))
    s, z = s.to(torch.float32).reshape(tuple(shape)), z.to(dtype)
    return s, z.reshape(tuple(shape)) if z.numel() == s.numel() else z.expand(tuple(shape))


def _operator(name: str, operands: Sequence[Any], dtype: torch.dtype, **attributes: Any) -> Any:
    """An operator of ONNX in the graph."""
    symbolic = getattr(getattr(torch.onnx, "ops", None), "symbolic", None)
    if symbolic is None:
        raise KpuError(
            f"quantized operations need PyTorch 2.8 or later, this is {torch.__version__}"
        )
    x = operands[0]
    return symbolic(
        f"{DOMAIN}::{name}", tuple(operands), attributes, dtype=dtype, shape=x.shape, version=1
    )


def _quantized(
    x: torch.Tensor, scale: Any, zero: Any, low: int | None, high: int | None,
    dtype: torch.dtype, shape: Sequence[int] = (), **where: Any,
) -> torch.Tensor:  # fmt: skip
    """``clamp(round(x / scale) + zero, low, high)``; without ends those of the type."""
    least, most = _limits(dtype)
    low, high = least if low is None else low, most if high is None else high
    if dtype == torch.int32:  # a bias: no type of quantized numbers
        s, z = _parameters(scale, zero, dtype, shape)
        return torch.clamp(torch.round(x * (1.0 / s)) + z, low, high).to(dtype)
    s, z = _parameters(scale, zero, dtype, shape)
    y = _operator("QuantizeLinear", (x.to(torch.float32), s, z), dtype, **where)
    return y if (low, high) == (least, most) else torch.clamp(y, low, high)


def _dequantized(
    q: torch.Tensor, scale: Any, zero: Any, out: torch.dtype | None, shape: Sequence[int] = (),
    **where: Any,
) -> torch.Tensor:  # fmt: skip
    """``(q - zero) scale``."""
    s, z = _parameters(scale, zero, q.dtype, shape)
    y = _operator("DequantizeLinear", (q, s, z), torch.float32, **where)
    return y if out is None else y.to(out)


# -- quantized_decomposed ---------------------------------------------------------------------------


def quantize_per_tensor(
    x: Any, scale: Any, zero: Any, low: Any, high: Any, dtype: torch.dtype
) -> Any:
    """One scale and one zero point; ends may be tensors, of which then those of the type hold."""
    least, most = (None if isinstance(v, torch.Tensor) else v for v in (low, high))
    return _quantized(x, scale, zero, least, most, dtype)


def dequantize_per_tensor(
    q: Any, scale: Any, zero: Any, low: Any, high: Any, dtype: torch.dtype, *,
    out_dtype: torch.dtype | None = None,
) -> Any:  # fmt: skip
    """Back, in ``out_dtype`` (f32)."""
    return _dequantized(q, scale, zero, out_dtype)


def quantize_per_channel(
    x: Any, scale: Any, zero: Any, axis: int, low: int, high: int, dtype: torch.dtype
) -> Any:
    """A scale for each element of a dimension."""
    return _quantized(x, scale, zero, low, high, dtype, [x.shape[axis]], axis=axis)


def dequantize_per_channel(
    q: Any, scale: Any, zero: Any, axis: int, low: int, high: int, dtype: torch.dtype, *,
    out_dtype: torch.dtype | None = None,
) -> Any:  # fmt: skip
    """Back; without zero points they are 0."""
    zero = 0 if zero is None else zero
    return _dequantized(q, scale, zero, out_dtype, [q.shape[axis]], axis=axis)


def _row(x: Any) -> dict[str, Any]:
    """A scale for each row: the last dimension is one block."""
    return {"shape": [*x.shape[:-1], 1], "axis": x.dim() - 1, "block_size": x.shape[-1]}


def quantize_per_token(
    x: Any, scale: Any, zero: Any, low: int, high: int, dtype: torch.dtype
) -> Any:
    """A scale for each row."""
    return _quantized(x, scale, zero, low, high, dtype, **_row(x))


def dequantize_per_token(
    q: Any, scale: Any, zero: Any, low: int, high: int, dtype: torch.dtype,
    output_dtype: torch.dtype = torch.float32,
) -> Any:  # fmt: skip
    """Back."""
    return _dequantized(q, scale, zero, output_dtype, **_row(q))


def _groups(x: Any, size: int) -> dict[str, Any]:
    """A scale for each ``size`` neighbours of a row."""
    size = min(size, x.shape[-1])
    return {"shape": [x.shape[0], x.shape[1] // size], "axis": 1, "block_size": size}


def quantize_per_channel_group(
    x: Any, scale: Any, zero: Any, low: int, high: int, dtype: torch.dtype, group_size: int = 128
) -> Any:
    """Weights in groups along their rows."""
    return _quantized(x, scale, zero, low, high, dtype, **_groups(x, group_size))


def dequantize_per_channel_group(
    q: Any, scale: Any, zero: Any, low: int, high: int, dtype: torch.dtype,
    group_size: int = 128, output_dtype: torch.dtype = torch.float32,
) -> Any:  # fmt: skip
    """Back; without zero points they are 0."""
    zero = 0 if zero is None else zero
    return _dequantized(q, scale, zero, output_dtype, **_groups(q, group_size))


# -- steps that are chosen as the model runs --------------------------------------------------------


def _ends(x: Any, rows: bool) -> tuple[Any, Any]:
    """The least and the largest of a tensor or of each row, 0 among them."""
    dims = [-1] if rows else list(range(x.dim()))
    low, high = x.amin(dims, keepdim=rows), x.amax(dims, keepdim=rows)
    return torch.clamp(low, max=0.0), torch.clamp(high, min=0.0)


def choose_qparams(x: Any, low: int, high: int, eps: float, dtype: torch.dtype) -> Any:
    """A step and a zero point from a tensor's range, one of each."""
    least, most = _ends(x.to(torch.float32), False)
    scale = torch.clamp((most - least) / float(high - low), min=eps)
    zero = torch.clamp(low - torch.round(least / scale), low, high)
    return scale.reshape(1), zero.reshape(1).to(torch.int32)


def choose_qparams_symmetric(x: Any, low: int, high: int, eps: float, dtype: torch.dtype) -> Any:
    """A step from a tensor's largest magnitude; bytes without a sign stand around 128."""
    least, most = _ends(x.to(torch.float32), False)
    scale = torch.clamp(torch.maximum(-least, most) / (float(high - low) / 2), min=eps)
    zero = 128 if dtype == torch.uint8 else 0
    return scale.reshape(1), torch.full((1,), zero, dtype=torch.int32)


def choose_qparams_per_token(x: Any, dtype: torch.dtype) -> Any:
    """A step from each row's largest magnitude, around 0."""
    scale = x.to(torch.float32).abs().amax([-1], keepdim=True).clamp(min=1e-5).div(127)
    return scale, torch.zeros(scale.shape, dtype=torch.int32)


def choose_qparams_per_token_asymmetric(x: Any, dtype: torch.dtype) -> Any:
    """A step and a zero point from each row's range, in bytes with a sign, as XNNPACK has it: the zero
    point is taken from the end whose error is the larger."""
    low, high = -128, 127
    least, most = _ends(x.to(torch.float32), True)
    scale = torch.clamp((most - least) / float(high - low), min=torch.finfo(torch.float32).eps)
    below, above = least / scale, most / scale
    zero = torch.where((low + below) + (high + above) > 0, low - below, high - above)
    return scale, torch.clamp(zero, low, high).round().to(torch.int32)


# -- torchao ----------------------------------------------------------------------------------------


def _blocks(shape: Sequence[int], block: Sequence[int]) -> dict[str, Any] | None:
    """Where scales of ``block`` stand, as QuantizeLinear says it; None for what it cannot say."""
    counts = [n // b for n, b in zip(shape, block)]
    wide = [a for a, b in enumerate(block) if b > 1]
    many = [a for a, c in enumerate(counts) if c > 1]
    if not many:
        return {}
    if len(many) == 1 and block[many[0]] == 1:
        return {"shape": [shape[many[0]]], "axis": many[0]}
    if len(wide) <= 1:
        axis = wide[0] if wide else len(shape) - 1
        return {"shape": counts, "axis": axis, "block_size": block[axis]}
    return None


def quantize_affine(
    x: Any, block: Sequence[int], scale: Any, zero: Any, dtype: torch.dtype,
    low: int | None = None, high: int | None = None, *more: Any, **named: Any,
) -> Any:  # fmt: skip
    """torchao's, of blocks of any shape."""
    where = _blocks(x.shape, block)
    if where is None or more or named or dtype not in STORED:
        return torch.ops.torchao.quantize_affine(
            x, block, scale, zero, dtype, low, high, *more, **named
        )
    return _quantized(x, scale, 0 if zero is None else zero, low, high, dtype, **where)


def dequantize_affine(
    q: Any, block: Sequence[int], scale: Any, zero: Any, dtype: torch.dtype,
    low: int | None = None, high: int | None = None, *more: Any,
    output_dtype: torch.dtype = torch.float32, **named: Any,
) -> Any:  # fmt: skip
    """Back."""
    where = _blocks(q.shape, block)
    if where is None or more or named or dtype not in STORED:
        return torch.ops.torchao.dequantize_affine(
            q, block, scale, zero, dtype, low, high, *more, output_dtype=output_dtype, **named
        )
    return _dequantized(q, scale, 0 if zero is None else zero, output_dtype, **where)


STORED = (torch.int8, torch.uint8, torch.int16, torch.int32)


def convert_element_type(x: Any, dtype: torch.dtype) -> Any:
    """A cast."""
    return x.to(dtype)


_DECOMPOSED: dict[str, Formula] = {
    "quantize_per_tensor": quantize_per_tensor,
    "quantize_per_tensor.tensor": quantize_per_tensor,
    "dequantize_per_tensor": dequantize_per_tensor,
    "dequantize_per_tensor.tensor": dequantize_per_tensor,
    "dequantize_per_tensor.tensor2": dequantize_per_tensor,
    "quantize_per_channel": quantize_per_channel,
    "dequantize_per_channel": dequantize_per_channel,
    "quantize_per_token": quantize_per_token,
    "dequantize_per_token": dequantize_per_token,
    "quantize_per_channel_group": quantize_per_channel_group,
    "dequantize_per_channel_group": dequantize_per_channel_group,
    "choose_qparams.tensor": choose_qparams,
    "choose_qparams_symmetric.tensor": choose_qparams_symmetric,
    "choose_qparams_per_token": choose_qparams_per_token,
    "choose_qparams_per_token_asymmetric": choose_qparams_per_token_asymmetric,
    "convert_element_type.no_fuse": convert_element_type,
}
FORMULAS: dict[str, Formula] = {
    **{f"quantized_decomposed.{name}": formula for name, formula in _DECOMPOSED.items()},
    "torchao.quantize_affine": quantize_affine,
    "torchao.dequantize_affine": dequantize_affine,
}
"""By PyTorch's names."""
