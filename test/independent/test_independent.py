"""The simulator's cycles, busy times and counts are those of an independent model (``independent_model``)."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from draws import drawing
from hypothesis import Phase, given
from hypothesis import strategies as st
from independent_model import Model

from kpu_ir import Graph, Machine, Options
from kpu_ir.bench.workloads import digits, kernels, outlined
from kpu_ir.lowering.schedule import ATTRIBUTE, Schedule
from kpu_ir.pipeline import kernel_stages, lower
from kpu_ir.sim.program.program import Program, load_program
from kpu_ir.sim.time.model import time_program
from kpu_ir.support.errors import KpuError

spec = importlib.util.spec_from_file_location(
    "levels", Path(__file__).parent.parent / "test_levels.py"
)
levels = importlib.util.module_from_spec(spec)
spec.loader.exec_module(levels)

SETTINGS = st.lists(
    st.sampled_from([
        "fabric.rows=8", "fabric.columns=24", "vector.lanes=8", "vector.lanes=24", "fabric.chained=false",
        "dma.channels=1", "dma.channels=3", "dma.bytes_per_cycle=3", "mover.channels=2", "mover.bytes_per_cycle=5",
        "streamer.bytes_per_cycle=24", "external.latency=7", "l1.buffer_bytes=2048",
        "vector.initiation_interval.special=3", "l2.banks=3", "l2.bank_bytes_per_cycle=8",
        "l3.tile_bytes_per_cycle=8", "control.memory_bytes=256", "control.issue=7", "control.sync=23",
        "external.burst_bytes=128", "external.interleave_bytes=64", "external.row_bytes=512", "external.bank_stride_bytes=256",
        "external.write_to_read=31", "dma.outstanding=1", "mover.word_bytes=64", "mover.transpose_elements=1", "vector.bytes_per_cycle=20",
        "vector.latency.cast=5", "vector.initiation_interval.cast=0", "vector.initiation_interval.requantize=3",
        "streamer.converts=false", "l2.latency=7",
    ]),
    max_size=3, unique=True,
)  # fmt: skip
"""Odd machines."""

PRESETS = [
    "default",
    "default",
    "ideal",
    "minimal",
    "large",
    "large_l3",
    "gemmini",
    "eyeriss",
    "voltra",
]
MOST = 20_000
"""Operations: the independent model takes each of them."""


def compare(program: Program, module) -> None:
    machine = program.machine
    ours = time_program(program)
    if ours.operations > MOST:
        return
    theirs = Model(module, machine.to_dict()).run()
    assert theirs.cycles == ours.cycles
    assert theirs.counts == {k: n for k, n in ours.counts.items() if n}
    for name, busy in ours.busy.items():
        kind, _, channels = name.partition("[")
        first = int(channels.strip("]").split(",")[0]) if channels else 0
        assert theirs.busy[kind, first] == busy, name


@drawing(4, phases=[Phase.generate])
@given(st.data())
def test_an_independent_model_agrees(data):
    name = data.draw(st.sampled_from(PRESETS))
    machine = Machine.preset(name)
    kind = data.draw(st.sampled_from(["graph", "chain", "layer"]))
    graph = getattr(levels, f"draw_{kind}")(data.draw)
    try:
        machine = machine.with_settings(data.draw(SETTINGS))
        modules = []
        program = lowered(data.draw, graph, machine, modules)
    except KpuError as e:
        if "need" not in e.message and "l1.buffer" not in e.message:
            raise
        return
    compare(program, modules[0])


@drawing(4, phases=[Phase.generate])
@given(st.data())
def test_quantized_products_agree(data):
    """Integers by their scales, with what requantizes where there is such a unit."""
    draw, rng = data.draw, np.random.default_rng(0)
    m, k, n = (draw(st.integers(1, 120)) for _ in range(3))
    graph = Graph()
    weights = rng.integers(-5, 5, (k, n)).astype(np.int8)
    each = draw(st.booleans())  # a scale for each column
    scale = np.full(n, 0.25, np.float32) if each else 0.25
    x = graph.dequantize(graph.quantize(graph.input("x", (m, k)), 0.5), 0.5)
    y = x @ graph.dequantize(graph.constant(weights), scale, axis=1 if each else None)
    if draw(st.booleans()):
        y = (y + graph.constant(np.ones((1, n), np.float32))).relu()
    graph.output("y", graph.quantize(y, 0.5, zero=np.int8(3)) if draw(st.booleans()) else y)
    try:
        machine = Machine.preset(draw(st.sampled_from(PRESETS))).with_settings(draw(SETTINGS))
        rounding = draw(st.sampled_from(["f32", "double"]))
        options = Options(search="none", requantize=rounding)
        module = lower(graph.module(), machine, options)["dma"]
    except KpuError as e:
        if "need" not in e.message and "l1.buffer" not in e.message:
            raise
        return
    compare(load_program(module, machine), module)


SHORT = [
    ("i8", "i8", np.int32), ("ui8", "i8", np.int32), ("i4", "i4", np.int32), ("ui4", "i4", np.int32),
    ("i8", "i4", np.int32), ("i4", "ui8", np.int32), ("f8E4M3FN", "f8E5M2", np.float32), ("f8E5M2", "f8E5M2", np.float32),
    ("f16", "f16", np.float16), ("bf16", "bf16", np.float32), ("f16", "i4", np.float16), ("bf16", "i8", np.float32),
    ("f32", "i4", np.float32),
]  # fmt: skip
"""Types of operands, and of the result."""


@drawing(4, phases=[Phase.generate])
@given(st.data())
def test_products_of_short_types_agree(data):
    """Of one type or of two, k no multiple of what a PE takes, each dataflow, batches."""
    draw = data.draw
    m, k, n = draw(st.integers(1, 70)), draw(st.integers(1, 300)), draw(st.integers(1, 70))
    left, right, result = draw(st.sampled_from(SHORT))
    batch = (draw(st.integers(2, 3)),) if draw(st.booleans()) else ()
    graph = Graph()
    a, b = graph.input("a", (*batch, m, k), left), graph.input("b", (*batch, k, n), right)
    graph.output("y", graph.matmul(a, b, dtype=result))
    modules = []
    try:
        machine = Machine.preset(draw(st.sampled_from(PRESETS))).with_settings(draw(SETTINGS))
        program = lowered(draw, graph, machine, modules)
    except KpuError as e:
        if not any(word in e.message for word in ("need", "l1.buffer", "rounded")):
            raise
        return
    compare(program, modules[0])


def lowered(draw, graph, machine, modules):
    """``levels.lowered``, and the module that its program was loaded from."""
    load = levels.load_program

    def spying(module, machine):
        modules.append(module)
        return load(module, machine)

    levels.load_program = spying
    try:
        return levels.lowered(draw, graph, machine)[2]
    finally:
        levels.load_program = load


@pytest.mark.parametrize("flow", ["os", "ws", "is"])
@pytest.mark.parametrize("kind", ["f16", "i8"])
def test_sums_of_short_types_agree(flow, kind):
    """Partial sums have a tile of their own, of 32 bits."""
    graph = Graph()
    graph.output("y", graph.input("x", (40, 200), kind) @ graph.input("w", (200, 56), kind))
    module, machine = outlined(graph.module()), Machine.preset("default")
    for func in kernels(module).values():
        func.attributes[ATTRIBUTE] = Schedule(tile=(32, 32, 48), dataflow=flow).to_attr()
    module = lower(module, machine, Options(search="none"))["dma"]
    compare(load_program(module, machine), module)


def test_it_imports_nothing_of_the_simulator():
    for name in ("independent_model", "independent_prices", "independent_passes"):
        text = (Path(__file__).parent / f"{name}.py").read_text()
        code = text.split('"""', 2)[2]
        assert "kpu_ir.sim" not in code
        assert "kpu_ir.scalar" not in code


@pytest.mark.parametrize("settings", ["converts=false", "convert_elements=8", "convert_elements=0"])
@pytest.mark.parametrize(
    "kinds", [("f16", "int4"), ("i8", "int4"), ("f32", "int8"), ("f32", "f16")]
)
def test_operands_that_are_widened_agree(kinds, settings):
    import ml_dtypes

    g = Graph()
    dtype = {"int4": ml_dtypes.int4, "int8": np.int8, "f16": np.float16}[kinds[1]]
    g.output("y", g.input("x", (20, 100), kinds[0]) @ g.constant(np.ones((100, 40), dtype)))
    machine = Machine.preset("default").with_settings([f"streamer.{settings}"])
    for flow in ("os", "ws", "is"):
        schedule = Schedule(tile=(16, 16, 100), dataflow=flow)
        module = lower(g.module(), machine, Options(search="none", schedule=schedule))["dma"]
        compare(load_program(module, machine), module)


@pytest.mark.parametrize("preset", ["ideal", "default"])
def test_a_whole_network_agrees(preset):
    machine = Machine.preset(preset)
    module = lower(outlined(digits()), machine, Options(search="none"))["dma"]
    compare(load_program(module, machine), module)


def test_an_array_that_does_not_chain_holds_the_vector_engine_from_its_first_result():
    """From the first operand on, as it was, an epilogue waited for what ran before it on the vector engine."""
    graph = Graph()
    graph.output("y", graph.attention(*(graph.input(name, (2, 3, 13, 4)) for name in "qkv")))
    machine = Machine.preset("ideal").with_settings(["fabric.chained=false"])
    module = graph.module()
    for stage in kernel_stages("full"):
        stage.apply(None, module)
    for func in kernels(module).values():
        func.attributes[ATTRIBUTE] = Schedule(tile=(5, 8), depth=1).to_attr()
    module = lower(module, machine, Options(search="none"))["dma"]
    compare(load_program(module, machine), module)


def test_casts_that_ride_on_the_data_path_have_no_latency():
    graph = Graph()
    graph.output("y", graph.input("x", (8, 40), "f16").softmax(-1))
    cycles = set()
    for depth in (0, 5):
        machine = Machine.preset("ideal").with_settings([f"vector.latency.cast={depth}"])
        module = lower(graph.module(), machine, Options(search="none"))["dma"]
        cycles.add(time_program(load_program(module, machine)).cycles)
    assert len(cycles) == 1
