"""Windows without a search: the schedule that promises most is about as good as what a search finds."""

from pathlib import Path

import pytest
from draws import drawing
from hypothesis import given
from hypothesis import strategies as st

from kpu_ir import Graph, Machine
from kpu_ir.bench.workloads import conv, kernels, outlined, quantized_conv
from kpu_ir.lowering.kernel_to_tile import recognise
from kpu_ir.tuning.cache import Cache
from kpu_ir.tuning.score import time_schedule
from kpu_ir.tuning.search import Search

MACHINE = Machine.preset("default")


def pooled(kind, element, channels, side, taps, stride, around=0):
    g = Graph()
    x = g.input("x", (1, channels, side, side), element)
    pair, edge = (taps, taps), (around, around)
    g.output("y", g.pool(kind, x, pair, strides=(stride, stride), low=edge, high=edge))
    return g.module()


def the_kernel(module):
    (func,) = kernels(outlined(module)).values()
    strategy = recognise(func)
    assert strategy.kind == "pooling"
    return func, strategy


@pytest.mark.parametrize("element", ["ui8", "i8", "f16", "f32"])
def test_the_pooling_of_resnet_is_bound_by_what_binds_it(element):
    """64 planes of 56 x 56 results, 9 comparisons each by 16 lanes, or the image and the result over
    external memory, less its refreshes; and no more than 3 % besides."""
    size = {"ui8": 1, "i8": 1, "f16": 2, "f32": 4}[element]
    lanes = 64 * 56 * 56 * 9 // 16
    rate = 32 * (1 - 420 / 7812)
    moved = 64 * (112 * 112 + 56 * 56) * size / rate
    func, strategy = the_kernel(pooled("max", element, 64, 112, 3, 2, 1))
    cycles = time_schedule(func, strategy, strategy.default(MACHINE), MACHINE).cycles
    reread = 1.0 if size == 1 else 1.08  # of f32, memory binds, which turns from reading to writing
    assert max(lanes, moved) <= cycles <= 1.03 * reread * max(lanes, moved)


@drawing(6)
@given(st.data())
def test_the_default_is_near_what_a_search_finds(data):
    draw = data.draw
    channels, side = draw(st.sampled_from([3, 16, 96, 256])), draw(st.sampled_from([7, 14, 35, 56]))
    taps, stride = draw(st.sampled_from([2, 3])), draw(st.sampled_from([1, 2]))
    match draw(st.sampled_from(["max", "depthwise", "quantized"])):
        case "depthwise":
            module = conv(channels, channels, side, 3, stride, channels)
        case "quantized":
            module = quantized_conv(channels, channels, side, channels)
        case kind:
            element = draw(st.sampled_from(["ui8", "i8", "f16", "f32"]))
            module = pooled(kind, element, channels, side, taps, stride)
    func, strategy = the_kernel(module)
    space, default = strategy.candidates(MACHINE), strategy.default(MACHINE)
    cycles = time_schedule(func, strategy, default, MACHINE).cycles
    found = Search(MACHINE, "cycles", "ranked", Cache(Path())).search(func, strategy)
    least = time_schedule(func, strategy, found, MACHINE).cycles
    assert space.cycles.min() <= min(cycles, least)
    assert cycles <= 1.3 * least
