"""Large constants are told apart from repeated values without a Python number of each element."""

import numpy as np
import pytest

from kpu_ir import Graph
from kpu_ir.support.types import dense_of, is_uniform
from kpu_ir.text.printing import print_module


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8, np.int64, np.bool_])
def test_one_repeated_value_is_uniform(dtype):
    for shape in ((), (1,), (0,), (4, 5)):
        assert is_uniform(dense_of(np.ones(shape, dtype)))
    for place in (0, 7, 19):
        values = np.ones(20, dtype)
        values[place] = 0
        assert not is_uniform(dense_of(values))


def test_bits_count():
    assert not is_uniform(dense_of(np.array([0.0, -0.0, 0.0], np.float32)))
    assert is_uniform(dense_of(np.full(3, np.nan, np.float32)))


def test_repeated_values_are_printed_and_others_left_out():
    g = Graph()
    x = g.input("x", (8, 8)) + g.constant(np.full((8, 8), 2, np.float32))
    g.output("y", x * g.constant(np.arange(64, dtype=np.float32).reshape(8, 8)))
    text = print_module(g.module())
    assert text.count("dense_resource<elided>") == 1
    assert "dense<2.000000e+00>" in text
