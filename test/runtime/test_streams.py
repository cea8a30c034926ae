"""Drawn sequences of what streams are asked for: values, memory, order and time."""

from itertools import pairwise

import numpy as np
import pytest
from draws import drawing
from hypothesis import given
from hypothesis import strategies as st
from small_programs import compiled, elementwise

from kpu_ir import runtime
from kpu_ir.machine import Machine

N = 256
MACHINE = Machine.preset("default").with_settings(
    {"external.bytes": 1 << 19, "l3.tile_bytes": 16 << 10, "l2.bank_bytes": 16 << 10}
)
KINDS = [
    "malloc",
    "free",
    "in",
    "out",
    "copy",
    "fill",
    "launch",
    "launch",
    "record",
    "wait",
    "sync",
]


def drawn_steps(seed, count=60):
    """Some buffers with values, then anything."""
    random = np.random.default_rng(seed)
    begin = [(what, i % 4, i, i) for i in range(4) for what in ("malloc", "in")]
    kinds = random.choice(KINDS, count, p=[n / 20 for n in (2, 1, 2, 2, 2, 1, 2, 2, 2, 3, 1)])
    return begin + [(str(k), *(int(n) for n in random.integers(0, 1 << 20, 3))) for k in kinds]


SEEDS = st.integers(0, 1 << 30)


class Order:
    """Which operations come after which, by brute force: a bit for each operation."""

    def __init__(self):
        self.behind = []  # of each operation: all that come before it
        self.stream = [0] * 4
        self.events = []
        self.events = []
        self.host = 0
        self.touched = []  # allocation, writes, operation

    def before(self, stream):
        return self.stream[stream] | self.host

    def races(self, stream, reads, writes):
        known = self.before(stream)
        return any(
            not known >> op & 1 and key in reads | writes and (wrote or key in writes)
            for key, wrote, op in self.touched
        )

    def did(self, stream, reads, writes):
        op = len(self.behind)
        self.behind.append(self.before(stream))
        self.stream[stream] = self.before(stream) | 1 << op
        self.touched += [(key, False, op) for key in reads] + [(key, True, op) for key in writes]


def play(steps, shares=1, **options):
    """Do ``steps`` on a device and on NumPy. Yields the device, its ends, the events recorded."""
    device = runtime.Device(MACHINE, shares=shares, **options)
    streams = [device.create_stream(priority=i // 3, share=i % shares) for i in range(4)]
    program = PROGRAMS[shares]
    order, buffers, model, events, hosts = Order(), [], {}, [], []
    marks = []

    def attempt(stream, reads, writes, do):
        """Do it, where the brute-force order sees no race; else it must be refused, and wait first."""
        if order.races(stream, reads, writes):
            with pytest.raises(runtime.Race, match="race on"):
                do()
            for other in range(4):
                streams[stream].wait(streams[other])
                order.stream[stream] |= order.stream[other]
        do()
        order.did(stream, reads, writes)
        marks.append(streams[stream].record())

    for number, (what, s, i, j) in enumerate(steps):
        s %= 4
        stream, alive = streams[s], [b for b in buffers if b in model]
        full = [b for b in alive if model[b] is not None]
        one = alive[i % len(alive)] if alive else None
        if what == "malloc" and len(alive) < 12:
            new = device.empty((N,), stream=stream)
            spans = sorted((b.handle, b.handle + b.nbytes) for b in (*alive, new))
            assert all(a[1] <= b[0] for a, b in pairwise(spans))
            assert new.handle % 64 == 0
            if new.handle in {b.handle for b in buffers}:  # reused: what it waits for is known
                order.stream[s] = sum(1 << n for n in range(len(order.behind)))
                for other in range(4):
                    stream.wait(streams[other])
            buffers.append(new)
            model[new] = None
        elif what == "free" and one is not None:
            attempt(s, set(), {one}, lambda: runtime.Buffer(one.allocation).close(stream=stream))
            del model[one]
        elif what == "in" and one is not None:
            values = np.random.default_rng(number).standard_normal(N).astype(np.float32)
            attempt(s, set(), {one}, lambda: one.copy_from(values, stream=stream))
            model[one] = values
        elif what == "fill" and one is not None:
            attempt(s, set(), {one}, lambda: one.fill(float(number), stream=stream))
            model[one] = np.full(N, number, np.float32)
        elif what == "out" and full:
            one, host = full[i % len(full)], device.pinned((N,))
            attempt(s, {one}, {host}, lambda: one.copy_to(host, stream=stream))
            hosts.append((host, model[one]))
        elif what in ("copy", "launch") and full:
            a, b = full[i % len(full)], full[j % len(full)]
            c = alive[(i + j) % len(alive)]
            if what == "copy" and c is not a:
                attempt(s, {a}, {c}, lambda: c.copy_from(a, stream=stream))
                model[c] = model[a]
            elif what == "launch" and c not in (a, b):
                attempt(s, {a, b}, {c}, lambda: runtime.launch(stream, program, a, b, c))
                with np.errstate(all="ignore"):
                    model[c] = model[a] * model[b] + model[a]
        elif what == "record":
            events.append(stream.record())
            order.events.append(order.before(s))
        elif what == "wait" and events:
            stream.wait(events[i % len(events)])
            order.stream[s] |= order.events[i % len(events)]
        elif what == "sync":
            before = device.now
            stream.sync()
            assert device.now >= before
            order.host |= order.stream[s]
    device.sync()
    for host, values in hosts:
        np.testing.assert_allclose(np.asarray(host), values, rtol=1e-6)
    for buffer, values in model.items():
        if values is not None:
            np.testing.assert_allclose(np.asarray(buffer), values, rtol=1e-6)
    return device, streams, model, marks


PROGRAMS = {
    n: compiled(elementwise(N), runtime.Device(MACHINE, shares=n).share_machine) for n in (1, 2)
}


@drawing(8)
@given(SEEDS)
def test_values_order_memory_and_time(seed):
    steps, shares = drawn_steps(seed), 1 + seed % 2
    device, streams, model, marks = play(steps, shares)
    for name, engine in device.engines.items():
        assert engine.busy <= device.cycles, name
    by_stream = {}
    for mark in marks:
        for work in mark.works:
            assert work.start <= work.end
            assert by_stream.get(work.stream, 0) <= work.start
            by_stream[work.stream] = work.end
    stepped, _, _, others = play(steps, shares, stepped=True)
    assert [m.cycles for m in marks] == [m.cycles for m in others]
    assert (device.cycles, device.counts) == (stepped.cycles, stepped.counts)
    assert {n: e.busy for n, e in device.engines.items()} == {
        n: e.busy for n, e in stepped.engines.items()
    }
    for buffer in model:  # everything is given back, and is one piece again
        runtime.Buffer(buffer.allocation).close(stream=streams[0])
    device.sync()
    assert device.external.in_use == 0
    assert [s.size for s in device.external.free] == [device.external.capacity]


@drawing(2)
@given(SEEDS)
def test_every_other_legal_order_gives_the_same_values(seed):
    device, *_ = play(drawn_steps(seed), debug=True)
    device.check_interleavings(4)


def test_what_a_pool_gave_back_is_waited_for_by_who_gets_it():
    device = runtime.Device(MACHINE)
    one, two = device.create_stream(), device.create_stream()
    pool = device.memory_resource.reserve(device.external.capacity)
    buffer = pool.allocate(1 << 16, stream=one)
    buffer.copy_from(np.ones(1 << 16, np.uint8), stream=one)  # on another engine than a fill
    buffer.close(stream=one)
    pool.close()
    copied = one.record().cycles
    device.allocate(1 << 16, stream=two).fill(2, stream=two)
    (fill,) = two.record().check()
    device.sync()
    assert fill.start >= copied  # it is the same memory
