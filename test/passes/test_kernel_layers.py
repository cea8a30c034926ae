"""Equal layers written once: nothing changes but the text."""

import numpy as np
import pytest

from kpu_ir import Graph
from kpu_ir.passes.kernel_layers import inline_layers, repeated
from kpu_ir.pipeline import compile
from kpu_ir.program.options import Options
from kpu_ir.registry import context
from kpu_ir.support.errors import KpuError
from kpu_ir.text.parsing import parse_module


def network(layers: int) -> Graph:
    g = Graph()
    rng = np.random.default_rng(0)
    x = g.input("x", (8, 16))
    for _ in range(layers):
        h = (x @ g.constant(rng.standard_normal((16, 32)), "f32")).gelu()
        h = h @ g.constant(rng.standard_normal((32, 16)) / 8, "f32") + x
        x = g.softmax(h * 0.5, 1)
    g.output("y", x)
    return g


def test_the_text_of_layers_compiles_to_the_same():
    options = Options(search="none")
    first = compile(network(6).module(), options=options)
    text = first.ir("kernel", elide=None)
    assert text.count("func.call @layer_0") == 6
    assert text.count("kernel.softmax") == 1
    second = compile(parse_module(text, "text", context()), options=options)
    assert second.cycles == first.cycles
    x = np.random.default_rng(1).standard_normal((8, 16)).astype(np.float32)
    np.testing.assert_array_equal(second(x=x)["y"], first(x=x)["y"])
    np.testing.assert_array_equal(second.reference({"x": x})["y"], first.reference({"x": x})["y"])


def test_many_layers_are_one_layer():
    """More calls than a layer must save operations: calls are not gathered again."""
    text = compile(network(16).module(), options=Options(search="none")).ir("kernel")
    assert text.count("func.call @layer_0") == 16
    assert "layer_1" not in text


def test_a_network_without_layers_is_written_as_it_is():
    text = compile(network(1).module(), options=Options(search="none")).ir("kernel")
    assert "layer" not in text


def test_runs_that_save_most_come_first():
    tokens = [9, *([1, 2, 3, 4, 5, 6] * 4), 7, *([8] * 13)]
    first, *_ = repeated(tokens)
    assert (first.start, first.length, first.count) == (1, 6, 4)
    assert first.saved == 18
    assert list(repeated([1, 2, 3] * 4)) == []  # not worth it
    for runs in repeated(tokens):
        parts = [
            tokens[runs.start + i * runs.length : runs.start + (i + 1) * runs.length]
            for i in range(runs.count)
        ]
        assert all(part == parts[0] for part in parts)


def test_a_layer_that_calls_itself_is_refused():
    module = parse_module(
        """
        func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
          %y = func.call @layer_0(%x) : (tensor<4xf32>) -> tensor<4xf32>
          func.return %y : tensor<4xf32>
        }
        func.func private @layer_0(%x: tensor<4xf32>) -> tensor<4xf32> attributes {kernel.layer} {
          %y = func.call @layer_0(%x) : (tensor<4xf32>) -> tensor<4xf32>
          func.return %y : tensor<4xf32>
        }
        """,
        "text",
        context(),
    )
    with pytest.raises(KpuError, match="a layer calls itself"):
        inline_layers(module)
