"""Imported operators of networks against onnxruntime, over more shapes than ONNX's node tests have."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from kpu_ir.frontends.onnx import import_onnx
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.passes.kernel_canonicalize import KernelCanonicalizePass
from kpu_ir.passes.kernel_decompose import KernelDecomposePass
from kpu_ir.registry import context
from kpu_ir.support.errors import KpuError

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
helper = onnx.helper

RNG = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def compare(
    nodes: Any, inputs: dict[str, Any], weights: dict[str, Any], outputs: str = "y", opset: int = 21
) -> None:
    """The same results as onnxruntime's, as imported and as decomposed."""
    kind = helper.np_dtype_to_tensor_dtype
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(k, kind(v.dtype), v.shape) for k, v in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [onnx.numpy_helper.from_array(v, k) for k, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(model.SerializeToString(), options)
    expected = session.run(None, inputs)
    module = import_onnx(model)
    for stage in (None, KernelCanonicalizePass(), KernelDecomposePass()):
        if stage is not None:
            stage.apply(context(), module)
        module.verify()
        for got, want in zip(evaluate(module, inputs), expected, strict=True):
            assert got.dtype == want.dtype
            assert got.shape == want.shape
            np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5)


def node(op: str, inputs: str, outputs: str = "y", **attributes: Any) -> Any:
    """A node of one-letter names; ``_`` is no input."""
    return helper.make_node(
        op, ["" if name == "_" else name for name in inputs], list(outputs), **attributes
    )


TRANSPOSED = [
    {"strides": s, "pads": p, "output_padding": o, "dilations": d, "group": g}
    for s, p, o, d, g in [
        ([1, 1], [0, 0, 0, 0], [0, 0], [1, 1], 1),
        ([1, 1], [1, 2, 1, 0], [0, 0], [2, 1], 2),
        ([2, 2], [1, 1, 1, 1], [1, 1], [1, 1], 1),
        ([2, 3], [0, 1, 2, 1], [1, 2], [1, 1], 2),
        ([3, 2], [2, 0, 1, 1], [0, 1], [2, 2], 1),
        ([4, 4], [0, 0, 0, 0], [3, 3], [1, 1], 1),
        ([1, 1], [3, 3, 3, 3], [0, 0], [1, 1], 1),
    ]
]


@pytest.mark.parametrize("case", TRANSPOSED, ids=str)
def test_transposed_convolution(case: Any):
    weights = {"w": normal(4, 3, 3, 2), "b": normal(3 * case["group"])}
    compare([node("ConvTranspose", "xwb", **case)], {"x": normal(2, 4, 5, 6)}, weights)


def test_transposed_convolution_of_a_signal():
    weights = {"w": normal(2, 3, 4)}
    case = {"strides": [3], "pads": [1, 0]}
    compare([node("ConvTranspose", "xw", **case)], {"x": normal(1, 2, 7)}, weights)


def test_strides_multiply_no_zeros():
    model_inputs = {"x": normal(1, 4, 8, 8)}
    weights = {"w": normal(4, 4, 4, 4)}
    graph = helper.make_graph(
        [node("ConvTranspose", "xw", strides=[2, 2], pads=[1, 1, 1, 1])],
        "test",
        [helper.make_tensor_value_info("x", 1, model_inputs["x"].shape)],
        [helper.make_empty_tensor_value_info("y")],
        [onnx.numpy_helper.from_array(weights["w"], "w")],
    )
    module = import_onnx(helper.make_model(graph))
    (conv,) = (op for op in module.walk() if op.name == "kernel.conv")
    assert tuple(conv.operands[1].type.get_shape()) == (16, 4, 2, 2)


@pytest.mark.parametrize(
    ("kind", "ceil", "count"), list(itertools.product(["MaxPool", "AveragePool"], [0, 1], [0, 1]))
)
def test_pooling(kind: str, ceil: int, count: int):
    given = {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1], "ceil_mode": ceil}
    given |= {"count_include_pad": count} if kind == "AveragePool" else {"dilations": [1, 2]}
    compare([node(kind, "x", **given)], {"x": normal(1, 2, 8, 9)}, {})


EQUATIONS = [
    ("ij,jk->ik", (3, 4), (4, 5)),
    ("bhid,bhjd->bhij", (2, 3, 4, 5), (2, 3, 6, 5)),
    ("bij,kj->bki", (2, 3, 4), (5, 4)),
    ("i,j->ij", (3,), (4,)),
    ("ij,ij->", (3, 4), (3, 4)),
    ("...ij,...jk->...ik", (2, 1, 3, 4), (1, 5, 4, 6)),
    ("ii,i->i", (4, 4), (4,)),
    ("ij,kl->jl", (2, 3), (4, 5)),
    ("ab,bc", (2, 3), (3, 4)),
]


@pytest.mark.parametrize(("equation", "a", "b"), EQUATIONS, ids=lambda v: str(v))
def test_einsum(equation: str, a: Any, b: Any):
    compare([node("Einsum", "ab", equation=equation)], {"a": normal(*a), "b": normal(*b)}, {})


def test_einsum_of_three():
    inputs = {"a": normal(2, 3), "b": normal(3, 4), "c": normal(4, 2)}
    compare([node("Einsum", "abc", equation="ij,jk,kl->il")], inputs, {})


RESIZES = [
    {"mode": mode, "coordinate_transformation_mode": where}
    for mode, where in itertools.product(
        ["nearest", "linear", "cubic"],
        ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"],
    )
]


@pytest.mark.parametrize("case", RESIZES, ids=lambda c: "-".join(c.values()))
@pytest.mark.parametrize("scales", [[1, 1, 2, 2], [1, 1, 0.5, 1.5], [1, 1, 3, 1]], ids=str)
def test_resize(case: Any, scales: Any):
    weights = {"s": np.array(scales, np.float32)}
    compare([node("Resize", "x_s", **case)], {"x": normal(1, 2, 6, 4)}, weights)


@pytest.mark.parametrize("mode", ["edge", "reflect", "wrap"])
def test_pad(mode: str):
    weights = {"p": np.array([0, 3, 1, 0, 2, 1])}
    compare([node("Pad", "xp", mode=mode)], {"x": normal(2, 5, 3)}, weights)


def test_attention_as_exported():
    """Products, a scale, a mask by Where, a softmax: what exporters write; shapes are computed."""
    nodes = [
        helper.make_node("Shape", ["q"], ["shape"]),
        helper.make_node("Gather", ["shape", "two"], ["length"]),
        helper.make_node("Unsqueeze", ["length", "zero"], ["length1"]),
        helper.make_node("Concat", ["length1", "length1"], ["square"], axis=0),
        helper.make_node("ConstantOfShape", ["square"], ["ones"], value=_one(np.float32(1))),
        helper.make_node("Trilu", ["ones"], ["lower"], upper=0),
        helper.make_node("Cast", ["lower"], ["seen"], to=9),
        helper.make_node("Transpose", ["k"], ["keys"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["q", "keys"], ["scores"]),
        helper.make_node("Div", ["scores", "root"], ["scaled"]),
        helper.make_node("Where", ["seen", "scaled", "low"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["shares"], axis=-1),
        helper.make_node("MatMul", ["shares", "v"], ["mixed"]),
        helper.make_node("Transpose", ["mixed"], ["apart"], perm=[0, 2, 1, 3]),
        helper.make_node("Slice", ["shape", "zero", "one"], ["batch"]),
        helper.make_node("Concat", ["batch", "length1", "rest"], ["joined"], axis=0),
        helper.make_node("Reshape", ["apart", "joined"], ["y"]),
    ]
    constants = {
        "two": np.array(2), "zero": np.array([0]), "one": np.array([1]), "rest": np.array([-1]),
        "root": np.float32(2), "low": np.float32(-3e38),
    }  # fmt: skip
    inputs = {name: normal(2, 3, 6, 4) for name in "qkv"}
    compare(nodes, inputs, {k: np.asarray(v) for k, v in constants.items()})


def _one(value: Any) -> Any:
    return onnx.numpy_helper.from_array(np.array([value]))


@pytest.mark.parametrize(
    ("op", "given"),
    [
        ("ArgMax", {"axis": 1, "select_last_index": 1}),
        ("ArgMin", {"axis": -1, "keepdims": 0}),
        ("Hardmax", {"axis": 0}),
        ("LpNormalization", {"axis": 1, "p": 1}),
        ("GlobalLpPool", {"p": 3}),
        ("LRN", {"size": 3, "alpha": 0.1}),
        ("LpPool", {"kernel_shape": [2, 2], "p": 2}),
        ("MeanVarianceNormalization", {}),
    ],
)
def test_others(op: str, given: Any):
    compare([node(op, "x", **given)], {"x": normal(2, 4, 5, 3).round(1)}, {})


def test_gathers():
    x, at = normal(3, 4, 5), np.array([[0, -1], [2, 1]])
    compare([node("Gather", "xi", axis=1)], {"x": x, "i": at}, {})
    compare([node("GatherND", "xi", batch_dims=0)], {"x": x, "i": at}, {})
    places = np.array([[[1, -1, 0, 0, 2]] * 4] * 2)
    compare([node("GatherElements", "xi", axis=0)], {"x": x, "i": places}, {})
    compare([node("GatherElements", "xi", axis=0)], {"x": x}, {"i": places})


def test_what_is_refused_is_named():
    model = helper.make_model(
        helper.make_graph(
            [node("Unique", "x", "a"), node("NonMaxSuppression", "ag", "b")],
            "test",
            [helper.make_tensor_value_info(n, 1, (1, 2, 3, 4)) for n in "xg"],
            [helper.make_empty_tensor_value_info("b")],
        )
    )
    with pytest.raises(KpuError, match=r"(?s)Unique.*NonMaxSuppression"):
        import_onnx(model)
