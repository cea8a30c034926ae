"""Wrong uses: each is one error that names the line, and leaves the device as it was."""

import gc
import inspect
import tracemalloc

import numpy as np
import pytest
from draws import MANY as DRAWS
from small_programs import compiled, elementwise, network, product

from kpu_ir import Graph, KpuError, runtime

PROGRAM = compiled(elementwise())
N = 1024
MANY = 10_000 if DRAWS else 300
"""Launches: many only in ``make nightly``."""


@pytest.fixture
def d():
    return runtime.Device()


@pytest.fixture
def s(d):
    return d.create_stream()


def vectors(d, s, count=3):
    return [d.array(np.ones(N, np.float32), stream=s) for _ in range(count)]


def use_after_free(d, s):
    (a, b) = vectors(d, s, 2)
    runtime.Buffer(a.allocation).close(stream=s)
    a.copy_to(b, stream=s)


def double_free(d, s):
    buffer = d.allocate(64, stream=s)
    buffer.close(stream=s)
    buffer.close(stream=s)


def overrun_of_a_view(d, s):
    d.allocate(64, stream=s).view("float32", 17)


def overrun_of_a_copy(d, s):
    d.allocate(64, stream=s).copy_from(np.zeros(65, np.uint8), stream=s)


def a_copy_that_leaves_something(d, s):
    d.allocate(64, stream=s).copy_from(np.zeros(63, np.uint8), stream=s)


def foreign_buffer(d, s):
    other = runtime.Device()
    theirs = other.array(np.ones(N, np.float32), stream=other.create_stream())
    theirs.copy_to(np.ones(N, np.float32), stream=s)


def foreign_stream(d, s):
    d.allocate(64, stream=runtime.Device().create_stream())


def foreign_event(d, s):
    s.wait(runtime.Device().create_stream().record())


def unrecorded_event(d, s):
    s.wait(d.create_event())


def closed_stream(d, s):
    other = d.create_stream()
    other.close()
    d.array(np.ones(N), stream=other)


def out_of_memory(d, s):
    d.allocate(d.machine.external.bytes + 1, stream=s)


def negative_size(d, s):
    d.allocate(-1, stream=s)


def race_on_a_buffer(d, s):
    (a,) = vectors(d, s, 1)
    a.fill(2.0, stream=d.create_stream())


def host_reads_too_soon(d, s):
    np.asarray(vectors(d, s, 1)[0])


def reads_what_nothing_wrote(d, s):
    d.empty((N,), stream=s).copy_to(np.zeros(N, np.float32), stream=s)


def host_reads_what_nothing_wrote(d, s):
    np.asarray(d.empty((N,), stream=s))


def argument_of_the_host(d, s):
    a, b, _ = vectors(d, s)
    runtime.launch(s, PROGRAM, a, b, np.ones(N, np.float32))


def argument_of_another_shape(d, s):
    a, b, c = vectors(d, s)
    runtime.launch(s, PROGRAM, a, b, c.view("float32", (32, 32)))


def argument_that_is_missing(d, s):
    runtime.launch(s, PROGRAM, *vectors(d, s, 2))


def argument_that_there_is_not(d, s):
    a, b, c = vectors(d, s)
    runtime.launch(s, PROGRAM, a, b, z=c)


def argument_too_many(d, s):
    runtime.launch(s, PROGRAM, *vectors(d, s, 4))


def output_over_an_input(d, s):
    a, b, _ = vectors(d, s)
    runtime.launch(s, PROGRAM, a, b, a)


def weights_that_are_still_on_their_way(d, s):
    x = d.array(np.ones((32, 32), np.float32), stream=s)
    y, program, other = d.empty((32, 32), stream=s), compiled(network()), d.create_stream()
    other.wait(s)
    loaded = d.load(program, stream=s)
    runtime.launch(other, loaded, x, y)


def program_of_another_machine(d, s):
    d.load(compiled(product(), runtime.Device("ideal").machine), stream=s)


def launch_of_something_else(d, s):
    runtime.launch(s, elementwise(), *vectors(d, s))


def no_stream(d, s):
    d.allocate(64, stream=None)


def a_share_that_there_is_not(d, s):
    d.create_stream(share=1)


def memory_that_does_not_divide(d, s):
    runtime.Device(shares=3)


def copy_within_the_host(d, s):
    d.pinned(4).copy_to(np.zeros(4, np.float32), stream=s)


def fill_with_no_number(d, s):
    d.empty(4, "int8", stream=s).fill(300, stream=s)


def other_elements(d, s):
    d.empty(4, "float32", stream=s).copy_from(np.zeros(4, np.int32), stream=s)


def host_waits_within_a_graph(d, s):
    (a,) = vectors(d, s, 1)
    builder = s.create_graph_builder().begin_building()
    a.copy_to(np.zeros(N, np.float32), stream=builder)


def fill_with_nothing(d, s):
    d.empty(4, "float32", stream=s).fill(None, stream=s)


def no_type_of_numbers(d, s):
    d.empty(4, "f23", stream=s)


def objects(d, s):
    d.empty(4, object, stream=s)


def view_of_no_type(d, s):
    d.allocate(64, stream=s).view("f23")


def texts(d, s):
    d.array("text", stream=s)


def rows_of_several_lengths(d, s):
    d.array([[1], [1, 2]], stream=s)


def pinned_of_a_negative_shape(d, s):
    d.pinned((-1,))


def pool_of_nothing(d, s):
    d.memory_resource.reserve(-1)


def pool_with_buffers(d, s):
    pool = d.memory_resource.reserve(4096)
    pool.allocate(64, stream=s)
    pool.close()


FAULTS = {
    use_after_free: "buffer of 4,096 bytes made at .*, which was freed at",
    double_free: "freed twice: buffer of 64 bytes made at .* freed at",
    overrun_of_a_view: "68 bytes from byte 0 on of 64: buffer of 64 bytes made at",
    overrun_of_a_copy: "65 bytes to 64: buffer of 64 bytes made at",
    a_copy_that_leaves_something: "63 bytes to 64",
    foreign_buffer: "on another device",
    foreign_stream: "a stream of its device",
    foreign_event: "on its own device",
    unrecorded_event: "not recorded",
    closed_stream: "was closed at",
    out_of_memory: "1,073,741,824 are free",
    negative_size: "a buffer of -1 bytes",
    race_on_a_buffer: "a race on buffer of 4,096 bytes made at .* stream 1 writes .* stream 0 .* writes",
    host_reads_too_soon: "the host reads what copy host to device",
    reads_what_nothing_wrote: "what nothing has written: buffer of 4,096 bytes made at",
    host_reads_what_nothing_wrote: "the host reads what nothing has written: buffer of 4,096",
    argument_of_the_host: "argument 'c' is 1024 f32 in a buffer of the device",
    argument_of_another_shape: "got float32 of shape",
    argument_that_is_missing: "argument 'c' is missing",
    argument_that_there_is_not: "no argument 'z'",
    argument_too_many: "takes 3 arguments, got 4",
    output_over_an_input: "write over what it reads",
    weights_that_are_still_on_their_way: "a race on weights of program of 8,192 bytes",
    program_of_another_machine: "compiled for ideal, and a stream has default",
    launch_of_something_else: "a program or a kernel, got a Graph",
    no_stream: "stream must be",
    a_share_that_there_is_not: "share 1 of a chip in 1",
    memory_that_does_not_divide: "not divided by 3",
    copy_within_the_host: "two places of the host",
    fill_with_no_number: "300 is no int8",
    fill_with_nothing: "None is no float32",
    no_type_of_numbers: "'f23' is no type of numbers",
    objects: "object is no type of numbers",
    view_of_no_type: "'f23' is no type of numbers",
    texts: "<U4 is no type of numbers",
    rows_of_several_lengths: "no array of numbers",
    pinned_of_a_negative_shape: "shape \\(-1,\\): an extent is negative",
    pool_of_nothing: "a pool of -1 bytes",
    other_elements: "int32 to float32",
    host_waits_within_a_graph: "cannot wait within a graph",
    pool_with_buffers: "has buffers",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__)
def test_a_wrong_use_is_one_error_that_names_the_line(fault, d, s):
    with pytest.raises(KpuError, match=FAULTS[fault]) as raised:
        fault(d, s)
    lines, first = inspect.getsourcelines(fault)
    file, _, line = str(raised.value.where).rpartition(":")
    assert file == __file__
    assert int(line) == first + len(lines) - 1
    a, b, c = vectors(d, s)  # and the device works as before
    began = s.record()
    runtime.launch(s, PROGRAM, a, b, c)
    np.testing.assert_array_equal(np.asarray(c.copy_to(np.zeros(N, np.float32), stream=s)), 2.0)
    assert s.record().cycles > began.cycles


def test_a_launch_that_fails_in_its_values_changes_nothing(d, s):
    g = Graph()
    g.output("y", g.gather(g.input("table", (8, 4)), g.input("i", (2,), "i64")))
    program = compiled(g)
    table = d.array(np.ones((8, 4), np.float32), stream=s)
    rows, y = d.array(np.array([1, 9]), stream=s), d.empty((2, 4), stream=s)
    loaded = d.load(program, stream=s)
    s.sync()
    before = d.cycles, d.external.in_use, d.counts
    with pytest.raises(KpuError, match="an index of 1 to 9 into 8 rows"):
        runtime.launch(s, loaded, table, rows, y)
    s.sync()
    assert (d.cycles, d.external.in_use, d.counts) == before
    rows.copy_from(np.array([1, 7]), stream=s)
    runtime.launch(s, loaded, table, rows, y)
    s.sync()
    assert (np.asarray(y) == 1).all()


def test_nothing_leaks_over_many_launches(d, s):
    a, b = vectors(d, s, 2)
    loaded = d.load(PROGRAM, stream=s)

    def launches(count):
        for i in range(count):
            buffer = d.allocate(4 * N, stream=s)
            runtime.launch(s, loaded, a, b, buffer.view("float32", N))
            buffer.close(stream=s)
            if i % 10 == 9:
                s.sync()

    launches(100)
    gc.collect()
    in_use, objects = d.external.in_use, len(gc.get_objects())
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    launches(MANY)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert d.external.in_use == in_use
    assert len(gc.get_objects()) <= objects + 100
    assert grown < 100_000
