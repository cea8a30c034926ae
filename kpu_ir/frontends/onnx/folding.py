"""What is known at import is computed there, by ONNX's own reference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kpu_ir.frontends.onnx.node import Tensor
from kpu_ir.support.errors import KpuError
from kpu_ir.support.types import Array

if TYPE_CHECKING:
    from onnx import NodeProto

FOLDED_ELEMENTS = 4096
"""Nodes on known inputs of up to this many elements are folded at import, larger ones by passes."""

MOST_FOLDED = 1 << 16
"""Elements of a result that a few numbers say the size of."""

GROWING = {
    "ConstantOfShape": 0, "Expand": 1, "Tile": 1, "Pad": 1, "Range": 1, "OneHot": 1, "Resize": 3,
    "Reshape": 1, "BlackmanWindow": 0, "HammingWindow": 0, "HannWindow": 0, "MelWeightMatrix": 0,
    "CenterCropPad": 1, "Upsample": 1, "DFT": 1, "Col2Im": 1, "MaxUnpool": 2, "AffineGrid": 1,
}  # fmt: skip
"""Operators whose results may be far larger than what they read, and the input that says how large."""


def may_fold(proto: NodeProto, inputs: Sequence[Tensor | None]) -> bool:
    """Whether a node on known inputs is small enough, and its result too."""
    arrays = [v for v in inputs if isinstance(v, np.ndarray)]
    if sum(a.size for a in arrays) > FOLDED_ELEMENTS:
        return False
    at = GROWING.get(proto.op_type)
    if at is None:
        return True
    if proto.op_type == "Range":
        numbers = [float(a.reshape(-1)[0]) for a in arrays[:3] if a.size]
        if len(numbers) < 3 or not numbers[2] or not all(map(math.isfinite, numbers)):
            return False
        return (numbers[1] - numbers[0]) / numbers[2] <= MOST_FOLDED
    if proto.op_type == "MelWeightMatrix":
        sizes = [float(a.reshape(-1)[0]) for a in arrays[:2] if a.size]
        return math.prod(sizes) <= MOST_FOLDED * 16
    sizes = arrays[min(at, len(arrays) - 1)].reshape(-1).astype(np.float64)
    first = math.prod(arrays[0].shape)
    if proto.op_type in ("Expand", "ConstantOfShape", "Reshape", "CenterCropPad"):
        first = 1
    largest = math.prod(abs(float(n)) + 1 for n in sizes[:64].tolist())
    return first * largest <= MOST_FOLDED * 16 or proto.op_type == "Reshape"


def fold(
    proto: NodeProto, inputs: Sequence[Tensor | None], versions: Mapping[str, int]
) -> list[Array]:
    """The results of a node on known inputs."""
    from onnx.reference import ReferenceEvaluator

    feeds = {n: v for n, v in zip(proto.input, inputs) if n}
    try:
        with np.errstate(all="ignore"):
            runner: Any = ReferenceEvaluator(proto, opsets=dict(versions))
            results = runner.run(None, feeds)
    except Exception as error:
        raise KpuError(f"cannot compute it on its known inputs: {error}") from None
    if not all(isinstance(r, np.ndarray | np.generic) for r in results):
        raise KpuError("expected tensors on its known inputs, got sequences or nothing")
    return [np.asarray(r) for r in results]
