"""What scalar bodies compute and cost."""

from __future__ import annotations

from collections import Counter
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from xdsl.context import Context
from xdsl.dialects.arith import Arith
from xdsl.dialects.builtin import Builtin
from xdsl.dialects.func import Func, FuncOp
from xdsl.dialects.math import Math
from xdsl.dialects.scf import Scf
from xdsl.ir import Block
from xdsl.parser import Parser

from kpu_ir.scalar.body import compile_body, op_classes
from kpu_ir.scalar.ops import ALLOCATING, BOOLEAN, FREE, IN_PLACE, PRICES
from kpu_ir.scalar.requantize import priced, requantizations
from kpu_ir.support.errors import KpuError

X = np.array([-200, -20, -3.5, -2.5, -1, -0.5, -0.0, 0, 1e-3, 0.5, 1, 1.5, 20, 200], np.float32)


def body(text: str) -> Block:
    """The block of a function whose body is ``text``."""
    context = Context()
    for dialect in (Builtin, Func, Arith, Math, Scf):
        context.load_dialect(dialect)
    arguments, lines = text.split("|")
    module = Parser(context, f"func.func @f({arguments}) {{\n{lines}\n}}").parse_module()
    function = module.body.block.first_op
    assert isinstance(function, FuncOp)
    return function.body.block


def unary(op: str, kind: str = "f32", result: str | None = None) -> Block:
    """One operation of one operand."""
    types = kind if result is None else f"{kind} to {result}"
    result = result or kind
    return body(f"%x: {kind} | %r = {op} %x : {types}\n func.return %r : {result}")


def binary(op: str, kind: str = "f32", result: str | None = None) -> Block:
    """One operation of two operands."""
    return body(
        f"%x: {kind}, %y: {kind} | %r = {op} %x, %y : {kind}\n func.return %r : {result or kind}"
    )


GELU = """%x: f32 |
  %half = arith.constant 0.5 : f32
  %one = arith.constant 1.0 : f32
  %r2 = arith.constant 0.70710678 : f32
  %s = arith.mulf %x, %r2 : f32
  %e = math.erf %s : f32
  %p = arith.addf %e, %one : f32
  %h = arith.mulf %x, %half : f32
  %r = arith.mulf %h, %p : f32
  func.return %r : f32"""


@pytest.mark.filterwarnings("error")
def test_formulas_hold_over_the_whole_range():
    from scipy.special import ndtr

    gelu = compile_body(body(GELU))
    got = gelu(X)
    assert got.dtype == np.float32
    assert got[-2] == 20
    assert got[-1] == 200
    assert got[0] == 0
    np.testing.assert_allclose(got, X * ndtr(X.astype(np.float64)), rtol=1e-5, atol=1e-6)
    sigmoid = compile_body(
        body("""%x: f32 | %one = arith.constant 1.0 : f32
        %n = arith.negf %x : f32
        %e = math.exp %n : f32
        %p = arith.addf %e, %one : f32
        %r = arith.divf %one, %p : f32
        func.return %r : f32""")
    )
    assert sigmoid(X)[0] == 0
    assert sigmoid(X)[-1] == 1


def test_inputs_are_never_written():
    gelu = compile_body(body(GELU))
    x = X.copy()
    first = gelu(x)
    second = gelu(x)
    assert np.array_equal(x, X)
    assert np.array_equal(first, second)
    assert first is not second


def test_few_temporaries():
    """A formula of five operations needs two arrays beside its input."""
    import tracemalloc

    gelu = compile_body(body(GELU))
    x = np.ones(1_000_000, np.float32)
    gelu(x)
    tracemalloc.start()
    gelu(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.2 * x.nbytes


@pytest.mark.parametrize("shapes", [((), ()), ((), (3,)), ((4, 1), (3,)), ((1,), ())])
def test_operands_broadcast(shapes: tuple[tuple[int, ...], ...]):
    f = compile_body(
        body("""%x: f32, %y: f32 | %a = math.absf %x : f32
        %b = math.sqrt %a : f32
        %c = arith.addf %b, %y : f32
        %d = arith.addf %c, %b : f32
        func.return %d : f32""")
    )
    x, y = (np.full(s, v, np.float32) for s, v in zip(shapes, (4, 5)))
    expected = np.sqrt(np.abs(x)) * 2 + y
    assert f(x, y).shape == expected.shape
    assert np.array_equal(f(x, y), expected)


def test_unused_arguments_and_constants_still_fill_the_shape():
    f = compile_body(body("%x: f32, %y: f32 | func.return %y : f32"))
    x, y = np.zeros((2, 3), np.float32), np.ones(3, np.float32)
    assert np.array_equal(f(x, y), np.ones((2, 3)))
    g = compile_body(body("%x: f32 | %c = arith.constant 7 : i32\n func.return %c : i32"))
    assert np.array_equal(g(x), np.full((2, 3), 7, np.int32))
    assert g(x).dtype == np.int32
    h = compile_body(body("%x: f32 | func.return %x : f32"))
    assert not np.shares_memory(h(x), x)


@pytest.mark.parametrize(
    ("name", "dtype"), [("f16", np.float16), ("bf16", ml_dtypes.bfloat16), ("f64", np.float64)]
)
def test_narrow_floats_are_computed_in_f32_and_rounded_once(name: str, dtype: Any):
    text = f"""%x: {name}, %y: {name} | %a = arith.mulf %x, %y : {name}
      %b = arith.addf %a, %y : {name}
      func.return %b : {name}"""
    x, y = np.float64([1.01, 3.3, 1000]).astype(dtype), np.float64([1.7, 0.1, 3]).astype(dtype)
    wide = np.float64 if dtype is np.float64 else np.float32
    expected = (x.astype(wide) * y.astype(wide) + y.astype(wide)).astype(dtype)
    got = compile_body(body(text))(x, y)
    assert got.dtype == dtype
    assert np.array_equal(got, expected)


def test_precision_computes_floats_in_f64():
    f = compile_body(body(GELU), precision=np.float64)
    assert f(X).dtype == np.float64
    cast = compile_body(unary("arith.truncf", "f32", "bf16"), precision=np.float64)
    assert cast(np.float64([1.001]))[0] == 1.001


def test_truncf_rounds_on_the_way():
    f = compile_body(
        body("""%x: f32 | %a = arith.truncf %x : f32 to bf16
        %b = arith.extf %a : bf16 to f32
        func.return %b : f32""")
    )
    assert f(np.float32([1.001]))[0] == 1.0


INTEGERS = [
    ("arith.addi", [127, -8, 7], [1, 3, -2], [-128, -5, 5]),
    ("arith.divsi", [7, -7, 7], [2, 2, -2], [3, -3, -3]),
    ("arith.floordivsi", [7, -7, 7], [2, 2, -2], [3, -4, -4]),
    ("arith.ceildivsi", [7, -7, 7], [2, 2, -2], [4, -3, -3]),
    ("arith.remsi", [7, -7, 7], [2, 2, -2], [1, -1, 1]),
    ("arith.divui", [-2, 7, 100], [2, 2, 3], [127, 3, 33]),
    ("arith.ceildivui", [-1, 7, 100], [2, 2, 3], [-128, 4, 34]),
    ("arith.remui", [-1, 7, 100], [16, 4, 3], [15, 3, 1]),
    ("arith.maxsi", [-1, 7, 1], [1, 2, 3], [1, 7, 3]),
    ("arith.maxui", [-1, 7, 1], [1, 2, 3], [-1, 7, 3]),
    ("arith.minui", [-1, 7, 1], [1, 2, 3], [1, 2, 1]),
    ("arith.shli", [1, 64, -1], [3, 1, 1], [8, -128, -2]),
    ("arith.shrsi", [-8, 8, -1], [1, 1, 1], [-4, 4, -1]),
    ("arith.shrui", [-8, 8, -1], [1, 1, 1], [124, 4, 127]),
    ("arith.xori", [5, 1, -1], [1, 1, 1], [4, 0, -2]),
    ("math.ipowi", [2, -1, 3], [3, -3, -1], [8, -1, 0]),
]


@pytest.mark.parametrize(("op", "x", "y", "expected"), INTEGERS)
def test_integers(op: str, x: list[int], y: list[int], expected: list[int]):
    got = compile_body(binary(op, "i8"))(np.int8(x), np.int8(y))
    assert got.dtype == np.int8
    assert got.tolist() == expected


def test_unsigned_arrays_are_read_as_the_same_bits():
    x, y = np.uint8([250, 7]), np.uint8([2, 2])
    assert compile_body(binary("arith.divui", "i8"))(x, y).view(np.uint8).tolist() == [125, 3]
    assert compile_body(unary("arith.uitofp", "i8", "f32"))(x).tolist() == [250, 7]


def test_bits():
    x = np.int32([1, 0, -1, 40])
    assert compile_body(unary("math.ctlz", "i32"))(x).tolist() == [31, 32, 0, 26]
    assert compile_body(unary("math.cttz", "i32"))(x).tolist() == [0, 32, 0, 3]
    assert compile_body(unary("math.ctpop", "i32"))(x).tolist() == [1, 0, 32, 2]


BOOLEANS = {
    "arith.addi": [0, 1, 1, 0],
    "arith.muli": [0, 0, 0, 1],
    "arith.ori": [0, 1, 1, 1],
    "arith.maxsi": [0, 0, 0, 1],
    "arith.maxui": [0, 1, 1, 1],
    "arith.cmpi ult,": [0, 1, 0, 0],
    "arith.cmpi slt,": [0, 0, 1, 0],
    "arith.cmpi eq,": [1, 0, 0, 1],
}


@pytest.mark.parametrize("op", BOOLEANS)
def test_booleans(op: str):
    x, y = np.bool_([0, 0, 1, 1]), np.bool_([0, 1, 0, 1])
    got = compile_body(binary(op, "i1"))(x, y)
    assert got.dtype == np.bool_
    assert got.tolist() == [bool(v) for v in BOOLEANS[op]]


def test_casts():
    def run(op: str, source: str, target: str, values: Any) -> Any:
        return compile_body(unary(op, source, target))(values).tolist()

    assert run("arith.fptosi", "f32", "i32", np.float32([-1.7, 1.7])) == [-1, 1]
    assert run("arith.extui", "i1", "i32", np.bool_([0, 1])) == [0, 1]
    assert run("arith.extsi", "i1", "i32", np.bool_([0, 1])) == [0, -1]
    assert run("arith.uitofp", "i1", "f32", np.bool_([0, 1])) == [0, 1]
    assert run("arith.trunci", "i32", "i1", np.int32([2, 3])) == [False, True]
    assert run("arith.trunci", "i32", "i8", np.int32([257, -129])) == [1, 127]
    assert run("arith.extui", "i8", "i32", np.int8([-1, 5])) == [255, 5]
    assert run("arith.bitcast", "f32", "i32", np.float32([1])) == [0x3F800000]
    assert run("arith.index_cast", "i32", "index", np.int32([4])) == [4]


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        ("false", [0, 0, 0, 0]),
        ("oeq", [0, 1, 0, 0]),
        ("ogt", [0, 0, 1, 0]),
        ("ole", [1, 1, 0, 0]),
        ("one", [1, 0, 1, 0]),
        ("ord", [1, 1, 1, 0]),
        ("ueq", [0, 1, 0, 1]),
        ("ult", [1, 0, 0, 1]),
        ("uge", [0, 1, 1, 1]),
        ("une", [1, 0, 1, 1]),
        ("uno", [0, 0, 0, 1]),
        ("true", [1, 1, 1, 1]),
    ],
)
def test_float_comparisons(predicate: str, expected: list[int]):
    x, y = np.float32([1, 2, 3, np.nan]), np.float32([2, 2, 2, 2])
    got = compile_body(binary(f"arith.cmpf {predicate},", "f32", "i1"))(x, y)
    assert got.tolist() == [bool(v) for v in expected]


def test_rounding():
    x = np.float32([-2.5, -0.5, 0.49999997, 0.5, 1.5, 2.5])
    assert compile_body(unary("math.round"))(x).tolist() == [-3, -1, 0, 1, 2, 3]
    assert compile_body(unary("math.roundeven"))(x).tolist() == [-2, 0, 0, 0, 2, 2]


def test_nan_and_extrema():
    x, y = np.float32([np.nan, 1]), np.float32([1, 2])
    assert np.isnan(compile_body(binary("arith.maximumf"))(x, y)[0])
    assert compile_body(binary("arith.maxnumf"))(x, y).tolist() == [1, 2]


def test_fma_rounds_once():
    x = np.float32([1 + 2**-12])
    f = compile_body(
        body("%x: f32, %y: f32 | %r = math.fma %x, %x, %y : f32\n func.return %r : f32")
    )
    assert f(x, np.float32([-1]))[0] == np.float32((1 + 2.0**-12) ** 2 - 1)


def test_classes():
    assert op_classes(body(GELU)) == Counter(add=1, multiply=3, erf=1)
    assert op_classes(unary("math.sqrt")) == Counter(sqrt=1)
    assert op_classes(unary("arith.extf", "f16", "f32")) == Counter(cast=1)


ZERO_POINT = """%x: f32 | %z = arith.constant 3 : i8
    %s = arith.constant 0.1 : f32
    %a = arith.divf %x, %s : f32
    %b = math.roundeven %a : f32
    %c = arith.extsi %z : i8 to i32
    %d = arith.sitofp %c : i32 to f32
    %e = arith.addf %b, %d : f32
    %low = arith.constant -128.0 : f32
    %f = arith.maximumf %e, %low : f32
    %g = arith.fptosi %f : f32 to i32
    %r = arith.trunci %g : i32 to i8
    func.return %r : i8"""
BY_CHANNEL = """%x: i32, %s: f32 | %w = arith.sitofp %x : i32 to f32
    %a = arith.mulf %w, %s : f32
    %b = math.roundeven %a : f32
    %r = arith.fptosi %b : f32 to i8
    func.return %r : i8"""
TWICE = """%x: f32, %s: f32 | %a = arith.mulf %x, %s : f32
    %b = math.roundeven %a : f32
    %g = arith.fptosi %b : f32 to i32
    %h = arith.fptosi %a : f32 to i32
    %r = arith.addi %g, %h : i32
    func.return %r : i32"""
TRUNCATED = """%x: f32, %s: f32 | %a = arith.mulf %x, %s : f32
    %r = arith.fptosi %a : f32 to i32
    func.return %r : i32"""


BIASED = """%x: i32, %c: i32, %s: f32 | %t = arith.addi %c, %x : i32
    %w = arith.sitofp %t : i32 to f32
    %a = arith.mulf %w, %s : f32
    %b = math.roundeven %a : f32
    %r = arith.fptosi %b : f32 to i8
    func.return %r : i8"""
TWO_SUMS = """%x: i32, %y: i32, %c: i32, %s: f32 | %u = arith.muli %x, %y : i32
    %v = arith.addi %u, %c : i32
    %t = arith.addi %v, %c : i32
    %w = arith.sitofp %t : i32 to f32
    %a = arith.mulf %w, %s : f32
    %b = math.roundeven %a : f32
    %r = arith.fptosi %b : f32 to i8
    func.return %r : i8"""
UNSCALED = """%x: f32 | %a = math.exp %x : f32
    %b = math.roundeven %a : f32
    %r = arith.fptosi %b : f32 to i8
    func.return %r : i8"""


@pytest.mark.parametrize(
    ("text", "beside"),
    [
        (ZERO_POINT, []),
        (BY_CHANNEL, []),
        (BIASED, []),
        (TWO_SUMS, ["arith.muli", "arith.addi"]),
        (UNSCALED, ["math.exp"]),
        (TWICE, ["arith.mulf", "arith.fptosi", "arith.addi"]),
        (TRUNCATED, None),
    ],
    ids=["zero point", "by channel", "biased", "two sums", "unscaled", "used twice", "not rounded"],
)
def test_a_requantization_is_one_pass(text, beside):
    """One bias, conversion, scale, rounding, zero point, clamp, conversion, narrowing; what is beside it is paid for."""
    block = body(text)
    passes = requantizations(block)
    if beside is None:
        assert not passes
        return
    (ops,) = passes
    free = {"arith.constant", "func.return"}
    assert [op.name for op in block.ops if op not in ops and op.name not in free] == beside
    paid = priced(block, passes)
    assert paid == Counter(requantize=1) + Counter(PRICES[name] for name in beside)
    assert priced(block, []) == op_classes(block)


def test_every_operation_has_a_price_and_a_meaning():
    meant = {*IN_PLACE, *ALLOCATING, "math.erf", "arith.extf", "arith.truncf"}
    assert meant == (set(PRICES) | FREE & set(ALLOCATING))
    assert set(BOOLEAN) <= meant


def test_every_operation_of_arith_and_math_is_covered():
    left_out = {"addui_extended", "mului_extended", "mulsi_extended"}
    names = {op.name for dialect in (Arith, Math) for op in dialect.operations}
    missing = names - set(PRICES) - FREE - {f"arith.{name}" for name in left_out}
    assert not missing


def test_an_unknown_operation_is_named():
    block = body("""%x: f32, %c: i1 | %r = scf.if %c -> (f32) { scf.yield %x : f32 }
        else { scf.yield %x : f32 }
        func.return %r : f32""")
    with pytest.raises(KpuError, match=r"scf\.if"):
        compile_body(block)
    with pytest.raises(KpuError, match=r"scf\.if"):
        op_classes(block)


BOUNDS = """%x: f32 |
  %low = arith.constant 0.0 : f32
  %high = arith.constant 6.0 : f32
  %a = arith.maximumf {first} : f32
  %b = arith.minimumf {second} : f32
  func.return %b : f32"""


@pytest.mark.parametrize("first", ["%x, %low", "%low, %x"])
@pytest.mark.parametrize("second", ["%a, %high", "%high, %a", "%a, %x", "%a, %a"])
def test_constant_bounds(first: str, second: str) -> None:
    """One call for both, where only the second reads the first; what is no number stays none."""
    x = np.array([-np.inf, -1, -0.0, 0.5, 6, 7, np.inf, np.nan], np.float32)
    a = np.maximum(x, np.float32(0))
    other = {"%high": np.float32(6), "%x": x, "%a": a}
    left, right = second.split(", ")
    expected = np.minimum(other[left], other[right])
    text = BOUNDS.format(first=first, second=second)
    f = compile_body(body(text))
    np.testing.assert_array_equal(f(x), expected)
    assert x[1] == -1
    out = np.zeros_like(x)
    assert f(x, out=out) is out
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(f(x, out=x), expected)


def test_crossed_bounds() -> None:
    """A lower bound above the upper one: the later of the two decides."""
    for ops, last in (("maximumf minimumf", 1.0), ("minimumf maximumf", 2.0)):
        lower, upper = ("%two", "%one") if ops.startswith("max") else ("%one", "%two")
        one, two = ops.split()
        f = compile_body(
            body(
                "%x: f32 | %one = arith.constant 1.0 : f32\n %two = arith.constant 2.0 : f32\n"
                f" %a = arith.{one} %x, {lower} : f32\n %b = arith.{two} %a, {upper} : f32\n"
                " func.return %b : f32"
            )
        )
        assert f(np.array([0, 1.5, 3], np.float32)).tolist() == [last] * 3


def test_a_result_goes_where_it_is_asked_to() -> None:
    """Of another type, broadcast, or nothing but an argument."""
    x, y = np.arange(3, dtype=np.float32), np.ones((2, 1), np.float32)
    add = compile_body(
        body("%x: f32, %y: f32 | %z = arith.addf %x, %y : f32\n func.return %z : f32")
    )
    for kind in (np.float32, np.float64, np.float16):
        out = np.empty((2, 3), kind)
        assert add(x, y, out=out) is out
        np.testing.assert_array_equal(out, [[1, 2, 3], [1, 2, 3]])
    out = np.empty((2, 3), np.float32)
    compile_body(body("%x: f32, %y: f32 | func.return %x : f32"))(x, y, out=out)
    np.testing.assert_array_equal(out, [[0, 1, 2], [0, 1, 2]])
