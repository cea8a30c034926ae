"""linalg as mlir-opt and iree-opt print it today: what MLIR's verifier accepts is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kpu_ir
from kpu_ir.frontends.linalg import linalg_to_kernel
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.registry import context
from kpu_ir.support.errors import KpuError
from kpu_ir.text.parsing import parse_module

RNG = np.random.default_rng(0)


def run(text: str, *inputs: Any) -> list[Any]:
    """The outputs of a text."""
    module = parse_module(text, "m.mlir", context())
    linalg_to_kernel(module)
    module.verify()
    return list(evaluate(module, inputs))


def refused(text: str) -> str:
    """What is said of a text."""
    with pytest.raises(KpuError) as caught:
        run(text)
    return str(caught.value)


def kind(shape: Any) -> str:
    """A tensor type of f32."""
    return f"tensor<{'x'.join(str(n) for n in [*shape, 'f32'])}>"


def window(name: str, x: Any, w: Any, out: Any, properties: str = "", by: str = "mulf") -> str:
    """A function of one convolution or pooling, which starts from zeros."""
    types = ", ".join(kind(s) for s in (x, w, out))
    product = '%p = "arith.mulf"(%a, %b) : (f32, f32) -> f32\n' if by == "mulf" else ""
    summed = "%p" if product else "%a"
    return f"""
"builtin.module"() ({{
  "func.func"() <{{sym_name = "main", function_type = ({kind(x)}, {kind(w)}) -> {kind(out)}}}> ({{
  ^bb0(%x: {kind(x)}, %w: {kind(w)}):
    %z = "arith.constant"() <{{value = 0.0 : f32}}> : () -> f32
    %e = "tensor.empty"() : () -> {kind(out)}
    %f = "linalg.fill"(%z, %e) <{{operandSegmentSizes = array<i32: 1, 1>}}> ({{
    ^bb0(%p: f32, %q: f32):
      "linalg.yield"(%p) : (f32) -> ()
    }}) : (f32, {kind(out)}) -> {kind(out)}
    %y = "linalg.{name}"(%x, %w, %f) <{{operandSegmentSizes = array<i32: 2, 1>{properties}}}> ({{
    ^bb0(%a: f32, %b: f32, %o: f32):
      {product}%s = "arith.addf"(%o, {summed}) : (f32, f32) -> f32
      "linalg.yield"(%s) : (f32) -> ()
    }}) : ({types}) -> {kind(out)}
    "func.return"(%y) : ({kind(out)}) -> ()
  }}) : () -> ()
}}) : () -> ()
"""


WINDOWS: dict[str, tuple[str, Any, Any, Any, str]] = {
    "1": ("conv_1d_ncw_fcw", (2, 3, 8), (4, 3, 3), (2, 4, 6), "ncx,fci->nfx"),
    "2": ("conv_2d_nhwc_hwcf", (1, 8, 7, 3), (3, 2, 3, 4), (1, 6, 6, 4), "nyxc,jicf->nyxf"),
    "2 alone": ("conv_2d", (8, 7), (3, 2), (6, 6), "yx,ji->yx"),
    "depthwise": (
        "depthwise_conv_2d_nhwc_hwc", (1, 8, 7, 3), (3, 2, 3), (1, 6, 6, 3), "nyxc,jic->nyxc",
    ),
    "3": (
        "conv_3d_ndhwc_dhwcf", (1, 4, 5, 6, 2), (2, 3, 2, 2, 3), (1, 3, 3, 5, 3),
        "nzyxc,kjicf->nzyxf",
    ),
    "3, channels first": (
        "conv_3d_ncdhw_fcdhw", (2, 2, 4, 5, 6), (3, 2, 2, 3, 2), (2, 3, 3, 3, 5),
        "nczyx,fckji->nfzyx",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WINDOWS)
def test_windows_without_strides_and_dilations(case: str):
    name, x, w, out, terms = WINDOWS[case]
    image, weights = (RNG.normal(size=s).astype(np.float32) for s in (x, w))
    source, rest = terms.split("->")
    left, right = source.split(",")
    axes = [left.index(a) for a in "zyx" if a in left]
    spans = [w[right.index(a)] for a in "kji" if a in right]
    windows = np.lib.stride_tricks.sliding_window_view(image.astype(float), spans, tuple(axes))
    inner = "".join(a for a in "kji" if a in right)
    expected = np.einsum(f"{left}{inner},{right}->{rest}", windows, weights)
    (got,) = run(window(name, x, w, out), image, weights)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_pooling_of_volumes_without_strides():
    x = RNG.normal(size=(1, 4, 5, 6, 2)).astype(np.float32)
    text = window("pooling_ndhwc_sum", x.shape, (2, 3, 2), (1, 3, 3, 5, 2), by="addf")
    windows = np.lib.stride_tricks.sliding_window_view(x, (2, 3, 2), (1, 2, 3))
    (got,) = run(text, x, np.zeros((2, 3, 2), np.float32))
    np.testing.assert_allclose(got, windows.sum((-3, -2, -1)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["strides", "dilations"])
@pytest.mark.parametrize("value", ["dense<1> : tensor<1xi64>", "dense<0> : tensor<2xi64>"])
def test_strides_that_do_not_fit_name_their_property(name: str, value: str):
    said = refused(window("conv_2d", (8, 7), (3, 2), (6, 6), f", {name} = {value}"))
    assert said.startswith("m.mlir:11:5: linalg.conv_2d: ")
    assert f"'{name}': expected 2 numbers above 0" in said.splitlines()[0]


def function(body: str, inputs: str, result: str, name: str = "main") -> str:
    """A function in generic form."""
    types = ", ".join(text.split(": ")[1] for text in inputs.split("; "))
    return f"""
"builtin.module"() ({{
  "func.func"() <{{sym_name = "{name}", function_type = ({types}) -> {result}}}> ({{
  ^bb0({inputs.replace("; ", ", ")}):
{body}
  }}) : () -> ()
}}) : () -> ()
"""


def test_shapes_of_rank_0():
    text = function(
        """
    %0 = "tensor.expand_shape"(%a) <{reassociation = [], static_output_shape = array<i64: 1, 1>}>
        : (tensor<f32>) -> tensor<1x1xf32>
    %1 = "tensor.collapse_shape"(%0) <{reassociation = []}> : (tensor<1x1xf32>) -> tensor<f32>
    "func.return"(%0, %1) : (tensor<1x1xf32>, tensor<f32>) -> ()""",
        "%a: tensor<f32>",
        "(tensor<1x1xf32>, tensor<f32>)",
    )
    got = run(text, np.float32(7))
    assert [(v.shape, v.item()) for v in got] == [((1, 1), 7.0), ((), 7.0)]


MAP = """
    %0 = "tensor.empty"() : () -> tensor<4x{result}>
    %1 = "linalg.generic"(%a, %0) <{{indexing_maps = [affine_map<(d0) -> (d0)>,
        affine_map<(d0) -> (d0)>], iterator_types = [#linalg.iterator_type<parallel>],
        operandSegmentSizes = array<i32: 1, 1>}}> ({{
    ^bb0(%b: {source}, %c: {result}):
      %2 = {op} : ({source}) -> {result}
      "linalg.yield"(%2) : ({result}) -> ()
    }}) : (tensor<4x{source}>, tensor<4x{result}>) -> tensor<4x{result}>
    "func.return"(%1) : (tensor<4x{result}>) -> ()"""

FLAGS: dict[str, tuple[str, str, str, Any, Any]] = {
    "overflow": (
        '"arith.trunci"(%b) <{overflowFlags = #arith.overflow<none>}>', "i64", "i32",
        np.array([1, -2, 2**31 - 1, 5], np.int64), np.array([1, -2, 2**31 - 1, 5], np.int32),
    ),
    "not negative": (
        '"arith.extui"(%b) <{nonNeg}>', "i32", "i64",
        np.array([1, 2, 3, 5], np.int32), np.array([1, 2, 3, 5], np.int64),
    ),
    "rounding": (
        '"arith.truncf"(%b) <{fastmath = #arith.fastmath<none>, roundingmode = 0 : i32}>', "f32",
        "f16", np.float32([1, 2, 3, 0.1]), np.float16([1, 2, 3, 0.1]),
    ),
    "no number": (
        '"math.isnan"(%b) <{fastmath = #arith.fastmath<none>}>', "f32", "i1",
        np.float32([1, np.nan, np.inf, 0]), np.array([False, True, False, False]),
    ),
    "infinite": (
        '"math.isinf"(%b)', "f32", "i1",
        np.float32([1, np.nan, -np.inf, 0]), np.array([False, False, True, False]),
    ),
    "finite": (
        '"math.isfinite"(%b)', "f32", "i1",
        np.float32([1, np.nan, -np.inf, 0]), np.array([True, False, False, True]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FLAGS)
def test_scalars_with_flags_and_names_that_are_new(case: str):
    op, source, result, x, expected = FLAGS[case]
    body = MAP.format(op=op, source=source, result=result)
    text = function(body, f"%a: tensor<4x{source}>", f"tensor<4x{result}>")
    (got,) = run(text, x)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


# Functions that pass values on

VIEW = "!hal.buffer_view"
IREE = """
"builtin.module"() ({{
  "util.func"() <{{function_type = ({types}) -> ({results}), sym_name = "net$async"}}> ({{
  ^bb0({arguments}):
{body}
  }}) : () -> ()
  "util.func"() <{{function_type = ({VIEW}) -> {VIEW}, sym_name = "net"}}> ({{
  ^bb0(%a: {VIEW}):
    %n = "util.null"() : () -> !hal.fence
    %0 = "util.call"(%a, %n, %n) <{{callee = @net$async}}>
        : ({VIEW}, !hal.fence, !hal.fence) -> {VIEW}
    "util.return"(%0) : ({VIEW}) -> ()
  }}) : () -> ()
}}) : () -> ()
"""


def iree(body: str, results: str = VIEW) -> str:
    """A function as IREE's binding makes it, with the one that calls it."""
    types = f"{VIEW}, !hal.fence, !hal.fence"
    arguments = f"%a: {VIEW}, %wait: !hal.fence, %signal: !hal.fence"
    return IREE.format(types=types, arguments=arguments, body=body, results=results, VIEW=VIEW)


IMPORT = f"""
    %0 = "hal.tensor.import"(%a, %wait) <{{name = "input0", operandSegmentSizes = array<i32: 1, 0, 1>,
        target_encoding = tensor<2x3xf32>}}> : ({VIEW}, !hal.fence) -> tensor<2x3xf32>"""


def test_a_function_that_passes_a_tensor_on():
    text = iree(f"""{IMPORT}
    %1 = "hal.tensor.barrier"(%0, %signal) : (tensor<2x3xf32>, !hal.fence) -> tensor<2x3xf32>
    %2 = "hal.tensor.export"(%1) <{{name = "output0", source_encoding = tensor<2x3xf32>}}>
        : (tensor<2x3xf32>) -> {VIEW}
    "util.return"(%2) : ({VIEW}) -> ()""")
    x = RNG.normal(size=(2, 3)).astype(np.float32)
    np.testing.assert_array_equal(run(text, x)[0], x)
    program = kpu_ir.compile(module_of(text), search="none")
    np.testing.assert_array_equal(next(iter(program({"a": x}).values())), x)


def module_of(text: str) -> Any:
    """At the kernel level."""
    module = parse_module(text, "m.mlir", context())
    linalg_to_kernel(module)
    return module


def test_a_result_that_is_an_argument_as_it_came():
    text = iree(
        f"""{IMPORT}
    %1 = "tensor.collapse_shape"(%0) <{{reassociation = [[0, 1]]}}>
        : (tensor<2x3xf32>) -> tensor<6xf32>
    %2 = "hal.tensor.export"(%1) : (tensor<6xf32>) -> {VIEW}
    "util.return"(%2, %a) : ({VIEW}, {VIEW}) -> ()""",
        f"{VIEW}, {VIEW}",
    )
    x = RNG.normal(size=(2, 3)).astype(np.float32)
    flat, again = run(text, x)
    np.testing.assert_array_equal(flat, x.reshape(6))
    np.testing.assert_array_equal(again, x)


def test_a_result_of_which_nothing_says_the_shape():
    said = refused(
        iree(f"""{IMPORT}
    %1 = "some.thing"(%a) : ({VIEW}) -> {VIEW}
    "util.return"(%1) : ({VIEW}) -> ()""")
    )
    assert "some.thing" in said or "'result0'" in said
    assert "m.mlir:" in said


def test_a_function_without_tensors_is_named(tmp_path: Path):
    path = tmp_path / "m.mlir"
    path.write_text(iree(f'    "util.return"(%a) : ({VIEW}) -> ()'))
    with pytest.raises(KpuError, match=r"m\.mlir:3:3.*@net\$async, @net: no operation on tensors"):
        kpu_ir.load(path)


def test_operands_that_are_missing_are_said():
    text = function(
        '    %0 = "linalg.matmul"(%a) <{operandSegmentSizes = array<i32: 2, 1>}> ({\n'
        "    ^bb0(%p: f32):\n"
        '      "linalg.yield"(%p) : (f32) -> ()\n'
        "    }) : (tensor<2x3xf32>) -> tensor<2x3xf32>\n"
        '    "func.return"(%0) : (tensor<2x3xf32>) -> ()',
        "%a: tensor<2x3xf32>",
        "tensor<2x3xf32>",
    )
    assert "m.mlir:5:5: linalg.matmul: " in refused(text)
