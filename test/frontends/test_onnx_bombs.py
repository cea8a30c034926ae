"""Small ONNX files that ask for a lot are refused at once, by the node that asks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from onnx_models import model, node, normal, port

from kpu_ir.frontends.onnx import import_onnx
from kpu_ir.support.errors import KpuError

MUCH = 1 << 40
X, W, ONE = normal(1, 1, 8, 8), normal(1, 1, 3, 3), normal(1)

BOMBS: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "pads": (node("Conv", "x w", "y", "n", pads=[MUCH] * 4), {"x": X}, {"w": W}),
    "pads of a pooling": (
        node("MaxPool", "x", "y", "n", kernel_shape=[3, 3], pads=[MUCH] * 4), {"x": X}, {},
    ),
    "window": (
        node("AveragePool", "x", "y", "n", kernel_shape=[1 << 20] * 2, pads=[1 << 20] * 4),
        {"x": X}, {},
    ),
    "transposed": (
        node("ConvTranspose", "x w", "y", "n", strides=[1 << 20] * 2), {"x": X}, {"w": W},
    ),
    "transposed integers": (
        node("ConvTranspose", "x w", "y", "n"), {"x": X}, {"w": np.ones((1, 1, 3, 3), np.int64)},
    ),
    "reflection": (
        node("Pad", "x p", "y", "n", mode="reflect"), {"x": X},
        {"p": np.array([0, 0, 0, MUCH, 0, 0, 0, 0])},
    ),
    "repeats": (node("Tile", "x p", "y", "n"), {"x": X}, {"p": np.array([MUCH] * 4)}),
    "shape": (node("Expand", "x s", "y", "n"), {"x": ONE}, {"s": np.array([MUCH] * 2)}),
    "depth": (
        node("OneHot", "i d v", "y", "n"), {"i": np.array([1])},
        {"d": np.array([MUCH]), "v": np.float32([0, 1])},
    ),
    "scale": (node("Resize", "x _ s", "y", "n"), {"x": X}, {"s": np.float32([1, 1, 1e30, 1])}),
    "no scale": (node("Resize", "x _ s", "y", "n"), {"x": X}, {"s": np.float32([1, 1, np.nan, 1])}),
    "sizes": (
        node("Resize", "x _ _ s", "y", "n", mode="linear"), {"x": X},
        {"s": np.array([1, 1, MUCH, 1])},
    ),
    "identity": (node("EyeLike", "x", "y", "n"), {"x": port("x", [1 << 20] * 2)}, {}),
    "triangle": (node("Trilu", "x", "y", "n"), {"x": port("x", [1 << 18] * 2)}, {}),
    "parts": (node("Split", "x", "y", "n", num_outputs=MUCH, axis=3), {"x": X}, {}),
    "frames": (
        node("STFT", "x s _ l", "y", "n"), {"x": port("x", [1, 1 << 30, 1])},
        {"s": np.array(1), "l": np.array(1024)},
    ),
    "places": (node("Hardmax", "x", "y", "n"), {"x": port("x", [2, MUCH])}, {}),
    "steps": (
        node("LSTM", "x w r", "y", "n", hidden_size=4), {"x": port("x", [100_000, 1, 4])},
        {"w": normal(1, 16, 4), "r": normal(1, 16, 4)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BOMBS)
def test_bombs(case: str):
    bomb, inputs, constants = BOMBS[case]
    with pytest.raises(KpuError) as caught:
        import_onnx(model([bomb], inputs, constants))
    assert caught.value.where == f"node 'n' ({bomb.op_type})"


@pytest.mark.parametrize(
    "source",
    [
        node("ConstantOfShape", "s", "c", "n"),
        node("HannWindow", "t", "c", "n"),
        node("Range", "zero t one", "c", "n"),
    ],
)
def test_bombs_of_what_is_known(source: Any):
    constants = {"s": np.array([MUCH, MUCH]), "t": np.array(MUCH), "zero": np.array(0),
                 "one": np.array(1)}  # fmt: skip
    nodes = [source, node("Cast", "c", "f", to=TensorProto.FLOAT), node("Add", "f x", "y")]
    with pytest.raises(KpuError) as caught:
        import_onnx(model(nodes, {"x": ONE}, constants))
    assert "'n'" in str(caught.value)


@pytest.mark.parametrize("location", ["a\0b", "x" * 5000, "a/" * 3000])
@pytest.mark.parametrize("where", ["initializer", "Constant"])
def test_places_of_data_that_cannot_be(tmp_path: Any, location: str, where: str):
    held = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    held.data_location = TensorProto.EXTERNAL
    held.external_data.add(key="location", value=location)
    first = [node("Constant", "", "w", "n", value=held)] if where == "Constant" else []
    proto = model([*first, node("Add", "x w", "y")], {"x": ONE})
    if not first:
        proto.graph.initializer.append(held)
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(KpuError, match="tensor 'w' points to data outside"):
        import_onnx(path)
    held.dims[0] = -1
    proto = model([node("Add", "x w", "y")], {"x": ONE})
    proto.graph.initializer.append(held)
    with pytest.raises(KpuError, match=r"its shape is \[-1\]"):
        import_onnx(proto)
