"""The reference of the kernel level against NumPy."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from xdsl.context import Context
from xdsl.dialects.arith import Arith
from xdsl.dialects.builtin import Builtin, ModuleOp
from xdsl.dialects.func import Func
from xdsl.dialects.math import Math
from xdsl.parser import Parser

from kpu_ir.dialects.kernel import Kernel
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.support.errors import KpuError


def parse(text: str) -> ModuleOp:
    """A verified module at the kernel level."""
    context = Context()
    for dialect in (Builtin, Func, Arith, Math, Kernel):
        context.load_dialect(dialect)
    module = Parser(context, text).parse_module()
    module.verify()
    return module


def product(a: str, b: str, c: str, flags: str = "") -> ModuleOp:
    """A function that is one matrix product."""
    return parse(f"""func.func @main(%a: tensor<{a}>, %b: tensor<{b}>) -> tensor<{c}> {{
        %c = kernel.matmul %a, %b {flags} : (tensor<{a}>, tensor<{b}>) -> tensor<{c}>
        func.return %c : tensor<{c}> }}""")


def random(*shape: int, dtype: Any = np.float32) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


@pytest.mark.parametrize(
    ("a", "b", "c", "flags"),
    [
        ((4, 8), (8, 5), "4x5xf32", ""),
        ((8, 4), (8, 5), "4x5xf32", "{transpose_a}"),
        ((2, 1, 4, 8), (3, 5, 8), "2x3x4x5xf32", "{transpose_b}"),
        ((8, 4), (2, 5, 8), "2x4x5xf32", "{transpose_a, transpose_b}"),
    ],
)
def test_matmul(a: tuple[int, ...], b: tuple[int, ...], c: str, flags: str):
    x, y = random(*a), random(*b)
    texts = ["x".join(map(str, s)) + "xf32" for s in (a, b)]
    got = evaluate(product(*texts, c, flags), {"a": x, "b": y})[0]
    x = x.swapaxes(-1, -2) if "transpose_a" in flags else x
    y = y.swapaxes(-1, -2) if "transpose_b" in flags else y
    np.testing.assert_allclose(got, x @ y, rtol=1e-6)


def test_matmul_adds_up_in_f32():
    x, y = random(4, 300, dtype=np.float16), random(300, 5, dtype=np.float16)
    wide = x.astype(np.float32) @ y.astype(np.float32)
    same = evaluate(product("4x300xf16", "300x5xf16", "4x5xf16"), [x, y])[0]
    assert same.dtype == np.float16
    assert np.array_equal(same, wide.astype(np.float16))
    x, y = x.astype(ml_dtypes.bfloat16), y.astype(ml_dtypes.bfloat16)
    wide = x.astype(np.float32) @ y.astype(np.float32)
    got = evaluate(product("4x300xbf16", "300x5xbf16", "4x5xf32"), [x, y])[0]
    assert got.dtype == np.float32
    assert np.array_equal(got, wide)


def test_matmul_of_i8_is_exact():
    x, y = np.full((2, 1000), -128, np.int8), np.full((1000, 3), -128, np.int8)
    got = evaluate(product("2x1000xi8", "1000x3xi8", "2x3xi32"), [x, y])[0]
    assert got.dtype == np.int32
    assert np.all(got == 128 * 128 * 1000)
    wrapped = evaluate(product("2x1000xi8", "1000x3xi8", "2x3xi8"), [x, y])[0]
    assert np.all(wrapped == np.int64(128 * 128 * 1000).astype(np.int8))


MIX = """
func.func @main(%x: tensor<2x3xf32> {kernel.name = "input.1"}, %y: tensor<3xf32>)
    -> (tensor<6xf32>, tensor<3x2xf32>) {
  %s = func.call @add(%x, %y) : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32>
  %f:2 = kernel.fused : tensor<6xf32>, tensor<3x2xf32> {
    %c = kernel.constant dense<2.0> : tensor<f32>
    %d = kernel.map %s, %c : (tensor<2x3xf32>, tensor<f32>) -> tensor<2x3xf32> {
    ^bb0(%a: f32, %b: f32):
      %r = arith.mulf %a, %b : f32
      kernel.yield %r : f32
    }
    %e = kernel.reshape %d : tensor<2x3xf32> -> tensor<6xf32>
    %t = kernel.transpose %d permutation [1, 0] : tensor<2x3xf32> -> tensor<3x2xf32>
    kernel.yield %e, %t : tensor<6xf32>, tensor<3x2xf32>
  }
  func.return %f#0, %f#1 : tensor<6xf32>, tensor<3x2xf32>
}
func.func private @add(%x: tensor<2x3xf32>, %y: tensor<3xf32>) -> tensor<2x3xf32> {
  %s = kernel.map %x, %y : (tensor<2x3xf32>, tensor<3xf32>) -> tensor<2x3xf32> {
  ^bb0(%a: f32, %b: f32):
    %r = arith.addf %a, %b : f32
    kernel.yield %r : f32
  }
  func.return %s : tensor<2x3xf32>
}
"""


def test_calls_and_fused_groups():
    x, y = random(2, 3), random(3)
    flat, turned = evaluate(parse(MIX), {"input.1": x, 1: y})
    expected = (x + y) * np.float32(2)
    assert np.array_equal(flat, expected.reshape(6))
    assert np.array_equal(turned, expected.T)


def test_precision():
    x, y = random(2, 3), random(3)
    flat, _ = evaluate(parse(MIX), [x, y], precision=np.float64)
    assert flat.dtype == np.float64
    assert np.array_equal(flat, ((x.astype(np.float64) + y) * 2).reshape(6))


def test_unsigned():
    module = parse("""func.func @main(%x: tensor<2xui8>) -> tensor<2xui8> {
      %y = kernel.map %x, %x : (tensor<2xui8>, tensor<2xui8>) -> tensor<2xui8> {
      ^bb0(%a: i8, %b: i8):
        %c = arith.constant 3 : i8
        %r = arith.divui %a, %c : i8
        kernel.yield %r : i8
      }
      func.return %y : tensor<2xui8> }""")
    got = evaluate(module, {"x": np.uint8([255, 7])})[0]
    assert got.dtype == np.uint8
    assert got.tolist() == [85, 2]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"input.1": random(2, 3)}, "input 'y' is missing"),
        ({"input.1": random(3, 2), "y": random(3)}, "'input.1': expected shape 2x3, got 3x2"),
        ({"input.1": random(2, 3), "z": random(3)}, "unknown input 'z'.*\n.*input.1, y"),
        ({"input.1": random(2, 3), "y": np.array(["a", "b", "c"])}, "expected numbers"),
    ],
)
def test_wrong_inputs(inputs: dict[str, Any], message: str):
    with pytest.raises(KpuError, match=message):
        evaluate(parse(MIX), inputs)


def test_elided_values():
    module = parse("""func.func @main() -> tensor<4xf32> {
      %c = kernel.constant dense_resource<elided> : tensor<4xf32>
      func.return %c : tensor<4xf32> }""")
    with pytest.raises(KpuError, match="values elided"):
        evaluate(module, {})
