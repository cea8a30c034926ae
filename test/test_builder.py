"""Graphs in Python: what they compute, and what they say about mistakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from kpu_ir.frontends.python.graph import Graph
from kpu_ir.frontends.python.value import Value
from kpu_ir.interpreters.kernel import evaluate
from kpu_ir.scalar import formulas
from kpu_ir.support.errors import KpuError

X = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)


def run(function: Callable[[Graph, Value], Any], x: Any = X) -> Any:
    """The result of a graph of one input."""
    graph = Graph()
    graph.output("y", function(graph, graph.input("x", x.shape, x.dtype)))
    return evaluate(graph.module(), {"x": x})[0]


def test_a_network():
    w, b = X.T.copy(), np.arange(4, dtype=np.float32)
    got = run(lambda g, x: (x @ g.constant(w) + b).relu())
    np.testing.assert_allclose(got, np.maximum(X @ w + b, 0), rtol=1e-6)


OPERATORS: list[tuple[Callable[[Any], Any], Callable[[Any], Any]]] = [
    (lambda x: x + 1, lambda x: x + 1),
    (lambda x: 1 - x, lambda x: 1 - x),
    (lambda x: 2 * x, lambda x: 2 * x),
    (lambda x: x / 3, lambda x: x / 3),
    (lambda x: 3 / x, lambda x: 3 / x),
    (lambda x: x**2, lambda x: x**2),
    (lambda x: -x, lambda x: -x),
    (lambda x: abs(x), lambda x: abs(x)),
    (lambda x: np.ones(8) + x, lambda x: 1 + x),
    (lambda x: x * X[0], lambda x: x * X[0]),
    (lambda x: x.T, lambda x: x.T),
    (lambda x: X.T @ x, lambda x: X.T @ x),
    (lambda x: x.exp().log(), lambda x: x),
    (lambda x: abs(x).sqrt(), lambda x: np.sqrt(abs(x))),
    (lambda x: abs(x).pow(1.5), lambda x: abs(x) ** 1.5),
    (lambda x: x.clip(-0.5, 0.5), lambda x: np.clip(x, -0.5, 0.5)),
    (lambda x: x.clip(high=0), lambda x: np.minimum(x, 0)),
    (lambda x: x.maximum(0.1), lambda x: np.maximum(x, 0.1)),
    (lambda x: x.minimum(x.T.transpose(1, 0) * 2), lambda x: np.minimum(x, x * 2)),
    (lambda x: x.tanh(), np.tanh),
    (lambda x: x.sigmoid(), lambda x: 1 / (1 + np.exp(-x))),
    (lambda x: x.silu(), lambda x: x / (1 + np.exp(-x))),
    (lambda x: x.reshape(2, -1), lambda x: x.reshape(2, 16)),
    (lambda x: x.reshape((2, 16)).transpose(1, 0), lambda x: x.reshape(2, 16).T),
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(OPERATORS)))
def test_operators_and_methods(i: int):
    ours, numpys = OPERATORS[i]
    np.testing.assert_allclose(run(lambda g, x: ours(x)), numpys(X), rtol=1e-5, atol=1e-6)


def test_gelu_over_the_whole_range():
    from scipy.special import ndtr

    x = np.float32([-1e4, -20, -3, -0.1, 0, 0.1, 3, 20, 1e4])
    exact = x * ndtr(np.float64(x))
    np.testing.assert_allclose(run(lambda g, x: x.gelu(), x), exact, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(run(lambda g, x: x.gelu_tanh(), x), exact, atol=1e-3)
    assert run(lambda g, x: x.gelu(), np.float32([20]))[0] == 20


@pytest.mark.parametrize(
    ("shape", "other"),
    [((8,), (8,)), ((8,), (8, 3)), ((4, 8), (8,)), ((2, 4, 8), (8, 3)), ((2, 1, 4, 8), (5, 8, 3))],
)
def test_matmul_is_numpys(shape: tuple[int, ...], other: tuple[int, ...]):
    random = np.random.default_rng(1)
    x, w = (random.normal(size=s).astype(np.float32) for s in (shape, other))
    got = run(lambda g, v: v @ w, x)
    assert got.shape == np.matmul(x, w).shape
    np.testing.assert_allclose(got, np.matmul(x, w), rtol=1e-4, atol=1e-5)


def test_matmul_accumulator():
    x = X.astype(ml_dtypes.bfloat16)
    got = run(lambda g, v: g.matmul(v, v, transpose_b=True, dtype="f32"), x)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, x.astype(np.float32) @ x.astype(np.float32).T, rtol=1e-6)


def test_formulas_of_the_user():
    got = run(lambda g, x: g.map(lambda a, b: formulas.where(a > b, a * b + 1, -b), x, x * 0.5))
    half = X * np.float32(0.5)
    np.testing.assert_array_equal(got, np.where(half < X, X * half + 1, -half))


def test_numbers_become_part_of_the_formula_and_keep_their_names():
    graph = Graph()
    x = graph.input("image.1", (4,))
    graph.output("y", graph.map(lambda left, right: left * right, x, 2))
    text = str(graph.module())
    assert "%image: tensor<4xf32>" in text
    assert 'kernel.name = "image.1"' in text
    assert "kernel.constant" not in text
    assert "(%left: f32)" in text


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int64])
def test_integers(dtype: Any):
    x = np.array([7, 200, 3], dtype)
    assert run(lambda g, x: g.map(lambda a: a // 2 + a % 3, x), x).tolist() == [4, 102, 1]
    assert run(lambda g, x: x.maximum(100), x).tolist() == [100, 200, 100]
    assert run(lambda g, x: x.astype("f32") / 2, x).tolist() == [3.5, 100, 1.5]


def test_python_semantics_of_signed_integers():
    x = np.int32([-7, 7])
    assert run(lambda g, x: g.map(lambda a: a // 2, x), x).tolist() == [-4, 3]
    assert run(lambda g, x: g.map(lambda a: a % 3, x), x).tolist() == [2, 1]
    assert run(lambda g, x: g.map(lambda a: a % -3, x), x).tolist() == [-1, -2]


def test_booleans():
    got = run(lambda g, x: g.map(lambda a: (a > 0) & ~(a > 1) | (a == -1.0), x))
    assert got.dtype == np.bool_
    np.testing.assert_array_equal(got, ((X > 0) & ~(X > 1)) | (X == -1))


@pytest.mark.parametrize(
    ("source", "target"),
    [("f32", "bf16"), ("bf16", "f16"), ("f32", "i32"), ("ui8", "f32"), ("i8", "i32"), ("i1", "f32"),
     ("f32", "i1"), ("i32", "ui8"), ("ui8", "i32"), ("f32", "f64")],
)  # fmt: skip
def test_casts_are_numpys(source: str, target: str):
    from kpu_ir.support.types import dtype_of, element_type_named

    from_, to = (dtype_of(element_type_named(n)) for n in (source, target))
    x = np.array([0, 1, 2.75, 100], np.float32).astype(from_)
    got = run(lambda g, v: v.astype(target), x)
    assert got.dtype == to
    np.testing.assert_array_equal(got, x.astype(to))


def test_a_module_can_be_taken_and_the_graph_go_on():
    graph = Graph()
    x = graph.input("x", (4, 8))
    graph.output("y", x.relu())
    first = str(graph.module())
    assert str(graph.module()) == first
    graph.output("z", x @ x.T)
    y, z = evaluate(graph.module(), [X])
    np.testing.assert_array_equal(y, np.maximum(X, 0))
    np.testing.assert_allclose(z, X @ X.T, rtol=1e-6)


def test_operations_know_the_users_line():
    graph = Graph()
    y = graph.input("x", (4,)).relu()
    assert "test_builder.py" in str(y.ssa.owner.location)  # pyright: ignore


MISTAKES: list[tuple[Callable[[Graph, Value], Any], str]] = [
    (lambda g, x: x @ x, "no matrix product of shapes 4x8 and 4x8"),
    (lambda g, x: x + np.ones(3), "shapes do not broadcast: 4x8, 3"),
    (lambda g, x: x + np.ones(8, np.int8), "cannot combine f32 with i8"),
    (lambda g, x: x + "a", "expected a value, an array or a number"),
    (lambda g, x: x.reshape(5, -1), r"cannot reshape 4x8 to \(5, -1\)"),
    (lambda g, x: x.transpose(0, 0), "not an order of the 2 dimensions"),
    (lambda g, x: x.astype("f7"), "no element type 'f7'"),
    (lambda g, x: x.astype("i32").exp(), "exp needs a float, got i32"),
    (lambda g, x: x.astype("i32") / 2, r"/ of i32"),
    (lambda g, x: x.astype("i32") + 0.5, "cannot use 0.5 as i32"),
    (lambda g, x: x + Graph().input("z", (8,)), "belongs to another graph"),
    (lambda g, x: g.map(lambda a: a if a > 0 else -a, x), "cannot branch"),
    (lambda g, x: g.map(lambda a: None, x), "must return one value, got NoneType"),
    (lambda g, x: g.map(lambda a: formulas.exp(2), x), "exp of the number 2"),
    (lambda g, x: g.input("x", (1,)), "already an input 'x'"),
    (lambda g, x: g.input("n", (-1,)), "expected extents of 0 or more"),
    (lambda g, x: g.constant(np.array(["a"])), "expected a value, an array"),
]


@pytest.mark.parametrize("i", range(len(MISTAKES)))
def test_mistakes_are_told_with_the_users_line(i: int):
    function, message = MISTAKES[i]
    graph = Graph()
    x = graph.input("x", (4, 8))
    with pytest.raises(KpuError, match=message) as caught:
        function(graph, x)
    line = function.__code__.co_firstlineno
    assert caught.value.where == f"{__file__}:{line}"


def test_a_graph_without_outputs():
    with pytest.raises(KpuError, match="no output"):
        Graph().module()


def softmax(x: Any) -> Any:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def normal(x: Any) -> Any:
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)


LAYERS: list[tuple[Callable[[Any], Any], Callable[[Any], Any]]] = [
    (lambda x: x.sum(), np.sum),
    (lambda x: x.sum(1), lambda x: x.sum(1)),
    (lambda x: x.prod(-1, keepdims=True), lambda x: x.prod(-1, keepdims=True)),
    (lambda x: x.max((0, 1)), np.max),
    (lambda x: x.min(0), lambda x: x.min(0)),
    (lambda x: x.mean(1), lambda x: x.mean(1)),
    (lambda x: x.argmax(), lambda x: x.argmax(-1)),
    (lambda x: x.argmin(0, keepdims=True), lambda x: x.argmin(0, keepdims=True)),
    (lambda x: x.softmax(), softmax),
    (lambda x: x.log_softmax(), lambda x: np.log(softmax(x))),
    (lambda x: x.layernorm(), normal),
    (lambda x: x.layernorm(X[0], X[1]), lambda x: normal(x) * X[0] + X[1]),
    (lambda x: x.layernorm(shift=X[1]), lambda x: normal(x) + X[1]),
    (lambda x: x.rmsnorm(X[0]), lambda x: x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5) * X[0]),
    (lambda x: x[1], lambda x: x[1]),
    (lambda x: x[:, -1], lambda x: x[:, -1]),
    (lambda x: x[1:3, ::2], lambda x: x[1:3, ::2]),
    (lambda x: x[::-1, 5:1:-2], lambda x: x[::-1, 5:1:-2]),
    (lambda x: x[..., None, 3], lambda x: x[..., None, 3]),
    (lambda x: x[...], lambda x: x),
    (lambda x: x[0].broadcast_to(4, 8), lambda x: np.broadcast_to(x[0], (4, 8))),
    (lambda x: x.graph.take(x, [0, 0, 1, 1, 2, 2], 1), lambda x: np.repeat(x[:, :3], 2, 1)),
    (lambda x: x.graph.take(x, [3, 2, 1, 1, 1], 0), lambda x: x[[3, 2, 1, 1, 1]]),
    (lambda x: x.graph.take(x, [0, 3, 1, 7, 2, 4, 0, 5, 1, 6, 2, 3, 2, 7], 1),
     lambda x: x[:, [0, 3, 1, 7, 2, 4, 0, 5, 1, 6, 2, 3, 2, 7]]),
    (lambda x: x.graph.top_k(x, 3)[0], lambda x: -np.sort(-x, 1)[:, :3]),
    (lambda x: x.graph.top_k(x, 2, 0, smallest=True)[1], lambda x: np.argsort(x, 0)[:2]),
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(LAYERS)))
def test_layers(i: int):
    ours, numpys = LAYERS[i]
    got, expected = run(lambda g, x: ours(x)), numpys(X)
    assert got.shape == np.shape(expected)
    np.testing.assert_allclose(got, expected, rtol=2e-5, atol=1e-6)


def test_images():
    image = np.random.default_rng(1).normal(size=(1, 2, 5, 6)).astype(np.float32)
    got = run(lambda g, x: g.max_pool(x, (2, 3)), image)
    np.testing.assert_array_equal(got, image[:, :, :4].reshape(1, 2, 2, 2, 2, 3).max((3, 5)))
    got = run(lambda g, x: g.average_pool(x, (2, 3)), image)
    expected = image[:, :, :4].reshape(1, 2, 2, 2, 2, 3).mean((3, 5))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    got = run(lambda g, x: g.average_pool(x, (2, 2), low=(1, 1), strides=(1, 1)), image)
    np.testing.assert_allclose(got[..., 0, 0], image[..., 0, 0])
    row = image[0]
    got = run(lambda g, x: g.pool("add", x, (6,)), row)
    np.testing.assert_allclose(got[..., 0], row.sum(-1), rtol=1e-5)
    cube = np.random.default_rng(1).normal(size=(1, 2, 4, 4, 4)).astype(np.float32)
    got = run(lambda g, x: g.max_pool(x, (2, 2, 2)), cube)
    np.testing.assert_array_equal(got, cube.reshape(1, 2, 2, 2, 2, 2, 2, 2).max((3, 5, 7)))


MISTAKES_IN_LAYERS: list[tuple[Callable[[Any], Any], str]] = [
    (lambda x: x[7], "index 7 is outside the extent 4"),
    (lambda x: x[0, 0, 0], "too many indices"),
    (lambda x: x[[1, 2]], "an index must be of numbers"),
    (lambda x: x[2:2], "chooses nothing of the extent 4"),
    (lambda x: x.sum(2), "axis 2 is outside the rank 2"),
    (lambda x: x.softmax(2), "axis 2 is outside the rank 2"),
    (lambda x: x.graph.max_pool(x, (2, 2)), "a window of 2 dimensions does not fit"),
    (lambda x: x.graph.conv(x, x), "rank 4"),
    (lambda x: x.graph.take(x, [9], 1), "outside a dimension of 8"),
    (lambda x: x.graph.top_k(x, 9), "expected 1 to 8 elements"),
]  # fmt: skip


@pytest.mark.parametrize("i", range(len(MISTAKES_IN_LAYERS)))
def test_mistakes_in_layers(i: int):
    mistake, message = MISTAKES_IN_LAYERS[i]
    with pytest.raises(KpuError, match=message) as caught:
        run(lambda g, x: mistake(x))
    assert caught.value.where is not None
    assert "test_builder.py" in caught.value.where
