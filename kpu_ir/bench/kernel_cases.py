"""One ONNX node each, in shapes of real networks and odd ones: what ``kpu-bench kernels`` measures.

A case knows its useful work: multiply-accumulates are counted as coverage counts them, and the vector
engine's operations stand here, by class, for one element of the largest tensor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Case:
    """A node: its inputs by shape and type, constants, attributes; ``work``: operations of the vector
    engine an element, by class; of the elements of input 0 or of output 0, whichever are more, or of
    so many ``elements``. ``why``: what the docs say of a kernel far from its bound."""

    op: str
    inputs: Sequence[tuple[Shape, str]]
    constants: Sequence[Any] = ()
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    work: str = "add"
    outputs: int = 1
    elements: int | None = None
    opset: int = 21
    domain: str = ""
    why: str = ""

    @property
    def name(self) -> str:
        """``Conv 1x64x56x56 kernel_shape=[3, 3]``."""
        shapes = [
            ("x".join(map(str, s)) or "1") + ("" if k == "f32" else f" {k}") for s, k in self.inputs
        ]
        shapes += ["x".join(map(str, np.shape(c))) for c in self.constants if np.ndim(c) > 1]
        more = [f"{k}={v}" for k, v in self.attributes.items() if not isinstance(v, bytes)]
        return " ".join([self.op, ", ".join(shapes), *more])


IMAGE, ROWS, ODD = (1, 64, 56, 56), (128, 3072), (17, 33, 5)
UNARY = {
    "Abs": "compare", "Acos": "sin", "Ceil": "convert",
    "Elu": "exp add compare", "Cos": "sin", "Sin": "sin", "Erf": "erf", "Exp": "exp", "Floor": "convert",
    "Gelu": "erf add multiply multiply", "HardSigmoid": "multiply add compare compare",
    "HardSwish": "multiply add compare compare multiply", "LeakyRelu": "multiply compare compare",
    "Log": "log", "Mish": "exp log tanh multiply", "Neg": "add", "Reciprocal": "divide", "Relu": "compare",
    "Round": "convert", "Selu": "exp add multiply compare", "Sigmoid": "exp add divide",
    "Sign": "compare compare", "Softplus": "exp log add", "Softsign": "compare add divide", "Sqrt": "sqrt",
    "Tan": "sin", "Tanh": "tanh", "ThresholdedRelu": "compare compare", "Celu": "exp add compare",
    "Sinh": "sin", "Cosh": "sin", "Atan": "sin",
    "IsNaN": "compare", "IsInf": "compare", "Shrink": "compare compare add", "Asinh": "sin",
}  # fmt: skip
BINARY = {
    "Add": "add", "Sub": "add", "Mul": "multiply", "Div": "divide", "Pow": "pow", "Max": "compare",
    "Min": "compare", "PRelu": "multiply compare compare", "Equal": "compare", "Greater": "compare",
    "Less": "compare", "Sum": "add", "Mean": "add multiply", "Mod": "divide convert multiply add",
}  # fmt: skip
REDUCED = {
    "ReduceSum": "add", "ReduceMean": "add", "ReduceMax": "compare", "ReduceMin": "compare",
    "ReduceL1": "compare add", "ReduceL2": "multiply add", "ReduceProd": "multiply",
    "ReduceSumSquare": "multiply add", "ReduceLogSum": "add", "ReduceLogSumExp": "compare add exp add",
}  # fmt: skip


def f32(*shapes: Shape) -> list[tuple[Shape, str]]:
    """Inputs of f32."""
    return [(shape, "f32") for shape in shapes]


def normal(*shape: int) -> Any:
    """A constant of f32."""
    return np.random.default_rng(0).standard_normal(shape, np.float32) / 8


def elementwise() -> Iterator[Case]:
    """One function of each element."""
    for op, work in UNARY.items():
        attributes = {"fmod": 1} if op == "Mod" else {}
        for shape in (IMAGE, ROWS, ODD):
            yield Case(op, f32(shape), (), attributes, work)
    for op, work in BINARY.items():
        attributes = {"fmod": 1} if op == "Mod" else {}
        yield Case(op, f32(IMAGE, IMAGE), (), attributes, work)
        yield Case(op, f32(ROWS, (3072,)), (), attributes, work)
        yield Case(op, f32(ODD, (17, 1, 5) if op != "PRelu" else (33, 1)), (), attributes, work)
    for shape in (IMAGE, ROWS, ODD):
        yield Case("Clip", f32(shape), (np.float32(0), np.float32(6)), work="compare compare")
        yield Case("Cast", f32(shape), (), {"to": 10}, "convert")
        yield Case("Where", [(shape, "bool"), *f32(shape, shape)], work="compare")
        yield Case("Not", [(shape, "bool")], work="integer")
        yield Case("And", [(shape, "bool"), (shape, "bool")], work="integer")
        scale = (np.float32(0.1), np.int8(3))
        yield Case("QuantizeLinear", f32(shape), scale, work="requantize")
        yield Case("DequantizeLinear", [(shape, "i8")], scale, work="convert add multiply")


def rows() -> Iterator[Case]:
    """Reductions, norms, scans, choices."""
    shapes = ((1, 64, 56, 56), (2, 3)), ((512, 768), (1,)), ((17, 33, 5), (1,)), ((2048, 8), (1,))
    for op, work in REDUCED.items():
        for shape, axes in shapes:
            why = (
                "rows shorter than the lanes combine in a tree of their own"
                if shape[1] == 8
                else ""
            )
            yield Case(op, f32(shape), (np.array(axes),), {"keepdims": 1}, work, why=why)
    softmax = "compare add exp add multiply"
    for shape in ((12, 128, 128), (1, 1000), (4096, 1024), (7, 49)):
        yield Case("Softmax", f32(shape), work=softmax)
        yield Case("LogSoftmax", f32(shape), work="compare add exp add add add")
        places = "elements are compared again, and their places: i64, in the vector engine's tree"
        yield Case("ArgMax", f32(shape), (), {"axis": -1}, "compare", why=places)
        why = "one row: nothing to overlap with" if shape[0] == 1 else ""
        yield Case("CumSum", f32(shape), (np.array(len(shape) - 1),), why=why)
        yield Case("Hardmax", f32(shape), work="compare compare", why=places)
        scale = normal(shape[-1]), normal(shape[-1])
        norm = "add add multiply add multiply multiply add"
        yield Case("LayerNormalization", f32(shape), scale, {"axis": -1}, norm)
        yield Case("LpNormalization", f32(shape), work="multiply add multiply")
    for shape, k in (((1, 8400), 300), ((1, 1000), 5), ((64, 256), 8), ((3, 77), 77)):
        work = " ".join(["compare"] * max(1, math.ceil(math.log2(k))))
        why = "a bitonic network compares log2 k times as often as the least"
        yield Case("TopK", f32(shape), (np.array([k]),), {}, work, 2, why=why)
    yield Case("CumSum", f32((1, 8000)), (np.array(1),), why="one row: nothing to overlap with")
    yield Case("CumSum", f32((64, 512, 33)), (np.array(1),))
    yield Case("CumSum", [((16, 1000), "i64")], (np.array(1),))
    for n, c, h, groups in ((1, 64, 56, 32), (1, 320, 64, 32), (2, 6, 17, 3)):
        shape, scale = (n, c, h, h), (normal(c), normal(c))
        work = "add add multiply add multiply multiply add"
        yield Case("InstanceNormalization", f32(shape), scale, {}, work)
        yield Case("GroupNormalization", f32(shape), scale, {"num_groups": groups}, work)
        batch = (*scale, normal(c), np.abs(normal(c)) + 1)
        yield Case("BatchNormalization", f32(shape), batch, {}, "multiply add", opset=15)
        yield Case("MeanVarianceNormalization", f32(shape), (), {}, "add add multiply add multiply")
    for shape in ((1, 64, 56, 56), (1, 16, 27, 27)):
        yield Case(
            "LRN", f32(shape), (), {"size": 5}, "multiply add add add add multiply add pow divide"
        )


def products() -> Iterator[Case]:
    """Products, and layers made of them."""
    for m, k, n in ((128, 768, 768), (1, 512, 1000), (197, 64, 197), (33, 65, 17)):
        yield Case("MatMul", f32((m, k)), (normal(k, n),), work="")
        yield Case("Gemm", f32((m, k)), (normal(n, k), normal(n)), {"transB": 1}, "")
        yield Case("MatMul", f32((4, m, k), (4, k, n)), (), {}, "")
        yield Case("MatMulInteger", [((m, k), "i8")], (normal(k, n).astype(np.int8),), work="")
    yield Case("MatMul", [((64, 64), "i32")], (np.ones((64, 64), np.int32),), work="")
    yield Case("Einsum", f32((4, 128, 64), (4, 128, 64)), (), {"equation": "bid,bjd->bij"}, "")
    yield Case(
        "Einsum", f32((2, 3, 49, 32), (2, 3, 49, 32)), (), {"equation": "bhid,bhjd->bhij"}, ""
    )
    yield Case("Einsum", f32((33, 17), (17, 5)), (), {"equation": "ij,jk->ik"}, "")
    for n, c, h, o, k, s, g in (
        (1, 3, 224, 64, 7, 2, 1), (1, 64, 56, 64, 3, 1, 1), (1, 512, 7, 512, 3, 1, 1),
        (1, 256, 28, 64, 1, 1, 1), (1, 144, 56, 144, 3, 1, 144), (1, 96, 112, 96, 3, 2, 96),
        (1, 32, 17, 48, 3, 2, 4), (1, 30, 13, 7, 5, 1, 1),
    ):  # fmt: skip
        given = {"strides": [s, s], "pads": [k // 2] * 4, "group": g}
        why = "7 of the array's 16 rows" if o == 7 else ""
        yield Case("Conv", f32((n, c, h, h)), (normal(o, c // g, k, k),), given, "", why=why)
    yield Case("Conv", f32((1, 80, 3000)), (normal(384, 80, 3),), {"pads": [1, 1]}, "")
    yield Case("Conv", f32((1, 16, 8, 28, 28)), (normal(32, 16, 3, 3, 3),), {"pads": [1] * 6}, "")
    for c, h, o, k, s, more in (
        (64, 16, 32, 3, 2, 1), (64, 16, 32, 4, 2, 0), (128, 32, 64, 2, 2, 0), (512, 8, 256, 4, 2, 0),
        (64, 64, 3, 4, 2, 0), (21, 16, 21, 16, 8, 0), (256, 16, 128, 5, 2, 1), (7, 9, 5, 3, 1, 0),
    ):  # fmt: skip
        pad = (k - s + more + 1) // 2
        given = {"strides": [s, s], "pads": [pad] * 4, "output_padding": [more] * 2}
        why = "results of the phases are interleaved in a pass of their own"
        yield Case("ConvTranspose", f32((1, c, h, h)), (normal(c, o, k, k),), given, "", why=why)
    image = [((1, 32, 28, 28), "u8")]
    weights = (np.random.default_rng(0).integers(-99, 99, (64, 32, 3, 3)).astype(np.int8),)
    yield Case("ConvInteger", image, weights, {"pads": [1] * 4}, "")
    for kind, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
        for steps, inputs, hidden in ((20, 64, 64), (10, 128, 256)):
            weights = (normal(1, gates * hidden, inputs), normal(1, gates * hidden, hidden))
            why = "one row a step: the array waits for each step's state, and each step is several kernels"
            yield Case(kind, f32((steps, 1, inputs)), weights, {"hidden_size": hidden}, "", why=why)
    for heads, length, depth in ((12, 128, 64), (8, 77, 40), (3, 49, 32)):
        shapes = f32(*[(1, heads, length, depth)] * 3)
        yield Case("Attention", shapes, (), {}, "compare add exp add multiply multiply",
                   elements=heads * length**2, opset=23)  # fmt: skip


def windows() -> Iterator[Case]:
    """Pooling."""
    for c, h, k, s in (
        (64, 112, 3, 2),
        (256, 20, 5, 1),
        (64, 3, 64, 64),
        (480, 14, 2, 2),
        (7, 9, 3, 1),
    ):
        given = {
            "kernel_shape": [k, k],
            "strides": [s, s],
            "pads": [k // 2] * 4 if k < 9 else [0] * 4,
        }
        given |= {"ceil_mode": 1} if k > h else {}
        side = -(-h // s)
        taps = min(k, h) ** 2 if s > 1 else 2 * k
        for op, work in (("MaxPool", "compare"), ("AveragePool", "add")):
            many = " ".join([work] * taps)
            yield Case(op, f32((1, c, h, h)), (), given, many, elements=c * side * side)
        if k > h:
            continue
        yield Case("LpPool", f32((1, c, h, h)), (), {k: v for k, v in given.items() if k != "ceil_mode"},
                   " ".join(["add"] * taps), elements=c * (h // s) ** 2,
                   why="powers, their sums and roots are two passes")  # fmt: skip
    for c, h in ((2048, 7), (512, 56), (5, 13)):
        yield Case("GlobalAveragePool", f32((1, c, h, h)))
        yield Case("GlobalMaxPool", f32((1, c, h, h)), work="compare")


def movement() -> Iterator[Case]:
    """What only moves data."""
    for shape, perm in (
        ((1, 64, 56, 56), [0, 2, 3, 1]), ((1, 128, 12, 64), [0, 2, 1, 3]), ((197, 768), [1, 0]),
        ((64, 32, 2, 2, 2, 2), [1, 3, 5, 0, 2, 4]), ((33, 17, 5), [2, 0, 1]),
    ):  # fmt: skip
        yield Case("Transpose", f32(shape), (), {"perm": perm}, "")
    for shape, block in (((1, 256, 56, 56), 2), ((1, 48, 80, 80), 4), ((1, 9, 7, 5), 3)):
        yield Case("DepthToSpace", f32(shape), (), {"blocksize": block}, "")
        n, c, h, w = shape
        yield Case(
            "SpaceToDepth",
            f32((n, c // block**2, h * block, w * block)),
            (),
            {"blocksize": block},
            "",
        )
    for shape in ((1, 128, 20, 20), (1, 64, 56, 56), (1, 5, 7, 9)):
        sizes = (np.array([], np.float32), np.array([1, 1, 2, 2], np.float32))
        nearest = {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        }
        yield Case("Resize", f32(shape), sizes, nearest, "")
        linear = {"mode": "linear"}
        yield Case("Resize", f32(shape), sizes, linear, "add multiply add multiply")
    for shape, axis in ((IMAGE, 1), (ROWS, 1), (ODD, 2)):
        yield Case("Concat", f32(shape, shape), (), {"axis": axis}, "")
        yield Case("Split", f32(shape), (), {"axis": axis, "num_outputs": 2 if axis < 2 else 5}, "",
                   2 if axis < 2 else 5)  # fmt: skip
        yield Case("Tile", f32(shape), (np.array([1] * (len(shape) - 1) + [2]),), {}, "")
        starts = (np.array([1]), np.array([shape[axis] - 1]), np.array([axis]))
        yield Case("Slice", f32(shape), starts, {}, "")
        pads = [0] * len(shape) * 2
        pads[len(shape) - 1] = pads[-1] = 1
        yield Case("Pad", f32(shape), (np.array(pads),), {}, "")
        why = "the tensor is put together from itself and the reflected ends, in a pass each"
        yield Case("Pad", f32(shape), (np.array(pads),), {"mode": "reflect"}, "", why=why)
        yield Case("Expand", f32((*shape[:-1], 1)), (np.array(shape),), {}, "")
        yield Case("Trilu", f32(shape), (), {}, "compare")
    for table, count in (((30522, 768), 128), ((1000, 64), 500), ((77, 5), 33)):
        yield Case("Gather", [*f32(table), ((count,), "i64")], (), {}, "")
        yield Case("OneHot", [((count,), "i64")], (np.array([table[1]]), np.array([0, 1], np.float32)),
                   {}, "compare")  # fmt: skip
    for shape in ((16, 128), (4, 1000)):
        index = np.random.default_rng(0).integers(0, shape[1], (shape[0], shape[1] // 2))
        yield Case("GatherElements", f32(shape), (index,), {"axis": 1}, "")


def cases() -> list[Case]:
    """All of them."""
    return [c for family in (elementwise, rows, products, windows, movement) for c in family()]
