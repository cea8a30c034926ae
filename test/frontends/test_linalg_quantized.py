"""linalg's quantized products, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kpu_ir
from kpu_ir.dialects import kernel
from kpu_ir.frontends.linalg import linalg_to_kernel
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.registry import context
from kpu_ir.text.parsing import parse_module

RNG = np.random.default_rng(0)
I8 = np.int8


def named(name: str, x: Any, w: Any, out: Any, zeros: tuple[int, int]) -> str:
    """A function of one quantized product, which starts from zeros."""

    def kind(shape: Any, element: str) -> str:
        return f"tensor<{'x'.join(str(n) for n in [*shape, element])}>"

    a, b, y = kind(x.shape, "i8"), kind(w.shape, "i8"), kind(out, "i32")
    return f"""
"builtin.module"() ({{
  "func.func"() <{{sym_name = "main", function_type = ({a}, {b}) -> {y}}}> ({{
  ^bb0(%x: {a}, %w: {b}):
    %z = "arith.constant"() <{{value = 0 : i32}}> : () -> i32
    %zx = "arith.constant"() <{{value = {zeros[0]} : i32}}> : () -> i32
    %zw = "arith.constant"() <{{value = {zeros[1]} : i32}}> : () -> i32
    %e = "tensor.empty"() : () -> {y}
    %f = "linalg.fill"(%z, %e) <{{operandSegmentSizes = array<i32: 1, 1>}}> ({{
    ^bb0(%p: i32, %q: i32):
      "linalg.yield"(%p) : (i32) -> ()
    }}) : (i32, {y}) -> {y}
    %y = "linalg.{name}"(%x, %w, %zx, %zw, %f) <{{operandSegmentSizes = array<i32: 4, 1>}}> ({{
    ^bb0(%a: i8, %b: i8, %c: i32, %d: i32, %o: i32):
      %ae = "arith.extsi"(%a) : (i8) -> i32
      %as = "arith.subi"(%ae, %c) : (i32, i32) -> i32
      %be = "arith.extsi"(%b) : (i8) -> i32
      %bs = "arith.subi"(%be, %d) : (i32, i32) -> i32
      %m = "arith.muli"(%as, %bs) : (i32, i32) -> i32
      %s = "arith.addi"(%o, %m) : (i32, i32) -> i32
      "linalg.yield"(%s) : (i32) -> ()
    }}) : ({a}, {b}, i32, i32, {y}) -> {y}
    "func.return"(%y) : ({y}) -> ()
  }}) : () -> ()
}}) : () -> ()
"""


def numbers(*shape: int) -> Any:
    return RNG.integers(-128, 128, shape).astype(I8)


def windows(x: Any, k: int) -> Any:
    """Of n x c x h x w: n, c, h', w', k, k."""
    return np.lib.stride_tricks.sliding_window_view(x.astype(int), (k, k), (2, 3))


X, W = numbers(1, 3, 6, 6), numbers(4, 3, 3, 3)
CASES: dict[str, tuple[Any, Any, Any]] = {
    "quantized_matmul": (numbers(5, 33), numbers(33, 7), lambda a, b: a @ b),
    "quantized_batch_matmul": (numbers(2, 5, 33), numbers(2, 33, 7), lambda a, b: a @ b),
    "conv_2d_nchw_fchw_q": (
        X, W, lambda x, w: np.einsum("nchwij,ocij->nohw", windows(x, 3), w)
    ),
    "conv_2d_nhwc_hwcf_q": (
        X.transpose(0, 2, 3, 1), W.transpose(2, 3, 1, 0),
        lambda x, w: np.einsum("nchwij,ijco->nhwo", windows(x.transpose(0, 3, 1, 2), 3), w),
    ),
    "depthwise_conv_2d_nhwc_hwc_q": (
        X.transpose(0, 2, 3, 1), W[0].transpose(1, 2, 0),
        lambda x, w: np.einsum("nchwij,ijc->nhwc", windows(x.transpose(0, 3, 1, 2), 3), w),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("zeros", [(0, 0), (3, 0), (-7, 5)])
def test_as_numpy(name: str, zeros: tuple[int, int]):
    x, w, product = CASES[name]
    expected = product(x.astype(int) - zeros[0], w.astype(int) - zeros[1])
    text = named(name, x, w, expected.shape, zeros)
    module = parse_module(text, "m.mlir", context())
    linalg_to_kernel(module)
    module.verify()
    (got,) = evaluate(module, [x, w])
    np.testing.assert_array_equal(got, expected)
    product = [o for o in module.walk() if isinstance(o, kernel.MatmulOp | kernel.ConvOp)]
    assert len(product) == 1  # of bytes, on the array


def test_on_the_machine(tmp_path: Any):
    x, w, product = CASES["quantized_matmul"]
    path = tmp_path / "m.mlir"
    path.write_text(named("quantized_matmul", x, w, (5, 7), (3, 0)))
    program = kpu_ir.load(path, search="none")
    (got,) = program(dict(zip([p.name for p in program.program.inputs], (x, w)))).values()
    np.testing.assert_array_equal(got, product(x.astype(int) - 3, w.astype(int)))
