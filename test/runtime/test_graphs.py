"""Graphs, kernels of programs, several programs on a device, channels that are bound."""

import numpy as np
import pytest
from small_programs import compiled, elementwise, network, product, wide

from kpu_ir import KpuError, Machine, runtime
from kpu_ir.registry import context
from kpu_ir.runtime.loaded import workspace_bytes
from kpu_ir.sim.time.model import TimeModel
from kpu_ir.text.parsing import parse_module

N = 1024


@pytest.fixture
def d():
    return runtime.Device("ideal")


@pytest.fixture
def s(d):
    return d.create_stream()


def loaded(d, s, graph):
    program = d.load(compiled(graph, d.machine), stream=s)
    random = np.random.default_rng(0)
    shapes = [tuple(p.type.get_shape()) for p in program.ports]
    views = [d.array(random.standard_normal(n).astype(np.float32), stream=s) for n in shapes]
    return program, views


def test_a_graph_does_what_its_operations_do_and_takes_their_time(d, s):
    program, (a, b, c) = loaded(d, s, elementwise())
    inside, outside = d.pinned(N), d.pinned(N)

    def work(stream):
        a.copy_from(inside, stream=stream)
        runtime.launch(stream, program, a, b, c)
        c.copy_to(outside, stream=stream)

    s.sync()
    began = d.now
    work(s)
    s.sync()
    took = d.now - began
    builder = s.create_graph_builder().begin_building()
    work(builder)
    assert d.cycles == d.now  # nothing has happened
    graph = builder.end_building().complete()
    for scale in range(3):
        np.asarray(inside)[:] = scale
        began = d.now
        graph.launch(s)
        s.sync()
        assert d.now - began == took
        np.testing.assert_allclose(np.asarray(outside), scale * np.asarray(b) + scale, rtol=1e-6)


def test_a_closed_streams_operations_are_waited_for_and_workspaces_are_taken(d, s):
    program, (x, w, y) = loaded(d, s, wide())
    other = d.create_stream()
    other.wait(s)
    builder = other.create_graph_builder().begin_building()
    runtime.launch(builder, program, x, w, y)
    graph = builder.end_building().complete()
    used = d.external.in_use
    graph.launch(other)
    size = d.external.in_use - used
    graph.launch(other)
    assert d.external.in_use == used + size
    assert size == -(-workspace_bytes(program.program) // 64) * 64 > 0
    other.close()
    d.sync()
    assert d.now == d.cycles
    assert np.asarray(y).shape == (1024,)


def test_branches_run_beside_each_other(d, s):
    x, y = d.array(np.ones(1 << 16, np.float32), stream=s), d.empty(1 << 16, stream=s)
    inside, outside = d.pinned(1 << 16), d.pinned(1 << 16)
    s.sync()
    began = s.record()
    x.copy_to(outside, stream=s)
    y.copy_from(inside, stream=s)
    one, began_both = s.record().cycles - began.cycles, s.record().cycles
    builder = s.create_graph_builder().begin_building()
    left, right = builder.split(2)
    x.copy_to(outside, stream=left)
    y.copy_from(inside, stream=right)
    left.join(right)
    graph = left.end_building().complete()
    graph.launch(s)
    assert s.record().cycles - began_both == one / 2
    streams = len(d.streams)
    graph.launch(s)
    assert len(d.streams) == streams
    assert 'label="copy device to host of 262,144 bytes"' in graph.debug_dot_print()
    assert "->" not in graph.debug_dot_print()


def test_branches_that_race_are_refused_at_the_launch(d, s):
    x = d.array(np.ones(16, np.float32), stream=s)
    builder = s.create_graph_builder().begin_building()
    left, right = builder.split(2)
    x.fill(1, stream=left)
    x.fill(2, stream=right)
    graph = left.join(right).end_building().complete()
    with pytest.raises(runtime.Race, match="race on buffer of 64 bytes"):
        graph.launch(s)


def test_wrong_captures(d, s):
    x = d.array(np.ones(16, np.float32), stream=s)
    fresh = s.create_graph_builder
    building = fresh().begin_building()
    one, two = fresh().begin_building().split(2)
    joined_one, joined = fresh().begin_building().split(2)
    joined_one.join(joined)
    graph = fresh().begin_building().end_building().complete()
    other = runtime.Device("ideal")
    for wrong, said in (
        (lambda: x.fill(1, stream=fresh()), "nothing is being captured"),
        (lambda: building.begin_building(), "capturing began at"),
        (lambda: building.complete(), "has not ended"),
        (lambda: one.end_building(), "branches are open"),
        (lambda: two.end_building(), "branches are open"),
        (lambda: x.fill(1, stream=joined), "this branch was joined"),
        (lambda: joined_one.join(joined), "not open"),
        (lambda: building.split(1), "a split into 1"),
        (lambda: graph.launch(building), "launched in a stream"),
        (lambda: graph.launch(other.create_stream()), "captured for share 0 of its device"),
        (lambda: d.allocate(16, stream=building), "in the order of a stream"),
        (lambda: runtime.Buffer(x.allocation).close(stream=building), "not freed within a graph"),
    ):
        with pytest.raises(KpuError, match=said):
            wrong()


def test_an_update_takes_other_memory_and_the_same_operations(d, s):
    x, y = (d.array(np.zeros(16, np.float32), stream=s) for _ in range(2))

    def captured(view, *values):
        builder = s.create_graph_builder().begin_building()
        for value in values:
            view.fill(value, stream=builder)
        return builder.end_building()

    graph = captured(x, 1).complete()
    graph.update(captured(y, 2))
    graph.launch(s)
    s.sync()
    assert (np.asarray(x)[0], np.asarray(y)[0]) == (0, 2)
    with pytest.raises(KpuError, match="make a new graph"):
        graph.update(captured(y, 1, 2))


def test_programs_share_external_memory_and_their_kernels_run_alone(d, s):
    (one, (x, w, y)), (two, (a, b, c)), (three, (p, q)) = (
        loaded(d, s, g) for g in (product(), elementwise(), network())
    )
    weights = 2 * 32 * 32 * 4
    assert three.weights.size == weights
    s.sync()
    for _ in range(2):
        for program, views in ((one, (x, w, y)), (two, (a, b, c)), (three, (p, q))):
            runtime.launch(s, program, *views)
    kernel = one.get_kernel(one.kernels[0])
    began = s.record()
    z = d.empty((64, 64), stream=s)
    runtime.launch(s, kernel, x, w, z)
    assert s.record().cycles - began.cycles == one.compiled.cycles
    s.sync()
    np.testing.assert_array_equal(np.asarray(z), np.asarray(y))
    (expected,) = three.compiled.reference({"x": np.asarray(p)}).values()
    np.testing.assert_allclose(np.asarray(q), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(KpuError, match="did you mean"):
        one.get_kernel(one.kernels[0] + "x")
    used = d.external.in_use
    three.close(stream=s)
    assert d.external.in_use <= used - weights
    with pytest.raises(KpuError, match="not loaded"):
        three.close(stream=s)
    assert d.memories["l2"].in_use <= d.memories["l2"].capacity


def test_channels_that_a_program_binds_are_told_apart_for_all():
    text = """
    func.func @bound(%x: memref<64x64xf32>, %y: memref<64x64xf32>) {
      dma.program {
        dma.ring @x3, 2 x <16x64xf32, l3> at 0
        tile.for %i = 0 to 64 step 16 {
          %x3 = dma.fetch %x[%i, 0] into @x3 on [0] : memref<64x64xf32> -> !tile.tile<16x64xf32, l3>
          dma.write %x3, %y[%i, 0] on [1] : !tile.tile<16x64xf32, l3> -> memref<64x64xf32>
        }
      }
      func.return
    }"""
    d = runtime.Device("ideal")
    s = d.create_stream()
    other, views = loaded(d, s, elementwise())
    s.sync()
    began = d.now
    runtime.launch(s, other, *views)
    s.sync()
    alone = d.now - began
    bound = compiled(parse_module(text, "bound", context()), Machine.preset("ideal"))
    x = d.array(np.ones((64, 64), np.float32), stream=s)
    y = d.empty((64, 64), stream=s)
    program = d.load(bound, stream=s)
    s.sync()
    began = d.now
    runtime.launch(s, program, x, y)
    s.sync()
    assert d.now - began == TimeModel(bound.program, False).run().cycles
    assert d.engines["dma0"].busy > d.engines["dma2"].busy
    began = d.now
    runtime.launch(s, other, *views)
    s.sync()
    assert d.now - began == alone
