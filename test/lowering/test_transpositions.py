"""Simple schedules of transpositions avoid short runs where memory charges for them."""

import numpy as np
import pytest

import kpu_ir
from kpu_ir import Graph

SHAPES = {
    "the result's dimensions first": ((64, 32, 2, 2, 2, 2), (1, 3, 5, 0, 2, 4)),
    "the source's dimensions first": ((64, 2, 2, 32, 2, 2), (3, 1, 4, 0, 2, 5)),
    "a matrix": ((512, 384), (1, 0)),
    "channels last": ((8, 3, 64, 64), (0, 2, 3, 1)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_transposition_takes_little_more_than_its_bytes(name):
    shape, axes = SHAPES[name]
    g = Graph()
    g.output("y", g.input("x", shape).transpose(*axes))
    program = kpu_ir.compile(g, search="none")
    once = 2 * 4 * np.prod(shape) / program.machine.bandwidth["dma"]
    assert program.cycles <= 3 * once + 2000
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    np.testing.assert_array_equal(program({"x": x})["y"], x.transpose(axes))
