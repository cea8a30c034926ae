"""Quantized operators against onnxruntime: whole numbers are equal, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx_models import MICROSOFT, model, node, normal, onnxruntime_says

import kpu_ir
from kpu_ir.frontends.onnx import import_onnx
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.support.errors import KpuError

RNG = np.random.default_rng(13)
F, U8, I8 = np.float32, np.uint8, np.int8
TIES = [(0.031, 0.02, 0.1), (0.38, 0.19, 0.38), (0.5, 0.25, 0.5), (0.0493, 0.0493, 0.0986)]
"""Scales of two operands and of the result; of the third a fourth of all sums are halves."""


def bytes_of(dtype: Any, *shape: int) -> Any:
    return RNG.integers(0, 256, shape).astype(U8).view(dtype)


def scales(*shape: int) -> Any:
    return (RNG.random(shape) * 0.02 + 0.001).astype(F)


def ran(proto: Any, given: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Each output here and in onnxruntime."""
    inputs = {n: np.asarray(v) for n, v in given.items()}
    module = import_onnx(proto)
    module.verify()
    return list(zip(evaluate(module, inputs), onnxruntime_says(proto, inputs), strict=True))


def equal(one: Any, given: Mapping[str, Any], known: Mapping[str, Any], opset: int = 21) -> None:
    proto = model([one], {n: np.asarray(v) for n, v in given.items()}, known, one.output, opset)
    for got, expected in ran(proto, given):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


def refused(words: str, one: Any, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    proto = model([one], {n: np.asarray(v) for n, v in given.items()}, known, one.output, 21)
    with pytest.raises(KpuError, match=words) as caught:
        import_onnx(proto)
    assert "node 'here'" in str(caught.value)


X = np.concatenate([F(0.05) * np.arange(-400, 400, dtype=F), 20 * normal(1248)]).reshape(8, 256)


@pytest.mark.parametrize("dtype", [U8, I8, np.uint16, np.int16])
@pytest.mark.parametrize("domain", ["", MICROSOFT])
def test_quantize_and_back(dtype: Any, domain: str):
    zero = dtype(7)
    parameters = {"s": F(0.1), "z": zero}
    equal(node("QuantizeLinear", "x s z", "y", domain=domain), {"x": X}, parameters)
    limits = np.iinfo(dtype)
    q = RNG.integers(limits.min, limits.max, (4, 9), endpoint=True).astype(dtype)
    equal(node("DequantizeLinear", "x s z", "y", domain=domain), {"x": q}, parameters)


@pytest.mark.parametrize("axis", [0, -1])
def test_quantize_along_an_axis_and_in_blocks(axis: int):
    n = X.shape[axis]
    each = {"s": scales(n), "z": bytes_of(U8, n)}
    equal(node("QuantizeLinear", "x s z", "y", axis=axis), {"x": X}, each)
    counts = (8, 8) if axis else (2, 256)
    blocks = {"s": scales(*counts), "z": bytes_of(I8, *counts)}
    one = node("QuantizeLinear", "x s z", "y", axis=axis, block_size=32 if axis else 4)
    equal(one, {"x": X}, blocks)


@pytest.mark.parametrize("name", ["int4", "uint4", "float8_e4m3fn", "float8_e5m2"])
def test_short_types_there_and_back(name: str):
    dtype = getattr(ml_dtypes, name)
    zero = np.full((8, 8), 3 if "int" in name else 0, dtype)
    nodes = [
        node("QuantizeLinear", "x s z", "q", axis=1, block_size=32),
        node("DequantizeLinear", "q s z", "y", axis=1, block_size=32),
    ]
    x = np.where(np.isin(np.abs(X), X[0, :1]), 0, X).astype(F)
    proto = model(nodes, {"x": x}, {"s": scales(8, 8) * 50, "z": zero}, ["y"], 21)
    ((got, expected),) = ran(proto, {"x": x})
    np.testing.assert_array_equal(got, expected)


def test_quantize_no_number_and_infinities():
    x = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30], F)
    for zero in (U8(3), I8(3)):
        equal(node("QuantizeLinear", "x s z", "y"), {"x": x}, {"s": F(0.1), "z": zero})


def test_dequantize_a_bias():
    q = RNG.integers(-(10**7), 10**7, (3, 4)).astype(np.int32)
    equal(node("DequantizeLinear", "x s", "y", axis=0), {"x": q}, {"s": scales(3)})


@pytest.mark.parametrize("x", [X, abs(X) + 1, -abs(X), 0 * X], ids=["", "above", "below", "0"])
def test_dynamic_range(x: Any):
    equal(node("DynamicQuantizeLinear", "x", "y s z"), {"x": x}, {})


PAIRS = [(U8, I8), (U8, U8), (I8, I8)]


@pytest.mark.parametrize(("ta", "tb"), PAIRS)
@pytest.mark.parametrize("known", [True, False], ids=["weights", "activations"])
def test_products_of_bytes(ta: Any, tb: Any, known: bool):
    given = {"a": bytes_of(ta, 2, 5, 33), "za": bytes_of(ta, 1)[0]}
    more = {"b": bytes_of(tb, 33, 7), "zb": bytes_of(tb, 7)}
    both = (given, more) if known else ({**given, **more}, {})
    equal(node("MatMulInteger", "a b za zb", "y"), *both)
    image = {"a": bytes_of(ta, 1, 3, 9, 9)}
    filters = {"b": bytes_of(tb, 4, 3, 3, 3), "za": bytes_of(ta, 1)[0], "zb": bytes_of(tb, 1)[0]}
    if not known:  # onnxruntime has no row zero points: those of weights are one
        image["za"] = filters.pop("za")
    equal(node("ConvInteger", "a b za zb", "y", pads=[1] * 4), image, filters)


@pytest.mark.parametrize(("ta", "tb"), PAIRS)
def test_quantized_products(ta: Any, tb: Any):
    a = {"sa": F(0.02), "za": bytes_of(ta, 1)[0]}
    y = {"sy": F(0.31), "zy": bytes_of(ta, 1)[0]}
    b = {"b": bytes_of(tb, 64, 50), "sb": scales(50), "zb": bytes_of(tb, 50)}
    one = node("QLinearMatMul", "a sa za b sb zb sy zy", "y")
    rows = {"a": bytes_of(ta, 40, 64)}
    equal(one, rows, {**a, **b, **y})
    bias = {"c": RNG.integers(-9999, 9999, 50).astype(np.int32)}
    turned = {**b, "b": b["b"].T.copy()}
    one = node("QGemm", "a sa za b sb zb c sy zy", "y", transB=1, domain=MICROSOFT)
    equal(one, rows, {**a, **turned, **bias, **y})
    one = node("QGemm", "a sa za b sb zb c", "y", transA=1, alpha=0.5, domain=MICROSOFT)
    equal(one, {"a": rows["a"].T.copy()}, {**a, **b, **bias})
    weights = {"b": bytes_of(tb, 24, 8, 3, 3), "sb": scales(24), "zb": np.zeros(24, tb)}
    bias = {"c": RNG.integers(-9999, 9999, 24).astype(np.int32)}
    one = node("QLinearConv", "a sa za b sb zb sy zy c", "y", pads=[1, 0, 2, 1], strides=[2, 1])
    equal(one, {"a": bytes_of(ta, 1, 8, 9, 9)}, {**a, **weights, **y, **bias})
    weights = {"b": bytes_of(tb, 8, 1, 3, 3), "sb": scales(8), "zb": np.zeros(8, tb)}
    one = node("QLinearConv", "a sa za b sb zb sy zy", "y", group=8, pads=[1] * 4)
    equal(one, {"a": bytes_of(ta, 1, 8, 9, 9)}, {**a, **weights, **y})
    one = node("MatMulIntegerToFloat", "a b sa sb za zb d", "y", domain=MICROSOFT)
    equal(one, rows, {**a, **b, "d": normal(50)})


def test_rows_have_zero_points_of_their_own():
    """onnxruntime has none: NumPy is the other reading."""
    a, b, za = bytes_of(U8, 5, 33), bytes_of(I8, 33, 7), bytes_of(U8, 5)
    known = {"b": b, "za": za}
    proto = model([node("MatMulInteger", "a b za", "y")], {"a": a}, known)
    (got,) = evaluate(import_onnx(proto), {"a": a})
    np.testing.assert_array_equal(got, (a.astype(int) - za[:, None]) @ b.astype(int))


def test_a_left_operand_in_its_own_range():
    known = {"b": bytes_of(I8, 64, 50), "sb": scales(50), "zb": bytes_of(I8, 50), "c": normal(50)}
    one = node("DynamicQuantizeMatMul", "a b sb zb c", "y", domain=MICROSOFT)
    equal(one, {"a": normal(30, 64)}, known)


@pytest.mark.parametrize("op", ["QLinearAdd", "QLinearMul"])
@pytest.mark.parametrize("dtype", [U8, I8])
def test_every_pair_of_bytes(op: str, dtype: Any):
    a, b = (v.astype(U8).view(dtype) for v in np.divmod(np.arange(1 << 16), 256))
    for each in TIES:
        known = dict(zip(("sa", "sb", "sc"), map(F, each)))
        known |= {"za": dtype(3), "zb": dtype(30), "zc": dtype(13)}
        one = node(op, "a sa za b sb zb sc zc", "y", domain=MICROSOFT)
        equal(one, {"a": a, "b": b}, known)


@pytest.mark.parametrize("dtype", [U8, I8])
def test_functions_of_bytes(dtype: Any):
    x, image = bytes_of(dtype, 300), bytes_of(dtype, 2, 8, 9, 9)
    given = {"sa": F(0.05), "za": dtype(7)}
    known = {**given, "sc": F(0.0213), "zc": dtype(1)}
    byte = {**given, "sc": F(1 / 256), "zc": dtype(0 if dtype is U8 else -128)}
    equal(node("QLinearSigmoid", "x sa za sc zc", "y", domain=MICROSOFT), {"x": x}, byte)
    one = node("QLinearLeakyRelu", "x sa za sc zc", "y", alpha=0.1, domain=MICROSOFT)
    equal(one, {"x": x}, known)
    for opset in (12, 13):
        one = node("QLinearSoftmax", "x sa za sc zc", "y", axis=2, opset=opset,
                   domain=MICROSOFT)  # fmt: skip
        equal(one, {"x": image}, byte)
    last = np.ascontiguousarray(image.transpose(0, 2, 3, 1))
    for channels_last, x in enumerate((image, last)):
        more = {"channels_last": channels_last, "domain": MICROSOFT}
        equal(node("QLinearGlobalAveragePool", "x sa za sc zc", "y", **more), {"x": x}, known)
        one = node("QLinearAveragePool", "x sa za sc zc", "y", kernel_shape=[3, 3], strides=[2, 2],
                   pads=[1] * 4, count_include_pad=channels_last, **more)  # fmt: skip
        equal(one, {"x": x}, known)
    known |= {"sb": known["sc"], "zb": known["zc"]}
    one = node("QLinearConcat", "sc zc a sa za b sb zb", "y", axis=1, domain=MICROSOFT)
    equal(one, {"a": image, "b": image[:, :3]}, known)
    one = node("QLinearWhere", "c a sa za b sb zb sc zc", "y", domain=MICROSOFT)
    equal(one, {"c": RNG.random(image.shape) > 0.5, "a": image, "b": image[::-1].copy()}, known)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("level", [0, 4])
def test_weights_of_a_few_bits(bits: int, level: int):
    """Floats: the order of additions is another."""
    for k, zeros in ((128, False), (100, True)):
        known = {"b": bytes_of(U8, 24, 4, 4 * bits), "s": scales(96), "bias": normal(24)}
        if zeros:
            known["z"] = bytes_of(U8, 24 * -(-4 * bits // 8))
        one = node("MatMulNBits", f"a b s {'z' if zeros else '_'} _ bias", "y", K=k, N=24, bits=bits,
                   block_size=32, accuracy_level=level, domain=MICROSOFT)  # fmt: skip
        a = normal(5, k)
        proto = model([one], {"a": a}, known)
        ((got, expected),) = ran(proto, {"a": a})
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 * abs(expected).max())


def test_rows_of_a_table_of_a_few_bits():
    indices = np.array([[3, 1], [0, 4]])
    table = {"s": scales(5, 3), "d": RNG.integers(-8, 8, (5, 40)).astype(ml_dtypes.int4)}
    one = node("GatherBlockQuantized", "d i s", "y", block_size=16, domain=MICROSOFT)
    equal(one, {"i": indices}, table)
    zeros = RNG.integers(0, 16, (5, 3)).astype(ml_dtypes.uint4)
    table |= {"d": table["d"].astype(I8).view(U8).astype(ml_dtypes.uint4), "z": zeros}
    one = node("GatherBlockQuantized", "d i s z", "y", block_size=16, domain=MICROSOFT)
    equal(one, {"i": indices}, table)
    for bits, zeros in ((4, "z"), (4, "_"), (8, "_")):
        packed = {"d": bytes_of(U8, 5, 6 * bits), "s": scales(5, 3), "z": bytes_of(U8, 5, 2)}
        packed = {n: v for n, v in packed.items() if n in f"ds{zeros}"}
        one = node("GatherBlockQuantized", f"d i s {zeros}", "y", block_size=16, bits=bits,
                   domain=MICROSOFT)  # fmt: skip
        equal(one, {"i": indices}, packed)


def test_on_the_machine():
    """A quantized layer compiled and simulated: the same bytes."""
    known = {"sa": F(0.02), "za": U8(120), "sb": scales(24), "zb": np.zeros(24, I8),
             "sy": F(0.31), "zy": U8(3), "b": bytes_of(I8, 24, 8, 3, 3)}  # fmt: skip
    nodes = [
        node("QLinearConv", "a sa za b sb zb sy zy", "h", pads=[1] * 4),
        node("QLinearAdd", "h sy zy h sy zy sa za", "y", domain=MICROSOFT),
    ]
    a = bytes_of(U8, 1, 8, 9, 9)
    proto = model(nodes, {"a": a}, known)
    got = kpu_ir.compile(import_onnx(proto), search="none")({"a": a})["y"]
    np.testing.assert_array_equal(got, onnxruntime_says(proto, {"a": a})[0])


def test_bad_scales_and_zero_points():
    quantize = node("QuantizeLinear", "x s z", "y", "here")
    for scale, said in ((0, "0"), (-1, "-1"), (np.nan, "nan"), (np.inf, "inf")):
        refused(rf"a scale is {said}", quantize, {"x": X}, {"s": F(scale), "z": U8(0)})
    each = np.ones(256, F)
    each[7] = 0
    refused(r"a scale is 0 \(number 7\)", quantize, {"x": X}, {"s": each, "z": np.zeros(256, U8)})
    back = node("DequantizeLinear", "x s z", "y", "here")
    q = bytes_of(U8, 4, 4)
    refused("a zero point of int8 for numbers of uint8", back, {"x": q}, {"s": F(1), "z": I8(0)})
    apart = node("DequantizeLinear", "x s z", "y", "here", axis=2)
    refused("axis 2 is outside the rank 2", apart, {"x": q}, {"s": F(1), "z": bytes_of(U8, 4)})
    blocks = node("DequantizeLinear", "x s", "y", "here", axis=1, block_size=3)
    refused(r"does not fit blocks of 3.*expected \(4, 2\)", blocks, {"x": q}, {"s": scales(4, 3)})
    y = {"sy": F(0), "zy": U8(0), "sa": F(1), "za": U8(0), "b": bytes_of(U8, 4, 4)}
    product = node("QLinearMatMul", "a sa za b sa za sy zy", "y", "here")
    refused("input 6: a scale is 0", product, {"a": q}, y)
    y |= {"sy": F(1), "zb": U8(0), "za": np.uint16(0)}
    product = node("QLinearMatMul", "a sa za b sa zb sy zy", "y", "here")
    wide = {"a": q.astype(np.uint16)}
    refused("a product of quantized numbers of uint16", product, wide, y)


def test_negative_scales_of_weights_are_valid():
    q = bytes_of(I8, 4, 4)
    equal(node("DequantizeLinear", "x s", "y", axis=0), {"x": q}, {"s": -scales(4)})


def test_bad_weights_of_a_few_bits():
    one = node("MatMulNBits", "a b s", "y", "here", K=64, N=6, bits=4, block_size=32,
               domain=MICROSOFT)  # fmt: skip
    a, b = {"a": normal(3, 64)}, bytes_of(U8, 6, 2, 16)
    refused("the weights are 96 bytes: 6 rows", one, a, {"b": b[:, :, :8], "s": scales(12)})
    refused("11 scales for 6 rows of 2 blocks", one, a, {"b": b, "s": scales(11)})
    refused("K is 64, and input 0", one, {"a": normal(3, 60)}, {"b": b, "s": scales(12)})


def test_one_scale_of_one_element_needs_no_axis():
    """onnxruntime's tool writes such scales for vectors, and leaves the axis at 1."""
    one = node("DequantizeLinear", "q s", "y")
    equal(one, {"q": bytes_of(I8, 4)}, {"s": np.array([0.5], F)})


@pytest.mark.parametrize("dtype", [U8, I8])
@pytest.mark.parametrize(("axes", "keep"), [([1, -1], 0), (None, 1)])
def test_a_mean_of_bytes(dtype: Any, axes: Any, keep: int):
    """onnxruntime has no such kernel: NumPy is the other reading."""
    x = bytes_of(dtype, 2, 5, 3, 7)
    known = {"s": F(0.05), "z": dtype(7), "sy": F(0.0213), "zy": dtype(3)}
    more = {"keepdims": keep, **({"axes": axes} if axes else {})}
    one = node("QLinearReduceMean", "x s z sy zy", "y", "here", domain=MICROSOFT, **more)
    (got,) = evaluate(import_onnx(model([one], {"x": x}, known)), {"x": x})
    wide = x.astype(np.int64) - 7
    sums = wide.sum(tuple(axes) if axes else None, keepdims=bool(keep))
    count = F(wide.size // sums.size)
    steps = np.rint(sums.astype(F) * (F(0.05) / (F(0.0213) * count))) + 3
    info = np.iinfo(dtype)
    np.testing.assert_array_equal(got, np.clip(steps, info.min, info.max).astype(dtype))
    bad = node("QLinearReduceMean", "x s z sy zy", "y", "here", axes=[4], domain=MICROSOFT)
    refused(r"axes \[4\] of a tensor of rank 4", bad, {"x": x}, known)
    refused("input 3: a scale is 0", one, {"x": x}, known | {"sy": F(0)})


@pytest.mark.parametrize("op", ["QMoE", "MatMulInteger16"])
def test_what_is_not_imported_is_one_error(op: str):
    proto = model([node(op, "x", "y", "here", domain=MICROSOFT)], {"x": X}, {}, ["y"], 21)
    with pytest.raises(KpuError, match=f"does not support(.|\n)*{op}"):
        import_onnx(proto)
